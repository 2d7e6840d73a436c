//! Policies that see features of numbered states.

use ad::{DType, Handle, Value, Var};
use rand::Rng;

use super::{Dist, Numbers, Params, Policy};
use crate::rollout::Space;

/// A policy that is shown, of each numbered state, the row of that number of a table of features: so that any policy over
/// vectors or frames acts in a process that can be enumerated.
#[derive(Clone, Debug)]
pub struct OfFeatures<P> {
    /// Who sees them.
    pub policy: P,
    /// `[S, …]`, of floating-point numbers or bytes.
    pub features: Value<'static>,
}

impl<P: Policy> OfFeatures<P> {
    #[track_caller]
    fn features(&self, theta: &Params, states: Handle) -> Handle {
        let states = states.index();
        // (Who has no parameters computes in double precision.)
        let beside = theta.values().next().copied().unwrap_or_else(|| states.cast(DType::F64));
        beside.constant(self.features.view()).gather([states]).into()
    }
}

impl<P: Policy> Policy for OfFeatures<P> {
    fn init(&self, rng: &mut dyn Rng) -> Numbers {
        self.policy.init(rng)
    }

    fn spaces(&self) -> Option<[Space; 2]> {
        let [_, action] = self.policy.spaces()?;
        Some([Space::Discrete(self.features.shape()[0]), action])
    }

    #[track_caller]
    fn along(&self, theta: &Params, observations: Handle) -> Dist {
        self.policy.along(theta, self.features(theta, observations))
    }

    fn memory(&self) -> Vec<Vec<usize>> {
        self.policy.memory()
    }

    #[track_caller]
    fn once(&self, theta: &Params, memory: &[Var], observation: Handle) -> (Dist, Vec<Var>) {
        self.policy.once(theta, memory, self.features(theta, observation))
    }
}
