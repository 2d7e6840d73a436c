//! The picture: a row for each comparison, with what is earned by update, and the cosine with the exact meta-gradient.

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
        // A hundred updates are as many as can be seen.
        let updates = results.study.updates;
        let drawn: Vec<usize> = (0..updates).step_by(updates.div_ceil(100)).collect();
        vec![
            Panel {
                title: title.to_owned(),
                x: Axis::linear("update"),
                y: Axis::linear("reward per step").within(-2.1, -0.9),
                lines: (lines.iter())
                    .map(|one| {
                        let at =
                            |&update: &usize| (update, one.returns.iter().map(|of_seed| of_seed[update]).collect());
                        line(one, drawn.iter().map(at))
                    })
                    .collect(),
            },
            Panel {
                title: "at the same parameters".to_owned(),
                x: Axis::linear("update"),
                y: Axis::linear("cosine with the exact meta-gradient").within(-0.2, 1.02),
                lines: (lines.iter())
                    .map(|one| {
                        let of_points = |i: usize| one.correlations.iter().map(|of_seed| of_seed.cosine[i]).collect();
                        line(
                            one,
                            results.study.points().into_iter().enumerate().map(|(i, update)| (update, of_points(i))),
                        )
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

/// Means over seeds with standard errors, of the numbers at each update.
fn line(of: &Measured, numbers: impl Iterator<Item = (usize, Vec<f64>)>) -> Line {
    let points = numbers.map(|(update, of_seeds)| (update as f64, mean_with_error(&of_seeds)));
    Line::with_intervals(of.variant.name.clone(), points)
}
