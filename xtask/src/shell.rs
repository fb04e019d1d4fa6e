//! Starting programs from a chore: one door that names the program in every error.
//!
//! A failed chore must say which program failed, with which arguments and status; `Command` alone
//! says "No such file or directory". It must not grow into a build system: no caching, no graph.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

use crate::counts::Counts;

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

    /// Runs it to its end, shows what it writes while it runs, and keeps the lines.
    pub(crate) fn tee(mut self) -> Result<Shown> {
        let line = self.line();
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{line}`"))?;
        let stdout = child.stdout.take().context("the pipe was just made")?;
        let stderr = child.stderr.take().context("the pipe was just made")?;
        let beside = std::thread::spawn(move || show(stderr));
        let mut lines = show(stdout);
        lines.extend(beside.join().unwrap_or_default());
        let status = child
            .wait()
            .with_context(|| format!("cannot wait for `{line}`"))?;
        Ok(Shown {
            line,
            lines,
            status,
        })
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

/// What a program showed while it ran.
pub(crate) struct Shown {
    line: String,
    lines: Vec<String>,
    status: ExitStatus,
}

impl Shown {
    /// The sum of the counts in its lines. No counts at all is an error, and so is a failure that
    /// no count explains.
    pub(crate) fn counts(&self, read: impl Fn(&str) -> Option<Counts>) -> Result<Counts> {
        let mut total = None;
        for counts in self.lines.iter().filter_map(|line| read(line)) {
            *total.get_or_insert_with(Counts::default) += counts;
        }
        let total = total.with_context(|| {
            format!(
                "`{}` ended with {} and counted no tests",
                self.line, self.status
            )
        })?;
        if !self.status.success() && total.failed == 0 {
            bail!("`{}` ended with {}", self.line, self.status);
        }
        Ok(total)
    }
}

fn show(output: impl Read) -> Vec<String> {
    let mut lines = Vec::new();
    for line in BufReader::new(output).split(b'\n') {
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line).into_owned();
        eprintln!("{line}");
        lines.push(line);
    }
    lines
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts;

    fn shown(script: &str) -> Shown {
        Run::new("sh").args(["-c", script]).tee().unwrap()
    }

    #[test]
    fn counts_of_both_streams_are_summed() {
        let one = "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured";
        let lines = shown(&format!("echo '{one}'; echo '{one}' >&2"));
        let total = lines.counts(counts::of_libtest).unwrap();
        assert_eq!(total.to_string(), "4 passed, 0 failed, 2 skipped");
    }

    #[test]
    fn a_failure_without_a_count_is_an_error() {
        assert!(shown("exit 101").counts(counts::of_libtest).is_err());
        let passed = "echo 'test result: ok. 2 passed; 0 failed'; exit 1";
        assert!(shown(passed).counts(counts::of_libtest).is_err());
        let failed = "echo 'test result: FAILED. 2 passed; 1 failed'; exit 1";
        assert_eq!(shown(failed).counts(counts::of_libtest).unwrap().failed, 1);
    }

    #[test]
    fn an_error_names_the_program_and_its_arguments() {
        let error = Run::new("sh").args(["-c", "exit 3"]).ok().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`sh -c exit 3` ended with exit status: 3"
        );
        let error = Run::new("/nonexistent/program").ok().unwrap_err();
        assert_eq!(error.to_string(), "cannot start `/nonexistent/program`");
    }
}
