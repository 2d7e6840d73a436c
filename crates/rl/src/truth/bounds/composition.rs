//! The biases of meta-gradients through K sampled inner steps (Liu et al. 2022, section 4): where the steps lead (Lemma 4.4), and
//! what becomes of it in the chain rule (Theorem 4.5, explicitly).

use ndarray::{Array1, Array2};

use super::linear::{length, operator_norm};
use super::outcomes::{Adapted, Outcomes, step};
use super::sgmrl::Inner;
use crate::error::Result;
use crate::truth::max_abs;

/// E‖θ̂^K − θ^K‖ ≤ ((1 + α c₂)^K − 1) σ/(c₂ √N), Lemma 4.4 (Eq. 6), of K steps of rate α by N trajectories each, against those by
/// the exact gradient; c₂ a Lipschitz constant of the inner gradient.
///
/// σ² is the largest variance of one trajectory's gradient at any *sampled* θ̂^i (the proof's Eq. 23; the lemma itself speaks of
/// θ^i). The abstract's O(K α^K σ/√N) is something else: [`compositional_as_in_the_abstract`].
pub fn compositional(lipschitz: f64, rate: f64, steps: usize, std: f64, trajectories: usize) -> f64 {
    let b = 1.0 + rate * lipschitz;
    // (As a sum, which is right for c₂ = 0, too.)
    (0..steps).map(|i| b.powi(i as i32)).sum::<f64>() * rate * std / (trajectories as f64).sqrt()
}

/// K α^K σ/√N, the abstract's bound up to a constant. No constant does for K ≥ 2: where α tends to 0, so does the distance like
/// α, and this like α^K.
pub fn compositional_as_in_the_abstract(rate: f64, steps: usize, std: f64, trajectories: usize) -> f64 {
    steps as f64 * rate.powi(steps as i32) * std / (trajectories as f64).sqrt()
}

/// The constants of Assumptions 4.1 and 4.2 that an explicit Theorem 4.5 is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assumptions {
    /// α.
    pub rate: f64,
    /// K.
    pub steps: usize,
    /// N, the paper's |τ|.
    pub trajectories: usize,
    /// σ_In of [`compositional`].
    pub std: f64,
    /// m₂: a bound of ‖∇_θ J_out‖.
    pub outer_gradient: f64,
    /// μ₁: a Lipschitz constant of ∇_φ J_out in θ.
    pub direct_lipschitz: f64,
    /// μ₂: that of ∇_θ J_out.
    pub outer_lipschitz: f64,
    /// c₁: a bound of ‖∇_φ ∇_θ J_in‖.
    pub cross: f64,
    /// λ₂: a Lipschitz constant of ∇_φ ∇_θ J_in in θ.
    pub cross_lipschitz: f64,
    /// Δ_J: the largest bias of its estimate.
    pub cross_bias: f64,
    /// c₂: a bound of ‖∇²_θ J_in‖.
    pub inner_lipschitz: f64,
    /// ρ₂: a Lipschitz constant of ∇²_θ J_in.
    pub hessian_lipschitz: f64,
    /// Δ_H: the largest bias of its estimate, at any sampled θ̂^j.
    pub hessian_bias: f64,
}

impl Assumptions {
    /// d_j, Lemma 4.4 after j steps.
    pub fn distance(&self, steps: usize) -> f64 {
        compositional(self.inner_lipschitz, self.rate, steps, self.std, self.trajectories)
    }

    /// ‖E ∇_φ Ĵ − ∇_φ J‖ ≤ μ₁ d_K + α Σ_{i<K} \[c₁ P_i + m₂ (Δ_J + λ₂ d_i) B′^{K−1−i}\], P_i = m₂ Σ_{i<j<K} B^{j−i−1} α (Δ_H + ρ₂
    /// d_j) B′^{K−1−j} + μ₂ d_K B^{K−1−i}, B = 1 + α c₂, B′ = B + α Δ_H: Theorem 4.5 without its O.
    ///
    /// The chain rule's product is ∇_φJ_out + α Σ_i J_i X_{i+1} ⋯ X_{K−1} v, X_j = I + α ∇²J_in(θ^j), v = ∇_θ J_out(θ^K). Given
    /// the sampled steps, the estimates' expectations Ĵ_i, X̂_j, v̂ are those at θ̂ (with the biases of Assumption 4.2),
    /// independent of each other, and Ĵ_i X̂ ⋯ v̂ − J_i X ⋯ v = (Ĵ_i − J_i) X̂ ⋯ v̂ + J_i \[Σ_j X ⋯ (X̂_j − X_j) ⋯ X̂ v̂ + X ⋯ X
    /// (v̂ − v)\]; norms are ‖X_j‖ ≤ B, ‖X̂_j‖ ≤ B′, and E‖X̂_j − X_j‖ ≤ α (Δ_H + ρ₂ d_j), d_j by Lemma 4.4.
    ///
    /// As printed, (44) has a factor (…)^{K−1} − 1 at every term, and vanishes at K = 1, where the sampled step alone is a
    /// bias.
    pub fn meta_gradient(&self) -> f64 {
        let steps = self.steps;
        let [b, biased] = self.factors();
        let term = |i: usize| {
            let cross = self.cross * self.product(i + 1);
            let left = self.cross_bias + self.cross_lipschitz * self.distance(i);
            cross + self.outer_gradient * left * biased.powi((steps - 1 - i) as i32)
        };
        debug_assert!(biased >= b);
        self.direct_lipschitz * self.distance(steps) + self.rate * (0..steps).map(term).sum::<f64>()
    }

