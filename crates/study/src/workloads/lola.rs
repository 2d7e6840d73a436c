//! W7, LOLA-DiCE in the iterated prisoner's dilemma: an agent differentiates through its opponent's next step.

use ad::{Index, Var};
use ndarray::Array1;

use super::{Recorder, Result, Task};

const GAMMA: f64 = 0.96;
const INNER_RATE: f64 = 0.3;

/// What both agents saw, did and got in a batch of games, `[b, t]`.
struct Games {
    states: [Index; 2],
    actions: [Index; 2],
    rewards: [Var; 2],
}

/// An agent: its logits of cooperating in each state, and its critic's values.
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

/// The logarithms of P(a = 0 | s) = sigmoid(theta\[s\]) and of P(a = 1 | s), at what was done.
fn log_probability(theta: Var, states: Index, actions: Index) -> Var {
    let log_sigmoid = |x: Var| -(-x).softplus();
    Var::stack(&[log_sigmoid(theta), log_sigmoid(-theta)], 1).gather(&[states, actions])
}

/// With q_t = lp1_t + lp2_t,
/// J_i = mean_b Σ_t γ^t r_{i,t} □(Σ_{k≤t} q_k) + mean_b Σ_t γ^t values_i\[s_{i,t}\] (1 − □(q_t)).
fn objective(i: usize, thetas: [Var; 2], values: Var, games: &Games) -> Var {
    let Games { states, actions, rewards } = games;
    let q = log_probability(thetas[0], states[0], actions[0]) + log_probability(thetas[1], states[1], actions[1]);
    let discounts = Array1::from_shape_fn(q.shape()[1], |t| GAMMA.powi(t as i32));
    let mean_return = |x: Var| (x * x.constant(&discounts)).sum_axes(&[1]).mean();
    let baseline = values.gather(&[states[i]]);
    mean_return(rewards[i] * q.cumsum(1).magic_box()) + mean_return(baseline * (1.0 - q.magic_box()))
}

/// The opponent's gradient, and its step: theta2 + 0.3 ∂J_2/∂theta2.
fn inner_step(one: Agent, two: Agent, games: &Games) -> (Var, Var) {
    let gradient = objective(1, [one.theta, two.theta], two.values, games).grad(two.theta);
    (gradient, two.theta + INNER_RATE * gradient)
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
