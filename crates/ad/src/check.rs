//! A check of derivatives against finite differences, for any function, order and mode.

use std::fmt::Write;

use ndarray::{Array1, ArrayD, Dimension};

use crate::diff::derivatives::Unrelated;
use crate::op::{Leaf, Op};
use crate::program::evaluate;
use crate::tape::{Kind, NodeId, Tape, Var, record, with_graph};

/// Which ways of differentiating [`check_gradients`] compares with finite differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modes {
    /// Reverse mode, at every order.
    Reverse,
    /// Forward mode, at every order.
    Forward,
    /// Both.
    Both,
}

/// The largest relative difference that [`check_gradients`] accepts.
const TOLERANCE: f64 = 1e-6;

/// Compares the derivatives of `f` at the arrays `x`, of orders 1 to `order`, with central differences of the derivatives
/// one order below, extrapolated (Richardson) so that order 3 is meaningful.
///
/// A result that is not a scalar is contracted with fixed weights, and orders above 1 with fixed directions, so that every
/// comparison is between two arrays of the shape of an input.
///
/// # Errors
/// The first input entry that is off (relative difference above 1e-6), with both numbers; and the operation to suspect,
/// where one of those recorded fails the same check on its own.
///
/// ```
/// let x = ndarray::arr1(&[0.3, 1.2]).into_dyn();
/// ad::check_gradients(|x| (x[0].sin() * x[0]).sum(), &[x], 3, ad::Modes::Both).unwrap();
/// ```
pub fn check_gradients(f: impl Fn(&[Var]) -> Var, x: &[ArrayD<f64>], order: usize, modes: Modes) -> Result<(), String> {
    compare(&f, x, order, modes).map_err(|problem| match suspect(&f, x, order, modes) {
        Some(suspect) => format!("{problem}\n{suspect}"),
        None => problem,
    })
}

fn compare(f: &dyn Fn(&[Var]) -> Var, x: &[ArrayD<f64>], order: usize, modes: Modes) -> Result<(), String> {
    for order in 1..=order {
        let numerical = differences(&|x| contraction_value(f, x, order - 1), x);
        for (name, forward) in [("reverse", false), ("forward", true)] {
            if modes == (if forward { Modes::Reverse } else { Modes::Forward }) {
                continue;
            }
            let exact = contraction_gradient(f, x, order, forward);
            for (input, (exact, numerical)) in exact.iter().zip(&numerical).enumerate() {
                let scale = exact.iter().chain(numerical).fold(1.0, |scale: f64, x| scale.max(x.abs()));
                for ((entry, exact), numerical) in exact.indexed_iter().zip(numerical) {
                    let is_close = (exact - numerical).abs() <= TOLERANCE * scale;
                    if !is_close {
                        return Err(format!(
                            "order {order}, {name} mode: input {input}, entry {:?}: derivative {exact:e}, but finite \
                             differences give {numerical:e}",
                            entry.slice()
                        ));
                    }
                }
            }
        }
    }
    Ok(())
}

/// Numbers without a pattern, in [0.5, 1.5): weights and directions.
fn weights(shape: &[usize], seed: usize) -> ArrayD<f64> {
    let count: usize = shape.iter().product();
    let numbers =
        (0..count).map(|i| 0.5 + ((i + 1) as f64 * 0.618_033_988_75 + seed as f64 * 0.414_213_562_37).fract());
    Array1::from_iter(numbers).into_shape_with_order(shape).expect("as many numbers as entries")
}

/// w·f(x), differentiated `order` times along fixed directions; on the tape.
fn contracted(f: &dyn Fn(&[Var]) -> Var, vars: &[Var], order: usize, forward: bool) -> Var {
    let result = f(vars);
    let mut scalar = (result * weights(&result.shape(), 0)).sum();
    for order in 1..=order {
        let directions: Vec<Var> =
            vars.iter().enumerate().map(|(i, var)| *var * 0.0 + weights(&var.shape(), 7 * order + i)).collect();
        let directions: Vec<Var> = directions.into_iter().map(Var::stop_gradient).collect();
        scalar = if forward {
            scalar.tangent(vars, directions.as_slice(), Unrelated::Zero)
        } else {
            let gradients = scalar.grad_or_zeros(vars);
            let terms = gradients.iter().zip(&directions).map(|(gradient, direction)| gradient.dot(*direction));
            terms.reduce(|sum, term| sum + term).expect("at least one input")
        };
    }
    scalar
}

fn record_inputs(tape: &Tape, x: &[ArrayD<f64>]) -> Vec<Var> {
    x.iter().enumerate().map(|(i, x)| tape.input(&format!("x{i}"), x)).collect()
}

fn contraction(f: &dyn Fn(&[Var]) -> Var, x: &[ArrayD<f64>], order: usize, forward: bool) -> (Tape, Vec<Var>, Var) {
    let tape = Tape::new();
    let vars = record_inputs(&tape, x);
    let scalar = contracted(f, &vars, order, forward);
    (tape, vars, scalar)
}

