//! Proof by exhaustion for what is adapted with samples: the expectation over every tuple of trajectories that the inner
//! update (and the outer estimate) can be made of, against the exact derivatives of the N-sample objective.

use std::ops::Range;
use std::sync::Arc;

use ad::{Handle, Tape, Var, vmap_many};
use ndarray::{Array1, Array2, ArrayD, Axis};

use super::Report;
use super::quadrature::{self, FEWEST_NODES};
use super::terms::{Sums, derivatives_in_a_row, weighted_sums};
use super::tuples::{products, tuples};
use super::world::World;
use crate::env::{Enumeration, LinearQuadratic, Model, TabularMdp};
use crate::error::{Error, Result, check_discount, check_rate};
use crate::meta::sampled::{Credit, MetaBatch, Outer};
use crate::policy::{self, Numbers, Params, Policy, Table, check_spaces, expect_no_memory, table_of};
use crate::rollout::{Episodes, Rollout, split_leading};

/// A small problem in which the expectation over all outcomes of a sampled inner update is exact: the objective
/// F_N(θ) = E[V(θ^ζ)] of [`meta::sampled`](crate::meta::sampled).
///
/// Of a table every outcome is listed, in linear-quadratic control those at the nodes of a quadrature, as in
/// [`Setting`](super::Setting).
///
/// ```
/// # use ndarray::array;
/// # use rl::{env::TabularMdp, meta::sampled, truth::SampledUpdate};
/// # let mdp = TabularMdp::new(ndarray::Array3::from_elem((2, 2, 2), 0.5), array![[0.0, 1.0], [2.0, 3.0]])?;
/// let problem = SampledUpdate::new(&mdp, &array![[0.3, -0.2], [0.1, 0.4]], 2, 0.9).rate(0.5).trajectories(2);
/// assert!(problem.check(sampled::score_function, 1)?.is_unbiased(1));
/// let maml = problem.check(|batch| sampled::maml(batch), 1)?;       // or a surrogate of one's own
/// assert!(!maml.is_unbiased(1), "{maml}");
/// # Ok::<(), rl::error::Error>(())
/// ```
#[derive(Clone)]
pub struct SampledUpdate {
    world: World,
    horizon: usize,
    policy: Arc<dyn Policy>,
    theta: Numbers,
    gamma: f64,
    rate: f64,
    credit: Credit,
    inner: usize,
    steps: usize,
    outer: Option<usize>,
}

impl SampledUpdate {
    /// One inner step of rate 1 with one trajectory of up to `horizon` steps, credited with returns-to-go, from the softmax
    /// policy with these logits θ, `[S, A]`; judged by the exact value.
    pub fn new(mdp: &TabularMdp, logits: &Array2<f64>, horizon: usize, gamma: f64) -> Self {
        let (states, actions) = logits.dim();
        Self::of_policy(mdp, Table { states, actions }, &Table::numbers(logits), horizon, gamma)
    }

    /// The same of any policy without memory over numbered states and actions, with these parameters θ.
    ///
    /// Panics for a policy with memory.
    #[track_caller]
    pub fn of_policy(
        mdp: &TabularMdp,
        policy: impl Policy + 'static,
        theta: &Numbers,
        horizon: usize,
        gamma: f64,
    ) -> Self {
        Self::in_world(World::Table(mdp.clone()), policy, theta, horizon, gamma)
    }

