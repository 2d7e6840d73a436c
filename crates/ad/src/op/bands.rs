//! Matrices of a few diagonals. Lowering makes them of Jacobians (`program/bands.rs`), and watches their numbers: one that is not
//! finite fails with [`Failure::LeftRange`], and the program runs as recorded. (What is 0 beside the diagonals was recorded as 0·y,
//! a NaN for an infinite y; then y is in a diagonal, too.)

use smallvec::SmallVec;

use super::{Call, Cotangents, Failure, Op, Operand, Rules};
use crate::dtype::by_dtype;
use crate::real::Real;
use crate::tape::Var;
use crate::tensor::{Shape, SliceMut, size};

/// Of each operand v, of length n, entry j is in column j, `offset` rows below the diagonal: at (j + offset, j); none beyond the last
/// row or before the first. Everything else is 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bands {
    /// One for each operand, no two alike.
    pub offsets: SmallVec<[isize; 3]>,
    pub rows: usize,
    /// Whether it is the transpose of this matrix.
    pub transposed: bool,
}

impl Rules for Bands {
    fn name(&self) -> &str {
        "bands"
    }

    fn parameters(&self) -> String {
        let sign = if self.transposed { -1 } else { 1 };
        let places: Vec<String> = self.offsets.iter().map(|offset| (sign * offset).to_string()).collect();
        format!("below the diagonal {}", places.join(", "))
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        let columns = operands[0][0];
        let alike = operands.len() == self.offsets.len() && operands.iter().all(|&operand| operand == [columns]);
        match alike {
            true if self.transposed => Ok(Shape::from_slice(&[columns, self.rows])),
            true => Ok(Shape::from_slice(&[self.rows, columns])),
            false => Err(format!("diagonals of shapes {operands:?}")),
        }
    }

    fn vjp(&self, _call: &Call, _cotangent: Var) -> Cotangents {
        unreachable!("lowering begins when derivatives stand")
    }

    fn with_leading_axis(&self, _size: usize) -> Op {
        unreachable!("lowering begins when functions are mapped")
    }

    fn forward(&self, operands: &[Operand<'_>], _shape: &[usize], out: SliceMut<'_>) -> Result<(), Failure> {
        let are_finite = by_dtype!(floats SliceMut, out, |out| self.write(operands, out));
        if are_finite { Ok(()) } else { Err(Failure::LeftRange) }
    }

    fn reads(&self, operand: usize, operands: &[&[usize]], _shape: &[usize]) -> usize {
        size(operands[operand])
    }
}

impl Bands {
    /// Whether all that is written is finite.
    fn write<T: Real>(&self, operands: &[Operand<'_>], out: &mut [T]) -> bool {
        out.fill(T::zero());
        let mut are_finite = true;
        for (operand, &offset) in operands.iter().zip(&self.offsets) {
            let band = operand.data.of::<T>();
            are_finite &= band.iter().all(|x| x.is_finite());
            let first = 0.max(-offset) as usize;
            let end = (self.rows as isize - offset).clamp(0, band.len() as isize) as usize;
            for (column, &x) in band.iter().enumerate().take(end).skip(first) {
                let row = (column as isize + offset) as usize;
                let place = if self.transposed { column * self.rows + row } else { row * band.len() + column };
                out[place] = x;
            }
        }
        are_finite
    }
}
