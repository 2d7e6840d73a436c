//! Sampling against what a policy says, and what it refuses.

use ad::DType;
use ndarray::{Array2, Axis, array, s};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rl::env::{Action, Actor, Bandit, Environment, Failure, Navigation, Slot, Step, TabularMdp, Walk, sample};
use rl::error::Error;
use rl::policy::Activation::Tanh;
use rl::policy::{Dist, Network, Normal, Numbers, OfFeatures, Params, Policy, Table, record, softmax};
use rl::rollout::{Rollout, Space};
use rl::stream::stream;

use super::common::Remembering;
use super::refused;

fn mdp() -> TabularMdp {
    let transition = array![
        [[0.5, 0.3, 0.2], [0.0, 0.6, 0.4]],
        [[0.2, 0.8, 0.0], [0.3, 0.3, 0.4]],
        [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]],
    ];
    TabularMdp::new(transition, array![[1.0, 2.0], [-1.0, 0.5], [3.0, -2.0]])
        .and_then(|mdp| mdp.with_start(array![0.6, 0.4, 0.0]))
        .and_then(|mdp| mdp.with_termination(array![0.0, 0.1, 0.3]))
        .unwrap()
}

#[test]
fn a_tabular_process_walked_through_gives_what_it_samples() {
    let logits = array![[0.3, -0.2], [0.1, 0.4], [-1.0, 1.0]];
    let (mdp, policy) = (mdp(), Table { states: 3, actions: 2 });
    let sampled = mdp.sample(&softmax(&logits), 9, 100, 5).unwrap();
    let walked = sample(&mdp.walk(), &policy, &Table::numbers(&logits), 9, 100, 5).unwrap();
    assert_eq!(walked, sampled);
}

#[test]
fn samples_are_the_same_bits_at_any_number_of_threads_and_in_any_batch() {
    let policy = Network::new(&Space::vector(2)).dense(8, Tanh).recurrent(4).normal(2);
    let theta = policy.init(&mut stream(2, 0));
    let environment = Navigation::to([0.2, -0.1]);
    for dtype in [DType::F64, DType::F32] {
        let actor = Actor::new(&policy, &theta, &environment.spaces(), dtype).unwrap();
        let on = |threads, trajectories| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| actor.sample(&environment, &theta, 12, trajectories, 3).unwrap())
        };
        let all = on(1, 100);
        assert_eq!(all, on(2, 100));
        assert_eq!(all.select(&Vec::from_iter(0..41)), on(2, 41));
        assert_eq!(all.select(&[0]), on(1, 1));
    }
}

/// Fails unless 45 trajectories are the same bits by a policy that is looked up, if it can be, and by one that is computed.
fn assert_looked_up(environment: &(impl Environment + Clone + Sync), policy: impl Policy) {
    let rng = &mut stream(3, 0);
    let mut theta = policy.init(rng);
    theta.values_mut().for_each(|array| array.mapv_inplace(|x| x + rng.random::<f64>()));
    let computed = Remembering(policy);
    for dtype in [DType::F64, DType::F32] {
        let by = |policy: &dyn Policy| {
            let actor = Actor::new(policy, &theta, &environment.spaces(), dtype).unwrap();
            actor.sample(environment, &theta, 12, 45, 8).unwrap()
        };
        assert_eq!(by(&computed.0), by(&computed));
    }
}

#[test]
fn what_a_policy_does_in_a_state_is_the_same_bits_looked_up_or_computed() {
    let bandit = Bandit::random(5, &mut stream(1, 0)).unwrap();
    assert_looked_up(&bandit, Table { states: 1, actions: 5 });
    assert_looked_up(&mdp().walk(), Table { states: 3, actions: 2 });
    // More states than a block has rows; a walk ends nowhere.
    let walk = Walk::random(45, 3, &mut stream(1, 1)).unwrap();
    let features = Array2::from_shape_fn((45, 4), |(s, i)| ((s * 5 + i * 3) % 11) as f64 - 5.0).into();
    let network = Network::new(&Space::vector(4)).dense(7, Tanh).categorical(3);
    assert_looked_up(&walk, OfFeatures { policy: network, features });
    // Where it is not worth it, nothing is looked up: of 45 states, for fewer than three runs of the program.
    let policy = Table { states: 45, actions: 3 };
    let theta = policy.init(&mut stream(3, 0));
    let [short, long] = [2, 3].map(|horizon| sample(&walk, &policy, &theta, horizon, 20, 4).unwrap());
    assert_eq!(short.rewards(), long.rewards().slice(s![.., ..2]));
    assert_eq!(short.states(), long.states().slice(s![.., ..3]));
}

