//! Functions of one number, correct within two units in the last place, written once for both number types and all kinds
//! of processors: without branches and tables, so that a loop over them becomes vector instructions.
//!
//! Each follows the same plan: the argument is reduced to a small interval, exactly or nearly so; a polynomial does the
//! rest. The polynomials interpolate at Chebyshev nodes (in 200-bit arithmetic; the coefficients are then rounded), which is
//! within a small factor of the best of their degree; that of the exponential, which others are made of, is the best one
//! (by Remez' algorithm, the last coefficients for the first ones as they are when rounded). What is given as an error is
//! the relative error of the function that the polynomial is part of.
// The coefficients of f32 are exact values of f32, written with all their digits.
#![allow(clippy::excessive_precision)]

use smallvec::SmallVec;

use crate::real::Real;

/// What the functions need to know of a number type, with a mantissa of p bits.
pub trait Number: Real + faer::traits::ComplexField {
    /// 1.5·2^(p−1) + the exponents' bias. Adding it rounds to an integer n, and leaves n + bias in the lowest bits of the
    /// sum: "n, shifted".
    const SHIFT: Self;
    /// 1.5·2^(p−1): the same, without the bias.
    const WHOLE: Self;
    /// A power of two, and its exponent. The smallest number divided by it is a normal one.
    const TINY: [Self; 2];
    /// Up to here e^x and e^−x are normal numbers.
    const LARGEST_EXPONENT: Self;
    /// e^x is 0 here.
    const EXP_ZERO: Self;
    /// tanh is 1 from here on, and sigmoid from twice this on.
    const TANH_ONE: Self;
    const LOG2_E: Self;
    /// ln 2 as a sum, the first so short that its product with an exponent is exact.
    const LN_2: [Self; 2];
    const TWO_OVER_PI: Self;
    /// π/2 as a sum, all but the last so short that their products with any n of the reduction are exact, and that
    /// x − n·first − n·second … rounds only where nothing cancels after.
    const HALF_PI: &'static [Self];
    /// Up to here the reduction by π/2 is good: at the numbers nearest to multiples of π/2, what is left of the angle
    /// has a relative error below 2^−p.
    const LARGEST_ANGLE: Self;
    /// (e^r − 1 − r)/r² in r, |r| ≤ ½ ln 2. Error 2^−57.8, 2^−28.2.
    const EXP: &'static [Self];
    /// (ln((1 + s)/(1 − s)) − 2s)/s³ in s², up to where (1 + s)/(1 − s) = √2. Error 2^−57.6, 2^−28.5.
    const LN: &'static [Self];
    /// The same, up to where (1 + s)/(1 − s) = 2. Error 2^−56.9, 2^−29.9.
    const LN_1P: &'static [Self];
    /// (r − sin r)/r³ in r², |r| ≤ π/4. Error 2^−55.6, 2^−28.3.
    const SIN: &'static [Self];

    /// a·b + c, rounded once.
    fn fused(a: Self, b: Self, c: Self) -> Self;
    /// 2^n of n, shifted, to which it is a normal number.
    fn power_of_two(self) -> Self;
    /// A positive normal number as 2^k·m, √½ ≤ m < √2: (k, m).
    fn split(self) -> (Self, Self);
    /// A bit of the number's representation, as the sign of some number.
    fn bit_as_sign(self, bit: u32) -> Self;
    /// −x where that has a minus, else x.
    fn negated_by(self, sign: Self) -> Self;
}

