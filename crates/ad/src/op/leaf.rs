//! Nodes without operands: inputs, constants, and placeholders for values that are still to come.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ndarray::{Array2, ArrayD};

use super::{Call, Cotangents, Failure, Op, Operand, Rules, apply};
use crate::dtype::{DType, by_dtype};
use crate::real::Real;
use crate::tape::{Var, constant};
use crate::tensor::{Shape, SliceMut, Value};

/// An array held by a node, row-major, compared by identity.
#[derive(Clone, Debug)]
pub struct Data(Arc<Value<'static>>);

impl Data {
    pub fn value(&self) -> &Value<'static> {
        &self.0
    }

    fn address(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }
}

impl From<Value<'_>> for Data {
    fn from(value: Value<'_>) -> Self {
        Self(Arc::new(value.owned()))
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        self.address() == other.address()
    }
}

impl Eq for Data {}

impl Hash for Data {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.address().hash(state);
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Leaf {
    /// May be replaced when a program runs; the value is the one it was recorded with.
    Input { name: Arc<str>, value: Data },
    /// Never changes.
    Constant(Data),
    /// One number (as the bits of an `f64`) everywhere.
    Fill { bits: u64, dtype: DType, shape: Shape },
    /// The unit arrays of some shape, along a new axis in front of it or behind: entries of an identity matrix.
    Units { dtype: DType, shape: Shape },
    /// Stands for an argument that is substituted later (by `vmap`, or by a tangent); has no numbers.
    Placeholder { dtype: DType, shape: Shape },
}

impl Leaf {
    pub fn input(name: &str, value: Data) -> Self {
        Leaf::Input { name: name.into(), value }
    }

    /// Its entries; of one number everywhere, as many as `shape` has.
    pub fn data(&self, shape: &[usize]) -> Data {
        let rounded = |array: ArrayD<f64>, dtype: DType| Value::from(array).rounded(dtype).into();
        match self {
            Leaf::Input { value, .. } | Leaf::Constant(value) => value.clone(),
            Leaf::Fill { bits, dtype, .. } => rounded(ArrayD::from_elem(shape, f64::from_bits(*bits)), *dtype),
            Leaf::Units { dtype, shape } => {
                let n = shape.iter().product::<usize>().isqrt();
                let units = Array2::eye(n).into_shape_with_order(shape.as_slice()).expect("n² entries");
                rounded(units, *dtype)
            }
            Leaf::Placeholder { .. } => {
                unreachable!("a placeholder has no entries, and is refused where a program is made")
            }
        }
    }

    /// One number everywhere, as near to it as the type has one.
    pub fn fill(number: f64, dtype: DType, shape: &[usize]) -> Self {
        Leaf::Fill { bits: dtype.round(number).to_bits(), dtype, shape: shape.into() }
    }
}

/// An array of the given shape with the same number everywhere, on the tape and of the type of a Var.
#[track_caller]
pub(crate) fn fill(like: Var, number: f64, shape: &[usize]) -> Var {
    expect_in_range(like, number);
    apply(like.tape, Op::Leaf(Leaf::fill(number, like.dtype(), shape)), &[])
}

/// A finite number that a type can only have as an infinity would make NaNs without a word.
#[track_caller]
fn expect_in_range(like: Var, number: f64) {
    let dtype = like.dtype();
    assert!(
        !number.is_finite() || dtype.round(number).is_finite(),
        "the number {number:e} is beyond the largest of {dtype}, {:e}, which the array that it meets is of; use an infinity if \
         one is meant\n  array made at {}",
        dtype.largest(),
        like.location()
    );
}

impl Var {
    /// This array's shape and type with `number` everywhere, whatever this array holds: a constant, for a function that is
    /// given Vars and no tape. (x·0 would do for finite x only.)
    ///
    /// Panics if its type is no floating-point one.
    #[track_caller]
    #[must_use]
    pub fn full_like(self, number: f64) -> Self {
        self.check_float("full_like");
        fill(self, number, &self.shape())
    }

    /// [`full_like`](Self::full_like) of 0.
    #[track_caller]
    #[must_use]
    pub fn zeros_like(self) -> Self {
        self.full_like(0.0)
    }

    /// [`full_like`](Self::full_like) of 1.
    #[track_caller]
    #[must_use]
    pub fn ones_like(self) -> Self {
        self.full_like(1.0)
    }

    /// A constant on this Var's tape, for a function that is given Vars and no tape. Of two floating-point types it takes this
    /// Var's, rounded: the numbers that a function brings along are computed with in the type that it is given. Bytes stay
    /// bytes, and beside bytes any array stays what it is.
    ///
    /// Panics if a finite number is beyond the largest of this Var's type.
    #[track_caller]
    #[must_use]
    pub fn constant<'a>(self, value: impl Into<Value<'a>>) -> Self {
        let value = value.into();
        if let (Value::F64(numbers), DType::F32) = (&value, self.dtype()) {
            for &number in numbers {
                expect_in_range(self, number);
            }
        }
        constant(self.tape, value.rounded(self.dtype()))
    }
}

impl Rules for Leaf {
    fn name(&self) -> &str {
        match self {
            Leaf::Input { .. } => "input",
            Leaf::Constant(_) => "constant",
            Leaf::Fill { .. } => "fill",
            Leaf::Units { .. } => "units",
            Leaf::Placeholder { .. } => "placeholder",
        }
    }

    fn parameters(&self) -> String {
        match self {
            Leaf::Input { name, .. } => format!("{name:?}"),
            Leaf::Fill { bits, .. } => f64::from_bits(*bits).to_string(),
            _ => String::new(),
        }
    }

    fn dtype(&self, _operands: &[DType]) -> Result<DType, String> {
        Ok(match self {
            Leaf::Input { value, .. } | Leaf::Constant(value) => value.value().dtype(),
            Leaf::Fill { dtype, .. } | Leaf::Units { dtype, .. } | Leaf::Placeholder { dtype, .. } => *dtype,
        })
    }

    fn shape(&self, _operands: &[&[usize]]) -> Result<Shape, String> {
        Ok(match self {
            Leaf::Input { value, .. } | Leaf::Constant(value) => value.value().shape().into(),
            Leaf::Fill { shape, .. } | Leaf::Units { shape, .. } | Leaf::Placeholder { shape, .. } => shape.clone(),
        })
    }

    fn vjp(&self, _call: &Call, _cotangent: Var) -> Cotangents {
        Cotangents::new()
    }

    fn with_leading_axis(&self, _size: usize) -> Op {
        unreachable!("a leaf depends on no argument")
    }

    fn forward(&self, _operands: &[Operand<'_>], _shape: &[usize], out: SliceMut<'_>) -> Result<(), Failure> {
        match self {
            Leaf::Fill { bits, .. } => {
                let number = f64::from_bits(*bits);
                by_dtype!(floats SliceMut, out, |out| out.fill(Real::of(number)));
            }
            _ => unreachable!("inputs and constants are read where they lie; placeholders are refused at compilation"),
        }
        Ok(())
    }
}
