//! Proof by exhaustion: an estimator's expectation, over every batch of trajectories there can be, against the truth.

use std::fmt::{self, Display};

use ad::{Tape, Var};
use ndarray::{Array1, Array2, ArrayD};

use super::tuples::{products, tuples};
use super::value::{Horizon, derivatives};
use crate::batch::{Batch, Episodes};
use crate::error::{Error, Result};
use crate::mdp::TabularMdp;
use crate::objective::{Estimator, allow_biased};
use crate::policy::softmax;

/// A small problem in which everything can be listed: process, policies, horizon, critic.
#[derive(Clone, Debug)]
pub struct Setting {
    mdp: TabularMdp,
    logits: Array2<f64>,
    behaviour: Option<Array2<f64>>,
    horizon: usize,
    gamma: f64,
    critic: Option<Array1<f64>>,
    bootstraps: bool,
}

impl Setting {
    /// Trajectories of up to `horizon` steps, sampled by the softmax policy with these logits θ, `[S, A]`, itself.
    pub fn new(mdp: &TabularMdp, logits: &Array2<f64>, horizon: usize, gamma: f64) -> Self {
        let (mdp, logits) = (mdp.clone(), logits.clone());
        Self { mdp, logits, behaviour: None, horizon, gamma, critic: None, bootstraps: false }
    }

    /// Sampled by the softmax policy with these logits, `[S, A]`, instead.
    #[must_use]
    pub fn off_policy(self, behaviour: &Array2<f64>) -> Self {
        Self { behaviour: Some(behaviour.clone()), ..self }
    }

    /// With a critic V(s), `[S]`. The truth then counts V(s_H) at truncation: what an estimator that bootstraps estimates.
    #[must_use]
    pub fn with_critic(self, critic: &Array1<f64>) -> Self {
        Self { critic: Some(critic.clone()), bootstraps: true, ..self }
    }

    /// Whether the truth counts the critic at truncation (it does from [`with_critic`](Self::with_critic) on), or 0.
    #[must_use]
    pub fn bootstrapping(self, bootstraps: bool) -> Self {
        Self { bootstraps, ..self }
    }

    fn truth(&self, order: usize) -> Result<Vec<ArrayD<f64>>> {
        let terminal = if self.bootstraps { self.critic.clone() } else { None };
        let horizon = Horizon::Finite { steps: self.horizon, terminal };
        derivatives(&self.mdp, &self.logits, self.gamma, &horizon, order)
    }

    /// The derivatives of orders 0 … `order` of Σ p(batch)·surrogate(batch) over every `batch`-tuple of trajectories.
    fn expectations(
        &self,
        surrogate: impl FnOnce(&Batch) -> Var,
        order: usize,
        batch: usize,
    ) -> Result<Vec<ArrayD<f64>>> {
        if batch == 0 {
            return Err(Error::Empty { what: "trajectories in a batch" });
        }
        let behaviour = softmax(self.behaviour.as_ref().unwrap_or(&self.logits));
        let single = self.mdp.enumerate(&behaviour, self.horizon)?;
        let members = tuples(single.probabilities.len(), batch)?;
        let probabilities: Array1<f64> = products(&single.probabilities, &members, batch);
        let rollout = single.rollout.select(&members);

        let tape = Tape::new();
        let theta = tape.input("theta", &self.logits);
        let log_behaviour = self.behaviour.as_ref().map(|behaviour| tape.constant(behaviour).log_softmax());
        let critic = self.critic.as_ref().map(|critic| tape.constant(critic));
        let all = rollout.record(&tape).in_batches(batch);
        let surrogates = all.map(|episodes: Episodes| {
            let mut batch = Batch::new(episodes, episodes.log_prob(theta), self.gamma);
            if let Some(log_behaviour) = log_behaviour {
                batch = batch.off_policy(episodes.look_up(log_behaviour));
            }
            if let Some(critic) = critic {
                batch = batch.with_critic(critic.gather(&[episodes.states]));
            }
            surrogate(&batch)
        });
        let expectation = (surrogates * probabilities).sum();
        let results: Vec<Var> = (0..=order).map(|order| derivative_or_zero(expectation, theta, order)).collect();
        Ok(ad::evaluate(&results))
    }
}

/// A surrogate's exact expectations beside the truth.
#[derive(Clone, Debug)]
pub struct Report {
    /// One for each order, from 0 on.
    pub orders: Vec<OrderReport>,
}

