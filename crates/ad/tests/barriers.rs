//! What differentiation may see: MagicBox, stop-gradient, and limits on the order of a surrogate's derivatives.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use ad::{DerivativeLimit, Modes, Tape, Var, check_gradients, vmap};
use common::assert_close;
use ndarray::{ArrayD, arr0, arr1, arr2};

// MagicBox. For the objective J(θ) = r·□(l(θ)): J′ = r·l′, J″ = r·(l′² + l″), J‴ = r·(l′³ + 3·l′·l″ + l‴).

/// l = sin θ + θ², and its first three derivatives.
fn l(theta: f64) -> [f64; 4] {
    let (s, c) = theta.sin_cos();
    [s + theta * theta, c + 2.0 * theta, -s + 2.0, -c]
}

fn l_var(theta: Var) -> Var {
    theta.sin() + theta.square()
}

const R: f64 = 1.7;

fn boxed_derivatives(theta: f64) -> [f64; 4] {
    let [_, first, second, third] = l(theta);
    [R, R * first, R * (first.powi(2) + second), R * (first.powi(3) + 3.0 * first * second + third)]
}

/// The derivatives of orders 0 to 3 of a scalar function of a scalar, in each mode and mixed.
fn orders(f: impl Fn(Var) -> Var, theta: Var) -> Vec<Vec<Var>> {
    let one = theta.stop_gradient() * 0.0 + 1.0;
    let reverse = |x: Var| x.grad(theta);
    let forward = |x: Var| x.jvp(theta, one);
    let loss = f(theta);
    vec![
        vec![loss],
        vec![reverse(loss), forward(loss)],
        vec![reverse(reverse(loss)), forward(forward(loss)), reverse(forward(loss)), loss.hvp(theta, one)],
        vec![
            reverse(reverse(reverse(loss))),
            forward(forward(forward(loss))),
            forward(reverse(reverse(loss))),
            reverse(loss.hvp(theta, one)),
            loss.derivative(theta, 3),
        ],
    ]
}

/// Checks a function's derivatives where it was recorded and, replayed, elsewhere.
#[track_caller]
fn assert_derivatives(f: impl Fn(Var) -> Var, expected: impl Fn(f64) -> [f64; 4]) {
    let tape = Tape::new();
    let theta = tape.input("theta", 0.4);
    let orders = orders(f, theta);
    let program = tape.compile([theta], orders.iter().flatten().copied());
    for at in [0.4, -1.3, 2.0] {
        let results = program.run(&ad::values![at]).unwrap();
        let expected = expected(at);
        let which = orders.iter().enumerate().flat_map(|(order, vars)| vars.iter().map(move |_| order));
        for (order, result) in which.zip(&results) {
            assert_close(&format!("order {order} at {at}"), result, &arr0(expected[order]).into_dyn(), 1e-14);
        }
    }
}

#[test]
fn a_boxed_objective_has_the_derivatives_of_a_score_function_estimator_to_order_3() {
    assert_derivatives(|theta| R * l_var(theta).magic_box(), boxed_derivatives);
}

#[test]
fn a_boxed_objective_whose_reward_depends_on_the_parameter_has_the_product_rule_s_derivatives() {
    // J = e^θ·□(l): (r·L)′ with r = e^θ, all of whose derivatives are r.
    assert_derivatives(
        |theta| theta.exp() * l_var(theta).magic_box(),
        |theta| {
            let [_, a, b, c] = boxed_derivatives(theta).map(|x| x / R);
            [1.0, 1.0 + a, 1.0 + 2.0 * a + b, 1.0 + 3.0 * a + 3.0 * b + c].map(|x| x * theta.exp())
        },
    );
}

#[test]
fn stop_gradient_is_a_constant_that_follows_the_inputs() {
    // stop(sin θ)·e^θ: every derivative is sin θ·e^θ, at the θ of the run.
    assert_derivatives(|theta| theta.sin().stop_gradient() * theta.exp(), |theta| [theta.sin() * theta.exp(); 4]);
}

#[test]
fn the_exponential_form_of_the_box_has_the_same_derivatives() {
    assert_derivatives(|theta| R * (l_var(theta) - l_var(theta).stop_gradient()).exp(), boxed_derivatives);
}

