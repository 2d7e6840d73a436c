//! The order of axes, which decides how a program goes through its arrays: directions innermost, samples in front. Both are
//! one thing: an axis is moved to an end, where it begins, and followed from operation to operation.
//!
//! **Directions.** A Hessian is recorded as a Hessian-vector product mapped over unit directions, whose axis stands in front:
//! arrays are `[direction, sample, …]`. Computed like that, each direction goes through all samples, and what does not depend
//! on the direction is read again for each. Moved behind all others, arrays are `[sample, …, direction]`: a program then goes
//! through the samples once, block by block, all directions of a sample are one vector, and what does not depend on them is
//! one number beside it. The axis begins at [`Leaf::Units`].
//!
//! **Samples.** Of points `x` [10000, 4] and centres `m` [8, 4], `x - m.insert_axis(1)` is an array [8, 10000, 4], whose rows are 8
//! centres: too few to go through block by block. The axis of samples begins where `x` is repeated for each centre, and in
//! front it makes [10000, 8, 4].
//!
//! An operation that does something along the axis itself, as a product of matrices, gets its operands back in the old
//! order. For samples that is only worth it where nothing large has to be transposed for it; else arrays stay as they are.

use super::ir::{Id, Ids, Ir, Node};
use super::lower::Rewriter;
use super::plan::{LARGE, MANY_ROWS};
use crate::op::elementwise::{Binary, Elementwise};
use crate::op::indexing::Indexing;
use crate::op::linalg::MatMul;
use crate::op::movement::Movement;
use crate::op::reduce::{By, Reduce};
use crate::op::scan::Scan;
use crate::op::softmax::Softmax;
use crate::op::{Leaf, Op};
use crate::tensor::{Axes, Shape, size};

/// The same outputs from the same inputs, with the directions of Hessians innermost.
pub(super) fn directions_last(plain: &Ir) -> Ir {
    with_axis_at(plain, End::Last)
}

/// The same outputs from the same inputs, with samples in front, or as it was.
pub(super) fn samples_first(plain: Ir) -> Ir {
    let begins =
        |node: &Node| matches!(&node.op, Op::Movement(movement) if repeated_samples(movement, &plain, node).is_some());
    if !plain.nodes.iter().any(begins) {
        return plain;
    }
    let moved = with_axis_at(&plain, End::First);
    let transposed = |ir: &Ir| -> usize {
        let transposes = ir.nodes.iter().filter(|node| matches!(node.op, Op::Movement(Movement::Transpose(_))));
        transposes.map(|node| size(&node.shape)).filter(|&size| size >= LARGE).sum()
    };
    if transposed(&moved) <= transposed(&plain) { moved } else { plain }
}

/// The axis of samples of an array that is repeated in front of them.
fn repeated_samples(movement: &Movement, ir: &Ir, node: &Node) -> Option<usize> {
    let Movement::Broadcast { shape, axes } = movement else { return None };
    let samples = *ir.nodes[node.operands[0]].shape.first()?;
    let axis = axes[0];
    let many = samples >= MANY_ROWS && samples > size(&shape[..axis]);
    (axis > 0 && many && size(shape) >= LARGE).then_some(axis)
}

fn with_axis_at(plain: &Ir, end: End) -> Ir {
    let mut to = Moving {
        end,
        from: plain,
        ir: Ir::with_capacity(plain.nodes.len()),
        versions: Vec::with_capacity(plain.nodes.len()),
    };
    let mut inputs = plain.inputs.iter().peekable();
    for (id, node) in plain.nodes.iter().enumerate() {
        let versions = if inputs.next_if_eq(&&id).is_some() {
            Versions { in_order: Some(to.ir.input(node)), moved: None }
        } else {
            to.moved(id).unwrap_or_else(|| {
                let operands: Ids = node.operands.iter().map(|&operand| to.in_order(operand)).collect();
                Versions { in_order: Some(to.emit(id, node.op.clone(), &operands)), moved: None }
            })
        };
        to.versions.push(versions);
    }
    to.ir.outputs = plain.outputs.iter().map(|&output| to.in_order(output)).collect();
    to.ir.without_dead()
}

