//! Numbers of several types on one tape: what may meet, what `cast` does, and that single precision, double and bytes go
//! through derivatives, batching, lowering and regions alike.

mod common;

use std::cell::Cell;

use ad::{
    CustomOperation, DType, DerivativeLimit, Element, Error, GradientCheck, Handle, Index, Lowering, Modes, Program,
    Shape, Tape, Triangle, Value, Var, check_gradients, custom, values, vmap, vmap_many,
};
use common::panics::{assert_said, caught};
use common::random_program::{points, run, run_with, steps};
use common::{assert_close, numbers};
use ndarray::{Array, Array1, Array2, ArrayD, ArrayViewD, ArrayViewMutD, Dimension, arr0, arr1, arr2};
use proptest::prelude::*;

const TYPES: [DType; 4] = [DType::F64, DType::F32, DType::I32, DType::U8];
const LOWERINGS: [Lowering; 2] = [Lowering::On, Lowering::Off];

/// The expression panics on its own line, and the message has all the words. (Of an expression in a table, the line is known to
/// be one of so many.)
macro_rules! refused {
    ($words:expr, $body:expr) => {
        refused!(among 1, $words, $body)
    };
    (among $lines:literal, $words:expr, $body:expr) => {{
        let line = line!();
        let (message, file, at) = caught(|| {
            let _ = $body;
        });
        let blamed = file.ends_with("tests/dtypes.rs") && (line..line + $lines).contains(&at);
        assert!(blamed, "`{}` blamed {file}:{at}: {message}", stringify!($body));
        let words: &[&str] = $words;
        assert_said(&message, words);
        message
    }};
}

/// A place in this file, as messages name it. (With a colon behind, so that line 1 is not found in 10.)
fn place(line: u32) -> String {
    format!("tests/dtypes.rs:{line}:")
}

/// An array of small numbers without a pattern, of any type.
fn array(dtype: DType, shape: &[usize]) -> Value<'static> {
    let x = numbers(shape, 1.0, 9.0);
    match dtype {
        DType::F64 => x.into(),
        DType::F32 => x.mapv(|x| x as f32).into(),
        DType::I32 => x.mapv(|x| x as i32).into(),
        DType::U8 => x.mapv(|x| x as u8).into(),
    }
}

fn single<D: Dimension>(x: &Array<f64, D>) -> Array<f32, D> {
    x.mapv(|x| x as f32)
}

fn double<D: Dimension>(x: &Array<f32, D>) -> Array<f64, D> {
    x.mapv(f64::from)
}

/// The numbers of a floating-point Var, exactly.
fn widened(x: Var) -> ArrayD<f64> {
    if x.dtype() == DType::F32 { double(&x.value_as::<f32>()) } else { x.value() }
}

/// As bits, so that 0 is not −0 and a NaN is itself.
fn bits(x: &ArrayD<f64>) -> Vec<u64> {
    x.iter().map(|x| x.to_bits()).collect()
}

// What may meet.

#[test]
fn operands_of_two_types_are_refused_by_name_with_both_types_and_both_places() {
    for a in [DType::F64, DType::F32, DType::U8] {
        for b in [DType::F64, DType::F32, DType::U8].into_iter().filter(|&b| b != a) {
            let tape = Tape::new();
            let x = tape.input("x", array(a, &[2, 2]));
            let first = place(line!() - 1);
            let y = tape.input("y", array(b, &[2, 2]));
            let second = place(line!() - 1);
            let (row, start) = (tape.input("row", array(a, &[2])), tape.input("start", array(b, &[2])));
            let third = place(line!() - 1);
            let image = tape.input("image", array(a, &[2, 2, 1]));
            let filters = tape.input("filters", array(b, &[1, 1, 1, 1]));
            let (a, b) = (a.name(), b.name());
            let said = |operation: &'static str| [operation, a, b, &first, &second, "`cast`"].map(str::to_owned);
            // Its own type, and so its number, comes first where its operand does.
            macro_rules! mixed {
                ($($operation:literal: $body:expr;)*) => {$({
                    let words = said($operation);
                    let words: Vec<&str> = words.iter().map(String::as_str).collect();
                    refused!(among 50, &words, $body);
                })*};
            }
            mixed! {
                "plus: ": x + y;
                "plus: ": y + x;
                "minus: ": x - y;
                "times: ": x * y;
                "over: ": x / y;
                "max: ": x.max(y);
                "min: ": x.min(y);
                "less: ": x.less(y);
                "less_equal: ": x.less_equal(y);
                "greater: ": x.greater(y);
                "greater_equal: ": x.greater_equal(y);
                "equal: ": x.equal(y);
                "not_equal: ": x.not_equal(y);
                "pow: ": x.pow(y);
                "select: ": x.select(y, x);
                "select: ": x.select(x, y);
                "select: ": x.select(y, y);
                "select: ": x.select(y, 1.0);
                "select: ": x.select(1.0, y);
                "matmul: ": x.matmul(y);
                "dot: ": x.dot(y);
                "solve: ": x.solve(y);
                "solve_triangular: ": x.solve_triangular(y, Triangle::Lower);
                "solve_triangular_transposed: ": x.solve_triangular_transposed(y, Triangle::Upper);
                "concat: ": Var::concat(&[x, y], 0);
                "concat: ": Var::concat(&[x, x, y], 1);
                "stack: ": Var::stack(&[x, y], 0);
                "stack: ": Var::stack(&[x, x, y], 2);
                "scan: ": x.scan(y, 0);
                "scan: ": x.scan_reverse(y, 1);
                "scan: ": x.scan_from(y, row, 0);
                "scan: ": x.scan_reverse_from(y, row, 0);
                "vjp: ": x.vjp(x, y);
                "jvp: ": x.jvp(x, y);
                "jvp: ": x.jvp([x], [y]);
                "hvp: ": x.hvp(x, y);
                "vjp: ": ad::vjp(|_| x, x, |_| y);
                "double_and_more: ": custom(Doubled, &[x, y]);
            }
            refused!(&["conv: ", a, b, "`cast`"], image.conv(filters, 1));
            for reversed in [false, true] {
                let words = ["scan: ", a, b, &first, &third, "`cast`"];
                if reversed {
                    refused!(&words, x.scan_reverse_from(x, start, 0));
                } else {
                    refused!(&words, x.scan_from(x, start, 0));
                }
            }
        }
    }
}

#[test]
fn the_types_are_checked_where_there_are_no_entries_too() {
    let tape = Tape::new();
    let x = tape.input("x", ArrayD::<f64>::zeros(vec![0, 2]));
    let (y, start) = (tape.input("y", ArrayD::<f32>::zeros(vec![0, 2])), tape.input("start", arr1(&[1.0_f32, 2.0])));
    refused!(&["plus: ", "f64", "f32"], x + y);
    refused!(&["concat: ", "f64", "f32"], Var::concat(&[x, y], 0));
    refused!(&["scan: ", "f64", "f32"], x.cumsum(0).scan(y, 0));
    refused!(&["scan: ", "f64", "f32"], x.scan_from(0.5, start, 0));
    refused!(&["scan: ", "f64", "f32"], x.scan_reverse_from(0.5, start, 0));
    refused!(&["solve: ", "f64", "f32"], x.slice(1, 0..0).solve(y.slice(1, 0..0)));
}

/// Twice its first operand, whatever the others are.
struct Doubled;

impl CustomOperation for Doubled {
    fn name(&self) -> &str {
        "double_and_more"
    }
    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        Ok(operands[0].into())
    }
    fn forward(&self, operands: &[ArrayViewD<'_, f64>], mut out: ArrayViewMutD<'_, f64>) {
        out.zip_mut_with(&operands[0], |out, x| *out = 2.0 * x);
    }
    fn vjp(&self, operands: &[Var], _output: Var, cotangent: Var) -> Vec<Option<Var>> {
        (0..operands.len()).map(|operand| (operand == 0).then_some(cotangent * 2.0)).collect()
    }
}

