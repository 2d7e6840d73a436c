//! What is said about a series of estimates, and how sure one can be of a difference between two.

use ndarray::Array1;
use rl::report::Interval;

use crate::experiment::{Problem, Series};

/// A number made of the estimates of one MDP by some seeds, beside the truth.
pub type Statistic = fn(&[&Array1<f64>], &Array1<f64>) -> f64;

/// The mean over entries of |mean over seeds of the error|, as the demonstration has it. It is above 0 by chance alone.
pub fn bias(estimates: &[&Array1<f64>], truth: &Array1<f64>) -> f64 {
    (mean(estimates) - truth).mapv(f64::abs).sum() / truth.len() as f64
}

/// The mean over entries of the squared bias, without the part that is chance.
pub fn squared_bias(estimates: &[&Array1<f64>], truth: &Array1<f64>) -> f64 {
    let error = mean(estimates) - truth;
    (error.dot(&error) - variances(estimates).sum() / estimates.len() as f64) / truth.len() as f64
}

/// The mean over entries of the standard deviation over seeds.
pub fn deviation(estimates: &[&Array1<f64>], truth: &Array1<f64>) -> f64 {
    variances(estimates).mapv(f64::sqrt).sum() / truth.len() as f64
}

/// The mean over seeds of Pearson's correlation with the truth.
pub fn correlation(estimates: &[&Array1<f64>], truth: &Array1<f64>) -> f64 {
    let centred = |x: &Array1<f64>| x - x.sum() / x.len() as f64;
    let truth = centred(truth);
    let one = |estimate: &&Array1<f64>| {
        let estimate = centred(estimate);
        let scale = (estimate.dot(&estimate) * truth.dot(&truth)).sqrt();
        if scale > 0.0 { estimate.dot(&truth) / scale } else { 0.0 }
    };
    estimates.iter().map(one).sum::<f64>() / estimates.len() as f64
}

fn mean(estimates: &[&Array1<f64>]) -> Array1<f64> {
    estimates.iter().fold(Array1::zeros(estimates[0].len()), |sum, x| sum + *x) / estimates.len() as f64
}

fn variances(estimates: &[&Array1<f64>]) -> Array1<f64> {
    let mean = mean(estimates);
    let squares = estimates.iter().fold(Array1::zeros(mean.len()), |sum, x| sum + (*x - &mean).mapv(|x| x * x));
    squares / (estimates.len() as f64 - 1.0)
}

/// A statistic's mean over MDPs.
pub fn over_mdps(statistic: Statistic, series: &Series, problems: &[Problem], order: usize) -> f64 {
    without(statistic, series, problems, order, None)
}

/// The same without one of the seeds.
fn without(statistic: Statistic, series: &Series, problems: &[Problem], order: usize, left_out: Option<usize>) -> f64 {
    let of_mdp = |(seeds, problem): (&Vec<[Array1<f64>; 3]>, &Problem)| {
        let kept = seeds.iter().enumerate().filter(|(seed, _)| Some(*seed) != left_out);
        let estimates: Vec<&Array1<f64>> = kept.map(|(_, orders)| &orders[order - 1]).collect();
        statistic(&estimates, problem.truth(series.study, order))
    };
    series.estimates.iter().zip(problems).map(of_mdp).sum::<f64>() / problems.len() as f64
}

/// The 95 % interval of a statistic of one series less that of another, by leaving out one seed of both at a time (the
/// jackknife). Series of one study and batch share their trajectories; others of equally many seeds are independent, and
/// pairing them does no harm.
pub fn difference(statistic: Statistic, a: &Series, b: &Series, problems: &[Problem], order: usize) -> Interval {
    let seeds = a.seeds();
    let of =
        |left_out| without(statistic, a, problems, order, left_out) - without(statistic, b, problems, order, left_out);
    let all = of(None);
    let count = seeds as f64;
    let pseudo: Vec<f64> = (0..seeds).map(|seed| count * all - (count - 1.0) * of(Some(seed))).collect();
    Interval::of_mean(&pseudo)
}
