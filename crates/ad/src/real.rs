//! What a floating-point number is: `f64` and `f32`, for code that is written once for both.

use std::fmt::LowerExp;
use std::iter::Sum;
use std::ops::AddAssign;

use crate::tensor::Element;

/// `f64` or `f32`.
pub trait Real: num_traits::Float + num_traits::NumAssign + Element + LowerExp + Sum {
    /// An integer of the same size: what is counted along with numbers takes as many vectors.
    type Count: Copy + Default + PartialEq + AddAssign + From<bool>;
    /// The nearest number of this type.
    fn of(x: f64) -> Self;
    /// This number as an `f64`, exactly.
    fn as_f64(self) -> f64;
}

macro_rules! real {
    ($type:ident, $count:ident) => {
        impl Real for $type {
            type Count = $count;
            #[inline(always)]
            fn of(x: f64) -> Self {
                x as $type
            }
            #[inline(always)]
            fn as_f64(self) -> f64 {
                self as f64
            }
        }
    };
}
real!(f64, u64);
real!(f32, u32);
