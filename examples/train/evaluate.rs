//! The protocol of the papers' tables: mean returns on fresh tasks, after each number of inner steps, with 95 % intervals over
//! tasks. No run has validated on these tasks.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::ArgMatches;
use rl::report::Interval;
use study::output::{complain, print};
use train::registry;
use train::run::checkpoint::Checkpoint;
use train::run::evaluation_seed;

use crate::command;

pub fn evaluate(matches: &ArgMatches) -> study::Outcome {
    let path = matches.get_one::<PathBuf>("checkpoint").expect("it is required");
    let checkpoint = Checkpoint::read(path)?;
    let mut learner = registry::learner(&checkpoint.config)?;
    let differences = checkpoint.other_versions(&learner.versions());
    if !differences.is_empty() {
        complain(&format!("what it was trained with has other versions here: {}", differences.join(", ")));
    }
    let Checkpoint { iteration, config, state, .. } = checkpoint;
    learner.restore(state)?;
    let tasks = *matches.get_one::<usize>("tasks").expect("it has a default");
    let steps = matches.get_one::<usize>("steps").copied().unwrap_or(config.inner_steps);
    let seeds = command::seeds(matches);

    let mut returns = vec![Vec::new(); steps + 1];
    for &seed in seeds {
        let of_seed = learner.evaluate(tasks, steps, evaluation_seed(seed))?;
        returns.iter_mut().zip(of_seed).for_each(|(all, of_seed)| all.extend(of_seed));
    }
    let mut text = format!(
        "{} on {}, parameters before iteration {iteration}: mean return on {} fresh tasks ({tasks} of each seed), with 95 % \
         intervals over tasks\n\n{:>5}{:>12}{:>12}{:>12}\n",
        config.algorithm,
        config.env,
        tasks * seeds.len(),
        "steps",
        "mean",
        "from",
        "to"
    );
    for (step, returns) in returns.iter().enumerate() {
        let Interval { value, low, high } = Interval::of_mean(returns);
        if !value.is_finite() {
            return Err(format!("the mean return after {step} steps is {value}").into());
        }
        let _ = writeln!(text, "{step:>5}{value:>12.4}{low:>12.4}{high:>12.4}");
    }
    Ok(print(&text)?)
}
