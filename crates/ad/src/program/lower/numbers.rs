//! Numbers: constant folding, and the algebra of what is one number everywhere.

use smallvec::SmallVec;

use super::{Rewriter, Rule};
use crate::dtype::DType;
use crate::op::barrier::Barrier;
use crate::op::checked::Checked;
use crate::op::elementwise::{Binary, Elementwise, Unary};
use crate::op::movement::Movement;
use crate::op::reduce::By;
use crate::op::{Data, Leaf, Op, Operand};
use crate::program::find;
use crate::program::ir::Id;
use crate::real::Real;
use crate::tensor::{Buffer, Shape, Value, size};

pub(super) const RULES: &[Rule] = &[
    ("box(x) = 1", magic_box),
    ("an array of equal constants is one number everywhere", equal_constants),
    ("f(1, 2, …) = its value, where all operands are one number everywhere", fold),
    ("f(c, d, …) = its array, where all operands are constants, small, and have no fewer entries", fold_arrays),
    ("select(c, x, y) = x for a number c, or y if c is 0", selected),
    ("(x or usually y) = y, watched, and a number or e^y by itself", usual),
    ("x·1 = x/1 = x + 0 = x − 0 = x,  0 − x = x·(−1) = −x,  −(−x) = x", neutral),
    ("x + (−y) = x − y,  x − (−y) = x + y,  x^1 = x", subtract),
    ("c·x = x·c,  (x·c)·d = x·(c·d),  (−x)·y = −(x·y)", scale),
];

fn magic_box(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Barrier(Barrier::MagicBox) = op else { return None };
    let shape = to.shape(x[0]);
    Some(to.fill(x[0], 1.0, &shape))
}

fn equal_constants(to: &mut Rewriter<'_>, op: &Op, _: &[Id]) -> Option<Id> {
    fn number<T: Real>(value: &Value<'_>) -> Option<f64> {
        let numbers = value.array::<T>()?;
        let first = numbers.first()?.as_f64();
        numbers.iter().all(|x| x.as_f64().to_bits() == first.to_bits()).then_some(first)
    }
    let Op::Leaf(Leaf::Constant(data)) = op else { return None };
    let value = data.value();
    let number = number::<f64>(value).or_else(|| number::<f32>(value))?;
    let fill = Leaf::fill(number, value.dtype(), value.shape());
    Some(to.ir.node(Op::Leaf(fill), &[], to.location))
}

fn fold(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
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

/// The most entries of what is folded, and of what is read for it: a program keeps the result for as long as it lives.
const SMALL: usize = 1 << 16;

/// The most arithmetic that is done for it. A product of two matrices of 256 rows and columns is done at each run.
const LITTLE_WORK: usize = 1 << 24;

fn fold_arrays(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    // A user's operation runs when the program does, and so does a loop.
    if x.is_empty() || matches!(op, Op::Custom(_) | Op::Fold(_) | Op::Leaf(_)) {
        return None;
    }
    let mut values: SmallVec<[Data; 3]> = SmallVec::new();
    for &id in x {
        values.push(match to.op(id) {
            Op::Leaf(Leaf::Constant(data)) if to.size(id) <= SMALL => data.clone(),
            Op::Leaf(leaf @ Leaf::Fill { .. }) if to.size(id) <= SMALL => leaf.data(&to.shape(id)),
            _ => return None,
        });
    }
    let shapes: SmallVec<[&[usize]; 3]> = values.iter().map(|data| data.value().shape()).collect();
    let shape = op.rules().shape(&shapes).ok()?;
    let dtypes: SmallVec<[DType; 4]> = values.iter().map(|data| data.value().dtype()).collect();
    let dtype = op.rules().dtype(&dtypes).ok()?;
    // What is repeated is better read repeated.
    let is_larger = size(&shape) > shapes.iter().map(|shape| size(shape)).sum();
    if is_larger || size(&shape) > SMALL || op.rules().flops(&shapes, &shape) > LITTLE_WORK {
        return None;
    }
    // Equal operations are one before they are folded: two arrays of the same numbers would stay two.
    let plain = to.ir.node(op.clone(), x, to.location);
    if let Some(&folded) = to.ir.folded.get(&plain) {
        return Some(folded);
    }
    let operands: SmallVec<[Operand<'_>; 3]> = (values.iter().map(Data::value))
        .map(|value| Operand { data: value.entries(), shape: value.shape(), repeat: None })
        .collect();
    let mut result = Buffer::new(dtype, size(&shape));
    // What fails is reported by the run that needs it.
    op.rules().forward(&operands, &shape, result.slice_mut(0..size(&shape))).ok()?;
    let result = result.slice(0..size(&shape));
    // Of what is not finite one wants to know where it came from.
    if find(result, |x| !x.is_finite()).is_some() {
        return None;
    }
    let folded = to.emit(Op::Leaf(Leaf::Constant(result.to_value(&shape).into())), &[]);
    to.ir.folded.insert(plain, folded);
    Some(folded)
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

/// What is not selected is not multiplied by 0 either: a NaN there stays where it is.
fn selected(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let Op::Elementwise(Elementwise::Select) = op else { return None };
    Some(if to.as_number(x[0])? != 0.0 { x[1] } else { x[2] })
}

fn usual(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let &Op::Checked(Checked::Usual { limit }) = op else { return None };
    let usual = x[1];
    if to.as_number(usual).is_some_and(|number| number.abs() <= f64::from_bits(limit)) {
        return Some(usual);
    }
    Some(match to.op(usual) {
        Op::Elementwise(Elementwise::Unary(Unary::Exp)) => {
            let exponent = to.operands(usual);
            to.emit(Op::Checked(Checked::Exp { limit }), &exponent)
        }
        _ => to.emit(Op::Checked(Checked::Within { limit }), &[usual]),
    })
}

fn neutral(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    use Binary::{Minus, Over, Plus, Times};
    let number = |i: usize| x.get(i).and_then(|&id| to.as_number(id));
    let negated = |to: &mut Rewriter<'_>, x: Id| to.emit(Op::Elementwise(Elementwise::Unary(Unary::Negate)), &[x]);
    match op {
        Op::Elementwise(Elementwise::Binary(op)) => match (op, number(0), number(1)) {
            (Times | Over, _, Some(1.0)) => Some(x[0]),
            (Plus | Minus, _, Some(0.0)) => Some(x[0]),
            (Times, Some(1.0), _) => Some(x[1]),
            (Plus, Some(0.0), _) => Some(x[1]),
            (Minus, Some(0.0), _) => Some(negated(to, x[1])),
            (Times, _, Some(-1.0)) => Some(negated(to, x[0])),
            (Times, Some(-1.0), _) => Some(negated(to, x[1])),
            _ => None,
        },
        Op::Elementwise(Elementwise::Unary(Unary::Negate)) => match to.as_scaled(x[0])? {
            (inner, -1.0) => Some(inner),
            (inner, c) => Some(to.scaled(inner, -c)),
        },
        _ => None,
    }
}

fn subtract(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
    let negated = |to: &Rewriter<'_>, id: Id| match to.op(id) {
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

fn scale(to: &mut Rewriter<'_>, op: &Op, x: &[Id]) -> Option<Id> {
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
