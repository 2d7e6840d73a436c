//! The papers' theorems: numbers that are known from elsewhere, both sides found in another way, and misuse.

use ad::Var;
use ndarray::{Array1, Array2, Array3, ArrayD, array};
use rand::RngExt;
use rl::env::{Horizon, Process, TabularMdp};
use rl::error::Error;
use rl::meta::sampled::{self, Credit, MetaBatch};
use rl::objective::HessianTerms;
use rl::policy::{Table, softmax};
use rl::stream::stream;
use rl::truth::bounds::composition::{Assumptions, HessianEstimate, Meta, Walk, compositional};
use rl::truth::bounds::hessian::coupling;
use rl::truth::bounds::lsf::{self, Formulations, Moments, Toy};
use rl::truth::bounds::sgmrl::{self, Derivative, Inner, Variance};
use rl::truth::bounds::softmax::{Constants, THIRD, largest_change_of_curvature};
use rl::truth::bounds::{Outcomes, length, mean_and_variance, taypo};
use rl::truth::{SampledUpdate, Setting, derivatives};

/// Two states and two actions, episodes that may end.
fn problem() -> (TabularMdp, Array2<f64>) {
    let transition = array![[[0.7, 0.3], [0.2, 0.8]], [[0.5, 0.5], [0.9, 0.1]]];
    let mdp = TabularMdp::new(transition, array![[1.0, 0.0], [0.0, 2.0]]).unwrap();
    (mdp.with_termination(array![0.1, 0.3]).unwrap(), array![[0.3, -0.2], [0.1, 0.4]])
}

fn other_logits() -> Array2<f64> {
    array![[0.9, 0.1], [-0.5, 0.2]]
}

#[track_caller]
fn assert_close<'a>(found: impl IntoIterator<Item = &'a f64>, expected: impl IntoIterator<Item = &'a f64>) {
    let (found, expected): (Vec<f64>, Vec<f64>) =
        (found.into_iter().copied().collect(), expected.into_iter().copied().collect());
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{found}, not {expected}");
    }
}

#[test]
fn trajectories_in_closed_form_are_those_of_the_tape() {
    let (mdp, logits) = problem();
    let (horizon, gamma) = (3, 0.9);
    let setting = Setting::new(&mdp, &logits, horizon, gamma);
    for credit in [Credit::WholeReturn, Credit::ReturnToGo] {
        let outcomes = Outcomes::new(&mdp, horizon, gamma, credit).unwrap();
        let all = outcomes.at(&logits).unwrap();
        assert_close([&all.iter().map(|x| x.probability).sum()], [&1.0]);
        // Some quantity that all parts enter in other powers than in any theorem.
        let by_hand = all.iter().fold(Array1::<f64>::zeros(4), |sum, x| {
            let along = x.curvature.dot(&x.score) + &x.gradient * length(&x.gradient);
            sum + along * (x.probability * x.gain)
        });
        let by_tape = setting.expectation(|batch, _, theta| {
            let surrogate = credit.fixed_data(batch);
            let gradient = surrogate.grad(theta);
            let score = batch.log_prob().sum().grad(theta);
            let along = surrogate.hvp(theta, score) + gradient * gradient.square().sum().sqrt();
            along * batch.discounted_sum(batch.rewards()).sum()
        });
        assert_close(&by_hand, &by_tape.unwrap());
        let exact = outcomes.exact(&logits).unwrap();
        let truth = derivatives(&mdp, &logits, gamma, &Horizon::Finite { steps: horizon, terminal: None }, 2).unwrap();
        assert_close([&exact.value], &truth[0]);
        assert_close(&exact.gradient, &truth[1]);
        assert_close(&exact.hessian, &truth[2]);
        let hessian = all.iter().fold(Array2::<f64>::zeros((4, 4)), |sum, x| sum + x.hessian() * x.probability);
        assert_close(&hessian, &truth[2]);
    }
}

