//! Where the error of an estimated meta-gradient comes from: the tabular experiment of Liu et al. 2022 (Fig. 1 a, b and
//! Fig. 4 to 6). Inner gradient, Hessian and outer gradient are each exact (E) or estimated (S), by four estimators.

mod claims_of_the_paper;

use clap::Parser;
use rl::meta::Permutation;
use study::lines::{Axis, Line, Panel, picture};
use study::meta_gradient_bias::experiment::{Cell, ESTIMATORS, Measured, Study};
use study::options::{StudyOptions, whole};
use study::output::Output;
use study::tables::RATE;

/// The correlation of estimated meta-gradients with the exact one: which of its parts must be exact, by which estimator.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    study: StudyOptions,
    /// How many random processes to average over [default: 200; --quick: 4; --paper: 10, on which fewer claims are decided].
    #[arg(long, value_parser = whole(1..=100_000))]
    mdps: Option<usize>,
    /// How many times as many where 16 trajectories or fewer are taken, which is cheap [default: 5; --quick, --paper: 1].
    #[arg(long, value_parser = whole(1..=100))]
    more: Option<usize>,
    /// How many independent estimates on each process [default: 3; --paper: 20].
    #[arg(long, value_parser = whole(2..=100_000))]
    repeats: Option<usize>,
}

/// What is varied, the others being fixed.
#[derive(Debug)]
pub struct Grid {
    samples: Vec<usize>,
    steps: Vec<usize>,
    rates: Vec<f64>,
}

impl Grid {
    /// Of the paper's code.
    const SAMPLES: [usize; 8] = [2, 4, 8, 16, 32, 64, 128, 256];
    /// Trajectories where steps or rates are varied, and inner steps where rates are.
    const FIXED_SAMPLES: usize = 32;
    const FIXED_STEPS: usize = 5;

    fn new(quick: bool) -> Self {
        if quick {
            return Self { samples: vec![2, 32], steps: vec![1, 3], rates: vec![1.0, 10.0] };
        }
        let rates = (1..=13).step_by(2).map(f64::from).collect();
        Self { samples: Self::SAMPLES.to_vec(), steps: (1..=6).collect(), rates }
    }

    /// (samples, inner steps, rate) of every place, each once.
    fn places(&self) -> Vec<(usize, usize, f64)> {
        let by_samples = self.samples.iter().map(|&samples| (samples, 1, RATE));
        let by_steps = self.steps.iter().map(|&steps| (Self::FIXED_SAMPLES, steps, RATE));
        let by_rates = self.rates.iter().map(|&rate| (Self::FIXED_SAMPLES, Self::FIXED_STEPS, rate));
        let mut places = Vec::new();
        for place in by_samples.chain(by_steps).chain(by_rates) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
    }

    fn cells(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for (samples, steps, rate) in self.places() {
            for (estimator, _) in ESTIMATORS {
                cells.extend(Permutation::ALL.map(|permutation| Cell { estimator, permutation, samples, steps, rate }));
            }
        }
        cells
    }
}

/// All that was measured, to be asked for by place.
pub struct Results {
    grid: Grid,
    cells: Vec<Measured>,
}

impl Results {
    fn at(&self, estimator: &str, permutation: &str, samples: usize, steps: usize, rate: f64) -> &Measured {
        let permutation: Permutation = permutation.parse().expect("three letters");
        let found = self.cells.iter().find(|measured| {
            let cell = measured.cell;
            (cell.estimator, cell.permutation, cell.samples) == (estimator, permutation, samples)
                && (cell.steps, cell.rate) == (steps, rate)
        });
        found.expect("a place of the grid")
    }
}

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    study::run(|| meta_gradient_bias(&options))
}

fn meta_gradient_bias(options: &Options) -> study::Outcome {
    let StudyOptions { common, check, .. } = &options.study;
    let (mdps, more, repeats) = options.study.size((4, 1, 3), (200, 5, 3), (10, 1, 20));
    let (mdps, more) = (options.mdps.unwrap_or(mdps), options.more.unwrap_or(more));
    let (mdps, repeats) = ([mdps, mdps * more], options.repeats.unwrap_or(repeats));
    let folder = common.folder("meta_gradient_bias")?;
    let grid = Grid::new(common.quick);
    let cells = grid.cells();
    let settings = format!("meta_gradient_bias {:?}", (common.seed, mdps, repeats, &grid));
    let saved = options.study.saved(&folder, &settings)?;
    let mut output = Output::new(folder);
    writeln!(
        output,
        "{} cells on {} processes ({} where N ≤ 16), {repeats} repeats of each; roles are inner gradient, Hessian, outer gradient\n",
        cells.len(),
        mdps[0],
        mdps[1]
    );
    let study = Study { seed: common.seed, mdps, repeats, cells };
    let (cells, time) = study.run(&saved)?;
    let results = Results { grid, cells };
    print(&mut output, &results);
    writeln!(
        output,
        "One estimate of one cell took a thread {:.2} ms (where no others kept it waiting).",
        time.as_secs_f64() * 1e3
    );
    write(&mut output, &results.cells);
    output.file("meta_gradient_bias.svg", picture(&panels(&results))?);
    if *check {
        writeln!(output);
        claims_of_the_paper::claims(&results).judge(&mut output);
        writeln!(output, "{}", claims_of_the_paper::remarks(&results));
    }
    output.finish(Some(saved))
}

