//! Linear baselines: least squares on features of the observation and of time (Duan et al. 2016), as MAML, ProMP and SG-MRL have
//! them.

use ad::{DType, Handle, Program, Tape, Value, Var};
use ndarray::{Array, Array1, Array2};
use rl::error::{Error, Result};
use rl::rollout::{Rollout, Space};

/// What values are linear in, besides 1, t/100, (t/100)² and (t/100)³.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Features {
    /// Observations between −10 and 10, and their squares; of a number of a state, which it is.
    Observation,
    /// Nothing.
    Time,
}

/// Least squares, with a little of ridge regression, of discounted returns-to-go. Compiled for trajectories of one shape.
#[derive(Debug)]
pub struct Linear {
    /// (observations, rewards, taken, ridge) ↦ V, `[N, H + 1]`.
    program: Program,
}

impl Linear {
    /// For N trajectories of H steps.
    ///
    /// # Errors
    ///
    /// [`Error::Space`] for observations that are bytes.
    pub fn new(
        features: Features,
        observation: &Space,
        trajectories: usize,
        horizon: usize,
        gamma: f64,
    ) -> Result<Self> {
        let tape = Tape::new();
        let observations =
            tape.input_or_index("observations", observation.zeros(&[trajectories, horizon + 1]).rounded(DType::F64));
        let steps = Array2::<f64>::zeros((trajectories, horizon));
        let (rewards, taken) = (tape.input("rewards", &steps), tape.input("taken", &steps));
        let ridge = tape.input("ridge", 0.0);

        let (rows, times) = (trajectories * (horizon + 1), Array1::from_iter((0..=horizon).map(|t| t as f64 / 100.0)));
        let time = tape.constant(times).broadcast_to(&[trajectories, horizon + 1]).reshape(&[rows, 1]);
        let mut parts = match features {
            Features::Time => Vec::new(),
            Features::Observation => of_observations(observation, observations, rows, time)?,
        };
        parts.extend([time, time.square(), time.square() * time, time.full_like(1.0)]);
        let features = Var::concat(&parts, 1);
        let number = features.shape()[1];
        let acted_on = features
            .reshape(&[trajectories, horizon + 1, number])
            .slice(1, 0..horizon)
            .reshape(&[rows - trajectories, number]);

        // Steps that were not taken are zeros on both sides.
        let was_taken = taken.reshape(&[rows - trajectories, 1]);
        let returns = rewards.scan_reverse(gamma, 1).reshape(&[rows - trajectories, 1]) * was_taken;
        let known = acted_on * was_taken;
        let gram = known.t().matmul(known) + tape.constant(Array::<f64, _>::eye(number)) * ridge;
        let values = features.matmul(gram.solve(known.t().matmul(returns))).reshape(&[trajectories, horizon + 1]);
        let program = tape.compile([observations, rewards.into(), taken.into(), ridge.into()], [values]);
        Ok(Self { program })
    }

    /// V(s_0) … V(s_H), `[N, H + 1]`.
    ///
    /// # Errors
    ///
    /// [`Error::NotFinite`] if no ridge helps.
    pub fn values(&self, rollout: &Rollout) -> Result<Array2<f64>> {
        let taken = rollout.taken();
        let mut ridge = 1e-5;
        for _ in 0..5 {
            let inputs = [
                rollout.observations().view().rounded(DType::F64),
                rollout.rewards().into(),
                Value::from(&taken),
                Value::from(ridge),
            ];
            match self.program.run(&inputs) {
                Ok(values) if values[0].iter().all(|x| x.is_finite()) => {
                    return Ok(values.into_iter().next().expect("one result").into_dimensionality().expect("two axes"));
                }
                Ok(_) | Err(ad::Error::Singular { .. }) => ridge *= 10.0,
                Err(other) => return Err(other.into()),
            }
        }
        Err(Error::NotFinite { what: "a value of the linear baseline".to_owned(), value: f64::NAN })
    }
}

/// The features of observations, `[rows, …]` each.
fn of_observations(space: &Space, observations: Handle, rows: usize, beside: Var) -> Result<Vec<Var>> {
    match (space, observations) {
        (Space::Discrete(number), Handle::Index(states)) => {
            let one_hot = beside.constant(Array::<f64, _>::eye(*number));
            // One of them is the constant's.
            let others = one_hot.slice(1, 1..*number);
            Ok(if *number > 1 { vec![others.gather([states.reshape(&[rows])])] } else { Vec::new() })
        }
        (_, Handle::Var(numbers)) if numbers.dtype() == DType::F64 => {
            let clipped = numbers.clip(-10.0, 10.0).reshape(&[rows, space.size()]);
            Ok(vec![clipped, clipped.square()])
        }
        _ => Err(Error::Space {
            what: "observations",
            policy: "real numbers or numbers of states (the baseline is linear in them)".to_owned(),
            environment: space.to_string(),
        }),
    }
}
