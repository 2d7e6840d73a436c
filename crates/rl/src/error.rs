//! What can be wrong with data that comes from outside: files, rollouts, decision processes, settings.
//!
//! A message says what is wrong, where, and what to do. Add a variant here when no existing one says it; misuse that
//! only a bug in the caller's code can cause panics instead.

use std::path::{Path, PathBuf};

/// The result of everything in this crate that meets outside data.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What is wrong with data from outside.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An array of another shape than the others ask for.
    #[error("{what} has shape {found:?}, but must have shape {expected:?}")]
    Shape {
        /// Which array.
        what: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it must have.
        expected: Vec<usize>,
    },

    /// An array of another type than the others.
    #[error("{what} is of type {found}, but must be of type {expected}")]
    Types {
        /// Which array.
        what: &'static str,
        /// Its type.
        found: ad::DType,
        /// The type it must have.
        expected: ad::DType,
    },

    /// A parameter of another name than was recorded in its place.
    #[error("a parameter is called `{found}`, but in its place `{expected}` was recorded")]
    Name {
        /// Its name.
        found: String,
        /// The name that was recorded.
        expected: String,
    },

    /// A policy that is for other observations, or actions, than there are.
    #[error("the policy is for {what} that are {policy}, but they are {environment}")]
    Space {
        /// `observations` or `actions`.
        what: &'static str,
        /// What the policy is for.
        policy: String,
        /// What there is.
        environment: String,
    },

    /// A policy whose value in a linear-quadratic problem is not known in closed form.
    #[error(
        "the policy {what}, but only of a policy N(K s + k, diag σ²) is the value of a linear-quadratic problem exact"
    )]
    NotLinear {
        /// What it is or does, such as `remembers what was before`.
        what: String,
    },

    /// A policy whose distributions have no closed form of what is needed.
    #[error("{what} of {of} has no closed form, but is needed here: choose another distribution")]
    NoClosedForm {
        /// What is needed, such as `the divergence`.
        what: &'static str,
        /// Of what, such as `a mixture`.
        of: &'static str,
    },

    /// A critic or a behaviour policy for another kind of problem.
    #[error("{what} is not for {problem}")]
    Unfit {
        /// Which one, such as `a critic that is a table`.
        what: &'static str,
        /// The kind of problem.
        problem: &'static str,
    },

    /// An expectation that quadrature does not give: of what is no polynomial in normal numbers, or of one of a high degree.
    #[error(
        "with {nodes} nodes for each normal number the expectation is known to {difference:.0e} of the terms that are summed, and \
         more would be too many trajectories: shorten the horizon, leave noise out, or bring the policies nearer to each other"
    )]
    Quadrature {
        /// How many nodes were tried last.
        nodes: usize,
        /// What one more changed, as a part of the sum of absolute values.
        difference: f64,
    },

    /// Nothing where at least one is needed: a batch without trajectories, a horizon of 0, a process without states.
    #[error("no {what}: give at least one")]
    Empty {
        /// What there must be at least one of, in the plural.
        what: &'static str,
    },

    /// More than there is memory for.
    #[error("there is no memory for {trajectories} trajectories of up to {horizon} steps")]
    TooLarge {
        /// N.
        trajectories: usize,
        /// H.
        horizon: usize,
    },

    /// A number that is not a probability.
    #[error("{what} = {value} is not a probability; it must lie in [0, 1]")]
    Probability {
        /// Which entry, such as `transition[s = 2, a = 0, s' = 1]`.
        what: String,
        /// The number found.
        value: f64,
    },

    /// Probabilities that do not sum to 1.
    #[error("{what} sums to {sum}, but must sum to 1 within 1e-9; divide it by its sum")]
    ProbabilitySum {
        /// Which distribution, such as `transition[s = 2, a = 0]`.
        what: String,
        /// The sum found.
        sum: f64,
    },

    /// A number that must be finite and is not.
    #[error("{what} = {value} must be finite")]
    NotFinite {
        /// Which entry, such as `reward[s = 2, a = 0]`.
        what: String,
        /// The number found.
        value: f64,
    },

    /// A Dirichlet concentration that is not positive and finite.
    #[error("the concentration of a Dirichlet distribution is {0}, but must be positive and finite")]
    Concentration(f64),

    /// An episode that is not between one step and the horizon long.
    #[error(
        "trajectory {trajectory} has length {length}, but an episode has between 1 and {horizon} steps (the horizon)"
    )]
    Length {
        /// Which trajectory.
        trajectory: usize,
        /// Its length, as found.
        length: i64,
        /// The horizon H.
        horizon: usize,
    },

    /// An entry inside an episode that cannot be what it stands for.
    #[error("trajectory {trajectory}, step {step}: {what}")]
    Step {
        /// Which trajectory.
        trajectory: usize,
        /// Which step.
        step: usize,
        /// The entry, its value, and what it must be.
        what: String,
    },

    /// A state or an action that the table to be indexed does not have.
    #[error("trajectory {trajectory}, step {step}: {what} {index} is out of range, there are {size} (0 to {size} - 1)")]
    IndexOutOfRange {
        /// Which trajectory.
        trajectory: usize,
        /// Which step.
        step: usize,
        /// `state` or `action`.
        what: &'static str,
        /// The index found.
        index: i32,
        /// How many states or actions there are.
        size: usize,
    },

    /// A file that could not be read or written, or whose contents are wrong.
    #[error("{}: {cause}", path.display())]
    File {
        /// The file, or the folder if several files contradict each other.
        path: PathBuf,
        /// Why not. (Already part of the message, and so not its `source`.)
        cause: Box<dyn std::error::Error + Send + Sync>,
    },

    /// A folder that cannot be made, or written to.
    #[error("cannot write to the folder `{}`: {cause}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not. (Already part of the message, and so not its `source`.)
        cause: std::io::Error,
    },

    /// A folder that belongs to another process.
    #[error("another run is writing to the folder {}: wait until it has ended, or take another folder", path.display())]
    FolderInUse {
        /// The folder.
        path: PathBuf,
    },

    /// Too many trajectories to list.
    #[error(
        "{count:.3e} trajectories have positive probability, but at most {limit} are enumerated; \
         use a shorter horizon or a smaller decision process, or sample"
    )]
    TooManyTrajectories {
        /// How many there are (exact below 2^53).
        count: f64,
        /// How many are allowed.
        limit: usize,
    },

    /// Fewer of something than needed.
    #[error("{found} {what}: at least {least} are needed")]
    TooFew {
        /// What there are too few of.
        what: String,
        /// How many there are.
        found: usize,
        /// How many are needed.
        least: usize,
    },

    /// An order of derivative that is not measured.
    #[error(
        "a derivative of order {order}: orders 0 to {highest} are measured, because the entries grow as a power of it"
    )]
    Order {
        /// The order asked for.
        order: usize,
        /// The highest there is.
        highest: usize,
    },

    /// A discount (or λ, how fast advantages decay) that is not between 0 and 1.
    #[error("{name} is {value}, but must lie in [0, 1]")]
    Decay {
        /// `the discount`, or `λ`.
        name: &'static str,
        /// Its value.
        value: f64,
    },

    /// A rate that is no size of a step.
    #[error("the rate is {0}, but must be finite and not negative")]
    Rate(f64),

    /// A standard deviation that is none.
    #[error("a standard deviation is {0}, but must be finite and not negative")]
    Deviation(f64),

    /// A constant of Adam's that makes no sense.
    #[error("{name} of Adam is {value}, but must {range}")]
    Adam {
        /// `beta1`, `beta2` or `epsilon`.
        name: &'static str,
        /// Its value.
        value: f64,
        /// Where it must lie.
        range: &'static str,
    },

    /// A matrix that is no Fisher matrix, nor any other that conjugate gradients are for.
    #[error("conjugate gradients need a positive definite matrix, but along a direction its curvature is {0}")]
    NotPositive(f64),

    /// A saved optimiser that no optimiser can have been.
    #[error("the saved optimiser is damaged: {0}")]
    SavedOptimiser(String),

    /// A saved state that no learner of these settings can have been in.
    #[error("the saved state is of other settings, or damaged: {0}")]
    SavedState(String),

    /// A saved environment that none can have been.
    #[error("the saved environment is damaged: {0}")]
    SavedEnvironment(String),

    /// A sum of rewards that need not exist: discount 1, no horizon, and episodes that may go on for ever.
    #[error(
        "with discount 1 and no horizon the value exists only if every episode ends with certainty, and here one may \
         not; use a discount below 1, a finite horizon, or a termination probability on every path"
    )]
    UndiscountedWithoutTermination,

    /// A learner for which the returns on fresh tasks are not defined.
    #[error("this algorithm has no evaluation on fresh tasks")]
    NoEvaluation,

    /// Inner steps of a learner that makes none.
    #[error("this algorithm does not adapt: evaluate it after 0 inner steps, not {0}")]
    NoAdaptation(usize),

    /// What is not three letters, each S (estimated) or E (exact).
    #[error("`{0}` is no choice of what is estimated; write three letters for inner, Hessian and outer, each S or E")]
    Permutation(String),

    /// What went wrong in a part of a longer computation.
    #[error("{place}: {problem}")]
    During {
        /// Which part, such as `iteration 7, task 3`.
        place: String,
        /// What went wrong. (Already part of the message, and so not its `source`.)
        problem: Box<Error>,
    },

    /// A program that refused its values.
    #[error(transparent)]
    Program(#[from] ad::Error),
}

