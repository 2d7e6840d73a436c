//! `f32` is `f64` rounded: values, gradients and Hessian-vector products of every operation agree within a few ulps.

mod common;

use ad::{Lowering, Real, Tape, Var, values};
use common::{Case, assert_close, every_case, numbers, weighted};
use ndarray::{Array1, ArrayD, arr1};

/// The value of a case at inputs that are `f32` numbers, and its gradients and Hessian-vector products, as `f64`: all in
/// one array, whose largest number the others (which may be differences of such) are compared to.
fn results<T: Real>(case: &Case) -> ArrayD<f64> {
    let tape = Tape::new();
    let round = |x: &ArrayD<f64>| x.mapv(|x| T::of(f64::from(x as f32)));
    let x: Vec<Var> = case.at.iter().map(|x| tape.input("x", round(x))).collect();
    let y = (case.f)(&x);
    let loss = (y * round(&numbers(&y.shape(), 0.5, 1.5))).sum();
    let directions: Vec<Var> = x.iter().map(|x| tape.constant(round(&numbers(&x.shape(), 0.5, 1.5)))).collect();
    let gradients = loss.grad_or_zeros(&x);
    let along = gradients.iter().zip(&directions).map(|(g, v)| g.dot(*v)).reduce(|sum, term| sum + term).unwrap();
    let products = along.grad_or_zeros(&x);
    let all: Vec<Var> = [vec![y], gradients, products].concat();
    let numbers = all.iter().flat_map(|var| var.value_as::<T>().into_iter().map(|x| x.as_f64()));
    numbers.collect::<Array1<f64>>().into_dyn()
}

#[test]
fn single_precision_is_double_precision_within_a_few_ulps() {
    for case in every_case() {
        let (single, double) = (results::<f32>(&case), results::<f64>(&case));
        assert_close(&case.name, &single, &double, 16.0 * f64::from(f32::EPSILON));
    }
}

#[test]
fn single_precision_computes_in_single_precision() {
    let tape = Tape::new();
    let x = tape.input("x", 1.0_f32);
    assert_eq!((x + 2.0_f32.powi(-30) - x).item_as::<f32>(), 0.0);
    assert_eq!((0.1 * x).item_as::<f32>(), 0.1_f32);
    assert_eq!(weighted(x.exp().grad(x)).item_as::<f32>(), weighted(x.exp()).item_as::<f32>());
    assert_eq!(ad::grad(|x| x * x, 0.1_f32), 0.2_f32);
}

/// The largest relative error of numbers that should all be about the same.
#[track_caller]
fn assert_within(what: &str, bound: f64, found: Var, expected: f64) {
    for x in found.value_as::<f32>() {
        let error = (f64::from(x) / expected - 1.0).abs();
        assert!(error <= bound, "{what}: {x}, not {expected}: off by {error:e}");
    }
}

/// Of many equal numbers every addition rounds the same way: added one by one, 10⁷ times 0.1 is off by a thousandth.
#[test]
fn sums_of_many_equal_numbers_keep_their_digits() {
    const ROUNDING: f64 = f32::EPSILON as f64 / 2.0;
    const N: usize = 10_000_000;
    let (tape, tenth) = (Tape::new(), f64::from(0.1_f32));
    let x = tape.input("x", Array1::from_elem(N, 0.1_f32));
    assert_within("mean", 2.0 * ROUNDING, x.mean(), tenth);
    assert_within("sum", ROUNDING, x.sum(), N as f64 * tenth);
    // In regions, where sums are of blocks.
    assert_within("mean of exponentials", 8.0 * ROUNDING, x.exp().mean(), tenth.exp());
    assert_within(
        "gradient of a broadcast",
        2.0 * ROUNDING,
        {
            let scale = tape.input("scale", 1.0_f32);
            (x * scale).mean().grad(scale)
        },
        tenth,
    );
    for (rows, columns) in [(N / 4, 4), (4, N / 4), (1000, N / 1000)] {
        let matrix = x.reshape(&[rows, columns]);
        assert_within("rows", 2.0 * ROUNDING, matrix.mean_axes(&[1]), tenth);
        assert_within("columns", 2.0 * ROUNDING, matrix.mean_axes(&[0]), tenth);
        assert_within("logsumexp of columns", 4.0 * ROUNDING, matrix.logsumexp(&[0]), tenth + (rows as f64).ln());
        assert_within("logsumexp of rows", 4.0 * ROUNDING, matrix.logsumexp(&[1]), tenth + (columns as f64).ln());
    }
    let index = tape.index("index", Array1::from_iter((0..N).map(|i| (i % 5) as i32)));
    assert_within("scatter", 2.0 * ROUNDING, x.scatter_add([index], &[5]), N as f64 / 5.0 * tenth);
    let wide = x.reshape(&[N / 10, 10]);
    let index = tape.index("rows", Array1::from_iter((0..N / 10).map(|i| (i % 200) as i32)));
    assert_within("scatter of rows", 2.0 * ROUNDING, wide.scatter_add([index], &[200]), N as f64 / 2000.0 * tenth);
}

