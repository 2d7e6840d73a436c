//! Derivatives of functions that contain derivatives: which variable is which is never confused, whoever holds it.

use ad::{Tape, Var, grad};
use indexmap::IndexMap;
use ndarray::{Array0, Array1, ArrayD, arr0, arr1, arr2};

// d/dx [ x · d/dy (x + y) at y = 1 ] = 1: the inner derivative is 1, and it is not that of x + x.

#[test]
fn an_inner_derivative_is_not_confused_with_the_outer_one() {
    assert_eq!(grad(|x| x * grad(|y| x + y, x * 0.0 + 1.0), 3.0), 1.0);
    let tape = Tape::new();
    let (x, y) = (tape.input("x", 3.0), tape.input("y", 1.0));
    assert_eq!((x * (x + y).grad(y)).grad(x).item(), 1.0);
}

// d/dx [ d/dy (y·(x − y)) at y = x ] = d/dx [ x − 2y at y = x ] = −1.

#[test]
fn a_function_differentiated_at_the_outer_variable_does_not_mistake_it_for_its_own() {
    assert_eq!(grad(|x| grad(|y| y * (x - y), x), 2.0), -1.0);
    let tape = Tape::new();
    let x = tape.input("x", 2.0);
    let y = x.alias();
    assert_eq!((y * (x - y)).grad(y).grad(x).item(), -1.0);
}

#[test]
fn what_an_operation_with_nothing_to_do_gives_is_a_variable_of_its_own() {
    let tape = Tape::new();
    let x = tape.input("x", 2.0);
    let same: [fn(Var) -> Var; 9] = [
        |x| x.sum(),
        |x| x.sum_axes(&[]),
        |x| x.max_axes(&[]),
        |x| x.logsumexp(&[]),
        |x| x.reshape(&[]),
        |x| x.transpose(&[]),
        |x| x.broadcast_to(&[]),
        |x| x + 0.0,
        |x| x.powf(1.0),
    ];
    for (i, same) in same.into_iter().enumerate() {
        let y = same(x);
        assert_eq!((y * (x - y)).grad(y).grad(x).item(), -1.0, "form {i}");
        assert_eq!((3.0 * x + y).grad(y).item(), 1.0, "form {i}");
    }
    let y = tape.input("y", arr2(&[[1.0, 2.0]]));
    for same in [y.reshape(&[1, 2]), y.transpose(&[0, 1]), y.broadcast_to(&[1, 2]), y.pad(0, 0, 0), y.slice(0, 0..1)] {
        assert_eq!((3.0 * y + same).sum().grad(same).value(), arr2(&[[1.0, 1.0]]).into_dyn());
    }
}

#[test]
fn closures_nest_three_deep() {
    // d/dx [ x² · d/dy (y³ · d/dz (x·y·z²) at z = y) at y = x ]: 2xyz is 2xy² at z = y; 2x·5y⁴ is 10x⁵; x²·10x⁵ is 10x⁷.
    let derivative = |x: f64| {
        grad(
            |x| {
                let inner = |y: Var| grad(|z| x * y * z.square(), y);
                x.square() * grad(|y| y.powf(3.0) * inner(y), x)
            },
            x,
        )
    };
    assert!((derivative(1.1) - 70.0 * 1.1_f64.powi(6)).abs() < 1e-12);
}

#[test]
fn a_derivative_of_arrays_may_capture_outer_variables() {
    // The gradient of a loss after an inner step, where the inner loss uses the outer variable in two ways.
    let outer = |x: Var| {
        let inner = grad(|y: Var| (y * x.exp()).sum() + y.square().sum(), x);
        (inner * x).sum()
    };
    // d/dx Σ (e^x + 2x)·x = e^x·(1 + x) + 4x
    let at = arr1(&[0.3, -0.7]);
    let expected = at.mapv(|x: f64| x.exp() * (1.0 + x) + 4.0 * x);
    let difference = grad(outer, &at) - expected;
    assert!(difference.iter().all(|x| x.abs() < 1e-14), "{difference}");
}

