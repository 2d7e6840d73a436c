//! Operations that act on each entry alone. Operands have equal shapes: broadcasting is an operation of its own, inserted
//! by the operators below, so that no derivative rule has to undo it.
//!
//! One row of a table is one operation: its name, its value, the cotangents of its operands.

use std::ops::{Add, Div, Mul, Neg, Sub};

use ndarray::{Array, Dimension};

use super::leaf::fill;
use super::{Call, Cotangents, Failure, Op, Operand, Out, Rows, Rules, apply};
use crate::kernel::functions;
use crate::kernel::map::{Function, Repeat, View, map};
use crate::real::Real;
use crate::tape::{Var, constant};
use crate::tensor::{IntoArray, Shape, broadcast_shape, size};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Elementwise {
    Unary(Unary),
    /// To a constant power, the bits of an `f64`.
    Power(u64),
    Binary(Binary),
    Compare(Compare),
    /// (condition, a, b): a where the condition is not zero, else b.
    Select,
}

macro_rules! unary {
    ($($(#[$doc:meta])* $vis:vis $name:ident $variant:ident:
       |$x:ident| $value:expr $(, if $exceptional:expr => $exception:expr)?,
       |$a:ident, $y:ident, $g:ident| $cotangent:expr;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Unary { $($variant),* }

        impl Unary {
            fn name(self) -> &'static str {
                match self { $(Unary::$variant => stringify!($name)),* }
            }

            fn forward<T: Real>(self, x: View<'_, T>, out: &mut [T]) {
                match self { $(Unary::$variant => {
                    #[derive(Clone, Copy)]
                    struct F;
                    impl<T: Real> Function<T, 1> for F {
                        #[inline(always)]
                        fn value<const FMA: bool>(self, [$x]: [T; 1]) -> T { $value }
                        $(
                            #[inline(always)]
                            fn is_exception(self, [$x]: [T; 1]) -> bool { $exceptional }
                            fn exception(self, [$x]: [T; 1]) -> T { $exception }
                        )?
                    }
                    map(F, [x], out);
                })* }
            }

            fn vjp<T: Real>(self, x: Var<T>, y: Var<T>, g: Var<T>) -> Var<T> {
                match self { $(Unary::$variant => { let ($a, $y, $g) = (x, y, g); $cotangent })* }
            }
        }

        impl<T: Real> Var<T> {
            $($(#[$doc])* #[track_caller] #[must_use]
            $vis fn $name(self) -> Self {
                self.check_alive();
                apply(self.tape, Op::Elementwise(Elementwise::Unary(Unary::$variant)), &[self.node])
            })*
        }
    };
}

macro_rules! binary {
    ($($(#[$doc:meta])* $vis:vis $name:ident $variant:ident: |$x:ident, $z:ident| $value:expr,
       |$a:ident, $b:ident, $y:ident, $g:ident| [$first:expr, $second:expr];)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Binary { $($variant),* }

        impl Binary {
            fn name(self) -> &'static str {
                match self { $(Binary::$variant => stringify!($name)),* }
            }

            fn forward<T: Real>(self, x: View<'_, T>, z: View<'_, T>, out: &mut [T]) {
                match self { $(Binary::$variant => {
                    #[derive(Clone, Copy)]
                    struct F;
                    impl<T: Real> Function<T, 2> for F {
                        #[inline(always)]
                        fn value<const FMA: bool>(self, [$x, $z]: [T; 2]) -> T { $value }
                    }
                    map(F, [x, z], out);
                })* }
            }

            fn vjp<T: Real>(self, call: &Call<T>, g: Var<T>) -> Cotangents<T> {
                let (a, b, y) = (call.var(0), call.var(1), call.output());
                match self { $(Binary::$variant => {
                    #[allow(unused_variables)]
                    let ($a, $b, $y, $g) = (a, b, y, g);
                    call.two(|| $first, || $second)
                })* }
            }
        }

        impl<T: Real> Var<T> {
            $($(#[$doc])* #[track_caller] #[must_use]
            $vis fn $name(self, other: impl Into<Term<T>>) -> Self {
                self.binary(stringify!($name), Elementwise::Binary(Binary::$variant), other.into())
            })*
        }
    };
}

macro_rules! compare {
    ($($(#[$doc:meta])* $name:ident $variant:ident: |$x:ident, $z:ident| $value:expr;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Compare { $($variant),* }

        impl Compare {
            fn name(self) -> &'static str {
                match self { $(Compare::$variant => stringify!($name)),* }
            }

            fn forward<T: Real>(self, x: View<'_, T>, z: View<'_, T>, out: &mut [T]) {
                match self { $(Compare::$variant => {
                    #[derive(Clone, Copy)]
                    struct F;
                    impl<T: Real> Function<T, 2> for F {
                        #[inline(always)]
                        fn value<const FMA: bool>(self, [$x, $z]: [T; 2]) -> T {
                            if $value { T::one() } else { T::zero() }
                        }
                    }
                    map(F, [x, z], out);
                })* }
            }
        }

        impl<T: Real> Var<T> {
            $($(#[$doc])* #[track_caller] #[must_use]
            pub fn $name(self, other: impl Into<Term<T>>) -> Self {
                self.binary(stringify!($name), Elementwise::Compare(Compare::$variant), other.into())
            })*
        }
    };
}

unary! {
    pub(crate) negate Negate: |x| -x, |_x, _y, g| -g;
    /// e^x.
    pub exp Exp: |x| functions::exp::<T, FMA>(x), if functions::is_exp_exception(x) => x.exp(), |_x, y, g| g * y;
    /// The natural logarithm. Its derivative 1/x is ±∞ at ±0; below 0 the value is NaN.
    pub ln Ln: |x| functions::ln::<T, FMA>(x), if functions::is_ln_exception(x) => x.ln(), |x, _y, g| g / x;
    /// The hyperbolic tangent; derivative 1 − tanh² x.
    pub tanh Tanh: |x| functions::tanh::<T, FMA>(x), |_x, y, g| g * (-(y * y) + T::one());
    /// The logistic function 1 / (1 + e^−x), without overflow on either side.
    pub sigmoid Sigmoid: |x| functions::sigmoid::<T, FMA>(x), |_x, y, g| g * (y * (-y + T::one()));
    /// ln(1 + e^x), without overflow; derivative sigmoid(x).
    pub softplus Softplus: |x| functions::softplus::<T, FMA>(x), |x, _y, g| g * x.sigmoid();
    /// The sine, in radians.
    pub sin Sin: |x| functions::sin::<T, FMA>(x), if x.abs() > T::LARGEST_ANGLE => x.sin(),
        |x, _y, g| g * x.cos();
    /// The cosine, in radians.
    pub cos Cos: |x| functions::cos::<T, FMA>(x), if x.abs() > T::LARGEST_ANGLE => x.cos(),
        |x, _y, g| -(g * x.sin());
    /// The square root. Its derivative at 0 is +∞; below 0 the value is NaN.
    pub sqrt Sqrt: |x| x.sqrt(), |_x, y, g| g * T::of(0.5) / y;
    /// The absolute value. Its derivative at 0 is 0.
    pub abs Abs: |x| x.abs(), |x, _y, g| g * x.sign();
}

binary! {
    pub(crate) plus Plus: |a, b| a + b, |_a, _b, _y, g| [g, g];
    pub(crate) minus Minus: |a, b| a - b, |_a, _b, _y, g| [g, -g];
    pub(crate) times Times: |a, b| a * b, |a, b, _y, g| [g * b, g * a];
    pub(crate) over Over: |a, b| a / b, |_a, b, y, g| [g / b, -(g * y / b)];
    /// The larger of the two, NaN if either is. Where they are equal, each gets half of the derivative.
    pub max Max: |a, b| if a > b || a.is_nan() { a } else { b },
        |a, b, _y, g| [g * first_share(a, b), g * first_share(b, a)];
    /// The smaller of the two, NaN if either is. Where they are equal, each gets half of the derivative.
    pub min Min: |a, b| if a < b || a.is_nan() { a } else { b },
        |a, b, _y, g| [g * first_share(b, a), g * first_share(a, b)];
    /// a^b; NaN for a negative a and a b that is no integer. At a = 0 the derivative by b is 0 (not 0·(−∞)); at b = 0 the
    /// derivative by a is 0 (also at a = 0). For a constant exponent, [`Var::powf`] is better.
    pub pow Pow: |a, b| a.powf(b), |a, b, y, g| [
        g * b * a.pow(b.equal(T::zero()).select(T::one(), b) - T::one()),
        g * y * a.equal(T::zero()).select(T::one(), a).ln()
    ];
}

compare! {
    /// 1 where a < b, else 0 (also where either is NaN). No derivative flows through a comparison.
    less Less: |a, b| a < b;
    /// 1 where a ≤ b, else 0.
    less_equal LessEqual: |a, b| a <= b;
    /// 1 where a > b, else 0.
    greater Greater: |a, b| a > b;
    /// 1 where a ≥ b, else 0.
    greater_equal GreaterEqual: |a, b| a >= b;
    /// 1 where a = b, else 0.
    equal Equal: |a, b| a == b;
    /// 1 where a ≠ b, else 0.
    not_equal NotEqual: |a, b| a != b;
}

/// 1 where a > b, ½ where they are equal, 0 elsewhere.
fn first_share<T: Real>(a: Var<T>, b: Var<T>) -> Var<T> {
    a.greater(b) + a.equal(b) * T::of(0.5)
}

#[derive(Clone, Copy)]
struct Power {
    exponent: f64,
}

impl Power {
    fn forward<T: Real>(self, x: View<'_, T>, out: &mut [T]) {
        #[derive(Clone, Copy)]
        struct Known<const N: i32>;
        impl<T: Real, const N: i32> Function<T, 1> for Known<N> {
            #[inline(always)]
            fn value<const FMA: bool>(self, [x]: [T; 1]) -> T {
                functions::powi(x, N)
            }
        }
        #[derive(Clone, Copy)]
        struct Integer(i32);
        impl<T: Real> Function<T, 1> for Integer {
            #[inline(always)]
            fn value<const FMA: bool>(self, [x]: [T; 1]) -> T {
                functions::powi(x, self.0)
            }
        }
        #[derive(Clone, Copy)]
        struct General(f64);
        impl<T: Real> Function<T, 1> for General {
            #[inline(always)]
            fn value<const FMA: bool>(self, [x]: [T; 1]) -> T {
                x.powf(T::of(self.0))
            }
        }
        match self.exponent {
            -2.0 => map(Known::<-2>, [x], out),
            -1.0 => map(Known::<-1>, [x], out),
            2.0 => map(Known::<2>, [x], out),
            3.0 => map(Known::<3>, [x], out),
            n if n.fract() == 0.0 && n.abs() <= 64.0 => map(Integer(n as i32), [x], out),
            exponent => map(General(exponent), [x], out),
        }
    }
}

#[derive(Clone, Copy)]
struct Choose;

impl<T: Real> Function<T, 3> for Choose {
    #[inline(always)]
    fn value<const FMA: bool>(self, [condition, a, b]: [T; 3]) -> T {
        if condition != T::zero() { a } else { b }
    }
}

impl<T: Real> Rules<T> for Elementwise {
    fn name(&self) -> &str {
        match self {
            Elementwise::Unary(op) => op.name(),
            Elementwise::Power(_) => "powf",
            Elementwise::Binary(op) => op.name(),
            Elementwise::Compare(op) => op.name(),
            Elementwise::Select => "select",
        }
    }

    fn parameters(&self) -> String {
        match self {
            Elementwise::Power(bits) => f64::from_bits(*bits).to_string(),
            _ => String::new(),
        }
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        debug_assert!(operands.windows(2).all(|pair| pair[0] == pair[1]), "operators broadcast before they record");
        Ok(operands[0].into())
    }

    fn differentiable(&self, operand: usize) -> bool {
        match self {
            Elementwise::Compare(_) => false,
            Elementwise::Select => operand > 0,
            _ => true,
        }
    }

    fn vjp(&self, call: &Call<T>, g: Var<T>) -> Cotangents<T> {
        match *self {
            Elementwise::Unary(op) => call.one(|| op.vjp(call.var(0), call.output(), g)),
            Elementwise::Power(bits) => call.one(|| match f64::from_bits(bits) {
                0.0 => g * T::zero(),
                1.0 => g,
                p => g * (call.var(0).powf(p - 1.0) * T::of(p)),
            }),
            Elementwise::Binary(op) => op.vjp(call, g),
            Elementwise::Compare(_) => Cotangents::new(),
            Elementwise::Select => {
                let condition = call.var(0);
                let zero = fill(call.tape, 0.0, &g.shape());
                smallvec::smallvec![
                    None,
                    call.needed[1].then(|| condition.select(g, zero)),
                    call.needed[2].then(|| condition.select(zero, g)),
                ]
            }
        }
    }

    fn batched(&self, _size: usize) -> Op<T> {
        Op::Elementwise(*self)
    }

    fn rows(&self, operands: &[&[usize]]) -> Option<Rows> {
        Rows::alike(operands)
    }

    fn forward(&self, operands: &[Operand<'_, T>], _shape: &[usize], out: Out<'_, T>) -> Result<(), Failure> {
        let (x, out) = (operands[0].view(), out.real());
        match *self {
            Elementwise::Unary(op) => op.forward(x, out),
            Elementwise::Power(bits) => Power { exponent: f64::from_bits(bits) }.forward(x, out),
            Elementwise::Binary(op) => op.forward(x, operands[1].view(), out),
            Elementwise::Compare(op) => op.forward(x, operands[1].view(), out),
            Elementwise::Select => map(Choose, [x, operands[1].view(), operands[2].view()], out),
        }
        Ok(())
    }

    fn takes_repeated(&self, _operand: usize, _repeat: Repeat, _shape: &[usize]) -> bool {
        true
    }

    fn flops(&self, _operands: &[&[usize]], shape: &[usize]) -> usize {
        size(shape)
    }
}

/// The other operand of an operator: a [`Var`], a number, or an array.
#[derive(Clone, Debug)]
pub enum Term<T: Real> {
    /// Recorded already.
    Var(Var<T>),
    /// The same everywhere.
    Number(T),
    /// A constant.
    Array(ndarray::ArrayD<T>),
}

impl<T: Real> From<Var<T>> for Term<T> {
    fn from(var: Var<T>) -> Self {
        Term::Var(var)
    }
}

impl<T: Real> From<T> for Term<T> {
    fn from(number: T) -> Self {
        Term::Number(number)
    }
}

impl<T: Real, D: Dimension> From<&Array<T, D>> for Term<T> {
    fn from(array: &Array<T, D>) -> Self {
        Term::Array(array.into_array())
    }
}

impl<T: Real, D: Dimension> From<Array<T, D>> for Term<T> {
    fn from(array: Array<T, D>) -> Self {
        Term::Array(array.into_array())
    }
}

impl<T: Real> Var<T> {
    /// Records the term on this Var's tape; a number takes this Var's shape.
    #[track_caller]
    pub(crate) fn term(self, operation: &str, term: Term<T>) -> Self {
        self.check_alive();
        match term {
            Term::Var(var) => {
                self.check_same_tape(operation, var);
                var
            }
            Term::Number(number) => fill(self.tape, number.as_f64(), &self.shape()),
            Term::Array(array) => constant(self.tape, array),
        }
    }

    #[track_caller]
    fn binary(self, operation: &str, op: Elementwise, other: Term<T>) -> Self {
        let other = self.term(operation, other);
        let (a, b) = self.broadcast_with(operation, other);
        apply(self.tape, Op::Elementwise(op), &[a.node, b.node])
    }

    /// Both, broadcast to their common shape.
    #[track_caller]
    fn broadcast_with(self, operation: &str, other: Self) -> (Self, Self) {
        let (a, b) = (self.shape(), other.shape());
        let Some(shape) = broadcast_shape(&a, &b) else {
            panic!(
                "{operation}: shapes {a:?} and {b:?} do not broadcast (aligned at the last axis, lengths must be equal or \
                 1)\n  operand made at {}\n  operand made at {}",
                self.location(),
                other.location()
            )
        };
        (self.stretched(&shape), other.stretched(&shape))
    }

    /// `a` where this is not zero, `b` elsewhere; all three broadcast. The branch not taken is never looked at, so that a
    /// NaN there does no harm, in the value or the derivative of `select` itself. (But 0·NaN is NaN: if the branch not
    /// taken is *computed* from a bad number, select that operation's input instead.)
    #[track_caller]
    #[must_use]
    pub fn select(self, a: impl Into<Term<T>>, b: impl Into<Term<T>>) -> Self {
        let (a, b) = (self.term("select", a.into()), self.term("select", b.into()));
        let (a, b) = a.broadcast_with("select", b);
        let (condition, a) = self.broadcast_with("select", a);
        let b = b.stretched(&a.shape());
        apply(self.tape, Op::Elementwise(Elementwise::Select), &[condition.node, a.node, b.node])
    }

    /// x to a constant power. Derivative p·x^(p−1): at x = 0 that is 0 for p > 1, 1 for p = 1, 0 for p = 0, and infinite for
    /// other p < 1.
    #[track_caller]
    #[must_use]
    pub fn powf(self, exponent: f64) -> Self {
        self.check_alive();
        apply(self.tape, Op::Elementwise(Elementwise::Power(exponent.to_bits())), &[self.node])
    }

    /// x².
    #[track_caller]
    #[must_use]
    pub fn square(self) -> Self {
        self.powf(2.0)
    }

    /// −1, 0 or 1, by sign. No derivative flows through it.
    #[track_caller]
    #[must_use]
    pub fn sign(self) -> Self {
        self.greater(T::zero()) - self.less(T::zero())
    }

    /// The nearest number in [low, high]. The derivative is 0 outside, and ½ at a bound.
    #[track_caller]
    #[must_use]
    pub fn clip(self, low: T, high: T) -> Self {
        self.max(low).min(high)
    }
}

impl<T: Real> Neg for Var<T> {
    type Output = Self;
    #[track_caller]
    fn neg(self) -> Self {
        self.negate()
    }
}

macro_rules! operator {
    ($trait:ident, $method:ident, $name:ident, $variant:ident) => {
        impl<T: Real, R: Into<Term<T>>> $trait<R> for Var<T> {
            type Output = Var<T>;
            #[track_caller]
            fn $method(self, other: R) -> Var<T> {
                self.$name(other)
            }
        }
        operator!($trait, $method, $name, f64, $variant);
        operator!($trait, $method, $name, f32, $variant);
    };
    ($trait:ident, $method:ident, $name:ident, $number:ident, $variant:ident) => {
        impl $trait<Var<$number>> for $number {
            type Output = Var<$number>;
            #[track_caller]
            fn $method(self, other: Var<$number>) -> Var<$number> {
                other.term(stringify!($name), Term::Number(self)).$name(other)
            }
        }
        impl<D: Dimension> $trait<Var<$number>> for &Array<$number, D> {
            type Output = Var<$number>;
            #[track_caller]
            fn $method(self, other: Var<$number>) -> Var<$number> {
                other.term(stringify!($name), self.into()).$name(other)
            }
        }
        impl<D: Dimension> $trait<Var<$number>> for Array<$number, D> {
            type Output = Var<$number>;
            #[track_caller]
            fn $method(self, other: Var<$number>) -> Var<$number> {
                other.term(stringify!($name), self.into()).$name(other)
            }
        }
    };
}
operator!(Add, add, plus, Plus);
operator!(Sub, sub, minus, Minus);
operator!(Mul, mul, times, Times);
operator!(Div, div, over, Over);
