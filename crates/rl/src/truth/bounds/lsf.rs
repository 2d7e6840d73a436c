//! Gradients through N samples (Tang 2022): bias and variance of the linearised score-function estimate, the two formulations F_N
//! and F_∞ that it is between, and the toy problem of section 2.
//!
//! Of one inner step θ′_N = θ + η (1/N) Σ_i R_i u_i, u_i = ∇log p(τ_i; θ): outcomes that credit whole returns
//! ([`Credit::WholeReturn`](crate::meta::sampled::Credit::WholeReturn)), unless said otherwise.

use ndarray::{Array1, Array2};

use super::linear::{length, outer};
use super::outcomes::{Outcomes, mean_and_variance, step};
use crate::error::Result;

/// What one trajectory's estimates vary by at θ (Prop. 23's σ, exact instead of bounded), V the sum of all entries' variances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// σ₁² = V\[R u\].
    pub gradient: f64,
    /// V\[R (u uᵀ + ∇²log p)\].
    pub hessian: f64,
    /// σ₂₁² = V\[R ∇²log p\].
    pub curvature: f64,
    /// σ₂₂² = V\[R u uᵀ\].
    pub outer: f64,
    /// E\[‖u‖ ‖R u‖²\].
    pub cubic: f64,
    /// σ₃³ = E ‖R u − E\[R u\]‖³.
    pub third: f64,
    /// E ‖R u − E\[R u\]‖⁴.
    pub fourth: f64,
}

impl Moments {
    /// At θ, `[S, A]`. (Where returns-to-go are credited, with g for R u everywhere.)
    ///
    /// # Errors
    ///
    /// Those of [`Outcomes::at`].
    pub fn of(outcomes: &Outcomes, logits: &Array2<f64>) -> Result<Self> {
        let single = outcomes.at(logits)?;
        let flat = |matrix: Array2<f64>| matrix.into_iter().collect::<Array1<f64>>();
        let variance =
            |x: Vec<Array1<f64>>| mean_and_variance(single.iter().map(|outcome| outcome.probability).zip(&x)).1;
        let gradients: Vec<_> = single.iter().map(|outcome| outcome.gradient.clone()).collect();
        let mean = mean_and_variance(single.iter().map(|outcome| outcome.probability).zip(&gradients)).0;
        let moment = |power: i32| -> f64 {
            single.iter().map(|x| x.probability * length(&(&x.gradient - &mean)).powi(power)).sum()
        };
        Ok(Self {
            gradient: variance(gradients),
            hessian: variance(single.iter().map(|x| flat(x.hessian())).collect()),
            curvature: variance(single.iter().map(|x| flat(x.curvature.clone())).collect()),
            outer: variance(single.iter().map(|x| flat(outer(&x.gradient, &x.score))).collect()),
            cubic: single.iter().map(|x| x.probability * length(&x.score) * length(&x.gradient).powi(2)).sum(),
            third: moment(3),
            fourth: moment(4),
        })
    }

    /// V\[R (u uᵀ + ∇²log p)\] ≤ 2 (σ₂₁² + σ₂₂²): a step of Prop. 24's proof, which prints it without the 2, right after V\[X +
    /// Y\] ≤ 2V\[X\] + 2V\[Y\].
    pub fn hessian_bound(&self) -> f64 {
        2.0 * self.hessian_bound_as_printed()
    }

    /// σ₂₁² + σ₂₂², as printed: less than the variance where the two parts are positively correlated, as where the action that is
    /// hardly ever taken is the worse one.
    pub fn hessian_bound_as_printed(&self) -> f64 {
        self.curvature + self.outer
    }

    /// E ‖(1/N) Σ_i x_i‖³ ≤ N⁻³ (N m₄ + 3 N (N − 1) σ₁⁴)^{3/4} of N independent centred x_i = R_i u_i − E\[R u\], m₄ = E‖x‖⁴:
    /// what part (iii) of Prop. 25's proof needs, of the same order N^{−3/2} as what it says.
    ///
    /// E‖Σ x‖⁴ = N m₄ + N (N − 1) (σ₁⁴ + 2 tr Σ²), tr Σ² ≤ σ₁⁴, and E y³ ≤ (E y⁴)^{3/4}.
    pub fn third_moment_of_mean(&self, trajectories: usize) -> f64 {
        third_moment_of_mean(self.gradient, self.fourth, trajectories)
    }

