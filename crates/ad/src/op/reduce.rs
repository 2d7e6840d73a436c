//! Operations that reduce over axes: sum, maximum, log-sum-exp. The reduced axes disappear.

use super::movement::Movement;
use super::{Call, Cotangents, Failure, Op, Operand, Out, Rows, Rules, apply};
use crate::real::Real;
use crate::tape::Var;
use crate::tensor::{Axes, Shape, size};

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
    LogSumExp,
}

impl<T: Real> Rules<T> for Reduce {
    fn name(&self) -> &str {
        match self.by {
            By::Sum => "sum",
            By::Max => "max_axes",
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
        if self.by == By::Max && empty {
            return Err(format!("the maximum of no entries, in axes {:?} of shape {operand:?}", self.axes));
        }
        Ok(self.kept(operand).map(|axis| operand[axis]).collect())
    }

    fn vjp(&self, call: &Call<T>, g: Var<T>) -> Cotangents<T> {
        call.one(|| {
            let x = call.var(0);
            let shape = x.shape();
            let spread = |reduced: Var<T>| {
                let axes = self.kept(&shape).collect();
                apply(call.tape, Op::Movement(Movement::Broadcast { shape: shape.clone(), axes }), &[reduced.node])
            };
            match self.by {
                By::Sum => spread(g),
                By::Max => {
                    let winners = x.equal(spread(call.output()));
                    spread(g / winners.sum_axes(&self.axes)) * winners
                }
                By::LogSumExp => {
                    // Where every entry is −∞ so is the result, and x − y would be NaN; the derivative there is 0.
                    let y = call.output();
                    let y = y.equal(T::neg_infinity()).select(T::zero(), y);
                    spread(g) * (x - spread(y)).exp()
                }
            }
        })
    }

    fn batched(&self, _size: usize) -> Op<T> {
        Op::Reduce(Reduce { by: self.by, axes: self.axes.iter().map(|axis| axis + 1).collect() })
    }

    fn rows(&self, operands: &[&[usize]]) -> Option<Rows> {
        let summed = self.axes.first() == Some(&0);
        Rows::alike(operands).filter(|_| !summed || self.by == By::Sum).map(|rows| Rows { summed, ..rows })
    }

    fn forward(&self, operands: &[Operand<'_, T>], _shape: &[usize], out: Out<'_, T>) -> Result<(), Failure> {
        let (x, shape, out) = (operands[0].real(), operands[0].shape, out.real());
        match self.by {
            By::Sum => {
                out.fill(T::zero());
                self.rows(shape, |from, row, to, kept| {
                    if kept {
                        out[to..to + row].iter_mut().zip(&x[from..from + row]).for_each(|(out, &x)| *out += x);
                    } else {
                        out[to] += sum(&x[from..from + row]);
                    }
                });
            }
            By::Max => {
                let larger = |a: T, b: T| if a > b || a.is_nan() { a } else { b };
                out.fill(T::neg_infinity());
                self.rows(shape, |from, row, to, kept| {
                    for (i, &x) in x[from..from + row].iter().enumerate() {
                        let out = &mut out[if kept { to + i } else { to }];
                        *out = larger(*out, x);
                    }
                });
            }
            By::LogSumExp => {
                let mut largest = vec![T::neg_infinity(); out.len()];
                self.rows(shape, |from, row, to, kept| {
                    for (i, &x) in x[from..from + row].iter().enumerate() {
                        let largest = &mut largest[if kept { to + i } else { to }];
                        *largest = largest.max(x);
                    }
                });
                // Against ±∞ nothing is subtracted: the sum of exponentials is then 0 or ∞ by itself.
                largest.iter_mut().filter(|largest| !largest.is_finite()).for_each(|largest| *largest = T::zero());
                out.fill(T::zero());
                self.rows(shape, |from, row, to, kept| {
                    for (i, &x) in x[from..from + row].iter().enumerate() {
                        let to = if kept { to + i } else { to };
                        out[to] += (x - largest[to]).exp();
                    }
                });
                out.iter_mut().zip(&largest).for_each(|(out, &largest)| *out = out.ln() + largest);
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

    /// Calls `visit(start in the operand, length, start in the result, whether the row is kept or reduced to one)` for
    /// each row of the operand, in order. Neighbouring axes that share their fate count as one.
    fn rows(&self, shape: &[usize], mut visit: impl FnMut(usize, usize, usize, bool)) {
        if size(shape) == 0 {
            return;
        }
        let mut merged: Vec<(usize, bool)> = Vec::with_capacity(shape.len());
        for (axis, &length) in shape.iter().enumerate() {
            let kept = !self.axes.contains(&axis);
            match merged.last_mut() {
                Some(last) if last.1 == kept => last.0 *= length,
                _ => merged.push((length, kept)),
            }
        }
        let (row, row_kept) = merged.pop().unwrap_or((1, true));
        let mut steps = vec![0; merged.len()];
        let mut step = if row_kept { row } else { 1 };
        for (axis, &(length, kept)) in merged.iter().enumerate().rev() {
            if kept {
                steps[axis] = step;
                step *= length;
            }
        }
        let (mut position, mut to) = (vec![0; merged.len()], 0);
        for from in (0..size(shape)).step_by(row) {
            visit(from, row, to, row_kept);
            for axis in (0..merged.len()).rev() {
                position[axis] += 1;
                to += steps[axis];
                if position[axis] < merged[axis].0 {
                    break;
                }
                to -= steps[axis] * merged[axis].0;
                position[axis] = 0;
            }
        }
    }
}

/// The sum in eight interleaved parts: an order that is fixed, and that vector units like.
fn sum<T: Real>(x: &[T]) -> T {
    let (chunks, rest) = x.as_chunks::<8>();
    let mut parts = [T::zero(); 8];
    for chunk in chunks {
        parts.iter_mut().zip(chunk).for_each(|(part, &x)| *part += x);
    }
    let rest: T = rest.iter().copied().sum();
    ((parts[0] + parts[4]) + (parts[1] + parts[5])) + ((parts[2] + parts[6]) + (parts[3] + parts[7])) + rest
}

impl<T: Real> Var<T> {
    #[track_caller]
    fn reduced(self, by: By, axes: &[usize]) -> Self {
        self.check_alive();
        let mut axes = Axes::from_slice(axes);
        axes.sort_unstable();
        apply(self.tape, Op::Reduce(Reduce { by, axes }), &[self.node])
    }

    /// New axes of length 1 at the given places of the result.
    #[track_caller]
    fn insert_axes(self, axes: &[usize]) -> Self {
        let mut shape = self.shape();
        axes.iter().for_each(|&axis| shape.insert(axis, 1));
        self.reshape(&shape)
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
        if axes.is_empty() { self.unchanged() } else { self.reduced(By::Sum, axes) }
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
        self.sum_axes(axes) * (T::one() / T::of(count as f64))
    }

    /// The largest entry over some axes, which disappear; NaN if one is. Equal winners share the derivative equally.
    #[track_caller]
    #[must_use]
    pub fn max_axes(self, axes: &[usize]) -> Self {
        if axes.is_empty() { self.unchanged() } else { self.reduced(By::Max, axes) }
    }

    /// ln Σ e^x over some axes, which disappear, without overflow. Of entries that are all −∞ (or of none) it is −∞, with
    /// derivative 0.
    #[track_caller]
    #[must_use]
    pub fn logsumexp(self, axes: &[usize]) -> Self {
        if axes.is_empty() { self.unchanged() } else { self.reduced(By::LogSumExp, axes) }
    }

    /// x − ln Σ e^x along the last axis: log-probabilities from logits.
    #[track_caller]
    #[must_use]
    pub fn log_softmax(self) -> Self {
        let last = self.shape().len().checked_sub(1).expect("log_softmax: a scalar has no last axis");
        self - self.logsumexp(&[last]).insert_axes(&[last])
    }

    /// e^x / Σ e^x along the last axis: probabilities from logits.
    #[track_caller]
    #[must_use]
    pub fn softmax(self) -> Self {
        self.log_softmax().exp()
    }
}