    /// The same in linear-quadratic control, of a policy N(K s + k, diag σ²): one inner step, judged by the exact value.
    ///
    /// Of a step by K and k the value is a polynomial in normal numbers. Of one by log σ it is an exponential of one, which the nodes
    /// approach if the rate is small.
    ///
    /// Panics for a policy with memory.
    ///
    /// ```
    /// use ndarray::{arr1, array};
    /// use rl::env::LinearQuadratic;
    /// use rl::meta::sampled;
    /// use rl::policy::{Dist, Normal, Numbers, Params, Policy};
    /// use rl::truth::SampledUpdate;
    ///
    /// /// a ~ N(k s, 1)
    /// struct Linear;
    ///
    /// impl Policy for Linear {
    ///     fn init(&self, _: &mut dyn rand::Rng) -> Numbers {
    ///         Numbers::from([("k".to_owned(), arr1(&[-0.3]).into_dyn())])
    ///     }
    ///     fn along(&self, theta: &Params, observations: ad::Handle) -> Dist {
    ///         let mean = observations.var() * theta["k"];
    ///         Normal::new(mean, mean.full_like(0.0)).into()
    ///     }
    /// }
    ///
    /// let problem = LinearQuadratic::new(array![[0.8]], array![[1.0]], array![[1.0]], array![[0.5]])?;
    /// let theta = Linear.init(&mut rl::stream::stream(0, 0));
    /// let update = SampledUpdate::linear_quadratic(&problem, Linear, &theta, 1, 0.9).rate(0.1);
    /// assert!(update.check(sampled::sgmrl, 1)?.is_unbiased(1));
    /// assert!(!update.check(sampled::maml, 1)?.is_unbiased(1));
    /// # Ok::<(), rl::error::Error>(())
    /// ```
    #[track_caller]
    pub fn linear_quadratic(
        problem: &LinearQuadratic,
        policy: impl Policy + 'static,
        theta: &Numbers,
        horizon: usize,
        gamma: f64,
    ) -> Self {
        Self::in_world(World::Linear(problem.clone()), policy, theta, horizon, gamma)
    }

    #[track_caller]
    fn in_world(world: World, policy: impl Policy + 'static, theta: &Numbers, horizon: usize, gamma: f64) -> Self {
        expect_no_memory("SampledUpdate", &policy);
        Self {
            world,
            horizon,
            policy: Arc::new(policy),
            theta: theta.clone(),
            gamma,
            rate: 1.0,
            credit: Credit::ReturnToGo,
            inner: 1,
            steps: 1,
            outer: None,
        }
    }

    /// With this inner rate η.
    #[must_use]
    pub fn rate(self, rate: f64) -> Self {
        Self { rate, ..self }
    }

    /// With an inner update that credits actions so.
    #[must_use]
    pub fn credit(self, credit: Credit) -> Self {
        Self { credit, ..self }
    }

    /// With N trajectories for each inner step.
    #[must_use]
    pub fn trajectories(self, inner: usize) -> Self {
        Self { inner, ..self }
    }

    /// With ζ inner steps.
    #[must_use]
    pub fn steps(self, steps: usize) -> Self {
        Self { steps, ..self }
    }

    /// Judged by M trajectories of the adapted policy instead of its exact value. The truth stays what it is.
    #[must_use]
    pub fn sampled_outside(self, outer: usize) -> Self {
        Self { outer: Some(outer), ..self }
    }

