//! The gamma distribution with independent components.

use ad::{DType, Shape, Var};
use rand::Rng;

use super::dist::{OverVectors, own_formulas};
use super::support::{
    expect_dtype, expect_points, log_gamma_number, log_power, parts, positive, positive_number, row_of, sum_components,
};

/// Gamma distributions in D dimensions, one for each row of concentrations α and rates β `[…, D]`, with independent components that are
/// positive: of mean α/β and variance α/β².
///
/// The axes in front of D are the batch. They broadcast against those of points and other distributions, by NumPy's rule; D does
/// not. A parameter that is not positive counts as NaN. As for [`Beta`](super::Beta), all is computed in double precision.
#[derive(Clone, Copy, Debug)]
pub struct Gamma {
    concentration: Var,
    rate: Var,
}

impl Gamma {
    /// From concentrations α and rates β, `[…, D]` each.
    ///
    /// Panics if they differ in D, or in type.
    #[track_caller]
    pub fn new(concentration: Var, rate: Var) -> Self {
        expect_dtype("Gamma", "rates", concentration, rate);
        let shape = row_of("Gamma", "concentrations", concentration, "rates", rate);
        let [concentration, rate] = [concentration, rate].map(|parameter| positive(parameter.broadcast_to(&shape)));
        Self { concentration, rate }
    }

    /// α, `[…, D]`.
    pub fn concentration(&self) -> Var {
        self.concentration
    }

    /// β, `[…, D]`.
    pub fn rate(&self) -> Var {
        self.rate
    }

    #[track_caller]
    fn in_double(&self) -> [Var; 2] {
        [self.concentration, self.rate].map(|parameter| parameter.cast(DType::F64))
    }

    /// Σ_j of a component's, in the type of the parameters.
    #[track_caller]
    fn sum(&self, terms: Var) -> Var {
        sum_components(terms).cast(self.rate.dtype())
    }

    /// log π(a) = Σ_j [ α_j ln β_j − ln Γ(α_j) + (α_j − 1) ln a_j − β_j a_j ], `[…]`, of points `[…, D]`.
    ///
    /// At 0 it is the limit, which may be −∞ or ∞, below 0 and at ∞ −∞; of the term that is infinite no derivative flows.
    #[track_caller]
    pub fn log_prob(&self, points: Var) -> Var {
        expect_points("Gamma", "log_prob", "points", self.rate, points);
        let ([concentration, rate], points) = (self.in_double(), points.cast(DType::F64));
        let is_infinite = points.equal(f64::INFINITY);
        let points = is_infinite.select(-1.0, points);
        let power = log_power(points, concentration - 1.0);
        self.sum(power - rate * points + concentration * rate.ln() - concentration.ln_gamma())
    }

    /// Σ_j [ α_j − ln β_j + ln Γ(α_j) + (1 − α_j) ψ(α_j) ], `[…]`.
    #[track_caller]
    pub fn entropy(&self) -> Var {
        let [concentration, rate] = self.in_double();
        let digamma = (1.0 - concentration) * concentration.digamma();
        self.sum(concentration - rate.ln() + concentration.ln_gamma() + digamma)
    }

    /// KL(self ‖ other) = Σ_j [ (α_j − α'_j) ψ(α_j) − ln Γ(α_j) + ln Γ(α'_j) + α'_j (ln β_j − ln β'_j) + α_j (β'_j − β_j)/β_j ], `[…]`.
    #[track_caller]
    pub fn kl(&self, other: &Self) -> Var {
        expect_points("Gamma", "kl", "the other's rates", self.rate, other.rate);
        let ([concentration, rate], [concentration2, rate2]) = (self.in_double(), other.in_double());
        let digamma = (concentration - concentration2) * concentration.digamma();
        let gammas = concentration2.ln_gamma() - concentration.ln_gamma();
        let rates = concentration2 * (rate.ln() - rate2.ln()) + concentration * ((rate2 - rate) / rate);
        self.sum(digamma + gammas + rates)
    }
}

impl OverVectors for Gamma {
    fn name(&self) -> &'static str {
        "a gamma distribution"
    }

    fn shape(&self) -> Shape {
        self.rate.shape()
    }

    fn heads(&self) -> Vec<Var> {
        vec![self.concentration, self.rate]
    }

    #[track_caller]
    fn with_heads(&self, heads: &[Var]) -> Self {
        Self { concentration: heads[0], rate: heads[1] }
    }

    own_formulas!(log_prob entropy kl);

    #[track_caller]
    fn drawn_from(&self) -> Var {
        Var::concat(&[self.concentration, self.rate], self.rate.shape().len() - 1)
    }

    fn draw(numbers: &[f64], single: bool, rng: &mut dyn Rng, action: &mut [f64]) {
        let [concentration, rate] = parts(numbers, action.len());
        for (j, x) in action.iter_mut().enumerate() {
            *x = positive_number(log_gamma_number(concentration[j], rng) - rate[j].ln(), single);
        }
    }
}
