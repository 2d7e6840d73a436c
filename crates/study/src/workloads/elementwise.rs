//! W6: functions without a random number in them, where the cost of each operation shows.

use ad::Var;

use super::{Recorder, Result, Task};

/// f(x) = Σ_i exp(sin x_i)·x_i.
pub fn exp_sin(x: &Recorder<'_>, n: usize) -> Result<Vec<Task>> {
    let axis = n.to_string();
    let (at, v) = (x.real(&format!("x_{n}"), &axis)?, x.real(&format!("v_{n}"), &axis)?);
    let f = (at.sin().exp() * at).sum();
    let name = |quantity: &str| format!("expsin{n}_{quantity}");
    Ok(vec![x.value_and_grad([&name("value"), &name("grad")], f, at), x.hvp(&name("hvp"), f, at, v)])
}

/// Rosenbrock's function, Σ_{i<n−1} 100(x_{i+1} − x_i²)² + (1 − x_i)².
fn rosenbrock_value(x: Var) -> Var {
    let n = x.size();
    let (this, next) = (x.slice(0, 0..n - 1), x.slice(0, 1..n));
    (100.0 * (next - this.square()).square() + (1.0 - this).square()).sum()
}

/// Its gradient and Hessian-vector product in 1000 variables.
pub fn rosenbrock(x: &Recorder<'_>) -> Result<Vec<Task>> {
    let (at, v) = (x.real("rosen_x_1000", "1000")?, x.real("rosen_v_1000", "1000")?);
    let f = rosenbrock_value(at);
    Ok(vec![x.value_and_grad(["rosen1000_value", "rosen1000_grad"], f, at), x.hvp("rosen1000_hvp", f, at, v)])
}

/// Its Hessian in 100 variables.
pub fn rosenbrock_hessian(x: &Recorder<'_>) -> Result<Vec<Task>> {
    let at = x.real("rosen_x_100", "100")?;
    Ok(vec![x.hessian("rosen100_hessian", rosenbrock_value(at), at)])
}
