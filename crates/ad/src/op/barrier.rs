//! Operations that matter only to differentiation. To the numbers they are the identity (or the constant 1), and lowering
//! removes them once the derivatives stand.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::elementwise::{Binary, Elementwise};
use super::movement::Movement;
use super::{Call, Cotangents, Failure, Op, Operand, Rules, alike, apply, floats};
use crate::dtype::{DType, by_dtype};
use crate::real::Real;
use crate::tape::{Index, Node, NodeId, Var, is_reusing};
use crate::tensor::{Shape, SliceMut};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Barrier {
    /// x, through which no derivative flows.
    StopGradient,
    /// 1, with the derivative of exp(x − stop(x)): its own value times that of x.
    MagicBox,
    /// x, as a node of its own. The result of a derivative remembers what it is a derivative `of`, so that a further one
    /// that vanishes can be told from one of something unrelated.
    Alias { of: SmallVec<[NodeId; 1]> },
    /// The value of a surrogate whose derivatives are right up to an order only.
    Limit(DerivativeLimit),
    /// x, which is from here on an adjoint of a limited surrogate in a derivative of that order; of order 0, none any more.
    Adjoint(Adjoint),
}

impl Rules for Barrier {
    fn name(&self) -> &str {
        match self {
            Barrier::StopGradient => "stop_gradient",
            Barrier::MagicBox => "magic_box",
            Barrier::Alias { .. } => "alias",
            Barrier::Limit(_) => "limit_derivatives",
            Barrier::Adjoint(_) => "adjoint",
        }
    }

    fn parameters(&self) -> String {
        match self {
            Barrier::Limit(limit) => format!("{} to order {}", limit.0.name, limit.0.order),
            Barrier::Adjoint(adjoint) => format!("{} at order {}", adjoint.limit.0.name, adjoint.order),
            _ => String::new(),
        }
    }

    fn dtype(&self, operands: &[DType]) -> Result<DType, String> {
        match self {
            Barrier::StopGradient | Barrier::Alias { .. } => alike(operands),
            _ => floats(operands),
        }
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        Ok(operands[0].into())
    }

    fn differentiable(&self, _operand: usize) -> bool {
        *self != Barrier::StopGradient
    }

    fn vjp(&self, call: &Call, g: Var) -> Cotangents {
        call.one(|| match self {
            Barrier::StopGradient => unreachable!("no derivative flows here"),
            Barrier::MagicBox => g * call.output(),
            Barrier::Alias { .. } | Barrier::Limit(_) => g,
            Barrier::Adjoint(adjoint) => adjoint.end(g),
        })
    }

    fn with_leading_axis(&self, _size: usize) -> Op {
        Op::Barrier(self.clone())
    }

    fn forward(&self, operands: &[Operand<'_>], _shape: &[usize], out: SliceMut<'_>) -> Result<(), Failure> {
        match self {
            Barrier::MagicBox => by_dtype!(floats SliceMut, out, |out| out.fill(Real::of(1.0))),
            _ => out.copy_from(operands[0].data),
        }
        Ok(())
    }
}

impl Barrier {
    /// Whether the result's numbers are the operand's.
    pub fn is_identity(&self) -> bool {
        *self != Barrier::MagicBox
    }
}

/// A promise about the derivatives of a surrogate objective: right up to an order, and an error beyond.
///
/// A policy-gradient surrogate has the right gradient and a wrong Hessian, and nothing in its numbers tells. Passing the
/// surrogate through a limit makes every derivative that differentiates it more often panic with its name, also where the
/// differentiation is nested, as in an inner update that is built on its gradient and then differentiated.
///
/// ```should_panic
/// let tape = ad::Tape::new();
/// let theta = tape.input("theta", &ndarray::arr1(&[0.3, -0.2]));
/// let limit = ad::DerivativeLimit::new("my surrogate", 1, "use a surrogate that claims order 2");
/// let surrogate = limit.apply(theta.log_softmax().at(0, 0) * 2.0);
/// let gradient = surrogate.grad(theta);             // fine
/// let adapted = theta + gradient * 0.1;
/// adapted.exp().sum().grad(theta);                  // panics: this differentiates the surrogate twice
/// ```
#[derive(Clone, Debug)]
pub struct DerivativeLimit(Arc<Promise>);

#[derive(Debug)]
struct Promise {
    name: String,
    order: usize,
    advice: String,
}

impl PartialEq for DerivativeLimit {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for DerivativeLimit {}

impl std::hash::Hash for DerivativeLimit {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl DerivativeLimit {
    /// A new limit: derivatives up to `order` are right. `advice` ends the message of the panic beyond.
    pub fn new(name: &str, order: usize, advice: &str) -> Self {
        Self(Arc::new(Promise { name: name.into(), order, advice: advice.into() }))
    }

