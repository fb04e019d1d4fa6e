//! `logs`: what the guest's console has shown, from the files that a monitor writes.
//!
//! No monitor is asked, so the log of a workspace that hangs, has failed or rests is read like any
//! other. The bytes are the guest's: whoever shows them on a terminal escapes them.

use crate::context::Context;
use crate::error::WorkspaceError;
use crate::existing::{self, Existing};
use crate::interrupt::Interrupt;
use microagent_machine::facts::Lease;
use microagent_os::{FsError, clock};
use microagent_state::console_log::{ConsoleLine, ConsoleReader};
use microagent_state::lease;
use microagent_state::paths::Rotation;
use microagent_types::{Timestamp, WorkspaceName};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

/// Between two looks at whether the log has grown. Nobody's readiness waits for it.
const FOLLOW_PAUSE: Duration = Duration::from_millis(100);

/// One line of the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When its first byte came; none where that is not known.
    pub time: Option<Timestamp>,
    /// In which boot, counted from 1.
    pub boot: u32,
    /// As captured, its line end included when it has one.
    pub bytes: Vec<u8>,
}

impl LogLine {
    fn of(line: ConsoleLine<'_>) -> Self {
        Self {
            time: line.time,
            boot: line.boot,
            bytes: line.bytes.to_vec(),
        }
    }

    /// The bytes without their line end.
    pub fn text(&self) -> &[u8] {
        ConsoleLine {
            time: self.time,
            boot: self.boot,
            bytes: &self.bytes,
        }
        .text()
    }
}

/// Which boot is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootChoice {
    /// The one with this number.
    Number(u32),
    /// The last one that left anything.
    Last,
}

/// Which lines are wanted; all of them by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogFilter {
    /// The last so many of those that the rest of the filter leaves.
    pub tail: Option<usize>,
    /// Those that came then or later.
    pub since: Option<Timestamp>,
    /// Those of one boot.
    pub boot: Option<BootChoice>,
}

impl LogFilter {
    fn takes(&self, line: ConsoleLine<'_>, boot: Option<u32>) -> bool {
        boot.is_none_or(|boot| line.boot == boot)
            && self
                .since
                .is_none_or(|since| line.time.is_none_or(|time| time >= since))
    }
}

/// Where the log is, and whether it is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogReport {
    /// The newer of its two files.
    pub path: PathBuf,
    /// Older output is gone: the log has a cap.
    pub truncated: bool,
}

/// Hands out the lines that are there, oldest first, until `take` returns false.
///
/// # Errors
/// When there is no such workspace or its log can't be read.
pub fn logs(
    context: &Context,
    name: &WorkspaceName,
    filter: &LogFilter,
    take: &mut dyn FnMut(&LogLine) -> bool,
) -> Result<LogReport, WorkspaceError> {
    let existing = existing::find(context, name)?;
    let mut reader = ConsoleReader::new(&existing.paths);
    existing_lines(&existing, &mut reader, filter, LastLine::Whole, take)?;
    Ok(report(&existing, &reader))
}

/// As [`logs`], and then the lines that come, until no monitor is left to write any, `take` returns
/// false, or a signal comes.
///
/// # Errors
/// When there is no such workspace, its log can't be read, or a signal came.
pub fn follow(
    context: &Context,
    name: &WorkspaceName,
    filter: &LogFilter,
    interrupt: &Interrupt,
    take: &mut dyn FnMut(&LogLine) -> bool,
) -> Result<LogReport, WorkspaceError> {
    let existing = existing::find(context, name)?;
    let mut reader = ConsoleReader::new(&existing.paths);
    let mut goes_on = existing_lines(&existing, &mut reader, filter, LastLine::Open, take)?;
    let report = report(&existing, &reader);
    let boot = match filter.boot {
        Some(BootChoice::Number(number)) => Some(number),
        Some(BootChoice::Last) | None => None,
    };
    while goes_on {
        // Before reading: what a monitor writes last comes before it lets its lease go.
        let lease = lease::observe(&existing.paths).unwrap_or(Lease::Free);
        let mut hand_out = |line: ConsoleLine<'_>| {
            goes_on = !filter.takes(line, boot) || take(&LogLine::of(line));
            goes_on
        };
        reader.read(&mut hand_out).map_err(failed)?;
        if lease == Lease::Free {
            reader.finish(&mut hand_out);
            break;
        }
        if let Some(signal) = interrupt.requested() {
            return Err(WorkspaceError::Interrupted { signal });
        }
        clock::pause(FOLLOW_PAUSE);
    }
    Ok(report)
}

/// Whether a line that has no end yet is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastLine {
    Whole,
    Open,
}

/// Hands out what is there. False when `take` has had enough.
fn existing_lines(
    existing: &Existing,
    reader: &mut ConsoleReader<'_>,
    filter: &LogFilter,
    last: LastLine,
    take: &mut dyn FnMut(&LogLine) -> bool,
) -> Result<bool, WorkspaceError> {
    let boot = match filter.boot {
        None => None,
        Some(BootChoice::Number(number)) => Some(number),
        Some(BootChoice::Last) => last_boot(existing)?,
    };
    let mut kept = VecDeque::new();
    let mut goes_on = true;
    let mut hand_out = |line: ConsoleLine<'_>| {
        if !filter.takes(line, boot) {
            return true;
        }
        match filter.tail {
            None => goes_on = take(&LogLine::of(line)),
            Some(tail) => {
                kept.push_back(LogLine::of(line));
                if kept.len() > tail {
                    kept.pop_front();
                }
            }
        }
        goes_on
    };
    reader.read(&mut hand_out).map_err(failed)?;
    if last == LastLine::Whole {
        reader.finish(&mut hand_out);
    }
    Ok(goes_on && kept.iter().all(&mut *take))
}

fn last_boot(existing: &Existing) -> Result<Option<u32>, WorkspaceError> {
    let mut last = None;
    let mut note = |line: ConsoleLine<'_>| {
        last = Some(line.boot);
        true
    };
    let mut reader = ConsoleReader::new(&existing.paths);
    reader.read(&mut note).map_err(failed)?;
    reader.finish(&mut note);
    Ok(last)
}

fn report(existing: &Existing, reader: &ConsoleReader<'_>) -> LogReport {
    LogReport {
        path: existing.paths.serial_log(Rotation::Current),
        truncated: reader.was_cut(),
    }
}

fn failed(error: FsError) -> WorkspaceError {
    WorkspaceError::Files(error)
}
