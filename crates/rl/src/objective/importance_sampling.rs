//! Importance sampling: step by step, which on policy is DiCE, and by one step alone.

use ad::Var;

use super::{Claim, End, Estimator, Facts, Orders};
use crate::batch::Batch;

/// Σ_t γ^t r_t Π_{k≤t} ρ_k. Unbiased at every order, with the largest variance.
///
/// On policy the product of ratios is the magic box of Σ_{k≤t} log π_θ(a_k|s_k): DiCE (Foerster et al. 2018). It uses no
/// critic: a truncated trajectory's end counts as 0.
#[derive(Clone, Copy, Debug)]
pub struct ImportanceSampling;

impl Estimator for ImportanceSampling {
    fn facts(&self) -> Facts {
        Facts { name: "is".into(), claim: Claim::ALL, end: End::Nothing, smallest_batch: 1 }
    }

    fn formula(&self, batch: &Batch) -> Var {
        batch.importance_weighted_sum(batch.credit(batch.rewards()) * batch.discounts())
    }
}

/// R (1 + Σ_t (ρ_t − 1)), R = Σ_t γ^t r_t: the whole return, weighted by each step's ratio alone.
///
/// The off-policy inner estimator of Liu et al. 2022, Sec. 4.4 (E Σ_t ρ_t R, from which it differs by what does not depend on θ):
/// trajectories that were sampled earlier are used again. On policy its gradient is the policy gradient; off policy products of
/// two ratios and more are left out, so that the value is biased by O(‖π − μ‖²) and the gradient by O(‖π − μ‖).
#[derive(Clone, Copy, Debug)]
pub struct OneStepImportanceSampling;

impl Estimator for OneStepImportanceSampling {
    fn facts(&self) -> Facts {
        let claim = Claim { off_policy_residual: Some(1), ..Claim::on_policy(Orders::UpTo(1)) };
        Facts { name: "is_one_step".into(), claim, end: End::Nothing, smallest_batch: 1 }
    }

    fn formula(&self, batch: &Batch) -> Var {
        let deviation = batch.steps.on_steps(batch.ratio() - 1.0);
        batch.discounted_sum(batch.rewards()) * (deviation.sum_axes(&[1]) + 1.0)
    }
}
