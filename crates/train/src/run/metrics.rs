//! CSV files that get rows at every iteration: what is written first in a row is the iteration's number, and they grow.
//!
//! When a run is resumed, rows of iterations that are to be made again are cut off, also half of one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rl::error::Error as DataError;

use super::error::{Error, Result, shortened};

/// Such a file.
#[derive(Debug)]
pub struct Table {
    path: PathBuf,
    file: File,
}

/// How the numbers in the first column follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Each is one more than that before.
    Each,
    /// Or the same.
    Several,
    /// Each is more than that before.
    Some,
}

impl Table {
    /// Begins the file with this header, or goes on with one that has it, after cutting off the rows from iteration `until` on.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if what is to be kept is not what was written; [`rl::error::Error::File`].
    pub fn open(path: PathBuf, header: &str, rows: Rows, until: u64) -> Result<Self> {
        let failed = |cause: io::Error| Error::from(DataError::File { path: path.clone(), cause: cause.into() });
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(cause) => return Err(failed(cause)),
        };
        let kept = match bytes.is_empty() {
            true => 0,
            false => kept(&bytes, header, rows, until).map_err(|what| Error::Damaged {
                path: path.clone(),
                what: format!("{what}; put back what was written, or move the file away to go on without it"),
            })?,
        };
        let mut file = File::options().create(true).append(true).open(&path).map_err(failed)?;
        file.set_len(kept as u64).map_err(failed)?;
        if kept == 0 {
            file.write_all(format!("{header}\n").as_bytes()).map_err(failed)?;
        }
        Ok(Self { path, file })
    }

    /// Writes rows, each a line with its end, at once.
    ///
    /// # Errors
    ///
    /// [`rl::error::Error::File`].
    pub fn append(&mut self, rows: &str) -> Result<()> {
        let written = self.file.write_all(rows.as_bytes()).and_then(|()| self.file.flush());
        written.map_err(|cause| failed(&self.path, cause))
    }

    /// Waits until all is on the disk.
    ///
    /// # Errors
    ///
    /// [`rl::error::Error::File`].
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|cause| failed(&self.path, cause))
    }
}

pub(super) fn failed(path: &Path, cause: io::Error) -> Error {
    Error::from(DataError::File { path: path.to_owned(), cause: cause.into() })
}

/// How many bytes are of the header and of iterations before `until`; or what is wrong with them.
fn kept(bytes: &[u8], header: &str, rows: Rows, until: u64) -> std::result::Result<usize, String> {
    let columns = header.split(',').count();
    let mut length = 0;
    let mut last: Option<u64> = None;
    for (number, bytes) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let line = str::from_utf8(bytes).ok().and_then(|line| line.strip_suffix('\n'));
        if number == 0 {
            if line != Some(header) {
                return Err(format!("its first line is not `{}`", shortened(header)));
            }
            length = bytes.len();
            continue;
        }
        let fields: Vec<&str> = line.map_or(Vec::new(), |line| line.split(',').collect());
        let iteration = fields.first().and_then(|first| first.parse().ok());
        let follows = |iteration: u64| match (last, rows) {
            (None, _) => true,
            (Some(last), Rows::Each) => iteration == last + 1,
            (Some(last), Rows::Several) => iteration == last || iteration == last + 1,
            (Some(last), Rows::Some) => iteration > last,
        };
        match iteration {
            Some(iteration) if fields.len() == columns && follows(iteration) => {
                if iteration >= until {
                    break;
                }
                last = Some(iteration);
                length += bytes.len();
            }
            // The last line is half of one, if what should be there is.
            _ if last.is_some_and(|last| last + 1 >= until) || until == 0 => break,
            _ => return Err(format!("line {} is damaged", number + 1)),
        }
    }
    match last {
        Some(last) if rows != Rows::Some && last + 1 < until => {
            Err(format!("its last row is of iteration {last}, but the checkpoint is of {until}"))
        }
        _ => Ok(length),
    }
}

/// A number in the shortest form that is read back to the bit.
pub fn shortest(x: f64) -> String {
    format!("{x:?}")
}

