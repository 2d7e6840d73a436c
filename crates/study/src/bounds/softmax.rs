//! Fallah et al. 2021, Assumptions 1 to 3 and Lemma 1, for softmax policies over tables.

use rl::error::Result;
use rl::meta::sampled::Credit;
use rl::policy::softmax;
use rl::truth::bounds::softmax::{
    CURVATURE, SCORE, THIRD, largest_change_of_curvature, largest_curvature, largest_score,
};
use rl::truth::bounds::{length, operator_norm};
use rl::truth::max_abs;

use super::problem::normal;
use super::{Family, Problem, Row, Statement};

const G: Statement = Statement::bound("softmax_score", "001 Assumption 2", "‖∇log π‖ ≤ G = √2");
const L: Statement = Statement::bound("softmax_curvature", "001 Assumption 2", "‖∇²log π‖ ≤ L = ½");
const RHO: Statement =
    Statement::bound("softmax_third", "001 Assumption 3", "‖∇²log π − ∇²log π′‖ ≤ ρ ‖θ − θ′‖, ρ = √6/9");
const VALUE: Statement = Statement::bound("value", "001 Assumption 1", "V ≤ R Σ γ^t (printed: R)");
const ETA_G: Statement = Statement::bound("eta_g", "001 Lemma 1 i", "‖g(τ)‖, ‖∇V‖ ≤ η_G, with Σ (t+1) γ^t");
const ETA_H: Statement = Statement::bound("eta_h", "001 Lemma 1 ii", "‖u(τ)‖, ‖∇²V‖ ≤ η_H");
const ETA_RHO: Statement = Statement::bound("eta_rho", "001 Lemma 1 iii", "u(τ; ·) is Lipschitz with η_ρ");
const CHANGE: Statement =
    Statement::bound("hessian_lipschitz", "001 Lemmas 1, 3", "∇²V is Lipschitz with η_ρ + η_H H G");

pub const FAMILY: Family = Family { statements: &[G, L, RHO, VALUE, ETA_G, ETA_H, ETA_RHO, CHANGE], measure };

/// Steps of the trajectories.
const STEPS: usize = 3;

fn measure(problem: &Problem) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let name = &problem.name;
    for (case, logits, other) in [
        ("2 actions", &problem.logits, &problem.behaviour),
        ("3 actions", &problem.wide_logits, &problem.wide_behaviour),
    ] {
        let (case, policy) = (format!("{name} {case}"), softmax(logits));
        rows.push(G.at_most(&*case, largest_score(&policy), SCORE));
        rows.push(L.at_most(&*case, largest_curvature(&policy), CURVATURE));
        rows.push(RHO.at_most(case, largest_change_of_curvature(logits, other)?, THIRD));
    }

    let (outcomes, constants) = (problem.outcomes(STEPS, Credit::ReturnToGo)?, problem.constants(STEPS)?);
    let printed = constants.printed();
    let (logits, mut rng) = (&problem.logits, problem.stream(1));
    let other = logits + &normal(2, 2, 0.1 + problem.share, &mut rng);
    let (exact, changed) = (outcomes.exact(logits)?, outcomes.exact(&other)?);
    let (here, there) = (outcomes.at(logits)?, outcomes.at(&other)?);
    let distance = length(&(&other - logits));

    rows.push(VALUE.at_most(&**name, exact.value, constants.value()).printed(exact.value <= constants.reward));
    let gradients: Vec<f64> = here.iter().map(|outcome| length(&outcome.gradient)).collect();
    let hessians: Vec<_> = here.iter().map(|outcome| outcome.hessian()).collect();
    let norms: Vec<f64> = hessians.iter().map(|hessian| operator_norm(hessian.view())).collect();
    let changes = hessians.iter().zip(&there).map(|(hessian, there)| operator_norm((hessian - there.hessian()).view()));
    let changes: Vec<f64> = changes.map(|change| change / distance).collect();
    let curvature = operator_norm(exact.hessian.view());
    for (statement, case, measured, bound, printed) in [
        (ETA_G, "of a trajectory", max_abs(&gradients), constants.gradient(), printed.gradient),
        (ETA_G, "of the value", length(&exact.gradient), constants.gradient(), printed.gradient),
        (ETA_H, "of a trajectory", max_abs(&norms), constants.hessian(), printed.hessian),
        (ETA_H, "of the value", curvature, constants.hessian(), printed.hessian),
        (ETA_RHO, "of a trajectory", max_abs(&changes), constants.hessian_change(), printed.hessian_change),
    ] {
        rows.push(statement.at_most(format!("{name} {case}"), measured, bound).printed(measured <= printed));
    }
    let change = operator_norm((exact.hessian - changed.hessian).view()) / distance;
    rows.push(CHANGE.at_most(&**name, change, constants.third_derivative()));

    // Of a single step it is tighter.
    let single = problem.outcomes(1, Credit::ReturnToGo)?.at(logits)?;
    let gradients: Vec<f64> = single.iter().map(|outcome| length(&outcome.gradient)).collect();
    rows.push(ETA_G.at_most(format!("{name} H=1"), max_abs(&gradients), problem.constants(1)?.gradient()));
    Ok(rows)
}
