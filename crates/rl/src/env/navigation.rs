//! Navigation in the plane to a goal that is not seen.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{Action, Environment, Slot, Step};
use crate::rollout::Space;

/// A point in the plane that begins at the origin, moves by a tenth of its action (each component clipped to ±1), and is paid
/// minus its distance to the goal. The episode terminates within 0.01 of the goal, in both coordinates.
///
/// The point environment of Finn et al. 2017: goals are uniform in [−½, ½]² ([`random`](Self::random)), and 100 steps are made.
#[derive(Clone, Debug, PartialEq)]
pub struct Navigation {
    /// Where to go.
    pub goal: [f64; 2],
    position: [f64; 2],
}

impl Navigation {
    /// With this goal.
    pub fn to(goal: [f64; 2]) -> Self {
        Self { goal, position: [0.0; 2] }
    }

    /// With a goal that is uniform in [−½, ½]².
    pub fn random(rng: &mut ChaCha8Rng) -> Self {
        Self::to([(); 2].map(|()| rng.random_range(-0.5..0.5)))
    }
}

impl Environment for Navigation {
    fn spaces(&self) -> [Space; 2] {
        [Space::vector(2), Space::vector(2)]
    }

    fn reset(&mut self, _: &mut ChaCha8Rng, observation: Slot<'_>) {
        self.position = [0.0; 2];
        observation.put(&self.position);
    }

    fn step(&mut self, action: Action<'_>, _: &mut ChaCha8Rng, observation: Slot<'_>) -> Step {
        let [x, y] = action.vector() else { panic!("Navigation: an action has two components") };
        self.position[0] += 0.1 * x.clamp(-1.0, 1.0);
        self.position[1] += 0.1 * y.clamp(-1.0, 1.0);
        observation.put(&self.position);
        let [dx, dy] = [0, 1].map(|i| self.position[i] - self.goal[i]);
        Step { reward: -dx.hypot(dy), terminated: dx.abs() < 0.01 && dy.abs() < 0.01, truncated: false }
    }
}
