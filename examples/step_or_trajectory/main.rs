//! Score functions by steps and by trajectories, and what N does to a variance: statements of Tang 2022 (App. H.3, App. D, Lemma 14,
//! section 4) that its text makes without a figure. Tables are enumerated, toys have closed forms, and what is sampled stands
//! beside them. The paper gives no numbers to these, so μ, σ, V_0, η and the tables are this example's own.

use clap::Parser;
use rl::truth::max_abs;
use study::claims::Claims;
use study::lines::{Axis, Line, Panel, picture};
use study::options::{List, StudyOptions, increasing, whole};
use study::output::Output;
use study::statistics::{mean_and_std, mean_with_error, minus};
use study::step_or_trajectory::experiment::{Set, Study, Table};
use study::step_or_trajectory::tables::{Distance, TRAJECTORIES, Variances};
use study::step_or_trajectory::toys::{MEAN, STD, TOYS, Toy, VALUE};

/// Variances of gradients and Hessians by steps and by trajectories, and of estimates from N samples.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    study: StudyOptions,
    /// How many random processes to enumerate [default: 400; --quick: 30; --paper, which has none: 4000].
    #[arg(long, value_parser = whole(1..=1_000_000))]
    mdps: Option<usize>,
    /// The largest number of steps of a trajectory.
    #[arg(long, default_value_t = 5, value_parser = whole(2..=6))]
    horizon: usize,
    /// Independent sets of estimates of the toys [default: 40; --quick: 20; --paper: 100].
    #[arg(long, value_parser = whole(2..=1_000_000))]
    sets: Option<usize>,
    /// Estimates in each of them [default: 10000; --quick: 2000; --paper: 100000].
    #[arg(long, value_parser = whole(2..=10_000_000))]
    estimates: Option<usize>,
    /// The numbers of samples N of an estimate, separated by commas, in increasing order [default: 1 to 100; --quick: 1 to 20].
    #[arg(long, value_parser = increasing(whole(1..=1_000_000)))]
    samples: Option<List<usize>>,
}

const ORDERS: [&str; 2] = ["gradient", "Hessian"];

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    study::run(|| step_or_trajectory(&options))
}

fn step_or_trajectory(options: &Options) -> study::Outcome {
    let StudyOptions { common, check, .. } = &options.study;
    let (mdps, sets, estimates) = options.study.size((30, 20, 2000), (400, 40, 10_000), (4000, 100, 100_000));
    let all = [1, 2, 5, 10, 20, 50, 100];
    let samples = options.study.size(&all[..5], &all, &all);
    let study = Study {
        seed: common.seed,
        mdps: options.mdps.unwrap_or(mdps),
        horizon: options.horizon,
        sets: options.sets.unwrap_or(sets),
        estimates: options.estimates.unwrap_or(estimates),
        samples: options.samples.as_ref().map_or(samples, |given| &given.0).to_vec(),
    };
    if *check && study.samples.len() < 2 {
        return Err("--check: give at least two numbers of --samples".into());
    }
    let folder = common.folder("step_or_trajectory")?;
    let saved = options.study.saved(&folder, &format!("step_or_trajectory {study:?}"))?;
    let (tables, sets) = study.run(&saved)?;

    let mut output = Output::new(folder);
    print_tables(&mut output, &study, &tables);
    print_toys(&mut output, &study, &sets);
    write(&mut output, &study, &tables, &sets);
    output.file("step_or_trajectory.svg", picture(&panels(&study, &tables, &sets))?);
    if *check {
        writeln!(output);
        claims(&study, &tables, &sets).judge(&mut output);
        writeln!(output, "\n{REMARK}");
    }
    output.finish(Some(saved))
}

const REMARK: &str = "\
Lemma 14 of Tang 2022 prints V[SF] = μ²N/σ² + 2/N. With X_i = μ + σ ε_i the estimate is (Σ ε_i)²/N + (μ/σ) Σ ε_i (the lemma has\n\
(μ/σ)/N before the second sum, and without 1/N in LSF's, the wrong way round), and (Σ ε_i)²/N is χ² with one degree of freedom:\n\
its variance is 2 at every N. Θ(N), which the lemma concludes, stands.";

/// ln of trajectory-wise variance over step-wise, of each process.
fn log_ratio(tables: &[Table], horizon: usize, order: usize) -> Vec<f64> {
    let ratio = |x: &Variances| (x.by_trajectory[order] / x.by_step[order]).ln();
    tables.iter().map(|table| ratio(&table.variances[horizon - 1])).collect()
}

