//! Operations that move entries and compute nothing: each is the transpose of another one here or of a sum.

use std::ops::Range;

use super::scan::expect_entering_fits;
use super::{Call, Cotangents, Failure, Op, Operand, Rows, Rules, alike, apply};
use crate::dtype::{DType, by_dtype};
use crate::tape::{Handle, Index, Var, record};
use crate::tensor::{Axes, Element, PerAxis, Shape, SliceMut, around, broadcast_shape, size, size_if_fits, strides};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Movement {
    /// To `shape`; the operand's axis i becomes axis `axes[i]` (increasing), and all others repeat it.
    Broadcast { shape: Shape, axes: Axes },
    /// The same entries in the same order.
    Reshape(Shape),
    /// Axis i of the result is axis `axes[i]` of the operand.
    Transpose(Axes),
    /// Entries `start..end` along an axis.
    Slice { axis: usize, start: usize, end: usize },
    /// Zeros in front and behind along an axis.
    Pad { axis: usize, before: usize, after: usize },
    /// By one along an axis, towards its end if `later`, with a 0 coming in, or a second operand of length 1 along it.
    Shift { axis: usize, later: bool },
    /// One behind another along an axis.
    Concat { axis: usize },
    /// The last first along an axis.
    Flip { axis: usize },
}

impl Rules for Movement {
    fn name(&self) -> &str {
        match self {
            Movement::Broadcast { .. } => "broadcast",
            Movement::Reshape(_) => "reshape",
            Movement::Transpose(_) => "transpose",
            Movement::Slice { .. } => "slice",
            Movement::Pad { .. } => "pad",
            Movement::Shift { .. } => "shift",
            Movement::Concat { .. } => "concat",
            Movement::Flip { .. } => "flip",
        }
    }

    fn parameters(&self) -> String {
        match self {
            Movement::Broadcast { axes, .. } => format!("axes={axes:?}"),
            Movement::Reshape(_) => String::new(),
            Movement::Transpose(axes) => format!("axes={axes:?}"),
            Movement::Slice { axis, start, end } => format!("axis={axis} {start}..{end}"),
            Movement::Pad { axis, before, after } => format!("axis={axis} before={before} after={after}"),
            Movement::Shift { axis, later } => format!("axis={axis} {}", if *later { "later" } else { "earlier" }),
            Movement::Concat { axis } | Movement::Flip { axis } => format!("axis={axis}"),
        }
    }

    fn dtype(&self, operands: &[DType]) -> Result<DType, String> {
        alike(operands)
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        let operand = operands[0];
        let has_axis = |axis: usize| {
            if axis < operand.len() {
                Ok(())
            } else {
                Err(format!("axis {axis} of shape {operand:?}, which has {}", operand.len()))
            }
        };
        match self {
            Movement::Broadcast { shape, .. } => Ok(shape.clone()),
            Movement::Reshape(shape) => match size_if_fits(shape, 1) {
                Some(entries) if entries == size(operand) => Ok(shape.clone()),
                Some(entries) => {
                    Err(format!("shape {operand:?} has {} entries, but {shape:?} has {entries}", size(operand)))
                }
                None => Err(format!("shape {operand:?} has {} entries, {shape:?} has too many", size(operand))),
            },
            Movement::Transpose(axes) => {
                let mut sorted = axes.clone();
                sorted.sort_unstable();
                if sorted.iter().copied().eq(0..operand.len()) {
                    Ok(axes.iter().map(|&axis| operand[axis]).collect())
                } else {
                    Err(format!("axes {axes:?} are no permutation of the axes of shape {operand:?}"))
                }
            }
            Movement::Slice { axis, start, end } => {
                has_axis(*axis)?;
                if start > end || *end > operand[*axis] {
                    return Err(format!("range {start}..{end} along axis {axis} of shape {operand:?}"));
                }
                let mut shape = Shape::from_slice(operand);
                shape[*axis] = end - start;
                Ok(shape)
            }
            Movement::Pad { axis, before, after } => {
                has_axis(*axis)?;
                let length = before.checked_add(*after).and_then(|zeros| zeros.checked_add(operand[*axis]));
                let mut shape = Shape::from_slice(operand);
                shape[*axis] = length.ok_or_else(|| {
                    format!("{before} zeros before and {after} after axis {axis} of shape {operand:?} are too many")
                })?;
                Ok(shape)
            }
            Movement::Shift { axis, .. } => {
                has_axis(*axis)?;
                expect_entering_fits(operand, *axis, operands.get(1).copied())?;
                Ok(operand.into())
            }
            Movement::Flip { axis } => {
                has_axis(*axis)?;
                Ok(operand.into())
            }
            Movement::Concat { axis } => {
                has_axis(*axis)?;
                let mut shape = Shape::from_slice(operand);
                for other in &operands[1..] {
                    let others = |shape: &[usize]| {
                        shape.iter().enumerate().filter(|&(i, _)| i != *axis).map(|(_, &n)| n).collect::<Shape>()
                    };
                    if other.len() != shape.len() || others(other) != others(&shape) {
                        return Err(format!("shapes {operand:?} and {other:?} differ beside axis {axis}"));
                    }
                    // What is too long for a number is too large for any memory, and refused as that.
                    shape[*axis] = shape[*axis].saturating_add(other[*axis]);
                }
                Ok(shape)
            }
        }
    }

