//! Objectives of what is adapted first and judged afterwards, and estimates of their gradients.

pub mod sampled;
pub mod tasks;
