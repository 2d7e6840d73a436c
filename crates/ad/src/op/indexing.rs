//! Reading and accumulating at integer indices, which are data: they can be replaced when a program is replayed.
//!
//! `gather` and `scatter_add` are each other's transposes. Both index a block of neighbouring axes, starting at `axis`, by
//! as many index arrays (of one shape) as the block has axes; axes in front and behind are carried along:
//! `gather: before × dims × behind → before × index shape × behind`, and `scatter_add` the other way.
//!
//! An array with entries put into it is a look-up, too: of each place either what was there or the last that is put there,
//! which `origin` finds. So what is replaced has the derivative 0, and of several entries at one place the last has it all.

use std::hash::{Hash, Hasher};
use std::ops::Not;
use std::panic::Location;
use std::sync::Arc;

use smallvec::SmallVec;

use super::elementwise::Term;
use super::leaf::fill;
use super::movement::Movement;
use super::{Call, Cotangents, Failure, Leaf, Op, Operand, Rows, Rules, apply, floats};
use crate::dtype::{DType, by_dtype};
use crate::kernel;
use crate::kernel::indexed::{Indices, flatten, gather, origin, scatter_add};
use crate::kernel::reduce::with_scratch;
use crate::tape::{Index, NodeId, Operands, Tape, Var, constant_index, here, record};
use crate::tensor::{Axes, Shape, Slice, SliceMut, Value, broadcast_shape, size, size_if_fits};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Indexing {
    /// (table, indices …)
    Gather { axis: usize, asked: Asked },
    /// (entries, indices …), added into zeros of lengths `dims` at `axis`.
    ScatterAdd { axis: usize, dims: Shape, asked: Asked },
    /// 1 where an integer is this one, else 0, as `f64`. Not by numbers: as `f32`, 2²⁴ + 1 would be 2²⁴.
    Equal(i32),
    /// (indices …): for each position its number among all entries of axes of lengths `dims`, row-major. Lowering makes it
    /// where several gathers and scatters share their indices.
    Flatten { dims: Shape, asked: Asked },
    /// (indices …): of a table with axes of lengths `dims`, behind which the entries stand that are put into it, where each
    /// place's entry is: its own number, or that of the last entry that is put there. Of each table, if there are axes in
    /// front of `axis`.
    Origin { axis: usize, dims: Shape, asked: Asked },
}

/// What the user wrote: the look-up that an operation does, or is a derivative of, which an index that is out of range is
/// reported for. It is no part of what is computed: any two are equal.
#[derive(Clone, Debug)]
pub struct Asked(Arc<LookUp>);

#[derive(Clone, Debug)]
struct LookUp {
    operation: &'static str,
    location: &'static Location<'static>,
    /// The axis of the user's table that the first index array is for. Below 0 for what `vmap` puts in front.
    first: isize,
}

impl Asked {
    fn new(operation: &'static str, location: &'static Location<'static>, first: isize) -> Self {
        Self(Arc::new(LookUp { operation, location, first }))
    }

    /// With one more index array in front.
    fn mapped(&self) -> Self {
        Self(Arc::new(LookUp { first: self.0.first - 1, ..(*self.0).clone() }))
    }
}

impl PartialEq for Asked {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Asked {}

impl Hash for Asked {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl Rules for Indexing {
    fn name(&self) -> &str {
        match self {
            Indexing::Gather { .. } => "gather",
            Indexing::ScatterAdd { .. } => "scatter_add",
            Indexing::Equal(_) => "equal_index",
            Indexing::Flatten { .. } => "flat_index",
            Indexing::Origin { .. } => "origin",
        }
    }

    fn parameters(&self) -> String {
        match self {
            Indexing::Gather { axis, .. } => format!("axis={axis}"),
            Indexing::ScatterAdd { axis, dims, .. } | Indexing::Origin { axis, dims, .. } => {
                format!("axis={axis} into={:?}", dims.as_slice())
            }
            Indexing::Equal(integer) => format!("to={integer}"),
            Indexing::Flatten { dims, .. } => format!("of={:?}", dims.as_slice()),
        }
    }

