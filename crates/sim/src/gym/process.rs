//! A process of Python, and what is said over the socket to it. Whatever becomes of the process, asking it something ends, in an
//! answer or an error.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{Error, Result};

/// What runs in Python.
const SERVER: &str = include_str!("server.py");

/// How long a process that ends by itself may take, and what it said last to arrive.
const ENDING: Duration = Duration::from_secs(1);

/// No answer is longer.
const LONGEST_ANSWER: usize = 1 << 20;

/// How much of what a process says is kept, and how many lines of it are told.
const KEPT: usize = 8192;
const LINES: usize = 20;

/// How to start a process, and how long to wait for it.
#[derive(Clone, Debug)]
pub struct Start {
    pub id: String,
    pub python: OsString,
    pub variables: Vec<(OsString, OsString)>,
    pub starts_within: Duration,
    pub answers_within: Duration,
}

impl Start {
    fn python(&self) -> String {
        self.python.to_string_lossy().into_owned()
    }
}

/// A process that answers. It is ended when this is dropped.
#[derive(Debug)]
pub struct Process {
    id: String,
    child: Alive,
    socket: UnixStream,
    answers_within: Duration,
    said: Arc<Mutex<Vec<u8>>>,
    /// Closed when nothing more can be said.
    silence: Receiver<()>,
}

/// A child that does not outlive its parent's interest.
#[derive(Debug)]
struct Alive(Child);

impl Drop for Alive {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Something that stands in the way, as Python says it.
#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Refusal {
    Raised { raised: String, row: Option<usize> },
    Unsupported { unsupported: String },
    Module { module: String, package: String },
}

impl Process {
    /// Starts a process with so many environments, and gives its first answer: what they are.
    pub fn start(start: &Start, rows: usize) -> Result<(Self, Value)> {
        let system = |what| move |cause| Error::System { id: start.id.clone(), what, cause };
        let (socket, theirs) = UnixStream::pair().map_err(system("pair of sockets"))?;
        let mut command = Command::new(&start.python);
        command
            .args(["-c", SERVER, &json!({"id": start.id, "rows": rows}).to_string()])
            .envs(start.variables.iter().map(|(name, value)| (name, value)))
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C is for this program, which finishes what it does.
            .process_group(0);
        let spawned = command.spawn();
        // With it goes our copy of the child's end: a child that dies is then the end of what can be read.
        drop(command);
        let mut child = Alive(spawned.map_err(|cause| Error::Interpreter { python: start.python(), cause })?);
        let mut stderr = child.0.stderr.take().expect("it is piped");
        let (said, (open, silence)) = (Arc::new(Mutex::new(Vec::new())), channel());
        let kept = Arc::clone(&said);
        let listen = move || {
            let mut part = [0; 1024];
            while let Some(size) = size_read(stderr.read(&mut part)) {
                keep(&mut kept.lock().unwrap_or_else(PoisonError::into_inner), &part[..size]);
            }
            drop::<std::sync::mpsc::Sender<()>>(open);
        };
        thread::Builder::new().name("stderr of Python".to_owned()).spawn(listen).map_err(system("thread"))?;
        let (id, answers_within) = (start.id.clone(), start.answers_within);
        let mut this = Self { id, child, socket, answers_within, said, silence };
        let greeting = this.answer("start", start.starts_within)?;
        match greeting.map(|value| (refusal(&value), value)) {
            Some((None, value)) => Ok((this, value)),
            Some((Some(refusal), _)) => Err(this.refused(refusal, start)),
            None => Err(this.unclear("nothing")),
        }
    }

    /// The second command: where arrays lie.
    pub fn share(&mut self, places: &Value, start: &Start) -> Result<()> {
        let text = places.to_string();
        let length = u32::try_from(text.len()).expect("a short text").to_le_bytes();
        match self.ask(&[&length, text.as_bytes()].concat(), "see memory", start.starts_within)? {
            None => Ok(()),
            Some(value) => Err(match refusal(&value) {
                Some(refusal) => self.refused(refusal, start),
                None => self.unclear(&value.to_string()),
            }),
        }
    }

    /// A command of one byte, to be carried out in the rows that memory says.
    pub fn command(&mut self, byte: u8, name: &'static str) -> Result<()> {
        match self.ask(&[byte], name, self.answers_within)? {
            None => Ok(()),
            Some(value) => Err(match refusal(&value) {
                Some(Refusal::Raised { raised: what, row }) => Error::Raised { id: self.id.clone(), row, what },
                _ => self.unclear(&value.to_string()),
            }),
        }
    }

