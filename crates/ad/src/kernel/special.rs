//! Special functions: what stays exact around 0, the error function and the gamma function with all their derivatives, and
//! directions in the plane.
//!
//! The first two are as those of [`functions`]. The others have branches, and go number by number, in double precision for
//! either type and with the same roundings on all kinds of processors. Their polynomials are by
//! `scripts/special_functions.py coefficients`, which interpolates as is said there; an error is that of the polynomial.

use std::f64::consts::{FRAC_2_SQRT_PI, PI};

use super::functions::{self, Number, below, exp_of_negative, exp_parts, is_ln_exception, ln_near_one, mul_add};

/// A function of `f64`, of a number of either type.
#[inline(always)]
pub fn in_double<T: Number>(f: impl Fn(f64) -> f64, x: T) -> T {
    T::of(f(x.as_f64()))
}

/// e^x − 1, where [`functions::exp`] is e^x: 2^n·(1 + near) − 1, where n = 0 or 2^n is at most ½ or at least 2.
#[inline(always)]
pub fn exp_m1<T: Number, const FMA: bool>(x: T) -> T {
    let (power, near) = exp_parts::<T, FMA>(x, T::SHIFT);
    mul_add::<T, FMA>(power, near, power - T::one()).copysign(x)
}

/// ln(1 + x), where [`functions::ln`] has a logarithm of the sum: what the sum has lost is added, divided by it.
#[inline(always)]
pub fn ln_1p<T: Number, const FMA: bool>(x: T) -> T {
    let sum = T::one() + x;
    let lost = (x - (sum - T::one())) / sum;
    let (k, m) = sum.split();
    let [high, low] = T::LN_2;
    let small = mul_add::<T, FMA>(k, low, lost);
    mul_add::<T, FMA>(k, high, ln_near_one::<T, FMA>(m - T::one(), T::LN, small)).copysign(x)
}

fn polynomial(c: &[f64], x: f64) -> f64 {
    functions::polynomial::<f64, false>(c, x, x * x)
}

fn ln(x: f64) -> f64 {
    if is_ln_exception(x) { x.ln() } else { functions::ln::<f64, false>(x) }
}

// The error function.

/// erf(x)/x − 1 in x², |x| ≤ 1. Error 2^−56.
const ERF: &[f64] = &[
    0.1283791670955126,
    -0.37612638903183754,
    0.1128379167095512,
    -0.02686617064512984,
    0.0052239776254232985,
    -0.000854832702193483,
    0.00012055332902888736,
    -1.4925647567519332e-05,
    1.6462045441468418e-06,
    -1.6364642158167616e-07,
    1.4792401209404813e-08,
    -1.216456005728345e-09,
    8.709045129053106e-11,
    -4.230945824295338e-12,
];

/// (1 + 2x)·e^(x²)·erfc(x) − 1.1875 in (x − 4)/(x + 3), x ≥ ½. Error 2^−54.8.
const ERFC: &[f64] = &[
    0.04549511862555251,
    -0.12216847723549162,
    -0.0034960135133680894,
    0.04665458534669244,
    -0.041806510665020835,
    0.022801799600165516,
    -0.008073603938277581,
    0.001392061233779644,
    0.00024740376568916327,
    -0.00019788749153102324,
    1.7479098644106684e-05,
    1.886278601100644e-05,
    -4.577236862416187e-06,
    -1.9124824393282327e-06,
    7.237898395551653e-07,
    2.3901640840174585e-07,
    -1.049704835719981e-07,
    -3.630262179263922e-08,
    1.4321502426523918e-08,
    5.382335704726843e-09,
    -1.6538791124620345e-09,
    -4.984785439745356e-10,
    1.1734600718547715e-10,
];

