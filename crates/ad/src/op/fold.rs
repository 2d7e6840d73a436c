//! A loop with a body that is recorded once: c_t = f(c_{t−1}, x_t, w), from an initial carry, over the leading axis of some
//! sequences x, with what else the body reads, w, the same at every step. The result is all carries, `[T, …]`.
//!
//! The [`Body`] is a list of nodes of its own, apart from any tape. What is made of a fold is made of its body: mapped over a
//! batch here, pulled back in `diff/fold.rs`, lowered and compiled where a program is. It is compared by what it does, so that
//! two derivatives of one fold find that they take the same loop.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::barrier::{self, Adjoint, Barrier};
use super::batch::{self, BatchedCall};
use super::movement::Movement;
use super::{Call, Cotangents, Failure, Leaf, Op, Operand, Rules};
use crate::dtype::DType;
use crate::tape::{Graph, Handle, Node, NodeId, Operands, Recording, Scratch, Var, record, with_graph};
use crate::tensor::{Shape, SliceMut, size};

/// The operands are the initial carry, `sequences` arrays of which a step is given its entry, and invariants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fold {
    pub body: Arc<Body>,
    pub steps: usize,
    pub sequences: usize,
    /// From the last step to the first. Carries stay in the places of their steps.
    pub reversed: bool,
    /// Whether its derivative keeps nothing of what is inside of a step, but runs each step again when it comes to it.
    pub stepwise: bool,
}

/// What a step does: nodes, of which the first are placeholders for a step's operands.
#[derive(Debug)]
pub struct Body {
    /// Operands are numbers in this list.
    pub nodes: Vec<Node>,
    pub inputs: usize,
    pub output: NodeId,
    /// For each input, whether a derivative flows from it to the output.
    flows: Vec<bool>,
    /// Whether adjoints of limited surrogates begin inside.
    marks: bool,
    hash: u64,
}

impl Body {
    pub fn new(nodes: Vec<Node>, inputs: usize, output: NodeId, flows: Vec<bool>) -> Self {
        let marks = nodes.iter().any(|node| match &node.op {
            Op::Barrier(barrier) => matches!(barrier, Barrier::Adjoint(_)),
            Op::Fold(fold) => fold.body.marks,
            _ => false,
        });
        let what = |node: &Node| FxBuildHasher.hash_one((&node.op, &node.operands));
        let hash = FxBuildHasher.hash_one((inputs, output, nodes.iter().map(what).collect::<Vec<u64>>()));
        Self { nodes, inputs, output, flows, marks, hash }
    }

    /// The same flow of derivatives through other operations.
    pub fn rewritten(&self, nodes: Vec<Node>, output: NodeId) -> Self {
        Self::new(nodes, self.inputs, output, self.flows.clone())
    }

    pub fn flows(&self, input: usize) -> bool {
        self.flows[input]
    }

    /// Records it once, on these operands.
    #[track_caller]
    pub fn inlined(&self, tape: u32, inputs: &[NodeId]) -> NodeId {
        let mut made: Vec<NodeId> = inputs.to_vec();
        for node in &self.nodes[self.inputs..] {
            let operands: Operands = node.operands.iter().map(|&operand| made[operand as usize]).collect();
            let _recording = Recording::in_place_of(tape, node.location, node.pass);
            made.push(record(tape, node.op.clone(), &operands));
        }
        made[self.output as usize]
    }

    /// Records it for a batch, where those inputs that are marked have a new leading axis; and so has the result.
    #[track_caller]
    pub fn mapped(&self, tape: u32, size: usize, inputs: &[(NodeId, bool)]) -> NodeId {
        let mut made: Vec<(NodeId, bool)> = inputs.to_vec();
        for node in &self.nodes[self.inputs..] {
            let operands: SmallVec<[(NodeId, bool); 3]> =
                node.operands.iter().map(|&operand| made[operand as usize]).collect();
            let is_batched = operands.iter().any(|&(_, batched)| batched);
            made.push(match is_batched {
                true => (batch::batched(tape, size, node, &operands), true),
                false => {
                    let _recording = Recording::in_place_of(tape, node.location, node.pass);
                    let operands: Operands = operands.iter().map(|&(operand, _)| operand).collect();
                    (record(tape, node.op.clone(), &operands), false)
                }
            });
        }
        let (output, batched) = made[self.output as usize];
        match batched {
            true => output,
            false => {
                let operands = smallvec::smallvec![(Handle::recorded(tape, output), false)];
                BatchedCall { tape, size, operands }.batched_operand(0).node()
            }
        }
    }

