//! Forward mode and reverse mode agree, at every order, for every operation; and what is made of them is consistent.

mod common;

use ad::{Tape, Var};
use common::{assert_close, every_case, numbers, weighted};
use ndarray::{Array1, ArrayD, Dimension, arr1};

/// Calls `law` with every operation's result and each of its variables, on a tape.
fn for_every_case(law: impl Fn(&str, Var, Var)) {
    for case in every_case() {
        let tape = Tape::new();
        let x: Vec<Var> = case.at.iter().map(|x| tape.input("x", x)).collect();
        let y = (case.f)(&x);
        // Of no entries nothing can be said.
        for (i, &x) in x.iter().enumerate().filter(|(_, x)| x.size() > 0 && y.size() > 0) {
            law(&format!("{}, variable {i}", case.name), y, x);
        }
    }
}

fn matrix(derivative: Var, rows: usize) -> ArrayD<f64> {
    derivative.reshape(&[rows, derivative.size() / rows]).value()
}

#[test]
fn jacobians_of_both_modes_are_equal() {
    for_every_case(|name, y, x| {
        let reverse = y.jacobian_reverse(x).value();
        assert_close(name, &y.jacobian_forward(x).value(), &reverse, 1e-13);
        assert_close(name, &y.jacobian(x).value(), &reverse, 1e-13);
        assert_eq!(reverse.shape(), [y.shape(), x.shape()].concat());
    });
}

#[test]
fn a_jvp_is_the_jacobian_times_the_tangent_and_a_vjp_the_cotangent_times_the_jacobian() {
    for_every_case(|name, y, x| {
        let jacobian = y.jacobian_forward(x).reshape(&[y.size(), x.size()]);
        let (t, u) = (x * 0.0 + numbers(&x.shape(), -1.0, 1.0), y * 0.0 + numbers(&y.shape(), -1.0, 1.0));
        let forward = jacobian.matmul(t.reshape(&[x.size()])).reshape(&y.shape());
        let reverse = u.reshape(&[y.size()]).matmul(jacobian).reshape(&x.shape());
        assert_close(name, &y.jvp(x, t).value(), &forward.value(), 1e-13);
        assert_close(name, &y.vjp(x, u).value(), &reverse.value(), 1e-13);
    });
}

#[test]
fn a_hessian_is_symmetric_and_the_same_by_reverse_over_reverse() {
    for_every_case(|name, y, x| {
        let loss = weighted(y);
        let hessian = matrix(loss.hessian(x), x.size());
        assert_close(name, &hessian, &hessian.t().to_owned().into_dyn(), 1e-13);
        assert_close(name, &hessian, &matrix(loss.grad(x).jacobian_reverse(x), x.size()), 1e-13);
    });
}

#[test]
fn an_hvp_is_the_hessian_times_the_direction() {
    for_every_case(|name, y, x| {
        let loss = weighted(y);
        let v = (x * 0.0 + numbers(&x.shape(), -1.0, 1.0)).stop_gradient();
        let product = loss.hessian(x).reshape(&[x.size(), x.size()]).matmul(v.reshape(&[x.size()]));
        assert_close(name, &loss.hvp(x, v).value(), &product.reshape(&x.shape()).value(), 1e-13);
        assert_close(name, &loss.grad(x).dot(v).grad(x).value(), &product.reshape(&x.shape()).value(), 1e-13);
        assert_close(name, &loss.jvp(x, v).grad(x).value(), &product.reshape(&x.shape()).value(), 1e-13);
    });
}

#[test]
fn third_derivatives_are_the_same_in_any_mix_of_modes() {
    for_every_case(|name, y, x| {
        if x.size() > 4 {
            return;
        }
        let loss = weighted(y);
        let fff = loss.jacobian_forward(x).jacobian_forward(x).jacobian_forward(x).value();
        assert_close(name, &loss.derivative(x, 3).value(), &fff, 1e-12);
        assert_close(name, &loss.grad(x).jacobian_reverse(x).jacobian_reverse(x).value(), &fff, 1e-12);
        assert_close(name, &loss.jacobian_forward(x).jacobian_reverse(x).jacobian_forward(x).value(), &fff, 1e-12);
    });
}

#[test]
fn derivatives_of_orders_0_to_4_of_a_sine_go_round_in_a_circle() {
    let tape = Tape::new();
    let x = tape.input("x", 0.7);
    let (s, c) = 0.7_f64.sin_cos();
    for (order, expected) in [s, c, -s, -c, s].into_iter().enumerate() {
        assert!((x.sin().derivative(x, order).item() - expected).abs() < 1e-15, "order {order}");
        assert!((ad::derivative(|x: Var| x.sin(), 0.7_f64, order)[[]] - expected).abs() < 1e-15, "order {order}");
    }
}

