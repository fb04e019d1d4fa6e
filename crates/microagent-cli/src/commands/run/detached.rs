//! `run --detach`: a workspace that is made, booted and left to itself.

use microagent_types::Span;
use microagent_wire::exit_code;
use microagent_workspace::{Interrupt, run_detached};
use std::time::Duration;

use super::settings::image_and_command;
use crate::args::RunArgs;
use crate::commands::create::{self, Spent};
use crate::commands::new_workspace::{Asked, TypedCommand};
use crate::commands::session::attachment::limit;
use crate::commands::{dry_run, spec};
use crate::error::{Failure, usage};
use crate::printer::Printer;
use crate::progress_bar::ProgressBars;
use crate::settings::GlobalSettings;
use crate::signals;
use crate::wording::Act;

/// Prints the name of the workspace when its guest is ready.
pub(super) fn run(
    args: RunArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    let ready_timeout = args.ready_timeout.and_then(limit);
    let asked = resolve(args)?;
    let context = global.context_with(asked.backend)?;
    let interrupt = Interrupt::new();
    signals::watch(&interrupt)?;
    if asked.dry_run {
        return dry_run::perform(&asked, &context, printer, &interrupt);
    }
    let settings = asked.into_create(printer);
    let mut progress = ProgressBars::new(printer);
    let ran = run_detached(
        &context,
        &settings,
        ready_timeout,
        &mut progress,
        &interrupt,
    );
    drop(progress);
    let report =
        ran.map_err(|error| Failure::of_library(&error).of_act(Act::Create, &settings.name))?;
    create::tell(&report.created, printer);
    let ready = Span::from(Duration::from_millis(report.boot_ms));
    printer.note(&format!("`{}` is ready after {ready}", settings.name));
    let spent = Spent {
        boot_ms: Some(report.boot_ms),
        total_ms: Some(report.total_ms),
    };
    printer.value(
        || format!("{}\n", settings.name),
        || create::document(&report.created, spent),
    )?;
    Ok(exit_code::DONE)
}

fn resolve(mut args: RunArgs) -> Result<Asked, Failure> {
    let spec = spec::load(&args.workspace)?;
    let image = args.workspace.image.take().or_else(|| spec.image.clone());
    let (image, words) = image_and_command(image, args.words)?;
    if args.idle && !words.is_empty() {
        let failure = usage(
            "an idle workspace runs no command",
            "leave out --idle, or run the command later: microagent exec NAME COMMAND",
        );
        return Err(failure.into());
    }
    let name = args.name.or_else(|| spec.name.clone());
    let typed = TypedCommand {
        words,
        idle: args.idle,
    };
    Asked::resolve(name, image, args.workspace, spec, typed)
}
