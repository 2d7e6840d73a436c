//! The one-dimensional problem of Tang 2022 (figure 1a and 1b): how the score function, its linearisation and the path-wise
//! gradient err, against closed forms, and how well each of them optimises.

#[path = "../common/mod.rs"]
mod common;
mod figure;
mod problem;
mod study;

use std::path::Path;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use rl::report::lines::picture;
use rl::truth::max_abs;

use common::claims::Claims;
use common::saved::{Saved, StudyOptions};
use common::statistics::mean_and_std;
use problem::ESTIMATORS;
use study::{Curve, Errors, cell_seed, errors, learn};

/// Gradient estimates of L(θ) = E[−(X̄_N − 1)²], X ~ N(θ, 1): their mean squared errors, and ascent by them.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    study: StudyOptions,
    /// Independent runs of gradient ascent for each cell, at least 20 (the paper: 100).
    #[arg(long, default_value_t = 2000)]
    repeats: usize,
    /// Estimates for each mean squared error, at least 20 (the paper: 100).
    #[arg(long, default_value_t = 100_000)]
    estimates: usize,
    /// Steps of gradient ascent.
    #[arg(long, default_value_t = 100)]
    steps: usize,
    /// The numbers of samples N of an estimate, separated by commas, in increasing order [default: 1 to 500; with --paper,
    /// which states none, to 1000].
    #[arg(long, value_delimiter = ',')]
    samples: Option<Vec<usize>>,
    /// How many estimates a step of ascent averages, separated by commas [default: 1,10; with --paper 1,10,100, which takes
    /// long]. Claims are about the first.
    #[arg(long, value_delimiter = ',')]
    batch: Option<Vec<usize>>,
}

/// Where ascent starts, and where the paper's errors are taken.
const START: f64 = 0.0;

/// The parameters at which errors are measured.
const THETAS: [f64; 3] = [-1.0, START, 0.5];

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    common::run(|| score_function_1d(options))
}

fn score_function_1d(mut options: Options) -> common::Outcome {
    if options.study.common.quick {
        options.estimates = options.estimates.min(20_000);
    }
    let (samples, batches) = grid(&options)?;
    let StudyOptions { common, check, resume, .. } = &options.study;
    let folder = common.folder("score_function_1d")?;
    let seed = common.seed;
    let settings = (seed, &samples, &batches, options.repeats, options.steps);
    let saved = Saved::open(&folder, &format!("score_function_1d {settings:?}"), *resume)?;

    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} runs, {eta} left").expect("a valid template");
    let mut cells: Vec<Errors> = Vec::new();
    for theta in THETAS {
        for &n in &samples {
            cells.push(errors(theta, n, options.estimates, cell_seed(seed, cells.len())));
        }
    }
    let progress = ProgressBar::new((samples.len() * batches.len() * options.repeats) as u64).with_style(style);
    let mut curves: Vec<Curve> = Vec::new();
    for &batch in &batches {
        for &n in &samples {
            let seed = cell_seed(seed, cells.len() + curves.len());
            let numbers = saved.part(&format!("{n},{batch}"), || {
                let curves = learn(n, batch, options.steps, options.repeats, seed, &progress);
                Ok(curves.each_ref().map(Curve::numbers).concat())
            })?;
            curves.extend(Curve::from_numbers(n, batch, options.steps, &numbers));
            progress.set_position((curves.len() / ESTIMATORS.len() * options.repeats) as u64);
        }
    }
    progress.finish_and_clear();

    print_errors(&cells);
    print_learning(&curves, &options);
    write_errors(&folder.join("mse.csv"), &cells)?;
    write_learning(&folder.join("learning.csv"), &curves)?;
    std::fs::write(folder.join("score_function_1d.svg"), picture(&[figure::panels(&cells, &curves)])?)?;
    println!("mse.csv, learning.csv and score_function_1d.svg are in {}", folder.display());
    if *check {
        println!("\nBelow, errors are relative to the second one's closed form, and objectives in units of 1/N.\n");
        claims(&cells, &curves).judge()?;
    }
    Ok(())
}

/// The numbers of samples and the batches.
fn grid(options: &Options) -> Result<(Vec<usize>, Vec<usize>), String> {
    let (samples, batches): (&[usize], &[usize]) = match (options.study.common.quick, options.study.paper) {
        (true, _) => (&[1, 5, 20, 100, 500], &[1]),
        (false, false) => (&[1, 2, 5, 10, 20, 50, 100, 200, 500], &[1, 10]),
        (false, true) => (&[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000], &[1, 10, 100]),
    };
    let samples = options.samples.clone().unwrap_or_else(|| samples.to_vec());
    let batches = options.batch.clone().unwrap_or_else(|| batches.to_vec());
    for (name, numbers) in [("--samples", &samples), ("--batch", &batches)] {
        if numbers.is_empty() || numbers.contains(&0) {
            return Err(format!("{name}: give numbers of at least 1"));
        }
    }
    if !samples.is_sorted_by(|a, b| a < b) || options.study.check && samples.len() < 2 {
        return Err("--samples: give them in increasing order, and at least two for --check".to_owned());
    }
    for (name, number, least) in
        [("--repeats", options.repeats, 20), ("--estimates", options.estimates, 20), ("--steps", options.steps, 1)]
    {
        if number < least {
            return Err(format!("{name} must be at least {least}"));
        }
    }
    Ok((samples, batches))
}

