//! The numbers of the example `tmaml`: a case that is known by hand, and estimates that vary as it says.

use ad::Tape;
use rl::batch::Batch;
use rl::env::Horizon;
use rl::objective::{Estimator, allow_biased};
use rl::policy::{Table, softmax};
use rl::truth::derivatives;
use study::exact::Problem;
use study::tmaml::experiment::{BASELINE, DICE, MAO, TMAML, by_hand, estimators, measure};

#[track_caller]
fn assert_close(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-13 * expected.abs().max(1.0), "{found}, not {expected}");
}

#[test]
fn one_step_is_as_by_hand() {
    let (mdp, logits) = by_hand().unwrap();
    let measured = measure(&mdp, &logits, 1).unwrap();
    // The derivative by the difference of logits stands in 2 entries of the gradient and 4 of the Hessian, up to its sign.
    // ¾ and 6/16 with probability ¼; with the control variate 21/32 and 1/32.
    let [gradient, hessian] = measured.moments[DICE];
    assert_close(gradient.truth, 2.0 * (3.0_f64 / 16.0).powi(2));
    assert_close(gradient.variance, 2.0 * (9.0 / 16.0) * (3.0 / 16.0));
    assert_close(hessian.truth, 4.0 * (3.0_f64 / 32.0).powi(2));
    assert_close(hessian.variance, 27.0 / 256.0);
    assert_close(hessian.bias, 0.0);
    let [gradient, hessian] = measured.moments[TMAML];
    assert_close(gradient.bias, 0.0);
    assert_close(gradient.variance, measured.moments[DICE][0].variance);
    assert_close(hessian.bias, hessian.truth);
    assert_close(hessian.variance, 75.0 / 256.0);
    // With one step the second-order baseline has nothing to do.
    assert_close(measured.moments[MAO][1].variance, measured.moments[BASELINE][1].variance);
}

#[test]
fn sampled_estimates_vary_as_enumerated() {
    let (horizon, trajectories) = (3, 40_000);
    let problem = Problem::new(5, true, horizon).unwrap();
    let measured = measure(&problem.mdp, &problem.logits, horizon).unwrap();
    let rollout = problem.mdp.sample(&softmax(&problem.logits), horizon, trajectories, 1).unwrap();
    let tape = Tape::new();
    let theta = tape.input("theta", &problem.logits);
    let episodes = rollout.record(&tape);
    let values = problem.mdp.record(&tape).finite_value(theta.softmax(), 0.9, horizon, None);
    let critic = values.gather([episodes.states()]);
    let batch = Batch::new(episodes, Table::log_prob_of(theta, &episodes), 0.9).with_critic(critic);
    let truth = derivatives(&problem.mdp, &problem.logits, 0.9, &Horizon::Finite { steps: horizon, terminal: None }, 2);
    let hessian = &truth.unwrap()[2];
    for place in [DICE, BASELINE, MAO, TMAML] {
        let estimator = &estimators()[place];
        let all = allow_biased(&**estimator).per_trajectory(&batch).derivative(theta, 2).value();
        let mean = all.mean_axis(ndarray::Axis(0)).unwrap();
        let variance = (&all - &mean).mapv(|x| x * x).sum() / trajectories as f64;
        let exact = measured.moments[place][1];
        // Squares have heavy tails: of 40 000, some 2 % (in standard deviations 3 and less).
        assert!((variance / exact.variance - 1.0).abs() < 0.05, "{}: {variance}, {exact:?}", estimator.facts().name);
        // The bias's length, by as much as the mean strays.
        let bias = (&mean - hessian).mapv(|x| x * x).sum().sqrt();
        let strays = (exact.variance / trajectories as f64).sqrt();
        assert!((bias - exact.bias.sqrt()).abs() < 4.0 * strays, "{}: {bias}, {exact:?}", estimator.facts().name);
    }
}
