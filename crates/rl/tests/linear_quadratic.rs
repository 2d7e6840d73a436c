//! Estimators proved for continuous actions: linear-quadratic control under Gaussian policies, where values and expectations are
//! exact.

use std::collections::HashMap;

use ad::Var;
use ndarray::{Array1, Array2, ArrayD, Axis, arr1, array};
use rl::batch::Batch;
use rl::env::{LinearQuadratic, Quadratic};
use rl::error::Error;
use rl::meta::sampled::{self, Credit, MetaBatch};
use rl::objective::{self, Estimator, HessianTerms, ScoreFunction, TayPo, allow_biased};
use rl::policy::{Activation, Dist, Network, NetworkPolicy, Normal, Numbers, Params, Policy, Table};
use rl::rollout::Space;
use rl::stream::stream;
use rl::truth::bounds::control;
use rl::truth::{Report, SampledUpdate, Setting, check_estimator, check_unbiased, max_abs};

/// One component of a state, one of an action.
fn problem(noise: f64) -> LinearQuadratic {
    LinearQuadratic::new(array![[0.9]], array![[0.7]], array![[1.0]], array![[0.3]])
        .and_then(|problem| problem.with_noise(noise)?.with_start(0.8))
        .unwrap()
}

/// a ~ N(w s + b, σ²).
fn policy() -> NetworkPolicy {
    Network::new(&Space::vector(1)).normal(1)
}

fn theta(weight: f64, bias: f64, log_std: f64) -> Numbers {
    let mut theta = policy().init(&mut stream(0, 0));
    assert_eq!(theta.keys().map(String::as_str).collect::<Vec<_>>(), ["w1", "b1", "log_std"]);
    theta.values_mut().zip([weight, bias, log_std]).for_each(|(leaf, number)| leaf.fill(number));
    theta
}

fn setting(noise: f64, horizon: usize, gamma: f64) -> Setting {
    Setting::linear_quadratic(&problem(noise), policy(), &theta(-0.4, 0.2, -0.3), horizon, gamma)
}

/// With critics that are right (the values of the policy over all steps) or mean nothing.
fn with_critics(setting: Setting, right: bool, noise: f64, horizon: usize, gamma: f64) -> Setting {
    let (values, action_values) = if right {
        let values = problem(noise).value(&policy(), &theta(-0.4, 0.2, -0.3), gamma, horizon).unwrap();
        let action_values = problem(noise).action_values(&values, gamma).unwrap();
        (values, action_values)
    } else {
        (
            Quadratic { matrix: array![[-0.7]], linear: array![0.3], constant: 0.5 },
            Quadratic { matrix: array![[-0.7, 0.2], [0.1, -0.4]], linear: array![0.3, -0.2], constant: 0.5 },
        )
    };
    setting.with_action_critic(&action_values).with_critic(&values)
}

/// Of a batch of two trajectories there are too many with noise, and with more steps.
fn cells(estimator: &dyn Estimator) -> Vec<(f64, usize)> {
    if estimator.facts().smallest_batch > 1 { vec![(0.0, 2)] } else { vec![(0.3, 2), (0.3, 3)] }
}

/// The value by plain loops over moments: E s, E s² and what is paid for them.
fn value_by_hand(
    problem: &LinearQuadratic,
    start: f64,
    noise: f64,
    numbers: [f64; 3],
    horizon: usize,
    gamma: f64,
) -> f64 {
    let [a, b, q, r] = problem.matrices().map(|matrix| matrix[[0, 0]]);
    let [weight, bias, log_std] = numbers;
    let variance = (2.0 * log_std).exp();
    let (mut mean, mut square, mut value) = (0.0, start * start, 0.0);
    for t in 0..horizon {
        let action_square = weight * weight * square + 2.0 * weight * bias * mean + bias * bias + variance;
        value -= gamma.powi(t as i32) * (q * square + r * action_square);
        let (closed, shift) = (a + b * weight, b * bias);
        let spread = b * b * variance + noise * noise;
        (mean, square) =
            (closed * mean + shift, closed * closed * square + 2.0 * closed * shift * mean + shift * shift + spread);
    }
    value
}

