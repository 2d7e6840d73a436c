//! Differentiation: a walk back over the tape that records each operation's derivative rule. Its results are Vars like any
//! other, so that every order follows.
//!
//! This file is the whole mechanism: reverse mode, and forward mode as reverse mode applied twice. It knows no operation.
//! What users call stands in [`mod@derivatives`] (on Vars), `closures` (on functions) and [`vmap`](mod@vmap).

use std::num::NonZeroU32;

use rustc_hash::FxHashSet;
use smallvec::SmallVec;

use crate::op::barrier::{self, Adjoint, Barrier};
use crate::op::{Call, Leaf, Op, parts};
use crate::tape::{Graph, Node, NodeId, Recording, Var, record, with_graph};

pub mod closures;
pub mod derivatives;
pub mod fold;
pub mod tree;
pub mod vmap;

/// The cotangent of each of `wrt`, given those of the outputs; `None` where no derivative flows.
///
/// The error says which surrogate was differentiated beyond its limit.
#[track_caller]
pub(crate) fn pullback(outputs: &[(Var, Var)], wrt: &[Var]) -> Result<Vec<Option<Var>>, String> {
    let Some(first) = wrt.first() else { return Ok(Vec::new()) };
    let pass = with_graph(first.tape, Graph::new_pass);
    pullback_in(pass, outputs, wrt)
}

/// [`pullback`] as a part of a pass.
#[track_caller]
fn pullback_in(pass: u32, outputs: &[(Var, Var)], wrt: &[Var]) -> Result<Vec<Option<Var>>, String> {
    let Some(tape) = wrt.first().map(|var| var.tape) else { return Ok(Vec::new()) };
    let active = with_graph(tape, |graph| Active::new(graph, outputs.iter().map(|(output, _)| output.node), wrt));

    let mut cotangents = vec![Cotangent::default(); active.nodes.len()];
    for &(output, cotangent) in outputs {
        let Some(place) = active.place(output.node) else { continue };
        let _recording = Recording::derivative(tape, output.location(), pass, true);
        cotangents[place].add(cotangent);
    }
    for (place, &id) in active.nodes.iter().enumerate().rev() {
        if cotangents[place].is_none() {
            continue;
        }
        let node = with_graph(tape, |graph| graph.nodes[id as usize].clone());
        let cotangent = {
            let _recording = Recording::derivative(tape, node.location, pass, true);
            cotangents[place].total()
        };
        let rules = node.op.rules();
        let mut needed: SmallVec<[bool; 3]> = (node.operands.iter().enumerate())
            .map(|(i, &operand)| active.place(operand).is_some() && rules.differentiable(i))
            .collect();
        if !needed.contains(&true) {
            continue;
        }
        let _recording = Recording::derivative(tape, node.location, pass, true);
        let flowing = arriving(&node, &needed, cotangent, pass)?;
        // All operands get the same cotangent, but where a limited surrogate is concerned.
        while let Some(first) = needed.iter().position(|&needed| needed) {
            let together: SmallVec<[bool; 3]> =
                needed.iter().zip(&flowing).map(|(&needed, g)| needed && g.node == flowing[first].node).collect();
            let call = Call { tape, operands: node.operands.clone(), output: id, needed: together };
            let given = {
                // A user's rule may take derivatives of its own, for which no node may stand for two.
                let reuse = !matches!(node.op, Op::Custom(_));
                #[cfg(debug_assertions)]
                if !reuse {
                    crate::trial::try_rule(&node.op, &call);
                }
                let _recording = Recording::derivative(tape, node.location, pass, reuse);
                match &node.op {
                    Op::Fold(fold) => fold::vjp(fold, &call, flowing[first], pass)?,
                    _ => rules.vjp(&call, flowing[first]),
                }
            };
            for (i, cotangent) in given.into_iter().enumerate().filter(|&(i, _)| call.needed[i]) {
                if let (Some(cotangent), Some(place)) = (cotangent, active.place(node.operands[i])) {
                    cotangents[place].add(cotangent);
                }
                needed[i] = false;
            }
        }
    }
    Ok(wrt.iter().map(|var| active.place(var.node).and_then(|place| cotangents[place].whole)).collect())
}

