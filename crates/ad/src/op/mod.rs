//! The operations. Each family is a file in which its operations' shape rule, derivative, batching rule and kernel stand
//! together; this file lists the families and the questions that every operation answers.
//!
//! To add an operation to a family, add it in the family's file. To add a family, add its file, one variant to [`Op`] and
//! one line to `rules_for`.

use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::panic::Location;

use smallvec::SmallVec;

use crate::kernel::map::{Repeat, View};
use crate::real::Real;
use crate::tape::{Handle, Index, Kind, NodeId, Operands, Var, record};
use crate::tensor::Shape;

pub mod barrier;
pub mod checked;
pub mod custom;
pub mod elementwise;
pub mod fused;
pub mod indexing;
pub mod leaf;
pub mod linalg;
pub mod movement;
pub mod reduce;
pub mod scan;
pub mod softmax;

pub use leaf::{Data, Leaf};

/// An operation and its parameters. Equal values compute equal results from equal operands.
#[derive(Clone, Debug, PartialEq)]
pub enum Op<T: Real> {
    Leaf(Leaf<T>),
    Elementwise(elementwise::Elementwise),
    Fused(fused::Fused),
    Checked(checked::Checked),
    Movement(movement::Movement),
    Reduce(reduce::Reduce),
    Indexing(indexing::Indexing),
    MatMul(linalg::MatMul),
    Solve(linalg::Solve),
    Factor(linalg::Factor),
    Scan(scan::Scan),
    Softmax(softmax::Softmax),
    Barrier(barrier::Barrier),
    Custom(custom::Custom<T>),
}

impl<T: Real> Eq for Op<T> {}

impl<T: Real> Hash for Op<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Op::Leaf(op) => op.hash(state),
            Op::Elementwise(op) => op.hash(state),
            Op::Fused(op) => op.hash(state),
            Op::Checked(op) => op.hash(state),
            Op::Movement(op) => op.hash(state),
            Op::Reduce(op) => op.hash(state),
            Op::Indexing(op) => op.hash(state),
            Op::MatMul(op) => op.hash(state),
            Op::Solve(op) => op.hash(state),
            Op::Factor(op) => op.hash(state),
            Op::Scan(op) => op.hash(state),
            Op::Softmax(op) => op.hash(state),
            Op::Barrier(op) => op.hash(state),
            Op::Custom(op) => op.hash(state),
        }
    }
}

impl<T: Real> Op<T> {
    /// The operation's answers.
    pub fn rules(&self) -> &dyn Rules<T> {
        T::rules(self)
    }
}

/// [`Op::rules`] for one type of numbers.
macro_rules! rules_for {
    ($number:ty, $op:expr) => {
        match $op {
            $crate::op::Op::Leaf(op) => op as &dyn $crate::op::Rules<$number>,
            $crate::op::Op::Elementwise(op) => op,
            $crate::op::Op::Fused(op) => op,
            $crate::op::Op::Checked(op) => op,
            $crate::op::Op::Movement(op) => op,
            $crate::op::Op::Reduce(op) => op,
            $crate::op::Op::Indexing(op) => op,
            $crate::op::Op::MatMul(op) => op,
            $crate::op::Op::Solve(op) => op,
            $crate::op::Op::Factor(op) => op,
            $crate::op::Op::Scan(op) => op,
            $crate::op::Op::Softmax(op) => op,
            $crate::op::Op::Barrier(op) => op,
            $crate::op::Op::Custom(op) => op,
        }
    };
}
pub(crate) use rules_for;

/// The questions asked of an operation.
pub trait Rules<T: Real> {
    /// What is it called, in messages and in printed programs?
    fn name(&self) -> &str;

    /// What are its parameters, for printing?
    fn parameters(&self) -> String {
        String::new()
    }

