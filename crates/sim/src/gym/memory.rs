//! Memory that another process sees, too. The only unsafe code of this crate that is built by default: two copies.
#![allow(unsafe_code)]

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, process, ptr};

use memmap2::MmapRaw;

/// A type of numbers that any bytes are one of.
pub trait Plain: Copy + private::Sealed {}

mod private {
    pub trait Sealed {}
}

macro_rules! plain {
    ($($number:ty),+) => {$(
        impl private::Sealed for $number {}
        impl Plain for $number {}
    )+};
}

plain!(u8, i32, i64, f32, f64);

/// Bytes in memory that whoever opens the file maps, too. They are copied in and out: as another process may write to them,
/// nothing here refers to them.
#[derive(Debug)]
pub struct Memory(MmapRaw);

/// The name of the memory's file, which is gone when this is dropped; the memory stays.
#[derive(Debug)]
pub struct Name(PathBuf);

impl Memory {
    /// So many bytes, all 0: in a file in memory where there is such a folder, and for temporary files where not.
    pub fn new(size: usize) -> io::Result<(Self, Name)> {
        Self::within(Path::new("/dev/shm"), size).or_else(|_| Self::within(&env::temp_dir(), size))
    }

    fn within(folder: &Path, size: usize) -> io::Result<(Self, Name)> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("environments-{}-{number}", process::id()));
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let name = Name(path);
        // Written, not only promised: without room it is an error here, and no signal at the first use.
        file.write_all(&vec![0; size])?;
        Ok((Self(MmapRaw::map_raw(&file)?), name))
    }

    /// Copies numbers from there.
    ///
    /// Panics if they lie outside.
    pub fn read<T: Plain>(&self, at: usize, to: &mut [T]) {
        self.check(at, size_of_val(to));
        // SAFETY: The bytes lie within the mapping (just checked), which lives as long as `self` and whose file has no name and is
        // never made shorter. `to` is no part of it, has room for as many, and any bytes are numbers of type `T` (`Plain` is
        // sealed). By the protocol the other process writes only between a command and its answer, when this one waits.
        unsafe { ptr::copy_nonoverlapping(self.0.as_ptr().add(at), to.as_mut_ptr().cast::<u8>(), size_of_val(to)) }
    }

    /// Copies numbers there.
    ///
    /// Panics if they would lie outside.
    pub fn write<T: Plain>(&mut self, at: usize, from: &[T]) {
        self.check(at, size_of_val(from));
        // SAFETY: As in `read`, the other way; numbers of type `T` have no padding, so that all their bytes are initialised.
        unsafe {
            ptr::copy_nonoverlapping(from.as_ptr().cast::<u8>(), self.0.as_mut_ptr().add(at), size_of_val(from));
        }
    }

    fn check(&self, at: usize, size: usize) {
        let all = self.0.len();
        assert!(at <= all && size <= all - at, "{size} bytes from {at} on are not within {all}");
    }
}

impl Name {
    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_seen_by_who_opens_the_file() {
        let (mut memory, name) = Memory::new(64).unwrap();
        memory.write(8, &[1.5, f64::NAN]);
        memory.write(24, &[7_u8, 255]);
        let mut numbers = [0.0; 2];
        memory.read(8, &mut numbers);
        assert_eq!(numbers.map(f64::to_bits), [1.5, f64::NAN].map(f64::to_bits));
        // At any place: nothing need be aligned.
        let mut odd = [0_i32];
        memory.read(23, &mut odd);
        assert_eq!(odd, [i32::from_le_bytes([0x7f, 7, 255, 0])]);
        let bytes = fs::read(name.path()).unwrap();
        assert_eq!((bytes.len(), &bytes[8..16], &bytes[24..26]), (64, &1.5_f64.to_le_bytes()[..], &[7, 255][..]));
        let path = name.path().to_owned();
        drop(name);
        assert!(!path.exists());
        memory.read(8, &mut numbers);
        assert_eq!(numbers[0], 1.5);
    }

    #[test]
    #[should_panic(expected = "9 bytes from 56 on are not within 64")]
    fn what_lies_outside_is_not_read() {
        Memory::new(64).unwrap().0.read(56, &mut [0_u8; 9]);
    }

    #[test]
    fn without_a_folder_there_is_none() {
        assert_eq!(Memory::within(Path::new("/no/such/folder"), 8).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
