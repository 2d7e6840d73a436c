//! Arrays from `.npy` files, which may be anything: cut off, of another type, or claiming to be larger than they are.
//!
//! Nothing is believed that the file's length does not bear out: memory is asked for after the header's shape was compared
//! with it. So what a bad file costs is an error and its own size. To read more types, add them to an [`Element`].

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ndarray::{Array, Dimension, IxDyn, ShapeBuilder};

use crate::error::{Error, Result};

/// What is wrong with a `.npy` file.
#[derive(Debug, thiserror::Error)]
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
    #[error("its header is not that of an array of numbers: {0}")]
    Header(String),
    /// Another type of entries.
    #[error("its entries are {found}, but must be {taken}; in NumPy, x.astype(...) converts them")]
    Type {
        /// The type, as NumPy names it.
        found: String,
        /// Those that are taken.
        taken: &'static str,
    },
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
    /// More than there is memory for.
    #[error("there is no memory for {0} entries")]
    Memory(usize),
}

/// An entry from its bytes, little-endian; `None` if they are none.
type Convert<A> = fn(&[u8]) -> Option<A>;

/// An entry that can be read: `f64` from float32 and float64, `i64` from int32 and int64, `i32` from int32, `bool` from bool.
pub trait Element: Copy {
    /// The types it is read from, as NumPy names them.
    #[doc(hidden)]
    const TAKEN: &'static str;
    /// How it is read from a type: of a kind (`i`, `f`, `b`) and a number of bytes.
    #[doc(hidden)]
    fn reader(kind: char, bytes: usize) -> Option<Convert<Self>>;
}

macro_rules! from_bytes {
    ($stored:ty as $element:ty) => {
        |bytes| Some(<$element>::from(<$stored>::from_le_bytes(bytes.try_into().ok()?)))
    };
}

impl Element for f64 {
    const TAKEN: &'static str = "float32 or float64";
    fn reader(kind: char, bytes: usize) -> Option<Convert<Self>> {
        match (kind, bytes) {
            ('f', 4) => Some(from_bytes!(f32 as f64)),
            ('f', 8) => Some(from_bytes!(f64 as f64)),
            _ => None,
        }
    }
}

impl Element for i64 {
    const TAKEN: &'static str = "int32 or int64";
    fn reader(kind: char, bytes: usize) -> Option<Convert<Self>> {
        match (kind, bytes) {
            ('i', 4) => Some(from_bytes!(i32 as i64)),
            ('i', 8) => Some(from_bytes!(i64 as i64)),
            _ => None,
        }
    }
}

impl Element for i32 {
    const TAKEN: &'static str = "int32";
    fn reader(kind: char, bytes: usize) -> Option<Convert<Self>> {
        (kind == 'i' && bytes == 4).then_some(from_bytes!(i32 as i32))
    }
}

impl Element for bool {
    const TAKEN: &'static str = "bool";
    fn reader(kind: char, bytes: usize) -> Option<Convert<Self>> {
        (kind == 'b' && bytes == 1).then_some(|bytes| (bytes[0] <= 1).then_some(bytes[0] == 1))
    }
}

/// Reads an array of D axes, which `axes` names for messages, as in `[N, H + 1]`. Either order of bytes and of axes will do.
///
/// # Errors
///
/// [`Error::File`] with the path and its cause: a [`Fault`], or an [`io::Error`].
pub fn read<A: Element, D: Dimension>(path: impl AsRef<Path>, axes: &str) -> Result<Array<A, D>> {
    let path = path.as_ref();
    open(path).and_then(|(file, length)| entries(file, length, axes)).map_err(|cause| match cause {
        Cause::Fault(fault) => Error::file(path, fault),
        Cause::Io(problem) => Error::file(path, problem),
    })
}

