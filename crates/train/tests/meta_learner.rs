//! The meta-iteration: its mean gradient is the objective's, bits do not depend on threads, a state resumes, parts do what they say.

use ad::{DType, Var};
use ndarray::{Array2, ArrayD, array};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rl::batch::Form;
use rl::env::{Corner, Navigation, TabularMdp};
use rl::error::Error;
use rl::meta::sampled;
use rl::optim::Rule;
use rl::policy::{
    Activation::{Identity, Tanh},
    Dist, Init, Network, Numbers, Policy, Table,
};
use rl::rollout::{Rollout, Space};
use rl::stream::stream;
use rl::truth::SampledUpdate;
use train::algorithm::{Adapted, Algorithm, Emaml, Factor, InnerObjective, Maml, Ppo, Promp, Sgmrl};
use train::baseline::{Baseline, Features, Linear, ValueNetwork};
use train::outer::{Judged, TrustRegion};
use train::workers::Threads;
use train::{Learner, MetaLearner, Outer, Price, Sampled, Settings, Shape, State};

const REGION: TrustRegion = TrustRegion { radius: 0.01, iterations: 10, damping: 1e-5, backtracks: 15, ratio: 0.8 };

/// Tables of 2 states and 2 actions, as values are counted.
fn tabular(seed: u64, tasks: usize, trajectories: usize) -> Settings {
    let spaces = [Space::Discrete(2), Space::Discrete(2)];
    let shape =
        Shape { trajectories, horizon: 2, spaces, dtype: DType::F64, gamma: 0.9, form: Form::VALUE, over_steps: false };
    Settings {
        seed,
        tasks,
        shape,
        inner_steps: 1,
        inner_rate: 0.8,
        rate_decay: 1.0,
        learn_rates: false,
        outer: Outer::Rule(Rule::sgd(1.0)),
        curvature_trajectories: 0,
        outer_steps: 1,
        price: Price { initial: 0.0, target: None },
        bootstrap: false,
    }
}

/// Points in the plane, as deep algorithms count.
fn navigation(outer: Outer, dtype: DType) -> Settings {
    let spaces = [Space::vector(2), Space::vector(2)];
    let form = Form { discounted: false, normalised: true, lambda: 0.97 };
    let shape = Shape { trajectories: 5, horizon: 12, spaces, dtype, gamma: 0.95, form, over_steps: true };
    let price = Price { initial: 1e-3, target: Some(0.01) };
    Settings { shape, inner_steps: 2, inner_rate: 0.1, outer, outer_steps: 2, price, ..tabular(3, 4, 1) }
}

fn in_the_plane(settings: Settings, algorithm: impl Algorithm + 'static, baseline: Baseline) -> MetaLearner {
    let policy = Network::new(&Space::vector(2)).dense(8, Tanh).normal(2);
    let tasks = |rng: &mut ChaCha8Rng| Navigation::random(rng);
    MetaLearner::new(settings, Box::new(algorithm), &policy, Box::new(tasks), baseline, Box::new(Threads)).unwrap()
}

fn linear(settings: &Settings) -> Baseline {
    let Shape { trajectories, horizon, gamma, ref spaces, .. } = settings.shape;
    Baseline::Linear(Box::new(Linear::new(Features::Observation, &spaces[0], trajectories, horizon, gamma).unwrap()))
}

fn value_network(settings: &Settings) -> Baseline {
    let network = Network::new(&settings.shape.spaces[0]).named("critic_").dense(8, Tanh).dense(1, Identity);
    let parameters = network.draw(&mut stream(5, 0));
    Baseline::Network(Box::new(ValueNetwork::new(&network, parameters, &settings.shape, Rule::adam(0.01), 3).unwrap()))
}

const PROMP: Promp = Promp { inner: InnerObjective::Lvc, clip: 0.3 };

