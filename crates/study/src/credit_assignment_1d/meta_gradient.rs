//! The policy a ~ N(θ_0 s² + θ_1, 1) on [`Line`], and both formulations' meta-gradients from trajectories, in closed form: with
//! φ_t = (s_t², 1), a trajectory's score is u = Σ_t (a_t − θᵀφ_t) φ_t, and ∇²log p = −Σ_t φ_t φ_tᵀ.

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rl::env::{Action, Environment, Line, Slot};

/// θ, or something by θ.
pub type Pair = [f64; 2];

/// η, of the inner step.
pub const INNER_RATE: f64 = 0.1;

/// Which meta-gradient. Both have J_post = (I + η (1/N) Σ R_i ∇²log p(τ_i)) g, g the policy gradient's estimate where the inner step
/// leads, and add a J_pre for how the inner data depends on θ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formulation {
    /// J_pre = η (1/N) Σ R_i u_i u_iᵀ g: each trajectory is credited with what its own part of the step is worth. The gradient of
    /// what the exact step is worth, with the sampled step in its place (Tang 2022's LSF).
    I,
    /// J_pre = R̄′ Σ u_i: all trajectories are credited with the return R̄′ after the step. The gradient of what a step of N
    /// trajectories is worth (E-MAML as it should be, Tang 2022's SF).
    II,
}

/// Whose formulas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// The repository's script: an action is clipped to ±2 before its density is taken, and J_pre of formulation I lacks its η. (The
    /// script multiplies both terms by η, J_post once more and J_pre for the first time.) Beside J_post it counts 1/η = 10 times.
    Repository,
    /// As the formulations are written, with the density of what the policy drew.
    Formulas,
}

impl Variant {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Repository, Self::Formulas];

    /// `repository`, `formulas`.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Repository => "repository",
            Variant::Formulas => "formulas",
        }
    }
}

/// What a trajectory counts with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Trajectory {
    /// R(τ) = Σ_t r_t.
    pub earned: f64,
    /// u = ∇log p(τ).
    pub score: Pair,
    /// ∇²log p(τ), by (θ_0, θ_0), (θ_0, θ_1) and (θ_1, θ_1).
    pub curvature: [f64; 3],
}

/// Trajectories of so many steps to a goal. `seen` is told each step's state and action, as it is scored.
pub fn sample(
    goal: f64,
    theta: Pair,
    variant: Variant,
    [trajectories, steps]: [usize; 2],
    rng: &mut ChaCha8Rng,
    mut seen: impl FnMut(f64, f64),
) -> Vec<Trajectory> {
    let mut line = Line::to(goal);
    let mut one = || {
        let (mut trajectory, mut state) = (Trajectory::default(), [0.0]);
        line.reset(rng, Slot::F64(&mut state)).expect("nothing fails on a line");
        for _ in 0..steps {
            let feature = state[0] * state[0];
            let mean = theta[0] * feature + theta[1];
            let noise: f64 = StandardNormal.sample(rng);
            let drawn = mean + noise;
            let (scored, apart) = match variant {
                Variant::Repository => (drawn.clamp(-2.0, 2.0), drawn.clamp(-2.0, 2.0) - mean),
                Variant::Formulas => (drawn, noise),
            };
            seen(state[0], scored);
            trajectory.score[0] += apart * feature;
            trajectory.score[1] += apart;
            trajectory.curvature[0] -= feature * feature;
            trajectory.curvature[1] -= feature;
            trajectory.curvature[2] -= 1.0;
            trajectory.earned += line
                .step(Action::Vector(&[drawn]), rng, Slot::F64(&mut state))
                .expect("nothing fails on a line")
                .reward;
        }
        trajectory
    };
    (0..trajectories).map(|_| one()).collect()
}

/// ĝ = (1/N) Σ R_i u_i.
pub fn policy_gradient(trajectories: &[Trajectory]) -> Pair {
    mean(trajectories, |trajectory| trajectory.score.map(|u| trajectory.earned * u))
}

/// The mean return.
pub fn mean_return(trajectories: &[Trajectory]) -> f64 {
    trajectories.iter().map(|trajectory| trajectory.earned).sum::<f64>() / trajectories.len() as f64
}

/// A task's meta-gradient from trajectories before and after the inner step, times η: in the script's units, so that rates compare.
pub fn meta_gradient(formulation: Formulation, variant: Variant, before: &[Trajectory], after: &[Trajectory]) -> Pair {
    let g = policy_gradient(after);
    let curved = mean(before, |Trajectory { earned, curvature: [a, b, c], .. }| {
        [earned * (a * g[0] + b * g[1]), earned * (b * g[0] + c * g[1])]
    });
    let post = [0, 1].map(|j| g[j] + INNER_RATE * curved[j]);
    let pre = match formulation {
        Formulation::I => mean(before, |Trajectory { earned, score, .. }| {
            let along = score[0] * g[0] + score[1] * g[1];
            score.map(|u| INNER_RATE * earned * along * u)
        }),
        Formulation::II => {
            let scores = mean(before, |trajectory| trajectory.score);
            scores.map(|u| mean_return(after) * before.len() as f64 * u)
        }
    };
    let weight = match (variant, formulation) {
        (Variant::Repository, Formulation::I) => 1.0 / INNER_RATE,
        _ => 1.0,
    };
    [0, 1].map(|j| INNER_RATE * (post[j] + weight * pre[j]))
}

fn mean(trajectories: &[Trajectory], of: impl Fn(&Trajectory) -> Pair) -> Pair {
    let sum = trajectories.iter().map(of).fold([0.0; 2], |sum: Pair, x| [sum[0] + x[0], sum[1] + x[1]]);
    sum.map(|x| x / trajectories.len() as f64)
}
