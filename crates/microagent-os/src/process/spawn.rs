//! Starting a child that has what it was given and nothing else.
//!
//! The environment is empty until named, the three streams are `/dev/null` until named, and every
//! other descriptor is closed in the child except those that were given a number. An inherited
//! lease would make a dead monitor look alive; an inherited disk lock would bar the next start.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::time::Duration;

use super::platform;
use super::{ProcessHandle, Signal};
use crate::clock::{self, Deadline};

/// Between two looks for the status of a child whose end somebody else sees first.
const STATUS_PAUSE: Duration = Duration::from_millis(2);

/// Where one of a child's three streams leads.
#[derive(Debug)]
pub enum Stream {
    /// Nowhere: `/dev/null`.
    Null,
    /// A pipe whose other end is in [`Child`].
    Pipe,
    /// The parent's own.
    Inherit,
    /// An open file, or anything that is one.
    File(File),
}

/// Whether a child belongs to the caller's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// The caller's: it gets the terminal's signals.
    Same,
    /// Its own, without a terminal.
    New,
    /// The caller's session, but a process group of its own: not in the way of Ctrl-C.
    NewGroup,
}

/// What becomes of a child when the thread that made it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParentDeath {
    /// Nothing.
    Ignored,
    /// It gets the signal. Bound to the *thread*, so children are made by the main thread.
    Signals(Signal),
}

/// A child to be.
#[derive(Debug)]
pub struct Spawn {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(OsString, OsString)>,
    pub(super) working_folder: Option<PathBuf>,
    pub(super) stdin: Stream,
    pub(super) stdout: Stream,
    pub(super) stderr: Stream,
    pub(super) descriptors: Vec<(i32, platform::OwnedDescriptor)>,
    pub(super) session: Session,
    pub(super) parent_death: ParentDeath,
    pub(super) creation_mask: Option<u32>,
    pub(super) no_new_privileges: bool,
}

/// A program that could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start `{}`", program.display())]
pub struct SpawnError {
    /// The program.
    pub program: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl Spawn {
    /// A child without arguments, environment, descriptors or streams, in the caller's session.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            working_folder: None,
            stdin: Stream::Null,
            stdout: Stream::Null,
            stderr: Stream::Null,
            descriptors: Vec::new(),
            session: Session::Same,
            parent_death: ParentDeath::Ignored,
            creation_mask: None,
            no_new_privileges: false,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn arguments<I, A>(mut self, arguments: I) -> Self
    where
        I: IntoIterator<Item = A>,
        A: AsRef<OsStr>,
    {
        self.arguments.extend(
            arguments
                .into_iter()
                .map(|argument| argument.as_ref().to_owned()),
        );
        self
    }

    /// Sets a variable. Nothing of the caller's environment is passed on unless it is set here.
    #[must_use]
    pub fn variable(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Passes the caller's whole environment on, for programs that a user asked for.
    #[must_use]
    pub fn inherit_environment(mut self) -> Self {
        self.environment.extend(std::env::vars_os());
        self
    }

    /// Sets the working folder; without it, the caller's.
    #[must_use]
    pub fn working_folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.working_folder = Some(folder.as_ref().to_owned());
        self
    }

    /// Sets stdin.
    #[must_use]
    pub fn stdin(mut self, stream: Stream) -> Self {
        self.stdin = stream;
        self
    }

    /// Sets stdout.
    #[must_use]
    pub fn stdout(mut self, stream: Stream) -> Self {
        self.stdout = stream;
        self
    }

    /// Sets stderr.
    #[must_use]
    pub fn stderr(mut self, stream: Stream) -> Self {
        self.stderr = stream;
        self
    }

    /// Opens a descriptor to the child under this number, 3 to 63. A number given twice has the
    /// later one.
    #[must_use]
    pub fn descriptor(
        mut self,
        number: i32,
        descriptor: impl Into<platform::OwnedDescriptor>,
    ) -> Self {
        assert!(
            (3..64).contains(&number),
            "descriptor numbers for children are 3 to 63"
        );
        self.descriptors.retain(|(taken, _)| *taken != number);
        self.descriptors.push((number, descriptor.into()));
        self
    }

    /// Sets the session.
    #[must_use]
    pub fn session(mut self, session: Session) -> Self {
        self.session = session;
        self
    }

    /// Binds the child to the calling thread.
    #[must_use]
    pub fn parent_death(mut self, parent_death: ParentDeath) -> Self {
        self.parent_death = parent_death;
        self
    }

    /// Sets the child's file creation mask.
    #[must_use]
    pub fn creation_mask(mut self, mask: u32) -> Self {
        self.creation_mask = Some(mask);
        self
    }

    /// Keeps the child from gaining privileges by executing set-id programs.
    #[must_use]
    pub fn no_new_privileges(mut self) -> Self {
        self.no_new_privileges = true;
        self
    }

    /// Starts it. On success the program was executed, not only forked.
    pub fn start(self) -> Result<Child, SpawnError> {
        let program = self.program.clone();
        let fail = |source| SpawnError {
            program: program.clone(),
            source,
        };
        let mut inner = platform::spawn(self).map_err(fail)?;
        let handle = match ProcessHandle::of_child(&inner) {
            Ok(handle) => handle,
            Err(error) => {
                // Without a handle it could never be ended again. It was not waited for, so the
                // pid is its own.
                let _ = inner.kill();
                let _ = inner.wait();
                return Err(fail(error));
            }
        };
        let (stdin, stdout, stderr) =
            (inner.stdin.take(), inner.stdout.take(), inner.stderr.take());
        Ok(Child {
            inner,
            handle,
            stdin,
            stdout,
            stderr,
        })
    }

    /// Replaces this process by the program, with the same rules. Returns only with an error.
    pub fn replace(self) -> SpawnError {
        let program = self.program.clone();
        SpawnError {
            program,
            source: platform::replace(self),
        }
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// True for code 0.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// The code that a shell would report: 128 plus the signal.
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(formatter, "exit status {code}"),
            Self::Signal(signal) => write!(formatter, "signal {signal}"),
        }
    }
}

