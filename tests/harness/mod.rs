//! Programs that are run in unlucky ways, each in a folder of its own, and what came of it, as a table.
#![allow(dead_code, reason = "each file of tests uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rayon::prelude::*;

/// An example's program, on few threads because many run at once.
pub fn program(name: &str) -> Command {
    let folder = std::env::current_exe().unwrap();
    let path = folder.parent().unwrap().with_file_name("examples").join(name);
    assert!(path.exists(), "{}: build the examples first, by scripts/bad_inputs", path.display());
    let mut command = Command::new(path);
    command.env("RAYON_NUM_THREADS", "2").current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// A shell's command around a program: `$0` and its arguments are the program's.
pub fn shell(words: &str, inner: &Command) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", words]).arg(inner.get_program()).args(inner.get_args());
    command.env("RAYON_NUM_THREADS", "2").current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// The same where disks can be mounted that nobody else sees.
pub fn elsewhere(words: &str, inner: &Command) -> Command {
    let inner = shell(words, inner);
    let mut command = Command::new("unshare");
    command.arg("-rm").arg(inner.get_program()).args(inner.get_args());
    command
}

pub type Files = BTreeMap<String, Vec<u8>>;

/// A folder of its own for each case, deleted in the end.
pub struct Place(pub PathBuf);

impl Place {
    pub fn new() -> Self {
        static COUNT: Mutex<usize> = Mutex::new(0);
        let mut count = COUNT.lock().unwrap();
        *count += 1;
        let path = std::env::temp_dir().join(format!("bad-inputs-{}-{count}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn out(&self) -> PathBuf {
        self.0.join("out")
    }

    /// What is in the folder for results, but for the lock and the parts.
    pub fn files(&self) -> Files {
        files(&self.out())
    }

    /// The same after a run that was killed: it may leave a file that is hidden.
    pub fn files_after_kill(&self) -> Files {
        let mut files = self.files();
        files.retain(|name, _| !(name.starts_with('.') && name.ends_with(".new")));
        files
    }

    pub fn put(&self, files: &Files) {
        fs::create_dir_all(self.out()).unwrap();
        files.iter().for_each(|(name, bytes)| fs::write(self.out().join(name), bytes).unwrap());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn files(folder: &Path) -> Files {
    let mut files = Files::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_file() && name != ".lock" && name != "finished.txt" {
            files.insert(name, fs::read(path).unwrap());
        }
    }
    files
}

/// How a program ended.
pub struct Ended {
    pub status: ExitStatus,
    pub errors: String,
    in_time: bool,
}

impl Ended {
    pub fn of(mut command: Command) -> Self {
        Self::wait(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    }

    pub fn wait(mut child: Child) -> Self {
        let stderr = child.stderr.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut errors = Vec::new();
            let _ = { stderr }.read_to_end(&mut errors);
            String::from_utf8_lossy(&errors).into_owned()
        });
        let began = Instant::now();
        let mut in_time = true;
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if began.elapsed() > Duration::from_secs(120) => {
                    in_time = false;
                    child.kill().unwrap();
                    break child.wait().unwrap();
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        Self { status, errors: reader.join().unwrap(), in_time }
    }

    pub fn is_panic(&self) -> bool {
        !self.in_time
            || self.status.signal().is_some()
            || self.status.code() == Some(101)
            || self.errors.contains("panicked")
    }

    pub fn is_clean_error(&self) -> bool {
        !self.is_panic() && !self.status.success() && self.errors.contains("error: ")
    }

    pub fn words(&self) -> String {
        let hung = if self.in_time { "" } else { ", after two minutes" };
        format!("{}{hung}: {}", self.status, self.errors.chars().take(300).collect::<String>().trim())
    }
}

/// What came of a case.
pub enum Verdict {
    /// The results are those of an unbroken run.
    Right,
    /// It was refused in words, and nothing else happened.
    Error,
    Panic(String),
    /// Files are lost that were there, or are neither the old ones nor the new.
    Loss(String),
    /// What should have been refused was not, or the results are others than those of an unbroken run.
    Wrong(String),
    /// This system cannot try it.
    Untried,
}

/// What should come of a case.
#[derive(Clone, Copy, PartialEq)]
pub enum Expected {
    Refused,
    Right,
    Either,
}

/// `before` and `after` are files, `right` those of an unbroken run.
pub fn judge(ended: &Ended, expected: Expected, before: &Files, after: &Files, right: &Files) -> Verdict {
    if ended.is_panic() {
        Verdict::Panic(ended.words())
    } else if ended.status.success() {
        match expected {
            Expected::Refused => Verdict::Wrong("it was not refused".to_owned()),
            _ if after == right => Verdict::Right,
            _ => Verdict::Wrong(format!("{} are not those of an unbroken run", names(after))),
        }
    } else if !ended.is_clean_error() {
        Verdict::Wrong(format!("no error in words: {}", ended.words()))
    } else if after != before {
        Verdict::Loss(format!("{} were {} before: {}", names(after), names(before), ended.words()))
    } else if expected == Expected::Right {
        Verdict::Wrong(format!("it was refused: {}", ended.words()))
    } else {
        Verdict::Error
    }
}

pub fn names(files: &Files) -> String {
    files.iter().map(|(name, bytes)| format!("{name} ({} bytes)", bytes.len())).collect::<Vec<_>>().join(", ")
}

/// Something that is tried.
pub struct Case {
    kind: &'static str,
    what: String,
    attempt: Box<dyn Fn(&Place) -> Verdict + Send + Sync>,
}

impl Case {
    pub fn new(
        kind: &'static str,
        what: impl Into<String>,
        attempt: impl Fn(&Place) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        Self { kind, what: what.into(), attempt: Box::new(attempt) }
    }
}

/// Tries the cases, prints a table, and panics unless all of them end well.
pub fn try_all(cases: Vec<Case>) {
    let verdicts: Vec<Verdict> = cases.par_iter().map(|case| (case.attempt)(&Place::new())).collect();
    let mut kinds: Vec<&str> = cases.iter().map(|case| case.kind).collect();
    kinds.dedup();
    println!(
        "\n{:<36}{:>7}{:>7}{:>7}{:>8}{:>8}{:>7}{:>9}",
        "", "tried", "right", "error", "panics", "losses", "wrong", "untried"
    );
    let mut all = [0; 7];
    for kind in kinds {
        let mut row = [0; 7];
        for (_, verdict) in cases.iter().zip(&verdicts).filter(|(case, _)| case.kind == kind) {
            let column = match verdict {
                Verdict::Right => 1,
                Verdict::Error => 2,
                Verdict::Panic(_) => 3,
                Verdict::Loss(_) => 4,
                Verdict::Wrong(_) => 5,
                Verdict::Untried => 6,
            };
            row[0] += usize::from(column != 6);
            row[column] += 1;
        }
        all.iter_mut().zip(row).for_each(|(sum, number)| *sum += number);
        line(kind, row);
    }
    line("all", all);
    let mut bad = 0;
    for (case, verdict) in cases.iter().zip(&verdicts) {
        let (word, what) = match verdict {
            Verdict::Panic(what) => ("panic", what),
            Verdict::Loss(what) => ("loss", what),
            Verdict::Wrong(what) => ("wrong", what),
            Verdict::Right | Verdict::Error | Verdict::Untried => continue,
        };
        println!("{word}: {}: {}\n  {what}", case.kind, case.what);
        bad += 1;
    }
    assert_eq!(bad, 0, "of {} cases", cases.len());
}

fn line(name: &str, [tried, right, errors, panics, losses, wrong, untried]: [usize; 7]) {
    println!("{name:<36}{tried:>7}{right:>7}{errors:>7}{panics:>8}{losses:>8}{wrong:>7}{untried:>9}");
}

/// What a training run has learned and written, without times and what depends on where it was ended.
pub fn lasting(place: &Place) -> Files {
    let mut files = place.files_after_kill();
    files.retain(|name, _| {
        ["checkpoint.safetensors", "returns.csv", "validation.csv", "best.safetensors"].contains(&&**name)
    });
    files
}

/// Runs it to its end, which is to be a good one.
pub fn succeeds(command: Command) -> Ended {
    let ended = Ended::of(command);
    assert!(ended.status.success(), "{}", ended.errors);
    ended
}
