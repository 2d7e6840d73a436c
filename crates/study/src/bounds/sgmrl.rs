//! SG-MRL's convergence theory (Fallah et al. 2021): how large its gradient is, how curved its objective, what its variance is
//! made of.

use ndarray::Array1;
use rl::error::Result;
use rl::meta::sampled::{Credit, score_function};
use rl::truth::SampledUpdate;
use rl::truth::bounds::sgmrl::{
    Derivative, Inner, Variance, estimates, gradient_bound, gradient_bound_as_printed, smoothness,
};
use rl::truth::bounds::{Outcomes, length, mean_and_variance, operator_norm};
use rl::truth::max_abs;

use super::{Family, Problem, Row, Statement};

const GRADIENT: Statement = Statement::bound(
    "sgmrl_gradient",
    "001 Prop. 1 ii, Eq. 48",
    "‖estimate‖ for any data, ‖∇F_N‖ ≤ G_V with the value's bound (printed: R)",
);
const SMOOTHNESS: Statement =
    Statement::bound("sgmrl_smoothness", "001 Prop. 1 i, Theorem 3", "‖∇²F_N‖ ≤ L_V, derived anew for any ζ");
const SPLIT: Statement = Statement::equality(
    "sgmrl_variance_split",
    "001 Lemma 7",
    "Var = (1/B)(tasks + inner data + outer/M), exactly (printed: ≤ G_V²/(B M))",
);
const VARIANCE: Statement = Statement::bound("sgmrl_variance", "001 Lemma 7", "Var ≤ G_V²/B, at any M");

pub const FAMILY: Family = Family { statements: &[GRADIENT, SMOOTHNESS, SPLIT, VARIANCE], measure };

fn measure(problem: &Problem) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let (name, logits) = (&problem.name, &problem.logits);
    for (steps, trajectories) in [(1, 2), (2, 1)] {
        let outcomes = problem.outcomes(steps, Credit::ReturnToGo)?;
        let constants = problem.constants(steps)?;
        // α ≤ 1/η_H, as the paper has it.
        let inner = Inner { rate: problem.share / constants.printed().hessian, steps: 1, trajectories };
        let case = format!("{name} H={steps} N={trajectories}");
        let (bound, printed) = (gradient_bound(&constants, &inner), gradient_bound_as_printed(&constants, &inner));
        for derivative in [Derivative::FixedData, Derivative::OuterProducts] {
            let all = estimates(&outcomes, logits, &inner, 1, derivative, 1.0)?;
            let lengths: Vec<f64> = all.iter().map(|(_, estimate)| length(estimate)).collect();
            let longest = max_abs(&lengths);
            rows.push(GRADIENT.at_most(format!("{case} {derivative:?}"), longest, bound).printed(longest <= printed));
        }
    }

    for (steps, inner_steps, trajectories) in [(2, 1, 1), (1, 1, 2), (1, 2, 1)] {
        let constants = problem.constants(steps)?;
        let inner = Inner { rate: problem.rate, steps: inner_steps, trajectories };
        let update = SampledUpdate::new(&problem.mdp, logits, steps, problem.gamma)
            .rate(inner.rate)
            .trajectories(trajectories)
            .steps(inner_steps);
        let truth = update.check(score_function, 2)?.orders;
        let case = format!("{name} H={steps} N={trajectories} ζ={inner_steps}");
        let size = logits.len();
        let hessian = truth[2].truth.to_shape((size, size)).expect("twice θ's shape");
        rows.push(SMOOTHNESS.at_most(&*case, operator_norm(hessian.view()), smoothness(&constants, &inner)));
        rows.push(GRADIENT.at_most(case, length(&truth[1].truth), gradient_bound(&constants, &inner)));
    }

    rows.extend(variances(problem, &SPLIT, Credit::ReturnToGo, Derivative::FixedData, 1.0)?);
    let (steps, trajectories) = (2, 1);
    let inner = Inner { rate: problem.rate, steps: 1, trajectories };
    let tasks = tasks(problem, steps, Credit::ReturnToGo)?;
    let variance = Variance::of(&tasks, logits, &inner, Derivative::FixedData, 1.0)?;
    let mut constants = problem.constants(steps)?;
    constants.reward = constants.reward.max(max_abs(problem.other_task.reward()));
    let bound = gradient_bound(&constants, &inner);
    for (count, outer) in [(1, 1), (2, 1000)] {
        let case = format!("{name} B={count} M={outer}");
        let total = variance.total(count, outer);
        let printed = Variance::bound_as_printed(bound, count, outer as f64);
        rows.push(VARIANCE.at_most(case, total, Variance::bound(bound, count)).printed(total <= printed));
    }
    Ok(rows)
}

/// Both of the problem's tasks.
pub fn tasks(problem: &Problem, steps: usize, credit: Credit) -> Result<[Outcomes; 2]> {
    Ok([problem.outcomes(steps, credit)?, Outcomes::new(&problem.other_task, steps, problem.gamma, credit)?])
}

/// The split of a variance beside the variance of all there is: of one task with M = 2, and of pairs of tasks.
pub fn variances(
    problem: &Problem,
    statement: &Statement,
    credit: Credit,
    derivative: Derivative,
    scores: f64,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (steps, count, outer) in [(2, 1, 2), (1, 2, 1)] {
        let inner = Inner { rate: problem.rate, steps: 1, trajectories: 1 };
        let tasks = tasks(problem, steps, credit)?;
        let split = Variance::of(&tasks, &problem.logits, &inner, derivative, scores)?;
        let mut all: Vec<(f64, Array1<f64>)> = Vec::new();
        for task in &tasks {
            let listed = estimates(task, &problem.logits, &inner, outer, derivative, scores)?;
            all.extend(listed.into_iter().map(|(p, x)| (p / tasks.len() as f64, x)));
        }
        if count == 2 {
            let pair =
                |(p, x): &(f64, Array1<f64>)| all.iter().map(|(q, y)| (p * q, (x + y) / 2.0)).collect::<Vec<_>>();
            all = all.iter().flat_map(pair).collect();
        }
        let (mean, variance) = mean_and_variance(all.iter().map(|(p, x)| (*p, x)));
        let case = format!("{} H={steps} B={count} M={outer}", problem.name);
        let size = variance + mean.dot(&mean);
        rows.push(statement.equal(case, (split.total(count, outer) - variance).abs(), size));
    }
    Ok(rows)
}
