//! A check of derivatives against finite differences, for any function, order and mode.

use std::fmt::Write;

use ndarray::{Array1, ArrayD, Dimension};

use crate::diff::derivatives::Unrelated;
use crate::dtype::DType;
use crate::op::{Leaf, Op};
use crate::program::{compile_in_double, evaluate_values};
use crate::real::Real;
use crate::tape::{Handle, NodeId, Tape, Var, record, with_graph};
use crate::tensor::Value;

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

/// Compares the derivatives of `f` at the arrays `x`, of orders 1 to `order`, with central differences of the derivatives
/// one order below: [`GradientCheck`] with its usual step and tolerance.
///
/// # Errors
/// The first input entry that is off (relative difference above 1e-6; of single precision see [`GradientCheck`]), with both
/// numbers; and the operation to suspect, where one of those recorded fails the same check on its own.
///
/// ```
/// let x = ndarray::arr1(&[0.3, 1.2]).into_dyn();
/// ad::check_gradients(|x| (x[0].sin() * x[0]).sum(), &[x], 3, ad::Modes::Both).unwrap();
/// ```
pub fn check_gradients<T: Real>(
    f: impl Fn(&[Var]) -> Var,
    x: &[ArrayD<T>],
    order: usize,
    modes: Modes,
) -> Result<(), String> {
    GradientCheck { order, modes, ..GradientCheck::default() }.run(f, x)
}

/// A comparison of derivatives with finite differences, and how close it is. Steps and tolerances are relative, so that
/// neither the unit of a result nor that of an input matters.
///
/// A result that is not a scalar is contracted with fixed weights, and orders above 1 with fixed directions, so that every
/// comparison is between two arrays of the shape of an input. What no input entry changes is compared, too: a derivative
/// that is wrongly absent is a zero that differs.
///
/// Of a function that computes in single precision, or does so on the way, the differences are those of the same operations
/// in double; its derivatives may be off by 1000 roundings of the largest of an array, and by 100 of what they are derivatives
/// of, as where that is left of numbers that cancelled.
///
/// ```
/// use ad::GradientCheck;
/// let tiny = ndarray::arr1(&[1e-3, 1e3]).into_dyn();
/// let check = GradientCheck { tolerance: 1e-8, ..GradientCheck::default() };
/// check.run(|x| x[0].ln().sum() * 1e-9, &[tiny]).unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientCheck {
    /// Derivatives of orders 1 to this one. By default 2.
    pub order: usize,
    /// By default both.
    pub modes: Modes,
    /// The first step of the differences, relative to the largest entry of the array of which one is moved (or to 1, if all
    /// are 0). Smaller ones are tried where differences of that size have not converged, as next to a singularity, and
    /// larger ones (up to this number) where they are lost in the result's rounding. By default 4e-3.
    pub step: f64,
    /// The largest difference accepted, relative to the derivative, beside what the result's own rounding makes of the
    /// finite difference. By default 1e-6.
    pub tolerance: f64,
}

impl Default for GradientCheck {
    fn default() -> Self {
        Self { order: 2, modes: Modes::Both, step: 4e-3, tolerance: 1e-6 }
    }
}

impl GradientCheck {
    /// Compares the derivatives of `f` at the arrays `x`.
    ///
    /// # Errors
    /// As [`check_gradients`].
    pub fn run<T: Real>(&self, f: impl Fn(&[Var]) -> Var, x: &[ArrayD<T>]) -> Result<(), String> {
        let x: Vec<ArrayD<f64>> = x.iter().map(|x| x.mapv(T::as_f64)).collect();
        self.run_in(T::DTYPE, &f, &x)
    }

    fn run_in(&self, dtype: DType, f: &dyn Fn(&[Var]) -> Var, x: &[ArrayD<f64>]) -> Result<(), String> {
        #[cfg(debug_assertions)]
        let _suspended = crate::trial::Suspended::begin();
        self.compare(dtype, f, x).map_err(|problem| match self.suspect(dtype, f, x) {
            Some(suspect) => format!("{problem}\n{suspect}"),
            None => problem,
        })
    }

