//! The meta-gradient by an intrinsic reward (Liu et al. 2022): example `intrinsic_reward`.

pub mod objectives;