/// Of large numbers that cancel, what is left is right only if nothing is rounded before the end: not between blocks of rows,
/// and not between axes that are no neighbours.
#[test]
fn sums_that_cancel_are_rounded_once() {
    let tape = Tape::new();
    let half = 50_000;
    let entries = Array1::from_iter((0..2 * half).map(|i| if i < half { 1000.25_f32 } else { -999.75 }));
    let x = tape.input("x", &entries);
    for lowering in [Lowering::On, Lowering::Off] {
        let sums = [x.sum(), (x * 2.0).sum(), x.reshape(&[half, 2]).sum_axes(&[0]).sum()];
        let program = tape.compile_with([x], sums, lowering);
        let expected = [25_000.0_f32, 50_000.0, 25_000.0];
        let found = program.run_as::<f32>(&values![entries]).unwrap();
        assert!(found.iter().zip(expected).all(|(x, y)| x.sum() == y), "{lowering:?}: {found:?}");
    }
    let entry = |i: ndarray::IxDyn| if i[0] < 5 { 1e4_f32 } else { -1e4 } + 0.0625;
    let apart = tape.constant(ArrayD::from_shape_fn(vec![10, 3, 1000], entry));
    assert_eq!(apart.sum_axes(&[0, 2]).value_as::<f32>(), arr1(&[625.0_f32; 3]).into_dyn());
}

#[test]
fn recurrences_over_many_equal_numbers_keep_their_digits() {
    const ROUNDING: f64 = f32::EPSILON as f64 / 2.0;
    const N: usize = 1_000_000;
    let (tape, tenth) = (Tape::new(), f64::from(0.1_f32));
    for (rows, columns) in [(1, N), (5, N / 5), (N, 1), (N / 7, 7), (N / 300, 300)] {
        let x = tape.constant(ArrayD::from_elem(vec![rows, columns], 0.1_f32));
        let along = x.cumsum(1);
        assert_within("along rows", ROUNDING, along.at(1, columns - 1), columns as f64 * tenth);
        let across = x.cumsum(0);
        assert_within("across rows", ROUNDING, across.at(0, rows - 1), rows as f64 * tenth);
    }
    // With a factor near 1: Σ γ^k is (1 − γ^n)/(1 − γ).
    let gamma = f64::from(0.9999_f32);
    let x = tape.constant(ArrayD::from_elem(vec![N, 2], 0.1_f32));
    let expected = tenth * (1.0 - gamma.powi(N as i32)) / (1.0 - gamma);
    assert_within("returns", ROUNDING, x.scan_reverse(gamma, 0).at(0, 0), expected);
}

#[test]
fn products_of_many_equal_numbers_keep_most_of_their_digits() {
    const N: usize = 1_000_000;
    let tape = Tape::new();
    for (m, n) in [(1, 1), (3, 5), (17, 33), (1, 20), (20, 1)] {
        for entry in [0.1_f32, 0.3, 0.77] {
            let (a, b) = ([N / (m * n), m], [N / (m * n), n]);
            let expected = a[0] as f64 * f64::from(entry).powi(2);
            let [a, b] = [a, b].map(|shape| tape.constant(ArrayD::from_elem(shape.to_vec(), entry)));
            let [a_rows, b_columns] = [a, b].map(|x| tape.constant(x.t().value_as::<f32>()));
            // Of each kind of layout.
            for (a, b) in [(a.t(), b), (a_rows, b), (a.t(), b_columns.t()), (a_rows, b_columns.t())] {
                assert_within(&format!("{m}×{n}"), 5e-6, a.matmul(b), expected);
            }
        }
    }
}
