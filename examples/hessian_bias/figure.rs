//! The picture: accuracies as bars on the left, exact Hessian biases on the right.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::Exact;
use crate::accuracy::{Accuracy, Experiment};

/// Colours that stay apart for colour-blind readers (Okabe and Ito).
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(230, 159, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Outcome = Result<(), Box<dyn std::error::Error>>;

pub fn draw(path: &Path, experiment: &Experiment, accuracies: &[Accuracy], exact: &[Exact]) -> Outcome {
    let root = SVGBackend::new(path, (1200, 400)).into_drawing_area();
    root.fill(&WHITE)?;
    let panels = root.split_evenly((1, 3));
    let samples = experiment.samples.last().copied().unwrap_or_default();
    for (panel, order, what) in [(&panels[0], 1, "gradient"), (&panels[1], 2, "Hessian")] {
        let title = format!("{what}: correlation with the truth, N = {samples}");
        let series: Vec<(String, Vec<f64>)> = (experiment.epsilons.iter())
            .map(|&epsilon| {
                let rows = accuracies
                    .iter()
                    .filter(|row| (row.order, row.samples) == (order, samples) && row.epsilon == epsilon);
                (format!("ε = {epsilon}"), rows.map(|row| row.mean).collect())
            })
            .collect();
        // Above 1 there is only the legend.
        let label = |y: &f64| if *y > 1.0 { String::new() } else { format!("{y:.1}") };
        bars(panel, &title, &names(exact), (&series, &COLOURS[..]), 0.0..1.22, label)?;
    }
    // Logarithms of biases, from rounding to one, so that a proof of 0 shows as hardly a bar.
    let height = |bias: f64| (bias.max(1e-16).log10() + 16.0).max(0.0);
    let series = [(true, "claims the Hessian"), (false, "does not")].map(|(claimed, name)| {
        let biases = (exact.iter().filter(|row| row.policy == "on"))
            .filter_map(|row| row.biases.iter().find(|bias| bias.order == 2))
            .map(|bias| if bias.claimed == claimed { height(bias.max_abs_bias) } else { 0.0 });
        (name.to_owned(), biases.collect())
    });
    let title = "Hessian: exact bias, on policy, by enumeration";
    let label = |y: &f64| if *y > 16.0 { String::new() } else { format!("1e{:.0}", y - 16.0) };
    bars(&panels[2], title, &names(exact), (&series, &COLOURS[2..]), 0.0..19.0, label)?;
    root.present()?;
    Ok(())
}

fn names(exact: &[Exact]) -> Vec<String> {
    exact.iter().filter(|row| row.policy == "on").map(|row| row.estimator.clone()).collect()
}

/// Grouped bars: for each name one bar of each series.
fn bars(
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
        .x_label_area_size(36)
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
        let style = ("sans-serif", 13).into_text_style(area).pos(plotters::style::text_anchor::Pos::new(
            plotters::style::text_anchor::HPos::Center,
            plotters::style::text_anchor::VPos::Top,
        ));
        let (left, top) = area.get_base_pixel();
        area.draw_text(name, &style, (x - left, y - top + 8))?;
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
