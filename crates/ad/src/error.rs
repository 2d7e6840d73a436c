//! What can go wrong with data that comes from outside. (Misuse of the tape is a bug in the caller's code and panics.)

use std::panic::Location;

use crate::dtype::DType;
use crate::tensor::Shape;

/// Why a [`Program`](crate::Program) could not be run on the values it was given.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Fewer values than inputs.
    #[error("missing input: {missing} has no value; the program takes {expected} inputs and was given {given}")]
    MissingInput {
        /// The inputs without a value, by name.
        missing: String,
        /// How many the program takes.
        expected: usize,
        /// How many it was given.
        given: usize,
    },
    /// More values than inputs.
    #[error("too many values: the program takes {expected} inputs and was given {given}")]
    TooManyValues {
        /// How many the program takes.
        expected: usize,
        /// How many it was given.
        given: usize,
    },
    /// A value of another shape than the one recorded.
    #[error(
        "input `{input}` has shape {given:?}, but {expected:?} was recorded; a program replays fixed shapes, so record \
         and compile again for new ones"
    )]
    Shape {
        /// The input's name.
        input: String,
        /// The shape recorded.
        expected: Shape,
        /// The shape given.
        given: Shape,
    },
    /// Arrays to write results into that do not fit them.
    #[error(
        "the program has results of shapes {expected:?}, but was given arrays of shapes {given:?} to write them into"
    )]
    Results {
        /// The outputs' shapes.
        expected: Vec<Shape>,
        /// The arrays' shapes.
        given: Vec<Shape>,
    },
    /// A value of another type than the one recorded.
    #[error("input `{input}` has elements of type {given}, but {expected} was recorded")]
    Dtype {
        /// The input's name.
        input: String,
        /// The type recorded.
        expected: DType,
        /// The type given.
        given: DType,
    },
    /// Results asked for as another type than theirs.
    #[error(
        "result {result} of the program is {dtype}, but {asked} was asked for; ask for its own type, or cast the output"
    )]
    ResultDtype {
        /// The first such result.
        result: usize,
        /// Its type.
        dtype: DType,
        /// The type asked for.
        asked: DType,
    },
    /// An integer index that points outside the array it indexes.
    #[error(
        "{operation} at {location}: index {index} at position {position} is outside axis {axis}, which has length {length}"
    )]
    IndexOutOfRange {
        /// What the user's code called: `gather`, `pick`, `set` …
        operation: &'static str,
        /// Where the user's code recorded it.
        location: &'static Location<'static>,
        /// The offending index.
        index: i32,
        /// Its position in the (flattened) index array.
        position: usize,
        /// The axis of the table that it indexes.
        axis: usize,
        /// The axis' length.
        length: usize,
    },
    /// An integer that the numbers it is cast to have no equal of.
    #[error(
        "cast at {location}: the integer {integer} at position {position} is no {number}; compare integers with `equal`, \
         or compute in f64"
    )]
    Inexact {
        /// Where the user's code recorded it.
        location: &'static Location<'static>,
        /// The integer.
        integer: i32,
        /// Its position in the (flattened) index array.
        position: usize,
        /// The type that it was cast to.
        number: DType,
    },
    /// A linear system without a unique solution.
    #[error("solve at {location}: matrix {matrix} of the batch is singular")]
    Singular {
        /// Where the user's code recorded it.
        location: &'static Location<'static>,
        /// Which matrix of the batch.
        matrix: usize,
    },
    /// A matrix that is no L·Lᵀ.
    #[error(
        "cholesky at {location}: matrix {matrix} of the batch is not positive definite; if it should be, rounding has made \
         it so, and a small multiple of the identity added to it may help"
    )]
    NotPositiveDefinite {
        /// Where the user's code recorded it.
        location: &'static Location<'static>,
        /// Which matrix of the batch.
        matrix: usize,
    },
    /// A value asked of a Var that depends on the argument of a `vmap` or a tangent that has no number.
    #[error("the value depends on a placeholder made at {location}, which stands for an argument and has no number")]
    Placeholder {
        /// Where the placeholder was made.
        location: &'static Location<'static>,
    },
    /// See [`Program::check_finite`](crate::Program::check_finite).
    #[error(
        "the first number that is not finite is {value}, from {operation} at {location} (entry {entry} of shape {shape:?})"
    )]
    NotFinite {
        /// The operation that made it (or `input`, where it came from outside).
        operation: String,
        /// Where the user's code recorded it.
        location: &'static Location<'static>,
        /// NaN or an infinity.
        value: f64,
        /// The entry, flat.
        entry: usize,
        /// The shape of the operation's result.
        shape: Shape,
    },
}