    /// The same where the meta-parameters are what the steps begin from (MAML): Π_{j<K} X_j v, of which nothing but P_{−1} is left,
    /// m₂ Σ_{j<K} B^j α (Δ_H + ρ₂ d_j) B′^{K−1−j} + μ₂ d_K B^K.
    pub fn initialisation(&self) -> f64 {
        self.product(0)
    }

    /// What X̂_first ⋯ X̂_{K−1} v̂ is at most off by.
    fn product(&self, first: usize) -> f64 {
        let [b, biased] = self.factors();
        let steps = self.steps;
        let term = |j: usize| {
            let off = self.rate * (self.hessian_bias + self.hessian_lipschitz * self.distance(j));
            b.powi((j - first) as i32) * off * biased.powi((steps - 1 - j) as i32)
        };
        self.outer_gradient * (first..steps).map(term).sum::<f64>()
            + self.outer_lipschitz * self.distance(steps) * b.powi((steps - first) as i32)
    }

    fn factors(&self) -> [f64; 2] {
        let b = 1.0 + self.rate * self.inner_lipschitz;
        [b, b + self.rate * self.hessian_bias]
    }

    /// Eq. 44, the explicit form that the paper prints: (μ₁ + α (c₁ m₂ ρ₂/c₂ + c₁ μ₂ + m₂ λ₂)) (B^K − 1) (B′^{K−1} − 1) σ/(c₂ √N)
    /// + α m₂ (B′^{K−1} − 1) Δ_J + α² c₁ m₂ (B′^{K−1} − B^{K−1}).
    ///
    /// 0 at K = 1, whatever σ and Δ_J are.
    pub fn meta_gradient_as_printed(&self) -> f64 {
        let [b, biased] = self.factors();
        let power = |x: f64| x.powi(self.steps as i32 - 1);
        let (c1, c2, m2) = (self.cross, self.inner_lipschitz, self.outer_gradient);
        let constant = c1 * m2 * self.hessian_lipschitz / c2 + c1 * self.outer_lipschitz + m2 * self.cross_lipschitz;
        (self.direct_lipschitz + self.rate * constant) * self.distance(self.steps) * (power(biased) - 1.0)
            + self.rate * m2 * (power(biased) - 1.0) * self.cross_bias
            + self.rate.powi(2) * c1 * m2 * (power(biased) - power(b))
    }
}

/// Which Hessian the chain rule is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HessianEstimate {
    /// That of the surrogate Σ_t log π · credit: plain automatic differentiation, biased.
    Plain,
    /// An unbiased one, such as DiCE's.
    Unbiased,
}

/// By what the meta-gradient is.
pub enum Meta<'a> {
    /// The initial parameters, φ = θ^0 (MAML).
    Initialisation,
    /// Rewards φ(s, a) that are added inside: of each, in the order of θ, the process that pays 1 there and 0 elsewhere. (∇_φ ∇_θ
    /// J_in are the gradients of their values, which an estimate at fixed data has without bias.)
    Rewards(&'a [Outcomes]),
}

/// K sampled steps from θ^0 beside K exact ones, over every outcome: expectations, and the largest of what was met on the way.
#[derive(Clone, Debug)]
pub struct Walk {
    /// E‖θ̂^k − θ^k‖ for k from 0 to K.
    pub distances: Vec<f64>,
    /// √V of one trajectory's gradient, the largest at any θ̂^i, i < K.
    pub std: f64,
    /// ‖E Ĥ − ∇²V‖, the largest at any θ̂^j, j < K.
    pub hessian_bias: f64,
    /// ‖E ∇_φ Ĵ − ∇_φ J‖.
    pub bias: f64,
    /// ‖∇_φ J‖.
    pub truth: f64,
}

/// What is summed up on the way: and E ∇_φ Ĵ.
struct Sums {
    walk: Walk,
    mean: Array1<f64>,
}