#[test]
fn sgmrls_gradients_average_to_that_of_the_objective_and_mamls_do_not() {
    // 100 estimates of 300 independent tasks each, of seed 3, all alike: within 4 standard errors, and beyond 10.
    let mut rng = stream(21, 0);
    let mdp = TabularMdp::random(2, 2, 1.0, &mut rng).unwrap();
    let logits = Array2::from_shape_simple_fn((2, 2), || rng.random_range(-1.0..1.0));
    let problem = SampledUpdate::new(&mdp, &logits, 2, 0.9).trajectories(2).rate(0.8);
    let truth = problem.check(sampled::sgmrl, 1).unwrap().orders.swap_remove(1).truth;
    type Estimate = fn(&mut MetaLearner, u64) -> ArrayD<f64>;
    // SGD of rate 1 makes one step by the gradient.
    let by_iteration: Estimate = |learner, iteration| {
        let before = learner.parameters()["logits"].clone();
        learner.iterate(iteration).unwrap();
        &learner.parameters()["logits"] - &before
    };
    let alone: Estimate = |learner, seed| {
        let before = learner.state();
        let [gradient, again] = [0; 2].map(|_| learner.meta_gradient(seed).unwrap().shift_remove("logits").unwrap());
        assert_eq!((gradient.clone(), before), (again, learner.state()));
        gradient
    };
    let worst = |algorithm: Box<dyn Algorithm>, estimate: Estimate| {
        let task = mdp.walk();
        let (policy, tasks) = (Table { states: 2, actions: 2 }, move |_: &mut ChaCha8Rng| task.clone());
        let settings = tabular(3, 300, 2);
        let mut learner =
            MetaLearner::new(settings, algorithm, &policy, Box::new(tasks), Baseline::None, Box::new(Threads)).unwrap();
        let mut start = learner.state();
        start.arrays.insert("theta.logits".to_owned(), logits.clone().into_dyn());
        let estimates: Vec<ArrayD<f64>> = (0..100)
            .map(|iteration| {
                learner.restore(start.clone()).unwrap();
                estimate(&mut learner, iteration)
            })
            .collect();
        let entry = |place: [usize; 2]| {
            let numbers = estimates.iter().map(|estimate| estimate[place]);
            let mean = numbers.clone().sum::<f64>() / 100.0;
            let variance = numbers.map(|x| (x - mean).powi(2)).sum::<f64>() / 99.0;
            (mean - truth[place]).abs() / (variance / 100.0).sqrt()
        };
        entry([0, 0]).max(entry([1, 0]))
    };
    let sgmrl = |baseline| Sgmrl { inner: InnerObjective::Ad, first_order: false, baseline };
    let [plain, with_baseline] = [false, true].map(|baseline| worst(Box::new(sgmrl(baseline)), by_iteration));
    let measured = worst(Box::new(sgmrl(false)), alone);
    let maml = worst(Box::new(Maml { inner: InnerObjective::Ad, first_order: false }), by_iteration);
    assert!(plain < 4.0 && with_baseline < 4.0 && measured < 4.0 && maml > 10.0);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let adam = navigation(Outer::Rule(Rule::adam(1e-2)), DType::F32);
            let region = navigation(Outer::TrustRegion(REGION), DType::F64);
            let (first, second, third) = (linear(&adam), linear(&region), value_network(&adam));
            let emaml = Emaml { inner: InnerObjective::Ad, factor: Factor::Released };
            let rates = Settings { learn_rates: true, ..adam.clone() };
            let mut learners = [
                in_the_plane(adam, PROMP, first),
                in_the_plane(region, emaml, second),
                in_the_plane(rates, PROMP, third),
            ];
            learners.each_mut().map(|learner| {
                let all: Vec<_> = (0..3).map(|iteration| learner.iterate(iteration).unwrap().returns).collect();
                (all, learner.state(), learner.evaluate(3, 2, 7).unwrap())
            })
        })
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(3));
}

