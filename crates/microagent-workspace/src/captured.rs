//! `run` for a caller that wants the command's output as a value: the shortest way into the library.
//!
//! What a guest writes has no natural end, so what is kept of each stream is bounded here as well as in
//! the guest, whose word is not taken for it; what was beyond is counted in the report and named.

use crate::context::Context;
use crate::error::WorkspaceError;
use crate::guest_session::SessionSink;
use crate::interrupt::Interrupt;
use crate::progress::Silent;
use crate::run::{RunReport, RunSettings, RunStreams, run};
use std::io;

/// Kept of each stream where the settings name no limit, in bytes.
pub const CAPTURED_BYTES_MAX: u64 = 16 << 20;

/// A command's output and how it ended.
#[derive(Debug)]
pub struct CapturedRun {
    /// How it ended, and where it ran.
    pub report: RunReport,
    /// The beginning of its stdout; all of it when `report.outcome.stdout_bytes` is its length.
    pub stdout: Vec<u8>,
    /// The beginning of its stderr, likewise.
    pub stderr: Vec<u8>,
}

impl CapturedRun {
    /// Its stdout as text; what is not UTF-8 is replaced.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Its stderr as text; what is not UTF-8 is replaced.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// Runs one command in a fresh workspace, with nothing on its stdin, and keeps what it writes: of each
/// stream the settings' `output_limit_bytes`, or [`CAPTURED_BYTES_MAX`]. A command that fails is no error;
/// its code is in the report.
///
/// # Errors
/// When there is no result of the command, as for [`run`].
pub fn run_captured(
    context: &Context,
    settings: &RunSettings,
) -> Result<CapturedRun, WorkspaceError> {
    let limit = settings.output_limit_bytes.unwrap_or(CAPTURED_BYTES_MAX);
    let settings = RunSettings {
        output_limit_bytes: Some(limit),
        ..settings.clone()
    };
    let mut kept = Kept {
        stdout: Vec::new(),
        stderr: Vec::new(),
        bytes_max: usize::try_from(limit).unwrap_or(usize::MAX),
    };
    let streams = RunStreams {
        stdin: None,
        sink: &mut kept,
    };
    let report = run(context, &settings, streams, &mut Silent, &Interrupt::new())?;
    Ok(CapturedRun {
        report,
        stdout: kept.stdout,
        stderr: kept.stderr,
    })
}

struct Kept {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    bytes_max: usize,
}

impl SessionSink for Kept {
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        keep(&mut self.stdout, bytes, self.bytes_max);
        Ok(())
    }

    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
        keep(&mut self.stderr, bytes, self.bytes_max);
        Ok(())
    }
}

fn keep(kept: &mut Vec<u8>, bytes: &[u8], bytes_max: usize) {
    let room = bytes_max.saturating_sub(kept.len());
    kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

#[cfg(test)]
mod tests {
    use super::{Kept, SessionSink as _};

    #[test]
    fn what_a_guest_writes_beyond_the_limit_is_not_kept() {
        let mut kept = Kept {
            stdout: Vec::new(),
            stderr: Vec::new(),
            bytes_max: 5,
        };
        for piece in [b"abc".as_slice(), b"de", b"", b"fgh"] {
            kept.stdout(piece).unwrap();
        }
        kept.stderr(b"123456").unwrap();
        assert_eq!(kept.stdout, b"abcde");
        assert_eq!(kept.stderr, b"12345");
    }
}
