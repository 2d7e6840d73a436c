//! Arrays: their shapes, and their entries of one of four types. At the crate's border an array is a [`Value`]; inside, it
//! is a dense row-major [`Slice`] beside a [`Shape`].

use std::fmt::{Debug, Display};
use std::ops::{Deref, DerefMut, Range};

use ndarray::{
    Array, Array1, ArrayBase, ArrayD, ArrayView, ArrayView1, ArrayViewD, Axis, CowArray, Data, Dimension, IxDyn,
};
use smallvec::SmallVec;

use crate::dtype::{DType, by_dtype};

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

/// `f64`, `f32`, `i32` or `u8`: a [`DType`] as a type. (There are no others: what its methods give only this crate makes.)
pub trait Element: Copy + Default + PartialEq + Debug + Display + Send + Sync + 'static {
    /// Itself as data.
    const DTYPE: DType;
    #[doc(hidden)]
    fn value(array: CowArray<'_, Self, IxDyn>) -> Value<'_>;
    /// The array of a value of this type.
    #[doc(hidden)]
    fn array<'v, 'a>(value: &'v Value<'a>) -> Option<&'v CowArray<'a, Self, IxDyn>>;
    #[doc(hidden)]
    fn into_array(value: Value<'_>) -> Option<CowArray<'_, Self, IxDyn>>;
    #[doc(hidden)]
    fn slice(slice: Slice<'_>) -> Option<&[Self]>;
    #[doc(hidden)]
    fn slice_mut(slice: SliceMut<'_>) -> Option<&mut [Self]>;
    #[doc(hidden)]
    fn as_slice(slice: &[Self]) -> Slice<'_>;
    #[doc(hidden)]
    fn as_slice_mut(slice: &mut [Self]) -> SliceMut<'_>;
}

macro_rules! element {
    ($type:ident $variant:ident) => {
        impl Element for $type {
            const DTYPE: DType = DType::$variant;
            fn value(array: CowArray<'_, Self, IxDyn>) -> Value<'_> {
                Value::$variant(array)
            }
            fn array<'v, 'a>(value: &'v Value<'a>) -> Option<&'v CowArray<'a, Self, IxDyn>> {
                if let Value::$variant(array) = value { Some(array) } else { None }
            }
            fn into_array(value: Value<'_>) -> Option<CowArray<'_, Self, IxDyn>> {
                if let Value::$variant(array) = value { Some(array) } else { None }
            }
            fn slice(slice: Slice<'_>) -> Option<&[Self]> {
                if let Slice::$variant(slice) = slice { Some(slice) } else { None }
            }
            fn slice_mut(slice: SliceMut<'_>) -> Option<&mut [Self]> {
                if let SliceMut::$variant(slice) = slice { Some(slice) } else { None }
            }
            fn as_slice(slice: &[Self]) -> Slice<'_> {
                Slice::$variant(slice)
            }
            fn as_slice_mut(slice: &mut [Self]) -> SliceMut<'_> {
                SliceMut::$variant(slice)
            }
        }
        impl From<&$type> for Value<'_> {
            fn from(x: &$type) -> Self {
                (*x).into()
            }
        }
        impl From<&&$type> for Value<'_> {
            fn from(x: &&$type) -> Self {
                (**x).into()
            }
        }
    };
}
element!(f64 F64);
element!(f32 F32);
element!(i32 I32);
element!(u8 U8);

impl<E: Element> From<E> for Value<'_> {
    fn from(x: E) -> Self {
        E::value(ndarray::arr0(x).into_dyn().into())
    }
}

