//! A point with momentum on its way to one of four corners.

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::point::{self, Point, Reward};
use super::{Action, Environment, Failure, Slot, Step};
use crate::rollout::Space;

/// A point in the plane with a velocity v, whose goal g is one of the corners (±2, ±2), each as likely, and not seen. It begins
/// in s_0 ~ U([−0.2, 0.2]²) with v_0 ~ U([−0.1, 0.1]²), and goes on by v' = v + clip(0.01 a, ±0.1), s' = s + v'. What is seen is
/// (s, v). It is never terminated.
///
/// Paid sparsely, max(2 − |s' − g|, 0), or densely, by [`paying`](Self::paying).
///
/// `MetaPointEnvMomentum` of Rothfuss et al. 2019 within `normalize`, which makes 0.01 of a unit of action; 100 steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Momentum {
    /// Where to go.
    pub goal: [f64; 2],
    reward: Reward,
    position: Point,
    velocity: Point,
}

impl Momentum {
    /// With this goal, paid sparsely.
    pub fn to(goal: [f64; 2]) -> Self {
        Self { goal, reward: Reward::Sparse, position: [0.0; 2], velocity: [0.0; 2] }
    }

    /// With one of the four corners as goal, paid sparsely.
    pub fn random(rng: &mut ChaCha8Rng) -> Self {
        Self::to(point::any_corner(rng))
    }

    /// The same, paid so.
    pub fn paying(self, reward: Reward) -> Self {
        Self { reward, ..self }
    }

    fn show(&self, observation: Slot<'_>) {
        let ([x, y], [vx, vy]) = (self.position, self.velocity);
        observation.put(&[x, y, vx, vy]);
    }
}

impl Environment for Momentum {
    fn spaces(&self) -> [Space; 2] {
        [Space::vector(4), Space::vector(2)]
    }

    fn reset(&mut self, rng: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<(), Failure> {
        self.position = point::uniform(0.2, rng);
        self.velocity = point::uniform(0.1, rng);
        self.show(observation);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, _: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<Step, Failure> {
        self.velocity = point::sum(self.velocity, point::displacement(action, 0.01, 10.0));
        self.position = point::sum(self.position, self.velocity);
        self.show(observation);
        let (here, goal) = (self.position, self.goal);
        let reward = self.reward.of(here, goal, || (2.0 - point::distance(here, goal)).max(0.0));
        Ok(Step { reward, terminated: false, truncated: false })
    }
}
