//! Rollouts as NumPy files.

use std::fs;
use std::path::{Path, PathBuf};

use ad::Value;
use ndarray::{Array1, ArrayBase, Data, Dimension};
use ndarray_npy::{WritableElement, WriteNpyExt};

use super::npy::{Fault, Source, Stored};
use super::{Rollout, canonical_rewards, canonical_value, check_ends, check_shape, check_steps};
use crate::error::{Error, Result};
use crate::files::write_whole;

/// What the observations are called, and what they may be called where they are numbers of states.
const OBSERVATIONS: [&str; 2] = ["observations", "states"];

impl Rollout {
    /// Reads a rollout from a folder of NumPy files, or an `.npz` archive of them.
    ///
    /// | file | entries | shape | if missing |
    /// |---|---|---|---|
    /// | `observations.npy` or `states.npy` | any | `[N, H + 1, …]` | error |
    /// | `actions.npy` | any | `[N, H, …]` | error |
    /// | `rewards.npy` | any | `[N, H]` | error |
    /// | `lengths.npy` | integers | `[N]` | every length is H |
    /// | `terminated.npy` | bool | `[N]` | every trajectory was truncated |
    /// | `goes_on.npy` | bool | `[N]` | no row is a segment |
    ///
    /// Any entries are bools, integers and floating-point numbers of any size: observations and actions are what they are in the
    /// file (float16 as `f32`, integers as `i32`, which they must be within; bytes and bools as `u8`), and one number for each
    /// step is that of a state, or of an action. Behind an end anything may stand. Inside an episode numbers of states and
    /// actions are at least 0, and real numbers finite. Arrays of other names are not looked at, so that an environment's
    /// `dones` or `terminations` must be saved as `terminated`, and without those that were truncated.
    ///
    /// # Errors
    ///
    /// [`Error::File`] with the path and the cause: a [`Fault`] of the file, or one of the errors of [`Rollout::new`].
    pub fn from_npy(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut source = Source::open(path)?;
        let observations = match (source.find(OBSERVATIONS[0])?, source.find(OBSERVATIONS[1])?) {
            (Some(_), Some(_)) => return Err(Error::file(path, Fault::Both(OBSERVATIONS))),
            (None, None) => return Err(Error::file(&source.place(OBSERVATIONS[1]), Fault::Neither(OBSERVATIONS))),
            (Some(stored), _) => (source.place(OBSERVATIONS[0]), stored),
            (_, Some(stored)) => (source.place(OBSERVATIONS[1]), stored),
        };
        let actions = (source.place("actions"), source.read("actions")?);
        let rewards = (source.place("rewards"), source.read("rewards")?);
        let axes = |(place, stored): &(PathBuf, Stored), fits: fn(usize) -> bool, expected: &str| {
            let found = stored.shape().to_vec();
            let wrong = Fault::Axes { found: found.clone(), expected: expected.to_owned() };
            if fits(found.len()) { Ok(()) } else { Err(Error::file(place, wrong)) }
        };
        axes(&observations, |axes| axes >= 2, "[N, H + 1, …]")?;
        axes(&actions, |axes| axes >= 2, "[N, H, …]")?;
        axes(&rewards, |axes| axes == 2, "[N, H]")?;
        let (trajectories, horizon) = (rewards.1.shape()[0], rewards.1.shape()[1]);
        let in_folder = |cause| Error::file(path, cause);
        check_steps(observations.1.shape(), actions.1.shape(), (trajectories, horizon)).map_err(in_folder)?;

        let mut of_each = |name: &'static str| -> Result<Option<(PathBuf, Stored)>> {
            let Some(stored) = source.find(name)? else { return Ok(None) };
            let found = (source.place(name), stored);
            axes(&found, |axes| axes == 1, "[N]")?;
            check_shape(name, found.1.shape(), &[trajectories]).map_err(in_folder)?;
            Ok(Some(found))
        };
        let lengths = match of_each("lengths")? {
            None => vec![horizon; trajectories],
            Some((place, stored)) => {
                let lengths = stored.into_i64().map_err(|fault| Error::file(&place, fault))?;
                let natural = |(trajectory, &length): (usize, &i64)| {
                    let inside = usize::try_from(length).ok().filter(|length| (1..=horizon).contains(length));
                    inside.ok_or_else(|| Error::file(&place, Error::Length { trajectory, length, horizon }))
                };
                lengths.iter().enumerate().map(natural).collect::<Result<_>>()?
            }
        };
        let bools = |found: Option<(PathBuf, Stored)>| match found {
            None => Ok(vec![false; trajectories]),
            Some((place, stored)) => match stored.into_bool() {
                Ok(bools) => Ok(bools.into_iter().collect()),
                Err(fault) => Err(Error::file(&place, fault)),
            },
        };
        let (terminated, goes_on) = (bools(of_each("terminated")?)?, bools(of_each("goes_on")?)?);
        check_ends((trajectories, horizon), &lengths, &terminated).map_err(in_folder)?;

