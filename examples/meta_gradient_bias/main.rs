//! Where the error of an estimated meta-gradient comes from: the tabular experiment of Liu et al. 2022 (Fig. 1 a, b and
//! Fig. 4 to 6). Inner gradient, Hessian and outer gradient are each exact (E) or estimated (S), by four estimators.

mod claims_of_the_paper;
#[path = "../common/mod.rs"]
mod common;
mod study;

use std::path::Path;

use clap::Parser;
use rl::meta::Permutation;
use rl::report::lines::{Axis, Line, Panel, picture};

use common::saved::{Saved, StudyOptions};
use common::tables::RATE;
use study::{Cell, ESTIMATORS, Measured, Study};

/// The correlation of estimated meta-gradients with the exact one: which of its parts must be exact, by which estimator.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    study: StudyOptions,
    /// How many random processes to average over. (--paper: 10, on which fewer claims are decided, and 20 estimates.)
    #[arg(long, default_value_t = 200)]
    mdps: usize,
    /// How many times as many where 16 trajectories or fewer are taken, which is cheap.
    #[arg(long, default_value_t = 5)]
    more: usize,
    /// How many independent estimates on each process.
    #[arg(long, default_value_t = 3)]
    repeats: usize,
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
    common::run(|| meta_gradient_bias(options))
}

fn meta_gradient_bias(mut options: Options) -> common::Outcome {
    let StudyOptions { common, check, paper, resume } = &options.study;
    if *paper {
        (options.mdps, options.more, options.repeats) = (10, 1, 20);
    } else if common.quick {
        (options.mdps, options.more, options.repeats) = (options.mdps.min(4), 1, options.repeats.min(3));
    }
    if options.mdps == 0 || options.more == 0 || options.repeats < 2 {
        return Err("--mdps and --more must be at least 1, and --repeats at least 2".into());
    }
    let folder = common.folder("meta_gradient_bias")?;
    let grid = Grid::new(common.quick);
    let cells = grid.cells();
    let mdps = [options.mdps, options.mdps * options.more];
    println!(
        "{} cells on {} processes ({} where N ≤ 16), {} repeats of each; roles are inner gradient, Hessian, outer gradient\n",
        cells.len(),
        mdps[0],
        mdps[1],
        options.repeats
    );
    let study = Study { seed: common.seed, mdps, repeats: options.repeats, cells };
    let settings = format!("meta_gradient_bias {:?}", (common.seed, mdps, options.repeats, &grid));
    let (cells, time) = study.run(&Saved::open(&folder, &settings, *resume)?)?;
    let results = Results { grid, cells };
    print(&results);
    println!(
        "One estimate of one cell took a thread {:.2} ms (where no others kept it waiting).",
        time.as_secs_f64() * 1e3
    );

    write(&folder.join("correlation.csv"), &results.cells)?;
    std::fs::write(folder.join("meta_gradient_bias.svg"), picture(&panels(&results))?)?;
    println!("correlation.csv and meta_gradient_bias.svg are in {}", folder.display());
    if *check {
        println!();
        let judged = claims_of_the_paper::claims(&results).judge();
        println!("{}\n", claims_of_the_paper::remarks(&results));
        judged?;
    }
    Ok(())
}

/// Correlations by the number of trajectories, with one inner step; and by steps and rates, for two estimators.
fn print(results: &Results) {
    let letters = Permutation::ALL.map(|permutation| permutation.to_string());
    let header = |what: &str| {
        println!("{what}\n");
        print!("estimator  {:>8}", "");
        letters.iter().for_each(|letters| print!("{letters:>7}"));
        println!();
    };
    let row = |name: &str, place: String, (samples, steps, rate): (usize, usize, f64)| {
        print!("{name:<9}  {place:>8}");
        for letters in &letters {
            print!("{:>7.2}", results.at(name, letters, samples, steps, rate).correlation().0);
        }
        println!();
    };
    header("Correlation with the exact meta-gradient, by trajectories N (one inner step, rate 10)");
    for (name, _) in ESTIMATORS {
        for &samples in &results.grid.samples {
            row(name, format!("N = {samples}"), (samples, 1, RATE));
        }
    }
    println!();
    header("by inner steps K (N = 32, rate 10)");
    for (name, _) in ESTIMATORS {
        for &steps in &results.grid.steps {
            row(name, format!("K = {steps}"), (Grid::FIXED_SAMPLES, steps, RATE));
        }
    }
    println!();
    header("by inner rate α (N = 32, five inner steps)");
    for (name, _) in ESTIMATORS {
        for &rate in &results.grid.rates {
            row(name, format!("α = {rate}"), (Grid::FIXED_SAMPLES, Grid::FIXED_STEPS, rate));
        }
    }
    println!();
}

fn write(path: &Path, cells: &[Measured]) -> common::Outcome {
    let mut file = csv::Writer::from_path(path)?;
    let columns = ["estimator", "permutation", "samples", "inner_steps", "inner_lr"];
    file.write_record([&columns[..], &["correlation_mean", "correlation_std", "sum_of_std"]].concat())?;
    for measured in cells {
        let (cell, (mean, std)) = (measured.cell, measured.correlation());
        file.write_record([
            cell.estimator.to_owned(),
            cell.permutation.to_string(),
            cell.samples.to_string(),
            cell.steps.to_string(),
            cell.rate.to_string(),
            mean.to_string(),
            std.to_string(),
            measured.sum_of_std().to_string(),
        ])?;
    }
    Ok(file.flush()?)
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