#[test]
fn a_state_is_all_that_the_next_iterations_depend_on() {
    for (outer, network) in [(Outer::Rule(Rule::adam(1e-2)), true), (Outer::TrustRegion(REGION), false)] {
        let new = || {
            let settings = Settings { learn_rates: true, ..navigation(outer.clone(), DType::F64) };
            let baseline = if network { value_network(&settings) } else { linear(&settings) };
            in_the_plane(settings, PROMP, baseline)
        };
        let (mut whole, mut resumed) = (new(), new());
        (0..2).for_each(|iteration| drop(whole.iterate(iteration).unwrap()));
        let saved = whole.state();
        resumed.restore(saved.clone()).unwrap();
        assert_eq!(resumed.state(), saved);
        for iteration in 2..4 {
            let [one, other] = [&mut whole, &mut resumed].map(|learner| learner.iterate(iteration).unwrap());
            assert_eq!((one.returns, one.loss, one.kl), (other.returns, other.loss, other.kl));
        }
        assert_eq!(resumed.state(), whole.state());

        // What is missing, left over, of another shape or not finite is refused, and nothing is changed.
        let mut refuse = |words: &str, spoil: &dyn Fn(&mut State)| {
            let (mut spoilt, before) = (saved.clone(), resumed.state());
            spoil(&mut spoilt);
            let error = resumed.restore(spoilt).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
            assert_eq!(resumed.state(), before);
        };
        refuse("`theta.w1` is missing", &|state| drop(state.arrays.shift_remove("theta.w1")));
        refuse("`other` is not part of it", &|state| state.numbers.extend([("other".to_owned(), 1.0)]));
        refuse("has shape [3], not", &|state| drop(state.arrays.insert("theta.b1".to_owned(), ArrayD::zeros(vec![3]))));
        refuse("has an entry NaN", &|state| state.arrays["theta.w1"][[0, 0]] = f64::NAN);
        refuse("`kl_price.0` is inf", &|state| state.numbers["kl_price.0"] = f64::INFINITY);
        if network {
            refuse("is 0.5, no count", &|state| state.numbers["optimiser.steps"] = 0.5);
            refuse("a mean square of array 0 is -1", &|state| state.arrays["optimiser.square.w1"].fill(-1.0));
        }
    }
}

#[test]
fn single_precision_is_near_double() {
    let run = |dtype: DType| {
        let settings = navigation(Outer::Rule(Rule::sgd(0.5)), dtype);
        let baseline = linear(&settings);
        let mut learner = in_the_plane(settings, PROMP, baseline);
        learner.iterate(0).unwrap();
        learner.parameters().clone()
    };
    let (single, double) = (run(DType::F32), run(DType::F64));
    for (name, one) in &single {
        let difference = rl::truth::max_abs(&(one - &double[name]));
        assert!(difference < 1e-4, "{name}: {difference}");
    }
}

#[test]
fn prices_follow_the_divergence_they_are_a_price_of() {
    // Of one outer step: after none the divergence would be 0, and every price be halved.
    for (rate, expected) in [(1e-6, 0.5e-3), (0.3, 2e-3)] {
        let settings = navigation(Outer::Rule(Rule::adam(rate)), DType::F64);
        let baseline = linear(&settings);
        let mut learner = in_the_plane(settings, PROMP, baseline);
        learner.iterate(0).unwrap();
        assert_eq!(learner.state().numbers["kl_price.0"], expected, "{rate}");
    }
}

#[test]
fn a_region_of_trust_makes_natural_steps_of_the_radius_and_none_where_none_will_do() {
    // Maximum of g·θ where ½ θᵀHθ ≤ δ: √(2δ / gᵀH⁻¹g) H⁻¹g.
    let tree = |x: f64, y: f64| Numbers::from([("x".to_owned(), array![x, y].into_dyn())]);
    let region = TrustRegion { damping: 0.0, ..REGION };
    let product = |v: &Numbers| Ok(tree(v["x"][0] * 4.0, v["x"][1]));
    let divergence = |theta: &Numbers| (theta["x"][0].powi(2) * 4.0 + theta["x"][1].powi(2)) / 2.0;
    let judge = |theta: &Numbers| {
        // (Rounding at the very edge is not the point.)
        Ok(Judged { objective: theta["x"].sum(), divergence: divergence(theta) * (1.0 - 1e-6) })
    };
    let (there, judged) = region.step(&tree(0.0, 0.0), 0.0, &tree(1.0, 1.0), product, judge).unwrap().unwrap();
    let length = (0.02_f64 / 1.25).sqrt();
    assert!((there["x"][0] - length * 0.25).abs() < 1e-8 && (there["x"][1] - length).abs() < 1e-8, "{there:?}");
    assert!(judged.divergence <= 0.01);
    // With twice the divergence it goes back until it is within: √2 is two times 0.8 and once more.
    let twice = |theta: &Numbers| Ok(Judged { objective: theta["x"].sum(), divergence: divergence(theta) * 2.0 });
    let (there, _) = region.step(&tree(0.0, 0.0), 0.0, &tree(1.0, 1.0), product, twice).unwrap().unwrap();
    assert!((there["x"][1] - length * 0.64).abs() < 1e-8, "{there:?}");
    for (objective, divergence) in [(-1.0, 0.0), (1.0, 1.0), (f64::NAN, 0.0), (1.0, f64::NAN)] {
        let judge = |_: &Numbers| Ok(Judged { objective, divergence });
        assert!(region.step(&tree(0.0, 0.0), 0.0, &tree(1.0, 1.0), product, judge).unwrap().is_none());
    }
}

