//! The loop: iterations of a learner, each written down when it is made, and checkpoints from which it is resumed.
//!
//! At the boundary before an iteration a checkpoint is written, if that is due, and then its parameters are validated, if that
//! is due. All that comes after a checkpoint is a function of it, so that a resumed run writes what an unbroken one does.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rand::RngExt;
use rl::error::Error as DataError;
use rl::files::{Folder, write_whole};
use rl::stream::stream;

use super::checkpoint::{self, Best, Checkpoint, Checkpoints};
use super::config::Config;
use super::error::{Error, Result};
use super::events;
use super::growing::{Found, Growing, failed};
use super::metrics::{self, Rows, shortest};
use crate::learner::{Iteration, Learner, State};

/// The file with the configuration.
pub const SETTINGS: &str = "config.toml";
/// The file with a row an iteration.
pub const METRICS: &str = "metrics.csv";
/// The file with the returns of each task.
pub const RETURNS: &str = "returns.csv";
/// The file with the validations.
pub const VALIDATION: &str = "validation.csv";
/// The checkpoint that was best on the validation's tasks.
pub const BEST: &str = "best.safetensors";
/// The learning curve, for whoever draws it.
pub const CURVE: &str = "learning_curve.svg";

/// All files of a run.
const FILES: [&str; 9] = {
    let [last, before] = checkpoint::NAMES;
    [SETTINGS, METRICS, RETURNS, VALIDATION, events::NAME, CURVE, BEST, last, before]
};

/// What becomes of the results that are in the folder already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// If there are any, it is an error that asks for one of the others.
    Ask,
    /// They are gone on with.
    Resume,
    /// They are deleted.
    Delete,
}

/// A run that somebody asks for.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// What runs.
    pub config: &'a Config,
    /// The folder for its files.
    pub out: &'a Path,
    /// What becomes of those that are there.
    pub before: Before,
    /// Once it is true, the run ends after the iteration that is under way.
    pub stop: &'a AtomicBool,
}

/// What a run tells on the way.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// A sentence.
    Note(String),
    /// All files are open, and the next is this iteration.
    Begun(u64),
    /// An iteration is done.
    Row(Row),
}

/// An iteration as `metrics.csv` has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its number, from 0.
    pub iteration: u64,
    /// The steps made in environments so far.
    pub env_steps: u64,
    /// For each of the learner's returns, its mean over tasks.
    pub returns: Vec<f64>,
    /// See [`Iteration`].
    pub loss: f64,
    /// See [`Iteration`].
    pub gradient_norm: f64,
    /// See [`Iteration`].
    pub kl: f64,
    /// Seconds of sampling, adapting, the outer steps, and all of the iteration.
    pub seconds: [f64; 4],
}

impl Row {
    /// Each column of `metrics.csv` but the first, given the names of the returns.
    fn scalars<'a>(&'a self, names: &'a [String]) -> impl Iterator<Item = (&'a str, f64)> {
        let Row { env_steps, loss, gradient_norm, kl, seconds: [sample, adapt, outer, total], .. } = *self;
        let returns = names.iter().map(String::as_str).zip(self.returns.iter().copied());
        let rest = [("loss", loss), ("gradient_norm", gradient_norm), ("kl", kl)];
        let seconds = [("sample_s", sample), ("adapt_s", adapt), ("outer_s", outer), ("total_s", total)];
        [("env_steps", env_steps as f64)].into_iter().chain(returns).chain(rest).chain(seconds)
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// The run's folder, which stays its own as long as this is held.
    pub folder: Folder,
    /// How many iterations are made.
    pub iterations: u64,
    /// Whether that is fewer than asked for.
    pub is_stopped: bool,
    /// The best validation, whose parameters are in [`BEST`].
    pub best: Option<Best>,
}

/// What fresh tasks are drawn for: those of validations are not those of evaluations, nor of iterations.
#[derive(Clone, Copy)]
enum Purpose {
    Validation,
    Evaluation,
}

