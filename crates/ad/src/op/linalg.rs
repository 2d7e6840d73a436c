//! Matrix products and linear systems, over stacks of matrices: leading axes are equal and carried along. (Of a product,
//! the second matrix may be one for the whole stack.)
//!
//! Both operations take their matrices transposed by flags, which differentiation flips: no transpose is ever recorded.

use ndarray::Array2;

use super::{BatchedCall, Call, Cotangents, Failure, Op, Operand, Rows, Rules, apply};
use crate::dtype::by_dtype;
use crate::kernel::functions::Number;
use crate::kernel::reduce::with_scratch;
use crate::kernel::{self, Accumulate, cast};
use crate::tape::{NodeId, Var, record};
use crate::tensor::{Axes, Shape, Slice, SliceMut, broadcast_shape, size};

/// (A, B) ↦ op(A)·op(B), where op transposes if the flag is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MatMul {
    pub transpose_a: bool,
    pub transpose_b: bool,
    /// Σ Aᵀ·B over the stacks: one product of all their rows. Only lowering records it, with `transpose_a` alone.
    pub summed: bool,
}

/// (A, B) ↦ A⁻¹·B, or (Aᵀ)⁻¹·B if `transposed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Solve {
    pub transposed: bool,
    /// A is given by what [`Factor`] makes of it: lowering does that, so that all solutions share one factorisation.
    pub factored: bool,
}

/// A ↦ its LU factorisation with partial pivoting: n×n and, as a last row, the pivots. Only lowering records it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Factor;

/// A ↦ ln |det A|.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LnAbsDeterminant;

/// The last two axes, exchanged if `transposed`.
fn matrix(shape: &[usize], transposed: bool) -> (usize, usize) {
    let (rows, columns) = (shape[shape.len() - 2], shape[shape.len() - 1]);
    if transposed { (columns, rows) } else { (rows, columns) }
}

fn stack(shape: &[usize]) -> &[usize] {
    &shape[..shape.len() - 2]
}

/// The number of rows of a square matrix, or of each of a stack.
pub(super) fn square(shape: &[usize]) -> Result<usize, String> {
    match *shape {
        [.., m, n] if m == n => Ok(n),
        _ => Err(format!("needs square matrices, got shape {shape:?}")),
    }
}

/// [`square`] of a Var: its shape.
#[track_caller]
pub(super) fn check_square(operation: &str, a: Var) -> Shape {
    let shape = a.shape();
    if let Err(problem) = square(&shape) {
        panic!("{operation}: {problem}\n  operand made at {}", a.location());
    }
    shape
}

/// The shape of the solutions of linear systems (A, B), where A has some more rows than it is for.
pub(super) fn system(operands: &[&[usize]], more: usize) -> Result<Shape, String> {
    let (a, b) = (operands[0], operands[1]);
    if a.len() < 2 || b.len() < 2 {
        return Err(format!("needs matrices, got shapes {a:?} and {b:?}"));
    }
    let ((n, columns), (rows, _)) = (matrix(a, false), matrix(b, false));
    if n != columns + more || columns != rows || stack(a) != stack(b) {
        return Err(format!("shapes {a:?} and {b:?} do not fit: needs A of n×n and B of n×m"));
    }
    Ok(b.into())
}

impl Rules for MatMul {
    fn name(&self) -> &str {
        "matmul"
    }

    fn parameters(&self) -> String {
        match (self.transpose_a, self.transpose_b) {
            (false, false) => "",
            (true, false) if self.summed => "sum of A^T B",
            (true, false) => "A^T",
            (false, true) => "B^T",
            (true, true) => "A^T B^T",
        }
        .to_owned()
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        let (a, b) = (operands[0], operands[1]);
        if a.len() < 2 || b.len() < 2 {
            return Err(format!("needs matrices, got shapes {a:?} and {b:?}"));
        }
        if self.summed {
            return match (a.split_last(), b.split_last()) {
                (Some((&m, rows)), Some((&n, other))) if rows == other => Ok(smallvec::smallvec![m, n]),
                _ => Err(format!("shapes {a:?} and {b:?} do not fit: their rows differ")),
            };
        }
        let ((m, k), (other, n)) = (matrix(a, self.transpose_a), matrix(b, self.transpose_b));
        if k != other || (stack(a) != stack(b) && !self.is_shared(b)) {
            return Err(format!("shapes {a:?} and {b:?} do not fit: {m}×{k} times {other}×{n}"));
        }
        Ok([stack(a), &[m, n]].concat().into())
    }

