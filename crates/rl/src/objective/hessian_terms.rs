//! The terms that the Hessian of a value is the sum of.

use ad::Var;

use crate::batch::Batch;

/// ∇²V = H1 + H2 + H12 + H12ᵀ (Rothfuss et al. 2019, appendix B.1), estimated from a batch sampled on policy.
///
/// With u_t = ∇log π_t and A_t the advantage (with no critic the return-to-go, as in the paper):
///
/// - H1 = E Σ_t γ^t A_t u_t u_tᵀ
/// - H2 = E Σ_t γ^t A_t ∇²log π_t
/// - H12 = E Σ_t γ^t A_t (Σ_{k<t} u_k) u_tᵀ, which the paper writes as E Σ_k u_k ∇Q(s_k, a_k)ᵀ: how an action changes what
///   later actions are worth.
///
/// The usual surrogate (AD) has the Hessian H2, LVC has H1 + H2, and what a DiCE Hessian adds is H12 + H12ᵀ, the part with
/// the large variance. So the biases of their Hessians are −(H1 + H12 + H12ᵀ) and −(H12 + H12ᵀ), with the critic that they
/// use. (A critic moves E Σ γ^t V(s_t) u_t u_tᵀ from H1 to H2, and changes neither their sum nor H12.)
#[derive(Clone, Copy, Debug)]
pub struct HessianTerms {
    /// H1, of twice θ's shape.
    pub h1: Var,
    /// H2, of twice θ's shape.
    pub h2: Var,
    /// H12, of twice θ's shape; the first axes are those of the earlier steps' score.
    pub h12: Var,
    /// H12ᵀ.
    pub h12_transposed: Var,
}

impl HessianTerms {
    /// The terms' means over the trajectories of a batch. The scores of all steps, `[N, H, |θ|]`, are made on the way: for
    /// small policies.
    ///
    /// Panics if the batch is off policy.
    #[track_caller]
    pub fn new(batch: &Batch, theta: Var) -> Self {
        assert!(!batch.is_off_policy(), "HessianTerms: the decomposition holds on policy, but the batch is off policy");
        let (trajectories, horizon, size) = (batch.steps.trajectories(), batch.steps.horizon(), theta.size());
        let weight = (batch.advantages() * batch.discounts()).stop_gradient() / trajectories as f64;
        let score = batch.log_prob().jacobian(theta).reshape(&[trajectories, horizon, size]);
        let before = score.cumsum_exclusive(1);
        let weighted = score * weight.insert_axis(2);
        let square = [theta.shape(), theta.shape()].concat();
        let steps = [trajectories * horizon, size];
        let (score, before, weighted) = (score.reshape(&steps), before.reshape(&steps), weighted.reshape(&steps));
        Self {
            h1: weighted.t().matmul(score).reshape(&square),
            h2: (batch.log_prob() * weight).sum().hessian(theta),
            h12: before.t().matmul(weighted).reshape(&square),
            h12_transposed: weighted.t().matmul(before).reshape(&square),
        }
    }

    /// H1 + H2 + H12 + H12ᵀ, the Hessian.
    #[track_caller]
    pub fn sum(&self) -> Var {
        self.h1 + self.h2 + self.h12 + self.h12_transposed
    }
}
