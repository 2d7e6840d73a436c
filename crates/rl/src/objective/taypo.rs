//! Taylor expansions of the value in the policy, by order. The first is LVC.

use ad::Var;

use super::{Claim, End, Estimator, Facts, Orders};
use crate::batch::Batch;

/// TayPO-K: V̂^μ + Σ_t γ^t d_t A_t Σ_{j<K} e_j(d_0, …, d_{t−1}), where d_t = ρ_t − 1 and e_j is the elementary symmetric
/// polynomial of degree j: for K = 2, Σ_t γ^t d_t A_t (1 + Σ_{k<t} d_k).
///
/// Tang et al. 2020; Tang et al. 2021, eq. 6, with the advantage in place of Q, which lowers the variance and changes no
/// expectation. Order 1 is LVC (Rothfuss et al. 2019); with the old policy as the batch's behaviour policy, LVC on π/π_old.
/// The polynomials are nested exclusive sums, O(K·H). On policy it is unbiased up to order K; off policy its value is biased
/// by O(‖π − μ‖^{K+1}) and its m-th derivative by O(‖π − μ‖^{K+1−m}), the K-th by O(‖π − μ‖). Where no trajectory has more
/// than K steps it is the doubly robust estimate.
#[derive(Clone, Copy, Debug)]
pub struct TayPo {
    /// K, at least 1.
    pub order: usize,
}

impl Estimator for TayPo {
    fn facts(&self) -> Facts {
        let name = if self.order == 1 { "lvc".to_owned() } else { format!("taypo{}", self.order) };
        let claim = Claim { off_policy_residual: Some(self.order), ..Claim::on_policy(Orders::UpTo(self.order)) };
        Facts { name, claim, end: End::Critic, smallest_batch: 1 }
    }

    fn formula(&self, batch: &Batch) -> Var {
        assert!(self.order >= 1, "TayPO: the order must be at least 1");
        let deviation = batch.steps.on_steps(batch.ratio() - 1.0);
        let first = deviation * batch.credit(batch.advantages());
        if self.order == 1 {
            return batch.plain_value() + batch.discounted_sum(first);
        }
        let mut polynomial = deviation.cumsum_exclusive(1);
        let mut sum = polynomial;
        for _ in 2..self.order {
            polynomial = (deviation * polynomial).cumsum_exclusive(1);
            sum += polynomial;
        }
        batch.plain_value() + batch.discounted_sum(first * (sum + 1.0))
    }
}