#[test]
fn trpo_stays_within_its_radius_and_improves() {
    let settings = Settings { outer_steps: 1, ..navigation(Outer::TrustRegion(REGION), DType::F64) };
    let baseline = linear(&settings);
    let mut learner = in_the_plane(settings, Maml { inner: InnerObjective::Lvc, first_order: false }, baseline);
    for iteration in 0..5 {
        let before = learner.parameters().clone();
        let done = learner.iterate(iteration).unwrap();
        let moved = learner.parameters() != &before;
        assert!(done.kl <= 0.01 && (done.kl > 1e-3) == moved && moved, "{done:?}");
    }
}

#[test]
fn the_direction_within_a_region_of_trust_may_be_by_some_trajectories_and_is_judged_by_all() {
    let maml = || Maml { inner: InnerObjective::Lvc, first_order: false };
    let step = |curvature_trajectories| {
        let region = Outer::TrustRegion(TrustRegion { damping: 1e-2, ..REGION });
        let settings = Settings { curvature_trajectories, ..navigation(region, DType::F64) };
        let baseline = linear(&settings);
        let all = settings.shape.trajectories;
        let mut learner = in_the_plane(settings, maml(), baseline);
        let done = learner.iterate(0).unwrap();
        (all, done, learner.parameters().clone())
    };
    let (all, _, by_all) = step(0);
    // As many as there are, or more, are all, to the bit.
    assert!(step(all).2 == by_all && step(2 * all).2 == by_all);
    // The gradient is that of all, the step another one, within the same radius by all.
    let (_, of_all, _) = step(0);
    let (_, of_half, by_half) = step(all / 2);
    assert!(by_half != by_all && of_half.kl <= 0.01 && of_half.kl > 1e-3, "{of_half:?}");
    assert!(of_half.loss != of_all.loss);
}

/// Ridge regression as its dual has it: V = K (K + ρ I)⁻¹ y, K the products of features; of all steps that were taken, at all places.
fn ridge(features: impl Fn(usize, usize) -> Vec<f64>, rollout: &Rollout, gamma: f64) -> Array2<f64> {
    let (trajectories, horizon) = rollout.rewards().dim();
    let taken: Vec<(usize, usize)> =
        (0..trajectories).flat_map(|n| (0..rollout.lengths()[n]).map(move |t| (n, t))).collect();
    let product = |(n, t): (usize, usize), (m, s): (usize, usize)| -> f64 {
        features(n, t).iter().zip(features(m, s)).map(|(x, y)| x * y).sum()
    };
    let to_go = |(n, t): (usize, usize)| -> f64 {
        (t..rollout.lengths()[n]).map(|l| gamma.powi((l - t) as i32) * rollout.rewards()[[n, l]]).sum()
    };
    let tape = ad::Tape::new();
    let size = taken.len();
    let gram =
        Array2::from_shape_fn((size, size), |(i, j)| product(taken[i], taken[j]) + if i == j { 1e-5 } else { 0.0 });
    let returns = ndarray::Array1::from_iter(taken.iter().map(|&place| to_go(place)));
    let weights = tape.constant(gram).solve(tape.constant(returns)).value();
    Array2::from_shape_fn((trajectories, horizon + 1), |place| {
        taken.iter().zip(&weights).map(|(&other, weight)| product(place, other) * weight).sum()
    })
}

