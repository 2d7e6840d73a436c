//! What LVC leaves out of the Hessian in linear-quadratic control (Rothfuss et al. 2019, section 5), and why tables do not show it.

use ndarray::{Array2, array};
use rand::RngExt;
use rl::env::{LinearQuadratic, TabularMdp};
use rl::error::Result;
use rl::objective::HessianTerms;
use rl::stream::stream;
use rl::truth::bounds::control::{hessian, optimal_gain};
use rl::truth::{Setting, max_abs};

use super::{Family, Problem, Row, Statement};
use crate::linear_quadratic::Linear;
use crate::lines::{Axis, Line, Panel};

const OPTIMUM: Statement = Statement::equality(
    "lvc_at_the_optimum",
    "004 section 5",
    "in control the bias of LVC's Hessian, H12 + H12ᵀ, is 0 at the best gain",
);
const HESSIAN: Statement = Statement::equality(
    "control_hessian",
    "004 App. B.1",
    "in control ∇²V is 2(γb²P − r)M, H1 + H2, and 4γbFP′M, H12 + H12ᵀ",
);

pub(super) const FAMILY: Family = Family { statements: &[OPTIMUM, HESSIAN], measure };

const DEVIATION: f64 = 0.5;
const GAMMA: f64 = 0.9;
/// So many that γ^steps is 1e-13.
const STEPS: usize = 284;

fn measure(problem: &Problem) -> Result<Vec<Row>> {
    let mut rng = stream(problem.seed, 3);
    let mut number = |low: f64, high: f64| rng.random_range(low..high);
    let matrices = [number(0.3, 0.98), number(0.2, 1.0), 1.0, number(0.05, 0.6)];
    let apart = number(-0.3, 0.3);
    let [a, b, q, r] = matrices.map(|x| Array2::from_elem((1, 1), x));
    let control = LinearQuadratic::new(a, b, q, r)?.with_noise(0.3)?;
    let best = optimal_gain(&control, GAMMA)?;
    let at_best = hessian(&control, best, DEVIATION, GAMMA)?;
    let found = hessian(&control, best + apart, DEVIATION, GAMMA)?;
    let policy = Linear { log_std: Some(DEVIATION.ln()) };
    let theta = policy.numbers([best + apart, 0.0, 0.0]);
    let derivatives = Setting::linear_quadratic(&control, policy, &theta, STEPS, GAMMA).derivatives(2)?;
    // The gain is the first parameter.
    let truth = derivatives[2].first().copied().expect("an entry for each pair of parameters");
    let size = found.kept.abs() + found.left_out.abs();
    Ok(vec![
        OPTIMUM.equal(&*problem.name, at_best.left_out.abs(), at_best.kept.abs()),
        HESSIAN.equal(&*problem.name, (found.kept + found.left_out - truth).abs(), size),
    ])
}

/// What is drawn and said: the share of what LVC leaves out.
pub struct Shares {
    /// At gains so far from the best, in control.
    pub control: Vec<(f64, f64)>,
    /// By steps of an ascent there, from each of two starts.
    pub ascents: [Vec<(f64, f64)>; 2],
    /// In a table, at policies that are ever more certain (logits ±x), of what is right and of what is wrong.
    pub tables: [Vec<(f64, f64)>; 2],
}

/// Of the control problem a = 0.9, b = 0.5, q = 1, r = 0.1, γ = 0.9, and of a table of three steps.
pub fn shares() -> Result<Shares> {
    let control = LinearQuadratic::new(array![[0.9]], array![[0.5]], array![[1.0]], array![[0.1]])?.with_noise(0.3)?;
    let best = optimal_gain(&control, GAMMA)?;
    let share = |gain: f64| -> Result<f64> { Ok(hessian(&control, gain, DEVIATION, GAMMA)?.share()) };
    let around = [-0.3, -0.1, 0.0, 0.1, 0.3].map(|apart| Ok::<_, rl::error::Error>((apart, share(best + apart)?)));
    let ascent = |start: f64| -> Result<Vec<(f64, f64)>> {
        let (mut gain, mut shares) = (best + start, Vec::new());
        let at_best = hessian(&control, best, DEVIATION, GAMMA)?;
        for step in 0..40 {
            let here = hessian(&control, gain, DEVIATION, GAMMA)?;
            shares.push((f64::from(step), here.share()));
            // Half of what a Newton step at the optimum would be.
            gain -= 0.5 * here.gradient / (at_best.kept + at_best.left_out);
        }
        Ok(shares)
    };
    let ascents = [ascent(-0.6)?, ascent(0.6)?];

    let mdp = TabularMdp::random(2, 2, 1.0, &mut stream(0, 0))?;
    let setting = |x: f64, [first, second]: [f64; 2]| {
        let logits = array![[first, -first], [second, -second]] * x;
        Setting::new(&mdp, &logits, 3, GAMMA)
    };
    let corners = [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]];
    let mut by_value = Vec::new();
    for corner in corners {
        by_value.push((setting(20.0, corner).derivatives(0)?[0].sum(), corner));
    }
    by_value.sort_by(|one, two| two.0.total_cmp(&one.0));
    let along = |corner: [f64; 2]| -> Result<Vec<(f64, f64)>> {
        let of = |i: u32| {
            let x = 0.25 * f64::from(i);
            let setting = setting(x, corner);
            let left_out = setting.expectation(|batch, _, theta| {
                let terms = HessianTerms::new(batch, theta);
                terms.h12 + terms.h12_transposed
            })?;
            Ok((x, max_abs(&left_out) / max_abs(&setting.derivatives(2)?[2])))
        };
        (0..=20).map(of).collect()
    };
    let tables = [along(by_value[0].1)?, along(by_value[3].1)?];
    Ok(Shares { control: around.into_iter().collect::<Result<_>>()?, ascents, tables })
}

/// The shares by steps of an ascent in control, and by how certain a policy of a table is.
pub fn panels(shares: &Shares) -> Vec<Panel> {
    let y = || Axis::logarithmic("|H12 + H12ᵀ| / |∇²V|").within(1e-8, 1.0);
    let [below, above] = &shares.ascents;
    let [right, wrong] = &shares.tables;
    vec![
        Panel {
            title: "control: an ascent".to_owned(),
            x: Axis::linear("steps"),
            y: y(),
            lines: vec![Line::new("from k* − 0.6", below.clone()), Line::new("from k* + 0.6", above.clone())],
        },
        Panel {
            title: "a table: ever more certain policies".to_owned(),
            x: Axis::linear("logits ±x"),
            y: y(),
            lines: vec![Line::new("right", right.clone()), Line::new("wrong", wrong.clone())],
        },
    ]
}
