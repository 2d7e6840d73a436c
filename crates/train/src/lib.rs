//! Learning: loops over tasks and iterations that ascend by `rl`'s estimators.
//!
//! - [`MetaLearner`]: ascent on what is adapted with samples, by any estimator of [`rl::meta::sampled`].

mod meta_learner;

pub use meta_learner::{MetaLearner, Sampling};