    fn dtype(&self, operands: &[DType]) -> Result<DType, String> {
        match self {
            // A table of anything: also of bytes, as a memory of frames.
            Indexing::Gather { .. } => Ok(operands[0]),
            Indexing::ScatterAdd { .. } => floats(&operands[..1]),
            Indexing::Equal(_) => Ok(DType::F64),
            Indexing::Flatten { .. } | Indexing::Origin { .. } => Ok(DType::I32),
        }
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        let (source, indices) = (operands[0], &operands[1..]);
        if let Some(other) = indices.iter().find(|&&shape| shape != indices[0]) {
            return Err(format!("index arrays of different shapes, {:?} and {other:?}", indices[0]));
        }
        match self {
            Indexing::Equal(_) | Indexing::Flatten { .. } => Ok(source.into()),
            Indexing::Origin { axis, dims, .. } => {
                let (front, entries) = source.split_at(*axis);
                let places = size_if_fits(dims, 1).and_then(|places| places.checked_add(size(entries)));
                if places.is_none_or(|places| i32::try_from(places).is_err()) {
                    return Err(format!(
                        "the places of axes of lengths {dims:?} and entries of shape {entries:?} are more than 32-bit indices \
                         can tell apart"
                    ));
                }
                Ok([front, dims].concat().into())
            }
            Indexing::Gather { axis, .. } => {
                let end = axis + indices.len();
                if indices.is_empty() || end > source.len() {
                    return Err(format!(
                        "{} index arrays for the axes from {axis} on of a table of shape {source:?}",
                        indices.len()
                    ));
                }
                expect_few_rows(&source[*axis..end])?;
                Ok([&source[..*axis], indices[0], &source[end..]].concat().into())
            }
            Indexing::ScatterAdd { axis, dims, .. } => {
                let end = axis + indices.first().map_or(0, |shape| shape.len());
                if indices.is_empty()
                    || dims.len() != indices.len()
                    || end > source.len()
                    || source[*axis..end] != *indices[0]
                {
                    return Err(format!(
                        "entries of shape {source:?} with {} index arrays of shape {:?} at axis {axis} do not fit into {dims:?}",
                        indices.len(),
                        indices.first().unwrap_or(&&[][..]),
                    ));
                }
                expect_few_rows(dims)?;
                Ok([&source[..*axis], dims, &source[end..]].concat().into())
            }
        }
    }

    fn vjp(&self, call: &Call, g: Var) -> Cotangents {
        let indices = || (1..call.operands.len()).map(|i| call.index(i)).collect::<Vec<_>>();
        let mut cotangents = call.one(|| match self {
            Indexing::Gather { axis, asked } => {
                let dims = &call.var(0).shape()[*axis..*axis + call.operands.len() - 1];
                scatter_add_at(g, *axis, &indices(), dims, asked.clone())
            }
            Indexing::ScatterAdd { axis, asked, .. } => gather_at(g, *axis, &indices(), asked.clone()),
            Indexing::Equal(_) | Indexing::Flatten { .. } | Indexing::Origin { .. } => {
                unreachable!("integers have no derivative")
            }
        });
        cotangents.resize(call.operands.len(), None);
        cotangents
    }

    fn with_leading_axis(&self, _size: usize) -> Op {
        unreachable!("whether the indices are batched decides; see `batching_rule`")
    }

    fn batching_rule(&self, call: &super::BatchedCall) -> NodeId {
        let indices_batched = (1..call.operands.len()).any(|operand| call.is_batched(operand));
        let (axis, asked) = match self {
            Indexing::Equal(_) => {
                return record(call.tape, Op::Indexing(self.clone()), &[call.batched_operand(0).node()]);
            }
            Indexing::Flatten { .. } => unreachable!("only lowering makes flat indices"),
            Indexing::Origin { axis, .. } => {
                let indices: Operands = (0..call.operands.len()).map(|i| call.batched_operand(i).node()).collect();
                return record(call.tape, Op::Indexing(self.at(axis + 1)), &indices);
            }
            Indexing::Gather { axis, asked } | Indexing::ScatterAdd { axis, asked, .. } => (*axis, asked),
        };
        if !indices_batched {
            // The new axis is one more that is carried along in front.
            let operands: Operands = call.operands.iter().map(|(handle, _)| handle.node()).collect();
            return record(call.tape, Op::Indexing(self.at(axis + 1)), &operands);
        }
        let mut indices: Vec<Index> =
            (1..call.operands.len()).map(|operand| call.batched_operand(operand).index()).collect();
        let source_batched = call.is_batched(0);
        if let (Indexing::Gather { .. }, false) = (self, source_batched) {
            // The new axis is one more of the indices; in the result it stands at `axis`.
            let gathered = gather_at(call.operands[0].0.var(), axis, &indices, asked.clone());
            return move_axis(gathered, axis, 0).node;
        }
        // Both have the new axis: it becomes one more axis that is indexed, by 0, 1, 2, …
        let shape = indices[0].shape();
        expect_i32("vmap", shape[0]);
        let counting = ndarray::ArrayD::from_shape_fn(shape.as_slice(), |position| position[0] as i32);
        indices.insert(0, constant_index(call.tape, counting.into()));
        let source = move_axis(call.batched_operand(0).var(), 0, axis);
        let result = match self {
            Indexing::ScatterAdd { dims, .. } => {
                let dims: Shape = std::iter::once(call.size).chain(dims.iter().copied()).collect();
                scatter_add_at(source, axis, &indices, &dims, asked.mapped())
            }
            _ => gather_at(source, axis, &indices, asked.mapped()),
        };
        move_axis(result, axis, 0).node
    }