    /// Placeholders for its inputs, which are adjoints of what the operands are.
    #[track_caller]
    pub fn placeholders(&self, tape: u32, adjoints: &[Box<[Adjoint]>]) -> Vec<NodeId> {
        let inputs = self.nodes[..self.inputs].iter().zip(adjoints);
        inputs.map(|(input, adjoints)| placeholder(tape, input.dtype, &input.shape, adjoints)).collect()
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        let pairs = || self.nodes.iter().zip(&other.nodes);
        self.hash == other.hash
            && (self.inputs, self.output, self.nodes.len()) == (other.inputs, other.output, other.nodes.len())
            && pairs().all(|(a, b)| a.operands == b.operands && a.op == b.op)
    }
}

impl Eq for Body {}

impl Hash for Body {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

/// A node that stands for an operand of a step.
#[track_caller]
pub(crate) fn placeholder(tape: u32, dtype: DType, shape: &[usize], adjoints: &[Adjoint]) -> NodeId {
    let _recording = Recording::fresh(tape);
    let node = record(tape, Op::Leaf(Leaf::Placeholder { dtype, shape: shape.into() }), &[]);
    with_graph(tape, |graph| graph.nodes[node as usize].adjoints = adjoints.into());
    node
}

/// What was recorded on placeholders, to be done again and again.
pub(crate) struct Loop<'a> {
    /// The tape that it was recorded on. What it reads beside its placeholders is read as it is if that is the tape that the
    /// fold is recorded on; and else it has to be of constants.
    pub tape: u32,
    /// The placeholder of the carry, and the initial one.
    pub carry: (NodeId, NodeId),
    /// Placeholders, and what they stand for. Those that nobody reads are dropped.
    pub sequences: &'a [(NodeId, NodeId)],
    pub invariants: &'a [(NodeId, NodeId)],
    pub output: NodeId,
    pub steps: usize,
    pub reversed: bool,
    pub stepwise: bool,
}

impl Loop<'_> {
    /// Records the fold.
    #[track_caller]
    pub fn record(&self, tape: u32) -> Var {
        let given: Vec<(NodeId, NodeId)> = [&[self.carry], self.sequences, self.invariants].concat();
        let (body, operands) =
            with_graph(self.tape, |graph| Extraction::new(graph, &given, self.output, self.tape == tape).body(&given));
        let sequences = operands.iter().take_while(|(i, _)| *i <= self.sequences.len()).count() - 1;
        let operands: Operands = operands.into_iter().map(|(_, operand)| operand).collect();
        let &Self { steps, reversed, stepwise, .. } = self;
        let fold = Fold { body: Arc::new(body), steps, sequences, reversed, stepwise };
        Var::recorded(tape, record(tape, Op::Fold(fold), &operands))
    }
}

/// A body on its way from a tape.
struct Extraction<'a> {
    graph: &'a Graph,
    /// The first node that may be inside. Of what is older, somebody may hold a handle, to take a derivative by it.
    first: NodeId,
    /// What has become of nodes that are inside.
    made: FxHashMap<NodeId, Part>,
    nodes: Vec<(NodeId, SmallVec<[Part; 3]>)>,
    /// What is read as it is.
    captured: Vec<NodeId>,
    output: Part,
    /// From which of the given, and of the captured, derivatives flow.
    flowing: FxHashSet<NodeId>,
}

/// Where a part of a body is: among the given, the captured, or the nodes made so far.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Given(usize),
    Captured(usize),
    Node(usize),
}

impl<'a> Extraction<'a> {
    fn new(graph: &'a Graph, given: &[(NodeId, NodeId)], output: NodeId, captures: bool) -> Self {
        let made = given.iter().enumerate().map(|(i, &(node, _))| (node, Part::Given(i))).collect();
        let first = if captures { given.iter().map(|&(node, _)| node).min().unwrap_or(0) } else { 0 };
        let mut extraction = Self {
            graph,
            first,
            made,
            nodes: Vec::new(),
            captured: Vec::new(),
            output: Part::Given(0),
            flowing: FxHashSet::default(),
        };
        // What depends on the given is inside, with the constants that it reads; what does not is captured.
        for id in graph.ancestors(std::iter::once(output), first, |_, _| true) {
            let node = &graph.nodes[id as usize];
            let depends = node.operands.iter().any(|operand| extraction.made.contains_key(operand));
            if depends || !captures && !extraction.made.contains_key(&id) {
                extraction.copy(id);
            }
        }
        extraction.output = extraction.part(output);
        extraction.find_flows(output);
        extraction
    }

