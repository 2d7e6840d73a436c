//! The papers' theorems beside what they bound, over random problems: example `bounds`.
//!
//! A family is a file: its statements in words, and what is measured of them on one problem. To add a statement: its line in its
//! family's list, and its rows in what the family measures. What is printed and false is in `counterexamples.rs`.

mod composition;
pub mod control;
pub mod counterexamples;
mod hessian;
mod lsf;
mod problem;
mod sgmrl;
mod softmax;
mod taypo;

use rayon::prelude::*;
use rl::error::Result;
use rl::truth::ROUNDING;

pub use problem::Problem;

use crate::output::progress;

/// A deviation of what must be equal that is nothing but rounding, as a part of the size of what is compared.
pub const EQUAL: f64 = 1e-10;

/// A statement that is true.
#[derive(Clone, Copy, Debug)]
pub struct Statement {
    /// Its short name, as in the file.
    pub name: &'static str,
    /// The paper and the place.
    pub paper: &'static str,
    /// What it says.
    pub words: &'static str,
    /// Whether two numbers are equal, and not one at most the other.
    pub is_equality: bool,
}

impl Statement {
    const fn bound(name: &'static str, paper: &'static str, words: &'static str) -> Self {
        Self { name, paper, words, is_equality: false }
    }

    const fn equality(name: &'static str, paper: &'static str, words: &'static str) -> Self {
        Self { name, paper, words, is_equality: true }
    }

    /// What was measured of a bound.
    fn at_most(&self, case: impl Into<String>, measured: f64, bound: f64) -> Row {
        assert!(!self.is_equality, "{} is an equality", self.name);
        let (problem, rounding) = (case.into(), ROUNDING * bound);
        Row { statement: self.name, problem, measured, bound, rounding, printed_form_holds: None }
    }

    /// By how much two things differ that must be equal, and how large they are.
    fn equal(&self, case: impl Into<String>, difference: f64, size: f64) -> Row {
        assert!(self.is_equality, "{} is a bound", self.name);
        let (problem, bound) = (case.into(), EQUAL * size);
        Row { statement: self.name, problem, measured: difference, bound, rounding: 0.0, printed_form_holds: None }
    }
}

/// A statement on one problem.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its name.
    pub statement: &'static str,
    /// Which problem.
    pub problem: String,
    /// What is bounded; of an equality the difference.
    pub measured: f64,
    /// What it is at most; of an equality what is rounding.
    pub bound: f64,
    /// What both sides of a bound are known to, as some can be met exactly: 1e-12 of the bound, or of the terms that what is
    /// measured is the difference of.
    pub rounding: f64,
    /// Whether what the paper prints in its place holds here; nothing, if it prints the same, or no number.
    pub printed_form_holds: Option<bool>,
}

impl Row {
    fn printed(self, holds: bool) -> Self {
        Self { printed_form_holds: Some(holds), ..self }
    }

    /// What is measured is the difference of terms of this size.
    fn of_terms(self, size: f64) -> Self {
        Self { rounding: self.rounding + ROUNDING * size, ..self }
    }

    /// Whether it holds. A NaN never does.
    pub fn holds(&self) -> bool {
        self.measured <= self.bound + self.rounding
    }

    /// Measured over bound.
    pub fn ratio(&self) -> f64 {
        self.measured / self.bound
    }
}

/// Statements of one kind, and what is measured of them on a problem.
#[derive(Clone, Copy)]
pub struct Family {
    /// What is claimed.
    pub statements: &'static [Statement],
    /// Rows of each of them.
    measure: fn(&Problem) -> Result<Vec<Row>>,
}

/// All of them.
pub fn families() -> [Family; 7] {
    [taypo::FAMILY, softmax::FAMILY, sgmrl::FAMILY, lsf::FAMILY, composition::FAMILY, hessian::FAMILY, control::FAMILY]
}

/// Every statement.
pub fn statements() -> Vec<Statement> {
    families().iter().flat_map(|family| family.statements).copied().collect()
}

/// Every statement on so many problems of a seed, problem after problem.
pub fn measure(seed: u64, problems: usize) -> Result<Vec<Row>> {
    let progress = progress(problems, "problems");
    let of_one = |index: usize| {
        let problem = Problem::new(seed, index)?;
        let mut rows = Vec::new();
        for family in families() {
            rows.extend((family.measure)(&problem).map_err(|error| error.during(problem.name.clone()))?);
        }
        progress.inc(1);
        Ok(rows)
    };
    let rows: Result<Vec<Vec<Row>>> = (0..problems).into_par_iter().map(of_one).collect();
    progress.finish_and_clear();
    Ok(rows?.concat())
}

/// A statement over all its problems.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The statement.
    pub statement: Statement,
    /// How many rows it has.
    pub rows: usize,
    /// On how many of them it holds.
    pub holds: usize,
    /// The largest measured / bound; of an equality the largest difference as a part of what is compared. NaN if one is.
    pub tightest: f64,
}

impl Summary {
    /// Whether it holds on each, and there is one.
    pub fn all_hold(&self) -> bool {
        self.rows > 0 && self.holds == self.rows
    }
}

/// One for each statement.
pub fn summaries(rows: &[Row]) -> Vec<Summary> {
    let summary = |statement: Statement| {
        let of: Vec<&Row> = rows.iter().filter(|row| row.statement == statement.name).collect();
        let ratios: Vec<f64> = of.iter().map(|row| row.ratio()).collect();
        let unit = if statement.is_equality { EQUAL } else { 1.0 };
        Summary {
            statement,
            rows: of.len(),
            holds: of.iter().filter(|row| row.holds()).count(),
            tightest: unit * rl::truth::max_abs(&ratios),
        }
    };
    statements().into_iter().map(summary).collect()
}