/// An error unless `value` is a discount or a decay. (The one place that says which there are.)
///
/// # Errors
///
/// [`Error::Decay`], with this name.
pub fn check_decay(name: &'static str, value: f64) -> Result<()> {
    if (0.0..=1.0).contains(&value) { Ok(()) } else { Err(Error::Decay { name, value }) }
}

/// [`check_decay`] of γ.
///
/// # Errors
///
/// [`Error::Decay`].
pub fn check_discount(gamma: f64) -> Result<()> {
    check_decay("the discount", gamma)
}

/// An error unless `rate` is the size of a step.
///
/// # Errors
///
/// [`Error::Rate`].
pub fn check_rate(rate: f64) -> Result<()> {
    if rate >= 0.0 && rate.is_finite() { Ok(()) } else { Err(Error::Rate(rate)) }
}

/// An error for the first of these that is not finite: `what` is it, given which one.
///
/// # Errors
///
/// [`Error::NotFinite`].
pub fn check_finite<'a>(numbers: impl IntoIterator<Item = &'a f64>, what: impl FnOnce(usize) -> String) -> Result<()> {
    match numbers.into_iter().enumerate().find(|(_, x)| !x.is_finite()) {
        Some((number, &value)) => Err(Error::NotFinite { what: what(number), value }),
        None => Ok(()),
    }
}

