//! Escape analysis: whose whole result is needed outside of the group that it runs in. The others' results live for a block.

use super::dataflow::Dataflow;
use super::levels::Group;

/// Of each node, whether its whole result is needed by another group, or is an output.
pub(super) fn escapes(flow: &Dataflow<'_>, schedule: &[Group]) -> Vec<bool> {
    let mut group_of = vec![usize::MAX; flow.ir.nodes.len()];
    for (g, group) in schedule.iter().enumerate() {
        match group {
            Group::Step(id) => group_of[*id] = g,
            Group::Region { members, .. } => members.iter().for_each(|&id| group_of[id] = g),
        }
    }
    let mut escapes = vec![false; flow.ir.nodes.len()];
    flow.outputs.iter().for_each(|&output| escapes[output] = true);
    for user in (0..flow.ir.nodes.len()).filter(|&user| flow.live[user]) {
        for view in flow.views(user).filter(|view| group_of[view.base] != group_of[user]) {
            escapes[view.base] = true;
        }
    }
    escapes
}
