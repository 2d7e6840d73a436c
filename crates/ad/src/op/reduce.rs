//! Operations that reduce over axes: sum, maximum, minimum, log-sum-exp. The reduced axes disappear.

use super::movement::Movement;
use super::{Call, Cotangents, Failure, Op, Operand, Rows, Rules, apply};
use crate::dtype::by_dtype;
use crate::kernel::cast;
use crate::kernel::functions::Number;
use crate::kernel::reduce::{Max, Min, Sum, fold, logsumexp, sum_in_double, with_scratch};
use crate::tape::Var;
use crate::tensor::{Axes, PerAxis, Shape, Slice, SliceMut, size};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reduce {
    pub by: By,
    /// Increasing.
    pub axes: Axes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum By {
    Sum,
    Max,
    Min,
    LogSumExp,
}

impl Rules for Reduce {
    fn name(&self) -> &str {
        match self.by {
            By::Sum => "sum",
            By::Max => "max_axes",
            By::Min => "min_axes",
            By::LogSumExp => "logsumexp",
        }
    }

    fn parameters(&self) -> String {
        format!("axes={:?}", self.axes)
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        let operand = operands[0];
        if let Some(axis) = self.axes.iter().find(|&&axis| axis >= operand.len()) {
            return Err(format!("axis {axis} of shape {operand:?}, which has {}", operand.len()));
        }
        if self.axes.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(format!("axes {:?} are not distinct", self.axes));
        }
        let empty = self.axes.iter().any(|&axis| operand[axis] == 0);
        match self.by {
            By::Max | By::Min if empty => {
                let what = if self.by == By::Max { "maximum" } else { "minimum" };
                Err(format!("the {what} of no entries, in axes {:?} of shape {operand:?}", self.axes))
            }
            _ => Ok(self.kept(operand).map(|axis| operand[axis]).collect()),
        }
    }

    fn vjp(&self, call: &Call, g: Var) -> Cotangents {
        call.one(|| {
            let x = call.var(0);
            let shape = x.shape();
            let spread = |reduced: Var| {
                let axes = self.kept(&shape).collect();
                apply(call.tape, Op::Movement(Movement::Broadcast { shape: shape.clone(), axes }), &[reduced.node])
            };
            match self.by {
                By::Sum => spread(g),
                By::Max | By::Min => {
                    let winners = x.equal(spread(call.output()));
                    spread(g / winners.sum_axes(&self.axes)) * winners
                }
                By::LogSumExp => {
                    // Where every entry is −∞ so is the result, and there are no probabilities; the derivative there is 0.
                    let impossible = call.output().equal(f64::NEG_INFINITY);
                    let x = spread(impossible).select(0.0, x);
                    spread(impossible.select(0.0, g)) * self.probabilities(x)
                }
            }
        })
    }

    fn with_leading_axis(&self, _size: usize) -> Op {
        Op::Reduce(Reduce { by: self.by, axes: self.axes.iter().map(|axis| axis + 1).collect() })
    }

    fn rows(&self, operands: &[&[usize]]) -> Option<Rows> {
        let summed = self.axes.first() == Some(&0);
        Rows::alike(operands).filter(|_| !summed || self.by == By::Sum).map(|rows| Rows { summed, ..rows })
    }

    fn forward(&self, operands: &[Operand<'_>], _shape: &[usize], out: SliceMut<'_>) -> Result<(), Failure> {
        let shape = operands[0].shape;
        match (self.by, out) {
            // Rounded once, however many steps it takes.
            (By::Sum, SliceMut::F32(out)) if !is_one_step(&self.axes) => with_scratch(out.len(), |sums| {
                self.sums_in_double(operands[0].numbers(), shape, sums);
                cast::round(sums, SliceMut::F32(out));
            }),
            (_, out) => {
                by_dtype!(floats SliceMut, out, |out| self.reduce(operands[0].numbers(), shape, &self.axes, out));
            }
        }
        Ok(())
    }

    fn accumulate(
        &self,
        operands: &[Operand<'_>],
        shape: &[usize],
        sum: &mut [f64],
        mut part: SliceMut<'_>,
    ) -> Result<(), Failure> {
        match operands[0].data {
            Slice::F32(x) => with_scratch(sum.len(), |sums| {
                self.sums_in_double(x, operands[0].shape, sums);
                cast::add(Slice::F64(sums), sum);
            }),
            _ => {
                self.forward(operands, shape, part.reborrow())?;
                cast::add(part.as_slice(), sum);
            }
        }
        Ok(())
    }

    fn flops(&self, operands: &[&[usize]], _shape: &[usize]) -> usize {
        size(operands[0])
    }
}

impl Reduce {
    fn kept<'a>(&'a self, shape: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
        (0..shape.len()).filter(|axis| !self.axes.contains(axis))
    }

    /// e^x / Σ e^x over the axes.
    fn probabilities(&self, x: Var) -> Var {
        if let &[axis] = self.axes.as_slice() {
            return x.log_softmax_along(axis).exp();
        }
        // As one axis, behind the others.
        let shape = x.shape();
        let order: Axes = self.kept(&shape).chain(self.axes.iter().copied()).collect();
        let mut inverse = order.clone();
        order.iter().enumerate().for_each(|(i, &axis)| inverse[axis] = i);
        let behind = x.transpose(&order);
        let kept = self.kept(&shape).map(|axis| shape[axis]);
        let entries = self.axes.iter().map(|&axis| shape[axis]).product();
        let together: Shape = kept.chain([entries]).collect();
        behind.reshape(&together).log_softmax().exp().reshape(&behind.shape()).transpose(&inverse)
    }

    /// The sums of numbers of single precision, which no step rounds.
    fn sums_in_double(&self, x: &[f32], shape: &[usize], sums: &mut [f64]) {
        let (front, start, block) = last_neighbours(&self.axes);
        let (kept, reduced) = shape.split_at(start);
        let (reduced, behind) = reduced.split_at(block);
        let (n, inner) = (size(reduced), size(behind));
        if front.is_empty() {
            return sum_in_double(x, n, inner, sums);
        }
        let shape: PerAxis = kept.iter().chain(behind).copied().collect();
        with_scratch(size(&shape), |partly| {
            sum_in_double(x, n, inner, partly);
            self.reduce(partly, &shape, front, sums);
        });
    }

    /// Axes that are neighbours are reduced at once; if there are others in front, those after.
    fn reduce<T: Number>(&self, x: &[T], shape: &[usize], axes: &[usize], out: &mut [T]) {
        let (front, start, block) = last_neighbours(axes);
        let (kept, reduced) = shape.split_at(start);
        let (reduced, behind) = reduced.split_at(block);
        let (n, inner) = (size(reduced), size(behind));
        let along = |out: &mut [T]| match self.by {
            By::Sum => fold::<T, Sum>(x, n, inner, out),
            By::Max => fold::<T, Max>(x, n, inner, out),
            By::Min => fold::<T, Min>(x, n, inner, out),
            By::LogSumExp => logsumexp(x, n, inner, out),
        };
        if front.is_empty() {
            return along(out);
        }
        let shape: PerAxis = kept.iter().chain(behind).copied().collect();
        with_scratch(size(&shape), |partly| {
            along(partly);
            self.reduce(partly, &shape, front, out);
        });
    }
}

/// Of axes in increasing order: those in front of the last that are neighbours, and of these the first and how many.
fn last_neighbours(axes: &[usize]) -> (&[usize], usize, usize) {
    let neighbours = axes.windows(2).rev().take_while(|pair| pair[0] + 1 == pair[1]).count() + 1;
    let (front, block) = axes.split_at(axes.len().saturating_sub(neighbours));
    (front, block.first().copied().unwrap_or(0), block.len())
}

fn is_one_step(axes: &[usize]) -> bool {
    last_neighbours(axes).0.is_empty()
}

impl Var {
    #[track_caller]
    fn reduced(self, by: By, axes: &[usize]) -> Self {
        self.check_alive();
        let mut axes = Axes::from_slice(axes);
        axes.sort_unstable();
        let reduce = Reduce { by, axes };
        if reduce.axes.is_empty() {
            self.check_float(reduce.name());
            return self.unchanged();
        }
        apply(self.tape, Op::Reduce(reduce), &[self.node])
    }

    /// The sum of all entries (0 of none).
    #[track_caller]
    #[must_use]
    pub fn sum(self) -> Self {
        let axes: Axes = (0..self.shape().len()).collect();
        self.sum_axes(&axes)
    }

    /// The sum over some axes, which disappear.
    #[track_caller]
    #[must_use]
    pub fn sum_axes(self, axes: &[usize]) -> Self {
        self.reduced(By::Sum, axes)
    }

    /// The mean of all entries. Panics if there are none.
    #[track_caller]
    #[must_use]
    pub fn mean(self) -> Self {
        let axes: Axes = (0..self.shape().len()).collect();
        self.mean_axes(&axes)
    }

    /// The mean over some axes, which disappear. Panics if it is the mean of nothing.
    #[track_caller]
    #[must_use]
    pub fn mean_axes(self, axes: &[usize]) -> Self {
        let shape = self.shape();
        let count: usize = axes.iter().map(|&axis| shape.get(axis).copied().unwrap_or(1)).product();
        assert!(
            count > 0,
            "mean: no entries in axes {axes:?} of shape {shape:?} (an empty batch has no mean)\n  operand made at {}",
            self.location()
        );
        self.sum_axes(axes) * (1.0 / count as f64)
    }

    /// The mean square distance of all entries from their mean (of N entries the sum over N, as NumPy has it). Panics if there are
    /// none.
    #[track_caller]
    #[must_use]
    pub fn variance(self) -> Self {
        (self - self.mean()).square().mean()
    }

    /// The root of the [`variance`](Self::variance). Its derivative is not finite where all entries are equal.
    #[track_caller]
    #[must_use]
    pub fn std(self) -> Self {
        self.variance().sqrt()
    }

    /// √Σx² of all entries: the norm of a vector, Frobenius' of a matrix. Its derivative at 0 is NaN.
    #[track_caller]
    #[must_use]
    pub fn norm(self) -> Self {
        self.square().sum().sqrt()
    }

    /// The largest entry over some axes, which disappear; NaN if one is. Equal winners share the derivative equally.
    #[track_caller]
    #[must_use]
    pub fn max_axes(self, axes: &[usize]) -> Self {
        self.reduced(By::Max, axes)
    }

    /// The smallest entry over some axes, which disappear; NaN if one is. Equal winners share the derivative equally.
    #[track_caller]
    #[must_use]
    pub fn min_axes(self, axes: &[usize]) -> Self {
        self.reduced(By::Min, axes)
    }

    /// ln Σ e^x over some axes, which disappear, without overflow. Of entries that are all −∞ (or of none) it is −∞, with
    /// derivative 0. With an entry of ∞ it is ∞, and its derivatives are NaN.
    #[track_caller]
    #[must_use]
    pub fn logsumexp(self, axes: &[usize]) -> Self {
        self.reduced(By::LogSumExp, axes)
    }
}
