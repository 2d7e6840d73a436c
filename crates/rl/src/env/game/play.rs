//! Games played by any two policies: trajectories of both players, one random stream for both of a trajectory.
//!
//! In a step the first player draws an action, then the second, then the game what is random in it. Acting is in blocks, as in
//! `sample.rs`, whose parts are used here; a policy over few numbered states is looked up, with no program to run in a step.

use std::ops::Range;

use ad::{DType, Value};
use ndarray::{Array2, ArrayD};
use rand_chacha::ChaCha8Rng;

use super::Game;
use crate::env::sample::{Actor, BLOCK, copy, counted_from, in_blocks, slot, why_none};
use crate::env::{Action, Slot};
use crate::error::{Error, Result};
use crate::policy::{Numbers, Policy};
use crate::rollout::Rollout;
use crate::stream::stream;

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
        let first = Actor::in_spaces(policies[0], thetas[0], first, dtype)?;
        Ok(Self([first, Actor::in_spaces(policies[1], thetas[1], second, dtype)?]))
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
        let seats = |rows| {
            [0, 1].map(|i| {
                let actor = &self.0[i];
                Seat {
                    actor,
                    parameters: &parameters[i],
                    table: tables[i].as_deref(),
                    sizes: [0, 1].map(|of| actor.spaces()[of].size()),
                    horizon,
                    observations: actor.spaces()[0].zeros(&[rows, horizon + 1]),
                    actions: actor.spaces()[1].zeros(&[rows, horizon]),
                    rewards: Array2::zeros((rows, horizon)),
                    terminated: vec![false; rows],
                    seen: actor.spaces()[0].zeros(&[BLOCK]),
                    memory: actor.memory(),
                    computed: Vec::new(),
                }
            })
        };
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
    /// The distributions in each state, if they are looked up.
    table: Option<&'a [ArrayD<f64>]>,
    /// Of an observation, and an action.
    sizes: [usize; 2],
    horizon: usize,
    observations: Value<'static>,
    actions: Value<'static>,
    rewards: Array2<f64>,
    terminated: Vec<bool>,
    /// What is seen now, by a whole block: rows that are not there see zeros.
    seen: Value<'static>,
    memory: Vec<Value<'static>>,
    /// The distributions of the block, if they are computed in each step.
    computed: Vec<ArrayD<f64>>,
}

impl Seat<'_> {
    /// Where the game puts what is seen.
    fn sees(&mut self, row: usize) -> Slot<'_> {
        slot(&mut self.seen, row, self.sizes[0])
    }

    /// Writes down what is seen before step `t`.
    fn note(&mut self, row: usize, t: usize) {
        let size = self.sizes[0];
        copy(slot(&mut self.observations, row * (self.horizon + 1) + t, size), &slot(&mut self.seen, row, size));
    }

    /// Computes what the block will do, unless it is looked up.
    fn look(&mut self) -> Result<()> {
        if self.table.is_none() {
            self.computed = self.actor.distributions(self.parameters, &mut self.memory, &self.seen)?;
        }
        Ok(())
    }

    /// Draws what is done in step `t`, and writes it down.
    fn act<'p>(
        &mut self,
        row: usize,
        t: usize,
        rng: &mut ChaCha8Rng,
        point: &'p mut [f64],
    ) -> std::result::Result<Action<'p>, String> {
        let [seen_size, done_size] = self.sizes;
        let (distributions, of) = match (self.table, &self.seen) {
            (Some(table), Value::I32(states)) => (table, states[row] as usize),
            _ => (&self.computed[..], row),
        };
        let place = slot(&mut self.actions, row * self.horizon + t, done_size);
        (self.actor.draw(distributions, of, rng, place, point))
            .ok_or_else(|| why_none(&slot(&mut self.seen, row, seen_size), distributions, of))
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
            let wrong = |what| Error::Step { trajectory: first + row, step: t, what };
            let actions = [
                one.act(row, t, rng, point).map_err(|what| wrong(format!("player 0: {what}")))?,
                two.act(row, t, rng, other_point).map_err(|what| wrong(format!("player 1: {what}")))?,
            ];
            let steps = game.step(actions, rng, [one.sees(row), two.sees(row)]);
            for (seat, step) in [&mut one, &mut two].into_iter().zip(steps) {
                seat.note(row, t + 1);
                seat.rewards[[row, t]] = step.reward;
                seat.terminated[row] = step.terminated;
            }
            lengths[row] = t + 1;
            if steps.iter().any(|step| step.terminated || step.truncated) {
                *going = None;
            }
        }
    }
    let rollout = |seat: Seat<'_>| {
        Rollout::new(seat.observations, seat.actions, seat.rewards, lengths.clone(), seat.terminated)
            .map_err(|error| counted_from(first, error))
    };
    Ok([rollout(one)?, rollout(two)?])
}
