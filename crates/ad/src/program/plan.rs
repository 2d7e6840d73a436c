//! From operations to a program: which of them run block of rows by block of rows, in which order everything runs, and where
//! in memory each result lies.
//!
//! Nearly every operation of a Monte-Carlo objective does the same to each sample, or sums over samples. Such operations on
//! large arrays are put together in [`Region`]s: a region runs all of them on a block of rows, whose temporary results stay
//! in cache, then on the next block. What is summed over rows is complete only after the last block, so what needs it runs
//! in a later *phase*; a phase is some single steps, and then a region for each number of rows.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::panic::Location;
use std::sync::{Arc, Mutex};

use indexmap::IndexSet;
use ndarray::ArrayD;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::fuse::fuse;
use super::ir::{Id, Ir};
use super::region::{BlockStep, Destination, Region, RegionResult, RowOperand, Variant};
use super::{Constant, Form, Input, Lowering, Place, Program, Slot, Step, StepOperand, Unit};
use crate::dtype::DType;
use crate::kernel::map::Repeat;
use crate::op::movement::Movement;
use crate::op::{Leaf, Op, Rows};
use crate::tensor::{Shape, Value, size};

/// Arrays below this many entries are not worth a region.
const LARGE: usize = 4096;

/// With so many rows or more, small arrays (one number for each row) take part in the region of large ones: between them,
/// they would cut it in two.
const MANY_ROWS: usize = 64;

/// The temporaries of a block should fit into this many bytes, about half of a core's second cache: smaller blocks spend more
/// time on calls than they save.
const CACHE: usize = 1 << 18;

/// The fewest rows of a matrix that a block takes part in a product with.
const PRODUCT_ROWS: usize = 128;

/// A region with this many entries to compute is cut into chunks that may run in parallel. The cut does not depend on the
/// number of threads, and neither do the results.
const PARALLEL: usize = 1 << 15;
pub(super) const CHUNKS: usize = 8;

/// These operations, with arithmetic that runs side by side in one pass.
pub(super) fn fused(ir: Ir) -> Ir {
    let turns = Turns::new(&Flow::new(&ir, Lowering::On), Lowering::On);
    fuse(ir, |a, b| turns.of(a) == turns.of(b))
}

/// The program of these operations.
pub(super) fn plan(ir: &Ir, lowering: Lowering) -> Program {
    let mut program = Program {
        inputs: Vec::new(),
        constants: Vec::new(),
        forms: Vec::new(),
        units: Vec::new(),
        outputs: Vec::new(),
        slots: Vec::new(),
        idle: Mutex::default(),
        recorded: None,
    };
    let flow = Flow::new(ir, lowering);
    let schedule = schedule(&flow, lowering);
    let mut planner = Planner {
        flow: &flow,
        escapes: escapes(&flow, &schedule),
        places: vec![None; ir.nodes.len()],
        numbers: vec![None; ir.nodes.len()],
        values: Vec::new(),
        forms: IndexSet::default(),
    };
    planner.leaves(&mut program);
    for group in &schedule {
        let unit = match group {
            Group::Step(id) => Unit::Step(planner.step(*id)),
            Group::Region { rows, members } => Unit::Region(planner.region(*rows, members)),
        };
        program.units.push(unit);
    }
    program.forms = std::mem::take(&mut planner.forms).into_iter().collect();
    program.outputs = flow
        .outputs
        .iter()
        .zip(&ir.outputs)
        .map(|(&id, &output)| (planner.place(id), ir.nodes[output].shape.clone()))
        .collect();
    assign_slots(&mut program, &planner.values);
    program
}

/// Operations, and what each of them reads.
struct Flow<'a> {
    ir: &'a Ir,
    lowering: Lowering,
    /// The nodes that have the outputs' numbers.
    outputs: Vec<Id>,
    /// Which results somebody reads as they are.
    live: Vec<bool>,
    /// The numbers of rows of which there are large arrays.
    large: FxHashSet<usize>,
}

/// An operand as it is read: a broadcast that its user can do by itself is never written out, and a reshape is the same
/// numbers.
#[derive(Clone, Copy)]
struct Read {
    /// What is read.
    id: Id,
    /// The node that has its numbers, in this order and of its shape, before they are repeated.
    seen: Id,
    repeat: Option<Repeat>,
    /// Whether what is repeated has the rows of the whole, each repeated within the row.
    keeps_rows: bool,
}

