//! Identities between the estimators that hold for each trajectory, not just in expectation, and the closed forms of two
//! biases. Notation: u_t = ∇log π_t, d_t = ρ_t − 1, A_t the advantage, W_t = Π_{k≤t} ρ_k.

use ad::{Tape, Var};
use ndarray::{Array1, ArrayD};
use rl::batch::Batch;
use rl::error::Result;
use rl::objective::{DoublyRobust, Estimator, HessianTerms, LoadedDice, ScoreFunction, TayPo, allow_biased};
use rl::policy::{Table, softmax};
use rl::rollout::{Rollout, Steps};
use rl::truth::{check_estimator, max_abs};

use crate::exact::{Problem, settings_sized};

/// An identity in words, its short name, and the largest entry by which its two sides differ.
pub struct Identity {
    /// The short name, as in `identities.csv`.
    pub name: &'static str,
    /// The identity in words.
    pub words: &'static str,
    /// The largest difference of an entry.
    pub max_abs_error: f64,
}

impl Identity {
    /// Whether the two sides differ by nothing but rounding.
    pub fn holds(&self) -> bool {
        self.max_abs_error <= 1e-10
    }
}

const GAMMA: f64 = 0.9;
const TRAJECTORIES: usize = 40;

/// The identities on trajectories sampled from the problem of a seed, with a critic that is wrong.
pub fn identities(seed: u64, size: [usize; 2], horizon: usize) -> Result<Vec<Identity>> {
    let samples = Samples::new(seed, size, horizon)?;
    let identity = |name, words, max_abs_error| Identity { name, words, max_abs_error };
    Ok(vec![
        identity("a_dr_is_loaded_on_policy", "DR = Loaded DiCE, orders 0 to 3", samples.dr_is_loaded(false)),
        identity("a_dr_is_loaded_off_policy", "the same, off policy", samples.dr_is_loaded(true)),
        identity(
            "b_taypo_k_is_loaded_to_degree_k",
            "TayPO-K = Loaded DiCE with Π(1 + d) cut off at degree K",
            samples.taypo_is_loaded_to_a_degree(),
        ),
        identity("b_gradients_are_equal", "∇DR = ∇Loaded = ∇LVC = ∇TayPO-2 = ∇AD", samples.gradients_are_equal()),
        identity("b_hessian_taypo2_is_dr", "∇²TayPO-2 = ∇²DR", samples.hessians_of_taypo2_and_dr()),
        identity("b_hessian_lvc_minus_ad", "∇²LVC − ∇²AD = Σ γ^t A_t u_t u_tᵀ", samples.lvc_minus_ad()),
        identity(
            "b_hessian_taypo2_minus_lvc",
            "∇²TayPO-2 − ∇²LVC = C + Cᵀ, C = Σ γ^t A_t u_t (Σ_{k<t} u_k)ᵀ",
            samples.taypo2_minus_lvc(),
        ),
        identity(
            "c_reward_meta_gradients_are_equal",
            "intrinsic rewards, 1 step: LVC and AD have one meta-gradient",
            samples.reward_meta_gradients()?,
        ),
    ])
}

/// Closed forms, in expectation over every trajectory, on policy: the decomposition of the Hessian, and the biases of the
/// Hessians of LVC and AD that follow from it.
pub fn closed_forms(seed: u64, size: [usize; 2], horizon: usize) -> Result<Vec<Identity>> {
    let (mut decomposition, mut lvc, mut ad) = (0.0, 0.0, 0.0);
    for setting in settings_sized(seed, false, size, horizon)? {
        let term =
            |choose: fn(&HessianTerms) -> Var| setting.expectation(|b, _, theta| choose(&HessianTerms::new(b, theta)));
        let coupling = term(|terms| terms.h12 + terms.h12_transposed)?;
        let square = term(|terms| terms.h1)?;
        let hessian = |estimator: &dyn Estimator| -> Result<_> {
            let report = check_estimator(estimator, &setting, 2)?;
            Ok((report.orders[2].expectation.clone(), report.orders[2].truth.clone()))
        };
        let (lvc_hessian, truth) = hessian(&TayPo { order: 1 })?;
        let (ad_hessian, _) = hessian(&ScoreFunction)?;
        decomposition = max_abs(&[decomposition, difference(&term(HessianTerms::sum)?, &truth)]);
        lvc = max_abs(&[lvc, difference(&(&lvc_hessian - &truth), &-&coupling)]);
        ad = max_abs(&[ad, difference(&(&ad_hessian - &truth), &-(&coupling + &square))]);
    }
    let identity = |name, words, max_abs_error| Identity { name, words, max_abs_error };
    Ok(vec![
        identity("hessian_decomposition", "∇²V = H1 + H2 + H12 + H12ᵀ", decomposition),
        identity("lvc_hessian_bias", "E ∇²LVC − ∇²V = −E[C + Cᵀ]", lvc),
        identity("ad_hessian_bias", "E ∇²AD − ∇²V = −E[C + Cᵀ] − E[Σ γ^t A_t u_t u_tᵀ]", ad),
    ])
}

