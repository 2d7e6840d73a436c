//! Triangles of matrices, over stacks of matrices: the Cholesky factor of one that is positive definite, linear systems with
//! a triangle, and what is made of these.
//!
//! A triangle is read alone: what stands in the other one, a NaN too, is never looked at, and no derivative flows there. Like
//! other systems these take their matrix transposed by a flag, which differentiation flips.

use ndarray::Array2;

use super::linalg::{check_square, product, side_by_side, square, system};
use super::{BatchedCall, Call, Cotangents, Failure, Op, Operand, Rows, Rules, apply};
use crate::dtype::by_dtype;
use crate::kernel;
use crate::kernel::functions::Number;
use crate::tape::{NodeId, Var, record};
use crate::tensor::{Shape, SliceMut, size};

/// A ↦ the lower triangle L of which L·Lᵀ is ½(A + Aᵀ).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cholesky;

/// (A, B) ↦ A⁻¹·B, or (Aᵀ)⁻¹·B if `transposed`, of one triangle of A.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SolveTriangular {
    pub triangle: Triangle,
    pub transposed: bool,
}

/// Which entries of a matrix are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Triangle {
    /// Those on the diagonal and below.
    Lower,
    /// Those on the diagonal and above.
    Upper,
}

impl Rules for Cholesky {
    fn name(&self) -> &str {
        "cholesky"
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        square(operands[0])?;
        Ok(operands[0].into())
    }

    /// Murray 2016, "Differentiation of the Cholesky decomposition": Ā is the symmetric part of L⁻ᵀ·Φ(Lᵀ·L̄)·L⁻¹, where Φ
    /// takes the lower triangle and half of the diagonal.
    fn vjp(&self, call: &Call, g: Var) -> Cotangents {
        call.one(|| {
            let l = call.output();
            // Above the diagonal, where L is 0 whatever A is, a cotangent may be a NaN.
            let m = product(l, g.tril(0), true, false);
            let phi = (m.tril(0) + m.tril(-1)) * 0.5;
            let op = Op::SolveTriangular(SolveTriangular { triangle: Triangle::Lower, transposed: true });
            let solve = |b: Var| apply(call.tape, op.clone(), &[l.node, b.node]);
            let bar = solve(solve(phi).t());
            (bar + bar.t()) * 0.5
        })
    }

    fn with_leading_axis(&self, _size: usize) -> Op {
        Op::Cholesky(*self)
    }

    fn rows(&self, operands: &[&[usize]]) -> Option<Rows> {
        Rows::alike(operands).filter(|_| operands[0].len() > 2)
    }

    fn forward(&self, operands: &[Operand<'_>], shape: &[usize], out: SliceMut<'_>) -> Result<(), Failure> {
        by_dtype!(floats SliceMut, out, |out| factors(operands[0].numbers(), shape[shape.len() - 1], out))
    }

    fn flops(&self, operands: &[&[usize]], shape: &[usize]) -> usize {
        size(operands[0]) * shape[shape.len() - 1] / 3
    }
}

fn factors<T: Number>(a: &[T], n: usize, out: &mut [T]) -> Result<(), Failure> {
    let entries = (n * n).max(1);
    for (i, (a, l)) in a.chunks_exact(entries).zip(out.chunks_exact_mut(entries)).enumerate() {
        kernel::cholesky(n, a, l).map_err(|kernel::NotPositiveDefinite| Failure::NotPositiveDefinite { matrix: i })?;
    }
    Ok(())
}

impl Rules for SolveTriangular {
    fn name(&self) -> &str {
        "solve_triangular"
    }

    fn parameters(&self) -> String {
        match (self.triangle, self.transposed) {
            (Triangle::Lower, false) => "lower",
            (Triangle::Lower, true) => "lower A^T",
            (Triangle::Upper, false) => "upper",
            (Triangle::Upper, true) => "upper A^T",
        }
        .to_owned()
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        system(operands, 0)
    }

    fn vjp(&self, call: &Call, g: Var) -> Cotangents {
        let (a, x) = (call.var(0), call.output());
        let flipped = SolveTriangular { transposed: !self.transposed, ..*self };
        let b_bar = apply(call.tape, Op::SolveTriangular(flipped), &[a.node, g.node]);
        call.two(
            || {
                let bar = if self.transposed { product(x, b_bar, false, true) } else { product(b_bar, x, false, true) };
                -match self.triangle {
                    Triangle::Lower => bar.tril(0),
                    Triangle::Upper => bar.triu(0),
                }
            },
            || b_bar,
        )
    }

    fn with_leading_axis(&self, _size: usize) -> Op {
        Op::SolveTriangular(*self)
    }

    fn batching_rule(&self, call: &BatchedCall) -> NodeId {
        let op = Op::SolveTriangular(*self);
        if !call.is_batched(0) {
            return side_by_side(call, op);
        }
        record(call.tape, op, &[call.batched_operand(0).node(), call.batched_operand(1).node()])
    }

    fn rows(&self, operands: &[&[usize]]) -> Option<Rows> {
        Rows::alike(operands).filter(|_| operands[0].len() > 2)
    }

