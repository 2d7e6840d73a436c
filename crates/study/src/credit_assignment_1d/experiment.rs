//! The experiment: ascent by both formulations at several rates, on the same draws as far as their policies agree; and how their
//! meta-gradients vary where ascent begins.

use rayon::prelude::*;
use rl::error::Result;
use rl::stream::stream;

use super::meta_gradient::{
    Formulation, INNER_RATE, Pair, Trajectory, Variant, mean_return, meta_gradient, policy_gradient, sample,
};
use crate::output::progress;
use crate::saved::Saved;
use crate::statistics::mean_and_std;
use crate::tables::key;

/// θ where ascent begins.
pub const START: Pair = [0.09, 0.05];

/// The number of steps of a trajectory.
const HORIZON: usize = 5;

/// A parameter beyond this is lost, and the run is over. (Where clipped actions are scored, a mean far off has a score as large,
/// and each step is larger than the one before, until there are no numbers for it.)
const LOST: f64 = 1e6;

/// What a run counts with from where it is lost: every action is clipped to the same ±2, which is near one goal and far from the
/// other.
pub fn lost_return() -> f64 {
    HORIZON as f64 * ((-0.1_f64).exp() + (-0.9_f64).exp()) / 2.0
}

/// What is measured.
#[derive(Clone, Debug)]
pub struct Study {
    /// Everything random is a function of this number.
    pub seed: u64,
    /// How many independent runs.
    pub runs: usize,
    /// The outer rates.
    pub rates: Vec<f64>,
    /// Outer steps.
    pub iterations: usize,
    /// Tasks with each of the two goals, in an iteration.
    pub tasks: usize,
    /// N, before and after the inner step.
    pub trajectories: usize,
    /// How many meta-gradients of two tasks say how they vary.
    pub estimates: usize,
}

/// Of one run at one rate: the mean return after the inner step, in each iteration.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// Of formulation I and of II, `[iterations]`; [`lost_return`] where it is lost.
    pub returns: [Vec<f64>; 2],
}

/// Of one run, at [`START`].
#[derive(Clone, Debug, PartialEq)]
pub struct Variation {
    /// Of a meta-gradient of two tasks by formulation I and by II, its mean.
    pub mean: [Pair; 2],
    /// The square root of the sum of both variances.
    pub deviation: [f64; 2],
    /// The mean score of a trajectory, and its standard error.
    pub score: [Pair; 2],
}

/// Of one variant.
pub struct Measured {
    /// For each rate, of each run.
    pub courses: Vec<Vec<Course>>,
    /// Of each run.
    pub variations: Vec<Variation>,
}

const FORMULATIONS: [Formulation; 2] = [Formulation::I, Formulation::II];

impl Study {
    /// Both variants. What is saved are runs at a rate, and variations.
    pub fn run(&self, saved: &Saved) -> Result<[Measured; 2]> {
        let progress = progress(Variant::ALL.len() * self.runs * (self.rates.len() + 1), "courses and variations");
        let jobs: Vec<(Variant, usize, Option<usize>)> = (Variant::ALL.into_iter())
            .flat_map(|variant| {
                let places = (0..self.rates.len()).map(Some).chain([None]);
                places.flat_map(move |place| (0..self.runs).map(move |run| (variant, run, place)))
            })
            .collect();
        let of_job = |&(variant, run, place): &(Variant, usize, Option<usize>)| {
            let name = variant.name();
            let numbers = match place {
                Some(place) => {
                    let rate = self.rates[place];
                    saved.part(&format!("{name},{run},{rate}"), || Ok(self.course(variant, run, rate).numbers()))
                }
                None => saved.part(&format!("{name},{run}"), || Ok(self.variation(variant, run).numbers())),
            };
            progress.inc(1);
            numbers
        };
        let all: Vec<Vec<f64>> = jobs.par_iter().map(of_job).collect::<Result<_>>()?;
        progress.finish_and_clear();
        let mut all = all.chunks(self.runs);
        let mut next = || all.next().expect("a chunk for each rate, and one more");
        Ok(Variant::ALL.map(|_| Measured {
            courses: self.rates.iter().map(|_| next().iter().map(|x| Course::from_numbers(x)).collect()).collect(),
            variations: next().iter().map(|x| Variation::from_numbers(x)).collect(),
        }))
    }

