//! Distributions: their formulas against sums over all actions and against samples.

use ad::{Handle, Lowering, Real, Tape, Var, broadcast_shape};
use ndarray::{Array1, ArrayD, Dimension, IxDyn, arr0, arr1, arr2};
use rand::RngExt;
use rl::additive::{Distribution, Gaussian, Softmax};
use rl::env::TabularMdp;
use rl::policy::{Categorical, Normal, softmax};
use rl::stream::stream;

fn close(a: &ArrayD<f64>, b: &[f64]) {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).for_each(|(a, b)| approx::assert_relative_eq!(a, b, max_relative = 1e-12, epsilon = 1e-14));
}

#[test]
fn a_categorical_is_what_its_probabilities_say() {
    let tape = Tape::new();
    let p = [[0.1_f64, 0.2, 0.7], [0.5, 0.25, 0.25]];
    let q = [[0.3_f64, 0.3, 0.4], [0.2, 0.2, 0.6]];
    // Logits are log-probabilities up to a constant for each row.
    let logits = |p: [[f64; 3]; 2]| arr2(&p).ln() + arr2(&[[3.0], [-500.0]]);
    let (a, b) = (Categorical::new(tape.input("p", logits(p))), Categorical::new(tape.input("q", logits(q))));
    let actions = tape.index("actions", arr1(&[2, 0]));
    close(&a.log_prob(actions).value(), &[0.7_f64.ln(), 0.5_f64.ln()]);
    let entropy = |row: &[f64; 3]| -row.iter().map(|p| p * p.ln()).sum::<f64>();
    close(&a.entropy().value(), &[entropy(&p[0]), entropy(&p[1])]);
    let kl = |i: usize| (0..3).map(|j| p[i][j] * (p[i][j] / q[i][j]).ln()).sum::<f64>();
    close(&a.kl(&b).value(), &[kl(0), kl(1)]);
    close(&a.kl(&a).value(), &[0.0, 0.0]);
}

#[test]
fn an_action_that_is_never_taken_makes_no_nan_in_values_or_gradients() {
    let tape = Tape::new();
    let logits = tape.input("logits", arr1(&[0.0, f64::NEG_INFINITY, 1.0]));
    let policy = Categorical::new(logits);
    let entropy = policy.entropy();
    assert!(entropy.item().is_finite());
    close(&policy.probabilities().value(), softmax(&arr1(&[0.0, f64::NEG_INFINITY, 1.0])).as_slice().unwrap());
    let gradient = entropy.grad(logits).value();
    assert!(gradient.iter().all(|x| x.is_finite()), "{gradient}");
    let other = Categorical::new(tape.input("other", arr1(&[0.5, 0.0, 0.2])));
    assert!(policy.kl(&other).item().is_finite());
    assert_eq!(other.kl(&policy).item(), f64::INFINITY);
}

#[test]
fn the_gradient_of_a_kl_vanishes_where_both_are_equal_and_its_hessian_is_the_fisher_information() {
    let tape = Tape::new();
    let theta = tape.input("theta", arr1(&[0.2, -0.4, 1.0]));
    let (fixed, free) = (Categorical::new(theta.stop_gradient()), Categorical::new(theta));
    let kl = fixed.kl(&free);
    assert!(kl.grad(theta).value().iter().all(|x| x.abs() < 1e-15));
    let p = softmax(&arr1(&[0.2, -0.4, 1.0]));
    let fisher = |i: usize, j: usize| if i == j { p[i] * (1.0 - p[i]) } else { -p[i] * p[j] };
    let expected: Vec<f64> = (0..9).map(|n| fisher(n / 3, n % 3)).collect();
    close(&kl.hessian(theta).value(), &expected);
}

