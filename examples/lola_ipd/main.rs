//! LOLA-DiCE in the iterated prisoner's dilemma: Liu et al. 2022, figures 2 (a, b, d) and 8, and by the number of lookaheads.
//! Settings are those of their table 3; what they state nowhere (the baseline, which action is which) is as in the code that they
//! adapted.

mod claims_of_the_paper;
mod figure;

use clap::Parser;
use study::lines::picture;
use study::lola_ipd::experiment::{CORRELATED, ESTIMATES, Group, Measured, Study, inner_name, outer_name};
use study::options::{StudyOptions, whole};
use study::output::{Output, progress};
use study::statistics::{mean_in_words, minus, told_from_zero};

/// What two players learn who differentiate through each other's next steps, by how well they know them; and the correlation
/// of their meta-gradients with the exact ones.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    study: StudyOptions,
    /// How many pairs of players learn, by batches [default: 48; --quick: 3; --paper: 10].
    #[arg(long, value_parser = whole(1..=100_000))]
    seeds: Option<usize>,
    /// How many do by large inner batches, whose few bad ends make a mean uncertain [default: 240; --quick: 3; --paper: 10].
    #[arg(long, value_parser = whole(1..=100_000))]
    large_seeds: Option<usize>,
    /// How many of them (at most all) learn by ablations and other numbers of lookaheads, too [default: 10; --quick: 3].
    #[arg(long, value_parser = whole(1..=100_000))]
    ablations: Option<usize>,
    /// For how many updates they do [default: 500, as the paper; --quick: 40].
    #[arg(long, value_parser = whole(1..=100_000))]
    updates: Option<usize>,
    /// The number of games for a gradient [default: 128; --quick: 16].
    #[arg(long, value_parser = whole(1..=100_000))]
    batch: Option<usize>,
    /// The larger number of games [default: 1024; --quick: 64].
    #[arg(long, value_parser = whole(2..=100_000))]
    large_batch: Option<usize>,
}

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    study::run(|| lola_ipd(&options))
}

/// What was measured, by name.
struct Results {
    study: Study,
    measured: Vec<Measured>,
}

impl Results {
    fn named(&self, name: &str) -> &Measured {
        self.measured.iter().find(|one| one.variant.name == name).expect("a variant's name")
    }

    /// The variant with these batches, inner and outer: 0 the smaller, 1 the larger, 2 exact.
    fn batches(&self, inner: usize, outer: usize) -> &Measured {
        &self.measured[3 * outer + inner]
    }

    fn plain(&self) -> &Measured {
        &self.measured[0]
    }

    fn pearson(of: &Measured) -> Vec<f64> {
        of.correlation(|one| &one.pearson)
    }

    fn cosine(of: &Measured) -> Vec<f64> {
        of.correlation(|one| &one.cosine)
    }
}

fn lola_ipd(options: &Options) -> study::Outcome {
    let StudyOptions { common, check, .. } = &options.study;
    let (seeds, large_seeds, ablations, updates, small, large) =
        options.study.size((3, 3, 3, 40, 16, 64), (48, 240, 10, 500, 128, 1024), (10, 10, 10, 500, 128, 1024));
    let study = Study {
        seed: common.seed,
        seeds: options.seeds.unwrap_or(seeds),
        large_seeds: options.large_seeds.unwrap_or(large_seeds),
        ablations: options.ablations.unwrap_or(ablations),
        updates: options.updates.unwrap_or(updates),
        batches: [options.batch.unwrap_or(small), options.large_batch.unwrap_or(large)],
        horizon: 100,
    };
    if study.batches[1] <= study.batches[0] {
        let [small, large] = study.batches;
        return Err(format!("--large-batch is {large}, but must be more than --batch, {small}").into());
    }
    let folder = common.folder("lola_ipd")?;
    let saved = options.study.saved(&folder, &format!("lola_ipd {study:?}"))?;
    let progress = progress(study.parts(), "parts");
    let measured = study.run(&saved, &progress)?;
    progress.finish_and_clear();

    let results = Results { study, measured };
    let mut output = Output::new(folder);
    print(&mut output, &results);
    print_differences(&mut output, &results);
    write(&mut output, &results);
    output.file("lola_ipd.svg", picture(&figure::rows(&results))?);
    if *check {
        writeln!(output);
        claims_of_the_paper::claims(&results).judge(&mut output);
    }
    output.finish(Some(saved))
}