    /// What are the entries of its result, given those of its first operand?
    fn kind(&self, _first: Kind) -> Kind {
        Kind::Real
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
    fn vjp(&self, call: &Call<T>, cotangent: Var<T>) -> Cotangents<T>;

    /// What is the same operation on operands that all have a new leading axis?
    fn batched(&self, size: usize) -> Op<T>;

    /// How is it done when some operands have a new leading axis of length `size` and others do not? The default gives
    /// one to all.
    #[track_caller]
    fn batch(&self, batch: &Batch<T>) -> NodeId {
        let mut operands = Operands::new();
        for operand in 0..batch.operands.len() {
            operands.push(batch.batched(operand).node());
        }
        record(batch.tape, self.batched(batch.size), &operands)
    }

    /// How does it treat rows, that is, the entries of arrays along their leading axis? `None` if it mixes them.
    fn rows(&self, _operands: &[&[usize]]) -> Option<Rows> {
        None
    }

    /// What is the same operation on a block of that many rows, where its parameters know the number? `None` if they do not.
    fn on_rows(&self, _rows: usize) -> Option<Op<T>> {
        None
    }

    /// Can it read this operand with its numbers repeated, so that a broadcast need not be written out?
    fn takes_repeated(&self, _operand: usize, _repeat: Repeat, _shape: &[usize]) -> bool {
        false
    }

    /// What are its numbers?
    fn forward(&self, operands: &[Operand<'_, T>], shape: &[usize], out: Out<'_, T>) -> Result<(), Failure>;

    /// Adds its numbers to `sum`, if it is one that sums over rows. `part` is room for as many.
    fn accumulate(
        &self,
        operands: &[Operand<'_, T>],
        shape: &[usize],
        sum: &mut [T],
        part: &mut [T],
    ) -> Result<(), Failure> {
        let part = &mut part[..sum.len()];
        self.forward(operands, shape, Out::Real(part))?;
        sum.iter_mut().zip(part).for_each(|(sum, &mut x)| *sum += x);
        Ok(())
    }

    /// How many floating-point operations is that? (A transcendental function counts as one.)
    fn flops(&self, _operands: &[&[usize]], _shape: &[usize]) -> usize {
        0
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
pub type Cotangents<T> = SmallVec<[Option<Var<T>>; 3]>;

/// An operation as a derivative rule sees it: its operands and its result on the tape.
pub struct Call<T: Real> {
    pub tape: u32,
    pub operands: Operands,
    pub output: NodeId,
    /// Which operands need a cotangent.
    pub needed: SmallVec<[bool; 3]>,
    pub number: PhantomData<T>,
}

impl<T: Real> Call<T> {
    #[track_caller]
    pub fn var(&self, operand: usize) -> Var<T> {
        Var::recorded(self.tape, self.operands[operand])
    }

    #[track_caller]
    pub fn index(&self, operand: usize) -> Index<T> {
        Index::recorded(self.tape, self.operands[operand])
    }

    #[track_caller]
    pub fn output(&self) -> Var<T> {
        Var::recorded(self.tape, self.output)
    }

    /// The list of one operand's cotangent.
    pub fn one(&self, cotangent: impl FnOnce() -> Var<T>) -> Cotangents<T> {
        smallvec::smallvec![self.needed[0].then(cotangent)]
    }

    /// The list of two operands' cotangents, each only recorded if needed.
    pub fn two(&self, first: impl FnOnce() -> Var<T>, second: impl FnOnce() -> Var<T>) -> Cotangents<T> {
        smallvec::smallvec![self.needed[0].then(first), self.needed[1].then(second)]
    }
}

/// An operation as a batching rule sees it: operands, and whether each has the new leading axis.
pub struct Batch<T: Real> {
    pub tape: u32,
    pub size: usize,
    pub operands: SmallVec<[(Handle<T>, bool); 3]>,
}

impl<T: Real> Batch<T> {
    /// The operand with a leading axis, repeated along it if it had none.
    #[track_caller]
    pub fn batched(&self, operand: usize) -> Handle<T> {
        let (handle, batched) = self.operands[operand];
        if batched {
            return handle;
        }
        let mut shape = handle.shape();
        shape.insert(0, self.size);
        match handle {
            Handle::Var(var) => var.broadcast_to(&shape).into(),
            Handle::Index(index) => index.broadcast_to(&shape).into(),
        }
    }

    pub fn is_batched(&self, operand: usize) -> bool {
        self.operands[operand].1
    }
}

/// A kernel's operand.
#[derive(Clone, Copy)]
pub struct Operand<'a, T> {
    pub data: Slice<'a, T>,
    pub shape: &'a [usize],
    /// How `data` stands for entries of `shape`, if it has fewer. Only for operands that [take](Rules::takes_repeated) it.
    pub repeat: Option<Repeat>,
}

/// Dense, row-major entries of either kind.
#[derive(Clone, Copy)]
pub enum Slice<'a, T> {
    Real(&'a [T]),
    Index(&'a [i32]),
}

/// Where a kernel writes its result.
pub enum Out<'a, T> {
    Real(&'a mut [T]),
    Index(&'a mut [i32]),
}

impl<'a, T> Operand<'a, T> {
    /// Of no entries: what is not there.
    pub const NONE: Self = Self { data: Slice::Real(&[]), shape: &[], repeat: None };

    pub fn view(&self) -> View<'a, T> {
        View { numbers: self.real(), repeat: self.repeat }
    }

    pub fn real(&self) -> &'a [T] {
        match self.data {
            Slice::Real(data) => data,
            Slice::Index(_) => unreachable!("kinds are checked when an operation is recorded"),
        }
    }

    pub fn index(&self) -> &'a [i32] {
        match self.data {
            Slice::Index(data) => data,
            Slice::Real(_) => unreachable!("kinds are checked when an operation is recorded"),
        }
    }
}

impl<'a, T> Slice<'a, T> {
    pub fn range(self, range: std::ops::Range<usize>) -> Self {
        match self {
            Slice::Real(data) => Slice::Real(&data[range]),
            Slice::Index(data) => Slice::Index(&data[range]),
        }
    }
}

impl<'a, T> Out<'a, T> {
    /// The first entries (as many as there are), and the rest.
    pub fn split_at(self, count: usize) -> (Self, Self) {
        match self {
            Out::Real(data) => {
                let (first, rest) = data.split_at_mut(count.min(data.len()));
                (Out::Real(first), Out::Real(rest))
            }
            Out::Index(data) => {
                let (first, rest) = data.split_at_mut(count.min(data.len()));
                (Out::Index(first), Out::Index(rest))
            }
        }
    }

    pub fn reborrow(&mut self) -> Out<'_, T> {
        match self {
            Out::Real(data) => Out::Real(data),
            Out::Index(data) => Out::Index(data),
        }
    }

    pub fn range(self, range: std::ops::Range<usize>) -> Self {
        match self {
            Out::Real(data) => Out::Real(&mut data[range]),
            Out::Index(data) => Out::Index(&mut data[range]),
        }
    }

    /// Takes the entries of a slice of the same kind and length.
    pub fn copy_from(self, from: Slice<'_, T>)
    where
        T: Copy,
    {
        match (self, from) {
            (Out::Real(to), Slice::Real(from)) => to.copy_from_slice(from),
            (Out::Index(to), Slice::Index(from)) => to.copy_from_slice(from),
            _ => unreachable!("kinds are checked when an operation is recorded"),
        }
    }

    pub fn real(self) -> &'a mut [T] {
        match self {
            Out::Real(data) => data,
            Out::Index(_) => unreachable!("kinds are checked when an operation is recorded"),
        }
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
        number: &'static str,
    },
    Singular {
        matrix: usize,
    },
    LeftRange,
}

/// Records an operation on a Var's tape.
#[track_caller]
pub(crate) fn apply<T: Real>(tape: u32, op: Op<T>, operands: &[NodeId]) -> Var<T> {
    Var::recorded(tape, record(tape, op, operands))
}

impl<T: Real> Var<T> {
    /// Runs the kernel of the operation that made this Var on other numbers, without a program around it. Indices stay
    /// what they were recorded with. For the tests and the benchmarks of kernels.
    #[doc(hidden)]
    pub fn run_kernel(self, operands: &[&[T]], out: &mut [T]) {
        let (op, ids) = self.with_node(|node| (node.op.clone(), node.operands.clone()));
        let handles = ids.iter().map(|&id| Var::<T>::recorded(self.tape, id));
        let recorded: SmallVec<[_; 3]> =
            handles.map(|var| var.with_node(|node| (node.op.clone(), node.shape.clone()))).collect();
        let operands: SmallVec<[Operand<'_, T>; 3]> = recorded
            .iter()
            .enumerate()
            .map(|(i, (op, shape))| Operand {
                data: match op {
                    Op::Leaf(Leaf::Input { value: Data::Index(indices), .. }) => {
                        Slice::Index(indices.as_slice().unwrap_or(&[]))
                    }
                    _ => Slice::Real(operands[i]),
                },
                shape,
                repeat: None,
            })
            .collect();
        let done = op.rules().forward(&operands, &self.shape(), Out::Real(out));
        assert!(done.is_ok(), "{}: {done:?}", op.rules().name());
    }
}
