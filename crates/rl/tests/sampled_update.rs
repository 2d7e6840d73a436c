//! Gradients through a sampled inner update, proved by enumeration of every tuple of trajectories.

use ad::Var;
use ndarray::{Array2, ArrayD, Axis, array};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rl::additive::{Additive, Finite, Samples, Trajectories};
use rl::env::{Horizon, TabularMdp};
use rl::meta::sampled::{self, Credit, MetaBatch, Outer};
use rl::policy::{Table, softmax};
use rl::truth::{ROUNDING, SampledUpdate, check_additive, derivatives, max_abs};

type Surrogate = fn(&MetaBatch<'_>) -> Var;

fn process(seed: u64, early_end: bool) -> (TabularMdp, Array2<f64>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mdp = TabularMdp::random(2, 2, 1.0, &mut rng).unwrap();
    let mdp = if early_end { mdp.with_termination(array![0.1, 0.4]).unwrap() } else { mdp };
    (mdp, Array2::from_shape_simple_fn((2, 2), || rng.random_range(-1.0..1.0)))
}

fn problem(seed: u64, horizon: usize, trajectories: usize) -> SampledUpdate {
    let (mdp, logits) = process(seed, false);
    SampledUpdate::new(&mdp, &logits, horizon, 0.9).trajectories(trajectories)
}

/// (expected gradient, true gradient).
fn gradient(problem: &SampledUpdate, surrogate: Surrogate) -> (ArrayD<f64>, ArrayD<f64>) {
    let order = problem.check(surrogate, 1).unwrap().orders.swap_remove(1);
    (order.expectation, order.truth)
}

fn bias(problem: &SampledUpdate, surrogate: Surrogate) -> ArrayD<f64> {
    let (found, truth) = gradient(problem, surrogate);
    found - truth
}

fn largest(x: &ArrayD<f64>) -> f64 {
    assert!(x.iter().all(|x| x.is_finite()), "{x}");
    max_abs(x)
}

const CREDITS: [Credit; 2] = [Credit::WholeReturn, Credit::ReturnToGo];

#[test]
fn the_score_function_is_unbiased_for_the_n_sample_objective() {
    for (horizon, trajectories) in [(2, 1), (2, 2), (3, 1), (3, 2), (2, 3)] {
        for credit in CREDITS {
            let problem = problem(0, horizon, trajectories).credit(credit);
            for surrogate in [sampled::score_function as Surrogate, sampled::sgmrl] {
                let report = problem.check(surrogate, 1).unwrap();
                assert!(report.is_unbiased(0) && report.is_unbiased(1), "{report}");
                assert!(report.orders[1].max_abs_truth() > 1e-2);
            }
        }
    }
}

#[test]
fn it_is_unbiased_at_every_order() {
    for credit in CREDITS {
        let report = problem(1, 2, 2).credit(credit).check(sampled::score_function, 3).unwrap();
        (0..=3).for_each(|order| assert!(report.is_unbiased(order), "{report}"));
    }
}

#[test]
fn it_is_unbiased_with_early_ends_and_over_several_inner_steps() {
    let (mdp, logits) = process(2, true);
    let problem = SampledUpdate::new(&mdp, &logits, 2, 0.9);
    for (steps, trajectories) in [(1, 2), (2, 1)] {
        let report = problem.clone().steps(steps).trajectories(trajectories).check(sampled::sgmrl, 1).unwrap();
        assert!(report.is_unbiased(0) && report.is_unbiased(1), "{report}");
    }
    let (mdp, logits) = process(3, false);
    let problem = SampledUpdate::new(&mdp, &logits, 1, 1.0);
    for (steps, trajectories) in [(2, 2), (3, 1), (4, 1)] {
        let report = problem.clone().steps(steps).trajectories(trajectories).check(sampled::sgmrl, 2).unwrap();
        (0..=2).for_each(|order| assert!(report.is_unbiased(order), "{report}"));
    }
}

#[test]
fn sgmrl_of_first_order_lacks_the_derivative_of_the_update() {
    for (horizon, trajectories) in [(2, 1), (2, 2), (3, 1)] {
        let problem = problem(5, horizon, trajectories);
        let expected = |surrogate: Surrogate| gradient(&problem, surrogate).0;
        // E[η H ∇V(θ′)]
        let lacking = expected(sampled::maml) - expected(sampled::first_order_maml);
        let difference = bias(&problem, sampled::sgmrl_first_order) + &lacking;
        assert!(largest(&difference) <= 1e-13 && largest(&lacking) > 1e-4, "{difference} of {lacking}");
    }
}

#[test]
fn sampling_outside_changes_no_expectation() {
    for (inner, outer) in [(1, 1), (1, 2), (2, 1)] {
        let exact = problem(4, 2, inner);
        let sampled_outside = exact.clone().sampled_outside(outer);
        for estimator in sampled::all() {
            let (with, without) =
                (sampled_outside.clone().credit(estimator.credit), exact.clone().credit(estimator.credit));
            let difference = gradient(&with, estimator.surrogate).0 - gradient(&without, estimator.surrogate).0;
            assert!(largest(&difference) <= 1e-12, "{}: {difference}", estimator.name);
            let report = with.check(estimator.surrogate, 1).unwrap();
            assert_eq!(
                report.is_unbiased(1),
                estimator.unbiased || (estimator.name == "emaml" && inner == 1),
                "{report}"
            );
        }
    }
}

#[test]
fn sgmrl_as_printed_and_with_boxed_inner_losses_is_biased_at_every_n() {
    for (horizon, trajectories) in [(3, 1), (3, 2), (2, 3)] {
        let problem = problem(0, horizon, trajectories);
        let (printed, truth) = gradient(&problem, sampled::sgmrl_as_printed);
        let bias_printed = largest(&(&printed - &truth));
        let bias_boxed = largest(&bias(&problem, sampled::sgmrl_boxed));
        println!(
            "H = {horizon}, N = {trajectories}: as printed {bias_printed:.3}, boxed {bias_boxed:.3}, truth {:.3}",
            largest(&truth)
        );
        assert!(bias_printed > 1e-3 && bias_boxed > 1e-3);
    }
}

#[test]
fn maml_is_biased_by_exactly_the_score_term_that_it_lacks() {
    for (steps, trajectories) in [(1, 1), (1, 2), (2, 1)] {
        let problem = problem(5, 2, trajectories).steps(steps);
        let score = problem.score_term().unwrap();
        let bias = bias(&problem, sampled::maml);
        assert!(largest(&(&bias + &score)) <= 1e-12, "{bias} {score}");
        assert!(largest(&bias) > 1e-3);
    }
}

#[test]
fn emaml_is_biased_by_the_factor_one_over_n() {
    for trajectories in [1, 2, 3] {
        let problem = problem(6, 2, trajectories);
        let expected = problem.score_term().unwrap() * (1.0 / trajectories as f64 - 1.0);
        let bias = bias(&problem, sampled::emaml);
        assert!(largest(&(&bias - &expected)) <= 1e-12);
        assert_eq!(largest(&bias) > 1e-8, trajectories > 1);
    }
}

#[test]
fn first_order_maml_lacks_the_updates_derivative_too() {
    let problem = problem(7, 2, 2);
    let (first, maml) = (bias(&problem, sampled::first_order_maml), bias(&problem, sampled::maml));
    assert!(largest(&first) > 1e-3 && largest(&(first - maml)) > 1e-3);
    // Without an update there is nothing to differentiate: at rate 0 both are ∇V, and so is the truth.
    let problem = problem.rate(0.0);
    assert!(largest(&bias(&problem, sampled::first_order_maml)) <= 1e-14);
    assert!(largest(&bias(&problem, sampled::maml)) <= 1e-14);
}

#[test]
fn the_bias_of_the_linearised_score_function_falls_with_n() {
    for credit in CREDITS {
        let biases: Vec<f64> = (1..=4)
            .map(|n| {
                let problem = problem(8, 2, n).credit(credit);
                let difference = gradient(&problem, sampled::linearised_score_function).0
                    - gradient(&problem, sampled::score_function).0;
                println!("{credit:?}, N = {n}: E[LSF] − E[SF] = {difference}");
                largest(&difference)
            })
            .collect();
        assert!(biases.windows(2).all(|pair| pair[1] < pair[0]) && biases[0] > 1e-3, "{biases:?}");
    }
}

#[test]
fn for_small_rates_the_boxed_update_leads_to_the_gradient_of_the_infinite_sample_objective() {
    // E[LSF] = ∇V + 2η ∇²V ∇V + O(η²) = ∇F_∞ + O(η²); MAML, whose Hessian is not the value's, is off by O(η).
    let (mdp, logits) = process(9, false);
    let error = |surrogate: Surrogate, rate: f64| {
        let problem = SampledUpdate::new(&mdp, &logits, 2, 0.9).trajectories(2).rate(rate);
        largest(&(gradient(&problem, surrogate).0 - infinite_sample_gradient(&mdp, &logits, 2, rate)))
    };
    let order = |surrogate: Surrogate| (error(surrogate, 2e-3) / error(surrogate, 1e-3)).log2();
    let (lsf, maml) = (order(sampled::linearised_score_function), order(sampled::maml));
    assert!((lsf - 2.0).abs() < 0.1 && (maml - 1.0).abs() < 0.1, "{lsf} {maml}");
}

/// ∇[V(θ + η ∇V(θ))].
fn infinite_sample_gradient(mdp: &TabularMdp, logits: &Array2<f64>, horizon: usize, rate: f64) -> ArrayD<f64> {
    let tape = ad::Tape::new();
    let (process, theta) = (mdp.record(&tape), tape.input("theta", logits));
    let value = |theta: Var| process.start.dot(process.finite_value(theta.softmax(), 0.9, horizon, None));
    value(theta + value(theta).grad(theta) * rate).grad(theta).value()
}

#[test]
fn taken_at_the_exact_update_the_linearised_estimate_is_unbiased_for_the_infinite_sample_objective() {
    let (mdp, logits) = process(10, false);
    let finite = Horizon::Finite { steps: 2, terminal: None };
    let value_gradient = derivatives(&mdp, &logits, 0.9, &finite, 1).unwrap().swap_remove(1);
    let rate = 0.7;
    let adapted = &logits + &(value_gradient * rate).into_dimensionality::<ndarray::Ix2>().unwrap();
    let truth = infinite_sample_gradient(&mdp, &logits, 2, rate);
    for credit in CREDITS {
        for trajectories in [1, 2] {
            let problem =
                SampledUpdate::new(&mdp, &logits, 2, 0.9).trajectories(trajectories).rate(rate).credit(credit);
            let at_exact = |batch: &MetaBatch<'_>| {
                sampled::linearised_at_exact_update(
                    batch,
                    &Table::params(batch.theta["logits"].full_like(0.0) + &adapted),
                )
            };
            let found = problem.check(at_exact, 1).unwrap().orders.swap_remove(1).expectation;
            assert!(largest(&(&found - &truth)) <= 1e-12);
            // With what sampling knows it is not.
            let sampled = gradient(&problem, sampled::linearised_score_function).0;
            assert!(largest(&(&sampled - &truth)) > 1e-4);
        }
    }
}

