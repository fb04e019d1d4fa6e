//! `network`: what the network of one workspace is, declared and so.

use microagent_wire::exit_code;
use microagent_workspace::{Interrupt, status};

use crate::args::NetworkOfArgs;
use crate::error::Failure;
use crate::printer::Printer;
use crate::render::network;
use crate::settings::GlobalSettings;

/// Prints it, whatever the state of the workspace.
pub(crate) fn perform(
    args: &NetworkOfArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    let context = global.context_of_existing()?;
    let workspace = status(&context, &args.name, &Interrupt::new())
        .map_err(|error| Failure::of_library(&error))?;
    printer.value(
        || network::text(&workspace),
        || network::document(&workspace),
    )?;
    Ok(exit_code::DONE)
}
