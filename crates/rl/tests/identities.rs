//! The identities that the example of this name prints, on processes of several sizes.

use study::exact::{Bias, Row};
use study::identities::samplewise::{Identity, closed_forms, identities};

#[test]
fn identities_and_closed_forms_hold_to_rounding_for_any_seed_and_size() {
    for (seed, size, horizon) in [(0, [2, 2], 4), (1, [3, 2], 3), (u64::MAX, [2, 3], 3), (2, [2, 2], 1)] {
        let all =
            identities(seed, size, horizon).unwrap().into_iter().chain(closed_forms(seed, size, horizon).unwrap());
        for Identity { name, max_abs_error, .. } in all {
            assert!(max_abs_error <= 1e-12, "seed {seed}, {size:?}, H = {horizon}: {name} is off by {max_abs_error:e}");
        }
    }
}

#[test]
fn an_identity_that_is_off_does_not_hold() {
    let identity = |max_abs_error| Identity { name: "", words: "", max_abs_error };
    assert!(identity(1e-11).holds() && !identity(1e-9).holds() && !identity(f64::NAN).holds());
}

#[test]
fn a_row_holds_if_its_bias_is_what_its_claim_says() {
    let holds = |claimed, vanishes, relative_bias| {
        let bias = Bias {
            order: 1,
            claimed,
            max_abs_bias: 1e6 * relative_bias,
            max_abs_truth: 1e6,
            scale: 1e6,
            relative_bias,
        };
        Row { estimator: String::new(), policy: "on", bias, vanishes }.holds()
    };
    assert!(holds(true, false, 1e-13) && !holds(true, false, 1e-11) && !holds(true, false, f64::NAN));
    assert!(holds(false, false, 1e-3) && !holds(false, false, 1e-11) && !holds(false, false, f64::NAN));
    // Exact without a claim, as TayPO-K is for H ≤ K.
    assert!(holds(false, true, 1e-13) && !holds(false, true, 1e-3));
}
