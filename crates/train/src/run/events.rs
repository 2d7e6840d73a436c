//! An event file as TensorBoard reads it: one record an iteration, with all its scalars.
//!
//! A record is a length (u64), its masked CRC-32C, that many bytes of a protobuf, and their masked CRC-32C. The first is
//! `Event { wall_time = 1: double, file_version = 3: "brain.Event:2" }`, the others are
//! `Event { wall_time, step = 2: int64, summary = 5: { repeated value = 1: { tag = 1: string, simple_value = 2: float } } }`
//! (tensorflow/core/util/event.proto, framework/summary.proto).

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use super::error::Result;
use super::growing::Found;

/// The file's name. (Readers look for `tfevents` in it.)
pub(super) const NAME: &str = "events.out.tfevents.train";

/// The file, of which the steps before `until` are kept.
pub(super) fn look(path: PathBuf, until: u64) -> Result<Found> {
    Found::look(path, record(&first_event()), |bytes| kept(bytes, until))
}

/// The scalars of a step, as they are appended.
pub(super) fn scalars<'a>(step: u64, scalars: impl IntoIterator<Item = (&'a str, f64)>) -> Vec<u8> {
    record(&event(step, scalars))
}

/// A checksum as the format has it: one of bytes that contain their own checksum would be weak.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn record(event: &[u8]) -> Vec<u8> {
    let length = (event.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length).to_le_bytes(), event, &masked_crc(event).to_le_bytes()].concat()
}

fn varint(mut x: u64, into: &mut Vec<u8>) {
    while x >= 0x80 {
        into.push(x as u8 | 0x80);
        x >>= 7;
    }
    into.push(x as u8);
}

/// A field of bytes: a text, or a message.
fn field(number: u8, bytes: &[u8], into: &mut Vec<u8>) {
    into.push(number << 3 | 2);
    varint(bytes.len() as u64, into);
    into.extend(bytes);
}

/// `wall_time`, in seconds.
fn now() -> Vec<u8> {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    [&[1 << 3 | 1][..], &time.to_le_bytes()].concat()
}

fn first_event() -> Vec<u8> {
    let mut event = now();
    field(3, b"brain.Event:2", &mut event);
    event
}

fn event<'a>(step: u64, scalars: impl IntoIterator<Item = (&'a str, f64)>) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, x) in scalars {
        let mut value = Vec::new();
        field(1, tag.as_bytes(), &mut value);
        value.push(2 << 3 | 5);
        value.extend((x as f32).to_le_bytes());
        field(1, &value, &mut summary);
    }
    let mut event = now();
    event.push(2 << 3);
    varint(step, &mut event);
    field(5, &summary, &mut event);
    event
}

/// How many bytes are of whole records of steps before `until`; or what is wrong with them.
fn kept(bytes: &[u8], until: u64) -> std::result::Result<usize, String> {
    let (mut length, mut last) = (0, None);
    while length < bytes.len() {
        let damaged = || match last {
            // What is behind is made again.
            Some(last) if last + 1 >= until => Ok(length),
            _ if until == 0 => Ok(length),
            _ => Err(format!("it is damaged at byte {length}")),
        };
        let Some((event, size)) = whole_record(&bytes[length..]) else { return damaged() };
        // An event begins with its time; the next field of all but the first is the step.
        match event.get(9).copied() {
            Some(0x1a) if length == 0 => {}
            Some(0x10) if length > 0 => match read_varint(&event[10..]) {
                Some(step) if step >= until => break,
                Some(step) => last = Some(step),
                None => return damaged(),
            },
            _ => return damaged(),
        }
        length += size;
    }
    match last {
        Some(last) if last + 1 < until => {
            Err(format!("its last record is of iteration {last}, but the checkpoint is of {until}"))
        }
        _ => Ok(length),
    }
}

/// The event of the first record, and how long the record is; nothing if it is not whole.
fn whole_record(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let number = |from: usize| Some(u32::from_le_bytes(bytes.get(from..from + 4)?.try_into().ok()?));
    let head = bytes.get(..8)?;
    let size = usize::try_from(u64::from_le_bytes(head.try_into().ok()?)).ok()?;
    let end = size.checked_add(12).filter(|&end| end <= bytes.len() && number(8) == Some(masked_crc(head)))?;
    let event = &bytes[12..end];
    (number(end)? == masked_crc(event)).then_some((event, end + 4))
}

