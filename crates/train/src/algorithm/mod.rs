//! The algorithms, a page each, under the names of their papers: what an inner step ascends, and what the outer ones do.
//!
//! To add one: a file here with its [`Algorithm`], its formula in its doc, and a line of the registry (`registry.rs`).
//! `tests/algorithms.rs` enumerates what each is biased for, and prints it as a table.

use ad::Var;
use rl::meta::{Inner, adapt};
use rl::policy::Params;

use crate::trajectories::Sampled;

mod emaml;
mod inner;
mod maml;
mod policy_gradient;
mod promp;
mod sgmrl;

pub use emaml::{Emaml, Factor};
pub use inner::InnerObjective;
pub use maml::Maml;
pub use policy_gradient::{PolicyGradient, Ppo};
pub use promp::Promp;
pub use sgmrl::Sgmrl;

/// An algorithm: objectives of one task, as functions of parameters that are differentiated by. Both are ascended.
///
/// ```
/// use ad::Var;
/// use rl::objective::TayPo;
/// use train::{Sampled, algorithm::{Adapted, Algorithm}};
///
/// /// LVC inside, the likelihood-ratio surrogate outside.
/// struct LvcVpg;
///
/// impl Algorithm for LvcVpg {
///     fn inner(&self, data: &Sampled) -> Var {
///         data.surrogate(&TayPo { order: 1 }, &data.off_policy)
///     }
///     fn outer(&self, adapted: &Adapted<'_>) -> Var {
///         let last = adapted.last;
///         last.surrogate(&TayPo { order: 1 }, &last.off_policy)
///     }
/// }
/// ```
pub trait Algorithm: Send + Sync {
    /// What an inner step ascends, a scalar, of the trajectories that were sampled for it.
    #[track_caller]
    fn inner(&self, data: &Sampled) -> Var;

    /// Whether the outer steps take the inner ones' gradients for constants.
    fn first_order(&self) -> bool {
        false
    }

    /// What the outer steps ascend, a scalar.
    #[track_caller]
    fn outer(&self, adapted: &Adapted<'_>) -> Var;

    /// What the outer objective of each task is told of the others ([`Adapted::shift`] and [`Adapted::scale`]), from what came of
    /// all of them.
    fn across(&self, outcomes: &[Outcome]) -> Vec<[f64; 2]> {
        vec![[0.0, 1.0]; outcomes.len()]
    }
}

/// A task's trajectories at every step, as functions of the parameters that all tasks began with.
#[derive(Clone, Copy, Debug)]
pub struct Adapted<'a> {
    /// Of each inner step, under the parameters that it began with.
    pub steps: &'a [Sampled],
    /// Those of what was adapted.
    pub last: &'a Sampled,
    /// What a unit of divergence costs at each inner step, `[K]`; nothing, without inner steps.
    pub kl_price: Option<Var>,
    /// A number of [`Algorithm::across`].
    pub shift: Var,
    /// A number of [`Algorithm::across`].
    pub scale: Var,
}

/// What came of a task's adaptation, in numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// How many steps were made by what was adapted.
    pub steps: f64,
    /// The sum of their rewards.
    pub rewards: f64,
    /// The sum of their squares.
    pub squares: f64,
    /// The mean of Σ_t γ^t r_t over trajectories.
    pub value: f64,
}

/// θ_0 … θ_K, and the trajectories under each, where `inner(k)` is how step k follows from its gradient, and `data(k, θ_k)` are the
/// trajectories that were sampled for it.
#[track_caller]
pub fn through(
    algorithm: &dyn Algorithm,
    theta: &Params,
    inner: impl Fn(usize) -> Inner<Params>,
    steps: usize,
    data: impl Fn(usize, &Params) -> Sampled,
) -> (Vec<Params>, Vec<Sampled>) {
    let mut points = vec![theta.clone()];
    let mut sampled = Vec::with_capacity(steps + 1);
    for step in 0..steps {
        let inner = if algorithm.first_order() { inner(step).first_order() } else { inner(step) };
        sampled.push(data(step, &points[step]));
        points.extend(adapt(&points[step], inner, 1, |_, _| algorithm.inner(&sampled[step])).pop());
    }
    sampled.push(data(steps, &points[steps]));
    (points, sampled)
}
