//! Why meta-gradients are linearised (Tang 2022): the variance of the score function (SF) grows with the number N of trajectories that
//! are adapted with, that of its linearisation (LSF) falls with it, and so LSF learns where SF does not: figure 1 (c, d) and what
//! sections 2 and 3 say of variances, on navigation in the plane instead of HalfCheetah and others, which need a simulator of others.
//!
//! Training is as in section 6.2: N = 20 trajectories of 100 steps before and after the inner step, 20 tasks, TRPO, 5 runs (the preset
//! `lsf-navigation`; `--paper` has its networks). SF is E-MAML without its 1/N. Variances are of the formulas as they are.

use clap::Parser;
use rl::report::Interval;
use study::claims::Claims;
use study::lines::{Axis, Line, Panel, picture};
use study::lsf_navigation::training::{self, METHODS, Trained};
use study::lsf_navigation::variance::{self, ESTIMATORS, slope};
use study::options::{List, Precision, StudyOptions, increasing, whole};
use study::output::{Output, progress};
use study::statistics::{in_words, jackknife, mean_in_words, mean_with_error, minus};

/// Variances by N of the score function and its linearisation, and what is learned with them (figure 1 of Tang 2022).
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    study: StudyOptions,
    /// Pairs of a goal and first parameters at which variances are measured [default: 10; --quick: 2].
    #[arg(long, value_parser = whole(2..=10_000))]
    problems: Option<usize>,
    /// Estimates for each variance, half as many where it is as trained [default: 50; --quick: 10; --paper: 200].
    #[arg(long, value_parser = whole(8..=100_000))]
    rounds: Option<usize>,
    /// Trajectories after adaptation, where variances are measured [default: 400; --quick: 20; --paper: 1000].
    #[arg(long, value_parser = whole(1..=100_000))]
    outer: Option<usize>,
    /// The numbers N of trajectories to adapt with, separated by commas, in increasing order.
    #[arg(long, default_value = "5,10,20,40,80", value_parser = increasing(whole(2..=10_000)))]
    samples: List<usize>,
    /// Independent runs of training [default: 12; --quick: 2].
    #[arg(long, value_parser = whole(2..=10_000))]
    runs: Option<usize>,
    /// Iterations of training [default: 25; --quick: 2; --paper: 200].
    #[arg(long, value_parser = whole(1..=1_000_000))]
    iterations: Option<usize>,
    /// Steps of a trajectory [default: 100; --quick: 20; --paper: 100].
    #[arg(long, value_parser = whole(1..=100_000))]
    horizon: Option<usize>,
}

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    study::run(|| lsf_navigation(&options))
}

/// For each problem, each N and each estimator.
type Traces = Vec<Vec<Vec<f64>>>;

/// All that is measured.
struct Results {
    samples: Vec<usize>,
    /// Of the formulas as they are, by [`ESTIMATORS`].
    plain: Traces,
    /// Of what is trained with, by [`METHODS`].
    trained: Traces,
    runs: Vec<Vec<Trained>>,
}