/// (sampled − exact) in standard errors: of the mean squared error, and of the bias.
fn z_scores(cell: &Errors, estimator: usize) -> [f64; 2] {
    let exact = ESTIMATORS[estimator];
    let z = |numbers: &[f64], exact: f64| {
        let (mean, std) = mean_and_std(numbers);
        (mean - exact) / (std / (numbers.len() as f64).sqrt())
    };
    [
        z(&cell.squared(estimator), exact.exact_mse(cell.theta, cell.n)),
        z(&cell.differences[estimator], exact.exact_bias(cell.theta, cell.n)),
    ]
}

fn print_errors(cells: &[Errors]) {
    let estimates = cells[0].differences[0].len();
    println!("Mean squared error of one estimate, closed form (and z-score of {estimates} sampled ones):\n");
    println!("    θ     N {:>22}{:>22}{:>22}   LSF's bias", "SF", "LSF", "PW");
    for cell in cells {
        print!("{:>5} {:>5}", cell.theta, cell.n);
        for (i, estimator) in ESTIMATORS.iter().enumerate() {
            print!("{:>22}", format!("{:.4} ({:+.1})", estimator.exact_mse(cell.theta, cell.n), z_scores(cell, i)[0]));
        }
        println!("{:>13.4}", ESTIMATORS[1].exact_bias(cell.theta, cell.n));
    }
    println!(
        "\nSF's error first falls, as 15/N, and grows from N = √15/(θ − 1)² on; LSF's bias, −2θ/N, is 0 at θ = 0: there\n\
         its larger error at small N is variance.\n"
    );
}

fn print_learning(curves: &[Curve], options: &Options) {
    println!(
        "Objective after {} steps of Adam (rate 0.1) from θ = {START}, mean ± std of {} runs:\n",
        options.steps, options.repeats
    );
    println!("batch     N {:>20}{:>20}{:>20}", "SF", "LSF", "PW");
    for cell in curves.chunks(ESTIMATORS.len()) {
        print!("{:>5} {:>5}", cell[0].batch, cell[0].n);
        for curve in cell {
            let (mean, std) = mean_and_std(&curve.last);
            print!("{:>20}", format!("{mean:.4} ± {std:.4}"));
        }
        println!();
    }
    println!();
}

