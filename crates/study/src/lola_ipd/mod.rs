//! LOLA-DiCE in the iterated prisoner's dilemma (Liu et al. 2022): example `lola_ipd`.

pub mod experiment;