    fn rows(&self, operands: &[&[usize]]) -> Option<Rows> {
        let indices = operands.len() - 1;
        let mut by_row: SmallVec<[bool; 3]> = smallvec::smallvec![false; operands.len()];
        match self {
            Indexing::Equal(_) | Indexing::Flatten { .. } => Rows::alike(operands),
            Indexing::Origin { axis, .. } => Rows::alike(operands).filter(|_| *axis > 0),
            // The indices have the rows; the table is everyone's, or gathers what all rows scatter.
            Indexing::Gather { axis: 0, .. } => {
                by_row[1..].fill(true);
                Some(Rows { by_row, summed: false }).filter(|_| !operands[1].is_empty())
            }
            Indexing::ScatterAdd { axis: 0, .. } => {
                by_row.fill(true);
                Some(Rows { by_row, summed: true }).filter(|_| indices > 0 && !operands[1].is_empty())
            }
            // The table (or what is scattered) has the rows, in front of the axes that are indexed.
            Indexing::Gather { .. } | Indexing::ScatterAdd { .. } => {
                by_row[0] = true;
                Some(Rows { by_row, summed: false })
            }
        }
    }

    fn forward(&self, operands: &[Operand<'_>], shape: &[usize], out: SliceMut<'_>) -> Result<(), Failure> {
        match self {
            Indexing::Flatten { dims, asked } => {
                flatten(inside(Indices { arrays: &arrays(operands), dims }, asked)?, out.of());
            }
            Indexing::Origin { axis, dims, asked } => {
                let arrays = arrays(operands);
                let places = size(dims);
                let fronts = size(&operands[0].shape[..*axis]);
                inside(Indices { arrays: &arrays, dims }, asked)?;
                let count = operands[0].shape[*axis..].iter().product::<usize>();
                let out = out.of();
                for front in 0..fronts {
                    let entries = front * count..(front + 1) * count;
                    let arrays: SmallVec<[&[i32]; 8]> = arrays.iter().map(|array| &array[entries.clone()]).collect();
                    origin(Indices { arrays: &arrays, dims }, &mut out[front * places..][..places]);
                }
            }
            &Indexing::Equal(integer) => {
                let equal = operands[0].numbers().iter().map(|&i: &i32| if i == integer { 1.0 } else { 0.0 });
                out.of::<f64>().iter_mut().zip(equal).for_each(|(out, equal)| *out = equal);
            }
            Indexing::Gather { axis, asked } => {
                let (table, arrays) = (operands[0], arrays(&operands[1..]));
                let dims = &table.shape[*axis..axis + arrays.len()];
                let indices = inside(Indices { arrays: &arrays, dims }, asked)?;
                let behind = size(&table.shape[axis + dims.len()..]);
                let (rows, count) = (size(dims) * behind, size(operands[1].shape) * behind);
                if count > 0 {
                    by_dtype!(SliceMut, out, |out| for (block, out) in out.chunks_exact_mut(count).enumerate() {
                        gather(&table.numbers()[block * rows..][..rows], indices, behind, out);
                    });
                }
            }
            Indexing::ScatterAdd { .. } => {
                let mut outcome = Ok(());
                let mut sums = |sums: &mut [f64]| {
                    sums.fill(0.0);
                    outcome = self.accumulate(operands, shape, sums, SliceMut::F64(&mut []));
                };
                match out {
                    SliceMut::F64(out) => sums(out),
                    out => with_scratch(size(shape), |scratch| {
                        sums(scratch);
                        kernel::cast::round(scratch, out);
                    }),
                }
                outcome?;
            }
        }
        Ok(())
    }

    fn accumulate(
        &self,
        operands: &[Operand<'_>],
        shape: &[usize],
        sum: &mut [f64],
        _part: SliceMut<'_>,
    ) -> Result<(), Failure> {
        let Indexing::ScatterAdd { axis, dims, asked } = self else { unreachable!("only scatter_add sums") };
        let arrays = arrays(&operands[1..]);
        let indices = inside(Indices { arrays: &arrays, dims }, asked)?;
        let behind = size(&shape[axis + dims.len()..]);
        let (rows, count) = (size(dims) * behind, size(operands[1].shape) * behind);
        if rows > 0 {
            by_dtype!(floats Slice, operands[0].data, |x| for (block, sum) in sum.chunks_exact_mut(rows).enumerate() {
                scatter_add(&x[block * count..][..count], indices, behind, sum);
            });
        }
        Ok(())
    }

    fn reads(&self, operand: usize, operands: &[&[usize]], shape: &[usize]) -> usize {
        match self {
            // What is looked up of a table.
            Indexing::Gather { .. } if operand == 0 => size(shape),
            _ => size(operands[operand]),
        }
    }

    fn flops(&self, operands: &[&[usize]], _shape: &[usize]) -> usize {
        match self {
            Indexing::ScatterAdd { .. } => size(operands[0]),
            _ => 0,
        }
    }
}

impl Indexing {
    /// The same, along axes from another one on.
    pub fn at(&self, axis: usize) -> Self {
        match self {
            Indexing::Gather { asked, .. } => Indexing::Gather { axis, asked: asked.clone() },
            Indexing::ScatterAdd { dims, asked, .. } => {
                Indexing::ScatterAdd { axis, dims: dims.clone(), asked: asked.clone() }
            }
            Indexing::Origin { dims, asked, .. } => Indexing::Origin { axis, dims: dims.clone(), asked: asked.clone() },
            Indexing::Equal(_) | Indexing::Flatten { .. } => self.clone(),
        }
    }
}

fn arrays<'a>(indices: &[Operand<'a>]) -> SmallVec<[&'a [i32]; 8]> {
    indices.iter().map(Operand::numbers).collect()
}

/// Rows of a table are numbered in 32 bits.
fn expect_few_rows(dims: &[usize]) -> Result<(), String> {
    let rows = size_if_fits(dims, 1).filter(|&rows| u32::try_from(rows).is_ok());
    rows.map(|_| ()).ok_or_else(|| format!("axes of lengths {dims:?} have more than 2^32 places to look up"))
}

/// Places that are counted for the user are `i32`, as all indices.
#[track_caller]
fn expect_i32(operation: &str, count: usize) {
    assert!(i32::try_from(count).is_ok(), "{operation}: {count} rows are more than 32-bit indices can tell apart");
}

/// 0, 1, 2, … on a tape.
#[track_caller]
fn counting(operation: &str, tape: u32, count: usize) -> Index {
    expect_i32(operation, count);
    constant_index(tape, ndarray::Array1::from_iter(0..count as i32).into())
}

/// The indices, if none is outside its axis.
fn inside<'a>(indices: Indices<'a>, Asked(asked): &Asked) -> Result<Indices<'a>, Failure> {
    indices.outside().map_or(Ok(indices), |(array, position)| {
        let LookUp { operation, location, first } = **asked;
        let axis = usize::try_from(first + array as isize).unwrap_or(0);
        let (index, length) = (indices.arrays[array][position], indices.dims[array]);
        Err(Failure::IndexOutOfRange { operation, location, index, position, axis, length })
    })
}

