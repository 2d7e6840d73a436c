//! The log-softmax along an axis of length `n` between axes in front and `behind` numbers behind, and deviations from a
//! mean under its probabilities, without cancellation where one of them is near 1. Sums are taken in double precision.
//!
//! All work on some columns at a time, whose entries along the axis stand one below the other. Rows (where nothing is
//! behind) are turned into columns first.

use std::marker::PhantomData;

use super::functions::Number;
use super::map::View;
use super::reduce::{largest_of_row, ln_of_sum, logsumexp_of_row, subtrahend, term};
use crate::machine::simd::{self, Kernel};

/// So many columns are worked on at once.
const COLUMNS: usize = 64;

/// Numbers of rows that are turned at once, if a row is not longer.
const TURNED: usize = 512;

/// What is done to some columns.
trait Columns<T: Number> {
    /// `x` and `out` have `n` rows of `step` numbers, of which `count` from `start` on are the columns; and so has `p`,
    /// unless it has one number for each row.
    #[allow(clippy::too_many_arguments, reason = "a loop's numbers")]
    fn columns<const FMA: bool>(x: &[T], p: &[T], n: usize, step: usize, start: usize, count: usize, out: &mut [T]);
}

struct Along<'a, T, C> {
    x: &'a [T],
    p: View<'a, T>,
    n: usize,
    behind: usize,
    out: &'a mut [T],
    by: PhantomData<C>,
}

impl<T: Number, C: Columns<T>> Kernel for Along<'_, T, C> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { x, p, n, behind, out, .. } = self;
        if x.is_empty() {
            return;
        }
        let p_length = if p.repeat.is_some() { n } else { n * behind };
        // What is repeated comes again and again; where there are no probabilities, nobody asks.
        let p = |first: usize, count: usize| {
            let first = first % (p.numbers.len() / p_length).max(1);
            p.numbers.get(first * p_length..(first + count) * p_length).unwrap_or(&[])
        };
        if behind > 1 || n >= TURNED {
            let blocks = x.chunks_exact(n * behind).zip(out.chunks_exact_mut(n * behind));
            for (k, (x, out)) in blocks.enumerate() {
                for start in (0..behind).step_by(COLUMNS) {
                    C::columns::<FMA>(x, p(k, 1), n, behind, start, COLUMNS.min(behind - start), out);
                }
            }
            return;
        }
        let rows = COLUMNS.min(TURNED / n);
        let (mut x_turned, mut p_turned, mut turned) = ([T::zero(); TURNED], [T::zero(); TURNED], [T::zero(); TURNED]);
        for (k, (x, out)) in x.chunks(n * rows).zip(out.chunks_mut(n * rows)).enumerate() {
            let count = x.len() / n;
            let p = p(k * rows, count);
            turn(x, n, &mut x_turned);
            turn(p, n, &mut p_turned);
            let p = &p_turned[..p.len()];
            C::columns::<FMA>(&x_turned[..n * count], p, n, count, 0, count, &mut turned[..n * count]);
            for (i, out) in out.chunks_exact_mut(n).enumerate() {
                for j in 0..n {
                    out[j] = turned[j * count + i];
                }
            }
        }
    }
}

/// Rows of n numbers as columns.
#[inline(always)]
fn turn<T: Number>(x: &[T], n: usize, turned: &mut [T]) {
    let count = x.len() / n;
    for (i, x) in x.chunks_exact(n).enumerate() {
        for j in 0..n {
            turned[j * count + i] = x[j];
        }
    }
}

struct LogSoftmax;

/// out = x − ln Σ e^x, computed of the differences to the largest x (where that is finite).
pub fn log_softmax<T: Number>(x: &[T], n: usize, behind: usize, out: &mut [T]) {
    if behind == 1 && n >= COLUMNS {
        return simd::run(LongRows { x, n, out });
    }
    simd::run(Along { x, p: View { numbers: &[], repeat: None }, n, behind, out, by: PhantomData::<LogSoftmax> });
}

/// Each long enough for vectors of its own.
struct LongRows<'a, T> {
    x: &'a [T],
    n: usize,
    out: &'a mut [T],
}

impl<T: Number> Kernel for LongRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { x, n, out } = self;
        for (x, out) in x.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
            let subtrahend = subtrahend(largest_of_row(x));
            for i in 0..n {
                out[i] = x[i] - subtrahend;
            }
            let total = logsumexp_of_row::<T, FMA>(out);
            for out in out {
                *out -= total;
            }
        }
    }
}

impl<T: Number> Columns<T> for LogSoftmax {
    #[inline(always)]
    fn columns<const FMA: bool>(x: &[T], _: &[T], n: usize, step: usize, start: usize, count: usize, out: &mut [T]) {
        let (mut largest, mut total) = ([T::neg_infinity(); COLUMNS], [0.0; COLUMNS]);
        let (largest, total) = (&mut largest[..count], &mut total[..count]);
        for j in 0..n {
            let x = &x[j * step + start..][..count];
            for i in 0..count {
                largest[i] = if x[i] > largest[i] { x[i] } else { largest[i] };
            }
        }
        for j in 0..n {
            let (x, out) = (&x[j * step + start..][..count], &mut out[j * step + start..][..count]);
            for i in 0..count {
                let subtrahend = subtrahend(largest[i]);
                total[i] += term::<T, FMA>(x[i], subtrahend).as_f64();
                out[i] = x[i] - subtrahend;
            }
        }
        for i in 0..count {
            // What has not been subtracted is infinite.
            largest[i] = ln_of_sum::<T, FMA>(T::of(total[i])) + (largest[i] - subtrahend(largest[i]));
        }
        for j in 0..n {
            let out = &mut out[j * step + start..][..count];
            for i in 0..count {
                out[i] -= largest[i];
            }
        }
    }
}

