//! Which estimators give a right Hessian (Tang et al. 2021): example `hessian_bias`.

pub mod accuracy;
pub mod figure;
