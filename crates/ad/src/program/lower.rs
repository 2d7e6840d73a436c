//! Lowering: the same numbers by less work. A table of rules, each of which reads like algebra and points towards the
//! smaller array or the earlier end; [`lower`] applies them to each operation as it is rebuilt, operands first.
//!
//! A rule looks at an operation and at what its operands are, and answers with an equal node, or not. To add one, write a
//! function below its heading and list it in [`rules`]. Two that point both ways never end.
//!
//! What the rules promise: where the recorded operations make finite numbers (and would of the magnitudes of what they sum),
//! so does the program, and the same within rounding; and a NaN or an infinity that they make of one is not lost. So 0.25
//! does not leave Σ 0.25·x, where x may be 10³⁰⁸ four times, but 4 leaves Σ 4·x. Rules that are worth more than that make
//! products that are watched (`op/checked.rs`): where one leaves the range of numbers, the program runs as recorded. There
//! is no rule for x·0 or x − x, which may be a NaN. Not promised are the sign of a zero, and a NaN or an infinity of numbers
//! that nobody looks up.

use std::panic::Location;

use smallvec::SmallVec;

use super::flatten::flatten;
use super::ir::{Id, Ids, Ir};
use super::lanes::lanes_last;
use crate::dtype::DType;
use crate::op::barrier::Barrier;
use crate::op::checked::Checked;
use crate::op::elementwise::{Binary, Compare, Elementwise, Unary};
use crate::op::indexing::Indexing;
use crate::op::linalg::{Factor, MatMul, Solve};
use crate::op::movement::Movement;
use crate::op::reduce::{By, Reduce};
use crate::op::{Leaf, Op, Operand};
use crate::real::Real;
use crate::tensor::{Axes, Shape, size};

/// The same outputs from the same inputs, simplified, and with the directions of a Hessian innermost.
pub(super) fn lower(plain: &Ir) -> Ir {
    let simple = simplify(plain);
    let has_units = simple.nodes.iter().any(|node| matches!(node.op, Op::Leaf(Leaf::Units { .. })));
    flatten(if has_units { lanes_last(&simple) } else { simple })
}

fn simplify(plain: &Ir) -> Ir {
    plain.rebuilt(|ir, node, operands| Lowering { ir, location: node.location }.emit(node.op.clone(), operands))
}

type Rule = fn(&mut Lowering<'_>, &Op, &[Id]) -> Option<Id>;

/// The table, in the order in which rules are tried.
fn rules() -> &'static [(&'static str, Rule)] {
    &[
        ("box(x) = 1", magic_box),
        ("f(1, 2, …) = its value, where all operands are one number everywhere", fold),
        ("x·1 = x/1 = x + 0 = x − 0 = x,  0 − x = x·(−1) = −x,  −(−x) = x", neutral),
        ("x + (−y) = x − y,  x − (−y) = x + y,  x^1 = x", subtract),
        ("c·x = x·c,  (x·c)·d = x·(c·d),  (−x)·y = −(x·y)", scale),
        ("reshape, transpose, slice, broadcast: two in a row are one, and those that do nothing are none", move_once),
        ("f(broadcast x) = broadcast f(x)", broadcast_late),
        ("(x·broadcast a)·broadcast b = x·broadcast(a·b), and so for a number b", scale_repeated),
        ("x·broadcast a ± x·broadcast b = x·broadcast(a ± b)", factor_out),
        ("x·c + x·d = x·(c + d) for numbers of one sign, as in x + x", collect),
        ("slice(broadcast x) = broadcast(slice x), and so for pad and shift", move_before_broadcast),
        ("Σ over axes of length 1 = reshape", sum_of_one),
        ("Σ broadcast x = n·x", sum_of_repeated),
        ("Σ_k broadcast x · broadcast y = a matrix product", sum_of_products),
        (
            "Σ x·c = c·Σ x for |c| ≥ 1, and so for scatter, scan (−1), shift, reshape and transpose (any c)",
            constant_out,
        ),
        ("f(gather x) = gather f(x)", gather_late),
        ("scatter(x·gather(y, i), i) = y·scatter(x, i)", scatter_of_gathered),
        ("slice(pad x) = x", slice_of_pad),
        ("Xᵀ·Y by flags", matmul_of_transposed),
        ("reshape(reshape(A)·B) = A·B of a stack", stacked_product),
        ("reshape(A)ᵀ·reshape(G) = Σ AᵀG over a stack", sum_over_stack),
        ("A⁻¹·b by a factorisation of A, which all solutions share", solve_by_factor),
        ("Σ over the axes in turn = Σ at once", sum_once),
        ("gather(broadcast x) = broadcast(gather x), and so for scatter", index_of_repeated),
    ]
}

