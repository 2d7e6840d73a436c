//! Operations that act on each entry alone. Operands have equal shapes: broadcasting is an operation of its own, inserted
//! by the operators below, so that no derivative rule has to undo it.
//!
//! One row of a table is one operation: its name, its value, the cotangents of its operands.

use std::f64::consts::{LOG2_E, LOG10_E};
use std::iter::{Product, Sum};
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

use ndarray::{Array, Dimension};

use super::leaf::fill;
use super::{Call, Cotangents, Failure, Op, Operand, Rows, Rules, apply};
use crate::dtype::by_dtype;
use crate::kernel::functions::{self, Number};
use crate::kernel::map::{Function, Repeat, View, map};
use crate::kernel::special;
use crate::real::Real;
use crate::tape::{Var, constant, here};
use crate::tensor::{Element, Shape, SliceMut, Value, broadcast_shape, size};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Elementwise {
    Unary(Unary),
    /// To a constant power, the bits of an `f64`.
    Power(u64),
    Binary(Binary),
    /// (a, b): a^b, differentiated so often by each.
    Pow {
        by_base: u8,
        by_exponent: u8,
    },
    Compare(Compare),
    /// (condition, a, b): a where the condition is not zero, else b.
    Select,
    /// (x, tanh x): the derivative 1 − tanh² x. It is a function of x: the tangent only saves work.
    TanhSlope,
    /// The derivative of the error function, differentiated so often.
    ErfSlope(u32),
    /// The digamma function, differentiated so often.
    Polygamma(u32),
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

            pub(super) fn forward<T: Number>(self, x: View<'_, T>, out: &mut [T]) {
                match self { $(Unary::$variant => {
                    #[derive(Clone, Copy)]
                    struct F;
                    impl<T: Number> Function<T, 1> for F {
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

            fn vjp(self, x: Var, y: Var, g: Var) -> Var {
                match self { $(Unary::$variant => { let ($a, $y, $g) = (x, y, g); $cotangent })* }
            }
        }

        impl Var {
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

            fn forward<T: Number>(self, x: View<'_, T>, z: View<'_, T>, out: &mut [T]) {
                match self { $(Binary::$variant => {
                    #[derive(Clone, Copy)]
                    struct F;
                    impl<T: Number> Function<T, 2> for F {
                        #[inline(always)]
                        fn value<const FMA: bool>(self, [$x, $z]: [T; 2]) -> T { $value }
                    }
                    map(F, [x, z], out);
                })* }
            }

            fn vjp(self, call: &Call, g: Var) -> Cotangents {
                let (a, b, y) = (call.var(0), call.var(1), call.output());
                match self { $(Binary::$variant => {
                    #[allow(unused_variables)]
                    let ($a, $b, $y, $g) = (a, b, y, g);
                    call.two(|| $first, || $second)
                })* }
            }
        }

        impl Var {
            $($(#[$doc])* #[track_caller] #[must_use]
            $vis fn $name(self, other: impl Into<Term>) -> Self {
                self.binary(stringify!($name), Elementwise::Binary(Binary::$variant), other.into())
            })*
        }
    };
}

macro_rules! compare {
    ($($(#[$doc:meta])* $vis:vis $name:ident $variant:ident: |$x:ident, $z:ident| $value:expr;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Compare { $($variant),* }

        impl Compare {
            fn name(self) -> &'static str {
                match self { $(Compare::$variant => stringify!($name)),* }
            }

            fn forward<T: Number>(self, x: View<'_, T>, z: View<'_, T>, out: &mut [T]) {
                match self { $(Compare::$variant => {
                    #[derive(Clone, Copy)]
                    struct F;
                    impl<T: Number> Function<T, 2> for F {
                        #[inline(always)]
                        fn value<const FMA: bool>(self, [$x, $z]: [T; 2]) -> T { $value }
                    }
                    map(F, [x, z], out);
                })* }
            }
        }

        impl Var {
            $($(#[$doc])* #[track_caller] #[must_use]
            $vis fn $name(self, other: impl Into<Term>) -> Self {
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
    /// The hyperbolic tangent.
    pub tanh Tanh: |x| functions::tanh::<T, FMA>(x), |x, y, g| g * tanh_slope(x, y);
    /// The logistic function 1 / (1 + e^−x), without overflow on either side.
    pub sigmoid Sigmoid: |x| functions::sigmoid::<T, FMA>(x), |x, y, g| g * (y * (-x).sigmoid());
    /// ln(1 + e^x), without overflow; derivative sigmoid(x).
    pub softplus Softplus: |x| functions::softplus::<T, FMA>(x), |x, _y, g| g * x.sigmoid();
    /// The sine, in radians.
    pub sin Sin: |x| functions::sin::<T, FMA>(x), if x.abs() > T::LARGEST_ANGLE => x.sin(),
        |x, _y, g| g * x.cos();
    /// The cosine, in radians.
    pub cos Cos: |x| functions::cos::<T, FMA>(x), if x.abs() > T::LARGEST_ANGLE => x.cos(),
        |x, _y, g| -(g * x.sin());
    /// The square root. Its derivative at ±0 is ±∞ (so that of a norm √Σx² at 0 is ∞·0, NaN); below 0 the value is NaN.
    pub sqrt Sqrt: |x| x.sqrt(), |_x, y, g| g * 0.5 / y;
    /// The absolute value. Its derivatives at 0 are 0.
    pub abs Abs: |x| x.abs(), |x, _y, g| g * x.sign();
    /// e^x − 1, within 2 units in the last place also around 0, where it is about x.
    pub exp_m1 ExpM1: |x| special::exp_m1::<T, FMA>(x), if functions::is_exp_exception(x) => x.exp_m1(),
        |x, _y, g| g * x.exp();
    /// ln(1 + x), within 2 units in the last place also around 0, where it is about x. Its derivative 1/(1 + x) is ∞ at −1;
    /// below, the value is NaN.
    pub ln_1p Ln1p: |x| special::ln_1p::<T, FMA>(x), if functions::is_ln_exception(x + T::one()) => x.ln_1p(),
        |x, _y, g| g / (x + 1.0);
    /// The logarithm to base 2. Its derivative is ±∞ at ±0; below 0 the value is NaN.
    pub log2 Log2: |x| x.log2(), |x, _y, g| g / x * LOG2_E;
    /// The logarithm to base 10. Its derivative is ±∞ at ±0; below 0 the value is NaN.
    pub log10 Log10: |x| x.log10(), |x, _y, g| g / x * LOG10_E;
    /// The hyperbolic sine.
    pub sinh Sinh: |x| x.sinh(), |x, _y, g| g * x.cosh();
    /// The hyperbolic cosine.
    pub cosh Cosh: |x| x.cosh(), |x, _y, g| g * x.sinh();
    /// The tangent, in radians.
    pub tan Tan: |x| x.tan(), |_x, y, g| g * (y.square() + 1.0);
    /// The angle in [−π/2, π/2] whose tangent is x. Its derivatives at ±∞ are 0.
    pub atan Atan: |x| x.atan(), |x, _y, g| {
        let one = x.full_like(1.0);
        g * (one.direction(x) / one.hypot(x))
    };
    /// The angle in [−π/2, π/2] whose sine is x. Its derivatives at ±1 are infinite; beyond, the value is NaN.
    pub asin Asin: |x| x.asin(), |x, _y, g| g * x.asin_slope();
    /// The angle in [0, π] whose cosine is x. Its derivatives at ±1 are infinite; beyond, the value is NaN.
    pub acos Acos: |x| x.acos(), |x, _y, g| -(g * x.asin_slope());
    /// 1/√(1 − x²), and x/√(1 − x²)³ its derivative: at ±1, nothing infinite meets a 0 or what is as infinite with another sign.
    pub(crate) asin_slope AsinSlope: |x| T::one() / ((T::one() - x) * (T::one() + x)).sqrt(),
        |x, y, g| g * (y.powf(3.0) * x);
    /// The error function, 2/√π·∫₀ˣ e^(−t²) dt, within 2 units in the last place. All derivatives at ±∞ are 0.
    pub erf Erf: |x| special::in_double(special::erf, x), |x, _y, g| g * erf_slope(x, 0);
    /// 1 − erf(x), within 3 units in the last place, as far as it is a number. All derivatives at ±∞ are 0. The normal
    /// distribution function is half of it at −x/√2 (where the quotient's rounding costs x²/2 units in the tail).
    pub erfc Erfc: |x| special::in_double(special::erfc, x), |x, _y, g| -(g * erf_slope(x, 0));
    /// ln |Γ(x)|, within 4 units in the last place for x > 0, at its zeros 1 and 2, too. For x < 0 the units are of the larger of
    /// ln |Γ(−x)| and ln |Γ(x)Γ(−x)|, of which it is a difference. It is ∞ at 0, −1, −2, … and at ±∞, and its derivative is
    /// [`digamma`](Self::digamma).
    pub ln_gamma LnGamma: |x| special::in_double(special::ln_gamma, x), |x, _y, g| g * x.digamma();
}

binary! {
    pub(crate) plus Plus: |a, b| a + b, |_a, _b, _y, g| [g, g];
    pub(crate) minus Minus: |a, b| a - b, |_a, _b, _y, g| [g, -g];
    pub(crate) times Times: |a, b| a * b, |a, b, _y, g| [g * b, g * a];
    pub(crate) over Over: |a, b| a / b, |_a, b, y, g| [g / b, -(g * y / b)];
    /// The larger of the two, NaN if either is. Where they are equal, each gets half of the derivative (of every order).
    pub max Max: |a, b| if a > b || a.is_nan() { a } else { b },
        |a, b, _y, g| [g * first_share(a, b), g * first_share(b, a)];
    /// The smaller of the two, NaN if either is. Where they are equal, each gets half of the derivative (of every order).
    pub min Min: |a, b| if a < b || a.is_nan() { a } else { b },
        |a, b, _y, g| [g * first_share(b, a), g * first_share(a, b)];
    /// √(a² + b²), without overflow. All derivatives at (0, 0) are NaN, as those of a norm; of what is infinite only the signs
    /// matter to them.
    pub hypot Hypot: |a, b| a.hypot(b), |a, b, _y, g| [g * a.direction(b), g * b.direction(a)];
    /// The angle in [−π, π] at which the point (b, a) stands: its sine has the sign of this one, its cosine that of the other. All
    /// derivatives at (0, 0) are NaN, and 0 at infinite numbers.
    pub atan2 Atan2: |a, b| a.atan2(b),
        |a, b, _y, g| [g * (b.direction(a) / a.hypot(b)), -(g * (a.direction(b) / a.hypot(b)))];
    /// a/√(a² + b²). With c for it and s for that of b, the derivatives are s²/√(a² + b²) and −cs/√(a² + b²): no 1 − c² of a c near 1.
    pub(crate) direction Direction: |a, b| T::of(special::direction(a.as_f64(), b.as_f64())), |a, b, y, g| [
        { let other = b.direction(a); g * (other * (other / a.hypot(b))) },
        -(g * (y * (b.direction(a) / a.hypot(b))))
    ];
}

compare! {
    /// 1 where a < b, else 0 (also where either is NaN). No derivative flows through a comparison.
    pub less Less: |a, b| indicator(a < b);
    /// 1 where a ≤ b, else 0.
    pub less_equal LessEqual: |a, b| indicator(a <= b);
    /// 1 where a > b, else 0.
    pub greater Greater: |a, b| indicator(a > b);
    /// 1 where a ≥ b, else 0.
    pub greater_equal GreaterEqual: |a, b| indicator(a >= b);
    /// 1 where a = b, else 0.
    pub equal Equal: |a, b| indicator(a == b);
    /// 1 where a ≠ b, else 0.
    pub not_equal NotEqual: |a, b| indicator(a != b);
    /// 1 where a > b, 0 where they are equal, −1 where a < b, and NaN where either is.
    pub(crate) order Order: |a, b| if a.is_nan() || b.is_nan() {
        T::nan()
    } else {
        indicator::<T>(a > b) - indicator::<T>(a < b)
    };
}

#[inline(always)]
fn indicator<T: Number>(holds: bool) -> T {
    if holds { T::one() } else { T::zero() }
}

/// 1 where a > b, ½ where they are equal, 0 where a < b, and NaN where either is.
fn first_share(a: Var, b: Var) -> Var {
    a.order(b) * 0.5 + 0.5
}

#[derive(Clone, Copy)]
struct Power {
    exponent: f64,
}

impl Power {
    fn forward<T: Number>(self, x: View<'_, T>, out: &mut [T]) {
        #[derive(Clone, Copy)]
        struct Known<const N: i32>;
        impl<T: Number, const N: i32> Function<T, 1> for Known<N> {
            #[inline(always)]
            fn value<const FMA: bool>(self, [x]: [T; 1]) -> T {
                functions::powi(x, N)
            }
        }
        #[derive(Clone, Copy)]
        struct Integer(i32);
        impl<T: Number> Function<T, 1> for Integer {
            #[inline(always)]
            fn value<const FMA: bool>(self, [x]: [T; 1]) -> T {
                functions::powi(x, self.0)
            }
        }
        #[derive(Clone, Copy)]
        struct General(f64);
        impl<T: Number> Function<T, 1> for General {
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
struct Pow {
    by_base: u8,
    by_exponent: u8,
}

impl<T: Number> Function<T, 2> for Pow {
    #[inline(always)]
    fn value<const FMA: bool>(self, [a, b]: [T; 2]) -> T {
        functions::pow_derivative(a, b, self.by_base.into(), self.by_exponent.into())
    }
}

#[derive(Clone, Copy)]
struct TanhSlope;

impl<T: Number> Function<T, 2> for TanhSlope {
    #[inline(always)]
    fn value<const FMA: bool>(self, [x, y]: [T; 2]) -> T {
        functions::tanh_slope::<T, FMA>(x, y)
    }
}

#[track_caller]
fn tanh_slope(x: Var, y: Var) -> Var {
    apply(x.tape, Op::Elementwise(Elementwise::TanhSlope), &[x.node, y.node])
}

/// A function of one number that has an order.
#[derive(Clone, Copy)]
struct OfOrder {
    order: u32,
    f: fn(u32, f64) -> f64,
}

impl<T: Number> Function<T, 1> for OfOrder {
    #[inline(always)]
    fn value<const FMA: bool>(self, [x]: [T; 1]) -> T {
        special::in_double(|x| (self.f)(self.order, x), x)
    }
}

#[track_caller]
fn erf_slope(x: Var, order: u32) -> Var {
    apply(x.tape, Op::Elementwise(Elementwise::ErfSlope(order)), &[x.node])
}

#[derive(Clone, Copy)]
struct Choose;

impl<T: Number> Function<T, 3> for Choose {
    #[inline(always)]
    fn value<const FMA: bool>(self, [condition, a, b]: [T; 3]) -> T {
        if condition != T::zero() { a } else { b }
    }
}

impl Rules for Elementwise {
    fn name(&self) -> &str {
        match self {
            Elementwise::Unary(op) => op.name(),
            Elementwise::Power(_) => "powf",
            Elementwise::Binary(op) => op.name(),
            Elementwise::Pow { .. } => "pow",
            Elementwise::Compare(op) => op.name(),
            Elementwise::Select => "select",
            Elementwise::TanhSlope => "tanh_slope",
            Elementwise::ErfSlope(_) => "erf_slope",
            Elementwise::Polygamma(0) => "digamma",
            Elementwise::Polygamma(_) => "polygamma",
        }
    }

    fn parameters(&self) -> String {
        match self {
            Elementwise::Power(bits) => f64::from_bits(*bits).to_string(),
            Elementwise::Pow { by_base, by_exponent } if by_base + by_exponent > 0 => {
                format!("differentiated {by_base} times by its base, {by_exponent} by its exponent")
            }
            Elementwise::ErfSlope(order @ 1..) => format!("differentiated {order} times"),
            Elementwise::Polygamma(order @ 1..) => order.to_string(),
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
            Elementwise::TanhSlope => operand == 0,
            _ => true,
        }
    }

    fn vjp(&self, call: &Call, g: Var) -> Cotangents {
        match *self {
            Elementwise::Unary(op) => call.one(|| op.vjp(call.var(0), call.output(), g)),
            Elementwise::Power(bits) => match f64::from_bits(bits) {
                0.0 => smallvec::smallvec![None],
                1.0 => call.one(|| g),
                p => call.one(|| g * (call.var(0).powf(p - 1.0) * p)),
            },
            Elementwise::Binary(op) => op.vjp(call, g),
            Elementwise::Pow { by_base, by_exponent } => {
                let derivative = |by_base, by_exponent| {
                    let op = Elementwise::Pow { by_base, by_exponent };
                    g * apply(call.tape, Op::Elementwise(op), &call.operands)
                };
                call.two(|| derivative(by_base + 1, by_exponent), || derivative(by_base, by_exponent + 1))
            }
            Elementwise::Compare(_) => Cotangents::new(),
            // d/dx (1 − y²) = −2y·(1 − y²). With y·(1 − y²) as a factor, that would be kept beside its two factors.
            Elementwise::TanhSlope => {
                smallvec::smallvec![Some(g * call.output() * call.var(1) * -2.0), None]
            }
            Elementwise::ErfSlope(order) => call.one(|| g * erf_slope(call.var(0), order + 1)),
            Elementwise::Polygamma(order) => call.one(|| g * call.var(0).polygamma(order + 1)),
            Elementwise::Select => {
                let condition = call.var(0);
                let zero = g.full_like(0.0);
                smallvec::smallvec![
                    None,
                    call.needed[1].then(|| condition.select(g, zero)),
                    call.needed[2].then(|| condition.select(zero, g)),
                ]
            }
        }
    }

    fn with_leading_axis(&self, _size: usize) -> Op {
        Op::Elementwise(*self)
    }

    fn rows(&self, operands: &[&[usize]]) -> Option<Rows> {
        Rows::alike(operands)
    }

    fn forward(&self, operands: &[Operand<'_>], _shape: &[usize], out: SliceMut<'_>) -> Result<(), Failure> {
        by_dtype!(floats SliceMut, out, |out| self.compute(|i| operands[i].view(), out));
        Ok(())
    }

    fn takes_repeated(&self, _operand: usize, _repeat: Repeat, _shape: &[usize]) -> bool {
        true
    }

    fn flops(&self, _operands: &[&[usize]], shape: &[usize]) -> usize {
        size(shape)
    }
}

impl Elementwise {
    /// Of the operands with these numbers.
    #[inline]
    pub(super) fn compute<'a, T: Number>(&self, operand: impl Fn(usize) -> View<'a, T>, out: &mut [T]) {
        let x = operand(0);
        match *self {
            Elementwise::Unary(op) => op.forward(x, out),
            Elementwise::Power(bits) => Power { exponent: f64::from_bits(bits) }.forward(x, out),
            Elementwise::Binary(op) => op.forward(x, operand(1), out),
            Elementwise::Pow { by_base, by_exponent } => {
                map(Pow { by_base, by_exponent }, [x, operand(1)], out);
            }
            Elementwise::Compare(op) => op.forward(x, operand(1), out),
            Elementwise::Select => map(Choose, [x, operand(1), operand(2)], out),
            Elementwise::TanhSlope => map(TanhSlope, [x, operand(1)], out),
            Elementwise::ErfSlope(order) => map(OfOrder { order, f: special::erf_slope }, [x], out),
            Elementwise::Polygamma(order) => map(OfOrder { order, f: special::polygamma }, [x], out),
        }
    }
}

/// The other operand of an operator: a [`Var`], a number, or an array.
#[derive(Clone, Debug)]
pub enum Term {
    /// Recorded already.
    Var(Var),
    /// The same everywhere. It takes the type of the array that it meets.
    Number(f64),
    /// A constant, of a type that has to be that of the array it meets.
    Array(Value<'static>),
}

impl From<Var> for Term {
    fn from(var: Var) -> Self {
        Term::Var(var)
    }
}

impl From<&Var> for Term {
    fn from(var: &Var) -> Self {
        Term::Var(*var)
    }
}

impl<T: Real> From<T> for Term {
    fn from(number: T) -> Self {
        Term::Number(number.as_f64())
    }
}

impl From<i32> for Term {
    fn from(number: i32) -> Self {
        Term::Number(number.into())
    }
}

impl<E: Element, D: Dimension> From<&Array<E, D>> for Term {
    fn from(array: &Array<E, D>) -> Self {
        array.clone().into()
    }
}

impl<E: Element, D: Dimension> From<Array<E, D>> for Term {
    fn from(array: Array<E, D>) -> Self {
        Term::Array(array.into())
    }
}

impl Var {
    /// Records the term on this Var's tape; a number takes this Var's shape and type.
    #[track_caller]
    pub(crate) fn term(self, operation: &str, term: Term) -> Self {
        self.check_alive();
        match term {
            Term::Var(var) => {
                self.check_same_tape(operation, var);
                self.check_same_dtype(operation, var);
                var
            }
            Term::Number(number) => fill(self, number, &self.shape()),
            Term::Array(array) => {
                self.check_dtype(operation, array.dtype(), here(self.tape));
                constant(self.tape, array)
            }
        }
    }

    #[track_caller]
    fn binary(self, operation: &str, op: Elementwise, other: Term) -> Self {
        let other = self.term(operation, other);
        let (a, b) = self.broadcast_with(operation, other);
        apply(self.tape, Op::Elementwise(op), &[a.node, b.node])
    }

    /// Both, broadcast to their common shape.
    #[track_caller]
    fn broadcast_with(self, operation: &str, other: Self) -> (Self, Self) {
        let (a, b) = (self.shape(), other.shape());
        if a == b {
            return (self, other);
        }
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
    /// NaN there does no harm, in the value or the derivative of `select` itself. But its cotangent is 0, and 0·∞
    /// is NaN: so is the gradient of `x.greater(0.0).select(x.sqrt(), 0.0)` at 0. If the branch not taken has no finite
    /// derivative, select its input instead: `x.greater(0.0).select(x, 1.0).sqrt()`.
    #[track_caller]
    #[must_use]
    pub fn select(self, a: impl Into<Term>, b: impl Into<Term>) -> Self {
        let (a, b) = (self.term("select", a.into()), self.term("select", b.into()));
        let (a, b) = a.broadcast_with("select", b);
        let (condition, a) = self.broadcast_with("select", a);
        let b = b.stretched(&a.shape());
        apply(self.tape, Op::Elementwise(Elementwise::Select), &[condition.node, a.node, b.node])
    }

    /// a^b; NaN for a negative a and a b that is no integer. For a constant exponent, [`powf`](Self::powf) is better.
    ///
    /// Its derivatives, of every order, are those of the mathematics: by a alone, those of the power function with that
    /// exponent (so that of a^0 is 0, at a = 0 too). By b they have factors ln a, and are NaN for a negative a. At a = 0
    /// they are the limits from above, as 0 for 0^b with b > 0, and −∞ for ∂²/∂a∂b at b = 1; where there is none, as for
    /// the jump of 0^b at b = 0, the derivatives by b alone are 0.
    #[track_caller]
    #[must_use]
    pub fn pow(self, exponent: impl Into<Term>) -> Self {
        self.binary("pow", Elementwise::Pow { by_base: 0, by_exponent: 0 }, exponent.into())
    }

    /// x to a constant power. The n-th derivative is p·(p−1)⋯(p−n+1)·x^(p−n), and 0 (at x = 0, too) where a factor is: at
    /// x = 0 that is 0 for p > n, n! for p = n, 0 for an integer 0 ≤ p < n, and infinite for other p < n.
    #[track_caller]
    #[must_use]
    pub fn powf(self, exponent: f64) -> Self {
        self.check_alive();
        apply(self.tape, Op::Elementwise(Elementwise::Power(exponent.to_bits())), &[self.node])
    }

    /// x to a whole power: [`powf`](Self::powf).
    #[track_caller]
    #[must_use]
    pub fn powi(self, exponent: i32) -> Self {
        self.powf(exponent.into())
    }

    /// The natural logarithm: [`ln`](Self::ln).
    #[track_caller]
    #[must_use]
    pub fn log(self) -> Self {
        self.ln()
    }

    /// x where it is above 0, else 0, and NaN of NaN. The derivatives at 0 are 0 (those of `x.max(0.0)` are ½).
    #[track_caller]
    #[must_use]
    pub fn relu(self) -> Self {
        self.less_equal(0.0).select(0.0, self)
    }

    /// 1/x.
    #[track_caller]
    #[must_use]
    pub fn recip(self) -> Self {
        self.powf(-1.0)
    }

    /// ψ(x) = Γ'(x)/Γ(x), the derivative of [`ln_gamma`](Self::ln_gamma), within 4 units in the last place for x > 0, at its
    /// zero 1.4616…, too. For x < 0 the units are of the larger of ψ(1 − x) and π·cot πx, of which it is a difference.
    ///
    /// At a pole it is infinite if both sides go there or if a sign says from which side one comes: ∓∞ at ±0, NaN at −1, −2, ….
    /// It is ∞ at ∞, and NaN at −∞.
    #[track_caller]
    #[must_use]
    pub fn digamma(self) -> Self {
        self.polygamma(0)
    }

    /// The derivative of ψ ([`digamma`](Self::digamma)) of that order, within 4 + order units in the last place for x > 0. For
    /// x < 0 the units are of the largest of the sums over reciprocal powers on either side of 0.
    ///
    /// At a pole it is ∞ for an odd order; for an even one ∓∞ at ±0, and NaN at −1, −2, …. It is 0 at ∞, and NaN at −∞.
    #[track_caller]
    #[must_use]
    pub fn polygamma(self, order: u32) -> Self {
        self.check_alive();
        apply(self.tape, Op::Elementwise(Elementwise::Polygamma(order)), &[self.node])
    }

    /// x².
    #[track_caller]
    #[must_use]
    pub fn square(self) -> Self {
        self.powf(2.0)
    }

    /// −1, 0 or 1, by sign, and NaN of NaN. No derivative flows through it.
    #[track_caller]
    #[must_use]
    pub fn sign(self) -> Self {
        self.order(0.0)
    }

    /// The nearest number in [low, high], NaN of NaN. The derivative is 0 outside, and ½ at a bound.
    #[track_caller]
    #[must_use]
    pub fn clip(self, low: f64, high: f64) -> Self {
        self.max(low).min(high)
    }
}

impl Neg for Var {
    type Output = Self;
    #[track_caller]
    fn neg(self) -> Self {
        self.negate()
    }
}

impl Neg for &Var {
    type Output = Var;
    #[track_caller]
    fn neg(self) -> Var {
        self.negate()
    }
}

/// Panics for none: zero of which shape, on which tape?
impl<V: Into<Var>> Sum<V> for Var {
    #[track_caller]
    fn sum<I: Iterator<Item = V>>(vars: I) -> Self {
        let sum = vars.map(Into::into).reduce(|sum, var| sum + var);
        sum.expect("sum: of no Vars; begin with a zero: `vars.fold(tape.full(&[], 0.0), |sum, x| sum + x)`")
    }
}

/// Panics for none: one of which shape, on which tape?
impl<V: Into<Var>> Product<V> for Var {
    #[track_caller]
    fn product<I: Iterator<Item = V>>(vars: I) -> Self {
        let product = vars.map(Into::into).reduce(|product, var| product * var);
        product
            .expect("product: of no Vars; begin with a one: `vars.fold(tape.full(&[], 1.0), |product, x| product * x)`")
    }
}

macro_rules! operator {
    ($trait:ident, $method:ident, $name:ident, $assign:ident, $assigned:ident) => {
        impl<R: Into<Term>> $trait<R> for Var {
            type Output = Var;
            #[track_caller]
            fn $method(self, other: R) -> Var {
                self.$name(other)
            }
        }
        impl<R: Into<Term>> $trait<R> for &Var {
            type Output = Var;
            #[track_caller]
            fn $method(self, other: R) -> Var {
                self.$name(other)
            }
        }
        /// The Var becomes another one, on the same tape.
        impl<R: Into<Term>> $assign<R> for Var {
            #[track_caller]
            fn $assigned(&mut self, other: R) {
                *self = self.$name(other);
            }
        }
        operator!(of f64, $trait, $method, $name);
        operator!(of i32, $trait, $method, $name);
        impl<E: Element, D: Dimension> $trait<Var> for &Array<E, D> {
            type Output = Var;
            #[track_caller]
            fn $method(self, other: Var) -> Var {
                other.term(stringify!($name), self.into()).$name(other)
            }
        }
        impl<E: Element, D: Dimension> $trait<Var> for Array<E, D> {
            type Output = Var;
            #[track_caller]
            fn $method(self, other: Var) -> Var {
                other.term(stringify!($name), self.into()).$name(other)
            }
        }
    };
    (of $number:ident, $trait:ident, $method:ident, $name:ident) => {
        impl $trait<Var> for $number {
            type Output = Var;
            #[track_caller]
            fn $method(self, other: Var) -> Var {
                other.term(stringify!($name), self.into()).$name(other)
            }
        }
        impl $trait<&Var> for $number {
            type Output = Var;
            #[track_caller]
            fn $method(self, other: &Var) -> Var {
                self.$method(*other)
            }
        }
    };
}
operator!(Add, add, plus, AddAssign, add_assign);
operator!(Sub, sub, minus, SubAssign, sub_assign);
operator!(Mul, mul, times, MulAssign, mul_assign);
operator!(Div, div, over, DivAssign, div_assign);
