//! What the papers print and is false: for each a problem where it does not hold, the same whatever the seed is.

use ndarray::{Array2, Array3, array};
use rl::batch::Decay;
use rl::env::TabularMdp;
use rl::error::Result;
use rl::meta::sampled::{Credit, MetaBatch, Outer, sgmrl_as_printed};
use rl::policy::Table;
use rl::rollout::Rollout;
use rl::truth::bounds::composition::HessianEstimate;
use rl::truth::bounds::hessian::coupling;
use rl::truth::bounds::lsf::{Formulations, Moments, Toy};
use rl::truth::bounds::sgmrl::{
    Derivative, Inner, Variance, gradient_bound, gradient_bound_as_printed, smoothness_as_printed,
    smoothness_of_theorem_3,
};
use rl::truth::bounds::softmax::Constants;
use rl::truth::bounds::{Outcomes, length};
use rl::truth::{SampledUpdate, Setting, max_abs};

use super::composition::Walked;
use super::{Problem, lsf};

/// A printed statement, and where it fails.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// Its short name, as in the file.
    pub name: &'static str,
    /// The paper and the place.
    pub paper: &'static str,
    /// What is printed.
    pub words: &'static str,
    /// Where it fails.
    pub problem: &'static str,
    /// What should be at most the bound.
    pub measured: f64,
    /// The bound as printed; 0 of what is printed to be equal.
    pub printed: f64,
    /// The corrected bound, if there is one of the same quantity.
    pub corrected: Option<f64>,
}

impl Counterexample {
    /// Whether it is one: the printed form is violated, by more than rounding, and the corrected one holds.
    pub fn stands(&self) -> bool {
        let beyond = self.measured - self.printed > 1e-9 * self.measured.abs();
        beyond && self.corrected.is_none_or(|bound| self.measured <= bound)
    }
}

/// All of them.
pub fn counterexamples() -> Result<Vec<Counterexample>> {
    Ok(vec![
        gradient()?,
        smoothness()?,
        variance()?,
        unbiased()?,
        toy(),
        hessian_variance()?,
        third_moment()?,
        distance()?,
        vanishing()?,
        formulations()?,
        transposed()?,
    ])
}

/// Two states and two actions, written down.
fn by_hand() -> Result<(TabularMdp, Array2<f64>)> {
    let transition = array![[[0.7, 0.3], [0.2, 0.8]], [[0.5, 0.5], [0.9, 0.1]]];
    Ok((TabularMdp::new(transition, array![[1.0, 0.0], [0.0, 2.0]])?, array![[0.3, -0.2], [0.1, 0.4]]))
}

/// One state, with these rewards for its two actions.
fn one_state(rewards: [f64; 2]) -> Result<TabularMdp> {
    TabularMdp::new(Array3::ones((1, 2, 1)), array![rewards])
}

/// G_V: all data take an action that the policy hardly ever takes, so that every score is √2 long, and every reward is 1.
fn gradient() -> Result<Counterexample> {
    let (steps, trajectories, gamma) = (21, 10, 0.9);
    let constants = Constants::softmax(1.0, steps, gamma)?;
    let inner = Inner { rate: 1e-9, steps: 1, trajectories };
    let data = |trajectories: usize| -> Result<Rollout> {
        Rollout::new(
            Array2::<i32>::zeros((trajectories, steps + 1)),
            Array2::<i32>::zeros((trajectories, steps)),
            Array2::ones((trajectories, steps)),
            vec![steps; trajectories],
            vec![false; trajectories],
        )
    };
    let tape = ad::Tape::new();
    let theta = tape.input("theta", array![[-20.0, 20.0]]);
    let params = Table::params(theta);
    let batch = MetaBatch {
        policy: &Table { states: 1, actions: 2 },
        theta: &params,
        inner: &[data(trajectories)?.record(&tape)],
        outer: Outer::Sampled(data(1)?.record(&tape)),
        gamma: Decay::from(gamma),
        rate: inner.rate,
        credit: Credit::ReturnToGo,
    };
    let estimate = sgmrl_as_printed(&batch).grad(theta).value();
    Ok(Counterexample {
        name: "sgmrl_gradient_as_printed",
        paper: "001 Prop. 1 ii, Eq. 48",
        words: "‖estimate‖ ≤ G_V = 2GR((1−γ)⁻² + N H)",
        problem: "r = 1, γ = 0.9, 21 steps, N = 10, a rare action",
        measured: length(&estimate),
        printed: gradient_bound_as_printed(&constants, &inner),
        corrected: Some(gradient_bound(&constants, &inner)),
    })
}

