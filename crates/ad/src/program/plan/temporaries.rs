//! Temporaries: where in cache the results of a block lie. Register allocation by liveness, as a linear scan: the temporary
//! of a result is free for another one as soon as the last operation of the region that reads it has run.

use super::columns::Columns;
use super::dataflow::Dataflow;
use crate::dtype::DType;
use crate::op::Rows;
use crate::program::ir::Id;
use crate::tensor::size;

pub(super) struct Temporaries {
    /// Of each what it holds, and entries per row.
    pub kinds: Vec<(DType, usize)>,
    /// Of each member of the region the temporary of its result, if another member needs it. Columns that are made together
    /// share one.
    of: Vec<Option<usize>>,
}

impl Temporaries {
    /// Those of a region's members, which treat rows as `forms` say.
    pub fn new(flow: &Dataflow<'_>, members: &[Id], forms: &[Rows], columns: &Columns) -> Self {
        let mut last_use: Vec<Option<usize>> = vec![None; members.len()];
        for (m, &id) in members.iter().enumerate() {
            let user = columns.made_with(m);
            let read = flow.views(id).filter_map(|view| members.binary_search(&view.base).ok());
            read.map(|made| columns.made_with(made)).for_each(|made| last_use[made] = last_use[made].max(Some(user)));
        }
        let mut ending: Vec<Vec<usize>> = vec![Vec::new(); members.len()];
        last_use.iter().enumerate().for_each(|(made, last)| {
            if let Some(last) = last {
                ending[*last].push(made);
            }
        });

        let mut kinds: Vec<(DType, usize)> = Vec::new();
        let mut of: Vec<Option<usize>> = Vec::with_capacity(members.len());
        let mut free: Vec<usize> = Vec::new();
        for (m, (&id, form)) in members.iter().zip(forms).enumerate() {
            let node = &flow.ir.nodes[id];
            let made_with = columns.made_with(m);
            if made_with != m {
                of.push(of[made_with]);
                continue;
            }
            of.push((!form.summed && last_use[m].is_some()).then(|| {
                // One of the same type that nobody needs any more, and the closest in size.
                let need = columns.of(m).map_or(size(&node.shape[1..]), |(array, _)| columns.arrays[array].length);
                let best = (0..free.len())
                    .filter(|&i| kinds[free[i]].0 == node.dtype)
                    .min_by_key(|&i| kinds[free[i]].1.abs_diff(need));
                let temporary = best.map_or_else(
                    || {
                        kinds.push((node.dtype, 0));
                        kinds.len() - 1
                    },
                    |i| free.swap_remove(i),
                );
                kinds[temporary].1 = kinds[temporary].1.max(need);
                temporary
            }));
            free.extend(ending[m].iter().filter_map(|&made| of[made]));
        }
        Self { kinds, of }
    }

    /// That of the m-th member, if it has one.
    pub fn of(&self, m: usize) -> Option<usize> {
        self.of[m]
    }

    /// All of them, for one row.
    pub fn bytes_per_row(&self) -> usize {
        self.kinds.iter().map(|(dtype, per_row)| per_row * dtype.bytes()).sum()
    }
}