#[test]
fn an_inner_update_by_a_boxed_objective_is_differentiated_and_follows_the_inputs() {
    // θ′ = θ + α·J′(θ), differentiated through: φ = θ′³.
    const ALPHA: f64 = 0.1;
    let derivatives = |theta: f64| {
        let [_, first, second, third] = boxed_derivatives(theta);
        let [_, l1, l2, l3] = l(theta);
        let l4 = theta.sin();
        let fourth = R * (l1.powi(4) + 6.0 * l1 * l1 * l2 + 3.0 * l2 * l2 + 4.0 * l1 * l3 + l4);
        let (u, du, ddu, dddu) = (theta + ALPHA * first, 1.0 + ALPHA * second, ALPHA * third, ALPHA * fourth);
        [
            u.powi(3),
            3.0 * u * u * du,
            6.0 * u * du * du + 3.0 * u * u * ddu,
            6.0 * du.powi(3) + 18.0 * u * du * ddu + 3.0 * u * u * dddu,
        ]
    };
    let inner = |theta: Var| R * l_var(theta).magic_box();
    assert_derivatives(|theta| (theta + ALPHA * inner(theta).grad(theta)).powf(3.0), derivatives);
    assert_derivatives(|theta| (theta + ALPHA * ad::grad(inner, theta)).powf(3.0), derivatives);
}

#[test]
fn an_inner_update_by_a_stopped_gradient_is_a_shift_that_follows_the_inputs() {
    let shifted = |theta: Var| (theta + l_var(theta).grad(theta).stop_gradient()).powf(3.0);
    assert_derivatives(shifted, |theta| {
        let u = theta + l(theta)[1];
        [u.powi(3), 3.0 * u * u, 6.0 * u, 6.0]
    });
}

#[test]
fn nothing_of_a_box_is_left_when_it_runs() {
    let tape = Tape::new();
    let theta = tape.input("theta", arr1(&[0.2, 0.9]));
    let loss = (theta.sin().magic_box() * theta.cos().stop_gradient()).sum();
    let text = tape.compile([theta], [loss, loss.hvp(theta, theta)]).to_string();
    assert!(!text.contains("stop_gradient") && !text.contains("alias"), "{text}");
}

#[test]
fn check_gradients_sees_through_what_finite_differences_cannot() {
    // A function with a stop-gradient is not what its values say, and the check says so.
    let at = [arr0(0.5).into_dyn()];
    let problem = check_gradients(|x| x[0].stop_gradient() * x[0], &at, 1, Modes::Both).unwrap_err();
    assert!(problem.contains("order 1, reverse mode"), "{problem}");
    let constant = check_gradients(|x| x[0].stop_gradient() * 0.0 + 2.0, &at, 2, Modes::Both);
    assert_eq!(constant, Ok(()));
}

// A detached inner gradient.

fn refusal(f: impl FnOnce() -> Var) -> String {
    let outcome = catch_unwind(AssertUnwindSafe(f));
    let payload = outcome.expect_err("it should have been refused");
    payload.downcast_ref::<String>().expect("a message").clone()
}

#[test]
fn an_hvp_of_a_detached_gradient_is_refused_and_not_zero() {
    let tape = Tape::new();
    let theta = tape.input("theta", arr1(&[0.2, 0.9]));
    let loss = theta.sin().sum();
    let detached = loss.grad(theta).stop_gradient();
    for message in [
        refusal(|| detached.jvp(theta, theta)),
        refusal(|| detached.dot(theta.stop_gradient()).grad(theta)),
        refusal(|| detached.jacobian(theta)),
        refusal(|| detached.jacobian_reverse(theta)),
        refusal(|| detached.sum().hvp(theta, theta)),
    ] {
        assert!(message.contains("only through `stop_gradient`"), "{message}");
    }
}

// Limits. A surrogate Σ log π·A has the right gradient and a wrong Hessian; it is linear in its log-probabilities.

const ADVICE: &str = "use a surrogate that claims more";

fn limited(limit: &DerivativeLimit, theta: Var) -> Var {
    limit.apply((theta.log_softmax() * arr1(&[1.0, -2.0])).sum())
}

