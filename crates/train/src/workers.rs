//! Who computes. The trainer speaks of tasks by their numbers and adds up answers in their order, so that who computed which
//! makes no difference to the bits.

use rayon::prelude::*;
use rl::error::Result;

/// What is asked about one task: a function of its number, whose answer is numbers.
pub type Job<'a> = dyn Fn(usize) -> Result<Vec<f64>> + Sync + 'a;

/// Who answers questions about tasks. All of them are asked the same, in the same order; what a task leaves behind (its
/// trajectories) stays where it was computed, and the next question about the task is put there, too.
pub trait Workers: Send + Sync {
    /// The answers for the tasks 0 … `tasks` − 1, in this order.
    ///
    /// # Errors
    ///
    /// That of the first task that has one.
    fn answers(&self, tasks: usize, job: &Job<'_>) -> Result<Vec<Vec<f64>>>;
}

/// The threads of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Threads;

impl Workers for Threads {
    fn answers(&self, tasks: usize, job: &Job<'_>) -> Result<Vec<Vec<f64>>> {
        let answers: Vec<_> = (0..tasks).into_par_iter().map(job).collect();
        answers.into_iter().collect()
    }
}
