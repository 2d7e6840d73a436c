//! Which estimator at my number of trajectories? Every estimator's error in gradient and Hessian against N, on and off policy,
//! on a random MDP of your size.

use clap::Parser;
use indicatif::ProgressBar;
use ndarray::{Array1, Array2};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use rl::env::{Horizon, TabularMdp};
use rl::objective::{Estimator, all};
use rl::policy::softmax;
use rl::report::{EstimatorReport, Plan};
use rl::stream::stream;
use rl::truth::{Setting, derivatives};
use study::options::{Common, List, increasing, real, whole};
use study::output::Output;
use study::picture;

/// The error of every estimator's gradient and Hessian, by number of trajectories.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// The number of states.
    #[arg(long, default_value_t = 5, value_parser = whole(1..=1000))]
    states: usize,
    /// The number of actions. (With one there is nothing to estimate.)
    #[arg(long, default_value_t = 3, value_parser = whole(2..=1000))]
    actions: usize,
    /// The number of steps of a trajectory.
    #[arg(long, default_value_t = 20, value_parser = whole(1..=10_000))]
    horizon: usize,
    /// γ.
    #[arg(long, default_value_t = 0.9, value_parser = real(0.0..=1.0))]
    gamma: f64,
    /// Off policy, how far the logits of the sampling policy are from the policy's: the size of normal noise.
    #[arg(long, default_value_t = 0.3, value_parser = real(0.0..=10.0))]
    distance: f64,
    /// The size of the noise on the critic, beside the size of the exact values.
    #[arg(long, default_value_t = 0.1, value_parser = real(0.0..=1000.0))]
    noise: f64,
    /// The numbers of trajectories, separated by commas, in increasing order [default: 10,30,100,300,1000; --quick: 10,100].
    #[arg(long, value_parser = increasing(whole(1..=1_000_000)))]
    samples: Option<List<usize>>,
    /// How many independent estimates of each [default: 100; --quick: 20].
    #[arg(long, value_parser = whole(2..=1_000_000))]
    repeats: Option<usize>,
    /// Only these, by their names, separated by commas.
    #[arg(long, value_delimiter = ',')]
    estimators: Option<Vec<String>>,
    /// Print everything that was measured.
    #[arg(long)]
    full: bool,
}

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    study::run(|| which_estimator(&options))
}

fn which_estimator(options: &Options) -> study::Outcome {
    let (samples, repeats) =
        if options.common.quick { (vec![10, 100], 20) } else { (vec![10, 30, 100, 300, 1000], 100) };
    let plan = Plan {
        orders: vec![1, 2],
        samples: options.samples.clone().map_or(samples, |given| given.0),
        repeats: options.repeats.unwrap_or(repeats),
        seed: options.common.seed,
    };
    let estimators = estimators(options)?;
    let mut output = Output::new(options.common.folder("which_estimator")?);
    writeln!(
        output,
        "{} states, {} actions, {} steps, γ = {}; error √E‖ĝ − g‖² / ‖g‖ from {} repeats (1 is as wrong as an estimate of 0):",
        options.states, options.actions, options.horizon, options.gamma, plan.repeats
    );
    for (policy, off_policy) in [("on", false), ("off", true)] {
        let spinner = ProgressBar::new_spinner().with_message(format!("measuring, {policy} policy"));
        spinner.enable_steady_tick(std::time::Duration::from_millis(200));
        let report = EstimatorReport::new(&setting(options, off_policy)?, &estimators, &plan)?;
        spinner.finish_and_clear();
        print(&mut output, &report, &plan, policy, &estimators);
        if options.full {
            writeln!(output, "\n{report}");
        }
        output.file(&format!("{policy}_policy.csv"), report.csv());
        output.file(&format!("{policy}_policy.json"), report.json());
        output.file(&format!("{policy}_policy.svg"), picture::of_report(&report)?);
    }
    writeln!(output, "\n* claims to be unbiased.");
    output.finish(None)
}

fn estimators(options: &Options) -> Result<Vec<Box<dyn Estimator>>, String> {
    let Some(names) = &options.estimators else { return Ok(all()) };
    let known: Vec<String> = all().iter().map(|estimator| estimator.facts().name).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
        return Err(format!("--estimators: there is no {name}; there are {}", known.join(", ")));
    }
    Ok(all().into_iter().filter(|estimator| names.contains(&estimator.facts().name)).collect())
}

/// A random process and policy, with a critic that is nearly the value of the policy that samples.
fn setting(options: &Options, off_policy: bool) -> Result<Setting, rl::error::Error> {
    let rng = &mut stream(options.common.seed, u64::MAX);
    let mdp = TabularMdp::random(options.states, options.actions, 1.0, rng)?;
    let mdp = mdp.with_start(Array1::from_elem(options.states, 1.0 / options.states as f64))?;
    let logits = Array2::from_shape_simple_fn((options.states, options.actions), || rng.random_range(-1.0..1.0));
    let mut normal = || Distribution::<f64>::sample(&StandardNormal, rng);
    let behaviour = logits.mapv(|logit| logit + options.distance * normal());
    let sampler = if off_policy { &behaviour } else { &logits };
    let value = |state: usize| {
        let mdp = mdp.clone().with_start(Array1::from_shape_fn(options.states, |s| f64::from(s == state)))?;
        let horizon = Horizon::Finite { steps: options.horizon, terminal: None };
        Ok(derivatives(&mdp, sampler, options.gamma, &horizon, 0)?[0].sum())
    };
    let values: Array1<f64> = (0..options.states).map(value).collect::<Result<_, rl::error::Error>>()?;
    mdp.check_policy(&softmax(sampler))?;
    let size = options.noise * values.dot(&values).sqrt() / (options.states as f64).sqrt();
    let critic = values.mapv(|value| value + size * normal());
    let setting = Setting::new(&mdp, &logits, options.horizon, options.gamma).with_critic(&critic);
    Ok(if off_policy { setting.off_policy(sampler) } else { setting })
}

/// A row for each estimator, and a column for each order and number of trajectories; the least of each column in bold.
fn print(output: &mut Output, report: &EstimatorReport, plan: &Plan, policy: &str, estimators: &[Box<dyn Estimator>]) {
    writeln!(output);
    let columns: Vec<(usize, usize)> =
        [1, 2].into_iter().flat_map(|order| plan.samples.iter().map(move |&samples| (order, samples))).collect();
    let mut cells = |cells: Vec<String>| writeln!(output, "| {} |", cells.join(" | "));
    let title = |&(order, samples): &(usize, usize)| {
        if samples == plan.samples[0] {
            format!("{}, N = {samples}", ["", "gradient", "Hessian"][order])
        } else {
            samples.to_string()
        }
    };
    cells(std::iter::once(format!("{policy} policy")).chain(columns.iter().map(title)).collect());
    cells(vec!["---".to_owned(); columns.len() + 1]);
    for estimator in estimators {
        let name = estimator.facts().name;
        let cell = |&(order, samples): &(usize, usize)| {
            let error = |row: &rl::report::Row| row.relative_error().map_or(f64::NAN, |error| error.value);
            let (row, best) = (report.row(&name, order, samples), report.best(order, samples));
            let (Some(row), Some(best)) = (row, best) else { return String::new() };
            let text = format!("{:.2}{}", error(row), if row.claimed { "*" } else { "" });
            // Some are equal but for rounding.
            if error(row) <= error(best) * (1.0 + 1e-6) { format!("**{text}**") } else { text }
        };
        cells(std::iter::once(format!("`{name}`")).chain(columns.iter().map(cell)).collect());
    }
}
