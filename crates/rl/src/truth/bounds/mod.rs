//! The papers' theorems as functions: what bounds a bias, a variance, a residual, and the exact number beside it.
//!
//! Each doc has the statement as it is true, its place in the paper, what it bounds, and where the paper prints something else.
//! Those that the papers print and that are false are functions, too (`…_as_printed`), so that a counterexample is a number.
//! Bounds are of numbers where they can be; what they bound is by enumeration of small tabular problems. The example `bounds`
//! evaluates both sides over random problems.
//!
//! | file | statements |
//! |---|---|
//! | [`taypo`] | increments of a value's Taylor expansion in the policy, their remainder and its bounds (Tang et al. 2021) |
//! | [`softmax`] | G, L, ρ of softmax policies, η_G, η_H, η_ρ (Fallah et al. 2021, Assumptions 1 to 3, Lemma 1) |
//! | [`sgmrl`] | bound and smoothness of the gradient, the variance's exact parts (Fallah et al. 2021, Prop. 1, Lemma 7, Theorem 3) |
//! | [`lsf`] | bias and variance of the linearised score function, the two formulations, the plug-in bias, the toy (Tang 2022) |
//! | [`composition`] | where sampled steps lead, and the chain rule through them (Liu et al. 2022, Lemma 4.4, Theorem 4.5) |
//! | [`hessian`], [`control`] | what LVC leaves out, in tables and in control (Rothfuss et al. 2019) |
//!
//! To add a statement: its function in its paper's file, and in `study::bounds` a line with what it bounds.

pub mod composition;
pub mod control;
pub mod hessian;
mod linear;
pub mod lsf;
mod outcomes;
pub mod sgmrl;
pub mod softmax;
pub mod taypo;

pub use linear::{length, operator_norm};
pub use outcomes::{Adapted, Exact, Outcome, Outcomes, mean_and_variance};
