//! A logit for each state: the policy of two actions over numbered states.

use ad::{Handle, Var};
use indexmap::indexmap;
use ndarray::{ArrayD, ArrayView1};
use rand::Rng;

use super::{Categorical, Dist, Numbers, Params, Policy, parameter};
use crate::rollout::Space;

/// π(0|s) = σ(θ\[s\]) and π(1|s) = σ(−θ\[s\]), of numbered states. Its parameters are one leaf, `logits`, `[S]`.
///
/// As players of iterated games have it (Foerster et al. 2018): a [`Table`](super::Table) whose logits of action 1 are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sigmoid {
    /// S.
    pub states: usize,
}

impl Sigmoid {
    /// The name of its only leaf.
    pub const LOGITS: &'static str = "logits";

    /// The parameters of a policy with these logits, `[S]`.
    pub fn params(logits: Var) -> Params {
        indexmap! { Self::LOGITS.to_owned() => logits }
    }

    /// The same as numbers.
    pub fn numbers<'a>(logits: impl Into<ArrayView1<'a, f64>>) -> Numbers {
        indexmap! { Self::LOGITS.to_owned() => logits.into().to_owned().into_dyn() }
    }

    /// π(a|s), `[S, 2]`, of these logits, `[S]`.
    #[track_caller]
    pub fn probabilities(logits: Var) -> Var {
        Var::stack(&[logits.sigmoid(), (-logits).sigmoid()], 1)
    }
}

impl Policy for Sigmoid {
    /// All 0: both actions are equally likely.
    fn init(&self, _: &mut dyn Rng) -> Numbers {
        indexmap! { Self::LOGITS.to_owned() => ArrayD::zeros(vec![self.states]) }
    }

    fn spaces(&self) -> Option<[Space; 2]> {
        Some([Space::Discrete(self.states), Space::Discrete(2)])
    }

    #[track_caller]
    fn along(&self, theta: &Params, observations: Handle) -> Dist {
        let logits = parameter(theta, Self::LOGITS);
        match observations {
            Handle::Index(states) => {
                Categorical::of_rows(Var::stack(&[logits, logits.full_like(0.0)], 1), states).into()
            }
            Handle::Var(other) => panic!(
                "Sigmoid: logits are looked up at numbers of states, but the observations are {} of shape {:?}",
                other.dtype(),
                other.shape()
            ),
        }
    }
}
