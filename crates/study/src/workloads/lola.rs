//! W7, LOLA-DiCE in the iterated prisoner's dilemma: an agent differentiates through its opponent's next step.

use ad::Var;
use rl::batch::Batch;
use rl::meta::adapt;
use rl::objective::{DiceBaseline, Estimator};
use rl::optim::Rule;
use rl::policy::Categorical;
use rl::rollout::Steps;

use super::{Recorder, Result, Task};

const GAMMA: f64 = 0.96;

/// Both agents' logits of action 0 in each state, `[s]`; those of action 1 are 0.
fn agents(x: &Recorder<'_>) -> Result<[Var; 2]> {
    Ok([x.real("theta1", "s")?, x.real("theta2", "s")?])
}

/// The objective of agent i in a batch of games, `[b, t]`, as a function of both agents' logits: with q_t = lp1_t + lp2_t,
/// J_i = mean_b Σ_t γ^t r_{i,t} □(Σ_{k≤t} q_k) + mean_b Σ_t γ^t values_i\[s_{i,t}\] (1 − □(q_t)).
fn objective(x: &Recorder<'_>, i: usize, games: &str) -> Result<impl Fn([Var; 2]) -> Var> {
    let axes = format!("b_{games} t_{games}");
    let index = |name: &str, into: &str| x.index(&format!("{name}_{games}"), &axes, into);
    let (states, actions) = ([index("s1", "s")?, index("s2", "s")?], [index("a1", "2")?, index("a2", "2")?]);
    let rewards = x.real(&format!("r{i}_{games}"), &axes)?;
    // The last state is not known, and plays no part: an end counts as 0.
    let critic = x.real(&format!("values{i}"), "s")?.gather([states[i - 1]]).pad(1, 0, 1);
    Ok(move |thetas: [Var; 2]| {
        let [one, two] = [0, 1].map(|agent| {
            let logits = Var::stack(&[thetas[agent], thetas[agent].full_like(0.0)], 1);
            Categorical::of_rows(logits, states[agent]).log_prob(actions[agent])
        });
        DiceBaseline.surrogate(&Batch::new(Steps::full(rewards), one + two, GAMMA).with_critic(critic))
    })
}

/// The opponent's gradient, and its step: theta2 + 0.3 ∂J_2/∂theta2.
fn inner_step(x: &Recorder<'_>, [one, two]: [Var; 2]) -> Result<(Var, Var)> {
    let j = objective(x, 2, "inner")?;
    let adapted = adapt(&two, Rule::sgd(0.3), 1, |_, &two| j([one, two]))[1];
    Ok((j([one, two]).grad(two), adapted))
}

/// The inner step alone. Its time is the gradient's: what follows is one addition.
pub fn inner(x: &Recorder<'_>) -> Result<Vec<Task>> {
    let (gradient, adapted) = inner_step(x, agents(x)?)?;
    Ok(vec![x.task([("inner_grad", gradient.into())]), x.task([("adapted", adapted.into())]).untimed()])
}

/// J_1(theta1, adapted) on new games and its gradient by theta1, on which `adapted` depends too.
pub fn meta(x: &Recorder<'_>) -> Result<Vec<Task>> {
    let [one, two] = agents(x)?;
    let (_, adapted) = inner_step(x, [one, two])?;
    let value = objective(x, 1, "outer")?([one, adapted]);
    Ok(vec![x.value_and_grad(["value", "meta_grad"], value, one)])
}
