//! Loaded DiCE, at λ = τ = 1.

use ad::Var;

use super::{Claim, Estimator};
use crate::batch::Batch;

/// V̂^μ + Σ_t γ^t A_t (W_t − W_{t−1}), where W_t = Π_{k≤t} ρ_k and A_t is the Monte-Carlo advantage.
///
/// Farquhar, Whiteson & Foerster 2019; at λ = τ = 1 the baseline of Mao et al. 2019. All its derivatives are those of the
/// doubly robust estimate, sample by sample: the two differ by terms without θ, which sum to 0.
#[derive(Clone, Copy, Debug)]
pub struct LoadedDice;

impl Estimator for LoadedDice {
    fn name(&self) -> String {
        "loaded".to_owned()
    }

    fn claim(&self) -> Claim {
        Claim::ALL
    }

    fn bootstraps(&self) -> bool {
        true
    }

    fn formula(&self, batch: &Batch) -> Var {
        let increments = batch.cumulative_ratio() - batch.cumulative_ratio_before();
        batch.plain_value() + batch.discounted_sum(batch.advantages() * increments)
    }
}
