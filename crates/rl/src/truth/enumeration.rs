//! Proof by exhaustion: an estimator's expectation, over every batch of trajectories there can be, against the truth.

use std::sync::Arc;

use ad::{Tape, Var};
use ndarray::{Array1, Array2, ArrayD, ArrayViewD, Dimension, s};
use rayon::prelude::*;

use super::terms::{Sums, derivative_or_zero, derivatives_in_a_row, weighted_sums};
use super::tuples::{products, tuples};
use super::verdict::Report;
use crate::batch::{Batch, Decay};
use crate::env::{Enumeration, TabularMdp, sample};
use crate::error::{self, Error, Result};
use crate::objective::{End, Estimator, Facts, allow_biased};
use crate::policy::{self, Dist, Numbers, Params, Policy, Table, check_spaces, softmax};
use crate::rollout::{Episodes, Rollout, Space, check_count, check_shape};

/// A small problem in which everything can be listed: process, policies, horizon, critic.
#[derive(Clone)]
pub struct Setting {
    mdp: TabularMdp,
    policy: Arc<dyn Policy>,
    theta: Numbers,
    behaviour: Option<Array2<f64>>,
    horizon: usize,
    gamma: f64,
    critic: Option<Array1<f64>>,
    action_critic: Option<Array2<f64>>,
    /// What the truth counts the end of a truncated trajectory as.
    end: End,
}

impl Setting {
    /// Trajectories of up to `horizon` steps, sampled by the softmax policy with these logits θ, `[S, A]`, itself.
    pub fn new(mdp: &TabularMdp, logits: &Array2<f64>, horizon: usize, gamma: f64) -> Self {
        let (states, actions) = logits.dim();
        let theta = Table::numbers(logits);
        Self::of_policy(mdp, Table { states, actions }, &theta, horizon, gamma)
    }

    /// Trajectories of up to `horizon` steps, sampled by any policy over numbered states and actions, with these parameters θ.
    ///
    /// Derivatives by a θ of several leaves are by all of their entries, one leaf behind another: the k-th has k axes as long as
    /// there are parameters.
    pub fn of_policy(
        mdp: &TabularMdp,
        policy: impl Policy + 'static,
        theta: &Numbers,
        horizon: usize,
        gamma: f64,
    ) -> Self {
        let (mdp, policy, theta) = (mdp.clone(), Arc::new(policy), theta.clone());
        let (behaviour, critic, action_critic) = (None, None, None);
        Self { mdp, policy, theta, behaviour, horizon, gamma, critic, action_critic, end: End::Nothing }
    }

    /// Sampled by the softmax policy with these logits, `[S, A]`, instead.
    #[must_use]
    pub fn off_policy(self, behaviour: &Array2<f64>) -> Self {
        Self { behaviour: Some(behaviour.clone()), ..self }
    }

    /// With a critic V(s), `[S]`. The truth then counts V(s_H) at truncation: what an estimator that bootstraps estimates.
    #[must_use]
    pub fn with_critic(self, critic: &Array1<f64>) -> Self {
        Self { critic: Some(critic.clone()), end: End::Critic, ..self }
    }

    /// With an action critic Q(s, a), `[S, A]`. The truth then counts Σ_a π_θ(a|s_H) Q(s_H, a) at truncation, a function
    /// of θ.
    #[must_use]
    pub fn with_action_critic(self, critic: &Array2<f64>) -> Self {
        Self { action_critic: Some(critic.clone()), end: End::ActionCritic, ..self }
    }

    /// What the truth counts the end of a truncated trajectory as: by default as the critic that was given last.
    #[must_use]
    pub fn ending(self, end: End) -> Self {
        Self { end, ..self }
    }

    /// Whether a behaviour policy was given.
    pub fn is_off_policy(&self) -> bool {
        self.behaviour.is_some()
    }