fn seed_for(purpose: Purpose, seed: u64) -> u64 {
    let name = match purpose {
        Purpose::Validation => b"validate",
        Purpose::Evaluation => b"evaluate",
    };
    stream(seed, u64::from_le_bytes(*name)).random()
}

/// The seed of [`Learner::evaluate`] for the evaluation with this number, whose tasks no run has validated on.
pub fn evaluation_seed(number: u64) -> u64 {
    seed_for(Purpose::Evaluation, number)
}

impl Run<'_> {
    /// Makes the iterations of the configuration that are still to be made.
    ///
    /// # Errors
    ///
    /// [`Error::Results`], [`Error::Differs`], [`Error::Versions`], and what is wrong with the files of a run that is resumed.
    /// [`Error::Iteration`] for one that fails or gives a number that is not finite, and [`rl::error::Error::File`] where a file
    /// cannot be written: then the last checkpoint is kept.
    pub fn go(&self, learner: &mut dyn Learner, tell: &mut dyn FnMut(Message)) -> Result<Ended> {
        let folder = Folder::open(self.out)?;
        let mut under_way = UnderWay::begin(self, learner, &folder.path, tell)?;
        let last = self.config.iterations;
        while under_way.at.iteration < last && !self.stop.load(Ordering::Relaxed) {
            under_way.boundary(learner)?;
            tell(Message::Row(under_way.iterate(learner)?));
        }
        under_way.end(learner)?;
        let Checkpoint { iteration: iterations, best, .. } = under_way.at;
        Ok(Ended { folder, iterations, is_stopped: iterations < last, best })
    }
}

/// A run between two iterations.
struct UnderWay {
    folder: PathBuf,
    /// All but the learner's state, which it has itself.
    at: Checkpoint,
    checkpoints: Checkpoints,
    /// The iteration of the last checkpoint.
    kept: u64,
    names: Vec<String>,
    metrics: Growing,
    returns: Growing,
    validation: Option<Growing>,
    events: Growing,
}

impl UnderWay {
    fn begin(run: &Run<'_>, learner: &mut dyn Learner, folder: &Path, tell: &mut dyn FnMut(Message)) -> Result<Self> {
        let config = run.config;
        let there: Vec<PathBuf> = FILES.iter().map(|name| folder.join(name)).filter(|path| path.exists()).collect();
        let mut checkpoints = Checkpoints::of(folder);
        let versions = learner.versions();
        let found = match run.before {
            Before::Ask if !there.is_empty() => return Err(Error::Results { folder: folder.to_owned() }),
            Before::Ask => None,
            Before::Delete => {
                there.iter().try_for_each(|path| fs::remove_file(path).map_err(|cause| failed(path, cause)))?;
                None
            }
            Before::Resume => checkpoints.read()?,
        };
        let at = match found {
            Some((checkpoint, note)) => {
                let differences = config.differences(&checkpoint.config);
                if !differences.is_empty() {
                    return Err(Error::Differs { path: checkpoints.last, differences });
                }
                let differences = checkpoint.other_versions(&versions);
                if !differences.is_empty() {
                    return Err(Error::Versions { path: checkpoints.last, differences });
                }
                let foreign = |cause| Error::Damaged {
                    path: checkpoints.last.clone(),
                    what: format!("its state is none of {}: {cause}", config.algorithm),
                };
                learner.restore(checkpoint.state).map_err(foreign)?;
                note.into_iter().chain(learner.not_saved()).for_each(|note| tell(Message::Note(note)));
                Checkpoint { config: config.clone(), versions, state: State::default(), ..checkpoint }
            }
            None => {
                if let Some(path) = there.iter().find(|path| !path.ends_with(SETTINGS) && run.before == Before::Resume)
                {
                    let what =
                        "it is of a run whose checkpoints are lost; --fresh deletes it and begins anew".to_owned();
                    return Err(Error::Damaged { path: path.clone(), what });
                }
                if run.before == Before::Resume {
                    tell(Message::Note(format!("nothing to resume in {}: it is begun anew", folder.display())));
                }
                let (config, state) = (config.clone(), State::default());
                let at = Checkpoint { iteration: 0, env_steps: 0, config, best: None, versions, state };
                // Before the other files, so that whoever finds those can resume.
                checkpoints.write(&Checkpoint { state: learner.state(), ..at.clone() })?;
                at
            }
        };
        let until = at.iteration;
        for name in [METRICS, RETURNS, events::NAME] {
            let path = folder.join(name);
            if until > 0 && !path.exists() {
                tell(Message::Note(format!("{} is missing: it is begun with iteration {until}", path.display())));
            }
        }
        let names = learner.returns();
        assert!(!names.is_empty(), "a learner has at least one return");
        let listed = names.join(",");
        let steps: Vec<String> = (0..=config.inner_steps).map(|step| format!("return_{step}")).collect();
        let columns = [
            format!("iteration,env_steps,{listed},loss,gradient_norm,kl,sample_s,adapt_s,outer_s,total_s"),
            format!("iteration,task,{listed}"),
            format!("iteration,{},is_best", steps.join(",")),
        ];
        let look = |name: &str, header: &str, rows| metrics::look(folder.join(name), header, rows, until);
        let metrics = look(METRICS, &columns[0], Rows::Each)?;
        let returns = look(RETURNS, &columns[1], Rows::Several)?;
        let validates = config.validate_every > 0;
        let validation = validates.then(|| look(VALIDATION, &columns[2], Rows::Some)).transpose()?;
        let events = events::look(folder.join(events::NAME), until)?;
        let this = Self {
            metrics: metrics.open()?,
            returns: returns.open()?,
            validation: validation.map(Found::open).transpose()?,
            events: events.open()?,
            folder: folder.to_owned(),
            kept: until,
            at,
            checkpoints,
            names,
        };
        write_whole([(folder.join(SETTINGS), config.to_toml())])?;
        tell(Message::Begun(until));
        Ok(this)
    }

