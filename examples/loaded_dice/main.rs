//! Loaded DiCE's demonstration (Farquhar, Whiteson & Foerster 2019): derivatives of orders 1 to 3 on random MDPs against the
//! batch size, and what λ and τ trade.

mod claims_of_the_paper;
mod experiment;
mod figure;
mod measures;

use clap::Parser;
use experiment::{Experiment, Kind, MOST_BATCHES, MOST_SEEDS, Problem, Series, Study};
use measures::{bias, correlation, deviation, over_mdps};
use study::lines::picture;
use study::options::{List, StudyOptions, increasing, whole};
use study::output::Output;

/// How close derivatives of orders 1 to 3 come to the truth: DiCE, its baselines, LVC and Loaded DiCE, by batch size, λ and τ.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    study: StudyOptions,
    /// How many random MDPs to average over [default: 60; --quick: 24; the demonstration has one].
    #[arg(long, value_parser = whole(1..=10_000))]
    mdps: Option<usize>,
    /// The numbers of trajectories to compare at, separated by commas, in increasing order [default: 64,256,1024,4096; --quick:
    /// 64,4096; --paper: to 65536].
    #[arg(long, value_parser = batches)]
    batches: Option<List<usize>>,
    /// How many independent batches of each size [default: 5].
    #[arg(long, value_parser = whole(3..=MOST_SEEDS))]
    seeds: Option<usize>,
    /// How many independent batches in the sweeps of λ and τ [default: 50; --quick: 30].
    #[arg(long, value_parser = whole(3..=MOST_SEEDS))]
    sweep_seeds: Option<usize>,
    /// Compare with the value of the infinite horizon, as the demonstration does. The estimators stop after 50 steps, so that
    /// even the unbiased ones are then off by about 0.95^50 = 8 % of the truth.
    #[arg(long)]
    infinite: bool,
}

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    study::run(|| loaded_dice(&options))
}

/// What may be given for `--batches`.
fn batches(text: &str) -> Result<List<usize>, String> {
    let given = increasing(whole(1..=1_000_000))(text)?;
    if given.0.len() > MOST_BATCHES { Err(format!("at most {MOST_BATCHES} numbers")) } else { Ok(given) }
}

fn loaded_dice(options: &Options) -> study::Outcome {
    let StudyOptions { common, check, .. } = &options.study;
    let powers = |largest: u32| (3..=largest).map(|n| 4_usize.pow(n)).collect();
    let (mdps, batches, sweep_batch, sweep_seeds) =
        options.study.size((24, vec![64, 4096], 256, 30), (60, powers(6), 512, 50), (60, powers(8), 512, 50));
    let experiment = Experiment {
        seed: common.seed,
        mdps: options.mdps.unwrap_or(mdps),
        batches: options.batches.clone().map_or(batches, |given| given.0),
        seeds: options.seeds.unwrap_or(5),
        sweep_batch,
        sweep_seeds: options.sweep_seeds.unwrap_or(sweep_seeds),
        infinite: options.infinite,
    };
    let folder = common.folder("loaded_dice")?;
    let saved = options.study.saved(&folder, &format!("loaded_dice {experiment:?}"))?;
    let (problems, all) = experiment.run(&saved)?;
    let mut output = Output::new(folder);
    print_batches(&mut output, &experiment, &problems, &all);
    print_sweeps(&mut output, &experiment, &problems, &all);
    write(&mut output, &problems, &all);
    output.file("loaded_dice.svg", picture(&figure::panels(&problems, &all))?);
    if *check {
        writeln!(output);
        claims_of_the_paper::claims(&problems, &all).judge(&mut output);
        writeln!(output, "\n{}", claims_of_the_paper::remarks(&problems, &all));
    }
    output.finish(Some(saved))
}

fn print_batches(output: &mut Output, experiment: &Experiment, problems: &[Problem], all: &[Series]) {
    writeln!(
        output,
        "Correlation with the exact derivative, mean over {} MDPs and {} batches (5 states, 4 actions, 50 steps):\n",
        experiment.mdps, experiment.seeds
    );
    let width = 8 * experiment.batches.len();
    writeln!(output, "{:22}{:>width$}  {:>width$}  {:>width$}", "", "order 1", "order 2", "order 3");
    write!(output, "{:22}", "trajectories");
    for _ in 1..=3 {
        for batch in &experiment.batches {
            write!(output, "{batch:>8}");
        }
        write!(output, "  ");
    }
    writeln!(output);
    let of_study = || all.iter().filter(|series| series.study == Study::Batch);
    for first in of_study().filter(|series| series.batch == experiment.batches[0]) {
        write!(output, "{:22}", first.label());
        for order in 1..=3 {
            for series in of_study().filter(|series| series.kind == first.kind) {
                write!(output, "{:>8.3}", over_mdps(correlation, series, problems, order));
            }
            write!(output, "  ");
        }
        writeln!(output);
    }
}

fn print_sweeps(output: &mut Output, experiment: &Experiment, problems: &[Problem], all: &[Series]) {
    writeln!(
        output,
        "\nBias | standard deviation, means over entries, {} batches of {}:\n",
        experiment.sweep_seeds, experiment.sweep_batch
    );
    writeln!(output, "{:32}{:>16}{:>16}{:>16}", "", "order 1", "order 2", "order 3");
    for (study, critic) in [(Study::Lambda, "exact critic"), (Study::Tau, "noisy critic")] {
        for series in all.iter().filter(|series| series.study == study) {
            let Kind::Loaded { lambda, tau } = series.kind else { continue };
            write!(output, "{:32}", format!("λ = {lambda}, τ = {tau}, {critic}"));
            for order in 1..=3 {
                let number = |statistic| over_mdps(statistic, series, problems, order);
                write!(output, "{:>16}", format!("{:.3} | {:.3}", number(bias), number(deviation)));
            }
            writeln!(output);
        }
    }
    writeln!(
        output,
        "\nλ < 1 trades bias for variance from order 2 on (at order 1 all values of λ are the same estimate), τ < 1 with a wrong\n\
         critic at every order."
    );
}

fn write(output: &mut Output, problems: &[Problem], all: &[Series]) {
    let row = |series: &Series, order: usize| {
        let (lambda, tau) = match series.kind {
            Kind::Dice => (String::new(), String::new()),
            Kind::Loaded { lambda, tau } => (lambda.to_string(), tau.to_string()),
        };
        let number = |statistic| over_mdps(statistic, series, problems, order).to_string();
        let (batch, numbers) = (series.batch.to_string(), [number(bias), number(deviation), number(correlation)]);
        [series.estimator().to_owned(), lambda, tau, batch, order.to_string()].into_iter().chain(numbers)
    };
    let rows = all.iter().flat_map(|series| (1..=3).map(move |order| row(series, order)));
    output.table("error.csv", &["estimator", "lambda", "tau", "batch", "order", "bias", "std", "correlation"], rows);
}
