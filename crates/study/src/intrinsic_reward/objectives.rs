//! Learning an intrinsic reward (LIRPG, Zheng et al. 2018) in tables, as in Liu et al. 2022, App. G.1: the policy ascends the
//! value of the reward R + φ, and φ, `[S, A]`, is judged by the value of R that the policy reached.

use ad::{Tape, Var};
use ndarray::Array1;
use rl::batch::Batch;
use rl::env::Process;
use rl::env::TabularMdp;
use rl::error::Result;
use rl::meta::Recorded;
use rl::objective::{Claim, End, Estimator, Facts};
use rl::policy::{Params, Table};
use rl::rollout::{Rollout, Steps};

/// The name of φ, `[S, A]`.
pub const REWARD: &str = "reward";

/// The exact value of R + φ. Its data are the process.
pub fn inner_value(mdp: &TabularMdp, gamma: f64) -> impl FnOnce(&Tape, &Params, &Params) -> Recorded {
    move |tape, phi, theta| {
        let process = mdp.record(tape);
        let values = rewarding(process, phi).value(theta[Table::LOGITS].softmax(), gamma);
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
) -> Result<impl FnOnce(&Tape, &Params, &Params) -> Recorded + 'a> {
    let blank = Rollout::zeros(trajectories, horizon)?;
    Ok(move |tape: &Tape, phi: &Params, theta: &Params| {
        let logits = theta[Table::LOGITS];
        let (episodes, process) = (blank.record(tape), mdp.record(tape));
        let noise = tape.input("noise", Array1::<f64>::zeros(mdp.states()));
        let rewarding = rewarding(process, phi);
        let values = rewarding.value(logits.stop_gradient().softmax(), gamma);
        let norm = values.stop_gradient().square().sum().sqrt();
        let critic = values + noise * norm * (1.0 / mdp.states() as f64);
        let earning = Steps { rewards: episodes.look_up(rewarding.reward), ..episodes.steps };
        let values = critic.gather([episodes.states()]);
        let log_prob = Table::log_prob_of(logits, &episodes);
        let batch = Batch::new(earning, log_prob, gamma).with_differentiable_critic(values);
        let data = episodes.handles().into_iter().chain(process.handles()).chain([noise.into()]);
        (estimator.surrogate(&batch), data.collect())
    })
}

fn rewarding(process: Process, phi: &Params) -> Process {
    Process { reward: process.reward + phi[REWARD], ..process }
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
    fn facts(&self) -> Facts {
        let name = match self {
            Credit::ScoreFunction => "ad",
            Credit::LowVarianceCurvature => "lvc",
        };
        Facts { name: name.to_owned(), claim: Claim::NONE, end: End::Critic, smallest_batch: 1 }
    }

    fn formula(&self, batch: &Batch) -> Var {
        let advantages = batch.gae(LAMBDA);
        let policy = match self {
            Credit::ScoreFunction => batch.log_prob(),
            Credit::LowVarianceCurvature => batch.ratio(),
        };
        batch.discounted_sum(advantages * policy)
    }
}
