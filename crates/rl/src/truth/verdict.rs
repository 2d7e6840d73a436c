//! The verdict on an estimator: exact expectations beside the truth, and what is rounding between them.

use std::fmt::{self, Display};

use ad::Var;
use ndarray::ArrayD;

use super::terms::Sums;

/// A bias that is at most this part of the [scale](OrderReport::scale) of what is summed is nothing but rounding.
pub const ROUNDING: f64 = 1e-12;

/// The largest |x| of some numbers, NaN if one of them is, and 0 if there are none. (`f64::max` passes a NaN over, as does
/// every fold that keeps a number unless a larger one comes.)
pub fn max_abs<'a>(numbers: impl IntoIterator<Item = &'a f64>) -> f64 {
    let larger = |largest: f64, x: &f64| if x.abs() <= largest || largest.is_nan() { largest } else { x.abs() };
    numbers.into_iter().fold(0.0, larger)
}

/// A surrogate's exact expectations beside the truth. Printed, it is a table with a verdict on each order.
#[derive(Clone, Debug)]
pub struct Report {
    /// One for each order, from 0 on.
    pub orders: Vec<OrderReport>,
}

/// One order of a [`Report`].
#[derive(Clone, Debug)]
pub struct OrderReport {
    /// The order of the derivative; 0 is the value.
    pub order: usize,
    /// E[∇^k surrogate], of k times θ's shape.
    pub expectation: ArrayD<f64>,
    /// ∇^k V.
    pub truth: ArrayD<f64>,
    /// How large the terms are whose sums are compared: the largest entry of Σ probability·|term| up to this order, of the
    /// surrogate's derivatives, or of those that make up the truth if that is more. In the unit of the rewards, like the
    /// bias: what a sum of such terms is known to is a part of this, however much of it cancels.
    pub scale: f64,
}

impl OrderReport {
    /// The largest entry of |E[∇^k surrogate] − ∇^k V|, NaN if one is.
    pub fn max_abs_bias(&self) -> f64 {
        max_abs(&(&self.expectation - &self.truth))
    }

    /// The largest entry of |∇^k V|, NaN if one is.
    pub fn max_abs_truth(&self) -> f64 {
        max_abs(&self.truth)
    }

    /// The [bias](Self::max_abs_bias) as a part of the [scale](Self::scale), in any unit of the rewards; NaN where either is
    /// not finite.
    pub fn relative_bias(&self) -> f64 {
        match self.max_abs_bias() {
            _ if !self.scale.is_finite() => f64::NAN,
            0.0 => 0.0,
            bias => bias / self.scale,
        }
    }

    /// Whether the bias is nothing but rounding: at most [`ROUNDING`], relative to the scale of what is summed.
    pub fn is_unbiased(&self) -> bool {
        self.relative_bias() <= ROUNDING
    }
}

impl Report {
    /// Of the sums over all outcomes, and the truth with the scale of what it is the sum of.
    pub(super) fn new(found: Sums, truth: Sums) -> Self {
        let pairs = found.orders.into_iter().zip(truth.orders).enumerate();
        let order = |(order, ((expectation, found), (truth, of_truth)))| OrderReport {
            order,
            expectation,
            truth,
            scale: max_abs(&[found, of_truth]),
        };
        Self { orders: pairs.map(order).collect() }
    }

    /// The same of sums on a tape, as [`weighted_sums`](super::terms::weighted_sums) makes them.
    pub(super) fn evaluate(found: [Var; 2], truth: [Var; 2], theta: Var, order: usize) -> Self {
        let mut values = ad::evaluate(&[found, truth].concat()).into_iter();
        let mut sums = || {
            let pair = [values.next(), values.next()].map(|value| value.expect("four were evaluated"));
            Sums::new(pair, &theta.shape(), order)
        };
        let found = sums();
        Self::new(found, sums())
    }

    /// Whether the derivative of this order is unbiased (to [`ROUNDING`]).
    ///
    /// Panics if the report does not go that far.
    pub fn is_unbiased(&self, order: usize) -> bool {
        self.orders[order].is_unbiased()
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "order  largest bias  largest truth  of terms up to")?;
        for order in &self.orders {
            let verdict = if order.is_unbiased() { "unbiased" } else { "BIASED" };
            let (bias, truth, scale) = (order.max_abs_bias(), order.max_abs_truth(), order.scale);
            writeln!(f, "{:>5}  {bias:>12.3e}  {truth:>13.3e}  {scale:>14.3e}  {verdict}", order.order)?;
        }
        Ok(())
    }
}
