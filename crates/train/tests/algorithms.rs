//! Every algorithm where the truth is known: its meta-gradient's exact expectation, by listing all that can be sampled, beside the
//! derivatives of what it may be for. And identities between algorithms.

use ad::{DType, Tape, Var};
use ndarray::{Array2, ArrayD, arr0};
use rand::RngExt;
use rl::batch::Form;
use rl::env::{Actor, Navigation, TabularMdp};
use rl::meta::Inner;
use rl::meta::sampled::{self, MetaBatch, Outer};
use rl::optim::Rule;
use rl::policy::{self, Activation::Tanh, Network, Params, Policy, Table};
use rl::rollout::{Rollout, Space};
use rl::stream::stream;
use rl::truth::{SampledUpdate, Setting, max_abs};
use train::algorithm::{Adapted, Algorithm, Emaml, Factor, InnerObjective, Maml, Promp, Sgmrl, through};
use train::{Sampled, Shape};

const GAMMA: f64 = 0.9;
const RATE: f64 = 0.8;
const HORIZON: usize = 2;

/// As values are: weighted by γ^t, credited with what they are, means over trajectories.
fn shape(trajectories: usize) -> Shape {
    let spaces = [Space::Discrete(2), Space::Discrete(2)];
    let form = Form::VALUE;
    Shape { trajectories, horizon: HORIZON, spaces, dtype: DType::F64, gamma: GAMMA, form, over_steps: false }
}

/// An algorithm's outer objective, as a function of what rl enumerates.
fn objective(algorithm: &dyn Algorithm, batch: &MetaBatch<'_>) -> Var {
    let Outer::Sampled(outer) = batch.outer else { panic!("judged by trajectories") };
    let steps = batch.inner.len();
    let data = |step: usize, theta: &Params| {
        let episodes = batch.inner.get(step).copied().unwrap_or(outer);
        let dist = batch.policy.along(theta, episodes.acted_on());
        Sampled::new(&shape(episodes.trajectories()), episodes, dist, dist, None)
    };
    let (_, sampled) = through(algorithm, batch.theta, |_| Inner::from(Rule::sgd(RATE)), steps, data);
    let number = |x: f64| batch.theta.values().next().unwrap().constant(arr0(x));
    let (last, steps) = sampled.split_last().unwrap();
    // Of one task nothing is known about others; a price that is no small one.
    let kl_price = Some(number(0.7).broadcast_to(&[steps.len()]));
    algorithm.outer(&Adapted { steps, last, kl_price, shift: number(0.0), scale: number(1.0) })
}

fn process() -> (TabularMdp, Array2<f64>) {
    let mut rng = stream(21, 0);
    let mdp = TabularMdp::random(2, 2, 1.0, &mut rng).unwrap();
    (mdp, Array2::from_shape_simple_fn((2, 2), || rng.random_range(-1.0..1.0)))
}

/// ∇F_∞ = ∇[V(θ + η ∇V(θ))].
fn of_exact_update(mdp: &TabularMdp, logits: &Array2<f64>) -> ArrayD<f64> {
    let tape = Tape::new();
    let process = mdp.record(&tape);
    let theta = tape.input("theta", logits);
    let value = |theta: Var| process.start.dot(process.finite_value(theta.softmax(), GAMMA, HORIZON, None));
    let there = theta + value(theta).grad(theta) * RATE;
    value(there).grad(theta).value()
}

/// What an algorithm without scores gives with infinitely many trajectories: (I + η E[∇² inner]) ∇V(θ + η ∇V(θ)).
fn with_all_trajectories(algorithm: &dyn Algorithm, mdp: &TabularMdp, logits: &Array2<f64>) -> ArrayD<f64> {
    let setting = Setting::new(mdp, logits, HORIZON, GAMMA);
    let curvature = setting.expectation(|_, episodes, theta| {
        let dist = Table { states: 2, actions: 2 }.along(&Table::params(theta), episodes.acted_on());
        // A baseline, by which no expectation should change.
        let table = theta.constant(ndarray::arr1(&[0.7, -0.4]));
        let baseline = table.gather([episodes.states()]).slice(1, 0..HORIZON).pad(1, 0, 1);
        let data = Sampled::new(&shape(1), *episodes, dist, dist, Some(baseline));
        algorithm.inner(&data).hessian(theta)
    });
    let curvature = curvature.unwrap().into_shape_with_order((4, 4)).unwrap();
    let tape = Tape::new();
    let process = mdp.record(&tape);
    let theta = tape.input("theta", logits);
    let value = |theta: Var| process.start.dot(process.finite_value(theta.softmax(), GAMMA, HORIZON, None));
    let there = (theta + value(theta).grad(theta) * RATE).stop_gradient();
    let gradient = value(there).grad(there).value();
    let flat = gradient.flatten().to_owned();
    let through = if algorithm.first_order() { flat } else { &flat + &(curvature.dot(&flat) * RATE) };
    through.into_shape_with_order(vec![2, 2]).unwrap()
}