#[test]
fn derivatives_of_orders_0_to_4_of_a_product_of_powers_are_those_on_paper() {
    // ∂⁴(x³y²)/∂x²∂y² = 12x, and so on for every mixed derivative.
    let (x, y) = (1.3, -0.6);
    let power = |base: f64, exponent: i32, times: i32| -> f64 {
        (0..times).map(|i| f64::from(exponent - i)).product::<f64>()
            * if times > exponent { 0.0 } else { base.powi(exponent - times) }
    };
    for order in 0..=4 {
        let derivative = ad::derivative(|v| v.at(0, 0).powf(3.0) * v.at(0, 1).square(), &arr1(&[x, y]), order);
        assert_eq!(derivative.shape(), vec![2; order]);
        for (which, &number) in derivative.indexed_iter() {
            let by_y: i32 = which.slice().iter().map(|&i| i as i32).sum();
            let expected = power(x, 3, order as i32 - by_y) * power(y, 2, by_y);
            assert!((number - expected).abs() < 1e-13, "{which:?}: {number} and {expected}");
        }
    }
}

#[test]
fn the_derivative_of_order_0_is_the_array_itself() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[1.0, 2.0]));
    assert_eq!(x.square().derivative(x, 0).value(), arr1(&[1.0, 4.0]).into_dyn());
}

#[test]
fn tangents_of_several_variables_add_up() {
    let tape = Tape::new();
    let (x, y) = (tape.input("x", arr1(&[0.4, 1.1])), tape.input("y", 0.3));
    let (s, t) = (tape.constant(arr1(&[1.0, -2.0])), tape.constant(0.5));
    let f = (x * y).sin() * x;
    let both = f.jvp([x, y], [s, t]).value();
    assert_close("jvp", &both, &(f.jvp(x, s) + f.jvp(y, t)).value(), 1e-15);
    let [by_x, by_y] = f.sum().hvp([x, y], [s, t]);
    let [g, h] = f.sum().grad([x, y]);
    assert_close("hvp", &by_x.value(), &(g.jvp(x, s) + g.jvp(y, t)).value(), 1e-15);
    assert_close("hvp", &by_y.value(), &(h.jvp(x, s) + h.jvp(y, t)).value(), 1e-15);
}

#[test]
fn functions_and_vars_give_the_same_derivatives() {
    let at = arr1(&[0.4, 1.1, -0.7]);
    let (direction, f) = (arr1(&[1.0, -2.0, 0.5]), |x: Var| (x.sin() * x.sum()).exp());
    let tape = Tape::new();
    let (x, v) = (tape.input("x", &at), tape.constant(&direction));
    let dynamic = |array: Array1<f64>| array.into_dyn();
    assert_eq!(dynamic(ad::grad(|x| f(x).sum(), &at)), f(x).sum().grad(x).value());
    assert_eq!(dynamic(ad::hvp(|x| f(x).sum(), &at, &direction)), f(x).sum().hvp(x, v).value());
    assert_eq!(ad::hessian(|x| f(x).sum(), &at), f(x).sum().hessian(x).value());
    assert_eq!(ad::jacobian(f, &at), f(x).jacobian(x).value());
    assert_eq!(ad::derivative(f, &at, 2), f(x).derivative(x, 2).value());
    let (value, tangent) = ad::jvp(f, &at, &direction);
    assert_eq!((value, tangent), (f(x).value(), f(x).jvp(x, v).value()));
    let (value, cotangent) = ad::vjp(f, &at, |y| y * 2.0);
    assert_eq!((value, dynamic(cotangent)), (f(x).value(), f(x).vjp(x, f(x) * 2.0).value()));
    let (value, gradient) = ad::value_and_grad(|x| f(x).sum(), &at);
    assert_eq!((value, dynamic(gradient)), (f(x).sum().item(), f(x).sum().grad(x).value()));
}

#[test]
fn derivatives_by_an_array_without_entries_have_none() {
    let tape = Tape::new();
    let x = tape.input("x", Array1::<f64>::zeros(0));
    let loss = x.exp().sum();
    assert_eq!(loss.item(), 0.0);
    assert_eq!(loss.grad(x).value().shape(), [0]);
    assert_eq!(loss.hessian(x).value().shape(), [0, 0]);
    assert_eq!(loss.hvp(x, x).value().shape(), [0]);
    assert_eq!(x.exp().jacobian_reverse(x).value().shape(), [0, 0]);
    assert_eq!(loss.jvp(x, x).item(), 0.0);
}

fn named(names: [&str; 2], numbers: [f64; 2]) -> indexmap::IndexMap<String, ArrayD<f64>> {
    names.iter().zip(numbers).map(|(name, x)| ((*name).to_owned(), ndarray::arr0(x).into_dyn())).collect()
}

#[test]
#[should_panic(expected = "hvp: directions `b`, `a` for variables `a`, `b`: each in its place")]
fn directions_by_name_in_another_order_are_refused() {
    let _ = ad::hvp(|x| x["a"].square() * x["b"], &named(["a", "b"], [1.0, 2.0]), &named(["b", "a"], [1.0, 0.0]));
}

#[test]
#[should_panic(expected = "jvp: directions `a`, `c` for variables `a`, `b`: each in its place")]
fn tangents_of_other_names_are_refused() {
    let tape = Tape::new();
    let tree = |names| -> indexmap::IndexMap<String, Var> {
        named(names, [1.0, 2.0]).into_iter().map(|(name, x)| (name.clone(), tape.input(&name, x))).collect()
    };
    let (x, v) = (tree(["a", "b"]), tree(["a", "c"]));
    let _ = (x["a"] * x["b"]).jvp(&x, &v);
}
