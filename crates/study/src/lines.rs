//! Pictures of panels with lines: what is measured against one number, for several series, and one key for all of them.
//!
//! ```
//! use study::lines::{Axis, Line, Panel, picture};
//!
//! let line = Line::new("taypo2", [(10.0, 0.2), (100.0, 0.5), (1000.0, 0.8)]);
//! let panel = Panel {
//!     title: "Hessian".to_owned(),
//!     x: Axis::logarithmic("trajectories"),
//!     y: Axis::linear("correlation with the truth").within(0.0, 1.0),
//!     lines: vec![line],
//! };
//! let svg = picture(&[vec![panel]])?;
//! assert!(svg.starts_with("<svg"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;

use rl::report::Interval;

/// A chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// What stands above it.
    pub title: String,
    /// What is varied.
    pub x: Axis,
    /// What is measured.
    pub y: Axis,
    /// In the order in which they are drawn.
    pub lines: Vec<Line>,
}

/// What runs along an axis, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    name: String,
    logarithmic: bool,
    range: Option<[f64; 2]>,
}

impl Axis {
    /// An axis of evenly spaced numbers.
    pub fn linear(name: impl Into<String>) -> Self {
        Self { name: name.into(), logarithmic: false, range: None }
    }

    /// An axis of evenly spaced logarithms. Numbers that have none are not drawn.
    pub fn logarithmic(name: impl Into<String>) -> Self {
        Self { name: name.into(), logarithmic: true, range: None }
    }

    /// From where to where it runs, if not as far as the numbers do. What lies beyond is drawn at the border.
    pub fn within(self, low: f64, high: f64) -> Self {
        Self { range: Some([low, high]), ..self }
    }

    /// Where a number stands on the page, in units of the axis.
    fn place(&self, x: f64) -> f64 {
        if self.logarithmic { x.log10() } else { x }
    }

    /// The ends of the axis as places, for these numbers.
    fn ends(&self, numbers: impl Iterator<Item = f64>) -> [f64; 2] {
        if let Some(range) = self.range {
            return range.map(|x| self.place(x));
        }
        let places = numbers.map(|x| self.place(x)).filter(|place| place.is_finite());
        let (low, high) = places.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        if low > high {
            return [0.0, 1.0];
        }
        let margin = if high > low { 0.04 * (high - low) } else { 0.5 };
        [low - margin, high + margin]
    }

    /// Round numbers along the axis: places, and what is written there.
    fn marks(&self, [low, high]: [f64; 2]) -> Vec<(f64, String)> {
        let inside = |(place, _): &(f64, String)| (low - 1e-9..=high + 1e-9).contains(place);
        if self.logarithmic {
            // Powers of ten, with more between if there are few of them.
            let digits: &[i32] = match high - low {
                decades if decades > 2.5 => &[1],
                decades if decades > 0.8 => &[1, 2, 5],
                _ => &[1, 2, 3, 4, 5, 6, 7, 8, 9],
            };
            let step = ((high - low) / 8.0).ceil().max(1.0) as usize;
            let powers = (low.floor() as i32..=high.ceil() as i32).step_by(step);
            let mark = |power: i32, digit: i32| {
                let text = format!("{digit}e{power}");
                let number: f64 = text.parse().expect("a number");
                (number.log10(), if (-3..=5).contains(&power) { number.to_string() } else { text })
            };
            return powers
                .flat_map(|power| digits.iter().map(move |&digit| mark(power, digit)))
                .filter(inside)
                .collect();
        }
        let power = ((high - low) / 6.0).log10().floor() as i32;
        let candidates = [1, 2, 5, 10].map(|digit| f64::from(digit) * 10_f64.powi(power));
        let step = candidates.into_iter().find(|step| (high - low) / step <= 8.0).unwrap_or(high - low);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let marks = (low / step).ceil() as i64..=(high / step).floor() as i64;
        marks.map(|i| (i as f64 * step, format!("{:.decimals$}", i as f64 * step))).collect()
    }

    /// The numbers themselves as marks, if they are few.
    fn marks_at(&self, mut numbers: Vec<f64>) -> Option<Vec<(f64, String)>> {
        numbers.retain(|&x| self.place(x).is_finite());
        numbers.sort_unstable_by(f64::total_cmp);
        numbers.dedup();
        (numbers.len() <= 10).then(|| numbers.iter().map(|&x| (self.place(x), x.to_string())).collect())
    }
}

