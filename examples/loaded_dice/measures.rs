//! What is said about a series of estimates.

use crate::experiment::{Problem, Series};
use ndarray::Array1;
use study::statistics::pearson;

/// The estimates of one MDP, of each seed those of orders 1 to 3.
type Seeds = Vec<[Array1<f64>; 3]>;

/// A number made of the estimates of one MDP by some seeds, beside the truth.
pub type Statistic = fn(&[&Array1<f64>], &Array1<f64>) -> f64;

/// The mean over entries of |mean over seeds of the error|, as the demonstration has it. It is above 0 by chance alone.
pub fn bias(estimates: &[&Array1<f64>], truth: &Array1<f64>) -> f64 {
    (mean(estimates) - truth).mapv(f64::abs).sum() / truth.len() as f64
}

/// The mean over entries of the standard deviation over seeds.
pub fn deviation(estimates: &[&Array1<f64>], truth: &Array1<f64>) -> f64 {
    variances(estimates).mapv(f64::sqrt).sum() / truth.len() as f64
}

/// The mean over seeds of Pearson's correlation with the truth.
pub fn correlation(estimates: &[&Array1<f64>], truth: &Array1<f64>) -> f64 {
    estimates.iter().map(|estimate| pearson(estimate, truth)).sum::<f64>() / estimates.len() as f64
}

fn mean(estimates: &[&Array1<f64>]) -> Array1<f64> {
    estimates.iter().fold(Array1::zeros(estimates[0].len()), |sum, x| sum + *x) / estimates.len() as f64
}

fn variances(estimates: &[&Array1<f64>]) -> Array1<f64> {
    let mean = mean(estimates);
    let squares = estimates.iter().fold(Array1::zeros(mean.len()), |sum, x| sum + (*x - &mean).mapv(|x| x * x));
    squares / (estimates.len() as f64 - 1.0)
}

/// A statistic of each MDP.
pub fn of_each(statistic: Statistic, series: &Series, problems: &[Problem], order: usize) -> Vec<f64> {
    let of_mdp = |(seeds, problem): (&Seeds, &Problem)| {
        let estimates: Vec<&Array1<f64>> = seeds.iter().map(|orders| &orders[order - 1]).collect();
        statistic(&estimates, problem.truth(series.study, order))
    };
    series.estimates.iter().zip(problems).map(of_mdp).collect()
}

/// The squared bias in each MDP, without the part that is chance, over the variance of an unbiased estimate. That one is made
/// of the same trajectories, so that most of what is chance is in both and cancels; and measured by its variance, MDPs with
/// large derivatives and with small ones count alike.
pub fn squared_bias_over_variance(series: &Series, unbiased: &Series, order: usize) -> Vec<f64> {
    let of_mdp = |(seeds, reference): (&Seeds, &Seeds)| {
        let reference: Vec<&Array1<f64>> = reference.iter().map(|orders| &orders[order - 1]).collect();
        let differences: Vec<Array1<f64>> =
            seeds.iter().zip(&reference).map(|(orders, reference)| &orders[order - 1] - *reference).collect();
        let differences: Vec<&Array1<f64>> = differences.iter().collect();
        let bias = mean(&differences);
        let chance = variances(&differences).sum() / differences.len() as f64;
        (bias.dot(&bias) - chance) / variances(&reference).sum()
    };
    series.estimates.iter().zip(&unbiased.estimates).map(of_mdp).collect()
}

/// A statistic's mean over MDPs.
pub fn over_mdps(statistic: Statistic, series: &Series, problems: &[Problem], order: usize) -> f64 {
    of_each(statistic, series, problems, order).iter().sum::<f64>() / problems.len() as f64
}
