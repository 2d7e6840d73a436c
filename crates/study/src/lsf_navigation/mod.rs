//! Variances and returns of the score function and its linearisation, as what is adapted with grows: example `lsf_navigation`.

pub mod training;
pub mod variance;