#[test]
fn what_is_sampled_is_what_the_policy_does_with_what_it_saw() {
    // A policy with memory on observations that the process makes: its noise, (a − m)/σ, is standard normal; and what it did is
    // likely by the very distributions that it goes along by.
    let policy = Network::new(&Space::vector(2)).dense(8, Tanh).recurrent(4).normal(2).deviation(-0.3, 0.0);
    let theta = policy.init(&mut stream(4, 0));
    let rollout = sample(&Navigation::to([9.0, 9.0]), &policy, &theta, 10, 2000, 7).unwrap();
    assert_eq!(rollout.observations().shape(), [2000, 11, 2]);
    let tape = ad::Tape::new();
    let (params, episodes) = (record(&theta, &tape), rollout.record(&tape));
    let Dist::Normal(normal) = policy.along(&params, episodes.acted_on()) else { panic!("a normal one") };
    let noise = ((episodes.actions.var() - normal.mean()) / normal.log_std().exp()).value();
    let count = noise.len() as f64;
    let mean = noise.sum() / count;
    let square = noise.mapv(|x| x * x).sum() / count;
    // 40 000 numbers: five standard errors.
    assert!(mean.abs() < 5.0 / count.sqrt() && (square - 1.0).abs() < 5.0 * (2.0 / count).sqrt(), "{mean}, {square}");
    // What is seen follows from what was done.
    let (seen, done) = (rollout.observations().array::<f64>().unwrap(), rollout.actions().array::<f64>().unwrap());
    for n in [0, 19, 20, 1999] {
        let mut here = [0.0; 2];
        for t in 0..10 {
            assert_eq!(seen.slice(s![n, t, ..]).to_vec(), here);
            (0..2).for_each(|i| here[i] += 0.1 * done[[n, t, i]].clamp(-1.0, 1.0));
        }
    }
}

/// Counts upwards by its action's number, shows the count as bytes, and ends at 5; watched for at most 4 steps.
#[derive(Clone)]
struct Counter {
    count: u8,
    steps: usize,
}