pub(super) struct Lowering<'a> {
    pub ir: &'a mut Ir,
    pub location: &'static Location<'static>,
}

impl Lowering<'_> {
    /// The node of an operation, simplified.
    pub fn emit(&mut self, op: Op, operands: &[Id]) -> Id {
        for (_, rule) in rules() {
            if let Some(id) = rule(self, &op, operands) {
                return id;
            }
        }
        self.ir.node(op, operands, self.location)
    }

    fn op(&self, id: Id) -> &Op {
        &self.ir.nodes[id].op
    }

    fn operands(&self, id: Id) -> Ids {
        self.ir.nodes[id].operands.clone()
    }

    fn shape(&self, id: Id) -> Shape {
        self.ir.nodes[id].shape.clone()
    }

    fn size(&self, id: Id) -> usize {
        size(&self.ir.nodes[id].shape)
    }

    fn dtype(&self, id: Id) -> DType {
        self.ir.nodes[id].dtype
    }

    /// A number everywhere, of the type of a node.
    fn fill(&mut self, like: Id, number: f64, shape: &[usize]) -> Id {
        let fill = Leaf::fill(number, self.dtype(like), shape);
        self.ir.node(Op::Leaf(fill), &[], self.location)
    }

    /// The number, if the node is one number everywhere.
    fn as_number(&self, id: Id) -> Option<f64> {
        match self.op(id) {
            Op::Leaf(Leaf::Fill { bits, .. }) => Some(f64::from_bits(*bits)),
            _ => None,
        }
    }

    /// (x, c), if the node is x·c for a finite number c (which is on the right, see [`scale`]), or −x.
    fn as_scaled(&self, id: Id) -> Option<(Id, f64)> {
        let operands = self.operands(id);
        match self.op(id) {
            Op::Elementwise(Elementwise::Binary(Binary::Times)) => {
                let c = self.as_number(operands[1]).filter(|c| c.is_finite())?;
                Some((operands[0], c))
            }
            Op::Elementwise(Elementwise::Unary(Unary::Negate)) => Some((operands[0], -1.0)),
            _ => None,
        }
    }

    /// (x, axes), if the node is a broadcast.
    fn as_broadcast(&self, id: Id) -> Option<(Id, Axes)> {
        match self.op(id) {
            Op::Movement(Movement::Broadcast { axes, .. }) => Some((self.operands(id)[0], axes.clone())),
            _ => None,
        }
    }

    fn times(&mut self, a: Id, b: Id) -> Id {
        self.emit(Op::Elementwise(Elementwise::Binary(Binary::Times)), &[a, b])
    }

    fn scaled(&mut self, x: Id, c: f64) -> Id {
        let c = self.fill(x, c, &self.shape(x));
        self.times(x, c)
    }

    fn broadcast(&mut self, x: Id, shape: &[usize], axes: &[usize]) -> Id {
        self.emit(Op::Movement(Movement::Broadcast { shape: shape.into(), axes: axes.into() }), &[x])
    }

    fn sum(&mut self, x: Id, axes: &[usize]) -> Id {
        if axes.is_empty() { x } else { self.emit(Op::Reduce(Reduce { by: By::Sum, axes: axes.into() }), &[x]) }
    }
}

// Numbers.

fn magic_box(to: &mut Lowering<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    match op {
        Op::Barrier(Barrier::MagicBox) => {
            let shape = to.shape(x[0]);
            Some(to.fill(x[0], 1.0, &shape))
        }
        Op::Barrier(_) => Some(x[0]),
        _ => None,
    }
}

