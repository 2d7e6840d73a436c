//! The one-dimensional problem of Tang 2022 (figure 1a and 1b): how the score function, its linearisation and the path-wise
//! gradient err, against closed forms, and how well each of them optimises.

#[path = "../common/claims.rs"]
mod claims;
#[path = "../common/mod.rs"]
mod common;
mod figure;
mod problem;
mod study;

use std::path::Path;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use claims::{Claim, Interval};
use problem::ESTIMATORS;
use study::{Curve, Errors, cell_seed, errors, learn, mean_and_std};

/// Gradient estimates of L(θ) = E[−(X̄_N − 1)²], X ~ N(θ, 1): their mean squared errors, and ascent by them.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: common::Common,
    /// Print each claim of the paper with its numbers, and fail unless all hold.
    #[arg(long)]
    check: bool,
    /// Up to 1000 samples and batches of 1, 10 and 100 (the paper states neither): takes long.
    #[arg(long)]
    paper: bool,
    /// Independent runs of gradient ascent for each cell (the paper: 100).
    #[arg(long, default_value_t = 1000)]
    repeats: usize,
    /// Estimates for each mean squared error (the paper: 100).
    #[arg(long, default_value_t = 100_000)]
    estimates: usize,
    /// Steps of gradient ascent.
    #[arg(long, default_value_t = 100)]
    steps: usize,
    /// The numbers of samples N of an estimate, separated by commas, in increasing order.
    #[arg(long, value_delimiter = ',')]
    samples: Option<Vec<usize>>,
    /// How many estimates a step of ascent averages, separated by commas. Claims are about the first.
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
    if options.common.quick {
        options.estimates = options.estimates.min(20_000);
    }
    let (samples, batches) = grid(&options)?;
    let folder = options.common.folder("score_function_1d")?;
    let seed = options.common.seed;

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
            curves.extend(learn(n, batch, options.steps, options.repeats, seed, &progress));
        }
    }
    progress.finish_and_clear();

    print_errors(&cells);
    print_learning(&curves, &options);
    write_errors(&folder.join("mse.csv"), &cells)?;
    write_learning(&folder.join("learning.csv"), &curves)?;
    figure::draw(&folder.join("score_function_1d.svg"), &cells, &curves)?;
    println!("mse.csv, learning.csv and score_function_1d.svg are in {}", folder.display());
    if options.check {
        claims::report(&claims(&cells, &curves))?;
    }
    Ok(())
}

