//! What is to be started, with everything that allocates done before the fork.

use std::ffi::CString;
use std::os::fd::OwnedFd;

/// Numbers that a process gets in place of guest init's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
}

/// The three first descriptors of a process.
#[derive(Debug)]
pub enum Stdio {
    /// Three of their own.
    Pipes {
        /// What it reads.
        stdin: OwnedFd,
        /// What it writes.
        stdout: OwnedFd,
        /// Its errors.
        stderr: OwnedFd,
    },
    /// One terminal for all three, which becomes the controlling one.
    Terminal(OwnedFd),
}

/// A process to be.
#[derive(Debug)]
pub struct Command {
    /// Files to try, in order.
    pub(super) candidates: Vec<CString>,
    pub(super) argv: Vec<CString>,
    pub(super) env: Vec<CString>,
    pub(super) cwd: CString,
    pub(super) credentials: Option<Credentials>,
    pub(super) stdio: Stdio,
}

/// A word that no process can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandError {
    /// There is no program.
    Empty,
    /// A word, a variable or the folder holds a zero byte.
    ZeroByte,
}

impl std::fmt::Display for CommandError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Empty => "the command is empty",
            Self::ZeroByte => "a word of the command holds a zero byte",
        })
    }
}

impl std::error::Error for CommandError {}

impl Command {
    /// A command that is not yet running. Without `credentials` it stays who guest init is.
    ///
    /// # Errors
    /// When there is no program or something holds a zero byte.
    pub fn new(
        argv: &[String],
        candidates: &[String],
        variables: &[(String, String)],
        cwd: &str,
        credentials: Option<Credentials>,
        stdio: Stdio,
    ) -> Result<Self, CommandError> {
        if argv.is_empty() || candidates.is_empty() {
            return Err(CommandError::Empty);
        }
        let env = variables
            .iter()
            .map(|(name, value)| [name, "=", value].concat());
        Ok(Self {
            candidates: c_strings(candidates.iter().cloned())?,
            argv: c_strings(argv.iter().cloned())?,
            env: c_strings(env)?,
            cwd: c_string(cwd.to_owned())?,
            credentials,
            stdio,
        })
    }
}

fn c_strings(texts: impl Iterator<Item = String>) -> Result<Vec<CString>, CommandError> {
    texts.map(c_string).collect()
}

fn c_string(text: String) -> Result<CString, CommandError> {
    CString::new(text).map_err(|_| CommandError::ZeroByte)
}