/// e^(−x²·scale), for a power of two: with what the square loses when it is rounded, of which the exponential would make as
/// many units as the square is large.
fn gaussian(x: f64, scale: f64) -> f64 {
    if x.abs() > 60.0 {
        return 0.0;
    }
    let square = x * x;
    let lost = x.mul_add(x, -square);
    let power = exp_of_negative::<f64, false>(-square * scale);
    power - power * (lost * scale)
}

/// 2/√π·∫₀ˣ e^(−t²) dt.
pub fn erf(x: f64) -> f64 {
    let a = x.abs();
    let y = if a < 1.0 {
        a + a * polynomial(ERF, a * a)
    } else if a < 6.0 {
        1.0 - erfc_above(a)
    } else if a >= 6.0 {
        1.0
    } else {
        a
    };
    y.copysign(x)
}

/// 1 − erf(x), to the end of its tail.
pub fn erfc(x: f64) -> f64 {
    if x < 0.5 { 1.0 - erf(x) } else { erfc_above(x) }
}

/// erfc(x) for x ≥ ½.
fn erfc_above(x: f64) -> f64 {
    if x > 28.0 {
        return 0.0;
    }
    let factor = 1.1875 + polynomial(ERFC, (x - 4.0) / (x + 3.0));
    gaussian(x, 1.0) * (factor / (1.0 + 2.0 * x))
}

/// The n-th derivative of erf', which is 2/√π·e^(−x²): by the recurrence of Hermite's polynomials, of √(e^(−x²)) times them,
/// which has numbers where either is out of range.
pub fn erf_slope(n: u32, x: f64) -> f64 {
    let half = gaussian(x, 0.5);
    if half == 0.0 {
        return 0.0;
    }
    let (mut before, mut now) = (0.0, half);
    for k in 0..n {
        (before, now) = (now, -2.0 * (x * now + f64::from(k) * before));
    }
    now * half * FRAC_2_SQRT_PI
}

// The gamma function.

const EULER: f64 = 0.5772156649015329;
const HALF_LN_TWO_PI: f64 = 0.9189385332046728;

/// (ln Γ(2 + z)/z − (1 − γ))/z in z, |z| ≤ ½. Error 2^−55.4.
const LN_GAMMA: &[f64] = &[
    0.3224670334241132,
    -0.0673523010531981,
    0.02058080842778338,
    -0.007385551028673429,
    0.002890510330865901,
    -0.00119275391176255,
    0.0005096695196526673,
    -0.00022315475602710603,
    9.945761692157133e-05,
    -4.492628637818162e-05,
    2.050601970174762e-05,
    -9.43891959627718e-06,
    4.3828545383846665e-06,
    -2.043022895180944e-06,
    9.242852225162277e-07,
    -4.3454173670260496e-07,
    2.7475390051909663e-07,
    -1.3029870239068415e-07,
];

/// B_2k/(2k(2k − 1)), where B are Bernoulli's numbers.
const LN_GAMMA_SERIES: &[f64] = &[
    0.08333333333333333,
    -0.002777777777777778,
    0.0007936507936507937,
    -0.0005952380952380953,
    0.0008417508417508417,
    -0.0019175269175269176,
    0.00641025641025641,
    -0.029550653594771242,
    0.17964437236883057,
    -1.3924322169059011,
];

/// The zero of ψ, as a sum.
const ROOT: [f64; 2] = [1.4616321449683622, 9.549995429965697e-17];

/// ψ(x)/(x − root) in x − 1.5, 1 ≤ x ≤ 2. Error 2^−54.
const DIGAMMA: &[f64] = &[
    0.9510558760318328,
    -0.4236274212814606,
    0.24054248424078697,
    -0.14840492305388092,
    0.09498872445289039,
    -0.06192213327548831,
    0.040760833940846085,
    -0.026975796659787055,
    0.017907248317313294,
    -0.011908220105959716,
    0.007927021796868154,
    -0.005279937255532708,
    0.003518106563802472,
    -0.0023454947397380833,
    0.0015633696313653504,
    -0.0010364584817312839,
    0.0006909255761282986,
    -0.00048595039220036254,
    0.00032395945401345196,
    -0.00014480643368061614,
    9.653646261410062e-05,
    -0.0001782188548855923,
    0.00011881232908510335,
];