fn of_distance(tables: &[Table], place: usize, number: fn(&Distance) -> f64) -> Vec<f64> {
    tables.iter().map(|table| number(&table.distances[place])).collect()
}

/// Of each set.
fn sampled(sets: &[Set], n: usize, toy: usize) -> Vec<f64> {
    sets.iter().map(|set| set[n][toy]).collect()
}

/// (sampled − closed form) in standard errors.
fn z_score(study: &Study, sets: &[Set], n: usize, toy: usize) -> f64 {
    let numbers = sampled(sets, n, toy);
    let (mean, std) = mean_and_std(&numbers);
    (mean - TOYS[toy].variance(study.samples[n])) / (std / (numbers.len() as f64).sqrt())
}

fn print_tables(output: &mut Output, study: &Study, tables: &[Table]) {
    writeln!(
        output,
        "Trajectory-wise variance over step-wise, geometric mean over {} random processes (2 states, 2 actions, enumerated):\n",
        study.mdps
    );
    let columns: String = (1..=study.horizon).map(|steps| format!("{:>9}", format!("H = {steps}"))).collect();
    writeln!(output, "{:<10}{columns}", "");
    for (order, name) in ORDERS.iter().enumerate() {
        let ratio = |steps: usize| mean_and_std(&log_ratio(tables, steps, order)).0.exp();
        let numbers: String = (1..=study.horizon).map(|steps| format!("{:>9.2}", ratio(steps))).collect();
        writeln!(output, "{name:<10}{numbers}");
    }
    writeln!(
        output,
        "\nWhat is adapted with N trajectories (2 steps, η = 1) beside what is adapted exactly, relative distance, mean:\n"
    );
    let columns: String = TRAJECTORIES.iter().map(|n| format!("{:>9}", format!("N = {n}"))).collect();
    writeln!(output, "{:<34}{columns}", "");
    let gradient: fn(&Distance) -> f64 = |distance| distance.gradient;
    let rows = [("E[∇V(θ'_N)] from ∇V(θ')", gradient), ("J_N^(ii) from J_∞^(ii)", |distance| distance.term)];
    for (name, number) in rows {
        let mean = |place: usize| mean_and_std(&of_distance(tables, place, number)).0;
        let numbers: String = (0..TRAJECTORIES.len()).map(|place| format!("{:>9.3}", mean(place))).collect();
        writeln!(output, "{name:<34}{numbers}");
    }
}

fn print_toys(output: &mut Output, study: &Study, sets: &[Set]) {
    writeln!(
        output,
        "\nVariance of one estimate, closed form (and sampled: {} sets of {}), μ = {MEAN}, σ = {STD}, V_0 = {VALUE}:\n",
        study.sets, study.estimates
    );
    write!(output, "{:>7}", "N");
    TOYS.iter().for_each(|toy| write!(output, "{:>22}", toy.name()));
    writeln!(output, "{:>10}", "Lemma 14");
    for (place, &n) in study.samples.iter().enumerate() {
        write!(output, "{n:>7}");
        for (t, toy) in TOYS.iter().enumerate() {
            let mean = mean_and_std(&sampled(sets, place, t)).0;
            write!(output, "{:>22}", format!("{:.4} ({mean:.4})", toy.variance(n)));
        }
        writeln!(output, "{:>10.4}", TOYS[0].printed_variance(n).expect("of the first"));
    }
    writeln!(
        output,
        "\nmean: of the mean of N normal numbers (section 2.1); meta: where nothing can be learned (App. D). The last column is\n\
         what is printed for the first."
    );
}

/// The slope of ln y in ln x, least squares.
fn slope(x: &[f64], y: &[f64]) -> f64 {
    let [x, y] = [x, y].map(|numbers| numbers.iter().map(|number| number.ln()).collect::<Vec<_>>());
    let (x_mean, y_mean) = (mean_and_std(&x).0, mean_and_std(&y).0);
    let products = x.iter().zip(&y).map(|(x, y)| (x - x_mean) * (y - y_mean)).sum::<f64>();
    products / x.iter().map(|x| (x - x_mean).powi(2)).sum::<f64>()
}

