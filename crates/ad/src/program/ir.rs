//! A program before it has places in memory: operations in order, equal ones merged. Lowering rewrites one into another.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::panic::Location;

use smallvec::SmallVec;

use crate::error::Error;
use crate::op::{Leaf, Op};
use crate::real::Real;
use crate::tape::{Graph, Kind, NodeId};
use crate::tensor::Shape;

/// A node's number. Operands have smaller numbers than the nodes that use them.
pub(super) type Id = usize;

pub(super) type Ids = SmallVec<[Id; 3]>;

/// One operation.
#[derive(Clone, Debug)]
pub(super) struct Node<T: Real> {
    pub op: Op<T>,
    pub operands: Ids,
    pub shape: Shape,
    pub kind: Kind,
    pub location: &'static Location<'static>,
}

/// Operations in an order in which they can run.
#[derive(Clone, Debug)]
pub(super) struct Ir<T: Real> {
    pub nodes: Vec<Node<T>>,
    /// The nodes whose values a run is given.
    pub inputs: Vec<Id>,
    pub outputs: Vec<Id>,
    /// The node of each operation and operands, by their hash, or the next number that is free.
    equal: HashMap<u64, Id>,
    hasher: RandomState,
}

impl<T: Real> Ir<T> {
    pub fn new() -> Self {
        Self {
            nodes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            equal: HashMap::new(),
            hasher: RandomState::new(),
        }
    }

    /// What the outputs of a tape need, without identities. Inputs that are not listed keep their recorded values.
    pub fn of(graph: &Graph<T>, inputs: &[NodeId], outputs: &[NodeId]) -> Result<Self, Error> {
        let mut ir = Self::new();
        let mut ids: HashMap<NodeId, Id> = HashMap::new();
        for &input in inputs {
            let node = &graph.nodes[input as usize];
            let id = ir.push(node.op.clone(), Ids::new(), node.shape.clone(), node.kind, node.location);
            ir.inputs.push(id);
            ids.insert(input, id);
        }
        for id in needed(graph, outputs) {
            if ids.contains_key(&id) {
                continue;
            }
            let node = &graph.nodes[id as usize];
            let operands: Ids = node.operands.iter().map(|operand| ids[operand]).collect();
            let new = match &node.op {
                Op::Barrier(barrier) if barrier.is_identity() => operands[0],
                Op::Leaf(Leaf::Placeholder { .. }) => return Err(Error::Placeholder { location: node.location }),
                Op::Leaf(Leaf::Input { value, .. }) => {
                    let constant = Op::Leaf(Leaf::constant(value.clone()));
                    ir.merged(constant, operands, node.shape.clone(), node.kind, node.location)
                }
                op => ir.merged(op.clone(), operands, node.shape.clone(), node.kind, node.location),
            };
            ids.insert(id, new);
        }
        ir.outputs = outputs.iter().map(|output| ids[output]).collect();
        // It is complete, and may be kept for long.
        ir.equal = HashMap::new();
        Ok(ir)
    }

    fn push(&mut self, op: Op<T>, operands: Ids, shape: Shape, kind: Kind, location: &'static Location<'static>) -> Id {
        self.nodes.push(Node { op, operands, shape, kind, location });
        self.nodes.len() - 1
    }

    /// The node of this operation on these operands, a new one if there is none yet.
    fn merged(
        &mut self,
        op: Op<T>,
        operands: Ids,
        shape: Shape,
        kind: Kind,
        location: &'static Location<'static>,
    ) -> Id {
        let mut hash = self.hasher.hash_one((&op, &operands));
        while let Some(&id) = self.equal.get(&hash) {
            let node = &self.nodes[id];
            if node.op == op && node.operands == operands {
                return id;
            }
            hash = hash.wrapping_add(1);
        }
        let id = self.push(op, operands, shape, kind, location);
        self.equal.insert(hash, id);
        id
    }

    /// The same, with its shape found by the operation's rule.
    pub fn node(&mut self, op: Op<T>, operands: &[Id], location: &'static Location<'static>) -> Id {
        let shape = {
            let shapes: SmallVec<[&[usize]; 3]> = operands.iter().map(|&id| self.nodes[id].shape.as_slice()).collect();
            op.rules().shape(&shapes)
        };
        let shape = shape.unwrap_or_else(|problem| {
            unreachable!("lowering made a {} that does not fit its operands: {problem}", op.rules().name())
        });
        let first = operands.first().map_or(Kind::Real, |&id| self.nodes[id].kind);
        let kind = op.rules().kind(first);
        self.merged(op, operands.into(), shape, kind, location)
    }

    /// An input, which is like no other node.
    pub fn input(&mut self, node: &Node<T>) -> Id {
        let id = self.push(node.op.clone(), Ids::new(), node.shape.clone(), node.kind, node.location);
        self.inputs.push(id);
        id
    }

    /// The same inputs and outputs, of other operations: `emit` makes each anew, from its operands as they are now.
    pub fn rebuilt(&self, mut emit: impl FnMut(&mut Self, &Node<T>, &[Id]) -> Id) -> Self {
        let mut ir = Self::new();
        let mut new: Vec<Id> = Vec::with_capacity(self.nodes.len());
        let mut inputs = self.inputs.iter().peekable();
        for (id, node) in self.nodes.iter().enumerate() {
            new.push(if inputs.next_if_eq(&&id).is_some() {
                ir.input(node)
            } else {
                let operands: Ids = node.operands.iter().map(|&operand| new[operand]).collect();
                emit(&mut ir, node, &operands)
            });
        }
        ir.outputs = self.outputs.iter().map(|&output| new[output]).collect();
        ir.without_dead()
    }

    /// Without what no output needs.
    pub fn without_dead(self) -> Self {
        let mut live = vec![false; self.nodes.len()];
        self.inputs.iter().chain(&self.outputs).for_each(|&id| live[id] = true);
        for id in (0..self.nodes.len()).rev() {
            if live[id] {
                self.nodes[id].operands.iter().for_each(|&operand| live[operand] = true);
            }
        }
        let mut new = vec![0; self.nodes.len()];
        let mut nodes = Vec::new();
        for (id, mut node) in self.nodes.into_iter().enumerate().filter(|(id, _)| live[*id]) {
            node.operands.iter_mut().for_each(|operand| *operand = new[*operand]);
            new[id] = nodes.len();
            nodes.push(node);
        }
        let renumber = |ids: Vec<Id>| ids.into_iter().map(|id| new[id]).collect();
        Self {
            nodes,
            inputs: renumber(self.inputs),
            outputs: renumber(self.outputs),
            equal: HashMap::new(),
            hasher: self.hasher,
        }
    }
}

/// The outputs and all they depend on, in the order of the tape.
fn needed<T: Real>(graph: &Graph<T>, outputs: &[NodeId]) -> Vec<NodeId> {
    let mut seen = vec![false; outputs.iter().max().map_or(0, |&last| last as usize + 1)];
    let mut stack: Vec<NodeId> = outputs.to_vec();
    let mut order = Vec::new();
    while let Some(node) = stack.pop() {
        if !std::mem::replace(&mut seen[node as usize], true) {
            order.push(node);
            stack.extend(&graph.nodes[node as usize].operands);
        }
    }
    order.sort_unstable();
    order
}