/// B_2k/2k.
const DIGAMMA_SERIES: &[f64] = &[
    0.08333333333333333,
    -0.008333333333333333,
    0.003968253968253968,
    -0.004166666666666667,
    0.007575757575757576,
    -0.021092796092796094,
    0.08333333333333333,
    -0.4432598039215686,
    3.0539543302701198,
    -26.456212121212122,
];

/// B_2k/(2k)!.
const POLYGAMMA_SERIES: &[f64] = &[
    0.08333333333333333,
    -0.001388888888888889,
    3.306878306878307e-05,
    -8.267195767195768e-07,
    2.08767569878681e-08,
    -5.284190138687493e-10,
    1.3382536530684679e-11,
    -3.3896802963225827e-13,
    8.586062056277845e-15,
    -2.174868698558062e-16,
    5.5090028283602295e-18,
    -1.3954464685812522e-19,
];

/// From here on the series in 1/x are good.
const LARGE: f64 = 8.0;

/// ln |Γ(x)|: around 1 and 2, where it vanishes, by the distance to them; between them and [`LARGE`] by recurrence.
pub fn ln_gamma(x: f64) -> f64 {
    let a = x.abs();
    if !a.is_finite() {
        a
    } else if a <= 0.5 {
        ln_gamma_of_one_and(x) - ln(a)
    } else if x < 0.0 {
        // Γ(x)·Γ(−x) = −π/(x·sin πx)
        let part = a.fract();
        let sine = (PI * part.min(1.0 - part)).sin();
        if part == 0.0 { f64::INFINITY } else { ln(PI / (a * sine)) - ln_gamma(a) }
    } else if x <= 1.5 {
        ln_gamma_of_one_and(x - 1.0)
    } else if x < LARGE {
        let (mut y, mut product) = (x, 1.0);
        while y > 2.5 {
            y -= 1.0;
            product *= y;
        }
        let z = y - 2.0;
        let near = z * (1.0 - EULER + z * polynomial(LN_GAMMA, z));
        if x > 2.5 { ln(product) + near } else { near }
    } else {
        let w = 1.0 / x;
        (x - 0.5) * (ln(x) - 1.0) + (HALF_LN_TWO_PI - 0.5 + w * polynomial(LN_GAMMA_SERIES, w * w))
    }
}

/// ln Γ(1 + z), |z| ≤ ½: ln Γ(2 + z) − ln(1 + z), both without their terms z.
fn ln_gamma_of_one_and(z: f64) -> f64 {
    z * (z * polynomial(LN_GAMMA, z) - EULER) + below::<f64, false>(z, f64::LN_1P, 0.0)
}

/// ψ(x) = Γ'(x)/Γ(x): by the distance to its zero, and by recurrence, such that little cancels.
fn digamma(x: f64) -> f64 {
    if x == 0.0 {
        -1.0 / x
    } else if x < -0.5 {
        // ψ(x) = ψ(1 − x) − π·cot πx
        let part = (-x).fract();
        let cotangent = if part <= 0.25 {
            1.0 / (PI * part).tan()
        } else if part < 0.75 {
            (PI * (0.5 - part)).tan()
        } else {
            -1.0 / (PI * (1.0 - part)).tan()
        };
        if part == 0.0 { f64::NAN } else { digamma(1.0 - x) + PI * cotangent }
    } else if x < 0.0 {
        // ψ(2 + x) − 1/(1 + x) − 1/x, all of it positive.
        digamma_near(x + 0.5) - (1.0 + 2.0 * x) / (x * (1.0 + x))
    } else if x < 1.0 {
        digamma_near(x - 0.5) - 1.0 / x
    } else if x < LARGE {
        let (mut y, mut sum) = (x, 0.0);
        while y > 2.0 {
            y -= 1.0;
            sum += 1.0 / y;
        }
        digamma_near(y - 1.5) + sum
    } else {
        let w = 1.0 / x;
        let z = w * w;
        ln(x) - (0.5 * w + z * polynomial(DIGAMMA_SERIES, z))
    }
}

