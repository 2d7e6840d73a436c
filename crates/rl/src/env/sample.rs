//! Trajectories sampled by any policy in any environment.
//!
//! Trajectory i draws from its own random stream, and policies act in blocks of a fixed number of trajectories, so that the
//! bits depend neither on how many are sampled nor on the number of threads.

use std::array;
use std::ops::Range;

use ad::{DType, Element, Program, Tape, Value, Var};
use ndarray::Array1;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::seat::{Computed, LookedUp, Number, Part, Seat, Written};
use super::{Environment, Failure, Vectorised};
use crate::error::{Error, Result};
use crate::policy::{self, Dist, Draw, Numbers, Policy, Structure, check_spaces, compare_spaces};
use crate::rollout::{Rollout, Space, check_count};
use crate::stream::stream;

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
    pub(super) spaces: [Space; 2],
    dtype: DType,
    /// (θ, memory, observations) ↦ (what actions are drawn from; memory), all of a block.
    pub(super) program: Program,
    /// The shapes of what it gives, and how many come before memory: 1, or 2.
    pub(super) outputs: Vec<Vec<usize>>,
    pub(super) heads: usize,
    pub(super) drawing: Drawing,
    parameters: Structure,
}

/// How an action is drawn from what the program gives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Drawing {
    /// A number, from probabilities.
    Number,
    /// A vector, from means and deviations.
    Normal,
    /// A vector of another kind, from one row of numbers.
    Other(Draw),
}

impl Actor {
    /// How many trajectories act together.
    pub const BLOCK: usize = BLOCK;

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
        let (given, outputs, drawing) = match (dist, dist.drawing()) {
            (Dist::Categorical(dist), _) => {
                (Space::Discrete(dist.actions()), vec![dist.probabilities()], Drawing::Number)
            }
            (Dist::Normal(dist), Some((size, ..))) => {
                (Space::vector(size), vec![dist.mean(), dist.log_std().exp()], Drawing::Normal)
            }
            (_, Some((size, from, draw))) => (Space::vector(size), vec![from], Drawing::Other(draw)),
            (_, None) => unreachable!("vectors are drawn"),
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
        Ok(Self { spaces, dtype, program, outputs: shapes(&outputs), heads, drawing, parameters })
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
    /// what the environment says, is not finite; or of what an environment fails with.
    pub fn sample<E: Environment + Clone + Sync>(
        &self,
        environment: &E,
        theta: &Numbers,
        horizon: usize,
        trajectories: usize,
        seed: u64,
    ) -> Result<Rollout> {
        let [rollout] = sample_by([self], environment, [theta], horizon, trajectories, seed)?;
        Ok(rollout)
    }

    /// The same in environments side by side, of at least [`BLOCK`](Self::BLOCK) rows, that `environments` hands out. A block of
    /// trajectories has one to itself, as many at once as there are threads.
    ///
    /// # Errors
    ///
    /// Those of [`sample`](Self::sample), and [`Error::Step`] for what an environment says.
    pub fn sample_together<V: Vectorised>(
        &self,
        spaces: &[Space; 2],
        environments: &(impl Fn() -> Result<V, Failure> + Sync),
        theta: &Numbers,
        horizon: usize,
        trajectories: usize,
        seed: u64,
    ) -> Result<Rollout> {
        let [rollout] = sample_by([self], &Together(environments, spaces), [theta], horizon, trajectories, seed)?;
        Ok(rollout)
    }

    /// Parameters as the program takes them; an error for those of another policy, where spaces are others, or where nothing fits
    /// into memory.
    fn parameters<'v>(
        &self,
        theta: &'v Numbers,
        there: &[Space; 2],
        horizon: usize,
        trajectories: usize,
    ) -> Result<Vec<Value<'v>>> {
        let [observation, action] = &self.spaces;
        compare_spaces(&self.spaces, [&there[0], &there[1]])?;
        check_count(trajectories, horizon, observation.size().saturating_add(action.size()))?;
        self.parameters.check("parameters", theta)?;
        Ok(policy::values_as(theta, self.dtype))
    }

    /// The probabilities of actions in each of the states, one state behind the other, if both are numbered, nothing is
    /// remembered, and it takes at most `runs` runs of the program: then they are looked up instead of computed.
    fn table<T: Element>(&self, parameters: &[Value<'_>], runs: usize) -> Result<Option<Vec<T>>> {
        let &[Space::Discrete(states), Space::Discrete(actions)] = &self.spaces else { return Ok(None) };
        if self.outputs.len() > self.heads || states.div_ceil(BLOCK) > runs {
            return Ok(None);
        }
        let mut table = Vec::with_capacity(states * actions);
        for first in (0..states).step_by(BLOCK) {
            // (Behind the last state: state 0.)
            let number = |row| if first + row < states { (first + row) as i32 } else { 0 };
            let seen = Array1::from_shape_fn(BLOCK, number);
            let inputs: Vec<Value<'_>> = parameters.iter().map(Value::view).chain([seen.into()]).collect();
            table.extend(self.program.run_as::<T>(&inputs)?.swap_remove(0));
        }
        table.truncate(states * actions);
        Ok(Some(table))
    }
}

