//! The kernels' numbers, for every kind of processor that this one can play, against references of twice the precision:
//! errors in units in the last place, special values, and the same bits wherever a number stands.
// π/2 in four parts: the first looks like the constant it is a part of.
#![allow(clippy::approx_constant)]

use std::sync::{Mutex, MutexGuard, PoisonError};

use ad::{Level, Real, Tape, Var};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use double::Double;

/// The level is the process', so that tests take turns.
fn for_each_level(test: impl Fn(Level)) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn: MutexGuard<'_, ()> = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for &level in Level::available() {
        assert_eq!(level.use_level(), level);
        test(level);
    }
}

/// A function of one number, by its kernel.
fn compute<T: Real>(f: fn(Var<T>) -> Var<T>, x: &[T]) -> Vec<T> {
    let tape = Tape::new();
    let input = tape.input("x", ndarray::Array1::from_elem(x.len(), T::one()));
    let mut out = vec![T::zero(); x.len()];
    f(input).run_kernel(&[x], &mut out);
    out
}

/// A number m·2^k to about 100 bits.
type Exact = (Double, i32);

/// What is tested of a function: its name, itself, its reference, and the largest error in ulp.
type Case<T> = (&'static str, fn(Var<T>) -> Var<T>, fn(f64) -> Option<Exact>, f64);

fn cases<T: Real>() -> Vec<Case<T>> {
    vec![
        ("exp", |x| x.exp(), |x| finite(x).map(|x| double::exp(x.into())), 1.0),
        ("ln", |x| x.ln(), |x| finite(x).filter(|&x| x > 0.0).map(|x| (double::ln(x), 0)), 1.0),
        ("tanh", |x| x.tanh(), |x| finite(x).map(|x| (double::tanh(x), 0)), 2.0),
        ("sigmoid", |x| x.sigmoid(), |x| finite(x).map(double::sigmoid), 2.0),
        ("softplus", |x| x.softplus(), |x| finite(x).map(double::softplus), 2.0),
        ("sin", |x| x.sin(), |x| finite(x).filter(|x| x.abs() <= 1e5).map(|x| (double::sin_cos(x).0, 0)), 2.0),
        ("cos", |x| x.cos(), |x| finite(x).filter(|x| x.abs() <= 1e5).map(|x| (double::sin_cos(x).1, 0)), 2.0),
    ]
}

fn finite(x: f64) -> Option<f64> {
    x.is_finite().then_some(x)
}

/// The distance of two numbers in units in the last place of the second (of which there are no smaller ones than the
/// smallest number). Beyond the largest number comes ∞.
fn ulps(y: f64, (exact, k): Exact, mantissa: i32, smallest: i32, largest: f64) -> f64 {
    let infinite = double::scale(exact.high, k).abs() > largest * (1.0 + 0.5_f64.powi(mantissa + 1));
    if infinite && y.is_infinite() || exact.high == 0.0 && y == 0.0 {
        return 0.0;
    }
    let exponent = exact.high.abs().log2().floor() as i32;
    let ulp = (exponent - mantissa).max(smallest - k);
    // The numbers are taken 2^−k times as large, which no f64 overflows from.
    let difference = Double::from(double::scale(y, -k)) - exact;
    double::scale(difference.high, -ulp).abs()
}

/// Random bits, and points where something happens.
fn samples<T: Real>(from_bits: fn(u64) -> T, count: usize) -> Vec<T> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut x: Vec<T> = (0..count).map(|_| from_bits(rng.next_u64())).collect();
    x.extend((0..count).map(|_| T::of(rng.random_range(-1.0..1.0) * 10.0_f64.powf(rng.random_range(-10.0..5.0)))));
    x.extend((0..count).map(|_| T::of(rng.random_range(-3.0..3.0))));
    x.extend((0..count).map(|_| T::of(rng.random_range(-750.0..750.0))));
    x.extend((0..count).map(|_| T::of(rng.random_range(-110.0..110.0))));
    x.extend((0..count).map(|_| T::of(1.0 + rng.random_range(-1.0..1.0) * 2.0_f64.powf(rng.random_range(-50.0..0.0)))));
    // Neighbours of the multiples of ½ ln 2 and of π/4, where reductions change over and their remainders are smallest.
    for n in 0..132_000 {
        let n = f64::from(n);
        for near in [n * std::f64::consts::FRAC_PI_4, (n / 32.0) * std::f64::consts::LN_2] {
            let near = T::of(near);
            x.extend([near, -near, near * (T::one() + T::epsilon()), near * (T::one() - T::epsilon())]);
        }
    }
    for special in [0.0, 708.39, 709.78, 709.79, 745.13, 745.14, 88.72, 88.73, 103.97, 103.98, 87.33] {
        for steps in -3..4 {
            let special = T::of(special) * (T::one() + T::of(f64::from(steps)) * T::epsilon());
            x.extend([special, -special]);
        }
    }
    x.extend([T::min_positive_value(), T::max_value(), T::epsilon(), T::infinity(), T::nan()]);
    x
}

