//! The normal distribution with independent components.

use ad::{Real, Var};
use ndarray::ArrayD;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

/// Normal distributions in D dimensions, one for each row of means `[…, D]`, with independent components.
#[derive(Clone, Copy, Debug)]
pub struct Normal<T: Real = f64> {
    mean: Var<T>,
    log_std: Var<T>,
}

impl<T: Real> Normal<T> {
    /// From means `[…, D]` and the logarithms of standard deviations, `[D]` or of the means' shape.
    #[track_caller]
    pub fn new(mean: Var<T>, log_std: Var<T>) -> Self {
        Self { mean, log_std: log_std.broadcast_to(&mean.shape()) }
    }

    /// log π(a) = Σ_j [ −½ ((a_j − m_j) / σ_j)² − log σ_j − ½ log 2π ], `[…]`, of points `[…, D]`.
    #[track_caller]
    pub fn log_prob(&self, points: Var<T>) -> Var<T> {
        let standardised = (points - self.mean) * (-self.log_std).exp();
        let terms = standardised.square() * T::of(-0.5) - self.log_std - T::of(0.5 * std::f64::consts::TAU.ln());
        self.sum(terms)
    }

    /// Σ_j [ log σ_j + ½ log 2πe ], `[…]`.
    #[track_caller]
    pub fn entropy(&self) -> Var<T> {
        self.sum(self.log_std + T::of(0.5 * (std::f64::consts::TAU * std::f64::consts::E).ln()))
    }

    /// KL(self ‖ other) = Σ_j [ log σ'_j − log σ_j + (σ_j² + (m_j − m'_j)²) / (2 σ'_j²) − ½ ], `[…]`.
    #[track_caller]
    pub fn kl(&self, other: &Self) -> Var<T> {
        let two = T::of(2.0);
        let spread = (self.log_std * two).exp() + (self.mean - other.mean).square();
        let terms = other.log_std - self.log_std + spread * (other.log_std * (-two)).exp() * T::of(0.5) - T::of(0.5);
        self.sum(terms)
    }

    /// m + σ·`noise`, for standard normal noise of the means' shape: a sample as a function of the parameters.
    #[track_caller]
    pub fn reparameterised(&self, noise: Var<T>) -> Var<T> {
        self.mean + self.log_std.exp() * noise
    }

    /// One point for each row, `[…, D]`. Evaluates the parameters.
    #[track_caller]
    pub fn sample(&self, rng: &mut impl Rng) -> ArrayD<T> {
        let values = ad::evaluate(&[self.mean, self.log_std.exp()]);
        let mut points = values[0].clone();
        points.zip_mut_with(&values[1], |point, &std| {
            let noise: f64 = StandardNormal.sample(rng);
            *point += std * T::of(noise);
        });
        points
    }

    #[track_caller]
    fn sum(&self, terms: Var<T>) -> Var<T> {
        let last = self.mean.shape().len().checked_sub(1).expect("Normal: the means need an axis of components");
        terms.sum_axes(&[last])
    }
}
