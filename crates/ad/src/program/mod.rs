//! Programs: what a tape's outputs need, in order, with a place in memory for each result. The only executor: a first
//! `value()` and a thousandth replay run the same way.
//!
//! Compilation drops what nobody asks for, merges equal nodes and removes identities ([`plan`]); a run calls each
//! operation's kernel on slices of a workspace that is kept from run to run.

use std::collections::HashMap;
use std::panic::Location;
use std::sync::{Arc, Mutex, OnceLock};

use ndarray::{ArrayD, ArrayViewMutD, CowArray, IxDyn};
use smallvec::SmallVec;

use crate::error::Error;
use crate::kernel::map::Repeat;
use crate::op::{Failure, Leaf, Op, Operand, Out, Slice};
use crate::real::Real;
use crate::tape::{Handle, Kind, NodeId, Tape, Var, with_graph};
use crate::tensor::{Shape, Value, size};

mod flatten;
mod fuse;
mod inspect;
mod ir;
mod lanes;
mod lower;
mod plan;
mod region;

pub use inspect::Cost;
use ir::Ir;
use region::{Region, RowOperand, Space};

/// A computation that can be run again and again, on other values of its inputs, from any thread.
///
/// ```
/// let tape = ad::Tape::<f64>::new();
/// let x = tape.input("x", &ndarray::arr1(&[1.0, 2.0]));
/// let loss = x.square().sum();
/// let step = tape.compile([x], [loss, loss.grad(x)]);
/// let results = step.run(&ad::values![ndarray::arr1(&[3.0, 4.0])])?;
/// assert_eq!(results[0].sum(), 25.0);
/// assert_eq!(results[1], ndarray::arr1(&[6.0, 8.0]).into_dyn());
/// # Ok::<(), ad::Error>(())
/// ```
#[derive(Debug)]
pub struct Program<T: Real = f64> {
    inputs: Vec<Input>,
    constants: Vec<Constant<T>>,
    /// As what single steps read arrays; many do so alike.
    forms: Vec<Form>,
    units: Vec<Unit<T>>,
    outputs: Vec<(Place, Shape)>,
    slots: Vec<Slot>,
    /// Workspaces not in use. A run takes one, or makes one, and puts it back.
    idle: Mutex<Vec<Workspace<T>>>,
    /// What was recorded, where it is not what runs.
    recorded: Option<Recorded<T>>,
}

/// Operations as they were recorded, and the program that does just them, once somebody has needed it.
#[derive(Debug)]
struct Recorded<T: Real> {
    ir: Ir<T>,
    program: OnceLock<Box<Program<T>>>,
}

/// A part of a workspace: what it holds, and the most entries it ever holds.
#[derive(Clone, Copy, Debug)]
struct Slot {
    kind: Kind,
    size: usize,
}

/// What a run needs to itself.
#[derive(Debug)]
struct Workspace<T> {
    slots: Vec<Buffer<T>>,
    /// For each region in turn, what its chunks need.
    regions: Vec<Space<T>>,
}

/// What runs in one go.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // Nearly all are the large one.
enum Unit<T: Real> {
    Step(Step<T>),
    Region(Region<T>),
}

/// An input that a run gives a value for.
#[derive(Clone, Debug)]
struct Input {
    name: Arc<str>,
    kind: Kind,
    shape: Shape,
    location: &'static Location<'static>,
}

/// An array that no run changes.
#[derive(Clone, Debug)]
struct Constant<T> {
    data: ConstantData<T>,
    shape: Shape,
    location: &'static Location<'static>,
}

#[derive(Clone, Debug)]
enum ConstantData<T> {
    Real(Arc<ArrayD<T>>),
    Index(Arc<ArrayD<i32>>),
}

