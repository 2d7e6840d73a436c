//! What a run asks of whatever learns.

use indexmap::IndexMap;
use ndarray::ArrayD;
use rl::error::Result;

/// What learns: one iteration after another, from a state that can be saved.
pub trait Learner {
    /// The names of the returns of an iteration, such as `return_0`, `return_1`.
    fn returns(&self) -> Vec<String>;
    /// Makes iteration number `iteration` (from 0). Every draw is a function of the seed, the iteration, and names.
    ///
    /// # Errors
    ///
    /// What goes wrong in an environment, and [`Error::NotFinite`](rl::error::Error::NotFinite), which names iteration, task and
    /// quantity. Then the state is as it was before.
    fn iterate(&mut self, iteration: u64) -> Result<Iteration>;
    /// Each task's mean return after 0 … `steps` inner steps, `[steps + 1][tasks]`, on `tasks` fresh tasks, which are a function of
    /// `seed`.
    ///
    /// # Errors
    ///
    /// What goes wrong in an environment; [`Error::Empty`](rl::error::Error::Empty) without tasks.
    fn evaluate(&self, tasks: usize, steps: usize, seed: u64) -> Result<Vec<Vec<f64>>>;

    /// All that the next iterations depend on.
    fn state(&self) -> State;
    /// Goes on from there.
    ///
    /// # Errors
    ///
    /// If it is not the state of such a learner.
    fn restore(&mut self, state: State) -> Result<()>;
}

/// What an iteration did.
#[derive(Clone, Debug, PartialEq)]
pub struct Iteration {
    /// Steps made in environments.
    pub env_steps: u64,
    /// For each of [`Learner::returns`], the mean return of each task.
    pub returns: Vec<Vec<f64>>,
    /// What the outer steps descend, where the last of them began.
    pub loss: f64,
    /// The length of its gradient there.
    pub gradient_norm: f64,
    /// How far the adapted policies were from what had sampled the data, there.
    pub kl: f64,
    /// Seconds of sampling, adapting, and the outer steps.
    pub seconds: [f64; 3],
}

/// Arrays by name, and numbers that are no arrays (counts, rates that adapt) by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Arrays.
    pub arrays: IndexMap<String, ArrayD<f64>>,
    /// Numbers.
    pub numbers: IndexMap<String, f64>,
}
