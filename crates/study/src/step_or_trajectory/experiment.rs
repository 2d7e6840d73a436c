//! The experiment: tables, each enumerated, and sampled variances of the toys. Both are saved part by part.

use rayon::prelude::*;
use rl::error::Result;

use super::tables::{Distance, TRAJECTORIES, Variances, distances, variances};
use super::toys::{TOYS, sampled_variances};
use crate::output::progress;
use crate::saved::Saved;
use crate::tables::key;

/// What is measured.
#[derive(Clone, Debug)]
pub struct Study {
    /// Everything random is a function of this number.
    pub seed: u64,
    /// How many random processes.
    pub mdps: usize,
    /// The largest number of steps of a trajectory.
    pub horizon: usize,
    /// How many independent sets of estimates of the toys.
    pub sets: usize,
    /// How many estimates each of them has.
    pub estimates: usize,
    /// The numbers of samples N of an estimate.
    pub samples: Vec<usize>,
}

/// On one process.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// At the horizons 1, 2, …
    pub variances: Vec<Variances>,
    /// For each number of trajectories.
    pub distances: [Distance; TRAJECTORIES.len()],
}

impl Table {
    /// As they are saved.
    pub fn numbers(&self) -> Vec<f64> {
        let distances = self.distances.iter().flat_map(|distance| [distance.term, distance.gradient]);
        let variances = self.variances.iter().flat_map(|x| [x.by_trajectory, x.by_step, x.bias].concat());
        distances.chain(variances).collect()
    }

    fn from_numbers(numbers: &[f64]) -> Self {
        let (distances, variances) = numbers.split_at(2 * TRAJECTORIES.len());
        let variances = variances.as_chunks::<6>().0.iter().map(|x| Variances {
            by_trajectory: [x[0], x[1]],
            by_step: [x[2], x[3]],
            bias: [x[4], x[5]],
        });
        let distance = |i: usize| Distance { term: distances[2 * i], gradient: distances[2 * i + 1] };
        Self { variances: variances.collect(), distances: std::array::from_fn(distance) }
    }
}

/// Sampled variances of each of [`TOYS`], for each N.
pub type Set = Vec<[f64; TOYS.len()]>;

impl Study {
    /// All of it.
    pub fn run(&self, saved: &Saved) -> Result<(Vec<Table>, Vec<Set>)> {
        let progress = progress(self.mdps + self.sets, "processes and sets of estimates");
        let table = |index: usize| {
            let numbers = saved.part(&format!("process,{index}"), || {
                let variances = variances(self.seed, index, self.horizon)?;
                Ok(Table { variances, distances: distances(self.seed, index)? }.numbers())
            })?;
            progress.inc(1);
            Ok(Table::from_numbers(&numbers))
        };
        let set = |index: usize| {
            let numbers = saved.part(&format!("set,{index}"), || {
                let seed = key(&[self.seed, u64::MAX, index as u64]);
                let all = self.samples.iter().map(|&n| sampled_variances(n, self.estimates, seed));
                Ok(all.collect::<Result<Set>>()?.concat())
            })?;
            progress.inc(1);
            Ok(numbers.as_chunks().0.to_vec())
        };
        let tables = (0..self.mdps).into_par_iter().map(table).collect::<Result<_>>()?;
        let sets = (0..self.sets).into_par_iter().map(set).collect::<Result<_>>()?;
        progress.finish_and_clear();
        Ok((tables, sets))
    }
}
