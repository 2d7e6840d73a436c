//! The normal distribution squashed by tanh, between bounds.

use ad::{Shape, Var};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::Normal;
use super::dist::{OverVectors, own_formulas};
use super::support::{Bounds, between, expect_points, parts, sum_components};

/// Distributions of tanh u in D dimensions, for u normal with independent components: in (−1, 1), or
/// [`between`](Self::between) other bounds.
///
/// The axes in front of D are the batch. They broadcast against those of points, noise and other distributions, by NumPy's rule; D
/// does not. There is no closed form of its entropy (a mean of −[`log_prob_at`](Self::log_prob_at) estimates it).
///
/// An action is what was done, and [`log_prob`](Self::log_prob) is exact at the very numbers that it is given: it takes them by their
/// distance from each bound, as which u = ½ ln ((a − low)/(high − a)) loses nothing next to one. What such a number does not say is
/// which u it was made of. All u beyond 19 (9 in single precision) round to a bound, and are
/// [drawn](Self::sample) as the nearest number inside: a policy that is so far in saturation has mass there that its density does not know of,
/// and its ratios are wrong. Who has u asks [`log_prob_at`](Self::log_prob_at), which is right at any u. And who trains where policies saturate acts
/// with a [`Normal`] in an environment that squashes: ratios, scores and divergences are the same, and no u is lost.
///
/// Haarnoja et al. 2018, "Soft actor-critic", appendix C.
#[derive(Clone, Copy, Debug)]
pub struct SquashedNormal {
    before: Normal,
    bounds: Bounds,
}

impl SquashedNormal {
    /// From means and the logarithms of standard deviations of u, `[…, D]` each: in (−1, 1).
    ///
    /// Panics as [`Normal::new`] does.
    #[track_caller]
    pub fn new(mean: Var, log_std: Var) -> Self {
        let before = Normal::new(mean, log_std);
        Self { before, bounds: Bounds::numbers(mean, [-1.0, 1.0]) }
    }

    /// The same, stretched from (−1, 1) to (low, high): bounds that broadcast to `[…, D]`.
    ///
    /// Panics if they do not, or are of another type.
    #[track_caller]
    #[must_use]
    pub fn between(self, low: Var, high: Var) -> Self {
        Self { bounds: Bounds::new("SquashedNormal", self.before.mean(), low, high), ..self }
    }

    /// The distributions of u.
    pub fn before(&self) -> Normal {
        self.before
    }

    /// What u, `[…, D]`, is squashed to: low + (high − low)·½(1 + tanh u).
    ///
    /// It is written from the nearer bound, which it reaches where no number is between.
    #[track_caller]
    pub fn squash(&self, u: Var) -> Var {
        expect_points("SquashedNormal", "squash", "u", self.before.mean(), u);
        let (Bounds { low, high }, width) = (self.bounds, self.bounds.width());
        u.less(0.0).select(low + width * (u * 2.0).sigmoid(), high - width * (u * -2.0).sigmoid())
    }

    /// log π(a) = Σ_j [ log N(u_j) − ln (2 (a_j − low_j)(high_j − a_j)/(high_j − low_j)) ], where u = ½ ln ((a − low)/(high − a)), `[…]`, of points
    /// `[…, D]`.
    ///
    /// At a bound and beyond it is −∞, without derivative.
    #[track_caller]
    pub fn log_prob(&self, points: Var) -> Var {
        expect_points("SquashedNormal", "log_prob", "points", self.before.mean(), points);
        let distances = self.bounds.distances(points);
        let beyond = distances[0].less_equal(0.0).max(distances[1].less_equal(0.0));
        let [below, above] = distances.map(|distance| beyond.select(1.0, distance).ln());
        let stretch = sum_components(below + above - (self.bounds.width() * 0.5).ln());
        let log_prob = self.before.log_prob((below - above) * 0.5) - stretch;
        sum_components(beyond).greater(0.0).select(f64::NEG_INFINITY, log_prob)
    }

    /// log π of what u, `[…, D]`, is squashed to, `[…]`: Σ_j [ log N(u_j) − ln ½(high_j − low_j) − 2(ln 2 − u_j − softplus(−2u_j)) ], where the
    /// last is ln (1 − tanh² u), right at any u.
    #[track_caller]
    pub fn log_prob_at(&self, u: Var) -> Var {
        expect_points("SquashedNormal", "log_prob_at", "u", self.before.mean(), u);
        let slope = (std::f64::consts::LN_2 - u - (u * -2.0).softplus()) * 2.0;
        self.before.log_prob(u) - sum_components(slope + (self.bounds.width() * 0.5).ln())
    }

    /// KL(self ‖ other), `[…]`, between the same bounds (NaN where they differ): that of the normal distributions, as squashing is one to one.
    #[track_caller]
    pub fn kl(&self, other: &Self) -> Var {
        let divergence = self.before.kl(&other.before);
        let same = self.bounds.if_equal(&other.bounds, divergence.full_like(0.0).insert_axis(divergence.shape().len()));
        divergence + sum_components(same)
    }
}

impl OverVectors for SquashedNormal {
    fn name(&self) -> &'static str {
        "a squashed normal distribution"
    }

    fn shape(&self) -> Shape {
        self.before.mean().shape()
    }

    fn heads(&self) -> Vec<Var> {
        self.before.heads()
    }

    #[track_caller]
    fn with_heads(&self, heads: &[Var]) -> Self {
        Self { before: self.before.with_heads(heads), ..*self }
    }

    own_formulas!(log_prob kl);

    #[track_caller]
    fn drawn_from(&self) -> Var {
        let shape = self.shape();
        let bounds = [self.bounds.low, self.bounds.high].map(|bound| bound.broadcast_to(&shape));
        Var::concat(&[self.before.drawn_from(), bounds[0], bounds[1]], shape.len() - 1)
    }

    fn draw(numbers: &[f64], single: bool, rng: &mut dyn Rng, action: &mut [f64]) {
        let [mean, std, low, high] = parts(numbers, action.len());
        for (j, x) in action.iter_mut().enumerate() {
            let noise: f64 = StandardNormal.sample(rng);
            let u = mean[j] + std[j] * noise;
            let [below, above] = [-2.0 * u, 2.0 * u].map(|exponent| 1.0 / (1.0 + exponent.exp()));
            *x = between([low[j], high[j]], below, above, single);
        }
    }
}