fn fold(to: &mut Lowering<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let numbers: Option<Vec<f64>> = x.iter().map(|&id| to.as_number(id)).collect();
    let numbers = numbers.filter(|numbers| !numbers.is_empty())?;
    let shapes: SmallVec<[Shape; 3]> = x.iter().map(|&id| to.shape(id)).collect();
    let result = op.rules().shape(&shapes.iter().map(Shape::as_slice).collect::<SmallVec<[&[usize]; 3]>>()).ok()?;
    let number = match op {
        Op::Elementwise(_) => value_of(op, to.dtype(x[0]), &numbers)?,
        Op::Cast(_) => numbers[0],
        // Only movements that bring in nothing of their own.
        Op::Movement(
            Movement::Broadcast { .. } | Movement::Reshape(_) | Movement::Transpose(_) | Movement::Slice { .. },
        ) => numbers[0],
        Op::Reduce(reduce) if reduce.by == By::Sum => {
            let count: usize = reduce.axes.iter().map(|&axis| shapes[0][axis]).product();
            if count == 0 { 0.0 } else { numbers[0] * count as f64 }
        }
        _ => return None,
    };
    let dtypes: SmallVec<[DType; 4]> = x.iter().map(|&id| to.dtype(id)).collect();
    let fill = Leaf::fill(number, op.rules().dtype(&dtypes).ok()?, &result);
    Some(to.ir.node(Op::Leaf(fill), &[], to.location))
}

/// An operation on numbers of a type.
fn value_of(op: &Op, dtype: DType, numbers: &[f64]) -> Option<f64> {
    fn compute<T: Real>(op: &Op, numbers: &[f64]) -> Option<f64> {
        let numbers: SmallVec<[T; 3]> = numbers.iter().map(|&x| T::of(x)).collect();
        let operand = |x| Operand { data: T::as_slice(std::slice::from_ref(x)), shape: &[], repeat: None };
        let operands: SmallVec<[Operand<'_>; 3]> = numbers.iter().map(operand).collect();
        let mut result = [T::zero()];
        op.rules().forward(&operands, &[], T::as_slice_mut(&mut result)).ok()?;
        Some(result[0].as_f64())
    }
    if dtype == DType::F32 { compute::<f32>(op, numbers) } else { compute::<f64>(op, numbers) }
}

fn neutral(to: &mut Lowering<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    use Binary::{Minus, Over, Plus, Times};
    let number = |i: usize| x.get(i).and_then(|&id| to.as_number(id));
    let negated = |to: &mut Lowering<'_>, x: Id| to.emit(Op::Elementwise(Elementwise::Unary(Unary::Negate)), &[x]);
    match op {
        Op::Elementwise(Elementwise::Binary(op)) => match (op, number(0), number(1)) {
            (Times | Over, _, Some(c)) if c == 1.0 => Some(x[0]),
            (Plus | Minus, _, Some(c)) if c == 0.0 => Some(x[0]),
            (Times, Some(c), _) if c == 1.0 => Some(x[1]),
            (Plus, Some(c), _) if c == 0.0 => Some(x[1]),
            (Minus, Some(c), _) if c == 0.0 => Some(negated(to, x[1])),
            (Times, _, Some(c)) if c == -1.0 => Some(negated(to, x[0])),
            (Times, Some(c), _) if c == -1.0 => Some(negated(to, x[1])),
            _ => None,
        },
        Op::Elementwise(Elementwise::Unary(Unary::Negate)) => match to.as_scaled(x[0])? {
            (inner, c) if c == -1.0 => Some(inner),
            (inner, c) => Some(to.scaled(inner, -c)),
        },
        _ => None,
    }
}

fn subtract(to: &mut Lowering<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let negated = |to: &Lowering<'_>, id: Id| match to.op(id) {
        Op::Elementwise(Elementwise::Unary(Unary::Negate)) => Some(to.operands(id)[0]),
        _ => None,
    };
    let binary = |op| Op::Elementwise(Elementwise::Binary(op));
    match op {
        Op::Elementwise(Elementwise::Power(bits)) if f64::from_bits(*bits) == 1.0 => Some(x[0]),
        Op::Elementwise(Elementwise::Binary(Binary::Plus)) => match (negated(to, x[0]), negated(to, x[1])) {
            (_, Some(y)) => Some(to.emit(binary(Binary::Minus), &[x[0], y])),
            (Some(y), None) => Some(to.emit(binary(Binary::Minus), &[x[1], y])),
            _ => None,
        },
        Op::Elementwise(Elementwise::Binary(Binary::Minus)) => {
            let y = negated(to, x[1])?;
            Some(to.emit(binary(Binary::Plus), &[x[0], y]))
        }
        _ => None,
    }
}

