//! What somebody types who comes from JAX, PyTorch or NumPy: each of these spellings compiles, and gives what it says. What does not
//! compile is at the end of `docs/coming_from.md`, with what to write instead.

use std::collections::BTreeMap;

use ad::prelude::*;
use ad::{evaluate, grad_or_zeros, tree, vmap_many};
use indexmap::IndexMap;

#[track_caller]
fn gives(x: impl Into<Var>, expected: &[f64]) {
    let value = x.into().value();
    let close = |(x, y): (&f64, &f64)| (x - y).abs() <= 1e-12 * (1.0 + y.abs()) || x == y;
    assert!(value.len() == expected.len() && value.iter().zip(expected).all(close), "{value}, not {expected:?}");
}

#[test]
fn inputs_are_made_of_what_is_at_hand() {
    let tape = Tape::new();
    let array = array![1.0, 2.0, 3.0];
    gives(tape.input("x", vec![1.0, 2.0]), &[1.0, 2.0]);
    gives(tape.input("x", [1.0, 2.0]), &[1.0, 2.0]);
    gives(tape.input("x", [1.0, 2.0]), &[1.0, 2.0]);
    gives(tape.input("x", vec![1.0, 2.0]), &[1.0, 2.0]);
    gives(tape.input("x", &vec![1.0, 2.0][..]), &[1.0, 2.0]);
    gives(tape.input("x", 2.0), &[2.0]);
    gives(tape.input("x", &array), &[1.0, 2.0, 3.0]);
    gives(tape.input("x", array.view()), &[1.0, 2.0, 3.0]);
    gives(tape.input("x", array.slice(ndarray::s![1..])), &[2.0, 3.0]);
    gives(tape.input("x", array.slice(ndarray::s![..;-1])), &[3.0, 2.0, 1.0]);
    gives(tape.zeros(&[2]) + tape.ones(&[2]) * tape.full(&[2], 3.0), &[3.0, 3.0]);
    let x = tape.input("x", array);
    gives(x.gather(tape.index("i", vec![2_usize, 0])), &[3.0, 1.0]);
    gives(x.gather(tape.constant_index([1_usize])), &[2.0]);
}

#[test]
fn arithmetic_is_as_with_numbers() {
    let tape = Tape::new();
    let x = tape.input("x", [1.0, -2.0]);
    let y = &x;
    gives(x * 2, &[2.0, -4.0]);
    gives(2 * x, &[2.0, -4.0]);
    gives(2.0 * x + 1.0, &[3.0, -3.0]);
    gives((1.0 - x).square(), &[0.0, 9.0]);
    gives(y * y - y, &[0.0, 6.0]);
    gives(-y + 1.0 / y, &[0.0, 1.5]);
    gives(x + array![1.0, 1.0], &[2.0, -1.0]);
    gives(array![1.0, 1.0] - x, &[0.0, 3.0]);
    let mut z = x;
    z += 1.0;
    z *= x;
    z -= y;
    z /= 2;
    gives(z, &[0.5, 2.0]);
    gives([x, x, x].into_iter().sum::<Var>(), &[3.0, -6.0]);
    gives([x, x, x].iter().sum::<Var>(), &[3.0, -6.0]);
    gives([x, x, x].iter().product::<Var>(), &[1.0, -8.0]);
    gives(x.powi(3) + x.powf(2.0) + x.square(), &[3.0, 0.0]);
    gives(x.relu(), &[1.0, 0.0]);
    gives(x.relu().sum().grad(x), &[1.0, 0.0]);
    gives(x.abs().log(), &[0.0, std::f64::consts::LN_2]);
    gives(x.recip(), &[1.0, -0.5]);
    gives(x.norm(), &[5.0_f64.sqrt()]);
    gives(x.std(), &[1.5]);
    gives(x.variance(), &[2.25]);
    gives(x.zeros_like() + x.ones_like(), &[1.0, 1.0]);
    gives(x.flip(0), &[-2.0, 1.0]);
    gives(x.sort(0), &[-2.0, 1.0]);
    assert_eq!(x.insert_axis(0).squeeze(0).shape()[..], [2]);
    gives(x.gather(x.argsort(0)), &[-2.0, 1.0]);
    gives(x.gather(x.argmax(0)), &[1.0]);
    gives(x.gather(x.argmin(0)), &[-2.0]);
    gives(x.min_axes(&[0]), &[-2.0]);
    gives(ad::einsum("i,j->ij", &[x, x]), &[1.0, -2.0, -2.0, 4.0]);
    assert_eq!(x.to_string(), "[1, -2]");
    assert_eq!(format!("{:.2}", x.sum()), "-1.00");
    let inside = vmap(
        |x| {
            assert!(x.to_string().contains("no number is known"));
            x
        },
        x,
    );
    gives(inside, &[1.0, -2.0]);
}