    /// Samples trajectories as they are enumerated: by the behaviour policy, if there is one.
    ///
    /// # Errors
    ///
    /// Those of [`TabularMdp::sample`].
    pub fn sample(&self, trajectories: usize, seed: u64) -> Result<Rollout> {
        match self.check()? {
            Some(table) => self.mdp.sample(&table, self.horizon, trajectories, seed),
            None => sample(&self.mdp.walk(), &*self.policy, &self.theta, self.horizon, trajectories, seed),
        }
    }

    /// Whether all its parts fit the process; and the probabilities μ(a|s) that trajectories are sampled by, `[S, A]`, if they are a
    /// table.
    fn check(&self) -> Result<Option<Array2<f64>>> {
        let check_critic = |what: &'static str, critic: ArrayViewD<'_, f64>, shape: &[usize]| {
            check_shape(what, critic.shape(), shape)?;
            match critic.indexed_iter().find(|(_, x)| !x.is_finite()) {
                Some((at, &value)) => Err(Error::NotFinite { what: format!("{what} {:?}", at.slice()), value }),
                None => Ok(()),
            }
        };
        error::check_discount(self.gamma)?;
        check_count(1, self.horizon, 2)?;
        let shape = [self.mdp.states(), self.mdp.actions()];
        check_spaces(&*self.policy, [&Space::Discrete(shape[0]), &Space::Discrete(shape[1])])?;
        if let Some(behaviour) = &self.behaviour {
            check_shape("the behaviour policy's logits", behaviour.shape(), &shape)?;
        }
        let table = match &self.behaviour {
            Some(behaviour) => Some(softmax(behaviour)),
            None if self.has_memory() => None,
            None => Some(self.target()),
        };
        if let Some(table) = &table {
            self.mdp.check_policy(table)?;
        }
        if let Some(critic) = &self.critic {
            check_critic("critic", critic.view().into_dyn(), &shape[..1])?;
        }
        if let Some(critic) = &self.action_critic {
            check_critic("action critic", critic.view().into_dyn(), &shape)?;
        }
        Ok(table)
    }

    /// Whether what the policy does depends on what was before.
    fn has_memory(&self) -> bool {
        !self.policy.memory().is_empty()
    }

    /// π_θ(a|s), `[S, A]`, of a policy without memory.
    fn target(&self) -> Array2<f64> {
        let tape = Tape::new();
        let (theta, params) = policy::record_as_one(&self.theta, &tape);
        let table = policy::table_of(&*self.policy, &params, self.mdp.states(), theta).value();
        table.into_dimensionality().expect("a row for each state")
    }

    /// Every trajectory, with the probability that it is sampled with: by this table, if it is one.
    fn enumerate(&self, table: Option<Array2<f64>>) -> Result<Enumeration> {
        if let Some(table) = table {
            return self.mdp.enumerate(&table, self.horizon);
        }
        let (rollout, factors) = self.mdp.outcomes(self.horizon)?;
        let tape = Tape::new();
        let (fixed, episodes) = (self.record(&tape), rollout.record(&tape));
        let likelihood = fixed.batch(self, episodes).log_prob().sum_axes(&[1]).exp().value();
        let probabilities = factors.iter().zip(&likelihood).map(|(factor, likelihood)| factor * likelihood).collect();
        Ok(Enumeration { rollout, probabilities })
    }

    /// Records what does not depend on the trajectories. θ is an input, the rest are constants.
    pub(crate) fn record(&self, tape: &Tape) -> Recorded {
        let (theta, params) = policy::record_as_one(&self.theta, tape);
        Recorded {
            theta,
            params,
            log_behaviour: self.behaviour.as_ref().map(|behaviour| tape.constant(behaviour).log_softmax()),
            critic: self.critic.as_ref().map(|critic| tape.constant(critic)),
            action_critic: self.action_critic.as_ref().map(|critic| tape.constant(critic)),
        }
    }

