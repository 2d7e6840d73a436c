//! N-sample additive objectives: the estimators' formulas sample by sample, and their expectations over every tuple of
//! samples (of the normal distribution: by quadrature that is exact for these polynomials).

use ad::{Index, Tape, Var, vmap};
use ndarray::{Array1, Array2, ArrayD, arr1, array};
use rl::additive::{Additive, Data, Distribution, Finite, Gaussian, Reparameterised, Softmax};
use rl::stream::stream;
use rl::truth::{check_additive, max_abs};
use study::score_function_1d::problem::{self, ESTIMATORS, Estimator, gradient};

fn largest(x: &ArrayD<f64>) -> f64 {
    assert!(x.iter().all(|x| x.is_finite()), "{x}");
    max_abs(x)
}

fn assert_equal(a: &ArrayD<f64>, b: &ArrayD<f64>) {
    assert_eq!(a.shape(), b.shape());
    assert!(largest(&(a - b)) <= 1e-13 * largest(a).max(1.0), "{a}\n{b}");
}

/// Numbers beside θ.
fn constant(theta: Var, values: Array2<f64>) -> Var {
    theta.sum().full_like(0.0) + &values
}

/// Two features of each of three outcomes, which depend on θ, `[N, 2]`.
fn features(x: Index, theta: Var) -> Var {
    let table = constant(theta, array![[1.0, -0.5], [-2.0, 0.3], [0.5, 1.5]]);
    table.gather([x]) * (theta * array![0.3, -0.2, 0.5]).sum().exp()
}

/// A function of two features that depends on θ, and is not affine.
fn outer(mean: Var, theta: Var) -> Var {
    mean.at(0, 0).sin() * mean.at(0, 1) + mean.square().sum() * theta.at(0, 1) + theta.square().sum()
}

fn affine(mean: Var, theta: Var) -> Var {
    mean.at(0, 0) * theta.at(0, 2).exp() - mean.at(0, 1) * 3.0 + theta.square().sum()
}

const OUTCOMES: Softmax = Softmax { outcomes: 3 };

fn theta() -> ArrayD<f64> {
    arr1(&[0.4, -0.3, 0.1]).into_dyn()
}

#[test]
fn the_score_function_is_unbiased_at_every_order() {
    let objective = Additive::new(OUTCOMES, features, outer);
    for n in 1..=4 {
        let report = check_additive(&objective, |x, theta| objective.score_function(x, theta), &theta(), n, 3).unwrap();
        (0..=3).for_each(|order| assert!(report.is_unbiased(order), "N = {n}\n{report}"));
        assert!(report.orders[1].max_abs_truth() > 0.1);
    }
}

#[test]
fn the_linearised_score_function_is_unbiased_where_f_is_affine_alone() {
    for n in 1..=4 {
        let objective = Additive::new(OUTCOMES, features, affine);
        let surrogate = |x, theta| objective.linearised_score_function(x, theta);
        let report = check_additive(&objective, surrogate, &theta(), n, 3).unwrap();
        (0..=3).for_each(|order| assert!(report.is_unbiased(order), "N = {n}\n{report}"));
    }
    let biases: Vec<f64> = [1, 2, 4, 8]
        .map(|n| {
            let objective = Additive::new(OUTCOMES, features, outer);
            let surrogate = |x, theta| objective.linearised_score_function(x, theta);
            let report = check_additive(&objective, surrogate, &theta(), n, 1).unwrap();
            assert!(report.is_unbiased(0));
            report.orders[1].max_abs_bias()
        })
        .to_vec();
    assert!(biases.windows(2).all(|pair| pair[1] < pair[0]) && biases[3] > 1e-3, "{biases:?}");
}

#[test]
fn without_the_samples_scores_the_gradient_is_biased_by_term_one() {
    // The plain value's derivative is term (ii) of Eq. 6 alone.
    let objective = Additive::new(OUTCOMES, features, outer);
    let report = check_additive(&objective, |x, theta| objective.value(x, theta), &theta(), 2, 1).unwrap();
    assert!(report.is_unbiased(0) && report.orders[1].max_abs_bias() > 1e-2, "{report}");
}

