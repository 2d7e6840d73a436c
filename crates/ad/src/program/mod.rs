//! Programs: what a tape's outputs need, in order, with a place in memory for each result. The only executor: a first
//! `value()` and a thousandth replay run the same way.
//!
//! A compilation is some passes, each a file or a folder:
//!
//! - [`ir`]: the operations that the outputs need, without dead code and common subexpressions
//! - [`lower`]: algebraic simplification and constant folding by a table of rules; then [`bands`], [`axes`] and [`flatten`]
//! - [`fuse`]: fusion of arithmetic
//! - [`plan`]: what runs together and when, in which blocks, and where in memory results lie
//!
//! A run calls each operation's kernel on slices of a workspace that is kept from run to run; those of a [`region`] block of
//! rows by block of rows, and those on single [`numbers`] without slices. [`inspect`] shows a program.

use std::collections::HashMap;
use std::panic::Location;
use std::sync::{Arc, Mutex, OnceLock};

use ndarray::{ArrayBase, ArrayD, ArrayViewMutD, DataMut, IxDyn};
use rustc_hash::FxHashSet;
use smallvec::SmallVec;

use crate::dtype::{DType, by_dtype};
use crate::error::Error;
use crate::kernel::map::Repeat;
use crate::op::fold::Fold;
use crate::op::{Data, Failure, Leaf, Op, Operand};
use crate::tape::{Handle, Index, NodeId, Tape, Var, with_graph};
use crate::tensor::{Buffer, Element, Shape, Slice, SliceMut, Value, size};

mod axes;
mod bands;
mod flatten;
mod fuse;
mod inspect;
mod ir;
mod lower;
mod numbers;
mod plan;
mod region;

pub use inspect::Cost;
use ir::Ir;
use numbers::{Lists, Numbers};
use region::{Region, RowOperand, Space};

/// A computation that can be run again and again, on other values of its inputs, from any thread.
///
/// ```
/// let tape = ad::Tape::new();
/// let x = tape.input("x", &ndarray::arr1(&[1.0, 2.0]));
/// let loss = x.square().sum();
/// let step = tape.compile([x], [loss, loss.grad(x)]);
/// let results = step.run(&ad::values![ndarray::arr1(&[3.0, 4.0])])?;
/// assert_eq!(results[0].sum(), 25.0);
/// assert_eq!(results[1], ndarray::arr1(&[6.0, 8.0]).into_dyn());
/// # Ok::<(), ad::Error>(())
/// ```
#[derive(Debug)]
pub struct Program {
    inputs: Vec<Input>,
    constants: Vec<Constant>,
    /// As what single steps read arrays; many do so alike.
    forms: Vec<Form>,
    units: Vec<Unit>,
    /// In the order of the units that they are.
    numbers: Vec<Numbers>,
    outputs: Vec<(Place, Shape)>,
    slots: Vec<Slot>,
    /// Workspaces not in use. A run takes one, or makes one, and puts it back. In boxes, as moving one takes as long as a few
    /// operations on numbers.
    #[allow(clippy::vec_box)]
    idle: Mutex<Vec<Box<Workspace>>>,
    /// What was recorded, where it is not what runs.
    recorded: Option<Recorded>,
}

/// Operations as they were recorded, and the program that does just them, once somebody has needed it.
#[derive(Debug)]
struct Recorded {
    ir: Ir,
    program: OnceLock<Box<Program>>,
}

/// A part of a workspace: what it holds, and the most entries it ever holds.
#[derive(Clone, Copy, Debug)]
struct Slot {
    dtype: DType,
    size: usize,
}

/// What a run needs to itself.
#[derive(Debug)]
struct Workspace {
    slots: Vec<Buffer>,
    /// Room for a run's lists of what it is given and of what a step reads: empty between runs, and between steps.
    given: Vec<Slice<'static>>,
    operands: Vec<Operand<'static>>,
    lists: Lists,
    /// For each region in turn, what its chunks need.
    regions: Vec<Space>,
}

/// What runs in one go.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // Nearly all are the large one.
enum Unit {
    Step(Step),
    Region(Region),
}

/// An input that a run gives a value for.
#[derive(Clone, Debug)]
struct Input {
    name: Arc<str>,
    dtype: DType,
    shape: Shape,
    size: usize,
    location: &'static Location<'static>,
}

/// An array that no run changes.
#[derive(Clone, Debug)]
struct Constant {
    data: Data,
    location: &'static Location<'static>,
}

/// One kernel call.
#[derive(Clone, Debug)]
struct Step {
    op: Op,
    /// Of a fold, what it does at each step.
    body: Option<Arc<Program>>,
    operands: SmallVec<[StepOperand; 3]>,
    slot: usize,
    dtype: DType,
    shape: Shape,
    /// Entries of the result.
    size: usize,
    location: &'static Location<'static>,
}

/// What a kernel call reads.
#[derive(Clone, Copy, Debug)]
struct StepOperand {
    place: Place,
    /// As what: one of the program's forms.
    form: usize,
}

/// How entries are read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Form {
    /// How many entries there are.
    size: usize,
    /// The shape that they stand for.
    shape: Shape,
    repeat: Option<Repeat>,
}