/// Recorded anew at each point, so that what the function makes of its arguments' values is seen, too.
fn contraction_value(f: &dyn Fn(&[Var]) -> Var, x: &[ArrayD<f64>], order: usize) -> f64 {
    let (tape, vars, scalar) = contraction(f, x, order, false);
    let values: Vec<crate::Value<'_>> = x.iter().map(crate::Value::from).collect();
    tape.compile(vars, [scalar]).run(&values).map_or(f64::NAN, |results| results[0].sum())
}

/// The gradient of the contraction of order − 1, in reverse mode or entry by entry in forward mode.
fn contraction_gradient(f: &dyn Fn(&[Var]) -> Var, x: &[ArrayD<f64>], order: usize, forward: bool) -> Vec<ArrayD<f64>> {
    let (_tape, vars, scalar) = contraction(f, x, order - 1, forward);
    let gradients = if forward {
        vars.iter().map(|&var| scalar.jacobian_by_tangents(var, Unrelated::Zero)).collect()
    } else {
        scalar.grad_or_zeros(vars.as_slice())
    };
    evaluate(&gradients)
}

/// The gradient of a scalar by central differences with steps h, h/2, h/4, extrapolated twice.
fn differences(scalar: &dyn Fn(&[ArrayD<f64>]) -> f64, x: &[ArrayD<f64>]) -> Vec<ArrayD<f64>> {
    let mut x = x.to_vec();
    let mut gradients = Vec::with_capacity(x.len());
    for input in 0..x.len() {
        let mut gradient = ArrayD::zeros(x[input].raw_dim());
        for (entry, derivative) in gradient.indexed_iter_mut() {
            let at = x[input][&entry];
            let mut value = |shifted: f64| {
                x[input][&entry] = shifted;
                scalar(&x)
            };
            let step = 4e-3 * at.abs().max(1.0);
            let mut central = |h: f64| (value(at + h) - value(at - h)) / (2.0 * h);
            let [a, b, c] = [central(step), central(step / 2.0), central(step / 4.0)];
            let (ab, bc) = ((4.0 * b - a) / 3.0, (4.0 * c - b) / 3.0);
            *derivative = (16.0 * bc - ab) / 15.0;
            x[input][&entry] = at;
        }
        gradients.push(gradient);
    }
    gradients
}

/// Checks each recorded operation on its own, at the values it was recorded with, and names the first that fails.
fn suspect(f: &dyn Fn(&[Var]) -> Var, x: &[ArrayD<f64>], order: usize, modes: Modes) -> Option<String> {
    let tape = Tape::new();
    let vars = record_inputs(&tape, x);
    f(&vars);
    let nodes = with_graph::<f64, _>(tape.id(), |graph| graph.nodes.clone());
    for node in nodes.iter().filter(|node| !matches!(node.op, Op::Leaf(_) | Op::Barrier(_))) {
        let kinds: Vec<Kind> = node.operands.iter().map(|&operand| nodes[operand as usize].kind).collect();
        let reals: Vec<Var> = (node.operands.iter().zip(&kinds))
            .filter(|(_, kind)| **kind == Kind::Real)
            .map(|(&operand, _)| Var::recorded(tape.id(), operand))
            .collect();
        if reals.is_empty() || node.kind == Kind::Index || reals.iter().any(|var| has_placeholder(*var)) {
            continue;
        }
        let alone = |operands: &[Var]| {
            let mut operands = operands.iter();
            let tape = operands.clone().next().expect("a real operand").tape;
            let ids: Vec<NodeId> = (node.operands.iter().zip(&kinds))
                .map(|(&operand, kind)| match kind {
                    Kind::Real => operands.next().expect("as many as there are real operands").node,
                    Kind::Index => copy_leaf(tape, &nodes[operand as usize].op),
                })
                .collect();
            Var::recorded(tape, record(tape, node.op.clone(), &ids))
        };
        let indices_are_leaves = (node.operands.iter().zip(&kinds))
            .all(|(&operand, kind)| *kind == Kind::Real || matches!(nodes[operand as usize].op, Op::Leaf(_)));
        if !indices_are_leaves || (0..node.operands.len()).all(|i| !node.op.rules().differentiable(i)) {
            continue;
        }
        if let Err(problem) = compare(&alone, &evaluate(&reals), order, modes) {
            let mut message = String::new();
            let _ = write!(
                message,
                "suspect `{}`, recorded at {}: alone, {problem}",
                node.op.rules().name(),
                node.location
            );
            return Some(message);
        }
    }
    None
}

fn copy_leaf(tape: u32, op: &Op<f64>) -> NodeId {
    record(tape, op.clone(), &[])
}

fn has_placeholder(var: Var) -> bool {
    with_graph::<f64, _>(var.tape, |graph| {
        let mut stack = vec![var.node];
        let mut seen = std::collections::HashSet::new();
        while let Some(node) = stack.pop() {
            let node = &graph.nodes[node as usize];
            if matches!(node.op, Op::Leaf(Leaf::Placeholder { .. })) {
                return true;
            }
            stack.extend(node.operands.iter().copied().filter(|&operand| seen.insert(operand)));
        }
        false
    })
}
