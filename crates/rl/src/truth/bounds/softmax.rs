//! How steep and how curved log π, a trajectory's estimates and the value itself can be: the constants of Fallah et al. 2021,
//! Assumptions 1 to 3 and Lemma 1, for softmax policies over tables, where they are numbers.

use ndarray::{Array1, Array2};

use super::linear::{length, operator_norm};
use crate::error::{Error, Result, check_discount, check_finite};
use crate::rollout::check_shape;
use crate::truth::max_abs;

/// G: ‖∇log π(a|s)‖ ≤ √2 for every softmax policy over a table (Fallah et al. 2021, Assumption 2; Tang 2022, Assumption 9).
///
/// The score is 1_a − π(·|s), whose square is (1 − π_a)² + Σ_{b≠a} π_b² < 2. Approached where an action is taken that is hardly
/// ever taken, and another one nearly always.
pub const SCORE: f64 = std::f64::consts::SQRT_2;

/// L: ‖∇²log π(a|s)‖ ≤ ½ (Assumption 2), as an operator.
///
/// vᵀ∇²log π v = −Var_π(v_a), and a number between x and y has a variance of at most (x − y)²/4 ≤ ‖v‖²/2. Reached with two
/// actions at ½.
pub const CURVATURE: f64 = 0.5;

/// ρ: ‖∇²log π_θ(a|s) − ∇²log π_θ′(a|s)‖ ≤ √6/9 ‖θ − θ′‖ (Assumption 3): 0.2722.
///
/// The third derivative of log π along unit vectors is largest with all three equal (Banach, for symmetric forms), where it is the
/// third central moment of v_a: at most √3/18 times the third power of v's range, which is at most √2. Reached with two actions
/// at ½ ± √3/6.
pub const THIRD: f64 = 0.272_165_526_975_908_7;

/// What Lemma 1 of Fallah et al. 2021 is about: rewards up to R, trajectories of up to H steps (the paper's H + 1), a discount, and
/// the constants G, L, ρ of the policy.
///
/// Where the paper has 1/(1 − γ)² stands here Σ_{t<H} (t + 1) γ^t, which is smaller and what the proofs need: the credits are
/// Σ_t Σ_{l≥t} γ^l |r_l| ≤ R Σ_l (l + 1) γ^l. It is also true for γ = 1, and for rewards of both signs with |r| ≤ R.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constants {
    /// R, the largest |r|.
    pub reward: f64,
    /// H, the number of steps.
    pub steps: usize,
    /// γ.
    pub gamma: f64,
    /// G of the policy.
    pub score: f64,
    /// L of the policy.
    pub curvature: f64,
    /// ρ of the policy.
    pub third: f64,
}

impl Constants {
    /// For softmax policies over tables: G = √2, L = ½, ρ = √6/9.
    ///
    /// # Errors
    ///
    /// [`Error::Decay`], [`Error::Empty`] for no step, [`Error::NotFinite`].
    pub fn softmax(reward: f64, steps: usize, gamma: f64) -> Result<Self> {
        check_discount(gamma)?;
        if steps == 0 {
            return Err(Error::Empty { what: "steps" });
        }
        check_finite([&reward], |_| "the largest reward".to_owned())?;
        Ok(Self { reward: reward.abs(), steps, gamma, score: SCORE, curvature: CURVATURE, third: THIRD })
    }

    /// Σ_{t<H} γ^t.
    pub fn discounts(&self) -> f64 {
        (0..self.steps).rev().fold(0.0, |sum, _| 1.0 + self.gamma * sum)
    }

    /// Σ_{t<H} (t + 1) γ^t.
    pub fn credits(&self) -> f64 {
        (0..self.steps).map(|t| (t + 1) as f64 * self.gamma.powi(t as i32)).sum()
    }

    /// What |V| is at most, R Σ γ^t. (Fallah et al. 2021 have R itself, in Prop. 1 ii, Eq. 69 and Theorem 1: wrong from two steps
    /// on.)
    pub fn value(&self) -> f64 {
        self.reward * self.discounts()
    }

    /// η_G = G R Σ (t + 1) γ^t: what ‖g(τ; θ)‖, ‖∇V‖ and every mean of g are at most (Lemma 1 i). g credits with what follows.
    pub fn gradient(&self) -> f64 {
        self.score * self.reward * self.credits()
    }

    /// η_H = (H G² + L) R Σ (t + 1) γ^t: what ‖g ∇log pᵀ + ∇g‖ and ‖∇²V‖ are at most, and a Lipschitz constant of ∇V (Lemma 1 ii).
    pub fn hessian(&self) -> f64 {
        (self.steps as f64 * self.score.powi(2) + self.curvature) * self.reward * self.credits()
    }