#[test]
fn an_array_of_another_type_on_either_side_of_an_operator_is_refused_like_a_var() {
    fn check<E: Element>(own: DType) {
        let tape = Tape::new();
        let x = tape.input("x", array(own, &[3]));
        let made = place(line!() - 1);
        let other = array(E::DTYPE, &[3]).into_array::<E>().unwrap();
        let y = &other;
        macro_rules! mixed {
            ($($operation:literal: $body:expr;)*) => {$({
                let here = place(line!());
                refused!(&[$operation, own.name(), E::DTYPE.name(), &made, &here, "`cast`"], $body);
            })*};
        }
        mixed! { "plus: ": x + y; }
        mixed! { "plus: ": y + x; }
        mixed! { "minus: ": x - y.clone(); }
        mixed! { "minus: ": y.clone() - x; }
        mixed! { "times: ": x * y; }
        mixed! { "times: ": y * x; }
        mixed! { "over: ": x / y; }
        mixed! { "over: ": y / x; }
        mixed! { "max: ": x.max(y); }
        mixed! { "min: ": x.min(y); }
        mixed! { "less: ": x.less(y); }
        mixed! { "not_equal: ": x.not_equal(y); }
        mixed! { "pow: ": x.pow(y); }
        mixed! { "scan: ": x.scan(y, 0); }
        mixed! { "scan: ": x.scan_reverse(y, 0); }
        mixed! { "scan: ": x.scan_from(y, x.at(0, 0), 0); }
        mixed! { "select: ": x.select(y, x); }
        mixed! { "select: ": x.select(x, y); }
        assert_eq!(tape.compile([x], [x]).cost().operations, 0);
    }
    for own in [DType::F64, DType::F32, DType::U8] {
        for other in TYPES.into_iter().filter(|&other| other != own) {
            match other {
                DType::F64 => check::<f64>(own),
                DType::F32 => check::<f32>(own),
                DType::I32 => check::<i32>(own),
                DType::U8 => check::<u8>(own),
            }
        }
    }
}

#[test]
fn patches_are_of_every_type() {
    // Of few rows, and in blocks.
    for rows in [3, 700] {
        let tape = Tape::new();
        for dtype in TYPES {
            let value = array(dtype, &[rows, 4, 5, 2]);
            let x = as_f64(value.clone());
            let at = |i: &[usize]| x[[i[0], 2 * i[1] + i[3], i[2] * 2 + i[4], i[5]]];
            let expected = Array::from_shape_fn(vec![rows, 1, 2, 3, 2, 2], |i| at(i.slice()));
            let patches = match dtype {
                DType::I32 => tape.index("x", value).patches([3, 2], 2).cast(DType::F64),
                _ => {
                    let patches = tape.input("x", value).patches([3, 2], 2);
                    assert_eq!(patches.dtype(), dtype);
                    patches.cast(DType::F64)
                }
            };
            assert_eq!(patches.shape()[..], [rows, 1, 2, 12]);
            assert_eq!(patches.reshape(&[rows, 1, 2, 3, 2, 2]).value(), expected, "{dtype}");
        }
    }
}

#[test]
fn bytes_are_not_computed_with() {
    let tape = Tape::new();
    let x = tape.input("x", arr2(&[[1_u8, 2], [3, 4]]));
    let made = place(line!() - 1);
    let i = tape.index("i", arr1(&[0, 1]));
    let limit = DerivativeLimit::new("surrogate", 1, "");
    macro_rules! floats_only {
        ($($operation:literal: $body:expr;)*) => {$(
            refused!(among 80, &[concat!($operation, ": needs floating-point numbers, got u8"), "`cast`", &made], $body);
        )*};
    }
    // What is made of others is refused by what it is made of: the line is the user's.
    floats_only! {
        "negate": -x;
        "exp": x.exp();
        "ln": x.ln();
        "tanh": x.tanh();
        "sigmoid": x.sigmoid();
        "softplus": x.softplus();
        "sin": x.sin();
        "cos": x.cos();
        "sqrt": x.sqrt();
        "abs": x.abs();
        "exp_m1": x.exp_m1();
        "ln_1p": x.ln_1p();
        "log2": x.log2();
        "log10": x.log10();
        "sinh": x.sinh();
        "cosh": x.cosh();
        "tan": x.tan();
        "atan": x.atan();
        "asin": x.asin();
        "acos": x.acos();
        "erf": x.erf();
        "erfc": x.erfc();
        "ln_gamma": x.ln_gamma();
        "digamma": x.digamma();
        "polygamma": x.polygamma(1);
        "hypot": x.hypot(x);
        "atan2": x.atan2(1);
        "powf": x.powf(2.0);
        "powf": x.square();
        "order": x.sign();
        "max": x.clip(0.0, 1.0);
        "pow": x.pow(x);
        "pow": x.pow(2);
        "plus": x + x;
        "plus": x + 1;
        "minus": x - arr1(&[1_u8, 2]);
        "times": 2.0 * x;
        "over": x / 255.0;
        "max": x.max(0);
        "min": x.min(x);
        "less": x.less(1);
        "equal": x.equal(x);
        "select": x.select(x, x);
        "select": x.select(1.0, 0.0);
        "sum": x.sum();
        "sum": x.sum_axes(&[1]);
        "sum": x.mean();
        "max_axes": x.max_axes(&[0]);
        "logsumexp": x.logsumexp(&[0]);
        "log_softmax": x.log_softmax();
        "log_softmax": x.softmax();
        "scan": x.cumsum(0);
        "scan": x.cumsum_exclusive(0);
        "scan": x.cumprod(1);
        "scan": x.scan(0.5, 0);
        "scan": x.scan_reverse(x, 0);
        "matmul": x.matmul(x);
        "times": x.dot(x);
        "solve": x.solve(x);
        "solve_triangular": x.solve_triangular(x, Triangle::Lower);
        "cholesky": x.cholesky();
        "cholesky": x.ln_determinant();
        "ln_abs_determinant": x.ln_abs_determinant();
        "tril": x.tril(0);
        "triu": x.triu(0);
        "scatter_add": x.diag();
        "scatter_add": x.scatter_add([i], &[2]);
        "magic_box": x.magic_box();
        "limit_derivatives": limit.apply(x);
        "full_like": x.full_like(1.0);
        "double_and_more": custom(Doubled, &[x]);
    }
    // Also where there is nothing to do, or nothing to do it with.
    let (one, none) = (tape.input("one", 1_u8), tape.input("none", Array2::<u8>::zeros((0, 2))));
    let refuses = "needs floating-point numbers, got u8";
    refused!(&["conv: ", refuses, "`cast`"], x.insert_axis(2).conv(x.reshape(&[1, 1, 1, 4]), 1));
    refused!(&["add_patches: ", refuses, "`cast`"], x.insert_axis(2).add_patches([1, 1], 1, [2, 2]));
    refused!(&["sum: ", refuses, "`cast`"], one.sum());
    refused!(&["sum: ", refuses], x.sum_axes(&[]));
    refused!(&["max_axes: ", refuses], x.max_axes(&[]));
    refused!(&["logsumexp: ", refuses], one.logsumexp(&[]));
    refused!(&["scan: ", refuses], none.scan_from(none, x.at(0, 0), 0));
    refused!(&["cumprod: ", refuses], none.cumprod(0));
    for to in [DType::U8, DType::I32] {
        refused!(&["cast: cannot cast to", to.name(), "only to f64 or f32", &made], x.cast(to));
        refused!(&["cast: cannot cast to", to.name(), "only to f64 or f32"], i.cast(to));
        refused!(&["cast: cannot cast to", to.name(), "only to f64 or f32"], x.cast(DType::F32).cast(to));
    }
    refused!(&["constant", "`Index::constant`"], x.constant(arr1(&[1])));
    refused!(&["constant index: needs integers", "i32", "u8"], Index::constant(x, arr1(&[1_u8])));
}

#[test]
fn a_derivative_by_bytes_is_refused_and_one_through_them_is_none() {
    let tape = Tape::new();
    let pixels = tape.input("pixels", arr1(&[1_u8, 2]));
    let made = place(line!() - 1);
    let w = tape.input("w", arr1(&[0.5_f32, 2.0]));
    let y = (pixels.cast(DType::F32) * w).square();
    let loss = y.sum();
    let words = |operation: &'static str| {
        [operation, "`cast`", "\"pixels\"", "u8, which has no derivative", &made].map(str::to_owned)
    };
    macro_rules! no_derivative {
        ($($operation:literal: $body:expr;)*) => {$({
            let words = words($operation);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            refused!(among 20, &words, $body);
        })*};
    }
    no_derivative! {
        "grad: ": loss.grad(pixels);
        "grad: ": loss.grad([w, pixels]);
        "grad_or_zeros: ": loss.grad_or_zeros(pixels);
        "vjp: ": y.vjp(pixels, y);
        "jvp: ": y.jvp(pixels, pixels);
        "hvp: ": loss.hvp(pixels, pixels);
        "hessian: ": loss.hessian(pixels);
        "jacobian: ": y.jacobian(pixels);
        "jacobian_forward: ": y.jacobian_forward(pixels);
        "jacobian_reverse: ": y.jacobian_reverse(pixels);
        "derivative: ": y.derivative(pixels, 2);
    }
    refused!(&["grad: ", "u8, which has no derivative"], ad::grad(|x: Var| (x.cast(DType::F32) * w).sum(), pixels));
    assert_eq!(loss.grad(w).value_as::<f32>(), arr1(&[1.0_f32, 16.0]).into_dyn());
    assert_eq!(loss.hessian(w).value_as::<f32>(), arr2(&[[2.0_f32, 0.0], [0.0, 8.0]]).into_dyn());
    // Bytes themselves depend on no weight.
    refused!(&["grad: ", "does not depend on"], pixels.at(0, 0).grad(w));
    assert_eq!(pixels.at(0, 0).grad_or_zeros(w).value_as::<f32>(), arr1(&[0.0_f32, 0.0]).into_dyn());
}