fn print(output: &mut Output, results: &Results) {
    let Study { seeds, large_seeds, ablations, updates, horizon, batches: [small, large], .. } = results.study;
    let points = results.study.points().len();
    writeln!(
        output,
        "Iterated prisoner's dilemma, {seeds} pairs of players ({large_seeds} by inner batches of {large} in the first lines, below those\n\
         {}), {updates} updates, games of {horizon} steps. Means over pairs with 95 % intervals: of what both earn in a step at the end\n\
         (the last 20 updates; −2: both defect, −1: both cooperate), and of the correlation of the meta-gradient with the exact\n\
         one, on the way of {} plain pairs (inner and outer batch {small}) at {points} places, {ESTIMATES} estimates at each (off policy: one).\n\
         \"comp\" is what moves the other player, \"hess\" what that step's derivative is from. Off policy: the last {large} games.\n",
        ablations.min(seeds),
        seeds.min(CORRELATED)
    );
    writeln!(output, "{:<26}{:>16}{:>16}{:>16}", "", "return", "Pearson", "cosine");
    let mut last = None;
    for one in &results.measured {
        if last.replace(one.variant.group).is_some_and(|group| group != one.variant.group) {
            writeln!(output);
        }
        let ends = if one.variant.pairs > 0 { mean_in_words(&one.ends()) } else { String::new() };
        let correlations = [Results::pearson(one), Results::cosine(one)].map(|numbers| mean_in_words(&numbers));
        writeln!(output, "{:<26}{ends:>16}{:>16}{:>16}", one.variant.name, correlations[0], correlations[1]);
    }
}

/// Of how few pairs no difference of ablations is believed.
const FEW: usize = 10;

/// A difference, and whether it is above or below 0, if the interval excludes 0 and there are enough pairs of players.
fn told_apart(differences: &[f64]) -> (String, &'static str) {
    let word = if differences.len() < FEW { "unclear" } else { told_from_zero(differences) };
    (mean_in_words(differences), word)
}

fn print_differences(output: &mut Output, results: &Results) {
    writeln!(
        output,
        "\nDifferences of ablations on the same pairs, with 95 % intervals: above or below only where that excludes 0 (and not\n\
         of fewer than {FEW} pairs)\n"
    );
    writeln!(output, "{:<44}{:>24}{:>24}{:>24}", "", "return", "Pearson", "cosine");
    let mut line = |one: &Measured, other: &Measured| {
        write!(output, "{:<44}", format!("{} − {}", one.variant.name, other.variant.name));
        for of in [Measured::ends, Results::pearson, Results::cosine] {
            let (number, word) = told_apart(&minus(&of(one), &of(other)));
            write!(output, "{:>24}", format!("{number} {word:<7}"));
        }
        writeln!(output);
    };
    for one in &results.measured {
        if one.variant.pairs > 0 && one.variant.group != Group::Batches {
            line(one, results.plain());
        }
    }
    let [small, large] = results.study.batches;
    for better in ["exact".to_owned(), large.to_string()] {
        let [comp, hess] = [format!("comp {better}, hess {small}"), format!("comp {small}, hess {better}")];
        line(results.named(&hess), results.named(&comp));
    }
    line(results.named("comp on, hess off"), results.named("comp off, hess on"));
}

fn write(output: &mut Output, results: &Results) {
    let (mut returns, mut correlations) = (Vec::new(), Vec::new());
    let points = results.study.points();
    for Measured { variant, returns: of_seeds, correlations: at } in &results.measured {
        let settings = &variant.settings;
        let names = [
            variant.name.clone(),
            inner_name(settings.inner),
            outer_name(settings.outer),
            settings.lookaheads.to_string(),
        ];
        for (seed, of_updates) in of_seeds.iter().enumerate() {
            for (update, earned) in of_updates.iter().enumerate() {
                let rest = [seed.to_string(), update.to_string(), earned.to_string()];
                returns.push(names.clone().into_iter().chain(rest));
            }
        }
        for (seed, of_points) in at.iter().enumerate() {
            for (i, update) in points.iter().enumerate() {
                let numbers = [of_points.pearson[i], of_points.cosine[i]].map(|x| x.to_string());
                let rest = [seed.to_string(), update.to_string()].into_iter().chain(numbers);
                correlations.push(names.clone().into_iter().chain(rest));
            }
        }
    }
    let columns = ["variant", "inner_batch", "outer_batch", "lookaheads", "seed", "update"];
    output.table("returns.csv", &[&columns[..], &["return"]].concat(), returns);
    output.table("correlation.csv", &[&columns[..], &["pearson", "cosine"]].concat(), correlations);
}
