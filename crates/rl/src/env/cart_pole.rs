//! CartPole, as everybody knows it.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Action, Environment, Failure, Slot, Step};
use crate::rollout::Space;
use ad::DType;

/// A pole on a cart that is pushed to the left (action 0) or the right (1): `CartPole-v1` of Gymnasium.
///
/// The state is the cart's position x (m) and velocity ẋ, the pole's angle φ (rad, from upright) and velocity φ̇, which begin
/// in U(−0.05, 0.05) each. With a force F = ±10 N, gravity g = 9.8 m/s², a cart of 1 kg, a pole of m = 0.1 kg (M = 1.1 kg
/// together) and half length l = 0.5 m, one step of τ = 0.02 s of Euler's is
///
/// ```text
/// u = (F + m l φ̇² sin φ) / M
/// α = (g sin φ − u cos φ) / (l (4/3 − m cos² φ / M))        β = u − m l α cos φ / M
/// x ← x + τ ẋ      ẋ ← ẋ + τ β      φ ← φ + τ φ̇      φ̇ ← φ̇ + τ α
/// ```
///
/// Each step is paid 1, the last one too. The episode terminates where |x| > 2.4 or |φ| > 12°, and is truncated after 500
/// steps. It computes in double precision and is seen in single.
///
/// Sources: Barto, Sutton and Anderson 1983; `gymnasium/envs/classic_control/cartpole.py`, with its `TimeLimit`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CartPole {
    state: [f64; 4],
    steps: u32,
}

const GRAVITY: f64 = 9.8;
const POLE_MASS: f64 = 0.1;
const TOTAL_MASS: f64 = POLE_MASS + 1.0;
/// Half the pole's.
const LENGTH: f64 = 0.5;
const MASS_LENGTH: f64 = POLE_MASS * LENGTH;
const FORCE: f64 = 10.0;
const TIME: f64 = 0.02;
const FARTHEST: f64 = 2.4;
const STEEPEST: f64 = 12.0 * 2.0 * std::f64::consts::PI / 360.0;
const MOST_STEPS: u32 = 500;

impl CartPole {
    /// At rest, upright, until it is reset.
    pub fn new() -> Self {
        Self::at([0.0; 4], 0)
    }

    /// In the state (x, ẋ, φ, φ̇), after so many steps of an episode.
    pub fn at(state: [f64; 4], steps: u32) -> Self {
        Self { state, steps }
    }

    /// The state (x, ẋ, φ, φ̇), of which one sees what single precision keeps.
    pub fn state(&self) -> [f64; 4] {
        self.state
    }
}

impl Default for CartPole {
    fn default() -> Self {
        Self::new()
    }
}

impl Environment for CartPole {
    fn spaces(&self) -> [Space; 2] {
        [Space::Array { shape: vec![4], dtype: DType::F32 }, Space::Discrete(2)]
    }

    fn reset(&mut self, rng: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<(), Failure> {
        *self = Self::at([(); 4].map(|()| rng.random_range(-0.05..0.05)), 0);
        observation.put(&self.state);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, _: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<Step, Failure> {
        let force = match action.number() {
            0 => -FORCE,
            1 => FORCE,
            number => panic!("CartPole: an action is 0 or 1, not {number}"),
        };
        // In Gymnasium's order, to the last bit.
        let [x, velocity, angle, spin] = self.state;
        let (sin, cos) = (angle.sin(), angle.cos());
        let push = (force + MASS_LENGTH * (spin * spin) * sin) / TOTAL_MASS;
        let turn = (GRAVITY * sin - cos * push) / (LENGTH * (4.0 / 3.0 - POLE_MASS * (cos * cos) / TOTAL_MASS));
        let acceleration = push - MASS_LENGTH * turn * cos / TOTAL_MASS;
        self.state = [x + TIME * velocity, velocity + TIME * acceleration, angle + TIME * spin, spin + TIME * turn];
        self.steps += 1;
        observation.put(&self.state);
        let [x, _, angle, _] = self.state;
        let terminated = x.abs() > FARTHEST || angle.abs() > STEEPEST;
        Ok(Step { reward: 1.0, terminated, truncated: self.steps >= MOST_STEPS })
    }
}