#[test]
fn values_and_derivatives_are_those_of_plain_loops() {
    let numbers = [-0.4, 0.2, -0.3];
    for (horizon, gamma) in [(1, 0.9), (3, 0.9), (6, 1.0)] {
        let found = setting(0.3, horizon, gamma).derivatives(3).unwrap();
        let by_hand = |numbers| value_by_hand(&problem(0.3), 0.8, 0.3, numbers, horizon, gamma);
        approx::assert_relative_eq!(found[0].sum(), by_hand(numbers), max_relative = 1e-14);
        // Each derivative against a difference of fourth order of the one below it.
        let step = 1e-3;
        for i in 0..3 {
            let moved = |k: f64| {
                let mut numbers = numbers;
                numbers[i] += k * step;
                numbers
            };
            let difference = |of: &dyn Fn([f64; 3]) -> ArrayD<f64>| {
                ((of(moved(1.0)) - of(moved(-1.0))) * 8.0 - (of(moved(2.0)) - of(moved(-2.0)))) / (12.0 * step)
            };
            let below = |order: usize, [weight, bias, log_std]: [f64; 3]| {
                let theta = theta(weight, bias, log_std);
                let setting = Setting::linear_quadratic(&problem(0.3), policy(), &theta, horizon, gamma);
                setting.derivatives(order).unwrap().swap_remove(order)
            };
            for (order, found) in found.iter().enumerate().skip(1) {
                let expected = difference(&|numbers| match order {
                    1 => ndarray::arr0(by_hand(numbers)).into_dyn(),
                    _ => below(order - 1, numbers),
                });
                let part = found.index_axis(Axis(0), i).to_owned();
                let error = max_abs(&(&part - &expected));
                assert!(error <= 1e-8 * (1.0 + max_abs(&part)), "order {order}: {part} {expected}");
            }
        }
    }
}

#[test]
fn with_several_components_the_value_is_its_own_expectation() {
    // Nothing is symmetric, and the policy has a shift.
    let problem = LinearQuadratic::new(
        array![[0.9, 0.2], [-0.1, 0.7]],
        array![[1.0, 0.3], [0.2, -0.5]],
        array![[1.0, 0.3], [0.0, 0.5]],
        array![[0.4, 0.1], [0.0, 0.7]],
    )
    .unwrap();
    let policy = Network::new(&Space::vector(2)).normal(2);
    let theta = policy.init(&mut stream(3, 0));
    let setting = Setting::linear_quadratic(&problem, policy.clone(), &theta, 2, 0.9);
    let report = check_estimator(&objective::ImportanceSampling, &setting, 2).unwrap();
    (0..=2).for_each(|order| assert!(report.is_unbiased(order), "{report}"));
    assert!(report.orders[2].max_abs_truth() > 0.1);
    // A critic at the end, and noise on the way there.
    let critic = Quadratic { matrix: array![[-1.0, 0.4], [0.1, -0.3]], linear: array![0.2, -0.5], constant: 1.0 };
    let action_values = problem.action_values(&critic, 0.9).unwrap();
    let noisy = problem.clone().with_noise(0.4).unwrap().with_start(0.0).unwrap();
    let setting = Setting::linear_quadratic(&noisy, policy, &theta, 1, 0.9);
    for setting in [setting.clone().with_critic(&critic), setting.with_action_critic(&action_values)] {
        let report = check_estimator(&objective::DoublyRobustQ, &setting, 2).unwrap();
        (0..=2).for_each(|order| assert!(report.is_unbiased(order), "{report}"));
    }
}

