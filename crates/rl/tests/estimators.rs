//! What the estimators claim, proved by enumeration, and the identities between them, sample by sample.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ad::{Tape, Var};
use ndarray::{Array2, ArrayD, array};
use rl::batch::{Batch, Decay};
use rl::env::Horizon;
use rl::env::TabularMdp;
use rl::objective::{
    DiceTmaml, DoublyRobust, DoublyRobustQ, End, Estimator, HessianTerms, ImportanceSampling, LoadedDice,
    ScoreFunction, TayPo, TayPo2Subsampled, TruncatedDoublyRobust, all, allow_biased,
};
use rl::policy::{Table, softmax};
use rl::rollout::{Episodes, Rollout, per_trajectory_gradients};
use rl::truth::{Report, Setting, check_estimator, check_unbiased, derivatives, max_abs};
use study::exact::{Problem, biases, settings};

fn small_problem(seed: u64, early_end: bool) -> Problem {
    Problem::new(seed, early_end, 3).unwrap()
}

#[test]
fn every_estimator_is_unbiased_at_every_order_it_claims() {
    for seed in 0..3 {
        for off_policy in [false, true] {
            for estimator in all() {
                for bias in biases(&*estimator, seed, off_policy, 3).unwrap().iter().filter(|bias| bias.claimed) {
                    assert!(
                        bias.max_abs_bias <= 1e-10,
                        "{} claims order {} (off policy: {off_policy}), but its bias is {} where the truth is {}",
                        estimator.facts().name,
                        bias.order,
                        bias.max_abs_bias,
                        bias.max_abs_truth
                    );
                }
            }
        }
    }
}

#[test]
fn what_is_not_claimed_is_biased() {
    let largest = |estimator: &dyn Estimator, order: usize, off_policy: bool| {
        biases(estimator, 0, off_policy, 3).unwrap()[order].max_abs_bias
    };
    let within = |estimator: &dyn Estimator, order: usize, range: std::ops::Range<f64>| {
        let bias = largest(estimator, order, false);
        assert!(range.contains(&bias), "{} at order {order}: {bias}", estimator.facts().name);
    };
    within(&ScoreFunction, 2, 1e-4..2.0);
    within(&ScoreFunction, 3, 1e-4..2.0);
    within(&TayPo { order: 1 }, 2, 1e-4..2.0);
    within(&TayPo { order: 1 }, 3, 1e-4..2.0);
    within(&TayPo { order: 2 }, 3, 1e-5..1.0);
    (1..=3).for_each(|order| within(&TruncatedDoublyRobust::default(), order, 1e-4..2.0));
    for order in 0..=3 {
        assert!(largest(&TayPo { order: 1 }, order, true) > 1e-5);
        assert!(largest(&TayPo { order: 2 }, order, true) > 1e-6);
        assert!(largest(&TayPo2Subsampled::new(1, 0), order, true) > 1e-6);
        assert!(largest(&TruncatedDoublyRobust::default(), order, true) > 1e-3);
    }
}

#[test]
fn taypo_3_is_unbiased_up_to_order_3_on_policy_and_no_further_nor_off_policy() {
    for (early_end, off_policy) in [(false, false), (true, false), (true, true)] {
        let setting = Problem::new(3, early_end, 4).unwrap().setting(0.9, off_policy, false).unwrap();
        let report = check_estimator(&TayPo { order: 3 }, &setting, 4).unwrap();
        (0..=3).for_each(|order| assert_eq!(report.is_unbiased(order), !off_policy, "{report}"));
        assert!(report.orders.iter().all(|order| order.is_unbiased() || order.max_abs_bias() > 1e-7), "{report}");
        assert!(!report.is_unbiased(4), "{report}");
    }
}

#[test]
fn taypo_is_exact_where_no_trajectory_is_longer_than_its_order() {
    for off_policy in [false, true] {
        for setting in settings(1, off_policy, 3).unwrap() {
            let report = check_estimator(&TayPo { order: 3 }, &setting, 3).unwrap();
            (0..=3).for_each(|order| assert!(report.is_unbiased(order), "{report}"));
        }
    }
}