/// A child that was started. Dropping it neither ends nor reaps it.
#[derive(Debug)]
pub struct Child {
    inner: std::process::Child,
    handle: ProcessHandle,
    /// The pipe to its stdin, when one was asked for.
    pub stdin: Option<ChildStdin>,
    /// The pipe from its stdout, when one was asked for.
    pub stdout: Option<ChildStdout>,
    /// The pipe from its stderr, when one was asked for.
    pub stderr: Option<ChildStderr>,
}

impl Child {
    /// Its handle, with its identity.
    pub fn handle(&self) -> &ProcessHandle {
        &self.handle
    }

    /// Its pid as this process counts, which in a pid namespace is not the one of its identity.
    pub fn pid_here(&self) -> u32 {
        self.inner.id()
    }

    /// Waits for the end without limit and reaps it. Its stdin is closed first.
    pub fn wait(&mut self) -> io::Result<Exit> {
        self.stdin = None;
        self.inner.wait().map(platform::exit_of)
    }

    /// The end, when it has come; reaps it.
    pub fn try_wait(&mut self) -> io::Result<Option<Exit>> {
        Ok(self.inner.try_wait()?.map(platform::exit_of))
    }

    /// Waits for the end until the limit; reaps it. A debugger that is attached hears of the end first
    /// and keeps the status until it lets go, which nothing announces: then it is looked for in turns.
    pub fn wait_for(&mut self, limit: Duration) -> io::Result<Option<Exit>> {
        let deadline = Deadline::after(limit);
        let ended = self.handle.wait_end(limit)?;
        loop {
            let exit = self.try_wait()?;
            if exit.is_some() || !ended || deadline.remaining().is_zero() {
                return Ok(exit);
            }
            clock::pause(STATUS_PAUSE);
        }
    }

    /// Kills and reaps it, within the limit that a kernel needs to tear it down.
    pub fn kill_and_wait(&mut self, limit: Duration) -> io::Result<Option<Exit>> {
        self.handle.signal(Signal::Kill)?;
        self.wait_for(limit)
    }
}