#[test]
fn bytes_are_moved_and_looked_up_as_they_are() {
    let tape = Tape::new();
    let x = tape.input("x", Array2::from_shape_fn((2, 3), |(i, j)| (10 * i + j) as u8));
    let i = tape.index("i", arr1(&[1, 0, 1]));
    let is = |x: Var, expected: &[&[u8]]| {
        assert_eq!(x.dtype(), DType::U8);
        let value = x.value_as::<u8>();
        let rows: Vec<&[u8]> = value.as_slice().unwrap().chunks(expected[0].len()).collect();
        assert_eq!(rows, expected);
        let program = tape.compile([] as [Var; 0], [x]);
        assert!(matches!(&program.run_values(&[]).unwrap()[0], Value::U8(_)));
    };
    is(x.reshape(&[3, 2]), &[&[0, 1], &[2, 10], &[11, 12]]);
    is(x.t(), &[&[0, 10], &[1, 11], &[2, 12]]);
    is(x.slice(1, 1..3), &[&[1, 2], &[11, 12]]);
    is(x.at(0, 1), &[&[10, 11, 12]]);
    is(x.pad(1, 1, 0), &[&[0, 0, 1, 2], &[0, 10, 11, 12]]);
    is(x.at(0, 1).broadcast_to(&[2, 3]), &[&[10, 11, 12], &[10, 11, 12]]);
    is(Var::concat(&[x, x.slice(1, 0..1)], 1), &[&[0, 1, 2, 0], &[10, 11, 12, 10]]);
    is(Var::stack(&[x.at(1, 0), x.at(1, 2)], 0), &[&[0, 10], &[2, 12]]);
    is(x.gather([i]), &[&[10, 11, 12], &[0, 1, 2], &[10, 11, 12]]);
    is(x.t().gather([i, i]), &[&[11, 0, 11]]);
    is(x.pick(tape.index("j", arr1(&[2, 0]))), &[&[2, 10]]);
    is(x.alias().stop_gradient(), &[&[0, 1, 2], &[10, 11, 12]]);
    is(x.insert_axis(2).patches([2, 2], 1), &[&[0, 1, 10, 11], &[1, 2, 11, 12]]);
    is(vmap(|x| x.insert_axis(1), x), &[&[0], &[1], &[2], &[10], &[11], &[12]]);
    is(x.constant(arr1(&[7_u8])), &[&[7]]);
}

#[test]
fn bare_numbers_take_the_type_of_the_array_that_they_meet() {
    let tape = Tape::new();
    let at = [-1.5, 0.1, 2.0];
    let (x, y) = (tape.input("x", arr1(&at)), tape.input("y", single(&arr1(&at))));
    let is = |f: &dyn Fn(Var) -> Var, wide: fn(f64) -> f64, narrow: fn(f32) -> f32| {
        assert_eq!(f(x).value(), arr1(&at).mapv(wide).into_dyn());
        assert_eq!(f(y).value_as::<f32>(), single(&arr1(&at)).mapv(narrow).into_dyn());
    };
    is(&|x| x.max(0), |x| x.max(0.0), |x| x.max(0.0));
    is(&|x| x * 2, |x| x * 2.0, |x| x * 2.0);
    is(&|x| 2.0 * x, |x| x * 2.0, |x| x * 2.0);
    is(&|x| x - 0.1, |x| x - 0.1, |x| x - 0.1);
    is(&|x| 0.1 - x, |x| 0.1 - x, |x| 0.1 - x);
    is(&|x| 0.1 / x, |x| 0.1 / x, |x| 0.1 / x);
    // A number of single precision is one that double precision has, too.
    is(&|x| x * 0.1_f32, |x| x * f64::from(0.1_f32), |x| x * 0.1_f32);
    is(&|x| x.min(0.1_f32), |x| x.min(f64::from(0.1_f32)), |x| x.min(0.1));
    is(&|x| x.equal(0.1), |x| f64::from(u8::from(x == 0.1)), |x| f32::from(u8::from(x == 0.1)));
    is(&|x| x.clip(-0.3, 0.7), |x| x.clamp(-0.3, 0.7), |x| x.clamp(-0.3, 0.7));
    is(&|x| x.powf(3.0), |x| x * x * x, |x| x * x * x);
    is(&|x| x.square(), |x| x * x, |x| x * x);
    is(&|x| x.full_like(0.1), |_| 0.1, |_| 0.1);
    is(&|x| x.sign(), f64::signum, f32::signum);
    is(&|x| x.greater(0).select(0.1, x), |x| if x > 0.0 { 0.1 } else { x }, |x| if x > 0.0 { 0.1 } else { x });
    // By way of the number's nearest neighbour, and not of its own digits.
    assert_eq!((y * 1e-300).value_as::<f32>()[[2]], 0.0);
    // 1 + 2^-24 is 1 in single precision.
    assert_eq!((y.full_like(1.0) + 2.0_f64.powi(-24)).value_as::<f32>()[[0]], 1.0);
    assert_eq!(y.abs().powf(0.1).value_as::<f32>()[[1]], 0.1_f32.powf(0.1));
    assert_eq!((y.dtype(), y.mean().dtype(), x.mean().dtype()), (DType::F32, DType::F32, DType::F64));
    assert_eq!(tape.input("z", arr1(&[1.0_f32, 2.0, 4.5])).mean().item_as::<f32>(), 2.5);
}

#[test]
fn constants_beside_a_var_are_rounded_to_its_type_where_both_are_floating_point() {
    let tape = Tape::new();
    let (x, y, z) = (tape.input("x", 1.0), tape.input("y", 1.0_f32), tape.input("z", 1_u8));
    assert_eq!(x.constant(arr1(&[0.1_f32])).value(), arr1(&[f64::from(0.1_f32)]).into_dyn());
    assert_eq!(y.constant(arr1(&[0.1, f64::INFINITY])).value_as::<f32>(), arr1(&[0.1_f32, f32::INFINITY]).into_dyn());
    assert_eq!(y.constant(0.1).item_as::<f32>(), 0.1);
    assert_eq!(y.constant(arr1(&[200_u8])).value_as::<u8>(), arr1(&[200_u8]).into_dyn());
    assert_eq!(z.constant(0.1).item(), 0.1);
    assert_eq!(z.constant(0.1_f32).item_as::<f32>(), 0.1);
}

// Casts.

/// Doubles between and beyond the numbers of single precision.
fn hard_to_round() -> Vec<f64> {
    let exactly = |exponent: i32| 2.0_f64.powi(exponent);
    let mut x = vec![
        0.0,
        -0.0,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        // Half way between two numbers: to the even one.
        1.0 + exactly(-24),
        1.0 + 3.0 * exactly(-24),
        -1.0 - exactly(-24),
        1.0 + exactly(-24) + exactly(-52),
        16_777_217.0,
        16_777_219.0,
        // Around the largest number; half a place beyond it is ∞.
        f32::MAX.into(),
        f64::from(f32::MAX) + exactly(103) - exactly(75),
        f64::from(f32::MAX) + exactly(103),
        -3.5e38,
        f64::MAX,
        // Subnormal numbers, the smallest, and half of that, which is 0.
        exactly(-126),
        exactly(-127) * 1.1,
        exactly(-149),
        exactly(-149) * 1.5,
        -exactly(-149) * 0.75,
        exactly(-150),
        exactly(-150) * 1.000_001,
        f64::from_bits(1),
    ];
    x.extend((0..999_u64).map(|i| {
        let bits = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // Of any mantissa and sign; exponents around those of single precision.
        f64::from_bits(bits & !(0x7ff << 52) | (1023 - 155 + i % 290) << 52)
    }));
    x
}

/// What the type system's own conversion makes of x, as f64.
fn converted<E: Element>(x: &Array1<E>, to: DType, as_f32: fn(E) -> f32, as_f64: fn(E) -> f64) -> ArrayD<f64> {
    let x = x.clone().into_dyn();
    if to == DType::F32 { x.mapv(|x| as_f32(x).into()) } else { x.mapv(as_f64) }
}

