//! Score functions by steps and by trajectories, and of how many samples (Tang 2022): example `step_or_trajectory`.

pub mod experiment;
pub mod tables;
pub mod toys;
