//! The picture: errors against N with their closed forms, where ascent ends against N, and its course at the largest N.

use rl::report::Interval;
use study::lines::{Axis, Line, Panel};
use study::score_function_1d::experiment::{Curve, Errors};
use study::score_function_1d::problem::ESTIMATORS;
use study::statistics::mean_and_std;

const NAMES: [&str; 3] = ["score function", "linearised", "path-wise"];

pub fn panels(cells: &[Errors], curves: &[Curve]) -> Vec<Panel> {
    let start: Vec<&Errors> = cells.iter().filter(|cell| cell.theta == crate::START).collect();
    let errors = (0..3).flat_map(|i| {
        let sampled = start.iter().map(|cell| (cell.n as f64, mean_and_std(&cell.squared(i)).0));
        // So many points that the line is not marked, and what was sampled is.
        let (first, last) = (start[0].n as f64, start[start.len() - 1].n as f64);
        let numbers = (0..=100).map(|step| (first * (last / first).powf(f64::from(step) / 100.0)).round() as usize);
        let closed = numbers.map(|n| (n as f64, ESTIMATORS[i].exact_mse(crate::START, n)));
        [Line::new(NAMES[i], closed), Line::new(NAMES[i], sampled).dots()]
    });
    let batch = curves[0].batch;
    let here: Vec<&Curve> = curves.iter().filter(|curve| curve.batch == batch).collect();
    let of = |i: usize| here.iter().filter(move |curve| curve.estimator == ESTIMATORS[i]);
    let ends = (0..3).map(|i| {
        let end = |curve: &&Curve| (curve.n as f64, -curve.mean.last().expect("at least the start"));
        Line::new(NAMES[i], of(i).map(end))
    });
    let last = here.iter().map(|curve| curve.n).max().unwrap_or_default();
    let low =
        here.iter().filter(|curve| curve.n == last).flat_map(|curve| &curve.mean).fold(-1.0, |a: f64, &b| a.min(b));
    let courses = (0..3).flat_map(|i| {
        let course = |curve: &&Curve| {
            let moments = curve.mean.iter().zip(&curve.std);
            let interval = |(&value, &std): (&f64, &f64)| Interval { value, low: value - std, high: value + std };
            let points: Vec<_> = (0..).map(f64::from).zip(moments.map(interval)).collect();
            Line::with_intervals(NAMES[i], points)
        };
        of(i).filter(|curve| curve.n == last).map(course).collect::<Vec<_>>()
    });
    vec![
        Panel {
            title: "one estimate at θ = 0 (lines: closed forms)".to_owned(),
            x: Axis::logarithmic("N"),
            y: Axis::logarithmic("mean squared error"),
            lines: errors.collect(),
        },
        Panel {
            title: format!("after {} steps, batch {batch}", here[0].mean.len() - 1),
            x: Axis::logarithmic("N"),
            y: Axis::logarithmic("−L"),
            lines: ends.collect(),
        },
        Panel {
            title: format!("during ascent, N = {last}, mean and std"),
            x: Axis::linear("step"),
            y: Axis::linear("L").within(1.5 * low, 0.1),
            lines: courses.collect(),
        },
    ]
}