impl Read {
    /// A node as it is.
    fn plain(ir: &Ir, seen: Id, lowering: Lowering) -> Self {
        Self {
            id: if lowering == Lowering::On { source(ir, seen) } else { seen },
            seen,
            repeat: None,
            keeps_rows: true,
        }
    }
}

impl<'a> Flow<'a> {
    fn new(ir: &'a Ir, lowering: Lowering) -> Self {
        let outputs: Vec<Id> = ir.outputs.iter().map(|&output| Read::plain(ir, output, lowering).id).collect();
        let mut flow = Self { ir, lowering, outputs, live: vec![false; ir.nodes.len()], large: FxHashSet::default() };
        flow.outputs.iter().for_each(|&output| flow.live[output] = true);
        for id in (0..ir.nodes.len()).rev().filter(|&id| !is_leaf(ir, id)) {
            for i in 0..ir.nodes[id].operands.len() {
                let read = flow.read(id, i).id;
                flow.live[read] |= flow.live[id];
            }
        }
        let rows = |id: Id| flow.row_form(id).filter(|_| flow.runs(id)).map(|(rows, _)| rows);
        flow.large = (0..ir.nodes.len()).filter_map(rows).collect();
        flow
    }

    /// What a node reads as its i-th operand.
    fn read(&self, id: Id, i: usize) -> Read {
        let (ir, node) = (self.ir, &self.ir.nodes[id]);
        let plain = Read::plain(ir, node.operands[i], self.lowering);
        let (whole, part) = (&ir.nodes[plain.seen], &ir.nodes[plain.id]);
        // A reshape of what is repeated is repeated alike, but may have other rows.
        let is_repeated = self.lowering == Lowering::On && whole.shape.first() == part.shape.first();
        match is_repeated.then(|| repeated(ir, plain.id)).flatten() {
            Some((inner, repeat)) if node.op.rules().takes_repeated(i, repeat, &node.shape) => {
                let keeps_rows =
                    matches!(&part.op, Op::Movement(Movement::Broadcast { axes, .. }) if axes.first() == Some(&0));
                Read { repeat: Some(repeat), keeps_rows, ..Read::plain(ir, inner, self.lowering) }
            }
            _ => plain,
        }
    }

    /// What a node reads.
    fn reads(&self, id: Id) -> impl Iterator<Item = Read> {
        (0..self.ir.nodes[id].operands.len()).map(move |i| self.read(id, i))
    }

    /// Whether it is an operation that somebody needs.
    fn runs(&self, id: Id) -> bool {
        self.live[id] && !is_leaf(self.ir, id)
    }

    /// How a node treats rows, if it takes part in a region.
    fn row_form(&self, id: Id) -> Option<(usize, Rows)> {
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
        for (by_row, read) in rows.by_row.iter_mut().zip(self.reads(id)) {
            *by_row &= read.keeps_rows;
        }
        let joins = count >= MANY_ROWS && self.large.contains(&count);
        (count >= 2 && (largest >= LARGE || joins)).then_some((count, rows))
    }
}

fn is_leaf(ir: &Ir, id: Id) -> bool {
    matches!(ir.nodes[id].op, Op::Leaf(_))
}

/// What a node repeats, and how, if that is all it does and somebody might do it for it.
fn repeated(ir: &Ir, id: Id) -> Option<(Id, Repeat)> {
    let node = &ir.nodes[id];
    match &node.op {
        Op::Leaf(Leaf::Fill { shape, .. }) => Some((id, Repeat::each(size(shape).max(1)))),
        Op::Movement(Movement::Broadcast { shape, axes }) if node.dtype.is_float() && size(shape) > 0 => {
            // Axes that are kept, at most one gap between them, and what is behind it. Those of length 1 are nothing.
            let long: SmallVec<[(usize, bool); 6]> = (shape.iter().enumerate())
                .filter(|&(_, &length)| length != 1)
                .map(|(axis, &length)| (length, axes.contains(&axis)))
                .collect();
            let next = |from: usize, kept: bool| (from..long.len()).find(|&i| long[i].1 == kept).unwrap_or(long.len());
            let first = next(0, true);
            let gap = next(first, false);
            let behind = next(gap, true);
            let product = |range: Range<usize>| long[range].iter().map(|(length, _)| length).product();
            let repeat = match first == long.len() {
                true => Repeat::each(size(shape)),
                false if gap == long.len() => Repeat { run: product(first..gap), times: 1 },
                false => Repeat { run: product(behind..long.len()), times: product(gap..behind) },
            };
            let simple = axes.is_sorted() && next(behind, false) == long.len();
            simple.then_some((node.operands[0], repeat))
        }
        _ => None,
    }
}

