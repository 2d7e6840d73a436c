//! Any registered environment of [Gymnasium](https://gymnasium.farama.org) with vectors, bytes or numbers as observations, and
//! vectors or numbers as actions.
//!
//! Python runs in processes of its own, each with [`Actor::BLOCK`] environments that make their steps together. A block of
//! trajectories has a process to itself, so that there are as many as threads. The interpreter is `python3`, or what the
//! variable `GYM_PYTHON` names, such as that of a virtual environment; it needs `pip install gymnasium==1.4.0` (the version
//! that is tested).
//!
//! An episode begins with a seed of its own, so that a trajectory is a function of the seed and its number, as in every environment of
//! [`rl`]: as far as the environment draws what it draws from its own generator. A policy's vectors have no bounds; in an action
//! space that has, the nearest action is taken. (What is recorded is what the policy drew.)
//!
//! ```no_run
//! use rl::{env::{Actor, Tasks}, policy::{Activation::Tanh, Network, Policy}, stream::stream};
//! use sim::gym::Gym;
//!
//! let cart_pole = Gym::of("CartPole-v1").start()?;
//! let policy = Network::new(&cart_pole.spaces()[0]).dense(16, Tanh).categorical(2);
//! let theta = policy.init(&mut stream(0, 0));
//! let actor = Actor::new(&policy, &theta, &cart_pole.spaces(), ad::DType::F32)?;
//! let rollout = cart_pole.sample(&mut stream(0, 1), &actor, &theta, 500, 40, 0)?;       // 40 episodes, in two processes
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::env;
use std::ffi::OsString;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rl::env::{Action, Actor, Failure, Slot, Step, Tasks, Vectorised};
use rl::policy::Numbers;
use rl::rollout::{Rollout, Space};

mod error;
mod memory;
mod process;
mod server;

pub use error::{Error, Result};

use process::Start;
use server::{Facts, Server};

/// The variable that names the interpreter.
pub const PYTHON: &str = "GYM_PYTHON";

/// An environment of Gymnasium, by its id: a distribution over tasks with one task.
#[derive(Debug)]
pub struct Gym {
    start: Start,
    facts: Facts,
    /// Processes that nobody uses.
    idle: Mutex<Vec<Server>>,
}

/// An environment that is still to be started.
#[derive(Clone, Debug)]
#[must_use = "nothing is started yet"]
pub struct Setup(Start);

impl Gym {
    /// The environment with this id, as in `gymnasium.make`: `CartPole-v1`; `ALE/Pong-v5`, which imports `ale_py`;
    /// `module:Name-v0`, which imports that module (from the working directory, too).
    pub fn of(id: impl Into<String>) -> Setup {
        Setup(Start {
            id: id.into(),
            python: env::var_os(PYTHON).filter(|name| !name.is_empty()).unwrap_or_else(|| "python3".into()),
            variables: Vec::new(),
            starts_within: Duration::from_secs(60),
            answers_within: Duration::from_secs(10),
        })
    }

    /// A process that nobody else uses.
    fn lease(&self) -> std::result::Result<Lease<'_>, Failure> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let server = idle.map_or_else(|| self.another(), Ok).map_err(failure)?;
        Ok(Lease { gym: self, server: Some(server) })
    }

    /// One more process, like the first one.
    fn another(&self) -> Result<Server> {
        let server = Server::start(&self.start)?;
        if server.facts == self.facts {
            return Ok(server);
        }
        let [found, expected] = [&server.facts, &self.facts].map(|facts| format!("{facts:?}"));
        Err(Error::Changed { id: self.start.id.clone(), found, expected })
    }
}

impl Setup {
    /// With another interpreter than the variable says.
    pub fn python(mut self, python: impl Into<OsString>) -> Self {
        self.0.python = python.into();
        self
    }

    /// With a variable that only the interpreter sees, such as `PYTHONPATH`.
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.0.variables.push((name.into(), value.into()));
        self
    }

    /// With other times to wait: until a process has made its environments (60 s), and until they all have made a step (10 s).
    pub fn within(mut self, starts: Duration, answers: Duration) -> Self {
        (self.0.starts_within, self.0.answers_within) = (starts, answers);
        self
    }

    /// Starts the first process.
    ///
    /// # Errors
    ///
    /// [`Error`]: what is missing, what there is not, or cannot be used.
    pub fn start(self) -> Result<Gym> {
        let first = Server::start(&self.0)?;
        let facts = first.facts.clone();
        Ok(Gym { start: self.0, facts, idle: Mutex::new(vec![first]) })
    }
}

impl Tasks for Gym {
    fn spaces(&self) -> [Space; 2] {
        self.facts.spaces.clone()
    }

    fn sample(
        &self,
        _: &mut ChaCha8Rng,
        actor: &Actor,
        theta: &Numbers,
        horizon: usize,
        trajectories: usize,
        seed: u64,
    ) -> rl::error::Result<Rollout> {
        actor.sample_together(&self.facts.spaces, &|| self.lease(), theta, horizon, trajectories, seed)
    }

    fn versions(&self) -> Vec<(String, String)> {
        self.facts.versions.clone()
    }

    fn not_saved(&self) -> Option<String> {
        Some(format!(
            "gym:{}: no checkpoint has what an environment of Gymnasium keeps; episodes begin anew in every iteration, each with a \
             seed, so that a run goes on to the bit if the seed alone decides over an episode",
            self.start.id
        ))
    }
}

/// A process that a block of trajectories has to itself. It is given back, unless something went wrong with it.
#[derive(Debug)]
struct Lease<'a> {
    gym: &'a Gym,
    /// None once something went wrong.
    server: Option<Server>,
}

impl Lease<'_> {
    /// Asks something; what fails is ended.
    fn ask(&mut self, what: impl FnOnce(&mut Server) -> Result<()>) -> std::result::Result<(), (usize, Failure)> {
        let asked = what(self.server.as_mut().expect("nothing is asked after an error"));
        asked.map_err(|error| {
            self.server = None;
            let row = if let Error::Raised { row, .. } = error { row } else { None };
            (row.unwrap_or(0), failure(error))
        })
    }
}

fn failure(error: Error) -> Failure {
    Failure(error.to_string())
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.gym.idle.lock().unwrap_or_else(PoisonError::into_inner).extend(self.server.take());
    }
}

impl Vectorised for Lease<'_> {
    fn reset(&mut self, seeds: &[u32]) -> std::result::Result<(), (usize, Failure)> {
        self.ask(|server| server.reset(seeds))
    }

    fn act(&mut self, row: usize, action: Action<'_>) {
        self.server.as_mut().expect("nothing is done after an error").act(row, action);
    }

    fn step(&mut self, goes_on: &[bool]) -> std::result::Result<(), (usize, Failure)> {
        self.ask(|server| server.step(goes_on))
    }

    fn look(&self, row: usize, observation: Slot<'_>) -> Step {
        self.server.as_ref().expect("nothing is seen after an error").look(row, observation)
    }
}
