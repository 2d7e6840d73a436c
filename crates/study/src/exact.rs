//! Exact biases of the estimators on a small problem drawn from a seed, by enumeration of every trajectory.

use ad::Var;
use ndarray::{Array1, Array2, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use rl::batch::Batch;
use rl::env::Horizon;
use rl::env::TabularMdp;
use rl::error::Result;
use rl::objective::{Claim, Estimator, Orders};
use rl::policy::softmax;
use rl::truth::{ROUNDING, Setting, check_estimator, derivatives, max_abs};

use crate::output::Output;

/// A few states and actions with P ~ Dirichlet(1), so that no bias vanishes because the process is deterministic.
pub struct Problem {
    /// The process.
    pub mdp: TabularMdp,
    /// Of the policy π, `[S, A]`.
    pub logits: Array2<f64>,
    /// The logits of the policy μ that samples off policy, `[S, A]`.
    pub behaviour: Array2<f64>,
    /// The number of steps.
    pub horizon: usize,
}

impl Problem {
    /// With 2 states and 2 actions.
    pub fn new(seed: u64, early_end: bool, horizon: usize) -> Result<Self> {
        Self::sized(seed, early_end, [2, 2], horizon)
    }

    /// With this number of states and actions.
    pub fn sized(seed: u64, early_end: bool, [states, actions]: [usize; 2], horizon: usize) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mdp = TabularMdp::random(states, actions, 1.0, &mut rng)?;
        let end = Array1::from_shape_fn(states, |s| if s % 2 == 0 { 0.1 } else { 0.4 });
        let mdp = if early_end { mdp.with_termination(end)? } else { mdp };
        let logits = Array2::from_shape_simple_fn((states, actions), || rng.random_range(-1.0..1.0));
        // Far enough from π in every state that a bias of order ‖π − μ‖⁴ shows.
        let apart = |(_, action)| (if action % 2 == 0 { 1.0 } else { -1.0 }) * rng.random_range(0.3..0.7);
        let behaviour = &logits + Array2::from_shape_fn((states, actions), apart);
        Ok(Self { mdp, logits, behaviour, horizon })
    }

    /// With critics V and Q that are right (of the sampling policy) or wrong (numbers that mean nothing).
    pub fn setting(&self, gamma: f64, off_policy: bool, right_critic: bool) -> Result<Setting> {
        let setting = Setting::new(&self.mdp, &self.logits, self.horizon, gamma);
        let sampler = if off_policy { &self.behaviour } else { &self.logits };
        let setting = if off_policy { setting.off_policy(sampler) } else { setting };
        let (critic, action_critic) = if right_critic {
            let values = self.values(sampler, gamma)?;
            // What is left after an arrival: nothing, if the episode ends there.
            let left = &values * &self.mdp.termination().mapv(|end| gamma * (1.0 - end));
            let next = |s: usize, a: usize| self.mdp.transition().slice(ndarray::s![s, a, ..]).dot(&left);
            let action_values =
                Array2::from_shape_fn(self.logits.dim(), |(s, a)| next(s, a) + self.mdp.reward()[[s, a]]);
            (values, action_values)
        } else {
            let wrong = |s: usize| if s.is_multiple_of(2) { 1.7 } else { -0.6 };
            let action_values = Array2::from_shape_fn(self.logits.dim(), |(s, a)| wrong(s) + 0.8 * a as f64 - 0.5);
            (Array1::from_shape_fn(self.mdp.states(), wrong), action_values)
        };
        Ok(setting.with_action_critic(&action_critic).with_critic(&critic))
    }

    /// V(s) from each state, over the horizon.
    fn values(&self, logits: &Array2<f64>, gamma: f64) -> Result<Array1<f64>> {
        let horizon = Horizon::Finite { steps: self.horizon, terminal: None };
        let from = |state: usize| {
            let start = Array1::from_shape_fn(self.mdp.states(), |s| f64::from(s == state));
            let mdp = self.mdp.clone().with_start(start)?;
            Ok(derivatives(&mdp, logits, gamma, &horizon, 0)?[0].sum())
        };
        (0..self.mdp.states()).map(from).collect()
    }
}

/// Right and wrong critics, γ = 0.9 and γ = 1, early end or not; 2 states and 2 actions.
pub fn settings(seed: u64, off_policy: bool, horizon: usize) -> Result<Vec<Setting>> {
    settings_sized(seed, off_policy, [2, 2], horizon)
}