fn read_varint(bytes: &[u8]) -> Option<u64> {
    let mut x = 0;
    for (i, &byte) in bytes.iter().enumerate().take(10) {
        x |= u64::from(byte & 0x7f).checked_shl(7 * i as u32)?;
        if byte < 0x80 {
            return Some(x);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::growing::Growing;
    use super::*;

    fn open(path: &std::path::Path, until: u64) -> Result<Growing> {
        look(path.to_owned(), until)?.open()
    }

    /// Step, version, and scalars.
    type Event = (u64, Option<String>, Vec<(String, f32)>);

    /// Another reader of such files, field by field.
    fn read(bytes: &[u8]) -> Vec<Event> {
        fn fields(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
            let mut all = Vec::new();
            while let [key, rest @ ..] = bytes {
                let count = |rest: &[u8]| rest.iter().position(|byte| *byte < 0x80).unwrap() + 1;
                let (from, to) = match key & 7 {
                    0 => (0, count(rest)),
                    1 => (0, 8),
                    2 => {
                        let skip = count(rest);
                        (skip, skip + read_varint(rest).unwrap() as usize)
                    }
                    5 => (0, 4),
                    other => panic!("type {other}"),
                };
                all.push((key >> 3, rest[from..to].to_vec()));
                bytes = &rest[to..];
            }
            all
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (mut all, mut place) = (Vec::new(), 0);
        while place < bytes.len() {
            let (event, size) = whole_record(&bytes[place..]).unwrap();
            place += size;
            let (mut step, mut version, mut scalars) = (0, None, Vec::new());
            for (number, bytes) in fields(event) {
                match number {
                    1 => assert!(f64::from_le_bytes(bytes.try_into().unwrap()) > 1.6e9),
                    2 => step = read_varint(&bytes).unwrap(),
                    3 => version = Some(text(&bytes)),
                    5 => {
                        for (number, value) in fields(&bytes) {
                            assert_eq!(number, 1);
                            let [(1, tag), (2, x)] = &fields(&value)[..] else { panic!("{value:?}") };
                            scalars.push((text(tag), f32::from_le_bytes(x[..].try_into().unwrap())));
                        }
                    }
                    other => panic!("field {other}"),
                }
            }
            all.push((step, version, scalars));
        }
        all
    }

    fn file(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("events-{name}-{}", std::process::id()))
    }

    #[test]
    fn checksums_are_those_of_the_format() {
        // CRC-32C's check value, and the masked one of the length 24 (of the first record of any file by TensorFlow).
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(masked_crc(&24_u64.to_le_bytes()).to_le_bytes(), [0xa3, 0x7f, 0x4b, 0x22]);
    }

    #[test]
    fn what_is_written_is_read_by_another_reader() {
        let path = file("written");
        let mut events = open(&path, 0).unwrap();
        for step in [0, 1, 300] {
            let long = "a tag that is long ".repeat(20);
            events.append(&scalars(step, [("return_0", 0.5), (long.trim(), -3.0)])).unwrap();
        }
        let read = read(&fs::read(&path).unwrap());
        assert_eq!(read[0], (0, Some("brain.Event:2".to_owned()), vec![]));
        assert_eq!(read.iter().skip(1).map(|(step, ..)| *step).collect::<Vec<_>>(), [0, 1, 300]);
        assert_eq!(read[3].2[0], ("return_0".to_owned(), 0.5));
        assert_eq!((read[3].2[1].0.len(), read[3].2[1].1), (379, -3.0));
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_resumed_file_has_every_step_once() {
        let path = file("resumed");
        let mut events = open(&path, 0).unwrap();
        (0..5).for_each(|step| events.append(&scalars(step, [("x", step as f64)])).unwrap());
        drop(events);
        let whole = fs::read(&path).unwrap();
        let steps = || read(&fs::read(&path).unwrap()).iter().skip(1).map(|(step, ..)| *step).collect::<Vec<_>>();
        // A record is cut short, at every length.
        for cut in 0..40 {
            fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            open(&path, 3).unwrap().append(&scalars(3, [("x", 3.0)])).unwrap();
            assert_eq!(steps(), [0, 1, 2, 3]);
        }
        fs::write(&path, &whole).unwrap();
        let message = open(&path, 9).unwrap_err().to_string();
        assert!(message.contains("its last record is of iteration 4, but the checkpoint is of 9"), "{message}");
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            fs::write(&path, damaged).unwrap();
            let message = open(&path, 5).unwrap_err().to_string();
            assert!(message.contains("damaged at byte"), "{place}: {message}");
        }
        open(&path, 0).unwrap();
        assert_eq!(steps(), [0; 0]);
        fs::remove_file(path).unwrap();
    }
}
