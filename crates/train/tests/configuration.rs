//! What a configuration is made of, which of its layers counts, and what is said about one that makes no sense.

use std::fs;
use std::path::PathBuf;

use toml::Table;
use train::registry::{ALGORITHMS, ENVIRONMENTS, LOCOMOTION, PRESETS, configure, environments, learner};
use train::run::Error;
use train::run::config::{Config, Inner, KEYS, Layer, Outer};

/// A file of its own, deleted in the end.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: impl AsRef<[u8]>) -> Self {
        let path = std::env::temp_dir().join(format!("configuration-{name}-{}.toml", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn message(&self) -> String {
        configure(None, None, Some(&self.0), Table::new()).unwrap_err().to_string()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn table(text: &str) -> Table {
    text.parse().unwrap()
}

#[test]
fn options_override_a_file_which_overrides_a_preset_which_overrides_defaults() {
    let file = File::new("layers", "gamma = 0.5\nhorizon = 7\nclip = 1\n");
    let common = table("algorithm = 'maml'\nenv = 'bandit'\n");
    let options = common.clone().into_iter().chain(table("gamma = 0.25")).collect();
    let config = configure(None, Some("sgmrl-navigation"), Some(&file.0), options).unwrap();
    assert_eq!((config.gamma, config.horizon, config.gae_lambda, config.clip), (0.25, 7, 0.997, 1.0));
    assert_eq!((config.hidden, config.inner, config.outer), (vec![100, 100], Inner::Ad, Outer::Adam));
    // Those of the environment and the algorithm are below them, and above the built-in ones.
    assert_eq!(configure(None, None, None, common.clone()).unwrap().horizon, 1);
    assert_eq!(configure(None, None, None, common.clone()).unwrap().outer_steps, 1);
    let resumed = Config { gamma: 0.125, horizon: 9, ..Config::default() }.layer();
    let resumed = configure(Some(resumed), None, Some(&file.0), Table::new()).unwrap();
    assert_eq!((resumed.gamma, resumed.horizon, resumed.outer_rate), (0.5, 7, 1e-3));
}

#[test]
fn a_configuration_is_written_and_read_to_the_bit() {
    let config = Config {
        seed: i64::MAX as u64,
        inner_rate: 0.1 + 0.2,
        kl_price: 5e-324,
        hidden: vec![],
        learn_rates: true,
        outer: Outer::Trpo,
        ..Config::default()
    };
    for text in [config.to_toml(), config.lines()] {
        let file = File::new("written", text);
        assert_eq!(configure(None, None, Some(&file.0), Table::new()).unwrap(), config);
    }
    // Every key has a sentence, and stands in the file below it.
    for key in KEYS {
        assert!(key.help().ends_with('.'), "{}", key.name());
        let line = format!("# {}\n{} = ", key.help(), key.name());
        assert!(config.to_toml().contains(&line), "{line}");
    }
    assert_eq!(KEYS.len(), config.table().len());
}

#[test]
fn every_default_is_within_its_range() {
    let defaults = Config::default();
    assert_eq!(Config::merged([&Layer::new("defaults", defaults.table()).unwrap()]), defaults);
}

#[test]
fn every_id_of_gymnasium_is_a_name_with_the_same_defaults() {
    for name in ["gym:CartPole-v1", "gym:ALE/Pong-v5", "gym:ID"] {
        let config = configure(None, None, None, table(&format!("env = '{name}'"))).unwrap();
        assert_eq!((&*config.env, config.horizon, config.bootstrap), (name, 500, true));
    }
    for name in ["gym:", "gym", "Gym:CartPole-v1", " gym:CartPole-v1"] {
        let error = configure(None, None, None, table(&format!("env = '{name}'"))).unwrap_err();
        assert!(error.to_string().contains(&format!("there is no environment `{name}`")), "{error}");
    }
    let players = "env = 'gym:CartPole-v1'\nalgorithm = 'naive'";
    let error = learner(&configure(None, None, None, table(players)).unwrap()).err().unwrap().to_string();
    assert!(error.contains("is for one"), "{error}");
}

#[test]
fn what_is_listed_has_a_paper_and_settings_that_are_in_range() {
    let environments = environments();
    for (what, entries) in [("algorithm", ALGORITHMS), ("environment", &*environments), ("preset", PRESETS)] {
        for entry in entries {
            Layer::parse(&format!("the {what} {}", entry.name), entry.defaults).unwrap();
            assert!(
                !entry.paper.is_empty() && !entry.paper.contains('\n') && !entry.paper.ends_with('.'),
                "{}",
                entry.name
            );
        }
    }
    for preset in PRESETS {
        assert!(preset.defaults.starts_with(&format!("# {}\n", preset.paper)), "{}", preset.name);
        let table = table(preset.defaults);
        assert!(table.contains_key("algorithm") && table.contains_key("env"), "{}", preset.name);
    }
    for algorithm in ALGORITHMS {
        let config = configure(None, None, None, table(&format!("algorithm = '{}'", algorithm.name))).unwrap();
        assert!(!learner(&config).unwrap().returns().is_empty(), "{}", algorithm.name);
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_what_was_meant() {
    for (text, words) in [
        ("inner-raet = 1", "there is no key `inner-raet`; did you mean `inner-rate`?"),
        ("inner_rate = 1", "there is no key `inner_rate`; did you mean `inner-rate`?"),
        ("zzzzzzzzzzzzzz = 1", "there is no key `zzzzzzzzzzzzzz`"),
        ("[inner-rate]\nx = 1", "`inner-rate` is { x = 1 }, but must be a number from 0 to 1000000"),
        ("[ppo]\nclip = 1", "there is no key `ppo`"),
        ("gamma = 1.5", "`gamma` is 1.5, but must be a number from 0 to 1"),
        ("gamma = nan", "`gamma` is nan, but must be a number from 0 to 1"),
        ("gamma = '1'", "`gamma` is \"1\", but must be a number from 0 to 1"),
        ("clip = 0", "`clip` is 0, but must be a number above 0, up to 1000000"),
        ("backtrack-ratio = 1", "`backtrack-ratio` is 1, but must be a number above 0 and below 1"),
        ("tasks = 0", "`tasks` is 0, but must be a whole number from 1 to 100000"),
        ("tasks = 2.5", "`tasks` is 2.5, but must be a whole number from 1 to 100000"),
        ("tasks = -1", "`tasks` is -1, but must be"),
        ("seed = -1", "`seed` is -1, but must be a whole number from 0 to 9223372036854775807"),
        ("hidden = 64", "`hidden` is 64, but must be a list of at most 64, each a whole number from 1 to 65536"),
        ("hidden = [64, 0]", "`hidden` is [64, 0], but must be a list"),
        ("normalise = 'yes'", "`normalise` is \"yes\", but must be true or false"),
        ("outer = 'adm'", "`outer` is \"adm\", but must be one of sgd, adam, trpo"),
        ("outer = ['adam']", "`outer` is [\"adam\"], but must be one of"),
        ("precision = 32", "`precision` is 32, but must be one of f32, f64"),
        ("algorithm = ''", "`algorithm` is \"\", but must be a name"),
        ("gamma = 0.5\ngamma = 0.6", "duplicate key"),
        ("gamma 0.5", "TOML parse error at line 1"),
        ("seed = 99999999999999999999", "TOML parse error"),
    ] {
        let file = File::new("wrong", text);
        let message = file.message();
        assert!(
            message.starts_with(&format!("{}: ", file.0.display())) && message.contains(words),
            "{text}: {message}"
        );
        assert!(!message.contains("did you mean") || words.contains("did you mean"), "{message}");
    }
    for (text, words) in [
        ("algorithm = 'promb'", "there is no algorithm `promb`; did you mean `promp`?"),
        ("env = 'bandid'", "there is no environment `bandid`; did you mean `bandit`?"),
    ] {
        let message = configure(None, None, None, table(text)).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
    let message = configure(None, Some("promp-koner"), None, Table::new()).unwrap_err().to_string();
    assert_eq!(message, "--preset: there is no preset `promp-koner`; did you mean `promp-corner`?");
}

#[test]
fn a_file_that_is_none_is_refused_before_it_is_read() {
    let large = File::new("large", vec![b'#'; (1 << 20) + 1]);
    assert!(large.message().contains("at most 1048576 bytes"), "{}", large.message());
    let bytes = File::new("bytes", [0xff, 0xfe]);
    assert!(bytes.message().contains("valid UTF-8"), "{}", bytes.message());
    for path in ["/dev/zero", "/", "/no/such/file.toml"] {
        let message = configure(None, None, Some(&PathBuf::from(path)), Table::new()).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{path}: ")), "{message}");
    }
}

#[test]
fn an_option_is_read_as_what_its_key_is() {
    let parse = |name: &str, text: &str| KEYS.iter().find(|key| key.name() == name).unwrap().parse(text);
    for (name, text, value) in [
        ("gamma", "1", "x = 1.0"),
        ("gamma", "1e-3", "x = 0.001"),
        ("tasks", "7", "x = 7"),
        ("hidden", "32,16", "x = [32, 16]"),
        ("hidden", "", "x = []"),
        ("normalise", "false", "x = false"),
        ("baseline", "linear-time", "x = 'linear-time'"),
    ] {
        assert_eq!(parse(name, text).unwrap(), table(value)["x"], "{name} {text}");
    }
    for (name, text) in
        [("gamma", ""), ("gamma", "inf"), ("tasks", "1e3"), ("tasks", "7.0"), ("hidden", "1,,2"), ("normalise", "1")]
    {
        assert!(parse(name, text).unwrap_err().starts_with("must be "), "{name} {text}");
    }
}

#[test]
fn every_preset_and_every_algorithm_makes_a_learner() {
    let few = table("tasks = 2\nrollouts = 2\nhorizon = 3\nbatch = 2\ninner-batch = 2\nhidden = [3]");
    for entry in PRESETS {
        let config = configure(None, Some(entry.name), None, few.clone()).unwrap();
        let needs_mujoco = LOCOMOTION.iter().any(|environment| environment.name == config.env);
        match learner(&config) {
            Err(Error::Feature { .. }) if needs_mujoco && !cfg!(feature = "mujoco") => continue,
            Err(error) => panic!("{}: {error}", entry.name),
            Ok(mut learner) => {
                learner.iterate(0).unwrap();
                let versions = learner.versions();
                assert_eq!(versions.iter().any(|(name, _)| name == "mujoco"), needs_mujoco, "{}", entry.name);
            }
        }
    }
    let options = table("env = 'ant-goal'\ntasks = 2\nrollouts = 2\nhorizon = 3");
    let made = learner(&configure(None, None, None, options).unwrap());
    assert_eq!(made.is_ok(), cfg!(feature = "mujoco"));
    if let Err(error) = made {
        assert!(error.to_string().contains("ant-goal needs the feature `mujoco`"), "{error}");
    }
    for algorithm in ALGORITHMS {
        let mut options = few.clone();
        options.insert("algorithm".to_owned(), algorithm.name.into());
        let config = configure(None, None, None, options).unwrap();
        let mut learner = learner(&config).unwrap_or_else(|error| panic!("{}: {error}", algorithm.name));
        let done = learner.iterate(0).unwrap();
        assert!(done.returns.iter().flatten().all(|x| x.is_finite()), "{}", algorithm.name);
    }
    for environment in ENVIRONMENTS {
        let mut options = few.clone();
        options.insert("env".to_owned(), environment.name.into());
        let is_game = ["prisoners-dilemma", "matching-pennies"].contains(&environment.name);
        options.insert("algorithm".to_owned(), if is_game { "lola-dice" } else { "maml" }.into());
        let mut learns = learner(&configure(None, None, None, options.clone()).unwrap()).unwrap();
        learns.iterate(0).unwrap();
        // The other way round it is told.
        options.insert("algorithm".to_owned(), if is_game { "ppo" } else { "naive" }.into());
        let error = learner(&configure(None, None, None, options).unwrap()).err().unwrap().to_string();
        assert!(error.contains(if is_game { "is a game of two" } else { "is for one" }), "{error}");
    }
}
