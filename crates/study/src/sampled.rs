//! Exact biases of the estimators that differentiate through a sampled inner update, on a small problem drawn from a seed,
//! by enumeration of every tuple of trajectories.

use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rl::env::TabularMdp;
use rl::error::Result;
use rl::meta::sampled::{self, Credit};
use rl::truth::SampledUpdate;

/// A row of `exact.csv`: the gradient of the N-sample objective, estimated on policy.
#[derive(Clone, Debug)]
pub struct SampledBias {
    /// The estimator's name.
    pub estimator: &'static str,
    /// "on": the inner data is sampled by the policy that is differentiated.
    pub policy: &'static str,
    /// 1: the gradient.
    pub order: usize,
    /// Whether the estimator claims that there is none.
    pub claimed: bool,
    /// The largest entry of E\[estimate\] − truth, in absolute value.
    pub max_abs_bias: f64,
    /// The largest entry of the truth, in absolute value.
    pub max_abs_truth: f64,
    /// How large the terms are that are summed.
    pub scale: f64,
    /// The bias as a part of that.
    pub relative_bias: f64,
}

/// 2 states, 2 actions, P ~ Dirichlet(1), two trajectories of `horizon` steps for one inner update of rate 1.
pub fn problem(seed: u64, horizon: usize) -> Result<SampledUpdate> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mdp = TabularMdp::random(2, 2, 1.0, &mut rng)?;
    let logits = Array2::from_shape_simple_fn((2, 2), || rng.random_range(-1.0..1.0));
    Ok(SampledUpdate::new(&mdp, &logits, horizon, 0.9).trajectories(2))
}

/// The exact bias of every estimator of `rl::meta::sampled`, each with the inner update of its paper.
pub fn sampled_biases(seed: u64, horizon: usize) -> Result<Vec<SampledBias>> {
    let problem = problem(seed, horizon)?;
    let row = |estimator: sampled::MetaEstimator| {
        let report = problem.clone().credit(estimator.credit).check(estimator.surrogate, 1)?;
        let gradient = &report.orders[1];
        Ok(SampledBias {
            estimator: estimator.name,
            policy: "on",
            order: 1,
            claimed: estimator.unbiased,
            max_abs_bias: gradient.max_abs_bias(),
            max_abs_truth: gradient.max_abs_truth(),
            scale: gradient.scale,
            relative_bias: gradient.relative_bias(),
        })
    };
    sampled::all().into_iter().map(row).collect()
}

/// E\[LSF\] − E\[SF\], of θ's shape: the bias of the linearised score function, in Tang 2022's own form.
pub fn linearisation_bias(seed: u64, horizon: usize) -> Result<ndarray::ArrayD<f64>> {
    let problem = problem(seed, horizon)?.credit(Credit::WholeReturn);
    let mean = |surrogate: fn(&sampled::MetaBatch<'_>) -> ad::Var| -> Result<ndarray::ArrayD<f64>> {
        Ok(problem.check(surrogate, 1)?.orders.swap_remove(1).expectation)
    };
    Ok(mean(sampled::linearised_score_function)? - mean(sampled::score_function)?)
}
