//! What the proofs say at the edges: NaN, rewards in other units, actions that are never taken, critics and estimators of a
//! user's own.

use std::panic::Location;

use ad::{Tape, Var, values};
use ndarray::{Array1, Array2, ArrayD, IxDyn, array};
use rl::additive::{Additive, Softmax};
use rl::batch::Batch;
use rl::env::Horizon;
use rl::env::TabularMdp;
use rl::error::Error;
use rl::meta::sampled;
use rl::meta::{Objective, Role, Roles, evaluates_to, exact_value};
use rl::objective::{
    Claim, DoublyRobust, DoublyRobustQ, End, Estimator, Facts, ImportanceSampling, LoadedDice, Orders, ScoreFunction,
    TayPo, TayPo2Subsampled, all, allow_biased,
};
use rl::policy::{Numbers, Table, softmax};
use rl::report::{EstimatorReport, Plan};
use rl::rollout::Episodes;
use rl::truth::{SampledUpdate, Setting, check_additive, check_estimator, check_unbiased, max_abs};
use study::exact::Problem;

/// P(s'|s, a) of two states and actions, and R(s, a).
fn process() -> TabularMdp {
    let transition = array![[[0.7, 0.3], [0.2, 0.8]], [[0.5, 0.5], [0.9, 0.1]]];
    TabularMdp::new(transition, array![[1.0, 0.0], [0.0, 2.0]]).unwrap()
}

// NaN.

#[test]
fn the_largest_of_numbers_with_a_nan_is_nan_wherever_it_stands() {
    assert_eq!(
        (max_abs(&[]), max_abs(&[0.5, -2.0, 1.0]), max_abs(&[1.0, f64::NEG_INFINITY])),
        (0.0, 2.0, f64::INFINITY)
    );
    for numbers in [[f64::NAN, 0.0, 1.0], [0.0, f64::NAN, 1.0], [0.0, 1.0, f64::NAN], [f64::INFINITY, f64::NAN, 0.0]] {
        assert!(max_abs(&numbers).is_nan(), "{numbers:?}");
    }
}

#[test]
fn an_expectation_that_is_nan_is_not_unbiased() {
    // √Σ(log π − stop log π)² is 0, and its derivative 0/0.
    let setting = Setting::new(&process(), &array![[0.3, -0.2], [0.1, 0.4]], 1, 0.9);
    let surrogate = |batch: &Batch| {
        let change = batch.log_prob() - batch.log_prob().stop_gradient();
        ImportanceSampling.surrogate(batch) + change.square().sum().sqrt()
    };
    let report = check_unbiased(surrogate, &setting, 1, 1).unwrap();
    let gradient = &report.orders[1];
    // State 1 is never acted in: what comes last are zeros.
    assert_eq!(gradient.expectation.mapv(f64::is_nan), array![[true, true], [false, false]].into_dyn());
    assert!(report.is_unbiased(0) && !report.is_unbiased(1), "{report}");
    assert!(gradient.max_abs_bias().is_nan() && gradient.relative_bias().is_nan());
    let text = report.to_string();
    assert!(text.contains("NaN") && text.trim_end().ends_with("BIASED"), "{text}");
}

#[test]
fn an_expectation_that_is_infinite_is_not_unbiased() {
    let setting = Setting::new(&process(), &array![[0.3, -0.2], [0.1, 0.4]], 1, 0.9);
    let infinite = |batch: &Batch| ImportanceSampling.surrogate(batch) / batch.rewards().full_like(0.0).sum();
    let report = check_unbiased(infinite, &setting, 1, 1).unwrap();
    assert!(!report.is_unbiased(0) && !report.is_unbiased(1), "{report}");
}

// Units.