#[test]
fn the_two_formulations_are_those_that_the_tape_enumerates() {
    let (mdp, logits) = problem();
    let (horizon, gamma, rate, trajectories) = (2, 0.9, 0.7, 2);
    let outcomes = Outcomes::new(&mdp, horizon, gamma, Credit::WholeReturn).unwrap();
    let both = Formulations::of(&outcomes, &logits, rate, trajectories).unwrap();
    let update = SampledUpdate::new(&mdp, &logits, horizon, gamma)
        .rate(rate)
        .trajectories(trajectories)
        .credit(Credit::WholeReturn);
    let report = update.check(sampled::linearised_score_function, 1).unwrap();
    assert_close([&both.finite], &report.orders[0].truth);
    assert_close(&both.finite_gradient, &report.orders[1].truth);
    assert_close(&both.linearised, &report.orders[1].expectation);
    assert_close(&both.finite_second, &update.check(sampled::maml, 1).unwrap().orders[1].expectation);
    let limit = |theta: Var| {
        let process = Process {
            transition: theta.constant(mdp.transition()),
            reward: theta.constant(mdp.reward()),
            start: theta.constant(mdp.start()),
            termination: theta.constant(mdp.termination()),
        };
        let value = |theta: Var| process.start.dot(process.finite_value(theta.softmax(), gamma, horizon, None));
        value(theta + value(theta).grad(theta) * rate)
    };
    let (value, gradient) = ad::value_and_grad(limit, &logits);
    assert_close([&both.limit], [&value]);
    assert_close(&both.limit_gradient, &gradient);
    let (error, parts) = (both.plug_in_error(), [length(&both.covariance), length(&both.displacement)]);
    assert!(error < 1e-14 && parts.iter().all(|part| *part > 1e-4), "{error:e}, {parts:?}");
}

