//! Functions of one number, correct within two units in the last place, written once for both number types and all kinds
//! of processors: without branches and tables, so that a loop over them becomes vector instructions.
//!
//! Each follows the same plan: the argument is reduced to a small interval, exactly or nearly so; a polynomial does the
//! rest. The polynomials interpolate at Chebyshev nodes (in 200-bit arithmetic; the coefficients are then rounded), which is
//! within a small factor of the best of their degree. What is given as an error is the relative error of the function that
//! the polynomial is part of.
// The coefficients of f32 are exact values of f32, written with all their digits.
#![allow(clippy::excessive_precision)]

use crate::real::Real;

/// What the functions need to know of a number type, with a mantissa of p bits.
pub trait Number: num_traits::Float + 'static {
    /// 1.5·2^(p−1). Adding it rounds to an integer n, and leaves n in the lowest bits of the sum: "n, shifted".
    const SHIFT: Self;
    /// A power of two that makes any number a normal one, and its exponent.
    const LIFT: [Self; 2];
    /// Where e^x is 0, and where it is ∞.
    const EXP_RANGE: [Self; 2];
    /// tanh is 1 from here on.
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
    /// (e^r − 1 − r)/r² in r, |r| ≤ ½ ln 2. Error 2^−55.8, 2^−26.5.
    const EXP: &'static [Self];
    /// (ln((1 + s)/(1 − s)) − 2s)/s³ in s², up to where (1 + s)/(1 − s) = √2. Error 2^−57.6, 2^−28.5.
    const LN: &'static [Self];
    /// The same, up to where (1 + s)/(1 − s) = 2. Error 2^−56.9, 2^−29.9.
    const LN_1P: &'static [Self];
    /// (sin r − r)/r³ in r², |r| ≤ π/4. Error 2^−55.6, 2^−28.3.
    const SIN: &'static [Self];
    /// (cos r − 1 + r²/2)/r⁴ in r², |r| ≤ π/4. Error 2^−60, 2^−30.6.
    const COS: &'static [Self];

    /// a·b + c, rounded once.
    fn fused(a: Self, b: Self, c: Self) -> Self;
    /// x·2^n, rounded once, for an n (given shifted) to which 2^n need not be a number.
    fn times_power_of_two(self, n: Self) -> Self;
    /// 2^n for an n (given shifted) to which it is a normal number.
    fn power_of_two(n: Self) -> Self;
    /// A positive normal number as 2^k·m, √½ ≤ m < √2: (k, m).
    fn split(self) -> (Self, Self);
    /// A bit of n (given shifted), in two's complement.
    fn bit(n: Self, bit: u32) -> bool;
}

