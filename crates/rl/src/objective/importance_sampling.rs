//! Step-wise importance sampling, which on policy is DiCE.

use ad::Var;

use super::{Claim, Estimator};
use crate::batch::Batch;

/// Σ_t γ^t r_t Π_{k≤t} ρ_k. Unbiased at every order, with the largest variance.
///
/// On policy the product of ratios is the magic box of Σ_{k≤t} log π_θ(a_k|s_k): DiCE (Foerster et al. 2018). It uses no
/// critic: a truncated trajectory's end counts as 0.
#[derive(Clone, Copy, Debug)]
pub struct ImportanceSampling;

impl Estimator for ImportanceSampling {
    fn name(&self) -> String {
        "is".to_owned()
    }

    fn claim(&self) -> Claim {
        Claim::ALL
    }

    fn bootstraps(&self) -> bool {
        false
    }

    fn formula(&self, batch: &Batch) -> Var {
        batch.importance_weighted_sum(batch.rewards() * batch.discounts())
    }
}
