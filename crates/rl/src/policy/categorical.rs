//! The categorical distribution, by logits.

use ad::{Index, Real, Var};
use ndarray::{Array1, ArrayD};
use rand::{Rng, RngExt};

/// Categorical distributions over A actions, one for each row of logits `[…, A]`. A logit of −∞ is an action that is never
/// taken.
#[derive(Clone, Copy, Debug)]
pub struct Categorical<T: Real = f64> {
    /// log-probabilities, `[…, A]`.
    log_probabilities: Var<T>,
}

impl<T: Real> Categorical<T> {
    /// From logits (log-probabilities up to a constant for each row), `[…, A]`.
    #[track_caller]
    pub fn new(logits: Var<T>) -> Self {
        Self { log_probabilities: logits.log_softmax() }
    }

    /// log π(a|·) of every action, `[…, A]`.
    pub fn log_probabilities(&self) -> Var<T> {
        self.log_probabilities
    }

    /// π(a|·) of every action, `[…, A]`.
    #[track_caller]
    pub fn probabilities(&self) -> Var<T> {
        self.log_probabilities.exp()
    }

    /// log π(a|·) of one action for each row, `[…]`.
    #[track_caller]
    pub fn log_prob(&self, actions: Index<T>) -> Var<T> {
        self.log_probabilities.pick(actions)
    }

    /// ∇_θ log π(a|·) of one action for each row, `[…, D]`, where the logits are φ(a)ᵀθ with features φ, `[…, A, D]`:
    /// φ(a) − Σ_b π(b|·) φ(b). With the identity for features it is the derivative by the logits.
    ///
    /// Fallah et al. 2021, eq. 29.
    #[track_caller]
    pub fn score(&self, features: Var<T>, actions: Index<T>) -> Var<T> {
        let centred = self.centred(features);
        let (shape, rows) = (centred.shape(), actions.shape());
        let [.., count, size] = shape[..] else { unreachable!("`centred` has checked it") };
        assert!(rows[..] == shape[..shape.len() - 2], "score: the actions have shape {rows:?}, the features {shape:?}");
        let number = rows.iter().product::<usize>();
        let row = Index::constant(features, Array1::from_iter(0..number as i32));
        let flat = centred.reshape(&[number, count, size]);
        flat.gather(&[row, actions.reshape(&[number])]).reshape(&[&rows[..], &[size]].concat())
    }

    /// The covariance Σ_a π(a|·) (φ(a) − E φ)(φ(a) − E φ)ᵀ of features `[…, A, D]`, `[…, D, D]`. Where the logits are φ(a)ᵀθ,
    /// ∇²_θ log π(a|·) is minus it, whatever the action.
    ///
    /// Fallah et al. 2021, eq. 40 (where the second factor should be φ(a') − E φ, too).
    #[track_caller]
    pub fn covariance(&self, features: Var<T>) -> Var<T> {
        let centred = self.centred(features);
        let last = centred.shape().len() - 1;
        let mut axes: Vec<usize> = (0..=last).collect();
        axes.swap(last - 1, last);
        (centred * self.probabilities().insert_axis(last)).transpose(&axes).matmul(centred)
    }

    /// φ − E φ, `[…, A, D]`.
    #[track_caller]
    fn centred(&self, features: Var<T>) -> Var<T> {
        let (shape, expected) = (features.shape(), self.log_probabilities.shape());
        let fits = shape.len() == expected.len() + 1 && shape[..expected.len()] == expected[..];
        assert!(fits, "Categorical: features need the shape {expected:?} and one more axis, got {shape:?}");
        let last = expected.len();
        let mean = (features * self.probabilities().insert_axis(last)).sum_axes(&[last - 1]);
        features - mean.insert_axis(last - 1)
    }

    /// −Σ_a π log π, `[…]`.
    #[track_caller]
    pub fn entropy(&self) -> Var<T> {
        self.mean_of(-self.finite())
    }

    /// KL(self ‖ other) = Σ_a π (log π − log π'), `[…]`.
    #[track_caller]
    pub fn kl(&self, other: &Self) -> Var<T> {
        // Where π is 0 the term is 0, whatever π' is.
        let taken = self.log_probabilities.greater(T::neg_infinity());
        self.mean_of(self.finite() - taken.select(other.log_probabilities, T::zero()))
    }

    /// One action for each row, `[…]`.
    ///
    /// Evaluates the logits: to sample often, keep the probabilities as numbers.
    #[track_caller]
    pub fn sample(&self, rng: &mut impl Rng) -> ArrayD<i32> {
        let probabilities = self.probabilities().value();
        let actions = ndarray::Axis(probabilities.ndim() - 1);
        probabilities.map_axis(actions, |row| {
            let mut left: f64 = rng.random();
            let above = row.iter().position(|p| {
                left -= p.as_f64();
                left < 0.0
            });
            // Rounding may leave a little: then it is the last action that can be taken.
            let last = || row.iter().rposition(|&p| p > T::zero()).unwrap_or(0);
            above.unwrap_or_else(last) as i32
        })
    }

    /// The log-probabilities with 0 for −∞, which a probability of 0 multiplies: 0·(−∞) would be NaN.
    #[track_caller]
    fn finite(&self) -> Var<T> {
        let taken = self.log_probabilities.greater(T::neg_infinity());
        taken.select(self.log_probabilities, T::zero())
    }

    #[track_caller]
    fn mean_of(&self, x: Var<T>) -> Var<T> {
        let last = self.log_probabilities.shape().len() - 1;
        (self.probabilities() * x).sum_axes(&[last])
    }
}