/// One order of a [`Report`].
#[derive(Clone, Debug)]
pub struct OrderReport {
    /// The order of the derivative; 0 is the value.
    pub order: usize,
    /// E[∇^k surrogate], of k times θ's shape.
    pub expectation: ArrayD<f64>,
    /// ∇^k V.
    pub truth: ArrayD<f64>,
}

impl OrderReport {
    /// The largest entry of |E[∇^k surrogate] − ∇^k V|.
    pub fn max_abs_bias(&self) -> f64 {
        max_abs((&self.expectation - &self.truth).iter())
    }

    /// The largest entry of |∇^k V|.
    pub fn max_abs_truth(&self) -> f64 {
        max_abs(self.truth.iter())
    }

    /// Whether the bias is nothing but rounding: at most 1e-10.
    pub fn is_unbiased(&self) -> bool {
        self.max_abs_bias() <= 1e-10
    }
}

impl Report {
    /// Of the derivatives of orders 0, 1, …: their expectations, and the truth.
    pub(super) fn new(expectations: Vec<ArrayD<f64>>, truth: Vec<ArrayD<f64>>) -> Self {
        let orders = (0..).zip(expectations).zip(truth);
        Self { orders: orders.map(|((order, expectation), truth)| OrderReport { order, expectation, truth }).collect() }
    }

    /// Whether the derivative of this order is unbiased (to 1e-10).
    ///
    /// Panics if the report does not go that far.
    pub fn is_unbiased(&self, order: usize) -> bool {
        self.orders[order].is_unbiased()
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "order  largest bias  largest truth")?;
        for order in &self.orders {
            let verdict = if order.is_unbiased() { "unbiased" } else { "BIASED" };
            let (bias, truth) = (order.max_abs_bias(), order.max_abs_truth());
            writeln!(f, "{:>5}  {bias:>12.3e}  {truth:>13.3e}  {verdict}", order.order)?;
        }
        Ok(())
    }
}

/// Compares the exact expectations of a surrogate's derivatives, of orders 0 to `order`, with the truth's.
///
/// The surrogate is any function of a [`Batch`]: a user's own, in a test of theirs. Every `batch`-tuple of trajectories is
/// handed to it as an ordinary batch, so that what couples the trajectories of a batch (a mean used as baseline, a
/// normalisation) is judged too.
///
/// # Errors
///
/// [`Error::TooManyTrajectories`] if there are more than 10^6 tuples; those of [`TabularMdp::enumerate`] and
/// [`derivatives`].
///
/// ```
/// # use ndarray::array;
/// # use rl::{mdp::TabularMdp, truth::{Setting, check_unbiased}};
/// # let mdp = TabularMdp::new(ndarray::Array3::from_elem((2, 2, 2), 0.5), array![[0.0, 1.0], [2.0, 3.0]])?;
/// let setting = Setting::new(&mdp, &array![[0.3, -0.2], [0.1, 0.4]], 3, 0.9);
/// let mine = |b: &rl::batch::Batch| b.discounted_sum(b.rewards() * b.cumulative_ratio()).mean();
/// let report = check_unbiased(mine, &setting, 2, 1)?;
/// assert!(report.is_unbiased(0) && report.is_unbiased(1) && report.is_unbiased(2), "{report}");
/// # Ok::<(), rl::error::Error>(())
/// ```
pub fn check_unbiased(
    surrogate: impl FnOnce(&Batch) -> Var,
    setting: &Setting,
    order: usize,
    batch: usize,
) -> Result<Report> {
    let expectations = setting.expectations(surrogate, order, batch)?;
    let truth = setting.truth(order)?;
    Ok(Report::new(expectations, truth))
}

/// [`check_unbiased`] of an estimator of this crate, at every order, whether it claims it or not, and against the truth it
/// is an estimate of.
///
/// # Errors
///
/// Those of [`check_unbiased`].
pub fn check_estimator(estimator: &dyn Estimator, setting: &Setting, order: usize) -> Result<Report> {
    let setting = setting.clone().bootstrapping(estimator.bootstraps());
    check_unbiased(|batch| allow_biased(estimator).surrogate(batch), &setting, order, 1)
}

/// A surrogate whose value does not depend on θ at all has derivatives of 0, which is worth knowing and no error here.
pub(super) fn derivative_or_zero(value: Var, theta: Var, order: usize) -> Var {
    let linked = value + theta.sum() * 0.0;
    linked.derivative(theta, order)
}

fn max_abs<'a>(entries: impl Iterator<Item = &'a f64>) -> f64 {
    // A NaN is no small number: it must not be passed over as `f64::max` does.
    entries.fold(0.0, |largest, x| if x.abs() <= largest { largest } else { x.abs() })
}
