//! `fold`: a loop with a body that is recorded once; and its derivative, which is such a loop again.
//!
//! For c_t = f(c_{t−1}, x_t, w) and the cotangent G of all c:
//!
//! - μ_t = (∂f/∂c at t)ᵀ (μ_{t+1} + G_t), the cotangent that goes on to c_{t−1}, is a fold from the last step to the first.
//!   Its body is the pullback of f by the carry.
//! - A_t = μ_{t+1} + G_t are then all that arrives at c_t, and the cotangents of x and w those that f, mapped over all steps at
//!   once, pulls back from A: of a matrix w one product of all steps, not a sum of one for each.
//!
//! A fold that is `stepwise` takes all of them step by step, and keeps nothing but its carries.

use smallvec::SmallVec;

use super::pullback_in;
use super::tree::Tree;
use crate::op::barrier::{self, Adjoint};
use crate::op::fold::{Fold, Loop, placeholder};
use crate::op::leaf::fill;
use crate::op::{Call, Cotangents, Op, apply};
use crate::tape::{Handle, Index, NodeId, Recording, Scratch, Var, with_graph};
use crate::tensor::{Shape, size};

/// How often a loop runs: a number of times, or once for each entry along the leading axis of some arrays, of which each step is
/// given its entry.
#[derive(Clone, Debug)]
pub struct Steps {
    count: Option<usize>,
    sequences: Vec<Handle>,
}

impl From<usize> for Steps {
    fn from(count: usize) -> Self {
        Self { count: Some(count), sequences: Vec::new() }
    }
}

impl From<Var> for Steps {
    fn from(sequence: Var) -> Self {
        [sequence].into()
    }
}

impl From<Index> for Steps {
    fn from(sequence: Index) -> Self {
        [Handle::from(sequence)].into()
    }
}

impl<const N: usize> From<[Var; N]> for Steps {
    fn from(sequences: [Var; N]) -> Self {
        sequences.map(Handle::from).into()
    }
}

impl<const N: usize> From<[Handle; N]> for Steps {
    fn from(sequences: [Handle; N]) -> Self {
        sequences.to_vec().into()
    }
}

impl From<Vec<Handle>> for Steps {
    fn from(sequences: Vec<Handle>) -> Self {
        Self { count: None, sequences }
    }
}

impl Steps {
    #[track_caller]
    fn count(&self, operation: &str) -> usize {
        if let Some(count) = self.count {
            return count;
        }
        let Some(first) = self.sequences.first() else {
            panic!("{operation}: without sequences the number of steps is needed");
        };
        let length = |sequence: Handle| match sequence.shape().first() {
            Some(&length) => length,
            None => panic!("{operation}: a scalar has no entry for each step\n  sequence made at {}", sequence.made()),
        };
        let steps = length(*first);
        for &other in &self.sequences[1..] {
            let steps_of_other = length(other);
            assert!(
                steps_of_other == steps,
                "{operation}: sequences of {steps} and of {steps_of_other} steps\n  made at {}\n  made at {}",
                first.made(),
                other.made()
            );
        }
        steps
    }
}

/// A loop: from the `initial` carry on, `step` makes of a carry and the entries of a step the next carry. The result is the carry
/// after each step, with steps as its leading axis.
///
/// `step` is called once, and what it records is the body of the loop: recording, differentiating and compiling take as long for
/// a thousand steps as for one. It may use other Vars, the same at every step, and take derivatives, to which the carry and the
/// entries are independent variables. A carry is a Var, an array or list of them, or a pair of such.
///
/// ```
/// let tape = ad::Tape::new();
/// let (w, x) = (tape.input("w", 0.5), tape.input("x", &ndarray::arr1(&[1.0, 2.0, 3.0])));
/// let carries = ad::fold(w.full_like(0.0), x, |h, step| (h * w + step[0].var()).tanh());    // [3]
/// let last = carries.at(0, 2);
/// let gradient = last.grad(w);                                     // a loop of three steps back
/// # let (h1, w) = (1f64.tanh(), 0.5);
/// # let (h2, h3) = ((w * h1 + 2.0).tanh(), (w * (w * h1 + 2.0f64).tanh() + 3.0).tanh());
/// # assert!((last.item() - h3).abs() < 1e-15);
/// # assert!((gradient.item() - (1.0 - h3 * h3) * (h2 + w * (1.0 - h2 * h2) * h1)).abs() < 1e-15);
/// ```
///
/// Panics if the carry that `step` returns is not of the types and shapes that it began with, all of one floating-point type, or
/// if sequences are of different lengths.
#[track_caller]
pub fn fold<C: Tree<Output = C>>(initial: C, steps: impl Into<Steps>, step: impl FnOnce(C, &[Handle]) -> C) -> C {
    let steps = steps.into();
    let form = Form::new("fold", &initial, &steps);
    let count = steps.count("fold");
    let body = Body::begin(form.initial(), &steps.sequences);
    let next = step(initial.rebuild(form.unpacked(body.carry(), &[])), &body.entries);
    let all = body.end(form.next(&next.leaves()), count, false);
    initial.rebuild(form.unpacked(all, &[count]))
}

