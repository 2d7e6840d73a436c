//! To look inside a program: its text, and what it costs.

use std::fmt::{Display, Formatter, Result};
use std::panic::Location;

use super::numbers::Lists;
use super::region::{Destination, RowOperand};
use super::{Place, Program, StepOperand, Unit};
use crate::dtype::{DType, by_dtype};
use crate::op::Op;
use crate::tensor::{Value, size};

/// What one run of a program costs, by count and not by clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Operations; one that runs block by block counts once.
    pub operations: usize,
    /// Floating-point operations; a transcendental function counts as one.
    pub flops: usize,
    /// Bytes read and written by the kernels, in cache or not.
    pub bytes: usize,
    /// Bytes held at once, for results on the way, constants and inputs.
    pub peak_memory: usize,
}

impl Display for Cost {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Cost { operations, flops, bytes, peak_memory } = self;
        write!(f, "{operations} operations, {flops} flops, {bytes} bytes moved, {peak_memory} bytes of memory at most")
    }
}

impl Program {
    /// Counts operations, floating-point operations, bytes and peak memory of one run.
    pub fn cost(&self) -> Cost {
        let mut cost = Cost::default();
        let mut bodies: Vec<(usize, Cost)> = Vec::new();
        let mut count = |op: &Op, operands: &[(&[usize], DType)], dtype: DType, shape: &[usize], times: usize| {
            let shapes: Vec<&[usize]> = operands.iter().map(|(shape, _)| *shape).collect();
            cost.flops += times * op.rules().flops(&shapes, shape);
            let read =
                |(i, (_, dtype)): (usize, &(&[usize], DType))| op.rules().reads(i, &shapes, shape) * dtype.bytes();
            let read: usize = operands.iter().enumerate().map(read).sum();
            cost.bytes += times * (size(shape) * dtype.bytes() + read);
        };
        for unit in &self.units {
            match unit {
                Unit::Step(step) => {
                    let operand =
                        |operand: &StepOperand| (self.forms[operand.form].shape.as_slice(), self.dtype(operand.place));
                    let operands: Vec<_> = step.operands.iter().map(operand).collect();
                    count(&step.op, &operands, step.dtype, &step.shape, 1);
                    if let (Op::Fold(fold), Some(body)) = (&step.op, &step.body) {
                        bodies.push((fold.steps, body.cost()));
                    }
                }
                Unit::Region(region) => {
                    for step in &region.steps {
                        let variant = &step.variants[0];
                        let dtypes = step.operands.iter().map(|(operand, _)| match operand {
                            RowOperand::Temporary { temporary, .. } => region.temporaries[*temporary].0,
                            RowOperand::Rows(place, _) | RowOperand::Whole(place) => self.dtype(*place),
                        });
                        let shapes = variant.operands.iter().map(|(shape, _)| shape.as_slice());
                        let operands: Vec<_> = shapes.zip(dtypes).collect();
                        count(&variant.op, &operands, step.dtype, &variant.shape, region.rows.div_ceil(region.block));
                    }
                }
            }
        }
        for (steps, body) in &bodies {
            cost.flops += steps * body.flops;
            cost.bytes += steps * body.bytes;
        }
        cost.operations =
            self.units.iter().map(|unit| if let Unit::Region(region) = unit { region.steps.len() } else { 1 }).sum();
        cost.operations += bodies.iter().map(|(steps, body)| steps * body.operations).sum::<usize>();
        let slots = self.slots.iter().map(|slot| slot.size * slot.dtype.bytes());
        let constants = self.constants.iter().map(|constant| {
            let value = constant.data.value();
            size(value.shape()) * value.dtype().bytes()
        });
        let regions = self.units.iter().map(|unit| match unit {
            // What a step is given is held outside.
            Unit::Step(step) => step.body.as_ref().map_or(0, |body| body.cost().peak_memory - body.size_of_inputs()),
            Unit::Region(region) => {
                let temporaries = region.temporaries.iter().map(|(dtype, size)| size * region.block * dtype.bytes());
                let summed = region.results.iter().filter(|result| result.summed);
                // A chunk's, and what a block adds to it.
                let sums = summed.map(|sum| sum.per_row * (DType::F64.bytes() + sum.dtype.bytes()));
                region.chunks() * (temporaries.sum::<usize>() + sums.sum::<usize>())
            }
        });
        let arrays = slots.chain(constants).chain(regions).sum::<usize>();
        cost.peak_memory = arrays + Lists::of(&self.numbers).bytes() + self.size_of_inputs();
        cost
    }

