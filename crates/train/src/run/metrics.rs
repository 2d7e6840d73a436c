//! CSV files that get rows at every iteration, each of which begins with the iteration's number.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::{Error, Result, shortened};
use super::growing::{Found, failed};

/// How the numbers in the first column follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// Each is one more than that before.
    Each,
    /// Or the same.
    Several,
    /// Each is more than that before.
    Some,
}

/// A file with this header, of which the rows before iteration `until` are kept.
pub(super) fn look(path: PathBuf, header: &str, rows: Rows, until: u64) -> Result<Found> {
    Found::look(path, format!("{header}\n").into_bytes(), |bytes| kept(bytes, header, rows, until))
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
pub(super) fn shortest(x: f64) -> String {
    format!("{x:?}")
}

/// What `returns.csv` says.
#[derive(Clone, Debug, PartialEq)]
pub struct Returns {
    /// The names of the returns.
    pub names: Vec<String>,
    /// Each iteration, and for each of the names the returns of the tasks.
    pub iterations: Vec<(u64, Vec<Vec<f64>>)>,
}

impl Returns {
    /// From the file.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], with the line; [`rl::error::Error::File`].
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|cause| failed(path, cause))?;
        Self::parse(&text)
            .map_err(|line| Error::Damaged { path: path.to_owned(), what: format!("line {line} is damaged") })
    }

    /// Or the number of the line that is damaged.
    fn parse(text: &str) -> std::result::Result<Self, usize> {
        let mut lines = text.lines();
        let names: Vec<String> = lines.next().unwrap_or_default().split(',').skip(2).map(str::to_owned).collect();
        let mut iterations: Vec<(u64, Vec<Vec<f64>>)> = Vec::new();
        for (number, line) in (2..).zip(lines) {
            let (iteration, fields) = line.split_once(',').ok_or(number)?;
            let iteration = iteration.parse().map_err(|_| number)?;
            let returns: Vec<f64> = fields.split(',').skip(1).map_while(|field| field.parse().ok()).collect();
            if returns.len() != names.len() {
                return Err(number);
            }
            if iterations.last().is_none_or(|(last, _)| *last != iteration) {
                iterations.push((iteration, vec![Vec::new(); names.len()]));
            }
            let (_, columns) = iterations.last_mut().expect("just pushed");
            columns.iter_mut().zip(returns).for_each(|(column, x)| column.push(x));
        }
        Ok(Self { names, iterations })
    }
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
    fn returns_are_read_by_iteration_and_name() {
        let returns = Returns::parse("iteration,task,a,b\n3,0,1.0,2.0\n3,1,3.0,4.0\n4,0,5.0,6.0\n").unwrap();
        assert_eq!(returns.names, ["a", "b"]);
        let first = (3, vec![vec![1.0, 3.0], vec![2.0, 4.0]]);
        assert_eq!(returns.iterations, [first, (4, vec![vec![5.0], vec![6.0]])]);
        for line in ["3,0,1.0", "x,0,1.0,2.0", "3,0,1.0,x", "3,0,1.0,2.0,3.0", "", "3"] {
            assert_eq!(Returns::parse(&format!("iteration,task,a,b\n{line}\n")), Err(2), "{line}");
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
