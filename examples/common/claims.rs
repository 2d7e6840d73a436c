//! Claims and their verdicts: a claim holds when a 95 % interval lies wholly on its side.

use std::fmt::{self, Display};

/// A mean and the half-width of its 95 % interval, 1.96 standard errors.
#[derive(Clone, Copy, Debug)]
pub struct Interval {
    pub mean: f64,
    pub half_width: f64,
}

impl Interval {
    /// Of the mean of independent numbers.
    pub fn of(numbers: impl Iterator<Item = f64> + Clone) -> Self {
        let count = numbers.clone().count() as f64;
        let mean = numbers.clone().sum::<f64>() / count;
        let variance = numbers.map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Self { mean, half_width: 1.96 * (variance / count).sqrt() }
    }

    /// Of the mean difference a − b of pairs that were measured together.
    ///
    /// Panics if they are not as many.
    pub fn paired(a: &[f64], b: &[f64]) -> Self {
        assert_eq!(a.len(), b.len(), "paired: {} numbers beside {}", a.len(), b.len());
        Self::of(a.iter().zip(b).map(|(a, b)| a - b))
    }

    /// Whether all of it lies above 0, below 0, or neither.
    pub fn verdict(self) -> Verdict {
        match self {
            _ if self.mean - self.half_width > 0.0 => Verdict::Holds,
            _ if self.mean + self.half_width < 0.0 => Verdict::Fails,
            _ => Verdict::Undecided,
        }
    }
}

impl Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3e} ± {:.1e}", self.mean, self.half_width)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Holds,
    Fails,
    Undecided,
}

impl Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Holds => "holds",
            Verdict::Fails => "FAILS",
            Verdict::Undecided => "UNDECIDED",
        })
    }
}

/// A sentence of a paper, and what was found.
#[derive(Clone, Debug)]
pub struct Claim {
    pub sentence: String,
    pub numbers: String,
    pub verdict: Verdict,
}

impl Claim {
    /// That a quantity is positive, by its interval.
    pub fn positive(sentence: impl Into<String>, interval: Interval) -> Self {
        Self { sentence: sentence.into(), numbers: interval.to_string(), verdict: interval.verdict() }
    }

    /// That several quantities are positive: the verdict and the numbers of the least decided one.
    ///
    /// Panics if there is none.
    pub fn all_positive(sentence: impl Into<String>, intervals: impl IntoIterator<Item = (String, Interval)>) -> Self {
        let sides = |interval: &Interval| interval.mean / interval.half_width.max(f64::MIN_POSITIVE);
        let (name, least) = (intervals.into_iter())
            .min_by(|(_, a), (_, b)| sides(a).total_cmp(&sides(b)))
            .expect("a claim about something");
        Self { sentence: sentence.into(), numbers: format!("least: {least} ({name})"), verdict: least.verdict() }
    }

    /// That something is so, which needs no interval.
    pub fn certain(sentence: impl Into<String>, numbers: String, holds: bool) -> Self {
        let verdict = if holds { Verdict::Holds } else { Verdict::Fails };
        Self { sentence: sentence.into(), numbers, verdict }
    }
}

/// Prints each claim with its verdict; the error says how many do not hold.
pub fn report(claims: &[Claim]) -> Result<(), String> {
    println!("\nClaims (a claim holds when the 95 % interval of the difference lies on its side):\n");
    for Claim { sentence, numbers, verdict } in claims {
        println!("  {verdict:<9}  {sentence}\n             {numbers}");
    }
    match claims.iter().filter(|claim| claim.verdict != Verdict::Holds).count() {
        0 => Ok(()),
        missing => Err(format!("{missing} of {} claims do not hold", claims.len())),
    }
}
