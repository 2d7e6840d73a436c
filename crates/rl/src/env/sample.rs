//! Trajectories sampled by any policy in any environment.
//!
//! Trajectory i draws from its own random stream, and policies act in blocks of a fixed number of trajectories, so that the
//! bits depend neither on how many are sampled nor on the number of threads.

use std::ops::Range;

use ad::{DType, Program, Tape, Value, Var};
use ndarray::{Array1, Array2, ArrayD, ArrayViewD, Axis};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::{Action, Environment, Slot};
use crate::error::{Error, Result};
use crate::policy::{self, Dist, Numbers, Policy, Structure, check_spaces, compare_spaces};
use crate::rollout::{Rollout, Space, check_count};
use crate::stream::{draw, stream};

/// How many trajectories act together.
pub(super) const BLOCK: usize = 32;

/// A policy compiled to act in environments of certain spaces: the same program for all parameters, tasks and iterations.
///
/// ```
/// use rl::{env::{Actor, Navigation}, policy::{Activation::Tanh, Network, Policy}, rollout::Space, stream::stream};
///
/// let policy = Network::new(&Space::vector(2)).dense(16, Tanh).normal(2);
/// let theta = policy.init(&mut stream(0, 0));
/// let environment = Navigation::to([0.3, -0.2]);
/// let actor = Actor::new(&policy, &theta, &environment, ad::DType::F32)?;
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
    /// For a policy with parameters of these shapes, in environments like this one, computing in a floating-point type.
    ///
    /// # Errors
    ///
    /// [`Error::Space`] if the policy is for another environment.
    ///
    /// Panics if what its `once` gives is not a distribution for each observation, and its memory.
    #[track_caller]
    pub fn new(
        policy: &dyn Policy,
        theta: &Numbers,
        environment: &(impl Environment + ?Sized),
        dtype: DType,
    ) -> Result<Self> {
        Self::in_spaces(policy, theta, environment.spaces(), dtype)
    }

    /// The same, wherever observations and actions are of these spaces.
    #[track_caller]
    pub(super) fn in_spaces(policy: &dyn Policy, theta: &Numbers, spaces: [Space; 2], dtype: DType) -> Result<Self> {
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
        Ok(Self { spaces, dtype, memory, program, parameters: Structure::of(theta) })
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
        let parameters = self.parameters(environment.spaces(), theta, horizon, trajectories)?;
        in_blocks(trajectories, |numbers| Ok([self.block(environment, &parameters, horizon, numbers, seed)?]))
            .map(|[rollout]| rollout)
    }

    /// Parameters as values for the program; an error for those of another policy, where spaces are others, or where nothing
    /// fits into memory.
    pub(super) fn parameters<'v>(
        &self,
        there: [Space; 2],
        theta: &'v Numbers,
        horizon: usize,
        trajectories: usize,
    ) -> Result<Vec<Value<'v>>> {
        compare_spaces(&self.spaces, [&there[0], &there[1]])?;
        let [observation, action] = &self.spaces;
        check_count(trajectories, horizon, observation.size().saturating_add(action.size()))?;
        self.parameters.check("parameters", theta)?;
        Ok(policy::values_as(theta, self.dtype))
    }

    /// Of observations and actions.
    pub(super) fn spaces(&self) -> &[Space; 2] {
        &self.spaces
    }

    /// What is remembered at the begin, by a whole block.
    pub(super) fn memory(&self) -> Vec<Value<'static>> {
        self.memory.iter().map(|shape| Value::zeros(self.dtype, &[&[BLOCK], &shape[..]].concat())).collect()
    }

    /// The distributions of a whole block, which are probabilities, or means and deviations: `[BLOCK, …]` each. What is remembered
    /// is replaced.
    pub(super) fn distributions(
        &self,
        parameters: &[Value<'_>],
        memory: &mut Vec<Value<'static>>,
        seen: &Value<'static>,
    ) -> Result<Vec<ArrayD<f64>>> {
        let observation = seen.view().rounded(self.dtype);
        let inputs: Vec<Value<'_>> =
            parameters.iter().map(Value::view).chain(memory.iter().map(Value::view)).chain([observation]).collect();
        let mut outputs = self.program.run_values(&inputs)?.into_iter();
        let heads = if matches!(self.spaces[1], Space::Discrete(_)) { 1 } else { 2 };
        let heads = (outputs.by_ref().take(heads))
            .map(|value| value.rounded(DType::F64).into_array().expect("of floating-point numbers"))
            .collect();
        *memory = outputs.collect();
        Ok(heads)
    }

    /// The probabilities of actions in each of the states, `[S, A]`, if both are numbered, nothing is remembered, and it takes at
    /// most `runs` runs of the program: then a row of them is looked up instead of computed.
    pub(super) fn table(&self, parameters: &[Value<'_>], runs: usize) -> Result<Option<Array2<f64>>> {
        let &[Space::Discrete(states), Space::Discrete(actions)] = &self.spaces else { return Ok(None) };
        if !self.memory.is_empty() || states.div_ceil(BLOCK) > runs {
            return Ok(None);
        }
        let mut table = Vec::with_capacity(states * actions);
        for first in (0..states).step_by(BLOCK) {
            // (A block beyond the last state sees state 0.)
            let numbers = (first..first + BLOCK).map(|state| if state < states { state as i32 } else { 0 });
            let seen = Value::from(Array1::from_iter(numbers));
            table.extend(self.distributions(parameters, &mut Vec::new(), &seen)?.swap_remove(0));
        }
        table.truncate(states * actions);
        Ok(Some(Array2::from_shape_vec((states, actions), table).expect("a row for each state")))
    }

    /// Draws what is done, by row `row` of the distributions, and writes it into its place; a vector into `point`, too. Nothing
    /// if the row is no distribution.
    pub(super) fn draw<'p>(
        &self,
        distributions: &[ArrayD<f64>],
        row: usize,
        rng: &mut ChaCha8Rng,
        place: Slot<'_>,
        point: &'p mut [f64],
    ) -> Option<Action<'p>> {
        let [probabilities] = distributions else {
            let [means, deviations] = [0, 1].map(|i| row_of(&distributions[i], row));
            for ((x, mean), std) in point.iter_mut().zip(means).zip(deviations) {
                let noise: f64 = StandardNormal.sample(rng);
                *x = mean + std * noise;
                // What is done is what is written down.
                if [self.dtype, self.spaces[1].dtype()].contains(&DType::F32) {
                    *x = f64::from(*x as f32);
                }
            }
            if !point.iter().all(|x| x.is_finite()) {
                return None;
            }
            place.put(point);
            return Some(Action::Vector(point));
        };
        let number = draw(row_of(probabilities, row).iter().copied(), rng)?;
        place.put_number(number);
        Some(Action::Number(number))
    }

    /// The trajectories of these numbers, at most [`BLOCK`].
    fn block<E: Environment + Clone>(
        &self,
        environment: &E,
        parameters: &[Value<'_>],
        horizon: usize,
        numbers: Range<usize>,
        seed: u64,
    ) -> Result<Rollout> {
        let (first, rows) = (numbers.start, numbers.len());
        let [observation_space, action_space] = &self.spaces;
        let (seen_size, done_size) = (observation_space.size(), action_space.size());
        let mut observations = observation_space.zeros(&[rows, horizon + 1]);
        let mut actions = action_space.zeros(&[rows, horizon]);
        // What is seen now, by a whole block: rows that are not there see zeros.
        let mut seen = observation_space.zeros(&[BLOCK]);
        let mut memory = self.memory();
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
            let distributions = self.distributions(parameters, &mut memory, &seen)?;
            for (row, one) in going.iter_mut().enumerate() {
                let Some((environment, rng)) = one else { continue };
                let place = slot(&mut actions, row * horizon + t, done_size);
                let Some(action) = self.draw(&distributions, row, rng, place, &mut point) else {
                    let heads: Vec<_> = distributions.iter().map(|head| head.index_axis(Axis(0), row)).collect();
                    let what = why_none(&slot(&mut seen, row, seen_size), &heads);
                    return Err(Error::Step { trajectory: first + row, step: t, what });
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
        Rollout::new(observations, actions, rewards, lengths, terminated).map_err(|error| counted_from(first, error))
    }
}

/// Trajectories made block by block, in parallel: of those numbered so, P rollouts each (one a player), which are put together.
pub(super) fn in_blocks<const P: usize>(
    trajectories: usize,
    block: impl Fn(Range<usize>) -> Result<[Rollout; P]> + Sync,
) -> Result<[Rollout; P]> {
    ad::ready_threads();
    let numbers = |b: usize| b * BLOCK..trajectories.min((b + 1) * BLOCK);
    let blocks: Vec<Result<[Rollout; P]>> =
        (0..trajectories.div_ceil(BLOCK)).into_par_iter().map(|b| block(numbers(b))).collect();
    // Of several errors the first trajectory's, whichever thread met it.
    let mut blocks: Vec<[Rollout; P]> = blocks.into_iter().collect::<Result<_>>()?;
    if blocks.len() == 1 {
        return Ok(blocks.swap_remove(0));
    }
    let mut all = Vec::with_capacity(P);
    for player in 0..P {
        all.push(Rollout::concatenate(&blocks.iter().map(|block| &block[player]).collect::<Vec<_>>())?);
    }
    Ok(all.try_into().expect("one of each player"))
}

/// An error of a block, with trajectories numbered as they are among all.
pub(super) fn counted_from(first: usize, error: Error) -> Error {
    match error {
        Error::Step { trajectory, step, what } => Error::Step { trajectory: first + trajectory, step, what },
        other => other,
    }
}

/// Why nothing can be drawn from a row of distributions, its probabilities or means and deviations. (Of a NaN that is seen a policy
/// makes NaN.)
pub(super) fn why_none(seen: &Slot<'_>, row: &[ArrayViewD<'_, f64>]) -> String {
    match (not_finite(seen), row) {
        (Some(x), _) => format!("a number of the observation is {x}, but must be finite"),
        (None, [means, deviations]) => {
            format!("the policy gives no distribution over actions, but means {means} and deviations {deviations}")
        }
        (None, row) => format!("the policy gives no distribution over actions, but {}", row[0]),
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
    Actor::new(policy, theta, environment, DType::F64)?.sample(environment, theta, horizon, trajectories, seed)
}

/// A row of what a program gave.
fn row_of(array: &ArrayD<f64>, row: usize) -> &[f64] {
    let size = array.len() / array.shape()[0];
    &array.as_slice().expect("row-major")[row * size..(row + 1) * size]
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
pub(super) fn copy(to: Slot<'_>, from: &Slot<'_>) {
    match (to, from) {
        (Slot::F64(to), Slot::F64(from)) => to.copy_from_slice(from),
        (Slot::F32(to), Slot::F32(from)) => to.copy_from_slice(from),
        (Slot::I32(to), Slot::I32(from)) => to.copy_from_slice(from),
        (Slot::U8(to), Slot::U8(from)) => to.copy_from_slice(from),
        _ => unreachable!("both are of one space"),
    }
}