    /// The surrogate, differentiated under this limit.
    #[track_caller]
    #[must_use]
    pub fn apply(&self, surrogate: Var) -> Var {
        surrogate.check_alive();
        apply(surrogate.tape, Op::Barrier(Barrier::Limit(self.clone())), &[surrogate.node])
    }

    fn check(&self, order: usize) -> Result<(), String> {
        let Promise { name, order: last, advice } = &*self.0;
        if order <= *last {
            return Ok(());
        }
        Err(format!(
            "{name}: a derivative of order {order} was asked for, but its derivatives are right only up to order {last}; \
             {advice}"
        ))
    }
}

/// That a node is an adjoint of a limited surrogate: that a derivative pass made it from the cotangent that arrived at the
/// surrogate. All of a pass's adjoints are linear in that cotangent; what they are multiplied by are coefficients, which are
/// made of the surrogate's own nodes.
///
/// Of s = θ³ and the cotangent ḡ of s, a pass records ḡ·3θ², which is an adjoint of order 1; 3θ² is a coefficient.
///
/// - Its derivative by ḡ is 3θ², and flows along the adjoints, as in forward mode: it is still a first derivative of s.
/// - Its derivative by θ is ḡ·6θ, and flows into the coefficient: it is a second derivative of s, an adjoint of order 2.
///
/// What a user computes of a gradient inherits its adjoints, without being linear in anything: so they count only in nodes of the
/// pass that they name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Adjoint {
    /// Of the surrogate.
    limit: DerivativeLimit,
    /// How often the surrogate has been differentiated for it.
    order: usize,
    /// The pass that made it.
    pass: u32,
}

impl Adjoint {
    /// A cotangent, marked as this adjoint.
    fn mark(self, cotangent: Var) -> Var {
        apply(cotangent.tape, Op::Barrier(Barrier::Adjoint(self)), &[cotangent.node])
    }

