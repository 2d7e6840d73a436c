//! Code generation: the kernel calls of single steps and of regions, and the place of everything that they read and write.

use std::sync::Arc;

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;
use smallvec::{SmallVec, smallvec};

use super::columns::Columns;
use super::dataflow::{Dataflow, View};
use super::plan_body;
use super::slots::Kept;
use super::temporaries::Temporaries;
use super::tiling::Tiling;
use crate::op::movement::Movement;
use crate::op::{Op, Rows};
use crate::program::ir::Id;
use crate::program::region::{BlockStep, Destination, Region, RegionResult, RowOperand, Variant};
use crate::program::{Form, Place, Step, StepOperand};
use crate::tensor::{Shape, size};

pub(super) struct Emitter<'a> {
    pub flow: &'a Dataflow<'a>,
    escapes: Vec<bool>,
    /// Where the whole result of each node lies, if it is kept.
    pub places: Vec<Option<Place>>,
    /// Of what is one number everywhere, where that number lies.
    pub numbers: Vec<Option<Place>>,
    /// The results that are kept. Until slots are assigned, [`Place::Slot`] holds a number of this list.
    pub values: Vec<Kept>,
    /// As what single steps read arrays.
    pub forms: IndexSet<Form, FxBuildHasher>,
}

/// A region while its steps are made.
struct Layout<'a> {
    members: &'a [Id],
    /// How each member treats rows.
    forms: Vec<Rows>,
    columns: Columns,
    temporaries: Temporaries,
    tiling: Tiling,
}

impl<'a> Emitter<'a> {
    pub fn new(flow: &'a Dataflow<'a>, escapes: Vec<bool>) -> Self {
        let nodes = flow.ir.nodes.len();
        Self {
            flow,
            escapes,
            places: vec![None; nodes],
            numbers: vec![None; nodes],
            values: Vec::new(),
            forms: IndexSet::default(),
        }
    }

    pub fn place(&self, id: Id) -> Place {
        self.places[id].expect("groups run after those whose results they need")
    }

    /// Where what is read lies, and how many entries that are. Of a number that is repeated, one is enough.
    fn source(&self, view: View) -> (Place, usize) {
        match self.numbers[view.base].filter(|_| view.repeat.is_some()) {
            Some(number) => (number, 1),
            None => (self.place(view.base), size(&self.flow.ir.nodes[view.base].shape)),
        }
    }

    /// A place for a whole result.
    fn keep(&mut self, id: Id) -> usize {
        let node = &self.flow.ir.nodes[id];
        self.values.push(Kept { dtype: node.dtype, size: size(&node.shape) });
        let value = self.values.len() - 1;
        self.places[id] = Some(Place::Slot(value));
        value
    }

    /// The kernel call of a node that runs by itself.
    pub fn step(&mut self, id: Id) -> Step {
        let flow = self.flow;
        let node = &flow.ir.nodes[id];
        let operand = |(view, &operand): (View, &Id)| {
            let (place, size) = self.source(view);
            let form = Form { size, shape: flow.ir.nodes[operand].shape.clone(), repeat: view.repeat };
            StepOperand { place, form: self.forms.insert_full(form).0 }
        };
        let operands: SmallVec<[StepOperand; 3]> = flow.views(id).zip(&node.operands).map(operand).collect();
        let (op, dtype, shape, location) = (node.op.clone(), node.dtype, node.shape.clone(), node.location);
        let body = match &op {
            Op::Fold(fold) => Some(Arc::new(plan_body(&fold.body, flow.lowering))),
            _ => None,
        };
        let size = size(&shape);
        Step { op, body, operands, slot: self.keep(id), dtype, size, shape, location }
    }