macro_rules! number {
    ($float:ident, $bits:ident, mantissa: $mantissa:expr, $($constants:tt)*) => {
        impl Number for $float {
            const SHIFT: Self = 1.5 * (1_u64 << $mantissa) as $float;
            const LIFT: [Self; 2] = [(1_u64 << ($mantissa + 2)) as $float, ($mantissa + 2) as $float];
            const LOG2_E: Self = std::$float::consts::LOG2_E;
            const TWO_OVER_PI: Self = std::$float::consts::FRAC_2_PI;
            $($constants)*

            #[inline(always)]
            fn fused(a: Self, b: Self, c: Self) -> Self {
                a.mul_add(b, c)
            }
            #[inline(always)]
            fn times_power_of_two(self, n: Self) -> Self {
                // In two steps, of half of the exponent each. Both are biased, so that they are positive.
                const BIAS: $bits = $float::MAX_EXP as $bits - 1;
                let n = n.to_bits().wrapping_sub(Self::SHIFT.to_bits()).wrapping_add(2 * BIAS);
                let half = n >> 1;
                self * $float::from_bits(half << $mantissa) * $float::from_bits(n.wrapping_sub(half) << $mantissa)
            }
            #[inline(always)]
            fn power_of_two(n: Self) -> Self {
                const BIAS: $bits = $float::MAX_EXP as $bits - 1;
                $float::from_bits(n.to_bits().wrapping_sub(Self::SHIFT.to_bits()).wrapping_add(BIAS) << $mantissa)
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
            fn bit(n: Self, bit: u32) -> bool {
                n.to_bits() & (1 << bit) != 0
            }
        }
    };
}

number! { f64, u64, mantissa: 52,
    const EXP_RANGE: [f64; 2] = [-746.0, 710.0];
    const TANH_ONE: f64 = 20.0;
    // 42 bits: exponents have 11.
    const LN_2: [f64; 2] = [0.6931471805598903, 5.497923018708371e-14];
    // 37 and 37 bits: n has 16.
    const HALF_PI: &'static [f64] = &[1.5707963267923333, 2.5633441515839558e-12, 1.0562999066987428e-23];
    const LARGEST_ANGLE: f64 = 1e5;
    const EXP: &'static [f64] = &[
        0.5000000000000001, 0.16666666666666669, 0.04166666666662383, 0.008333333333330039, 0.0013888888917363079,
        0.00019841269863168478, 2.480152106407653e-05, 2.7557268281679976e-06, 2.762019864323475e-07,
        2.5100470238808523e-08,
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
        -0.16666666666666666, 0.008333333333330938, -0.00019841269836740955, 2.7557316093417853e-06,
        -2.5051129942141508e-08, 1.5917992268027582e-10,
    ];
    const COS: &'static [f64] = &[
        0.041666666666666664, -0.0013888888888887389, 2.4801587298754668e-05, -2.7557317266015365e-07,
        2.0876145077997095e-09, -1.1382546702689447e-11,
    ];
}

number! { f32, u32, mantissa: 23,
    const EXP_RANGE: [f32; 2] = [-104.0, 89.0];
    const TANH_ONE: f32 = 10.0;
    // 16 bits: exponents have 8.
    const LN_2: [f32; 2] = [0.693145751953125, 1.428606765330187e-06];
    // 14, 14 and 14 bits: n has 10.
    const HALF_PI: &'static [f32] = &[1.5706787109375, 0.00011761486530303955, 9.920313459588215e-10, 6.223371969669989e-14];
    const LARGEST_ANGLE: f32 = 1600.0;
    const EXP: &'static [f32] = &[0.5, 0.16666576266288757, 0.04166655242443085, 0.008363231085240841, 0.0013926249230280519];
    const LN: &'static [f32] = &[0.6666668653488159, 0.3998875916004181, 0.29580962657928467];
    const LN_1P: &'static [f32] =
        &[0.6666666865348816, 0.3999970555305481, 0.285923570394516, 0.2170657515525818, 0.23224329948425293];
    const SIN: &'static [f32] =
        &[-0.1666666716337204, 0.008333331905305386, -0.00019840084132738411, 2.7249627692071954e-06];
    const COS: &'static [f32] = &[0.0416666641831398, -0.0013888301327824593, 2.4547694920329377e-05];
}

/// a·b + c, rounded once where the processor can.
#[inline(always)]
pub fn mul_add<T: Real, const FMA: bool>(a: T, b: T, c: T) -> T {
    if FMA { T::fused(a, b, c) } else { a * b + c }
}

#[inline(always)]
fn polynomial<T: Real, const FMA: bool>(coefficients: &[T], x: T) -> T {
    let mut value = T::zero();
    for i in (0..coefficients.len()).rev() {
        value = mul_add::<T, FMA>(value, x, coefficients[i]);
    }
    value
}

/// x = n·ln 2 + r: (n, shifted; the rounding error of r; r).
#[inline(always)]
fn reduce_by_ln_2<T: Real, const FMA: bool>(x: T) -> (T, T, T) {
    let shifted = mul_add::<T, FMA>(x, T::LOG2_E, T::SHIFT);
    let n = shifted - T::SHIFT;
    let [high, low] = T::LN_2;
    let nearly = mul_add::<T, FMA>(-n, high, x);
    let r = mul_add::<T, FMA>(-n, low, nearly);
    (shifted, mul_add::<T, FMA>(-n, low, nearly - r), r)
}

