//! Checkpoints: all that the next iterations depend on, in a `safetensors` file.
//!
//! Arrays are tensors of type F64, to the bit. All else stands as JSON under one key of the metadata (with several, their order
//! would be another each time), with a checksum of itself and of each array's name, shape and bytes. A file is believed as
//! far as its length bears it out: what its header says is held against that before memory is asked for.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ndarray::ArrayD;
use rl::error::Error as DataError;
use rl::files::write_whole;
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::config::{Config, Layer};
use super::error::{Error, Result, shortened};
use crate::learner::State;

/// The newest version of what is written. The first has no versions of what is outside of the program; it is still written where
/// there are none, so that a program which knows nothing of them reads what it can go on with.
const VERSION: u64 = 2;

/// The key of the metadata.
const KEY: &str = "train";

/// The state of a run between two iterations.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The iteration to go on with: as many have been made.
    pub iteration: u64,
    /// The steps made in environments so far.
    pub env_steps: u64,
    /// What runs.
    pub config: Config,
    /// The best validation so far.
    pub best: Option<Best>,
    /// What outside of this program decided over bits, with its version: nothing where nothing did, or where it was not noted.
    pub versions: Vec<(String, String)>,
    /// The learner's.
    pub state: State,
}

/// The parameters that were best on the validation's tasks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Best {
    /// The iteration that begins with them.
    pub iteration: u64,
    /// Their mean return, adapted.
    pub value: f64,
}

/// All that is no array. Large integers are text, because most readers take a JSON number for a double, and so are the bits of
/// doubles.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    version: u64,
    crc32c: u32,
    iteration: String,
    env_steps: String,
    seed: String,
    config: String,
    /// The iteration, and the bits of the value.
    best: Option<[String; 2]>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    versions: Vec<[String; 2]>,
    /// The names of the arrays in their order, which is not the file's.
    arrays: Vec<String>,
    /// Each with its bits.
    numbers: Vec<[String; 2]>,
}

impl Facts {
    /// Of the facts, but for the checksum itself, and of the arrays.
    fn checksum<'a>(&mut self, arrays: impl Iterator<Item = (&'a [usize], &'a [u8])>) -> u32 {
        let stored = std::mem::replace(&mut self.crc32c, 0);
        let text = serde_json::to_string(self).expect("texts and numbers");
        self.crc32c = stored;
        arrays.fold(crc32c::crc32c(text.as_bytes()), |sum, (shape, bytes)| {
            let sum = crc32c::crc32c_append(sum, format!("{shape:?}").as_bytes());
            crc32c::crc32c_append(sum, bytes)
        })
    }
}

fn bits(x: f64) -> String {
    format!("{:016x}", x.to_bits())
}

/// What is wrong with bytes.
enum Problem {
    Newer(u64),
    Damaged(String),
}

impl Problem {
    fn of(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Problem::Newer(found) => Error::Newer { path, found, known: VERSION },
            Problem::Damaged(what) => {
                Error::Damaged { path, what: format!("it is no checkpoint, or a damaged one: {what}") }
            }
        }
    }
}

impl From<String> for Problem {
    fn from(what: String) -> Self {
        Problem::Damaged(what)
    }
}

