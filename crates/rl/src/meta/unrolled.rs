//! The inner loop on the tape, for objectives whose data are known before the first step.

use ad::Var;

use crate::error::{check_rate, expect};

/// θ_K after K = `steps` steps of ascent, θ_{i+1} = θ_i + α ∇_θ J(θ_i) with α = `rate`; `objective(i, θ_i)` records J at
/// step i. Derivatives flow through the gradients (Liu et al. 2022, Eq. 2).
///
/// Panics unless the rate is finite and not negative.
///
/// ```
/// let tape = ad::Tape::new();
/// let theta = tape.input("theta", &ndarray::arr1(&[0.3, -0.2]));
/// // J = −|θ|²/2: each step shrinks θ by 1 − α.
/// let adapted = rl::meta::ascend(theta, 3, 0.1, |_, theta| theta.square().sum() * -0.5);
/// let meta_gradient = adapted.sum().grad(theta);
/// assert!((meta_gradient.value() - 0.9_f64.powi(3)).iter().all(|x| x.abs() < 1e-15));
/// ```
#[track_caller]
pub fn ascend(theta: Var, steps: usize, rate: f64, mut objective: impl FnMut(usize, Var) -> Var) -> Var {
    expect("ascend", check_rate(rate));
    let mut theta = theta;
    for step in 0..steps {
        theta = theta + objective(step, theta).grad(theta) * rate;
    }
    theta
}

/// stop(θ_c) + θ_h − stop(θ_h): the numbers of `value` θ_c with the derivatives of `derivatives` θ_h.
///
/// It separates the two errors of an estimated inner step, the one of where it leads and the one of its derivative, by
/// taking them from different estimates (Liu et al. 2022, App. G.1.2).
#[track_caller]
pub fn evaluates_to(value: Var, derivatives: Var) -> Var {
    // θ_h − stop(θ_h) first: it is exactly 0, so that the numbers are those of θ_c to the last bit.
    value.stop_gradient() + change(derivatives)
}

/// θ − stop(θ): 0, with the derivatives of θ. An infinite entry (the logit of an action that is never taken) is held fixed,
/// because ∞ − ∞ is NaN.
#[track_caller]
pub(super) fn change(theta: Var) -> Var {
    let theta = theta.abs().equal(f64::INFINITY).select(0.0, theta);
    theta - theta.stop_gradient()
}