/// Where the axis is moved to.
#[derive(Clone, Copy, PartialEq)]
enum End {
    First,
    Last,
}

impl End {
    /// A shape, or a list of one thing for each axis, with that of `lane` moved.
    fn moved<T: Copy>(self, lane: usize, of_axes: &[T]) -> impl Iterator<Item = T> {
        let others = of_axes[..lane].iter().chain(&of_axes[lane + 1..]).copied();
        let (first, last) = match self {
            End::First => (Some(of_axes[lane]), None),
            End::Last => (None, Some(of_axes[lane])),
        };
        first.into_iter().chain(others).chain(last)
    }

    /// The number of the lane, once it is there.
    fn lane(self, rank: usize) -> usize {
        match self {
            End::First => 0,
            End::Last => rank - 1,
        }
    }

    /// The number of another axis then: of axes 0, 1, 2, 3 without lane 1 in front, or behind, axes 0, 2 and 3 are 1, 2 and 3, or
    /// 0, 1 and 2.
    fn other(self, axis: usize, lane: usize) -> usize {
        match self {
            End::First => axis + usize::from(axis < lane),
            End::Last => axis - usize::from(axis > lane),
        }
    }

    /// `lane` and other axes, in the order of their numbers before, as they are numbered then.
    fn with_others(self, rank: usize, others: impl Iterator<Item = usize>) -> Axes {
        match self {
            End::First => std::iter::once(0).chain(others).collect(),
            End::Last => others.chain([rank - 1]).collect(),
        }
    }
}

struct Moving<'a> {
    end: End,
    from: &'a Ir,
    ir: Ir,
    /// What each node has become.
    versions: Vec<Versions>,
}

#[derive(Clone, Copy)]
struct Versions {
    in_order: Option<Id>,
    moved: Option<Moved>,
}

/// A node whose axis `lane` has been moved to the end.
#[derive(Clone, Copy)]
struct Moved {
    id: Id,
    lane: usize,
}