#[test]
fn a_cast_gives_the_nearest_number_of_every_number() {
    fn check<E: Element>(x: &[E], as_f32: fn(E) -> f32, as_f64: fn(E) -> f64) {
        // Of every length up to some vectors', and of many rows.
        let many = x.len().min(33);
        let lengths = (0..many).chain([x.len()]);
        for length in lengths {
            let x = Array1::from(x[..length].to_vec());
            let tape = Tape::new();
            let handle: Handle =
                if E::DTYPE == DType::I32 { tape.index("x", &x).into() } else { tape.input("x", &x).into() };
            for to in [DType::F64, DType::F32] {
                let y = match handle {
                    Handle::Var(x) => x.cast(to),
                    Handle::Index(i) => i.cast(to),
                };
                assert_eq!(y.dtype(), to);
                assert_eq!(y.shape().as_slice(), [length]);
                let expected = converted(&x, to, as_f32, as_f64);
                for lowering in LOWERINGS {
                    let program = tape.compile_with([handle], [y], lowering);
                    let value = program.run_values(&[Value::from(&x)]).unwrap().swap_remove(0);
                    assert_eq!(value.dtype(), to);
                    let value: ArrayD<f64> = match value {
                        Value::F32(value) => value.mapv(f64::from),
                        value => value.into_array().unwrap(),
                    };
                    let same = value
                        .iter()
                        .zip(&expected)
                        .all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan());
                    assert!(same, "{} to {to}", E::DTYPE);
                }
            }
        }
    }
    let doubles = hard_to_round();
    check(&doubles, |x| x as f32, |x| x);
    let singles: Vec<f32> = (0..5000_u32).map(|i| f32::from_bits(i.wrapping_mul(0x9e37_79b9))).collect();
    check(&singles, |x| x, f64::from);
    let bytes: Vec<u8> = (0..=255).chain(0..=255).collect();
    check(&bytes, f32::from, f64::from);
    // Those that single precision has.
    let integers: Vec<i32> = (0..300).flat_map(|i| [i, -i, 16_777_216 - i, i << 23, i32::MIN + (i << 8)]).collect();
    check(&integers, |x| x as f32, f64::from);
}

#[test]
fn a_cast_rounds_to_the_even_neighbour_and_to_infinity() {
    let tape = Tape::new();
    let x = [1.0 + 2.0_f64.powi(-24), 1.0 + 3.0 * 2.0_f64.powi(-24), 3.5e38, -3.5e38, 2.0_f64.powi(-150), 16_777_217.0];
    let cast = tape.input("x", arr1(&x)).cast(DType::F32).value_as::<f32>();
    let infinity = f32::INFINITY;
    assert_eq!(cast, arr1(&[1.0, 1.0 + 2.0_f32.powi(-22), infinity, -infinity, 0.0, 16_777_216.0]).into_dyn());
    assert!(tape.input("x", f64::NAN).cast(DType::F32).item_as::<f32>().is_nan());
    assert!(tape.input("x", f32::NAN).cast(DType::F64).item().is_nan());
}

#[test]
fn an_integer_that_single_precision_does_not_have_is_found_at_its_place_in_the_whole() {
    let tape = Tape::new();
    // In a region of many blocks, too.
    for rows in [3, 4000] {
        let integers = Array2::from_shape_fn((rows, 5), |(i, j)| (7 * i + j) as i32);
        let i = tape.index("i", &integers);
        let (narrow, wide) = (i.cast(DType::F32).sin().sum(), i.cast(DType::F64).sin().sum());
        let line = line!() - 1;
        let mut bad = integers.clone();
        bad[[rows - 2, 3]] = -16_777_217;
        let program = tape.compile([i], [narrow]);
        program.run_as::<f32>(&values![integers]).unwrap();
        let error = program.run_as::<f32>(&values![bad]).unwrap_err();
        let Error::Inexact { location, integer, position, number } = error else { panic!("{error}") };
        assert_eq!((integer, position, number), (-16_777_217, 5 * (rows - 2) + 3, DType::F32));
        assert_eq!((location.line(), location.file().ends_with("dtypes.rs")), (line, true));
        assert!(tape.compile([i], [wide]).run(&values![bad]).is_ok());
    }
}

#[test]
fn a_cast_to_its_own_type_is_a_node_of_its_own() {
    let tape = Tape::new();
    for x in [tape.input("x", arr1(&[2.0, 3.0])), tape.input("x", arr1(&[2.0_f32, 3.0]))] {
        let own = x.cast(x.dtype());
        let loss = (own * x).sum();
        assert_eq!(widened(loss.grad(own)), arr1(&[2.0, 3.0]).into_dyn());
        assert_eq!(widened(loss.grad(x)), arr1(&[4.0, 6.0]).into_dyn());
        assert_eq!(tape.compile([x], [own]).cost().operations, 0, "to the numbers it is nothing");
        refused!(&["does not depend on"], x.sum().grad(own));
    }
}

/// c(x)⁴·x, where c rounds to single precision and back: values, and derivatives with one cast each way.
fn through_single(x: Var) -> Var {
    let narrow = x.cast(DType::F32);
    narrow.square().square().cast(x.dtype()) * x
}

#[test]
fn derivatives_flow_through_casts_at_every_order_and_in_both_modes() {
    let tape = Tape::new();
    let at = arr1(&[0.1, -1.7, 3.3]);
    let x = tape.input("x", &at);
    let y = through_single(x);
    let expected = |order: usize| {
        let factor: f64 = (0..order).map(|i| 5.0 - i as f64).product();
        at.mapv(|x: f64| factor * x.powi(5 - order as i32)).into_dyn()
    };
    // Entry by entry: the derivative by another entry is 0.
    let diagonal = |x: ArrayD<f64>, order: usize| {
        let step = (0..=order).map(|i| 3_usize.pow(i as u32)).sum::<usize>();
        let entries: Vec<f64> = x.iter().copied().collect();
        assert_eq!(entries.iter().filter(|&&x| x != 0.0).count(), 3);
        arr1(&[entries[0], entries[step], entries[2 * step]]).into_dyn()
    };
    let rounding = 16.0 * f64::from(f32::EPSILON);
    for order in 1..=3 {
        let derivative = y.derivative(x, order);
        let (mut forward, mut reverse) = (y, y);
        for _ in 0..order {
            forward = forward.jacobian_forward(x);
            reverse = reverse.jacobian_reverse(x);
        }
        for derivative in [derivative, forward, reverse] {
            assert_eq!(derivative.dtype(), DType::F64);
            assert_close(&format!("order {order}"), &diagonal(derivative.value(), order), &expected(order), rounding);
        }
    }
    let loss = y.sum();
    let v = x.constant(arr1(&[1.0, 0.5, -2.0]));
    for product in [loss.hvp(x, v), loss.grad(x).jvp(x, v), loss.grad(x).vjp(x, v), loss.grad(x).dot(v).grad(x)] {
        assert_close("hvp", &product.value(), &(expected(2) * v.value()), rounding);
    }
    // Single precision is seen: the factor of the first derivative is what was rounded.
    let narrow = x.cast(DType::F32).cast(DType::F64);
    let square = (x.cast(DType::F32) * x.cast(DType::F32)).cast(DType::F64).sum();
    assert_eq!(square.grad(x).value(), (narrow * 2.0).value());
    assert_ne!(narrow.value(), x.value());
    check_gradients(|x| through_single(x[0]), &[at.clone().into_dyn()], 3, Modes::Both).unwrap();
    check_gradients(|x| through_single(x[0]), &[single(&at).into_dyn()], 3, Modes::Both).unwrap();
    check_gradients(|x| x[0].cast(DType::F64).exp().cast(DType::F32) * x[0], &[single(&at).into_dyn()], 3, Modes::Both)
        .unwrap();
}

