//! W4, W5: objectives of a Gaussian policy whose mean is a network of two hidden layers, and MAML over them.

use std::f64::consts::PI;

use ad::{Handle, Var, vmap_many};
use indexmap::IndexMap;

use super::{Recorder, Result, Task};

/// Named parameters, or a direction in them.
type Parameters = IndexMap<String, Var>;

const LEAVES: [(&str, &str); 7] =
    [("w1", "o h"), ("b1", "h"), ("w2", "h k"), ("b2", "k"), ("w3", "k a"), ("b3", "a"), ("log_std", "a")];

/// m = tanh(tanh(obs·w1 + b1)·w2 + b2)·w3 + b3.
fn policy_mean(p: &Parameters, obs: Var) -> Var {
    let hidden = (obs.matmul(p["w1"]) + p["b1"]).tanh();
    let hidden = (hidden.matmul(p["w2"]) + p["b2"]).tanh();
    hidden.matmul(p["w3"]) + p["b3"]
}

/// lp = Σ_j [ −½((a_j − m_j) e^{−log_std_j})² − log_std_j − ½ log 2π ], for each row.
fn log_probability(p: &Parameters, obs: Var, actions: Var) -> Var {
    let z = (actions - policy_mean(p, obs)) * (-p["log_std"]).exp();
    (-0.5 * z.square() - p["log_std"] - 0.5 * (2.0 * PI).ln()).sum_axes(&[1])
}

/// L = −mean(A · □(lp)).
fn loss(p: &Parameters, [obs, actions, advantages]: [Var; 3]) -> Var {
    -(advantages * log_probability(p, obs, actions).magic_box()).mean()
}

/// The mean over rows of KL(stop π ‖ π).
fn kl_from_self(p: &Parameters, obs: Var) -> Var {
    let (mean, log_std) = (policy_mean(p, obs), p["log_std"]);
    let (old_mean, old_log_std) = (mean.stop_gradient(), log_std.stop_gradient());
    let squares = (2.0 * old_log_std).exp() + (old_mean - mean).square();
    let kl = log_std - old_log_std + squares / (2.0 * (2.0 * log_std).exp()) - 0.5;
    kl.sum_axes(&[1]).mean()
}

/// W4, the policy gradient of one batch.
pub fn policy_gradient(x: &Recorder<'_>) -> Result<Vec<Task>> {
    let (p, v) = (x.tree("", &LEAVES)?, x.tree("v_", &LEAVES)?);
    let batch = [x.real("obs", "b o")?, x.real("actions", "b a")?, x.real("advantages", "b")?];
    let j = loss(&p, batch);
    Ok(vec![x.value_and_grad(["value", "grad"], j, &p), x.hvp("hvp", j, &p, &v)])
}

/// W4, the Fisher-vector product as a derivative of the divergence.
pub fn kl_divergence(x: &Recorder<'_>) -> Result<Vec<Task>> {
    let (p, v) = (x.tree("", &LEAVES)?, x.tree("v_", &LEAVES)?);
    let kl = kl_from_self(&p, x.real("obs", "b o")?);
    Ok(vec![x.hvp("kl_hvp", kl, &p, &v)])
}

/// W5, MAML: J = mean over tasks of L(θ_K; D_outer), where θ_{k+1} = θ_k − 0.1 ∇L(θ_k; D_k).
pub fn maml(x: &Recorder<'_>, steps: usize) -> Result<Vec<Task>> {
    let (p, v) = (x.tree("", &LEAVES)?, x.tree("v_", &LEAVES)?);
    let mut data: Vec<Handle> = Vec::new();
    for k in (0..steps).map(|k| k.to_string()).chain(["outer".to_owned()]) {
        data.push(x.real(&format!("obs_{k}"), "i b o")?.into());
        data.push(x.real(&format!("actions_{k}"), "i b a")?.into());
        data.push(x.real(&format!("advantages_{k}"), "i b")?.into());
    }
    let j = maml_objective(&p, &data).mean();

    let name = |quantity: &str| format!("k{steps}_{quantity}");
    let mut tasks = vec![x.value_and_grad([&name("value"), &name("grad")], j, &p)];
    if steps == 1 {
        tasks.push(x.hvp(&name("hvp"), j, &p, &v));
    }
    Ok(tasks)
}

/// L(θ_K; D_outer) of each task: `data` is D_0 … D_{K−1} and D_outer, each as observations, actions and advantages.
fn maml_objective(p: &Parameters, data: &[Handle]) -> Var {
    let task = |data: &[Handle]| {
        let (batches, _) = data.as_chunks::<3>();
        let mut batches = batches.iter().map(|batch| batch.map(Handle::var));
        let outer = batches.next_back().expect("an outer batch");
        let adapted = batches.fold(p.clone(), |p, batch| {
            let gradient = loss(&p, batch).grad(&p);
            p.iter().map(|(name, &w)| (name.clone(), w - 0.1 * gradient[name])).collect()
        });
        loss(&adapted, outer)
    };
    vmap_many(task, data)
}
