//! Numbers: operations on single numbers, one after another on a list of numbers, as programs that are called a million times have
//! them. A step of its own looks each operand up among inputs, constants and slots, whatever their types; of `y = tanh(2·x)·x` the
//! list is x, 2, then what is made: 2·x, tanh(2·x), y. So what they read is looked up once, and y alone goes to a slot.

use std::ops::Range;

use indexmap::IndexSet;
use rustc_hash::{FxBuildHasher, FxHashMap};

use super::{Place, Program, Step, Unit};
use crate::dtype::DType;
use crate::kernel::functions::Number;
use crate::op::{Entrywise, MOST_OPERANDS};
use crate::tensor::{Buffer, Slice};

/// Steps on numbers of one type.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    /// Which of the program's units they are, so that nothing else need know of this list.
    pub units: Range<usize>,
    dtype: DType,
    /// Where what they read comes from: the first numbers of the list.
    given: Vec<Place>,
    /// Each makes the next of the list, of those at these positions. (For operands that it does not have, 0.)
    made: Vec<(Entrywise, [u32; MOST_OPERANDS])>,
    /// The slots that somebody reads later, and which numbers go there.
    kept: Vec<(usize, usize)>,
}

/// So many steps have a list that stays in the nearest cache.
const MOST_STEPS: usize = 512;

/// Finds them in a program whose slots are assigned.
pub(super) fn find_numbers(program: &Program) -> Vec<Numbers> {
    // The last unit that reads a slot.
    let mut last_read = vec![0; program.slots.len()];
    for (i, unit) in program.units.iter().enumerate() {
        unit.reads(|place| {
            if let Place::Slot(slot) = place {
                last_read[slot] = i;
            }
        });
    }
    program.outputs.iter().for_each(|(place, _)| {
        if let Place::Slot(slot) = place {
            last_read[*slot] = usize::MAX;
        }
    });
    let units = &program.units;
    let mut found = Vec::new();
    let mut start = 0;
    while start < units.len() {
        let Some((_, first)) = of_numbers(&units[start]) else {
            start += 1;
            continue;
        };
        let steps = units[start..].iter().map_while(of_numbers).take_while(|(_, step)| step.dtype == first.dtype);
        let steps: Vec<(Entrywise, &Step)> = steps.take(MOST_STEPS).collect();
        found.push(Numbers::new(start, first.dtype, &steps, &last_read));
        start += steps.len();
    }
    found
}

/// A step that makes a number of numbers.
fn of_numbers(unit: &Unit) -> Option<(Entrywise, &Step)> {
    match unit {
        Unit::Step(step) if step.size == 1 && step.operands.len() <= MOST_OPERANDS => {
            Some((step.op.entrywise()?, step))
        }
        _ => None,
    }
}

impl Numbers {
    fn new(start: usize, dtype: DType, steps: &[(Entrywise, &Step)], last_read: &[usize]) -> Self {
        let mut given: IndexSet<Place, FxBuildHasher> = IndexSet::default();
        let mut made: Vec<(Entrywise, Vec<Source>)> = Vec::new();
        // What lies in a slot once the steps so far have run.
        let mut in_slots: FxHashMap<usize, Source> = FxHashMap::default();
        for (i, (op, step)) in steps.iter().enumerate() {
            let source = |place: Place| match place {
                Place::Slot(slot) if in_slots.contains_key(&slot) => in_slots[&slot],
                place => Source::Given(given.insert_full(place).0),
            };
            made.push((*op, step.operands.iter().map(|operand| operand.place).map(source).collect()));
            in_slots.insert(step.slot, Source::Made(i));
        }
        let at = |source: Source| match source {
            Source::Given(position) => position,
            Source::Made(step) => given.len() + step,
        };
        let operands = |sources: Vec<Source>| {
            let mut operands = [0; MOST_OPERANDS];
            operands.iter_mut().zip(sources).for_each(|(operand, source)| *operand = at(source) as u32);
            operands
        };
        let made = made.into_iter().map(|(op, sources)| (op, operands(sources))).collect();
        let units = start..start + steps.len();
        let is_kept = |&(slot, _): &(usize, Source)| last_read[slot] >= units.end;
        let mut kept: Vec<(usize, usize)> =
            in_slots.into_iter().filter(is_kept).map(|(slot, source)| (slot, at(source))).collect();
        kept.sort_unstable();
        let given = given.into_iter().collect();
        Self { units, dtype, given, made, kept }
    }

    fn len(&self) -> usize {
        self.given.len() + self.made.len()
    }

    pub fn run(&self, program: &Program, given: &[Slice<'_>], slots: &mut [Buffer], lists: &mut Lists) {
        match self.dtype {
            DType::F32 => self.compute(program, given, slots, &mut lists.single),
            _ => self.compute(program, given, slots, &mut lists.double),
        }
    }

    fn compute<T: Number>(&self, program: &Program, given: &[Slice<'_>], slots: &mut [Buffer], list: &mut [T]) {
        for (number, &place) in list.iter_mut().zip(&self.given) {
            *number = program.read_first(place, 1, given, slots).of()[0];
        }
        for (i, (op, operands)) in self.made.iter().enumerate() {
            let operands = operands.map(|position| list[position as usize]);
            list[self.given.len() + i] = op.entry(&operands);
        }
        for &(slot, position) in &self.kept {
            T::slice_mut(slots[slot].slice_mut(0..1)).expect("a slot is of what it keeps")[0] = list[position];
        }
    }
}

/// The lists of a run: one of each type, which each group of steps fills anew.
#[derive(Debug)]
pub(super) struct Lists {
    double: Vec<f64>,
    single: Vec<f32>,
}

impl Lists {
    /// Long enough for each of these.
    pub fn of(numbers: &[Numbers]) -> Self {
        let longest = |dtype| numbers.iter().filter(|of| of.dtype == dtype).map(Numbers::len).max().unwrap_or(0);
        Self { double: vec![0.0; longest(DType::F64)], single: vec![0.0; longest(DType::F32)] }
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&self.double[..]) + size_of_val(&self.single[..])
    }
}

/// Where a number of the list comes from, before it is known how many are given.
#[derive(Clone, Copy)]
enum Source {
    /// The one of this number that is given.
    Given(usize),
    /// What this step makes.
    Made(usize),
}