fn claims(study: &Study, tables: &[Table], sets: &[Set]) -> Claims {
    let mut claims = Claims::default();
    let horizons = || 2..=study.horizon;
    let bias = tables.iter().flat_map(|table| table.variances.iter().flat_map(|x| x.bias)).collect::<Vec<_>>();
    let alone = [0, 1].map(|order| max_abs(&log_ratio(tables, 1, order)));
    claims
        .claim("both ways are unbiased for gradient and Hessian, and the same if there is one step")
        .equal("largest ‖bias‖ / ‖truth‖", max_abs(&bias), 1e-10)
        .equal("|ln ratio of variances|, H = 1", max_abs(&alone), 1e-10);
    for (order, words) in [
        "the step-wise gradient \"usually has much lower variance than the 'trajectory-based' estimate\"",
        "the variance of the trajectory-wise Hessian is \"further improved by exploiting the Markov property\"",
    ]
    .into_iter()
    .enumerate()
    {
        let claim = claims.claim(words);
        for steps in horizons() {
            claim.above(format!("ln Var trajectory − step, H = {steps}"), &log_ratio(tables, steps, order));
        }
        let claim = claims.claim(&format!("the more so the more steps there are ({})", ORDERS[order]));
        for steps in horizons() {
            let more = minus(&log_ratio(tables, steps, order), &log_ratio(tables, steps - 1, order));
            claim.above(format!("ln ratio, H = {steps} − H = {}", steps - 1), &more);
        }
    }

    let numbers: Vec<f64> = study.samples.iter().map(|&n| n as f64).collect();
    let slopes = |toy: Toy| -> Vec<f64> {
        let place = TOYS.iter().position(|other| *other == toy).expect("one of them");
        sets.iter().map(|set| slope(&numbers, &set.iter().map(|set| set[place]).collect::<Vec<_>>())).collect()
    };
    for (words, toy, slope) in [
        ("App. D: the variance of the unbiased meta-gradient \"is of order Θ(N)\"", Toy::MetaScoreFunction, 1.0),
        ("App. D: that of LSF \"is of order O(1/N)\"", Toy::MetaLinearised, -1.0),
    ] {
        let slopes = slopes(toy);
        let from = |end: f64| -> Vec<f64> { slopes.iter().map(|x| 0.02 - end * (x - slope)).collect() };
        let claim = claims.claim(words);
        claim.above(format!("slope of ln Var in ln N, more than {:.2}", slope - 0.02), &from(-1.0));
        claim.above(format!("and less than {:.2}", slope + 0.02), &from(1.0));
    }
    let constant = TOYS.iter().position(|toy| *toy == Toy::MeanPathWise).expect("one of them");
    let places = || (0..study.samples.len()).flat_map(|n| (0..TOYS.len()).map(move |toy| (n, toy)));
    let varying = places().filter(|(_, toy)| *toy != constant);
    let scores: Vec<f64> = varying.map(|(n, toy)| z_score(study, sets, n, toy)).collect();
    let still: Vec<f64> = (0..study.samples.len()).flat_map(|n| sampled(sets, n, constant)).collect();
    let beyond = scores.iter().filter(|z| z.abs() > 2.0).count();
    claims
        .claim("sampled variances are the closed forms: μ²N/σ² + 2, (μ²/σ² + 2)/N, 0 (path-wise); V_0²N/σ², V_0²/(Nσ²)")
        .equal(format!("largest |z| ({beyond} of {} beyond 2)", scores.len()), max_abs(&scores), 4.0)
        .equal("path-wise", max_abs(&still), 1e-24);
    let claim =
        claims.claim("Lemma 14's constant is 2 and not, as is printed, 2/N (sampled less printed, over printed)");
    for (place, &n) in study.samples.iter().enumerate().filter(|(_, n)| **n > 1) {
        let printed = TOYS[0].printed_variance(n).expect("of the first");
        let more: Vec<f64> = sampled(sets, place, 0).iter().map(|x| x / printed - 1.0).collect();
        claim.above(format!("N = {n}"), &more);
    }

    let claim =
        claims.claim("\"J_∞^(ii) ≠ J_N^(ii) in general because E[∇V(θ'_N)] ≠ ∇V(θ')\"; both differences fall with N");
    for (place, n) in TRAJECTORIES.iter().enumerate() {
        claim.above(format!("‖J_N^(ii) − J_∞^(ii)‖ / ‖J_∞^(ii)‖, N = {n}"), &of_distance(tables, place, |x| x.term));
        claim.above(format!("‖E[∇V(θ'_N)] − ∇V(θ')‖ / ‖∇V(θ')‖, N = {n}"), &of_distance(tables, place, |x| x.gradient));
    }
    let last = TRAJECTORIES.len() - 1;
    for (words, number) in [("first", (|x| x.term) as fn(&Distance) -> f64), ("second", |x| x.gradient)] {
        let falls = minus(&of_distance(tables, 0, number), &of_distance(tables, last, number));
        claim.above(format!("the {words}, N = 1 less N = {}", TRAJECTORIES[last]), &falls);
    }
    claims
}

