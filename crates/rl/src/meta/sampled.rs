//! Gradients through an inner update that is itself made of samples: the N-sample objective of meta-reinforcement learning,
//!
//! F_N(θ) = E[V(θ^ζ)],  θ^0 = θ,  θ^t = θ^{t−1} + η ĝ(θ^{t−1}, D_t),  D_t ~ p_{θ^{t−1}}, N trajectories,
//!
//! with ĝ the policy gradient's estimate from D_t ([`Credit`]). θ acts twice: through the formula of the update, at fixed
//! data, and through the data. Every estimator below is made of three choices:
//!
//! | estimator | the update's derivative | score of the inner data | unbiased for F_N |
//! |---|---|---|---|
//! | [`score_function`], [`sgmrl`] | at fixed data | with weight 1 | yes, at every order |
//! | [`sgmrl_as_printed`], [`sgmrl_boxed`] | with outer products | with weight 1 | no: counts them twice |
//! | [`linearised_score_function`] | with outer products | none | no, but its variance falls with N |
//! | [`maml`] | at fixed data | none | no |
//! | [`first_order_maml`] | none | none | no |
//! | [`sgmrl_first_order`] | none | with weight 1 | no |
//! | [`emaml`] | at fixed data | with weight 1/N | for N = 1 |
//!
//! [`truth::SampledUpdate`](crate::truth::SampledUpdate) proves each line by listing every tuple of trajectories.
//! To add an estimator: one function of a [`MetaBatch`], its formula in its doc, one line in [`all`].

use ad::{DerivativeLimit, Var};

use super::adapt::{adapt, change, evaluates_to};
use crate::batch::{Batch, Decay};
use crate::env::Model;
use crate::objective::{Estimator, ImportanceSampling, ScoreFunction};
use crate::optim::Rule;
use crate::policy::{Params, Policy};
use crate::rollout::Episodes;

/// Which rewards the inner update credits an action with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credit {
    /// All of its trajectory's: ĝ = (1/N) Σ_i R(τ_i) ∇log p_θ(τ_i) (Tang 2022, Eq. 1).
    WholeReturn,
    /// Those that follow it: ĝ = (1/N) Σ_i Σ_t (Σ_{l≥t} γ^l r_l) ∇log π_θ(a_t|s_t) (Fallah et al. 2021, Eq. 4).
    ReturnToGo,
}

impl Credit {
    /// A surrogate with the gradient ĝ, whose Hessian is that of ĝ at fixed data: weights times log π, the mean over
    /// trajectories.
    #[track_caller]
    pub fn fixed_data(self, batch: &Batch) -> Var {
        self.weighted_log_prob(batch).mean()
    }

    /// A surrogate with the gradient ĝ that may be differentiated again for the *value*: the boxes of DiCE bring in the
    /// outer products of scores, by which the Hessian is an unbiased estimate of the value's.
    #[track_caller]
    pub fn boxed(self, batch: &Batch) -> Var {
        match self {
            Credit::WholeReturn => {
                let whole = batch.log_prob().sum_axes(&[1]).magic_box();
                (batch.discounted_sum(batch.rewards()) * whole).mean()
            }
            Credit::ReturnToGo => ImportanceSampling.formula(batch).mean(),
        }
    }

    /// ν_i, `[N]`: what [`fixed_data`](Self::fixed_data) is the mean of.
    #[track_caller]
    fn weighted_log_prob(self, batch: &Batch) -> Var {
        match self {
            Credit::WholeReturn => batch.discounted_sum(batch.rewards()) * batch.log_prob().sum_axes(&[1]),
            Credit::ReturnToGo => ScoreFunction.formula(batch),
        }
    }
}

/// How what was adapted is judged.
#[derive(Clone, Copy, Debug)]
pub enum Outer {
    /// By its exact value over the horizon of the trajectories.
    Exact(Model),
    /// By M trajectories that it sampled: V̂(θ^ζ), whose derivatives are unbiased (DiCE).
    Sampled(Episodes),
}

/// What an estimator of ∇F_N is a function of: the parameters, the data of each inner step, and how the outcome is judged.
#[derive(Clone, Copy)]
pub struct MetaBatch<'a> {
    /// Whose parameters are adapted.
    pub policy: &'a dyn Policy,
    /// θ.
    pub theta: &'a Params,
    /// D_1 … D_ζ, N trajectories each; D_t was sampled at θ^{t−1}.
    pub inner: &'a [Episodes],
    /// How what was adapted is judged.
    pub outer: Outer,
    /// γ.
    pub gamma: Decay,
    /// η, the rate of the inner update.
    pub rate: f64,
    /// What the inner update credits.
    pub credit: Credit,
}

