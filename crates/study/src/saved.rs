//! A long study that was ended can be taken up again, to the same bits, because each part that is finished is saved at once.
//!
//! The file of parts is text, and every line ends with a checksum of what is before it. The first says which run it is of:
//! the program and the options. Each other line is a part: a number that stands for the run, the part's name, how many
//! numbers it has, and these, printed such that they are read again to the bit. Beside it is a folder for what is under way: a
//! part that takes hours may keep there what it goes on from.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use rl::error::{Error, Result};
use rl::files::write_whole;

use crate::options::StudyOptions;
use crate::output::{Folder, complain};

/// What becomes of the parts that are in the folder already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// If there are any, it is an error that asks for one of the others.
    Ask,
    /// Those of this run are taken over.
    Resume,
    /// They are deleted.
    Delete,
}

impl StudyOptions {
    /// [`Saved::open`] as these options ask for it; its notes are printed.
    pub fn saved(&self, folder: &Folder, settings: &str) -> Result<Saved> {
        let before = match (self.resume, self.fresh) {
            (true, _) => Before::Resume,
            (_, true) => Before::Delete,
            _ => Before::Ask,
        };
        let saved = Saved::open(folder, settings, before)?;
        saved.notes.iter().for_each(|note| complain(note));
        Ok(saved)
    }
}

/// The parts that are finished, and the file they are saved in.
pub struct Saved {
    path: PathBuf,
    /// The folder for parts that are under way.
    under_way: PathBuf,
    /// In each line: a hash of the program, the options and the seed.
    pub run: String,
    parts: HashMap<String, Vec<f64>>,
    file: Mutex<File>,
    /// What a reader should know of how it was opened: a sentence each.
    pub notes: Vec<String>,
}

impl Saved {
    /// The parts of a run with these `settings`, in which is all that its numbers depend on.
    pub fn open(folder: &Folder, settings: &str, before: Before) -> Result<Self> {
        let path = folder.path.join("finished.txt");
        let refused = |cause: String| Error::file(&path, cause);
        let this = format!("{}, {settings}", program().map_err(&refused)?);
        let run = format!("{:016x}", hash(&this));
        let found = match std::fs::read(&path) {
            Ok(bytes) if before != Before::Delete => bytes,
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(Error::file(&path, cause)),
            _ => Vec::new(),
        };
        let under_way = folder.path.join("under_way");
        if before == Before::Delete {
            forget(|| std::fs::remove_dir_all(&under_way)).map_err(|cause| Error::file(&under_way, cause))?;
        }
        let read = Read { under_way: under_way.exists(), ..Read::new(&found) };
        if let Some(cause) = read.refusal(before, &this, &run) {
            return Err(refused(cause));
        }

        let mut notes = Vec::new();
        let Read { parts, damaged, under_way: is_under_way, .. } = read;
        if before == Before::Resume && parts.is_empty() && damaged.is_empty() && !is_under_way {
            notes.push(format!("nothing to resume in {}: it is begun anew", folder.path.display()));
        }
        let mut names = HashSet::new();
        let twice: HashSet<&str> = parts.iter().map(|part| part.name).filter(|name| !names.insert(*name)).collect();
        for (line, name) in &damaged {
            let what = name.map_or("it".to_owned(), |name| format!("part {name}"));
            notes.push(format!("{}: line {line} is damaged; {what} is computed again", path.display()));
        }
        for name in &twice {
            notes.push(format!("{}: part {name} is listed twice; it is computed again", path.display()));
        }
        let good = || parts.iter().filter(|part| !twice.contains(part.name));
        // Damaged lines go away, and with them all that is not of this run.
        let lines = good().map(|part| part.line.to_owned() + "\n");
        let text: String = std::iter::once(sealed(&format!("run {this}"))).chain(lines).collect();
        if text.as_bytes() != found {
            write_whole([(&path, text)])?;
        }
        let parts = good().map(|part| (part.name.to_owned(), part.numbers.clone())).collect();
        let file = File::options().append(true).open(&path).map_err(|cause| Error::file(&path, cause))?;
        Ok(Self { path, under_way, run, parts, file: Mutex::new(file), notes })
    }

    /// The numbers of a part (its name has no spaces): those that were saved, or what `compute` gives, which is saved now.
    pub fn part(&self, name: &str, compute: impl FnOnce() -> Result<Vec<f64>>) -> Result<Vec<f64>> {
        if let Some(numbers) = self.parts.get(name) {
            return Ok(numbers.clone());
        }
        let numbers = compute()?;
        let printed: String = numbers.iter().map(|x| format!(" {x:e}")).collect();
        let line = sealed(&format!("{} {name} {}{printed}", self.run, numbers.len()));
        let mut file = self.file.lock().expect("no thread panics while it writes");
        append(&mut file, line.as_bytes()).map_err(|cause| Error::file(&self.path, cause))?;
        // It is on the disk: now there is nothing to go on with.
        let under_way = self.under_way(name);
        forget(|| std::fs::remove_file(&under_way)).map_err(|cause| Error::file(&under_way, cause))?;
        Ok(numbers)
    }

    /// The file for what a part that is under way goes on from. It is deleted once the part is finished.
    pub fn under_way(&self, name: &str) -> PathBuf {
        self.under_way.join(name)
    }

