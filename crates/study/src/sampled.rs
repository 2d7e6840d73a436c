//! Exact biases of the estimators that differentiate through a sampled inner update, on a small problem drawn from a seed,
//! by enumeration of every tuple of trajectories.

use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rl::env::TabularMdp;
use rl::error::Result;
use rl::meta::sampled::{self, Credit};
use rl::truth::SampledUpdate;

use crate::exact::{Bias, Row};

/// 2 states, 2 actions, P ~ Dirichlet(1), two trajectories of `horizon` steps for one inner update of rate 1.
pub fn problem(seed: u64, horizon: usize) -> Result<SampledUpdate> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mdp = TabularMdp::random(2, 2, 1.0, &mut rng)?;
    let logits = Array2::from_shape_simple_fn((2, 2), || rng.random_range(-1.0..1.0));
    Ok(SampledUpdate::new(&mdp, &logits, horizon, 0.9).trajectories(2))
}

/// The lines of `exact.csv` for the gradients through one update of [`problem`].
pub fn sampled_biases(seed: u64, horizon: usize) -> Result<Vec<Row>> {
    rows(&problem(seed, horizon)?)
}

/// The exact bias of the gradient by every estimator of `rl::meta::sampled`, each with the inner update of its paper.
pub fn rows(update: &SampledUpdate) -> Result<Vec<Row>> {
    let row = |estimator: sampled::MetaEstimator| {
        let report = update.clone().credit(estimator.credit).check(estimator.surrogate, 1)?;
        let gradient = &report.orders[1];
        let bias = Bias {
            order: 1,
            claimed: estimator.unbiased,
            max_abs_bias: gradient.max_abs_bias(),
            max_abs_truth: gradient.max_abs_truth(),
            scale: gradient.scale,
            relative_bias: gradient.relative_bias(),
        };
        Ok(Row { estimator: estimator.name.to_owned(), policy: "on", bias, vanishes: false })
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
