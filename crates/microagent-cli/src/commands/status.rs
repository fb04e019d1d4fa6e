//! `status`: one workspace as it is now.

use microagent_os::clock;
use microagent_wire::exit_code;
use microagent_workspace::{Interrupt, status};

use crate::args::StatusArgs;
use crate::error::Failure;
use crate::printer::Printer;
use crate::render::workspace;
use crate::settings::GlobalSettings;

/// Prints it, whatever its state.
pub(crate) fn perform(
    args: &StatusArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    let context = global.context_of_existing()?;
    let workspace = status(&context, &args.name, &Interrupt::new())
        .map_err(|error| Failure::of_library(&error))?;
    printer.value(
        || workspace::text(&workspace, clock::now()),
        || workspace::document(&workspace),
    )?;
    Ok(exit_code::DONE)
}
