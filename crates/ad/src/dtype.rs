//! The types that an array's entries can have, as data.
//!
//! A node of a tape has one of them beside its shape, checked when it is recorded. Kernels are generic, and chosen by a
//! `match` where they are called ([`by_dtype`]); so no type parameter is above them.

use std::fmt::{Display, Formatter, Result};

/// What an array's entries are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    /// Double precision.
    F64,
    /// Single precision.
    F32,
    /// Integers: states, actions. (What an [`Index`](crate::Index) is of.)
    I32,
    /// Bytes: the pixels of a frame.
    U8,
}

impl DType {
    /// As Rust calls it.
    pub fn name(self) -> &'static str {
        match self {
            DType::F64 => "f64",
            DType::F32 => "f32",
            DType::I32 => "i32",
            DType::U8 => "u8",
        }
    }

    /// The bytes of an entry.
    pub fn bytes(self) -> usize {
        match self {
            DType::F64 => 8,
            DType::F32 | DType::I32 => 4,
            DType::U8 => 1,
        }
    }

    /// The largest (finite) number.
    pub fn largest(self) -> f64 {
        match self {
            DType::F64 => f64::MAX,
            DType::F32 => f32::MAX.into(),
            DType::I32 => i32::MAX.into(),
            DType::U8 => u8::MAX.into(),
        }
    }

    /// Whether arrays of it can be computed with, and differentiated.
    pub fn is_float(self) -> bool {
        matches!(self, DType::F64 | DType::F32)
    }

    /// The nearest number of this floating-point type. (Sums and products of two numbers of a type, taken in `f64` and rounded
    /// so, are those of the type.)
    pub(crate) fn round(self, x: f64) -> f64 {
        if self == DType::F32 { f64::from(x as f32) } else { x }
    }

    /// Whether a number of this type is neither 0, subnormal, infinite nor NaN.
    pub(crate) fn is_normal(self, x: f64) -> bool {
        if self == DType::F32 { (x as f32).is_normal() } else { x.is_normal() }
    }
}

impl Display for DType {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(self.name())
    }
}

/// Matches an enum over types (`Slice`, `Value` …), and runs `$body` on what it holds. With `floats`: on `f64` and `f32` alone,
/// where recording has refused the others.
macro_rules! by_dtype {
    ($enum:ident, $value:expr, |$x:ident| $body:expr) => {
        match $value {
            $enum::F64($x) => $body,
            $enum::F32($x) => $body,
            $enum::I32($x) => $body,
            $enum::U8($x) => $body,
        }
    };
    (floats $enum:ident, $value:expr, |$x:ident| $body:expr) => {
        match $value {
            $enum::F64($x) => $body,
            $enum::F32($x) => $body,
            $enum::I32(_) | $enum::U8(_) => unreachable!("types are checked when an operation is recorded"),
        }
    };
}
pub(crate) use by_dtype;
