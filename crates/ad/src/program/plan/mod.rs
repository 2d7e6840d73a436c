//! Planning: from operations to a program. The passes, in their order:
//!
//! - [`dataflow`]: what each operation reads
//! - [`rows`]: which operations can run block of rows by block of rows
//! - [`levels`]: in which order everything runs (levelisation), and what runs together, as a region
//! - [`escapes`]: which results are needed as a whole (escape analysis); the others' live for a block
//! - [`leaves`]: inputs and constants
//! - [`emit`]: the kernel calls (code generation); for a region with the [`columns`] that are made at once, its [`temporaries`]
//!   (register allocation) and the cut of its rows ([`tiling`])
//! - [`slots`]: where in memory results lie (buffer allocation)
//!
//! Nearly every operation of a Monte-Carlo objective does the same to each sample, or sums over samples. Such operations on
//! large arrays are put together in [`Region`](super::region::Region)s: a region runs all of them on a block of rows, whose
//! temporary results stay in cache, then on the next block.

use std::sync::Mutex;

use super::fuse::fuse;
use super::ir::{Id, Ir};
use super::numbers::find_numbers;
use super::{Lowering, Program, Unit};
use dataflow::Dataflow;
use emit::Emitter;
use levels::{Group, Levels};
pub(super) use rows::{LARGE, MANY_ROWS};

use crate::op::fold::Body;

mod columns;
mod dataflow;
mod emit;
mod escapes;
mod leaves;
mod levels;
mod rows;
mod slots;
mod temporaries;
mod tiling;

/// Tells of two of these operations whether they will run side by side.
pub(super) fn side_by_side(ir: &Ir) -> impl Fn(Id, Id) -> bool + use<> {
    let levels = Levels::new(&Dataflow::new(ir, Lowering::On));
    move |a, b| levels.of(a) == levels.of(b)
}

/// The program of a step of a fold, whose operations are as they are to run.
fn plan_body(body: &Body, lowering: Lowering) -> Program {
    let ir = Ir::of_body(body);
    match lowering {
        Lowering::On => {
            let side_by_side = side_by_side(&ir);
            plan(&fuse(ir, side_by_side), lowering)
        }
        Lowering::Off => plan(&ir, lowering),
    }
}

/// The program of these operations.
pub(super) fn plan(ir: &Ir, lowering: Lowering) -> Program {
    let mut program = Program {
        inputs: Vec::new(),
        constants: Vec::new(),
        forms: Vec::new(),
        units: Vec::new(),
        numbers: Vec::new(),
        outputs: Vec::new(),
        slots: Vec::new(),
        idle: Mutex::default(),
        recorded: None,
    };
    let flow = Dataflow::new(ir, lowering);
    let schedule = levels::schedule(&flow);
    let mut emitter = Emitter::new(&flow, escapes::escapes(&flow, &schedule));
    emitter.leaves(&mut program);
    for group in &schedule {
        let unit = match group {
            Group::Step(id) => Unit::Step(emitter.step(*id)),
            Group::Region { rows, members } => Unit::Region(emitter.region(*rows, members)),
        };
        program.units.push(unit);
    }
    program.outputs = flow
        .outputs
        .iter()
        .zip(&ir.outputs)
        .map(|(&id, &output)| (emitter.place(id), ir.nodes[output].shape.clone()))
        .collect();
    let Emitter { forms, values, .. } = emitter;
    program.forms = forms.into_iter().collect();
    slots::assign_slots(&mut program, &values);
    program.numbers = find_numbers(&program);
    program
}
