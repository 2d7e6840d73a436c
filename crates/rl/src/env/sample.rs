//! Trajectories sampled by any policy in any environment.
//!
//! Trajectory i draws from its own random stream, and policies act in blocks of a fixed number of trajectories, so that the
//! bits depend neither on how many are sampled nor on the number of threads.

use ad::{DType, Program, Tape, Value, Var};
use ndarray::{Array2, ArrayD, ArrayViewD, Axis};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::{Action, Environment, Slot};
use crate::error::{Error, Result};
use crate::policy::{self, Dist, Numbers, Policy, Structure, check_spaces, compare_spaces};
use crate::rollout::{Rollout, Space, check_count};
use crate::stream::{draw, stream};

/// How many trajectories act together.
const BLOCK: usize = 32;

/// A policy compiled to act in environments of certain spaces: the same program for all parameters, tasks and iterations.
///
/// ```
/// use rl::{env::{Actor, Environment, Navigation}, policy::{Activation::Tanh, Network, Policy}, rollout::Space, stream::stream};
///
/// let policy = Network::new(&Space::vector(2)).dense(16, Tanh).normal(2);
/// let theta = policy.init(&mut stream(0, 0));
/// let environment = Navigation::to([0.3, -0.2]);
/// let actor = Actor::new(&policy, &theta, &environment.spaces(), ad::DType::F32)?;
/// let rollout = actor.sample(&environment, &theta, 20, 50, 0)?;                   // 50 trajectories of 20 steps
/// assert_eq!(rollout.observations().shape(), [50, 21, 2]);
/// # Ok::<(), rl::error::Error>(())
/// ```
#[derive(Debug)]
pub struct Actor {
    spaces: [Space; 2],
    dtype: DType,
    memory: Vec<Vec<usize>>,
    /// (θ, memory, observations) ↦ (probabilities, or means and deviations; memory).
    program: Program,
    parameters: Structure,
}

impl Actor {
    /// For a policy with parameters of these shapes, in environments of these spaces, computing in a floating-point type.
    ///
    /// # Errors
    ///
    /// [`Error::Space`] if the policy is for others.
    ///
    /// Panics if what its `once` gives is not a distribution for each observation, and its memory.
    #[track_caller]
    pub fn new(policy: &dyn Policy, theta: &Numbers, spaces: &[Space; 2], dtype: DType) -> Result<Self> {
        check_spaces(policy, [&spaces[0], &spaces[1]])?;
        let tape = Tape::new();
        let params = policy::record_as(theta, &tape, dtype);
        let memory = policy.memory();
        let zeros = |shape: &Vec<usize>| Value::zeros(dtype, &[&[BLOCK], &shape[..]].concat());
        let before: Vec<_> = memory.iter().map(|shape| tape.input("memory", zeros(shape))).collect();
        let observation = tape.input_or_index("observation", spaces[0].zeros(&[BLOCK]).rounded(dtype));
        let (dist, after) = policy.once(&params, &before, observation);
        let (given, outputs) = match dist {
            Dist::Categorical(dist) => (Space::Discrete(dist.actions()), vec![dist.probabilities()]),
            Dist::Normal(dist) => {
                let components = *dist.mean().shape().last().expect("a normal has components");
                (Space::vector(components), vec![dist.mean(), dist.log_std().exp()])
            }
        };
        let batch = outputs[0].shape();
        assert!(
            batch[..batch.len() - 1] == [BLOCK],
            "once: of {BLOCK} observations, {:?}, the policy gives a batch {:?} of distributions, not [{BLOCK}]",
            &observation.shape()[..],
            &batch[..batch.len() - 1]
        );
        let shapes = |memory: &[Var]| memory.iter().map(|var| var.shape().to_vec()).collect::<Vec<_>>();
        assert!(
            shapes(&after) == shapes(&before),
            "once: what the policy remembers has shapes {:?}, but `memory` says {:?}",
            shapes(&after),
            shapes(&before)
        );
        compare_spaces(&[spaces[0].clone(), given], [&spaces[0], &spaces[1]])?;
        let inputs = policy::handles(&params).into_iter().chain(before.iter().map(|&var| var.into()));
        let program = tape.compile(inputs.chain([observation]), outputs.into_iter().chain(after));
        Ok(Self { spaces: spaces.clone(), dtype, memory, program, parameters: Structure::of(theta) })
    }

