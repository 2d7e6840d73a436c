//! The studies of papers: the same bits at any number of threads, and after a run that was ended and resumed.

#[path = "../examples/hessian_bias/accuracy.rs"]
#[allow(dead_code, reason = "the example prints more of it")]
mod accuracy;
#[path = "../examples/common/mod.rs"]
mod common;
#[path = "../examples/score_function_1d/study.rs"]
#[allow(dead_code, reason = "the example prints more of it")]
mod learning;
#[path = "../examples/meta_gradient_bias/study.rs"]
#[allow(dead_code, reason = "the example prints more of it")]
mod meta_gradients;
#[path = "../examples/score_function_1d/problem.rs"]
#[allow(dead_code, reason = "the example prints more of it")]
mod problem;

use std::path::PathBuf;

use accuracy::Experiment;
use common::saved::Saved;
use indicatif::ProgressBar;
use meta_gradients::{Cell, Study};
use rl::meta::Permutation;

/// A folder of its own for each test.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("studies-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn with_threads<T: Send>(threads: usize, run: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
}

/// Every number of meta_gradient_bias on two processes.
fn meta_gradients(saved: &Saved) -> Vec<Vec<f64>> {
    let cell = |estimator, permutation, steps| Cell { estimator, permutation, samples: 3, steps, rate: 3.0 };
    let cells = (Permutation::ALL.iter())
        .flat_map(|&permutation| [cell("lvc", permutation, 2), cell("dice", permutation, 1)])
        .collect();
    let study = Study { seed: 3, mdps: [1, 2], repeats: 2, cells };
    let (measured, _) = study.run(saved).unwrap();
    measured.into_iter().flat_map(|cell| [cell.correlations, cell.deviations]).collect()
}

/// Every number of hessian_bias on small processes.
fn accuracies(saved: &Saved) -> Vec<Vec<f64>> {
    let (samples, epsilons) = (vec![3, 7], vec![0.0, 0.5]);
    let experiment = Experiment { seed: 3, states: 3, actions: 2, mdps: 3, horizon: 4, samples, epsilons };
    experiment.run(saved).unwrap().into_iter().map(|row| row.correlations).collect()
}

/// Every number of score_function_1d's, at some N.
fn learning() -> Vec<Vec<f64>> {
    let errors = learning::errors(-1.0, 20_000, 7, 3).differences;
    let curves = learning::learn(3, 2, 4, 20_000, 3, &ProgressBar::hidden());
    errors.into_iter().chain(curves.map(|curve| curve.numbers())).collect()
}

#[test]
fn studies_have_the_same_bits_at_any_number_of_threads() {
    let folder = folder("threads");
    let new = || Saved::open(&folder, "threads", false).unwrap();
    assert_eq!(with_threads(1, || meta_gradients(&new())), with_threads(3, || meta_gradients(&new())));
    assert_eq!(with_threads(1, || accuracies(&new())), with_threads(3, || accuracies(&new())));
    assert_eq!(with_threads(1, learning), with_threads(3, learning));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_study_that_was_ended_goes_on_to_the_same_bits() {
    let folder = folder("resumed");
    let file = folder.join("finished.txt");
    for study in [meta_gradients, accuracies] {
        let whole = study(&Saved::open(&folder, "settings", false).unwrap());
        let text = std::fs::read_to_string(&file).unwrap();
        // One part is finished, and of the next only half is written.
        let first = text.match_indices('\n').nth(1).unwrap().0 + 1;
        let next = text[first..].find('\n').unwrap() / 2;
        std::fs::write(&file, &text[..first + next]).unwrap();
        assert_eq!(study(&Saved::open(&folder, "settings", true).unwrap()), whole);
        // All is in the file again, in whatever order.
        let sorted = |text: &str| {
            let names = text.lines().skip(1).map(|line| line.split(' ').next().unwrap().to_owned());
            let mut names: Vec<String> = names.collect();
            names.sort();
            names
        };
        assert_eq!(sorted(&std::fs::read_to_string(&file).unwrap()), sorted(&text));
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_is_saved_is_read_and_not_computed_again() {
    let folder = folder("saved");
    let numbers = vec![0.1 + 0.2, -0.0, f64::MIN_POSITIVE / 4.0, f64::INFINITY, 1e300, f64::NAN];
    let saved = Saved::open(&folder, "settings", false).unwrap();
    saved.part("3,4", || Ok(numbers.clone())).unwrap();
    drop(saved);
    let again = Saved::open(&folder, "settings", true).unwrap().part("3,4", || unreachable!()).unwrap();
    assert!(numbers.iter().zip(&again).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()));

    let other = Saved::open(&folder, "other settings", true).err().unwrap().to_string();
    assert!(other.contains("finished.txt") && other.contains("a run with other options"), "{other}");
    // Without being asked to resume, it begins anew.
    let new = Saved::open(&folder, "other settings", false).unwrap();
    assert_eq!(new.part("3,4", || Ok(vec![1.0])).unwrap(), [1.0]);
    std::fs::remove_dir_all(folder).unwrap();
}
