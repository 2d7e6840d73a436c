//! Regions: many operations on one block of rows after another, with what they make on the way in cache.
//!
//! Rows are cut into chunks, and chunks into blocks, by sizes that were decided when the program was compiled. Chunks may run
//! in parallel; each sums its blocks in order, and their sums are added in order, so that results are the same bits on any
//! number of threads.

use std::ops::Range;
use std::panic::Location;
use std::sync::Mutex;

use smallvec::SmallVec;

use super::{Place, emptied};
use crate::dtype::DType;
use crate::kernel::cast;
use crate::kernel::map::Repeat;
use crate::machine::team;
use crate::op::{Failure, Op, Operand};
use crate::tensor::{Buffer, Shape, Slice, SliceMut, size};

/// The most chunks that a region is cut into. It does not depend on the number of threads, and neither do the results.
pub(super) const CHUNKS: usize = 8;

/// Operations that run together, block by block.
#[derive(Clone, Debug)]
pub(super) struct Region {
    pub rows: usize,
    /// Rows of a chunk; the last may have fewer.
    pub chunk: usize,
    /// Rows of a block; the last of a chunk may have fewer.
    pub block: usize,
    /// For each temporary what it holds, and entries per row.
    pub temporaries: Vec<(DType, usize)>,
    pub results: Vec<RegionResult>,
    pub steps: Vec<BlockStep>,
}

/// A result that is needed outside of the region.
#[derive(Clone, Copy, Debug)]
pub(super) struct RegionResult {
    pub slot: usize,
    pub dtype: DType,
    /// Entries for each row, or, if summed over rows, in all.
    pub per_row: usize,
    pub summed: bool,
}

/// One kernel call for each block.
#[derive(Clone, Debug)]
pub(super) struct BlockStep {
    pub operands: SmallVec<[(RowOperand, Option<Repeat>); 3]>,
    pub destination: Destination,
    /// For a whole block, the last of a chunk, and the last of all.
    pub variants: [Variant; 3],
    pub dtype: DType,
    pub location: &'static Location<'static>,
}

