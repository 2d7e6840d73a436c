//! `vmap`: a function of one example becomes a function of a batch, by rewriting what it recorded, operation by operation,
//! for arrays with a new leading axis.

use std::collections::{HashMap, HashSet};

use smallvec::SmallVec;

use crate::op::{Batch, Leaf, Op};
use crate::real::Real;
use crate::tape::{Handle, NodeId, Operands, Recording, Var, record, with_graph};

/// Applies a function of one example to a whole batch: `f` is called once, with arguments that lack the leading axis of
/// `batch`, and what it recorded is rewritten for all entries along that axis at once. The result has the axis in front.
///
/// The function may use other Vars (which are shared by all examples) and take derivatives. Per-example gradients are
/// therefore one computation:
///
/// ```
/// let tape = ad::Tape::<f64>::new();
/// let w = tape.input("w", &ndarray::arr1(&[1.0, -1.0]));
/// let x = tape.input("x", &ndarray::arr2(&[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]));
/// let gradients = ad::vmap(|x| (w * x).sum().square().grad(w), x);     // [3, 2]
/// assert_eq!(gradients.value().shape(), [3, 2]);
/// ```
#[track_caller]
pub fn vmap<T: Real>(f: impl FnOnce(Var<T>) -> Var<T>, batch: Var<T>) -> Var<T> {
    vmap_many(|arguments| f(arguments[0].var()), &[batch.into()])
}

/// [`vmap`] over several arrays, real or integer, that share their leading axis.
#[track_caller]
pub fn vmap_many<T: Real>(f: impl FnOnce(&[Handle<T>]) -> Var<T>, batch: &[Handle<T>]) -> Var<T> {
    map(batch, |arguments| vec![f(arguments).into()])[0].var()
}

/// The general form: several arguments, several results.
#[track_caller]
pub(crate) fn map<T: Real>(batch: &[Handle<T>], f: impl FnOnce(&[Handle<T>]) -> Vec<Handle<T>>) -> Vec<Handle<T>> {
    let first = batch.first().expect("vmap: nothing to map over");
    let shapes: Vec<_> = batch.iter().map(|handle| handle.shape()).collect();
    let Some(&size) = shapes[0].first() else {
        panic!("vmap: a scalar has no leading axis to map over\n  argument made at {}", first.made())
    };
    for (handle, shape) in batch.iter().zip(&shapes) {
        assert!(handle.tape() == first.tape(), "vmap: arguments of two tapes");
        assert!(
            shape.first() == Some(&size),
            "vmap: arguments of shapes {:?} and {shape:?} differ in their leading axis",
            shapes[0]
        );
    }
    let tape = first.tape();
    let arguments: Vec<Handle<T>> = {
        let _recording = Recording::<T>::fresh(tape);
        batch
            .iter()
            .zip(&shapes)
            .map(|(handle, shape)| {
                let kind =
                    if matches!(handle, Handle::Var(_)) { crate::tape::Kind::Real } else { crate::tape::Kind::Index };
                let node = record(tape, Op::<T>::Leaf(Leaf::Placeholder { kind, shape: shape[1..].into() }), &[]);
                with_graph::<T, _>(tape, |graph| graph.substitute(node, handle.node()));
                Handle::recorded(tape, node)
            })
            .collect()
    };
    let results = f(&arguments);
    results.iter().for_each(|result| assert!(result.tape() == tape, "vmap: the function's result is of another tape"));
    rewrite(tape, size, &arguments, batch, &results)
}

/// Records the batched form of everything between the arguments and the results.
fn rewrite<T: Real>(
    tape: u32,
    size: usize,
    arguments: &[Handle<T>],
    batch: &[Handle<T>],
    results: &[Handle<T>],
) -> Vec<Handle<T>> {
    let mut batched: HashMap<NodeId, NodeId> =
        arguments.iter().zip(batch).map(|(argument, batch)| (argument.node(), batch.node())).collect();
    for node in dependent::<T>(tape, arguments, results) {
        let recorded = with_graph::<T, _>(tape, |graph| graph.nodes[node as usize].clone());
        // Nodes that a derivative pass could reuse may not stand for a user's: nothing here is merged.
        let _recording = Recording::<T>::in_place_of(tape, recorded.location, recorded.pass);
        let operands: SmallVec<[(Handle<T>, bool); 3]> = recorded
            .operands
            .iter()
            .map(|operand| match batched.get(operand) {
                Some(&node) => (Handle::recorded(tape, node), true),
                None => (Handle::recorded(tape, *operand), false),
            })
            .collect();
        let result = recorded.op.rules().batch(&Batch { tape, size, operands });
        batched.insert(node, result);
    }
    results
        .iter()
        .map(|result| match batched.get(&result.node()) {
            Some(&node) => Handle::recorded(tape, node),
            // A result that does not depend on the arguments is the same for all of them.
            None => Batch { tape, size, operands: smallvec::smallvec![(*result, false)] }.batched(0),
        })
        .collect()
}

/// The nodes between the arguments (exclusive) and the results, in the order of the tape.
fn dependent<T: Real>(tape: u32, arguments: &[Handle<T>], results: &[Handle<T>]) -> Vec<NodeId> {
    with_graph::<T, _>(tape, |graph| {
        let mut depends: HashSet<NodeId> = arguments.iter().map(|argument| argument.node()).collect();
        let first = depends.iter().copied().min().unwrap_or(0);
        let mut ancestors: HashSet<NodeId> = HashSet::new();
        let mut stack: Vec<NodeId> = results.iter().map(|result| result.node()).collect();
        while let Some(node) = stack.pop() {
            if node > first && ancestors.insert(node) {
                stack.extend(graph.nodes[node as usize].operands.iter().copied());
            }
        }
        let mut order: Vec<NodeId> = ancestors.into_iter().filter(|node| !depends.contains(node)).collect();
        order.sort_unstable();
        order.retain(|&node| {
            let operands: &Operands = &graph.nodes[node as usize].operands;
            let follows = operands.iter().any(|operand| depends.contains(operand));
            if follows {
                depends.insert(node);
            }
            follows
        });
        order
    })
}
