//! What Farquhar et al. 2019 say about their estimator, and whether it holds here.

use crate::experiment::{Kind, Problem, Series, Study};
use crate::statistics::{Statistic, correlation, deviation, difference, over_mdps, squared_bias};

/// A sentence with its numbers.
pub struct Claim {
    pub sentence: String,
    pub numbers: String,
    pub verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Holds,
    Undecided,
    Fails,
}

const MAO: Kind = Kind::Loaded { lambda: 1.0, tau: 1.0 };
const OURS: Kind = Kind::Loaded { lambda: 1.0, tau: 0.0 };
const LVC: Kind = Kind::Loaded { lambda: 0.0, tau: 1.0 };

pub fn claims(problems: &[Problem], all: &[Series]) -> Vec<Claim> {
    let judge = Judge { problems, all };
    let batches = || all.iter().filter(|series| series.study == Study::Batch).map(|series| series.batch);
    let (smallest, largest) = (batches().min().unwrap_or(0), batches().max().unwrap_or(0));
    let at = |kind, batch| judge.find(Study::Batch, kind, batch);
    let mut claims = Vec::new();

    // The figure of correlations.
    for order in 1..=3 {
        let [dice, mao, ours] = [Kind::Dice, MAO, OURS].map(|kind| at(kind, largest));
        claims.push(judge.greater("correlation", correlation, mao, dice, order));
        claims.push(judge.greater("correlation", correlation, ours, mao, order));
    }
    claims.push(judge.equal(at(LVC, largest), at(MAO, largest), 1));
    for order in 2..=3 {
        claims.push(judge.greater("correlation", correlation, at(OURS, largest), at(LVC, largest), order));
        if smallest < largest {
            claims.push(judge.greater("correlation", correlation, at(OURS, largest), at(OURS, smallest), order));
        }
    }

    // Less λ: less variance, more bias, and nothing at first order. (The third order's bias is largest in between.)
    let lambda = |lambda| judge.find_any(Study::Lambda, Kind::Loaded { lambda, tau: 0.0 });
    claims.push(judge.equal(lambda(0.0), lambda(1.0), 1));
    claims.push(judge.greater("squared bias", squared_bias, lambda(0.0), lambda(0.5), 2));
    claims.push(judge.greater("squared bias", squared_bias, lambda(0.5), lambda(1.0), 2));
    claims.push(judge.greater("squared bias", squared_bias, lambda(0.0), lambda(1.0), 3));
    for order in 2..=3 {
        claims.push(judge.greater("standard deviation", deviation, lambda(0.5), lambda(0.0), order));
        claims.push(judge.greater("standard deviation", deviation, lambda(1.0), lambda(0.5), order));
    }

    // Less τ, with a critic that is wrong: the same, at first order too. (The deviation is least in between.)
    let tau = |tau| judge.find_any(Study::Tau, Kind::Loaded { lambda: 1.0, tau });
    for order in 1..=2 {
        claims.push(judge.greater("squared bias", squared_bias, tau(0.0), tau(0.5), order));
        claims.push(judge.greater("squared bias", squared_bias, tau(0.5), tau(1.0), order));
    }
    for order in 1..=3 {
        claims.push(judge.greater("standard deviation", deviation, tau(1.0), tau(0.5), order));
        claims.push(judge.greater("standard deviation", deviation, tau(1.0), tau(0.0), order));
    }
    claims
}

struct Judge<'a> {
    problems: &'a [Problem],
    all: &'a [Series],
}

impl<'a> Judge<'a> {
    fn find(&self, study: Study, kind: Kind, batch: usize) -> &'a Series {
        let mut series = self.all.iter().filter(|series| series.study == study && series.kind == kind);
        series.find(|series| series.batch == batch).expect("every study has all its series")
    }

    fn find_any(&self, study: Study, kind: Kind) -> &'a Series {
        let mut series = self.all.iter();
        series.find(|series| series.study == study && series.kind == kind).expect("every study has all its series")
    }

    /// That a statistic is greater of the first series than of the second.
    fn greater(&self, what: &str, statistic: Statistic, a: &Series, b: &Series, order: usize) -> Claim {
        let interval = difference(statistic, a, b, self.problems, order);
        let verdict = match (interval.low > 0.0, interval.high < 0.0) {
            (true, _) => Verdict::Holds,
            (_, true) => Verdict::Fails,
            _ => Verdict::Undecided,
        };
        let [first, second] = [a, b].map(|series| over_mdps(statistic, series, self.problems, order));
        let names = |series: &Series| match a.batch == b.batch {
            true => series.label(),
            false => format!("{} at batch {}", series.label(), series.batch),
        };
        Claim {
            sentence: format!("order {order}: {what} of {} > {}", names(a), names(b)),
            numbers: format!(
                "{first:.3} > {second:.3}, difference {:.3} [{:.3}, {:.3}]",
                interval.value, interval.low, interval.high
            ),
            verdict,
        }
    }

    /// That two estimators are one, on every batch.
    fn equal(&self, a: &Series, b: &Series, order: usize) -> Claim {
        let pairs = a.estimates.iter().flatten().zip(b.estimates.iter().flatten());
        let entries = pairs.flat_map(|(a, b)| a[order - 1].iter().zip(&b[order - 1]));
        let (mut largest, mut scale) = (0.0_f64, 0.0_f64);
        for (a, b) in entries {
            (largest, scale) = (largest.max((a - b).abs()), scale.max(a.abs()));
        }
        Claim {
            sentence: format!("order {order}: {} = {}, on every batch", a.label(), b.label()),
            numbers: format!("largest difference {largest:.1e}, largest entry {scale:.1e}"),
            verdict: if largest <= 1e-10 * scale { Verdict::Holds } else { Verdict::Fails },
        }
    }
}
