//! How a guest's command is attached to this process: which streams, which terminal, which limits.

use std::time::Duration;

use microagent_os::terminal::{self, StandardStream};
use microagent_types::env_vars::EnvVar;
use microagent_types::{ByteSize, Span};
use microagent_wire::fault::Fault;
use microagent_wire::guest::service::Tty;
use microagent_workspace::guest_session::SessionError;
use microagent_workspace::{Interrupt, RunStreams, WorkspaceError};

use super::streams::{self, Capture, Passage, Stdin, TerminalInput};
use crate::args::SessionArgs;
use crate::detach_keys::DetachKeys;
use crate::error::{Failure, usage};
use crate::printer::Format;

/// What a guest's terminal is when this one does not say.
const TERM_DEFAULT: &str = "xterm";
/// Rows and columns of a terminal that does not know its own.
const SIZE_DEFAULT: (u16, u16) = (24, 80);

/// Streams, terminal and limits, all decided.
#[derive(Debug)]
pub(in crate::commands) struct Attachment {
    /// The command's stdin.
    pub(in crate::commands) stdin: Stdin,
    /// A terminal in place of three pipes.
    pub(in crate::commands) tty: Option<Tty>,
    /// The limit for the command.
    pub(in crate::commands) timeout: Option<Duration>,
    format: Format,
    output_limit: ByteSize,
    detach_keys: Option<DetachKeys>,
    greeting: Option<String>,
}

impl Attachment {
    /// Resolves the flags.
    pub(in crate::commands) fn resolve(args: SessionArgs, format: Format) -> Result<Self, Fault> {
        let tty = if args.tty { Some(tty(format)?) } else { None };
        Ok(Self {
            stdin: if args.interactive {
                Stdin::Passed
            } else {
                Stdin::EndOfFile
            },
            detach_keys: (args.interactive && tty.is_some()).then_some(args.detach_keys),
            tty,
            timeout: limit(args.timeout),
            format,
            output_limit: args.output_limit,
            greeting: None,
        })
    }

    /// A session that is this terminal's, and says so when it is there.
    pub(in crate::commands) fn of_terminal(
        detach_keys: DetachKeys,
        greeting: Option<String>,
    ) -> Self {
        Self {
            stdin: Stdin::Passed,
            tty: Some(own_tty()),
            timeout: None,
            format: Format::Text,
            output_limit: ByteSize::from_bytes(0),
            detach_keys: Some(detach_keys),
            greeting,
        }
    }

    /// A session without input whose output is passed on, or kept for a document.
    pub(in crate::commands) fn without_input(
        format: Format,
        timeout: Option<Duration>,
        output_limit: ByteSize,
    ) -> Self {
        Self {
            stdin: Stdin::EndOfFile,
            tty: None,
            timeout,
            format,
            output_limit,
            detach_keys: None,
            greeting: None,
        }
    }

    /// Bytes of each stream that the guest should send; no limit where they are passed on.
    pub(in crate::commands) fn output_limit_bytes(&self) -> Option<u64> {
        (self.format == Format::Json).then(|| self.output_limit.bytes())
    }

    /// Lends this process's streams to `session`, takes them back, and hands out what was captured.
    /// What the library says of a session that the detach keys ended is not told.
    pub(in crate::commands) fn lend<T>(
        &self,
        interrupt: &Interrupt,
        session: impl FnOnce(RunStreams<'_>) -> Result<T, WorkspaceError>,
    ) -> Result<(T, Capture), Failure> {
        let input = self
            .detach_keys
            .clone()
            .map(|keys| TerminalInput::new(keys, self.greeting.as_deref(), interrupt));
        let mut capture = Capture::new(self.output_limit);
        let mut passage = Passage;
        let ended = session(RunStreams {
            stdin: streams::stdin(self.stdin, input.as_ref()),
            sink: match self.format {
                Format::Json => &mut capture,
                Format::Text => &mut passage,
            },
        });
        if let Some(input) = &input {
            input.restore();
        }
        match ended {
            Ok(value) => Ok((value, capture)),
            Err(WorkspaceError::Session(SessionError::Closed))
                if input.as_ref().is_some_and(TerminalInput::has_detached) =>
            {
                Err(Failure::Detached)
            }
            Err(error) => Err(Failure::of_library(&error)),
        }
    }
}

fn tty(format: Format) -> Result<Tty, Fault> {
    if format == Format::Json {
        return Err(usage(
            "--tty cannot be used with --json",
            "leave one of them out; -i alone passes stdin through",
        ));
    }
    if !terminal::is_terminal(StandardStream::Stdin) {
        return Err(usage(
            "--tty needs a terminal on stdin",
            "leave out -t; -i alone passes stdin through",
        ));
    }
    Ok(own_tty())
}

/// Size and kind of the terminal behind stdin.
fn own_tty() -> Tty {
    let size = terminal::size(StandardStream::Stdin);
    let (rows, cols) = size.map_or(SIZE_DEFAULT, |size| (size.rows, size.columns));
    Tty {
        rows,
        cols,
        term: EnvVar::Term
            .read()
            .unwrap_or_else(|| TERM_DEFAULT.to_owned()),
    }
}

/// Zero is no limit.
pub(in crate::commands) fn limit(span: Span) -> Option<Duration> {
    (span != Span::ZERO).then(|| span.duration())
}

#[cfg(test)]
mod tests {
    use super::Attachment;
    use crate::args::{Command, Parsed, parse};
    use crate::printer::Format;
    use std::ffi::OsString;
    use std::time::Duration;

    fn attachment(line: &[&str], format: Format) -> Attachment {
        let words: Vec<OsString> = ["microagent", "exec"]
            .iter()
            .chain(line)
            .map(OsString::from)
            .collect();
        let Parsed::Command(cli) = parse(&words).parsed else {
            panic!("{line:?}")
        };
        let Command::Exec(args) = cli.command else {
            panic!("{line:?}")
        };
        Attachment::resolve(args.session, format).unwrap()
    }

    #[test]
    fn output_is_limited_only_where_it_is_kept() {
        let line = ["--timeout", "5s", "web", "ls"];
        let json = attachment(&line, Format::Json);
        assert_eq!(json.output_limit_bytes(), Some(10 << 20));
        assert_eq!(json.timeout, Some(Duration::from_secs(5)));
        assert_eq!(attachment(&line, Format::Text).output_limit_bytes(), None);
        assert_eq!(attachment(&["web", "ls"], Format::Text).timeout, None);
    }
}