fn scale(to: &mut Lowering<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Elementwise(Elementwise::Binary(Binary::Times)) = op else { return None };
    if to.as_number(x[0]).is_some() {
        return Some(to.times(x[1], x[0]));
    }
    if let (Some((inner, c)), Some(d)) = (to.as_scaled(x[0]), to.as_number(x[1])) {
        // A product of constants that overflows or vanishes would change the result.
        let product = to.dtype(inner).round(c * d);
        return to.dtype(inner).is_normal(product).then(|| to.scaled(inner, product));
    }
    // Only a sign leaves a product: x·y may overflow or vanish where (x·c)·y does not.
    (0..2).find_map(|i| {
        let (inner, _) = to.as_scaled(x[i]).filter(|(_, c)| *c == -1.0)?;
        let product = to.times(inner, x[1 - i]);
        Some(to.scaled(product, -1.0))
    })
}

fn constant_out(to: &mut Lowering<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let (inner, c) = to.as_scaled(*x.first()?)?;
    let leaves = match op {
        // What else enters at an end is no multiple of c.
        Op::Movement(Movement::Shift { .. }) => x.len() == 1,
        Op::Movement(Movement::Reshape(_) | Movement::Transpose(_)) => true,
        // Its products with a factor may vanish where multiples of them do not.
        Op::Scan(_) => x.len() == 2 && c.abs() == 1.0,
        // Where Σ x overflows, so does Σ x·c.
        Op::Reduce(Reduce { by: By::Sum, .. }) | Op::Indexing(Indexing::ScatterAdd { .. }) => c.abs() >= 1.0,
        _ => false,
    };
    if !leaves {
        return None;
    }
    let mut operands = Ids::from_slice(x);
    operands[0] = inner;
    let result = to.emit(op.clone(), &operands);
    Some(to.scaled(result, c))
}

// Movements.

fn move_once(to: &mut Lowering<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Movement(movement) = op else { return None };
    let shape = to.shape(x[0]);
    let result = op.rules().shape(&x.iter().map(|&id| &*to.ir.nodes[id].shape).collect::<Vec<_>>()).ok()?;
    let inner = to.op(x[0]).clone();
    let below = to.operands(x[0]);
    match (movement, &inner) {
        (Movement::Reshape(_), _) if result == shape => Some(x[0]),
        (Movement::Reshape(_), Op::Leaf(Leaf::Units { .. })) if !result.is_empty() => {
            let units = Leaf::Units { dtype: to.dtype(x[0]), shape: result };
            Some(to.ir.node(Op::Leaf(units), &[], to.location))
        }
        (Movement::Reshape(_), Op::Movement(Movement::Reshape(_))) => Some(to.emit(op.clone(), &below)),
        (Movement::Transpose(axes), _) if axes.iter().copied().eq(0..shape.len()) => Some(x[0]),
        (Movement::Transpose(axes), Op::Movement(Movement::Transpose(first))) => {
            let both = axes.iter().map(|&axis| first[axis]).collect();
            Some(to.emit(Op::Movement(Movement::Transpose(both)), &below))
        }
        // Entries keep their order where only axes of length 1 move.
        (Movement::Transpose(axes), _) if axes.iter().filter(|&&axis| shape[axis] != 1).is_sorted() => {
            Some(to.emit(Op::Movement(Movement::Reshape(result)), x))
        }
        (Movement::Broadcast { axes, .. }, _) if axes.len() == result.len() => Some(x[0]),
        (Movement::Broadcast { axes, .. }, Op::Movement(Movement::Broadcast { axes: first, .. })) => {
            let both: Axes = first.iter().map(|&axis| axes[axis]).collect();
            Some(to.broadcast(below[0], &result, &both))
        }
        (Movement::Slice { axis, start, .. }, _) if *start == 0 && result[*axis] == shape[*axis] => Some(x[0]),
        (Movement::Pad { before: 0, after: 0, .. }, _) => Some(x[0]),
        (Movement::Concat { .. }, _) if x.len() == 1 => Some(x[0]),
        _ => None,
    }
}

fn slice_of_pad(to: &mut Lowering<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Movement(Movement::Slice { axis, start, end }) = op else { return None };
    let Op::Movement(Movement::Pad { axis: padded, before, .. }) = to.op(x[0]) else { return None };
    let (before, inner) = (*before, to.operands(x[0])[0]);
    let length = to.shape(inner)[*axis];
    (axis == padded && *start >= before && *end <= before + length).then(|| {
        let slice = Movement::Slice { axis: *axis, start: start - before, end: end - before };
        to.emit(Op::Movement(slice), &[inner])
    })
}

