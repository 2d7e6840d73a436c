//! The one-dimensional problem of Tang 2022: example `score_function_1d`.

pub mod experiment;
pub mod problem;
