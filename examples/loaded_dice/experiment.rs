//! The experiment: derivatives of orders 1 to 3 on random MDPs, by several estimators on the same trajectories, and the truth.

use ad::{Program, Tape, Value, Var};
use ndarray::{Array1, Array2, Array3, ArrayD};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use rl::batch::Batch;
use rl::env::{Horizon, TabularMdp};
use rl::error::Result;
use rl::objective::{Estimator, LoadedDice, allow_biased};
use rl::policy::{Table, softmax};
use rl::stream::stream;
use rl::truth::derivatives;
use study::output::progress;
use study::saved::Saved;

/// The demonstration of Farquhar et al. 2019: states, actions, discount, steps, and the spread of the noise on the critic.
const STATES: usize = 5;
const ACTIONS: usize = 4;
const GAMMA: f64 = 0.95;
const HORIZON: usize = 50;
const NOISE: f64 = 10.0;

/// The values that λ and τ take in the sweeps.
const SWEEP: [f64; 5] = [1.0, 0.75, 0.5, 0.25, 0.0];

#[derive(Debug)]
pub struct Experiment {
    pub seed: u64,
    pub mdps: usize,
    /// The numbers of trajectories of the first study, and how many independent batches of each.
    pub batches: Vec<usize>,
    pub seeds: usize,
    /// The same of the sweeps.
    pub sweep_batch: usize,
    pub sweep_seeds: usize,
    /// Compare with the infinite horizon, as the demonstration does, and not with what 50 steps and the critic estimate.
    pub infinite: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// DiCE without a baseline, γ V(s_T) added to the last reward.
    Dice,
    Loaded {
        lambda: f64,
        tau: f64,
    },
}

/// Which of the three studies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Study {
    Batch,
    Lambda,
    Tau,
}

/// One estimator at one batch size.
pub struct Series {
    pub study: Study,
    pub kind: Kind,
    pub batch: usize,
    /// The order-k estimates, `[mdp][seed][order − 1]`, each with S·A entries.
    pub estimates: Vec<Vec<[Array1<f64>; 3]>>,
}

/// A random process, a policy, and critics.
pub struct Problem {
    mdp: TabularMdp,
    logits: Array2<f64>,
    exact: Array1<f64>,
    noisy: Array1<f64>,
    /// The true derivatives, with the exact critic at the end of the horizon and with the noisy one.
    truth: [[Array1<f64>; 3]; 2],
}

impl Problem {
    pub fn truth(&self, study: Study, order: usize) -> &Array1<f64> {
        &self.truth[usize::from(study == Study::Tau)][order - 1]
    }
}

/// (trajectories, θ, V) ↦ three derivatives of each kind.
struct Job {
    study: Study,
    kinds: Vec<Kind>,
    batch: usize,
    seeds: usize,
    program: Program,
}

