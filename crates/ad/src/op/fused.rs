//! Two or three operations of arithmetic in one pass over the entries: what is between them is never written. Only the
//! last step before a program is laid out makes them, so they have no derivatives; each operation rounds as it does alone.

use super::{Call, Cotangents, Failure, Op, Operand, Rows, Rules};
use crate::dtype::by_dtype;
use crate::kernel::functions::Number;
use crate::kernel::map::{Function, Repeat, View, map};
use crate::tape::Var;
use crate::tensor::{Shape, SliceMut, size};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    Plus,
    Minus,
    Times,
    Over,
}

/// What is computed of operands a, b, c (and d), with the operations in the order of the formula.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fused {
    /// (a ∘ b) ∘ c
    First(Arithmetic, Arithmetic),
    /// a ∘ (b ∘ c), the first a difference or a division.
    Last(Arithmetic, Arithmetic),
    /// (a ∘ b) ∘ (c ∘ d), none of them a division.
    Both(Arithmetic, Arithmetic, Arithmetic),
}

impl Arithmetic {
    fn symbol(self) -> char {
        match self {
            Arithmetic::Plus => '+',
            Arithmetic::Minus => '−',
            Arithmetic::Times => '·',
            Arithmetic::Over => '/',
        }
    }
}

/// One operation, as a type.
trait Do: Copy {
    fn of<T: Number>(a: T, b: T) -> T;
}

macro_rules! arithmetic {
    ($($name:ident $symbol:tt),*) => {$(
        #[derive(Clone, Copy)]
        struct $name;
        impl Do for $name {
            #[inline(always)]
            fn of<T: Number>(a: T, b: T) -> T { a $symbol b }
        }
    )*};
}
arithmetic!(Plus +, Minus -, Times *, Over /);

/// Calls `$body` with `$f` one of the listed operations, as a value of its type.
macro_rules! with {
    ($op:expr, [$($which:ident)*], |$f:ident| $body:expr) => {
        match $op {
            $(Arithmetic::$which => { let $f = $which; $body })*
            #[allow(unreachable_patterns, reason = "where all are listed")]
            other => unreachable!("{other:?} is not fused with two others"),
        }
    };
}

#[derive(Clone, Copy)]
struct First<F, G>(F, G);

impl<T: Number, F: Do, G: Do> Function<T, 3> for First<F, G> {
    #[inline(always)]
    fn value<const FMA: bool>(self, [a, b, c]: [T; 3]) -> T {
        G::of(F::of(a, b), c)
    }
}

#[derive(Clone, Copy)]
struct Last<F, G>(F, G);

impl<T: Number, F: Do, G: Do> Function<T, 3> for Last<F, G> {
    #[inline(always)]
    fn value<const FMA: bool>(self, [a, b, c]: [T; 3]) -> T {
        F::of(a, G::of(b, c))
    }
}

#[derive(Clone, Copy)]
struct Both<F, G, H>(F, G, H);

impl<T: Number, F: Do, G: Do, H: Do> Function<T, 4> for Both<F, G, H> {
    #[inline(always)]
    fn value<const FMA: bool>(self, [a, b, c, d]: [T; 4]) -> T {
        G::of(F::of(a, b), H::of(c, d))
    }
}

impl Rules for Fused {
    fn name(&self) -> &str {
        "fused"
    }

    fn parameters(&self) -> String {
        match self {
            Fused::First(f, g) => format!("(a {} b) {} c", f.symbol(), g.symbol()),
            Fused::Last(f, g) => format!("a {} (b {} c)", f.symbol(), g.symbol()),
            Fused::Both(f, g, h) => format!("(a {} b) {} (c {} d)", f.symbol(), g.symbol(), h.symbol()),
        }
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        Ok(operands[0].into())
    }

    fn vjp(&self, _call: &Call, _cotangent: Var) -> Cotangents {
        unreachable!("operations are fused when derivatives stand")
    }

    fn with_leading_axis(&self, _size: usize) -> Op {
        Op::Fused(*self)
    }

    fn rows(&self, operands: &[&[usize]]) -> Option<Rows> {
        Rows::alike(operands)
    }

    fn takes_repeated(&self, _operand: usize, _repeat: Repeat, _shape: &[usize]) -> bool {
        true
    }

    fn forward(&self, operands: &[Operand<'_>], _shape: &[usize], out: SliceMut<'_>) -> Result<(), Failure> {
        by_dtype!(floats SliceMut, out, |out| self.compute(|i| operands[i].view(), out));
        Ok(())
    }

    fn flops(&self, operands: &[&[usize]], shape: &[usize]) -> usize {
        (operands.len() - 1) * size(shape)
    }
}

impl Fused {
    /// Of the operands with these numbers.
    #[inline]
    pub(super) fn compute<'a, T: Number>(&self, operand: impl Fn(usize) -> View<'a, T>, out: &mut [T]) {
        match *self {
            Fused::First(f, g) => {
                let x = [operand(0), operand(1), operand(2)];
                with!(f, [Plus Minus Times Over], |f| with!(g, [Plus Minus Times Over], |g| map(First(f, g), x, out)));
            }
            // A sum or a product is also that of its operands exchanged, and so has the inner operation first.
            Fused::Last(f, g) => {
                let x = [operand(0), operand(1), operand(2)];
                with!(f, [Minus Over], |f| with!(g, [Plus Minus Times Over], |g| map(Last(f, g), x, out)));
            }
            Fused::Both(f, g, h) => {
                let x = [operand(0), operand(1), operand(2), operand(3)];
                with!(f, [Plus Minus Times], |f| with!(g, [Plus Minus Times], |g| {
                    with!(h, [Plus Minus Times], |h| map(Both(f, g, h), x, out));
                }));
            }
        }
    }
}
