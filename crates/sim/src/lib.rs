//! Simulators that others wrote, as environments of [`rl`].
//!
//! - [`gym`]: any environment of Gymnasium with vectors, bytes or numbers, in a process of Python.
//! - `mujoco`, behind the feature of this name: the locomotion benchmarks of the papers, in this process.
//! - [`benchmarks`]: what these are called.

pub mod benchmarks;
#[cfg(unix)]
pub mod gym;
#[cfg(feature = "mujoco")]
pub mod mujoco;
