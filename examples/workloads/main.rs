//! Computes the workloads W1 … W8 on the arrays of a data directory, compares each quantity with the stored one, and times
//! it: CSV on standard output.
//!
//! ```sh
//! cargo run --release --example workloads -- --data tests/golden
//! ```
//!
//! A value and gradient that one program computes are timed together, in the gradient's row. What a data directory has no
//! inputs for is skipped. The exit code is 1 if an error passes its bound, or anything else went wrong.

use std::hint::black_box;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

mod suite;
mod timing;

use suite::{Error, Folder, Part, Recorder, Task, WORKLOADS, bound, tabular};
use timing::time;

/// Compute, compare and time the workloads W1 … W8.
#[derive(Parser)]
#[command(name = "workloads")]
struct Arguments {
    /// The data directory: W1/in/*.npy, W1/out/*.npy, W2/in …
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Which workloads, separated by commas; all if not given.
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(WORKLOADS.map(|(name, _)| name)))]
    only: Vec<String>,
    /// Compare only.
    #[arg(long)]
    no_time: bool,
    /// Print the programs instead of running them.
    #[arg(long)]
    print: bool,
    /// With `--only W1`: compute W1's gradient and Hessian-vector product once, print them, and exit.
    #[arg(long)]
    first: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.first && arguments.only != ["W1"] {
        let message = "--first goes with --only W1";
        Arguments::command().error(ErrorKind::ArgumentConflict, message).exit();
    }
    let outcome = if arguments.first { first(&arguments.data) } else { compare_all(&arguments) };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// W1's gradient and Hessian-vector product, one line of numbers each.
fn first(data: &Path) -> Result<bool> {
    let folder = Folder::open(data, "W1", "in")?;
    let x = Recorder::new(&folder);
    let dice = tabular::dice(&x)?;
    let gradient = dice.value.grad(dice.logits);
    let product = dice.value.hvp(dice.logits, dice.direction);
    let task = x.task([("grad", gradient.into()), ("hvp", product.into())]);
    let mut out = io::stdout().lock();
    for (name, result) in task.names().iter().zip(task.run()?) {
        write!(out, "{name}")?;
        result.iter().try_for_each(|entry| write!(out, ",{entry:e}"))?;
        writeln!(out)?;
    }
    Ok(true)
}

/// Whether every quantity is within its bound.
fn compare_all(arguments: &Arguments) -> Result<bool> {
    if !arguments.data.is_dir() {
        return Err(format!("{} is not a directory", arguments.data.display()).into());
    }
    if !arguments.print {
        writeln!(io::stdout(), "tool,workload,quantity,max_rel_error,median_us,min_us")?;
    }
    let mut right = true;
    for (workload, parts) in WORKLOADS {
        if arguments.only.is_empty() || arguments.only.iter().any(|name| name == workload) {
            let inputs = Folder::open(&arguments.data, workload, "in")?;
            let outputs = Folder::open(&arguments.data, workload, "out")?;
            for part in parts {
                right &= compare(workload, part, &inputs, &outputs, arguments)?;
            }
        }
    }
    Ok(right)
}

fn compare(workload: &str, part: &Part, inputs: &Folder, outputs: &Folder, arguments: &Arguments) -> Result<bool> {
    let tasks = match part(&Recorder::new(inputs)) {
        Err(Error::Absent(path)) => {
            eprintln!("{workload}: skipped what needs {}, which does not exist", path.display());
            return Ok(true);
        }
        tasks => tasks.map_err(|problem| format!("{workload}: {problem}"))?,
    };
    let mut right = true;
    for task in &tasks {
        if arguments.print {
            writeln!(
                io::stdout(),
                "# {workload}: {}\n{}# {}\n",
                task.names().join(", "),
                task.program,
                task.program.cost()
            )?;
            continue;
        }
        let errors = task.errors(outputs).map_err(|problem| format!("{workload}: {problem}"))?;
        let last = errors.len() - 1;
        for (i, (quantity, error)) in errors.into_iter().enumerate() {
            let timing = if i == last && task.timed && !arguments.no_time { timing(task)? } else { ",".to_owned() };
            writeln!(io::stdout(), "ad,{workload},{quantity},{error:.2e},{timing}")?;
            if error >= bound(workload, quantity) {
                eprintln!("WRONG {workload} {quantity}: {error:.2e}");
                right = false;
            }
        }
    }
    Ok(right)
}

/// The columns `median_us,min_us`.
fn timing(task: &Task) -> Result<String> {
    let values = task.values();
    let timing = time(|| task.program.run(&values).map(|results| drop(black_box(results))))?;
    Ok(format!("{:.2},{:.2}", timing.median, timing.min))
}