#[test]
fn the_gradients_are_the_formulas_of_the_paper_sample_by_sample() {
    let objective = Additive::new(OUTCOMES, features, outer);
    let numbers = objective.distribution.sample(&theta(), 7, &mut stream(3, 0));
    let tape = Tape::new();
    let theta = tape.input("theta", theta());
    let x = numbers.record(&tape);
    let scores = objective.distribution.log_prob(x, theta).jacobian(theta); // [7, 3]
    let phi = features(x, theta);
    let mean = phi.mean_axes(&[0]).stop_gradient();
    let f = outer(mean, theta);
    let f_by_mean = f.grad(mean);
    let term_two = f.grad(theta) + f_by_mean.reshape(&[1, 2]).matmul(phi.mean_axes(&[0]).jacobian(theta)).reshape(&[3]);
    // Eq. 6 and Eq. 10.
    let score_function = scores.sum_axes(&[0]) * f + term_two;
    let slopes = (phi * f_by_mean).sum_axes(&[1]);
    let linearised = (scores * slopes.reshape(&[7, 1])).mean_axes(&[0]) + term_two;
    assert_equal(&objective.score_function(x, theta).grad(theta).value(), &score_function.value());
    assert_equal(&objective.linearised_score_function(x, theta).grad(theta).value(), &linearised.value());
    assert_equal(&objective.score_function(x, theta).value(), &f.value());
    assert_equal(&objective.linearised_score_function(x, theta).value(), &f.value());
}

/// Nodes and weights by which E[p(ζ)], ζ ~ N(0, 1), is exact for polynomials of degree up to 7 (Gauss–Hermite).
fn quadrature() -> [(f64, f64); 4] {
    let node = |sign: f64, inner: f64| {
        let x = sign * (3.0 + inner * 6.0_f64.sqrt()).sqrt();
        (x, 24.0 / (16.0 * (x.powi(3) - 3.0 * x).powi(2)))
    };
    [node(-1.0, 1.0), node(-1.0, -1.0), node(1.0, -1.0), node(1.0, 1.0)]
}

/// Every n-tuple of nodes, `[4^n, n, 1]`, and its weight.
fn tuples(n: usize) -> (ArrayD<f64>, Array1<f64>) {
    let nodes = quadrature();
    let count = 4_usize.pow(n as u32);
    let digit = |tuple: usize, i: usize| nodes[tuple / 4_usize.pow(i as u32) % 4];
    let points = ArrayD::from_shape_fn(vec![count, n, 1], |index| digit(index[0], index[1]).0);
    let weights = (0..count).map(|tuple| (0..n).map(|i| digit(tuple, i).1).product()).collect();
    (points, weights)
}

#[test]
fn the_closed_forms_of_the_one_dimensional_problem_are_exact() {
    for theta in [-1.0, 0.0, 0.7, 1.0, 2.5] {
        for n in 1..=4 {
            let (noise, weights) = tuples(n);
            approx::assert_abs_diff_eq!(weights.sum(), 1.0, epsilon = 1e-14);
            for estimator in ESTIMATORS {
                let tape = Tape::new();
                let parameter = tape.input("theta", arr1(&[theta]));
                let estimates = vmap(|noise| estimator.estimate(parameter, noise), tape.input("noise", &noise)).value();
                let estimates = estimates.into_shape_with_order(weights.len()).unwrap();
                let bias = (&estimates * &weights).sum() - gradient(theta);
                let mse = (estimates.mapv(|g| (g - gradient(theta)).powi(2)) * &weights).sum();
                let name = estimator.name();
                approx::assert_abs_diff_eq!(bias, estimator.exact_bias(theta, n), epsilon = 1e-11);
                let exact = estimator.exact_mse(theta, n);
                assert!((mse - exact).abs() <= 1e-11 * exact.max(1.0), "{name}, θ = {theta}, N = {n}: {mse}, {exact}");
            }
        }
    }
}

