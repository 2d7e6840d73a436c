//! Sums: of what is repeated, of products, in several steps; and the constants that leave them and other linear operations.

use super::{Rewriter, Rule};
use crate::op::Op;
use crate::op::elementwise::{Binary, Elementwise};
use crate::op::indexing::Indexing;
use crate::op::linalg::MatMul;
use crate::op::movement::Movement;
use crate::op::reduce::{By, Reduce};
use crate::op::scan::Scan;
use crate::program::ir::{Id, Ids};
use crate::tensor::{Axes, Shape, size};

pub(super) const RULES: &[Rule] = &[
    ("Σ over axes of length 1 = reshape", sum_of_one),
    ("a recurrence of one step is what is added at it", scan_of_one),
    ("Σ broadcast x = n·x", sum_of_repeated),
    ("Σ_k broadcast x · broadcast y = a matrix product", sum_of_products),
    ("Σ x·c = c·Σ x for |c| ≥ 1, and so for scatter, scan (−1), shift, reshape and transpose (any c)", constant_out),
    ("Σ over the axes in turn = Σ at once", sum_once),
];

fn sum_of_one(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Reduce(Reduce { by: By::Sum, axes }) = op else { return None };
    let shape = to.shape(x[0]);
    let result = op.rules().shape(&[&shape]).ok()?;
    axes.iter().all(|&axis| shape[axis] == 1).then(|| to.emit(Op::Movement(Movement::Reshape(result)), x))
}

fn scan_of_one(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Scan(Scan { axis, shifted, .. }) = op else { return None };
    // Times an infinite factor, the 0 that it starts from would be a NaN.
    let starts_from_nothing = *shifted || x.len() == 2 && to.as_number(x[1]).is_some_and(f64::is_finite);
    (to.shape(x[0])[*axis] == 1 && starts_from_nothing).then(|| x[0])
}

fn sum_of_repeated(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Reduce(Reduce { by: By::Sum, axes: summed }) = op else { return None };
    let (inner, axes) = to.as_broadcast(x[0])?;
    let shape = to.shape(x[0]);
    let repeated: usize = summed.iter().filter(|axis| !axes.contains(axis)).map(|&axis| shape[axis]).product();
    let kept: Axes = (0..shape.len()).filter(|axis| !summed.contains(axis)).collect();
    let result: Shape = kept.iter().map(|&axis| shape[axis]).collect();
    let within: Axes = (0..axes.len()).filter(|&i| summed.contains(&axes[i])).collect();
    let remaining: Axes = axes
        .iter()
        .filter(|axis| !summed.contains(axis))
        .filter_map(|axis| kept.iter().position(|k| k == axis))
        .collect();
    if repeated == 0 {
        return Some(to.fill(inner, 0.0, &result));
    }
    let sum = to.sum(inner, &within);
    let sum = to.scaled(sum, repeated as f64);
    Some(to.broadcast(sum, &result, &remaining))
}

/// A product of single precision adds terms in single precision, up to some hundreds: so much less accurate is what was a sum.
///
/// The axes of both factors, but for k, are the stack, and have to come first; those of one factor only are its rows or
/// columns.
fn sum_of_products(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    /// Below, a product is not worth a library's call.
    const FEWEST: usize = 4096;
    let Op::Reduce(Reduce { by: By::Sum, axes }) = op else { return None };
    let (&[k], Op::Elementwise(Elementwise::Binary(Binary::Times))) = (axes.as_slice(), to.op(x[0])) else {
        return None;
    };
    let shape = to.shape(x[0]);
    let factors = to.operands(x[0]);
    let (first, second) = (to.as_broadcast(factors[0])?, to.as_broadcast(factors[1])?);
    let only =
        |axes: &Axes, other: &Axes| -> Axes { axes.iter().copied().filter(|axis| !other.contains(axis)).collect() };
    // The factor whose own axes come first has the rows of the result.
    let (a, b) = if only(&first.1, &second.1) <= only(&second.1, &first.1) { (first, second) } else { (second, first) };
    let (rows, columns) = (only(&a.1, &b.1), only(&b.1, &a.1));
    let stack: Axes = a.1.iter().copied().filter(|&axis| axis != k && b.1.contains(&axis)).collect();
    let next = stack.len();
    let own: Axes = rows.iter().chain(&columns).copied().collect();
    let in_order = stack.iter().copied().eq(0..next) && own.is_sorted() && own.len() + next + 1 == shape.len();
    let length = |axes: &Axes| -> usize { axes.iter().map(|&axis| shape[axis]).product() };
    let (m, n) = (length(&rows), length(&columns));
    let both = a.1.contains(&k) && b.1.contains(&k);
    if !in_order || !both || shape[k] < 2 || m < 4 || n < 4 || size(&shape) < FEWEST {
        return None;
    }
    let k_first = |own: &Axes| own.iter().all(|&axis| k < axis);
    let k_last = |own: &Axes| own.iter().all(|&axis| k > axis);
    if !(k_first(&rows) || k_last(&rows)) || !(k_first(&columns) || k_last(&columns)) {
        return None;
    }
    let matrix = |to: &mut Rewriter<'_>, factor: Id, [rows, columns]: [usize; 2]| {
        let shape = shape[..next].iter().copied().chain([rows, columns]).collect();
        to.emit(Op::Movement(Movement::Reshape(shape)), &[factor])
    };
    let flags = MatMul { transpose_a: k_first(&rows), transpose_b: k_last(&columns), summed: false };
    let left = matrix(to, a.0, if flags.transpose_a { [shape[k], m] } else { [m, shape[k]] });
    let right = matrix(to, b.0, if flags.transpose_b { [n, shape[k]] } else { [shape[k], n] });
    let product = to.emit(Op::MatMul(flags), &[left, right]);
    let result = op.rules().shape(&[&shape]).ok()?;
    Some(to.emit(Op::Movement(Movement::Reshape(result)), &[product]))
}

fn constant_out(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let (inner, c) = to.as_scaled(*x.first()?)?;
    let leaves = match op {
        // What else enters at an end is no multiple of c.
        Op::Movement(Movement::Shift { .. }) => x.len() == 1,
        Op::Movement(Movement::Reshape(_) | Movement::Transpose(_)) => true,
        // Its products with a factor may vanish where multiples of them do not.
        Op::Scan(_) => x.len() == 2 && c.abs() == 1.0,
        // Where Σ x overflows, so does Σ x·c.
        Op::Reduce(Reduce { by: By::Sum, .. }) | Op::Indexing(Indexing::ScatterAdd { .. }) => c.abs() >= 1.0,
        _ => false,
    };
    if !leaves {
        return None;
    }
    let mut operands = Ids::from_slice(x);
    operands[0] = inner;
    let result = to.emit(op.clone(), &operands);
    Some(to.scaled(result, c))
}

fn sum_once(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Reduce(Reduce { by: By::Sum, axes: second }) = op else { return None };
    let Op::Reduce(Reduce { by: By::Sum, axes: first }) = to.op(x[0]) else { return None };
    let (first, inner) = (first.clone(), to.operands(x[0])[0]);
    let rank = to.shape(inner).len();
    let kept: Axes = (0..rank).filter(|axis| !first.contains(axis)).collect();
    let mut axes: Axes = first.iter().copied().chain(second.iter().map(|&axis| kept[axis])).collect();
    axes.sort_unstable();
    Some(to.sum(inner, &axes))
}