#[test]
fn meta_learning_is_an_n_sample_additive_objective() {
    let (mdp, logits) = process(11, false);
    let (rate, gamma, horizon) = (0.8, 0.9, 2);
    let discounts = array![1.0, gamma];
    let distribution = Trajectories { mdp: mdp.clone(), horizon };
    // φ(τ, θ) = R(τ) ∇log p_θ(τ), f(φ̄, θ) = V(θ + η φ̄): Tang 2022, section 2.4.
    let features = |episodes: Samples<Trajectories>, theta: Var| {
        let returns = (episodes.steps.rewards * &discounts).sum_axes(&[1]);
        let scores = Table::log_prob_of(theta, &episodes).sum_axes(&[1]).jacobian(theta);
        scores * returns.reshape(&[episodes.trajectories(), 1, 1])
    };
    let outer = |mean: Var, theta: Var| {
        // The process as constants beside θ.
        let policy = (theta + mean * rate).softmax();
        let zero = theta.sum().full_like(0.0);
        let (transition, reward) = (zero + mdp.transition(), zero + mdp.reward());
        let next = (policy.insert_axis(2) * transition).sum_axes(&[1]);
        let reward = (policy * reward).sum_axes(&[1]);
        let values = (1..horizon).fold(reward, |values, _| reward + next.matmul(values) * gamma);
        values.at(0, 0)
    };
    let objective = Additive::new(distribution, features, outer);
    for trajectories in [1, 2] {
        let problem = SampledUpdate::new(&mdp, &logits, horizon, gamma);
        let problem = problem.trajectories(trajectories).rate(rate).credit(Credit::WholeReturn);
        let theta = logits.clone().into_dyn();
        let general =
            check_additive(&objective, |x, theta| objective.score_function(x, theta), &theta, trajectories, 1);
        let linear = check_additive(
            &objective,
            |x, theta| objective.linearised_score_function(x, theta),
            &theta,
            trajectories,
            1,
        );
        for (general, surrogate) in [
            (general.unwrap(), sampled::score_function as Surrogate),
            (linear.unwrap(), sampled::linearised_score_function),
        ] {
            let special = problem.check(surrogate, 1).unwrap();
            for (general, special) in general.orders.iter().zip(&special.orders) {
                assert!(largest(&(&general.expectation - &special.expectation)) <= 1e-12);
                assert!(largest(&(&general.truth - &special.truth)) <= 1e-12);
            }
        }
    }
}