impl Checkpoint {
    /// As a file's bytes: the same checkpoint is the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { iteration, env_steps, config, best, versions, state } = self;
        let arrays: Vec<(&String, &[usize], Vec<u8>)> = (state.arrays.iter())
            .map(|(name, array)| (name, array.shape(), array.iter().flat_map(|x| x.to_le_bytes()).collect()))
            .collect();
        let mut facts = Facts {
            version: if versions.is_empty() { 1 } else { VERSION },
            crc32c: 0,
            iteration: iteration.to_string(),
            env_steps: env_steps.to_string(),
            seed: config.seed.to_string(),
            config: config.lines(),
            best: best.map(|best| [best.iteration.to_string(), bits(best.value)]),
            versions: versions.iter().map(|(name, version)| [name.clone(), version.clone()]).collect(),
            arrays: state.arrays.keys().cloned().collect(),
            numbers: state.numbers.iter().map(|(name, &x)| [name.clone(), bits(x)]).collect(),
        };
        facts.crc32c = facts.checksum(arrays.iter().map(|(_, shape, bytes)| (*shape, &bytes[..])));
        let text = serde_json::to_string(&facts).expect("texts and numbers");
        let views = arrays.iter().map(|(name, shape, bytes)| {
            (*name, TensorView::new(Dtype::F64, shape.to_vec(), bytes).expect("eight bytes an entry"))
        });
        let metadata = [(KEY.to_owned(), text)].into_iter().collect();
        safetensors::serialize(views, Some(metadata)).expect("a header of less than 100 MB")
    }

    /// From a file's bytes; `path` is for messages.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] unless these are the bytes that were written; [`Error::Newer`].
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self> {
        Self::parse(bytes).map_err(|problem| problem.of(path))
    }

    fn parse(bytes: &[u8]) -> std::result::Result<Self, Problem> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|cause| cause.to_string())?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|cause| cause.to_string())?;
        let text = metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
        let text = text.ok_or_else(|| format!("its metadata have no `{KEY}`"))?;
        let value: serde_json::Value = serde_json::from_str(text).map_err(|cause| cause.to_string())?;
        match value.get("version").and_then(serde_json::Value::as_u64) {
            Some(1..=VERSION) => {}
            Some(newer) if newer > VERSION => return Err(Problem::Newer(newer)),
            _ => return Err("it has no version".to_owned().into()),
        }
        // From the text: two entries of one name are no value.
        let mut facts: Facts = serde_json::from_str(text).map_err(|cause| cause.to_string())?;

        let arrays: Vec<TensorView<'_>> = (facts.arrays.iter())
            .map(|name| tensors.tensor(name).map_err(|_| format!("the array `{}` is missing", shortened(name))))
            .collect::<std::result::Result<_, _>>()?;
        let checksum = facts.checksum(arrays.iter().map(|tensor| (tensor.shape(), tensor.data())));
        if checksum != facts.crc32c || tensors.len() != arrays.len() {
            return Err("its checksum is another".to_owned().into());
        }
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("`{}` is no number", shortened(text)));
        let double = |text: &str| {
            let bits = u64::from_str_radix(text, 16).map_err(|_| format!("`{}` is no number", shortened(text)))?;
            Ok::<f64, String>(f64::from_bits(bits))
        };
        let mut state = State::default();
        for (name, tensor) in facts.arrays.iter().zip(&arrays) {
            if tensor.dtype() != Dtype::F64 {
                return Err(format!("`{}` is of type {}", shortened(name), tensor.dtype()).into());
            }
            let (entries, _) = tensor.data().as_chunks::<8>();
            let entries = entries.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
            let array = ArrayD::from_shape_vec(tensor.shape(), entries).map_err(|cause| cause.to_string())?;
            state.arrays.insert(name.clone(), array);
        }
        for [name, bits] in &facts.numbers {
            state.numbers.insert(name.clone(), double(bits)?);
        }
        let layer = Layer::parse("its configuration", &facts.config).map_err(|cause| cause.to_string())?;
        let best = match &facts.best {
            None => None,
            Some([iteration, value]) => Some(Best { iteration: number(iteration)?, value: double(value)? }),
        };
        let (iteration, env_steps) = (number(&facts.iteration)?, number(&facts.env_steps)?);
        let versions = facts.versions.into_iter().map(|[name, version]| (name, version)).collect();
        Ok(Self { iteration, env_steps, config: Config::merged([&layer]), best, versions, state })
    }

    /// Whatever has another version than these, with both. A checkpoint without versions has none to differ.
    pub fn other_versions(&self, here: &[(String, String)]) -> Vec<String> {
        if self.versions.is_empty() {
            return Vec::new();
        }
        let of = |versions: &[(String, String)], name: &String| {
            versions.iter().find(|(of, _)| of == name).map_or("none", |(_, version)| version).to_owned()
        };
        let only_here = here.iter().filter(|(name, _)| self.versions.iter().all(|(of, _)| of != name));
        let names = self.versions.iter().chain(only_here).map(|(name, _)| name);
        let both = names.map(|name| (name, of(&self.versions, name), of(here, name)));
        both.filter(|(_, then, now)| then != now)
            .map(|(name, then, now)| format!("{} was {}, but is {now} here", shortened(name), shortened(&then)))
            .collect()
    }

    /// From a file.
    ///
    /// # Errors
    ///
    /// [`rl::error::Error::File`] if it cannot be read, and those of [`from_bytes`](Self::from_bytes).
    pub fn read(path: &Path) -> Result<Self> {
        let failed = |cause: io::Error| Error::from(DataError::file(path, cause));
        let bytes = believed(path).map_err(failed)?;
        match bytes {
            Ok(bytes) => Self::from_bytes(path, &bytes),
            Err(what) => Err(Problem::Damaged(what).of(path)),
        }
    }
}

