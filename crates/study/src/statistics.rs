//! What estimates are compared by.

use ndarray::{ArrayBase, Data, Dimension};
use rl::report::Interval;

/// Mean and standard deviation (with n − 1).
pub fn mean_and_std(x: &[f64]) -> (f64, f64) {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    (mean, variance.sqrt())
}

/// The mean with one standard error on either side.
pub fn mean_with_error(x: &[f64]) -> Interval {
    let (value, std) = mean_and_std(x);
    let error = std / (x.len() as f64).sqrt();
    Interval { value, low: value - error, high: value + error }
}

/// The mean and its 95 % interval, by Student's t; of a single number, everything.
pub fn interval(x: &[f64]) -> Interval {
    match x {
        &[x] => Interval { value: x, low: f64::NEG_INFINITY, high: f64::INFINITY },
        _ => Interval::of_mean(x),
    }
}

/// A number and half of its interval, such as `0.31 ± 0.04`; the number alone, if everything is in its interval; a dash for none.
pub fn in_words(interval: Interval) -> String {
    let Interval { value, low, high } = interval;
    match (value.is_finite(), high - low) {
        (false, _) => "–".to_owned(),
        (true, f64::INFINITY) => format!("{value:.2}"),
        (true, width) => format!("{value:.2} ± {:.2}", width / 2.0),
    }
}

/// The mean and half of its 95 % interval; of a single number, that number.
pub fn mean_in_words(x: &[f64]) -> String {
    in_words(interval(x))
}

/// `above` or `below` 0, where the 95 % interval of the mean tells, else `unclear`.
pub fn told_from_zero(x: &[f64]) -> &'static str {
    match interval(x) {
        Interval { low, .. } if low > 0.0 => "above",
        Interval { high, .. } if high < 0.0 => "below",
        _ => "unclear",
    }
}

/// The differences of pairs.
pub fn minus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// Pearson's correlation of all entries; 0 if one of the arrays is constant. (Of derivatives by a table of logits it is
/// the cosine, because every row sums to 0.)
pub fn pearson<D: Dimension>(a: &ArrayBase<impl Data<Elem = f64>, D>, b: &ArrayBase<impl Data<Elem = f64>, D>) -> f64 {
    let (a, b) = (a - a.sum() / a.len() as f64, b - b.sum() / b.len() as f64);
    let scale = ((&a * &a).sum() * (&b * &b).sum()).sqrt();
    // Not by scale > 0: a NaN is no constant.
    if scale == 0.0 { 0.0 } else { (&a * &b).sum() / scale }
}

/// The cosine of the angle between all entries; 0 if one of the arrays is 0.
pub fn cosine<D: Dimension>(a: &ArrayBase<impl Data<Elem = f64>, D>, b: &ArrayBase<impl Data<Elem = f64>, D>) -> f64 {
    let square = |x: f64, y: &f64| x + y * y;
    let scale = (a.iter().fold(0.0, square) * b.iter().fold(0.0, square)).sqrt();
    if scale == 0.0 { 0.0 } else { a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>() / scale }
}

/// A function of independent things, such as a ratio of sums over them, with its 95 % interval by the jackknife.
///
/// Panics if there are fewer than two.
#[track_caller]
pub fn jackknife<T: Copy>(things: &[T], f: impl Fn(&[T]) -> f64) -> Interval {
    let (count, all) = (things.len() as f64, f(things));
    let without = |i: usize| f(&[&things[..i], &things[i + 1..]].concat());
    let pseudo: Vec<f64> = (0..things.len()).map(|i| count * all - (count - 1.0) * without(i)).collect();
    let Interval { value, low, high } = Interval::of_mean(&pseudo);
    Interval { value: all, low: all + low - value, high: all + high - value }
}
