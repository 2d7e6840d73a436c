//! Policies: functions from parameters and observations to distributions over actions, on the tape.
//!
//! A [`Policy`] is one small type, in a file of its own; what it gives is a [`Dist`], which knows log-probability, entropy,
//! divergence and sampling, each kind in a file of its own, too. Its parameters are a tree: [`Params`] on a tape, [`Numbers`] off it.
//!
//! To add a policy: its file here, one line of `pub use`, and one test in `tests/networks.rs` that its `once` and its
//! `along` agree and that its derivatives are right.

use std::ops::Deref;

use ad::{Handle, Index, Var};
use ndarray::{Array, Array1, Dimension, RemoveAxis};
use rand::Rng;

use crate::error::{Error, Result};
use crate::rollout::{Episodes, Space};

mod beta;
mod categorical;
mod dirichlet;
mod dist;
mod features;
mod full_normal;
mod gamma;
mod mixture;
mod network;
mod normal;
mod params;
mod sigmoid;
mod squashed_normal;
mod support;
mod table;

pub use beta::Beta;
pub use categorical::Categorical;
pub use dirichlet::Dirichlet;
pub(crate) use dist::Draw;
pub use dist::{Component, Dist};
pub use features::OfFeatures;
pub use full_normal::FullNormal;
pub use gamma::Gamma;
pub use mixture::Mixture;
pub use network::{Activation, Init, Network, NetworkPolicy};
pub use normal::Normal;
use params::parameter;
pub use params::{
    Numbers, Params, evaluate, from_flat, function, handles, record, record_as, values, values_as, zeros_like,
};
pub(crate) use params::{Structure, record_as_one};
pub use sigmoid::Sigmoid;
pub use squashed_normal::SquashedNormal;
pub use table::Table;

/// A distribution over actions as a function of parameters and observations.
///
/// ```
/// use ad::Handle;
/// use rl::policy::{Dist, Normal, Numbers, Params, Policy};
///
/// /// A linear policy: actions k·s of standard deviation 1, for states `[…, 1]`.
/// struct Linear;
///
/// impl Policy for Linear {
///     fn init(&self, _: &mut dyn rand::Rng) -> Numbers {
///         Numbers::from([("k".to_owned(), ndarray::arr1(&[0.0]).into_dyn())])
///     }
///     fn along(&self, theta: &Params, observations: Handle) -> Dist {
///         let mean = observations.var() * theta["k"];
///         Normal::new(mean, mean.full_like(0.0)).into()
///     }
/// }
/// ```
pub trait Policy: Send + Sync {
    /// Parameters to begin with.
    fn init(&self, rng: &mut dyn Rng) -> Numbers;

    /// The spaces of the observations and the actions that it is for, to be compared with an environment's; nothing, by default,
    /// if any will do.
    fn spaces(&self) -> Option<[Space; 2]> {
        None
    }

    /// The distributions at every step of trajectories from their begin: of observations `[N, H, …]`, a batch `[N, H]`. A policy
    /// without memory takes any axes in front.
    #[track_caller]
    fn along(&self, theta: &Params, observations: Handle) -> Dist;

    /// The shapes of what it remembers from one step to the next, for each trajectory; all are 0 at the begin. Nothing, by
    /// default.
    fn memory(&self) -> Vec<Vec<usize>> {
        Vec::new()
    }

    /// The distributions of the next actions, `[N]`, given what is remembered (`[N, …]` for each of [`memory`](Self::memory)) and
    /// the observations `[N, …]`; and what is to be remembered.
    ///
    /// Panics if there is memory and this is not implemented.
    #[track_caller]
    fn once(&self, theta: &Params, memory: &[Var], observation: Handle) -> (Dist, Vec<Var>) {
        assert!(memory.is_empty(), "once: a policy with memory needs its own `once`");
        (self.along(theta, observation), Vec::new())
    }

    /// log π_θ(a_t|s_t) of what was done, `[N, H]`.
    #[track_caller]
    fn log_prob(&self, theta: &Params, episodes: &Episodes) -> Var {
        self.along(theta, episodes.acted_on()).log_prob(episodes.actions)
    }
}

impl<P: Deref<Target: Policy> + Send + Sync> Policy for P {
    fn init(&self, rng: &mut dyn Rng) -> Numbers {
        (**self).init(rng)
    }
    fn along(&self, theta: &Params, observations: Handle) -> Dist {
        (**self).along(theta, observations)
    }
    fn spaces(&self) -> Option<[Space; 2]> {
        (**self).spaces()
    }
    fn memory(&self) -> Vec<Vec<usize>> {
        (**self).memory()
    }
    fn once(&self, theta: &Params, memory: &[Var], observation: Handle) -> (Dist, Vec<Var>) {
        (**self).once(theta, memory, observation)
    }
    fn log_prob(&self, theta: &Params, episodes: &Episodes) -> Var {
        (**self).log_prob(theta, episodes)
    }
}

/// An error if a policy is for other spaces than these.
pub(crate) fn check_spaces(policy: &dyn Policy, expected: [&Space; 2]) -> Result<()> {
    policy.spaces().map_or(Ok(()), |own| compare_spaces(&own, expected))
}

/// An error if what a policy is for is not what there is.
pub(crate) fn compare_spaces(own: &[Space; 2], expected: [&Space; 2]) -> Result<()> {
    for ((what, own), expected) in ["observations", "actions"].into_iter().zip(own).zip(expected) {
        if !own.is_like(expected) {
            return Err(Error::Space { what, policy: own.to_string(), environment: expected.to_string() });
        }
    }
    Ok(())
}

/// Panics for a policy with memory: what it does in a state depends on more than the state.
#[track_caller]
pub(crate) fn expect_no_memory(operation: &str, policy: &dyn Policy) {
    assert!(policy.memory().is_empty(), "{operation}: needs a policy without memory");
}

/// π_θ(a|s) of a policy without memory in each of `states` numbered states, `[S, A]`, on the tape of a Var.
///
/// Panics if its actions are not numbered.
#[track_caller]
pub(crate) fn table_of(policy: &dyn Policy, theta: &Params, states: usize, beside: Var) -> Var {
    expect_no_memory("a table of probabilities", policy);
    let all = Index::constant(beside, Array1::from_iter(0..states as i32));
    match policy.along(theta, all.into()) {
        Dist::Categorical(categorical) => categorical.probabilities(),
        _ => panic!("the actions of a tabular process are numbered, but the policy's are vectors"),
    }
}

/// e^x / Σ e^x along the last axis, of numbers.
pub fn softmax<D: Dimension + RemoveAxis>(logits: &Array<f64, D>) -> Array<f64, D> {
    let mut probabilities = logits.clone();
    for mut row in probabilities.rows_mut() {
        let largest = row.fold(f64::NEG_INFINITY, |largest, &x| largest.max(x));
        row.mapv_inplace(|x| (x - largest).exp());
        row /= row.sum();
    }
    probabilities
}