fn check_ulps<T: Real>(from_bits: fn(u64) -> T, mantissa: i32, smallest: i32) {
    let x = samples(from_bits, 50_000);
    for (name, f, reference, bound) in cases::<T>() {
        let exact: Vec<(T, Exact)> = x.iter().filter_map(|&x| Some((x, reference(x.as_f64())?))).collect();
        let x: Vec<T> = exact.iter().map(|&(x, _)| x).collect();
        for_each_level(|level| {
            let mut worst = (0.0, T::zero());
            for (y, &(x, exact)) in compute(f, &x).into_iter().zip(&exact) {
                let error = ulps(y.as_f64(), exact, mantissa, smallest, T::max_value().as_f64());
                if error.is_nan() || error > worst.0 {
                    worst = (error, x);
                }
            }
            println!("{name:9} {} {level:8?} {:.3} ulp at {:e}", T::NAME, worst.0, worst.1);
            assert!(worst.0 <= bound, "{name}({:e}) is {} ulp off, at {level:?}", worst.1, worst.0);
        });
    }
}

#[test]
fn errors_in_double_precision() {
    check_ulps(f64::from_bits, 52, -1074);
}

#[test]
fn errors_in_single_precision() {
    check_ulps(|bits| f32::from_bits(bits as u32), 23, -149);
}

/// Twice the precision, by pairs of f64: slow and plain.
mod double {
    use std::ops::{Add, Div, Mul, Neg, Sub};

    use super::Exact;

    /// high + low, |low| ≤ ½ ulp(high).
    #[derive(Clone, Copy, Debug)]
    pub struct Double {
        pub high: f64,
        pub low: f64,
    }

    const ONE: Double = Double { high: 1.0, low: 0.0 };
    const LN_2: Double = Double { high: std::f64::consts::LN_2, low: 2.3190468138462996e-17 };
    /// π/2.
    const HALF_PI: [f64; 4] =
        [1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33, 5.562271104316826e-50];

    fn sum(a: f64, b: f64) -> Double {
        let high = a + b;
        let part = high - a;
        Double { high, low: (a - (high - part)) + (b - part) }
    }

    fn product(a: f64, b: f64) -> Double {
        let high = a * b;
        Double { high, low: a.mul_add(b, -high) }
    }

    impl From<f64> for Double {
        fn from(high: f64) -> Self {
            Double { high, low: 0.0 }
        }
    }

    impl Add for Double {
        type Output = Double;
        fn add(self, other: Double) -> Double {
            let (high, low) = (sum(self.high, other.high), sum(self.low, other.low));
            let high = sum(high.high, high.low + low.high);
            sum(high.high, high.low + low.low)
        }
    }

    impl Neg for Double {
        type Output = Double;
        fn neg(self) -> Double {
            Double { high: -self.high, low: -self.low }
        }
    }

    impl Sub for Double {
        type Output = Double;
        fn sub(self, other: Double) -> Double {
            self + -other
        }
    }

    impl Mul for Double {
        type Output = Double;
        fn mul(self, other: Double) -> Double {
            let main = product(self.high, other.high);
            sum(main.high, main.low + (self.high * other.low + self.low * other.high))
        }
    }

