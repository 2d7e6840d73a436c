//! Nodes without operands: inputs, constants, and placeholders for values that are still to come.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ndarray::ArrayD;

use super::{Call, Cotangents, Failure, Op, Operand, Out, Rules};
use crate::real::Real;
use crate::tape::{Kind, Var};
use crate::tensor::Shape;

/// An array held by a node, compared by identity.
#[derive(Clone, Debug)]
pub enum Data<T> {
    Real(Arc<ArrayD<T>>),
    Index(Arc<ArrayD<i32>>),
}

impl<T> Data<T> {
    fn address(&self) -> usize {
        match self {
            Data::Real(array) => Arc::as_ptr(array).cast::<()>() as usize,
            Data::Index(array) => Arc::as_ptr(array).cast::<()>() as usize,
        }
    }

    pub fn shape(&self) -> &[usize] {
        match self {
            Data::Real(array) => array.shape(),
            Data::Index(array) => array.shape(),
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Data::Real(_) => Kind::Real,
            Data::Index(_) => Kind::Index,
        }
    }
}

impl<T> PartialEq for Data<T> {
    fn eq(&self, other: &Self) -> bool {
        self.address() == other.address()
    }
}

impl<T> Eq for Data<T> {}

impl<T> Hash for Data<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.address().hash(state);
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Leaf<T> {
    /// May be replaced when a program runs; the value is the one it was recorded with.
    Input { name: Arc<str>, value: Data<T> },
    /// Never changes.
    Constant(Data<T>),
    /// One number (as the bits of an `f64`) everywhere.
    Fill { bits: u64, shape: Shape },
    /// The unit arrays of some shape, along a new axis in front of it or behind: entries of an identity matrix.
    Units { shape: Shape },
    /// Stands for an argument that is substituted later (by `vmap`, or by a tangent); has no numbers.
    Placeholder { kind: Kind, shape: Shape },
}

impl<T: PartialEq> Eq for Leaf<T> {}

impl<T> Hash for Leaf<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Leaf::Input { value, .. } | Leaf::Constant(value) => value.hash(state),
            Leaf::Fill { bits, shape } => (bits, shape).hash(state),
            Leaf::Units { shape } => shape.hash(state),
            Leaf::Placeholder { kind, shape } => (kind, shape).hash(state),
        }
    }
}

impl<T> Leaf<T> {
    pub fn input(name: &str, value: Data<T>) -> Self {
        Leaf::Input { name: name.into(), value }
    }

    pub fn constant(value: Data<T>) -> Self {
        Leaf::Constant(value)
    }
}

/// An array of the given shape with the same number everywhere.
#[track_caller]
pub(crate) fn fill<T: Real>(tape: u32, number: f64, shape: &[usize]) -> Var<T> {
    super::apply(tape, Op::Leaf(Leaf::Fill { bits: number.to_bits(), shape: shape.into() }), &[])
}

impl<T: Real> Var<T> {
    /// This array's shape with `number` everywhere, whatever this array holds: a constant, for a function that is given Vars
    /// and no tape. (x·0 would do for finite x only.)
    #[track_caller]
    #[must_use]
    pub fn full_like(self, number: T) -> Self {
        fill(self.tape, number.as_f64(), &self.shape())
    }
}

impl<T: Real> Rules<T> for Leaf<T> {
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

    fn kind(&self, _first: Kind) -> Kind {
        match self {
            Leaf::Input { value, .. } | Leaf::Constant(value) => value.kind(),
            Leaf::Fill { .. } | Leaf::Units { .. } => Kind::Real,
            Leaf::Placeholder { kind, .. } => *kind,
        }
    }

    fn shape(&self, _operands: &[&[usize]]) -> Result<Shape, String> {
        Ok(match self {
            Leaf::Input { value, .. } | Leaf::Constant(value) => value.shape().into(),
            Leaf::Fill { shape, .. } | Leaf::Units { shape } | Leaf::Placeholder { shape, .. } => shape.clone(),
        })
    }

    fn vjp(&self, _call: &Call<T>, _cotangent: Var<T>) -> Cotangents<T> {
        Cotangents::new()
    }

    fn batched(&self, _size: usize) -> Op<T> {
        unreachable!("a leaf depends on no argument")
    }

    fn forward(&self, _operands: &[Operand<'_, T>], _shape: &[usize], out: Out<'_, T>) -> Result<(), Failure> {
        match self {
            Leaf::Fill { bits, .. } => out.real().fill(T::of(f64::from_bits(*bits))),
            _ => unreachable!("inputs and constants are read where they lie; placeholders are refused at compilation"),
        }
        Ok(())
    }
}
