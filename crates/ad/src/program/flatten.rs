//! Look-ups share what they can. A pair of indices into a small table, as (state, action), is made one number, which all
//! gathers and scatters at that pair share: its range is then checked, and its arithmetic done, once. And what a number makes
//! of a table that is looked up anyway, as γρ beside ρ, is made of what was looked up: arithmetic goes through entries in
//! order, a gather does not.

use rustc_hash::FxHashMap;

use super::ir::{Id, Ids, Ir, Node};
use crate::op::elementwise::{Binary, Elementwise};
use crate::op::indexing::Indexing;
use crate::op::movement::Movement;
use crate::op::{Leaf, Op};
use crate::tensor::{Shape, size};

/// The same program.
pub(super) fn flatten(plain: Ir) -> Ir {
    if !plain.nodes.iter().any(|node| matches!(node.op, Op::Indexing(_))) {
        return plain;
    }
    // What has become of the gathers so far, by table and indices.
    let mut looked_up: FxHashMap<Ids, Id> = FxHashMap::default();
    plain.rebuilt(|ir, node, operands| match &node.op {
        Op::Indexing(Indexing::Gather { axis: 0, .. }) => {
            let made = made_of_looked_up(&plain, ir, node, &looked_up);
            let gathered = made.unwrap_or_else(|| indexed(ir, node, operands));
            looked_up.insert(node.operands.clone(), gathered);
            gathered
        }
        Op::Indexing(Indexing::ScatterAdd { axis: 0, .. }) => indexed(ir, node, operands),
        op => ir.node(op.clone(), operands, node.location),
    })
}

/// gather(x∘c) = gather(x)∘c for a number c, where x has been looked up at the same indices.
fn made_of_looked_up(plain: &Ir, ir: &mut Ir, node: &Node, looked_up: &FxHashMap<Ids, Id>) -> Option<Id> {
    let table = &plain.nodes[node.operands[0]];
    let Op::Elementwise(Elementwise::Binary(Binary::Plus | Binary::Minus | Binary::Times)) = table.op else {
        return None;
    };
    (0..2).find_map(|i| {
        let Op::Leaf(Leaf::Fill { bits, dtype, .. }) = plain.nodes[table.operands[1 - i]].op else { return None };
        let mut inner = node.operands.clone();
        inner[0] = table.operands[i];
        let x = *looked_up.get(&inner)?;
        let number = ir.node(Op::Leaf(Leaf::Fill { bits, dtype, shape: node.shape.clone() }), &[], node.location);
        Some(ir.node(table.op.clone(), &if i == 0 { [x, number] } else { [number, x] }, node.location))
    })
}

/// A gather or a scatter at one number for each position. Where the table is larger than what is looked up, it is left
/// alone: to see it as one of fewer axes, it is copied.
fn indexed(ir: &mut Ir, node: &Node, operands: &[Id]) -> Id {
    let (x, index) = (operands[0], &operands[1..]);
    let (is_gather, asked) = match &node.op {
        Op::Indexing(Indexing::Gather { asked, .. }) => (true, asked.clone()),
        Op::Indexing(Indexing::ScatterAdd { asked, .. }) => (false, asked.clone()),
        _ => unreachable!("only look-ups have indices"),
    };
    let table = if is_gather { ir.nodes[x].shape.clone() } else { node.shape.clone() };
    let axes = index.len();
    let fits = i32::try_from(size(&table[..axes])).is_ok();
    if axes < 2 || !fits || size(&table) > size(&ir.nodes[index[0]].shape) {
        return ir.node(node.op.clone(), operands, node.location);
    }
    let dims: Shape = table[..axes].into();
    let one_axis: Shape = std::iter::once(size(&dims)).chain(table[axes..].iter().copied()).collect();
    let index = ir.node(Op::Indexing(Indexing::Flatten { dims, asked: asked.clone() }), index, node.location);
    let reshaped =
        |x: Id, shape: Shape, ir: &mut Ir| ir.node(Op::Movement(Movement::Reshape(shape)), &[x], node.location);
    if is_gather {
        let table = reshaped(x, one_axis, ir);
        ir.node(node.op.clone(), &[table, index], node.location)
    } else {
        let op = Indexing::ScatterAdd { axis: 0, dims: one_axis[..1].into(), asked };
        let sums = ir.node(Op::Indexing(op), &[x, index], node.location);
        reshaped(sums, node.shape.clone(), ir)
    }
}
