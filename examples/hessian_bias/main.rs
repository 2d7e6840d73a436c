//! Which estimators give a right Hessian, and how far from the truth they are at a given number of samples: the tabular
//! experiment of Tang et al. 2021, figure 1, for every estimator, and a proof by enumeration beside it.

mod accuracy;
#[path = "../common/mod.rs"]
mod common;
mod figure;
mod paper;

use std::path::Path;

use clap::{Parser, ValueEnum};
use rl::objective::all;

use accuracy::{Accuracy, Experiment};
use common::exact;
use common::saved::{Saved, StudyOptions};

/// The accuracy of estimated gradients and Hessians on random MDPs, and the exact bias of every estimator.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    study: StudyOptions,
    /// A figure of the paper: accuracy against ε, or (at ε = 0.5) against the number of samples.
    #[arg(long, value_enum)]
    sweep: Option<Sweep>,
    /// The number of states of each MDP.
    #[arg(long, default_value_t = 20)]
    states: usize,
    /// The number of actions.
    #[arg(long, default_value_t = 5)]
    actions: usize,
    /// How many random MDPs to average over [default: 40, for --sweep 120, for --paper 200; the paper's 10 leave claims open].
    #[arg(long)]
    mdps: Option<usize>,
    /// The numbers of trajectories to estimate from, separated by commas [default: 1000; or 10 to 3000].
    #[arg(long, value_delimiter = ',')]
    samples: Vec<usize>,
    /// The number of steps of a trajectory.
    #[arg(long, default_value_t = 20)]
    horizon: usize,
    /// How far the policy is from the one that samples: 0 is on policy. Separated by commas [default: 0,0.5; or 0 to 0.8].
    #[arg(long, value_delimiter = ',')]
    epsilon: Vec<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sweep {
    Epsilon,
    Samples,
}

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    common::run(|| hessian_bias(&options))
}

fn hessian_bias(options: &Options) -> common::Outcome {
    let experiment = experiment(options)?;
    let StudyOptions { common, check, resume, .. } = &options.study;
    if *check && options.sweep.is_none() {
        return Err("--check: say which figure, by --sweep epsilon or --sweep samples".into());
    }
    let folder = common.folder("hessian_bias")?;
    let exact = exact::rows(&all(), common.seed, [2, 2], 3, || ())?;
    println!(
        "Exact bias of the k-th derivative, over every trajectory of 2×2 MDPs (H = 3); * where none is claimed:\n"
    );
    exact::print_rows(&exact);
    println!("\n0 is at most 1e-10: a proof, not a statistic. AD, the usual surrogate, has a wrong Hessian.\n");

    let saved = Saved::open(&folder, &format!("hessian_bias {experiment:?}"), *resume)?;
    let accuracies = experiment.run(&saved)?;
    print_accuracies(&experiment, &accuracies);

    exact::write_rows(&folder.join("exact.csv"), &exact)?;
    write_accuracies(&folder.join("accuracy.csv"), &accuracies)?;
    let picture = folder.join("hessian_bias.svg");
    match options.sweep {
        None => figure::bars(&picture, &experiment, &accuracies, &exact)?,
        Some(sweep) => figure::lines(&picture, &experiment, &accuracies, sweep == Sweep::Samples)?,
    }
    println!("\naccuracy.csv, exact.csv and hessian_bias.svg are in {}\n", folder.display());

    let Some(sweep) = options.sweep else { return Ok(()) };
    let claims = match sweep {
        Sweep::Epsilon => paper::of_epsilons(&accuracies, &experiment.epsilons, experiment.samples[0]),
        Sweep::Samples => paper::of_samples(&accuracies, experiment.epsilons[0], &experiment.samples),
    };
    if *check {
        claims.judge()?;
        if let Some(row) = exact.iter().find(|row| !row.holds()) {
            return Err(format!("the exact bias of {} is not what it claims: {row:?}", row.estimator).into());
        }
    }
    Ok(())
}