    fn compare(&self, dtype: DType, f: &dyn Fn(&[Var]) -> Var, x: &[ArrayD<f64>]) -> Result<(), String> {
        // Directions of the size of the inputs, wherever these are moved to.
        let direction = |order: usize, i: usize| weights(x[i].shape(), 7 * order + i) * scale(&x[i]);
        let directions: Vec<Vec<ArrayD<f64>>> =
            (1..self.order).map(|order| (0..x.len()).map(|i| direction(order, i)).collect()).collect();
        let mut lower = 0.0;
        for order in 1..=self.order {
            let along = &directions[..order - 1];
            let numerical = self.differences(&|x| contraction_value(dtype, f, x, along), x, lower);
            lower = contraction_value(dtype, f, x, along).abs().max(lower);
            for (name, forward) in [("reverse", false), ("forward", true)] {
                if self.modes == (if forward { Modes::Reverse } else { Modes::Forward }) {
                    continue;
                }
                let (exact, rounding) = contraction_gradient(dtype, f, x, along, forward);
                for (input, (exact, numerical)) in exact.iter().zip(&numerical).enumerate() {
                    let largest = exact.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
                    let roundings = rounding * (ROUNDINGS * largest + SINGLE_OF_LOWER * lower / scale(&x[input]));
                    for ((entry, &exact), numerical) in exact.indexed_iter().zip(numerical) {
                        let scale = exact.abs().max(numerical.derivative.abs());
                        let difference = (exact - numerical.derivative).abs();
                        // Not `>`, which a NaN is not.
                        let is_close = difference <= self.tolerance * scale + numerical.rounding + roundings;
                        if !is_close {
                            return Err(format!(
                                "order {order}, {name} mode: input {input}, entry {:?}: derivative {exact:e}, but finite \
                                 differences give {:e}",
                                entry.slice(),
                                numerical.derivative
                            ));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The gradient of a scalar by finite differences. `lower` is the magnitude of what that is a derivative of.
    fn differences(
        &self,
        scalar: &dyn Fn(&[ArrayD<f64>]) -> f64,
        x: &[ArrayD<f64>],
        lower: f64,
    ) -> Vec<Vec<Difference>> {
        let mut x = x.to_vec();
        let mut gradients = Vec::with_capacity(x.len());
        for input in 0..x.len() {
            let step = self.step * scale(&x[input]);
            let entries: Vec<_> = x[input].indexed_iter().map(|(entry, _)| entry).collect();
            let gradient = entries.into_iter().map(|entry| {
                let at = x[input][&entry];
                let difference = self.difference(at, step, lower, &mut |shifted| {
                    x[input][&entry] = shifted;
                    scalar(&x)
                });
                x[input][&entry] = at;
                difference
            });
            gradients.push(gradient.collect());
        }
        gradients
    }

    /// The derivative of a function of one number, by the step of which it is known best.
    fn difference(&self, at: f64, first: f64, lower: f64, value: &mut dyn FnMut(f64) -> f64) -> Difference {
        const FACTOR: f64 = 8.0;
        const SMALLER: i32 = 12;
        let mut best = Difference::of(at, first, lower, value);
        let (mut step, mut next) = (first, best);
        while next.rounding > self.tolerance * next.derivative.abs() / 4.0 && FACTOR * step <= self.step {
            step *= FACTOR;
            next = Difference::of(at, step, lower, value);
            best = next.better(best);
        }
        for smaller in 1..=SMALLER {
            let converged = best.truncation <= self.tolerance * best.derivative.abs() / 4.0 + best.rounding;
            if converged {
                break;
            }
            best = Difference::of(at, first / FACTOR.powi(smaller), lower, value).better(best);
        }
        best
    }
}

/// What the value of a whole program may be off by, in units of its rounding.
const ROUNDINGS: f64 = 1000.0;
/// And in units of the rounding of what it is a derivative of: it may be what is left where that cancelled.
const OF_LOWER: f64 = 16.0;
/// The same, of a derivative in single precision.
const SINGLE_OF_LOWER: f64 = 100.0;

/// A derivative by finite differences, and estimates of its errors.
#[derive(Clone, Copy)]
struct Difference {
    derivative: f64,
    /// Because the step is not small.
    truncation: f64,
    /// Because differences of rounded numbers are divided by a small one.
    rounding: f64,
}

impl Difference {
    /// Central differences with steps h, h/2, h/4, extrapolated twice (Richardson).
    fn of(at: f64, step: f64, lower: f64, value: &mut dyn FnMut(f64) -> f64) -> Self {
        let mut largest = 0.0_f64;
        let mut central = |h: f64| {
            let (above, below) = (at + h, at - h);
            let (up, down) = (value(above), value(below));
            largest = largest.max(up.abs()).max(down.abs());
            (up - down) / (above - below)
        };
        let [a, b, c] = [central(step), central(step / 2.0), central(step / 4.0)];
        let (ab, bc) = ((4.0 * b - a) / 3.0, (4.0 * c - b) / 3.0);
        let derivative = (16.0 * bc - ab) / 15.0;
        let rounding = f64::EPSILON * (ROUNDINGS * largest + OF_LOWER * lower) / step;
        Self { derivative, truncation: (derivative - bc).abs(), rounding }
    }

    /// The one of smaller errors; not one that is no number.
    fn better(self, other: Self) -> Self {
        let error = |difference: Self| difference.truncation + difference.rounding;
        if error(other) <= error(self) || error(self).is_nan() { other } else { self }
    }
}

/// The largest magnitude of an array, or 1 if there is none.
fn scale(x: &ArrayD<f64>) -> f64 {
    let largest = x.iter().fold(0.0, |largest: f64, x| if x.is_finite() { largest.max(x.abs()) } else { largest });
    if largest > 0.0 { largest } else { 1.0 }
}

/// Numbers without a pattern, in [0.5, 1.5): weights and directions.
fn weights(shape: &[usize], seed: usize) -> ArrayD<f64> {
    let count: usize = shape.iter().product();
    let numbers =
        (0..count).map(|i| 0.5 + ((i + 1) as f64 * 0.618_033_988_75 + seed as f64 * 0.414_213_562_37).fract());
    Array1::from_iter(numbers).into_shape_with_order(shape).expect("as many numbers as entries")
}

/// w·f(x), differentiated along fixed directions, once for each list of them; on the tape.
fn contracted(f: &dyn Fn(&[Var]) -> Var, vars: &[Var], along: &[Vec<ArrayD<f64>>], forward: bool) -> Var {
    let result = f(vars);
    let mut scalar = (result * result.constant(weights(&result.shape(), 0))).sum();
    for directions in along {
        let directions: Vec<Var> = vars.iter().zip(directions).map(|(var, v)| var.constant(v)).collect();
        scalar = if forward {
            scalar.pushed_forward("jvp", vars, directions.as_slice(), Unrelated::Zero)
        } else {
            let gradients = scalar.grad_or_zeros(vars);
            let terms = gradients.iter().zip(&directions).map(|(gradient, direction)| gradient.dot(*direction));
            terms.reduce(|sum, term| sum + term).expect("at least one input")
        };
    }
    scalar
}

fn record_inputs(dtype: DType, tape: &Tape, x: &[ArrayD<f64>]) -> Vec<Var> {
    let input = |(i, x): (usize, &ArrayD<f64>)| tape.input(&format!("x{i}"), Value::from(x).rounded(dtype));
    x.iter().enumerate().map(input).collect()
}

/// In double precision. Recorded anew at each point, so that what the function makes of its arguments' values is seen, too.
fn contraction_value(dtype: DType, f: &dyn Fn(&[Var]) -> Var, x: &[ArrayD<f64>], along: &[Vec<ArrayD<f64>>]) -> f64 {
    let tape = Tape::new();
    let vars = record_inputs(dtype, &tape, x);
    let scalar = contracted(f, &vars, along, false);
    let values: Vec<Value<'_>> = x.iter().map(Value::from).collect();
    let program = if is_single(&tape) {
        let inputs: Vec<Handle> = vars.iter().map(|&var| var.into()).collect();
        compile_in_double(tape.id(), &inputs, &[scalar])
    } else {
        Ok(tape.compile(vars, [scalar]))
    };
    program.and_then(|program| program.run(&values)).map_or(f64::NAN, |results| results[0].sum())
}

/// Whether anything is computed in single precision.
fn is_single(tape: &Tape) -> bool {
    with_graph(tape.id(), |graph| graph.nodes.iter().any(|node| node.dtype == DType::F32))
}

/// The gradient of the contraction, in reverse mode or entry by entry in forward mode, and the rounding of single precision,
/// if there is any in it.
fn contraction_gradient(
    dtype: DType,
    f: &dyn Fn(&[Var]) -> Var,
    x: &[ArrayD<f64>],
    along: &[Vec<ArrayD<f64>>],
    forward: bool,
) -> (Vec<ArrayD<f64>>, f64) {
    let tape = Tape::new();
    let vars = record_inputs(dtype, &tape, x);
    let scalar = contracted(f, &vars, along, forward);
    let gradients = if forward {
        vars.iter().map(|&var| scalar.jacobian_by_tangents(var, Unrelated::Zero)).collect()
    } else {
        scalar.grad_or_zeros(vars.as_slice())
    };
    (as_f64(&gradients), if is_single(&tape) { f32::EPSILON.into() } else { 0.0 })
}

/// The values of floating-point Vars, each exactly.
fn as_f64(vars: &[Var]) -> Vec<ArrayD<f64>> {
    let values = evaluate_values(vars).into_iter();
    values.map(|value| value.rounded(DType::F64).into_array().expect("floating-point numbers")).collect()
}

impl GradientCheck {
    /// Checks each recorded operation on its own, at the values it was recorded with, and names the first that fails.
    fn suspect(&self, dtype: DType, f: &dyn Fn(&[Var]) -> Var, x: &[ArrayD<f64>]) -> Option<String> {
        let tape = Tape::new();
        let vars = record_inputs(dtype, &tape, x);
        f(&vars);
        let nodes = with_graph(tape.id(), |graph| graph.nodes.clone());
        for node in nodes.iter().filter(|node| !matches!(node.op, Op::Leaf(_) | Op::Barrier(_))) {
            let dtypes: Vec<DType> = node.operands.iter().map(|&operand| nodes[operand as usize].dtype).collect();
            let reals: Vec<Var> = (node.operands.iter().zip(&dtypes))
                .filter(|(_, dtype)| **dtype != DType::I32)
                .map(|(&operand, _)| Var::recorded(tape.id(), operand))
                .collect();
            // What makes numbers of a floating-point type from such of the same.
            let is_other = |&other: &DType| other != DType::I32 && other != node.dtype;
            if reals.is_empty()
                || !node.dtype.is_float()
                || dtypes.iter().any(is_other)
                || reals.iter().any(|var| has_placeholder(*var))
            {
                continue;
            }
            let alone = |operands: &[Var]| {
                let mut operands = operands.iter();
                let tape = operands.clone().next().expect("a real operand").tape;
                let ids: Vec<NodeId> = (node.operands.iter().zip(&dtypes))
                    .map(|(&operand, dtype)| match dtype {
                        DType::I32 => copy_leaf(tape, &nodes[operand as usize].op),
                        _ => operands.next().expect("as many as there are real operands").node,
                    })
                    .collect();
                Var::recorded(tape, record(tape, node.op.clone(), &ids))
            };
            let indices_are_leaves = (node.operands.iter().zip(&dtypes))
                .all(|(&operand, dtype)| *dtype != DType::I32 || matches!(nodes[operand as usize].op, Op::Leaf(_)));
            if !indices_are_leaves || (0..node.operands.len()).all(|i| !node.op.rules().differentiable(i)) {
                continue;
            }
            if let Err(problem) = self.compare(node.dtype, &alone, &as_f64(&reals)) {
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
}

fn copy_leaf(tape: u32, op: &Op) -> NodeId {
    record(tape, op.clone(), &[])
}

fn has_placeholder(var: Var) -> bool {
    with_graph(var.tape, |graph| {
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