fn broadcast_late(to: &mut Lowering<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let (Op::Elementwise(_) | Op::Checked(_) | Op::Cast(_)) = op else { return None };
    // The operand with the most axes decides, if all others are numbers or broadcast from some of its axes.
    let shape = to.shape(x[0]);
    let parts: Vec<Option<(Id, Axes)>> = x.iter().map(|&id| to.as_broadcast(id)).collect();
    let widest = parts.iter().flatten().map(|(_, axes)| axes.clone()).max_by_key(|axes| axes.len())?;
    let fits = x.iter().zip(&parts).all(|(&id, part)| match part {
        Some((_, axes)) => axes.iter().all(|axis| widest.contains(axis)),
        None => to.as_number(id).is_some(),
    });
    if !fits {
        return None;
    }
    let small: Shape = widest.iter().map(|&axis| shape[axis]).collect();
    let operands: Ids = x
        .iter()
        .zip(&parts)
        .map(|(&id, part)| match part {
            Some((inner, axes)) => {
                let within: Axes =
                    axes.iter().map(|axis| widest.iter().position(|other| other == axis).unwrap_or(0)).collect();
                to.broadcast(*inner, &small, &within)
            }
            None => {
                let number = to.as_number(id).unwrap_or(f64::NAN);
                to.fill(id, number, &small)
            }
        })
        .collect();
    let result = to.emit(op.clone(), &operands);
    Some(to.broadcast(result, &shape, &widest))
}

fn move_before_broadcast(to: &mut Lowering<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Movement(
        movement @ (Movement::Slice { axis, .. } | Movement::Pad { axis, .. } | Movement::Shift { axis, .. }),
    ) = op
    else {
        return None;
    };
    let &[whole] = x else { return None };
    let (inner, axes) = to.as_broadcast(whole)?;
    let shape = op.rules().shape(&[&to.shape(whole)]).ok()?;
    let inner = match (axes.iter().position(|kept| kept == axis), movement) {
        (Some(axis), &Movement::Slice { start, end, .. }) => {
            to.emit(Op::Movement(Movement::Slice { axis, start, end }), &[inner])
        }
        (Some(axis), &Movement::Pad { before, after, .. }) => {
            to.emit(Op::Movement(Movement::Pad { axis, before, after }), &[inner])
        }
        (Some(axis), &Movement::Shift { later, .. }) => {
            to.emit(Op::Movement(Movement::Shift { axis, later }), &[inner])
        }
        (None, Movement::Slice { .. }) => inner,
        _ => return None,
    };
    Some(to.broadcast(inner, &shape, &axes))
}

// Factors that are repeated.

/// A product of which one factor is repeated: (the other, what is repeated, along which axes it is not).
fn as_times_repeated(to: &Lowering<'_>, id: Id) -> Option<(Id, Id, Axes)> {
    let Op::Elementwise(Elementwise::Binary(Binary::Times)) = to.op(id) else { return None };
    let factors = to.operands(id);
    (0..2).find_map(|i| to.as_broadcast(factors[i]).map(|(inner, axes)| (factors[1 - i], inner, axes)))
}

fn scale_repeated(to: &mut Lowering<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Elementwise(Elementwise::Binary(Binary::Times)) = op else { return None };
    let shape = to.shape(x[0]);
    (0..2).find_map(|i| {
        let (other, a, axes) = as_times_repeated(to, x[i])?;
        let small = to.shape(a);
        let b = match (to.as_broadcast(x[1 - i]), to.as_number(x[1 - i])) {
            (Some((b, same)), _) if same == axes => b,
            (None, Some(number)) if number.is_finite() => to.fill(a, number, &small),
            _ => return None,
        };
        let product = to.emit(Op::Checked(Checked::Factor), &[a, b]);
        let product = to.broadcast(product, &shape, &axes);
        Some(to.times(other, product))
    })
}

fn factor_out(to: &mut Lowering<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Elementwise(Elementwise::Binary(Binary::Plus | Binary::Minus)) = op else { return None };
    let (left, right) = (as_times_repeated(to, x[0])?, as_times_repeated(to, x[1])?);
    if left.0 != right.0 || left.2 != right.2 {
        return None;
    }
    let factor = to.emit(op.clone(), &[left.1, right.1]);
    let factor = to.broadcast(factor, &to.shape(x[0]), &left.2);
    Some(to.emit(Op::Checked(Checked::Result), &[left.0, factor]))
}

