//! Slots: where the results lie that a run keeps. Buffer allocation by liveness: a slot is free for another result of its type
//! once the last step or region that reads the one in it has run.

use std::collections::BTreeSet;

use crate::dtype::DType;
use crate::program::{Place, Program, Slot};

/// A result that is kept while the program runs.
pub(super) struct Kept {
    pub dtype: DType,
    pub size: usize,
}

/// Gives each kept value, which places so far name by its number in `values`, a slot that no value needed later occupies.
pub(super) fn assign_slots(program: &mut Program, values: &[Kept]) {
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
