//! Levels: the order in which everything runs, by levelisation of the dependency graph.
//!
//! What is summed over rows is complete only after a region's last block, so what needs it runs in a later *phase*. A node's
//! phase is the least that what it reads allows, but where it would only wait there, as a whole array, for others that run
//! later ([`Levels::postpone`]). In each phase, single steps run first, and then a region for each number of rows:
//!
//! ```text
//! y = f(x)       on [1000, 20]   phase 0, in the region of 1000 rows
//! s = Σ y        over rows       phase 0, too: added to block by block
//! c = exp(s)     on [20]         phase 1, a single step
//! z = y·(row c)  on [1000, 20]   phase 1, in a region of 1000 rows
//! ```

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};

use super::dataflow::Dataflow;
use crate::op::Rows;
use crate::program::Lowering;
use crate::program::ir::{Id, Node};
use crate::tensor::size;

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
            levels.forms.push(form.map(Box::new));
            let after =
                |i: usize, operand: Id| levels.phases[operand] + usize::from(!levels.is_block_by_block(operand, id, i));
            let phase = flow.views(id).enumerate().map(|(i, view)| after(i, view.base)).max().unwrap_or(0);
            levels.phases.push(phase);
        }
        levels.postpone(flow);
        levels
    }

    /// Moves what runs by rows to the phase of those that read it, where fewer numbers have to be kept until then. Of squared
    /// distances of 10 000 points to 1000 centres,
    ///
    /// ```text
    /// p = a·bᵀ            on [10000, 1000]   could run in phase 0, and would be kept: 80 MB
    /// c = Σ b²            over columns       phase 0
    /// d = Σ a² − 2p + c   on [10000, 1000]   phase 1, so p runs there, block by block: it reads a, which is smaller
    /// ```
    fn postpone(&mut self, flow: &Dataflow<'_>) {
        let ir = flow.ir;
        if self.phases.iter().all(|&phase| phase == 0) {
            return;
        }
        // The last phase that those which read it allow.
        let mut latest: Vec<usize> = vec![usize::MAX; ir.nodes.len()];
        let stays = |id: Id| !matches!(&self.forms[id], Some(form) if !form.1.summed);
        flow.outputs.iter().for_each(|&output| latest[output] = self.phases[output]);
        for user in (0..ir.nodes.len()).rev().filter(|&user| flow.runs(user)) {
            if stays(user) || latest[user] == usize::MAX {
                latest[user] = self.phases[user];
            }
            for (i, view) in flow.views(user).enumerate().filter(|(_, view)| flow.runs(view.base)) {
                let before = usize::from(!self.is_block_by_block(view.base, user, i));
                latest[view.base] = latest[view.base].min(latest[user].saturating_sub(before));
            }
        }
        let waits = |id: Id| flow.runs(id) && latest[id] > self.phases[id];
        // What waits, in groups of those that read one another: each is moved as a whole or not at all.
        let mut group: Vec<usize> = (0..ir.nodes.len()).collect();
        fn root(group: &mut [usize], mut id: usize) -> usize {
            while group[id] != id {
                group[id] = group[group[id]];
                id = group[id];
            }
            id
        }
        let mut read_by_others = vec![false; ir.nodes.len()];
        for user in (0..ir.nodes.len()).filter(|&user| flow.runs(user)) {
            for view in flow.views(user).filter(|view| flow.runs(view.base)) {
                if waits(user) && waits(view.base) {
                    let (a, b) = (root(&mut group, user), root(&mut group, view.base));
                    group[a.max(b)] = a.min(b);
                }
                read_by_others[view.base] |= self.of(user) != self.of(view.base);
            }
        }
        flow.outputs.iter().for_each(|&output| read_by_others[output] = true);
        // For each group, what need no longer be kept, and what has to be instead.
        let mut kept: FxHashMap<usize, (usize, usize)> = FxHashMap::default();
        let mut counted: FxHashSet<(usize, Id)> = FxHashSet::default();
        for id in (0..ir.nodes.len()).filter(|&id| waits(id)) {
            let of = root(&mut group, id);
            let (saved, new) = kept.entry(of).or_default();
            if read_by_others[id] {
                *saved += bytes(&ir.nodes[id]);
            }
            for view in flow.views(id).filter(|view| flow.runs(view.base) && !waits(view.base)) {
                if !read_by_others[view.base] && self.forms[view.base].is_some() && counted.insert((of, view.base)) {
                    *new += bytes(&ir.nodes[view.base]);
                }
            }
        }
        let moved: Vec<Id> = (0..ir.nodes.len())
            .filter(|&id| waits(id))
            .filter(|&id| kept.get(&root(&mut group, id)).is_some_and(|(saved, new)| new < saved))
            .collect();
        moved.into_iter().for_each(|id| self.phases[id] = latest[id]);
    }

    /// Whether `user` reads what `made` makes, its i-th operand, block by block in the same region, if both are of one phase, or
    /// `made` runs before all regions.
    fn is_block_by_block(&self, made: Id, user: Id, i: usize) -> bool {
        match (&self.forms[made], &self.forms[user]) {
            (None, _) => true,
            (Some(made), Some(user)) => made.0 == user.0 && !made.1.summed && user.1.by_row[i],
            (Some(_), None) => false,
        }
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

fn bytes(node: &Node) -> usize {
    size(&node.shape) * node.dtype.bytes()
}
