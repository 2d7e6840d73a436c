//! What a policy gives: distributions over actions, one for each observation.

use ad::{Handle, Value, Var};
use rand::Rng;

use super::{Categorical, Normal};

/// Distributions over actions, a batch of them.
#[derive(Clone, Copy, Debug)]
pub enum Dist {
    /// Over numbered actions.
    Categorical(Categorical),
    /// Over vectors.
    Normal(Normal),
}

impl From<Categorical> for Dist {
    fn from(categorical: Categorical) -> Self {
        Dist::Categorical(categorical)
    }
}

impl From<Normal> for Dist {
    fn from(normal: Normal) -> Self {
        Dist::Normal(normal)
    }
}

impl Dist {
    /// log π(a|·) of one action for each, `[…]`: numbers `[…]`, or vectors `[…, D]`.
    ///
    /// Panics for actions of the other kind.
    #[track_caller]
    pub fn log_prob(&self, actions: Handle) -> Var {
        match (self, actions) {
            (Dist::Categorical(categorical), Handle::Index(actions)) => categorical.log_prob(actions),
            (Dist::Normal(normal), Handle::Var(actions)) => normal.log_prob(actions),
            (Dist::Categorical(_), Handle::Var(actions)) => panic!(
                "log_prob: a categorical distribution is over numbered actions, integers, but these are {} of shape {:?}",
                actions.dtype(),
                actions.shape()
            ),
            (Dist::Normal(_), Handle::Index(actions)) => panic!(
                "log_prob: a normal distribution is over vectors, but these are numbered actions of shape {:?}",
                actions.shape()
            ),
        }
    }

    /// The entropy of each, `[…]`.
    #[track_caller]
    pub fn entropy(&self) -> Var {
        match self {
            Dist::Categorical(categorical) => categorical.entropy(),
            Dist::Normal(normal) => normal.entropy(),
        }
    }

    /// KL(self ‖ other) of each, `[…]`.
    ///
    /// Panics if one is over numbers and the other over vectors.
    #[track_caller]
    pub fn kl(&self, other: &Self) -> Var {
        match (self, other) {
            (Dist::Categorical(one), Dist::Categorical(other)) => one.kl(other),
            (Dist::Normal(one), Dist::Normal(other)) => one.kl(other),
            _ => panic!("kl: one distribution is over numbered actions, the other over vectors"),
        }
    }

    /// The same distributions held fixed: no derivative flows into them.
    #[track_caller]
    pub fn stop_gradient(&self) -> Self {
        match self {
            Dist::Categorical(categorical) => categorical.stop_gradient().into(),
            Dist::Normal(normal) => normal.stop_gradient().into(),
        }
    }

    /// One action for each, `[…]` or `[…, D]`. Evaluates the parameters.
    ///
    /// Panics if one of them is no distribution.
    #[track_caller]
    pub fn sample(&self, rng: &mut impl Rng) -> Value<'static> {
        match self {
            Dist::Categorical(categorical) => categorical.sample(rng).into(),
            Dist::Normal(normal) => normal.sample(rng).into(),
        }
    }
}
