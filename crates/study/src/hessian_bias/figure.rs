//! The pictures: accuracies and exact Hessian biases as bars, or accuracies against ε or N as lines.

use crate::lines::{Axis, COLOURS, Line, Panel, picture};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use rl::report::Interval;

use super::accuracy::{Accuracy, Experiment};
use crate::exact::Row;
use crate::statistics::mean_with_error;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Outcome = Result<(), Box<dyn std::error::Error>>;
type Picture = Result<String, Box<dyn std::error::Error>>;

/// Gradient and Hessian against ε, or against N, for the estimators of the paper and two more: means over the MDPs, with
/// one standard error on either side.
pub fn lines(experiment: &Experiment, accuracies: &[Accuracy], samples: bool) -> Picture {
    let panel = |(order, what): (usize, &str)| {
        let line = |name: &str| {
            let rows = accuracies.iter().filter(|row| row.estimator == name && row.order == order);
            let point = |row: &Accuracy| {
                let at = if samples { row.samples as f64 } else { row.epsilon };
                (at, mean_with_error(&row.correlations))
            };
            Line::with_intervals(name, rows.map(point))
        };
        let (place, x) = if samples {
            (format!("ε = {}", experiment.epsilons[0]), Axis::logarithmic("trajectories N"))
        } else {
            (format!("N = {}", experiment.samples[0]), Axis::linear("ε, the distance of π from μ"))
        };
        let names = ["is", "dr", "dr_q", "dr_truncated", "lvc", "taypo2", "taypo3"];
        Panel {
            title: format!("{what}, {place}"),
            x,
            y: Axis::linear("correlation with the truth").within(-0.05, 1.02),
            lines: names.map(line).into(),
        }
    };
    let panels = [(1, "gradient"), (2, "Hessian")].map(panel);
    picture(&[panels.into()])
}

/// The height of an estimator's row, and the width of the names beside the rows.
const ROW: i32 = 26;
const NAMES: i32 = 150;

/// A row for each estimator: gradient and Hessian at each ε, and the exact bias of the Hessian.
pub fn bars(experiment: &Experiment, accuracies: &[Accuracy], exact: &[Row]) -> Picture {
    let mut svg = String::new();
    draw(&mut svg, experiment, accuracies, exact)?;
    Ok(svg)
}

