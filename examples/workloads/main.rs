//! Computes the workloads W1 … W8 on the arrays of a data directory, compares each quantity with the stored one, and times
//! it: CSV on standard output.
//!
//! ```sh
//! cargo run --release --example workloads -- --data tests/golden
//! ```
//!
//! A value and gradient that one program computes are timed together, in the gradient's row. An input that is missing is an
//! error, but for W6's largest vectors, if a data set has nothing of them. The exit code is 1 if an error passes its bound, or
//! anything else went wrong.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use clap::builder::PossibleValuesParser;

mod timing;

use study::options::Precision;
use study::output::{complain, print};
use study::workloads::{Error, Folder, LARGEST, Part, Recorder, Task, WORKLOADS, bound, tabular};
use timing::time;

#[derive(Parser)]
#[command(name = "workloads")]
struct Arguments {
    /// The data directory: W1/in/*.npy, W1/out/*.npy, W2/in …
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Which workloads, separated by commas; all if not given.
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(WORKLOADS.map(|(name, _)| name)))]
    only: Vec<String>,
    /// What to compute in. In single precision inputs are rounded when they are read, and errors are against the stored outputs
    /// of double precision.
    #[arg(long, value_enum, default_value_t)]
    precision: Precision,
    /// Compare only.
    #[arg(long)]
    no_time: bool,
    /// Print the programs instead of running them.
    #[arg(long, conflicts_with = "no_time")]
    print: bool,
    /// With `--only W1`: compute W1's gradient and Hessian-vector product once, print them, and exit.
    #[arg(long, conflicts_with_all = ["no_time", "print"])]
    first: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    study::run(|| match arguments.first {
        true if arguments.only != ["W1"] => Err("--first goes with --only W1".into()),
        true => first(&arguments.data),
        false => compare_all(&arguments),
    })
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// W1's gradient and Hessian-vector product, one line of numbers each.
fn first(data: &Path) -> Result<()> {
    let folder = Folder::open(data, "W1", "in")?;
    let x = Recorder::new(&folder);
    let task = tabular::dice(&x)?.gradient_and_hvp(&x);
    let mut lines = String::new();
    for (name, result) in task.names().iter().zip(task.run()?) {
        let numbers: String = result.iter().map(|entry| format!(",{entry:e}")).collect();
        lines += &format!("{name}{numbers}\n");
    }
    Ok(print(&lines)?)
}

fn compare_all(arguments: &Arguments) -> Result<()> {
    if !arguments.data.is_dir() {
        return Err(format!("{} is not a directory", arguments.data.display()).into());
    }
    if !arguments.print {
        print("tool,workload,quantity,max_rel_error,median_us,min_us\n")?;
    }
    let mut wrong = 0;
    for (workload, parts) in WORKLOADS {
        if arguments.only.is_empty() || arguments.only.iter().any(|name| name == workload) {
            let inputs = Folder::open(&arguments.data, workload, "in")?;
            let outputs = Folder::open(&arguments.data, workload, "out")?;
            for part in parts {
                wrong += compare(workload, part, &inputs, &outputs, arguments)?;
            }
        }
    }
    if wrong > 0 {
        return Err(format!("{wrong} quantities are further from the stored ones than their bounds").into());
    }
    Ok(())
}

/// How many quantities are not within their bounds.
fn compare(workload: &str, part: &Part, inputs: &Folder, outputs: &Folder, arguments: &Arguments) -> Result<usize> {
    let precision = arguments.precision.dtype();
    let left_out = |path: &Path| {
        let largest = LARGEST.iter().any(|name| path.file_stem().is_some_and(|stem| stem == *name));
        largest && LARGEST.iter().all(|name| !inputs.has(name) && !outputs.has(name))
    };
    let tasks = match part(&Recorder::in_precision(inputs, precision)) {
        Err(Error::Absent(path)) if left_out(&path) => {
            complain(&format!("{workload}: skipped what needs {}: the data has nothing of it", path.display()));
            return Ok(0);
        }
        tasks => tasks.map_err(|problem| format!("{workload}: {problem}"))?,
    };
    let mut wrong = 0;
    for task in &tasks {
        if arguments.print {
            print(&format!(
                "# {workload}: {}\n{}# {}\n\n",
                task.names().join(", "),
                task.program,
                task.program.cost()
            ))?;
            continue;
        }
        let errors = task.errors(outputs).map_err(|problem| format!("{workload}: {problem}"))?;
        let last = errors.len() - 1;
        for (i, (quantity, error)) in errors.into_iter().enumerate() {
            let timing = if i == last && task.timed && !arguments.no_time { timing(task)? } else { ",".to_owned() };
            print(&format!("ad,{workload},{quantity},{error:.2e},{timing}\n"))?;
            if error >= bound(workload, quantity, precision) {
                complain(&format!("WRONG {workload} {quantity}: {error:.2e}"));
                wrong += 1;
            }
        }
    }
    Ok(wrong)
}

/// The columns `median_us,min_us`.
fn timing(task: &Task) -> Result<String> {
    let values = task.values();
    let timing = time(|| task.program.run_values(&values).map(|results| drop(black_box(results))))?;
    Ok(format!("{:.2},{:.2}", timing.median, timing.min))
}