/// One kernel call.
#[derive(Clone, Debug)]
struct Step<T: Real> {
    op: Op<T>,
    operands: SmallVec<[StepOperand; 3]>,
    slot: usize,
    kind: Kind,
    shape: Shape,
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

#[derive(Debug)]
enum Buffer<T> {
    Real(Vec<T>),
    Index(Vec<i32>),
}

/// The inputs' values during a run.
enum Given<'a, T: Real> {
    Real(CowArray<'a, T, IxDyn>),
    Index(CowArray<'a, i32, IxDyn>),
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

impl<T: Real> Tape<T> {
    /// A program that computes `outputs`, and takes values for `inputs`, in this order. Inputs that are not listed keep the
    /// values they were recorded with.
    ///
    /// Panics if one of `inputs` was not made by [`Tape::input`] or [`Tape::index`] or is listed twice, or an output depends
    /// on a placeholder.
    #[track_caller]
    pub fn compile<H: Into<Handle<T>>>(
        &self,
        inputs: impl IntoIterator<Item = H>,
        outputs: impl IntoIterator<Item = Var<T>>,
    ) -> Program<T> {
        self.compile_with(inputs, outputs, Lowering::On)
    }

    /// [`compile`](Self::compile), with lowering or without: to compare the two, or to read what was recorded.
    #[track_caller]
    pub fn compile_with<H: Into<Handle<T>>>(
        &self,
        inputs: impl IntoIterator<Item = H>,
        outputs: impl IntoIterator<Item = Var<T>>,
        lowering: Lowering,
    ) -> Program<T> {
        let inputs: Vec<Handle<T>> = inputs.into_iter().map(Into::into).collect();
        let outputs: Vec<Var<T>> = outputs.into_iter().collect();
        for handle in inputs.iter().copied().chain(outputs.iter().map(|&output| output.into())) {
            assert!(handle.tape() == self.id(), "compile: {handle:?} is of another tape");
        }
        let mut listed = HashMap::with_capacity(inputs.len());
        for (i, handle) in inputs.iter().enumerate() {
            expect_input(*handle);
            if let Some(first) = listed.insert(handle.node(), i) {
                panic!("compile: {handle:?} is listed twice, as inputs {first} and {i}: which value should it take?");
            }
        }
        match T::compile(self.id(), &inputs, &outputs, lowering) {
            Ok(program) => program,
            Err(problem) => panic!("compile: {problem}"),
        }
    }
}

#[track_caller]
fn expect_input<T: Real>(handle: Handle<T>) {
    let other = with_graph::<T, _>(handle.tape(), |graph| {
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

/// What [`Tape::compile`] does, called through `T::compile` alone.
#[track_caller]
pub(crate) fn compile<T: Real>(
    tape: u32,
    inputs: &[Handle<T>],
    outputs: &[Var<T>],
    lowering: Lowering,
) -> Result<Program<T>, Error> {
    let inputs: Vec<NodeId> = inputs.iter().map(|handle| handle.node()).collect();
    let outputs: Vec<NodeId> = outputs.iter().map(|output| output.node).collect();
    let ir = with_graph::<T, _>(tape, |graph| Ir::of(graph, &inputs, &outputs))?;
    Ok(match lowering.unless_turned_off() {
        Lowering::On => {
            let program = plan::plan(&plan::fused(lower::lower(&ir)), lowering);
            Program { recorded: Some(Recorded { ir, program: OnceLock::new() }), ..program }
        }
        Lowering::Off => plan::plan(&ir.merged(), lowering),
    })
}

/// The values of several Vars of one tape, computed together.
///
/// Panics where [`Program::run`] would return an error.
#[track_caller]
pub fn evaluate<T: Real>(vars: &[Var<T>]) -> Vec<ArrayD<T>> {
    let Some((first, rest)) = vars.split_first() else { return Vec::new() };
    first.check_same_tape_all("evaluate", rest);
    match T::compile(first.tape, &[], vars, Lowering::On).and_then(|program| program.run(&[])) {
        Ok(values) => values,
        Err(problem) => panic!("{problem}"),
    }
}

impl<T: Real> Var<T> {
    /// Its numbers: now it runs. Panics where [`Program::run`] would return an error.
    #[track_caller]
    pub fn value(self) -> ArrayD<T> {
        evaluate(&[self]).swap_remove(0)
    }

    /// The number of a scalar (or of an array of one entry).
    #[track_caller]
    pub fn item(self) -> T {
        let value = self.value();
        assert!(value.len() == 1, "item: shape {:?} has {} entries, not one", value.shape(), value.len());
        value.into_iter().next().expect("one entry")
    }
}

impl<T: Real> Recorded<T> {
    fn program(&self) -> &Program<T> {
        self.program.get_or_init(|| Box::new(plan::plan(&self.ir.merged(), Lowering::Off)))
    }
}

impl<T: Real> Program<T> {
    /// Runs it on values for its inputs, in the order they were listed in. [`values!`](crate::values) makes the list.
    ///
    /// # Errors
    /// A value that is missing, or of another shape or type than recorded; an index out of range; a singular system.
    pub fn run(&self, values: &[Value<'_>]) -> Result<Vec<ArrayD<T>>, Error> {
        self.execute(values, |program, given, buffers| {
            program.outputs.iter().map(|(place, shape)| program.output(*place, shape, given, buffers)).collect()
        })
    }

    /// Runs it and writes the results into arrays of the caller's, so that nothing is allocated, but by the first runs.
    ///
    /// ```
    /// let tape = ad::Tape::<f64>::new();
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
    /// Those of [`run`](Self::run), and [`Error::Results`] if `results` are not as many, or not of the shapes, of the
    /// outputs. Then nothing is written.
    pub fn run_into(&self, values: &[Value<'_>], results: &mut [ArrayViewMutD<'_, T>]) -> Result<(), Error> {
        let shapes = || self.outputs.iter().map(|(_, shape)| shape.as_slice());
        if !shapes().eq(results.iter().map(|result| result.shape())) {
            let given = results.iter().map(|result| result.shape().into()).collect();
            return Err(Error::Results { expected: shapes().map(Shape::from).collect(), given });
        }
        self.execute(values, |program, given, buffers| {
            for ((place, shape), result) in program.outputs.iter().zip(results.iter_mut()) {
                let entries = program.entries(*place, shape, given, buffers);
                match result.as_slice_mut() {
                    Some(result) => result.copy_from_slice(entries),
                    None => result.iter_mut().zip(entries).for_each(|(result, &entry)| *result = entry),
                }
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
        let left_range = matches!(self.try_execute(values, |_, _, _| Ok(()), |_, _| ()), Err(Stop::LeftRange));
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
            if let Some(array) = T::borrow(value) {
                let operation = format!("input `{}`", input.name);
                not_finite(&operation, input.location, array, &input.shape).map_or(Ok(()), Err)?;
            }
        }
        // Where the infinities came from that lie in a slot now.
        let mut origins: Vec<Option<Error>> = vec![None; self.slots.len()];
        let origin = |place: Place, origins: &[Option<Error>]| match place {
            Place::Input(_) => None,
            Place::Constant(i) => match &self.constants[i] {
                Constant { data: ConstantData::Real(data), shape, location } => {
                    not_finite("constant", location, data.iter(), shape)
                }
                _ => None,
            },
            Place::Slot(slot) => origins[slot].clone(),
        };
        let check = |step: &Step<T>, operands: &[Operand<'_, T>], out: &Buffer<T>| {
            let Buffer::Real(out) = out else { return Ok(()) };
            let out = &out[..size(&step.shape)];
            let is_infinite = |operand: &Operand<'_, T>| match operand.data {
                Slice::Real(data) => data.iter().any(|x| x.is_infinite()),
                Slice::Index(_) => false,
            };
            let brought = operands.iter().position(is_infinite).filter(|_| out.iter().all(|x| !x.is_nan()));
            origins[step.slot] = match (not_finite(step.op.rules().name(), step.location, out, &step.shape), brought) {
                (Some(_), Some(operand)) => origin(step.operands[operand].place, &origins),
                (Some(made), None) => return Err(made),
                (None, _) => None,
            };
            Ok(())
        };
        let infinite: Vec<Place> = self.try_execute(values, check, |given, slots| {
            let is_infinite = |(place, shape): &&(Place, Shape)| {
                self.entries(*place, shape, given, slots).iter().any(|x| !x.is_finite())
            };
            self.outputs.iter().filter(is_infinite).map(|(place, _)| *place).collect()
        })?;
        Ok(infinite.into_iter().find_map(|place| origin(place, &origins)).map_or(Ok(()), Err)?)
    }

    /// Runs it; as recorded, if what lowering has made of that leaves the range of numbers.
    fn execute<R>(
        &self,
        values: &[Value<'_>],
        mut finish: impl FnMut(&Self, &[Given<'_, T>], &[Buffer<T>]) -> R,
    ) -> Result<R, Error> {
        let outcome = self.try_execute(values, |_, _, _| Ok(()), |given, slots| finish(self, given, slots));
        match (outcome, &self.recorded) {
            (Err(Stop::LeftRange), Some(recorded)) => recorded.program().execute(values, finish),
            (outcome, _) => outcome.map_err(Stop::error),
        }
    }

    fn try_execute<R>(
        &self,
        values: &[Value<'_>],
        mut after: impl FnMut(&Step<T>, &[Operand<'_, T>], &Buffer<T>) -> Result<(), Error>,
        finish: impl FnOnce(&[Given<'_, T>], &[Buffer<T>]) -> R,
    ) -> Result<R, Stop> {
        let given = self.accept(values)?;
        let idle = self.idle.lock().expect("no run panics while it holds the lock").pop();
        let mut workspace = idle.unwrap_or_else(|| self.workspace());
        let outcome = self.run_units(&given, &mut workspace, &mut after);
        let result = outcome.map(|()| finish(&given, &workspace.slots));
        self.idle.lock().expect("no run panics while it holds the lock").push(workspace);
        result
    }

    fn workspace(&self) -> Workspace<T> {
        let regions = self.units.iter().filter_map(|unit| match unit {
            Unit::Step(_) => None,
            Unit::Region(region) => Some(region.space()),
        });
        Workspace {
            slots: self.slots.iter().map(|slot| Buffer::new(slot.kind, slot.size)).collect(),
            regions: regions.collect(),
        }
    }

    fn run_units(
        &self,
        given: &[Given<'_, T>],
        Workspace { slots, regions }: &mut Workspace<T>,
        after: &mut impl FnMut(&Step<T>, &[Operand<'_, T>], &Buffer<T>) -> Result<(), Error>,
    ) -> Result<(), Stop> {
        let mut regions = regions.iter_mut();
        for unit in &self.units {
            match unit {
                Unit::Step(step) => {
                    let mut out = std::mem::take(&mut slots[step.slot]);
                    let operands: SmallVec<[Operand<'_, T>; 8]> = (step.operands.iter())
                        .map(|operand| {
                            let Form { size, shape, repeat } = &self.forms[operand.form];
                            let data = self.read(operand.place, given, slots).range(0..*size);
                            Operand { data, shape, repeat: *repeat }
                        })
                        .collect();
                    let outcome = (step.op.rules())
                        .forward(&operands, &step.shape, out.entries(size(&step.shape)))
                        .map_err(|failure| Stop::at(failure, step.location))
                        .and_then(|()| Ok(after(step, &operands, &out)?));
                    drop(operands);
                    slots[step.slot] = out;
                    outcome?;
                }
                Unit::Region(region) => {
                    let mut made: SmallVec<[Buffer<T>; 8]> =
                        region.results.iter().map(|result| std::mem::take(&mut slots[result.slot])).collect();
                    let mut results: SmallVec<[&mut Buffer<T>; 8]> = made.iter_mut().collect();
                    let space = regions.next().expect("a workspace has room for each region");
                    let outcome = region.run(&|place| self.read(place, given, slots), &mut results, space);
                    drop(results);
                    region.results.iter().zip(made).for_each(|(result, made)| slots[result.slot] = made);
                    outcome.map_err(|fault| Stop::at(fault.failure, region.steps[fault.step].location))?;
                }
            }
        }
        Ok(())
    }

    /// Checks the values against the inputs, and lays them out row-major.
    fn accept<'a>(&self, values: &'a [Value<'_>]) -> Result<SmallVec<[Given<'a, T>; 32]>, Error> {
        let (expected, given) = (self.inputs.len(), values.len());
        if given < expected {
            let missing = self.inputs[given..].iter().map(|input| format!("`{}`", input.name)).collect::<Vec<_>>();
            return Err(Error::MissingInput { missing: missing.join(", "), expected, given });
        }
        if given > expected {
            return Err(Error::TooManyValues { expected, given });
        }
        let accept = |(input, value): (&Input, &'a Value<'_>)| {
            let dtype = match input.kind {
                Kind::Real => T::NAME,
                Kind::Index => "i32",
            };
            if value.dtype() != dtype {
                return Err(Error::Dtype { input: input.name.to_string(), expected: dtype, given: value.dtype() });
            }
            if value.shape() != input.shape.as_slice() {
                let (expected, given) = (input.shape.clone(), value.shape().into());
                return Err(Error::Shape { input: input.name.to_string(), expected, given });
            }
            Ok(match value {
                Value::Index(array) => Given::Index(row_major(array)),
                Value::F64(_) | Value::F32(_) => {
                    let array = T::borrow(value).expect("its type has just been checked");
                    Given::Real(row_major(array))
                }
            })
        };
        self.inputs.iter().zip(values).map(accept).collect()
    }

    /// All entries of what lies there.
    fn read<'a>(&'a self, place: Place, given: &'a [Given<'_, T>], slots: &'a [Buffer<T>]) -> Slice<'a, T> {
        let dense = "arrays are laid out row-major";
        match place {
            Place::Input(i) => match &given[i] {
                Given::Real(array) => Slice::Real(array.as_slice().expect(dense)),
                Given::Index(array) => Slice::Index(array.as_slice().expect(dense)),
            },
            Place::Constant(i) => match &self.constants[i].data {
                ConstantData::Real(array) => Slice::Real(array.as_slice().expect(dense)),
                ConstantData::Index(array) => Slice::Index(array.as_slice().expect(dense)),
            },
            Place::Slot(slot) => slots[slot].slice(0..slots[slot].len()),
        }
    }

    fn entries<'a>(
        &'a self,
        place: Place,
        shape: &Shape,
        given: &'a [Given<'_, T>],
        slots: &'a [Buffer<T>],
    ) -> &'a [T] {
        let Slice::Real(entries) = self.read(place, given, slots).range(0..size(shape)) else {
            unreachable!("outputs are Vars")
        };
        entries
    }

    fn output(&self, place: Place, shape: &Shape, given: &[Given<'_, T>], slots: &[Buffer<T>]) -> ArrayD<T> {
        let entries = self.entries(place, shape, given, slots).to_vec();
        ArrayD::from_shape_vec(shape.as_slice(), entries).expect("as many entries as the shape has")
    }
}

fn row_major<'a, E: Clone>(array: &'a CowArray<'_, E, IxDyn>) -> CowArray<'a, E, IxDyn> {
    array.as_standard_layout()
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Buffer::Real(Vec::new())
    }
}

impl<T: Real> Buffer<T> {
    fn new(kind: Kind, size: usize) -> Self {
        match kind {
            Kind::Real => Buffer::Real(vec![T::zero(); size]),
            Kind::Index => Buffer::Index(vec![0; size]),
        }
    }

    fn len(&self) -> usize {
        match self {
            Buffer::Real(entries) => entries.len(),
            Buffer::Index(entries) => entries.len(),
        }
    }

    fn entries(&mut self, size: usize) -> Out<'_, T> {
        match self {
            Buffer::Real(entries) => Out::Real(&mut entries[..size]),
            Buffer::Index(entries) => Out::Index(&mut entries[..size]),
        }
    }

    fn slice(&self, range: std::ops::Range<usize>) -> Slice<'_, T> {
        match self {
            Buffer::Real(entries) => Slice::Real(&entries[range]),
            Buffer::Index(entries) => Slice::Index(&entries[range]),
        }
    }
}

impl<T: Real> Unit<T> {
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
fn not_finite<'a, T: Real>(
    operation: &str,
    location: &'static Location<'static>,
    entries: impl IntoIterator<Item = &'a T>,
    shape: &Shape,
) -> Option<Error> {
    let (entry, value) = entries.into_iter().enumerate().find(|(_, x)| !x.is_finite())?;
    let (operation, value, shape) = (operation.to_owned(), value.as_f64(), shape.clone());
    Some(Error::NotFinite { operation, location, value, entry, shape })
}