/// An array of any of the types an input may have, borrowed where it can be: what a tape records and a
/// [`Program`](crate::Program) takes. Made by `From`, of arrays of any dimension and of numbers; several most easily by
/// [`values!`](crate::values).
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// An `f64` array.
    F64(CowArray<'a, f64, IxDyn>),
    /// An `f32` array.
    F32(CowArray<'a, f32, IxDyn>),
    /// Integers: states, actions.
    I32(CowArray<'a, i32, IxDyn>),
    /// Bytes.
    U8(CowArray<'a, u8, IxDyn>),
}

impl<'a> Value<'a> {
    /// The lengths of its axes.
    pub fn shape(&self) -> &[usize] {
        by_dtype!(Value, self, |array| array.shape())
    }

    /// The type of its entries.
    pub fn dtype(&self) -> DType {
        match self {
            Value::F64(_) => DType::F64,
            Value::F32(_) => DType::F32,
            Value::I32(_) => DType::I32,
            Value::U8(_) => DType::U8,
        }
    }

    /// A view of the array, if its entries are of this type.
    pub fn array<E: Element>(&self) -> Option<ArrayViewD<'_, E>> {
        E::array(self).map(|array| array.view())
    }

    /// The array, if its entries are of this type.
    pub fn into_array<E: Element>(self) -> Option<ArrayD<E>> {
        E::into_array(self).map(CowArray::into_owned)
    }

    /// The same array, borrowed.
    pub fn view(&self) -> Value<'_> {
        by_dtype!(Value, self, |array| Element::value(array.view().into()))
    }

    /// The same, its own and row-major.
    pub fn owned(self) -> Value<'static> {
        by_dtype!(Value, self, |array| {
            let array = if array.is_standard_layout() { array } else { array.as_standard_layout().into_owned().into() };
            Element::value(array.into_owned().into())
        })
    }

    /// Its entries, if they lie row-major.
    pub(crate) fn try_entries(&self) -> Option<Slice<'_>> {
        by_dtype!(Value, self, |array| array.as_slice().map(Element::as_slice))
    }

    /// Of one that is row-major, its entries.
    pub(crate) fn entries(&self) -> Slice<'_> {
        by_dtype!(Value, self, |array| Element::as_slice(array.as_slice().expect("arrays are laid out row-major")))
    }

    /// Zeros of this type.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Value<'static> {
        let shape = IxDyn(shape);
        match dtype {
            DType::F64 => Array::<f64, _>::zeros(shape).into(),
            DType::F32 => Array::<f32, _>::zeros(shape).into(),
            DType::I32 => Array::<i32, _>::zeros(shape).into(),
            DType::U8 => Array::<u8, _>::zeros(shape).into(),
        }
    }

    /// The parts of these numbers along an axis, in this order; a number may come more than once.
    ///
    /// Panics for an axis or a number that is not there.
    #[track_caller]
    pub fn select(&self, axis: usize, numbers: &[usize]) -> Value<'static> {
        by_dtype!(Value, self, |array| Element::value(array.select(Axis(axis), numbers).into()))
    }

    /// Several arrays, one behind another along an axis; nothing, if their types differ, or their shapes but for that axis.
    pub fn concatenate(parts: &[Value<'_>], axis: usize) -> Option<Value<'static>> {
        fn of<E: Element>(parts: &[Value<'_>], axis: usize) -> Option<Value<'static>> {
            let views =
                parts.iter().map(|part| E::array(part).map(|array| array.view())).collect::<Option<Vec<_>>>()?;
            Some(ndarray::concatenate(Axis(axis), &views).ok()?.into())
        }
        match parts.first()?.dtype() {
            DType::F64 => of::<f64>(parts, axis),
            DType::F32 => of::<f32>(parts, axis),
            DType::I32 => of::<i32>(parts, axis),
            DType::U8 => of::<u8>(parts, axis),
        }
    }

    /// The same numbers, as near as another floating-point type has them; bytes and integers are left as they are.
    pub fn rounded(self, dtype: DType) -> Self {
        match (self, dtype) {
            (Value::F64(array), DType::F32) => Value::F32(array.mapv(|x| x as f32).into()),
            (Value::F32(array), DType::F64) => Value::F64(array.mapv(f64::from).into()),
            (value, _) => value,
        }
    }
}

/// Of one type and shape, with equal entries.
impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::F64(a), Value::F64(b)) => a == b,
            (Value::F32(a), Value::F32(b)) => a == b,
            (Value::I32(a), Value::I32(b)) => a == b,
            (Value::U8(a), Value::U8(b)) => a == b,
            _ => false,
        }
    }
}

// (With the type of the entries by name: the compiler tells such arrays from those of `usize`.)
impl<'a, E: Element, S: Data<Elem = E>, D: Dimension> From<&'a ArrayBase<S, D, E>> for Value<'a> {
    fn from(array: &'a ArrayBase<S, D, E>) -> Self {
        E::value(array.view().into_dyn().into())
    }
}

impl<E: Element, D: Dimension> From<Array<E, D>> for Value<'_> {
    fn from(array: Array<E, D>) -> Self {
        E::value(array.into_dyn().into())
    }
}

impl<'a, E: Element, D: Dimension> From<ArrayView<'a, E, D>> for Value<'a> {
    fn from(array: ArrayView<'a, E, D>) -> Self {
        E::value(array.into_dyn().into())
    }
}