#[test]
fn the_scale_is_that_of_the_terms_that_are_summed() {
    // One step, one state, π = (p, q): Σ_a π_a |r_a| of the value. With c (□(log π) − 1) added, which is 0, the gradient's
    // terms are (r_a + c) (e_a − π): p q (|r_0 + c| + |r_1 + c|) for either entry.
    let mdp = TabularMdp::new(ndarray::Array3::ones((1, 2, 1)), array![[3.0, -5.0]]).unwrap();
    let p = 1.0 / (1.0 + (-0.7_f64).exp());
    let varied = |batch: &Batch| ImportanceSampling.surrogate(batch) + (batch.ratio().mean() - 1.0) * 1e9;
    let setting = Setting::new(&mdp, &array![[0.7, 0.0]], 1, 1.0);
    let report = check_unbiased(varied, &setting, 1, 1).unwrap();
    approx::assert_relative_eq!(report.orders[0].scale, 3.0 * p + 5.0 * (1.0 - p), max_relative = 1e-14);
    approx::assert_relative_eq!(report.orders[1].scale, (2e9 - 2.0) * p * (1.0 - p), max_relative = 1e-14);
    assert!(report.is_unbiased(0) && report.is_unbiased(1), "{report}");
    approx::assert_relative_eq!(report.orders[1].truth[[0, 0]], 8.0 * p * (1.0 - p), max_relative = 1e-14);
    let text = report.to_string();
    assert!(text.contains("of terms up to") && text.contains(&format!("{:.3e}", report.orders[1].scale)), "{text}");
}

#[test]
fn a_verdict_does_not_depend_on_the_unit_of_reward() {
    let problem = Problem::new(0, true, 3).unwrap();
    let in_unit = |estimator: &dyn Estimator, off_policy: bool, unit: f64| {
        let (mdp, critic) = (&problem.mdp, array![1.7, -0.6]);
        let rewards = mdp.reward() * unit;
        let mdp = TabularMdp::new(mdp.transition().clone(), rewards).unwrap();
        let mdp = mdp.with_termination(problem.mdp.termination().clone()).unwrap();
        let setting = Setting::new(&mdp, &problem.logits, 2, 0.9);
        let setting = if off_policy { setting.off_policy(&problem.behaviour) } else { setting };
        let action_critic = array![[0.5, 1.5], [-1.0, 2.0]] * unit;
        let setting = setting.with_action_critic(&action_critic).with_critic(&(critic * unit));
        check_estimator(estimator, &setting, 2).unwrap()
    };
    for off_policy in [false, true] {
        for estimator in all() {
            let plain = in_unit(&*estimator, off_policy, 1.0);
            for unit in [1e-200, 1e-6, 1e6, 1e200] {
                let report = in_unit(&*estimator, off_policy, unit);
                for (order, plain) in report.orders.iter().zip(&plain.orders) {
                    assert_eq!(order.is_unbiased(), plain.is_unbiased(), "{} {unit}\n{report}", estimator.facts().name);
                    assert!(
                        (order.relative_bias() - plain.relative_bias()).abs() <= 1e-13 + 1e-9 * plain.relative_bias()
                    );
                }
            }
        }
    }
    // A number of today's unit would have said the opposite, twice.
    let (large, small) = (in_unit(&ImportanceSampling, false, 1e8), in_unit(&ScoreFunction, false, 1e-12));
    assert!(large.is_unbiased(2) && large.orders[2].max_abs_bias() > 1e-10, "{large}");
    assert!(!small.is_unbiased(2) && small.orders[2].max_abs_bias() < 1e-10, "{small}");
}

#[test]
fn what_cancels_within_each_trajectory_is_rounding_too() {
    // A reward of 1/3 everywhere, and its exact value for a critic: temporal differences are rounding alone.
    let mdp = TabularMdp::new(process().transition().clone(), Array2::from_elem((2, 2), 1.0 / 3.0)).unwrap();
    for unit in [1.0, 1e6] {
        let mdp = TabularMdp::new(mdp.transition().clone(), mdp.reward() * unit).unwrap();
        let critic = Array1::from_elem(2, unit / 3.0 / (1.0 - 0.9));
        let setting = Setting::new(&mdp, &array![[0.3, -0.2], [0.1, 0.4]], 3, 0.9).with_critic(&critic);
        for estimator in [&DoublyRobust as &dyn Estimator, &LoadedDice::UNBIASED, &TayPo { order: 3 }] {
            let report = check_estimator(estimator, &setting, 3).unwrap();
            (0..=3).for_each(|order| assert!(report.is_unbiased(order), "{} {report}", estimator.facts().name));
        }
    }
}

