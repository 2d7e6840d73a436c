//! The papers' theorems beside what they bound, over random problems drawn from a seed: each corrected statement with how often
//! it holds and how tight it is, and for each printed one that is false a counterexample.

use clap::Parser;
use study::bounds::counterexamples::{Counterexample, counterexamples};
use study::bounds::{Row, Summary, control, measure, summaries};
use study::lines::picture;
use study::options::{Common, whole};
use study::output::Output;

/// Bounds and exact splits of biases, variances and residuals, evaluated beside what they are about.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// How many random problems [default: 100; --quick: 6].
    #[arg(long, value_parser = whole(1..=100_000))]
    problems: Option<usize>,
    /// Exit with 1 unless every corrected statement holds on every problem, and every counterexample violates what is printed.
    #[arg(long)]
    check: bool,
}

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    study::run(|| run(&options))
}

fn run(options: &Options) -> study::Outcome {
    let problems = options.problems.unwrap_or(if options.common.quick { 6 } else { 100 });
    let seed = options.common.seed;
    let mut output = Output::new(options.common.folder("bounds")?);
    let rows = measure(seed, problems)?;
    let (summaries, counterexamples) = (summaries(&rows), counterexamples()?);

    let count = summaries.len();
    writeln!(
        output,
        "{count} statements on {problems} random problems of seed {seed}. Of a bound the tightest measured/bound, of an equality (=)"
    );
    writeln!(output, "the largest difference as a part of what is compared; papers by the numbers of the README:\n");
    print(&mut output, &summaries);
    writeln!(output, "\nPrinted, and false:\n");
    for example in &counterexamples {
        let Counterexample { paper, words, problem, measured, printed, .. } = example;
        writeln!(output, "{paper}: {words}\n    {problem}: printed {printed:.4}, measured {measured:.4}");
    }

    let shares = control::shares()?;
    let at = |pairs: &[(f64, f64)], x: f64| pairs.iter().find(|pair| pair.0 == x).map_or(f64::NAN, |pair| pair.1);
    let around: Vec<String> = shares.control.iter().map(|(apart, share)| format!("{share:.1e} at {apart:+}")).collect();
    writeln!(
        output,
        "\nWhat LVC leaves out of a Hessian, as a part of it, in control by the distance to the best gain: {}.",
        around.join(", ")
    );
    let [right, wrong] = &shares.tables;
    writeln!(
        output,
        "In a table it falls where a policy is certain, of what is right ({:.1e} at logits ±5) and of what is wrong ({:.1e}).",
        at(right, 5.0),
        at(wrong, 5.0)
    );
    write(&mut output, &rows, &summaries, &counterexamples);
    output.file("bounds.svg", picture(&[control::panels(&shares)])?);
    if options.check {
        check(&mut output, &rows, &summaries, &counterexamples);
    }
    output.finish(None)
}

fn print(output: &mut Output, summaries: &[Summary]) {
    let name = summaries.iter().map(|summary| summary.statement.name.len()).max().unwrap_or(0);
    let paper = summaries.iter().map(|summary| summary.statement.paper.chars().count()).max().unwrap_or(0);
    writeln!(output, "{:<name$}  {:<paper$}        holds  tightest", "statement", "paper");
    for Summary { statement, rows, holds, tightest } in summaries {
        let tightest = if statement.is_equality { format!("= {tightest:.0e}") } else { format!("{tightest:.3}") };
        let holds = format!("{holds} of {rows}");
        writeln!(output, "{:<name$}  {:<paper$} {holds:>12}  {tightest}", statement.name, statement.paper);
    }
}

fn write(output: &mut Output, rows: &[Row], summaries: &[Summary], counterexamples: &[Counterexample]) {
    let paper = |name: &str| {
        let found = summaries.iter().find(|summary| summary.statement.name == name);
        found.map_or(String::new(), |summary| summary.statement.paper.to_owned())
    };
    let word = |holds: Option<bool>| holds.map_or(String::new(), |holds| holds.to_string());
    let measured = rows.iter().map(|row| {
        let (measured, bound) = (format!("{:e}", row.measured), format!("{:e}", row.bound));
        let holds = row.holds().to_string();
        let printed = word(row.printed_form_holds);
        [row.statement.to_owned(), paper(row.statement), row.problem.clone(), measured, bound, holds, printed]
    });
    // (Of these the bound is the one that is printed, and what holds the corrected one.)
    let false_ones = counterexamples.iter().map(|example| {
        let corrected = word(example.corrected.map(|bound| example.measured <= bound));
        let printed = (!example.stands()).to_string();
        let [name, paper, problem] = [example.name, example.paper, example.problem].map(str::to_owned);
        [name, paper, problem, format!("{:e}", example.measured), format!("{:e}", example.printed), corrected, printed]
    });
    let columns = ["statement", "paper", "problem", "measured", "bound", "holds", "printed_form_holds"];
    output.table("bounds.csv", &columns, measured.chain(false_ones));
}

fn check(output: &mut Output, rows: &[Row], summaries: &[Summary], counterexamples: &[Counterexample]) {
    writeln!(output);
    for row in rows.iter().filter(|row| !row.holds()) {
        writeln!(output, "FAILS {} on {}: {:e}, not at most {:e}", row.statement, row.problem, row.measured, row.bound);
    }
    for example in counterexamples.iter().filter(|example| !example.stands()) {
        writeln!(output, "NO COUNTEREXAMPLE {}: {example:?}", example.name);
    }
    let broken = summaries.iter().filter(|summary| !summary.all_hold()).count();
    let gone = counterexamples.iter().filter(|example| !example.stands()).count();
    if broken + gone > 0 {
        output.fail(format!(
            "{broken} of {} statements fail, and {gone} of {} counterexamples",
            summaries.len(),
            counterexamples.len()
        ));
    } else {
        writeln!(
            output,
            "holds: {} statements on {} problems each or more, and {} printed ones are violated",
            summaries.len(),
            summaries.iter().map(|summary| summary.rows).min().unwrap_or(0),
            counterexamples.len()
        );
    }
}
