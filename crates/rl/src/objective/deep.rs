//! The forms in which deep algorithms write surrogates.

use ad::Var;

use super::{Claim, Estimator, Facts, ImportanceSampling, ScoreFunction, TayPo};
use crate::batch::{Batch, Form};

/// A surrogate as deep algorithms write it: with any of these changed in it,
///
/// - no γ^t: what comes late counts as much as what comes early, although γ is in the advantages;
/// - credits ([`Form::normalised`]): advantages (of `is`, rewards) shifted and scaled by the batch's own mean and deviation;
/// - advantages by GAE(λ) with λ < 1;
/// - the mean over steps instead of over trajectories: Σ_n Σ_t / Σ_n L_n.
///
/// Each is the derivative of no value, so nothing is claimed. What is true of it: without γ^t nothing changes at γ = 1; the mean
/// over steps is that over trajectories divided by L, if all are of the same length L; and a shift or scale by what the batch
/// itself has makes every derivative a function of all trajectories. By enumeration in `tests/deep.rs`.
///
/// It is meant for `ad`, LVC, TayPO-K and `is`, as TRPO, PPO, ProMP and MAML have them, and for Loaded DiCE.
///
/// ```
/// use rl::{batch::Form, objective::{Deep, Estimator, TayPo}};
/// // ProMP's inner surrogate: LVC, GAE(λ = 1), normalised over the batch, the mean over steps.
/// let form = Form { discounted: false, normalised: true, lambda: 1.0 };
/// let lvc = Deep { form, ..Deep::of(TayPo { order: 1 }) };
/// assert_eq!(lvc.facts().name, "lvc_undiscounted_normalised_over_steps");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Deep<E> {
    /// Of which estimator.
    pub estimator: E,
    /// How its parts are written.
    pub form: Form,
    /// Whether it is the mean over steps, and not over trajectories.
    pub over_steps: bool,
}

impl<E> Deep<E> {
    /// No γ^t, the mean over steps, credits as they are, λ = 1.
    pub fn of(estimator: E) -> Self {
        Self { estimator, form: Form { discounted: false, ..Form::VALUE }, over_steps: true }
    }
}

/// `ad`, `lvc`, `taypo2` and `is` in each form that changes one thing, and with all of them changed.
pub fn deep() -> Vec<Box<dyn Estimator>> {
    let changes = [
        (Form { discounted: false, ..Form::VALUE }, false),
        (Form { normalised: true, ..Form::VALUE }, false),
        (Form { lambda: 0.5, ..Form::VALUE }, false),
        (Form::VALUE, true),
        (Form { discounted: false, normalised: true, lambda: 0.95 }, true),
    ];
    let all = |(form, over_steps)| -> [Box<dyn Estimator>; 4] {
        [
            Box::new(Deep { estimator: ScoreFunction, form, over_steps }),
            Box::new(Deep { estimator: TayPo { order: 1 }, form, over_steps }),
            Box::new(Deep { estimator: TayPo { order: 2 }, form, over_steps }),
            Box::new(Deep { estimator: ImportanceSampling, form, over_steps }),
        ]
    };
    changes.into_iter().flat_map(all).collect()
}

impl<E: Estimator> Estimator for Deep<E> {
    fn facts(&self) -> Facts {
        let Form { discounted, normalised, lambda } = self.form;
        let changes = [
            (!discounted, "_undiscounted"),
            (normalised, "_normalised"),
            (lambda != 1.0, "_gae"),
            (self.over_steps, "_over_steps"),
        ];
        let facts = self.estimator.facts();
        let changed = changes.iter().filter(|(differs, _)| *differs);
        let name = changed.clone().fold(facts.name, |name, (_, change)| name + change);
        let claim = if changed.count() == 0 { facts.claim } else { Claim::NONE };
        // A trajectory is compared with the others, or weighs more the shorter they are.
        let couples = normalised || self.over_steps;
        Facts { name, claim, smallest_batch: facts.smallest_batch.max(1 + usize::from(couples)), ..facts }
    }

    fn formula(&self, batch: &Batch) -> Var {
        let formula = self.estimator.formula(&batch.in_form(self.form));
        match self.over_steps {
            true => formula * (batch.steps.trajectories() as f64 / batch.steps.taken.sum()),
            false => formula,
        }
    }
}
