//! Special functions against numbers of 50 digits (`data/special_functions.csv`, by `scripts/special_functions.py`): values, and
//! derivatives to third order, in both modes, as recorded and lowered, in both precisions, on every kind of processor.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ad::{Level, Lowering, Real, Tape, Value, Var};
use ndarray::Array1;

/// The level is the process', so that tests take turns.
fn for_each_level(mut test: impl FnMut(Level)) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn: MutexGuard<'_, ()> = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for &level in Level::available() {
        assert_eq!(level.use_level(), level);
        test(level);
    }
}

/// What is tested: its name in the table, itself, and the largest errors of its derivatives of orders 0 to 3 in units in the
/// last place, in double and in single precision.
type Case = (&'static str, fn(&[Var]) -> Var, [f64; 4], [f64; 4]);

const CASES: &[Case] = &[
    ("ln_1p", |x| x[0].ln_1p(), [2.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 5.0]),
    ("exp_m1", |x| x[0].exp_m1(), [2.0, 1.0, 1.0, 1.0], [1.0; 4]),
    ("erf", |x| x[0].erf(), [2.0, 4.0, 4.0, 5.0], [1.0; 4]),
    ("erfc", |x| x[0].erfc(), [3.0, 4.0, 4.0, 5.0], [1.0; 4]),
    ("ln_gamma", |x| x[0].ln_gamma(), [4.0; 4], [1.0; 4]),
    ("digamma", |x| x[0].digamma(), [4.0; 4], [1.0; 4]),
    ("polygamma 1", |x| x[0].polygamma(1), [4.0; 4], [1.0; 4]),
    ("polygamma 2", |x| x[0].polygamma(2), [3.0, 3.0, 3.0, 4.0], [1.0; 4]),
    ("polygamma 9", |x| x[0].polygamma(9), [3.0, 5.0, 5.0, 5.0], [1.0; 4]),
    ("tan", |x| x[0].tan(), [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]),
    ("atan", |x| x[0].atan(), [2.0, 3.0, 5.0, 8.0], [1.0, 2.0, 3.0, 4.0]),
    ("asin", |x| x[0].asin(), [1.0, 2.0, 5.0, 7.0], [1.0, 2.0, 5.0, 7.0]),
    ("acos", |x| x[0].acos(), [1.0, 2.0, 5.0, 7.0], [1.0, 2.0, 5.0, 7.0]),
    ("sinh", |x| x[0].sinh(), [2.0; 4], [2.0; 4]),
    ("cosh", |x| x[0].cosh(), [2.0; 4], [2.0; 4]),
    ("log2", |x| x[0].log2(), [1.0, 2.0, 2.0, 3.0], [1.0, 2.0, 2.0, 3.0]),
    ("log10", |x| x[0].log10(), [1.0, 2.0, 3.0, 3.0], [1.0, 2.0, 2.0, 3.0]),
    ("hypot", |x| x[0].hypot(x[1]), [1.0, 2.0, 4.0, 6.0], [1.0, 2.0, 3.0, 4.0]),
    ("atan2", |x| x[0].atan2(x[1]), [1.0, 3.0, 5.0, 5.0], [1.0, 2.0, 3.0, 4.0]),
];

/// The derivatives of one and of two arguments that the table has, as lists of what is differentiated by.
const BY: [&[&[usize]]; 2] = [
    &[&[], &[0], &[0, 0], &[0, 0, 0]],
    &[&[], &[0], &[1], &[0, 0], &[0, 1], &[1, 1], &[0, 0, 0], &[0, 0, 1], &[0, 1, 1], &[1, 1, 1]],
];

/// A derivative, and its magnitude or that of the terms it is the sum of.
#[derive(Clone, Copy)]
struct Expected {
    value: f64,
    scale: f64,
    is_sum: bool,
}

/// A line of the table.
struct Point {
    at: Vec<f64>,
    expected: Vec<Expected>,
}

/// The points of a function, where one takes so many arguments.
fn points(name: &str, arguments: usize) -> Vec<Point> {
    let lines = include_str!("data/special_functions.csv").lines().filter(|line| !line.starts_with('#'));
    let of_function = lines.filter_map(|line| line.split_once(',')).filter(|(function, _)| *function == name);
    let number = |text: &str| text.parse::<f64>().unwrap();
    let expected = |text: &str| match text.split_once('|') {
        Some((value, scale)) => Expected { value: number(value), scale: number(scale), is_sum: true },
        None => Expected { value: number(text), scale: number(text).abs(), is_sum: false },
    };
    let point = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let (at, derivatives) = fields.split_at(arguments);
        assert_eq!(derivatives.len(), BY[arguments - 1].len(), "{name}: {line}");
        Point {
            at: at.iter().map(|text| number(text)).collect(),
            expected: derivatives.iter().map(|text| expected(text)).collect(),
        }
    };
    let points: Vec<Point> = of_function.map(|(_, line)| point(line)).collect();
    assert!(points.len() >= 20, "{name}: {} points", points.len());
    points
}

