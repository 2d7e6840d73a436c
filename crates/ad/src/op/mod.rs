//! The operations. Each family is a file in which its operations' types, shape rule, derivative, batching rule and kernel
//! stand together; this file lists the families and the questions that every operation answers.
//!
//! To add an operation to a family, add it in the family's file. To add a family, add its file and a line to `families!`.

use std::fmt::Debug;
use std::panic::Location;

use smallvec::SmallVec;

use crate::dtype::DType;
use crate::kernel::functions::Number;
use crate::kernel::map::{Repeat, View};
use crate::tape::{Index, NodeId, Operands, Var, record};
use crate::tensor::{Element, Shape, Slice, SliceMut, size};

pub mod bands;
pub mod barrier;
pub mod batch;
pub mod cast;
pub mod checked;
pub mod custom;
pub mod einsum;
pub mod elementwise;
pub mod fold;
pub mod fused;
pub mod indexing;
pub mod leaf;
pub mod linalg;
pub mod movement;
pub mod order;
pub mod parts;
pub mod patches;
pub mod reduce;
pub mod scan;
pub mod softmax;
pub mod triangular;

pub use batch::BatchedCall;
pub use leaf::{Data, Leaf};

/// The families, each once: a variant of [`Op`] and the type whose [`Rules`] answer for it.
macro_rules! families {
    ($($family:ident($type:ty)),* $(,)?) => {
        /// An operation and its parameters. Equal values compute equal results from equal operands.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Op { $($family($type)),* }

        impl Op {
            /// The operation's answers.
            pub fn rules(&self) -> &dyn Rules {
                match self { $(Op::$family(op) => op),* }
            }
        }
    };
}

families! {
    Leaf(Leaf),
    Cast(cast::Cast),
    Elementwise(elementwise::Elementwise),
    Fused(fused::Fused),
    Checked(checked::Checked),
    Movement(movement::Movement),
    Bands(bands::Bands),
    Patches(patches::Patches),
    Reduce(reduce::Reduce),
    Indexing(indexing::Indexing),
    Order(order::Order),
    MatMul(linalg::MatMul),
    Solve(linalg::Solve),
    Factor(linalg::Factor),
    LnAbsDeterminant(linalg::LnAbsDeterminant),
    Cholesky(triangular::Cholesky),
    SolveTriangular(triangular::SolveTriangular),
    Scan(scan::Scan),
    Softmax(softmax::Softmax),
    Barrier(barrier::Barrier),
    Custom(custom::Custom),
    Fold(fold::Fold),
}

impl Op {
    /// As what can be computed without arrays, if it can.
    pub fn entrywise(&self) -> Option<Entrywise> {
        match *self {
            Op::Elementwise(op) => Some(Entrywise::Elementwise(op)),
            Op::Fused(op) => Some(Entrywise::Fused(op)),
            _ => None,
        }
    }
}

/// Arithmetic entry by entry, of at most [`MOST_OPERANDS`] operands of one floating-point type.
#[derive(Clone, Copy, Debug)]
pub enum Entrywise {
    Elementwise(elementwise::Elementwise),
    Fused(fused::Fused),
}

/// Those of a sum of two products, [fused](fused::Fused::Both).
pub const MOST_OPERANDS: usize = 4;

impl Entrywise {
    /// An entry of the result, of an entry of each operand: the same as by [`forward`](Rules::forward), without arrays of one.
    #[inline]
    pub fn entry<T: Number>(self, operands: &[T; MOST_OPERANDS]) -> T {
        let operand = |i: usize| View { numbers: std::slice::from_ref(&operands[i]), repeat: None };
        let mut entry = [T::zero()];
        match self {
            Entrywise::Elementwise(op) => op.compute(operand, &mut entry),
            Entrywise::Fused(op) => op.compute(operand, &mut entry),
        }
        entry[0]
    }
}

/// The questions asked of an operation.
pub trait Rules {
    /// What is it called, in messages and in printed programs?
    fn name(&self) -> &str;

    /// What are its parameters, for printing?
    fn parameters(&self) -> String {
        String::new()
    }

    /// Of what type is its result, given those of the operands? The error says what is wrong with them. By default, numbers
    /// of one floating-point type make numbers of that type.
    fn dtype(&self, operands: &[DType]) -> Result<DType, String> {
        floats(operands)
    }

