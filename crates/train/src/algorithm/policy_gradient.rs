//! Learning without adaptation: the plain policy gradient, and PPO.

use ad::Var;

use super::maml::value;
use super::{Adapted, Algorithm};
use crate::trajectories::Sampled;

/// REINFORCE with a baseline, or by a trust region TRPO: Σ_t A_t π/π_old, and a price on certainty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PolicyGradient {
    /// What a unit of mean entropy is worth.
    pub entropy: f64,
}

/// Proximal policy optimisation (Schulman et al. 2017): mean min(r A, clip(r, 1 − ε, 1 + ε) A), r = π/π_old, for several steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ppo {
    /// ε.
    pub clip: f64,
    /// What a unit of mean entropy is worth.
    pub entropy: f64,
}

impl Algorithm for PolicyGradient {
    fn inner(&self, data: &Sampled) -> Var {
        value(data)
    }

    fn outer(&self, adapted: &Adapted<'_>) -> Var {
        with_entropy(value(adapted.last), adapted.last, self.entropy)
    }
}

impl Algorithm for Ppo {
    fn inner(&self, data: &Sampled) -> Var {
        value(data)
    }

    fn outer(&self, adapted: &Adapted<'_>) -> Var {
        with_entropy(clipped(adapted.last, self.clip), adapted.last, self.entropy)
    }
}

/// min(r A, clip(r, 1 − ε, 1 + ε) A) as surrogates count steps.
#[track_caller]
pub(super) fn clipped(data: &Sampled, epsilon: f64) -> Var {
    let (ratio, advantages) = (data.off_policy.ratio(), data.advantages());
    data.over_steps((ratio * advantages).min(ratio.clip(1.0 - epsilon, 1.0 + epsilon) * advantages))
}

/// What is ascended, with what the mean entropy is worth beside it: if it is worth nothing, it need not have a closed form.
#[track_caller]
fn with_entropy(value: Var, data: &Sampled, worth: f64) -> Var {
    if worth == 0.0 { value } else { value + data.mean(data.dist.entropy()) * worth }
}