#[test]
fn a_small_bias_of_a_saturated_policy_is_seen() {
    // In a saturated policy derivatives are small, and a half of one is none of rounding.
    let logits = array![[25.0, 0.0], [0.0, 25.0]];
    let setting = Setting::new(&process(), &logits, 2, 0.9);
    let half = |batch: &Batch| ImportanceSampling.surrogate(batch) * 0.5;
    let (right, wrong) =
        (check_estimator(&ImportanceSampling, &setting, 3).unwrap(), check_unbiased(half, &setting, 3, 1).unwrap());
    for order in 1..=3 {
        assert!(right.is_unbiased(order) && !wrong.is_unbiased(order), "{right}{wrong}");
        assert!(wrong.orders[order].max_abs_bias() < 1e-10);
    }
}

// Actions that are never taken.

const MASKED: [[f64; 2]; 2] = [[0.3, f64::NEG_INFINITY], [0.1, 0.4]];

/// ∇^k of V of two steps with γ = 0.9 by hand: action 0 is certain in state 0, so that
/// V = 1 + 0.9 (0.7 · 1 + 0.3 · 2 σ(θ₁₁ − θ₁₀)).
fn masked_truth() -> Vec<ArrayD<f64>> {
    let s = 1.0 / (1.0 + (-0.3_f64).exp());
    let sigmoid = [s, s * (1.0 - s), s * (1.0 - s) * (1.0 - 2.0 * s), s * (1.0 - s) * (1.0 - 6.0 * s + 6.0 * s * s)];
    let derivative = |order: usize| {
        ArrayD::from_shape_fn(IxDyn(&[2, 2].repeat(order)), |index| {
            let parameters: Vec<(usize, usize)> = (0..order).map(|i| (index[2 * i], index[2 * i + 1])).collect();
            let sign: f64 = parameters.iter().map(|&(_, action)| if action == 1 { 1.0 } else { -1.0 }).product();
            let constant = if order == 0 { 1.63 } else { 0.0 };
            if parameters.iter().all(|&(state, _)| state == 1) { constant + 0.54 * sigmoid[order] * sign } else { 0.0 }
        })
    };
    (0..=3).map(derivative).collect()
}

#[test]
fn a_masked_action_has_the_value_and_the_derivatives_that_are_known_by_hand() {
    let expected = masked_truth();
    approx::assert_relative_eq!(expected[0].sum(), 1.940_198_959_078_295_8, max_relative = 1e-13);
    let setting = Setting::new(&process(), &array![MASKED[0], MASKED[1]], 2, 0.9);
    let behaviours = [None, Some(array![[0.2, f64::NEG_INFINITY], [0.5, 0.1]]), Some(array![[0.2, -0.1], [0.5, 0.1]])];
    for behaviour in &behaviours {
        let setting = behaviour.as_ref().map_or(setting.clone(), |behaviour| setting.clone().off_policy(behaviour));
        for estimator in all() {
            // Off policy AD weighs log 0.
            if behaviour.is_some() && estimator.facts().name == "ad" {
                continue;
            }
            let report = check_estimator(&*estimator, &setting, 3).unwrap();
            for (order, expected) in report.orders.iter().zip(&expected) {
                assert!(max_abs(&(&order.truth - expected)) <= 1e-14, "{}", order.truth);
                assert!(
                    order.expectation.iter().all(|x| x.is_finite()),
                    "{}: {}",
                    estimator.facts().name,
                    order.expectation
                );
                if estimator.facts().claim.contains(order.order, behaviour.is_some()) {
                    assert!(order.is_unbiased(), "{}\n{report}", estimator.facts().name);
                    assert!(max_abs(&(&order.expectation - expected)) <= 1e-13, "{}", order.expectation);
                }
                // Whatever the estimator: nothing depends on the logits of the state without a choice.
                for (index, x) in order.expectation.indexed_iter() {
                    let in_state_0 = (0..order.order).any(|i| index[2 * i] == 0);
                    assert!(!in_state_0 || *x == 0.0, "{}: {index:?} {x}", estimator.facts().name);
                }
            }
        }
    }
}

