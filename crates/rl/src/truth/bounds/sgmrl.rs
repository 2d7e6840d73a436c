//! The convergence theory of SG-MRL (Fallah et al. 2021, sections 4.1, F and G): how large its gradient estimate can be, how
//! curved its objective F_N = E\[V(θ^ζ)\], and what its variance is made of.
//!
//! Three printed statements are wrong, and each is corrected here: G_V and L_V take R for the largest value
//! ([`gradient_bound_as_printed`]); L_V of one step (Eq. 17 and 67) is less than the general one it is said to follow from
//! ([`smoothness_as_printed`]); Lemma 7 takes outer trajectories for independent that share their inner data ([`Variance`]).

use ndarray::{Array1, Array2};

use super::outcomes::{Adapted, Outcomes, mean_and_variance};
use super::softmax::Constants;
use crate::error::Result;

/// Of ζ inner steps of rate α with N trajectories each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inner {
    /// α.
    pub rate: f64,
    /// ζ.
    pub steps: usize,
    /// N, the paper's D_in.
    pub trajectories: usize,
}

impl Inner {
    /// N H G: what the score of all of one step's data is at most (Lemma 5).
    fn score(&self, constants: &Constants) -> f64 {
        (self.trajectories * constants.steps) as f64 * constants.score
    }
}

/// Σ_{t<ζ} b^t.
fn powers(b: f64, steps: usize) -> f64 {
    (0..steps).map(|t| b.powi(t as i32)).sum()
}

/// G_V = b^ζ η_G + V_max N H G Σ_{t<ζ} b^t, b = 1 + α η_H: what the gradient estimate (Eq. 13, 39) is at most for any data, and so
/// ‖∇F_N‖ (Prop. 1 ii, Lemma 6, Theorem 3, Eq. 48).
///
/// The paper has b ≤ 2 for α ≤ 1/η_H, and R for V_max = R Σ_{t<H} γ^t: a sum of H rewards is not at most one reward.
/// It holds for either derivative of the update, at fixed data (which is unbiased) and with outer products (as printed).
pub fn gradient_bound(constants: &Constants, inner: &Inner) -> f64 {
    let b = 1.0 + inner.rate * constants.hessian();
    let scores = constants.value() * inner.score(constants) * powers(b, inner.steps);
    b.powi(inner.steps as i32) * constants.gradient() + scores
}

/// 2^ζ G R ((1 − γ)⁻² + N H), G_V as printed (Prop. 1 ii, Eq. 48), for α ≤ 1/η_H. Violated: with r = 1, γ = 0.9, H = 21 and N =
/// 10 there are data for which the estimate is 2738 long, and this is 877.
pub fn gradient_bound_as_printed(constants: &Constants, inner: &Inner) -> f64 {
    let steps = (inner.trajectories * constants.steps) as f64;
    let both = constants.credits_as_printed() + steps;
    2.0_f64.powi(inner.steps as i32) * constants.score * constants.reward * both
}

/// A Lipschitz constant of ∇F_N, what ‖∇²F_N‖ is at most (Prop. 1 i, Theorem 3), for any α ≥ 0 and ζ.
///
/// F_N = E\[V(θ^ζ)\], so ∇F_N = E\[φ\], φ = A_ζᵀ ∇V(θ^ζ) + V(θ^ζ) Σ_{t≤ζ} A_{t−1}ᵀ s_t, where A_t = ∂θ^t/∂θ at fixed data and s_t
/// the score of step t's data at θ^{t−1}. With h and r the bounds of the fixed-data derivative of ĝ and of its change
/// ([`Constants::fixed`], [`Constants::fixed_change`]), b = 1 + α h, S = N H G and Σ = Σ_{t<ζ} b^t:
///
/// - ‖A_t‖ ≤ b^t, and A_t is Lipschitz with a_t = b a_{t−1} + α r b^{2(t−1)}, a_0 = 0;
/// - ‖φ‖ ≤ b^ζ η_G + V_max S Σ;
/// - φ is Lipschitz with a_ζ η_G + b^{2ζ} η_H + V_max Σ_{t≤ζ} (a_{t−1} S + b^{2(t−1)} N H L) + b^ζ η_G S Σ;
/// - as an expectation under the data's distribution (Lemma 3), ∇F_N is Lipschitz with that plus ‖φ‖ S Σ.
///
/// The printed Lemma 4 (2), a_t = t α η_ρ b^{t−1}, forgets that step t's derivative is taken at θ^{t−1}, which moves b^{t−1}
/// times as fast as θ: it is less than the true a_t from t = 2 on.
pub fn smoothness(constants: &Constants, inner: &Inner) -> f64 {
    let b = 1.0 + inner.rate * constants.fixed();
    let power = |exponent: usize| b.powi(exponent as i32);
    let score = inner.score(constants);
    let curvature = (inner.trajectories * constants.steps) as f64 * constants.curvature;
    let (mut change, mut scores) = (0.0, 0.0);
    for t in 1..=inner.steps {
        scores += change * score + power(2 * (t - 1)) * curvature;
        change = b * change + inner.rate * constants.fixed_change() * power(2 * (t - 1));
    }
    let sum = powers(b, inner.steps);
    let estimate = power(inner.steps) * constants.gradient() + constants.value() * score * sum;
    let lipschitz = change * constants.gradient()
        + power(2 * inner.steps) * constants.hessian()
        + constants.value() * scores
        + power(inner.steps) * constants.gradient() * score * sum;
    lipschitz + estimate * score * sum
}