#[test]
fn off_policy_each_derivative_costs_the_bias_one_power_of_the_policies_difference() {
    // Halving ‖π − μ‖ divides a bias of O(‖π − μ‖^p) by 2^p: p = K + 1 − m of the m-th derivative.
    let problem = small_problem(4, false);
    let biases = |estimator: &dyn Estimator, scale: f64, last: usize| -> Vec<f64> {
        let behaviour = &problem.logits + &((&problem.behaviour - &problem.logits) * scale);
        let setting = Setting::new(&problem.mdp, &problem.logits, 4, 0.9).off_policy(&behaviour);
        check_estimator(estimator, &setting, last).unwrap().orders.iter().map(|order| order.max_abs_bias()).collect()
    };
    let mut names = Vec::new();
    for estimator in all() {
        let claim = estimator.facts().claim;
        let Some(last) = claim.off_policy_residual else { continue };
        assert_eq!((claim.off_policy_power(0), claim.off_policy_power(last + 1)), (Some(last + 1), None));
        let (far, near) = (biases(&*estimator, 0.02, last), biases(&*estimator, 0.01, last));
        for order in 0..=last {
            let (rate, power) = ((far[order] / near[order]).log2(), claim.off_policy_power(order).unwrap());
            assert_eq!(power, last + 1 - order);
            assert!(
                (rate - power as f64).abs() < 0.05,
                "{} at order {order}: {rate}, not {power}",
                estimator.facts().name
            );
        }
        names.push(estimator.facts().name);
    }
    assert_eq!(names, ["is_one_step", "lvc", "taypo2", "taypo3", "taypo2_subsampled", "loaded_lambda"]);
}

#[test]
fn doubly_robust_is_its_recursion_from_the_end() {
    // v_t = V(s_t) + ρ_t (r_t + γ v_{t+1} − V(s_t)) by a loop over each trajectory, off policy.
    let problem = small_problem(2, true);
    let rollout = problem.mdp.sample(&softmax(&problem.behaviour), 5, 40, 7).unwrap();
    let found = per_sample(&DoublyRobust, 0, true);
    let critic = [1.7, -0.6];
    let ratio = softmax(&problem.logits) / softmax(&problem.behaviour);
    for n in 0..40 {
        let (length, state) = (rollout.lengths()[n], |t: usize| rollout.states()[[n, t]] as usize);
        let end = if rollout.terminated()[n] { 0.0 } else { critic[state(length)] };
        let value = (0..length).rev().fold(end, |next, t| {
            let here = critic[state(t)];
            here + ratio[[state(t), rollout.action_numbers()[[n, t]] as usize]]
                * (rollout.rewards()[[n, t]] + 0.9 * next - here)
        });
        approx::assert_relative_eq!(found[[n]], value, max_relative = 1e-13);
    }
}

/// Everything with a state critic on one batch: per-sample gradients (or Hessians) of an estimator.
fn per_sample(estimator: &dyn Estimator, order: usize, off_policy: bool) -> ArrayD<f64> {
    let problem = small_problem(2, true);
    let sampler = if off_policy { &problem.behaviour } else { &problem.logits };
    let rollout = problem.mdp.sample(&softmax(sampler), 5, 40, 7).unwrap();
    let tape = Tape::new();
    let theta = tape.input("theta", &problem.logits);
    let episodes = rollout.record(&tape);
    let critic = tape.constant(&array![1.7, -0.6]);
    let mut batch =
        Batch::new(episodes, Table::log_prob_of(theta, &episodes), 0.9).with_critic(critic.gather([episodes.states()]));
    if off_policy {
        batch = batch.off_policy(episodes.look_up(tape.constant(&problem.behaviour).log_softmax()));
    }
    allow_biased(estimator).per_trajectory(&batch).derivative(theta, order).value()
}

fn assert_equal(a: &ArrayD<f64>, b: &ArrayD<f64>) {
    let difference = max_abs(&(a - b));
    assert!(difference <= 1e-13 * max_abs(a).max(1.0), "they differ by {difference}");
}

#[test]
fn doubly_robust_is_loaded_dice_sample_by_sample_with_all_derivatives_on_and_off_policy() {
    for off_policy in [false, true] {
        for order in 0..=3 {
            assert_equal(
                &per_sample(&DoublyRobust, order, off_policy),
                &per_sample(&LoadedDice::UNBIASED, order, off_policy),
            );
        }
    }
}

#[test]
fn on_policy_all_gradients_with_a_critic_are_equal_sample_by_sample() {
    let reference = per_sample(&DoublyRobust, 1, false);
    assert_equal(&reference, &per_sample(&LoadedDice::UNBIASED, 1, false));
    assert_equal(&reference, &per_sample(&TayPo { order: 1 }, 1, false));
    assert_equal(&reference, &per_sample(&TayPo { order: 2 }, 1, false));
    assert_equal(&reference, &per_sample(&ScoreFunction, 1, false));
}

#[test]
fn on_policy_the_hessian_of_taypo_2_is_that_of_doubly_robust_sample_by_sample() {
    assert_equal(&per_sample(&TayPo { order: 2 }, 2, false), &per_sample(&DoublyRobust, 2, false));
}

// The doubly robust family.

#[test]
fn with_a_critic_of_states_for_q_the_doubly_robust_estimates_are_one() {
    for off_policy in [false, true] {
        for order in 0..=3 {
            assert_equal(&per_sample(&DoublyRobust, order, off_policy), &per_sample(&DoublyRobustQ, order, off_policy));
        }
    }
}

