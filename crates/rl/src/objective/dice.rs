//! DiCE with what is subtracted from it to lower the variance: baselines by a critic, and by the rest of the batch.
//!
//! The plain one, without, is [`ImportanceSampling`](super::ImportanceSampling). All are functions of rewards alone: a
//! truncated trajectory's end counts as 0, whatever the critic says. W_t = Π_{k≤t} ρ_k, and b is the critic.

use ad::Var;

use super::{Claim, End, Estimator, Facts, Orders};
use crate::batch::Batch;

/// Σ_t γ^t r_t W_t + Σ_t γ^t (1 − ρ_t) b(s_t): DiCE with the baseline of Foerster et al. 2018, as their LOLA has it.
///
/// Unbiased at every order, because a step's box is multiplied with what came before that step only. It lowers the
/// variance of the gradient; of the Hessian only the part without the terms that couple two steps.
#[derive(Clone, Copy, Debug)]
pub struct DiceBaseline;

/// Σ_t γ^t r_t W_t + Σ_t γ^t (1 − ρ_t) b(s_t) − Σ_t γ^t (1 − ρ_t) (1 − W_{t−1}) b(s_t): DiCE with the second-order baseline of
/// Mao et al. 2019.
///
/// Unbiased at every order. The second baseline has neither value nor gradient, and takes b off the terms of the Hessian
/// that couple two steps. Together the two are Σ γ^t (W_{t−1} − W_t) b(s_t), so that this is the doubly robust estimate but for
/// the critic's value at the end of a truncated trajectory.
#[derive(Clone, Copy, Debug)]
pub struct DiceMao;

/// Σ_t γ^t r_t W_t + Σ_t γ^t (1 − W_t) (1 − ρ_t) b(s_t): DiCE with the control variate of Taming MAML (Liu, Socher & Xiong 2019),
/// by the paper's formula.
///
/// The gradient is DiCE's: of a product of two differences that are 0, none is left. The Hessian is not unbiased, and has more
/// variance than DiCE's: W_t has the score of step t itself, so that 2 E Σ_t γ^t b(s_t) u_t u_tᵀ is left, u_t = ∇log π(a_t|s_t).
/// (The published code sums along another axis than time; that is unbiased, and controls nothing.) The version that works,
/// with W_{t−1} and the other sign, beside the baseline of the gradient, is [`DiceMao`].
#[derive(Clone, Copy, Debug)]
pub struct DiceTmaml;

/// Σ_t γ^t (r_t − r̄_t) W_t, r̄_t the mean of r_t over the batch: as LOLA-DiCE (Foerster et al. 2018) is published without a
/// critic.
///
/// Nothing is claimed. The mean contains the trajectory itself: in a batch of n, every derivative is too small by the
/// factor 1 − 1/n, and the value is centred away.
#[derive(Clone, Copy, Debug)]
pub struct DiceCentred;

/// Σ_t γ^t r_t W_t + Σ_t γ^t (1 − W_t) r̄_t, r̄_t the mean of r_t over the *other* trajectories of the batch.
///
/// Unbiased at every order, because the others are independent. It needs a batch of at least two.
#[derive(Clone, Copy, Debug)]
pub struct DiceLeaveOneOut;

impl Estimator for DiceBaseline {
    fn facts(&self) -> Facts {
        Facts { name: "dice_baseline".into(), claim: Claim::ALL, end: End::Nothing, smallest_batch: 1 }
    }

    fn formula(&self, batch: &Batch) -> Var {
        let own = -batch.ratio() + 1.0;
        batch.importance_weighted_sum(batch.rewards() * batch.discounts()) + batch.discounted_sum(own * baseline(batch))
    }
}

impl Estimator for DiceMao {
    fn facts(&self) -> Facts {
        Facts { name: "dice_mao".into(), claim: Claim::ALL, end: End::Nothing, smallest_batch: 1 }
    }

    fn formula(&self, batch: &Batch) -> Var {
        // Σ_t γ^t (W_{t−1} − W_t) b_t summed by parts: no difference of two large weights is left.
        let (baseline, horizon) = (baseline(batch), batch.steps.horizon());
        let next = baseline.slice(1, 1..horizon).pad(1, 0, 1);
        let weighted = (batch.rewards() + next * batch.step_discount() - baseline) * batch.discounts();
        baseline.at(1, 0) + batch.importance_weighted_sum(weighted)
    }
}

impl Estimator for DiceTmaml {
    fn facts(&self) -> Facts {
        Facts { name: "tmaml".into(), claim: Claim::on_policy(Orders::UpTo(1)), end: End::Nothing, smallest_batch: 1 }
    }

    fn formula(&self, batch: &Batch) -> Var {
        let controlled = (-batch.ratio() + 1.0) * baseline(batch);
        batch.importance_weighted_sum((batch.rewards() - controlled) * batch.discounts())
            + batch.discounted_sum(controlled)
    }
}

impl Estimator for DiceCentred {
    fn facts(&self) -> Facts {
        Facts { name: "dice_centred".into(), claim: Claim::NONE, end: End::Nothing, smallest_batch: 2 }
    }

    fn formula(&self, batch: &Batch) -> Var {
        // Behind a trajectory's end its reward is 0, but the mean is not: it counts there too.
        let rewards = batch.rewards();
        batch.importance_weighted_sum(batch.credit(rewards - rewards.mean_axes(&[0])) * batch.discounts())
    }
}

impl Estimator for DiceLeaveOneOut {
    fn facts(&self) -> Facts {
        Facts { name: "dice_leave_one_out".into(), claim: Claim::ALL, end: End::Nothing, smallest_batch: 2 }
    }

    fn formula(&self, batch: &Batch) -> Var {
        let trajectories = batch.steps.trajectories();
        assert!(trajectories >= 2, "dice_leave_one_out: a batch of {trajectories} has no others to take the mean of");
        let rewards = batch.rewards();
        // The sum of those before and those behind: the sum of all without one's own would lose what is small beside that.
        let behind = rewards.scan_reverse(1.0, 0).slice(0, 1..trajectories).pad(0, 0, 1);
        let others = (rewards.cumsum_exclusive(0) + behind) * (1.0 / (trajectories as f64 - 1.0));
        batch.importance_weighted_sum((rewards - others) * batch.discounts()) + batch.discounted_sum(others)
    }
}

/// b(s_0) … b(s_{L−1}), `[N, H]`.
#[track_caller]
fn baseline(batch: &Batch) -> Var {
    batch.steps.on_steps(batch.values_here_and_next().0)
}