/// The bytes of a file, if they are as many as its header says; or why not.
fn believed(path: &Path) -> io::Result<std::result::Result<Vec<u8>, String>> {
    let mut file = File::open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Ok(Err("it is not a file".to_owned()));
    }
    let short = || Ok(Err(format!("it ends after {} bytes", facts.len())));
    let mut length = [0; 8];
    if facts.len() < 8 {
        return short();
    }
    file.read_exact(&mut length)?;
    let header = u64::from_le_bytes(length);
    if header > facts.len() - 8 {
        return short();
    }
    if header > 100_000_000 {
        return Ok(Err("its header is too long".to_owned()));
    }
    let mut bytes = length.to_vec();
    file.by_ref().take(header).read_to_end(&mut bytes)?;
    let metadata: Metadata = match serde_json::from_slice(&bytes[8..]) {
        Ok(metadata) => metadata,
        Err(cause) => return Ok(Err(cause.to_string())),
    };
    let expected = 8 + header + metadata.data_len() as u64;
    if facts.len() != expected {
        return Ok(Err(format!("it has {} bytes, but should have {expected}", facts.len())));
    }
    file.take(expected - 8 - header).read_to_end(&mut bytes)?;
    Ok(Ok(bytes))
}

/// The checkpoints of a run, of which the last two are kept.
#[derive(Debug)]
pub struct Checkpoints {
    /// The last one.
    pub last: PathBuf,
    /// The one before.
    pub before: PathBuf,
    /// Whether the last one is worth keeping when the next comes.
    is_good: bool,
}

/// The files of [`Checkpoints`].
pub(super) const NAMES: [&str; 2] = ["checkpoint.safetensors", "checkpoint.previous.safetensors"];

impl Checkpoints {
    /// Those in this folder, if there are any.
    pub fn of(folder: &Path) -> Self {
        let [last, before] = NAMES.map(|name| folder.join(name));
        Self { last, before, is_good: true }
    }

    /// The last one; if it is damaged or missing, the one before, and a sentence that says so. Nothing if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Newer`] for the last one, because going on would replace it; what is wrong with the last one if the one before is no
    /// better.
    pub fn read(&mut self) -> Result<Option<(Checkpoint, Option<String>)>> {
        let problem = match is_there(&self.last) {
            false if !is_there(&self.before) => return Ok(None),
            false => format!("{} is missing", self.last.display()),
            true => match Checkpoint::read(&self.last) {
                Ok(checkpoint) => return Ok(Some((checkpoint, None))),
                Err(error @ Error::Damaged { .. }) if is_there(&self.before) => error.to_string(),
                Err(error) => return Err(error),
            },
        };
        self.is_good = false;
        match Checkpoint::read(&self.before) {
            Ok(checkpoint) => {
                let note = format!("{problem}; the one before is used, of iteration {}", checkpoint.iteration);
                Ok(Some((checkpoint, Some(note))))
            }
            Err(error) => Err(Error::Damaged {
                path: self.last.clone(),
                what: format!("neither this checkpoint nor the one before can be used: {problem}; {error}"),
            }),
        }
    }

    /// The one that a run is resumed from.
    pub fn good(&self) -> &Path {
        if self.is_good { &self.last } else { &self.before }
    }

    /// Writes the next one, and keeps the last.
    ///
    /// # Errors
    ///
    /// [`rl::error::Error::File`]; then the last one is still there, in its place or as the one before.
    pub fn write(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let bytes = checkpoint.to_bytes();
        if self.is_good && is_there(&self.last) {
            let failed = |cause: io::Error| DataError::file(&self.before, cause);
            fs::rename(&self.last, &self.before).map_err(failed)?;
        }
        self.is_good = false;
        write_whole([(&self.last, bytes)])?;
        self.is_good = true;
        Ok(())
    }
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use indexmap::IndexMap;
    use ndarray::arr1;

    fn checkpoint() -> Checkpoint {
        let nan = f64::from_bits(0x7ff8_0000_dead_beef);
        let arrays = IndexMap::from([
            ("w".to_owned(), ndarray::arr2(&[[0.1 + 0.2, -0.0, nan], [f64::INFINITY, 1e300, 5e-324]]).into_dyn()),
            ("a".to_owned(), arr1(&[3.0]).into_dyn()),
            ("none".to_owned(), arr1(&[0.0; 0]).into_dyn()),
            ("scalar".to_owned(), ndarray::arr0(7.0).into_dyn()),
        ]);
        let numbers = IndexMap::from([("steps".to_owned(), 12.0), ("rate".to_owned(), nan)]);
        Checkpoint {
            iteration: u64::MAX,
            env_steps: (1 << 53) + 1,
            config: Config { seed: (1 << 53) + 1, inner_rate: 0.1 + 0.2, ..Config::default() },
            best: Some(Best { iteration: 3, value: -0.0 }),
            versions: vec![("gymnasium".to_owned(), "1.4.0".to_owned()), ("numpy".to_owned(), "2.4".to_owned())],
            state: State { arrays, numbers },
        }
    }