/// How many trajectories, or tuples of them, are listed at most.
pub(crate) const LISTED_LIMIT: usize = 1_000_000;

/// How many `size`-tuples of `count` things there are; an error if they are too many to be listed.
pub(crate) fn tuple_count(count: usize, size: usize) -> Result<usize> {
    u32::try_from(size)
        .ok()
        .and_then(|size| count.checked_pow(size))
        .filter(|&tuples| tuples <= LISTED_LIMIT)
        .ok_or(Error::TooManyTrajectories { count: (count as f64).powf(size as f64), limit: LISTED_LIMIT })
}

/// An error unless `deviation` is a standard deviation, or 0.
pub(crate) fn check_deviation(deviation: f64) -> Result<()> {
    if deviation >= 0.0 && deviation.is_finite() { Ok(()) } else { Err(Error::Deviation(deviation)) }
}

/// The result of a check of what only a caller's code can get wrong; else a panic at its line.
#[track_caller]
pub(crate) fn expect<T>(operation: &str, checked: Result<T>) -> T {
    match checked {
        Ok(value) => value,
        Err(problem) => panic!("{operation}: {problem}"),
    }
}

impl Error {
    /// The same, and where it happened.
    #[must_use]
    pub fn during(self, place: impl Into<String>) -> Self {
        Error::During { place: place.into(), problem: Box::new(self) }
    }

    /// [`Error::File`], of this file and this cause: another error, or a sentence.
    pub fn file(path: &Path, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::File { path: path.to_owned(), cause: cause.into() }
    }
}
