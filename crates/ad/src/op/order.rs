//! The order of entries along an axis, as integers: the position of the largest, of the smallest, and of all as they are
//! when sorted. They are computed of numbers, but constant where they do not jump: no derivative flows through them, and
//! what they look up has that of the look-up.

use super::{Call, Cotangents, Failure, Op, Operand, Rows, Rules, floats};
use crate::dtype::{DType, by_dtype};
use crate::kernel::order::{extreme, sorted};
use crate::tape::{Index, Var, record};
use crate::tensor::{Axes, Shape, Slice, SliceMut, around, size};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Along an axis, which disappears, the first position of the largest entry, or of the smallest.
    Extreme { axis: usize, largest: bool },
    /// Along the last axis, the positions of all entries, the smallest first.
    Sorted,
}

impl Rules for Order {
    fn name(&self) -> &str {
        match self {
            Order::Extreme { largest: true, .. } => "argmax",
            Order::Extreme { largest: false, .. } => "argmin",
            Order::Sorted => "argsort",
        }
    }

    fn parameters(&self) -> String {
        match self {
            Order::Extreme { axis, .. } => format!("axis={axis}"),
            Order::Sorted => String::new(),
        }
    }

    fn dtype(&self, operands: &[DType]) -> Result<DType, String> {
        floats(operands).map(|_| DType::I32)
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        let operand = operands[0];
        let axis = self.axis(operand);
        let Some(&length) = operand.get(axis) else {
            return Err(format!("axis {axis} of shape {operand:?}, which has {}", operand.len()));
        };
        if i32::try_from(length).is_err() {
            return Err(format!("{length} entries along axis {axis} are more than 32-bit indices can tell apart"));
        }
        let mut shape = Shape::from_slice(operand);
        if let Order::Extreme { largest, .. } = self {
            if length == 0 {
                let what = if *largest { "largest" } else { "smallest" };
                return Err(format!("the {what} of no entries, along axis {axis} of shape {operand:?}"));
            }
            shape.remove(axis);
        }
        Ok(shape)
    }

    fn differentiable(&self, _operand: usize) -> bool {
        false
    }

    fn vjp(&self, _call: &Call, _cotangent: Var) -> Cotangents {
        unreachable!("no derivative flows through integers")
    }

    fn with_leading_axis(&self, _size: usize) -> Op {
        Op::Order(match *self {
            Order::Extreme { axis, largest } => Order::Extreme { axis: axis + 1, largest },
            Order::Sorted => Order::Sorted,
        })
    }

    fn rows(&self, operands: &[&[usize]]) -> Option<Rows> {
        Rows::alike(operands).filter(|_| self.axis(operands[0]) > 0)
    }

    fn forward(&self, operands: &[Operand<'_>], _shape: &[usize], out: SliceMut<'_>) -> Result<(), Failure> {
        let x = operands[0];
        let (_, length, behind) = around(x.shape, self.axis(x.shape));
        let out = out.of::<i32>();
        if !out.is_empty() {
            by_dtype!(floats Slice, x.data, |numbers| match *self {
                Order::Extreme { largest, .. } => extreme(numbers, length, behind, largest, out),
                Order::Sorted => sorted(numbers, length, out),
            });
        }
        Ok(())
    }

    fn flops(&self, operands: &[&[usize]], _shape: &[usize]) -> usize {
        let entries = size(operands[0]);
        match self {
            Order::Extreme { .. } => entries,
            Order::Sorted => entries * operands[0].last().map_or(0, |length| length.max(&1).ilog2() as usize),
        }
    }
}

impl Order {
    fn axis(&self, operand: &[usize]) -> usize {
        match self {
            Order::Extreme { axis, .. } => *axis,
            Order::Sorted => operand.len().saturating_sub(1),
        }
    }
}

impl Var {
    #[track_caller]
    fn positions(self, order: Order) -> Index {
        self.check_alive();
        Index::recorded(self.tape, record(self.tape, Op::Order(order), &[self.node]))
    }

    /// The position of the largest entry along an axis, which disappears: the first of equal ones, and the first NaN if there
    /// is one, as in NumPy. No derivative flows through it.
    ///
    /// ```
    /// let tape = ad::Tape::new();
    /// let values = tape.input("values", &ndarray::arr2(&[[1.0, 5.0, 2.0], [7.0, 0.0, 7.0]]));
    /// let greedy = values.argmax(1);
    /// assert_eq!(greedy.value(), ndarray::arr1(&[1, 0]).into_dyn());
    /// assert_eq!(values.pick(greedy).value(), ndarray::arr1(&[5.0, 7.0]).into_dyn());
    /// ```
    ///
    /// Panics if there are no entries along the axis.
    #[track_caller]
    #[must_use]
    pub fn argmax(self, axis: usize) -> Index {
        self.positions(Order::Extreme { axis, largest: true })
    }

    /// The position of the smallest entry along an axis, as [`argmax`](Self::argmax) is of the largest; of a NaN, too.
    #[track_caller]
    #[must_use]
    pub fn argmin(self, axis: usize) -> Index {
        self.positions(Order::Extreme { axis, largest: false })
    }

    /// The positions of the entries along an axis in increasing order of what stands there: equal ones in the order in which
    /// they are, and NaN behind all numbers. No derivative flows through it.
    #[track_caller]
    #[must_use]
    pub fn argsort(self, axis: usize) -> Index {
        let last = self.expect_axis("argsort", axis).len() - 1;
        if axis == last {
            return self.positions(Order::Sorted);
        }
        let mut exchanged: Axes = (0..=last).collect();
        exchanged.swap(axis, last);
        self.transpose(&exchanged).positions(Order::Sorted).transpose(&exchanged)
    }

    /// The entries along an axis in increasing order, NaN behind all numbers: looked up at [`argsort`](Self::argsort). So each has
    /// the derivative of the entry that it is; of equal ones, the first of them is that of the first.
    #[track_caller]
    #[must_use]
    pub fn sort(self, axis: usize) -> Self {
        self.expect_axis("sort", axis);
        self.take_along(axis, self.argsort(axis))
    }
}