#[test]
fn every_estimator_is_as_unbiased_on_policy_as_it_claims_and_no_more() {
    for estimator in objective::all() {
        let facts = estimator.facts();
        let mut largest = [0.0; 3];
        for (noise, horizon) in cells(&*estimator) {
            for (gamma, right) in [(0.9, false), (1.0, true)] {
                let setting = with_critics(setting(noise, horizon, gamma), right, noise, horizon, gamma);
                let report = check_estimator(&*estimator, &setting, 2).unwrap();
                for (largest, order) in largest.iter_mut().zip(&report.orders) {
                    *largest = max_abs(&[*largest, order.relative_bias()]);
                }
            }
        }
        for (order, bias) in largest.into_iter().enumerate() {
            let claimed = facts.claim.contains(order, false);
            assert_eq!(bias <= 1e-12, claimed, "{} at order {order}: {bias:e}", facts.name);
            assert!(claimed || bias > 1e-4, "{} at order {order}: {bias:e}", facts.name);
        }
    }
}

#[test]
fn off_policy_too_where_nothing_is_cut_off() {
    for estimator in objective::all() {
        let facts = estimator.facts();
        // min(ρ, 1) is no smooth function, so that no number of nodes is enough.
        let smooth = facts.name != "dr_truncated";
        // Of pairs of trajectories there are too many with more than one step.
        let horizon = if facts.smallest_batch > 1 { 1 } else { 2 };
        let setting = with_critics(setting(0.0, horizon, 0.9), false, 0.0, horizon, 0.9);
        let setting = setting.off_policy(&theta(-0.25, 0.1, -0.25));
        let report = match check_estimator(&*estimator, &setting, 2) {
            Ok(report) => report,
            Err(Error::Quadrature { difference, .. }) if !smooth => {
                assert!(difference > 1e-6);
                continue;
            }
            Err(error) => panic!("{}: {error}", facts.name),
        };
        assert!(smooth);
        for order in &report.orders {
            let claimed = facts.claim.contains(order.order, true);
            let vanishes = facts.claim.off_policy_residual.is_some_and(|last| last >= horizon);
            assert_eq!(order.is_unbiased(), claimed || vanishes, "{}\n{report}", facts.name);
        }
    }
}

#[test]
fn a_surrogate_of_ones_own_is_proved_or_refuted() {
    let right = |batch: &Batch| batch.discounted_sum(batch.rewards() * batch.cumulative_ratio()).mean();
    let wrong = |batch: &Batch| batch.discounted_sum(batch.rewards() * batch.ratio()).mean();
    let report = check_unbiased(right, &setting(0.3, 2, 0.9), 3, 1).unwrap();
    (0..=3).for_each(|order| assert!(report.is_unbiased(order), "{report}"));
    let report = check_unbiased(wrong, &setting(0.3, 2, 0.9), 1, 1).unwrap();
    assert!(report.is_unbiased(0) && !report.is_unbiased(1), "{report}");
}

#[test]
fn the_hessian_is_the_sum_of_its_terms_and_lvc_and_ad_lack_some() {
    let setting = setting(0.3, 3, 0.9);
    let term = |choose: fn(&HessianTerms) -> Var| {
        setting.expectation(|batch, _, theta| choose(&HessianTerms::new(batch, theta))).unwrap()
    };
    let truth = setting.derivatives(2).unwrap().swap_remove(2);
    let near = |found: &ArrayD<f64>, expected: &ArrayD<f64>| {
        assert!(max_abs(&(found - expected)) <= 1e-12 * max_abs(&truth), "{found} {expected}");
    };
    near(&term(HessianTerms::sum), &truth);
    let coupling = term(|terms| terms.h12 + terms.h12_transposed);
    assert!(max_abs(&coupling) > 0.1);
    let hessian = |estimator: &dyn Estimator| {
        let surrogate = |batch: &Batch| allow_biased(estimator).surrogate(batch);
        check_unbiased(surrogate, &setting, 2, 1).unwrap().orders[2].expectation.clone()
    };
    near(&(hessian(&TayPo { order: 1 }) - &truth), &-&coupling);
    near(&(hessian(&ScoreFunction) - &truth), &-(&coupling + &term(|terms| terms.h1)));
}

