//! The inner loop, beside closed forms: trees, rules, rates of their own, first order. And natural gradients.

use ad::{Tape, Var};
use indexmap::{IndexMap, indexmap};
use ndarray::{Array2, ArrayD, arr1, array};
use rand::RngExt;
use rl::batch::Batch;
use rl::env::{Navigation, sample};
use rl::error::Error;
use rl::meta::{Inner, adapt};
use rl::objective::{Estimator, ImportanceSampling};
use rl::optim::{Rule, TapeOptimiser, add, conjugate_gradient, dot};
use rl::policy::Activation::Tanh;
use rl::policy::{self, Dist, Network, Numbers, Params, Policy, Table};
use rl::rollout::Space;
use rl::stream::stream;

fn tree(tape: &Tape) -> Params {
    indexmap! { "a".to_owned() => tape.input("a", arr1(&[0.3, -0.2])), "b".to_owned() => tape.input("b", 0.5) }
}

/// −½ (c |a|² + d b²) − a_0 b: a concave function, whose gradient is linear.
fn concave(theta: &Params) -> Var {
    let (a, b) = (theta["a"], theta["b"]);
    -(a.square().sum() * 2.0 + b.square() * 3.0) * 0.5 - a.at(0, 0) * b
}

#[test]
fn gradient_ascent_over_a_tree_is_its_recursion_and_differentiable() {
    let tape = Tape::new();
    let theta = tree(&tape);
    let points = adapt(&theta, Rule::sgd(0.1), 2, |_, theta| concave(theta));
    assert_eq!(points.len(), 3);
    let mut here = [0.3, -0.2, 0.5];
    for point in &points {
        let found = [point["a"].value()[[0]], point["a"].value()[[1]], point["b"].item()];
        for (found, here) in found.iter().zip(here) {
            assert!((found - here).abs() < 1e-15);
        }
        let [a0, a1, b] = here;
        here = [a0 + 0.1 * (-2.0 * a0 - b), a1 - 0.2 * a1, b + 0.1 * (-3.0 * b - a0)];
    }
    // The Jacobian of two steps is M², M = I + 0.1 H.
    let m = array![[0.8, 0.0, -0.1], [0.0, 0.8, 0.0], [-0.1, 0.0, 0.7]];
    let square = m.dot(&m);
    let gradient = points[2]["b"].grad(&theta);
    let found = [gradient["a"].value()[[0]], gradient["a"].value()[[1]], gradient["b"].item()];
    (0..3).for_each(|i| assert!((found[i] - square[[2, i]]).abs() < 1e-15));
}

#[test]
fn to_first_order_where_a_step_leads_moves_as_it_does() {
    let tape = Tape::new();
    let theta = tree(&tape);
    for rule in [Rule::sgd(0.1), Rule::adam(0.1)] {
        let objective = |_: usize, theta: &Params| concave(theta);
        let (points, first) =
            (adapt(&theta, rule, 3, objective), adapt(&theta, Inner::from(rule).first_order(), 3, objective));
        for (point, first) in points.iter().zip(&first) {
            assert_eq!(point["a"].value(), first["a"].value());
        }
        let gradient = (first[3]["a"].sum() + first[3]["b"] * 2.0).grad(&theta);
        assert_eq!(gradient["a"].value(), arr1(&[1.0, 1.0]).into_dyn());
        assert_eq!(gradient["b"].item(), 2.0);
        assert_ne!((points[3]["a"].sum() + points[3]["b"] * 2.0).grad(&theta)["b"].item(), 2.0);
    }
}

#[test]
fn each_parameter_may_have_its_own_rate_and_learn_it() {
    let tape = Tape::new();
    let theta = tree(&tape);
    let rates = [("a", tape.input("rate", arr1(&[0.1, 0.3]))), ("b", tape.input("rate", 0.2))];
    let rates: Params = rates.map(|(name, rate)| (name.to_owned(), rate)).into();
    let points = adapt(&theta, Inner::from(Rule::sgd(1.0)).rates(rates.clone()), 1, |_, theta| concave(theta));
    assert_eq!(points[1]["a"].value(), arr1(&[0.3 + 0.1 * (-0.6 - 0.5), -0.2 + 0.3 * 0.4]).into_dyn());
    // The derivative of where it leads by a rate is the gradient there.
    let by_rates = (points[1]["a"].sum() + points[1]["b"]).grad(&rates);
    let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-15, "{found}, not {expected}");
    close(by_rates["a"].value()[[0]], -1.1);
    close(by_rates["a"].value()[[1]], 0.4);
    close(by_rates["b"].item(), -1.8);
    // Adam's direction is multiplied likewise: after one step it is the sign, but for ε.
    let points = adapt(&theta, Inner::from(Rule::adam(1.0)).rates(rates), 1, |_, theta| concave(theta));
    assert!((points[1]["b"].item() - (0.5 - 0.2)).abs() < 1e-8);
    assert!((points[1]["a"].value()[[1]] - (-0.2 + 0.3)).abs() < 1e-7);
}