#[test]
fn a_gradient_is_of_its_variable_s_type_and_a_tangent_of_its_output_s() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[0.5_f32, 2.0]));
    let y = x.cast(DType::F64).square();
    let wide = y.constant(arr1(&[1.0, 0.5]));
    assert_eq!(y.sum().grad(x).dtype(), DType::F32);
    assert_eq!(y.vjp(x, wide).dtype(), DType::F32);
    assert_eq!(y.jvp(x, x).dtype(), DType::F64);
    assert_eq!(y.sum().hvp(x, x).dtype(), DType::F32);
    assert_eq!(y.sum().grad_or_zeros(tape.input("unused", 1.0_f32)).dtype(), DType::F32);
    refused!(&["vjp: ", "f64", "f32"], y.vjp(x, x));
    refused!(&["jvp: ", "f64", "f32"], y.jvp(x, wide));
    // A Jacobian is the same in both modes, of which the shapes choose one.
    for output in [y, y.sum(), Var::concat(&[y, y.exp()], 0)] {
        let [a, b, c] = [output.jacobian(x), output.jacobian_forward(x), output.jacobian_reverse(x)];
        assert_eq!([a.dtype(), b.dtype(), c.dtype()], [DType::F32; 3]);
        assert_close("modes", &widened(a), &widened(b), 1e-6);
        assert_close("modes", &widened(a), &widened(c), 1e-6);
        assert_eq!(output.derivative(x, 2).dtype(), DType::F32);
    }
    let both = y.sum() + x.square().cast(DType::F64).sum();
    assert_eq!(both.grad(x).value_as::<f32>(), arr1(&[2.0_f32, 8.0]).into_dyn());
}

#[test]
fn functions_of_arrays_may_compute_in_another_type_than_they_are_given() {
    let x = arr1(&[0.5_f32, 2.0]);
    let squares = |x: Var| x.cast(DType::F64).square().sum();
    assert_eq!(ad::grad(squares, &x), arr1(&[1.0, 4.0]));
    assert_eq!(ad::hvp(squares, &x, &x), arr1(&[1.0, 4.0]));
    assert_eq!(ad::hessian(squares, &x), arr2(&[[2.0, 0.0], [0.0, 2.0]]).into_dyn());
    assert_eq!(ad::jacobian(|x| x.cast(DType::F64) * 2.0, &x), arr2(&[[2.0, 0.0], [0.0, 2.0]]).into_dyn());
    assert_eq!(ad::grad(squares, 3.0_f32), 6.0_f32);
    // Of both types at once.
    let (wide, narrow) = ad::grad(|(x, y)| (x * y.cast(DType::F64)).sum(), (&arr1(&[0.1, 0.2]), &x));
    assert_eq!((wide, narrow), (double(&x), arr1(&[0.1_f32, 0.2])));
    // Where the value is asked for, too, it has to be of the arguments' type.
    assert_eq!(ad::value_and_grad(|x| squares(x).cast(DType::F32), &x), (4.25_f32, arr1(&[1.0, 4.0])));
    refused!(&["result is f64", "arguments are f32", "`cast`", "dtypes.rs"], ad::value_and_grad(squares, &x));
    refused!(&["result is f64", "arguments are f32", "`cast`", "dtypes.rs"], ad::jvp(squares, &x, &x));
    refused!(&["result is f64", "arguments are f32", "`cast`"], ad::vjp(squares, &x, |y| y));
}

#[test]
fn casts_map_over_a_batch_and_run_in_blocks_of_rows() {
    for rows in [5, 3000] {
        let tape = Tape::new();
        let at = numbers(&[rows, 3], -2.0, 2.0);
        let x = tape.input("x", &at);
        let w = arr1(&[0.3, -0.7, 1.1]);
        let weights = tape.input("w", &w);
        let loss = |x: Var| (through_single(x) * weights).sum();
        let mapped = [
            vmap(loss, x),
            vmap(|x| loss(x).grad(x), x),
            vmap(|x| loss(x).hvp(x, x), x),
            vmap(|x| loss(x).grad(weights), x),
            x.cast(DType::F32).cast(DType::F64),
        ];
        let program = tape.compile([x, weights], mapped);
        assert_eq!(program.to_string().contains("[rows]"), rows > 100, "{program}");
        let off = tape.compile_with([x, weights], mapped, Lowering::Off);
        let values = values![at, w];
        let (on, off) = (program.run(&values).unwrap(), off.run(&values).unwrap());
        for (i, (on, off)) in on.iter().zip(&off).enumerate() {
            assert_close(&format!("{rows} rows, result {i}"), on, off, 1e-6);
        }
        // What is only rounded is the same to the bit, everywhere.
        assert_eq!(bits(&on[4]), bits(&off[4]));
        assert_eq!(bits(&on[4]), bits(&at.mapv(|x| f64::from(x as f32))));
        for k in [0, rows / 2, rows - 1] {
            let alone = x.at(0, k);
            let alone =
                [loss(alone), loss(alone).grad(alone), loss(alone).hvp(alone, alone), loss(alone).grad(weights)];
            for (alone, mapped) in alone.iter().zip(&on) {
                assert_close("alone", &alone.value(), &common::example(mapped, k), 1e-6);
            }
        }
    }
}

#[test]
fn entry_by_entry_the_bits_do_not_depend_on_lowering_or_blocks() {
    let f = |x: Var| {
        let narrow = x.cast(DType::F32);
        let back = (narrow.sin() * narrow.exp()).cast(DType::F64).tanh();
        (back.cast(DType::F32) / narrow).cast(DType::F64) * x
    };
    let at = numbers(&[4097, 5], -2.0, 2.0);
    let tape = Tape::new();
    let x = tape.input("x", &at);
    let value = f(x);
    let run = |lowering| tape.compile_with([x], [value, value.exp()], lowering).run(&values![at]).unwrap();
    let (on, off) = (run(Lowering::On), run(Lowering::Off));
    for (on, off) in on.iter().zip(&off) {
        assert_eq!(bits(on), bits(off));
    }
    for k in [0, 777, 4096] {
        let few = f(tape.input("x", common::example(&at, k))).value();
        assert_eq!(bits(&few), bits(&common::example(&on[0], k)));
    }
}

// Derivatives in single precision.

#[test]
fn in_single_precision_the_derivatives_of_every_operation_are_those_of_finite_differences() {
    let failures: Vec<String> = common::every_case()
        .iter()
        .filter_map(|case| {
            let at: Vec<ArrayD<f32>> = case.at.iter().map(single).collect();
            let outcome = check_gradients(&case.f, &at, 3, Modes::Both);
            outcome.err().map(|problem| format!("{}: {problem}", case.name))
        })
        .collect();
    assert!(failures.is_empty(), "{} fail:\n{}", failures.len(), failures.join("\n"));
}

/// The cotangent of x, given x and that of the result.
type Rule = fn(Var, Var) -> Var;

/// x³ with any rule.
struct Cube {
    rule: Rule,
}

const RIGHT: Cube = Cube { rule: |x, g| g * x * x * 3.0 };

impl CustomOperation for Cube {
    fn name(&self) -> &str {
        "cube"
    }
    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        Ok(operands[0].into())
    }
    fn forward(&self, operands: &[ArrayViewD<'_, f64>], mut out: ArrayViewMutD<'_, f64>) {
        out.zip_mut_with(&operands[0], |out, x| *out = x * x * x);
    }
    fn vjp(&self, operands: &[Var], _output: Var, cotangent: Var) -> Vec<Option<Var>> {
        vec![Some((self.rule)(operands[0], cotangent))]
    }
}

/// The same with a kernel for single precision.
struct OwnCube;