macro_rules! number {
    ($float:ident, $bits:ident, mantissa: $mantissa:expr, $($constants:tt)*) => {
        impl Number for $float {
            const SHIFT: Self = Self::WHOLE + ($float::MAX_EXP - 1) as $float;
            const WHOLE: Self = 1.5 * (1_u64 << $mantissa) as $float;
            const TINY: [Self; 2] = [1.0 / (1_u64 << ($mantissa + 11)) as $float, -($mantissa as $float) - 11.0];
            const LOG2_E: Self = std::$float::consts::LOG2_E;
            const TWO_OVER_PI: Self = std::$float::consts::FRAC_2_PI;
            $($constants)*

            #[inline(always)]
            fn fused(a: Self, b: Self, c: Self) -> Self {
                a.mul_add(b, c)
            }
            #[inline(always)]
            fn power_of_two(self) -> Self {
                $float::from_bits(self.to_bits() << $mantissa)
            }
            #[inline(always)]
            fn split(self) -> (Self, Self) {
                // The bits' distance to those of √½ has k above the mantissa; OFFSET makes it positive. An integer below
                // the mantissa of 2^(p−1) is its number there.
                const OFFSET: $bits = $float::MAX_EXP as $bits;
                const INTEGERS: $float = (1_u64 << $mantissa) as $float;
                let start = std::$float::consts::FRAC_1_SQRT_2.to_bits();
                let distance = self.to_bits().wrapping_sub(start).wrapping_add(OFFSET << $mantissa);
                let k = $float::from_bits((distance >> $mantissa) | INTEGERS.to_bits()) - (INTEGERS + OFFSET as $float);
                (k, $float::from_bits((distance & ((1 << $mantissa) - 1)).wrapping_add(start)))
            }
            #[inline(always)]
            fn bit_as_sign(self, bit: u32) -> Self {
                $float::from_bits(self.to_bits() << ($bits::BITS - 1 - bit))
            }
            #[inline(always)]
            fn negated_by(self, sign: Self) -> Self {
                $float::from_bits(self.to_bits() ^ (sign.to_bits() & (1 << ($bits::BITS - 1))))
            }
        }
    };
}

number! { f64, u64, mantissa: 52,
    const LARGEST_EXPONENT: f64 = 708.0;
    const EXP_ZERO: f64 = -746.0;
    const TANH_ONE: f64 = 20.0;
    // 42 bits: exponents have 11.
    const LN_2: [f64; 2] = [0.6931471805598903, 5.497923018708371e-14];
    // 37 and 37 bits: n has 16.
    const HALF_PI: &'static [f64] = &[1.5707963267923333, 2.5633441515839558e-12, 1.0562999066987428e-23];
    const LARGEST_ANGLE: f64 = 1e5;
    const EXP: &'static [f64] = &[
        0.5000000000000011, 0.16666666666666413, 0.041666666666525395, 0.008333333333491493, 0.0013888888945039536,
        0.0001984126951851796, 2.4801491500738135e-05, 2.7557570831496138e-06, 2.7630861502048075e-07,
        2.5006509406667356e-08,
    ];
    const LN: &'static [f64] = &[
        0.666666666666667, 0.39999999999898905, 0.285714286262473, 0.2222221109044554, 0.18182892354942654,
        0.15331614298732416, 0.14617775335974037,
    ];
    const LN_1P: &'static [f64] = &[
        0.6666666666666666, 0.40000000000014585, 0.2857142856710876, 0.22222222717427864, 0.18181789436132859,
        0.15385570064958623, 0.13314144209654935, 0.12001072809590713, 0.08800738486144674, 0.1616404561194353,
    ];
    const SIN: &'static [f64] = &[
        0.16666666666666666, -0.008333333333330938, 0.00019841269836740955, -2.7557316093417853e-06,
        2.5051129942141508e-08, -1.5917992268027582e-10,
    ];
}

number! { f32, u32, mantissa: 23,
    const LARGEST_EXPONENT: f32 = 87.0;
    const EXP_ZERO: f32 = -104.0;
    const TANH_ONE: f32 = 10.0;
    // 16 bits: exponents have 8.
    const LN_2: [f32; 2] = [0.693145751953125, 1.428606765330187e-06];
    // 14, 14 and 14 bits: n has 10.
    const HALF_PI: &'static [f32] = &[1.5706787109375, 0.00011761486530303955, 9.920313459588215e-10, 6.223371969669989e-14];
    const LARGEST_ANGLE: f32 = 1600.0;
    const EXP: &'static [f32] = &[
        0.4999999403953552, 0.16666516661643982, 0.04166810214519501, 0.008369192481040955, 0.001383890281431377,
    ];
    const LN: &'static [f32] = &[0.6666668653488159, 0.3998875916004181, 0.29580962657928467];
    const LN_1P: &'static [f32] =
        &[0.6666666865348816, 0.3999970555305481, 0.285923570394516, 0.2170657515525818, 0.23224329948425293];
    const SIN: &'static [f32] =
        &[0.1666666716337204, -0.008333331905305386, 0.00019840084132738411, -2.7249627692071954e-06];
}

