//! Two formulations of a meta-gradient on a line: I credits each trajectory before the inner step with what its own part of the step
//! is worth, II all of them with the return after it. From the repository of ProMP (Rothfuss et al. 2019;
//! `experiments/env_1d/point_1d_hand_grads.py` and `experiments/1d_env/run_1d_exp.py` on its branch `full_code`), not from the
//! paper's text. The settings are those of the script: 200 iterations, 2 × 40 tasks, 100 trajectories of 5 steps, six rates. It is run
//! as the script has it, with two slips of it, and as the formulations are written.

use clap::Parser;
use rl::report::Interval;
use study::claims::Claims;
use study::credit_assignment_1d::experiment::{Course, Measured, Study, Variation, lost_return};
use study::credit_assignment_1d::meta_gradient::Variant;
use study::lines::{Axis, Line, Panel, picture};
use study::options::{List, StudyOptions, increasing, real, whole};
use study::output::Output;
use study::statistics::{mean_and_std, mean_with_error};

/// Ascent by formulations I and II of a meta-gradient, over learning rates.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    study: StudyOptions,
    /// Independent runs [default: 16; --quick: 6; --paper: 100; the script has one].
    #[arg(long, value_parser = whole(1..=1_000_000))]
    runs: Option<usize>,
    /// Outer steps [default: 200; --quick: 40].
    #[arg(long, value_parser = whole(1..=1_000_000))]
    iterations: Option<usize>,
    /// Tasks with each of the two goals, in an iteration [default: 40; --quick: 4].
    #[arg(long, value_parser = whole(1..=100_000))]
    tasks: Option<usize>,
    /// Trajectories of a task, before and after the inner step.
    #[arg(long, default_value_t = 100, value_parser = whole(2..=100_000))]
    trajectories: usize,
    /// The outer rates, separated by commas, in increasing order.
    #[arg(long, default_value = "0.0005,0.001,0.005,0.01,0.05,0.1", value_parser = increasing(real(0.0..=1e6)))]
    rates: List<f64>,
    /// Meta-gradients of two tasks, which say how they vary where ascent begins [default: 1000; --quick: 400; --paper: 10000].
    #[arg(long, value_parser = whole(2..=10_000_000))]
    estimates: Option<usize>,
}

const FORMULATIONS: [&str; 2] = ["I", "II"];

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    study::run(|| credit_assignment_1d(&options))
}

fn credit_assignment_1d(options: &Options) -> study::Outcome {
    let StudyOptions { common, check, .. } = &options.study;
    let (runs, iterations, tasks, estimates) =
        options.study.size((6, 40, 4, 400), (16, 200, 40, 1000), (100, 200, 40, 10_000));
    let study = Study {
        seed: common.seed,
        runs: options.runs.unwrap_or(runs),
        rates: options.rates.0.clone(),
        iterations: options.iterations.unwrap_or(iterations),
        tasks: options.tasks.unwrap_or(tasks),
        trajectories: options.trajectories,
        estimates: options.estimates.unwrap_or(estimates),
    };
    let folder = common.folder("credit_assignment_1d")?;
    let saved = options.study.saved(&folder, &format!("credit_assignment_1d {study:?}"))?;
    let measured = study.run(&saved)?;

    let mut output = Output::new(folder);
    print(&mut output, &study, &measured);
    write(&mut output, &study, &measured);
    output.file("credit_assignment_1d.svg", picture(&panels(&study, &measured))?);
    if *check {
        writeln!(output);
        claims(&measured).judge(&mut output);
    }
    output.finish(Some(saved))
}

/// The mean return over the course, of each run.
fn over_course(courses: &[Course], formulation: usize) -> Vec<f64> {
    courses.iter().map(|course| mean_and_std(&course.returns[formulation]).0).collect()
}

/// The mean return of the last tenth of the iterations, of each run.
fn at_the_end(courses: &[Course], formulation: usize) -> Vec<f64> {
    let end = |returns: &[f64]| mean_and_std(&returns[returns.len() - returns.len().div_ceil(10)..]).0;
    courses.iter().map(|course| end(&course.returns[formulation])).collect()
}

/// ln std of formulation II's meta-gradients less that of I's, of each run.
fn log_deviation(variations: &[Variation]) -> Vec<f64> {
    variations.iter().map(|x| (x.deviation[1] / x.deviation[0]).ln()).collect()
}

fn print(output: &mut Output, study: &Study, measured: &[Measured; 2]) {
    writeln!(
        output,
        "Mean return after the inner step, over all {} iterations (and in the last tenth of them), {} runs; {:.3} is that of a\n\
         policy which is lost:\n",
        study.iterations,
        study.runs,
        lost_return()
    );
    let title = |variant: Variant| format!("{:^36}", variant.name());
    writeln!(output, "{:>8}  {}  {}", "", title(Variant::ALL[0]), title(Variant::ALL[1]));
    let columns = format!("{:>18}{:>18}", FORMULATIONS[0], FORMULATIONS[1]);
    writeln!(output, "{:>8}  {columns}  {columns}", "rate");
    for (place, rate) in study.rates.iter().enumerate() {
        write!(output, "{rate:>8}");
        for variant in measured {
            write!(output, "  ");
            for formulation in 0..2 {
                let all = mean_and_std(&over_course(&variant.courses[place], formulation)).0;
                let end = mean_and_std(&at_the_end(&variant.courses[place], formulation)).0;
                write!(output, "{:>18}", format!("{all:.3} ({end:.3})"));
            }
        }
        writeln!(output);
    }
    writeln!(output, "\nMeta-gradients of two tasks where ascent begins, mean (θ_0, θ_1) ± standard deviation:\n");
    for (variant, measured) in Variant::ALL.iter().zip(measured) {
        for (formulation, name) in FORMULATIONS.iter().enumerate() {
            let over = |number: &dyn Fn(&Variation) -> f64| {
                mean_and_std(&measured.variations.iter().map(number).collect::<Vec<_>>()).0
            };
            let mean = [0, 1].map(|j| over(&|x| x.mean[formulation][j]));
            let deviation = over(&|x| x.deviation[formulation]);
            let place = format!("{}, {name}", variant.name());
            writeln!(output, "{place:<16}({:.3}, {:.3}) ± {deviation:.3}", mean[0], mean[1]);
        }
    }
}

