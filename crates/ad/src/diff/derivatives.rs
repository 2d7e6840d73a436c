//! Derivatives as users ask for them, on Vars: each is a few lines of [`pullback`](super::pullback),
//! [`pushforward`](super::pushforward) and [`Mapping`].

use super::tree::Tree;
use super::{Path, Through, path, pullback, pushforward};
use crate::op::batch::Mapping;
use crate::op::leaf::fill;
use crate::op::{Leaf, Op, apply};
use crate::tape::{NodeId, Recording, Var};
use crate::tensor::{Shape, size, size_if_fits};

/// What to do about an input that the output does not depend on.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Unrelated {
    Panic,
    Zero,
}

impl Var {
    /// The gradient of this scalar with respect to a [`Var`], an array or list of them, or a named tree: in the same
    /// structure, each of the shape of its variable.
    ///
    /// Panics if this is not a scalar, or if it does not depend on a variable (or only through `stop_gradient` or a
    /// comparison), naming it: a zero would be silent. [`grad_or_zeros`](Self::grad_or_zeros) allows that. Derivatives that
    /// vanish because of the mathematics, as the second of a linear loss, are exact zeros and no error.
    #[track_caller]
    #[must_use]
    pub fn grad<P: Tree>(self, wrt: P) -> P::Output {
        wrt.rebuild(self.gradient("grad", &wrt.leaves(), Unrelated::Panic))
    }

    /// [`grad`](Self::grad) that is zero with respect to what this does not depend on.
    #[track_caller]
    #[must_use]
    pub fn grad_or_zeros<P: Tree>(self, wrt: P) -> P::Output {
        wrt.rebuild(self.gradient("grad_or_zeros", &wrt.leaves(), Unrelated::Zero))
    }

    #[track_caller]
    pub(super) fn gradient(self, operation: &str, wrt: &[Self], unrelated: Unrelated) -> Vec<Self> {
        let shape = self.shape();
        let instead = if operation.starts_with('h') { "derivative of order 2" } else { "jacobian or vjp" };
        assert!(
            shape.is_empty(),
            "{operation}: the loss has shape {shape:?}, but only a scalar has a gradient; sum it, or ask for its {instead}\n  \
             loss made at {}",
            self.location()
        );
        let one = fill(self, 1.0, &[]);
        cotangents(operation, &[(self, one)], wrt, unrelated)
    }

    /// Jᵀ·u: the cotangents of `wrt`, given this array's.
    #[track_caller]
    #[must_use]
    pub fn vjp<P: Tree>(self, wrt: P, cotangent: Self) -> P::Output {
        self.pulled_back("vjp", wrt, cotangent, Unrelated::Panic)
    }

    /// [`vjp`](Self::vjp) that is zero with respect to what this does not depend on.
    #[track_caller]
    #[must_use]
    pub fn vjp_or_zeros<P: Tree>(self, wrt: P, cotangent: Self) -> P::Output {
        self.pulled_back("vjp_or_zeros", wrt, cotangent, Unrelated::Zero)
    }

    #[track_caller]
    pub(super) fn pulled_back<P: Tree>(
        self,
        operation: &str,
        wrt: P,
        cotangent: Self,
        unrelated: Unrelated,
    ) -> P::Output {
        self.expect_shape(operation, "cotangent", cotangent, self);
        wrt.rebuild(cotangents(operation, &[(self, cotangent)], &wrt.leaves(), unrelated))
    }

    /// J·t: this array's tangent, given those of `wrt`, in the same structure. (Forward mode.)
    #[track_caller]
    #[must_use]
    pub fn jvp<P: Tree>(self, wrt: P, tangent: impl Tree) -> Self {
        self.pushed_forward("jvp", wrt, tangent, Unrelated::Panic)
    }

    /// [`jvp`](Self::jvp) that is zero where this depends on none of them.
    #[track_caller]
    #[must_use]
    pub fn jvp_or_zeros<P: Tree>(self, wrt: P, tangent: impl Tree) -> Self {
        self.pushed_forward("jvp_or_zeros", wrt, tangent, Unrelated::Zero)
    }

