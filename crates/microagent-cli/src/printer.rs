//! The two streams: stdout is data, stderr is talk.
//!
//! Everything that a person or a script sees goes through here, so that the promises hold for every
//! command: one document with `--json`, silence with `--quiet`, colour only where it is wanted, a
//! closed pipe without a word. It decides nothing about commands. Output of a guest is passed on by
//! `commands/run`, byte for byte, and not through here.

use std::io::{self, Write};

use microagent_os::terminal::{self, StandardStream};
use microagent_types::env_vars::EnvVar;
use microagent_wire::fault::Fault;
use serde_json::Value;

use crate::error::{self, Failure};
use crate::render::escape::escaped;
use crate::render::json::{self, Layout};

/// What stdout carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Text for people.
    Text,
    /// One document.
    Json,
}

/// When colour is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal that wants it
    #[default]
    Auto,
    /// Even into a file
    Always,
    /// Not at all
    Never,
}

/// Whether notes and progress are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Talk {
    /// Notes and progress.
    Normal,
    /// Errors only.
    Quiet,
}

/// Whether a stream takes colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    /// Escape sequences.
    Ansi,
    /// None.
    Plain,
}

impl Paint {
    /// The rule of `cli.md` 1.9: the flag wins over the environment, the environment over the stream.
    pub(crate) fn choose(choice: ColorChoice, stream_is_terminal: bool, colours: Colours) -> Self {
        match (choice, colours) {
            (ColorChoice::Always, _) => Self::Ansi,
            (ColorChoice::Auto, Colours::Welcome) if stream_is_terminal => Self::Ansi,
            (ColorChoice::Auto | ColorChoice::Never, _) => Self::Plain,
        }
    }

    /// Bold red.
    pub(crate) fn error(self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    /// Cyan.
    pub(crate) fn hint(self, text: &str) -> String {
        self.wrap("36", text)
    }

    /// Faint.
    pub(crate) fn dimmed(self, text: &str) -> String {
        self.wrap("2", text)
    }

    /// Green, for what works.
    pub(crate) fn good(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// Yellow, for what works in part.
    pub(crate) fn warning(self, text: &str) -> String {
        self.wrap("33", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        match self {
            Self::Ansi => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}

/// What the environment says about colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colours {
    /// Nothing against it.
    Welcome,
    /// `NO_COLOR` is set, or `TERM` is `dumb`.
    Refused,
}

impl Colours {
    /// Reads `NO_COLOR` and `TERM`.
    pub(crate) fn of_environment() -> Self {
        let refused = EnvVar::NoColor.read().is_some()
            || EnvVar::Term.read().is_some_and(|term| term == "dumb");
        if refused {
            Self::Refused
        } else {
            Self::Welcome
        }
    }
}

/// Writes data to stdout and talk to stderr.
#[derive(Debug)]
pub(crate) struct Printer {
    format: Format,
    talk: Talk,
    stdout_paint: Paint,
    stderr_paint: Paint,
    log_lines: bool,
}

impl Printer {
    /// A printer for this process's streams. Where log lines were asked for, no progress is drawn
    /// between them.
    pub(crate) fn new(format: Format, talk: Talk, color: ColorChoice, log_lines: bool) -> Self {
        let colours = Colours::of_environment();
        let paint = |stream| Paint::choose(color, terminal::is_terminal(stream), colours);
        Self {
            format,
            talk,
            stdout_paint: paint(StandardStream::Stdout),
            stderr_paint: paint(StandardStream::Stderr),
            log_lines,
        }
    }

    /// Text or a document.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Whether `--quiet` was given: lists then print names only.
    pub(crate) fn is_quiet(&self) -> bool {
        self.talk == Talk::Quiet
    }

    /// Whether stdout takes colour.
    pub(crate) fn stdout_paint(&self) -> Paint {
        self.stdout_paint
    }

    /// Whether stderr takes colour.
    pub(crate) fn stderr_paint(&self) -> Paint {
        self.stderr_paint
    }

    /// Whether progress may be drawn: somebody looks at stderr and did not ask for silence.
    pub(crate) fn draws_progress(&self) -> bool {
        self.talks() && !self.log_lines && terminal::is_terminal(StandardStream::Stderr)
    }

    /// The width that tables are cut to; `None` where stdout is no terminal.
    #[expect(
        clippy::unused_self,
        reason = "the question is about the stream that the printer writes to"
    )]
    pub(crate) fn table_width(&self) -> Option<u16> {
        if !terminal::is_terminal(StandardStream::Stdout) {
            return None;
        }
        let told = EnvVar::Columns.read().and_then(|text| text.parse().ok());
        told.or_else(|| terminal::size(StandardStream::Stdout).map(|size| size.columns))
    }

    /// Data: the text and nothing else.
    pub(crate) fn data(&self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Data, byte for byte.
    #[expect(
        clippy::unused_self,
        reason = "a printer in hand is the right to write to stdout"
    )]
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(bytes)
            .and_then(|()| stdout.flush())
            .map_err(|error| error::stdout_failure(&error))
    }

    /// The command's one value, in the form that was asked for.
    pub(crate) fn value(
        &self,
        text: impl FnOnce() -> String,
        document: impl FnOnce() -> Value,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Text => self.data(&text()),
            Format::Json => self.document(&document()),
        }
    }

    fn document(&self, value: &Value) -> Result<(), Failure> {
        let layout = if terminal::is_terminal(StandardStream::Stdout) {
            Layout::Indented
        } else {
            Layout::OneLine
        };
        self.data(&json::document(value, layout))
    }

    /// A `note:` line; silent with `--quiet` and `--json`.
    pub(crate) fn note(&self, text: &str) {
        if self.talks() {
            talk(&format!("note: {}\n", escaped(text)));
        }
    }

    /// Why the command failed, in the form that was asked for. A failure to say so changes nothing.
    pub(crate) fn failure(&self, fault: &Fault) {
        match self.format {
            Format::Text => talk(&error::text(fault, self.stderr_paint)),
            Format::Json => {
                // Nobody reads: the exit code still tells.
                let _ = self.document(&json::error_document(fault));
            }
        }
    }

    fn talks(&self) -> bool {
        self.format == Format::Text && self.talk == Talk::Normal
    }
}

/// Writes to stderr. When nobody can read it, there is nobody to tell.
pub(crate) fn talk(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}

#[cfg(test)]
mod tests {
    use super::{ColorChoice, Colours, Paint};

    #[test]
    fn the_flag_wins_over_the_environment_and_the_environment_over_the_stream() {
        let rows = [
            (ColorChoice::Auto, true, Colours::Welcome, Paint::Ansi),
            (ColorChoice::Auto, false, Colours::Welcome, Paint::Plain),
            (ColorChoice::Auto, true, Colours::Refused, Paint::Plain),
            (ColorChoice::Always, false, Colours::Refused, Paint::Ansi),
            (ColorChoice::Never, true, Colours::Welcome, Paint::Plain),
        ];
        for (choice, terminal, colours, expected) in rows {
            assert_eq!(Paint::choose(choice, terminal, colours), expected);
        }
    }
}
