//! Derivatives of exact values.

use ad::{Tape, Var};
use ndarray::{Array2, ArrayD};

use super::terms::derivative_or_zero;
use crate::env::{Horizon, TabularMdp};
use crate::error::Result;
use crate::policy::softmax;

/// V(θ), ∇V(θ), …, ∇^`order` V(θ), exactly, where V is the value of the start distribution under the softmax policy with
/// logits θ, `[S, A]`. The k-th has k times θ's shape.
///
/// # Errors
///
/// [`Decay`](crate::error::Error::Decay) unless 0 ≤ γ ≤ 1; for γ = 1 in an infinite horizon, if episodes need not end,
/// [`UndiscountedWithoutTermination`](crate::error::Error::UndiscountedWithoutTermination); and
/// [`Shape`](crate::error::Error::Shape) for logits or terminal values that do not fit.
///
/// ```
/// # use ndarray::{arr2, arr3, array};
/// use rl::{env::{Horizon, TabularMdp}, truth::derivatives};
/// let mdp = TabularMdp::new(
///     array![[[0.7, 0.3], [0.2, 0.8]], [[0.5, 0.5], [0.9, 0.1]]],
///     array![[1.0, 0.0], [0.0, 2.0]],
/// )?;
/// let truth = derivatives(&mdp, &array![[0.3, -0.2], [0.1, 0.4]], 0.9, &Horizon::Infinite, 2)?;
/// assert!((truth[0].sum() - 8.159686238900196).abs() < 1e-12);
/// assert_eq!(truth[2].shape(), [2, 2, 2, 2]);
/// # Ok::<(), rl::error::Error>(())
/// ```
pub fn derivatives(
    mdp: &TabularMdp,
    logits: &Array2<f64>,
    gamma: f64,
    horizon: &Horizon,
    order: usize,
) -> Result<Vec<ArrayD<f64>>> {
    mdp.check_value_exists(&softmax(logits), gamma, horizon)?;
    let tape = Tape::new();
    let (process, theta) = (mdp.record(&tape), tape.input("theta", logits));
    let value = process.start.dot(process.values(theta.softmax(), gamma, horizon));
    // (The value of no step at all does not depend on θ.)
    let results: Vec<Var> = (0..=order).map(|order| derivative_or_zero(value, theta, order)).collect();
    Ok(ad::evaluate(&results))
}