    /// The setting whose truth an estimator estimates.
    pub(crate) fn for_estimator(&self, facts: &Facts) -> Self {
        let end = match facts.end {
            End::ActionCritic if self.action_critic.is_none() => End::Critic,
            end => end,
        };
        self.clone().ending(end)
    }

    /// ∇^k V for k from 0 to `order`.
    pub(crate) fn truth(&self, order: usize) -> Result<Vec<ArrayD<f64>>> {
        self.check()?;
        if self.has_memory() {
            return self.truth_of_memory(order);
        }
        let tape = Tape::new();
        let (process, fixed) = (self.mdp.record(&tape), self.record(&tape));
        let policy = policy::table_of(&*self.policy, &fixed.params, self.mdp.states(), fixed.theta);
        let terminal = match (self.end, fixed.critic, fixed.action_critic) {
            (End::ActionCritic, _, Some(critic)) => Some((policy * critic).sum_axes(&[1])),
            (End::Critic | End::ActionCritic, critic, _) => critic,
            (End::Nothing, ..) => None,
        };
        let value = process.start.dot(process.finite_value(policy, self.gamma, self.horizon, terminal));
        let results: Vec<Var> = (0..=order).map(|order| derivative_or_zero(value, fixed.theta, order)).collect();
        Ok(ad::evaluate(&results))
    }

    /// The same of a policy with memory: the value is Σ_τ p_θ(τ) R(τ) over all trajectories, by definition.
    fn truth_of_memory(&self, order: usize) -> Result<Vec<ArrayD<f64>>> {
        let value = |batch: &Batch| {
            let (steps, horizon) = (batch.steps, batch.steps.horizon());
            let at_end = steps.counted - steps.taken.pad(1, 0, 1);
            let left = match self.end {
                End::Nothing => at_end.full_like(0.0),
                End::Critic => batch.values() * at_end,
                End::ActionCritic => batch.expected_action_values() * at_end,
            };
            let left = (left * Decay::from(self.gamma).powers(horizon + 1, left)).sum_axes(&[1]);
            ((batch.discounted_sum(batch.rewards()) + left) * batch.cumulative_ratio().at(1, horizon - 1)).mean()
        };
        Ok(self.sums(value, order, 1)?.orders.into_iter().map(|(sum, _)| sum).collect())
    }

    /// The exact expectation of any quantity of a batch of one trajectory, of what was seen and done in it, and of θ: a number or
    /// an array, such as a term of a bias.
    ///
    /// # Errors
    ///
    /// Those of [`TabularMdp::enumerate`].
    ///
    /// ```
    /// # use ndarray::array;
    /// # use rl::{env::TabularMdp, truth::Setting};
    /// # let mdp = TabularMdp::new(ndarray::Array3::from_elem((2, 2, 2), 0.5), array![[0.0, 1.0], [2.0, 3.0]])?;
    /// # let setting = Setting::new(&mdp, &array![[0.3, -0.2], [0.1, 0.4]], 3, 0.9);
    /// let score = setting.expectation(|batch, _, theta| batch.log_prob().sum().grad(theta))?;
    /// assert!(score.iter().all(|x| x.abs() < 1e-14));
    /// # Ok::<(), rl::error::Error>(())
    /// ```
    pub fn expectation(&self, quantity: impl FnOnce(&Batch, &Episodes, Var) -> Var) -> Result<ArrayD<f64>> {
        self.expectation_over(1, quantity)
    }

    /// The same of a quantity of `batch` trajectories, over every such tuple: of what compares them.
    ///
    /// # Errors
    ///
    /// Those of [`check_unbiased`].
    pub fn expectation_over(
        &self,
        batch: usize,
        quantity: impl FnOnce(&Batch, &Episodes, Var) -> Var,
    ) -> Result<ArrayD<f64>> {
        self.over_batches(batch, quantity).map(|[expectation, _]| expectation)
    }

