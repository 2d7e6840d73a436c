//! The beta distribution with independent components, between bounds.

use ad::{DType, Shape, Var};
use rand::Rng;

use super::dist::{OverVectors, own_formulas};
use super::support::{
    Bounds, between, expect_dtype, expect_points, log_gamma_number, log_power, parts, positive, row_of, sum_components,
};

/// Beta distributions in D dimensions, one for each row of α and β `[…, D]`, with independent components in (0, 1), or
/// [`between`](Self::between) other bounds: a density for actions that have bounds, without mass at them.
///
/// The axes in front of D are the batch. They broadcast against those of points and other distributions, by NumPy's rule; D does
/// not. A parameter that is not positive counts as NaN.
///
/// What is computed of parameters and points is computed in double precision, whatever their type: for large α + β the logarithms
/// of Γ cancel. What is left is the rounding of these logarithms, some 10⁻¹⁶ (α + β) ln (α + β).
///
/// As policies: Chou, Maturana & Scherer 2017, "Improving stochastic policy gradients in continuous control with deep reinforcement
/// learning using the beta distribution", with α, β ≥ 1.
#[derive(Clone, Copy, Debug)]
pub struct Beta {
    alpha: Var,
    beta: Var,
    bounds: Bounds,
}

impl Beta {
    /// From α and β, `[…, D]` each: in (0, 1).
    ///
    /// Panics if they differ in D, or in type.
    #[track_caller]
    pub fn new(alpha: Var, beta: Var) -> Self {
        expect_dtype("Beta", "β", alpha, beta);
        let shape = row_of("Beta", "α", alpha, "β", beta);
        let [alpha, beta] = [alpha, beta].map(|parameter| positive(parameter.broadcast_to(&shape)));
        Self { alpha, beta, bounds: Bounds::numbers(alpha, [0.0, 1.0]) }
    }

    /// The same, stretched from (0, 1) to (low, high): bounds that broadcast to `[…, D]`.
    ///
    /// Panics if they do not, or are of another type.
    #[track_caller]
    #[must_use]
    pub fn between(self, low: Var, high: Var) -> Self {
        Self { bounds: Bounds::new("Beta", self.alpha, low, high), ..self }
    }

    /// α, `[…, D]`.
    pub fn alpha(&self) -> Var {
        self.alpha
    }

    /// β, `[…, D]`.
    pub fn beta(&self) -> Var {
        self.beta
    }

    /// The means, low + (high − low)·α/(α + β), `[…, D]`.
    #[track_caller]
    pub fn mean(&self) -> Var {
        self.bounds.low + self.bounds.width() * (self.alpha / (self.alpha + self.beta))
    }

    #[track_caller]
    fn in_double(&self) -> Self {
        let [alpha, beta] = [self.alpha, self.beta].map(|parameter| parameter.cast(DType::F64));
        Self { alpha, beta, bounds: self.bounds.in_double() }
    }

    /// Σ_j of a component's, in the type of the parameters.
    #[track_caller]
    fn sum(&self, terms: Var) -> Var {
        sum_components(terms).cast(self.alpha.dtype())
    }

    /// log π(a) = Σ_j [ (α_j − 1) ln (a_j − low_j) + (β_j − 1) ln (high_j − a_j) − (α_j + β_j − 1) ln (high_j − low_j) − ln B(α_j, β_j) ],
    /// `[…]`, of points `[…, D]`.
    ///
    /// At a bound it is the limit, which may be −∞ or ∞, and beyond it −∞; of the term that is infinite no derivative flows.
    #[track_caller]
    pub fn log_prob(&self, points: Var) -> Var {
        expect_points("Beta", "log_prob", "points", self.alpha, points);
        let Self { alpha, beta, bounds } = self.in_double();
        let [below, above] = bounds.distances(points.cast(DType::F64));
        let powers = log_power(below, alpha - 1.0) + log_power(above, beta - 1.0);
        self.sum(powers - bounds.width().ln() * (alpha + beta - 1.0) - log_beta(alpha, beta))
    }

    /// Σ_j [ ln B(α_j, β_j) − (α_j − 1) ψ(α_j) − (β_j − 1) ψ(β_j) + (α_j + β_j − 2) ψ(α_j + β_j) + ln (high_j − low_j) ], `[…]`.
    #[track_caller]
    pub fn entropy(&self) -> Var {
        let Self { alpha, beta, bounds } = self.in_double();
        let both = alpha + beta;
        let digammas = (both - 2.0) * both.digamma() - (alpha - 1.0) * alpha.digamma() - (beta - 1.0) * beta.digamma();
        self.sum(log_beta(alpha, beta) + digammas + bounds.width().ln())
    }

    /// KL(self ‖ other) = Σ_j [ ln B(α'_j, β'_j) − ln B(α_j, β_j) + (α_j − α'_j) ψ(α_j) + (β_j − β'_j) ψ(β_j)
    /// − (α_j − α'_j + β_j − β'_j) ψ(α_j + β_j) ], `[…]`, between the same bounds; NaN where bounds differ.
    #[track_caller]
    pub fn kl(&self, other: &Self) -> Var {
        expect_points("Beta", "kl", "the other's α", self.alpha, other.alpha);
        let (one, other) = (self.in_double(), other.in_double());
        let [more_alpha, more_beta] = [one.alpha - other.alpha, one.beta - other.beta];
        let digammas = more_alpha * one.alpha.digamma() + more_beta * one.beta.digamma()
            - (more_alpha + more_beta) * (one.alpha + one.beta).digamma();
        let terms = log_beta(other.alpha, other.beta) - log_beta(one.alpha, one.beta) + digammas;
        self.sum(one.bounds.if_equal(&other.bounds, terms))
    }
}

impl OverVectors for Beta {
    fn name(&self) -> &'static str {
        "a beta distribution"
    }

    fn shape(&self) -> Shape {
        self.alpha.shape()
    }

    fn heads(&self) -> Vec<Var> {
        vec![self.alpha, self.beta]
    }

    #[track_caller]
    fn with_heads(&self, heads: &[Var]) -> Self {
        Self { alpha: heads[0], beta: heads[1], ..*self }
    }

    own_formulas!(log_prob entropy kl);

    #[track_caller]
    fn drawn_from(&self) -> Var {
        let shape = self.alpha.shape();
        let all = [self.alpha, self.beta, self.bounds.low, self.bounds.high].map(|part| part.broadcast_to(&shape));
        Var::concat(&all, shape.len() - 1)
    }

    fn draw(numbers: &[f64], single: bool, rng: &mut dyn Rng, action: &mut [f64]) {
        let [alpha, beta, low, high] = parts(numbers, action.len());
        for (j, x) in action.iter_mut().enumerate() {
            let [one, other] = [alpha[j], beta[j]].map(|concentration| log_gamma_number(concentration, rng));
            let [below, above] = [other - one, one - other].map(|difference| 1.0 / (1.0 + difference.exp()));
            *x = between([low[j], high[j]], below, above, single);
        }
    }
}

/// ln B(a, b) = ln Γ(a) + ln Γ(b) − ln Γ(a + b).
#[track_caller]
fn log_beta(a: Var, b: Var) -> Var {
    a.ln_gamma() + b.ln_gamma() - (a + b).ln_gamma()
}
