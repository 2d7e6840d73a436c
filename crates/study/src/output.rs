//! What an example leaves behind: files in a folder that is its own while it runs, and text. Whatever is printed or written
//! goes through here.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
pub use rl::files::Folder;
use rl::files::write_whole;

use crate::Outcome;
use crate::options::Common;
use crate::saved::Saved;

impl Common {
    /// The folder for this example's files.
    pub fn folder(&self, example: &str) -> rl::error::Result<Folder> {
        Folder::open(self.out.clone().unwrap_or_else(|| Path::new("results").join(example)))
    }
}

/// The results of an example. Nothing is printed before all files are written, and those are all there or none of them.
pub struct Output {
    folder: Folder,
    files: Vec<(String, String)>,
    text: String,
    failures: Vec<String>,
}

impl Output {
    /// Nothing yet, for this folder.
    pub fn new(folder: Folder) -> Self {
        Self { folder, files: Vec::new(), text: String::new(), failures: Vec::new() }
    }

    /// What is to be printed: `writeln!(output, …)`, which cannot fail.
    pub fn write_fmt(&mut self, text: fmt::Arguments<'_>) {
        self.text += &text.to_string();
    }

    /// A file to be written.
    pub fn file(&mut self, name: &str, contents: String) {
        if name.ends_with(".csv") {
            self.failures.extend(not_finite(name, &contents));
        }
        self.files.push((name.to_owned(), contents));
    }

    /// A CSV file to be written.
    pub fn table<R: IntoIterator<Item = String>>(
        &mut self,
        name: &str,
        columns: &[&str],
        rows: impl IntoIterator<Item = R>,
    ) {
        let mut table = csv::Writer::from_writer(Vec::new());
        table.write_record(columns).expect("memory takes all that is written");
        for row in rows {
            table.write_record(row.into_iter().collect::<Vec<_>>()).expect("as many fields as columns");
        }
        let bytes = table.into_inner().expect("memory takes all that is written");
        self.file(name, String::from_utf8(bytes).expect("of strings"));
    }

    /// What makes the run an error, though it has results.
    pub fn fail(&mut self, why: String) {
        self.failures.push(why);
    }

    /// Writes the files, deletes the parts that they are made of, prints the text and says where the files are. Is an error if
    /// any of it fails, or something has failed before. (That nobody reads the text is not one: all is done by then.)
    pub fn finish(mut self, parts: Option<Saved>) -> Outcome {
        if self.text.split(|c: char| !c.is_alphanumeric()).any(|word| word == "NaN") {
            self.failures.push("there are numbers among the results that are none (NaN)".to_owned());
        }
        let Self { folder, files, mut text, mut failures } = self;
        write_whole(files.iter().map(|(name, contents)| (folder.path.join(name), contents)))?;
        parts.map_or(Ok(()), Saved::delete)?;
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        let verb = if names.len() == 1 { "is" } else { "are" };
        let place = format!("{} {verb} in {}", listed(&names), folder.path.display());
        text += &format!("\n{place}\n");
        match print(&text) {
            Err(Unprinted(cause)) if cause.kind() != io::ErrorKind::BrokenPipe => {
                failures.push(format!("{}; {place}", Unprinted(cause)));
            }
            _ => {}
        }
        if failures.is_empty() { Ok(()) } else { Err(failures.join("\nerror: ").into()) }
    }
}

/// `a, b and c`.
fn listed(names: &[&str]) -> String {
    match names {
        [others @ .., last] if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => names.concat(),
    }
}

/// The first number of a CSV file that is NaN or infinite, named.
fn not_finite(name: &str, contents: &str) -> Option<String> {
    let mut lines = contents.lines().map(|line| line.split(','));
    let columns: Vec<&str> = lines.next()?.collect();
    let fields = lines.enumerate().flat_map(|(line, fields)| fields.enumerate().map(move |place| (line + 2, place)));
    let mut wrong = fields.filter(|(_, (_, field))| field.parse().is_ok_and(|x: f64| !x.is_finite()));
    let (line, (column, field)) = wrong.next()?;
    let more = wrong.count();
    let others = if more > 0 { format!(" (and {more} more)") } else { String::new() };
    let column = columns.get(column).copied().unwrap_or("the last column");
    Some(format!("{name}: {column} is {field} in line {line}{others}"))
}

/// Standard output did not take a text.
#[derive(Debug)]
pub struct Unprinted(pub io::Error);

impl Display for Unprinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot print: {}", self.0)
    }
}

impl std::error::Error for Unprinted {}

/// Prints a text at once.
pub fn print(text: &str) -> Result<(), Unprinted> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Unprinted)
}

/// Says something on standard error, if that is possible.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A bar on standard error that shows how many of `what` are done, and how long the others take.
pub fn progress(total: usize, what: &str) -> ProgressBar {
    let template = format!("{{bar:40}} {{pos}}/{{len}} {what}, {{eta}} left");
    ProgressBar::new(total as u64).with_style(ProgressStyle::with_template(&template).expect("a valid template"))
}
