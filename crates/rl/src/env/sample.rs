//! Trajectories sampled by any policy in any environment.
//!
//! Trajectory i draws from its own random stream, and policies act in blocks of a fixed number of trajectories, so that the
//! bits depend neither on how many are sampled nor on the number of threads.

use std::ops::Range;

use ad::{DType, Element, Program, Tape, Value, Var};
use ndarray::{Array1, Array2, ArrayD, ArrayViewD, ArrayViewMutD, Axis};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::{Action, Environment, Slot};
use crate::error::{Error, Result};
use crate::policy::{self, Dist, Numbers, Policy, Structure, check_spaces, compare_spaces};
use crate::rollout::{Rollout, Space, check_count};
use crate::stream::{draw, stream};

/// How many trajectories act together: as many as are sampled in a task, mostly, so that no rows are computed in vain. Another
/// number changes bits: a product's depend on how many rows there are.
pub(super) const BLOCK: usize = 20;

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
    /// (θ, memory, observations) ↦ (probabilities, or means and deviations; memory), all of a block.
    program: Program,
    /// The shapes of what it gives, and how many come before memory.
    outputs: Vec<Vec<usize>>,
    heads: usize,
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
        let heads = outputs.len();
        let outputs = Vec::from_iter(outputs.into_iter().chain(after).map(|output| output.cast(dtype)));
        let program = tape.compile(inputs.chain([observation]), outputs.iter().copied());
        let (spaces, parameters) = (spaces.clone(), Structure::of(theta));
        Ok(Self { spaces, dtype, program, outputs: shapes(&outputs), heads, parameters })
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
                let numbers = block * BLOCK..trajectories.min((block + 1) * BLOCK);
                match self.dtype {
                    DType::F32 => self.block::<f32, E>(environment, &parameters, horizon, numbers, seed),
                    _ => self.block::<f64, E>(environment, &parameters, horizon, numbers, seed),
                }
            })
            .collect();
        // Of several errors the first trajectory's, whichever thread met it.
        let blocks: Vec<Rollout> = blocks.into_iter().collect::<Result<_>>()?;
        match &blocks[..] {
            [_] => Ok(blocks.into_iter().next().expect("one block")),
            blocks => Rollout::concatenate(&blocks.iter().collect::<Vec<_>>()),
        }
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
        self.outputs[self.heads..].iter().map(|shape| Value::zeros(self.dtype, shape)).collect()
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
        if self.outputs.len() > self.heads || states.div_ceil(BLOCK) > runs {
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

    /// The trajectories of these numbers, at most [`BLOCK`], by a program that computes in `T`.
    fn block<T: Element + Into<f64>, E: Environment + Clone>(
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
        let mut rewards = Array2::zeros((rows, horizon));
        let (mut lengths, mut terminated) = (vec![0; rows], vec![false; rows]);

        // All that a step needs is here before the first: a step allocates nothing.
        let (mut seen, mut done) = (Slot::whole(&mut observations), Slot::whole(&mut actions));
        // Of a whole block: rows that are not there see zeros.
        let mut inputs: Vec<Value<'static>> = parameters.iter().map(|array| array.view().owned()).collect();
        inputs.extend(self.outputs[self.heads..].iter().map(|shape| Value::zeros(T::DTYPE, shape)));
        inputs.push(observation_space.zeros(&[BLOCK]).rounded(T::DTYPE));
        let (memory, last) = (parameters.len()..inputs.len() - 1, inputs.len() - 1);
        let mut outputs: Vec<ArrayD<T>> = self.outputs.iter().map(|shape| ArrayD::default(shape.as_slice())).collect();
        let mut outputs: Vec<ArrayViewMutD<'_, T>> = outputs.iter_mut().map(|output| output.view_mut()).collect();
        let mut point = vec![0.0; done_size];
        let single = [self.dtype, action_space.dtype()].contains(&DType::F32);

        let mut going: Vec<Option<(E, ChaCha8Rng)>> =
            numbers.map(|n| Some((environment.clone(), stream(seed, n as u64)))).collect();
        let mut shown = Slot::whole(&mut inputs[last]);
        for (row, one) in going.iter_mut().enumerate() {
            let (environment, rng) = one.as_mut().expect("all begin");
            let begin = row * (horizon + 1);
            environment.reset(rng, seen.part(begin, seen_size));
            shown.part(row, seen_size).round(&seen.part(begin, seen_size));
        }
        for t in 0..horizon {
            if going.iter().all(Option::is_none) {
                break;
            }
            self.program.run_into_as(&inputs, &mut outputs)?;
            let (heads, after) = outputs.split_at(self.heads);
            for (before, after) in inputs[memory.clone()].iter_mut().zip(after) {
                Slot::whole(before).fill(after.iter().map(|&x| x.into()));
            }
            let mut shown = Slot::whole(&mut inputs[last]);
            for (row, one) in going.iter_mut().enumerate() {
                let Some((environment, rng)) = one else { continue };
                let place = row * (horizon + 1) + t;
                let mut wrong = || {
                    let numbers = |head: &ArrayViewMutD<'_, T>| head.index_axis(Axis(0), row).mapv(Into::<f64>::into);
                    // Of a NaN a policy makes NaN.
                    let what = match (not_finite(&seen.part(place, seen_size)), heads) {
                        (Some(x), _) => format!("a number of the observation is {x}, but must be finite"),
                        (None, [mean, deviation]) => format!(
                            "the policy gives no distribution over actions, but means {} and deviations {}",
                            numbers(mean),
                            numbers(deviation)
                        ),
                        (None, heads) => {
                            format!("the policy gives no distribution over actions, but {}", numbers(&heads[0]))
                        }
                    };
                    Error::Step { trajectory: first + row, step: t, what }
                };
                let head = |head: usize| {
                    let entries = heads[head].as_slice().expect("row-major");
                    let size = entries.len() / BLOCK;
                    entries[row * size..(row + 1) * size].iter().map(|&x| x.into())
                };
                let action = if self.heads == 1 {
                    let number = draw(head(0), rng).ok_or_else(wrong)?;
                    done.part(row * horizon + t, done_size).put_number(number);
                    Action::Number(number)
                } else {
                    for ((x, mean), deviation) in point.iter_mut().zip(head(0)).zip(head(1)) {
                        let noise: f64 = StandardNormal.sample(rng);
                        *x = mean + deviation * noise;
                        // What is done is what is written down.
                        if single {
                            *x = f64::from(*x as f32);
                        }
                    }
                    if !point.iter().all(|x| x.is_finite()) {
                        return Err(wrong());
                    }
                    done.part(row * horizon + t, done_size).put(&point);
                    Action::Vector(&point)
                };
                seen.repeat(place, seen_size);
                let step = environment.step(action, rng, seen.part(place + 1, seen_size));
                shown.part(row, seen_size).round(&seen.part(place + 1, seen_size));
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

impl<'v> Slot<'v> {
    /// All entries of an array, in row-major order.
    #[inline]
    fn whole(array: &'v mut Value<'_>) -> Self {
        match array {
            Value::F64(array) => Slot::F64(array.as_slice_mut().expect("row-major")),
            Value::F32(array) => Slot::F32(array.as_slice_mut().expect("row-major")),
            Value::I32(array) => Slot::I32(array.as_slice_mut().expect("row-major")),
            Value::U8(array) => Slot::U8(array.as_slice_mut().expect("row-major")),
        }
    }

    /// Number `i` of things of `size` entries.
    #[inline]
    fn part(&mut self, i: usize, size: usize) -> Slot<'_> {
        let entries = i * size..(i + 1) * size;
        match self {
            Slot::F64(all) => Slot::F64(&mut all[entries]),
            Slot::F32(all) => Slot::F32(&mut all[entries]),
            Slot::I32(all) => Slot::I32(&mut all[entries]),
            Slot::U8(all) => Slot::U8(&mut all[entries]),
        }
    }

    /// Copies number `i` of such things to behind it.
    #[inline]
    fn repeat(&mut self, i: usize, size: usize) {
        let (from, to) = (i * size..(i + 1) * size, (i + 1) * size);
        match self {
            Slot::F64(all) => all.copy_within(from, to),
            Slot::F32(all) => all.copy_within(from, to),
            Slot::I32(all) => all.copy_within(from, to),
            Slot::U8(all) => all.copy_within(from, to),
        }
    }

    /// Puts real numbers, rounded to its type.
    #[inline]
    fn fill(self, numbers: impl Iterator<Item = f64>) {
        match self {
            Slot::F64(to) => to.iter_mut().zip(numbers).for_each(|(to, x)| *to = x),
            Slot::F32(to) => to.iter_mut().zip(numbers).for_each(|(to, x)| *to = x as f32),
            other => unreachable!("{other:?} are not real"),
        }
    }

    /// Copies another's entries, real ones rounded to its own type.
    #[inline]
    fn round(self, from: &Slot<'_>) {
        match (self, from) {
            (Slot::F64(to), Slot::F64(from)) => to.copy_from_slice(from),
            (Slot::F32(to), Slot::F32(from)) => to.copy_from_slice(from),
            (to, Slot::F64(from)) => to.fill(from.iter().copied()),
            (to, Slot::F32(from)) => to.fill(from.iter().copied().map(f64::from)),
            (Slot::I32(to), Slot::I32(from)) => to.copy_from_slice(from),
            (Slot::U8(to), Slot::U8(from)) => to.copy_from_slice(from),
            (to, from) => unreachable!("{from:?} are shown as {to:?}"),
        }
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

/// A row of what a program gave.
fn row_of(array: &ArrayD<f64>, row: usize) -> &[f64] {
    let size = array.len() / array.shape()[0];
    &array.as_slice().expect("row-major")[row * size..(row + 1) * size]
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
