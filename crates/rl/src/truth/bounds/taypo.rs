//! Taylor expansions of a value in the policy (Tang et al. 2020; Tang et al. 2021, section 3.3): the increments, exactly, and how
//! far their partial sums are from the value and its gradient.
//!
//! With D = π − μ the value is V^π = Σ_k U_k, where U_0 = V^μ and U_k is Eq. 6: the part with k deviations D, the last of them
//! before Q^μ.

use ad::Tape;
use ndarray::{Array1, Array2, s};

use crate::env::{Horizon, TabularMdp};
use crate::error::Result;
use crate::truth::max_abs;

/// The quantities that the expansion is made of, of two policies π and μ over a process.
struct Pair<'a> {
    mdp: &'a TabularMdp,
    policy: &'a Array2<f64>,
    behaviour: &'a Array2<f64>,
    gamma: f64,
}

impl<'a> Pair<'a> {
    fn new(
        mdp: &'a TabularMdp,
        policy: &'a Array2<f64>,
        behaviour: &'a Array2<f64>,
        gamma: f64,
        horizon: &Horizon,
    ) -> Result<Self> {
        for policy in [policy, behaviour] {
            mdp.check_value_exists(policy, gamma, horizon)?;
        }
        Ok(Self { mdp, policy, behaviour, gamma })
    }

    /// r + γ P (1 − termination) v, `[S, A]`.
    fn action_values(&self, next: &Array1<f64>) -> Array2<f64> {
        self.mdp.reward() + &self.ahead(next)
    }

    /// γ P (1 − termination) v, `[S, A]`.
    fn ahead(&self, next: &Array1<f64>) -> Array2<f64> {
        let next = next * &self.mdp.termination().mapv(|end| 1.0 - end);
        let ahead = |(s, a): (usize, usize)| self.gamma * self.mdp.transition().slice(s![s, a, ..]).dot(&next);
        Array2::from_shape_fn(self.policy.dim(), ahead)
    }

    /// Σ_a (π − μ)(a|s) q(s, a), `[S]`.
    fn deviation(&self, q: &Array2<f64>) -> Array1<f64> {
        ((self.policy - self.behaviour) * q).sum_axis(ndarray::Axis(1))
    }

    /// V^π or V^μ in the infinite horizon, `[S]`.
    fn value(&self, policy: &Array2<f64>) -> Array1<f64> {
        let tape = Tape::new();
        let value = self.mdp.record(&tape).value(tape.constant(policy), self.gamma).value();
        value.into_dimensionality().expect("a number for each state")
    }

    /// (I − γ P_μ)⁻¹ x, `[S]`.
    fn occupancy(&self, x: &Array1<f64>) -> Array1<f64> {
        let unit = Array2::<f64>::eye(x.len());
        let steps = self.mdp.transition() * &self.mdp.termination().mapv(|end| self.gamma * (1.0 - end));
        let steps = Array2::from_shape_fn(unit.dim(), |(s, next): (usize, usize)| {
            self.behaviour.row(s).dot(&steps.slice(s![s, .., next]))
        });
        let tape = Tape::new();
        let solved = tape.constant(&(unit - steps)).solve(tape.constant(x)).value();
        solved.into_dimensionality().expect("a number for each state")
    }
}