        let values = |number: &str, thing: &str, (place, stored): (PathBuf, Stored), extra| {
            values(number, thing, stored, &lengths, extra).map_err(|cause| Error::file(&place, cause))
        };
        let (place, rewards) = rewards;
        let rewards = counting(rewards, &lengths, 0).into_f64().map_err(|fault| Error::file(&place, fault))?;
        let rewards = rewards.into_dimensionality().expect("two axes, as was checked");
        let rollout = Self {
            observations: values("state", "observation", observations, 1)?,
            actions: values("action", "action", actions, 0)?,
            rewards: canonical_rewards(rewards, &lengths).map_err(|cause| Error::file(&place, cause))?,
            goes_on: vec![false; trajectories],
            lengths,
            terminated,
        };
        rollout.going_on(goes_on).map_err(in_folder)
    }

    /// Writes the rollout as [`Rollout::from_npy`] reads it: six files, or none of them. Numbers of states are `states.npy`, other
    /// observations `observations.npy`. Makes the folder if there is none, and replaces files of these names.
    ///
    /// # Errors
    ///
    /// [`Error::File`] with the path and the cause, also where observations of the other name would be beside them.
    ///
    /// # Panics
    ///
    /// If the horizon does not fit into 32 bits.
    pub fn to_npy(&self, dir: impl AsRef<Path>) -> Result<()> {
        let dir = dir.as_ref();
        fs::create_dir_all(dir).map_err(|cause| Error::file(dir, cause))?;
        let are_numbers = self.observations.shape().len() == 2 && self.observations.array::<i32>().is_some();
        let [other, name] = if are_numbers { OBSERVATIONS } else { [OBSERVATIONS[1], OBSERVATIONS[0]] };
        let other = dir.join(format!("{other}.npy"));
        if fs::symlink_metadata(&other).is_ok() {
            return Err(Error::file(&other, Fault::Both(OBSERVATIONS)));
        }
        let lengths = self.lengths.iter().map(|&length| i32::try_from(length).expect("a horizon below 2^31"));
        let file = |name: &str| dir.join(format!("{name}.npy"));
        write_whole([
            (file(name), value_bytes(&self.observations)),
            (file("actions"), value_bytes(&self.actions)),
            (file("rewards"), bytes_of(&self.rewards)),
            (file("lengths"), bytes_of(&lengths.collect::<Array1<i32>>())),
            (file("terminated"), bytes_of(&Array1::from(self.terminated.clone()))),
            (file("goes_on"), bytes_of(&Array1::from(self.goes_on.clone()))),
        ])
    }
}

/// What is wrong with a file's contents.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What is stored, with 0 in place of what stands behind an end, which may be anything.
fn counting(mut stored: Stored, lengths: &[usize], extra: usize) -> Stored {
    stored.zero_unless(|trajectory, step| step < lengths[trajectory] + extra);
    stored
}

/// Observations or actions from a file.
fn values(
    number: &str,
    thing: &str,
    stored: Stored,
    lengths: &[usize],
    extra: usize,
) -> std::result::Result<Value<'static>, Cause> {
    let is_number = stored.shape().len() == 2;
    let value = counting(stored, lengths, extra).into_value().map_err(|fault| match fault {
        // Said as if it had been an i32 that is wrong.
        Fault::Integer { index, value, .. } => {
            let must = if value < 0 { "not be negative" } else { "be less than 2^31" };
            let what = match is_number {
                true => format!("the {number} is {value}, but must {must}"),
                false => format!("a number of the {thing} is {value}, but must be within 32 bits"),
            };
            Cause::from(Error::Step { trajectory: index[0], step: index[1], what })
        }
        fault => fault.into(),
    })?;
    Ok(canonical_value(number, thing, value, lengths, extra)?)
}

/// An array as the contents of a file.
fn bytes_of<A: WritableElement, S: Data<Elem = A>, D: Dimension>(array: &ArrayBase<S, D>) -> Vec<u8> {
    // And some for the header.
    let mut bytes = Vec::with_capacity(array.len() * size_of::<A>() + 256);
    array.write_npy(&mut bytes).expect("memory takes all that is written");
    bytes
}

/// The same of an array of any type.
fn value_bytes(value: &Value<'_>) -> Vec<u8> {
    match value {
        Value::F64(array) => bytes_of(array),
        Value::F32(array) => bytes_of(array),
        Value::I32(array) => bytes_of(array),
        Value::U8(array) => bytes_of(array),
    }
}
