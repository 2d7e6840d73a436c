//! Numbers of one type as numbers of another; sums in double precision of numbers of any.

use super::functions::Number;
use crate::dtype::by_dtype;
use crate::machine::simd::{self, Kernel};
use crate::real::Real;
use crate::tensor::{Element, Slice, SliceMut};

/// A type whose numbers can be made such of a floating-point one.
pub trait CastTo<T>: Element {
    /// The nearest number.
    fn cast(self) -> T;
}

macro_rules! cast_to {
    ($($from:ident $to:ident),*) => {$(
        impl CastTo<$to> for $from {
            #[inline(always)]
            fn cast(self) -> $to {
                self as $to
            }
        }
    )*};
}
cast_to!(f64 f64, f64 f32, f32 f64, f32 f32, i32 f64, i32 f32, u8 f64, u8 f32);

/// out = x, rounded to the nearest.
pub fn cast<E: CastTo<T>, T: Number>(x: &[E], out: &mut [T]) {
    simd::run(Casting { x, out });
}

/// out = x; the error is the position of an integer that is none of the numbers.
pub fn cast_exactly<T: Number>(x: &[i32], out: &mut [T]) -> Result<(), usize>
where
    i32: CastTo<T>,
{
    cast(x, out);
    let is_another = |(out, &x): (&T, &i32)| out.as_f64() != f64::from(x);
    out.iter().zip(x).position(is_another).map_or(Ok(()), Err)
}

struct Casting<'a, E, T> {
    x: &'a [E],
    out: &'a mut [T],
}

impl<E: CastTo<T>, T: Real> Kernel for Casting<'_, E, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for (out, &x) in self.out.iter_mut().zip(self.x) {
            *out = x.cast();
        }
    }
}

/// out = x, rounded to the nearest.
pub fn round(x: &[f64], out: SliceMut<'_>) {
    by_dtype!(floats SliceMut, out, |out| cast(x, out));
}

/// sums += x.
pub fn add(x: Slice<'_>, sums: &mut [f64]) {
    by_dtype!(floats Slice, x, |x| simd::run(Adding { x, sums }));
}

struct Adding<'a, T> {
    x: &'a [T],
    sums: &'a mut [f64],
}

impl<T: Real> Kernel for Adding<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for (sum, x) in self.sums.iter_mut().zip(self.x) {
            *sum += x.as_f64();
        }
    }
}
