//! Proof by exhaustion for N-sample objectives: the expectation over every N-tuple of outcomes, against the exact
//! derivatives of the objective.

use ad::{Handle, Tape, Var, vmap_many};
use ndarray::ArrayD;

use super::Report;
use super::terms::{derivatives_in_a_row, weighted_sums};
use super::tuples::{products, tuples};
use crate::additive::{Additive, Data, Finite, Recorded, Samples};
use crate::error::{Error, Result};
use crate::rollout::split_leading;

/// Compares the exact expectations of a surrogate's derivatives, of orders 0 to `order`, with those of
/// G(θ) = E[f(φ̄_N, θ)] itself, where N is `samples`: Σ Π_i p_θ(x_i) f(φ̄(x), θ) over every N-tuple x, differentiated.
///
/// The surrogate is any function of the N samples and θ: a method of [`Additive`], or one's own.
///
/// # Errors
///
/// [`Error::TooManyTrajectories`] if there are more than 10^6 tuples; [`Error::Empty`] for no samples; those of
/// [`Finite::outcomes`].
///
/// ```
/// use rl::additive::{Additive, Softmax};
/// use rl::truth::check_additive;
/// // X is one of three numbers, and what counts is the square of their mean.
/// let numbers = ndarray::arr1(&[1.0, -2.0, 0.5]);
/// let feature = |x: ad::Index, theta: ad::Var| (theta.full_like(0.0) + &numbers).gather(&[x]);
/// let objective = Additive::new(Softmax { outcomes: 3 }, feature, |mean, _| mean.square());
/// let theta = ndarray::arr1(&[0.3, -0.1, 0.4]).into_dyn();
/// let exact = check_additive(&objective, |x, theta| objective.score_function(x, theta), &theta, 2, 2)?;
/// assert!(exact.is_unbiased(1) && exact.is_unbiased(2));
/// let linear = check_additive(&objective, |x, theta| objective.linearised_score_function(x, theta), &theta, 2, 1)?;
/// assert!(linear.orders[1].max_abs_bias() > 1e-3);
/// # Ok::<(), rl::error::Error>(())
/// ```
pub fn check_additive<D, P, F>(
    objective: &Additive<D, P, F>,
    surrogate: impl FnOnce(Samples<D>, Var) -> Var,
    theta: &ArrayD<f64>,
    samples: usize,
    order: usize,
) -> Result<Report>
where
    D: Finite,
    P: Fn(Samples<D>, Var) -> Var,
    F: Fn(Var, Var) -> Var,
{
    if samples == 0 {
        return Err(Error::Empty { what: "samples" });
    }
    let (outcomes, factors) = objective.distribution.outcomes()?;
    let members = tuples(factors.len(), samples)?;
    let factors = products(&factors.to_vec(), &members, samples);

    let tape = Tape::new();
    let theta = tape.input("theta", theta);
    let all = split_leading(&outcomes.select(&members).record(&tape).handles(), samples);
    let factors = tape.constant(factors);
    let likelihood = |x| objective.distribution.log_prob(x, theta).sum().exp();
    let surrogates = map(&all, |x| derivatives_in_a_row(surrogate(x, theta), theta, order));
    let values = map(&all, |x| derivatives_in_a_row(likelihood(x) * objective.value(x, theta), theta, order));
    let found = weighted_sums(surrogates, map(&all, likelihood) * factors);
    Ok(Report::evaluate(found, weighted_sums(values, factors), theta, order))
}

/// A function of the samples of each tuple.
fn map<S: Recorded>(all: &[Handle], f: impl FnOnce(S) -> Var) -> Var {
    vmap_many(|one| f(S::from_handles(one)), all)
}