/// The options with what they leave open filled in.
fn experiment(options: &Options) -> Result<Experiment, String> {
    let quick = options.study.common.quick;
    let given_or = |given: &[f64], default: &[f64]| if given.is_empty() { default } else { given }.to_vec();
    let epsilons = match options.sweep {
        None => given_or(&options.epsilon, &[0.0, 0.5]),
        Some(Sweep::Epsilon) => given_or(&options.epsilon, &[0.0, 0.2, 0.5, 0.8]),
        Some(Sweep::Samples) => given_or(&options.epsilon, &[0.5]),
    };
    let samples: &[usize] = match (options.sweep, quick) {
        _ if !options.samples.is_empty() => &options.samples,
        (Some(Sweep::Samples), true) => &[10, 30, 100],
        (Some(Sweep::Samples), false) => &[10, 30, 100, 300, 1000, 3000],
        (_, true) => &[100],
        (_, false) => &[1000],
    };
    let mdps = match options.sweep {
        _ if quick => 4,
        _ if options.study.paper => 200,
        // Near the behaviour policy the estimates differ by little, and from few samples they scatter.
        Some(_) => 120,
        None => 40,
    };
    let mdps = options.mdps.unwrap_or(mdps);
    let (states, actions, horizon) = (options.states, options.actions, options.horizon);
    let least = samples.iter().copied().min().unwrap_or(0);
    let positive = [("--states", states), ("--actions", actions), ("--mdps", mdps), ("--horizon", horizon)];
    if let Some((name, _)) = positive.iter().chain(&[("--samples", least)]).find(|(_, number)| *number == 0) {
        return Err(format!("{name} must be at least 1"));
    }
    let compared = all().iter().map(|estimator| estimator.smallest_batch()).max().unwrap_or(1);
    if least < compared {
        return Err(format!("--samples {least}: some estimators compare {compared} trajectories"));
    }
    if let Some(epsilon) = epsilons.iter().find(|epsilon| !(0.0..1.0).contains(*epsilon)) {
        return Err(format!("--epsilon {epsilon}: must be at least 0 and below 1 (at 1 the policy has no logarithm)"));
    }
    match options.sweep {
        Some(Sweep::Epsilon) if !(epsilons.contains(&0.0) && epsilons.len() > 1 && samples.len() == 1) => {
            Err("--sweep epsilon: give ε = 0 and others, and one number of samples".to_owned())
        }
        Some(Sweep::Samples) if !(epsilons.len() == 1 && samples.len() > 1) => {
            Err("--sweep samples: give one ε, and several numbers of samples".to_owned())
        }
        _ => Ok(Experiment {
            seed: options.study.common.seed,
            states,
            actions,
            mdps,
            horizon,
            samples: samples.to_vec(),
            epsilons,
        }),
    }
}

fn print_accuracies(experiment: &Experiment, accuracies: &[Accuracy]) {
    let Experiment { states, actions, mdps, horizon, epsilons, samples, .. } = experiment;
    println!(
        "Correlation with the exact derivative, mean ± std over {mdps} MDPs ({states} states, {actions} actions, {horizon} steps):"
    );
    let places: Vec<(f64, usize)> = (samples.iter()).flat_map(|&n| epsilons.iter().map(move |&e| (e, n))).collect();
    let width = all().iter().map(|estimator| estimator.name().len()).max().unwrap_or(0);
    for (order, what) in [(1, "gradient"), (2, "Hessian")] {
        print!("\n{what:<width$}");
        for (epsilon, samples) in &places {
            print!("{:>16}", if epsilons.len() > 1 { format!("ε={epsilon}") } else { format!("N={samples}") });
        }
        println!();
        for estimator in all() {
            print!("{:<width$}", estimator.name());
            for &(epsilon, samples) in &places {
                let cell = accuracies.iter().find(|row| {
                    row.estimator == estimator.name()
                        && (row.samples, row.order) == (samples, order)
                        && row.epsilon == epsilon
                });
                let cell = cell.map_or(String::new(), |row| format!("{:.3} ± {:.3}", row.mean(), row.std()));
                print!("{cell:>16}");
            }
            println!();
        }
    }
    println!(
        "\nAD's Hessian is no bug of the program: its expectation on policy is exactly 0 here, because ∇² log π does not\n\
         depend on the action and the advantage has mean 0 over actions. It is the surrogate that is wrong."
    );
}

fn write_accuracies(path: &Path, rows: &[Accuracy]) -> common::Outcome {
    let mut file = csv::Writer::from_path(path)?;
    file.write_record(["estimator", "epsilon", "samples", "order", "accuracy_mean", "accuracy_std", "claimed"])?;
    for row in rows {
        file.write_record([
            row.estimator.clone(),
            row.epsilon.to_string(),
            row.samples.to_string(),
            row.order.to_string(),
            row.mean().to_string(),
            row.std().to_string(),
            row.claimed.to_string(),
        ])?;
    }
    Ok(file.flush()?)
}
