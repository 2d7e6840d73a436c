//! Mixtures: one of several distributions of a kind, chosen at random.

use ad::{Shape, Var};
use rand::Rng;

use super::categorical::batch_shape;
use super::dist::{Component, Draw, OverVectors, own_formulas};

/// Mixtures of K distributions of one kind over vectors `[…, D]`, one for each row of logits `[…, K]`: a component is chosen with
/// probability softmax(logits), and the vector drawn from it.
///
/// The axes in front of K are the batch, which broadcasts against that of points, by NumPy's rule. There is no closed form of its entropy, nor of a
/// divergence.
///
/// ```
/// use ndarray::{arr1, arr2};
/// use rl::policy::{Mixture, Normal};
/// let tape = ad::Tape::new();
/// let means = tape.input("means", arr2(&[[-1.0], [1.0]]));                       // [K, D]
/// let two = Mixture::new(tape.input("logits", arr1(&[0.0, 0.0])), Normal::new(means, means.full_like(-1.0)));
/// assert_eq!(two.log_prob(means).shape()[..], [2]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Mixture {
    log_weights: Var,
    component: Component,
}

impl Mixture {
    /// From logits (log-probabilities up to a constant for each row), `[…, K]`, and distributions of a batch `[…, K]`. A logit of −∞ is a component
    /// that is never chosen.
    ///
    /// Panics without a component, if they differ in K, or in type.
    #[track_caller]
    pub fn new(logits: Var, components: impl Into<Component>) -> Self {
        let components = components.into();
        let (shape, points) = (logits.shape(), components.shape());
        let [own @ .., count, _] = &points[..] else {
            panic!("Mixture: components need a batch […, K], but are one distribution over vectors {points:?}")
        };
        assert!(
            *count > 0 && shape.last() == Some(count),
            "Mixture: components of a batch {:?} need logits of the shape […, {count}], got {shape:?}",
            &points[..points.len() - 1]
        );
        let mut batch = batch_shape("Mixture", own, "logits", &shape[..shape.len() - 1]);
        batch.push(*count);
        let heads = components.heads().into_iter().map(|head| {
            let own = head.shape();
            head.broadcast_to(&[&batch[..], &own[points.len() - 1..]].concat())
        });
        let component = components.with_heads(&heads.collect::<Vec<_>>());
        Self { log_weights: logits.log_softmax().broadcast_to(&batch), component }
    }

    /// The logarithms of the components' probabilities, `[…, K]`.
    pub fn log_weights(&self) -> Var {
        self.log_weights
    }

    /// The components, a batch `[…, K]`.
    pub fn components(&self) -> Component {
        self.component
    }

    /// log π(a) = ln Σ_k w_k π_k(a), `[…]`, of points `[…, D]`.
    #[track_caller]
    pub fn log_prob(&self, points: Var) -> Var {
        let (own, shape) = (OverVectors::shape(self), points.shape());
        let (size, batch) = own.split_last().expect("with components");
        assert!(shape.last() == Some(size), "Mixture: points needs the shape […, {size}], got {shape:?}");
        batch_shape("log_prob", batch, "points", &shape[..shape.len() - 1]);
        let each = self.component.log_prob(points.insert_axis(shape.len() - 1)) + self.log_weights;
        each.logsumexp(&[each.shape().len() - 1])
    }
}

impl OverVectors for Mixture {
    fn name(&self) -> &'static str {
        "a mixture"
    }

    fn shape(&self) -> Shape {
        let mut shape = self.component.shape();
        shape.remove(shape.len() - 2);
        shape
    }

    #[track_caller]
    fn heads(&self) -> Vec<Var> {
        [vec![self.log_weights], self.component.heads()].concat()
    }

    #[track_caller]
    fn with_heads(&self, heads: &[Var]) -> Self {
        Self { log_weights: heads[0], component: self.component.with_heads(&heads[1..]) }
    }

    own_formulas!(log_prob);

    #[track_caller]
    fn drawn_from(&self) -> Var {
        let (weights, each) = (self.log_weights.exp(), self.component.drawn_from());
        let rank = weights.shape().len() - 1;
        let batch = &weights.shape()[..rank];
        let flat = each.size() / batch.iter().product::<usize>().max(1);
        Var::concat(&[weights, each.reshape(&[batch, &[flat]].concat())], rank)
    }

    fn drawing(&self) -> Draw {
        Draw { mixed: *self.log_weights.shape().last().expect("`new` has checked it"), ..self.component.drawing() }
    }

    fn draw(_numbers: &[f64], _single: bool, _rng: &mut dyn Rng, _action: &mut [f64]) {
        unreachable!("`drawing` says how")
    }
}