#[test]
fn the_score_of_a_softmax_is_the_centred_feature_and_its_hessian_minus_the_covariance() {
    let (rows, actions, size) = (3, 4, 2);
    let mut rng = stream(13, 0);
    let mut random = |shape: &[usize]| ArrayD::from_shape_simple_fn(shape, || rng.random_range(-1.0..1.0));
    let (features, theta) = (random(&[rows, actions, size]), random(&[size]));
    for chosen in 0..actions as i32 {
        let tape = Tape::new();
        let (theta, features) = (tape.input("theta", &theta), tape.input("features", &features));
        let policy = Categorical::new((features * theta).sum_axes(&[2]));
        let taken = tape.index("actions", Array1::from_elem(rows, chosen));
        let log_prob = policy.log_prob(taken);
        let flat = |x: Var| x.value().iter().copied().collect::<Vec<f64>>();
        close(&log_prob.derivative(theta, 1).value(), &flat(policy.score(features, taken)));
        close(&log_prob.derivative(theta, 2).value(), &flat(-policy.covariance(features)));
    }
    // By the logits themselves: one-hot − π, and π πᵀ − diag π.
    let tape = Tape::new();
    let logits = tape.input("logits", arr1(&[0.3, -1.0, 0.5]));
    let (policy, identity) = (Categorical::new(logits), tape.constant(ndarray::Array2::<f64>::eye(3)));
    let p = softmax(&arr1(&[0.3, -1.0, 0.5]));
    close(&policy.score(identity, tape.index("action", arr0(1))).value(), &[-p[0], 1.0 - p[1], -p[2]]);
    let covariance: Vec<f64> =
        (0..9).map(|n| (n / 3, n % 3)).map(|(i, j)| f64::from(i == j) * p[i] - p[i] * p[j]).collect();
    close(&policy.covariance(identity).value(), &covariance);
}

#[test]
fn categorical_samples_have_the_probabilities_within_five_standard_deviations_of_100_000() {
    let tape = Tape::new();
    let p = arr1(&[0.1_f64, 0.0, 0.6, 0.3]);
    let n = 100_000;
    let policy = Categorical::new(tape.constant(p.ln()).broadcast_to(&[n, 4]));
    let actions = policy.sample(&mut stream(11, 0));
    for (a, &p) in p.iter().enumerate() {
        let count = actions.iter().filter(|&&action| action == a as i32).count() as f64;
        let deviation = (n as f64 * p * (1.0 - p)).sqrt();
        assert!((count - n as f64 * p).abs() <= 5.0 * deviation, "action {a}: {count}");
    }
}

#[test]
fn a_normal_has_the_density_entropy_and_divergence_of_its_formulas() {
    let tape = Tape::new();
    let (m, s) = ([0.5, -1.0], [0.3_f64, 2.0]);
    let (m2, s2) = ([0.0, 0.0], [1.0_f64, 1.5]);
    let normal =
        |m: [f64; 2], s: [f64; 2]| Normal::new(tape.input("mean", arr2(&[m])), tape.input("log_std", arr1(&s).ln()));
    let (a, b) = (normal(m, s), normal(m2, s2));
    let x = [0.1, 0.7];
    let density =
        |i: usize| (-0.5 * ((x[i] - m[i]) / s[i]).powi(2)).exp() / (s[i] * (2.0 * std::f64::consts::PI).sqrt());
    close(&a.log_prob(tape.constant(arr2(&[x]))).value(), &[(density(0) * density(1)).ln()]);
    let entropy = |i: usize| 0.5 * (2.0 * std::f64::consts::PI * std::f64::consts::E * s[i] * s[i]).ln();
    close(&a.entropy().value(), &[entropy(0) + entropy(1)]);
    let kl = |i: usize| (s2[i] / s[i]).ln() + (s[i] * s[i] + (m[i] - m2[i]).powi(2)) / (2.0 * s2[i] * s2[i]) - 0.5;
    close(&a.kl(&b).value(), &[kl(0) + kl(1)]);
}