/// L_V(1) of Theorem 3 (Eq. 49) as printed, for one step of rate α ≤ 1/η_H:
/// α η_ρ η_G + 4 η_H + 2 N H (R (2L + 3 N G² H) + 4 η_G G).
pub fn smoothness_of_theorem_3(constants: &Constants, inner: &Inner) -> f64 {
    let (eta, steps, n) = (constants.printed(), constants.steps as f64, inner.trajectories as f64);
    let (g, l) = (constants.score, constants.curvature);
    let scores = constants.reward * (2.0 * l + 3.0 * n * g * g * steps) + 4.0 * eta.gradient * g;
    inner.rate * eta.hessian_change * eta.gradient + 4.0 * eta.hessian + 2.0 * n * steps * scores
}

/// L_V of Prop. 1 (Eq. 17 and 67) as printed, for one step: α η_ρ η_G + 4 η_H + 8 R N H (L + N G² H).
///
/// Said to be an upper bound of [`smoothness_of_theorem_3`]. It is not: η_G stands for R there. With γ = 0.99, H = 100, N = 20
/// and softmax policies they are 7.2·10⁷ and 3.8·10⁸.
pub fn smoothness_as_printed(constants: &Constants, inner: &Inner) -> f64 {
    let (eta, steps, n) = (constants.printed(), constants.steps as f64, inner.trajectories as f64);
    let (g, l) = (constants.score, constants.curvature);
    let scores = 8.0 * constants.reward * n * steps * (l + n * g * g * steps);
    inner.rate * eta.hessian_change * eta.gradient + 4.0 * eta.hessian + scores
}

/// Which derivative of the inner update a gradient through it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Derivative {
    /// That of ĝ at fixed data: with the scores of the data it is unbiased for ∇F_N.
    FixedData,
    /// ĝ's with the outer product of scores, the estimate of ∇²V (Eq. 8).
    OuterProducts,
}

/// What one outer trajectory tells: an estimate of ∇F_N given the inner data, and its probability.
fn given(
    adapted: &Adapted,
    derivative: Derivative,
    scores: f64,
    rate: f64,
    value: f64,
    gradient: &Array1<f64>,
) -> Array1<f64> {
    let update = match derivative {
        Derivative::FixedData => &adapted.fixed,
        Derivative::OuterProducts => &adapted.hessian,
    };
    // (As printed: g sᵀ, which is not symmetric where returns-to-go are credited, is from the left.)
    gradient + &(update.dot(gradient) * rate) + &adapted.score * (value * scores)
}

/// The variance of a gradient estimate through one inner step of B tasks, N inner and M outer trajectories, in parts that are
/// exact, by the law of total variance (the sum over all entries):
///
/// Var = (1/B) · (tasks + inner + outer/M), tasks = Var_i E\[X|i\], inner = E Var(E\[X|i, D_in\] | i), outer = E Var(X_1|i, D_in).
///
/// Fallah et al. 2021, Lemma 7, prints Var ≤ G_V²/(B M), because X is a mean over outer trajectories of estimates that were
/// independent. They are not: the inner data is theirs all. At M = ∞ what is left is (tasks + inner)/B > 0. Theorems 1 and 4 and
/// Cor. 1 inherit it, and hold with [`Variance::bound`] in its place. For Tang 2022 (Prop. 12 and 28) the three parts are its
/// O(1/B), O(1/N) and O(1/M).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Variance {
    /// Var_i E\[X|i\].
    pub tasks: f64,
    /// E Var(E\[X|i, D_in\] | i).
    pub inner: f64,
    /// E Var(X_1|i, D_in), of one outer trajectory.
    pub outer: f64,
}

