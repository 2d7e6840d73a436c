//! Exact biases of the estimators on a small problem drawn from a seed, by enumeration of every trajectory.

use ndarray::{Array1, Array2, array};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rl::error::Result;
use rl::mdp::TabularMdp;
use rl::objective::Estimator;
use rl::truth::{Horizon, Setting, check_estimator, derivatives};

/// 2 states and 2 actions with P ~ Dirichlet(1), so that no bias vanishes because the process is deterministic.
pub struct Problem {
    pub mdp: TabularMdp,
    pub logits: Array2<f64>,
    pub behaviour: Array2<f64>,
    pub horizon: usize,
}

impl Problem {
    pub fn new(seed: u64, early_end: bool, horizon: usize) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mdp = TabularMdp::random(2, 2, 1.0, &mut rng)?;
        let mdp = if early_end { mdp.with_termination(array![0.1, 0.4])? } else { mdp };
        let mut table = |size: f64| Array2::from_shape_simple_fn((2, 2), || rng.random_range(-size..size));
        let logits = table(1.0);
        let behaviour = &logits + &table(0.5);
        Ok(Self { mdp, logits, behaviour, horizon })
    }

    /// With a critic that is right (the value of the sampling policy) or wrong (two fixed numbers).
    pub fn setting(&self, gamma: f64, off_policy: bool, right_critic: bool) -> Result<Setting> {
        let setting = Setting::new(&self.mdp, &self.logits, self.horizon, gamma);
        let sampler = if off_policy { &self.behaviour } else { &self.logits };
        let setting = if off_policy { setting.off_policy(sampler) } else { setting };
        let critic = if right_critic { self.values(sampler, gamma)? } else { array![1.7, -0.6] };
        Ok(setting.with_critic(&critic))
    }

    /// V(s) from each state, over the horizon.
    fn values(&self, logits: &Array2<f64>, gamma: f64) -> Result<Array1<f64>> {
        let horizon = Horizon::Finite { steps: self.horizon, terminal: None };
        let from = |state: usize| {
            let start = Array1::from_shape_fn(2, |s| f64::from(s == state));
            let mdp = self.mdp.clone().with_start(start)?;
            Ok(derivatives(&mdp, logits, gamma, &horizon, 0)?[0].sum())
        };
        Ok(array![from(0)?, from(1)?])
    }
}

/// Right and wrong critic, γ = 0.9 and γ = 1, early end or not.
pub fn settings(seed: u64, off_policy: bool, horizon: usize) -> Result<Vec<Setting>> {
    let mut settings = Vec::new();
    for early_end in [false, true] {
        let problem = Problem::new(seed, early_end, horizon)?;
        for gamma in [0.9, 1.0] {
            for right_critic in [false, true] {
                settings.push(problem.setting(gamma, off_policy, right_critic)?);
            }
        }
    }
    Ok(settings)
}

/// The largest bias of an estimator at one order, over [`settings`].
#[derive(Clone, Debug)]
pub struct Bias {
    pub order: usize,
    pub claimed: bool,
    pub max_abs_bias: f64,
    pub max_abs_truth: f64,
}

/// The largest biases of the derivatives of orders 0 to 3.
pub fn biases(estimator: &dyn Estimator, seed: u64, off_policy: bool, horizon: usize) -> Result<Vec<Bias>> {
    let empty = |order| Bias {
        order,
        claimed: estimator.claim().contains(order, off_policy),
        max_abs_bias: 0.0,
        max_abs_truth: 0.0,
    };
    let mut largest: Vec<Bias> = (0..=3).map(empty).collect();
    for setting in settings(seed, off_policy, horizon)? {
        let report = check_estimator(estimator, &setting, 3)?;
        for (largest, order) in largest.iter_mut().zip(&report.orders) {
            largest.max_abs_bias = largest.max_abs_bias.max(order.max_abs_bias());
            largest.max_abs_truth = largest.max_abs_truth.max(order.max_abs_truth());
        }
    }
    Ok(largest)
}