    /// Samples trajectories of at most `horizon` steps, each in an environment of its own that is a clone of this one.
    ///
    /// Trajectory i is a function of `seed` and i alone: the same bits at any number of threads, and the first of a larger batch
    /// are those of a smaller one.
    ///
    /// # Errors
    ///
    /// [`Error::Space`] for an environment of another kind; [`Error::Shape`] and [`Error::Name`] for other parameters;
    /// [`Error::Empty`] if `horizon` or `trajectories` is 0; [`Error::TooLarge`]; [`Error::Step`] where the policy's distribution, or
    /// what the environment says, is not finite.
    pub fn sample<E: Environment + Clone + Sync>(
        &self,
        environment: &E,
        theta: &Numbers,
        horizon: usize,
        trajectories: usize,
        seed: u64,
    ) -> Result<Rollout> {
        let there = environment.spaces();
        compare_spaces(&self.spaces, [&there[0], &there[1]])?;
        let [observation, action] = &self.spaces;
        check_count(trajectories, horizon, observation.size().saturating_add(action.size()))?;
        self.parameters.check("parameters", theta)?;
        ad::ready_threads();
        let parameters = policy::values_as(theta, self.dtype);
        let blocks = trajectories.div_ceil(BLOCK);
        let blocks: Vec<Result<Rollout>> = (0..blocks)
            .into_par_iter()
            .map(|block| {
                let rows = BLOCK.min(trajectories - block * BLOCK);
                self.block(environment, &parameters, horizon, block * BLOCK..block * BLOCK + rows, seed)
            })
            .collect();
        // Of several errors the first trajectory's, whichever thread met it.
        let blocks: Vec<Rollout> = blocks.into_iter().collect::<Result<_>>()?;
        match &blocks[..] {
            [_] => Ok(blocks.into_iter().next().expect("one block")),
            blocks => Rollout::concatenate(&blocks.iter().collect::<Vec<_>>()),
        }
    }

    /// The trajectories of these numbers, at most [`BLOCK`].
    fn block<E: Environment + Clone>(
        &self,
        environment: &E,
        parameters: &[Value<'_>],
        horizon: usize,
        numbers: std::ops::Range<usize>,
        seed: u64,
    ) -> Result<Rollout> {
        let (first, rows) = (numbers.start, numbers.len());
        let [observation_space, action_space] = &self.spaces;
        let (seen_size, done_size) = (observation_space.size(), action_space.size());
        let mut observations = observation_space.zeros(&[rows, horizon + 1]);
        let mut actions = action_space.zeros(&[rows, horizon]);
        // What is seen now, by a whole block: rows that are not there see zeros.
        let mut seen = observation_space.zeros(&[BLOCK]);
        let mut memory: Vec<Value<'static>> =
            self.memory.iter().map(|shape| Value::zeros(self.dtype, &[&[BLOCK], &shape[..]].concat())).collect();
        let mut rewards = Array2::zeros((rows, horizon));
        let (mut lengths, mut terminated) = (vec![0; rows], vec![false; rows]);
        let mut going: Vec<Option<(E, ChaCha8Rng)>> =
            numbers.map(|n| Some((environment.clone(), stream(seed, n as u64)))).collect();
        for (row, one) in going.iter_mut().enumerate() {
            let (environment, rng) = one.as_mut().expect("all begin");
            environment.reset(rng, slot(&mut seen, row, seen_size));
            copy(slot(&mut observations, row * (horizon + 1), seen_size), &slot(&mut seen, row, seen_size));
        }
        let mut point = vec![0.0; done_size];
        for t in 0..horizon {
            if going.iter().all(Option::is_none) {
                break;
            }
            let observation = seen.view().rounded(self.dtype);
            let inputs: Vec<Value<'_>> =
                parameters.iter().map(Value::view).chain(memory.iter().map(Value::view)).chain([observation]).collect();
            let mut outputs = self.program.run_values(&inputs)?.into_iter();
            let heads = if matches!(action_space, Space::Discrete(_)) { 1 } else { 2 };
            let heads: Vec<ArrayD<f64>> = (outputs.by_ref().take(heads))
                .map(|value| value.rounded(DType::F64).into_array().expect("of floating-point numbers"))
                .collect();
            memory = outputs.collect();
            for (row, one) in going.iter_mut().enumerate() {
                let Some((environment, rng)) = one else { continue };
                let heads: Vec<ArrayViewD<'_, f64>> = heads.iter().map(|head| head.index_axis(Axis(0), row)).collect();
                let mut wrong = || {
                    // Of a NaN a policy makes NaN.
                    let what = match not_finite(&slot(&mut seen, row, seen_size)) {
                        Some(x) => format!("a number of the observation is {x}, but must be finite"),
                        None if heads.len() == 2 => format!(
                            "the policy gives no distribution over actions, but means {} and deviations {}",
                            heads[0], heads[1]
                        ),
                        None => format!("the policy gives no distribution over actions, but {}", heads[0]),
                    };
                    Error::Step { trajectory: first + row, step: t, what }
                };
                let action = match heads.len() {
                    1 => {
                        let number = draw(heads[0].iter().copied(), rng).ok_or_else(wrong)?;
                        slot(&mut actions, row * horizon + t, done_size).put_number(number);
                        Action::Number(number)
                    }
                    _ => {
                        for ((x, mean), std) in point.iter_mut().zip(&heads[0]).zip(&heads[1]) {
                            let noise: f64 = StandardNormal.sample(rng);
                            *x = mean + std * noise;
                            // What is done is what is written down.
                            if [self.dtype, action_space.dtype()].contains(&DType::F32) {
                                *x = f64::from(*x as f32);
                            }
                        }
                        if !point.iter().all(|x| x.is_finite()) {
                            return Err(wrong());
                        }
                        slot(&mut actions, row * horizon + t, done_size).put(&point);
                        Action::Vector(&point)
                    }
                };
                let step = environment.step(action, rng, slot(&mut seen, row, seen_size));
                let place = row * (horizon + 1) + t + 1;
                copy(slot(&mut observations, place, seen_size), &slot(&mut seen, row, seen_size));
                rewards[[row, t]] = step.reward;
                lengths[row] = t + 1;
                terminated[row] = step.terminated;
                if step.terminated || step.truncated {
                    *one = None;
                }
            }
        }
        Rollout::new(observations, actions, rewards, lengths, terminated).map_err(|error| match error {
            Error::Step { trajectory, step, what } => Error::Step { trajectory: first + trajectory, step, what },
            other => other,
        })
    }
}

/// A distribution over tasks, as whoever samples in them needs it: any function from a random stream to an environment.
///
/// The type of the environment is forgotten, so that a list of problems may have many.
///
/// ```
/// use rl::{env::{Actor, Navigation, Tasks}, policy::{Network, Policy}, rollout::Space, stream::stream};
///
/// let policy = Network::new(&Space::vector(2)).normal(2);
/// let theta = policy.init(&mut stream(0, 0));
/// let tasks: Box<dyn Tasks> = Box::new(Navigation::random);
/// let actor = Actor::new(&policy, &theta, &tasks.spaces(), ad::DType::F32)?;
/// for number in 0..3 {
///     let rollout = tasks.sample(&mut stream(1, number), &actor, &theta, 20, 50, number)?;   // in a task of its own
///     assert_eq!(rollout.observations().shape(), [50, 21, 2]);
/// }
/// # Ok::<(), rl::error::Error>(())
/// ```
pub trait Tasks: Sync {
    /// What observations and actions are, in every task.
    fn spaces(&self) -> [Space; 2];

