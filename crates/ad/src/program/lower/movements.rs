//! Movements: those that undo each other or are one go, and broadcasts come as late as possible, so that what is done before
//! them is done to fewer entries.

use super::{Rewriter, Rule};
use crate::dtype::DType;
use crate::op::movement::Movement;
use crate::op::{Leaf, Op};
use crate::program::ir::{Id, Ids};
use crate::tensor::{Axes, Shape};

pub(super) const RULES: &[Rule] = &[
    ("reshape, transpose, slice, broadcast, flip: two in a row are one, and those that do nothing are none", move_once),
    ("f(broadcast x) = broadcast f(x)", broadcast_late),
    ("slice(broadcast x) = broadcast(slice x), and so for pad, shift and flip", move_before_broadcast),
    ("slice(pad x) = x", slice_of_pad),
];

fn move_once(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Movement(movement) = op else { return None };
    let shape = to.shape(x[0]);
    let result = op.rules().shape(&x.iter().map(|&id| &*to.ir.nodes[id].shape).collect::<Vec<_>>()).ok()?;
    let inner = to.op(x[0]).clone();
    let below = to.operands(x[0]);
    match (movement, &inner) {
        (Movement::Reshape(_), _) if result == shape => Some(x[0]),
        (Movement::Reshape(_), Op::Leaf(Leaf::Units { .. })) if !result.is_empty() => {
            let units = Leaf::Units { dtype: to.dtype(x[0]), shape: result };
            Some(to.ir.node(Op::Leaf(units), &[], to.location))
        }
        (Movement::Reshape(_), Op::Movement(Movement::Reshape(_))) => Some(to.emit(op.clone(), &below)),
        (Movement::Transpose(axes), _) if axes.iter().copied().eq(0..shape.len()) => Some(x[0]),
        (Movement::Transpose(axes), Op::Movement(Movement::Transpose(first))) => {
            let both = axes.iter().map(|&axis| first[axis]).collect();
            Some(to.emit(Op::Movement(Movement::Transpose(both)), &below))
        }
        // Entries keep their order where only axes of length 1 move.
        (Movement::Transpose(axes), _) if axes.iter().filter(|&&axis| shape[axis] != 1).is_sorted() => {
            Some(to.emit(Op::Movement(Movement::Reshape(result)), x))
        }
        (Movement::Broadcast { axes, .. }, _) if axes.len() == result.len() => Some(x[0]),
        (Movement::Broadcast { axes, .. }, Op::Movement(Movement::Broadcast { axes: first, .. })) => {
            let both: Axes = first.iter().map(|&axis| axes[axis]).collect();
            Some(to.broadcast(below[0], &result, &both))
        }
        (Movement::Flip { axis }, Op::Movement(Movement::Flip { axis: first })) if axis == first => Some(below[0]),
        (Movement::Flip { axis }, _) if shape[*axis] <= 1 => Some(x[0]),
        (Movement::Slice { axis, start, .. }, _) if *start == 0 && result[*axis] == shape[*axis] => Some(x[0]),
        (Movement::Pad { before: 0, after: 0, .. }, _) => Some(x[0]),
        (Movement::Concat { .. }, _) if x.len() == 1 => Some(x[0]),
        _ => None,
    }
}

fn broadcast_late(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    // An integer that cannot be cast is reported at its place, before it was repeated or after.
    let moves = match op {
        Op::Elementwise(_) | Op::Checked(_) => true,
        Op::Cast(_) => to.dtype(x[0]) != DType::I32,
        _ => false,
    };
    if !moves {
        return None;
    }
    // The operand with the most axes decides, if all others are numbers or broadcast from some of its axes.
    let shape = to.shape(x[0]);
    let parts: Vec<Option<(Id, Axes)>> = x.iter().map(|&id| to.as_broadcast(id)).collect();
    let widest = parts.iter().flatten().map(|(_, axes)| axes.clone()).max_by_key(|axes| axes.len())?;
    let fits = x.iter().zip(&parts).all(|(&id, part)| match part {
        Some((_, axes)) => axes.iter().all(|axis| widest.contains(axis)),
        None => to.as_number(id).is_some(),
    });
    if !fits {
        return None;
    }
    let small: Shape = widest.iter().map(|&axis| shape[axis]).collect();
    let operands: Ids = x
        .iter()
        .zip(&parts)
        .map(|(&id, part)| match part {
            Some((inner, axes)) => {
                let within: Axes =
                    axes.iter().map(|axis| widest.iter().position(|other| other == axis).unwrap_or(0)).collect();
                to.broadcast(*inner, &small, &within)
            }
            None => {
                let number = to.as_number(id).unwrap_or(f64::NAN);
                to.fill(id, number, &small)
            }
        })
        .collect();
    let result = to.emit(op.clone(), &operands);
    Some(to.broadcast(result, &shape, &widest))
}

fn move_before_broadcast(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Movement(
        movement @ (Movement::Slice { axis, .. }
        | Movement::Pad { axis, .. }
        | Movement::Shift { axis, .. }
        | Movement::Flip { axis }),
    ) = op
    else {
        return None;
    };
    let &[whole] = x else { return None };
    let (inner, axes) = to.as_broadcast(whole)?;
    let shape = op.rules().shape(&[&to.shape(whole)]).ok()?;
    let inner = match (axes.iter().position(|kept| kept == axis), movement) {
        (Some(axis), &Movement::Slice { start, end, .. }) => {
            to.emit(Op::Movement(Movement::Slice { axis, start, end }), &[inner])
        }
        (Some(axis), &Movement::Pad { before, after, .. }) => {
            to.emit(Op::Movement(Movement::Pad { axis, before, after }), &[inner])
        }
        (Some(axis), &Movement::Shift { later, .. }) => {
            to.emit(Op::Movement(Movement::Shift { axis, later }), &[inner])
        }
        (Some(axis), Movement::Flip { .. }) => to.emit(Op::Movement(Movement::Flip { axis }), &[inner]),
        (None, Movement::Slice { .. } | Movement::Flip { .. }) => inner,
        _ => return None,
    };
    Some(to.broadcast(inner, &shape, &axes))
}

fn slice_of_pad(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Movement(Movement::Slice { axis, start, end }) = op else { return None };
    let Op::Movement(Movement::Pad { axis: padded, before, .. }) = to.op(x[0]) else { return None };
    let (before, inner) = (*before, to.operands(x[0])[0]);
    let length = to.shape(inner)[*axis];
    (axis == padded && *start >= before && *end <= before + length).then(|| {
        let slice = Movement::Slice { axis: *axis, start: start - before, end: end - before };
        to.emit(Op::Movement(slice), &[inner])
    })
}
