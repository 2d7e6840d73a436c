//! Operations that matter only to differentiation. To the numbers they are the identity (or the constant 1), and lowering
//! removes them once the derivatives stand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;

use super::{Call, Cotangents, Failure, Op, Operand, Out, Rules, apply};
use crate::real::Real;
use crate::tape::{Graph, Kind, NodeId, Var, with_graph};
use crate::tensor::Shape;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Barrier {
    /// x, through which no derivative flows.
    StopGradient,
    /// 1, with the derivative of exp(x − stop(x)): its own value times that of x.
    MagicBox,
    /// x, as a node of its own. The result of a derivative remembers what it is a derivative `of`, so that a further one
    /// that vanishes can be told from one of something unrelated.
    Alias { of: SmallVec<[NodeId; 1]> },
    /// x, whose derivatives through here are right up to an order only.
    Limit(DerivativeLimit),
    /// A cotangent that passed a limit, being part of a derivative of this order.
    Passed { limit: DerivativeLimit, order: usize },
}

impl<T: Real> Rules<T> for Barrier {
    fn name(&self) -> &str {
        match self {
            Barrier::StopGradient => "stop_gradient",
            Barrier::MagicBox => "magic_box",
            Barrier::Alias { .. } => "alias",
            Barrier::Limit(_) => "limit_derivatives",
            Barrier::Passed { .. } => "passed_limit",
        }
    }

    fn parameters(&self) -> String {
        match self {
            Barrier::Limit(limit) => format!("{} to order {}", limit.name, limit.order),
            Barrier::Passed { limit, order } => format!("{} at order {order}", limit.name),
            _ => String::new(),
        }
    }

    fn kind(&self, first: Kind) -> Kind {
        first
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        Ok(operands[0].into())
    }

    fn differentiable(&self, _operand: usize) -> bool {
        *self != Barrier::StopGradient
    }

    fn vjp(&self, call: &Call<T>, g: Var<T>) -> Cotangents<T> {
        call.one(|| match self {
            Barrier::StopGradient => unreachable!("no derivative flows here"),
            Barrier::MagicBox => g * call.output(),
            Barrier::Alias { .. } => g,
            Barrier::Limit(limit) => {
                let order = limit.order_of(g) + 1;
                apply(g.tape, Op::Barrier(Barrier::Passed { limit: limit.clone(), order }), &[g.node])
            }
            Barrier::Passed { .. } => apply(g.tape, Op::Barrier(self.clone()), &[g.node]),
        })
    }

    fn batched(&self, _size: usize) -> Op<T> {
        Op::Barrier(self.clone())
    }

    fn forward(&self, operands: &[Operand<'_, T>], _shape: &[usize], out: Out<'_, T>) -> Result<(), Failure> {
        match (self, out) {
            (Barrier::MagicBox, out) => out.real().fill(T::one()),
            (_, Out::Real(out)) => out.copy_from_slice(operands[0].real()),
            (_, Out::Index(out)) => out.copy_from_slice(operands[0].index()),
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
/// surrogate's inputs (its log-probabilities) through a limit makes every derivative that differentiates the surrogate
/// more often panic with its name, also where the differentiation is nested, as in an inner update that is built on its
/// gradient and then differentiated.
///
/// ```should_panic
/// let tape = ad::Tape::<f64>::new();
/// let theta = tape.input("theta", &ndarray::arr1(&[0.3, -0.2]));
/// let limit = ad::DerivativeLimit::new("my surrogate", 1, "use a surrogate that claims order 2");
/// let surrogate = limit.apply(theta).log_softmax().at(0, 0) * 2.0;
/// let gradient = surrogate.grad(theta);             // fine
/// let adapted = theta + gradient * 0.1;
/// adapted.exp().sum().grad(theta);                  // panics: this differentiates the surrogate twice
/// ```
#[derive(Clone, Debug)]
pub struct DerivativeLimit {
    id: u64,
    name: Arc<str>,
    order: usize,
    advice: Arc<str>,
}

impl PartialEq for DerivativeLimit {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for DerivativeLimit {}

impl std::hash::Hash for DerivativeLimit {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl DerivativeLimit {
    /// A new limit: derivatives up to `order` are right. `advice` ends the message of the panic beyond.
    pub fn new(name: &str, order: usize, advice: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), name: name.into(), order, advice: advice.into() }
    }

    /// The same numbers, differentiated under this limit. All inputs of one surrogate share one limit.
    #[track_caller]
    #[must_use]
    pub fn apply<T: Real>(&self, x: Var<T>) -> Var<T> {
        x.check_alive();
        apply(x.tape, Op::Barrier(Barrier::Limit(self.clone())), &[x.node])
    }

    /// What is wrong with a derivative that brings this cotangent through the limit, if anything is.
    pub(crate) fn violation<T: Real>(&self, cotangent: Var<T>) -> Option<String> {
        let order = self.order_of(cotangent) + 1;
        (order > self.order).then(|| {
            format!(
                "{}: a derivative of order {order} was asked for, but its derivatives are right only up to order {}; {}",
                self.name, self.order, self.advice
            )
        })
    }

    /// The highest order of a derivative through this limit that the cotangent is already part of.
    fn order_of<T: Real>(&self, cotangent: Var<T>) -> usize {
        with_graph::<T, _>(cotangent.tape, |graph: &mut Graph<T>| {
            let mut highest = 0;
            let mut stack = vec![cotangent.node];
            let mut seen = std::collections::HashSet::from([cotangent.node]);
            while let Some(node) = stack.pop() {
                let node = &graph.nodes[node as usize];
                match &node.op {
                    Op::Barrier(Barrier::Passed { limit, order }) if limit == self => highest = highest.max(*order),
                    Op::Barrier(Barrier::Limit(limit)) if limit == self => continue,
                    Op::Barrier(Barrier::StopGradient) => continue,
                    _ => {}
                }
                stack.extend(node.operands.iter().copied().filter(|&operand| seen.insert(operand)));
            }
            highest
        })
    }
}

impl<T: Real> Var<T> {
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

    /// An alias that remembers what it is a derivative of.
    #[track_caller]
    pub(crate) fn derivative_of(self, of: &[NodeId]) -> Self {
        self.check_alive();
        apply(self.tape, Op::Barrier(Barrier::Alias { of: of.into() }), &[self.node])
    }
}