impl Variance {
    /// Of an estimate with these tasks, uniformly drawn, at the same θ, `[S, A]`: with the scores of the inner data times
    /// `scores` (1: SG-MRL or the score function, 0: none) and this derivative of the update; the outer value and gradient as
    /// [`Outcomes`] credits.
    ///
    /// # Errors
    ///
    /// Those of [`Outcomes::adapt`]; [`Empty`](crate::error::Error::Empty) without tasks.
    pub fn of(
        tasks: &[Outcomes],
        logits: &Array2<f64>,
        inner: &Inner,
        derivative: Derivative,
        scores: f64,
    ) -> Result<Self> {
        if tasks.is_empty() {
            return Err(crate::error::Error::Empty { what: "tasks" });
        }
        let weight = 1.0 / tasks.len() as f64;
        let (mut means, mut parts) = (Vec::new(), Self::default());
        for task in tasks {
            let mut conditional = Vec::new();
            for adapted in task.adapt(logits, inner.rate, inner.trajectories)? {
                let estimates: Vec<(f64, Array1<f64>)> = task
                    .at(&adapted.logits)?
                    .into_iter()
                    .map(|outcome| {
                        let estimate = given(&adapted, derivative, scores, inner.rate, outcome.gain, &outcome.gradient);
                        (outcome.probability, estimate)
                    })
                    .collect();
                let (mean, variance) = mean_and_variance(estimates.iter().map(|(p, x)| (*p, x)));
                parts.outer += weight * adapted.probability * variance;
                conditional.push((adapted.probability, mean));
            }
            let (mean, variance) = mean_and_variance(conditional.iter().map(|(p, x)| (*p, x)));
            parts.inner += weight * variance;
            means.push(mean);
        }
        parts.tasks = mean_and_variance(means.iter().map(|mean| (weight, mean))).1;
        Ok(parts)
    }

    /// The variance with B tasks and M outer trajectories each.
    pub fn total(&self, tasks: usize, outer: usize) -> f64 {
        (self.tasks + self.inner + self.outer / outer as f64) / tasks as f64
    }

    /// G_V²/B, which bounds it at every M: what Lemma 7 is left with, as every estimate is at most G_V ([`gradient_bound`]) and
    /// tasks are drawn independently.
    pub fn bound(gradient_bound: f64, tasks: usize) -> f64 {
        gradient_bound.powi(2) / tasks as f64
    }

    /// G_V²/(B M), Lemma 7 (Eq. 72) as printed.
    pub fn bound_as_printed(gradient_bound: f64, tasks: usize, outer: f64) -> f64 {
        gradient_bound.powi(2) / (tasks as f64 * outer)
    }
}

/// Every estimate with B = 1 and M outer trajectories there is, each with its probability: what [`Variance`] splits, listed.
///
/// # Errors
///
/// Those of [`Outcomes::adapt`].
pub fn estimates(
    task: &Outcomes,
    logits: &Array2<f64>,
    inner: &Inner,
    outer: usize,
    derivative: Derivative,
    scores: f64,
) -> Result<Vec<(f64, Array1<f64>)>> {
    let mut all = Vec::new();
    for adapted in task.adapt(logits, inner.rate, inner.trajectories)? {
        let (n, size) = (outer as f64, task.parameters());
        let single = task.at(&adapted.logits)?;
        for tuple in crate::truth::tuples::tuples(single.len(), outer)?.chunks(outer) {
            let (mut probability, mut value, mut gradient) = (adapted.probability, 0.0, Array1::zeros(size));
            for &member in tuple {
                probability *= single[member].probability;
                value += single[member].gain / n;
                gradient.scaled_add(1.0 / n, &single[member].gradient);
            }
            all.push((probability, given(&adapted, derivative, scores, inner.rate, value, &gradient)));
        }
    }
    Ok(all)
}
