//! What examples share: their common options, where their files go, and (in rooms of their own) what studies are made of.

#![allow(dead_code, reason = "each example uses a part")]

pub mod claims;
pub mod exact;
pub mod sampled;
pub mod saved;
pub mod statistics;
pub mod tables;

use std::path::{Path, PathBuf};

/// The options that every example has.
#[derive(clap::Args, Debug)]
pub struct Common {
    /// Everything random is a function of this number.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The folder that files are written to [default: results/<example>].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// A small version that takes seconds.
    #[arg(long)]
    pub quick: bool,
}

/// What `main` returns: an error is printed as a sentence.
pub type Outcome = Result<(), Box<dyn std::error::Error>>;

impl Common {
    /// The folder for this example's files, made if it is not there.
    pub fn folder(&self, example: &str) -> Result<PathBuf, Box<dyn std::error::Error>> {
        let folder = self.out.clone().unwrap_or_else(|| Path::new("results").join(example));
        std::fs::create_dir_all(&folder)
            .map_err(|cause| format!("cannot make the folder {}: {cause}", folder.display()))?;
        Ok(folder)
    }
}

/// Runs an example, and prints what went wrong, if anything did, as a sentence.
pub fn run(example: impl FnOnce() -> Outcome) -> std::process::ExitCode {
    match example() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            std::process::ExitCode::FAILURE
        }
    }
}
