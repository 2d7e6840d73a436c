//! Everything in `rl` computes in single precision where its numbers enter so: every estimator's surrogate and its
//! derivatives, meta-gradients, distributions and optimisers, against double precision.

use ad::{DType, Tape, Value, Var, vmap_many};
use indexmap::IndexMap;
use ndarray::{Array, Array2, ArrayD, array};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rl::batch::Batch;
use rl::meta::adapt;
use rl::objective::{Estimator, ImportanceSampling, all, allow_biased};
use rl::optim::{Rule, TapeOptimiser};
use rl::policy::{Categorical, Normal, Table, softmax};
use rl::rollout::{Episodes, Rollout, per_trajectory_gradients};
use study::exact::Problem;

const PRECISIONS: [DType; 2] = [DType::F64, DType::F32];

/// A batch's rollout and what an estimator may be given, in some precision.
struct Recorded {
    tape: Tape,
    theta: Var,
    episodes: Episodes,
    batch: Batch,
}

/// A recorded rollout, with critics of numbers that mean nothing, on or off policy.
fn recorded(problem: &Problem, rollout: &Rollout, off_policy: bool, precision: DType) -> Recorded {
    let tape = Tape::new();
    // Both precisions start from the same numbers.
    let entered = |array: ArrayD<f64>| Value::from(array.mapv(|x| f64::from(x as f32))).rounded(precision);
    let theta = tape.input("theta", entered(problem.logits.clone().into_dyn()));
    let episodes = rollout.record_as(&tape, precision);
    let critic = tape.constant(entered(array![1.7, -0.6].into_dyn()));
    let action_critic = tape.constant(entered(array![[1.2, 2.0], [-1.1, -0.3]].into_dyn()));
    let expected = (theta.softmax() * action_critic).sum_axes(&[1]).gather([episodes.states()]);
    let mut batch = Batch::new(episodes, Table::log_prob_of(theta, &episodes), 0.9)
        .with_critic(critic.gather([episodes.states()]))
        .with_action_critic(episodes.look_up(action_critic), expected);
    if off_policy {
        let behaviour = tape.constant(entered(problem.behaviour.clone().into_dyn()));
        batch = batch.off_policy(Table::log_prob_of(behaviour, &episodes));
    }
    Recorded { tape, theta, episodes, batch }
}

/// Results as `f64`, checked to be of this precision.
fn values(tape: &Tape, results: &[Var], precision: DType) -> Vec<ArrayD<f64>> {
    let none: [Var; 0] = [];
    let values = tape.compile(none, results.iter().copied()).run_values(&[]).expect("no inputs");
    (values.into_iter())
        .map(|value| {
            assert_eq!(value.dtype(), precision);
            value.rounded(DType::F64).into_array().expect("now it is")
        })
        .collect()
}

/// Panics unless single precision has the numbers of double, within some roundings of the largest of each result, or of what
/// is summed for it.
#[track_caller]
fn assert_same(what: &str, roundings: f64, summed: f64, results: impl Fn(DType) -> Vec<ArrayD<f64>>) {
    let [double, single] = PRECISIONS.map(results);
    assert_eq!(double.len(), single.len());
    for (i, (double, single)) in double.iter().zip(&single).enumerate() {
        assert_eq!(double.shape(), single.shape(), "{what}: result {i}");
        let largest = double.iter().fold(summed, |largest: f64, x| largest.max(x.abs()));
        assert!(largest > 0.0 && double.iter().all(|x| x.is_finite()), "{what}: result {i} is nothing: {double}");
        let bound = roundings * f64::from(f32::EPSILON) * largest;
        for (double, single) in double.iter().zip(single) {
            assert!((double - single).abs() <= bound, "{what}: result {i}: {single}, not {double} (of {largest:e})");
        }
    }
}

