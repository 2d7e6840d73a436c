//! What can be asked for by name: algorithms, environments, presets, each with its paper; and what is made of it.
//!
//! An algorithm is a line of [`ALGORITHMS`], an environment a line of [`ENVIRONMENTS`], a preset a file in `presets/` and its name in
//! `presets!`.

use std::path::Path;

use ad::DType;
use rand_chacha::ChaCha8Rng;
use rl::batch::Form;
use rl::env::{
    Bandit, CartPole, Corner, IteratedGame, Line, LinearQuadratic, Momentum, Navigation, Tasks, Walk, Walls,
};
use rl::optim::Rule;
use rl::policy::{Activation, Network, Policy, Table as TablePolicy};
use rl::rollout::Space;
use rl::stream::{seed_of, stream};
use sim::benchmarks::BENCHMARKS;
use toml::Table;

use crate::algorithm::{Algorithm, Emaml, Factor, InnerObjective, Maml, PolicyGradient, Ppo, Promp, Sgmrl};
use crate::baseline::{Baseline, Features, Linear, ValueNetwork};
use crate::learner::Learner;
use crate::lola::{self, Lola};
use crate::meta_learner::{MetaLearner, Outer, Price, Settings};
use crate::outer::TrustRegion;
use crate::run::config::{self, Config, Layer};
use crate::run::{Error, Result};
use crate::trajectories::Shape;
use crate::workers::Threads;

/// Something with a name.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Where it comes from, and what it is.
    pub paper: &'static str,
    /// What is special in its configuration, as TOML.
    pub defaults: &'static str,
    /// What is made of it.
    make: Make,
}

/// What is made of a name.
#[derive(Clone, Copy, Debug)]
enum Make {
    /// An algorithm of a [`MetaLearner`].
    Meta(fn(&Config) -> Box<dyn Algorithm>),
    /// [`Lola`].
    Players,
    /// A distribution over tasks of one player.
    Tasks(fn() -> Box<dyn Tasks>),
    /// An environment of Gymnasium, whose id is in the name.
    Gym,
    /// A benchmark of MuJoCo.
    Locomotion,
    /// A game of two.
    Game(fn() -> IteratedGame),
    /// A configuration.
    Preset,
}

const fn entry(name: &'static str, paper: &'static str, defaults: &'static str, make: Make) -> Entry {
    Entry { name, paper, defaults, make }
}

/// One outer step with what was sampled, by Adam.
const VPG: &str = "outer-steps = 1\nkl-price = 0.0\n";
/// One within a region of trust.
const TRPO: &str = "outer = \"trpo\"\nouter-steps = 1\nkl-price = 0.0\n";
/// The same with another inner objective than the log-likelihood.
const TRPO_LVC: &str = "outer = \"trpo\"\nouter-steps = 1\nkl-price = 0.0\ninner = \"lvc\"\n";
const TRPO_DICE: &str = "outer = \"trpo\"\nouter-steps = 1\nkl-price = 0.0\ninner = \"dice\"\n";
const VPG_DICE: &str = "outer-steps = 1\nkl-price = 0.0\ninner = \"dice\"\n";

