//! A point that has to find out which corner pays.

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::point::{self, CORNERS, Distance, Point, Reward};
use super::{Action, Environment, Failure, Slot, Step};
use crate::rollout::Space;

/// A point in the plane whose goal g is one of the corners (±2, ±2), each as likely, and not seen. It begins in
/// s_0 ~ U([−0.2, 0.2]²), moves by s' = s + clip(0.02 a, ±0.2), and is never terminated.
///
/// Paid sparsely, where nothing is told apart near the origin: |s − g| − |s' − g| if |s'|₁ ≥ ½ and no corner is nearer to s'
/// than g, else 0. Or densely, by [`paying`](Self::paying).
///
/// `MetaPointEnvCorner` of Rothfuss et al. 2019 within `normalize`, which makes 0.02 of a unit of action; 100 steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Corner {
    /// Where to go.
    pub goal: [f64; 2],
    reward: Reward,
    position: Point,
}

impl Corner {
    /// With this goal, paid sparsely.
    pub fn to(goal: [f64; 2]) -> Self {
        Self { goal, reward: Reward::Sparse, position: [0.0; 2] }
    }

    /// With one of the four corners as goal, paid sparsely.
    pub fn random(rng: &mut ChaCha8Rng) -> Self {
        Self::to(point::any_corner(rng))
    }

    /// The same, paid so.
    pub fn paying(self, reward: Reward) -> Self {
        Self { reward, ..self }
    }
}

impl Environment for Corner {
    fn spaces(&self) -> [Space; 2] {
        [Space::vector(2), Space::vector(2)]
    }

    fn reset(&mut self, rng: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<(), Failure> {
        self.position = point::uniform(0.2, rng);
        observation.put(&self.position);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, _: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<Step, Failure> {
        let (from, goal) = (self.position, self.goal);
        let here = point::sum(from, point::displacement(action, 0.02, 10.0));
        self.position = here;
        observation.put(&here);
        let reward = self.reward.of(here, goal, || {
            let away = |corner| Distance::Squared.between(here, corner);
            let told_apart = here[0].abs() + here[1].abs() >= 0.5;
            let nearest = || CORNERS.iter().all(|&corner| away(goal) <= away(corner));
            if told_apart && nearest() { point::distance(from, goal) - point::distance(here, goal) } else { 0.0 }
        });
        Ok(Step { reward, terminated: false, truncated: false })
    }
}
