//! Factors that are repeated: they are multiplied before they are repeated, and common ones are taken out of sums of two.

use super::{Rewriter, Rule};
use crate::op::Op;
use crate::op::checked::Checked;
use crate::op::elementwise::{Binary, Elementwise};
use crate::program::ir::Id;
use crate::tensor::Axes;

pub(super) const RULES: &[Rule] = &[
    ("(x·broadcast a)·broadcast b = x·broadcast(a·b), and so for a number b", scale_repeated),
    ("x·broadcast a ± x·broadcast b = x·broadcast(a ± b)", factor_out),
    ("x·c + x·d = x·(c + d) for numbers of one sign, as in x + x", collect),
];

/// A product of which one factor is repeated: (the other, what is repeated, along which axes it is not).
fn as_times_repeated(to: &Rewriter<'_>, id: Id) -> Option<(Id, Id, Axes)> {
    let Op::Elementwise(Elementwise::Binary(Binary::Times)) = to.op(id) else { return None };
    let factors = to.operands(id);
    (0..2).find_map(|i| to.as_broadcast(factors[i]).map(|(inner, axes)| (factors[1 - i], inner, axes)))
}

fn scale_repeated(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Elementwise(Elementwise::Binary(Binary::Times)) = op else { return None };
    let shape = to.shape(x[0]);
    (0..2).find_map(|i| {
        let (other, a, axes) = as_times_repeated(to, x[i])?;
        let small = to.shape(a);
        let b = match (to.as_broadcast(x[1 - i]), to.as_number(x[1 - i])) {
            (Some((b, same)), _) if same == axes => b,
            (None, Some(number)) if number.is_finite() => to.fill(a, number, &small),
            _ => return None,
        };
        let product = to.emit(Op::Checked(Checked::Factor), &[a, b]);
        let product = to.broadcast(product, &shape, &axes);
        Some(to.times(other, product))
    })
}

fn factor_out(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Elementwise(Elementwise::Binary(Binary::Plus | Binary::Minus)) = op else { return None };
    let (left, right) = (as_times_repeated(to, x[0])?, as_times_repeated(to, x[1])?);
    if left.0 != right.0 || left.2 != right.2 {
        return None;
    }
    let factor = to.emit(op.clone(), &[left.1, right.1]);
    let factor = to.broadcast(factor, &to.shape(x[0]), &left.2);
    Some(to.emit(Op::Checked(Checked::Result), &[left.0, factor]))
}

fn collect(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Elementwise(Elementwise::Binary(sign @ (Binary::Plus | Binary::Minus))) = op else { return None };
    let scaled = |id: Id| to.as_scaled(id).unwrap_or((id, 1.0));
    let ((a, c), (b, d)) = (scaled(x[0]), scaled(x[1]));
    let d = if *sign == Binary::Plus { d } else { -d };
    // Of an infinite x, 3·x − x is a NaN.
    let (alike, sum) = (a == b && c * d > 0.0, to.dtype(a).round(c + d));
    (alike && to.dtype(a).is_normal(sum)).then(|| to.scaled(a, sum))
}
