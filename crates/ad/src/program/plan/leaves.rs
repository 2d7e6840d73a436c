//! Leaves: the inputs that a run gives values for, and the constants that a program keeps. A number that is only read
//! repeated, as the 2 of x·2, is kept once, as a scalar.

use std::panic::Location;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::emit::Emitter;
use crate::dtype::DType;
use crate::op::{Leaf, Op};
use crate::program::{Constant, Input, Place, Program};
use crate::tensor::size;

impl Emitter<'_> {
    /// Gives every leaf that is read its place.
    pub fn leaves(&mut self, program: &mut Program) {
        let ir = self.flow.ir;
        let mut used_whole = vec![false; ir.nodes.len()];
        let views = (0..ir.nodes.len()).filter(|&id| self.flow.live[id]).flat_map(|id| self.flow.views(id));
        views.filter(|view| view.repeat.is_none()).for_each(|view| used_whole[view.base] = true);
        self.flow.outputs.iter().for_each(|&output| used_whole[output] = true);
        let mut inputs = ir.inputs.iter().peekable();
        let mut numbers: FxHashMap<(u64, DType), Place> = FxHashMap::default();
        for (id, node) in ir.nodes.iter().enumerate() {
            let Op::Leaf(leaf) = &node.op else { continue };
            self.places[id] = match leaf {
                leaf if inputs.next_if_eq(&&id).is_some() => {
                    let name = match leaf {
                        Leaf::Input { name, .. } => Arc::clone(name),
                        // Of a body, by the place of the operand that it stands for.
                        _ => format!("x{}", program.inputs.len()).into(),
                    };
                    let (dtype, shape, location) = (node.dtype, node.shape.clone(), node.location);
                    let size = size(&shape);
                    program.inputs.push(Input { name, dtype, shape, size, location });
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
}

fn add_constant(program: &mut Program, leaf: &Leaf, shape: &[usize], location: &'static Location<'static>) -> Place {
    program.constants.push(Constant { data: leaf.data(shape), location });
    Place::Constant(program.constants.len() - 1)
}
