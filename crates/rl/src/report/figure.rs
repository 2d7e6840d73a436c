//! A report as a picture: for each order a column, with relative errors above and cosines below, against N.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

use super::{EstimatorReport, Interval, Row};

/// Colours that stay apart for colour-blind readers (Okabe and Ito).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
    RGBColor(200, 190, 40),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Outcome = Result<(), Box<dyn std::error::Error>>;

pub fn draw(report: &EstimatorReport) -> Result<String, Box<dyn std::error::Error>> {
    let mut orders: Vec<usize> = report.rows.iter().map(|row| row.order).filter(|&order| order > 0).collect();
    orders.sort_unstable();
    orders.dedup();
    if orders.is_empty() {
        orders.push(0);
    }
    let mut picture = String::new();
    {
        let size = (420 * orders.len() as u32 + 170, 640);
        let root = SVGBackend::with_string(&mut picture, size).into_drawing_area();
        root.fill(&WHITE)?;
        let (panels, key) = root.split_horizontally(420 * orders.len() as u32);
        let (above, below) = panels.split_vertically(320);
        let names = names(report);
        for (column, &order) in orders.iter().enumerate() {
            let what = ["value", "gradient", "Hessian", "third derivative"][order.min(3)];
            let of = |quantity: fn(&Row) -> Option<Interval>| -> Vec<Vec<(f64, Interval)>> {
                let series = |name: &String| {
                    let rows = report.rows.iter().filter(|row| row.order == order && row.estimator == *name);
                    rows.filter_map(|row| Some((row.samples as f64, quantity(row)?))).collect()
                };
                names.iter().map(series).collect()
            };
            let errors = of(|row| row.relative_error().filter(|error| error.value > 0.0));
            let area = &above.split_evenly((1, orders.len()))[column];
            panel(area, &format!("{what}: error / length of the truth"), &errors, log_range(&errors).log_scale())?;
            let cosines = of(|row| row.cosine);
            let area = &below.split_evenly((1, orders.len()))[column];
            panel(area, &format!("{what}: cosine with the truth"), &cosines, -0.2..1.05)?;
        }
        legend(&key, &names)?;
        root.present()?;
    }
    Ok(picture)
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

/// From a little below the smallest value to a little above the largest.
fn log_range(series: &[Vec<(f64, Interval)>]) -> std::ops::Range<f64> {
    let values = || series.iter().flatten().map(|(_, interval)| interval.value);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    if high > 0.0 { low / 1.5..high * 1.5 } else { 0.1..1.0 }
}

fn panel<Y>(area: &Area<'_>, title: &str, series: &[Vec<(f64, Interval)>], range: Y) -> Outcome
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let samples = || series.iter().flatten().map(|(samples, _)| *samples);
    let (first, last) = (samples().fold(f64::INFINITY, f64::min), samples().fold(1.0, f64::max));
    let first = first.min(last);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(34)
        .y_label_area_size(52)
        .build_cartesian_2d((first / 1.3..last * 1.3).log_scale(), range)?;
    chart.configure_mesh().max_light_lines(1).x_desc("trajectories").label_style(("sans-serif", 13)).draw()?;
    let (low, high) = {
        let range = chart.y_range();
        (range.start, range.end)
    };
    let visible = |y: f64| y.clamp(low, high);
    for (i, points) in series.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        chart
            .draw_series(LineSeries::new(points.iter().map(|&(x, y)| (x, visible(y.value))), colour.stroke_width(2)))?;
        for &(x, y) in points {
            let bar = vec![(x, visible(y.low)), (x, visible(y.high))];
            chart.draw_series([PathElement::new(bar, colour)])?;
            chart.draw_series([Circle::new((x, visible(y.value)), 3, style(i, colour))])?;
        }
    }
    Ok(())
}

/// Filled, and hollow where the colours begin again.
fn style(i: usize, colour: RGBColor) -> ShapeStyle {
    if (i / COLOURS.len()).is_multiple_of(2) { colour.filled() } else { colour.stroke_width(1) }
}

fn legend(area: &Area<'_>, names: &[String]) -> Outcome {
    for (i, name) in names.iter().enumerate() {
        let (colour, y) = (COLOURS[i % COLOURS.len()], 44 + 20 * i as i32);
        area.draw(&PathElement::new(vec![(4, y), (24, y)], colour.stroke_width(2)))?;
        area.draw(&Circle::new((14, y), 3, style(i, colour)))?;
        area.draw(&Text::new(name.clone(), (30, y - 6), ("sans-serif", 13)))?;
    }
    Ok(())
}