#[test]
#[should_panic(expected = "squeeze: axis 1 of shape [1, 2] is no axis of length 1")]
fn an_axis_of_more_than_one_is_not_squeezed() {
    let _ = Tape::new().ones(&[1, 2]).squeeze(1);
}

#[test]
#[should_panic(expected = "sum: of no Vars")]
fn a_sum_of_nothing_is_refused() {
    let _ = std::iter::empty::<Var>().sum::<Var>();
}

#[test]
fn derivatives_are_asked_for_by_any_structure_and_come_back_in_it() {
    let tape = Tape::new();
    let (x, y) = (tape.input("x", 3.0), tape.input("y", 4.0));
    let loss = x * x * y;
    let (by_x, by_y) = loss.grad((x, y));
    gives(by_x, &[24.0]);
    gives(by_y, &[9.0]);
    let [by_x, _] = loss.grad([x, y]);
    gives(by_x, &[24.0]);
    let [_, by_y] = loss.grad(&[x, y]);
    gives(by_y, &[9.0]);
    gives(loss.grad(vec![x, y])[1], &[9.0]);
    gives(loss.grad(&vec![x, y])[1], &[9.0]);
    gives(loss.grad(&[x, y][..])[1], &[9.0]);
    gives(loss.grad(IndexMap::from([("x", x), ("y", y)]))["y"], &[9.0]);
    gives(loss.grad(&IndexMap::from([("x".to_owned(), x)]))["x"], &[24.0]);
    gives(loss.grad(BTreeMap::from([("x", x), ("y", y)]))["x"], &[24.0]);
    let layers = IndexMap::from([("first", vec![(x, y)]), ("second", vec![])]);
    gives(loss.grad(&layers)["first"][0].1, &[9.0]);
    assert_eq!(layers.names(), ["first/0/0", "first/0/1"]);
    let ((by_x, _, _), by_y) = loss.grad_or_zeros(((x, x * 2.0, x), y));
    gives(by_x, &[24.0]);
    gives(by_y, &[9.0]);
    // A direction may be a gradient, by value, where the variables are lent.
    let named = IndexMap::from([("x", x), ("y", y)]);
    let gradient = loss.grad(&named);
    gives(loss.hvp(&named, &gradient)["x"], &[2.0 * 4.0 * 24.0 + 6.0 * 9.0]);
    gives(loss.hvp(&named, gradient)["y"], &[6.0 * 24.0]);
    gives(loss.jvp((x, y), [x.ones_like(), y.ones_like()]), &[33.0]);

    let unrelated = tape.input("z", [1.0, 2.0]);
    gives(loss.hvp_or_zeros((x, unrelated), (x, unrelated)).1, &[0.0, 0.0]);
    gives(loss.vjp_or_zeros((x, unrelated), loss.ones_like()).1, &[0.0, 0.0]);
    gives(loss.jvp_or_zeros(unrelated, unrelated), &[0.0]);
    gives(loss.hessian_or_zeros(unrelated), &[0.0; 4]);
    gives(loss.jacobian_or_zeros(unrelated), &[0.0, 0.0]);
}

#[test]
fn functions_are_differentiated_at_any_structure() {
    let (x, y) = (array![1.0, 2.0], array![3.0, 4.0]);
    let product = |[x, y]: [Var; 2]| (x * y).sum();
    assert_eq!(ad::grad(product, [&x, &y]), [y.clone(), x.clone()]);
    let (by_x, by_y, by_c) = ad::grad(|(x, y, c): (Var, Var, Var)| (x * y).sum() * c, (&x, &y, 2.0));
    assert_eq!((by_x, by_y, by_c), (&y * 2.0, &x * 2.0, 11.0));
    let named = IndexMap::from([("x", x.clone().into_dyn()), ("y", y.clone().into_dyn())]);
    assert_eq!(ad::grad(|p: IndexMap<&str, Var>| (p["x"] * p["y"]).sum(), &named)["x"], y.clone().into_dyn());
    assert_eq!(grad_or_zeros(|(x, _): (Var, Var)| x.sum(), (&x, &y)).1, array![0.0, 0.0]);
    let (value, (_, by_y)) = ad::value_and_grad_or_zeros(|(x, _): (Var, Var)| x.sum(), (&x, &y));
    assert_eq!((value, by_y), (3.0, array![0.0, 0.0]));
    assert_eq!(ad::hvp_or_zeros(|(x, _): (Var, Var)| x.square().sum(), (&x, &y), (&x, &y)).0, &x * 2.0);
    assert_eq!(ad::vjp_or_zeros(|(x, _): (Var, Var)| x, (&x, &y), |u| u.ones_like()).1.1, array![0.0, 0.0]);
    assert_eq!(ad::jvp_or_zeros(|x: Var| x.ones_like(), &x, &y).1, array![0.0, 0.0].into_dyn());
    assert_eq!(ad::jacobian_or_zeros(|x: Var| x.ones_like(), &x), array![[0.0, 0.0], [0.0, 0.0]].into_dyn());
    assert_eq!(ad::hessian_or_zeros(|x: Var| x.ones_like().sum(), &x), array![[0.0, 0.0], [0.0, 0.0]].into_dyn());
}