fn draw(svg: &mut String, experiment: &Experiment, accuracies: &[Accuracy], exact: &[Row]) -> Outcome {
    let biases: Vec<&Row> = exact.iter().filter(|row| row.policy == "on" && row.bias.order == 2).collect();
    let (top, bottom) = (64, 40);
    let height = top + bottom + ROW * biases.len() as i32;
    let root = SVGBackend::with_string(svg, (NAMES as u32 + 1050, height as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    let (names, panels) = root.split_horizontally(NAMES);
    for (n, row) in biases.iter().enumerate() {
        let style = ("sans-serif", 14).into_text_style(&names).pos(right_middle());
        names.draw_text(&row.estimator, &style, (NAMES - 4, top + ROW * n as i32 + ROW / 2))?;
    }
    let panels = panels.split_evenly((1, 3));
    let samples = experiment.samples.last().copied().unwrap_or_default();
    for (panel, order, what) in [(&panels[0], 1, "gradient"), (&panels[1], 2, "Hessian")] {
        let frame = Frame::new(panel, [top, bottom], biases.len(), [0.0, 1.0])?;
        frame.title(&format!("{what}: correlation with the truth, N = {samples}"))?;
        for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
            frame.tick(tick, &tick.to_string())?;
        }
        let count = experiment.epsilons.len();
        for (i, epsilon) in experiment.epsilons.iter().enumerate() {
            frame.key(
                i,
                &format!("ε = {epsilon}{}", if *epsilon == 0.0 { ", on policy" } else { "" }),
                COLOURS[i % 8],
            )?;
            for (n, bias) in biases.iter().enumerate() {
                let here = accuracies.iter().find(|row| {
                    row.estimator == bias.estimator
                        && (row.order, row.samples) == (order, samples)
                        && row.epsilon == *epsilon
                });
                let Some(row) = here else { continue };
                let Interval { value, low, high } = mean_with_error(&row.correlations);
                frame.bar(n, [i, count], value, COLOURS[i % 8])?;
                frame.whisker(n, [i, count], [low, high])?;
            }
        }
    }
    // Logarithms of biases; of one that is 0 there is no bar.
    let frame = Frame::new(&panels[2], [top, bottom], biases.len(), [-5.0, 1.0])?;
    frame.title("Hessian: exact bias on policy, by enumeration")?;
    frame.key(0, "claims to be unbiased", COLOURS[2])?;
    frame.key(1, "does not", COLOURS[4])?;
    for power in -5..=1 {
        frame
            .tick(f64::from(power), &if power < -2 { format!("1e{power}") } else { 10_f64.powi(power).to_string() })?;
    }
    for (n, row) in biases.iter().enumerate() {
        let (colour, size) = (COLOURS[if row.bias.claimed { 2 } else { 4 }], row.bias.max_abs_bias);
        if row.bias.vanishes() {
            frame.word(n, "0", colour)?;
        } else {
            frame.bar(n, [0, 1], size.log10(), colour)?;
        }
    }
    root.present()?;
    Ok(())
}

/// A panel with a horizontal bar, or several, in each of its rows.
struct Frame<'a, 'b> {
    area: &'a Area<'b>,
    top: i32,
    rows: i32,
    range: [f64; 2],
}

impl<'a, 'b> Frame<'a, 'b> {
    const WIDTH: i32 = 320;
    const LEFT: i32 = 8;

    fn new(
        area: &'a Area<'b>,
        [top, _]: [i32; 2],
        rows: usize,
        range: [f64; 2],
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let frame = Self { area, top, rows: rows as i32, range };
        // Every second row on a grey ground, that the eye may follow it to its name.
        for row in (0..frame.rows).step_by(2) {
            let corners = [(0, frame.at(row)), (Self::LEFT + Self::WIDTH, frame.at(row + 1))];
            area.draw(&Rectangle::new(corners, RGBColor(244, 244, 244).filled()))?;
        }
        Ok(frame)
    }

    /// Where a row begins.
    fn at(&self, row: i32) -> i32 {
        self.top + ROW * row
    }

    fn across(&self, x: f64) -> i32 {
        let [low, high] = self.range;
        Self::LEFT + (f64::from(Self::WIDTH) * (x.clamp(low, high) - low) / (high - low)).round() as i32
    }

    fn title(&self, text: &str) -> Outcome {
        Ok(self.area.draw(&Text::new(text.to_owned(), (Self::LEFT, 10), ("sans-serif", 15)))?)
    }

    fn key(&self, number: usize, text: &str, colour: RGBColor) -> Outcome {
        let x = Self::LEFT + 155 * number as i32;
        self.area.draw(&Rectangle::new([(x, 38), (x + 10, 48)], colour.filled()))?;
        Ok(self.area.draw(&Text::new(text.to_owned(), (x + 16, 37), ("sans-serif", 13)))?)
    }

    fn tick(&self, x: f64, text: &str) -> Outcome {
        let (x, end) = (self.across(x), self.at(self.rows));
        self.area.draw(&PathElement::new([(x, self.top), (x, end + 4)], RGBColor(200, 200, 200)))?;
        let style = ("sans-serif", 13).into_text_style(self.area).pos(top_middle());
        Ok(self.area.draw_text(text, &style, (x, end + 8))?)
    }

    /// Bar `i` of `count` in a row: its upper and lower end.
    fn heights(&self, row: usize, [i, count]: [usize; 2]) -> [i32; 2] {
        let height = (ROW - 8) / count as i32;
        let top = self.at(row as i32) + 4 + height * i as i32;
        [top, top + height]
    }

    fn bar(&self, row: usize, place: [usize; 2], x: f64, colour: RGBColor) -> Outcome {
        let [top, bottom] = self.heights(row, place);
        Ok(self.area.draw(&Rectangle::new([(Self::LEFT, top), (self.across(x), bottom)], colour.filled()))?)
    }

    fn whisker(&self, row: usize, place: [usize; 2], ends: [f64; 2]) -> Outcome {
        let [top, bottom] = self.heights(row, place);
        let y = (top + bottom) / 2;
        Ok(self.area.draw(&PathElement::new(ends.map(|x| (self.across(x), y)), BLACK))?)
    }

    fn word(&self, row: usize, text: &str, colour: RGBColor) -> Outcome {
        let style = ("sans-serif", 14).into_text_style(self.area).color(&colour).pos(left_middle());
        Ok(self.area.draw_text(text, &style, (Self::LEFT + 4, self.at(row as i32) + ROW / 2))?)
    }
}

fn right_middle() -> Pos {
    Pos::new(HPos::Right, VPos::Center)
}

fn left_middle() -> Pos {
    Pos::new(HPos::Left, VPos::Center)
}

fn top_middle() -> Pos {
    Pos::new(HPos::Center, VPos::Top)
}
