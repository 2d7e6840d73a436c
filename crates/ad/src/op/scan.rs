//! The first-order linear recurrence along an axis, y_t = a_t + b_t·y_{t−1}, which most of reinforcement learning is made
//! of: cumulative sums, discounted returns, GAE(λ), V-trace, the doubly robust recursion.
//!
//! Two flags: the direction, and whether b is shifted by one. Transposition flips both, so that the operation is closed
//! under differentiation:
//!
//! |                    | not shifted               | shifted                     |
//! |--------------------|---------------------------|-----------------------------|
//! | forward            | y_t = a_t + b_t·y_{t−1}   | y_t = a_t + b_{t−1}·y_{t−1} |
//! | reverse            | y_t = a_t + b_t·y_{t+1}   | y_t = a_t + b_{t+1}·y_{t+1} |
//!
//! Outside the axis y is 0; or, of one that is not shifted, a third operand (of length 1 along the axis), from which it
//! starts: y_{−1}, or y_T of a reverse one.

use super::movement::Movement;
use super::{Call, Cotangents, Failure, Op, Operand, Rows, Rules, apply};
use crate::dtype::by_dtype;
use crate::kernel;
use crate::kernel::map::Repeat;
use crate::tape::{Operands, Var};
use crate::tensor::{Shape, SliceMut, around, size};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scan {
    pub axis: usize,
    pub reverse: bool,
    pub shifted: bool,
}

/// What enters an array at an end of an axis has length 1 along it, and else the array's shape: along axis 0, [1, 3] enters
/// [20, 3].
pub(super) fn expect_entering_fits(shape: &[usize], axis: usize, entering: Option<&[usize]>) -> Result<(), String> {
    let fits = |entering: &[usize]| {
        let lengths = shape.iter().enumerate().map(|(i, &length)| if i == axis { 1 } else { length });
        lengths.eq(entering.iter().copied())
    };
    match entering.filter(|entering| !fits(entering)) {
        Some(entering) => Err(format!("shape {entering:?} does not enter {shape:?} along axis {axis}")),
        None => Ok(()),
    }
}

impl Rules for Scan {
    fn name(&self) -> &str {
        "scan"
    }

    fn parameters(&self) -> String {
        let direction = if self.reverse { "reverse" } else { "forward" };
        format!("axis={} {direction}{}", self.axis, if self.shifted { " shifted" } else { "" })
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        if self.axis >= operands[0].len() {
            return Err(format!("axis {} of shape {:?}, which has {}", self.axis, operands[0], operands[0].len()));
        }
        expect_entering_fits(operands[0], self.axis, operands.get(2).copied())?;
        Ok(operands[0].into())
    }

    fn vjp(&self, call: &Call, g: Var) -> Cotangents {
        let (b, y) = (call.var(1), call.output());
        let transposed = Scan { axis: self.axis, reverse: !self.reverse, shifted: !self.shifted };
        let adjoint = apply(call.tape, Op::Scan(transposed), &[g.node, b.node]);
        let start = (call.operands.len() == 3).then(|| call.var(2));
        // b_t multiplies y_{t∓1} into y_t; shifted, y_t into y_{t±1}.
        let forward = !self.reverse;
        let mut cotangents = call.two(
            || adjoint,
            || {
                if self.shifted {
                    adjoint.shift(self.axis, !forward) * y
                } else {
                    adjoint * y.shifted(self.axis, forward, start)
                }
            },
        );
        if start.is_some() {
            let first = if forward { 0 } else { y.shape()[self.axis] - 1 };
            let at_first = |x: Var| x.slice(self.axis, first..first + 1);
            cotangents.push(call.needed[2].then(|| at_first(adjoint) * at_first(b)));
        }
        cotangents
    }

    fn with_leading_axis(&self, _size: usize) -> Op {
        Op::Scan(Scan { axis: self.axis + 1, ..*self })
    }

    fn rows(&self, operands: &[&[usize]]) -> Option<Rows> {
        Rows::alike(operands).filter(|_| self.axis > 0)
    }

    fn forward(&self, operands: &[Operand<'_>], shape: &[usize], out: SliceMut<'_>) -> Result<(), Failure> {
        let (_, length, behind) = around(shape, self.axis);
        let Scan { reverse, shifted, .. } = *self;
        by_dtype!(floats SliceMut, out, |out| {
            let (a, b, start) = (operands[0].numbers(), operands[1].view(), operands.get(2).map(Operand::numbers));
            kernel::scan::Scan { a, b, start, out, length, behind, reverse, shifted }.compute();
        });
        Ok(())
    }

    fn takes_repeated(&self, operand: usize, repeat: Repeat, shape: &[usize]) -> bool {
        // b may be one number for all that is behind the axis, if not the same for every row.
        let (_, _, behind) = around(shape, self.axis);
        let one_number = repeat.run == 1 && behind > 0 && repeat.times.is_multiple_of(behind);
        operand == 1 && (one_number || behind == 1 && repeat.times == 1)
    }

    fn flops(&self, _operands: &[&[usize]], shape: &[usize]) -> usize {
        2 * size(shape)
    }
}

impl Var {
    /// Moved by one along an axis, towards its end if `later` (else towards its beginning), with a 0 coming in.
    ///
    /// ```
    /// let tape = ad::Tape::new();
    /// let x = tape.input("x", ndarray::arr1(&[1.0, 2.0, 3.0]));
    /// assert_eq!(x.shift(0, true).value(), ndarray::arr1(&[0.0, 1.0, 2.0]).into_dyn());
    /// assert_eq!(x.shift(0, false).value(), ndarray::arr1(&[2.0, 3.0, 0.0]).into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn shift(self, axis: usize, later: bool) -> Self {
        self.check_alive();
        self.shifted(axis, later, None)
    }