fn smoothness() -> Result<Counterexample> {
    let constants = Constants::softmax(1.0, 100, 0.99)?;
    let inner = Inner { rate: 1.0 / constants.printed().hessian, steps: 1, trajectories: 20 };
    Ok(Counterexample {
        name: "sgmrl_smoothness_as_printed",
        paper: "001 Eq. 17, 67",
        words: "L_V of Theorem 3 at ζ = 1 (Eq. 49) ≤ L_V of Prop. 1 (Eq. 17)",
        problem: "γ = 0.99, 100 steps, N = 20, α = 1/η_H",
        measured: smoothness_of_theorem_3(&constants, &inner),
        printed: smoothness_as_printed(&constants, &inner),
        corrected: None,
    })
}

fn variance() -> Result<Counterexample> {
    let (mdp, logits) = by_hand()?;
    let (steps, gamma, outer) = (3, 0.9, 1_000_000);
    let outcomes = Outcomes::new(&mdp, steps, gamma, Credit::ReturnToGo)?;
    let constants = Constants::softmax(2.0, steps, gamma)?;
    let inner = Inner { rate: 1.0 / constants.printed().hessian, steps: 1, trajectories: 1 };
    let parts = Variance::of(&[outcomes], &logits, &inner, Derivative::FixedData, 1.0)?;
    let bound = gradient_bound(&constants, &inner);
    Ok(Counterexample {
        name: "sgmrl_variance_as_printed",
        paper: "001 Lemma 7, Eq. 72",
        words: "Var ≤ G_V²/(B M) (with the corrected G_V)",
        problem: "2 states, 2 actions, 3 steps, γ = 0.9, B = 1, M = 10⁶",
        measured: parts.total(1, outer),
        printed: Variance::bound_as_printed(bound, 1, outer as f64),
        corrected: Some(Variance::bound(bound, 1)),
    })
}

/// The Hessian estimate of Eq. 8 in Eq. 13: scores are counted twice.
fn unbiased() -> Result<Counterexample> {
    let (mdp, logits) = by_hand()?;
    let update = SampledUpdate::new(&mdp, &logits, 2, 0.9);
    let report = update.check(sgmrl_as_printed, 1)?.orders.swap_remove(1);
    Ok(Counterexample {
        name: "sgmrl_unbiased_as_printed",
        paper: "001 Eq. 8 to 10, 13, 30, 32",
        words: "the estimate with u(τ) of Eq. 8 is unbiased for ∇F_N (bias 0)",
        problem: "2 states, 2 actions, 2 steps, γ = 0.9, N = 1, α = 1",
        measured: report.max_abs_bias(),
        printed: 0.0,
        corrected: None,
    })
}

fn toy() -> Counterexample {
    let toy = Toy { mean: 1.0, std: 1.0, samples: 2 };
    Counterexample {
        name: "toy_variance_as_printed",
        paper: "000 Lemma 14",
        words: "V[SF] = Nμ²/σ² + 2/N",
        problem: "μ = σ = 1, N = 2",
        measured: lsf::toy_variances(&toy, None)[0].1,
        printed: toy.score_function_as_printed(),
        // (The corrected form is an equality; rounding is above it, or not.)
        corrected: None,
    }
}

/// The action that is hardly ever taken is the worse one.
fn hessian_variance() -> Result<Counterexample> {
    let outcomes = Outcomes::new(&one_state([1.0, 2.0])?, 1, 1.0, Credit::WholeReturn)?;
    let moments = Moments::of(&outcomes, &array![[0.0, 9.0_f64.ln()]])?;
    Ok(Counterexample {
        name: "lsf_hessian_variance_as_printed",
        paper: "000 Prop. 24's proof",
        words: "V[R(uuᵀ + ∇²log p)] ≤ σ₂₁² + σ₂₂²",
        problem: "1 state, 1 step, rewards 1 and 2 with probabilities 0.1 and 0.9",
        measured: moments.hessian,
        printed: moments.hessian_bound_as_printed(),
        corrected: Some(moments.hessian_bound()),
    })
}

