//! Navigation in the plane to a goal that is not seen.

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::point::{self, Distance, Point};
use super::{Action, Environment, Failure, Slot, Step};
use crate::rollout::Space;

/// A point in the plane that begins at the origin, moves by its action, and is paid minus its distance to the goal. The episode
/// terminates within 0.01 of the goal, in both coordinates.
///
/// | | unit of an action | clipped to | position | goals |
/// |---|---|---|---|---|
/// | MAML's, [`to`](Self::to) and [`random`](Self::random) | 0.1 | ±1 unit: steps of ±0.1 | anywhere | U([−½, ½]²) |
/// | SG-MRL's, [`bounded`](Self::bounded) and [`random_bounded`](Self::random_bounded) | 0.01 | ±10 units: steps of ±0.1 | clipped to [−½, ½]² | U([−½, ½]²) |
///
/// Sources: the point environment of Finn et al. 2017 and the code of its authors; `point_env_2d_v2.py` of Fallah et al. 2021,
/// whose experiments scale actions by its `NormalizedEnv`. Both make 100 steps. Fallah et al. write of the *squared* distance,
/// and their code pays the plain one, as here; [`paying`](Self::paying) is the choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Navigation {
    /// Where to go.
    pub goal: [f64; 2],
    distance: Distance,
    /// Whether it is SG-MRL's.
    bounded: bool,
    position: Point,
}

/// How far from the origin a position of SG-MRL's may be, and a goal of both, in each coordinate.
const BOUND: f64 = 0.5;

impl Navigation {
    /// MAML's, with this goal.
    pub fn to(goal: [f64; 2]) -> Self {
        Self { goal, distance: Distance::Plain, bounded: false, position: [0.0; 2] }
    }

    /// MAML's, with a goal that is uniform in [−½, ½]².
    pub fn random(rng: &mut ChaCha8Rng) -> Self {
        Self::to(point::uniform(BOUND, rng))
    }

    /// SG-MRL's, with this goal.
    pub fn bounded(goal: [f64; 2]) -> Self {
        Self { bounded: true, ..Self::to(goal) }
    }

    /// SG-MRL's, with a goal that is uniform in [−½, ½]².
    pub fn random_bounded(rng: &mut ChaCha8Rng) -> Self {
        Self::bounded(point::uniform(BOUND, rng))
    }

    /// The same, paid minus this distance: plain unless said otherwise.
    pub fn paying(self, distance: Distance) -> Self {
        Self { distance, ..self }
    }
}

impl Environment for Navigation {
    fn spaces(&self) -> [Space; 2] {
        [Space::vector(2), Space::vector(2)]
    }

    fn reset(&mut self, _: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<(), Failure> {
        self.position = [0.0; 2];
        observation.put(&self.position);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, _: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<Step, Failure> {
        let [unit, limit] = if self.bounded { [0.01, 10.0] } else { [0.1, 1.0] };
        self.position = point::sum(self.position, point::displacement(action, unit, limit));
        if self.bounded {
            self.position = self.position.map(|x| x.clamp(-BOUND, BOUND));
        }
        observation.put(&self.position);
        let arrived = (0..2).all(|i| (self.position[i] - self.goal[i]).abs() < 0.01);
        let reward = -self.distance.between(self.position, self.goal);
        Ok(Step { reward, terminated: arrived, truncated: false })
    }
}
