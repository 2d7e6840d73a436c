//! Jacobians of a few diagonals, made of these.
//!
//! A Jacobian or Hessian is recorded as a function mapped over unit directions, an identity matrix. What takes an entry with its
//! neighbours (Σ f(xᵢ), Rosenbrock's Σ (xᵢ₊₁ − xᵢ²)²) makes a matrix of it that is 0 but for a few diagonals, in n² steps where n
//! would do: times a vector, each entry of an identity's row i is multiplied by entry i. Here a matrix is followed as the list of
//! its diagonals, from the identity through what is done to it, and if an output is such a matrix, [`Bands`] makes it of them.

use rustc_hash::FxHashMap;
use smallvec::{SmallVec, smallvec};

use super::ir::{Id, Ids, Ir, Node};
use super::lower::Rewriter;
use crate::op::bands::Bands;
use crate::op::checked::Checked;
use crate::op::elementwise::{Binary, Elementwise, Unary};
use crate::op::movement::Movement;
use crate::op::{Leaf, Op};

/// The most diagonals that are followed.
const MOST: usize = 16;

/// Of each how far it is below the matrix' own diagonal, and its entries, one for each column (zeros beyond the last row).
type Diagonals = SmallVec<[(isize, Id); 3]>;

/// A matrix, directions by entries, of a few diagonals.
#[derive(Clone)]
struct Banded {
    bands: Diagonals,
    transposed: bool,
}

struct Following {
    ir: Ir,
    /// Which nodes are such matrices.
    banded: FxHashMap<Id, Banded>,
}

/// The same outputs from the same inputs, where those of few diagonals are made of these.
pub(super) fn of_few_diagonals(plain: Ir) -> Ir {
    let mut to = Following { ir: Ir::with_capacity(plain.nodes.len()), banded: FxHashMap::default() };
    let mut new: Vec<Id> = Vec::with_capacity(plain.nodes.len());
    let mut inputs = plain.inputs.iter().peekable();
    for (id, node) in plain.nodes.iter().enumerate() {
        if inputs.next_if_eq(&&id).is_some() {
            new.push(to.ir.input(node));
            continue;
        }
        let operands: Ids = node.operands.iter().map(|&operand| new[operand]).collect();
        let same = to.ir.node(node.op.clone(), &operands, node.location);
        if let Some(banded) = to.followed(node, &operands) {
            to.banded.insert(same, banded);
        }
        new.push(same);
    }
    if !plain.outputs.iter().any(|&output| to.banded.contains_key(&new[output])) {
        return plain;
    }
    to.ir.outputs = plain.outputs.iter().map(|&output| to.made(&plain.nodes[output], new[output])).collect();
    to.ir.without_dead()
}

impl Following {
    /// An output: of its diagonals, if it is of few.
    fn made(&mut self, node: &Node, same: Id) -> Id {
        let Some(Banded { bands, transposed }) = self.banded.get(&same) else { return same };
        let rows = node.shape[usize::from(*transposed)];
        let op = Bands { offsets: bands.iter().map(|(offset, _)| *offset).collect(), rows, transposed: *transposed };
        let entries: Ids = bands.iter().map(|(_, entries)| *entries).collect();
        self.ir.node(Op::Bands(op), &entries, node.location)
    }

