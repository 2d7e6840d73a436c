//! V-trace (Espeholt et al. 2018) of an older policy's trajectories; its Hessian-vector product, and a natural gradient.
use rl::{policy::Activation::*, prelude::*};

#[test]
fn v_trace() -> Result<()> {
    let policy = Network::new(&Space::vector(2)).dense(8, Tanh).normal(2);
    let critic = Network::new(&Space::vector(2)).named("critic_").dense(8, Tanh).dense(1, Identity);
    let (old, new) = (policy.init(&mut stream(0, 0)), policy.init(&mut stream(1, 0)));
    let rollout = sample(&rl::env::Navigation::to([0.3, -0.2]), &policy, &old, 20, 50, 0)?;

    let tape = Tape::new();
    let (mu, theta) = (policy::record(&old, &tape), policy::record(&new, &tape));
    let phi = policy::record(&critic.draw(&mut stream(2, 0)), &tape);
    let episodes = rollout.record(&tape);
    let log_prob = policy.log_prob(&theta, &episodes);
    let batch = Batch::new(episodes, log_prob, 0.99).off_policy(policy.log_prob(&mu, &episodes));
    let values = critic.along(&phi, episodes.observations).reshape(&[50, 21]);
    let batch = batch.with_critic(values);

    // v_t − V(s_t) = Σ_k γ^k (c_t … c_{t+k−1}) ρ_{t+k} δ_{t+k}: a recurrence from the end.
    let clipped = batch.ratio().min(1.0).stop_gradient();
    let above = (clipped * batch.temporal_differences()).scan_reverse(clipped * 0.99, 1);
    let targets = (values.slice(1, 0..20) + above).stop_gradient();
    let next = Var::concat(&[targets.slice(1, 1..20), values.slice(1, 20..21)], 1);
    let advantages = clipped * (batch.rewards() + next * 0.99 - values.slice(1, 0..20)).stop_gradient();
    let loss = -batch.steps.on_steps(log_prob * advantages).sum_axes(&[1]).mean();
    let fit = (values.slice(1, 0..20) - targets).square().mean();

    let (gradient, product) = (loss.grad(&theta), loss.hvp(&theta, loss.grad(&theta)));
    let dist = policy.along(&theta, episodes.acted_on());
    let divergence = dist.stop_gradient().kl(&dist).mean();
    let natural = tree::conjugate_gradient(|v| divergence.hvp(&theta, v), gradient.clone(), 10, 1e-10);
    let step = tape
        .compile(policy::handles(&theta), [loss, fit, tree::dot(&gradient, &natural), tree::dot(&gradient, &product)]);
    let numbers = step.run(&policy::values(&new))?;
    assert!(numbers[2].sum() > 0.0 && numbers.iter().all(|x| x.sum().is_finite()) && fit.grad(&phi).len() == 4);
    Ok(())
}