struct Deviation;

/// out = v − Σ p·v, where p has a number for each entry of v, or one for all that are behind the axis.
pub fn deviation<T: Number>(v: &[T], p: View<'_, T>, n: usize, behind: usize, out: &mut [T]) {
    simd::run(Along { x: v, p, n, behind, out, by: PhantomData::<Deviation> });
}

impl<T: Number> Columns<T> for Deviation {
    #[inline(always)]
    fn columns<const FMA: bool>(v: &[T], p: &[T], n: usize, step: usize, start: usize, count: usize, out: &mut [T]) {
        let row = |j: usize| j * step + start..j * step + start + count;
        // What v is at the largest probability: all else is taken relative to it.
        let (mut reference, mut sum) = ([T::zero(); COLUMNS], [0.0; COLUMNS]);
        let (reference, sum) = (&mut reference[..count], &mut sum[..count]);
        if is_one_for_all(p, n, step) {
            reference.copy_from_slice(&v[row(winner(p))]);
            for j in 0..n {
                let (v, p, out) = (&v[row(j)], p[j], &mut out[row(j)]);
                for i in 0..count {
                    out[i] = v[i] - reference[i];
                    sum[i] += p.as_f64() * out[i].as_f64();
                }
            }
        } else {
            let mut largest = [T::neg_infinity(); COLUMNS];
            let largest = &mut largest[..count];
            for j in 0..n {
                let (v, p) = (&v[row(j)], &p[row(j)]);
                for i in 0..count {
                    let wins = p[i] > largest[i];
                    largest[i] = if wins { p[i] } else { largest[i] };
                    reference[i] = if wins { v[i] } else { reference[i] };
                }
            }
            for j in 0..n {
                let (v, p, out) = (&v[row(j)], &p[row(j)], &mut out[row(j)]);
                for i in 0..count {
                    out[i] = v[i] - reference[i];
                    sum[i] += p[i].as_f64() * out[i].as_f64();
                }
            }
        }
        for j in 0..n {
            let out = &mut out[row(j)];
            for i in 0..count {
                out[i] = T::of(out[i].as_f64() - sum[i]);
            }
        }
    }
}

struct Transposed;

/// out = g − p·Σ g, with p as in [`deviation`].
pub fn deviation_transposed<T: Number>(g: &[T], p: View<'_, T>, n: usize, behind: usize, out: &mut [T]) {
    simd::run(Along { x: g, p, n, behind, out, by: PhantomData::<Transposed> });
}

impl<T: Number> Columns<T> for Transposed {
    #[inline(always)]
    fn columns<const FMA: bool>(g: &[T], p: &[T], n: usize, step: usize, start: usize, count: usize, out: &mut [T]) {
        let row = |j: usize| j * step + start..j * step + start + count;
        let (mut total, mut sum) = ([0.0; COLUMNS], [0.0; COLUMNS]);
        let (total, sum) = (&mut total[..count], &mut sum[..count]);
        for j in 0..n {
            let g = &g[row(j)];
            for i in 0..count {
                total[i] += g[i].as_f64();
            }
        }
        // All results add up to 0: that of the largest probability is what is left of the others'.
        if is_one_for_all(p, n, step) {
            let winner = winner(p);
            for j in (0..n).filter(|&j| j != winner) {
                let (g, p, out) = (&g[row(j)], p[j], &mut out[row(j)]);
                for i in 0..count {
                    out[i] = T::of(g[i].as_f64() - p.as_f64() * total[i]);
                    sum[i] += out[i].as_f64();
                }
            }
            let out = &mut out[row(winner)];
            for i in 0..count {
                out[i] = T::of(0.0 - sum[i]);
            }
            return;
        }
        let (mut largest, mut winner) = ([T::neg_infinity(); COLUMNS], [T::zero(); COLUMNS]);
        let (largest, winner) = (&mut largest[..count], &mut winner[..count]);
        for j in 0..n {
            let (p, index) = (&p[row(j)], T::of(j as f64));
            for i in 0..count {
                let wins = p[i] > largest[i];
                largest[i] = if wins { p[i] } else { largest[i] };
                winner[i] = if wins { index } else { winner[i] };
            }
        }
        for j in 0..n {
            let (g, p, out, index) = (&g[row(j)], &p[row(j)], &mut out[row(j)], T::of(j as f64));
            for i in 0..count {
                out[i] = T::of(g[i].as_f64() - p[i].as_f64() * total[i]);
                sum[i] += if winner[i] == index { 0.0 } else { out[i].as_f64() };
            }
        }
        for i in 0..count {
            let j = winner[i].to_usize().unwrap_or(0);
            out[j * step + start + i] = T::of(0.0 - sum[i]);
        }
    }
}

/// Whether p has one probability for all columns.
fn is_one_for_all<T>(p: &[T], n: usize, step: usize) -> bool {
    p.len() == n && step > 1
}

/// Where the largest probability is.
fn winner<T: Number>(p: &[T]) -> usize {
    (1..p.len()).fold(0, |winner, j| if p[j] > p[winner] { j } else { winner })
}
