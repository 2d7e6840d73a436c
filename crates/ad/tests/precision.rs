//! `f32` is `f64` rounded: values, gradients and Hessian-vector products of every operation agree within a few ulps.

mod common;

use ad::{Real, Tape, Var};
use common::{Case, assert_close, every_case, numbers, weighted};
use ndarray::{Array1, ArrayD};

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
