//! W4, W5: objectives of a Gaussian policy whose mean is a network of two hidden layers, and MAML over them.

use ad::{Handle, Var, vmap_many};
use rl::batch::Batch;
use rl::meta::adapt;
use rl::objective::{Estimator, ImportanceSampling};
use rl::optim::Rule;
use rl::policy::{Activation::Tanh, Dist, Network, Params, Policy};
use rl::rollout::{Space, Steps};

use super::{Recorder, Result, Task};

const LEAVES: [(&str, &str); 7] =
    [("w1", "o h"), ("b1", "h"), ("w2", "h k"), ("b2", "k"), ("w3", "k a"), ("b3", "a"), ("log_std", "a")];

/// The policy that has these parameters: m = tanh(tanh(obs·w1 + b1)·w2 + b2)·w3 + b3, σ = e^log_std.
fn policy(p: &Params, obs: Handle) -> Dist {
    let size = |name: &str| p[name].shape()[0];
    let network = Network::new(&Space::vector(size("w1"))).dense(size("b1"), Tanh).dense(size("b2"), Tanh);
    network.normal(size("b3")).along(p, obs)
}

/// mean(A · □(lp)): DiCE of trajectories of one step, with advantages for rewards.
fn surrogate(p: &Params, [obs, actions, advantages]: [Handle; 3]) -> Var {
    let log_prob = policy(p, obs).log_prob(actions).insert_axis(1);
    ImportanceSampling.surrogate(&Batch::new(Steps::full(advantages.var().insert_axis(1)), log_prob, 1.0))
}

/// W4, the policy gradient of one batch: L = −mean(A · □(lp)).
pub fn policy_gradient(x: &Recorder<'_>) -> Result<Vec<Task>> {
    let (p, v) = (x.tree("", &LEAVES)?, x.tree("v_", &LEAVES)?);
    let batch = [x.real("obs", "b o")?, x.real("actions", "b a")?, x.real("advantages", "b")?];
    let j = -surrogate(&p, batch.map(Handle::from));
    Ok(vec![x.value_and_grad(["value", "grad"], j, &p), x.hvp("hvp", j, &p, &v)])
}

/// W4, the Fisher-vector product as a derivative of the divergence: the mean over rows of KL(stop π ‖ π).
pub fn kl_divergence(x: &Recorder<'_>) -> Result<Vec<Task>> {
    let (p, v) = (x.tree("", &LEAVES)?, x.tree("v_", &LEAVES)?);
    let policy = policy(&p, x.real("obs", "b o")?.into());
    Ok(vec![x.hvp("kl_hvp", policy.stop_gradient().kl(&policy).mean(), &p, &v)])
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
    let loss = |data: &[Handle]| {
        let (batches, _) = data.as_chunks::<3>();
        let points = adapt(&p, Rule::sgd(0.1), steps, |k, p| surrogate(p, batches[k]));
        -surrogate(&points[steps], batches[steps])
    };
    let j = vmap_many(loss, &data).mean();

    let name = |quantity: &str| format!("k{steps}_{quantity}");
    let mut tasks = vec![x.value_and_grad([&name("value"), &name("grad")], j, &p)];
    if steps == 1 {
        tasks.push(x.hvp(&name("hvp"), j, &p, &v));
    }
    Ok(tasks)
}
