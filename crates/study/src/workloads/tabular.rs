//! W1 … W3: objectives of a softmax policy over states and actions, lp_t = log softmax(logits\[s_t,:\])\[a_t\].
//!
//! Their arrays are `[n, t]`: episodes and steps.

use ad::{Index, Var};
use rl::batch::{Batch, Form};
use rl::objective::{DoublyRobust, Estimator, ImportanceSampling, ScoreFunction, TayPo, allow_biased};
use rl::policy::Categorical;
use rl::rollout::Steps;

use super::{Recorder, Result, Task};

const GAMMA: f64 = 0.8;

/// An objective of the logits, and a direction to take its second derivative in.
pub struct Objective {
    value: Var,
    /// What is differentiated: the value, but for what does not depend on the logits.
    surrogate: Var,
    policy: Policy,
}

/// Logits and a direction in them, `[S, A]`.
#[derive(Clone, Copy)]
struct Policy {
    logits: Var,
    direction: Var,
}

impl Policy {
    fn of(x: &Recorder<'_>) -> Result<Self> {
        Ok(Self { logits: x.real("logits", "s a")?, direction: x.real("v", "s a")? })
    }

    /// A batch of these rewards, each step of which is discounted.
    fn batch(self, states: Index, actions: Index, rewards: Var) -> Batch {
        Batch::new(Steps::full(rewards), Categorical::of_rows(self.logits, states).log_prob(actions), GAMMA)
    }
}

impl Objective {
    /// Its value and derivatives.
    pub fn tasks(&self, x: &Recorder<'_>, prefix: &str) -> Vec<Task> {
        let hessian = x.hessian(&format!("{prefix}hessian"), self.surrogate, self.policy.logits);
        vec![self.value_and_gradient(x, prefix), self.hvp(x, prefix), hessian]
    }

    /// In one program.
    pub fn value_and_gradient(&self, x: &Recorder<'_>, prefix: &str) -> Task {
        let gradient = self.surrogate.grad(self.policy.logits);
        x.task([(&*format!("{prefix}value"), self.value.into()), (&*format!("{prefix}grad"), gradient.into())])
    }

    /// In one program, too.
    pub fn gradient_and_hvp(&self, x: &Recorder<'_>) -> Task {
        let Policy { logits, direction } = self.policy;
        let (gradient, hvp) = (self.surrogate.grad(logits), self.surrogate.hvp(logits, direction));
        x.task([("grad", gradient.into()), ("hvp", hvp.into())])
    }

    /// The Hessian times the direction.
    pub fn hvp(&self, x: &Recorder<'_>, prefix: &str) -> Task {
        x.hvp(&format!("{prefix}hvp"), self.surrogate, self.policy.logits, self.policy.direction)
    }
}

/// W1, DiCE: J = mean_n Σ_t γ^t r_t □(Σ_{k≤t} lp_k).
pub fn dice(x: &Recorder<'_>) -> Result<Objective> {
    let policy = Policy::of(x)?;
    let (states, actions) = (x.index("states", "n t", "s")?, x.index("actions", "n t", "a")?);
    let value = ImportanceSampling.surrogate(&policy.batch(states, actions, x.real("rewards", "n t")?));
    Ok(Objective { value, surrogate: value, policy })
}

/// W2, loaded value credit: J = mean_n Σ_t γ^t A_t □(lp_t), which is TayPO-1 but for the value of what it expands around.
pub fn lvc(x: &Recorder<'_>) -> Result<Objective> {
    let (policy, batch) = credited(x)?;
    let value = batch.discounted_sum(batch.advantages()).mean();
    Ok(Objective { value, surrogate: allow_biased(&TayPo { order: 1 }).surrogate(&batch), policy })
}

/// W2, the surrogate that is commonly differentiated: J = mean_n Σ_t γ^t A_t lp_t.
pub fn ad(x: &Recorder<'_>) -> Result<Objective> {
    let (policy, batch) = credited(x)?;
    let value = allow_biased(&ScoreFunction).surrogate(&batch);
    Ok(Objective { value, surrogate: value, policy })
}

/// A batch whose advantages are given: as its rewards, which GAE with λ = 0 credits each step with.
fn credited(x: &Recorder<'_>) -> Result<(Policy, Batch)> {
    let policy = Policy::of(x)?;
    let (states, actions) = (x.index("states", "n t", "s")?, x.index("actions", "n t", "a")?);
    let batch = policy.batch(states, actions, x.real("advantages", "n t")?);
    Ok((policy, batch.in_form(Form { lambda: 0.0, ..Form::VALUE })))
}

/// W3, doubly robust: v_H = critic\[s_H\]; v_t = critic\[s_t\] + ρ_t (r_t + γ v_{t+1} − critic\[s_t\]); J = mean_n v_0.
pub fn doubly_robust(x: &Recorder<'_>) -> Result<Objective> {
    let (policy, batch) = off_policy(x)?;
    let value = DoublyRobust.surrogate(&batch);
    Ok(Objective { value, surrogate: value, policy })
}

/// W3, the Taylor expansion to second order: δ_t = r_t + γ critic\[s_{t+1}\] − critic\[s_t\]; A_t = Σ_{l≥t} γ^{l−t} δ_l;
/// d_t = ρ_t − 1; J = mean_n Σ_t γ^t d_t A_t (1 + Σ_{k<t} d_k), which is TayPO-2 but for the value of what it expands around.
pub fn taypo2(x: &Recorder<'_>) -> Result<Objective> {
    let (policy, batch) = off_policy(x)?;
    let d = batch.ratio() - 1.0;
    let value = batch.discounted_sum(d * batch.advantages() * (d.cumsum_exclusive(1) + 1.0)).mean();
    Ok(Objective { value, surrogate: TayPo { order: 2 }.surrogate(&batch), policy })
}

/// Episodes of another policy: ρ_t = exp(lp_t − log_mu\[s_t,a_t\]), and the critic's values of their H + 1 states.
fn off_policy(x: &Recorder<'_>) -> Result<(Policy, Batch)> {
    let (policy, log_mu) = (Policy::of(x)?, x.real("log_mu", "s a")?);
    let (actions, rewards) = (x.index("actions", "n t", "a")?, x.real("rewards", "n t")?);
    let states = x.index("states", "n t+1", "s")?;
    let critic = x.real("critic", "s")?.gather([states]);
    let states = states.slice(1, 0..rewards.shape()[1]);
    let batch = policy.batch(states, actions, rewards).off_policy(log_mu.gather([states, actions]));
    Ok((policy, batch.with_critic(critic)))
}
