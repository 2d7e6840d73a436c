//! Meta-gradients: the derivative of an outer objective through K steps of gradient ascent on an inner one,
//!
//! ```text
//! J^K(φ) = J^Out(φ, θ_K),   θ_{i+1} = θ_i + α ∇_θ J^In(φ, θ_i)          (Liu et al. 2022, Eq. 2)
//! ```
//!
//! Meta-parameters φ may be the start θ_0 itself (MAML), an intrinsic reward (LIRPG), or anything else the objectives
//! depend on.
//!
//! - On the tape, where all data are known beforehand ([`adapt()`], [`evaluates_to`]): θ_K is a `Var`, and its derivatives
//!   are asked for like any others.
//! - By roles ([`Roles`]), where trajectories are sampled between the steps, by the policy reached so far: the chain rule
//!   of Prop. 3.1 over compiled programs, with three derivatives that may each be exact or estimated, by any estimator,
//!   from trajectories of its own.
//!
//! - Of the expectation over the inner data ([`sampled`]), which θ samples: then the score of those data counts, too, and
//!   there are several estimators that keep it, linearise it or leave it out.
//!
//! [`exact_value`] and [`surrogate`] are the objectives of tabular processes.

mod adapt;
mod roles;
pub mod sampled;

pub use adapt::{Inner, adapt, evaluates_to};
pub use roles::{Data, MetaGradient, Objective, Permutation, Recorded, Role, Roles, exact_value, surrogate};
