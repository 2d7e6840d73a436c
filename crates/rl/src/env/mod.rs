//! Environments: what a policy acts in, and how trajectories are sampled there.
//!
//! To add one: a file of its own here with its [`Environment`], one line of `pub use`, one test in `tests/environments/` that
//! compares it with numbers from its definition, and one line in `tests/environments/saved.rs`.

use rand_chacha::ChaCha8Rng;

use crate::rollout::Space;

mod bandit;
mod cart_pole;
mod corner;
mod game;
mod line;
mod linear_quadratic;
mod model;
mod momentum;
mod navigation;
mod point;
mod sample;
mod seat;
mod tabular;
mod walls;

pub use bandit::Bandit;
pub use cart_pole::CartPole;
pub use corner::Corner;
pub use game::{Game, IteratedGame, Players, play};
pub use line::Line;
pub(crate) use linear_quadratic::{LinearNumbers, QuadraticVars};
pub use linear_quadratic::{LinearProcess, LinearQuadratic, Quadratic};
pub use model::Model;
pub use momentum::Momentum;
pub use navigation::Navigation;
pub use point::{Distance, Reward};
pub use sample::{Actor, Tasks, sample};
pub use tabular::{Enumeration, Horizon, Process, TabularMdp, Walk};
pub use walls::Walls;

/// Something that can be acted in, one episode at a time, in Gymnasium's terms.
///
/// Those of this module are their whole state: saved with serde, beside the random stream, they go on to the bit.
///
/// ```
/// use rand::RngExt;
/// use rand_chacha::ChaCha8Rng;
/// use rl::{env::{Action, Environment, Failure, Slot, Step}, rollout::Space};
///
/// /// A coin is guessed again and again.
/// struct Coin;
///
/// impl Environment for Coin {
///     fn spaces(&self) -> [Space; 2] {
///         [Space::Discrete(1), Space::Discrete(2)]
///     }
///     fn reset(&mut self, _: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<(), Failure> {
///         observation.put_number(0);
///         Ok(())
///     }
///     fn step(&mut self, action: Action<'_>, rng: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<Step, Failure> {
///         observation.put_number(0);
///         let right = rng.random::<bool>() == (action.number() == 1);
///         Ok(Step { reward: f64::from(right), terminated: false, truncated: false })
///     }
/// }
/// ```
pub trait Environment: Send {
    /// What observations and actions are.
    fn spaces(&self) -> [Space; 2];

    /// Begins an episode, and says what is seen. All that is random comes from `rng`.
    ///
    /// # Errors
    ///
    /// What stands in the way, as in a simulation or another process; sampling ends with it.
    fn reset(&mut self, rng: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<(), Failure>;

    /// Makes a step, and says what is seen after it.
    ///
    /// # Errors
    ///
    /// The same.
    fn step(&mut self, action: Action<'_>, rng: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<Step, Failure>;

    /// What outside of this program decides over bits, with its version: nothing, where all of it is here.
    fn versions(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// Why an environment cannot go on: a simulation that diverged, a process that died. Who samples adds the trajectory and the step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub String);

/// Environments side by side that make each step together, such as those of another process: rows, numbered from 0.
///
/// An episode in a row is a function of the seed that it began with and of the actions in it, not of what is in other rows.
pub trait Vectorised {
    /// Begins an episode in each of the first rows, from these seeds, below 2³¹.
    ///
    /// # Errors
    ///
    /// What stands in the way, with the row.
    fn reset(&mut self, seeds: &[u32]) -> Result<(), (usize, Failure)>;

    /// What is to be done in a row.
    fn act(&mut self, row: usize, action: Action<'_>);

    /// Makes a step in each of the rows whose episode goes on.
    ///
    /// # Errors
    ///
    /// What stands in the way, with the row.
    fn step(&mut self, goes_on: &[bool]) -> Result<(), (usize, Failure)>;

    /// What is seen in a row, and what the last step there led to (after a reset, nothing of meaning).
    fn look(&self, row: usize, observation: Slot<'_>) -> Step;
}

/// What a step leads to, beside an observation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// What it is paid.
    pub reward: f64,
    /// Whether the episode ended: nothing follows.
    pub terminated: bool,
    /// Whether it is only watched no longer, as after a limit of time.
    pub truncated: bool,
}

/// What is done in a step.
#[derive(Clone, Copy, Debug)]
pub enum Action<'a> {
    /// One of so many.
    Number(usize),
    /// A vector.
    Vector(&'a [f64]),
}

impl<'a> Action<'a> {
    /// Its number.
    ///
    /// Panics for a vector.
    #[track_caller]
    #[inline]
    pub fn number(self) -> usize {
        match self {
            Action::Number(number) => number,
            Action::Vector(vector) => panic!("the action is a vector of {}, not a number", vector.len()),
        }
    }

    /// Its components.
    ///
    /// Panics for a number.
    #[track_caller]
    #[inline]
    pub fn vector(self) -> &'a [f64] {
        match self {
            Action::Vector(vector) => vector,
            Action::Number(number) => panic!("the action is the number {number}, not a vector"),
        }
    }
}

/// Where an observation is put: entries in row-major order, of the observation space's type. They are those of the observation
/// before (0 at the begin of an episode): what does not change need not be put again.
#[derive(Debug)]
pub enum Slot<'a> {
    /// `f64`.
    F64(&'a mut [f64]),
    /// `f32`.
    F32(&'a mut [f32]),
    /// Integers; of a discrete space one.
    I32(&'a mut [i32]),
    /// Bytes.
    U8(&'a mut [u8]),
}

impl Slot<'_> {
    /// Puts the number of a discrete space.
    ///
    /// Panics if it is not one.
    #[track_caller]
    #[inline]
    pub fn put_number(self, number: usize) {
        match self {
            Slot::I32([entry]) => *entry = i32::try_from(number).expect("a number below 2^31"),
            other => panic!("put_number: the observation is no number, but {other:?}"),
        }
    }

    /// Puts real numbers, rounded to the type of the space.
    ///
    /// Panics for a space of integers or bytes, or of another size.
    #[track_caller]
    #[inline]
    pub fn put(self, numbers: &[f64]) {
        match self {
            Slot::F64(entries) => {
                check_size("put", entries.len(), numbers.len());
                entries.copy_from_slice(numbers);
            }
            Slot::F32(entries) => {
                check_size("put", entries.len(), numbers.len());
                entries.iter_mut().zip(numbers).for_each(|(entry, &x)| *entry = x as f32);
            }
            other => panic!("put: the observation is not real, but {other:?}"),
        }
    }

    /// Puts bytes.
    ///
    /// Panics for a space of another type or size.
    #[track_caller]
    #[inline]
    pub fn put_bytes(self, bytes: &[u8]) {
        match self {
            Slot::U8(entries) => {
                check_size("put_bytes", entries.len(), bytes.len());
                entries.copy_from_slice(bytes);
            }
            other => panic!("put_bytes: the observation is no bytes, but {other:?}"),
        }
    }
}

#[track_caller]
fn check_size(operation: &str, expected: usize, found: usize) {
    assert!(found == expected, "{operation}: an observation has {expected} entries, but {found} are put");
}