#[test]
fn programs_are_compiled_of_lists_of_any_kind_and_can_be_cloned() {
    let tape = Tape::new();
    let (x, i) = (tape.input("x", [1.0, 2.0, 3.0]), tape.index("i", [0, 2]));
    let loss = x.gather(i).square().sum();
    let outputs = [loss, loss.grad(x)];
    let program = tape.compile(handles![x, i], outputs);
    let given: &Array1<f64> = &array![1.0, 5.0, 2.0];
    let run = |program: &Program| program.run(&values![given, [2, 2]]).unwrap()[0].sum();
    assert_eq!(run(&program), 8.0);
    let other = program.clone();
    drop(program);
    assert_eq!(
        std::thread::spawn(move || other.run(&values![vec![1.0, 5.0, 2.0], [1, 1]]).unwrap()[0].sum()).join().unwrap(),
        50.0
    );
    assert_eq!(tape.compile([x], [loss]).run(&values![given]).unwrap()[0].sum(), 5.0);
    assert_eq!(tape.compile(vec![x], vec![loss]).run(&values![given]).unwrap()[0].sum(), 5.0);
    assert_eq!(tape.compile([&x], [&loss]).run(&values![given]).unwrap()[0].sum(), 5.0);
    assert_eq!(tape.compile(handles![], [loss]).run(&[]).unwrap()[0].sum(), 10.0);
    gives(vmap_many(|x| x[0].var() * x[1].var(), [x, x]), &[1.0, 4.0, 9.0]);
    gives(vmap_many(|x| x[0].var() * x[1].var(), [x, x]), &[1.0, 4.0, 9.0]);
    let pair = tape.input("m", array![[1.0, 2.0], [3.0, 4.0]]);
    let columns = tape.constant_index([1, 0]);
    gives(vmap_many(|one| one[0].var().gather(one[1].index()), handles![pair, columns]), &[2.0, 3.0]);
    gives(pair.gather([columns, columns]), &[4.0, 1.0]);
    assert_eq!(evaluate(&[x.sum(), x.mean()])[1].sum(), 2.0);
}

#[test]
fn trees_have_arithmetic_and_a_natural_gradient_is_a_line() {
    let tape = Tape::new();
    let theta = IndexMap::from([("w", tape.input("w", [0.5, -1.0])), ("b", tape.input("b", 2.0))]);
    let loss = theta["w"].square().sum().exp() + (theta["b"] * theta["w"].sum()).sin() + theta["b"].square() * 3.0;
    let gradient = loss.grad(&theta);
    gives(tree::dot(&gradient, &gradient) - tree::norm(&gradient).square(), &[0.0]);
    let halved = tree::map(&theta, |x| x * 0.5);
    gives(tree::norm(tree::axpy(-2.0, halved, &theta)), &[0.0]);
    let newton = tree::conjugate_gradient(|v| loss.hvp(&theta, v), gradient.clone(), 30, 1e-14);
    gives(tree::norm(tree::axpy(-1.0, &gradient, loss.hvp(&theta, &newton))), &[0.0]);
    // Its derivative is that of H⁻¹ g: for ½ c x², of x, by c, 0; and as many steps as are allowed.
    let (x, c) = (tape.input("x", [1.0, 2.0]), tape.input("c", 3.0));
    let quadratic = (x.square() * array![0.5, 1.0]).sum() * c;
    let step = |iterations| tree::conjugate_gradient(|v| quadratic.hvp(x, v), quadratic.grad(x), iterations, 1e-12);
    gives(step(2), &[1.0, 2.0]);
    gives(step(2).sum().grad(c), &[0.0]);
    gives(step(9), &[1.0, 2.0]);
    assert!((step(1).value()[0] - 1.0).abs() > 0.1);
    gives(tree::conjugate_gradient(|v: Var| v * 2.0, x.zeros_like(), 3, 1e-10), &[0.0, 0.0]);
}

#[test]
#[should_panic(expected = "axpy: trees of different structures: parts `a` for variables `b`")]
fn trees_of_different_structures_are_refused() {
    let tape = Tape::new();
    let x = tape.input("x", 1.0);
    let _ = tree::axpy(1.0, IndexMap::from([("a", x)]), IndexMap::from([("b", x)]));
}