/// e^x = 2^n·e^r.
#[inline(always)]
pub fn exp<T: Real, const FMA: bool>(x: T) -> T {
    exp_and_lost::<T, FMA>(if x > T::EXP_RANGE[1] { T::EXP_RANGE[1] } else { x }).0
}

/// e^x, and about what rounding took from it.
#[inline(always)]
fn exp_and_lost<T: Real, const FMA: bool>(x: T) -> (T, T) {
    let x = if x < T::EXP_RANGE[0] { T::EXP_RANGE[0] } else { x };
    let (n, left, r) = reduce_by_ln_2::<T, FMA>(x);
    let minus_one = r + mul_add::<T, FMA>(r * r, polynomial::<T, FMA>(T::EXP, r), left);
    let power = T::one() + minus_one;
    let y = power.times_power_of_two(n);
    // e^r is 1 within a factor of √2, and not far from it just above 1, where what is lost matters most.
    (y, y * (minus_one - (power - T::one())))
}

/// ln(2^k·m) = k·ln 2 + ln m, and ln m = ln(1 + f) by [`ln_near_one`].
#[inline(always)]
pub fn ln<T: Real, const FMA: bool>(x: T) -> T {
    // A number below the normal ones is made one.
    let [power, exponent] = T::LIFT;
    let small = x < T::min_positive_value();
    let (k, m) = (if small { x * power } else { x }).split();
    let k = if small { k - exponent } else { k };
    let [high, low] = T::LN_2;
    let y = ln_near_one::<T, FMA>(m - T::one(), T::LN, k * low);
    let y = mul_add::<T, FMA>(k, high, y);
    let y = if x < T::infinity() { y } else { x };
    let y = if x > T::zero() { y } else { T::nan() };
    if x == T::zero() { T::neg_infinity() } else { y }
}

/// ln(1 + f) + small, where s = f/(2 + f) is in the range of the polynomial L.
///
/// ln(1 + f) = ln((1 + s)/(1 − s)) = 2s + s³·L(s²). Since 2s = f − f·s, and f is exact, it is best written as
/// f − (f²/2 − s·(f²/2 + s²·L)): only small numbers are then rounded before the last step.
#[inline(always)]
fn ln_near_one<T: Real, const FMA: bool>(f: T, l: &[T], small: T) -> T {
    let s = f / (f + T::of(2.0));
    let z = s * s;
    let half = T::of(0.5) * f * f;
    f - (half - mul_add::<T, FMA>(s, mul_add::<T, FMA>(z, polynomial::<T, FMA>(l, z), half), small))
}

/// With t = e^(−2|x|) − 1, which is near −2|x| where x is small: tanh |x| = −t/(2 + t).
#[inline(always)]
pub fn tanh<T: Real, const FMA: bool>(x: T) -> T {
    let a = x.abs();
    let a = if a > T::TANH_ONE { T::TANH_ONE } else { a };
    let (n, _, r) = reduce_by_ln_2::<T, FMA>(T::of(-2.0) * a);
    // t = (2^n − 1) + 2^n·(e^r − 1), where n = 0 or 2^n ≤ ½: the rounding of e^r − 1 matters little.
    let (power, near) = (T::power_of_two(n), mul_add::<T, FMA>(r * r, polynomial::<T, FMA>(T::EXP, r), r));
    let minus_one = power - T::one();
    let t = mul_add::<T, FMA>(power, near, minus_one);
    // What rounding took from t and from 2 + t is given back to y = tanh |x|, to first order. 1/(2 + t) = (1 + y)/2.
    let below = t + T::of(2.0);
    let (lost, lost_below) = (mul_add::<T, FMA>(power, near, minus_one - t), t - (below - T::of(2.0)));
    let y = -t / below;
    let next = y + T::one();
    mul_add::<T, FMA>(T::of(-0.5) * next, mul_add::<T, FMA>(next, lost, y * lost_below), y).copysign(x)
}

