//! What examples share: options and what may be given for them, what they print and write, and (in rooms of their own) what
//! studies are made of.

#![allow(dead_code, reason = "each example uses a part")]

pub mod claims;
pub mod exact;
pub mod options;
pub mod output;
pub mod sampled;
pub mod saved;
pub mod statistics;
pub mod tables;

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
