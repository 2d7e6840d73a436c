//! The doubly robust estimate with a state critic.

use ad::Var;

use super::{Claim, Estimator};
use crate::batch::Batch;

/// v_0 of the recursion v_t = V(s_t) + ρ_t (r_t + γ v_{t+1} − V(s_t)), which ends in v_L = V(s_L), or 0 after termination.
///
/// Unbiased at every order, whatever the critic V; a good one lowers the variance. Jiang & Li 2016; Tang et al. 2021,
/// eq. 3 (there with a critic of states and actions).
#[derive(Clone, Copy, Debug)]
pub struct DoublyRobust;

impl Estimator for DoublyRobust {
    fn name(&self) -> String {
        "dr".to_owned()
    }

    fn claim(&self) -> Claim {
        Claim::ALL
    }

    fn bootstraps(&self) -> bool {
        true
    }

    fn formula(&self, batch: &Batch) -> Var {
        let horizon = batch.episodes.horizon();
        let values = batch.values();
        let here = values.slice(1, 0..horizon);
        // A ratio of 0 behind the end lets the recursion start anew from v_L = V(s_L).
        let ratio = batch.on_steps(batch.ratio());
        let addend = here + ratio * (batch.rewards() - here);
        let value = addend.scan_reverse_from(ratio * batch.gamma(), values.at(1, horizon), 1);
        value.at(1, 0)
    }
}