#[test]
fn the_bootstrap_of_a_q_critic_depends_on_the_policy_and_so_must_the_truth() {
    let problem = small_problem(7, true);
    let q = array![[0.5, 1.5], [-1.0, 2.0]];
    for off_policy in [false, true] {
        let setting = Setting::new(&problem.mdp, &problem.logits, 3, 0.9);
        let setting = if off_policy { setting.off_policy(&problem.behaviour) } else { setting }.with_action_critic(&q);
        let report = check_estimator(&DoublyRobustQ, &setting, 3).unwrap();
        (0..=3).for_each(|order| assert!(report.is_unbiased(order), "{report}"));
        // Held fixed, it is right for a value that counts those fixed numbers, and wrong for this one.
        let stopped = |batch: &Batch| {
            let expected = batch.expected_action_values();
            let last = expected.slice(1, 3..4).stop_gradient();
            let expected = Var::concat(&[expected.slice(1, 0..3), last], 1);
            DoublyRobustQ.formula(&batch.with_action_critic(batch.action_values(), expected)).mean()
        };
        let report = check_unbiased(stopped, &setting, 2, 1).unwrap();
        assert!(report.is_unbiased(0) && report.orders[1].max_abs_bias() > 0.01, "{report}");
        let expected = (softmax(&problem.logits) * &q).sum_axis(ndarray::Axis(1));
        let report = check_unbiased(stopped, &setting.with_critic(&expected), 2, 1).unwrap();
        (0..=2).for_each(|order| assert!(report.is_unbiased(order), "{report}"));
    }
}

#[test]
fn truncated_with_bounds_that_nothing_reaches_is_doubly_robust() {
    let far = TruncatedDoublyRobust { difference_bound: 100.0, trace_bound: 100.0 };
    for off_policy in [false, true] {
        for order in 0..=3 {
            assert_equal(&per_sample(&DoublyRobust, order, off_policy), &per_sample(&far, order, off_policy));
        }
    }
}

#[test]
fn truncated_claims_on_policy_what_its_bounds_let_through() {
    // Above 1 everything; at 1 the value, with half of the gradient, because a tie is shared; below 1 nothing.
    for setting in settings(2, false, 3).unwrap() {
        let report = |difference_bound, trace_bound| {
            let estimator = TruncatedDoublyRobust { difference_bound, trace_bound };
            let report = check_estimator(&estimator, &setting, 3).unwrap();
            let claimed = |order: &usize| estimator.facts().claim.contains(*order, false);
            (0..=3).filter(claimed).for_each(|order| assert!(report.is_unbiased(order), "{estimator:?} {report}"));
            report
        };
        assert!(report(1.5, 2.0).is_unbiased(3));
        assert!(!report(0.9, 2.0).is_unbiased(0) && !report(0.9, 1.0).is_unbiased(1));
        let tie = report(1.0, 1.0);
        assert!(tie.is_unbiased(0));
        assert_equal(&tie.orders[1].expectation, &(&tie.orders[1].truth * 0.5));
    }
}

// Sub-sampling.

#[test]
fn the_mean_over_all_sub_samplings_is_taypo_2_sample_by_sample() {
    for (pairs, outcomes) in [(1, 8), (2, 9), (3, 4), (4, 1), (7, 1)] {
        let draws = TayPo2Subsampled::new(pairs, 0).draws(5);
        assert_eq!(draws.len(), outcomes);
        approx::assert_relative_eq!(draws.iter().map(|(p, _)| p).sum::<f64>(), 1.0, max_relative = 1e-14);
        for off_policy in [false, true] {
            for order in 0..=2 {
                let whole = per_sample(&TayPo { order: 2 }, order, off_policy);
                let mut mean = ArrayD::zeros(whole.raw_dim());
                for (probability, outcome) in &draws {
                    mean.scaled_add(*probability, &per_sample(&**outcome, order, off_policy));
                }
                assert_equal(&mean, &whole);
            }
        }
    }
}

#[test]
fn a_single_sub_sampling_is_not_unbiased_and_enough_pairs_are_all_of_them() {
    let setting = small_problem(5, false).setting(0.9, false, false).unwrap();
    for (_, outcome) in TayPo2Subsampled::new(1, 0).draws(3) {
        let report = check_estimator(&*outcome, &setting, 2).unwrap();
        assert!(report.is_unbiased(1) && !report.is_unbiased(2), "{report}");
    }
    for seed in 0..3 {
        for order in 0..=2 {
            let all_pairs = per_sample(&TayPo2Subsampled::new(4, seed), order, true);
            assert_equal(&all_pairs, &per_sample(&TayPo { order: 2 }, order, true));
        }
    }
    let [a, b] = [0, 1].map(|seed| per_sample(&TayPo2Subsampled::new(1, seed), 0, true));
    assert_ne!(a, b);
}

// The Hessian's terms.

