//! From operations to a program: which of them run block of rows by block of rows, in which order everything runs, and where
//! in memory each result lies.
//!
//! Nearly every operation of a Monte-Carlo objective does the same to each sample, or sums over samples. Such operations on
//! large arrays are put together in [`Region`]s: a region runs all of them on a block of rows, whose temporary results stay
//! in cache, then on the next block. What is summed over rows is complete only after the last block, so what needs it runs
//! in a later *phase*; a phase is some single steps, and then a region for each number of rows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ndarray::ArrayD;
use smallvec::SmallVec;

use super::ir::{Id, Ir, Node};
use super::region::{BlockStep, Destination, Region, RegionResult, RowOperand, Variant};
use super::{Constant, ConstantData, Input, Lowering, Place, Program, Slot, Step, Unit};
use crate::op::movement::Movement;
use crate::op::{Data, Leaf, Op, Rows};
use crate::real::Real;
use crate::tape::Kind;
use crate::tensor::{Shape, size};

/// Arrays below this many entries are not worth a region.
const LARGE: usize = 4096;

/// The temporaries of a block should fit into this many bytes of cache.
const CACHE: usize = 1 << 17;

/// A region with this many entries to compute is cut into chunks that may run in parallel. The cut does not depend on the
/// number of threads, and neither do the results.
const PARALLEL: usize = 1 << 18;
const CHUNKS: usize = 8;

/// The program of these operations.
pub(super) fn plan<T: Real>(ir: &Ir<T>, lowering: Lowering) -> Program<T> {
    let mut program = Program {
        inputs: Vec::new(),
        constants: Vec::new(),
        units: Vec::new(),
        outputs: Vec::new(),
        slots: Vec::new(),
        idle: Mutex::default(),
        recorded: None,
    };
    let mut planner = Planner { ir, places: vec![None; ir.nodes.len()], values: Vec::new() };
    planner.leaves(&mut program);
    let schedule = schedule(ir, lowering);
    for group in &schedule {
        let unit = match group {
            Group::Step(id) => Unit::Step(planner.step(*id)),
            Group::Region { rows, members } => Unit::Region(planner.region(&mut program, *rows, members)),
        };
        program.units.push(unit);
    }
    program.outputs =
        ir.outputs.iter().map(|&output| (planner.place(output), ir.nodes[output].shape.clone())).collect();
    assign_slots(&mut program, &planner.values);
    program
}

/// What runs as one.
enum Group {
    Step(Id),
    Region { rows: usize, members: Vec<Id> },
}

/// How a node treats rows, if it takes part in a region.
fn row_form<T: Real>(ir: &Ir<T>, node: &Node<T>) -> Option<(usize, Rows)> {
    let shapes: SmallVec<[&[usize]; 3]> =
        node.operands.iter().map(|&operand| ir.nodes[operand].shape.as_slice()).collect();
    let rows = node.op.rules().rows(&shapes)?;
    let count = match rows.by_row.iter().position(|&by_row| by_row) {
        Some(operand) => shapes[operand][0],
        None => node.shape[0],
    };
    let by_row = || rows.by_row.iter().zip(&shapes).filter(|(by_row, _)| **by_row).map(|(_, shape)| size(shape));
    let largest = by_row().max().unwrap_or(0).max(size(&node.shape));
    (count >= 2 && largest >= LARGE).then_some((count, rows))
}

