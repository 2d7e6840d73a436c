//! The experiment: errors of single estimates (figure 1a) and where they lead (figure 1b).
//!
//! All estimators see the same noise, so that differences between them are paired. Everything is a function of the seed:
//! each repeat has a random stream of its own, whatever thread runs it.

use ad::{Program, Tape, values, vmap, vmap_many};
use indicatif::ProgressBar;
use ndarray::{Array1, ArrayD};
use rand::Rng;
use rayon::prelude::*;
use rl::optim::{Optimiser, Rule};
use rl::stream::stream;

use super::problem::{ESTIMATORS, Estimator, gradient, noise, objective};
use crate::statistics::mean_and_std;

/// How many samples a program is given at once, about.
const BLOCK: usize = 50_000;

/// Estimates at one θ and N.
pub struct Errors {
    /// The parameter.
    pub theta: f64,
    /// The number of samples N of an estimate.
    pub n: usize,
    /// estimate − L′(θ), for each estimator.
    pub differences: [Vec<f64>; 3],
}

impl Errors {
    /// The squared errors of one estimator.
    pub fn squared(&self, estimator: usize) -> Vec<f64> {
        self.differences[estimator].iter().map(|x| x * x).collect()
    }
}

/// Many estimates at one θ and N.
pub fn errors(theta: f64, n: usize, estimates: usize, seed: u64) -> Errors {
    let block = (BLOCK / n).clamp(1, estimates);
    let program = {
        let tape = Tape::new();
        let parameter = tape.input("theta", ndarray::arr1(&[theta]));
        let noise = tape.input("noise", ArrayD::<f64>::zeros(vec![block, n, 1]));
        let results = ESTIMATORS.map(|estimator| vmap(|noise| estimator.estimate(parameter, noise), noise));
        tape.compile([parameter, noise], results)
    };
    let run = |index: usize| {
        let noise = noise(block * n, &mut stream(seed, index as u64));
        let noise = noise.into_shape_with_order(vec![block, n, 1]).expect("as many numbers");
        program.run(&values![ndarray::arr1(&[theta]), noise]).expect("values of the shapes recorded")
    };
    let blocks: Vec<Vec<ArrayD<f64>>> = (0..estimates.div_ceil(block)).into_par_iter().map(run).collect();
    let differences = [0, 1, 2].map(|i| {
        let all = blocks.iter().flat_map(|results| results[i].iter());
        all.take(estimates).map(|estimate| estimate - gradient(theta)).collect::<Vec<f64>>()
    });
    Errors { theta, n, differences }
}

/// The objective after each step of ascent, for each of many repeats.
pub struct Curve {
    /// What the gradients were estimated by.
    pub estimator: Estimator,
    /// The number of samples N of an estimate.
    pub n: usize,
    /// How many estimates a step averages.
    pub batch: usize,
    /// `[steps + 1]`, over repeats.
    pub mean: Vec<f64>,
    /// The standard deviation, of the same shape.
    pub std: Vec<f64>,
    /// After the last step, `[repeats]`.
    pub last: Vec<f64>,
}

impl Curve {
    /// As it is saved: what has a number for each step, and then what has one for each repeat.
    pub fn numbers(&self) -> Vec<f64> {
        [&self.mean[..], &self.std, &self.last].concat()
    }

    /// The curves of [`learn`], from their numbers one after the other.
    pub fn from_numbers(n: usize, batch: usize, steps: usize, numbers: &[f64]) -> [Self; 3] {
        [0, 1, 2].map(|i| {
            let numbers = &numbers[i * numbers.len() / 3..(i + 1) * numbers.len() / 3];
            let (mean, rest) = numbers.split_at(steps + 1);
            let (std, last) = rest.split_at(steps + 1);
            Self { estimator: ESTIMATORS[i], n, batch, mean: mean.into(), std: std.into(), last: last.into() }
        })
    }
}

/// Gradient ascent from θ = 0 with Adam (rate 0.1), each gradient the mean of `batch` estimates from N samples each.
pub fn learn(n: usize, batch: usize, steps: usize, repeats: usize, seed: u64, progress: &ProgressBar) -> [Curve; 3] {
    let block = (BLOCK / (n * batch)).clamp(1, repeats);
    let programs = ESTIMATORS.map(|estimator| program(estimator, n, batch, block));
    // Of each block of repeats, for each estimator, the objective [steps + 1][repeats of the block].
    let run = |start: usize| {
        let mut streams: Vec<_> = (start..start + block).map(|repeat| stream(seed, repeat as u64)).collect();
        let mut learners = ESTIMATORS.map(|_| (Array1::<f64>::zeros(block), Optimiser::new(Rule::adam(0.1))));
        let mut objectives: [Vec<Vec<f64>>; 3] = Default::default();
        for step in 0..=steps {
            for (values, (theta, _)) in objectives.iter_mut().zip(&learners) {
                values.push(theta.iter().map(|&theta| objective(theta, n)).collect());
            }
            if step == steps {
                break;
            }
            let mut numbers = Vec::with_capacity(block * batch * n);
            streams.iter_mut().for_each(|rng| numbers.extend(noise(batch * n, rng)));
            let noise = ArrayD::from_shape_vec(vec![block, batch, n, 1], numbers).expect("as many numbers");
            for ((theta, adam), program) in learners.iter_mut().zip(&programs) {
                let parameter = theta.view().insert_axis(ndarray::Axis(1));
                let results = program.run(&values![parameter, noise]).expect("values of the shapes recorded");
                // It descends.
                let gradient: Array1<f64> = results[0].iter().map(|x| -x).collect();
                adam.step(theta, &gradient).expect("a finite gradient of the parameters' shape");
            }
        }
        progress.inc(block.min(repeats - start) as u64);
        objectives
    };
    let blocks: Vec<[Vec<Vec<f64>>; 3]> =
        (0..repeats.div_ceil(block)).into_par_iter().map(|index| run(index * block)).collect();
    let curve = |i: usize| {
        let at = |step: usize| -> Vec<f64> {
            blocks.iter().flat_map(|block| block[i][step].iter().copied()).take(repeats).collect()
        };
        let moments: Vec<(f64, f64)> = (0..=steps).map(|step| mean_and_std(&at(step))).collect();
        let (mean, std) = moments.into_iter().unzip();
        Curve { estimator: ESTIMATORS[i], n, batch, mean, std, last: at(steps) }
    };
    [curve(0), curve(1), curve(2)]
}

/// (θ `[repeats, 1]`, ζ `[repeats, batch, N, 1]`) ↦ the mean of the batch's estimates, `[repeats, 1]`.
fn program(estimator: Estimator, n: usize, batch: usize, repeats: usize) -> Program {
    let tape = Tape::new();
    let theta = tape.input("theta", ArrayD::<f64>::zeros(vec![repeats, 1]));
    let noise = tape.input("noise", ArrayD::<f64>::zeros(vec![repeats, batch, n, 1]));
    let estimates = vmap_many(
        |one| {
            let (theta, noise) = (one[0].var(), one[1].var());
            vmap(|noise| estimator.estimate(theta, noise), noise).mean_axes(&[0])
        },
        ad::handles![theta, noise],
    );
    tape.compile([theta, noise], [estimates])
}

/// A seed of its own for each cell of the study.
pub fn cell_seed(seed: u64, cell: usize) -> u64 {
    stream(seed, cell as u64).next_u64()
}
