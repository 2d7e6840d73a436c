//! Derivatives to third order at the points where a rule has something to decide: zeros of either sign, ties, infinities,
//! NaN, and where a function is so nearly constant that its derivative is all that is left. In both precisions, any mix of
//! modes, as recorded and lowered. The numbers are by hand.

mod common;

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, FRAC_PI_2, FRAC_PI_4, LN_2, PI};

use ad::{DType, Index, Lowering, Real, Tape, Var};
use ndarray::{ArrayD, arr1, arr2};

const INFINITY: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

type Function = fn(&[Var]) -> Var;

/// The partial derivative by the listed variables, one after the other, in every mix of modes, as recorded and lowered.
fn partials<T: Real>(f: Function, at: &[f64], by: &[usize]) -> Vec<(String, T)> {
    let mut results = Vec::new();
    for modes in 0..1 << by.len() {
        let tape = Tape::new();
        let x: Vec<Var> = at.iter().map(|&x| tape.input("x", T::of(x))).collect();
        let mut derivative = f(&x);
        let mut name = String::new();
        for (i, &by) in by.iter().enumerate() {
            let forward = modes >> i & 1 == 1;
            name.push(if forward { 'f' } else { 'r' });
            derivative = if forward { derivative.jvp(x[by], tape.constant(T::one())) } else { derivative.grad(x[by]) };
        }
        for lowering in [Lowering::On, Lowering::Off] {
            let values: Vec<ad::Value<'_>> = at.iter().map(|&x| T::of(x).into()).collect();
            let program = tape.compile_with(x.iter().copied(), [derivative], lowering);
            results.push((format!("{name} {lowering:?}"), program.run_as(&values).unwrap()[0].sum()));
        }
    }
    results
}

/// Within some units of the number type's rounding of the number itself, and of its smallest number.
fn is<T: Real>(number: T, expected: f64, epsilons: f64) -> bool {
    let number = number.as_f64();
    let smallest = if T::DTYPE == DType::F32 { 2.0_f64.powi(-149) } else { f64::from_bits(1) };
    let close = (number - expected).abs() <= epsilons * (T::epsilon().as_f64() * expected.abs() + smallest);
    number == expected || number.is_nan() && expected.is_nan() || (expected != 0.0 && close)
}

/// What is wrong at a point; `expected` are the value, and the derivatives by the lists in `by`.
fn problems<T: Real>(name: &str, f: Function, at: &[f64], by: &[&[usize]], expected: &[f64]) -> Vec<String> {
    let mut problems = Vec::new();
    for (by, &expected) in by.iter().zip(expected) {
        for (how, number) in partials::<T>(f, at, by) {
            if !is(number, expected, 8.0) {
                problems
                    .push(format!("{name} at {at:?}, by {by:?} ({how}, {}): {number:e}, not {expected:e}", T::DTYPE));
            }
        }
    }
    problems
}

#[track_caller]
fn expect_none(problems: Vec<String>) {
    assert!(problems.is_empty(), "{} are wrong:\n{}", problems.len(), problems.join("\n"));
}