/// Every algorithm, and whether no single trajectory has its limit: there are scores of all inner data, or a mean of it.
fn all() -> Vec<(&'static str, Box<dyn Algorithm>, bool)> {
    use InnerObjective::{Ad, Dice, DiceCentred, Loaded, Lvc, TayPo2, Tmaml};
    let maml = |inner| Box::new(Maml { inner, first_order: false });
    let sgmrl = |first_order, baseline| Box::new(Sgmrl { inner: Ad, first_order, baseline });
    let emaml = |factor| Box::new(Emaml { inner: Ad, factor });
    vec![
        ("MAML", maml(Ad), false),
        ("first-order MAML", Box::new(Maml { inner: Ad, first_order: true }), false),
        ("MAML with DiCE; LSF", maml(Dice), false),
        ("MAML with centred DiCE", maml(DiceCentred), true),
        ("MAML with Loaded DiCE", maml(Loaded), false),
        ("TMAML", maml(Tmaml), false),
        ("MAML with LVC", maml(Lvc), false),
        ("MAML with TayPO-2", maml(TayPo2), false),
        ("ProMP", Box::new(Promp { inner: Lvc, clip: 0.3 }), false),
        ("ProMP-TayPO-2", Box::new(Promp { inner: TayPo2, clip: 0.3 }), false),
        ("E-MAML, the formula", emaml(Factor::Formula), true),
        ("E-MAML, as released", emaml(Factor::Released), true),
        ("SG-MRL; SF", sgmrl(false, false), true),
        ("SG-MRL, first order", sgmrl(true, false), true),
    ]
}

/// How far off an expectation is of what it may be for, as a part of the latter's largest entry: two digits, or 0.
fn part(found: &ArrayD<f64>, truth: &ArrayD<f64>) -> String {
    let part = max_abs(&(found - truth)) / max_abs(truth);
    if part < 1e-12 { "0".to_owned() } else { format!("{part:.1e}") }
}