/// A node's cotangent, while what its users contribute is added.
#[derive(Clone, Default)]
struct Cotangent {
    whole: Option<Var>,
    /// What is zero but in a part. A node may be read by parts many times, and all of them are put together at once.
    parts: Vec<Var>,
}

impl Cotangent {
    #[track_caller]
    fn add(&mut self, contribution: Var) {
        if parts::is_part(contribution) {
            self.parts.push(contribution);
        } else {
            self.whole = Some(self.whole.map_or(contribution, |sum| sum + contribution));
        }
    }

    fn is_none(&self) -> bool {
        self.whole.is_none() && self.parts.is_empty()
    }

    /// The sum of what was contributed.
    #[track_caller]
    fn total(&mut self) -> Var {
        if !self.parts.is_empty() {
            let sum = parts::sum(&std::mem::take(&mut self.parts));
            self.whole = Some(self.whole.map_or(sum, |whole| whole + sum));
        }
        self.whole.expect("something was contributed")
    }
}

/// The cotangent that arrives at a node, as it is for each operand.
fn arriving(node: &Node, needed: &[bool], cotangent: Var, pass: u32) -> Result<Arriving, String> {
    let limited = !node.adjoints.is_empty() || matches!(node.op, Op::Barrier(Barrier::Limit(_)));
    // Within a fold adjoints are followed where its body is pulled back.
    if !limited || matches!(node.op, Op::Fold(_)) {
        return Ok(smallvec::smallvec![cotangent; needed.len()]);
    }
    let adjoints: Vec<Box<[Adjoint]>> = with_graph(cotangent.tape, |graph| {
        node.operands.iter().map(|&operand| graph.nodes[operand as usize].adjoints.clone()).collect()
    });
    let adjoints: Vec<&[Adjoint]> = adjoints.iter().map(|adjoints| &**adjoints).collect();
    barrier::follow(node, &adjoints, needed, cotangent, pass)
        .map_err(|violation| format!("{violation}\n  surrogate recorded at {}", node.location))
}

type Arriving = SmallVec<[Var; 3]>;

/// The tangent of each output, given those of `wrt`; `None` where no derivative flows.
///
/// The cotangents of `wrt` are a linear function of the outputs' cotangents, u ↦ Jᵀu; its transpose is t ↦ J·t. So this is
/// the pullback of the pullback, and needs no rules of its own.
#[track_caller]
pub(crate) fn pushforward(outputs: &[Var], wrt: &[Var], tangents: &[Var]) -> Result<Vec<Option<Var>>, String> {
    let seeds: Vec<(Var, Var)> = outputs.iter().map(|&output| (output, placeholder(output))).collect();
    let cotangents = pullback(&seeds, wrt)?;
    let flowing: Vec<(Var, Var)> = cotangents
        .into_iter()
        .zip(tangents)
        .filter_map(|(cotangent, &tangent)| cotangent.map(|cotangent| (cotangent, tangent)))
        .collect();
    let placeholders: Vec<Var> = seeds.iter().map(|&(_, seed)| seed).collect();
    let end = outputs.first().map_or(0, |output| with_graph(output.tape, |graph| graph.nodes.len()));
    let results = pullback(&flowing, &placeholders)?;
    for result in results.iter().flatten() {
        if let Path::Open(_) = path(*result, &placeholders, Through::Everything) {
            // The second pass needed a number that the first made from a cotangent: for the sake of the culprit.
            let made = dependents(&placeholders, end);
            let Path::Open(node) = path(*result, &made, Through::Everything) else { unreachable!("it is open") };
            let at = Var::recorded(result.tape, node).location();
            panic!(
                "forward mode: the derivative rule of the operation recorded at {at} is not linear in its cotangent"
            );
        }
    }
    Ok(results)
}

/// A node of the output's shape that stands for a cotangent and never gets a number.
fn placeholder(like: Var) -> Var {
    let leaf = Leaf::Placeholder { dtype: like.dtype(), shape: like.shape() };
    let _recording = Recording::fresh(like.tape);
    Var::recorded(like.tape, record(like.tape, Op::Leaf(leaf), &[]))
}