#[test]
fn the_four_terms_add_up_to_the_hessian_and_are_what_ad_and_lvc_have_and_lack() {
    for setting in settings(6, false, 3).unwrap() {
        let term = |choose: fn(&HessianTerms) -> Var| {
            setting.expectation(|batch, _, theta| choose(&HessianTerms::new(batch, theta))).unwrap()
        };
        let hessian =
            |estimator: &dyn Estimator| check_estimator(estimator, &setting, 2).unwrap().orders.swap_remove(2);
        let (h1, h2) = (term(|terms| terms.h1), term(|terms| terms.h2));
        let (h12, transposed) = (term(|terms| terms.h12), term(|terms| terms.h12_transposed));
        assert_equal(&term(HessianTerms::sum), &hessian(&DoublyRobust).truth);
        assert_equal(&h12.view().permuted_axes(vec![2, 3, 0, 1]).to_owned(), &transposed);
        let (ad, lvc) = (hessian(&ScoreFunction), hessian(&TayPo { order: 1 }));
        assert_equal(&ad.expectation, &h2);
        assert_equal(&lvc.expectation, &(&h1 + &h2));
        // The closed forms of their biases.
        assert_equal(&(&lvc.expectation - &lvc.truth), &-(&h12 + &transposed));
        assert_equal(&(&ad.expectation - &ad.truth), &-(&h1 + &h12 + &transposed));
        assert!(lvc.max_abs_bias() > 1e-3 && ad.max_abs_bias() > 1e-3);
    }
}

/// The surrogates of all estimators, with a discount and whatever their τ is, and their derivatives by the discount.
#[test]
fn a_discount_may_be_differentiated_by() {
    let problem = small_problem(6, true);
    let rollout = problem.mdp.sample(&softmax(&problem.behaviour), 5, 30, 3).unwrap();
    let tape = Tape::new();
    let theta = tape.input("theta", &problem.logits);
    let episodes = rollout.record(&tape);
    let critic = tape.constant(array![1.7, -0.6]).gather([episodes.states()]);
    let q = tape.constant(array![[1.2, 2.0], [-1.1, -0.3]]);
    let expected = (theta.softmax() * q).sum_axes(&[1]).gather([episodes.states()]);
    let behaviour = Table::log_prob_of(tape.constant(&problem.behaviour), &episodes);
    for estimator in all() {
        let estimate = |gamma: Decay, off_policy: bool| {
            let batch = Batch::new(episodes, Table::log_prob_of(theta, &episodes), gamma)
                .with_critic(critic)
                .with_action_critic(episodes.look_up(q), expected);
            let batch = if off_policy { batch.off_policy(behaviour) } else { batch };
            let surrogate = allow_biased(&*estimator).surrogate(&batch);
            // Beside the value, whose derivative may not depend on θ, a gradient's entry.
            surrogate + surrogate.grad(theta).at(0, 0).at(0, 1)
        };
        for off_policy in [false, true] {
            for at in [0.9, 0.3, 0.0] {
                let gamma = tape.input("gamma", at);
                let recorded = estimate(gamma.into(), off_policy);
                let number = |gamma: f64| estimate(gamma.into(), off_policy).item();
                assert!((recorded.item() - number(at)).abs() < 1e-12, "{} at {at}", estimator.facts().name);
                if at > 0.0 {
                    let h = 1e-5;
                    let difference = (number(at + h) - number(at - h)) / (2.0 * h);
                    let derivative = recorded.grad(gamma).item();
                    let close = (derivative - difference).abs() < 1e-7 * difference.abs().max(1.0);
                    assert!(close, "{} at {at}: {derivative}, not {difference}", estimator.facts().name);
                } else {
                    assert!(recorded.grad(gamma).item().is_finite(), "{} at 0", estimator.facts().name);
                }
            }
        }
    }
    // And λ of GAE, on its own.
    let batch = Batch::new(episodes, Table::log_prob_of(theta, &episodes), 0.9).with_critic(critic);
    let lambda = tape.input("lambda", 0.7);
    let derivative = batch.gae(lambda).square().sum().grad(lambda).item();
    let [above, below] = [0.70001, 0.69999].map(|lambda| batch.gae(lambda).square().sum().item());
    assert!((derivative - (above - below) / 2e-5).abs() < 1e-6 * derivative.abs(), "{derivative}");
}

