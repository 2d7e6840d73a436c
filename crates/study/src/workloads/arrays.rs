//! Where arrays come from, and how far apart two are.

use std::path::{Path, PathBuf};

use ndarray::ArrayD;
use rl::rollout::npy::{self, Stored};

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

    fn read(&self, name: &str) -> Result<Stored> {
        let unusable = |problem: rl::error::Error| Error::Unusable(problem.to_string());
        let mut source = npy::Source::open(&self.0).map_err(unusable)?;
        source.find(name).map_err(unusable)?.ok_or_else(|| Error::Absent(source.place(name)))
    }

    /// An error that names the file, for entries of another type.
    fn unusable(&self, name: &str, fault: impl std::fmt::Display) -> Error {
        Error::Unusable(format!("{}: {fault}", self.0.join(format!("{name}.npy")).display()))
    }
}

impl Source for Folder {
    fn real(&self, name: &str) -> Result<ArrayD<f64>> {
        self.read(name)?.into_f64().map_err(|fault| self.unusable(name, fault))
    }

    fn index(&self, name: &str) -> Result<ArrayD<i32>> {
        let value = self.read(name)?.into_value().map_err(|fault| self.unusable(name, fault))?;
        value.into_array().ok_or_else(|| self.unusable(name, "its entries are no integers"))
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
