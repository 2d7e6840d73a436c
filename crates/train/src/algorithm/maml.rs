//! MAML: the value of what an inner step leads to, without regard to how θ changes the data of the inner step
//! ("formulation I" of Rothfuss et al. 2019).

use ad::Var;
use rl::objective::TayPo;

use super::{Adapted, Algorithm, InnerObjective};
use crate::trajectories::Sampled;

/// J(θ) = E[V(θ′)], θ′ = θ + α ∇J^In(θ; D):
///
/// - inside, by the log-likelihood it is MAML (Finn et al. 2017), by LVC the LVC-VPG and LVC-TRPO of Rothfuss et al. 2019, by
///   DiCE the TRPO-DiCE of Tang et al. 2021 and LSF (Tang 2022, Algorithm 1), by its control variate TMAML (Liu, Socher & Xiong
///   2019);
/// - outside, the surrogate Σ_t A_t π_θ′/π_old of VPG and TRPO.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Maml {
    /// What is ascended inside.
    pub inner: InnerObjective,
    /// First-order MAML: θ′ is differentiated as if it were θ plus a constant.
    pub first_order: bool,
}

impl Algorithm for Maml {
    fn inner(&self, data: &Sampled) -> Var {
        self.inner.of(data)
    }

    fn first_order(&self) -> bool {
        self.first_order
    }

    fn outer(&self, adapted: &Adapted<'_>) -> Var {
        value(adapted.last)
    }
}

/// V(θ′) as VPG and TRPO estimate its changes: V̂ + Σ_t A_t (π_θ′/π_old − 1).
#[track_caller]
pub(super) fn value(last: &Sampled) -> Var {
    last.surrogate(&TayPo { order: 1 }, &last.off_policy)
}