/// The node whose numbers these are, in their order.
fn source(ir: &Ir, mut id: Id) -> Id {
    while let Op::Movement(Movement::Reshape(_)) = ir.nodes[id].op {
        id = ir.nodes[id].operands[0];
    }
    id
}

/// What runs as one.
enum Group {
    Step(Id),
    Region { rows: usize, members: Vec<Id> },
}

/// When each node runs.
struct Turns {
    phases: Vec<usize>,
    /// How it treats rows, if it is in a region of its phase. Single steps run before regions.
    forms: Vec<Option<Box<(usize, Rows)>>>,
}

impl Turns {
    fn new(flow: &Flow<'_>, lowering: Lowering) -> Self {
        let ir = flow.ir;
        let mut turns = Self { phases: Vec::with_capacity(ir.nodes.len()), forms: Vec::with_capacity(ir.nodes.len()) };
        for id in 0..ir.nodes.len() {
            let form = if flow.runs(id) && lowering == Lowering::On { flow.row_form(id) } else { None };
            let after = |i: usize, operand: Id| match (&turns.forms[operand], &form) {
                (None, _) => turns.phases[operand],
                (Some(made), Some(form)) if made.0 == form.0 && !made.1.summed && form.1.by_row[i] => {
                    turns.phases[operand]
                }
                (Some(_), _) => turns.phases[operand] + 1,
            };
            let phase = flow.reads(id).enumerate().map(|(i, read)| after(i, read.id)).max().unwrap_or(0);
            turns.forms.push(form.map(Box::new));
            turns.phases.push(phase);
        }
        turns
    }

    /// A node's phase, and the rows of its region; 0 of a single step.
    fn of(&self, id: Id) -> (usize, usize) {
        (self.phases[id], self.forms[id].as_ref().map_or(0, |form| form.0))
    }
}

/// The groups in an order in which they can run.
fn schedule(flow: &Flow<'_>, lowering: Lowering) -> Vec<Group> {
    let turns = Turns::new(flow, lowering);
    let mut order: BTreeMap<(usize, usize), Vec<Id>> = BTreeMap::new();
    for id in (0..flow.ir.nodes.len()).filter(|&id| flow.runs(id)) {
        order.entry(turns.of(id)).or_default().push(id);
    }
    let mut groups = Vec::new();
    for ((_, rows), members) in order {
        if rows == 0 || members.len() == 1 {
            groups.extend(members.into_iter().map(Group::Step));
        } else {
            groups.push(Group::Region { rows, members });
        }
    }
    groups
}

/// Whether the whole result of a node is needed outside of the group that it runs in.
fn escapes(flow: &Flow<'_>, schedule: &[Group]) -> Vec<bool> {
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
        for read in flow.reads(user).filter(|read| group_of[read.id] != group_of[user]) {
            escapes[read.id] = true;
        }
    }
    escapes
}

/// A result that is kept while the program runs: its slot is found at last.
pub(super) struct Kept {
    dtype: DType,
    size: usize,
}

struct Planner<'a> {
    flow: &'a Flow<'a>,
    escapes: Vec<bool>,
    places: Vec<Option<Place>>,
    /// Of what is one number everywhere, where that number lies.
    numbers: Vec<Option<Place>>,
    values: Vec<Kept>,
    forms: IndexSet<Form, FxBuildHasher>,
}

