//! A picture of panels with lines: what is measured against one number, for several series.

use std::path::Path;

use plotters::prelude::*;

/// Colours that stay apart for colour-blind readers (Okabe and Ito).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
    RGBColor(90, 90, 90),
];

pub struct Panel {
    pub title: String,
    /// What runs along the x axis.
    pub axis: String,
    /// The marks of the x axis, evenly spaced.
    pub marks: Vec<String>,
    /// A name, and a number for each mark.
    pub series: Vec<(String, Vec<f64>)>,
}

/// Rows of panels, as many in each.
pub fn draw(path: &Path, rows: &[Vec<Panel>]) -> Result<(), Box<dyn std::error::Error>> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(1);
    let root = SVGBackend::new(path, (400 * columns as u32, 340 * rows.len() as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, row) in root.split_evenly((rows.len(), 1)).iter().zip(rows) {
        for (area, panel) in area.split_evenly((1, columns)).iter().zip(row) {
            lines(area, panel)?;
        }
    }
    root.present()?;
    Ok(())
}

fn lines(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    panel: &Panel,
) -> Result<(), Box<dyn std::error::Error>> {
    let last = panel.marks.len() as f64 - 1.0;
    let lowest = panel.series.iter().flat_map(|(_, y)| y).copied().fold(0.0, f64::min);
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(40)
        // The legend has room of its own, to the right of the last mark.
        .build_cartesian_2d(-0.2..last * 1.35 + 0.2, (lowest * 1.1)..1.02)?;
    // The library places marks of its own; only those at whole numbers up to the last have names.
    let mark = |x: &f64| {
        let whole = (x - x.round()).abs() < 1e-9 && *x >= 0.0;
        if whole { panel.marks.get(x.round() as usize).cloned().unwrap_or_default() } else { String::new() }
    };
    chart
        .configure_mesh()
        .x_labels(panel.marks.len() + 2)
        .x_label_formatter(&mark)
        .x_desc(&panel.axis)
        .y_labels(6)
        .max_light_lines(1)
        .label_style(("sans-serif", 12))
        .draw()?;
    for (i, (name, y)) in panel.series.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let points = || y.iter().enumerate().map(|(x, &y)| (x as f64, y));
        chart
            .draw_series(LineSeries::new(points(), colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2)));
        chart.draw_series(points().map(|point| Circle::new(point, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .label_font(("sans-serif", 12))
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(())
}