/// What P actors act in at once, from their seats: environments are, for one, and games, for two. `begin`s a block of trajectories,
/// whose numbers are given, and then makes one step after the other in all of those that go on.
pub(super) trait World<const P: usize>: Sync {
    /// A block, and which of its rows go on.
    type Block;
    /// Of each, what observations and actions are.
    fn spaces(&self) -> [[Space; 2]; P];
    /// Begins an episode in each row, from the random stream of its trajectory.
    fn begin(&self, seats: &mut [impl Seat; P], streams: Vec<ChaCha8Rng>) -> Result<Self::Block>;
    /// Draws what is done and makes step `t`, in the rows that go on, and says whether any does after it.
    fn step(&self, block: &mut Self::Block, seats: &mut [impl Seat; P], t: usize) -> Result<bool>;
}

/// What goes on row by row, each in a clone of its own, with what is random in it.
pub(super) struct Rows<E>(Vec<Option<(E, ChaCha8Rng)>>);

impl<E: Clone> Rows<E> {
    /// Clones, begun by `begin(row, …)`.
    pub fn begin(
        of: &E,
        streams: Vec<ChaCha8Rng>,
        mut begin: impl FnMut(usize, &mut E, &mut ChaCha8Rng) -> Result<(), Failure>,
    ) -> Result<Self> {
        let one = |(row, mut rng)| {
            let mut one = of.clone();
            begin(row, &mut one, &mut rng).map_err(|failure| within(failure, row, 0))?;
            Ok(Some((one, rng)))
        };
        Ok(Self(streams.into_iter().enumerate().map(one).collect::<Result<_>>()?))
    }

    /// Makes a step in each that goes on, by `step(row, …)`, which says whether it was the last there.
    #[inline]
    pub fn step(&mut self, mut step: impl FnMut(usize, &mut E, &mut ChaCha8Rng) -> Result<bool>) -> Result<bool> {
        let mut goes_on = false;
        for (row, one) in self.0.iter_mut().enumerate() {
            let Some((world, rng)) = one else { continue };
            if step(row, world, rng)? {
                *one = None;
            } else {
                goes_on = true;
            }
        }
        Ok(goes_on)
    }
}

/// Draws in step `t` what each of those in their seats does, as trajectories are numbered in the block.
#[inline]
pub(super) fn act<const P: usize>(
    seats: &mut [impl Seat; P],
    row: usize,
    t: usize,
    rng: &mut ChaCha8Rng,
) -> Result<()> {
    seats
        .iter_mut()
        .enumerate()
        .try_for_each(|(i, seat)| seat.act(row, t, rng).map_err(|error| of_player::<P>(i, error)))
}

/// With the player, if there are two.
fn of_player<const P: usize>(player: usize, error: Error) -> Error {
    match error {
        Error::Step { trajectory, step, what } if P > 1 => {
            Error::Step { trajectory, step, what: format!("player {player}: {what}") }
        }
        other => other,
    }
}

/// A failure as an error of that row and step.
fn within(Failure(what): Failure, row: usize, t: usize) -> Error {
    Error::Step { trajectory: row, step: t, what }
}

impl<E: Environment + Clone + Sync> World<1> for E {
    type Block = Rows<E>;

    fn spaces(&self) -> [[Space; 2]; 1] {
        [Environment::spaces(self)]
    }

    fn begin(&self, [seat]: &mut [impl Seat; 1], streams: Vec<ChaCha8Rng>) -> Result<Rows<E>> {
        Rows::begin(self, streams, |row, environment, rng| environment.reset(rng, seat.begin(row)))
    }

