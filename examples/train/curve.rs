//! The learning curve: mean returns by iteration, with one standard deviation over tasks on either side.

use std::path::Path;

use rl::report::Interval;
use study::lines::{Axis, Line, Panel, picture};
use study::statistics::mean_and_std;
use train::run::config::Config;
use train::run::metrics::Returns;

/// No more points than there are pixels.
const POINTS: usize = 400;

/// As SVG, of a run's `returns.csv`; nothing if that has no rows.
pub fn learning_curve(config: &Config, returns: &Path) -> Result<Option<String>, Box<dyn std::error::Error>> {
    let Returns { names, iterations: rows } = Returns::read(returns)?;
    if rows.is_empty() {
        return Ok(None);
    }
    let every = rows.len().div_ceil(POINTS);
    let lines = names.iter().enumerate().map(|(number, name)| {
        let points = rows.iter().step_by(every).map(|(iteration, returns)| {
            let (value, spread) = mean_and_std(&returns[number]);
            (*iteration as f64, Interval { value, low: value - spread, high: value + spread })
        });
        Line::with_intervals(name.clone(), points)
    });
    let panel = Panel {
        title: format!("{} on {}", config.algorithm, config.env),
        x: Axis::linear("iteration"),
        y: Axis::linear("return (mean and spread over tasks)"),
        lines: lines.collect(),
    };
    Ok(Some(picture(&[vec![panel]])?))
}
