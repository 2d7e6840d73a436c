//! Sums of arrays that are zero but in a part: what the derivative rules of a slice and of a look-up make.
//!
//! A recurrence written step by step reads x₀, x₁, … of an array x, and the cotangent of x is the sum of as many padded arrays,
//! each as large as x. Put side by side they are one array, made once:
//!
//! ```text
//! pad(g₀) + pad(g₁) + pad(g₂) = concat [g₀, g₁, g₂]
//! scatter(g₀ at i₀) + scatter(g₁ at i₁) + … = scatter(concat [g₀, g₁, …] at concat [i₀, i₁, …])
//! ```

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use super::indexing::{Indexing, scatter_together};
use super::leaf::fill;
use super::movement::Movement;
use super::{Op, apply};
use crate::tape::{NodeId, Var};
use crate::tensor::Shape;

/// So many look-ups, or fewer, are added as they are: lowering does more with each by itself.
const FEW_LOOK_UPS: usize = 8;

/// Whether it is zero but in a part.
pub(crate) fn is_part(var: Var) -> bool {
    var.with_node(|node| {
        matches!(node.op, Op::Movement(Movement::Pad { .. }) | Op::Indexing(Indexing::ScatterAdd { .. }))
    })
}

/// Of what kind a part is: only parts of one kind can be put together.
#[derive(PartialEq, Eq, Hash)]
enum Kind {
    /// Zeros around it along an axis.
    Padded { axis: usize },
    /// Added at indices for the axes from `axis` on.
    Scattered { axis: usize, dims: Shape },
}

impl Kind {
    fn of(var: Var) -> Self {
        var.with_node(|node| match &node.op {
            Op::Movement(Movement::Pad { axis, .. }) => Kind::Padded { axis: *axis },
            Op::Indexing(Indexing::ScatterAdd { axis, dims, .. }) => {
                Kind::Scattered { axis: *axis, dims: dims.clone() }
            }
            _ => unreachable!("it is zero but in a part"),
        })
    }
}

/// The sum of arrays, each of which is zero but in a part.
#[track_caller]
pub(crate) fn sum(parts: &[Var]) -> Var {
    let mut kinds: IndexMap<Kind, Vec<Var>, FxBuildHasher> = IndexMap::default();
    for &part in parts {
        kinds.entry(Kind::of(part)).or_default().push(part);
    }
    let together = |(kind, parts): (Kind, Vec<Var>)| match kind {
        _ if parts.len() == 1 => parts[0],
        Kind::Padded { axis } => side_by_side(&parts, axis),
        Kind::Scattered { .. } if parts.len() <= FEW_LOOK_UPS => added(parts),
        Kind::Scattered { .. } => {
            // One that is as large as the table costs no more by itself.
            let size_of_entries = |part: &Var| operand(*part, 0).size();
            let (small, large): (Vec<Var>, Vec<Var>) =
                parts.into_iter().partition(|part| 2 * size_of_entries(part) <= part.size());
            let together = (small.len() > 1).then(|| scatter_together(&small));
            added(if together.is_some() {
                together.into_iter().chain(large).collect()
            } else {
                [small, large].concat()
            })
        }
    };
    added(kinds.into_iter().map(together).collect())
}

#[track_caller]
fn added(parts: Vec<Var>) -> Var {
    parts.into_iter().reduce(|sum, part| sum + part).expect("a sum of something")
}

/// The i-th operand of the node, of numbers.
pub(super) fn operand(var: Var, i: usize) -> Var {
    Var::recorded(var.tape, var.with_node(|node| node.operands[i]))
}

/// The sum of padded arrays: those that do not overlap are one array, so that of windows x[t .. t + 3] three arrays are added.
#[track_caller]
fn side_by_side(padded: &[Var], axis: usize) -> Var {
    let mut parts: IndexMap<(usize, usize), Var, FxBuildHasher> = IndexMap::default();
    for &part in padded {
        let inner = operand(part, 0);
        let before = part.with_node(|node| match node.op {
            Op::Movement(Movement::Pad { before, .. }) => before,
            _ => unreachable!("only what is padded comes here"),
        });
        let sum = parts.entry((before, before + inner.shape()[axis]));
        sum.and_modify(|sum| *sum += inner).or_insert(inner);
    }
    parts.sort_unstable_keys();
    // Each part goes behind the one that ends first, if that leaves room for it.
    let mut layers: Vec<Vec<((usize, usize), Var)>> = Vec::new();
    let mut ends: BinaryHeap<Reverse<(usize, usize)>> = BinaryHeap::new();
    for part in parts {
        let (start, end) = part.0;
        let layer = match ends.peek() {
            Some(&Reverse((first, layer))) if first <= start => {
                ends.pop();
                layer
            }
            _ => {
                layers.push(Vec::new());
                layers.len() - 1
            }
        };
        layers[layer].push(part);
        ends.push(Reverse((end, layer)));
    }
    let length = padded[0].shape()[axis];
    added(layers.iter().map(|layer| side_by_side_in(layer, axis, length)).collect())
}

/// Arrays at places along an axis that do not overlap, and zeros elsewhere.
#[track_caller]
fn side_by_side_in(layer: &[((usize, usize), Var)], axis: usize, length: usize) -> Var {
    let (first, last) = (layer[0], layer[layer.len() - 1]);
    let mut nodes: Vec<NodeId> = Vec::with_capacity(layer.len());
    let mut filled = first.0.0;
    for &((start, end), part) in layer {
        if start > filled {
            let mut gap = part.shape();
            gap[axis] = start - filled;
            nodes.push(fill(part, 0.0, &gap).node);
        }
        nodes.push(part.node);
        filled = end;
    }
    let together = match nodes.as_slice() {
        [_] => first.1,
        nodes => apply(first.1.tape, Op::Movement(Movement::Concat { axis }), nodes),
    };
    let (before, after) = (first.0.0, length - last.0.1);
    if before + after > 0 { together.pad(axis, before, after) } else { together }
}
