//! The categorical distribution, by logits.

use ad::{DType, Index, Shape, Var, broadcast_shape};
use ndarray::{Array1, ArrayD, Axis};
use rand::Rng;

use crate::stream::draw;

/// Categorical distributions over A actions, one for each row of logits `[…, A]`. A logit of −∞ is an action that is never
/// taken.
///
/// The axes in front of A are the batch. They broadcast against those of actions, features and other distributions, by
/// NumPy's rule; the number of actions does not.
#[derive(Clone, Copy, Debug)]
pub struct Categorical {
    /// Log-probabilities: `[…, A]`, or a table of rows to be looked up, `[S, A]`.
    table: Var,
    /// Which rows of the table; if none, the table is the batch itself.
    rows: Option<Index>,
}

impl Categorical {
    /// From logits (log-probabilities up to a constant for each row), `[…, A]`.
    ///
    /// Panics without an action.
    #[track_caller]
    pub fn new(logits: Var) -> Self {
        let shape = logits.shape();
        assert!(
            shape.last().is_some_and(|&actions| actions > 0),
            "Categorical: logits of shape {shape:?} have no action"
        );
        Self { table: logits.log_softmax(), rows: None }
    }

    /// The same, one for each entry of `rows`, `[…]`: the distribution of that row of the logits, `[S, A]`. What is asked of them
    /// is computed for each row of the table once, and looked up.
    ///
    /// Panics without an action, or for logits of other axes.
    #[track_caller]
    pub fn of_rows(logits: Var, rows: Index) -> Self {
        let shape = logits.shape();
        assert!(shape.len() == 2, "Categorical: a table of logits needs the shape [S, A], got {shape:?}");
        Self { rows: Some(rows), ..Self::new(logits) }
    }

    /// `x`, one for each row of the table, as one for each distribution.
    #[track_caller]
    fn look_up(&self, x: Var) -> Var {
        self.rows.map_or(x, |rows| x.gather([rows]))
    }

    /// The axes in front of the actions.
    fn batch(&self) -> Shape {
        let shape = self.table.shape();
        self.rows.map_or_else(|| shape[..shape.len() - 1].into(), |rows| rows.shape())
    }

    /// The number of actions, A.
    pub fn actions(&self) -> usize {
        *self.table.shape().last().expect("`new` has checked it")
    }

    /// log π(a|·) of every action, `[…, A]`.
    #[track_caller]
    pub fn log_probabilities(&self) -> Var {
        self.look_up(self.table)
    }

    /// π(a|·) of every action, `[…, A]`.
    #[track_caller]
    pub fn probabilities(&self) -> Var {
        self.look_up(self.table.exp())
    }

    /// log π(a|·) of one action for each row, `[…]`.
    #[track_caller]
    pub fn log_prob(&self, actions: Index) -> Var {
        let (rows, count) = (self.batch(), self.actions());
        let batch = batch_shape("log_prob", &rows, "actions", &actions.shape());
        match self.rows {
            Some(rows) => self.table.gather([rows.broadcast_to(&batch), actions.broadcast_to(&batch)]),
            None if rows.is_empty() => self.table.gather([actions]),
            None => {
                let each = [&batch[..], &[count]].concat();
                self.table.broadcast_to(&each).pick(actions.broadcast_to(&batch))
            }
        }
    }

    /// ∇_θ log π(a|·) of one action for each row, `[…, D]`, where the logits are φ(a)ᵀθ with features φ, `[…, A, D]`:
    /// φ(a) − Σ_b π(b|·) φ(b). With the identity for features it is the derivative by the logits.
    ///
    /// Fallah et al. 2021, eq. 29.
    #[track_caller]
    pub fn score(&self, features: Var, actions: Index) -> Var {
        let centred = self.centred(features);
        let shape = centred.shape();
        let [rows @ .., count, size] = &shape[..] else { unreachable!("`centred` has checked it") };
        let batch = batch_shape("score", rows, "actions", &actions.shape());
        let number = batch.iter().product::<usize>();
        let row = Index::constant(features, Array1::from_iter(0..number as i32));
        let flat = centred.broadcast_to(&[&batch[..], &[*count, *size]].concat()).reshape(&[number, *count, *size]);
        let taken = actions.broadcast_to(&batch).reshape(&[number]);
        flat.gather([row, taken]).reshape(&[&batch[..], &[*size]].concat())
    }

