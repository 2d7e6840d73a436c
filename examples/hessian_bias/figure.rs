//! The pictures: accuracies and exact Hessian biases as bars, or accuracies against ε or N as lines.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::accuracy::{Accuracy, Experiment};
use crate::exact::Row;

/// Colours that stay apart for colour-blind readers (Okabe and Ito).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
    RGBColor(0, 0, 0),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Gradient and Hessian against ε, or against N, for the estimators of the paper and two more: means over the MDPs with
/// their standard errors.
pub fn lines(path: &Path, experiment: &Experiment, accuracies: &[Accuracy], samples: bool) -> Outcome {
    let root = SVGBackend::new(path, (1000, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let panels = root.split_evenly((1, 2));
    let at = |row: &Accuracy| if samples { (row.samples as f64).log10() } else { row.epsilon };
    let first = accuracies.iter().map(at).fold(f64::INFINITY, f64::min);
    let last = accuracies.iter().map(at).fold(f64::NEG_INFINITY, f64::max);
    let margin = (last - first) * 0.03;
    let label = |x: &f64| if samples { format!("{:.0}", 10_f64.powf(*x)) } else { format!("{x:.1}") };
    for (panel, order, what) in [(&panels[0], 1, "gradient"), (&panels[1], 2, "Hessian")] {
        let lowest = accuracies.iter().filter(|row| row.order == order).map(Accuracy::mean).fold(0.0, f64::min);
        let place =
            if samples { format!("ε = {}", experiment.epsilons[0]) } else { format!("N = {}", experiment.samples[0]) };
        let mut chart = ChartBuilder::on(panel)
            .caption(format!("{what}: correlation with the truth, {place}"), ("sans-serif", 16))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(40)
            .build_cartesian_2d(first - margin..last + margin, lowest - 0.05..1.02)?;
        chart
            .configure_mesh()
            .max_light_lines(1)
            .x_labels(5)
            .x_label_formatter(&label)
            .x_desc(if samples { "trajectories N" } else { "ε, the distance of π from μ" })
            .label_style(("sans-serif", 13))
            .draw()?;
        let names = ["is", "dr", "dr_q", "dr_truncated", "lvc", "taypo2", "taypo3"];
        for (name, colour) in names.into_iter().zip(COLOURS) {
            let rows = accuracies.iter().filter(|row| row.estimator == name && row.order == order);
            let points: Vec<(f64, f64, f64)> =
                rows.map(|row| (at(row), row.mean(), row.std() / (row.correlations.len() as f64).sqrt())).collect();
            chart
                .draw_series(LineSeries::new(points.iter().map(|&(x, y, _)| (x, y)), colour.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
            let bar = |&(x, y, error): &(f64, f64, f64)| PathElement::new([(x, y - error), (x, y + error)], colour);
            chart.draw_series(points.iter().map(bar))?;
        }
        let position = if samples { SeriesLabelPosition::UpperLeft } else { SeriesLabelPosition::LowerLeft };
        let style = ("sans-serif", 13);
        chart.configure_series_labels().position(position).label_font(style).background_style(WHITE.mix(0.8)).draw()?;
    }
    root.present()?;
    Ok(())
}

/// Gradient and Hessian at each ε, and the exact bias of the Hessian, for every estimator.
pub fn bars(path: &Path, experiment: &Experiment, accuracies: &[Accuracy], exact: &[Row]) -> Outcome {
    let root = SVGBackend::new(path, (1200, 480)).into_drawing_area();
    root.fill(&WHITE)?;
    let panels = root.split_evenly((1, 3));
    let names: Vec<String> =
        exact.iter().filter(|row| row.policy == "on" && row.bias.order == 2).map(|row| row.estimator.clone()).collect();
    let samples = experiment.samples.last().copied().unwrap_or_default();
    for (panel, order, what) in [(&panels[0], 1, "gradient"), (&panels[1], 2, "Hessian")] {
        let title = format!("{what}: correlation with the truth, N = {samples}");
        let series: Vec<(String, Vec<f64>)> = (experiment.epsilons.iter())
            .map(|&epsilon| {
                let rows = accuracies
                    .iter()
                    .filter(|row| (row.order, row.samples) == (order, samples) && row.epsilon == epsilon);
                (format!("ε = {epsilon}"), rows.map(Accuracy::mean).collect())
            })
            .collect();
        // Above 1 there is only the legend.
        let label = |y: &f64| if *y > 1.0 { String::new() } else { format!("{y:.1}") };
        grouped(panel, &title, &names, (&series, &COLOURS[..]), 0.0..1.22, label)?;
    }
    // Logarithms of biases, from rounding to one, so that a proof of 0 shows as hardly a bar.
    let height = |bias: f64| (bias.max(1e-16).log10() + 16.0).max(0.0);
    let series = [(true, "claims the Hessian"), (false, "does not")].map(|(claimed, name)| {
        let biases = (exact.iter().filter(|row| row.policy == "on" && row.bias.order == 2))
            .map(|row| if row.bias.claimed == claimed { height(row.bias.max_abs_bias) } else { 0.0 });
        (name.to_owned(), biases.collect())
    });
    let title = "Hessian: exact bias, on policy, by enumeration";
    let label = |y: &f64| if *y > 16.0 { String::new() } else { format!("1e{:.0}", y - 16.0) };
    grouped(&panels[2], title, &names, (&series, &COLOURS[2..]), 0.0..19.0, label)?;
    root.present()?;
    Ok(())
}

/// Grouped bars: for each name one bar of each series.
fn grouped(
    area: &Area<'_>,
    title: &str,
    names: &[String],
    (series, colours): (&[(String, Vec<f64>)], &[RGBColor]),
    range: std::ops::Range<f64>,
    label: impl Fn(&f64) -> String,
) -> Outcome {
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(112)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..names.len() as f64, range.clone())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .y_labels(7)
        .max_light_lines(1)
        .y_label_formatter(&label)
        .label_style(("sans-serif", 13))
        .draw()?;
    let width = 0.8 / series.len() as f64;
    for (i, (name, heights)) in series.iter().enumerate() {
        let colour = colours[i % colours.len()];
        let bar = |(n, &height): (usize, &f64)| {
            let left = n as f64 + 0.1 + width * i as f64;
            Rectangle::new([(left, range.start), (left + width * 0.92, height.max(range.start))], colour.filled())
        };
        let drawn = chart.draw_series(heights.iter().enumerate().map(bar))?;
        if series.len() > 1 {
            drawn.label(name).legend(move |(x, y)| Rectangle::new([(x + 6, y - 5), (x + 16, y + 5)], colour.filled()));
        }
    }
    let plot = chart.plotting_area();
    for (n, name) in names.iter().enumerate() {
        let (x, y) = plot.map_coordinate(&(n as f64 + 0.5, range.start));
        let font = ("sans-serif", 13).into_font().transform(FontTransform::Rotate90);
        let (left, top) = area.get_base_pixel();
        area.draw_text(name, &font.into_text_style(area), (x - left + 6, y - top + 6))?;
    }
    if series.len() > 1 {
        let position = SeriesLabelPosition::UpperRight;
        chart
            .configure_series_labels()
            .position(position)
            .label_font(("sans-serif", 13))
            .background_style(WHITE)
            .draw()?;
    }
    Ok(())
}
