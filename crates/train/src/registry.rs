//! What can be asked for by name: algorithms, environments, presets, each with its paper; and what is made of it.
//!
//! An algorithm is a line of [`ALGORITHMS`] and one of [`learner`], an environment a line of [`ENVIRONMENTS`], a preset a file in
//! `presets/` and its name in [`PRESETS`].

use std::path::Path;

use toml::Table;

use crate::bandit::ExactBandit;
use crate::learner::Learner;
use crate::run::config::{Config, Layer};
use crate::run::{Error, Result};

/// Something with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Where it comes from, and what it is.
    pub paper: &'static str,
    /// What is special in its configuration, as TOML.
    pub defaults: &'static str,
}

/// The algorithms.
pub const ALGORITHMS: &[Entry] = &[Entry {
    name: "bandit-exact",
    paper: "gradient ascent on the exact value of bandits: to try out a run",
    defaults: "outer-rate = 0.1\n",
}];

/// The environments.
pub const ENVIRONMENTS: &[Entry] = &[Entry {
    name: "bandit",
    paper: "Duan et al. 2016, section 3.1: 5 arms, each pays 1 with its own probability, uniform in [0, 1]",
    defaults: "horizon = 1\n",
}];

/// A preset of this name is the file of this name, whose first line is a comment that says what it is.
macro_rules! presets {
    ($($name:literal),+ $(,)?) => {
        /// The presets, each with its whole text as defaults.
        pub const PRESETS: &[Entry] = &[$({
            let text = include_str!(concat!("../presets/", $name, ".toml"));
            Entry { name: $name, paper: first_comment(text), defaults: text }
        }),+];
    };
}

presets!(
    "promp-corner",
    "promp-momentum",
    "exploration-lvc-trpo",
    "exploration-maml-trpo",
    "exploration-emaml-trpo",
    "taypo-promp",
    "sgmrl-navigation",
    "maml-navigation",
    "lsf-navigation",
    "lola-ipd",
    "ppo-cartpole",
);

/// The first line, without its `# `.
const fn first_comment(text: &str) -> &str {
    let (bytes, mut end) = (text.as_bytes(), 0);
    while bytes[end] != b'\n' {
        end += 1;
    }
    text.split_at(end).0.split_at(2).1
}

impl Entry {
    fn layer(&self, what: &str) -> Result<Layer> {
        Layer::parse(&format!("the {what} {}", self.name), self.defaults)
    }
}

/// The entry of this name.
fn find(entries: &'static [Entry], what: &'static str, place: &str, name: &str) -> Result<&'static Entry> {
    Error::unless_known(place, what, name, entries.iter().map(|entry| entry.name.to_owned()))?;
    Ok(entries.iter().find(|entry| entry.name == name).expect("just found"))
}

/// The algorithm of this name.
///
/// # Errors
///
/// [`Error::Unknown`], with the nearest name.
pub fn algorithm(place: &str, name: &str) -> Result<&'static Entry> {
    find(ALGORITHMS, "algorithm", place, name)
}

/// The environment of this name.
///
/// # Errors
///
/// [`Error::Unknown`], with the nearest name.
pub fn environment(place: &str, name: &str) -> Result<&'static Entry> {
    find(ENVIRONMENTS, "environment", place, name)
}

/// The preset of this name.
///
/// # Errors
///
/// [`Error::Unknown`], with the nearest name.
pub fn preset(place: &str, name: &str) -> Result<&'static Entry> {
    find(PRESETS, "preset", place, name)
}

/// The configuration that is asked for: built-in defaults, upon them those of the algorithm and the environment, the run that is
/// resumed, the preset, the file, and options, where each later one counts.
///
/// # Errors
///
/// [`Error::Unknown`] and [`Error::Value`] with the place where it stands; those of [`Layer::read`].
pub fn configure(resumed: Option<Layer>, name: Option<&str>, file: Option<&Path>, options: Table) -> Result<Config> {
    let mut layers: Vec<Layer> = resumed.into_iter().collect();
    if let Some(name) = name {
        layers.push(preset("--preset", name)?.layer("preset")?);
    }
    if let Some(path) = file {
        layers.push(Layer::read(path)?);
    }
    layers.push(Layer::new("the options", options)?);
    let Config { algorithm: by, env, .. } = Config::merged(&layers);
    let place = "the configuration";
    let defaults = [algorithm(place, &by)?.layer("algorithm")?, environment(place, &env)?.layer("environment")?];
    Ok(Config::merged(defaults.iter().chain(&layers)))
}

/// The learner that a configuration is of.
///
/// # Errors
///
/// [`Error::Unknown`] for an algorithm or an environment that there is not, and what the algorithm refuses.
pub fn learner(config: &Config) -> Result<Box<dyn Learner>> {
    let place = "the configuration";
    environment(place, &config.env)?;
    match algorithm(place, &config.algorithm)?.name {
        "bandit-exact" => Ok(Box::new(ExactBandit::new(config))),
        name => unreachable!("`{name}` is listed and has no learner"),
    }
}