fn lsf_navigation(options: &Options) -> study::Outcome {
    let StudyOptions { common, check, .. } = &options.study;
    let samples = options.samples.0.clone();
    if samples.len() < 2 {
        return Err("--samples: give at least two numbers, between which variances change".into());
    }
    let size = |given: Option<usize>, quick, normal, paper| given.unwrap_or(options.study.size(quick, normal, paper));
    let (hidden, precision) = options.study.size((32, Precision::F32), (32, Precision::F32), (64, Precision::F64));
    let (seed, hidden, horizon) = (common.seed, vec![hidden; 2], size(options.horizon, 20, 100, 100));
    let variances = variance::Study {
        seed,
        problems: size(options.problems, 2, 10, 10),
        samples: samples.clone(),
        outer: size(options.outer, 20, 400, 1000),
        rounds: size(options.rounds, 10, 50, 200),
        horizon,
        hidden: hidden.clone(),
        // As long a step as the preset's, about: there it is by means over 100 steps, in units of the advantages' deviation. After a
        // longer one the policies of few trajectories are far from each other, and neither variance is a power of N.
        rate: 2.5e-4,
        precision,
    };
    let training = training::Study {
        seed,
        runs: size(options.runs, 2, 12, 12),
        iterations: size(options.iterations, 2, 25, 200),
        horizon,
        hidden,
        tasks: 20,
        precision,
    };
    let folder = common.folder("lsf_navigation")?;
    let saved = options.study.saved(&folder, &format!("lsf_navigation {:?}", (&variances, &training)))?;
    let progress = progress(2 * variances.problems + METHODS.len() * training.runs, "parts");
    let plain = variances.run(&saved, &progress)?;
    let trained = training.variances(variances.problems, &samples, variances.rounds / 2, &saved, &progress)?;
    let results = Results { samples, plain, trained, runs: training.run(&saved, &progress)? };
    progress.finish_and_clear();

    let mut output = Output::new(folder);
    print(&mut output, &results, &variances, &training);
    write(&mut output, &results);
    output.file("lsf_navigation.svg", picture(&[panels(&results)])?);
    if *check {
        writeln!(output);
        claims(&results).judge(&mut output);
    }
    output.finish(Some(saved))
}

impl Results {
    /// The mean of tr Var over problems, for each N.
    fn means(&self, problems: &[&Vec<Vec<f64>>], e: usize) -> Vec<f64> {
        let mean = |at: usize| problems.iter().map(|problem| problem[at][e]).sum::<f64>() / problems.len() as f64;
        (0..self.samples.len()).map(mean).collect()
    }

    /// The slope of its logarithm over ln N.
    fn slope(&self, traces: &Traces, e: usize) -> Interval {
        let logarithms = |x: Vec<f64>| x.into_iter().map(f64::ln).collect::<Vec<_>>();
        let x = logarithms(self.samples.iter().map(|&n| n as f64).collect());
        let problems: Vec<_> = traces.iter().collect();
        jackknife(&problems, |problems| slope(&x, &logarithms(self.means(problems, e))))
    }

    /// What the last parameters of a method bring, for each run.
    fn last(&self, method: usize) -> Vec<f64> {
        self.runs.iter().map(|run| run[method].last).collect()
    }
}

fn print(output: &mut Output, results: &Results, variances: &variance::Study, training: &training::Study) {
    let Results { samples, plain, trained, .. } = results;
    let columns: String = samples.iter().map(|n| format!("{:>10}", format!("N = {n}"))).collect();
    writeln!(
        output,
        "Variance (tr Var, mean of {} problems) of meta-gradients at the first parameters, and its slope over N\n",
        variances.problems
    );
    let mut table = |title: String, traces: &Traces, names: &[&str]| {
        writeln!(output, "{title}\n{:<10}{columns}{:>16}", "", "slope");
        for (e, name) in names.iter().enumerate() {
            let means = results.means(&traces.iter().collect::<Vec<_>>(), e);
            let cells: String = means.iter().map(|mean| format!("{mean:>10.2e}")).collect();
            let slope = results.slope(traces, e);
            // An estimate without bias may be negative, from few rounds: then there is no logarithm of it.
            let words = if slope.low.is_nan() { "none".to_owned() } else { in_words(slope) };
            writeln!(output, "{name:<10}{cells}{words:>16}");
        }
        writeln!(output);
    };
    let title = "of the formulas, at one goal, by the inner trajectories alone (infinitely many after adaptation)";
    table(title.to_owned(), plain, &ESTIMATORS);
    let title = "as it is trained with (credits normalised; N trajectories before and after adaptation, any goals)";
    table(title.to_owned(), trained, &METHODS.map(|method| method.name));
    writeln!(
        output,
        "Mean return after adaptation with N = 20, {} iterations of TRPO, {} runs: of the last parameters, on {} fresh tasks\n",
        training.iterations, training.runs, training.tasks
    );
    for (m, method) in METHODS.iter().enumerate() {
        let differs = if m > 0 {
            format!("  over SF {}", mean_in_words(&minus(&results.last(m), &results.last(0))))
        } else {
            String::new()
        };
        writeln!(output, "{:<10}{:>16}{differs}", method.name, mean_in_words(&results.last(m)));
    }
    writeln!(
        output,
        "\nlsf_dice is DiCE inside, as in the paper; lsf is the same with a baseline (Loaded DiCE). Standing still costs 38. As\n\
         it is trained with, the variance between goals and that of the trajectories after adaptation do not fall with N as DiCE's\n\
         inner noise does, and with a baseline little is left but these: the slope is less steep."
    );
}