/// A number as another of the same value, or the nearest.
#[inline(always)]
pub fn as_number<X: Number, T: Number>(x: X) -> T {
    T::of(x.as_f64())
}

/// a·b + c, rounded once where the processor can.
#[inline(always)]
pub fn mul_add<T: Number, const FMA: bool>(a: T, b: T, c: T) -> T {
    if FMA { T::fused(a, b, c) } else { a * b + c }
}

/// Σ c_i·x^i, where `square` is x². Even and odd powers are two sums, by Horner's rule each, so that half as many
/// operations wait for one another. (Four sums take longer: a vector more, and another operation.)
#[inline(always)]
pub(super) fn polynomial<T: Number, const FMA: bool>(c: &[T], x: T, square: T) -> T {
    let mut sums = [T::zero(); 2];
    for i in (0..c.len()).rev() {
        sums[i % 2] = if i + 2 < c.len() { mul_add::<T, FMA>(sums[i % 2], square, c[i]) } else { c[i] };
    }
    mul_add::<T, FMA>(sums[1], x, sums[0])
}

/// e^x = 2^n·(1 + near), where 1 + near is 1 within a factor of √2: (2^(n + k), near), where `shift` is
/// [`Number::SHIFT`] + k, and 2^(n + k) a normal number.
#[inline(always)]
pub(super) fn exp_parts<T: Number, const FMA: bool>(x: T, shift: T) -> (T, T) {
    let shifted = mul_add::<T, FMA>(x, T::LOG2_E, shift);
    let n = shifted - shift;
    // x = n·ln 2 + high + low, and r is their sum: near = high + (low + r²·(½ + …)) rounds hardly more than once.
    let high = mul_add::<T, FMA>(-n, T::LN_2[0], x);
    let low = -n * T::LN_2[1];
    let r = high + low;
    let z = r * r;
    (shifted.power_of_two(), high + mul_add::<T, FMA>(z, polynomial::<T, FMA>(T::EXP, r, z), low))
}

/// e^x, where it is a normal number.
#[inline(always)]
pub fn exp<T: Number, const FMA: bool>(x: T) -> T {
    let (power, near) = exp_parts::<T, FMA>(x, T::SHIFT);
    mul_add::<T, FMA>(power, near, power)
}

/// Is [`exp`] not for this number?
#[inline(always)]
pub fn is_exp_exception<T: Number>(x: T) -> bool {
    x.abs() > T::LARGEST_EXPONENT
}

/// e^x for x ≤ 0, multiplied by a power of two at last: 2^n need not be a number.
#[inline(always)]
pub fn exp_of_negative<T: Number, const FMA: bool>(x: T) -> T {
    let x = if x < T::EXP_ZERO { T::EXP_ZERO } else { x };
    let [tiny, exponent] = T::TINY;
    let (power, near) = exp_parts::<T, FMA>(x, T::SHIFT - exponent);
    mul_add::<T, FMA>(power, near, power) * tiny
}

/// ln x of a normal number x > 0: ln(2^k·m) = k·ln 2 + ln m, and ln m = ln(1 + f) by [`ln_near_one`].
#[inline(always)]
pub fn ln<T: Number, const FMA: bool>(x: T) -> T {
    let (k, m) = x.split();
    let [high, low] = T::LN_2;
    mul_add::<T, FMA>(k, high, ln_near_one::<T, FMA>(m - T::one(), T::LN, k * low))
}

/// Is [`ln`] not for this number?
#[inline(always)]
pub fn is_ln_exception<T: Number>(x: T) -> bool {
    !(T::min_positive_value()..=T::max_value()).contains(&x)
}