/// Functions of one number: where, and the derivatives of orders 0, 1, …, as far as there is something to say.
type Row = (&'static str, Function, &'static [(f64, &'static [f64])]);

/// −ψ, ψ⁽¹⁾, −ψ⁽²⁾ and ψ⁽³⁾ at 1: Euler's constant, ζ(2), 2·ζ(3) and 6·ζ(4).
const EULER: f64 = 0.577_215_664_901_532_9;
const ZETA_2: f64 = 1.644_934_066_848_226_4;
const ZETA_3_TWICE: f64 = 2.404_113_806_319_188_6;
const ZETA_4_TIMES_6: f64 = 6.493_939_402_266_829;

fn functions_of_one() -> Vec<Row> {
    vec![
        (
            "relu",
            |x| x[0].relu(),
            &[
                (0.0, &[0.0, 0.0, 0.0, 0.0]),
                (-0.0, &[0.0, 0.0, 0.0, 0.0]),
                (-2.0, &[0.0, 0.0, 0.0, 0.0]),
                (1e-30, &[1e-30, 1.0, 0.0, 0.0]),
                (INFINITY, &[INFINITY, 1.0, 0.0, 0.0]),
                (-INFINITY, &[0.0, 0.0, 0.0, 0.0]),
                (NAN, &[NAN, 1.0, 0.0, 0.0]),
            ],
        ),
        (
            "abs",
            |x| x[0].abs(),
            &[
                (0.0, &[0.0, 0.0, 0.0, 0.0]),
                (-0.0, &[0.0, 0.0, 0.0, 0.0]),
                (-2.0, &[2.0, -1.0, 0.0, 0.0]),
                (INFINITY, &[INFINITY, 1.0, 0.0, 0.0]),
                (-INFINITY, &[INFINITY, -1.0, 0.0, 0.0]),
                (NAN, &[NAN, NAN]),
            ],
        ),
        (
            "max(x, 0)",
            |x| x[0].max(0.0),
            &[
                (0.0, &[0.0, 0.5, 0.0, 0.0]),
                (-0.0, &[0.0, 0.5, 0.0, 0.0]),
                (INFINITY, &[INFINITY, 1.0, 0.0, 0.0]),
                (-INFINITY, &[0.0, 0.0, 0.0, 0.0]),
                (NAN, &[NAN, NAN]),
            ],
        ),
        (
            "min(x, 0)",
            |x| x[0].min(0.0),
            &[(0.0, &[0.0, 0.5, 0.0, 0.0]), (-INFINITY, &[-INFINITY, 1.0, 0.0, 0.0]), (NAN, &[NAN, NAN])],
        ),
        // The derivatives of the two branches, averaged, at every order: (2 + 1)/2, (2 + 0)/2.
        ("max(x², x)", |x| (x[0] * x[0]).max(x[0]), &[(1.0, &[1.0, 1.5, 1.0, 0.0]), (0.0, &[0.0, 0.5, 1.0, 0.0])]),
        ("min(x³, x)", |x| x[0].powf(3.0).min(x[0]), &[(1.0, &[1.0, 2.0, 3.0, 3.0]), (0.0, &[0.0, 0.5, 0.0, 3.0])]),
        ("max(x, x)", |x| x[0].max(x[0]), &[(3.0, &[3.0, 1.0, 0.0, 0.0]), (INFINITY, &[INFINITY, 1.0, 0.0, 0.0])]),
        (
            "clip",
            |x| x[0].clip(-1.0, 1.0),
            &[
                (1.0, &[1.0, 0.5, 0.0, 0.0]),
                (-1.0, &[-1.0, 0.5, 0.0, 0.0]),
                (0.0, &[0.0, 1.0, 0.0, 0.0]),
                (INFINITY, &[1.0, 0.0, 0.0, 0.0]),
                (NAN, &[NAN, NAN]),
            ],
        ),
        ("sign", |x| x[0].sign(), &[(0.0, &[0.0]), (-0.0, &[0.0]), (-3.0, &[-1.0]), (INFINITY, &[1.0]), (NAN, &[NAN])]),
        (
            "sqrt",
            |x| x[0].sqrt(),
            &[
                (0.0, &[0.0, INFINITY, -INFINITY, INFINITY]),
                (-0.0, &[0.0, -INFINITY, INFINITY, -INFINITY]),
                (INFINITY, &[INFINITY, 0.0, 0.0, 0.0]),
                (-1.0, &[NAN, NAN, NAN, NAN]),
                (NAN, &[NAN, NAN, NAN, NAN]),
            ],
        ),
        ("√x²", |x| x[0].square().sqrt(), &[(0.0, &[0.0, NAN]), (-2.0, &[2.0, -1.0, 0.0, 0.0])]),
        (
            "ln",
            |x| x[0].ln(),
            &[
                (0.0, &[-INFINITY, INFINITY, -INFINITY, INFINITY]),
                (-0.0, &[-INFINITY, -INFINITY, -INFINITY, -INFINITY]),
                (INFINITY, &[INFINITY, 0.0, 0.0, 0.0]),
                (NAN, &[NAN, NAN, NAN, NAN]),
            ],
        ),
        (
            "exp",
            |x| x[0].exp(),
            &[
                (-0.0, &[1.0, 1.0, 1.0, 1.0]),
                (INFINITY, &[INFINITY, INFINITY, INFINITY, INFINITY]),
                (-INFINITY, &[0.0, 0.0, 0.0, 0.0]),
                (-1000.0, &[0.0, 0.0, 0.0, 0.0]),
                (NAN, &[NAN, NAN, NAN, NAN]),
            ],
        ),
        (
            "tanh",
            |x| x[0].tanh(),
            &[
                (0.0, &[0.0, 1.0, 0.0, -2.0]),
                (-0.0, &[0.0, 1.0, 0.0, -2.0]),
                (INFINITY, &[1.0, 0.0, 0.0, 0.0]),
                (-INFINITY, &[-1.0, 0.0, 0.0, 0.0]),
                (NAN, &[NAN, NAN, NAN, NAN]),
            ],
        ),
        (
            "sigmoid",
            |x| x[0].sigmoid(),
            &[
                (0.0, &[0.5, 0.25, 0.0, -0.125]),
                (INFINITY, &[1.0, 0.0, 0.0, 0.0]),
                (-INFINITY, &[0.0, 0.0, 0.0, 0.0]),
                (NAN, &[NAN, NAN, NAN, NAN]),
            ],
        ),
        (
            "softplus",
            |x| x[0].softplus(),
            &[
                (0.0, &[LN_2, 0.5, 0.25, 0.0]),
                (INFINITY, &[INFINITY, 1.0, 0.0, 0.0]),
                (-INFINITY, &[0.0, 0.0, 0.0, 0.0]),
                (NAN, &[NAN, NAN, NAN, NAN]),
            ],
        ),
        ("sin", |x| x[0].sin(), &[(0.0, &[0.0, 1.0, 0.0, -1.0]), (INFINITY, &[NAN, NAN, NAN, NAN])]),
        ("cos", |x| x[0].cos(), &[(0.0, &[1.0, 0.0, -1.0, 0.0]), (-INFINITY, &[NAN, NAN, NAN, NAN])]),
        (
            "exp_m1",
            |x| x[0].exp_m1(),
            &[
                (0.0, &[0.0, 1.0, 1.0, 1.0]),
                (INFINITY, &[INFINITY, INFINITY, INFINITY, INFINITY]),
                (-INFINITY, &[-1.0, 0.0, 0.0, 0.0]),
                (NAN, &[NAN, NAN, NAN, NAN]),
            ],
        ),
        (
            "ln_1p",
            |x| x[0].ln_1p(),
            &[
                (0.0, &[0.0, 1.0, -1.0, 2.0]),
                (-0.0, &[0.0, 1.0, -1.0, 2.0]),
                (-1.0, &[-INFINITY, INFINITY, -INFINITY, INFINITY]),
                (-2.0, &[NAN]),
                (INFINITY, &[INFINITY, 0.0, 0.0, 0.0]),
                (-INFINITY, &[NAN]),
                (NAN, &[NAN, NAN, NAN, NAN]),
            ],
        ),
        (
            "log2",
            |x| x[0].log2(),
            &[
                (0.0, &[-INFINITY, INFINITY, -INFINITY, INFINITY]),
                (-0.0, &[-INFINITY, -INFINITY, -INFINITY, -INFINITY]),
                (INFINITY, &[INFINITY, 0.0, 0.0, 0.0]),
                (-1.0, &[NAN]),
                (NAN, &[NAN, NAN, NAN, NAN]),
            ],
        ),
        ("log10", |x| x[0].log10(), &[(0.0, &[-INFINITY, INFINITY, -INFINITY, INFINITY]), (-1.0, &[NAN])]),
        (
            "sinh",
            |x| x[0].sinh(),
            &[
                (0.0, &[0.0, 1.0, 0.0, 1.0]),
                (INFINITY, &[INFINITY, INFINITY, INFINITY, INFINITY]),
                (-INFINITY, &[-INFINITY, INFINITY, -INFINITY, INFINITY]),
                (NAN, &[NAN, NAN, NAN, NAN]),
            ],
        ),
        (
            "cosh",
            |x| x[0].cosh(),
            &[
                (0.0, &[1.0, 0.0, 1.0, 0.0]),
                (-INFINITY, &[INFINITY, -INFINITY, INFINITY, -INFINITY]),
                (NAN, &[NAN, NAN]),
            ],
        ),
        ("tan", |x| x[0].tan(), &[(0.0, &[0.0, 1.0, 0.0, 2.0]), (INFINITY, &[NAN, NAN, NAN, NAN])]),
        (
            "atan",
            |x| x[0].atan(),
            &[
                (0.0, &[0.0, 1.0, 0.0, -2.0]),
                (-0.0, &[0.0, 1.0, 0.0, -2.0]),
                (INFINITY, &[FRAC_PI_2, 0.0, 0.0, 0.0]),
                (-INFINITY, &[-FRAC_PI_2, 0.0, 0.0, 0.0]),
                (NAN, &[NAN, NAN, NAN, NAN]),
            ],
        ),
        (
            "asin",
            |x| x[0].asin(),
            &[
                (0.0, &[0.0, 1.0, 0.0, 1.0]),
                (1.0, &[FRAC_PI_2, INFINITY, INFINITY, INFINITY]),
                (-1.0, &[-FRAC_PI_2, INFINITY, -INFINITY, INFINITY]),
                (2.0, &[NAN, NAN, NAN, NAN]),
                (-INFINITY, &[NAN, NAN, NAN, NAN]),
                (NAN, &[NAN, NAN, NAN, NAN]),
            ],
        ),
        (
            "acos",
            |x| x[0].acos(),
            &[
                (0.0, &[FRAC_PI_2, -1.0, 0.0, -1.0]),
                (1.0, &[0.0, -INFINITY, -INFINITY, -INFINITY]),
                (-1.0, &[PI, -INFINITY, INFINITY, -INFINITY]),
                (-2.0, &[NAN, NAN, NAN, NAN]),
            ],
        ),
        (
            "erf",
            |x| x[0].erf(),
            &[
                (0.0, &[0.0, FRAC_2_SQRT_PI, 0.0, -2.0 * FRAC_2_SQRT_PI]),
                (-0.0, &[0.0, FRAC_2_SQRT_PI, 0.0, -2.0 * FRAC_2_SQRT_PI]),
                (INFINITY, &[1.0, 0.0, 0.0, 0.0]),
                (-INFINITY, &[-1.0, 0.0, 0.0, 0.0]),
                (1e30, &[1.0, 0.0, 0.0, 0.0]),
                (NAN, &[NAN, NAN, NAN, NAN]),
            ],
        ),
        (
            "erfc",
            |x| x[0].erfc(),
            &[
                (0.0, &[1.0, -FRAC_2_SQRT_PI, 0.0, 2.0 * FRAC_2_SQRT_PI]),
                (INFINITY, &[0.0, 0.0, 0.0, 0.0]),
                (-INFINITY, &[2.0, 0.0, 0.0, 0.0]),
                (1e30, &[0.0, 0.0, 0.0, 0.0]),
                (NAN, &[NAN, NAN, NAN, NAN]),
            ],
        ),
        (
            "ln |Γ(x)|",
            |x| x[0].ln_gamma(),
            &[
                (1.0, &[0.0, -EULER, ZETA_2, -ZETA_3_TWICE]),
                (2.0, &[0.0, 1.0 - EULER, ZETA_2 - 1.0, 2.0 - ZETA_3_TWICE]),
                (0.0, &[INFINITY, -INFINITY, INFINITY, -INFINITY]),
                (-0.0, &[INFINITY, INFINITY, INFINITY, INFINITY]),
                // A pole where the derivative has either sign, on either side.
                (-1.0, &[INFINITY, NAN, INFINITY, NAN]),
                (-1e20, &[INFINITY, NAN, INFINITY, NAN]),
                (INFINITY, &[INFINITY, INFINITY, 0.0, 0.0]),
                (-INFINITY, &[INFINITY, NAN, NAN, NAN]),
                (NAN, &[NAN, NAN, NAN, NAN]),
            ],
        ),
        (
            "digamma",
            |x| x[0].digamma(),
            &[
                (1.0, &[-EULER, ZETA_2, -ZETA_3_TWICE, ZETA_4_TIMES_6]),
                (0.0, &[-INFINITY, INFINITY, -INFINITY, INFINITY]),
                (-0.0, &[INFINITY, INFINITY, INFINITY, INFINITY]),
                (-3.0, &[NAN, INFINITY, NAN, INFINITY]),
                (INFINITY, &[INFINITY, 0.0, 0.0, 0.0]),
                (-INFINITY, &[NAN, NAN, NAN, NAN]),
                (NAN, &[NAN, NAN, NAN, NAN]),
            ],
        ),
        (
            "polygamma 2",
            |x| x[0].polygamma(2),
            &[
                (1.0, &[-ZETA_3_TWICE, ZETA_4_TIMES_6]),
                (0.0, &[-INFINITY, INFINITY, -INFINITY, INFINITY]),
                (-2.0, &[NAN, INFINITY, NAN, INFINITY]),
                (INFINITY, &[0.0, 0.0, 0.0, 0.0]),
                (NAN, &[NAN, NAN, NAN, NAN]),
            ],
        ),
        (
            "x^0",
            |x| x[0].powf(0.0),
            &[(0.0, &[1.0, 0.0, 0.0, 0.0]), (INFINITY, &[1.0, 0.0, 0.0, 0.0]), (NAN, &[1.0, 0.0, 0.0, 0.0])],
        ),
        // A matrix of one number: its root, and logarithms.
        (
            "cholesky",
            |x| x[0].reshape(&[1, 1]).cholesky().sum(),
            &[
                (4.0, &[2.0, 0.25, -0.03125, 0.01171875]),
                (8.271806125530277e-25, &[9.094947017729282e-13, 549755813888.0]),
                (INFINITY, &[INFINITY]),
                (NAN, &[NAN, NAN, NAN, NAN]),
            ],
        ),
        (
            "ln det",
            |x| x[0].reshape(&[1, 1]).ln_determinant(),
            &[(4.0, &[2.0 * LN_2, 0.25, -0.0625, 0.03125]), (INFINITY, &[INFINITY]), (NAN, &[NAN, NAN, NAN, NAN])],
        ),
        (
            "ln |det|",
            |x| x[0].reshape(&[1, 1]).ln_abs_determinant(),
            &[
                (-4.0, &[2.0 * LN_2, -0.25, -0.0625, -0.03125]),
                (0.0, &[-INFINITY]),
                (-0.0, &[-INFINITY]),
                (-INFINITY, &[INFINITY, 0.0, 0.0, 0.0]),
                (NAN, &[NAN, NAN, NAN, NAN]),
            ],
        ),
        // The vanishing factor is not multiplied by what there is beside it.
        ("x^0·∞", |x| x[0].powf(0.0) * INFINITY, &[(2.0, &[INFINITY, 0.0, 0.0, 0.0])]),
        ("x^1", |x| x[0].powf(1.0), &[(0.0, &[0.0, 1.0, 0.0, 0.0]), (INFINITY, &[INFINITY, 1.0, 0.0, 0.0])]),
        (
            "x^2",
            |x| x[0].powf(2.0),
            &[
                (0.0, &[0.0, 0.0, 2.0, 0.0]),
                (-0.0, &[0.0, 0.0, 2.0, 0.0]),
                (-INFINITY, &[INFINITY, -INFINITY, 2.0, 0.0]),
                (NAN, &[NAN, NAN, 2.0, 0.0]),
            ],
        ),
        ("x^3", |x| x[0].powf(3.0), &[(0.0, &[0.0, 0.0, 0.0, 6.0]), (-0.0, &[0.0, 0.0, 0.0, 6.0])]),
        ("x^4", |x| x[0].powf(4.0), &[(0.0, &[0.0, 0.0, 0.0, 0.0]), (-1.0, &[1.0, -4.0, 12.0, -24.0])]),
        (
            "x^½",
            |x| x[0].powf(0.5),
            &[
                (0.0, &[0.0, INFINITY, -INFINITY, INFINITY]),
                (INFINITY, &[INFINITY, 0.0, 0.0, 0.0]),
                (-1.0, &[NAN, NAN, NAN, NAN]),
            ],
        ),
        ("x^1.5", |x| x[0].powf(1.5), &[(0.0, &[0.0, 0.0, INFINITY, -INFINITY]), (-1.0, &[NAN, NAN, NAN, NAN])]),
        ("x^2.5", |x| x[0].powf(2.5), &[(0.0, &[0.0, 0.0, 0.0, INFINITY])]),
        (
            "x^−1",
            |x| x[0].powf(-1.0),
            &[
                (0.0, &[INFINITY, -INFINITY, INFINITY, -INFINITY]),
                (-0.0, &[-INFINITY, -INFINITY, -INFINITY, -INFINITY]),
                (INFINITY, &[0.0, 0.0, 0.0, 0.0]),
                (-INFINITY, &[0.0, 0.0, 0.0, 0.0]),
            ],
        ),
        (
            "x^−2",
            |x| x[0].powf(-2.0),
            &[(0.0, &[INFINITY, -INFINITY, INFINITY, -INFINITY]), (-0.0, &[INFINITY, INFINITY, INFINITY, INFINITY])],
        ),
        (
            "1/x",
            |x| x[0].powf(0.0) / x[0],
            &[
                (INFINITY, &[0.0, 0.0, 0.0, 0.0]),
                (-INFINITY, &[0.0, 0.0, 0.0, 0.0]),
                (2.0, &[0.5, -0.25, 0.25, -0.375]),
            ],
        ),
        (
            "x where x > 0, else 0",
            |x| x[0].greater(0.0).select(x[0], 0.0),
            &[(0.0, &[0.0, 0.0, 0.0, 0.0]), (INFINITY, &[INFINITY, 1.0, 0.0, 0.0])],
        ),
        // The way that `select` recommends.
        (
            "√(x where x > 0, else 1)",
            |x| x[0].greater(0.0).select(x[0], 1.0).sqrt(),
            &[(0.0, &[1.0, 0.0, 0.0, 0.0]), (-1.0, &[1.0, 0.0, 0.0, 0.0]), (NAN, &[1.0, 0.0, 0.0, 0.0])],
        ),
    ]
}

#[test]
fn a_branch_not_taken_whose_derivative_is_infinite_is_zero_times_infinity_in_reverse_mode() {
    let tape = Tape::new();
    let x = tape.input("x", 0.0);
    let y = x.greater(0.0).select(x.sqrt(), 0.0);
    assert!(y.grad(x).item().is_nan());
    assert_eq!(y.jvp(x, tape.constant(1.0)).item(), 0.0);
}

fn check_functions_of_one<T: Real>() {
    let by: [&[usize]; 4] = [&[], &[0], &[0, 0], &[0, 0, 0]];
    let rows = functions_of_one();
    let points = rows.iter().flat_map(|(name, f, points)| points.iter().map(move |point| (name, *f, point)));
    expect_none(points.flat_map(|(name, f, (at, expected))| problems::<T>(name, f, &[*at], &by, expected)).collect());
}

#[test]
fn functions_of_one_number_in_double_precision() {
    check_functions_of_one::<f64>();
}

#[test]
fn functions_of_one_number_in_single_precision() {
    check_functions_of_one::<f32>();
}

/// Of the function and its derivative, the bits at each of these numbers, each run by itself or all as one array. (Every NaN is one.)
fn bits<T: Real>(f: Function, at: &[f64], alone: bool, lowering: Lowering) -> Vec<[u64; 2]> {
    let parts: Vec<&[f64]> = if alone { at.chunks(1).collect() } else { vec![at] };
    let of = |part: &[f64]| -> Vec<[u64; 2]> {
        let part: Vec<T> = part.iter().map(|&x| T::of(x)).collect();
        let at = if alone { ad::Value::from(part[0]) } else { ad::Value::from(&part) };
        let tape = Tape::new();
        let x = tape.input("x", at.clone());
        let y = f(&[x]);
        let results = tape.compile_with([x], [y, y.sum().grad_or_zeros(x)], lowering).run_as::<T>(&[at]).unwrap();
        let bits = |x: &T| if x.is_nan() { 0 } else { x.as_f64().to_bits() };
        results[0].iter().zip(&results[1]).map(|(y, slope)| [bits(y), bits(slope)]).collect()
    };
    parts.into_iter().flat_map(of).collect()
}

/// A number is not computed as an array of one is, but by the same kernel.
#[test]
fn a_number_has_the_bits_of_an_entry() {
    let functions: [(&str, Function); 22] = [
        ("exp", |x| x[0].exp()),
        ("ln", |x| x[0].ln()),
        ("tanh", |x| x[0].tanh()),
        ("sigmoid", |x| x[0].sigmoid()),
        ("softplus", |x| x[0].softplus()),
        ("sin", |x| x[0].sin()),
        ("cos", |x| x[0].cos()),
        ("sqrt", |x| x[0].sqrt()),
        ("abs", |x| x[0].abs()),
        ("exp_m1", |x| x[0].exp_m1()),
        ("ln_1p", |x| x[0].ln_1p()),
        ("erfc", |x| x[0].erfc()),
        ("ln_gamma", |x| x[0].ln_gamma()),
        ("trigamma", |x| x[0].polygamma(1)),
        ("asin", |x| x[0].asin()),
        ("powers", |x| x[0].powf(-1.0) + x[0].powf(5.0) * x[0].powf(1.5)),
        ("pow", |x| x[0].pow(x[0])),
        ("max, min", |x| x[0].max(0.3) - x[0].min(1.0)),
        ("hypot, atan2", |x| x[0].hypot(2.0) / x[0].atan2(0.5)),
        ("comparisons", |x| x[0].less(0.3) + x[0].greater_equal(1.0) * 2.0),
        ("select", |x| x[0].greater(0.0).select(x[0] * 2.0, x[0].square())),
        ("arithmetic", |x| (x[0] + 1.0) * x[0] / ((x[0] - 2.0) * (x[0] * x[0]))),
    ];
    let at = [0.0, -0.0, 0.3, -0.7, 1.0, -1.0, 1.5, -2.5, 31.0, 750.0, -750.0, 1e-40, 1e-310, 1e9, 1e30, INFINITY];
    let at = [&at[..], &[-INFINITY, NAN]].concat();
    for (name, f) in functions {
        for lowering in [Lowering::On, Lowering::Off] {
            let of = |alone: bool| (bits::<f64>(f, &at, alone, lowering), bits::<f32>(f, &at, alone, lowering));
            assert_eq!(of(true), of(false), "{name} at {at:?}, {lowering:?}");
        }
    }
}

/// Functions of a and b: the value, and the derivatives by a, b, aa, ab, ba, bb, aaa, aab, abb, bbb, as far as listed.
const BY: [&[usize]; 11] =
    [&[], &[0], &[1], &[0, 0], &[0, 1], &[1, 0], &[1, 1], &[0, 0, 0], &[0, 1, 0], &[1, 0, 1], &[1, 1, 1]];

type Pairs = Vec<([f64; 2], Vec<f64>)>;

fn functions_of_two() -> Vec<(&'static str, Function, Pairs)> {
    let zero = 0.0;
    let ln_3 = 3.0_f64.ln();
    vec![
        (
            "a^b",
            |x| x[0].pow(x[1]),
            vec![
                // a^(b−1)·(1 + b·ln a), and so on.
                ([2.0, 3.0], {
                    let mixed = 4.0 * (1.0 + 3.0 * LN_2);
                    let (aab, abb) = (10.0 + 12.0 * LN_2, 8.0 * LN_2 + 12.0 * LN_2 * LN_2);
                    vec![
                        8.0,
                        12.0,
                        8.0 * LN_2,
                        12.0,
                        mixed,
                        mixed,
                        8.0 * LN_2 * LN_2,
                        6.0,
                        aab,
                        abb,
                        8.0 * LN_2.powi(3),
                    ]
                }),
                // Exponent 0: constant in the base, but not beside it.
                ([1.0, 0.0], vec![1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, -1.0, 0.0, 0.0]),
                ([3.0, 0.0], {
                    let (aab, abb) = (-1.0 / 9.0, 2.0 * ln_3 / 3.0);
                    vec![1.0, 0.0, ln_3, 0.0, 1.0 / 3.0, 1.0 / 3.0, ln_3 * ln_3, 0.0, aab, abb, ln_3.powi(3)]
                }),
                ([3.0, 1.0], {
                    let mixed = 1.0 + ln_3;
                    let (bb, abb) = (3.0 * ln_3 * ln_3, 2.0 * ln_3 + ln_3 * ln_3);
                    vec![3.0, 1.0, 3.0 * ln_3, 0.0, mixed, mixed, bb, 0.0, 1.0 / 3.0, abb, 3.0 * ln_3.powi(3)]
                }),
                // Base 0. By b alone it is 0 there for every b ≥ 0; the rest are limits.
                ([0.0, 0.0], vec![1.0, 0.0, 0.0, 0.0, INFINITY, INFINITY, 0.0, 0.0, -INFINITY, -INFINITY, 0.0]),
                ([-0.0, 0.0], vec![1.0, 0.0, 0.0, 0.0, INFINITY, INFINITY, 0.0]),
                ([0.0, 1.0], vec![0.0, 1.0, 0.0, 0.0, -INFINITY, -INFINITY, 0.0, 0.0, INFINITY, INFINITY, 0.0]),
                ([0.0, 2.0], vec![0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, -INFINITY, 0.0, 0.0]),
                ([0.0, 3.0], vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 6.0, 0.0, 0.0, 0.0]),
                ([0.0, 0.5], vec![0.0, INFINITY, 0.0, -INFINITY, -INFINITY, -INFINITY, 0.0, INFINITY]),
                ([0.0, 1.5], vec![0.0, 0.0, 0.0, INFINITY, 0.0, 0.0, 0.0, -INFINITY]),
                ([0.0, -1.0], vec![INFINITY, -INFINITY, -INFINITY, INFINITY, INFINITY, INFINITY, INFINITY, -INFINITY]),
                // A negative base has powers at integers only, so that there is no derivative by b.
                ([-2.0, 3.0], vec![-8.0, 12.0, NAN, -12.0, NAN, NAN, NAN, 6.0]),
                ([-2.0, 0.0], vec![1.0, 0.0, NAN, 0.0]),
                ([-2.0, 0.5], vec![NAN, NAN, NAN]),
                // Infinities, and what comes of a NaN.
                ([1.0, INFINITY], vec![1.0, INFINITY, 0.0]),
                ([0.5, INFINITY], vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ([2.0, -INFINITY], vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ([0.0, INFINITY], vec![0.0, 0.0, 0.0, 0.0]),
                ([INFINITY, 0.0], vec![1.0, 0.0, INFINITY, 0.0]),
                ([INFINITY, -1.0], vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ([INFINITY, 2.0], vec![INFINITY, INFINITY, INFINITY, 2.0]),
                ([NAN, 0.0], vec![1.0, 0.0, NAN, 0.0]),
                ([NAN, 2.0], vec![NAN, NAN, NAN]),
                ([2.0, NAN], vec![NAN, NAN, NAN]),
            ],
        ),
        (
            "max",
            |x| x[0].max(x[1]),
            vec![
                ([2.0, 2.0], vec![2.0, 0.5, 0.5, zero, zero, zero, zero]),
                ([0.0, -0.0], vec![0.0, 0.5, 0.5, zero, zero, zero, zero]),
                ([INFINITY, INFINITY], vec![INFINITY, 0.5, 0.5]),
                ([-INFINITY, -INFINITY], vec![-INFINITY, 0.5, 0.5]),
                ([INFINITY, 1.0], vec![INFINITY, 1.0, 0.0]),
                ([NAN, 1.0], vec![NAN, NAN, NAN]),
                ([1.0, NAN], vec![NAN, NAN, NAN]),
            ],
        ),
        (
            "min",
            |x| x[0].min(x[1]),
            vec![
                ([2.0, 2.0], vec![2.0, 0.5, 0.5, zero, zero, zero, zero]),
                ([-INFINITY, -INFINITY], vec![-INFINITY, 0.5, 0.5]),
                ([NAN, 1.0], vec![NAN, NAN, NAN]),
            ],
        ),
        (
            "√(a² + b²)",
            |x| x[0].hypot(x[1]),
            vec![
                ([3.0, 4.0], vec![5.0, 0.6, 0.8, 0.128, -0.096, -0.096, 0.072]),
                ([0.0, -2.0], vec![2.0, 0.0, -1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.25, 0.0, 0.0]),
                ([0.0, 0.0], vec![0.0, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN]),
                ([INFINITY, 3.0], vec![INFINITY, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                (
                    [-INFINITY, INFINITY],
                    vec![INFINITY, -FRAC_1_SQRT_2, FRAC_1_SQRT_2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
                ),
                ([NAN, 1.0], vec![NAN, NAN, NAN]),
            ],
        ),
        (
            "the angle of (b, a)",
            |x| x[0].atan2(x[1]),
            vec![
                ([3.0, 4.0], vec![0.75_f64.atan(), 0.16, -0.12, -0.0384, -0.0112, -0.0112, 0.0384]),
                ([0.0, -1.0], vec![PI, -1.0, 0.0, 0.0, -1.0, -1.0, 0.0]),
                ([0.0, 0.0], vec![0.0, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN]),
                ([INFINITY, 2.0], vec![FRAC_PI_2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ([2.0, -INFINITY], vec![PI, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ([INFINITY, INFINITY], vec![FRAC_PI_4, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ([1.0, NAN], vec![NAN, NAN, NAN]),
            ],
        ),
        (
            "min over an axis",
            |x| Var::stack(x, 0).min_axes(&[0]),
            vec![
                ([2.0, 2.0], vec![2.0, 0.5, 0.5, zero, zero, zero, zero]),
                ([0.0, -0.0], vec![0.0, 0.5, 0.5, zero, zero, zero, zero]),
                ([-INFINITY, -INFINITY], vec![-INFINITY, 0.5, 0.5]),
                ([INFINITY, INFINITY], vec![INFINITY, 0.5, 0.5]),
                ([-INFINITY, 1.0], vec![-INFINITY, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ([INFINITY, 1.0], vec![1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]),
                ([NAN, 1.0], vec![NAN, NAN, NAN]),
                ([1.0, NAN], vec![NAN, NAN, NAN]),
            ],
        ),
        // Of equal entries, the first is the first; a NaN comes last, and does no harm to the others.
        (
            "the first of those sorted",
            |x| Var::stack(x, 0).sort(0).at(0, 0),
            vec![
                ([2.0, 2.0], vec![2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ([-0.0, 0.0], vec![0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ([0.0, -0.0], vec![0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ([INFINITY, -INFINITY], vec![-INFINITY, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]),
                ([INFINITY, INFINITY], vec![INFINITY, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ([NAN, INFINITY], vec![INFINITY, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]),
                ([1.0, NAN], vec![1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ([NAN, NAN], vec![NAN, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            ],
        ),
        (
            "the last of those sorted, squared",
            |x| Var::stack(x, 0).sort(0).at(0, 1).square(),
            vec![
                ([2.0, 2.0], vec![4.0, 0.0, 4.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0]),
                ([3.0, -INFINITY], vec![9.0, 6.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ([NAN, 1.0], vec![NAN, NAN]),
            ],
        ),
        // The position is a constant: 0 of the first, or of the first NaN.
        (
            "a·(1 + the position of the larger)",
            |x| x[0] * (Var::stack(x, 0).argmax(0).cast(x[0].dtype()) + 1.0),
            vec![
                ([2.0, 2.0], vec![2.0, 1.0]),
                ([0.0, -0.0], vec![0.0, 1.0]),
                ([2.0, INFINITY], vec![4.0, 2.0]),
                ([-INFINITY, -INFINITY], vec![-INFINITY, 1.0]),
                ([2.0, NAN], vec![4.0, 2.0]),
                ([NAN, INFINITY], vec![NAN, 1.0]),
            ],
        ),
        (
            "a·(1 + the position of the smaller)",
            |x| x[0] * (Var::stack(x, 0).argmin(0).cast(x[0].dtype()) + 1.0),
            vec![
                ([2.0, 2.0], vec![2.0, 1.0]),
                ([2.0, -INFINITY], vec![4.0, 2.0]),
                ([INFINITY, INFINITY], vec![INFINITY, 1.0]),
                ([2.0, NAN], vec![4.0, 2.0]),
                ([NAN, -INFINITY], vec![NAN, 1.0]),
            ],
        ),
        // What is replaced is out of sight, and of two values the last is all there is.
        (
            "b² in the place of a",
            |x| Var::stack(x, 0).set([Index::constant(x[0], 0)], x[1].square()).at(0, 0),
            vec![
                ([NAN, 3.0], vec![9.0, 0.0, 6.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0]),
                ([INFINITY, 3.0], vec![9.0, 0.0, 6.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0]),
                ([2.0, INFINITY], vec![INFINITY, 0.0, INFINITY, 0.0, 0.0, 0.0, 2.0]),
            ],
        ),
        (
            "a², b² in one place",
            |x| {
                let squares = Var::stack(&[x[0].square(), x[1].square()], 0);
                Var::stack(x, 0).set([Index::constant(x[0], arr1(&[1, 1]))], squares).at(0, 1)
            },
            vec![([2.0, 3.0], vec![9.0, 0.0, 6.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0])],
        ),
        (
            "a + b² at a place of 1",
            |x| {
                let values = Var::stack(&[x[0], x[1].square()], 0);
                x[0].full_like(1.0).reshape(&[1]).add_at([Index::constant(x[0], arr1(&[0, 0]))], values).at(0, 0)
            },
            vec![
                ([2.0, 3.0], vec![12.0, 1.0, 6.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0]),
                ([INFINITY, 3.0], vec![INFINITY, 1.0, 6.0, 0.0, 0.0, 0.0, 2.0]),
            ],
        ),
        (
            "a/b",
            |x| x[0] / x[1],
            vec![
                ([3.0, INFINITY], vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ([3.0, -INFINITY], vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ([0.0, INFINITY], vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ([3.0, 0.0], vec![INFINITY, INFINITY, -INFINITY, 0.0, -INFINITY, -INFINITY, INFINITY]),
                ([INFINITY, 2.0], vec![INFINITY, 0.5, -INFINITY, 0.0, -0.25, -0.25, INFINITY]),
                ([INFINITY, INFINITY], vec![NAN]),
            ],
        ),
        (
            "ln(e^a + e^b)",
            |x| Var::stack(x, 0).logsumexp(&[0]),
            vec![
                ([1.0, 1.0], vec![1.0 + LN_2, 0.5, 0.5, 0.25, -0.25, -0.25, 0.25, zero, zero, zero, zero]),
                ([1.0, -INFINITY], vec![1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ([-INFINITY, -INFINITY], vec![-INFINITY, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ([INFINITY, 1.0], vec![INFINITY, NAN]),
                ([NAN, 1.0], vec![NAN, NAN, NAN]),
            ],
        ),
        (
            "log-softmax",
            |x| Var::stack(x, 0).log_softmax().at(0, 0),
            vec![
                ([1.0, 1.0], vec![-LN_2, 0.5, -0.5, -0.25, 0.25, 0.25, -0.25, zero, zero, zero, zero]),
                ([1.0, -INFINITY], vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ([-INFINITY, 1.0], vec![-INFINITY, 1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ([-INFINITY, -INFINITY], vec![NAN, NAN, NAN]),
            ],
        ),
    ]
}

fn check_functions_of_two<T: Real>() {
    let rows = functions_of_two();
    let points = rows.iter().flat_map(|(name, f, points)| points.iter().map(move |point| (name, *f, point)));
    expect_none(points.flat_map(|(name, f, (at, expected))| problems::<T>(name, f, at, &BY, expected)).collect());
}

#[test]
fn functions_of_two_numbers_in_double_precision() {
    check_functions_of_two::<f64>();
}

#[test]
fn functions_of_two_numbers_in_single_precision() {
    check_functions_of_two::<f32>();
}

#[test]
fn equal_winners_share_the_derivatives_of_a_maximum() {
    let tape = Tape::new();
    for (x, gradient) in [
        ([1.0, 1.0, 0.0], [0.5, 0.5, 0.0]),
        ([0.0, -0.0, 0.0], [1.0 / 3.0; 3]),
        ([INFINITY, 1.0, INFINITY], [0.5, 0.0, 0.5]),
        ([-INFINITY; 3], [1.0 / 3.0; 3]),
    ] {
        let x = tape.input("x", arr1(&x));
        assert_eq!(x.max_axes(&[0]).grad(x).value(), arr1(&gradient).into_dyn());
        assert_eq!(x.max_axes(&[0]).hessian(x).value(), ArrayD::zeros(vec![3, 3]));
    }
    let x = tape.input("x", arr1(&[1.0, NAN, 2.0]));
    assert!(x.max_axes(&[0]).grad(x).value().iter().all(|x| x.is_nan()));
    // That of x² at a tie of x = ±1: half of each one's.
    let x = tape.input("x", arr1(&[1.0, -1.0, 0.5]));
    let loss = x.square().max_axes(&[0]);
    assert_eq!(loss.grad(x).value(), arr1(&[1.0, -1.0, 0.0]).into_dyn());
    assert_eq!(loss.hessian(x).value(), arr2(&[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]).into_dyn());
}

// Saturation. With e = e^−|x|, the derivatives of σ(x) are e/(1 + e)², ∓e·(1 − e)/(1 + e)³ and e·(1 − 4e + e²)/(1 + e)⁴,
// those of tanh x = 2σ(2x) − 1 follow, and softplus' = σ.

fn sigmoid_derivatives(x: f64) -> [f64; 4] {
    let e = (-x.abs()).exp();
    let (value, sign) = if x < 0.0 { (e / (1.0 + e), 1.0) } else { (1.0 / (1.0 + e), -1.0) };
    // In this order nothing underflows before the result does.
    let [first, second, third] = [1.0, 1.0 - e, 1.0 - 4.0 * e + e * e];
    [value, e * (first / (1.0 + e).powi(2)), sign * e * (second / (1.0 + e).powi(3)), e * (third / (1.0 + e).powi(4))]
}

fn check_tails<T: Real>(magnitudes: &[f64]) {
    let mut wrong = Vec::new();
    let by: [&[usize]; 3] = [&[0], &[0, 0], &[0, 0, 0]];
    for x in magnitudes.iter().flat_map(|&x| [x, -x]) {
        let x = T::of(x).as_f64();
        let ([_, a, b, c], [_, d, e, f]) = (sigmoid_derivatives(x), sigmoid_derivatives(2.0 * x));
        let [sigmoid, ..] = sigmoid_derivatives(x);
        let [opposite, ..] = sigmoid_derivatives(-x);
        let rows: [(&str, Function, [f64; 3]); 4] = [
            ("sigmoid", |x| x[0].sigmoid(), [a, b, c]),
            ("tanh", |x| x[0].tanh(), [4.0 * d, 8.0 * e, 16.0 * f]),
            ("softplus", |x| x[0].softplus(), [sigmoid, a, b]),
            ("log σ", |x| -(-x[0]).softplus(), [opposite, -a, -b]),
        ];
        for (name, f, expected) in rows {
            wrong.extend(problems::<T>(name, f, &[x], &by, &expected));
        }
    }
    expect_none(wrong);
}

#[test]
fn derivatives_of_saturated_functions_in_double_precision() {
    check_tails::<f64>(&[
        3.0, 5.5, 9.0, 15.0, 17.0, 19.5, 20.1, 30.0, 37.43, 40.0, 77.7, 150.0, 300.0, 353.0, 372.0, 373.5, 600.0,
        700.0, 709.5, 744.0, 746.5, 1e4,
    ]);
    // The same, as literal numbers.
    let is_close = |number: f64, expected: f64| (number / expected - 1.0).abs() < 1e-15;
    assert!(is_close(partials::<f64>(|x| x[0].softplus(), &[37.43], &[0, 0])[0].1, 5.550_825_086_253_717e-17));
    assert!(is_close(partials::<f64>(|x| x[0].sigmoid(), &[40.0], &[0])[0].1, 4.248_354_255_291_589e-18));
    assert!(is_close(partials::<f64>(|x| x[0].tanh(), &[19.5], &[0])[0].1, 4.619_289_669_206_314e-17));
}

#[test]
fn derivatives_of_saturated_functions_in_single_precision() {
    check_tails::<f32>(&[
        3.0, 5.5, 8.7, 9.9, 10.1, 16.0, 17.0, 20.5, 40.0, 43.0, 51.5, 60.0, 80.0, 87.0, 100.0, 104.5, 1e3,
    ]);
    assert!(is(partials::<f32>(|x| x[0].sigmoid(), &[17.0], &[0])[0].1, 4.139_937_376_003_5e-8, 4.0));
    assert!(is(partials::<f32>(|x| x[0].sigmoid(), &[16.0], &[0])[0].1, 1.125_351_493_932_9e-7, 4.0));
}

/// The tensors of first, second and third derivatives of ln Σ e^x, from the probabilities of all but the winner (entry 0),
/// which are all that is known well: p₀ = 1 − Σ others.
fn cumulants(others: &[f64]) -> [ArrayD<f64>; 3] {
    let n = others.len() + 1;
    let rest: f64 = others.iter().sum();
    let p = |i: usize| if i == 0 { 1.0 - rest } else { others[i - 1] };
    // 1 − p_i, and p_i − p_j·…: each in the form that does not cancel.
    let complement = |i: usize| if i == 0 { rest } else { 1.0 - others[i - 1] };
    let first = ArrayD::from_shape_fn(vec![n], |i| p(i[0]));
    let second =
        ArrayD::from_shape_fn(
            vec![n, n],
            |i| {
                if i[0] == i[1] { p(i[0]) * complement(i[0]) } else { -p(i[0]) * p(i[1]) }
            },
        );
    // E[(e_i − p_i)(e_j − p_j)(e_k − p_k)]
    let third = ArrayD::from_shape_fn(vec![n, n, n], |at| {
        let mut at = [at[0], at[1], at[2]];
        at.sort_unstable();
        match at {
            [i, j, k] if i == j && j == k => p(i) * complement(i) * (complement(i) - p(i)),
            [i, j, k] if i == j => -p(i) * p(k) * (complement(i) - p(i)),
            [i, j, k] if j == k => -p(j) * p(i) * (complement(j) - p(j)),
            [i, j, k] => 2.0 * p(i) * p(j) * p(k),
        }
    });
    [first, second, third]
}

fn check_saturated_logits<T: Real>(below: &[f64]) {
    let n = below.len() + 1;
    // The probabilities of the others, relative to their sum with 1.
    let exponentials: Vec<f64> = below.iter().map(|x| (-x).exp()).collect();
    let total: f64 = 1.0 + exponentials.iter().sum::<f64>();
    let others: Vec<f64> = exponentials.iter().map(|e| e / total).collect();
    let [first, second, third] = cumulants(&others);
    let tape = Tape::new();
    let logits: Vec<T> = std::iter::once(0.0).chain(below.iter().map(|x| -x)).map(T::of).collect();
    let x = tape.input("x", arr1(&logits));
    let forms: [(&str, Function); 2] =
        [("logsumexp", |x| x[0].logsumexp(&[0])), ("log_softmax", |x| -x[0].log_softmax())];
    let close = |what: &str, number: &ArrayD<T>, expected: &ArrayD<f64>| {
        for (number, &expected) in number.iter().zip(expected) {
            let smallest = T::min_positive_value().as_f64();
            let good =
                is(*number, expected, 16.0) || expected.abs() < smallest && number.abs() < T::min_positive_value();
            assert!(good, "{what} {} below {below:?}: {number:e}, not {expected:e}", T::DTYPE);
        }
    };
    for (name, f) in forms {
        // −log p_i is ln Σ e^x − x_i: another first derivative, 1 less at entry i.
        let single = name == "logsumexp";
        let rows = if single { 1 } else { n };
        for row in 0..rows {
            let loss = if single { f(&[x]) } else { f(&[x]).at(0, row) };
            let mut expected = first.clone();
            if !single {
                let rest: f64 = others.iter().sum();
                expected[row] = if row == 0 { -rest } else { others[row - 1] - 1.0 };
            }
            let gradient = loss.grad(x);
            close(&format!("{name} {row}, gradient"), &gradient.value_as(), &expected);
            close(&format!("{name} {row}, jvp"), &loss.jacobian_forward(x).value_as(), &expected);
            for (how, hessian) in [("reverse", gradient.jacobian_reverse(x)), ("forward", gradient.jacobian_forward(x))]
            {
                close(&format!("{name} {row}, Hessian, {how}"), &hessian.value_as(), &second);
                let thirds = [hessian.jacobian_reverse(x), hessian.jacobian_forward(x)];
                thirds.iter().for_each(|d| close(&format!("{name} {row}, third, {how}"), &d.value_as(), &third));
            }
        }
    }
    // A probability itself: ∂p_i/∂x_j is the second derivative of the logarithm of the sum.
    let softmax = x.softmax();
    close("softmax", &softmax.jacobian_reverse(x).value_as(), &second);
    close("softmax", &softmax.jacobian_forward(x).value_as(), &second);
}

#[test]
fn derivatives_of_a_saturated_policy() {
    for below in [&[40.0][..], &[0.7, 1.9], &[17.0], &[30.0, 50.0], &[36.0, 37.5, 700.0], &[80.0, 80.0, 81.0], &[300.0]]
    {
        check_saturated_logits::<f64>(below);
    }
    for below in [&[17.0][..], &[0.7, 1.9], &[9.0, 30.0], &[16.0, 16.5, 80.0], &[40.0]] {
        check_saturated_logits::<f32>(below);
    }
    // In numbers: d²/dx² of the log-probability of [0, 40] is −p(1 − p).
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[0.0, 40.0]));
    let hessian = x.log_softmax().at(0, 0).hessian(x).value();
    for (entry, sign) in hessian.iter().zip([-1.0, 1.0, 1.0, -1.0]) {
        assert!(is(*entry, sign * 4.248_354_255_291_589e-18, 8.0), "{hessian}");
    }
}

#[test]
fn a_large_offset_of_the_logits_does_not_matter() {
    let tape = Tape::new();
    let (x, offset) = (tape.input("x", arr1(&[0.0, 1.0, -3.0])), 2.0_f64.powi(40));
    let shifted = tape.input("shifted", arr1(&[offset, offset + 1.0, offset - 3.0]));
    assert_eq!(shifted.log_softmax().value(), x.log_softmax().value());
    assert_eq!(shifted.softmax().jacobian(shifted).value(), x.softmax().jacobian(x).value());
}

#[test]
fn integers_are_compared_as_integers() {
    let tape = Tape::new();
    let integers = tape.index("integers", arr1(&[16_777_216, 16_777_217, -16_777_217, i32::MAX]));
    assert_eq!(integers.equal(16_777_216).value(), arr1(&[1.0, 0.0, 0.0, 0.0]).into_dyn());
    assert_eq!(integers.equal(16_777_217).value(), arr1(&[0.0, 1.0, 0.0, 0.0]).into_dyn());
    assert_eq!(integers.equal(i32::MAX - 1).value(), arr1(&[0.0; 4]).into_dyn());
    let rows = tape.index("rows", arr2(&[[3, 16_777_217], [3, 4]]));
    assert_eq!(
        ad::vmap_many(|i| i[0].index().equal(3), ad::handles![rows]).value(),
        arr2(&[[1.0, 0.0], [1.0, 0.0]]).into_dyn()
    );
}

#[test]
fn an_integer_that_single_precision_does_not_have_is_an_error_where_it_becomes_a_number() {
    let tape = Tape::new();
    let integers = tape.index("integers", arr1(&[16_777_216, -16_777_216, 16_777_218]));
    let numbers = integers.cast(DType::F32);
    let line = line!() - 1;
    assert_eq!(numbers.value_as::<f32>(), arr1(&[16_777_216.0_f32, -16_777_216.0, 16_777_218.0]).into_dyn());
    let program = tape.compile([integers], [numbers]);
    let error = program.run_as::<f32>(&ad::values![arr1(&[0, 16_777_219, 1])]).unwrap_err().to_string();
    let expected = format!(
        "cast at crates/ad/tests/special_points.rs:{line}:28: the integer 16777219 at position 1 is no f32; compare \
         integers with `equal`, or compute in f64"
    );
    assert_eq!(error, expected);
    let tape = Tape::new();
    assert_eq!(tape.index("i", arr1(&[i32::MAX])).cast(DType::F64).value()[[0]], f64::from(i32::MAX));
}
