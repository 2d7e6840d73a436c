//! Meta-gradients through sampled steps (Liu et al. 2022, section 4), over every outcome of the steps.

use ndarray::Array2;
use rl::env::TabularMdp;
use rl::error::Result;
use rl::meta::sampled::Credit;
use rl::truth::bounds::Outcomes;
use rl::truth::bounds::composition::{
    Assumptions, HessianEstimate, Meta, Walk, compositional, compositional_as_in_the_abstract,
};
use rl::truth::bounds::sgmrl::Inner;
use rl::truth::bounds::softmax::Constants;
use rl::truth::max_abs;

use super::problem::normal;
use super::{Family, Problem, Row, Statement};

const DISTANCE: Statement = Statement::bound(
    "compositional_bias",
    "002 Lemma 4.4",
    "E‖θ̂^K − θ^K‖ ≤ ((1 + αc₂)^K − 1)σ/(c₂√N) (abstract: O(Kα^Kσ/√N))",
);
const INITIALISATION: Statement = Statement::bound(
    "meta_gradient_bias_maml",
    "002 Theorem 4.5",
    "‖E ∇Ĵ − ∇J‖ for φ = θ⁰, explicitly (Eq. 44 as printed vanishes at K = 1)",
);
const REWARDS: Statement =
    Statement::bound("meta_gradient_bias_rewards", "002 Theorem 4.5", "the same for φ that are rewards inside (LIRPG)");

pub const FAMILY: Family = Family { statements: &[DISTANCE, INITIALISATION, REWARDS], measure };

fn measure(problem: &Problem) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (horizon, steps, trajectories) in [(2, 1, 1), (1, 1, 2), (2, 2, 1), (1, 3, 1)] {
        let walked = Walked::new(problem, horizon, steps, trajectories, problem.rate)?;
        for (estimate, name) in [(HessianEstimate::Plain, "AD"), (HessianEstimate::Unbiased, "DiCE")] {
            let case = format!("{} H={horizon} K={steps} N={trajectories} {name}", problem.name);
            let (walk, assumptions) = walked.initialisation(estimate)?;
            let printed = walk.bias <= assumptions.meta_gradient_as_printed();
            rows.push(INITIALISATION.at_most(&*case, walk.bias, assumptions.initialisation()).printed(printed));
            if estimate == HessianEstimate::Plain {
                let bound = compositional(assumptions.inner_lipschitz, problem.rate, steps, walk.std, trajectories);
                let printed = compositional_as_in_the_abstract(problem.rate, steps, walk.std, trajectories);
                let distance = walk.distances[steps];
                rows.push(DISTANCE.at_most(&*case, distance, bound).printed(distance <= printed));
            }
            let (walk, assumptions) = walked.rewards(estimate)?;
            let printed = walk.bias <= assumptions.meta_gradient_as_printed();
            rows.push(REWARDS.at_most(case, walk.bias, assumptions.meta_gradient()).printed(printed));
        }
    }
    Ok(rows)
}

/// K steps through a problem.
pub struct Walked<'a> {
    problem: &'a Problem,
    horizon: usize,
    steps: Inner,
    outer: Outcomes,
    constants: Constants,
}

impl<'a> Walked<'a> {
    /// K = `steps` of this rate, of trajectories of up to `horizon` steps.
    pub fn new(problem: &'a Problem, horizon: usize, steps: usize, trajectories: usize, rate: f64) -> Result<Self> {
        let outer = problem.outcomes(horizon, Credit::ReturnToGo)?;
        let constants = problem.constants(horizon)?;
        Ok(Self { problem, horizon, steps: Inner { rate, steps, trajectories }, outer, constants })
    }

    fn assumptions(&self, walk: &Walk, inner: &Constants) -> Assumptions {
        Assumptions {
            rate: self.steps.rate,
            steps: self.steps.steps,
            trajectories: self.steps.trajectories,
            std: walk.std,
            outer_gradient: self.constants.gradient(),
            direct_lipschitz: 0.0,
            outer_lipschitz: self.constants.hessian(),
            cross: 0.0,
            cross_lipschitz: 0.0,
            cross_bias: 0.0,
            inner_lipschitz: inner.hessian(),
            hessian_lipschitz: inner.third_derivative(),
            hessian_bias: walk.hessian_bias,
        }
    }

    /// By the initial parameters.
    pub fn initialisation(&self, estimate: HessianEstimate) -> Result<(Walk, Assumptions)> {
        let (logits, inner) = (&self.problem.logits, &self.outer);
        let walk = Walk::of(inner, &self.outer, &Meta::Initialisation, logits, &self.steps, estimate)?;
        let assumptions = self.assumptions(&walk, &self.constants);
        Ok((walk, assumptions))
    }

    /// By rewards that are added inside.
    pub fn rewards(&self, estimate: HessianEstimate) -> Result<(Walk, Assumptions)> {
        let (mdp, gamma) = (&self.problem.mdp, self.problem.gamma);
        let with = |reward: Array2<f64>| -> Result<Outcomes> {
            let mdp = TabularMdp::new(mdp.transition().clone(), reward)?.with_termination(mdp.termination().clone())?;
            Outcomes::new(&mdp, self.horizon, gamma, Credit::ReturnToGo)
        };
        let added = mdp.reward() + &normal(2, 2, 0.3, &mut self.problem.stream(2));
        let unit = |k: usize| Array2::from_shape_fn((2, 2), |(s, a)| f64::from(2 * s + a == k));
        let each: Vec<Outcomes> = (0..4).map(|k| with(unit(k))).collect::<Result<_>>()?;
        let inner_constants = Constants::softmax(max_abs(&added), self.horizon, gamma)?;
        let inner = with(added)?;
        let logits = &self.problem.logits;
        let walk = Walk::of(&inner, &self.outer, &Meta::Rewards(&each), logits, &self.steps, estimate)?;
        // Along a unit vector of rewards none is larger than 1: the cross derivative is the gradient of a value with R = 1.
        let unit = Constants { reward: 1.0, ..inner_constants };
        let assumptions = Assumptions {
            cross: unit.gradient(),
            cross_lipschitz: unit.hessian(),
            ..self.assumptions(&walk, &inner_constants)
        };
        Ok((walk, assumptions))
    }
}
