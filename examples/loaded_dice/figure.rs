//! The picture: correlations against batch size above, the sweeps of λ and τ below.

use study::lines::{Axis, Line, Panel};

use crate::experiment::{Kind, Problem, Series, Study};
use crate::measures::{Statistic, bias, correlation, deviation, over_mdps};

pub fn panels(problems: &[Problem], all: &[Series]) -> Vec<Vec<Panel>> {
    let of_study = |study: Study| all.iter().filter(move |series| series.study == study);
    let smallest = of_study(Study::Batch).map(|series| series.batch).min();
    let batches = |order: usize| {
        let line = |first: &Series| {
            let same = of_study(Study::Batch).filter(|series| series.kind == first.kind);
            let point = |series: &Series| (series.batch as f64, over_mdps(correlation, series, problems, order));
            Line::new(first.label(), same.map(point))
        };
        Panel {
            title: format!("order {order}"),
            x: Axis::logarithmic("trajectories"),
            y: Axis::linear("correlation with the truth").within(-0.1, 1.02),
            lines: of_study(Study::Batch).filter(|series| Some(series.batch) == smallest).map(line).collect(),
        }
    };
    let sweep = |study: Study, what: &str, statistic: Statistic| {
        let line = |order: usize| {
            let point = |series: &Series| {
                let Kind::Loaded { lambda, tau } = series.kind else { return None };
                let x = if study == Study::Lambda { lambda } else { tau };
                Some((x, over_mdps(statistic, series, problems, order)))
            };
            Line::new(format!("order {order}"), of_study(study).filter_map(point))
        };
        let (title, axis) = match study {
            Study::Tau => ("λ = 1, noisy critic", "τ"),
            _ => ("τ = 0, exact critic", "λ"),
        };
        Panel {
            title: format!("{what}, {title}"),
            x: Axis::linear(axis),
            y: Axis::logarithmic(what),
            lines: (1..=3).map(line).collect(),
        }
    };
    let traded = |study: Study| [sweep(study, "bias", bias), sweep(study, "standard deviation", deviation)];
    vec![(1..=3).map(batches).collect(), [Study::Lambda, Study::Tau].map(traded).concat()]
}