#[test]
fn a_masked_action_has_critics_too() {
    let (critic, action_critic) = (array![1.7, -0.6], array![[0.5, 1.5], [-1.0, 2.0]]);
    for behaviour in [None, Some(array![[0.2, -0.1], [0.5, 0.1]])] {
        let setting = Setting::new(&process(), &array![MASKED[0], MASKED[1]], 2, 0.9);
        let setting = behaviour.iter().fold(setting, |setting, behaviour| setting.off_policy(behaviour));
        let setting = setting.with_action_critic(&action_critic).with_critic(&critic);
        for estimator in all() {
            let report = check_estimator(&*estimator, &setting, 3).unwrap();
            let claimed = |order: &usize| estimator.facts().claim.contains(*order, behaviour.is_some());
            (0..=3)
                .filter(claimed)
                .for_each(|order| assert!(report.is_unbiased(order), "{} {report}", estimator.facts().name));
        }
    }
}

#[test]
fn a_masked_action_is_as_one_whose_probability_underflows_through_sampled_updates() {
    // e^−800 is 0, but −800 is a number like any other.
    let far = array![[0.3, -800.0], [0.1, 0.4]];
    for (steps, outer) in [(1, None), (2, None), (1, Some(1))] {
        for estimator in sampled::all() {
            let check = |logits: &Array2<f64>| {
                let problem = SampledUpdate::new(&process(), logits, 2, 0.9).credit(estimator.credit).steps(steps);
                let problem = outer.map_or(problem.clone(), |outer| problem.sampled_outside(outer));
                problem.check(estimator.surrogate, 1).unwrap()
            };
            let (masked, far) = (check(&array![MASKED[0], MASKED[1]]), check(&far));
            for (masked, far) in masked.orders.iter().zip(&far.orders) {
                let scale = far.scale;
                assert!(max_abs(&(&masked.truth - &far.truth)) <= 1e-14 * scale, "{}", estimator.name);
                assert!(max_abs(&(&masked.expectation - &far.expectation)) <= 1e-14 * scale, "{}", estimator.name);
            }
            assert!(!estimator.unbiased || masked.is_unbiased(1), "{masked}");
        }
    }
}

#[test]
fn a_masked_outcome_of_a_distribution_is_none() {
    let numbers = array![1.0, -2.0, 0.5];
    let feature = |x: ad::Index, theta: Var| (theta.full_like(0.0) + &numbers).gather([x]);
    let objective = Additive::new(Softmax { outcomes: 3 }, feature, |mean, _| mean.square());
    let theta = array![0.3, f64::NEG_INFINITY, 0.1].into_dyn();
    let report = check_additive(&objective, |x, theta| objective.score_function(x, theta), &theta, 2, 2).unwrap();
    (0..=2).for_each(|order| assert!(report.is_unbiased(order), "{report}"));
    // E[X̄²] = (E X² + (E X)²) / 2 over the other two.
    let p = 1.0 / (1.0 + (-0.2_f64).exp());
    let (mean, square) = (p + 0.5 * (1.0 - p), p + 0.25 * (1.0 - p));
    approx::assert_relative_eq!(report.orders[0].truth.sum(), (square + mean * mean) / 2.0, max_relative = 1e-14);
}

