//! What came of a run, for people and as a document.

use microagent_os::terminal::{self, StandardStream};
use microagent_wire::exit_code;
use microagent_wire::fault::{Fault, FaultKind};
use microagent_workspace::workload::is_bare_shell;
use microagent_workspace::{CommandEnd, RunReport};
use serde_json::{Value, json};

use super::copied;
use super::settings::RunPlan;
use crate::commands::session::outcome;
use crate::commands::session::streams::{Capture, Stdin};
use crate::printer::Printer;

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
    let had_no_input = plan.attachment.stdin == Stdin::EndOfFile && !plan.command_given;
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
        "copiedOut": copied::document(report),
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
    outcome::fields(
        &report.outcome,
        capture,
        fault(report, plan).as_ref(),
        fields,
    );
    document
}

/// Why the command has no code of its own; none when it has.
fn fault(report: &RunReport, plan: &RunPlan) -> Option<Fault> {
    match &report.outcome.end {
        CommandEnd::Exited { .. } | CommandEnd::Signaled { .. } => None,
        CommandEnd::TimedOut => Some(outcome::timed_out(plan.attachment.timeout)),
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
