//! Many numbers into one: sums, maxima, log-sum-exps, along an axis of length `n` between axes in front and `inner`
//! numbers behind. In which order they are added depends on `n` and `inner` alone, not on what is in front.

use std::cell::RefCell;
use std::marker::PhantomData;

use smallvec::SmallVec;

use super::functions::{Number, as_number, exp_of_negative, is_ln_exception, ln};
use crate::dtype::DType;
use crate::machine::simd::{self, Kernel};
use crate::tensor::{Buffer, Element};

/// A way to make one number of many.
pub trait Fold {
    /// What numbers of type T are joined in.
    type Part<T: Number>: Number;
    fn start<T: Number>() -> T;
    /// To be marked `#[inline(always)]`.
    fn join<T: Number>(a: T, b: T) -> T;
}

/// In double precision, whatever is summed: in single, 10⁷ times 0.1 would be off by a thousandth.
pub struct Sum;

/// The larger, NaN if either is.
pub struct Max;

/// The smaller, NaN if either is.
pub struct Min;

/// The larger, where a second one that is NaN is ignored.
struct Largest;

impl Fold for Sum {
    type Part<T: Number> = f64;
    fn start<T: Number>() -> T {
        T::zero()
    }
    #[inline(always)]
    fn join<T: Number>(a: T, b: T) -> T {
        a + b
    }
}

impl Fold for Max {
    type Part<T: Number> = T;
    fn start<T: Number>() -> T {
        T::neg_infinity()
    }
    #[inline(always)]
    fn join<T: Number>(a: T, b: T) -> T {
        if a > b || a.is_nan() { a } else { b }
    }
}

impl Fold for Min {
    type Part<T: Number> = T;
    fn start<T: Number>() -> T {
        T::infinity()
    }
    #[inline(always)]
    fn join<T: Number>(a: T, b: T) -> T {
        if a < b || a.is_nan() { a } else { b }
    }
}

impl Fold for Largest {
    type Part<T: Number> = T;
    fn start<T: Number>() -> T {
        T::neg_infinity()
    }
    #[inline(always)]
    fn join<T: Number>(a: T, b: T) -> T {
        if b > a { b } else { a }
    }
}

/// out[i, k] = join over j of x[i, j, k].
pub fn fold<T: Number, F: Fold>(x: &[T], n: usize, inner: usize, out: &mut [T]) {
    simd::run(Along::<T, Folding<F>> { x, n, inner, out, by: PhantomData });
}

/// out[i, k] = ln Σ_j e^x[i, j, k], where −∞ and ∞ are numbers like others.
pub fn logsumexp<T: Number>(x: &[T], n: usize, inner: usize, out: &mut [T]) {
    simd::run(Along::<T, LogSumExp> { x, n, inner, out, by: PhantomData });
}

/// Runs `f` with room of this thread's for so many numbers, so that a replay need not allocate any. They may be anything.
pub fn with_scratch<T: Number>(size: usize, f: impl FnOnce(&mut [T])) {
    // What is not in use, of each type: a use within another one takes one more.
    thread_local!(static IDLE: RefCell<[Vec<Buffer>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) });
    let which = usize::from(T::DTYPE == DType::F32);
    // Where the thread is ending, there may be none left.
    let taken = IDLE.try_with(|idle| idle.borrow_mut()[which].pop()).ok().flatten();
    let mut buffer = taken.unwrap_or_else(|| Buffer::new(T::DTYPE, 0));
    if buffer.len() < size {
        buffer = Buffer::new(T::DTYPE, size);
    }
    f(buffer.slice_mut(0..size).of());
    let _ = IDLE.try_with(|idle| idle.borrow_mut()[which].push(buffer));
}

/// sums[i, k] = Σ_j x[i, j, k], in double precision.
pub fn sum_in_double<T: Number>(x: &[T], n: usize, inner: usize, sums: &mut [f64]) {
    simd::run(SumInDouble { x, n, inner, sums });
}

struct SumInDouble<'a, T> {
    x: &'a [T],
    n: usize,
    inner: usize,
    sums: &'a mut [f64],
}

impl<T: Number> Kernel for SumInDouble<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { x, n, inner, sums } = self;
        if n == 0 || sums.is_empty() {
            return sums.fill(0.0);
        }
        if inner > 1 {
            for (x, sums) in x.chunks_exact(n * inner).zip(sums.chunks_exact_mut(inner)) {
                fold_columns::<Sum, _, _>(x, inner, 0, sums);
            }
        } else {
            x.chunks_exact(n).zip(sums).for_each(|(x, sum)| *sum = fold_row::<T, Sum>(x));
        }
    }
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

impl<T: Number, F: Fold> Reduction<T> for Folding<F> {
    const SHORT: usize = 8;

    #[inline(always)]
    fn row<const FMA: bool>(row: &[T]) -> T {
        as_number(fold_row::<T, F>(row))
    }