#[test]
fn inner_steps_leave_a_masked_action_masked() {
    let (mdp, policy) = (process(), Table { states: 2, actions: 2 });
    let (none, horizon) = (Numbers::new(), Horizon::Finite { steps: 2, terminal: None });
    let theta = Table::numbers(&Array2::zeros((2, 2)));
    let exact = Objective::twice(&none, &theta, exact_value(&policy, &mdp, 0.9, &horizon).unwrap());
    let known = |_: usize, _: &Numbers| Ok(mdp.to_values().into());
    let roles = Roles::all(Role { objective: &exact, data: &known });
    let of = |start: Array2<f64>| roles.meta_gradient(&none, &Table::numbers(&start), 3, 0.5).unwrap();
    let (masked, far) = (of(array![MASKED[0], MASKED[1]]), of(array![[0.3, -800.0], [0.1, 0.4]]));
    assert_eq!(masked.adapted["logits"][[0, 1]], f64::NEG_INFINITY);
    assert!(max_abs(&(&masked.by_start["logits"] - &far.by_start["logits"])) <= 1e-15);
    assert_eq!(masked.by_start["logits"][[0, 1]], 0.0);
    // What was finite and is not any more is an error still.
    let transition = array![[[0.7, 0.3], [0.2, 0.8]], [[0.5, 0.5], [0.9, 0.1]]];
    let steep = TabularMdp::new(transition, array![[1e300, 0.0], [0.0, 2e300]]).unwrap();
    let known = |_: usize, _: &Numbers| Ok(steep.to_values().into());
    let roles = Roles::all(Role { objective: &exact, data: &known });
    let error = roles.meta_gradient(&none, &Table::numbers(&array![[0.3, -0.1], [0.1, 0.4]]), 3, 1e10).unwrap_err();
    assert!(matches!(error, Error::NotFinite { .. }), "{error}");

    let tape = Tape::new();
    let theta = tape.input("theta", &array![f64::NEG_INFINITY, 0.5]);
    let moved = evaluates_to(&(theta + 1.0), &(theta * 3.0));
    assert_eq!(moved.value(), array![f64::NEG_INFINITY, 1.5].into_dyn());
    assert_eq!(moved.at(0, 1).grad(theta).value(), array![0.0, 3.0].into_dyn());
}

#[test]
fn a_masked_action_can_be_reported_on() {
    let setting = Setting::new(&process(), &array![MASKED[0], MASKED[1]], 3, 0.9).with_critic(&array![1.7, -0.6]);
    let plan = Plan { orders: vec![0, 1, 2], samples: vec![4], repeats: 5, seed: 1 };
    let report = EstimatorReport::new(&setting, &all(), &plan).unwrap();
    assert!(report.rows.iter().all(|row| row.truth_norm.is_finite() && row.mean_squared_error.value.is_finite()));
}

#[test]
fn a_critic_that_does_not_fit_is_an_error_that_says_which() {
    let setting = || Setting::new(&process(), &array![[0.3, -0.2], [0.1, 0.4]], 2, 0.9);
    let error = |setting: &Setting| check_estimator(&ImportanceSampling, setting, 1).unwrap_err().to_string();
    assert_eq!(error(&setting().with_critic(&array![1.0])), "critic has shape [1], but must have shape [2]");
    let message = error(&setting().with_action_critic(&Array2::zeros((2, 3))));
    assert_eq!(message, "action critic has shape [2, 3], but must have shape [2, 2]");
    let message = error(&setting().with_action_critic(&array![[0.0, f64::NEG_INFINITY], [0.0, 0.0]]));
    assert_eq!(message, "action critic [0, 1] = -inf must be finite");
    assert!(error(&setting().with_critic(&array![0.0, f64::NAN])).contains("critic [1] = NaN must be finite"));
}

// Estimators of a user's own.

/// Overrides what is differentiated: three times the mean, and for each trajectory five times the formula.
struct Overriding;

