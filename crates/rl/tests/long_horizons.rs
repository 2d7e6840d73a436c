//! Products of a thousand likelihood ratios: beyond the range of numbers where they multiply 0, and below it.

use ad::{Tape, Var};
use ndarray::{Array1, Array2, Axis};
use rl::batch::Batch;
use rl::objective::{Deep, Estimator, LoadedDice, all, allow_biased};
use rl::rollout::{Rollout, Steps};

/// What is known by hand: the estimators that are Σ_t r_t Π_{k≤t} ρ_k where there is neither critic nor discount.
const IMPORTANCE_SAMPLING: [&str; 6] = ["is", "dr", "dr_q", "loaded", "dice_baseline", "dice_mao"];

/// The value and its first two derivatives by a number x, of one trajectory with log π = x and log ρ_t as given, at x = −½.
fn derivatives(estimator: &dyn Estimator, log_ratios: &[f64], rewards: &[f64]) -> [f64; 3] {
    mean_derivatives(estimator, log_ratios, &[rewards])
}

/// The same of several trajectories.
fn mean_derivatives(estimator: &dyn Estimator, log_ratios: &[f64], rewards: &[&[f64]]) -> [f64; 3] {
    let (trajectories, horizon) = (rewards.len(), log_ratios.len());
    let rewards = Array2::from_shape_fn((trajectories, horizon), |(n, t)| rewards[n][t]);
    let states = Array2::<i32>::zeros((trajectories, horizon + 1));
    let actions = Array2::<i32>::zeros((trajectories, horizon));
    let rollout =
        Rollout::new(states, actions, rewards, vec![horizon; trajectories], vec![true; trajectories]).unwrap();
    let tape = Tape::new();
    let x = tape.input("x", ndarray::arr0(-0.5));
    let log_behaviour = Array1::from_iter(log_ratios.iter().map(|log_ratio| -0.5 - log_ratio));
    let log_behaviour = log_behaviour.insert_axis(Axis(0)).broadcast((trajectories, horizon)).unwrap().to_owned();
    let batch = Batch::new(rollout.record(&tape), x.broadcast_to(&[trajectories, horizon]), 1.0);
    let batch = batch.off_policy(tape.constant(&log_behaviour));
    let value = allow_biased(estimator).surrogate(&batch);
    let results: Vec<Var> = (0..=2).map(|order| value.derivative(x, order)).collect();
    let results = ad::evaluate(&results);
    [0, 1, 2].map(|order| results[order].sum())
}

fn named(name: &str) -> Box<dyn Estimator> {
    all().into_iter().find(|estimator| estimator.facts().name == name).unwrap()
}

#[track_caller]
fn assert_close(found: [f64; 3], expected: [f64; 3]) {
    for (found, expected) in found.into_iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-13 * expected.abs(), "{found}, not {expected}");
    }
}

fn at(steps: usize, t: usize) -> Vec<f64> {
    (0..steps).map(|k| f64::from(k == t)).collect()
}

#[test]
fn a_reward_at_the_first_step_is_weighted_by_its_ratio_however_long_it_goes_on() {
    // r_0 = 1: the value is e^{x + 3/2} = e at x = −½, and so are its derivatives.
    let e = 1.0_f64.exp();
    for steps in [10, 709, 710, 711, 1000, 5000] {
        let found = |estimator: &dyn Estimator| derivatives(estimator, &vec![1.0; steps], &at(steps, 0));
        for name in IMPORTANCE_SAMPLING.into_iter().chain(["lvc", "taypo2", "taypo3", "loaded_lambda", "loaded_tau"]) {
            assert_close(found(&*named(name)), [e; 3]);
        }
        assert_close(found(&LoadedDice { lambda: 0.9999, ..LoadedDice::UNBIASED }), [e; 3]);
        assert_close(found(&Deep { over_steps: false, ..Deep::of(LoadedDice::UNBIASED) }), [e; 3]);
    }
}

#[test]
fn what_compares_trajectories_does_so_at_any_length() {
    // Rewards 1 and 0 at the first step, 0 behind. By the others' mean: (e + 0)/2 and (−e + 1)/2 in the mean, without a
    // derivative; by the batch's: (1 − ½) e and (0 − ½) e, which is 0.
    let (one, none) = (at(1000, 0), at(1000, 1000));
    let found = |name| mean_derivatives(&*named(name), &[1.0; 1000], &[&one, &none]);
    let (others, whole) = (found("dice_leave_one_out"), found("dice_centred"));
    assert!((others[0] - 0.5).abs() < 1e-15, "{others:?}");
    assert_eq!((others[1], others[2], whole), (0.0, 0.0, [0.0; 3]));
}

#[test]
fn products_that_leave_the_range_of_numbers_and_come_back_are_right() {
    // 800 steps up, 800 down, and only then a reward: Π ρ = e^{1600 (x + ½)} = 1.
    for sign in [1.0, -1.0] {
        let log_ratios: Vec<f64> = (0..1600).map(|t| if t < 800 { sign } else { -sign }).collect();
        for name in IMPORTANCE_SAMPLING {
            assert_close(derivatives(&*named(name), &log_ratios, &at(1600, 1599)), [1.0, 1600.0, 1600.0 * 1600.0]);
        }
    }
}

#[test]
fn products_that_vanish_leave_what_came_before_them() {
    let e = (-1.0_f64).exp();
    for name in IMPORTANCE_SAMPLING {
        let found = |t| derivatives(&*named(name), &[-1.0; 1000], &at(1000, t));
        assert_close(found(0), [e; 3]);
        assert_eq!(found(999), [0.0; 3]);
    }
}

#[test]
fn a_value_beyond_the_range_of_numbers_is_infinite_with_its_sign_and_no_nan() {
    for name in IMPORTANCE_SAMPLING {
        let value = |rewards: &[f64]| derivatives(&*named(name), &[1.0; 1000], rewards)[0];
        assert_eq!(value(&[1.0; 1000]), f64::INFINITY);
        // The last term is the largest.
        let alternating: Vec<f64> = (0..1000).map(|t| if t % 2 == 0 { 1.0 } else { -1.0 }).collect();
        assert_eq!(value(&alternating), f64::NEG_INFINITY);
        assert_eq!(value(&[0.0; 1000]), 0.0);
    }
}

#[test]
fn a_reward_of_nothing_is_differentiated_by_what_it_would_weigh() {
    // Π_{k≤t} ρ_k = e^{t+1}, however far beyond the range of numbers the last ones are.
    for steps in [3, 1000] {
        let tape = Tape::new();
        let rewards = tape.input("rewards", Array2::<f64>::zeros((1, steps)));
        let log_prob = rewards.full_like(-0.5);
        let batch = Batch::new(Steps::full(rewards), log_prob, 1.0).off_policy(log_prob - 1.0);
        let weights = named("is").surrogate(&batch).grad(rewards).value();
        for t in 0..3 {
            assert!((weights[[0, t]] / (t as f64 + 1.0).exp() - 1.0).abs() < 1e-13, "{weights}");
        }
    }
}