#[test]
fn sampling_is_what_the_nodes_stand_for() {
    for setting in [setting(0.3, 3, 0.9), setting(0.3, 3, 0.9).off_policy(&theta(-0.25, 0.1, -0.25))] {
        // 40 000 trajectories, seed 1, five standard errors.
        let rollout = setting.sample(40_000, 1).unwrap();
        let returns: Array1<f64> = rollout.rewards().rows().into_iter().map(|row| row.sum()).collect();
        let expected = setting.expectation(|batch, _, _| batch.rewards().sum()).unwrap().sum();
        let (mean, error) = (returns.mean().unwrap(), returns.std(1.0) / 200.0);
        assert!((mean - expected).abs() <= 5.0 * error, "{mean} ± {error}, not {expected}");
    }
}

#[test]
fn what_quadrature_does_not_give_is_an_error() {
    let error = |surrogate: fn(&Batch) -> Var| check_unbiased(surrogate, &setting(0.0, 2, 0.9), 0, 1).unwrap_err();
    let cut = error(|batch| batch.rewards().max(-1.0).sum());
    assert!(matches!(cut, Error::Quadrature { .. }), "{cut}");
    assert!(cut.to_string().contains("nodes for each normal number"), "{cut}");
    // Polynomials of any degree are no matter: more nodes are taken.
    let report = check_unbiased(|batch| (batch.rewards().sum()).powf(5.0), &setting(0.0, 1, 0.9), 0, 1).unwrap();
    assert!(report.orders[0].expectation.sum().is_finite());
    // A NaN proves nothing.
    let report = check_unbiased(|batch| batch.rewards().ln().sum(), &setting(0.0, 1, 0.9), 0, 1).unwrap();
    assert!(!report.is_unbiased(0));
    let long = check_unbiased(|batch| batch.rewards().sum(), &setting(0.3, 9, 0.9), 0, 1).unwrap_err();
    assert!(matches!(long, Error::TooManyTrajectories { .. }), "{long}");
}

/// N(s³, σ(s)²), or what `kind` says.
#[derive(Clone, Copy)]
struct Other {
    cubed: bool,
    spread: bool,
}

impl Policy for Other {
    fn init(&self, _: &mut dyn rand::Rng) -> Numbers {
        Numbers::from([("k".to_owned(), arr1(&[0.5]).into_dyn())])
    }
    fn along(&self, theta: &Params, observations: ad::Handle) -> Dist {
        let seen = observations.var();
        let mean = if self.cubed { seen.powf(3.0) * theta["k"] } else { seen * theta["k"] };
        Normal::new(mean, if self.spread { seen } else { seen.full_like(-1.0) }).into()
    }
}

