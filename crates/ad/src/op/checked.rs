//! Products that lowering has moved to where they may leave the range of numbers although what was recorded stays inside:
//! they are watched. One that leaves fails with [`Failure::LeftRange`], and the program runs as recorded.
//!
//! (x·a)·b is 10²⁰⁰ for x = 10³⁰⁰ and a = b = 10⁻⁵⁰, and x·(a·b), too; for x = 10⁻²⁰⁰ and a = b = 10²⁰⁰ only the first is.

use super::{Call, Cotangents, Failure, Op, Operand, Rows, Rules};
use crate::dtype::by_dtype;
use crate::kernel::functions::Number;
use crate::kernel::map::{Function, Repeat, View, all_between, map};
use crate::tape::Var;
use crate::tensor::{Shape, SliceMut, size};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Checked {
    /// a·b, of which x·(a·b) is made in place of (x·a)·b: it may neither overflow nor vanish. (Where a factor is 0, infinite
    /// or a NaN, both are the same.)
    Factor,
    /// x·(a + b) in place of x·a + x·b, or y·Σx in place of Σ x·y: it has to be finite. Then so are its factors; of infinite
    /// ones, a NaN may have been recorded.
    Result,
}

#[derive(Clone, Copy)]
struct Product;

impl<T: Number> Function<T, 2> for Product {
    #[inline(always)]
    fn value<const FMA: bool>(self, [a, b]: [T; 2]) -> T {
        a * b
    }
}

impl Rules for Checked {
    fn name(&self) -> &str {
        "checked_times"
    }

    fn parameters(&self) -> String {
        match self {
            Checked::Factor => "normal".to_owned(),
            Checked::Result => "finite".to_owned(),
        }
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        Ok(operands[0].into())
    }

    fn vjp(&self, _call: &Call, _cotangent: Var) -> Cotangents {
        unreachable!("lowering begins when derivatives stand")
    }

    fn with_leading_axis(&self, _size: usize) -> Op {
        Op::Checked(*self)
    }

    fn rows(&self, operands: &[&[usize]]) -> Option<Rows> {
        Rows::alike(operands)
    }

    fn takes_repeated(&self, _operand: usize, _repeat: Repeat, _shape: &[usize]) -> bool {
        true
    }

    fn forward(&self, operands: &[Operand<'_>], _shape: &[usize], out: SliceMut<'_>) -> Result<(), Failure> {
        let stays = by_dtype!(floats SliceMut, out, |out| self.compute(operands[0].view(), operands[1].view(), out));
        if stays { Ok(()) } else { Err(Failure::LeftRange) }
    }

    fn flops(&self, _operands: &[&[usize]], shape: &[usize]) -> usize {
        size(shape)
    }
}

impl Checked {
    /// Whether the products stay where they may be.
    fn compute<T: Number>(&self, a: View<'_, T>, b: View<'_, T>, out: &mut [T]) -> bool {
        map(Product, [a, b], out);
        match self {
            Checked::Factor => {
                let decides = |x: T| x == T::zero() || !x.is_finite();
                let fine = |(i, product): (usize, &T)| product.is_normal() || decides(a.at(i)) || decides(b.at(i));
                all_between(T::min_positive_value(), out) || out.iter().enumerate().all(fine)
            }
            Checked::Result => all_between(T::zero(), out),
        }
    }
}
