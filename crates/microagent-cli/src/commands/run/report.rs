//! What came of a run, for people and as a document.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use microagent_os::terminal::{self, StandardStream};
use microagent_wire::exit_code;
use microagent_wire::fault::{Fault, FaultKind};
use microagent_workspace::workload::is_bare_shell;
use microagent_workspace::{CommandEnd, RunReport};
use serde_json::{Map, Value, json};

use super::settings::{RunPlan, Stdin};
use super::streams::Capture;
use crate::printer::Printer;
use crate::render::json;

/// Says what the command's own output does not: why it did not start, that it ran out of time, that
/// the workspace is still there. Notes only where somebody looks; stderr is the guest's otherwise.
pub(super) fn tell(report: &RunReport, plan: &RunPlan, printer: &Printer) {
    if let CommandEnd::NotStarted { .. } = report.outcome.end
        && let Some(fault) = fault(report, plan)
    {
        printer.failure(&fault);
    }
    if !terminal::is_terminal(StandardStream::Stderr) {
        return;
    }
    if report.outcome.end == CommandEnd::TimedOut
        && let Some(fault) = fault(report, plan)
    {
        printer.note(&fault.message);
    }
    if report.outcome.incomplete {
        printer.note(
            "a process that the command left behind held its output open; the rest of it is lost",
        );
    }
    if report.kept && plan.settings.keep == microagent_workspace::Keep::Halted {
        printer.note(&format!("`{}` is kept", report.workspace));
    }
    let had_no_input = plan.stdin == Stdin::EndOfFile && !plan.command_given;
    if had_no_input
        && is_bare_shell(&report.argv)
        && report.outcome.end.exit_code() == exit_code::DONE
    {
        printer.note(
            "the image's command is a shell and had no input; for a session: microagent run -it IMAGE",
        );
    }
}

/// The one document of a run.
pub(super) fn document(report: &RunReport, capture: &Capture, plan: &RunPlan) -> Value {
    let timings = &report.timings;
    let mut document = json!({
        "workspace": report.workspace.as_str(),
        "kept": report.kept,
        "image": {
            "reference": report.image_reference,
            "digest": report.image_digest.to_string(),
        },
        "backend": report.backend.as_str(),
        "accelerator": report.accelerator,
        "copiedOut": [],
        "timings": {
            "resolveMs": timings.resolve_ms,
            "downloadMs": timings.download_ms,
            "buildMs": timings.build_ms,
            "cloneMs": timings.clone_ms,
            "bootMs": timings.boot_ms,
            "totalMs": timings.total_ms,
        },
    });
    let fields = document.as_object_mut().expect("an object was made above");
    outcome(report, plan, fields);
    let outcome = &report.outcome;
    stream("stdout", &capture.stdout, outcome.stdout_bytes, fields);
    stream("stderr", &capture.stderr, outcome.stderr_bytes, fields);
    document
}

fn outcome(report: &RunReport, plan: &RunPlan, fields: &mut Map<String, Value>) {
    let outcome = &report.outcome;
    let (word, code, signal) = match &outcome.end {
        CommandEnd::Exited { code } => ("exited", Some(*code), None),
        CommandEnd::Signaled { signal } => ("signaled", None, Some(signal.to_string())),
        CommandEnd::TimedOut => ("timed_out", None, None),
        CommandEnd::NotStarted { .. } => ("not_started", None, None),
    };
    let error = fault(report, plan).map(|fault| json::error(&fault));
    fields.insert("outcome".into(), word.into());
    fields.insert("exitCode".into(), code.into());
    fields.insert("signal".into(), signal.into());
    fields.insert("startedAt".into(), outcome.started_at.to_string().into());
    fields.insert("endedAt".into(), outcome.ended_at.to_string().into());
    fields.insert("durationMs".into(), outcome.duration_ms().into());
    fields.insert("error".into(), error.into());
}

/// Text where the bytes are text, else base64, and how much there was in all.
fn stream(name: &str, kept: &[u8], total_bytes: u64, fields: &mut Map<String, Value>) {
    let (text, encoding) = match std::str::from_utf8(kept) {
        Ok(text) => (text.to_owned(), "utf8"),
        Err(_) => (BASE64.encode(kept), "base64"),
    };
    fields.insert(name.to_owned(), text.into());
    fields.insert(format!("{name}Encoding"), encoding.into());
    fields.insert(format!("{name}Bytes"), total_bytes.into());
    let truncated = total_bytes > kept.len() as u64;
    fields.insert(format!("{name}Truncated"), truncated.into());
}

/// Why the command has no code of its own; none when it has.
fn fault(report: &RunReport, plan: &RunPlan) -> Option<Fault> {
    match &report.outcome.end {
        CommandEnd::Exited { .. } | CommandEnd::Signaled { .. } => None,
        CommandEnd::TimedOut => {
            let limit = plan.settings.timeout.unwrap_or_default();
            let limit = microagent_types::Span::from(limit);
            Some(
                Fault::new(
                    FaultKind::Timeout,
                    format!("the command did not end within {limit} and was ended"),
                )
                .with_hint("allow more time with --timeout DUR, or none with --timeout 0"),
            )
        }
        CommandEnd::NotStarted { message, .. } => Some(not_started(report, message)),
    }
}

fn not_started(report: &RunReport, message: &str) -> Fault {
    let word = report.argv.first().map_or("", String::as_str);
    let image = &report.image_reference;
    let not_found = report.outcome.end.exit_code() == exit_code::NOT_FOUND_IN_GUEST;
    let text = if not_found {
        format!("`{word}` was not found in `{image}`")
    } else {
        format!("`{word}` in `{image}` cannot be executed")
    };
    let hint = if word.starts_with('-') {
        format!("flags go before the image: microagent run {word} {image}")
    } else if not_found {
        format!("look with: microagent run {image} ls /usr/bin")
    } else {
        format!("look with: microagent run {image} ls -l {word}")
    };
    Fault::new(FaultKind::Guest, text)
        .with_hint(hint)
        .with_cause(message)
}

#[cfg(test)]
mod tests;
