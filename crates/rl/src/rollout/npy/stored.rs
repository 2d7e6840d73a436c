//! An array as a file has it, in the types that hold what NumPy writes; and as the types that are computed with.

use std::io::Read;

use ad::Value;
use ndarray::{ArrayD, Axis, Dimension, IxDyn, ShapeBuilder};

use super::header::Header;
use super::{Fault, Outcome, TYPES};

/// An array as a file has it. Every type that NumPy writes has one that holds it exactly:
///
/// | NumPy | |
/// |---|---|
/// | bool | `Bool` |
/// | uint8 | `U8` |
/// | int8, int16, uint16, int32 | `I32` |
/// | uint32, int64 | `I64` |
/// | uint64 | `U64` |
/// | float16, float32 | `F32` |
/// | float64 | `F64` |
///
/// To compute with it, it becomes a [`Value`] or an array of `f64` ([`Stored::into_value`], [`Stored::into_f64`]), where an
/// integer that the type does not have is an error. What stands behind the end of a trajectory may be such an integer and
/// mean nothing: [`Stored::zero_unless`] overwrites it first.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // As the table says.
pub enum Stored {
    Bool(ArrayD<bool>),
    U8(ArrayD<u8>),
    I32(ArrayD<i32>),
    I64(ArrayD<i64>),
    U64(ArrayD<u64>),
    F32(ArrayD<f32>),
    F64(ArrayD<f64>),
}

/// Runs `$body` on the array, whatever its entries are.
macro_rules! by_type {
    ($stored:expr, |$array:ident| $body:expr) => {
        match $stored {
            Stored::Bool($array) => $body,
            Stored::U8($array) => $body,
            Stored::I32($array) => $body,
            Stored::I64($array) => $body,
            Stored::U64($array) => $body,
            Stored::F32($array) => $body,
            Stored::F64($array) => $body,
        }
    };
}

const INT32: &str = "within int32, from -2147483648 to 2147483647";
const INT64: &str = "within int64, which ends at 9223372036854775807";
const FLOAT64: &str = "one that float64 has exactly, as all up to 2^53; in NumPy, x.astype('float64') rounds them";

impl Stored {
    /// The entries behind a header, which so many bytes are said to be. They are read from a file, or decompressed from a part
    /// of one, that has `there` bytes: for so many, memory is asked for at once, and then for as many again as have come.
    pub(super) fn read(header: &Header, reader: impl Read, follow: u64, there: u64) -> Outcome<Self> {
        let bytes = Bytes { header, reader, follow, there };
        Ok(match header.kind_and_bytes() {
            Some(('b', 1)) => Stored::Bool(bytes.bools()?),
            Some(('u', 1)) => Stored::U8(bytes.numbers(u8::from_le_bytes)?),
            Some(('i', 1)) => Stored::I32(bytes.numbers(|x| i8::from_le_bytes(x).into())?),
            Some(('i', 2)) => Stored::I32(bytes.numbers(|x| i16::from_le_bytes(x).into())?),
            Some(('u', 2)) => Stored::I32(bytes.numbers(|x| u16::from_le_bytes(x).into())?),
            Some(('i', 4)) => Stored::I32(bytes.numbers(i32::from_le_bytes)?),
            Some(('u', 4)) => Stored::I64(bytes.numbers(|x| u32::from_le_bytes(x).into())?),
            Some(('i', 8)) => Stored::I64(bytes.numbers(i64::from_le_bytes)?),
            Some(('u', 8)) => Stored::U64(bytes.numbers(u64::from_le_bytes)?),
            Some(('f', 2)) => Stored::F32(bytes.numbers(|x| half(u16::from_le_bytes(x)))?),
            Some(('f', 4)) => Stored::F32(bytes.numbers(f32::from_le_bytes)?),
            Some(('f', 8)) => Stored::F64(bytes.numbers(f64::from_le_bytes)?),
            Some(('f', 12 | 16)) => return Err(Fault::LongDouble(header.type_name()).into()),
            _ => return Err(Fault::Type { found: header.type_name(), taken: TYPES }.into()),
        })
    }

