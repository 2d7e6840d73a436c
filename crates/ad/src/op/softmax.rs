//! The log-softmax along an axis, and the two linear maps that its derivatives are made of, which are each other's
//! transpose. With probabilities p along the axis:
//!
//! |              |                |
//! |--------------|----------------|
//! | log-softmax  | x − ln Σ e^x   |
//! | deviation    | v − Σ p·v      |
//! | transposed   | g − p·Σ g      |
//!
//! Written as sums and products they cancel where a probability is near 1, as those of a policy that is nearly sure: a
//! derivative p(1 − p) would be a rounding error. Hence operations of their own, whose kernels take everything relative to
//! the entry of the largest probability.

use super::{Call, Cotangents, Failure, Op, Operand, Rows, Rules, apply};
use crate::dtype::by_dtype;
use crate::kernel::map::Repeat;
use crate::kernel::softmax::{deviation, deviation_transposed, log_softmax};
use crate::tape::Var;
use crate::tensor::{Shape, SliceMut, around, size};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Softmax {
    pub part: Part,
    pub axis: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// x ↦ x − ln Σ e^x
    Logarithm,
    /// (v, p) ↦ v − Σ p·v
    Deviation,
    /// (g, p) ↦ g − p·Σ g
    Transposed,
}

impl Rules for Softmax {
    fn name(&self) -> &str {
        match self.part {
            Part::Logarithm => "log_softmax",
            Part::Deviation => "deviation",
            Part::Transposed => "deviation^T",
        }
    }

    fn parameters(&self) -> String {
        format!("axis={}", self.axis)
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        Ok(operands[0].into())
    }

    fn vjp(&self, call: &Call, g: Var) -> Cotangents {
        // That of p, in both: minus the cotangent or the operand itself, times the other's sum.
        let by_probabilities =
            |itself: Var, summed: Var| -(itself * summed.sum_axes(&[self.axis]).insert_axis(self.axis));
        let of = |part: Part, x: Var, p: Var| {
            apply(call.tape, Op::Softmax(Softmax { part, axis: self.axis }), &[x.node, p.node])
        };
        match self.part {
            Part::Logarithm => call.one(|| of(Part::Transposed, g, call.output().exp())),
            Part::Deviation => {
                let (v, p) = (call.var(0), call.var(1));
                call.two(|| of(Part::Transposed, g, p), || by_probabilities(v, g))
            }
            Part::Transposed => {
                let (x, p) = (call.var(0), call.var(1));
                call.two(|| of(Part::Deviation, g, p), || by_probabilities(g, x))
            }
        }
    }

    fn with_leading_axis(&self, _size: usize) -> Op {
        Op::Softmax(Softmax { axis: self.axis + 1, ..*self })
    }

    fn rows(&self, operands: &[&[usize]]) -> Option<Rows> {
        Rows::alike(operands).filter(|_| self.axis > 0)
    }

    fn takes_repeated(&self, operand: usize, repeat: Repeat, shape: &[usize]) -> bool {
        // One probability for all that is behind the axis.
        let (_, _, behind) = around(shape, self.axis);
        operand == 1 && behind > 1 && repeat == Repeat::each(behind)
    }

    fn forward(&self, operands: &[Operand<'_>], shape: &[usize], out: SliceMut<'_>) -> Result<(), Failure> {
        let (_, n, behind) = around(shape, self.axis);
        by_dtype!(floats SliceMut, out, |out| {
            let x = operands[0].numbers();
            match self.part {
                Part::Logarithm => log_softmax(x, n, behind, out),
                Part::Deviation => deviation(x, operands[1].view(), n, behind, out),
                Part::Transposed => deviation_transposed(x, operands[1].view(), n, behind, out),
            }
        });
        Ok(())
    }

    fn flops(&self, _operands: &[&[usize]], shape: &[usize]) -> usize {
        4 * size(shape)
    }
}

impl Var {
    /// [`log_softmax`](Self::log_softmax) along any axis.
    #[track_caller]
    pub(crate) fn log_softmax_along(self, axis: usize) -> Self {
        self.check_alive();
        apply(self.tape, Op::Softmax(Softmax { part: Part::Logarithm, axis }), &[self.node])
    }

    /// x − ln Σ e^x along the last axis: log-probabilities from logits. A logit of −∞ has probability 0; if all are, the
    /// result is NaN.
    ///
    /// Derivatives keep their digits where a probability is near 1: 1 − p and p(1 − p), at every order.
    #[track_caller]
    #[must_use]
    pub fn log_softmax(self) -> Self {
        let last = self.shape().len().checked_sub(1).expect("log_softmax: a scalar has no last axis");
        self.log_softmax_along(last)
    }

    /// e^x / Σ e^x along the last axis: probabilities from logits.
    #[track_caller]
    #[must_use]
    pub fn softmax(self) -> Self {
        self.log_softmax().exp()
    }
}