    #[inline(always)]
    fn columns<const FMA: bool>(x: &[T], out: &mut [T]) {
        let inner = out.len();
        // What is joined in its own type is so where it is to be.
        if T::DTYPE == <F::Part<T>>::DTYPE {
            let Some(parts) = <F::Part<T>>::slice_mut(T::as_slice_mut(out)) else {
                unreachable!("they are of one type")
            };
            return fold_columns::<F, _, _>(x, inner, 0, parts);
        }
        const COLUMNS: usize = 256;
        let mut parts = [F::start::<F::Part<T>>(); COLUMNS];
        for (block, out) in out.chunks_mut(COLUMNS).enumerate() {
            let parts = &mut parts[..out.len()];
            fold_columns::<F, _, _>(x, inner, block * COLUMNS, parts);
            for i in 0..out.len() {
                out[i] = as_number(parts[i]);
            }
        }
    }
}

/// parts\[k\] = join over j of x\[j, start + k\], where x has rows of `inner` entries.
#[inline(always)]
fn fold_columns<F: Fold, X: Number, T: Number>(x: &[X], inner: usize, start: usize, parts: &mut [T]) {
    // Several narrow rows count as a wide one, whose columns are folded into those of the narrow at the end.
    const WIDE: usize = 64;
    let width = WIDE / inner * inner;
    parts.fill(F::start());
    if inner >= WIDE / 2 || x.len() < 2 * width {
        return fold_rows::<F, _, _>(x, inner, start, parts);
    }
    let mut wide = [F::start::<T>(); WIDE];
    let (wide_rows, rest) = x.split_at(x.len() / width * width);
    fold_rows::<F, _, _>(wide_rows, width, 0, &mut wide[..width]);
    fold_rows::<F, _, _>(&wide[..width], inner, 0, parts);
    fold_rows::<F, _, _>(rest, inner, 0, parts);
}

/// In 64 interleaved parts as far as it goes, then in 8, then one by one.
#[inline(always)]
fn fold_row<T: Number, F: Fold>(row: &[T]) -> F::Part<T> {
    const WIDE: usize = 64;
    let mut parts = [F::start::<F::Part<T>>(); 8];
    let (wide, rest) = row.split_at(row.len() / WIDE * WIDE);
    if !wide.is_empty() {
        let mut wide_parts = [F::start::<F::Part<T>>(); WIDE];
        fold_rows::<F, _, _>(wide, WIDE, 0, &mut wide_parts);
        fold_rows::<F, _, _>(&wide_parts, 8, 0, &mut parts);
    }
    let (narrow, rest) = rest.as_chunks::<8>();
    for x in narrow {
        for i in 0..8 {
            parts[i] = F::join(parts[i], as_number(x[i]));
        }
    }
    let pair = |i: usize| F::join(parts[i], parts[i + 4]);
    let mut total = F::start();
    if row.len() >= 8 {
        total = F::join(F::join(pair(0), pair(1)), F::join(pair(2), pair(3)));
    }
    for &x in rest {
        total = F::join(total, as_number(x));
    }
    total
}

/// Folds rows of `width` entries, of each those from `start` on, into as many parts, one row after the other.
#[inline(always)]
fn fold_rows<F: Fold, X: Number, T: Number>(x: &[X], width: usize, start: usize, parts: &mut [T]) {
    let count = parts.len();
    let mut rows = x.chunks_exact(4 * width);
    for four in rows.by_ref() {
        let (a, b) = four.split_at(2 * width);
        let ((a, b), (c, d)) = (a.split_at(width), b.split_at(width));
        let (a, b) = (&a[start..][..count], &b[start..][..count]);
        let (c, d) = (&c[start..][..count], &d[start..][..count]);
        for i in 0..count {
            let joined = F::join(F::join(parts[i], as_number(a[i])), as_number(b[i]));
            parts[i] = F::join(F::join(joined, as_number(c[i])), as_number(d[i]));
        }
    }
    for row in rows.remainder().chunks_exact(width) {
        let row = &row[start..][..count];
        for i in 0..count {
            parts[i] = F::join(parts[i], as_number(row[i]));
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
        let mut total = 0.0;
        let mut terms = [T::zero(); BLOCK];
        for row in row.chunks(BLOCK) {
            let terms = &mut terms[..row.len()];
            for i in 0..row.len() {
                terms[i] = term::<T, FMA>(row[i], subtrahend);
            }
            total += fold_row::<T, Sum>(terms);
        }
        ln_of_sum::<T, FMA>(T::of(total)) + largest
    }

    #[inline(always)]
    fn columns<const FMA: bool>(x: &[T], out: &mut [T]) {
        const COLUMNS: usize = 256;
        let inner = out.len();
        let (mut largest, mut total) = ([T::zero(); COLUMNS], [0.0; COLUMNS]);
        for (block, out) in out.chunks_mut(COLUMNS).enumerate() {
            let columns = out.len();
            let here = block * COLUMNS..block * COLUMNS + columns;
            let (largest, total) = (&mut largest[..columns], &mut total[..columns]);
            largest.fill(T::neg_infinity());
            total.fill(0.0);
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
                    total[i] += term::<T, FMA>(row[i], largest[i]).as_f64();
                }
            }
            for i in 0..columns {
                out[i] += ln_of_sum::<T, FMA>(T::of(total[i]));
            }
        }
    }
}
