//! Numbers of one type as numbers of another.

use super::functions::Number;
use crate::machine::simd::{self, Kernel};
use crate::real::Real;
use crate::tensor::Element;

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
