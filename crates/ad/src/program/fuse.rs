//! Fusion: arithmetic on results that nobody else reads joins the operation that made them: one pass instead of two or three.

use super::ir::{Id, Ids, Ir};
use crate::op::Op;
use crate::op::elementwise::{Binary, Elementwise};
use crate::op::fused::{Arithmetic, Fused};

/// The same program in fewer passes. Only operations that run `side_by_side` are put in one: else what the first one reads
/// would have to be kept, and not what it makes.
pub(super) fn fuse(mut ir: Ir, side_by_side: impl Fn(Id, Id) -> bool) -> Ir {
    let mut uses = vec![0; ir.nodes.len()];
    let read = ir.nodes.iter().flat_map(|node| &node.operands);
    read.chain(&ir.outputs).chain(&ir.inputs).for_each(|&id| uses[id] += 1);

    for user in 0..ir.nodes.len() {
        let Some((outer, [x, y])) = arithmetic(&ir, user) else { continue };
        let part = |id: Id| arithmetic(&ir, id).filter(|_| uses[id] == 1 && side_by_side(id, user));
        use Arithmetic::{Over, Plus, Times};
        let (op, operands) = match (part(x), part(y)) {
            (Some((f, [a, b])), Some((h, [c, d]))) if ![f, outer, h].contains(&Over) => {
                (Fused::Both(f, outer, h), Ids::from_slice(&[a, b, c, d]))
            }
            (Some((f, [a, b])), _) => (Fused::First(f, outer), Ids::from_slice(&[a, b, y])),
            (None, Some((f, [a, b]))) if matches!(outer, Plus | Times) => {
                (Fused::First(f, outer), Ids::from_slice(&[a, b, x]))
            }
            (None, Some((f, [a, b]))) => (Fused::Last(outer, f), Ids::from_slice(&[x, a, b])),
            (None, None) => continue,
        };
        (ir.nodes[user].op, ir.nodes[user].operands) = (Op::Fused(op), operands);
    }
    ir.without_dead()
}

/// The operation and its operands, if it is one of arithmetic on two arrays (or of one with itself).
fn arithmetic(ir: &Ir, id: Id) -> Option<(Arithmetic, [Id; 2])> {
    let node = &ir.nodes[id];
    let op = match node.op {
        Op::Elementwise(Elementwise::Binary(Binary::Plus)) => Arithmetic::Plus,
        Op::Elementwise(Elementwise::Binary(Binary::Minus)) => Arithmetic::Minus,
        Op::Elementwise(Elementwise::Binary(Binary::Times)) => Arithmetic::Times,
        Op::Elementwise(Elementwise::Binary(Binary::Over)) => Arithmetic::Over,
        Op::Elementwise(Elementwise::Power(bits)) if f64::from_bits(bits) == 2.0 => {
            return Some((Arithmetic::Times, [node.operands[0]; 2]));
        }
        _ => return None,
    };
    Some((op, [node.operands[0], node.operands[1]]))
}