impl MetaBatch<'_> {
    /// Trajectories under the policy with parameters `theta`.
    #[track_caller]
    fn batch_of(&self, episodes: Episodes, theta: &Params) -> Batch {
        Batch::new(episodes, self.policy.log_prob(theta, &episodes), self.gamma)
    }

    /// The data of inner step `step` (0 is D_1) under the policy with parameters `theta`.
    #[track_caller]
    pub fn batch(&self, step: usize, theta: &Params) -> Batch {
        self.batch_of(self.inner[step], theta)
    }

    /// Σ_t log π_θ(a_t|s_t) of each trajectory of D_{step+1}, `[N]`.
    #[track_caller]
    pub fn log_prob(&self, step: usize, theta: &Params) -> Var {
        self.batch(step, theta).log_prob().sum_axes(&[1])
    }

    /// θ^0 … θ^ζ, each as a function of θ through the gradients of `surrogate`: of [`Credit::fixed_data`] the update as it
    /// is, of others one with another derivative.
    ///
    /// Panics unless the rate is finite and not negative.
    #[track_caller]
    pub fn adapt(&self, surrogate: impl Fn(&Batch) -> Var) -> Vec<Params> {
        adapt(self.theta, Rule::sgd(self.rate), self.inner.len(), |step, here| surrogate(&self.batch(step, here)))
    }

    /// [`adapt`](Self::adapt) by [`Credit::fixed_data`]: the update as it is.
    #[track_caller]
    pub fn adapt_by_fixed_data(&self) -> Vec<Params> {
        self.adapt(|batch| self.credit.fixed_data(batch))
    }

    /// [`adapt`](Self::adapt) by [`Credit::boxed`]: its derivative brings in the outer products of scores.
    #[track_caller]
    pub fn adapt_boxed(&self) -> Vec<Params> {
        self.adapt(|batch| self.credit.boxed(batch))
    }

    /// V(θ′), or its estimate, as a function of θ′, a scalar.
    #[track_caller]
    pub fn value(&self, adapted: &Params) -> Var {
        match self.outer {
            Outer::Exact(model) => {
                let horizon = self.inner.first().map_or(0, |episodes| episodes.horizon());
                model.value(self.policy, adapted, self.gamma, horizon)
            }
            Outer::Sampled(episodes) => ImportanceSampling.surrogate(&self.batch_of(episodes, adapted)),
        }
    }

    /// Σ_t Σ_{τ ∈ D_t} log p(τ; θ^{t−1}), without the transitions: how likely all inner data is, a scalar.
    #[track_caller]
    pub fn inner_log_prob(&self, points: &[Params]) -> Var {
        assert!(!self.inner.is_empty(), "MetaBatch: no inner step");
        let mut sum = self.log_prob(0, &points[0]).sum();
        for (step, point) in (0..self.inner.len()).zip(points).skip(1) {
            sum += self.log_prob(step, point).sum();
        }
        sum
    }
}

/// The score-function estimate: V(θ^ζ)·□(Σ_t Σ_{τ∈D_t} log p(τ; θ^{t−1})). For one step its gradient is
///
/// V(θ′) Σ_i u_i + (I + η (1/N) Σ_i R(τ_i) ∇² log p_θ(τ_i)) ∇V(θ′),  u_i = ∇log p_θ(τ_i)
///
/// (Tang 2022, Eq. 8 and Corollary 5: E-MAML without its 1/N). Unbiased for F_N at every order; its variance is Θ(N).
#[track_caller]
pub fn score_function(batch: &MetaBatch<'_>) -> Var {
    let points = batch.adapt_by_fixed_data();
    batch.value(&points[points.len() - 1]) * batch.inner_log_prob(&points).magic_box()
}

/// SG-MRL over ζ steps (Fallah et al. 2021, Eq. 39; Eq. 13 for one),
///
/// Π_t (I + η H_t) ∇V(θ^ζ) + V(θ^ζ) Σ_t Π_{t'<t} (I + η H_{t'}) Σ_{τ∈D_t} ∇log p(τ; θ^{t−1}),
///
/// with H_t the derivative of ĝ(θ^{t−1}, D_t) at fixed data. It is then [`score_function`], and unbiased for F_N at every
/// order. (The paper's text has another H: [`sgmrl_as_printed`].)
#[track_caller]
pub fn sgmrl(batch: &MetaBatch<'_>) -> Var {
    score_function(batch)
}

