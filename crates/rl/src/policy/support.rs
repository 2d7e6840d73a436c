//! What distributions over vectors share: how arrays have to fit, bounds of each component, the limits of densities there, and
//! numbers drawn strictly inside.

use ad::{DType, Shape, Var};
use ndarray::arr0;
use rand::Rng;
use rand::distr::OpenClosed01;
use rand_distr::{Distribution, Gamma as GammaNumbers};

use super::categorical::batch_shape;

/// Σ_j over components, the last axis.
#[track_caller]
pub(super) fn sum_components(terms: Var) -> Var {
    terms.sum_axes(&[terms.shape().len() - 1])
}

/// Panics unless an array has so many components.
#[track_caller]
pub(super) fn expect_components(name: &str, what: &str, array: Var, size: usize) {
    let shape = array.shape();
    assert!(shape.last() == Some(&size), "{name}: {what} needs the shape […, {size}], got {shape:?}");
}

/// The shape that two arrays of parameters, `[…, D]` each, have together.
///
/// Panics if they differ in D, or their batches do not broadcast.
#[track_caller]
pub(super) fn row_of(name: &str, what: &str, one: Var, other_what: &str, other: Var) -> Shape {
    let (shape, others) = (one.shape(), other.shape());
    let Some((&size, batch)) = shape.split_last() else {
        panic!("{name}: the {what} need an axis of components, but are a scalar")
    };
    expect_components(name, other_what, other, size);
    let mut whole = batch_shape(name, batch, other_what, &others[..others.len() - 1]);
    whole.push(size);
    whole
}

/// Panics unless an array has the components of parameters, `[…, D]`, and a batch that broadcasts with theirs.
#[track_caller]
pub(super) fn expect_fit(name: &str, operation: &str, own: Var, what: &str, array: Var) {
    let (own, shape) = (own.shape(), array.shape());
    let (&size, batch) = own.split_last().expect("whoever has made it has checked it");
    expect_components(name, what, array, size);
    batch_shape(operation, batch, what, &shape[..shape.len() - 1]);
}

/// The same, and unless it is of their type.
#[track_caller]
pub(super) fn expect_points(name: &str, operation: &str, what: &str, own: Var, points: Var) {
    expect_dtype(name, what, own, points);
    expect_fit(name, operation, own, what, points);
}

/// An open interval for each component. Its ends broadcast against actions `[…, D]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub low: Var,
    pub high: Var,
}

impl Bounds {
    /// The same for all components.
    #[track_caller]
    pub fn numbers(beside: Var, [low, high]: [f64; 2]) -> Self {
        Self { low: beside.constant(arr0(low)), high: beside.constant(arr0(high)) }
    }

    /// Panics unless both are of the type of `like`, `[…, D]`, and broadcast to its shape.
    #[track_caller]
    pub fn new(name: &str, like: Var, low: Var, high: Var) -> Self {
        for (what, bound) in [("lower", low), ("upper", high)] {
            expect_dtype(name, &format!("{what} bounds"), like, bound);
            let (shape, whole) = (bound.shape(), like.shape());
            assert!(
                ad::broadcast_shape(&shape, &whole).is_some_and(|both| both == whole),
                "{name}: {what} bounds of shape {shape:?} do not broadcast to {whole:?}"
            );
        }
        Self { low, high }
    }

    #[track_caller]
    pub fn in_double(self) -> Self {
        Self { low: self.low.cast(DType::F64), high: self.high.cast(DType::F64) }
    }

    /// high − low.
    #[track_caller]
    pub fn width(&self) -> Var {
        self.high - self.low
    }

    /// a − low and high − a: each is exact next to its bound.
    #[track_caller]
    pub fn distances(&self, points: Var) -> [Var; 2] {
        [points - self.low, self.high - points]
    }

    /// A divergence where both have these bounds, NaN where they differ.
    #[track_caller]
    pub fn if_equal(&self, other: &Self, divergence: Var) -> Var {
        (self.low.equal(other.low) * self.high.equal(other.high)).select(divergence, f64::NAN)
    }
}

