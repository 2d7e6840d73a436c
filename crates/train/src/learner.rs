//! What a run is made of: a learner makes iterations, and can be saved between any two of them. Algorithms implement it;
//! [`run`](crate::run) drives it.

use indexmap::IndexMap;
use ndarray::ArrayD;
use rl::error::{Error, Result};

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
    /// The protocol of the papers' tables: for each of 0 … `steps` inner steps, the mean return of each of `tasks` fresh tasks
    /// after it. All draws are functions of `seed`.
    fn evaluate(&self, tasks: usize, steps: usize, seed: u64) -> Result<Vec<Vec<f64>>> {
        let _ = (tasks, steps, seed);
        Err(Error::NoEvaluation)
    }
}

/// What an iteration did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Iteration {
    /// Steps made in environments.
    pub env_steps: u64,
    /// For each of [`Learner::returns`], the mean return of each task.
    pub returns: Vec<Vec<f64>>,
    /// What the outer steps descend, before the first of them.
    pub loss: f64,
    /// The length of its gradient.
    pub gradient_norm: f64,
    /// How far the outer steps moved the policy, as a mean divergence.
    pub kl: f64,
    /// Seconds of sampling, adapting, and the outer steps.
    pub seconds: [f64; 3],
}

/// Arrays by name, and numbers that are no arrays (counts, rates that adapt) by name. All of them are finite.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Such as parameters and an optimiser's moments.
    pub arrays: IndexMap<String, ArrayD<f64>>,
    /// Such as the number of steps an optimiser has made.
    pub numbers: IndexMap<String, f64>,
}