    fn vjp(&self, call: &Call, g: Var) -> Cotangents {
        match self {
            Movement::Broadcast { shape, axes } => call.one(|| {
                let repeated: Axes = (0..shape.len()).filter(|axis| !axes.contains(axis)).collect();
                g.sum_axes(&repeated)
            }),
            Movement::Reshape(_) => call.one(|| g.reshape(&call.var(0).shape())),
            Movement::Transpose(axes) => call.one(|| {
                let mut inverse = axes.clone();
                axes.iter().enumerate().for_each(|(i, &axis)| inverse[axis] = i);
                g.transpose(&inverse)
            }),
            Movement::Slice { axis, start, end } => call.one(|| g.pad(*axis, *start, call.var(0).shape()[*axis] - end)),
            Movement::Pad { axis, before, .. } => {
                call.one(|| g.slice(*axis, *before..before + call.var(0).shape()[*axis]))
            }
            &Movement::Shift { axis, later } => {
                let mut cotangents = call.one(|| g.shift(axis, !later));
                if call.operands.len() == 2 {
                    let first = if later { 0 } else { g.shape()[axis] - 1 };
                    cotangents.push(call.needed[1].then(|| g.slice(axis, first..first + 1)));
                }
                cotangents
            }
            Movement::Flip { axis } => call.one(|| g.flip(*axis)),
            Movement::Concat { axis } => {
                let mut start = 0;
                let mut cotangent = |operand: usize| {
                    let range = start..start + call.var(operand).shape()[*axis];
                    start = range.end;
                    call.needed[operand].then(|| g.slice(*axis, range))
                };
                (0..call.operands.len()).map(&mut cotangent).collect()
            }
        }
    }

    fn with_leading_axis(&self, size: usize) -> Op {
        let behind = |axes: &Axes| std::iter::once(0).chain(axes.iter().map(|axis| axis + 1)).collect();
        let longer = |shape: &Shape| std::iter::once(size).chain(shape.iter().copied()).collect();
        Op::Movement(match self {
            Movement::Broadcast { shape, axes } => Movement::Broadcast { shape: longer(shape), axes: behind(axes) },
            Movement::Reshape(shape) => Movement::Reshape(longer(shape)),
            Movement::Transpose(axes) => Movement::Transpose(behind(axes)),
            &Movement::Slice { axis, start, end } => Movement::Slice { axis: axis + 1, start, end },
            &Movement::Pad { axis, before, after } => Movement::Pad { axis: axis + 1, before, after },
            &Movement::Shift { axis, later } => Movement::Shift { axis: axis + 1, later },
            &Movement::Concat { axis } => Movement::Concat { axis: axis + 1 },
            &Movement::Flip { axis } => Movement::Flip { axis: axis + 1 },
        })
    }