#[test]
fn what_is_no_such_problem_is_refused_in_words() {
    let words = |setting: Setting| setting.derivatives(0).unwrap_err().to_string();
    let of = |policy: Other| {
        words(Setting::linear_quadratic(&problem(0.0), policy, &policy.init(&mut stream(0, 0)), 2, 0.9))
    };
    let start = "the policy has means that are not linear in the state";
    assert!(of(Other { cubed: true, spread: false }).starts_with(start));
    let start = "the policy has standard deviations that depend on the state";
    assert!(of(Other { cubed: false, spread: true }).starts_with(start));
    let deep = Network::new(&Space::vector(1)).dense(3, Activation::Tanh).normal(1);
    let numbers = deep.init(&mut stream(0, 0));
    let deep = Setting::linear_quadratic(&problem(0.0), deep, &numbers, 2, 0.9);
    assert!(matches!(deep.derivatives(0), Err(Error::NotLinear { .. })));

    let table = Array2::zeros((2, 2));
    let unfit = "a critic that is a table is not for linear-quadratic control";
    assert_eq!(words(setting(0.0, 2, 0.9).with_critic(&Array1::zeros(2))), unfit);
    let unfit = "a behaviour policy that is a table of logits is not for linear-quadratic control";
    assert_eq!(words(setting(0.0, 2, 0.9).off_policy(&table)), unfit);
    let mdp = rl::env::TabularMdp::random(2, 2, 1.0, &mut stream(0, 0)).unwrap();
    let quadratic = Quadratic { matrix: array![[1.0]], linear: array![0.0], constant: 0.0 };
    let unfit = "a critic that is a quadratic function is not for a process of numbered states";
    assert_eq!(words(Setting::new(&mdp, &table, 2, 0.9).with_critic(&quadratic)), unfit);
    let wrong = Quadratic { matrix: array![[f64::NAN]], ..quadratic.clone() };
    assert_eq!(words(setting(0.0, 2, 0.9).with_critic(&wrong)), "a coefficient of critic = NaN must be finite");
    let wrong = "action critic has shape [1, 1], but must have shape [2, 2]";
    assert_eq!(words(setting(0.0, 2, 0.9).with_action_critic(&quadratic)), wrong);
    assert!(matches!(setting(0.0, 0, 0.9).derivatives(0), Err(Error::Empty { .. })));
    assert!(setting(0.0, 2, 1.1).derivatives(0).is_err());
}

#[test]
fn a_tables_policy_may_be_sampled_by_itself_with_other_parameters() {
    // The same numbers, given as logits and as parameters.
    let mdp = rl::env::TabularMdp::random(2, 2, 1.0, &mut stream(0, 0)).unwrap();
    let (logits, other) = (array![[0.3, -0.2], [0.1, 0.4]], array![[-0.1, 0.5], [0.7, 0.0]]);
    let report = |setting: Setting| -> Report { check_estimator(&objective::DoublyRobust, &setting, 2).unwrap() };
    let setting = Setting::new(&mdp, &logits, 3, 0.9);
    let (one, two) = (report(setting.clone().off_policy(&other)), report(setting.off_policy(&Table::numbers(&other))));
    for (one, two) in one.orders.iter().zip(&two.orders) {
        assert!(one.is_unbiased() && two.is_unbiased());
        assert!(max_abs(&(&one.expectation - &two.expectation)) <= 1e-14);
    }
}

/// a ~ N(k s, ½²), with a σ that is not adapted.
struct Proportional;

const DEVIATION: f64 = 0.5;

impl Policy for Proportional {
    fn init(&self, _: &mut dyn rand::Rng) -> Numbers {
        Numbers::from([("k".to_owned(), arr1(&[GAIN]).into_dyn())])
    }
    fn along(&self, theta: &Params, observations: ad::Handle) -> Dist {
        let mean = observations.var() * theta["k"];
        Normal::new(mean, mean.full_like(DEVIATION.ln())).into()
    }
}

const GAIN: f64 = -0.4;
const RATE: f64 = 0.05;

fn update(horizon: usize, trajectories: usize) -> SampledUpdate {
    let theta = Proportional.init(&mut stream(0, 0));
    let update = SampledUpdate::linear_quadratic(&problem(0.0), Proportional, &theta, horizon, 0.9);
    update.rate(RATE).trajectories(trajectories).credit(Credit::WholeReturn)
}

const CELLS: [(usize, usize); 3] = [(1, 1), (1, 2), (2, 1)];