/// Panics unless both are of one type.
#[track_caller]
pub(super) fn expect_dtype(name: &str, what: &str, own: Var, other: Var) {
    let (dtype, others) = (own.dtype(), other.dtype());
    assert!(
        dtype == others,
        "{name}: parameters of type {dtype} and {what} of type {others}; `cast` one of them\n  parameters made at {}\n  \
         {what} made at {}",
        own.location(),
        other.location()
    );
}

/// A parameter that has to be positive: NaN where it is not.
#[track_caller]
pub(super) fn positive(parameter: Var) -> Var {
    parameter.greater(0.0).select(parameter, f64::NAN)
}

/// ln d^p of a distance d from the end of a support: at d = 0 its limit (−∞, 0 or ∞), below −∞. No derivative flows there.
#[track_caller]
pub(super) fn log_power(distance: Var, exponent: Var) -> Var {
    let sign = exponent.sign();
    let limit = sign.greater(0.0).select(f64::NEG_INFINITY, sign.less(0.0).select(f64::INFINITY, sign));
    let beyond = distance.less(0.0).select(f64::NEG_INFINITY, limit);
    let is_end = distance.less_equal(0.0);
    is_end.select(beyond, is_end.select(1.0, distance).ln() * exponent)
}

/// Numbers one behind the other, as so many parts of equal length.
pub(super) fn parts<const N: usize>(numbers: &[f64], length: usize) -> [&[f64]; N] {
    std::array::from_fn(|i| &numbers[i * length..(i + 1) * length])
}

/// In single precision, if that is what it is written down in.
pub(super) fn rounded(x: f64, single: bool) -> f64 {
    if single { f64::from(x as f32) } else { x }
}

/// What is `below` of the way from low to high, and `above` from high to low: strictly between them, rounded as it is written
/// down. What rounds to a bound is the nearest normal number inside.
pub(super) fn between([low, high]: [f64; 2], below: f64, above: f64, single: bool) -> f64 {
    let width = high - low;
    let x = rounded(if below < above { low + below * width } else { high - above * width }, single);
    if x <= low {
        next(low, single)
    } else if x >= high {
        -next(-high, single)
    } else {
        x
    }
}

/// e^`logarithm`, rounded as it is written down, and within the normal positive numbers.
pub(super) fn positive_number(logarithm: f64, single: bool) -> f64 {
    let [least, largest] =
        if single { [f32::MIN_POSITIVE, f32::MAX].map(f64::from) } else { [f64::MIN_POSITIVE, f64::MAX] };
    let x = logarithm.exp();
    if x.is_nan() { x } else { rounded(x.clamp(least, largest), single) }
}

/// The least normal number above.
fn next(x: f64, single: bool) -> f64 {
    if single {
        let near = x as f32;
        let near = if f64::from(near) > x { near } else { near.next_up() };
        f64::from(if near.is_subnormal() { f32::MIN_POSITIVE } else { near })
    } else {
        let near = x.next_up();
        if near.is_subnormal() { f64::MIN_POSITIVE } else { near }
    }
}

/// The logarithm of a number of the gamma distribution of this concentration and rate 1, which itself may be too small for a
/// number; NaN if there is none.
///
/// Γ(c) is Γ(c + 1)·U^(1/c), with U uniform (Marsaglia & Tsang 2000, section 6).
pub(super) fn log_gamma_number(concentration: f64, rng: &mut dyn Rng) -> f64 {
    if concentration >= 1.0 {
        return GammaNumbers::new(concentration, 1.0).map_or(f64::NAN, |gamma| gamma.sample(rng).ln());
    }
    let Ok(larger) = GammaNumbers::new(concentration + 1.0, 1.0) else { return f64::NAN };
    let uniform: f64 = OpenClosed01.sample(rng);
    let logarithm: f64 = larger.sample(rng).ln();
    if concentration > 0.0 { logarithm + uniform.ln() / concentration } else { f64::NAN }
}