impl Planner<'_> {
    fn place(&self, id: Id) -> Place {
        self.places[id].expect("groups run after those whose results they need")
    }

    /// Where what is read lies, and how many entries that are. Of a number that is repeated, one is enough.
    fn source(&self, read: Read) -> (Place, usize) {
        match self.numbers[read.id].filter(|_| read.repeat.is_some()) {
            Some(number) => (number, 1),
            None => (self.place(read.id), size(&self.flow.ir.nodes[read.id].shape)),
        }
    }

    /// A place for a whole result. It holds the number of a value until slots are assigned.
    fn keep(&mut self, id: Id) -> usize {
        let node = &self.flow.ir.nodes[id];
        self.values.push(Kept { dtype: node.dtype, size: size(&node.shape) });
        let value = self.values.len() - 1;
        self.places[id] = Some(Place::Slot(value));
        value
    }

    fn leaves(&mut self, program: &mut Program) {
        let ir = self.flow.ir;
        let mut used_whole = vec![false; ir.nodes.len()];
        let reads = (0..ir.nodes.len()).filter(|&id| self.flow.live[id]).flat_map(|id| self.flow.reads(id));
        reads.filter(|read| read.repeat.is_none()).for_each(|read| used_whole[read.id] = true);
        self.flow.outputs.iter().for_each(|&output| used_whole[output] = true);
        let mut inputs = ir.inputs.iter().peekable();
        let mut numbers: FxHashMap<(u64, DType), Place> = FxHashMap::default();
        for (id, node) in ir.nodes.iter().enumerate() {
            let Op::Leaf(leaf) = &node.op else { continue };
            self.places[id] = match leaf {
                Leaf::Input { name, .. } if inputs.next_if_eq(&&id).is_some() => {
                    let (name, dtype, shape, location) =
                        (Arc::clone(name), node.dtype, node.shape.clone(), node.location);
                    program.inputs.push(Input { name, dtype, shape, location });
                    Some(Place::Input(program.inputs.len() - 1))
                }
                Leaf::Fill { .. } if !used_whole[id] => None,
                leaf => Some(add_constant(program, leaf, &node.shape, node.location)),
            };
            if let Leaf::Fill { bits, dtype, .. } = leaf {
                let number = numbers.entry((*bits, *dtype));
                self.numbers[id] = Some(*number.or_insert_with(|| add_constant(program, leaf, &[], node.location)));
            }
        }
    }

    fn step(&mut self, id: Id) -> Step {
        let flow = self.flow;
        let node = &flow.ir.nodes[id];
        let operand = |(read, &operand): (Read, &Id)| {
            let (place, size) = self.source(read);
            let form = Form { size, shape: flow.ir.nodes[operand].shape.clone(), repeat: read.repeat };
            StepOperand { place, form: self.forms.insert_full(form).0 }
        };
        let operands = flow.reads(id).zip(&node.operands).map(operand).collect();
        let (op, dtype, shape, location) = (node.op.clone(), node.dtype, node.shape.clone(), node.location);
        Step { op, operands, slot: self.keep(id), dtype, shape, location }
    }

    fn region(&mut self, rows: usize, members: &[Id]) -> Region {
        let layout = Layout::new(self.flow, &self.escapes, rows, members);
        let mut results: Vec<RegionResult> = Vec::new();
        let mut destinations: Vec<Destination> = Vec::new();
        for member in &layout.members {
            let node = &self.flow.ir.nodes[member.id];
            let result = member.escapes.then(|| {
                let slot = self.keep(member.id);
                let per_row = if member.form.summed { size(&node.shape) } else { size(&node.shape[1..]) };
                results.push(RegionResult { slot, dtype: node.dtype, per_row, summed: member.form.summed });
                results.len() - 1
            });
            destinations.push(match (member.temporary, result, member.form.summed) {
                (_, Some(result), true) => Destination::Sum(result),
                (Some(temporary), copy, _) => Destination::Temporary { temporary, copy },
                (None, Some(result), false) => Destination::Rows(result),
                (None, None, _) => unreachable!("what nobody needs has been dropped"),
            });
        }
        let steps = (layout.members.iter().zip(destinations))
            .map(|(member, destination)| self.block_step(&layout, member, destination))
            .collect();
        let Layout { chunk, block, temporaries, .. } = layout;
        Region { rows, chunk, block, temporaries, results, steps }
    }

    fn block_step(&self, layout: &Layout, member: &Member, destination: Destination) -> BlockStep {
        let nodes = &self.flow.ir.nodes;
        let node = &nodes[member.id];
        let reads: SmallVec<[Read; 4]> = self.flow.reads(member.id).collect();
        let operand = |(&read, &by_row): (&Read, &bool)| match layout.temporary_of(read.id) {
            Some(temporary) => (RowOperand::Temporary(temporary), read.repeat),
            None if by_row => (RowOperand::Rows(self.place(read.id), size(&nodes[read.seen].shape[1..])), read.repeat),
            None => (RowOperand::Whole(self.source(read).0), read.repeat),
        };
        let operands = reads.iter().zip(&member.form.by_row).map(operand).collect();
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
                let read = reads[i];
                let size = match member.form.by_row[i] {
                    true => size(&with_rows(&nodes[read.seen].shape, true)),
                    false => self.source(read).1,
                };
                (with_rows(&nodes[node.operands[i]].shape, has_rows[i]), size)
            };
            let shape = with_rows(&node.shape, !member.form.summed);
            Variant {
                op: node.op.rules().on_rows(rows).unwrap_or_else(|| node.op.clone()),
                operands: (0..reads.len()).map(operand).collect(),
                count: size(&shape),
                shape,
            }
        };
        let Layout { rows, chunk, block, .. } = *layout;
        let variants = [block, last_block(chunk, chunk, block), last_block(rows, chunk, block)].map(variant);
        BlockStep { operands, destination, variants, dtype: node.dtype, location: node.location }
    }
}

