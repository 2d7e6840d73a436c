//! Proofs of any policy over finitely many states: a small network, one that sees features, one with memory; every estimator, to
//! its claims. And rows that are segments of longer trajectories.

use ad::{DType, Handle, Tape, Var};
use ndarray::{Array1, Array2, ArrayD, array};
use rand::RngExt;
use rl::batch::Batch;
use rl::error::Error;
use rl::meta::sampled;
use rl::objective::{End, Estimator, ImportanceSampling, ScoreFunction, TayPo, all, allow_biased};
use rl::policy::Activation::Tanh;
use rl::policy::{
    Categorical, Dist, Network, NetworkPolicy, Numbers, OfFeatures, Params, Policy, Table, record, softmax,
};
use rl::report::{EstimatorReport, Plan};
use rl::rollout::{Rollout, Space};
use rl::stream::stream;
use rl::truth::{SampledUpdate, Setting, check_estimator, check_unbiased, derivatives, max_abs};
use study::exact::Problem;

fn random(policy: &dyn Policy, seed: u64) -> Numbers {
    let rng = &mut stream(seed, 0);
    let mut numbers = policy.init(rng);
    numbers.values_mut().for_each(|array| array.mapv_inplace(|_| rng.random_range(-1.2..1.2)));
    numbers
}

/// Two states' features go through one hidden number each way: 3 + 2·... few parameters, so that third orders are quick.
fn network() -> OfFeatures<NetworkPolicy> {
    let network = Network::new(&Space::vector(1)).dense(1, Tanh).categorical(2);
    OfFeatures { policy: network, features: array![[0.7], [-0.4]].into() }
}

fn recurrent() -> NetworkPolicy {
    Network::new(&Space::Discrete(2)).recurrent(1).categorical(2)
}

/// Settings with a wrong critic: on policy, and off it; some trajectories end early.
fn settings<P: Policy + Clone + 'static>(policy: &P, seed: u64, horizon: usize) -> [Setting; 2] {
    let problem = Problem::new(seed, true, horizon).unwrap();
    let theta = random(policy, seed);
    let setting = Setting::of_policy(&problem.mdp, policy.clone(), &theta, horizon, 0.9)
        .with_action_critic(&array![[1.2, 2.0], [-1.1, -0.3]])
        .with_critic(&array![1.7, -0.6]);
    [setting.clone(), setting.off_policy(&problem.behaviour)]
}

#[test]
fn every_estimator_keeps_its_claims_with_a_network() {
    for setting in settings(&network(), 1, 2) {
        for estimator in all() {
            let facts = estimator.facts();
            let report = check_estimator(&*estimator, &setting, 2).unwrap();
            assert_eq!(report.orders[2].truth.shape(), [6, 6], "two weights and a bias each way");
            for order in 0..=2 {
                if facts.claim.contains(order, setting.is_off_policy()) {
                    assert!(report.is_unbiased(order), "{}: {report}", facts.name);
                }
            }
        }
        // And what claims nothing is told from it.
        let of = |estimator: &dyn Estimator| check_estimator(estimator, &setting, 2).unwrap();
        assert!(of(&TayPo { order: 1 }).orders[2].relative_bias() > 1e-4);
        assert!(of(&ScoreFunction).orders[2].relative_bias() > 1e-4);
    }
}

#[test]
fn every_estimator_keeps_its_claims_with_a_policy_that_remembers() {
    for setting in settings(&recurrent(), 2, 2) {
        for estimator in all().into_iter().filter(|estimator| estimator.facts().smallest_batch == 1) {
            let facts = estimator.facts();
            let report = check_estimator(&*estimator, &setting, 1).unwrap();
            for order in 0..=1 {
                if facts.claim.contains(order, setting.is_off_policy()) {
                    assert!(report.is_unbiased(order), "{}: {report}", facts.name);
                }
            }
        }
    }
}