#[test]
fn a_rule_is_the_optimisers_rule() {
    let tape = Tape::new();
    let theta = tape.input("theta", arr1(&[0.5, -1.25, 2.0]));
    let loss = |x: Var| (x.sin() * x).sum();
    for rule in [Rule::sgd(0.05), Rule::adam(0.05)] {
        let mut optimiser = TapeOptimiser::new(rule);
        let mut here = theta;
        let points = adapt(&theta, rule, 4, |step, &theta| -loss(theta + step as f64 * 0.0));
        for point in &points[1..] {
            here = optimiser.step(here, loss(here).grad(here));
            assert_eq!(point.value(), here.value());
        }
        let (one, other) = (loss(points[4]).grad(theta).value(), loss(here).grad(theta).value());
        assert!((one - other).iter().all(|x| x.abs() < 1e-14));
    }
}

#[test]
#[should_panic(expected = "adapt: the rate is NaN")]
fn a_rate_that_is_none_is_refused() {
    let tape = Tape::new();
    let theta = tape.input("theta", 1.0);
    let _ = adapt(&theta, Rule::sgd(f64::NAN), 1, |_, &theta| theta);
}

#[test]
#[should_panic(
    expected = "adapt: the rates are not in the structure of what they are for: directions `b`, `a` for variables"
)]
fn rates_of_other_names_or_in_another_order_are_refused() {
    let tape = Tape::new();
    let theta = tree(&tape);
    let rates: Params = ["b", "a"].map(|name| (name.to_owned(), tape.input("rate", 0.1))).into_iter().collect();
    let _ = adapt(&theta, Inner::from(Rule::sgd(1.0)).rates(rates), 1, |_, theta| concave(theta));
}

// Natural gradients.

fn numbers(sizes: &[usize], seed: u64) -> Numbers {
    let rng = &mut stream(seed, 0);
    let leaf = |(i, &size): (usize, &usize)| {
        (format!("x{i}"), ArrayD::from_shape_simple_fn(vec![size], || rng.random_range(-1.0..1.0)))
    };
    sizes.iter().enumerate().map(leaf).collect()
}

#[test]
fn conjugate_gradients_solve_a_system_in_as_many_steps_as_it_has_unknowns() {
    let flat = |tree: &Numbers| -> ndarray::Array1<f64> { tree.values().flatten().copied().collect() };
    let rng = &mut stream(3, 0);
    let root = Array2::from_shape_simple_fn((5, 5), || rng.random_range(-1.0..1.0));
    let matrix = root.dot(&root.t()) + Array2::<f64>::eye(5) * 0.1;
    let b = numbers(&[2, 3], 4);
    let mut products = 0;
    let product = |v: &Numbers| {
        products += 1;
        let along = matrix.dot(&flat(v));
        Ok(indexmap! {
            "x0".to_owned() => along.slice(ndarray::s![..2]).to_owned().into_dyn(),
            "x1".to_owned() => along.slice(ndarray::s![2..]).to_owned().into_dyn(),
        })
    };
    let x = conjugate_gradient(product, &b, 50, 1e-12).unwrap();
    assert!(products <= 7, "{products}");
    let left = matrix.dot(&flat(&x)) - flat(&b);
    assert!(left.iter().all(|x| x.abs() < 1e-10), "{left}");
}

#[test]
fn trees_are_added_and_multiplied_leaf_by_leaf_of_the_same_name() {
    let (mut a, b) = (numbers(&[2, 2], 6), numbers(&[2, 2], 7));
    let renamed: Numbers = b.clone().into_iter().rev().collect();
    let before = a.clone();
    add(&mut a, 2.0, &b);
    assert_eq!(a["x1"], &before["x1"] + &(&b["x1"] * 2.0));
    let expected = (&a["x0"] * &b["x0"]).sum() + (&a["x1"] * &b["x1"]).sum();
    assert!((dot(&a, &b) - expected).abs() < 1e-15);
    // Whatever their order.
    assert!((dot(&a, &renamed) - expected).abs() < 1e-15);

    let tape = Tape::new();
    let theta = policy::record(&a, &tape);
    let same = policy::function(&tape, &theta, &theta);
    assert_eq!(same(&b).unwrap(), b);
    assert!(matches!(same(&renamed), Err(Error::Name { .. })));
    let reversed = |v: &Numbers| Ok(v.clone().into_iter().rev().collect());
    assert!(matches!(conjugate_gradient(reversed, &b, 5, 0.0), Err(Error::Name { .. })));
}