#[test]
fn a_variance_is_that_of_the_estimators_themselves() {
    let (mdp, logits) = problem();
    let (horizon, gamma, rate) = (2, 0.9, 0.7);
    for (credit, derivative, scores, surrogate) in [
        (Credit::ReturnToGo, Derivative::FixedData, 1.0, sampled::sgmrl as fn(&MetaBatch<'_>) -> Var),
        (Credit::ReturnToGo, Derivative::OuterProducts, 1.0, sampled::sgmrl_as_printed),
        (Credit::ReturnToGo, Derivative::FixedData, 0.0, sampled::maml),
    ] {
        let inner = Inner { rate, steps: 1, trajectories: 1 };
        let task = Outcomes::new(&mdp, horizon, gamma, credit).unwrap();
        let update = SampledUpdate::new(&mdp, &logits, horizon, gamma).rate(rate).credit(credit);
        let gradient = |batch: &MetaBatch<'_>| surrogate(batch).grad(batch.theta[Table::LOGITS]);
        for outer in [None, Some(1)] {
            let update = outer.map_or(update.clone(), |outer| update.clone().sampled_outside(outer));
            let mean = &update.check(surrogate, 1).unwrap().orders[1].expectation;
            let square = update.check(|batch| gradient(batch).square().sum(), 0).unwrap().orders[0].expectation.sum();
            let variance = square - mean.mapv(|x| x * x).sum();
            let split = Variance::of(std::slice::from_ref(&task), &logits, &inner, derivative, scores).unwrap();
            let found = outer.map_or(split.inner, |outer| split.total(1, outer));
            assert!((found / variance - 1.0).abs() < 1e-11, "{outer:?}: {found}, not {variance}");
            let all = sgmrl::estimates(&task, &logits, &inner, 1, derivative, scores).unwrap();
            assert_close(&mean_and_variance(all.iter().map(|(p, x)| (*p, x))).0, mean);
        }
    }
}

#[test]
fn the_coupling_of_steps_is_that_of_trajectories() {
    let (mdp, logits) = problem();
    let setting = Setting::new(&mdp, &logits, 4, 0.9);
    let expected = setting.expectation(|batch, _, theta| HessianTerms::new(batch, theta).h12).unwrap();
    assert_close(&coupling(&mdp, &logits, 0.9, 4).unwrap(), &expected);
}

#[test]
fn sampled_steps_lead_where_a_loop_over_them_leads() {
    let (mdp, logits) = problem();
    let (rate, outcomes) = (0.7, Outcomes::new(&problem().0, 2, 0.9, Credit::ReturnToGo).unwrap());
    let steps = |steps| Inner { rate, steps, trajectories: 1 };
    // One step with exact Hessians: (I + α∇²V) E∇V(θ̂¹) − (I + α∇²V) ∇V(θ¹).
    let both = Formulations::of(&outcomes, &logits, rate, 1).unwrap();
    let walk =
        |k, estimate| Walk::of(&outcomes, &outcomes, &Meta::Initialisation, &logits, &steps(k), estimate).unwrap();
    let one = walk(1, HessianEstimate::Unbiased);
    assert_close([&one.bias], [&length(&both.displacement)]);
    assert_close([&one.truth], [&length(&both.limit_gradient)]);
    assert!(one.hessian_bias < 1e-14 && walk(1, HessianEstimate::Plain).hessian_bias > 0.1);

    // Two steps, by enumeration on the tape: how far they are from the exact ones.
    let update = SampledUpdate::new(&mdp, &logits, 2, 0.9).rate(rate).steps(2);
    let first = &logits + &(outcomes.exact(&logits).unwrap().gradient.to_shape((2, 2)).unwrap().to_owned() * rate);
    let second = &first + &(outcomes.exact(&first).unwrap().gradient.to_shape((2, 2)).unwrap().to_owned() * rate);
    let distance = |batch: &MetaBatch<'_>| {
        let reached = batch.adapt_by_fixed_data()[2][Table::LOGITS];
        (reached - &second).square().sum().sqrt()
    };
    let expected: ArrayD<f64> = update.check(distance, 0).unwrap().orders[0].expectation.clone();
    let two = walk(2, HessianEstimate::Plain);
    assert_close([&two.distances[2]], &expected);
    assert_close([&two.distances[1]], [&one.distances[1]]);
    assert_eq!(two.distances[0], 0.0);
}

/// Numbers of settings that are specified: constants of softmax tables, and printed bounds.
#[test]
fn constants_are_what_they_are() {
    assert!((THIRD - 6.0_f64.sqrt() / 9.0).abs() < 1e-16);
    // ρ is reached between nearby policies at ½ ± √3/6.
    let p = 0.5 + 3.0_f64.sqrt() / 6.0;
    let logits = array![[p.ln(), (1.0 - p).ln()]];
    let near = &logits + &array![[1e-5, -1e-5]];
    let ratio = largest_change_of_curvature(&logits, &near).unwrap() / THIRD;
    assert!(ratio > 1.0 - 1e-5 && ratio <= 1.0, "{ratio}");

    let constants = Constants::softmax(1.0, 21, 0.9).unwrap();
    let inner = Inner { rate: 1e-9, steps: 1, trajectories: 10 };
    assert_eq!(sgmrl::gradient_bound_as_printed(&constants, &inner).round(), 877.0);
    // Every one of its terms is met: the corrected bound is 2738.3.
    assert!((sgmrl::gradient_bound(&constants, &inner) - 2738.34).abs() < 0.01);

    let constants = Constants::softmax(1.0, 100, 0.99).unwrap();
    let inner = Inner { rate: 1.0 / constants.printed().hessian, steps: 1, trajectories: 20 };
    assert_eq!((sgmrl::smoothness_as_printed(&constants, &inner) / 1e6).round(), 72.0);
    assert_eq!((sgmrl::smoothness_of_theorem_3(&constants, &inner) / 1e6).round(), 376.0);

    let toy = Toy { mean: 3.45_f64.sqrt(), std: 1.0, samples: 2 };
    assert!((toy.score_function() - 8.9).abs() < 1e-12 && (toy.score_function_as_printed() - 7.9).abs() < 1e-12);
    // Signs ±1 and N = 2: √2 times what is printed.
    assert!((0.5 / lsf::third_moment_of_mean_as_printed(1.0, 2) - 2.0_f64.sqrt()).abs() < 1e-15);
    assert!(0.5 <= lsf::third_moment_of_mean(1.0, 1.0, 2));
}

#[test]
fn sums_and_limits_of_constants_are_right() {
    let constants = Constants::softmax(-2.0, 3, 0.5).unwrap();
    assert_eq!((constants.discounts(), constants.credits(), constants.value()), (1.75, 2.75, 3.5));
    let undiscounted = Constants::softmax(1.0, 4, 1.0).unwrap();
    assert_eq!((undiscounted.discounts(), undiscounted.credits()), (4.0, 10.0));
    // No curvature at all is no special case: each step adds ασ/√N.
    assert_eq!(compositional(0.0, 0.5, 3, 2.0, 4), 1.5);
    assert!((compositional(1e-9, 0.5, 3, 2.0, 4) - 1.5).abs() < 1e-8);
}

/// Theorem 4.5 where it can be followed by hand: K = 1, and a second step.
#[test]
fn the_chain_rules_bound_is_the_sum_of_its_terms() {
    let all = Assumptions {
        rate: 0.5,
        steps: 1,
        trajectories: 4,
        std: 2.0,
        outer_gradient: 3.0,
        direct_lipschitz: 0.7,
        outer_lipschitz: 5.0,
        cross: 1.1,
        cross_lipschitz: 0.3,
        cross_bias: 0.2,
        inner_lipschitz: 2.0,
        hessian_lipschitz: 0.9,
        hessian_bias: 0.4,
    };
    let d1 = 0.5 * 2.0 / 2.0;
    assert_close([&all.meta_gradient()], [&(0.7 * d1 + 0.5 * (1.1 * 5.0 * d1 + 3.0 * 0.2))]);
    assert_close([&all.initialisation()], [&(3.0 * 0.5 * 0.4 + 5.0 * d1 * 2.0)]);
    assert_eq!(all.meta_gradient_as_printed(), 0.0);
    let two = Assumptions { steps: 2, ..all };
    let (d2, off) = (d1 * 3.0, 0.5 * (0.4 + 0.9 * d1));
    let first = 1.1 * (3.0 * off + 5.0 * d2 * 2.0) + 3.0 * 0.2 * 2.2;
    let second = 1.1 * 5.0 * d2 + 3.0 * (0.2 + 0.3 * d1);
    assert_close([&two.meta_gradient()], [&(0.7 * d2 + 0.5 * (first + second))]);
    assert!(two.meta_gradient_as_printed() > 0.0);
}

#[test]
fn residuals_hold_in_processes_of_any_size_and_do_not_depend_on_the_unit() {
    let mut rng = stream(7, 0);
    for (states, actions) in [(1, 2), (2, 3), (5, 4)] {
        let mdp = TabularMdp::random(states, actions, 1.0, &mut rng).unwrap();
        let scaled = TabularMdp::new(mdp.transition().clone(), mdp.reward() * 1e3).unwrap();
        let mut table = || softmax(&Array2::from_shape_simple_fn((states, actions), || rng.random_range(-1.0..1.0)));
        let (pi, mu) = (table(), table());
        let (distance, gamma) = (taypo::distance(&pi, &mu).unwrap(), 0.9);
        for order in 0..3 {
            let remainder = taypo::infinite_remainder(&mdp, &pi, &mu, gamma, order).unwrap();
            let span = taypo::infinite_span(&mdp, &pi, gamma).unwrap();
            let bound = taypo::infinite_residual(span, distance, gamma, order);
            // (With one state and two actions the bound is met.)
            let ratio = remainder.abs() / bound;
            assert!(ratio <= 1.0 + 1e-12 && (ratio < 0.999 || states == 1), "{states}×{actions}, K = {order}: {ratio}");
            let larger = taypo::infinite_remainder(&scaled, &pi, &mu, gamma, order).unwrap();
            assert!((larger - 1e3 * remainder).abs() <= 1e-9 * bound);
        }
        // Equal policies: nothing is left, and nothing is bounded by more.
        assert_eq!(taypo::infinite_remainder(&mdp, &pi, &pi, gamma, 0).unwrap(), 0.0);
        assert_eq!(taypo::increments(&mdp, &pi, &pi, gamma, 3).unwrap()[1..], [0.0; 3]);
    }
}

#[test]
fn moments_of_a_rademacher_step_are_known() {
    let mdp = TabularMdp::new(Array3::ones((1, 2, 1)), array![[1.0, 1.0]]).unwrap();
    let outcomes = Outcomes::new(&mdp, 1, 1.0, Credit::WholeReturn).unwrap();
    let moments = Moments::of(&outcomes, &array![[0.0, 0.0]]).unwrap();
    // R u = ±(½, −½), of length 1/√2; u uᵀ and ∇²log p are the same for both actions.
    assert_close(
        [&moments.gradient, &moments.third, &moments.fourth, &moments.cubic],
        [&0.5, &0.5_f64.powf(1.5), &0.25, &0.5_f64.powf(1.5)],
    );
    assert_close([&moments.hessian, &moments.outer, &moments.curvature], [&0.0; 3]);
}

#[test]
fn what_is_asked_wrongly_is_said() {
    let (mdp, logits) = problem();
    let outcomes = Outcomes::new(&mdp, 2, 0.9, Credit::WholeReturn).unwrap();
    let wide = Array2::zeros((3, 2));
    assert!(matches!(outcomes.at(&wide), Err(Error::Shape { .. })));
    assert!(matches!(outcomes.exact(&wide), Err(Error::Shape { .. })));
    assert!(matches!(outcomes.at(&(&logits * f64::NAN)), Err(Error::NotFinite { .. })));
    assert!(matches!(outcomes.adapt(&logits, f64::INFINITY, 1), Err(Error::Rate(_))));
    assert!(matches!(outcomes.adapt(&logits, 1.0, 0), Err(Error::Empty { .. })));
    assert!(matches!(outcomes.adapt(&logits, 1.0, 9), Err(Error::TooManyTrajectories { .. })));
    assert!(matches!(Outcomes::new(&mdp, 2, 1.5, Credit::WholeReturn), Err(Error::Decay { .. })));
    assert!(matches!(Outcomes::new(&mdp, 0, 0.9, Credit::WholeReturn), Err(Error::Empty { .. })));
    assert!(matches!(Constants::softmax(1.0, 0, 0.9), Err(Error::Empty { .. })));
    assert!(matches!(Constants::softmax(f64::NAN, 1, 0.9), Err(Error::NotFinite { .. })));
    let inner = Inner { rate: 1.0, steps: 1, trajectories: 1 };
    assert!(matches!(Variance::of(&[], &logits, &inner, Derivative::FixedData, 1.0), Err(Error::Empty { .. })));
    let pi = softmax(&logits);
    assert!(matches!(taypo::increments(&mdp, &pi, &(&pi * 2.0), 0.9, 2), Err(Error::ProbabilitySum { .. })));
    assert!(matches!(taypo::distance(&pi, &softmax(&wide)), Err(Error::Shape { .. })));
    let endless = mdp.clone().with_termination(array![0.0, 0.0]).unwrap();
    let mu = softmax(&other_logits());
    assert!(matches!(
        taypo::infinite_increments(&endless, &pi, &mu, 1.0, 2),
        Err(Error::UndiscountedWithoutTermination)
    ));
    assert!(matches!(coupling(&mdp, &wide, 0.9, 2), Err(Error::Shape { .. })));
}
