//! Levels: the order in which everything runs, by levelisation of the dependency graph.
//!
//! What is summed over rows is complete only after a region's last block, so what needs it runs in a later *phase*. A node's
//! phase is the least that what it reads allows. In each phase, single steps run first, and then a region for each number
//! of rows:
//!
//! ```text
//! y = f(x)       on [1000, 20]   phase 0, in the region of 1000 rows
//! s = Σ y        over rows       phase 0, too: added to block by block
//! c = exp(s)     on [20]         phase 1, a single step
//! z = y·(row c)  on [1000, 20]   phase 1, in a region of 1000 rows
//! ```

use std::collections::BTreeMap;

use super::dataflow::Dataflow;
use crate::op::Rows;
use crate::program::Lowering;
use crate::program::ir::Id;

/// When a node runs. Of one level, nodes with rows run together as a region, if they are several; those without run one by one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Level {
    phase: usize,
    /// The rows of its region; a single step has none, and comes before the regions of its phase.
    rows: Option<usize>,
}

/// When each node runs.
pub(super) struct Levels {
    phases: Vec<usize>,
    /// The number of rows and how it treats them, if it is in a region of its phase.
    forms: Vec<Option<Box<(usize, Rows)>>>,
}

impl Levels {
    pub fn new(flow: &Dataflow<'_>) -> Self {
        let ir = flow.ir;
        let mut levels = Self { phases: Vec::with_capacity(ir.nodes.len()), forms: Vec::with_capacity(ir.nodes.len()) };
        for id in 0..ir.nodes.len() {
            let form = if flow.runs(id) && flow.lowering == Lowering::On { flow.row_form(id) } else { None };
            let after = |i: usize, operand: Id| match (&levels.forms[operand], &form) {
                (None, _) => levels.phases[operand],
                // Block by block in the same region.
                (Some(made), Some(form)) if made.0 == form.0 && !made.1.summed && form.1.by_row[i] => {
                    levels.phases[operand]
                }
                (Some(_), _) => levels.phases[operand] + 1,
            };
            let phase = flow.views(id).enumerate().map(|(i, view)| after(i, view.base)).max().unwrap_or(0);
            levels.forms.push(form.map(Box::new));
            levels.phases.push(phase);
        }
        levels
    }

    pub fn of(&self, id: Id) -> Level {
        Level { phase: self.phases[id], rows: self.forms[id].as_ref().map(|form| form.0) }
    }
}

/// What runs as one.
pub(super) enum Group {
    Step(Id),
    Region { rows: usize, members: Vec<Id> },
}

/// The groups in an order in which they can run.
pub(super) fn schedule(flow: &Dataflow<'_>) -> Vec<Group> {
    let levels = Levels::new(flow);
    let mut order: BTreeMap<Level, Vec<Id>> = BTreeMap::new();
    for id in (0..flow.ir.nodes.len()).filter(|&id| flow.runs(id)) {
        order.entry(levels.of(id)).or_default().push(id);
    }
    let mut groups = Vec::new();
    for (level, members) in order {
        match level.rows {
            Some(rows) if members.len() > 1 => groups.push(Group::Region { rows, members }),
            _ => groups.extend(members.into_iter().map(Group::Step)),
        }
    }
    groups
}