/// An operation as it is for a certain number of rows.
#[derive(Clone, Debug)]
pub(super) struct Variant {
    pub op: Op,
    /// Each operand's shape, and how many entries of it there are where they are repeated.
    pub operands: SmallVec<[(Shape, usize); 3]>,
    pub shape: Shape,
    /// Entries of the result.
    pub count: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum RowOperand {
    /// Made for this block before: the column of this number, where columns lie in a temporary one behind the other. (Else 0.)
    Temporary { temporary: usize, column: usize },
    /// The block's rows of a whole array, of so many entries each.
    Rows(Place, usize),
    /// A whole array.
    Whole(Place),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Destination {
    /// A temporary, and perhaps also the block's rows of a result.
    Temporary { temporary: usize, copy: Option<usize> },
    /// The block's rows of a result.
    Rows(usize),
    /// Added to a result.
    Sum(usize),
}

/// The results of a chunk: of each its rows, and if it is summed, the chunk's sum.
struct ChunkResults<'r, 's> {
    rows: Vec<SliceMut<'r>>,
    sums: &'s mut [Vec<f64>],
    outcome: Result<(), Fault>,
}

/// What a region needs.
#[derive(Debug)]
pub(super) struct Space {
    /// While it runs, the buffers of its results.
    results: Vec<Buffer>,
    /// For each chunk, room for the list of its rows of each result.
    rows: Vec<Vec<SliceMut<'static>>>,
    /// For each chunk and each summed result the chunk's sum, in double precision; empty for others.
    sums: Vec<Vec<Vec<f64>>>,
    /// As many as chunks run at the same time. A chunk takes the one that was in use last, which is still in cache.
    idle: Mutex<Vec<Scratch>>,
}

/// What a chunk needs while it runs.
#[derive(Debug)]
struct Scratch {
    temporaries: Vec<Buffer>,
    /// A block's part of each summed result; empty for others.
    parts: Vec<Buffer>,
    /// Room for the list of what a step reads, where that is much.
    operands: Vec<Operand<'static>>,
}

/// What went wrong in a step, at which position of the whole operand.
pub(super) struct Fault {
    pub failure: Failure,
    pub step: usize,
}

impl Region {
    pub fn chunks(&self) -> usize {
        self.rows.div_ceil(self.chunk)
    }

    pub fn space(&self) -> Space {
        let sums = || self.results.iter().map(|result| vec![0.0; self.sum_entries(result)]).collect();
        let at_once = self.chunks().min(team::threads());
        Space {
            results: self.results.iter().map(|_| Buffer::default()).collect(),
            rows: (0..self.chunks()).map(|_| Vec::with_capacity(self.results.len())).collect(),
            sums: (0..self.chunks()).map(|_| sums()).collect(),
            idle: Mutex::new((0..at_once).map(|_| self.scratch()).collect()),
        }
    }

    fn scratch(&self) -> Scratch {
        let temporary = |&(dtype, size): &(DType, usize)| Buffer::new(dtype, size * self.block);
        let part = |result: &RegionResult| Buffer::new(result.dtype, self.sum_entries(result));
        Scratch {
            temporaries: self.temporaries.iter().map(temporary).collect(),
            parts: self.results.iter().map(part).collect(),
            operands: Vec::with_capacity(self.steps.iter().map(|step| step.operands.len()).max().unwrap_or(0)),
        }
    }

    fn sum_entries(&self, result: &RegionResult) -> usize {
        if result.summed { result.per_row } else { 0 }
    }

    /// Lends the buffers of its results to the space, or takes them back.
    pub fn exchange_results(&self, slots: &mut [Buffer], space: &mut Space) {
        let pairs = self.results.iter().zip(&mut space.results);
        pairs.for_each(|(result, buffer)| std::mem::swap(&mut slots[result.slot], buffer));
    }

    /// Runs all steps on all rows. `read` finds arrays from outside; the space has the buffers of the results.
    pub fn run<'a>(&self, read: &(impl Fn(Place) -> Slice<'a> + Sync), space: &mut Space) -> Result<(), Fault> {
        let Space { results, rows: lists, sums: all_sums, idle } = space;
        let mut chunks: SmallVec<[_; CHUNKS]> = (lists.iter_mut().zip(all_sums.iter_mut()))
            .map(|(list, sums)| ChunkResults { rows: emptied(std::mem::take(list)), sums, outcome: Ok(()) })
            .map(Mutex::new)
            .collect();
        for (result, buffer) in self.results.iter().zip(results.iter_mut()) {
            // What is summed has no rows.
            let mut rest = buffer.slice_mut(0..if result.summed { 0 } else { result.per_row * self.rows });
            for chunk in &mut chunks {
                let (rows, after) = rest.split_at(self.chunk * result.per_row);
                chunk.get_mut().expect("no chunk has panicked").rows.push(rows);
                rest = after;
            }
        }
        let idle = &*idle;
        team::share(chunks.len(), &|c| {
            let scratch = idle.lock().expect("no chunk panics while it holds the lock").pop();
            let mut scratch = scratch.unwrap_or_else(|| self.scratch());
            let mut chunk = chunks[c].lock().expect("a chunk is run once");
            let start = c * self.chunk;
            chunk.outcome = self.run_chunk(start..(start + self.chunk).min(self.rows), read, &mut chunk, &mut scratch);
            idle.lock().expect("no chunk panics while it holds the lock").push(scratch);
        });
        // The first in the order of rows, whichever was found first.
        let mut outcome = Ok(());
        for (chunk, list) in chunks.into_iter().zip(lists) {
            let chunk = chunk.into_inner().expect("no chunk has panicked");
            *list = emptied(chunk.rows);
            outcome = outcome.and(chunk.outcome);
        }
        outcome?;
        for (r, (result, buffer)) in
            self.results.iter().zip(results).enumerate().filter(|(_, (result, _))| result.summed)
        {
            let (first, others) = all_sums.split_first_mut().expect("a region has rows");
            for sums in others {
                cast::add(Slice::F64(&sums[r]), &mut first[r]);
            }
            cast::round(&first[r], buffer.slice_mut(0..result.per_row));
        }
        Ok(())
    }

