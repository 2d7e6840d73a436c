//! From a tape's nodes to a program's steps: drop what is not needed, merge what is equal, remove identities, give every
//! result a place in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use ndarray::ArrayD;
use smallvec::SmallVec;

use super::{Constant, ConstantData, Input, Place, Program, Step};
use crate::error::Error;
use crate::op::{Data, Leaf, Op};
use crate::real::Real;
use crate::tape::{Graph, Handle, Kind, NodeId, Var, with_graph};
use crate::tensor::size;

pub(super) fn compile<T: Real>(tape: u32, inputs: &[Handle<T>], outputs: &[Var<T>]) -> Result<Program<T>, Error> {
    with_graph::<T, _>(tape, |graph| {
        let mut plan = Plan {
            places: HashMap::new(),
            equal: HashMap::new(),
            program: Program {
                inputs: inputs.iter().map(|handle| input(graph, handle.node())).collect(),
                constants: Vec::new(),
                steps: Vec::new(),
                outputs: Vec::new(),
                slots: Vec::new(),
                idle: Mutex::default(),
            },
        };
        plan.places.extend(inputs.iter().enumerate().map(|(i, handle)| (handle.node(), Place::Input(i))));
        for id in needed(graph, outputs.iter().map(|output| output.node)) {
            plan.add(graph, id)?;
        }
        let mut program = plan.program;
        program.outputs = outputs
            .iter()
            .map(|output| (plan.places[&output.node], graph.nodes[output.node as usize].shape.clone()))
            .collect();
        assign_slots(&mut program);
        Ok(program)
    })
}

/// Panics unless it was made by `Tape::input` or `Tape::index`.
#[track_caller]
pub(super) fn expect_input<T: Real>(handle: Handle<T>) {
    let node = with_graph::<T, _>(handle.tape(), |graph| graph.nodes[handle.node() as usize].clone());
    assert!(
        matches!(node.op, Op::Leaf(Leaf::Input { .. })),
        "compile: only what `Tape::input` or `Tape::index` made can be an input, not the result of {} recorded at {}",
        node.op.rules().name(),
        node.location
    );
}

fn input<T: Real>(graph: &Graph<T>, id: NodeId) -> Input {
    let node = &graph.nodes[id as usize];
    let Op::Leaf(Leaf::Input { name, .. }) = &node.op else { unreachable!("inputs are checked before") };
    Input { name: Arc::clone(name), kind: node.kind, shape: node.shape.clone(), location: node.location }
}

/// The outputs and all they depend on, in the order of the tape.
fn needed<T: Real>(graph: &Graph<T>, outputs: impl Iterator<Item = NodeId>) -> Vec<NodeId> {
    let mut needed = vec![false; graph.nodes.len()];
    let mut stack: Vec<NodeId> = outputs.collect();
    let mut order = Vec::new();
    while let Some(node) = stack.pop() {
        if !std::mem::replace(&mut needed[node as usize], true) {
            order.push(node);
            stack.extend(&graph.nodes[node as usize].operands);
        }
    }
    order.sort_unstable();
    order
}

struct Plan<T: Real> {
    places: HashMap<NodeId, Place>,
    /// What has been computed already.
    equal: HashMap<(Op<T>, SmallVec<[Place; 3]>), Place>,
    program: Program<T>,
}

impl<T: Real> Plan<T> {
    fn add(&mut self, graph: &Graph<T>, id: NodeId) -> Result<(), Error> {
        if self.places.contains_key(&id) {
            return Ok(());
        }
        let node = &graph.nodes[id as usize];
        let operands: SmallVec<[Place; 3]> = node.operands.iter().map(|operand| self.places[operand]).collect();
        let place = match &node.op {
            Op::Barrier(barrier) if barrier.is_identity() => operands[0],
            Op::Leaf(Leaf::Placeholder { .. }) => return Err(Error::Placeholder { location: node.location }),
            op => match self.equal.get(&(op.clone(), operands.clone())) {
                Some(&place) => place,
                None => {
                    let place = match op {
                        Op::Leaf(leaf) => self.constant(leaf, &node.shape),
                        op => {
                            let shapes =
                                node.operands.iter().map(|&operand| graph.nodes[operand as usize].shape.clone());
                            self.program.steps.push(Step {
                                op: op.clone(),
                                operands: operands.iter().copied().zip(shapes).collect(),
                                slot: 0,
                                kind: node.kind,
                                shape: node.shape.clone(),
                                location: node.location,
                            });
                            Place::Step(self.program.steps.len() - 1)
                        }
                    };
                    self.equal.insert((op.clone(), operands), place);
                    place
                }
            },
        };
        self.places.insert(id, place);
        Ok(())
    }

    fn constant(&mut self, leaf: &Leaf<T>, shape: &[usize]) -> Place {
        let data = match leaf {
            Leaf::Input { value: Data::Real(array), .. } | Leaf::Constant(Data::Real(array)) => {
                ConstantData::Real(Arc::clone(array))
            }
            Leaf::Input { value: Data::Index(array), .. } | Leaf::Constant(Data::Index(array)) => {
                ConstantData::Index(Arc::clone(array))
            }
            Leaf::Fill { bits, .. } => {
                ConstantData::Real(Arc::new(ArrayD::from_elem(shape, T::of(f64::from_bits(*bits)))))
            }
            Leaf::Placeholder { .. } => unreachable!("refused before"),
        };
        self.program.constants.push(Constant { data, shape: shape.into() });
        Place::Constant(self.program.constants.len() - 1)
    }
}

/// Gives each step's result a slot that no result needed later occupies.
fn assign_slots<T: Real>(program: &mut Program<T>) {
    let mut last_use = vec![0; program.steps.len()];
    for (i, step) in program.steps.iter().enumerate() {
        for (place, _) in &step.operands {
            if let Place::Step(operand) = place {
                last_use[*operand] = i;
            }
        }
    }
    for (place, _) in &program.outputs {
        if let Place::Step(step) = place {
            last_use[*step] = usize::MAX;
        }
    }
    let mut free: BTreeMap<(bool, usize, usize), ()> = BTreeMap::new();
    for i in 0..program.steps.len() {
        let (kind, need) = (program.steps[i].kind, size(&program.steps[i].shape));
        let is_index = kind == Kind::Index;
        // The smallest free slot that is large enough, else the largest, enlarged, else a new one.
        let fitting = free.range((is_index, need, 0)..(is_index, usize::MAX, 0)).next().map(|(&key, ())| key);
        let largest = || free.range((is_index, 0, 0)..(is_index, need, 0)).next_back().map(|(&key, ())| key);
        let slot = match fitting.or_else(largest) {
            Some(key) => {
                free.remove(&key);
                program.slots[key.2].1 = key.1.max(need);
                key.2
            }
            None => {
                program.slots.push((kind, need));
                program.slots.len() - 1
            }
        };
        program.steps[i].slot = slot;
        let mut released: SmallVec<[usize; 4]> = SmallVec::new();
        for (place, _) in &program.steps[i].operands {
            match place {
                Place::Step(operand) if last_use[*operand] == i && !released.contains(operand) => {
                    released.push(*operand);
                }
                _ => {}
            }
        }
        for operand in released {
            let slot = program.steps[operand].slot;
            free.insert((program.slots[slot].0 == Kind::Index, program.slots[slot].1, slot), ());
        }
    }
}
