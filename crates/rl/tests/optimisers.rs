//! SGD and Adam: known numbers, on the tape as off it, derivatives through steps, and resuming to the bit.

use ad::{Modes, Tape, Var, check_gradients};
use ndarray::{Array1, Array2, ArrayD, arr1, arr2, array};
use rl::error::Error;
use rl::optim::{Optimiser, Rule, TapeOptimiser};
use rl::policy::Numbers;

const RULES: [Rule; 3] =
    [Rule::sgd(0.1), Rule::adam(0.1), Rule::Adam { rate: 0.05, beta1: 0.8, beta2: 0.9, epsilon: 1e-3 }];

/// A loss that is neither quadratic nor separable.
fn loss(x: Var) -> Var {
    ((x * x * 0.5 + x.sin()).sum() + x.sum().square() * 0.1).exp() * 0.01 + x.square().sum()
}

fn gradient(x: &Array1<f64>) -> Array1<f64> {
    let dimension = x.raw_dim();
    ad::grad(loss, x).into_shape_with_order(dimension).unwrap()
}

#[test]
fn the_first_steps_of_adam_are_those_worked_out_by_hand() {
    // Step 1: m̂ = g, v̂ = g². Step 2: m = .09 g₁ + .1 g₂ over 1 − .81; v = .000999 g₁² + .001 g₂² over 1 − .998001.
    let mut x = arr1(&[1.0, 2.0]);
    let mut adam = Optimiser::new(Rule::adam(0.1));
    adam.step(&mut x, &arr1(&[3.0, -0.5])).unwrap();
    approx::assert_abs_diff_eq!(x[0], 1.0 - 0.1 * 3.0 / (3.0 + 1e-8), epsilon = 1e-15);
    approx::assert_abs_diff_eq!(x[1], 2.0 + 0.1 * 0.5 / (0.5 + 1e-8), epsilon = 1e-15);
    let before = x[0];
    adam.step(&mut x, &arr1(&[1.0, 0.0])).unwrap();
    let mean = (0.09 * 3.0 + 0.1 * 1.0) / 0.19;
    let square: f64 = (0.000999 * 9.0 + 0.001 * 1.0) / 0.001999;
    approx::assert_abs_diff_eq!(x[0], before - 0.1 * mean / (square.sqrt() + 1e-8), epsilon = 1e-13);
    assert_eq!(adam.steps(), 2);
}

#[test]
fn on_the_tape_as_off_it() {
    for rule in RULES {
        let start = arr1(&[0.4, -0.3, 0.8]);
        let mut plain = start.clone();
        let mut optimiser = Optimiser::new(rule);
        let tape = Tape::new();
        let mut recorded = tape.input("x", &start);
        let mut on_tape = TapeOptimiser::new(rule);
        for step in 1..=6 {
            let slope = gradient(&plain);
            optimiser.step(&mut plain, &slope).unwrap();
            recorded = on_tape.step(recorded, loss(recorded).grad(recorded));
            let found = recorded.value();
            for (a, b) in found.iter().zip(&plain) {
                assert!((a - b).abs() <= 1e-13, "{rule:?}, step {step}: {a} {b}");
            }
        }
    }
}

#[test]
fn derivatives_through_steps_agree_with_finite_differences() {
    for rule in RULES {
        for steps in [1, 3, 5] {
            let adapted_loss = |x: Var| {
                let mut optimiser = TapeOptimiser::new(rule);
                let adapted = (0..steps).fold(x, |x, _| optimiser.step(x, loss(x).grad(x)));
                loss(adapted)
            };
            let start = [arr1(&[0.4, -0.3, 0.8]).into_dyn()];
            check_gradients(|x: &[Var]| adapted_loss(x[0]), &start, 2, Modes::Both).unwrap();
        }
    }
}

#[test]
fn parameters_may_be_several() {
    let tape = Tape::new();
    let (a, b) = (tape.input("a", arr1(&[1.0, 2.0])), tape.input("b", arr2(&[[3.0]])));
    let square = a.square().sum() + b.square().sum();
    let mut optimiser = TapeOptimiser::new(Rule::sgd(0.25));
    let [a, b] = optimiser.step([a, b], square.grad([a, b]));
    assert_eq!((a.value(), b.value()), (arr1(&[0.5, 1.0]).into_dyn(), arr2(&[[1.5]]).into_dyn()));

    let names = indexmap::IndexMap::from([("a".to_owned(), a), ("b".to_owned(), b)]);
    let loss = names["a"].square().sum() + names["b"].square().sum();
    let stepped = TapeOptimiser::new(Rule::sgd(0.5)).step(&names, loss.grad(&names));
    assert!(stepped.keys().eq(names.keys()) && stepped["b"].value().iter().all(|&x| x == 0.0));

    let mut arrays = [arr1(&[1.0, 2.0]).into_dyn(), arr2(&[[3.0]]).into_dyn()];
    let gradients = [arr1(&[2.0, 4.0]).into_dyn(), arr2(&[[6.0]]).into_dyn()];
    Optimiser::new(Rule::sgd(0.25)).step_all(&mut arrays, &gradients).unwrap();
    assert_eq!(arrays, [arr1(&[0.5, 1.0]).into_dyn(), arr2(&[[1.5]]).into_dyn()]);
    let name = |(name, array): (&str, &ArrayD<f64>)| (name.to_owned(), array.clone());
    let mut tree: Numbers = ["a", "b"].into_iter().zip(&arrays).map(name).collect();
    Optimiser::new(Rule::sgd(0.25)).step_all(tree.values_mut(), &gradients).unwrap();
    assert_eq!(tree["a"], arr1(&[0.0, 0.0]).into_dyn());
    assert_eq!(tree["b"], arr2(&[[0.0]]).into_dyn());
}