#[test]
fn closures_may_be_stored_and_called_on_any_tape() {
    struct Objective {
        terms: Vec<Box<dyn Fn(Var) -> Var>>,
    }
    impl Objective {
        fn loss(&self, x: Var) -> Var {
            self.terms.iter().map(|term| term(x)).reduce(|sum, term| sum + term).unwrap()
        }
    }
    let scale = 3.0;
    let objective = Objective {
        terms: vec![
            Box::new(|x| x.sin().sum()),
            Box::new(move |x| x.square().sum() * scale),
            Box::new(|x| grad(|y: Var| (y * y * x).sum(), x).sum()),
        ],
    };
    for _ in 0..2 {
        let tape = Tape::new();
        let x = tape.input("x", arr1(&[0.5, -1.0]));
        // The last term is Σ 2x².
        let expected = arr1(&[0.5_f64, -1.0]).mapv(|x| x.cos() + 6.0 * x + 4.0 * x);
        let difference = objective.loss(x).grad(x).value() - &expected.into_dyn();
        assert!(difference.iter().all(|x| x.abs() < 1e-14));
    }
}

#[test]
fn a_model_may_own_its_tape_and_its_variables() {
    struct Model {
        tape: Tape,
        weight: Var,
        bias: Var,
    }
    impl Model {
        fn new() -> Self {
            let tape = Tape::new();
            let (weight, bias) = (tape.input("weight", arr1(&[1.0, 2.0])), tape.input("bias", 0.5));
            Self { tape, weight, bias }
        }
        fn loss(&self, x: &Array1<f64>) -> Var {
            ((self.weight * x).sum() + self.bias).square()
        }
    }
    let models: Vec<Model> = (0..3).map(|_| Model::new()).collect();
    for model in &models {
        let loss = model.loss(&arr1(&[1.0, -1.0]));
        let [weight, bias] = loss.grad([model.weight, model.bias]);
        assert_eq!(weight.value(), arr1(&[-1.0, 1.0]).into_dyn());
        assert_eq!(bias.item(), -1.0);
        let program = model.tape.compile([model.weight, model.bias], [loss]);
        assert_eq!(program.run(&ad::values![arr1(&[2.0, 0.0]), 1.0]).unwrap()[0], arr0(9.0).into_dyn());
    }
}

#[test]
fn equal_expressions_are_different_variables() {
    let tape = Tape::new();
    let x = tape.input("x", 2.0);
    let z = x * x;
    assert_eq!((3.0 * (x * x) + z).grad(z).item(), 1.0);
    assert_eq!((3.0 * (x * x) + z).grad(x).item(), 16.0);
    let (c, d) = (tape.constant(2.0), tape.constant(2.0));
    assert_eq!((3.0 * c + d).grad(d).item(), 1.0);
}

#[test]
fn equal_results_of_derivative_passes_are_different_variables() {
    let tape = Tape::new();
    let x = tape.input("x", 2.0);
    let loss = x.powf(3.0);
    let (g1, g2) = (loss.grad(x), loss.grad(x));
    assert_eq!((g1 + g2).grad(g1).item(), 1.0);
    assert_eq!((g1 * g2).grad(x).item(), 2.0 * 12.0 * 12.0);
    let (h1, h2) = (loss.hvp(x, tape.constant(1.0)), loss.hvp(x, tape.constant(1.0)));
    assert_eq!((h1 + 5.0 * h2).grad(h2).item(), 5.0);
    // The same within one pass: the gradients of two equal terms.
    let [a, b] = [x.alias(), x.alias()];
    let [by_a, by_b] = (a.square() + b.square()).grad([a, b]);
    assert_eq!((by_a + 7.0 * by_b).grad(by_a).item(), 1.0);
    let [one, other] = (x.sin() * x).grad([x, x]);
    assert_eq!((one + 7.0 * other).grad(other).item(), 7.0);
}

#[test]
fn a_gradient_may_be_taken_by_an_intermediate_result_and_by_its_own_ingredients_at_once() {
    let tape = Tape::new();
    let x = tape.input("x", 2.0);
    let z = x.square();
    let loss = z * x;
    let [by_z, by_x] = loss.grad([z, x]);
    assert_eq!((by_z.item(), by_x.item()), (2.0, 12.0));
    assert_eq!(loss.grad(loss).item(), 1.0);
    assert_eq!(x.grad(x).item(), 1.0);
    // ∂/∂z of a derivative by x: ∂/∂x (z·x) is z + x·2x, and by z that is 1.
    assert_eq!(by_x.grad(z).item(), 1.0);
}

