//! W1 … W3: objectives of a softmax policy over states and actions, lp_t = log softmax(logits\[s_t,:\])\[a_t\].
//!
//! Their arrays are `[n, t]`: episodes and steps.

use ad::{Index, Var};
use ndarray::Array1;

use super::{Recorder, Result, Task};

const GAMMA: f64 = 0.8;

/// An objective of the logits, and a direction to take its second derivative in.
pub struct Objective {
    /// J.
    pub value: Var,
    /// `[S, A]`.
    pub logits: Var,
    /// `[S, A]`.
    pub direction: Var,
}

impl Objective {
    /// Its value and derivatives.
    pub fn tasks(&self, x: &Recorder<'_>, prefix: &str) -> Vec<Task> {
        let name = |quantity: &str| format!("{prefix}{quantity}");
        vec![
            x.value_and_grad([&name("value"), &name("grad")], self.value, self.logits),
            x.hvp(&name("hvp"), self.value, self.logits, self.direction),
            x.hessian(&name("hessian"), self.value, self.logits),
        ]
    }
}

/// W1, DiCE: J = mean_n Σ_t γ^t r_t □(Σ_{k≤t} lp_k).
pub fn dice(x: &Recorder<'_>) -> Result<Objective> {
    let (logits, direction) = (x.real("logits", "s a")?, x.real("v", "s a")?);
    let (states, actions) = (x.index("states", "n t", "s")?, x.index("actions", "n t", "a")?);
    let rewards = x.real("rewards", "n t")?;
    let lp = log_probability(logits, states, actions);
    let value = mean_return(rewards * lp.cumsum(1).magic_box());
    Ok(Objective { value, logits, direction })
}

/// W2, loaded value credit: J = mean_n Σ_t γ^t A_t □(lp_t).
pub fn lvc(x: &Recorder<'_>) -> Result<Objective> {
    credit(x, Var::magic_box)
}

/// W2, the surrogate that is commonly differentiated: J = mean_n Σ_t γ^t A_t lp_t.
pub fn ad(x: &Recorder<'_>) -> Result<Objective> {
    credit(x, |lp| lp)
}

/// J = mean_n Σ_t γ^t A_t f(lp_t).
fn credit(x: &Recorder<'_>, f: impl FnOnce(Var) -> Var) -> Result<Objective> {
    let (logits, direction) = (x.real("logits", "s a")?, x.real("v", "s a")?);
    let (states, actions) = (x.index("states", "n t", "s")?, x.index("actions", "n t", "a")?);
    let advantages = x.real("advantages", "n t")?;
    let value = mean_return(advantages * f(log_probability(logits, states, actions)));
    Ok(Objective { value, logits, direction })
}

/// W3, doubly robust: v_H = critic\[s_H\]; v_t = critic\[s_t\] + ρ_t (r_t + γ v_{t+1} − critic\[s_t\]); J = mean_n v_0.
pub fn doubly_robust(x: &Recorder<'_>) -> Result<Objective> {
    let OffPolicy { logits, direction, rho, rewards, critic } = off_policy(x)?;
    let horizon = rewards.shape()[1];
    let (now, last) = (critic.slice(1, 0..horizon), critic.at(1, horizon));
    let v = (now + rho * (rewards - now)).scan_reverse_from(rho * GAMMA, last, 1);
    Ok(Objective { value: v.at(1, 0).mean(), logits, direction })
}

/// W3, the Taylor expansion to second order: δ_t = r_t + γ critic\[s_{t+1}\] − critic\[s_t\]; A_t = Σ_{l≥t} γ^{l−t} δ_l;
/// d_t = ρ_t − 1; J = mean_n Σ_t γ^t d_t A_t (1 + Σ_{k<t} d_k).
pub fn taypo2(x: &Recorder<'_>) -> Result<Objective> {
    let OffPolicy { logits, direction, rho, rewards, critic } = off_policy(x)?;
    let horizon = rewards.shape()[1];
    let (now, next) = (critic.slice(1, 0..horizon), critic.slice(1, 1..horizon + 1));
    let advantages = (rewards + GAMMA * next - now).scan_reverse(GAMMA, 1);
    let d = rho - 1.0;
    let value = mean_return(d * advantages * (1.0 + d.cumsum_exclusive(1)));
    Ok(Objective { value, logits, direction })
}

/// Episodes of another policy: ρ_t = exp(lp_t − log_mu\[s_t,a_t\]), and the critic's values of their H + 1 states.
struct OffPolicy {
    logits: Var,
    direction: Var,
    rho: Var,
    rewards: Var,
    critic: Var,
}

fn off_policy(x: &Recorder<'_>) -> Result<OffPolicy> {
    let (logits, direction, log_mu) = (x.real("logits", "s a")?, x.real("v", "s a")?, x.real("log_mu", "s a")?);
    let (actions, rewards) = (x.index("actions", "n t", "a")?, x.real("rewards", "n t")?);
    let states = x.index("states", "n t+1", "s")?;
    let critic = x.real("critic", "s")?.gather(&[states]);
    let states = states.slice(1, 0..rewards.shape()[1]);
    let rho = (log_probability(logits, states, actions) - log_mu.gather(&[states, actions])).exp();
    Ok(OffPolicy { logits, direction, rho, rewards, critic })
}

fn log_probability(logits: Var, states: Index, actions: Index) -> Var {
    logits.log_softmax().gather(&[states, actions])
}

/// mean_n Σ_t γ^t x_t.
fn mean_return(x: Var) -> Var {
    let discounts = Array1::from_shape_fn(x.shape()[1], |t| GAMMA.powi(t as i32));
    (x * x.constant(discounts)).sum_axes(&[1]).mean()
}
