//! `version`: which microagent this is.

use microagent_wire::{exit_code, generation};
use serde_json::{Value, json};

use crate::error::Failure;
use crate::printer::Printer;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Prints the version.
pub(crate) fn perform(printer: &Printer) -> Result<u8, Failure> {
    printer.value(|| format!("microagent {VERSION}\n"), document)?;
    Ok(exit_code::DONE)
}

fn document() -> Value {
    json!({
        "version": VERSION,
        // A packager says which commit it was; a build from a checkout does not claim one.
        "commit": option_env!("MICROAGENT_COMMIT"),
        "commitDate": option_env!("MICROAGENT_COMMIT_DATE"),
        "target": env!("MICROAGENT_TARGET"),
        "guestGeneration": generation::GENERATION,
        // No kernel is built into this release; it ships them beside the program.
        "defaultKernels": [],
    })
}
