//! What the control variate of Taming MAML (Liu, Socher & Xiong 2019) does to a Hessian: Tang et al. 2021, section 3.3, say that it
//! "in fact biases the overall estimate" (their App. B). Bias and variance, beside those of the baselines that work, are exact, by
//! enumeration on random processes: the paper has no experiment on it, so the settings are those of the other exact tables here.

use clap::Parser;
use rl::objective::Estimator;
use rl::truth::{ROUNDING, max_abs};
use study::claims::Claims;
use study::lines::{Axis, Line, Panel, picture};
use study::options::{StudyOptions, whole};
use study::output::Output;
use study::statistics::{mean_and_std, mean_with_error, minus};
use study::tmaml::experiment::{
    BASELINE, DICE, LEAVE_ONE_OUT, LOADED, MAO, Measured, Moments, Study, TMAML, by_hand, estimators, measure,
};

/// Exact bias and variance of gradients and Hessians by DiCE, its baselines, and TMAML.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    study: StudyOptions,
    /// How many random processes to average over [default: 500; --quick: 20; --paper, which has none: 5000].
    #[arg(long, value_parser = whole(1..=1_000_000))]
    mdps: Option<usize>,
    /// The number of steps of a trajectory. (Pairs of trajectories are listed: with 5 there are too many.)
    #[arg(long, default_value_t = 3, value_parser = whole(1..=4))]
    horizon: usize,
}

const ORDERS: [&str; 2] = ["gradient", "Hessian"];

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    study::run(|| tmaml(&options))
}

fn tmaml(options: &Options) -> study::Outcome {
    let StudyOptions { common, check, .. } = &options.study;
    let mdps = options.mdps.unwrap_or(options.study.size(20, 500, 5000));
    let study = Study { seed: common.seed, mdps, horizon: options.horizon };
    let folder = common.folder("tmaml")?;
    let saved = options.study.saved(&folder, &format!("tmaml {study:?}"))?;
    let measured = study.run(&saved)?;
    let (mdp, logits) = by_hand()?;
    let known = measure(&mdp, &logits, 1)?;

    let mut output = Output::new(folder);
    print(&mut output, &study, &measured, &known);
    write(&mut output, &measured);
    output.file("tmaml.svg", picture(&[panels(&measured)])?);
    if *check {
        writeln!(output);
        claims(&measured, &known).judge(&mut output);
        writeln!(output, "\n{REMARK}");
    }
    output.finish(Some(saved))
}

const REMARK: &str = "\
Tang 2022 (section 4, App. E) counts Liu et al. 2019 among those who \"construct Ĵ such that E[Ĵ] = E[Ĵ_N,LSF] but with\n\
potentially lower variance\". Of TMAML's formula neither is so: the expectation is another, and the variance of the Hessian is\n\
higher than without it. (The code published with it sums scores over trajectories instead of steps: that is unbiased, and\n\
controls nothing.)";

fn names() -> [String; 6] {
    estimators().map(|estimator| estimator.facts().name)
}

/// The numbers of an estimator at an order, of each process.
fn of(measured: &[Measured], estimator: usize, order: usize) -> Vec<Moments> {
    measured.iter().map(|process| process.moments[estimator][order]).collect()
}

fn relative_bias(moments: &[Moments]) -> Vec<f64> {
    moments.iter().map(|m| (m.bias / m.truth).sqrt()).collect()
}

/// (The length of a Hessian may be nearly 0, so that its reciprocal has no mean.)
fn logarithms(numbers: &[f64]) -> Vec<f64> {
    numbers.iter().map(|x| x.max(f64::MIN_POSITIVE).ln()).collect()
}

fn log_variance(measured: &[Measured], estimator: usize, order: usize) -> Vec<f64> {
    of(measured, estimator, order).iter().map(|m| m.variance.ln()).collect()
}

fn print(output: &mut Output, study: &Study, measured: &[Measured], known: &Measured) {
    writeln!(
        output,
        "Bias over the length of the truth, and variance of one trajectory over that of DiCE without a baseline, geometric means\n\
         over {} random processes with the right critic (2 states, 2 actions, {} steps, every trajectory enumerated; what compares\n\
         trajectories, in pairs):\n",
        study.mdps, study.horizon
    );
    writeln!(output, "{:<19}{:>20}{:>22}", "", ORDERS[0], ORDERS[1]);
    writeln!(output, "{:<19}{:>10}{:>10}{:>12}{:>10}", "estimator", "bias", "variance", "bias", "variance");
    for (e, name) in names().iter().enumerate() {
        write!(output, "{name:<19}");
        for (order, width) in [10, 12].into_iter().enumerate() {
            let bias = mean_and_std(&logarithms(&relative_bias(&of(measured, e, order)))).0.exp();
            let bias = if bias < ROUNDING { "0".to_owned() } else { format!("{bias:.2}") };
            let ratio = minus(&log_variance(measured, e, order), &log_variance(measured, DICE, order));
            write!(output, "{bias:>width$}{:>10.2}", mean_and_std(&ratio).0.exp());
        }
        writeln!(output);
    }
    let hessian = known.moments[TMAML][1];
    writeln!(
        output,
        "\nOf one step with two actions, of which one is paid and has probability ¼, the Hessian's bias is {:.3} times the Hessian,\n\
         and by hand 1. Of all processes it is 2 E Σ γ^t b(s_t) u_t u_tᵀ, up to {:.0e} of it.",
        (hessian.bias / hessian.truth).sqrt(),
        max_abs(&measured.iter().map(|process| process.from_closed_form).collect::<Vec<_>>())
    );
}