#[test]
fn what_remembers_nothing_has_one_truth_by_both_ways() {
    // The truth of a policy with memory is summed over trajectories, that of another by dynamic programming: a recurrent unit
    // that is shut (no weight on what it sees or was) is a table of equal rows.
    let problem = Problem::new(3, true, 3).unwrap();
    let policy = recurrent();
    let mut theta = random(&policy, 3);
    for name in ["w1", "u1", "w2"] {
        theta[name].fill(0.0);
    }
    let bias = theta["b2"].clone();
    let logits = Array2::from_shape_fn((2, 2), |(_, a)| bias[[a]]);
    for end in [End::Nothing, End::Critic] {
        let with = |setting: Setting| setting.with_critic(&array![1.7, -0.6]).ending(end);
        let remembering = with(Setting::of_policy(&problem.mdp, policy.clone(), &theta, 3, 0.9));
        let table = with(Setting::new(&problem.mdp, &logits, 3, 0.9));
        let [one, other] = [remembering, table]
            .map(|setting| check_estimator(&ImportanceSampling, &setting.ending(end), 1).unwrap().orders);
        let difference = (one[0].truth.sum() - other[0].truth.sum()).abs();
        assert!(difference < 1e-13, "{difference}");
        // The derivative by the bias is the sum over states of that by logits.
        let by_bias: Vec<f64> = one[1].truth.iter().copied().skip(one[1].truth.len() - 2).collect();
        let names: Vec<&String> = theta.keys().collect();
        assert_eq!(names.last().unwrap().as_str(), "b2");
        let by_rows = other[1].truth.clone().into_dimensionality::<ndarray::Ix2>().unwrap().sum_axis(ndarray::Axis(0));
        assert!(max_abs(&(Array1::from(by_bias) - by_rows)) < 1e-13);
    }
}

#[test]
fn a_table_by_any_way_is_a_table() {
    let problem = Problem::new(4, true, 3).unwrap();
    let horizon = rl::env::Horizon::Finite { steps: 3, terminal: None };
    let truth = derivatives(&problem.mdp, &problem.logits, 0.9, &horizon, 2).unwrap();
    let policy = Table { states: 2, actions: 2 };
    let setting = Setting::of_policy(&problem.mdp, policy, &Table::numbers(&problem.logits), 3, 0.9);
    let report = check_estimator(&ImportanceSampling, &setting, 2).unwrap();
    for (order, truth) in report.orders.iter().zip(&truth) {
        assert!(max_abs(&(&order.truth - truth)) < 1e-14 && order.is_unbiased());
    }
    // One-hot features are no features.
    let linear = Network::new(&Space::vector(2)).categorical(2);
    let features = OfFeatures { policy: linear, features: Array2::<f64>::eye(2).into() };
    let mut theta = features.init(&mut stream(0, 0));
    theta["w1"] = problem.logits.clone().into_dyn();
    let setting = Setting::of_policy(&problem.mdp, features, &theta, 3, 0.9);
    let report = check_estimator(&ImportanceSampling, &setting, 1).unwrap();
    let by_weights: ArrayD<f64> = report.orders[1].truth.clone();
    let expected = truth[1].clone().into_shape_with_order(4).unwrap();
    assert!(max_abs(&(by_weights.slice(ndarray::s![..4]).to_owned() - expected)) < 1e-14);
}

#[test]
fn a_report_is_made_of_any_policy() {
    let [setting, _] = settings(&network(), 5, 3);
    let plan = Plan { orders: vec![1], samples: vec![200], repeats: 40, seed: 3 };
    let estimators: Vec<Box<dyn Estimator>> =
        all().into_iter().filter(|estimator| estimator.facts().claim.contains(1, false)).collect();
    let report = EstimatorReport::new(&setting, &estimators, &plan).unwrap();
    for row in &report.rows {
        // 40 repeats of 200 trajectories: no bias is detected, by an interval of 95 % for each of a dozen rows, with room.
        assert!(row.truth_norm > 0.0 && row.bias.low < 0.5 * row.truth_norm, "{}: {:?}", row.estimator, row.bias);
    }
    let [setting, _] = settings(&recurrent(), 6, 3);
    assert!(EstimatorReport::new(&setting, &[ImportanceSampling], &plan).unwrap().rows[0].truth_norm > 0.0);
}

#[test]
fn meta_gradients_are_proved_with_a_network() {
    let problem = Problem::new(7, true, 2).unwrap();
    let policy = network();
    let theta = random(&policy, 7);
    let update = SampledUpdate::of_policy(&problem.mdp, policy, &theta, 2, 0.9).rate(0.7).trajectories(2);
    for estimator in sampled::all() {
        let report = update.clone().credit(estimator.credit).check(estimator.surrogate, 1).unwrap();
        assert_eq!(report.is_unbiased(1), estimator.unbiased, "{}: {report}", estimator.name);
    }
}

#[test]
fn a_policy_for_other_states_is_an_error_that_says_so() {
    let problem = Problem::new(8, false, 2).unwrap();
    let policy = Network::new(&Space::Discrete(3)).categorical(2);
    let theta = policy.init(&mut stream(8, 0));
    let setting = Setting::of_policy(&problem.mdp, policy, &theta, 2, 0.9);
    let error = check_estimator(&ImportanceSampling, &setting, 1).unwrap_err();
    assert!(matches!(error, Error::Space { what: "observations", .. }), "{error}");
}

