//! The meta-gradients of the example `credit_assignment_1d`: in closed form what derivatives on the tape are, and in the mean the
//! gradient that quadrature has.

use ad::{Tape, Var};
use ndarray::{Array2, arr1};
use rl::stream::stream;
use study::credit_assignment_1d::experiment::START;
use study::credit_assignment_1d::meta_gradient::{
    Formulation, INNER_RATE, Pair, Trajectory, Variant, mean_return, meta_gradient, policy_gradient, sample,
};
use study::statistics::mean_and_std;

const SIZE: [usize; 2] = [7, 5];

/// Trajectories, and what was seen and done in them, `[N, H]` each.
fn seen(goal: f64, theta: Pair, variant: Variant, seed: u64) -> (Vec<Trajectory>, [Array2<f64>; 2]) {
    let (mut states, mut actions) = (Vec::new(), Vec::new());
    let trajectories = sample(goal, theta, variant, SIZE, &mut stream(seed, 0), |state, action| {
        states.push(state);
        actions.push(action);
    });
    (trajectories, [states, actions].map(|numbers| Array2::from_shape_vec(SIZE, numbers).unwrap()))
}

/// log p of each trajectory by θ `[2]`, `[N]`, up to a constant.
fn log_prob(theta: Var, [states, actions]: &[Array2<f64>; 2]) -> Var {
    let (states, actions) = (theta.constant(states), theta.constant(actions));
    ((actions - states.square() * theta.at(0, 0) - theta.at(0, 1)).square() * -0.5).sum_axes(&[1])
}

fn returns(trajectories: &[Trajectory]) -> ndarray::Array1<f64> {
    trajectories.iter().map(|trajectory| trajectory.earned).collect()
}

#[track_caller]
fn assert_close(found: Pair, expected: Var) {
    let expected = expected.value();
    for (a, b) in found.iter().zip(&expected) {
        assert!((a - b).abs() <= 1e-11 * b.abs().max(1.0), "{found:?}, not {expected}");
    }
}

#[test]
fn meta_gradients_in_closed_form_are_those_of_the_tape() {
    for (seed, variant) in [(0, Variant::Formulas), (1, Variant::Formulas), (2, Variant::Repository)] {
        let (before, data) = seen(1.0, START, variant, seed);
        let step = policy_gradient(&before);
        let adapted = [0, 1].map(|j| START[j] + INNER_RATE * step[j]);
        let (after, later) = seen(1.0, adapted, variant, seed + 10);

        let tape = Tape::new();
        let theta = tape.input("theta", arr1(&START));
        let earned = tape.constant(returns(&before));
        // θ′ as a function of θ at fixed data, and with boxes.
        let lead = |surrogate: Var| theta + surrogate.grad(theta) * INNER_RATE;
        let fixed = lead((earned * log_prob(theta, &data)).mean());
        let boxed = lead((earned * log_prob(theta, &data).magic_box()).mean());
        for (a, b) in adapted.iter().zip(&fixed.value()) {
            assert!((a - b).abs() < 1e-13);
        }
        let worth = |theta: Var| (tape.constant(returns(&after)) * log_prob(theta, &later)).mean();
        let scores = log_prob(theta, &data).sum() * mean_return(&after);
        let [post, first, second] =
            [worth(fixed), worth(boxed), worth(fixed) + scores].map(|surrogate| surrogate.grad(theta) * INNER_RATE);
        let found = |formulation: Formulation| meta_gradient(formulation, variant, &before, &after);
        assert_close(found(Formulation::II), second);
        match variant {
            Variant::Formulas => assert_close(found(Formulation::I), first),
            // Its second term lacks η.
            Variant::Repository => assert_close(found(Formulation::I), post + (first - post) / INNER_RATE),
        }
    }
}

/// E f(s, a, what is scored) over s ~ U(−2, 2) and a ~ N(θ_0 s² + θ_1, 1), by the midpoint rule.
fn expectation(theta: Pair, f: impl Fn(f64, f64) -> f64) -> f64 {
    let (states, actions) = (400, 1600);
    let mut sum = 0.0;
    for i in 0..states {
        let state = -2.0 + 4.0 * (f64::from(i) + 0.5) / f64::from(states);
        for j in 0..actions {
            let noise = -8.0 + 16.0 * (f64::from(j) + 0.5) / f64::from(actions);
            let density = (-0.5 * noise * noise).exp() / std::f64::consts::TAU.sqrt();
            sum += density * f(state, theta[0] * state * state + theta[1] + noise);
        }
    }
    sum * 16.0 / f64::from(states * actions)
}

#[test]
fn of_one_step_the_policy_gradient_is_that_of_quadrature_and_the_clipped_score_is_biased() {
    let value = |theta: Pair| expectation(theta, |_, a| (-0.1 * (a.clamp(-2.0, 2.0) - 1.0).powi(2)).exp());
    let trajectories = 400_000;
    let draw = |variant: Variant| sample(1.0, START, variant, [trajectories, 1], &mut stream(5, 0), |_, _| ());
    let of = |numbers: Vec<f64>, exact: f64, what: &str| {
        let (mean, std) = mean_and_std(&numbers);
        let error = std / (trajectories as f64).sqrt();
        assert!((mean - exact).abs() < 4.0 * error, "{what}: {mean} ± {error}, not {exact}");
    };
    let (unclipped, clipped) = (draw(Variant::Formulas), draw(Variant::Repository));
    for j in 0..2 {
        let h = 1e-4;
        let moved = |by: f64| value([0, 1].map(|k| START[k] + if k == j { by } else { 0.0 }));
        let slope = (moved(h) - moved(-h)) / (2.0 * h);
        of(unclipped.iter().map(|x| x.earned * x.score[j]).collect(), slope, "policy gradient");
        of(unclipped.iter().map(|x| x.score[j]).collect(), 0.0, "score");
        let biased = expectation(START, |s, a| {
            let feature = [s * s, 1.0];
            (a.clamp(-2.0, 2.0) - START[0] * feature[0] - START[1]) * feature[j]
        });
        assert!(biased < -0.005, "{biased}");
        of(clipped.iter().map(|x| x.score[j]).collect(), biased, "clipped score");
    }
}
