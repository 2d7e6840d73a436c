//! E-MAML: MAML, and how θ changes the data of the inner steps ("formulation II"), but divided by their number.

use ad::Var;

use super::maml::value;
use super::{Adapted, Algorithm, InnerObjective, Outcome};
use crate::trajectories::Sampled;

/// MAML's objective, and what scores of the inner data add to its gradient (Stadie et al. 2018):
///
/// ∇V(θ′) + (1/N) V(θ′) Σ_i ∇log p_θ(τ_i).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Emaml {
    /// What is ascended inside.
    pub inner: InnerObjective,
    /// What multiplies the scores.
    pub factor: Factor,
}

/// What multiplies the scores of the inner data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    /// (1/N) V(θ′), of every inner step's data: the formula (Tang 2022, App. H.2).
    Formula,
    /// As published with ProMP: the mean over steps of the rewards after adaptation, standardised over the steps of all tasks, times
    /// the mean over *steps* of log π on the data of the first inner step. The factor is 1/(N·H), not 1/N.
    Released,
}

impl Algorithm for Emaml {
    fn inner(&self, data: &Sampled) -> Var {
        self.inner.of(data)
    }

    fn outer(&self, adapted: &Adapted<'_>) -> Var {
        let (steps, last) = (adapted.steps, adapted.last);
        let scores = match self.factor {
            Factor::Formula => {
                let mean = |data: &Sampled| data.log_prob() / data.episodes.trajectories() as f64;
                last.value() * steps.iter().map(mean).reduce(|sum, one| sum + one).expect("an inner step")
            }
            Factor::Released => {
                let reward = last.mean(last.on_policy.rewards());
                (reward - adapted.shift) * adapted.scale * steps[0].mean(steps[0].on_policy.log_prob())
            }
        };
        value(last) + scores
    }

    /// The mean of all steps' rewards, and one over their deviation.
    fn across(&self, outcomes: &[Outcome]) -> Vec<[f64; 2]> {
        if self.factor == Factor::Formula {
            return vec![[0.0, 1.0]; outcomes.len()];
        }
        let sum = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>();
        let steps = sum(|one| one.steps);
        let mean = sum(|one| one.rewards) / steps;
        // Rounding may leave less than nothing of what does not vary.
        let deviation = (sum(|one| one.squares) / steps - mean * mean).max(0.0).sqrt();
        vec![[mean, 1.0 / (deviation + 1e-8)]; outcomes.len()]
    }
}
