//! The line on which two formulations of meta-learning are told apart.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Action, Environment, Failure, Slot, Step};
use crate::rollout::Space;

/// A point on a line that goes where its action says, within [−2, 2]: s_0 ~ U(−2, 2), s' = clip(a, ±2), paid
/// exp(−0.1 (s' − g)²). The goal g is −1 or 1, each as likely, and not seen. It is never terminated; 5 steps are made.
///
/// The one-dimensional problem by which Rothfuss et al. 2019 compare their formulations I and II
/// (`experiments/env_1d/point_1d_hand_grads.py`), for policies a ~ N(θ_0 s² + θ_1, 1). Here the action stays what the policy
/// drew, and its density is the normal's. Their code clips before it writes down, and so scores ±2 by a density at ±2 where a
/// probability mass is: a bias of the score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Where to go.
    pub goal: f64,
    position: f64,
}

impl Line {
    /// With this goal.
    pub fn to(goal: f64) -> Self {
        Self { goal, position: 0.0 }
    }

    /// With a goal of −1 or 1.
    pub fn random(rng: &mut ChaCha8Rng) -> Self {
        Self::to(if rng.random() { 1.0 } else { -1.0 })
    }
}

impl Environment for Line {
    fn spaces(&self) -> [Space; 2] {
        [Space::vector(1), Space::vector(1)]
    }

    fn reset(&mut self, rng: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<(), Failure> {
        self.position = rng.random_range(-2.0..2.0);
        observation.put(&[self.position]);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, _: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<Step, Failure> {
        let action = action.vector();
        let [to] = action else { panic!("Line: an action has one component, not {}", action.len()) };
        self.position = to.clamp(-2.0, 2.0);
        observation.put(&[self.position]);
        Ok(Step { reward: (-0.1 * (self.position - self.goal).powi(2)).exp(), terminated: false, truncated: false })
    }
}
