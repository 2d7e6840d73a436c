//! Files that are whole: new ones are written beside the old, and take their places when all of them are complete. And folders
//! that belong to one process at a time.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};

/// Writes files, or none of them: each is written to the disk under another name beside its place, and they are renamed when
/// all are there. On a full disk the old files stay, and nothing of the new ones. (Only a process that is killed may leave a
/// hidden file whose name ends in `.new`, or have renamed some files and not the others.)
///
/// What is no file, such as `/dev/stdout` or a pipe, is written to, not replaced.
///
/// # Errors
///
/// [`Error::File`] with the path and the cause. A file that may not be written to is not replaced either.
pub fn write_whole<P: AsRef<Path>, C: AsRef<[u8]>>(files: impl IntoIterator<Item = (P, C)>) -> Result<()> {
    let mut written = Vec::new();
    for (path, contents) in files {
        let path = path.as_ref();
        written.push(New::write(path, contents.as_ref()).map_err(|cause| Error::file(path, cause))?);
    }
    let mut folders: Vec<PathBuf> = Vec::new();
    for new in &mut written {
        new.take_place().map_err(|cause| Error::file(&new.place, cause))?;
        folders.extend(new.place.parent().map(Path::to_owned));
    }
    // That a name means the new file is on the disk only with the folder. Not every system can do that, and the files are there.
    folders.dedup();
    folders.iter().for_each(|folder| drop(File::open(folder).and_then(|folder| folder.sync_all())));
    Ok(())
}

/// A folder for files, which belongs to this until it is dropped or the process ends, even if it is killed.
#[derive(Debug)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// The file `.lock` in it. It is not deleted, because the next process may have opened it.
    lock: File,
}

impl Folder {
    /// Makes the folder if it is not there.
    ///
    /// # Errors
    ///
    /// [`Error::FolderInUse`] if another process, or another part of this one, has it; [`Error::Folder`] if it cannot be made or
    /// written to.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let refused = |cause| Error::Folder { path: path.clone(), cause };
        if path.as_os_str().is_empty() {
            return Err(refused(io::Error::new(io::ErrorKind::InvalidInput, "its name is empty")));
        }
        fs::create_dir_all(&path).map_err(refused)?;
        let lock = File::options().create(true).append(true).open(path.join(".lock")).map_err(refused)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, lock }),
            Err(TryLockError::WouldBlock) => Err(Error::FolderInUse { path }),
            Err(TryLockError::Error(cause)) => Err(refused(cause)),
        }
    }
}

impl Drop for Folder {
    /// Closing would do, were it not for a child process that has just been made and still holds the file.
    fn drop(&mut self) {
        // What cannot be unlocked is closed now.
        let _ = self.lock.unlock();
    }
}

/// A complete file beside its place. Dropped before it takes it, it is deleted.
struct New {
    place: PathBuf,
    /// Nothing, if there is nothing to be renamed.
    beside: Option<PathBuf>,
}

impl New {
    fn write(path: &Path, contents: &[u8]) -> io::Result<Self> {
        // Through links: what they point to is replaced.
        let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if let Ok(old) = fs::metadata(&place) {
            if !old.is_file() {
                fs::write(&place, contents)?;
                return Ok(Self { place, beside: None });
            }
            // Where renaming would do, the owner's word against writing counts.
            File::options().append(true).open(&place)?;
        }
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = place.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a file's name"))?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}-{}.new", process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        let beside = place.with_file_name(hidden);
        let mut file = File::create_new(&beside)?;
        let new = Self { place, beside: Some(beside) };
        file.write_all(contents)?;
        file.sync_all()?;
        Ok(new)
    }

    fn take_place(&mut self) -> io::Result<()> {
        if let Some(beside) = &self.beside {
            fs::rename(beside, &self.place)?;
            self.beside = None;
        }
        Ok(())
    }
}

impl Drop for New {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            // What is left behind is no more than litter.
            let _ = fs::remove_file(beside);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own, deleted in the end.
    struct Temporary(PathBuf);

    impl Temporary {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("files-{name}-{}", process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        /// The names in it, and what they contain.
        fn contents(&self) -> Vec<(String, String)> {
            let mut all: Vec<_> = (fs::read_dir(&self.0).unwrap())
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.is_file())
                .map(|path| {
                    (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap())
                })
                .collect();
            all.sort();
            all
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn owned(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn files_are_replaced_together() {
        let folder = Temporary::new("together");
        let [a, b] = ["a", "b"].map(|name| folder.0.join(name));
        write_whole([(&a, "old"), (&b, "old")]).unwrap();
        write_whole([(&a, "new"), (&b, "")]).unwrap();
        assert_eq!(folder.contents(), owned(&[("a", "new"), ("b", "")]));
    }

    #[test]
    fn if_one_cannot_be_written_the_old_ones_stay_and_nothing_else() {
        let folder = Temporary::new("none");
        let [a, folder_itself, missing] = ["a", "b", "no/c"].map(|name| folder.0.join(name));
        fs::create_dir(&folder_itself).unwrap();
        write_whole([(&a, "old")]).unwrap();
        for bad in [&folder_itself, &missing] {
            let message = write_whole([(&a, "new"), (bad, "new")]).unwrap_err().to_string();
            assert!(message.starts_with(&format!("{}: ", bad.display())), "{message}");
            assert_eq!(folder.contents(), owned(&[("a", "old")]));
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_devices_written_to() {
        let folder = Temporary::new("links");
        let [file, link] = ["file", "link"].map(|name| folder.0.join(name));
        write_whole([(&file, "old")]).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_whole([(&link, "new")]).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        write_whole([("/dev/null", "nothing")]).unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_that_names_the_file() {
        let folder = Temporary::new("full");
        let [a, full] = ["a", "full"].map(|name| folder.0.join(name));
        write_whole([(&a, "old")]).unwrap();
        std::os::unix::fs::symlink("/dev/full", &full).unwrap();
        let message = write_whole([(&a, "new"), (&full, "new")]).unwrap_err().to_string();
        assert!(message.starts_with(&full.display().to_string()) && message.contains("No space left"), "{message}");
        assert_eq!(fs::read_to_string(&a).unwrap(), "old");
    }

    #[test]
    fn a_folder_has_one_owner_at_a_time() {
        let place = Temporary::new("owner");
        let path = place.0.join("new/results");
        let first = Folder::open(&path).unwrap();
        // However it is called.
        let message = Folder::open(path.join("../results")).unwrap_err().to_string();
        assert!(message.starts_with("another run is writing to the folder "), "{message}");
        assert!(message.ends_with("wait until it has ended, or take another folder"), "{message}");
        drop(first);
        assert!(path.join(".lock").exists(), "as after a process that was killed");
        Folder::open(&path).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_an_error_that_names_it() {
        let place = Temporary::new("unwritable");
        fs::write(place.0.join("file"), "a file").unwrap();
        for path in [PathBuf::new(), place.0.join("file"), place.0.join("file/in")] {
            let message = Folder::open(&path).unwrap_err().to_string();
            assert!(message.starts_with(&format!("cannot write to the folder `{}`: ", path.display())), "{message}");
        }
    }
}
