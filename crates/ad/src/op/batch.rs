//! A function of one example becomes a function of a batch, by rewriting what it recorded, operation by operation, for arrays
//! with a new leading axis.

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::{Leaf, Op};
use crate::tape::{Handle, Node, NodeId, Operands, Recording, record, with_graph};

/// An operation as a batching rule sees it: as it was recorded of one example, but on operands of the batch. Where
/// `w * x` was recorded of an x of [3], and the batch is of [100, 3], the size is 100, x has the new axis, and w has not.
pub struct BatchedCall {
    pub tape: u32,
    /// The length of the new leading axis.
    pub size: usize,
    /// Each operand, and whether it has the new leading axis.
    pub operands: SmallVec<[(Handle, bool); 3]>,
}

impl BatchedCall {
    /// The operand with the new leading axis, repeated along it if it had none.
    #[track_caller]
    pub fn batched_operand(&self, operand: usize) -> Handle {
        let (handle, batched) = self.operands[operand];
        if batched {
            return handle;
        }
        let mut shape = handle.shape();
        shape.insert(0, self.size);
        match handle {
            Handle::Var(var) => var.broadcast_to(&shape).into(),
            Handle::Index(index) => index.broadcast_to(&shape).into(),
        }
    }

    pub fn is_batched(&self, operand: usize) -> bool {
        self.operands[operand].1
    }
}

/// Records the batched form of a node, on these operands, of which some have the new leading axis.
#[track_caller]
pub(super) fn batched(tape: u32, size: usize, node: &Node, operands: &[(NodeId, bool)]) -> NodeId {
    // Nodes that a derivative pass could reuse may not stand for a user's: nothing here is merged.
    let _recording = Recording::in_place_of(tape, node.location, node.pass);
    let operands = operands.iter().map(|&(operand, batched)| (Handle::recorded(tape, operand), batched)).collect();
    node.op.rules().batching_rule(&BatchedCall { tape, size, operands })
}

/// A function that is being mapped: what is recorded on its arguments after `begin`, `end` records for the whole batch.
/// (Two steps instead of a closure, so that a panic between them is its caller's.)
pub(crate) struct Mapping {
    tape: u32,
    size: usize,
    batch: Vec<Handle>,
    /// One example each.
    pub arguments: Vec<Handle>,
}

impl Mapping {
    #[track_caller]
    pub(crate) fn begin(batch: &[Handle]) -> Self {
        let first = batch.first().expect("vmap: nothing to map over");
        let Some(&size) = first.shape().first() else {
            panic!("vmap: a scalar has no leading axis to map over\n  argument made at {}", first.made())
        };
        let _recording = Recording::fresh(first.tape());
        let mut arguments = Vec::with_capacity(batch.len());
        for handle in batch {
            first.check_same_tape("vmap", *handle);
            let shape = handle.shape();
            assert!(
                shape.first() == Some(&size),
                "vmap: arguments of shapes {:?} and {shape:?} differ in their leading axis\n  made at {}\n  made at {}",
                first.shape(),
                first.made(),
                handle.made()
            );
            let placeholder = Leaf::Placeholder { dtype: handle.dtype(), shape: shape[1..].into() };
            let node = record(first.tape(), Op::Leaf(placeholder), &[]);
            with_graph(first.tape(), |graph| graph.substitute(node, handle.node()));
            arguments.push(Handle::recorded(first.tape(), node));
        }
        Self { tape: first.tape(), size, batch: batch.to_vec(), arguments }
    }

    /// Records the batched form of everything between the arguments and the results.
    #[track_caller]
    pub(crate) fn end(self, results: &[Handle]) -> Vec<Handle> {
        for result in results {
            self.batch[0].check_same_tape("vmap", *result);
        }
        let Self { tape, size, batch, arguments } = self;
        let mut batched: FxHashMap<NodeId, NodeId> =
            arguments.iter().zip(&batch).map(|(argument, batch)| (argument.node(), batch.node())).collect();
        for node in dependent(tape, &arguments, results) {
            let recorded = with_graph(tape, |graph| graph.nodes[node as usize].clone());
            let operand = |operand: &NodeId| batched.get(operand).map_or((*operand, false), |&node| (node, true));
            let operands: SmallVec<[(NodeId, bool); 3]> = recorded.operands.iter().map(operand).collect();
            let result = self::batched(tape, size, &recorded, &operands);
            batched.insert(node, result);
        }
        let mut mapped = Vec::with_capacity(results.len());
        for &result in results {
            mapped.push(match batched.get(&result.node()) {
                Some(&node) if arguments.iter().any(|argument| argument.node() == result.node()) => {
                    Handle::recorded(tape, node).unchanged()
                }
                Some(&node) => Handle::recorded(tape, node),
                // A result that does not depend on the arguments is the same for all of them.
                None => BatchedCall { tape, size, operands: smallvec::smallvec![(result, false)] }.batched_operand(0),
            });
        }
        mapped
    }
}

/// The nodes between the arguments (exclusive) and the results, in the order of the tape.
fn dependent(tape: u32, arguments: &[Handle], results: &[Handle]) -> Vec<NodeId> {
    with_graph(tape, |graph| {
        let mut depends: FxHashSet<NodeId> = arguments.iter().map(|argument| argument.node()).collect();
        let first = depends.iter().copied().min().unwrap_or(0);
        let mut order = graph.ancestors(results.iter().map(|result| result.node()), first, |_, _| true);
        order.retain(|&node| {
            let operands: &Operands = &graph.nodes[node as usize].operands;
            let follows = operands.iter().any(|operand| depends.contains(operand));
            follows && depends.insert(node)
        });
        order
    })
}
