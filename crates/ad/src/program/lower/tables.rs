//! Tables: where a table is smaller than what is looked up in it, arithmetic is done on the table, in front of a gather or
//! behind a scatter.

use super::{Rewriter, Rule};
use crate::op::Op;
use crate::op::checked::Checked;
use crate::op::elementwise::{Binary, Compare, Elementwise};
use crate::op::indexing::Indexing;
use crate::program::ir::{Id, Ids};
use crate::tensor::{Axes, size};

pub(super) const RULES: &[Rule] = &[
    ("f(gather x) = gather f(x)", gather_late),
    ("scatter(x·gather(y, i), i) = y·scatter(x, i)", scatter_of_gathered),
    ("gather(broadcast x) = broadcast(gather x), and so for scatter", index_of_repeated),
];

fn gather_late(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    // A cast stays behind: what is looked up of a table of bytes is cast a block at a time, the table never.
    let Op::Elementwise(_) = op else { return None };
    // All operands are numbers, or gathered at the same indices from tables of one shape.
    let first = x.iter().copied().find(|&id| matches!(to.op(id), Op::Indexing(Indexing::Gather { .. })))?;
    let (gather, pattern) = (to.op(first).clone(), to.operands(first));
    let table = to.shape(pattern[0]);
    if size(&table) >= to.size(first) {
        return None;
    }
    let mut tables = Ids::new();
    for &id in x {
        if let Some(number) = to.as_number(id) {
            tables.push(to.fill(id, number, &table));
        } else if *to.op(id) == gather {
            let operands = to.operands(id);
            if operands[1..] != pattern[1..] || to.shape(operands[0]) != table {
                return None;
            }
            tables.push(operands[0]);
        } else {
            return None;
        }
    }
    let mut operands = pattern;
    operands[0] = to.emit(op.clone(), &tables);
    Some(to.emit(gather, &operands))
}

fn scatter_of_gathered(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Indexing(Indexing::ScatterAdd { axis, dims, .. }) = op else { return None };
    let table_of = |to: &Rewriter<'_>, id: Id| {
        let operands = to.operands(id);
        let same = matches!(to.op(id), Op::Indexing(Indexing::Gather { axis: at, .. }) if at == axis)
            && operands[1..] == x[1..];
        let fits = same && to.shape(operands[0])[*axis..*axis + dims.len()] == dims[..];
        fits.then(|| operands[0])
    };
    let scattered = |to: &mut Rewriter<'_>, entries: Id| {
        let mut operands = Ids::from_slice(x);
        operands[0] = entries;
        to.emit(op.clone(), &operands)
    };
    if let Some(table) = table_of(to, x[0]) {
        let shape = to.shape(x[0]);
        let ones = to.fill(table, 1.0, &shape);
        let counts = scattered(to, ones);
        // A table may be infinite where nobody looks, as the likelihood ratio of an action that the behaviour policy never
        // takes: what is scattered there is 0, and 0·∞ would be a NaN that was not recorded.
        let shape = to.shape(counts);
        let zero = to.fill(table, 0.0, &shape);
        let product = to.times(counts, table);
        let is_zero = to.emit(Op::Elementwise(Elementwise::Compare(Compare::Equal)), &[counts, zero]);
        return Some(to.emit(Op::Elementwise(Elementwise::Select), &[is_zero, zero, product]));
    }
    let Op::Elementwise(Elementwise::Binary(Binary::Times)) = to.op(x[0]) else { return None };
    let factors = to.operands(x[0]);
    let (table, other) = match (table_of(to, factors[0]), table_of(to, factors[1])) {
        (Some(table), _) => (table, factors[1]),
        (None, Some(table)) => (table, factors[0]),
        _ => return None,
    };
    let sums = scattered(to, other);
    Some(to.emit(Op::Checked(Checked::Result), &[sums, table]))
}

fn index_of_repeated(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    // Only along axes in front of those that are indexed, which a gather or a scatter carries along.
    let Op::Indexing(indexing @ (Indexing::Gather { axis, .. } | Indexing::ScatterAdd { axis, .. })) = op else {
        return None;
    };
    let (inner, axes) = to.as_broadcast(x[0])?;
    let shape = to.shape(x[0]);
    let front = axes.iter().filter(|&&kept| kept < *axis).count();
    if front == *axis || !(*axis..shape.len()).all(|kept| axes.contains(&kept)) {
        return None;
    }
    let result = op.rules().shape(&x.iter().map(|&id| &*to.ir.nodes[id].shape).collect::<Vec<_>>()).ok()?;
    let mut operands = Ids::from_slice(x);
    operands[0] = inner;
    let indexed = to.emit(Op::Indexing(indexing.at(front)), &operands);
    let kept: Axes = axes[..front].iter().copied().chain(*axis..result.len()).collect();
    Some(to.broadcast(indexed, &result, &kept))
}