impl CustomOperation for OwnCube {
    fn name(&self) -> &str {
        "own_cube"
    }
    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        RIGHT.shape(operands)
    }
    fn forward(&self, operands: &[ArrayViewD<'_, f64>], out: ArrayViewMutD<'_, f64>) {
        RIGHT.forward(operands, out);
    }
    fn forward_f32(&self, operands: &[ArrayViewD<'_, f32>], mut out: ArrayViewMutD<'_, f32>) {
        assert!(out.iter().all(|&x| x == 0.0), "`out` is full of zeros");
        out.zip_mut_with(&operands[0], |out, x| *out = x * x * x);
    }
    fn vjp(&self, operands: &[Var], output: Var, cotangent: Var) -> Vec<Option<Var>> {
        RIGHT.vjp(operands, output, cotangent)
    }
}

#[test]
fn a_custom_operation_runs_in_single_precision_by_its_own_kernel_or_through_double() {
    for rows in [4, 3000] {
        let tape = Tape::new();
        let at = single(&numbers(&[rows, 3], -2.0, 2.0));
        let x = tape.input("x", &at);
        let rounded = at.mapv(|x| f64::from(x).powi(3) as f32);
        let own = at.mapv(|x| x * x * x);
        assert!(rounded != own || rows < 100, "somewhere they differ");
        let plain = [custom(RIGHT, &[x]), custom(OwnCube, &[x])];
        let mapped = [vmap(|x| custom(RIGHT, &[x]), x), vmap(|x| custom(OwnCube, &[x]), x)];
        for lowering in LOWERINGS {
            let program = tape.compile_with([x], [plain, mapped].concat(), lowering);
            for _ in 0..2 {
                let results = program.run_as::<f32>(&values![at]).unwrap();
                assert_eq!(results, [&rounded, &own, &rounded, &own].map(Clone::clone));
            }
        }
        let gradient = custom(OwnCube, &[x]).sum().grad(x);
        assert_eq!(gradient.value_as::<f32>(), at.mapv(|x| x * x * 3.0));
        let by_row = vmap(|x| custom(RIGHT, &[x.sin()]).sum().grad(x).sum().grad(x), x);
        let loop_of = |k| {
            let x = x.at(0, k);
            custom(RIGHT, &[x.sin()]).sum().grad(x).sum().grad(x).value_as::<f32>()
        };
        let mapped = double(&by_row.value_as::<f32>());
        assert_close("second derivative", &common::example(&mapped, 2), &double(&loop_of(2)), 1e-6);
    }
    let at = [single(&numbers(&[3], -1.5, 1.5))];
    check_gradients(|x| custom(RIGHT, &[x[0].exp()]), &at, 3, Modes::Both).unwrap();
    check_gradients(|x| custom(OwnCube, &[x[0].exp()]), &at, 3, Modes::Both).unwrap();
}

#[test]
fn a_wrong_rule_is_found_in_single_precision_and_within_a_function_of_double() {
    let at = arr1(&[0.4, 1.2]).into_dyn();
    let rules: [(usize, Rule); 4] = [
        (1, |x, g| g * x * x * 2.0),
        (1, |x, g| g * x * x * 3.01),
        (1, |x, g| g * x * x * 3.0 + 1.0),
        (2, |x, g| g * (x * x).stop_gradient() * 3.0),
    ];
    for (order, rule) in rules {
        let f = |x: Var| custom(Cube { rule }, &[x.sin()]) * x.exp();
        let line = place(line!() - 1);
        let told = |outcome: Result<(), String>| {
            let problem = outcome.unwrap_err();
            let order = format!("order {order}");
            assert_said(&problem, &[&order, "suspect `cube`", &line, "finite differences give"]);
        };
        told(check_gradients(|x| f(x[0]), &[single(&at)], 2, Modes::Both));
        told(check_gradients(|x| f(x[0]), &[single(&at)], 2, Modes::Reverse));
        told(check_gradients(|x| f(x[0].cast(DType::F32)).cast(DType::F64), std::slice::from_ref(&at), 2, Modes::Both));
    }
    // One rounding in a thousand is not let pass.
    let nearly = GradientCheck { order: 1, ..GradientCheck::default() };
    let rule = |x, g| g * x * x * 3.001;
    assert!(nearly.run(|x| custom(Cube { rule }, &[x[0]]), &[single(&at)]).is_err());
}

#[test]
fn a_cotangent_of_another_type_than_its_operand_is_refused_where_the_derivative_is_asked_for() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[0.5_f32, 2.0]));
    let y = custom(Cube { rule: |x, g| (g.cast(DType::F64) * x.cast(DType::F64)) * 3.0 }, &[x]);
    let words = [
        "cube: its vjp gave a cotangent of another type than its operand",
        "`cast`",
        "f64",
        "f32",
        "cotangent made at",
    ];
    refused!(&words, y.sum().grad(x));
    refused!(&words, y.jvp(x, x));
    let mapped = vmap(|x| custom(Cube { rule: |x, g| (g * x).cast(DType::F64) }, &[x]), x.insert_axis(1));
    refused!(&words, mapped.sum().grad(x));
    // Numbers of the rule's own are of the type that it computes in.
    let y = custom(Cube { rule: |x, g| g * x * x * x.constant(3.0) }, &[x]);
    assert_eq!(y.sum().grad(x).value_as::<f32>(), arr1(&[0.75_f32, 12.0]).into_dyn());
    refused!(among 4,
        &["times: ", "f32", "f64", "`cast`"],
        custom(Cube { rule: |x, g| g * x * x * arr1(&[3.0, 3.0]) }, &[x]).sum().grad(x)
    );
}

/// In debug builds a rule is tried out at its first use, in the operands' type.
#[cfg(debug_assertions)]
#[test]
fn the_first_use_of_a_rule_tries_it_out_in_single_precision() {
    struct Named(&'static str, Cube);
    impl CustomOperation for Named {
        fn name(&self) -> &str {
            self.0
        }
        fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
            self.1.shape(operands)
        }
        fn forward(&self, operands: &[ArrayViewD<'_, f64>], out: ArrayViewMutD<'_, f64>) {
            self.1.forward(operands, out);
        }
        fn vjp(&self, operands: &[Var], output: Var, cotangent: Var) -> Vec<Option<Var>> {
            self.1.vjp(operands, output, cotangent)
        }
    }
    let tape = Tape::new();
    let x = tape.input("x", single(&numbers(&[40], -2.0, 2.0)));
    let right = custom(Named("right", RIGHT), &[x]).sum();
    assert_eq!(right.grad(x).dtype(), DType::F32);
    let crooked = custom(Named("crooked", Cube { rule: |x, g| g * g * x }), &[x]).sum();
    refused!(&["`crooked`", "is not linear in its cotangent"], crooked.grad(x));
}

#[test]
fn a_limit_on_derivatives_holds_in_single_precision_and_across_casts() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[0.5_f32, 2.0]));
    let limit = DerivativeLimit::new("my surrogate", 1, "take another one");
    for surrogate in [limit.apply(x.square().sum()), limit.apply(x.cast(DType::F64).square().sum())] {
        for loss in [surrogate, surrogate.cast(DType::F64), surrogate.cast(DType::F32)] {
            let gradient = loss.grad(x);
            assert_eq!(gradient.value_as::<f32>(), arr1(&[1.0_f32, 4.0]).into_dyn());
            let words = ["my surrogate", "order 2", "only up to order 1", "take another one"];
            refused!(&words, gradient.cast(DType::F64).sum().grad(x));
            refused!(&words, loss.hessian(x));
            refused!(&words, (x + gradient * 0.1).exp().sum().grad(x));
        }
    }
    let boxed = (x.magic_box() * 2.0).sum();
    assert_eq!(boxed.hvp(x, x).value_as::<f32>(), arr1(&[1.0_f32, 4.0]).into_dyn());
}

// Batches of several types.

#[test]
fn arrays_of_every_type_are_mapped_over_together() {
    for rows in [3, 2500] {
        let tape = Tape::new();
        let narrow = single(&numbers(&[rows, 4], -1.0, 1.0));
        let wide = numbers(&[rows, 4], -1.0, 1.0) * 0.7;
        let bytes = Array2::from_shape_fn((rows, 4), |(i, j)| (31 * i + 7 * j) as u8);
        let states = Array1::from_shape_fn(rows, |i| (i % 3) as i32);
        let (x, y) = (tape.input("x", &narrow), tape.input("y", &wide));
        let (frames, s) = (tape.input("frames", &bytes), tape.index("s", &states));
        let table = tape.input("table", single(&numbers(&[4, 4], -1.0, 1.0)));
        let one = |x: &[Handle]| -> [Var; 4] {
            let (x, y, frame, s) = (x[0].var(), x[1].var(), x[2].var(), x[3].index());
            let features = frame.cast(DType::F32) / 255.0;
            let logit = (features * x).sum() + (table.matmul(x) + table.gather([s])).tanh().sum();
            let loss = logit.cast(DType::F64) * y.square().sum() + s.cast(DType::F64);
            let byte = frame.gather([s]);
            [loss, loss.grad(x), loss.grad(table), byte]
        };
        let batch = [Handle::from(x), y.into(), frames.into(), s.into()];
        for which in 0..4 {
            let mapped = vmap_many(|x| one(x)[which], batch);
            let at = |k: usize| one(&[x.at(0, k).into(), y.at(0, k).into(), frames.at(0, k).into(), s.at(0, k).into()]);
            assert_eq!(mapped.dtype(), at(0)[which].dtype());
            let program = tape.compile(batch, [mapped]);
            let off = tape.compile_with(batch, [mapped], Lowering::Off);
            let values = values![narrow, wide, bytes, states];
            let [on, off] = [program, off].map(|program| as_f64(program.run_values(&values).unwrap().swap_remove(0)));
            assert_close("lowered", &on, &off, 1e-6);
            for k in [0, 1, rows - 1] {
                let alone = as_f64(ad_value(at(k)[which]));
                assert_close(&format!("result {which} of row {k}"), &common::example(&on, k), &alone, 1e-6);
            }
        }
        // One type alone, and a result that does not depend on it.
        let inverted = vmap(|frame| frame.cast(DType::F64) - 255.0, frames);
        assert_eq!(inverted.value(), bytes.mapv(|x| f64::from(x) - 255.0).into_dyn());
        // Rows of a table that all share, chosen by each.
        let shared = vmap_many(|s| frames.gather([s[0].index()]).cast(DType::F32), ad::handles![s]);
        let places: Vec<usize> = states.iter().map(|&s| s as usize).collect();
        let expected = bytes.select(ndarray::Axis(0), &places).mapv(f32::from);
        assert_eq!(shared.value_as::<f32>(), expected.into_dyn());
        let shared = vmap(|_| tape.constant(7_u8), x);
        assert_eq!(shared.value_as::<u8>(), Array1::from_elem(rows, 7_u8).into_dyn());
    }
    let tape = Tape::new();
    let (x, frames) = (tape.input("x", arr1(&[1.0_f32])), tape.input("frames", arr1(&[1_u8])));
    refused!(&["times: ", "f32", "u8", "`cast`"], vmap_many(|x| x[0].var() * x[1].var(), ad::handles![x, frames]));
}

