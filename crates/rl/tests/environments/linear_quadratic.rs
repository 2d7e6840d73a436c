//! Linear-quadratic control against its values in closed form.

use ndarray::{Array1, Array2, array, s};
use rl::env::{Environment, LinearQuadratic, Slot, sample};
use rl::error::Error;
use rl::policy::{Dist, Normal, Numbers, Params, Policy};
use rl::rollout::Rollout;
use rl::stream::stream;
use serde_json::json;

use super::{assert_mean, assert_near, in_state, step};

/// a ~ N(K s, diag σ²).
struct Linear {
    gain: Array2<f64>,
    deviation: Array1<f64>,
}

impl Policy for Linear {
    fn init(&self, _: &mut dyn rand::Rng) -> Numbers {
        let log_std = self.deviation.mapv(f64::ln);
        Numbers::from([
            ("k".to_owned(), self.gain.t().to_owned().into_dyn()),
            ("log_std".to_owned(), log_std.into_dyn()),
        ])
    }
    fn along(&self, theta: &Params, observations: ad::Handle) -> Dist {
        let mean = observations.var().matmul(theta["k"]);
        Normal::new(mean, theta["log_std"].broadcast_to(&mean.shape())).into()
    }
}

/// P_H and c_H: the value of `horizon` steps from s is −(sᵀ P_H s + c_H).
fn cost(task: &LinearQuadratic, policy: &Linear, noise: f64, horizon: usize) -> (Array2<f64>, f64) {
    let [a, b, q, r] = task.matrices();
    let (k, variances) = (&policy.gain, Array2::from_diag(&policy.deviation.mapv(|x| x * x)));
    let closed = a + &b.dot(k);
    let spread = b.dot(&variances).dot(&b.t()) + Array2::<f64>::eye(a.nrows()) * (noise * noise);
    let (mut p, mut c) = (Array2::zeros(a.dim()), 0.0);
    for _ in 0..horizon {
        c += r.dot(&variances).diag().sum() + p.dot(&spread).diag().sum();
        p = q + &k.t().dot(r).dot(k) + closed.t().dot(&p).dot(&closed);
    }
    (p, c)
}

fn returns(rollout: &Rollout) -> Vec<f64> {
    rollout.rewards().rows().into_iter().map(|row| row.sum()).collect()
}

/// Three components of a state, two of an action; nothing is symmetric.
fn task() -> LinearQuadratic {
    LinearQuadratic::new(
        array![[0.9, 0.2, 0.0], [-0.1, 0.7, 0.3], [0.0, 0.4, 0.5]],
        array![[1.0, 0.0], [0.2, -0.5], [0.0, 0.8]],
        array![[1.0, 0.3, 0.0], [0.1, 0.5, 0.0], [0.0, -0.2, 2.0]],
        array![[0.4, 0.1], [0.0, 0.7]],
    )
    .unwrap()
}

fn policy() -> Linear {
    Linear { gain: array![[-0.4, 0.1, 0.0], [0.2, -0.3, 0.1]], deviation: array![0.5, 0.3] }
}

#[test]
fn a_step_is_linear_and_costs_a_quadratic() {
    let mut small: LinearQuadratic = in_state(&json!({
        "a": { "v": 1, "dim": [2, 2], "data": [1.0, 0.1, 0.0, 1.0] },
        "b": { "v": 1, "dim": [2, 1], "data": [0.0, 0.1] },
        "q": { "v": 1, "dim": [2, 2], "data": [1.0, 2.0, 0.0, 3.0] },
        "r": { "v": 1, "dim": [1, 1], "data": [0.5] },
        "noise": 0.0,
        "start": 1.0,
        "state": { "v": 1, "dim": [2], "data": [1.0, -2.0] },
    }));
    // sᵀQs = 1 − 4 + 12, aᵀRa = 4.5; s' = (1 − 0.2, −2 + 0.3).
    let (seen, paid) = step(&mut small, &[3.0]);
    assert_near(&[&seen[..], &[paid.reward]].concat(), &[0.8, -1.7, -13.5]);
    assert!(!paid.terminated && !paid.truncated);
    let (seen, paid) = step(&mut small, &[0.0]);
    assert_near(&[&seen[..], &[paid.reward]].concat(), &[0.63, -1.7, -(0.64 - 2.72 + 8.67)]);
}

