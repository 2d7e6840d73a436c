//! Meta-gradients at fixed parameters: how much they scatter, beside how long their mean is.

use rayon::prelude::*;
use rl::error::Result;
use rl::stream::seed_of;
use train::run::config::Config;
use train::{MetaLearner, registry};

/// What independent estimates of a vector tell of their distribution. Both numbers are estimated without bias.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scatter {
    /// tr Var: the sum of the variances of all coordinates.
    pub variance: f64,
    /// ‖mean‖², less tr Var over the number of estimates, which is what chance adds to it. May be negative.
    pub square: f64,
}

impl Scatter {
    /// Of at least two estimates.
    pub fn of(estimates: &[Vec<f64>]) -> Self {
        let count = estimates.len() as f64;
        assert!(count >= 2.0, "one estimate does not scatter");
        let (mut variance, mut square) = (0.0, 0.0);
        for coordinate in 0..estimates[0].len() {
            let mean = estimates.iter().map(|one| one[coordinate]).sum::<f64>() / count;
            variance += estimates.iter().map(|one| (one[coordinate] - mean).powi(2)).sum::<f64>() / (count - 1.0);
            square += mean * mean;
        }
        Self { variance, square: square - variance / count }
    }

    /// ‖mean‖² / tr Var: one over the square of the relative standard deviation ‖std‖/‖mean‖. Unlike that it stays what it is where
    /// the mean is hardly told from 0, so that its averages and differences mean something.
    pub fn signal(&self) -> f64 {
        self.square / self.variance
    }
}

/// Of `rounds` estimates that are independent functions of their seeds, in parallel.
pub fn scatter(rounds: usize, seed: u64, estimate: impl Fn(u64) -> Result<Vec<f64>> + Sync) -> Result<Scatter> {
    let all = (0..rounds as u64).into_par_iter().map(|round| estimate(seed_of(seed, &[round])));
    Ok(Scatter::of(&all.collect::<Result<Vec<_>>>()?))
}

/// Of a learner's meta-gradients at its parameters.
pub fn scatter_of(learner: &MetaLearner, rounds: usize, seed: u64) -> Result<Scatter> {
    scatter(rounds, seed, |seed| Ok(learner.meta_gradient(seed)?.values().flatten().copied().collect()))
}

/// What such a configuration makes.
///
/// Panics if it has a name that there is not: those are in the program, and only numbers come from outside.
pub fn learner(config: &Config) -> Result<MetaLearner> {
    registry::meta_learner(config).map_err(|error| match error {
        train::run::Error::Data(error) => error,
        other => panic!("{other}"),
    })
}
