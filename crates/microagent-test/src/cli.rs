//! Runs a built program as a user would: in a home, with stdin, with a limit of time; and gives what
//! it printed and how it ended.
//!
//! A program that does not end is ended here and reported as such, so no test hangs. Streams are read
//! by threads of their own, so no amount of output blocks. It must not judge what it reads.

use crate::home::Home;
use anyhow::{Context, Result, bail};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use rustix::process::Signal;

/// For a command of which a test says nothing else.
const LIMIT: Duration = Duration::from_mins(2);
/// Between two looks at a child.
const PAUSE: Duration = Duration::from_millis(5);
const READ_BYTES: usize = 64 * 1024;

/// What a program reads.
#[derive(Debug)]
enum Input {
    Nothing,
    Bytes(Vec<u8>),
    File(PathBuf),
    Held,
}

/// A program and how it is to be run.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    input: Input,
    limit: Duration,
}

impl Program {
    /// A program by its path, in an empty environment.
    pub fn at(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            folder: None,
            input: Input::Nothing,
            limit: LIMIT,
        }
    }

    /// Runs in this home's environment and work folder.
    #[must_use]
    pub fn of(mut self, home: &Home) -> Self {
        self.environment = home
            .environment()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        self.folder = Some(home.work_dir());
        self
    }

    /// One argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Several arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments
            .extend(arguments.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// One more variable, or another value for one.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment
            .push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// These bytes are its stdin.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Input::Bytes(bytes.into());
        self
    }

    /// This file is its stdin.
    #[must_use]
    pub fn stdin_file(mut self, path: &Path) -> Self {
        self.input = Input::File(path.to_owned());
        self
    }

    /// Its stdin stays open and silent until it ends.
    #[must_use]
    pub fn stdin_held_open(mut self) -> Self {
        self.input = Input::Held;
        self
    }

    /// The limit of time for it; it is killed then, and that is an error.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it to its end.
    pub fn run(self) -> Result<Finished> {
        self.spawn()?.finish()
    }

    /// Starts it in a process group of its own, as a shell does.
    pub fn spawn(self) -> Result<Running> {
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        match &self.input {
            Input::Nothing => command.stdin(Stdio::null()),
            Input::File(path) => {
                let file = File::open(path)
                    .with_context(|| format!("cannot open `{}`", path.display()))?;
                command.stdin(file)
            }
            Input::Bytes(_) | Input::Held => command.stdin(Stdio::piped()),
        };
        let began = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.path.display()))?;
        let stdin = child.stdin.take();
        let held_stdin = match self.input {
            Input::Bytes(bytes) => {
                let mut stdin = stdin.context("stdin was asked for as a pipe")?;
                // Its failure means that the child did not want the rest, which the test sees.
                std::thread::spawn(move || drop(stdin.write_all(&bytes)));
                None
            }
            _ => stdin,
        };
        let stdout = Collected::from(child.stdout.take().context("stdout is a pipe")?);
        let stderr = Collected::from(child.stderr.take().context("stderr is a pipe")?);
        Ok(Running {
            words: format!("{} {:?}", self.path.display(), self.arguments),
            child,
            stdout,
            stderr,
            held_stdin,
            began,
            limit: self.limit,
        })
    }
}

/// A program that runs.
#[derive(Debug)]
pub struct Running {
    words: String,
    child: Child,
    stdout: Collected,
    stderr: Collected,
    held_stdin: Option<std::process::ChildStdin>,
    began: Instant,
    limit: Duration,
}