    fn step(&self, block: &mut Rows<E>, seats: &mut [impl Seat; 1], t: usize) -> Result<bool> {
        block.step(|row, environment, rng| {
            act(seats, row, t, rng)?;
            let [seat] = seats;
            let (action, next) = seat.turn(row, t);
            let step = environment.step(action, rng, next).map_err(|failure| within(failure, row, t))?;
            Ok(seat.earn(row, t, step))
        })
    }
}

/// Environments side by side, which whoever samples a block has to himself for so long.
struct Together<'a, F>(&'a F, &'a [Space; 2]);

impl<V: Vectorised, F: Fn() -> Result<V, Failure> + Sync> World<1> for Together<'_, F> {
    type Block = (V, Vec<ChaCha8Rng>, Vec<bool>);

    fn spaces(&self) -> [[Space; 2]; 1] {
        [self.1.clone()]
    }

    fn begin(&self, [seat]: &mut [impl Seat; 1], mut streams: Vec<ChaCha8Rng>) -> Result<Self::Block> {
        let mut all = (self.0)().map_err(|failure| within(failure, 0, 0))?;
        let seeds: Vec<u32> = streams.iter_mut().map(|rng| rng.random::<u32>() >> 1).collect();
        all.reset(&seeds).map_err(|(row, failure)| within(failure, row, 0))?;
        for row in 0..seeds.len() {
            all.look(row, seat.begin(row));
        }
        Ok((all, streams, vec![true; seeds.len()]))
    }

    fn step(&self, block: &mut Self::Block, seats: &mut [impl Seat; 1], t: usize) -> Result<bool> {
        let (all, streams, goes_on) = block;
        for row in 0..goes_on.len() {
            if goes_on[row] {
                act(seats, row, t, &mut streams[row])?;
                all.act(row, seats[0].turn(row, t).0);
            }
        }
        all.step(goes_on).map_err(|(row, failure)| within(failure, row, t))?;
        for (row, goes_on) in goes_on.iter_mut().enumerate() {
            if *goes_on {
                let step = all.look(row, seats[0].turn(row, t).1);
                *goes_on = !seats[0].earn(row, t, step);
            }
        }
        Ok(goes_on.contains(&true))
    }
}

/// Trajectories of P actors of one type of numbers, who act at once: what each of them saw, did and earned.
///
/// Errors are those of [`Actor::sample`], and say which of several actors.
pub(super) fn sample_by<const P: usize>(
    actors: [&Actor; P],
    world: &impl World<P>,
    thetas: [&Numbers; P],
    horizon: usize,
    trajectories: usize,
    seed: u64,
) -> Result<[Rollout; P]> {
    match actors[0].dtype {
        DType::F32 => sample_in::<f32, P>(actors, world, thetas, horizon, trajectories, seed),
        _ => sample_in::<f64, P>(actors, world, thetas, horizon, trajectories, seed),
    }
}

