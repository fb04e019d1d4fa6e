//! Starting programs from a chore: one door that names the program in every error.
//!
//! A failed chore must say which program failed, with which arguments and status; `Command` alone
//! says "No such file or directory". It must not grow into a build system: no caching, no graph.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

/// A program about to be started.
pub(crate) struct Run {
    command: Command,
}

impl Run {
    /// A program by name or path.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            command: Command::new(program),
        }
    }

    /// Adds one argument.
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds several arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of its environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it in a folder.
    pub(crate) fn current_dir(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Sends its standard output to a file, for long builds whose lines matter only when they fail.
    pub(crate) fn log_to(mut self, log: &Path) -> Result<Self> {
        let file = std::fs::File::create(log)
            .with_context(|| format!("cannot make `{}`", log.display()))?;
        let copy = file
            .try_clone()
            .with_context(|| format!("cannot share `{}`", log.display()))?;
        self.command.stdin(Stdio::null()).stdout(file).stderr(copy);
        Ok(self)
    }

    /// Runs it to its end and gives its status, whatever that is.
    pub(crate) fn status(mut self) -> Result<ExitStatus> {
        let name = self.name();
        self.command
            .status()
            .with_context(|| format!("cannot start `{name}`"))
    }

    /// Runs it to its end; a status other than 0 is an error.
    pub(crate) fn ok(self) -> Result<()> {
        let line = self.line();
        let status = self.status()?;
        if !status.success() {
            bail!("`{line}` ended with {status}");
        }
        Ok(())
    }

    /// Runs it and gives what it wrote to its standard output; a status other than 0 is an error.
    pub(crate) fn output(mut self) -> Result<String> {
        let line = self.line();
        let output = self
            .command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start `{line}`"))?;
        if !output.status.success() {
            bail!(
                "`{line}` ended with {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        String::from_utf8(output.stdout).with_context(|| format!("`{line}` did not write text"))
    }

    fn name(&self) -> String {
        self.command.get_program().to_string_lossy().into_owned()
    }

    fn line(&self) -> String {
        let mut line = self.name();
        for argument in self.command.get_args() {
            line.push(' ');
            line.push_str(&argument.to_string_lossy());
        }
        line
    }
}

/// Where a program is on `PATH`.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// Whether a program is on `PATH`.
pub(crate) fn is_on_path(program: &str) -> bool {
    on_path(program).is_some()
}

/// The cargo that started this chore.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