#[test]
fn taking_a_gradient_neither_freezes_nor_frees_anything() {
    let tape = Tape::new();
    let x = tape.input("x", 0.7);
    let y = x.sin();
    let first = y.grad(x);
    let z = y * x;
    let second = z.grad(x);
    let third = (z + first * second).grad(x);
    let (s, c) = 0.7_f64.sin_cos();
    assert_eq!(first.item(), x.cos().item());
    assert!((first.item() - c).abs() < 1e-15);
    assert!((second.item() - (s + 0.7 * c)).abs() < 1e-15);
    // d/dx [x·sin x + cos x·(sin x + x·cos x)]
    let expected = s + 0.7 * c - s * (s + 0.7 * c) + c * (2.0 * c - 0.7 * s);
    assert!((third.item() - expected).abs() < 1e-15);
    assert_eq!(y.grad(x).item(), first.item());
}

#[test]
fn named_trees_come_back_with_their_names_in_their_order() {
    let arrays: IndexMap<String, ArrayD<f64>> = [("z", 1.0), ("a", 2.0), ("m", 3.0)]
        .into_iter()
        .map(|(name, x)| (name.to_owned(), arr1(&[x, -x]).into_dyn()))
        .collect();
    let loss = |x: IndexMap<String, Var>| (x["z"] * x["a"] * x["a"]).sum() + x["m"].square().sum();
    let (value, gradients) = ad::value_and_grad(loss, &arrays);
    assert_eq!(value, 4.0 - 4.0 + 18.0);
    assert_eq!(gradients.keys().collect::<Vec<_>>(), ["z", "a", "m"]);
    assert_eq!(gradients["z"], arr1(&[4.0, 4.0]).into_dyn());
    assert_eq!(gradients["a"], arr1(&[4.0, 4.0]).into_dyn());
    assert_eq!(gradients["m"], arr1(&[6.0, -6.0]).into_dyn());
    let products = ad::hvp(loss, &arrays, &arrays);
    assert_eq!(products["z"], arr1(&[8.0, 8.0]).into_dyn());
    assert_eq!(products["m"], arr1(&[6.0, -6.0]).into_dyn());

    // On Vars: an inner step on a tree, differentiated by the tree.
    let tape = Tape::new();
    let vars: IndexMap<String, Var> = arrays.iter().map(|(name, x)| (name.clone(), tape.input(name, x))).collect();
    let direct = loss(vars.clone()).grad(&vars);
    assert_eq!(direct.keys().collect::<Vec<_>>(), ["z", "a", "m"]);
    let stepped: IndexMap<String, Var> = {
        let inner = grad(loss, &vars);
        vars.iter().map(|(name, var)| (name.clone(), *var - 0.1 * inner[name])).collect()
    };
    let outer = loss(stepped).grad(&vars);
    // m − 0.1·2m = 0.8m, so that (0.8m)² has the gradient 1.28m.
    assert!((outer["m"].value()[[0]] - 1.28 * 3.0).abs() < 1e-14);
}

#[test]
fn pairs_of_trees_come_back_as_pairs() {
    let tape = Tape::new();
    let leaf = |name: &str, number: f64| (name.to_owned(), tape.input(name, number));
    let tree = IndexMap::from([leaf("z", 1.0), leaf("a", 2.0)]);
    let (x, y) = (tape.input("x", 3.0), tape.input("y", 5.0));
    // z a² x + z y
    let loss = tree["z"] * tree["a"].square() * x + tree["z"] * y;
    let (by_tree, [by_x, by_y]) = loss.grad((&tree, [x, y]));
    assert_eq!(by_tree.keys().collect::<Vec<_>>(), ["z", "a"]);
    let found = [by_tree["z"], by_tree["a"], by_x, by_y].map(Var::item);
    assert_eq!(found, [4.0 * 3.0 + 5.0, 2.0 * 2.0 * 3.0, 4.0, 1.0]);
    // The Hessian times (0, 0, 1, 1): the gradient's derivatives by x and y, added.
    let zeros = IndexMap::from([leaf("z", 0.0), leaf("a", 0.0)]);
    let one = tape.constant(1.0);
    let (by_tree, [by_x, by_y]) = loss.hvp((&tree, [x, y]), (&zeros, [one, one]));
    assert_eq!([by_tree["z"], by_tree["a"], by_x, by_y].map(Var::item), [4.0 + 1.0, 2.0 * 2.0, 0.0, 0.0]);
}

