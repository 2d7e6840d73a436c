//! The intermediate representation: a program before it has places in memory, as operations in order. Passes rewrite one into
//! another. On the way, common subexpressions are eliminated (equal operations are one) and dead code is dropped.

use std::panic::Location;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::dtype::DType;
use crate::equal::Equal;
use crate::error::Error;
use crate::op::cast::Cast;
use crate::op::checked::Checked;
use crate::op::fold::Body;
use crate::op::{Data, Leaf, Op};
use crate::tape::{self, Graph, NodeId};
use crate::tensor::Shape;

/// A node's number. Operands have smaller numbers than the nodes that use them.
pub(super) type Id = usize;

pub(super) type Ids = SmallVec<[Id; 3]>;

/// One operation.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub op: Op,
    pub operands: Ids,
    pub shape: Shape,
    pub dtype: DType,
    pub location: &'static Location<'static>,
}

/// Operations in an order in which they can run.
#[derive(Clone, Debug)]
pub(super) struct Ir {
    pub nodes: Vec<Node>,
    /// The nodes whose values a run is given.
    pub inputs: Vec<Id>,
    pub outputs: Vec<Id>,
    /// By operation and operands.
    equal: Equal,
    /// While it is simplified, the constant that an operation on constants has been replaced by.
    pub folded: FxHashMap<Id, Id>,
}

impl Ir {
    /// Nothing yet, with room for so many nodes.
    pub fn with_capacity(nodes: usize) -> Self {
        Self {
            nodes: Vec::with_capacity(nodes),
            inputs: Vec::new(),
            outputs: Vec::new(),
            equal: Equal::with_capacity(nodes),
            folded: FxHashMap::default(),
        }
    }

    /// What the outputs of a tape need, without identities. Inputs that are not listed keep their recorded values, as constants.
    /// Equal nodes are still several: whoever rebuilds it makes them one.
    pub fn of(graph: &Graph, inputs: &[NodeId], outputs: &[NodeId]) -> Result<Self, Error> {
        let needed = graph.ancestors(inputs.iter().chain(outputs).copied(), 0, |_, _| true);
        Self::of_nodes(&graph.nodes, &needed, inputs, outputs, |_, op| match op {
            Op::Leaf(Leaf::Input { value, .. }) => Op::Leaf(Leaf::Constant(value.clone())),
            op => op.clone(),
        })
    }

    /// What a single evaluation of the outputs has to compute: what is known is read. Inputs are no constants to be computed with when
    /// the program is compiled: it runs once.
    pub fn of_evaluation(graph: &Graph, needed: &[NodeId], outputs: &[NodeId]) -> Result<Self, Error> {
        Self::of_nodes(&graph.nodes, needed, &[], outputs, |id, op| match graph.known.value(id) {
            Some(value) => Op::Leaf(Leaf::input("", value.clone())),
            None => op.clone(),
        })
    }

    /// What a step of a fold does.
    pub fn of_body(body: &Body) -> Self {
        let needed: Vec<NodeId> = (0..body.nodes.len() as NodeId).collect();
        let made = Self::of_nodes(&body.nodes, &needed, &needed[..body.inputs], &[body.output], |_, op| op.clone());
        made.expect("what a body reads it is given")
    }

    /// A body that does the same by these operations, whose inputs are those of a body.
    fn into_body(self, like: &Body) -> Body {
        // Passes may put others between the inputs, which come first in a body.
        let mut is_input = vec![false; self.nodes.len()];
        self.inputs.iter().for_each(|&input| is_input[input] = true);
        let others = (0..self.nodes.len()).filter(|&id| !is_input[id]);
        let order: Vec<Id> = self.inputs.iter().copied().chain(others).collect();
        let mut new: Vec<NodeId> = vec![0; order.len()];
        order.iter().enumerate().for_each(|(i, &id)| new[id] = i as NodeId);
        let node = |&id: &Id| {
            let Node { op, operands, shape, dtype, location } = self.nodes[id].clone();
            let operands = operands.into_iter().map(|operand| new[operand]).collect();
            tape::Node { op, operands, shape, dtype, location, pass: 0, adjoints: Box::default() }
        };
        like.rewritten(order.iter().map(node).collect(), new[self.outputs[0]])
    }

    /// The same operation; if it has a body, with that rewritten.
    pub fn in_bodies(op: &Op, rewrite: impl FnOnce(Self) -> Self) -> Op {
        match op {
            Op::Fold(fold) => Op::Fold(fold.with_body(|body| rewrite(Self::of_body(body)).into_body(body))),
            op => op.clone(),
        }
    }

    /// The operations of the `needed` nodes of a list, which are in their order, as they are `made`. They are all of the outputs'
    /// ancestors but for those of leaves.
    fn of_nodes(
        nodes: &[tape::Node],
        needed: &[NodeId],
        inputs: &[NodeId],
        outputs: &[NodeId],
        made: impl Fn(NodeId, &Op) -> Op,
    ) -> Result<Self, Error> {
        let mut ir = Self::with_capacity(0);
        ir.nodes.reserve_exact(needed.len());
        // What has become of the tape's nodes.
        let mut ids: FxHashMap<NodeId, Id> = FxHashMap::with_capacity_and_hasher(needed.len(), Default::default());
        for &input in inputs {
            let node = &nodes[input as usize];
            let id = ir.push(node.op.clone(), Ids::new(), node.shape.clone(), node.dtype, node.location);
            ir.inputs.push(id);
            ids.insert(input, id);
        }
        for &node_id in needed {
            if ids.contains_key(&node_id) {
                continue;
            }
            let node = &nodes[node_id as usize];
            let op = made(node_id, &node.op);
            let mut operands = Ids::new();
            if !matches!(op, Op::Leaf(_)) {
                operands.extend(node.operands.iter().map(|operand| ids[operand]));
            }
            let id = match &op {
                Op::Barrier(barrier) if barrier.is_identity() => operands[0],
                Op::Leaf(Leaf::Placeholder { .. }) => return Err(Error::Placeholder { location: node.location }),
                _ => ir.push(op, operands, node.shape.clone(), node.dtype, node.location),
            };
            ids.insert(node_id, id);
        }
        ir.outputs = outputs.iter().map(|output| ids[output]).collect();
        Ok(ir)
    }