/// Where an array lies during a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Input(usize),
    Constant(usize),
    /// A slot of the workspace.
    Slot(usize),
}

/// Whether a program does its outputs' operations as they were recorded, or simplified first.
///
/// The environment variable `AD_LOWERING=off` turns it off for all programs of a process: to see whether a number that looks
/// wrong is lowering's fault. (`on` leaves it on; anything else panics.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lowering {
    /// Simplified: the same numbers, within rounding, by less work. At numbers that are so large or so small that a product
    /// of the simpler program leaves their range, a run does what was recorded instead, which takes longer.
    #[default]
    On,
    /// As recorded, but for what nobody asks for, what is equal to something before, and identities.
    Off,
}

impl Lowering {
    #[track_caller]
    fn unless_turned_off(self) -> Self {
        static VARIABLE: OnceLock<String> = OnceLock::new();
        let read =
            || std::env::var_os("AD_LOWERING").map_or(String::new(), |value| value.to_string_lossy().into_owned());
        let value = VARIABLE.get_or_init(read);
        match value {
            off if off.eq_ignore_ascii_case("off") => Lowering::Off,
            on if on.is_empty() || on.eq_ignore_ascii_case("on") => self,
            _ => panic!("the environment variable AD_LOWERING is `{value}`, but can only be `on` or `off`"),
        }
    }
}

/// It has a workspace of its own, and will have made what it runs again as recorded by itself.
impl Clone for Program {
    fn clone(&self) -> Self {
        let Self { inputs, constants, forms, units, numbers, outputs, slots, idle: _, recorded } = self;
        Self {
            inputs: inputs.clone(),
            constants: constants.clone(),
            forms: forms.clone(),
            units: units.clone(),
            numbers: numbers.clone(),
            outputs: outputs.clone(),
            slots: slots.clone(),
            idle: Mutex::default(),
            recorded: recorded.as_ref().map(|of| Recorded { ir: of.ir.clone(), program: OnceLock::new() }),
        }
    }
}

/// A list of [`Handle`]s, of numbers and indices in any order: the inputs of [`Tape::compile`].
#[macro_export]
macro_rules! handles {
    ($($handle:expr),* $(,)?) => {{
        let handles: [$crate::Handle; _] = [$($crate::Handle::from($handle)),*];
        handles
    }};
}

impl Tape {
    /// A program that computes `outputs`, and takes values for `inputs`, in this order. Inputs that are not listed keep the
    /// values they were recorded with. Numbers and indices together are listed by [`handles!`](crate::handles), and so are none at
    /// all: `tape.compile(handles![], [loss])`.
    ///
    /// Panics if one of `inputs` was not made by [`Tape::input`] or [`Tape::index`] or is listed twice, or an output depends
    /// on a placeholder.
    #[track_caller]
    pub fn compile<H: Into<Handle>>(
        &self,
        inputs: impl IntoIterator<Item = H>,
        outputs: impl IntoIterator<Item = impl Into<Handle>>,
    ) -> Program {
        self.compile_with(inputs, outputs, Lowering::On)
    }

    /// [`compile`](Self::compile), with lowering or without: to compare the two, or to read what was recorded.
    #[track_caller]
    pub fn compile_with<H: Into<Handle>>(
        &self,
        inputs: impl IntoIterator<Item = H>,
        outputs: impl IntoIterator<Item = impl Into<Handle>>,
        lowering: Lowering,
    ) -> Program {
        let inputs: Vec<Handle> = inputs.into_iter().map(Into::into).collect();
        let outputs: Vec<Handle> = outputs.into_iter().map(Into::into).collect();
        for handle in inputs.iter().chain(&outputs) {
            assert!(handle.tape() == self.id(), "compile: {handle:?} is of another tape");
        }
        let mut listed = HashMap::with_capacity(inputs.len());
        for (i, handle) in inputs.iter().enumerate() {
            expect_input(*handle);
            if let Some(first) = listed.insert(handle.node(), i) {
                panic!("compile: {handle:?} is listed twice, as inputs {first} and {i}: which value should it take?");
            }
        }
        match compile(self.id(), &inputs, &outputs, lowering) {
            Ok(program) => program,
            Err(problem) => panic!("compile: {problem}"),
        }
    }
}

#[track_caller]
fn expect_input(handle: Handle) {
    let other = with_graph(handle.tape(), |graph| {
        let node = &graph.nodes[handle.node() as usize];
        let other = !matches!(node.op, Op::Leaf(Leaf::Input { .. }));
        other.then(|| (node.op.rules().name().to_owned(), node.location))
    });
    if let Some((name, location)) = other {
        panic!(
            "compile: only what `Tape::input` or `Tape::index` made can be an input, not the result of {name} recorded at \
             {location}"
        );
    }
}

/// What [`Tape::compile`] does.
#[track_caller]
pub(crate) fn compile(tape: u32, inputs: &[Handle], outputs: &[Handle], lowering: Lowering) -> Result<Program, Error> {
    let inputs: Vec<NodeId> = inputs.iter().map(|handle| handle.node()).collect();
    let outputs: Vec<NodeId> = outputs.iter().map(|output| output.node()).collect();
    let ir = with_graph(tape, |graph| Ir::of(graph, &inputs, &outputs))?;
    Ok(program_of(ir, lowering))
}