    fn read(bytes: &[u8]) -> Result<Checkpoint> {
        Checkpoint::from_bytes(Path::new("file"), bytes)
    }

    /// Every bit of the numbers, NaN or not, in their order.
    fn fingerprint(checkpoint: &Checkpoint) -> String {
        let Checkpoint { iteration, env_steps, config, best, versions, state } = checkpoint;
        let best = best.map(|best| (best.iteration, bits(best.value)));
        let mut text = format!("{iteration} {env_steps} {} {best:?} {versions:?}", config.lines());
        for (name, array) in &state.arrays {
            let entries: Vec<String> = array.iter().map(|&x| bits(x)).collect();
            text += &format!("{name} {:?} {entries:?}\n", array.shape());
        }
        state.numbers.iter().for_each(|(name, &x)| text += &format!("{name} {}\n", bits(x)));
        text
    }

    #[test]
    fn what_is_written_is_read_to_the_bit_and_in_its_order() {
        let written = checkpoint();
        let bytes = written.to_bytes();
        assert_eq!(bytes, written.to_bytes());
        assert_eq!(fingerprint(&read(&bytes).unwrap()), fingerprint(&written));
    }

    #[test]
    fn arrays_that_lie_in_another_order_are_written_in_theirs() {
        let array = ndarray::arr2(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).reversed_axes();
        let mut written = checkpoint();
        written.state.arrays.insert("w".to_owned(), array.into_dyn());
        assert_eq!(fingerprint(&read(&written.to_bytes()).unwrap()), fingerprint(&written));
    }