fn move_axis(x: Var, from: usize, to: usize) -> Var {
    let mut axes: Axes = (0..x.shape().len()).collect();
    let axis = axes.remove(from);
    axes.insert(to, axis);
    x.transpose(&axes)
}

#[track_caller]
fn gather_at(table: Var, axis: usize, indices: &[Index], asked: Asked) -> Var {
    apply(table.tape, Op::Indexing(Indexing::Gather { axis, asked }), &with_indices(table, indices))
}

#[track_caller]
fn scatter_add_at(entries: Var, axis: usize, indices: &[Index], dims: &[usize], asked: Asked) -> Var {
    let op = Indexing::ScatterAdd { axis, dims: dims.into(), asked };
    apply(entries.tape, Op::Indexing(op), &with_indices(entries, indices))
}

/// The sum of several scatters into one shape along the same axes, as one.
#[track_caller]
pub(super) fn scatter_together(scattered: &[Var]) -> Var {
    let first = scattered[0];
    let (op, arrays) = first.with_node(|node| (node.op.clone(), node.operands.len() - 1));
    let Op::Indexing(Indexing::ScatterAdd { axis, dims, asked }) = op else { unreachable!("only scatters come here") };
    // All of a scatter's entries in a row.
    let mut entries = Vec::with_capacity(scattered.len());
    let mut indices: Vec<Vec<NodeId>> = vec![Vec::with_capacity(scattered.len()); arrays];
    for &part in scattered {
        let operands = part.with_node(|node| node.operands.clone());
        let of = Var::recorded(part.tape, operands[0]);
        for (list, &array) in indices.iter_mut().zip(&operands[1..]) {
            let index = Index::recorded(part.tape, array);
            list.push(index.reshaped(&[index.size()]).node);
        }
        let (shape, rank) = (of.shape(), Index::recorded(part.tape, operands[1]).shape().len());
        let count = size(&shape[axis..axis + rank]);
        let row = shape[..axis].iter().copied().chain([count]).chain(shape[axis + rank..].iter().copied());
        entries.push(of.reshaped(&row.collect::<Shape>()).node);
    }
    let entries = apply(first.tape, Op::Movement(Movement::Concat { axis }), &entries);
    let in_a_row = |list: &Vec<NodeId>| {
        Index::recorded(first.tape, record(first.tape, Op::Movement(Movement::Concat { axis: 0 }), list))
    };
    let indices: Vec<Index> = indices.iter().map(in_a_row).collect();
    scatter_add_at(entries, axis, &indices, &dims, asked)
}

