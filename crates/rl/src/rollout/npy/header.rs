//! What a `.npy` file says of itself: the type of its entries, their order and their shape.

use std::io::Read;

use super::{Fault, Outcome};

/// What a header says: NumPy's `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }`.
pub(super) struct Header {
    descriptor: String,
    pub(super) fortran_order: bool,
    pub(super) shape: Vec<usize>,
}

impl Header {
    /// The longest header that is read; NumPy's own limit.
    const LONGEST: u64 = 10_000;

    /// The header, and how many bytes it is from the file's begin to its end.
    pub(super) fn read(file: &mut impl Read, length: u64) -> Outcome<(Self, u64)> {
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
                        some => some.strip_suffix(',').unwrap_or(some).split(',').map(axis).collect::<Option<_>>()?,
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

    /// How many entries of so many bytes the shape has, if that is what the bytes which follow the header make.
    pub(super) fn count(&self, bytes: usize, follow: u64) -> Outcome<usize> {
        // An axis of length 0 leaves no entries, but the others still have to be lengths that an array can have.
        let mut lengths = self.shape.iter().filter(|&&length| length > 0);
        let most = lengths.try_fold(bytes, |product, &length| product.checked_mul(length));
        let most = most.filter(|&most| isize::try_from(most).is_ok());
        let expected = if self.shape.contains(&0) { most.map(|_| 0) } else { most };
        match expected.filter(|&expected| expected as u64 == follow) {
            Some(expected) => Ok(expected / bytes),
            None => {
                let expected = expected.map_or_else(|| "more than 2^63".to_owned(), |expected| expected.to_string());
                Err(Fault::Length { shape: self.shape.clone(), expected, found: follow }.into())
            }
        }
    }

    /// Of `<f8`: `f` and 8. Nothing, if it is of another form.
    pub(super) fn kind_and_bytes(&self) -> Option<(char, usize)> {
        let mut letters = self.descriptor.chars();
        let (order, kind) = (letters.next()?, letters.next()?);
        let bytes = number(letters.as_str())?;
        // One byte has no order.
        let orders: &[char] = if bytes == 1 { &['|'] } else { &['<', '>'] };
        orders.contains(&order).then_some((kind, bytes))
    }

    pub(super) fn is_big_endian(&self) -> bool {
        self.descriptor.starts_with('>')
    }

    /// `float64` for `<f8`.
    pub(super) fn type_name(&self) -> String {
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

/// A length in a shape. (In NumPy of Python 2, it may be written as `3L`.)
fn axis(length: &str) -> Option<usize> {
    let length = length.trim_ascii();
    number(length.strip_suffix('L').unwrap_or(length))
}

fn number(digits: &str) -> Option<usize> {
    let digits = digits.trim_ascii();
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// The begin of a text that may hold anything, for a message.
pub(super) fn shown(text: &str, characters: usize) -> String {
    text.chars().take(characters).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
