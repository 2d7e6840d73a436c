//! ProMP: proximal meta-policy search (Rothfuss et al. 2019).

use ad::Var;

use super::policy_gradient::clipped;
use super::{Adapted, Algorithm, InnerObjective};
use crate::trajectories::Sampled;

/// Inside, LVC (by [`InnerObjective::TayPo2`] it is the ProMP-TayPO-2 of Tang et al. 2021). Outside, the clipped ratio of PPO on the
/// data of the adapted policy, minus a price on how far each inner step's policy is from what sampled its data:
///
/// mean min(r A, clip(r, 1 − ε, 1 + ε) A) − (1/K) Σ_k η_k KL(π_{θ_o, k} ‖ π_{θ, k}),  r = π_θ′ / π_{θ′_o}.
///
/// So that several outer steps may be made with one set of trajectories.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Promp {
    /// What is ascended inside.
    pub inner: InnerObjective,
    /// ε.
    pub clip: f64,
}

impl Algorithm for Promp {
    fn inner(&self, data: &Sampled) -> Var {
        self.inner.of(data)
    }

    fn outer(&self, adapted: &Adapted<'_>) -> Var {
        let gain = clipped(adapted.last, self.clip);
        let Some(price) = adapted.kl_price else { return gain };
        let priced = adapted.steps.iter().enumerate().map(|(step, data)| data.kl() * price.at(0, step));
        let prices = priced.reduce(|sum, one| sum + one).expect("an inner step");
        gain - prices / adapted.steps.len() as f64
    }
}
