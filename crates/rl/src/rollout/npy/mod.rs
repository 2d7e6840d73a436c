//! Arrays as NumPy writes them, from files that may be anything: cut off, of another type, or claiming to be larger than they
//! are.
//!
//! A [`Source`] is a folder of `.npy` files or an `.npz` archive, and finds an array by its name; a [`Stored`] is such an
//! array. Nothing is believed that the bytes do not bear out: a header's shape is compared with what follows it, and memory is
//! asked for as bytes are there. So what a bad file costs is an error and its own size, or what really comes out of it. To read
//! another type, add it to [`Stored`].
//!
//! ```no_run
//! # use rl::rollout::npy::Source;
//! let mut source = Source::open("episodes.npz")?;                     // or a folder
//! let lengths = source.read("lengths")?.into_i64()?;
//! let mut actions = source.read("actions")?;
//! actions.zero_unless(|trajectory, step| (step as i64) < lengths[[trajectory]]);
//! let actions = actions.into_value()?;                                // for a tape
//! # let _ = actions;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod header;
mod source;
mod stored;

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use crate::error::Error;
pub use source::Source;
pub use stored::Stored;

/// The types that are read, as NumPy names them.
const TYPES: &str = "bool, int8 to int64, uint8 to uint64, float16, float32 or float64";

/// What is wrong with a `.npy` file, with an archive of them, or with an entry that is to be of another type.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A link to nothing.
    #[error("a link to {}, which does not exist", .0.display())]
    DanglingLink(PathBuf),
    /// A folder, a pipe or a device.
    #[error("no file, but a {0}")]
    NoFile(&'static str),
    /// Another format.
    #[error("no .npy file: it does not begin as one; write it by numpy.save")]
    Magic,
    /// A version of the format that is not known.
    #[error("version {0}.{1} of the .npy format is not known; 1.0, 2.0 and 3.0 are")]
    Version(u8, u8),
    /// A header that is longer than the file, or than any that describes an array of numbers.
    #[error("its header claims {claimed} bytes, but {} can be there", .possible)]
    HeaderLength {
        /// The length that is claimed.
        claimed: u64,
        /// The most that there can be.
        possible: u64,
    },
    /// A header that describes no array of numbers.
    #[error(
        "its header is not that of an array of numbers: {0}; entries are {TYPES}, and the fields of a structured array are \
         written one by one"
    )]
    Header(String),
    /// Another type of entries.
    #[error("its entries are {found}, but must be {taken}; in NumPy, x.astype(...) converts them")]
    Type {
        /// The type, as NumPy names it.
        found: String,
        /// Those that are taken.
        taken: &'static str,
    },
    /// NumPy's `longdouble`.
    #[error(
        "its entries are {0} (longdouble), which other machines write otherwise; in NumPy, x.astype('float64') converts them"
    )]
    LongDouble(String),
    /// Another number of axes.
    #[error("it has shape {found:?}, but must have the axes {expected}")]
    Axes {
        /// The shape.
        found: Vec<usize>,
        /// What its axes must be.
        expected: String,
    },
    /// Fewer or more bytes than the shape asks for.
    #[error("its shape {shape:?} asks for {expected} bytes of entries, but {found} follow the header")]
    Length {
        /// The shape.
        shape: Vec<usize>,
        /// The bytes it asks for (in words, if they are too many to count).
        expected: String,
        /// The bytes that are there.
        found: u64,
    },
    /// A bool that is neither 0 nor 1.
    #[error("entry {entry} is the byte {byte}, but a bool is 0 or 1")]
    Bool {
        /// Its number.
        entry: usize,
        /// What is there.
        byte: u8,
    },
    /// An integer that the type asked for does not have.
    #[error("entry {index:?} is {value}, but must be {must}")]
    Integer {
        /// Which entry, an index for each axis.
        index: Vec<usize>,
        /// What is there.
        value: i128,
        /// What it must be.
        must: &'static str,
    },
    /// More than there is memory for.
    #[error("there is no memory for {0} entries")]
    Memory(usize),
    /// A file that is not in its folder.
    #[error("No such file in the folder; write it by numpy.save")]
    Absent,
    /// One array under two names.
    #[error("there are both `{}` and `{}`, which are two names for one thing; leave one", .0[0], .0[1])]
    Both([&'static str; 2]),
    /// An array that is there under neither of its names.
    #[error("there is neither `{}` nor `{}`; give one", .0[0], .0[1])]
    Neither([&'static str; 2]),
    /// A path at which there is nothing.
    #[error(
        "there is nothing; give a folder of NAME.npy files, or an .npz archive as numpy.savez(path, NAME=x) writes it"
    )]
    Nothing,
    /// A file that is no archive.
    #[error("neither a folder of NAME.npy files nor an .npz archive, which numpy.savez(path, NAME=x) writes")]
    NoArchive,
    /// An archive whose lists of what is in it are cut off, damaged, or contradict each other.
    #[error("the archive is damaged ({0}); write it again by numpy.savez")]
    Archive(String),
    /// An archive in which a name stands for two arrays.
    #[error("the archive has two arrays of the same name; write each once")]
    Twice,
    /// An array that is not in the archive.
    #[error("it is not in the archive, which holds {holds}; numpy.savez(path, NAME=x) says what x is called")]
    Missing {
        /// The names that are.
        holds: String,
    },
    /// An array that is encrypted in the archive.
    #[error("it is encrypted; write it without a password, as numpy.savez does")]
    Encrypted,
    /// An array that is compressed by another method.
    #[error(
        "it is compressed by method {0}; numpy.savez stores and numpy.savez_compressed deflates, and both are read"
    )]
    Compression(u16),
    /// An array whose bytes in the archive are not those that were written.
    #[error("its bytes in the archive are damaged ({0}); write it again by numpy.savez")]
    Damaged(String),
}

/// Why not: kept apart until the path is put beside it.
enum Cause {
    Fault(Fault),
    Io(io::Error),
}

impl Cause {
    fn at(self, path: &Path) -> Error {
        match self {
            Cause::Fault(fault) => Error::file(path, fault),
            Cause::Io(problem) => Error::file(path, problem),
        }
    }
}

impl From<Fault> for Cause {
    fn from(fault: Fault) -> Self {
        Cause::Fault(fault)
    }
}

impl From<io::Error> for Cause {
    fn from(problem: io::Error) -> Self {
        Cause::Io(problem)
    }
}

type Outcome<T> = Result<T, Cause>;

/// A regular file and its length. (To open a pipe would be to wait for what is written to it.)
fn open(path: &Path) -> Outcome<(BufReader<File>, u64)> {
    let what = fs::metadata(path).map_err(|problem| match fs::read_link(path) {
        Ok(target) if problem.kind() == io::ErrorKind::NotFound => Fault::DanglingLink(target).into(),
        _ => Cause::from(problem),
    })?;
    if !what.is_file() {
        return Err(Fault::NoFile(if what.is_dir() { "folder" } else { "pipe or device" }).into());
    }
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    Ok((BufReader::new(file), length))
}
