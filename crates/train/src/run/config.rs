//! The configuration of a run: one flat table of keys. A key is added by a line of `keys!`, and then it is a field of [`Config`],
//! a key of TOML files, an option with help, and part of what a checkpoint remembers.
//!
//! A configuration is made of layers, each a table with some of the keys, and the last one that has a key says its value. Every
//! layer is checked when it is made, so that what is wrong is told with the place where it stands.

use std::fmt::Display;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::error::{Error, Result, shortened};
use rl::error::Error as DataError;

/// Makes [`Config`], its defaults and [`KEYS`] of one list.
macro_rules! keys {
    ($($(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr, $range:expr;)+) => {
        /// The configuration of a run. (Which keys count is up to the algorithm and the environment.)
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        pub struct Config {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        /// Every key, in the order in which they are shown.
        pub static KEYS: &[Key] = &[$(Key {
            field: stringify!($field),
            help: concat!($($doc),+),
            is_switch: <$type as Setting>::IS_SWITCH,
            words: || <$type as Setting>::words($range),
            read: <$type as Setting>::read,
            takes: |value| value.clone().try_into().is_ok_and(|setting: $type| setting.is_within($range)),
        }),+];
    };
}

keys! {
    /// The algorithm; --list has them all.
    algorithm: String = "promp".to_owned(), ();
    /// The environment, or the distribution of tasks; --list has them all.
    env: String = "corner".to_owned(), ();
    /// Everything random is a function of this number.
    seed: u64 = 0, from(0, i64::MAX as u64);
    /// The type of numbers that gradients are computed in.
    precision: Precision = Precision::F64, ();
    /// The number of outer iterations.
    iterations: u64 = 150, from(0, 1_000_000_000);
    /// The number of tasks of an iteration; without tasks, of environments side by side.
    tasks: usize = 40, from(1, 100_000);
    /// The number of trajectories of each task, before every step.
    rollouts: usize = 20, from(1, 1_000_000);
    /// H, the largest number of steps of a trajectory.
    horizon: usize = 100, from(1, 1_000_000);
    /// The number of inner steps, K.
    inner_steps: usize = 1, from(0, 100);
    /// The rate of an inner step.
    inner_rate: f64 = 0.1, from(0.0, 1e6);
    /// What the rate of every inner step but the first is multiplied by.
    rate_decay: f64 = 1.0, from(0.0, 1.0);
    /// The surrogate that an inner step ascends.
    inner: Inner = Inner::Ad, ();
    /// Whether inner rates are learned, one a parameter (Meta-SGD).
    learn_rates: bool = false, ();
    /// The optimiser of the outer objective.
    outer: Outer = Outer::Adam, ();
    /// The rate of an outer step, for SGD and Adam.
    outer_rate: f64 = 1e-3, from(0.0, 1e6);
    /// The number of outer steps on the same data.
    outer_steps: usize = 5, from(1, 10_000);
    /// How far from 1 a likelihood ratio counts (PPO's ε).
    clip: f64 = 0.3, above(0.0, 1e6);
    /// The price of a divergence of 1 between the policies before and after (ProMP's η).
    kl_price: f64 = 5e-4, from(0.0, 1e6);
    /// Whether the price is halved or doubled where the divergence is far from its target.
    kl_adaptive: bool = false, ();
    /// The divergence that an adaptive price aims at.
    kl_target: f64 = 0.01, above(0.0, 1e6);
    /// δ, the largest divergence of a step of TRPO.
    trust_region: f64 = 0.01, above(0.0, 1e6);
    /// The number of iterations of conjugate gradients (TRPO).
    cg_iterations: usize = 10, from(1, 10_000);
    /// By how many of a task's trajectories, if there are more, the divergence's Hessian is estimated (TRPO); 0 is all.
    curvature_rollouts: usize = 0, from(0, 1_000_000);
    /// What is added to the diagonal of the divergence's Hessian (TRPO).
    damping: f64 = 1e-5, from(0.0, 1e6);
    /// How often a step that is refused is shortened before it is given up (TRPO).
    backtracks: usize = 15, from(0, 1000);
    /// By which factor it is shortened (TRPO).
    backtrack_ratio: f64 = 0.8, between(0.0, 1.0);
    /// γ, the discount.
    gamma: f64 = 0.99, from(0.0, 1.0);
    /// λ of generalised advantage estimation.
    gae_lambda: f64 = 1.0, from(0.0, 1.0);
    /// Whether the advantages of each task are normalised to mean 0 and variance 1.
    normalise: bool = true, ();
    /// What returns are compared with.
    baseline: Baseline = Baseline::LinearFeature, ();
    /// Whether the baseline's value counts where a trajectory is truncated.
    bootstrap: bool = false, ();
    /// The widths of the policy's hidden layers.
    hidden: Vec<usize> = vec![64, 64], from(1, 65_536);
    /// The function between them.
    activation: Activation = Activation::Tanh, ();
    /// The rate of Adam for a value network.
    baseline_rate: f64 = 1e-3, from(0.0, 1e6);
    /// How often a value network goes over the data of an iteration.
    baseline_epochs: usize = 10, from(1, 10_000);
    /// The price of a policy's entropy that is lower by 1.
    entropy: f64 = 0.0, from(0.0, 1e6);
    /// Whether the value that multiplies scores of the inner data is compared with that of the other tasks (SG-MRL, SF).
    score_baseline: bool = false, ();
    /// How many iterations lie between two validations; 0 is none.
    validate_every: u64 = 0, from(0, 1_000_000_000);
    /// The number of tasks to validate on.
    validation_tasks: usize = 40, from(2, 100_000);
    /// How many iterations lie between two checkpoints.
    checkpoint_every: u64 = 10, from(1, 1_000_000_000);
    /// The number of steps that the opponent is expected to learn (LOLA).
    lookaheads: usize = 1, from(0, 100);
    /// The number of games to estimate an outer gradient from (LOLA).
    batch: usize = 128, from(1, 1_000_000);
    /// The number of games to estimate an opponent's step from (LOLA).
    inner_batch: usize = 128, from(1, 1_000_000);
    /// Whether earlier games are used again for an opponent's step (LOLA).
    off_policy: bool = false, ();
    /// Whether an opponent's step is by the exact value (LOLA).
    exact_inner: bool = false, ();
    /// Whether the outer gradient is of the exact value (LOLA).
    exact_outer: bool = false, ();
    /// The rate of the critics (LOLA).
    value_rate: f64 = 0.1, from(0.0, 1e6);
}

/// An enumeration whose values are words.
macro_rules! choices {
    ($($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $said:literal])+ $value:ident $word:literal),+ $(,)? })+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name {
            $($(#[doc = $said])+ #[serde(rename = $word)] $value,)+
        }

        impl Setting for $name {
            type Range = ();

            fn words((): ()) -> String {
                format!("one of {}", [$($word),+].join(", "))
            }

            fn read(text: &str) -> Option<Value> {
                Some(Value::String(text.to_owned()))
            }

            fn is_within(&self, (): ()) -> bool {
                true
            }
        }
    )+};
}

