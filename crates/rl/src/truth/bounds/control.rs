//! What LVC leaves out of a Hessian in linear-quadratic control of one component, in closed form (Rothfuss et al. 2019, section 5).
//!
//! In tables the part that LVC leaves out vanishes at *every* policy that is nearly certain, right or wrong: scores do. So tables
//! cannot show what the paper says, that it vanishes where the policy is right. Here scores do not, and it does.

use crate::env::LinearQuadratic;
use crate::error::{Error, Result, check_deviation, check_discount, check_finite};
use crate::rollout::check_shape;

/// ∇²V = H1 + H2 + (H12 + H12ᵀ), as two numbers, and ∇V. The problem is discounted and has no end, the policy is N(k s, σ²), and
/// derivatives are by k.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ControlHessian {
    /// ∇V: P′ (1 − γ F²) M.
    pub gradient: f64,
    /// H1 + H2, LVC's Hessian: 2 (γ b² P − r) M.
    pub kept: f64,
    /// H12 + H12ᵀ, what LVC leaves out: 4 γ b F P′ M.
    pub left_out: f64,
}

impl ControlHessian {
    /// |H12 + H12ᵀ| as a part of |∇²V|.
    pub fn share(&self) -> f64 {
        self.left_out.abs() / (self.kept + self.left_out).abs()
    }
}

/// The Hessian at a gain k. With F = a + b k,
///
/// ```text
/// V(s) = P s² + c,    P(k) = −(q + r k²) / (1 − γ F²),    M = Σ_t γ^t E s_t² = (σ_0² + γ (b²σ² + w²) / (1 − γ)) / (1 − γ F²)
/// ```
///
/// H12 = E Σ_t γ^t u_t ∂Q(s_t, a_t)/∂k, u_t the score ε_t s_t / σ, and by Stein's lemma it is 2 γ b F P′ M; H1 + H2 = E Σ_t γ^t s_t²
/// ∂²Q/∂a². The start's and the noise's sizes are in M alone, and no part of the [share](ControlHessian::share). The optimum is where
/// P′ = 0, and H12 with it.
///
/// # Errors
///
/// [`Error::Shape`] unless states and actions have one component;
/// [`Error::Decay`] unless 0 ≤ γ ≤ 1; [`Error::NotFinite`] where γ or
/// γ F² is 1 or more: then there is no value.
///
/// ```
/// use ndarray::array;
/// use rl::env::LinearQuadratic;
/// use rl::truth::bounds::control::{hessian, optimal_gain};
/// let problem = LinearQuadratic::new(array![[0.9]], array![[0.5]], array![[1.0]], array![[0.1]])?;
/// let best = optimal_gain(&problem, 0.9)?;
/// assert!(hessian(&problem, best, 0.5, 0.9)?.share() < 1e-12);
/// assert!(hessian(&problem, best - 0.3, 0.5, 0.9)?.share() > 0.01);
/// # Ok::<(), rl::error::Error>(())
/// ```
pub fn hessian(problem: &LinearQuadratic, gain: f64, deviation: f64, gamma: f64) -> Result<ControlHessian> {
    let [a, b, q, r] = numbers(problem)?;
    check_deviation(deviation)?;
    let closed = a + b * gain;
    let left = 1.0 - gamma * closed * closed;
    check_value_exists(gamma, left)?;
    let value = -(q + r * gain * gain) / left;
    // (1 − γ F²) P′ = −2 (r k − γ b F P)
    let slope = -2.0 * (r * gain - gamma * b * closed * value) / left;
    let [start, noise] = problem.deviations();
    let spread = b * b * deviation * deviation + noise * noise;
    let visited = (start * start + gamma * spread / (1.0 - gamma)) / left;
    Ok(ControlHessian {
        gradient: slope * left * visited,
        kept: 2.0 * (gamma * b * b * value - r) * visited,
        left_out: 4.0 * gamma * b * closed * slope * visited,
    })
}

/// The gain k* of the best policy: −γ a b X / (r + γ b² X), X the solution of X = q + γ a² X − (γ a b X)² / (r + γ b² X), Riccati's.
///
/// # Errors
///
/// Those of [`hessian`]; [`Error::NotFinite`] where r + γ b² X is 0.
pub fn optimal_gain(problem: &LinearQuadratic, gamma: f64) -> Result<f64> {
    let [a, b, q, r] = numbers(problem)?;
    check_value_exists(gamma, 1.0)?;
    // The positive root of γ b² X² + (r − γ b² q − γ a² r) X − q r = 0, in the form in which nothing cancels.
    let (square, linear, constant) = (gamma * b * b, r - gamma * b * b * q - gamma * a * a * r, -q * r);
    let root = (linear * linear - 4.0 * square * constant).sqrt();
    let x = if linear > 0.0 { -2.0 * constant / (linear + root) } else { (root - linear) / (2.0 * square) };
    let gain = -gamma * a * b * x / (r + square * x);
    check_finite([&gain], |_| "the best gain".to_owned())?;
    Ok(gain)
}

/// a, b, q and r of a problem of one component.
fn numbers(problem: &LinearQuadratic) -> Result<[f64; 4]> {
    let matrices = problem.matrices();
    for (what, matrix) in ["A", "B", "Q", "R"].into_iter().zip(matrices) {
        check_shape(what, matrix.shape(), &[1, 1])?;
    }
    Ok(matrices.map(|matrix| matrix[[0, 0]]))
}

fn check_value_exists(gamma: f64, left: f64) -> Result<()> {
    check_discount(gamma)?;
    // At γ = 1 noise is paid for without end, and beyond γ F² = 1 the state grows faster than it is discounted.
    if gamma < 1.0 && left > 0.0 {
        return Ok(());
    }
    Err(Error::NotFinite {
        what: "the value without an end, of this gain and discount,".to_owned(),
        value: f64::NEG_INFINITY,
    })
}