/// The returns of `returns.csv`: for each iteration its number and, for each kind of return, those of the tasks.
///
/// # Errors
///
/// [`Error::Damaged`], [`rl::error::Error::File`].
pub fn read_returns(path: &Path) -> Result<(Vec<String>, Vec<(u64, Vec<Vec<f64>>)>)> {
    let text = fs::read_to_string(path).map_err(|cause| failed(path, cause))?;
    let damaged = |line: usize| Error::Damaged { path: path.to_owned(), what: format!("line {line} is damaged") };
    let mut lines = text.lines();
    let names: Vec<String> = lines.next().unwrap_or_default().split(',').skip(2).map(str::to_owned).collect();
    let mut all: Vec<(u64, Vec<Vec<f64>>)> = Vec::new();
    for (number, line) in lines.enumerate() {
        let mut fields = line.split(',');
        let iteration = fields.next().and_then(|field| field.parse().ok()).ok_or_else(|| damaged(number + 2))?;
        let returns: Vec<f64> = fields.skip(1).map_while(|field| field.parse().ok()).collect();
        if returns.len() != names.len() {
            return Err(damaged(number + 2));
        }
        if all.last().is_none_or(|(last, _)| *last != iteration) {
            all.push((iteration, vec![Vec::new(); names.len()]));
        }
        let (_, row) = all.last_mut().expect("just pushed");
        row.iter_mut().zip(returns).for_each(|(column, x)| column.push(x));
    }
    Ok((names, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "iteration,a\n0,1.0\n1,2.0\n2,3.0\n";

    fn kept_of(text: &str, rows: Rows, until: u64) -> std::result::Result<&str, String> {
        kept(text.as_bytes(), "iteration,a", rows, until).map(|length| &text[..length])
    }

    #[test]
    fn rows_that_are_made_again_are_cut_off() {
        assert_eq!(kept_of(TEXT, Rows::Each, 2).unwrap(), "iteration,a\n0,1.0\n1,2.0\n");
        assert_eq!(kept_of(TEXT, Rows::Each, 0).unwrap(), "iteration,a\n");
        for half in ["3", "3,", "3,4", "3,4.0,", "\n", "3,4\n4"] {
            assert_eq!(kept_of(&format!("{TEXT}{half}"), Rows::Each, 3).unwrap(), TEXT, "{half:?}");
        }
        let several = "iteration,a\n0,1\n0,2\n1,1\n1,2\n2,1";
        assert_eq!(kept_of(several, Rows::Several, 2).unwrap(), &several[..28]);
        let some = "iteration,a\n0,1\n10,2\n20,1\n";
        assert_eq!(kept_of(some, Rows::Some, 15).unwrap(), "iteration,a\n0,1\n10,2\n");
        // Begun when the run was under way.
        assert_eq!(kept_of("iteration,a\n5,1\n6,1\n", Rows::Each, 6).unwrap(), "iteration,a\n5,1\n");
    }

    #[test]
    fn rows_that_are_kept_are_looked_at() {
        for (text, until, words) in [
            ("iteration,b\n0,1.0\n", 1, "its first line is not `iteration,a`"),
            ("iteration,a\n0,1.0\n2,2.0\n", 3, "line 3 is damaged"),
            ("iteration,a\n0,1.0\n1,2.0,3.0\n2,1\n", 3, "line 3 is damaged"),
            ("iteration,a\nx,1.0\n", 1, "line 2 is damaged"),
            ("iteration,a\n0,1.0\n", 2, "its last row is of iteration 0, but the checkpoint is of 2"),
            ("iteration,a\n0,1.0\n1,2.0", 2, "line 3 is damaged"),
        ] {
            assert_eq!(kept_of(text, Rows::Each, until).unwrap_err(), words, "{text}");
        }
    }

    #[test]
    fn a_number_is_read_back_to_the_bit() {
        for x in [0.1 + 0.2, -0.0, 5e-324, f64::MAX, 1e300, 1.0, -123456.789, 1e-7] {
            let text = shortest(x);
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), x.to_bits(), "{text}");
            assert!(text.len() < 25, "{text}");
        }
    }
}
