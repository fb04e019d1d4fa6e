//! `status`: one workspace as it is now.

use microagent_os::clock;
use microagent_wire::exit_code;
use microagent_workspace::status::environment;
use microagent_workspace::{Interrupt, status};
use serde_json::json;

use crate::args::StatusArgs;
use crate::error::Failure;
use crate::printer::Printer;
use crate::render::escape::escaped;
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
    let environment = if args.show_env {
        environment(&context, &args.name).map_err(|error| Failure::of_library(&error))?
    } else {
        Vec::new()
    };
    printer.value(
        || {
            let mut page = workspace::text(&workspace, clock::now());
            for (name, value) in &environment {
                page.push_str(&escaped(&format!("env          {name}={value}")));
                page.push('\n');
            }
            page
        },
        || {
            let mut document = workspace::document(&workspace);
            if args.show_env {
                document["env"] = environment
                    .iter()
                    .map(|(name, value)| json!({ "name": name, "value": value }))
                    .collect();
            }
            document
        },
    )?;
    Ok(exit_code::DONE)
}