impl Moving<'_> {
    fn emit(&mut self, at: Id, op: Op, operands: &[Id]) -> Id {
        Rewriter { ir: &mut self.ir, location: self.from.nodes[at].location }.emit(op, operands)
    }

    fn shape(&self, id: Id) -> Shape {
        self.from.nodes[id].shape.clone()
    }

    fn lane(&self, id: Id) -> Option<usize> {
        self.versions[id].moved.map(|moved| moved.lane)
    }

    fn movement(&mut self, at: Id, movement: Movement, x: Id) -> Id {
        self.emit(at, Op::Movement(movement), &[x])
    }

    /// The node as it was.
    fn in_order(&mut self, id: Id) -> Id {
        if let Some(id) = self.versions[id].in_order {
            return id;
        }
        let Moved { id: moved, lane } = self.versions[id].moved.expect("every node has a version");
        let (end, rank) = (self.end, self.from.nodes[id].shape.len());
        let axes = (0..rank).map(|axis| if axis == lane { end.lane(rank) } else { end.other(axis, lane) }).collect();
        let result = self.movement(id, Movement::Transpose(axes), moved);
        self.versions[id].in_order = Some(result);
        result
    }

    /// The node with its axis `lane` at the end.
    fn with_lane(&mut self, id: Id, lane: usize) -> Id {
        if let Some(moved) = self.versions[id].moved.filter(|moved| moved.lane == lane) {
            return moved.id;
        }
        let shape = self.shape(id);
        let rank = shape.len();
        let moved_shape: Shape = self.end.moved(lane, &shape).collect();
        let node = &self.from.nodes[id];
        match &node.op {
            &Op::Leaf(Leaf::Fill { bits, dtype, .. }) => {
                let fill = Leaf::Fill { bits, dtype, shape: moved_shape };
                return self.emit(id, Op::Leaf(fill), &[]);
            }
            // What is repeated along the lanes.
            Op::Movement(Movement::Broadcast { axes, .. }) if !axes.contains(&lane) => {
                let axes = axes.iter().map(|&axis| self.end.other(axis, lane)).collect();
                let inner = self.in_order(node.operands[0]);
                return self.movement(id, Movement::Broadcast { shape: moved_shape, axes }, inner);
            }
            _ => {}
        }
        let inner = self.in_order(id);
        let in_order: Axes = (0..rank).collect();
        self.movement(id, Movement::Transpose(self.end.moved(lane, &in_order).collect()), inner)
    }

    /// A product of stacks of matrices. For lanes to be last, some axis must have length 1: then it is a product of numbers, and
    /// needs no library.
    fn product(&mut self, id: Id, MatMul { transpose_a, transpose_b, .. }: MatMul) -> Option<Moved> {
        let operands = self.from.nodes[id].operands.clone();
        let (a, b, result) = (self.shape(operands[0]), self.shape(operands[1]), self.shape(id));
        let rank = result.len();
        // The lanes have to be of the stack.
        let lane = operands.iter().find_map(|&operand| self.lane(operand)).filter(|&lane| lane + 2 < rank)?;
        if self.end == End::First {
            // A stack of products, in another order.
            let left = self.with_lane(operands[0], lane);
            let right = if b.len() == rank { self.with_lane(operands[1], lane) } else { self.in_order(operands[1]) };
            let op = self.from.nodes[id].op.clone();
            return Some(Moved { id: self.emit(id, op, &[left, right]), lane });
        }
        let k = if transpose_a { a[rank - 2] } else { a[rank - 1] };
        let (m, n) = (result[rank - 2], result[rank - 1]);
        if b.len() != rank && lane != 0 || (k != 1 && m != 1 && n != 1) {
            return None;
        }
        // All of a·b before the sum: the stack without lanes, then m, k and n with k where both operands keep the order of
        // their axes, then lanes.
        let depth = rank - 3;
        let (of_k, of_m, of_n) = match (transpose_a, transpose_b) {
            (true, false) => (depth, depth + 1, depth + 2),
            (false, true) => (depth + 2, depth, depth + 1),
            _ => (depth + 1, depth, depth + 2),
        };
        let stack = result[..rank - 2].iter().enumerate().filter(|(axis, _)| *axis != lane).map(|(_, &length)| length);
        let mut whole: Shape = stack.chain([1, 1, 1, result[lane]]).collect();
        (whole[of_k], whole[of_m], whole[of_n]) = (k, m, n);
        let axes = |transposed: bool, first: usize, second: usize| -> Axes {
            let (first, second) = if transposed { (second, first) } else { (first, second) };
            (0..depth).chain([first, second, depth + 3]).collect()
        };
        let (a_axes, b_axes) = (axes(transpose_a, of_m, of_k), axes(transpose_b, of_k, of_n));
        let left = self.with_lane(operands[0], lane);
        let right = if b.len() == rank {
            self.with_lane(operands[1], lane)
        } else {
            let inner = self.in_order(operands[1]);
            let shape: Shape = whole[..depth].iter().chain(&b).chain([&result[lane]]).copied().collect();
            self.movement(id, Movement::Broadcast { shape, axes: [depth, depth + 1].into_iter().collect() }, inner)
        };
        let left = self.placed(id, left, &whole, &a_axes);
        let right = self.placed(id, right, &whole, &b_axes);
        let product = self.emit(id, Op::Elementwise(Elementwise::Binary(Binary::Times)), &[left, right]);
        let sum = Reduce { by: By::Sum, axes: [of_k].into_iter().collect() };
        Some(Moved { id: self.emit(id, Op::Reduce(sum), &[product]), lane })
    }

    /// Axis i of x as axis `axes[i]` of an array of a certain shape, repeated along the others.
    fn placed(&mut self, id: Id, x: Id, shape: &Shape, axes: &Axes) -> Id {
        let mut order: Axes = (0..axes.len()).collect();
        order.sort_by_key(|&i| axes[i]);
        let mut sorted = axes.clone();
        sorted.sort_unstable();
        let x = self.movement(id, Movement::Transpose(order), x);
        self.movement(id, Movement::Broadcast { shape: shape.clone(), axes: sorted }, x)
    }

    /// The node with its lanes at the end, if it has any and its operation lets them be.
    fn moved(&mut self, id: Id) -> Option<Versions> {
        if let Some(sum) = self.sum_over_samples(id) {
            return Some(Versions { in_order: Some(sum), moved: None });
        }
        let moved = self.with_lanes(id)?;
        Some(Versions { in_order: None, moved: Some(moved) })
    }

    /// A sum over samples in front, which is one over rows.
    fn sum_over_samples(&mut self, id: Id) -> Option<Id> {
        let (end, node) = (self.end, &self.from.nodes[id]);
        let Op::Reduce(Reduce { by: By::Sum, axes }) = &node.op else { return None };
        let lane = self.lane(node.operands[0]).filter(|lane| end == End::First && axes.contains(lane))?;
        let others = axes.iter().filter(|&&axis| axis != lane).map(|&axis| end.other(axis, lane));
        let axes = end.with_others(self.shape(node.operands[0]).len(), others);
        let operand = self.with_lane(node.operands[0], lane);
        Some(self.emit(id, Op::Reduce(Reduce { by: By::Sum, axes }), &[operand]))
    }

    fn with_lanes(&mut self, id: Id) -> Option<Moved> {
        let node = &self.from.nodes[id];
        let shape = &node.shape;
        let operands = node.operands.clone();
        if let (Op::Leaf(Leaf::Units { dtype, shape }), End::Last) = (&node.op, self.end) {
            // Directions in front. Behind, the same matrix has them last, since it is symmetric.
            if shape.first() != Some(&size(&shape[1..])) {
                return None;
            }
            let units = Leaf::Units { dtype: *dtype, shape: self.end.moved(0, shape).collect() };
            return Some(Moved { id: self.emit(id, Op::Leaf(units), &[]), lane: 0 });
        }
        let end = self.end;
        let begins = |&operand: &Id| self.lane(operand).is_none();
        if let (Op::Movement(movement @ Movement::Broadcast { shape, axes }), End::First) = (&node.op, end)
            && operands.iter().all(begins)
            && let Some(lane) = repeated_samples(movement, self.from, node)
        {
            let axes = end.with_others(shape.len(), axes[1..].iter().map(|&axis| end.other(axis, lane)));
            let shape = end.moved(lane, shape).collect();
            let inner = self.in_order(operands[0]);
            return Some(Moved { id: self.movement(id, Movement::Broadcast { shape, axes }, inner), lane });
        }
        let (from, lane) = operands.iter().find_map(|&operand| self.lane(operand).map(|lane| (operand, lane)))?;
        let source = self.shape(from);
        // The operation on moved arrays, where the lanes were in its result, and how many of its operands are taken with their
        // lanes last: all; the first, as of a gather, whose indices have none; or, if they are last already, none.
        let (op, result, to_move) = match &node.op {
            op @ (Op::Elementwise(_) | Op::Checked(_) | Op::Cast(_)) => (op.clone(), lane, operands.len()),
            &Op::Scan(Scan { axis, reverse, shifted }) if axis != lane => {
                (Op::Scan(Scan { axis: end.other(axis, lane), reverse, shifted }), lane, operands.len())
            }
            &Op::Softmax(Softmax { part, axis }) if axis != lane => {
                (Op::Softmax(Softmax { part, axis: end.other(axis, lane) }), lane, operands.len())
            }
            Op::Reduce(Reduce { by, axes }) if !axes.contains(&lane) => {
                let result = lane - axes.iter().filter(|&&axis| axis < lane).count();
                let axes = axes.iter().map(|&axis| end.other(axis, lane)).collect();
                (Op::Reduce(Reduce { by: *by, axes }), result, 1)
            }
            Op::Movement(movement) => {
                let (movement, result) = move_lanes(end, movement, lane, &source, shape)?;
                (Op::Movement(movement), result, operands.len())
            }
            Op::Indexing(gather @ Indexing::Gather { axis, .. }) => {
                let (dims, rank) = (operands.len() - 1, self.shape(operands[1]).len());
                let result = lane_after_replacing(lane, *axis, dims, rank)?;
                (Op::Indexing(gather.at(end.other(*axis, lane))), result, 1)
            }
            Op::Indexing(scatter @ Indexing::ScatterAdd { axis, dims, .. }) => {
                let rank = self.shape(operands[1]).len();
                let result = lane_after_replacing(lane, *axis, rank, dims.len())?;
                (Op::Indexing(scatter.at(end.other(*axis, lane))), result, 1)
            }
            Op::Solve(_) | Op::SolveTriangular(_)
                if end == End::Last && self.lane(operands[0]).is_none() && lane == shape.len() - 1 =>
            {
                (node.op.clone(), lane, 0)
            }
            Op::MatMul(product) if !product.summed => return self.product(id, *product),
            _ => return None,
        };
        let mut moved: Ids = Ids::new();
        for (i, &operand) in operands.iter().enumerate() {
            moved.push(if i < to_move { self.with_lane(operand, lane) } else { self.in_order(operand) });
        }
        Some(Moved { id: self.emit(id, op, &moved), lane: result })
    }
}