fn as_f64(value: Value<'_>) -> ArrayD<f64> {
    match value {
        Value::F64(x) => x.into_owned(),
        Value::F32(x) => x.mapv(f64::from),
        Value::I32(x) => x.mapv(f64::from),
        Value::U8(x) => x.mapv(f64::from),
    }
}

/// The numbers of a Var of any type.
fn ad_value(x: Var) -> Value<'static> {
    match x.dtype() {
        DType::F64 => x.value().into(),
        DType::F32 => x.value_as::<f32>().into(),
        DType::I32 => x.value_as::<i32>().into(),
        DType::U8 => x.value_as::<u8>().into(),
    }
}

// Programs.

#[test]
fn the_text_of_a_program_shows_each_type_and_its_costs_count_the_bytes_of_each() {
    let tape = Tape::new();
    let x = tape.input("x", single(&numbers(&[2, 3], 0.0, 1.0)));
    let bytes = tape.input("bytes", array(DType::U8, &[2, 3]));
    let wide = tape.constant(numbers(&[2, 3], 0.0, 1.0));
    let i = tape.index("i", arr1(&[1, 0, 1, 1]));
    let rows = bytes.gather([i]);
    let sum = (x * bytes.cast(DType::F32)).cast(DType::F64) + wide;
    let inputs = [Handle::from(x), bytes.into(), i.into()];
    let program = tape.compile(inputs, [sum, rows, i.cast(DType::F32)]);
    let text = program.to_string();
    for (line, dtype) in [
        ("input  x:", "f32[2, 3]"),
        ("input  bytes:", "u8[2, 3]"),
        ("input  i:", "i32[4]"),
        ("const  c0:", "f64[2, 3]"),
        ("= cast(bytes)", " f32[2, 3]"),
        ("= times(", " f32[2, 3]"),
        ("= plus(", " f64[2, 3]"),
        ("= gather(bytes, i)", " u8[4, 3]"),
        ("= cast(i)", " f32[4]"),
    ] {
        let found: Vec<&str> = text.lines().filter(|text| text.contains(line)).collect();
        assert!(found.len() == 1 && found[0].contains(dtype), "{line} {dtype}: {text}");
    }
    let moved = [
        6 + 6 * 4,             // bytes as floats
        3 * 6 * 4,             // times x
        6 * 4 + 6 * 8,         // in double
        3 * 6 * 8,             // plus the constant
        4 * 3 + 4 * 4 + 4 * 3, // rows of bytes
        4 * 4 + 4 * 4,         // integers as floats
    ];
    let cost = program.cost();
    assert_eq!((cost.operations, cost.flops), (6, 12));
    assert_eq!(cost.bytes, moved.iter().sum::<usize>());
    // Inputs, the constant and the three results are there at the end; on the way less than all results at once.
    let held = 6 * 4 + 6 + 4 * 4 + 6 * 8 + 6 * 8 + 4 * 3 + 4 * 4;
    assert!((held..held + 2 * 6 * 4 + 6 * 8 + 1).contains(&cost.peak_memory), "{held} {}", cost.peak_memory);
}

#[test]
fn what_is_not_finite_in_single_precision_is_named_with_its_place() {
    let tape = Tape::new();
    for rows in [2, 3000] {
        let mut at = Array2::from_elem((rows, 4), 2.0_f32);
        let x = tape.input("x", &at);
        let square = x.square();
        let line = line!() - 1;
        let loss = (square.sin().cast(DType::F64) * 3.0).sum();
        let program = tape.compile([x], [loss]);
        assert_eq!(program.check_finite(&values![at]), Ok(()));
        // Its square is a number of double precision only.
        at[[rows - 1, 2]] = -1e30;
        let told = |outcome: Result<(), Error>, name: &str| {
            let Err(Error::NotFinite { operation, location, value, entry, .. }) = outcome else {
                panic!("{outcome:?}")
            };
            assert_eq!((operation.as_str(), entry), (name, 4 * (rows - 1) + 2));
            (location.line(), value)
        };
        assert_eq!(told(program.check_finite(&values![at]), "powf"), (line, f64::INFINITY));
        at[[rows - 1, 2]] = f32::NAN;
        assert!(told(program.check_finite(&values![at]), "input `x`").1.is_nan());
        let mut wide = double(&at);
        wide[[rows - 1, 2]] = -1e39;
        let y = tape.input("y", Array2::<f64>::zeros((rows, 4)));
        let program = tape.compile([y], [y.cast(DType::F32).tanh()]);
        assert_eq!(told(program.check_finite(&values![wide]), "cast").1, f64::NEG_INFINITY);
    }
}

#[test]
fn an_input_of_another_type_is_an_error_that_names_it_and_both_types() {
    let tape = Tape::new();
    for expected in TYPES {
        let (handle, numbers): (Handle, Var) = if expected == DType::I32 {
            let i = tape.index("theta", array(expected, &[3]));
            (i.into(), i.cast(DType::F64))
        } else {
            let x = tape.input("theta", array(expected, &[3]));
            (x.into(), x.cast(DType::F64))
        };
        let program = tape.compile([handle], [numbers.sin()]);
        for given in TYPES {
            let values = [array(given, &[3])];
            let outcomes =
                [program.run(&values).map(drop), program.run_values(&values).map(drop), program.check_finite(&values)];
            for outcome in outcomes {
                if given == expected {
                    assert_eq!(outcome, Ok(()));
                    continue;
                }
                let error = outcome.unwrap_err();
                assert_eq!(error, Error::Dtype { input: "theta".to_owned(), expected, given });
                let said = format!("input `theta` has elements of type {given}, but {expected} was recorded");
                assert_eq!(error.to_string(), said);
            }
            let mut result = ArrayD::from_elem(vec![3], 7.0);
            let outcome = program.run_into(&values, &mut [result.view_mut()]);
            assert_eq!(outcome.is_err(), given != expected);
            assert_eq!(result.iter().any(|&x| x == 7.0), given != expected, "then nothing is written");
        }
    }
}

#[test]
fn results_of_another_type_than_asked_for_are_an_error_and_nothing_is_written() {
    fn check<E: Element>(program: &Program, dtype: DType, seven: E) {
        let asked = E::DTYPE;
        let mut results = [ArrayD::from_elem(vec![3], seven), ArrayD::from_elem(vec![2], seven)];
        let mut into = results.each_mut().map(|result| result.view_mut());
        let outcomes = [program.run_as::<E>(&[]).map(drop), program.run_into_as(&[], &mut into)];
        for outcome in outcomes {
            if asked == dtype {
                assert_eq!(outcome, Ok(()));
                continue;
            }
            let error = outcome.unwrap_err();
            assert_eq!(error, Error::ResultDtype { result: 0, dtype, asked });
            assert_said(&error.to_string(), &["result 0", dtype.name(), asked.name(), "cast"]);
        }
        assert_eq!(results.iter().flatten().all(|&x| x == seven), asked != dtype);
    }
    let tape = Tape::new();
    for dtype in [DType::F64, DType::F32, DType::U8] {
        let results = [tape.constant(array(dtype, &[3])), tape.constant(array(dtype, &[4])).slice(0, 1..3)];
        let program = tape.compile([] as [Var; 0], results);
        check(&program, dtype, 77.0_f64);
        check(&program, dtype, 77.0_f32);
        check(&program, dtype, 77_i32);
        check(&program, dtype, 77_u8);
        assert_eq!(program.run(&[]).is_ok(), dtype == DType::F64);
        assert!(program.run_values(&[]).unwrap().iter().all(|value| value.dtype() == dtype));
    }
    // Of several types, the first that is another.
    let mixed = tape.compile([] as [Var; 0], [tape.constant(1.0), tape.constant(2.0_f32), tape.constant(3_u8)]);
    let error = |result, dtype, asked| Err::<(), _>(Error::ResultDtype { result, dtype, asked });
    assert_eq!(mixed.run(&[]).map(drop), error(1, DType::F32, DType::F64));
    assert_eq!(mixed.run_as::<f32>(&[]).map(drop), error(0, DType::F64, DType::F32));
    let mut results = [arr0(7.0).into_dyn(), arr0(7.0).into_dyn(), arr0(7.0).into_dyn()];
    let mut into = results.each_mut().map(|result| result.view_mut());
    assert_eq!(mixed.run_into(&[], &mut into), error(1, DType::F32, DType::F64));
    assert!(results.iter().flatten().all(|&x| x == 7.0));
    let x = tape.constant(arr1(&[2.0_f32]));
    refused!(&["value: the numbers are f32, but f64 was asked for", "value_as"], x.value());
    refused!(&["item: the numbers are f32, but f64 was asked for", "item_as"], x.item());
    refused!(&["value_as: the numbers are f32, but u8 was asked for", "cast"], x.value_as::<u8>());
    refused!(&["item_as: ", "f32", "i32"], x.item_as::<i32>());
    refused!(&["evaluate: the numbers are f32, but f64 was asked for"], ad::evaluate(&[x]));
    refused!(&["input `i`", "`Tape::index`"], tape.input("i", 1));
    refused!(&["index `i`", "i32", "f32"], tape.index("i", 1.0_f32));
}