    /// Of the derivatives of orders 0 … `order` of a scalar, the sums over every `batch`-tuple of trajectories.
    fn sums(&self, scalar: impl FnOnce(&Batch) -> Var, order: usize, batch: usize) -> Result<Sums> {
        let mut shape = Vec::new();
        let row = |batch: &Batch, _: &Episodes, theta: Var| {
            shape = theta.shape().to_vec();
            derivatives_in_a_row(scalar(batch), theta, order)
        };
        let sums = self.over_batches(batch, row)?;
        Ok(Sums::new(sums, &shape, order))
    }

    /// ∇^k V for k from 0 to `order`, and how large the terms are that it is the sum of, one for each trajectory τ:
    /// ∇^k p_θ(τ) times Σ_t γ^t |r_t| and what the critic says. (The rewards and critics that an estimator adds up may cancel
    /// within a trajectory, too.)
    fn truth_with_scale(&self, order: usize) -> Result<Sums> {
        let size = |batch: &Batch| {
            let critic = match self.end {
                End::ActionCritic => {
                    batch.expected_action_values().abs().sum_axes(&[1]) + batch.action_values().abs().sum_axes(&[1])
                }
                _ => batch.values().abs().sum_axes(&[1]),
            };
            let last = batch.steps.horizon() - 1;
            let size = batch.discounted_sum(batch.rewards().abs()) + critic;
            (size.stop_gradient() * batch.cumulative_ratio().at(1, last)).mean()
        };
        let scales = self.sums(size, order, 1)?.orders.into_iter().map(|(_, scale)| scale);
        Ok(Sums { orders: self.truth(order)?.into_iter().zip(scales).collect() })
    }

    /// Σ p(batch)·quantity(batch, θ) and Σ p(batch)·|quantity(batch, θ)|, the sums over every `batch`-tuple of trajectories.
    fn over_batches(
        &self,
        batch: usize,
        quantity: impl FnOnce(&Batch, &Episodes, Var) -> Var,
    ) -> Result<[ArrayD<f64>; 2]> {
        let table = self.check()?;
        if batch == 0 {
            return Err(Error::Empty { what: "trajectories in a batch" });
        }
        let single = self.enumerate(table)?;
        let members = tuples(single.probabilities.len(), batch)?;
        let probabilities = products(&single.probabilities, &members, batch);
        // Tuples are taken so many at a time; what the last part lacks is filled up with probability 0.
        let count = probabilities.len();
        let at_a_time = count.div_ceil(count.div_ceil(TUPLES_AT_A_TIME));
        let part = |first: usize| -> (Rollout, Array1<f64>) {
            let last = (first + at_a_time).min(count);
            let (mut members, mut probabilities) =
                (members[first * batch..last * batch].to_vec(), probabilities.slice(s![first..last]).to_vec());
            members.resize(at_a_time * batch, 0);
            probabilities.resize(at_a_time, 0.0);
            (single.rollout.select(&members), Array1::from(probabilities))
        };

        let tape = Tape::new();
        let fixed = self.record(&tape);
        let (rollout, probabilities) = part(0);
        let episodes = rollout.record(&tape);
        let probability = tape.input("probability", &probabilities);
        let quantities =
            episodes.in_batches(batch).map(|episodes| quantity(&fixed.batch(self, episodes), &episodes, fixed.theta));
        let results = weighted_sums(quantities, probability);
        let program = tape.compile(episodes.handles().into_iter().chain([probability.into()]), results);
        let parts: Vec<usize> = (0..count).step_by(at_a_time).collect();
        ad::ready_threads();
        let sums = parts.par_iter().map(|&first| {
            let (rollout, probabilities) = part(first);
            let values = rollout.values().into_iter().chain([(&probabilities).into()]).collect::<Vec<_>>();
            program.run(&values).expect("values of the shapes recorded, of the process itself")
        });
        // In order, so that the bits do not depend on the number of threads.
        let sums: Vec<Vec<ArrayD<f64>>> = sums.collect();
        let add = |mut sum: Vec<ArrayD<f64>>, part: Vec<ArrayD<f64>>| {
            sum.iter_mut().zip(&part).for_each(|(sum, part)| *sum += part);
            sum
        };
        let sum = sums.into_iter().reduce(add).expect("at least one trajectory");
        Ok(sum.try_into().expect("a program of two outputs"))
    }
}

