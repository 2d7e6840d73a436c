//! Data flow: which results are needed, and what each operation reads of them.
//!
//! Copies are propagated on the way: a reshape is the same numbers, and a broadcast that its reader can do by itself is not
//! written out. Of `w.reshape([2, 3]).broadcast([1000, 2, 3]) + x`, the sum reads the six numbers of w, 1000 times.

use std::ops::Range;

use rustc_hash::FxHashSet;
use smallvec::SmallVec;

use crate::kernel::map::Repeat;
use crate::op::movement::Movement;
use crate::op::{Leaf, Op};
use crate::program::Lowering;
use crate::program::ir::{Id, Ir};
use crate::tensor::size;

/// Operations, and what each of them reads.
pub(super) struct Dataflow<'a> {
    pub ir: &'a Ir,
    pub lowering: Lowering,
    /// The nodes that have the outputs' numbers.
    pub outputs: Vec<Id>,
    /// Which results somebody reads as they are.
    pub live: Vec<bool>,
    /// The numbers of rows of which there are large arrays.
    pub large: FxHashSet<usize>,
}

/// An operand as a view of a result that lies in memory. (In the sum of the example above: of w.)
#[derive(Clone, Copy)]
pub(super) struct View {
    /// The node whose result is read: w.
    pub base: Id,
    /// The node that has these numbers, in this order, and the shape that they have before they are repeated: the reshape.
    pub shaped: Id,
    /// How often, if its reader repeats them: 1000 times.
    pub repeat: Option<Repeat>,
    /// Whether the rows of what is repeated are the rows of the whole, each repeated within itself, as in a broadcast of
    /// 1000 numbers to shape [1000, 3]. Always, where nothing is repeated.
    pub keeps_rows: bool,
}

impl View {
    /// Of a node as it is.
    fn plain(ir: &Ir, shaped: Id, lowering: Lowering) -> Self {
        let base = if lowering == Lowering::On { without_reshapes(ir, shaped) } else { shaped };
        Self { base, shaped, repeat: None, keeps_rows: true }
    }
}

impl<'a> Dataflow<'a> {
    pub fn new(ir: &'a Ir, lowering: Lowering) -> Self {
        let outputs: Vec<Id> = ir.outputs.iter().map(|&output| View::plain(ir, output, lowering).base).collect();
        let mut flow = Self { ir, lowering, outputs, live: vec![false; ir.nodes.len()], large: FxHashSet::default() };
        flow.outputs.iter().for_each(|&output| flow.live[output] = true);
        for id in (0..ir.nodes.len()).rev().filter(|&id| !is_leaf(ir, id)) {
            for i in 0..ir.nodes[id].operands.len() {
                let base = flow.view(id, i).base;
                flow.live[base] |= flow.live[id];
            }
        }
        flow.large = flow.rows_of_large_arrays();
        flow
    }

    /// What a node reads as its i-th operand.
    pub fn view(&self, id: Id, i: usize) -> View {
        let (ir, node) = (self.ir, &self.ir.nodes[id]);
        let plain = View::plain(ir, node.operands[i], self.lowering);
        let (whole, part) = (&ir.nodes[plain.shaped], &ir.nodes[plain.base]);
        // A reshape of what is repeated is repeated alike, but may have other rows.
        let same_rows = self.lowering == Lowering::On && whole.shape.first() == part.shape.first();
        match same_rows.then(|| repeated(ir, plain.base)).flatten() {
            Some((inner, repeat)) if node.op.rules().takes_repeated(i, repeat, &node.shape) => {
                let keeps_rows =
                    matches!(&part.op, Op::Movement(Movement::Broadcast { axes, .. }) if axes.first() == Some(&0));
                View { repeat: Some(repeat), keeps_rows, ..View::plain(ir, inner, self.lowering) }
            }
            _ => plain,
        }
    }

    /// What a node reads.
    pub fn views(&self, id: Id) -> impl Iterator<Item = View> {
        (0..self.ir.nodes[id].operands.len()).map(move |i| self.view(id, i))
    }

    /// Whether it is an operation that somebody needs.
    pub fn runs(&self, id: Id) -> bool {
        self.live[id] && !is_leaf(self.ir, id)
    }
}

fn is_leaf(ir: &Ir, id: Id) -> bool {
    matches!(ir.nodes[id].op, Op::Leaf(_))
}

/// What a node repeats, and how, if that is all it does and somebody might do it for it.
fn repeated(ir: &Ir, id: Id) -> Option<(Id, Repeat)> {
    let node = &ir.nodes[id];
    match &node.op {
        Op::Leaf(Leaf::Fill { shape, .. }) => Some((id, Repeat::each(size(shape).max(1)))),
        Op::Movement(Movement::Broadcast { shape, axes }) if node.dtype.is_float() && size(shape) > 0 => {
            // Axes that are kept, at most one gap between them, and what is behind it: of [2, 3, 4] broadcast to
            // [9, 2, 5, 3, 4], axis 1 is first, axis 2 the gap, and axes 3 and 4 are behind. Those of length 1 are nothing.
            let long: SmallVec<[(usize, bool); 6]> = (shape.iter().enumerate())
                .filter(|&(_, &length)| length != 1)
                .map(|(axis, &length)| (length, axes.contains(&axis)))
                .collect();
            let next = |from: usize, kept: bool| (from..long.len()).find(|&i| long[i].1 == kept).unwrap_or(long.len());
            let first = next(0, true);
            let gap = next(first, false);
            let behind = next(gap, true);
            let product = |range: Range<usize>| long[range].iter().map(|(length, _)| length).product();
            let repeat = match first == long.len() {
                true => Repeat::each(size(shape)),
                false if gap == long.len() => Repeat { run: product(first..gap), times: 1 },
                false => Repeat { run: product(behind..long.len()), times: product(gap..behind) },
            };
            let simple = axes.is_sorted() && next(behind, false) == long.len();
            simple.then_some((node.operands[0], repeat))
        }
        _ => None,
    }
}

/// The node whose numbers these are, in their order.
fn without_reshapes(ir: &Ir, mut id: Id) -> Id {
    while let Op::Movement(Movement::Reshape(_)) = ir.nodes[id].op {
        id = ir.nodes[id].operands[0];
    }
    id
}