    /// Takes a node along.
    fn copy(&mut self, id: NodeId) -> Part {
        let node = &self.graph.nodes[id as usize];
        let parts: SmallVec<[Part; 3]> = node.operands.iter().map(|&operand| self.part(operand)).collect();
        let part = match &node.op {
            // Nobody holds a handle to what is inside, and could mean it and not its operand.
            Op::Barrier(Barrier::Alias { .. }) => parts[0],
            _ => {
                self.nodes.push((id, parts));
                Part::Node(self.nodes.len() - 1)
            }
        };
        self.made.insert(id, part);
        part
    }

    fn part(&mut self, id: NodeId) -> Part {
        match self.made.get(&id) {
            Some(&part) => part,
            None if id >= self.first && self.is_little(id) => self.copy(id),
            None => {
                self.captured.push(id);
                let part = Part::Captured(self.captured.len() - 1);
                self.made.insert(id, part);
                part
            }
        }
    }

    /// Whether to know what it is is worth more than to have it made before the loop: numbers, and what is read as it is.
    fn is_little(&self, id: NodeId) -> bool {
        match &self.graph.nodes[id as usize].op {
            Op::Barrier(Barrier::Alias { .. }) | Op::Movement(Movement::Broadcast { .. } | Movement::Reshape(_)) => {
                true
            }
            _ => self.is_number(id),
        }
    }

    fn is_number(&self, id: NodeId) -> bool {
        let node = &self.graph.nodes[id as usize];
        match &node.op {
            Op::Leaf(leaf) => id >= self.first && matches!(leaf, Leaf::Fill { .. } | Leaf::Constant(_)),
            Op::Elementwise(_) | Op::Cast(_) | Op::Movement(_) => {
                size(&node.shape) <= 1 && node.operands.iter().all(|&operand| self.is_number(operand))
            }
            _ => false,
        }
    }

    /// Derivatives flow along operands that let them; and from a derivative also to what it is a derivative of, as one of it
    /// that vanishes is 0.
    fn find_flows(&mut self, output: NodeId) {
        let mut seen = FxHashSet::from_iter([output]);
        let mut stack = vec![output];
        while let Some(id) = stack.pop() {
            let node = &self.graph.nodes[id as usize];
            if let Some(Part::Given(_) | Part::Captured(_)) = self.made.get(&id) {
                if node.dtype.is_float() {
                    self.flowing.insert(id);
                }
                continue;
            }
            let rules = node.op.rules();
            let through = node.operands.iter().enumerate().filter(|&(i, _)| rules.differentiable(i));
            stack.extend(through.map(|(_, &operand)| operand).filter(|&operand| seen.insert(operand)));
            if let Op::Barrier(Barrier::Alias { of }) = &node.op {
                stack.extend(of.iter().copied().filter(|&other| seen.insert(other)));
            }
        }
    }

    /// The body, and its operands: of each which of the given it is (or none of them), and what it stands for.
    fn body(self, given: &[(NodeId, NodeId)]) -> (Body, Vec<(usize, NodeId)>) {
        let read: FxHashSet<Part> =
            self.nodes.iter().flat_map(|(_, parts)| parts).chain([&self.output, &Part::Given(0)]).copied().collect();
        let kept: Vec<usize> = (0..given.len()).filter(|&i| read.contains(&Part::Given(i))).collect();
        let inputs = kept.len() + self.captured.len();
        let number = |part: Part| match part {
            Part::Given(i) => kept.binary_search(&i).expect("it is read"),
            Part::Captured(i) => kept.len() + i,
            Part::Node(i) => inputs + i,
        };
        let sources = kept.iter().map(|&i| given[i].0).chain(self.captured.iter().copied());
        let mut nodes = Vec::with_capacity(inputs + self.nodes.len());
        let mut flows = Vec::with_capacity(inputs);
        for id in sources {
            let node = &self.graph.nodes[id as usize];
            let op = Op::Leaf(Leaf::Placeholder { dtype: node.dtype, shape: node.shape.clone() });
            nodes.push(Node { op, operands: Operands::new(), adjoints: Box::default(), ..node.clone() });
            flows.push(self.flowing.contains(&id));
        }
        for (id, parts) in &self.nodes {
            let operands = parts.iter().map(|&part| number(part) as NodeId).collect();
            nodes.push(Node { operands, adjoints: Box::default(), ..self.graph.nodes[*id as usize].clone() });
        }
        let output = number(self.output) as NodeId;
        let of_given = kept.iter().map(|&i| (i, given[i].1));
        let operands = of_given.chain(self.captured.iter().map(|&node| (usize::MAX, node))).collect();
        (Body::new(nodes, inputs, output, flows), operands)
    }
}

impl Fold {
    /// The same loop with a body that does the same by other operations.
    pub fn with_body(&self, rewrite: impl FnOnce(&Body) -> Body) -> Self {
        Self { body: Arc::new(rewrite(&self.body)), ..self.clone() }
    }

