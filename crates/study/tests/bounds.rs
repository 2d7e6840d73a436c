//! The numbers of the example `bounds`: every statement holds on problems of several seeds, and every counterexample is one.

use study::bounds::counterexamples::counterexamples;
use study::bounds::{Row, measure, statements, summaries};

#[test]
fn every_statement_holds_on_every_problem_and_is_measured() {
    for seed in [0, 1, 2, 12_345, u64::MAX] {
        let rows = measure(seed, 2).unwrap();
        for row in &rows {
            assert!(row.holds(), "{row:?}");
            assert!(row.measured >= 0.0 && row.bound.is_finite());
        }
        for summary in summaries(&rows) {
            assert!(summary.all_hold(), "{summary:?}");
            // A bound that is met by nothing at all would be a bound of nothing.
            assert!(summary.statement.is_equality || summary.tightest > 0.0, "{summary:?}");
        }
    }
}

#[test]
fn what_is_printed_and_false_is_violated() {
    let all = counterexamples().unwrap();
    assert!(all.len() >= 5);
    for example in all {
        assert!(example.stands(), "{example:?}");
    }
}

#[test]
fn names_are_different_and_a_nan_holds_nowhere() {
    let mut names: Vec<_> = statements().iter().map(|statement| statement.name).collect();
    names.extend(counterexamples().unwrap().iter().map(|example| example.name));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(statements().len() >= 18);
    let row = measure(0, 1).unwrap().swap_remove(0);
    for (measured, bound) in [(f64::NAN, 1.0), (0.0, f64::NAN)] {
        assert!(!Row { measured, bound, ..row.clone() }.holds());
    }
}

/// Problems are drawn one by one: more of them change none, and threads do not either.
#[test]
fn problems_are_functions_of_seed_and_number() {
    let with_threads = |threads: usize, problems: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| measure(3, problems).unwrap())
    };
    let (few, many) = (with_threads(1, 1), with_threads(3, 2));
    assert_eq!(few[..], many[..few.len()]);
}
