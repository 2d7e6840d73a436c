//! SG-MRL, and the score-function estimate that it is equal to: MAML, and how θ changes the data of the inner steps.

use ad::Var;

use super::maml::value;
use super::{Adapted, Algorithm, InnerObjective, Outcome};
use crate::trajectories::Sampled;

/// ∇V(θ^K) through all inner steps, plus (V(θ^K) − b) Σ_k Σ_{τ ∈ D_k} ∇log p(τ; θ^k): Fallah et al. 2021, Eq. 13 and 39, with the
/// derivative of the inner steps at fixed data, by which it is unbiased for F_N (their printed Hessian counts the scores twice).
/// It is then SF (Tang 2022, Algorithm 1), E-MAML without its 1/N. The variance of the scores' term grows with N.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgmrl {
    /// What is ascended inside: by [`InnerObjective::Ad`] it is the algorithm of the paper.
    pub inner: InnerObjective,
    /// As the paper's tables were made: ∇V(θ′) is not taken through the inner steps (Sec. 5).
    pub first_order: bool,
    /// Whether b is the mean of V(θ′) over the other tasks, and not 0: the scores' mean is 0, so that no expectation changes.
    pub baseline: bool,
}

impl Algorithm for Sgmrl {
    fn inner(&self, data: &Sampled) -> Var {
        self.inner.of(data)
    }

    fn first_order(&self) -> bool {
        self.first_order
    }

    fn outer(&self, adapted: &Adapted<'_>) -> Var {
        let scores = adapted.steps.iter().map(Sampled::log_prob).reduce(|sum, one| sum + one).expect("an inner step");
        let last = adapted.last;
        value(last) + (last.value() - adapted.shift * last.unit()) * scores
    }

    /// The mean value of the others.
    fn across(&self, outcomes: &[Outcome]) -> Vec<[f64; 2]> {
        let others = outcomes.len() as f64 - 1.0;
        let of = |number: usize| {
            if !self.baseline || others == 0.0 {
                return 0.0;
            }
            let values = outcomes.iter().enumerate().filter(|(other, _)| *other != number).map(|(_, one)| one.value);
            values.sum::<f64>() / others
        };
        (0..outcomes.len()).map(|number| [of(number), 1.0]).collect()
    }
}
