//! Matrix products, factorisations and triangles. One thread; the same bits at any thread count.

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

/// The matrix has no Cholesky factor.
#[derive(Debug)]
pub struct NotPositiveDefinite;

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

/// ln |det A| of an n×n matrix, by its factorisation (for which `room` has n·(n + 1) numbers): −∞ if it has none, and NaN
/// where an entry is a NaN.
pub fn ln_abs_determinant<T: Number>(n: usize, a: &[T], room: &mut [T]) -> T {
    let (lu, pivots) = room.split_at_mut(n * n);
    lu.copy_from_slice(a);
    match factor(n, lu, pivots) {
        Ok(()) => T::of(lu.iter().step_by(n + 1).map(|x| x.as_f64().abs().ln()).sum()),
        Err(Singular) if a.iter().any(|x| x.is_nan()) => T::nan(),
        Err(Singular) => T::neg_infinity(),
    }
}

/// So many rows of a triangle are worked on by plain loops, and what others have to do with them is a matrix product.
const ROWS: usize = 64;

/// The triangle L, zeros above it, of which L·Lᵀ is the symmetric part ½(A + Aᵀ) of an n×n matrix.
///
/// It is made as the upper triangle Lᵀ, whose rows lie together.
pub fn cholesky<T: Number>(n: usize, a: &[T], l: &mut [T]) -> Result<(), NotPositiveDefinite> {
    let half = T::of(0.5);
    for i in 0..n {
        for j in i..n {
            let (x, y) = (a[i * n + j], a[j * n + i]);
            l[i * n + j] = if x == y { x } else { half * x + half * y };
        }
    }
    for first in (0..n).step_by(ROWS) {
        let (above, rows) = l.split_at_mut(first * n);
        let rows = &mut rows[..ROWS.min(n - first) * n];
        let count = rows.len() / n;
        let done = MatRef::from_row_major_slice(above, first, n).subcols(first, n - first);
        let remaining = MatMut::from_row_major_slice_mut(rows, count, n).subcols_mut(first, n - first);
        if first > 0 {
            faer_matmul(remaining, Accum::Add, done.subcols(0, count).transpose(), done, -T::one_impl(), Par::Seq);
        }
        simd::run(CholeskyRows { n, first, rows })?;
    }
    for i in 0..n {
        for j in 0..i {
            l[i * n + j] = l[j * n + i];
            l[j * n + i] = T::zero();
        }
    }
    Ok(())
}

/// Rows of the upper triangle from number `first` on, of which what earlier rows have to do with them is subtracted already.
struct CholeskyRows<'a, T> {
    n: usize,
    first: usize,
    rows: &'a mut [T],
}

impl<T: Number> Kernel for CholeskyRows<'_, T> {
    type Output = Result<(), NotPositiveDefinite>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Self::Output {
        let CholeskyRows { n, first, rows } = self;
        for k in 0..rows.len() / n {
            let (above, below) = rows.split_at_mut((k + 1) * n);
            let row = &mut above[k * n + first + k..];
            // A NaN goes on.
            if row[0] <= T::zero() {
                return Err(NotPositiveDefinite);
            }
            let root = row[0].sqrt();
            row[0] = root;
            row[1..].iter_mut().for_each(|x| *x /= root);
            for (i, other) in below.chunks_exact_mut(n).enumerate() {
                let row = &row[1 + i..];
                subtract(&mut other[first + k + 1 + i..], row[0], row);
            }
        }
        Ok(())
    }
}

/// One triangle of an n×n matrix, the other of which is not read; perhaps seen transposed.
#[derive(Clone, Copy)]
pub struct Triangular<'a, T> {
    pub n: usize,
    pub entries: &'a [T],
    pub upper: bool,
    pub transposed: bool,
}

impl<T: Number> Triangular<'_, T> {
    /// Replaces the n×m right-hand side by the solution x of A·x = b.
    pub fn solve(self, b: &mut [T], m: usize) -> Result<(), Singular> {
        let n = self.n;
        if self.entries.iter().step_by(n + 1).any(|&x| x == T::zero()) {
            return Err(Singular);
        }
        // From the first row on, or from the last.
        let forwards = self.upper == self.transposed;
        for done in (0..n).step_by(ROWS) {
            let count = ROWS.min(n - done);
            let (first, known) = if forwards { (done, 0) } else { (n - done - count, n - done) };
            let (above, rows) = b.split_at_mut(first * m);
            let (rows, below) = rows.split_at_mut(count * m);
            if done > 0 {
                let a = Matrix::new(self.entries, n, n, self.transposed).faer();
                let a = a.submatrix(first, known, count, done);
                let x = MatRef::from_row_major_slice(if forwards { above } else { below }, done, m);
                let remaining = MatMut::from_row_major_slice_mut(rows, count, m);
                faer_matmul(remaining, Accum::Add, a, x, -T::one_impl(), Par::Seq);
            }
            simd::run(SolveRows { a: self, first, forwards, rows, m });
        }
        Ok(())
    }
}

/// Rows of the right-hand side from number `first` on, from which those that are solved are subtracted already.
struct SolveRows<'a, 'b, T> {
    a: Triangular<'a, T>,
    first: usize,
    forwards: bool,
    rows: &'b mut [T],
    m: usize,
}

impl<T: Number> Kernel for SolveRows<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let SolveRows { a: Triangular { n, entries, transposed, .. }, first, forwards, rows, m } = self;
        let entry = |i: usize, k: usize| {
            let (i, k) = (first + i, first + k);
            if transposed { entries[k * n + i] } else { entries[i * n + k] }
        };
        let count = rows.len().checked_div(m).unwrap_or(0);
        for step in 0..count {
            let k = if forwards { step } else { count - 1 - step };
            let (above, rest) = rows.split_at_mut(k * m);
            let (row, below) = rest.split_at_mut(m);
            row.iter_mut().for_each(|x| *x /= entry(k, k));
            if forwards {
                subtract_rows(below, row, |i| entry(k + 1 + i, k));
            } else {
                subtract_rows(above, row, |i| entry(i, k));
            }
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