    fn forward(&self, operands: &[Operand<'_>], shape: &[usize], out: SliceMut<'_>) -> Result<(), Failure> {
        let [a, b] = [operands[0], operands[1]];
        by_dtype!(floats SliceMut, out, |out| self.solutions(a.numbers(), b.numbers(), shape, out))
    }

    fn flops(&self, operands: &[&[usize]], shape: &[usize]) -> usize {
        size(shape) * operands[0][operands[0].len() - 1]
    }
}

impl SolveTriangular {
    fn solutions<T: Number>(&self, a: &[T], b: &[T], shape: &[usize], out: &mut [T]) -> Result<(), Failure> {
        let (n, m) = (shape[shape.len() - 2], shape[shape.len() - 1]);
        out.copy_from_slice(b);
        for (i, out) in out.chunks_exact_mut((n * m).max(1)).enumerate() {
            let entries = &a[i * n * n..][..n * n];
            let upper = self.triangle == Triangle::Upper;
            let triangular = kernel::Triangular { n, entries, upper, transposed: self.transposed };
            triangular.solve(out, m).map_err(|kernel::Singular| Failure::Singular { matrix: i })?;
        }
        Ok(())
    }
}

impl Var {
    /// The lower triangle L, with zeros above, of which L·Lᵀ is this symmetric, positive definite matrix (or stack of them).
    ///
    /// It is a function of the symmetric part ½(A + Aᵀ), as JAX's: of a matrix that is symmetric to within rounding both
    /// triangles count, and the gradient is symmetric. A matrix whose symmetric part is not positive definite is an
    /// [`Error::NotPositiveDefinite`](crate::Error::NotPositiveDefinite) when it runs; one with a NaN makes NaNs.
    ///
    /// ```
    /// let tape = ad::Tape::new();
    /// let a = tape.input("a", ndarray::arr2(&[[4.0, 2.0], [2.0, 5.0]]));
    /// assert_eq!(a.cholesky().value(), ndarray::arr2(&[[2.0, 0.0], [1.0, 2.0]]).into_dyn());
    /// // ln det A = ln 16, and its gradient is the inverse of A.
    /// let gradient = a.ln_determinant().grad(a).value();
    /// assert_eq!(gradient, ndarray::arr2(&[[0.3125, -0.125], [-0.125, 0.25]]).into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn cholesky(self) -> Self {
        self.check_alive();
        apply(self.tape, Op::Cholesky(Cholesky), &[self.node])
    }

    /// The solution x of A·x = b, where A is one triangle of this square matrix (or of a stack of them) and b as
    /// [`solve`](Self::solve) takes it. The other triangle is not read, and its derivative is 0. A zero on the diagonal is an
    /// [`Error::Singular`](crate::Error::Singular) when it runs.
    #[track_caller]
    #[must_use]
    pub fn solve_triangular(self, b: Self, triangle: Triangle) -> Self {
        self.solved("solve_triangular", Op::SolveTriangular(SolveTriangular { triangle, transposed: false }), b)
    }

    /// [`solve_triangular`](Self::solve_triangular) of Aᵀ·x = b, where A is one triangle of this matrix.
    ///
    /// ```
    /// use ad::Triangle::Lower;
    /// let tape = ad::Tape::new();
    /// let a = tape.input("a", ndarray::arr2(&[[4.0, 2.0], [2.0, 5.0]]));
    /// let b = tape.input("b", ndarray::arr1(&[8.0, 12.0]));
    /// let l = a.cholesky();
    /// let x = l.solve_triangular_transposed(l.solve_triangular(b, Lower), Lower);        // that of a·x = b
    /// assert_eq!(x.value(), ndarray::arr1(&[1.0, 2.0]).into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn solve_triangular_transposed(self, b: Self, triangle: Triangle) -> Self {
        self.solved(
            "solve_triangular_transposed",
            Op::SolveTriangular(SolveTriangular { triangle, transposed: true }),
            b,
        )
    }

    /// The logarithm of the determinant of this symmetric, positive definite matrix, a number for each of a stack: 2·Σ ln Lᵢᵢ
    /// of its [`cholesky`](Self::cholesky) factor, whose determinant itself may be beyond the range of numbers. That of a
    /// matrix without entries is 0. Its gradient is the inverse.
    #[track_caller]
    #[must_use]
    pub fn ln_determinant(self) -> Self {
        let shape = check_square("ln_determinant", self);
        self.cholesky().diagonal().ln().sum_axes(&[shape.len() - 2]) * 2.0
    }

    /// The entries on and below diagonal `k` of this matrix (or of a stack of them), and zeros above: of 0, the lower triangle;
    /// diagonal 1 is the one above the main diagonal, −1 the one below. A NaN above leaves no trace.
    ///
    /// ```
    /// let tape = ad::Tape::new();
    /// let x = tape.input("x", ndarray::arr2(&[[1.0, 2.0, f64::NAN], [4.0, 5.0, 6.0]]));
    /// assert_eq!(x.tril(1).value(), ndarray::arr2(&[[1.0, 2.0, 0.0], [4.0, 5.0, 6.0]]).into_dyn());
    /// assert_eq!(x.tril(-1).value(), ndarray::arr2(&[[0.0, 0.0, 0.0], [4.0, 0.0, 0.0]]).into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn tril(self, k: isize) -> Self {
        self.where_diagonal("tril", |diagonal| diagonal <= k)
    }

    /// The entries on and above diagonal `k`, and zeros below: see [`tril`](Self::tril).
    #[track_caller]
    #[must_use]
    pub fn triu(self, k: isize) -> Self {
        self.where_diagonal("triu", |diagonal| diagonal >= k)
    }

    /// The entries on diagonals that are kept, and zeros elsewhere.
    #[track_caller]
    fn where_diagonal(self, operation: &str, is_kept: impl Fn(isize) -> bool) -> Self {
        self.check_float(operation);
        let shape = self.shape();
        let [.., m, n] = shape[..] else {
            panic!("{operation}: shape {shape:?} is no matrix\n  operand made at {}", self.location())
        };
        let kept = Array2::from_shape_fn((m, n), |(i, j)| if is_kept(j as isize - i as isize) { 1.0 } else { 0.0 });
        self.constant(kept).select(self, 0.0)
    }
}