    fn size_of_inputs(&self) -> usize {
        self.inputs.iter().map(|input| input.size * input.dtype.bytes()).sum()
    }
}

/// One line for each operation: its result, name, operands, parameters, type, shape, and where it was recorded. What runs
/// block by block is indented, with the number of rows of a block in place of all; `+` is a sum over blocks. Of a block that
/// was transposed, `%4[2]` is column 2, and `%4` column 0. Below a fold stands what it does at each step, indented, of inputs
/// that are its operands in their order.
impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let array = |dtype: DType, shape: &[usize]| format!("{dtype}{shape:?}");
        for input in &self.inputs {
            writeln!(f, "input  {}: {}", input.name, array(input.dtype, &input.shape))?;
        }
        for (i, constant) in self.constants.iter().enumerate() {
            let value = constant.data.value();
            let content = by_dtype!(Value, value, |entries| only(entries.iter()));
            writeln!(f, "const  c{i}: {}{content}", array(value.dtype(), value.shape()))?;
        }
        let line =
            |f: &mut Formatter<'_>, result: String, op: &Op, operands: &[String], of: String, at: &Location<'_>| {
                let call = format!("{result} = {}({})", op.rules().name(), operands.join(", "));
                let parameters = op.rules().parameters();
                let call = if parameters.is_empty() { call } else { format!("{call} {parameters}") };
                writeln!(f, "{call:<48} {of:<20} {at}")
            };
        // Slots are used again and again; results are numbered in the order in which they are made.
        let mut made = 0;
        let mut number = vec![0; self.slots.len()];
        let mut new = |number: &mut usize| {
            *number = made;
            made += 1;
        };
        let name = |number: &[usize], place: Place| match place {
            Place::Input(i) => self.inputs[i].name.to_string(),
            Place::Constant(i) => format!("c{i}"),
            Place::Slot(i) => format!("%{}", number[i]),
        };
        for unit in &self.units {
            match unit {
                Unit::Step(step) => {
                    let operands: Vec<String> =
                        step.operands.iter().map(|operand| name(&number, operand.place)).collect();
                    new(&mut number[step.slot]);
                    let result = format!("%{}", number[step.slot]);
                    line(f, result, &step.op, &operands, array(step.dtype, &step.shape), step.location)?;
                    if let Some(body) = &step.body {
                        body.to_string().lines().try_for_each(|line| writeln!(f, "    {line}"))?;
                    }
                }
                Unit::Region(region) => {
                    let mut temporary = vec![0; region.temporaries.len()];
                    for step in &region.steps {
                        let operands: Vec<String> = (step.operands.iter())
                            .map(|(operand, _)| match operand {
                                RowOperand::Temporary { temporary: i, column: 0 } => format!("%{}", temporary[*i]),
                                RowOperand::Temporary { temporary: i, column } => {
                                    format!("%{}[{column}]", temporary[*i])
                                }
                                RowOperand::Rows(place, _) => format!("{}[rows]", name(&number, *place)),
                                RowOperand::Whole(place) => name(&number, *place),
                            })
                            .collect();
                        let mut kept = |result: usize| {
                            let slot = region.results[result].slot;
                            new(&mut number[slot]);
                            number[slot]
                        };
                        let result = match step.destination {
                            Destination::Temporary { temporary: i, copy } => {
                                match copy {
                                    Some(result) => temporary[i] = kept(result),
                                    None => new(&mut temporary[i]),
                                }
                                format!("  %{}", temporary[i])
                            }
                            Destination::Rows(result) => format!("  %{}", kept(result)),
                            Destination::Sum(result) => format!("  %{} +", kept(result)),
                        };
                        let variant = &step.variants[0];
                        line(f, result, &variant.op, &operands, array(step.dtype, &variant.shape), step.location)?;
                    }
                }
            }
        }
        let outputs: Vec<String> = self.outputs.iter().map(|(place, _)| name(&number, *place)).collect();
        writeln!(f, "return {}", outputs.join(", "))
    }
}

/// " = x", if all entries are x.
fn only<E: Display + PartialEq>(mut entries: impl Iterator<Item = E>) -> String {
    match entries.next() {
        Some(first) if entries.all(|entry| entry == first) => format!(" = {first}"),
        _ => String::new(),
    }
}