    /// The diagonals of a node's result, given those of its operands.
    fn followed(&mut self, node: &Node, x: &[Id]) -> Option<Banded> {
        let &[_, columns] = node.shape.as_slice() else { return None };
        if let Op::Leaf(Leaf::Units { dtype, shape }) = &node.op {
            if shape[0] != shape[1] {
                return None;
            }
            let ones = Leaf::fill(1.0, *dtype, &shape[1..]);
            let ones = self.emit(node, Op::Leaf(ones), &[]);
            return Some(Banded { bands: smallvec![(0, ones)], transposed: false });
        }
        match &node.op {
            Op::Movement(Movement::Transpose(axes)) if axes.as_slice() == [1, 0] => {
                let Banded { bands, transposed } = self.banded.get(&x[0])?.clone();
                return Some(Banded { bands, transposed: !transposed });
            }
            Op::Movement(Movement::Concat { axis: 1 }) => {
                // A sum of its parts, each with zeros for the others.
                let mut before = 0;
                let mut sum = SmallVec::new();
                for &part in x {
                    let width = self.ir.nodes[part].shape[1];
                    let bands = self.upright(part)?;
                    let padded = self.padded(node, bands, before, columns - before - width);
                    sum = self.sum(node, sum, padded, Binary::Plus)?;
                    before += width;
                }
                return Some(Banded { bands: sum, transposed: false });
            }
            _ => {}
        }
        let bands = match &node.op {
            op @ Op::Elementwise(Elementwise::Unary(Unary::Negate)) => {
                let bands = self.upright(x[0])?;
                self.each(bands, |to, band| to.emit(node, op.clone(), &[band]))
            }
            op @ (Op::Elementwise(Elementwise::Binary(Binary::Times | Binary::Over))
            | Op::Checked(Checked::Factor | Checked::Result)) => {
                let is_first = self.banded.contains_key(&x[0]);
                if !is_first && matches!(op, Op::Elementwise(Elementwise::Binary(Binary::Over))) {
                    return None;
                }
                let [of, other] = if is_first { [x[0], x[1]] } else { [x[1], x[0]] };
                let (bands, factor) = (self.upright(of)?, self.beside(node, other)?);
                let operands = |band| if is_first { [band, factor] } else { [factor, band] };
                self.each(bands, |to, band| to.emit(node, op.clone(), &operands(band)))
            }
            Op::Elementwise(Elementwise::Binary(by @ (Binary::Plus | Binary::Minus))) => {
                let (a, b) = (self.upright(x[0])?, self.upright(x[1])?);
                self.sum(node, a, b, *by)?
            }
            &Op::Movement(Movement::Slice { axis: 1, start, end }) => {
                let slice = Op::Movement(Movement::Slice { axis: 0, start, end });
                let bands = self.upright(x[0])?;
                let sliced = self.each(bands, |to, band| to.emit(node, slice.clone(), &[band]));
                sliced.into_iter().map(|(offset, band)| (offset + start as isize, band)).collect()
            }
            &Op::Movement(Movement::Pad { axis: 1, before, after }) => {
                let bands = self.upright(x[0])?;
                self.padded(node, bands, before, after)
            }
            _ => return None,
        };
        Some(Banded { bands, transposed: false })
    }

    /// The diagonals of a matrix that is not transposed.
    fn upright(&self, x: Id) -> Option<Diagonals> {
        self.banded.get(&x).filter(|banded| !banded.transposed).map(|banded| banded.bands.clone())
    }

    /// What stands beside every row of a matrix, the same in each, as a row.
    fn beside(&mut self, node: &Node, x: Id) -> Option<Id> {
        let row = &node.shape[1..];
        match self.ir.nodes[x].op.clone() {
            Op::Leaf(Leaf::Fill { bits, dtype, .. }) => {
                let fill = Leaf::Fill { bits, dtype, shape: row.into() };
                Some(self.emit(node, Op::Leaf(fill), &[]))
            }
            Op::Movement(Movement::Broadcast { axes, .. }) if !axes.contains(&0) => {
                let inner = self.ir.nodes[x].operands[0];
                let axes = axes.iter().map(|axis| axis - 1).collect();
                Some(self.emit(node, Op::Movement(Movement::Broadcast { shape: row.into(), axes }), &[inner]))
            }
            _ => None,
        }
    }

    fn emit(&mut self, node: &Node, op: Op, operands: &[Id]) -> Id {
        Rewriter { ir: &mut self.ir, location: node.location }.emit(op, operands)
    }

    fn each(&mut self, bands: Diagonals, f: impl Fn(&mut Self, Id) -> Id) -> Diagonals {
        bands.into_iter().map(|(offset, band)| (offset, f(self, band))).collect()
    }

    /// With columns of zeros before and after.
    fn padded(&mut self, node: &Node, bands: Diagonals, before: usize, after: usize) -> Diagonals {
        let pad = Op::Movement(Movement::Pad { axis: 0, before, after });
        let padded = self.each(bands, |to, band| to.emit(node, pad.clone(), &[band]));
        padded.into_iter().map(|(offset, band)| (offset - before as isize, band)).collect()
    }

    /// a + b, or a − b.
    fn sum(&mut self, node: &Node, mut a: Diagonals, b: Diagonals, by: Binary) -> Option<Diagonals> {
        for (offset, band) in b {
            match a.iter().position(|(other, _)| *other == offset) {
                Some(at) => a[at].1 = self.emit(node, Op::Elementwise(Elementwise::Binary(by)), &[a[at].1, band]),
                None if by == Binary::Minus => {
                    let negative = self.emit(node, Op::Elementwise(Elementwise::Unary(Unary::Negate)), &[band]);
                    a.push((offset, negative));
                }
                None => a.push((offset, band)),
            }
        }
        (a.len() <= MOST).then_some(a)
    }
}