impl Environment for Counter {
    fn spaces(&self) -> [Space; 2] {
        [Space::Array { shape: vec![2, 1], dtype: DType::U8 }, Space::Discrete(3)]
    }
    fn reset(&mut self, _: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<(), Failure> {
        (self.count, self.steps) = (0, 0);
        observation.put_bytes(&[0, 255]);
        Ok(())
    }
    fn step(&mut self, action: Action<'_>, _: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<Step, Failure> {
        self.count += action.number() as u8;
        self.steps += 1;
        observation.put_bytes(&[self.count, 255 - self.count]);
        Ok(Step { reward: action.number() as f64, terminated: self.count >= 5, truncated: self.steps == 4 })
    }
}

#[test]
fn bytes_are_seen_as_bytes_and_truncated_is_told_from_terminated() {
    let policy = Network::new(&Space::Array { shape: vec![2, 1], dtype: DType::U8 }).categorical(3);
    let theta = policy.init(&mut stream(5, 0));
    let rollout = sample(&Counter { count: 0, steps: 0 }, &policy, &theta, 10, 200, 1).unwrap();
    let bytes = rollout.observations().array::<u8>().unwrap();
    let mut ends = [0, 0];
    for n in 0..200 {
        let (length, actions) = (rollout.lengths()[n], rollout.action_numbers());
        let sums: Vec<i32> = (0..=length).map(|t| actions.slice(s![n, ..t]).sum()).collect();
        assert!((0..=length).all(|t| i32::from(bytes[[n, t, 0, 0]]) == sums[t]));
        assert!(bytes.slice(s![n, length + 1.., .., ..]).iter().all(|&byte| byte == 0));
        assert_eq!(rollout.terminated()[n], sums[length] >= 5);
        assert!(rollout.terminated()[n] || length == 4);
        ends[usize::from(rollout.terminated()[n])] += 1;
    }
    assert!(ends.iter().all(|&count| count > 10), "{ends:?}");
}

#[test]
fn what_does_not_fit_an_environment_is_an_error_that_says_what() {
    let theta = |policy: &dyn Policy| policy.init(&mut stream(6, 0));
    let error =
        |policy: &dyn Policy, theta: &Numbers| sample(&mdp().walk(), policy, theta, 4, 3, 0).unwrap_err().to_string();
    let policy = Network::new(&Space::vector(2)).categorical(2);
    let words = "the policy is for observations that are arrays of f64 of shape [2], but they are one of 3 numbers";
    assert_eq!(error(&policy, &theta(&policy)), words);
    let policy = Table { states: 3, actions: 4 };
    let words = "the policy is for actions that are one of 4 numbers, but they are one of 2 numbers";
    assert_eq!(error(&policy, &theta(&policy)), words);
    let policy = Network::new(&Space::Discrete(3)).normal(2);
    assert!(error(&policy, &theta(&policy)).contains("actions that are arrays of f64 of shape [2]"));

    /// Says nothing of what it is for, and has three components.
    struct Silent;
    impl Policy for Silent {
        fn init(&self, _: &mut dyn rand::Rng) -> Numbers {
            Numbers::from([("mean".to_owned(), ndarray::arr1(&[0.0; 3]).into_dyn())])
        }
        fn along(&self, theta: &Params, observations: ad::Handle) -> Dist {
            let mean = theta["mean"].broadcast_to(&[observations.shape()[0], 3]);
            Normal::new(mean, mean.full_like(0.0)).into()
        }
    }
    let message = sample(&Navigation::to([0.0; 2]), &Silent, &theta(&Silent), 4, 3, 0).unwrap_err().to_string();
    let words =
        "the policy is for actions that are arrays of f64 of shape [3], but they are arrays of f64 of shape [2]";
    assert_eq!(message, words);
    // Real numbers of either precision are alike.
    let single = |shape: &[usize]| Space::Array { shape: shape.to_vec(), dtype: DType::F32 };
    assert!(Space::vector(2).is_like(&single(&[2])) && !Space::vector(2).is_like(&single(&[3])));
    assert!(!Space::frames(2, 2, 1).is_like(&single(&[2, 2, 1])) && !Space::Discrete(2).is_like(&Space::Discrete(3)));

    let policy = Table { states: 3, actions: 2 };
    let nan = Table::numbers(&array![[0.0, 0.0], [0.0, f64::NAN], [0.0, 0.0]]);
    let message = sample(&mdp().walk(), &policy, &nan, 4, 300, 0).unwrap_err().to_string();
    assert!(message.contains("the policy gives no distribution over actions, but [NaN, NaN]"), "{message}");
    let actor = Actor::new(&policy, &theta(&policy), &mdp().walk().spaces(), DType::F64).unwrap();
    let wider = Table::numbers(&Array2::zeros((3, 3)));
    assert!(matches!(actor.sample(&mdp().walk(), &wider, 4, 3, 0), Err(Error::Shape { what: "parameters", .. })));
    assert!(matches!(actor.sample(&mdp().walk(), &Numbers::new(), 4, 3, 0), Err(Error::Shape { .. })));
    let renamed = theta(&policy).into_values().map(|array| ("table".to_owned(), array)).collect();
    assert!(matches!(actor.sample(&mdp().walk(), &renamed, 4, 3, 0), Err(Error::Name { .. })));
    assert!(matches!(actor.sample(&mdp().walk(), &theta(&policy), 0, 3, 0), Err(Error::Empty { .. })));

    /// Pays what is no reward in its third step.
    #[derive(Clone)]
    struct Broken(usize);
    impl Environment for Broken {
        fn spaces(&self) -> [Space; 2] {
            [Space::Discrete(1), Space::Discrete(2)]
        }
        fn reset(&mut self, _: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<(), Failure> {
            self.0 = 0;
            observation.put_number(0);
            Ok(())
        }
        fn step(&mut self, _: Action<'_>, _: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<Step, Failure> {
            self.0 += 1;
            observation.put_number(0);
            Ok(Step { reward: if self.0 == 3 { f64::NAN } else { 1.0 }, terminated: false, truncated: false })
        }
    }
    let policy = Table { states: 1, actions: 2 };
    let message = sample(&Broken(0), &policy, &theta(&policy), 4, 40, 0).unwrap_err().to_string();
    assert_eq!(message, "trajectory 0, step 2: the reward is NaN, but must be finite");

    /// Is in state −1 or 2 of two after a step.
    #[derive(Clone)]
    struct Lost(i32);
    impl Environment for Lost {
        fn spaces(&self) -> [Space; 2] {
            [Space::Discrete(2), Space::Discrete(2)]
        }
        fn reset(&mut self, _: &mut ChaCha8Rng, _: Slot<'_>) -> Result<(), Failure> {
            Ok(())
        }
        fn step(&mut self, _: Action<'_>, _: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<Step, Failure> {
            let Slot::I32(entries) = observation else { unreachable!("a number") };
            entries[0] = self.0;
            Ok(Step { reward: 0.0, terminated: false, truncated: false })
        }
    }
    let policy = Table { states: 2, actions: 2 };
    for state in [-1, 2] {
        let message = sample(&Lost(state), &policy, &theta(&policy), 4, 40, 0).unwrap_err().to_string();
        let words = "but must be one of 2 numbers, counted from 0";
        assert_eq!(message, format!("trajectory 0, step 1: the state is {state}, {words}"));
    }
}

/// Shows what is handed to it, in the second step; vectors of two, in either precision, or frames.
#[derive(Clone)]
struct Showing(Space, Show);

type Show = fn(Slot<'_>);

impl Environment for Showing {
    fn spaces(&self) -> [Space; 2] {
        [self.0.clone(), Space::Discrete(2)]
    }
    fn reset(&mut self, _: &mut ChaCha8Rng, _: Slot<'_>) -> Result<(), Failure> {
        Ok(())
    }
    fn step(&mut self, _: Action<'_>, _: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<Step, Failure> {
        (self.1)(observation);
        Ok(Step { reward: 0.0, terminated: false, truncated: false })
    }
}

#[test]
fn an_observation_that_is_none_is_the_environments_fault_and_said_to_be() {
    let single = Space::Array { shape: vec![2], dtype: DType::F32 };
    for space in [Space::vector(2), single.clone()] {
        let policy = Network::new(&space).categorical(2);
        let theta = policy.init(&mut stream(6, 0));
        let environment = Showing(space, |slot| slot.put(&[0.0, f64::NAN]));
        let message = sample(&environment, &policy, &theta, 4, 40, 0).unwrap_err().to_string();
        assert_eq!(message, "trajectory 0, step 1: a number of the observation is NaN, but must be finite");
    }
    let wrong: [(Space, Show, &str); 3] = [
        (Space::vector(2), |slot| slot.put(&[0.0]), "put: an observation has 2 entries, but 1 are put"),
        (single, |slot| slot.put(&[0.0; 3]), "put: an observation has 2 entries, but 3 are put"),
        (Space::frames(2, 2, 1), |slot| slot.put_bytes(&[0]), "put_bytes: an observation has 4 entries, but 1 are put"),
    ];
    for (space, show, words) in wrong {
        let policy = Network::new(&space).categorical(2);
        let theta = policy.init(&mut stream(6, 0));
        assert_eq!(refused(|| sample(&Showing(space, show), &policy, &theta, 4, 1, 0)), words);
    }
    // What is not put again stays.
    let policy = Network::new(&Space::vector(2)).categorical(2);
    let theta = policy.init(&mut stream(6, 0));
    let environment = Showing(Space::vector(2), |slot| match slot {
        Slot::F64(entries) => entries[1] += 1.0,
        _ => unreachable!("a space of f64"),
    });
    let seen = sample(&environment, &policy, &theta, 2, 1, 0).unwrap();
    assert_eq!(*seen.observations(), array![[[0.0, 0.0], [0.0, 1.0], [0.0, 2.0]]].into());
}

/// Distributions for other observations than it was shown, or memory of another shape than it said.
struct Odd {
    remembers: usize,
}

impl Policy for Odd {
    fn init(&self, _: &mut dyn rand::Rng) -> Numbers {
        Numbers::from([("mean".to_owned(), ndarray::arr1(&[0.0; 2]).into_dyn())])
    }
    fn along(&self, theta: &Params, _: ad::Handle) -> Dist {
        Normal::new(theta["mean"], theta["mean"]).into()
    }
    fn memory(&self) -> Vec<Vec<usize>> {
        vec![vec![3]; self.remembers]
    }
    fn once(&self, theta: &Params, memory: &[ad::Var], observation: ad::Handle) -> (Dist, Vec<ad::Var>) {
        if memory.is_empty() {
            return (self.along(theta, observation), Vec::new());
        }
        let mean = observation.var() * 0.0 + theta["mean"];
        (Normal::new(mean, mean).into(), vec![memory[0].slice(1, 0..2)])
    }
}

#[test]
fn a_policy_that_gives_something_else_is_refused_with_its_shapes() {
    let environment = Navigation::to([0.0; 2]);
    let theta = Odd { remembers: 0 }.init(&mut stream(6, 0));
    let message = |remembers| refused(|| sample(&environment, &Odd { remembers }, &theta, 4, 3, 0));
    assert_eq!(message(0), "once: of 20 observations, [20, 2], the policy gives a batch [] of distributions, not [20]");
    assert_eq!(message(1), "once: what the policy remembers has shapes [[20, 2]], but `memory` says [[20, 3]]");
}

#[test]
fn features_of_states_are_seen_in_their_place() {
    let features = array![[1.0, 0.0], [0.5, -0.5], [0.0, 2.0]];
    let inner = Network::new(&Space::vector(2)).dense(3, Tanh).categorical(2);
    let policy = OfFeatures { policy: inner.clone(), features: features.clone().into() };
    let theta = policy.init(&mut stream(8, 0));
    let rollout = sample(&mdp().walk(), &policy, &theta, 6, 50, 9).unwrap();
    let vectors = rollout.states().map(|&s| s as usize);
    let seen = features.select(Axis(0), vectors.as_slice().unwrap()).into_shape_with_order((50, 7, 2)).unwrap();
    let shown = Rollout::new(
        seen,
        rollout.actions().clone(),
        rollout.rewards().clone(),
        rollout.lengths().to_vec(),
        rollout.terminated().to_vec(),
    )
    .unwrap();
    let tape = ad::Tape::new();
    let params = record(&theta, &tape);
    let of_states = policy.log_prob(&params, &rollout.record(&tape));
    let (taken, of_vectors) = (rollout.record(&tape).steps, inner.log_prob(&params, &shown.record(&tape)));
    assert_eq!(taken.on_steps(of_states).value(), taken.on_steps(of_vectors).value());
}

#[test]
fn parameters_in_another_order_are_refused() {
    let policy = Network::new(&Space::vector(2)).dense(2, Tanh).normal(2);
    let theta = policy.init(&mut stream(0, 0));
    let environment = Navigation::to([0.3, 0.3]);
    let actor = Actor::new(&policy, &theta, &environment.spaces(), DType::F64).unwrap();
    // All weights are 2 by 2: by their shapes nobody would see it.
    let other: Numbers = ["w2", "b2", "w1", "b1", "log_std"].map(|name| (name.to_owned(), theta[name].clone())).into();
    let error = actor.sample(&environment, &other, 3, 2, 0).unwrap_err().to_string();
    assert_eq!(error, "a parameter is called `w2`, but in its place `w1` was recorded");
    let tape = ad::Tape::new();
    let params = record(&theta, &tape);
    let double = rl::policy::function(&tape, &params, &params);
    assert_eq!(double(&theta).unwrap(), theta);
    assert!(matches!(double(&other), Err(Error::Name { .. })));
}

/// Pays what is done; what is seen after two steps is as given. Actions are in single precision.
#[derive(Clone)]
struct Pays {
    sees: f64,
    steps: usize,
}

impl Environment for Pays {
    fn spaces(&self) -> [Space; 2] {
        [Space::vector(1), Space::Array { shape: vec![1], dtype: DType::F32 }]
    }
    fn reset(&mut self, _: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<(), Failure> {
        observation.put(&[0.0]);
        Ok(())
    }
    fn step(&mut self, action: Action<'_>, _: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<Step, Failure> {
        self.steps += 1;
        observation.put(&[if self.steps == 2 { self.sees } else { 0.0 }]);
        Ok(Step { reward: action.vector()[0], terminated: false, truncated: false })
    }
}

#[test]
fn what_is_done_is_what_is_written_down() {
    let policy = Network::new(&Space::vector(1)).normal(1);
    let theta = policy.init(&mut stream(0, 0));
    let rollout = sample(&Pays { sees: 0.0, steps: 0 }, &policy, &theta, 5, 2, 0).unwrap();
    let actions = rollout.actions().array::<f32>().unwrap().mapv(f64::from);
    assert!(actions.iter().eq(rollout.rewards()), "{actions} {}", rollout.rewards());
}

#[test]
fn it_is_said_whether_policy_or_environment_gives_no_numbers() {
    let policy = Network::new(&Space::vector(1)).normal(1);
    let mut theta = policy.init(&mut stream(0, 0));
    let sampled =
        |theta: &Numbers, sees| sample(&Pays { sees, steps: 0 }, &policy, theta, 5, 2, 0).unwrap_err().to_string();
    let said = "trajectory 0, step 2: a number of the observation is NaN, but must be finite";
    assert_eq!(sampled(&theta, f64::NAN), said);
    theta["log_std"].fill(800.0);
    let said =
        "trajectory 0, step 0: the policy gives no distribution over actions, but means [0] and deviations [inf]";
    assert_eq!(sampled(&theta, 0.0), said);
}