    /// The lengths of its axes.
    pub fn shape(&self) -> &[usize] {
        by_type!(self, |array| array.shape())
    }

    /// Overwrites by 0 what does not count: all that belongs to a trajectory and a step, the indices of axes 0 and 1 (0 where
    /// there is no such axis), of which `counts` says no. Afterwards only what counts can be wrong.
    pub fn zero_unless(&mut self, counts: impl Fn(usize, usize) -> bool) {
        by_type!(self, |array| {
            let mut view = array.view_mut();
            while view.ndim() < 2 {
                let axis = Axis(view.ndim());
                view = view.insert_axis(axis);
            }
            for (trajectory, mut steps) in view.axis_iter_mut(Axis(0)).enumerate() {
                for (step, mut entries) in steps.axis_iter_mut(Axis(0)).enumerate() {
                    if !counts(trajectory, step) {
                        entries.fill(Default::default());
                    }
                }
            }
        });
    }

    /// The same numbers as a tape takes them: bools and `U8` as `u8`, integers as `i32`, floats of either precision as they
    /// are.
    ///
    /// # Errors
    ///
    /// [`Fault::Integer`] with the first that is not within 32 bits.
    pub fn into_value(self) -> Result<Value<'static>, Fault> {
        Ok(match self {
            Stored::Bool(array) => array.mapv(u8::from).into(),
            Stored::U8(array) => array.into(),
            Stored::I32(array) => array.into(),
            Stored::I64(array) => integers(&array, |x| i32::try_from(x).ok(), INT32)?.into(),
            Stored::U64(array) => integers(&array, |x| i32::try_from(x).ok(), INT32)?.into(),
            Stored::F32(array) => array.into(),
            Stored::F64(array) => array.into(),
        })
    }

    /// The same numbers in double precision, of any type: rewards.
    ///
    /// # Errors
    ///
    /// [`Fault::Integer`] with the first that would be rounded: integers from 2⁵³ on are no numbers of `f64`, but for some.
    pub fn into_f64(self) -> Result<ArrayD<f64>, Fault> {
        Ok(match self {
            Stored::Bool(array) => array.mapv(f64::from),
            Stored::U8(array) => array.mapv(f64::from),
            Stored::I32(array) => array.mapv(f64::from),
            Stored::I64(array) => integers(&array, |x| exact(x.into(), x as f64), FLOAT64)?,
            Stored::U64(array) => integers(&array, |x| exact(x.into(), x as f64), FLOAT64)?,
            Stored::F32(array) => array.mapv(f64::from),
            Stored::F64(array) => array,
        })
    }

    /// Its integers, of any type: lengths.
    ///
    /// # Errors
    ///
    /// [`Fault::Type`] if its entries are no integers; [`Fault::Integer`] with the first that is not within 64 bits.
    pub fn into_i64(self) -> Result<ArrayD<i64>, Fault> {
        Ok(match self {
            Stored::U8(array) => array.mapv(i64::from),
            Stored::I32(array) => array.mapv(i64::from),
            Stored::I64(array) => array,
            Stored::U64(array) => integers(&array, |x| i64::try_from(x).ok(), INT64)?,
            other => return Err(other.not("integers (int8 to int64 or uint8 to uint64)")),
        })
    }

    /// Its truth values.
    ///
    /// # Errors
    ///
    /// [`Fault::Type`] if its entries are others.
    pub fn into_bool(self) -> Result<ArrayD<bool>, Fault> {
        if let Stored::Bool(array) = self { Ok(array) } else { Err(self.not("bool")) }
    }

    fn not(&self, taken: &'static str) -> Fault {
        let found = match self {
            Stored::Bool(_) => "bool",
            Stored::U8(_) | Stored::I32(_) | Stored::I64(_) | Stored::U64(_) => "integers",
            Stored::F32(_) | Stored::F64(_) => "floating-point numbers",
        };
        Fault::Type { found: found.to_owned(), taken }
    }
}