#[test]
fn the_path_wise_gradient_sees_features_and_outer_functions_of_the_parameters() {
    // G(θ) = E[θ (X̄ θ)²] for X ~ N(θ, σ²), of which E[X̄²] = θ² + σ²/N: G = θ³ (θ² + σ²/N).
    let (theta, std) = (0.8_f64, 1.3);
    let objective =
        Additive::new(Gaussian { std }, |x, theta| x * theta, |mean: Var, theta: Var| (mean.square() * theta).sum());
    for n in 1..=3 {
        let (noise, weights) = tuples(n);
        let tape = Tape::new();
        let parameter = tape.input("theta", arr1(&[theta]));
        let noise = tape.input("noise", &noise);
        let path_wise = vmap(|noise| objective.path_wise(noise, parameter), noise);
        let score_function = vmap(
            |noise| {
                let samples = objective.distribution.transform(noise, parameter).stop_gradient();
                objective.score_function(samples, parameter)
            },
            noise,
        );
        let rest = std * std / n as f64;
        let exact = [
            theta.powi(3) * (theta * theta + rest),
            5.0 * theta.powi(4) + 3.0 * theta.powi(2) * rest,
            20.0 * theta.powi(3) + 6.0 * theta * rest,
        ];
        for (order, exact) in exact.into_iter().enumerate() {
            for surrogate in [path_wise, score_function] {
                let found = (surrogate * &weights).sum().derivative(parameter, order).item();
                assert!((found - exact).abs() <= 1e-11, "N = {n}, order {order}: {found}, {exact}");
            }
        }
    }
}

#[test]
fn samplers_sample_what_the_log_probabilities_say() {
    // 100 000 draws of seed 5: each frequency lies within 4 standard errors.
    let numbers = OUTCOMES.sample(&theta(), 100_000, &mut stream(5, 0));
    let tape = Tape::new();
    let (all, factors) = OUTCOMES.outcomes().unwrap();
    let probabilities = OUTCOMES.log_prob(all.record(&tape), tape.input("theta", theta())).value().exp();
    assert_eq!(factors, Array1::<f64>::ones(3));
    approx::assert_abs_diff_eq!(probabilities.sum(), 1.0, epsilon = 1e-15);
    for (k, &p) in probabilities.iter().enumerate() {
        let frequency = numbers.iter().filter(|&&x| x == k as i32).count() as f64 / 1e5;
        assert!((frequency - p).abs() < 4.0 * (p * (1.0 - p) / 1e5).sqrt(), "{frequency} {p}");
    }
    // A normal sample is the transformed noise of the same stream.
    let gaussian = Gaussian { std: 0.7 };
    let mean = arr1(&[1.0, -2.0]).into_dyn();
    let noise = gaussian.noise(&mean, 6, &mut stream(5, 1));
    let tape = Tape::new();
    let transformed = gaussian.transform(noise.record(&tape), tape.input("theta", &mean));
    assert_equal(&gaussian.sample(&mean, 6, &mut stream(5, 1)), &transformed.value());
    assert_eq!(noise.shape(), [6, 2]);
}

#[test]
fn no_samples_and_too_many_tuples_are_typed_errors() {
    let objective = Additive::new(OUTCOMES, features, outer);
    let check = |n| check_additive(&objective, |x, theta| objective.value(x, theta), &theta(), n, 0).unwrap_err();
    assert!(matches!(check(0), rl::error::Error::Empty { .. }));
    assert!(matches!(check(13), rl::error::Error::TooManyTrajectories { .. }));
}

#[test]
fn the_estimators_have_the_names_of_the_files() {
    assert_eq!(ESTIMATORS.map(Estimator::name), ["sf", "lsf", "pw"]);
    let same = problem::noise(4, &mut stream(1, 2)) == problem::noise(4, &mut stream(1, 2));
    assert!(same && problem::objective(0.0, 2) == -1.5);
}

#[test]
fn an_outcome_of_probability_zero_is_never_drawn_and_no_distribution_is_no_sample() {
    let theta = arr1(&[0.4, f64::NEG_INFINITY, 0.1]).into_dyn();
    let drawn = OUTCOMES.sample(&theta, 2000, &mut stream(4, 0));
    assert!(drawn.iter().all(|&outcome| outcome != 1) && drawn.iter().any(|&outcome| outcome == 2));
    for theta in [[f64::NAN, 0.0, 0.0], [f64::NEG_INFINITY; 3]] {
        let theta = arr1(&theta).into_dyn();
        let sampling = std::panic::AssertUnwindSafe(|| OUTCOMES.sample(&theta, 1, &mut stream(4, 0)));
        let message = *std::panic::catch_unwind(sampling).unwrap_err().downcast::<String>().unwrap();
        assert!(message.contains("is that of no distribution"), "{message}");
    }
}
