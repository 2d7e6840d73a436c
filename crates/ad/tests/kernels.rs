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

/// A function of one number (or of the same one twice), by its kernel.
fn compute<T: Real>(f: fn(Var) -> Var, x: &[T]) -> Vec<T> {
    let tape = Tape::new();
    let input = tape.input("x", ndarray::Array1::from_elem(x.len(), T::one()));
    let mut out = vec![T::zero(); x.len()];
    f(input).run_kernel(&[x, x], &mut out);
    out
}

/// A number m·2^k to about 100 bits.
type Exact = (Double, i32);

/// What is tested of a function: its name, itself, its reference, and the largest error in ulp.
type Case = (&'static str, fn(Var) -> Var, fn(f64) -> Option<Exact>, f64);

fn cases() -> Vec<Case> {
    vec![
        ("exp", |x| x.exp(), |x| finite(x).map(|x| double::exp(x.into())), 1.0),
        ("ln", |x| x.ln(), |x| finite(x).filter(|&x| x > 0.0).map(|x| (double::ln(x), 0)), 1.0),
        ("tanh", |x| x.tanh(), |x| finite(x).map(|x| (double::tanh(x), 0)), 2.0),
        ("sigmoid", |x| x.sigmoid(), |x| finite(x).map(double::sigmoid), 2.0),
        ("softplus", |x| x.softplus(), |x| finite(x).map(double::softplus), 2.0),
        ("sin", |x| x.sin(), |x| finite(x).filter(|x| x.abs() <= 1e5).map(|x| (double::sin_cos(x).0, 0)), 2.0),
        ("cos", |x| x.cos(), |x| finite(x).filter(|x| x.abs() <= 1e5).map(|x| (double::sin_cos(x).1, 0)), 2.0),
        ("exp_m1", |x| x.exp_m1(), |x| finite(x).map(double::exponential_less_one), 2.0),
        ("ln_1p", |x| x.ln_1p(), |x| finite(x).filter(|&x| x > -1.0).map(|x| (double::ln_1p(x), 0)), 2.0),
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
    // Where fractions near a power of two round most.
    x.extend((0..count).map(|_| T::of(rng.random_range(-0.6..0.6))));
    x.extend((0..count).map(|_| T::of(rng.random_range(-0.01..0.01))));
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
    for special in
        [0.0, 708.0, 708.39, 709.78, 709.79, 745.13, 745.14, 87.0, 87.33, 88.72, 88.73, 103.97, 103.98, 1e5, 1600.0]
    {
        for steps in -3..4 {
            let special = T::of(special) * (T::one() + T::of(f64::from(steps)) * T::epsilon());
            x.extend([special, -special]);
        }
    }
    x.extend([T::min_positive_value(), T::max_value(), T::epsilon(), T::infinity(), T::nan()]);
    x
}

fn check_ulps<T: Real>(from_bits: fn(u64) -> T, mantissa: i32, smallest: i32) {
    let x = samples(from_bits, 20_000);
    for (name, f, reference, bound) in cases() {
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
            println!("{name:9} {} {level:8?} {:.3} ulp at {:e}", T::DTYPE, worst.0, worst.1);
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

type Unary = fn(Var) -> Var;

const FUNCTIONS: &[(&str, Unary)] = &[
    ("exp", |x| x.exp()),
    ("ln", |x| x.ln()),
    ("tanh", |x| x.tanh()),
    ("sigmoid", |x| x.sigmoid()),
    ("softplus", |x| x.softplus()),
    ("sin", |x| x.sin()),
    ("cos", |x| x.cos()),
    ("exp_m1", |x| x.exp_m1()),
    ("ln_1p", |x| x.ln_1p()),
    ("erf", |x| x.erf()),
    ("erfc", |x| x.erfc()),
    ("ln_gamma", |x| x.ln_gamma()),
    ("digamma", |x| x.digamma()),
    ("polygamma(1)", |x| x.polygamma(1)),
    ("sqrt", |x| x.sqrt()),
    ("abs", |x| x.abs()),
    ("negate", |x| -x),
    ("powf(3)", |x| x.powf(3.0)),
    ("powf(-7)", |x| x.powf(-7.0)),
    ("powf(0.3)", |x| x.powf(0.3)),
    ("plus", |x| x + x),
    ("max", |x| x.max(x)),
    ("less", |x| x.less_equal(x)),
];

#[test]
fn special_values() {
    const INFINITY: f64 = f64::INFINITY;
    const NAN: f64 = f64::NAN;
    let special = [0.0, -0.0, INFINITY, -INFINITY, NAN];
    let tiny = f64::from_bits(1);
    let expected: &[(&str, Unary, [f64; 5])] = &[
        ("exp", |x| x.exp(), [1.0, 1.0, INFINITY, 0.0, NAN]),
        ("ln", |x| x.ln(), [-INFINITY, -INFINITY, INFINITY, NAN, NAN]),
        ("tanh", |x| x.tanh(), [0.0, -0.0, 1.0, -1.0, NAN]),
        ("sigmoid", |x| x.sigmoid(), [0.5, 0.5, 1.0, 0.0, NAN]),
        ("softplus", |x| x.softplus(), [std::f64::consts::LN_2, std::f64::consts::LN_2, INFINITY, 0.0, NAN]),
        ("sin", |x| x.sin(), [0.0, -0.0, NAN, NAN, NAN]),
        ("cos", |x| x.cos(), [1.0, 1.0, NAN, NAN, NAN]),
        ("exp_m1", |x| x.exp_m1(), [0.0, -0.0, INFINITY, -1.0, NAN]),
        ("ln_1p", |x| x.ln_1p(), [0.0, -0.0, INFINITY, NAN, NAN]),
        ("erf", |x| x.erf(), [0.0, -0.0, 1.0, -1.0, NAN]),
        ("erfc", |x| x.erfc(), [1.0, 1.0, 0.0, 2.0, NAN]),
        ("ln_gamma", |x| x.ln_gamma(), [INFINITY, INFINITY, INFINITY, INFINITY, NAN]),
        ("digamma", |x| x.digamma(), [-INFINITY, INFINITY, INFINITY, NAN, NAN]),
        ("sqrt", |x| x.sqrt(), [0.0, -0.0, INFINITY, NAN, NAN]),
        ("abs", |x| x.abs(), [0.0, 0.0, INFINITY, INFINITY, NAN]),
        ("negate", |x| -x, [-0.0, 0.0, -INFINITY, INFINITY, NAN]),
        ("powf(0)", |x| x.powf(0.0), [1.0; 5]),
        ("powf(-1)", |x| x.powf(-1.0), [INFINITY, -INFINITY, 0.0, -0.0, NAN]),
        ("powf(3)", |x| x.powf(3.0), [0.0, -0.0, INFINITY, -INFINITY, NAN]),
        ("powf(-4)", |x| x.powf(-4.0), [INFINITY, INFINITY, 0.0, 0.0, NAN]),
    ];
    for_each_level(|level| {
        for (name, f, expected) in expected {
            // In a slice so long that all of it is vectors, and in one that is none.
            for x in [special.to_vec(), special.repeat(32)] {
                for ((x, y), expected) in x.iter().zip(compute(*f, &x)).zip(expected.iter().cycle()) {
                    let same = y.to_bits() == expected.to_bits() || y.is_nan() && expected.is_nan();
                    assert!(same, "{name}({x}) = {y}, not {expected}, at {level:?}");
                }
            }
        }
        for x in [tiny, -tiny, f64::MIN_POSITIVE / 3.0] {
            assert_eq!(compute(|x: Var| x.sin(), &[x]), [x]);
            assert_eq!(compute(|x: Var| x.tanh(), &[x]), [x]);
        }
        assert_eq!(compute(|x: Var| x.ln(), &[-1.0, 1.0])[1], 0.0);
        assert!(compute(|x: Var| x.ln(), &[-tiny])[0].is_nan());
        // A NaN is one whatever its other bits are.
        for nan in [f64::from_bits(0x7ff8_0000_0000_0fff), f64::from_bits(0xfff8_0000_0000_0801)] {
            for (name, f) in FUNCTIONS.iter().take(16) {
                assert!(compute(*f, &[nan; 9]).iter().all(|y| y.is_nan()), "{name} at {level:?}");
            }
        }
        // Where a loop is not right, others are left as they are.
        for (f, x, expected) in [
            ((|x| x.exp()) as Unary, 800.0, INFINITY),
            (|x| x.exp(), -INFINITY, 0.0),
            (|x| x.ln(), 0.0, -INFINITY),
            (|x| x.ln(), INFINITY, INFINITY),
        ] {
            let block = compute(f, &[vec![0.7; 600], vec![x], vec![0.7; 100]].concat());
            assert_eq!((block[600], block[0], block[700]), (expected, compute(f, &[0.7])[0], block[0]));
        }
        // Beyond the reduction's reach it is the system's function.
        for x in [1e5 + 1.0, 1e18, -1e300, f64::MAX] {
            let block = compute(|x: Var| x.sin(), &[vec![0.5; 600], vec![x]].concat());
            assert_eq!(block[600], x.sin());
            assert_eq!(block[0], compute(|x: Var| x.sin(), &[0.5])[0]);
        }
    });
}

#[test]
fn maximum_minimum_comparison_and_choice_of_special_values() {
    let special = [0.0, -0.0, 1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    let pairs: Vec<(f64, f64)> = special.iter().flat_map(|&a| special.iter().map(move |&b| (a, b))).collect();
    let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let tape = Tape::new();
    let x = tape.input("x", ndarray::Array1::<f64>::zeros(a.len()));
    let of = |y: Var| {
        let mut out = vec![0.0; a.len()];
        y.run_kernel(&[&a, &b, &a], &mut out);
        out
    };
    for_each_level(|_| {
        let (max, min, less, choice) = (of(x.max(x)), of(x.min(x)), of(x.less(x)), of(x.select(x, x)));
        for (i, &(a, b)) in pairs.iter().enumerate() {
            if a.is_nan() || b.is_nan() {
                assert!(max[i].is_nan() && min[i].is_nan());
                assert_eq!(less[i], 0.0);
            } else {
                assert_eq!((max[i], min[i], less[i]), (a.max(b), a.min(b), if a < b { 1.0 } else { 0.0 }));
            }
            assert_eq!(choice[i].to_bits(), if a != 0.0 { b } else { a }.to_bits());
        }
    });
}

#[test]
fn the_same_bits_wherever_a_number_stands() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let x: Vec<f64> = (0..1500).map(|_| rng.random_range(0.01..20.0)).collect();
    for_each_level(|level| {
        for (name, f) in FUNCTIONS {
            let whole: Vec<u64> = compute(*f, &x).into_iter().map(f64::to_bits).collect();
            for (start, length) in [(0, 1), (1, 7), (3, 8), (5, 33), (2, 511), (1, 513), (7, 1200), (300, 1200)] {
                let part = compute(*f, &x[start..start + length]);
                let same = part.iter().zip(&whole[start..]).all(|(part, whole)| part.to_bits() == *whole);
                assert!(same, "{name} of {length} numbers from {start}, at {level:?}");
            }
        }
    });
}

#[test]
fn integer_powers() {
    let x = [0.7_f64, -1.3, 1.0, 2.0, -0.999, 1.0001];
    for_each_level(|_| {
        for n in -64..=64 {
            let tape = Tape::new();
            let mut out = [0.0; 6];
            tape.input("x", ndarray::arr1(&x)).powf(f64::from(n)).run_kernel(&[&x], &mut out);
            for (x, y) in x.iter().zip(out) {
                let expected = x.powi(n);
                assert!((y - expected).abs() <= 12.0 * f64::EPSILON * expected.abs(), "{x}^{n} = {y}");
            }
        }
    });
}

/// Shapes that reach every way a reduction or a scan is done, and the axes reduced.
const SHAPES: &[(&[usize], &[usize])] = &[
    (&[1], &[0]),
    (&[7], &[0]),
    (&[1000], &[0]),
    (&[300, 1], &[1]),
    (&[301, 5], &[1]),
    (&[301, 5], &[0]),
    (&[37, 20], &[1]),
    (&[37, 20], &[0]),
    (&[5, 700], &[1]),
    (&[5, 700], &[0]),
    (&[3, 2500], &[1]),
    (&[3, 0, 4], &[1]),
    (&[0, 4], &[1]),
    (&[4, 9, 6], &[1]),
    (&[4, 9, 6], &[0, 2]),
    (&[4, 9, 6], &[0, 1, 2]),
    (&[2, 3, 4, 5], &[0, 2]),
];

fn random(shape: &[usize]) -> ndarray::ArrayD<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(shape.len() as u64);
    ndarray::ArrayD::from_shape_simple_fn(shape, || rng.random_range(-2.0..3.0))
}

/// The numbers that each entry of a reduction is made of.
fn lanes(x: &ndarray::ArrayD<f64>, axes: &[usize]) -> Vec<Vec<f64>> {
    let kept: Vec<usize> = (0..x.ndim()).filter(|axis| !axes.contains(axis)).collect();
    let order: Vec<usize> = kept.iter().chain(axes).copied().collect();
    let turned = x.view().permuted_axes(order);
    let count: usize = kept.iter().map(|&axis| x.shape()[axis]).product();
    let length: usize = axes.iter().map(|&axis| x.shape()[axis]).product();
    let numbers: Vec<f64> = turned.iter().copied().collect();
    (0..count).map(|i| numbers[i * length..(i + 1) * length].to_vec()).collect()
}

#[test]
fn reductions() {
    for_each_level(|level| {
        for &(shape, axes) in SHAPES {
            let x = random(shape);
            let tape = Tape::new();
            let input = tape.input("x", &x);
            let of = |y: Var| {
                let mut out = vec![f64::NAN; y.size()];
                y.run_kernel(&[x.as_slice().unwrap()], &mut out);
                out
            };
            let lanes = lanes(&x, axes);
            let (sum, log) = (of(input.sum_axes(axes)), of(input.logsumexp(axes)));
            for (i, lane) in lanes.iter().enumerate() {
                let total: f64 = lane.iter().sum();
                let bound = lane.len() as f64 * f64::EPSILON * lane.iter().map(|x| x.abs()).sum::<f64>();
                assert!((sum[i] - total).abs() <= bound, "sum of {shape:?} over {axes:?}, at {level:?}");
                let expected = lane.iter().map(|x| x.exp()).sum::<f64>().ln();
                let close = (log[i] - expected).abs() <= 1e-14 * (1.0 + expected.abs()) || log[i] == expected;
                assert!(close, "logsumexp of {shape:?} over {axes:?}: {} not {expected}, at {level:?}", log[i]);
            }
            if lanes.iter().all(|lane| !lane.is_empty()) {
                let max = of(input.max_axes(axes));
                let expected: Vec<f64> =
                    lanes.iter().map(|lane| lane.iter().copied().fold(f64::NEG_INFINITY, f64::max)).collect();
                assert_eq!(max, expected, "max of {shape:?} over {axes:?}, at {level:?}");
            }
        }
    });
}

#[test]
fn reductions_of_special_values() {
    const INFINITY: f64 = f64::INFINITY;
    for_each_level(|_| {
        for length in [3, 30, 100, 3000] {
            for (special, max, log) in
                [(INFINITY, INFINITY, INFINITY), (f64::NAN, f64::NAN, f64::NAN), (1000.0, 1000.0, 1000.0)]
            {
                for position in [0, length / 2, length - 1] {
                    let mut x = ndarray::Array1::from_elem(length, -INFINITY);
                    x[position] = special;
                    let (x, bits) = (x.into_dyn(), |x: f64| if x.is_nan() { 0 } else { x.to_bits() });
                    for (shape, axis) in [([1, length], 1), ([length, 1], 0)] {
                        let tape = Tape::new();
                        let input = tape.input("x", x.to_shape(shape.as_slice()).unwrap().to_owned());
                        for (y, expected) in [(input.max_axes(&[axis]), max), (input.logsumexp(&[axis]), log)] {
                            let mut out = [0.0];
                            y.run_kernel(&[x.as_slice().unwrap()], &mut out);
                            assert_eq!(bits(out[0]), bits(expected), "{special} at {position} of {length}");
                        }
                    }
                }
            }
            // Exponentials of what is left beside ∞ would overflow, or not be numbers.
            let mut large = vec![1000.0; length];
            large[length / 2] = INFINITY;
            assert_eq!(reduced(|x| x.logsumexp(&[0]), &large), INFINITY);
            large[0] = f64::NAN;
            assert!(reduced(|x| x.logsumexp(&[0]), &large).is_nan());
            let nothing = vec![-INFINITY; length];
            assert_eq!(reduced(|x| x.logsumexp(&[0]), &nothing), -INFINITY);
        }
    });
}

fn reduced(f: fn(Var) -> Var, x: &[f64]) -> f64 {
    let tape = Tape::new();
    let mut out = [0.0];
    f(tape.input("x", ndarray::arr1(x))).run_kernel(&[x], &mut out);
    out[0]
}

/// The log-softmax of some numbers, and its derivatives along and against a direction.
fn log_softmax_and_deviations(x: &[f64], v: &[f64]) -> [Vec<f64>; 3] {
    let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total = x.iter().map(|x| (x - largest).exp()).sum::<f64>().ln();
    let log: Vec<f64> = x.iter().map(|x| x - largest - total).collect();
    let mean: f64 = log.iter().zip(v).map(|(log, v)| log.exp() * v).sum();
    let sum: f64 = v.iter().sum();
    let along = v.iter().map(|v| v - mean).collect();
    let against = log.iter().zip(v).map(|(log, v)| v - log.exp() * sum).collect();
    [log, along, against]
}

fn check_softmaxes<T: Real>(level: Level) {
    let shapes = [(1, 1), (7, 5), (20, 5), (301, 3), (3, 2), (2, 70), (1, 3000), (65, 64), (130, 20), (0, 3), (3, 0)];
    for (rows, n) in shapes {
        let rounded = |x: ndarray::ArrayD<f64>| x.mapv(|x| T::of(f64::from(x as f32)));
        let (x, v) = (rounded(random(&[rows, n]) * 3.0), rounded(random(&[n, rows]).reversed_axes()));
        let (x, v) =
            (x.into_dimensionality::<ndarray::Ix2>().unwrap(), v.into_dimensionality::<ndarray::Ix2>().unwrap());
        let tape = Tape::new();
        let [a, b] = [&x, &v].map(|x| tape.input("x", x));
        let log = a.log_softmax();
        let numbers = [log, log.jvp(a, b), log.vjp(a, b)].map(|y| y.value_as::<T>());
        for row in 0..rows {
            let doubles = |array: ndarray::ArrayView1<'_, T>| array.iter().map(|x| x.as_f64()).collect::<Vec<_>>();
            let expected = log_softmax_and_deviations(&doubles(x.row(row)), &doubles(v.row(row)));
            for (part, (numbers, expected)) in numbers.iter().zip(&expected).enumerate() {
                let scale = 1.0 + v.row(row).iter().map(|v| v.as_f64().abs()).sum::<f64>();
                for (j, expected) in expected.iter().enumerate() {
                    let number = numbers[[row, j]].as_f64();
                    let bound = 4.0 * (n as f64).sqrt() * T::epsilon().as_f64() * scale;
                    let place = format!("{rows}×{n}, row {row}, part {part}, {} at {level:?}", T::DTYPE);
                    assert!((number - expected).abs() <= bound, "{place}: {number} and {expected}");
                }
            }
        }
        // Along all directions, which a program moves behind the axis, with one probability for all of them.
        if (1..=100).contains(&(rows * n)) {
            let probabilities = log.exp().value_as::<T>();
            for (at, number) in log.jacobian_forward(a).value_as::<T>().indexed_iter() {
                let [row, j, other, k] = [at[0], at[1], at[2], at[3]];
                let expected = f64::from(u8::from(j == k)) - probabilities[[row, k]].as_f64();
                let expected = if row == other { expected } else { 0.0 };
                let bound = 8.0 * (n as f64).sqrt() * T::epsilon().as_f64();
                assert!((number.as_f64() - expected).abs() <= bound, "{rows}×{n} at {at:?}: {number} and {expected}");
            }
        }
    }
}

#[test]
fn log_softmaxes_and_their_derivatives() {
    for_each_level(|level| {
        check_softmaxes::<f64>(level);
        check_softmaxes::<f32>(level);
    });
}

#[test]
fn a_row_is_reduced_and_scanned_alike_among_any_number_of_rows() {
    for_each_level(|level| {
        for n in [3, 5, 20, 63, 100, 600] {
            let x = random(&[50, n]);
            let numbers = x.as_slice().unwrap();
            let of = |f: fn(Var) -> Var, rows: usize, operands: &[&[f64]]| {
                let tape = Tape::new();
                let y = f(tape.input("x", random(&[rows, n])));
                let mut out = vec![0.0; y.size()];
                y.run_kernel(operands, &mut out);
                out
            };
            for f in [|x: Var| x.sum_axes(&[1]), |x: Var| x.logsumexp(&[1])] {
                let all = of(f, 50, &[numbers]);
                for (first, rows) in [(0, 1), (1, 9), (10, 40), (7, 17)] {
                    let some = of(f, rows, &[&numbers[first * n..(first + rows) * n]]);
                    assert_eq!(some, all[first..first + rows], "rows of {n}, at {level:?}");
                }
            }
            for f in [|x: Var| x.scan(x, 1), |x: Var| x.scan_reverse(x, 1)] {
                let all = of(f, 50, &[numbers, numbers]);
                for (first, rows) in [(0, 1), (1, 9), (10, 40), (7, 17)] {
                    let here = &numbers[first * n..(first + rows) * n];
                    assert_eq!(of(f, rows, &[here, here]), all[first * n..(first + rows) * n], "at {level:?}");
                }
            }
        }
    });
}

#[test]
fn scans_in_all_four_ways() {
    for_each_level(|level| {
        for &(shape, axes) in SHAPES {
            let (axis, a) = (axes[0], random(shape));
            let b = a.mapv(|x| 0.3 * x);
            let (length, behind) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
            for reverse in [false, true] {
                for (shifted, start) in [(false, 0.0), (false, 0.7), (true, 0.0)] {
                    let tape = Tape::new();
                    let (x, c) = (tape.input("a", &a), tape.input("b", &b));
                    // The derivative of the opposite scan is the shifted one.
                    let y = match (reverse, shifted) {
                        (false, false) if start == 0.0 => x.scan(c, axis),
                        (true, false) if start == 0.0 => x.scan_reverse(c, axis),
                        (false, false) => x.scan_from(c, tape.constant(ndarray::arr0(start)), axis),
                        (true, false) => x.scan_reverse_from(c, tape.constant(ndarray::arr0(start)), axis),
                        (false, true) => x.scan_reverse(c, axis).vjp(x, x),
                        (true, true) => x.scan(c, axis).vjp(x, x),
                    };
                    let out = y.value();
                    let (a, b) = (a.as_slice().unwrap(), b.as_slice().unwrap());
                    let mut expected = vec![0.0; a.len()];
                    for row in 0..a.len() / (length * behind).max(1) {
                        for k in 0..behind {
                            let at = |t: usize| (row * length + t) * behind + k;
                            for step in 0..length {
                                let t = if reverse { length - 1 - step } else { step };
                                let last = if reverse { t + 1 } else { t.wrapping_sub(1) };
                                let before = if step > 0 { expected[at(last)] } else { start };
                                let factor = if shifted && step > 0 { b[at(last)] } else { b[at(t)] };
                                expected[at(t)] = a[at(t)] + factor * before;
                            }
                        }
                    }
                    for (y, expected) in out.iter().zip(&expected) {
                        let close = (y - expected).abs() <= 1e-12 * (1.0 + expected.abs());
                        assert!(
                            close,
                            "{shape:?} {axis} reverse={reverse} shifted={shifted} from {start} at {level:?}"
                        );
                    }
                }
            }
        }
    });
}

#[test]
fn gathering_and_scattering() {
    for_each_level(|level| {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for &(dims, behind, count) in &[
            (&[20, 5][..], 1, 1000),
            (&[20, 5], 3, 77),
            (&[7], 1, 300),
            (&[128], 1, 131),
            (&[300], 1, 500),
            (&[2, 3, 4], 1, 9),
            (&[3], 2, 0),
        ] {
            let mut array = |length: usize| (0..count).map(|_| rng.random_range(0..length as i32)).collect();
            let arrays: Vec<Vec<i32>> = dims.iter().map(|&length: &usize| array(length)).collect();
            let tape = Tape::new();
            let indices: Vec<_> = arrays.iter().map(|array| tape.index("i", ndarray::arr1(array))).collect();
            let row =
                |n: usize| dims.iter().zip(&arrays).fold(0, |row, (length, array)| row * length + array[n] as usize);
            let tail: &[usize] = if behind == 1 { &[] } else { &[behind] };
            let table = random(&[dims, tail].concat());
            let entries = random(&[&[count], tail].concat());
            let gathered = tape.input("table", &table).gather(&indices);
            let scattered = tape.input("entries", &entries).scatter_add(&indices, dims);
            let (table, entries) = (table.as_slice().unwrap(), entries.as_slice().unwrap());
            let mut out = vec![f64::NAN; gathered.size()];
            gathered.run_kernel(&[table, &[], &[], &[]], &mut out);
            let mut sums = vec![f64::NAN; scattered.size()];
            scattered.run_kernel(&[entries, &[], &[], &[]], &mut sums);
            let mut expected = vec![0.0; table.len()];
            for n in 0..count {
                for k in 0..behind {
                    assert_eq!(out[n * behind + k], table[row(n) * behind + k], "{dims:?} at {level:?}");
                    expected[row(n) * behind + k] += entries[n * behind + k];
                }
            }
            for (sum, expected) in sums.iter().zip(&expected) {
                assert!((sum - expected).abs() < 1e-11, "{dims:?} at {level:?}");
            }
        }
    });
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

    /// e^x − 1 = 2^n·(1 − 2^−n + e), or (2^n − 1) + 2^n·e.
    pub fn exponential_less_one(x: f64) -> Exact {
        if x.abs() < 1e-100 {
            return (x.into(), 0);
        }
        let (e, n) = exp_m1(x.into());
        if n > 0 {
            return (e + (ONE - scale(1.0, -n).into()), n);
        }
        let power = Double::from(scale(1.0, n));
        ((power - ONE) + power * e, 0)
    }

    /// By Newton's method, as the y where e^y − 1 = x.
    pub fn ln_1p(x: f64) -> Double {
        if x > 1e40 {
            return ln(x);
        }
        let mut y = Double::from(x.ln_1p());
        for _ in 0..if x.abs() < 1e-100 { 0 } else { 2 } {
            let (e, n) = exp_m1(y);
            let power = Double::from(scale(1.0, n));
            let above = (power - ONE) + power * e;
            y = y - (above - x.into()) / (above + ONE);
        }
        y
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