/// One index array for each axis of an array of this shape, at which its entries are looked up along one of them: everywhere
/// else each entry is found where it is.
#[track_caller]
fn along(operation: &str, axis: usize, index: Index) -> Vec<Index> {
    let shape = index.shape();
    let mut indices = Vec::with_capacity(shape.len());
    for (other, &length) in shape.iter().enumerate() {
        if other == axis {
            indices.push(index);
            continue;
        }
        let mut counted: Shape = smallvec::smallvec![1; shape.len()];
        counted[other] = length;
        indices.push(counting(operation, index.tape, length).reshaped(&counted).stretched(&shape));
    }
    indices
}

fn with_indices(source: Var, indices: &[Index]) -> Operands {
    std::iter::once(source.node).chain(indices.iter().map(|index| index.node)).collect()
}

impl Var {
    /// The entries of a table at integer indices, one index array for each of its leading axes (all of one shape):
    /// `log_probabilities.gather(&[states, actions])` is `log_probabilities[states[n,t], actions[n,t]]`. Trailing axes that
    /// are not indexed are kept, behind.
    ///
    /// An index out of range panics here if the index array was recorded with values, and is an
    /// [`Error::IndexOutOfRange`](crate::Error::IndexOutOfRange) when a program runs.
    #[track_caller]
    #[must_use]
    pub fn gather(self, indices: impl AsRef<[Index]>) -> Self {
        let indices = indices.as_ref();
        self.check_same_tape_all("gather", indices);
        for (axis, (index, &length)) in indices.iter().zip(&self.shape()).enumerate() {
            index.check_range("gather", axis, length);
        }
        gather_at(self, 0, indices, Asked::new("gather", here(self.tape), 0))
    }

