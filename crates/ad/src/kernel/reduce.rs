//! Many numbers into one: sums, maxima, log-sum-exps, along an axis of length `n` between axes in front and `inner`
//! numbers behind. In which order they are added depends on `n` and `inner` alone, not on what is in front.

use std::cell::RefCell;
use std::marker::PhantomData;

use smallvec::SmallVec;

use super::functions::Number;
use super::functions::{exp_of_negative, is_ln_exception, ln};
use crate::dtype::DType;
use crate::machine::simd::{self, Kernel};
use crate::tensor::Buffer;

/// A way to make one number of two, and what to start from.
pub trait Fold<T> {
    fn start() -> T;
    /// To be marked `#[inline(always)]`.
    fn join(a: T, b: T) -> T;
}

pub struct Sum;

/// The larger, NaN if either is.
pub struct Max;

/// The larger, where a second one that is NaN is ignored.
struct Largest;

impl<T: Number> Fold<T> for Sum {
    fn start() -> T {
        T::zero()
    }
    #[inline(always)]
    fn join(a: T, b: T) -> T {
        a + b
    }
}

impl<T: Number> Fold<T> for Max {
    fn start() -> T {
        T::neg_infinity()
    }
    #[inline(always)]
    fn join(a: T, b: T) -> T {
        if a > b || a.is_nan() { a } else { b }
    }
}

impl<T: Number> Fold<T> for Largest {
    fn start() -> T {
        T::neg_infinity()
    }
    #[inline(always)]
    fn join(a: T, b: T) -> T {
        if b > a { b } else { a }
    }
}

/// out[i, k] = join over j of x[i, j, k].
pub fn fold<T: Number, F: Fold<T>>(x: &[T], n: usize, inner: usize, out: &mut [T]) {
    simd::run(Along::<T, Folding<F>> { x, n, inner, out, by: PhantomData });
}

/// out[i, k] = ln Σ_j e^x[i, j, k], where −∞ and ∞ are numbers like others.
pub fn logsumexp<T: Number>(x: &[T], n: usize, inner: usize, out: &mut [T]) {
    simd::run(Along::<T, LogSumExp> { x, n, inner, out, by: PhantomData });
}

/// Runs `f` with room of this thread's for so many numbers, so that a replay need not allocate any. They may be anything.
pub fn with_scratch<T: Number>(size: usize, f: impl FnOnce(&mut [T])) {
    thread_local!(static SCRATCH: RefCell<[Buffer; 2]> =
        const { RefCell::new([Buffer::F64(Vec::new()), Buffer::F32(Vec::new())]) });
    let which = usize::from(T::DTYPE == DType::F32);
    let taken = SCRATCH.try_with(|scratch| T::buffer(&mut scratch.borrow_mut()[which]).map(std::mem::take));
    // Where the thread is ending, there may be none left.
    let mut room = taken.ok().flatten().unwrap_or_default();
    room.resize(size.max(room.len()), T::zero());
    f(&mut room[..size]);
    let _ = SCRATCH.try_with(|scratch| T::buffer(&mut scratch.borrow_mut()[which]).map(|kept| *kept = room));
}

/// Numbers that are worked on at once, and stay in the nearest cache.
const BLOCK: usize = 1024;

/// The most numbers in a vector.
const VECTOR: usize = 16;

/// A reduction of one row, and of the columns of a matrix with n rows.
trait Reduction<T> {
    /// Below this a row is too short for vectors: rows are then turned into columns.
    const SHORT: usize;
    fn row<const FMA: bool>(row: &[T]) -> T;
    fn columns<const FMA: bool>(x: &[T], out: &mut [T]);
}

struct Along<'a, T, R> {
    x: &'a [T],
    n: usize,
    inner: usize,
    out: &'a mut [T],
    by: PhantomData<R>,
}

impl<T: Number, R: Reduction<T>> Kernel for Along<'_, T, R> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Along { x, n, inner, out, .. } = self;
        if n == 0 || out.is_empty() {
            return out.fill(R::row::<FMA>(&[]));
        }
        if inner > 1 {
            for (x, out) in x.chunks_exact(n * inner).zip(out.chunks_exact_mut(inner)) {
                R::columns::<FMA>(x, out);
            }
        } else if n < R::SHORT {
            // As many columns as fit, a multiple of the longest vector of them, where those that are over hold what they held.
            let rows = (BLOCK / n / VECTOR * VECTOR).min(out.len().next_multiple_of(VECTOR));
            let (mut turned, mut results) = (SmallVec::<[T; BLOCK]>::new(), SmallVec::<[T; BLOCK]>::new());
            turned.resize(n * rows, T::zero());
            results.resize(rows, T::zero());
            for (x, out) in x.chunks(rows * n).zip(out.chunks_mut(rows)) {
                let columns = out.len().next_multiple_of(VECTOR);
                let (turned, results) = (&mut turned[..n * columns], &mut results[..columns]);
                for (j, turned) in turned.chunks_exact_mut(columns).enumerate() {
                    for (to, &x) in turned.iter_mut().zip(x[j..].iter().step_by(n)) {
                        *to = x;
                    }
                }
                R::columns::<FMA>(turned, results);
                out.copy_from_slice(&results[..out.len()]);
            }
        } else {
            for (x, out) in x.chunks_exact(n).zip(out) {
                *out = R::row::<FMA>(x);
            }
        }
    }
}

struct Folding<F>(PhantomData<F>);

impl<T: Number, F: Fold<T>> Reduction<T> for Folding<F> {
    const SHORT: usize = 8;

    #[inline(always)]
    fn row<const FMA: bool>(row: &[T]) -> T {
        fold_row::<T, F>(row)
    }