    /// What is due before an iteration: a checkpoint, and a validation.
    fn boundary(&mut self, learner: &dyn Learner) -> Result<()> {
        let Config { checkpoint_every, validate_every, .. } = self.at.config;
        if self.at.iteration.is_multiple_of(checkpoint_every) {
            self.keep(learner).map_err(|cause| self.stopped(cause))?;
        }
        // Not a multiple of 0, but 0 itself is one.
        if validate_every > 0 && self.at.iteration.is_multiple_of(validate_every) {
            self.validate(learner).map_err(|cause| self.stopped(cause))?;
        }
        Ok(())
    }

    /// Writes a checkpoint, if this iteration has none.
    fn keep(&mut self, learner: &dyn Learner) -> Result<()> {
        if self.kept == self.at.iteration {
            return Ok(());
        }
        // A checkpoint says that these files have all that is before it.
        self.metrics.sync()?;
        self.returns.sync()?;
        self.events.sync()?;
        self.validation.iter().try_for_each(Growing::sync)?;
        let checkpoint = Checkpoint { state: learner.state(), ..self.at.clone() };
        self.checkpoints.write(&checkpoint)?;
        self.kept = self.at.iteration;
        Ok(())
    }

    /// The returns of the parameters that the next iteration begins with, on tasks that are the same at every validation.
    fn validate(&mut self, learner: &dyn Learner) -> Result<()> {
        let Config { seed, validation_tasks, inner_steps, .. } = self.at.config;
        let returns = learner.evaluate(validation_tasks, inner_steps, seed_for(Purpose::Validation, seed))?;
        let means: Vec<f64> = returns.iter().map(|returns| mean(returns)).collect();
        for (step, &x) in means.iter().enumerate() {
            finite(x, || format!("the validation's return_{step}"))?;
        }
        let iteration = self.at.iteration;
        let value = *means.last().expect("at least that after 0 steps");
        let is_best = self.at.best.is_none_or(|best| value > best.value);
        if is_best {
            self.at.best = Some(Best { iteration, value });
            let checkpoint = Checkpoint { state: learner.state(), ..self.at.clone() };
            write_whole([(self.folder.join(BEST), checkpoint.to_bytes())])?;
        }
        let row = [vec![iteration.to_string()], numbers(&means), vec![is_best.to_string()]].concat().join(",") + "\n";
        self.validation.as_mut().expect("it is opened where there are validations").append(row.as_bytes())
    }

