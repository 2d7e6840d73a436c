//! Exact values of tabular processes, on the tape: their derivatives of every order follow.

use ad::{Handle, Tape, Value, Var};
use ndarray::{Array1, Array2, ArrayD};

use super::terms::derivative_or_zero;
use crate::error::{self, Error, Result};
use crate::mdp::TabularMdp;
use crate::policy::softmax;

/// How far a value looks.
#[derive(Clone, Debug, PartialEq)]
pub enum Horizon {
    /// Until the episode ends, if it does.
    Infinite,
    /// This many steps; the state that is then reached counts `terminal[s]` (nothing, if `None`), unless the episode has
    /// ended.
    Finite {
        /// H.
        steps: usize,
        /// V(s_H), `[S]`.
        terminal: Option<Array1<f64>>,
    },
}

/// A [`TabularMdp`] on a tape. All are inputs, and can be replaced on replay.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// P(s'|s, a), `[S, A, S]`.
    pub transition: Var,
    /// R(s, a), `[S, A]`.
    pub reward: Var,
    /// The distribution of s_0, `[S]`.
    pub start: Var,
    /// The probability that the episode ends on arriving in s, `[S]`.
    pub termination: Var,
}

impl TabularMdp {
    /// Records the process as inputs of a tape.
    #[track_caller]
    pub fn record(&self, tape: &Tape) -> Process {
        Process {
            transition: tape.input("transition", self.transition()),
            reward: tape.input("reward", self.reward()),
            start: tape.input("start", self.start()),
            termination: tape.input("termination", self.termination()),
        }
    }

    /// This process as values for a program, in the order of [`Process::handles`].
    pub fn to_values(&self) -> [Value<'static>; 4] {
        let (start, termination) = (self.start().clone().into(), self.termination().clone().into());
        [self.transition().clone().into(), self.reward().clone().into(), start, termination]
    }
}

impl Process {
    /// The inputs, in the order that [`TabularMdp::to_values`] gives their values in.
    pub fn handles(&self) -> [Handle; 4] {
        [self.transition, self.reward, self.start, self.termination].map(Handle::from)
    }

    /// V^π(s) for each state, `[S]`, as far as `horizon` looks, for π(a|s) `[S, A]`.
    #[track_caller]
    pub fn values(&self, policy: Var, gamma: f64, horizon: &Horizon) -> Var {
        match horizon {
            Horizon::Infinite => self.value(policy, gamma),
            Horizon::Finite { steps, terminal: None } => self.finite_value(policy, gamma, *steps, None),
            Horizon::Finite { steps, terminal: Some(terminal) } => {
                let terminal = self.start.full_like(0.0) + terminal;
                self.finite_value(policy, gamma, *steps, Some(terminal))
            }
        }
    }

    /// V^π(s) for each state, `[S]`, in the infinite horizon, for π(a|s) `[S, A]`: the solution of
    /// V = r_π + γ P_π V, where P_π(s, s') = Σ_a π(a|s) P(s'|s, a) · (1 − termination(s')).
    ///
    /// Panics unless 0 ≤ γ ≤ 1. Whether it exists is not checked here; [`derivatives`] does.
    #[track_caller]
    pub fn value(&self, policy: Var, gamma: f64) -> Var {
        error::expect("value", error::check_discount(gamma));
        let (transition, reward) = self.under(policy);
        let states = reward.shape()[0];
        (Array2::<f64>::eye(states) - transition * gamma).solve(reward)
    }

    /// V^π_H(s) for each state, `[S]`, of `steps` steps, by dynamic programming from `terminal`, `[S]` (0 if `None`).
    ///
    /// Panics unless 0 ≤ γ ≤ 1.
    #[track_caller]
    pub fn finite_value(&self, policy: Var, gamma: f64, steps: usize, terminal: Option<Var>) -> Var {
        error::expect("finite_value", error::check_discount(gamma));
        let (transition, reward) = self.under(policy);
        let mut value = terminal.unwrap_or(reward.full_like(0.0));
        for _ in 0..steps {
            value = reward + transition.matmul(value) * gamma;
        }
        value
    }

    /// P_π without what ends, `[S, S]`, and r_π, `[S]`.
    #[track_caller]
    fn under(&self, policy: Var) -> (Var, Var) {
        let going_on = -self.termination + 1.0;
        let transition = (policy.insert_axis(2) * self.transition).sum_axes(&[1]) * going_on;
        (transition, (policy * self.reward).sum_axes(&[1]))
    }
}

/// V(θ), ∇V(θ), …, ∇^`order` V(θ), exactly, where V is the value of the start distribution under the softmax policy with
/// logits θ, `[S, A]`. The k-th has k times θ's shape.
///
/// # Errors
///
/// [`Error::Discount`] unless 0 ≤ γ ≤ 1; [`Error::UndiscountedWithoutTermination`] for γ = 1 in an infinite horizon, if
/// episodes need not end; [`Error::Shape`] for logits or terminal values that do not fit.
///
/// ```
/// # use ndarray::{arr2, arr3, array};
/// use rl::{mdp::TabularMdp, truth::{Horizon, derivatives}};
/// let mdp = TabularMdp::new(
///     array![[[0.7, 0.3], [0.2, 0.8]], [[0.5, 0.5], [0.9, 0.1]]],
///     array![[1.0, 0.0], [0.0, 2.0]],
/// )?;
/// let truth = derivatives(&mdp, &array![[0.3, -0.2], [0.1, 0.4]], 0.9, &Horizon::Infinite, 2)?;
/// assert!((truth[0].sum() - 8.159686238900196).abs() < 1e-12);
/// assert_eq!(truth[2].shape(), [2, 2, 2, 2]);
/// # Ok::<(), rl::error::Error>(())
/// ```
pub fn derivatives(
    mdp: &TabularMdp,
    logits: &Array2<f64>,
    gamma: f64,
    horizon: &Horizon,
    order: usize,
) -> Result<Vec<ArrayD<f64>>> {
    check_discount(mdp, logits, gamma, horizon)?;
    let values = |_: &Tape, process: Process, policy: Var| process.values(policy, gamma, horizon);
    Ok(derivatives_of(mdp, logits, order, values))
}

/// The derivatives of the start distribution's value, where `values` are those of all states under π(a|s), `[S, A]`.
pub(super) fn derivatives_of(
    mdp: &TabularMdp,
    logits: &Array2<f64>,
    order: usize,
    values: impl FnOnce(&Tape, Process, Var) -> Var,
) -> Vec<ArrayD<f64>> {
    let tape = Tape::new();
    let (process, theta) = (mdp.record(&tape), tape.input("theta", logits));
    let value = process.start.dot(values(&tape, process, theta.softmax()));
    // (The value of no step at all does not depend on θ.)
    let results: Vec<Var> = (0..=order).map(|order| derivative_or_zero(value, theta, order)).collect();
    ad::evaluate(&results)
}

pub(crate) fn check_discount(mdp: &TabularMdp, logits: &Array2<f64>, gamma: f64, horizon: &Horizon) -> Result<()> {
    let policy = softmax(logits);
    mdp.check_policy(&policy)?;
    error::check_discount(gamma)?;
    match horizon {
        Horizon::Infinite if gamma == 1.0 && !mdp.terminates_surely(&policy) => {
            Err(Error::UndiscountedWithoutTermination)
        }
        Horizon::Finite { terminal: Some(terminal), .. } => {
            crate::rollout::check_shape("terminal", terminal.shape(), &[mdp.states()])
        }
        _ => Ok(()),
    }
}