    fn rows(&self, operands: &[&[usize]]) -> Option<Rows> {
        let alike = Rows::alike(operands);
        match self {
            Movement::Broadcast { axes, .. } if axes.first() == Some(&0) => alike,
            Movement::Broadcast { .. } => Some(Rows { by_row: smallvec::smallvec![false], summed: false }),
            Movement::Reshape(shape) => alike.filter(|_| shape.first() == operands[0].first()),
            Movement::Transpose(axes) => alike.filter(|_| axes[0] == 0),
            Movement::Slice { axis, .. }
            | Movement::Pad { axis, .. }
            | Movement::Shift { axis, .. }
            | Movement::Concat { axis }
            | Movement::Flip { axis } => alike.filter(|_| *axis > 0),
        }
    }

    fn on_rows(&self, rows: usize) -> Option<Op> {
        let mut op = self.clone();
        if let Movement::Broadcast { shape, .. } | Movement::Reshape(shape) = &mut op {
            shape[0] = rows;
        }
        Some(Op::Movement(op))
    }

    fn reads(&self, operand: usize, operands: &[&[usize]], shape: &[usize]) -> usize {
        if let Movement::Slice { .. } = self { size(shape) } else { size(operands[operand]) }
    }

    fn forward(&self, operands: &[Operand<'_>], shape: &[usize], out: SliceMut<'_>) -> Result<(), Failure> {
        by_dtype!(SliceMut, out, |out| self.copy(operands, shape, out));
        Ok(())
    }
}

impl Movement {
    fn copy<E: Element>(&self, operands: &[Operand<'_>], shape: &[usize], out: &mut [E]) {
        let (x, from, zero) = (operands[0].numbers::<E>(), operands[0].shape, E::default());
        if out.is_empty() {
            return;
        }
        match self {
            Movement::Reshape(_) => out.copy_from_slice(x),
            Movement::Broadcast { axes, .. } => {
                let inner = strides(from);
                let mut steps: PerAxis = smallvec::smallvec![0; shape.len()];
                axes.iter().zip(&inner).for_each(|(&axis, &step)| steps[axis] = step);
                copy_strided(x, shape, &steps, out);
            }
            Movement::Transpose(axes) if exchanges_the_last_two(axes) => {
                let [rows, columns] = [from[from.len() - 2], from[from.len() - 1]];
                let matrices = x.chunks_exact(rows * columns).zip(out.chunks_exact_mut(rows * columns));
                matrices.for_each(|(x, out)| transpose(x, rows, columns, out));
            }
            Movement::Transpose(axes) => {
                let inner = strides(from);
                let steps: PerAxis = axes.iter().map(|&axis| inner[axis]).collect();
                copy_strided(x, shape, &steps, out);
            }
            &Movement::Slice { axis, start, end } => {
                let (_, length, behind) = around(from, axis);
                let row = (end - start) * behind;
                if row == 1 {
                    // A column.
                    let column = x[start * behind..].iter().step_by(length * behind);
                    out.iter_mut().zip(column).for_each(|(out, &x)| *out = x);
                } else if row > 0 {
                    for (out, x) in out.chunks_exact_mut(row).zip(x.chunks_exact(length * behind)) {
                        copy(&x[start * behind..end * behind], out);
                    }
                }
            }
            &Movement::Pad { axis, before, .. } => {
                let (_, length, behind) = around(from, axis);
                let row = shape[axis] * behind;
                out.fill(zero);
                if length * behind > 0 {
                    for (out, x) in out.chunks_exact_mut(row).zip(x.chunks_exact(length * behind)) {
                        copy(x, &mut out[before * behind..(before + length) * behind]);
                    }
                }
            }
            &Movement::Shift { axis, later } => {
                // All at once; then, instead of what came in from the neighbour, what has to.
                let (_, length, behind) = around(shape, axis);
                if let Some(kept) = out.len().checked_sub(behind) {
                    let (to, from, coming) = if later { (behind, 0, 0) } else { (0, behind, (length - 1) * behind) };
                    out[to..to + kept].copy_from_slice(&x[from..from + kept]);
                    let enters = operands.get(1).map(Operand::numbers::<E>);
                    for (row, out) in out.chunks_exact_mut(length * behind).enumerate() {
                        let out = &mut out[coming..coming + behind];
                        match (enters, &mut *out) {
                            (Some(enters), out) => copy(&enters[row * behind..][..behind], out),
                            (None, [entry]) => *entry = zero,
                            (None, out) => out.fill(zero),
                        }
                    }
                }
            }
            &Movement::Flip { axis } => {
                let (_, length, behind) = around(shape, axis);
                for (out, x) in out.chunks_exact_mut(length * behind).zip(x.chunks_exact(length * behind)) {
                    let entries = out.chunks_exact_mut(behind).zip(x.chunks_exact(behind).rev());
                    entries.for_each(|(out, x)| copy(x, out));
                }
            }
            &Movement::Concat { axis } => {
                let (_, length, behind) = around(shape, axis);
                // Rows whose place is in the nearest cache: columns go through all of it one by one.
                let rows = (NEAREST / (length * behind * size_of::<E>())).max(1);
                for (tile, out) in out.chunks_mut(rows * length * behind).enumerate() {
                    let mut start = 0;
                    let mut rest = operands;
                    // A few columns side by side are written as they lie.
                    while let Some((few, after)) = rest.split_first_chunk::<FEW>()
                        && few.iter().all(|operand| operand.shape[axis] * behind == 1)
                    {
                        let of = few.each_ref().map(|operand| &operand.numbers::<E>()[tile * rows..]);
                        for (row, out) in out.chunks_exact_mut(length * behind).enumerate() {
                            out[start..][..FEW].iter_mut().zip(&of).for_each(|(out, column)| *out = column[row]);
                        }
                        (rest, start) = (after, start + FEW);
                    }
                    for operand in rest {
                        let row = operand.shape[axis] * behind;
                        let x = &operand.numbers::<E>()[tile * rows * row..];
                        if row == 1 {
                            let places = out.chunks_exact_mut(length * behind).map(|out| &mut out[start]);
                            places.zip(x).for_each(|(out, &x)| *out = x);
                        } else if row > 0 {
                            let places = out.chunks_exact_mut(length * behind).zip(x.chunks_exact(row));
                            places.for_each(|(out, x)| copy(x, &mut out[start..start + row]));
                        }
                        start += row;
                    }
                }
            }
        }
    }
}

/// Bytes of which there is room in a core's nearest cache beside others.
const NEAREST: usize = 1 << 14;

/// So many rows (or columns) are gone through together, such that what is written side by side fills a line of the cache.
const FEW: usize = 8;

/// Copies a row. One of a single entry, as at the end of each episode, is not worth a library's call.
#[inline]
fn copy<E: Copy>(from: &[E], to: &mut [E]) {
    match (from, &mut *to) {
        ([from], [to]) => *to = *from,
        _ => to.copy_from_slice(from),
    }
}

fn exchanges_the_last_two(axes: &[usize]) -> bool {
    let (rank, front) = (axes.len(), axes.len().saturating_sub(2));
    rank >= 2 && axes[..front].iter().copied().eq(0..front) && axes[front..] == [rank - 1, rank - 2]
}

/// A matrix of so many rows and columns with its axes exchanged: a few rows at a time, which are read in the order in which they
/// lie, while a line of the cache is written of each column.
fn transpose<E: Copy>(x: &[E], rows: usize, columns: usize, out: &mut [E]) {
    let mut few = x.chunks_exact(FEW * columns);
    for (tile, x) in few.by_ref().enumerate() {
        let of: [&[E]; FEW] = std::array::from_fn(|row| &x[row * columns..][..columns]);
        for column in 0..columns {
            let out = &mut out[column * rows + tile * FEW..][..FEW];
            out.iter_mut().zip(&of).for_each(|(out, row)| *out = row[column]);
        }
    }
    let (done, rest) = (rows - rows % FEW, few.remainder());
    for (row, x) in rest.chunks_exact(columns).enumerate() {
        x.iter().enumerate().for_each(|(column, &x)| out[column * rows + done + row] = x);
    }
}

/// out[i, j, …] = x[i·steps[0] + j·steps[1] + …]
fn copy_strided<E: Copy>(x: &[E], shape: &[usize], steps: &[usize], out: &mut [E]) {
    let Some((&length, outer)) = shape.split_last() else {
        return out.copy_from_slice(&x[..1]);
    };
    let step = steps[outer.len()];
    let mut position: PerAxis = smallvec::smallvec![0; outer.len()];
    let mut start = 0;
    for out in out.chunks_exact_mut(length) {
        match step {
            0 => out.fill(x[start]),
            1 => out.copy_from_slice(&x[start..start + length]),
            _ => out.iter_mut().zip(x[start..].iter().step_by(step)).for_each(|(out, &x)| *out = x),
        }
        for axis in (0..outer.len()).rev() {
            position[axis] += 1;
            start += steps[axis];
            if position[axis] < outer[axis] {
                break;
            }
            start -= steps[axis] * outer[axis];
            position[axis] = 0;
        }
    }
}

/// The shape without the axes of length 1 that `to` stretches, and where the remaining ones go.
fn broadcast_axes(from: &[usize], to: &[usize]) -> (Shape, Axes) {
    let front = to.len() - from.len();
    (0..from.len()).filter(|&axis| from[axis] == to[front + axis]).map(|axis| (from[axis], front + axis)).unzip()
}

macro_rules! movements {
    ($handle:ident) => {
        impl $handle {
            #[track_caller]
            fn moved(self, movement: Movement) -> Self {
                self.check_alive();
                Self::recorded(self.tape, record(self.tape, Op::Movement(movement), &[self.node]))
            }

            /// Repeats it to `shape`, by NumPy's rule: aligned at the last axis, lengths of 1 stretched.
            #[track_caller]
            #[must_use]
            pub fn broadcast_to(self, shape: &[usize]) -> Self {
                if self.shape().as_slice() == shape { self.unchanged() } else { self.stretched(shape) }
            }

            /// [`broadcast_to`](Self::broadcast_to) that may be the array itself.
            #[track_caller]
            pub(crate) fn stretched(self, shape: &[usize]) -> Self {
                let from = self.shape();
                if from.as_slice() == shape {
                    return self;
                }
                if broadcast_shape(&from, shape).is_none_or(|both| both.as_slice() != shape) {
                    panic!(
                        "broadcast_to: shape {from:?} cannot be repeated to {shape:?}\n  operand made at {}",
                        self.location()
                    );
                }
                if size_if_fits(shape, self.dtype().bytes()).is_none() {
                    panic!(
                        "broadcast_to: {from:?} repeated to {shape:?} is larger than any memory\n  operand made at {}",
                        self.location()
                    );
                }
                let (kept, axes) = broadcast_axes(&from, shape);
                self.reshaped(&kept).moved(Movement::Broadcast { shape: shape.into(), axes })
            }

            /// The same entries, row-major, in another shape.
            #[track_caller]
            #[must_use]
            pub fn reshape(self, shape: &[usize]) -> Self {
                if self.shape().as_slice() == shape { self.unchanged() } else { self.reshaped(shape) }
            }

            /// [`reshape`](Self::reshape) that may be the array itself.
            #[track_caller]
            pub(crate) fn reshaped(self, shape: &[usize]) -> Self {
                if self.shape().as_slice() == shape { self } else { self.moved(Movement::Reshape(shape.into())) }
            }

            /// Axis i of the result is axis `axes[i]`.
            #[track_caller]
            #[must_use]
            pub fn transpose(self, axes: &[usize]) -> Self {
                let unmoved = axes.iter().copied().eq(0..self.shape().len());
                if unmoved { self.unchanged() } else { self.moved(Movement::Transpose(axes.into())) }
            }

            /// The entries `range` along an axis.
            #[track_caller]
            #[must_use]
            pub fn slice(self, axis: usize, range: Range<usize>) -> Self {
                let Range { start, end } = range;
                self.moved(Movement::Slice { axis, start, end })
            }

            /// Entry `i` along an axis, which disappears.
            #[track_caller]
            #[must_use]
            pub fn at(self, axis: usize, i: usize) -> Self {
                let mut shape = self.shape();
                assert!(
                    shape.get(axis).is_some_and(|&length| i < length),
                    "at: entry {i} along axis {axis} of shape {shape:?}\n  operand made at {}",
                    self.location()
                );
                shape.remove(axis);
                self.slice(axis, i..i + 1).reshape(&shape)
            }

            /// Zeros in front and behind along an axis.
            #[track_caller]
            #[must_use]
            pub fn pad(self, axis: usize, before: usize, after: usize) -> Self {
                self.moved(Movement::Pad { axis, before, after })
            }

            /// The last entry first along an axis.
            #[track_caller]
            #[must_use]
            pub fn flip(self, axis: usize) -> Self {
                self.moved(Movement::Flip { axis })
            }

            /// Each entry along an axis so many times, one beside another: a b as a a b b.
            #[track_caller]
            #[must_use]
            pub fn repeat(self, axis: usize, times: usize) -> Self {
                self.expect_axis("repeat", axis);
                self.repeated(axis, times, axis + 1)
            }

            /// All entries along an axis so many times, one after another: a b as a b a b.
            #[track_caller]
            #[must_use]
            pub fn tile(self, axis: usize, times: usize) -> Self {
                self.expect_axis("tile", axis);
                self.repeated(axis, times, axis)
            }

            /// So many times along a new axis, which becomes one with the neighbour that it is put in front of or behind.
            #[track_caller]
            fn repeated(self, axis: usize, times: usize, new: usize) -> Self {
                let mut shape = self.shape();
                shape.insert(new, 1);
                let single = self.reshaped(&shape);
                shape[new] = times;
                let all = single.stretched(&shape);
                shape[axis] = shape[axis].saturating_mul(shape.remove(axis + 1));
                all.reshape(&shape)
            }

            /// Its shape. Panics if it has no such axis.
            #[track_caller]
            pub(crate) fn expect_axis(self, operation: &str, axis: usize) -> Shape {
                let shape = self.shape();
                assert!(
                    axis < shape.len(),
                    "{operation}: axis {axis} of shape {shape:?}, which has {}\n  operand made at {}",
                    shape.len(),
                    self.location()
                );
                shape
            }

            /// A new axis of length 1 in front of axis `axis`.
            #[track_caller]
            #[must_use]
            pub fn insert_axis(self, axis: usize) -> Self {
                let mut shape = self.shape();
                assert!(
                    axis <= shape.len(),
                    "insert_axis: a new axis {axis} in shape {shape:?}, which has {}\n  operand made at {}",
                    shape.len(),
                    self.location()
                );
                shape.insert(axis, 1);
                self.reshape(&shape)
            }

            /// Without axis `axis`, which has length 1.
            #[track_caller]
            #[must_use]
            pub fn squeeze(self, axis: usize) -> Self {
                let mut shape = self.expect_axis("squeeze", axis);
                assert!(
                    shape[axis] == 1,
                    "squeeze: axis {axis} of shape {shape:?} is no axis of length 1\n  operand made at {}",
                    self.location()
                );
                shape.remove(axis);
                self.reshape(&shape)
            }
        }
    };
}
movements!(Var);
movements!(Index);

/// Moves numbers and integers alike.
macro_rules! handle_movements {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*);)*) => {
        impl Handle {
            $($(#[$doc])*
            #[track_caller]
            #[must_use]
            pub fn $name(self, $($argument: $type),*) -> Self {
                match self {
                    Handle::Var(var) => var.$name($($argument),*).into(),
                    Handle::Index(index) => index.$name($($argument),*).into(),
                }
            })*
        }
    };
}
handle_movements! {
    /// The same entries, row-major, in another shape.
    reshape(shape: &[usize]);
    /// The entries `range` along an axis.
    slice(axis: usize, range: Range<usize>);
    /// Entry `i` along an axis, which disappears.
    at(axis: usize, i: usize);
}