    fn vjp(&self, call: &Call, g: Var) -> Cotangents {
        let (a, b) = (call.var(0), call.var(1));
        let &MatMul { transpose_a: ta, transpose_b: tb, summed: false } = self else {
            unreachable!("derivatives stand before a program is lowered")
        };
        if a.shape().len() > b.shape().len() {
            let (tall_a, tall_g) = (tall(a), tall(g));
            return call.two(
                || product(g, b, false, !tb),
                || if tb { product(tall_g, tall_a, true, false) } else { product(tall_a, tall_g, true, false) },
            );
        }
        call.two(
            // For C = A·B: Ā = C̄·Bᵀ and B̄ = Aᵀ·C̄; for a transposed operand, the transpose of that.
            || if ta { product(b, g, tb, true) } else { product(g, b, false, !tb) },
            || if tb { product(g, a, true, ta) } else { product(a, g, !ta, false) },
        )
    }

    fn with_leading_axis(&self, _size: usize) -> Op {
        Op::MatMul(*self)
    }

    fn batching_rule(&self, call: &BatchedCall) -> NodeId {
        let (a, b) = (call.operands[0].0.var(), call.operands[1].0.var());
        if call.is_batched(0) && !call.is_batched(1) && self.is_shared(&b.shape()) {
            return record(call.tape, Op::MatMul(*self), &[a.node, b.node]);
        }
        let (first, second) = (call.batched_operand(0).var(), call.batched_operand(1).var());
        if first.shape().len() > second.shape().len() {
            // One B for each of a stack of stacks.
            let shape = first.shape();
            let rows: usize = shape[1..shape.len() - 1].iter().product();
            let inner = first.reshaped(&[shape[0], rows, shape[shape.len() - 1]]);
            let result = product(inner, second, false, self.transpose_b);
            let columns = result.shape()[2];
            return result.reshaped(&[&shape[..shape.len() - 1], &[columns]].concat()).node;
        }
        let operands = [call.batched_operand(0).node(), call.batched_operand(1).node()];
        record(call.tape, Op::MatMul(*self), &operands)
    }

    fn rows(&self, operands: &[&[usize]]) -> Option<Rows> {
        if operands[0].len() > 2 && !self.summed {
            return match operands[1].len() {
                2 => Some(Rows { by_row: smallvec::smallvec![true, false], summed: false }),
                _ => Rows::alike(operands),
            };
        }
        match (self.transpose_a, self.transpose_b) {
            // X·W of the rows of X, and XᵀY, a sum over the rows of both.
            (false, _) => Some(Rows { by_row: smallvec::smallvec![true, false], summed: false }),
            (true, false) => Some(Rows { by_row: smallvec::smallvec![true, true], summed: true }),
            (true, true) => None,
        }
    }

