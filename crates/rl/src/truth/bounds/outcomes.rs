//! What the statements are about, trajectory by trajectory: probabilities, returns, scores, for a softmax policy over a table, in
//! closed form and so independent of the tape; and every outcome of an inner step made of them.

use ad::{Handle, Program, Tape};
use ndarray::{Array1, Array2};

use super::linear::outer;
use crate::env::TabularMdp;
use crate::error::{Error, Result, check_discount, check_rate};
use crate::meta::sampled::Credit;
use crate::policy::softmax;
use crate::rollout::check_shape;
use crate::truth::terms::derivative_or_zero;
use crate::truth::tuples::{products, tuples};

/// Every trajectory of up to H steps of a tabular process, for softmax policies π(a|s) ∝ e^θ\[s, a\].
///
/// Vectors have the D = S·A entries of θ, row after row.
pub struct Outcomes {
    shape: (usize, usize),
    horizon: usize,
    credit: Credit,
    paths: Vec<Path>,
    value: Program,
}

/// A trajectory, without what the policy makes of it.
struct Path {
    /// What the transitions contribute to its probability.
    factor: f64,
    /// Σ_t γ^t r_t.
    gain: f64,
    /// (s_t, a_t) and Σ_{l≥t} γ^l r_l, or Σ_l γ^l r_l if whole returns are credited.
    steps: Vec<(usize, usize, f64)>,
}

/// A trajectory τ under a policy.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// p(τ; θ).
    pub probability: f64,
    /// R(τ) = Σ_t γ^t r_t.
    pub gain: f64,
    /// ∇log p(τ; θ) = Σ_t ∇log π(a_t|s_t), `[D]`.
    pub score: Array1<f64>,
    /// g(τ; θ), `[D]`: each step's score, credited with the rewards that follow it or with all, as [`Credit`] says.
    pub gradient: Array1<f64>,
    /// The derivative of g at fixed τ, `[D, D]`: the same sum of ∇²log π(a_t|s_t).
    pub curvature: Array2<f64>,
}

impl Outcome {
    /// g ∇log pᵀ + ∇g, `[D, D]`, which estimates ∇²V without bias (Fallah et al. 2021, Eq. 8; with whole returns
    /// R (u uᵀ + ∇²log p) of Tang 2022).
    pub fn hessian(&self) -> Array2<f64> {
        outer(&self.gradient, &self.score) + &self.curvature
    }
}

/// What an inner step with N trajectories may lead to: θ′ = θ + η ĝ.
#[derive(Clone, Debug)]
pub struct Adapted {
    /// Of these N trajectories.
    pub probability: f64,
    /// θ′, `[S, A]`.
    pub logits: Array2<f64>,
    /// ĝ = (1/N) Σ_i g(τ_i), `[D]`.
    pub gradient: Array1<f64>,
    /// Σ_i ∇log p(τ_i), `[D]`.
    pub score: Array1<f64>,
    /// The derivative of ĝ at fixed data, `[D, D]`.
    pub fixed: Array2<f64>,
    /// The mean of [`Outcome::hessian`], `[D, D]`.
    pub hessian: Array2<f64>,
}

/// V, ∇V `[D]` and ∇²V `[D, D]` at some θ.
#[derive(Clone, Debug)]
pub struct Exact {
    /// V(θ).
    pub value: f64,
    /// ∇V(θ).
    pub gradient: Array1<f64>,
    /// ∇²V(θ).
    pub hessian: Array2<f64>,
}

impl Outcomes {
    /// Of a process, so many steps, a discount, and what the estimate of the gradient credits.
    ///
    /// # Errors
    ///
    /// Those of [`TabularMdp::enumerate`], and [`Error::Decay`].
    pub fn new(mdp: &TabularMdp, horizon: usize, gamma: f64, credit: Credit) -> Result<Self> {
        check_discount(gamma)?;
        let (rollout, factors) = mdp.outcomes(horizon)?;
        let (states, actions, rewards) = (rollout.states(), rollout.action_numbers(), rollout.rewards());
        let path = |n: usize| {
            let length = rollout.lengths()[n];
            let mut later = 0.0;
            let mut steps: Vec<_> = (0..length)
                .rev()
                .map(|t| {
                    later += gamma.powi(t as i32) * rewards[[n, t]];
                    (states[[n, t]] as usize, actions[[n, t]] as usize, later)
                })
                .collect();
            steps.reverse();
            if credit == Credit::WholeReturn {
                steps.iter_mut().for_each(|step| step.2 = later);
            }
            Path { factor: factors[n], gain: later, steps }
        };
        let paths = (0..rollout.trajectories()).map(path).collect();
        let shape = (mdp.states(), mdp.actions());
        Ok(Self { shape, horizon, credit, paths, value: value_program(mdp, horizon, gamma) })
    }

    /// How many parameters there are, D.
    pub fn parameters(&self) -> usize {
        self.shape.0 * self.shape.1
    }

    /// The largest number of steps, H.
    pub fn horizon(&self) -> usize {
        self.horizon
    }

    /// What g credits.
    pub fn credit(&self) -> Credit {
        self.credit
    }

