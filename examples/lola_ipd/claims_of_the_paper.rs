//! What Liu et al. 2022 say about their figures 2 (a) and 8 (a), as differences that must be positive. What they say about ablations
//! is printed as differences, and not judged here: ten seeds did not decide it.

use study::claims::Claims;
use study::lola_ipd::experiment::Measured;
use study::statistics::minus;

use crate::Results;

pub fn claims(results: &Results) -> Claims {
    let mut claims = Claims::default();
    let above = |level: f64, of: &Measured| of.ends().iter().map(|end| end - level).collect::<Vec<_>>();
    let end = |name: &Measured| format!("{}: return", name.variant.name);

    let claim = claims.claim("looking ahead makes cooperate: players with exact or large inner batches end above −1.2");
    for inner in [2, 1] {
        let one = results.batches(inner, 0);
        claim.above(format!("{} + 1.2", end(one)), &above(-1.2, one));
    }
    let claim = claims.claim("who does not look ahead defects: ends below −1.9");
    let naive = results.named("0 lookaheads");
    claim.above(format!("−1.9 − {}", end(naive)), &above(-1.9, naive).iter().map(|x| -x).collect::<Vec<_>>());

    let claim = claims.claim("\"the default batch size of 128 fails while the batch size 1024 succeeds\" (inner)");
    let what = |one: &Measured, other: &Measured| format!("{} − {}", one.variant.name, other.variant.name);
    let (plain, large) = (results.plain(), results.batches(1, 0));
    claim.above(what(large, plain), &minus(&large.ends(), &plain.ends()));
    let claim = claims.claim("\"the outer-loop gradient estimation is also crucial to the performance of LOLA-Exact\"");
    let (exact, estimated) = (results.batches(2, 2), results.batches(2, 0));
    claim.above(what(exact, estimated), &minus(&exact.ends(), &estimated.ends()));

    for (name, of) in
        [("Pearson's correlation", Results::pearson as fn(&Measured) -> Vec<f64>), ("the cosine", Results::cosine)]
    {
        let more = |one: &Measured, other: &Measured| (what(one, other), minus(&of(one), &of(other)));
        let claim = claims.claim(&format!("{name} with the exact meta-gradient grows with the inner batch"));
        for outer in [0, 1, 2] {
            for inner in [0, 1] {
                let (what, differences) = more(results.batches(inner + 1, outer), results.batches(inner, outer));
                claim.above(what, &differences);
            }
        }
        let claim = claims.claim(&format!("{name} grows with the outer batch"));
        for inner in [0, 1, 2] {
            for outer in [0, 1] {
                let (what, differences) = more(results.batches(inner, outer + 1), results.batches(inner, outer));
                claim.above(what, &differences);
            }
        }
    }
    claims
}