/// [`fold`] for as long as `condition` is not 0, at most so many steps: what comes after leaves the carry as it is, and is no part
/// of any derivative.
///
/// The condition is a number, made of the carry. Steps that are not taken are computed all the same, from the initial carry, and
/// thrown away.
///
/// ```
/// let tape = ad::Tape::new();
/// let x = tape.input("x", 100.0);
/// // Halved until it is at most 1.
/// let halved = ad::fold_while(x, 20, |x| x.greater(1.0), |x, _| x / 2.0);
/// assert_eq!(halved.at(0, 19).item(), 100.0 / 128.0);
/// assert_eq!(halved.at(0, 19).grad(x).item(), 1.0 / 128.0);
/// ```
///
/// Panics as [`fold`], and if the condition is not a scalar.
#[track_caller]
pub fn fold_while<C: Tree<Output = C>>(
    initial: C,
    steps: impl Into<Steps>,
    condition: impl FnOnce(C) -> Var,
    step: impl FnOnce(C, &[Handle]) -> C,
) -> C {
    let steps = steps.into();
    let form = Form::new("fold_while", &initial, &steps);
    let count = steps.count("fold_while");
    let body = Body::begin(form.initial(), &steps.sequences);
    let carry = form.unpacked(body.carry(), &[]);
    let going = condition(initial.rebuild(carry.clone()));
    let shape = going.shape();
    assert!(
        shape.is_empty(),
        "fold_while: the condition has shape {shape:?}, and must be a scalar\n  made at {}",
        going.location()
    );
    // Where a step is not taken it may not be NaN either, which would spoil derivatives.
    let mut safe = Vec::with_capacity(carry.len());
    for (&carry, &initial) in carry.iter().zip(&form.leaves) {
        safe.push(going.select(carry, initial));
    }
    let next = step(initial.rebuild(safe), &body.entries);
    let next = going.select(form.next(&next.leaves()), body.carry());
    let all = body.end(next, count, false);
    initial.rebuild(form.unpacked(all, &[count]))
}

/// [`fold`] that keeps every `every`-th carry alone, and returns them: those after steps `every`, 2 `every`, …, and the last.
///
/// What its derivatives need of the steps between, they compute again. So a gradient through T steps takes memory for T/k carries,
/// and for what k steps make, least where k is about √T; and the time of one more run.
///
/// ```
/// let tape = ad::Tape::new();
/// let (w, x) = (tape.input("w", 0.5), tape.input("x", &ndarray::Array1::linspace(0.0, 1.0, 10)));
/// let carries = ad::fold_every(4, w.full_like(0.0), x, |h, step| (h * w + step[0].var()).tanh());
/// assert_eq!(carries.shape()[..], [3]);                            // after steps 4, 8 and 10
/// let gradient = carries.at(0, 2).grad(w);
/// # let all = ad::fold(w.full_like(0.0), x, |h, step| (h * w + step[0].var()).tanh());
/// # assert_eq!(all.at(0, 9).item(), carries.at(0, 2).item());
/// # assert!((all.at(0, 9).grad(w).item() - gradient.item()).abs() < 1e-15);
/// ```
///
/// Panics as [`fold`], and if `every` is 0.
#[track_caller]
pub fn fold_every<C: Tree<Output = C>>(
    every: usize,
    initial: C,
    steps: impl Into<Steps>,
    step: impl FnOnce(C, &[Handle]) -> C,
) -> C {
    let steps = steps.into();
    assert!(every > 0, "fold_every: to keep every 0-th carry means nothing");
    let form = Form::new("fold_every", &initial, &steps);
    let count = steps.count("fold_every");
    let (chunks, rest) = (count / every, count % every);
    // A loop over chunks, of which a step is the loop over the steps of a chunk.
    let mut in_chunks = Vec::with_capacity(steps.sequences.len());
    for sequence in &steps.sequences {
        let shape = [&[chunks, every], &sequence.shape()[1..]].concat();
        in_chunks.push(sequence.slice(0, 0..chunks * every).reshape(&shape));
    }
    let outer = Body::begin(form.initial(), &in_chunks);
    let inner = Body::begin(outer.carry(), &outer.entries);
    let next = step(initial.rebuild(form.unpacked(inner.carry(), &[])), &inner.entries);
    let chunk = inner.end(form.next(&next.leaves()), every, false);
    let ends = outer.end(chunk.at(0, every - 1), chunks, true);
    if rest == 0 {
        return initial.rebuild(form.unpacked(ends, &[chunks]));
    }
    // And the loop over the steps that are left, which form no chunk.
    let (op, mut operands) = chunk.with_node(|node| (node.op.clone(), node.operands.clone()));
    let Op::Fold(fold) = op else { unreachable!("a loop is recorded as one") };
    let carry = if chunks == 0 { form.initial() } else { ends.at(0, chunks - 1) };
    let mut instead = vec![(outer.carry().node, carry.node)];
    for (entry, sequence) in outer.entries.iter().zip(&steps.sequences) {
        instead.push((entry.node(), sequence.slice(0, count - rest..count).node()));
    }
    for operand in &mut operands {
        if let Some((_, node)) = instead.iter().find(|(placeholder, _)| placeholder == operand) {
            *operand = *node;
        }
    }
    let last = apply(ends.tape, Op::Fold(Fold { steps: rest, ..fold }), &operands).slice(0, rest - 1..rest);
    initial.rebuild(form.unpacked(Var::concat(&[ends, last], 0), &[chunks + 1]))
}

