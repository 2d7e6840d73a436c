//! Pictures, tables, claims, saved parts: what examples, benches and tests share, so that who uses `rl` does not compile it.
//!
//! - [`options`], [`output`]: what may be given to an example, and what it prints and writes.
//! - [`claims`], [`saved`], [`under_way`]: the sentences of a paper as differences to be judged; parts of a run that may be ended, and
//!   what a part that takes long goes on from.
//! - [`learning`]: learners side by side, from the same seeds.
//! - [`lines`], [`picture`]: panels with lines, and reports drawn with them.
//! - [`statistics`], [`tables`], [`exact`], [`sampled`], [`linear_quadratic`]: what estimates are compared by, random tables, and exact biases.
//! - [`meta_gradient`]: how much meta-gradients scatter.
//! - [`workloads`]: W1 … W8, objectives and their derivatives to be compared and timed.
//! - and of each example that has a folder of its name here, what tests need, too.

pub mod bounds;
pub mod claims;
pub mod credit_assignment_1d;
pub mod exact;
pub mod gradient_variance;
pub mod hessian_bias;
pub mod identities;
pub mod intrinsic_reward;
pub mod learning;
pub mod linear_quadratic;
pub mod lines;
pub mod lola_ipd;
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
pub mod step_or_trajectory;
pub mod tables;
pub mod tmaml;
pub mod under_way;
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
