//! Which estimators give a right Hessian, and how far from the truth they are at a given number of samples: the tabular
//! experiment of Tang et al. 2021, figure 1, for every estimator, and a proof by enumeration beside it.

mod accuracy;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/exact.rs"]
mod exact;
mod figure;

use std::path::Path;

use clap::Parser;
use rl::objective::all;

use accuracy::{Accuracy, Experiment};
use exact::Bias;

/// The accuracy of estimated gradients and Hessians on random MDPs, and the exact bias of every estimator.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: common::Common,
    /// The number of states of each MDP.
    #[arg(long, default_value_t = 20)]
    states: usize,
    /// The number of actions.
    #[arg(long, default_value_t = 5)]
    actions: usize,
    /// How many random MDPs to average over.
    #[arg(long, default_value_t = 40)]
    mdps: usize,
    /// The numbers of trajectories to estimate from, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "1000")]
    samples: Vec<usize>,
    /// The number of steps of a trajectory.
    #[arg(long, default_value_t = 20)]
    horizon: usize,
    /// How far the policy is from the one that samples: 0 is on policy. Separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "0,0.5")]
    epsilon: Vec<f64>,
}

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    common::run(|| hessian_bias(options))
}

/// The exact biases of one estimator, on or off policy.
pub struct Exact {
    estimator: String,
    policy: &'static str,
    biases: Vec<Bias>,
}

fn hessian_bias(mut options: Options) -> common::Outcome {
    if options.common.quick {
        (options.mdps, options.samples) = (options.mdps.min(4), vec![100]);
    }
    check(&options)?;
    let folder = options.common.folder("hessian_bias")?;

    let exact = exact_biases(options.common.seed)?;
    print_exact(&exact);
    let experiment = Experiment {
        seed: options.common.seed,
        states: options.states,
        actions: options.actions,
        mdps: options.mdps,
        horizon: options.horizon,
        samples: options.samples,
        epsilons: options.epsilon,
    };
    let accuracies = experiment.run()?;
    print_accuracies(&experiment, &accuracies);

    write_exact(&folder.join("exact.csv"), &exact)?;
    write_accuracies(&folder.join("accuracy.csv"), &accuracies)?;
    figure::draw(&folder.join("hessian_bias.svg"), &experiment, &accuracies, &exact)?;
    println!("\naccuracy.csv, exact.csv and hessian_bias.svg are in {}", folder.display());
    Ok(())
}

fn check(options: &Options) -> Result<(), String> {
    let positive = [
        ("--states", options.states),
        ("--actions", options.actions),
        ("--mdps", options.mdps),
        ("--horizon", options.horizon),
        ("--samples", options.samples.iter().copied().min().unwrap_or(0)),
    ];
    if let Some((name, _)) = positive.iter().find(|(_, number)| *number == 0) {
        return Err(format!("{name} must be at least 1"));
    }
    if let Some(epsilon) = options.epsilon.iter().find(|epsilon| !(0.0..1.0).contains(*epsilon)) {
        return Err(format!("--epsilon {epsilon}: must be at least 0 and below 1 (at 1 the policy has no logarithm)"));
    }
    Ok(())
}

fn exact_biases(seed: u64) -> Result<Vec<Exact>, rl::error::Error> {
    let mut rows = Vec::new();
    for estimator in all() {
        for (policy, off_policy) in [("on", false), ("off", true)] {
            let mut biases = exact::biases(&*estimator, seed, off_policy, 3)?;
            if estimator.name() == "ad" {
                // Its value is no estimate of anything.
                biases.remove(0);
            }
            rows.push(Exact { estimator: estimator.name(), policy, biases });
        }
    }
    Ok(rows)
}

fn print_exact(rows: &[Exact]) {
    println!(
        "Exact bias of the k-th derivative, over every trajectory of a 2×2 MDP (H = 3); * where none is claimed:\n"
    );
    println!("estimator  policy       value    gradient     Hessian   3rd order");
    for row in rows {
        let cells: Vec<String> = (0..=3)
            .map(|order| match row.biases.iter().find(|bias| bias.order == order) {
                Some(bias) if bias.max_abs_bias <= 1e-10 => format!("{:>10}{}", "0", mark(bias)),
                Some(bias) => format!("{:>10.1e}{}", bias.max_abs_bias, mark(bias)),
                None => format!("{:>10} ", "–"),
            })
            .collect();
        println!("{:<9}  {:<6} {}", row.estimator, row.policy, cells.join(" "));
    }
    println!("\n0 is at most 1e-10: a proof, not a statistic. AD, the usual surrogate, has a wrong Hessian.\n");
}

fn mark(bias: &Bias) -> &'static str {
    if bias.claimed { " " } else { "*" }
}

fn print_accuracies(experiment: &Experiment, accuracies: &[Accuracy]) {
    for &samples in &experiment.samples {
        println!(
            "Correlation with the exact derivative, mean ± std over {} MDPs ({} states, {} actions), N = {samples} trajectories \
             of {} steps:\n",
            experiment.mdps, experiment.states, experiment.actions, experiment.horizon
        );
        print!("estimator ");
        for what in ["gradient", "Hessian"] {
            experiment.epsilons.iter().for_each(|epsilon| print!("{:>18}", format!("{what} ε={epsilon}")));
        }
        println!();
        for estimator in all() {
            print!("{:<10}", estimator.name());
            for order in [1, 2] {
                for &epsilon in &experiment.epsilons {
                    let cell = accuracies.iter().find(|row| {
                        row.estimator == estimator.name()
                            && (row.samples, row.order) == (samples, order)
                            && row.epsilon == epsilon
                    });
                    let cell = cell.map_or(String::new(), |row| format!("{:.3} ± {:.3}", row.mean, row.std));
                    print!("{cell:>18}");
                }
            }
            println!();
        }
        println!();
    }
    println!(
        "AD's Hessian is no bug of the program: its expectation here is exactly 0, because ∇² log π does not depend on the\n\
         action and the advantage has mean 0 over actions. It is the surrogate that is wrong."
    );
}

fn write_exact(path: &Path, rows: &[Exact]) -> common::Outcome {
    let mut file = csv::Writer::from_path(path)?;
    file.write_record(["estimator", "policy", "order", "claimed", "max_abs_bias", "max_abs_truth"])?;
    for row in rows {
        for bias in &row.biases {
            let numbers = [format!("{:e}", bias.max_abs_bias), format!("{:e}", bias.max_abs_truth)];
            let (order, claimed) = (bias.order.to_string(), bias.claimed.to_string());
            file.write_record([row.estimator.as_str(), row.policy, &order, &claimed, &numbers[0], &numbers[1]])?;
        }
    }
    Ok(file.flush()?)
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
            row.mean.to_string(),
            row.std.to_string(),
            row.claimed.to_string(),
        ])?;
    }
    Ok(file.flush()?)
}
