//! Where the error of an estimated meta-gradient comes from (Liu et al. 2022): example `meta_gradient_bias`.

pub mod experiment;