/// One axis.
impl<E: Element> From<Vec<E>> for Value<'_> {
    fn from(entries: Vec<E>) -> Self {
        Array1::from_vec(entries).into()
    }
}

impl<'a, E: Element> From<&'a [E]> for Value<'a> {
    fn from(entries: &'a [E]) -> Self {
        ArrayView1::from(entries).into()
    }
}

impl<'a, E: Element> From<&'a Vec<E>> for Value<'a> {
    fn from(entries: &'a Vec<E>) -> Self {
        entries.as_slice().into()
    }
}

impl<E: Element, const N: usize> From<[E; N]> for Value<'_> {
    fn from(entries: [E; N]) -> Self {
        entries.to_vec().into()
    }
}

impl<'a, E: Element, const N: usize> From<&'a [E; N]> for Value<'a> {
    fn from(entries: &'a [E; N]) -> Self {
        entries.as_slice().into()
    }
}

// What `values![x]` makes of a parameter that is a reference.
impl<'a, E: Element, S: Data<Elem = E>, D: Dimension> From<&'a &ArrayBase<S, D>> for Value<'a> {
    fn from(array: &'a &ArrayBase<S, D>) -> Self {
        (*array).into()
    }
}

impl<'a, E: Element> From<&'a &[E]> for Value<'a> {
    fn from(entries: &'a &[E]) -> Self {
        (*entries).into()
    }
}

impl<'a, E: Element> From<&'a &Vec<E>> for Value<'a> {
    fn from(entries: &'a &Vec<E>) -> Self {
        (*entries).into()
    }
}

// What Rust indexes by becomes integers as there are on a tape.

impl<S: Data<Elem = usize>, D: Dimension> From<&ArrayBase<S, D, usize>> for Value<'_> {
    /// Panics for a number that is no `i32`.
    #[track_caller]
    fn from(array: &ArrayBase<S, D, usize>) -> Self {
        integers(array.view().into_dyn())
    }
}

impl<D: Dimension> From<Array<usize, D>> for Value<'_> {
    /// Panics for a number that is no `i32`.
    #[track_caller]
    fn from(array: Array<usize, D>) -> Self {
        integers(array.view().into_dyn())
    }
}

impl From<Vec<usize>> for Value<'_> {
    /// Panics for a number that is no `i32`.
    #[track_caller]
    fn from(entries: Vec<usize>) -> Self {
        integers(ndarray::aview1(&entries).into_dyn())
    }
}

impl From<&[usize]> for Value<'_> {
    /// Panics for a number that is no `i32`.
    #[track_caller]
    fn from(entries: &[usize]) -> Self {
        integers(ndarray::aview1(entries).into_dyn())
    }
}

impl From<&Vec<usize>> for Value<'_> {
    /// Panics for a number that is no `i32`.
    #[track_caller]
    fn from(entries: &Vec<usize>) -> Self {
        entries.as_slice().into()
    }
}

impl<const N: usize> From<[usize; N]> for Value<'_> {
    /// Panics for a number that is no `i32`.
    #[track_caller]
    fn from(entries: [usize; N]) -> Self {
        entries.as_slice().into()
    }
}

impl<const N: usize> From<&[usize; N]> for Value<'_> {
    /// Panics for a number that is no `i32`.
    #[track_caller]
    fn from(entries: &[usize; N]) -> Self {
        entries.as_slice().into()
    }
}

impl From<usize> for Value<'_> {
    /// Panics for a number that is no `i32`.
    #[track_caller]
    fn from(number: usize) -> Self {
        integers(ndarray::aview0(&number).into_dyn())
    }
}

#[track_caller]
fn integers<'a>(numbers: ArrayViewD<'_, usize>) -> Value<'a> {
    if let Some((position, number)) = numbers.iter().enumerate().find(|(_, number)| i32::try_from(**number).is_err()) {
        panic!("index {number} at position {position} is more than the largest 32-bit index, {}", i32::MAX);
    }
    numbers.mapv(|number| number as i32).into()
}

/// The list of [`Value`]s that [`Program::run`](crate::Program::run) takes: `values![theta, states]` borrows each.
#[macro_export]
macro_rules! values {
    ($($array:expr),* $(,)?) => { [$($crate::Value::from(&$array)),*] };
}