#[test]
fn every_estimator_has_a_surrogate_in_single_precision() {
    for off_policy in [false, true] {
        for early_end in [false, true] {
            let problem = Problem::new(5, early_end, 6).unwrap();
            let sampler = softmax(if off_policy { &problem.behaviour } else { &problem.logits });
            let rollout = problem.mdp.sample(&sampler, 6, 300, 1).unwrap();
            let estimators = all();
            assert!(estimators.len() >= 16);
            for estimator in estimators {
                let name = format!("{} (off policy: {off_policy}, early end: {early_end})", estimator.facts().name);
                let estimator = allow_biased(&*estimator);
                // Rewards are of the order of 1; those that are centred sum to 0.
                assert_same(&name, 100.0, 1.0, |precision| {
                    let Recorded { tape, theta, batch, .. } = recorded(&problem, &rollout, off_policy, precision);
                    let surrogate = estimator.surrogate(&batch);
                    let results = [surrogate, surrogate.grad(theta), surrogate.hessian(theta)];
                    values(&tape, &results, precision)
                });
            }
        }
    }
}

#[test]
fn a_program_of_a_recorded_rollout_is_run_on_other_rollouts_in_single_precision() {
    let problem = Problem::new(2, true, 8).unwrap();
    let policy = softmax(&problem.logits);
    let [first, second] = [1, 2].map(|seed| problem.mdp.sample(&policy, 8, 500, seed).unwrap());
    assert_same("DiCE", 100.0, 0.0, |precision| {
        let Recorded { tape, theta, episodes, batch } = recorded(&problem, &first, false, precision);
        let surrogate = ImportanceSampling.surrogate(&batch);
        let derivatives = [surrogate.grad(theta), surrogate.hessian(theta)];
        let program = tape.compile(episodes.handles(), derivatives);
        let results = program.run_values(&second.values_as(precision)).unwrap();
        results.into_iter().map(|value| value.rounded(DType::F64).into_array().unwrap()).collect()
    });
}

#[test]
fn gradients_of_each_trajectory_in_single_precision() {
    let problem = Problem::new(3, true, 5).unwrap();
    let rollout = problem.mdp.sample(&softmax(&problem.logits), 5, 40, 7).unwrap();
    assert_same("per trajectory", 50.0, 0.0, |precision| {
        let Recorded { tape, theta, episodes, .. } = recorded(&problem, &rollout, false, precision);
        let gradients = per_trajectory_gradients(&episodes, theta, |one| {
            ImportanceSampling.surrogate(&Batch::new(one, Table::log_prob_of(theta, &one), 0.9))
        });
        values(&tape, &[gradients], precision)
    });
}

#[test]
fn ratios_beyond_the_range_of_single_precision_weigh_nothing_and_no_nan() {
    // After 100 steps at a ratio of e, their product is beyond the largest number of single precision, and not of double.
    let steps = 100;
    let rollout = Rollout::zeros(1, steps).unwrap();
    let [double, single] = PRECISIONS.map(|precision| {
        let tape = Tape::new();
        let episodes = rollout.record_as(&tape, precision);
        let log_prob = episodes.steps.rewards.full_like(-0.1);
        let batch = Batch::new(episodes, log_prob, 1.0).off_policy(log_prob - 1.0);
        // Only the first reward is not 0, and only the first ratio weighs.
        let mut x = Array2::<f64>::zeros((1, steps));
        x[[0, 0]] = 2.0;
        let sum = batch.importance_weighted_sum(log_prob.constant(x)).sum();
        values(&tape, &[sum, sum.grad_or_zeros(episodes.steps.rewards).sum()], precision)[0].sum()
    });
    assert!((double - 2.0 * 1.0_f64.exp()).abs() < 1e-12 && (single / double - 1.0).abs() < 1e-6, "{single}, {double}");
}