    /// The same, with an array of length 1 along the axis coming in, if there is one.
    #[track_caller]
    pub(crate) fn shifted(self, axis: usize, later: bool, coming: Option<Self>) -> Self {
        let operands: Operands = [Some(self), coming].iter().flatten().map(|x| x.node).collect();
        apply(self.tape, Op::Movement(Movement::Shift { axis, later }), &operands)
    }

    /// y_t = a_t + b_t·y_{t−1} along an axis, where a is this array and y_{−1} = 0. b broadcasts.
    #[track_caller]
    #[must_use]
    pub fn scan(self, b: impl Into<super::elementwise::Term>, axis: usize) -> Self {
        self.scanned(b.into(), axis, false)
    }

    /// y_t = a_t + b_t·y_{t+1} along an axis, where a is this array and nothing comes after the last. b broadcasts.
    ///
    /// With b = γ and rewards for a it is the return-to-go; with b = γλ and temporal differences, GAE(λ).
    #[track_caller]
    #[must_use]
    pub fn scan_reverse(self, b: impl Into<super::elementwise::Term>, axis: usize) -> Self {
        self.scanned(b.into(), axis, true)
    }

    /// [`scan`](Self::scan) that starts from y_{−1} = `start` (this array's shape without the axis, or a scalar).
    #[track_caller]
    #[must_use]
    pub fn scan_from(self, b: impl Into<super::elementwise::Term>, start: Self, axis: usize) -> Self {
        self.scanned_from(b.into(), start, axis, false)
    }

    /// [`scan_reverse`](Self::scan_reverse) that starts from y_T = `end` (this array's shape without the axis, or a
    /// scalar), where T is the axis' length.
    #[track_caller]
    #[must_use]
    pub fn scan_reverse_from(self, b: impl Into<super::elementwise::Term>, end: Self, axis: usize) -> Self {
        self.scanned_from(b.into(), end, axis, true)
    }

    #[track_caller]
    fn scanned(self, b: super::elementwise::Term, axis: usize, reverse: bool) -> Self {
        let b = self.factor(b);
        apply(self.tape, Op::Scan(Scan { axis, reverse, shifted: false }), &[self.node, b.node])
    }

    #[track_caller]
    fn scanned_from(self, b: super::elementwise::Term, start: Self, axis: usize, reverse: bool) -> Self {
        let (b, shape) = (self.factor(b), self.shape());
        assert!(axis < shape.len(), "scan: axis {axis} of shape {shape:?}, which has {}", shape.len());
        self.check_same_tape("scan", start);
        self.check_same_dtype("scan", start);
        let mut without = shape.clone();
        without.remove(axis);
        let given = start.shape();
        assert!(
            given.is_empty() || given == without,
            "scan: a start of shape {given:?} for an array of shape {shape:?} along axis {axis} (needs {without:?}, or a \
             scalar)\n  start made at {}",
            start.location()
        );
        if shape[axis] == 0 {
            self.check_float("scan");
            return self.unchanged();
        }
        let start = start.stretched(&without).insert_axis(axis);
        let scan = Scan { axis, reverse, shifted: false };
        apply(self.tape, Op::Scan(scan), &[self.node, b.node, start.node])
    }

    #[track_caller]
    fn factor(self, b: super::elementwise::Term) -> Self {
        self.term("scan", b).stretched(&self.shape())
    }

    /// The cumulative sum along an axis: entry t is the sum up to and including t.
    #[track_caller]
    #[must_use]
    pub fn cumsum(self, axis: usize) -> Self {
        self.scan(1.0, axis)
    }

    /// The sum of everything before, along an axis: entry t excludes t, and entry 0 is 0.
    #[track_caller]
    #[must_use]
    pub fn cumsum_exclusive(self, axis: usize) -> Self {
        self.cumsum(axis).shift(axis, true)
    }

    /// The cumulative product along an axis, well-defined (with all its derivatives) where entries are 0.
    #[track_caller]
    #[must_use]
    pub fn cumprod(self, axis: usize) -> Self {
        let shape = self.shape();
        assert!(axis < shape.len(), "cumprod: axis {axis} of shape {shape:?}, which has {}", shape.len());
        if shape[axis] == 0 {
            self.check_float("cumprod");
            return self.unchanged();
        }
        self.slice(axis, 0..1).pad(axis, 0, shape[axis] - 1).scan(self, axis)
    }
}
