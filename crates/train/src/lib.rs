//! Learning: loops over tasks and iterations that ascend by `rl`'s estimators.
//!
//! - [`Learner`]: what makes one iteration after another, from a state that can be saved.
//! - [`lola`]: two players of an iterated game, each of whom sees the other's next steps coming.
//! - [`MetaLearner`]: ascent on what is adapted with samples, by any estimator of [`rl::meta::sampled`].

mod learner;
pub mod lola;
mod meta_learner;

pub use learner::{Iteration, Learner, State};
pub use meta_learner::{MetaLearner, Sampling};