/// A series: lines of the same name have the same colour, and one place in the key.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    name: String,
    points: Vec<(f64, Interval)>,
    connected: bool,
    marked: bool,
}

/// With more points than this, intervals are a band, and points are not marked.
const MANY: usize = 20;

impl Line {
    /// Numbers without intervals.
    pub fn new(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let bare = |(x, y)| (x, Interval { value: y, low: y, high: y });
        Self::with_intervals(name, points.into_iter().map(bare))
    }

    /// Numbers with their intervals, as bars (or a band, if there are many).
    pub fn with_intervals(name: impl Into<String>, points: impl IntoIterator<Item = (f64, Interval)>) -> Self {
        Self { name: name.into(), points: points.into_iter().collect(), connected: true, marked: true }
    }

    /// The points alone, not connected.
    pub fn dots(self) -> Self {
        Self { connected: false, ..self }
    }

    /// The line alone: no points, no intervals.
    pub fn without_marks(self) -> Self {
        Self { marked: false, ..self }
    }

    /// Whether it is more than [`dots`](Self::dots).
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    fn is_long(&self) -> bool {
        self.points.len() > MANY
    }
}

/// Colours that stay apart for colour-blind readers (Okabe and Ito).
pub const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
    RGBColor(160, 130, 0),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Size of a panel.
const PANEL: (u32, u32) = (400, 320);

/// Rows of panels as SVG, with a key to the right of each row (only the first, if all rows have the same lines).
///
/// # Errors
///
/// What the drawing library reports.
pub fn picture(rows: &[Vec<Panel>]) -> Result<String, Box<dyn std::error::Error>> {
    let keys: Vec<Vec<&str>> = rows.iter().map(|row| names(row)).collect();
    let longest = keys.iter().flatten().map(|name| name.chars().count()).max().unwrap_or(0);
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0) as u32;
    let width = PANEL.0 * columns;
    let mut svg = String::new();
    {
        let size = (width + 50 + 8 * longest as u32, PANEL.1 * rows.len() as u32);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE)?;
        for (r, (area, row)) in root.split_evenly((rows.len(), 1)).iter().zip(rows).enumerate() {
            let (panels, key) = area.split_horizontally(width);
            for (area, panel) in panels.split_evenly((1, row.len())).iter().zip(row) {
                draw(area, panel, &keys[r])?;
            }
            if r == 0 || keys[r] != keys[0] {
                draw_key(&key, &keys[r])?;
            }
        }
        root.present()?;
    }
    Ok(svg)
}

/// Each name once, in the order of the lines.
fn names(row: &[Panel]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for line in row.iter().flat_map(|panel| &panel.lines) {
        if !names.contains(&line.name.as_str()) {
            names.push(&line.name);
        }
    }
    names
}

/// An axis as the drawing library wants it: from where to where, and its marks.
struct Ruler {
    ends: [f64; 2],
    marks: Vec<(f64, String)>,
}

impl Ranged for Ruler {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, (from, to): (i32, i32)) -> i32 {
        let [low, high] = self.ends;
        from + (f64::from(to - from) * (place - low) / (high - low)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // No finer lines between the marks.
        if hint.weight().allow_light_points() { vec![] } else { self.marks.iter().map(|(place, _)| *place).collect() }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.ends[0]..self.ends[1]
    }
}

impl ValueFormatter<f64> for Ruler {
    fn format_ext(&self, place: &f64) -> String {
        self.marks.iter().find(|(at, _)| at == place).map_or_else(String::new, |(_, text)| text.clone())
    }
}

