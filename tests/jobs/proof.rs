//! A proof that an estimator's derivatives are unbiased to second order, and a refutation of one that looks as good.
use rl::prelude::*;

/// REINFORCE with the mean of the batch's returns for a baseline, or that of the other trajectories' returns.
fn reinforce(batch: &Batch, leave_one_out: bool) -> Var {
    let returns = batch.discounted_sum(batch.rewards());
    let mean = match leave_one_out {
        true => (returns.sum() - returns) / (returns.size() as f64 - 1.0),
        false => returns.mean().broadcast_to(&returns.shape()),
    };
    // 1, with the derivatives of p(τ)/p(τ).
    let weight = batch.log_prob().sum_axes(&[1]).magic_box();
    ((returns - mean) * weight + mean).mean()
}

#[test]
fn a_proof_and_a_refutation() -> Result<()> {
    let mdp = TabularMdp::random(2, 2, 1.0, &mut stream(0, 0))?;
    // Every pair of trajectories of 3 steps, of a softmax policy with these logits.
    let setting = Setting::new(&mdp, &array![[0.3, -0.2], [0.1, 0.4]], 3, 0.9);

    let proved = check_unbiased(|batch| reinforce(batch, true), &setting, 2, 2)?;
    assert!(proved.is_unbiased(0) && proved.is_unbiased(1), "{proved}");
    let refuted = check_unbiased(|batch| reinforce(batch, false), &setting, 2, 2)?;
    assert!(!refuted.is_unbiased(1), "half of the gradient is missing: {refuted}");

    // DiCE's Hessian is right; that of the usual surrogate, log π times the return, is not.
    let dice = check_unbiased(|batch| ImportanceSampling.surrogate(batch), &setting, 2, 1)?;
    assert!(dice.is_unbiased(2), "{dice}");
    let usual = |batch: &Batch| (batch.log_prob().sum_axes(&[1]) * batch.discounted_sum(batch.rewards())).mean();
    let usual = check_unbiased(usual, &setting, 2, 1)?;
    assert!(usual.is_unbiased(1) && !usual.is_unbiased(2), "{usual}");
    Ok(())
}
