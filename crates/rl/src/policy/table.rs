//! A table of logits: the softmax policy over numbered states.

use ad::{Handle, Var};
use indexmap::indexmap;
use ndarray::{Array2, ArrayD};
use rand::Rng;

use super::{Categorical, Dist, Numbers, Params, Policy, parameter};
use crate::rollout::{Episodes, Space};

/// π(a|s) ∝ e^θ\[s, a\], of numbered states and actions. Its parameters are one leaf, `logits`, `[S, A]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// S.
    pub states: usize,
    /// A.
    pub actions: usize,
}

impl Table {
    /// The name of its only leaf.
    pub const LOGITS: &'static str = "logits";

    /// The parameters of a policy with these logits, `[S, A]`.
    pub fn params(logits: Var) -> Params {
        indexmap! { Self::LOGITS.to_owned() => logits }
    }

    /// The same as numbers.
    pub fn numbers(logits: &Array2<f64>) -> Numbers {
        indexmap! { Self::LOGITS.to_owned() => logits.clone().into_dyn() }
    }

    /// The logits of such numbers, `[S, A]`.
    ///
    /// Panics if they are those of another policy.
    #[track_caller]
    pub fn logits(numbers: &Numbers) -> Array2<f64> {
        let Some(logits) = numbers.get(Self::LOGITS) else {
            panic!("Table: the parameters are {:?}, not `{}`", numbers.keys().collect::<Vec<_>>(), Self::LOGITS);
        };
        assert!(logits.ndim() == 2, "Table: logits need the shape [S, A], got {:?}", logits.shape());
        logits.clone().into_dimensionality().expect("two axes")
    }

    /// log π(a_t|s_t) of what was done, `[N, H]`, under the policy with these logits, `[S, A]`.
    #[track_caller]
    pub fn log_prob_of(logits: Var, episodes: &Episodes) -> Var {
        let shape = logits.shape();
        assert!(shape.len() == 2, "Table: logits need the shape [S, A], got {shape:?}");
        Self { states: shape[0], actions: shape[1] }.log_prob(&Self::params(logits), episodes)
    }
}

impl Policy for Table {
    /// All 0: every action is equally likely.
    fn init(&self, _: &mut dyn Rng) -> Numbers {
        indexmap! { Self::LOGITS.to_owned() => ArrayD::zeros(vec![self.states, self.actions]) }
    }

    fn spaces(&self) -> Option<[Space; 2]> {
        Some([Space::Discrete(self.states), Space::Discrete(self.actions)])
    }

    #[track_caller]
    fn along(&self, theta: &Params, observations: Handle) -> Dist {
        match observations {
            Handle::Index(states) => Categorical::of_rows(parameter(theta, Self::LOGITS), states).into(),
            Handle::Var(other) => panic!(
                "Table: a table is looked up at numbers of states, but the observations are {} of shape {:?}",
                other.dtype(),
                other.shape()
            ),
        }
    }
}