    /// The step that comes i-th.
    pub fn step(&self, i: usize) -> usize {
        if self.reversed { self.steps - 1 - i } else { i }
    }

    /// Of what the carry is an adjoint, before a step and after it, where the operands are of this.
    pub(crate) fn adjoints(&self, operands: &mut dyn Iterator<Item = &[Adjoint]>) -> [Box<[Adjoint]>; 2] {
        let mut given: Vec<Box<[Adjoint]>> = operands.map(Box::from).collect();
        if !self.body.marks && given.iter().all(|adjoints| adjoints.is_empty()) {
            return Default::default();
        }
        loop {
            let mut made = given.clone();
            for node in &self.body.nodes[self.body.inputs..] {
                let mut of_operands = node.operands.iter().map(|&operand| &*made[operand as usize]);
                let of_node = barrier::adjoints(&node.op, &mut of_operands);
                made.push(of_node);
            }
            let after = made.swap_remove(self.body.output as usize);
            let before = barrier::union([&*given[0], &*after].into_iter());
            if before == given[0] {
                return [before, after];
            }
            given[0] = before;
        }
    }
}

impl Rules for Fold {
    fn name(&self) -> &str {
        "fold"
    }

    fn parameters(&self) -> String {
        format!("{} steps{}", self.steps, if self.reversed { " reverse" } else { "" })
    }

    fn dtype(&self, operands: &[DType]) -> Result<DType, String> {
        let inputs = self.body.nodes[..self.body.inputs].iter().map(|input| input.dtype);
        match inputs.eq(operands.iter().copied()) {
            true => Ok(operands[0]),
            false => Err(format!("operands of types {operands:?} are not those of its body")),
        }
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        for (i, (input, operand)) in self.body.nodes.iter().zip(operands).enumerate() {
            let expected: Shape = match i {
                i if (1..=self.sequences).contains(&i) => {
                    std::iter::once(self.steps).chain(input.shape.clone()).collect()
                }
                _ => input.shape.clone(),
            };
            if expected.as_slice() != *operand {
                return Err(format!("an operand of shape {operand:?} for one of shape {expected:?}"));
            }
        }
        Ok(std::iter::once(self.steps).chain(operands[0].iter().copied()).collect())
    }

    fn differentiable(&self, operand: usize) -> bool {
        self.body.flows(operand)
    }

    fn vjp(&self, _call: &Call, _cotangent: Var) -> Cotangents {
        unreachable!("the rule differentiates a body, and stands in `diff/fold.rs`")
    }

    fn with_leading_axis(&self, _size: usize) -> Op {
        unreachable!("the batching rule maps the body")
    }

    fn batching_rule(&self, call: &BatchedCall) -> NodeId {
        let (tape, size) = (call.tape, call.size);
        let scratch = Scratch::beside(tape);
        let is_batched = |i: usize| i == 0 || call.is_batched(i);
        let mut inputs = Vec::with_capacity(call.operands.len());
        let mut given = Vec::with_capacity(call.operands.len());
        for (i, input) in self.body.nodes[..self.body.inputs].iter().enumerate() {
            let front = is_batched(i).then_some(size);
            let shape: Shape = front.into_iter().chain(input.shape.iter().copied()).collect();
            let node = placeholder(scratch.id(), input.dtype, &shape, &[]);
            inputs.push((node, is_batched(i)));
            let operand = match call.operands[i].0 {
                _ if i == 0 => call.batched_operand(0),
                // Steps come first.
                handle if (1..=self.sequences).contains(&i) && is_batched(i) => exchanged(handle),
                handle => handle,
            };
            given.push((node, operand.node()));
        }
        let output = self.body.mapped(scratch.id(), size, &inputs);
        let (sequences, invariants) = given[1..].split_at(self.sequences);
        let &Self { steps, reversed, stepwise, .. } = self;
        let carry = given[0];
        let mapped = Loop { tape: scratch.id(), carry, sequences, invariants, output, steps, reversed, stepwise };
        exchanged(mapped.record(tape).into()).node()
    }

    fn forward(&self, _operands: &[Operand<'_>], _shape: &[usize], _out: SliceMut<'_>) -> Result<(), Failure> {
        unreachable!("a program runs the body, which it has compiled")
    }
}

/// With the first two axes exchanged.
#[track_caller]
fn exchanged(handle: Handle) -> Handle {
    let axes: Vec<usize> = [1, 0].into_iter().chain(2..handle.shape().len()).collect();
    match handle {
        Handle::Var(var) => var.transpose(&axes).into(),
        Handle::Index(index) => index.transpose(&axes).into(),
    }
}