    /// A cotangent that flows on to what is no adjoint and no coefficient of this surrogate, as that of ḡ does, which came from
    /// outside: it is no adjoint of it any more.
    fn end(&self, cotangent: Var) -> Var {
        let is_adjoint = cotangent.with_node(|node| node.adjoints.iter().any(|adjoint| adjoint.limit == self.limit));
        if is_adjoint { Adjoint { order: 0, ..self.clone() }.mark(cotangent) } else { cotangent }
    }
}

/// What a new node is an adjoint of: what its operands are, unless it marks where adjoints begin or end.
pub(crate) fn adjoints(op: &Op, operands: &mut dyn Iterator<Item = &[Adjoint]>) -> Box<[Adjoint]> {
    match op {
        Op::Barrier(Barrier::StopGradient) => Box::default(),
        Op::Barrier(Barrier::Adjoint(adjoint)) => {
            let mut adjoints = union(operands).into_vec();
            adjoints.retain(|other| other.limit != adjoint.limit);
            if adjoint.order > 0 {
                adjoints.push(adjoint.clone());
            }
            adjoints.into()
        }
        Op::Fold(fold) => {
            let [_, after] = fold.adjoints(operands);
            after
        }
        _ => union(operands),
    }
}

/// All of several lists, each at its highest order.
pub(crate) fn union<'a>(lists: impl Iterator<Item = &'a [Adjoint]>) -> Box<[Adjoint]> {
    let mut adjoints: Vec<Adjoint> = Vec::new();
    for adjoint in lists.flatten() {
        match adjoints.iter_mut().find(|other| other.limit == adjoint.limit && other.pass == adjoint.pass) {
            Some(other) => other.order = other.order.max(adjoint.order),
            None => adjoints.push(adjoint.clone()),
        }
    }
    adjoints.into()
}

/// A cotangent that arrives at a node, as it flows on to each operand: marked with the order of the derivative that it is
/// now part of. The error says which surrogate would be differentiated beyond its limit.
pub(crate) fn follow(
    node: &Node,
    operands: &[&[Adjoint]],
    needed: &[bool],
    cotangent: Var,
    pass: u32,
) -> Result<SmallVec<[Var; 3]>, String> {
    if let Op::Barrier(Barrier::Limit(limit)) = &node.op {
        limit.check(1)?;
        return Ok(smallvec![Adjoint { limit: limit.clone(), order: 1, pass }.mark(cotangent)]);
    }
    let mut flowing: SmallVec<[Var; 3]> = smallvec![cotangent; operands.len()];
    if matches!(node.op, Op::Barrier(Barrier::Adjoint(_))) {
        return Ok(flowing);
    }
    // Its operands are added, or put side by side.
    let sum = matches!(
        node.op,
        Op::Elementwise(Elementwise::Binary(Binary::Plus | Binary::Minus))
            | Op::Movement(Movement::Concat { .. } | Movement::Shift { .. })
    );
    for adjoint in node.adjoints.iter().filter(|adjoint| node.pass != 0 && adjoint.pass == node.pass) {
        for (i, operand) in operands.iter().enumerate().filter(|&(i, _)| needed[i]) {
            let linear = operand.iter().find(|other| other.limit == adjoint.limit && other.pass == adjoint.pass);
            let limit = adjoint.limit.clone();
            flowing[i] = match linear {
                Some(linear) => Adjoint { limit, order: linear.order, pass }.mark(flowing[i]),
                // Another addend of a sum has nothing to do with the surrogate.
                None if sum => adjoint.end(flowing[i]),
                // A coefficient.
                None => {
                    limit.check(adjoint.order + 1)?;
                    Adjoint { limit, order: adjoint.order + 1, pass }.mark(flowing[i])
                }
            };
        }
    }
    Ok(flowing)
}

impl Var {
    /// The same numbers, through which no derivative flows, of any order, in either mode.
    #[track_caller]
    #[must_use]
    pub fn stop_gradient(self) -> Self {
        self.check_alive();
        apply(self.tape, Op::Barrier(Barrier::StopGradient), &[self.node])
    }

    /// DiCE's MagicBox: the constant 1 whose derivatives are those of exp(x − stop(x)), so that ∇□(x) = □(x)·∇x.
    ///
    /// Foerster et al. 2018. Its value is 1 whatever x is.
    #[track_caller]
    #[must_use]
    pub fn magic_box(self) -> Self {
        self.check_alive();
        apply(self.tape, Op::Barrier(Barrier::MagicBox), &[self.node])
    }

    /// The same numbers as a node of its own: a derivative with respect to it is not one with respect to `self`.
    #[track_caller]
    #[must_use]
    pub fn alias(self) -> Self {
        self.derivative_of(&[])
    }

    /// What an operation with nothing to do gives: a node of its own all the same, so that a derivative with respect to it
    /// is not one with respect to `self`. (Derivative passes do without: nobody holds a handle to their nodes.)
    #[track_caller]
    pub(crate) fn unchanged(self) -> Self {
        self.check_alive();
        if is_reusing(self.tape) { self } else { self.alias() }
    }

    /// An alias that remembers what it is a derivative of.
    #[track_caller]
    pub(crate) fn derivative_of(self, of: &[NodeId]) -> Self {
        self.check_alive();
        apply(self.tape, Op::Barrier(Barrier::Alias { of: of.into() }), &[self.node])
    }
}

impl Index {
    /// Integers have no derivative: nothing tells an array from an alias of it.
    pub(crate) fn unchanged(self) -> Self {
        self
    }
}
