//! The interface of everything that learns.

use indexmap::IndexMap;
use ndarray::ArrayD;
use rl::error::Result;

/// What learns: one iteration after another, from a state that can be saved.
pub trait Learner {
    /// The names of the returns of an iteration, such as `return_0`, `return_1`.
    fn returns(&self) -> Vec<String>;

    /// Makes iteration number `iteration` (from 0). Every draw is a function of the seed, the iteration, and names.
    fn iterate(&mut self, iteration: u64) -> Result<Iteration>;

    /// All that the next iterations depend on.
    fn state(&self) -> State;

    /// Goes on from there.
    fn restore(&mut self, state: State) -> Result<()>;
}

/// What an iteration did.
#[derive(Clone, Debug, PartialEq)]
pub struct Iteration {
    /// Steps made in environments.
    pub env_steps: u64,
    /// For each of [`Learner::returns`], the mean return of each task.
    pub returns: Vec<Vec<f64>>,
    /// The outer loss, before the step.
    pub loss: f64,
    /// The length of its gradient.
    pub gradient_norm: f64,
    /// The divergence of the new policy from the old one.
    pub kl: f64,
    /// Seconds of sampling, adapting, and the outer steps.
    pub seconds: [f64; 3],
}

/// Arrays by name, and numbers that are no arrays (counts, rates that adapt) by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// By name.
    pub arrays: IndexMap<String, ArrayD<f64>>,
    /// By name.
    pub numbers: IndexMap<String, f64>,
}
