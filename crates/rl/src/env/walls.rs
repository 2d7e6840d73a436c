//! A point on its way to one of four corners, through gaps in two round walls.

use std::f64::consts::TAU;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::point::{self, Distance, Point, Reward};
use super::{Action, Environment, Failure, Slot, Step};
use crate::rollout::Space;

/// A point in the plane whose goal g is one of the corners (±2, ±2), each as likely, and not seen; nor are the gaps h_1 and h_2
/// in two walls around the origin, the circles of radius 1 and 2. It begins in s_0 ~ U([−0.2, 0.2]²), moves by
/// s' = s + clip(0.02 a, ±0.2), and is never terminated.
///
/// A wall is crossed outwards within a distance of 1 from its gap: from |s| < 1 to |s'| > 1 if |s' − h_1| ≤ 1, else from |s| < 2
/// to |s'| > 2 if |s' − h_2| ≤ 1. Who does so elsewhere is put back to the wall, onto its inner side, along the radius:
/// s' / (|s'| + 10⁻⁶), or s' / (|s'|/2 + 10⁻⁶). Inwards it is open. What is paid is for s' before that.
///
/// Paid densely, −|s' − g|, or otherwise, by [`paying`](Self::paying): sparsely, |s − g| − |s' − g| within a distance of 2
/// from the goal, else 0.
///
/// `MetaPointEnvWalls` of Rothfuss et al. 2019 within `normalize`, which makes 0.02 of a unit of action, as last released:
/// earlier, one was shown s' before it was put back. It gives no number where the sparse reward is 0. 100 steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Walls {
    /// Where to go.
    pub goal: [f64; 2],
    /// The middle of the gap in each wall: at |h_1| = 1 and |h_2| = 2.
    pub gaps: [[f64; 2]; 2],
    reward: Reward,
    position: Point,
}

impl Walls {
    /// With this goal and these gaps, paid densely.
    pub fn to(goal: [f64; 2], gaps: [[f64; 2]; 2]) -> Self {
        Self { goal, gaps, reward: Reward::Dense(Distance::Plain), position: [0.0; 2] }
    }

    /// With one of the four corners as goal, and gaps anywhere in the walls, uniformly; paid densely.
    pub fn random(rng: &mut ChaCha8Rng) -> Self {
        let goal = point::any_corner(rng);
        let gaps = [1.0, 2.0].map(|radius| {
            let (sin, cos) = rng.random_range(0.0..TAU).sin_cos();
            [radius * cos, radius * sin]
        });
        Self::to(goal, gaps)
    }

    /// The same, paid so.
    pub fn paying(self, reward: Reward) -> Self {
        Self { reward, ..self }
    }

    /// Where who goes from `from` to `to` comes to.
    fn behind_walls(&self, from: Point, to: Point) -> Point {
        let (before, after) = (point::distance(from, [0.0; 2]), point::distance(to, [0.0; 2]));
        // As soon as one wall is crossed, the other is far.
        for (radius, gap) in [1.0, 2.0].into_iter().zip(self.gaps) {
            if before < radius && after > radius {
                let shut = point::distance(to, gap) > 1.0;
                return if shut { to.map(|x| x / (after / radius + 1e-6)) } else { to };
            }
        }
        to
    }
}

impl Environment for Walls {
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
        let to = point::sum(from, point::displacement(action, 0.02, 10.0));
        self.position = self.behind_walls(from, to);
        observation.put(&self.position);
        let reward = self.reward.of(to, goal, || {
            let away = point::distance(to, goal);
            if away < 2.0 { point::distance(from, goal) - away } else { 0.0 }
        });
        Ok(Step { reward, terminated: false, truncated: false })
    }
}
