//! Monte-Carlo objectives of reinforcement learning whose derivatives are right to the order they claim, and the exact
//! truth to prove it.
//!
//! The idea: an objective is an off-policy estimate of a value. Every estimator here is a function of the likelihood
//! ratios ρ_t = π_θ(a_t|s_t) / μ(a_t|s_t), the rewards, and perhaps a critic; its derivatives estimate the value's
//! derivatives. On policy the ratio is `magic_box(log π_θ)`: 1, with the derivatives of the ratio.
//!
//! ```
//! use rand::SeedableRng;
//! use rl::{batch::Batch, env::TabularMdp, objective::{Estimator, ImportanceSampling}, policy::{self, Table}};
//!
//! let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
//! let mdp = TabularMdp::random(5, 3, 1.0, &mut rng)?;
//! let logits = ndarray::Array2::zeros((5, 3));
//! let rollout = mdp.sample(&policy::softmax(&logits), 20, 100, 0)?;
//!
//! let tape = ad::Tape::new();
//! let theta = tape.input("theta", &logits);
//! let episodes = rollout.record(&tape);
//! let batch = Batch::new(episodes, Table::log_prob_of(theta, &episodes), 0.9);
//! let surrogate = ImportanceSampling.surrogate(&batch);           // DiCE
//! let (gradient, hessian) = (surrogate.grad(theta), surrogate.hessian(theta));
//! assert_eq!(hessian.value().shape(), [5, 3, 5, 3]);
//! # let _ = gradient;
//! # Ok::<(), rl::error::Error>(())
//! ```
//!
//! - [`rollout`]: trajectories of any kind, as data and on a tape, and the files they come from; [`stream`]: random numbers.
//! - [`policy`]: policies over trees of parameters, and the distributions they give.
//! - [`mod@env`]: environments, sampling there, and tabular processes, which can be enumerated.
//! - [`batch`]: what estimators are functions of, and the quantities that each is made of.
//! - [`objective`]: the estimators, one file a family, each with the orders it claims.
//! - [`optim`]: SGD and Adam, on the tape and off it; natural gradients.
//! - [`meta`]: derivatives through inner steps of ascent, exact and estimated.
//! - [`additive`]: objectives of N-sample means.
//! - [`truth`]: exact values and their derivatives, and [`truth::check_unbiased`], a proof by enumeration.
//! - [`report`]: what an estimator is worth at a number of trajectories, measured beside the truth.
//! - [`files`]: results written to disk, whole or not at all.

pub mod additive;
pub mod batch;
mod decay;
pub mod env;
pub mod error;
pub mod files;
pub mod meta;
pub mod objective;
pub mod optim;
pub mod policy;
pub mod report;
pub mod rollout;
pub mod stream;
pub mod truth;

// Of the versions that this crate's functions take.
pub use {ad, indexmap, ndarray, rand, rand_chacha};

/// What an objective is written with, and what it is proved by: `use rl::prelude::*;`. [`ad::prelude`] is in it.
pub mod prelude {
    pub use ad::prelude::*;

    pub use crate::batch::Batch;
    pub use crate::env::{Environment, TabularMdp, sample};
    pub use crate::error::{Error, Result};
    pub use crate::meta::{Inner, adapt};
    pub use crate::objective::{Estimator, ImportanceSampling, ScoreFunction};
    pub use crate::optim::{Optimiser, Rule, TapeOptimiser};
    pub use crate::policy::{self, Activation, Network, Numbers, Params, Policy, Table};
    pub use crate::rollout::{Episodes, Rollout, Space};
    pub use crate::stream::stream;
    pub use crate::truth::{Setting, check_unbiased};
}

/// The README's examples, as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
