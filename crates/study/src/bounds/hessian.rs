//! What the Hessian of a value is the sum of (Rothfuss et al. 2019, appendix B.1).

use rl::error::Result;
use rl::objective::{HessianTerms, TayPo};
use rl::truth::bounds::hessian::coupling;
use rl::truth::{Setting, check_estimator, max_abs};

use super::{Family, Problem, Row, Statement};

const SUM: Statement = Statement::equality(
    "hessian_terms",
    "004 App. B.1",
    "∇²V = H1 + H2 + H12 + H12ᵀ, H12 by dynamic programming, Eq. 50",
);
const TRANSPOSED: Statement = Statement::equality(
    "coupling_of_trajectories",
    "004 Eq. 46, 56",
    "Σ of scores with the later one in front is H12ᵀ (printed: H12)",
);
const LVC: Statement =
    Statement::equality("lvc_hessian_bias", "004 section 5", "the bias of LVC's Hessian is −(H12 + H12ᵀ)");

pub const FAMILY: Family = Family { statements: &[SUM, TRANSPOSED, LVC], measure };

/// Steps of the trajectories.
const STEPS: usize = 3;

fn measure(problem: &Problem) -> Result<Vec<Row>> {
    let (logits, case) = (&problem.logits, problem.name.clone());
    let square = |x: ndarray::ArrayD<f64>| x.into_shape_with_order((4, 4)).expect("twice four entries");
    let setting = Setting::new(&problem.mdp, logits, STEPS, problem.gamma);
    let coupling = coupling(&problem.mdp, logits, problem.gamma, STEPS)?;
    let report = check_estimator(&TayPo { order: 1 }, &setting, 2)?.orders.swap_remove(2);
    let (truth, lvc) = (square(report.truth), square(report.expectation));
    let rest = square(setting.expectation(|batch, _, theta| {
        let terms = HessianTerms::new(batch, theta);
        terms.h1 + terms.h2
    })?);
    // Eq. 56: over each step, what was before it, the later score in front.
    let printed = square(setting.expectation(|batch, _, theta| HessianTerms::new(batch, theta).h12_transposed)?);
    let both = &coupling + &coupling.t();
    let size = max_abs(&truth) + max_abs(&coupling);
    let printed_holds = max_abs(&(&printed - &coupling)) <= super::EQUAL * size;
    Ok(vec![
        SUM.equal(&*case, max_abs(&(&rest + &both - &truth)), size),
        TRANSPOSED.equal(&*case, max_abs(&(&printed - &coupling.t())), size).printed(printed_holds),
        LVC.equal(case, max_abs(&(lvc - truth + &both)), size),
    ])
}
