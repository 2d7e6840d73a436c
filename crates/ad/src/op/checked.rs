//! Arithmetic that lowering has moved to where it may leave the range of numbers although what was recorded stays inside:
//! it is watched. Where it leaves, the operation fails with [`Failure::LeftRange`], and the program runs as recorded.
//!
//! (x·a)·b is 10²⁰⁰ for x = 10³⁰⁰ and a = b = 10⁻⁵⁰; but also for x = 10⁻²⁰⁰ and a = b = 10²⁰⁰, where a·b is ∞.

use super::{Call, Cotangents, Failure, Op, Operand, Out, Rows, Rules};
use crate::kernel::map::{Function, Repeat, View, map};
use crate::real::Real;
use crate::tape::Var;
use crate::tensor::{Shape, size};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Checked {
    /// (a, b): a·b, where that neither overflows nor vanishes. (A factor that is 0 or not finite makes of x·(a·b) what it
    /// makes of (x·a)·b.)
    Product,
    /// (Σ, y): the sum, to be multiplied by y, where both are finite. (y·Σx overflows where Σ x·y does, but Σx may before; and
    /// an infinite y times 0 is a NaN for each x that is 0, not only for a sum that is.)
    Sum,
}

#[derive(Clone, Copy)]
struct Product;

impl<T: Real> Function<T, 2> for Product {
    #[inline(always)]
    fn value<const FMA: bool>(self, [a, b]: [T; 2]) -> T {
        a * b
    }
}

#[derive(Clone, Copy)]
struct First;

impl<T: Real> Function<T, 1> for First {
    #[inline(always)]
    fn value<const FMA: bool>(self, [x]: [T; 1]) -> T {
        x
    }
}

impl<T: Real> Rules<T> for Checked {
    fn name(&self) -> &str {
        match self {
            Checked::Product => "checked_times",
            Checked::Sum => "checked_sum",
        }
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        Ok(operands[0].into())
    }

    fn vjp(&self, _call: &Call<T>, _cotangent: Var<T>) -> Cotangents<T> {
        unreachable!("lowering begins when derivatives stand")
    }

    fn batched(&self, _size: usize) -> Op<T> {
        Op::Checked(*self)
    }

    fn rows(&self, operands: &[&[usize]]) -> Option<Rows> {
        Rows::alike(operands)
    }

    fn takes_repeated(&self, _operand: usize, _repeat: Repeat, _shape: &[usize]) -> bool {
        true
    }

    fn forward(&self, operands: &[Operand<'_, T>], _shape: &[usize], out: Out<'_, T>) -> Result<(), Failure> {
        let (a, b, out) = (operands[0].view(), operands[1].view(), out.real());
        let stays = match self {
            Checked::Product => {
                map(Product, [a, b], out);
                let vanishes = |x: T| x == T::zero() || !x.is_finite();
                let fine = |(i, product): (usize, &T)| product.is_normal() || vanishes(a.at(i)) || vanishes(b.at(i));
                all_normal(out) || out.iter().enumerate().all(fine)
            }
            Checked::Sum => {
                map(First, [a], out);
                all_finite(&a) && all_finite(&b)
            }
        };
        if stays { Ok(()) } else { Err(Failure::LeftRange) }
    }

    fn flops(&self, _operands: &[&[usize]], shape: &[usize]) -> usize {
        match self {
            Checked::Product => size(shape),
            Checked::Sum => 0,
        }
    }
}

/// Without a way out in the middle, so that it runs in vector instructions.
fn all_normal<T: Real>(numbers: &[T]) -> bool {
    numbers.iter().fold(true, |all, x| all & (x.abs() >= T::min_positive_value()) & (x.abs() <= T::max_value()))
}

fn all_finite<T: Real>(view: &View<'_, T>) -> bool {
    view.numbers.iter().fold(true, |all, x| all & (x.abs() <= T::max_value()))
}