/// The groups in an order in which they can run.
fn schedule<T: Real>(ir: &Ir<T>, lowering: Lowering) -> Vec<Group> {
    let leaf = |id: Id| matches!(ir.nodes[id].op, Op::Leaf(_));
    // For each node its phase, and its rows if it is in that phase's region; single steps run before regions.
    let mut forms: Vec<Option<(usize, Rows)>> = Vec::with_capacity(ir.nodes.len());
    let mut phases: Vec<usize> = Vec::with_capacity(ir.nodes.len());
    for (id, node) in ir.nodes.iter().enumerate() {
        let form = if leaf(id) || lowering == Lowering::Off { None } else { row_form(ir, node) };
        let after = |i: usize, operand: Id| match (&forms[operand], &form) {
            (None, _) => phases[operand],
            (Some((rows, made)), Some((count, form))) if rows == count && !made.summed && form.by_row[i] => {
                phases[operand]
            }
            (Some(_), _) => phases[operand] + 1,
        };
        let phase = node.operands.iter().enumerate().map(|(i, &operand)| after(i, operand)).max().unwrap_or(0);
        forms.push(form);
        phases.push(phase);
    }
    let mut order: BTreeMap<(usize, usize), Vec<Id>> = BTreeMap::new();
    for id in (0..ir.nodes.len()).filter(|&id| !leaf(id)) {
        let rows = forms[id].as_ref().map_or(0, |(rows, _)| *rows);
        order.entry((phases[id], rows)).or_default().push(id);
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

/// A result that is kept while the program runs: its slot is found at last.
pub(super) struct Value {
    kind: Kind,
    size: usize,
}

struct Planner<'a, T: Real> {
    ir: &'a Ir<T>,
    places: Vec<Option<Place>>,
    values: Vec<Value>,
}

impl<T: Real> Planner<'_, T> {
    fn place(&self, id: Id) -> Place {
        self.places[id].expect("groups run after those whose results they need")
    }

    /// A place for a whole result. It holds the number of a value until slots are assigned.
    fn keep(&mut self, id: Id) -> usize {
        let node = &self.ir.nodes[id];
        self.values.push(Value { kind: node.kind, size: size(&node.shape) });
        let value = self.values.len() - 1;
        self.places[id] = Some(Place::Slot(value));
        value
    }

    fn leaves(&mut self, program: &mut Program<T>) {
        let mut inputs = self.ir.inputs.iter().peekable();
        for (id, node) in self.ir.nodes.iter().enumerate() {
            let Op::Leaf(leaf) = &node.op else { continue };
            self.places[id] = Some(match leaf {
                Leaf::Input { name, .. } if inputs.next_if_eq(&&id).is_some() => {
                    let (name, kind, shape, location) =
                        (Arc::clone(name), node.kind, node.shape.clone(), node.location);
                    program.inputs.push(Input { name, kind, shape, location });
                    Place::Input(program.inputs.len() - 1)
                }
                leaf => add_constant(program, leaf, &node.shape),
            });
        }
    }

    fn step(&mut self, id: Id) -> Step<T> {
        let node = &self.ir.nodes[id];
        let operand = |&operand: &Id| (self.place(operand), self.ir.nodes[operand].shape.clone());
        let operands = node.operands.iter().map(operand).collect();
        let (op, kind, shape, location) = (node.op.clone(), node.kind, node.shape.clone(), node.location);
        Step { op, operands, slot: self.keep(id), kind, shape, location }
    }

    fn region(&mut self, program: &mut Program<T>, rows: usize, members: &[Id]) -> Region<T> {
        let all = Layout::new(self.ir, rows, members);
        // On one row at a time, what repeats an array for every row is that array itself.
        let repeated: Vec<Id> = match all.block {
            1 => members.iter().copied().filter(|&id| repeats_for_rows(self.ir, id) && !all.escapes(id)).collect(),
            _ => Vec::new(),
        };
        let layout = if repeated.is_empty() {
            all
        } else {
            let others: Vec<Id> = members.iter().copied().filter(|id| !repeated.contains(id)).collect();
            Layout { block: 1, ..Layout::new(self.ir, rows, &others) }
        };
        let mut results: Vec<RegionResult> = Vec::new();
        let mut destinations: Vec<Destination> = Vec::new();
        for member in &layout.members {
            let node = &self.ir.nodes[member.id];
            let result = member.escapes.then(|| {
                let slot = self.keep(member.id);
                let per_row = if member.form.summed { size(&node.shape) } else { size(&node.shape[1..]) };
                results.push(RegionResult { slot, kind: node.kind, per_row, summed: member.form.summed });
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
            .map(|(member, destination)| self.block_step(program, &layout, member, destination, &repeated))
            .collect();
        let Layout { chunk, block, temporaries, .. } = layout;
        Region { rows, chunk, block, temporaries, results, steps }
    }

    fn block_step(
        &self,
        program: &mut Program<T>,
        layout: &Layout,
        member: &Member,
        destination: Destination,
        repeated: &[Id],
    ) -> BlockStep<T> {
        let node = &self.ir.nodes[member.id];
        let operand = |(&operand, &by_row): (&Id, &bool)| {
            let whole = &self.ir.nodes[operand];
            match (layout.temporary_of(operand), &whole.op) {
                (Some(temporary), _) => RowOperand::Temporary(temporary),
                _ if repeated.contains(&operand) => RowOperand::Whole(self.place(whole.operands[0])),
                // One number everywhere: a block of it will do.
                (None, Op::Leaf(leaf @ Leaf::Fill { .. })) if by_row => {
                    let mut shape = whole.shape.clone();
                    shape[0] = layout.block;
                    RowOperand::Uniform(add_constant(program, leaf, &shape))
                }
                _ if by_row => RowOperand::Rows(self.place(operand), size(&whole.shape[1..])),
                _ => RowOperand::Whole(self.place(operand)),
            }
        };
        let operands = node.operands.iter().zip(&member.form.by_row).map(operand).collect();
        let variant = |rows: usize| {
            let with_rows = |shape: &Shape, by_row: bool| {
                let mut shape = shape.clone();
                if by_row {
                    shape[0] = rows;
                }
                shape
            };
            let shapes = node.operands.iter().zip(&member.form.by_row);
            Variant {
                op: node.op.rules().on_rows(rows).unwrap_or_else(|| node.op.clone()),
                operands: shapes.map(|(&id, &by_row)| with_rows(&self.ir.nodes[id].shape, by_row)).collect(),
                shape: with_rows(&node.shape, !member.form.summed),
            }
        };
        let Layout { rows, chunk, block, .. } = *layout;
        let variants = [block, last_block(chunk, chunk, block), last_block(rows, chunk, block)].map(variant);
        BlockStep { operands, destination, variants, kind: node.kind, location: node.location }
    }
}

/// Whether the node repeats one array for every row.
fn repeats_for_rows<T: Real>(ir: &Ir<T>, id: Id) -> bool {
    match &ir.nodes[id].op {
        Op::Movement(Movement::Broadcast { shape, axes }) => axes.iter().copied().eq(1..shape.len()),
        _ => false,
    }
}

/// A region's rows and temporaries.
struct Layout {
    rows: usize,
    chunk: usize,
    block: usize,
    members: Vec<Member>,
    temporaries: Vec<(Kind, usize)>,
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
    fn new<T: Real>(ir: &Ir<T>, rows: usize, ids: &[Id]) -> Self {
        let position = |id: Id| ids.binary_search(&id).ok();
        let forms: Vec<Rows> =
            ids.iter().map(|&id| row_form(ir, &ir.nodes[id]).expect("members have rows").1).collect();
        // Who uses a member's rows here, last, and whether anybody needs the whole result.
        let mut last_use: Vec<Option<usize>> = vec![None; ids.len()];
        let mut escapes: Vec<bool> = forms.iter().map(|form| form.summed).collect();
        for (user, node) in ir.nodes.iter().enumerate() {
            for made in node.operands.iter().filter_map(|&operand| position(operand)) {
                match position(user) {
                    Some(user) => last_use[made] = Some(user),
                    None => escapes[made] = true,
                }
            }
        }
        ir.outputs.iter().filter_map(|&output| position(output)).for_each(|made| escapes[made] = true);

        let mut temporaries: Vec<(Kind, usize)> = Vec::new();
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
                    .filter(|&i| temporaries[free[i]].0 == node.kind)
                    .min_by_key(|&i| temporaries[free[i]].1.abs_diff(need));
                let temporary = best.map_or_else(
                    || {
                        temporaries.push((node.kind, 0));
                        temporaries.len() - 1
                    },
                    |i| free.swap_remove(i),
                );
                temporaries[temporary].1 = temporaries[temporary].1.max(need);
                temporary
            });
            members.push(Member { id, form, escapes: escapes[m], temporary });
            free.extend(ending[m].iter().filter_map(|&made| members[made].temporary));
        }

        let bytes = |(kind, per_row): &(Kind, usize)| match kind {
            Kind::Real => per_row * size_of::<T>(),
            Kind::Index => per_row * size_of::<i32>(),
        };
        let row_bytes: usize = temporaries.iter().map(bytes).sum::<usize>().max(8);
        let work: usize = ids.iter().map(|&id| size(&ir.nodes[id].shape).max(rows)).sum();
        let chunk = rows.div_ceil(if work >= PARALLEL { CHUNKS.min(rows) } else { 1 });
        let most = (CACHE / row_bytes).clamp(1, chunk);
        // Blocks of one size, as far as possible: the last one of a chunk is not much smaller.
        let block = chunk.div_ceil(chunk.div_ceil(most));
        Self { rows, chunk, block, members, temporaries }
    }

    fn member(&self, id: Id) -> Option<&Member> {
        self.members.binary_search_by_key(&id, |member| member.id).ok().map(|m| &self.members[m])
    }

    fn temporary_of(&self, id: Id) -> Option<usize> {
        self.member(id)?.temporary
    }

    fn escapes(&self, id: Id) -> bool {
        self.member(id).is_some_and(|member| member.escapes)
    }
}

