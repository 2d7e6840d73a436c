//! Arrays at the crate's border: shapes, and the values that a program takes and gives.
//!
//! Inside, every array is a dense row-major slice with a [`Shape`]; `ndarray` types appear only here and in signatures
//! that users see.

use ndarray::{Array, ArrayBase, ArrayD, CowArray, Data, Dimension, IxDyn};
use smallvec::SmallVec;

/// The lengths of an array's axes, outermost first. A scalar has none.
pub type Shape = SmallVec<[usize; 2]>;

/// A list of axes, in increasing order unless its user says otherwise.
pub(crate) type Axes = SmallVec<[usize; 2]>;

/// The number of entries of an array of this shape.
pub(crate) fn size(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// The number of entries of such a shape, if an array of them, each of so many bytes, can be had at all. The lengths of an
/// empty array count, too, but for the zeros: parts of its shape are multiplied.
pub(crate) fn size_if_fits(shape: &[usize], bytes: usize) -> Option<usize> {
    let long = shape.iter().filter(|&&length| length > 0);
    let most = long.copied().try_fold(bytes, usize::checked_mul)?;
    isize::try_from(most).is_ok().then(|| size(shape))
}

/// One number for each axis, for kernels: where a program runs, nothing is allocated (up to eight axes).
pub(crate) type PerAxis = SmallVec<[usize; 8]>;

/// Row-major strides in entries.
pub(crate) fn strides(shape: &[usize]) -> PerAxis {
    let mut strides: PerAxis = smallvec::smallvec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// NumPy's broadcasting of two shapes: align at the last axis, stretch lengths of 1. `None` if they do not agree.
pub fn broadcast_shape(a: &[usize], b: &[usize]) -> Option<Shape> {
    let rank = a.len().max(b.len());
    let length = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis]);
    (0..rank)
        .map(|axis| match (length(a, axis), length(b, axis)) {
            (m, n) if m == n || n == 1 => Some(m),
            (1, n) => Some(n),
            _ => None,
        })
        .collect()
}

/// Splits a shape at an axis: (entries in front, the axis' length, entries behind).
pub(crate) fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    (size(&shape[..axis]), shape[axis], size(&shape[axis + 1..]))
}

/// An array handed to [`Program::run`](crate::Program::run): borrowed where it can be, of any of the types an input
/// may have. Made by `From`, most easily through [`values!`](crate::values).
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// An `f64` array.
    F64(CowArray<'a, f64, IxDyn>),
    /// An `f32` array.
    F32(CowArray<'a, f32, IxDyn>),
    /// Integers: states, actions, masks.
    Index(CowArray<'a, i32, IxDyn>),
}

impl Value<'_> {
    pub(crate) fn shape(&self) -> &[usize] {
        match self {
            Value::F64(array) => array.shape(),
            Value::F32(array) => array.shape(),
            Value::Index(array) => array.shape(),
        }
    }

    pub(crate) fn dtype(&self) -> &'static str {
        match self {
            Value::F64(_) => "f64",
            Value::F32(_) => "f32",
            Value::Index(_) => "i32",
        }
    }
}

/// What a [`Value`]'s entries can be: `f64`, `f32` or `i32`.
pub trait Element: Copy + 'static {
    #[doc(hidden)]
    fn value(array: CowArray<'_, Self, IxDyn>) -> Value<'_>;
}

macro_rules! element {
    ($type:ty, $variant:ident) => {
        impl Element for $type {
            fn value(array: CowArray<'_, Self, IxDyn>) -> Value<'_> {
                Value::$variant(array)
            }
        }
        impl From<&$type> for Value<'_> {
            fn from(x: &$type) -> Self {
                Value::$variant(ndarray::arr0(*x).into_dyn().into())
            }
        }
    };
}
element!(f64, F64);
element!(f32, F32);
element!(i32, Index);

impl<'a, E: Element, S: Data<Elem = E>, D: Dimension> From<&'a ArrayBase<S, D>> for Value<'a> {
    fn from(array: &'a ArrayBase<S, D>) -> Self {
        E::value(array.view().into_dyn().into())
    }
}

impl<E: Element, D: Dimension> From<Array<E, D>> for Value<'_> {
    fn from(array: Array<E, D>) -> Self {
        E::value(array.into_dyn().into())
    }
}

/// The list of [`Value`]s that [`Program::run`](crate::Program::run) takes: `values![theta, states]` borrows each.
#[macro_export]
macro_rules! values {
    ($($array:expr),* $(,)?) => { [$($crate::Value::from(&$array)),*] };
}

/// Anything that can become an array of `T`: `ndarray` arrays of any dimension, by value or by reference, and scalars.
pub trait IntoArray<T> {
    /// The array, row-major.
    fn into_array(self) -> ArrayD<T>;
}

impl<T: Clone, D: Dimension> IntoArray<T> for Array<T, D> {
    fn into_array(self) -> ArrayD<T> {
        let array = self.into_dyn();
        if array.is_standard_layout() { array } else { array.as_standard_layout().into_owned() }
    }
}

impl<T: Clone, S: Data<Elem = T>, D: Dimension> IntoArray<T> for &ArrayBase<S, D> {
    fn into_array(self) -> ArrayD<T> {
        self.as_standard_layout().into_owned().into_dyn()
    }
}

impl<T: crate::Real> IntoArray<T> for T {
    fn into_array(self) -> ArrayD<T> {
        ndarray::arr0(self).into_dyn()
    }
}