#[test]
fn what_is_no_system_for_conjugate_gradients_is_an_error() {
    let b = numbers(&[2], 5);
    let times = |factor: f64| move |v: &Numbers| Ok(v.iter().map(|(name, v)| (name.clone(), v * factor)).collect());
    assert!(matches!(conjugate_gradient(times(-1.0), &b, 5, 0.0), Err(Error::NotPositive(_))));
    assert!(matches!(conjugate_gradient(times(f64::NAN), &b, 5, 0.0), Err(Error::NotFinite { .. })));
    assert!(matches!(conjugate_gradient(|_| Ok(IndexMap::new()), &b, 5, 0.0), Err(Error::Shape { .. })));
    assert_eq!(dot(&conjugate_gradient(times(0.0), &b, 5, 0.0).unwrap(), &b), 0.0);
    assert_eq!(conjugate_gradient(times(1.0), &numbers(&[2], 5), 0, 0.0).unwrap()["x0"], array![0.0, 0.0].into_dyn());
}

#[test]
fn the_curvature_of_the_divergence_from_itself_is_the_fisher_information() {
    // Of a categorical policy in one state: diag(p) − p pᵀ.
    let tape = Tape::new();
    let logits = array![[0.3, -0.5, 0.9]];
    let table = Table { states: 1, actions: 3 };
    let (theta, v) = (policy::record(&Table::numbers(&logits), &tape), policy::record(&Table::numbers(&logits), &tape));
    let dist = table.along(&theta, tape.index("states", array![[0]]).into());
    let kl = dist.stop_gradient().kl(&dist).mean();
    let fisher = policy::function(&tape, &v, &kl.hvp(&theta, &v));
    let p = policy::softmax(&logits);
    let direction = array![[1.0, -2.0, 0.5]];
    let expected = &p * &direction - &p * (&p * &direction).sum();
    let found = &fisher(&Table::numbers(&direction)).unwrap()["logits"];
    assert!((found - &expected).iter().all(|x| x.abs() < 1e-15));
}

#[test]
fn a_natural_gradient_of_a_network_is_what_its_fisher_matrix_says() {
    let policy = Network::new(&Space::vector(2)).dense(4, Tanh).normal(2);
    let numbers = policy.init(&mut stream(6, 0));
    let rollout = sample(&Navigation::to([0.3, -0.2]), &policy, &numbers, 5, 40, 1).unwrap();
    let tape = Tape::new();
    let (theta, v) = (policy::record(&numbers, &tape), policy::record(&numbers, &tape));
    let episodes = rollout.record(&tape);
    let surrogate = ImportanceSampling.surrogate(&Batch::new(episodes, policy.log_prob(&theta, &episodes), 0.9));
    let gradient = policy::evaluate(&surrogate.grad(&theta));
    let dist = policy.along(&theta, episodes.acted_on());
    let kl = episodes.steps.on_steps(dist.stop_gradient().kl(&dist)).mean();
    let fisher = policy::function(&tape, &v, &kl.hvp(&theta, &v));
    // Damped, because directions that change nothing have no curvature.
    let damped = |v: &Numbers| -> rl::error::Result<Numbers> {
        let mut product = fisher(v)?;
        add(&mut product, 1e-3, v);
        Ok(product)
    };
    let natural = conjugate_gradient(damped, &gradient, 100, 1e-10).unwrap();
    let back = damped(&natural).unwrap();
    let size = dot(&gradient, &gradient).sqrt();
    let left: f64 = back.values().flatten().zip(gradient.values().flatten()).map(|(a, b)| (a - b).powi(2)).sum();
    assert!(left.sqrt() < 1e-9 * size && dot(&natural, &gradient) > 0.0, "{left}");
    // By scores: for means that differ by less than noise, gᵀFg is the mean square of the mean's change over σ².
    let Dist::Normal(normal) = dist else { panic!("a normal one") };
    let change = normal.mean().jvp(&theta, &v).value();
    let log_std = normal.log_std().jvp(&theta, &v).value();
    let expected = (change.mapv(|x| x * x).sum() + 2.0 * log_std.mapv(|x| x * x).sum()) / 200.0;
    let found = dot(&numbers, &fisher(&numbers).unwrap());
    assert!((found - expected).abs() < 1e-12 * expected, "{found}, not {expected}");
}
