//! Bandits: what an arm pays, pulled once.

use ndarray::Array1;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Action, Environment, Failure, Slot, Step};
use crate::error::{Error, Result};
use crate::rollout::Space;

/// k arms, of which number i pays 1 with probability p_i, and else 0. There is nothing to see (the observation is 0), and an
/// episode is one step.
///
/// The Bernoulli bandits of Duan et al. 2016, with tasks p_i ~ U(0, 1) ([`random`](Self::random)).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved")]
pub struct Bandit {
    probabilities: Array1<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    probabilities: Array1<f64>,
}

impl TryFrom<Saved> for Bandit {
    type Error = Error;

    fn try_from(saved: Saved) -> Result<Self> {
        Self::new(saved.probabilities)
    }
}

impl Bandit {
    /// With these probabilities p, `[k]`.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] without arms; [`Error::Probability`] for an entry outside [0, 1].
    pub fn new(probabilities: Array1<f64>) -> Result<Self> {
        if probabilities.is_empty() {
            return Err(Error::Empty { what: "arms" });
        }
        match probabilities.indexed_iter().find(|(_, p)| !(0.0..=1.0).contains(*p)) {
            Some((arm, &value)) => Err(Error::Probability { what: format!("the probability of arm {arm}"), value }),
            None => Ok(Self { probabilities }),
        }
    }

    /// With so many arms, p_i ~ U(0, 1).
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] without arms.
    pub fn random(arms: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        Self::new(Array1::from_shape_simple_fn(arms, || rng.random()))
    }

    /// The probabilities p, `[k]`.
    pub fn probabilities(&self) -> &Array1<f64> {
        &self.probabilities
    }
}

impl Environment for Bandit {
    fn spaces(&self) -> [Space; 2] {
        [Space::Discrete(1), Space::Discrete(self.probabilities.len())]
    }

    fn reset(&mut self, _: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<(), Failure> {
        observation.put_number(0);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, rng: &mut ChaCha8Rng, observation: Slot<'_>) -> Result<Step, Failure> {
        observation.put_number(0);
        let pays = rng.random::<f64>() < self.probabilities[action.number()];
        Ok(Step { reward: f64::from(pays), terminated: true, truncated: false })
    }
}
