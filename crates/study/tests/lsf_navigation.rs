//! What variances and slopes are made of, where the truth is known.

use study::lsf_navigation::variance::{slope, trace_covariance};

#[test]
fn the_covariance_of_pairs_is_the_variance_of_what_they_have_in_common_without_bias() {
    // Each half is what both have in common, (±1, ±½), and noise of its own, (±3, 0): the mean over all pairs of draws.
    let sign = |bits: usize, place: usize| if (bits >> place) & 1 == 1 { 1.0 } else { -1.0 };
    let draw = |bits: usize| [1, 2].map(|own| vec![sign(bits, 0) + 3.0 * sign(bits, own), 0.5 * sign(bits, 0)]);
    let mut mean = 0.0;
    for first in 0..8 {
        for second in 0..8 {
            mean += trace_covariance(&[draw(first), draw(second)]) / 64.0;
        }
    }
    assert!((mean - 1.25_f64).abs() < 1e-14, "{mean}");
}

#[test]
fn the_slope_is_that_of_least_squares() {
    // By the normal equations.
    for (x, y, expected) in [([1.0, 2.0, 4.0], [5.0, 3.0, -1.0], -2.0_f64), ([0.0, 1.0, 2.0], [0.0, 3.0, 1.0], 0.5)] {
        assert!((slope(&x, &y) - expected).abs() < 1e-14, "{x:?}");
    }
}
