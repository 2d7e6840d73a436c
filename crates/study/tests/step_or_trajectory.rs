//! The numbers of the example `step_or_trajectory`: the toys' variances by quadrature, and what is adapted with one trajectory by
//! a loop over all of them.

use ad::values;
use ndarray::{Array1, Array2, ArrayD, arr1};
use rl::env::Horizon;
use rl::policy::softmax;
use rl::truth::derivatives;
use study::exact::Problem;
use study::step_or_trajectory::tables::distances;
use study::step_or_trajectory::toys::{MEAN, TOYS, Toy};
use study::tables::key;

#[track_caller]
fn assert_close(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{found}, not {expected}");
}

#[test]
fn the_toys_variances_are_those_of_quadrature() {
    // Three nodes of Gauss and Hermite are exact up to degree 5: the square of an estimate is of degree 4 in each ζ_i.
    let (nodes, weights) = ([-(3.0_f64.sqrt()), 0.0, 3.0_f64.sqrt()], [1.0 / 6.0, 2.0 / 3.0, 1.0 / 6.0]);
    for n in 1..=5 {
        let count = 3_usize.pow(n as u32);
        let digit = |outcome: usize, i: usize| outcome / 3_usize.pow(i as u32) % 3;
        let noise = ArrayD::from_shape_fn(vec![count, n, 1], |at| nodes[digit(at[0], at[1])]);
        let weight: Vec<f64> = (0..count).map(|k| (0..n).map(|i| weights[digit(k, i)]).product()).collect();
        let estimates = Toy::program(n, count).run(&values![arr1(&[MEAN]), noise]).unwrap();
        for (toy, estimates) in TOYS.iter().zip(&estimates) {
            let mean = |f: &dyn Fn(f64) -> f64| estimates.iter().zip(&weight).map(|(x, w)| w * f(*x)).sum::<f64>();
            let first = mean(&|x| x);
            assert_close(first, if matches!(toy, Toy::MetaScoreFunction | Toy::MetaLinearised) { 0.0 } else { 1.0 });
            assert_close(mean(&|x| (x - first).powi(2)), toy.variance(n));
            if let Some(printed) = toy.printed_variance(n) {
                assert!(n == 1 || toy.variance(n) - printed > 0.9);
            }
        }
    }
}

#[test]
fn what_is_adapted_with_one_trajectory_is_the_sum_over_all() {
    let (seed, index, gamma, rate) = (3, 4, 0.9, 1.0);
    let Problem { mdp, logits, .. } = Problem::new(key(&[seed, index]), false, 2).unwrap();
    let policy = softmax(&logits);
    let gradient = |logits: &Array2<f64>| -> Array2<f64> {
        let horizon = Horizon::Finite { steps: 2, terminal: None };
        let all = derivatives(&mdp, logits, gamma, &horizon, 1).unwrap();
        all[1].clone().into_dimensionality().unwrap()
    };
    // ∇²log π(a|s) v is −(diag π − π πᵀ) v in row s, whatever a.
    let curvature = |state: usize, v: &Array2<f64>| -> Array1<f64> {
        let (row, v) = (policy.row(state), v.row(state));
        let mean = row.dot(&v);
        -(&row * &v.mapv(|x| x - mean))
    };
    let all = mdp.enumerate(&policy, 2).unwrap();
    let (rollout, zero) = (&all.rollout, Array2::<f64>::zeros((2, 2)));
    let (mut there, mut term, mut hessian) = (zero.clone(), zero.clone(), Vec::new());
    for (i, &probability) in all.probabilities.iter().enumerate() {
        let (states, actions, rewards) = (rollout.states(), rollout.action_numbers(), rollout.rewards());
        let earned = rewards[[i, 0]] + gamma * rewards[[i, 1]];
        let mut score = zero.clone();
        for t in 0..2 {
            let (s, a) = (states[[i, t]] as usize, actions[[i, t]] as usize);
            score[[s, a]] += 1.0;
            let mut row = score.row_mut(s);
            row -= &policy.row(s);
            hessian.push((probability * earned, s));
        }
        let after = gradient(&(&logits + rate * earned * score));
        let mut value = after.clone();
        for t in 0..2 {
            let s = states[[i, t]] as usize;
            let mut row = value.row_mut(s);
            row += &(rate * earned * curvature(s, &after));
        }
        there.scaled_add(probability, &after);
        term.scaled_add(probability, &value);
    }
    let exact = gradient(&(&logits + rate * gradient(&logits)));
    let mut exact_term = exact.clone();
    for (weight, s) in hessian {
        let mut row = exact_term.row_mut(s);
        row += &(rate * weight * curvature(s, &exact));
    }
    let length = |x: &Array2<f64>| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let found = distances(seed, index as usize).unwrap()[0];
    assert_close(found.gradient, length(&(&there - &exact)) / length(&exact));
    assert_close(found.term, length(&(&term - &exact_term)) / length(&exact_term));
}
