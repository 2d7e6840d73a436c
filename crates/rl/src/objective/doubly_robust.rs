//! The doubly robust estimates: with a critic of states, of states and actions, and with truncated ratios.

use ad::Var;

use super::{Claim, End, Estimator, Facts, Orders};
use crate::batch::Batch;

/// v_0 of the recursion v_t = V(s_t) + ρ_t (r_t + γ v_{t+1} − V(s_t)), which ends in v_L = V(s_L), or 0 after termination.
///
/// Unbiased at every order, whatever the critic V; a good one lowers the variance. Jiang & Li 2016; Tang et al. 2021,
/// eq. 3 (there with a critic of states and actions).
///
/// Written out it is V(s_0) + Σ_t γ^t δ_t Π_{k≤t} ρ_k. (Differentiated, the recursion multiplies products of ratios that may
/// be beyond the range of numbers with what is 0; a sum can leave those out.)
#[derive(Clone, Copy, Debug)]
pub struct DoublyRobust;

impl Estimator for DoublyRobust {
    fn facts(&self) -> Facts {
        Facts { name: "dr".into(), claim: Claim::ALL, end: End::Critic, smallest_batch: 1 }
    }

    fn formula(&self, batch: &Batch) -> Var {
        batch.values().at(1, 0) + batch.importance_weighted_sum(batch.temporal_differences() * batch.discounts())
    }
}

/// The same with a critic of states and actions: v_t = Q̄_t + ρ_t (r_t + γ v_{t+1} − Q(s_t, a_t)), where
/// Q̄_t = Σ_a π_θ(a|s_t) Q(s_t, a); it ends in v_L = Q̄_L, or 0 after termination.
///
/// Tang et al. 2021, eq. 3. (Their Algorithm 2 is another recursion: it has one γ too many and lacks −γ ρ_t Q̄_{t+1}.)
/// Unbiased at every order, whatever Q; with Q near Q^π it also takes away the variance that the action makes, which no
/// critic of states can. Q̄ is a function of θ and is differentiated like the rest, also in the bootstrap Q̄_L: what is
/// estimated is the value whose end counts Σ_a π_θ(a|s_L) Q(s_L, a). (With Q̄_L held fixed it would be biased for that one.)
///
/// Without an action critic it is [`DoublyRobust`].
#[derive(Clone, Copy, Debug)]
pub struct DoublyRobustQ;

impl Estimator for DoublyRobustQ {
    fn facts(&self) -> Facts {
        Facts { name: "dr_q".into(), claim: Claim::ALL, end: End::ActionCritic, smallest_batch: 1 }
    }

    fn formula(&self, batch: &Batch) -> Var {
        let (expected, horizon) = (batch.expected_action_values(), batch.steps.horizon());
        let next = expected.slice(1, 1..horizon + 1) * batch.gamma();
        let differences = batch.steps.on_steps(batch.rewards() + next - batch.action_values());
        expected.at(1, 0) + batch.importance_weighted_sum(differences * batch.discounts())
    }
}

/// Doubly robust with ratios cut off, as V-trace has it: v_t = V(s_t) + min(ρ̄, ρ_t) (r_t + γ V(s_{t+1}) − V(s_t)) +
/// γ min(c̄, ρ_t) (v_{t+1} − V(s_{t+1})).
///
/// Munos et al. 2016, Espeholt et al. 2018; a baseline in Tang et al. 2021, figure 1. Smaller variance, and a bias wherever
/// a ratio exceeds its bound. On policy all ratios are 1: with bounds above 1 nothing is cut off. At a bound of 1 the value
/// is right, but its derivative is not: the two sides of the tie have different ones, and each gets half.
#[derive(Clone, Copy, Debug)]
pub struct TruncatedDoublyRobust {
    /// ρ̄, the bound on the ratio that weighs a temporal difference.
    pub difference_bound: f64,
    /// c̄, the bound on the ratios whose products carry later temporal differences back.
    pub trace_bound: f64,
}

impl Default for TruncatedDoublyRobust {
    /// Both bounds 1, as in the papers.
    fn default() -> Self {
        Self { difference_bound: 1.0, trace_bound: 1.0 }
    }
}

impl Estimator for TruncatedDoublyRobust {
    fn facts(&self) -> Facts {
        let smaller = self.difference_bound.min(self.trace_bound);
        let on_policy = match smaller {
            _ if smaller > 1.0 => Orders::All,
            _ if smaller == 1.0 => Orders::UpTo(0),
            _ => Orders::None,
        };
        Facts { name: "dr_truncated".into(), claim: Claim::on_policy(on_policy), end: End::Critic, smallest_batch: 1 }
    }

    fn formula(&self, batch: &Batch) -> Var {
        for (name, bound) in [("ρ̄", self.difference_bound), ("c̄", self.trace_bound)] {
            assert!(bound >= 0.0, "TruncatedDoublyRobust: the bound {name} is {bound}, but must not be negative");
        }
        let ratio = batch.ratio();
        let difference = ratio.min(self.difference_bound) * batch.temporal_differences();
        let trace = batch.steps.on_steps(ratio.min(self.trace_bound)) * batch.gamma();
        // v_t − V(s_t) is the sum of weighted temporal differences; at the end it is 0.
        batch.values().at(1, 0) + difference.scan_reverse(trace, 1).at(1, 0)
    }
}
