//! 95 % confidence intervals from independent repeats.

use ndarray::{Array1, Array2, Axis};
use serde::Serialize;

/// A measured number, and the interval that contains the true one in 95 % of experiments.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The estimate.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// Whether a number lies inside.
    pub fn contains(&self, x: f64) -> bool {
        self.low <= x && x <= self.high
    }

    /// The mean of independent numbers, with Student's interval. Where they have heavy tails it is too narrow.
    ///
    /// Panics if there are fewer than two.
    #[track_caller]
    pub fn of_mean(numbers: &[f64]) -> Self {
        Self::of_mean_at(0.95, numbers)
    }

    #[track_caller]
    pub(super) fn of_mean_at(level: f64, numbers: &[f64]) -> Self {
        assert!(numbers.len() >= 2, "an interval needs at least two numbers");
        let count = numbers.len() as f64;
        let mean = numbers.iter().sum::<f64>() / count;
        let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1.0);
        // Student's t squared is an F with one degree of freedom.
        let half = (f_quantile(level, 1.0, count - 1.0) * variance / count).sqrt();
        Self { value: mean, low: mean - half, high: mean + half }
    }

    /// The same, cut to a range in which the number must lie.
    pub(super) fn within(self, low: f64, high: f64) -> Self {
        let cut = |x: f64| x.clamp(low, high);
        Self { value: cut(self.value), low: cut(self.low), high: cut(self.high) }
    }
}

/// R independent vectors, by their mean and its uncertainty.
pub(super) struct Vectors {
    /// The length of the mean vector.
    mean_length: f64,
    /// The squared distance of each from the mean, such that their mean is the variance without bias, `[R]`.
    deviations: Vec<f64>,
    /// The effective number of dimensions that the vectors scatter in: (tr S)² / tr S², S their covariance.
    dimensions: f64,
}

impl Vectors {
    /// From one vector a row, `[R, D]`, R ≥ 2.
    pub(super) fn new(rows: Array2<f64>) -> Self {
        let count = rows.nrows() as f64;
        let mean: Array1<f64> = rows.sum_axis(Axis(0)) / count;
        let centred = rows - &mean;
        let deviations = centred.rows().into_iter().map(|row| row.dot(&row) * count / (count - 1.0)).collect();
        // tr S² is the squared norm of the Gram matrix, whichever way is smaller.
        let gram =
            if centred.nrows() < centred.ncols() { centred.dot(&centred.t()) } else { centred.t().dot(&centred) };
        let trace = gram.diag().sum();
        let square = gram.iter().map(|x| (x / trace).powi(2)).sum::<f64>();
        let dimensions = if trace > 0.0 { 1.0 / square } else { 1.0 };
        Self { mean_length: mean.dot(&mean).sqrt(), deviations, dimensions }
    }

    fn count(&self) -> f64 {
        self.deviations.len() as f64
    }

    /// E‖x − E x‖².
    pub(super) fn variance(&self, level: f64) -> Interval {
        Interval::of_mean_at(level, &self.deviations).within(0.0, f64::INFINITY)
    }

    /// ‖E x‖. Its square is estimated without bias (and 0 where that is negative). The interval follows from the triangle
    /// inequality: the mean's length is no further from it than the mean vector from the expectation, and how far that is
    /// has nearly an F distribution (Satterthwaite), with as many degrees of freedom as there are effective dimensions.
    pub(super) fn length_of_mean(&self, level: f64) -> Interval {
        let of_mean = self.variance(level).value / self.count();
        let quantile = f_quantile(level, self.dimensions, self.dimensions * (self.count() - 1.0));
        let radius = (quantile * of_mean).sqrt();
        Interval {
            // A clamp keeps a NaN, as of numbers whose squares are beyond the range of numbers.
            value: (self.mean_length.powi(2) - of_mean).clamp(0.0, f64::INFINITY).sqrt(),
            low: (self.mean_length - radius).clamp(0.0, f64::INFINITY),
            high: self.mean_length + radius,
        }
    }
}

/// x with P(F ≤ x) = p, for F with d1 and d2 degrees of freedom, which need not be whole.
fn f_quantile(p: f64, d1: f64, d2: f64) -> f64 {
    // P(F ≤ x) is the incomplete beta function at z = d1 x / (d1 x + d2), which is increasing.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if incomplete_beta(middle, d1 / 2.0, d2 / 2.0) < p { low = middle } else { high = middle }
    }
    let z = 0.5 * (low + high);
    d2 * z / (d1 * (1.0 - z))
}

/// The regularised incomplete beta function I_z(a, b), by its continued fraction.
fn incomplete_beta(z: f64, a: f64, b: f64) -> f64 {
    if z <= 0.0 || z >= 1.0 {
        return if z <= 0.0 { 0.0 } else { 1.0 };
    }
    if z > (a + 1.0) / (a + b + 2.0) {
        // The fraction converges fast on the other side.
        return 1.0 - incomplete_beta(1.0 - z, b, a);
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * z.ln() + b * (-z).ln_1p()).exp() / a;
    let keep_away = |x: f64| if x.abs() < 1e-300 { 1e-300 } else { x };
    let (mut c, mut d) = (1.0, 1.0 / keep_away(1.0 - (a + b) * z / (a + 1.0)));
    let mut fraction = d;
    for m in 1..10_000 {
        let m = f64::from(m);
        let even = m * (b - m) * z / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * z / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / keep_away(1.0 + term * d);
            c = keep_away(1.0 + term / c);
            change = c * d;
            fraction *= change;
        }
        if (change - 1.0_f64).abs() < 1e-15 {
            break;
        }
    }
    front * fraction
}

