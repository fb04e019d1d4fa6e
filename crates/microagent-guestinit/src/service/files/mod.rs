//! The file services: `read`, `write`, `list`, `stat`.
//!
//! The host names a path and guest init resolves it as any program of the guest would, links included:
//! what the guest's tree looks like is the guest's business. Below that path nothing is followed. The
//! descriptors are counted, since a disk on which one is open can't be unmounted.

pub(crate) mod data;
mod list;
mod read;
mod stat;
pub(crate) mod write;

pub(crate) use list::list;
pub(crate) use read::{ReadRequest, read};
pub(crate) use stat::stat;
pub(crate) use write::{WriteRequest, write};

use super::Refusal;
use crate::connection::Connection;
use crate::service::LINGER_LIMIT;
use microagent_tree::{Counts, Notes};
use microagent_types::GuestPath;
use microagent_wire::fault::FaultKind;
use microagent_wire::frame::Frame;
use microagent_wire::guest::service::{SessionDone, SessionOutput, Skipped};
use std::io;

/// Says that the service is done.
fn finish(mut connection: Connection, done: SessionDone, stops: &dyn Fn() -> bool) {
    connection.queue_frame(&Frame::control(&SessionOutput::Done(done)));
    if connection.drain(stops) {
        connection.linger(LINGER_LIMIT);
    }
}

/// Says that the service failed after it was accepted; what the host still sends is taken meanwhile.
fn fail(mut connection: Connection, refusal: Refusal, stops: &dyn Fn() -> bool) {
    let failed = SessionOutput::Failed {
        kind: refusal.kind,
        message: refusal.message,
        errno: refusal.errno,
    };
    connection.queue_frame(&Frame::control(&failed));
    if connection.drain(stops) {
        connection.linger(LINGER_LIMIT);
    }
}

/// What the kernel says of a path that can't be used.
fn refusal(path: &GuestPath, error: &io::Error) -> Refusal {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => FaultKind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => FaultKind::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FaultKind::Resource,
        io::ErrorKind::NotADirectory => FaultKind::Usage,
        _ => FaultKind::Guest,
    };
    let message = match kind {
        FaultKind::NotFound => format!("there is no `{path}` in the guest"),
        FaultKind::Resource => format!("there is no room for `{path}` in the guest"),
        _ => format!("`{path}` can't be used in the guest: {error}"),
    };
    Refusal::new(kind, message).with_errno(error.raw_os_error())
}

fn done_of(counts: &Counts, skipped: Notes) -> SessionDone {
    let total = skipped.total;
    let skipped = named(skipped);
    SessionDone {
        entries: Some(counts.entries()),
        bytes: Some(counts.bytes),
        files: Some(counts.files),
        directories: Some(counts.directories),
        symlinks: Some(counts.symlinks),
        skipped_total: (total > skipped.len() as u64).then_some(total),
        skipped,
        ..SessionDone::default()
    }
}

fn named(notes: Notes) -> Vec<Skipped> {
    let named = |note: microagent_tree::Noted| Skipped {
        path: note.path,
        reason: note.reason,
    };
    notes.entries.into_iter().map(named).collect()
}
