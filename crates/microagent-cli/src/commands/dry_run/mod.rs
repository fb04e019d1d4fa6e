//! `--dry-run` of `create` and `run`: what would be made, as a spec that can be fed back.

mod document;

use microagent_wire::exit_code;
use microagent_workspace::dry_run::{DryRunSettings, dry_run};
use microagent_workspace::{Context, Interrupt};
use serde_json::json;

use super::new_workspace::Asked;
use crate::error::Failure;
use crate::printer::Printer;

/// Checks what can be checked and prints the merged spec.
pub(super) fn perform(
    asked: &Asked,
    context: &Context,
    printer: &Printer,
    interrupt: &Interrupt,
) -> Result<u8, Failure> {
    for note in &asked.new.notes {
        printer.note(note);
    }
    let settings = DryRunSettings {
        name: asked.name.as_ref(),
        name_taken: asked.new.name_taken,
        image: &asked.image,
        workload: (!asked.idle).then_some(&asked.new.workload),
        files: &asked.new.files,
    };
    let report =
        dry_run(context, &settings, interrupt).map_err(|error| Failure::of_library(&error))?;
    let document = document::of(asked, report.backend)?;
    if let Some(accelerator) = &report.accelerator {
        printer.note(&format!(
            "it would run on {} ({accelerator})",
            report.backend
        ));
    }
    printer.value(
        || document::yaml(&document),
        || {
            json!({
                "spec": document,
                "backend": report.backend.as_str(),
                "accelerator": report.accelerator,
                "argv": report.argv,
            })
        },
    )?;
    Ok(exit_code::DONE)
}