choices! {
    /// A floating-point type.
    Precision {
        /// Single.
        F32 "f32",
        /// Double.
        F64 "f64",
    }

    /// The surrogate of an inner step.
    Inner {
        /// Σ A log π.
        Ad "ad",
        /// DiCE.
        Dice "dice",
        /// DiCE of rewards minus their mean at each time.
        DiceCentred "dice-centred",
        /// Loaded DiCE.
        Loaded "loaded",
        /// Low-variance curvature: Σ A π/π_old.
        Lvc "lvc",
        /// TayPO of order 2.
        TayPo2 "taypo2",
    }

    /// An optimiser of the outer objective.
    Outer {
        /// Gradient descent.
        Sgd "sgd",
        /// Adam.
        Adam "adam",
        /// Natural gradients within a trust region.
        Trpo "trpo",
    }

    /// What returns are compared with.
    Baseline {
        /// Nothing.
        None "none",
        /// A linear function of observations, their squares, and powers of time.
        LinearFeature "linear-feature",
        /// A linear function of powers of time.
        LinearTime "linear-time",
        /// A network of observations.
        ValueNetwork "value-network",
    }

    /// What is between the layers of a network.
    Activation {
        /// The hyperbolic tangent.
        Tanh "tanh",
        /// The positive part.
        Relu "relu",
    }
}

