//! In debug builds the derivative rule of a custom operation is tried out where it is first used, at the values recorded:
//! reverse mode would not find out one that is not linear in its cotangent, or that forgets its operands.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use ndarray::ArrayD;

use crate::dtype::DType;
use crate::op::{Call, Op, apply};
use crate::program::{Lowering, compile};
use crate::tape::{Handle, Tape, Var};
use crate::tensor::{Value, size};

thread_local! {
    static TRIED: RefCell<HashSet<(String, DType)>> = RefCell::default();
    static SUSPENDED: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, nothing is tried: [`GradientCheck`](crate::GradientCheck) finds out more, and returns an error.
pub struct Suspended {
    before: bool,
}

impl Suspended {
    pub fn begin() -> Self {
        Self { before: SUSPENDED.replace(true) }
    }
}

impl Drop for Suspended {
    fn drop(&mut self) {
        SUSPENDED.set(self.before);
    }
}

/// Panics if the rule is wrong beyond doubt. An operation is known by its name and the type of its numbers, and tried once in
/// each thread.
#[track_caller]
pub fn try_rule(op: &Op, call: &Call) {
    let name = op.rules().name();
    let key = (name.to_owned(), call.output().dtype());
    if SUSPENDED.get() || TRIED.with_borrow(|tried| tried.contains(&key)) {
        return;
    }
    // Arguments of mapped functions have no values.
    let operands: Vec<Handle> = (0..call.operands.len()).map(|operand| call.var(operand).into()).collect();
    let values = compile(call.tape, &[], &operands, Lowering::On).and_then(|program| program.run_values(&[]));
    let Ok(values) = values else { return };
    TRIED.with_borrow_mut(|tried| tried.insert(key));

    let accuracy = if call.output().dtype() == DType::F32 { f32::EPSILON.into() } else { f64::EPSILON }.sqrt();
    if call.output().dtype() == DType::F32 {
        expect_same_in_double(op, &values, accuracy, call.output());
    }
    let [once, twice] = [cotangents(op, &values, 1.0), cotangents(op, &values, -2.0)];
    if once.iter().all(Option::is_none) {
        assert!(
            !changes(op, &values, accuracy),
            "the derivative rule of `{name}`, recorded at {}, gives no operand a cotangent, but the result depends on them; \
             where no derivative is meant, use stop_gradient",
            call.output().location()
        );
    }
    for (once, twice) in once.iter().zip(&twice) {
        let (Some(once), Some(twice)) = (once, twice) else { continue };
        let pairs = || once.iter().zip(twice);
        let scale = pairs().fold(0.0_f64, |scale, (&a, &b)| scale.max(a.abs()).max(b.abs()));
        let is_linear = pairs().all(|(&a, &b)| {
            let difference = b + a * 2.0;
            difference.abs() <= accuracy * scale || !difference.is_finite()
        });
        assert!(
            is_linear,
            "the derivative rule of `{name}`, recorded at {}, is not linear in its cotangent: −2 times a cotangent does not \
             give −2 times its result",
            call.output().location()
        );
    }
}

/// Panics if the kernel of single precision gives other numbers than that of double.
#[track_caller]
fn expect_same_in_double(op: &Op, values: &[Value<'static>], accuracy: f64, output: Var) {
    let double: Vec<Value<'static>> = values.iter().map(|value| value.clone().rounded(DType::F64)).collect();
    let [single, double] = [values, &double[..]].map(|values| {
        let (_tape, _, output) = alone(op, values);
        as_f64(output)
    });
    let largest = double.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    let differs = |(a, b): (&f64, &f64)| (a - b).abs() > accuracy * largest && (a - b).is_finite();
    assert!(
        !single.iter().zip(&double).any(differs),
        "`forward_f32` of `{}`, recorded at {}, gives other numbers than `forward`",
        op.rules().name(),
        output.location()
    );
}

/// The operation on a tape of its own.
fn alone(op: &Op, values: &[Value<'static>]) -> (Tape, Vec<Var>, Var) {
    let tape = Tape::new();
    let operands: Vec<Var> = values.iter().map(|value| tape.input("operand", value.clone())).collect();
    let nodes: Vec<_> = operands.iter().map(|operand| operand.node).collect();
    let output = apply(tape.id(), op.clone(), &nodes);
    (tape, operands, output)
}

/// What the rule makes of some cotangent, times a factor.
#[track_caller]
fn cotangents(op: &Op, values: &[Value<'static>], factor: f64) -> Vec<Option<ArrayD<f64>>> {
    let (tape, operands, output) = alone(op, values);
    let shape = output.shape();
    let weights = (0..size(&shape)).map(|i| factor * (0.5 + ((i + 1) as f64 * 0.618_033_988_75).fract())).collect();
    let cotangent = output.constant(ArrayD::from_shape_vec(shape.as_slice(), weights).expect("as many as entries"));
    let call = Call {
        tape: tape.id(),
        operands: operands.iter().map(|operand| operand.node).collect(),
        output: output.node,
        needed: smallvec::smallvec![true; operands.len()],
    };
    let given = op.rules().vjp(&call, cotangent);
    given.into_iter().map(|cotangent| cotangent.map(as_f64)).collect()
}

/// Whether the result is another one at other operands nearby.
fn changes(op: &Op, values: &[Value<'static>], step: f64) -> bool {
    let moved: Vec<Value<'static>> = (values.iter())
        .map(|value| {
            let x: ArrayD<f64> = value.clone().rounded(DType::F64).into_array().expect("operands are numbers");
            Value::from(x.mapv(|x| x + step * (x.abs() + step))).rounded(value.dtype())
        })
        .collect();
    let result = |values: &[Value<'static>]| {
        let (_tape, _, output) = alone(op, values);
        as_f64(output)
    };
    result(values) != result(&moved)
}

fn as_f64(var: Var) -> ArrayD<f64> {
    var.cast(DType::F64).value()
}