#[test]
fn pairs_of_arguments_come_back_as_pairs() {
    let matrix = arr2(&[[1.0, 2.0], [3.0, 4.0]]);
    let (by_matrix, (by_vector, by_number)) =
        grad(|(a, (x, c))| (a.matmul(x) * c).sum(), (&matrix, (&arr1(&[1.0, -1.0]), 2.0)));
    assert_eq!(by_matrix, arr2(&[[2.0, -2.0], [2.0, -2.0]]));
    assert_eq!(by_vector, arr1(&[8.0, 12.0]));
    assert_eq!(by_number, -2.0);
    let (value, tangent) = ad::jvp(|(x, y)| x * y, (2.0, 3.0), (1.0, 10.0));
    assert_eq!((value, tangent), (arr0(6.0).into_dyn(), arr0(23.0).into_dyn()));
    let (value, (x, y)) = ad::vjp(|(x, y)| x * y, (2.0, &arr1(&[1.0, 3.0])), |xy| xy * 0.0 + 1.0);
    assert_eq!((value, x, y), (arr1(&[2.0, 6.0]).into_dyn(), 4.0, arr1(&[2.0, 2.0])));
}

#[test]
fn derivatives_keep_the_dimension_of_their_arguments() {
    let scalar: Array0<f64> = grad(|x: Var| x.square(), &arr0(3.0));
    assert_eq!(scalar, arr0(6.0));
    let matrix: ndarray::Array2<f64> = grad(|x: Var| x.square().sum(), &arr2(&[[1.0], [2.0]]));
    assert_eq!(matrix, arr2(&[[2.0], [4.0]]));
}

/// Σ_t r_t · box(Σ_{s ≤ t} log π(a_s)), of two trajectories of three steps: DiCE.
fn small_dice_loss(tape: &Tape, theta: Var) -> Var {
    let actions = tape.index("actions", arr2(&[[0, 1, 1], [1, 0, 2]]));
    let rewards = tape.input("rewards", arr2(&[[1.0, 0.5, -1.0], [0.0, 2.0, 1.0]]));
    let log_prob = theta.log_softmax().gather([actions]);
    (log_prob.cumsum(1).magic_box() * rewards).sum()
}

/// How many nodes a tape and how many operations a program have for derivatives of orders 1 to 5.
fn sizes(next: impl Fn(Var, Var) -> Var) -> [Vec<usize>; 2] {
    let tape = Tape::new();
    let theta = tape.input("theta", arr1(&[0.1, -0.4, 0.3]));
    let mut derivative = small_dice_loss(&tape, theta);
    let recorded = tape.len();
    let sizes = (0..5).map(|_| {
        derivative = next(derivative, theta);
        (tape.len() - recorded, tape.compile([theta], [derivative]).cost().operations)
    });
    let (nodes, operations) = sizes.unzip();
    [nodes, operations]
}

#[test]
fn high_orders_of_a_small_dice_loss_stay_small() {
    let [reverse, reverse_runs] = sizes(|derivative, theta| derivative.sum().grad(theta));
    let [forward, forward_runs] = sizes(|derivative, theta| match derivative.shape().as_slice() {
        [] => derivative.grad(theta),
        _ => derivative.jvp(theta, (theta * 0.0 + 1.0).stop_gradient()),
    });
    println!("orders 1 to 5, reverse only: {reverse:?} nodes, {reverse_runs:?} operations run");
    println!("orders 1 to 5, forward over reverse: {forward:?} nodes, {forward_runs:?} operations run");
    // What a pass makes is about as large as what it differentiates, so that an order about doubles them. (Without the
    // merging of equal nodes a product rule alone would make it three times.)
    assert!(reverse[4] <= 800 && forward[4] <= 1800, "{reverse:?} {forward:?}");
    assert!(reverse_runs[4] <= 500 && forward_runs[4] <= 320, "{reverse_runs:?} {forward_runs:?}");
}
