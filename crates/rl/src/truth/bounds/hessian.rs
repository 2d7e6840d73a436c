//! What a Hessian of a value is the sum of (Rothfuss et al. 2019, appendix B.1), by dynamic programming: independent of the
//! trajectories that [`HessianTerms`](crate::objective::HessianTerms) is estimated from.

use ad::Tape;
use ndarray::{Array2, s};

use crate::env::{Horizon, TabularMdp};
use crate::error::Result;
use crate::policy::softmax;

/// H12 = E Σ_t γ^t ∇log π(a_t|s_t) ∇Q_t(s_t, a_t)ᵀ (Eq. 50), `[D, D]`, of the softmax policy with logits θ, `[S, A]`, over
/// `steps` steps, Q_t the action value with the steps that are left: how an action changes what later actions are worth. The
/// score of the *earlier* step is the row.
///
/// ∇²V = H1 + H2 + H12 + H12ᵀ, and LVC's Hessian is biased by −(H12 + H12ᵀ). As sums over trajectories, (46) and (56) print
/// E Σ_t (Σ_{t′≤t} Σ_{h<t′} u_{t′} u_hᵀ) r_t for it, where the *later* score is the row: that is H12ᵀ.
///
/// # Errors
///
/// Those of [`derivatives`](crate::truth::derivatives).
pub fn coupling(mdp: &TabularMdp, logits: &Array2<f64>, gamma: f64, steps: usize) -> Result<Array2<f64>> {
    let policy = softmax(logits);
    mdp.check_value_exists(&policy, gamma, &Horizon::Finite { steps, terminal: None })?;
    let (states, actions) = policy.dim();
    let size = states * actions;

    // ∇Q with so many steps left, `[S, A, D]`.
    let tape = Tape::new();
    let (process, theta) = (mdp.record(&tape), tape.input("theta", logits));
    let going_on = -process.termination + 1.0;
    let gradients: Vec<_> = (0..steps)
        .map(|later| {
            let next = process.finite_value(theta.softmax(), gamma, later, None) * going_on;
            let q = process.reward + (process.transition * next).sum_axes(&[2]) * gamma;
            // (The last step's does not depend on θ.)
            let q = q + theta.full_like(0.0).select(theta, 0.0);
            q.jacobian(theta).reshape(&[states, actions, size])
        })
        .collect();
    let gradients = ad::evaluate(&gradients);

    let mut sum = Array2::zeros((size, size));
    let mut here = mdp.start().clone();
    for t in 0..steps {
        let gradient = &gradients[steps - 1 - t];
        for ((s, a), &choice) in policy.indexed_iter() {
            let weight = gamma.powi(t as i32) * here[s] * choice;
            for b in 0..actions {
                let score = f64::from(a == b) - policy[[s, b]];
                sum.row_mut(s * actions + b).scaled_add(weight * score, &gradient.slice(s![s, a, ..]));
            }
        }
        let mut next = ndarray::Array1::zeros(states);
        for ((s, a), &choice) in policy.indexed_iter() {
            next.scaled_add(here[s] * choice, &mdp.transition().slice(s![s, a, ..]));
        }
        here = next * mdp.termination().mapv(|end| 1.0 - end);
    }
    Ok(sum)
}