#[test]
fn tamed_maml_has_dices_gradient_and_a_hessian_biased_by_what_its_control_variate_leaves() {
    for seed in 0..3 {
        let problem = small_problem(seed, true);
        let setting = problem.setting(0.9, false, false).unwrap();
        let report = check_estimator(&DiceTmaml, &setting, 2).unwrap();
        assert!(report.is_unbiased(0) && report.is_unbiased(1) && !report.is_unbiased(2), "{report}");
        // 2 E Σ_t γ^t b(s_t) u_t u_tᵀ
        let horizon = problem.horizon;
        let left = setting.expectation(|batch, _, theta| {
            let scores = batch.log_prob().jacobian(theta).reshape(&[horizon, 4]);
            let baseline = batch.steps.on_steps(batch.values().slice(1, 0..horizon)) * batch.discounts();
            ((scores * baseline.reshape(&[horizon, 1])).t().matmul(scores) * 2.0).reshape(&[2, 2, 2, 2])
        });
        let order = &report.orders[2];
        assert_equal(&(&order.expectation - &order.truth), &left.unwrap());
        assert!(order.max_abs_bias() > 1e-2);
    }
}

#[test]
fn the_mixed_term_is_how_an_action_changes_the_worth_of_later_ones() {
    // H12 = E Σ_t γ^t u_t ∇Q_t(s_t, a_t)ᵀ, with Q from dynamic programming and u_t from the policy's table.
    let problem = small_problem(1, false);
    let (logits, horizon, gamma) = (&problem.logits, problem.horizon, 0.9);
    let setting = Setting::new(&problem.mdp, logits, horizon, gamma);
    let h12 = setting.expectation(|batch, _, theta| HessianTerms::new(batch, theta).h12).unwrap();
    let expected = setting.expectation(|batch, episodes, theta| {
        let tape = Tape::new();
        let (process, theta_dp) = (problem.mdp.record(&tape), tape.input("theta", logits));
        let q_gradients: Vec<ArrayD<f64>> = (0..horizon)
            .map(|t| {
                let next = process.finite_value(theta_dp.softmax(), gamma, horizon - t - 1, None);
                let worth = (process.transition.reshape(&[4, 2]).matmul(next)).reshape(&[2, 2]) * gamma;
                // With no step left the value is 0 whatever θ; the sum keeps it linked.
                (worth + theta_dp.full_like(0.0).select(theta_dp, 0.0).sum()).jacobian(theta_dp).value()
            })
            .collect();
        let score = batch.log_prob().jacobian(theta).reshape(&[horizon, 4]);
        let (states, actions) = (episodes.states().slice(1, 0..horizon), episodes.actions.index());
        let terms = q_gradients.iter().enumerate().map(|(t, table)| {
            let here = [states.slice(1, t..t + 1), actions.slice(1, t..t + 1)];
            let gradient = (theta.sum().full_like(0.0) + table.clone()).gather(here).reshape(&[1, 4]);
            score.slice(0, t..t + 1).t().matmul(gradient) * gamma.powi(t as i32)
        });
        terms.reduce(|a, b| a + b).unwrap().reshape(&[2, 2, 2, 2])
    });
    assert_equal(&h12, &expected.unwrap());
}

#[test]
#[should_panic(expected = "HessianTerms: the decomposition holds on policy")]
fn the_terms_of_an_off_policy_batch_panic() {
    on_a_batch(|theta, batch, _| HessianTerms::new(&batch.off_policy(batch.log_prob().stop_gradient()), theta).sum());
}

#[test]
fn the_hessians_of_ad_lvc_and_taypo_2_differ_by_outer_products_of_scores() {
    // Hess LVC = Hess AD + Σ γ^t A_t u_t u_tᵀ; Hess TayPO-2 = Hess LVC + C + Cᵀ, C = Σ γ^t A_t u_t (Σ_{k<t} u_k)ᵀ.
    let problem = small_problem(2, true);
    let rollout = problem.mdp.sample(&softmax(&problem.logits), 5, 40, 7).unwrap();
    let tape = Tape::new();
    let theta = tape.input("theta", &problem.logits);
    let episodes = rollout.record(&tape);
    let critic = tape.constant(&array![1.7, -0.6]);
    let batch =
        Batch::new(episodes, Table::log_prob_of(theta, &episodes), 0.9).with_critic(critic.gather([episodes.states()]));
    let score = batch.log_prob().jacobian(theta).reshape(&[40, 5, 4]);
    let before = score.cumsum_exclusive(1);
    let weighted = score * (batch.advantages() * batch.discounts()).insert_axis(2);
    let outer = |a: Var, b: Var| a.transpose(&[0, 2, 1]).matmul(b).value();
    let square = outer(weighted, score);
    let coupling = outer(weighted, before);
    let coupling = &coupling + &coupling.clone().permuted_axes(vec![0, 2, 1]);
    let hessian =
        |estimator: &dyn Estimator| per_sample(estimator, 2, false).into_shape_with_order(vec![40, 4, 4]).unwrap();
    let (ad, lvc, taypo2) = (hessian(&ScoreFunction), hessian(&TayPo { order: 1 }), hessian(&TayPo { order: 2 }));
    assert_equal(&lvc, &(&ad + &square));
    assert_equal(&taypo2, &(&lvc + &coupling));
}

