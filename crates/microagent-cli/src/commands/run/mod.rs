//! `run`: one command in a fresh workspace.

mod copied;
mod detached;
mod report;
mod settings;

use microagent_workspace::Interrupt;

use crate::args::RunArgs;
use crate::error::{Failure, usage};
use crate::printer::{Format, Printer};
use crate::progress_bar::ProgressBars;
use crate::settings::GlobalSettings;
use crate::signals;

/// Runs the command and returns its code.
pub(crate) fn perform(
    args: RunArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    run(args, global, printer).map_err(Failure::in_session)
}

fn run(args: RunArgs, global: &GlobalSettings, printer: &Printer) -> Result<u8, Failure> {
    if args.detach {
        return detached::run(args, global, printer);
    }
    if args.idle {
        let failure = usage(
            "`--idle` runs no command, and run waits for one",
            "microagent run --detach --idle IMAGE, or microagent create NAME --image IMAGE --idle",
        );
        return Err(failure.into());
    }
    let plan = settings::resolve(args, printer.format())?;
    let context = global.context()?;
    let interrupt = Interrupt::new();
    signals::watch(&interrupt)?;
    for note in &plan.notes {
        printer.note(note);
    }
    let mut progress = ProgressBars::new(printer);
    let ended = plan.attachment.lend(&interrupt, |streams| {
        microagent_workspace::run(&context, &plan.settings, streams, &mut progress, &interrupt)
    });
    drop(progress);
    let (report, capture) = ended?;
    match printer.format() {
        Format::Text => {
            report::tell(&report, &plan, printer);
            copied::tell(&report, printer);
        }
        Format::Json => {
            let document = report::document(&report, &capture, &plan);
            printer.value(String::new, || document)?;
        }
    }
    Ok(copied::exit_code(&report))
}
