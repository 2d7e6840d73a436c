//! Matrix products and factorisations. One thread; the same bits at any thread count.

use faer::linalg::matmul::matmul as faer_matmul;
use faer::{Accum, MatMut, MatRef, Par};

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

    fn at(&self, row: usize, column: usize) -> &'a T {
        &self.entries[if self.transposed { column * self.rows + row } else { row * self.columns + column }]
    }
}

/// out = a·b, row-major.
pub fn matmul<T: faer::traits::ComplexField>(out: &mut [T], a: Matrix<'_, T>, b: Matrix<'_, T>) {
    let out = MatMut::from_row_major_slice_mut(out, a.rows, b.columns);
    faer_matmul(out, Accum::Replace, a.faer(), b.faer(), T::one_impl(), Par::Seq);
}

/// Replaces the n×m right-hand side by the solution of a·x = b.
pub fn solve<T: Real>(a: Matrix<'_, T>, b: &mut [T], m: usize) -> Result<(), Singular> {
    let n = a.rows;
    let mut lu: Vec<T> = (0..n * n).map(|i| *a.at(i / n, i % n)).collect();
    // Gaussian elimination with partial pivoting. The matrices of this project are small (the states of a tabular
    // problem), where a blocked factorisation has nothing to gain, and this tells when a pivot vanishes.
    for k in 0..n {
        let larger = |&i: &usize, &j: &usize| lu[i * n + k].abs().as_f64().total_cmp(&lu[j * n + k].abs().as_f64());
        let pivot = (k..n).max_by(larger).unwrap_or(k);
        if lu[pivot * n + k] == T::zero() {
            return Err(Singular);
        }
        if pivot != k {
            (0..n).for_each(|j| lu.swap(k * n + j, pivot * n + j));
            (0..m).for_each(|j| b.swap(k * m + j, pivot * m + j));
        }
        for i in k + 1..n {
            let factor = lu[i * n + k] / lu[k * n + k];
            let (above, below) = lu.split_at_mut(i * n);
            subtract(&mut below[k + 1..n], factor, &above[k * n + k + 1..][..n - k - 1]);
            let (above, below) = b.split_at_mut(i * m);
            subtract(&mut below[..m], factor, &above[k * m..][..m]);
        }
    }
    for k in (0..n).rev() {
        let (above, below) = b.split_at_mut(k * m);
        let row = &mut below[..m];
        row.iter_mut().for_each(|x| *x /= lu[k * n + k]);
        for i in 0..k {
            subtract(&mut above[i * m..][..m], lu[i * n + k], row);
        }
    }
    Ok(())
}

/// x −= factor·y
fn subtract<T: Real>(x: &mut [T], factor: T, y: &[T]) {
    x.iter_mut().zip(y).for_each(|(x, &y)| *x -= factor * y);
}
