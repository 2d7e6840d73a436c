//! What is learned with SF and with LSF, in the settings of Tang 2022, section 6.2 (the preset `lsf-navigation`).

use indicatif::ProgressBar;
use rayon::prelude::*;
use rl::error::Result;
use rl::stream::seed_of;
use train::Learner;
use train::registry::configure;
use train::run::config::{self, Config, Inner};
use train::run::evaluation_seed;

use crate::meta_gradient::{learner, scatter_of};
use crate::options::Precision;
use crate::saved::Saved;
use crate::under_way::UnderWay;

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
            let name = format!("{},{run}", method.name);
            let numbers = saved.part(&name, || self.one(run, method, saved, &name))?;
            progress.inc(1);
            let (last, curve) = numbers.split_last().expect("iterations, and the last parameters");
            Ok(Trained { curve: curve.to_vec(), last: *last })
        };
        let of_run = |run: usize| METHODS.par_iter().map(|method| one(run, method)).collect();
        (0..self.runs).into_par_iter().map(of_run).collect()
    }

    /// tr Var of meta-gradients at the first parameters of so many runs, for each number of trajectories and each of [`METHODS`]. What
    /// is saved are runs.
    pub fn variances(
        &self,
        runs: usize,
        samples: &[usize],
        rounds: usize,
        saved: &Saved,
        progress: &ProgressBar,
    ) -> Result<Vec<Vec<Vec<f64>>>> {
        let one = |run: usize, rollouts: usize, method: &Method| {
            // (Variances are in proportion to one over the number of tasks.)
            let config = Config { rollouts, tasks: 2, ..self.config(method, self.seed_of(run)) };
            Ok(scatter_of(&learner(&config)?, rounds, 0)?.variance)
        };
        let of_run = |run: usize| {
            let numbers = saved.part(&format!("trained,{run}"), || {
                samples.iter().flat_map(|&n| METHODS.iter().map(move |method| one(run, n, method))).collect()
            });
            progress.inc(1);
            Ok(numbers?.chunks(METHODS.len()).map(<[f64]>::to_vec).collect())
        };
        (0..runs).into_par_iter().map(of_run).collect()
    }

    fn seed_of(&self, run: usize) -> u64 {
        // (A configuration's has a bit less.)
        seed_of(self.seed, &[run as u64]) >> 1
    }

    /// The curve, and behind it what the last parameters bring. All methods have the same first parameters and the same tasks.
    fn one(&self, run: usize, method: &Method, saved: &Saved, name: &str) -> Result<Vec<f64>> {
        let seed = self.seed_of(run);
        let config = self.config(method, seed);
        let mut learner = learner(&config)?;
        let mean = |returns: &[f64]| returns.iter().sum::<f64>() / returns.len() as f64;
        let mut under_way = UnderWay::new(saved, name, &config);
        let (first, mut numbers) = under_way.resume(&mut learner)?;
        for iteration in first..self.iterations as u64 {
            numbers.push(mean(&learner.iterate(iteration)?.returns[1]));
            under_way.keep(&learner, iteration + 1, &numbers)?;
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
            precision: match self.precision {
                Precision::F32 => config::Precision::F32,
                Precision::F64 => config::Precision::F64,
            },
            horizon: self.horizon,
            hidden: self.hidden.clone(),
            ..preset
        }
    }
}
