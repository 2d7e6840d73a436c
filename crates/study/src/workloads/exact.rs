//! W8: the exact value of a policy in a known decision process, and a meta-gradient through three steps of its ascent.

use ad::Var;
use ndarray::Array2;

use super::{Recorder, Result, Task};

const GAMMA: f64 = 0.8;
const INNER_RATE: f64 = 10.0;

/// V = solve(I − γ P_π, r_π)\[0\] for π = softmax(logits), where
/// P_π\[s,s'\] = Σ_a π(a|s) P\[s,a,s'\] and r_π\[s\] = Σ_a π(a|s) R\[s,a\].
fn exact_value(logits: Var, p: Var, r: Var) -> Var {
    let pi = logits.softmax();
    let p_pi = (pi.insert_axis(2) * p).sum_axes(&[1]);
    let r_pi = (pi * r).sum_axes(&[1]);
    let identity = r_pi.constant(Array2::<f64>::eye(r_pi.size()));
    (identity - GAMMA * p_pi).solve(r_pi).at(0, 0)
}

/// V, its gradient and its Hessian.
pub fn value(x: &Recorder<'_>) -> Result<Vec<Task>> {
    let (logits, p, r) = (x.real("logits", "s a")?, x.real("P", "s a s")?, x.real("R", "s a")?);
    let v = exact_value(logits, p, r);
    Ok(vec![x.value_and_grad(["value", "grad"], v, logits), x.hessian("hessian", v, logits)])
}

/// V(θ_3) and its gradient by θ_0, where θ_{k+1} = θ_k + 10 ∇V(θ_k).
pub fn meta(x: &Recorder<'_>) -> Result<Vec<Task>> {
    let (logits, p, r) = (x.real("logits", "s a")?, x.real("P", "s a s")?, x.real("R", "s a")?);
    let step = |theta: Var, _| theta + INNER_RATE * exact_value(theta, p, r).grad(theta);
    let v = exact_value((0..3).fold(logits, step), p, r);
    Ok(vec![x.value_and_grad(["meta_value", "meta_grad"], v, logits)])
}
