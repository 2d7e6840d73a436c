//! In small random tables, all of it exact, by enumeration: how gradients and Hessians vary that credit a score with its
//! trajectory's whole return, or with what follows its step (Tang 2022, App. H.3); and what an update is worth that is made of
//! N trajectories, beside one that is exact (its section 4).

use ad::Var;
use ndarray::{Array1, Array2, ArrayD};
use rl::batch::Batch;
use rl::env::{Horizon, TabularMdp};
use rl::error::Result;
use rl::meta::sampled::{self, Credit, MetaBatch};
use rl::objective::{Estimator, ImportanceSampling};
use rl::truth::{SampledUpdate, Setting, derivatives};

use crate::exact::{Estimate, Problem, estimates};
use crate::tables::key;

/// γ.
const GAMMA: f64 = 0.9;

/// η, of the update.
const RATE: f64 = 1.0;

/// The steps of trajectories that an update is made of.
const INNER_HORIZON: usize = 2;

/// The numbers of trajectories N that an update is made of.
pub const TRAJECTORIES: [usize; 3] = [1, 2, 3];

/// At one horizon, of the gradient and the Hessian.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Variances {
    /// Of R(τ)·□(log p(τ)), each derivative's, of one trajectory.
    pub by_trajectory: [f64; 2],
    /// Of Σ_t γ^t r_t □(Σ_{k≤t} log π_k).
    pub by_step: [f64; 2],
    /// ‖bias‖ / ‖truth‖, the larger of the two.
    pub bias: [f64; 2],
}

/// Of one process, at the horizons 1, 2, …
pub fn variances(seed: u64, index: usize, horizon: usize) -> Result<Vec<Variances>> {
    let problem = problem(seed, index)?;
    let at = |steps: usize| {
        let setting = Setting::new(&problem.mdp, &problem.logits, steps, GAMMA);
        let surrogates =
            |batch: &Batch| -> Vec<Var> { vec![Credit::WholeReturn.boxed(batch), ImportanceSampling.surrogate(batch)] };
        let found = estimates(&setting, 1, surrogates)?;
        let truth = derivatives(&problem.mdp, &problem.logits, GAMMA, &Horizon::Finite { steps, terminal: None }, 2)?;
        let bias = [0, 1].map(|order| {
            let truth = flat(&truth[order + 1]);
            found.iter().map(|both: &[Estimate; 2]| relative(&both[order].mean, &truth)).fold(0.0, f64::max)
        });
        let variance = |place: usize| [0, 1].map(|order: usize| found[place][order].variance);
        Ok(Variances { by_trajectory: variance(0), by_step: variance(1), bias })
    };
    (1..=horizon).map(at).collect()
}

/// How far what is adapted with N trajectories is from what is adapted exactly, relatively.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Distance {
    /// Of J_N^(ii) = E[(I + η (1/N) Σ R(τ_i) ∇²log p(τ_i)) ∇V(θ′_N)] from J_∞^(ii), the same with θ′ = θ + η ∇V(θ) for θ′_N.
    pub term: f64,
    /// Of E[∇V(θ′_N)] from ∇V(θ′).
    pub gradient: f64,
}

/// Of one process, for each of [`TRAJECTORIES`].
pub fn distances(seed: u64, index: usize) -> Result<[Distance; TRAJECTORIES.len()]> {
    let Problem { mdp, logits, .. } = problem(seed, index)?;
    let horizon = Horizon::Finite { steps: INNER_HORIZON, terminal: None };
    let gradient =
        |logits: &Array2<f64>| -> Result<Array1<f64>> { Ok(flat(&derivatives(&mdp, logits, GAMMA, &horizon, 1)?[1])) };
    let update = gradient(&logits)?.into_shape_with_order(logits.dim()).expect("as many entries");
    let there = gradient(&(&logits + RATE * update))?;
    let curvature = hessian_at_fixed_data(&mdp, &logits)?;
    let term = &there + &(RATE * curvature.dot(&there));

    let mut distances = [Distance::default(); TRAJECTORIES.len()];
    for (distance, trajectories) in distances.iter_mut().zip(TRAJECTORIES) {
        let problem = SampledUpdate::new(&mdp, &logits, INNER_HORIZON, GAMMA)
            .credit(Credit::WholeReturn)
            .rate(RATE)
            .trajectories(trajectories);
        let expectation = |surrogate: fn(&MetaBatch<'_>) -> Var| -> Result<Array1<f64>> {
            Ok(flat(&problem.check(surrogate, 1)?.orders[1].expectation))
        };
        *distance = Distance {
            term: relative(&expectation(sampled::maml)?, &term),
            gradient: relative(&expectation(sampled::first_order_maml)?, &there),
        };
    }
    Ok(distances)
}

/// E[R(τ) ∇²log p(τ)].
fn hessian_at_fixed_data(mdp: &TabularMdp, logits: &Array2<f64>) -> Result<Array2<f64>> {
    let setting = Setting::new(mdp, logits, INNER_HORIZON, GAMMA);
    let hessian = setting.expectation(|batch, _, theta| Credit::WholeReturn.fixed_data(batch).hessian(theta))?;
    Ok(hessian.into_shape_with_order((logits.len(), logits.len())).expect("θ's shape twice"))
}

/// Two states, two actions, transitions drawn from Dirichlet(1).
fn problem(seed: u64, index: usize) -> Result<Problem> {
    Problem::new(key(&[seed, index as u64]), false, INNER_HORIZON)
}

fn flat(x: &ArrayD<f64>) -> Array1<f64> {
    x.iter().copied().collect()
}

/// ‖x − y‖ / ‖y‖.
fn relative(x: &Array1<f64>, y: &Array1<f64>) -> f64 {
    let difference = x - y;
    (difference.dot(&difference) / y.dot(y)).sqrt()
}
