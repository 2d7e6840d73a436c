//! The picture: a row for each comparison, with what is earned by update, and the cosine with the exact meta-gradient.

use rl::report::Interval;
use study::lines::{Axis, Line, Panel};
use study::lola_ipd::experiment::{Group, Measured};
use study::statistics::mean_with_error;

use crate::Results;

pub fn rows(results: &Results) -> Vec<Vec<Panel>> {
    let row = |title: &str, group: Group| {
        let shown = |one: &&Measured| one.variant.pairs > 0 && one.variant.group == group;
        let mut lines: Vec<&Measured> = results.measured.iter().filter(shown).collect();
        if group != Group::Batches {
            lines.insert(0, results.plain());
        }
        vec![
            Panel {
                title: title.to_owned(),
                x: Axis::linear("update"),
                y: Axis::linear("reward per step").within(-2.1, -0.9),
                lines: lines.iter().map(|one| line(one, (0..results.study.updates).collect(), &one.returns)).collect(),
            },
            Panel {
                title: "at the same parameters".to_owned(),
                x: Axis::linear("update"),
                y: Axis::linear("cosine with the exact meta-gradient").within(-0.2, 1.02),
                lines: (lines.iter())
                    .map(|one| {
                        let cosines: Vec<Vec<f64>> = one.correlations.iter().map(|one| one.cosine.clone()).collect();
                        line(one, results.study.points(), &cosines)
                    })
                    .collect(),
            },
        ]
    };
    vec![
        row("batches", Group::Batches),
        row("composition and Hessian", Group::Ablation),
        row("off policy", Group::OffPolicy),
        row("lookaheads", Group::Lookaheads),
    ]
}

/// Means over seeds with standard errors, at these updates.
fn line(of: &Measured, updates: Vec<usize>, numbers: &[Vec<f64>]) -> Line {
    let at = |(i, update): (usize, usize)| -> (f64, Interval) {
        (update as f64, mean_with_error(&numbers.iter().map(|of_seed| of_seed[i]).collect::<Vec<_>>()))
    };
    Line::with_intervals(of.variant.name.clone(), updates.into_iter().enumerate().map(at))
}