    /// Trajectories in the task that `task` (a stream) draws, by this actor: those of [`Actor::sample`].
    ///
    /// # Errors
    ///
    /// Those of [`Actor::sample`].
    fn sample(
        &self,
        task: &mut ChaCha8Rng,
        actor: &Actor,
        theta: &Numbers,
        horizon: usize,
        trajectories: usize,
        seed: u64,
    ) -> Result<Rollout>;
}

impl<E: Environment + Clone + Sync, F: Fn(&mut ChaCha8Rng) -> E + Sync> Tasks for F {
    fn spaces(&self) -> [Space; 2] {
        self(&mut stream(0, 0)).spaces()
    }

    fn sample(
        &self,
        task: &mut ChaCha8Rng,
        actor: &Actor,
        theta: &Numbers,
        horizon: usize,
        trajectories: usize,
        seed: u64,
    ) -> Result<Rollout> {
        actor.sample(&self(task), theta, horizon, trajectories, seed)
    }
}

/// Samples trajectories of at most `horizon` steps by a policy with these parameters, in double precision: an [`Actor`] made for
/// once.
///
/// # Errors
///
/// Those of [`Actor::new`] and [`Actor::sample`].
#[track_caller]
pub fn sample<E: Environment + Clone + Sync>(
    environment: &E,
    policy: &dyn Policy,
    theta: &Numbers,
    horizon: usize,
    trajectories: usize,
    seed: u64,
) -> Result<Rollout> {
    Actor::new(policy, theta, &environment.spaces(), DType::F64)?.sample(
        environment,
        theta,
        horizon,
        trajectories,
        seed,
    )
}

/// The place of number `i` in an array of them.
fn slot<'v>(array: &'v mut Value<'static>, i: usize, size: usize) -> Slot<'v> {
    let entries = i * size..(i + 1) * size;
    match array {
        Value::F64(array) => Slot::F64(&mut array.as_slice_mut().expect("row-major")[entries]),
        Value::F32(array) => Slot::F32(&mut array.as_slice_mut().expect("row-major")[entries]),
        Value::I32(array) => Slot::I32(&mut array.as_slice_mut().expect("row-major")[entries]),
        Value::U8(array) => Slot::U8(&mut array.as_slice_mut().expect("row-major")[entries]),
    }
}

/// The first number that is not finite.
fn not_finite(of: &Slot<'_>) -> Option<f64> {
    match of {
        Slot::F64(entries) => entries.iter().copied().find(|x| !x.is_finite()),
        Slot::F32(entries) => entries.iter().copied().map(f64::from).find(|x| !x.is_finite()),
        Slot::I32(_) | Slot::U8(_) => None,
    }
}

/// Copies what is in one place to another.
fn copy(to: Slot<'_>, from: &Slot<'_>) {
    match (to, from) {
        (Slot::F64(to), Slot::F64(from)) => to.copy_from_slice(from),
        (Slot::F32(to), Slot::F32(from)) => to.copy_from_slice(from),
        (Slot::I32(to), Slot::I32(from)) => to.copy_from_slice(from),
        (Slot::U8(to), Slot::U8(from)) => to.copy_from_slice(from),
        _ => unreachable!("both are of one space"),
    }
}