/// U_0 … U_H of the value of `steps` = H steps from the start, of policies π(a|s) and μ(a|s), `[S, A]`: a trajectory has no room
/// for more deviations than steps, so that their sum is V^π (Tang et al. 2021, Eq. 6, with Q^μ of the steps that are left).
///
/// # Errors
///
/// [`Shape`](crate::error::Error::Shape), [`Probability`](crate::error::Error::Probability) and
/// [`ProbabilitySum`](crate::error::Error::ProbabilitySum) for what is no policy; [`Decay`](crate::error::Error::Decay).
///
/// ```
/// # use ndarray::{Array3, array};
/// # use rl::{env::{Horizon, TabularMdp}, policy::softmax, truth::{bounds::taypo, derivatives}};
/// let mdp = TabularMdp::new(Array3::from_elem((2, 2, 2), 0.5), array![[0.0, 1.0], [2.0, 3.0]])?;
/// let (pi, mu) = (array![[0.3, -0.2], [0.1, 0.4]], array![[0.0, 0.5], [0.0, 0.0]]);
/// let increments = taypo::increments(&mdp, &softmax(&pi), &softmax(&mu), 0.9, 3)?;
/// let value = derivatives(&mdp, &pi, 0.9, &Horizon::Finite { steps: 3, terminal: None }, 0)?[0].sum();
/// assert!((increments.iter().sum::<f64>() - value).abs() < 1e-14);
/// # Ok::<(), rl::error::Error>(())
/// ```
pub fn increments(
    mdp: &TabularMdp,
    policy: &Array2<f64>,
    behaviour: &Array2<f64>,
    gamma: f64,
    steps: usize,
) -> Result<Vec<f64>> {
    let pair = Pair::new(mdp, policy, behaviour, gamma, &Horizon::Finite { steps, terminal: None })?;
    // W_k(s) with so many steps left. Either the first deviation is in this step, or all are in later ones.
    let mut orders = vec![Array1::zeros(mdp.states()); steps + 1];
    for _ in 0..steps {
        let left = orders.clone();
        let under = |q: &Array2<f64>| (behaviour * q).sum_axis(ndarray::Axis(1));
        let of_action = pair.action_values(&left[0]);
        orders[0] = under(&of_action);
        for (k, order) in orders.iter_mut().enumerate().skip(1) {
            let here = if k == 1 { pair.deviation(&of_action) } else { pair.deviation(&pair.ahead(&left[k - 1])) };
            *order = here + under(&pair.ahead(&left[k]));
        }
    }
    Ok(orders.iter().map(|order| mdp.start().dot(order)).collect())
}

/// U_0 … U_K of the value in the infinite horizon: U_k = start · (M γ D)^{k−1} M Σ_a (π − μ) Q^μ, M = (I − γ P_μ)⁻¹, D = P_π − P_μ.
///
/// # Errors
///
/// Those of [`increments`], and [`UndiscountedWithoutTermination`](crate::error::Error::UndiscountedWithoutTermination).
pub fn infinite_increments(
    mdp: &TabularMdp,
    policy: &Array2<f64>,
    behaviour: &Array2<f64>,
    gamma: f64,
    order: usize,
) -> Result<Vec<f64>> {
    let pair = Pair::new(mdp, policy, behaviour, gamma, &Horizon::Infinite)?;
    let value = pair.value(behaviour);
    let chain = pair.chain(&pair.action_values(&value), order);
    Ok([mdp.start().dot(&value)].into_iter().chain(chain).collect())
}

/// V^π − Σ_{k≤K} U_k in the infinite horizon, in closed form: start · (M γ D)^K M Σ_a (π − μ) Q^π, the (K + 1)-th increment with
/// Q^π for Q^μ. (So the series converges where ‖M γ D‖ < 1 in the long run, and this holds wherever the value exists.)
///
/// # Errors
///
/// Those of [`infinite_increments`].
pub fn infinite_remainder(
    mdp: &TabularMdp,
    policy: &Array2<f64>,
    behaviour: &Array2<f64>,
    gamma: f64,
    order: usize,
) -> Result<f64> {
    let pair = Pair::new(mdp, policy, behaviour, gamma, &Horizon::Infinite)?;
    let chain = pair.chain(&pair.action_values(&pair.value(policy)), order + 1);
    Ok(chain[order])
}

impl Pair<'_> {
    /// start · (M γ D)^{k−1} M Σ_a (π − μ) q for k from 1 to `orders`.
    fn chain(&self, q: &Array2<f64>, orders: usize) -> Vec<f64> {
        let mut at = self.occupancy(&self.deviation(q));
        let mut chain = Vec::new();
        for _ in 0..orders {
            chain.push(self.mdp.start().dot(&at));
            at = self.occupancy(&self.deviation(&self.ahead(&at)));
        }
        chain
    }
}

/// δ = ‖π − μ‖₁ = max_s Σ_a |π(a|s) − μ(a|s)|, of tables `[S, A]`. (The ε of Tang et al. 2021's figure 1 is another number: there
/// π = ε·onehot + (1 − ε) μ with uniform μ over 5 actions, so that δ = 1.6 ε.)
///
/// # Errors
///
/// [`Shape`](crate::error::Error::Shape).
pub fn distance(policy: &Array2<f64>, behaviour: &Array2<f64>) -> Result<f64> {
    crate::rollout::check_shape("the behaviour policy", behaviour.shape(), policy.shape())?;
    let rows = (policy - behaviour).mapv(f64::abs).sum_axis(ndarray::Axis(1));
    Ok(max_abs(&rows))
}

/// sp(q) = max − min.
fn span(q: &Array2<f64>) -> f64 {
    let (low, high) = q.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &x| (low.min(x), high.max(x)));
    high - low
}

