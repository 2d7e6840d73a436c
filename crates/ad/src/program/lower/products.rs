//! Products of matrices, and solutions of linear systems: transposes become flags, what is stacked stays so, and solutions
//! with one matrix share its factorisation.

use super::{Rewriter, Rule};
use crate::op::Op;
use crate::op::linalg::{Factor, MatMul, Solve};
use crate::op::movement::Movement;
use crate::program::ir::Id;

pub(super) const RULES: &[Rule] = &[
    ("Xᵀ·Y by flags", matmul_of_transposed),
    ("reshape(reshape(A)·B) = A·B of a stack", stacked_product),
    ("reshape(A)ᵀ·reshape(G) = Σ AᵀG over a stack", sum_over_stack),
    ("A⁻¹·b by a factorisation of A, which all solutions share", solve_by_factor),
];

fn matmul_of_transposed(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let &Op::MatMul(MatMul { transpose_a, transpose_b, summed: false }) = op else { return None };
    let last_two_exchanged = |to: &Rewriter<'_>, id: Id| match to.op(id) {
        Op::Movement(Movement::Transpose(axes)) => {
            let n = axes.len();
            let exchanged = axes[n - 2..] == [n - 1, n - 2] && axes[..n - 2].iter().copied().eq(0..n - 2);
            exchanged.then(|| to.operands(id)[0])
        }
        _ => None,
    };
    // Of a stack that shares one B, A is not transposed.
    let shared = to.shape(x[0]).len() > to.shape(x[1]).len();
    let (a, b) = (last_two_exchanged(to, x[0]).filter(|_| !shared), last_two_exchanged(to, x[1]));
    if a.is_none() && b.is_none() {
        return None;
    }
    let flags =
        MatMul { transpose_a: transpose_a ^ a.is_some(), transpose_b: transpose_b ^ b.is_some(), summed: false };
    Some(to.emit(Op::MatMul(flags), &[a.unwrap_or(x[0]), b.unwrap_or(x[1])]))
}

/// What is stacked stays so: rows of the stack can take part in the region of what is around.
fn stacked_product(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Movement(Movement::Reshape(shape)) = op else { return None };
    let &Op::MatMul(flags @ MatMul { transpose_a: false, .. }) = to.op(x[0]) else { return None };
    let factors = to.operands(x[0]);
    let a = as_tall(to, factors[0]).filter(|_| to.shape(factors[1]).len() == 2)?;
    let stack = to.shape(a);
    let rows = stack.len() - 1;
    let fits = shape.len() == stack.len() && shape[..rows] == stack[..rows];
    fits.then(|| to.emit(Op::MatMul(flags), &[a, factors[1]]))
}

/// What is stacked stays so, here too.
fn sum_over_stack(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let &Op::MatMul(MatMul { transpose_a: true, transpose_b: false, summed: false }) = op else { return None };
    // One of them may have been a matrix from the start, of which a stack was made.
    let tall = [as_tall(to, x[0]), as_tall(to, x[1])];
    let stack = to.shape(tall[0].or(tall[1])?);
    let rows = stack.len() - 1;
    let mut stacked = |i: usize| {
        let own = tall[i].filter(|&id| to.shape(id).len() == stack.len() && to.shape(id)[..rows] == stack[..rows]);
        let columns = to.shape(x[i])[1];
        own.unwrap_or_else(|| {
            let shape = stack[..rows].iter().copied().chain([columns]).collect();
            to.emit(Op::Movement(Movement::Reshape(shape)), &[x[i]])
        })
    };
    let (a, g) = (stacked(0), stacked(1));
    Some(to.emit(Op::MatMul(MatMul { transpose_a: true, transpose_b: false, summed: true }), &[a, g]))
}

/// A stack of matrices, if the node is all their rows in one matrix. (A constant factor has left the reshape.)
fn as_tall(to: &mut Rewriter<'_>, id: Id) -> Option<Id> {
    if let Some((tall, c)) = to.as_scaled(id) {
        let stack = as_tall(to, tall)?;
        return Some(to.scaled(stack, c));
    }
    let Op::Movement(Movement::Reshape(shape)) = to.op(id) else { return None };
    let inner = to.operands(id)[0];
    let stack = to.shape(inner);
    (shape.len() == 2 && stack.len() > 2 && stack.last() == shape.last()).then_some(inner)
}

fn solve_by_factor(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let &Op::Solve(solve @ Solve { factored: false, .. }) = op else { return None };
    let factor = to.emit(Op::Factor(Factor), &[x[0]]);
    Some(to.emit(Op::Solve(Solve { factored: true, ..solve }), &[factor, x[1]]))
}