    fn iterate(&mut self, learner: &mut dyn Learner) -> Result<Row> {
        let iteration = self.at.iteration;
        let begin = Instant::now();
        let made = learner.iterate(iteration).map_err(|cause| self.stopped(cause.into()))?;
        let total = begin.elapsed().as_secs_f64();
        let row = self.write(iteration, made, total, &learner.state()).map_err(|cause| self.stopped(cause))?;
        self.at.iteration += 1;
        self.at.env_steps = row.env_steps;
        Ok(row)
    }

    fn write(&mut self, iteration: u64, made: Iteration, total: f64, state: &State) -> Result<Row> {
        check(&self.names, &made, state)?;
        let Iteration { env_steps, returns, loss, gradient_norm, kl, seconds: [sample, adapt, outer] } = made;
        let row = Row {
            iteration,
            env_steps: self.at.env_steps.saturating_add(env_steps),
            returns: returns.iter().map(|returns| mean(returns)).collect(),
            loss,
            gradient_norm,
            kl,
            seconds: [sample, adapt, outer, total],
        };
        let counts = [iteration, row.env_steps].map(|count| count.to_string()).to_vec();
        let seconds = row.seconds.map(|time| format!("{time:.6}")).to_vec();
        let fields = [counts, numbers(&row.returns), numbers(&[loss, gradient_norm, kl]), seconds].concat();
        let tasks = (0..returns[0].len()).map(|task| {
            let of_task: Vec<f64> = returns.iter().map(|returns| returns[task]).collect();
            format!("{iteration},{task},{}\n", numbers(&of_task).join(","))
        });
        self.returns.append(tasks.collect::<String>().as_bytes())?;
        self.events.append(&events::scalars(iteration, row.scalars(&self.names)))?;
        self.metrics.append((fields.join(",") + "\n").as_bytes())?;
        Ok(row)
    }

    /// The last checkpoint, and a validation of it if that is due.
    fn end(&mut self, learner: &dyn Learner) -> Result<()> {
        self.keep(learner).map_err(|cause| self.stopped(cause))?;
        if self.at.iteration >= self.at.config.iterations { self.boundary(learner) } else { Ok(()) }
    }

    fn stopped(&self, cause: Error) -> Error {
        let (iteration, kept, path) = (self.at.iteration, self.kept, self.checkpoints.good().to_owned());
        Error::Iteration { iteration, cause: Box::new(cause), kept, path }
    }
}

/// An error unless a number is finite.
fn finite(value: f64, what: impl FnOnce() -> String) -> Result<()> {
    if value.is_finite() { Ok(()) } else { Err(DataError::NotFinite { what: what(), value }.into()) }
}

/// An error if a number of an iteration is not finite, or one of the state that it leads to.
///
/// Panics if there are not as many returns as names, or not as many tasks in each.
fn check(names: &[String], made: &Iteration, state: &State) -> Result<()> {
    let Iteration { returns, loss, gradient_norm, kl, .. } = made;
    assert_eq!(names.len(), returns.len(), "a learner has named {names:?}");
    for (name, of_tasks) in names.iter().zip(returns) {
        assert!(!of_tasks.is_empty() && of_tasks.len() == returns[0].len(), "every return has one number a task");
        for (task, &x) in of_tasks.iter().enumerate() {
            finite(x, || format!("{name} of task {task}"))?;
        }
    }
    for (name, x) in [("loss", *loss), ("gradient_norm", *gradient_norm), ("kl", *kl)] {
        finite(x, || name.to_owned())?;
    }
    for (name, array) in &state.arrays {
        for (entry, &x) in array.iter().enumerate() {
            finite(x, || format!("entry {entry} of `{name}` after it"))?;
        }
    }
    state.numbers.iter().try_for_each(|(name, &x)| finite(x, || format!("`{name}` after it")))
}

fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

fn numbers(x: &[f64]) -> Vec<String> {
    x.iter().map(|&x| shortest(x)).collect()
}
