//! The one-dimensional problem of Tang 2022 (figure 1a and 1b): how the score function, its linearisation and the path-wise
//! gradient err, against closed forms, and how well each of them optimises.

mod figure;

use clap::Parser;
use rl::truth::max_abs;
use study::claims::Claims;
use study::lines::picture;
use study::options::{List, StudyOptions, increasing, whole};
use study::output::{Output, progress};
use study::score_function_1d::experiment::{Curve, Errors, cell_seed, errors, learn};
use study::score_function_1d::problem::ESTIMATORS;
use study::statistics::mean_and_std;

/// Gradient estimates of L(θ) = E[−(X̄_N − 1)²], X ~ N(θ, 1): their mean squared errors, and ascent by them.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    study: StudyOptions,
    /// Independent runs of gradient ascent for each cell (the paper: 100).
    #[arg(long, default_value_t = 2000, value_parser = whole(20..=1_000_000))]
    repeats: usize,
    /// Estimates for each mean squared error [default: 100000; --quick: 20000; the paper has 100].
    #[arg(long, value_parser = whole(20..=100_000_000))]
    estimates: Option<usize>,
    /// Steps of gradient ascent.
    #[arg(long, default_value_t = 100, value_parser = whole(1..=100_000))]
    steps: usize,
    /// The numbers of samples N of an estimate, separated by commas, in increasing order [default: 1 to 500; --paper, which
    /// states none: to 1000].
    #[arg(long, value_parser = increasing(whole(1..=1_000_000)))]
    samples: Option<List<usize>>,
    /// How many estimates a step of ascent averages, separated by commas, in increasing order [default: 1,10; --quick: 1;
    /// --paper: 1,10,100, which takes long]. Claims are about the first.
    #[arg(long, value_parser = increasing(whole(1..=100_000)))]
    batch: Option<List<usize>>,
}

/// Where ascent starts, and where the paper's errors are taken.
const START: f64 = 0.0;

/// The parameters at which errors are measured.
const THETAS: [f64; 3] = [-1.0, START, 0.5];

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    study::run(|| score_function_1d(&options))
}

fn score_function_1d(options: &Options) -> study::Outcome {
    let StudyOptions { common, check, .. } = &options.study;
    let (samples, batches, estimates): (&[usize], &[usize], usize) = options.study.size(
        (&[1, 5, 20, 100, 500], &[1], 20_000),
        (&[1, 2, 5, 10, 20, 50, 100, 200, 500], &[1, 10], 100_000),
        (&[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000], &[1, 10, 100], 100_000),
    );
    let samples = options.samples.as_ref().map_or(samples, |given| &given.0);
    let batches = options.batch.as_ref().map_or(batches, |given| &given.0);
    let estimates = options.estimates.unwrap_or(estimates);
    if *check && samples.len() < 2 {
        return Err("--check: give at least two numbers of --samples".into());
    }
    let (seed, steps, repeats) = (common.seed, options.steps, options.repeats);
    let folder = common.folder("score_function_1d")?;
    let settings = format!("score_function_1d {:?}", (seed, samples, batches, repeats, steps));
    let saved = options.study.saved(&folder, &settings)?;

    let mut cells: Vec<Errors> = Vec::new();
    for theta in THETAS {
        for &n in samples {
            cells.push(errors(theta, n, estimates, cell_seed(seed, cells.len())));
        }
    }
    let progress = progress(samples.len() * batches.len() * repeats, "runs");
    let mut curves: Vec<Curve> = Vec::new();
    for &batch in batches {
        for &n in samples {
            let seed = cell_seed(seed, cells.len() + curves.len());
            let numbers = saved.part(&format!("{n},{batch}"), || {
                let curves = learn(n, batch, steps, repeats, seed, &progress);
                Ok(curves.each_ref().map(Curve::numbers).concat())
            })?;
            curves.extend(Curve::from_numbers(n, batch, steps, &numbers));
            progress.set_position((curves.len() / ESTIMATORS.len() * repeats) as u64);
        }
    }
    progress.finish_and_clear();

    let mut output = Output::new(folder);
    print_errors(&mut output, &cells);
    print_learning(&mut output, &curves, options);
    write_errors(&mut output, &cells);
    write_learning(&mut output, &curves);
    output.file("score_function_1d.svg", picture(&[figure::panels(&cells, &curves)])?);
    if *check {
        let units = "errors are relative to the second one's closed form, and objectives in units of 1/N";
        writeln!(output, "\nBelow, {units}.\n");
        claims(&cells, &curves).judge(&mut output);
    }
    output.finish(Some(saved))
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

fn print_errors(output: &mut Output, cells: &[Errors]) {
    let estimates = cells[0].differences[0].len();
    writeln!(output, "Mean squared error of one estimate, closed form (and z-score of {estimates} sampled ones):\n");
    writeln!(output, "    θ     N {:>22}{:>22}{:>22}   LSF's bias", "SF", "LSF", "PW");
    for cell in cells {
        write!(output, "{:>5} {:>5}", cell.theta, cell.n);
        for (i, estimator) in ESTIMATORS.iter().enumerate() {
            let mse = estimator.exact_mse(cell.theta, cell.n);
            write!(output, "{:>22}", format!("{mse:.4} ({:+.1})", z_scores(cell, i)[0]));
        }
        writeln!(output, "{:>13.4}", ESTIMATORS[1].exact_bias(cell.theta, cell.n));
    }
    writeln!(
        output,
        "\nSF's error first falls, as 15/N, and grows from N = √15/(θ − 1)² on; LSF's bias, −2θ/N, is 0 at θ = 0: there\n\
         its larger error at small N is variance.\n"
    );
}

fn print_learning(output: &mut Output, curves: &[Curve], options: &Options) {
    writeln!(
        output,
        "Objective after {} steps of Adam (rate 0.1) from θ = {START}, mean ± std of {} runs:\n",
        options.steps, options.repeats
    );
    writeln!(output, "batch     N {:>20}{:>20}{:>20}", "SF", "LSF", "PW");
    for cell in curves.chunks(ESTIMATORS.len()) {
        write!(output, "{:>5} {:>5}", cell[0].batch, cell[0].n);
        for curve in cell {
            let (mean, std) = mean_and_std(&curve.last);
            write!(output, "{:>20}", format!("{mean:.4} ± {std:.4}"));
        }
        writeln!(output);
    }
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

fn write_errors(output: &mut Output, cells: &[Errors]) {
    let mut rows = Vec::new();
    for (i, estimator) in ESTIMATORS.iter().enumerate() {
        for cell in cells {
            let mse = mean_and_std(&cell.squared(i)).0;
            let numbers = [cell.theta, cell.n as f64, mse, estimator.exact_mse(cell.theta, cell.n)];
            rows.push(std::iter::once(estimator.name().to_owned()).chain(numbers.map(|number| number.to_string())));
        }
    }
    output.table("mse.csv", &["estimator", "theta", "n", "mse", "mse_exact"], rows);
}

fn write_learning(output: &mut Output, curves: &[Curve]) {
    let mut rows = Vec::new();
    for curve in curves {
        for (step, (mean, std)) in curve.mean.iter().zip(&curve.std).enumerate() {
            rows.push([
                curve.estimator.name().to_owned(),
                curve.n.to_string(),
                curve.batch.to_string(),
                step.to_string(),
                mean.to_string(),
                std.to_string(),
            ]);
        }
    }
    let columns = ["estimator", "n", "batch", "step", "objective_mean", "objective_std"];
    output.table("learning.csv", &columns, rows);
}
