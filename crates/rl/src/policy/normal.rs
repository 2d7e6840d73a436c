//! The normal distribution with independent components.

use ad::{Shape, Var};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::dist::{OverVectors, own_formulas};
use super::support::{expect_fit, parts, rounded, row_of, sum_components};

/// Normal distributions in D dimensions, one for each row of means `[…, D]`, with independent components.
///
/// The axes in front of D are the batch. They broadcast against those of points, noise and other distributions, by NumPy's
/// rule; D does not.
///
/// No formula holds an e^±log σ that overflows. A difference is divided by σ, and as a multiple of σ it is its own
/// derivative by −log σ: so log-densities and divergences, and their derivatives, are right at any log σ, also where σ itself
/// is 0 or ∞ in this type. (There σ counts as its smallest or largest number when a difference is divided by it.)
#[derive(Clone, Copy, Debug)]
pub struct Normal {
    mean: Var,
    log_std: Var,
}

impl Normal {
    /// From means and the logarithms of standard deviations, `[…, D]` each; most often `[N, D]` and `[D]`.
    ///
    /// Panics if they differ in D, or in type.
    #[track_caller]
    pub fn new(mean: Var, log_std: Var) -> Self {
        assert!(
            mean.dtype() == log_std.dtype(),
            "Normal: means of type {} and log_std of type {}; `cast` one of them\n  means made at {}\n  log_std made at {}",
            mean.dtype(),
            log_std.dtype(),
            mean.location(),
            log_std.location()
        );
        let shape = row_of("Normal", "means", mean, "log_std", log_std);
        Self { mean: mean.broadcast_to(&shape), log_std: log_std.broadcast_to(&shape) }
    }

    /// The means, `[…, D]`.
    pub fn mean(&self) -> Var {
        self.mean
    }

    /// The logarithms of standard deviations, `[…, D]`.
    pub fn log_std(&self) -> Var {
        self.log_std
    }

    /// log π(a) = Σ_j [ −½ ((a_j − m_j) / σ_j)² − log σ_j − ½ log 2π ], `[…]`, of points `[…, D]`.
    #[track_caller]
    pub fn log_prob(&self, points: Var) -> Var {
        self.expect_to_fit("log_prob", "points", points);
        let square = self.in_deviations(points - self.mean).square();
        sum_components(square * -0.5 - self.log_std - 0.5 * std::f64::consts::TAU.ln())
    }

    /// Σ_j [ log σ_j + ½ log 2πe ], `[…]`.
    #[track_caller]
    pub fn entropy(&self) -> Var {
        sum_components(self.log_std + 0.5 * (std::f64::consts::TAU * std::f64::consts::E).ln())
    }

    /// KL(self ‖ other) = Σ_j [ log σ'_j − log σ_j + ½ (σ_j / σ'_j)² + ½ ((m_j − m'_j) / σ'_j)² − ½ ], `[…]`.
    #[track_caller]
    pub fn kl(&self, other: &Self) -> Var {
        self.expect_to_fit("kl", "the other", other.mean);
        // The ratio of σ's is one exponential of a difference: each for itself may overflow where they are equal.
        let wider = self.log_std - other.log_std;
        let squares = (wider * 2.0).exp() + other.in_deviations(self.mean - other.mean).square();
        sum_components(squares * 0.5 - 0.5 - wider)
    }

    /// m + σ·`noise`, for standard normal noise `[…, D]`: a sample as a function of the parameters.
    #[track_caller]
    pub fn reparameterised(&self, noise: Var) -> Var {
        self.expect_to_fit("reparameterised", "noise", noise);
        self.mean + noise * self.std() * self.log_std.magic_box()
    }

    /// `difference` / σ, whose derivative by log σ is minus itself: σ is a number here, and the box carries the derivative.
    /// It is divided by, because 1/σ² may be infinite where the difference is 0.
    #[track_caller]
    fn in_deviations(&self, difference: Var) -> Var {
        difference / self.std() * (-self.log_std).magic_box()
    }

    /// σ as a number, without derivative, and within the type's range.
    #[track_caller]
    fn std(&self) -> Var {
        let largest = self.log_std.dtype().largest().ln().floor();
        self.log_std.clip(-largest, largest).exp().stop_gradient()
    }

    #[track_caller]
    fn expect_to_fit(&self, operation: &str, what: &str, array: Var) {
        expect_fit("Normal", operation, self.mean, what, array);
    }
}

impl OverVectors for Normal {
    fn name(&self) -> &'static str {
        "a normal distribution"
    }

    fn shape(&self) -> Shape {
        self.mean.shape()
    }

    fn heads(&self) -> Vec<Var> {
        vec![self.mean, self.log_std]
    }

    #[track_caller]
    fn with_heads(&self, heads: &[Var]) -> Self {
        Self { mean: heads[0], log_std: heads[1] }
    }

    own_formulas!(log_prob entropy kl);

    #[track_caller]
    fn drawn_from(&self) -> Var {
        Var::concat(&[self.mean, self.std()], self.mean.shape().len() - 1)
    }

    fn draw(numbers: &[f64], single: bool, rng: &mut dyn Rng, action: &mut [f64]) {
        let [mean, std] = parts(numbers, action.len());
        for ((x, mean), std) in action.iter_mut().zip(mean).zip(std) {
            let noise: f64 = StandardNormal.sample(rng);
            *x = rounded(mean + std * noise, single);
        }
    }
}
