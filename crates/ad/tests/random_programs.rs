//! Random programs: whatever is composed of smooth operations, its derivatives, its batched form and its replays are right.

mod common;

use ad::{Modes, Tape, Var, check_gradients, vmap_many};
use common::random_program::{Step, points, run, steps};
use common::{assert_close, example, weighted};
use ndarray::{ArrayD, Axis};
use proptest::prelude::*;

fn record(tape: &Tape, at: &[ArrayD<f64>]) -> Vec<Var> {
    at.iter().map(|x| tape.input("x", x)).collect()
}

/// The value, gradients and Hessian-vector products (along the variables themselves).
fn everything(steps: &[Step], x: &[Var]) -> Vec<Var> {
    let loss = run(steps, x);
    let gradients = loss.grad(x);
    let products = loss.hvp(x, x);
    [vec![loss], gradients, products].concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn its_derivatives_are_those_of_finite_differences(steps in steps(), at in points()) {
        let outcome = check_gradients(|x| run(&steps, x), &at, 2, Modes::Both);
        prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    }

    #[test]
    fn mapped_it_is_a_loop(steps in steps(), batch in prop::collection::vec(points(), 3), mask in 1..8_usize) {
        let tape = Tape::new();
        let is_batched = |i: usize| mask & (1 << i) != 0;
        let x: Vec<Var> = (0..3)
            .map(|i| {
                let examples: Vec<_> = batch.iter().map(|at| at[i].view()).collect();
                let stacked = ndarray::stack(Axis(0), &examples).unwrap();
                tape.input("x", if is_batched(i) { stacked } else { example(&stacked, 0) })
            })
            .collect();
        let mapped_ones: Vec<ad::Handle> = (0..3).filter(|&i| is_batched(i)).map(|i| x[i].into()).collect();
        for which in 0..7 {
            let mapped = vmap_many(
                |arguments| {
                    let mut arguments = arguments.iter();
                    let choose = |i: usize| if is_batched(i) { arguments.next().unwrap().var() } else { x[i] };
                    everything(&steps, &(0..3).map(choose).collect::<Vec<_>>())[which]
                },
                &mapped_ones,
            );
            let one = |k: usize| {
                let choose = |i: usize| if is_batched(i) { x[i].at(0, k) } else { x[i] };
                everything(&steps, &(0..3).map(choose).collect::<Vec<_>>())[which]
            };
            let looped = Var::stack(&[one(0), one(1), one(2)], 0);
            assert_close(&format!("result {which}"), &mapped.value(), &looped.value(), 1e-11);
            let (mapped, looped) = (weighted(mapped).grad(&x), weighted(looped).grad(&x));
            for (mapped, looped) in mapped.iter().zip(&looped) {
                assert_close(&format!("gradient of result {which}"), &mapped.value(), &looped.value(), 1e-10);
            }
        }
    }

    #[test]
    fn replayed_at_other_inputs_it_is_what_would_be_recorded_there(
        steps in steps(), here in points(), there in points()
    ) {
        let compiled_at = |at: &[ArrayD<f64>]| {
            let tape = Tape::new();
            let x = record(&tape, at);
            (tape.compile(x.iter().copied(), everything(&steps, &x)), ad::evaluate(&everything(&steps, &x)))
        };
        let ((program, evaluated_here), (fresh, evaluated_there)) = (compiled_at(&here), compiled_at(&there));
        let [here, there] = [&here, &there].map(|at| ad::values![at[0], at[1], at[2]]);
        let replayed = program.run(&there).unwrap();
        prop_assert_eq!(&replayed, &fresh.run(&there).unwrap());
        // And back again.
        let back = program.run(&here).unwrap();
        prop_assert_eq!(&back, &fresh.run(&here).unwrap());
        // A number that is no input may be combined with others when it is compiled: then results round differently.
        for (a, b) in replayed.iter().zip(&evaluated_there).chain(back.iter().zip(&evaluated_here)) {
            assert_close("evaluated", a, b, 1e-11);
        }
    }

    #[test]
    fn its_hessian_is_symmetric_and_both_modes_agree(steps in steps(), at in points()) {
        let tape = Tape::new();
        let x = record(&tape, &at);
        let loss = run(&steps, &x);
        for x in x {
            let hessian = loss.hessian(x).reshape(&[x.size(), x.size()]).value();
            assert_close("symmetry", &hessian, &hessian.t().to_owned().into_dyn(), 1e-12);
            let reverse = loss.grad(x).jacobian_reverse(x).reshape(&[x.size(), x.size()]);
            assert_close("modes", &hessian, &reverse.value(), 1e-12);
        }
    }
}