    /// L R Σ (t + 1) γ^t: what ‖∇g‖, the derivative at fixed data, is at most, and a Lipschitz constant of g(τ; ·).
    pub fn fixed(&self) -> f64 {
        self.curvature * self.reward * self.credits()
    }

    /// ρ R Σ (t + 1) γ^t: a Lipschitz constant of the derivative at fixed data, ∇g(τ; ·).
    pub fn fixed_change(&self) -> f64 {
        self.third * self.reward * self.credits()
    }

    /// η_ρ = (2 H G L + ρ) R Σ (t + 1) γ^t: a Lipschitz constant of g ∇log pᵀ + ∇g at fixed data (Lemma 1 iii).
    pub fn hessian_change(&self) -> f64 {
        let both = 2.0 * self.steps as f64 * self.score * self.curvature + self.third;
        both * self.reward * self.credits()
    }

    /// η_ρ + η_H H G: a Lipschitz constant of ∇²V. (∇²V is an expectation under p_θ, so that its derivative has the score too:
    /// Fallah et al. 2021, Lemma 3. η_ρ alone is that of fixed data.)
    pub fn third_derivative(&self) -> f64 {
        self.hessian_change() + self.hessian() * self.steps as f64 * self.score
    }

    /// Lemma 1's factor 1/(1 − γ)² for [`credits`](Self::credits), infinite at γ = 1.
    pub fn credits_as_printed(&self) -> f64 {
        (1.0 - self.gamma).powi(-2)
    }

    /// The same constants with another factor for the credits: with [`credits_as_printed`](Self::credits_as_printed), η as in the
    /// paper.
    pub fn printed(&self) -> Printed {
        let credits = self.credits_as_printed() * self.reward;
        let steps = self.steps as f64;
        Printed {
            gradient: self.score * credits,
            hessian: (steps * self.score.powi(2) + self.curvature) * credits,
            hessian_change: (2.0 * steps * self.score * self.curvature + self.third) * credits,
        }
    }
}

/// η_G, η_H and η_ρ with 1/(1 − γ)², as Fallah et al. 2021 print them. (True, but larger.)
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Printed {
    /// η_G.
    pub gradient: f64,
    /// η_H.
    pub hessian: f64,
    /// η_ρ.
    pub hessian_change: f64,
}

/// ‖∇log π(a|s)‖, the largest over all actions and states, of a policy π(a|s), `[S, A]`: at most [`SCORE`].
pub fn largest_score(policy: &Array2<f64>) -> f64 {
    let score = |((s, a), _): ((usize, usize), &f64)| {
        length(&Array1::from_shape_fn(policy.ncols(), |b| f64::from(a == b) - policy[[s, b]]))
    };
    max_abs(&policy.indexed_iter().map(score).collect::<Vec<_>>())
}

/// ∇²log π(·|s) = π πᵀ − diag π, `[A, A]`, of one row of a policy. It is the same for every action.
fn curvature(row: ndarray::ArrayView1<'_, f64>) -> Array2<f64> {
    Array2::from_shape_fn((row.len(), row.len()), |(b, c)| row[b] * (row[c] - f64::from(b == c)))
}

/// ‖∇²log π(a|s)‖, the largest over states, of a policy π(a|s), `[S, A]`: at most [`CURVATURE`].
pub fn largest_curvature(policy: &Array2<f64>) -> f64 {
    max_abs(&policy.rows().into_iter().map(|row| operator_norm(curvature(row).view())).collect::<Vec<_>>())
}

/// ‖∇²log π_θ(a|s) − ∇²log π_θ′(a|s)‖ / ‖θ(s) − θ′(s)‖, the largest over states, of two tables of logits, `[S, A]`: at most
/// [`THIRD`].
///
/// # Errors
///
/// [`Error::Shape`] for tables of different shapes.
pub fn largest_change_of_curvature(logits: &Array2<f64>, other: &Array2<f64>) -> Result<f64> {
    check_shape("the other logits", other.shape(), logits.shape())?;
    let (policy, changed) = (crate::policy::softmax(logits), crate::policy::softmax(other));
    let change = |s: usize| {
        let distance = length(&(&logits.row(s) - &other.row(s)));
        let change = operator_norm((curvature(policy.row(s)) - curvature(changed.row(s))).view());
        if distance == 0.0 { 0.0 } else { change / distance }
    };
    Ok(max_abs(&(0..logits.nrows()).map(change).collect::<Vec<_>>()))
}