/// The algorithms.
pub const ALGORITHMS: &[Entry] = &[
    entry(
        "promp",
        "ProMP: LVC inside, clipped ratio and a price on divergence outside (Rothfuss et al. 2019)",
        "inner = \"lvc\"\n",
        Make::Meta(promp),
    ),
    entry(
        "promp-taypo2",
        "ProMP with TayPO-2 inside (Tang et al. 2021, section 5.2)",
        "inner = \"taypo2\"\n",
        Make::Meta(promp),
    ),
    entry("maml", "MAML, one outer step of Adam (Finn et al. 2017)", VPG, Make::Meta(maml)),
    entry("fo-maml", "first-order MAML (Finn et al. 2017)", VPG, Make::Meta(first_order)),
    entry(
        "lvc-vpg",
        "LVC inside, policy gradient outside (Rothfuss et al. 2019)",
        "outer-steps = 1\nkl-price = 0.0\ninner = \"lvc\"\n",
        Make::Meta(maml),
    ),
    entry("emaml", "E-MAML by its formula, scores times 1/N (Stadie et al. 2018)", VPG, Make::Meta(emaml)),
    entry(
        "emaml-vpg",
        "E-MAML as released with ProMP, scores times 1/(N H), policy gradient outside",
        VPG,
        Make::Meta(emaml_released),
    ),
    entry("trpo-maml", "MAML with TRPO outside (Finn et al. 2017)", TRPO, Make::Meta(maml)),
    entry("trpo-fmaml", "first-order MAML with TRPO outside", TRPO, Make::Meta(first_order)),
    entry("trpo-dice", "DiCE inside (Foerster et al. 2018), TRPO outside", TRPO_DICE, Make::Meta(maml)),
    entry("trpo-emaml", "E-MAML as released with ProMP, TRPO outside", TRPO, Make::Meta(emaml_released)),
    entry("lvc-trpo", "LVC inside, TRPO outside (Rothfuss et al. 2019)", TRPO_LVC, Make::Meta(maml)),
    entry(
        "tmaml",
        "Taming MAML: DiCE with a control variate inside, TRPO outside (Liu, Socher & Xiong 2019)",
        TRPO,
        Make::Meta(tmaml),
    ),
    entry("sgmrl", "SG-MRL: MAML and the scores of the inner data (Fallah et al. 2021)", VPG, Make::Meta(sgmrl)),
    entry(
        "sgmrl-first-order",
        "SG-MRL without the derivative of inner steps, as its tables were made",
        VPG,
        Make::Meta(sgmrl_first_order),
    ),
    entry(
        "sf",
        "the score-function estimate: E-MAML without 1/N, equal to SG-MRL (Tang 2022, Algorithm 1)",
        VPG,
        Make::Meta(sgmrl),
    ),
    entry(
        "lsf",
        "the linearised score-function estimate: DiCE inside (Tang 2022, Algorithm 1)",
        VPG_DICE,
        Make::Meta(maml),
    ),
    entry(
        "pg",
        "the plain policy gradient, without adaptation (Williams 1992)",
        "inner-steps = 0\nouter-steps = 1\nkl-price = 0.0\n",
        Make::Meta(policy_gradient),
    ),
    entry(
        "trpo",
        "TRPO, without adaptation (Schulman et al. 2015)",
        "inner-steps = 0\nouter-steps = 1\nkl-price = 0.0\nouter = \"trpo\"\n",
        Make::Meta(policy_gradient),
    ),
    entry(
        "ppo",
        "PPO, without adaptation (Schulman et al. 2017)",
        "inner-steps = 0\nclip = 0.2\nkl-price = 0.0\n",
        Make::Meta(ppo),
    ),
    entry(
        "lola-dice",
        "LOLA-DiCE: two players who differentiate through each other's next steps (Foerster et al. 2018)",
        PLAYERS,
        Make::Players,
    ),
    entry("naive", "two players, each by its own policy gradient", NAIVE, Make::Players),
    entry("exact-lola", "LOLA by exact values", EXACT, Make::Players),
];

/// As Liu et al. 2022, table 3.
const PLAYERS: &str =
    "env = \"prisoners-dilemma\"\niterations = 500\nhorizon = 100\ngamma = 0.96\ninner-rate = 0.3\nouter-rate = 0.1\n";
const NAIVE: &str =
    "env = \"prisoners-dilemma\"\niterations = 500\nhorizon = 100\ngamma = 0.96\nouter-rate = 0.1\nlookaheads = 0\n";
const EXACT: &str = "env = \"prisoners-dilemma\"\niterations = 500\nhorizon = 100\ngamma = 0.96\ninner-rate = 0.3\nouter-rate = 0.1\nexact-inner = true\nexact-outer = true\n";

fn inner(config: &Config) -> InnerObjective {
    match config.inner {
        config::Inner::Ad => InnerObjective::Ad,
        config::Inner::Dice => InnerObjective::Dice,
        config::Inner::DiceCentred => InnerObjective::DiceCentred,
        config::Inner::Loaded => InnerObjective::Loaded,
        config::Inner::Lvc => InnerObjective::Lvc,
        config::Inner::TayPo2 => InnerObjective::TayPo2,
    }
}

