//! What the studies of papers share: their options, and that a long one which was ended can be taken up again, to the same
//! bits, because each part that is finished is saved at once.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rl::error::{Error, Result};

/// The options that every study has.
#[derive(clap::Args, Debug)]
pub struct StudyOptions {
    #[command(flatten)]
    pub common: super::Common,
    /// Judge the claims of the paper; fails unless all hold.
    #[arg(long)]
    pub check: bool,
    /// The paper's size, or what comes near it.
    #[arg(long, conflicts_with = "quick")]
    pub paper: bool,
    /// Take up a run that was ended: what it finished is read from its folder. The other options must be the same.
    #[arg(long)]
    pub resume: bool,
}

/// The file that finished parts are saved in: what the run was told in its first line, then a line for each part, its name
/// and its numbers (printed such that they are read again to the bit).
pub struct Saved {
    path: PathBuf,
    parts: HashMap<String, Vec<f64>>,
    file: Mutex<File>,
}

impl Saved {
    /// A new file in the folder; or to resume, the one that is there, if it is of a run with these `settings`.
    pub fn open(folder: &Path, settings: &str, resume: bool) -> Result<Self> {
        let path = folder.join("finished.txt");
        let failed = |cause: std::io::Error| Error::File { path: path.clone(), cause: cause.into() };
        let before =
            if resume && path.exists() { std::fs::read_to_string(&path).map_err(failed)? } else { String::new() };
        // The run may have been ended in the middle of a line: such a part is not finished.
        let whole = before.rfind('\n').map_or("", |end| &before[..=end]);
        let mut lines = whole.lines();
        if let Some(first) = lines.next().filter(|first| *first != settings) {
            let cause = format!("it is of a run with other options, which cannot be resumed with these: {first}");
            return Err(Error::File { path, cause: cause.into() });
        }
        let read = |line: &str| {
            let mut words = line.split(' ');
            let name = words.next().unwrap_or_default().to_owned();
            let numbers: std::result::Result<Vec<f64>, _> = words.map(str::parse).collect();
            numbers.map(|numbers| (name, numbers))
        };
        let parts: std::result::Result<_, _> = lines.map(read).collect();
        let parts = parts
            .map_err(|cause| Error::File { path: path.clone(), cause: format!("not a number: {cause}").into() })?;

        let options = &mut File::options();
        let mut file = options.create(true).write(true).truncate(false).open(&path).map_err(failed)?;
        file.set_len(whole.len() as u64).and_then(|()| file.seek(SeekFrom::End(0))).map_err(failed)?;
        if whole.is_empty() {
            writeln!(file, "{settings}").map_err(failed)?;
        }
        Ok(Self { path, parts, file: Mutex::new(file) })
    }

    /// The numbers of a part (its name has no spaces): those that were saved, or what `compute` gives, which is saved now.
    pub fn part(&self, name: &str, compute: impl FnOnce() -> Result<Vec<f64>>) -> Result<Vec<f64>> {
        if let Some(numbers) = self.parts.get(name) {
            return Ok(numbers.clone());
        }
        let numbers = compute()?;
        let line: String = std::iter::once(name.to_owned()).chain(numbers.iter().map(|x| format!(" {x:e}"))).collect();
        let mut file = self.file.lock().expect("no thread panics while it writes");
        // In one piece, such that what is behind the last line's end is all that can be incomplete.
        let written = file.write_all((line + "\n").as_bytes());
        written.map_err(|cause| Error::File { path: self.path.clone(), cause: cause.into() })?;
        Ok(numbers)
    }
}
