//! Matrix products and factorisations. One thread; the same bits at any thread count.

use faer::linalg::matmul::matmul as faer_matmul;
use faer::{Accum, MatMut, MatRef, Par};

use super::cast;
use super::functions::Number;
use super::reduce::with_scratch;
use crate::dtype::DType;
use crate::machine::simd::{self, Kernel};

/// A matrix in row-major order, perhaps seen transposed.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T> {
    entries: &'a [T],
    rows: usize,
    columns: usize,
    transposed: bool,
}

/// The matrix has no inverse.
#[derive(Debug)]
pub struct Singular;

impl<'a, T> Matrix<'a, T> {
    /// An m×n matrix; `transposed` says that the entries are those of the n×m transpose.
    pub fn new(entries: &'a [T], rows: usize, columns: usize, transposed: bool) -> Self {
        Self { entries, rows, columns, transposed }
    }

    fn faer(self) -> MatRef<'a, T> {
        if self.transposed {
            MatRef::from_row_major_slice(self.entries, self.columns, self.rows).transpose()
        } else {
            MatRef::from_row_major_slice(self.entries, self.rows, self.columns)
        }
    }
}

/// Whether a product is added to what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accumulate {
    No,
    Yes,
}

/// Products of single precision are sums of so many terms at most, and those are added in double precision: else of many
/// equal terms the last would be lost. (The library adds 512 at once, but those of a matrix and a vector one by one.)
const TERMS: usize = 8192;
const TERMS_BY_VECTOR: usize = 256;

/// out = a·b, or out += a·b, row-major.
pub fn matmul<T: Number>(out: &mut [T], a: Matrix<'_, T>, b: Matrix<'_, T>, accumulate: Accumulate) {
    let (k, terms) = (a.columns, if a.rows == 1 || b.columns == 1 { TERMS_BY_VECTOR } else { TERMS });
    if T::DTYPE == DType::F64 || k <= terms {
        let accumulate = if accumulate == Accumulate::Yes { Accum::Add } else { Accum::Replace };
        let out = MatMut::from_row_major_slice_mut(out, a.rows, b.columns);
        return faer_matmul(out, accumulate, a.faer(), b.faer(), T::one_impl(), Par::Seq);
    }
    with_scratch::<f64>(out.len(), |sums| {
        sums.fill(0.0);
        for first in (0..k).step_by(terms) {
            let count = terms.min(k - first);
            let part = MatMut::from_row_major_slice_mut(out, a.rows, b.columns);
            let (a, b) = (a.faer().subcols(first, count), b.faer().subrows(first, count));
            faer_matmul(part, Accum::Replace, a, b, T::one_impl(), Par::Seq);
            cast::add(T::as_slice(out), sums);
        }
        cast::round(sums, T::as_slice_mut(out));
    });
}

/// The LU factorisation of an n×n matrix with partial pivoting, in place, and which row each step exchanged with its own,
/// as numbers.
///
/// The matrices of this project are small (the states of a tabular problem), where a blocked factorisation has nothing to
/// gain, and this tells when a pivot vanishes.
pub fn factor<T: Number>(n: usize, lu: &mut [T], pivots: &mut [T]) -> Result<(), Singular> {
    simd::run(Factoring { n, lu, pivots })
}

struct Factoring<'a, T> {
    n: usize,
    lu: &'a mut [T],
    pivots: &'a mut [T],
}

impl<T: Number> Kernel for Factoring<'_, T> {
    type Output = Result<(), Singular>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Self::Output {
        let Factoring { n, lu, pivots } = self;
        for k in 0..n {
            // The largest, and of equal ones the last. A NaN is larger than all.
            let (mut pivot, mut largest) = (k, T::zero());
            for i in k..n {
                let entry = lu[i * n + k].abs();
                if entry >= largest || entry.is_nan() {
                    (pivot, largest) = (i, entry);
                }
            }
            if lu[pivot * n + k] == T::zero() {
                return Err(Singular);
            }
            pivots[k] = T::of(pivot as f64);
            if pivot != k {
                let (above, below) = lu.split_at_mut(pivot * n);
                above[k * n..][..n].swap_with_slice(&mut below[..n]);
            }
            let (above, below) = lu.split_at_mut((k + 1) * n);
            let (diagonal, beside) = above[k * n + k..].split_first().expect("n − k entries");
            for row in below.chunks_exact_mut(n) {
                let factor = row[k] / *diagonal;
                row[k] = factor;
                subtract(&mut row[k + 1..], factor, beside);
            }
        }
        Ok(())
    }
}

/// Replaces the n×m right-hand side by the solution of A·x = b, or Aᵀ·x = b, where A has this factorisation.
pub fn solve_factored<T: Number>(n: usize, lu: &[T], pivots: &[T], transposed: bool, b: &mut [T], m: usize) {
    simd::run(SolveFactored { n, lu, pivots, transposed, b, m });
}

struct SolveFactored<'a, T> {
    n: usize,
    lu: &'a [T],
    pivots: &'a [T],
    transposed: bool,
    b: &'a mut [T],
    m: usize,
}

impl<T: Number> Kernel for SolveFactored<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let SolveFactored { n, lu, pivots, transposed, b, m } = self;
        // A = Pᵀ·L·U: forwards through the first triangle, backwards through the second.
        let entry = |i: usize, k: usize| if transposed { lu[k * n + i] } else { lu[i * n + k] };
        let exchange = |b: &mut [T], k: usize| {
            let pivot = pivots[k].as_f64() as usize;
            if pivot != k {
                (0..m).for_each(|j| b.swap(k * m + j, pivot * m + j));
            }
        };
        if !transposed {
            (0..n).for_each(|k| exchange(b, k));
        }
        for k in 0..n {
            let (above, below) = b.split_at_mut((k + 1) * m);
            let row = &mut above[k * m..];
            if transposed {
                row.iter_mut().for_each(|x| *x /= lu[k * n + k]);
            }
            subtract_rows(below, row, |i| entry(k + 1 + i, k));
        }
        for k in (0..n).rev() {
            let (above, below) = b.split_at_mut(k * m);
            let row = &mut below[..m];
            if !transposed {
                row.iter_mut().for_each(|x| *x /= lu[k * n + k]);
            }
            subtract_rows(above, row, |i| entry(i, k));
        }
        if transposed {
            (0..n).rev().for_each(|k| exchange(b, k));
        }
    }
}

/// From each row of x, so many times y.
#[inline(always)]
fn subtract_rows<T: Number>(x: &mut [T], y: &[T], factor: impl Fn(usize) -> T) {
    // A vector: its rows are numbers.
    if let &[y] = y {
        return x.iter_mut().enumerate().for_each(|(i, x)| *x -= factor(i) * y);
    }
    x.chunks_exact_mut(y.len().max(1)).enumerate().for_each(|(i, x)| subtract(x, factor(i), y));
}

/// x −= factor·y
#[inline(always)]
fn subtract<T: Number>(x: &mut [T], factor: T, y: &[T]) {
    x.iter_mut().zip(y).for_each(|(x, &y)| *x -= factor * y);
}
