//! Why an environment of Gymnasium cannot be used, or used no longer.

use std::io;
use std::time::Duration;

/// The result of whatever asks something of Python.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an environment of Gymnasium cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No interpreter.
    #[error(
        "cannot start `{python}` to run Gymnasium in it: {cause}; the variable GYM_PYTHON names an interpreter of Python"
    )]
    Interpreter {
        /// What was to be started.
        python: String,
        /// Why it was not.
        cause: io::Error,
    },

    /// A module that the interpreter does not find.
    #[error(
        "`{python}` has no module `{module}`: give it one by `{python} -m pip install {package}`, or name another interpreter in \
         the variable GYM_PYTHON"
    )]
    Module {
        /// The interpreter.
        python: String,
        /// The module.
        module: String,
        /// The package that has it, with the version that was tried.
        package: String,
    },

    /// An environment that there is, with spaces that are not for policies here.
    #[error("gym:{id} cannot be used: {what}")]
    Unsupported {
        /// The environment.
        id: String,
        /// What it has, and what can be used.
        what: String,
    },

    /// An exception in Python.
    #[error("gym:{id}: {what}")]
    Raised {
        /// The environment.
        id: String,
        /// In which row, if it was in one.
        row: Option<usize>,
        /// Its type and text, and the line that it comes from.
        what: String,
    },

    /// A process that ended.
    #[error("gym:{id}: its process ended ({status}){}", said(last))]
    Ended {
        /// The environment.
        id: String,
        /// How.
        status: String,
        /// The last lines that it wrote to standard error.
        last: String,
    },

    /// A process that does not answer.
    #[error(
        "gym:{id}: no answer within {:?} to the command to {command}, so its process was ended{}",
        waited,
        said(last)
    )]
    Silent {
        /// The environment.
        id: String,
        /// What it was to do.
        command: &'static str,
        /// How long it had.
        waited: Duration,
        /// The last lines that it wrote to standard error.
        last: String,
    },

    /// An answer that none of our processes gives.
    #[error("gym:{id}: its process answered what cannot be understood: {what}")]
    Answer {
        /// The environment.
        id: String,
        /// What is wrong with it.
        what: String,
    },

    /// A process that is not like the first one.
    #[error(
        "gym:{id}: a further process has {found}, but the first one had {expected}; was something installed meanwhile?"
    )]
    Changed {
        /// The environment.
        id: String,
        /// Spaces and versions.
        found: String,
        /// Those of the first one.
        expected: String,
    },

    /// What the system has no more of.
    #[error("gym:{id}: there is no {what}: {cause}")]
    System {
        /// The environment.
        id: String,
        /// What was asked for.
        what: &'static str,
        /// Why there is none.
        cause: io::Error,
    },
}

/// What a process said in the end, if it said something.
fn said(last: &str) -> String {
    if last.is_empty() { String::new() } else { format!("; its last lines:\n{last}") }
}