#[test]
fn the_linear_baseline_is_ridge_regression_on_its_features() {
    let (trajectories, horizon) = (6, 4);
    let mut rng = stream(1, 0);
    let mut draw = |shape: &[usize]| ArrayD::from_shape_simple_fn(shape, || rng.random_range(-2.0..2.0));
    let observations = draw(&[trajectories, horizon + 1, 2]) * 10.0;
    let rewards: Array2<f64> = draw(&[trajectories, horizon]).into_dimensionality().unwrap();
    let (actions, lengths) = (draw(&[trajectories, horizon, 1]), vec![4, 2, 3, 4, 1, 4]);
    let rollout = Rollout::new(observations, actions, rewards, lengths, vec![false; trajectories]).unwrap();
    let observations = rollout.observations().array::<f64>().unwrap();
    let time = |t: usize| (0..4).map(move |power| (t as f64 / 100.0).powi(power));
    let of_observation = |n: usize, t: usize| -> Vec<f64> {
        let [x, y] = [0, 1].map(|i| observations[[n, t, i]].clamp(-10.0, 10.0));
        [x, y, x * x, y * y].into_iter().chain(time(t)).collect()
    };
    let alike = |found: &Array2<f64>, expected: &Array2<f64>| {
        let difference = rl::truth::max_abs(&(found - expected));
        assert!(difference < 1e-5 * rl::truth::max_abs(expected), "{found} {expected}");
    };
    let plane = Space::vector(2);
    let linear = |features| Linear::new(features, &plane, trajectories, horizon, 0.9).unwrap();
    let values = linear(Features::Observation).values(&rollout).unwrap();
    alike(&values, &ridge(of_observation, &rollout, 0.9));
    alike(&linear(Features::Time).values(&rollout).unwrap(), &ridge(|_, t| time(t).collect(), &rollout, 0.9));
    // Where a horizon is the end of what counts, nothing is expected behind.
    let short = Baseline::Linear(Box::new(linear(Features::Observation))).values(&rollout, false).unwrap();
    assert_eq!((short[[1, 2]], short[[0, 4]], short[[1, 1]]), (0.0, 0.0, values[[1, 1]]));

    // Of numbers of states, which it is.
    let numbers = [[0, 1, 0], [1, 1, 0]];
    let states = Rollout::new(
        ndarray::arr2(&numbers).into_dyn(),
        Array2::<i32>::zeros((2, 2)).into_dyn(),
        array![[1.0, 2.0], [3.0, 5.0]],
        vec![2, 2],
        vec![true, true],
    );
    let states = states.unwrap();
    let found = Linear::new(Features::Observation, &Space::Discrete(2), 2, 2, 1.0).unwrap().values(&states).unwrap();
    let of_state = |n: usize, t: usize| [f64::from(numbers[n][t])].into_iter().chain(time(t)).collect();
    alike(&found, &ridge(of_state, &states, 1.0));

    let error = Linear::new(Features::Observation, &Space::frames(4, 4, 1), 2, 2, 0.9).unwrap_err().to_string();
    assert!(error.contains("real numbers"), "{error}");
}

#[test]
fn a_value_network_learns_what_returns_are() {
    let settings = Settings { inner_steps: 0, outer_steps: 1, ..navigation(Outer::Rule(Rule::sgd(0.0)), DType::F64) };
    let network =
        Network::new(&Space::vector(2)).named("critic_").init(Init::Orthogonal(1.0)).dense(16, Tanh).dense(1, Identity);
    let shape = Shape { form: Form { lambda: 1.0, ..settings.shape.form }, ..settings.shape.clone() };
    let mut critic = ValueNetwork::new(&network, network.draw(&mut stream(5, 0)), &shape, Rule::adam(0.02), 1).unwrap();
    let policy = Network::new(&Space::vector(2)).dense(8, Tanh).normal(2);
    let theta = policy.init(&mut stream(0, 0));
    let rollout = rl::env::sample(&Navigation::to([0.3, 0.1]), &policy, &theta, 12, 5, 0).unwrap();
    let zeros = Array2::zeros((5, 13));
    let first = critic.gradient(&rollout, &zeros).unwrap();
    // Its gradient, by differences.
    let mut moved = critic.clone();
    let loss = |x: f64, moved: &mut ValueNetwork| {
        let at = critic.parameters["critic_w1"][[0, 0]];
        moved.parameters["critic_w1"][[0, 0]] = at + x;
        moved.gradient(&rollout, &zeros).unwrap()[0]
    };
    let difference = (loss(1e-5, &mut moved) - loss(-1e-5, &mut moved)) / 2e-5;
    assert!((difference - first[1]).abs() < 1e-6 * (1.0 + first[1].abs()), "{difference} {}", first[1]);
    for _ in 0..300 {
        let gradient = critic.gradient(&rollout, &zeros).unwrap();
        critic.step(&gradient).unwrap();
    }
    let last = critic.gradient(&rollout, &zeros).unwrap()[0];
    assert!(last < 0.2 * first[0], "{} {last}", first[0]);
    assert_eq!(critic.values(&rollout).unwrap().dim(), (5, 13));
}