    fn forward(&self, operands: &[Operand<'_>], shape: &[usize], out: SliceMut<'_>) -> Result<(), Failure> {
        by_dtype!(floats SliceMut, out, |out| self.products(operands, shape, out, Accumulate::No));
        Ok(())
    }

    fn accumulate(
        &self,
        operands: &[Operand<'_>],
        shape: &[usize],
        sum: &mut [f64],
        mut part: SliceMut<'_>,
    ) -> Result<(), Failure> {
        if let Slice::F64(_) = operands[0].data {
            self.products(operands, shape, sum, Accumulate::Yes);
        } else {
            self.forward(operands, shape, part.reborrow())?;
            cast::add(part.as_slice(), sum);
        }
        Ok(())
    }

    fn flops(&self, operands: &[&[usize]], shape: &[usize]) -> usize {
        let terms = if self.summed {
            size(&operands[0][..operands[0].len() - 1])
        } else {
            matrix(operands[0], self.transpose_a).1
        };
        2 * size(shape) * terms
    }
}

/// Systems of a batch with the same matrix, or stack of them: their right-hand sides side by side.
#[track_caller]
pub(super) fn side_by_side(call: &BatchedCall, op: Op) -> NodeId {
    let (a, b) = (call.operands[0].0.var(), call.operands[1].0.var());
    let shape = b.shape();
    let (rows, m) = (&shape[1..shape.len() - 1], shape[shape.len() - 1]);
    let behind: Axes = (1..=rows.len()).chain([0, rows.len() + 1]).collect();
    let in_front: Axes = std::iter::once(rows.len()).chain(0..rows.len()).chain([rows.len() + 1]).collect();
    let wide = b.transpose(&behind).reshape(&[rows, &[call.size * m]].concat());
    let x = apply(call.tape, op, &[a.node, wide.node]);
    x.reshape(&[rows, &[call.size, m]].concat()).transpose(&in_front).node
}

/// A stack of matrices as one, one above another.
#[track_caller]
fn tall(x: Var) -> Var {
    let shape = x.shape();
    let (rows, columns) = (shape[..shape.len() - 1].iter().product(), shape[shape.len() - 1]);
    x.reshaped(&[rows, columns])
}

impl MatMul {
    /// Whether B of this shape is one for all matrices of a stack.
    fn is_shared(&self, b: &[usize]) -> bool {
        b.len() == 2 && !self.transpose_a
    }

    fn products<T: Number>(&self, operands: &[Operand<'_>], shape: &[usize], out: &mut [T], accumulate: Accumulate) {
        let (a, b) = (operands[0], operands[1]);
        let (mut m, mut k) = matrix(a.shape, self.transpose_a);
        let n = shape[shape.len() - 1];
        let mut stacked = size(stack(shape));
        if a.shape.len() > b.shape.len() {
            // One B for all: the stack of A is one tall matrix.
            (m, stacked) = (m * stacked, 1);
        }
        if self.summed {
            // Both stacks are.
            k *= size(stack(a.shape));
        }
        for i in 0..stacked {
            let a = kernel::Matrix::new(&a.numbers()[i * m * k..][..m * k], m, k, self.transpose_a);
            let b = kernel::Matrix::new(&b.numbers()[i * k * n..][..k * n], k, n, self.transpose_b);
            kernel::matmul(&mut out[i * m * n..][..m * n], a, b, accumulate);
        }
    }
}

impl Rules for Solve {
    fn name(&self) -> &str {
        "solve"
    }

    fn parameters(&self) -> String {
        match (self.transposed, self.factored) {
            (false, false) => "",
            (true, false) => "A^T",
            (false, true) => "factored",
            (true, true) => "A^T factored",
        }
        .to_owned()
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        system(operands, usize::from(self.factored))
    }

    fn vjp(&self, call: &Call, g: Var) -> Cotangents {
        let (a, x) = (call.var(0), call.output());
        let flipped = Solve { transposed: !self.transposed, ..*self };
        let b_bar = apply(call.tape, Op::Solve(flipped), &[a.node, g.node]);
        call.two(
            || -(if self.transposed { product(x, b_bar, false, true) } else { product(b_bar, x, false, true) }),
            || b_bar,
        )
    }

    fn with_leading_axis(&self, _size: usize) -> Op {
        Op::Solve(*self)
    }

    fn batching_rule(&self, call: &BatchedCall) -> NodeId {
        // One factorisation for all.
        if !call.is_batched(0) && call.operands[0].0.shape().len() == 2 {
            return side_by_side(call, Op::Solve(*self));
        }
        record(call.tape, Op::Solve(*self), &[call.batched_operand(0).node(), call.batched_operand(1).node()])
    }

    fn rows(&self, operands: &[&[usize]]) -> Option<Rows> {
        Rows::alike(operands).filter(|_| operands[0].len() > 2)
    }

    fn forward(&self, operands: &[Operand<'_>], shape: &[usize], out: SliceMut<'_>) -> Result<(), Failure> {
        let [a, b] = [operands[0], operands[1]];
        by_dtype!(floats SliceMut, out, |out| self.solutions(a.numbers(), b.numbers(), shape, out))
    }

    fn flops(&self, operands: &[&[usize]], shape: &[usize]) -> usize {
        let n = matrix(operands[0], false).1;
        let factorisation = if self.factored { 0 } else { 2 * n * n * n * size(stack(shape)) / 3 };
        factorisation + 2 * n * size(shape)
    }
}

impl Solve {
    fn solutions<T: Number>(&self, a: &[T], b: &[T], shape: &[usize], out: &mut [T]) -> Result<(), Failure> {
        let (n, m) = matrix(shape, false);
        out.copy_from_slice(b);
        for (i, out) in out.chunks_exact_mut((n * m).max(1)).enumerate() {
            if self.factored {
                let (lu, pivots) = a[i * (n + 1) * n..][..(n + 1) * n].split_at(n * n);
                kernel::solve_factored(n, lu, pivots, self.transposed, out, m);
            } else {
                let mut lu = [&a[i * n * n..][..n * n], &vec![T::zero(); n]].concat();
                let (lu, pivots) = lu.split_at_mut(n * n);
                kernel::factor(n, lu, pivots).map_err(|kernel::Singular| Failure::Singular { matrix: i })?;
                kernel::solve_factored(n, lu, pivots, self.transposed, out, m);
            }
        }
        Ok(())
    }
}

impl Rules for Factor {
    fn name(&self) -> &str {
        "factor"
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        let n = square(operands[0])?;
        Ok([stack(operands[0]), &[n + 1, n]].concat().into())
    }

    fn vjp(&self, _call: &Call, _cotangent: Var) -> Cotangents {
        unreachable!("derivatives stand before a program is lowered")
    }

    fn with_leading_axis(&self, _size: usize) -> Op {
        Op::Factor(*self)
    }

    fn rows(&self, operands: &[&[usize]]) -> Option<Rows> {
        Rows::alike(operands).filter(|_| operands[0].len() > 2)
    }

    fn forward(&self, operands: &[Operand<'_>], shape: &[usize], out: SliceMut<'_>) -> Result<(), Failure> {
        by_dtype!(floats SliceMut, out, |out| factorisations(operands[0].numbers(), shape[shape.len() - 1], out))
    }

    fn flops(&self, operands: &[&[usize]], _shape: &[usize]) -> usize {
        2 * matrix(operands[0], false).0 * size(operands[0]) / 3
    }
}

fn factorisations<T: Number>(a: &[T], n: usize, out: &mut [T]) -> Result<(), Failure> {
    for (i, out) in out.chunks_exact_mut((n * (n + 1)).max(1)).enumerate() {
        let (lu, pivots) = out.split_at_mut(n * n);
        lu.copy_from_slice(&a[i * n * n..][..n * n]);
        kernel::factor(n, lu, pivots).map_err(|kernel::Singular| Failure::Singular { matrix: i })?;
    }
    Ok(())
}

impl Rules for LnAbsDeterminant {
    fn name(&self) -> &str {
        "ln_abs_determinant"
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        square(operands[0])?;
        Ok(stack(operands[0]).into())
    }

    fn vjp(&self, call: &Call, g: Var) -> Cotangents {
        call.one(|| {
            // A⁻ᵀ, which is the same whatever the cotangent.
            let a = call.var(0);
            let shape = a.shape();
            let unit = a.constant(Array2::<f64>::eye(shape[shape.len() - 1])).stretched(&shape);
            let inverse =
                apply(call.tape, Op::Solve(Solve { transposed: true, factored: false }), &[a.node, unit.node]);
            inverse * g.reshaped(&[stack(&shape), &[1, 1]].concat())
        })
    }

    fn with_leading_axis(&self, _size: usize) -> Op {
        Op::LnAbsDeterminant(*self)
    }

    fn rows(&self, operands: &[&[usize]]) -> Option<Rows> {
        Rows::alike(operands).filter(|_| operands[0].len() > 2)
    }

    fn forward(&self, operands: &[Operand<'_>], _shape: &[usize], out: SliceMut<'_>) -> Result<(), Failure> {
        by_dtype!(floats SliceMut, out, |out| ln_abs_determinants(operands[0], out));
        Ok(())
    }

    fn flops(&self, operands: &[&[usize]], _shape: &[usize]) -> usize {
        2 * matrix(operands[0], false).0 * size(operands[0]) / 3
    }
}

fn ln_abs_determinants<T: Number>(a: Operand<'_>, out: &mut [T]) {
    let n = matrix(a.shape, false).0;
    with_scratch(n * (n + 1), |room| {
        for (i, out) in out.iter_mut().enumerate() {
            *out = kernel::ln_abs_determinant(n, &a.numbers()[i * n * n..][..n * n], room);
        }
    });
}

#[track_caller]
pub(super) fn product(a: Var, b: Var, transpose_a: bool, transpose_b: bool) -> Var {
    apply(a.tape, Op::MatMul(MatMul { transpose_a, transpose_b, summed: false }), &[a.node, b.node])
}

impl Var {
    /// The matrix product, by NumPy's rules: of vectors the inner product, and stacks of matrices broadcast.
    #[track_caller]
    #[must_use]
    pub fn matmul(self, other: Self) -> Self {
        self.check_same_tape("matmul", other);
        self.check_same_dtype("matmul", other);
        let (a, b) = (self.shape(), other.shape());
        let fits = match (a.as_slice(), b.as_slice()) {
            ([], _) | (_, []) => false,
            (a, [k]) => a[a.len() - 1] == *k,
            ([k], b) => b[b.len() - 2] == *k,
            (a, b) => a[a.len() - 1] == b[b.len() - 2] && broadcast_shape(stack(a), stack(b)).is_some(),
        };
        if !fits {
            panic!(
                "matmul: shapes {a:?} and {b:?} do not fit (the last axis of the first and the last but one of the second \
                 must be equal)\n  operand made at {}\n  operand made at {}",
                self.location(),
                other.location()
            );
        }
        let left = if a.len() == 1 { self.insert_axis(0) } else { self };
        let right = if b.len() == 1 { other.insert_axis(1) } else { other };
        // One right matrix for a stack of left ones is not repeated.
        let (left, right) = if right.shape().len() == 2 { (left, right) } else { left.stacked_with(right) };
        let mut shape = left.shape();
        shape.pop();
        shape.push(right.shape()[right.shape().len() - 1]);
        let result = product(left, right, false, false);
        if b.len() == 1 {
            shape.pop();
        }
        if a.len() == 1 {
            shape.remove(shape.len() - usize::from(b.len() != 1) - 1);
        }
        result.reshaped(&shape)
    }

    /// The inner product of two arrays of one shape: Σ a·b. (It does not broadcast.)
    #[track_caller]
    #[must_use]
    pub fn dot(self, other: Self) -> Self {
        self.check_same_tape("dot", other);
        self.check_same_dtype("dot", other);
        let (a, b) = (self.shape(), other.shape());
        assert!(
            a == b,
            "dot: shapes {a:?} and {b:?} differ (an inner product is one of equal shapes; broadcast_to makes them so)\n  \
             operand made at {}\n  operand made at {}",
            self.location(),
            other.location()
        );
        (self * other).sum()
    }

    /// The solution x of A·x = b, where A is this square matrix (or a stack of them) and b a vector (if it has one axis less
    /// than A) or a matrix, by LU factorisation with partial pivoting; stacks broadcast. A singular A is an
    /// [`Error::Singular`](crate::Error::Singular) when it runs.
    #[track_caller]
    #[must_use]
    pub fn solve(self, b: Self) -> Self {
        self.solved("solve", Op::Solve(Solve { transposed: false, factored: false }), b)
    }

    /// The logarithm of the absolute value of the determinant of this square matrix, a number for each of a stack, by LU
    /// factorisation. (Of a symmetric, positive definite one, [`ln_determinant`](Self::ln_determinant) is half the work.)
    ///
    /// That of a matrix without entries is 0, and that of a singular one −∞. Its gradient is the transposed inverse, and of a
    /// singular one an [`Error::Singular`](crate::Error::Singular) when it runs.
    #[track_caller]
    #[must_use]
    pub fn ln_abs_determinant(self) -> Self {
        self.check_alive();
        apply(self.tape, Op::LnAbsDeterminant(LnAbsDeterminant), &[self.node])
    }

    /// The solution of a linear system with this matrix by an operation on stacks of matrices; b may be a vector, and stacks
    /// broadcast.
    #[track_caller]
    pub(super) fn solved(self, operation: &str, op: Op, b: Self) -> Self {
        self.check_same_tape(operation, b);
        self.check_same_dtype(operation, b);
        let (a, shape) = (self.shape(), b.shape());
        let vector = shape.len() + 1 == a.len();
        let right = if vector { b.insert_axis(shape.len()) } else { b };
        let fits = match (a.as_slice(), right.shape().as_slice()) {
            ([above @ .., m, n], [beside @ .., k, _]) => m == n && m == k && broadcast_shape(above, beside).is_some(),
            _ => false,
        };
        if !fits {
            panic!(
                "{operation}: shapes {a:?} and {shape:?} do not fit (needs a square matrix and a right-hand side of as many \
                 rows)\n  operand made at {}\n  operand made at {}",
                self.location(),
                b.location()
            );
        }
        let (left, right) = self.stacked_with(right);
        let x = apply(self.tape, op, &[left.node, right.node]);
        let mut shape = x.shape();
        if vector {
            shape.pop();
        }
        x.reshaped(&shape)
    }

    /// Both, with their stacks broadcast.
    #[track_caller]
    fn stacked_with(self, other: Self) -> (Self, Self) {
        let (a, b) = (self.shape(), other.shape());
        let Some(both) = broadcast_shape(stack(&a), stack(&b)) else { return (self, other) };
        let whole = |shape: &[usize]| [&both, &shape[shape.len() - 2..]].concat();
        (self.stretched(&whole(&a)), other.stretched(&whole(&b)))
    }
}
