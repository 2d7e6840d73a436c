//! A check of derivatives against finite differences, for any function, order and mode.

use std::fmt::Write;

use ndarray::{Array1, ArrayD, Dimension};

use crate::diff::derivatives::Unrelated;
use crate::op::{Leaf, Op};
use crate::program::evaluate;
use crate::tape::{Kind, NodeId, Tape, Var, constant, record, with_graph};

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
/// The first input entry that is off (relative difference above 1e-6), with both numbers; and the operation to suspect,
/// where one of those recorded fails the same check on its own.
///
/// ```
/// let x = ndarray::arr1(&[0.3, 1.2]).into_dyn();
/// ad::check_gradients(|x| (x[0].sin() * x[0]).sum(), &[x], 3, ad::Modes::Both).unwrap();
/// ```
pub fn check_gradients(f: impl Fn(&[Var]) -> Var, x: &[ArrayD<f64>], order: usize, modes: Modes) -> Result<(), String> {
    GradientCheck { order, modes, ..GradientCheck::default() }.run(f, x)
}

/// A comparison of derivatives with finite differences, and how close it is. Steps and tolerances are relative, so that
/// neither the unit of a result nor that of an input matters.
///
/// A result that is not a scalar is contracted with fixed weights, and orders above 1 with fixed directions, so that every
/// comparison is between two arrays of the shape of an input. What no input entry changes is compared, too: a derivative
/// that is wrongly absent is a zero that differs.
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
    pub fn run(&self, f: impl Fn(&[Var]) -> Var, x: &[ArrayD<f64>]) -> Result<(), String> {
        #[cfg(debug_assertions)]
        let _suspended = trial::Suspended::begin();
        self.compare(&f, x).map_err(|problem| match self.suspect(&f, x) {
            Some(suspect) => format!("{problem}\n{suspect}"),
            None => problem,
        })
    }

    fn compare(&self, f: &dyn Fn(&[Var]) -> Var, x: &[ArrayD<f64>]) -> Result<(), String> {
        // Directions of the size of the inputs, wherever these are moved to.
        let direction = |order: usize, i: usize| weights(x[i].shape(), 7 * order + i) * scale(&x[i]);
        let directions: Vec<Vec<ArrayD<f64>>> =
            (1..self.order).map(|order| (0..x.len()).map(|i| direction(order, i)).collect()).collect();
        let mut lower = 0.0;
        for order in 1..=self.order {
            let along = &directions[..order - 1];
            let numerical = self.differences(&|x| contraction_value(f, x, along), x, lower);
            lower = contraction_value(f, x, along).abs().max(lower);
            for (name, forward) in [("reverse", false), ("forward", true)] {
                if self.modes == (if forward { Modes::Reverse } else { Modes::Forward }) {
                    continue;
                }
                let exact = contraction_gradient(f, x, along, forward);
                for (input, (exact, numerical)) in exact.iter().zip(&numerical).enumerate() {
                    for ((entry, &exact), numerical) in exact.indexed_iter().zip(numerical) {
                        let scale = exact.abs().max(numerical.derivative.abs());
                        let difference = (exact - numerical.derivative).abs();
                        // Not `>`, which a NaN is not.
                        let is_close = difference <= self.tolerance * scale + numerical.rounding;
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
        /// What the value of a whole program may be off by, in units of its rounding.
        const ROUNDINGS: f64 = 1000.0;
        /// And in units of the rounding of what it is a derivative of: it may be what is left where that cancelled.
        const OF_LOWER: f64 = 16.0;
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
    let mut scalar = (result * weights(&result.shape(), 0)).sum();
    for directions in along {
        let directions: Vec<Var> = directions.iter().map(|v| constant(scalar.tape, v.clone())).collect();
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

/// Recorded anew at each point, so that what the function makes of its arguments' values is seen, too.
fn contraction_value(f: &dyn Fn(&[Var]) -> Var, x: &[ArrayD<f64>], along: &[Vec<ArrayD<f64>>]) -> f64 {
    let tape = Tape::new();
    let vars = record_inputs(&tape, x);
    let scalar = contracted(f, &vars, along, false);
    let values: Vec<crate::Value<'_>> = x.iter().map(crate::Value::from).collect();
    tape.compile(vars, [scalar]).run(&values).map_or(f64::NAN, |results| results[0].sum())
}

/// The gradient of the contraction, in reverse mode or entry by entry in forward mode.
fn contraction_gradient(
    f: &dyn Fn(&[Var]) -> Var,
    x: &[ArrayD<f64>],
    along: &[Vec<ArrayD<f64>>],
    forward: bool,
) -> Vec<ArrayD<f64>> {
    let tape = Tape::new();
    let vars = record_inputs(&tape, x);
    let scalar = contracted(f, &vars, along, forward);
    let gradients = if forward {
        vars.iter().map(|&var| scalar.jacobian_by_tangents(var, Unrelated::Zero)).collect()
    } else {
        scalar.grad_or_zeros(vars.as_slice())
    };
    evaluate(&gradients)
}

impl GradientCheck {
    /// Checks each recorded operation on its own, at the values it was recorded with, and names the first that fails.
    fn suspect(&self, f: &dyn Fn(&[Var]) -> Var, x: &[ArrayD<f64>]) -> Option<String> {
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
            if let Err(problem) = self.compare(&alone, &evaluate(&reals)) {
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

/// In debug builds the derivative rule of a custom operation is tried out where it is first used, at the values recorded:
/// reverse mode would not find out one that is not linear in its cotangent, or that forgets its operands.
#[cfg(debug_assertions)]
pub(crate) mod trial {
    use std::cell::{Cell, RefCell};
    use std::collections::HashSet;
    use std::marker::PhantomData;

    use ndarray::ArrayD;

    use super::weights;
    use crate::op::{Call, Op, apply};
    use crate::program::Lowering;
    use crate::real::Real;
    use crate::tape::{Tape, Var};

    thread_local! {
        static TRIED: RefCell<HashSet<String>> = RefCell::default();
        static SUSPENDED: Cell<bool> = const { Cell::new(false) };
    }

    /// While it lives, nothing is tried: [`GradientCheck`](super::GradientCheck) finds out more, and returns an error.
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

    /// Panics if the rule is wrong beyond doubt. An operation is known by its name, and tried once in each thread.
    pub fn try_rule<T: Real>(op: &Op<T>, operands: &[Var<T>], output: Var<T>) {
        let name = op.rules().name();
        if SUSPENDED.get() || TRIED.with_borrow(|tried| tried.contains(name)) {
            return;
        }
        // Arguments of mapped functions have no values.
        let tape = output.tape;
        let values = T::compile(tape, &[], operands, Lowering::On).and_then(|program| program.run(&[]));
        let Ok(values) = values else { return };
        TRIED.with_borrow_mut(|tried| tried.insert(name.to_owned()));

        let [once, twice] = [1.0, -2.0].map(|factor| cotangents(op, &values, factor));
        if once.iter().all(Option::is_none) {
            assert!(
                !changes(op, &values),
                "the derivative rule of `{name}`, recorded at {}, gives no operand a cotangent, but the result depends on \
                 them; where no derivative is meant, use stop_gradient",
                output.location()
            );
        }
        for (once, twice) in once.iter().zip(&twice) {
            let (Some(once), Some(twice)) = (once, twice) else { continue };
            let pairs = || once.iter().zip(twice);
            let scale = pairs().fold(T::zero(), |scale, (&a, &b)| scale.max(a.abs()).max(b.abs()));
            let is_linear = pairs().all(|(&a, &b)| {
                let difference = b + a * T::of(2.0);
                difference.abs() <= T::epsilon().sqrt() * scale || !difference.is_finite()
            });
            assert!(
                is_linear,
                "the derivative rule of `{name}`, recorded at {}, is not linear in its cotangent: −2 times a cotangent does \
                 not give −2 times its result",
                output.location()
            );
        }
    }

    /// The operation on a tape of its own.
    fn alone<T: Real>(op: &Op<T>, values: &[ArrayD<T>]) -> (Tape<T>, Vec<Var<T>>, Var<T>) {
        let tape = Tape::new();
        let operands: Vec<Var<T>> = values.iter().map(|value| tape.input("operand", value)).collect();
        let nodes: Vec<_> = operands.iter().map(|operand| operand.node).collect();
        let output = apply(tape.id(), op.clone(), &nodes);
        (tape, operands, output)
    }

    /// What the rule makes of some cotangent, times a factor.
    fn cotangents<T: Real>(op: &Op<T>, values: &[ArrayD<T>], factor: f64) -> Vec<Option<ArrayD<T>>> {
        let (tape, operands, output) = alone(op, values);
        let cotangent = tape.constant(weights(&output.shape(), 0).mapv(|x| T::of(factor * x)));
        let call = Call {
            tape: tape.id(),
            operands: operands.iter().map(|operand| operand.node).collect(),
            output: output.node,
            needed: smallvec::smallvec![true; operands.len()],
            number: PhantomData,
        };
        let given = op.rules().vjp(&call, cotangent);
        given.into_iter().map(|cotangent| cotangent.map(Var::value)).collect()
    }

    /// Whether the result is another one at other operands nearby.
    fn changes<T: Real>(op: &Op<T>, values: &[ArrayD<T>]) -> bool {
        let step = T::epsilon().sqrt();
        let moved: Vec<ArrayD<T>> = values.iter().map(|x| x.mapv(|x| x + step * (x.abs() + step))).collect();
        let result = |values: &[ArrayD<T>]| {
            let (_tape, _, output) = alone(op, values);
            output.value()
        };
        result(values) != result(&moved)
    }
}