    /// [`gather`](Self::gather) of the axes from `axis` on: those in front are kept, in front. With one index array it is
    /// NumPy's `take(indices, axis)`.
    ///
    /// ```
    /// let tape = ad::Tape::new();
    /// let rows = tape.input("rows", ndarray::arr2(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]));
    /// let columns = tape.index("columns", ndarray::arr1(&[2, 0]));
    /// assert_eq!(rows.gather_along(1, &[columns]).value(), ndarray::arr2(&[[3.0, 1.0], [6.0, 4.0]]).into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn gather_along(self, axis: usize, indices: impl AsRef<[Index]>) -> Self {
        let indices = indices.as_ref();
        self.check_same_tape_all("gather_along", indices);
        for (i, (index, &length)) in indices.iter().zip(self.shape().iter().skip(axis)).enumerate() {
            index.check_range("gather_along", axis + i, length);
        }
        let asked = Asked::new("gather_along", here(self.tape), axis as isize);
        gather_at(self, axis, indices, asked)
    }

    /// Along an axis, at each place of `index`, the entry whose number stands there; `index` is as long as this array along all
    /// other axes. It is NumPy's `take_along_axis`, and its transpose is [`add_along`](Self::add_along).
    ///
    /// ```
    /// let tape = ad::Tape::new();
    /// let rows = tape.input("rows", &ndarray::arr2(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]));
    /// let each = tape.index("each", &ndarray::arr2(&[[2, 2], [0, 1]]));
    /// assert_eq!(rows.take_along(1, each).value(), ndarray::arr2(&[[3.0, 3.0], [4.0, 5.0]]).into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn take_along(self, axis: usize, index: Index) -> Self {
        self.check_same_tape("take_along", index);
        let (shape, places) = (self.expect_axis("take_along", axis), index.shape());
        let is_other = |(i, (length, other)): (usize, (&usize, &usize))| i != axis && length != other;
        if shape.len() != places.len() || shape.iter().zip(&places).enumerate().any(is_other) {
            panic!(
                "take_along: an index array of shape {places:?} along axis {axis} of shape {shape:?} (all other axes have to be \
                 as long)\n  operand made at {}\n  index array made at {}",
                self.location(),
                index.location()
            );
        }
        index.check_range("take_along", axis, shape[axis]);
        let asked = Asked::new("take_along", here(self.tape), 0);
        gather_at(self, 0, &along("take_along", axis, index), asked)
    }

    /// Zeros of the shape of this array, but of another length along an axis, with each entry added at its index there, of an
    /// index array of this array's shape: the transpose of [`take_along`](Self::take_along). Repeated indices accumulate.
    #[track_caller]
    #[must_use]
    pub fn add_along(self, axis: usize, index: Index, length: usize) -> Self {
        self.check_same_tape("add_along", index);
        let (mut dims, places) = (self.expect_axis("add_along", axis), index.shape());
        assert!(
            dims == places,
            "add_along: an array of shape {dims:?} needs an index array of this shape, got {places:?}\n  operand made at \
             {}\n  index array made at {}",
            self.location(),
            index.location()
        );
        index.check_range("add_along", axis, length);
        dims[axis] = length;
        let asked = Asked::new("add_along", here(self.tape), 0);
        scatter_add_at(self, 0, &along("add_along", axis, index), &dims, asked)
    }

    /// The same array with `values` in place of the entries at integer indices, one index array for each of its leading axes
    /// (all of one shape), as [`gather`](Self::gather) has them; the values are of the shape that this would give, or are
    /// broadcast to it. It is JAX's `x.at[i, j].set(values)`.
    ///
    /// Of several values at one place the last stands there, in the row-major order of the index arrays, and has all of its
    /// derivative; what was there before has none.
    ///
    /// ```
    /// let tape = ad::Tape::new();
    /// let x = tape.input("x", &ndarray::arr1(&[1.0, 2.0, 3.0]));
    /// let values = tape.input("values", &ndarray::arr1(&[5.0, 6.0, 7.0]));
    /// let y = x.set(&[tape.index("i", &ndarray::arr1(&[2, 0, 2]))], values);
    /// assert_eq!(y.value(), ndarray::arr1(&[6.0, 2.0, 7.0]).into_dyn());
    /// assert_eq!(y.sum().grad(values).value(), ndarray::arr1(&[0.0, 1.0, 1.0]).into_dyn());
    /// assert_eq!(y.sum().grad(x).value(), ndarray::arr1(&[0.0, 1.0, 0.0]).into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn set(self, indices: impl AsRef<[Index]>, values: impl Into<Term>) -> Self {
        let indices = indices.as_ref();
        let values = self.values_at("set", indices, values.into());
        let shape = self.shape();
        let (dims, behind) = shape.split_at(indices.len());
        let in_a_row = |x: Self, rows: usize| x.reshaped(&[&[rows], behind].concat());
        let (places, entries) = (size(dims), indices[0].size());
        let table = Self::concat(&[in_a_row(self, places), in_a_row(values, entries)], 0);
        let asked = Asked::new("set", here(self.tape), 0);
        let origin = Op::Indexing(Indexing::Origin { axis: 0, dims: dims.into(), asked: asked.clone() });
        let nodes: Operands = indices.iter().map(|index| index.node).collect();
        let origin = Index::recorded(self.tape, record(self.tape, origin, &nodes));
        gather_at(table, 0, &[origin], asked)
    }

    /// The same array with `values` added to the entries at integer indices, as [`set`](Self::set) puts them there. Repeated
    /// indices accumulate. It is JAX's `x.at[i, j].add(values)`.
    #[track_caller]
    #[must_use]
    pub fn add_at(self, indices: impl AsRef<[Index]>, values: impl Into<Term>) -> Self {
        let indices = indices.as_ref();
        let values = self.values_at("add_at", indices, values.into());
        let asked = Asked::new("add_at", here(self.tape), 0);
        self + scatter_add_at(values, 0, indices, &self.shape()[..indices.len()], asked)
    }

    /// Values for the entries at integer indices of the leading axes, broadcast to the shape that such entries have.
    #[track_caller]
    fn values_at(self, operation: &str, indices: &[Index], values: Term) -> Self {
        self.check_same_tape_all(operation, indices);
        let shape = self.shape();
        let places = indices.first().map(|index| index.shape());
        let Some(places) = places.filter(|_| indices.len() <= shape.len()) else {
            panic!(
                "{operation}: {} index arrays for the leading axes of shape {shape:?}\n  operand made at {}",
                indices.len(),
                self.location()
            )
        };
        for (axis, (index, &length)) in indices.iter().zip(&shape).enumerate() {
            let other = index.shape();
            assert!(
                other == places,
                "{operation}: index arrays of different shapes, {places:?} and {other:?}\n  made at {}\n  made at {}",
                indices[0].location(),
                index.location()
            );
            index.check_range(operation, axis, length);
        }
        let wanted = [&places[..], &shape[indices.len()..]].concat();
        let values = match values {
            Term::Number(number) => {
                self.check_float(operation);
                fill(self, number, &wanted)
            }
            other => self.term(operation, other),
        };
        let given = values.shape();
        assert!(
            broadcast_shape(&given, &wanted).is_some_and(|both| both.as_slice() == wanted),
            "{operation}: values of shape {given:?} for entries of shape {wanted:?} of an array of shape {shape:?}\n  operand \
             made at {}\n  operand made at {}",
            self.location(),
            values.location()
        );
        values.stretched(&wanted)
    }

    /// Zeros of lengths `dims` (and this array's trailing axes), with each entry added at its index: the transpose of
    /// [`gather`](Self::gather). Repeated indices accumulate.
    #[track_caller]
    #[must_use]
    pub fn scatter_add(self, indices: impl AsRef<[Index]>, dims: &[usize]) -> Self {
        let indices = indices.as_ref();
        self.check_same_tape_all("scatter_add", indices);
        for (axis, (index, &length)) in indices.iter().zip(dims).enumerate() {
            index.check_range("scatter_add", axis, length);
        }
        scatter_add_at(self, 0, indices, dims, Asked::new("scatter_add", here(self.tape), 0))
    }

    /// [`scatter_add`](Self::scatter_add) into the axes from `axis` on: those in front are kept, in front. The transpose of
    /// [`gather_along`](Self::gather_along).
    #[track_caller]
    #[must_use]
    pub fn scatter_add_along(self, axis: usize, indices: impl AsRef<[Index]>, dims: &[usize]) -> Self {
        let indices = indices.as_ref();
        self.check_same_tape_all("scatter_add_along", indices);
        for (i, (index, &length)) in indices.iter().zip(dims).enumerate() {
            index.check_range("scatter_add_along", axis + i, length);
        }
        let asked = Asked::new("scatter_add_along", here(self.tape), axis as isize);
        scatter_add_at(self, axis, indices, dims, asked)
    }

    /// For each row the entry that `index` chooses along the last axis: of log-probabilities `[N, A]` and actions `[N]`,
    /// those of the actions taken.
    #[track_caller]
    #[must_use]
    pub fn pick(self, index: Index) -> Self {
        self.check_same_tape("pick", index);
        let (shape, rows) = (self.shape(), index.shape());
        assert!(
            shape.len() == rows.len() + 1 && shape[..rows.len()] == *rows,
            "pick: an array of shape {shape:?} needs an index array of shape {:?}, got {rows:?}",
            &shape[..shape.len().saturating_sub(1)]
        );
        let last = rows.len();
        index.check_range("pick", last, shape[last]);
        let count = size(&rows);
        let row = counting("pick", self.tape, count);
        // The row comes first.
        let asked = Asked::new("pick", here(self.tape), last as isize - 1);
        gather_at(self.reshaped(&[count, shape[last]]), 0, &[row, index.reshaped(&[count])], asked).reshaped(&rows)
    }

    /// The entries on the diagonal of this matrix (or of each of a stack), as a vector (or a stack of them).
    #[track_caller]
    #[must_use]
    pub fn diagonal(self) -> Self {
        let shape = self.shape();
        let [stack @ .., m, n] = &shape[..] else {
            panic!("diagonal: shape {shape:?} is no matrix\n  operand made at {}", self.location())
        };
        let each = counting("diagonal", self.tape, *m.min(n));
        let asked = Asked::new("diagonal", here(self.tape), stack.len() as isize);
        gather_at(self, stack.len(), &[each, each], asked)
    }

    /// The matrix (or stack of them) with this vector (or stack of them) on the diagonal and zeros beside it: the transpose of
    /// [`diagonal`](Self::diagonal).
    #[track_caller]
    #[must_use]
    pub fn diag(self) -> Self {
        let shape = self.shape();
        let [stack @ .., n] = &shape[..] else {
            panic!("diag: a scalar is no vector\n  operand made at {}", self.location())
        };
        let each = counting("diag", self.tape, *n);
        let asked = Asked::new("diag", here(self.tape), stack.len() as isize);
        scatter_add_at(self, stack.len(), &[each, each], &[*n, *n], asked)
    }
}