fn collect(to: &mut Lowering<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Elementwise(Elementwise::Binary(sign @ (Binary::Plus | Binary::Minus))) = op else { return None };
    let scaled = |id: Id| to.as_scaled(id).unwrap_or((id, 1.0));
    let ((a, c), (b, d)) = (scaled(x[0]), scaled(x[1]));
    let d = if *sign == Binary::Plus { d } else { -d };
    // Of an infinite x, 3·x − x is a NaN.
    let (alike, sum) = (a == b && c * d > 0.0, to.dtype(a).round(c + d));
    (alike && to.dtype(a).is_normal(sum)).then(|| to.scaled(a, sum))
}

// Sums.

fn sum_of_one(to: &mut Lowering<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Reduce(Reduce { by: By::Sum, axes }) = op else { return None };
    let shape = to.shape(x[0]);
    let result = op.rules().shape(&[&shape]).ok()?;
    axes.iter().all(|&axis| shape[axis] == 1).then(|| to.emit(Op::Movement(Movement::Reshape(result)), x))
}

/// The axes of both factors, but for k, are the stack, and have to come first; those of one factor only are its rows or
/// columns.
fn sum_of_products(to: &mut Lowering<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    /// Below, a product is not worth a library's call.
    const FEWEST: usize = 4096;
    let Op::Reduce(Reduce { by: By::Sum, axes }) = op else { return None };
    let (&[k], Op::Elementwise(Elementwise::Binary(Binary::Times))) = (axes.as_slice(), to.op(x[0])) else {
        return None;
    };
    let shape = to.shape(x[0]);
    let factors = to.operands(x[0]);
    let (first, second) = (to.as_broadcast(factors[0])?, to.as_broadcast(factors[1])?);
    let only =
        |axes: &Axes, other: &Axes| -> Axes { axes.iter().copied().filter(|axis| !other.contains(axis)).collect() };
    // The factor whose own axes come first has the rows of the result.
    let (a, b) = if only(&first.1, &second.1) <= only(&second.1, &first.1) { (first, second) } else { (second, first) };
    let (rows, columns) = (only(&a.1, &b.1), only(&b.1, &a.1));
    let stack: Axes = a.1.iter().copied().filter(|&axis| axis != k && b.1.contains(&axis)).collect();
    let next = stack.len();
    let own: Axes = rows.iter().chain(&columns).copied().collect();
    let in_order = stack.iter().copied().eq(0..next) && own.is_sorted() && own.len() + next + 1 == shape.len();
    let length = |axes: &Axes| -> usize { axes.iter().map(|&axis| shape[axis]).product() };
    let (m, n) = (length(&rows), length(&columns));
    let both = a.1.contains(&k) && b.1.contains(&k);
    if !in_order || !both || shape[k] < 2 || m < 4 || n < 4 || size(&shape) < FEWEST {
        return None;
    }
    let k_first = |own: &Axes| own.iter().all(|&axis| k < axis);
    let k_last = |own: &Axes| own.iter().all(|&axis| k > axis);
    if !(k_first(&rows) || k_last(&rows)) || !(k_first(&columns) || k_last(&columns)) {
        return None;
    }
    let matrix = |to: &mut Lowering<'_>, factor: Id, [rows, columns]: [usize; 2]| {
        let shape = shape[..next].iter().copied().chain([rows, columns]).collect();
        to.emit(Op::Movement(Movement::Reshape(shape)), &[factor])
    };
    let flags = MatMul { transpose_a: k_first(&rows), transpose_b: k_last(&columns) };
    let left = matrix(to, a.0, if flags.transpose_a { [shape[k], m] } else { [m, shape[k]] });
    let right = matrix(to, b.0, if flags.transpose_b { [n, shape[k]] } else { [shape[k], n] });
    let product = to.emit(Op::MatMul(flags), &[left, right]);
    let result = op.rules().shape(&[&shape]).ok()?;
    Some(to.emit(Op::Movement(Movement::Reshape(result)), &[product]))
}

fn sum_of_repeated(to: &mut Lowering<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Reduce(Reduce { by: By::Sum, axes: summed }) = op else { return None };
    let (inner, axes) = to.as_broadcast(x[0])?;
    let shape = to.shape(x[0]);
    let repeated: usize = summed.iter().filter(|axis| !axes.contains(axis)).map(|&axis| shape[axis]).product();
    let kept: Axes = (0..shape.len()).filter(|axis| !summed.contains(axis)).collect();
    let result: Shape = kept.iter().map(|&axis| shape[axis]).collect();
    let within: Axes = (0..axes.len()).filter(|&i| summed.contains(&axes[i])).collect();
    let remaining: Axes = axes
        .iter()
        .filter(|axis| !summed.contains(axis))
        .filter_map(|axis| kept.iter().position(|k| k == axis))
        .collect();
    if repeated == 0 {
        return Some(to.fill(inner, 0.0, &result));
    }
    let sum = to.sum(inner, &within);
    let sum = to.scaled(sum, repeated as f64);
    Some(to.broadcast(sum, &result, &remaining))
}

