//! The options that examples share, and what may be given for an option: what lies outside is refused with its name before
//! anything runs.
//!
//! `--quick` and `--paper` are sizes: they say what the other options are where these are not given. What is given holds.

use std::fmt::Display;
use std::ops::{Bound, RangeBounds};
use std::path::PathBuf;
use std::str::FromStr;

/// The options that every example has.
#[allow(rustdoc::invalid_html_tags, reason = "the words are printed as they stand, by `--help`")]
#[derive(clap::Args, Debug)]
pub struct Common {
    /// Everything random is a function of this number.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The folder that files are written to [default: results/<example>]. One run at a time may do so.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// A small version that takes seconds: other defaults of the options about sizes. What is given beside it holds.
    #[arg(long)]
    pub quick: bool,
}

/// The options that every study has.
#[derive(clap::Args, Debug)]
pub struct StudyOptions {
    /// What every example has.
    #[command(flatten)]
    pub common: Common,
    /// Judge the claims of the paper; fails unless all hold.
    #[arg(long)]
    pub check: bool,
    /// The paper's size, or what comes near it, in the same way.
    #[arg(long, conflicts_with = "quick")]
    pub paper: bool,
    /// Take up a run that was ended: what it finished is read from its folder, and what learned goes on from there. The other
    /// options must be the same. (A run that has written its results leaves nothing to take up, and is begun anew.)
    #[arg(long)]
    pub resume: bool,
    /// Begin anew, and delete what a run that was ended had finished in this folder.
    #[arg(long, conflicts_with = "resume")]
    pub fresh: bool,
}

impl StudyOptions {
    /// The defaults of the size that is asked for.
    pub fn size<T>(&self, quick: T, normal: T, paper: T) -> T {
        match (self.common.quick, self.paper) {
            (true, _) => quick,
            (_, true) => paper,
            _ => normal,
        }
    }
}

/// A floating-point type to compute in.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq)]
pub enum Precision {
    /// Double.
    #[default]
    F64,
    /// Single.
    F32,
}

impl Precision {
    /// The type of numbers on the tape.
    pub fn dtype(self) -> ad::DType {
        match self {
            Precision::F64 => ad::DType::F64,
            Precision::F32 => ad::DType::F32,
        }
    }
}

/// Numbers that are given separated by commas, in increasing order.
#[derive(Clone, Debug, PartialEq)]
pub struct List<T>(pub Vec<T>);

/// A whole number within a range.
pub fn whole(range: impl RangeBounds<usize> + Clone) -> impl Fn(&str) -> Result<usize, String> + Clone {
    within("a whole number", range)
}

/// A number within a range: NaN is within none.
pub fn real(range: impl RangeBounds<f64> + Clone) -> impl Fn(&str) -> Result<f64, String> + Clone {
    within("a number", range)
}

/// A [`List`] of what `each` takes.
pub fn increasing<T: PartialOrd>(
    each: impl Fn(&str) -> Result<T, String> + Clone,
) -> impl Fn(&str) -> Result<List<T>, String> + Clone {
    move |text| {
        let numbers: Vec<T> = text
            .split(',')
            .map(&each)
            .collect::<Result<_, _>>()
            .map_err(|problem| format!("each of the numbers, which are separated by commas, {problem}"))?;
        if !numbers.is_sorted_by(|a, b| a < b) {
            return Err("the numbers must be in increasing order, none of them twice".to_owned());
        }
        Ok(List(numbers))
    }
}

fn within<T: FromStr + PartialOrd + Display>(
    what: &'static str,
    range: impl RangeBounds<T> + Clone,
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("must be {what}{}", words(&range))),
    }
}

/// The ends of a range, such as ` from 0 to below 1`.
fn words<T: Display>(range: &impl RangeBounds<T>) -> String {
    let low = match range.start_bound() {
        Bound::Included(low) | Bound::Excluded(low) => format!(" from {low}"),
        Bound::Unbounded => String::new(),
    };
    let high = match range.end_bound() {
        Bound::Included(high) => format!(" to {high}"),
        Bound::Excluded(high) => format!(" to below {high}"),
        Bound::Unbounded => String::new(),
    };
    low + &high
}
