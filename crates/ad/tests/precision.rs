//! `f32` is `f64` rounded: values, gradients and Hessian-vector products of every operation agree within a few ulps.

mod common;

use ad::{Real, Tape, Var, evaluate};
use common::{Case, assert_close, every_case, numbers, weighted};
use ndarray::{Array1, ArrayD};

/// The value of a case at inputs that are `f32` numbers, and its gradients and Hessian-vector products, as `f64`: all in
/// one array, whose largest number the others (which may be differences of such) are compared to.
fn results<T: Real>(case: &Case<T>) -> ArrayD<f64> {
    let tape = Tape::<T>::new();
    let round = |x: &ArrayD<f64>| x.mapv(|x| T::of(f64::from(x as f32)));
    let x: Vec<Var<T>> = case.at.iter().map(|x| tape.input("x", round(x))).collect();
    let y = (case.f)(&x);
    let loss = (y * round(&numbers(&y.shape(), 0.5, 1.5))).sum();
    let directions: Vec<Var<T>> = x.iter().map(|x| tape.constant(round(&numbers(&x.shape(), 0.5, 1.5)))).collect();
    let gradients = loss.grad_or_zeros(&x);
    let along = gradients.iter().zip(&directions).map(|(g, v)| g.dot(*v)).reduce(|sum, term| sum + term).unwrap();
    let products = along.grad_or_zeros(&x);
    let all: Vec<Var<T>> = [vec![y], gradients, products].concat();
    let numbers = evaluate(&all).into_iter().flat_map(|array| array.into_iter().map(|x| x.as_f64()));
    numbers.collect::<Array1<f64>>().into_dyn()
}

#[test]
fn single_precision_is_double_precision_within_a_few_ulps() {
    let singles = every_case::<f32>();
    for (single, double) in singles.iter().zip(&every_case::<f64>()) {
        assert_close(&single.name, &results(single), &results(double), 16.0 * f64::from(f32::EPSILON));
    }
}

#[test]
fn single_precision_computes_in_single_precision() {
    let tape = Tape::<f32>::new();
    let x = tape.input("x", 1.0_f32);
    assert_eq!((x + 2.0_f32.powi(-30) - x).item(), 0.0);
    assert_eq!((0.1 * x).item(), 0.1_f32);
    assert_eq!(weighted(x.exp().grad(x)).item(), weighted(x.exp()).item());
    assert_eq!(ad::grad(|x| x * x, 0.1_f32), 0.2_f32);
}