#[test]
fn what_each_meta_gradient_is_biased_for_is_the_table_of_the_documentation() {
    let (mdp, logits) = process();
    let of_exact = of_exact_update(&mdp, &logits);
    let mut table = String::from("| | of F_1 | of F_2 | of F_∞, N = 1 | N = 2 | N → ∞ |\n|---|---|---|---|---|---|\n");
    for (name, algorithm, of_all) in all() {
        let reports = [1, 2].map(|number| {
            let problem = SampledUpdate::new(&mdp, &logits, HORIZON, GAMMA).rate(RATE).trajectories(number);
            let report = problem.sampled_outside(1).check(|batch| objective(&*algorithm, batch), 1).unwrap();
            report.orders[1].clone()
        });
        let [one, two] = &reports;
        let limit = match of_all {
            true => "–".to_owned(),
            false => part(&with_all_trajectories(&*algorithm, &mdp, &logits), &of_exact),
        };
        let [first, second] = [part(&one.expectation, &one.truth), part(&two.expectation, &two.truth)];
        let [third, fourth] = [one, two].map(|report| part(&report.expectation, &of_exact));
        table += &format!("| {name} | {first} | {second} | {third} | {fourth} | {limit} |\n");
        // What each claims.
        let unbiased = [one.is_unbiased(), two.is_unbiased()];
        match name {
            "SG-MRL; SF" => assert_eq!(unbiased, [true, true], "{name}"),
            "E-MAML, the formula" => assert_eq!(unbiased, [true, false], "{name}"),
            _ => assert_eq!(unbiased, [false, false], "{name}"),
        }
        let exact_in_the_limit = ["MAML with DiCE; LSF", "MAML with Loaded DiCE", "MAML with TayPO-2", "ProMP-TayPO-2"];
        assert_eq!(limit == "0", exact_in_the_limit.contains(&name), "{name}: {limit}");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/meta_gradients.md");
    let written = std::fs::read_to_string(path).unwrap();
    assert!(written.contains(&table), "{path} should have this table:\n{table}");
}

#[test]
fn algorithms_are_the_estimators_that_rl_proves() {
    let (mdp, logits) = process();
    type Surrogate = fn(&MetaBatch<'_>) -> Var;
    let same: [(Box<dyn Algorithm>, Surrogate); 6] = [
        (Box::new(Sgmrl { inner: InnerObjective::Ad, first_order: false, baseline: false }), sampled::sgmrl),
        (Box::new(Sgmrl { inner: InnerObjective::Ad, first_order: true, baseline: false }), sampled::sgmrl_first_order),
        (Box::new(Maml { inner: InnerObjective::Ad, first_order: false }), sampled::maml),
        (Box::new(Maml { inner: InnerObjective::Ad, first_order: true }), sampled::first_order_maml),
        (Box::new(Maml { inner: InnerObjective::Dice, first_order: false }), sampled::linearised_score_function),
        (Box::new(Emaml { inner: InnerObjective::Ad, factor: Factor::Formula }), sampled::emaml),
    ];
    for (number, (algorithm, surrogate)) in same.iter().enumerate() {
        for steps in [1, 2] {
            let policy = Table { states: 2, actions: 2 };
            let tape = Tape::new();
            let theta = Table::params(tape.input("theta", &logits));
            let sample = |trajectories, seed| {
                mdp.sample(&policy::softmax(&logits), HORIZON, trajectories, seed).unwrap().record(&tape)
            };
            // (Whoever sampled them: a gradient is of what is at hand.)
            let inner: Vec<_> = (0..steps).map(|step| sample(3, step)).collect();
            let (outer, credit) = (Outer::Sampled(sample(4, 9)), sampled::Credit::ReturnToGo);
            let batch = MetaBatch {
                policy: &policy,
                theta: &theta,
                inner: &inner,
                outer,
                gamma: GAMMA.into(),
                rate: RATE,
                credit,
            };
            let found = objective(&**algorithm, &batch).grad(theta["logits"]).value();
            let expected = surrogate(&batch).grad(theta["logits"]).value();
            assert!(max_abs(&(&found - &expected)) < 1e-13 * max_abs(&expected), "{number}: {found} {expected}");
        }
    }
}

/// A network in the plane, its trajectories as deep algorithms count them, and gradients of an outer objective there.
struct Deep {
    shape: Shape,
    policy: policy::NetworkPolicy,
    theta: policy::Numbers,
    rollouts: Vec<Rollout>,
}

impl Deep {
    fn new(steps: usize) -> Self {
        let spaces = [Space::vector(2), Space::vector(2)];
        let form = Form { discounted: false, normalised: true, lambda: 0.9 };
        let shape =
            Shape { trajectories: 4, horizon: 5, spaces, dtype: DType::F64, gamma: 0.95, form, over_steps: true };
        let policy = Network::new(&shape.spaces[0]).dense(5, Tanh).normal(2);
        let theta = policy.init(&mut stream(0, 0));
        let actor = Actor::new(&policy, &theta, &shape.spaces, DType::F64).unwrap();
        let sample = |seed| actor.sample(&Navigation::to([0.3, -0.2]), &theta, 5, 4, seed).unwrap();
        let rollouts = (0..=steps as u64).map(sample).collect();
        Self { shape, policy, theta, rollouts }
    }

    /// θ_0 … θ_K and the data under them, which are taken as sampled at the numbers that each θ_k has.
    fn through(&self, algorithm: &dyn Algorithm, theta: &Params) -> (Vec<Params>, Vec<Sampled>) {
        let tape_of = theta["w1"];
        let episodes: Vec<_> = self.rollouts.iter().map(|rollout| record_beside(rollout, tape_of)).collect();
        let data = |step: usize, here: &Params| {
            let dist = self.policy.along(here, episodes[step].acted_on());
            Sampled::new(&self.shape, episodes[step], dist, dist, None)
        };
        through(algorithm, theta, |_| Inner::from(Rule::sgd(0.1)), self.rollouts.len() - 1, data)
    }

    fn gradient(&self, algorithm: &dyn Algorithm, price: f64) -> Vec<ArrayD<f64>> {
        let tape = Tape::new();
        let theta = policy::record(&self.theta, &tape);
        let (_, sampled) = self.through(algorithm, &theta);
        let (last, steps) = sampled.split_last().unwrap();
        let number = |x: f64| tape.constant(arr0(x));
        let kl_price = Some(number(price).broadcast_to(&[steps.len()]));
        let outer = algorithm.outer(&Adapted { steps, last, kl_price, shift: number(0.0), scale: number(1.0) });
        policy::evaluate(&outer.grad(&theta)).into_values().collect()
    }
}

/// Trajectories on the tape of a Var.
fn record_beside(rollout: &Rollout, beside: Var) -> rl::rollout::Episodes {
    let constants = rollout.values().map(|value| ad::Handle::from(beside.constant(value)));
    rl::rollout::Episodes::from_handles(&constants)
}

#[test]
fn where_the_data_were_sampled_promp_is_lvc_inside_and_a_ratio_outside_whatever_clip_and_price() {
    for steps in [1, 3] {
        let deep = Deep::new(steps);
        let expected = deep.gradient(&Maml { inner: InnerObjective::Lvc, first_order: false }, 0.0);
        let scale = expected.iter().map(max_abs).fold(0.0, f64::max);
        for (clip, price) in [(0.3, 5e-4), (0.01, 0.0), (0.9, 100.0)] {
            let found = deep.gradient(&Promp { inner: InnerObjective::Lvc, clip }, price);
            for (found, expected) in found.iter().zip(&expected) {
                assert!(max_abs(&(found - expected)) < 1e-13 * scale * (1.0 + price), "{clip} {price}");
            }
        }
    }
}

/// The largest difference of two trees over the largest entry of the second.
fn relative(found: &Params, expected: &Params) -> f64 {
    let (found, expected) = (policy::evaluate(found), policy::evaluate(expected));
    let scale = expected.values().map(max_abs).fold(0.0, f64::max);
    found.iter().map(|(name, found)| max_abs(&(found - &expected[name])) / scale).fold(0.0, f64::max)
}

#[test]
fn the_hessian_of_trpos_divergence_is_the_fisher_matrix_between_jacobians_of_the_inner_steps() {
    for steps in [0, 1, 2] {
        let deep = Deep::new(steps);
        let algorithm = Maml { inner: InnerObjective::Lvc, first_order: false };
        let tape = Tape::new();
        let theta = policy::record(&deep.theta, &tape);
        let (points, sampled) = deep.through(&algorithm, &theta);
        let (there, last) = (&points[steps], &sampled[steps]);
        // A direction, and J times it: how far θ_K moves.
        let mut rng = stream(3, 0);
        let mut draw = |like: &ArrayD<f64>| like.mapv(|_| rng.random_range(-1.0..1.0));
        let v: Params = deep.theta.iter().map(|(name, array)| (name.clone(), tape.constant(draw(array)))).collect();

        // (At θ_0 itself, a leaf moves by its own part of the direction alone.)
        let tangent = |name: &str, x: Var| if steps == 0 { v[name] } else { x.jvp(&theta, &v) };
        let moved: Params = there.iter().map(|(name, x)| (name.clone(), tangent(name, *x))).collect();
        // E[u uᵀ] at θ_K, the mean over what was seen there: the Hessian of the divergence from it, as a function of θ_K alone.
        let alone: Params = there.iter().map(|(name, x)| (name.clone(), x.stop_gradient())).collect();
        let dist = deep.policy.along(&alone, last.episodes.acted_on());
        let fisher = dist.stop_gradient().kl(&dist).mean().hvp(&alone, &moved);
        let back =
            there.iter().map(|(name, &x)| (x * fisher[name].stop_gradient()).sum()).reduce(|a, b| a + b).unwrap();
        let expected = back.grad(&theta);
        for product in [last.kl().hvp(&theta, &v), last.curvature(&theta, &v)] {
            let difference = relative(&product, &expected);
            assert!(difference < 1e-12, "{steps} steps: {difference:e}");
        }
    }
    // Over numbered actions.
    let (mdp, logits) = process();
    let tape = Tape::new();
    let theta = Table::params(tape.input("theta", &logits));
    let episodes = mdp.sample(&policy::softmax(&logits), HORIZON, 5, 0).unwrap().record(&tape);
    let dist = Table { states: 2, actions: 2 }.along(&theta, episodes.acted_on());
    let data = Sampled::new(&shape(5), episodes, dist, dist, None);
    let v = Table::params(tape.constant(ndarray::arr2(&[[0.3, -1.2], [0.8, 0.1]])));
    let difference = relative(&data.curvature(&theta, &v), &data.kl().hvp(&theta, &v));
    assert!(difference < 1e-12, "{difference:e}");
}