#[test]
fn the_reference_process_has_the_pinned_derivatives() {
    let transition = array![[[0.7, 0.3], [0.2, 0.8]], [[0.5, 0.5], [0.9, 0.1]]];
    let mdp = TabularMdp::new(transition, array![[1.0, 0.0], [0.0, 2.0]]).unwrap();
    let truth = derivatives(&mdp, &array![[0.3, -0.2], [0.1, 0.4]], 0.9, &Horizon::Infinite, 3).unwrap();
    approx::assert_relative_eq!(truth[0].sum(), 8.159686238900196, max_relative = 1e-14);
    let close = |found: &[f64], expected: &[f64]| {
        found.iter().zip(expected).for_each(|(a, b)| approx::assert_abs_diff_eq!(a, b, epsilon = 6e-9));
    };
    let flat: Vec<Vec<f64>> = truth.iter().map(|x| x.iter().copied().collect()).collect();
    close(&flat[1], &[1.19198681, -1.19198681, -1.65490588, 1.65490588]);
    let rows = [[-0.08126818, 0.08126818, 0.20064821, -0.20064821], [0.20064821, -0.20064821, -0.48979488, 0.48979488]];
    close(&flat[2][0..4], &rows[0]);
    close(&flat[2][4..8], &rows[0].map(|x| -x));
    close(&flat[2][8..12], &rows[1]);
    close(&flat[2][12..16], &rows[1].map(|x| -x));
    let third = |i: usize, j: usize| &flat[3][(i * 4 + j) * 4..][..4];
    close(third(0, 0), &[-0.58768226, 0.58768226, 0.00181289, -0.00181289]);
    close(third(0, 2), &[0.00181289, -0.00181289, 0.03787531, -0.03787531]);
    close(third(2, 2), &[0.03787531, -0.03787531, 0.61000944, -0.61000944]);
}

#[test]
fn an_undiscounted_value_without_certain_termination_is_a_typed_error() {
    let problem = small_problem(0, false);
    let error = derivatives(&problem.mdp, &problem.logits, 1.0, &Horizon::Infinite, 0).unwrap_err();
    assert!(matches!(error, rl::error::Error::UndiscountedWithoutTermination), "{error}");
    let problem = small_problem(0, true);
    derivatives(&problem.mdp, &problem.logits, 1.0, &Horizon::Infinite, 1).unwrap();
    let error = derivatives(&problem.mdp, &problem.logits, 1.5, &Horizon::Infinite, 0).unwrap_err();
    assert!(matches!(error, rl::error::Error::Decay { .. }), "{error}");
}

#[test]
fn the_finite_horizon_tends_to_the_infinite() {
    let problem = small_problem(3, true);
    let infinite = derivatives(&problem.mdp, &problem.logits, 0.9, &Horizon::Infinite, 2).unwrap();
    let horizon = Horizon::Finite { steps: 400, terminal: Some(array![5.0, -5.0]) };
    let finite = derivatives(&problem.mdp, &problem.logits, 0.9, &horizon, 2).unwrap();
    infinite.iter().zip(&finite).for_each(|(a, b)| assert_equal(a, b));
}

// What couples the trajectories of a batch.

fn coupled(surrogate: impl Fn(&Batch) -> Var, batch: usize) -> Report {
    let problem = small_problem(5, false);
    let setting = Setting::new(&problem.mdp, &problem.logits, 2, 0.9);
    check_unbiased(surrogate, &setting, 2, batch).unwrap()
}

/// Σ_t γ^t r_t, centred by `baseline` of the whole batch, in front of the score of the whole trajectory: REINFORCE.
fn centred(batch: &Batch, baseline: impl Fn(Var) -> Var) -> Var {
    let returns = batch.discounted_sum(batch.rewards());
    let whole = batch.log_prob().sum_axes(&[1]).magic_box();
    ((returns - baseline(returns)) * whole).mean()
}

#[test]
fn a_batch_mean_as_baseline_is_biased_by_exactly_one_minus_one_over_n() {
    for n in [2, 3] {
        let report = coupled(|batch| centred(batch, |returns| returns.mean()), n);
        for order in &report.orders[1..] {
            let factor = 1.0 - 1.0 / n as f64;
            assert_equal(&order.expectation, &(&order.truth * factor));
            assert!(!order.is_unbiased());
        }
    }
}

#[test]
fn a_leave_one_out_baseline_is_unbiased() {
    for n in [2, 3] {
        let others = |returns: Var| (returns.sum() - returns) * (1.0 / (n as f64 - 1.0));
        let report = coupled(|batch| centred(batch, others), n);
        assert!(report.is_unbiased(1) && report.is_unbiased(2), "{report}");
    }
}