/// A key of [`Config`].
pub struct Key {
    field: &'static str,
    help: &'static str,
    /// Whether it is on or off, so that its name alone turns it on.
    pub is_switch: bool,
    words: fn() -> String,
    read: fn(&str) -> Option<Value>,
    takes: fn(&Value) -> bool,
}

impl Key {
    /// Its name, such as `inner-rate`.
    pub fn name(&self) -> String {
        self.field.replace('_', "-")
    }

    /// A sentence.
    pub fn help(&self) -> &'static str {
        self.help.trim_start()
    }

    /// What it may be, in words.
    pub fn words(&self) -> String {
        (self.words)()
    }

    /// The value that a text stands for, as an option's.
    ///
    /// # Errors
    ///
    /// What it must be, in words.
    pub fn parse(&self, text: &str) -> std::result::Result<Value, String> {
        let value = (self.read)(text).filter(|value| (self.takes)(value));
        value.ok_or_else(|| format!("must be {}", self.words()))
    }

    /// As in a list.
    fn called(name: &str, place: &str) -> Result<&'static Self> {
        Error::unless_known(place, "key", name, KEYS.iter().map(Key::name))?;
        Ok(KEYS.iter().find(|key| key.name() == name).expect("just found"))
    }
}

/// What a key's values may be: types of numbers and words, and ranges within them.
trait Setting: DeserializeOwned {
    const IS_SWITCH: bool = false;

    /// Which of them.
    type Range;

    /// What they are, in words.
    fn words(range: Self::Range) -> String;

    /// The value that an option's text stands for, if it is of the type.
    fn read(text: &str) -> Option<Value>;

    fn is_within(&self, range: Self::Range) -> bool;
}

/// From a number to another, with or without these.
#[derive(Clone, Copy)]
struct Range<T> {
    low: T,
    high: T,
    /// Whether each of them is inside. (If the lower one is, so is the other.)
    with: [bool; 2],
}

/// Both ends are inside.
fn from<T>(low: T, high: T) -> Range<T> {
    Range { low, high, with: [true, true] }
}

/// The lower end is not.
fn above<T>(low: T, high: T) -> Range<T> {
    Range { low, high, with: [false, true] }
}

/// Neither end is.
fn between<T>(low: T, high: T) -> Range<T> {
    Range { low, high, with: [false, false] }
}

impl<T: PartialOrd + Display> Range<T> {
    fn contains(&self, x: &T) -> bool {
        let inside = *x > self.low && *x < self.high;
        inside || (self.with[0] && *x == self.low) || (self.with[1] && *x == self.high)
    }

    fn words(&self, what: &str) -> String {
        let Self { low, high, with } = self;
        match with {
            [true, _] => format!("{what} from {low} to {high}"),
            [false, true] => format!("{what} above {low}, up to {high}"),
            [false, false] => format!("{what} above {low} and below {high}"),
        }
    }
}

macro_rules! numbers {
    ($($type:ty: $what:literal, $toml:ident, $written:ty;)+) => {$(
        impl Setting for $type {
            type Range = Range<$type>;

            fn words(range: Self::Range) -> String {
                range.words($what)
            }

            fn read(text: &str) -> Option<Value> {
                text.parse::<$written>().ok().map(Value::$toml)
            }

            fn is_within(&self, range: Self::Range) -> bool {
                range.contains(self)
            }
        }
    )+};
}

numbers! {
    f64: "a number", Float, f64;
    usize: "a whole number", Integer, i64;
    u64: "a whole number", Integer, i64;
}

impl Setting for bool {
    const IS_SWITCH: bool = true;
    type Range = ();

    fn words((): ()) -> String {
        "true or false".to_owned()
    }

    fn read(text: &str) -> Option<Value> {
        text.parse().ok().map(Value::Boolean)
    }

    fn is_within(&self, (): ()) -> bool {
        true
    }
}

impl Setting for String {
    type Range = ();

    fn words((): ()) -> String {
        "a name".to_owned()
    }

    fn read(text: &str) -> Option<Value> {
        Some(Value::String(text.to_owned()))
    }

    fn is_within(&self, (): ()) -> bool {
        !self.is_empty()
    }
}

/// The most numbers that a list has.
const LONGEST: usize = 64;

impl Setting for Vec<usize> {
    type Range = Range<usize>;