    /// What shape has its result? The error says what is wrong with the operands.
    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String>;

    /// Does a derivative flow to this operand at all? (Not through a comparison or a stop-gradient.)
    fn differentiable(&self, _operand: usize) -> bool {
        true
    }

    /// What is the cotangent of each operand that needs one, given that of the result? Written in tape operations, and
    /// linear in the cotangent, so that derivatives of every order and in both modes follow.
    #[track_caller]
    fn vjp(&self, call: &Call, cotangent: Var) -> Cotangents;

    /// What is the same operation on operands that all have a new leading axis?
    fn with_leading_axis(&self, size: usize) -> Op;

    /// How is it done when some operands have a new leading axis of length `size` and others do not? By default, all get one,
    /// and it is the operation [with a leading axis](Self::with_leading_axis).
    #[track_caller]
    fn batching_rule(&self, call: &BatchedCall) -> NodeId {
        let mut operands = Operands::new();
        for operand in 0..call.operands.len() {
            operands.push(call.batched_operand(operand).node());
        }
        record(call.tape, self.with_leading_axis(call.size), &operands)
    }

    /// How does it treat rows, that is, the entries of arrays along their leading axis? `None` if it mixes them.
    fn rows(&self, _operands: &[&[usize]]) -> Option<Rows> {
        None
    }

    /// What is the same operation on a block of that many rows, where its parameters know the number? `None` if they do not.
    fn on_rows(&self, _rows: usize) -> Option<Op> {
        None
    }

    /// Can it read this operand with its numbers repeated, so that a broadcast need not be written out?
    fn takes_repeated(&self, _operand: usize, _repeat: Repeat, _shape: &[usize]) -> bool {
        false
    }

    /// What are its numbers?
    fn forward(&self, operands: &[Operand<'_>], shape: &[usize], out: SliceMut<'_>) -> Result<(), Failure>;

    /// Adds its numbers to `sum`, if it is one that sums over rows. `part` is room for as many. (Sums over blocks are taken in
    /// double precision, whatever is summed.)
    fn accumulate(
        &self,
        operands: &[Operand<'_>],
        shape: &[usize],
        sum: &mut [f64],
        mut part: SliceMut<'_>,
    ) -> Result<(), Failure> {
        self.forward(operands, shape, part.reborrow())?;
        crate::kernel::cast::add(part.as_slice(), sum);
        Ok(())
    }

    /// How many entries of this operand does it read? By default, all.
    fn reads(&self, operand: usize, operands: &[&[usize]], _shape: &[usize]) -> usize {
        size(operands[operand])
    }

    /// How many floating-point operations is that? (A transcendental function counts as one.)
    fn flops(&self, _operands: &[&[usize]], _shape: &[usize]) -> usize {
        0
    }
}

/// The type that all operands have, if it is one: arrays of any.
pub(crate) fn alike(operands: &[DType]) -> Result<DType, String> {
    let (&first, rest) = operands.split_first().ok_or("needs an operand")?;
    match rest.iter().find(|&&other| other != first) {
        Some(other) => Err(format!("operands of types {first} and {other}; `cast` one of them")),
        None => Ok(first),
    }
}

/// The floating-point type that all operands have.
pub(crate) fn floats(operands: &[DType]) -> Result<DType, String> {
    match alike(operands)? {
        dtype if dtype.is_float() => Ok(dtype),
        other => Err(format!("needs floating-point numbers, got {other}; `cast` it first")),
    }
}

/// An operation that does the same to every row, or sums over rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Of each operand, whether it is taken by row, or whole for every row.
    pub by_row: SmallVec<[bool; 3]>,
    /// Whether the result is summed over rows, or has a row for each.
    pub summed: bool,
}

impl Rows {
    /// All operands are taken by row, and the result has a row for each, if the operands have rows at all.
    pub fn alike(operands: &[&[usize]]) -> Option<Self> {
        let all = operands.iter().all(|shape| !shape.is_empty());
        all.then(|| Self { by_row: smallvec::smallvec![true; operands.len()], summed: false })
    }
}

/// The cotangents of an operation's operands, `None` where none is needed or none flows.
pub type Cotangents = SmallVec<[Option<Var>; 3]>;

/// An operation as a derivative rule sees it: its operands and its result on the tape.
pub struct Call {
    pub tape: u32,
    pub operands: Operands,
    pub output: NodeId,
    /// Which operands need a cotangent.
    pub needed: SmallVec<[bool; 3]>,
}

impl Call {
    #[track_caller]
    pub fn var(&self, operand: usize) -> Var {
        Var::recorded(self.tape, self.operands[operand])
    }