fn promp(config: &Config) -> Box<dyn Algorithm> {
    Box::new(Promp { inner: inner(config), clip: config.clip })
}
fn maml(config: &Config) -> Box<dyn Algorithm> {
    Box::new(Maml { inner: inner(config), first_order: false })
}
fn first_order(config: &Config) -> Box<dyn Algorithm> {
    Box::new(Maml { inner: inner(config), first_order: true })
}
fn tmaml(_: &Config) -> Box<dyn Algorithm> {
    Box::new(Maml { inner: InnerObjective::Tmaml, first_order: false })
}
fn emaml(config: &Config) -> Box<dyn Algorithm> {
    Box::new(Emaml { inner: inner(config), factor: Factor::Formula })
}
fn emaml_released(config: &Config) -> Box<dyn Algorithm> {
    Box::new(Emaml { inner: inner(config), factor: Factor::Released })
}
fn sgmrl(config: &Config) -> Box<dyn Algorithm> {
    Box::new(Sgmrl { inner: inner(config), first_order: false, baseline: config.score_baseline })
}
fn sgmrl_first_order(config: &Config) -> Box<dyn Algorithm> {
    Box::new(Sgmrl { inner: inner(config), first_order: true, baseline: config.score_baseline })
}
fn policy_gradient(config: &Config) -> Box<dyn Algorithm> {
    Box::new(PolicyGradient { entropy: config.entropy })
}
fn ppo(config: &Config) -> Box<dyn Algorithm> {
    Box::new(Ppo { clip: config.clip, entropy: config.entropy })
}

/// The environments that are part of the program.
pub const ENVIRONMENTS: &[Entry] = &[
    entry(
        "corner",
        "a point that must find out which of four corners pays (Rothfuss et al. 2019)",
        "",
        Make::Tasks(|| Box::new(Corner::random)),
    ),
    entry(
        "momentum",
        "a point with momentum, paid near one of four corners (Rothfuss et al. 2019)",
        "",
        Make::Tasks(|| Box::new(Momentum::random)),
    ),
    entry(
        "walls",
        "a point within two circles with gaps (Rothfuss et al. 2019)",
        "",
        Make::Tasks(|| Box::new(Walls::random)),
    ),
    entry(
        "navigation",
        "a point and a goal in a square (Fallah et al. 2021)",
        "",
        Make::Tasks(|| Box::new(Navigation::random_bounded)),
    ),
    entry(
        "navigation-maml",
        "a point and a goal in the plane (Finn et al. 2017)",
        "",
        Make::Tasks(|| Box::new(Navigation::random)),
    ),
    entry(
        "line",
        "the one-dimensional problem of two formulations (Rothfuss et al. 2019)",
        "horizon = 5\nrollouts = 100\n",
        Make::Tasks(|| Box::new(Line::random)),
    ),
    entry(
        "bandit",
        "5 arms, each pays 1 with its own probability, uniform in [0, 1] (Duan et al. 2016)",
        "horizon = 1\nhidden = []\n",
        Make::Tasks(|| Box::new(bandit)),
    ),
    entry(
        "tabular",
        "random processes of 10 states and 5 actions, with noise (Duan et al. 2016)",
        "horizon = 10\nhidden = []\n",
        Make::Tasks(|| Box::new(tabular)),
    ),
    entry(
        "linear-quadratic",
        "random linear dynamics of 4 numbers with 2 controls, quadratic cost",
        "horizon = 20\n",
        Make::Tasks(|| Box::new(linear_quadratic)),
    ),
    entry(
        "cartpole",
        "CartPole-v1 of Gymnasium (Barto et al. 1983)",
        "horizon = 500\nbootstrap = true\n",
        Make::Tasks(|| Box::new(|_: &mut ChaCha8Rng| CartPole::new())),
    ),
    entry(
        "prisoners-dilemma",
        "the iterated prisoner's dilemma of two players",
        "",
        Make::Game(IteratedGame::prisoners_dilemma),
    ),
    entry(
        "matching-pennies",
        "iterated matching pennies of two players",
        "",
        Make::Game(IteratedGame::matching_pennies),
    ),
];

