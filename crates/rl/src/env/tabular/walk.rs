//! A tabular process as an environment, for any policy to act in.

use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::TabularMdp;
use crate::env::{Action, Environment, Failure, Slot, Step};
use crate::error::{Error, Result, check_deviation};
use crate::rollout::Space;
use crate::stream::draw;

/// Somebody who walks through a [`TabularMdp`] ([`TabularMdp::walk`]). Clones share the tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved", into = "Saved")]
pub struct Walk {
    mdp: Arc<TabularMdp>,
    noise: f64,
    state: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    mdp: TabularMdp,
    noise: f64,
    state: usize,
}

impl From<Walk> for Saved {
    fn from(walk: Walk) -> Self {
        Self { mdp: Arc::unwrap_or_clone(walk.mdp), noise: walk.noise, state: walk.state }
    }
}

impl TryFrom<Saved> for Walk {
    type Error = Error;

    fn try_from(saved: Saved) -> Result<Self> {
        let Saved { mdp, noise, state } = saved;
        if state >= mdp.states() {
            let states = mdp.states();
            return Err(Error::SavedEnvironment(format!(
                "it is in state {state}, but there are {states} (0 to {states} - 1)"
            )));
        }
        Self { state, ..mdp.walk() }.with_noise(noise)
    }
}

impl TabularMdp {
    /// This process as an environment. By the same policy and seed, its trajectories are those of [`sample`](Self::sample).
    pub fn walk(&self) -> Walk {
        Walk { mdp: Arc::new(self.clone()), noise: 0.0, state: 0 }
    }
}

impl Walk {
    /// The same with rewards R(s, a) + σ ε, ε ~ N(0, 1): then the table has their means, and values are what they were.
    ///
    /// # Errors
    ///
    /// [`Error::Deviation`] unless σ is finite and not negative.
    pub fn with_noise(self, deviation: f64) -> Result<Self> {
        check_deviation(deviation)?;
        Ok(Self { noise: deviation, ..self })
    }

    /// In a random process that never ends: from state 0, P(· | s, a) ~ Dirichlet(1, …, 1), rewards N(R(s, a), 1) with
    /// R(s, a) ~ N(1, 1).
    ///
    /// The tabular tasks of Duan et al. 2016, with 10 states, 5 actions and 10 steps.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] without states or actions.
    pub fn random(states: usize, actions: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        let mut mdp = TabularMdp::random(states, actions, 1.0, rng)?;
        mdp.reward.mapv_inplace(|_| 1.0 + Distribution::<f64>::sample(&StandardNormal, rng));
        mdp.walk().with_noise(1.0)
    }

    /// The process that is walked through.
    pub fn mdp(&self) -> &TabularMdp {
        &self.mdp
    }
}

impl Environment for Walk {
    fn spaces(&self) -> [Space; 2] {
        [Space::Discrete(self.mdp.states()), Space::Discrete(self.mdp.actions())]
    }

    fn reset(&mut self, rng: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<(), Failure> {
        self.state = draw(self.mdp.start.iter().copied(), rng).expect("a distribution, as was checked");
        observation.put_number(self.state);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, rng: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<Step, Failure> {
        let action = action.number();
        let mut reward = self.mdp.reward[[self.state, action]];
        let next = self.mdp.next_states(self.state, action);
        self.state = draw(next.iter().copied(), rng).expect("a distribution, as was checked");
        observation.put_number(self.state);
        let terminated = rng.random::<f64>() < self.mdp.termination[self.state];
        if self.noise > 0.0 {
            reward += self.noise * Distribution::<f64>::sample(&StandardNormal, rng);
        }
        Ok(Step { reward, terminated, truncated: false })
    }
}