impl Var {
    /// The matrix (or stack of matrices) with its last two axes exchanged.
    #[track_caller]
    #[must_use]
    pub fn t(self) -> Self {
        let rank = self.shape().len();
        assert!(rank >= 2, "t: shape {:?} has no two last axes to exchange", self.shape());
        let mut axes: Axes = (0..rank).collect();
        axes.swap(rank - 2, rank - 1);
        self.transpose(&axes)
    }

    /// Entry i along an axis becomes entry i + `by`, where those that leave the end come in at the front (and the other way, for
    /// a negative `by`).
    #[track_caller]
    #[must_use]
    pub fn roll(self, axis: usize, by: isize) -> Self {
        let length = self.expect_axis("roll", axis)[axis];
        let first = by.rem_euclid(length.max(1) as isize) as usize;
        Self::concat(&[self.slice(axis, length - first..length), self.slice(axis, 0..length - first)], axis)
    }

    /// The same array with `values` in place of the entries along an axis from `start` on, as many as there are.
    #[track_caller]
    #[must_use]
    pub fn set_slice(self, axis: usize, start: usize, values: Self) -> Self {
        self.check_same_tape("set_slice", values);
        self.check_same_dtype("set_slice", values);
        let (shape, part) = (self.expect_axis("set_slice", axis), values.shape());
        let end = part.get(axis).and_then(|length| start.checked_add(*length));
        let others = |shape: &[usize]| [&shape[..axis], &shape[axis + 1..]].concat();
        let Some(end) = end.filter(|&end| end <= shape[axis] && others(&part) == others(&shape)) else {
            panic!(
                "set_slice: values of shape {part:?} do not fit into an array of shape {shape:?} from {start} on along axis \
                 {axis}\n  operand made at {}\n  operand made at {}",
                self.location(),
                values.location()
            )
        };
        Self::concat(&[self.slice(axis, 0..start), values, self.slice(axis, end..shape[axis])], axis)
    }