    #[inline(always)]
    fn columns<const FMA: bool>(x: &[T], out: &mut [T]) {
        // Several narrow rows count as a wide one, whose columns are folded into those of the narrow at the end.
        const WIDE: usize = 64;
        let inner = out.len();
        let width = WIDE / inner * inner;
        out.fill(F::start());
        if inner >= WIDE / 2 || x.len() < 2 * width {
            return fold_rows::<T, F>(x, out);
        }
        let mut wide = [F::start(); WIDE];
        let (wide_rows, rest) = x.split_at(x.len() / width * width);
        fold_rows::<T, F>(wide_rows, &mut wide[..width]);
        fold_rows::<T, F>(&wide[..width], out);
        fold_rows::<T, F>(rest, out);
    }
}

/// In 64 interleaved parts as far as it goes, then in 8, then one by one.
#[inline(always)]
fn fold_row<T: Number, F: Fold<T>>(row: &[T]) -> T {
    const WIDE: usize = 64;
    let mut parts = [F::start(); 8];
    let (wide, rest) = row.split_at(row.len() / WIDE * WIDE);
    if !wide.is_empty() {
        let mut wide_parts = [F::start(); WIDE];
        fold_rows::<T, F>(wide, &mut wide_parts);
        fold_rows::<T, F>(&wide_parts, &mut parts);
    }
    let (narrow, rest) = rest.as_chunks::<8>();
    for x in narrow {
        for i in 0..8 {
            parts[i] = F::join(parts[i], x[i]);
        }
    }
    let pair = |i: usize| F::join(parts[i], parts[i + 4]);
    let mut total = F::start();
    if row.len() >= 8 {
        total = F::join(F::join(pair(0), pair(1)), F::join(pair(2), pair(3)));
    }
    for &x in rest {
        total = F::join(total, x);
    }
    total
}

/// Folds each row into `out`, one after the other.
#[inline(always)]
fn fold_rows<T: Number, F: Fold<T>>(x: &[T], out: &mut [T]) {
    let width = out.len();
    let mut rows = x.chunks_exact(4 * width);
    for four in rows.by_ref() {
        let (a, b) = four.split_at(2 * width);
        let ((a, b), (c, d)) = (a.split_at(width), b.split_at(width));
        let d = &d[..width];
        for i in 0..width {
            out[i] = F::join(F::join(F::join(F::join(out[i], a[i]), b[i]), c[i]), d[i]);
        }
    }
    for row in rows.remainder().chunks_exact(width) {
        for i in 0..width {
            out[i] = F::join(out[i], row[i]);
        }
    }
}

struct LogSumExp;

/// Against ±∞ nothing is subtracted.
#[inline(always)]
pub(super) fn subtrahend<T: Number>(largest: T) -> T {
    if largest.abs() < T::infinity() { largest } else { T::zero() }
}

/// ln of a sum that is 0, ∞, NaN, or not far below 1 at least.
#[inline(always)]
pub(super) fn ln_of_sum<T: Number, const FMA: bool>(sum: T) -> T {
    let y = if is_ln_exception(sum) { sum } else { ln::<T, FMA>(sum) };
    if sum == T::zero() { T::neg_infinity() } else { y }
}

/// e^(x − subtrahend). Where that is more than 1, some x is ∞, and so will be the result.
#[inline(always)]
pub(super) fn term<T: Number, const FMA: bool>(x: T, subtrahend: T) -> T {
    let x = x - subtrahend;
    exp_of_negative::<T, FMA>(if x > T::zero() { T::zero() } else { x })
}

/// The largest number of a row that is none of NaN.
#[inline(always)]
pub(super) fn largest_of_row<T: Number>(row: &[T]) -> T {
    fold_row::<T, Largest>(row)
}

/// ln Σ e^x of a row.
#[inline(always)]
pub(super) fn logsumexp_of_row<T: Number, const FMA: bool>(row: &[T]) -> T {
    LogSumExp::row::<FMA>(row)
}

impl<T: Number> Reduction<T> for LogSumExp {
    const SHORT: usize = BLOCK / VECTOR;

    #[inline(always)]
    fn row<const FMA: bool>(row: &[T]) -> T {
        let largest = largest_of_row(row);
        let subtrahend = subtrahend(largest);
        let mut total = T::zero();
        let mut terms = [T::zero(); BLOCK];
        for row in row.chunks(BLOCK) {
            let terms = &mut terms[..row.len()];
            for i in 0..row.len() {
                terms[i] = term::<T, FMA>(row[i], subtrahend);
            }
            total += fold_row::<T, Sum>(terms);
        }
        ln_of_sum::<T, FMA>(total) + largest
    }

    #[inline(always)]
    fn columns<const FMA: bool>(x: &[T], out: &mut [T]) {
        const COLUMNS: usize = 256;
        let inner = out.len();
        let (mut largest, mut total) = ([T::zero(); COLUMNS], [T::zero(); COLUMNS]);
        for (block, out) in out.chunks_mut(COLUMNS).enumerate() {
            let columns = out.len();
            let here = block * COLUMNS..block * COLUMNS + columns;
            let (largest, total) = (&mut largest[..columns], &mut total[..columns]);
            largest.fill(T::neg_infinity());
            total.fill(T::zero());
            for row in x.chunks_exact(inner) {
                let row = &row[here.clone()];
                for i in 0..columns {
                    largest[i] = Largest::join(largest[i], row[i]);
                }
            }
            for i in 0..columns {
                (out[i], largest[i]) = (largest[i], subtrahend(largest[i]));
            }
            for row in x.chunks_exact(inner) {
                let row = &row[here.clone()];
                for i in 0..columns {
                    total[i] += term::<T, FMA>(row[i], largest[i]);
                }
            }
            for i in 0..columns {
                out[i] += ln_of_sum::<T, FMA>(total[i]);
            }
        }
    }
}