/// Why not: kept apart until the path is put beside it.
enum Cause {
    Fault(Fault),
    Io(io::Error),
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

type Outcome<T> = std::result::Result<T, Cause>;

/// A regular file and its length. (To open a pipe would be to wait for what is written to it.)
fn open(path: &Path) -> Outcome<(File, u64)> {
    let what = fs::metadata(path).map_err(|problem| match fs::read_link(path) {
        Ok(target) if problem.kind() == io::ErrorKind::NotFound => Fault::DanglingLink(target).into(),
        _ => Cause::from(problem),
    })?;
    if !what.is_file() {
        return Err(Fault::NoFile(if what.is_dir() { "folder" } else { "pipe or device" }).into());
    }
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

/// The array that `file`, of `length` bytes, holds.
fn entries<A: Element, D: Dimension>(mut file: impl Read, length: u64, axes: &str) -> Outcome<Array<A, D>> {
    let (header, begin) = Header::read(&mut file, length)?;
    let found = || Fault::Type { found: header.type_name(), taken: A::TAKEN };
    let (kind, bytes) = header.kind_and_bytes().ok_or_else(found)?;
    let convert = A::reader(kind, bytes).ok_or_else(found)?;
    if D::NDIM.is_some_and(|expected| expected != header.shape.len()) {
        return Err(Fault::Axes { found: header.shape, expected: axes.to_owned() }.into());
    }
    // An axis of length 0 leaves no entries, but the others still have to be lengths that an array can have.
    let mut lengths = header.shape.iter().filter(|&&length| length > 0);
    let most = lengths.try_fold(bytes, |product, &length| product.checked_mul(length));
    let most = most.filter(|&most| isize::try_from(most).is_ok());
    let expected = if header.shape.contains(&0) { most.map(|_| 0) } else { most };
    let there = length - begin;
    let Some(expected) = expected.filter(|&expected| expected as u64 == there) else {
        let expected = expected.map_or_else(|| "more than 2^63".to_owned(), |expected| expected.to_string());
        return Err(Fault::Length { shape: header.shape, expected, found: there }.into());
    };
    let count = expected / bytes;
    let mut array = Vec::new();
    array.try_reserve_exact(count).map_err(|_| Fault::Memory(count))?;
    let mut buffer = [0; 8192];
    while array.len() < count {
        let part = &mut buffer[..bytes * (count - array.len()).min(8192 / bytes)];
        file.read_exact(part)?;
        for stored in part.chunks_exact_mut(bytes) {
            if header.is_big_endian() {
                stored.reverse();
            }
            array.push(convert(stored).ok_or(Fault::Bool { entry: array.len(), byte: stored[0] })?);
        }
    }
    let shape = IxDyn(&header.shape).set_f(header.fortran_order);
    let array = Array::from_shape_vec(shape, array).expect("as many entries as the shape has");
    Ok(array.into_dimensionality().expect("as many axes as were asked for"))
}

/// What a header says: NumPy's `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }`.
struct Header {
    descriptor: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    /// The longest header that is read; NumPy's own limit.
    const LONGEST: u64 = 10_000;

    /// The header, and how many bytes it is from the file's begin to its end.
    fn read(file: &mut impl Read, length: u64) -> Outcome<(Self, u64)> {
        let mut begin = [0; 8];
        if length < 12 {
            return Err(Fault::Magic.into());
        }
        file.read_exact(&mut begin)?;
        let [b'\x93', b'N', b'U', b'M', b'P', b'Y', major, minor] = begin else { return Err(Fault::Magic.into()) };
        let mut size = [0; 4];
        let bytes = match (major, minor) {
            (1, 0) => 2,
            (2 | 3, 0) => 4,
            _ => return Err(Fault::Version(major, minor).into()),
        };
        let begin = 8 + bytes as u64;
        let possible = (length - begin).min(Self::LONGEST);
        file.read_exact(&mut size[..bytes])?;
        let claimed = u64::from(u32::from_le_bytes(size));
        if claimed > possible {
            return Err(Fault::HeaderLength { claimed, possible }.into());
        }
        let mut text = vec![0; claimed as usize];
        file.read_exact(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        let header = Self::parse(&text).ok_or_else(|| Fault::Header(shown(text.trim_ascii(), 80)))?;
        Ok((header, begin + claimed))
    }

    /// Of a dictionary with just these three keys, in any order.
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('\n')?;
        let mut rest = text.trim_ascii().strip_prefix('{')?.strip_suffix('}')?.trim_ascii();
        let (mut descriptor, mut fortran_order, mut shape) = (None, None, None);
        while !rest.is_empty() {
            let (key, after) = quoted(rest)?;
            let value = after.trim_ascii_start().strip_prefix(':')?.trim_ascii_start();
            rest = match key {
                "descr" => {
                    let (text, rest) = quoted(value)?;
                    descriptor.replace(text.to_owned()).is_none().then_some(rest)?
                }
                "fortran_order" => {
                    let (order, rest) = match value.strip_prefix("False") {
                        Some(rest) => (false, rest),
                        None => (true, value.strip_prefix("True")?),
                    };
                    fortran_order.replace(order).is_none().then_some(rest)?
                }
                "shape" => {
                    let (lengths, rest) = value.strip_prefix('(')?.split_once(')')?;
                    // A tuple: `()`, `(3,)`, `(3, 4)`, `(3, 4,)`.
                    let lengths = match lengths.trim_ascii() {
                        "" => Vec::new(),
                        some if !some.contains(',') => return None,
                        some => some.strip_suffix(',').unwrap_or(some).split(',').map(number).collect::<Option<_>>()?,
                    };
                    shape.replace(lengths).is_none().then_some(rest)?
                }
                _ => return None,
            }
            .trim_ascii_start();
            rest = match rest.strip_prefix(',') {
                Some(rest) => rest.trim_ascii_start(),
                None => rest.is_empty().then_some(rest)?,
            };
        }
        Some(Self { descriptor: descriptor?, fortran_order: fortran_order?, shape: shape? })
    }

    /// Of `<f8`: `f` and 8. Nothing, if it is of another form.
    fn kind_and_bytes(&self) -> Option<(char, usize)> {
        let mut letters = self.descriptor.chars();
        let (order, kind) = (letters.next()?, letters.next()?);
        let bytes = number(letters.as_str())?;
        // One byte has no order.
        let orders: &[char] = if bytes == 1 { &['|'] } else { &['<', '>'] };
        orders.contains(&order).then_some((kind, bytes))
    }

    fn is_big_endian(&self) -> bool {
        self.descriptor.starts_with('>')
    }

    /// `float64` for `<f8`.
    fn type_name(&self) -> String {
        let name = match self.kind_and_bytes() {
            Some(('b', 1)) => return "bool".to_owned(),
            Some((kind, bytes)) if bytes <= 32 => {
                let names = [('i', "int"), ('u', "uint"), ('f', "float"), ('c', "complex")];
                names.iter().find(|(letter, _)| *letter == kind).map(|(_, name)| format!("{name}{}", 8 * bytes))
            }
            _ => None,
        };
        name.unwrap_or_else(|| format!("of type `{}`", shown(&self.descriptor, 20)))
    }
}

/// What stands between the quotes that a text begins with, and what follows.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|&quote| quote == '\'' || quote == '"')?;
    text[1..].split_once(quote)
}

fn number(digits: &str) -> Option<usize> {
    let digits = digits.trim_ascii();
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// The begin of a text that may hold anything, for a message.
fn shown(text: &str, characters: usize) -> String {
    text.chars().take(characters).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