#[test]
fn of_gaussian_policies_too_scores_make_a_sampled_updates_gradient_unbiased() {
    for (horizon, trajectories) in CELLS {
        for estimator in sampled::all() {
            let update = update(horizon, trajectories).credit(estimator.credit);
            let report = update.check(estimator.surrogate, 1).unwrap();
            let unbiased = estimator.unbiased || (estimator.name == "emaml" && trajectories == 1);
            assert_eq!(report.is_unbiased(1), unbiased, "{}\n{report}", estimator.name);
            assert!(unbiased || report.orders[1].relative_bias() > 1e-4, "{}\n{report}", estimator.name);
            assert!(report.orders[1].max_abs_truth() > 1e-2);
        }
        let report = update(horizon, trajectories).check(sampled::score_function, 2).unwrap();
        (0..=2).for_each(|order| assert!(report.is_unbiased(order), "{report}"));
    }
}

/// Polynomials in independent standard normal numbers, by powers: for expectations in closed form.
#[derive(Clone)]
struct Polynomial(HashMap<[i32; 4], f64>);

impl Polynomial {
    fn constant(x: f64) -> Self {
        Self([([0; 4], x)].into())
    }
    fn variable(i: usize) -> Self {
        let mut powers = [0; 4];
        powers[i] = 1;
        Self([(powers, 1.0)].into())
    }
    fn plus(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        other.0.iter().for_each(|(powers, x)| *sum.0.entry(*powers).or_insert(0.0) += x);
        sum
    }
    fn times(&self, other: &Self) -> Self {
        let mut product = HashMap::new();
        for ((p, x), (q, y)) in self.0.iter().flat_map(|one| other.0.iter().map(move |two| (one, two))) {
            *product.entry([0, 1, 2, 3].map(|i| p[i] + q[i])).or_insert(0.0) += x * y;
        }
        Self(product)
    }
    fn scaled(&self, by: f64) -> Self {
        self.times(&Self::constant(by))
    }
    /// E x^(2m) = 1·3 … (2m − 1).
    fn mean(&self) -> f64 {
        let moment = |power: i32| match power % 2 {
            0 => (1..power).step_by(2).map(f64::from).product(),
            _ => 0.0,
        };
        self.0.iter().map(|(powers, x)| x * powers.map(moment).iter().product::<f64>()).sum()
    }
}

#[test]
fn biases_of_sampled_updates_are_their_closed_forms() {
    // Of one step: s = σ_0 x, a = k s + σ ε, u = ε s / σ, R = −(q s² + r a²), V(k) = −σ_0² (q + r k²) − r σ², k′ = k + η φ̄ with φ = R u.
    let (start, q, r) = (0.8, 1.0, 0.3);
    let value = |k: &Polynomial| {
        let by_state = k.times(k).scaled(r).plus(&Polynomial::constant(q)).scaled(-start * start);
        by_state.plus(&Polynomial::constant(-r * DEVIATION * DEVIATION))
    };
    for trajectories in [1, 2] {
        let mut features = Vec::new();
        for i in 0..trajectories {
            let (state, noise) = (Polynomial::variable(2 * i).scaled(start), Polynomial::variable(2 * i + 1));
            let action = state.scaled(GAIN).plus(&noise.scaled(DEVIATION));
            let score = noise.times(&state).scaled(1.0 / DEVIATION);
            let paid = state.times(&state).scaled(-q).plus(&action.times(&action).scaled(-r));
            features.push((paid.times(&score), score));
        }
        let n = 1.0 / trajectories as f64;
        let zero = Polynomial::constant(0.0);
        let mean = features.iter().fold(zero.clone(), |sum, (feature, _)| sum.plus(&feature.scaled(n)));
        let adapted = mean.scaled(RATE).plus(&Polynomial::constant(GAIN));
        let scores = features.iter().fold(zero.clone(), |sum, (_, score)| sum.plus(score));
        // E V(k′) Σ u: what MAML lacks, and E-MAML but for a part of 1/N.
        let score_term = value(&adapted).times(&scores).mean();
        // LSF has E η V′(k′) (1/N) Σ φ u in its place.
        let slope = adapted.scaled(-2.0 * start * start * r);
        let linear = features.iter().fold(zero, |sum, (feature, score)| sum.plus(&feature.times(score).scaled(n)));
        let linearised = slope.times(&linear).scaled(RATE).mean();
        let update = update(1, trajectories);
        let bias = |surrogate: fn(&MetaBatch<'_>) -> Var| {
            let order = update.check(surrogate, 1).unwrap().orders.swap_remove(1);
            (order.expectation - order.truth).sum()
        };
        assert!(score_term.abs() > 1e-3 && (linearised - score_term).abs() > 1e-4, "{score_term} {linearised}");
        for (found, expected) in [
            (update.score_term().unwrap().sum(), score_term),
            (bias(sampled::maml), -score_term),
            (bias(sampled::emaml), (n - 1.0) * score_term),
            (bias(sampled::linearised_score_function), linearised - score_term),
        ] {
            assert!((found - expected).abs() <= 1e-12 * score_term.abs(), "N = {trajectories}: {found} {expected}");
        }
    }
}

