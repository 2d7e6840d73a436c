//! A pair of indices into a small table, as (state, action), is made one number, which all gathers and scatters at that pair
//! share: its range is then checked, and its arithmetic done, once.

use super::ir::{Id, Ir};
use crate::op::Op;
use crate::op::indexing::Indexing;
use crate::op::movement::Movement;
use crate::real::Real;
use crate::tensor::{Shape, size};

/// The same program. Where the table is larger than what is looked up, it is left alone: to see it as one of fewer axes,
/// it is copied.
pub(super) fn flatten<T: Real>(plain: &Ir<T>) -> Ir<T> {
    plain.rebuilt(|ir, node, operands| {
        let shape_of = |i: usize| &plain.nodes[node.operands[i]].shape;
        let table = match &node.op {
            Op::Indexing(Indexing::Gather { axis: 0 }) => Some(shape_of(0)),
            Op::Indexing(Indexing::ScatterAdd { axis: 0, .. }) => Some(&node.shape),
            _ => None,
        };
        let axes = operands.len().saturating_sub(1);
        let Some(table) = table.filter(|table| axes >= 2 && size(table) <= size(shape_of(1))) else {
            return ir.node(node.op.clone(), operands, node.location);
        };
        let dims: Shape = table[..axes].into();
        let one_axis: Shape = std::iter::once(size(&dims)).chain(table[axes..].iter().copied()).collect();
        let index = ir.node(Op::Indexing(Indexing::Flatten { dims }), &operands[1..], node.location);
        let reshaped =
            |x: Id, shape: Shape, ir: &mut Ir<T>| ir.node(Op::Movement(Movement::Reshape(shape)), &[x], node.location);
        match &node.op {
            Op::Indexing(Indexing::ScatterAdd { .. }) => {
                let op = Indexing::ScatterAdd { axis: 0, dims: one_axis[..1].into() };
                let sums = ir.node(Op::Indexing(op), &[operands[0], index], node.location);
                reshaped(sums, node.shape.clone(), ir)
            }
            op => {
                let table = reshaped(operands[0], one_axis, ir);
                ir.node(op.clone(), &[table, index], node.location)
            }
        }
    })
}