    /// As it was recorded, without two nodes that are equal: common subexpressions eliminated, and nothing else.
    pub fn merged(&self) -> Self {
        self.rebuilt(|ir, node, operands| match node.op {
            Op::Checked(Checked::Usual { .. }) => operands[0],
            _ => ir.node(Self::in_bodies(&node.op, |body| body.merged()), operands, node.location),
        })
    }

    fn push(&mut self, op: Op, operands: Ids, shape: Shape, dtype: DType, location: &'static Location<'static>) -> Id {
        self.nodes.push(Node { op, operands, shape, dtype, location });
        self.nodes.len() - 1
    }

    /// The node of this operation on these operands, a new one if there is none yet. Its shape is found by the operation's
    /// rule.
    pub fn node(&mut self, op: Op, operands: &[Id], location: &'static Location<'static>) -> Id {
        let nodes = &self.nodes;
        let is_equal = |id: Id| nodes[id].op == op && nodes[id].operands.as_slice() == operands;
        if let Some(equal) = self.equal.find_or_insert((&op, operands), nodes.len(), is_equal) {
            return equal;
        }
        let shape = {
            let shapes: SmallVec<[&[usize]; 3]> = operands.iter().map(|&id| nodes[id].shape.as_slice()).collect();
            op.rules().shape(&shapes)
        };
        let shape = shape.unwrap_or_else(|problem| {
            unreachable!("lowering made a {} that does not fit its operands: {problem}", op.rules().name())
        });
        let dtypes: SmallVec<[DType; 4]> = operands.iter().map(|&id| nodes[id].dtype).collect();
        let dtype = op.rules().dtype(&dtypes).unwrap_or_else(|problem| {
            unreachable!("lowering made a {} that does not fit its operands: {problem}", op.rules().name())
        });
        self.push(op, operands.into(), shape, dtype, location)
    }

    /// An input, which is like no other node.
    pub fn input(&mut self, node: &Node) -> Id {
        let id = self.push(node.op.clone(), Ids::new(), node.shape.clone(), node.dtype, node.location);
        self.inputs.push(id);
        id
    }

    /// The same inputs and outputs, of other operations: `emit` makes each anew, from its operands as they are now.
    pub fn rebuilt(&self, mut emit: impl FnMut(&mut Self, &Node, &[Id]) -> Id) -> Self {
        let mut ir = Self::with_capacity(self.nodes.len());
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

    /// The same with double precision wherever there was single.
    pub fn in_double(&self) -> Self {
        let double = |dtype: DType| if dtype == DType::F32 { DType::F64 } else { dtype };
        let data = |data: &Data| data.value().clone().rounded(double(data.value().dtype())).into();
        let op = |op: &Op| match op {
            Op::Leaf(Leaf::Input { name, value }) => Op::Leaf(Leaf::Input { name: name.clone(), value: data(value) }),
            Op::Leaf(Leaf::Constant(value)) => Op::Leaf(Leaf::Constant(data(value))),
            Op::Leaf(Leaf::Fill { bits, dtype, shape }) => {
                Op::Leaf(Leaf::Fill { bits: *bits, dtype: double(*dtype), shape: shape.clone() })
            }
            Op::Leaf(Leaf::Units { dtype, shape }) => {
                Op::Leaf(Leaf::Units { dtype: double(*dtype), shape: shape.clone() })
            }
            Op::Cast(Cast(dtype)) => Op::Cast(Cast(double(*dtype))),
            op => Self::in_bodies(op, |body| body.in_double()),
        };
        let mut wide = self.clone();
        for node in &mut wide.nodes {
            (node.op, node.dtype) = (op(&node.op), double(node.dtype));
        }
        wide
    }

    /// Without what no output needs: dead code eliminated. Inputs stay.
    pub fn without_dead(mut self) -> Self {
        let mut live = vec![false; self.nodes.len()];
        self.inputs.iter().chain(&self.outputs).for_each(|&id| live[id] = true);
        for id in (0..self.nodes.len()).rev() {
            if live[id] {
                self.nodes[id].operands.iter().for_each(|&operand| live[operand] = true);
            }
        }
        // The new number of each node that has been seen.
        let mut new = Vec::with_capacity(self.nodes.len());
        let mut kept = 0;
        self.nodes.retain_mut(|node| {
            let live = live[new.len()];
            node.operands.iter_mut().for_each(|operand| *operand = if live { new[*operand] } else { 0 });
            new.push(kept);
            kept += usize::from(live);
            live
        });
        self.nodes.shrink_to_fit();
        self.inputs.iter_mut().chain(&mut self.outputs).for_each(|id| *id = new[*id]);
        self.equal = Equal::default();
        self.folded = FxHashMap::default();
        self
    }
}