/// The same with this number of states and actions.
pub fn settings_sized(seed: u64, off_policy: bool, size: [usize; 2], horizon: usize) -> Result<Vec<Setting>> {
    let mut settings = Vec::new();
    for early_end in [false, true] {
        let problem = Problem::sized(seed, early_end, size, horizon)?;
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
    /// The order of derivative.
    pub order: usize,
    /// Whether the estimator claims that there is none.
    pub claimed: bool,
    /// The largest entry of E\[estimate\] − truth, in absolute value.
    pub max_abs_bias: f64,
    /// The largest entry of the truth, in absolute value.
    pub max_abs_truth: f64,
    /// How large the terms are that are summed, at most.
    pub scale: f64,
    /// The bias as a part of that, the largest.
    pub relative_bias: f64,
}

impl Bias {
    /// Whether it is nothing but rounding.
    pub fn vanishes(&self) -> bool {
        self.relative_bias <= ROUNDING
    }
}

/// The largest biases of the derivatives of orders 0 to 3, with 2 states and 2 actions.
pub fn biases(estimator: &dyn Estimator, seed: u64, off_policy: bool, horizon: usize) -> Result<Vec<Bias>> {
    biases_in(estimator, &settings(seed, off_policy, horizon)?, off_policy, 3)
}

/// The largest biases of the derivatives of orders 0 to `order`, over these settings.
pub fn biases_in(estimator: &dyn Estimator, settings: &[Setting], off_policy: bool, order: usize) -> Result<Vec<Bias>> {
    let empty = |order| Bias {
        order,
        claimed: estimator.facts().claim.contains(order, off_policy),
        max_abs_bias: 0.0,
        max_abs_truth: 0.0,
        scale: 0.0,
        relative_bias: 0.0,
    };
    let mut largest: Vec<Bias> = (0..=order).map(empty).collect();
    for setting in settings {
        let report = check_estimator(estimator, setting, order)?;
        for (largest, order) in largest.iter_mut().zip(&report.orders) {
            largest.max_abs_bias = max_abs(&[largest.max_abs_bias, order.max_abs_bias()]);
            largest.max_abs_truth = max_abs(&[largest.max_abs_truth, order.max_abs_truth()]);
            largest.scale = max_abs(&[largest.scale, order.scale]);
            largest.relative_bias = max_abs(&[largest.relative_bias, order.relative_bias()]);
        }
    }
    Ok(largest)
}

/// One line of `exact.csv`: an estimator's exact bias at one order, on or off policy.
#[derive(Clone, Debug)]
pub struct Row {
    /// The estimator's name.
    pub estimator: String,
    /// `on` or `off`.
    pub policy: &'static str,
    /// What was found.
    pub bias: Bias,
    /// Whether it is exact here although it does not claim it: TayPO-K is, where no trajectory is longer than K.
    pub vanishes: bool,
}

impl Row {
    /// Whether the bias is what the claim says: nothing but rounding where one is claimed, and elsewhere clearly there.
    pub fn holds(&self) -> bool {
        if self.bias.claimed || self.vanishes { self.bias.vanishes() } else { self.bias.relative_bias > BIASED }
    }
}

/// A bias from this on, as a part of the terms that are summed, is none of rounding.
const BIASED: f64 = 100.0 * ROUNDING;

/// The biases of every estimator on tables of a seed, orders 0 to 3, in parallel.
pub fn rows(
    estimators: &[Box<dyn Estimator>],
    seed: u64,
    size: [usize; 2],
    horizon: usize,
    done: impl Fn() + Sync,
) -> Result<Vec<Row>> {
    rows_in(estimators, 3, done, |estimator, off_policy| {
        let horizon = listable(seed, size, horizon, estimator.facts().smallest_batch)?;
        Ok((horizon, settings_sized(seed, off_policy, size, horizon)?))
    })
}

/// The biases of every estimator, in parallel, over settings that are made for it, on or off policy, with the horizon they have; of
/// none if there are no settings.
pub fn rows_in(
    estimators: &[Box<dyn Estimator>],
    order: usize,
    done: impl Fn() + Sync,
    settings: impl Fn(&dyn Estimator, bool) -> Result<(usize, Vec<Setting>)> + Sync,
) -> Result<Vec<Row>> {
    let jobs: Vec<_> = estimators.iter().flat_map(|estimator| [(&**estimator, "on"), (&**estimator, "off")]).collect();
    let of_one = |&(estimator, policy): &(&dyn Estimator, &'static str)| {
        let (horizon, settings) = settings(estimator, policy == "off")?;
        if settings.is_empty() {
            return Ok(Vec::new());
        }
        let biases = biases_in(estimator, &settings, policy == "off", order)?;
        done();
        // With one step there is nothing to look ahead to either.
        let vanishes = estimator.facts().claim.off_policy_residual.is_some_and(|order| horizon <= order)
            || (horizon == 1 && estimator.facts().name == "loaded_tau");
        let row = |bias| Row { estimator: estimator.facts().name, policy, bias, vanishes };
        Ok(biases.into_iter().filter(|bias| bias.order > 0 || has_value(&estimator.facts().claim)).map(row).collect())
    };
    let rows: Result<Vec<Vec<Row>>> = jobs.par_iter().map(of_one).collect();
    Ok(rows?.concat())
}

/// The horizon, or a shorter one if there are too many batches of this many trajectories to list them in seconds.
pub fn listable(seed: u64, size: [usize; 2], horizon: usize, batch: usize) -> Result<usize> {
    if batch == 1 {
        return Ok(horizon);
    }
    let problem = Problem::sized(seed, true, size, horizon)?;
    let mut shorter = 1;
    while shorter < horizon {
        let trajectories = problem.mdp.enumerate(&softmax(&problem.logits), shorter + 1)?.probabilities.len();
        if (trajectories as f64).powf(batch as f64) > 30_000.0 {
            break;
        }
        shorter += 1;
    }
    Ok(shorter)
}

/// Whether the value of a surrogate is an estimate at all; AD's is not, only its gradient.
fn has_value(claim: &Claim) -> bool {
    !matches!(claim.on_policy, Orders::Only(order) if order > 0)
}

/// A line for each estimator on and off policy: the bias at each order.
pub fn print_rows(output: &mut Output, rows: &[Row]) {
    let width = rows.iter().map(|row| row.estimator.len()).max().unwrap_or(0).max(9);
    let orders = rows.iter().map(|row| row.bias.order).max().unwrap_or(0);
    let heads = ["     value", "gradient", "Hessian", "3rd order"][..=orders].iter();
    let heads: Vec<String> = heads.map(|head| format!("{head:>10} ")).collect();
    writeln!(output, "{:<width$}  policy {}", "estimator", heads.join(" "));
    for line in rows.chunk_by(|a, b| (&a.estimator, a.policy) == (&b.estimator, b.policy)) {
        let cells: Vec<String> = (0..=orders)
            .map(|order| match line.iter().map(|row| &row.bias).find(|bias| bias.order == order) {
                Some(bias) => {
                    let mark = if bias.claimed { " " } else { "*" };
                    let number = if bias.vanishes() { "0".to_owned() } else { format!("{:.1e}", bias.max_abs_bias) };
                    format!("{number:>10}{mark}")
                }
                None => format!("{:>10} ", "–"),
            })
            .collect();
        writeln!(output, "{:<width$}  {:<6} {}", line[0].estimator, line[0].policy, cells.join(" "));
    }
}

/// `exact.csv`.
pub fn write_rows(output: &mut Output, rows: &[Row]) {
    let row = |Row { estimator, policy, bias, .. }: &Row| {
        [
            estimator.clone(),
            (*policy).to_owned(),
            bias.order.to_string(),
            bias.claimed.to_string(),
            format!("{:e}", bias.max_abs_bias),
            format!("{:e}", bias.max_abs_truth),
            format!("{:e}", bias.relative_bias),
        ]
    };
    let columns = ["estimator", "policy", "order", "claimed", "max_abs_bias", "max_abs_truth", "relative_bias"];
    output.table("exact.csv", &columns, rows.iter().map(row));
}

/// An estimate of a derivative, of one batch: its expectation, all entries in a row, and the sum of their variances.
#[derive(Clone, Debug)]
pub struct Estimate {
    /// E\[estimate\].
    pub mean: Array1<f64>,
    /// E‖estimate − E\[estimate\]‖².
    pub variance: f64,
}

/// Gradient and Hessian of each of several surrogates, over every batch of so many trajectories.
pub fn estimates(
    setting: &Setting,
    batch: usize,
    surrogates: impl FnOnce(&Batch) -> Vec<Var>,
) -> Result<Vec<[Estimate; 2]>> {
    let mut sizes = [0; 2];
    let row = setting.expectation_over(batch, |batch, _, theta| {
        sizes = [theta.size(), theta.size().pow(2)];
        let rows = surrogates(batch).into_iter().flat_map(|surrogate| {
            [1, 2].map(|order| {
                let derivative = surrogate.derivative(theta, order);
                let entries = derivative.reshape(&[derivative.size()]);
                Var::concat(&[entries, entries.square()], 0)
            })
        });
        Var::concat(&rows.collect::<Vec<_>>(), 0)
    })?;
    let row: Array1<f64> = row.into_iter().collect();
    let mut place = 0;
    let mut next = |size: usize| {
        let mean = row.slice(s![place..place + size]).to_owned();
        let square = row.slice(s![place + size..place + 2 * size]).sum();
        place += 2 * size;
        Estimate { variance: square - mean.dot(&mean), mean }
    };
    let all = (0..row.len() / (2 * (sizes[0] + sizes[1]))).map(|_| sizes.map(&mut next));
    Ok(all.collect())
}
