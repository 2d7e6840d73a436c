//! Trajectories and weights by which expectations of polynomials are exact: Gauss and Hermite's.

use ndarray::{Array2, Array3, s};

use super::value::LinearNumbers;
use super::{LinearQuadratic, quadratic};
use crate::env::Enumeration;
use crate::error::{Result, tuple_count};
use crate::rollout::{Rollout, check_count};

impl LinearQuadratic {
    /// Trajectories of `horizon` steps under a policy, and weights: Σ_i w_i f(τ_i) is E f(τ), exactly, for every f that is a
    /// polynomial of degree up to 2·`nodes` − 1 in each of the independent normal numbers that a trajectory is made of: s_0, what
    /// each action has beside its mean, and the noise in each state. (That of the last state only if it is looked at, `to_the_end`.)
    ///
    /// All of these are polynomials in them: states, actions, rewards, quadratic critics, scores and their derivatives, and products
    /// and sums of such.
    pub(crate) fn quadrature(
        &self,
        policy: &LinearNumbers,
        horizon: usize,
        nodes: usize,
        to_the_end: bool,
    ) -> Result<Enumeration> {
        check_count(1, horizon, 2)?;
        let (states, actions) = self.b.dim();
        let at_start = if self.start > 0.0 { states } else { 0 };
        let after = |step: usize| {
            if self.noise > 0.0 && (to_the_end || step + 1 < horizon) { states } else { 0 }
        };
        let numbers = at_start + (0..horizon).map(|step| actions + after(step)).sum::<usize>();
        let count = tuple_count(nodes, numbers)?;

        let (places, weights): (Vec<f64>, Vec<f64>) = gauss_hermite(nodes).into_iter().unzip();
        let mut seen = Array3::zeros((count, horizon + 1, states));
        let mut done = Array3::zeros((count, horizon, actions));
        let mut rewards = Array2::zeros((count, horizon));
        let mut probabilities = Vec::with_capacity(count);
        for i in 0..count {
            let (mut digits, mut probability) = (i, 1.0);
            // The next normal number of trajectory i.
            let mut next = || {
                let digit = digits % nodes;
                digits /= nodes;
                probability *= weights[digit];
                places[digit]
            };
            for j in 0..at_start {
                seen[[i, 0, j]] = self.start * next();
            }
            for t in 0..horizon {
                let state = seen.slice(s![i, t, ..]).to_owned();
                let mut action = state.dot(&policy.gain) + &policy.shift;
                action.iter_mut().zip(&policy.deviation).for_each(|(a, deviation)| *a += deviation * next());
                let mut following = self.a.dot(&state) + self.b.dot(&action);
                (0..after(t)).for_each(|j| following[j] += self.noise * next());
                rewards[[i, t]] = -(quadratic(state.view(), &self.q) + quadratic(action.view(), &self.r));
                seen.slice_mut(s![i, t + 1, ..]).assign(&following);
                done.slice_mut(s![i, t, ..]).assign(&action);
            }
            probabilities.push(probability);
        }
        let rollout = Rollout::new(seen, done, rewards, vec![horizon; count], vec![false; count])?;
        Ok(Enumeration { rollout, probabilities })
    }
}

/// Nodes x_i and weights w_i by which Σ_i w_i p(x_i) = E p(x), x ~ N(0, 1), for polynomials p of degree up to 2n − 1.
///
/// The nodes are the roots of the Hermite polynomial h_n, taken orthonormal: √(k+1) h_{k+1} = x h_k − √k h_{k−1}; the weights
/// 1 / (n h_{n−1}²). Between two roots of one polynomial lies one of the next.
fn gauss_hermite(n: usize) -> Vec<(f64, f64)> {
    // h_{n-1} and h_n at x.
    let polynomials = |n: usize, x: f64| {
        (0..n).fold((0.0, 1.0), |(before, here), k| {
            let k = k as f64;
            (here, (x * here - k.sqrt() * before) / (k + 1.0).sqrt())
        })
    };
    let mut roots: Vec<f64> = Vec::new();
    for degree in 1..=n {
        // All roots are within ±2√n.
        let bound = 2.0 * (degree as f64).sqrt();
        let ends: Vec<f64> = [-bound].into_iter().chain(roots).chain([bound]).collect();
        let root = |interval: &[f64]| {
            let (mut low, mut high) = (interval[0], interval[1]);
            let rises = polynomials(degree, high).1 > 0.0;
            loop {
                let middle = 0.5 * (low + high);
                if middle <= low || middle >= high {
                    return middle;
                }
                if (polynomials(degree, middle).1 > 0.0) == rises { high = middle } else { low = middle }
            }
        };
        roots = ends.windows(2).map(root).collect();
    }
    let weight = |&x: &f64| (x, 1.0 / (n as f64 * polynomials(n, x).0.powi(2)));
    roots.iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::gauss_hermite;

    #[test]
    fn moments_are_those_of_the_normal_distribution() {
        for n in 1..=24 {
            let nodes = gauss_hermite(n);
            let mut exact = 1.0;
            for half in 0..n {
                // E x^(2k) = 1·3·5 … (2k − 1), E x^(2k+1) = 0.
                let moment = |power: i32| nodes.iter().map(|(x, w)| w * x.powi(power)).sum::<f64>();
                exact *= if half == 0 { 1.0 } else { 2.0 * half as f64 - 1.0 };
                let (even, odd) = (moment(2 * half as i32), moment(2 * half as i32 + 1));
                assert!((even - exact).abs() <= 1e-12 * exact, "n = {n}: E x^{} = {even}, not {exact}", 2 * half);
                assert!(odd.abs() <= 1e-11 * exact.max(1.0) * (2 * half + 1) as f64, "n = {n}: {odd}");
            }
            // Of the first power that is not exact n! is missing.
            let moment = exact * (2.0 * n as f64 - 1.0);
            let missing = moment - nodes.iter().map(|(x, w)| w * x.powi(2 * n as i32)).sum::<f64>();
            let factorial: f64 = (1..=n).map(|k| k as f64).product();
            assert!((missing - factorial).abs() <= 1e-12 * moment, "n = {n}: {missing}, not {factorial}");
        }
    }
}
