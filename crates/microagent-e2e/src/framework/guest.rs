//! One `microagent run` in the words of a case: image, flags, command, and what came of it.

use crate::framework::world::World;
use anyhow::Result;
use microagent_test::cli::{Finished, Program, Running};
use microagent_test::home::Home;
use std::time::Duration;

/// A `run` under construction.
pub(crate) struct GuestRun {
    program: Program,
    flags: Vec<String>,
    image: String,
    command: Vec<String>,
}

impl World {
    /// A `run` of the Debian image in the shared home.
    pub(crate) fn guest(&self) -> Result<GuestRun> {
        Ok(self.guest_of(&self.debian_source()?))
    }

    /// A `run` of another image in the shared home.
    pub(crate) fn guest_of(&self, image: &str) -> GuestRun {
        self.guest_in(self.home(), image)
    }

    /// A `run` of an image in another home.
    pub(crate) fn guest_in(&self, home: &Home, image: &str) -> GuestRun {
        GuestRun {
            program: self.microagent_in(home),
            flags: Vec::new(),
            image: image.to_owned(),
            command: Vec::new(),
        }
    }
}

impl GuestRun {
    /// Flags in front of the image.
    pub(crate) fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    /// The command, word by word.
    pub(crate) fn command(mut self, words: &[&str]) -> Self {
        self.command
            .extend(words.iter().map(|&word| word.to_owned()));
        self
    }

    /// A line for the guest's shell.
    pub(crate) fn shell(self, line: &str) -> Self {
        self.command(&["sh", "-c", line])
    }

    /// Its stdin.
    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.program = self.program.stdin(bytes);
        self
    }

    /// Its stdin stays open and silent.
    pub(crate) fn stdin_held_open(mut self) -> Self {
        self.program = self.program.stdin_held_open();
        self
    }

    /// A variable of the command on the host.
    pub(crate) fn host_env(mut self, name: &str, value: &str) -> Self {
        self.program = self.program.env(name, value);
        self
    }

    /// Another limit of time, already as it holds here.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.program = self.program.limit(limit);
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Result<Finished> {
        self.built().run()
    }

    /// Runs it and expects this exit code.
    pub(crate) fn ends_with(self, code: i32) -> Result<Finished> {
        self.run()?.expect_code(code)
    }

    /// Starts it.
    pub(crate) fn spawn(self) -> Result<Running> {
        self.built().spawn()
    }

    fn built(self) -> Program {
        let program = self.program.arg("run").args(self.flags).arg(self.image);
        if self.command.is_empty() {
            program
        } else {
            program.arg("--").args(self.command)
        }
    }
}
