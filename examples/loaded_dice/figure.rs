//! The picture: correlations against batch size above, the sweeps of λ and τ below.

use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

use crate::experiment::{Kind, Problem, Series, Study};
use crate::statistics::{Statistic, bias, correlation, deviation, over_mdps};

/// Colours that stay apart for colour-blind readers (Okabe and Ito).
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(230, 159, 0), RGBColor(0, 158, 115), RGBColor(213, 94, 0)];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A line: its name and its points.
type Line = (String, Vec<(f64, f64)>);

pub fn draw(path: &Path, problems: &[Problem], all: &[Series]) -> Outcome {
    let root = SVGBackend::new(path, (1200, 720)).into_drawing_area();
    root.fill(&WHITE)?;
    let (above, below) = root.split_vertically(360);
    for (area, order) in above.split_evenly((1, 3)).iter().zip(1..) {
        let mut lines: Vec<Line> = Vec::new();
        for series in all.iter().filter(|series| series.study == Study::Batch) {
            let point = (series.batch as f64, over_mdps(correlation, series, problems, order));
            match lines.iter_mut().find(|(name, _)| *name == series.label()) {
                Some((_, points)) => points.push(point),
                None => lines.push((series.label(), vec![point])),
            }
        }
        let batches = || all.iter().filter(|series| series.study == Study::Batch).map(|series| series.batch as f64);
        let range = batches().fold(f64::INFINITY, f64::min) / 1.5..batches().fold(0.0, f64::max) * 1.5;
        let title = format!("order {order}: correlation with the truth");
        panel(area, &title, "trajectories", &lines, range.log_scale(), -0.2..1.1, order == 1)?;
    }
    let sweeps = [(Study::Lambda, "λ (τ = 0, exact critic)"), (Study::Tau, "τ (λ = 1, noisy critic)")];
    let panels = sweeps.iter().flat_map(|sweep| [(sweep, "bias", bias as Statistic), (sweep, "std", deviation)]);
    for (area, ((study, axis), what, statistic)) in below.split_evenly((1, 4)).iter().zip(panels) {
        let line = |order: usize| {
            let points = all.iter().filter(|series| series.study == *study).filter_map(|series| {
                let Kind::Loaded { lambda, tau } = series.kind else { return None };
                let x = if *study == Study::Lambda { lambda } else { tau };
                Some((x, over_mdps(statistic, series, problems, order)))
            });
            (format!("order {order}"), points.collect())
        };
        let lines: Vec<Line> = (1..=3).map(line).collect();
        let highest = lines.iter().flat_map(|(_, points)| points).fold(0.0, |highest: f64, (_, y)| highest.max(*y));
        let range = 0.0..(highest * 1.1).max(1e-9);
        panel(area, what, axis, &lines, -0.05..1.05, range, what == "std" && *study == Study::Lambda)?;
    }
    root.present()?;
    Ok(())
}

fn panel<X>(
    area: &Area<'_>,
    title: &str,
    axis: &str,
    lines: &[Line],
    x: X,
    y: std::ops::Range<f64>,
    legend: bool,
) -> Outcome
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(x, y)?;
    chart.configure_mesh().max_light_lines(1).x_desc(axis).label_style(("sans-serif", 13)).draw()?;
    for ((name, points), colour) in lines.iter().zip(COLOURS) {
        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        let dots = points.iter().map(|&point| Circle::new(point, 4, colour.filled()));
        let drawn = chart.draw_series(dots)?;
        drawn.label(name).legend(move |(x, y)| Circle::new((x + 10, y), 4, colour.filled()));
    }
    if legend {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::MiddleLeft)
            .label_font(("sans-serif", 13))
            .background_style(WHITE.mix(0.8))
            .draw()?;
    }
    Ok(())
}