#[test]
fn normalised_returns_are_biased_and_the_report_says_by_how_much() {
    let normalised = |batch: &Batch| {
        let returns = batch.discounted_sum(batch.rewards());
        let centred = returns - returns.mean();
        let deviation = (centred.square().mean() + 1e-8).sqrt();
        (centred / deviation * batch.log_prob().sum_axes(&[1]).magic_box()).mean()
    };
    let report = coupled(normalised, 3);
    assert!(report.orders[1].max_abs_bias() > 0.01);
    assert!(report.to_string().contains("BIASED"), "{report}");
    println!("{report}");
}

// Baselines.

fn with_baseline(term: impl Fn(&Batch, Var) -> Var) -> Report {
    let problem = small_problem(6, true);
    let setting =
        Setting::new(&problem.mdp, &problem.logits, 3, 0.9).with_critic(&array![0.8, -0.5]).ending(End::Nothing);
    let surrogate = |batch: &Batch| {
        let baseline = batch.steps.on_steps(batch.values_here_and_next().0);
        (ImportanceSampling.formula(batch) + batch.discounted_sum(term(batch, baseline))).mean()
    };
    check_unbiased(surrogate, &setting, 3, 1).unwrap()
}

#[test]
fn a_baseline_boxed_with_its_own_step_is_unbiased_at_every_order() {
    let report = with_baseline(|batch, baseline| baseline * (-batch.log_prob().magic_box() + 1.0));
    (0..=3).for_each(|order| assert!(report.is_unbiased(order), "{report}"));
}

#[test]
fn a_baseline_subtracted_unboxed_is_right_at_first_order_and_biased_at_second() {
    let report = with_baseline(|batch, baseline| -(baseline * batch.log_prob()));
    assert!(report.is_unbiased(1) && !report.is_unbiased(2), "{report}");
}

#[test]
fn a_baseline_boxed_with_its_whole_past_is_biased_at_first_order() {
    let report = with_baseline(|batch, baseline| baseline * (-batch.cumulative_ratio() + 1.0));
    assert!(!report.is_unbiased(1), "{report}");
}

// Limits.

fn panic_message(f: impl FnOnce() -> ArrayD<f64>) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it must panic");
    payload.downcast_ref::<String>().cloned().unwrap_or_default()
}

fn on_a_batch<R>(f: impl FnOnce(Var, &Batch, &Episodes) -> R) -> R {
    let problem = small_problem(8, false);
    let rollout = problem.mdp.sample(&softmax(&problem.logits), 4, 10, 3).unwrap();
    let tape = Tape::new();
    let theta = tape.input("theta", &problem.logits);
    let episodes = rollout.record(&tape);
    let batch = Batch::new(episodes, Table::log_prob_of(theta, &episodes), 0.9);
    f(theta, &batch, &episodes)
}

#[test]
fn a_derivative_beyond_the_claim_names_the_estimator_unless_asked_for_by_name() {
    on_a_batch(|theta, batch, _| {
        for (estimator, order) in [
            (&ScoreFunction as &dyn Estimator, 1),
            (&TayPo { order: 1 }, 1),
            (&TayPo { order: 2 }, 2),
            (&TayPo { order: 3 }, 3),
        ] {
            estimator.surrogate(batch).derivative(theta, order).value();
            let message = panic_message(|| estimator.surrogate(batch).derivative(theta, order + 1).value());
            let words = format!("{}: a derivative of order {} was asked for", estimator.facts().name, order + 1);
            assert!(message.contains(&words) && message.contains("allow_biased"), "{message}");
            allow_biased(estimator).surrogate(batch).derivative(theta, order + 1).value();
        }
        for estimator in [&ImportanceSampling as &dyn Estimator, &DoublyRobust, &DoublyRobustQ, &LoadedDice::UNBIASED] {
            estimator.surrogate(batch).derivative(theta, 4).value();
        }
    });
}

#[test]
fn an_inner_update_built_on_ads_gradient_cannot_be_differentiated() {
    on_a_batch(|theta, batch, episodes| {
        let adapted = theta + ScoreFunction.surrogate(batch).grad(theta) * 0.1;
        let outer = |adapted: Var| {
            let batch = Batch::new(batch.steps, Table::log_prob_of(adapted, episodes), 0.9);
            ImportanceSampling.surrogate(&batch)
        };
        let message = panic_message(|| outer(adapted).grad(theta).value());
        assert!(message.contains("ad: a derivative of order 2"), "{message}");
        // First-order MAML does not differentiate it.
        let _ = outer(adapted).grad(adapted).value();
        let dice = theta + ImportanceSampling.surrogate(batch).grad(theta) * 0.1;
        let _ = outer(dice).grad(theta).value();
    });
}

#[test]
fn off_policy_ad_claims_nothing() {
    on_a_batch(|theta, batch, _| {
        let batch = batch.off_policy(batch.log_prob().stop_gradient());
        let message = panic_message(|| ScoreFunction.surrogate(&batch).grad(theta).value());
        assert!(message.contains("ad: a derivative of order 1"), "{message}");
    });
}