/// What a carry is made of. Several arrays are one inside of the operation, flat, one behind another.
struct Form {
    operation: &'static str,
    leaves: Vec<Var>,
    shapes: Vec<Shape>,
}

impl Form {
    #[track_caller]
    fn new<C: Tree<Output = C>>(operation: &'static str, initial: &C, steps: &Steps) -> Self {
        let leaves = initial.leaves();
        let Some((first, rest)) = leaves.split_first() else { panic!("{operation}: a carry of no arrays") };
        first.check_same_tape_all(operation, rest);
        first.check_same_tape_all(operation, &steps.sequences);
        first.check_float(operation);
        rest.iter().for_each(|other| first.check_same_dtype(operation, *other));
        let shapes = leaves.iter().map(|leaf| leaf.shape()).collect();
        Self { operation, leaves, shapes }
    }

    #[track_caller]
    fn initial(&self) -> Var {
        packed(&self.leaves)
    }

    /// What a step gave. Panics unless it is like the initial carry.
    #[track_caller]
    fn next(&self, carry: &[Var]) -> Var {
        let (operation, given, wanted) = (self.operation, carry.len(), self.leaves.len());
        assert!(given == wanted, "{operation}: a step gave a carry of {given} arrays, the initial one has {wanted}");
        for (i, (next, initial)) in carry.iter().zip(&self.leaves).enumerate() {
            initial.check_same_tape(operation, *next);
            let (given, wanted) = ((next.dtype(), next.shape()), (initial.dtype(), initial.shape()));
            assert!(
                given == wanted,
                "{operation}: a step gave for array {i} of the carry {}{:?}, the initial one is {}{:?}\n  made at {}\n  \
                 made at {}",
                given.0,
                given.1,
                wanted.0,
                wanted.1,
                next.location(),
                initial.location()
            );
        }
        packed(carry)
    }

    /// The arrays of a carry, or of several, which have these axes in front.
    #[track_caller]
    fn unpacked(&self, packed: Var, front: &[usize]) -> Vec<Var> {
        match &self.shapes[..] {
            [_] => vec![packed],
            shapes => parts(packed, front, shapes),
        }
    }
}

/// One array is itself.
#[track_caller]
fn packed(carry: &[Var]) -> Var {
    match carry {
        [one] => *one,
        several => flat(several),
    }
}

/// Several arrays as one vector.
#[track_caller]
fn flat(arrays: &[Var]) -> Var {
    let vectors: Vec<Var> = arrays.iter().map(|array| array.reshaped(&[array.size()])).collect();
    Var::concat(&vectors, 0)
}

/// The arrays that are one behind another along the last axis of a flat one, whose axes in front are these.
#[track_caller]
fn parts(flat: Var, front: &[usize], shapes: &[Shape]) -> Vec<Var> {
    let mut start = 0;
    let mut parts = Vec::with_capacity(shapes.len());
    for shape in shapes {
        let end = start + size(shape);
        parts.push(flat.slice(front.len(), start..end).reshaped(&[front, shape].concat()));
        start = end;
    }
    parts
}