    /// σ₃³ N^{−3/2}, as printed: no such inequality holds without a constant. Of signs ±1 and N = 2 it is 0.354, and the moment
    /// 0.5.
    pub fn third_moment_of_mean_as_printed(&self, trajectories: usize) -> f64 {
        third_moment_of_mean_as_printed(self.third, trajectories)
    }
}

/// [`Moments::third_moment_of_mean`] of any x with these E‖x‖² and E‖x‖⁴.
pub fn third_moment_of_mean(second: f64, fourth: f64, samples: usize) -> f64 {
    let n = samples as f64;
    (n * fourth + 3.0 * n * (n - 1.0) * second * second).powf(0.75) / n.powi(3)
}

/// [`Moments::third_moment_of_mean_as_printed`] of any x with this E‖x‖³.
pub fn third_moment_of_mean_as_printed(third: f64, samples: usize) -> f64 {
    third * (samples as f64).powf(-1.5)
}

/// The two formulations and what is between them, exactly, by every N-tuple of inner trajectories.
#[derive(Clone, Debug)]
pub struct Formulations {
    /// F_N(θ) = E\[V(θ′_N)\], formulation II of Rothfuss et al. 2019.
    pub finite: f64,
    /// F_∞(θ) = V(θ′), θ′ = θ + η ∇V(θ), formulation I.
    pub limit: f64,
    /// ∇F_N = E\[V(θ′_N) Σ_i u_i + (I + η ∇ĝ) ∇V(θ′_N)\] (Tang 2022, Eq. 7), `[D]`.
    pub finite_gradient: Array1<f64>,
    /// ∇F_∞ = (I + η ∇²V(θ)) ∇V(θ′) (Eq. 12), `[D]`.
    pub limit_gradient: Array1<f64>,
    /// E\[(I + η Ĥ) ∇V(θ′_N)\], of the linearised score-function estimate (Eq. 11), `[D]`.
    pub linearised: Array1<f64>,
    /// V\[(I + η Ĥ) ∇V(θ′_N)\].
    pub linearised_variance: f64,
    /// E\[(I + η ∇ĝ) ∇V(θ′_N)\], J_N^(ii), `[D]`.
    pub finite_second: Array1<f64>,
    /// (I + η E\[∇ĝ\]) ∇V(θ′), J_∞^(ii), `[D]`.
    pub limit_second: Array1<f64>,
    /// η E\[(Ĥ − E Ĥ) (∇V(θ′_N) − E ∇V(θ′_N))\], `[D]`.
    pub covariance: Array1<f64>,
    /// (I + η ∇²V(θ)) (E ∇V(θ′_N) − ∇V(θ′)), `[D]`.
    pub displacement: Array1<f64>,
    /// E ‖θ′_N − θ′‖³ / η³, `E ‖ĝ − ∇V‖³`.
    pub third_moment: f64,
}

impl Formulations {
    /// At θ, `[S, A]`, with an inner step of rate η of N trajectories.
    ///
    /// # Errors
    ///
    /// Those of [`Outcomes::adapt`].
    pub fn of(outcomes: &Outcomes, logits: &Array2<f64>, rate: f64, trajectories: usize) -> Result<Self> {
        let here = outcomes.exact(logits)?;
        let there = outcomes.exact(&step(logits, &here.gradient, rate))?;
        let unit = Array2::<f64>::eye(outcomes.parameters());
        let zero = Array1::<f64>::zeros(outcomes.parameters());
        let (mut finite, mut third_moment) = (0.0, 0.0);
        let (mut score_term, mut finite_second, mut mean) = (zero.clone(), zero.clone(), zero.clone());
        let (mut fixed, mut hessian) = (unit.clone() * 0.0, unit.clone() * 0.0);
        let (mut estimates, mut gradients) = (Vec::new(), Vec::new());
        for adapted in outcomes.adapt(logits, rate, trajectories)? {
            let (p, exact) = (adapted.probability, outcomes.exact(&adapted.logits)?);
            finite += p * exact.value;
            third_moment += p * length(&(&adapted.gradient - &here.gradient)).powi(3);
            score_term.scaled_add(p * exact.value, &adapted.score);
            finite_second.scaled_add(p, &(&exact.gradient + &(adapted.fixed.dot(&exact.gradient) * rate)));
            mean.scaled_add(p, &exact.gradient);
            fixed.scaled_add(p, &adapted.fixed);
            hessian.scaled_add(p, &adapted.hessian);
            // (As a derivative of θ′, so that scores stand in front where Ĥ is not symmetric.)
            estimates.push((p, &exact.gradient + &(adapted.hessian.t().dot(&exact.gradient) * rate)));
            gradients.push((p, adapted.hessian, exact.gradient));
        }
        let (linearised, linearised_variance) = mean_and_variance(estimates.iter().map(|(p, x)| (*p, x)));
        let mut covariance = zero;
        for (p, estimate, gradient) in &gradients {
            covariance.scaled_add(p * rate, &(estimate - &hessian).t().dot(&(gradient - &mean)));
        }
        let exact_update = &unit + &(&here.hessian * rate);
        Ok(Self {
            finite,
            limit: there.value,
            finite_gradient: score_term + &finite_second,
            limit_gradient: exact_update.dot(&there.gradient),
            linearised,
            linearised_variance,
            finite_second,
            limit_second: (unit + fixed * rate).dot(&there.gradient),
            covariance,
            displacement: exact_update.dot(&(mean - there.gradient)),
            third_moment,
        })
    }

