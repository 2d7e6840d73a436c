//! Meta-learning over tasks: ascent on the mean over tasks of F_N, by any estimator of [`rl::meta::sampled`] (with the linearised
//! score function it is Algorithm 1 of Tang 2022, with SG-MRL Algorithms 1 and 2 of Fallah et al. 2021).

use ad::{DType, Handle, Program, Tape, Value, Var};
use rand::Rng;
use rayon::prelude::*;
use rl::env::{Actor, Environment};
use rl::error::{Error, Result};
use rl::meta::sampled::{Credit, MetaBatch, Outer};
use rl::optim::add;
use rl::policy::{self, Numbers, Policy};
use rl::rollout::{Episodes, Rollout};
use rl::stream::stream;

/// How one task is sampled, adapted to and judged.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// H, the largest number of steps of a trajectory.
    pub horizon: usize,
    /// γ.
    pub gamma: f64,
    /// η, the rate of the inner update.
    pub rate: f64,
    /// What the inner update credits.
    pub credit: Credit,
    /// ζ, the number of inner steps.
    pub steps: usize,
    /// N, the number of trajectories of each inner step.
    pub inner: usize,
    /// M, the number of trajectories of the adapted policy.
    pub outer: usize,
}

/// An estimator and a policy, compiled for tasks like one of them.
///
/// ```
/// use rl::{env::TabularMdp, meta::sampled::{Credit, linearised_score_function}, policy::{Policy, Table}, stream::stream};
/// use train::{MetaLearner, Sampling};
/// let sampling =
///     Sampling { horizon: 3, gamma: 0.9, rate: 0.5, credit: Credit::ReturnToGo, steps: 1, inner: 20, outer: 20 };
/// let tasks: Vec<TabularMdp> =
///     (0..4).map(|task| TabularMdp::random(2, 2, 1.0, &mut stream(0, task))).collect::<Result<_, _>>()?;
/// let tasks: Vec<_> = tasks.iter().map(TabularMdp::walk).collect();
/// let policy = Table { states: 2, actions: 2 };
/// let theta = policy.init(&mut stream(0, 4));
/// let learner = MetaLearner::new(linearised_score_function, &policy, &theta, &tasks[0], sampling)?;
/// let theta = learner.ascend(|_| tasks.clone(), &theta, 0.1, 5, 7)?;
/// assert_eq!(theta["logits"].shape(), [2, 2]);
/// # Ok::<(), rl::error::Error>(())
/// ```
#[derive(Debug)]
pub struct MetaLearner {
    sampling: Sampling,
    actor: Actor,
    /// (D, θ) ↦ θ + η ĝ(θ, D).
    adapt: Program,
    /// (D_1, …, D_ζ, D′, θ) ↦ the estimate.
    estimate: Program,
}

