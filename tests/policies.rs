//! Distributions: their formulas against sums over all actions and against samples.

use ad::Tape;
use ndarray::{Array1, ArrayD, arr1, arr2};
use rand::RngExt;
use rl::policy::{Categorical, Normal, softmax};
use rl::stream::stream;

fn close(a: &ArrayD<f64>, b: &[f64]) {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).for_each(|(a, b)| approx::assert_relative_eq!(a, b, max_relative = 1e-12, epsilon = 1e-14));
}

#[test]
fn a_categorical_is_what_its_probabilities_say() {
    let tape = Tape::<f64>::new();
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
    let tape = Tape::<f64>::new();
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
    let tape = Tape::<f64>::new();
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
        let tape = Tape::<f64>::new();
        let (theta, features) = (tape.input("theta", &theta), tape.input("features", &features));
        let policy = Categorical::new((features * theta).sum_axes(&[2]));
        let taken = tape.index("actions", Array1::from_elem(rows, chosen));
        let log_prob = policy.log_prob(taken);
        let flat = |x: ad::Var| x.value().iter().copied().collect::<Vec<f64>>();
        close(&log_prob.derivative(theta, 1).value(), &flat(policy.score(features, taken)));
        close(&log_prob.derivative(theta, 2).value(), &flat(-policy.covariance(features)));
    }
    // By the logits themselves: one-hot − π, and π πᵀ − diag π.
    let tape = Tape::<f64>::new();
    let logits = tape.input("logits", arr1(&[0.3, -1.0, 0.5]));
    let (policy, identity) = (Categorical::new(logits), tape.constant(ndarray::Array2::eye(3)));
    let p = softmax(&arr1(&[0.3, -1.0, 0.5]));
    close(&policy.score(identity, tape.index("action", ndarray::arr0(1))).value(), &[-p[0], 1.0 - p[1], -p[2]]);
    let covariance: Vec<f64> =
        (0..9).map(|n| (n / 3, n % 3)).map(|(i, j)| f64::from(i == j) * p[i] - p[i] * p[j]).collect();
    close(&policy.covariance(identity).value(), &covariance);
}

#[test]
fn categorical_samples_have_the_probabilities_within_five_standard_deviations_of_100_000() {
    let tape = Tape::<f64>::new();
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
    let tape = Tape::<f64>::new();
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
    let tape = Tape::<f64>::new();
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
