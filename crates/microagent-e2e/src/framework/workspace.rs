//! One lasting workspace in the words of a case: made in a home of its own, so that whatever becomes of
//! it disturbs no other case.

use crate::framework::net_hosts::{ip_program, on};
use crate::framework::world::World;
use anyhow::{Context as _, Result, bail, ensure};
use microagent_test::cli::{Finished, Program};
use microagent_test::home::{Home, ProcessSeen};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What every case calls its workspace.
pub(crate) const NAME: &str = "kept";
/// A look at a file that a guest writes to, on a real processor.
const SEEN_LIMIT: Duration = Duration::from_secs(20);
/// What is shown of a log when a line has failed.
const LAST_LINES: usize = 30;
const PAUSE: Duration = Duration::from_millis(20);

/// A workspace and its home.
pub(crate) struct Lasting<'a> {
    world: &'a World,
    program: PathBuf,
    home: Home,
    /// The network namespace that it is run in, when that is not the test's own.
    namespace: Option<String>,
}

impl<'a> Lasting<'a> {
    /// Creates one of the Debian image without a network. `flags` go before the image's flag, `command`
    /// is its workload; without one it idles.
    pub(crate) fn create(world: &'a World, flags: &[&str], command: &[&str]) -> Result<Self> {
        Self::create_with(world, world.prefix(), flags, command)
    }

    /// The same with another installation.
    pub(crate) fn create_with(
        world: &'a World,
        prefix: &Path,
        flags: &[&str],
        command: &[&str],
    ) -> Result<Self> {
        Self::make(world, prefix, world.fresh_home()?, flags, command)
    }

    /// An idle one in a home that is there.
    pub(crate) fn create_in(world: &'a World, home: Home, flags: &[&str]) -> Result<Self> {
        Self::make(world, world.prefix(), home, flags, &[])
    }

    fn make(
        world: &'a World,
        prefix: &Path,
        home: Home,
        flags: &[&str],
        command: &[&str],
    ) -> Result<Self> {
        let lasting = Self {
            world,
            program: prefix.join("bin/microagent"),
            home,
            namespace: None,
        };
        lasting.made(&["--network", "isolated"], flags, command)
    }

    /// One in a network namespace, with the network that its flags say.
    pub(crate) fn create_on(
        world: &'a World,
        namespace: String,
        flags: &[&str],
        command: &[&str],
    ) -> Result<Self> {
        let lasting = Self {
            world,
            program: world.prefix().join("bin/microagent"),
            home: world.fresh_home()?,
            namespace: Some(namespace),
        };
        lasting.made(&[], flags, command)
    }

    fn made(self, network: &[&str], flags: &[&str], command: &[&str]) -> Result<Self> {
        let image = self.world.debian_source()?;
        let mut words = vec!["create", NAME, "--profile", "tiny"];
        words.extend(network);
        words.extend(flags);
        words.extend(["--image", &image]);
        if command.is_empty() {
            words.push("--idle");
        } else {
            words.push("--");
            words.extend(command);
        }
        self.does(&words)?;
        Ok(self)
    }

    /// From now on its command is that of another prefix.
    pub(crate) fn moved_to(&mut self, prefix: &Path) {
        self.program = prefix.join("bin/microagent");
    }

    /// Where it lives.
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// A line for the command.
    pub(crate) fn line(&self, words: &[&str]) -> Program {
        let program = match &self.namespace {
            None => self.world.microagent_at(&self.program, &self.home),
            Some(namespace) => on(
                namespace,
                self.world
                    .microagent_at(Path::new(ip_program()), &self.home),
            )
            .arg(&self.program),
        };
        program.args(words)
    }

    /// A line that must succeed.
    pub(crate) fn does(&self, words: &[&str]) -> Result<Finished> {
        self.ends_with(words, 0)
    }

    /// A line that must end so.
    pub(crate) fn ends_with(&self, words: &[&str], code: i32) -> Result<Finished> {
        self.line(words)
            .run()?
            .expect_code(code)
            .with_context(|| format!("microagent {}{}", words.join(" "), self.last_words()))
    }

    /// A line for the guest's shell, its stdout.
    pub(crate) fn shell(&self, line: &str) -> Result<String> {
        Ok(self
            .does(&["exec", NAME, "--", "sh", "-c", line])?
            .stdout_text())
    }

    /// The workspace as `status` tells it.
    pub(crate) fn status(&self) -> Result<Value> {
        self.does(&["status", "--json", NAME])?.json()
    }

    /// Fails unless it is in this state for this reason.
    pub(crate) fn is(&self, state: &str, reason: &str) -> Result<Value> {
        let status = self.status()?;
        ensure!(
            status["state"] == state && status["reason"] == reason,
            "`{state}` ({reason}) was expected: {status:#}"
        );
        Ok(status)
    }

    /// A line that must be refused with an error of this kind; its message.
    pub(crate) fn refuses(&self, words: &[&str], kind: &str) -> Result<String> {
        let mut line = words.to_vec();
        line.insert(1, "--json");
        let finished = self.line(&line).run()?;
        ensure!(
            finished.code.is_some_and(|code| code != 0),
            "{words:?} was not refused: {}",
            finished.stdout_text()
        );
        let document = finished.json()?;
        let error = match &document["results"][0]["error"] {
            Value::Null => &document["error"],
            error => error,
        };
        ensure!(error["kind"] == kind, "{kind} was expected: {document:#}");
        Ok(error["message"].as_str().unwrap_or_default().to_owned())
    }

    /// The folder of its records.
    pub(crate) fn folder(&self) -> PathBuf {
        self.home.state_dir().join("workspaces").join(NAME)
    }

    /// Its root disk.
    pub(crate) fn disk(&self) -> PathBuf {
        self.folder().join("rootfs.ext4")
    }

    /// What the guest has written to its console so far, as text.
    pub(crate) fn console(&self) -> String {
        let bytes = std::fs::read(self.folder().join("serial.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The end of its console and of its monitor's log, for the reader of a failure.
    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.folder().join("monitor.log")).unwrap_or_default();
        let end = |text: &str| {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
        };
        format!(
            "\nconsole:\n{}\nmonitor:\n{}",
            end(&self.console()),
            end(&log)
        )
    }

    /// Waits until the console says something.
    pub(crate) fn console_says(&self, what: impl Fn(&str) -> bool) -> Result<String> {
        let began = Instant::now();
        loop {
            let console = self.console();
            if what(&console) {
                return Ok(console);
            }
            if began.elapsed() > self.world.limit(SEEN_LIMIT) {
                bail!("the console did not say what it should:\n{console}");
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Its processes of one program.
    pub(crate) fn processes(&self, program: &str) -> Result<Vec<ProcessSeen>> {
        let all = self.home.processes();
        let found: Vec<ProcessSeen> = all
            .iter()
            .filter(|process| {
                let name = process.words.split(' ').next().unwrap_or_default();
                let name = name.rsplit('/').next().unwrap_or_default();
                name.starts_with(program)
            })
            .cloned()
            .collect();
        ensure!(!found.is_empty(), "no `{program}` among {all:#?}");
        Ok(found)
    }

    /// The history is whole, and the workspace can be removed.
    pub(crate) fn ends_well(self) -> Result<()> {
        self.does(&["events", "--verify", NAME])?;
        self.does(&["delete", "--yes", NAME])?;
        let left = self.does(&["list", "-q"])?.stdout_text();
        ensure!(left.is_empty(), "still listed: {left}");
        crate::framework::check::nothing_left(self.world, &self.home)
    }
}