    /// How far E\[(I + η Ĥ) ∇V(θ′_N)\] − (I + η ∇²V) ∇V(θ′) is from Cov(η Ĥ, ∇V(θ′_N)) + (I + η ∇²V)(E ∇V(θ′_N) − ∇V(θ′)), the
    /// largest entry: 0, the bias of plugging two unbiased estimates into a product (Tang et al. 2021, section 2 and App. A), in
    /// full.
    pub fn plug_in_error(&self) -> f64 {
        let bias = &self.linearised - &self.limit_gradient;
        crate::truth::max_abs(&(bias - &self.covariance - &self.displacement))
    }
}

/// ‖E Ĵ_LSF − ∇F_∞‖ ≤ (1 + η L₁) L₁ η σ₁/√N + η² L₁ σ₁ √(2(σ₂₁² + σ₂₂²))/N, Prop. 24 with the √2 that it lacks; L₁ a Lipschitz
/// constant of ∇V.
///
/// Of E\[(I + X_N) Y_N\], Y_N = ∇V(θ′_N) − ∇V(θ′), E‖Y_N‖² ≤ L₁² η² σ₁²/N and X_N = η Ĥ.
pub fn bias_to_limit(lipschitz: f64, rate: f64, moments: &Moments, trajectories: usize) -> f64 {
    prop_24(lipschitz, rate, moments, moments.hessian_bound(), trajectories)
}

/// The same as printed, with √(σ₂₁² + σ₂₂²).
pub fn bias_to_limit_as_printed(lipschitz: f64, rate: f64, moments: &Moments, trajectories: usize) -> f64 {
    prop_24(lipschitz, rate, moments, moments.hessian_bound_as_printed(), trajectories)
}

fn prop_24(lipschitz: f64, rate: f64, moments: &Moments, hessian: f64, trajectories: usize) -> f64 {
    let (n, sigma) = (trajectories as f64, moments.gradient.sqrt());
    (1.0 + rate * lipschitz) * lipschitz * rate * sigma / n.sqrt()
        + rate * rate * lipschitz * sigma * hessian.sqrt() / n
}

/// ‖E Ĵ_LSF − ∇F_∞‖ ≤ η² σ₁/N · ((1 + η L₁) L₂ σ₁/2 + L₁ √V\[Ĥ₁\]), L₂ a Lipschitz constant of ∇²V: the same bias is O(1/N), not
/// only the O(1/√N) that Prop. 24 proves.
///
/// θ′_N − θ′ has mean 0, so that ‖E Y_N‖ ≤ L₂ E‖θ′_N − θ′‖²/2 = L₂ η² σ₁²/(2N); the covariance of X_N and Y_N is as in
/// [`bias_to_limit`], with the variance of Ĥ of one trajectory itself.
pub fn fast_bias_to_limit(lipschitz: f64, third: f64, rate: f64, moments: &Moments, trajectories: usize) -> f64 {
    let sigma = moments.gradient.sqrt();
    let displaced = (1.0 + rate * lipschitz) * third * sigma / 2.0;
    rate * rate * sigma / trajectories as f64 * (displaced + lipschitz * moments.hessian.sqrt())
}

