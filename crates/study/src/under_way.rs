//! A part in which somebody learns for hours leaves on the way what it goes on from, after an iteration: the state of who learns,
//! and the part's numbers so far. It is a checkpoint as those of `train`, beside the finished parts.

use std::time::Instant;

use ndarray::Array1;
use rl::error::{Error, Result};
use train::Learner;
use train::run::checkpoint::Checkpoint;
use train::run::config::Config;

use crate::output::complain;
use crate::saved::Saved;

/// A part that is under way.
pub struct UnderWay<'a> {
    saved: &'a Saved,
    part: &'a str,
    config: &'a Config,
    /// When it is to be kept again.
    due: Instant,
}

/// The part's numbers, beside the arrays of who learns.
const NUMBERS: &str = "study.numbers";

impl<'a> UnderWay<'a> {
    /// The part of this name, in which what learns is of this configuration.
    pub fn new(saved: &'a Saved, part: &'a str, config: &'a Config) -> Self {
        Self { saved, part, config, due: Instant::now() }
    }

    /// All that decides over the numbers, but for the state.
    fn versions(&self, learner: &dyn Learner) -> Vec<(String, String)> {
        let of = |what: &str, which: &str| (what.to_owned(), which.to_owned());
        [learner.versions(), vec![of("study", &self.saved.run), of("part", self.part)]].concat()
    }

    /// Keeps it as it is before this iteration, if that is due: such that it takes no more than a twentieth of the time.
    ///
    /// # Errors
    ///
    /// [`Error::File`] and [`Error::Folder`], if it cannot be written.
    pub fn keep(&mut self, learner: &dyn Learner, iteration: u64, numbers: &[f64]) -> Result<()> {
        let begun = Instant::now();
        if begun < self.due {
            return Ok(());
        }
        let mut state = learner.state();
        state.arrays.insert(NUMBERS.to_owned(), Array1::from(numbers.to_vec()).into_dyn());
        let (config, versions) = (self.config.clone(), self.versions(learner));
        let checkpoint = Checkpoint { iteration, env_steps: 0, config, best: None, versions, state };
        self.saved.keep(self.part, &checkpoint.to_bytes())?;
        self.due = Instant::now() + 20 * begun.elapsed();
        Ok(())
    }

    /// Puts who learns to where the part was kept. The iteration to go on with, and the numbers so far: 0 and none where nothing
    /// was kept, and where it is damaged, which is said.
    ///
    /// # Errors
    ///
    /// [`Error::File`], if it cannot be read, or is of another part; [`Error::SavedState`].
    pub fn resume(&self, learner: &mut dyn Learner) -> Result<(u64, Vec<f64>)> {
        let path = self.saved.under_way(self.part);
        if !path.try_exists().map_err(|cause| Error::file(&path, cause))? {
            return Ok((0, Vec::new()));
        }
        let checkpoint = match Checkpoint::read(&path) {
            Ok(checkpoint) => checkpoint,
            Err(error @ train::run::Error::Damaged { .. }) => {
                complain(&format!("{error}; part {} is computed again", self.part));
                return Ok((0, Vec::new()));
            }
            Err(train::run::Error::Data(error)) => return Err(error),
            Err(error) => return Err(Error::file(&path, error)),
        };
        let differences = checkpoint.other_versions(&self.versions(learner)).join(", ");
        if !differences.is_empty() {
            let cause = format!("it is of another run, or part: {differences}; --fresh deletes it and begins anew");
            return Err(Error::file(&path, cause));
        }
        let Checkpoint { iteration, mut state, .. } = checkpoint;
        let numbers = state.arrays.shift_remove(NUMBERS);
        let numbers = numbers.ok_or_else(|| Error::SavedState(format!("the array `{NUMBERS}` is missing")))?;
        learner.restore(state)?;
        Ok((iteration, numbers.into_iter().collect()))
    }
}
