//! Gradients through N samples (Tang 2022), and the bias of plugging estimates into a product (Tang et al. 2021).

use ndarray::arr1;
use rl::additive::{Additive, Gaussian};
use rl::error::Result;
use rl::meta::sampled::Credit;
use rl::truth::bounds::lsf::{self, Formulations, Moments, Toy};
use rl::truth::bounds::sgmrl::Derivative;
use rl::truth::bounds::{length, mean_and_variance};

use super::{Family, Problem, Row, Statement, sgmrl};

const HESSIAN: Statement = Statement::bound(
    "lsf_hessian_variance",
    "000 Prop. 24's proof",
    "V[R(uuᵀ + ∇²log p)] ≤ 2(σ₂₁² + σ₂₂²) (printed without the 2)",
);
const LIMIT: Statement =
    Statement::bound("lsf_bias_to_limit", "000 Prop. 24", "‖E LSF − ∇F_∞‖ = O(1/√N), with the √2 it lacks");
const FAST: Statement = Statement::bound("lsf_bias_to_limit_fast", "000 Prop. 24, sharper", "‖E LSF − ∇F_∞‖ = O(1/N)");
const BIAS: Statement = Statement::bound(
    "lsf_bias",
    "000 Prop. 11, 26, sharper",
    "‖E LSF − ∇F_N‖ ≤ η²L₁ E[‖u‖‖Ru‖²]/(2N) (printed: O(1/√N))",
);
const INNER: Statement =
    Statement::bound("lsf_inner_variance", "000 Prop. 12, 28", "the variance that the inner data make is O(1/N)");
const SPLIT: Statement = Statement::equality(
    "lsf_variance_split",
    "000 Prop. 12, 28",
    "Var LSF = (1/B)(tasks + inner data + outer/M), exactly",
);
const THIRD: Statement = Statement::bound(
    "third_moment",
    "000 Prop. 25 iii",
    "E‖mean of N‖³ by second and fourth moments (printed: ≤ σ₃³ N^(−3/2))",
);
const FORMULATIONS: Statement = Statement::bound("formulations", "004 I, II; 000 App. E", "|F_N − F_∞| ≤ η²L₁σ₁²/(2N)");
const GRADIENTS: Statement =
    Statement::bound("formulations_gradient", "000 Prop. 25, sharper", "‖∇F_N − ∇F_∞‖ = O(1/N)");
const PLUG_IN: Statement = Statement::equality(
    "plug_in_bias",
    "003 section 2, App. A",
    "bias of (I + ηĤ)∇V(θ′_N) = Cov(ηĤ, ∇V(θ′_N)) + (I + ηH)(E∇V(θ′_N) − ∇V(θ′))",
);
const TOY: Statement = Statement::equality(
    "toy_variances",
    "000 Lemmas 1, 2, 6",
    "V[SF] = Nμ²/σ² + 2 (printed: 2/N), V[LSF] = (μ²/σ² + 2)/N, V[PW] = 0",
);
const CONSTANT: Statement = Statement::equality("toy_constant_value", "000 App. D", "V[SF] = V₀²N/σ²");

pub const FAMILY: Family = Family {
    statements: &[HESSIAN, LIMIT, FAST, BIAS, INNER, SPLIT, THIRD, FORMULATIONS, GRADIENTS, PLUG_IN, TOY, CONSTANT],
    measure,
};