#[test]
fn an_entry_without_gradient_stays_and_makes_no_nan_in_the_derivative() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[1.0, 2.0]));
    let first = |x: Var| x.slice(0, 0..1).square().sum();
    let mut adam = TapeOptimiser::new(Rule::adam(0.1));
    let mut adapted = x;
    for _ in 0..3 {
        adapted = adam.step(adapted, first(adapted).grad(adapted));
    }
    assert_eq!(adapted.value()[1], 2.0);
    let outer = adapted.square().sum();
    let (gradient, hessian) = (outer.grad(x).value(), outer.hessian(x).value());
    assert!(gradient.iter().chain(&hessian).all(|x| x.is_finite()), "{gradient} {hessian}");
    assert_eq!((gradient[1], hessian[[1, 1]]), (4.0, 2.0));
}

#[test]
fn a_resumed_optimiser_makes_the_same_bits() {
    for rule in RULES {
        let descend = |optimiser: &mut Optimiser, x: &mut Array1<f64>, steps: usize| {
            for _ in 0..steps {
                let slope = gradient(x);
                optimiser.step(x, &slope).unwrap();
            }
        };
        let (mut x, mut optimiser) = (arr1(&[0.4, -0.3, 0.8]), Optimiser::new(rule));
        descend(&mut optimiser, &mut x, 7);
        let saved = serde_json::to_string(&(&optimiser, &x)).unwrap();
        descend(&mut optimiser, &mut x, 9);
        let (mut resumed, mut y): (Optimiser, Array1<f64>) = serde_json::from_str(&saved).unwrap();
        assert_eq!(resumed.steps(), 7);
        descend(&mut resumed, &mut y, 9);
        let bits = |x: &Array1<f64>| x.mapv(f64::to_bits);
        assert_eq!((bits(&x), optimiser), (bits(&y), resumed));
    }
}

#[test]
fn what_does_not_fit_is_an_error_and_changes_nothing() {
    let mut x: Array2<f64> = array![[1.0, 2.0]];
    let mut adam = Optimiser::new(Rule::adam(0.1));
    let before = (x.clone(), adam.clone());
    let message = adam.step(&mut x, &array![[1.0]]).unwrap_err().to_string();
    assert_eq!(message, "gradient has shape [1, 1], but must have shape [1, 2]");
    let error = adam.step(&mut x, &array![[0.0, f64::NAN]]).unwrap_err();
    assert!(matches!(error, Error::NotFinite { .. }), "{error}");
    assert_eq!((&x, &adam), (&before.0, &before.1));

    adam.step(&mut x, &array![[1.0, 1.0]]).unwrap();
    let mut other: Vec<ArrayD<f64>> = vec![arr1(&[1.0]).into_dyn()];
    let error = adam.step_all(&mut other, &[arr1(&[1.0]).into_dyn()]).unwrap_err();
    assert!(error.to_string().starts_with("parameter has shape [1]"), "{error}");
    let error = adam.step_all::<ndarray::IxDyn>([], []).unwrap_err();
    assert!(error.to_string().starts_with("the list of parameters has shape [0]"), "{error}");
}

#[test]
#[should_panic(expected = "a parameter of shape [2] has a gradient of shape []")]
fn a_gradient_of_another_shape_panics_on_the_tape() {
    let tape = Tape::new();
    let x = tape.input("x", arr1(&[1.0, 2.0]));
    let _ = TapeOptimiser::new(Rule::sgd(0.1)).step(x, x.sum());
}

#[test]
fn no_step_leaves_a_number_that_is_not_finite() {
    // The square of the gradient, and the step itself, are beyond the range of numbers.
    for (rule, gradient, words) in [
        (Rule::adam(0.1), 1e200, "entry 0 of the mean square of gradient 0 = inf must be finite"),
        (Rule::sgd(1e308), 2.0, "entry 0 of parameter 0 after the step = -inf must be finite"),
    ] {
        let (mut x, mut optimiser) = (arr1(&[1.0]), Optimiser::new(rule));
        let before = (x.clone(), optimiser.clone());
        let error = optimiser.step(&mut x, &arr1(&[gradient])).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!((x, optimiser), before);
    }
    let error = Optimiser::new(Rule::sgd(0.1)).step(&mut arr1(&[f64::NAN]), &arr1(&[1.0])).unwrap_err();
    assert!(error.to_string().contains("entry 0 of parameter 0 after the step = NaN must be finite"), "{error}");
}