/// SG-MRL with the Hessian estimate that Fallah et al. 2021 print (Eq. 8 and 9),
///
/// H_t = (1/N) Σ_i \[∇ν_i (∇log p(τ_i))ᵀ + ∇²ν_i\],  ν_i = Σ_h (Σ_{l≥h} γ^l r_l) log π(a_h|s_h),
///
/// in Eq. 39. Biased for F_N at every N: H_t estimates the Hessian of the *value*, in which the effect of θ on the data is
/// already counted, and the scores count it again. (That it is claimed to be unbiased is an error of the paper's Eq. 32.)
#[track_caller]
pub fn sgmrl_as_printed(batch: &MetaBatch<'_>) -> Var {
    let points = batch.adapt_by_fixed_data();
    let fixed =
        |point: &Params| -> Params { point.iter().map(|(name, x)| (name.clone(), x.stop_gradient())).collect() };
    let last = fixed(&points[batch.inner.len()]);
    let value = batch.value(&last);
    // The products of Eq. 39 from the last step to the first: a ← (I + η H_t) a + V Σ ∇log p.
    let mut estimate = value.grad(&last);
    for step in (0..batch.inner.len()).rev() {
        let a = &estimate;
        let here = &fixed(&points[step]);
        let weighted = batch.credit.weighted_log_prob(&batch.batch(step, here));
        let log_prob = batch.log_prob(step, here);
        let along = log_prob.jvp(here, a).stop_gradient();
        let outer_products = (weighted * along).mean().grad(here);
        let curvature = weighted.mean().hvp(here, a);
        let score = log_prob.sum().grad(here);
        let next = |(name, &a): (&String, &Var)| {
            let changed = a + (outer_products[name] + curvature[name]) * batch.rate + score[name] * value;
            (name.clone(), changed)
        };
        estimate = estimate.iter().map(next).collect();
    }
    // A box of a linear function of θ that is 0 here: with this gradient, and no other derivative that would pass for one.
    let terms = batch.theta.iter().map(|(name, &theta)| (change(theta) * estimate[name].stop_gradient()).sum());
    let linear = terms.reduce(|sum, term| sum + term).expect("a policy has parameters");
    once("sgmrl_as_printed", value.stop_gradient() + (linear.magic_box() - 1.0))
}

/// SG-MRL with DiCE as inner loss: the update's derivative has the outer products of scores, and the scores of the data are
/// there, too. Biased for F_N at every N, for the reason of [`sgmrl_as_printed`].
#[track_caller]
pub fn sgmrl_boxed(batch: &MetaBatch<'_>) -> Var {
    let points = batch.adapt_boxed();
    once("sgmrl_boxed", batch.value(&points[points.len() - 1]) * batch.inner_log_prob(&points).magic_box())
}

/// The linearised score-function estimate: the value of what DiCE's inner update leads to, whose gradient is for one step
///
/// (I + η Ĥ_N) ∇V(θ′),  Ĥ_N = (1/N) Σ_i R(τ_i) (u_i u_iᵀ + ∇² log p_θ(τ_i))
///
/// (Tang 2022, Eq. 11 and Corollary 7, with [`Credit::WholeReturn`]; with [`Credit::ReturnToGo`] Ĥ_N is DiCE's, as in the
/// paper's experiments). Biased for F_N and for F_∞ by what falls with N (at most O(1/√N)); its variance falls with N, too.
#[track_caller]
pub fn linearised_score_function(batch: &MetaBatch<'_>) -> Var {
    let points = batch.adapt_boxed();
    once("lsf", batch.value(&points[points.len() - 1]))
}

/// [`linearised_score_function`] with the outer gradient taken where the *exact* update leads,
///
/// (I + η Ĥ_N) ∇V(θ′),  θ′ = `exact` = θ + η ∇V(θ),
///
/// (Tang 2022, Eq. 12 and Corollary 8). Unbiased for ∇F_∞(θ) = ∇\[V(θ + η ∇V(θ))\], of one step; nobody who samples has θ′.
#[track_caller]
pub fn linearised_at_exact_update(batch: &MetaBatch<'_>, exact: &Params) -> Var {
    assert!(batch.inner.len() == 1, "linearised_at_exact_update: {} inner steps, not one", batch.inner.len());
    let sampled = &batch.adapt_boxed()[1];
    once("lsf_at_exact_update", batch.value(&evaluates_to(exact, sampled)))
}

