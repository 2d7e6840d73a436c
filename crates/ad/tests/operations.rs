//! Every operation's derivatives, to order 3 and in both modes, against finite differences, over the shapes that hurt.

mod common;

use ad::{Modes, Tape, Var, check_gradients};
use common::Case;
use ndarray::{Array1, ArrayD, arr0, arr1, arr2};

/// Checks all, so that one failure does not hide another.
#[track_caller]
fn check(cases: Vec<Case>) {
    assert!(!cases.is_empty());
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let outcome = check_gradients(&case.f, &case.at, 3, Modes::Both);
            outcome.err().map(|problem| format!("{}: {problem}", case.name))
        })
        .collect();
    assert!(failures.is_empty(), "{} of {} fail:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn unary_operations_have_the_derivatives_of_finite_differences() {
    check(common::unary());
}

#[test]
fn powers_have_the_derivatives_of_finite_differences() {
    check(common::powers());
}

#[test]
fn binary_operations_broadcast_on_either_side_and_have_the_derivatives_of_finite_differences() {
    check(common::binary());
}

#[test]
fn comparisons_and_select_have_the_derivatives_of_finite_differences() {
    check(common::comparisons());
}

#[test]
fn movements_have_the_derivatives_of_finite_differences() {
    check(common::movements());
}

#[test]
fn convolutions_have_the_derivatives_of_finite_differences() {
    check(common::convolutions());
}

#[test]
fn reductions_over_any_axes_have_the_derivatives_of_finite_differences() {
    check(common::reductions());
}

#[test]
fn softmaxes_have_the_derivatives_of_finite_differences() {
    check(common::softmaxes());
}

#[test]
fn gather_scatter_and_pick_have_the_derivatives_of_finite_differences() {
    check(common::indexing());
}

#[test]
fn selections_along_an_axis_and_replaced_entries_have_the_derivatives_of_finite_differences() {
    check(common::selections());
}

#[test]
fn what_is_chosen_by_the_order_of_numbers_has_the_derivatives_of_finite_differences() {
    check(common::orders());
}

#[test]
fn matrix_products_have_the_derivatives_of_finite_differences() {
    check(common::products());
}

#[test]
fn linear_systems_have_the_derivatives_of_finite_differences() {
    check(common::systems());
}

#[test]
fn triangles_and_determinants_have_the_derivatives_of_finite_differences() {
    check(common::triangles());
}

#[test]
fn recurrences_have_the_derivatives_of_finite_differences() {
    check(common::recurrences());
}

#[test]
fn the_same_variable_twice_has_the_derivatives_of_finite_differences() {
    check(common::repeated_variables());
}

#[test]
fn numbers_and_arrays_may_stand_on_the_left() {
    let array = arr1(&[0.5, -1.5, 2.0]);
    let by_array = move |x: &[Var]| (&array + x[0]) * (&array - x[0]) * (array.clone() * x[0]) / (array.clone() / x[0]);
    let by_number = |x: &[Var]| (2.0 + x[0]) * (2.0 - x[0]) * (2.0 * x[0]) / (2.0 / x[0]);
    for at in [common::numbers(&[3], 0.5, 1.5), common::numbers(&[], 0.5, 1.5), common::numbers(&[2, 3], 0.5, 1.5)] {
        check_gradients(by_number, std::slice::from_ref(&at), 3, Modes::Both).unwrap();
        check_gradients(&by_array, &[at], 3, Modes::Both).unwrap();
    }
}

#[test]
fn check_gradients_fails_where_the_function_has_a_kink() {
    let at_the_kink = [arr0(0.0).into_dyn()];
    let problem = check_gradients(|x| x[0].abs() + x[0].max(0.0), &at_the_kink, 2, Modes::Reverse).unwrap_err();
    assert!(problem.contains("order 2") && problem.contains("input 0"), "{problem}");
}