fn sum_once(to: &mut Lowering<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Reduce(Reduce { by: By::Sum, axes: second }) = op else { return None };
    let Op::Reduce(Reduce { by: By::Sum, axes: first }) = to.op(x[0]) else { return None };
    let (first, inner) = (first.clone(), to.operands(x[0])[0]);
    let rank = to.shape(inner).len();
    let kept: Axes = (0..rank).filter(|axis| !first.contains(axis)).collect();
    let mut axes: Axes = first.iter().copied().chain(second.iter().map(|&axis| kept[axis])).collect();
    axes.sort_unstable();
    Some(to.sum(inner, &axes))
}

// Tables.

fn gather_late(to: &mut Lowering<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let (Op::Elementwise(_) | Op::Cast(_)) = op else { return None };
    // All operands are numbers, or gathered at the same indices from tables of one shape.
    let first = x.iter().copied().find(|&id| matches!(to.op(id), Op::Indexing(Indexing::Gather { .. })))?;
    let (gather, pattern) = (to.op(first).clone(), to.operands(first));
    let table = to.shape(pattern[0]);
    if size(&table) >= to.size(first) {
        return None;
    }
    let mut tables = Ids::new();
    for &id in x {
        if let Some(number) = to.as_number(id) {
            tables.push(to.fill(id, number, &table));
        } else if *to.op(id) == gather {
            let operands = to.operands(id);
            if operands[1..] != pattern[1..] || to.shape(operands[0]) != table {
                return None;
            }
            tables.push(operands[0]);
        } else {
            return None;
        }
    }
    let mut operands = pattern;
    operands[0] = to.emit(op.clone(), &tables);
    Some(to.emit(gather, &operands))
}

fn index_of_repeated(to: &mut Lowering<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    // Only along axes in front of those that are indexed, which a gather or a scatter carries along.
    let Op::Indexing(indexing @ (Indexing::Gather { axis, .. } | Indexing::ScatterAdd { axis, .. })) = op else {
        return None;
    };
    let (inner, axes) = to.as_broadcast(x[0])?;
    let shape = to.shape(x[0]);
    let front = axes.iter().filter(|&&kept| kept < *axis).count();
    if front == *axis || !(*axis..shape.len()).all(|kept| axes.contains(&kept)) {
        return None;
    }
    let result = op.rules().shape(&x.iter().map(|&id| &*to.ir.nodes[id].shape).collect::<Vec<_>>()).ok()?;
    let mut operands = Ids::from_slice(x);
    operands[0] = inner;
    let indexed = to.emit(Op::Indexing(indexing.at(front)), &operands);
    let kept: Axes = axes[..front].iter().copied().chain(*axis..result.len()).collect();
    Some(to.broadcast(indexed, &result, &kept))
}

fn scatter_of_gathered(to: &mut Lowering<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Indexing(Indexing::ScatterAdd { axis, dims, .. }) = op else { return None };
    let table_of = |to: &Lowering<'_>, id: Id| {
        let operands = to.operands(id);
        let same = matches!(to.op(id), Op::Indexing(Indexing::Gather { axis: at, .. }) if at == axis)
            && operands[1..] == x[1..];
        let fits = same && to.shape(operands[0])[*axis..*axis + dims.len()] == dims[..];
        fits.then(|| operands[0])
    };
    let scattered = |to: &mut Lowering<'_>, entries: Id| {
        let mut operands = Ids::from_slice(x);
        operands[0] = entries;
        to.emit(op.clone(), &operands)
    };
    if let Some(table) = table_of(to, x[0]) {
        let shape = to.shape(x[0]);
        let ones = to.fill(table, 1.0, &shape);
        let counts = scattered(to, ones);
        // A table may be infinite where nobody looks, as the likelihood ratio of an action that the behaviour policy never
        // takes: what is scattered there is 0, and 0·∞ would be a NaN that was not recorded.
        let shape = to.shape(counts);
        let zero = to.fill(table, 0.0, &shape);
        let product = to.times(counts, table);
        let is_zero = to.emit(Op::Elementwise(Elementwise::Compare(Compare::Equal)), &[counts, zero]);
        return Some(to.emit(Op::Elementwise(Elementwise::Select), &[is_zero, zero, product]));
    }
    let Op::Elementwise(Elementwise::Binary(Binary::Times)) = to.op(x[0]) else { return None };
    let factors = to.operands(x[0]);
    let (table, other) = match (table_of(to, factors[0]), table_of(to, factors[1])) {
        (Some(table), _) => (table, factors[1]),
        (None, Some(table)) => (table, factors[0]),
        _ => return None,
    };
    let sums = scattered(to, other);
    Some(to.emit(Op::Checked(Checked::Result), &[sums, table]))
}

