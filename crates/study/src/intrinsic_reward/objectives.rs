//! Learning an intrinsic reward (LIRPG, Zheng et al. 2018) in tables, as in Liu et al. 2022, App. G.1: the policy ascends the
//! value of the reward R + φ, and φ, `[S, A]`, is judged by the value of R that the policy reached.

use ad::{Handle, Tape, Var};
use ndarray::Array1;
use rl::batch::{Batch, Episodes};
use rl::error::Result;
use rl::mdp::TabularMdp;
use rl::objective::{Claim, Estimator, Orders};
use rl::rollout::Rollout;
use rl::truth::Process;

/// J(φ, θ), and the inputs that are its data.
type Recorded = (Var, Vec<Handle>);

/// The exact value of R + φ. Its data are the process.
pub fn inner_value(mdp: &TabularMdp, gamma: f64) -> impl FnOnce(&Tape, Var, Var) -> Recorded {
    move |tape, phi, theta| {
        let process = mdp.record(tape);
        let values = rewarding(process, phi).value(theta.softmax(), gamma);
        (process.start.dot(values), process.handles().into())
    }
}

/// An estimator's surrogate of the value of R + φ. Its data are `trajectories` trajectories of `horizon` steps, the process,
/// and noise, `[S]`.
///
/// The critic is V(s) of R + φ under the current policy, plus ‖V‖/S times the noise. Like the rewards it depends on φ, so
/// that the advantages are differentiated by φ; neither V's policy nor ‖V‖ is differentiated.
pub fn inner_surrogate<'a>(
    estimator: &'a dyn Estimator,
    mdp: &'a TabularMdp,
    gamma: f64,
    horizon: usize,
    trajectories: usize,
) -> Result<impl FnOnce(&Tape, Var, Var) -> Recorded + 'a> {
    let blank = Rollout::zeros(trajectories, horizon)?;
    Ok(move |tape: &Tape, phi: Var, theta: Var| {
        let (episodes, process) = (blank.record(tape), mdp.record(tape));
        let noise = tape.input("noise", Array1::<f64>::zeros(mdp.states()));
        let rewarding = rewarding(process, phi);
        let values = rewarding.value(theta.stop_gradient().softmax(), gamma);
        let norm = values.stop_gradient().square().sum().sqrt();
        let critic = values + noise * norm * (1.0 / mdp.states() as f64);
        let earning = Episodes { rewards: episodes.look_up(rewarding.reward), ..episodes };
        let values = critic.gather(&[episodes.states]);
        let batch = Batch::new(earning, earning.log_prob(theta), gamma).with_differentiable_critic(values);
        let data = episodes.handles().into_iter().chain(process.handles()).chain([noise.into()]);
        (estimator.surrogate(&batch), data.collect())
    })
}

fn rewarding(process: Process, phi: Var) -> Process {
    Process { reward: process.reward + phi, ..process }
}

/// λ of the advantages.
const LAMBDA: f64 = 0.9;

/// "AD" and "LVC" as in the experiment, with advantages by GAE(0.9): Σ_t γ^t A_t log π_t, and Σ_t γ^t A_t ρ_t.
///
/// They claim nothing: with λ < 1 already the gradient is biased by whatever is wrong with the critic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Credit {
    /// AD: Σ_t γ^t A_t log π_t.
    ScoreFunction,
    /// LVC: Σ_t γ^t A_t ρ_t.
    LowVarianceCurvature,
}

impl Estimator for Credit {
    fn name(&self) -> String {
        match self {
            Credit::ScoreFunction => "ad".to_owned(),
            Credit::LowVarianceCurvature => "lvc".to_owned(),
        }
    }

    fn claim(&self) -> Claim {
        Claim { on_policy: Orders::None, off_policy: Orders::None, off_policy_residual: None }
    }

    fn bootstraps(&self) -> bool {
        true
    }

    fn formula(&self, batch: &Batch) -> Var {
        let advantages = batch.temporal_differences().scan_reverse(batch.gamma() * LAMBDA.into(), 1);
        let policy = match self {
            Credit::ScoreFunction => batch.log_prob(),
            Credit::LowVarianceCurvature => batch.ratio(),
        };
        batch.discounted_sum(advantages * policy)
    }
}