    fn refused(&self, refusal: Refusal, start: &Start) -> Error {
        let id = self.id.clone();
        match refusal {
            Refusal::Raised { raised: what, row } => Error::Raised { id, row, what },
            Refusal::Unsupported { unsupported: what } => Error::Unsupported { id, what },
            Refusal::Module { module, package } => Error::Module { python: start.python(), module, package },
        }
    }

    /// An answer that no server of ours gives.
    pub fn unclear(&self, what: &str) -> Error {
        Error::Answer { id: self.id.clone(), what: what.chars().take(200).collect() }
    }

    fn ask(&mut self, bytes: &[u8], command: &'static str, within: Duration) -> Result<Option<Value>> {
        if let Err(cause) = self.socket.write_all(bytes) {
            return Err(self.gone(cause));
        }
        self.answer(command, within)
    }

    /// An answer, if it is more than "done".
    fn answer(&mut self, command: &'static str, within: Duration) -> Result<Option<Value>> {
        let deadline = Instant::now() + within;
        let mut length = [0; 4];
        self.receive(&mut length, deadline).map_err(|cause| self.gone_or_silent(cause, command, within))?;
        let length = u32::from_le_bytes(length) as usize;
        if length == 0 {
            return Ok(None);
        }
        if length > LONGEST_ANSWER {
            return Err(self.unclear(&format!("{length} bytes")));
        }
        let mut text = vec![0; length];
        self.receive(&mut text, deadline).map_err(|cause| self.gone_or_silent(cause, command, within))?;
        serde_json::from_slice(&text).map(Some).map_err(|cause| self.unclear(&cause.to_string()))
    }

    /// Fills all of it, or gives up at the deadline.
    fn receive(&mut self, mut to: &mut [u8], deadline: Instant) -> io::Result<()> {
        while !to.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.socket.set_read_timeout(Some(left))?;
            match self.socket.read(to) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(size) => to = &mut to[size..],
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }

    fn gone_or_silent(&mut self, cause: io::Error, command: &'static str, waited: Duration) -> Error {
        match cause.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => {
                let _ = self.child.0.kill();
                Error::Silent { id: self.id.clone(), command, waited, last: self.last() }
            }
            _ => self.gone(cause),
        }
    }

    /// The error of a process whose socket is closed.
    fn gone(&mut self, cause: io::Error) -> Error {
        let (id, deadline) = (self.id.clone(), Instant::now() + ENDING);
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.0.try_wait() {
                return Error::Ended { id, status: status.to_string(), last: self.last() };
            }
            thread::sleep(Duration::from_millis(1));
        }
        let _ = self.child.0.kill();
        Error::Ended { id, status: format!("it closed its socket: {cause}"), last: self.last() }
    }

    /// The last lines of standard error, of a process that ended.
    fn last(&self) -> String {
        // What the process left behind, another process perhaps, may hold it open for as long as it likes.
        let _ = self.silence.recv_timeout(ENDING);
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

/// What stands in the way, if the answer says that something does.
fn refusal(value: &Value) -> Option<Refusal> {
    Refusal::deserialize(value).ok()
}

/// How much was read; nothing at the end.
fn size_read(read: io::Result<usize>) -> Option<usize> {
    match read {
        Ok(0) => None,
        Ok(size) => Some(size),
        Err(cause) => (cause.kind() == ErrorKind::Interrupted).then_some(0),
    }
}

/// Adds what was said, and forgets what was said long ago.
fn keep(said: &mut Vec<u8>, part: &[u8]) {
    said.extend(part);
    said.drain(..said.len().saturating_sub(KEPT));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_was_said_the_end_is_kept() {
        let mut said = Vec::new();
        for number in 0..10_000 {
            keep(&mut said, format!("line {number}\n").as_bytes());
        }
        assert_eq!(said.len(), KEPT);
        assert!(said.ends_with(b"line 9998\nline 9999\n"));
    }

    #[test]
    fn what_stands_in_the_way_is_told_from_what_there_is() {
        assert!(matches!(refusal(&json!({"raised": "it", "row": 3})), Some(Refusal::Raised { row: Some(3), .. })));
        assert!(matches!(refusal(&json!({"raised": "it"})), Some(Refusal::Raised { row: None, .. })));
        assert!(matches!(refusal(&json!({"module": "m", "package": "p"})), Some(Refusal::Module { .. })));
        assert!(refusal(&json!({"observation": {"count": 2}})).is_none());
    }
}
