//! `run`: one command in a fresh workspace.

mod environment;
mod report;
mod settings;
mod streams;

use microagent_workspace::{Interrupt, RunStreams};

use crate::args::RunArgs;
use crate::error::Failure;
use crate::printer::{Format, Printer};
use crate::progress_bar::ProgressBars;
use crate::settings::GlobalSettings;
use crate::signals;
use streams::{Capture, Passage, TerminalInput};

/// Runs the command and returns its code.
pub(crate) fn perform(
    args: RunArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    run(args, global, printer).map_err(Failure::in_session)
}

fn run(args: RunArgs, global: &GlobalSettings, printer: &Printer) -> Result<u8, Failure> {
    let plan = settings::resolve(args, printer.format())?;
    let context = global.context()?;
    let interrupt = Interrupt::new();
    signals::watch(&interrupt)?;
    for note in &plan.notes {
        printer.note(note);
    }
    let mut progress = ProgressBars::new(printer);
    let input = plan
        .detach_keys
        .clone()
        .map(|keys| TerminalInput::new(keys, &interrupt));
    let stdin = streams::stdin(plan.stdin, input.as_ref());
    let mut capture = Capture::new(plan.output_limit);
    let mut passage = Passage;
    let sink = match printer.format() {
        Format::Json => &mut capture as _,
        Format::Text => &mut passage as _,
    };
    let streams = RunStreams { stdin, sink };
    let ended =
        microagent_workspace::run(&context, &plan.settings, streams, &mut progress, &interrupt);
    drop(progress);
    if let Some(input) = &input {
        input.restore();
    }
    let report = ended.map_err(|error| Failure::of_library(&error))?;
    match printer.format() {
        Format::Text => report::tell(&report, &plan, printer),
        Format::Json => {
            let document = report::document(&report, &capture, &plan);
            printer.value(String::new, || document)?;
        }
    }
    Ok(report.outcome.end.exit_code())
}