/// MAML as it is implemented: V(θ^ζ), for one step (I + η H) ∇V(θ′) with H at fixed data (Finn et al. 2017). Biased for F_N
/// by exactly −E[V(θ′) Σ_i u_i], the score that it lacks; and for F_∞, because H is not the value's Hessian.
#[track_caller]
pub fn maml(batch: &MetaBatch<'_>) -> Var {
    let points = batch.adapt_by_fixed_data();
    once("maml", batch.value(&points[points.len() - 1]))
}

/// First-order MAML: ∇V(θ^ζ), as if the update were a constant (Finn et al. 2017). Biased for F_N and for F_∞.
#[track_caller]
pub fn first_order_maml(batch: &MetaBatch<'_>) -> Var {
    let points = batch.adapt_by_fixed_data();
    once("first_order_maml", batch.value(&evaluates_to(&points[points.len() - 1], batch.theta)))
}

/// SG-MRL as its tables were made (Fallah et al. 2021, Sec. 5): without the update's derivative, for one step
///
/// ∇V(θ′) + V(θ′) Σ_i u_i,
///
/// and for more with the scores of each step's data at its own parameters. Biased for F_N by −η E[H ∇V(θ′)], H at fixed data;
/// its variance is Θ(N), as that of [`score_function`].
#[track_caller]
pub fn sgmrl_first_order(batch: &MetaBatch<'_>) -> Var {
    let mut points = batch.adapt_by_fixed_data();
    for point in &mut points[1..] {
        *point = evaluates_to(point, batch.theta);
    }
    let value = batch.value(&points[points.len() - 1]);
    once("sgmrl_first_order", value * batch.inner_log_prob(&points).magic_box())
}

/// E-MAML ("formulation II" of Rothfuss et al. 2019) as it is implemented, with *means* of log-probabilities,
///
/// (1/N) V(θ′) Σ_i u_i + (I + η H) ∇V(θ′),  H at fixed data:
///
/// Tang 2022, App. H.2. The 1/N biases it for F_N by −(1 − 1/N) E[V(θ′) Σ_i u_i], which is none for N = 1.
#[track_caller]
pub fn emaml(batch: &MetaBatch<'_>) -> Var {
    let points = batch.adapt_by_fixed_data();
    let mean = batch.inner_log_prob(&points) / batch.inner[0].trajectories() as f64;
    once("emaml", batch.value(&points[points.len() - 1]) * mean.magic_box())
}

/// A surrogate whose gradient is what its name says, and whose further derivatives mean nothing.
#[track_caller]
fn once(name: &str, surrogate: Var) -> Var {
    DerivativeLimit::new(name, 1, "only rl::meta::sampled::score_function claims further orders").apply(surrogate)
}

/// An estimator of ∇F_N: a surrogate, and for which update it was defined.
#[derive(Clone, Copy, Debug)]
pub struct MetaEstimator {
    /// Its short name, as in tables and files.
    pub name: &'static str,
    /// A scalar whose gradient by θ is the estimate.
    pub surrogate: fn(&MetaBatch<'_>) -> Var,
    /// The inner update of its paper.
    pub credit: Credit,
    /// Whether its gradient is unbiased for F_N at every N.
    pub unbiased: bool,
}

/// Every estimator of ∇F_N, with the inner update of its paper.
pub fn all() -> Vec<MetaEstimator> {
    use Credit::{ReturnToGo, WholeReturn};
    let row = |name, surrogate, credit, unbiased| MetaEstimator { name, surrogate, credit, unbiased };
    vec![
        row("sf", score_function as fn(&MetaBatch<'_>) -> Var, WholeReturn, true),
        row("lsf", linearised_score_function, WholeReturn, false),
        row("sgmrl", sgmrl, ReturnToGo, true),
        row("sgmrl_as_printed", sgmrl_as_printed, ReturnToGo, false),
        row("sgmrl_boxed", sgmrl_boxed, ReturnToGo, false),
        row("maml", maml, ReturnToGo, false),
        row("first_order_maml", first_order_maml, ReturnToGo, false),
        row("sgmrl_first_order", sgmrl_first_order, ReturnToGo, false),
        row("emaml", emaml, ReturnToGo, false),
    ]
}