/// A body that is being recorded: what is recorded on its carry and entries after `begin` is what a step does. (Two steps instead
/// of a closure, so that a panic between them is its caller's.)
struct Body {
    tape: u32,
    /// The placeholder, and the initial one.
    carry: (NodeId, NodeId),
    /// Placeholders, and what they stand for.
    sequences: Vec<(NodeId, NodeId)>,
    /// The placeholders of sequences.
    entries: Vec<Handle>,
}

impl Body {
    #[track_caller]
    fn begin(initial: Var, sequences: &[Handle]) -> Self {
        let tape = initial.tape;
        let carry = (placeholder(tape, initial.dtype(), &initial.shape(), &[]), initial.node);
        let mut body = Self { tape, carry, sequences: Vec::new(), entries: Vec::new() };
        for sequence in sequences {
            let entry = placeholder(tape, sequence.dtype(), &sequence.shape()[1..], &[]);
            body.sequences.push((entry, sequence.node()));
            body.entries.push(Handle::recorded(tape, entry));
        }
        body
    }

    #[track_caller]
    fn carry(&self) -> Var {
        Var::recorded(self.tape, self.carry.0)
    }

    /// The carry after each of so many steps.
    #[track_caller]
    fn end(&self, next: Var, steps: usize, stepwise: bool) -> Var {
        let Self { tape, carry, ref sequences, .. } = *self;
        let (output, invariants) = (next.node, &[][..]);
        Loop { tape, carry, sequences, invariants, output, steps, reversed: false, stepwise }.record(tape)
    }
}

/// The derivative rule of a fold, as part of a pass. The error says which surrogate, inside of the body, would be differentiated
/// beyond its limit.
#[track_caller]
pub(super) fn vjp(fold: &Fold, call: &Call, g: Var, pass: u32) -> Result<Cotangents, String> {
    let mut cotangents: Cotangents = smallvec::smallvec![None; call.operands.len()];
    if fold.steps == 0 {
        return Ok(cotangents);
    }
    let initial = call.var(0);
    // What a step of a forward loop finds is the carry of the step before.
    let before =
        call.output().shifted(0, !fold.reversed, Some(initial.reshaped(&[&[1], &initial.shape()[..]].concat())));
    let transposed = Transposed { fold, call, g, before, pass };
    let first = fold.step(0);
    if fold.stepwise {
        return transposed.stepwise(first);
    }
    let onward = if fold.body.flows(0) { transposed.record(&[0])? } else { None };
    cotangents[0] = onward.filter(|_| call.needed[0]).map(|onward| onward.at(0, first));
    let wanted: Vec<usize> = (1..call.operands.len()).filter(|&i| call.needed[i] && fold.body.flows(i)).collect();
    if wanted.is_empty() {
        return Ok(cotangents);
    }
    let arriving = onward.map_or(g, |onward| g + onward.shift(0, fold.reversed));
    // Nodes of their own: the carries depend on the operands, too, but not on these.
    let location = call.output().location();
    let _recording = Recording::in_place_of(call.tape, location, pass);
    let mut inputs: Vec<(NodeId, bool)> = vec![(before.node, true)];
    for (i, &operand) in call.operands.iter().enumerate().skip(1) {
        let node = if wanted.contains(&i) { call.var(i).alias().node } else { operand };
        inputs.push((node, i <= fold.sequences));
    }
    let mapped = Var::recorded(call.tape, fold.body.mapped(call.tape, fold.steps, &inputs));
    let wrt: Vec<Var> = wanted.iter().map(|&i| Var::recorded(call.tape, inputs[i].0)).collect();
    for (&i, cotangent) in wanted.iter().zip(pullback_in(pass, &[(mapped, arriving)], &wrt)?) {
        cotangents[i] = cotangent;
    }
    Ok(cotangents)
}

/// The loop in the other direction.
struct Transposed<'a> {
    fold: &'a Fold,
    call: &'a Call,
    g: Var,
    before: Var,
    pass: u32,
}