/// All that depends on some Vars, among the nodes before `end`.
fn dependents(vars: &[Var], end: usize) -> Vec<Var> {
    let Some(first) = vars.first() else { return Vec::new() };
    let mut depends: FxHashSet<NodeId> = vars.iter().map(|var| var.node).collect();
    with_graph(first.tape, |graph| {
        for (id, node) in graph.nodes[..end].iter().enumerate() {
            if node.operands.iter().any(|operand| depends.contains(operand)) {
                depends.insert(id as NodeId);
            }
        }
    });
    depends.into_iter().map(|node| Var::recorded(first.tape, node)).collect()
}

/// The nodes through which a derivative flows from some outputs to some variables.
struct Active {
    /// In the order of the tape.
    nodes: Vec<NodeId>,
    first: NodeId,
    /// For each node of the tape from `first` on, its place in the list.
    places: Vec<Option<NonZeroU32>>,
}

impl Active {
    fn new(graph: &Graph, outputs: impl Iterator<Item = NodeId>, wrt: &[Var]) -> Self {
        let targets: FxHashSet<NodeId> = wrt.iter().map(|var| var.node).collect();
        let first = targets.iter().copied().min().unwrap_or(0);
        let ancestors = graph.ancestors(outputs, first, |node, i| node.op.rules().differentiable(i));
        let range = ancestors.last().map_or(0, |&last| (last - first) as usize + 1);
        let mut active = Self { nodes: Vec::new(), first, places: vec![None; range] };
        for id in ancestors {
            let node = &graph.nodes[id as usize];
            let mut operands = node.operands.iter().enumerate();
            if targets.contains(&id)
                || operands.any(|(i, &operand)| active.place(operand).is_some() && node.op.rules().differentiable(i))
            {
                active.nodes.push(id);
                active.places[(id - first) as usize] = NonZeroU32::new(active.nodes.len() as u32);
            }
        }
        active
    }

    /// A node's place among the active ones, if it is one.
    fn place(&self, node: NodeId) -> Option<usize> {
        let place = *self.places.get(node.checked_sub(self.first)? as usize)?;
        place.map(|place| place.get() as usize - 1)
    }
}

/// What a search for a path may pass.
#[derive(Clone, Copy, PartialEq)]
enum Through {
    /// Every operand.
    Everything,
    /// Operands that a derivative flows to; and from a derivative also to what it is a derivative of, and from the
    /// argument of a mapped function to the array it was mapped over.
    Derivatives,
}

/// How an output depends on a Var.
enum Path {
    /// Freely; the node is the first on the way that uses the Var.
    Open(NodeId),
    /// Only through a node that lets no derivative pass.
    Blocked(NodeId),
    /// Not at all.
    None,
}

/// How `output` depends on any of `wrt`.
fn path(output: Var, wrt: &[Var], through: Through) -> Path {
    let targets: FxHashSet<NodeId> = wrt.iter().map(|var| var.node).collect();
    with_graph(output.tape, |graph| {
        // Twice: first where derivatives flow, then anywhere, remembering the last barrier passed.
        let first = targets.iter().copied().min().unwrap_or(0);
        let mut seen = FxHashSet::from_iter([output.node]);
        let mut stack = vec![(output.node, output.node)];
        let mut barriers = Vec::new();
        while let Some((id, user)) = stack.pop() {
            if targets.contains(&id) {
                return Path::Open(user);
            }
            let node = &graph.nodes[id as usize];
            for (i, &operand) in node.operands.iter().enumerate().filter(|&(_, &operand)| operand >= first) {
                if through == Through::Derivatives && !node.op.rules().differentiable(i) {
                    barriers.push((operand, id));
                } else if seen.insert(operand) {
                    stack.push((operand, id));
                }
            }
            if through == Through::Derivatives {
                let related = match &node.op {
                    Op::Barrier(Barrier::Alias { of }) => of.as_slice(),
                    Op::Leaf(Leaf::Placeholder { .. }) => graph.stands_for(id),
                    _ => &[],
                };
                stack.extend(related.iter().filter(|&&other| seen.insert(other)).map(|&other| (other, id)));
            }
        }
        while let Some((id, barrier)) = barriers.pop() {
            if targets.contains(&id) {
                return Path::Blocked(barrier);
            }
            if seen.insert(id) {
                barriers.extend(graph.nodes[id as usize].operands.iter().map(|&operand| (operand, barrier)));
            }
        }
        Path::None
    })
}