fn claims(measured: &[Measured], known: &Measured) -> Claims {
    let names = names();
    let mut claims = Claims::default();
    let claim = claims
        .claim("TMAML's control variate \"in fact biases the overall estimate\": the Hessian, by more than there is");
    claim.above("ln ‖bias‖ / ‖Hessian‖", &logarithms(&relative_bias(&of(measured, TMAML, 1))));

    let largest = |numbers: &dyn Fn(&Measured) -> f64| max_abs(&measured.iter().map(numbers).collect::<Vec<_>>());
    let claim =
        claims.claim("its Hessian's bias is 2 E Σ γ^t b(s_t) u_t u_tᵀ, and in a case by hand the Hessian itself");
    claim.equal("largest deviation, over the largest entry", largest(&|process| process.from_closed_form), 1e-12);
    let hessian = known.moments[TMAML][1];
    claim.equal("‖bias‖ / ‖Hessian‖ by hand, less 1", ((hessian.bias / hessian.truth).sqrt() - 1.0).abs(), 1e-12);

    let claim = claims.claim("its gradient is DiCE's: unbiased, and with the same variance");
    let bias = |e: usize, order: usize| max_abs(&relative_bias(&of(measured, e, order)));
    claim.equal("‖bias‖ / ‖gradient‖", bias(TMAML, 0), 1e-11);
    let difference = minus(&log_variance(measured, TMAML, 0), &log_variance(measured, DICE, 0));
    claim.equal("ln Var(TMAML) − ln Var(DiCE), largest", max_abs(&difference), 1e-11);

    let claim = claims.claim("of the others both derivatives are unbiased");
    for (e, name) in names.iter().enumerate().filter(|(e, _)| *e != TMAML) {
        claim.equal(format!("{name}: ‖bias‖ / ‖truth‖"), bias(e, 0).max(bias(e, 1)), 1e-11);
    }

    let log_ratio =
        |a: usize, b: usize, order: usize| minus(&log_variance(measured, a, order), &log_variance(measured, b, order));
    let claim = claims.claim("of its Hessian the variance is higher than of any other's, plain DiCE's included");
    for (e, name) in names.iter().enumerate().filter(|(e, _)| *e != TMAML) {
        claim.above(format!("ln Var(TMAML) − ln Var({name})"), &log_ratio(TMAML, e, 1));
    }
    let claim =
        claims.claim("the baselines that are unbiased lower the Hessian's variance, the second-order ones more");
    for e in [BASELINE, MAO, LEAVE_ONE_OUT, LOADED] {
        claim.above(format!("ln Var({}) − ln Var({})", names[DICE], names[e]), &log_ratio(DICE, e, 1));
    }
    claim.above(format!("ln Var({}) − ln Var({})", names[BASELINE], names[MAO]), &log_ratio(BASELINE, MAO, 1));

    let claim = claims.claim("a meta-gradient by its Hessian has not the expectation of LSF's (Tang 2022: it has)");
    let differences: Vec<f64> = measured.iter().map(|process| process.from_linearised).collect();
    claim.above("‖E[Ĵ] − E[Ĵ_LSF]‖ / ‖E[Ĵ_LSF]‖", &differences);
    claims
}

fn write(output: &mut Output, measured: &[Measured]) {
    let mut rows = Vec::new();
    for (index, process) in measured.iter().enumerate() {
        for (name, moments) in names().iter().zip(&process.moments) {
            for (order, Moments { variance, bias, truth }) in ORDERS.iter().zip(moments) {
                rows.push([
                    index.to_string(),
                    name.clone(),
                    (*order).to_owned(),
                    format!("{variance:e}"),
                    format!("{:e}", bias.sqrt()),
                    format!("{:e}", truth.sqrt()),
                ]);
            }
        }
    }
    output.table("moments.csv", &["process", "estimator", "derivative", "variance", "bias", "truth"], rows);
    let rows = measured.iter().enumerate().map(|(index, process)| {
        [index.to_string(), format!("{:e}", process.from_closed_form), format!("{:e}", process.from_linearised)]
    });
    output.table("tmaml.csv", &["process", "bias_from_closed_form", "meta_gradient_from_lsf"], rows);
}

/// Errors against the number of trajectories: what a bias costs once the variance is gone.
fn panels(measured: &[Measured]) -> Vec<Panel> {
    let panel = |(order, name): (usize, &&str)| {
        let line = |(e, name): (usize, String)| {
            let point = |power: i32| {
                let trajectories = 10_f64.powi(power);
                let errors: Vec<f64> =
                    of(measured, e, order).iter().map(|m| m.relative_error(trajectories).log10()).collect();
                let mut error = mean_with_error(&errors);
                for end in [&mut error.value, &mut error.low, &mut error.high] {
                    *end = 10_f64.powf(*end);
                }
                (trajectories, error)
            };
            Line::with_intervals(name, (1..=5).map(point))
        };
        Panel {
            title: format!("{name}, exact"),
            x: Axis::logarithmic("trajectories"),
            y: Axis::logarithmic("root mean squared error / truth"),
            lines: names().into_iter().enumerate().map(line).collect(),
        }
    };
    ORDERS.iter().enumerate().map(panel).collect()
}