/// ln Γ(x) for x > 0, by Lanczos' approximation.
fn ln_gamma(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        // Γ(x) Γ(1 − x) = π / sin πx.
        return (std::f64::consts::PI / (std::f64::consts::PI * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let terms = (1..).zip(COEFFICIENTS).map(|(i, coefficient)| coefficient / (x - 1.0 + f64::from(i)));
    let (sum, t) = (0.999_999_999_999_809_9 + terms.sum::<f64>(), x + 6.5);
    0.5 * std::f64::consts::TAU.ln() + (x - 0.5) * t.ln() - t + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::stream;
    use rand_distr::{Distribution, StandardNormal};

    #[test]
    fn quantiles_are_those_of_printed_tables() {
        // Student's t, two-sided 95 %, squared; F at 95 %.
        for (degrees, t) in [(1.0, 12.706_204_736), (4.0, 2.776_445_105), (49.0, 2.009_575_234), (1e6, 1.959_966_36)] {
            approx::assert_relative_eq!(f_quantile(0.95, 1.0, degrees).sqrt(), t, max_relative = 1e-6);
        }
        for (d1, d2, f) in [(2.0, 10.0, 4.102_821_015), (5.0, 5.0, 5.050_329_058), (10.0, 100.0, 1.926_692_6)] {
            approx::assert_relative_eq!(f_quantile(0.95, d1, d2), f, max_relative = 1e-6);
        }
    }

    #[test]
    fn the_gamma_function_interpolates_factorials() {
        for (x, gamma) in [(0.25, 3.625_609_908_221_908), (1.0, 1.0), (5.0, 24.0), (10.5, 1_133_278.388_948_785)] {
            approx::assert_relative_eq!(ln_gamma(x), f64::ln(gamma), epsilon = 1e-13, max_relative = 1e-13);
        }
    }

    /// In how many of 2000 experiments of 20 normal vectors each an interval contains the truth.
    fn coverage(mean: &[f64], scales: &[f64], interval: impl Fn(&Vectors) -> (Interval, f64)) -> f64 {
        let experiment = |seed: u64| {
            let mut rng = stream(17, seed);
            let rows = Array2::from_shape_fn((20, mean.len()), |(_, j)| {
                mean[j] + scales[j] * Distribution::<f64>::sample(&StandardNormal, &mut rng)
            });
            let (interval, truth) = interval(&Vectors::new(rows));
            interval.contains(truth)
        };
        (0..2000).filter(|&seed| experiment(seed)).count() as f64 / 2000.0
    }

    #[test]
    fn intervals_contain_the_truth_as_often_as_they_say() {
        // Of 2000 trials with probability .95 the frequency has a standard deviation of .005.
        let length = |mean: &[f64], scales: &[f64]| {
            let truth = mean.iter().map(|x| x * x).sum::<f64>().sqrt();
            coverage(mean, scales, move |vectors| (vectors.length_of_mean(0.95), truth))
        };
        // One dimension far from 0: Student's interval. Elsewhere the triangle inequality only errs to the safe side.
        let one = length(&[3.0], &[1.0]);
        assert!((one - 0.95).abs() < 0.02, "{one}");
        for (mean, scales) in [
            ([0.0; 6], [1.0; 6]),
            ([0.0; 6], [5.0, 1.0, 1.0, 0.1, 0.1, 0.1]),
            ([1.0, 0.0, 0.0, 0.0, 0.0, 2.0], [5.0, 1.0, 1.0, 0.1, 0.1, 0.1]),
        ] {
            let frequency = length(&mean, &scales);
            assert!(frequency > 0.935, "{mean:?} {scales:?}: {frequency}");
        }
        // The variance is a mean of squares, which are skewed: a little less than 95 %.
        let variance = coverage(&[1.0; 6], &[1.0; 6], |vectors| (vectors.variance(0.95), 6.0));
        assert!((0.90..0.97).contains(&variance), "{variance}");
    }

    #[test]
    fn a_length_whose_square_is_beyond_the_range_of_numbers_is_not_0() {
        let rows = Array2::from_shape_fn((3, 2), |(i, j)| 1e200 * (1 + i + j) as f64);
        let length = Vectors::new(rows).length_of_mean(0.95);
        assert!(length.value.is_nan() && !length.contains(0.0), "{length:?}");
    }

    #[test]
    fn squared_length_and_variance_add_up_to_the_mean_square() {
        let mut rng = stream(3, 0);
        let rows = Array2::from_shape_fn((15, 4), |_| 2.0 + Distribution::<f64>::sample(&StandardNormal, &mut rng));
        let mean_square = rows.iter().map(|x: &f64| x * x).sum::<f64>() / 15.0;
        let vectors = Vectors::new(rows);
        let sum = vectors.length_of_mean(0.95).value.powi(2) + vectors.variance(0.95).value;
        approx::assert_relative_eq!(sum, mean_square, max_relative = 1e-13);
    }
}