fn program_of(ir: Ir, lowering: Lowering) -> Program {
    match lowering.unless_turned_off() {
        Lowering::On => {
            let simple = lower::lower(&ir);
            let side_by_side = plan::side_by_side(&simple);
            let program = plan::plan(&fuse::fuse(simple, side_by_side), lowering);
            Program { recorded: Some(Recorded { ir, program: OnceLock::new() }), ..program }
        }
        Lowering::Off => plan::plan(&ir.merged(), lowering),
    }
}

/// A program of the same computation with all of it in double precision: a reference for one in single.
pub(crate) fn compile_in_double(tape: u32, inputs: &[Handle], outputs: &[Var]) -> Result<Program, Error> {
    let inputs: Vec<NodeId> = inputs.iter().map(|handle| handle.node()).collect();
    let outputs: Vec<NodeId> = outputs.iter().map(|output| output.node).collect();
    let ir = with_graph(tape, |graph| Ir::of(graph, &inputs, &outputs))?;
    Ok(plan::plan(&ir.in_double().merged(), Lowering::Off))
}

/// The values of several Vars of one tape, computed together.
///
/// Panics where [`Program::run`] would return an error: also if they are not `f64`.
#[track_caller]
pub fn evaluate(vars: &[Var]) -> Vec<ArrayD<f64>> {
    of_type("evaluate", evaluate_values(vars), "cast the Vars, or ask each for `value_as`")
}

/// [`evaluate`], of whichever types they are.
#[track_caller]
pub(crate) fn evaluate_values(vars: &[Var]) -> Vec<Value<'static>> {
    let Some((first, rest)) = vars.split_first() else { return Vec::new() };
    first.check_same_tape_all("evaluate", rest);
    match evaluate_nodes(first.tape, &vars.iter().map(|var| var.node).collect::<Vec<_>>()) {
        Ok(values) => values,
        Err(problem) => panic!("{problem}"),
    }
}

/// Computes nodes, from what is [known](Known) of the tape, and leaves known what a later evaluation will start from.
fn evaluate_nodes(tape: u32, nodes: &[NodeId]) -> Result<Vec<Value<'static>>, Error> {
    let (ir, needed, kept) = with_graph(tape, |graph| {
        let needed = graph.unknown_ancestors(nodes);
        // What was computed once and is read by what is new.
        let is_old = |node: NodeId| graph.known.is_evaluated(node);
        let is_leaf = |node: NodeId| matches!(graph.nodes[node as usize].op, Op::Leaf(_));
        let new = needed.iter().filter(|&&node| !is_old(node));
        let read = new.flat_map(|&node| graph.nodes[node as usize].operands.iter().copied());
        let old: FxHashSet<NodeId> =
            read.filter(|&node| is_old(node) && !is_leaf(node) && graph.known.value(node).is_none()).collect();
        let mut kept: Vec<NodeId> = old.into_iter().collect();
        kept.sort_unstable();
        let outputs: Vec<NodeId> = nodes.iter().chain(&kept).copied().collect();
        Ir::of_evaluation(graph, &needed, &outputs).map(|ir| (ir, needed, kept))
    })?;
    let mut values = program_of(ir, Lowering::On).run_values(&[])?;
    with_graph(tape, |graph| {
        graph.known.evaluate(&needed);
        for (&node, value) in nodes.iter().chain(&kept).zip(&values) {
            if !matches!(graph.nodes[node as usize].op, Op::Leaf(_)) {
                graph.known.keep(node, value);
            }
        }
    });
    values.truncate(nodes.len());
    Ok(values)
}

/// Values as arrays of one type. Panics if they are of another.
#[track_caller]
fn of_type<E: Element>(operation: &str, values: Vec<Value<'static>>, advice: &str) -> Vec<ArrayD<E>> {
    let mut arrays = Vec::with_capacity(values.len());
    for value in values {
        let dtype = value.dtype();
        let Some(array) = value.into_array() else {
            panic!("{operation}: the numbers are {dtype}, but {} was asked for; {advice}", E::DTYPE)
        };
        arrays.push(array);
    }
    arrays
}

/// Its numbers, which are evaluated; what it is, where they are not known: a placeholder, of a function that is mapped or of a
/// loop's body, has none.
impl std::fmt::Display for Var {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.check_alive();
        match evaluate_nodes(self.tape, &[self.node]) {
            Ok(values) => by_dtype!(Value, &values[0], |array| array.fmt(f)),
            Err(_) => write!(f, "{} (no number is known)", self.describe()),
        }
    }
}

impl Var {
    /// Its numbers: now it runs. Panics where [`Program::run`] would return an error: also if they are not `f64`, for which
    /// there is [`value_as`](Self::value_as).
    #[track_caller]
    pub fn value(self) -> ArrayD<f64> {
        of_type("value", evaluate_values(&[self]), "use value_as").swap_remove(0)
    }