fn write(output: &mut Output, study: &Study, tables: &[Table], sets: &[Set]) {
    let mut rows = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        for (steps, x) in (1..).zip(&table.variances) {
            for (order, name) in ORDERS.iter().enumerate() {
                rows.push([
                    index.to_string(),
                    i32::to_string(&steps),
                    (*name).to_owned(),
                    format!("{:e}", x.by_trajectory[order]),
                    format!("{:e}", x.by_step[order]),
                ]);
            }
        }
    }
    output.table("tables.csv", &["process", "steps", "derivative", "by_trajectory", "by_step"], rows);
    let rows = tables.iter().enumerate().flat_map(|(index, table)| {
        TRAJECTORIES
            .iter()
            .zip(&table.distances)
            .map(move |(n, x)| [index.to_string(), n.to_string(), format!("{:e}", x.term), format!("{:e}", x.gradient)])
    });
    output.table("adapted.csv", &["process", "n", "term_ii", "gradient"], rows);
    let mut rows = Vec::new();
    for (place, &n) in study.samples.iter().enumerate() {
        for (t, toy) in TOYS.iter().enumerate() {
            let (mean, std) = mean_and_std(&sampled(sets, place, t));
            let printed = toy.printed_variance(n).map_or(String::new(), |x| x.to_string());
            let numbers = [toy.variance(n), mean, std].map(|x| x.to_string());
            let row = [toy.name().to_owned(), n.to_string()].into_iter().chain(numbers).chain([printed]);
            rows.push(row.collect::<Vec<_>>());
        }
    }
    let columns = ["estimate", "n", "variance_exact", "variance_mean", "variance_std", "variance_printed"];
    output.table("toys.csv", &columns, rows);
}

fn panels(study: &Study, tables: &[Table], sets: &[Set]) -> Vec<Vec<Panel>> {
    let ratios = ORDERS.iter().enumerate().map(|(order, name)| {
        let point = |steps: usize| (steps as f64, mean_with_error(&log_ratio(tables, steps, order)));
        Line::with_intervals(*name, (1..=study.horizon).map(point))
    });
    let distance = |name: &str, number: fn(&Distance) -> f64| {
        let point = |(place, &n): (usize, &usize)| (n as f64, mean_with_error(&of_distance(tables, place, number)));
        Line::with_intervals(name, TRAJECTORIES.iter().enumerate().map(point))
    };
    let toys = |which: &[Toy]| -> Vec<Line> {
        let lines = which.iter().flat_map(|toy| {
            let place = TOYS.iter().position(|other| other == toy).expect("one of them");
            let closed = study.samples.iter().map(|&n| (n as f64, toy.variance(n)));
            let mean = |(at, &n): (usize, &usize)| (n as f64, mean_and_std(&sampled(sets, at, place)).0);
            let sampled = study.samples.iter().enumerate().map(mean);
            [Line::new(toy.name(), closed), Line::new(format!("{}, sampled", toy.name()), sampled).dots()]
        });
        let printed = study.samples.iter().map(|&n| (n as f64, which[0].printed_variance(n)));
        let printed: Vec<(f64, f64)> = printed.filter_map(|(n, x)| Some((n, x?))).collect();
        let printed = (!printed.is_empty()).then(|| Line::new("Lemma 14, as printed", printed));
        lines.chain(printed).collect()
    };
    let variance = |title: &str, which: &[Toy]| Panel {
        title: title.to_owned(),
        x: Axis::logarithmic("N"),
        y: Axis::logarithmic("variance"),
        lines: toys(which),
    };
    vec![
        vec![
            Panel {
                title: "by trajectories and by steps".to_owned(),
                x: Axis::linear("steps H"),
                y: Axis::linear("ln ratio of variances"),
                lines: ratios.collect(),
            },
            Panel {
                title: "adapted with N trajectories, or exactly".to_owned(),
                x: Axis::linear("N"),
                y: Axis::linear("relative distance"),
                lines: vec![distance("E[∇V(θ'_N)]", |x| x.gradient), distance("J_N^(ii)", |x| x.term)],
            },
        ],
        vec![variance("mean of N normal numbers", &TOYS[..2]), variance("where nothing can be learned", &TOYS[3..])],
    ]
}