fn draw(area: &Area<'_>, panel: &Panel, names: &[&str]) -> Outcome {
    let Panel { title, x, y, lines } = panel;
    let points = || lines.iter().flat_map(|line| &line.points);
    let (across, up) = (x.ends(points().map(|(x, _)| *x)), y.ends(points().map(|(_, y)| y.value)));
    let x_marks = x.marks_at(points().map(|(x, _)| *x).collect()).unwrap_or_else(|| x.marks(across));
    let y_marks = y.marks(up);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 15))
        .margin(12)
        .x_label_area_size(38)
        .y_label_area_size(58)
        .build_cartesian_2d(Ruler { ends: across, marks: x_marks }, Ruler { ends: up, marks: y_marks })?;
    chart
        .configure_mesh()
        .bold_line_style(RGBColor(220, 220, 220))
        .x_desc(&x.name)
        .y_desc(&y.name)
        .axis_desc_style(("sans-serif", 13))
        .label_style(("sans-serif", 12))
        .draw()?;
    let point = |at: f64, value: f64| (x.place(at), y.place(value).clamp(up[0], up[1]));
    for line in lines {
        let number = names.iter().position(|name| *name == line.name).expect("every line is in the key");
        let colour = COLOURS[number % COLOURS.len()];
        let exists = |(at, value): &&(f64, Interval)| x.place(*at).is_finite() && y.place(value.value).is_finite();
        let drawn = || line.points.iter().filter(exists);
        if line.is_long() && line.marked {
            let low = drawn().map(|(at, value)| point(*at, value.low));
            let high = drawn().rev().map(|(at, value)| point(*at, value.high));
            chart.draw_series([Polygon::new(low.chain(high).collect::<Vec<_>>(), colour.mix(0.15))])?;
        }
        if line.connected {
            let middle = drawn().map(|(at, value)| point(*at, value.value));
            let width = if line.marked { 2 } else { 1 };
            chart.draw_series(LineSeries::new(middle, colour.stroke_width(width)))?;
        }
        for (at, value) in drawn().filter(|_| line.marked && !line.is_long()) {
            if value.low < value.high {
                chart.draw_series([PathElement::new([point(*at, value.low), point(*at, value.high)], colour)])?;
            }
            chart.draw_series([Circle::new(point(*at, value.value), 3, mark(number))])?;
        }
    }
    Ok(())
}

/// Filled, and hollow where the colours begin again.
fn mark(number: usize) -> ShapeStyle {
    let colour = COLOURS[number % COLOURS.len()];
    if (number / COLOURS.len()).is_multiple_of(2) { colour.filled() } else { colour.stroke_width(1) }
}

fn draw_key(area: &Area<'_>, names: &[&str]) -> Outcome {
    for (number, name) in names.iter().enumerate() {
        let y = 44 + 20 * number as i32;
        let line = vec![(4, y), (24, y)];
        area.draw(&PathElement::new(line, COLOURS[number % COLOURS.len()].stroke_width(2)))?;
        area.draw(&Circle::new((14, y), 3, mark(number)))?;
        area.draw(&Text::new((*name).to_owned(), (30, y - 6), ("sans-serif", 13)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis, ends: [f64; 2]) -> Vec<String> {
        axis.marks(ends).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn marks_are_round_numbers_inside_the_axis() {
        let linear = Axis::linear("x");
        assert_eq!(texts(&linear, [0.0, 1.02]), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(texts(&linear, [-0.37, 0.12]), ["-0.3", "-0.2", "-0.1", "0.0", "0.1"]);
        assert_eq!(texts(&linear, [0.0, 100.0]), ["0", "20", "40", "60", "80", "100"]);
        let logarithmic = Axis::logarithmic("x");
        assert_eq!(texts(&logarithmic, [-1.1, 0.8]), ["0.1", "0.2", "0.5", "1", "2", "5"]);
        assert_eq!(texts(&logarithmic, [0.25, 0.65]), ["2", "3", "4"]);
        assert_eq!(texts(&logarithmic, [-17.0, 1.0]), ["1e-17", "1e-14", "1e-11", "1e-8", "1e-5", "0.01", "10"]);
        assert_eq!(logarithmic.marks_at(vec![16.0, 2.0, 16.0]).unwrap().len(), 2);
    }

    #[test]
    fn a_picture_has_each_name_once_and_no_number_that_is_none() {
        let panel = |title: &str| Panel {
            title: title.to_owned(),
            x: Axis::logarithmic("N"),
            y: Axis::logarithmic("error"),
            lines: vec![
                Line::new("alpha", [(1.0, 0.5), (2.0, 0.0), (4.0, f64::NAN)]),
                Line::new("alpha", [(1.0, 0.4)]).dots(),
                Line::with_intervals(
                    "beta",
                    (1..40).map(|i| (f64::from(i), Interval { value: 0.2, low: 0.1, high: 0.3 })),
                ),
            ],
        };
        let svg = picture(&[vec![panel("one"), panel("two")], vec![panel("three"), panel("four")]]).unwrap();
        assert_eq!((svg.matches("alpha").count(), svg.matches("beta").count()), (1, 1));
        for words in ["one", "four", "error"] {
            assert!(svg.contains(words), "{words}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
