//! How much meta-gradients scatter during training, by DiCE and by LVC: figure 3 (above) of ProMP (Rothfuss et al. 2019), on a point
//! with momentum instead of HalfCheetah, which needs a simulator of others.
//!
//! Settings are those of their released experiments: policy gradients outside, by Adam of rate 1e-3; 40 trajectories of 100 steps in
//! each of 20 tasks, networks of 64 and 64, 301 iterations, 10 meta-gradients at fixed parameters, 5 seeds (`--paper`); less of them by
//! default. Other than there the relative standard deviation is ‖std‖/‖mean‖ of the whole vector: their mean of std/|mean| over
//! coordinates is that of nearly Cauchy numbers, and has no expectation. Estimators are compared at the same
//! parameters, with tasks and inner trajectories in common. (Both signals are proportional to the number of tasks, their ratio is the same.)

use clap::Parser;
use rl::report::Interval;
use study::claims::Claims;
use study::gradient_variance::experiment::{COMPARISONS, ESTIMATORS, Measurement, Study};
use study::lines::{Axis, Line, Panel, picture};
use study::options::{StudyOptions, whole};
use study::output::Output;
use study::statistics::{jackknife, mean_with_error};
use train::run::config::Precision;

/// The relative standard deviation of meta-gradients by DiCE and LVC while LVC learns (figure 3 of Rothfuss et al. 2019).
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    study: StudyOptions,
    /// The tasks.
    #[arg(long, default_value = "momentum", value_parser = ["momentum", "corner"])]
    env: String,
    /// Independent runs of training [default: 72; --quick: 2; --paper: 5].
    #[arg(long, value_parser = whole(2..=10_000))]
    runs: Option<usize>,
    /// Iterations of training [default: 40; --quick: 2; --paper: 300].
    #[arg(long, value_parser = whole(1..=1_000_000))]
    iterations: Option<usize>,
    /// Iterations from one measurement to the next [default: 20; --quick: 1; --paper: 10].
    #[arg(long, value_parser = whole(1..=1_000_000))]
    every: Option<usize>,
    /// Meta-gradients of a measurement, four times as many of two estimators [default: 8; --quick: 4; --paper: 10].
    #[arg(long, value_parser = whole(2..=100_000))]
    rounds: Option<usize>,
    /// Tasks of a meta-gradient [default: 10; --quick: 4; --paper: 20].
    #[arg(long, value_parser = whole(1..=100_000))]
    tasks: Option<usize>,
    /// Trajectories of a task, before and after the inner step [default: 20; --quick: 5; --paper: 40].
    #[arg(long, value_parser = whole(2..=100_000))]
    rollouts: Option<usize>,
    /// Steps of a trajectory [default: 100; --quick: 50; --paper: 100].
    #[arg(long, value_parser = whole(1..=100_000))]
    horizon: Option<usize>,
}

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    study::run(|| gradient_variance(&options))
}

/// By how much DiCE's relative standard deviation is to be larger.
const BOUND: f64 = 1.3;

fn gradient_variance(options: &Options) -> study::Outcome {
    let StudyOptions { common, check, .. } = &options.study;
    let default = Study {
        seed: common.seed,
        env: options.env.clone(),
        runs: 72,
        iterations: 40,
        every: 20,
        rounds: 8,
        tasks: 10,
        rollouts: 20,
        horizon: 100,
        hidden: vec![32, 32],
        precision: Precision::F32,
    };
    let quick =
        Study { runs: 2, iterations: 2, every: 1, rounds: 4, tasks: 4, rollouts: 5, horizon: 50, ..default.clone() };
    let paper = Study {
        runs: 5,
        iterations: 300,
        every: 10,
        rounds: 10,
        tasks: 20,
        rollouts: 40,
        hidden: vec![64, 64],
        precision: Precision::F64,
        ..default.clone()
    };
    let size = options.study.size(quick, default, paper);
    let study = Study {
        runs: options.runs.unwrap_or(size.runs),
        iterations: options.iterations.unwrap_or(size.iterations),
        every: options.every.unwrap_or(size.every),
        rounds: options.rounds.unwrap_or(size.rounds),
        tasks: options.tasks.unwrap_or(size.tasks),
        rollouts: options.rollouts.unwrap_or(size.rollouts),
        horizon: options.horizon.unwrap_or(size.horizon),
        ..size
    };
    let folder = common.folder("gradient_variance")?;
    let saved = options.study.saved(&folder, &format!("gradient_variance {study:?}"))?;
    let measured = study.run(&saved)?;
    let runs: Vec<&[Measurement]> = measured.iter().map(Vec::as_slice).collect();

    let mut output = Output::new(folder);
    print(&mut output, &study, &runs);
    write(&mut output, &study, &runs);
    output.file("gradient_variance.svg", picture(&[panels(&study, &runs)])?);
    if *check {
        writeln!(
            output,
            "\nBelow, each number is the mean over a run of ‖mean‖²/‖std‖² by LVC, less 1.3² times that by DiCE.\n"
        );
        claims(&runs).judge(&mut output);
    }
    output.finish(Some(saved))
}

/// ‖std‖/‖mean‖ by its signal; where the mean is not told from 0, a word for it.
fn deviation(signal: f64) -> String {
    if signal > 0.0 { format!("{:.2}", signal.sqrt().recip()) } else { "large".to_owned() }
}

