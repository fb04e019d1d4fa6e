//! `events`: the history of a workspace, its verification, and what is still to come.

use crate::context::Context;
use crate::error::WorkspaceError;
use crate::existing;
use crate::interrupt::Interrupt;
use crate::monitor_client::{MonitorTalk, is_timeout};
pub use microagent_state::event_chain::{ChainFault, ChainReport};
use microagent_state::event_log::{EventLog, ReadFrom};
use microagent_types::WorkspaceName;
use microagent_types::env_vars::EnvVar;
use microagent_wire::monitor::request::{MonitorOp, MonitorRequest};
use microagent_wire::monitor::response::EventLine;
use std::path::PathBuf;
use std::time::Duration;

/// Until a monitor takes a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// How often a wait for the next event looks whether it is to end.
const INTERRUPT_CHECK: Duration = Duration::from_millis(200);

/// The stored lines of a history, oldest first, byte for byte, at most the last `tail`.
///
/// # Errors
/// When there is no such workspace or its history can't be read.
pub fn events(
    context: &Context,
    name: &WorkspaceName,
    tail: Option<usize>,
) -> Result<Vec<String>, WorkspaceError> {
    let existing = existing::find(context, name)?;
    let log = EventLog::new(&existing.paths, existing.record.id);
    let mut lines = Vec::new();
    for line in log.lines(ReadFrom::Start)? {
        lines.push(String::from_utf8_lossy(&line?).into_owned());
        if tail.is_some_and(|tail| lines.len() > tail) {
            lines.remove(0);
        }
    }
    Ok(lines)
}

/// Checks numbers and hashes of the whole history.
///
/// # Errors
/// When there is no such workspace or its history can't be read. Damage is no error: the report has it.
pub fn verify(context: &Context, name: &WorkspaceName) -> Result<ChainReport, WorkspaceError> {
    let existing = existing::find(context, name)?;
    Ok(EventLog::new(&existing.paths, existing.record.id).verify()?)
}

/// Hands out lines behind `after` as the monitor writes them, until the VM has ended, the reader
/// returns false, or a signal comes.
///
/// # Errors
/// When there is no such workspace. A workspace without a monitor has nothing to come.
pub fn follow(
    context: &Context,
    name: &WorkspaceName,
    after: u64,
    interrupt: &Interrupt,
    reader: &mut dyn FnMut(&str) -> bool,
) -> Result<(), WorkspaceError> {
    let existing = existing::find(context, name)?;
    let runtime_folder = EnvVar::XdgRuntimeDir.read().map(PathBuf::from);
    let socket = existing
        .paths
        .ensure_socket_folder(runtime_folder.as_deref())?
        .monitor_socket();
    let request = MonitorRequest::new(MonitorOp::Events { after });
    let Ok(mut talk) = MonitorTalk::ask(&socket, &request, CONNECT_LIMIT) else {
        return Ok(());
    };
    loop {
        if let Some(signal) = interrupt.requested() {
            return Err(WorkspaceError::Interrupted { signal });
        }
        match talk.line(Some(INTERRUPT_CHECK)) {
            Ok(Some(line)) => {
                let Ok(line) = serde_json::from_slice::<EventLine>(&line) else {
                    continue;
                };
                if !reader(&line.event) {
                    return Ok(());
                }
            }
            Err(error) if is_timeout(&error) => {}
            // The monitor closes when its VM has ended.
            Ok(None) | Err(_) => return Ok(()),
        }
    }
}