fn claims(results: &Results) -> Claims {
    let mut claims = Claims::default();
    for (e, (sentence, exponent)) in
        [("the variance of SF is Θ(N)", 1.0), ("the variance of LSF is O(1/N), if B and M are infinite", -1.0)]
            .into_iter()
            .enumerate()
    {
        let Interval { value, low, high } = results.slope(&results.plain, e);
        let [least, most] = [exponent - 0.2, exponent + 0.2];
        claims
            .claim(&format!("{sentence}: the slope of its logarithm is {exponent:+} ± 0.2"))
            .interval_above(
                format!("slope over {least:+.1}"),
                Interval { value: value - least, low: low - least, high: high - least },
            )
            .interval_above(
                format!("slope under {most:+.1}"),
                Interval { value: most - value, low: most - high, high: most - low },
            );
    }
    let claim = claims.claim("\"LSF outperforms SF\", N = 20: returns of the last parameters");
    for (m, method) in METHODS.iter().enumerate().skip(1) {
        claim.above(format!("{} − sf", method.name), &minus(&results.last(m), &results.last(0)));
    }
    claims
}

fn write(output: &mut Output, results: &Results) {
    let mut rows = Vec::new();
    let trained = METHODS.map(|method| method.name);
    for (setting, traces, names) in
        [("plain", &results.plain, &ESTIMATORS[..]), ("trained", &results.trained, &trained)]
    {
        for (problem, of_problem) in traces.iter().enumerate() {
            for (n, traces) in results.samples.iter().zip(of_problem) {
                for (name, trace) in names.iter().zip(traces) {
                    let [problem, n, trace] = [problem.to_string(), n.to_string(), trace.to_string()];
                    rows.push([setting.to_owned(), (*name).to_owned(), problem, n, trace]);
                }
            }
        }
    }
    output.table("variance.csv", &["setting", "estimator", "problem", "n", "trace_variance"], rows);
    let mut rows = Vec::new();
    for (number, run) in results.runs.iter().enumerate() {
        for (method, Trained { curve, last }) in METHODS.iter().zip(run) {
            for (iteration, returns) in curve.iter().chain([last]).enumerate() {
                rows.push([method.name.to_owned(), number.to_string(), iteration.to_string(), returns.to_string()]);
            }
        }
    }
    output.table("returns.csv", &["estimator", "run", "iteration", "return_1"], rows);
}

fn panels(results: &Results) -> Vec<Panel> {
    let variances = |title: &str, traces: &Traces, names: &[&str]| {
        let line = |(e, name): (usize, &&str)| {
            let means = results.means(&traces.iter().collect::<Vec<_>>(), e);
            Line::new(*name, results.samples.iter().map(|&n| n as f64).zip(means))
        };
        Panel {
            title: title.to_owned(),
            x: Axis::logarithmic("N"),
            y: Axis::logarithmic("tr Var"),
            lines: names.iter().enumerate().map(line).collect(),
        }
    };
    let line = |(m, method): (usize, &training::Method)| {
        let point = |at: usize| {
            (at as f64, mean_with_error(&results.runs.iter().map(|run| run[m].curve[at]).collect::<Vec<_>>()))
        };
        Line::with_intervals(method.name, (0..results.runs[0][m].curve.len()).map(point))
    };
    let names = METHODS.map(|method| method.name);
    vec![
        variances("variance of the formulas, by the inner trajectories", &results.plain, &ESTIMATORS),
        variances("variance as it is trained with", &results.trained, &names),
        Panel {
            title: "return after adaptation, N = 20".to_owned(),
            x: Axis::linear("iteration"),
            y: Axis::linear("return"),
            lines: METHODS.iter().enumerate().map(line).collect(),
        },
    ]
}