#[test]
fn normal_samples_have_mean_and_variance_within_five_standard_deviations_of_100_000() {
    let tape = Tape::new();
    let n = 100_000_usize;
    let mean = tape.constant(arr1(&[2.0, -1.0])).broadcast_to(&[n, 2]);
    let normal = Normal::new(mean, tape.constant(arr1(&[0.5_f64, 3.0]).ln()));
    let points = normal.sample(&mut stream(12, 0));
    for (j, (mean, std)) in [(2.0, 0.5), (-1.0, 3.0)].into_iter().enumerate() {
        let column: Array1<f64> = points.index_axis(ndarray::Axis(1), j).iter().copied().collect();
        let found = column.mean().unwrap();
        let variance = column.mapv(|x| (x - found).powi(2)).mean().unwrap();
        assert!((found - mean).abs() < 5.0 * std / (n as f64).sqrt(), "mean {found}");
        // Var of the sample variance of a normal: 2σ⁴/n.
        assert!((variance - std * std).abs() < 5.0 * std * std * (2.0 / n as f64).sqrt(), "variance {variance}");
    }
    // A sample as a function of its parameters: d(m + σε)/dm = 1.
    let m = tape.input("m", arr1(&[2.0, -1.0]));
    let one = Normal::new(m, tape.constant(arr1(&[0.0, 0.0]))).reparameterised(tape.constant(arr1(&[0.3, -0.2])));
    close(&one.sum().grad(m).value(), &[1.0, 1.0]);
}

/// Shapes of batches, every two of which broadcast.
const BATCHES: [&[usize]; 5] = [&[], &[2], &[1], &[3, 1], &[3, 2]];

/// Numbers of a batch of arrays of this shape.
fn numbers(batch: &[usize], shape: &[usize], seed: u64) -> ArrayD<f64> {
    let mut rng = stream(41, seed);
    ArrayD::from_shape_simple_fn([batch, shape].concat(), || rng.random_range(-1.0..1.0))
}

/// The array of a batch at a position of the batch it is broadcast to.
fn at(array: &ArrayD<f64>, rank: usize, position: &IxDyn) -> ArrayD<f64> {
    let own = array.ndim() - rank;
    let skipped = position.slice().len() - own;
    (0..own).fold(array.clone(), |array, axis| {
        let i = if array.len_of(ndarray::Axis(0)) == 1 { 0 } else { position[skipped + axis] };
        array.index_axis(ndarray::Axis(0), i).to_owned()
    })
}