/// Correlations by the number of trajectories, with one inner step; and by steps and rates, for two estimators.
fn print(output: &mut Output, results: &Results) {
    let letters = Permutation::ALL.map(|permutation| permutation.to_string());
    let rows = |places: &[(String, (usize, usize, f64))]| -> String {
        let row = |name: &str, place: &str, (samples, steps, rate): (usize, usize, f64)| {
            let cell = |letters: &String| results.at(name, letters, samples, steps, rate).correlation().0;
            let cells: String = letters.iter().map(|letters| format!("{:>7.2}", cell(letters))).collect();
            format!("{name:<9}  {place:>8}{cells}\n")
        };
        ESTIMATORS
            .iter()
            .flat_map(|(name, _)| places.iter().map(move |(place, numbers)| row(name, place, *numbers)))
            .collect()
    };
    let header: String = letters.iter().map(|letters| format!("{letters:>7}")).collect();
    let header = format!("estimator  {:>8}{header}", "");
    let Grid { samples, steps, rates } = &results.grid;
    let (n, k) = (Grid::FIXED_SAMPLES, Grid::FIXED_STEPS);

    let by_samples: Vec<_> = samples.iter().map(|&samples| (format!("N = {samples}"), (samples, 1, RATE))).collect();
    writeln!(output, "Correlation with the exact meta-gradient, by trajectories N (one inner step, rate 10)\n");
    writeln!(output, "{header}\n{}", rows(&by_samples));
    let by_steps: Vec<_> = steps.iter().map(|&steps| (format!("K = {steps}"), (n, steps, RATE))).collect();
    writeln!(output, "by inner steps K (N = 32, rate 10)\n\n{header}\n{}", rows(&by_steps));
    let by_rates: Vec<_> = rates.iter().map(|&rate| (format!("α = {rate}"), (n, k, rate))).collect();
    writeln!(output, "by inner rate α (N = 32, five inner steps)\n\n{header}\n{}", rows(&by_rates));
}

fn write(output: &mut Output, cells: &[Measured]) {
    let row = |measured: &Measured| {
        let (cell, (mean, std)) = (measured.cell, measured.correlation());
        [
            cell.estimator.to_owned(),
            cell.permutation.to_string(),
            cell.samples.to_string(),
            cell.steps.to_string(),
            cell.rate.to_string(),
            mean.to_string(),
            std.to_string(),
            measured.sum_of_std().to_string(),
        ]
    };
    let places = ["estimator", "permutation", "samples", "inner_steps", "inner_lr"];
    let columns = [&places[..], &["correlation_mean", "correlation_std", "sum_of_std"]].concat();
    output.table("correlation.csv", &columns, cells.iter().map(row));
}

fn panels(results: &Results) -> Vec<Vec<Panel>> {
    let panel = |name: &str, x: Axis, places: &[(f64, (usize, usize, f64))]| {
        let line = |permutation: Permutation| {
            let letters = permutation.to_string();
            let at = |&(x, (samples, steps, rate)): &(f64, (usize, usize, f64))| {
                (x, results.at(name, &letters, samples, steps, rate).correlation().0)
            };
            Line::new(&letters, places.iter().map(at))
        };
        let y = Axis::linear("correlation").within(-0.05, 1.02);
        Panel { title: name.to_owned(), x, y, lines: Permutation::ALL.map(line).into() }
    };
    let Grid { samples, steps, rates } = &results.grid;
    let (n, k) = (Grid::FIXED_SAMPLES, Grid::FIXED_STEPS);
    let by_samples: Vec<_> = samples.iter().map(|&samples| (samples as f64, (samples, 1, RATE))).collect();
    let by_steps: Vec<_> = steps.iter().map(|&steps| (steps as f64, (n, steps, RATE))).collect();
    let by_rates: Vec<_> = rates.iter().map(|&rate| (rate, (n, k, rate))).collect();
    let rows = [
        (Axis::logarithmic(format!("trajectories (K = 1, rate {RATE})")), by_samples),
        (Axis::linear(format!("inner steps (N = {n}, rate {RATE})")), by_steps),
        (Axis::linear(format!("inner rate (K = {k}, N = {n})")), by_rates),
    ];
    rows.map(|(x, places)| ESTIMATORS.map(|(name, _)| panel(name, x.clone(), &places)).into()).into()
}