#[test]
fn a_state_that_no_optimiser_was_in_is_an_error_that_says_why() {
    let mut x = arr1(&[0.5, -1.0]);
    let mut adam = Optimiser::new(Rule::adam(0.1));
    adam.step(&mut x, &arr1(&[2.0, 0.0])).unwrap();
    let saved = serde_json::to_string(&adam).unwrap();
    let message = |from: &str, to: &str| {
        assert!(saved.contains(from), "{saved}");
        serde_json::from_str::<Optimiser>(&saved.replacen(from, to, 1)).unwrap_err().to_string()
    };
    for (from, to, words) in [
        ("\"rate\":0.1", "\"rate\":-0.1", "the rate is -0.1, but must be finite and not negative"),
        ("\"beta2\":0.999", "\"beta2\":1.0", "beta2 of Adam is 1, but must lie in [0, 1)"),
        ("\"epsilon\":1e-8", "\"epsilon\":0.0", "epsilon of Adam is 0, but must be positive and finite"),
        ("\"rate\":0.1,", "", "missing field `rate`"),
        ("\"rate\":0.1", "\"rate\":null", "invalid type: null, expected f64"),
        ("\"steps\":1", "\"steps\":0", "damaged: moments of 1 arrays before the first step"),
        ("\"steps\":1", "\"steps\":-1", "invalid value"),
        ("\"steps\":1", "\"more\":1,\"steps\":1", "unknown field `more`"),
        ("\"dim\":[2]", "\"dim\":[3]", "data and dimension must match in size"),
        ("\"dim\":[2]", "\"dim\":[9223372036854775807,9223372036854775807]", "data and dimension must match in size"),
        ("\"dim\":[2]", "\"dim\":[2,1]", "damaged: the moments of array 0 have shapes [2, 1] and [2]"),
        ("0.004", "-0.004", "damaged: a mean square of array 0 is -0.004"),
    ] {
        let message = message(from, to);
        assert!(message.contains(words), "`{words}` is not in: {message}");
    }
    let sgd = saved.replacen(saved.split("\"steps\"").next().unwrap(), "{\"rule\":{\"Sgd\":{\"rate\":0.1}},", 1);
    let message = serde_json::from_str::<Optimiser>(&sgd).unwrap_err().to_string();
    assert!(message.contains("damaged: array 0 has moments, which SGD has not"), "{message}");
}

#[test]
fn an_optimiser_goes_on_from_its_rule_steps_and_moments() {
    for rule in RULES {
        let (mut x, mut optimiser) = (arr1(&[0.4, -0.3, 0.8]), Optimiser::new(rule));
        for _ in 0..4 {
            let parts = (optimiser.rule(), optimiser.steps(), optimiser.moments().to_vec());
            assert_eq!(Optimiser::resumed(parts.0, parts.1, parts.2).unwrap(), optimiser);
            let slope = gradient(&x);
            optimiser.step(&mut x, &slope).unwrap();
        }
        assert_eq!(optimiser.moments().len(), 1);
        // As of a file, what none can have been in is refused.
        let moments = match rule {
            Rule::Sgd { .. } => Some([ArrayD::zeros(vec![3]), ArrayD::zeros(vec![3])]),
            Rule::Adam { .. } => None,
        };
        let error = Optimiser::resumed(rule, 4, vec![moments]).unwrap_err();
        assert!(matches!(error, Error::SavedOptimiser(_)), "{error}");
    }
    assert!(matches!(Optimiser::resumed(Rule::adam(-1.0), 0, vec![]), Err(Error::Rate(_))));
}

#[test]
fn a_tree_steps_by_a_gradient_like_it_and_by_no_other() {
    let tree = |names: [&str; 2], x: f64| names.map(|name| (name.to_owned(), arr1(&[x]).into_dyn())).into();
    let (mut theta, gradient): (Numbers, Numbers) = (tree(["w", "b"], 1.0), tree(["w", "b"], 0.5));
    let mut descent = Optimiser::new(Rule::sgd(0.2));
    descent.step_tree(&mut theta, &gradient).unwrap();
    assert_eq!(theta, tree(["w", "b"], 0.9));
    let error = descent.step_tree(&mut theta, &tree(["b", "w"], 0.5)).unwrap_err().to_string();
    assert!(error.contains("`b`") && error.contains("`w`"), "{error}");
    assert_eq!((theta, descent.steps()), (tree(["w", "b"], 0.9), 1));
}
