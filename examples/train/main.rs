//! Trains by any of the algorithms on any of the environments, in a folder that survives whatever ends the run; and evaluates what
//! was learned on fresh tasks.

mod command;
mod curve;
mod evaluate;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ArgMatches;
use rl::files::write_whole;
use study::output::{complain, print, progress};
use train::registry::{self, Entry};
use train::run::checkpoint::Checkpoints;
use train::run::config::Config;
use train::run::{BEST, Before, CURVE, Ended, METRICS, Message, RETURNS, Row, Run, VALIDATION};

/// What a program has in a shell if it is ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// The run ends after the iteration that is under way.
static STOP: AtomicBool = AtomicBool::new(false);

fn main() -> process::ExitCode {
    let matches = command::command().get_matches();
    study::run(|| match matches.subcommand() {
        Some((_, matches)) => evaluate::evaluate(matches),
        None if matches.get_flag("list") => Ok(print(&list())?),
        None => train(&matches),
    })
}

/// Algorithms, environments and presets, each with its paper.
fn list() -> String {
    let mut text = String::new();
    let environments = registry::environments();
    for (what, entries) in
        [("algorithms", registry::ALGORITHMS), ("environments", &*environments), ("presets", registry::PRESETS)]
    {
        let width = entries.iter().map(|entry| entry.name.len()).max().unwrap_or(0);
        let _ = writeln!(text, "{what}");
        for Entry { name, paper, .. } in entries {
            let _ = writeln!(text, "  {name:<width$}  {paper}");
        }
        text.push('\n');
    }
    text
}

fn train(matches: &ArgMatches) -> study::Outcome {
    let out = matches.get_one::<PathBuf>("out").expect("it has a default");
    let before = match (matches.get_flag("resume"), matches.get_flag("fresh")) {
        (true, _) => Before::Resume,
        (_, true) => Before::Delete,
        _ => Before::Ask,
    };
    let resumed = match before {
        Before::Resume => Checkpoints::of(out).read()?.map(|(checkpoint, _)| checkpoint.config.layer()),
        _ => None,
    };
    let preset = matches.get_one::<String>("preset").map(String::as_str);
    let file = matches.get_one::<PathBuf>("config").map(PathBuf::as_path);
    let config = registry::configure(resumed, preset, file, command::given(matches))?;
    let mut learner = registry::learner(&config)?;
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            process::exit(INTERRUPTED);
        }
        complain("\nthe iteration is finished and saved; once more, and the run ends at once");
    })?;

    let table = Table::new(&config, learner.returns());
    let run = Run { config: &config, out, before, stop: &STOP };
    let ended = run.go(&mut *learner, &mut |message| table.show(message));
    table.progress.finish_and_clear();
    let ended = ended?;
    let stopped = finish(&config, &ended)?;
    drop(ended);
    if stopped { process::exit(INTERRUPTED) } else { Ok(()) }
}

/// Draws the learning curve, and says where the files are, and how to go on if there is more to do.
fn finish(config: &Config, ended: &Ended) -> Result<bool, Box<dyn std::error::Error>> {
    let folder = &ended.folder.path;
    let mut names = vec![METRICS, RETURNS];
    if let Some(curve) = curve::learning_curve(config, &folder.join(RETURNS))? {
        write_whole([(folder.join(CURVE), curve)])?;
        names.push(CURVE);
    }
    let mut text = String::new();
    if let Some(best) = ended.best {
        names.extend([VALIDATION, BEST]);
        let _ = writeln!(text, "\nbest on validation tasks: {:.4}, before iteration {}", best.value, best.iteration);
    }
    let names = names.join(", ");
    let _ = writeln!(text, "\n{names}, the configuration, checkpoints and events are in {}", folder.display());
    if let Err(unprinted) = print(&text) {
        complain(&unprinted.to_string());
    }
    if ended.is_stopped {
        let (made, all) = (ended.iterations, config.iterations);
        let go_on = format!("--resume --out {}", shown(folder));
        complain(&format!("stopped after {made} of {all} iterations, and saved; to go on: {go_on}"));
    }
    Ok(ended.is_stopped)
}

/// A path as one types it.
fn shown(path: &Path) -> String {
    let path = path.display().to_string();
    if path.contains(char::is_whitespace) { format!("'{path}'") } else { path }
}

/// What is shown while the run is under way: some rows on standard output, and a bar on standard error.
struct Table {
    progress: indicatif::ProgressBar,
    /// Every so many rows is shown.
    every: u64,
    iterations: u64,
    head: String,
}

impl Table {
    fn new(config: &Config, names: Vec<String>) -> Self {
        let iterations = config.iterations;
        let returns: String = names.iter().map(|name| format!("{name:>12}")).collect();
        let columns =
            format!("{:>9}{:>12}{returns}{:>12}{:>12}{:>9}", "iteration", "env steps", "|gradient|", "kl", "seconds");
        let head = format!("{}\n{columns}\n", config.lines());
        Self {
            progress: progress(iterations as usize, "iterations"),
            every: (iterations / 40).max(1),
            iterations,
            head,
        }
    }

    fn show(&self, message: Message) {
        match message {
            Message::Note(note) => self.progress.suspend(|| complain(&note)),
            Message::Begun(iteration) => {
                self.say(&self.head);
                self.progress.set_position(iteration);
                self.progress.reset_eta();
                if iteration > 0 {
                    self.progress.suspend(|| complain(&format!("the run goes on with iteration {iteration}")));
                }
            }
            Message::Row(row) => {
                self.progress.set_position(row.iteration + 1);
                if row.iteration.is_multiple_of(self.every) || row.iteration + 1 == self.iterations {
                    self.say(&line(&row));
                }
            }
        }
    }

    /// If nobody reads it, the run goes on.
    fn say(&self, text: &str) {
        self.progress.suspend(|| drop(print(text)));
    }
}

fn line(row: &Row) -> String {
    let Row { iteration, env_steps, returns, gradient_norm, kl, seconds, .. } = row;
    let returns: String = returns.iter().map(|x| format!("{x:>12.4}")).collect();
    let total = seconds[3];
    format!("{iteration:>9}{env_steps:>12}{returns}{gradient_norm:>12.3e}{kl:>12.3e}{total:>9.3}\n")
}
