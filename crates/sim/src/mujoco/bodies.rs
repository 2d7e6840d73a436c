//! The bodies: what of each is seen, where it is, when it has fallen, and what a step is paid.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::locomotion::Aim;
use super::simulation::Data;

/// A body, as Gymnasium's environments `-v5` have its model (MIT licence, OpenAI 2016, Farama Foundation 2022: beside the models).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Body {
    /// `half_cheetah.xml`: 9 degrees of freedom, 6 controls.
    HalfCheetah,
    /// `ant.xml`: 14, 8.
    Ant,
    /// `walker2d_v5.xml`: 9, 6.
    Walker2d,
    /// `hopper.xml`: 6, 3.
    Hopper,
    /// `swimmer.xml`: 5, 2.
    Swimmer,
    /// `humanoid.xml`: 23, 17.
    Humanoid,
}

/// How velocities are drawn where an episode begins.
pub(super) enum Velocities {
    /// Normal, of this deviation.
    Normal(f64),
    /// Uniform, up to this.
    Uniform(f64),
}

/// A step: what was done, and how fast it went.
pub(super) struct Moved<'a> {
    pub controls: &'a [f64],
    /// In x and y.
    pub velocity: [f64; 2],
}

impl Body {
    /// All of them, in their order.
    pub const ALL: [Body; 6] =
        [Body::HalfCheetah, Body::Ant, Body::Walker2d, Body::Hopper, Body::Swimmer, Body::Humanoid];

