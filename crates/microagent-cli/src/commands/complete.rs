//! `__complete`: words for completion scripts, one a line. It asks no process, so it answers at once.

use microagent_types::backend::HostOs;
use microagent_wire::exit_code;
use microagent_workspace::{Profile, backend_choice};

use crate::args::{CompleteArgs, CompleteKind};
use crate::error::Failure;
use crate::printer::Printer;
use crate::render::table::lines;

/// Prints the words of one kind.
pub(crate) fn perform(args: &CompleteArgs, printer: &Printer) -> Result<u8, Failure> {
    let words: Vec<&str> = match args.kind {
        CompleteKind::Backends => backend_choice::candidates_of(HostOs::current())
            .into_iter()
            .map(microagent_types::BackendName::as_str)
            .collect(),
        CompleteKind::Profiles => Profile::ALL.map(Profile::as_str).to_vec(),
    };
    printer.data(&lines(words))?;
    Ok(exit_code::DONE)
}
