//! The problems in which expectations are exact.

use ad::Tape;

use crate::env::{Environment, LinearQuadratic, Model, TabularMdp};
use crate::rollout::Space;

/// A small problem.
#[derive(Clone)]
pub(super) enum World {
    /// Of finitely many states and actions, so that every trajectory can be listed.
    Table(TabularMdp),
    /// Of vectors, so that expectations are integrals of polynomials times Gaussians.
    Linear(LinearQuadratic),
}

impl World {
    /// Of observations and actions.
    pub fn spaces(&self) -> [Space; 2] {
        match self {
            World::Table(mdp) => [mdp.states(), mdp.actions()].map(Space::Discrete),
            World::Linear(problem) => problem.spaces(),
        }
    }

    /// How many states and actions, or components of them, there are.
    pub fn sizes(&self) -> [usize; 2] {
        match self {
            World::Table(mdp) => [mdp.states(), mdp.actions()],
            World::Linear(problem) => problem.spaces().map(|space| space.size()),
        }
    }

    pub fn record(&self, tape: &Tape) -> Model {
        match self {
            World::Table(mdp) => mdp.record(tape).into(),
            World::Linear(problem) => problem.record(tape).into(),
        }
    }
}
