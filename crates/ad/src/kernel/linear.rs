//! Matrix products and factorisations. One thread; the same bits at any thread count.

use faer::linalg::matmul::matmul as faer_matmul;
use faer::{Accum, MatMut, MatRef, Par};

use super::simd::{self, Kernel};
use crate::real::Real;

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

/// out = a·b, or out += a·b, row-major.
pub fn matmul<T: faer::traits::ComplexField>(
    out: &mut [T],
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    accumulate: Accumulate,
) {
    let out = MatMut::from_row_major_slice_mut(out, a.rows, b.columns);
    let accumulate = if accumulate == Accumulate::Yes { Accum::Add } else { Accum::Replace };
    faer_matmul(out, accumulate, a.faer(), b.faer(), T::one_impl(), Par::Seq);
}

/// The LU factorisation of an n×n matrix with partial pivoting, in place, and which row each step exchanged with its own,
/// as numbers.
///
/// The matrices of this project are small (the states of a tabular problem), where a blocked factorisation has nothing to
/// gain, and this tells when a pivot vanishes.
pub fn factor<T: Real>(n: usize, lu: &mut [T], pivots: &mut [T]) -> Result<(), Singular> {
    for k in 0..n {
        let larger = |&i: &usize, &j: &usize| lu[i * n + k].abs().as_f64().total_cmp(&lu[j * n + k].abs().as_f64());
        let pivot = (k..n).max_by(larger).unwrap_or(k);
        if lu[pivot * n + k] == T::zero() {
            return Err(Singular);
        }
        pivots[k] = T::of(pivot as f64);
        if pivot != k {
            (0..n).for_each(|j| lu.swap(k * n + j, pivot * n + j));
        }
        for i in k + 1..n {
            let factor = lu[i * n + k] / lu[k * n + k];
            lu[i * n + k] = factor;
            let (above, below) = lu.split_at_mut(i * n);
            subtract(&mut below[k + 1..n], factor, &above[k * n + k + 1..][..n - k - 1]);
        }
    }
    Ok(())
}

/// Replaces the n×m right-hand side by the solution of A·x = b, or Aᵀ·x = b, where A has this factorisation.
pub fn solve_factored<T: Real>(n: usize, lu: &[T], pivots: &[T], transposed: bool, b: &mut [T], m: usize) {
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

impl<T: Real> Kernel for SolveFactored<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let SolveFactored { n, lu, pivots, transposed, b, m } = self;
        // A = Pᵀ·L·U: forwards through the first triangle, backwards through the second.
        let lower = |i: usize, k: usize| if transposed { lu[k * n + i] } else { lu[i * n + k] };
        let exchange = |b: &mut [T], k: usize| {
            let pivot = pivots[k].as_f64() as usize;
            if pivot != k {
                (0..m).for_each(|j| b.swap(k * m + j, pivot * m + j));
            }
        };
        if !transposed {
            (0..n).for_each(|k| exchange(b, k));
        }
        for i in 0..n {
            let (above, below) = b.split_at_mut(i * m);
            let row = &mut below[..m];
            for k in 0..i {
                subtract(row, lower(i, k), &above[k * m..][..m]);
            }
            if transposed {
                row.iter_mut().for_each(|x| *x /= lu[i * n + i]);
            }
        }
        for i in (0..n).rev() {
            let (above, below) = b.split_at_mut((i + 1) * m);
            let row = &mut above[i * m..];
            for k in i + 1..n {
                subtract(row, lower(i, k), &below[(k - i - 1) * m..][..m]);
            }
            if !transposed {
                row.iter_mut().for_each(|x| *x /= lu[i * n + i]);
            }
        }
        if transposed {
            (0..n).rev().for_each(|k| exchange(b, k));
        }
    }
}

/// x −= factor·y
#[inline(always)]
fn subtract<T: Real>(x: &mut [T], factor: T, y: &[T]) {
    x.iter_mut().zip(y).for_each(|(x, &y)| *x -= factor * y);
}