/// What the paper says of its figure 1 (a) and (b), at θ = 0 and with the first batch size.
///
/// Differences are relative: of squared errors to the (second) closed form, of objectives to 1/N, the distance of their
/// largest value from 0.
fn claims(cells: &[Errors], curves: &[Curve]) -> Claims {
    let start: Vec<&Errors> = cells.iter().filter(|cell| cell.theta == START).collect();
    let learning: Vec<&[Curve]> =
        curves.chunks(ESTIMATORS.len()).filter(|cell| cell[0].batch == curves[0].batch).collect();
    let (sf, lsf, pw) = (0, 1, 2);
    let last = start.len() - 1;
    let n = |at: usize| start[at].n;
    let differences =
        |a: &[f64], b: &[f64], unit: f64| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| (a - b) / unit).collect() };
    // How much larger the error of estimator `a` is at N number `at` than that of `b` at number `to`.
    let error = |(a, at): (usize, usize), (b, to): (usize, usize)| {
        let unit = ESTIMATORS[b].exact_mse(START, n(to));
        differences(&start[at].squared(a), &start[to].squared(b), unit)
    };
    // How much larger the objective is that ascent by `a` reaches than by `b`.
    let value = |(a, at): (usize, usize), (b, to): (usize, usize)| {
        differences(&learning[at][a].last, &learning[to][b].last, 1.0 / n(to) as f64)
    };
    let mut claims = Claims::default();

    let scores: Vec<f64> = cells.iter().flat_map(|cell| (0..3).flat_map(|i| z_scores(cell, i))).collect();
    let beyond = scores.iter().filter(|z| z.abs() > 2.0).count();
    claims.claim("Sampled mean squared errors and biases are those of the closed forms").equal(
        format!("largest |z| ({beyond} of {} beyond 2)", scores.len()),
        max_abs(&scores),
        4.0,
    );

    let claim = claims.claim("\"At small N, LSF has higher MSE than SF\", at large N SF has");
    claim.above(format!("MSE(LSF) − MSE(SF), N = {}", n(0)), &error((lsf, 0), (sf, 0)));
    claim.above(format!("MSE(SF) − MSE(LSF), N = {}", n(last)), &error((sf, last), (lsf, last)));

    let claim = claims.claim("\"The MSE of SF increases with N\" (from N = 4 on: before, 15/N falls faster)");
    for at in (0..last).filter(|&at| n(at) >= 4) {
        claim.above(format!("N = {} over N = {}", n(at + 1), n(at)), &error((sf, at + 1), (sf, at)));
    }
    let claim = claims.claim("\"The MSE of LSF decreases with N\"");
    for at in 0..last {
        claim.above(format!("N = {} over N = {}", n(at), n(at + 1)), &error((lsf, at), (lsf, at + 1)));
    }
    let claim = claims.claim("\"PW achieves the lowest MSE\"");
    for at in 0..=last {
        claim.above(format!("MSE(SF) − MSE(PW), N = {}", n(at)), &error((sf, at), (pw, at)));
        claim.above(format!("MSE(LSF) − MSE(PW), N = {}", n(at)), &error((lsf, at), (pw, at)));
    }

    let claim = claims.claim("\"When N is small, LSF is outperformed by SF\", when it is large SF by LSF");
    claim.above(format!("L(SF) − L(LSF), N = {}", n(0)), &value((sf, 0), (lsf, 0)));
    claim.above(format!("L(LSF) − L(SF), N = {}", n(last)), &value((lsf, last), (sf, last)));

    let mean = |at: usize| mean_and_std(&learning[at][sf].last).0;
    let best = (0..=last).fold(0, |best, at| if mean(at) > mean(best) { at } else { best });
    let claim = claims.claim("\"As N increases, SF degrades significantly in performance whereas LSF improves\"");
    claim.above(format!("L(SF), N = {} (its best) over N = {}", n(best), n(last)), &value((sf, best), (sf, last)));
    for at in 0..last {
        claim.above(format!("L(LSF), N = {} over N = {}", n(at + 1), n(at)), &value((lsf, at + 1), (lsf, at)));
    }

    let gap = |at: usize| differences(&learning[at][pw].last, &learning[at][lsf].last, 1.0);
    claims
        .claim("\"When N is large, LSF catches up with PW\"")
        .above(format!("L(PW) − L(LSF), N = {} over N = {}", n(0), n(last)), &differences(&gap(0), &gap(last), 1.0));
    // By logarithms, because a few of SF's runs end so far off that they decide any mean (L is negative).
    let shortfall = |at: usize, i: usize| -> Vec<f64> {
        learning[at][i].last.iter().zip(&learning[at][pw].last).map(|(other, pw)| (other / pw).ln()).collect()
    };
    let claim = claims.claim("\"PW is the best when available\"");
    for at in 0..=last {
        claim.above(format!("mean ln L(SF)/L(PW), N = {}", n(at)), &shortfall(at, sf));
        claim.above(format!("mean ln L(LSF)/L(PW), N = {}", n(at)), &shortfall(at, lsf));
    }
    claims
        .claim("\"The performance of different estimates correlates strongly with the MSE\"")
        .above("correlation of ln MSE with ln(−L), less 0.5", &correlations(&start, &learning).map(|r| r - 0.5));
    claims
}

/// Pearson's correlation, over estimators and N, of ln MSE with ln(−L), in each tenth of the runs.
fn correlations(errors: &[&Errors], learning: &[&[Curve]]) -> [f64; 10] {
    std::array::from_fn(|tenth| {
        let mean = |all: &[f64]| mean_and_std(&all.iter().skip(tenth).step_by(10).copied().collect::<Vec<_>>()).0;
        let cells = errors.iter().zip(learning).flat_map(|(errors, curves)| {
            (0..ESTIMATORS.len()).map(move |i| (mean(&errors.squared(i)).ln(), (-mean(&curves[i].last)).ln()))
        });
        let (x, y): (Vec<f64>, Vec<f64>) = cells.unzip();
        let ((x_mean, x_std), (y_mean, y_std)) = (mean_and_std(&x), mean_and_std(&y));
        let products = x.iter().zip(&y).map(|(x, y)| (x - x_mean) * (y - y_mean));
        products.sum::<f64>() / (x.len() as f64 - 1.0) / (x_std * y_std)
    })
}

fn write_errors(path: &Path, cells: &[Errors]) -> common::Outcome {
    let mut file = csv::Writer::from_path(path)?;
    file.write_record(["estimator", "theta", "n", "mse", "mse_exact"])?;
    for (i, estimator) in ESTIMATORS.iter().enumerate() {
        for cell in cells {
            let mse = mean_and_std(&cell.squared(i)).0;
            let numbers = [cell.theta, cell.n as f64, mse, estimator.exact_mse(cell.theta, cell.n)];
            let numbers = numbers.map(|number| number.to_string());
            file.write_record(std::iter::once(estimator.name()).chain(numbers.iter().map(String::as_str)))?;
        }
    }
    Ok(file.flush()?)
}

fn write_learning(path: &Path, curves: &[Curve]) -> common::Outcome {
    let mut file = csv::Writer::from_path(path)?;
    file.write_record(["estimator", "n", "batch", "step", "objective_mean", "objective_std"])?;
    for curve in curves {
        for (step, (mean, std)) in curve.mean.iter().zip(&curve.std).enumerate() {
            let (n, batch, step) = (curve.n.to_string(), curve.batch.to_string(), step.to_string());
            file.write_record([curve.estimator.name(), &n, &batch, &step, &mean.to_string(), &std.to_string()])?;
        }
    }
    Ok(file.flush()?)
}
