//! Which estimators give a right Hessian, and how far from the truth they are at a given number of samples: the tabular
//! experiment of Tang et al. 2021, figure 1, for every estimator, and a proof by enumeration beside it.

mod paper;

use clap::{Parser, ValueEnum};
use rl::objective::all;
use rl::truth::ROUNDING;
use study::exact;
use study::hessian_bias::accuracy::{Accuracy, Experiment};
use study::hessian_bias::figure;
use study::options::{List, StudyOptions, increasing, real, whole};
use study::output::Output;

/// The accuracy of estimated gradients and Hessians on random MDPs, and the exact bias of every estimator.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    study: StudyOptions,
    /// A figure of the paper: accuracy against ε, or (at ε = 0.5) against the number of samples.
    #[arg(long, value_enum)]
    sweep: Option<Sweep>,
    /// The number of states of each MDP.
    #[arg(long, default_value_t = 20, value_parser = whole(1..=1000))]
    states: usize,
    /// The number of actions. (With one there is nothing to estimate.)
    #[arg(long, default_value_t = 5, value_parser = whole(2..=1000))]
    actions: usize,
    /// How many random MDPs to average over [default: 40, with --sweep 120; --quick: 4; --paper: 200; the paper's 10 leave
    /// claims open].
    #[arg(long, value_parser = whole(1..=100_000))]
    mdps: Option<usize>,
    /// The numbers of trajectories to estimate from, separated by commas, in increasing order, at least 2, because some
    /// estimators compare them [default: 1000, with --sweep samples 10 to 3000; --quick: 100, 10 to 100].
    #[arg(long, value_parser = increasing(whole(2..=1_000_000)))]
    samples: Option<List<usize>>,
    /// The number of steps of a trajectory.
    #[arg(long, default_value_t = 20, value_parser = whole(1..=10_000))]
    horizon: usize,
    /// How far the policy is from the one that samples, separated by commas, in increasing order: 0 is on policy (at 1 the
    /// policy would have no logarithm) [default: 0,0.5, with --sweep epsilon 0 to 0.8].
    #[arg(long, value_parser = increasing(real(0.0..1.0)))]
    epsilon: Option<List<f64>>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sweep {
    Epsilon,
    Samples,
}

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    study::run(|| hessian_bias(&options))
}

fn hessian_bias(options: &Options) -> study::Outcome {
    let experiment = experiment(options)?;
    let StudyOptions { common, check, .. } = &options.study;
    if *check && options.sweep.is_none() {
        return Err("--check: say which figure, by --sweep epsilon or --sweep samples".into());
    }
    let folder = common.folder("hessian_bias")?;
    let saved = options.study.saved(&folder, &format!("hessian_bias {experiment:?}"))?;
    let accuracies = experiment.run(&saved)?;
    let exact = exact::rows(&all(), common.seed, [2, 2], 3, || ())?;

    let mut output = Output::new(folder);
    writeln!(
        output,
        "Exact bias of the k-th derivative, over every trajectory of 2×2 MDPs (H = 3); * where none is claimed:\n"
    );
    exact::print_rows(&mut output, &exact);
    writeln!(
        output,
        "\n0 is at most {ROUNDING:e} of the terms that are summed: a proof, not a statistic. AD, the usual surrogate, has a wrong Hessian.\n"
    );
    print_accuracies(&mut output, &experiment, &accuracies);
    write_accuracies(&mut output, &accuracies);
    exact::write_rows(&mut output, &exact);
    let picture = match options.sweep {
        None => figure::bars(&experiment, &accuracies, &exact)?,
        Some(sweep) => figure::lines(&experiment, &accuracies, sweep == Sweep::Samples)?,
    };
    output.file("hessian_bias.svg", picture);
    if let Some(sweep) = options.sweep.filter(|_| *check) {
        let claims = match sweep {
            Sweep::Epsilon => paper::of_epsilons(&accuracies, &experiment.epsilons, experiment.samples[0]),
            Sweep::Samples => paper::of_samples(&accuracies, experiment.epsilons[0], &experiment.samples),
        };
        writeln!(output);
        claims.judge(&mut output);
        if let Some(row) = exact.iter().find(|row| !row.holds()) {
            output.fail(format!("the exact bias of {} is not what it claims: {row:?}", row.estimator));
        }
    }
    output.finish(Some(saved))
}

