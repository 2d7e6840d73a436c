//! The Dirichlet distribution: over shares of a whole.

use ad::{DType, Shape, Var};
use rand::Rng;

use super::dist::{OverVectors, own_formulas};
use super::support::{expect_points, log_gamma_number, log_power, positive, positive_number, sum_components};

/// Dirichlet distributions over D positive shares that add up to 1, one for each row of concentrations α `[…, D]`.
///
/// The axes in front of D are the batch. They broadcast against those of points and other distributions, by NumPy's rule; D does
/// not. A concentration that is not positive counts as NaN. As for [`Beta`](super::Beta), all is computed in double precision.
#[derive(Clone, Copy, Debug)]
pub struct Dirichlet {
    concentration: Var,
}

impl Dirichlet {
    /// From concentrations, `[…, D]`.
    ///
    /// Panics without an axis of at least two components.
    #[track_caller]
    pub fn new(concentration: Var) -> Self {
        let shape = concentration.shape();
        assert!(
            shape.last().is_some_and(|&size| size > 1),
            "Dirichlet: concentrations need the shape […, D] with D > 1, got {shape:?}"
        );
        Self { concentration: positive(concentration) }
    }

    /// α, `[…, D]`.
    pub fn concentration(&self) -> Var {
        self.concentration
    }

    /// The means, α_j / Σ α, `[…, D]`.
    #[track_caller]
    pub fn mean(&self) -> Var {
        let axis = self.concentration.shape().len() - 1;
        self.concentration / self.concentration.sum_axes(&[axis]).insert_axis(axis)
    }

    #[track_caller]
    fn in_double(&self) -> Var {
        self.concentration.cast(DType::F64)
    }

    /// In the type of the parameters.
    #[track_caller]
    fn given(&self, x: Var) -> Var {
        x.cast(self.concentration.dtype())
    }

    /// log π(a) = ln Γ(Σ α) + Σ_j [ (α_j − 1) ln a_j − ln Γ(α_j) ], `[…]`, of points `[…, D]`: the density of the first D − 1 shares,
    /// as a function of all D. That they add up to 1 is not looked at.
    ///
    /// Where a share is 0 it is the limit, which may be −∞ or ∞ (NaN if one share's is −∞ and another one's ∞), below −∞; of the term
    /// that is infinite no derivative flows.
    #[track_caller]
    pub fn log_prob(&self, points: Var) -> Var {
        expect_points("Dirichlet", "log_prob", "points", self.concentration, points);
        let concentration = self.in_double();
        let powers = sum_components(log_power(points.cast(DType::F64), concentration - 1.0));
        self.given(powers - log_beta(concentration))
    }

    /// ln B(α) + (Σ α − D) ψ(Σ α) − Σ_j (α_j − 1) ψ(α_j), `[…]`.
    #[track_caller]
    pub fn entropy(&self) -> Var {
        let concentration = self.in_double();
        let total = sum_components(concentration);
        let size = *concentration.shape().last().expect("`new` has checked it");
        let digammas =
            (total - size as f64) * total.digamma() - sum_components((concentration - 1.0) * concentration.digamma());
        self.given(log_beta(concentration) + digammas)
    }

    /// KL(self ‖ other) = ln B(α') − ln B(α) + Σ_j (α_j − α'_j) (ψ(α_j) − ψ(Σ α)), `[…]`.
    #[track_caller]
    pub fn kl(&self, other: &Self) -> Var {
        expect_points("Dirichlet", "kl", "the other's concentrations", self.concentration, other.concentration);
        let (one, other) = (self.in_double(), other.in_double());
        let more = one - other;
        let digammas = sum_components(more * one.digamma()) - sum_components(more) * sum_components(one).digamma();
        self.given(log_beta(other) - log_beta(one) + digammas)
    }
}

impl OverVectors for Dirichlet {
    fn name(&self) -> &'static str {
        "a Dirichlet distribution"
    }

    fn shape(&self) -> Shape {
        self.concentration.shape()
    }

    fn heads(&self) -> Vec<Var> {
        vec![self.concentration]
    }

    #[track_caller]
    fn with_heads(&self, heads: &[Var]) -> Self {
        Self { concentration: heads[0] }
    }

    own_formulas!(log_prob entropy kl);

    #[track_caller]
    fn drawn_from(&self) -> Var {
        self.concentration
    }

    fn draw(numbers: &[f64], single: bool, rng: &mut dyn Rng, action: &mut [f64]) {
        for (x, &concentration) in action.iter_mut().zip(numbers) {
            *x = log_gamma_number(concentration, rng);
        }
        // By logarithms: with small concentrations all of the numbers may be 0.
        let largest = action.iter().fold(f64::NEG_INFINITY, |largest, &x| if x > largest { x } else { largest });
        let total = largest + action.iter().map(|x| (x - largest).exp()).sum::<f64>().ln();
        action.iter_mut().for_each(|x| *x = positive_number(*x - total, single));
    }
}

/// ln B(α) = Σ_j ln Γ(α_j) − ln Γ(Σ α), `[…]`.
#[track_caller]
fn log_beta(concentration: Var) -> Var {
    sum_components(concentration.ln_gamma()) - sum_components(concentration).ln_gamma()
}