impl Experiment {
    /// The processes, and all that was estimated. What is saved are the estimates from one batch.
    pub fn run(&self, saved: &Saved) -> Result<(Vec<Problem>, Vec<Series>)> {
        let problems: Vec<Problem> =
            (0..self.mdps).into_par_iter().map(|mdp| self.problem(mdp)).collect::<Result<_>>()?;
        let loaded = |lambda, tau| Kind::Loaded { lambda, tau };
        let compared = vec![Kind::Dice, loaded(1.0, 1.0), loaded(1.0, 0.0), loaded(0.0, 1.0)];
        let lambdas: Vec<Kind> = SWEEP.iter().map(|&lambda| loaded(lambda, 0.0)).collect();
        let taus: Vec<Kind> = SWEEP.iter().map(|&tau| loaded(1.0, tau)).collect();
        let mut jobs = vec![
            self.job(Study::Lambda, lambdas, self.sweep_batch, self.sweep_seeds, &problems[0])?,
            self.job(Study::Tau, taus, self.sweep_batch, self.sweep_seeds, &problems[0])?,
        ];
        for &batch in &self.batches {
            jobs.push(self.job(Study::Batch, compared.clone(), batch, self.seeds, &problems[0])?);
        }

        let progress = progress(jobs.iter().map(|job| job.batch * job.seeds * self.mdps).sum(), "trajectories");
        let mut series = Vec::new();
        for (number, job) in jobs.iter().enumerate() {
            let cells: Vec<(usize, usize)> =
                (0..self.mdps).flat_map(|mdp| (0..job.seeds).map(move |seed| (mdp, seed))).collect();
            // For each cell all entries of three orders, one kind after the other.
            let estimates: Vec<Vec<f64>> = cells
                .par_iter()
                .map(|&(mdp, seed)| {
                    let estimate = || self.estimate(job, &problems[mdp], stream_number(mdp, number, seed));
                    let estimates = saved.part(&format!("{number},{mdp},{seed}"), estimate);
                    progress.inc(job.batch as u64);
                    estimates
                })
                .collect::<Result<_>>()?;
            for (k, &kind) in job.kinds.iter().enumerate() {
                let entries = STATES * ACTIONS;
                let order = |numbers: &[f64], order: usize| -> Array1<f64> {
                    numbers.iter().skip((3 * k + order) * entries).take(entries).copied().collect()
                };
                let of_mdp = |cells: &[Vec<f64>]| {
                    cells.iter().map(|numbers| [0, 1, 2].map(|i| order(numbers, i))).collect::<Vec<_>>()
                };
                let estimates = estimates.chunks(job.seeds).map(of_mdp).collect();
                series.push(Series { study: job.study, kind, batch: job.batch, estimates });
            }
        }
        progress.finish_and_clear();
        Ok((problems, series))
    }

    /// A process as `mdptoolbox.example.rand` draws one: from each state and action some next states at random, with
    /// probabilities in proportion to uniform numbers. The reward of a state is 10 (5 + a normal number).
    fn problem(&self, mdp: usize) -> Result<Problem> {
        let rng = &mut stream(self.seed, stream_number(mdp, JOBS - 1, 0));
        let mut transition = Array3::<f64>::zeros((STATES, ACTIONS, STATES));
        for mut row in transition.rows_mut() {
            let threshold: f64 = rng.random();
            row.mapv_inplace(|_| f64::from(rng.random::<f64>() > threshold));
            if row.sum() == 0.0 {
                row[rng.random_range(0..STATES)] = 1.0;
            }
            row.mapv_inplace(|possible| possible * (1.0 - rng.random::<f64>())); // in (0, 1]
            row /= row.sum();
        }
        let mut normal = || Distribution::<f64>::sample(&StandardNormal, rng);
        let reward: Array1<f64> = (0..STATES).map(|_| 10.0 * (5.0 + normal())).collect();
        let reward = Array2::from_shape_fn((STATES, ACTIONS), |(state, _)| reward[state]);
        let logits = Array2::from_shape_simple_fn((STATES, ACTIONS), &mut normal);
        let mdp = TabularMdp::new(transition, reward)?.with_start(Array1::from_elem(STATES, 1.0 / STATES as f64))?;
        let value = |state: usize| {
            let start = Array1::from_shape_fn(STATES, |s| f64::from(s == state));
            Ok(derivatives(&mdp.clone().with_start(start)?, &logits, GAMMA, &Horizon::Infinite, 0)?[0].sum())
        };
        let exact: Array1<f64> = (0..STATES).map(value).collect::<Result<_>>()?;
        let noisy = exact.mapv(|v| v + NOISE * normal());
        let truth = |critic: &Array1<f64>| -> Result<[Array1<f64>; 3]> {
            let finite = Horizon::Finite { steps: HORIZON, terminal: Some(critic.clone()) };
            let horizon = if self.infinite { Horizon::Infinite } else { finite };
            let all = derivatives(&mdp, &logits, GAMMA, &horizon, 3)?;
            // Of the second and third derivative, the part that belongs to θ[0, 0], and to θ[0, 0] twice.
            let part = |x: ArrayD<f64>| Array1::from_iter(x.iter().copied().take(STATES * ACTIONS));
            Ok([1, 2, 3].map(|order| part(all[order].clone())))
        };
        let truth = [truth(&exact)?, truth(&noisy)?];
        Ok(Problem { mdp, logits, exact, noisy, truth })
    }