/// The options with what they leave open filled in.
fn experiment(options: &Options) -> Result<Experiment, String> {
    let epsilons: &[f64] = match options.sweep {
        None => &[0.0, 0.5],
        Some(Sweep::Epsilon) => &[0.0, 0.2, 0.5, 0.8],
        Some(Sweep::Samples) => &[0.5],
    };
    let samples: &[usize] = match (options.sweep, options.study.common.quick) {
        (Some(Sweep::Samples), true) => &[10, 30, 100],
        (Some(Sweep::Samples), false) => &[10, 30, 100, 300, 1000, 3000],
        (_, true) => &[100],
        (_, false) => &[1000],
    };
    // Near the behaviour policy the estimates differ by little, and from few samples they scatter.
    let mdps = options.study.size(4, if options.sweep.is_some() { 120 } else { 40 }, 200);
    let experiment = Experiment {
        seed: options.study.common.seed,
        states: options.states,
        actions: options.actions,
        mdps: options.mdps.unwrap_or(mdps),
        horizon: options.horizon,
        samples: options.samples.clone().map_or(samples.to_vec(), |given| given.0),
        epsilons: options.epsilon.clone().map_or(epsilons.to_vec(), |given| given.0),
    };
    let Experiment { samples, epsilons, .. } = &experiment;
    match options.sweep {
        Some(Sweep::Epsilon) if !(epsilons.contains(&0.0) && epsilons.len() > 1 && samples.len() == 1) => {
            Err("--sweep epsilon: give ε = 0 and others, and one number of samples".to_owned())
        }
        Some(Sweep::Samples) if !(epsilons.len() == 1 && samples.len() > 1) => {
            Err("--sweep samples: give one ε, and several numbers of samples".to_owned())
        }
        _ => Ok(experiment),
    }
}

fn print_accuracies(output: &mut Output, experiment: &Experiment, accuracies: &[Accuracy]) {
    let Experiment { states, actions, mdps, horizon, epsilons, samples, .. } = experiment;
    writeln!(
        output,
        "Correlation with the exact derivative, mean ± std over {mdps} MDPs ({states} states, {actions} actions, {horizon} steps):"
    );
    let places: Vec<(f64, usize)> = (samples.iter()).flat_map(|&n| epsilons.iter().map(move |&e| (e, n))).collect();
    let width = all().iter().map(|estimator| estimator.facts().name.len()).max().unwrap_or(0);
    for (order, what) in [(1, "gradient"), (2, "Hessian")] {
        write!(output, "\n{what:<width$}");
        for (epsilon, samples) in &places {
            write!(output, "{:>16}", if epsilons.len() > 1 { format!("ε={epsilon}") } else { format!("N={samples}") });
        }
        writeln!(output);
        for estimator in all() {
            write!(output, "{:<width$}", estimator.facts().name);
            for &(epsilon, samples) in &places {
                let cell = accuracies.iter().find(|row| {
                    row.estimator == estimator.facts().name
                        && (row.samples, row.order) == (samples, order)
                        && row.epsilon == epsilon
                });
                let cell = cell.map_or(String::new(), |row| format!("{:.3} ± {:.3}", row.mean(), row.std()));
                write!(output, "{cell:>16}");
            }
            writeln!(output);
        }
    }
    writeln!(
        output,
        "\nAD's Hessian is no bug of the program: its expectation on policy is exactly 0 here, because ∇² log π does not\n\
         depend on the action and the advantage has mean 0 over actions. It is the surrogate that is wrong."
    );
}

fn write_accuracies(output: &mut Output, rows: &[Accuracy]) {
    let row = |row: &Accuracy| {
        [
            row.estimator.clone(),
            row.epsilon.to_string(),
            row.samples.to_string(),
            row.order.to_string(),
            row.mean().to_string(),
            row.std().to_string(),
            row.claimed.to_string(),
        ]
    };
    let columns = ["estimator", "epsilon", "samples", "order", "accuracy_mean", "accuracy_std", "claimed"];
    output.table("accuracy.csv", &columns, rows.iter().map(row));
}
