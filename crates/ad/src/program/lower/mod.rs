//! Lowering: the same numbers by less work. Algebraic simplification and constant folding, as term rewriting by a table of
//! rules, each of which reads like algebra and points towards the smaller array or the earlier end; [`lower`] applies them to
//! each operation as it is rebuilt, operands first.
//!
//! A rule looks at an operation and at what its operands are, and answers with an equal node, or not. A family of rules is a
//! file, with its lines of the table in front of their code. To add a rule, write a function there, and a line. Two that
//! point both ways never end.
//!
//! What the rules promise: where the recorded operations make finite numbers (and would of the magnitudes of what they sum),
//! so does the program, and the same within rounding; and a NaN or an infinity that they make of one is not lost. So 0.25
//! does not leave Σ 0.25·x, where x may be 10³⁰⁸ four times, but 4 leaves Σ 4·x. Rules that are worth more than that make
//! products that are watched (`op/checked.rs`): where one leaves the range of numbers, the program runs as recorded. There
//! is no rule for x·0 or x − x, which may be a NaN. Not promised are the sign of a zero, and a NaN or an infinity of numbers
//! that nobody looks up.

use std::panic::Location;

use rustc_hash::FxHashMap;

use super::axes::{directions_last, samples_first};
use super::bands::of_few_diagonals;
use super::flatten::flatten;
use super::ir::{Id, Ids, Ir};
use crate::dtype::DType;
use crate::op::elementwise::{Binary, Elementwise, Unary};
use crate::op::movement::Movement;
use crate::op::reduce::{By, Reduce};
use crate::op::{Leaf, Op};
use crate::tensor::{Axes, Shape, size};

mod factors;
mod movements;
mod numbers;
mod products;
mod sums;
mod tables;

/// The same outputs from the same inputs, simplified, with Hessians of few diagonals made of these, the directions of others
/// innermost, and samples in front.
pub(super) fn lower(plain: &Ir) -> Ir {
    let simple = simplify(plain);
    let has_units = simple.nodes.iter().any(|node| matches!(node.op, Op::Leaf(Leaf::Units { .. })));
    flatten(samples_first(if has_units { directions_last(&of_few_diagonals(simple)) } else { simple }))
}

fn simplify(plain: &Ir) -> Ir {
    // Loops that are equal are one before their bodies are lowered: constants that are folded there would be two.
    let mut loops: FxHashMap<Op, Op> = FxHashMap::default();
    plain.rebuilt(|ir, node, operands| {
        let op = match &node.op {
            op @ Op::Fold(_) => {
                loops.entry(op.clone()).or_insert_with(|| Ir::in_bodies(op, |body| lower(&body))).clone()
            }
            op => op.clone(),
        };
        Rewriter { ir, location: node.location }.emit(op, operands)
    })
}

/// An equation, and the function that makes of an operation and its operands, if they are a left side, the right side.
type Rule = (&'static str, fn(&mut Rewriter<'_>, &Op, &[Id]) -> Option<Id>);

/// The table, in the order in which rules are tried. The first that fits is applied.
const FAMILIES: [&[Rule]; 6] =
    [numbers::RULES, movements::RULES, factors::RULES, sums::RULES, tables::RULES, products::RULES];

/// Makes nodes, each simplified by the rules.
pub(super) struct Rewriter<'a> {
    pub ir: &'a mut Ir,
    pub location: &'static Location<'static>,
}

impl Rewriter<'_> {
    /// The node of an operation, simplified.
    pub fn emit(&mut self, op: Op, operands: &[Id]) -> Id {
        for (_, rule) in FAMILIES.into_iter().flatten() {
            if let Some(id) = rule(self, &op, operands) {
                return id;
            }
        }
        self.ir.node(op, operands, self.location)
    }

    fn op(&self, id: Id) -> &Op {
        &self.ir.nodes[id].op
    }

    fn operands(&self, id: Id) -> Ids {
        self.ir.nodes[id].operands.clone()
    }

    fn shape(&self, id: Id) -> Shape {
        self.ir.nodes[id].shape.clone()
    }

    fn size(&self, id: Id) -> usize {
        size(&self.ir.nodes[id].shape)
    }

    fn dtype(&self, id: Id) -> DType {
        self.ir.nodes[id].dtype
    }

    /// A number everywhere, of the type of a node.
    fn fill(&mut self, like: Id, number: f64, shape: &[usize]) -> Id {
        let fill = Leaf::fill(number, self.dtype(like), shape);
        self.ir.node(Op::Leaf(fill), &[], self.location)
    }

    /// The number, if the node is one number everywhere.
    fn as_number(&self, id: Id) -> Option<f64> {
        match self.op(id) {
            Op::Leaf(Leaf::Fill { bits, .. }) => Some(f64::from_bits(*bits)),
            _ => None,
        }
    }

    /// (x, c), if the node is x·c for a finite number c (which rules put on the right), or −x.
    fn as_scaled(&self, id: Id) -> Option<(Id, f64)> {
        let operands = self.operands(id);
        match self.op(id) {
            Op::Elementwise(Elementwise::Binary(Binary::Times)) => {
                let c = self.as_number(operands[1]).filter(|c| c.is_finite())?;
                Some((operands[0], c))
            }
            Op::Elementwise(Elementwise::Unary(Unary::Negate)) => Some((operands[0], -1.0)),
            _ => None,
        }
    }

    /// (x, axes), if the node is a broadcast.
    fn as_broadcast(&self, id: Id) -> Option<(Id, Axes)> {
        match self.op(id) {
            Op::Movement(Movement::Broadcast { axes, .. }) => Some((self.operands(id)[0], axes.clone())),
            _ => None,
        }
    }

    fn times(&mut self, a: Id, b: Id) -> Id {
        self.emit(Op::Elementwise(Elementwise::Binary(Binary::Times)), &[a, b])
    }

    fn scaled(&mut self, x: Id, c: f64) -> Id {
        let c = self.fill(x, c, &self.shape(x));
        self.times(x, c)
    }

    fn broadcast(&mut self, x: Id, shape: &[usize], axes: &[usize]) -> Id {
        self.emit(Op::Movement(Movement::Broadcast { shape: shape.into(), axes: axes.into() }), &[x])
    }

    fn sum(&mut self, x: Id, axes: &[usize]) -> Id {
        if axes.is_empty() { x } else { self.emit(Op::Reduce(Reduce { by: By::Sum, axes: axes.into() }), &[x]) }
    }
}
