//! Programs: what a tape's outputs need, in order, with a place in memory for each result. The only executor: a first
//! `value()` and a thousandth replay run the same way.
//!
//! Compilation drops what nobody asks for, merges equal nodes and removes identities ([`plan`]); a run calls each
//! operation's kernel on slices of a workspace that is kept from run to run.

use std::panic::Location;
use std::sync::{Arc, Mutex};

use ndarray::{ArrayD, CowArray, IxDyn};
use smallvec::SmallVec;

use crate::error::Error;
use crate::op::{Failure, Op, Operand, Out, Slice};
use crate::real::Real;
use crate::tape::{Handle, Kind, Tape, Var};
use crate::tensor::{Shape, Value, size};

mod inspect;
mod plan;

pub use inspect::Cost;

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
    steps: Vec<Step<T>>,
    outputs: Vec<(Place, Shape)>,
    /// For each slot of a workspace, what it holds and the most entries it ever holds.
    slots: Vec<(Kind, usize)>,
    /// Workspaces not in use. A run takes one, or makes one, and puts it back.
    idle: Mutex<Vec<Vec<Buffer<T>>>>,
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
    operands: SmallVec<[(Place, Shape); 3]>,
    slot: usize,
    kind: Kind,
    shape: Shape,
    location: &'static Location<'static>,
}

/// Where an array lies during a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Input(usize),
    Constant(usize),
    /// The result of this step.
    Step(usize),
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

impl<T: Real> Tape<T> {
    /// A program that computes `outputs`, and takes values for `inputs`, in this order. Inputs that are not listed keep the
    /// values they were recorded with.
    ///
    /// Panics if one of `inputs` was not made by [`Tape::input`] or [`Tape::index`], or an output depends on a placeholder.
    #[track_caller]
    pub fn compile<H: Into<Handle<T>>>(
        &self,
        inputs: impl IntoIterator<Item = H>,
        outputs: impl IntoIterator<Item = Var<T>>,
    ) -> Program<T> {
        let inputs: Vec<Handle<T>> = inputs.into_iter().map(Into::into).collect();
        let outputs: Vec<Var<T>> = outputs.into_iter().collect();
        for handle in inputs.iter().copied().chain(outputs.iter().map(|&output| output.into())) {
            assert!(handle.tape() == self.id(), "compile: {handle:?} is of another tape");
        }
        for &input in &inputs {
            plan::expect_input(input);
        }
        match plan::compile(self.id(), &inputs, &outputs) {
            Ok(program) => program,
            Err(problem) => panic!("compile: {problem}"),
        }
    }
}