impl MetaLearner {
    /// The gradient of `surrogate` as the estimate, for a policy with parameters of these shapes, and tasks with the spaces of
    /// this one.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] for a number of `sampling` that is 0; [`Error::Decay`], [`Error::Rate`], [`Error::TooLarge`];
    /// [`Error::Space`] if the policy is not for such tasks.
    pub fn new(
        surrogate: impl FnOnce(&MetaBatch<'_>) -> Var,
        policy: &dyn Policy,
        theta: &Numbers,
        task: &impl Environment,
        sampling: Sampling,
    ) -> Result<Self> {
        let Sampling { horizon, gamma, rate, credit, steps, inner, outer } = sampling;
        for (what, number) in [
            ("steps in a trajectory", horizon),
            ("inner steps", steps),
            ("trajectories for an inner step", inner),
            ("trajectories for the outer estimate", outer),
        ] {
            if number == 0 {
                return Err(Error::Empty { what });
            }
        }
        rl::error::check_discount(gamma)?;
        rl::error::check_rate(rate)?;
        let actor = Actor::new(policy, theta, &task.spaces(), DType::F64)?;
        // Any trajectories of the right shapes, to record with.
        let [observation, action] = &task.spaces();
        let blank = |trajectories| Rollout::zeros_in(trajectories, horizon, [observation, action]);
        let (inner, outer) = (blank(inner)?, blank(outer)?);

        let tape = Tape::new();
        let theta = policy::record(theta, &tape);
        let all: Vec<Episodes> =
            (0..=steps).map(|step| if step < steps { &inner } else { &outer }.record(&tape)).collect();
        let (data, last) = (&all[..steps], all[steps]);
        let gamma = gamma.into();
        let batch = MetaBatch { policy, theta: &theta, inner: data, outer: Outer::Sampled(last), gamma, rate, credit };
        let inputs = |data: &[Episodes]| -> Vec<Handle> {
            data.iter().flat_map(Episodes::handles).chain(policy::handles(&theta)).collect()
        };
        let estimate = tape.compile(inputs(&all), surrogate(&batch).grad(&theta).into_values());

        let first = MetaBatch { inner: &data[..1], ..batch };
        let adapted = first.adapt_by_fixed_data().swap_remove(1);
        let adapt = tape.compile(inputs(&all[..1]), adapted.into_values());
        Ok(Self { sampling, actor, adapt, estimate })
    }

    /// The mean over tasks of one estimate each: samples D_1 … D_ζ, adapts, samples what was adapted. Task i is a
    /// function of `seed` and i, whatever thread runs it.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] without tasks; [`Error::NotFinite`] for the mean; and those of [`Actor::sample`].
    pub fn gradient<E: Environment + Clone + Sync>(&self, tasks: &[E], theta: &Numbers, seed: u64) -> Result<Numbers> {
        if tasks.is_empty() {
            return Err(Error::Empty { what: "tasks" });
        }
        ad::ready_threads();
        let estimates: Vec<Numbers> = (tasks.par_iter().enumerate())
            .map(|(task, environment)| self.estimate(environment, theta, &mut stream(seed, task as u64)))
            .collect::<Result<_>>()?;
        let mut sum = policy::zeros_like(theta);
        for estimate in &estimates {
            add(&mut sum, 1.0, estimate);
        }
        sum.values_mut().for_each(|sum| *sum /= tasks.len() as f64);
        for (name, gradient) in &sum {
            if let Some(&value) = gradient.iter().find(|x| !x.is_finite()) {
                return Err(Error::NotFinite { what: format!("an entry of the gradient by `{name}`"), value });
            }
        }
        Ok(sum)
    }

    /// Gradient ascent with this outer rate from `theta`, on the tasks that `tasks` gives for each iteration.
    ///
    /// # Errors
    ///
    /// [`Error::Rate`], and those of [`gradient`](Self::gradient).
    pub fn ascend<E: Environment + Clone + Sync>(
        &self,
        mut tasks: impl FnMut(usize) -> Vec<E>,
        theta: &Numbers,
        outer_rate: f64,
        iterations: usize,
        seed: u64,
    ) -> Result<Numbers> {
        rl::error::check_rate(outer_rate)?;
        let mut seeds = stream(seed, 0);
        let mut theta = theta.clone();
        for iteration in 0..iterations {
            let gradient = self.gradient(&tasks(iteration), &theta, seeds.next_u64())?;
            add(&mut theta, outer_rate, &gradient);
        }
        Ok(theta)
    }

    fn estimate<E: Environment + Clone + Sync>(
        &self,
        task: &E,
        theta: &Numbers,
        seeds: &mut impl Rng,
    ) -> Result<Numbers> {
        let Sampling { horizon, steps, inner, outer, .. } = self.sampling;
        let mut data = Vec::with_capacity(steps + 1);
        let mut here = theta.clone();
        for _ in 0..steps {
            let rollout = self.actor.sample(task, &here, horizon, inner, seeds.next_u64())?;
            here = run(&self.adapt, std::slice::from_ref(&rollout), &here)?;
            data.push(rollout);
        }
        data.push(self.actor.sample(task, &here, horizon, outer, seeds.next_u64())?);
        run(&self.estimate, &data, theta)
    }
}

/// A program of trajectories and parameters, whose results are of the parameters' structure.
fn run(program: &Program, data: &[Rollout], theta: &Numbers) -> Result<Numbers> {
    let values: Vec<Value<'_>> = data.iter().flat_map(Rollout::values).chain(policy::values(theta)).collect();
    Ok(theta.keys().cloned().zip(program.run(&values)?).collect())
}