#[test]
fn promp_climbs_in_the_corner_and_its_bits_are_its_seeds() {
    let run = |seed: u64| {
        let spaces = [Space::vector(2), Space::vector(2)];
        let form = Form { discounted: false, normalised: true, lambda: 1.0 };
        let shape =
            Shape { trajectories: 10, horizon: 50, spaces, dtype: DType::F32, gamma: 0.99, form, over_steps: true };
        let price = Price { initial: 5e-4, target: None };
        let settings = Settings {
            shape,
            outer: Outer::Rule(Rule::adam(5e-3)),
            outer_steps: 5,
            price,
            inner_rate: 0.1,
            ..tabular(seed, 20, 1)
        };
        let baseline = linear(&settings);
        let policy = Network::new(&Space::vector(2)).dense(16, Tanh).normal(2).deviation(0.0, 1e-6);
        let tasks = |rng: &mut ChaCha8Rng| Corner::random(rng);
        let mut learner =
            MetaLearner::new(settings, Box::new(PROMP), &policy, Box::new(tasks), baseline, Box::new(Threads)).unwrap();
        let mean = |returns: &[f64]| returns.iter().sum::<f64>() / returns.len() as f64;
        (0..30).map(|iteration| mean(&learner.iterate(iteration).unwrap().returns[1])).collect::<Vec<_>>()
    };
    let (one, other) = (run(1), run(2));
    assert_ne!(one, other);
    // The mean of the last ten of 30 iterations of seeds 1 and 2 is above that of the first five by 0.1 at least.
    for returns in [one, other] {
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        assert!(mean(&returns[20..]) > mean(&returns[..5]) + 0.1, "{returns:?}");
    }
}

#[test]
fn later_inner_steps_have_a_rate_that_is_decayed() {
    /// Widens the policy by α/2 a unit of rate, whatever was sampled, and shows how wide it is.
    struct Widening;
    impl Algorithm for Widening {
        fn inner(&self, data: &Sampled) -> Var {
            let [mean, log_std] = data.dist.heads()[..] else { unreachable!("of a normal distribution") };
            log_std.mean() + mean.mean() * 0.0
        }
        fn outer(&self, adapted: &Adapted<'_>) -> Var {
            let width = |dist: &Dist| dist.heads()[1].mean();
            let Sampled { dist, sampled_by, .. } = *adapted.last;
            let all_depend = dist.heads()[0].mean() * 0.0;
            width(&dist) * width(&sampled_by) + width(&dist).square() + all_depend
        }
    }
    for learn_rates in [false, true] {
        let settings = Settings {
            inner_steps: 3,
            inner_rate: 0.2,
            rate_decay: 0.5,
            outer_steps: 1,
            learn_rates,
            ..navigation(Outer::Rule(Rule::sgd(1.0)), DType::F64)
        };
        let mut learner = in_the_plane(settings, Widening, Baseline::None);
        learner.iterate(0).unwrap();
        // Widths: 0.1, 0.15, 0.2 after the steps; d(w·0.2 + w²) = 0.6 dw, and dw is half of each entry's.
        let log_std = &learner.parameters()["log_std"];
        assert!(log_std.iter().all(|x| (x - 0.3).abs() < 1e-14), "{log_std}");
    }
}

