//! Every tuple of things that can be listed: what a batch of independent samples can be.

use ndarray::Array1;

use crate::error::{Error, Result};

/// How many tuples are listed at most.
const TUPLE_LIMIT: usize = 1_000_000;

/// The members of every `size`-tuple of `count` things, tuple after tuple: tuple k has the digits of k in base `count`.
pub(super) fn tuples(count: usize, size: usize) -> Result<Vec<usize>> {
    let tuples = tuple_count(count, size)?;
    let digit = |tuple: usize, i: usize| tuple / count.pow(i as u32) % count;
    Ok((0..tuples * size).map(|n| digit(n / size, n % size)).collect())
}

/// How many `size`-tuples of `count` things there are; an error if they are too many to be listed.
pub(super) fn tuple_count(count: usize, size: usize) -> Result<usize> {
    u32::try_from(size)
        .ok()
        .and_then(|size| count.checked_pow(size))
        .filter(|&tuples| tuples <= TUPLE_LIMIT)
        .ok_or(Error::TooManyTrajectories { count: (count as f64).powf(size as f64), limit: TUPLE_LIMIT })
}

/// For each tuple the product of its members' weights.
pub(super) fn products(weights: &[f64], members: &[usize], size: usize) -> Array1<f64> {
    members.chunks(size).map(|tuple| tuple.iter().map(|&member| weights[member]).product()).collect()
}
