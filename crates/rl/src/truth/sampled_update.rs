//! Proof by exhaustion for what is adapted with samples: the expectation over every tuple of trajectories that the inner
//! update (and the outer estimate) can be made of, against the exact derivatives of the N-sample objective.

use std::sync::Arc;

use ad::{Handle, Tape, Var, vmap_many};
use ndarray::{Array1, Array2, ArrayD};

use super::Report;
use super::terms::{derivatives_in_a_row, weighted_sums};
use super::tuples::{products, tuples};
use crate::env::{Process, TabularMdp};
use crate::error::{Error, Result, check_discount, check_rate};
use crate::meta::sampled::{Credit, MetaBatch, Outer};
use crate::policy::{self, Numbers, Params, Policy, Table, check_spaces, expect_no_memory, table_of};
use crate::rollout::{Episodes, Space, split_leading};

/// A small problem in which every outcome of a sampled inner update can be listed: the objective
/// F_N(θ) = E[V(θ^ζ)] of [`meta::sampled`](crate::meta::sampled).
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
    mdp: TabularMdp,
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
        expect_no_memory("SampledUpdate", &policy);
        Self {
            mdp: mdp.clone(),
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
    /// [`Error::TooManyTrajectories`] if there are more than 10^6 tuples; [`Error::Empty`] without trajectories or steps;
    /// [`Error::Decay`], [`Error::Rate`]; those of [`TabularMdp::enumerate`].
    pub fn check(&self, estimator: impl FnOnce(&MetaBatch<'_>) -> Var, order: usize) -> Result<Report> {
        self.on_tape(|problem| {
            let theta = problem.theta;
            let inner = problem.inner_tuples()?;
            let values = inner.map(problem, |batch| {
                derivatives_in_a_row(inner.likelihood(&batch) * adapted_value(&batch), theta, order)
            });
            let all = problem.all_tuples()?;
            let surrogates = all.map(problem, |batch| derivatives_in_a_row(estimator(&batch), theta, order));
            let found = weighted_sums(surrogates, all.map(problem, |batch| all.likelihood(&batch)) * &all.factors);
            let truth = weighted_sums(values, problem.tape.constant(&inner.factors));
            Ok(Report::evaluate(found, truth, theta, order))
        })
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

    fn on_tape<R>(&self, f: impl FnOnce(&OnTape<'_>) -> Result<R>) -> Result<R> {
        for (what, number) in [
            ("trajectories for an inner step", self.inner),
            ("inner steps", self.steps),
            ("trajectories for the outer estimate", self.outer.unwrap_or(1)),
        ] {
            if number == 0 {
                return Err(Error::Empty { what });
            }
        }
        let spaces = [Space::Discrete(self.mdp.states()), Space::Discrete(self.mdp.actions())];
        check_spaces(&*self.policy, [&spaces[0], &spaces[1]])?;
        check_discount(self.gamma)?;
        check_rate(self.rate)?;
        let tape = Tape::new();
        let (theta, params) = policy::record_as_one(&self.theta, &tape);
        let policy = table_of(&*self.policy, &params, self.mdp.states(), theta).value();
        self.mdp.check_policy(&policy.into_dimensionality().expect("a row for each state"))?;
        f(&OnTape { setting: self, tape: &tape, theta, params, process: self.mdp.record(&tape) })
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
    process: Process,
}

/// Every tuple of trajectories, with everything that is sampled in it.
struct Tuples {
    /// Of each group (an inner step's N trajectories, or the M of the outer estimate) the arrays of `Episodes`.
    groups: Vec<Vec<Handle>>,
    /// What the transitions contribute to each tuple's probability.
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
        let (outcomes, factors) = self.setting.mdp.outcomes(self.setting.horizon)?;
        let size = groups.iter().sum();
        let members = tuples(factors.len(), size)?;
        let factors = products(&factors.to_vec(), &members, size);
        let mut start = 0;
        let groups = groups.iter().map(|&group| {
            let chosen: Vec<usize> =
                members.chunks(size).flat_map(|tuple| &tuple[start..start + group]).copied().collect();
            start += group;
            split_leading(&outcomes.select(&chosen).record(self.tape).handles(), group)
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
                let outer = outer.first().map_or(Outer::Exact(problem.process), |&outer| Outer::Sampled(outer));
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
