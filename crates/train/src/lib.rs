//! Learning: algorithms that ascend by `rl`'s estimators, over tasks and iterations.
//!
//! - [`algorithm`]: a page each: what is ascended inside, and what outside.
//! - [`MetaLearner`]: the meta-iteration of any of them. [`Learner`] is what a run asks of it.
//! - [`baseline`]: what a trajectory is expected to bring.
//! - [`lola`]: two players of an iterated game, each of whom sees the other's next steps coming.
//! - [`outer`]: regions of trust.
//! - [`run`]: configurations, the loop, checkpoints; [`registry`]: what has a name.
//! - [`workers`]: who computes.

pub mod algorithm;
pub mod baseline;

mod learner;
pub mod lola;
mod meta_learner;
pub mod outer;
pub mod registry;
pub mod run;
mod trajectories;
pub mod workers;

pub use learner::{Iteration, Learner, State, Taking};
pub use meta_learner::{MetaLearner, Outer, Price, Settings};
pub use trajectories::{Recorded, Sampled, Shape, Trajectories};
