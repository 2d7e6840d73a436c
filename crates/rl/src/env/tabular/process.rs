//! Exact values of tabular processes, on the tape: their derivatives of every order follow.

use ad::{Handle, Tape, Value, Var};
use ndarray::{Array1, Array2};

use super::TabularMdp;
use crate::decay::Decay;
use crate::error::{Error, Result, check_discount};
use crate::rollout::check_shape;

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

    /// An error unless the value under `policy`, π(a|s), is there as far as `horizon` looks.
    pub(crate) fn check_value_exists(&self, policy: &Array2<f64>, gamma: f64, horizon: &Horizon) -> Result<()> {
        self.check_policy(policy)?;
        check_discount(gamma)?;
        match horizon {
            Horizon::Infinite if gamma == 1.0 && !self.terminates_surely(policy) => {
                Err(Error::UndiscountedWithoutTermination)
            }
            Horizon::Finite { terminal: Some(terminal), .. } => {
                check_shape("terminal", terminal.shape(), &[self.states()])
            }
            _ => Ok(()),
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
    pub fn values(&self, policy: Var, gamma: impl Into<Decay>, horizon: &Horizon) -> Var {
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
    /// Panics unless 0 ≤ γ ≤ 1. Whether it exists is not checked here; [`derivatives`](crate::truth::derivatives) does.
    #[track_caller]
    pub fn value(&self, policy: Var, gamma: impl Into<Decay>) -> Var {
        let gamma = gamma.into().checked("value", "the discount");
        let (transition, reward) = self.under(policy);
        let states = reward.shape()[0];
        (Array2::<f64>::eye(states) - transition * gamma).solve(reward)
    }

    /// V^π_H(s) for each state, `[S]`, of `steps` steps, by dynamic programming from `terminal`, `[S]` (0 if `None`).
    ///
    /// Panics unless 0 ≤ γ ≤ 1.
    #[track_caller]
    pub fn finite_value(&self, policy: Var, gamma: impl Into<Decay>, steps: usize, terminal: Option<Var>) -> Var {
        let gamma = gamma.into().checked("finite_value", "the discount");
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