/// Where the lane is after `from` axes that begin at `axis` have become `to`; `None` if it is one of them. A gather along axis
/// 0 at indices of shape [5, 7] makes [5, 7, 4] of [3, 4]: one axis has become two, and lane 1 is 2.
fn lane_after_replacing(lane: usize, axis: usize, from: usize, to: usize) -> Option<usize> {
    match lane {
        lane if lane < axis => Some(lane),
        lane if lane >= axis + from => Some(lane - from + to),
        _ => None,
    }
}

/// The movement of arrays whose lanes are at the end, and where they were in its result.
fn move_lanes(end: End, movement: &Movement, lane: usize, from: &[usize], to: &[usize]) -> Option<(Movement, usize)> {
    Some(match movement {
        Movement::Broadcast { shape, axes } => {
            let result = axes[lane];
            let others = axes.iter().filter(|&&axis| axis != result).map(|&axis| end.other(axis, result));
            let axes = end.with_others(shape.len(), others);
            (Movement::Broadcast { shape: end.moved(result, shape).collect(), axes }, result)
        }
        Movement::Reshape(shape) => {
            let before: usize = from[..lane].iter().product();
            let here = |&axis: &usize| shape[axis] == from[lane] && shape[..axis].iter().product::<usize>() == before;
            let result = (0..shape.len()).find(here)?;
            (Movement::Reshape(end.moved(result, shape).collect()), result)
        }
        Movement::Transpose(axes) => {
            let result = axes.iter().position(|&axis| axis == lane)?;
            let others = axes.iter().filter(|&&axis| axis != lane).map(|&axis| end.other(axis, lane));
            (Movement::Transpose(end.with_others(to.len(), others)), result)
        }
        &Movement::Slice { axis, start, end: stop } if axis != lane => {
            (Movement::Slice { axis: end.other(axis, lane), start, end: stop }, lane)
        }
        &Movement::Pad { axis, before, after } if axis != lane => {
            (Movement::Pad { axis: end.other(axis, lane), before, after }, lane)
        }
        &Movement::Shift { axis, later } if axis != lane => {
            (Movement::Shift { axis: end.other(axis, lane), later }, lane)
        }
        &Movement::Concat { axis } if axis != lane => (Movement::Concat { axis: end.other(axis, lane) }, lane),
        &Movement::Flip { axis } if axis != lane => (Movement::Flip { axis: end.other(axis, lane) }, lane),
        _ => return None,
    })
}