    /// [`value`](Self::value) of another type: `x.value_as::<f32>()`.
    ///
    /// Panics if its numbers are not of that type; they can be [cast](Self::cast).
    #[track_caller]
    pub fn value_as<E: Element>(self) -> ArrayD<E> {
        of_type("value_as", evaluate_values(&[self]), "cast the Var, or ask for its own type").swap_remove(0)
    }

    /// The number of a scalar (or of an array of one entry).
    #[track_caller]
    pub fn item(self) -> f64 {
        let values = of_type("item", evaluate_values(&[self]), "use item_as");
        one_entry("item", &values[0])
    }

    /// [`item`](Self::item) of another type: `loss.item_as::<f32>()`.
    #[track_caller]
    pub fn item_as<E: Element>(self) -> E {
        let values = of_type("item_as", evaluate_values(&[self]), "cast the Var, or ask for its own type");
        one_entry("item_as", &values[0])
    }
}

impl Index {
    /// Its integers: now it runs. Panics where [`Program::run`] would return an error.
    #[track_caller]
    pub fn value(self) -> ArrayD<i32> {
        self.check_alive();
        match evaluate_nodes(self.tape, &[self.node]) {
            Ok(values) => of_type("value", values, "an Index is of integers").swap_remove(0),
            Err(problem) => panic!("{problem}"),
        }
    }
}

#[track_caller]
fn one_entry<E: Element>(operation: &str, value: &ArrayD<E>) -> E {
    assert!(value.len() == 1, "{operation}: shape {:?} has {} entries, not one", value.shape(), value.len());
    value[IxDyn(&vec![0; value.ndim()])]
}

impl Recorded {
    fn program(&self) -> &Program {
        self.program.get_or_init(|| Box::new(plan::plan(&self.ir.merged(), Lowering::Off)))
    }
}

