//! W7, LOLA-DiCE in the iterated prisoner's dilemma: an agent differentiates through its opponent's next step.

use ad::{Index, Var};
use rl::batch::Batch;
use rl::meta::adapt;
use rl::objective::{DiceBaseline, Estimator};
use rl::optim::Rule;
use rl::policy::Categorical;
use rl::rollout::Steps;

use super::{Recorder, Result, Task};

const GAMMA: f64 = 0.96;

/// What both agents saw, did and got in a batch of games, `[b, t]`.
struct Games {
    states: [Index; 2],
    actions: [Index; 2],
    rewards: [Var; 2],
}

/// An agent: its logits of action 0 in each state (action 1 has 0), and its critic's values.
#[derive(Clone, Copy)]
struct Agent {
    theta: Var,
    values: Var,
}

fn agents(x: &Recorder<'_>) -> Result<[Agent; 2]> {
    let agent = |i: usize| -> Result<Agent> {
        Ok(Agent { theta: x.real(&format!("theta{i}"), "s")?, values: x.real(&format!("values{i}"), "s")? })
    };
    Ok([agent(1)?, agent(2)?])
}

fn games(x: &Recorder<'_>, which: &str) -> Result<Games> {
    let axes = format!("b_{which} t_{which}");
    let index = |name: &str, into: &str| x.index(&format!("{name}_{which}"), &axes, into);
    let real = |name: &str| x.real(&format!("{name}_{which}"), &axes);
    Ok(Games {
        states: [index("s1", "s")?, index("s2", "s")?],
        actions: [index("a1", "2")?, index("a2", "2")?],
        rewards: [real("r1")?, real("r2")?],
    })
}

/// With q_t = lp1_t + lp2_t,
/// J_i = mean_b Σ_t γ^t r_{i,t} □(Σ_{k≤t} q_k) + mean_b Σ_t γ^t values_i\[s_{i,t}\] (1 − □(q_t)).
fn objective(i: usize, thetas: [Var; 2], values: Var, games: &Games) -> Var {
    let [one, two] = [0, 1].map(|k| {
        let logits = Var::stack(&[thetas[k], thetas[k].full_like(0.0)], 1);
        Categorical::of_rows(logits, games.states[k]).log_prob(games.actions[k])
    });
    // The last state is not known, and plays no part: an end counts as 0.
    let critic = values.gather(&[games.states[i]]).pad(1, 0, 1);
    DiceBaseline.surrogate(&Batch::new(Steps::full(games.rewards[i]), one + two, GAMMA).with_critic(critic))
}

/// The opponent's gradient, and its step: theta2 + 0.3 ∂J_2/∂theta2.
fn inner_step(one: Agent, two: Agent, games: &Games) -> (Var, Var) {
    let j = |theta: Var| objective(1, [one.theta, theta], two.values, games);
    (j(two.theta).grad(two.theta), adapt(&two.theta, Rule::sgd(0.3), 1, |_, &theta| j(theta))[1])
}

/// The inner step alone. Its time is the gradient's: what follows is one addition.
pub fn inner(x: &Recorder<'_>) -> Result<Vec<Task>> {
    let [one, two] = agents(x)?;
    let (gradient, adapted) = inner_step(one, two, &games(x, "inner")?);
    Ok(vec![x.task([("inner_grad", gradient.into())]), x.task([("adapted", adapted.into())]).untimed()])
}

/// J_1(theta1, adapted) on new games and its gradient by theta1, on which `adapted` depends too.
pub fn meta(x: &Recorder<'_>) -> Result<Vec<Task>> {
    let [one, two] = agents(x)?;
    let (_, adapted) = inner_step(one, two, &games(x, "inner")?);
    let value = objective(0, [one.theta, adapted], one.values, &games(x, "outer")?);
    Ok(vec![x.value_and_grad(["value", "meta_grad"], value, one.theta)])
}