/// sp(Q^π) in the infinite horizon, of π(a|s), `[S, A]`: largest minus smallest action value.
///
/// # Errors
///
/// Those of [`infinite_increments`].
pub fn infinite_span(mdp: &TabularMdp, policy: &Array2<f64>, gamma: f64) -> Result<f64> {
    let pair = Pair::new(mdp, policy, policy, gamma, &Horizon::Infinite)?;
    Ok(span(&pair.action_values(&pair.value(policy))))
}

/// The largest sp(Q^π) with 1 … `steps` steps left.
///
/// # Errors
///
/// Those of [`increments`].
pub fn finite_span(mdp: &TabularMdp, policy: &Array2<f64>, gamma: f64, steps: usize) -> Result<f64> {
    let pair = Pair::new(mdp, policy, policy, gamma, &Horizon::Finite { steps, terminal: None })?;
    let (mut value, mut largest) = (Array1::zeros(mdp.states()), 0.0_f64);
    for _ in 0..steps {
        let q = pair.action_values(&value);
        largest = largest.max(span(&q));
        value = (policy * &q).sum_axis(ndarray::Axis(1));
    }
    Ok(largest)
}

/// |V^π − Σ_{k≤K} U_k| ≤ sp(Q^π)/(2γ) · (δ γ/(1 − γ))^{K+1} in the infinite horizon, 0 < γ < 1: Tang et al. 2021, Prop. 3.3, with its
/// constant C.
///
/// From [`infinite_remainder`]: |Σ_a (π − μ) Q| ≤ δ sp(Q)/2, as π − μ sums to 0; ‖γ D‖ ≤ γ δ and ‖M‖ ≤ 1/(1 − γ) in the largest
/// row sum. It tends to 0 with K for δ < (1 − γ)/γ alone, as the paper says.
pub fn infinite_residual(span: f64, distance: f64, gamma: f64, order: usize) -> f64 {
    let ratio = distance * gamma / (1.0 - gamma);
    // (The first of the K + 1 factors without its γ, so that γ = 0 is none of a special case.)
    span / 2.0 * distance / (1.0 - gamma) * ratio.powi(order as i32)
}

/// |V^π − Σ_{k≤K} U_k| ≤ sp(Q^π)/2 · δ^{K+1} Σ_{t<H} γ^t C(t, K) in H = `steps` steps, with the largest span of all numbers of
/// steps left ([`finite_span`]): Prop. 3.3 for a finite horizon, where no δ is too large.
///
/// C(t, K) is the number of places that K deviations before step t may have. The bound is of the value. Off policy the m-th
/// derivative of the TayPO-K estimate is biased by O(δ^{K+1−m}): [`gradient_residual`] for m = 1.
pub fn residual(span: f64, distance: f64, gamma: f64, steps: usize, order: usize) -> f64 {
    span / 2.0 * distance.powi(order as i32 + 1) * places(gamma, steps, order)
}

/// ‖∇V^π − Σ_{k≤K} ∇U_k‖₂ ≤ sp(Q^μ)/(2√2) · Σ_{K<k≤H} k δ^{k−1} Σ_{t<H} γ^t C(t, k−1), by the logits of a softmax policy π, in H
/// steps: the bias of the gradient of TayPO-K off policy, which is O(δ^K) and not O(δ^{K+1}).
///
/// U_k is a product of k deviations π − μ; its derivative along a unit vector v of logits replaces each in turn by ∂π, of which
/// Σ_a |∂_v π(a|s)| = E_π |v_a − E_π v| ≤ 1/√2: a standard deviation is at most half the range of v, which is at most √2.
/// (What is printed is Prop. 3.4, Eq. 9, which has ‖∇U_k‖ themselves.)
pub fn gradient_residual(span: f64, distance: f64, gamma: f64, steps: usize, order: usize) -> f64 {
    let term = |k: usize| k as f64 * distance.powi(k as i32 - 1) * places(gamma, steps, k - 1);
    span / 2.0 * std::f64::consts::FRAC_1_SQRT_2 * (order + 1..=steps).map(term).sum::<f64>()
}

/// Σ_{t<H} γ^t C(t, K).
fn places(gamma: f64, steps: usize, order: usize) -> f64 {
    let choose = |t: usize| (0..order).fold(1.0, |product, i| product * (t as f64 - i as f64) / (i + 1) as f64);
    (0..steps).map(|t| gamma.powi(t as i32) * choose(t)).sum()
}
