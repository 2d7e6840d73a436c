//! What the estimators claim, proved by enumeration on random MDPs and by quadrature on linear-quadratic control, drawn from a seed,
//! and the identities between them: which derivatives are exactly right, how wrong the others are, and by which closed form.

use clap::Parser;
use rl::objective::{Estimator, all};
use rl::truth::ROUNDING;
use study::exact::{self, Row};
use study::identities::samplewise::{self, Identity};
use study::linear_quadratic;
use study::options::{Common, whole};
use study::output::{Output, progress};
use study::sampled;

/// Every estimator's exact bias at orders 0 to 3, on and off policy, and the identities between the estimators.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// The number of states of the MDPs. (With one, or one action, the value is linear in the policy or constant, and no bias
    /// can show.)
    #[arg(long, default_value_t = 2, value_parser = whole(2..=100))]
    states: usize,
    /// The number of actions.
    #[arg(long, default_value_t = 2, value_parser = whole(2..=100))]
    actions: usize,
    /// The number of steps of a trajectory [default: 4; --quick: 3]. TayPO-K is exact up to K.
    #[arg(long, value_parser = whole(1..=100))]
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
    study::run(|| run(&options))
}

fn run(options: &Options) -> study::Outcome {
    let horizon = options.horizon.unwrap_or(if options.common.quick { 3 } else { 4 });
    let (seed, size) = (options.common.seed, [options.states, options.actions]);
    let mut output = Output::new(options.common.folder("identities")?);

    let mut rows = exact_rows(seed, size, horizon)?;
    writeln!(
        output,
        "Exact bias of the k-th derivative, the largest over 8 settings (γ = 0.9 and 1, right and wrong critics, early end \
         or\nnot) of {}×{} MDPs of seed {seed}, H = {horizon}; * where none is claimed:\n",
        options.states, options.actions
    );
    exact::print_rows(&mut output, &rows);
    writeln!(
        output,
        "\n0 is at most {ROUNDING:e} of the terms that are summed, over every trajectory there is: a proof, not a statistic."
    );
    let pairs = exact::listable(seed, size, horizon, 2)?;
    if pairs < horizon {
        writeln!(output, "What compares trajectories is enumerated in batches of two, with H = {pairs}.");
    }

    let sampled = sampled::sampled_biases(seed, SAMPLED_HORIZON)?;
    writeln!(
        output,
        "\nExact bias of the gradient of what one inner update with N = 2 trajectories is worth (2×2, H = {SAMPLED_HORIZON}, η = 1), \
         over every\npair of trajectories:\n"
    );
    exact::print_rows(&mut output, &sampled);
    rows.extend(sampled);

    let (steps, gammas) = if options.common.quick { (2, &[0.9][..]) } else { (3, &[0.9, 1.0][..]) };
    let mut linear = linear_rows(seed, steps, gammas)?;
    writeln!(
        output,
        "\nExact bias for Gaussian policies, the largest over γ = {gammas:?} with right and wrong critics, of a linear-quadratic problem\n\
         of seed {seed}, by quadrature; on policy H = {steps}, with noise; off policy H = 2, without:\n"
    );
    exact::print_rows(&mut output, &linear);
    writeln!(
        output,
        "\nAnd that of the gradient of what one inner update with N = 2 trajectories of one step is worth there:\n"
    );
    let sampled = linear_quadratic::sampled_rows(seed)?;
    exact::print_rows(&mut output, &sampled);
    linear.extend(sampled);
    linear_quadratic::write_rows(&mut output, &linear);

    let mut identities = samplewise::identities(seed, size, horizon)?;
    identities.extend(samplewise::closed_forms(seed, size, horizon)?);
    writeln!(output, "\nIdentities, trajectory by trajectory; the last three in expectation:\n");
    for Identity { words, max_abs_error, .. } in &identities {
        writeln!(output, "{max_abs_error:>9.1e}  {words}");
    }

    exact::write_rows(&mut output, &rows);
    let row = |identity: &Identity| [identity.name.to_owned(), format!("{:e}", identity.max_abs_error)];
    output.table("identities.csv", &["identity", "max_abs_error"], identities.iter().map(row));
    if options.check {
        rows.extend(linear);
        check(&mut output, &rows, &identities);
    }
    output.finish(None)
}

/// The lines of `exact.csv` for the estimators of [`all`].
fn exact_rows(seed: u64, size: [usize; 2], horizon: usize) -> rl::error::Result<Vec<Row>> {
    let estimators: Vec<Box<dyn Estimator>> = all();
    let progress = progress(2 * estimators.len(), "estimators");
    let rows = exact::rows(&estimators, seed, size, horizon, || progress.inc(1))?;
    progress.finish_and_clear();
    Ok(rows)
}

/// The lines of `lqr.csv` for them.
fn linear_rows(seed: u64, horizon: usize, gammas: &[f64]) -> rl::error::Result<Vec<Row>> {
    let estimators = all();
    let progress = progress(2 * estimators.len(), "estimators, Gaussian policies");
    let rows = linear_quadratic::rows(&estimators, seed, horizon, gammas, || progress.inc(1))?;
    progress.finish_and_clear();
    Ok(rows)
}

fn check(output: &mut Output, rows: &[Row], identities: &[Identity]) {
    writeln!(output);
    let wrong: Vec<&Row> = rows.iter().filter(|row| !row.holds()).collect();
    for row in &wrong {
        writeln!(output, "FAILS {} {} policy, order {}: {:?}", row.estimator, row.policy, row.bias.order, row.bias);
    }
    let broken: Vec<&Identity> = identities.iter().filter(|identity| !identity.holds()).collect();
    for identity in &broken {
        writeln!(output, "FAILS {}: {:e}", identity.words, identity.max_abs_error);
    }
    let claimed = rows.iter().filter(|row| row.bias.claimed || row.vanishes).count();
    let failures = wrong.len() + broken.len();
    if failures > 0 {
        output.fail(format!("{failures} of {} claims and identities fail", rows.len() + identities.len()));
    } else {
        writeln!(
            output,
            "holds: {claimed} derivatives are unbiased, {} that claim nothing are biased, and {} identities hold",
            rows.len() - claimed,
            identities.len()
        );
    }
}