/// Entries, dense and row-major.
#[derive(Clone, Copy, Debug)]
pub enum Slice<'a> {
    F64(&'a [f64]),
    F32(&'a [f32]),
    I32(&'a [i32]),
    U8(&'a [u8]),
}

/// Where entries are written.
#[derive(Debug)]
pub enum SliceMut<'a> {
    F64(&'a mut [f64]),
    F32(&'a mut [f32]),
    I32(&'a mut [i32]),
    U8(&'a mut [u8]),
}

/// Room for entries.
#[derive(Debug)]
pub enum Buffer {
    F64(Aligned<f64>),
    F32(Aligned<f32>),
    I32(Aligned<i32>),
    U8(Aligned<u8>),
}

/// Entries that begin where a line of the cache does. Of those that begin elsewhere (as an allocator has them) every vector of
/// AVX-512 is in two lines: products take up to twice as long.
#[derive(Debug)]
pub struct Aligned<E> {
    room: Vec<E>,
    first: usize,
    len: usize,
}

/// Bytes.
const LINE: usize = 64;

impl<E: Clone> Aligned<E> {
    fn new(entry: E, len: usize) -> Self {
        let spare = LINE / size_of::<E>();
        let room = vec![entry; len + spare];
        let first = room.as_ptr().align_offset(LINE).min(spare);
        Self { room, first, len }
    }
}

impl<E> Deref for Aligned<E> {
    type Target = [E];
    #[inline]
    fn deref(&self) -> &[E] {
        &self.room[self.first..][..self.len]
    }
}

impl<E> DerefMut for Aligned<E> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [E] {
        &mut self.room[self.first..][..self.len]
    }
}

const CHECKED: &str = "types are checked when an operation is recorded";

impl<'a> Slice<'a> {
    pub fn of<E: Element>(self) -> &'a [E] {
        E::slice(self).expect(CHECKED)
    }

    pub fn range(self, range: Range<usize>) -> Self {
        by_dtype!(Slice, self, |slice| Element::as_slice(&slice[range]))
    }

    pub fn to_value(self, shape: &[usize]) -> Value<'static> {
        by_dtype!(Slice, self, |slice| {
            ArrayD::from_shape_vec(shape, slice.to_vec()).expect("as many entries as the shape has").into()
        })
    }
}

impl<'a> SliceMut<'a> {
    pub fn of<E: Element>(self) -> &'a mut [E] {
        E::slice_mut(self).expect(CHECKED)
    }

    /// The first entries (as many as there are), and the rest.
    pub fn split_at(self, count: usize) -> (Self, Self) {
        by_dtype!(SliceMut, self, |slice| {
            let (first, rest) = slice.split_at_mut(count.min(slice.len()));
            (Element::as_slice_mut(first), Element::as_slice_mut(rest))
        })
    }

    pub fn as_slice(&self) -> Slice<'_> {
        by_dtype!(SliceMut, self, |slice| Element::as_slice(slice))
    }

    pub fn reborrow(&mut self) -> SliceMut<'_> {
        by_dtype!(SliceMut, self, |slice| Element::as_slice_mut(slice))
    }

    pub fn range(self, range: Range<usize>) -> Self {
        by_dtype!(SliceMut, self, |slice| Element::as_slice_mut(&mut slice[range]))
    }

    /// Takes the entries of a slice of the same type and length.
    pub fn copy_from(self, from: Slice<'_>) {
        by_dtype!(SliceMut, self, |slice| slice.copy_from_slice(from.of()));
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Buffer::F64(Aligned { room: Vec::new(), first: 0, len: 0 })
    }
}

impl Buffer {
    pub fn new(dtype: DType, size: usize) -> Self {
        match dtype {
            DType::F64 => Buffer::F64(Aligned::new(0.0, size)),
            DType::F32 => Buffer::F32(Aligned::new(0.0, size)),
            DType::I32 => Buffer::I32(Aligned::new(0, size)),
            DType::U8 => Buffer::U8(Aligned::new(0, size)),
        }
    }

    pub fn len(&self) -> usize {
        by_dtype!(Buffer, self, |entries| entries.len())
    }

    #[inline]
    pub fn slice(&self, range: Range<usize>) -> Slice<'_> {
        by_dtype!(Buffer, self, |entries| Element::as_slice(&entries[range]))
    }

    #[inline]
    pub fn slice_mut(&mut self, range: Range<usize>) -> SliceMut<'_> {
        by_dtype!(Buffer, self, |entries| Element::as_slice_mut(&mut entries[range]))
    }
}
