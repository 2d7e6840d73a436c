//! Loaded DiCE's demonstration (Farquhar, Whiteson & Foerster 2019): derivatives of orders 1 to 3 on random MDPs against the
//! batch size, and what λ and τ trade.

mod claims_of_the_paper;
#[path = "../common/mod.rs"]
mod common;
mod experiment;
mod figure;
mod measures;

use std::path::Path;

use clap::Parser;
use rl::report::lines::picture;

use common::saved::{Saved, StudyOptions};
use experiment::{Experiment, Kind, Problem, Series, Study};
use measures::{bias, correlation, deviation, over_mdps};

/// How close derivatives of orders 1 to 3 come to the truth: DiCE, its baselines, LVC and Loaded DiCE, by batch size, λ and τ.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    study: StudyOptions,
    /// How many random MDPs to average over [default: 60; the demonstration has one].
    #[arg(long)]
    mdps: Option<usize>,
    /// The numbers of trajectories to compare at, separated by commas [default: 64,256,1024,4096; with --paper to 65536].
    #[arg(long, value_delimiter = ',')]
    batches: Option<Vec<usize>>,
    /// How many independent batches of each size [default: 5].
    #[arg(long)]
    seeds: Option<usize>,
    /// How many independent batches in the sweeps of λ and τ [default: 50].
    #[arg(long)]
    sweep_seeds: Option<usize>,
    /// Compare with the value of the infinite horizon, as the demonstration does. The estimators stop after 50 steps, so that
    /// even the unbiased ones are then off by about 0.95^50 = 8 % of the truth.
    #[arg(long)]
    infinite: bool,
}

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    common::run(|| loaded_dice(&options))
}

fn loaded_dice(options: &Options) -> common::Outcome {
    let StudyOptions { common, check, paper, resume } = &options.study;
    let (mdps, batches, seeds, sweep_batch, sweep_seeds) = match (common.quick, paper) {
        (true, _) => (24, vec![64, 4096], 5, 256, 30),
        (_, true) => (60, (3..=8).map(|n| 4_usize.pow(n)).collect(), 5, 512, 50),
        _ => (60, vec![64, 256, 1024, 4096], 5, 512, 50),
    };
    let experiment = Experiment {
        seed: common.seed,
        mdps: options.mdps.unwrap_or(mdps),
        batches: options.batches.clone().unwrap_or(batches),
        seeds: options.seeds.unwrap_or(seeds),
        sweep_batch,
        sweep_seeds: options.sweep_seeds.unwrap_or(sweep_seeds),
        infinite: options.infinite,
    };
    refuse_nonsense(&experiment)?;
    let folder = common.folder("loaded_dice")?;
    let (problems, all) = experiment.run(&Saved::open(&folder, &format!("loaded_dice {experiment:?}"), *resume)?)?;
    print_batches(&experiment, &problems, &all);
    print_sweeps(&experiment, &problems, &all);
    write(&folder.join("error.csv"), &problems, &all)?;
    std::fs::write(folder.join("loaded_dice.svg"), picture(&figure::panels(&problems, &all))?)?;
    println!("\nerror.csv and loaded_dice.svg are in {}", folder.display());
    if *check {
        println!();
        let judged = claims_of_the_paper::claims(&problems, &all).judge();
        println!("\n{}\n", claims_of_the_paper::remarks(&problems, &all));
        judged?;
    }
    Ok(())
}

fn refuse_nonsense(experiment: &Experiment) -> Result<(), String> {
    let least = |name: &str, found: usize, least: usize| {
        if found < least { Err(format!("{name} must be at least {least}")) } else { Ok(()) }
    };
    least("--mdps", experiment.mdps, 1)?;
    least("--batches", experiment.batches.iter().copied().min().unwrap_or(0), 1)?;
    least("--seeds", experiment.seeds, 3)?;
    least("--sweep-seeds", experiment.sweep_seeds, 3)
}

fn print_batches(experiment: &Experiment, problems: &[Problem], all: &[Series]) {
    println!(
        "Correlation with the exact derivative, mean over {} MDPs and {} batches (5 states, 4 actions, 50 steps):\n",
        experiment.mdps, experiment.seeds
    );
    let width = 8 * experiment.batches.len();
    println!("{:22}{:>width$}  {:>width$}  {:>width$}", "", "order 1", "order 2", "order 3");
    print!("{:22}", "trajectories");
    for _ in 1..=3 {
        for batch in &experiment.batches {
            print!("{batch:>8}");
        }
        print!("  ");
    }
    println!();
    let of_study = || all.iter().filter(|series| series.study == Study::Batch);
    for first in of_study().filter(|series| series.batch == experiment.batches[0]) {
        print!("{:22}", first.label());
        for order in 1..=3 {
            for series in of_study().filter(|series| series.kind == first.kind) {
                print!("{:>8.3}", over_mdps(correlation, series, problems, order));
            }
            print!("  ");
        }
        println!();
    }
}

fn print_sweeps(experiment: &Experiment, problems: &[Problem], all: &[Series]) {
    println!(
        "\nBias | standard deviation, means over entries, {} batches of {}:\n",
        experiment.sweep_seeds, experiment.sweep_batch
    );
    println!("{:32}{:>16}{:>16}{:>16}", "", "order 1", "order 2", "order 3");
    for (study, critic) in [(Study::Lambda, "exact critic"), (Study::Tau, "noisy critic")] {
        for series in all.iter().filter(|series| series.study == study) {
            let Kind::Loaded { lambda, tau } = series.kind else { continue };
            print!("{:32}", format!("λ = {lambda}, τ = {tau}, {critic}"));
            for order in 1..=3 {
                let number = |statistic| over_mdps(statistic, series, problems, order);
                print!("{:>16}", format!("{:.3} | {:.3}", number(bias), number(deviation)));
            }
            println!();
        }
    }
    println!(
        "\nλ < 1 trades bias for variance from order 2 on (at order 1 all values of λ are the same estimate), τ < 1 with a wrong\n\
         critic at every order."
    );
}

fn write(path: &Path, problems: &[Problem], all: &[Series]) -> common::Outcome {
    let mut file = csv::Writer::from_path(path)?;
    file.write_record(["estimator", "lambda", "tau", "batch", "order", "bias", "std", "correlation"])?;
    for series in all {
        let (lambda, tau) = match series.kind {
            Kind::Dice => (String::new(), String::new()),
            Kind::Loaded { lambda, tau } => (lambda.to_string(), tau.to_string()),
        };
        for order in 1..=3 {
            let number = |statistic| over_mdps(statistic, series, problems, order).to_string();
            let numbers = [number(bias), number(deviation), number(correlation)];
            let (batch, order) = (series.batch.to_string(), order.to_string());
            file.write_record(
                [series.estimator(), &lambda, &tau, &batch, &order]
                    .into_iter()
                    .chain(numbers.iter().map(String::as_str)),
            )?;
        }
    }
    Ok(file.flush()?)
}