#[test]
fn values_are_those_of_the_closed_form() {
    let theta = policy().init(&mut stream(0, 0));
    for (noise, start, horizon) in [(0.0, 1.0, 1), (0.2, 0.7, 6), (0.5, 0.0, 4)] {
        let task = task().with_noise(noise).and_then(|task| task.with_start(start)).unwrap();
        // Of s_0 ~ N(0, σ_0² I): −(σ_0² tr P + c). 40 000 trajectories, five standard errors.
        let (p, c) = cost(&task, &policy(), noise, horizon);
        let sampled = returns(&sample(&task, &policy(), &theta, horizon, 40_000, 1).unwrap());
        assert_mean(&sampled, -(start * start * p.diag().sum() + c));
    }
}

#[test]
fn without_noise_each_trajectory_has_its_value() {
    let policy = Linear { deviation: array![1e-30, 1e-30], ..policy() };
    let rollout = sample(&task(), &policy, &policy.init(&mut stream(0, 0)), 8, 20, 2).unwrap();
    let (p, c) = cost(&task(), &policy, 0.0, 8);
    assert!(c < 1e-50);
    let seen = rollout.observations().array::<f64>().unwrap();
    for (n, found) in returns(&rollout).into_iter().enumerate() {
        let start = Array1::from(seen.slice(s![n, 0, ..]).to_vec());
        let expected = -start.dot(&p.dot(&start));
        assert!((found - expected).abs() < 1e-13 * expected.abs(), "{n}: {found}, not {expected}");
    }
}

#[test]
fn random_ones_are_stable_and_nearly_not() {
    for i in 0..50 {
        let (states, actions) = (1 + i % 6, 1 + i % 3);
        let mut task = LinearQuadratic::random(states, actions, &mut stream(3, i as u64)).unwrap();
        assert_eq!(task.matrices()[1].dim(), (states, actions));
        assert_eq!(task.matrices()[2], Array2::<f64>::eye(states));
        // What any vector grows by in a step, in the long run: the spectral radius.
        let mut vector = vec![0.0; states];
        task.reset(&mut stream(4, i as u64), Slot::F64(&mut vector)).unwrap();
        let (mut vector, mut growth) = (Array1::from(vector), 0.0);
        for _ in 0..4000 {
            vector = task.matrices()[0].dot(&vector);
            let size = vector.dot(&vector).sqrt();
            growth += size.ln() / 4000.0;
            vector /= size;
        }
        let radius = growth.exp();
        assert!((0.89..0.903).contains(&radius), "{states} components: {radius}");
    }
}

#[test]
fn what_is_no_such_problem_is_refused_by_name() {
    let new = |a, b, q, r| LinearQuadratic::new(a, b, q, r).unwrap_err().to_string();
    let (two, one) = (Array2::<f64>::eye(2), Array2::<f64>::eye(1));
    let b = array![[0.0], [1.0]];
    let words = "A has shape [1, 1], but must have shape [2, 2]";
    assert_eq!(new(one.clone(), b.clone(), two.clone(), one.clone()), words);
    let words = "R has shape [2, 2], but must have shape [1, 1]";
    assert_eq!(new(two.clone(), b.clone(), two.clone(), two.clone()), words);
    assert_eq!(new(two.clone(), array![[0.0], [f64::NAN]], two.clone(), one.clone()), "B[1, 0] = NaN must be finite");
    let none = Array2::zeros((2, 0));
    let words = "no components of an action: give at least one";
    assert_eq!(new(two.clone(), none, two.clone(), Array2::zeros((0, 0))), words);
    assert!(matches!(task().with_noise(f64::NAN), Err(Error::Deviation(_))));
    assert!(matches!(task().with_start(-1.0), Err(Error::Deviation(_))));
    assert!(matches!(LinearQuadratic::random(0, 1, &mut stream(0, 0)), Err(Error::Empty { .. })));
}