/// Trajectories sampled on and off policy, some of which end early.
struct Samples {
    problem: Problem,
    rollouts: [Rollout; 2],
    seed: u64,
}

impl Samples {
    fn new(seed: u64, size: [usize; 2], horizon: usize) -> Result<Self> {
        let problem = Problem::sized(seed, true, size, horizon)?;
        let sample = |logits| problem.mdp.sample(&softmax(logits), horizon, TRAJECTORIES, seed);
        let rollouts = [sample(&problem.logits)?, sample(&problem.behaviour)?];
        Ok(Self { problem, rollouts, seed })
    }

    fn critic(&self) -> Array1<f64> {
        Array1::from_shape_fn(self.problem.mdp.states(), |s| if s % 2 == 0 { 1.7 } else { -0.6 })
    }

    /// A function of the batch and θ.
    fn value(&self, off_policy: bool, f: impl FnOnce(&Batch, Var) -> Var) -> ArrayD<f64> {
        let tape = Tape::new();
        let theta = tape.input("theta", &self.problem.logits);
        let episodes = self.rollouts[usize::from(off_policy)].record(&tape);
        let critic = tape.constant(self.critic()).gather([episodes.states()]);
        let mut batch = Batch::new(episodes, Table::log_prob_of(theta, &episodes), GAMMA).with_critic(critic);
        if off_policy {
            batch = batch.off_policy(episodes.look_up(tape.constant(&self.problem.behaviour).log_softmax()));
        }
        f(&batch, theta).value()
    }

    /// A derivative of the estimate from each trajectory.
    fn derivative(&self, estimator: &dyn Estimator, order: usize, off_policy: bool) -> ArrayD<f64> {
        self.value(off_policy, |batch, theta| allow_biased(estimator).per_trajectory(batch).derivative(theta, order))
    }

    fn dr_is_loaded(&self, off_policy: bool) -> f64 {
        let derivative = |estimator: &dyn Estimator, order| self.derivative(estimator, order, off_policy);
        let error = |order| difference(&derivative(&DoublyRobust, order), &derivative(&LoadedDice::UNBIASED, order));
        max_abs(&[0, 1, 2, 3].map(error))
    }

    /// With ratios 1 + x d_t for the variable, Loaded DiCE is a polynomial in x; its coefficients are to be the
    /// differences of TayPO-k and TayPO-(k − 1). Both are compared at H + 2 places, with their gradients.
    fn taypo_is_loaded_to_a_degree(&self) -> f64 {
        let horizon = self.problem.horizon;
        let error = |place: usize| {
            let x = (place as f64 - horizon as f64 / 2.0) / (horizon as f64 + 1.0);
            let [polynomial, loaded] = [false, true].map(|loaded| {
                let both = |batch: &Batch, theta: Var| {
                    let estimate = if loaded {
                        let ratio = (batch.ratio() - 1.0) * x + 1.0;
                        let along = Batch::new(batch.steps, ratio.ln(), GAMMA).off_policy(ratio.full_like(0.0));
                        LoadedDice::UNBIASED.formula(&along.with_critic(batch.values()))
                    } else {
                        let taypo = |order| TayPo { order }.formula(batch);
                        let first = (taypo(1) - batch.plain_value()) * x + batch.plain_value();
                        (2..=horizon).fold(first, |sum, k| sum + (taypo(k) - taypo(k - 1)) * x.powi(k as i32))
                    };
                    let gradient = estimate.jacobian(theta).reshape(&[TRAJECTORIES, theta.size()]);
                    Var::concat(&[estimate.insert_axis(1), gradient], 1)
                };
                self.value(true, both)
            });
            difference(&polynomial, &loaded)
        };
        max_abs(&(0..horizon + 2).map(error).collect::<Vec<_>>())
    }