fn measure(problem: &Problem) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let (logits, rate) = (&problem.logits, problem.rate);
    for (steps, trajectories) in [(1, 3), (2, 1), (2, 2)] {
        let n = trajectories;
        let case = format!("{} H={steps} N={n}", problem.name);
        let outcomes = problem.outcomes(steps, Credit::WholeReturn)?;
        let constants = problem.constants(steps)?;
        let (lipschitz, third) = (constants.hessian(), constants.third_derivative());
        let moments = Moments::of(&outcomes, logits)?;
        let both = Formulations::of(&outcomes, logits, rate, n)?;
        let distance = |x: &ndarray::Array1<f64>, y: &ndarray::Array1<f64>| length(&(x - y));

        let size = length(&both.linearised) + length(&both.limit_gradient) + length(&both.finite_gradient);
        let printed = moments.hessian <= moments.hessian_bound_as_printed();
        rows.push(HESSIAN.at_most(&*case, moments.hessian, moments.hessian_bound()).printed(printed));
        let bias = distance(&both.linearised, &both.limit_gradient);
        let printed = bias <= lsf::bias_to_limit_as_printed(lipschitz, rate, &moments, n);
        rows.push(
            LIMIT
                .at_most(&*case, bias, lsf::bias_to_limit(lipschitz, rate, &moments, n))
                .of_terms(size)
                .printed(printed),
        );
        rows.push(
            FAST.at_most(&*case, bias, lsf::fast_bias_to_limit(lipschitz, third, rate, &moments, n)).of_terms(size),
        );
        let bias = distance(&both.linearised, &both.finite_gradient);
        rows.push(BIAS.at_most(&*case, bias, lsf::bias(lipschitz, rate, &moments, n)).of_terms(size));
        let bound = lsf::inner_variance(constants.gradient(), lipschitz, rate, &moments, n);
        rows.push(INNER.at_most(&*case, both.linearised_variance, bound));
        let printed = both.third_moment <= moments.third_moment_of_mean_as_printed(n);
        rows.push(THIRD.at_most(&*case, both.third_moment, moments.third_moment_of_mean(n)).printed(printed));
        let difference = (both.finite - both.limit).abs();
        let row = FORMULATIONS.at_most(&*case, difference, lsf::formulations(lipschitz, rate, &moments, n));
        rows.push(row.of_terms(both.finite.abs() + both.limit.abs()));
        let difference = distance(&both.finite_gradient, &both.limit_gradient);
        let bound = lsf::gradients_of_formulations(lipschitz, third, rate, &moments, n);
        rows.push(GRADIENTS.at_most(&*case, difference, bound).of_terms(size));
        rows.push(PLUG_IN.equal(case, both.plug_in_error(), size));
    }
    rows.extend(sgmrl::variances(problem, &SPLIT, Credit::WholeReturn, Derivative::OuterProducts, 0.0)?);

    let (mean, std) = (2.0 * problem.logits[[0, 0]], 0.5 + problem.share);
    for samples in 1..=3 {
        let (toy, case) = (Toy { mean, std, samples }, format!("{} N={samples}", problem.name));
        let measured = toy_variances(&toy, None);
        let size = measured[0].1;
        let printed = |estimate: usize, variance: f64| match estimate {
            0 => (variance - toy.score_function_as_printed()).abs() <= super::EQUAL * size,
            _ => true,
        };
        let formulas = [toy.score_function(), toy.linearised_score_function(), toy.path_wise()];
        for (estimate, ((name, variance), formula)) in measured.into_iter().zip(formulas).enumerate() {
            let row = TOY.equal(format!("{case} {name}"), (variance - formula).abs(), size);
            rows.push(row.printed(printed(estimate, variance)));
        }
        let value = 1.0 + problem.share;
        let variance = toy_variances(&toy, Some(value))[0].1;
        rows.push(CONSTANT.equal(case, (variance - toy.constant(value)).abs(), variance));
    }
    Ok(rows)
}

/// The variances of the three estimates of the toy's gradient, of f(x̄) = x̄ or a constant, by the estimators themselves. They
/// are polynomials of at most degree 2 in each sample, and their squares of degree 4, whose expectations under a normal
/// distribution are those under Gauss and Hermite's three points, exactly.
pub fn toy_variances(toy: &Toy, constant: Option<f64>) -> [(&'static str, f64); 3] {
    const POINTS: [(f64, f64); 3] =
        [(-1.732_050_807_568_877_2, 1.0 / 6.0), (0.0, 2.0 / 3.0), (1.732_050_807_568_877_2, 1.0 / 6.0)];
    let outer = move |mean: ad::Var, _: ad::Var| match constant {
        None => mean.sum(),
        Some(value) => mean.full_like(0.0).sum() + value,
    };
    let objective = Additive::new(Gaussian { std: toy.std }, |x, _| x, outer);
    let tape = ad::Tape::new();
    let theta = tape.input("theta", arr1(&[toy.mean]));
    let noise = tape.input("noise", ndarray::Array2::<f64>::zeros((toy.samples, 1)));
    // (The samples are numbers to the two that do not go through them.)
    let samples = (noise * toy.std + theta).stop_gradient();
    let gradient = |surrogate: ad::Var| surrogate.grad_or_zeros(theta);
    let results = [
        gradient(objective.score_function(samples, theta)),
        gradient(objective.linearised_score_function(samples, theta)),
        gradient(objective.path_wise(noise, theta)),
    ];
    let program = tape.compile([ad::Handle::from(theta), noise.into()], results);
    let at = arr1(&[toy.mean]);
    let mut outcomes = Vec::new();
    for tuple in 0..POINTS.len().pow(toy.samples as u32) {
        let digit = |i: usize| POINTS[tuple / POINTS.len().pow(i as u32) % POINTS.len()];
        let points = ndarray::Array2::from_shape_fn((toy.samples, 1), |(i, _)| digit(i).0);
        let values = program.run(&[(&at).into(), (&points).into()]).expect("arrays of the shapes recorded");
        let probability: f64 = (0..toy.samples).map(|i| digit(i).1).product();
        outcomes.push((probability, values.into_iter().map(|x| arr1(&[x.sum()])).collect::<Vec<_>>()));
    }
    let variance = |estimate: usize| mean_and_variance(outcomes.iter().map(|(p, x)| (*p, &x[estimate]))).1;
    [("SF", variance(0)), ("LSF", variance(1)), ("PW", variance(2))]
}
