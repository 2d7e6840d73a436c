//! Processes that are known, on a tape: what any policy is worth in them is exact, as are its derivatives.

use ad::Var;

use super::{LinearProcess, Process};
use crate::decay::Decay;
use crate::policy::{Params, Policy, table_of};

/// A process on a tape, in which values are exact.
#[derive(Clone, Copy, Debug)]
pub enum Model {
    /// Of finitely many states.
    Table(Process),
    /// Linear-quadratic control, under policies N(K s + k, diag σ²).
    Linear(LinearProcess),
}

impl From<Process> for Model {
    fn from(process: Process) -> Self {
        Model::Table(process)
    }
}

impl From<LinearProcess> for Model {
    fn from(process: LinearProcess) -> Self {
        Model::Linear(process)
    }
}

impl Model {
    /// The value of `horizon` steps from the start distribution under a policy with these parameters, a scalar, which is a function
    /// of them.
    #[track_caller]
    pub fn value(&self, policy: &dyn Policy, theta: &Params, gamma: Decay, horizon: usize) -> Var {
        match self {
            Model::Table(process) => {
                let table = table_of(policy, theta, process.start.size(), process.start);
                process.start.dot(process.finite_value(table, gamma, horizon, None))
            }
            Model::Linear(process) => process.value(policy, theta, gamma, horizon),
        }
    }
}
