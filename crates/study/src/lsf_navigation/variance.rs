//! The variance of meta-gradients at the first parameters, by the number of trajectories N that are adapted with.
//!
//! Of the formulas as they are (rewards-to-go, no baseline, nothing normalised), at one goal, and of what is left when infinitely many
//! trajectories are sampled after adaptation: V[E[estimate | inner trajectories]], the covariance of two estimates that have nothing
//! but their inner trajectories in common.

use ad::{Program, Tape, Value};
use indicatif::ProgressBar;
use ndarray::ArrayD;
use rayon::prelude::*;
use rl::env::{Actor, Environment, Navigation};
use rl::error::Result;
use rl::meta::sampled::{Credit, MetaBatch, Outer, linearised_score_function, score_function};
use rl::policy::{self, Activation::Tanh, Network, NetworkPolicy, Numbers, Policy};
use rl::rollout::Rollout;
use rl::stream::{seed_of, stream};

use crate::options::Precision;
use crate::saved::Saved;

/// The estimators, in the order of all numbers.
pub const ESTIMATORS: [&str; 2] = ["sf", "lsf"];

/// What is measured. Everything random is a function of the seed.
#[derive(Clone, Debug)]
pub struct Study {
    /// Everything random is a function of this number.
    pub seed: u64,
    /// How many independent pairs of a goal and first parameters there are.
    pub problems: usize,
    /// The numbers N of trajectories to adapt with.
    pub samples: Vec<usize>,
    /// The number of trajectories after adaptation.
    pub outer: usize,
    /// How many estimates there are at each N.
    pub rounds: usize,
    /// The number of steps of a trajectory.
    pub horizon: usize,
    /// The widths of the policy's hidden layers.
    pub hidden: Vec<usize>,
    /// The rate of the inner step.
    pub rate: f64,
    /// The type that is computed in.
    pub precision: Precision,
}

const GAMMA: f64 = 0.99;

/// What runs at one N.
struct Programs {
    /// (θ, D) ↦ θ′.
    adapt: Program,
    /// (θ, D, D′) ↦ gradients by each estimator.
    gradients: Program,
}

impl Study {
    /// tr V[E[estimate | D]], for each problem, each N, and each of [`ESTIMATORS`]. What is saved are problems.
    pub fn run(&self, saved: &Saved, progress: &ProgressBar) -> Result<Vec<Vec<Vec<f64>>>> {
        let policy = self.policy();
        let programs = self.samples.iter().map(|&n| self.programs(&policy, n)).collect::<Result<Vec<_>>>()?;
        let problems = (0..self.problems).into_par_iter().map(|problem| {
            let numbers = saved.part(&format!("variance,{problem}"), || {
                let seed = seed_of(self.seed, &[problem as u64]);
                let theta = policy.init(&mut stream(seed, 0));
                let goal = Navigation::random_bounded(&mut stream(seed, 1));
                let at = |(programs, &n): (&Programs, &usize)| self.traces(&policy, programs, &theta, &goal, n, seed);
                Ok(programs.iter().zip(&self.samples).map(at).collect::<Result<Vec<_>>>()?.concat())
            });
            progress.inc(1);
            Ok(numbers?.chunks(ESTIMATORS.len()).map(<[f64]>::to_vec).collect())
        });
        problems.collect()
    }

    fn policy(&self) -> NetworkPolicy {
        let [observation, action] = Navigation::bounded([0.0; 2]).spaces();
        let layers = |network: Network, &width: &usize| network.dense(width, Tanh);
        self.hidden.iter().fold(Network::new(&observation), layers).normal(action.size())
    }

