//! Exact biases under Gaussian policies: in linear-quadratic control of one component, drawn from a seed.

use ad::Handle;
use ndarray::{Array2, arr1, array};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rl::env::{LinearQuadratic, Quadratic};
use rl::error::Result;
use rl::objective::Estimator;
use rl::policy::{Dist, Normal, Numbers, Params, Policy};
use rl::truth::{SampledUpdate, Setting};

use crate::exact::{Row, rows_in};
use crate::output::Output;
use crate::sampled;

/// a ~ N(w s + b, σ²).
#[derive(Clone, Copy, Debug)]
pub struct Linear {
    /// log σ, if it is no parameter.
    pub log_std: Option<f64>,
}

impl Linear {
    /// w, b, and log σ if it is a parameter.
    pub fn numbers(&self, [weight, bias, log_std]: [f64; 3]) -> Numbers {
        let mut numbers = vec![("weight", weight), ("bias", bias)];
        if self.log_std.is_none() {
            numbers.push(("log_std", log_std));
        }
        numbers.into_iter().map(|(name, x)| (name.to_owned(), arr1(&[x]).into_dyn())).collect()
    }
}

impl Policy for Linear {
    fn init(&self, _: &mut dyn Rng) -> Numbers {
        self.numbers([0.0; 3])
    }

    fn along(&self, theta: &Params, observations: Handle) -> Dist {
        let mean = observations.var() * theta["weight"] + theta["bias"];
        let log_std = match self.log_std {
            Some(log_std) => mean.full_like(log_std),
            None => theta["log_std"].broadcast_to(&mean.shape()),
        };
        Normal::new(mean, log_std).into()
    }
}

/// A problem, a policy and one that samples off policy, in numbers.
#[derive(Clone, Debug)]
pub struct Problem {
    /// s′ = a s + b a + σ ε, r = −(s² + r a²), without noise.
    pub quiet: LinearQuadratic,
    /// Of π: w, b and log σ.
    pub theta: [f64; 3],
    /// Of μ.
    pub behaviour: [f64; 3],
}

const NOISE: f64 = 0.3;

impl Problem {
    /// The problem of a seed: a in [0.5, 1], b in [0.5, 1], r in [0.2, 0.6], s_0 ~ N(0, 0.8²). The policies are so near each other that
    /// sums with their ratios converge.
    pub fn new(seed: u64) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut number = |low: f64, high: f64| rng.random_range(low..high);
        let matrices = [number(0.5, 1.0), number(0.5, 1.0), 1.0, number(0.2, 0.6)];
        let [a, b, q, r] = matrices.map(|x| Array2::from_elem((1, 1), x));
        let theta = [number(-0.6, -0.2), number(0.1, 0.3), number(-0.5, -0.2)];
        let apart = [number(0.1, 0.15), -number(0.1, 0.15), number(0.05, 0.1)];
        let behaviour = [0, 1, 2].map(|i| theta[i] + apart[i]);
        Ok(Self { quiet: LinearQuadratic::new(a, b, q, r)?.with_start(0.8)?, theta, behaviour })
    }

    /// For each γ two, with critics that are right (the values of who samples, over all steps) and wrong.
    pub fn settings(&self, gammas: &[f64], off_policy: bool, noise: f64, horizon: usize) -> Result<Vec<Setting>> {
        let problem = self.quiet.clone().with_noise(noise)?;
        let policy = Linear { log_std: None };
        let (theta, behaviour) = (policy.numbers(self.theta), policy.numbers(self.behaviour));
        let mut settings = Vec::new();
        for &gamma in gammas {
            let setting = Setting::linear_quadratic(&problem, policy, &theta, horizon, gamma);
            let setting = if off_policy { setting.off_policy(&behaviour) } else { setting };
            let sampler = if off_policy { &behaviour } else { &theta };
            let values = problem.value(&policy, sampler, gamma, horizon)?;
            let action_values = problem.action_values(&values, gamma)?;
            settings.push(setting.clone().with_action_critic(&action_values).with_critic(&values));
            let values = Quadratic { matrix: array![[-0.7]], linear: arr1(&[0.3]), constant: 0.5 };
            let linear = arr1(&[0.3, -0.2]);
            let action_values = Quadratic { matrix: array![[-0.7, 0.2], [0.1, -0.4]], linear, constant: 0.5 };
            settings.push(setting.with_action_critic(&action_values).with_critic(&values));
        }
        Ok(settings)
    }

    /// One inner step of w and b with N = 2 trajectories of one step, of rate 0.1.
    pub fn update(&self) -> SampledUpdate {
        let policy = Linear { log_std: Some(self.theta[2]) };
        let theta = policy.numbers(self.theta);
        SampledUpdate::linear_quadratic(&self.quiet, policy, &theta, 1, 0.9).rate(0.1).trajectories(2)
    }
}

/// Noise and the number of steps: `horizon` on policy, with noise; two off policy, without. What compares trajectories is looked at in
/// pairs, of two and one.
fn cell(estimator: &dyn Estimator, off_policy: bool, horizon: usize) -> (f64, usize) {
    match (estimator.facts().smallest_batch > 1, off_policy) {
        (false, false) => (NOISE, horizon),
        (false, true) | (true, false) => (0.0, 2),
        (true, true) => (0.0, 1),
    }
}

/// The bias of every estimator, orders 0 to 2, on and off policy, over two settings for each γ. (A ratio that is cut off is no function that quadrature is exact
/// for: off policy `dr_truncated` is left out.)
pub fn rows(
    estimators: &[Box<dyn Estimator>],
    seed: u64,
    horizon: usize,
    gammas: &[f64],
    done: impl Fn() + Sync,
) -> Result<Vec<Row>> {
    let problem = Problem::new(seed)?;
    rows_in(estimators, 2, done, |estimator, off_policy| {
        let (noise, horizon) = cell(estimator, off_policy, horizon);
        let cut_off = off_policy && estimator.facts().name == "dr_truncated";
        let settings = if cut_off { Vec::new() } else { problem.settings(gammas, off_policy, noise, horizon)? };
        Ok((horizon, settings))
    })
}

/// The bias of every gradient through [`Problem::update`].
pub fn sampled_rows(seed: u64) -> Result<Vec<Row>> {
    sampled::rows(&Problem::new(seed)?.update())
}

/// `lqr.csv`.
pub fn write_rows(output: &mut Output, rows: &[Row]) {
    let row = |Row { estimator, policy, bias, .. }: &Row| {
        let [bias_found, scale] = [bias.max_abs_bias, bias.scale].map(|x| format!("{x:e}"));
        let (order, claimed) = (bias.order.to_string(), bias.claimed.to_string());
        [estimator.clone(), (*policy).to_owned(), order, claimed, bias_found, scale]
    };
    output.table(
        "lqr.csv",
        &["estimator", "policy", "order", "claimed", "max_abs_bias", "scale"],
        rows.iter().map(row),
    );
}
