//! What can be wrong with a run that somebody asks for, or with the files of one.

use std::path::PathBuf;

/// The result of everything that reads a configuration, or runs one.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a run is refused, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that nothing has.
    #[error("{place}: there is no {what} `{name}`{}", suggestion(nearest))]
    Unknown {
        /// Where it stands.
        place: String,
        /// `key`, `algorithm`, `environment` or `preset`.
        what: &'static str,
        /// The name.
        name: String,
        /// The nearest name that there is, if one is near.
        nearest: Option<String>,
    },

    /// An algorithm and an environment that do not go together.
    #[error("{algorithm}, but {environment}; --list has them all")]
    Misfit {
        /// The algorithm, and what it is for.
        algorithm: String,
        /// The environment, and what it is.
        environment: String,
    },

    /// A value that its key does not take.
    #[error("{place}: `{key}` is {value}, but must be {range}")]
    Value {
        /// Where it stands.
        place: String,
        /// The key.
        key: String,
        /// Its value, as written.
        value: String,
        /// What it must be, in words.
        range: String,
    },

    /// A text that is no TOML.
    #[error("{place}: {cause}")]
    Toml {
        /// Where it stands.
        place: String,
        /// What is wrong, and in which line.
        cause: Box<toml::de::Error>,
    },

    /// Results in the folder, and nothing said about them.
    #[error(
        "there are results of a run in {}: --resume goes on with it, --fresh deletes it and begins anew, and --out \
         names another folder",
        folder.display()
    )]
    Results {
        /// The folder.
        folder: PathBuf,
    },

    /// A configuration other than that of the run to be resumed.
    #[error(
        "{}: it is of another run, which cannot be resumed by this one: {}; leave them as they were, or give --fresh, \
         which deletes that run",
        path.display(), differences.join(", ")
    )]
    Differs {
        /// The checkpoint.
        path: PathBuf,
        /// Each key whose value is another, with both values.
        differences: Vec<String>,
    },

    /// Versions other than those of the run to be resumed.
    #[error(
        "{}: it is of a run with other versions, which may give other numbers: {}; install those that it was made with, or give \
         --fresh, which deletes that run",
        path.display(), differences.join(", ")
    )]
    Versions {
        /// The checkpoint.
        path: PathBuf,
        /// Whatever has another version here, with both.
        differences: Vec<String>,
    },

    /// An environment for which this program was built without what simulates it.
    #[error(
        "the environment {environment} needs the feature `{feature}`, without which this program was built: cargo run --release \
         --features {feature} … (the README says how to set it up)"
    )]
    Feature {
        /// Its name.
        environment: String,
        /// What is missing.
        feature: &'static str,
    },

    /// An environment of Gymnasium that cannot be started, or used.
    #[cfg(unix)]
    #[error(transparent)]
    Gym(#[from] sim::gym::Error),

    /// A file that is not what was written.
    #[error("{}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        what: String,
    },

    /// A checkpoint of a program that is newer than this one.
    #[error("{}: it is a checkpoint of version {found}, but this program reads up to {known}; use a newer one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The newest that is known.
        known: u64,
    },

    /// An iteration that failed, or gave a number that is none.
    #[error(
        "iteration {iteration}: {cause}; the run is stopped, and --resume goes on with iteration {kept} from {}",
        path.display()
    )]
    Iteration {
        /// Which iteration.
        iteration: u64,
        /// Why, with the quantity.
        cause: Box<Self>,
        /// The iteration that the last good checkpoint would go on with.
        kept: u64,
        /// Where that is.
        path: PathBuf,
    },

    /// What is wrong with other data from outside.
    #[error(transparent)]
    Data(#[from] rl::error::Error),
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or(String::new(), |nearest| format!("; did you mean `{nearest}`?"))
}

impl Error {
    /// An error unless one of the names is this one.
    pub(crate) fn unless_known<'a>(
        place: &str,
        what: &'static str,
        name: &str,
        names: impl Iterator<Item = String> + 'a,
    ) -> Result<()> {
        let distance = |known: &String| strsim::damerau_levenshtein(name, known);
        let nearest = names.min_by_key(distance);
        match nearest {
            Some(nearest) if nearest == name => Ok(()),
            nearest => {
                // Where every other letter is another, it is not a mistyped one.
                let nearest = nearest.filter(|nearest| distance(nearest) <= name.len().max(nearest.len()) / 2);
                let name = shortened(name);
                Err(Error::Unknown { place: place.to_owned(), what, name, nearest })
            }
        }
    }
}

/// A text of somebody's in a message: not more than a line.
pub(crate) fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut short: String = text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}
