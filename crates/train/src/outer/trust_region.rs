//! TRPO as an optimiser of anything that has a gradient and a divergence (Schulman et al. 2015): the natural gradient's direction, as
//! far as the divergence may go, and back until it does.

use rl::error::Result;
use rl::optim::{add, conjugate_gradient, dot};
use rl::policy::Numbers;

/// θ + β^j √(2δ / xᵀHx) x, where x solves (H + damping) x = g by conjugate gradients, g is the objective's gradient and H the
/// divergence's Hessian, for the first j at which the objective is above what it was, and the divergence not above δ; θ itself,
/// if there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrustRegion {
    /// δ, how far a step may lead.
    pub radius: f64,
    /// How many products with H the direction may take.
    pub iterations: usize,
    /// What is added to H's diagonal.
    pub damping: f64,
    /// How many lengths are tried.
    pub backtracks: usize,
    /// β, by which each is shorter than the one before.
    pub ratio: f64,
}

/// An objective to be ascended and a divergence, at some parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// The objective.
    pub objective: f64,
    /// How far it is from where the step began.
    pub divergence: f64,
}

impl TrustRegion {
    /// The parameters after a step from `theta`, where the objective is `before` and has this gradient, and what is said of them;
    /// nothing, if no length would do. `product` is H v, `judge` what is there at other parameters.
    ///
    /// # Errors
    ///
    /// Those of `product` and `judge`, and of [`conjugate_gradient`].
    pub fn step(
        &self,
        theta: &Numbers,
        before: f64,
        gradient: &Numbers,
        mut product: impl FnMut(&Numbers) -> Result<Numbers>,
        mut judge: impl FnMut(&Numbers) -> Result<Judged>,
    ) -> Result<Option<(Numbers, Judged)>> {
        let damped = |v: &Numbers| {
            let mut along = product(v)?;
            add(&mut along, self.damping, v);
            Ok(along)
        };
        let mut damped = damped;
        let direction = conjugate_gradient(&mut damped, gradient, self.iterations, 1e-10)?;
        let curvature = dot(&direction, &damped(&direction)?);
        let mut length = (2.0 * self.radius / (curvature + 1e-8)).sqrt();
        for _ in 0..self.backtracks {
            let mut there = theta.clone();
            add(&mut there, length, &direction);
            let judged = judge(&there)?;
            // (Of a NaN neither is true.)
            if judged.objective > before && judged.divergence <= self.radius {
                return Ok(Some((there, judged)));
            }
            length *= self.ratio;
        }
        Ok(None)
    }
}