/// 1/(1 + e^−x), written in e = e^−|x|.
#[inline(always)]
pub fn sigmoid<T: Real, const FMA: bool>(x: T) -> T {
    let (e, lost) = exp_and_lost::<T, FMA>(-x.abs());
    let denominator = T::one() + e;
    let lost_below = (e - (denominator - T::one())) + lost;
    let (numerator, lost) = if x >= T::zero() { (T::one(), T::zero()) } else { (e, lost) };
    // Given back to first order, as in tanh. 1/(1 + e) is y on one side and 1 − y on the other.
    let y = numerator / denominator;
    let inverse = if x >= T::zero() { y } else { T::one() - y };
    mul_add::<T, FMA>(inverse, mul_add::<T, FMA>(-y, lost_below, lost), y)
}

/// ln(1 + e^x) = max(x, 0) + ln(1 + e^−|x|).
#[inline(always)]
pub fn softplus<T: Real, const FMA: bool>(x: T) -> T {
    let (e, lost) = exp_and_lost::<T, FMA>(-x.abs());
    (if x > T::zero() { x } else { T::zero() }) + ln_near_one::<T, FMA>(e, T::LN_1P, lost)
}

/// x = n·π/2 + r: (n, shifted; sin r; cos r).
#[inline(always)]
fn quadrant<T: Real, const FMA: bool>(x: T) -> (T, T, T) {
    let shifted = mul_add::<T, FMA>(x, T::TWO_OVER_PI, T::SHIFT);
    let n = shifted - T::SHIFT;
    let (mut r, mut low) = (x, T::zero());
    for i in 0..T::HALF_PI.len() - 1 {
        let last = r;
        r = mul_add::<T, FMA>(-n, T::HALF_PI[i], last);
        low = mul_add::<T, FMA>(-n, T::HALF_PI[i], last - r);
    }
    // The angle is r + low. The last part of π/2 would change no r but a tiny one.
    let low = mul_add::<T, FMA>(-n, T::HALF_PI[T::HALF_PI.len() - 1], low);
    let z = r * r;
    let sin = r + mul_add::<T, FMA>(r * z, polynomial::<T, FMA>(T::SIN, z), low);
    // 1 − z/2 rounds; what it loses is added to the rest.
    let half = T::of(0.5) * z;
    let high = T::one() - half;
    let lost = (T::one() - high) - half;
    let cos = high + mul_add::<T, FMA>(z * z, polynomial::<T, FMA>(T::COS, z), lost);
    // The sum would turn −0 into 0.
    (shifted, if x == T::zero() { x } else { sin }, cos)
}

/// sin(n·π/2 + r), for |x| up to [`Number::LARGEST_ANGLE`].
#[inline(always)]
pub fn sin<T: Real, const FMA: bool>(x: T) -> T {
    let (n, sin, cos) = quadrant::<T, FMA>(x);
    let y = if T::bit(n, 0) { cos } else { sin };
    if T::bit(n, 1) { -y } else { y }
}

/// cos(n·π/2 + r), for |x| up to [`Number::LARGEST_ANGLE`].
#[inline(always)]
pub fn cos<T: Real, const FMA: bool>(x: T) -> T {
    let (n, sin, cos) = quadrant::<T, FMA>(x);
    let y = if T::bit(n, 0) { sin } else { cos };
    if T::bit(n, 0) != T::bit(n, 1) { -y } else { y }
}

/// x^n for an integer |n| < 128, by squaring.
#[inline(always)]
pub fn powi<T: Real>(x: T, n: i32) -> T {
    let (mut y, mut square) = (T::one(), x);
    for bit in 0..7 {
        y *= if (n.unsigned_abs() >> bit) & 1 == 1 { square } else { T::one() };
        square *= square;
    }
    if n < 0 { T::one() / y } else { y }
}
