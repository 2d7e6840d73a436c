//! The claims of a paper, judged by what was measured on the same problems: a claim holds where the 95 % interval of each of
//! its paired differences lies above 0. Undecided is not held.

use std::fmt::{self, Display};

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
    /// A difference's mean over independent problems, with half the width of its 95 % interval.
    Difference { mean: f64, half_width: f64 },
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
            Judgement::Difference { mean, half_width } if mean > half_width => Verdict::Holds,
            Judgement::Difference { mean, half_width } if mean < -half_width => Verdict::Fails,
            Judgement::Difference { .. } => Verdict::Undecided,
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

    /// Prints every claim with its numbers, and is an error unless all hold.
    pub fn judge(&self) -> Result<(), String> {
        println!("{self}");
        let short = self.0.iter().filter(|claim| claim.verdict() != Verdict::Holds).count();
        if short == 0 { Ok(()) } else { Err(format!("{short} of {} claims do not hold", self.0.len())) }
    }
}

impl Claim {
    /// It must be above 0 that is given here for each of several independent problems.
    pub fn above(&mut self, what: impl Into<String>, differences: &[f64]) -> &mut Self {
        let (mean, half_width) = interval(differences);
        self.parts.push((what.into(), Judgement::Difference { mean, half_width }));
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
        for claim in &self.0 {
            writeln!(f, "{:<9}  {}", claim.verdict().word(), claim.sentence)?;
            for (what, judgement) in &claim.parts {
                let word = if judgement.verdict() == claim.verdict() { "" } else { judgement.verdict().word() };
                match judgement {
                    Judgement::Difference { mean, half_width } => {
                        writeln!(f, "             {what:<44} {mean:>+8.3} ± {half_width:.3}  {word}")?;
                    }
                    Judgement::Equality { deviation, bound } => {
                        writeln!(f, "             {what:<44} {deviation:>8.1e} (at most {bound:e})  {word}")?;
                    }
                }
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

/// Mean and half the width of the 95 % interval, by Student's t. Of fewer than two numbers the width is infinite.
pub fn interval(x: &[f64]) -> (f64, f64) {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    if x.len() < 2 {
        return (mean, f64::INFINITY);
    }
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, student(x.len() - 1) * (variance / n).sqrt())
}

/// The 97.5 % quantile of Student's t distribution: tabulated, and from 10 degrees of freedom on by the expansion of
/// Cornish and Fisher (Abramowitz and Stegun 26.7.5), which is right to three decimals there.
fn student(freedom: usize) -> f64 {
    const FEW: [f64; 9] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];
    if let Some(&quantile) = FEW.get(freedom - 1) {
        return quantile;
    }
    let (z, n) = (1.959_964_f64, freedom as f64);
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let third = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    z + first / n + second / n.powi(2) + third / n.powi(3)
}
