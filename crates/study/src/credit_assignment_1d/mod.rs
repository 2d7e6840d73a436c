//! Two formulations of a meta-gradient on a line (the ProMP repository): example `credit_assignment_1d`.

pub mod experiment;
pub mod meta_gradient;