    fn gradients_are_equal(&self) -> f64 {
        let others: [&dyn Estimator; 4] =
            [&LoadedDice::UNBIASED, &TayPo { order: 1 }, &TayPo { order: 2 }, &ScoreFunction];
        let dr = self.derivative(&DoublyRobust, 1, false);
        max_abs(&others.map(|other| difference(&dr, &self.derivative(other, 1, false))))
    }

    fn hessians_of_taypo2_and_dr(&self) -> f64 {
        difference(&self.derivative(&TayPo { order: 2 }, 2, false), &self.derivative(&DoublyRobust, 2, false))
    }

    fn lvc_minus_ad(&self) -> f64 {
        let hessian = |estimator: &dyn Estimator| self.derivative(estimator, 2, false);
        let square = self.outer_products(|weighted, score| weighted.transpose(&[0, 2, 1]).matmul(score));
        difference(&(hessian(&TayPo { order: 1 }) - hessian(&ScoreFunction)), &square)
    }

    fn taypo2_minus_lvc(&self) -> f64 {
        let hessian = |order| self.derivative(&TayPo { order }, 2, false);
        let coupling = self.outer_products(|weighted, score| {
            let c = weighted.transpose(&[0, 2, 1]).matmul(score.cumsum_exclusive(1));
            c + c.transpose(&[0, 2, 1])
        });
        difference(&(hessian(2) - hessian(1)), &coupling)
    }

    /// A function of γ^t A_t u_t and u_t, `[N, H, |θ|]`, that gives `[N, |θ|, |θ|]`, in a Hessian's shape.
    fn outer_products(&self, f: impl FnOnce(Var, Var) -> Var) -> ArrayD<f64> {
        self.value(false, |batch, theta| {
            let score = batch.log_prob().jacobian(theta);
            let score = score.reshape(&[TRAJECTORIES, self.problem.horizon, theta.size()]);
            let weighted = score * (batch.advantages() * batch.discounts()).insert_axis(2);
            f(weighted, score).reshape(&[&[TRAJECTORIES][..], &theta.shape(), &theta.shape()].concat())
        })
    }

    /// One inner step on rewards r + φ, from each of some trajectories, then the exact value: the derivative by φ.
    fn reward_meta_gradients(&self) -> Result<f64> {
        let mdp = &self.problem.mdp;
        let meta_gradient = |estimator: &dyn Estimator, rollout: &Rollout| {
            let tape = Tape::new();
            let theta = tape.input("theta", &self.problem.logits);
            let phi = tape.input("phi", mdp.reward() * 0.1);
            let (process, episodes) = (mdp.record(&tape), rollout.record(&tape));
            let rewarded = Steps { rewards: episodes.steps.rewards + episodes.look_up(phi), ..episodes.steps };
            let batch = Batch::new(rewarded, Table::log_prob_of(theta, &episodes), GAMMA);
            let adapted = theta + allow_biased(estimator).surrogate(&batch).grad(theta) * 0.5;
            let values = process.finite_value(adapted.softmax(), GAMMA, self.problem.horizon, None);
            process.start.dot(values).grad(phi).value()
        };
        let error = |n: usize| {
            let one = self.rollouts[0].select(&[n]);
            difference(&meta_gradient(&TayPo { order: 1 }, &one), &meta_gradient(&ScoreFunction, &one))
        };
        // Any few will do; which, the seed says.
        let first = self.seed as usize % (TRAJECTORIES - 8);
        Ok(max_abs(&(first..first + 8).map(error).collect::<Vec<_>>()))
    }
}

/// The largest entry of |a − b|.
fn difference(a: &ArrayD<f64>, b: &ArrayD<f64>) -> f64 {
    max_abs(&(a - b))
}
