//! `completions`: the script of a shell, from the same definition as the help.

use clap::builder::PossibleValuesParser;
use microagent_types::BackendName;
use microagent_wire::exit_code;
use serde_json::json;

use super::live_words;
use crate::args::{self, CompletionsArgs};
use crate::error::Failure;
use crate::printer::Printer;

/// Prints the script.
pub(crate) fn perform(args: &CompletionsArgs, printer: &Printer) -> Result<u8, Failure> {
    // The parser takes any word as a backend, since a refusal has to name those of the host.
    let mut definition = args::definition().mut_arg("backend", |backend| {
        backend.value_parser(PossibleValuesParser::new(
            BackendName::ALL.map(BackendName::as_str),
        ))
    });
    let name = definition.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut definition, name, &mut script);
    let script = String::from_utf8(script).expect("scripts are text");
    let script = format!("{script}{}", live_words::behind(args.shell, &definition));
    printer.value(
        || script.clone(),
        || json!({ "shell": args.shell.to_string(), "script": script }),
    )?;
    Ok(exit_code::DONE)
}