    #[track_caller]
    pub(crate) fn pushed_forward<P: Tree>(
        self,
        operation: &str,
        wrt: P,
        tangent: impl Tree,
        unrelated: Unrelated,
    ) -> Self {
        let (variables, tangents) = self.directions(operation, &wrt, &tangent);
        tangents_of(operation, &[self], &variables, &tangents, unrelated)[0]
    }

    /// The Hessian of this scalar times a direction, in the structure of the variables, forward over reverse: the tangent of its
    /// gradient.
    #[track_caller]
    #[must_use]
    pub fn hvp<P: Tree>(self, wrt: P, direction: impl Tree) -> P::Output {
        self.hessian_product("hvp", wrt, direction, Unrelated::Panic)
    }

    /// [`hvp`](Self::hvp) that is zero with respect to what this does not depend on.
    #[track_caller]
    #[must_use]
    pub fn hvp_or_zeros<P: Tree>(self, wrt: P, direction: impl Tree) -> P::Output {
        self.hessian_product("hvp_or_zeros", wrt, direction, Unrelated::Zero)
    }

    #[track_caller]
    pub(super) fn hessian_product<P: Tree>(
        self,
        operation: &str,
        wrt: P,
        direction: impl Tree,
        unrelated: Unrelated,
    ) -> P::Output {
        let (variables, tangents) = self.directions(operation, &wrt, &direction);
        let gradients = self.gradient(operation, &variables, unrelated);
        wrt.rebuild(tangents_of(operation, &gradients, &variables, &tangents, unrelated))
    }

    /// The Hessian of this scalar, of shape `x.shape() + x.shape()`, as one computation: the Hessian-vector product mapped
    /// over the unit directions.
    #[track_caller]
    #[must_use]
    pub fn hessian(self, x: Self) -> Self {
        self.hessian_called("hessian", x, Unrelated::Panic)
    }

    /// [`hessian`](Self::hessian) that is zero if this does not depend on x.
    #[track_caller]
    #[must_use]
    pub fn hessian_or_zeros(self, x: Self) -> Self {
        self.hessian_called("hessian_or_zeros", x, Unrelated::Zero)
    }

    #[track_caller]
    pub(super) fn hessian_called(self, operation: &str, x: Self, unrelated: Unrelated) -> Self {
        self.gradient(operation, &[x], unrelated)[0].forward_jacobian(operation, x, unrelated)
    }

    /// The derivative of each entry of this array by each of x, of shape `self.shape() + x.shape()`: mapped over the unit
    /// (co)tangents of whichever has fewer entries. As a gradient, it is of x's type.
    #[track_caller]
    #[must_use]
    pub fn jacobian(self, x: Self) -> Self {
        self.derivative_called("jacobian", x, 1, Unrelated::Panic)
    }

    /// [`jacobian`](Self::jacobian) that is zero if this does not depend on x.
    #[track_caller]
    #[must_use]
    pub fn jacobian_or_zeros(self, x: Self) -> Self {
        self.derivative_called("jacobian_or_zeros", x, 1, Unrelated::Zero)
    }

    /// [`jacobian`](Self::jacobian) by forward mode.
    #[track_caller]
    #[must_use]
    pub fn jacobian_forward(self, x: Self) -> Self {
        self.forward_jacobian("jacobian_forward", x, Unrelated::Panic)
    }

    #[track_caller]
    pub(crate) fn jacobian_by_tangents(self, x: Self, unrelated: Unrelated) -> Self {
        self.forward_jacobian("jacobian", x, unrelated)
    }