    fn programs(&self, policy: &NetworkPolicy, n: usize) -> Result<Programs> {
        let (tape, dtype) = (Tape::new(), self.precision.dtype());
        let theta = policy::record_as(&policy.init(&mut stream(0, 0)), &tape, dtype);
        let [observation, action] = Navigation::bounded([0.0; 2]).spaces();
        let episodes = |number: usize| -> Result<_> {
            Ok(Rollout::zeros_in(number, self.horizon, [&observation, &action])?.record_as(&tape, dtype))
        };
        let (inner, outer) = ([episodes(n)?], episodes(self.outer)?);
        let batch = MetaBatch {
            policy,
            theta: &theta,
            inner: &inner,
            outer: Outer::Sampled(outer),
            gamma: GAMMA.into(),
            rate: self.rate,
            credit: Credit::ReturnToGo,
        };
        let before: Vec<_> = policy::handles(&theta).into_iter().chain(inner[0].handles()).collect();
        let adapted = batch.adapt_by_fixed_data().swap_remove(1);
        let gradients = [score_function, linearised_score_function].map(|estimator| estimator(&batch).grad(&theta));
        Ok(Programs {
            adapt: tape.compile(before.clone(), adapted.into_values()),
            gradients: tape.compile(
                before.into_iter().chain(outer.handles()),
                gradients.into_iter().flat_map(|gradient| gradient.into_values()),
            ),
        })
    }

    /// Of both estimators, at one N.
    fn traces(
        &self,
        policy: &NetworkPolicy,
        programs: &Programs,
        theta: &Numbers,
        goal: &Navigation,
        n: usize,
        seed: u64,
    ) -> Result<[f64; 2]> {
        let dtype = self.precision.dtype();
        let actor = Actor::new(policy, theta, &goal.spaces(), dtype)?;
        let sample = |theta: &Numbers, number: usize, names: &[u64]| {
            actor.sample(goal, theta, self.horizon, number, seed_of(seed, names))
        };
        // Of a round, for each estimator the gradients by two outer samples.
        let round = |round: usize| -> Result<[[Vec<f64>; 2]; 2]> {
            let names = |which: u64| [n as u64, round as u64, which];
            let rollout = sample(theta, n, &names(0))?;
            let before: Vec<Value<'_>> =
                policy::values_as(theta, dtype).into_iter().chain(rollout.values_as(dtype)).collect();
            let inputs: Vec<Value<'_>> = before.iter().map(Value::view).collect();
            let adapted: Vec<f64> = numbers(programs.adapt.run_values(&inputs)?).into_iter().flatten().collect();
            let adapted = policy::from_flat(theta, &adapted);
            let mut gradients = [const { [const { Vec::new() }; 2] }; 2];
            for half in 0..2 {
                let after = sample(&adapted, self.outer, &names(1 + half as u64))?;
                let inputs = before.iter().map(Value::view).chain(after.values_as(dtype)).collect::<Vec<_>>();
                let results = numbers(programs.gradients.run_values(&inputs)?);
                for (of_one, results) in gradients.iter_mut().zip(results.chunks(theta.len())) {
                    of_one[half] = results.iter().flatten().copied().collect();
                }
            }
            Ok(gradients)
        };
        let rounds = (0..self.rounds).into_par_iter().map(round).collect::<Result<Vec<_>>>()?;
        let (sf, lsf): (Vec<_>, Vec<_>) = rounds.into_iter().map(|[sf, lsf]| (sf, lsf)).unzip();
        Ok([trace_covariance(&sf), trace_covariance(&lsf)])
    }
}

fn numbers(results: Vec<Value<'static>>) -> Vec<ArrayD<f64>> {
    let array = |value: Value<'static>| value.rounded(ad::DType::F64).into_array().expect("floating-point numbers");
    results.into_iter().map(array).collect()
}

/// tr Cov of pairs of vectors, without bias.
pub fn trace_covariance(pairs: &[[Vec<f64>; 2]]) -> f64 {
    let count = pairs.len() as f64;
    let coordinate = |i: usize| {
        let mean = [0, 1].map(|half| pairs.iter().map(|pair| pair[half][i]).sum::<f64>() / count);
        pairs.iter().map(|[a, b]| (a[i] - mean[0]) * (b[i] - mean[1])).sum::<f64>() / (count - 1.0)
    };
    (0..pairs[0][0].len()).map(coordinate).sum()
}

/// The slope of least squares.
pub fn slope(x: &[f64], y: &[f64]) -> f64 {
    let mean = |z: &[f64]| z.iter().sum::<f64>() / z.len() as f64;
    let (x_mean, y_mean) = (mean(x), mean(y));
    let products: f64 = x.iter().zip(y).map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    products / x.iter().map(|x| (x - x_mean).powi(2)).sum::<f64>()
}