// Segments.

#[test]
fn trajectories_are_cut_into_rows_that_go_on() {
    let rollout = Rollout::new(
        array![[0, 1, 2, 3, 4, 5], [6, 7, 8, 0, 0, 0], [9, 8, 7, 6, 5, 0]],
        array![
            [[0.0], [1.0], [2.0], [3.0], [4.0]],
            [[5.0], [6.0], [0.0], [0.0], [0.0]],
            [[7.0], [8.0], [9.0], [10.0], [0.0]]
        ],
        array![[1.0, 2.0, 3.0, 4.0, 5.0], [6.0, 7.0, 0.0, 0.0, 0.0], [8.0, 9.0, 10.0, 11.0, 0.0]],
        vec![5, 2, 4],
        vec![false, true, true],
    )
    .unwrap();
    let rows = rollout.segments(2);
    assert_eq!(rows.states(), array![[0, 1, 2], [2, 3, 4], [4, 5, 0], [6, 7, 8], [9, 8, 7], [7, 6, 5]]);
    assert_eq!(rows.rewards(), array![[1.0, 2.0], [3.0, 4.0], [5.0, 0.0], [6.0, 7.0], [8.0, 9.0], [10.0, 11.0]]);
    assert_eq!(rows.actions().shape(), [6, 2, 1]);
    assert_eq!(rows.actions().array::<f64>().unwrap().iter().sum::<f64>(), 55.0);
    assert_eq!(rows.lengths(), [2, 2, 1, 2, 2, 2]);
    assert_eq!(rows.terminated(), [false, false, false, true, false, true]);
    assert_eq!(rows.goes_on(), [true, true, false, false, true, false]);
    // The value of where a row goes on counts, as that of where it was truncated.
    assert_eq!(
        rows.counted(),
        array![[1., 1., 1.], [1., 1., 1.], [1., 1., 0.], [1., 1., 0.], [1., 1., 1.], [1., 1., 0.]]
    );
    assert_eq!(
        rollout.segments(9).states(),
        array![[0, 1, 2, 3, 4, 5, 0, 0, 0, 0], [6, 7, 8, 0, 0, 0, 0, 0, 0, 0], [9, 8, 7, 6, 5, 0, 0, 0, 0, 0]]
    );
    assert_eq!(rows.segments(2), rows);
    assert_eq!(rows.select(&[1, 2]).goes_on(), [true, false]);
    let error = rollout.going_on(vec![false, true, false]).unwrap_err().to_string();
    assert_eq!(error, "trajectory 1, step 2: the episode is terminated here, so it cannot go on");
}

#[test]
fn with_an_exact_critic_the_segments_gradients_add_up_to_the_gradient() {
    // V(s_t) of what is left of the horizon is not a function of the state alone; of an episode without horizon it is. Here every
    // episode ends surely in state 1, and a horizon of 16 steps leaves less than 1e-9 of it.
    let transition = array![[[0.2, 0.8], [0.6, 0.4]], [[0.0, 1.0], [0.0, 1.0]]];
    let mdp = rl::env::TabularMdp::new(transition, array![[1.0, 2.0], [0.0, 0.0]])
        .and_then(|mdp| mdp.with_termination(array![0.0, 1.0]))
        .unwrap();
    let (logits, gamma, horizon) = (array![[0.3, -0.2], [0.0, 0.0]], 0.9, 8);
    let infinite = rl::env::Horizon::Infinite;
    let value = derivatives(&mdp, &logits, gamma, &infinite, 0).unwrap()[0].sum();
    let bounded = rl::env::Horizon::Finite { steps: horizon, terminal: Some(array![value, 0.0]) };
    let truth = derivatives(&mdp, &logits, gamma, &bounded, 1).unwrap().swap_remove(1);
    let all = mdp.enumerate(&softmax(&logits), horizon).unwrap();
    let gradient = |steps: usize| {
        let mut sum = ArrayD::<f64>::zeros(vec![2, 2]);
        for (n, &probability) in all.probabilities.iter().enumerate() {
            let rows = all.rollout.select(&[n]).segments(steps);
            let tape = Tape::new();
            let params = record(&Table::numbers(&logits), &tape);
            let episodes = rows.record(&tape);
            let log_prob = Table { states: 2, actions: 2 }.log_prob(&params, &episodes);
            let critic = tape.constant(array![value, 0.0]).gather([episodes.states()]);
            let batch = Batch::new(episodes, log_prob, gamma).with_critic(critic);
            // Row k begins after k · `steps` steps.
            let begins = Array1::from_shape_fn(rows.trajectories(), |k| gamma.powi((k * steps) as i32));
            let surrogate = (allow_biased(&TayPo { order: 1 }).per_trajectory(&batch) * &begins).sum();
            sum.scaled_add(probability, &surrogate.grad(params["logits"]).value());
        }
        sum
    };
    for steps in [1, 3, 8] {
        assert!(max_abs(&(gradient(steps) - &truth)) < 1e-13 && max_abs(&truth) > 1e-2, "{steps}");
    }
}

