//! Numbers of one type as numbers of another. Nothing else changes a type: operations on numbers of two refuse them.

use super::{Call, Cotangents, Failure, Op, Operand, Rows, Rules, apply};
use crate::dtype::{DType, by_dtype};
use crate::kernel::cast::{cast, cast_exactly};
use crate::tape::{Index, Var};
use crate::tensor::{Shape, Slice, SliceMut};

/// To a floating-point type. Of integers, exactly: one that has no equal there is a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cast(pub DType);

impl Rules for Cast {
    fn name(&self) -> &str {
        "cast"
    }

    fn dtype(&self, _operands: &[DType]) -> Result<DType, String> {
        if self.0.is_float() { Ok(self.0) } else { Err(format!("cannot cast to {}, only to f64 or f32", self.0)) }
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        Ok(operands[0].into())
    }

    fn vjp(&self, call: &Call, g: Var) -> Cotangents {
        call.one(|| g.cast(call.var(0).dtype()))
    }

    fn with_leading_axis(&self, _size: usize) -> Op {
        Op::Cast(*self)
    }

    fn rows(&self, operands: &[&[usize]]) -> Option<Rows> {
        Rows::alike(operands)
    }

    fn forward(&self, operands: &[Operand<'_>], _shape: &[usize], out: SliceMut<'_>) -> Result<(), Failure> {
        by_dtype!(floats SliceMut, out, |out| match operands[0].data {
            Slice::I32(integers) => {
                let inexact = |position| Failure::Inexact { integer: integers[position], position, number: self.0 };
                return cast_exactly(integers, out).map_err(inexact);
            }
            Slice::U8(x) => cast(x, out),
            Slice::F32(x) => cast(x, out),
            Slice::F64(x) => cast(x, out),
        });
        Ok(())
    }
}

impl Var {
    /// The same numbers, as near as another floating-point type has them. Derivatives flow through it, cast back. Bytes become
    /// numbers so, a block at a time where they are used; they have no derivative.
    ///
    /// ```
    /// use ad::{DType, Tape};
    /// let tape = Tape::new();
    /// let pixels = tape.input("pixels", ndarray::arr1(&[0_u8, 51, 255]));
    /// let w = tape.input("w", 2.0);
    /// let loss = (pixels.cast(DType::F64) / 255.0 * w).sum();
    /// assert_eq!(loss.grad(w).item(), 1.2);
    /// ```
    ///
    /// Panics for a type that is not a floating-point one.
    #[track_caller]
    #[must_use]
    pub fn cast(self, to: DType) -> Self {
        if self.dtype() == to && to.is_float() {
            return self.unchanged();
        }
        apply(self.tape, Op::Cast(Cast(to)), &[self.node])
    }
}

impl Index {
    /// The integers as numbers of a floating-point type. No derivative flows through it. An integer that is no `f32` (of those
    /// beyond 2²⁴ most are not) is an [`Error::Inexact`](crate::Error::Inexact) when it runs.
    ///
    /// Panics for a type that is not a floating-point one.
    #[track_caller]
    #[must_use]
    pub fn cast(self, to: DType) -> Var {
        self.check_alive();
        apply(self.tape, Op::Cast(Cast(to)), &[self.node])
    }
}