    /// One behind another along an axis.
    #[track_caller]
    #[must_use]
    pub fn concat(parts: &[Self], axis: usize) -> Self {
        let (first, rest) = parts.split_first().expect("concat: no arrays to put together");
        first.check_same_tape_all("concat", rest);
        for part in rest {
            first.check_same_dtype("concat", *part);
        }
        let nodes: Vec<_> = parts.iter().map(|part| part.node).collect();
        apply(first.tape, Op::Movement(Movement::Concat { axis }), &nodes)
    }

    /// One beside another along a new axis.
    #[track_caller]
    #[must_use]
    pub fn stack(parts: &[Self], axis: usize) -> Self {
        let (first, rest) = parts.split_first().expect("stack: no arrays to put together");
        first.check_same_tape_all("stack", rest);
        for part in rest {
            first.check_same_dtype("stack", *part);
        }
        let mut rows = Vec::with_capacity(parts.len());
        for part in parts {
            let (shape, wanted) = (part.shape(), first.shape());
            assert!(
                shape == wanted && axis <= shape.len(),
                "stack: arrays of shapes {wanted:?} and {shape:?} along a new axis {axis}\n  made at {}\n  made at {}",
                first.location(),
                part.location()
            );
            rows.push(part.insert_axis(axis));
        }
        Self::concat(&rows, axis)
    }
}