/// The numbers of samples and the batches.
fn grid(options: &Options) -> Result<(Vec<usize>, Vec<usize>), String> {
    let (samples, batches): (&[usize], &[usize]) = match (options.common.quick, options.paper) {
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
    if !samples.is_sorted_by(|a, b| a < b) || options.check && samples.len() < 2 {
        return Err("--samples: give them in increasing order, and at least two for --check".to_owned());
    }
    for (name, number, least) in
        [("--repeats", options.repeats, 2), ("--estimates", options.estimates, 2), ("--steps", options.steps, 1)]
    {
        if number < least {
            return Err(format!("{name} must be at least {least}"));
        }
    }
    Ok((samples, batches))
}

/// (sampled − exact mean squared error) in standard errors.
fn z_score(cell: &Errors, estimator: usize) -> f64 {
    let Interval { mean, half_width } = Interval::of(cell.squared[estimator].iter().copied());
    (mean - ESTIMATORS[estimator].exact_mse(cell.theta, cell.n)) / (half_width / 1.96)
}

fn print_errors(cells: &[Errors]) {
    let estimates = cells[0].squared[0].len();
    println!("Mean squared error of one estimate, closed form (and z-score of {estimates} sampled ones):\n");
    println!("    θ     N {:>22}{:>22}{:>22}   LSF's bias", "SF", "LSF", "PW");
    for cell in cells {
        print!("{:>5} {:>5}", cell.theta, cell.n);
        for (i, estimator) in ESTIMATORS.iter().enumerate() {
            print!("{:>22}", format!("{:.4} ({:+.1})", estimator.exact_mse(cell.theta, cell.n), z_score(cell, i)));
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
fn claims(cells: &[Errors], curves: &[Curve]) -> Vec<Claim> {
    let start: Vec<&Errors> = cells.iter().filter(|cell| cell.theta == START).collect();
    let learning: Vec<&[Curve]> =
        curves.chunks(ESTIMATORS.len()).filter(|cell| cell[0].batch == curves[0].batch).collect();
    let (sf, lsf, pw) = (0, 1, 2);
    let (first, last) = (0, start.len() - 1);
    let error = |a: usize, b: usize, at: usize| Interval::paired(&start[at].squared[a], &start[at].squared[b]);
    let rise = |i: usize, at: usize| {
        let name = format!("N = {} to {}", start[at].n, start[at + 1].n);
        (name, Interval::paired(&start[at + 1].squared[i], &start[at].squared[i]))
    };
    let fall = |i: usize, at: usize| {
        let (name, Interval { mean, half_width }) = rise(i, at);
        (name, Interval { mean: -mean, half_width })
    };
    let value = |a: usize, b: usize, at: usize| Interval::paired(&learning[at][a].last, &learning[at][b].last);
    let gap = |at: usize| -> Vec<f64> {
        learning[at][pw].last.iter().zip(&learning[at][lsf].last).map(|(pw, lsf)| pw - lsf).collect()
    };
    let (n_first, n_last) = (start[first].n, start[last].n);
    let scores: Vec<f64> = cells.iter().flat_map(|cell| (0..ESTIMATORS.len()).map(|i| z_score(cell, i))).collect();
    let largest = scores.iter().fold(0.0_f64, |largest, z| if z.abs() <= largest { largest } else { z.abs() });
    let beyond = scores.iter().filter(|z| z.abs() > 2.0).count();
    let best =
        (0..last).max_by(|&a, &b| learning[a][sf].mean.last().unwrap().total_cmp(learning[b][sf].mean.last().unwrap()));
    let best = best.expect("two numbers of samples");
    vec![
        Claim::certain(
            "The sampled errors are those of the closed forms (no z-score beyond 4)",
            format!("largest |z| = {largest:.2}; {beyond} of {} beyond 2", scores.len()),
            largest <= 4.0,
        ),
        Claim::positive(
            format!("\"At small N, LSF has higher MSE than SF\": MSE(LSF) − MSE(SF) at N = {n_first}"),
            error(lsf, sf, first),
        ),
        Claim::positive(
            format!("At large N it is SF's that is higher: MSE(SF) − MSE(LSF) at N = {n_last}"),
            error(sf, lsf, last),
        ),
        Claim::all_positive(
            "\"The MSE of SF increases with N\": each increase from N = 4 on (before, 15/N falls faster)",
            (0..last).filter(|&at| start[at].n >= 4).map(|at| rise(sf, at)),
        ),
        Claim::all_positive("\"The MSE of LSF decreases with N\": each decrease", (0..last).map(|at| fall(lsf, at))),
        Claim::all_positive(
            "\"PW achieves the lowest MSE\": MSE(SF) − MSE(PW) and MSE(LSF) − MSE(PW) at every N",
            (0..=last).flat_map(|at| {
                [("SF", sf), ("LSF", lsf)].map(|(name, i)| (format!("{name}, N = {}", start[at].n), error(i, pw, at)))
            }),
        ),
        Claim::positive(
            format!("\"When N is small, LSF is outperformed by SF\": L(SF) − L(LSF) after ascent with N = {n_first}"),
            value(sf, lsf, first),
        ),
        Claim::positive(
            format!("\"When N is large, LSF outperforms SF\": L(LSF) − L(SF) after ascent with N = {n_last}"),
            value(lsf, sf, last),
        ),
        Claim::positive(
            format!("\"As N increases, SF degrades\": L(SF) with its best N = {} − with N = {n_last}", start[best].n),
            Interval::paired(&learning[best][sf].last, &learning[last][sf].last),
        ),
        Claim::all_positive(
            "\"whereas LSF improves\": each increase of L(LSF)",
            (0..last).map(|at| {
                let name = format!("N = {} to {}", start[at].n, start[at + 1].n);
                (name, Interval::paired(&learning[at + 1][lsf].last, &learning[at][lsf].last))
            }),
        ),
        Claim::positive(
            format!("\"LSF catches up with PW\": L(PW) − L(LSF) with N = {n_first} less the same with N = {n_last}"),
            Interval::paired(&gap(first), &gap(last)),
        ),
        Claim::all_positive(
            "\"PW is the best when available\": L(PW) − L(SF) and L(PW) − L(LSF) at every N",
            (0..=last).flat_map(|at| {
                [("SF", sf), ("LSF", lsf)].map(|(name, i)| (format!("{name}, N = {}", start[at].n), value(pw, i, at)))
            }),
        ),
        Claim::positive(
            "\"The performance of different estimates correlates strongly with the MSE\": the correlation of ln MSE with ln(−L)",
            correlation(&start, &learning),
        ),
    ]
}

/// Pearson's correlation over all cells, with Fisher's interval (in z = artanh r, around it).
fn correlation(errors: &[&Errors], learning: &[&[Curve]]) -> Interval {
    let pairs: Vec<(f64, f64)> = (errors.iter().zip(learning))
        .flat_map(|(errors, curves)| {
            (0..ESTIMATORS.len())
                .map(|i| (mean_and_std(&errors.squared[i]).0.ln(), (-mean_and_std(&curves[i].last).0).ln()))
        })
        .collect();
    let (x, y): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let ((x_mean, x_std), (y_mean, y_std)) = (mean_and_std(&x), mean_and_std(&y));
    let count = pairs.len() as f64;
    let covariance = pairs.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum::<f64>() / (count - 1.0);
    let r = covariance / (x_std * y_std);
    // The lower end is what decides; the interval is symmetric in artanh r.
    let lower = (r.atanh() - 1.96 / (count - 3.0).sqrt()).tanh();
    Interval { mean: r, half_width: r - lower }
}

fn write_errors(path: &Path, cells: &[Errors]) -> common::Outcome {
    let mut file = csv::Writer::from_path(path)?;
    file.write_record(["estimator", "theta", "n", "mse", "mse_exact"])?;
    for (i, estimator) in ESTIMATORS.iter().enumerate() {
        for cell in cells {
            let mse = mean_and_std(&cell.squared[i]).0;
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
