//! Where arrays come from, and how far apart two are.

use std::path::{Path, PathBuf};

use ndarray::ArrayD;
use ndarray_npy::ReadableElement;

use super::{Error, Result};

/// Gives a workload's inputs by name.
pub trait Source {
    fn real(&self, name: &str) -> Result<ArrayD<f64>>;
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

    fn read<T: ReadableElement>(&self, name: &str) -> Result<ArrayD<T>> {
        let path = self.0.join(format!("{name}.npy"));
        if !path.exists() {
            return Err(Error::Absent(path));
        }
        ndarray_npy::read_npy(&path).map_err(|problem| Error::Unusable(format!("{}: {problem}", path.display())))
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