/// The same numbers by a surrogate without a limit.
fn unlimited(theta: Var) -> Var {
    (theta.log_softmax() * arr1(&[1.0, -2.0])).sum()
}

/// Ways to ask for a derivative of some order of an objective at θ.
type Way = (&'static str, usize, fn(&dyn Fn(Var) -> Var, Var) -> Var);

const WAYS: [Way; 16] = [
    ("grad", 1, |f, theta| f(theta).grad(theta)),
    ("jvp", 1, |f, theta| f(theta).jvp(theta, direction(theta))),
    ("jacobian", 1, |f, theta| f(theta).jacobian(theta)),
    ("grad of grad", 2, |f, theta| f(theta).grad(theta).dot(direction(theta)).grad(theta)),
    ("hvp", 2, |f, theta| f(theta).hvp(theta, direction(theta))),
    ("hessian", 2, |f, theta| f(theta).hessian(theta)),
    ("jvp of jvp", 2, |f, theta| f(theta).jvp(theta, direction(theta)).jvp(theta, direction(theta))),
    ("grad of jvp", 2, |f, theta| f(theta).jvp(theta, direction(theta)).grad(theta)),
    ("derivative 2", 2, |f, theta| f(theta).derivative(theta, 2)),
    ("inner update", 2, |f, theta| (theta + f(theta).grad(theta) * 0.1).exp().sum().grad(theta)),
    ("inner update by closures", 2, |f, theta| ad::grad(|theta| (theta + ad::grad(f, theta) * 0.1).exp().sum(), theta)),
    ("hessian under vmap", 2, |f, theta| vmap(|theta| f(theta).hessian(theta), Var::stack(&[theta, theta], 0))),
    ("gradient of mapped gradients", 2, |f, theta| {
        let batch = Var::stack(&[theta, theta], 0);
        vmap(|theta| f(theta).grad(theta), batch).square().sum().grad(theta)
    }),
    ("derivative 3", 3, |f, theta| f(theta).derivative(theta, 3)),
    ("grad of hvp", 3, |f, theta| f(theta).hvp(theta, direction(theta)).sum().grad(theta)),
    ("inner update by an hvp", 3, |f, theta| {
        (theta + f(theta).hvp(theta, direction(theta)) * 0.1).exp().sum().grad(theta)
    }),
];

fn direction(theta: Var) -> Var {
    (theta * 0.0 + arr1(&[1.0, -0.5])).stop_gradient()
}

#[test]
fn a_limit_allows_its_order_and_refuses_the_next_however_it_is_asked() {
    for order in 1..=3 {
        for (way, asked, derivative) in WAYS {
            let tape = Tape::new();
            let theta = tape.input("theta", arr1(&[0.3, -0.2]));
            let limit = DerivativeLimit::new("my surrogate", order, ADVICE);
            if asked <= order {
                // And it changes no number.
                let numbers = derivative(&|theta| limited(&limit, theta), theta).value();
                assert_eq!(numbers, derivative(&unlimited, theta).value(), "{way}, limit {order}");
            } else {
                let message = refusal(|| derivative(&|theta| limited(&limit, theta), theta));
                for words in ["my surrogate", &format!("only up to order {order}"), ADVICE, "barriers.rs"] {
                    assert!(message.contains(words), "{way}, limit {order}: {message}");
                }
            }
        }
    }
}

#[test]
fn a_limit_of_order_0_refuses_even_the_gradient() {
    let tape = Tape::new();
    let theta = tape.input("theta", arr1(&[0.3, -0.2]));
    let limit = DerivativeLimit::new("a value", 0, ADVICE);
    let loss = limited(&limit, theta);
    assert_eq!(loss.value(), unlimited(theta).value());
    assert!(refusal(|| loss.grad(theta)).contains("a value: a derivative of order 1"));
}

#[test]
fn a_limit_holds_for_surrogates_that_are_part_of_a_loss() {
    for (way, asked, derivative) in WAYS {
        let tape = Tape::new();
        let theta = tape.input("theta", arr1(&[0.3, -0.2]));
        let limit = DerivativeLimit::new("my surrogate", 1, ADVICE);
        let loss = |theta: Var| theta.square().sum() * 0.5 + limited(&limit, theta) * 3.0 - theta.sin().mean();
        if asked > 1 {
            assert!(refusal(|| derivative(&loss, theta)).contains("my surrogate"), "{way}");
        }
        let squared = |theta: Var| limited(&limit, theta).square();
        if asked > 1 {
            assert!(refusal(|| derivative(&squared, theta)).contains("my surrogate"), "{way}, squared");
        }
    }
}

#[test]
fn a_mixed_second_derivative_is_one_of_second_order() {
    let tape = Tape::new();
    let (a, b) = (tape.input("a", arr1(&[0.3, -0.2])), tape.input("b", arr1(&[0.1, 0.7])));
    let limit = DerivativeLimit::new("my surrogate", 1, ADVICE);
    let surrogate = limit.apply((a.sin() * b.exp()).sum());
    assert!(refusal(|| surrogate.grad(a).sum().grad(b)).contains("my surrogate"));
    assert!(refusal(|| surrogate.hvp([a, b], [a, b])[0]).contains("my surrogate"));
}

#[test]
fn a_gradient_used_as_data_is_a_first_derivative() {
    let tape = Tape::new();
    let theta = tape.input("theta", arr1(&[0.3, -0.2]));
    let phi = tape.input("phi", arr1(&[1.0, 2.0]));
    let limit = DerivativeLimit::new("my surrogate", 1, ADVICE);
    let g = limited(&limit, theta).grad(theta);
    let plain = unlimited(theta).grad(theta);
    // g·φ by φ, to any order; and a nonlinear function of both.
    assert_eq!(g.dot(phi.square()).grad(phi).value(), plain.dot(phi.square()).grad(phi).value());
    assert_eq!((g * phi).exp().sum().hessian(phi).value(), (plain * phi).exp().sum().hessian(phi).value());
    // θ′ = θ + αg, differentiated by θ′ only.
    let adapted = theta + g * 0.1;
    let expected = (theta + plain * 0.1).value().mapv(f64::cos);
    assert_close("by the adapted", &adapted.sin().sum().grad(adapted).value(), &expected, 1e-15);
    assert_eq!(adapted.sin().sum().hessian(adapted).value().shape(), [2, 2]);
    // First-order MAML: the gradient is stopped.
    let stopped = (theta + g.stop_gradient() * 0.1).sin().sum();
    assert_close("first-order MAML", &stopped.grad(theta).value(), &expected, 1e-15);
    assert_eq!(stopped.hessian(theta).value().shape(), [2, 2]);
    // As a cotangent, or a direction, of something else.
    assert_eq!(theta.sin().vjp(theta, g).value(), (theta.cos() * plain).value());
    assert_eq!(theta.sin().jvp(theta, g).value(), (theta.cos() * plain).value());
}

#[test]
fn a_regulariser_beside_a_limited_surrogate_may_be_differentiated_freely_on_its_own() {
    let tape = Tape::new();
    let theta = tape.input("theta", arr1(&[0.3, -0.2]));
    let limit = DerivativeLimit::new("my surrogate", 1, ADVICE);
    let regulariser = theta.exp().sum();
    let loss = limited(&limit, theta) + regulariser;
    let gradient = loss.grad(theta);
    assert_eq!(regulariser.hessian(theta).value(), arr2(&[[0.3_f64.exp(), 0.0], [0.0, (-0.2_f64).exp()]]).into_dyn());
    let plain = (unlimited(theta) + theta.exp().sum()).grad(theta);
    assert_close("both", &gradient.value(), &plain.value(), 1e-15);
}

#[test]
fn another_parameter_of_a_limited_surrogate_counts_as_much_as_the_first() {
    let tape = Tape::new();
    let (theta, phi) = (tape.input("theta", arr1(&[0.3, -0.2])), tape.input("phi", 0.4));
    let limit = DerivativeLimit::new("my surrogate", 1, ADVICE);
    let surrogate = limit.apply((theta.log_softmax() * phi.sin()).sum());
    // Each alone is a first derivative.
    let [by_theta, by_phi] = surrogate.grad([theta, phi]);
    assert_eq!(by_theta.shape().as_slice(), [2]);
    assert_eq!(by_phi.shape().as_slice(), [0; 0]);
    assert!(refusal(|| by_phi.grad(theta)).contains("my surrogate"));
    assert!(refusal(|| by_phi.grad(phi)).contains("my surrogate"));
}

#[test]
fn two_surrogates_have_limits_of_their_own() {
    let tape = Tape::new();
    let theta = tape.input("theta", arr1(&[0.3, -0.2]));
    let (inner, outer) = (DerivativeLimit::new("inner", 2, ADVICE), DerivativeLimit::new("outer", 1, ADVICE));
    let adapted = theta + limited(&inner, theta).grad(theta) * 0.1;
    let meta = limited(&outer, adapted);
    let expected = unlimited(theta + unlimited(theta).grad(theta) * 0.1).grad(theta);
    assert_close("MAML", &meta.grad(theta).value(), &expected.value(), 1e-15);
    assert!(refusal(|| meta.hessian(theta)).contains("outer"));
    // With the inner one too weak, it is named.
    let weak = DerivativeLimit::new("weak", 1, ADVICE);
    let adapted = theta + limited(&weak, theta).grad(theta) * 0.1;
    let message = refusal(|| limited(&outer, adapted).grad(theta));
    assert!(message.contains("weak") && !message.contains("outer"), "{message}");
}

#[test]
fn one_limit_may_serve_each_of_several_inner_steps() {
    for separate in [false, true] {
        let tape = Tape::new();
        let theta = tape.input("theta", arr1(&[0.3, -0.2]));
        let shared = DerivativeLimit::new("inner 2", 2, ADVICE);
        let steps = |limit: Option<&DerivativeLimit>| {
            (0..3).fold(theta, |at, _| {
                let fresh = DerivativeLimit::new("inner 2", 2, ADVICE);
                let surrogate = match limit {
                    Some(limit) => limited(if separate { &fresh } else { limit }, at),
                    None => unlimited(at),
                };
                at + surrogate.grad(at) * 0.1
            })
        };
        let (adapted, plain) = (steps(Some(&shared)), steps(None));
        assert_eq!(adapted.value(), plain.value());
        let outer = DerivativeLimit::new("outer", 1, ADVICE);
        let meta = limited(&outer, adapted).grad(theta);
        assert_close("three steps", &meta.value(), &unlimited(plain).grad(theta).value(), 1e-14);
        // One order of the inner surrogate more than claimed.
        let message = refusal(|| adapted.exp().sum().hessian(theta));
        assert!(message.contains("inner 2: a derivative of order 3"), "{message}");
    }
}

#[test]
fn inner_steps_within_an_order_1_limit_never_refuse_each_other() {
    // Each step differentiates its own surrogate once, by the parameters it starts from, for one limit or for several.
    let tape = Tape::new();
    let theta = tape.input("theta", arr1(&[0.3, -0.2]));
    let limit = DerivativeLimit::new("my surrogate", 1, ADVICE);
    let adapted = (0..3).fold(theta, |at, _| at + limited(&limit, at).grad(at) * 0.1);
    let plain = (0..3).fold(theta, |at, _| at + unlimited(at).grad(at) * 0.1);
    assert_eq!(adapted.value(), plain.value());
    let stopped = (0..3).fold(theta, |at, _| at + limited(&limit, at).grad(at).stop_gradient() * 0.1);
    assert_close(
        "stopped",
        &limited(&limit, stopped).grad(theta).value(),
        &unlimited(plain).grad(plain).value(),
        1e-15,
    );
}

#[test]
fn a_limit_passes_through_programs_and_maps_without_a_trace() {
    let tape = Tape::new();
    let batch = tape.input("thetas", arr2(&[[0.3, -0.2], [0.1, 0.9], [-1.0, 0.4]]));
    let limit = DerivativeLimit::new("my surrogate", 1, ADVICE);
    let mapped = vmap(|theta| limited(&limit, theta).grad(theta), batch);
    let plain: ArrayD<f64> = vmap(|theta| unlimited(theta).grad(theta), batch).value();
    let program = tape.compile([batch], [mapped]);
    assert_eq!(program.run(&ad::values![batch.value()]).unwrap()[0], plain);
    assert!(!program.to_string().contains("limit"), "{program}");
}