/// ψ(1.5 + t), |t| ≤ ½.
fn digamma_near(t: f64) -> f64 {
    ((t - (ROOT[0] - 1.5)) - ROOT[1]) * polynomial(DIGAMMA, t)
}

/// The n-th derivative of ψ.
///
/// For n > 0 it is (−1)^(n+1)·n!·Σ_k (x + k)^−(n+1). For a negative x, the terms on both sides of 0 are two such sums, of
/// which the one below 0 ends: it is a difference of two.
pub fn polygamma(n: u32, x: f64) -> f64 {
    let sign = if n % 2 == 1 { 1.0 } else { -1.0 };
    if n == 0 {
        digamma(x)
    } else if x > 0.0 {
        sign * reciprocal_powers(n, x)
    } else if x.is_finite() {
        let below = (-x).fract();
        if below > 0.0 {
            let (left, beyond) = (reciprocal_powers(n, below), reciprocal_powers(n, 1.0 - x));
            sign * reciprocal_powers(n, 1.0 - below) + (left - beyond)
        } else if n % 2 == 1 {
            f64::INFINITY
        } else if x == 0.0 {
            -f64::INFINITY.copysign(x)
        } else {
            f64::NAN
        }
    } else {
        f64::NAN
    }
}

/// n!·Σ_k (x + k)^−(n+1), for x > 0: some terms, in units of the first or of the integral, and the rest by Euler's and
/// Maclaurin's formula.
fn reciprocal_powers(n: u32, x: f64) -> f64 {
    let exponent = f64::from(n) + 1.0;
    let large = exponent + 10.0;
    // What there is beside the integral, in units of the first term.
    let rest = |w: f64| {
        let (mut sum, mut factor) = (0.5, exponent * w);
        for (j, c) in POLYGAMMA_SERIES.iter().enumerate() {
            sum += c * factor;
            let next = exponent + 2.0 * j as f64;
            factor *= (next + 1.0) * w * ((next + 2.0) * w);
        }
        sum
    };
    if x >= large {
        // (n − 1)!/x^n
        let integral = (1..n).fold(1.0 / x, |product, j| product * f64::from(j) / x);
        return integral * (1.0 + f64::from(n) / x * rest(1.0 / x));
    }
    let first = (1..=n).fold(1.0 / x, |product, j| product * f64::from(j) / x);
    let term = |y: f64| if n < 64 { functions::powi(x / y, n as i32 + 1) } else { (x / y).powf(exponent) };
    let count = (large - x).ceil();
    let end = x + count;
    let mut sum = term(end) * (end / f64::from(n) + rest(1.0 / end));
    for k in (1..count as u32).rev() {
        sum += term(x + f64::from(k));
    }
    first * (1.0 + sum)
}

// Directions.

/// a/√(a² + b²), the cosine of the angle at which (a, b) stands. Of what is infinite only the signs matter, as to
/// [`atan2`](f64::atan2). NaN at (0, 0).
pub fn direction(a: f64, b: f64) -> f64 {
    let largest = a.abs().max(b.abs());
    let sign = |x: f64| if x.is_infinite() { 1.0_f64.copysign(x) } else { x * 0.0 };
    let (a, b) = match largest {
        f64::INFINITY => (sign(a), sign(b)),
        // Where the root would be infinite, or of few digits.
        1e300.. => (a * 2.0_f64.powi(-100), b * 2.0_f64.powi(-100)),
        ..1e-280 => (a * 2.0_f64.powi(200), b * 2.0_f64.powi(200)),
        _ => (a, b),
    };
    a / a.hypot(b)
}
