//! How many nodes make an expectation exact: so many that one more changes nothing.

use ndarray::{ArrayD, Zip};

use super::verdict::{ROUNDING, max_abs};
use crate::error::{Error, Result};

/// How many nodes a normal number has at first: exact up to the seventh power, as in the Hessian of an estimate by the policy's σ.
pub(super) const FEWEST_NODES: usize = 4;

/// What one node more may change, as a part of the sum of absolute values: less than a bias that is judged.
const SETTLED: f64 = 0.1 * ROUNDING;

/// Sums and sums of absolute values with so many nodes for each normal number that one more does not change them. `sums` are those of
/// [`FEWEST_NODES`], `at` gives those of other numbers.
///
/// A polynomial whose degree is too high for n nodes is not so for n + 1 by more than chance: its integrals differ. Of other functions
/// they approach each other.
///
/// # Errors
///
/// [`Error::Quadrature`] if there would be too many trajectories before that.
pub(super) fn settled(
    mut sums: [ArrayD<f64>; 2],
    mut at: impl FnMut(usize) -> Result<[ArrayD<f64>; 2]>,
) -> Result<[ArrayD<f64>; 2]> {
    let (mut nodes, mut difference) = (FEWEST_NODES, f64::INFINITY);
    let mut other = |nodes, difference: f64| match at(nodes) {
        Err(Error::TooManyTrajectories { .. }) if difference.is_finite() => {
            Err(Error::Quadrature { nodes: nodes - 1, difference })
        }
        result => result,
    };
    loop {
        let more = other(nodes + 1, difference)?;
        difference = change(&sums, &more);
        // A NaN stays one, whatever the number of nodes; whoever judges the sums sees it.
        if difference <= SETTLED || difference.is_nan() {
            return Ok(more);
        }
        nodes += nodes / 2;
        sums = other(nodes, difference)?;
    }
}

/// The largest difference of an entry, as a part of what it is the sum of; entries that are nearly nothing beside the others count as
/// parts of these.
fn change([sum, absolute]: &[ArrayD<f64>; 2], [other, _]: &[ArrayD<f64>; 2]) -> f64 {
    let largest = max_abs(absolute);
    let mut changes = Vec::with_capacity(sum.len());
    Zip::from(sum).and(other).and(absolute).for_each(|sum, other, absolute| {
        let scale = absolute.max(1e-3 * largest);
        changes.push(if sum == other { 0.0 } else { (sum - other).abs() / scale });
    });
    max_abs(&changes)
}