    pub(super) fn xml(self) -> &'static str {
        match self {
            Body::HalfCheetah => include_str!("../../models/half_cheetah.xml"),
            Body::Ant => include_str!("../../models/ant.xml"),
            Body::Walker2d => include_str!("../../models/walker2d.xml"),
            Body::Hopper => include_str!("../../models/hopper.xml"),
            Body::Swimmer => include_str!("../../models/swimmer.xml"),
            Body::Humanoid => include_str!("../../models/humanoid.xml"),
        }
    }

    /// How many steps of the simulation a step of the environment has.
    pub(super) fn skip(self, aim: &Aim) -> usize {
        match (self, aim) {
            (Body::HalfCheetah | Body::Ant | Body::Humanoid, _) => 5,
            (Body::Walker2d, Aim::Direction(_) | Aim::Velocity(_)) => 8,
            (Body::Walker2d | Body::Hopper | Body::Swimmer, _) => 4,
        }
    }

    /// How far positions are from the model's where an episode begins, uniformly, and velocities.
    pub(super) fn begins(self) -> (f64, Velocities) {
        match self {
            Body::HalfCheetah | Body::Ant => (0.1, Velocities::Normal(0.1)),
            Body::Walker2d | Body::Hopper => (0.005, Velocities::Uniform(0.005)),
            Body::Swimmer => (0.1, Velocities::Uniform(0.1)),
            Body::Humanoid => (0.01, Velocities::Uniform(0.01)),
        }
    }

    /// Where it is, in x and y.
    pub(super) fn place(self, data: &Data) -> [f64; 2] {
        match self {
            Body::HalfCheetah | Body::Walker2d | Body::Hopper | Body::Swimmer => [data.qpos()[0], 0.0],
            // (The torso is the first body behind the world. As the papers' code reads it: before the last step's end.)
            Body::Ant => [data.xpos()[1][0], data.xpos()[1][1]],
            Body::Humanoid => centre_of_mass(data),
        }
    }

    /// Whether forces on it are seen or paid for.
    pub(super) fn feels(self) -> bool {
        matches!(self, Body::Ant | Body::Humanoid)
    }

    /// Appends what is seen of it.
    pub(super) fn observe(self, aim: &Aim, data: &Data, seen: &mut Vec<f64>) {
        let (qpos, qvel) = (data.qpos(), data.qvel());
        let unit = |x: &f64| x.clamp(-1.0, 1.0);
        match self {
            Body::HalfCheetah => seen.extend(qpos[1..].iter().chain(qvel)),
            Body::Swimmer => seen.extend(qpos[2..].iter().chain(qvel)),
            Body::Walker2d | Body::Hopper => {
                seen.extend(&qpos[1..]);
                seen.extend(qvel.iter().map(|x| x.clamp(-10.0, 10.0)));
            }
            Body::Ant => {
                // Whoever has to be somewhere must see where he is.
                let first = if matches!(aim, Aim::Goal(_)) { 0 } else { 2 };
                seen.extend(qpos[first..].iter().chain(qvel));
                seen.extend(data.cfrc_ext().as_flattened().iter().map(unit));
            }
            Body::Humanoid => {
                seen.extend(qpos[2..].iter().chain(qvel));
                seen.extend(data.cinert().as_flattened());
                seen.extend(data.cvel().as_flattened());
                seen.extend(data.qfrc_actuator());
                seen.extend(data.cfrc_ext().as_flattened());
            }
        }
    }

    /// What a step is paid.
    pub(super) fn reward(self, aim: &Aim, moved: &Moved<'_>, data: &Data) -> f64 {
        let effort = sum_of_squares(moved.controls);
        let contact = |data: &Data| {
            0.5e-3 * data.cfrc_ext().as_flattened().iter().map(|x| x.clamp(-1.0, 1.0).powi(2)).sum::<f64>()
        };
        let forward = aim.forward(moved.velocity);
        match (self, aim) {
            (Body::HalfCheetah, _) => forward - 0.05 * effort,
            (Body::Ant, Aim::Goal(goal)) => {
                let [x, y] = self.place(data);
                -((x - goal[0]).abs() + (y - goal[1]).abs()) - 0.1 * effort - contact(data)
            }
            (Body::Ant, _) => forward - 0.5 * effort - contact(data) + 1.0,
            (Body::Walker2d, Aim::Velocity(_)) => forward + 15.0 - 1e-3 * effort,
            (Body::Walker2d | Body::Hopper, _) => forward + 1.0 - 1e-3 * effort,
            // The sign is that of the code, whose swimmers are paid for another velocity than they were told.
            (Body::Swimmer, Aim::Velocity(_)) => -forward - 1e-4 * effort,
            (Body::Swimmer, _) => forward - 1e-4 * effort,
            (Body::Humanoid, _) => {
                let impact = (0.5e-6 * sum_of_squares(data.cfrc_ext().as_flattened())).min(10.0);
                // As the code divides by one step of the simulation of the five.
                1.25 * forward - 0.1 * effort - impact + 5.0
            }
        }
    }

    /// Whether the episode ends.
    pub(super) fn has_fallen(self, aim: &Aim, data: &Data) -> bool {
        let (qpos, qvel) = (data.qpos(), data.qvel());
        match (self, aim) {
            (Body::HalfCheetah | Body::Swimmer, _) | (Body::Ant, Aim::Goal(_)) => false,
            (Body::Ant, _) => !(0.0..=1.0).contains(&qpos[2]),
            (Body::Walker2d, _) => !(qpos[1] > 0.8 && qpos[1] < 2.0 && qpos[2].abs() < 1.0),
            (Body::Hopper, _) => {
                let tame = qpos[2..].iter().chain(qvel).all(|x| x.abs() < 100.0);
                !(tame && qpos[1] > 0.7 && qpos[2].abs() < 0.2)
            }
            (Body::Humanoid, _) => !(1.0..=2.0).contains(&qpos[2]),
        }
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Body::HalfCheetah => "the half-cheetah",
            Body::Ant => "the ant",
            Body::Walker2d => "the walker",
            Body::Hopper => "the hopper",
            Body::Swimmer => "the swimmer",
            Body::Humanoid => "the humanoid",
        })
    }
}

fn sum_of_squares(numbers: &[f64]) -> f64 {
    numbers.iter().map(|x| x * x).sum()
}

/// In x and y.
fn centre_of_mass(data: &Data) -> [f64; 2] {
    let masses = data.model().body_mass();
    let total: f64 = masses.iter().sum();
    [0, 1].map(|axis| masses.iter().zip(data.xipos()).map(|(mass, place)| mass * place[axis]).sum::<f64>() / total)
}