/// ‖E Ĵ_LSF − ∇F_N‖ ≤ η² L₁/(2N) · E\[‖u‖ ‖R u‖²\]: the bias against the objective itself (Prop. 11 and 26, which prove O(1/√N)).
///
/// The two differ by what N E\[u₁ V(θ′_N)\] is replaced by (with whole returns). Let θ′_{−1} be θ′_N without τ₁: of u₁
/// independent, so that E\[u₁ V(θ′_{−1})\] = 0, and θ′_N − θ′_{−1} = (η/N) R₁u₁. So N E\[u₁ V(θ′_N)\] = N E\[u₁ (V(θ′_N) −
/// V(θ′_{−1}))\], which is η E\[u₁ R₁u₁ᵀ ∇V(θ′_N)\], LSF's, up to N E\[‖u₁‖ L₁/2 ‖(η/N) R₁u₁‖²\].
pub fn bias(lipschitz: f64, rate: f64, moments: &Moments, trajectories: usize) -> f64 {
    rate * rate * lipschitz / (2.0 * trajectories as f64) * moments.cubic
}

/// V\[(I + η Ĥ) ∇V(θ′_N)\] ≤ (2/N) (η² V\[Ĥ₁\] η_G² + (1 + η L₁)² L₁² η² σ₁²): the part of LSF's variance that the inner data
/// make, O(1/N) (Prop. 12 and 28, second part); η_G a bound of ‖∇V‖.
///
/// A variance is at most the mean square distance from any point, here (I + η ∇²V) ∇V(θ′).
pub fn inner_variance(gradient: f64, lipschitz: f64, rate: f64, moments: &Moments, trajectories: usize) -> f64 {
    let squares =
        moments.hessian * gradient.powi(2) + ((1.0 + rate * lipschitz) * lipschitz).powi(2) * moments.gradient;
    2.0 * rate * rate / trajectories as f64 * squares
}

/// |F_N − F_∞| ≤ η² L₁ σ₁²/(2N): the two formulations differ already as functions, for finite N (Tang 2022,
/// App. E). From V's Taylor expansion at θ′ = E θ′_N.
pub fn formulations(lipschitz: f64, rate: f64, moments: &Moments, trajectories: usize) -> f64 {
    rate * rate * lipschitz * moments.gradient / (2.0 * trajectories as f64)
}

/// ‖∇F_N − ∇F_∞‖ ≤ [`bias`] + [`fast_bias_to_limit`], O(1/N) (Prop. 25, which proves O(1/√N), by a moment inequality that does
/// not hold as printed).
pub fn gradients_of_formulations(lipschitz: f64, third: f64, rate: f64, moments: &Moments, trajectories: usize) -> f64 {
    bias(lipschitz, rate, moments, trajectories) + fast_bias_to_limit(lipschitz, third, rate, moments, trajectories)
}

/// The toy of sections 2.1 and 3 and Lemma 14, L(μ) = E\[X̄_N\], X ~ N(μ, σ²): the variances of the three estimates of its
/// gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Toy {
    /// μ.
    pub mean: f64,
    /// σ.
    pub std: f64,
    /// N.
    pub samples: usize,
}

impl Toy {
    /// Of the score function: (μ²/σ²) N + 2.
    ///
    /// X̄ Σ_i ε_i/σ with X̄ = μ + σ ε̄: the square of a standard normal number, of variance 2, plus μ/σ Σ ε_i, uncorrelated.
    pub fn score_function(&self) -> f64 {
        self.noise() * self.samples as f64 + 2.0
    }

    /// (μ²/σ²) N + 2/N, as printed in Lemma 14's proof (which has the formulas of the two estimates exchanged in part): 2/N is
    /// the variance of (1/N) Σ ε_i².
    pub fn score_function_as_printed(&self) -> f64 {
        self.noise() * self.samples as f64 + 2.0 / self.samples as f64
    }

    /// Of the linearised score function: (μ²/σ² + 2)/N, as printed.
    pub fn linearised_score_function(&self) -> f64 {
        (self.noise() + 2.0) / self.samples as f64
    }

    /// Of the path-wise estimate: 0, as printed; it is 1 whatever the samples are.
    pub fn path_wise(&self) -> f64 {
        0.0
    }

    /// V₀² N/σ²: of the score function where the value is V₀ whatever is done (App. D).
    pub fn constant(&self, value: f64) -> f64 {
        (value / self.std).powi(2) * self.samples as f64
    }

    fn noise(&self) -> f64 {
        (self.mean / self.std).powi(2)
    }
}