#[test]
fn what_lvc_leaves_out_vanishes_at_the_best_gain_and_nowhere_near() {
    let (problem, gamma) = (problem(0.3), 0.9);
    let best = control::optimal_gain(&problem, gamma).unwrap();
    let at = |gain: f64| control::hessian(&problem, gain, DEVIATION, gamma).unwrap();
    assert!(at(best).share() < 1e-12, "{:?}", at(best));
    for apart in [-0.3, -0.1, 0.1, 0.3] {
        assert!(at(best + apart).share() > 0.01, "{apart}: {:?}", at(best + apart));
    }
    // The Hessian is that of the tape over 400 steps, of which the rest is below 1e-18; at the best gain the gradient is 0.
    for gain in [GAIN, best] {
        let theta = Numbers::from([("k".to_owned(), arr1(&[gain]).into_dyn())]);
        let truth = Setting::linear_quadratic(&problem, Proportional, &theta, 400, gamma).derivatives(2).unwrap();
        let found = at(gain);
        approx::assert_relative_eq!(found.kept + found.left_out, truth[2].sum(), max_relative = 1e-12);
        assert!((found.gradient - truth[1].sum()).abs() < 1e-12 * found.kept.abs(), "{found:?} {}", truth[1]);
        assert_eq!(truth[1].sum().abs() < 1e-12, gain == best, "{}", truth[1]);
    }
    // Both parts are those of three steps where a fourth counts for nothing beside what is left out: γ³ of γ.
    let gamma = 1e-4;
    let theta = Proportional.init(&mut stream(0, 0));
    let setting = Setting::linear_quadratic(&problem, Proportional, &theta, 3, gamma);
    let term = |choose: fn(&HessianTerms) -> Var| {
        setting.expectation(|batch, _, theta| choose(&HessianTerms::new(batch, theta))).unwrap().sum()
    };
    let found = control::hessian(&problem, GAIN, DEVIATION, gamma).unwrap();
    approx::assert_relative_eq!(found.left_out, term(|t| t.h12 + t.h12_transposed), max_relative = 1e-6);
    approx::assert_relative_eq!(found.kept, term(|t| t.h1 + t.h2), max_relative = 1e-9);
}

#[test]
fn of_a_sampled_update_no_more_than_one_step_is_exact() {
    let words = |update: SampledUpdate| update.check(sampled::sgmrl, 1).unwrap_err().to_string();
    let expected = "what is sampled by parameters that were adapted with samples is not for linear-quadratic control";
    assert_eq!(words(update(1, 1).steps(2)), expected);
    assert_eq!(words(update(1, 1).sampled_outside(1)), expected);
    // A step by log σ makes the value an exponential, which the nodes approach.
    let all = SampledUpdate::linear_quadratic(&problem(0.0), policy(), &theta(-0.4, 0.2, -0.3), 1, 0.9);
    let report = all.rate(0.05).check(sampled::sgmrl, 1).unwrap();
    assert!(report.is_unbiased(0) && report.is_unbiased(1), "{report}");
}
