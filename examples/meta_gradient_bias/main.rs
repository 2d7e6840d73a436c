//! Where the error of an estimated meta-gradient comes from: the tabular experiment of Liu et al. 2022 (Fig. 1 a, b and
//! Fig. 4 to 6). Inner gradient, Hessian and outer gradient are each exact (E) or estimated (S), by four estimators.

#[path = "../common/claims.rs"]
#[allow(dead_code, reason = "other examples use more of it")]
mod claims;
mod claims_of_the_paper;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/lines.rs"]
mod lines;
mod study;
#[path = "../common/tables.rs"]
mod tables;

use std::path::Path;

use clap::Parser;
use rl::meta::Permutation;

use study::{Cell, ESTIMATORS, Measured, Study};
use tables::RATE;

/// The correlation of estimated meta-gradients with the exact one: which of its parts must be exact, by which estimator.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: common::Common,
    /// Judge the claims of the paper; fails unless all hold.
    #[arg(long)]
    check: bool,
    /// The paper's size, 10 processes and 20 repeats on each: fewer processes, on which fewer claims are decided.
    #[arg(long)]
    paper: bool,
    /// How many random processes to average over.
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
    if options.paper {
        (options.mdps, options.more, options.repeats) = (10, 1, 20);
    } else if options.common.quick {
        (options.mdps, options.more, options.repeats) = (options.mdps.min(4), 1, options.repeats.min(3));
    }
    if options.mdps == 0 || options.more == 0 || options.repeats < 2 {
        return Err("--mdps and --more must be at least 1, and --repeats at least 2".into());
    }
    let folder = options.common.folder("meta_gradient_bias")?;
    let grid = Grid::new(options.common.quick && !options.paper);
    let cells = grid.cells();
    let mdps = [options.mdps, options.mdps * options.more];
    println!(
        "{} cells on {} processes ({} where N ≤ 16), {} repeats of each; roles are inner gradient, Hessian, outer gradient\n",
        cells.len(),
        mdps[0],
        mdps[1],
        options.repeats
    );
    let study = Study { seed: options.common.seed, mdps, repeats: options.repeats, cells };
    let (cells, time) = study.run()?;
    let results = Results { grid, cells };
    print(&results);
    println!("One estimate of one cell takes {:.2} ms of one thread on average.", time.as_secs_f64() * 1e3);

    write(&folder.join("correlation.csv"), &results.cells)?;
    lines::draw(&folder.join("meta_gradient_bias.svg"), &panels(&results))?;
    println!("correlation.csv and meta_gradient_bias.svg are in {}", folder.display());
    if options.check {
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

fn panels(results: &Results) -> Vec<Vec<lines::Panel>> {
    let panel = |name: &str, axis: &str, places: Vec<(String, (usize, usize, f64))>| {
        let series = Permutation::ALL.map(|permutation| {
            let letters = permutation.to_string();
            let at = |&(_, (samples, steps, rate)): &(String, (usize, usize, f64))| {
                results.at(name, &letters, samples, steps, rate).correlation().0
            };
            let correlations = places.iter().map(at).collect();
            (letters, correlations)
        });
        let marks = places.iter().map(|(mark, _)| mark.clone()).collect();
        lines::Panel { title: name.to_owned(), axis: axis.to_owned(), marks, series: series.into() }
    };
    let grid = &results.grid;
    let by_samples = |name| {
        let places = grid.samples.iter().map(|&samples| (samples.to_string(), (samples, 1, RATE))).collect();
        panel(name, "trajectories (K = 1, rate 10)", places)
    };
    let by_steps = |name| {
        let place = |&steps: &usize| (steps.to_string(), (Grid::FIXED_SAMPLES, steps, RATE));
        panel(name, "inner steps (N = 32, rate 10)", grid.steps.iter().map(place).collect())
    };
    let by_rates = |name| {
        let place = |&rate: &f64| (rate.to_string(), (Grid::FIXED_SAMPLES, Grid::FIXED_STEPS, rate));
        panel(name, "inner rate (K = 5, N = 32)", grid.rates.iter().map(place).collect())
    };
    let names = ESTIMATORS.map(|(name, _)| name);
    vec![names.map(by_samples).into(), names.map(by_steps).into(), names.map(by_rates).into()]
}