    #[track_caller]
    pub fn index(&self, operand: usize) -> Index {
        Index::recorded(self.tape, self.operands[operand])
    }

    #[track_caller]
    pub fn output(&self) -> Var {
        Var::recorded(self.tape, self.output)
    }

    /// The list of one operand's cotangent.
    pub fn one(&self, cotangent: impl FnOnce() -> Var) -> Cotangents {
        smallvec::smallvec![self.needed[0].then(cotangent)]
    }

    /// The list of two operands' cotangents, each only recorded if needed.
    pub fn two(&self, first: impl FnOnce() -> Var, second: impl FnOnce() -> Var) -> Cotangents {
        smallvec::smallvec![self.needed[0].then(first), self.needed[1].then(second)]
    }
}

/// A kernel's operand.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    pub data: Slice<'a>,
    pub shape: &'a [usize],
    /// How `data` stands for entries of `shape`, if it has fewer. Only for operands that [take](Rules::takes_repeated) it.
    pub repeat: Option<Repeat>,
}

impl<'a> Operand<'a> {
    /// Of no entries: what is not there.
    pub const NONE: Self = Self { data: Slice::F64(&[]), shape: &[], repeat: None };

    pub fn numbers<E: Element>(&self) -> &'a [E] {
        self.data.of()
    }

    pub fn view<E: Element>(&self) -> View<'a, E> {
        View { numbers: self.numbers(), repeat: self.repeat }
    }
}

/// Why a kernel has no result: what it found wrong with its operands' values, or, of [`checked`] ones, with its own.
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// As what the user wrote, and where.
    IndexOutOfRange {
        operation: &'static str,
        location: &'static Location<'static>,
        index: i32,
        position: usize,
        axis: usize,
        length: usize,
    },
    Inexact {
        integer: i32,
        position: usize,
        number: DType,
    },
    Singular {
        matrix: usize,
    },
    NotPositiveDefinite {
        matrix: usize,
    },
    LeftRange,
}

/// Records an operation on a Var's tape.
#[track_caller]
pub(crate) fn apply(tape: u32, op: Op, operands: &[NodeId]) -> Var {
    Var::recorded(tape, record(tape, op, operands))
}

impl Var {
    /// Panics unless it is of floating-point numbers: where no operation is recorded that would.
    #[track_caller]
    pub(crate) fn check_float(self, operation: &str) {
        if let Err(problem) = floats(&[self.dtype()]) {
            panic!("{operation}: {problem}\n  operand made at {}", self.location());
        }
    }

    /// Runs the kernel of the operation that made this Var on other numbers, without a program around it. Indices stay
    /// what they were recorded with. For the tests and the benchmarks of kernels.
    #[doc(hidden)]
    pub fn run_kernel<E: Element>(self, operands: &[&[E]], out: &mut [E]) {
        let (op, ids) = self.with_node(|node| (node.op.clone(), node.operands.clone()));
        let handles = ids.iter().map(|&id| Var::recorded(self.tape, id));
        let recorded: SmallVec<[_; 3]> =
            handles.map(|var| var.with_node(|node| (node.op.clone(), node.shape.clone()))).collect();
        let numbers = |i: usize| E::as_slice(operands[i]);
        let operands: SmallVec<[Operand<'_>; 3]> = recorded
            .iter()
            .enumerate()
            .map(|(i, (op, shape))| Operand {
                data: match op {
                    Op::Leaf(Leaf::Input { value, .. }) if value.value().dtype() == DType::I32 => {
                        value.value().entries()
                    }
                    _ => numbers(i),
                },
                shape,
                repeat: None,
            })
            .collect();
        let done = op.rules().forward(&operands, &self.shape(), E::as_slice_mut(out));
        assert!(done.is_ok(), "{}: {done:?}", op.rules().name());
    }
}
