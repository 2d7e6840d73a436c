//! What an expectation is the sum of: the derivatives of one term for each outcome, all orders of a term in one row.

use ad::Var;
use ndarray::{ArrayD, Axis, IxDyn};

use super::verdict::max_abs;

/// A surrogate whose value does not depend on θ at all has derivatives of 0, which is worth knowing and no error here.
pub(crate) fn derivative_or_zero(value: Var, theta: Var, order: usize) -> Var {
    let nothing = theta.full_like(0.0).select(theta, 0.0).sum();
    (value + nothing).derivative(theta, order)
}

/// x, ∇x, … ∇^`order` x of a scalar, flat and one behind the other.
pub(super) fn derivatives_in_a_row(x: Var, theta: Var, order: usize) -> Var {
    let flat = |order| {
        let derivative = derivative_or_zero(x, theta, order);
        derivative.reshape(&[derivative.size()])
    };
    Var::concat(&(0..=order).map(flat).collect::<Vec<_>>(), 0)
}

/// Σ_i w_i x_i and Σ_i |w_i x_i| of rows x_i, `[N, …]`, with weights `[N]`.
pub(super) fn weighted_sums(rows: Var, weights: Var) -> [Var; 2] {
    let mut shape = vec![1; rows.shape().len()];
    shape[0] = weights.size();
    let terms = rows * weights.reshape(&shape);
    [terms.sum_axes(&[0]), terms.abs().sum_axes(&[0])]
}

/// For each order of derivative, a sum over all outcomes, and the largest entry of the same sum of absolute values, of this
/// order or of one below: a derivative is made of those below it, which cancel in it where a policy is nearly certain
/// (a score is 1 − π, known to what 1 is known to).
pub(super) struct Sums {
    pub orders: Vec<(ArrayD<f64>, f64)>,
}

impl Sums {
    /// From the two [`weighted_sums`] of [`derivatives_in_a_row`].
    pub fn new([sum, absolute]: [ArrayD<f64>; 2], theta: &[usize], order: usize) -> Self {
        let (mut start, mut scale) = (0, 0.0);
        let orders = (0..=order).map(|order| {
            let shape = theta.repeat(order);
            let size: usize = shape.iter().product();
            let part =
                |row: &ArrayD<f64>| -> ArrayD<f64> { row.slice_axis(Axis(0), (start..start + size).into()).to_owned() };
            let (sum, absolute) = (part(&sum), part(&absolute));
            start += size;
            scale = max_abs(&[scale, max_abs(&absolute)]);
            (sum.into_shape_with_order(IxDyn(&shape)).expect("as many entries"), scale)
        });
        Self { orders: orders.collect() }
    }
}
