//! The problem of Tang 2022, section 6.1, and the exact errors of its three estimators.

use ad::Var;
use rl::additive::{Additive, Gaussian, Reparameterised};

/// An estimator of ∇L, L(θ) = E[−(X̄_N − 1)²] with X_i ~ N(θ, 1): maximise; L = −(θ − 1)² − 1/N.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estimator {
    /// [`Additive::score_function`], which is unbiased.
    ScoreFunction,
    /// [`Additive::linearised_score_function`], which is not.
    LinearisedScoreFunction,
    /// [`Additive::path_wise`], which is unbiased and needs X_i as a function of noise.
    PathWise,
}

/// All of them, in the order in which they are listed everywhere.
pub const ESTIMATORS: [Estimator; 3] =
    [Estimator::ScoreFunction, Estimator::LinearisedScoreFunction, Estimator::PathWise];

/// L(θ).
pub fn objective(theta: f64, n: usize) -> f64 {
    -(theta - 1.0).powi(2) - 1.0 / n as f64
}

/// L′(θ).
pub fn gradient(theta: f64) -> f64 {
    -2.0 * (theta - 1.0)
}

impl Estimator {
    /// `sf`, `lsf`, `pw`.
    pub fn name(self) -> &'static str {
        match self {
            Estimator::ScoreFunction => "sf",
            Estimator::LinearisedScoreFunction => "lsf",
            Estimator::PathWise => "pw",
        }
    }

    /// The estimate of L′ from the noise of N samples, X_i = θ + ζ_i; θ `[1]`, ζ `[N, 1]`.
    pub fn estimate(self, theta: Var, noise: Var) -> Var {
        let additive = Additive::new(Gaussian { std: 1.0 }, |x, _| x, |mean: Var, _| -(mean - 1.0).square().sum());
        let samples = additive.distribution.transform(noise, theta).stop_gradient();
        match self {
            Estimator::ScoreFunction => additive.score_function(samples, theta).grad(theta),
            Estimator::LinearisedScoreFunction => additive.linearised_score_function(samples, theta).grad(theta),
            Estimator::PathWise => additive.path_wise(noise, theta).grad(theta),
        }
    }

    /// E\[estimate\] − L′(θ).
    pub fn exact_bias(self, theta: f64, n: usize) -> f64 {
        match self {
            Estimator::LinearisedScoreFunction => 0.0 - 2.0 * theta / n as f64,
            Estimator::ScoreFunction | Estimator::PathWise => 0.0,
        }
    }

    /// E[(estimate − L′(θ))²], with d = θ − 1. (`crates/rl/tests/additive.rs` proves them by quadrature.)
    pub fn exact_mse(self, theta: f64, n: usize) -> f64 {
        let (d, n) = (theta - 1.0, n as f64);
        match self {
            Estimator::ScoreFunction => n * d.powi(4) + 14.0 * d.powi(2) + 15.0 / n,
            Estimator::LinearisedScoreFunction => {
                let (dd, tt, dt) = (d * d, theta * theta, d * theta);
                4.0 * dd * tt / n + 8.0 * dd / n + 16.0 * dt * (n + 2.0) / n.powi(2) - 8.0 * dt / n
                    + 12.0 * tt / n.powi(2)
                    + 4.0 * (n + 2.0) * (n + 4.0) / n.powi(3)
            }
            Estimator::PathWise => 4.0 / n,
        }
    }
}

/// The noise of N samples as numbers.
pub fn noise(n: usize, rng: &mut rand_chacha::ChaCha8Rng) -> ndarray::ArrayD<f64> {
    Gaussian { std: 1.0 }.noise(&ndarray::arr1(&[0.0]).into_dyn(), n, rng)
}
