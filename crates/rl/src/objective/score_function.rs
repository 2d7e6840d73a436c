//! The policy-gradient surrogate, as it is usually written and differentiated: right once, wrong twice.

use ad::Var;

use super::{Claim, End, Estimator, Facts, Orders};
use crate::batch::Batch;

/// "AD", the surrogate of the original MAML: Σ_t γ^t A_t log π_θ(a_t|s_t), A_t the advantage (with no critic, the
/// return-to-go).
///
/// Its gradient is the policy gradient. Its value means nothing, and its Hessian lacks the terms
/// E[Σ_t γ^t A_t u_t u_tᵀ] and those that couple steps, u_t = ∇log π_θ(a_t|s_t); see Finn et al. 2017, and Liu et al. 2022
/// for what follows.
#[derive(Clone, Copy, Debug)]
pub struct ScoreFunction;

impl Estimator for ScoreFunction {
    fn facts(&self) -> Facts {
        Facts { name: "ad".into(), claim: Claim::on_policy(Orders::Only(1)), end: End::Critic, smallest_batch: 1 }
    }

    fn formula(&self, batch: &Batch) -> Var {
        batch.discounted_sum(batch.credit(batch.advantages()) * batch.log_prob())
    }
}
