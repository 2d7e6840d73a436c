//! A report as text: for people, and for spreadsheets.

use std::fmt::{self, Display};

use super::{EstimatorReport, Interval, Row};

impl Display for EstimatorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.estimator.chars().count()).max().unwrap_or(0).max(8) + 1;
        let mut before = None;
        for row in &self.rows {
            if before != Some(row.order) {
                let title = ["value", "gradient", "Hessian", "third derivative"][row.order.min(3)];
                writeln!(f, "{}{title}", if before.is_some() { "\n" } else { "" })?;
                write!(f, "{:width$} {:>6}", "estimator", "N")?;
                for name in ["bias", "variance", "mean sq. error", "cosine", "correlation", "signal/noise"] {
                    write!(f, " {name:>17}")?;
                }
                writeln!(f)?;
            }
            before = Some(row.order);
            let name = if row.claimed { row.estimator.clone() } else { format!("{}*", row.estimator) };
            write!(f, "{name:width$} {:>6}", row.samples)?;
            for cell in row.intervals() {
                let cell = cell.map_or_else(|| "–".to_owned(), |interval| interval.to_string());
                write!(f, " {cell:>17}")?;
            }
            writeln!(f)?;
        }
        writeln!(f, "\n± half of the 95 % interval, from {} repeats; < x: not told from 0.", self.repeats)?;
        writeln!(f, "* where the estimator does not claim to be unbiased.")
    }
}

impl Display for Interval {
    /// `0.12 ± 0.03`, half of the interval's width; `< 0.2`, the upper end, where the lower is 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.low == 0.0 && self.high > 0.0 {
            return write!(f, "< {}", short(self.high));
        }
        write!(f, "{} ± {}", short(self.value), short(0.5 * (self.high - self.low)))
    }
}

/// Three digits, or as many as make sense of a small one.
fn short(x: f64) -> String {
    match x.abs() {
        0.0 => "0".to_owned(),
        0.001..0.1 => format!("{x:.4}"),
        0.1..10.0 => format!("{x:.3}"),
        10.0..1000.0 => format!("{x:.1}"),
        _ => format!("{x:.1e}"),
    }
}

impl Row {
    /// The measured quantities, in the order of [`QUANTITIES`].
    fn intervals(&self) -> [Option<Interval>; 6] {
        let Self { bias, variance, mean_squared_error, cosine, correlation, signal_to_noise, .. } = *self;
        [Some(bias), Some(variance), Some(mean_squared_error), cosine, correlation, signal_to_noise]
    }
}

const QUANTITIES: [&str; 6] = ["bias", "variance", "mean_squared_error", "cosine", "correlation", "signal_to_noise"];

impl EstimatorReport {
    /// One line a row, with the ends of each interval behind its value; what is undefined is left empty.
    pub fn csv(&self) -> String {
        let mut header = "estimator,order,samples,claimed,repeats,truth_norm".to_owned();
        for name in QUANTITIES {
            header += &format!(",{name},{name}_low,{name}_high");
        }
        let mut lines = vec![header];
        for row in &self.rows {
            let Row { estimator, order, samples, claimed, truth_norm, .. } = row;
            let mut line = format!("{},{order},{samples},{claimed},{},{truth_norm}", quoted(estimator), self.repeats);
            for interval in row.intervals() {
                match interval {
                    Some(Interval { value, low, high }) => line += &format!(",{value},{low},{high}"),
                    None => line += ",,,",
                }
            }
            lines.push(line);
        }
        lines.join("\n") + "\n"
    }
}

/// A name as a field of a CSV file.
fn quoted(name: &str) -> String {
    if name.contains([',', '"', '\n']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name.to_owned() }
}
