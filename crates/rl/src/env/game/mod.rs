//! Games: environments in which two players act at the same time.
//!
//! To add one: a file of its own here with its [`Game`], one line of `pub use`, and one test in `tests/games.rs` that compares it
//! with numbers from its definition.

use rand_chacha::ChaCha8Rng;

use super::{Action, Slot, Step};
use crate::rollout::Space;

mod iterated;
mod play;

pub use iterated::IteratedGame;
pub use play::{Players, play};

/// Something that two can act in at the same time, one episode at a time: an [`Environment`](super::Environment) with two of all.
///
/// ```
/// use rand_chacha::ChaCha8Rng;
/// use rl::{env::{Action, Game, Slot, Step}, rollout::Space};
///
/// /// Both are paid if both say the same number; nothing is seen.
/// struct Coordination;
///
/// impl Game for Coordination {
///     fn spaces(&self) -> [[Space; 2]; 2] {
///         [(); 2].map(|()| [Space::Discrete(1), Space::Discrete(3)])
///     }
///     fn reset(&mut self, _: &mut ChaCha8Rng, observations: [Slot<'_>; 2]) {
///         observations.into_iter().for_each(|slot| slot.put_number(0));
///     }
///     fn step(&mut self, actions: [Action<'_>; 2], _: &mut ChaCha8Rng, _: [Slot<'_>; 2]) -> [Step; 2] {
///         let reward = f64::from(actions[0].number() == actions[1].number());
///         [Step { reward, terminated: false, truncated: false }; 2]
///     }
/// }
/// ```
pub trait Game: Send {
    /// Of each player, what observations and actions are.
    fn spaces(&self) -> [[Space; 2]; 2];

    /// Begins an episode, and says what each player sees. All that is random comes from `rng`.
    fn reset(&mut self, rng: &mut ChaCha8Rng, observations: [Slot<'_>; 2]);

    /// Makes a step of both players' actions, and says what each sees after it. An episode that ends for one ends for both; it is
    /// terminated for those whose [`Step`] says so, and truncated for the other.
    fn step(&mut self, actions: [Action<'_>; 2], rng: &mut ChaCha8Rng, observations: [Slot<'_>; 2]) -> [Step; 2];
}
