//! An estimator of the reader's own, on trajectories sampled elsewhere: its gradient, its Hessian, and whether they are
//! unbiased.

use std::path::PathBuf;

use ad::{Tape, Var};
use clap::Parser;
use ndarray::{Array2, Array3, arr2, array};
use rl::batch::Batch;
use rl::env::TabularMdp;
use rl::policy::{Table, softmax};
use rl::rollout::Rollout;
use rl::truth::{Setting, check_unbiased};
use study::options::Common;
use study::output::Output;

/// A surrogate of your own: its derivatives on trajectories read from .npy files, and a check that they are unbiased.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// The folder with states.npy, actions.npy, rewards.npy and perhaps lengths.npy and terminated.npy.
    #[arg(long, value_name = "DIR", default_value = "examples/data/rollout")]
    rollout: PathBuf,
    /// Take a rollout that is sampled with --seed from the process that this example checks with, and written to the folder
    /// `rollout` in that of --out.
    #[arg(long, conflicts_with = "rollout")]
    sample: bool,
}

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    study::run(|| your_estimator(&options))
}

/// REINFORCE with the whole return, and the mean return of the *batch* as its baseline. Is that allowed?
fn mine(batch: &Batch) -> Var {
    let returns = batch.discounted_sum(batch.rewards());
    let whole_trajectory = batch.log_prob().sum_axes(&[1]).magic_box();
    ((returns - returns.mean()) * whole_trajectory).mean()
}

/// The same, with the mean of the *other* trajectories.
fn mine_leaving_one_out(batch: &Batch) -> Var {
    let returns = batch.discounted_sum(batch.rewards());
    let others = (returns.sum() - returns) / (returns.size() as f64 - 1.0);
    let whole_trajectory = batch.log_prob().sum_axes(&[1]).magic_box();
    ((returns - others) * whole_trajectory).mean()
}

fn your_estimator(options: &Options) -> study::Outcome {
    let (mdp, logits) = process()?;
    let folder = options.common.folder("your_estimator")?;
    let mut data = options.rollout.clone();
    if options.sample {
        data = folder.path.join("rollout");
        mdp.sample(&softmax(&logits), 5, 200, options.common.seed)?.to_npy(&data)?;
    }
    let rollout = Rollout::from_npy(&data)?;
    rollout.check_within(mdp.states(), mdp.actions())?;
    let mut output = Output::new(folder);
    writeln!(
        output,
        "{} trajectories of up to {} steps from {}\n",
        rollout.trajectories(),
        rollout.horizon(),
        data.display()
    );

    let tape = Tape::new();
    let theta = tape.input("theta", &logits);
    let episodes = rollout.record(&tape);
    let batch = Batch::new(episodes, Table::log_prob_of(theta, &episodes), 0.9);
    let surrogate = mine(&batch);
    writeln!(output, "gradient\n{:+.4}\n", surrogate.grad(theta).value());
    writeln!(output, "Hessian\n{:+.4}\n", surrogate.hessian(theta).reshape(&[4, 4]).value());

    // Every pair (and triple) of trajectories of two steps, with its probability, against the exact derivatives.
    let setting = Setting::new(&mdp, &logits, 2, 0.9);
    let mut rows = Vec::new();
    for batch in if options.common.quick { 2..=2 } else { 2..=3 } {
        for (name, surrogate) in [("mean", mine as fn(&Batch) -> Var), ("leave_one_out", mine_leaving_one_out)] {
            let report = check_unbiased(surrogate, &setting, 2, batch)?;
            writeln!(output, "baseline: {name}, batches of {batch}\n{report}");
            for order in &report.orders {
                let numbers = [order.max_abs_bias(), order.max_abs_truth(), order.scale].map(|x| format!("{x:e}"));
                rows.push([batch.to_string(), name.to_owned(), order.order.to_string()].into_iter().chain(numbers));
            }
        }
    }
    writeln!(
        output,
        "A batch mean shrinks every derivative by 1 − 1/n. (The value is centred away, so order 0 means nothing here.)"
    );
    output.table("check.csv", &["batch", "surrogate", "order", "max_abs_bias", "max_abs_truth", "scale"], rows);
    output.finish(None)
}

/// Two states, two actions; 30 % of arrivals in state 1 end the episode.
fn process() -> Result<(TabularMdp, Array2<f64>), rl::error::Error> {
    let transition: Array3<f64> = array![[[0.7, 0.3], [0.2, 0.8]], [[0.5, 0.5], [0.9, 0.1]]];
    let mdp = TabularMdp::new(transition, arr2(&[[1.0, 0.0], [0.0, 2.0]]))?.with_termination(array![0.0, 0.3])?;
    Ok((mdp, arr2(&[[0.3, -0.2], [0.1, 0.4]])))
}