// Products.

fn matmul_of_transposed(to: &mut Lowering<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::MatMul(MatMul { transpose_a, transpose_b }) = op else { return None };
    let last_two_exchanged = |to: &Lowering<'_>, id: Id| match to.op(id) {
        Op::Movement(Movement::Transpose(axes)) => {
            let n = axes.len();
            let exchanged = axes[n - 2..] == [n - 1, n - 2] && axes[..n - 2].iter().copied().eq(0..n - 2);
            exchanged.then(|| to.operands(id)[0])
        }
        _ => None,
    };
    // Of a stack that shares one B, A is not transposed.
    let shared = to.shape(x[0]).len() > to.shape(x[1]).len();
    let (a, b) = (last_two_exchanged(to, x[0]).filter(|_| !shared), last_two_exchanged(to, x[1]));
    if a.is_none() && b.is_none() {
        return None;
    }
    let flags = MatMul { transpose_a: transpose_a ^ a.is_some(), transpose_b: transpose_b ^ b.is_some() };
    Some(to.emit(Op::MatMul(flags), &[a.unwrap_or(x[0]), b.unwrap_or(x[1])]))
}

/// What is stacked stays so: rows of the stack can take part in the region of what is around.
fn stacked_product(to: &mut Lowering<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Movement(Movement::Reshape(shape)) = op else { return None };
    let &Op::MatMul(flags @ MatMul { transpose_a: false, .. }) = to.op(x[0]) else { return None };
    let factors = to.operands(x[0]);
    let a = as_tall(to, factors[0]).filter(|_| to.shape(factors[1]).len() == 2)?;
    let stack = to.shape(a);
    let rows = stack.len() - 1;
    let fits = shape.len() == stack.len() && shape[..rows] == stack[..rows];
    fits.then(|| to.emit(Op::MatMul(flags), &[a, factors[1]]))
}

fn sum_over_stack(to: &mut Lowering<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::MatMul(flags @ MatMul { transpose_a: true, transpose_b: false }) = op else { return None };
    // One of them may have been a matrix from the start, of which a stack was made.
    let tall = [as_tall(to, x[0]), as_tall(to, x[1])];
    let stack = to.shape(tall[0].or(tall[1])?);
    let rows = stack.len() - 1;
    // Sums of matrices that are as large as what they are products of would be no gain.
    if stack[rows - 1] < 8 {
        return None;
    }
    let mut stacked = |i: usize| {
        let own = tall[i].filter(|&id| to.shape(id).len() == stack.len() && to.shape(id)[..rows] == stack[..rows]);
        let columns = to.shape(x[i])[1];
        own.unwrap_or_else(|| {
            let shape = stack[..rows].iter().copied().chain([columns]).collect();
            to.emit(Op::Movement(Movement::Reshape(shape)), &[x[i]])
        })
    };
    let (a, g) = (stacked(0), stacked(1));
    let products = to.emit(Op::MatMul(*flags), &[a, g]);
    Some(to.sum(products, &(0..rows - 1).collect::<Axes>()))
}

/// A stack of matrices, if the node is all their rows in one matrix.
fn as_tall(to: &Lowering<'_>, id: Id) -> Option<Id> {
    let Op::Movement(Movement::Reshape(shape)) = to.op(id) else { return None };
    let inner = to.operands(id)[0];
    let stack = to.shape(inner);
    (shape.len() == 2 && stack.len() > 2 && stack.last() == shape.last()).then_some(inner)
}

fn solve_by_factor(to: &mut Lowering<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let &Op::Solve(solve @ Solve { factored: false, .. }) = op else { return None };
    let factor = to.emit(Op::Factor(Factor), &[x[0]]);
    Some(to.emit(Op::Solve(Solve { factored: true, ..solve }), &[factor, x[1]]))
}
