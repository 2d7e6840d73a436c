//! Meta-learning over tasks: ascent on the mean over tasks of F_N, by any estimator of [`sampled`](super::sampled) (with
//! the linearised score function it is Algorithm 1 of Tang 2022, with SG-MRL Algorithms 1 and 2 of Fallah et al. 2021).

use ad::{Handle, Program, Tape, Value, Var};
use ndarray::{Array2, Ix2};
use rand::Rng;
use rayon::prelude::*;

use super::sampled::{Credit, MetaBatch, Outer};
use crate::batch::Episodes;
use crate::error::{Error, Result, check_discount, check_rate};
use crate::mdp::TabularMdp;
use crate::policy::softmax;
use crate::rollout::{Rollout, check_shape};
use crate::stream::stream;

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

/// An estimator, compiled for tasks of S states and A actions.
///
/// ```
/// use rl::meta::{sampled::{Credit, linearised_score_function}, tasks::{MetaLearner, Sampling}};
/// use rl::{mdp::TabularMdp, stream::stream};
/// let sampling =
///     Sampling { horizon: 3, gamma: 0.9, rate: 0.5, credit: Credit::ReturnToGo, steps: 1, inner: 20, outer: 20 };
/// let learner = MetaLearner::new(linearised_score_function, sampling, 2, 2)?;
/// let tasks: Vec<TabularMdp> =
///     (0..4).map(|task| TabularMdp::random(2, 2, 1.0, &mut stream(0, task))).collect::<Result<_, _>>()?;
/// let theta = learner.ascend(|_| tasks.clone(), &ndarray::Array2::zeros((2, 2)), 0.1, 5, 7)?;
/// assert_eq!(theta.dim(), (2, 2));
/// # Ok::<(), rl::error::Error>(())
/// ```
#[derive(Debug)]
pub struct MetaLearner {
    sampling: Sampling,
    shape: [usize; 2],
    /// (D, θ) ↦ θ + η ĝ(θ, D).
    adapt: Program,
    /// (D_1, …, D_ζ, D′, θ) ↦ the estimate.
    estimate: Program,
}

impl MetaLearner {
    /// The gradient of `surrogate` as the estimate.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] for a number of `sampling`, or of states or actions, that is 0; [`Error::Discount`], [`Error::Rate`],
    /// [`Error::TooLarge`].
    pub fn new(
        surrogate: impl FnOnce(&MetaBatch<'_>) -> Var,
        sampling: Sampling,
        states: usize,
        actions: usize,
    ) -> Result<Self> {
        let Sampling { horizon, gamma, rate, credit, steps, inner, outer } = sampling;
        for (what, number) in [
            ("steps in a trajectory", horizon),
            ("inner steps", steps),
            ("trajectories for an inner step", inner),
            ("trajectories for the outer estimate", outer),
            ("states", states),
            ("actions", actions),
        ] {
            if number == 0 {
                return Err(Error::Empty { what });
            }
        }
        check_discount(gamma)?;
        check_rate(rate)?;
        // Any trajectories of the right shape, to record with.
        let (inner, outer) = (Rollout::zeros(inner, horizon)?, Rollout::zeros(outer, horizon)?);

        let tape = Tape::new();
        let theta = tape.input("theta", Array2::<f64>::zeros((states, actions)));
        let all: Vec<Episodes> =
            (0..=steps).map(|step| if step < steps { &inner } else { &outer }.record(&tape)).collect();
        let (data, last) = (&all[..steps], all[steps]);
        let batch = MetaBatch { theta, inner: data, outer: Outer::Sampled(last), gamma, rate, credit };
        let inputs = all.iter().flat_map(Episodes::handles).chain([Handle::from(theta)]);
        let estimate = tape.compile(inputs, [surrogate(&batch).grad(theta)]);

        let first = MetaBatch { inner: &data[..1], ..batch };
        let adapted = first.adapt_by_fixed_data()[1];
        let adapt = tape.compile(data[0].handles().into_iter().chain([Handle::from(theta)]), [adapted]);
        Ok(Self { sampling, shape: [states, actions], adapt, estimate })
    }

    /// The mean over tasks of one estimate each, `[S, A]`: samples D_1 … D_ζ, adapts, samples what was adapted. Task i is a
    /// function of `seed` and i, whatever thread runs it.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] without tasks, [`Error::Shape`] for a task or θ of another size.
    pub fn gradient(&self, tasks: &[TabularMdp], theta: &Array2<f64>, seed: u64) -> Result<Array2<f64>> {
        check_shape("theta", theta.shape(), &self.shape)?;
        if tasks.is_empty() {
            return Err(Error::Empty { what: "tasks" });
        }
        ad::ready_threads();
        let estimates: Vec<Array2<f64>> = (tasks.par_iter().enumerate())
            .map(|(task, mdp)| self.estimate(mdp, theta, &mut stream(seed, task as u64)))
            .collect::<Result<_>>()?;
        let sum = estimates.iter().fold(Array2::zeros(theta.dim()), |sum, estimate| sum + estimate);
        Ok(sum / tasks.len() as f64)
    }

    /// Gradient ascent with this outer rate from `theta`, on the tasks that `tasks` gives for each iteration.
    ///
    /// # Errors
    ///
    /// [`Error::Rate`], and those of [`gradient`](Self::gradient).
    pub fn ascend(
        &self,
        mut tasks: impl FnMut(usize) -> Vec<TabularMdp>,
        theta: &Array2<f64>,
        outer_rate: f64,
        iterations: usize,
        seed: u64,
    ) -> Result<Array2<f64>> {
        check_rate(outer_rate)?;
        let mut seeds = stream(seed, 0);
        let mut theta = theta.clone();
        for iteration in 0..iterations {
            let gradient = self.gradient(&tasks(iteration), &theta, seeds.next_u64())?;
            theta.scaled_add(outer_rate, &gradient);
        }
        Ok(theta)
    }

    fn estimate(&self, mdp: &TabularMdp, theta: &Array2<f64>, seeds: &mut impl Rng) -> Result<Array2<f64>> {
        check_shape("task", mdp.reward().shape(), &self.shape)?;
        let Sampling { horizon, steps, inner, outer, .. } = self.sampling;
        let mut data = Vec::with_capacity(steps + 1);
        let mut here = theta.clone();
        for _ in 0..steps {
            let rollout = mdp.sample(&softmax(&here), horizon, inner, seeds.next_u64())?;
            let values: Vec<Value<'_>> = rollout.values().into_iter().chain(ad::values![here]).collect();
            here = first_table(&self.adapt, &values);
            data.push(rollout);
        }
        data.push(mdp.sample(&softmax(&here), horizon, outer, seeds.next_u64())?);
        let values = data.iter().flat_map(Rollout::values).chain(ad::values![*theta]);
        Ok(first_table(&self.estimate, &values.collect::<Vec<_>>()))
    }
}

fn first_table(program: &Program, values: &[Value<'_>]) -> Array2<f64> {
    let mut results = program.run(values).expect("values of the shapes recorded, and states and actions in range");
    results.swap_remove(0).into_dimensionality::<Ix2>().expect("θ's shape")
}