/// Any environment of Gymnasium, by a name with its id in the place of `ID`.
pub const GYMNASIUM: Entry = entry(
    "gym:ID",
    "the environment of Gymnasium with this id, such as gym:CartPole-v1, in processes of Python (Towers et al. 2024)",
    "horizon = 500\nbootstrap = true\n",
    Make::Gym,
);

/// The papers' benchmarks of locomotion, for which the feature `mujoco` is needed.
pub const LOCOMOTION: &[Entry] = &locomotion();

const fn locomotion() -> [Entry; BENCHMARKS.len()] {
    let mut all = [GYMNASIUM; BENCHMARKS.len()];
    let mut i = 0;
    while i < all.len() {
        all[i] = entry(BENCHMARKS[i].name, BENCHMARKS[i].paper, BENCHMARKS[i].defaults, Make::Locomotion);
        i += 1;
    }
    all
}

/// All environments, as they are listed.
pub fn environments() -> Vec<Entry> {
    [ENVIRONMENTS, LOCOMOTION, &[GYMNASIUM]].concat()
}

/// The id of an environment of Gymnasium, if this is the name of one.
fn gym_id(name: &str) -> Option<&str> {
    name.strip_prefix("gym:").filter(|id| !id.is_empty())
}

fn bandit(rng: &mut ChaCha8Rng) -> Bandit {
    Bandit::random(5, rng).expect("probabilities within [0, 1]")
}
fn tabular(rng: &mut ChaCha8Rng) -> Walk {
    Walk::random(10, 5, rng).expect("there are states and actions")
}
fn linear_quadratic(rng: &mut ChaCha8Rng) -> LinearQuadratic {
    LinearQuadratic::random(4, 2, rng).expect("stable by construction")
}

