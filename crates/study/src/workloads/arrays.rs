//! Where arrays come from, and how far apart two are.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ndarray::ArrayD;
use rl::npy::{self, Element};

use super::{Error, Result};

/// Gives a workload's inputs by name.
pub trait Source {
    /// Real numbers.
    fn real(&self, name: &str) -> Result<ArrayD<f64>>;
    /// Indices.
    fn index(&self, name: &str) -> Result<ArrayD<i32>>;
}

/// The files of a folder, `<name>.npy` each.
pub struct Folder(PathBuf);

impl Folder {
    /// A workload's inputs or outputs, `in` or `out`, in a data directory.
    pub fn open(data: &Path, workload: &str, part: &str) -> Result<Self> {
        let folder = data.join(workload).join(part);
        if folder.is_dir() { Ok(Self(folder)) } else { Err(Error::Absent(folder)) }
    }

    /// Whether there is anything of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.join(format!("{name}.npy")).symlink_metadata().is_ok()
    }

    fn read<T: Element>(&self, name: &str) -> Result<ArrayD<T>> {
        let path = self.0.join(format!("{name}.npy"));
        if path.symlink_metadata().is_err_and(|problem| problem.kind() == ErrorKind::NotFound) {
            return Err(Error::Absent(path));
        }
        npy::read(&path, "any shape").map_err(|problem| Error::Unusable(problem.to_string()))
    }
}

impl Source for Folder {
    fn real(&self, name: &str) -> Result<ArrayD<f64>> {
        self.read(name)
    }

    fn index(&self, name: &str) -> Result<ArrayD<i32>> {
        self.read(name)
    }
}

/// max |a − b| / max(1e-300, max |b|), where b is the reference; infinite if shapes differ or a number is not finite.
pub fn relative_error(a: &ArrayD<f64>, b: &ArrayD<f64>) -> f64 {
    if a.shape() != b.shape() || a.iter().chain(b).any(|x| !x.is_finite()) {
        return f64::INFINITY;
    }
    let largest = |entries: &mut dyn Iterator<Item = f64>| entries.map(f64::abs).fold(0.0, f64::max);
    largest(&mut a.iter().zip(b).map(|(a, b)| a - b)) / largest(&mut b.iter().copied()).max(1e-300)
}
