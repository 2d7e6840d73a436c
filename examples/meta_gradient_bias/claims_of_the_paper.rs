//! What Liu et al. 2022 say about their figures 1 (a, b) and 4 to 6, as differences that must be positive. Where words leave
//! the measure open, it stands in the claim: "alike" is that neither of two gains is three times the other.

use crate::{Grid, Results};
use study::claims::{Claim, Claims};
use study::meta_gradient_bias::experiment::{ESTIMATORS, Measured};
use study::statistics::{mean_in_words, minus};
use study::tables::RATE;

const N: usize = Grid::FIXED_SAMPLES;

/// A place of the grid: trajectories, inner steps, rate.
type Place = (usize, usize, f64);

/// A weight, an estimator and a permutation.
type Term<'a> = (f64, &'a str, &'a str);

impl Results {
    /// For each process on which all were measured, the sum of weighted `numbers`, averaged over places.
    fn sum(&self, places: &[Place], terms: &[Term<'_>], numbers: fn(&Measured) -> &Vec<f64>) -> Vec<f64> {
        let columns: Vec<(f64, &Vec<f64>)> = (places.iter())
            .flat_map(|place| terms.iter().map(move |term| (place, term)))
            .map(|(&(samples, steps, rate), &(weight, estimator, permutation))| {
                let numbers = numbers(self.at(estimator, permutation, samples, steps, rate));
                (weight / places.len() as f64, numbers)
            })
            .collect();
        let processes = columns.iter().map(|(_, column)| column.len()).min().unwrap_or(0);
        (0..processes).map(|i| columns.iter().map(|(weight, column)| weight * column[i]).sum()).collect()
    }

    /// [`sum`](Self::sum) of correlations.
    fn correlations(&self, places: &[Place], terms: &[Term<'_>]) -> Vec<f64> {
        self.sum(places, terms, |measured| &measured.correlations)
    }

    /// [`sum`](Self::sum) of the sums of standard deviations.
    fn spreads(&self, places: &[Place], terms: &[Term<'_>]) -> Vec<f64> {
        self.sum(places, terms, |measured| &measured.deviations)
    }

    /// One permutation's correlation minus another's.
    fn gain(&self, places: &[Place], estimator: &str, better: &str, worse: &str) -> Vec<f64> {
        self.correlations(places, &[(1.0, estimator, better), (-1.0, estimator, worse)])
    }
}

/// Neither the gain of `one` nor that of `other` over `base` is three times the other.
fn comparable(results: &Results, claim: &mut Claim, estimator: &str, places: &[Place], [one, other, base]: [&str; 3]) {
    for (more, less) in [(one, other), (other, one)] {
        let terms = [(3.0, estimator, less), (-1.0, estimator, more), (-2.0, estimator, base)];
        let what = format!("{estimator}: 3({less} − {base}) − ({more} − {base})");
        claim.above(what, &results.correlations(places, &terms));
    }
}

pub fn claims(results: &Results) -> Claims {
    let mut claims = Claims::default();
    one_step(results, &mut claims);
    many_steps(results, &mut claims);
    claims
}

/// Figures 1 and 4: one inner step, by the number of trajectories.
fn one_step(results: &Results, claims: &mut Claims) {
    let places: Vec<Place> = results.grid.samples.iter().map(|&samples| (samples, 1, RATE)).collect();
    let few: Vec<Place> = places.iter().copied().filter(|&(samples, ..)| samples <= N).collect();
    let (fewest, most) = (&places[..1], &places[places.len() - 1..]);
    let number = |places: &[Place]| places[0].0;

    let claim = claims.claim("Fig. 1a, LVC: with few samples a right inner gradient and a right Hessian each help");
    for place in few.chunks(1) {
        for better in ["SEE", "ESE"] {
            claim.above(format!("N = {}: {better} − SSE", number(place)), &results.gain(place, "lvc", better, "SSE"));
        }
    }
    let claim = claims.claim("Fig. 1a, LVC: both help alike, SEE ≈ ESE (mean over N ≤ 32)");
    comparable(results, claim, "lvc", &few, ["SEE", "ESE", "SSE"]);
    let claim = claims.claim("Fig. 1a, LVC: with more samples the gap shrinks");
    for better in ["SEE", "ESE"] {
        let gap = |place: &[Place]| results.gain(place, "lvc", better, "SSE");
        let what = format!("{better} − SSE: at N = {} minus at N = {}", number(fewest), number(most));
        claim.above(what, &minus(&gap(fewest), &gap(most)));
    }
    let claim = claims.claim("Fig. 1b, AD: SEE > ESE at every number of samples");
    for place in places.chunks(1) {
        claim.above(format!("N = {}: SEE − ESE", number(place)), &results.gain(place, "ad", "SEE", "ESE"));
    }
    let claim =
        claims.claim("Fig. 1b, AD: only SEE comes near 1 given samples enough (above 0.95, the others below 0.85)");
    let last = |permutation: &str| results.correlations(most, &[(1.0, "ad", permutation)]);
    let of_each = |number: f64| vec![number; last("SEE").len()];
    claim.above(format!("N = {}: SEE − 0.95", number(most)), &minus(&last("SEE"), &of_each(0.95)));
    for permutation in ["SSE", "ESE"] {
        let what = format!("N = {}: 0.85 − {permutation}", number(most));
        claim.above(what, &minus(&of_each(0.85), &last(permutation)));
    }

    let claim =
        claims.claim("Fig. 4: a right outer gradient helps more than a right Hessian or inner gradient (mean over N)");
    for name in ["lvc", "loaded", "dice"] {
        for other in ["SES", "ESS"] {
            claim.above(format!("{name}: SSE − {other}"), &results.gain(&places, name, "SSE", other));
        }
    }
    let claim = claims
        .claim("Fig. 4: with an estimated outer gradient EES > SES > ESS > SSS (mean over N and LVC, AD, Loaded)");
    for (better, worse) in [("EES", "SES"), ("SES", "ESS"), ("ESS", "SSS")] {
        let third = 1.0 / 3.0;
        let terms: Vec<Term<'_>> = (["lvc", "ad", "loaded"].iter())
            .flat_map(|name| [(third, *name, better), (-third, *name, worse)])
            .collect();
        claim.above(format!("{better} − {worse}"), &results.correlations(&places, &terms));
    }
    let claim = claims.claim("Fig. 4, Loaded DiCE: a right Hessian matters more, SEE > ESE > SSE (mean over N)");
    for (better, worse) in [("SEE", "ESE"), ("ESE", "SSE")] {
        claim.above(format!("{better} − {worse}"), &results.gain(&places, "loaded", better, worse));
    }
    let claim = claims.claim(
        "Fig. 4: where the Hessian is estimated, AD performs worse than LVC (mean over N), and than Loaded DiCE can",
    );
    for permutation in ["ESE", "ESS", "SSE", "SSS"] {
        let lead = |name, places: &[Place]| {
            results.correlations(places, &[(1.0, name, permutation), (-1.0, "ad", permutation)])
        };
        claim.above(format!("{permutation}, lvc − ad"), &lead("lvc", &places));
        claim.above(format!("N = {}: {permutation}, lvc − ad", number(most)), &lead("lvc", most));
        claim.above(format!("N = {}: {permutation}, loaded − ad", number(most)), &lead("loaded", most));
    }
    let claim = claims.claim(
        "Fig. 4: with an estimated outer gradient LVC and Loaded DiCE correlate comparably (mean over N, less than 0.1 apart)",
    );
    for permutation in ["ESS", "SSS"] {
        let lead = results.correlations(&places, &[(1.0, "lvc", permutation), (-1.0, "loaded", permutation)]);
        let tenth = vec![0.1; lead.len()];
        claim.above(format!("{permutation}: 0.1 − (lvc − loaded)"), &minus(&tenth, &lead));
        let other: Vec<f64> = lead.iter().map(|x| x + 0.1).collect();
        claim.above(format!("{permutation}: 0.1 − (loaded − lvc)"), &other);
    }
    let claim = claims.claim("Fig. 4: DiCE is the worst (mean over N)");
    for (name, _) in ESTIMATORS.iter().filter(|(name, _)| *name != "dice") {
        for permutation in ["EES", "ESE", "ESS", "SEE", "SES", "SSE", "SSS"] {
            let terms = [(1.0, *name, permutation), (-1.0, "dice", permutation)];
            claim.above(format!("{permutation}, {name} − dice"), &results.correlations(&places, &terms));
        }
    }
    let claim = claims
        .claim("Fig. 4: LVC varies less than Loaded DiCE where the Hessian is estimated (sum of std, at every N)");
    for place in places.chunks(1) {
        for permutation in ["ESS", "SSS"] {
            let terms = [(1.0, "loaded", permutation), (-1.0, "lvc", permutation)];
            let what = format!("N = {}: {permutation}, loaded − lvc", number(place));
            claim.above(what, &results.spreads(place, &terms));
        }
    }
    let more = |places: &[Place], name: &str, [varies_more, less]: [&str; 2]| {
        results.spreads(places, &[(1.0, name, varies_more), (-1.0, name, less)])
    };
    let claim = claims.claim(
        "Fig. 4: a right inner gradient makes estimates vary more if few samples estimate the outer one (sum of std)",
    );
    for (name, _) in ESTIMATORS {
        for better in [["EES", "SES"], ["ESS", "SSS"]] {
            let what = format!("{name}, N = {}: {} − {}", number(fewest), better[0], better[1]);
            claim.above(what, &more(fewest, name, better));
        }
    }
    let claim = claims
        .claim("Fig. 4: or if the Hessian varies much, as DiCE's; with LVC and AD less if the outer one is exact");
    claim.above(format!("dice, N = {}: ESE − SSE", number(fewest)), &more(fewest, "dice", ["ESE", "SSE"]));
    for name in ["lvc", "ad"] {
        for place in places.chunks(1) {
            let what = format!("{name}, N = {}: SSE − ESE", number(place));
            claim.above(what, &more(place, name, ["SSE", "ESE"]));
        }
    }
}

/// Figures 5 and 6: by inner steps and rates, with 32 trajectories.
fn many_steps(results: &Results, claims: &mut Claims) {
    let by_steps: Vec<Place> = results.grid.steps.iter().map(|&steps| (N, steps, RATE)).collect();
    let by_rates: Vec<Place> = results.grid.rates.iter().map(|&rate| (N, Grid::FIXED_STEPS, rate)).collect();
    let ends = |places: &[Place]| (places[0], places[places.len() - 1]);
    let ((first, last), (slow, fast)) = (ends(&by_steps), ends(&by_rates));

    let claim =
        claims.claim("Fig. 5, 6: with more inner steps, and with larger rates, SSE loses a lot, for all estimators");
    for (name, _) in ESTIMATORS {
        let at = |place: Place| results.correlations(&[place], &[(1.0, name, "SSE")]);
        claim.above(format!("{name}: at K = {} minus at K = {}", first.1, last.1), &minus(&at(first), &at(last)));
        claim.above(format!("{name}: at α = {} minus at α = {}", slow.2, fast.2), &minus(&at(slow), &at(fast)));
    }
    let claim = claims.claim("Fig. 5, 6: there the inner loop can matter more than the outer gradient (EES > SSE)");
    for (name, _) in ESTIMATORS {
        for place in [last, fast] {
            let what = format!("{name}, K = {}, α = {}: EES − SSE", place.1, place.2);
            claim.above(what, &results.gain(&[place], name, "EES", "SSE"));
        }
    }
    let claim = claims.claim("Fig. 5: the larger the rate, the more AD's Hessian costs (SEE − ESE)");
    let cost = |place: Place| results.gain(&[place], "ad", "SEE", "ESE");
    claim.above(format!("at α = {} minus at α = {}", fast.2, slow.2), &minus(&cost(fast), &cost(slow)));
    let large: Vec<Place> = by_rates.iter().copied().filter(|&(.., rate)| rate > 5.0).collect();
    let claim = claims
        .claim("Fig. 5: in LVC and Loaded DiCE both corrections help alike, SEE ≈ ESE and SES ≈ ESS (mean over α > 5)");
    for name in ["lvc", "loaded"] {
        comparable(results, claim, name, &large, ["SEE", "ESE", "SSE"]);
        comparable(results, claim, name, &large, ["SES", "ESS", "SSS"]);
    }
}

/// Where the numbers say otherwise than the paper's words, if these are taken at their widest.
pub fn remarks(results: &Results) -> String {
    let places: Vec<Place> = results.grid.samples.iter().map(|&samples| (samples, 1, RATE)).collect();
    let (fewest, most) = (places[0], places[places.len() - 1]);
    let mean = |name: &str, permutation: &str, (samples, steps, rate): Place| {
        results.at(name, permutation, samples, steps, rate).correlation().0
    };
    let spread = results.spreads(&places, &[(1.0, "loaded", "ESE"), (-1.0, "loaded", "SSE")]);
    format!(
        "Where the paper's words, taken at their widest, do not hold here (and are not judged above):\n\
         - DiCE is \"the worst in all cases\". With N = {} and SSE it reaches {:.2} here, and AD, whose Hessian is biased, {:.2}.\n\
         - AD is \"worse than LVC and Loaded-DiCE\" where the Hessian is estimated. With N = {} and ESE it reaches {:.2}, Loaded\n  \
           DiCE {:.2}: from few trajectories its variance costs more than AD's bias.\n\
         - A right inner gradient \"increases the variance\" where the Hessian varies much, \"in DiCE and Loaded-DiCE\". With the\n  \
           outer gradient exact Loaded DiCE's sum of std changes by {} (ESE − SSE, mean over N).",
        most.0,
        mean("dice", "SSE", most),
        mean("ad", "SSE", most),
        fewest.0,
        mean("ad", "ESE", fewest),
        mean("loaded", "ESE", fewest),
        mean_in_words(&spread)
    )
}
