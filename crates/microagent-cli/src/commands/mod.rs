//! One file a verb: its settings, resolved from arguments, environment and files, and the one library
//! function that it calls.

mod complete;
mod completions;
mod doctor;
mod host;
mod man;
mod profiles;
mod run;
mod supervisor;
mod version;

use crate::args::Command;
use crate::error::Failure;
use crate::printer::Printer;
use crate::settings::GlobalSettings;

/// Does what was asked and returns what the process should return.
pub(crate) fn perform(
    command: Command,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    match command {
        Command::Run(args) => run::perform(*args, global, printer),
        Command::Doctor(_) => doctor::perform(global, printer),
        Command::Host(_) => host::perform(global, printer),
        Command::Profiles(_) => profiles::perform(printer),
        Command::Supervisor(_) => supervisor::perform(global, printer),
        Command::Version(_) => version::perform(printer),
        Command::Completions(args) => completions::perform(&args, printer),
        Command::Man(args) => man::perform(&args, printer),
        Command::Complete(args) => complete::perform(&args, printer),
    }
}