    fn run_chunk<'a>(
        &self,
        chunk: Range<usize>,
        read: &impl Fn(Place) -> Slice<'a>,
        results: &mut ChunkResults<'_, '_>,
        scratch: &mut Scratch,
    ) -> Result<(), Fault> {
        for start in chunk.clone().step_by(self.block) {
            let rows = self.block.min(chunk.end - start);
            let variant = match rows {
                rows if rows == self.block => 0,
                _ if chunk.end == self.rows => 2,
                _ => 1,
            };
            let block = Block { start, rows, first: start == chunk.start, in_chunk: start - chunk.start };
            for (s, step) in self.steps.iter().enumerate() {
                self.run_step(step, &step.variants[variant], &block, read, results, scratch)
                    .map_err(|failure| Fault { failure: self.displaced(step, failure, start), step: s })?;
            }
        }
        Ok(())
    }

    /// A failure of a step at a position of a block, as one of the whole array.
    fn displaced(&self, step: &BlockStep, mut failure: Failure, start: usize) -> Failure {
        let whole = &step.variants[0];
        match &mut failure {
            // All index arrays are of one shape; the last operand is one.
            Failure::IndexOutOfRange { position, .. } | Failure::Inexact { position, .. } => {
                let has_rows = step.operands.last().is_some_and(|(last, _)| !matches!(last, RowOperand::Whole(_)));
                let entries = whole.operands.last().map_or(0, |(_, entries)| *entries);
                *position += if has_rows { start * entries / self.block } else { 0 };
            }
            Failure::Singular { matrix } | Failure::NotPositiveDefinite { matrix } => {
                *matrix += start * size(&whole.shape[1..whole.shape.len() - 2]);
            }
            Failure::LeftRange => {}
        }
        failure
    }

    fn run_step<'a>(
        &self,
        step: &BlockStep,
        variant: &Variant,
        block: &Block,
        read: &impl Fn(Place) -> Slice<'a>,
        results: &mut ChunkResults<'_, '_>,
        scratch: &mut Scratch,
    ) -> Result<(), Failure> {
        let mut made = match step.destination {
            Destination::Temporary { temporary, .. } => std::mem::take(&mut scratch.temporaries[temporary]),
            Destination::Sum(_) | Destination::Rows(_) => Buffer::default(),
        };
        let here = |result: usize| {
            let per_row = self.results[result].per_row;
            block.in_chunk * per_row..(block.in_chunk + block.rows) * per_row
        };
        // Nearly all operations have few operands: an array is faster than a list that can grow.
        let mut few = [Operand::NONE; 4];
        let are_many = step.operands.len() > few.len();
        let mut many: Vec<Operand<'_>> =
            if are_many { emptied(std::mem::take(&mut scratch.operands)) } else { Vec::new() };
        let outcome = {
            let operand = |i: usize| {
                let (operand, repeat) = step.operands[i];
                let (shape, size) = &variant.operands[i];
                let data = match operand {
                    RowOperand::Temporary { temporary, column } => {
                        scratch.temporaries[temporary].slice(column * size..(column + 1) * size)
                    }
                    RowOperand::Rows(place, per_row) => {
                        read(place).range(block.start * per_row..(block.start + block.rows) * per_row)
                    }
                    RowOperand::Whole(place) => read(place).range(0..*size),
                };
                Operand { data, shape, repeat }
            };
            let operands = if are_many {
                many.extend((0..step.operands.len()).map(operand));
                &many
            } else {
                few.iter_mut().zip(0..step.operands.len()).for_each(|(few, i)| *few = operand(i));
                &few[..step.operands.len()]
            };
            let rules = variant.op.rules();
            match step.destination {
                Destination::Rows(result) => {
                    rules.forward(operands, &variant.shape, results.rows[result].reborrow().range(here(result)))
                }
                Destination::Temporary { .. } => {
                    rules.forward(operands, &variant.shape, made.slice_mut(0..variant.count))
                }
                Destination::Sum(result) => {
                    let sum = &mut results.sums[result];
                    if block.first {
                        sum.fill(0.0);
                    }
                    let part = scratch.parts[result].slice_mut(0..sum.len());
                    rules.accumulate(operands, &variant.shape, sum, part)
                }
            }
        };
        if are_many {
            scratch.operands = emptied(many);
        }
        if let Destination::Temporary { temporary, copy } = step.destination {
            if let Some(result) = copy {
                results.rows[result].reborrow().range(here(result)).copy_from(made.slice(0..variant.count));
            }
            scratch.temporaries[temporary] = made;
        }
        outcome
    }
}

/// The rows at hand.
struct Block {
    start: usize,
    rows: usize,
    /// Whether it is the first of its chunk.
    first: bool,
    /// Where it starts within its chunk.
    in_chunk: usize,
}
