//! Baselines: what a trajectory is expected to bring from each step on, found from trajectories alone.

use ndarray::Array2;
use rl::error::{Result, check_finite};
use rl::rollout::Rollout;

mod linear;
mod network;

pub use linear::{Features, Linear};
pub use network::ValueNetwork;

/// A baseline V(s_t).
#[derive(Debug)]
pub enum Baseline {
    /// 0.
    None,
    /// Linear in features, fitted to the very trajectories it is for.
    Linear(Box<Linear>),
    /// A network that is fitted to all trajectories of an iteration, for the next one.
    Network(Box<ValueNetwork>),
}

impl Baseline {
    /// V(s_0) … V(s_L), `[N, H + 1]`. Where a trajectory was truncated its value is what is expected behind (`bootstrap`), or 0:
    /// then the horizon is the end of what counts.
    ///
    /// # Errors
    ///
    /// [`Error::NotFinite`](rl::error::Error::NotFinite) for values that are not.
    pub fn values(&self, rollout: &Rollout, bootstrap: bool) -> Result<Array2<f64>> {
        let (trajectories, horizon) = rollout.rewards().dim();
        let mut values = match self {
            Baseline::None => Array2::zeros((trajectories, horizon + 1)),
            Baseline::Linear(linear) => linear.values(rollout)?,
            Baseline::Network(network) => network.values(rollout)?,
        };
        if !bootstrap {
            for (mut values, &length) in values.rows_mut().into_iter().zip(rollout.lengths()) {
                values.slice_mut(ndarray::s![length..]).fill(0.0);
            }
        }
        check_finite(&values, |entry| format!("value {entry} of the baseline"))?;
        Ok(values)
    }
}