#[test]
#[should_panic(expected = "dot: shapes [3] and [3, 1] differ (an inner product is one of equal shapes")]
fn an_inner_product_does_not_broadcast() {
    let tape = Tape::new();
    let _ = tape.input("a", arr1(&[1.0, 2.0, 3.0])).dot(tape.input("b", arr2(&[[1.0], [2.0], [3.0]])));
}

#[test]
#[should_panic(
    expected = "scan: a start of shape [3] for an array of shape [2, 4, 3] along axis 1 (needs [2, 3], or a scalar)"
)]
fn the_start_of_a_recurrence_does_not_broadcast() {
    let tape = Tape::new();
    let x = tape.input("x", ArrayD::<f64>::zeros(vec![2, 4, 3]));
    let _ = x.scan_from(0.9, tape.input("start", Array1::<f64>::zeros(3)), 1);
}

// stop_gradient and magic_box have derivatives that their values do not tell; finite differences of what they stand for do.

/// The derivatives of orders 0 to 4 of `f` at `x`, by each mode.
fn derivatives(f: impl Fn(Var) -> Var, x: &Array1<f64>) -> Vec<[ArrayD<f64>; 2]> {
    let tape = Tape::new();
    let x = tape.input("x", x);
    let mut by_reverse = f(x);
    let by_forward = |order| f(x).derivative(x, order);
    (0..5)
        .map(|order| {
            let reverse = by_reverse.value();
            by_reverse = by_reverse.jacobian_reverse(x);
            [reverse, by_forward(order).value()]
        })
        .collect()
}

#[track_caller]
fn assert_same_derivatives(f: impl Fn(Var) -> Var, g: impl Fn(Var) -> Var) {
    let x = arr1(&[0.3, -0.8]);
    for (order, (f, g)) in derivatives(f, &x).iter().zip(&derivatives(g, &x)).enumerate() {
        for mode in 0..2 {
            common::assert_close(&format!("order {order}, mode {mode}"), &f[mode], &g[mode], 1e-12);
        }
    }
}

#[test]
fn stop_gradient_differentiates_as_a_constant() {
    let constant = arr1(&[0.3_f64.sin(), (-0.8_f64).sin()]);
    assert_same_derivatives(|x| (x.sin().stop_gradient() * x.exp()).sum(), move |x| (&constant * x.exp()).sum());
}

#[test]
fn magic_box_differentiates_as_exp_of_x_minus_its_value() {
    let constant = arr1(&[0.3_f64.sin(), (-0.8_f64).sin()]);
    assert_same_derivatives(
        |x| (x.sin().magic_box() * x.exp()).sum().sin(),
        move |x| ((x.sin() - &constant).exp() * x.exp()).sum().sin(),
    );
}

#[test]
fn magic_box_is_one_whatever_its_argument() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[-1e300, 0.0, f64::INFINITY, f64::NAN]));
    assert_eq!(x.magic_box().value(), arr1(&[1.0; 4]).into_dyn());
    assert_eq!(tape.constant(3.0).magic_box().item(), 1.0);
}

#[test]
fn a_box_within_a_box_differentiates_as_exponentials_within_exponentials() {
    let sines = arr1(&[0.3_f64.sin(), (-0.8_f64).sin()]);
    assert_same_derivatives(
        |x| ((x.sin().magic_box() * x).magic_box() * x.cos()).sum(),
        move |x| {
            let inner = (x.sin() - &sines).exp() * x;
            // At the point itself the inner box is 1, and x is what is subtracted.
            ((inner - &arr1(&[0.3, -0.8])).exp() * x.cos()).sum()
        },
    );
}

#[test]
fn full_like_is_a_constant_whatever_the_array_holds() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[-1e300, f64::NEG_INFINITY, f64::NAN]));
    assert_eq!(x.full_like(0.0).value(), arr1(&[0.0; 3]).into_dyn());
    assert_eq!((x.full_like(2.5).sum() + 1.0).grad_or_zeros(x).value(), arr1(&[0.0; 3]).into_dyn());
}