/// The same, computed in `T`: block by block, in parallel.
fn sample_in<T: Number, const P: usize>(
    actors: [&Actor; P],
    world: &impl World<P>,
    thetas: [&Numbers; P],
    horizon: usize,
    trajectories: usize,
    seed: u64,
) -> Result<[Rollout; P]> {
    let count = trajectories.div_ceil(BLOCK);
    let (mut parameters, mut tables) = (Vec::with_capacity(P), Vec::with_capacity(P));
    for ((actor, there), theta) in actors.iter().zip(world.spaces()).zip(thetas) {
        let values = actor.parameters(theta, &there, horizon, trajectories)?;
        tables.push(actor.table::<T>(&values, horizon.saturating_mul(count))?);
        parameters.push(values);
    }
    // (A player who computes takes most of the time: then the other's table is not worth a seat of another kind.)
    let tables: Option<Vec<Vec<T>>> = tables.into_iter().collect();
    let mut written = actors.map(|actor| Written::nothing(&actor.spaces, trajectories, horizon));
    let mut parts = written.each_mut().map(|written| written.blocks().into_iter());
    let blocks = (0..count).map(|_| parts.each_mut().map(|parts| parts.next().expect("of each block")));
    let blocks: Vec<[Part<'_>; P]> = blocks.collect();
    ad::ready_threads();
    let one = |(number, parts): (usize, [Part<'_>; P])| {
        let numbers = number * BLOCK..trajectories.min((number + 1) * BLOCK);
        let mut parts = parts.into_iter();
        let mut part = || parts.next().expect("one of each");
        match &tables {
            Some(tables) => {
                let seats = array::from_fn(|i| LookedUp::new(actors[i], &tables[i], part()));
                block::<_, P>(seats, world, horizon, numbers, seed)
            }
            None => {
                let seats = array::from_fn(|i| Computed::<T>::new(actors[i], &parameters[i], part()));
                block::<_, P>(seats, world, horizon, numbers, seed)
            }
        }
    };
    let ends: Vec<Result<()>> = blocks.into_par_iter().enumerate().map(one).collect();
    // Of several errors the first trajectory's, whichever thread met it.
    ends.into_iter().collect::<Result<()>>()?;
    let rollouts = written.into_iter().enumerate();
    let rollouts = rollouts.map(|(i, written)| written.into_rollout().map_err(|error| of_player::<P>(i, error)));
    Ok(rollouts.collect::<Result<Vec<_>>>()?.try_into().expect("one of each"))
}

/// Makes the trajectories of these numbers, at most [`BLOCK`].
fn block<S: Seat, const P: usize>(
    mut seats: [S; P],
    world: &impl World<P>,
    horizon: usize,
    numbers: Range<usize>,
    seed: u64,
) -> Result<()> {
    let first = numbers.start;
    // As trajectories are numbered among all.
    let among_all = |error| match error {
        Error::Step { trajectory, step, what } => Error::Step { trajectory: first + trajectory, step, what },
        other => other,
    };
    let streams = numbers.map(|number| stream(seed, number as u64)).collect();
    let mut block = world.begin(&mut seats, streams).map_err(among_all)?;
    for t in 0..horizon {
        for seat in &mut seats {
            seat.look(t)?;
        }
        if !world.step(&mut block, &mut seats, t).map_err(among_all)? {
            break;
        }
    }
    Ok(())
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

    /// What outside of this program decides over bits, with its version: nothing, where all of it is here.
    fn versions(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// A sentence: what of an environment no checkpoint has, if there is something.
    fn not_saved(&self) -> Option<String> {
        None
    }
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

    fn versions(&self) -> Vec<(String, String)> {
        self(&mut stream(0, 0)).versions()
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

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::RngExt;

    use super::*;
    use crate::policy::{Activation::Tanh, Network, OfFeatures, Table};

    /// Fails unless the table of a policy over 45 states has the bits that the program gives in whichever row a state is seen.
    fn assert_same_bits<T: Element>(policy: &dyn Policy, actions: usize) {
        let rng = &mut stream(0, 0);
        let mut theta = policy.init(rng);
        theta.values_mut().for_each(|array| array.mapv_inplace(|x| x + rng.random::<f64>()));
        let actor = Actor::new(policy, &theta, &[Space::Discrete(45), Space::Discrete(actions)], T::DTYPE).unwrap();
        let parameters = policy::values_as(&theta, T::DTYPE);
        assert!(actor.table::<T>(&parameters, 2).unwrap().is_none(), "it takes three runs");
        let table = actor.table::<T>(&parameters, 3).unwrap().expect("over few states, without memory");
        assert_eq!(table.len(), 45 * actions);
        for shift in 0..45 {
            let states = Array1::from_shape_fn(BLOCK, |row| (row * 7 + shift) % 45);
            let seen = states.mapv(|state| state as i32);
            let inputs: Vec<_> = parameters.iter().map(Value::view).chain([seen.into()]).collect();
            let rows = actor.program.run_as::<T>(&inputs).unwrap().swap_remove(0);
            for (row, &state) in rows.rows().into_iter().zip(&states) {
                assert_eq!(row.as_slice().unwrap(), &table[state * actions..(state + 1) * actions], "state {state}");
            }
        }
    }

    #[test]
    fn a_table_has_the_bits_of_the_program() {
        for actions in [2, 3, 5] {
            let features = Array2::from_shape_fn((45, 6), |(s, i)| ((s * 5 + i * 3) % 11) as f64 / 7.0 - 0.6);
            let network = Network::new(&Space::vector(6)).dense(17, Tanh).dense(33, Tanh).categorical(actions);
            let network = OfFeatures { policy: network, features: features.into() };
            let table = Table { states: 45, actions };
            for policy in [&table as &dyn Policy, &network] {
                assert_same_bits::<f64>(policy, actions);
                assert_same_bits::<f32>(policy, actions);
            }
        }
    }
}