/// F_N(θ) by plain loops, with the softmax score written out: nothing of the tape, nor of the estimators.
fn objective_by_hand(mdp: &TabularMdp, logits: &Array2<f64>, horizon: usize, trajectories: usize, rate: f64) -> f64 {
    let policy = softmax(logits);
    let all = mdp.enumerate(&policy, horizon).unwrap();
    let gamma: f64 = 0.9;
    let gradients: Vec<Array2<f64>> = (0..all.probabilities.len())
        .map(|n| {
            let mut gradient = Array2::zeros(logits.dim());
            for t in 0..all.rollout.lengths()[n] {
                let to_go: f64 =
                    (t..all.rollout.lengths()[n]).map(|l| gamma.powi(l as i32) * all.rollout.rewards()[[n, l]]).sum();
                let (s, a) = (all.rollout.states()[[n, t]] as usize, all.rollout.action_numbers()[[n, t]] as usize);
                let mut row = gradient.index_axis_mut(Axis(0), s);
                row.scaled_add(-to_go, &policy.row(s));
                row[a] += to_go;
            }
            gradient
        })
        .collect();
    let count = all.probabilities.len();
    (0..count.pow(trajectories as u32))
        .map(|tuple| {
            let members = (0..trajectories).map(|i| tuple / count.pow(i as u32) % count);
            let mut adapted = logits.clone();
            let mut probability = 1.0;
            for member in members {
                adapted.scaled_add(rate / trajectories as f64, &gradients[member]);
                probability *= all.probabilities[member];
            }
            let policy = softmax(&adapted);
            let (states, actions) = mdp.reward().dim();
            let mut values = vec![0.0; states];
            for _ in 0..horizon {
                values = (0..states)
                    .map(|s| {
                        let action = |a: usize| {
                            let next: f64 = (0..states)
                                .map(|n| mdp.transition()[[s, a, n]] * (1.0 - mdp.termination()[n]) * values[n])
                                .sum();
                            policy[[s, a]] * (mdp.reward()[[s, a]] + gamma * next)
                        };
                        (0..actions).map(action).sum()
                    })
                    .collect();
            }
            probability * mdp.start().iter().zip(&values).map(|(p, v)| p * v).sum::<f64>()
        })
        .sum()
}