impl Running {
    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Signals the program alone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        rustix::process::kill_process(self.raw_pid()?, signal)
            .with_context(|| format!("cannot signal {}", self.words))
    }

    /// Signals its process group, as a terminal does.
    pub fn signal_group(&self, signal: Signal) -> Result<()> {
        rustix::process::kill_process_group(self.raw_pid()?, signal)
            .with_context(|| format!("cannot signal the group of {}", self.words))
    }

    /// Writes to the stdin that is held open.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let stdin = self.held_stdin.as_mut().context("stdin is not held open")?;
        stdin.write_all(bytes)?;
        Ok(stdin.flush()?)
    }

    /// Waits until stdout holds `text`.
    pub fn wait_for_stdout(&self, text: &str) -> Result<()> {
        let left = self.limit.saturating_sub(self.began.elapsed());
        if self.stdout.wait_for(text.as_bytes(), left) {
            return Ok(());
        }
        bail!(
            "{} did not print `{text}` within {:?}; stdout {:?}, stderr {:?}",
            self.words,
            self.limit,
            String::from_utf8_lossy(&self.stdout.so_far()),
            String::from_utf8_lossy(&self.stderr.so_far()),
        )
    }

    /// What it has written to stdout until now, as text.
    pub fn stdout_so_far(&self) -> String {
        String::from_utf8_lossy(&self.stdout.so_far()).into_owned()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for its end and gives what it printed.
    pub fn finish(mut self) -> Result<Finished> {
        let status = self.wait()?;
        drop(self.held_stdin.take());
        let left = self
            .limit
            .saturating_sub(self.began.elapsed())
            .max(Duration::from_secs(1));
        let stdout = self.stdout.to_end(left).with_context(|| {
            format!(
                "{} has ended, but another process holds its stdout",
                self.words
            )
        })?;
        let stderr = self.stderr.to_end(left).with_context(|| {
            format!(
                "{} has ended, but another process holds its stderr",
                self.words
            )
        })?;
        Ok(Finished {
            words: self.words,
            code: status.code(),
            signal: status.signal(),
            stdout,
            stderr,
            took: self.began.elapsed(),
        })
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if self.began.elapsed() >= self.limit {
                self.child.kill()?;
                self.child.wait()?;
                bail!(
                    "{} did not end within {:?}; stdout {:?}, stderr {:?}",
                    self.words,
                    self.limit,
                    excerpt(&self.stdout.so_far()),
                    excerpt(&self.stderr.so_far()),
                );
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn raw_pid(&self) -> Result<rustix::process::Pid> {
        i32::try_from(self.pid())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .context("a child has a process number")
    }
}

/// How a program ended and what it printed.
#[derive(Debug, Clone)]
pub struct Finished {
    /// What was run.
    pub words: String,
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it wrote to stdout.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr.
    pub stderr: Vec<u8>,
    /// From its start to its end.
    pub took: Duration,
}

impl Finished {
    /// stdout as text; bytes that are none are replaced.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// stderr as text; bytes that are none are replaced.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Fails with everything that was printed unless the exit code is `code`.
    pub fn expect_code(self, code: i32) -> Result<Self> {
        if self.code == Some(code) {
            return Ok(self);
        }
        bail!(
            "{}\nended with code {:?} and signal {:?}, and {code} was expected\nstdout: {}\nstderr: {}",
            self.words,
            self.code,
            self.signal,
            excerpt(&self.stdout),
            excerpt(&self.stderr),
        )
    }

    /// stdout as exactly one JSON document with one line feed behind it.
    pub fn json(&self) -> Result<serde_json::Value> {
        let text = self.stdout_text();
        let document = text
            .strip_suffix('\n')
            .with_context(|| format!("no line feed ends the document: {text:?}"))?;
        serde_json::from_str(document)
            .with_context(|| format!("stdout is not one JSON document: {}", excerpt(&self.stdout)))
    }
}

fn excerpt(bytes: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 4000;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES_MAX)]).into_owned();
    if bytes.len() > SHOWN_BYTES_MAX {
        format!("{text}… ({} bytes)", bytes.len())
    } else {
        text
    }
}

/// What a thread has read from a pipe so far.
#[derive(Debug)]
struct Collected {
    shared: Arc<(Mutex<Buffer>, Condvar)>,
    _reader: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    ended: bool,
}

impl Collected {
    fn from(mut pipe: impl Read + Send + 'static) -> Self {
        let shared = Arc::new((Mutex::new(Buffer::default()), Condvar::new()));
        let writer = Arc::clone(&shared);
        let reader = std::thread::spawn(move || {
            let mut chunk = vec![0; READ_BYTES];
            loop {
                let count = pipe.read(&mut chunk).unwrap_or(0);
                let mut buffer = writer.0.lock().unwrap_or_else(PoisonError::into_inner);
                buffer.bytes.extend_from_slice(&chunk[..count]);
                buffer.ended = count == 0;
                writer.1.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        Self {
            shared,
            _reader: reader,
        }
    }

    fn so_far(&self) -> Vec<u8> {
        let buffer = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        buffer.bytes.clone()
    }

    fn wait_for(&self, text: &[u8], limit: Duration) -> bool {
        let buffer = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (buffer, _) = self
            .shared
            .1
            .wait_timeout_while(buffer, limit, |buffer| {
                !buffer.ended && !contains(&buffer.bytes, text)
            })
            .unwrap_or_else(PoisonError::into_inner);
        contains(&buffer.bytes, text)
    }

    fn to_end(&self, limit: Duration) -> Result<Vec<u8>> {
        let buffer = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut buffer, _) = self
            .shared
            .1
            .wait_timeout_while(buffer, limit, |buffer| !buffer.ended)
            .unwrap_or_else(PoisonError::into_inner);
        if !buffer.ended {
            bail!("no end of file within {limit:?}");
        }
        Ok(std::mem::take(&mut buffer.bytes))
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_and_the_code_are_kept_apart() {
        let home = Home::new().unwrap();
        let finished = Program::at("/bin/sh")
            .of(&home)
            .args(["-c", "tr a-z A-Z; echo err >&2; exit 3"])
            .stdin("out")
            .run()
            .unwrap()
            .expect_code(3)
            .unwrap();
        assert_eq!(finished.stdout_text(), "OUT");
        assert_eq!(finished.stderr_text(), "err\n");
    }

    #[test]
    fn what_does_not_end_is_ended_and_named() {
        let home = Home::new().unwrap();
        let error = Program::at("/bin/sleep")
            .of(&home)
            .arg("60")
            .limit(Duration::from_millis(50))
            .run()
            .unwrap_err();
        assert!(error.to_string().contains("did not end within"), "{error}");
        assert!(home.processes().is_empty());
    }

    #[test]
    fn two_documents_are_not_one() {
        let finished = |stdout: &str| Finished {
            words: String::new(),
            code: Some(0),
            signal: None,
            stdout: stdout.as_bytes().to_vec(),
            stderr: Vec::new(),
            took: Duration::ZERO,
        };
        finished("{\"a\":1}\n").json().unwrap();
        finished("{\"a\":1}").json().unwrap_err();
        finished("{}\n{}\n").json().unwrap_err();
        finished("note\n{}\n").json().unwrap_err();
    }
}