/// What is walked through.
struct Chain<'a> {
    inner: &'a Outcomes,
    outer: &'a Outcomes,
    meta: &'a Meta<'a>,
    estimate: HessianEstimate,
    steps: Inner,
}

/// The factors of the chain rule at one θ̂ or θ.
struct Link {
    update: Array2<f64>,
    cross: Option<Array2<f64>>,
}

impl Walk {
    /// Steps ascend the value of `inner`; what they lead to is judged by that of `outer`. Gradients, Hessians and outer gradients
    /// are of data of their own (Liu et al. 2022, Eq. 4), so that given the steps each counts with its expectation.
    ///
    /// # Errors
    ///
    /// Those of [`Outcomes::adapt`].
    pub fn of(
        inner: &Outcomes,
        outer: &Outcomes,
        meta: &Meta<'_>,
        logits: &Array2<f64>,
        steps: &Inner,
        estimate: HessianEstimate,
    ) -> Result<Self> {
        let chain = Chain { inner, outer, meta, estimate, steps: *steps };
        // Along the exact steps.
        let (mut exact, mut links) = (vec![logits.clone()], Vec::new());
        for k in 0..steps.steps {
            let here = inner.exact(&exact[k])?;
            links.push(chain.link(&exact[k], &here.hessian)?);
            exact.push(step(&exact[k], &here.gradient, steps.rate));
        }
        let truth = chain.product(&links, &outer.exact(&exact[steps.steps])?.gradient);
        let walk = Self {
            distances: vec![0.0; steps.steps + 1],
            std: 0.0,
            hessian_bias: 0.0,
            bias: 0.0,
            truth: length(&truth),
        };
        let mut sums = Sums { walk, mean: Array1::zeros(truth.len()) };
        chain.visit(logits, 1.0, &exact, &mut Vec::new(), &mut sums)?;
        Ok(Self { bias: length(&(sums.mean - truth)), ..sums.walk })
    }
}

impl Chain<'_> {
    /// The factors at some θ with this expectation of the Hessian's estimate.
    fn link(&self, logits: &Array2<f64>, hessian: &Array2<f64>) -> Result<Link> {
        let cross = match self.meta {
            Meta::Initialisation => None,
            Meta::Rewards(each) => {
                let size = self.inner.parameters();
                let mut cross = Array2::zeros((each.len(), size));
                for (mut row, outcomes) in cross.rows_mut().into_iter().zip(*each) {
                    row.assign(&outcomes.exact(logits)?.gradient);
                }
                Some(cross)
            }
        };
        Ok(Link { update: Array2::eye(hessian.nrows()) + hessian * self.steps.rate, cross })
    }

    /// The meta-gradient of these factors.
    fn product(&self, links: &[Link], outer: &Array1<f64>) -> Array1<f64> {
        let mut along = outer.clone();
        let mut sum: Option<Array1<f64>> = None;
        for link in links.iter().rev() {
            if let Some(cross) = &link.cross {
                let term = cross.dot(&along) * self.steps.rate;
                sum = Some(sum.map_or(term.clone(), |sum| sum + term));
            }
            along = link.update.dot(&along);
        }
        sum.unwrap_or(along)
    }

    fn visit(
        &self,
        logits: &Array2<f64>,
        probability: f64,
        exact: &[Array2<f64>],
        links: &mut Vec<Link>,
        sums: &mut Sums,
    ) -> Result<()> {
        let k = links.len();
        sums.walk.distances[k] += probability * length(&(logits - &exact[k]));
        if k == self.steps.steps {
            sums.mean.scaled_add(probability, &self.product(links, &self.outer.exact(logits)?.gradient));
            return Ok(());
        }
        let here = self.inner.exact(logits)?;
        let single = self.inner.at(logits)?;
        let variance: f64 =
            single.iter().map(|x| x.probability * (&x.gradient - &here.gradient).mapv(|x| x * x).sum()).sum();
        sums.walk.std = max_abs(&[sums.walk.std, variance.sqrt()]);
        let mut hessian = Array2::zeros(here.hessian.dim());
        for outcome in &single {
            let estimate = match self.estimate {
                HessianEstimate::Plain => outcome.curvature.clone(),
                HessianEstimate::Unbiased => outcome.hessian(),
            };
            hessian.scaled_add(outcome.probability, &estimate);
        }
        let bias = operator_norm((&hessian - &here.hessian).view());
        sums.walk.hessian_bias = max_abs(&[sums.walk.hessian_bias, bias]);
        links.push(self.link(logits, &hessian)?);
        for Adapted { probability: next, logits, .. } in
            self.inner.adapt(logits, self.steps.rate, self.steps.trajectories)?
        {
            self.visit(&logits, probability * next, exact, links, sums)?;
        }
        links.pop();
        Ok(())
    }
}