    /// Every trajectory under the policy with logits θ, `[S, A]`, in an order that does not depend on θ.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`], and [`Error::NotFinite`] for a logit.
    pub fn at(&self, logits: &Array2<f64>) -> Result<Vec<Outcome>> {
        self.check(logits)?;
        let policy = softmax(logits);
        let actions = self.shape.1;
        let outcome = |path: &Path| {
            let size = self.parameters();
            let (mut score, mut gradient) = (Array1::zeros(size), Array1::zeros(size));
            let mut curvature = Array2::zeros((size, size));
            let mut probability = path.factor;
            for &(s, a, credit) in &path.steps {
                probability *= policy[[s, a]];
                for b in 0..actions {
                    let entry = f64::from(a == b) - policy[[s, b]];
                    score[s * actions + b] += entry;
                    gradient[s * actions + b] += entry * credit;
                    for c in 0..actions {
                        let entry = policy[[s, b]] * (policy[[s, c]] - f64::from(b == c));
                        curvature[[s * actions + b, s * actions + c]] += entry * credit;
                    }
                }
            }
            Outcome { probability, gain: path.gain, score, gradient, curvature }
        };
        Ok(self.paths.iter().map(outcome).collect())
    }

    /// Every outcome of an inner step of rate η with N trajectories, sampled by the policy with logits θ, `[S, A]`.
    ///
    /// # Errors
    ///
    /// Those of [`at`](Self::at); [`Error::Empty`] for N = 0; [`Error::TooManyTrajectories`] for more than 10^6 tuples;
    /// [`Error::Rate`].
    pub fn adapt(&self, logits: &Array2<f64>, rate: f64, trajectories: usize) -> Result<Vec<Adapted>> {
        check_rate(rate)?;
        if trajectories == 0 {
            return Err(Error::Empty { what: "trajectories for an inner step" });
        }
        let single = self.at(logits)?;
        let hessians: Vec<_> = single.iter().map(Outcome::hessian).collect();
        let members = tuples(single.len(), trajectories)?;
        let weights: Vec<f64> = single.iter().map(|outcome| outcome.probability).collect();
        let probabilities = products(&weights, &members, trajectories);
        let size = self.parameters();
        let adapted = |(tuple, &probability): (&[usize], &f64)| {
            let (mut gradient, mut score) = (Array1::zeros(size), Array1::zeros(size));
            let (mut fixed, mut hessian) = (Array2::zeros((size, size)), Array2::zeros((size, size)));
            for &member in tuple {
                gradient += &single[member].gradient;
                score += &single[member].score;
                fixed += &single[member].curvature;
                hessian += &hessians[member];
            }
            let n = trajectories as f64;
            gradient /= n;
            let logits = step(logits, &gradient, rate);
            Adapted { probability, logits, gradient, score, fixed: fixed / n, hessian: hessian / n }
        };
        Ok(members.chunks(trajectories).zip(&probabilities).map(adapted).collect())
    }

    /// V, ∇V and ∇²V at θ, `[S, A]`, by dynamic programming.
    ///
    /// # Errors
    ///
    /// Those of [`at`](Self::at).
    pub fn exact(&self, logits: &Array2<f64>) -> Result<Exact> {
        self.check(logits)?;
        let size = self.parameters();
        let mut results = self.value.run(&[logits.into()])?.into_iter();
        let mut next = || results.next().expect("value, gradient and Hessian");
        let (value, gradient, hessian) = (next().sum(), next(), next());
        Ok(Exact {
            value,
            gradient: gradient.into_shape_with_order(size).expect("D entries"),
            hessian: hessian.into_shape_with_order((size, size)).expect("D² entries"),
        })
    }

    fn check(&self, logits: &Array2<f64>) -> Result<()> {
        check_shape("the policy's logits", logits.shape(), &[self.shape.0, self.shape.1])?;
        crate::error::check_finite(logits, |i| format!("logit {i}"))
    }
}

/// θ + η g.
pub(super) fn step(logits: &Array2<f64>, gradient: &Array1<f64>, rate: f64) -> Array2<f64> {
    let change = gradient.to_shape(logits.dim()).expect("an entry for each logit");
    logits + &(&change * rate)
}

/// V, ∇V and ∇²V of logits `[S, A]`.
fn value_program(mdp: &TabularMdp, horizon: usize, gamma: f64) -> Program {
    let tape = Tape::new();
    let process = mdp.record(&tape);
    let theta = tape.input("theta", Array2::<f64>::zeros((mdp.states(), mdp.actions())));
    let value = process.start.dot(process.finite_value(theta.softmax(), gamma, horizon, None));
    tape.compile([Handle::from(theta)], [0, 1, 2].map(|order| derivative_or_zero(value, theta, order)))
}

/// Σ p x and Σ p ‖x − mean‖² of outcomes x, `[D]`, with probabilities p: the mean, and the sum of all entries' variances.
pub fn mean_and_variance<'a>(outcomes: impl IntoIterator<Item = (f64, &'a Array1<f64>)> + Clone) -> (Array1<f64>, f64) {
    let mut mean = Array1::zeros(0);
    for (probability, x) in outcomes.clone() {
        if mean.is_empty() {
            mean = Array1::zeros(x.len());
        }
        mean.scaled_add(probability, x);
    }
    let square = |x: &Array1<f64>| x.iter().zip(&mean).map(|(x, mean)| (x - mean) * (x - mean)).sum::<f64>();
    let variance = outcomes.into_iter().map(|(probability, x)| probability * square(x)).sum();
    (mean, variance)
}