    /// The covariance Σ_a π(a|·) (φ(a) − E φ)(φ(a) − E φ)ᵀ of features `[…, A, D]`, `[…, D, D]`. Where the logits are φ(a)ᵀθ,
    /// ∇²_θ log π(a|·) is minus it, whatever the action.
    ///
    /// Fallah et al. 2021, eq. 40 (where the second factor should be φ(a') − E φ, too).
    #[track_caller]
    pub fn covariance(&self, features: Var) -> Var {
        let centred = self.centred(features);
        (centred * self.column()).t().matmul(centred)
    }

    /// φ − E φ, `[…, A, D]`.
    #[track_caller]
    fn centred(&self, features: Var) -> Var {
        let (shape, rows, count) = (features.shape(), self.batch(), self.actions());
        let [batch @ .., actions, _] = &shape[..] else {
            panic!("Categorical: features need the shape […, {count}, D], got {shape:?}")
        };
        assert!(*actions == count, "Categorical: features need the shape […, {count}, D], got {shape:?}");
        batch_shape("Categorical", &rows, "features", batch);
        let weighted = features * self.column();
        let axis = weighted.shape().len() - 2;
        features - weighted.sum_axes(&[axis]).insert_axis(axis)
    }

    /// π(a|·) beside features, `[…, A, 1]`.
    #[track_caller]
    fn column(&self) -> Var {
        self.probabilities().insert_axis(self.batch().len() + 1)
    }

    /// The same, held fixed: no derivative flows into it.
    #[track_caller]
    #[must_use]
    pub fn stop_gradient(&self) -> Self {
        Self { table: self.table.stop_gradient(), ..*self }
    }

    /// −Σ_a π log π, `[…]`.
    #[track_caller]
    pub fn entropy(&self) -> Var {
        let table = Self { rows: None, ..*self };
        self.look_up(table.mean_of(-table.finite()))
    }

    /// KL(self ‖ other) = Σ_a π (log π − log π'), `[…]`.
    ///
    /// Panics if they have different numbers of actions.
    #[track_caller]
    pub fn kl(&self, other: &Self) -> Var {
        let (count, other_count) = (self.actions(), other.actions());
        assert!(count == other_count, "kl: {count} actions, and {other_count} of the other");
        batch_shape("kl", &self.batch(), "the other", &other.batch());
        // Where π is 0 the term is 0, whatever π' is.
        let taken = self.log_probabilities().greater(f64::NEG_INFINITY);
        self.mean_of(self.finite() - taken.select(other.log_probabilities(), 0.0))
    }

    /// One action for each row, `[…]`. Never one of probability 0.
    ///
    /// Evaluates the logits: to sample often, keep the probabilities as numbers.
    ///
    /// Panics if a row is no distribution: a logit is NaN or ∞, or all are −∞.
    #[track_caller]
    pub fn sample(&self, rng: &mut impl Rng) -> ArrayD<i32> {
        let probabilities = self.probabilities().cast(DType::F64).value();
        let actions = Axis(probabilities.ndim() - 1);
        let drawn: Vec<Option<usize>> =
            probabilities.lanes(actions).into_iter().map(|row| draw(row.iter().copied(), rng)).collect();
        if let Some(number) = drawn.iter().position(Option::is_none) {
            let row = probabilities.lanes(actions).into_iter().nth(number).expect("the row of that number");
            panic!(
                "sample: row {number} of the logits is no distribution (one is NaN or ∞, or all are −∞): its probabilities \
                 are {row}"
            );
        }
        let shape = &probabilities.shape()[..actions.0];
        let drawn = drawn.into_iter().flatten().map(|action| action as i32).collect();
        ArrayD::from_shape_vec(shape, drawn).expect("an action for each row")
    }

    /// The log-probabilities with 0 for −∞, which a probability of 0 multiplies: 0·(−∞) would be NaN.
    #[track_caller]
    fn finite(&self) -> Var {
        let log_probabilities = self.log_probabilities();
        log_probabilities.greater(f64::NEG_INFINITY).select(log_probabilities, 0.0)
    }

    /// Σ_a π x, for x `[…, A]`.
    #[track_caller]
    fn mean_of(&self, x: Var) -> Var {
        let terms = self.probabilities() * x;
        terms.sum_axes(&[terms.shape().len() - 1])
    }
}

/// The batch of a distribution broadcast against that of `other`.
#[track_caller]
pub(super) fn batch_shape(operation: &str, own: &[usize], other: &str, others: &[usize]) -> Shape {
    broadcast_shape(own, others).unwrap_or_else(|| {
        panic!("{operation}: a batch of distributions {own:?} does not broadcast with that of {other}, {others:?}")
    })
}