/// The rows of the last block of the last chunk of `rows` rows.
fn last_block(rows: usize, chunk: usize, block: usize) -> usize {
    let last = |whole: usize, part: usize| if whole.is_multiple_of(part) { part } else { whole % part };
    last(last(rows, chunk), block)
}

fn add_constant<T: Real>(program: &mut Program<T>, leaf: &Leaf<T>, shape: &[usize]) -> Place {
    let data = match leaf {
        Leaf::Input { value: Data::Real(array), .. } | Leaf::Constant(Data::Real(array)) => {
            ConstantData::Real(Arc::clone(array))
        }
        Leaf::Input { value: Data::Index(array), .. } | Leaf::Constant(Data::Index(array)) => {
            ConstantData::Index(Arc::clone(array))
        }
        Leaf::Fill { bits, .. } => ConstantData::Real(Arc::new(ArrayD::from_elem(shape, T::of(f64::from_bits(*bits))))),
        Leaf::Placeholder { .. } => unreachable!("refused before"),
    };
    program.constants.push(Constant { data, shape: shape.into() });
    Place::Constant(program.constants.len() - 1)
}

/// Gives each kept value a slot that no value needed later occupies.
fn assign_slots<T: Real>(program: &mut Program<T>, values: &[Value]) {
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
    let mut ends: Vec<Vec<usize>> = vec![Vec::new(); program.units.len()];
    for (value, &last) in last_use.iter().enumerate().filter(|(_, last)| **last != usize::MAX) {
        ends[last].push(value);
    }
    let mut slot_of = vec![usize::MAX; values.len()];
    let mut free: BTreeMap<(bool, usize, usize), ()> = BTreeMap::new();
    let key = |slots: &[Slot], slot: usize| (slots[slot].kind == Kind::Index, slots[slot].size, slot);
    for (i, unit) in program.units.iter().enumerate() {
        let slots = &mut program.slots;
        unit.writes(|value| {
            let Value { kind, size: need } = values[value];
            let is_index = kind == Kind::Index;
            // The smallest free slot that is large enough, else the largest, enlarged, else a new one.
            let fitting = free.range((is_index, need, 0)..(is_index, usize::MAX, 0)).next().map(|(&key, ())| key);
            let largest = || free.range((is_index, 0, 0)..(is_index, need, 0)).next_back().map(|(&key, ())| key);
            slot_of[value] = match fitting.or_else(largest) {
                Some(found) => {
                    free.remove(&found);
                    slots[found.2].size = found.1.max(need);
                    found.2
                }
                None => {
                    slots.push(Slot { kind, size: need });
                    slots.len() - 1
                }
            };
        });
        for &value in &ends[i] {
            free.insert(key(&program.slots, slot_of[value]), ());
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
