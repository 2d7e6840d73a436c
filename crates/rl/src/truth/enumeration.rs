//! Proof by exhaustion: an estimator's expectation, over every batch of trajectories there can be, against the truth.

use std::sync::Arc;

use ad::{Tape, Var};
use ndarray::{Array1, Array2, ArrayD, Dimension, s};
use rayon::prelude::*;

use super::quadrature::{self, FEWEST_NODES};
use super::terms::{Sums, derivative_or_zero, derivatives_in_a_row, weighted_sums};
use super::tuples::{products, tuples};
use super::verdict::Report;
use super::world::World;
use crate::batch::{Batch, Decay};
use crate::env::{Enumeration, LinearNumbers, LinearQuadratic, Model, Quadratic, QuadraticVars, TabularMdp, sample};
use crate::error::{self, Error, Result, tuple_count};
use crate::objective::{End, Estimator, Facts, allow_biased};
use crate::policy::{self, Dist, Numbers, Params, Policy, Table, check_spaces, softmax};
use crate::rollout::{Episodes, Rollout, check_count, check_shape};

/// A small problem in which expectations are exact: process, policies, horizon, critic.
///
/// Of a table every trajectory is listed. In linear-quadratic control, where actions are any numbers, those at the nodes of Gauss and
/// Hermite are, with their weights: of whatever is a polynomial in them (every estimator of this crate on policy, and its
/// derivatives) the weighted sum is the expectation itself. Off policy likelihood ratios are exponentials, and the sum approaches the
/// expectation faster than any power of the number of nodes. Either way nodes are added until one more changes nothing, or it is an
/// [error](Error::Quadrature).
///
/// ```
/// use ndarray::array;
/// use rl::{env::LinearQuadratic, policy::{Network, Policy}, rollout::Space, stream::stream};
/// use rl::truth::{Setting, check_unbiased};
///
/// let problem = LinearQuadratic::new(array![[0.8]], array![[1.0]], array![[1.0]], array![[0.5]])?;
/// let policy = Network::new(&Space::vector(1)).normal(1);                     // a ~ N(w s + b, σ²)
/// let theta = policy.init(&mut stream(0, 0));
///
/// let setting = Setting::linear_quadratic(&problem, policy, &theta, 2, 0.9);
/// let mine = |b: &rl::batch::Batch| b.discounted_sum(b.rewards() * b.cumulative_ratio()).mean();
/// assert!(check_unbiased(mine, &setting, 2, 1)?.is_unbiased(2));
/// # Ok::<(), rl::error::Error>(())
/// ```
#[derive(Clone)]
pub struct Setting {
    world: World,
    policy: Arc<dyn Policy>,
    theta: Numbers,
    behaviour: Option<Behaviour>,
    horizon: usize,
    gamma: f64,
    critic: Option<Critic>,
    action_critic: Option<Critic>,
    /// What the truth counts the end of a truncated trajectory as.
    end: End,
}

/// What trajectories are sampled by, if not by the policy itself.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// The softmax policy with these logits, `[S, A]`.
    Logits(Array2<f64>),
    /// The same policy with other parameters.
    Parameters(Numbers),
}

impl From<&Array2<f64>> for Behaviour {
    fn from(logits: &Array2<f64>) -> Self {
        Behaviour::Logits(logits.clone())
    }
}

impl From<&Numbers> for Behaviour {
    fn from(theta: &Numbers) -> Self {
        Behaviour::Parameters(theta.clone())
    }
}

/// A critic as numbers: of states, or of states and actions.
#[derive(Clone, Debug)]
pub enum Critic {
    /// For each state, `[S]`, or for each state and action, `[S, A]`.
    Table(ArrayD<f64>),
    /// A function of vectors: of the state, or of state and action in one row.
    Quadratic(Quadratic),
}

impl From<&Array1<f64>> for Critic {
    fn from(table: &Array1<f64>) -> Self {
        Critic::Table(table.clone().into_dyn())
    }
}