    /// Compares the exact expectations of a surrogate's derivatives by θ, of orders 0 to `order`, with those of F_N: the sum
    /// over every tuple of trajectories of its probability times the exact value of where it leads, differentiated.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyTrajectories`] if there are more than 10^6 tuples, [`Error::Quadrature`] if that many do not do;
    /// [`Error::Empty`] without trajectories or steps; [`Error::Decay`], [`Error::Rate`]; those of [`TabularMdp::enumerate`];
    /// [`Error::NotLinear`], and [`Error::Unfit`] for several steps or a sampled outcome in linear-quadratic control.
    pub fn check(&self, estimator: impl Fn(&MetaBatch<'_>) -> Var, order: usize) -> Result<Report> {
        let sums = self.sums(&estimator, order, FEWEST_NODES)?;
        let [sum, absolute] = match self.world {
            World::Table(_) => sums,
            World::Linear(_) => quadrature::settled(sums, |nodes| self.sums(&estimator, order, nodes))?,
        };
        // What was found, and the truth, one behind the other.
        let half = sum.len() / 2;
        let of = |range: Range<usize>| {
            let part = |row: &ArrayD<f64>| row.slice_axis(Axis(0), range.clone().into()).to_owned();
            Sums::new([part(&sum), part(&absolute)], &self.shape(), order)
        };
        Ok(Report::new(of(0..half), of(half..2 * half)))
    }

    /// Σ and Σ |·| of the derivatives of orders 0 … `order`: those of the estimate, and behind them those that make up F_N.
    fn sums(&self, estimator: &dyn Fn(&MetaBatch<'_>) -> Var, order: usize, nodes: usize) -> Result<[ArrayD<f64>; 2]> {
        self.on_tape(nodes, |problem| {
            let theta = problem.theta;
            let inner = problem.inner_tuples()?;
            let values = inner.map(problem, |batch| {
                derivatives_in_a_row(inner.likelihood(&batch) * adapted_value(&batch), theta, order)
            });
            let all = problem.all_tuples()?;
            let surrogates = all.map(problem, |batch| derivatives_in_a_row(estimator(&batch), theta, order));
            let found = weighted_sums(surrogates, all.map(problem, |batch| all.likelihood(&batch)) * &all.factors);
            let truth = weighted_sums(values, problem.tape.constant(&inner.factors));
            let both = [0, 1].map(|i| Var::concat(&[found[i], truth[i]], 0));
            let sums: [ArrayD<f64>; 2] = ad::evaluate(&both).try_into().expect("two were evaluated");
            Ok(sums)
        })
    }

    /// Of θ: that of the leaf if there is but one, else all entries in a row.
    fn shape(&self) -> Vec<usize> {
        let tape = Tape::new();
        policy::record_as_one(&self.theta, &tape).0.shape().to_vec()
    }

    /// E[V(θ^ζ) Σ_t Σ_{τ∈D_t} ∇θ^{t−1} ∇log p(τ; θ^{t−1})], of θ's shape: what the scores of the inner data contribute to
    /// ∇F_N, and so the negative of MAML's bias.
    ///
    /// # Errors
    ///
    /// Those of [`check`](Self::check).
    pub fn score_term(&self) -> Result<ArrayD<f64>> {
        let report = self.check(
            |batch| {
                let points = batch.adapt_by_fixed_data();
                batch.value(&points[points.len() - 1]).stop_gradient() * batch.inner_log_prob(&points).magic_box()
            },
            1,
        )?;
        Ok(report.orders[1].expectation.clone())
    }

    fn on_tape<R>(&self, nodes: usize, f: impl FnOnce(&OnTape<'_>) -> Result<R>) -> Result<R> {
        for (what, number) in [
            ("trajectories for an inner step", self.inner),
            ("inner steps", self.steps),
            ("trajectories for the outer estimate", self.outer.unwrap_or(1)),
        ] {
            if number == 0 {
                return Err(Error::Empty { what });
            }
        }
        let [seen, done] = self.world.spaces();
        check_spaces(&*self.policy, [&seen, &done])?;
        check_discount(self.gamma)?;
        check_rate(self.rate)?;
        let tape = Tape::new();
        let (theta, params) = policy::record_as_one(&self.theta, &tape);
        let (outcomes, factors) = self.outcomes(nodes)?;
        let model = self.world.record(&tape);
        f(&OnTape { setting: self, tape: &tape, theta, params, model, outcomes, factors })
    }

    /// What a trajectory can be, and for each what its probability under a policy has beside the policy's own: the transitions', or
    /// the weight of a node over the density that it was made for.
    fn outcomes(&self, nodes: usize) -> Result<(Rollout, Vec<f64>)> {
        match &self.world {
            World::Table(mdp) => {
                let tape = Tape::new();
                let (theta, params) = policy::record_as_one(&self.theta, &tape);
                let table = table_of(&*self.policy, &params, mdp.states(), theta).value();
                mdp.check_policy(&table.into_dimensionality().expect("a row for each state"))?;
                let (outcomes, factors) = mdp.outcomes(self.horizon)?;
                Ok((outcomes, factors.to_vec()))
            }
            World::Linear(problem) => {
                if self.steps > 1 || self.outer.is_some() {
                    let what = "what is sampled by parameters that were adapted with samples";
                    return Err(Error::Unfit { what, problem: "linear-quadratic control" });
                }
                let policy = problem.linear_policy(&*self.policy, &self.theta)?;
                let Enumeration { rollout, probabilities } = problem.quadrature(&policy, self.horizon, nodes, false)?;
                let tape = Tape::new();
                let (params, episodes) = (policy::record(&self.theta, &tape), rollout.record(&tape));
                let log_prob = self.policy.log_prob(&params, &episodes).sum_axes(&[1]).value();
                let factors = probabilities.iter().zip(&log_prob).map(|(weight, log_prob)| weight * (-log_prob).exp());
                Ok((rollout, factors.collect()))
            }
        }
    }
}

/// V(θ^ζ) as a function of θ at fixed inner data.
fn adapted_value(batch: &MetaBatch<'_>) -> Var {
    let points = batch.adapt_by_fixed_data();
    batch.value(&points[points.len() - 1])
}

struct OnTape<'a> {
    setting: &'a SampledUpdate,
    tape: &'a Tape,
    /// All parameters as one Var, by which derivatives are taken.
    theta: Var,
    params: Params,
    model: Model,
    /// What a trajectory can be.
    outcomes: Rollout,
    /// What each one's probability has beside the policy's.
    factors: Vec<f64>,
}

/// Every tuple of trajectories, with everything that is sampled in it.
struct Tuples {
    /// Of each group (an inner step's N trajectories, or the M of the outer estimate) the arrays of `Episodes`.
    groups: Vec<Vec<Handle>>,
    /// What each tuple's probability has beside what the policies contribute.
    factors: Array1<f64>,
    outer: bool,
}

impl OnTape<'_> {
    /// Everything that the inner steps can sample.
    fn inner_tuples(&self) -> Result<Tuples> {
        self.tuples(&vec![self.setting.inner; self.setting.steps], false)
    }

    /// And what the outer estimate can sample, if it does.
    fn all_tuples(&self) -> Result<Tuples> {
        let mut groups = vec![self.setting.inner; self.setting.steps];
        groups.extend(self.setting.outer);
        self.tuples(&groups, self.setting.outer.is_some())
    }

    fn tuples(&self, groups: &[usize], outer: bool) -> Result<Tuples> {
        let size = groups.iter().sum();
        let members = tuples(self.factors.len(), size)?;
        let factors = products(&self.factors, &members, size);
        let mut start = 0;
        let groups = groups.iter().map(|&group| {
            let chosen: Vec<usize> =
                members.chunks(size).flat_map(|tuple| &tuple[start..start + group]).copied().collect();
            start += group;
            split_leading(&self.outcomes.select(&chosen).record(self.tape).handles(), group)
        });
        Ok(Tuples { groups: groups.collect(), factors, outer })
    }
}

impl Tuples {
    /// A function of each tuple, `[tuples]`.
    fn map(&self, problem: &OnTape<'_>, f: impl FnOnce(MetaBatch<'_>) -> Var) -> Var {
        let setting = problem.setting;
        let handles: Vec<Handle> = self.groups.iter().flatten().copied().collect();
        vmap_many(
            |one| {
                let groups: Vec<Episodes> = one.chunks(Episodes::COLUMNS).map(Episodes::from_handles).collect();
                let (inner, outer) = groups.split_at(setting.steps);
                let outer = outer.first().map_or(Outer::Exact(problem.model), |&outer| Outer::Sampled(outer));
                let (policy, theta): (&dyn Policy, _) = (&*setting.policy, &problem.params);
                let (gamma, rate, credit) = (setting.gamma.into(), setting.rate, setting.credit);
                f(MetaBatch { policy, theta, inner, outer, gamma, rate, credit })
            },
            &handles,
        )
    }

    /// What the policies contribute to a tuple's probability, a function of θ.
    fn likelihood(&self, batch: &MetaBatch<'_>) -> Var {
        let points = batch.adapt_by_fixed_data();
        let inner = batch.inner_log_prob(&points);
        match batch.outer {
            Outer::Sampled(outer) if self.outer => {
                let log_prob = batch.policy.log_prob(&points[points.len() - 1], &outer);
                (inner + outer.steps.on_steps(log_prob).sum()).exp()
            }
            _ => inner.exp(),
        }
    }
}