/// A [`Setting`] on a tape, but for the trajectories.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    /// All parameters as one Var, by which derivatives are taken.
    pub(crate) theta: Var,
    params: Params,
    log_behaviour: Option<Var>,
    critic: Option<Var>,
    action_critic: Option<Var>,
}

impl Recorded {
    pub(crate) fn batch(&self, setting: &Setting, episodes: Episodes) -> Batch {
        let policy = &*setting.policy;
        let mut batch = Batch::new(episodes, policy.log_prob(&self.params, &episodes), setting.gamma);
        if let Some(log_behaviour) = self.log_behaviour {
            batch = batch.off_policy(episodes.look_up(log_behaviour));
        }
        if let Some(critic) = self.critic {
            batch = batch.with_critic(critic.gather(&[episodes.states()]));
        }
        if let Some(critic) = self.action_critic {
            let expected = if setting.has_memory() {
                let Dist::Categorical(dist) = policy.along(&self.params, episodes.observations) else {
                    panic!("the actions of a tabular process are numbered, but the policy's are vectors")
                };
                (dist.probabilities() * critic.gather(&[episodes.states()])).sum_axes(&[2])
            } else {
                let table = policy::table_of(policy, &self.params, setting.mdp.states(), self.theta);
                (table * critic).sum_axes(&[1]).gather(&[episodes.states()])
            };
            batch = batch.with_action_critic(episodes.look_up(critic), expected);
        }
        batch
    }
}

/// How many batches are held in memory at a time (by each thread), at most.
const TUPLES_AT_A_TIME: usize = 4096;

/// Compares the exact expectations of a surrogate's derivatives, of orders 0 to `order`, with the truth's.
///
/// The surrogate is any function of a [`Batch`]: a user's own, in a test of theirs. Every `batch`-tuple of trajectories is
/// handed to it as an ordinary batch, so that what couples the trajectories of a batch (a mean used as baseline, a
/// normalisation) is judged too.
///
/// # Errors
///
/// [`Error::TooManyTrajectories`] if there are more than 10^6 tuples; those of [`TabularMdp::enumerate`] and
/// [`derivatives`](crate::truth::derivatives).
///
/// ```
/// # use ndarray::array;
/// # use rl::{env::TabularMdp, truth::{Setting, check_unbiased}};
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
    let truth = setting.truth_with_scale(order)?;
    Ok(Report::new(setting.sums(surrogate, order, batch)?, truth))
}

/// [`check_unbiased`] of an estimator of this crate, at every order, whether it claims it or not, against the truth it is
/// an estimate of, over batches of the [smallest size](Facts::smallest_batch) it can be used with. What the estimator
/// draws by itself is enumerated too.
///
/// # Errors
///
/// Those of [`check_unbiased`].
pub fn check_estimator(estimator: &dyn Estimator, setting: &Setting, order: usize) -> Result<Report> {
    let facts = estimator.facts();
    let setting = setting.for_estimator(&facts);
    let check = |estimator: &dyn Estimator| {
        check_unbiased(|batch| allow_biased(estimator).surrogate(batch), &setting, order, facts.smallest_batch)
    };
    let draws = estimator.draws(setting.horizon);
    let Some(((probability, first), others)) = draws.split_first() else { return check(estimator) };
    let mut report = check(&**first)?;
    for order in &mut report.orders {
        order.expectation *= *probability;
        order.scale *= *probability;
    }
    for (probability, outcome) in others {
        for (sum, order) in report.orders.iter_mut().zip(check(&**outcome)?.orders) {
            sum.expectation.scaled_add(*probability, &order.expectation);
            sum.scale += probability * order.scale;
        }
    }
    Ok(report)
}