// Data.

#[test]
fn what_lies_behind_an_end_reaches_no_number() {
    let problem = small_problem(9, true);
    let clean = problem.mdp.sample(&softmax(&problem.logits), 6, 30, 1).unwrap();
    assert!(
        clean.lengths().iter().any(|&length| length < 6) && clean.terminated().iter().any(|terminated| !terminated)
    );
    let soiled = {
        let (mut states, mut actions, mut rewards) =
            (clean.states().to_owned(), clean.action_numbers().to_owned(), clean.rewards().clone());
        for (n, &length) in clean.lengths().iter().enumerate() {
            (length..6).for_each(|t| (actions[[n, t]], rewards[[n, t]]) = (i32::MIN, f64::NAN));
            (length + 1..7).for_each(|t| states[[n, t]] = i32::MAX);
        }
        Rollout::new(states, actions, rewards, clean.lengths().to_vec(), clean.terminated().to_vec()).unwrap()
    };
    // A critic and a behaviour policy that are NaN wherever they must not be looked at.
    let numbers = |rollout: &Rollout, garbage: f64| {
        let (steps, values) = (rollout.taken(), rollout.counted());
        let tape = Tape::new();
        let theta = tape.input("theta", &problem.logits);
        let episodes = rollout.record(&tape);
        let critic = values.mapv(|counts| if counts == 1.0 { 0.7 } else { garbage });
        let log_behaviour = steps.mapv(|taken| if taken == 1.0 { -0.6 } else { garbage });
        let on_policy =
            Batch::new(episodes, Table::log_prob_of(theta, &episodes), 0.9).with_critic(tape.constant(&critic));
        let off_policy = on_policy.off_policy(tape.constant(&log_behaviour));
        let mut bits = Vec::new();
        for estimator in all() {
            for batch in [on_policy, off_policy] {
                for order in 0..=2 {
                    let value = allow_biased(&*estimator).surrogate(&batch).derivative(theta, order).value();
                    bits.extend(value.iter().map(|x| x.to_bits()));
                }
            }
        }
        bits
    };
    let reference = numbers(&clean, 0.0);
    assert!(reference.iter().all(|&bits| f64::from_bits(bits).is_finite()));
    assert_eq!(reference, numbers(&soiled, f64::NAN));
}

#[test]
fn the_critic_after_termination_counts_as_nothing_and_at_truncation_as_it_says() {
    let rollout =
        |terminated: bool| Rollout::new(array![[0, 1]], array![[0]], array![[2.0]], vec![1], vec![terminated]).unwrap();
    let value = |terminated: bool| {
        let tape = Tape::new();
        let theta = tape.input("theta", Array2::<f64>::zeros((2, 2)));
        let episodes = rollout(terminated).record(&tape);
        let batch = Batch::new(episodes, Table::log_prob_of(theta, &episodes), 0.5)
            .with_critic(tape.constant(array![[0.0, 10.0]]));
        DoublyRobust.surrogate(&batch).item()
    };
    assert_eq!(value(true), 2.0);
    assert_eq!(value(false), 7.0);
}

#[test]
fn per_trajectory_gradients_are_those_of_each_trajectory_alone() {
    let problem = small_problem(10, true);
    let rollout = problem.mdp.sample(&softmax(&problem.logits), 5, 9, 2).unwrap();
    let gradient = |rollout: &Rollout| {
        let tape = Tape::new();
        let theta = tape.input("theta", &problem.logits);
        per_trajectory_gradients(&rollout.record(&tape), theta, |one| {
            LoadedDice::UNBIASED.surrogate(&Batch::new(one, Table::log_prob_of(theta, &one), 0.9))
        })
        .value()
    };
    let together = gradient(&rollout);
    for i in 0..9 {
        let alone = gradient(&rollout.select(&[i]));
        assert_equal(
            &together.index_axis(ndarray::Axis(0), i).to_owned(),
            &alone.index_axis(ndarray::Axis(0), 0).to_owned(),
        );
    }
}

#[test]
fn a_program_recorded_on_one_rollout_runs_on_another() {
    let problem = small_problem(11, true);
    let sample = |seed: u64| problem.mdp.sample(&softmax(&problem.logits), 5, 20, seed).unwrap();
    let record = |rollout: &Rollout| {
        let tape = Tape::new();
        let theta = tape.input("theta", &problem.logits);
        let episodes = rollout.record(&tape);
        let surrogate = DoublyRobust.surrogate(&Batch::new(episodes, Table::log_prob_of(theta, &episodes), 0.9));
        tape.compile(episodes.handles(), [surrogate.grad(theta), surrogate.hessian(theta)])
    };
    let other = sample(1);
    let replayed = record(&sample(0)).run(&other.values()).unwrap();
    let recorded = record(&other).run(&other.values()).unwrap();
    assert_eq!(replayed, recorded);
}
