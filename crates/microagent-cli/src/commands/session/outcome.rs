//! How a guest's command ended: the fields of a document, and the fault where there is no code of its
//! own.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use microagent_types::Span;
use microagent_wire::fault::{Fault, FaultKind};
use microagent_workspace::{CommandEnd, CommandOutcome};
use serde_json::{Map, Value};

use super::streams::Capture;
use crate::render::json;

/// The fields that `cli.md` 2.6 calls Outcome.
pub(in crate::commands) fn fields(
    outcome: &CommandOutcome,
    capture: &Capture,
    fault: Option<&Fault>,
    fields: &mut Map<String, Value>,
) {
    let (word, code, signal) = match &outcome.end {
        CommandEnd::Exited { code } => ("exited", Some(*code), None),
        CommandEnd::Signaled { signal } => ("signaled", None, Some(signal.to_string())),
        CommandEnd::TimedOut => ("timed_out", None, None),
        CommandEnd::NotStarted { .. } => ("not_started", None, None),
    };
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    set("outcome", word.into());
    set("exitCode", code.into());
    set("signal", signal.into());
    set("startedAt", outcome.started_at.to_string().into());
    set("endedAt", outcome.ended_at.to_string().into());
    set("durationMs", outcome.duration_ms().into());
    set("error", fault.map(json::error).into());
    stream("stdout", &capture.stdout, outcome.stdout_bytes, fields);
    stream("stderr", &capture.stderr, outcome.stderr_bytes, fields);
}

/// Text where the bytes are text, else base64, and how much there was in all.
fn stream(name: &str, kept: &[u8], total_bytes: u64, fields: &mut Map<String, Value>) {
    let (text, encoding) = text(kept);
    fields.insert(name.to_owned(), text.into());
    fields.insert(format!("{name}Encoding"), encoding.into());
    fields.insert(format!("{name}Bytes"), total_bytes.into());
    let truncated = total_bytes > kept.len() as u64;
    fields.insert(format!("{name}Truncated"), truncated.into());
}

/// The bytes as text and how: as they are, or in base64.
pub(in crate::commands) fn text(bytes: &[u8]) -> (String, &'static str) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), "utf8"),
        Err(_) => (BASE64.encode(bytes), "base64"),
    }
}

/// The fault of a command that its limit ended.
pub(in crate::commands) fn timed_out(limit: Option<Duration>) -> Fault {
    let limit = Span::from(limit.unwrap_or_default());
    Fault::new(
        FaultKind::Timeout,
        format!("the command did not end within {limit} and was ended"),
    )
    .with_hint("allow more time with --timeout DUR, or none with --timeout 0")
}