#[test]
fn an_adaptation_is_shown_in_the_task_that_is_asked_for() {
    let settings = navigation(Outer::Rule(Rule::adam(1e-2)), DType::F64);
    let baseline = linear(&settings);
    let learner = in_the_plane(settings, PROMP, baseline);
    let to = |goal: [f64; 2]| move |_: &mut ChaCha8Rng| Navigation::to(goal);
    let shown = |goal, seed| learner.adaptation(&to(goal), 2, seed).unwrap();
    let [near, again, other, far] =
        [([0.3, 0.1], 1), ([0.3, 0.1], 1), ([0.3, 0.1], 2), ([-0.4, 0.2], 1)].map(|(goal, seed)| {
            shown(goal, seed).iter().map(|rollout| rollout.observations().to_owned()).collect::<Vec<_>>()
        });
    assert_eq!(near.len(), 3);
    assert_eq!(near, again);
    assert_ne!(near[0], other[0]);
    // Before the first step nothing is known of the goal.
    assert_eq!(near[0], far[0]);
    assert_ne!(near[1], far[1]);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let make = |settings: Settings| {
        let policy = Table { states: 2, actions: 2 };
        let mdp = TabularMdp::random(2, 2, 1.0, &mut stream(0, 0)).unwrap().walk();
        let tasks = move |_: &mut ChaCha8Rng| mdp.clone();
        let algorithm = Box::new(Ppo { clip: 0.2, entropy: 0.0 });
        MetaLearner::new(settings, algorithm, &policy, Box::new(tasks), Baseline::None, Box::new(Threads))
    };
    let sound = || tabular(0, 1, 1);
    for (settings, words) in [
        (Settings { tasks: 0, ..sound() }, "no tasks"),
        (Settings { outer_steps: 0, ..sound() }, "no outer steps"),
        (Settings { inner_rate: -1.0, ..sound() }, "the rate is -1"),
        (Settings { rate_decay: f64::NAN, ..sound() }, "the rate is NaN"),
        (Settings { shape: Shape { gamma: 1.5, ..sound().shape }, ..sound() }, "the discount is 1.5"),
        (Settings { shape: Shape { horizon: 0, ..sound().shape }, ..sound() }, "no steps (the horizon is 0)"),
        (
            Settings { shape: Shape { spaces: [Space::Discrete(3), Space::Discrete(2)], ..sound().shape }, ..sound() },
            "the policy is for observations that are one of 2 numbers, but they are one of 3 numbers",
        ),
    ] {
        let error = make(settings).err().expect("refused").to_string();
        assert!(error.contains(words), "{error}");
    }
    let learner = make(sound()).unwrap();
    assert!(matches!(learner.evaluate(0, 1, 0), Err(Error::Empty { what: "tasks" })));
    let without = make(Settings { inner_steps: 0, ..sound() }).unwrap();
    assert_eq!(without.evaluate(2, 0, 0).unwrap().len(), 1);
    let task = |_: &mut ChaCha8Rng| TabularMdp::random(2, 2, 1.0, &mut stream(0, 0)).unwrap().walk();
    for error in [without.evaluate(2, 3, 0).unwrap_err(), without.adaptation(&task, 3, 0).unwrap_err()] {
        assert_eq!(error.to_string(), "this algorithm does not adapt: evaluate it after 0 inner steps, not 3");
    }
}

#[test]
fn what_is_no_number_is_named_with_its_iteration_and_task_and_changes_nothing() {
    struct Wrong;
    impl Algorithm for Wrong {
        fn inner(&self, data: &Sampled) -> Var {
            data.log_prob()
        }
        fn outer(&self, adapted: &Adapted<'_>) -> Var {
            // 0·∞, the derivative of √ at 0 of a number that is always 0.
            (adapted.last.log_prob() * 0.0).sqrt()
        }
    }
    let settings = navigation(Outer::Rule(Rule::adam(1e-2)), DType::F64);
    let baseline = value_network(&settings);
    let mut learner = in_the_plane(settings, Wrong, baseline);
    let before = learner.state();
    let error = learner.iterate(5).unwrap_err().to_string();
    assert_eq!(error, "iteration 5: task 0: entry 0 of the gradient by `w1` = NaN must be finite");
    assert_eq!(learner.state(), before);

    let settings = Settings { inner_rate: 3e38, ..navigation(Outer::Rule(Rule::sgd(0.1)), DType::F32) };
    let mut learner = in_the_plane(settings, Wrong, Baseline::None);
    let error = learner.iterate(2).unwrap_err().to_string();
    assert!(error.starts_with("iteration 2: task 0: entry ") && error.contains(" after inner step 0 = "), "{error}");
}
