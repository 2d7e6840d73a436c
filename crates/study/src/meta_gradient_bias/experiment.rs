//! The experiment: on random processes, the correlation of estimated meta-gradients with the exact one, for every estimator
//! and every choice of what is estimated.

use std::time::{Duration, Instant};

use ad::{Program, Tape, Value};
use ndarray::{Array2, ArrayD};
use rayon::prelude::*;
use rl::env::Horizon;
use rl::env::TabularMdp;
use rl::error::Result;
use rl::meta::{Objective, Permutation, Role, Roles, exact_value, surrogate};
use rl::objective::{Estimator, all, allow_biased};
use rl::policy::{Numbers, Table, softmax};

use crate::output::progress;
use crate::saved::Saved;
use crate::statistics::{mean_and_std, pearson};
use crate::tables::{ACTIONS, GAMMA, HORIZON, POLICY, STATES, key, noise, process, sum_of_std};

/// The estimators as the paper calls them, and as this library does.
pub const ESTIMATORS: [(&str, &str); 4] = [("lvc", "lvc"), ("ad", "ad"), ("loaded", "loaded"), ("dice", "is")];

/// What is measured at one place: a choice of estimator, of what is estimated, and of the numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// By its name in [`ESTIMATORS`], the paper's.
    pub estimator: &'static str,
    /// What is exact, and what is estimated.
    pub permutation: Permutation,
    /// The number of trajectories of each estimate.
    pub samples: usize,
    /// The number of inner steps.
    pub steps: usize,
    /// α, of the inner steps.
    pub rate: f64,
}

impl Cell {
    /// Few trajectories are noisy and cost little: these cells are measured on more processes than the others.
    fn is_cheap(&self) -> bool {
        self.samples * self.steps < 32
    }
}

/// What is measured, and how often.
pub struct Study {
    /// Everything random is a function of this number.
    pub seed: u64,
    /// Processes for the cells of many trajectories or steps, and for the others.
    pub mdps: [usize; 2],
    /// How many independent estimates there are on each process.
    pub repeats: usize,
    /// The places to measure at.
    pub cells: Vec<Cell>,
}

/// A cell's numbers, one of each process.
pub struct Measured {
    /// Where it was measured.
    pub cell: Cell,
    /// The mean over repeats of the correlation with the exact meta-gradient.
    pub correlations: Vec<f64>,
    /// The sum over coordinates of the standard deviation over repeats.
    pub deviations: Vec<f64>,
}

impl Measured {
    /// Mean and standard deviation over processes of the correlation.
    pub fn correlation(&self) -> (f64, f64) {
        mean_and_std(&self.correlations)
    }

    /// The mean over processes of the deviations.
    pub fn sum_of_std(&self) -> f64 {
        mean_and_std(&self.deviations).0
    }
}

/// What is recorded and compiled once, and run on every process.
struct Programs {
    exact: Objective,
    /// (process, θ) ↦ V^π(s).
    values: Program,
    estimated: Vec<(&'static str, usize, Objective)>,
}

impl Study {
    /// The numbers of every cell, and what one meta-gradient of a cell took on average, in time of one thread. What is
    /// saved are processes.
    pub fn run(&self, saved: &Saved) -> Result<(Vec<Measured>, Duration)> {
        let programs = self.programs()?;
        let [dear, cheap] = self.mdps;
        let estimates: usize = (0..dear.max(cheap)).map(|index| self.cells_on(index).count() * self.repeats).sum();
        let progress = progress(estimates, "estimates");
        // For each process, the seconds it took, and of each cell correlation and deviation.
        let measured: Vec<Vec<f64>> = (0..dear.max(cheap))
            .into_par_iter()
            .map(|index| {
                let numbers = saved.part(&index.to_string(), || self.measure(index, &programs));
                progress.inc((self.cells_on(index).count() * self.repeats) as u64);
                numbers
            })
            .collect::<Result<_>>()?;
        progress.finish_and_clear();
        let mut cells: Vec<Measured> = (self.cells.iter())
            .map(|&cell| Measured { cell, correlations: Vec::new(), deviations: Vec::new() })
            .collect();
        for (index, numbers) in measured.iter().enumerate() {
            for ((c, _), pair) in self.cells_on(index).zip(numbers[1..].chunks(2)) {
                cells[c].correlations.push(pair[0]);
                cells[c].deviations.push(pair[1]);
            }
        }
        let seconds: f64 = measured.iter().map(|numbers| numbers[0]).sum();
        Ok((cells, Duration::from_secs_f64(seconds / estimates as f64)))
    }

    /// The cells that are measured on a process, with their numbers.
    fn cells_on(&self, index: usize) -> impl Iterator<Item = (usize, Cell)> {
        let [dear, cheap] = self.mdps;
        let here = move |cell: &Cell| index < if cell.is_cheap() { cheap } else { dear };
        self.cells.iter().copied().enumerate().filter(move |(_, cell)| here(cell))
    }