    #[test]
    fn a_file_that_is_cut_is_an_error_at_every_length() {
        let bytes = checkpoint().to_bytes();
        for length in 0..bytes.len() {
            let error = read(&bytes[..length]).unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }), "{length}: {error}");
            assert!(error.to_string().starts_with("file: it is no checkpoint, or a damaged one: "), "{error}");
        }
        assert!(read(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn no_flip_of_a_bit_gives_other_numbers() {
        let written = checkpoint();
        let (bytes, right) = (written.to_bytes(), fingerprint(&written));
        let mut accepted = 0;
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[place] ^= 1 << bit;
                match read(&flipped) {
                    Err(Error::Damaged { .. } | Error::Newer { .. }) => {}
                    Err(error) => panic!("{place}.{bit}: {error}"),
                    Ok(found) => {
                        accepted += 1;
                        assert_eq!(fingerprint(&found), right, "{place}.{bit}");
                    }
                }
            }
        }
        // Spaces that end the header, at most, of seven bytes.
        assert!(accepted <= 7 * 8, "{accepted}");
    }

    /// The metadata of a checkpoint, changed, with a right checksum or not.
    fn with_facts(change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
        let bytes = checkpoint().to_bytes();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let mut facts = serde_json::from_str(&metadata.metadata().as_ref().unwrap()[KEY]).unwrap();
        change(&mut facts);
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let metadata = [(KEY.to_owned(), facts.to_string())].into_iter().collect();
        safetensors::serialize(tensors.tensors(), Some(metadata)).unwrap()
    }

    #[test]
    fn a_foreign_or_newer_file_is_told() {
        let newer = read(&with_facts(|facts| facts["version"] = 3.into())).unwrap_err();
        assert!(matches!(newer, Error::Newer { found: 3, known: 2, .. }), "{newer}");
        assert_eq!(
            newer.to_string(),
            "file: it is a checkpoint of version 3, but this program reads up to 2; use a newer one"
        );
        let foreign = safetensors::serialize(Vec::<(String, TensorView<'_>)>::new(), None).unwrap();
        assert!(read(&foreign).unwrap_err().to_string().ends_with("its metadata have no `train`"));
        for (what, bytes) in [
            ("its checksum is another", with_facts(|facts| facts["iteration"] = "7".into())),
            ("its checksum is another", with_facts(|facts| facts["versions"][0][1] = "1.3.0".into())),
            ("its checksum is another", with_facts(|facts| facts["arrays"] = ["w", "a", "none"].as_slice().into())),
            ("the array `v` is missing", with_facts(|facts| facts["arrays"][0] = "v".into())),
            ("it has no version", with_facts(|facts| facts["version"] = 0.into())),
            ("missing field `seed`", with_facts(|facts| drop(facts.as_object_mut().unwrap().remove("seed")))),
        ] {
            let message = read(&bytes).unwrap_err().to_string();
            assert!(message.contains(what), "{what}: {message}");
        }
    }

    #[test]
    fn without_versions_it_is_of_the_first_version_and_differs_from_none() {
        let here = |versions: &[(&str, &str)]| -> Vec<(String, String)> {
            versions.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect()
        };
        let first = Checkpoint { versions: Vec::new(), ..checkpoint() };
        let bytes = first.to_bytes();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let text = &metadata.metadata().as_ref().unwrap()[KEY];
        assert!(text.starts_with(r#"{"version":1,"#) && !text.contains("versions"), "{text}");
        assert_eq!(fingerprint(&read(&bytes).unwrap()), fingerprint(&first));
        assert!(first.other_versions(&here(&[("gymnasium", "1.4.0")])).is_empty());

        let found = read(&checkpoint().to_bytes()).unwrap();
        assert!(found.other_versions(&here(&[("numpy", "2.4"), ("gymnasium", "1.4.0")])).is_empty());
        assert_eq!(
            found.other_versions(&here(&[("gymnasium", "1.3.0"), ("mujoco", "3.17.0")])),
            [
                "gymnasium was 1.4.0, but is 1.3.0 here",
                "numpy was 2.4, but is none here",
                "mujoco was none, but is 3.17.0 here"
            ]
        );
    }

    #[test]
    fn memory_is_asked_for_as_far_as_the_file_bears_it_out() {
        let path = std::env::temp_dir().join(format!("checkpoint-large-{}", std::process::id()));
        // A terabyte of nothing, behind a header that is right, one that says less, and none.
        for (header, words) in [
            (r#"{"w":{"dtype":"F64","shape":[2],"data_offsets":[0,16]}}"#, "but should have"),
            (
                r#"{"w":{"dtype":"F64","shape":[1152921504606846976],"data_offsets":[0,9223372036854775808]}}"#,
                "overflow",
            ),
            ("", "EOF"),
        ] {
            let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
            bytes.extend(header.as_bytes());
            fs::write(&path, bytes).unwrap();
            File::options().append(true).open(&path).unwrap().set_len(1 << 40).unwrap();
            let message = Checkpoint::read(&path).unwrap_err().to_string();
            assert!(message.contains(words), "{header}: {message}");
        }
        fs::remove_file(&path).unwrap();
        let message = Checkpoint::read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(cfg!(not(unix)) || message.contains("it is not a file"), "{message}");
    }

    #[test]
    fn the_last_two_are_kept_and_the_one_before_serves_if_the_last_does_not() {
        let folder = std::env::temp_dir().join(format!("checkpoints-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let of = |iteration| Checkpoint { iteration, ..checkpoint() };
        let mut kept = Checkpoints::of(&folder);
        assert!(kept.read().unwrap().is_none());
        for iteration in 1..=3 {
            kept.write(&of(iteration)).unwrap();
        }
        let (found, note) = kept.read().unwrap().unwrap();
        assert_eq!((found.iteration, note), (3, None));

        fs::write(&kept.last, "damaged").unwrap();
        let mut again = Checkpoints::of(&folder);
        let (found, note) = again.read().unwrap().unwrap();
        assert_eq!(found.iteration, 2);
        let note = note.unwrap();
        assert!(
            note.contains("checkpoint.safetensors: it is no checkpoint") && note.ends_with("of iteration 2"),
            "{note}"
        );
        // A damaged one does not push a good one out.
        again.write(&of(4)).unwrap();
        fs::write(&again.last, "damaged").unwrap();
        assert_eq!(Checkpoints::of(&folder).read().unwrap().unwrap().0.iteration, 2);

        // Killed between renaming and writing.
        fs::remove_file(&again.last).unwrap();
        let (found, note) = Checkpoints::of(&folder).read().unwrap().unwrap();
        assert_eq!((found.iteration, note.unwrap().contains("is missing")), (2, true));

        fs::write(&again.last, with_facts(|facts| facts["version"] = 9.into())).unwrap();
        assert!(matches!(Checkpoints::of(&folder).read().unwrap_err(), Error::Newer { found: 9, .. }));
        fs::write(&again.last, "damaged").unwrap();
        fs::write(&again.before, "damaged, too").unwrap();
        let message = Checkpoints::of(&folder).read().unwrap_err().to_string();
        assert!(message.contains("neither this checkpoint nor the one before"), "{message}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