    /// Writes that file, whole or not at all.
    pub fn keep(&self, name: &str, contents: &[u8]) -> Result<()> {
        let made = std::fs::create_dir_all(&self.under_way);
        made.map_err(|cause| Error::Folder { path: self.under_way.clone(), cause })?;
        write_whole([(self.under_way(name), contents)])
    }

    /// Deletes the parts, because the results are written that are made of them.
    pub fn delete(self) -> Result<()> {
        forget(|| std::fs::remove_dir_all(&self.under_way)).map_err(|cause| Error::file(&self.under_way, cause))?;
        std::fs::remove_file(&self.path).map_err(|cause| Error::file(&self.path, cause))
    }
}

/// Adds a line, to the disk, in one piece: a run that is ended leaves one at most that is not whole, and a full disk none, because the
/// lines of other parts may come behind it.
fn append(file: &mut File, line: &[u8]) -> io::Result<()> {
    let before = file.metadata()?.len();
    let written = file.write_all(line).and_then(|()| file.sync_data());
    if written.is_err() {
        file.set_len(before)?;
    }
    written
}

/// Deletes what need not be there.
fn forget(delete: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    delete().or_else(|cause| if cause.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(cause) })
}

/// The lines of a file, told apart: which run it is of, parts, and the others by their number, with the name of the part if
/// that can be read.
#[derive(Default)]
struct Read<'a> {
    of: Option<&'a str>,
    parts: Vec<Part<'a>>,
    damaged: Vec<(usize, Option<&'a str>)>,
    /// Whether there is a folder of parts that are not finished.
    under_way: bool,
}

struct Part<'a> {
    line: &'a str,
    run: &'a str,
    name: &'a str,
    numbers: Vec<f64>,
}

impl<'a> Read<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut read = Self::default();
        for (number, bytes) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let line = str::from_utf8(bytes).ok().and_then(|line| line.strip_suffix('\n'));
            match line.and_then(opened) {
                Some(body) if read.of.is_none() && body.starts_with("run ") => read.of = body.strip_prefix("run "),
                body => match body.zip(line).and_then(|(body, line)| Part::new(body, line)) {
                    Some(part) => read.parts.push(part),
                    None => {
                        let name = str::from_utf8(bytes).ok().and_then(|line| line.split(' ').nth(1));
                        read.damaged.push((number + 1, name.filter(|_| number > 0)));
                    }
                },
            }
        }
        read
    }

    /// Why a run is not to go on with such a file, if it is not.
    fn refusal(&self, before: Before, this: &str, run: &str) -> Option<String> {
        let Self { of, parts, damaged, under_way } = self;
        match before {
            Before::Ask if !parts.is_empty() || !damaged.is_empty() || *under_way => {
                let there = match parts.len() {
                    0 if *under_way => "parts of a run that was ended are under way".to_owned(),
                    0 => "there is something in it, though no part that can be read".to_owned(),
                    count => format!("{count} parts of a run that was ended are finished"),
                };
                let of = of.map_or(String::new(), |of| format!(" ({of})"));
                Some(format!("{there}{of}; --resume takes it up, --fresh deletes it and begins anew"))
            }
            Before::Resume if of.is_some_and(|of| of != this) => Some(format!(
                "it is of another run, which cannot be resumed by this one; give that one's options to the same program, or \
                 --fresh, which deletes its parts\n  found: {}\n  this:  {this}",
                of.unwrap_or_default()
            )),
            Before::Resume if parts.iter().any(|part| part.run != run) => Some(format!(
                "there are parts of another run in it than this one ({this}); --fresh deletes all of them and begins anew"
            )),
            // (What is under way says itself which run it is of.)
            Before::Resume if of.is_none() && parts.is_empty() && !damaged.is_empty() && !under_way => {
                Some("nothing in it can be read; --fresh deletes it and begins anew".to_owned())
            }
            _ => None,
        }
    }
}

impl<'a> Part<'a> {
    fn new(body: &'a str, line: &'a str) -> Option<Self> {
        let mut words = body.split(' ');
        let (run, name, count) = (words.next()?, words.next()?, words.next()?.parse::<usize>().ok()?);
        let numbers: Vec<f64> = words.map(str::parse).collect::<std::result::Result<_, _>>().ok()?;
        (numbers.len() == count).then_some(Self { line, run, name, numbers })
    }
}

/// A line with its checksum.
fn sealed(body: &str) -> String {
    format!("{body} {:016x}\n", hash(body))
}

/// What is before the checksum of a line, if it is right.
fn opened(line: &str) -> Option<&str> {
    let (body, checksum) = line.rsplit_once(' ')?;
    (format!("{:016x}", hash(body)) == checksum).then_some(body)
}

/// The same in every process of one program.
fn hash(x: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    x.hash(&mut hasher);
    hasher.finish()
}

/// Version and build of the program: parts of two programs need not be the same bits.
fn program() -> std::result::Result<&'static str, String> {
    static PROGRAM: OnceLock<io::Result<String>> = OnceLock::new();
    let build = || -> io::Result<String> {
        let bytes = std::fs::read(std::env::current_exe()?)?;
        Ok(format!("version {}, build {:016x}", env!("CARGO_PKG_VERSION"), hash(bytes)))
    };
    PROGRAM.get_or_init(build).as_deref().map_err(|cause| format!("which program this is cannot be read: {cause}"))
}
