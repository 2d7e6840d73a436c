//! A file that grows at every iteration, and is cut when a run is resumed: what is to be made again goes, also half of it.
//!
//! All files of a run are looked at before the first is cut, so that one that is damaged changes nothing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rl::error::Error as DataError;

use super::error::{Error, Result};

/// A file that has been looked at.
#[derive(Debug)]
pub(super) struct Found {
    path: PathBuf,
    head: Vec<u8>,
    kept: usize,
}

impl Found {
    /// A file that begins with `head`, of which as many bytes are kept as `kept` says, or why none can be. A file that is missing
    /// or empty is begun.
    pub(super) fn look(
        path: PathBuf,
        head: Vec<u8>,
        kept: impl FnOnce(&[u8]) -> std::result::Result<usize, String>,
    ) -> Result<Self> {
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(cause) => return Err(failed(&path, cause)),
        };
        let kept = if bytes.is_empty() { Ok(0) } else { kept(&bytes) };
        match kept {
            Ok(kept) => Ok(Self { path, head, kept }),
            Err(what) => {
                let what = format!("{what}; put back what was written, or move the file away to go on without it");
                Err(Error::Damaged { path, what })
            }
        }
    }

    /// Cuts it, or begins it.
    pub(super) fn open(self) -> Result<Growing> {
        let Self { path, head, kept } = self;
        let open = || {
            let mut file = File::options().create(true).append(true).open(&path)?;
            file.set_len(kept as u64)?;
            file.write_all(if kept == 0 { &head } else { &[] })?;
            Ok(file)
        };
        let file = open().map_err(|cause| failed(&path, cause))?;
        Ok(Growing { path, file })
    }
}

/// The file, open to be written to.
#[derive(Debug)]
pub(super) struct Growing {
    path: PathBuf,
    file: File,
}

impl Growing {
    /// Writes at its end, in one piece.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all(bytes).and_then(|()| self.file.flush());
        written.map_err(|cause| failed(&self.path, cause))
    }

    /// Waits until all is on the disk.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|cause| failed(&self.path, cause))
    }
}

pub(super) fn failed(path: &Path, cause: io::Error) -> Error {
    DataError::file(path, cause).into()
}