/// The distance of a number from the right one in units in the last place of the scale. Where that is out of range, only what
/// is finite is wrong (of terms, some may be infinite with either sign).
fn ulps<T: Real>(number: T, expected: Expected) -> f64 {
    let (number, right) = (number.as_f64(), T::of(expected.value).as_f64());
    if number == right || expected.is_sum && !T::of(expected.scale).is_finite() && !number.is_finite() {
        return 0.0;
    }
    // Of an f64 below the normal numbers the logarithm is exact enough.
    let smallest = T::min_positive_value().as_f64() * T::epsilon().as_f64();
    let ulp = 2.0_f64.powf(expected.scale.log2().floor()) * T::epsilon().as_f64();
    (number - expected.value).abs() / ulp.max(smallest)
}

fn arguments(name: &str) -> usize {
    if ["hypot", "atan2"].contains(&name) { 2 } else { 1 }
}

fn check<T: Real>(bounds: impl Fn(&Case) -> [f64; 4]) {
    let mut problems = Vec::new();
    for case in CASES {
        let (name, f, ..) = *case;
        let is_exact = |x: &f64| T::of(*x).as_f64() == *x;
        let points: Vec<Point> =
            points(name, arguments(name)).into_iter().filter(|point| point.at.iter().all(is_exact)).collect();
        let column = |i: usize| Array1::from_iter(points.iter().map(|point| T::of(point.at[i])));
        let columns: Vec<Array1<T>> = (0..arguments(name)).map(column).collect();
        let mut worst = [(0.0, String::new()), (0.0, String::new()), (0.0, String::new()), (0.0, String::new())];
        for forward in [false, true] {
            let tape = Tape::new();
            let x: Vec<Var> = columns.iter().map(|column| tape.input("x", column)).collect();
            let by = |y: Var, i: &usize| {
                if forward { y.jvp(x[*i], x[*i].full_like(1.0)) } else { y.sum().grad(x[*i]) }
            };
            let lists = BY[arguments(name) - 1];
            let derivatives: Vec<Var> = lists.iter().map(|list| list.iter().fold(f(&x), by)).collect();
            for lowering in [Lowering::On, Lowering::Off] {
                let program = tape.compile_with(x.iter().copied(), derivatives.iter().copied(), lowering);
                let values: Vec<Value<'_>> = columns.iter().map(Value::from).collect();
                for_each_level(|level| {
                    let results = program.run_as::<T>(&values).unwrap();
                    for (i, (list, result)) in lists.iter().zip(&results).enumerate() {
                        for (&number, point) in result.iter().zip(&points) {
                            let error = ulps(number, point.expected[i]);
                            let worst = &mut worst[list.len()];
                            if error.is_nan() || error > worst.0 {
                                let Expected { value, scale, .. } = point.expected[i];
                                let mode = if forward { "forward" } else { "reverse" };
                                let text = format!(
                                    "by {list:?} at {:?}: {number:e}, not {value:e} of {scale:e} ({mode}, {lowering:?}, {level:?})",
                                    point.at
                                );
                                *worst = (if error.is_nan() { f64::INFINITY } else { error }, text);
                            }
                        }
                    }
                });
            }
        }
        for (order, ((error, text), bound)) in worst.iter().zip(bounds(case)).enumerate() {
            println!("{name:12} {} order {order}: {error:.2} of {bound} ulp {text}", T::DTYPE);
            if *error > bound {
                problems.push(format!("{name} {}, order {order}: {error:.2} ulp {text}", T::DTYPE));
            }
        }
    }
    assert!(problems.is_empty(), "{} are wrong:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn values_and_derivatives_in_double_precision() {
    check::<f64>(|case| case.2);
}

#[test]
fn values_and_derivatives_in_single_precision() {
    check::<f32>(|case| case.3);
}

#[test]
fn every_line_of_the_table_is_of_a_function_that_is_tested() {
    let lines = include_str!("data/special_functions.csv").lines().filter(|line| !line.starts_with('#'));
    for line in lines {
        let name = line.split(',').next().unwrap();
        assert!(CASES.iter().any(|(case, ..)| *case == name), "{line}");
    }
}

/// What goes number by number does so with the same roundings everywhere.
#[test]
fn the_same_bits_on_every_kind_of_processor() {
    for (name, f, ..) in CASES.iter().filter(|(name, ..)| !["ln_1p", "exp_m1"].contains(name)) {
        let points = points(name, arguments(name));
        let column = |i: usize| Array1::from_iter(points.iter().map(|point| point.at[i]));
        let columns: Vec<Array1<f64>> = (0..arguments(name)).map(column).collect();
        let tape = Tape::new();
        let x: Vec<Var> = columns.iter().map(|column| tape.input("x", column)).collect();
        let program = tape.compile(x.iter().copied(), [f(&x)]);
        let values: Vec<Value<'_>> = columns.iter().map(Value::from).collect();
        let mut first: Option<Vec<u64>> = None;
        for_each_level(|level| {
            let bits: Vec<u64> = program.run(&values).unwrap()[0].iter().map(|x| x.to_bits()).collect();
            assert_eq!(first.get_or_insert_with(|| bits.clone()), &bits, "{name}, {level:?}");
        });
    }
}

/// Beyond what the table has: the recurrence ψ⁽ⁿ⁾(x + 1) = ψ⁽ⁿ⁾(x) + (−1)ⁿ·n!/x^(n+1), of orders whose factorial is no number.
#[test]
fn polygammas_of_high_order() {
    for (order, x) in [(40, 3.7), (100, 30.0), (150, 12.5), (180, 150.0), (200, 90.0), (60, -7.3), (170, 1e3)] {
        let tape = Tape::new();
        let at = |x: f64| tape.constant(x).polygamma(order).item();
        let factorial_over_power = (1..=order).fold(1.0 / x, |product, j| product * f64::from(j) / x);
        let difference = if order % 2 == 0 { factorial_over_power } else { -factorial_over_power };
        let (low, high) = (at(x), at(x + 1.0));
        assert!(high.is_finite() && high != 0.0, "{order} at {x}: {high}");
        let error = (high - low - difference).abs() / low.abs().max(high.abs());
        assert!(error < 4.0 * f64::from(order) * f64::EPSILON, "{order} at {x}: {low:e}, {high:e}, {difference:e}");
    }
}

/// In the plane: the sign of a zero says from which side.
#[test]
fn angles_of_signed_zeros_and_infinities() {
    use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, PI};
    const INFINITY: f64 = f64::INFINITY;
    let tape = Tape::new();
    for (y, x, angle) in [
        (0.0, 0.0, 0.0),
        (0.0, -0.0, PI),
        (-0.0, -0.0, -PI),
        (-0.0, -1.0, -PI),
        (1.0, 0.0, FRAC_PI_2),
        (INFINITY, INFINITY, FRAC_PI_4),
        (INFINITY, -INFINITY, 3.0 * FRAC_PI_4),
        (1.0, -INFINITY, PI),
        (-1.0, INFINITY, 0.0),
    ] {
        assert_eq!(tape.constant(y).atan2(x).item(), angle, "{y}, {x}");
    }
}
