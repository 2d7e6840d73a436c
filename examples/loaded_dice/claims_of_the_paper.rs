//! What Farquhar et al. 2019 say about their estimator and show in its demonstration, as differences that must be positive on
//! random MDPs: the same MDPs for both sides, and within a sweep the same trajectories. (That λ = τ = 1 is unbiased, and
//! λ = 1 with an exact critic, is proved by enumeration elsewhere.)

use crate::experiment::{Kind, Problem, Series, Study};
use crate::measures::{Statistic, bias, correlation, deviation, of_each, over_mdps, squared_bias_over_variance};
use rl::truth::max_abs;
use study::claims::{Claim, Claims};
use study::statistics::minus;

const MAO: Kind = Kind::Loaded { lambda: 1.0, tau: 1.0 };
const OURS: Kind = Kind::Loaded { lambda: 1.0, tau: 0.0 };
const LVC: Kind = Kind::Loaded { lambda: 0.0, tau: 1.0 };

pub fn claims(problems: &[Problem], all: &[Series]) -> Claims {
    let data = Data { problems, all };
    let mut claims = Claims::default();
    batches(&data, &mut claims);
    sweep_of_lambda(&data, &mut claims);
    sweep_of_tau(&data, &mut claims);
    claims
}

/// The figure of correlations against the number of trajectories.
fn batches(data: &Data<'_>, claims: &mut Claims) {
    let sizes = || data.all.iter().filter(|series| series.study == Study::Batch).map(|series| series.batch);
    let (smallest, largest) = (sizes().min().unwrap_or(0), sizes().max().unwrap_or(0));
    let at = |kind| data.find(Study::Batch, kind, largest);

    let claim = claims.claim(&format!(
        "A baseline helps at every order, and a critic in the advantages (τ = 0) more: {largest} trajectories"
    ));
    for order in 1..=3 {
        data.greater(claim, "correlation", correlation, [at(MAO), at(Kind::Dice)], order);
        data.greater(claim, "correlation", correlation, [at(OURS), at(MAO)], order);
    }
    let claim = claims.claim("LVC is the same at first order, on every batch");
    data.equal(claim, [at(LVC), at(MAO)], 1);
    let claim = claims.claim("and at higher orders wrong, while Loaded DiCE converges");
    for order in 2..=3 {
        data.greater(claim, "correlation", correlation, [at(OURS), at(LVC)], order);
        if smallest < largest {
            let few = data.find(Study::Batch, OURS, smallest);
            data.greater(claim, "correlation", correlation, [at(OURS), few], order);
        }
    }
}

fn sweep_of_lambda(data: &Data<'_>, claims: &mut Claims) {
    let at = |lambda| data.find_any(Study::Lambda, Kind::Loaded { lambda, tau: 0.0 });
    let claim = claims.claim("λ changes nothing at first order, on every batch");
    data.equal(claim, [at(0.0), at(1.0)], 1);
    let claim = claims.claim("Smaller λ: more bias at higher orders (squared, over the variance with λ = 1)");
    for [less, more] in [[0.0, 0.5], [0.5, 1.0]] {
        data.more_bias(claim, [at(less), at(more)], at(1.0), 2);
    }
    data.more_bias(claim, [at(0.0), at(1.0)], at(1.0), 3);
    let claim = claims.claim("and less variance");
    for order in 2..=3 {
        for [less, more] in [[0.0, 0.5], [0.5, 1.0]] {
            data.greater(claim, "std", deviation, [at(more), at(less)], order);
        }
    }
}

/// With a critic that is wrong.
fn sweep_of_tau(data: &Data<'_>, claims: &mut Claims) {
    let at = |tau| data.find_any(Study::Tau, Kind::Loaded { lambda: 1.0, tau });
    let claim = claims
        .claim("Smaller τ with a wrong critic: more bias, at first order too (squared, over the variance with τ = 1)");
    for order in 1..=3 {
        for [less, more] in [[0.0, 0.5], [0.5, 1.0]] {
            data.more_bias(claim, [at(less), at(more)], at(1.0), order);
        }
    }
    let claim = claims.claim("and less variance");
    for order in 1..=3 {
        for less in [0.0, 0.5] {
            data.greater(claim, "std", deviation, [at(1.0), at(less)], order);
        }
    }
}

/// Where what is traded does not rise or fall all the way.
pub fn remarks(problems: &[Problem], all: &[Series]) -> String {
    let data = Data { problems, all };
    let error = |series: &Series| over_mdps(bias, series, problems, 3);
    let spread = |series: &Series| -over_mdps(deviation, series, problems, 1);
    let first = |study: Study, measure: &dyn Fn(&Series) -> f64| {
        let series = data.all.iter().filter(|series| series.study == study);
        series.max_by(|a, b| measure(a).total_cmp(&measure(b))).expect("every study has all its series").label()
    };
    format!(
        "Over all λ and τ in the table above, the third order's bias is largest with {}, and with a wrong\n\
         critic the first order's standard deviation least with {}: it need not rise or fall all the way.",
        first(Study::Lambda, &error),
        first(Study::Tau, &spread)
    )
}

struct Data<'a> {
    problems: &'a [Problem],
    all: &'a [Series],
}

impl<'a> Data<'a> {
    fn find(&self, study: Study, kind: Kind, batch: usize) -> &'a Series {
        let mut series = self.all.iter().filter(|series| series.study == study && series.kind == kind);
        series.find(|series| series.batch == batch).expect("every study has all its series")
    }

    fn find_any(&self, study: Study, kind: Kind) -> &'a Series {
        let mut series = self.all.iter();
        series.find(|series| series.study == study && series.kind == kind).expect("every study has all its series")
    }

    /// That a statistic is greater of the first series than of the second.
    fn greater(&self, claim: &mut Claim, name: &str, statistic: Statistic, series: [&Series; 2], order: usize) {
        let [a, b] = series.map(|series| of_each(statistic, series, self.problems, order));
        let label = |of: &Series| match series[0].batch == series[1].batch {
            true => of.label(),
            false => format!("{} from {}", of.label(), of.batch),
        };
        claim.above(format!("order {order}: {name}, {} − {}", label(series[0]), label(series[1])), &minus(&a, &b));
    }

    /// That the first series' bias is the larger one; `unbiased` is one that has none.
    fn more_bias(&self, claim: &mut Claim, series: [&Series; 2], unbiased: &Series, order: usize) {
        let [a, b] = series.map(|series| squared_bias_over_variance(series, unbiased, order));
        claim.above(format!("order {order}: {} − {}", series[0].label(), series[1].label()), &minus(&a, &b));
    }

    /// That two estimators are one, on every batch.
    fn equal(&self, claim: &mut Claim, [a, b]: [&Series; 2], order: usize) {
        let pairs = a.estimates.iter().flatten().zip(b.estimates.iter().flatten());
        let entries = pairs.flat_map(|(a, b)| a[order - 1].iter().copied().zip(b[order - 1].iter().copied()));
        let (first, second): (Vec<f64>, Vec<f64>) = entries.unzip();
        let what = format!("order {order}: {} − {}, largest of all entries", a.label(), b.label());
        claim.equal(what, max_abs(&minus(&first, &second)) / max_abs(&first), 1e-10);
    }
}