/// A region's rows and temporaries.
struct Layout {
    rows: usize,
    chunk: usize,
    block: usize,
    members: Vec<Member>,
    temporaries: Vec<(DType, usize)>,
}

/// A node in a region.
struct Member {
    id: Id,
    form: Rows,
    /// Whether somebody outside needs the result.
    escapes: bool,
    /// Where a block's result lies, if somebody inside needs it.
    temporary: Option<usize>,
}

impl Layout {
    fn new(flow: &Flow<'_>, escapes: &[bool], rows: usize, ids: &[Id]) -> Self {
        let ir = flow.ir;
        let position = |id: Id| ids.binary_search(&id).ok();
        let forms: Vec<Rows> = ids.iter().map(|&id| flow.row_form(id).expect("members have rows").1).collect();
        // Who uses a member's rows here, last.
        let mut last_use: Vec<Option<usize>> = vec![None; ids.len()];
        for (user, &id) in ids.iter().enumerate() {
            flow.reads(id).filter_map(|read| position(read.id)).for_each(|made| last_use[made] = Some(user));
        }

        let mut temporaries: Vec<(DType, usize)> = Vec::new();
        let mut free: Vec<usize> = Vec::new();
        let mut members: Vec<Member> = Vec::with_capacity(ids.len());
        let mut ending: Vec<Vec<usize>> = vec![Vec::new(); ids.len()];
        last_use.iter().enumerate().for_each(|(made, last)| {
            if let Some(last) = last {
                ending[*last].push(made);
            }
        });
        for (m, (&id, form)) in ids.iter().zip(forms).enumerate() {
            let node = &ir.nodes[id];
            // A temporary of the same kind that nobody needs any more, and the closest in size.
            let temporary = (!form.summed && last_use[m].is_some()).then(|| {
                let need = size(&node.shape[1..]);
                let best = (0..free.len())
                    .filter(|&i| temporaries[free[i]].0 == node.dtype)
                    .min_by_key(|&i| temporaries[free[i]].1.abs_diff(need));
                let temporary = best.map_or_else(
                    || {
                        temporaries.push((node.dtype, 0));
                        temporaries.len() - 1
                    },
                    |i| free.swap_remove(i),
                );
                temporaries[temporary].1 = temporaries[temporary].1.max(need);
                temporary
            });
            members.push(Member { id, escapes: escapes[id] || form.summed, form, temporary });
            free.extend(ending[m].iter().filter_map(|&made| members[made].temporary));
        }

        let row_bytes: usize = temporaries.iter().map(|(dtype, per_row)| per_row * dtype.bytes()).sum::<usize>().max(8);
        let work: usize = ids.iter().map(|&id| size(&ir.nodes[id].shape).max(rows)).sum();
        let chunk = rows.div_ceil(if work >= PARALLEL { CHUNKS.min(rows) } else { 1 });
        // A matrix product that is cut too fine loses more than what leaves the cache.
        let matrix_rows = ids.iter().filter(|&&id| matches!(ir.nodes[id].op, Op::MatMul(_))).map(|&id| {
            let of = &ir.nodes[ir.nodes[id].operands[0]].shape;
            size(&of[..of.len() - 1]) / rows
        });
        let fewest = matrix_rows.max().map_or(1, |per_row| (PRODUCT_ROWS / per_row.max(1)).clamp(1, chunk));
        let most = (CACHE / row_bytes).clamp(fewest, chunk);
        // Blocks of one size, as far as possible: the last one of a chunk is not much smaller.
        let block = chunk.div_ceil(chunk.div_ceil(most));
        Self { rows, chunk, block, members, temporaries }
    }

