//! Learning: loops over tasks and iterations that ascend by `rl`'s estimators.
//!
//! - [`MetaLearner`]: ascent on what is adapted with samples, by any estimator of [`rl::meta::sampled`].
//! - [`learner`]: what a run is made of; [`run`]: configurations, the loop, checkpoints; [`registry`]: what has a name.

pub mod bandit;
pub mod learner;
mod meta_learner;
pub mod registry;
pub mod run;

pub use meta_learner::{MetaLearner, Sampling};