/// In state s action 0 is e^x times as likely as action 1, x what is seen in s; nothing can be learned.
struct Fixed;

impl Policy for Fixed {
    fn init(&self, _: &mut dyn rand::Rng) -> Numbers {
        Numbers::new()
    }
    fn along(&self, _: &Params, observations: Handle) -> Dist {
        let seen = match observations {
            Handle::Index(states) => states.cast(DType::F64),
            Handle::Var(features) => features,
        };
        let logit = seen.insert_axis(seen.shape().len());
        Categorical::new(Var::concat(&[logit, logit.full_like(0.0)], seen.shape().len())).into()
    }
}

#[test]
fn a_policy_without_parameters_has_a_value_and_no_derivatives() {
    let problem = Problem::new(5, true, 3).unwrap();
    let none = Numbers::new();
    let table = Setting::new(&problem.mdp, &array![[0.0, 0.0], [1.0, 0.0]], 3, 0.9);
    let expected = check_estimator(&ImportanceSampling, &table, 0).unwrap().orders.swap_remove(0).truth;
    let sees = OfFeatures { policy: Fixed, features: array![0.0, 1.0].into() };
    let settings =
        [Setting::of_policy(&problem.mdp, Fixed, &none, 3, 0.9), Setting::of_policy(&problem.mdp, sees, &none, 3, 0.9)];
    for setting in settings {
        let setting = setting.with_action_critic(&array![[1.2, 2.0], [-1.1, -0.3]]).ending(End::Nothing);
        let report = check_estimator(&ImportanceSampling, &setting, 1).unwrap();
        assert!(report.is_unbiased(0), "{report}");
        assert!((report.orders[0].truth.sum() - expected.sum()).abs() < 1e-14);
        assert_eq!(report.orders[1].truth.shape(), [0]);
        assert_eq!(setting.sample(3, 0).unwrap().trajectories(), 3);
    }
}

#[test]
fn without_an_action_critic_the_end_is_the_critics() {
    let problem = Problem::new(6, true, 2).unwrap();
    let setting = |end: End| {
        let setting = Setting::new(&problem.mdp, &problem.logits, 2, 0.9).with_critic(&array![1.7, -0.6]).ending(end);
        check_unbiased(|batch: &Batch| batch.plain_value().mean(), &setting, 0, 1).unwrap().orders.swap_remove(0).truth
    };
    assert_eq!(setting(End::ActionCritic), setting(End::Critic));
    assert_ne!(setting(End::ActionCritic), setting(End::Nothing));
}

#[test]
fn segments_of_frames_are_cut_once_and_values_are_moved() {
    let frames = ndarray::Array4::from_shape_fn((2, 6, 1, 2), |(n, t, _, x)| (n * 100 + t * 10 + x) as u8);
    let actions = ndarray::Array3::from_shape_fn((2, 5, 2), |(n, t, k)| (n * 100 + t * 10 + k) as i32 - 50);
    let rewards = Array2::from_shape_fn((2, 5), |(n, t)| (n * 10 + t) as f64);
    let rollout = Rollout::new(frames, actions, rewards, vec![5, 1], vec![true, false]).unwrap();
    let rows = rollout.segments(3);
    assert_eq!((rows.lengths(), rows.terminated()), (&[3, 2, 1][..], &[false, true, false][..]));
    assert_eq!(rows.goes_on(), [true, false, false]);
    let seen: Vec<u8> = rows.observations().array::<u8>().unwrap().iter().copied().step_by(2).collect();
    assert_eq!(seen, [0, 10, 20, 30, 30, 40, 50, 0, 100, 110, 0, 0]);
    let done: Vec<i32> = rows.actions().array::<i32>().unwrap().iter().copied().skip(1).step_by(2).collect();
    assert_eq!(done, [-49, -39, -29, -19, -9, 0, 51, 0, 0]);
    assert_eq!(rows.rewards(), array![[0.0, 1.0, 2.0], [3.0, 4.0, 0.0], [10.0, 0.0, 0.0]]);
    let place = rows.observations().array::<u8>().unwrap().as_ptr();
    assert_eq!(rows.into_values()[0].array::<u8>().unwrap().as_ptr(), place);
}