#[test]
fn the_truth_is_that_of_plain_loops_and_finite_differences() {
    for (early_end, horizon, trajectories) in [(false, 3, 1), (true, 2, 2)] {
        let (mdp, logits) = process(12, early_end);
        let rate = 0.6;
        let problem = SampledUpdate::new(&mdp, &logits, horizon, 0.9).trajectories(trajectories).rate(rate);
        let report = problem.check(sampled::sgmrl, 1).unwrap();
        let by_hand = |logits: &Array2<f64>| objective_by_hand(&mdp, logits, horizon, trajectories, rate);
        approx::assert_relative_eq!(report.orders[0].truth.sum(), by_hand(&logits), max_relative = 1e-13);
        let step = 1e-3;
        for s in 0..2 {
            for a in 0..2 {
                let at = |k: f64| {
                    let mut moved = logits.clone();
                    moved[[s, a]] += k * step;
                    by_hand(&moved)
                };
                // Of fourth order in the step.
                let difference = (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / (12.0 * step);
                approx::assert_abs_diff_eq!(report.orders[1].truth[[s, a]], difference, epsilon = 1e-10);
            }
        }
    }
}

#[test]
fn sgmrl_as_printed_is_the_products_of_its_equation() {
    // Eq. 39 with matrices, for two steps on sampled data.
    let (mdp, logits) = process(13, true);
    let rollouts: Vec<_> = (0..2).map(|seed| mdp.sample(&softmax(&logits), 3, 2, seed).unwrap()).collect();
    let tape = ad::Tape::new();
    let (process, theta) = (mdp.record(&tape), tape.input("theta", &logits));
    let inner: Vec<_> = rollouts.iter().map(|rollout| rollout.record(&tape)).collect();
    let credit = Credit::ReturnToGo;
    let (policy, params, gamma) = (Table { states: 2, actions: 2 }, Table::params(theta), 0.9.into());
    let outer = Outer::Exact(process.into());
    let batch = MetaBatch { policy: &policy, theta: &params, inner: &inner, outer, gamma, rate: 0.3, credit };
    let found = sampled::sgmrl_as_printed(&batch).grad(theta).value();

    let points = batch.adapt(|inner| credit.fixed_data(inner));
    let matrix = |step: usize| {
        let here = points[step]["logits"].stop_gradient();
        let params = Table::params(here);
        let (data, log_prob) = (batch.batch(step, &params), batch.log_prob(step, &params));
        let returns_to_go = data.discounted_sum(data.advantages() * data.log_prob());
        let (nu, score) = (returns_to_go.jacobian(here).reshape(&[2, 4]), log_prob.jacobian(here).reshape(&[2, 4]));
        let hessian = returns_to_go.mean().hessian(here).reshape(&[4, 4]);
        let factor = (nu.t().matmul(score) / 2.0 + hessian) * 0.3 + Array2::<f64>::eye(4);
        (factor, score.sum_axes(&[0]))
    };
    let ((first, first_score), (second, second_score)) = (matrix(0), matrix(1));
    let last = points[2]["logits"].stop_gradient();
    let value = batch.value(&Table::params(last));
    let gradient = value.grad(last).reshape(&[4]);
    let expected = first.matmul(second).matmul(gradient) + (first_score + first.matmul(second_score)) * value;
    let found = found.into_shape_with_order(4).unwrap().into_dyn();
    assert!(largest(&(&found - &expected.value())) <= 1e-13 * largest(&found), "{found}");
}

#[test]
fn beyond_its_claim_an_estimator_panics_with_its_name() {
    let (mdp, logits) = process(14, false);
    let rollout = mdp.sample(&softmax(&logits), 2, 3, 0).unwrap();
    for estimator in sampled::all() {
        let hessian = || {
            let tape = ad::Tape::new();
            let (process, theta) = (mdp.record(&tape), tape.input("theta", &logits));
            let (inner, outer) = ([rollout.record(&tape)], Outer::Exact(process.into()));
            let (policy, params, gamma) = (Table { states: 2, actions: 2 }, Table::params(theta), 0.9.into());
            let (theta, inner, credit) = (&params, &inner, estimator.credit);
            let batch = MetaBatch { policy: &policy, theta, inner, outer, gamma, rate: 0.3, credit };
            (estimator.surrogate)(&batch).hessian(params["logits"]).value()
        };
        let outcome = std::panic::catch_unwind(hessian);
        match outcome {
            Ok(_) => assert!(estimator.unbiased, "{}", estimator.name),
            Err(message) => {
                let message = message.downcast_ref::<String>().unwrap();
                assert!(message.contains(estimator.name), "{}: {message}", estimator.name);
            }
        }
    }
}

#[test]
fn too_many_tuples_and_none_are_typed_errors() {
    let problem = problem(0, 3, 4);
    let error = problem.check(sampled::maml, 1).unwrap_err();
    assert!(matches!(error, rl::error::Error::TooManyTrajectories { .. }), "{error}");
    let error = problem.trajectories(0).check(sampled::maml, 1).unwrap_err();
    assert!(error.to_string().contains("trajectories for an inner step"), "{error}");
}

#[test]
fn the_rows_for_exact_csv_are_unbiased_where_they_claim_it_and_biased_elsewhere() {
    for seed in 0..5 {
        let rows = study::sampled::sampled_biases(seed, 2).unwrap();
        let names: Vec<&str> = rows.iter().map(|row| row.estimator.as_str()).collect();
        for name in ["sf", "lsf", "sgmrl", "sgmrl_as_printed", "maml", "emaml"] {
            assert_eq!(names.iter().filter(|&&other| other == name).count(), 1);
        }
        for row in rows {
            println!("{seed} {row:?}");
            if row.bias.claimed {
                assert!(row.bias.relative_bias <= ROUNDING, "{row:?}");
            } else {
                assert!(row.bias.max_abs_bias > 1e-8, "{row:?}");
            }
            assert_eq!((row.policy, row.bias.order), ("on", 1));
            assert!(row.bias.max_abs_truth > 1e-3);
        }
    }
    let bias = study::sampled::linearisation_bias(0, 2).unwrap();
    println!("E[LSF] − E[SF] = {bias}");
    assert!(largest(&bias) > 1e-8);
}

#[test]
fn trajectories_have_the_probabilities_that_they_are_listed_with() {
    let (mdp, logits) = process(15, true);
    let distribution = Trajectories { mdp: mdp.clone(), horizon: 3 };
    let (outcomes, factors) = distribution.outcomes().unwrap();
    let policy = softmax(&logits);
    let listed = mdp.enumerate(&policy, 3).unwrap();
    assert_eq!(outcomes, listed.rollout);
    let tape = ad::Tape::new();
    let log_prob =
        rl::additive::Distribution::log_prob(&distribution, outcomes.record(&tape), tape.input("theta", &logits));
    let probabilities = log_prob.value().exp() * &factors.into_dyn();
    let expected = ndarray::Array1::from(listed.probabilities).into_dyn();
    assert!(largest(&(probabilities - expected)) <= 1e-15);
}