    fn job(&self, study: Study, kinds: Vec<Kind>, batch: usize, seeds: usize, any: &Problem) -> Result<Job> {
        let rollout = any.mdp.sample(&softmax(&any.logits), HORIZON, batch, 0)?;
        let tape = Tape::new();
        let (theta, critic) = (tape.input("theta", &any.logits), tape.input("critic", &any.exact));
        let episodes = rollout.record(&tape);
        let values = critic.gather([episodes.states()]);
        let data = Batch::new(episodes, Table::log_prob_of(theta, &episodes), GAMMA).with_critic(values);
        let results = kinds.iter().flat_map(|kind| orders(kind.surrogate(&data), theta)).collect::<Vec<_>>();
        let inputs = episodes.handles().into_iter().chain([theta.into(), critic.into()]);
        Ok(Job { study, kinds, batch, seeds, program: tape.compile(inputs, results) })
    }

    fn estimate(&self, job: &Job, problem: &Problem, number: u64) -> Result<Vec<f64>> {
        let policy = softmax(&problem.logits);
        let seed = stream(self.seed, number).next_u64();
        let rollout = problem.mdp.sample(&policy, HORIZON, job.batch, seed)?;
        let critic = if job.study == Study::Tau { &problem.noisy } else { &problem.exact };
        let values: Vec<Value<'_>> = rollout.values().into_iter().chain(ad::values![problem.logits, *critic]).collect();
        let results = job.program.run(&values).expect("values of the shapes recorded, and states and actions in range");
        Ok(results.iter().flatten().copied().collect())
    }
}

/// More than there are jobs: one for each batch size, and two sweeps.
const JOBS: usize = 64;
/// What has a random stream of its own.
pub const MOST_BATCHES: usize = JOBS - 3;
pub const MOST_SEEDS: usize = 1 << 24;

/// A random stream for every MDP, job and seed.
fn stream_number(mdp: usize, job: usize, seed: usize) -> u64 {
    ((mdp * JOBS + job) as u64) << 24 | seed as u64
}

/// ∇J, ∇(∇J)₀₀ and ∇(∇(∇J)₀₀)₀₀: only one entry of a derivative is differentiated further.
fn orders(surrogate: Var, theta: Var) -> [Var; 3] {
    let first_entry = |derivative: Var| derivative.at(0, 0).at(0, 0);
    let first = surrogate.grad(theta);
    let second = first_entry(first).grad(theta);
    [first, second, first_entry(second).grad(theta)]
}

impl Kind {
    fn surrogate(self, batch: &Batch) -> Var {
        match self {
            Kind::Dice => {
                let horizon = batch.steps.horizon();
                let end = batch.values().slice(1, horizon..horizon + 1).pad(1, horizon - 1, 0) * batch.gamma();
                batch.discounted_sum((batch.rewards() + end) * batch.cumulative_ratio()).mean()
            }
            Kind::Loaded { lambda, tau } => {
                let estimator = LoadedDice { lambda, tau };
                allow_biased(&estimator).surrogate(batch)
            }
        }
    }
}

impl Series {
    /// As in tables and files.
    pub fn estimator(&self) -> &'static str {
        match (self.kind, self.study) {
            (Kind::Dice, _) => "dice",
            (_, Study::Tau) => "loaded_noisy_critic",
            (Kind::Loaded { lambda: 0.0, tau: 1.0 }, _) => "lvc",
            _ => "loaded",
        }
    }

    /// What tells it from the others of its study.
    pub fn label(&self) -> String {
        match self.kind {
            Kind::Dice => "DiCE".to_owned(),
            Kind::Loaded { lambda: 0.0, tau: 1.0 } => "LVC (λ = 0, τ = 1)".to_owned(),
            Kind::Loaded { lambda: 1.0, tau: 1.0 } => "Loaded (λ = 1, τ = 1)".to_owned(),
            Kind::Loaded { lambda, tau } => format!("Loaded (λ = {lambda}, τ = {tau})"),
        }
    }
}
