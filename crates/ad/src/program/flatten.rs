//! A pair of indices into a small table, as (state, action), is made one number, which all gathers and scatters at that pair
//! share: its range is then checked, and its arithmetic done, once.

use super::ir::{Id, Ids, Ir};
use crate::op::Op;
use crate::op::indexing::Indexing;
use crate::op::movement::Movement;
use crate::real::Real;
use crate::tensor::{Shape, size};

/// The same program. Where the table is larger than what is looked up, it is left alone: to see it as one of fewer axes,
/// it is copied.
pub(super) fn flatten<T: Real>(plain: &Ir<T>) -> Ir<T> {
    let mut ir = Ir::new();
    let mut new: Vec<Id> = Vec::with_capacity(plain.nodes.len());
    let mut inputs = plain.inputs.iter().peekable();
    for (id, node) in plain.nodes.iter().enumerate() {
        if inputs.next_if_eq(&&id).is_some() {
            new.push(ir.input(node));
            continue;
        }
        let operands: Ids = node.operands.iter().map(|&operand| new[operand]).collect();
        let shape_of = |i: usize| &plain.nodes[node.operands[i]].shape;
        let (table, flat) = match &node.op {
            Op::Indexing(Indexing::Gather { axis: 0 }) => (shape_of(0), true),
            Op::Indexing(Indexing::ScatterAdd { axis: 0, .. }) => (&node.shape, true),
            _ => (&node.shape, false),
        };
        let axes = operands.len().saturating_sub(1);
        if !flat || axes < 2 || size(table) > size(shape_of(1)) {
            new.push(ir.node(node.op.clone(), &operands, node.location));
            continue;
        }
        let dims: Shape = table[..axes].into();
        let one_axis: Shape = std::iter::once(size(&dims)).chain(table[axes..].iter().copied()).collect();
        let index = ir.node(Op::Indexing(Indexing::Flatten { dims }), &operands[1..], node.location);
        let reshaped =
            |ir: &mut Ir<T>, x: Id, shape: Shape| ir.node(Op::Movement(Movement::Reshape(shape)), &[x], node.location);
        new.push(match &node.op {
            Op::Indexing(Indexing::ScatterAdd { .. }) => {
                let op = Indexing::ScatterAdd { axis: 0, dims: one_axis[..1].into() };
                let sums = ir.node(Op::Indexing(op), &[operands[0], index], node.location);
                reshaped(&mut ir, sums, node.shape.clone())
            }
            op => {
                let table = reshaped(&mut ir, operands[0], one_axis);
                ir.node(op.clone(), &[table, index], node.location)
            }
        });
    }
    ir.outputs = plain.outputs.iter().map(|&output| new[output]).collect();
    ir.without_dead()
}
