//! The claims of a paper, judged by what was measured on the same problems: a claim holds where the 95 % interval of each of
//! its paired differences lies above 0. Undecided is not held.

use std::fmt::{self, Display};

use rl::report::Interval;

use crate::output::Output;
use crate::statistics::interval;

/// Claims, in the order in which they were put.
#[derive(Default)]
pub struct Claims(Vec<Claim>);

/// A sentence, and the numbers that must be above 0 for it to hold.
pub struct Claim {
    sentence: String,
    parts: Vec<(String, Judgement)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Judgement {
    /// A difference's mean over independent problems, with its 95 % interval.
    Difference(Interval),
    /// The largest deviation of what must be equal, and how much is rounding.
    Equality { deviation: f64, bound: f64 },
}

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Verdict {
    Holds,
    Undecided,
    Fails,
}

impl Judgement {
    fn verdict(self) -> Verdict {
        match self {
            Judgement::Difference(interval) if interval.low > 0.0 => Verdict::Holds,
            Judgement::Difference(interval) if interval.high < 0.0 => Verdict::Fails,
            Judgement::Difference(_) => Verdict::Undecided,
            Judgement::Equality { deviation, bound } if deviation <= bound => Verdict::Holds,
            Judgement::Equality { .. } => Verdict::Fails,
        }
    }
}

impl Claims {
    /// A new claim, whose parts follow.
    pub fn claim(&mut self, sentence: &str) -> &mut Claim {
        self.0.push(Claim { sentence: sentence.to_owned(), parts: Vec::new() });
        self.0.last_mut().expect("just pushed")
    }

    /// Every claim with its numbers; unless all hold, the run has failed.
    pub fn judge(&self, output: &mut Output) {
        writeln!(output, "{self}");
        let (all, short) = (self.0.len(), self.0.iter().filter(|claim| claim.verdict() != Verdict::Holds).count());
        if short > 0 {
            output.fail(format!("{short} of {all} claims do not hold"));
        } else {
            writeln!(output, "All {all} claims hold.");
        }
    }
}

impl Claim {
    /// It must be above 0 that is given here for each of several independent problems.
    pub fn above(&mut self, what: impl Into<String>, differences: &[f64]) -> &mut Self {
        self.interval_above(what, interval(differences))
    }

    /// It must be above 0 what has this 95 % interval.
    pub fn interval_above(&mut self, what: impl Into<String>, interval: Interval) -> &mut Self {
        self.parts.push((what.into(), Judgement::Difference(interval)));
        self
    }

    /// It must be 0 within rounding.
    pub fn equal(&mut self, what: impl Into<String>, deviation: f64, bound: f64) -> &mut Self {
        self.parts.push((what.into(), Judgement::Equality { deviation, bound }));
        self
    }

    fn verdict(&self) -> Verdict {
        let worst = |worst, verdict| if verdict > worst { verdict } else { worst };
        let none = if self.parts.is_empty() { Verdict::Undecided } else { Verdict::Holds };
        self.parts.iter().map(|(_, judgement)| judgement.verdict()).fold(none, worst)
    }
}

impl Display for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Claims (differences on the same problems, with 95 % intervals):\n")?;
        let parts = || self.0.iter().flat_map(|claim| &claim.parts);
        let width = parts().map(|(what, _)| what.chars().count()).max().unwrap_or(0);
        for claim in &self.0 {
            writeln!(f, "{:<9}  {}", claim.verdict().word(), claim.sentence)?;
            for (what, judgement) in &claim.parts {
                let numbers = match judgement {
                    Judgement::Difference(Interval { value, low, high }) => {
                        format!("{value:>+8.3} ± {:.3}", (high - low) / 2.0)
                    }
                    Judgement::Equality { deviation, bound } => format!("{deviation:>8.1e} (at most {bound:e})"),
                };
                let word = if judgement.verdict() == claim.verdict() { "" } else { judgement.verdict().word() };
                writeln!(f, "{}", format!("             {what:<width$} {numbers}  {word}").trim_end())?;
            }
        }
        Ok(())
    }
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Holds => "holds",
            Verdict::Undecided => "UNDECIDED",
            Verdict::Fails => "FAILS",
        }
    }
}
