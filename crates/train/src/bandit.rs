//! Gradient ascent on the exact value of bandits, with nothing sampled but the tasks: quick enough to try out a run.
//!
//! A task is a bandit of 5 arms, each of which pays 1 with its own probability p, uniform in [0, 1]. The value of a softmax
//! policy is J(θ) = Σ_a π_a p_a, and dJ/dθ_a = π_a (p_a − J). An outer step ascends the mean of J over tasks.

use std::time::Instant;

use indexmap::IndexMap;
use ndarray::Array1;
use rand::RngExt;
use rl::error::{Error, Result};
use rl::policy::softmax;
use rl::stream::stream;

use crate::learner::{Iteration, Learner, State};
use crate::run::config::Config;

/// The number of arms.
const ARMS: usize = 5;

/// The learner.
#[derive(Clone, Debug)]
pub struct ExactBandit {
    seed: u64,
    tasks: usize,
    steps: usize,
    inner_rate: f64,
    outer_rate: f64,
    theta: Array1<f64>,
}

impl ExactBandit {
    /// At θ = 0.
    pub fn new(config: &Config) -> Self {
        let &Config { seed, tasks, inner_steps: steps, inner_rate, outer_rate, .. } = config;
        Self { seed, tasks, steps, inner_rate, outer_rate, theta: Array1::zeros(ARMS) }
    }

    /// The values after 0 … `steps` inner steps on one task.
    fn adapted(&self, arms: &Array1<f64>, steps: usize) -> Vec<f64> {
        let mut theta = self.theta.clone();
        let mut values = Vec::with_capacity(steps + 1);
        for _ in 0..=steps {
            let (value, gradient) = value_and_gradient(&theta, arms);
            values.push(value);
            theta.scaled_add(self.inner_rate, &gradient);
        }
        values
    }
}

fn value_and_gradient(theta: &Array1<f64>, arms: &Array1<f64>) -> (f64, Array1<f64>) {
    let policy = softmax(theta);
    let value = policy.dot(arms);
    (value, &policy * &(arms - value))
}

/// The tasks of this seed, which are those of an iteration or of an evaluation.
fn tasks(seed: u64, number: usize) -> impl Iterator<Item = Array1<f64>> {
    (0..number).map(move |task| {
        let mut rng = stream(seed, task as u64);
        Array1::from_shape_simple_fn(ARMS, || rng.random())
    })
}

impl Learner for ExactBandit {
    fn returns(&self) -> Vec<String> {
        (0..=self.steps).map(|step| format!("return_{step}")).collect()
    }

    fn iterate(&mut self, iteration: u64) -> Result<Iteration> {
        let begin = Instant::now();
        let seed = stream(self.seed, iteration).random();
        let arms: Vec<Array1<f64>> = tasks(seed, self.tasks).collect();
        let sampled = begin.elapsed();
        let values: Vec<Vec<f64>> = arms.iter().map(|arms| self.adapted(arms, self.steps)).collect();
        let adapted = begin.elapsed();
        let mut gradient = Array1::zeros(ARMS);
        for arms in &arms {
            gradient.scaled_add(1.0 / self.tasks as f64, &value_and_gradient(&self.theta, arms).1);
        }
        let before = softmax(&self.theta);
        self.theta.scaled_add(self.outer_rate, &gradient);
        let after = softmax(&self.theta);
        let stepped = begin.elapsed();
        let returns = (0..=self.steps).map(|step| values.iter().map(|values| values[step]).collect()).collect();
        Ok(Iteration {
            env_steps: 0,
            returns,
            loss: -values.iter().map(|values| values[0]).sum::<f64>() / self.tasks as f64,
            gradient_norm: gradient.dot(&gradient).sqrt(),
            kl: before.iter().zip(&after).map(|(p, q)| p * (p / q).ln()).sum(),
            seconds: [sampled, adapted - sampled, stepped - adapted].map(|time| time.as_secs_f64()),
        })
    }

    fn state(&self) -> State {
        let arrays = IndexMap::from([("theta".to_owned(), self.theta.clone().into_dyn())]);
        State { arrays, numbers: IndexMap::new() }
    }

    fn restore(&mut self, mut state: State) -> Result<()> {
        let theta = state.arrays.shift_remove("theta").unwrap_or_default();
        let wrong = |found: Vec<usize>| Error::Shape { what: "theta", found, expected: vec![ARMS] };
        let found = theta.shape().to_vec();
        let theta = theta.into_shape_with_order(ARMS).map_err(|_| wrong(found))?;
        self.theta = theta;
        Ok(())
    }

    fn evaluate(&self, number: usize, steps: usize, seed: u64) -> Result<Vec<Vec<f64>>> {
        let each: Vec<Vec<f64>> = tasks(seed, number).map(|arms| self.adapted(&arms, steps)).collect();
        Ok((0..=steps).map(|step| each.iter().map(|values| values[step]).collect()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_that_of_the_value() {
        let (theta, arms) = (ndarray::arr1(&[0.3, -0.2, 0.0, 1.0, 0.5]), ndarray::arr1(&[0.1, 0.9, 0.4, 0.2, 0.7]));
        let (_, gradient) = value_and_gradient(&theta, &arms);
        for arm in 0..ARMS {
            let moved = |by: f64| {
                let mut theta = theta.clone();
                theta[arm] += by;
                value_and_gradient(&theta, &arms).0
            };
            let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((gradient[arm] - difference).abs() < 1e-10, "{arm}: {} {difference}", gradient[arm]);
        }
    }
}