impl Tape {
    /// An array of integers that never changes. (On the tape of a Var, it is [`Index::constant`].)
    #[track_caller]
    pub fn constant_index<'a>(&self, value: impl Into<Value<'a>>) -> Index {
        constant_index(self.id(), value.into())
    }

    /// 0, 1, 2, … as far as `count` of them go, which never change.
    #[track_caller]
    pub fn range_index(&self, count: usize) -> Index {
        counting("range_index", self.id(), count)
    }
}

/// One look-up is a list of one: `table.gather(states)`.
impl AsRef<[Index]> for Index {
    fn as_ref(&self) -> &[Index] {
        std::slice::from_ref(self)
    }
}

impl Index {
    /// Integers that never change, on the tape of a Var: for a function that is given Vars and no tape.
    #[track_caller]
    pub fn constant<'a>(beside: Var, value: impl Into<Value<'a>>) -> Self {
        beside.check_alive();
        constant_index(beside.tape, value.into())
    }

    /// 1 where the integer is `i`, else 0, as `f64` (which may be [cast](Var::cast)).
    #[track_caller]
    #[must_use]
    pub fn equal(self, i: i32) -> Var {
        self.check_alive();
        apply(self.tape, Op::Indexing(Indexing::Equal(i)), &[self.node])
    }

    /// Along a new last axis of length `classes`, 1 at the integer and 0 elsewhere, as `f64` (which may be [cast](Var::cast)). An
    /// integer beyond the classes is an index out of range.
    ///
    /// ```
    /// let tape = ad::Tape::new();
    /// let labels = tape.index("labels", &ndarray::arr1(&[2, 0]));
    /// assert_eq!(labels.one_hot(3).value(), ndarray::arr2(&[[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]).into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn one_hot(self, classes: usize) -> Var {
        let last = self.shape().len();
        self.check_range("one_hot", last, classes);
        let index = self.insert_axis(last);
        let ones = Leaf::fill(1.0, DType::F64, &index.shape());
        let ones = apply(self.tape, Op::Leaf(ones), &[]);
        let mut dims = index.shape();
        dims[last] = classes;
        let asked = Asked::new("one_hot", here(self.tape), 0);
        scatter_add_at(ones, 0, &along("one_hot", last, index), &dims, asked)
    }

    /// Panics if it was recorded with values and one of them is out of range.
    #[track_caller]
    fn check_range(self, operation: &str, axis: usize, length: usize) {
        let outside = self.with_node(|node| match &node.op {
            Op::Leaf(Leaf::Input { value, .. } | Leaf::Constant(value)) => value
                .value()
                .entries()
                .of::<i32>()
                .iter()
                .copied()
                .enumerate()
                .find(|&(_, i)| usize::try_from(i).is_ok_and(|i| i < length).not()),
            _ => None,
        });
        if let Some((position, i)) = outside {
            panic!(
                "{operation}: index {i} at position {position} is outside axis {axis}, which has length {length}\n  index array \
                 made at {}",
                self.location()
            );
        }
    }
}
