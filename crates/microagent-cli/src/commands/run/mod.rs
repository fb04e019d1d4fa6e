//! `run`: one command in a fresh workspace.

mod copied;
mod detached;
mod report;
mod settings;

use microagent_workspace::Interrupt;

use crate::args::RunArgs;
use crate::commands::{dry_run, spec};
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
    if spec::is_stdin(&args.workspace) && args.session.interactive {
        let failure = usage(
            "`--file -` cannot be used with `--interactive`: both read stdin",
            "put the spec in a file, or leave out -i",
        );
        return Err(failure.into());
    }
    if args.detach {
        return detached::run(args, global, printer);
    }
    let (asked, words) = settings::ask(args)?;
    let interrupt = Interrupt::new();
    signals::watch(&interrupt)?;
    let context = global.context_with(asked.backend)?;
    if asked.dry_run {
        return dry_run::perform(&asked, &context, printer, &interrupt);
    }
    let plan = settings::resolve(asked, words, printer.format())?;
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