    /// The kernel calls of nodes that run together, for each block of rows.
    pub fn region(&mut self, rows: usize, members: &[Id]) -> Region {
        let flow = self.flow;
        let forms: Vec<Rows> = members.iter().map(|&id| flow.row_form(id).expect("members have rows").1).collect();
        let columns = Columns::new(flow, members, &forms, &self.escapes);
        let temporaries = Temporaries::new(flow, members, &forms, &columns);
        let tiling = Tiling::new(flow, rows, members, temporaries.bytes_per_row());
        let layout = Layout { members, forms, columns, temporaries, tiling };
        let mut results: Vec<RegionResult> = Vec::new();
        let mut destinations: Vec<Destination> = Vec::new();
        for (m, (&id, form)) in members.iter().zip(&layout.forms).enumerate() {
            let node = &flow.ir.nodes[id];
            let result = (self.escapes[id] || form.summed).then(|| {
                let slot = self.keep(id);
                let per_row = if form.summed { size(&node.shape) } else { size(&node.shape[1..]) };
                results.push(RegionResult { slot, dtype: node.dtype, per_row, summed: form.summed });
                results.len() - 1
            });
            destinations.push(match (layout.temporaries.of(m), result, form.summed) {
                (_, Some(result), true) => Destination::Sum(result),
                (Some(temporary), copy, _) => Destination::Temporary { temporary, copy },
                (None, Some(result), false) => Destination::Rows(result),
                (None, None, _) => unreachable!("what nobody needs has been dropped"),
            });
        }
        let made = destinations.into_iter().enumerate().filter(|&(m, _)| layout.columns.made_with(m) == m);
        let steps = made.map(|(m, to)| self.block_step(&layout, m, to)).collect();
        let Tiling { rows, chunk, block } = layout.tiling;
        Region { rows, chunk, block, temporaries: layout.temporaries.kinds, results, steps }
    }

    /// The kernel call of the m-th member of a region.
    fn block_step(&self, layout: &Layout<'_>, m: usize, destination: Destination) -> BlockStep {
        let nodes = &self.flow.ir.nodes;
        let (node, form) = (&nodes[layout.members[m]], &layout.forms[m]);
        let views: SmallVec<[View; 4]> = self.flow.views(layout.members[m]).collect();
        let temporary_of = |id: Id| {
            let m = layout.members.binary_search(&id).ok()?;
            let column = layout.columns.of(m).map_or(0, |(_, column)| column);
            layout.temporaries.of(m).map(|temporary| RowOperand::Temporary { temporary, column })
        };
        let operand = |(&view, &by_row): (&View, &bool)| match temporary_of(view.base) {
            Some(temporary) => (temporary, view.repeat),
            None if by_row => {
                (RowOperand::Rows(self.place(view.base), size(&nodes[view.shaped].shape[1..])), view.repeat)
            }
            None => (RowOperand::Whole(self.source(view).0), view.repeat),
        };
        let operands = views.iter().zip(&form.by_row).map(operand).collect();
        let by_row = node.op.rules().rows(
            &node.operands.iter().map(|&operand| nodes[operand].shape.as_slice()).collect::<SmallVec<[&[usize]; 3]>>(),
        );
        let has_rows = by_row.expect("members have rows").by_row;
        let variant = |rows: usize| {
            let with_rows = |shape: &Shape, by_row: bool| {
                let mut shape = shape.clone();
                if by_row {
                    shape[0] = rows;
                }
                shape
            };
            let operand = |i: usize| {
                let view = views[i];
                let size = match form.by_row[i] {
                    true => size(&with_rows(&nodes[view.shaped].shape, true)),
                    false => self.source(view).1,
                };
                (with_rows(&nodes[node.operands[i]].shape, has_rows[i]), size)
            };
            let (op, shape) = match layout.columns.of(m) {
                None => {
                    let op = node.op.rules().on_rows(rows).unwrap_or_else(|| node.op.clone());
                    (op, with_rows(&node.shape, !form.summed))
                }
                Some((array, _)) => {
                    let all = smallvec![layout.columns.arrays[array].length, rows];
                    (Op::Movement(Movement::Transpose(smallvec![1, 0])), all)
                }
            };
            Variant { op, operands: (0..views.len()).map(operand).collect(), count: size(&shape), shape }
        };
        let variants = layout.tiling.block_sizes().map(variant);
        BlockStep { operands, destination, variants, dtype: node.dtype, location: node.location }
    }
}