impl From<&Array2<f64>> for Critic {
    fn from(table: &Array2<f64>) -> Self {
        Critic::Table(table.clone().into_dyn())
    }
}

impl From<&Quadratic> for Critic {
    fn from(quadratic: &Quadratic) -> Self {
        Critic::Quadratic(quadratic.clone())
    }
}

impl Critic {
    /// An error unless it is for this world: a table of this shape, or a function of so many numbers.
    fn check(&self, what: &'static str, world: &World, shape: &[usize]) -> Result<()> {
        match (world, self) {
            (World::Table(_), Critic::Table(table)) => {
                check_shape(what, table.shape(), shape)?;
                match table.indexed_iter().find(|(_, x)| !x.is_finite()) {
                    Some((at, &value)) => Err(Error::NotFinite { what: format!("{what} {:?}", at.slice()), value }),
                    None => Ok(()),
                }
            }
            (World::Linear(_), Critic::Quadratic(quadratic)) => quadratic.check(what, shape.iter().sum()),
            (World::Table(_), Critic::Quadratic(_)) => Err(Error::Unfit {
                what: "a critic that is a quadratic function",
                problem: "a process of numbered states",
            }),
            (World::Linear(_), Critic::Table(_)) => {
                Err(Error::Unfit { what: "a critic that is a table", problem: "linear-quadratic control" })
            }
        }
    }
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
        Self::in_world(World::Table(mdp.clone()), policy, theta, horizon, gamma)
    }

    /// Trajectories of `horizon` steps in linear-quadratic control, sampled by a policy N(K s + k, diag σ²) with these parameters θ:
    /// a [`Network`](crate::policy::Network) without hidden layers, or any other of this kind.
    pub fn linear_quadratic(
        problem: &LinearQuadratic,
        policy: impl Policy + 'static,
        theta: &Numbers,
        horizon: usize,
        gamma: f64,
    ) -> Self {
        Self::in_world(World::Linear(problem.clone()), policy, theta, horizon, gamma)
    }

    fn in_world(world: World, policy: impl Policy + 'static, theta: &Numbers, horizon: usize, gamma: f64) -> Self {
        let (policy, theta) = (Arc::new(policy), theta.clone());
        let (behaviour, critic, action_critic) = (None, None, None);
        Self { world, policy, theta, behaviour, horizon, gamma, critic, action_critic, end: End::Nothing }
    }

    /// Sampled by another policy instead: the softmax policy with other logits, `[S, A]`, or the same policy with other parameters.
    #[must_use]
    pub fn off_policy(self, behaviour: impl Into<Behaviour>) -> Self {
        Self { behaviour: Some(behaviour.into()), ..self }
    }

    /// With a critic V(s), `[S]` or quadratic. The truth then counts V(s_H) at truncation: what an estimator that bootstraps
    /// estimates.
    #[must_use]
    pub fn with_critic(self, critic: impl Into<Critic>) -> Self {
        Self { critic: Some(critic.into()), end: End::Critic, ..self }
    }

    /// With an action critic Q(s, a), `[S, A]` or quadratic in (s, a). The truth then counts E_{a ~ π_θ} Q(s_H, a) at truncation, a
    /// function of θ.
    #[must_use]
    pub fn with_action_critic(self, critic: impl Into<Critic>) -> Self {
        Self { action_critic: Some(critic.into()), end: End::ActionCritic, ..self }
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
        let (horizon, theta) = (self.horizon, self.sampling_parameters());
        match (&self.world, self.check()?) {
            (World::Table(mdp), Sampling::Table(table)) => mdp.sample(&table, horizon, trajectories, seed),
            (World::Table(mdp), _) => sample(&mdp.walk(), &*self.policy, theta, horizon, trajectories, seed),
            (World::Linear(problem), _) => sample(problem, &*self.policy, theta, horizon, trajectories, seed),
        }
    }

    /// The policy's parameters that trajectories are sampled by; unless it is by logits.
    fn sampling_parameters(&self) -> &Numbers {
        match &self.behaviour {
            Some(Behaviour::Parameters(theta)) => theta,
            _ => &self.theta,
        }
    }

    /// Whether all its parts fit the process; and what trajectories are sampled by.
    fn check(&self) -> Result<Sampling> {
        error::check_discount(self.gamma)?;
        check_count(1, self.horizon, 2)?;
        let spaces = self.world.spaces();
        let shape = self.world.sizes();
        check_spaces(&*self.policy, [&spaces[0], &spaces[1]])?;
        let critics = [("critic", &self.critic, &shape[..1]), ("action critic", &self.action_critic, &shape[..])];
        for (what, critic, shape) in critics {
            critic.iter().try_for_each(|critic| critic.check(what, &self.world, shape))?;
        }
        match (&self.world, &self.behaviour) {
            (World::Linear(_), Some(Behaviour::Logits(_))) => {
                let what = "a behaviour policy that is a table of logits";
                Err(Error::Unfit { what, problem: "linear-quadratic control" })
            }
            (World::Linear(problem), behaviour) => {
                let own = problem.linear_policy(&*self.policy, &self.theta)?;
                Ok(Sampling::Linear(match behaviour {
                    None => own,
                    Some(_) => problem.linear_policy(&*self.policy, self.sampling_parameters())?,
                }))
            }
            (World::Table(mdp), Some(Behaviour::Logits(behaviour))) => {
                check_shape("the behaviour policy's logits", behaviour.shape(), &shape)?;
                let table = softmax(behaviour);
                mdp.check_policy(&table)?;
                Ok(Sampling::Table(table))
            }
            (World::Table(_), _) if self.has_memory() => Ok(Sampling::Memory),
            (World::Table(mdp), _) => {
                let table = self.table(self.sampling_parameters());
                mdp.check_policy(&table)?;
                Ok(Sampling::Table(table))
            }
        }
    }

    /// Whether what the policy does depends on what was before.
    fn has_memory(&self) -> bool {
        !self.policy.memory().is_empty()
    }

    /// π_θ(a|s), `[S, A]`, of a policy without memory over numbered states.
    fn table(&self, theta: &Numbers) -> Array2<f64> {
        let tape = Tape::new();
        let (theta, params) = policy::record_as_one(theta, &tape);
        let table = policy::table_of(&*self.policy, &params, self.world.sizes()[0], theta).value();
        table.into_dimensionality().expect("a row for each state")
    }

    /// Every trajectory, with the probability that it is sampled with; of linear-quadratic control those at so many nodes.
    fn enumerate(&self, sampling: &Sampling, nodes: usize) -> Result<Enumeration> {
        match (&self.world, sampling) {
            (World::Table(mdp), Sampling::Table(table)) => mdp.enumerate(table, self.horizon),
            (World::Linear(problem), Sampling::Linear(policy)) => {
                let to_the_end = self.critic.is_some() || self.action_critic.is_some();
                problem.quadrature(policy, self.horizon, nodes, to_the_end)
            }
            (World::Table(mdp), _) => {
                let (rollout, factors) = mdp.outcomes(self.horizon)?;
                let tape = Tape::new();
                let params = policy::record(self.sampling_parameters(), &tape);
                let episodes = rollout.record(&tape);
                let log_prob = episodes.steps.on_steps(self.policy.log_prob(&params, &episodes));
                let likelihood = log_prob.sum_axes(&[1]).exp().value();
                let probabilities = factors.iter().zip(&likelihood).map(|(factor, likelihood)| factor * likelihood);
                Ok(Enumeration { rollout, probabilities: probabilities.collect() })
            }
            (World::Linear(_), _) => unreachable!("`check` has said how it is sampled"),
        }
    }

    /// Records what does not depend on the trajectories. θ is an input, the rest are constants.
    pub(crate) fn record(&self, tape: &Tape) -> Recorded {
        let (theta, params) = policy::record_as_one(&self.theta, tape);
        let critic = |critic: &Option<Critic>| {
            critic.as_ref().map(|critic| match critic {
                Critic::Table(table) => RecordedCritic::Table(tape.constant(table)),
                Critic::Quadratic(quadratic) => RecordedCritic::Quadratic(quadratic.record(tape)),
            })
        };
        Recorded {
            theta,
            params,
            model: self.world.record(tape),
            behaviour: self.behaviour.as_ref().map(|behaviour| match behaviour {
                Behaviour::Logits(logits) => RecordedBehaviour::Table(tape.constant(logits).log_softmax()),
                Behaviour::Parameters(numbers) => RecordedBehaviour::Parameters(policy::record(numbers, tape)),
            }),
            critic: critic(&self.critic),
            action_critic: critic(&self.action_critic),
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

    /// V(θ), ∇V(θ), …, ∇^`order` V(θ), exactly: the k-th has k times θ's shape.
    ///
    /// # Errors
    ///
    /// Those of [`check_unbiased`].
    pub fn derivatives(&self, order: usize) -> Result<Vec<ArrayD<f64>>> {
        self.check()?;
        if self.has_memory() {
            return self.derivatives_with_memory(order);
        }
        let tape = Tape::new();
        let fixed = self.record(&tape);
        let value = match fixed.model {
            Model::Table(process) => {
                let policy = policy::table_of(&*self.policy, &fixed.params, process.start.size(), fixed.theta);
                let expected = |critic: RecordedCritic| (policy * critic.table()).sum_axes(&[1]);
                let terminal = self.terminal(&fixed, RecordedCritic::table, expected);
                process.start.dot(process.finite_value(policy, self.gamma, self.horizon, terminal))
            }
            Model::Linear(process) => {
                let policy = &*self.policy;
                let expected =
                    |critic: RecordedCritic| process.expected_action_values(policy, &fixed.params, &critic.quadratic());
                let terminal = self.terminal(&fixed, RecordedCritic::quadratic, expected);
                let values = process.value_from(policy, &fixed.params, self.gamma.into(), self.horizon, terminal);
                process.start_value(&values)
            }
        };
        let results: Vec<Var> = (0..=order).map(|order| derivative_or_zero(value, fixed.theta, order)).collect();
        Ok(ad::evaluate(&results))
    }

    /// What the truth counts the end as, given how critics say it.
    fn terminal<T>(
        &self,
        fixed: &Recorded,
        of_state: impl FnOnce(RecordedCritic) -> T,
        expected: impl FnOnce(RecordedCritic) -> T,
    ) -> Option<T> {
        match (self.end, fixed.critic, fixed.action_critic) {
            (End::ActionCritic, _, Some(critic)) => Some(expected(critic)),
            (End::Critic | End::ActionCritic, critic, _) => critic.map(of_state),
            (End::Nothing, ..) => None,
        }
    }

    /// The same of a policy with memory: the value is Σ_τ p_θ(τ) R(τ) over all trajectories, by definition.
    fn derivatives_with_memory(&self, order: usize) -> Result<Vec<ArrayD<f64>>> {
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
        Ok(self.sums(value, order, 1, Nodes::Enough)?.orders.into_iter().map(|(sum, _)| sum).collect())
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
        self.over_batches(batch, quantity, Nodes::Enough).map(|[expectation, _]| expectation)
    }

    /// Of the derivatives of orders 0 … `order` of a scalar, the sums over every `batch`-tuple of trajectories.
    fn sums(&self, scalar: impl FnOnce(&Batch) -> Var, order: usize, batch: usize, nodes: Nodes) -> Result<Sums> {
        let mut shape = Vec::new();
        let row = |batch: &Batch, _: &Episodes, theta: Var| {
            shape = theta.shape().to_vec();
            derivatives_in_a_row(scalar(batch), theta, order)
        };
        let sums = self.over_batches(batch, row, nodes)?;
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
        let scales = self.sums(size, order, 1, Nodes::Few)?.orders.into_iter().map(|(_, scale)| scale);
        Ok(Sums { orders: self.derivatives(order)?.into_iter().zip(scales).collect() })
    }

    /// Σ p(batch)·quantity(batch, θ) and Σ p(batch)·|quantity(batch, θ)|, the sums over every `batch`-tuple of trajectories.
    fn over_batches(
        &self,
        batch: usize,
        quantity: impl FnOnce(&Batch, &Episodes, Var) -> Var,
        nodes: Nodes,
    ) -> Result<[ArrayD<f64>; 2]> {
        let sampling = self.check()?;
        if batch == 0 {
            return Err(Error::Empty { what: "trajectories in a batch" });
        }
        let few = self.enumerate(&sampling, FEWEST_NODES)?;
        let of = OverBatches::record(self, &few, batch, quantity)?;
        let sums = of.sums(&few)?;
        match (&self.world, nodes) {
            (World::Table(_), _) | (_, Nodes::Few) => Ok(sums),
            (World::Linear(_), Nodes::Enough) => {
                quadrature::settled(sums, |nodes| of.sums(&self.enumerate(&sampling, nodes)?))
            }
        }
    }
}

/// What trajectories are sampled by.
enum Sampling {
    /// μ(a|s), `[S, A]`.
    Table(Array2<f64>),
    /// A policy over numbered states that remembers.
    Memory,
    /// N(K s + k, diag σ²).
    Linear(LinearNumbers),
}

/// How many nodes a normal number has, where trajectories are not all listed.
#[derive(Clone, Copy)]
enum Nodes {
    /// As many as make the expectation exact.
    Enough,
    /// A few: for what is only to be known roughly.
    Few,
}

/// A quantity of a batch of trajectories as a program, which is run for every batch.
struct OverBatches {
    program: ad::Program,
    batch: usize,
    at_a_time: usize,
}

impl OverBatches {
    /// Records the quantity. Tuples are taken so many at a time.
    fn record(
        setting: &Setting,
        single: &Enumeration,
        batch: usize,
        quantity: impl FnOnce(&Batch, &Episodes, Var) -> Var,
    ) -> Result<Self> {
        let count = tuple_count(single.probabilities.len(), batch)?;
        let at_a_time = match setting.world {
            World::Table(_) => count.div_ceil(count.div_ceil(TUPLES_AT_A_TIME)),
            // There will be others, of more nodes.
            World::Linear(_) => TUPLES_AT_A_TIME / 4,
        };
        let tape = Tape::new();
        let fixed = setting.record(&tape);
        let rollout = single.rollout.select(&vec![0; at_a_time * batch]);
        let episodes = rollout.record(&tape);
        let probability = tape.input("probability", Array1::<f64>::zeros(at_a_time));
        let quantities = episodes
            .in_batches(batch)
            .map(|episodes| quantity(&fixed.batch(setting, episodes), &episodes, fixed.theta));
        let results = weighted_sums(quantities, probability);
        let program = tape.compile(episodes.handles().into_iter().chain([probability.into()]), results);
        Ok(Self { program, batch, at_a_time })
    }

    fn sums(&self, single: &Enumeration) -> Result<[ArrayD<f64>; 2]> {
        let (batch, at_a_time) = (self.batch, self.at_a_time);
        let members = tuples(single.probabilities.len(), batch)?;
        let probabilities = products(&single.probabilities, &members, batch);
        let count = probabilities.len();
        // What the last part lacks is filled up with probability 0.
        let part = |first: usize| -> (Rollout, Array1<f64>) {
            let last = (first + at_a_time).min(count);
            let (mut members, mut probabilities) =
                (members[first * batch..last * batch].to_vec(), probabilities.slice(s![first..last]).to_vec());
            members.resize(at_a_time * batch, 0);
            probabilities.resize(at_a_time, 0.0);
            (single.rollout.select(&members), Array1::from(probabilities))
        };
        let parts: Vec<usize> = (0..count).step_by(at_a_time).collect();
        ad::ready_threads();
        let sums = parts.par_iter().map(|&first| {
            let (rollout, probabilities) = part(first);
            let values = rollout.values().into_iter().chain([(&probabilities).into()]).collect::<Vec<_>>();
            self.program.run(&values).expect("values of the shapes recorded, of the process itself")
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
    model: Model,
    behaviour: Option<RecordedBehaviour>,
    critic: Option<RecordedCritic>,
    action_critic: Option<RecordedCritic>,
}

#[derive(Clone, Debug)]
enum RecordedBehaviour {
    /// log μ(a|s), `[S, A]`.
    Table(Var),
    Parameters(Params),
}

#[derive(Clone, Copy, Debug)]
enum RecordedCritic {
    Table(Var),
    Quadratic(QuadraticVars),
}

impl RecordedCritic {
    /// Of a process of numbered states.
    fn table(self) -> Var {
        match self {
            RecordedCritic::Table(table) => table,
            RecordedCritic::Quadratic(_) => unreachable!("`check` compares it with the process"),
        }
    }

    /// Of linear-quadratic control.
    fn quadratic(self) -> QuadraticVars {
        match self {
            RecordedCritic::Quadratic(quadratic) => quadratic,
            RecordedCritic::Table(_) => unreachable!("`check` compares it with the process"),
        }
    }
}

impl Recorded {
    pub(crate) fn batch(&self, setting: &Setting, episodes: Episodes) -> Batch {
        let policy = &*setting.policy;
        let mut batch = Batch::new(episodes, policy.log_prob(&self.params, &episodes), setting.gamma);
        match &self.behaviour {
            None => {}
            Some(RecordedBehaviour::Table(log_behaviour)) => batch = batch.off_policy(episodes.look_up(*log_behaviour)),
            Some(RecordedBehaviour::Parameters(mu)) => batch = batch.off_policy(policy.log_prob(mu, &episodes)),
        }
        batch = match self.critic {
            None => batch,
            Some(RecordedCritic::Table(critic)) => batch.with_critic(critic.gather([episodes.states()])),
            Some(RecordedCritic::Quadratic(critic)) => batch.with_critic(critic.at(episodes.observations.var())),
        };
        match (self.model, self.action_critic) {
            (_, None) => batch,
            (Model::Table(process), Some(critic)) => {
                let critic = critic.table();
                let expected = if setting.has_memory() {
                    let Dist::Categorical(dist) = policy.along(&self.params, episodes.observations) else {
                        panic!("the actions of a tabular process are numbered, but the policy's are vectors")
                    };
                    (dist.probabilities() * critic.gather([episodes.states()])).sum_axes(&[2])
                } else {
                    let table = policy::table_of(policy, &self.params, process.start.size(), self.theta);
                    (table * critic).sum_axes(&[1]).gather([episodes.states()])
                };
                batch.with_action_critic(episodes.look_up(critic), expected)
            }
            (Model::Linear(process), Some(critic)) => {
                let critic = critic.quadratic();
                let taken = Var::concat(&[episodes.acted_on().var(), episodes.actions.var()], 2);
                let expected = process.expected_action_values(policy, &self.params, &critic);
                batch.with_action_critic(critic.at(taken), expected.at(episodes.observations.var()))
            }
        }
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
/// Panics if the surrogate is not a scalar.
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
#[track_caller]
pub fn check_unbiased(
    surrogate: impl FnOnce(&Batch) -> Var,
    setting: &Setting,
    order: usize,
    batch: usize,
) -> Result<Report> {
    let truth = setting.truth_with_scale(order)?;
    let mut several = None;
    let one = |batch: &Batch| {
        let surrogate = surrogate(batch);
        several = Some((surrogate.shape(), surrogate.location())).filter(|(shape, _)| !shape.is_empty());
        // Of several there is no derivative to go on with.
        if several.is_some() { surrogate.sum() } else { surrogate }
    };
    let sums = setting.sums(one, order, batch, Nodes::Enough);
    if let Some((shape, location)) = several {
        panic!(
            "check_unbiased: the surrogate has shape {shape:?}, but an estimate is a scalar: if there is one for each trajectory, \
             take their mean\n  surrogate made at {location}"
        );
    }
    Ok(Report::new(sums?, truth))
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
