//! Games played by any two policies: trajectories of both players, one random stream for both of a trajectory.
//!
//! In a step the first player draws an action, then the second, then the game what is random in it. Acting is in blocks, as in
//! `sample.rs`, whose parts are used here; a policy over few numbered states is looked up, with no program to run in a step.

use std::ops::Range;

use ad::{DType, Value};
use ndarray::{Array2, ArrayD, Axis};
use rand_chacha::ChaCha8Rng;

use super::Game;
use crate::env::sample::{Actor, BLOCK, copy, counted_from, in_blocks, why_none};
use crate::env::{Action, Slot};
use crate::error::{Error, Result};
use crate::policy::{Numbers, Policy};
use crate::rollout::{Rollout, Space};
use crate::stream::{draw, stream};

/// Two policies compiled to play games of certain spaces: the same programs for all parameters.
///
/// ```
/// use rl::{env::{IteratedGame, Players}, policy::{Policy, Table}, stream::stream};
/// let game = IteratedGame::prisoners_dilemma();
/// let policy = Table { states: 5, actions: 2 };
/// let theta = policy.init(&mut stream(0, 0));
/// let players = Players::new(&game, [&policy, &policy], [&theta, &theta], ad::DType::F64)?;
/// let [first, second] = players.play(&game, [&theta, &theta], 100, 32, 0)?;        // 32 trajectories of 100 steps
/// assert_eq!(first.states().dim(), (32, 101));
/// assert_eq!(first.lengths(), second.lengths());
/// # Ok::<(), rl::error::Error>(())
/// ```
#[derive(Debug)]
pub struct Players([Actor; 2]);

impl Players {
    /// For policies with parameters of these shapes, in games like this one, computing in a floating-point type.
    ///
    /// # Errors
    ///
    /// [`Error::Space`] if a policy is for another game.
    ///
    /// Panics if what a policy's `once` gives is not a distribution for each observation, and its memory.
    #[track_caller]
    pub fn new(
        game: &(impl Game + ?Sized),
        policies: [&dyn Policy; 2],
        thetas: [&Numbers; 2],
        dtype: DType,
    ) -> Result<Self> {
        let [first, second] = game.spaces();
        let first = Actor::new(policies[0], thetas[0], &first, dtype)?;
        Ok(Self([first, Actor::new(policies[1], thetas[1], &second, dtype)?]))
    }

    /// Plays `trajectories` games of at most `horizon` steps, each a clone of this one: what each of the two players saw, did and
    /// earned. Trajectory i of both is a function of `seed` and i alone, the same bits at any number of threads.
    ///
    /// # Errors
    ///
    /// Those of [`Actor::sample`], for either player.
    pub fn play<G: Game + Clone + Sync>(
        &self,
        game: &G,
        thetas: [&Numbers; 2],
        horizon: usize,
        trajectories: usize,
        seed: u64,
    ) -> Result<[Rollout; 2]> {
        let mut parameters = Vec::with_capacity(2);
        let mut tables = Vec::with_capacity(2);
        for ((actor, there), theta) in self.0.iter().zip(game.spaces()).zip(thetas) {
            let values = actor.parameters(there, theta, horizon, trajectories)?;
            tables.push(actor.table(&values, horizon.saturating_mul(trajectories.div_ceil(BLOCK)))?);
            parameters.push(values);
        }
        let seats = |rows| [0, 1].map(|i| Seat::new(&self.0[i], &parameters[i], tables[i].as_ref(), rows, horizon));
        in_blocks(trajectories, |numbers| block(seats(numbers.len()), game, horizon, numbers, seed))
    }
}

/// Plays games by policies with these parameters, in double precision: [`Players`] made for once.
///
/// # Errors
///
/// Those of [`Players::new`] and [`Players::play`].
#[track_caller]
pub fn play<G: Game + Clone + Sync>(
    game: &G,
    policies: [&dyn Policy; 2],
    thetas: [&Numbers; 2],
    horizon: usize,
    trajectories: usize,
    seed: u64,
) -> Result<[Rollout; 2]> {
    Players::new(game, policies, thetas, DType::F64)?.play(game, thetas, horizon, trajectories, seed)
}

