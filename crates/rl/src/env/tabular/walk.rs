//! A tabular process as an environment, for any policy to act in.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::TabularMdp;
use crate::env::{Action, Environment, Slot, Step};
use crate::rollout::Space;
use crate::stream::draw;

/// Somebody who walks through a [`TabularMdp`] ([`TabularMdp::walk`]).
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    mdp: &'a TabularMdp,
    state: usize,
}

impl TabularMdp {
    /// This process as an environment. By the same policy and seed, its trajectories are those of [`sample`](Self::sample).
    pub fn walk(&self) -> Walk<'_> {
        Walk { mdp: self, state: 0 }
    }
}

impl Environment for Walk<'_> {
    fn spaces(&self) -> [Space; 2] {
        [Space::Discrete(self.mdp.states()), Space::Discrete(self.mdp.actions())]
    }

    fn reset(&mut self, rng: &mut ChaCha8Rng, observation: Slot<'_>) {
        self.state = draw(self.mdp.start.iter().copied(), rng).expect("a distribution, as was checked");
        observation.put_number(self.state);
    }

    fn step(&mut self, action: Action<'_>, rng: &mut ChaCha8Rng, observation: Slot<'_>) -> Step {
        let action = action.number();
        let reward = self.mdp.reward[[self.state, action]];
        let next = self.mdp.next_states(self.state, action);
        self.state = draw(next.iter().copied(), rng).expect("a distribution, as was checked");
        observation.put_number(self.state);
        Step { reward, terminated: rng.random::<f64>() < self.mdp.termination[self.state], truncated: false }
    }
}