    fn programs(&self) -> Result<Programs> {
        let mdp = process(self.seed, 0)?;
        let (none, start) = (Numbers::new(), Table::numbers(&Array2::zeros((STATES, ACTIONS))));
        let exact = Objective::twice(&none, &start, exact_value(&POLICY, &mdp, GAMMA, &Horizon::Infinite)?);
        let tape = Tape::new();
        let (process, theta) = (mdp.record(&tape), tape.input("theta", Array2::<f64>::zeros((STATES, ACTIONS))));
        let values = process.value(theta.softmax(), GAMMA);
        let inputs = process.handles().into_iter().chain([theta.into()]);
        let values = tape.compile(inputs, [values]);

        let mut wanted: Vec<(&'static str, usize)> = Vec::new();
        for cell in &self.cells {
            if !wanted.contains(&(cell.estimator, cell.samples)) {
                wanted.push((cell.estimator, cell.samples));
            }
        }
        let estimated = wanted.into_iter().map(|(name, samples)| {
            let estimator = estimator(name);
            // That AD's Hessian is wrong, and LVC's, is what the experiment is about.
            let allowed = allow_biased(&*estimator);
            let objective =
                Objective::twice(&none, &start, surrogate(&allowed, &POLICY, &mdp, GAMMA, HORIZON, samples)?);
            Ok((name, samples, objective))
        });
        Ok(Programs { exact, values, estimated: estimated.collect::<Result<_>>()? })
    }

    /// One process: the seconds of one thread that its estimates took, and of each of its cells correlation and deviation.
    fn measure(&self, index: usize, programs: &Programs) -> Result<Vec<f64>> {
        let mdp = process(self.seed, index)?;
        // [repeat][cell] of meta-gradients, and the time.
        let repeats: Vec<(Vec<ArrayD<f64>>, Duration)> = (0..self.repeats)
            .into_par_iter()
            .map(|repeat| {
                let began = Instant::now();
                let cells = self.cells_on(index);
                let estimates: Vec<ArrayD<f64>> =
                    cells.map(|(_, cell)| self.estimate(index, repeat, &mdp, cell, programs)).collect::<Result<_>>()?;
                Ok((estimates, began.elapsed()))
            })
            .collect::<Result<_>>()?;
        let mut truths: Vec<(usize, f64, ArrayD<f64>)> = Vec::new();
        let mut numbers = vec![repeats.iter().map(|(_, time)| time.as_secs_f64()).sum()];
        for (c, (_, cell)) in self.cells_on(index).enumerate() {
            let known = truths.iter().position(|&(steps, rate, _)| (steps, rate) == (cell.steps, cell.rate));
            let truth = match known {
                Some(place) => place,
                None => {
                    truths.push((cell.steps, cell.rate, self.truth(&mdp, cell, programs)?));
                    truths.len() - 1
                }
            };
            let estimates: Vec<ArrayD<f64>> = repeats.iter().map(|(cells, _)| cells[c].clone()).collect();
            let correlations: Vec<f64> = estimates.iter().map(|x| pearson(x, &truths[truth].2)).collect();
            numbers.extend([mean_and_std(&correlations).0, sum_of_std(&estimates)]);
        }
        Ok(numbers)
    }

    fn truth(&self, mdp: &TabularMdp, cell: Cell, programs: &Programs) -> Result<ArrayD<f64>> {
        let known = |_: usize, _: &Numbers| Ok(mdp.to_values().into());
        meta_gradient(Roles::all(Role { objective: &programs.exact, data: &known }), cell)
    }

    /// One estimate. Every role draws its own trajectories and its own critic's noise, which depend on seed, process, repeat,
    /// role and step alone: cells are compared on the same numbers, as far as their policies agree.
    fn estimate(
        &self,
        index: usize,
        repeat: usize,
        mdp: &TabularMdp,
        cell: Cell,
        programs: &Programs,
    ) -> Result<ArrayD<f64>> {
        let known = |_: usize, _: &Numbers| Ok(mdp.to_values().into());
        let exact = Roles::all(Role { objective: &programs.exact, data: &known });
        let objective = programs.estimated.iter().find(|entry| (entry.0, entry.1) == (cell.estimator, cell.samples));
        let (.., objective) = objective.expect("one of each wanted");
        let sample = |role: u64| {
            move |step: usize, theta: &Numbers| {
                let seed = key(&[self.seed, index as u64, repeat as u64, role, step as u64]);
                let rollout = mdp.sample(&softmax(&Table::logits(theta)), HORIZON, cell.samples, seed)?;
                let at: Vec<Value<'static>> =
                    mdp.to_values().into_iter().chain([theta[Table::LOGITS].clone().into()]).collect();
                let values = programs.values.run(&at)?.swap_remove(0);
                let norm = values.iter().map(|v| v * v).sum::<f64>().sqrt();
                let critic = values + noise(seed) * (norm / STATES as f64);
                Ok(rollout.into_values().into_iter().chain([critic.into()]).collect())
            }
        };
        let data = [0, 1, 2].map(sample);
        let [inner, hessian, outer] = data.each_ref().map(|data| Role { objective, data });
        meta_gradient(cell.permutation.of(exact, Roles { inner, hessian: Some(hessian), outer }), cell)
    }
}

fn meta_gradient(roles: Roles<'_>, cell: Cell) -> Result<ArrayD<f64>> {
    let start = Table::numbers(&Array2::zeros((STATES, ACTIONS)));
    Ok(roles
        .meta_gradient(&Numbers::new(), &start, cell.steps, cell.rate)?
        .by_start
        .swap_remove(Table::LOGITS)
        .expect("a table"))
}

fn estimator(name: &str) -> Box<dyn Estimator> {
    let (_, listed) = ESTIMATORS.iter().find(|(known, _)| *known == name).expect("a known estimator");
    all().into_iter().find(|estimator| estimator.facts().name == *listed).expect("a listed estimator")
}