/// A player's part of a block of games.
struct Seat<'a> {
    actor: &'a Actor,
    parameters: &'a [Value<'a>],
    /// The probabilities of actions in each state, if they are looked up.
    table: Option<&'a Array2<f64>>,
    /// Of an observation, and an action.
    sizes: [usize; 2],
    rows: usize,
    horizon: usize,
    observations: Entries,
    actions: Entries,
    rewards: Vec<f64>,
    terminated: Vec<bool>,
    /// What is seen now, by a whole block: rows that are not there see zeros.
    seen: Entries,
    memory: Vec<Value<'static>>,
    /// The distributions of the block, if they are computed in each step.
    computed: Vec<ArrayD<f64>>,
}

impl<'a> Seat<'a> {
    fn new(
        actor: &'a Actor,
        parameters: &'a [Value<'a>],
        table: Option<&'a Array2<f64>>,
        rows: usize,
        horizon: usize,
    ) -> Self {
        let [observation, action] = actor.spaces();
        Self {
            actor,
            parameters,
            table,
            sizes: [observation.size(), action.size()],
            rows,
            horizon,
            observations: Entries::zeros(observation, rows * (horizon + 1)),
            actions: Entries::zeros(action, rows * horizon),
            rewards: vec![0.0; rows * horizon],
            terminated: vec![false; rows],
            seen: Entries::zeros(observation, BLOCK),
            memory: actor.memory(),
            computed: Vec::new(),
        }
    }

    /// Where the game puts what is seen.
    #[inline]
    fn sees(&mut self, row: usize) -> Slot<'_> {
        self.seen.slot(row, self.sizes[0])
    }

    /// Writes down what is seen before step `t`.
    #[inline]
    fn note(&mut self, row: usize, t: usize) {
        let size = self.sizes[0];
        copy(self.observations.slot(row * (self.horizon + 1) + t, size), &self.seen.slot(row, size));
    }

    /// Computes what the block will do, unless it is looked up.
    fn look(&mut self) -> Result<()> {
        if self.table.is_none() {
            let seen = self.seen.value(&[BLOCK], &self.actor.spaces()[0]);
            self.computed = self.actor.distributions(self.parameters, &mut self.memory, &seen)?;
        }
        Ok(())
    }

    /// Draws what is done in step `t`, and writes it down. Nothing if there is no distribution.
    #[inline]
    fn act<'p>(&mut self, row: usize, t: usize, rng: &mut ChaCha8Rng, point: &'p mut [f64]) -> Option<Action<'p>> {
        let place = self.actions.slot(row * self.horizon + t, self.sizes[1]);
        if let (Some(table), Entries::I32(states)) = (self.table, &self.seen) {
            let number = draw(table.row(states[row] as usize).iter().copied(), rng)?;
            place.put_number(number);
            return Some(Action::Number(number));
        }
        self.actor.draw(&self.computed, row, rng, place, point)
    }

    /// Why there is none.
    fn why_none(&mut self, row: usize) -> String {
        let rows: Vec<_> = match (self.table, &self.seen) {
            (Some(table), Entries::I32(states)) => vec![table.row(states[row] as usize).into_dyn()],
            _ => self.computed.iter().map(|head| head.index_axis(Axis(0), row)).collect(),
        };
        why_none(&self.seen.slot(row, self.sizes[0]), &rows)
    }

    fn into_rollout(self, lengths: Vec<usize>) -> Result<Rollout> {
        let [observation, action] = self.actor.spaces();
        let rewards = Array2::from_shape_vec((self.rows, self.horizon), self.rewards).expect("one for each step");
        Rollout::new(
            self.observations.value(&[self.rows, self.horizon + 1], observation),
            self.actions.value(&[self.rows, self.horizon], action),
            rewards,
            lengths,
            self.terminated,
        )
    }
}

