//! What the estimators claim, proved by enumeration on random MDPs drawn from a seed, and the identities between them:
//! which derivatives are exactly right, how wrong the others are, and by which closed form.

#[path = "../common/mod.rs"]
mod common;
mod samplewise;

use std::path::Path;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use rl::objective::{Estimator, all};
use rl::truth::ROUNDING;

use common::exact::{self, Bias, Row};
use common::sampled::{self, SampledBias};
use samplewise::Identity;

/// Every estimator's exact bias at orders 0 to 3, on and off policy, and the identities between the estimators.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: common::Common,
    /// The number of states of the MDPs, at least 2.
    #[arg(long, default_value_t = 2)]
    states: usize,
    /// The number of actions, at least 2.
    #[arg(long, default_value_t = 2)]
    actions: usize,
    /// The number of steps of a trajectory [default: 4; with --quick 3]. TayPO-K is exact up to K.
    #[arg(long)]
    horizon: Option<usize>,
    /// Exit with 1 unless every claimed bias is at most 1e-12 of the terms that are summed, every other above 1e-10 of them,
    /// and every identity holds to 1e-10.
    #[arg(long)]
    check: bool,
}

/// The number of steps of the trajectories that an inner update is made of.
const SAMPLED_HORIZON: usize = 2;

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    common::run(|| run(&options))
}

fn run(options: &Options) -> common::Outcome {
    let horizon = options.horizon.unwrap_or(if options.common.quick { 3 } else { 4 });
    // With one state, or one action, the value is linear in the policy or constant, and no bias can show.
    for (name, number, least) in
        [("--states", options.states, 2), ("--actions", options.actions, 2), ("--horizon", horizon, 1)]
    {
        if number < least {
            return Err(format!("{name} {number}: must be at least {least}").into());
        }
    }
    let (seed, size) = (options.common.seed, [options.states, options.actions]);
    let folder = options.common.folder("identities")?;

    let mut rows = exact_rows(seed, size, horizon)?;
    println!(
        "Exact bias of the k-th derivative, the largest over 8 settings (γ = 0.9 and 1, right and wrong critics, early end \
         or\nnot) of {}×{} MDPs of seed {seed}, H = {horizon}; * where none is claimed:\n",
        options.states, options.actions
    );
    exact::print_rows(&rows);
    println!(
        "\n0 is at most {ROUNDING:e} of the terms that are summed, over every trajectory there is: a proof, not a statistic."
    );
    let pairs = exact::listable(seed, size, horizon, 2)?;
    if pairs < horizon {
        println!("What compares trajectories is enumerated in batches of two, with H = {pairs}.");
    }

    let sampled = sampled_rows(seed)?;
    println!(
        "\nExact bias of the gradient of what one inner update with N = 2 trajectories is worth (2×2, H = {SAMPLED_HORIZON}, η = 1), \
         over every\npair of trajectories:\n"
    );
    exact::print_rows(&sampled);
    rows.extend(sampled);

    let mut identities = samplewise::identities(seed, size, horizon)?;
    identities.extend(samplewise::closed_forms(seed, size, horizon)?);
    println!("\nIdentities, trajectory by trajectory; the last three in expectation:\n");
    for Identity { words, max_abs_error, .. } in &identities {
        println!("{max_abs_error:>9.1e}  {words}");
    }

    exact::write_rows(&folder.join("exact.csv"), &rows)?;
    write_identities(&folder.join("identities.csv"), &identities)?;
    println!("\nexact.csv and identities.csv are in {}", folder.display());
    if options.check { check(&rows, &identities) } else { Ok(()) }
}

/// The lines of `exact.csv` for the estimators of [`all`].
fn exact_rows(seed: u64, size: [usize; 2], horizon: usize) -> rl::error::Result<Vec<Row>> {
    let estimators: Vec<Box<dyn Estimator>> = all();
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} estimators, {eta} left").expect("a valid template");
    let progress = ProgressBar::new(2 * estimators.len() as u64).with_style(style);
    let rows = exact::rows(&estimators, seed, size, horizon, || progress.inc(1))?;
    progress.finish_and_clear();
    Ok(rows)
}

/// Those for the gradients through a sampled inner update.
fn sampled_rows(seed: u64) -> rl::error::Result<Vec<Row>> {
    let row = |SampledBias { estimator, policy, order, claimed, max_abs_bias, max_abs_truth, relative_bias }| {
        let bias = Bias { order, claimed, max_abs_bias, max_abs_truth, relative_bias };
        Row { estimator: estimator.to_owned(), policy, bias, vanishes: false }
    };
    Ok(sampled::sampled_biases(seed, SAMPLED_HORIZON)?.into_iter().map(row).collect())
}

fn check(rows: &[Row], identities: &[Identity]) -> common::Outcome {
    println!();
    let wrong: Vec<&Row> = rows.iter().filter(|row| !row.holds()).collect();
    for row in &wrong {
        println!("FAILS {} {} policy, order {}: {:?}", row.estimator, row.policy, row.bias.order, row.bias);
    }
    let broken: Vec<&Identity> = identities.iter().filter(|identity| !identity.holds()).collect();
    for identity in &broken {
        println!("FAILS {}: {:e}", identity.words, identity.max_abs_error);
    }
    let claimed = rows.iter().filter(|row| row.bias.claimed || row.vanishes).count();
    let failures = wrong.len() + broken.len();
    if failures > 0 {
        return Err(format!("{failures} of {} claims and identities fail", rows.len() + identities.len()).into());
    }
    println!(
        "holds: {claimed} derivatives are unbiased, {} that claim nothing are biased, and {} identities hold",
        rows.len() - claimed,
        identities.len()
    );
    Ok(())
}

fn write_identities(path: &Path, identities: &[Identity]) -> common::Outcome {
    let mut file = csv::Writer::from_path(path)?;
    file.write_record(["identity", "max_abs_error"])?;
    for identity in identities {
        file.write_record([identity.name, &format!("{:e}", identity.max_abs_error)])?;
    }
    Ok(file.flush()?)
}
