//! Games played by any two policies: trajectories of both players, one random stream for both of a trajectory.
//!
//! In a step the first player draws an action, then the second, then the game what is random in it.

use ad::DType;
use rand_chacha::ChaCha8Rng;

use super::Game;
use crate::env::sample::{Actor, Rows, World, act, sample_by};
use crate::env::seat::Seat;
use crate::error::Result;
use crate::policy::{Numbers, Policy};
use crate::rollout::{Rollout, Space};

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
    /// [`Error::Space`](crate::error::Error::Space) if a policy is for another game.
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
        sample_by(self.0.each_ref(), game, thetas, horizon, trajectories, seed)
    }
}

impl<G: Game + Clone + Sync> World<2> for G {
    type Block = Rows<G>;

    fn spaces(&self) -> [[Space; 2]; 2] {
        Game::spaces(self)
    }

    fn begin(&self, [one, two]: &mut [impl Seat; 2], streams: Vec<ChaCha8Rng>) -> Result<Rows<G>> {
        Rows::begin(self, streams, |row, game, rng| {
            game.reset(rng, [one.begin(row), two.begin(row)]);
            Ok(())
        })
    }

    fn step(&self, block: &mut Rows<G>, seats: &mut [impl Seat; 2], t: usize) -> Result<bool> {
        block.step(|row, game, rng| {
            act(seats, row, t, rng)?;
            let [one, two] = seats;
            let ((action, next), (other_action, other_next)) = (one.turn(row, t), two.turn(row, t));
            let [step, other_step] = game.step([action, other_action], rng, [next, other_next]);
            Ok([one.earn(row, t, step), two.earn(row, t, other_step)].contains(&true))
        })
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
