//! Numbers that are watched: one that leaves its range fails with [`Failure::LeftRange`], and the program runs as recorded.
//!
//! They are products that lowering has moved to where they may leave the range of numbers although what was recorded stays
//! inside, and what a user has recorded beside more careful numbers ([`Var::or_usual`]).
//!
//! (x·a)·b is 10²⁰⁰ for x = 10³⁰⁰ and a = b = 10⁻⁵⁰, and x·(a·b), too; for x = 10⁻²⁰⁰ and a = b = 10²⁰⁰ only the first is.

use super::elementwise::Unary;
use super::{Call, Cotangents, Failure, Op, Operand, Rows, Rules, apply};
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
    /// (careful, usual): as recorded the first, lowered the second, watched. It may not leave ± the number of these bits.
    Usual { limit: u64 },
    /// x, watched.
    Within { limit: u64 },
    /// e^x, watched.
    Exp { limit: u64 },
}

#[derive(Clone, Copy)]
struct Product;

impl<T: Number> Function<T, 2> for Product {
    #[inline(always)]
    fn value<const FMA: bool>(self, [a, b]: [T; 2]) -> T {
        a * b
    }
}

#[derive(Clone, Copy)]
struct Same;

impl<T: Number> Function<T, 1> for Same {
    #[inline(always)]
    fn value<const FMA: bool>(self, [x]: [T; 1]) -> T {
        x
    }
}

impl Rules for Checked {
    fn name(&self) -> &str {
        match self {
            Checked::Factor | Checked::Result => "checked_times",
            Checked::Usual { .. } => "or_usual",
            Checked::Within { .. } => "checked",
            Checked::Exp { .. } => "checked_exp",
        }
    }

    fn parameters(&self) -> String {
        match *self {
            Checked::Factor => "normal".to_owned(),
            Checked::Result => "finite".to_owned(),
            Checked::Usual { limit } | Checked::Within { limit } | Checked::Exp { limit } => {
                format!("within {:e}", f64::from_bits(limit))
            }
        }
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        Ok(operands[0].into())
    }

    fn differentiable(&self, _operand: usize) -> bool {
        false
    }

    fn vjp(&self, _call: &Call, _cotangent: Var) -> Cotangents {
        unreachable!("no derivative flows here; and lowering begins when derivatives stand")
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
        let stays = by_dtype!(floats SliceMut, out, |out| self.compute(operands, out));
        if stays { Ok(()) } else { Err(Failure::LeftRange) }
    }

    fn flops(&self, _operands: &[&[usize]], shape: &[usize]) -> usize {
        size(shape)
    }
}

impl Checked {
    /// Whether the results stay where they may be.
    fn compute<T: Number>(&self, operands: &[Operand<'_>], out: &mut [T]) -> bool {
        let a: View<'_, T> = operands[0].view();
        match *self {
            Checked::Factor => {
                let b = operands[1].view();
                map(Product, [a, b], out);
                let decides = |x: T| x == T::zero() || !x.is_finite();
                let fine = |(i, product): (usize, &T)| product.is_normal() || decides(a.at(i)) || decides(b.at(i));
                all_between(T::min_positive_value(), T::max_value(), out) || out.iter().enumerate().all(fine)
            }
            Checked::Result => {
                map(Product, [a, operands[1].view()], out);
                all_between(T::zero(), T::max_value(), out)
            }
            Checked::Usual { .. } => {
                map(Same, [a], out);
                true
            }
            Checked::Within { limit } => {
                map(Same, [a], out);
                all_between(T::zero(), T::of(f64::from_bits(limit)), out)
            }
            Checked::Exp { limit } => {
                Unary::Exp.forward(a, out);
                all_between(T::zero(), T::of(f64::from_bits(limit)), out)
            }
        }
    }
}

impl Var {
    /// These numbers, for which `usual` may stand in: numbers made by less work, that nearly always will do.
    ///
    /// [Lowered](crate::Lowering), `usual` runs in their place and is watched: a run in which an entry of it is beyond ±`limit`, or
    /// a NaN, is done again as recorded, with these. Whoever calls this vouches that otherwise results are the same; of several
    /// such arrays, as a scale and what is scaled by it, together. No derivative flows through either.
    ///
    /// ```
    /// let tape = ad::Tape::new();
    /// let x = tape.input("x", ndarray::arr1(&[3.0, 800.0]));
    /// // e^x·e^−800, where e^x may be beyond the range of numbers.
    /// let careful = (x - 800.0).exp();
    /// let usual = x.exp() * (-800.0_f64).exp();
    /// assert_eq!(careful.or_usual(usual, 1.0).value()[1], 1.0);     // 0·∞ is a NaN, which is seen
    /// ```
    ///
    /// Panics if shapes or types differ.
    #[track_caller]
    #[must_use]
    pub fn or_usual(self, usual: Self, limit: f64) -> Self {
        self.check_same_tape("or_usual", usual);
        self.check_same_dtype("or_usual", usual);
        self.check_float("or_usual");
        let (shape, other) = (self.shape(), usual.shape());
        assert!(shape == other, "or_usual: what stands in for an array of shape {shape:?} has shape {other:?}");
        // In a type that has not the limit, an infinity is beyond it still.
        let limit = if limit.is_finite() { limit.min(self.dtype().largest()) } else { limit };
        let operands = [self.stop_gradient().node, usual.stop_gradient().node];
        apply(self.tape, Op::Checked(Checked::Usual { limit: limit.to_bits() }), &operands)
    }
}
