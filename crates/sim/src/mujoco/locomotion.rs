//! A body with something to do, as an environment.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rl::env::{Action, Environment, Failure, Slot, Step};
use rl::rollout::Space;
use serde::{Deserialize, Serialize};

use super::bodies::{Body, Moved, Velocities};
use super::simulation::{Data, Scales, Simulation};

/// What is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Aim {
    /// To move in this direction of the plane: the velocity along it.
    Direction([f64; 2]),
    /// To move along x at this velocity: minus the difference.
    Velocity(f64),
    /// To be here: minus the sum of the distances in x and y. (For the ant.)
    Goal([f64; 2]),
    /// To move along x, by a model with parameters of its own.
    Forward,
}

impl Aim {
    /// What a velocity is paid.
    pub(super) fn forward(&self, [x, y]: [f64; 2]) -> f64 {
        match self {
            Aim::Direction(direction) => direction[0] * x + direction[1] * y,
            Aim::Velocity(wanted) => -(x - wanted).abs(),
            Aim::Forward | Aim::Goal(_) => x,
        }
    }
}

/// A body with something to do. The rewards are a table in [the module](super).
///
/// Saved with serde, it goes on to the bit.
///
/// ```no_run
/// use rl::{env::{Actor, Environment}, policy::{Activation::Tanh, Network, Policy}, stream::stream};
/// use sim::mujoco::{Aim, Body, Locomotion};
///
/// let environment = Locomotion::new(Body::HalfCheetah, Aim::Direction([-1.0, 0.0]));
/// let [seen, done] = environment.spaces();
/// let policy = Network::new(&seen).dense(64, Tanh).normal(done.size());
/// let theta = policy.init(&mut stream(0, 0));
/// let actor = Actor::new(&policy, &theta, &environment.spaces(), ad::DType::F32)?;
/// let rollout = actor.sample(&environment, &theta, 20, 4, 0)?;                      // 4 trajectories of 20 steps
/// assert_eq!(rollout.observations().shape(), [4, 21, 17]);
/// # Ok::<(), rl::error::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Saved", into = "Saved")]
pub struct Locomotion {
    aim: Aim,
    scales: Option<Scales>,
    simulation: Simulation,
    /// Where it was before the step.
    place: [f64; 2],
    /// Controls of a step, and what is seen after it: as many numbers in every step.
    buffers: [Vec<f64>; 2],
}

/// How it is saved.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    body: Body,
    aim: Aim,
    scales: Option<Scales>,
    state: Vec<f64>,
    place: [f64; 2],
}

impl From<Locomotion> for Saved {
    fn from(from: Locomotion) -> Self {
        let Locomotion { aim, scales, simulation, place, .. } = from;
        Self { body: simulation.body(), aim, scales, state: simulation.state().to_vec(), place }
    }
}

impl TryFrom<Saved> for Locomotion {
    type Error = String;

    fn try_from(saved: Saved) -> Result<Self, String> {
        let Saved { body, aim, scales, state, place } = saved;
        let one = match scales {
            None => Ok(Self::new(body, aim)),
            Some(scales) => Self::scaled(body, aim, scales),
        };
        let mut one = one.map_err(|Failure(what)| what)?;
        one.simulation.set_state(&state).map_err(|Failure(what)| what)?;
        one.place = place;
        Ok(one)
    }
}

impl Locomotion {
    /// A body as its model has it.
    pub fn new(body: Body, aim: Aim) -> Self {
        Self::of(Simulation::new(body), aim, None)
    }

    /// The same with other masses, inertias, friction and damping.
    ///
    /// # Errors
    ///
    /// Those of [`Simulation::scaled`].
    pub fn scaled(body: Body, aim: Aim, scales: Scales) -> Result<Self, Failure> {
        Ok(Self::of(Simulation::scaled(body, &scales)?, aim, Some(scales)))
    }

    fn of(mut simulation: Simulation, aim: Aim, scales: Option<Scales>) -> Self {
        let body = simulation.body();
        let (qpos, qvel) = (simulation.qpos().to_vec(), simulation.qvel().to_vec());
        let mut seen = Vec::new();
        let place = simulation.begin(&qpos, &qvel, |data| show(body, &aim, data, &mut seen));
        Self { aim, scales, place, buffers: [Vec::new(), seen], simulation }
    }

    /// What is paid for.
    pub fn aim(&self) -> Aim {
        self.aim
    }

    /// Where it is and how it moves.
    pub fn simulation(&self) -> &Simulation {
        &self.simulation
    }

    /// Begins at these positions and velocities.
    ///
    /// Panics for other numbers of them than there are.
    #[track_caller]
    pub fn begin(&mut self, qpos: &[f64], qvel: &[f64], observation: Slot<'_>) {
        let (body, aim, [_, seen]) = (self.simulation.body(), self.aim, &mut self.buffers);
        self.place = self.simulation.begin(qpos, qvel, |data| show(body, &aim, data, seen));
        observation.put(seen);
    }
}

/// What is seen, into a buffer; and where it is.
fn show(body: Body, aim: &Aim, data: &Data, seen: &mut Vec<f64>) -> [f64; 2] {
    seen.clear();
    body.observe(aim, data, seen);
    body.place(data)
}

/// An action is as much as that times a control, and counts at most so far as a control does: as ProMP's code scales them.
const UNIT: f64 = 10.0;

impl Environment for Locomotion {
    fn spaces(&self) -> [Space; 2] {
        [Space::vector(self.buffers[1].len()), Space::vector(self.simulation.control_ranges().len())]
    }

    fn reset(&mut self, rng: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<(), Failure> {
        let (position, velocity) = self.simulation.body().begins();
        let mut qpos = self.simulation.start();
        qpos.iter_mut().for_each(|x| *x += rng.random_range(-position..position));
        let mut draw = || match velocity {
            Velocities::Normal(deviation) => deviation * Distribution::<f64>::sample(&StandardNormal, rng),
            Velocities::Uniform(most) => rng.random_range(-most..most),
        };
        let qvel: Vec<f64> = self.simulation.qvel().iter().map(|_| draw()).collect();
        self.begin(&qpos, &qvel, observation);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, _: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<Step, Failure> {
        let (body, aim, before, [controls, seen]) = (self.simulation.body(), self.aim, self.place, &mut self.buffers);
        controls.clear();
        let ranges = self.simulation.control_ranges();
        controls.extend(action.vector().iter().zip(ranges).map(|(action, &[least, most])| {
            (least + (action + UNIT) * (most - least) / (2.0 * UNIT)).clamp(least, most)
        }));
        let skip = body.skip(&aim);
        let seconds = skip as f64 * self.simulation.timestep();
        let (place, reward, terminated) = self.simulation.step(controls, skip, |data| {
            let place = show(body, &aim, data, seen);
            let velocity = [(place[0] - before[0]) / seconds, (place[1] - before[1]) / seconds];
            let reward = body.reward(&aim, &Moved { controls, velocity }, data);
            (place, reward, body.has_fallen(&aim, data))
        })?;
        self.place = place;
        observation.put(seen);
        Ok(Step { reward, terminated, truncated: false })
    }

    fn versions(&self) -> Vec<(String, String)> {
        vec![("mujoco".to_owned(), mujoco_rs::mujoco_version().to_owned())]
    }
}