/// Two actions with the same reward and probability: R u is ±(½, −½).
fn third_moment() -> Result<Counterexample> {
    let outcomes = Outcomes::new(&one_state([1.0, 1.0])?, 1, 1.0, Credit::WholeReturn)?;
    let logits = array![[0.0, 0.0]];
    let moments = Moments::of(&outcomes, &logits)?;
    Ok(Counterexample {
        name: "third_moment_as_printed",
        paper: "000 Prop. 25 iii",
        words: "E‖mean of N‖³ ≤ σ₃³ N^(−3/2)",
        problem: "R u = ±(½, −½) with probability ½, N = 2",
        measured: Formulations::of(&outcomes, &logits, 1.0, 2)?.third_moment,
        printed: moments.third_moment_of_mean_as_printed(2),
        corrected: Some(moments.third_moment_of_mean(2)),
    })
}

/// A problem that does not depend on the seed.
fn drawn() -> Result<Problem> {
    let (mdp, logits) = by_hand()?;
    Ok(Problem { mdp, logits, gamma: 0.9, ..Problem::new(0, 0)? })
}

fn distance() -> Result<Counterexample> {
    use rl::truth::bounds::composition::{compositional, compositional_as_in_the_abstract};
    let (problem, rate, steps) = (drawn()?, 0.1, 3);
    let (walk, assumptions) = Walked::new(&problem, 1, steps, 1, rate)?.initialisation(HessianEstimate::Plain)?;
    Ok(Counterexample {
        name: "compositional_bias_in_the_abstract",
        paper: "002 abstract",
        words: "E‖θ̂^K − θ^K‖ is O(K α^K σ/√N) (here times 1; no constant does as α → 0)",
        problem: "2 states, 2 actions, 1 step, K = 3, α = 0.1, N = 1",
        measured: walk.distances[steps],
        printed: compositional_as_in_the_abstract(rate, steps, walk.std, 1),
        corrected: Some(compositional(assumptions.inner_lipschitz, rate, steps, walk.std, 1)),
    })
}

fn vanishing() -> Result<Counterexample> {
    let problem = drawn()?;
    let (walk, assumptions) = Walked::new(&problem, 2, 1, 1, 1.0)?.rewards(HessianEstimate::Unbiased)?;
    Ok(Counterexample {
        name: "meta_gradient_bias_as_printed",
        paper: "002 Eq. 44",
        words: "the bias of a meta-gradient vanishes at K = 1",
        problem: "2 states, 2 actions, 2 steps, φ rewards inside, K = 1, α = 1, N = 1",
        measured: walk.bias,
        printed: assumptions.meta_gradient_as_printed(),
        corrected: Some(assumptions.meta_gradient()),
    })
}

fn formulations() -> Result<Counterexample> {
    let (mdp, logits) = by_hand()?;
    let outcomes = Outcomes::new(&mdp, 2, 0.9, Credit::WholeReturn)?;
    let both = Formulations::of(&outcomes, &logits, 1.0, 1)?;
    Ok(Counterexample {
        name: "formulations_as_printed",
        paper: "004 App. A (000 App. E)",
        words: "J_N^(ii) = J_∞^(ii): the formulations differ by how they score inner data alone",
        problem: "2 states, 2 actions, 2 steps, N = 1, η = 1",
        measured: length(&(both.finite_second - both.limit_second)),
        printed: 0.0,
        corrected: None,
    })
}

fn transposed() -> Result<Counterexample> {
    use rl::objective::HessianTerms;
    let (mdp, logits) = by_hand()?;
    let setting = Setting::new(&mdp, &logits, 3, 0.9);
    let printed = setting.expectation(|batch, _, theta| HessianTerms::new(batch, theta).h12_transposed)?;
    let printed = printed.into_shape_with_order((4, 4)).expect("twice four entries");
    Ok(Counterexample {
        name: "coupling_as_printed",
        paper: "004 Eq. 46, 56",
        words: "E Σ_t (Σ_{t′≤t} Σ_{h<t′} u_{t′} u_hᵀ) r_t = H12 (difference 0)",
        problem: "2 states, 2 actions, 3 steps, γ = 0.9",
        measured: max_abs(&(printed - coupling(&mdp, &logits, 0.9, 3)?)),
        printed: 0.0,
        corrected: None,
    })
}
