//! Columns: where many operations of a region read one entry of each row of an array, each another one, all are put beside one
//! another by one transposition of a block. One by one, each would go through all of the block again.

use rustc_hash::FxHashMap;

use super::dataflow::{Dataflow, View};
use crate::op::movement::Movement;
use crate::op::{Op, Rows};
use crate::program::ir::Id;

/// So many columns of an array are made together, if they are at least half of it.
const FEWEST: usize = 4;

/// Which members of a region are columns that are made together.
pub(super) struct Columns {
    /// Of each member which array's it is, and which one.
    of: Vec<Option<(usize, usize)>>,
    pub arrays: Vec<Array>,
}

/// An array whose columns are made together.
#[derive(Clone, Copy)]
pub(super) struct Array {
    /// The member with whom they are made: the first of them.
    pub first: usize,
    /// The length of a row.
    pub length: usize,
}

impl Columns {
    /// Those of a region's members, which treat rows as `forms` say. What escapes is made by itself.
    pub fn new(flow: &Dataflow<'_>, members: &[Id], forms: &[Rows], escapes: &[bool]) -> Self {
        let nodes = &flow.ir.nodes;
        let column = |(m, &id): (usize, &Id)| {
            let Op::Movement(Movement::Slice { axis: 1, start, end }) = nodes[id].op else { return None };
            let [_, length] = nodes[nodes[id].operands[0]].shape[..] else { return None };
            let View { base, repeat, .. } = flow.view(id, 0);
            let alone = end - start != 1 || repeat.is_some() || !forms[m].by_row[0] || escapes[id];
            (!alone).then_some((m, (base, length), start))
        };
        let mut found: FxHashMap<(Id, usize), Vec<(usize, usize)>> = FxHashMap::default();
        for (m, array, start) in members.iter().enumerate().filter_map(column) {
            found.entry(array).or_default().push((m, start));
        }
        let mut all: Vec<_> = found.into_iter().filter(|((_, length), of)| enough(of, *length)).collect();
        all.sort_unstable_by_key(|(_, of)| of[0].0);
        let mut columns = Self { of: vec![None; members.len()], arrays: Vec::new() };
        for ((_, length), of) in all {
            of.iter().for_each(|&(m, start)| columns.of[m] = Some((columns.arrays.len(), start)));
            columns.arrays.push(Array { first: of[0].0, length });
        }
        columns
    }

    /// Which array's column the m-th member is, and which one.
    pub fn of(&self, m: usize) -> Option<(usize, usize)> {
        self.of[m]
    }

    /// The member with whom the m-th is made: itself, if it is no such column.
    pub fn made_with(&self, m: usize) -> usize {
        self.of[m].map_or(m, |(array, _)| self.arrays[array].first)
    }
}

/// (Columns that are read twice are one operation: equal ones are computed once.)
fn enough(columns: &[(usize, usize)], length: usize) -> bool {
    columns.len() >= FEWEST && 2 * columns.len() >= length
}