/// The numbers of an array of a space's type, as they lie.
enum Entries {
    F64(Vec<f64>),
    F32(Vec<f32>),
    I32(Vec<i32>),
    U8(Vec<u8>),
}

impl Entries {
    fn zeros(space: &Space, count: usize) -> Self {
        let count = count * space.size();
        match space.dtype() {
            DType::F64 => Entries::F64(vec![0.0; count]),
            DType::F32 => Entries::F32(vec![0.0; count]),
            DType::I32 => Entries::I32(vec![0; count]),
            DType::U8 => Entries::U8(vec![0; count]),
        }
    }

    /// The place of number `i`.
    #[inline]
    fn slot(&mut self, i: usize, size: usize) -> Slot<'_> {
        let place = i * size..(i + 1) * size;
        match self {
            Entries::F64(entries) => Slot::F64(&mut entries[place]),
            Entries::F32(entries) => Slot::F32(&mut entries[place]),
            Entries::I32(entries) => Slot::I32(&mut entries[place]),
            Entries::U8(entries) => Slot::U8(&mut entries[place]),
        }
    }

    /// An array of these axes in front.
    fn value(&self, front: &[usize], space: &Space) -> Value<'static> {
        fn array<A: Clone>(shape: &[usize], entries: &[A]) -> ArrayD<A> {
            ArrayD::from_shape_vec(shape, entries.to_vec()).expect("as many as were asked for")
        }
        let shape = [front, space.shape()].concat();
        match self {
            Entries::F64(entries) => array(&shape, entries).into(),
            Entries::F32(entries) => array(&shape, entries).into(),
            Entries::I32(entries) => array(&shape, entries).into(),
            Entries::U8(entries) => array(&shape, entries).into(),
        }
    }
}

/// The trajectories of these numbers, at most [`BLOCK`].
fn block<G: Game + Clone>(
    [mut one, mut two]: [Seat<'_>; 2],
    game: &G,
    horizon: usize,
    numbers: Range<usize>,
    seed: u64,
) -> Result<[Rollout; 2]> {
    let (first, rows) = (numbers.start, numbers.len());
    let mut lengths = vec![0; rows];
    let mut going: Vec<Option<(G, ChaCha8Rng)>> =
        numbers.map(|n| Some((game.clone(), stream(seed, n as u64)))).collect();
    for (row, game) in going.iter_mut().enumerate() {
        let (game, rng) = game.as_mut().expect("all begin");
        game.reset(rng, [one.sees(row), two.sees(row)]);
        one.note(row, 0);
        two.note(row, 0);
    }
    let mut points = [&one, &two].map(|seat| vec![0.0; seat.sizes[1]]);
    for t in 0..horizon {
        if going.iter().all(Option::is_none) {
            break;
        }
        one.look()?;
        two.look()?;
        for (row, going) in going.iter_mut().enumerate() {
            let Some((game, rng)) = going else { continue };
            let [point, other_point] = &mut points;
            let actions = [one.act(row, t, rng, point), two.act(row, t, rng, other_point)];
            let [Some(action), Some(other_action)] = actions else {
                let (player, seat) = if actions[0].is_none() { (0, &mut one) } else { (1, &mut two) };
                let what = format!("player {player}: {}", seat.why_none(row));
                return Err(Error::Step { trajectory: first + row, step: t, what });
            };
            let steps = game.step([action, other_action], rng, [one.sees(row), two.sees(row)]);
            for (seat, step) in [&mut one, &mut two].into_iter().zip(steps) {
                seat.note(row, t + 1);
                seat.rewards[row * horizon + t] = step.reward;
                seat.terminated[row] = step.terminated;
            }
            lengths[row] = t + 1;
            if steps.iter().any(|step| step.terminated || step.truncated) {
                *going = None;
            }
        }
    }
    let rollout = |seat: Seat<'_>| seat.into_rollout(lengths.clone()).map_err(|error| counted_from(first, error));
    Ok([rollout(one)?, rollout(two)?])
}
