//! Objectives of tabular processes, to be recorded by [`Objective::once`](super::Objective::once) or
//! [`twice`](super::Objective::twice): the exact value, and any estimator's surrogate of it. θ are the logits of a softmax
//! policy, `[S, A]`; φ plays no part.

use ad::{Handle, Tape, Var};
use ndarray::{Array1, Array2};

use crate::batch::Batch;
use crate::error::Result;
use crate::mdp::TabularMdp;
use crate::objective::Estimator;
use crate::rollout::Rollout;
use crate::truth::Horizon;
use crate::truth::check_discount;

/// The exact value of the start distribution, differentiable at any θ. Its data are [`TabularMdp::to_values`], of any process
/// of the same size.
///
/// # Errors
///
/// Those of [`derivatives`](crate::truth::derivatives).
pub fn exact_value<'a>(
    mdp: &'a TabularMdp,
    gamma: f64,
    horizon: &'a Horizon,
) -> Result<impl FnOnce(&Tape, Var, Var) -> (Var, Vec<Handle>) + 'a> {
    // A softmax policy takes every action: what ends surely under one ends surely under all.
    check_discount(mdp, &Array2::zeros((mdp.states(), mdp.actions())), gamma, horizon)?;
    Ok(move |tape: &Tape, _: Var, theta: Var| {
        let process = mdp.record(tape);
        let values = process.values(theta.softmax(), gamma, horizon);
        (process.start.dot(values), process.handles().into())
    })
}

/// An estimator's surrogate on policy, with a critic. Its data are a rollout of `trajectories` trajectories of up to
/// `horizon` steps ([`Rollout::into_values`]) sampled by the policy θ of any process of the same size, and the critic's V(s),
/// `[S]`.
///
/// # Errors
///
/// [`Error::Empty`](crate::error::Error::Empty) if `horizon` or `trajectories` is 0.
pub fn surrogate<'a>(
    estimator: &'a dyn Estimator,
    mdp: &TabularMdp,
    gamma: f64,
    horizon: usize,
    trajectories: usize,
) -> Result<impl FnOnce(&Tape, Var, Var) -> (Var, Vec<Handle>) + 'a> {
    let (states, blank) = (mdp.states(), Rollout::zeros(trajectories, horizon)?);
    Ok(move |tape: &Tape, _: Var, theta: Var| {
        let episodes = blank.record(tape);
        let critic = tape.input("critic", Array1::<f64>::zeros(states));
        let batch =
            Batch::new(episodes, episodes.log_prob(theta), gamma).with_critic(critic.gather(&[episodes.states]));
        let data = episodes.handles().into_iter().chain([critic.into()]);
        (estimator.surrogate(&batch), data.collect())
    })
}