/// A preset of this name is the file of this name, whose first line is a comment that says what it is.
macro_rules! presets {
    ($($name:literal),+ $(,)?) => {
        /// The presets, each with its whole text as defaults.
        pub const PRESETS: &[Entry] = &[$({
            let text = include_str!(concat!("../presets/", $name, ".toml"));
            entry($name, first_comment(text), text, Make::Preset)
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
    "promp-cheetah-direction",
    "promp-ant-direction-2d",
    "promp-walker2d-direction",
    "promp-humanoid-direction-2d",
    "promp-hopper-parameters",
    "promp-walker2d-parameters",
    "variance-cheetah-direction",
    "sgmrl-cheetah-direction",
    "sgmrl-cheetah-velocity",
    "sgmrl-swimmer-velocity",
    "taypo-ant-goal",
    "taypo-ant-direction-2d",
    "taypo-humanoid-direction-2d",
    "taypo-walker2d-direction",
    "lsf-cheetah-direction",
    "lsf-ant-direction-2d",
    "lsf-walker2d-direction",
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

/// The entry of this name, in one of the lists.
fn find(lists: &[&'static [Entry]], what: &'static str, place: &str, name: &str) -> Result<&'static Entry> {
    let entries = || lists.iter().flat_map(|list| list.iter());
    Error::unless_known(place, what, name, entries().map(|entry| entry.name.to_owned()))?;
    Ok(entries().find(|entry| entry.name == name).expect("just found"))
}

/// The algorithm of this name.
///
/// # Errors
///
/// [`Error::Unknown`], with the nearest name.
pub fn algorithm(place: &str, name: &str) -> Result<&'static Entry> {
    find(&[ALGORITHMS], "algorithm", place, name)
}

/// The environment of this name: [`GYMNASIUM`] for every `gym:ID`. (Whether Gymnasium has it is seen when it is started.)
///
/// # Errors
///
/// [`Error::Unknown`], with the nearest name.
pub fn environment(place: &str, name: &str) -> Result<&'static Entry> {
    match gym_id(name) {
        Some(_) => Ok(&GYMNASIUM),
        None => find(&[ENVIRONMENTS, LOCOMOTION], "environment", place, name),
    }
}

/// The preset of this name.
///
/// # Errors
///
/// [`Error::Unknown`], with the nearest name.
pub fn preset(place: &str, name: &str) -> Result<&'static Entry> {
    find(&[PRESETS], "preset", place, name)
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
    // A name that there is not is refused also where a later layer has another.
    for layer in &layers {
        layer.name("algorithm").map_or(Ok(()), |name| algorithm(layer.place(), name).map(drop))?;
        layer.name("env").map_or(Ok(()), |name| environment(layer.place(), name).map(drop))?;
    }
    let by = Config::merged(&layers).algorithm;
    layers.insert(0, algorithm("the defaults", &by)?.layer("algorithm")?);
    let there = Config::merged(&layers).env;
    layers.insert(1, environment("the defaults", &there)?.layer("environment")?);
    Ok(Config::merged(&layers))
}

/// The learner that a configuration is of.
///
/// # Errors
///
/// [`Error::Unknown`] for an algorithm or an environment that there is not, [`Error::Misfit`] for two that do not go together,
/// [`Error::Gym`] for what Gymnasium cannot start, and what the learner refuses.
pub fn learner(config: &Config) -> Result<Box<dyn Learner>> {
    match makes(config)? {
        (Make::Players, Make::Game(game)) => Ok(Box::new(players(config, game())?)),
        _ => Ok(Box::new(meta_learner(config)?)),
    }
}

/// The same where it is one that adapts to tasks.
///
/// # Errors
///
/// Those of [`learner`], and [`Error::Misfit`] for two players, too.
pub fn meta_learner(config: &Config) -> Result<MetaLearner> {
    let (algorithm, tasks) = match makes(config)? {
        (Make::Meta(make), Make::Tasks(tasks)) => (make(config), tasks()),
        (Make::Meta(make), Make::Gym) => (make(config), gym(&config.env)?),
        (Make::Meta(make), Make::Locomotion) => (make(config), body(&config.env)?),
        _ => return Err(misfit(config, "is no algorithm that adapts to tasks", "is a game of two")),
    };
    let spaces = tasks.spaces();
    let dtype = match config.precision {
        config::Precision::F32 => DType::F32,
        config::Precision::F64 => DType::F64,
    };
    let shape = Shape {
        trajectories: config.rollouts,
        horizon: config.horizon,
        spaces: spaces.clone(),
        dtype,
        gamma: config.gamma,
        form: Form { discounted: false, normalised: config.normalise, lambda: config.gae_lambda },
        over_steps: true,
    };
    let (trajectories, horizon, gamma) = (config.rollouts, config.horizon, config.gamma);
    let linear = |features| -> Result<Baseline> {
        Ok(Baseline::Linear(Box::new(Linear::new(features, &spaces[0], trajectories, horizon, gamma)?)))
    };
    let baseline = match config.baseline {
        config::Baseline::None => Baseline::None,
        config::Baseline::LinearFeature => linear(Features::Observation)?,
        config::Baseline::LinearTime => linear(Features::Time)?,
        config::Baseline::ValueNetwork => {
            let network = hidden(config, Network::new(&spaces[0]).named("critic_")).dense(1, Activation::Identity);
            let parameters = network.draw(&mut stream(seed_of(config.seed, &[CRITIC]), 0));
            let rule = Rule::adam(config.baseline_rate);
            Baseline::Network(Box::new(ValueNetwork::new(&network, parameters, &shape, rule, config.baseline_epochs)?))
        }
    };
    let outer = match config.outer {
        config::Outer::Sgd => Outer::Rule(Rule::sgd(config.outer_rate)),
        config::Outer::Adam => Outer::Rule(Rule::adam(config.outer_rate)),
        config::Outer::Trpo => Outer::TrustRegion(TrustRegion {
            radius: config.trust_region,
            iterations: config.cg_iterations,
            damping: config.damping,
            // The first is not shortened.
            backtracks: config.backtracks + 1,
            ratio: config.backtrack_ratio,
        }),
    };
    let settings = Settings {
        seed: config.seed,
        tasks: config.tasks,
        shape,
        inner_steps: config.inner_steps,
        inner_rate: config.inner_rate,
        rate_decay: config.rate_decay,
        learn_rates: config.learn_rates,
        outer,
        curvature_trajectories: config.curvature_rollouts,
        outer_steps: config.outer_steps,
        price: Price { initial: config.kl_price, target: config.kl_adaptive.then_some(config.kl_target) },
        bootstrap: config.bootstrap,
    };
    Ok(MetaLearner::new(settings, algorithm, &*policy(config, &spaces), tasks, baseline, Box::new(Threads))?)
}

/// What the configuration's algorithm and environment are made by, which go together.
fn makes(config: &Config) -> Result<(Make, Make)> {
    let place = "the configuration";
    let (algorithm, environment) = (algorithm(place, &config.algorithm)?, environment(place, &config.env)?);
    match (algorithm.make, environment.make) {
        makes @ ((Make::Meta(_), Make::Tasks(_) | Make::Gym | Make::Locomotion) | (Make::Players, Make::Game(_))) => {
            Ok(makes)
        }
        (Make::Players, _) => Err(misfit(config, "is for games of two players", "is for one")),
        _ => Err(misfit(config, "is for one player", "is a game of two")),
    }
}

/// The environment of Gymnasium with this name, started.
#[cfg(unix)]
fn gym(name: &str) -> Result<Box<dyn Tasks>> {
    Ok(Box::new(sim::gym::Gym::of(gym_id(name).unwrap_or_default()).start()?))
}

/// Without Unix's sockets there is none.
#[cfg(not(unix))]
fn gym(name: &str) -> Result<Box<dyn Tasks>> {
    Err(Error::Misfit {
        algorithm: format!("{name} is for systems with sockets of Unix"),
        environment: "this one has none".to_owned(),
    })
}

/// The benchmark of this name.
#[cfg(feature = "mujoco")]
fn body(name: &str) -> Result<Box<dyn Tasks>> {
    Ok(Box::new(sim::mujoco::named(name).expect("all of the list are there, as `sim` tests")))
}

/// Without MuJoCo there is none.
#[cfg(not(feature = "mujoco"))]
fn body(name: &str) -> Result<Box<dyn Tasks>> {
    Err(Error::Feature { environment: name.to_owned(), feature: "mujoco" })
}

/// What a stream is for that no part of the learner draws from.
const CRITIC: u64 = 1 << 32;

fn misfit(config: &Config, algorithm: &str, environment: &str) -> Error {
    Error::Misfit {
        algorithm: format!("{} {algorithm}", config.algorithm),
        environment: format!("{} {environment}", config.env),
    }
}

/// A network as the configuration has it; a table, of numbered states and actions without hidden layers.
fn policy(config: &Config, [observation, action]: &[Space; 2]) -> Box<dyn Policy> {
    let network = || hidden(config, Network::new(observation));
    match (observation, action) {
        (&Space::Discrete(states), &Space::Discrete(actions)) if config.hidden.is_empty() => {
            Box::new(TablePolicy { states, actions })
        }
        (_, Space::Discrete(actions)) => Box::new(network().categorical(*actions)),
        // As released with ProMP: deviations of 1 to begin with, which are learned, and at least 1e-6.
        _ => Box::new(network().normal(action.size()).deviation(0.0, 1e-6)),
    }
}

fn hidden(config: &Config, network: Network) -> Network {
    let activation = match config.activation {
        config::Activation::Tanh => Activation::Tanh,
        config::Activation::Relu => Activation::Relu,
    };
    config.hidden.iter().fold(network, |network, &width| network.dense(width, activation))
}

fn players(config: &Config, game: IteratedGame) -> Result<Lola> {
    let inner = match (config.exact_inner, config.off_policy) {
        (true, _) => lola::Inner::Exact,
        (false, false) => lola::Inner::Sampled(config.inner_batch),
        // As Liu et al. 2022: of the last eight lookaheads.
        (false, true) => lola::Inner::OffPolicy { fresh: config.inner_batch, kept: 8 * config.inner_batch },
    };
    let settings = lola::Settings {
        gamma: config.gamma,
        horizon: config.horizon,
        lookaheads: config.lookaheads,
        inner,
        derivative: None,
        inner_rate: config.inner_rate,
        outer: if config.exact_outer { lola::Outer::Exact } else { lola::Outer::Sampled(config.batch) },
        outer_rate: config.outer_rate,
        baseline: lola::Baseline::Reward,
        baseline_rate: config.value_rate,
    };
    Ok(Lola::new(game, settings, config.seed)?)
}