impl Transposed<'_> {
    /// The fold whose carry is the cotangent of the carry; the cotangents of other operands at each step stand behind it, flat,
    /// if they are wanted. `None` if none flows to the carry, nor to another operand.
    #[track_caller]
    fn record(&self, wanted: &[usize]) -> Result<Option<Var>, String> {
        let Self { fold, call, g, before, pass } = *self;
        let body = &fold.body;
        let (tape, location) = (call.tape, call.output().location());
        let mut adjoints: Vec<Box<[Adjoint]>> = with_graph(tape, |graph| {
            call.operands.iter().map(|&operand| graph.nodes[operand as usize].adjoints.clone()).collect()
        });
        [adjoints[0], _] = fold.adjoints(&mut adjoints.clone().iter().map(|adjoints| &**adjoints));
        let of_g = g.with_node(|node| node.adjoints.clone());
        let shape = call.var(0).shape();
        let shapes: Vec<Shape> = wanted.iter().map(|&i| body.nodes[i].shape.clone()).collect();
        let carry_shape: Shape = match wanted {
            [_] => shape.clone(),
            _ => smallvec::smallvec![shapes.iter().map(|shape| size(shape)).sum()],
        };
        let dtype = g.dtype();
        // Of what the cotangent is an adjoint that comes from the steps behind.
        let mut entering: Box<[Adjoint]> = Box::default();
        loop {
            let scratch = Scratch::beside(tape);
            let id = scratch.id();
            let _recording = Recording::derivative(id, location, pass, true);
            let inputs = body.placeholders(id, &adjoints);
            let carry = Var::recorded(id, placeholder(id, dtype, &carry_shape, &entering));
            let entry = Var::recorded(id, placeholder(id, dtype, &shape, &of_g));
            let onward = if wanted.len() == 1 { carry } else { parts(carry, &[], &shapes[..1])[0] };
            let cotangent = onward + entry;
            let output = Var::recorded(id, body.inlined(id, &inputs));
            let wrt: Vec<Var> = wanted.iter().map(|&i| Var::recorded(id, inputs[i])).collect();
            let pulled = pullback_in(pass, &[(output, cotangent)], &wrt)?;
            if pulled.iter().all(Option::is_none) {
                return Ok(None);
            }
            let next = match &pulled[..] {
                [Some(one)] => *one,
                several => {
                    let mut all = Vec::with_capacity(several.len());
                    for (cotangent, shape) in several.iter().zip(&shapes) {
                        let cotangent = match cotangent {
                            Some(cotangent) if cotangent.dtype() == dtype => *cotangent,
                            Some(cotangent) => cotangent.cast(dtype),
                            None => fill(carry, 0.0, shape),
                        };
                        all.push(cotangent);
                    }
                    flat(&all)
                }
            };
            let after = next.with_node(|node| node.adjoints.clone());
            let known = barrier::union([&*entering, &*after].into_iter());
            if known != entering {
                entering = known;
                continue;
            }
            let initial = fill(g, 0.0, &carry_shape);
            let pairs = || inputs.iter().copied().zip(call.operands.iter().copied()).skip(1);
            let sequences: Vec<(NodeId, NodeId)> = [(entry.node, g.node), (inputs[0], before.node)]
                .into_iter()
                .chain(pairs().take(fold.sequences))
                .collect();
            let invariants: Vec<(NodeId, NodeId)> = pairs().skip(fold.sequences).collect();
            let transposed = Loop {
                tape: id,
                carry: (carry.node, initial.node),
                sequences: &sequences,
                invariants: &invariants,
                output: next.node,
                steps: fold.steps,
                reversed: !fold.reversed,
                stepwise: fold.stepwise,
            };
            return Ok(Some(transposed.record(tape)));
        }
    }

    /// All cotangents by one loop.
    #[track_caller]
    fn stepwise(&self, first: usize) -> Result<Cotangents, String> {
        let Self { fold, call, .. } = *self;
        let mut cotangents: Cotangents = smallvec::smallvec![None; call.operands.len()];
        let others = (1..call.operands.len()).filter(|&i| call.needed[i] && fold.body.flows(i));
        let wanted: SmallVec<[usize; 4]> = std::iter::once(0).chain(others).collect();
        let Some(all) = self.record(&wanted)? else { return Ok(cotangents) };
        let shapes: Vec<Shape> = wanted.iter().map(|&i| fold.body.nodes[i].shape.clone()).collect();
        let each = if wanted.len() == 1 { vec![all] } else { parts(all, &[fold.steps], &shapes) };
        for (&i, part) in wanted.iter().zip(each) {
            let cotangent = match i {
                0 => part.at(0, first),
                i if i <= fold.sequences => part,
                _ => part.sum_axes(&[0]),
            };
            let dtype = fold.body.nodes[i].dtype;
            let cotangent = if cotangent.dtype() == dtype { cotangent } else { cotangent.cast(dtype) };
            cotangents[i] = Some(cotangent).filter(|_| call.needed[i]);
        }
        Ok(cotangents)
    }
}
