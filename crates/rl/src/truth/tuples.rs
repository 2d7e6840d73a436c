//! Every tuple of things that can be listed: what a batch of independent samples can be.

use ndarray::Array1;

use crate::error::{Result, tuple_count};

/// The members of every `size`-tuple of `count` things, tuple after tuple: tuple k has the digits of k in base `count`.
pub(super) fn tuples(count: usize, size: usize) -> Result<Vec<usize>> {
    let tuples = tuple_count(count, size)?;
    let digit = |tuple: usize, i: usize| tuple / count.pow(i as u32) % count;
    Ok((0..tuples * size).map(|n| digit(n / size, n % size)).collect())
}

/// For each tuple the product of its members' weights.
pub(super) fn products(weights: &[f64], members: &[usize], size: usize) -> Array1<f64> {
    members.chunks(size).map(|tuple| tuple.iter().map(|&member| weights[member]).product()).collect()
}
