//! One file a verb: its settings, resolved from arguments, environment and files, and the one library
//! function that it calls.

mod complete;
mod completions;
mod connect;
mod containment;
mod cp;
mod create;
mod delete;
mod doctor;
mod dry_run;
mod ending;
mod events;
mod exec;
mod host;
mod image;
mod kernel;
mod list;
mod live_words;
mod logs;
mod man;
mod network;
mod new_workspace;
mod profiles;
mod rootfs;
mod run;
mod session;
mod several;
mod spec;
mod start;
mod status;
mod supervisor;
mod top;
mod version;
mod wait;

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
        Command::Create(args) => create::perform(*args, global, printer),
        Command::Start(args) => start::perform(args, global, printer),
        Command::Halt(args) => ending::perform_halt(args, global, printer),
        Command::Stop(args) => ending::perform_stop(args, global, printer),
        Command::Kill(args) => ending::perform_kill(args, global, printer),
        Command::Pause(args) => containment::perform_pause(args, global, printer),
        Command::Resume(args) => containment::perform_resume(args, global, printer),
        Command::Quarantine(args) => containment::perform_quarantine(args, global, printer),
        Command::Delete(args) => delete::perform(args, global, printer),
        Command::Wait(args) => wait::perform(args, global, printer),
        Command::Exec(args) => exec::perform(*args, global, printer),
        Command::Connect(args) => connect::perform(args, global, printer),
        Command::Logs(args) => logs::perform(&args, global, printer),
        Command::Cp(args) => cp::perform(args, global, printer),
        Command::Status(args) => status::perform(&args, global, printer),
        Command::Network(args) => network::perform(&args, global, printer),
        Command::List(args) => list::perform_list(&args, global, printer),
        Command::Top(args) => top::perform(&args, global, printer),
        Command::Ps(args) => list::perform_ps(&args, global, printer),
        Command::Events(args) => events::perform(&args, global, printer),
        Command::Doctor(args) => doctor::perform(&args, global, printer),
        Command::Host(_) => host::perform(global, printer),
        Command::Image(args) => image::perform(args, global, printer),
        Command::Rootfs(args) => rootfs::perform(args, global, printer),
        Command::Kernel(args) => kernel::perform(args, global, printer),
        Command::Profiles(_) => profiles::perform(printer),
        Command::Supervisor(_) => supervisor::perform(global, printer),
        Command::Version(_) => version::perform(printer),
        Command::Completions(args) => completions::perform(&args, printer),
        Command::Man(args) => man::perform(&args, printer),
        Command::Complete(args) => complete::perform(&args, global, printer),
    }
}