#[test]
fn a_number_beyond_the_range_of_the_array_that_it_meets_is_refused() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[0.0_f32, 1.0]));
    refused!(&["the number -1e300 is beyond the largest of f32, 3.4", "array made at"], x * -1e300);
    refused!(&["the number 1e39", "f32"], x.full_like(1e39));
    refused!(&["the number 1e39", "f32"], x.constant(arr1(&[1.0, 1e39])));
    assert_eq!((x - f64::INFINITY).value_as::<f32>(), arr1(&[f32::NEG_INFINITY; 2]).into_dyn());
    assert_eq!((x * 1e-300).value_as::<f32>(), arr1(&[0.0_f32; 2]).into_dyn());
}

// Frames.

/// The squared error of a linear function of frames' pixels, and its gradient.
fn of_frames(pixels: Var, w: Var) -> [Var; 2] {
    let rows = pixels.shape()[0];
    let y = (pixels.cast(DType::F32) / 255.0).reshape(&[rows, 84 * 84]).matmul(w);
    let loss = y.tanh().square().sum_axes(&[1]).mean();
    [loss, loss.grad(w)]
}

#[test]
fn frames_become_floats_a_block_at_a_time() {
    const FRAMES: usize = 2000;
    let frames = Array::from_shape_fn((FRAMES, 84, 84), |(n, i, j)| (7 * n + 31 * i + j * j) as u8);
    let w = single(&numbers(&[84 * 84, 8], -1.0, 1.0));
    let tape = Tape::new();
    let (pixels, weights) = (tape.input("pixels", &frames), tape.input("w", &w));
    let results = of_frames(pixels, weights);
    let as_floats = FRAMES * 84 * 84 * 4;
    // Of each of eight chunks a block of two megabytes and two sums, in double and in single; and little beside.
    let blocks = 8 * ((1 << 21) + w.len() * (8 + 4)) + 100_000;
    let inputs = FRAMES * 84 * 84 + w.len() * 4;
    let values = values![frames, w];
    // Of floats it is the same arithmetic, perhaps in other blocks.
    let wide = frames.mapv(f32::from);
    let floats = tape.input("floats", &wide);
    let expected =
        tape.compile([floats, weights], of_frames(floats, weights)).run_as::<f32>(&values![wide, w]).unwrap();
    let is_expected = |results: &[ArrayD<f32>]| {
        for (result, expected) in results.iter().zip(&expected) {
            let scale = expected.iter().fold(0.0_f32, |scale, x| scale.max(x.abs()));
            assert!(result.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1e-5 * scale), "{scale}");
        }
    };
    let mut memory = Vec::new();
    for outputs in [&results[..1], &results[..]] {
        let program = tape.compile([pixels, weights], outputs.iter().copied());
        let beyond = program.cost().peak_memory - inputs;
        memory.push(beyond);
        assert!(beyond < blocks, "{beyond} bytes, of {as_floats} as floats: {program}");
        assert!(program.to_string().contains("cast(pixels[rows])"), "{program}");
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| program.run_as::<f32>(&values).unwrap())
        };
        let one = on(1);
        assert!(one == on(2), "the same bits on two threads");
        assert!(one == program.run_as::<f32>(&values).unwrap(), "and on all there are");
        is_expected(&one);
    }
    // The gradient: each chunk's sum in double, what a block adds to it in single, and the result.
    assert!(memory[1] - memory[0] >= w.len() * (8 * (8 + 4) + 4), "{memory:?}");
    let off = tape.compile_with([pixels, weights], results, Lowering::Off);
    is_expected(&off.run_as::<f32>(&values).unwrap());
}

// Whatever is composed.

/// An array times 1 + δ, entry by entry another δ of that size.
fn shaken(x: Var, size: f64, seed: f64) -> Var {
    let delta = numbers(&x.shape(), 0.0, 1.0).mapv(|u| 1.0 + size * ((u + seed) * 9.7).sin());
    x * x.constant(delta)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_random_program_and_its_derivatives_are_those_of_double_precision_within_rounding(
        steps in steps(), at in points()
    ) {
        let results = |dtype: DType, with: &dyn Fn(Var) -> Var, lowering| -> Vec<ArrayD<f64>> {
            let tape = Tape::new();
            // The same numbers in both.
            let at: Vec<ArrayD<f32>> = at.iter().map(single).collect();
            let wide: Vec<ArrayD<f64>> = at.iter().map(double).collect();
            let x: Vec<Var> = (0..at.len())
                .map(|i| if dtype == DType::F32 { tape.input("x", &at[i]) } else { tape.input("x", &wide[i]) })
                .collect();
            let loss = run_with(&steps, &x, with);
            let outputs = [vec![loss], loss.grad(&x), loss.hvp(&x, &x), vec![loss.hessian(x[0])]].concat();
            assert!(outputs.iter().all(|output| output.dtype() == dtype));
            let program = tape.compile_with([] as [Var; 0], outputs, lowering);
            program.run_values(&[]).unwrap().into_iter().map(as_f64).collect()
        };
        let exact = results(DType::F64, &|x| x, Lowering::On);
        // How far numbers on the way that are a little off lead away: what cancels is no excuse for nothing else.
        const SHAKE: f64 = 1e-5;
        let mut scales: Vec<f64> = exact.iter().map(|x| x.iter().fold(0.0, |most: f64, x| most.max(x.abs()))).collect();
        for seed in 0..4 {
            let moved = results(DType::F64, &|x| shaken(x, SHAKE, f64::from(seed)), Lowering::On);
            for ((moved, exact), scale) in moved.iter().zip(&exact).zip(&mut scales) {
                let most = moved.iter().zip(exact).fold(0.0, |most: f64, (a, b)| most.max((a - b).abs()));
                *scale = scale.max(most / SHAKE);
            }
        }
        // In single precision; and in double, where every third array is rounded to single on the way.
        let count = Cell::new(0);
        let sometimes = |x: Var| {
            count.set(count.get() + 1);
            if count.get() % 3 == 0 { x.cast(DType::F32).cast(x.dtype()) } else { x }
        };
        let variants: [(DType, &dyn Fn(Var) -> Var); 2] = [(DType::F32, &|x| x), (DType::F64, &sometimes)];
        for ((dtype, with), lowering) in variants.iter().flat_map(|variant| LOWERINGS.map(|lowering| (variant, lowering))) {
            count.set(0);
            let narrow = results(*dtype, with, lowering);
            for (i, ((narrow, exact), scale)) in narrow.iter().zip(&exact).zip(&scales).enumerate() {
                let tolerance = 16.0 * f64::from(f32::EPSILON) * scale;
                for (a, b) in narrow.iter().zip(exact) {
                    let close = (a - b).abs() <= tolerance;
                    prop_assert!(close, "result {}, {}, {:?}: {:e} and {:e}, of {:e}", i, dtype, lowering, a, b, scale);
                }
            }
        }
    }

    #[test]
    fn in_single_precision_a_random_program_s_derivatives_are_those_of_finite_differences(
        steps in steps(), at in points()
    ) {
        let at: Vec<ArrayD<f32>> = at.iter().map(single).collect();
        let outcome = check_gradients(|x| run(&steps, x), &at, 2, Modes::Both);
        prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    }
}
