//! `events`: the history of a workspace, its verification, and what is still to come.

use crate::context::Context;
use crate::error::WorkspaceError;
use crate::existing;
use crate::interrupt::Interrupt;
use microagent_machine::facts::Lease;
use microagent_os::{clock, fs};
pub use microagent_state::event_chain::{ChainFault, ChainReport};
use microagent_state::event_log::{EventLog, ReadFrom};
use microagent_state::event_record::Event;
use microagent_state::lease;
use microagent_types::{Timestamp, WorkspaceName};
use std::collections::VecDeque;
use std::time::Duration;

/// Between two looks at whether a history has grown. Nobody's readiness waits for it.
const FOLLOW_PAUSE: Duration = Duration::from_millis(200);

/// The stored lines of a history, oldest first, byte for byte: those since a moment, if one is given,
/// and of these at most the last `tail`. A line that is no event is never left out for its time.
///
/// ```no_run
/// # use microagent_workspace::{Context, Interrupt};
/// # let context = Context::new("/home/me/.microagent".parse()?)?;
/// # let interrupt = Interrupt::new();
/// use microagent_workspace::events::events;
///
/// for line in events(&context, &"research".parse()?, Some(10), None)? {
///     println!("{line}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When there is no such workspace or its history can't be read.
pub fn events(
    context: &Context,
    name: &WorkspaceName,
    tail: Option<usize>,
    since: Option<Timestamp>,
) -> Result<Vec<String>, WorkspaceError> {
    let existing = existing::find(context, name)?;
    let log = EventLog::new(&existing.paths, existing.record.id);
    let mut lines = VecDeque::new();
    for line in log.lines(ReadFrom::Start)? {
        let line = line?;
        let is_earlier = since
            .is_some_and(|since| Event::from_line(&line).is_ok_and(|event| event.time < since));
        if is_earlier {
            continue;
        }
        lines.push_back(String::from_utf8_lossy(&line).into_owned());
        if tail.is_some_and(|tail| lines.len() > tail) {
            lines.pop_front();
        }
    }
    Ok(lines.into())
}

/// Checks numbers and hashes of the whole history.
///
/// ```no_run
/// # use microagent_workspace::{Context, Interrupt};
/// # let context = Context::new("/home/me/.microagent".parse()?)?;
/// # let interrupt = Interrupt::new();
/// use microagent_workspace::events::verify;
///
/// let report = verify(&context, &"research".parse()?)?;
/// assert!(report.is_sound(), "{:?}", report.faults);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When there is no such workspace or its history can't be read. Damage is no error: the report has it.
pub fn verify(context: &Context, name: &WorkspaceName) -> Result<ChainReport, WorkspaceError> {
    let existing = existing::find(context, name)?;
    Ok(EventLog::new(&existing.paths, existing.record.id).verify()?)
}

/// Hands out lines behind `after` as they are written, until no monitor is left to write any, the
/// reader returns false, or a signal comes.
///
/// The history is a file, so whoever reads it needs no help of the monitor and loses nothing when that
/// dies.
///
/// ```no_run
/// # use microagent_workspace::{Context, Interrupt};
/// # let context = Context::new("/home/me/.microagent".parse()?)?;
/// # let interrupt = Interrupt::new();
/// use microagent_workspace::events::follow;
///
/// follow(&context, &"research".parse()?, 0, &interrupt, &mut |line| {
///     println!("{line}");
///     // Until the VM ends.
///     true
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When there is no such workspace, its history can't be read, or a signal came.
pub fn follow(
    context: &Context,
    name: &WorkspaceName,
    after: u64,
    interrupt: &Interrupt,
    reader: &mut dyn FnMut(&str) -> bool,
) -> Result<(), WorkspaceError> {
    let existing = existing::find(context, name)?;
    let log = EventLog::new(&existing.paths, existing.record.id);
    let (mut after, mut read_bytes) = (after, None);
    loop {
        // Before reading: what a monitor writes last comes before it lets its lease go.
        let lease = lease::observe(&existing.paths).unwrap_or(Lease::Free);
        let bytes = fs::metadata(&existing.paths.events())
            .ok()
            .map(|file| file.len());
        if bytes != read_bytes {
            for line in log.lines(ReadFrom::After(after))? {
                let line = line?;
                if let Ok(event) = Event::from_line(&line) {
                    after = event.seq;
                }
                if !reader(&String::from_utf8_lossy(&line)) {
                    return Ok(());
                }
            }
            read_bytes = bytes;
        }
        if lease == Lease::Free {
            return Ok(());
        }
        if let Some(signal) = interrupt.requested() {
            return Err(WorkspaceError::Interrupted { signal });
        }
        clock::pause(FOLLOW_PAUSE);
    }
}
