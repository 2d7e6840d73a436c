//! Where arrays are found by their names: a folder of `.npy` files, or an `.npz` archive, which is one that is zipped.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::header::{Header, shown};
use super::{Cause, Fault, Outcome, Stored, open};
use crate::error::{Error, Result};

/// A folder of `NAME.npy` files, or an `.npz` archive as `numpy.savez` and `numpy.savez_compressed` write it.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    /// Nothing, if it is a folder.
    archive: Option<ZipArchive<BufReader<File>>>,
}

impl Source {
    /// Opens a folder or an archive. (What it is called does not matter.)
    ///
    /// # Errors
    ///
    /// [`Error::File`] with the path and its cause, a [`Fault`] or an [`io::Error`]: it is neither, or an archive whose lists of
    /// what is in it are damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if fs::metadata(path).is_ok_and(|what| what.is_dir()) {
            return Ok(Self { path: path.to_owned(), archive: None });
        }
        let archive = open(path).and_then(|(file, _)| archive(file)).map_err(|cause| match cause {
            Cause::Io(problem) if problem.kind() == io::ErrorKind::NotFound => Fault::Nothing.into(),
            cause => cause,
        });
        let archive = archive.map_err(|cause| cause.at(path))?;
        Ok(Self { path: path.to_owned(), archive: Some(archive) })
    }

    /// Where an array is, as messages say it: `folder/NAME.npy`, or `archive.npz/NAME.npy`.
    pub fn place(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.npy"))
    }

    /// The array of this name, if there is one. (In a folder, anything of that name is there, if only a link to nothing.)
    ///
    /// # Errors
    ///
    /// [`Error::File`] with its [place](Source::place) and its cause: a [`Fault`], or an [`io::Error`].
    pub fn find(&mut self, name: &str) -> Result<Option<Stored>> {
        let place = self.place(name);
        match &mut self.archive {
            None => match fs::symlink_metadata(&place) {
                Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(None),
                _ => file(&place).map(Some),
            },
            Some(archive) => {
                let index = archive.index_for_name_raw(format!("{name}.npy").as_bytes());
                index.map(|index| member(archive, index)).transpose()
            }
        }
        .map_err(|cause| cause.at(&place))
    }

    /// The array of this name.
    ///
    /// # Errors
    ///
    /// As [`Source::find`], and if there is none.
    pub fn read(&mut self, name: &str) -> Result<Stored> {
        if let Some(stored) = self.find(name)? {
            return Ok(stored);
        }
        let place = self.place(name);
        Err(match &self.archive {
            None => Error::file(&place, Fault::Absent),
            Some(archive) => Error::file(&place, Fault::Missing { holds: names(archive) }),
        })
    }
}

/// An array from a file of its own.
fn file(path: &Path) -> Outcome<Stored> {
    let (mut file, length) = open(path)?;
    let (header, begin) = Header::read(&mut file, length)?;
    Stored::read(&header, file, length - begin, length)
}

/// An archive of which the list at its end and the heads of its members say the same, and that has no two of a name: else a
/// damaged name would be an array that is not there.
fn archive(mut file: BufReader<File>) -> Outcome<ZipArchive<BufReader<File>>> {
    let mut begin = Vec::new();
    (&mut file).take(4).read_to_end(&mut begin)?;
    // It begins with a member, or with the list of none.
    if begin != b"PK\x03\x04" && begin != b"PK\x05\x06" {
        return Err(Fault::NoArchive.into());
    }
    file.rewind()?;
    let mut archive = ZipArchive::new(file).map_err(damaged)?;
    if archive.has_duplicate_names() {
        return Err(Fault::Twice.into());
    }
    archive.validate_header_consistency().map_err(damaged)?;
    Ok(archive)
}

/// An array from an archive.
fn member(archive: &mut ZipArchive<BufReader<File>>, index: usize) -> Outcome<Stored> {
    let about = archive.by_index_data(index).map_err(damaged)?;
    if about.encrypted() {
        return Err(Fault::Encrypted.into());
    }
    let method = about.compression();
    if !matches!(method, CompressionMethod::Stored | CompressionMethod::Deflated) {
        #[allow(deprecated)] // For messages it is right.
        return Err(Fault::Compression(method.to_u16()).into());
    }
    let (length, there) = (about.size(), about.compressed_size());
    let mut bytes = archive.by_index(index).map_err(damaged)?;
    let read = Header::read(&mut bytes, length)
        .and_then(|(header, begin)| Stored::read(&header, bytes, length - begin, there));
    read.map_err(|cause| match cause {
        Cause::Io(problem) if is_of_contents(&problem) => Fault::Damaged(words(&problem)).into(),
        cause => cause,
    })
}

/// What is wrong with an archive's lists.
fn damaged(problem: ZipError) -> Cause {
    match problem {
        ZipError::Io(problem) if !is_of_contents(&problem) => problem.into(),
        ZipError::Io(problem) => Fault::Archive(words(&problem)).into(),
        ZipError::InvalidArchive(why) => Fault::Archive(why.into()).into(),
        other => Fault::Archive(other.to_string()).into(),
    }
}

/// Whether what was read is wrong, and not the reading of it.
fn is_of_contents(problem: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(problem.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

fn words(problem: &io::Error) -> String {
    if problem.kind() == io::ErrorKind::UnexpectedEof { "they end too early".to_owned() } else { problem.to_string() }
}

/// What is in an archive, for a message.
fn names(archive: &ZipArchive<BufReader<File>>) -> String {
    const MOST: usize = 10;
    let names = archive.file_names_raw().map(|name| shown(&String::from_utf8_lossy(name), 40));
    let mut names: Vec<String> = names.take(MOST).collect();
    match archive.len() {
        0 => return "nothing".to_owned(),
        count if count > MOST => names.push(format!("{} more", count - MOST)),
        _ => {}
    }
    names.join(", ")
}