impl Program {
    /// Runs it on values for its inputs, in the order they were listed in. [`values!`](crate::values) makes the list.
    ///
    /// # Errors
    /// A value that is missing, or of another shape or type than recorded; an index out of range; a singular system; results
    /// that are not `f64`, for which there is [`run_as`](Self::run_as).
    pub fn run(&self, values: &[Value<'_>]) -> Result<Vec<ArrayD<f64>>, Error> {
        self.run_as(values)
    }

    /// [`run`](Self::run) of a program whose results are all of another type: `program.run_as::<f32>(&values)`.
    ///
    /// # Errors
    /// Those of [`run`](Self::run), and [`Error::ResultDtype`] if a result is of another type still.
    pub fn run_as<E: Element>(&self, values: &[Value<'_>]) -> Result<Vec<ArrayD<E>>, Error> {
        self.expect_results(E::DTYPE)?;
        self.execute(values, |program, given, buffers| {
            let result = |(place, shape): &(Place, Shape)| {
                let entries = program.entries(*place, shape, given, buffers).of().to_vec();
                ArrayD::from_shape_vec(shape.as_slice(), entries).expect("as many entries as the shape has")
            };
            program.outputs.iter().map(result).collect()
        })
    }

    /// [`run`](Self::run) of a program whose results are of several types.
    ///
    /// # Errors
    /// Those of [`run`](Self::run), but for results' types.
    pub fn run_values(&self, values: &[Value<'_>]) -> Result<Vec<Value<'static>>, Error> {
        self.execute(values, |program, given, buffers| {
            let result =
                |(place, shape): &(Place, Shape)| program.entries(*place, shape, given, buffers).to_value(shape);
            program.outputs.iter().map(result).collect()
        })
    }

    fn expect_count(&self, given: usize) -> Result<(), Error> {
        let expected = self.inputs.len();
        if given < expected {
            let missing = self.inputs[given..].iter().map(|input| format!("`{}`", input.name)).collect::<Vec<_>>();
            return Err(Error::MissingInput { missing: missing.join(", "), expected, given });
        }
        if given > expected {
            return Err(Error::TooManyValues { expected, given });
        }
        Ok(())
    }

    fn expect_results(&self, asked: DType) -> Result<(), Error> {
        let other = (0..self.outputs.len()).find(|&result| self.dtype(self.outputs[result].0) != asked);
        other.map_or(Ok(()), |result| {
            Err(Error::ResultDtype { result, dtype: self.dtype(self.outputs[result].0), asked })
        })
    }

    /// The type of what lies there.
    fn dtype(&self, place: Place) -> DType {
        match place {
            Place::Input(i) => self.inputs[i].dtype,
            Place::Constant(i) => self.constants[i].data.value().dtype(),
            Place::Slot(slot) => self.slots[slot].dtype,
        }
    }

    /// Runs it and writes the results into arrays of the caller's, so that nothing is allocated, but by the first runs.
    ///
    /// ```
    /// let tape = ad::Tape::new();
    /// let x = tape.input("x", &ndarray::arr1(&[1.0, 2.0]));
    /// let gradient = tape.compile([x], [x.square().sum().grad(x)]);
    /// let mut result = ndarray::Array1::zeros(2);
    /// for x in [ndarray::arr1(&[3.0, 4.0]), ndarray::arr1(&[5.0, 6.0])] {
    ///     gradient.run_into(&ad::values![x], &mut [result.view_mut().into_dyn()])?;
    ///     assert_eq!(result, 2.0 * x);
    /// }
    /// # Ok::<(), ad::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`run`](Self::run), and [`Error::Results`] if `results` are not as many, or not of the shapes, of the outputs.
    /// Then nothing is written.
    pub fn run_into(&self, values: &[Value<'_>], results: &mut [ArrayViewMutD<'_, f64>]) -> Result<(), Error> {
        self.run_into_as(values, results)
    }

    /// [`run_into`](Self::run_into) of a program whose results are all of another type, into arrays or views of them.
    ///
    /// # Errors
    /// Those of [`run_as`](Self::run_as) and of [`run_into`](Self::run_into).
    pub fn run_into_as<E: Element>(
        &self,
        values: &[Value<'_>],
        results: &mut [ArrayBase<impl DataMut<Elem = E>, IxDyn>],
    ) -> Result<(), Error> {
        let shapes = || self.outputs.iter().map(|(_, shape)| shape.as_slice());
        if !shapes().eq(results.iter().map(|result| result.shape())) {
            let given = results.iter().map(|result| result.shape().into()).collect();
            return Err(Error::Results { expected: shapes().map(Shape::from).collect(), given });
        }
        self.expect_results(E::DTYPE)?;
        self.execute(values, |program, given, buffers| {
            for ((place, shape), result) in program.outputs.iter().zip(results.iter_mut()) {
                let entries = program.entries(*place, shape, given, buffers).of();
                match result.as_slice_mut() {
                    Some(result) => result.copy_from_slice(entries),
                    None => result.iter_mut().zip(entries).for_each(|(result, &entry)| *result = entry),
                }
            }
        })
    }

    /// [`run_into`](Self::run_into) of plain numbers: the entries of each input, row-major, and room for those of each result. For
    /// small programs that are called very often.
    ///
    /// ```
    /// let tape = ad::Tape::new();
    /// let x = tape.input("x", ndarray::arr1(&[1.0, 2.0]));
    /// let scale = tape.input("scale", 1.0);
    /// let loss = (x.square() * scale).sum();
    /// let step = tape.compile([x, scale], [loss, loss.grad(x)]);
    /// let (mut loss, mut gradient) = ([0.0], [0.0; 2]);
    /// step.call(&[&[3.0, 4.0], &[2.0]], &mut [&mut loss, &mut gradient])?;
    /// assert_eq!((loss, gradient), ([50.0], [12.0, 16.0]));
    /// # Ok::<(), ad::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`run_into_as`](Self::run_into_as). All inputs and results have to be of one type.
    pub fn call<E: Element>(&self, inputs: &[&[E]], results: &mut [&mut [E]]) -> Result<(), Error> {
        if !self.outputs.iter().map(|(_, shape)| size(shape)).eq(results.iter().map(|result| result.len())) {
            let expected = self.outputs.iter().map(|(_, shape)| shape.clone()).collect();
            let given = results.iter().map(|result| smallvec::smallvec![result.len()]).collect();
            return Err(Error::Results { expected, given });
        }
        self.expect_results(E::DTYPE)?;
        self.execute(inputs, |program, given, buffers| {
            for ((place, shape), result) in program.outputs.iter().zip(results.iter_mut()) {
                result.copy_from_slice(program.entries(*place, shape, given, buffers).of());
            }
        })
    }

    /// Runs it and tells where the first number that is not finite came from: an input, a constant, or an operation, and where
    /// in the user's code that was recorded. `Ok` if there is none, or only infinities that constants brought in and of which
    /// the results have none (as masks do: e^−∞ is 0).
    ///
    /// # Errors
    /// [`Error::NotFinite`], and those of [`run`](Self::run).
    pub fn check_finite(&self, values: &[Value<'_>]) -> Result<(), Error> {
        let run = self.try_execute(values, |given, workspace| self.run_units(given, workspace, None));
        let left_range = matches!(run, Err(Stop::LeftRange));
        let outcome = match &self.recorded {
            Some(recorded) if left_range => recorded.program().check_steps(values),
            // What runs, one operation after the other.
            Some(recorded) => plan::plan(&lower::lower(&recorded.ir), Lowering::Off).check_steps(values),
            None => self.check_steps(values),
        };
        outcome.map_err(Stop::error)
    }

    /// [`check_finite`](Self::check_finite) of a program without regions.
    fn check_steps(&self, values: &[Value<'_>]) -> Result<(), Stop> {
        for (input, value) in self.inputs.iter().zip(values) {
            let operation = format!("input `{}`", input.name);
            let value = value.clone().owned();
            not_finite(&operation, input.location, value.entries(), &input.shape).map_or(Ok(()), Err)?;
        }
        self.try_execute(values, |given, workspace| self.check_units(given, workspace))
    }

    /// [`check_finite`](Self::check_finite) of what it makes.
    fn check_units(&self, given: &[Slice<'_>], workspace: &mut Workspace) -> Result<(), Stop> {
        // Where the infinities came from that lie in a slot now.
        let mut origins: Vec<Option<Error>> = vec![None; self.slots.len()];
        let origin = |place: Place, origins: &[Option<Error>]| match place {
            Place::Input(_) => None,
            Place::Constant(i) => {
                let Constant { data, location } = &self.constants[i];
                not_finite("constant", location, data.value().entries(), data.value().shape())
            }
            Place::Slot(slot) => origins[slot].clone(),
        };
        let mut check = |step: &Step, operands: &[Operand<'_>], out: &Buffer| {
            if let (Op::Fold(fold), Some(body)) = (&step.op, &step.body) {
                let mut again = Buffer::new(step.dtype, step.size);
                let again = again.slice_mut(0..step.size);
                body.run_fold(fold, operands, again, |given, workspace| body.check_units(given, workspace))?;
            }
            let out = out.slice(0..step.size);
            let is_infinite = |operand: &Operand<'_>| find(operand.data, f64::is_infinite).is_some();
            let brought = operands.iter().position(is_infinite).filter(|_| find(out, f64::is_nan).is_none());
            origins[step.slot] = match (not_finite(step.op.rules().name(), step.location, out, &step.shape), brought) {
                (Some(_), Some(operand)) => origin(step.operands[operand].place, &origins),
                (Some(made), None) => return Err(made.into()),
                (None, _) => None,
            };
            Ok(())
        };
        self.run_units(given, workspace, Some(&mut check))?;
        let is_infinite = |(place, shape): &&(Place, Shape)| {
            find(self.entries(*place, shape, given, &workspace.slots), |x| !x.is_finite()).is_some()
        };
        let mut infinite = self.outputs.iter().filter(is_infinite);
        Ok(infinite.find_map(|(place, _)| origin(*place, &origins)).map_or(Ok(()), Err)?)
    }

    /// Runs it; as recorded, if what lowering has made of that leaves the range of numbers.
    fn execute<G: Given + ?Sized, R>(
        &self,
        values: &G,
        mut finish: impl FnMut(&Self, &[Slice<'_>], &[Buffer]) -> R,
    ) -> Result<R, Error> {
        let outcome = self.try_execute(values, |given, workspace| {
            self.run_units(given, workspace, None)?;
            Ok(finish(self, given, &workspace.slots))
        });
        match (outcome, &self.recorded) {
            (Err(Stop::LeftRange), Some(recorded)) => recorded.program().execute(values, finish),
            (outcome, _) => outcome.map_err(Stop::error),
        }
    }

    fn try_execute<G: Given + ?Sized, R>(
        &self,
        values: &G,
        run: impl FnOnce(&[Slice<'_>], &mut Workspace) -> Result<R, Stop>,
    ) -> Result<R, Stop> {
        self.with_workspace(|workspace| {
            let mut row_major = Vec::new();
            let mut given = emptied(std::mem::take(&mut workspace.given));
            let outcome = values.accept(self, &mut row_major, &mut given).map_err(Stop::Error);
            let outcome = outcome.and_then(|()| run(&given, workspace));
            workspace.given = emptied(given);
            outcome
        })
    }

    fn with_workspace<R>(&self, run: impl FnOnce(&mut Workspace) -> R) -> R {
        let idle = self.idle.lock().expect("no run panics while it holds the lock").pop();
        let mut workspace = idle.unwrap_or_else(|| Box::new(self.workspace()));
        let result = run(&mut workspace);
        self.idle.lock().expect("no run panics while it holds the lock").push(workspace);
        result
    }

    /// Runs it as the body of a fold: `run` does a step, of what it is given, and its result is a row of `out`.
    fn run_fold(
        &self,
        fold: &Fold,
        operands: &[Operand<'_>],
        mut out: SliceMut<'_>,
        mut run: impl FnMut(&[Slice<'_>], &mut Workspace) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let (place, shape) = &self.outputs[0];
        let length = size(shape);
        self.with_workspace(|workspace| {
            for i in 0..fold.steps {
                let step = fold.step(i);
                let start = step * length;
                let (earlier, later) = out.reborrow().split_at(if fold.reversed { start + length } else { start });
                let (others, row) = match fold.reversed {
                    true => (later.as_slice(), earlier.range(start..start + length)),
                    false => (earlier.as_slice(), later.range(0..length)),
                };
                let mut given: Vec<Slice<'_>> = emptied(std::mem::take(&mut workspace.given));
                given.push(match fold.reversed {
                    _ if i == 0 => operands[0].data,
                    true => others.range(0..length),
                    false => others.range(start - length..start),
                });
                for (operand, input) in operands[1..].iter().zip(&self.inputs[1..]) {
                    let size = input.size;
                    let is_sequence = given.len() <= fold.sequences;
                    given.push(if is_sequence {
                        operand.data.range(step * size..(step + 1) * size)
                    } else {
                        operand.data
                    });
                }
                run(&given, workspace)?;
                row.copy_from(self.entries(*place, shape, &given, &workspace.slots));
                workspace.given = emptied(given);
            }
            Ok(())
        })
    }

    fn workspace(&self) -> Workspace {
        let regions = self.units.iter().filter_map(|unit| match unit {
            Unit::Step(_) => None,
            Unit::Region(region) => Some(region.space()),
        });
        Workspace {
            slots: self.slots.iter().map(|slot| Buffer::new(slot.dtype, slot.size)).collect(),
            given: Vec::new(),
            operands: Vec::new(),
            lists: Lists::of(&self.numbers),
            regions: regions.collect(),
        }
    }

    fn run_units(
        &self,
        given: &[Slice<'_>],
        Workspace { slots, operands: list, lists, regions, .. }: &mut Workspace,
        mut check: Option<&mut Check<'_>>,
    ) -> Result<(), Stop> {
        let mut regions = regions.iter_mut();
        // (What is checked is so step by step.)
        let numbers = if check.is_none() { &self.numbers[..] } else { &[] };
        let mut numbers = numbers.iter().peekable();
        let mut next = 0;
        while let Some(unit) = self.units.get(next) {
            if let Some(numbers) = numbers.next_if(|numbers| numbers.units.start == next) {
                numbers.run(self, given, slots, lists);
                next = numbers.units.end;
                continue;
            }
            next += 1;
            match unit {
                Unit::Step(step) => {
                    let mut out = std::mem::take(&mut slots[step.slot]);
                    let outcome = {
                        let operand = |operand: &StepOperand| {
                            let Form { size, shape, repeat } = &self.forms[operand.form];
                            let data = self.read_first(operand.place, *size, given, slots);
                            Operand { data, shape, repeat: *repeat }
                        };
                        let mut forward = |operands: &[Operand<'_>]| {
                            let result = out.slice_mut(0..step.size);
                            match (&step.op, &step.body) {
                                (Op::Fold(fold), Some(body)) => {
                                    body.run_fold(fold, operands, result, |given, workspace| {
                                        body.run_units(given, workspace, None)
                                    })?;
                                }
                                (op, _) => (op.rules())
                                    .forward(operands, &step.shape, result)
                                    .map_err(|failure| Stop::at(failure, step.location))?,
                            }
                            check.as_mut().map_or(Ok(()), |check| check(step, operands, &out))
                        };
                        // Nearly all operations have few operands.
                        match step.operands.as_slice() {
                            [x] => forward(&[operand(x)]),
                            [x, y] => forward(&[operand(x), operand(y)]),
                            [x, y, z] => forward(&[operand(x), operand(y), operand(z)]),
                            operands => {
                                let mut many: Vec<Operand<'_>> = emptied(std::mem::take(list));
                                many.extend(operands.iter().map(operand));
                                let outcome = forward(&many);
                                *list = emptied(many);
                                outcome
                            }
                        }
                    };
                    slots[step.slot] = out;
                    outcome?;
                }
                Unit::Region(region) => {
                    let space = regions.next().expect("a workspace has room for each region");
                    region.exchange_results(slots, space);
                    let outcome = region.run(&|place| self.read(place, given, slots), space);
                    region.exchange_results(slots, space);
                    outcome.map_err(|fault| Stop::at(fault.failure, region.steps[fault.step].location))?;
                }
            }
        }
        Ok(())
    }

    /// All entries of what lies there.
    fn read<'a>(&'a self, place: Place, given: &[Slice<'a>], slots: &'a [Buffer]) -> Slice<'a> {
        match place {
            Place::Input(i) => given[i],
            Place::Constant(i) => self.constants[i].data.value().entries(),
            Place::Slot(slot) => slots[slot].slice(0..slots[slot].len()),
        }
    }

    /// The first `size` entries; of an input and a constant, which have no room to spare, all.
    #[inline(always)]
    fn read_first<'a>(&'a self, place: Place, size: usize, given: &[Slice<'a>], slots: &'a [Buffer]) -> Slice<'a> {
        match place {
            Place::Input(i) => given[i],
            Place::Constant(i) => self.constants[i].data.value().entries(),
            Place::Slot(slot) => slots[slot].slice(0..size),
        }
    }

    fn entries<'a>(&'a self, place: Place, shape: &Shape, given: &[Slice<'a>], slots: &'a [Buffer]) -> Slice<'a> {
        self.read_first(place, size(shape), given, slots)
    }
}

impl Unit {
    /// Every place it reads.
    fn reads(&self, mut visit: impl FnMut(Place)) {
        match self {
            Unit::Step(step) => step.operands.iter().for_each(|operand| visit(operand.place)),
            Unit::Region(region) => {
                for (operand, _) in region.steps.iter().flat_map(|step| &step.operands) {
                    if let RowOperand::Rows(place, _) | RowOperand::Whole(place) = operand {
                        visit(*place);
                    }
                }
            }
        }
    }

    /// Every slot it writes.
    fn writes(&self, mut visit: impl FnMut(usize)) {
        match self {
            Unit::Step(step) => visit(step.slot),
            Unit::Region(region) => region.results.iter().for_each(|result| visit(result.slot)),
        }
    }

    /// Changes the places it reads and the slots it writes.
    fn relocate(&mut self, read: &impl Fn(&mut Place), write: &impl Fn(&mut usize)) {
        match self {
            Unit::Step(step) => {
                step.operands.iter_mut().for_each(|operand| read(&mut operand.place));
                write(&mut step.slot);
            }
            Unit::Region(region) => {
                for (operand, _) in region.steps.iter_mut().flat_map(|step| &mut step.operands) {
                    if let RowOperand::Rows(place, _) | RowOperand::Whole(place) = operand {
                        read(place);
                    }
                }
                region.results.iter_mut().for_each(|result| write(&mut result.slot));
            }
        }
    }
}

impl Input {
    /// The error of what a run is given for it, unless that is of its type and `fits` it.
    fn expect(&self, given: DType, shape: &[usize], fits: bool) -> Result<(), Error> {
        let input = || self.name.to_string();
        if given != self.dtype {
            return Err(Error::Dtype { input: input(), expected: self.dtype, given });
        }
        if !fits {
            return Err(Error::Shape { input: input(), expected: self.shape.clone(), given: shape.into() });
        }
        Ok(())
    }
}

/// What a run is given for its inputs.
trait Given {
    /// Adds the entries of each, row-major, to the list, after checking them against the program's inputs. Those of which they lie
    /// in another order are copied to `row_major`.
    fn accept<'a>(
        &'a self,
        program: &Program,
        row_major: &'a mut Vec<Value<'static>>,
        list: &mut Vec<Slice<'a>>,
    ) -> Result<(), Error>;
}

impl Given for [Value<'_>] {
    fn accept<'a>(
        &'a self,
        program: &Program,
        row_major: &'a mut Vec<Value<'static>>,
        list: &mut Vec<Slice<'a>>,
    ) -> Result<(), Error> {
        program.expect_count(self.len())?;
        for (input, value) in program.inputs.iter().zip(self) {
            input.expect(value.dtype(), value.shape(), value.shape() == input.shape.as_slice())?;
        }
        row_major.extend(self.iter().filter(|value| value.try_entries().is_none()).map(|value| value.clone().owned()));
        let mut copies = row_major.iter();
        let mut copy = || copies.next().expect("a copy of each that is not row-major").entries();
        list.extend(self.iter().map(|value| value.try_entries().unwrap_or_else(&mut copy)));
        Ok(())
    }
}

impl<E: Element> Given for [&[E]] {
    fn accept<'a>(
        &'a self,
        program: &Program,
        _row_major: &'a mut Vec<Value<'static>>,
        list: &mut Vec<Slice<'a>>,
    ) -> Result<(), Error> {
        program.expect_count(self.len())?;
        for (input, entries) in program.inputs.iter().zip(self) {
            input.expect(E::DTYPE, &[entries.len()], entries.len() == input.size)?;
            list.push(E::as_slice(entries));
        }
        Ok(())
    }
}

/// Nothing, with the room that a list had: of what is borrowed for a run, or a step, which differs from the list's in its
/// lifetime alone. (Collected in place; else it would be allocated, which a test would tell.)
fn emptied<A, B>(mut list: Vec<A>) -> Vec<B> {
    list.clear();
    list.into_iter().map(|_| unreachable!("it is empty")).collect()
}

/// What is done after each step of a run that is checked.
type Check<'c> = dyn FnMut(&Step, &[Operand<'_>], &Buffer) -> Result<(), Stop> + 'c;

/// Why a run does not get to its end.
enum Stop {
    Error(Error),
    /// See [`Failure::LeftRange`].
    LeftRange,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Error(error)
    }
}

impl Stop {
    /// A kernel's failure, where it is one of the user's code: as an error about that.
    fn at(failure: Failure, location: &'static Location<'static>) -> Self {
        match failure {
            Failure::IndexOutOfRange { operation, location, index, position, axis, length } => {
                Error::IndexOutOfRange { operation, location, index, position, axis, length }.into()
            }
            Failure::Inexact { integer, position, number } => {
                Error::Inexact { location, integer, position, number }.into()
            }
            Failure::Singular { matrix } => Error::Singular { location, matrix }.into(),
            Failure::NotPositiveDefinite { matrix } => Error::NotPositiveDefinite { location, matrix }.into(),
            Failure::LeftRange => Stop::LeftRange,
        }
    }

    fn error(self) -> Error {
        match self {
            Stop::Error(error) => error,
            Stop::LeftRange => unreachable!("only lowering makes checked operations, and it keeps what was recorded"),
        }
    }
}

/// The error of the first entry that is not finite, if there is one.
fn not_finite(
    operation: &str,
    location: &'static Location<'static>,
    entries: Slice<'_>,
    shape: &[usize],
) -> Option<Error> {
    let (entry, value) = find(entries, |x| !x.is_finite())?;
    Some(Error::NotFinite { operation: operation.to_owned(), location, value, entry, shape: shape.into() })
}

/// The first number that `is` something, with its position. Integers are finite.
fn find(entries: Slice<'_>, is: impl Fn(f64) -> bool) -> Option<(usize, f64)> {
    match entries {
        Slice::F64(entries) => entries.iter().copied().enumerate().find(|&(_, x)| is(x)),
        Slice::F32(entries) => entries.iter().map(|&x| f64::from(x)).enumerate().find(|&(_, x)| is(x)),
        Slice::I32(_) | Slice::U8(_) => None,
    }
}
