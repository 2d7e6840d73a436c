//! The picture: errors against N with their closed forms, where ascent ends against N, and its course at the largest N.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::problem::ESTIMATORS;
use crate::study::{Curve, Errors};

/// Colours that stay apart for colour-blind readers (Okabe and Ito).
const COLOURS: [RGBColor; 3] = [RGBColor(213, 94, 0), RGBColor(0, 114, 178), RGBColor(0, 158, 115)];
const NAMES: [&str; 3] = ["score function", "linearised", "path-wise"];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A line (or dots) for one estimator.
struct Series {
    estimator: usize,
    dots: bool,
    points: Vec<(f64, f64)>,
}

pub fn draw(path: &Path, cells: &[Errors], curves: &[Curve]) -> Outcome {
    let root = SVGBackend::new(path, (1200, 380)).into_drawing_area();
    root.fill(&WHITE)?;
    let panels = root.split_evenly((1, 3));

    let start: Vec<&Errors> = cells.iter().filter(|cell| cell.theta == crate::START).collect();
    let errors = (0..3).flat_map(|i| {
        let exact = start.iter().map(|cell| (cell.n as f64, ESTIMATORS[i].exact_mse(cell.theta, cell.n)));
        let sampled = start.iter().map(|cell| (cell.n as f64, crate::mean_and_std(&cell.squared(i)).0));
        [(false, exact.collect::<Vec<_>>()), (true, sampled.collect())].map(|(dots, points)| Series {
            estimator: i,
            dots,
            points,
        })
    });
    let title = "mean squared error at θ = 0: closed form, sampled (dots)";
    logarithmic(&panels[0], title, ("N", "error"), &errors.collect::<Vec<_>>())?;

    let batch = curves[0].batch;
    let ends = (0..3).flat_map(|i| {
        let here = curves.iter().filter(|curve| curve.estimator == ESTIMATORS[i] && curve.batch == batch);
        let points: Vec<(f64, f64)> =
            here.map(|curve| (curve.n as f64, -curve.mean.last().expect("at least the start"))).collect();
        [false, true].map(|dots| Series { estimator: i, dots, points: points.clone() })
    });
    let title = format!("−L after {} steps, batch {batch}", curves[0].mean.len() - 1);
    logarithmic(&panels[1], &title, ("N", "−L"), &ends.collect::<Vec<_>>())?;

    let last = curves.iter().filter(|curve| curve.batch == batch).map(|curve| curve.n).max().unwrap_or_default();
    course(&panels[2], curves.iter().filter(|curve| curve.batch == batch && curve.n == last), last)?;
    root.present()?;
    Ok(())
}

fn logarithmic(area: &Area<'_>, title: &str, (x_name, y_name): (&str, &str), series: &[Series]) -> Outcome {
    let all = || series.iter().flat_map(|series| &series.points).copied().filter(|(_, y)| *y > 0.0);
    let range = |values: &mut dyn Iterator<Item = f64>| {
        let (low, high) = values.fold((f64::MAX, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
        low * 0.7..high * 1.6
    };
    let (x, y) = (range(&mut all().map(|(x, _)| x)), range(&mut all().map(|(_, y)| y)));
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(x.log_scale(), y.log_scale())?;
    let label = |value: &f64| format!("{value}");
    chart
        .configure_mesh()
        .x_desc(x_name)
        .y_desc(y_name)
        .max_light_lines(1)
        .x_label_formatter(&label)
        .y_label_formatter(&label)
        .label_style(("sans-serif", 13))
        .draw()?;
    for Series { estimator, dots, points } in series {
        let colour = COLOURS[*estimator];
        if *dots {
            chart.draw_series(points.iter().map(|&point| Circle::new(point, 3, colour.filled())))?;
        } else {
            let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
            let drawn = chart.draw_series(line)?.label(NAMES[*estimator]);
            drawn.legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .label_font(("sans-serif", 13))
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(())
}

/// L over the steps, mean and standard deviation over repeats.
fn course<'a>(area: &Area<'_>, curves: impl Iterator<Item = &'a Curve> + Clone, n: usize) -> Outcome {
    let steps = curves.clone().map(|curve| curve.mean.len() - 1).max().unwrap_or(1);
    let low = curves.clone().flat_map(|curve| &curve.mean).fold(-1.0_f64, |low, &x| low.min(x));
    let mut chart = ChartBuilder::on(area)
        .caption(format!("L during ascent, mean and std, N = {n}"), ("sans-serif", 16))
        .margin(12)
        .margin_right(24)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..steps as f64, low * 1.5..0.1)?;
    chart
        .configure_mesh()
        .x_desc("step")
        .y_desc("L")
        .x_labels(6)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{:.1}", y + 0.0))
        .max_light_lines(1)
        .label_style(("sans-serif", 13))
        .draw()?;
    for (curve, colour) in curves.zip(COLOURS) {
        let bounds = |sign: f64| {
            let values = curve.mean.iter().zip(&curve.std).map(move |(mean, std)| mean + sign * std);
            values.enumerate().map(|(step, y)| (step as f64, y.clamp(low * 1.5, 0.1))).collect::<Vec<_>>()
        };
        let band: Vec<(f64, f64)> = bounds(1.0).into_iter().chain(bounds(-1.0).into_iter().rev()).collect();
        chart.draw_series(std::iter::once(Polygon::new(band, colour.mix(0.15))))?;
        let line = curve.mean.iter().enumerate().map(|(step, &y)| (step as f64, y));
        chart.draw_series(LineSeries::new(line, colour.stroke_width(2)))?;
    }
    Ok(())
}