impl Estimator for Overriding {
    fn facts(&self) -> Facts {
        let claim = Claim::on_policy(Orders::UpTo(1));
        Facts { name: "overriding".to_owned(), claim, end: End::Nothing, smallest_batch: 1 }
    }
    fn formula(&self, batch: &Batch) -> Var {
        ImportanceSampling.formula(batch)
    }
    fn surrogate(&self, batch: &Batch) -> Var {
        ImportanceSampling.surrogate(batch) * 3.0
    }
    fn per_trajectory(&self, batch: &Batch) -> Var {
        self.formula(batch) * 5.0
    }
}

#[test]
fn what_an_estimator_overrides_counts_however_it_is_held() {
    let problem = Problem::new(1, true, 3).unwrap();
    let setting = Setting::new(&problem.mdp, &problem.logits, 2, 0.9);
    let truth = check_estimator(&ImportanceSampling, &setting, 1).unwrap().orders.swap_remove(1).truth;
    let boxed = || Box::new(Overriding) as Box<dyn Estimator>;
    let report = |estimator: &dyn Estimator| check_estimator(estimator, &setting, 1).unwrap();
    for report in [
        report(&Overriding),
        report(&boxed()),
        report(&allow_biased(&boxed())),
        report(&Box::new(allow_biased(&&Overriding))),
    ] {
        assert!(max_abs(&(&report.orders[1].expectation - &truth * 3.0)) <= 1e-13, "{report}");
        assert!(!report.is_unbiased(1));
    }
    let plan = Plan { orders: vec![0], samples: vec![4], repeats: 5, seed: 1 };
    let bias = |estimators: &[Box<dyn Estimator>]| {
        let report = EstimatorReport::new(&setting, estimators, &plan).unwrap();
        report.rows[0].mean_squared_error.value
    };
    let direct = EstimatorReport::new(&setting, &[Overriding], &plan).unwrap().rows[0].mean_squared_error.value;
    assert_eq!(bias(&[boxed()]), direct);
    assert!(direct > 2.0 * bias(&[Box::new(ImportanceSampling)]));

    let rollout = setting.sample(4, 0).unwrap();
    let tape = Tape::new();
    let theta = tape.input("theta", &problem.logits);
    let episodes = rollout.record(&tape);
    let batch = Batch::new(episodes, Table::log_prob_of(theta, &episodes), 0.9);
    let five = ImportanceSampling.per_trajectory(&batch).value() * 5.0;
    assert_eq!(boxed().per_trajectory(&batch).value(), five);
    assert_eq!(allow_biased(&boxed()).per_trajectory(&batch).value(), five);
}

#[test]
fn what_an_allowed_estimator_draws_is_allowed_too() {
    let problem = Problem::new(1, true, 3).unwrap();
    let rollout = problem.mdp.sample(&softmax(&problem.logits), 3, 4, 0).unwrap();
    let tape = Tape::new();
    let theta = tape.input("theta", &problem.logits);
    let episodes = rollout.record(&tape);
    let batch = Batch::new(episodes, Table::log_prob_of(theta, &episodes), 0.9);
    let estimator = TayPo2Subsampled::new(1, 0);
    let third = |estimator: &dyn Estimator| estimator.surrogate(&batch).derivative(theta, 3).value();
    let allowed = allow_biased(&estimator).redrawn(0).unwrap();
    assert_eq!(third(&*allowed), third(&allow_biased(&estimator)));
    let _ = third(&*allow_biased(&estimator).draws(3)[0].1);
}

// Critics that depend on θ.

/// V_θ(s) and Q_θ(s, a): any functions of the policy's parameters.
fn critics(theta: Var) -> (Var, Var) {
    let v = (theta * array![[1.0, -0.5], [0.3, 2.0]]).sum_axes(&[1]).exp();
    (v, theta.sin() * 2.0 + theta.sum())
}

