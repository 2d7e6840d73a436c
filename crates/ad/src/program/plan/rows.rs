//! Rows: which operations take part in a region, that is, run block of rows by block of rows. It is those on large arrays that
//! do the same to each row, or sum over rows.

use rustc_hash::FxHashSet;
use smallvec::SmallVec;

use super::dataflow::Dataflow;
use crate::op::Rows;
use crate::program::ir::Id;
use crate::tensor::size;

/// Arrays below this many entries are not worth a region.
pub(in crate::program) const LARGE: usize = 4096;

/// With so many rows or more, small arrays (one number for each row) take part in the region of large ones: between them,
/// they would cut it in two.
pub(in crate::program) const MANY_ROWS: usize = 64;

impl Dataflow<'_> {
    /// The numbers of rows of which there are large arrays. (As long as none is known, no small array joins.)
    pub fn rows_of_large_arrays(&self) -> FxHashSet<usize> {
        let rows = |id: Id| self.row_form(id).filter(|_| self.runs(id)).map(|(rows, _)| rows);
        (0..self.ir.nodes.len()).filter_map(rows).collect()
    }

    /// The number of rows that a node goes through, and how it treats them, if it takes part in a region.
    pub fn row_form(&self, id: Id) -> Option<(usize, Rows)> {
        let node = &self.ir.nodes[id];
        let shapes: SmallVec<[&[usize]; 3]> =
            node.operands.iter().map(|&operand| self.ir.nodes[operand].shape.as_slice()).collect();
        if self.large.is_empty() && shapes.iter().chain([&node.shape.as_slice()]).all(|shape| size(shape) < LARGE) {
            return None;
        }
        let mut rows = node.op.rules().rows(&shapes)?;
        let count = match rows.by_row.iter().position(|&by_row| by_row) {
            Some(operand) => shapes[operand][0],
            None => node.shape[0],
        };
        let by_row = || rows.by_row.iter().zip(&shapes).filter(|(by_row, _)| **by_row).map(|(_, shape)| size(shape));
        let largest = by_row().max().unwrap_or(0).max(size(&node.shape));
        // What is repeated for every row has no rows.
        for (by_row, view) in rows.by_row.iter_mut().zip(self.views(id)) {
            *by_row &= view.keeps_rows;
        }
        let joins = count >= MANY_ROWS && self.large.contains(&count);
        (count >= 2 && (largest >= LARGE || joins)).then_some((count, rows))
    }
}