/// MAML with a Gaussian policy of two layers, as W5 has it, with `rl`'s own parts: θ' = θ + α ∇J(θ), by DiCE's boxes.
#[test]
fn a_meta_gradient_through_a_network_in_single_precision() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut random =
        |shape: &[usize]| Array::from_shape_simple_fn(shape, || f64::from(rng.random_range(-1.0..1.0_f32))).into_dyn();
    let parameters =
        [("w1", vec![3, 16]), ("b1", vec![16]), ("w2", vec![16, 2]), ("b2", vec![2]), ("log_std", vec![2])];
    let theta: Vec<(&str, ArrayD<f64>)> = parameters.iter().map(|(name, shape)| (*name, random(shape))).collect();
    let (tasks, rows) = (4, 60);
    let data: Vec<ArrayD<f64>> = (0..2)
        .flat_map(|_| [vec![tasks, rows, 3], vec![tasks, rows, 2], vec![tasks, rows]])
        .map(|s| random(&s))
        .collect();
    let loss = |p: &IndexMap<String, Var>, batch: [Var; 3]| {
        let [observations, actions, advantages] = batch;
        let hidden = (observations.matmul(p["w1"]) + p["b1"]).tanh();
        let policy = Normal::new(hidden.matmul(p["w2"]) + p["b2"], p["log_std"]);
        (policy.log_prob(actions).magic_box() * advantages).mean()
    };
    assert_same("meta-gradient", 300.0, 0.0, |precision| {
        let tape = Tape::new();
        let entered = |x: &ArrayD<f64>| Value::from(x.clone()).rounded(precision);
        let theta: IndexMap<String, Var> =
            theta.iter().map(|(name, x)| ((*name).to_owned(), tape.input(name, entered(x)))).collect();
        let data: Vec<_> = data.iter().map(|x| tape.constant(entered(x))).collect();
        let objective = vmap_many(
            |data| {
                let batches: Vec<Var> = data.iter().map(|handle| handle.var()).collect();
                let gradient = loss(&theta, [batches[0], batches[1], batches[2]]).grad(&theta);
                let adapted = theta.iter().map(|(name, &x)| (name.clone(), x + gradient[name] * 0.1)).collect();
                loss(&adapted, [batches[3], batches[4], batches[5]])
            },
            &data,
        )
        .mean();
        let results: Vec<Var> = [objective]
            .into_iter()
            .chain(objective.grad(&theta).into_values())
            .chain(objective.hvp(&theta, &theta).into_values())
            .collect();
        values(&tape, &results, precision)
    });
}

#[test]
fn inner_steps_and_optimisers_on_the_tape_in_single_precision() {
    assert_same("ascent and Adam", 50.0, 0.0, |precision| {
        let tape = Tape::new();
        let theta = tape.input("theta", Value::from(array![0.5, -1.25, 2.0]).rounded(precision));
        let loss = |x: Var| -(x.sin() * x).sum();
        let climbed = adapt(&theta, Rule::sgd(0.1), 3, |_, &x| loss(x))[3];
        let mut adam = TapeOptimiser::new(Rule::adam(0.05));
        let mut adapted = theta;
        for _ in 0..3 {
            adapted = adam.step(adapted, loss(adapted).grad(adapted));
        }
        let results = [climbed, loss(climbed).grad(theta), adapted, loss(adapted).grad(theta)];
        values(&tape, &results, precision)
    });
}

#[test]
fn distributions_in_single_precision() {
    assert_same("categorical and normal", 50.0, 0.0, |precision| {
        let tape = Tape::new();
        let entered = |x: ArrayD<f64>| tape.input("x", Value::from(x).rounded(precision));
        let logits = entered(array![[0.5, -1.25, 2.0], [0.0, 1.5, -0.75]].into_dyn());
        let (categorical, other) = (Categorical::new(logits), Categorical::new(logits * 0.5));
        let actions = tape.index("actions", array![2, 0]);
        let (mean, log_std) =
            (entered(array![[0.5, -1.25], [2.0, 0.25]].into_dyn()), entered(array![-0.5, 0.75].into_dyn()));
        let (normal, wider) = (Normal::new(mean, log_std), Normal::new(mean * 0.5, log_std + 0.25));
        let points = entered(array![[0.25, 0.5], [-1.5, 3.0]].into_dyn());
        let scalars = [
            (categorical.log_prob(actions).sum(), logits),
            (categorical.entropy().sum(), logits),
            (categorical.kl(&other).sum(), logits),
            (normal.log_prob(points).sum(), log_std),
            (normal.entropy().sum(), log_std),
            (normal.kl(&wider).sum(), mean),
        ];
        let derivatives = scalars.iter().flat_map(|&(y, x)| [y, y.grad(x)]);
        values(&tape, &derivatives.collect::<Vec<_>>(), precision)
    });
    // What is sampled are numbers of the type.
    let tape = Tape::new();
    let normal = Normal::new(tape.input("mean", array![[0.1_f32, 0.2]]), tape.input("log_std", array![0.3_f32, -0.4]));
    let sample = normal.sample(&mut ChaCha8Rng::seed_from_u64(1));
    assert!(sample.iter().all(|&x| f64::from(x as f32) == x), "{sample}");
}