fn claims(measured: &[Measured; 2]) -> Claims {
    let mut claims = Claims::default();
    // Σ over rates, of each run.
    let gains = |variant: &Measured| -> Vec<f64> {
        (0..variant.variations.len()).map(|run| variant.courses.iter().map(|runs| runs[run].gain()).sum()).collect()
    };
    let claim = claims.claim("ascent by formulation I earns more than by II (Σ of returns over iterations and rates)");
    for (variant, measured) in Variant::ALL.iter().zip(measured) {
        claim.above(format!("{}: I − II", variant.name()), &gains(measured));
    }
    let claim = claims.claim("its meta-gradient varies less");
    for (variant, measured) in Variant::ALL.iter().zip(measured) {
        claim.above(format!("{}: ln std, II − I", variant.name()), &log_deviation(&measured.variations));
    }
    let claim =
        claims.claim("a clipped action that is scored by the normal density biases the score (E ∇log p < 0 here)");
    for (j, component) in ["θ_0", "θ_1"].into_iter().enumerate() {
        let score = |variant: &Measured| variant.variations.iter().map(|x| -x.score[0][j]).collect::<Vec<_>>();
        claim.above(format!("repository: −E ∇log p by {component}"), &score(&measured[0]));
        let largest = measured[1].variations.iter().map(|x| (x.score[0][j] / x.score[1][j]).abs()).fold(0.0, f64::max);
        claim.equal(format!("formulas: |E ∇log p| by {component}, in standard errors"), largest, 4.0);
    }
    claims
}

fn write(output: &mut Output, study: &Study, measured: &[Measured; 2]) {
    let mut rows = Vec::new();
    for (variant, measured) in Variant::ALL.iter().zip(measured) {
        for (rate, courses) in study.rates.iter().zip(&measured.courses) {
            for (formulation, name) in FORMULATIONS.iter().enumerate() {
                for iteration in 0..study.iterations {
                    let (mean, std) = mean_and_std(&at(courses, formulation, iteration));
                    let place = [variant.name().to_owned(), rate.to_string(), (*name).to_owned()];
                    rows.push(place.into_iter().chain([iteration.to_string(), mean.to_string(), std.to_string()]));
                }
            }
        }
    }
    let columns = ["variant", "rate", "formulation", "iteration", "return_mean", "return_std"];
    output.table("courses.csv", &columns, rows);
    let mut rows = Vec::new();
    for (variant, measured) in Variant::ALL.iter().zip(measured) {
        for (run, x) in measured.variations.iter().enumerate() {
            for (formulation, name) in FORMULATIONS.iter().enumerate() {
                let place = [variant.name().to_owned(), run.to_string(), (*name).to_owned()];
                let [a, b] = x.mean[formulation];
                rows.push(place.into_iter().chain([a, b, x.deviation[formulation]].map(|x| x.to_string())));
            }
        }
    }
    output.table("meta_gradients.csv", &["variant", "run", "formulation", "mean_0", "mean_1", "std"], rows);
}

/// The return in an iteration, of each run.
fn at(courses: &[Course], formulation: usize, iteration: usize) -> Vec<f64> {
    courses.iter().map(|course| course.returns[formulation][iteration]).collect()
}

/// A row for each variant, a panel for each formulation, a line for each rate.
fn panels(study: &Study, measured: &[Measured; 2]) -> Vec<Vec<Panel>> {
    let returns =
        measured.iter().flat_map(|variant| variant.courses.iter().flatten().flat_map(|x| &x.returns)).flatten();
    let (low, high) = returns.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(*x), high.max(*x)));
    let row = |(variant, measured): (&Variant, &Measured)| {
        let panel = |(formulation, name): (usize, &&str)| {
            let line = |(rate, courses): (&f64, &Vec<Course>)| {
                let point = |iteration: usize| -> (f64, Interval) {
                    (iteration as f64, mean_with_error(&at(courses, formulation, iteration)))
                };
                Line::with_intervals(format!("rate {rate}"), (0..study.iterations).map(point))
            };
            Panel {
                title: format!("formulation {name}, {}", variant.name()),
                x: Axis::linear("iteration"),
                y: Axis::linear("return after the inner step").within(low, high),
                lines: study.rates.iter().zip(&measured.courses).map(line).collect(),
            }
        };
        FORMULATIONS.iter().enumerate().map(panel).collect()
    };
    Variant::ALL.iter().zip(measured).map(row).collect()
}
