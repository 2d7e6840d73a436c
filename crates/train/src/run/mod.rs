//! Running a [`Learner`](crate::learner::Learner): its configuration, the loop, and what the loop leaves on the disk.
//!
//! A run owns a folder. `config.toml` says what runs; `metrics.csv`, `returns.csv` and the event file get a row an iteration;
//! checkpoints hold all that the next iterations depend on. Whatever ends a run, even `kill -9`, it can be resumed from its last
//! checkpoint, to the bit: what was written after it is cut off, and made again.

pub mod checkpoint;
pub mod config;
mod error;
mod events;
mod growing;
pub mod metrics;
mod runner;

pub use error::{Error, Result};
pub use runner::{
    BEST, Before, CURVE, Ended, METRICS, Message, RETURNS, Row, Run, SETTINGS, VALIDATION, evaluation_seed,
};
