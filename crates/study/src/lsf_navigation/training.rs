//! What is learned with SF and with LSF, in the settings of Tang 2022, section 6.2 (the preset `lsf-navigation`).

use indicatif::ProgressBar;
use rayon::prelude::*;
use rl::error::Result;
use rl::stream::seed_of;
use train::Learner;
use train::registry::configure;
use train::run::config::{Config, Inner, Precision};
use train::run::evaluation_seed;

use crate::meta_gradient::learner;
use crate::saved::Saved;

/// An estimator that is trained with.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// As in tables and files.
    pub name: &'static str,
    /// The algorithm, by the name that `train` has for it.
    pub algorithm: &'static str,
    /// What the inner step ascends.
    pub inner: Inner,
}

/// All of them. SF is at fixed data inside, and has the scores; DiCE is LSF as published, Loaded DiCE LSF with a baseline.
pub const METHODS: [Method; 3] = [
    Method { name: "sf", algorithm: "sf", inner: Inner::Ad },
    Method { name: "lsf_dice", algorithm: "lsf", inner: Inner::Dice },
    Method { name: "lsf", algorithm: "lsf", inner: Inner::Loaded },
];

/// What is trained. Everything random is a function of the seed.
#[derive(Clone, Debug)]
pub struct Study {
    /// Everything random is a function of this number.
    pub seed: u64,
    /// How many independent runs of each method there are.
    pub runs: usize,
    /// How many iterations each has.
    pub iterations: usize,
    /// The number of steps of a trajectory.
    pub horizon: usize,
    /// The widths of the policy's hidden layers.
    pub hidden: Vec<usize>,
    /// The number of fresh tasks that the last parameters are judged on.
    pub tasks: usize,
    /// The type that is computed in.
    pub precision: Precision,
}

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// The mean return after adaptation, of each iteration.
    pub curve: Vec<f64>,
    /// The same of the last parameters, on fresh tasks.
    pub last: f64,
}

impl Study {
    /// For each run, each of [`METHODS`]. What is saved are runs of one method.
    pub fn run(&self, saved: &Saved, progress: &ProgressBar) -> Result<Vec<Vec<Trained>>> {
        let one = |run: usize, method: &Method| {
            let numbers = saved.part(&format!("{},{run}", method.name), || self.one(run, method))?;
            progress.inc(1);
            let (last, curve) = numbers.split_last().expect("iterations, and the last parameters");
            Ok(Trained { curve: curve.to_vec(), last: *last })
        };
        let of_run = |run: usize| METHODS.par_iter().map(|method| one(run, method)).collect();
        (0..self.runs).into_par_iter().map(of_run).collect()
    }

    /// The curve, and behind it what the last parameters bring. All methods have the same first parameters and the same tasks.
    fn one(&self, run: usize, method: &Method) -> Result<Vec<f64>> {
        let seed = seed_of(self.seed, &[run as u64]) >> 1;
        let mut learner = learner(&self.config(method, seed))?;
        let mean = |returns: &[f64]| returns.iter().sum::<f64>() / returns.len() as f64;
        let mut numbers = Vec::with_capacity(self.iterations + 1);
        for iteration in 0..self.iterations {
            numbers.push(mean(&learner.iterate(iteration as u64)?.returns[1]));
        }
        numbers.push(mean(&learner.evaluate(self.tasks, 1, evaluation_seed(seed))?[1]));
        Ok(numbers)
    }

    fn config(&self, method: &Method, seed: u64) -> Config {
        let preset = configure(None, Some("lsf-navigation"), None, Default::default()).expect("a preset that there is");
        Config {
            algorithm: method.algorithm.to_owned(),
            inner: method.inner,
            seed,
            precision: self.precision,
            horizon: self.horizon,
            hidden: self.hidden.clone(),
            ..preset
        }
    }
}