    fn words(range: Self::Range) -> String {
        format!(
            "a list of at most {LONGEST}, each {}, as [64, 64], or 64,64 as an option",
            range.words("a whole number")
        )
    }

    /// Numbers separated by commas; nothing is no numbers.
    fn read(text: &str) -> Option<Value> {
        let numbers = text.split(',').filter(|_| !text.is_empty()).map(usize::read);
        numbers.collect::<Option<_>>().map(Value::Array)
    }

    fn is_within(&self, range: Self::Range) -> bool {
        self.len() <= LONGEST && self.iter().all(|x| range.contains(x))
    }
}

/// Some of the keys, with values that they take, and where they stand.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    place: String,
    table: Table,
}

/// No configuration is longer.
const LARGEST: u64 = 1 << 20;

impl Layer {
    /// A table that stands at this place, such as `the preset promp-corner`.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for a key that is none, [`Error::Value`] for one whose value is out of range.
    pub fn new(place: &str, table: Table) -> Result<Self> {
        for (name, value) in &table {
            let key = Key::called(name, place)?;
            if !(key.takes)(value) {
                let (place, value) = (place.to_owned(), shortened(&value.to_string()));
                return Err(Error::Value { place, key: key.name(), value, range: key.words() });
            }
        }
        Ok(Self { place: place.to_owned(), table })
    }

    /// Where it stands.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What it says for a key whose values are names.
    pub fn name(&self, key: &str) -> Option<&str> {
        self.table.get(key)?.as_str()
    }

    /// The same of a text.
    ///
    /// # Errors
    ///
    /// [`Error::Toml`], and those of [`new`](Self::new).
    pub fn parse(place: &str, text: &str) -> Result<Self> {
        let table = text.parse().map_err(|cause| Error::Toml { place: place.to_owned(), cause: Box::new(cause) })?;
        Self::new(place, table)
    }

    /// The same of a file.
    ///
    /// # Errors
    ///
    /// [`rl::error::Error::File`] if it cannot be read or is too long, and those of [`parse`](Self::parse).
    pub fn read(path: &Path) -> Result<Self> {
        let facts = std::fs::metadata(path).map_err(|cause| DataError::file(path, cause))?;
        if !facts.is_file() || facts.len() > LARGEST {
            let cause = format!("a configuration is a file of at most {LARGEST} bytes");
            return Err(DataError::file(path, cause).into());
        }
        let text = std::fs::read_to_string(path).map_err(|cause| DataError::file(path, cause))?;
        Self::parse(&path.display().to_string(), &text)
    }
}

impl Config {
    /// The defaults, with these layers upon them.
    pub fn merged<'a>(layers: impl IntoIterator<Item = &'a Layer>) -> Self {
        let mut table = Self::default().table();
        for layer in layers {
            table.extend(layer.table.clone());
        }
        table.try_into().expect("every layer is checked")
    }

    /// As a table, with every key.
    pub fn table(&self) -> Table {
        Table::try_from(self).expect("every value is one of TOML's")
    }

    /// As a layer, with every key.
    pub fn layer(&self) -> Layer {
        Layer { place: "the run".to_owned(), table: self.table() }
    }

    /// As a file, with what each key means.
    pub fn to_toml(&self) -> String {
        let table = self.table();
        KEYS.iter().map(|key| format!("# {}\n{}\n", key.help(), key.line(&table))).collect()
    }

    /// As lines to look at.
    pub fn lines(&self) -> String {
        let table = self.table();
        KEYS.iter().map(|key| key.line(&table) + "\n").collect()
    }

    /// The keys whose values are others, with both values, but for those that a run may be resumed with.
    pub(crate) fn differences(&self, before: &Self) -> Vec<String> {
        let (now, before) = (self.table(), before.table());
        let fixed = KEYS.iter().map(Key::name).filter(|name| !["iterations", "checkpoint-every"].contains(&&**name));
        let differing = fixed.filter(|name| now[name] != before[name]);
        differing.map(|name| format!("`{name}` was {} and is {}", before[&name], now[&name])).collect()
    }
}

impl Key {
    /// `name = value`.
    fn line(&self, table: &Table) -> String {
        let name = self.name();
        format!("{name} = {}", table[&name])
    }
}
