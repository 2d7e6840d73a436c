//! What may be given on the command line: every key of a configuration, and what concerns the run itself.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use study::options::{List, increasing, whole};
use toml::{Table, Value};
use train::registry;
use train::run::config::{Config, KEYS, Key};

/// The whole command line.
pub fn command() -> Command {
    let defaults = Config::default().table();
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help).action(ArgAction::SetTrue);
    Command::new("train")
        .about("Trains by an algorithm on an environment, and writes all that it does into a folder.")
        .after_help("Of the defaults, those of the algorithm and the environment count before the ones above; upon them a preset, a \
             file, and options, where each later one counts.")
        .args_conflicts_with_subcommands(true)
        .arg(named("preset", "A paper's settings; --list has them all", registry::preset))
        .arg(Arg::new("config").long("config").value_name("FILE.toml").value_parser(value_parser!(PathBuf))
            .help("A file with keys of the configuration, such as the config.toml of another run"))
        .arg(Arg::new("out").long("out").value_name("DIR").value_parser(value_parser!(PathBuf))
            .default_value("results/train").help("The folder that files are written to; one run at a time may do so"))
        .arg(flag("resume", "Go on with the run in the folder, from its last checkpoint"))
        .arg(flag("fresh", "Delete the run in the folder, and begin anew").conflicts_with("resume"))
        .arg(flag("list", "Print algorithms, environments and presets, with their papers"))
        .args(KEYS.iter().map(|key| option(key, &defaults)))
        .subcommand(evaluation())
}

/// The option of a key.
fn option(key: &'static Key, defaults: &Table) -> Arg {
    let name = key.name();
    let help = format!("{} [{}; default: {}]", key.help(), key.words(), defaults[&name]);
    let named = match &*name {
        "algorithm" => named("algorithm", "", registry::algorithm),
        "env" => named("env", "", registry::environment),
        _ => Arg::new(name.clone()).long(name).value_parser(|text: &str| key.parse(text)),
    };
    let named = named.help(help).value_name("VALUE").allow_negative_numbers(true);
    if key.is_switch { named.num_args(0..=1).default_missing_value("true") } else { named }
}

/// An option whose value is a name that can be looked up.
fn named(
    name: &'static str,
    help: &'static str,
    find: fn(&str, &str) -> train::run::Result<&'static registry::Entry>,
) -> Arg {
    let known = move |text: &str| match find("", text) {
        Ok(_) => Ok(text.to_owned()),
        // The place where it stands is told anyway.
        Err(error) => Err(format!("{} (--list has them all)", error.to_string().trim_start_matches(": "))),
    };
    Arg::new(name).long(name).help(help).value_parser(known)
}

/// The keys that were given, with their values.
pub fn given(matches: &ArgMatches) -> Table {
    let mut table = Table::new();
    for name in KEYS.iter().map(Key::name) {
        if matches.value_source(&name) != Some(ValueSource::CommandLine) {
            continue;
        }
        let value = match &*name {
            "algorithm" | "env" => matches.get_one::<String>(&name).cloned().map(Value::String),
            _ => matches.get_one::<Value>(&name).cloned(),
        };
        table.extend(value.map(|value| (name, value)));
    }
    table
}

fn evaluation() -> Command {
    let seeds = increasing(|text| text.parse::<u64>().map_err(|_| "must be a whole number from 0".to_owned()));
    Command::new("evaluate")
        .about("Measures the returns of a checkpoint's parameters on fresh tasks, after 0, 1, … inner steps.")
        .arg(
            Arg::new("checkpoint")
                .long("checkpoint")
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("Such as results/train/best.safetensors"),
        )
        .arg(
            Arg::new("tasks")
                .long("tasks")
                .value_parser(whole(2..=100_000))
                .default_value("40")
                .help("The number of tasks of each seed"),
        )
        .arg(
            Arg::new("steps")
                .long("steps")
                .value_parser(whole(0..=100))
                .help("The number of inner steps [default: as many as were trained with]"),
        )
        .arg(
            Arg::new("seeds")
                .long("seeds")
                .value_parser(seeds)
                .default_value("0")
                .help("Numbers that the tasks are functions of, separated by commas"),
        )
}

/// The seeds of an evaluation.
pub fn seeds(matches: &ArgMatches) -> &[u64] {
    let List(seeds) = matches.get_one::<List<u64>>("seeds").expect("it has a default");
    seeds
}