    #[track_caller]
    fn forward_jacobian(self, operation: &str, x: Self, unrelated: Unrelated) -> Self {
        self.check_same_tape(operation, x);
        let (m, n) = (self.shape(), x.shape());
        let mapping = Mapping::begin(&[unit_directions(operation, x).into()]);
        let column = tangents_of(operation, &[self], &[x], &[mapping.arguments[0].var()], unrelated)[0];
        let columns = mapping.end(&[column.into()])[0].var();
        let rows: Self = columns.reshape(&[size(&n), size(&m)]).t();
        let jacobian = rows.reshape(&[m, n].concat());
        // A tangent is of the output's type, a cotangent of the variable's; a Jacobian is the same in both modes.
        if jacobian.dtype() == x.dtype() { jacobian } else { jacobian.cast(x.dtype()) }
    }

    /// [`jacobian`](Self::jacobian) by reverse mode.
    #[track_caller]
    #[must_use]
    pub fn jacobian_reverse(self, x: Self) -> Self {
        self.reverse_jacobian("jacobian_reverse", x, Unrelated::Panic)
    }

    #[track_caller]
    fn reverse_jacobian(self, operation: &str, x: Self, unrelated: Unrelated) -> Self {
        self.check_same_tape(operation, x);
        let shape = [self.shape(), x.shape()].concat();
        let mapping = Mapping::begin(&[unit_directions(operation, self).into()]);
        let row = cotangents(operation, &[(self, mapping.arguments[0].var())], &[x], unrelated)[0];
        mapping.end(&[row.into()])[0].var().reshape(&shape)
    }

    /// The n-th derivative, of shape `self.shape()` followed by n times `x.shape()`. The 0-th is this array itself.
    #[track_caller]
    #[must_use]
    pub fn derivative(self, x: Self, order: usize) -> Self {
        self.derivative_called("derivative", x, order, Unrelated::Panic)
    }

    #[track_caller]
    pub(super) fn derivative_called(self, operation: &str, x: Self, order: usize, unrelated: Unrelated) -> Self {
        self.check_same_tape(operation, x);
        let mut derivative = self;
        for n in 0..order {
            derivative = if n == 0 && self.size() < x.size() {
                self.reverse_jacobian(operation, x, unrelated)
            } else {
                derivative.forward_jacobian(operation, x, unrelated)
            };
        }
        derivative
    }

    #[track_caller]
    fn expect_shape(self, operation: &str, what: &str, given: Self, of: Self) {
        self.check_same_tape(operation, given);
        given.check_same_dtype(operation, of);
        let (shape, wanted) = (given.shape(), of.shape());
        assert!(
            shape == wanted,
            "{operation}: a {what} of shape {shape:?} for an array of shape {wanted:?}\n  {what} made at {}\n  array made at {}",
            given.location(),
            of.location()
        );
    }

    /// Variables and a tangent for each.
    #[track_caller]
    fn directions(self, operation: &str, wrt: &impl Tree, direction: &impl Tree) -> (Vec<Self>, Vec<Self>) {
        if let Err(problem) = wrt.expect_like(direction) {
            panic!("{operation}: {problem}");
        }
        let (variables, tangents) = (wrt.leaves(), direction.leaves());
        for (variable, tangent) in variables.iter().zip(&tangents) {
            self.check_same_tape(operation, *variable);
            self.expect_shape(operation, "direction", *tangent, *variable);
        }
        (variables, tangents)
    }
}

/// Pulls back, and replaces what does not flow by zeros or a panic.
#[track_caller]
fn cotangents(operation: &str, outputs: &[(Var, Var)], wrt: &[Var], unrelated: Unrelated) -> Vec<Var> {
    for (output, _) in outputs {
        output.check_same_tape_all(operation, wrt);
    }
    expect_floats(operation, wrt);
    let flowing = match pullback(outputs, wrt) {
        Ok(flowing) => flowing,
        Err(problem) => panic!("{problem}"),
    };
    let of: Vec<NodeId> = outputs.iter().map(|(output, _)| output.node).collect();
    let mut results = Vec::with_capacity(wrt.len());
    for (i, (&var, cotangent)) in wrt.iter().zip(flowing).enumerate() {
        if let (None, Unrelated::Panic) = (cotangent, unrelated) {
            let paths: Vec<Path> =
                outputs.iter().map(|&(output, _)| path(output, &[var], Through::Derivatives)).collect();
            expect_related(operation, &paths, outputs[0].0, var, i);
        }
        results.push(result(cotangent, var, &of));
    }
    results
}