    /// Ascent by both formulations.
    fn course(&self, variant: Variant, run: usize, rate: f64) -> Course {
        let returns = FORMULATIONS.map(|formulation| {
            let mut theta = START;
            let step = |iteration: usize| {
                if is_lost(theta) {
                    return lost_return();
                }
                let seed = key(&[self.seed, run as u64, iteration as u64]);
                let (mut sum, mut returns) = ([0.0; 2], 0.0);
                for task in 0..2 * self.tasks {
                    let [before, after] = self.task(variant, theta, seed, task);
                    let gradient = meta_gradient(formulation, variant, &before, &after);
                    sum = [sum[0] + gradient[0], sum[1] + gradient[1]];
                    returns += mean_return(&after);
                }
                let tasks = 2.0 * self.tasks as f64;
                theta = plus(theta, sum.map(|x| rate * x / tasks));
                returns / tasks
            };
            (0..self.iterations).map(step).collect()
        });
        Course { returns }
    }

    /// Trajectories before and after the inner step in a task: its goal is −1 or 1 by turns.
    fn task(&self, variant: Variant, theta: Pair, seed: u64, task: usize) -> [Vec<Trajectory>; 2] {
        let goal = if task.is_multiple_of(2) { -1.0 } else { 1.0 };
        let at = |theta: Pair, index: usize| {
            let rng = &mut stream(seed, (2 * task + index) as u64);
            sample(goal, theta, variant, [self.trajectories, HORIZON], rng, |_, _| ())
        };
        let before = at(theta, 0);
        let adapted = plus(theta, policy_gradient(&before).map(|x| INNER_RATE * x));
        let after = at(adapted, 1);
        [before, after]
    }

    fn variation(&self, variant: Variant, run: usize) -> Variation {
        let (mut gradients, mut scores) = ([(); 2].map(|()| [Vec::new(), Vec::new()]), [Vec::new(), Vec::new()]);
        for index in 0..self.estimates {
            let seed = key(&[self.seed, run as u64, u64::MAX, index as u64]);
            let tasks = [0, 1].map(|task| self.task(variant, START, seed, task));
            for (formulation, gradients) in FORMULATIONS.into_iter().zip(&mut gradients) {
                let [a, b] = tasks.each_ref().map(|[before, after]| meta_gradient(formulation, variant, before, after));
                (0..2).for_each(|j| gradients[j].push((a[j] + b[j]) / 2.0));
            }
            for trajectory in &tasks[0][0] {
                (0..2).for_each(|j| scores[j].push(trajectory.score[j]));
            }
        }
        let moments = gradients.map(|gradients| gradients.map(|numbers| mean_and_std(&numbers)));
        let count = (scores[0].len() as f64).sqrt();
        let scores = scores.map(|numbers| mean_and_std(&numbers));
        Variation {
            mean: moments.map(|moments| moments.map(|(mean, _)| mean)),
            deviation: moments.map(|[(_, a), (_, b)]| a.hypot(b)),
            score: [scores.map(|(mean, _)| mean), scores.map(|(_, std)| std / count)],
        }
    }
}

fn plus(theta: Pair, step: Pair) -> Pair {
    [theta[0] + step[0], theta[1] + step[1]]
}

/// (A NaN is, too.)
fn is_lost(theta: Pair) -> bool {
    !theta.iter().all(|x| x.abs() < LOST)
}

impl Course {
    /// As it is saved.
    pub fn numbers(&self) -> Vec<f64> {
        self.returns.concat()
    }

    fn from_numbers(numbers: &[f64]) -> Self {
        let (first, second) = numbers.split_at(numbers.len() / 2);
        Self { returns: [first.to_vec(), second.to_vec()] }
    }

    /// Σ over iterations of the return by formulation I, less that by II.
    pub fn gain(&self) -> f64 {
        let [first, second] = self.returns.each_ref().map(|returns| returns.iter().sum::<f64>());
        first - second
    }
}

impl Variation {
    /// As it is saved.
    pub fn numbers(&self) -> Vec<f64> {
        [self.mean.concat(), self.deviation.to_vec(), self.score.concat()].concat()
    }

    fn from_numbers(x: &[f64]) -> Self {
        Self { mean: [[x[0], x[1]], [x[2], x[3]]], deviation: [x[4], x[5]], score: [[x[6], x[7]], [x[8], x[9]]] }
    }
}
