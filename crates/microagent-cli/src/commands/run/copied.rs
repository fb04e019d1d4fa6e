//! What was copied out of a run's guest, for people, as a part of the document, and in the exit code.

use microagent_os::terminal::{self, StandardStream};
use microagent_types::ByteSize;
use microagent_wire::exit_code;
use microagent_wire::fault::{Fault, FaultKind};
use microagent_workspace::{CopiedOut, RunReport};
use serde_json::{Value, json};

use crate::printer::Printer;

/// Says what could not be copied, and on a terminal what was.
pub(super) fn tell(report: &RunReport, printer: &Printer) {
    let is_seen = terminal::is_terminal(StandardStream::Stderr);
    for copied in &report.copied_out {
        if let Some(fault) = fault(copied) {
            printer.failure(&fault);
        }
        let Ok(done) = &copied.result else { continue };
        if !is_seen {
            continue;
        }
        for entry in &done.skipped {
            printer.note(&format!("skipped: {}: {}", entry.path, entry.reason));
        }
        printer.note(&format!(
            "`{}` is copied to `{}`: {} files, {}",
            copied.copy.source,
            copied.copy.target.display(),
            done.files,
            ByteSize::from_bytes(done.bytes)
        ));
    }
}

/// The part of the document.
pub(super) fn document(report: &RunReport) -> Value {
    report.copied_out.iter().map(entry).collect()
}

fn entry(copied: &CopiedOut) -> Value {
    let done = copied.result.as_ref().ok();
    json!({
        "guest": copied.copy.source.as_str(),
        "host": copied.copy.target.display().to_string(),
        "files": done.map(|done| done.files),
        "bytes": done.map(|done| done.bytes),
        "skippedTotal": done.map(|done| done.skipped_total),
        "error": fault(copied),
    })
}

/// The command's own code; that of a failure when it was 0 and something could not be copied.
pub(super) fn exit_code(report: &RunReport) -> u8 {
    let of_command = report.outcome.end.exit_code();
    let failed = report.copied_out.iter().find_map(fault);
    match failed {
        Some(fault) if of_command == exit_code::DONE => exit_code::of_kind_in_session(fault.kind),
        _ => of_command,
    }
}

/// Why it failed; none when all of it was copied that may be.
fn fault(copied: &CopiedOut) -> Option<Fault> {
    let source = &copied.copy.source;
    let done = match &copied.result {
        Ok(done) => done,
        Err(error) => {
            let mut fault = error.fault();
            // What was typed made sense; what the guest has under the name does not.
            if fault.kind == FaultKind::Usage {
                fault.kind = FaultKind::Guest;
            }
            return Some(fault);
        }
    };
    let first = done.refused.first()?;
    let message = format!(
        "the guest's `{source}` holds a name that must not be made here: {}",
        first.path
    );
    Some(Fault::new(FaultKind::Guest, message).with_cause(first.reason.clone()))
}
