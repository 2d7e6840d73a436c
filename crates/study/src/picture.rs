//! A report as a picture: for each order a column, with relative errors above and cosines below, against N.

use std::path::Path;

use rl::error::{Error, Result};
use rl::files::write_whole;
use rl::report::{EstimatorReport, Interval, Row};

use crate::lines::{Axis, Line, Panel, picture};

/// Writes [`of_report`].
///
/// # Errors
///
/// [`Error::File`].
pub fn write_report(report: &EstimatorReport, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let picture = of_report(report).map_err(|cause| Error::file(path, cause.to_string()))?;
    write_whole([(path, picture)])
}

/// A picture of relative errors and cosines against the number of trajectories, for each order above 0.
///
/// # Errors
///
/// What the drawing library reports.
pub fn of_report(report: &EstimatorReport) -> std::result::Result<String, Box<dyn std::error::Error>> {
    let mut orders: Vec<usize> = report.rows.iter().map(|row| row.order).filter(|&order| order > 0).collect();
    orders.sort_unstable();
    orders.dedup();
    if orders.is_empty() {
        orders.push(0);
    }
    let names = names(report);
    let panel = |order: usize, name: &str, y: &Axis, quantity: fn(&Row) -> Option<Interval>| {
        let line = |name: &String| {
            let rows = report.rows.iter().filter(|row| row.order == order && row.estimator == *name);
            Line::with_intervals(name, rows.filter_map(|row| Some((row.samples as f64, quantity(row)?))))
        };
        let what = ["value", "gradient", "Hessian", "third derivative"][order.min(3)];
        Panel {
            title: format!("{what}: {name}"),
            x: Axis::logarithmic("trajectories"),
            y: y.clone(),
            lines: names.iter().map(line).collect(),
        }
    };
    let (error, cosine) = (Axis::logarithmic("relative error"), Axis::linear("cosine").within(-0.2, 1.05));
    let errors = orders.iter().map(|&order| panel(order, "error / length of the truth", &error, Row::relative_error));
    let cosines = orders.iter().map(|&order| panel(order, "cosine with the truth", &cosine, |row| row.cosine));
    picture(&[errors.collect(), cosines.collect()])
}

/// Each estimator once, in the report's order.
fn names(report: &EstimatorReport) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for row in &report.rows {
        if !names.contains(&row.estimator) {
            names.push(row.estimator.clone());
        }
    }
    names
}