/// Pushes forward, and replaces what does not flow by zeros or a panic.
#[track_caller]
fn tangents_of(operation: &str, outputs: &[Var], wrt: &[Var], tangents: &[Var], unrelated: Unrelated) -> Vec<Var> {
    expect_floats(operation, wrt);
    let flowing = match pushforward(outputs, wrt, tangents) {
        Ok(flowing) => flowing,
        Err(problem) => panic!("{problem}"),
    };
    let mut results = Vec::with_capacity(outputs.len());
    for (&output, tangent) in outputs.iter().zip(flowing) {
        if let (None, Unrelated::Panic, Some(&var)) = (tangent, unrelated, wrt.first()) {
            expect_related(operation, &[path(output, wrt, Through::Derivatives)], output, var, 0);
        }
        results.push(result(tangent, output, &[output.node]));
    }
    results
}

#[track_caller]
fn expect_floats(operation: &str, wrt: &[Var]) {
    for (i, var) in wrt.iter().enumerate() {
        let dtype = var.dtype();
        assert!(
            dtype.is_float(),
            "{operation}: variable {i} ({}, made at {}) is of {dtype}, which has no derivative; `cast` it, and \
             differentiate by the result",
            var.describe(),
            var.location()
        );
    }
}

/// A derivative, or zeros of the shape of `like`, as a node of its own, which remembers of what it is a derivative.
#[track_caller]
fn result(derivative: Option<Var>, like: Var, of: &[NodeId]) -> Var {
    let derivative = match derivative {
        Some(derivative) => derivative,
        None => like.full_like(0.0),
    };
    let _recording = Recording::in_place_of(derivative.tape, derivative.location(), 0);
    derivative.derivative_of(of)
}

/// Panics unless some path is open.
#[track_caller]
fn expect_related(operation: &str, paths: &[Path], output: Var, var: Var, position: usize) {
    if paths.iter().any(|path| matches!(path, Path::Open(_))) {
        return;
    }
    let which = format!("variable {position} ({}, made at {})", var.describe(), var.location());
    let advice = match operation {
        "grad" | "value_and_grad" | "vjp" | "jvp" | "hvp" | "hessian" | "jacobian" => {
            format!("use {operation}_or_zeros")
        }
        _ => "write it".to_owned(),
    };
    let barrier = paths.iter().find_map(|path| if let Path::Blocked(node) = path { Some(*node) } else { None });
    match barrier {
        Some(node) => {
            let barrier = Var::recorded(var.tape, node);
            let name = barrier.with_node(|node| node.op.rules().name().to_owned());
            panic!(
                "{operation}: what is differentiated (made at {}) depends on {which} only through `{name}` (at {}), which \
                 lets no derivative pass; if a zero is meant, {advice}",
                output.location(),
                barrier.location()
            )
        }
        None => panic!(
            "{operation}: what is differentiated (made at {}) does not depend on {which}; if a zero is meant, {advice}",
            output.location()
        ),
    }
}

/// The unit arrays of a Var's shape, along a new leading axis.
#[track_caller]
fn unit_directions(operation: &str, like: Var) -> Var {
    let shape: Shape = std::iter::once(like.size()).chain(like.shape()).collect();
    if size_if_fits(&shape, like.dtype().bytes()).is_none() {
        panic!(
            "{operation}: as many directions as entries, {shape:?}, are larger than any memory\n  array made at {}",
            like.location()
        );
    }
    apply(like.tape, Op::Leaf(Leaf::Units { dtype: like.dtype(), shape }), &[])
}

impl Var {
    /// "input `theta` of shape [2]", for messages.
    #[track_caller]
    pub(crate) fn describe(self) -> String {
        self.with_node(|node| {
            format!("{} {} of shape {:?}", node.op.rules().name(), node.op.rules().parameters(), node.shape)
        })
    }
}