/// Each integer as another type, which must have it.
fn integers<A: Copy + Into<i128>, B>(
    array: &ArrayD<A>,
    convert: impl Fn(A) -> Option<B>,
    must: &'static str,
) -> Result<ArrayD<B>, Fault> {
    if array.iter().any(|&x| convert(x).is_none()) {
        let (index, &value) = array.indexed_iter().find(|&(_, &x)| convert(x).is_none()).expect("there is one");
        return Err(Fault::Integer { index: index.slice().to_vec(), value: value.into(), must });
    }
    Ok(array.mapv(|x| convert(x).expect("checked")))
}

/// The number, if it is the integer. (Within 128 bits, whatever a 64-bit integer is rounded to can be compared.)
fn exact(integer: i128, number: f64) -> Option<f64> {
    (number as i128 == integer).then_some(number)
}

/// The number whose bits in half precision these are.
fn half(bits: u16) -> f32 {
    let (sign, exponent, mantissa) = (u32::from(bits >> 15), u32::from(bits >> 10 & 31), u32::from(bits & 1023));
    let magnitude = match exponent {
        0 => (mantissa as f32 / 16_777_216.0).to_bits(), // multiples of 2^-24
        31 => 0x7f80_0000 | mantissa << 13,              // infinity, or a NaN
        _ => (exponent + 127 - 15) << 23 | mantissa << 13,
    };
    f32::from_bits(sign << 31 | magnitude)
}

/// Entries that are to be read.
struct Bytes<'a, R> {
    header: &'a Header,
    reader: R,
    follow: u64,
    there: u64,
}

impl<R: Read> Bytes<'_, R> {
    /// The array, of entries that are so many bytes each, given to `convert` little-endian.
    fn numbers<A, const BYTES: usize>(self, convert: impl Fn([u8; BYTES]) -> A) -> Outcome<ArrayD<A>> {
        let header = self.header;
        Ok(shaped(header, self.entries(convert)?))
    }

    fn bools(self) -> Outcome<ArrayD<bool>> {
        let header = self.header;
        let bytes = self.entries(u8::from_le_bytes)?;
        if let Some(entry) = bytes.iter().position(|&byte| byte > 1) {
            return Err(Fault::Bool { entry, byte: bytes[entry] }.into());
        }
        Ok(shaped(header, bytes.into_iter().map(|byte| byte == 1).collect()))
    }

    fn entries<A, const BYTES: usize>(mut self, convert: impl Fn([u8; BYTES]) -> A) -> Outcome<Vec<A>> {
        let count = self.header.count(BYTES, self.follow)?;
        let mut entries = Vec::new();
        let mut block = [0; 8192];
        while entries.len() < count {
            let missing = count - entries.len();
            let part = &mut block[..BYTES * missing.min(8192 / BYTES)];
            self.reader.read_exact(part)?;
            let (part, _) = part.as_chunks_mut::<BYTES>();
            if entries.capacity() - entries.len() < part.len() {
                let there = usize::try_from(self.there).unwrap_or(usize::MAX) / BYTES;
                let more = entries.len().max(there).max(part.len()).min(missing);
                entries.try_reserve_exact(more).map_err(|_| Fault::Memory(count))?;
            }
            if self.header.is_big_endian() {
                part.iter_mut().for_each(|entry| entry.reverse());
            }
            entries.extend(part.iter().map(|&entry| convert(entry)));
        }
        // An archive compares its checksum where its data end.
        match self.reader.read(&mut [0])? {
            0 => Ok(entries),
            more => {
                let (shape, expected) = (self.header.shape.clone(), self.follow.to_string());
                Err(Fault::Length { shape, expected, found: self.follow + more as u64 }.into())
            }
        }
    }
}

fn shaped<A>(header: &Header, entries: Vec<A>) -> ArrayD<A> {
    let shape = IxDyn(&header.shape).set_f(header.fortran_order);
    ArrayD::from_shape_vec(shape, entries).expect("as many entries as the shape has")
}