    impl Div for Double {
        type Output = Double;
        fn div(self, other: Double) -> Double {
            let first = Double::from(self.high / other.high);
            let rest = self - first * other;
            first + Double::from(rest.high / other.high)
        }
    }

    /// x·2^k; rounds where the result is below the normal numbers.
    pub fn scale(x: f64, k: i32) -> f64 {
        let (a, b) = (k / 3, k - 2 * (k / 3));
        x * 2.0_f64.powi(a) * 2.0_f64.powi(a) * 2.0_f64.powi(b)
    }

    /// Σ x^i/i! for i = first, first + step, …, with signs.
    fn series(x: Double, first: i32, step: i32, sign: f64) -> Double {
        let mut term = ONE;
        for i in 1..=first {
            term = term * x / f64::from(i).into();
        }
        let (mut total, mut i) = (term, first);
        while term.high != 0.0 && term.high.abs() > 1e-40 * total.high.abs() {
            for j in i + 1..=i + step {
                term = term * x / f64::from(j).into();
            }
            term = term * sign.into();
            total = total + term;
            i += step;
        }
        total
    }

    /// (e^r − 1, n), where x = n·ln 2 + r.
    fn exp_m1(x: Double) -> (Double, i32) {
        // Beyond 2000 no number type has it, nor its reciprocal.
        let x = if x.high.abs() > 2000.0 { Double::from(2000.0_f64.copysign(x.high)) } else { x };
        let n = (x.high / LN_2.high).round();
        let r = x - LN_2 * n.into();
        // (1 + e)² − 1 = 2e + e²
        let mut e = series(r * 0.0625.into(), 1, 1, 1.0);
        for _ in 0..4 {
            e = e + e + e * e;
        }
        (e, n as i32)
    }

    pub fn exp(x: Double) -> Exact {
        let (e, n) = exp_m1(x);
        (e + ONE, n)
    }

    /// By Newton's method: y ← y − 1 + x·e^−y.
    pub fn ln(x: f64) -> Double {
        let mut y = Double::from(x.ln());
        for _ in 0..2 {
            let (e, n) = exp(-y);
            y = y - ONE + Double::from(scale(x, n)) * e;
        }
        y
    }

    pub fn tanh(x: f64) -> Double {
        let a = x.abs().min(60.0);
        if a < 1e-100 {
            return x.into();
        }
        let (e, n) = exp_m1((-2.0 * a).into());
        let power = Double::from(2.0_f64.powi(n));
        let t = (power - ONE) + power * e;
        let y = t / (t + 2.0.into());
        if x < 0.0 { y } else { -y }
    }

    pub fn sigmoid(x: f64) -> Exact {
        let (e, n) = exp((-x.abs()).into());
        let denominator = ONE + e * Double::from(scale(1.0, n));
        if x < 0.0 { (e / denominator, n) } else { (ONE / denominator, 0) }
    }

    /// max(x, 0) and ln(1 + e^−|x|), which Newton's method finds as the y where e^y − 1 = e^−|x|.
    pub fn softplus(x: f64) -> Exact {
        let (e, n) = exp((-x.abs()).into());
        if x < -60.0 {
            // e^x − e^2x/2
            return (e - e * e * Double::from(scale(0.5, n)), n);
        }
        let e = e * Double::from(scale(1.0, n));
        let mut y = Double::from(e.high.ln_1p());
        for _ in 0..2 {
            let (r, n) = exp_m1(y);
            let power = Double::from(scale(1.0, n));
            let above = (power - ONE) + power * r;
            y = y - (above - e) / (above + ONE);
        }
        (y + Double::from(x.max(0.0)), 0)
    }

    pub fn sin_cos(x: f64) -> (Double, Double) {
        let n = (x / HALF_PI[0]).round();
        let r = HALF_PI.iter().fold(Double::from(x), |r, &part| r - product(n, part));
        let (sin, cos) = if r.high.abs() < 1e-50 { (r, ONE) } else { (series(r, 1, 2, -1.0), series(r, 0, 2, -1.0)) };
        match n.rem_euclid(4.0) as i32 {
            0 => (sin, cos),
            1 => (cos, -sin),
            2 => (-sin, -cos),
            _ => (-cos, sin),
        }
    }
}
