//! Expansions of the value in the policy (Tang et al. 2021): exact, sampled, and cut off.

use rl::env::Horizon;
use rl::error::Result;
use rl::objective::TayPo;
use rl::policy::softmax;
use rl::truth::bounds::{length, taypo};
use rl::truth::{Setting, check_estimator, derivatives, max_abs};

use super::{Family, Problem, Row, Statement};

const INCREMENTS: Statement = Statement::equality("taypo_increments", "003 Eq. 6", "Σ_{k≤H} U_k = V^π in H steps");
const SAMPLED: Statement =
    Statement::equality("taypo_sampled_increments", "003 Eq. 6 to 8", "E of the TayPO-K estimate is Σ_{k≤K} U_k");
const REMAINDER: Statement = Statement::equality(
    "taypo_remainder",
    "003 Prop. 3.3",
    "V^π − Σ_{k≤K} U_k is the next increment with Q^π, without horizon",
);
const INFINITE: Statement =
    Statement::bound("taypo_residual_infinite", "003 Prop. 3.3", "|V^π − Σ_{k≤K} U_k|, without horizon");
const FINITE: Statement = Statement::bound("taypo_residual", "003 Prop. 3.3", "|V^π − Σ_{k≤K} U_k| in H steps");
const DERIVATIVES: Statement = Statement::bound(
    "taypo_derivatives",
    "003 Prop. 3.4, Eq. 9",
    "bias of the m-th derivative off policy, by those of the increments left out",
);
const GRADIENT: Statement = Statement::bound(
    "taypo_gradient_residual",
    "003 Prop. 3.4",
    "bias of TayPO-K's gradient off policy: O(δ^K), not O(δ^{K+1})",
);

pub const FAMILY: Family =
    Family { statements: &[INCREMENTS, SAMPLED, REMAINDER, INFINITE, FINITE, DERIVATIVES, GRADIENT], measure };

/// H of what is not listed, and of what is.
const STEPS: [usize; 2] = [5, 3];

fn measure(problem: &Problem) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let (name, gamma, mdp) = (&problem.name, problem.gamma, &problem.wide);
    let [pi, mu] = &problem.wide_policies();
    let distance = taypo::distance(pi, mu)?;

    let steps = STEPS[0];
    let increments = taypo::increments(mdp, pi, mu, gamma, steps)?;
    let horizon = Horizon::Finite { steps, terminal: None };
    let value = derivatives(mdp, &problem.wide_logits, gamma, &horizon, 0)?[0].sum();
    let size: f64 = increments.iter().map(|x| x.abs()).sum();
    rows.push(INCREMENTS.equal(format!("{name} H={steps}"), (increments.iter().sum::<f64>() - value).abs(), size));
    let span = taypo::finite_span(mdp, pi, gamma, steps)?;
    for order in 0..3 {
        let left = (value - increments[..=order].iter().sum::<f64>()).abs();
        let bound = taypo::residual(span, distance, gamma, steps, order);
        rows.push(FINITE.at_most(format!("{name} H={steps} K={order}"), left, bound).of_terms(size));
    }

    let value = derivatives(mdp, &problem.wide_logits, gamma, &Horizon::Infinite, 0)?[0].sum();
    let increments = taypo::infinite_increments(mdp, pi, mu, gamma, 2)?;
    let span = taypo::infinite_span(mdp, pi, gamma)?;
    for order in 0..3 {
        let case = format!("{name} K={order}");
        let left = value - increments[..=order].iter().sum::<f64>();
        let remainder = taypo::infinite_remainder(mdp, pi, mu, gamma, order)?;
        let size = value.abs() + increments[..=order].iter().map(|x| x.abs()).sum::<f64>();
        rows.push(REMAINDER.equal(case.clone(), (left - remainder).abs(), size));
        let bound = taypo::infinite_residual(span, distance, gamma, order);
        rows.push(INFINITE.at_most(case, left.abs(), bound).of_terms(size));
    }

    // By the estimator itself, over every trajectory.
    let (mdp, steps) = (&problem.mdp, STEPS[1]);
    let [pi, mu] = &[softmax(&problem.logits), softmax(&problem.behaviour)];
    let distance = taypo::distance(pi, mu)?;
    let increments = taypo::increments(mdp, pi, mu, gamma, steps)?;
    let setting = Setting::new(mdp, &problem.logits, steps, gamma).off_policy(&problem.behaviour);
    let reports = [1, 2, 3].map(|order| check_estimator(&TayPo { order }, &setting, 2));
    let reports: Vec<_> = reports.into_iter().collect::<Result<_>>()?;
    let span = taypo::finite_span(mdp, mu, gamma, steps)?;
    for (report, order) in reports.iter().zip(1..) {
        let case = format!("{name} H={steps} K={order}");
        let sum: f64 = increments[..=order].iter().sum();
        let size = increments.iter().map(|x| x.abs()).sum();
        rows.push(SAMPLED.equal(case.clone(), (report.orders[0].expectation.sum() - sum).abs(), size));
        if order == steps {
            continue;
        }
        for m in [1, 2] {
            // ∇^m U_k is what TayPO-k adds to TayPO-(k − 1).
            let next = |k: usize| &reports[k - 1].orders[m].expectation;
            let left: f64 = (order + 1..=steps).map(|k| max_abs(&(next(k) - next(k - 1)))).sum();
            // (Where one increment is left, they are equal.)
            let row = DERIVATIVES.at_most(format!("{case} m={m}"), report.orders[m].max_abs_bias(), left);
            rows.push(row.of_terms(report.orders[m].scale));
        }
        let bias = &report.orders[1].expectation - &report.orders[1].truth;
        let bound = taypo::gradient_residual(span, distance, gamma, steps, order);
        rows.push(GRADIENT.at_most(case, length(&bias), bound).of_terms(report.orders[1].scale));
    }
    Ok(rows)
}