#[test]
fn a_critic_that_shares_parameters_with_the_policy_is_numbers_to_every_estimator() {
    let problem = Problem::new(2, true, 4).unwrap();
    for off_policy in [false, true] {
        let sampler = if off_policy { &problem.behaviour } else { &problem.logits };
        let rollout = problem.mdp.sample(&softmax(sampler), 4, 30, 7).unwrap();
        let derivatives = |estimator: &dyn Estimator, shared: bool| {
            let tape = Tape::new();
            let theta = tape.input("theta", &problem.logits);
            let critic = critics(theta).0;
            let critic = if shared { critic } else { tape.constant(critic.value()) };
            let episodes = rollout.record(&tape);
            let batch = Batch::new(episodes, Table::log_prob_of(theta, &episodes), 0.9)
                .with_critic(critic.gather([episodes.states()]));
            let behaviour = tape.constant(&problem.behaviour).log_softmax();
            let batch = if off_policy { batch.off_policy(episodes.look_up(behaviour)) } else { batch };
            let each = allow_biased(estimator).per_trajectory(&batch);
            ad::evaluate(&(0..=3).map(|order| each.derivative(theta, order)).collect::<Vec<_>>())
        };
        for estimator in all() {
            for (shared, fixed) in derivatives(&*estimator, true).iter().zip(derivatives(&*estimator, false)) {
                assert!(max_abs(&(shared - &fixed)) <= 1e-13 * max_abs(&fixed), "{}", estimator.facts().name);
                assert!(max_abs(&fixed) > 0.0);
            }
        }
    }
}

#[test]
fn a_critic_that_is_differentiated_biases_ad_and_loaded_tau_and_moves_the_others_end() {
    let problem = Problem::new(3, true, 3).unwrap();
    let setting = Setting::new(&problem.mdp, &problem.logits, 3, 0.9);
    let gradient = |estimator: &dyn Estimator, differentiable: bool| {
        let surrogate = |batch: &Batch, episodes: &Episodes, theta: Var| {
            let values = critics(theta).0.gather([episodes.states()]);
            let batch =
                if differentiable { batch.with_differentiable_critic(values) } else { batch.with_critic(values) };
            allow_biased(estimator).surrogate(&batch).grad(theta)
        };
        setting.expectation(surrogate).unwrap()
    };
    // The value that counts V_θ(s_3), as numbers or as a function of θ.
    let truth = |differentiable: bool| {
        let tape = Tape::new();
        let (process, theta) = (problem.mdp.record(&tape), tape.input("theta", &problem.logits));
        let end = critics(theta).0;
        let end = if differentiable { end } else { end.stop_gradient() };
        process.start.dot(process.finite_value(theta.softmax(), 0.9, 3, Some(end))).grad(theta).value()
    };
    let apart = |a: &ArrayD<f64>, b: &ArrayD<f64>| max_abs(&(a - b));
    assert!(apart(&truth(true), &truth(false)) > 0.1);
    for name in ["ad", "dr", "dr_q", "loaded", "lvc", "taypo2", "taypo3", "taypo2_subsampled", "loaded_lambda"] {
        let estimator = all().into_iter().find(|estimator| estimator.facts().name == name).unwrap();
        assert!(apart(&gradient(&*estimator, false), &truth(false)) <= 1e-12, "{name}");
        let kept = gradient(&*estimator, true);
        match name {
            "ad" => assert!(apart(&kept, &truth(true)) > 0.1 && apart(&kept, &truth(false)) > 0.1),
            _ => assert!(apart(&kept, &truth(true)) <= 1e-12, "{name}"),
        }
    }
    // With an exact critic the gradient of `loaded_tau` is right; differentiated, that critic's derivatives stay.
    let tau = LoadedDice { tau: 0.5, ..LoadedDice::UNBIASED };
    assert!(apart(&gradient(&tau, true), &gradient(&tau, false)) > 0.1);
    assert!(apart(&gradient(&tau, true), &truth(true)) > 0.1);
}