    fn temporary_of(&self, id: Id) -> Option<usize> {
        self.members.binary_search_by_key(&id, |member| member.id).ok().and_then(|m| self.members[m].temporary)
    }
}

/// The rows of the last block of the last chunk of `rows` rows.
fn last_block(rows: usize, chunk: usize, block: usize) -> usize {
    let last = |whole: usize, part: usize| if whole.is_multiple_of(part) { part } else { whole % part };
    last(last(rows, chunk), block)
}

fn add_constant(program: &mut Program, leaf: &Leaf, shape: &[usize], location: &'static Location<'static>) -> Place {
    let rounded = |array: ArrayD<f64>, dtype: DType| Value::from(array).rounded(dtype).into();
    let data = match leaf {
        Leaf::Input { value, .. } | Leaf::Constant(value) => value.clone(),
        Leaf::Fill { bits, dtype, .. } => rounded(ArrayD::from_elem(shape, f64::from_bits(*bits)), *dtype),
        Leaf::Units { dtype, shape } => {
            let n = shape.iter().product::<usize>().isqrt();
            let units = ndarray::Array2::eye(n).into_shape_with_order(shape.as_slice()).expect("n² entries");
            rounded(units, *dtype)
        }
        Leaf::Placeholder { .. } => unreachable!("refused before"),
    };
    program.constants.push(Constant { data, location });
    Place::Constant(program.constants.len() - 1)
}

/// Gives each kept value a slot that no value needed later occupies.
fn assign_slots(program: &mut Program, values: &[Kept]) {
    let mut last_use = vec![0; values.len()];
    for (i, unit) in program.units.iter().enumerate() {
        unit.reads(|place| {
            if let Place::Slot(value) = place {
                last_use[value] = i;
            }
        });
        // What nobody reads is still written.
        unit.writes(|value| last_use[value] = last_use[value].max(i));
    }
    for (place, _) in &program.outputs {
        if let Place::Slot(value) = place {
            last_use[*value] = usize::MAX;
        }
    }
    // The values in the order in which they are used for the last time.
    let mut ending: Vec<usize> = (0..values.len()).filter(|&value| last_use[value] != usize::MAX).collect();
    ending.sort_by_key(|&value| last_use[value]);
    let mut ending = ending.into_iter().peekable();
    let mut slot_of = vec![usize::MAX; values.len()];
    let mut free: BTreeSet<(DType, usize, usize)> = BTreeSet::new();
    let key = |slots: &[Slot], slot: usize| (slots[slot].dtype, slots[slot].size, slot);
    for (i, unit) in program.units.iter().enumerate() {
        let slots = &mut program.slots;
        unit.writes(|value| {
            let Kept { dtype, size: need } = values[value];
            // The smallest free slot that is large enough, else the largest, enlarged, else a new one.
            let fitting = free.range((dtype, need, 0)..(dtype, usize::MAX, 0)).next().copied();
            let largest = || free.range((dtype, 0, 0)..(dtype, need, 0)).next_back().copied();
            slot_of[value] = match fitting.or_else(largest) {
                Some(found) => {
                    free.remove(&found);
                    slots[found.2].size = found.1.max(need);
                    found.2
                }
                None => {
                    slots.push(Slot { dtype, size: need });
                    slots.len() - 1
                }
            };
        });
        while let Some(value) = ending.next_if(|&value| last_use[value] == i) {
            free.insert(key(&program.slots, slot_of[value]));
        }
    }
    let slot = |place: &mut Place| {
        if let Place::Slot(value) = place {
            *value = slot_of[*value];
        }
    };
    program.units.iter_mut().for_each(|unit| unit.relocate(&slot, &|value: &mut usize| *value = slot_of[*value]));
    program.outputs.iter_mut().for_each(|(place, _)| slot(place));
}