fn print(output: &mut Output, study: &Study, runs: &[&[Measurement]]) {
    writeln!(
        output,
        "Relative standard deviation ‖std‖/‖mean‖ of meta-gradients from {} tasks of {} trajectories, {} of them and more\n\
         before an iteration of training by LVC ({}), by the mean ‖mean‖²/‖std‖² of {} runs\n",
        study.tasks, study.rollouts, study.rounds, study.env, study.runs
    );
    let columns: String = study.measured().iter().map(|iteration| format!("{iteration:>8}")).collect();
    writeln!(output, "{:<24}{columns}", "before iteration");
    let row = |of: &dyn Fn(&Measurement) -> f64| -> Vec<f64> {
        (0..study.measured().len())
            .map(|at| runs.iter().map(|run| of(&run[at])).sum::<f64>() / runs.len() as f64)
            .collect()
    };
    for (e, estimator) in ESTIMATORS.iter().enumerate() {
        let cells = row(&|one| one.scatters[e].signal()).into_iter().map(|signal| format!("{:>8}", deviation(signal)));
        writeln!(output, "{:<24}{}", estimator.name, cells.collect::<String>());
    }
    let returns = row(&|one| one.returns).into_iter().map(|mean| format!("{mean:>8.2}"));
    writeln!(output, "{:<24}{}", "return after adaptation", returns.collect::<String>());
    writeln!(
        output,
        "\nDiCE's over LVC's, over all of these, with 95 % intervals (in the paper twice on average)\n\n\
         {:<60}{:>15}{:>7}{:>8}",
        "", "‖std‖/‖mean‖", "‖std‖", "‖mean‖"
    );
    for comparison in COMPARISONS {
        let ratios = |runs: &[&[Measurement]]| comparison.ratios(runs.iter().copied().flatten());
        let Interval { value, low, high } = jackknife(runs, |runs| ratios(runs)[0]);
        let pair = [comparison.dice, comparison.lvc].map(|e| ESTIMATORS[e].name).join(" / ");
        let known = |text: String, x: f64| if x.is_finite() { text } else { "–".to_owned() };
        let relative = known(format!("{value:.2} ± {:.2}", (high - low) / 2.0), high - low);
        let [_, std, mean] = ratios(runs).map(|x| known(format!("{x:.1}"), x));
        writeln!(output, "{:<38}{pair:<22}{relative:>15}{std:>7}{mean:>8}", comparison.with);
    }
    writeln!(
        output,
        "\n`dice` has rewards minus their mean at each time, in units of their own deviation (as published, but for a cubic in time\n\
         instead of the mean, and γ^t). A step is credited with the sum of all that follow, so that its inner step is many times as\n\
         long as LVC's, whose advantages have unit deviation: at a tenth of the rate (LVC's as before) the gap is gone. Where both\n\
         ascend the same advantages (`dice_loaded`: DiCE with LVC's baseline) DiCE scatters more, but its mean is longer, too: the\n\
         terms that LVC leaves out are in it. In the corner environment (`--env corner`) the first two are 1.2 ± 0.3 and\n\
         undecided, and the third is 1.03 ± 0.04 (four runs)."
    );
}

fn claims(runs: &[&[Measurement]]) -> Claims {
    let mut claims = Claims::default();
    for comparison in COMPARISONS {
        let differences: Vec<f64> = runs.iter().map(|run| comparison.beyond(BOUND, run)).collect();
        let [dice, lvc] = [comparison.dice, comparison.lvc].map(|e| ESTIMATORS[e].name);
        claims
            .claim(&format!("DiCE's relative standard deviation is 1.3 times LVC's at least: {}", comparison.with))
            .above(format!("{lvc} − 1.69 {dice}"), &differences);
    }
    claims
}

fn write(output: &mut Output, study: &Study, runs: &[&[Measurement]]) {
    let mut rows = Vec::new();
    for (number, run) in runs.iter().enumerate() {
        for (iteration, one) in study.measured().iter().zip(*run) {
            for (estimator, scatter) in ESTIMATORS.iter().zip(&one.scatters) {
                rows.push([
                    number.to_string(),
                    iteration.to_string(),
                    estimator.name.to_owned(),
                    scatter.variance.to_string(),
                    scatter.square.to_string(),
                    one.returns.to_string(),
                ]);
            }
        }
    }
    let columns = ["run", "iteration", "estimator", "trace_variance", "squared_mean", "return"];
    output.table("variance.csv", &columns, rows);
}

/// Signals, which may be averaged, and the ratio of deviations.
fn panels(study: &Study, runs: &[&[Measurement]]) -> Vec<Panel> {
    let iterations = || study.measured().into_iter().enumerate().map(|(at, iteration)| (at, iteration as f64));
    let signal = |e: usize, at: usize| -> Vec<f64> { runs.iter().map(|run| run[at].scatters[e].signal()).collect() };
    let signals = ESTIMATORS.iter().enumerate().map(|(e, estimator)| {
        let points = iterations().map(|(at, iteration)| (iteration, mean_with_error(&signal(e, at))));
        Line::with_intervals(estimator.name, points)
    });
    let bound = Line::new("1.3", iterations().map(|(_, iteration)| (iteration, BOUND)));
    let ratios = COMPARISONS.iter().map(|comparison| {
        let ratio = |at: usize| comparison.ratios(runs.iter().map(|run| &run[at]))[0];
        Line::new(comparison.with, iterations().map(|(at, iteration)| (iteration, ratio(at))))
    });
    vec![
        Panel {
            title: "‖mean‖²/‖std‖² of meta-gradients".to_owned(),
            x: Axis::linear("iteration"),
            y: Axis::linear("signal"),
            lines: signals.collect(),
        },
        Panel {
            title: "‖std‖/‖mean‖ of DiCE over that of LVC".to_owned(),
            x: Axis::linear("iteration"),
            y: Axis::linear("ratio").within(0.0, 6.0),
            lines: ratios.chain([bound]).collect(),
        },
    ]
}