/// ln(1 + f) + small, where s = f/(2 + f) is in the range of the polynomial L.
///
/// ln(1 + f) = ln((1 + s)/(1 − s)) = 2s + s³·L(s²). Since 2s = f − f·s, and f is exact, it is best written as
/// f − (f²/2 − s·(f²/2 + s²·L)): only small numbers are then rounded before the last step.
#[inline(always)]
pub(super) fn ln_near_one<T: Number, const FMA: bool>(f: T, l: &[T], small: T) -> T {
    f - below::<T, FMA>(f, l, small)
}

/// f − ln(1 + f) − small, to as many digits.
#[inline(always)]
pub(super) fn below<T: Number, const FMA: bool>(f: T, l: &[T], small: T) -> T {
    let s = f / (f + T::of(2.0));
    let z = s * s;
    let half = T::of(0.5) * f * f;
    half - mul_add::<T, FMA>(s, mul_add::<T, FMA>(z, polynomial::<T, FMA>(l, z, z * z), half), small)
}

/// With t = e^(−2|x|) − 1, which is near −2|x| where x is small: tanh |x| = −t/(2 + t).
#[inline(always)]
pub fn tanh<T: Number, const FMA: bool>(x: T) -> T {
    let a = x.abs();
    let a = if a > T::TANH_ONE { T::TANH_ONE } else { a };
    let (power, near) = exp_parts::<T, FMA>(T::of(-2.0) * a, T::SHIFT);
    // −t = (1 − 2^n) − 2^n·near, where n = 0 or 2^n ≤ ½: the rounding of near matters little.
    let (difference, sum) = (T::one() - power, T::one() + power);
    let above = mul_add::<T, FMA>(-power, near, difference);
    let below = mul_add::<T, FMA>(power, near, sum);
    (above / below).copysign(x)
}

/// 1 − tanh² x, given y = tanh x, of which nothing is lost where the tangent is near 1: (1 + |y|)·(1 − |y|), where
/// 1 − |y| = e^(−2|x|)·(1 + |y|).
#[inline(always)]
pub fn tanh_slope<T: Number, const FMA: bool>(x: T, y: T) -> T {
    let sum = T::one() + y.abs();
    exp_of_negative::<T, FMA>(T::of(-2.0) * x.abs()) * (sum * sum)
}

/// 1/(1 + e^−x), both parts of the fraction times a power of two, so that none of it overflows.
#[inline(always)]
pub fn sigmoid<T: Number, const FMA: bool>(x: T) -> T {
    let one_from = T::TANH_ONE + T::TANH_ONE;
    let x = if x > one_from { one_from } else { x };
    let x = if x < T::EXP_ZERO { T::EXP_ZERO } else { x };
    let [tiny, exponent] = T::TINY;
    let (power, near) = exp_parts::<T, FMA>(-x, T::SHIFT + exponent);
    // The larger of 1 and 2^n is added last, so that only this rounds by much.
    let (small, large) = if power < tiny { (power, tiny) } else { (tiny, power) };
    tiny / (large + mul_add::<T, FMA>(power, near, small))
}

/// ln(1 + e^x) = max(x, 0) + ln(1 + e^−|x|).
#[inline(always)]
pub fn softplus<T: Number, const FMA: bool>(x: T) -> T {
    let (positive, negative) = if x > T::zero() { (x, -x) } else { (T::zero(), x) };
    positive + ln_near_one::<T, FMA>(exp_of_negative::<T, FMA>(negative), T::LN_1P, T::zero())
}

