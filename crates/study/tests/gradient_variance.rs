//! What is said of the scatter of estimates, where all that can be drawn is listed.

use study::gradient_variance::experiment::{COMPARISONS, ESTIMATORS, Measurement};
use study::meta_gradient::Scatter;
use study::statistics::{jackknife, mean_and_std};

#[test]
fn variance_and_squared_mean_are_without_bias() {
    // Two equally likely vectors: the mean of both numbers over all triples of draws.
    let vectors = [vec![3.0, -1.0, 0.5], vec![1.0, 0.0, 0.5]];
    let triples = (0..8_usize).map(|bits| [0, 1, 2].map(|draw| vectors[(bits >> draw) & 1].clone()));
    let (mut variance, mut square) = (0.0, 0.0);
    for triple in triples {
        let scatter = Scatter::of(&triple);
        variance += scatter.variance / 8.0;
        square += scatter.square / 8.0;
    }
    // Means 2, −½, ½; variances 1, ¼, 0.
    assert!((variance - 1.25_f64).abs() < 1e-14 && (square - 4.5_f64).abs() < 1e-14, "{variance} {square}");
}

#[test]
fn a_pair_is_beyond_a_ratio_if_and_only_if_its_ratio_is() {
    for comparison in COMPARISONS {
        let measurement = |dice: f64| {
            let mut scatters = [Scatter { variance: 4.0, square: 2.0 }; ESTIMATORS.len()];
            scatters[comparison.dice] = Scatter { variance: 6.0, square: dice };
            Measurement { returns: 0.0, scatters }
        };
        // Relative deviations √2 and √12.
        let one = measurement(0.5);
        let [relative, std, mean] = comparison.ratios([&one, &one]);
        let expected = [6.0_f64, 1.5, 0.25].map(f64::sqrt);
        for (found, expected) in [relative, std, mean].into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-14, "{found} {expected}");
        }
        assert!(comparison.beyond(relative - 0.01, &[one]) > 0.0 && comparison.beyond(relative + 0.01, &[one]) < 0.0);
        // Where the mean is not told from 0 there is no ratio, and a difference all the same.
        let none = measurement(-0.5);
        assert!(comparison.ratios([&none])[0].is_nan() && comparison.beyond(1.3, &[none]) > 0.5);
    }
}

#[test]
fn the_jackknife_of_a_mean_is_students_interval() {
    let numbers = [1.0, 4.0, 2.0, 8.0];
    let found = jackknife(&numbers, |numbers| mean_and_std(numbers).0);
    let expected = rl::report::Interval::of_mean(&numbers);
    assert!((found.value - expected.value).abs() < 1e-12 && (found.low - expected.low).abs() < 1e-12, "{found:?}");
}