#[test]
fn an_action_critic_that_depends_on_the_parameters_is_stopped_in_both_or_in_neither() {
    let problem = Problem::new(4, true, 3).unwrap();
    for off_policy in [false, true] {
        let setting = Setting::new(&problem.mdp, &problem.logits, 3, 0.9);
        let setting = if off_policy { setting.off_policy(&problem.behaviour) } else { setting };
        let found = |stop: fn(Var) -> Var, order: usize| {
            let surrogate = |batch: &Batch, episodes: &Episodes, theta: Var| {
                let q = stop(critics(theta).1);
                let expected = (theta.softmax() * q).sum_axes(&[1]).gather([episodes.states()]);
                let batch = batch.with_action_critic(episodes.look_up(q), expected);
                DoublyRobustQ.surrogate(&batch).derivative(theta, order)
            };
            setting.expectation(surrogate).unwrap()
        };
        let truth = |stop: fn(Var) -> Var, order: usize| {
            let tape = Tape::new();
            let (process, theta) = (problem.mdp.record(&tape), tape.input("theta", &problem.logits));
            let end = (theta.softmax() * stop(critics(theta).1)).sum_axes(&[1]);
            let values = process.finite_value(theta.softmax(), 0.9, 3, Some(end));
            process.start.dot(values).derivative(theta, order).value()
        };
        for order in 0..=3 {
            for stop in [Var::stop_gradient as fn(Var) -> Var, |q| q] {
                let (found, truth) = (found(stop, order), truth(stop, order));
                assert!(max_abs(&(&found - &truth)) <= 1e-12 * max_abs(&truth).max(1.0), "{found}\n{truth}");
            }
        }
        assert!(max_abs(&(truth(Var::stop_gradient, 1) - truth(|q| q, 1))) > 0.1);
    }
}

// Lines.

#[test]
fn a_number_that_is_not_finite_is_traced_to_a_line_of_the_users() {
    // ρ = e^800.
    let rollout = process().sample(&Array2::from_elem((2, 2), 0.5), 2, 3, 0).unwrap();
    let lines = |record: &dyn Fn(&Batch) -> (Var, &'static Location<'static>)| {
        let tape = Tape::new();
        let theta = tape.input("theta", Array2::<f64>::zeros((2, 2)));
        let episodes = rollout.record(&tape);
        let log_behaviour = tape.constant(Array2::from_elem((3, 2), -800.0));
        let batch = Batch::new(episodes, Table::log_prob_of(theta, &episodes), 0.9).off_policy(log_behaviour);
        let (result, line) = record(&batch);
        let error = tape.compile([theta], [result]).check_finite(&values![Array2::<f64>::zeros((2, 2))]).unwrap_err();
        let ad::Error::NotFinite { location, .. } = error else { panic!("{error}") };
        assert_eq!(location.file(), file!(), "{location}");
        (location.line(), line.line())
    };
    #[track_caller]
    fn with_line(result: Var) -> (Var, &'static Location<'static>) {
        (result, Location::caller())
    }
    let (found, line) = lines(&|batch| with_line(batch.ratio()));
    assert_eq!(found, line);
    for name in ["is", "dr", "loaded", "dice_mao", "dice_baseline", "lvc", "taypo2_subsampled", "dr_truncated"] {
        let estimator: Box<dyn Estimator> = all().into_iter().find(|estimator| estimator.facts().name == name).unwrap();
        for record in [
            &(|batch: &Batch| with_line(estimator.surrogate(batch))) as &dyn Fn(&Batch) -> _,
            &|batch| with_line((&*estimator as &dyn Estimator).surrogate(batch)),
            &|batch| with_line(allow_biased(&estimator).surrogate(batch)),
            &|batch| with_line(allow_biased(&*estimator).per_trajectory(batch).sum()),
            &|batch| with_line(estimator.formula(batch).sum()),
        ] {
            let (found, line) = lines(record);
            assert_eq!(found, line, "{name}");
        }
    }
    let (found, line) = lines(&|batch| with_line(TayPo { order: 2 }.surrogate(batch)));
    assert_eq!(found, line);
}