/// sin(x + k·π/2), for |x| up to [`Number::LARGEST_ANGLE`], where `shift` is [`Number::WHOLE`] + k.
///
/// x = n·π/2 + r, |r| ≤ π/4, makes it one of ±sin r and ±cos r = ±(1 − 2·sin² r/2), by n + k, which `shifted` has in its
/// lowest bits: one polynomial does for both.
#[inline(always)]
fn sine<T: Number, const FMA: bool>(x: T, shift: T) -> T {
    let shifted = mul_add::<T, FMA>(x, T::TWO_OVER_PI, shift);
    let n = shifted - shift;
    // The angle is r − excess. The first difference is exact.
    let [first, parts @ .., last] = T::HALF_PI else { unreachable!() };
    let (mut r, mut excess) = (mul_add::<T, FMA>(-n, *first, x), T::zero());
    for (i, &part) in parts.iter().enumerate() {
        let before = r;
        r = mul_add::<T, FMA>(-n, part, before);
        let changed = r - before;
        excess = mul_add::<T, FMA>(n, part, if i == 0 { changed } else { changed + excess });
    }
    // The last part of π/2 would change no r but a tiny one.
    let excess = mul_add::<T, FMA>(n, *last, excess);
    let odd = shifted.bit_as_sign(0).is_sign_negative();
    let scale = if odd { T::of(0.5) } else { T::one() };
    let (r, excess) = (r * scale, excess * scale);
    let z = r * r;
    // In this order, and with this sign of `excess`, −0 stays −0. And 1 − 2s² is never beyond 1.
    let sin = r - mul_add::<T, FMA>(r * z, polynomial::<T, FMA>(T::SIN, z, z * z), excess);
    let y = if odd { mul_add::<T, FMA>(-(sin + sin), sin, T::one()) } else { sin };
    y.negated_by(shifted.bit_as_sign(1))
}

/// sin x, for |x| up to [`Number::LARGEST_ANGLE`].
#[inline(always)]
pub fn sin<T: Number, const FMA: bool>(x: T) -> T {
    sine::<T, FMA>(x, T::WHOLE)
}

/// cos x = sin(x + π/2), for |x| up to [`Number::LARGEST_ANGLE`].
#[inline(always)]
pub fn cos<T: Number, const FMA: bool>(x: T) -> T {
    sine::<T, FMA>(x, T::WHOLE + T::one())
}

/// x^n for an integer |n| < 128, by squaring.
#[inline(always)]
pub fn powi<T: Number>(x: T, n: i32) -> T {
    let (mut y, mut square) = (T::one(), x);
    for bit in 0..7 {
        y *= if (n.unsigned_abs() >> bit) & 1 == 1 { square } else { T::one() };
        square *= square;
    }
    if n < 0 { T::one() / y } else { y }
}

/// ∂^m/∂a^m ∂^n/∂b^n a^b, as [`Var::pow`](crate::Var::pow) describes it: a^(b−m)·Σ_k n!/(n−k)!·c_k·(ln a)^(n−k), where c_k
/// are the coefficients of b(b−1)⋯(b−m+1), as a polynomial around b.
pub fn pow_derivative<T: Number>(a: T, b: T, m: usize, n: usize) -> T {
    if m + n == 0 {
        return a.powf(b);
    }
    let mut c: SmallVec<[T; 8]> = smallvec::smallvec![T::zero(); n + 1];
    c[0] = T::one();
    for i in 0..m {
        for k in (0..=n).rev() {
            let before = if k > 0 { c[k - 1] } else { T::zero() };
            c[k] = c[k] * (b - T::of(i as f64)) + before;
        }
    }
    let exponent = b - T::of(m as f64);
    let power = a.powf(exponent);
    // A power function that is constant by now; and one that vanishes faster than its factors grow.
    if n == 0 && c[0] == T::zero() || power == T::zero() && b.is_infinite() {
        return T::zero();
    }
    if n == 0 {
        return c[0] * power;
    }
    let ln = a.ln();
    if ln.is_infinite() {
        // At 0 and ∞ the power decides against the logarithms, if it does not go to 1.
        let vanishes = if a == T::zero() { exponent > T::zero() } else { exponent < T::zero() };
        if vanishes || a == T::zero() && m == 0 && b == T::zero() {
            return T::zero();
        }
        // Of the terms, the one with the highest power of the logarithm.
        let highest = (0..=n).find(|&k| c[k] != T::zero()).unwrap_or(n);
        return (highest..n).fold(T::infinity() * c[highest], |product, _| product * ln);
    }
    // By Horner's rule.
    let (mut sum, mut factor) = (c[0], T::one());
    for k in 1..=n {
        factor *= T::of((n + 1 - k) as f64);
        sum = sum * ln + c[k] * factor;
    }
    sum * power
}
