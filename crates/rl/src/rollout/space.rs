//! What there is for each step: of which shape and type an observation or an action is.

use std::fmt::{self, Display};

use ad::{DType, Value};

/// The observations, or the actions, that there can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Space {
    /// One of so many things, numbered from 0.
    Discrete(usize),
    /// An array of numbers: of this shape for each step, and this type.
    Array {
        /// The lengths of its axes.
        shape: Vec<usize>,
        /// The type of its entries.
        dtype: DType,
    },
}

impl Space {
    /// A number, as of a state, of however many.
    pub const NUMBER: Self = Space::Discrete(i32::MAX as usize);

    /// Vectors of `size` numbers in double precision.
    pub fn vector(size: usize) -> Self {
        Space::Array { shape: vec![size], dtype: DType::F64 }
    }

    /// Frames of bytes: of so many rows and columns, and channels for each pixel.
    pub fn frames(rows: usize, columns: usize, channels: usize) -> Self {
        Space::Array { shape: vec![rows, columns, channels], dtype: DType::U8 }
    }

    /// The shape of one: none for a number.
    pub fn shape(&self) -> &[usize] {
        match self {
            Space::Discrete(_) => &[],
            Space::Array { shape, .. } => shape,
        }
    }

    /// The type of its entries.
    pub fn dtype(&self) -> DType {
        match self {
            Space::Discrete(_) => DType::I32,
            Space::Array { dtype, .. } => *dtype,
        }
    }

    /// How many numbers one is.
    pub fn size(&self) -> usize {
        self.shape().iter().copied().fold(1, usize::saturating_mul)
    }

    /// Whether what is made for one fits the other: spaces of real numbers of either precision are alike, because numbers are
    /// rounded where they enter a tape.
    pub fn is_like(&self, other: &Self) -> bool {
        let alike = self.dtype() == other.dtype() || self.dtype().is_float() && other.dtype().is_float();
        match (self, other) {
            (Space::Array { shape, .. }, Space::Array { shape: others, .. }) => alike && shape == others,
            _ => self == other,
        }
    }

    /// As many of them as `front` says, all 0: an array of these axes and [`shape`](Self::shape).
    pub fn zeros(&self, front: &[usize]) -> Value<'static> {
        Value::zeros(self.dtype(), &[front, self.shape()].concat())
    }
}

impl Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Space::Discrete(number) => write!(f, "one of {number} numbers"),
            Space::Array { shape, dtype } => write!(f, "arrays of {dtype} of shape {shape:?}"),
        }
    }
}
