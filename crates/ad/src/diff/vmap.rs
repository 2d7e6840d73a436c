//! `vmap`: a function of one example becomes a function of a batch, by rewriting what it recorded, operation by operation,
//! for arrays with a new leading axis.

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use crate::op::{Batch, Leaf, Op};
use crate::real::Real;
use crate::tape::{Handle, Kind, NodeId, Operands, Recording, Var, record, with_graph};

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
    let mapping = Mapping::begin(batch);
    let result = f(&mapping.arguments);
    mapping.end(&[result.into()])[0].var()
}

/// A function that is being mapped: what is recorded on its arguments after `begin`, `end` records for the whole batch.
/// (Two steps instead of a closure, so that a panic between them is its caller's.)
pub(crate) struct Mapping<T: Real> {
    tape: u32,
    size: usize,
    batch: Vec<Handle<T>>,
    /// One example each.
    pub arguments: Vec<Handle<T>>,
}

impl<T: Real> Mapping<T> {
    #[track_caller]
    pub(crate) fn begin(batch: &[Handle<T>]) -> Self {
        let first = batch.first().expect("vmap: nothing to map over");
        let Some(&size) = first.shape().first() else {
            panic!("vmap: a scalar has no leading axis to map over\n  argument made at {}", first.made())
        };
        let _recording = Recording::<T>::fresh(first.tape());
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
            let kind = if matches!(handle, Handle::Var(_)) { Kind::Real } else { Kind::Index };
            let placeholder = Leaf::Placeholder { kind, shape: shape[1..].into() };
            let node = record(first.tape(), Op::<T>::Leaf(placeholder), &[]);
            with_graph::<T, _>(first.tape(), |graph| graph.substitute(node, handle.node()));
            arguments.push(Handle::recorded(first.tape(), node));
        }
        Self { tape: first.tape(), size, batch: batch.to_vec(), arguments }
    }

    /// Records the batched form of everything between the arguments and the results.
    #[track_caller]
    pub(crate) fn end(self, results: &[Handle<T>]) -> Vec<Handle<T>> {
        for result in results {
            self.batch[0].check_same_tape("vmap", *result);
        }
        let Self { tape, size, batch, arguments } = self;
        let mut batched: FxHashMap<NodeId, NodeId> =
            arguments.iter().zip(&batch).map(|(argument, batch)| (argument.node(), batch.node())).collect();
        for node in dependent::<T>(tape, &arguments, results) {
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
        let mut mapped = Vec::with_capacity(results.len());
        for &result in results {
            mapped.push(match batched.get(&result.node()) {
                Some(&node) if arguments.iter().any(|argument| argument.node() == result.node()) => {
                    Handle::recorded(tape, node).unchanged()
                }
                Some(&node) => Handle::recorded(tape, node),
                // A result that does not depend on the arguments is the same for all of them.
                None => Batch { tape, size, operands: smallvec::smallvec![(result, false)] }.batched(0),
            });
        }
        mapped
    }
}

/// The nodes between the arguments (exclusive) and the results, in the order of the tape.
fn dependent<T: Real>(tape: u32, arguments: &[Handle<T>], results: &[Handle<T>]) -> Vec<NodeId> {
    with_graph::<T, _>(tape, |graph| {
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
