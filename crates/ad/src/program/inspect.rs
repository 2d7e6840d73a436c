//! To look inside a program: its text, and what it costs.

use std::fmt::{Display, Formatter, Result};

use super::{Place, Program};
use crate::real::Real;
use crate::tape::Kind;
use crate::tensor::size;

/// What one run of a program costs, by count and not by clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Kernel calls.
    pub operations: usize,
    /// Floating-point operations; a transcendental function counts as one.
    pub flops: usize,
    /// Bytes read and written by the kernels.
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

impl<T: Real> Program<T> {
    /// Counts operations, floating-point operations, bytes and peak memory of one run.
    pub fn cost(&self) -> Cost {
        let bytes = |kind: Kind, size: usize| match kind {
            Kind::Real => size * size_of::<T>(),
            Kind::Index => size * size_of::<i32>(),
        };
        let kind_of = |place: Place| match place {
            Place::Input(i) => self.inputs[i].kind,
            Place::Constant(i) => match self.constants[i].data {
                super::ConstantData::Real(_) => Kind::Real,
                super::ConstantData::Index(_) => Kind::Index,
            },
            Place::Step(i) => self.steps[i].kind,
        };
        let mut cost = Cost { operations: self.steps.len(), ..Cost::default() };
        for step in &self.steps {
            let shapes: Vec<&[usize]> = step.operands.iter().map(|(_, shape)| shape.as_slice()).collect();
            cost.flops += step.op.rules().flops(&shapes, &step.shape);
            cost.bytes += bytes(step.kind, size(&step.shape));
            cost.bytes += step.operands.iter().map(|(place, shape)| bytes(kind_of(*place), size(shape))).sum::<usize>();
        }
        let slots = self.slots.iter().map(|&(kind, size)| bytes(kind, size)).sum::<usize>();
        let constants = (0..self.constants.len())
            .map(|i| bytes(kind_of(Place::Constant(i)), size(&self.constants[i].shape)))
            .sum::<usize>();
        let inputs = self.inputs.iter().map(|input| bytes(input.kind, size(&input.shape))).sum::<usize>();
        cost.peak_memory = slots + constants + inputs;
        cost
    }
}

/// One line for each operation: its number, name, operands, parameters, type, shape, and where it was recorded.
impl<T: Real> Display for Program<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let name = |place: Place| match place {
            Place::Input(i) => self.inputs[i].name.to_string(),
            Place::Constant(i) => format!("c{i}"),
            Place::Step(i) => format!("%{i}"),
        };
        let dtype = |kind: Kind| match kind {
            Kind::Real => T::NAME,
            Kind::Index => "i32",
        };
        let array = |kind: Kind, shape: &[usize]| format!("{}{shape:?}", dtype(kind));
        for input in &self.inputs {
            writeln!(f, "input  {}: {}", input.name, array(input.kind, &input.shape))?;
        }
        for (i, constant) in self.constants.iter().enumerate() {
            let (kind, first, uniform) = match &constant.data {
                super::ConstantData::Real(data) => {
                    let first = data.first().copied();
                    (Kind::Real, first.map(|x| x.to_string()), data.iter().all(|&x| Some(x) == first))
                }
                super::ConstantData::Index(data) => {
                    let first = data.first().copied();
                    (Kind::Index, first.map(|x| x.to_string()), data.iter().all(|&x| Some(x) == first))
                }
            };
            let content = match first {
                Some(first) if uniform => format!(" = {first}"),
                _ => String::new(),
            };
            writeln!(f, "const  c{i}: {}{content}", array(kind, &constant.shape))?;
        }
        for (i, step) in self.steps.iter().enumerate() {
            let operands: Vec<String> = step.operands.iter().map(|(place, _)| name(*place)).collect();
            let rules = step.op.rules();
            let call = format!("%{i} = {}({})", rules.name(), operands.join(", "));
            let parameters = rules.parameters();
            let call = if parameters.is_empty() { call } else { format!("{call} {parameters}") };
            writeln!(f, "{call:<48} {:<20} {}", array(step.kind, &step.shape), step.location)?;
        }
        let outputs: Vec<String> = self.outputs.iter().map(|(place, _)| name(*place)).collect();
        writeln!(f, "return {}", outputs.join(", "))
    }
}