/// A function of several batches of arrays, of the given ranks, is for each position of their common batch what it is of
/// the arrays there.
#[track_caller]
fn assert_broadcasts(shapes: &[&[usize]], f: impl Fn(&[Var]) -> Var) {
    for (first, &a) in BATCHES.iter().enumerate() {
        for (second, &b) in BATCHES.iter().enumerate() {
            let arrays: Vec<ArrayD<f64>> = (shapes.iter().enumerate())
                .map(|(i, shape)| numbers(if i == 0 { a } else { b }, shape, (100 * first + 10 * second + i) as u64))
                .collect();
            let batch = broadcast_shape(a, b).unwrap();
            let evaluate = |arrays: &[ArrayD<f64>]| {
                let tape = Tape::new();
                f(&arrays.iter().map(|x| tape.constant(x)).collect::<Vec<_>>()).value()
            };
            let found = evaluate(&arrays);
            assert_eq!(found.shape()[..batch.len()], batch[..], "{a:?} with {b:?}");
            for position in ndarray::indices(&batch[..]) {
                let one: Vec<ArrayD<f64>> =
                    arrays.iter().zip(shapes).map(|(array, shape)| at(array, shape.len(), &position)).collect();
                let expected = evaluate(&one);
                assert_eq!(found.shape()[batch.len()..], *expected.shape(), "{a:?} with {b:?}");
                let here = at(&found, expected.ndim(), &position);
                close(&here, &expected.iter().copied().collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn batches_of_normals_broadcast_with_those_of_points_noise_and_others() {
    let at_zero = |x: Var| Normal::new(x, x * 0.5);
    assert_broadcasts(&[&[2], &[2]], |x| Normal::new(x[0], x[1]).entropy());
    assert_broadcasts(&[&[2], &[2]], |x| Normal::new(x[0], x[1]).log_prob(x[0].sin()));
    assert_broadcasts(&[&[2], &[2]], |x| at_zero(x[0]).log_prob(x[1]));
    assert_broadcasts(&[&[2], &[2]], |x| at_zero(x[0]).reparameterised(x[1]));
    assert_broadcasts(&[&[2], &[2]], |x| at_zero(x[0]).kl(&at_zero(x[1])));
    // Two points of one distribution: −½·2·(ln 2π) and 1 less.
    let tape = Tape::new();
    let standard = Normal::new(tape.constant(arr1(&[0.0, 0.0])), tape.constant(arr1(&[0.0, 0.0])));
    let points = tape.constant(arr2(&[[0.0, 0.0], [1.0, 1.0]]));
    let ln_tau = std::f64::consts::TAU.ln();
    close(&standard.log_prob(points).value(), &[-ln_tau, -ln_tau - 1.0]);
    // A sample of the batch that mean and deviation make together.
    let mixed = Normal::new(tape.constant(arr1(&[0.0, 5.0])), tape.constant(ArrayD::from_elem(vec![4, 1, 2], -90.0)));
    let points = mixed.sample(&mut stream(1, 0));
    assert_eq!(points.shape(), [4, 1, 2]);
    assert!(points.iter().zip([0.0, 5.0].iter().cycle()).all(|(x, mean)| (x - mean).abs() < 1e-30));
}

#[test]
fn batches_of_categoricals_broadcast_with_those_of_actions_features_and_others() {
    // Actions as a function of a Var, such that they are batched as it is.
    let actions = |x: Var| {
        let numbers = x.value().mapv(|x| if x > 0.3 { 2 } else { i32::from(x > -0.3) });
        ad::Index::constant(x, numbers)
    };
    assert_broadcasts(&[&[3], &[]], |x| Categorical::new(x[0]).log_prob(actions(x[1])));
    assert_broadcasts(&[&[3], &[3]], |x| Categorical::new(x[0]).kl(&Categorical::new(x[1])));
    assert_broadcasts(&[&[3], &[3]], |x| Categorical::new(x[0] + x[1]).entropy());
    assert_broadcasts(&[&[3], &[3, 2]], |x| Categorical::new(x[0]).covariance(x[1]));
    assert_broadcasts(&[&[3], &[3, 2], &[]], |x| Categorical::new(x[0]).score(x[1], actions(x[2])));
    assert_broadcasts(&[&[3], &[]], |x| Categorical::new(x[0]).score(numbers_of(x[0]), actions(x[1])));
    let tape = Tape::new();
    let certain = tape.constant(ArrayD::from_shape_fn(vec![2, 1, 3], |i| if i[2] == i[0] { 0.0 } else { -1e9 }));
    assert_eq!(Categorical::new(certain).sample(&mut stream(1, 0)), arr2(&[[0], [1]]).into_dyn());
    let one = Categorical::new(tape.constant(arr1(&[f64::NEG_INFINITY, 0.0])));
    assert_eq!(one.sample(&mut stream(1, 0)), arr0(1).into_dyn());
}

/// Features `[3, 2]` that all rows share.
fn numbers_of(beside: Var) -> Var {
    let table = numbers(&[], &[3, 2], 7);
    let zero = beside.sum().magic_box() - 1.0;
    zero.broadcast_to(&[3, 2]) + &table
}

#[test]
fn the_derivatives_of_broadcast_distributions_are_those_of_their_formulas() {
    // One policy, N actions: Σ log π has the derivative counts − N π.
    let tape = Tape::new();
    let logits = tape.input("logits", arr1(&[0.3, -1.0, 0.5]));
    let policy = Categorical::new(logits);
    let actions = tape.index("actions", arr2(&[[0, 2, 2], [0, 0, 1]]));
    let p = softmax(&arr1(&[0.3, -1.0, 0.5]));
    let gradient = policy.log_prob(actions).sum().grad(logits).value();
    close(&gradient, &[3.0 - 6.0 * p[0], 1.0 - 6.0 * p[1], 2.0 - 6.0 * p[2]]);
    // One normal, N points: Σ (x − m)/σ² and Σ (((x − m)/σ)² − 1).
    let (m, s, points) = ([0.5, -1.0], [-0.3_f64, 0.7], [[0.1, 0.2], [2.0, -3.0], [0.5, 1.0]]);
    let (mean, log_std) = (tape.input("mean", arr1(&m)), tape.input("log_std", arr1(&s)));
    let total = Normal::new(mean, log_std).log_prob(tape.constant(arr2(&points))).sum();
    let sum = |j: usize, f: &dyn Fn(f64) -> f64| points.iter().map(|x| f((x[j] - m[j]) / s[j].exp())).sum::<f64>();
    close(&total.grad(mean).value(), &[0, 1].map(|j| sum(j, &|z| z / s[j].exp())));
    close(&total.grad(log_std).value(), &[0, 1].map(|j| sum(j, &|z| z * z - 1.0)));
    let [hm, hs] = [mean, log_std].map(|x| total.hessian(x).value());
    close(&hm, &[-3.0 * (-2.0 * s[0]).exp(), 0.0, 0.0, -3.0 * (-2.0 * s[1]).exp()]);
    close(&hs, &[sum(0, &|z| -2.0 * z * z), 0.0, 0.0, sum(1, &|z| -2.0 * z * z)]);
}

/// The derivatives of orders 0 to 3 of a number by an input, lowered and as they were recorded.
#[track_caller]
fn assert_derivatives<T: Real>(tape: &Tape, value: Var, by: Var, expected: [f64; 4]) {
    let derivatives: Vec<Var> = (0..4).map(|order| value.derivative(by, order)).collect();
    for lowering in [Lowering::On, Lowering::Off] {
        let program = tape.compile_with(Vec::<Handle>::new(), derivatives.clone(), lowering);
        for (order, (found, expected)) in program.run_as::<T>(&[]).unwrap().iter().zip(expected).enumerate() {
            let found = found.sum().as_f64();
            let near = (found - expected).abs() <= 16.0 * T::epsilon().as_f64() * expected.abs().max(1.0);
            assert!(found == expected || near, "{lowering:?}, order {order}: {found}, not {expected}");
        }
    }
}

/// Normals whose σ, or σ², is beyond the type's range.
fn assert_right_at_any_deviation<T: Real>(scales: &[f64], largest: f64) {
    let half_ln_tau = 0.5 * std::f64::consts::TAU.ln();
    let input = |tape: &Tape, name: &str, x: f64| tape.input(name, arr1(&[T::of(x)]));
    for &s in scales {
        for mean in [0.0, 1.5] {
            let tape = Tape::new();
            let (m, log_std) = (input(&tape, "mean", mean), input(&tape, "log_std", s));
            let (m2, log_std2) = (input(&tape, "mean'", mean), input(&tape, "log_std'", s));
            let (p, q) = (Normal::new(m, log_std), Normal::new(m2, log_std2));
            // Many points, so that lowering may pull σ out of what it stands in: all at the mean.
            let points = tape.constant(ArrayD::from_elem(vec![4, 1], T::of(mean)));
            let density = p.log_prob(points).mean();
            assert_derivatives::<T>(&tape, density, log_std, [-s - half_ln_tau, -1.0, 0.0, 0.0]);
            let curvature = -(-2.0 * s).exp();
            let curvature = if curvature.abs() > largest { f64::NEG_INFINITY } else { T::of(curvature).as_f64() };
            let by_mean = [-s - half_ln_tau, 0.0, curvature, 0.0];
            assert_eq!(density.derivative(m, 1).sum().item_as::<T>(), T::zero());
            if curvature.is_finite() {
                assert_derivatives::<T>(&tape, density, m, by_mean);
            } else {
                assert_eq!(density.derivative(m, 2).sum().item_as::<T>(), T::neg_infinity());
            }
            assert_derivatives::<T>(&tape, p.entropy().sum(), log_std, [s + half_ln_tau + 0.5, 1.0, 0.0, 0.0]);
            // −δ + ½ e^2δ + ½ z² − ½ at δ = 0, where z, the distance of the means in σ', is 0.
            let divergence = p.kl(&q).sum();
            assert_derivatives::<T>(&tape, divergence, log_std, [0.0, 0.0, 2.0, 4.0]);
            assert_derivatives::<T>(&tape, divergence, log_std2, [0.0, 0.0, 2.0, -4.0]);
            assert_eq!(divergence.derivative(m, 1).sum().item_as::<T>(), T::zero());
            let noise = tape.constant(ArrayD::from_elem(vec![4, 1], T::zero()));
            assert_derivatives::<T>(&tape, p.reparameterised(noise).mean(), log_std, [mean, 0.0, 0.0, 0.0]);
        }
    }
}

#[test]
fn normals_are_right_where_their_deviations_are_beyond_the_range_of_their_type() {
    assert_right_at_any_deviation::<f64>(&[-2000.0, -800.0, -400.0, -200.0, 0.5, 200.0, 400.0, 800.0], f64::MAX);
    assert_right_at_any_deviation::<f32>(
        &[-800.0, -400.0, -100.0, -50.0, 0.5, 50.0, 100.0, 400.0],
        f64::from(f32::MAX),
    );
}

#[test]
fn points_are_as_many_deviations_away_from_a_narrow_or_wide_normal_as_from_any() {
    let half_ln_tau = 0.5 * std::f64::consts::TAU.ln();
    let z = 1.5_f64;
    for s in [-700.0_f64, -400.0, -1.0, 400.0, 700.0] {
        let tape = Tape::new();
        let log_std = tape.input("log_std", arr1(&[s]));
        let normal = Normal::new(tape.constant(arr1(&[0.0])), log_std);
        let distance = z * s.exp();
        let points = tape.constant(ArrayD::from_elem(vec![4, 1], distance));
        // −½z² − s: by s, z changes by −z.
        let square = z * z;
        let expected = [-0.5 * square - s - half_ln_tau, square - 1.0, -2.0 * square, 4.0 * square];
        assert_derivatives::<f64>(&tape, normal.log_prob(points).mean(), log_std, expected);
        let other = Normal::new(tape.constant(arr1(&[distance])), tape.constant(arr1(&[s - 1.0])));
        let expected = [1.0 + 0.5 * (-2.0_f64).exp() + 0.5 * square - 0.5, 1.0 - (-2.0_f64).exp() - square];
        let divergence = other.kl(&normal).sum();
        approx::assert_relative_eq!(divergence.item(), expected[0], max_relative = 1e-12);
        approx::assert_relative_eq!(divergence.grad(log_std).value()[0], expected[1], max_relative = 1e-12);
    }
}

#[test]
fn what_is_never_taken_makes_no_nan_up_to_the_third_derivative() {
    let tape = Tape::new();
    // The distribution over two actions, and a third that is never taken: everything is as without it.
    let (with, without) = (arr1(&[0.3, f64::NEG_INFINITY, 1.0]), arr1(&[0.3, 1.0]));
    let (theta, other) = (tape.input("with", &with), tape.input("without", &without));
    let (q, q2) = (arr1(&[0.5, 0.0, 0.2]), arr1(&[0.5, 0.2]));
    let (third, two) = (Categorical::new(theta), Categorical::new(other));
    let fixed = |logits: &Array1<f64>| Categorical::new(tape.constant(logits));
    // What q says of the third action changes its normalisation, by which the divergence to it is shifted.
    let shift = fixed(&q).log_probabilities().at(0, 0) - fixed(&q2).log_probabilities().at(0, 0);
    let pairs = [
        (third.entropy(), two.entropy()),
        (third.log_prob(tape.index("2", arr0(2))), two.log_prob(tape.index("1", arr0(1)))),
        (third.kl(&fixed(&q)) + shift, two.kl(&fixed(&q2))),
        (fixed(&with).kl(&third), fixed(&without).kl(&two)),
    ];
    for (n, (found, expected)) in pairs.into_iter().enumerate() {
        for order in 0..=3 {
            let found = found.derivative(theta, order).value();
            let expected = expected.derivative(other, order).value();
            for position in ndarray::indices(found.shape()) {
                let taken = position.slice().iter().all(|&i| i != 1);
                let here: Vec<usize> = position.slice().iter().map(|&i| i / 2).collect();
                let expected = if taken { expected[&here[..]] } else { 0.0 };
                approx::assert_abs_diff_eq!(found[&position], expected, epsilon = 1e-13);
                assert!(found[&position].is_finite(), "pair {n}, order {order}, {position:?}");
            }
        }
    }
}

#[test]
fn samples_of_narrow_rows_never_have_probability_zero_and_are_those_of_the_numbers() {
    let tape = Tape::new();
    let never = f64::NEG_INFINITY;
    let logits = arr2(&[[never, 0.0, never], [0.0, never, never], [never, never, 0.0]]);
    let policy = Categorical::new(tape.constant(&logits).broadcast_to(&[1000, 3, 3]));
    let actions = policy.sample(&mut stream(3, 0));
    assert!(actions.indexed_iter().all(|(at, &action)| action == [1, 0, 2][at[1]]));
    let softmax_of = |theta: &[f64]| Softmax { outcomes: 3 }.sample(&arr1(theta).into_dyn(), 1000, &mut stream(3, 1));
    assert!(softmax_of(&[never, 0.0, never]).iter().all(|&outcome| outcome == 1));
    // The draws of a seed are what they have always been.
    let uniform = Categorical::new(tape.constant(arr1(&[0.1, 0.2, 0.3, 0.4]).ln()).broadcast_to(&[12, 4]));
    assert_eq!(uniform.sample(&mut stream(5, 0)).as_slice().unwrap(), DRAWN);
    let drawn = Softmax { outcomes: 4 }.sample(&arr1(&[0.1, 0.2, 0.3, 0.4]).ln().into_dyn(), 12, &mut stream(5, 0));
    assert_eq!(drawn.as_slice().unwrap(), DRAWN);
}

const DRAWN: &[i32] = &[1, 3, 3, 3, 2, 1, 3, 3, 2, 3, 3, 2];

fn forget<T>(_: T) {}

/// The words of a panic.
fn refused(f: impl FnOnce()) -> String {
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).expect_err("it should have panicked");
    payload.downcast_ref::<String>().cloned().expect("a message")
}

#[test]
fn what_is_no_distribution_is_not_sampled() {
    let (nan, infinite, never) = (f64::NAN, f64::INFINITY, f64::NEG_INFINITY);
    for bad in [[nan, 0.0], [0.0, nan], [nan, nan], [infinite, 0.0], [0.0, infinite], [infinite; 2], [never; 2]] {
        let tape = Tape::new();
        let policy = Categorical::new(tape.constant(arr2(&[[0.0, 0.0], [0.0, 0.0], bad])));
        for seed in 0..10 {
            let message = refused(|| forget(policy.sample(&mut stream(seed, 0))));
            assert!(message.contains("sample: row 2 of the logits is no distribution"), "{message}");
            let theta = arr1(&bad).into_dyn();
            let message = refused(|| forget(Softmax { outcomes: 2 }.sample(&theta, 3, &mut stream(seed, 0))));
            assert!(message.contains("is that of no distribution"), "{message}");
        }
        // The numbers say it, and a process refuses them by name.
        assert!(softmax(&arr2(&[bad])).iter().any(|p| p.is_nan()));
        let mdp = TabularMdp::new(ndarray::Array3::ones((1, 2, 1)), arr2(&[[0.0, 1.0]])).unwrap();
        let message = mdp.sample(&softmax(&arr2(&[bad])), 2, 3, 0).unwrap_err().to_string();
        assert!(message.contains("policy[s = 0]") && message.contains("NaN is not a probability"), "{message}");
    }
}

#[test]
fn what_does_not_fit_a_distribution_is_refused_with_its_shapes() {
    let tape = Tape::new();
    let zeros = |shape: &[usize]| tape.constant(ArrayD::<f64>::zeros(shape));
    let normal = |means: &[usize], stds: &[usize]| Normal::new(zeros(means), zeros(stds));
    let says = |f: &dyn Fn(), words: &[&str]| {
        let message = refused(f);
        words.iter().for_each(|words| assert!(message.contains(words), "`{words}` is not in: {message}"));
    };
    says(&|| forget(normal(&[4, 3], &[1])), &["log_std", "[…, 3]", "[1]"]);
    says(&|| forget(normal(&[4, 3], &[])), &["log_std", "[…, 3]", "[]"]);
    says(&|| forget(normal(&[4, 3], &[5, 3])), &["Normal", "[4]", "[5]"]);
    says(&|| forget(normal(&[4, 3], &[3]).log_prob(zeros(&[4, 1]))), &["points", "[…, 3]", "[4, 1]"]);
    says(&|| forget(normal(&[4, 3], &[3]).log_prob(zeros(&[5, 3]))), &["log_prob", "points", "[4]", "[5]"]);
    says(&|| forget(normal(&[4, 3], &[3]).reparameterised(zeros(&[2]))), &["noise", "[…, 3]", "[2]"]);
    says(&|| forget(normal(&[4, 3], &[3]).kl(&normal(&[1], &[1]))), &["the other", "[…, 3]", "[1]"]);
    let logits = |shape: &[usize]| Categorical::new(zeros(shape));
    let actions = |shape: &[usize]| tape.index("actions", ArrayD::<i32>::zeros(shape));
    says(&|| forget(logits(&[2, 0])), &["Categorical", "[2, 0]", "no action"]);
    says(&|| forget(logits(&[])), &["Categorical", "no action"]);
    says(&|| forget(logits(&[4, 3]).log_prob(actions(&[5]))), &["log_prob", "actions", "[4]", "[5]"]);
    says(&|| forget(logits(&[4, 3]).kl(&logits(&[4, 1]))), &["kl: 3 actions, and 1 of the other"]);
    says(&|| forget(logits(&[4, 3]).kl(&logits(&[2, 3]))), &["kl", "[4]", "[2]"]);
    says(&|| forget(logits(&[4, 3]).covariance(zeros(&[4, 1, 2]))), &["features", "[…, 3, D]", "[4, 1, 2]"]);
    says(&|| forget(logits(&[4, 3]).covariance(zeros(&[2]))), &["features", "[…, 3, D]", "[2]"]);
    says(&|| forget(logits(&[4, 3]).score(zeros(&[3, 2]), actions(&[3]))), &["score", "actions", "[4]", "[3]"]);
    let gaussian = |std: f64, shape: &[usize]| forget(Gaussian { std }.log_prob(zeros(shape), zeros(&[2])));
    says(&|| gaussian(0.0, &[5, 2]), &["Gaussian: σ is 0, but must be positive and finite"]);
    says(&|| gaussian(f64::NAN, &[5, 2]), &["Gaussian: σ is NaN"]);
    says(&|| gaussian(1.0, &[5, 1]), &["Gaussian: samples need the shape [N, 2], got [5, 1]"]);
}
