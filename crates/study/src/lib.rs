//! Pictures, tables, claims, saved parts: what examples, benches and tests share, so that who uses `rl` does not compile it.
//!
//! - [`options`], [`output`]: what may be given to an example, and what it prints and writes.
//! - [`claims`], [`saved`]: the sentences of a paper as differences to be judged; parts of a run that may be ended.
//! - [`lines`], [`picture`]: panels with lines, and reports drawn with them.
//! - [`statistics`], [`tables`], [`exact`], [`sampled`]: what estimates are compared by, random tables, and exact biases.
//! - [`meta_gradient`]: how much meta-gradients scatter.
//! - [`workloads`]: W1 … W8, objectives and their derivatives to be compared and timed.
//! - [`gradient_variance`], [`hessian_bias`], [`identities`], [`intrinsic_reward`], [`lsf_navigation`], [`meta_gradient_bias`], [`score_function_1d`]: of the examples with
//!   these names, what tests need, too.

pub mod claims;
pub mod exact;
pub mod gradient_variance;
pub mod hessian_bias;
pub mod identities;
pub mod intrinsic_reward;
pub mod lines;
pub mod lsf_navigation;
pub mod meta_gradient;
pub mod meta_gradient_bias;
pub mod options;
pub mod output;
pub mod picture;
pub mod sampled;
pub mod saved;
pub mod score_function_1d;
pub mod statistics;
pub mod tables;
pub mod workloads;

use std::io;
use std::process::ExitCode;

/// What `main` returns: an error is printed as a sentence.
pub type Outcome = Result<(), Box<dyn std::error::Error>>;

/// What a program has in a shell if it is ended because nobody reads on.
const BROKEN_PIPE: u8 = 128 + 13;

/// Runs an example, and prints what went wrong, if anything did, as a sentence.
pub fn run(example: impl FnOnce() -> Outcome) -> ExitCode {
    ad::ready_threads();
    match example() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) if is_broken_pipe(&*problem) => ExitCode::from(BROKEN_PIPE),
        Err(problem) => {
            output::complain(&format!("error: {problem}"));
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(problem: &(dyn std::error::Error + 'static)) -> bool {
    problem.downcast_ref::<output::Unprinted>().is_some_and(|problem| problem.0.kind() == io::ErrorKind::BrokenPipe)
}