/// The values of several Vars of one tape, computed together.
///
/// Panics where [`Program::run`] would return an error.
#[track_caller]
pub fn evaluate<T: Real>(vars: &[Var<T>]) -> Vec<ArrayD<T>> {
    let Some((first, rest)) = vars.split_first() else { return Vec::new() };
    first.check_same_tape_all("evaluate", rest);
    match plan::compile(first.tape, &[], vars).and_then(|program| program.run(&[])) {
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

impl<T: Real> Program<T> {
    /// Runs it on values for its inputs, in the order they were listed in. [`values!`](crate::values) makes the list.
    ///
    /// # Errors
    /// A value that is missing, or of another shape or type than recorded; an index out of range; a singular system.
    pub fn run(&self, values: &[Value<'_>]) -> Result<Vec<ArrayD<T>>, Error> {
        self.execute(
            values,
            |_, _, _| Ok(()),
            |given, buffers| {
                self.outputs.iter().map(|(place, shape)| self.read(*place, shape, given, buffers)).collect()
            },
        )
    }

    /// Runs it and tells where the first number that is not finite came from: an input; or an operation, and where in the
    /// user's code that was recorded. `Ok` if there is none, or only infinities that constants brought in (as masks do).
    ///
    /// # Errors
    /// [`Error::NotFinite`], and those of [`run`](Self::run).
    pub fn check_finite(&self, values: &[Value<'_>]) -> Result<(), Error> {
        let not_finite = |operation: &str, location, entries: &[T], shape: &Shape| {
            entries.iter().position(|x| !x.is_finite()).map_or(Ok(()), |entry| {
                let (operation, shape, value) = (operation.to_owned(), shape.clone(), entries[entry].as_f64());
                Err(Error::NotFinite { operation, location, value, entry, shape })
            })
        };
        for (input, value) in self.inputs.iter().zip(values) {
            if let Some(array) = T::borrow(value) {
                let entries: Vec<T> = array.iter().copied().collect();
                not_finite(&format!("input `{}`", input.name), input.location, &entries, &input.shape)?;
            }
        }
        let check = |step: &Step<T>, operands: &[Operand<'_, T>], out: &Buffer<T>| {
            let Buffer::Real(out) = out else { return Ok(()) };
            let out = &out[..size(&step.shape)];
            let infinite = |operand: &Operand<'_, T>| match operand.data {
                Slice::Real(data) => data.iter().any(|x| x.is_infinite()),
                Slice::Index(_) => false,
            };
            if out.iter().all(|x| !x.is_nan()) && operands.iter().any(infinite) {
                return Ok(());
            }
            not_finite(step.op.rules().name(), step.location, out, &step.shape)
        };
        self.execute(values, check, |_, _| ())
    }

    fn execute<R>(
        &self,
        values: &[Value<'_>],
        mut after: impl FnMut(&Step<T>, &[Operand<'_, T>], &Buffer<T>) -> Result<(), Error>,
        finish: impl FnOnce(&[Given<'_, T>], &[Buffer<T>]) -> R,
    ) -> Result<R, Error> {
        let given = self.accept(values)?;
        let idle = self.idle.lock().expect("no run panics while it holds the lock").pop();
        let mut buffers = idle.unwrap_or_else(|| self.slots.iter().map(Buffer::new).collect());
        let mut outcome = Ok(());
        for step in &self.steps {
            let mut out = std::mem::replace(&mut buffers[step.slot], Buffer::Real(Vec::new()));
            let operands: SmallVec<[Operand<'_, T>; 3]> =
                step.operands.iter().map(|(place, shape)| self.operand(*place, shape, &given, &buffers)).collect();
            outcome = step
                .op
                .rules()
                .forward(&operands, &step.shape, out.entries(size(&step.shape)))
                .map_err(|failure| step.error(failure))
                .and_then(|()| after(step, &operands, &out));
            drop(operands);
            buffers[step.slot] = out;
            if outcome.is_err() {
                break;
            }
        }
        let result = outcome.map(|()| finish(&given, &buffers));
        self.idle.lock().expect("no run panics while it holds the lock").push(buffers);
        result
    }

    /// Checks the values against the inputs, and lays them out row-major.
    fn accept<'a>(&self, values: &'a [Value<'_>]) -> Result<Vec<Given<'a, T>>, Error> {
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

    fn operand<'a>(
        &'a self,
        place: Place,
        shape: &'a Shape,
        given: &'a [Given<'_, T>],
        buffers: &'a [Buffer<T>],
    ) -> Operand<'a, T> {
        let dense = "arrays are laid out row-major";
        let data = match place {
            Place::Input(i) => match &given[i] {
                Given::Real(array) => Slice::Real(array.as_slice().expect(dense)),
                Given::Index(array) => Slice::Index(array.as_slice().expect(dense)),
            },
            Place::Constant(i) => match &self.constants[i].data {
                ConstantData::Real(array) => Slice::Real(array.as_slice().expect(dense)),
                ConstantData::Index(array) => Slice::Index(array.as_slice().expect(dense)),
            },
            Place::Step(step) => match &buffers[self.steps[step].slot] {
                Buffer::Real(entries) => Slice::Real(&entries[..size(shape)]),
                Buffer::Index(entries) => Slice::Index(&entries[..size(shape)]),
            },
        };
        Operand { data, shape }
    }

    fn read(&self, place: Place, shape: &Shape, given: &[Given<'_, T>], buffers: &[Buffer<T>]) -> ArrayD<T> {
        let entries = self.operand(place, shape, given, buffers).real().to_vec();
        ArrayD::from_shape_vec(shape.as_slice(), entries).expect("as many entries as the shape has")
    }
}

fn row_major<'a, E: Clone>(array: &'a CowArray<'_, E, IxDyn>) -> CowArray<'a, E, IxDyn> {
    array.as_standard_layout()
}

impl<T: Real> Buffer<T> {
    fn new(&(kind, size): &(Kind, usize)) -> Self {
        match kind {
            Kind::Real => Buffer::Real(vec![T::zero(); size]),
            Kind::Index => Buffer::Index(vec![0; size]),
        }
    }

    fn entries(&mut self, size: usize) -> Out<'_, T> {
        match self {
            Buffer::Real(entries) => Out::Real(&mut entries[..size]),
            Buffer::Index(entries) => Out::Index(&mut entries[..size]),
        }
    }
}

impl<T: Real> Step<T> {
    fn error(&self, failure: Failure) -> Error {
        let location = self.location;
        match failure {
            Failure::IndexOutOfRange { index, position, length } => {
                let operation = if self.op.rules().name() == "gather" { "gather" } else { "scatter_add" };
                Error::IndexOutOfRange { operation, location, index, position, length }
            }
            Failure::Singular { matrix } => Error::Singular { location, matrix },
        }
    }
}
