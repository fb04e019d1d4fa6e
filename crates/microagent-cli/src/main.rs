//! The `microagent` command: a thin shell over the library.
//!
//! Each command parses into one request, calls one library function and renders the value that comes
//! back, as text or as JSON. It decides nothing that another program could want decided, links no
//! hypervisor, asks nowhere which operating system it runs on, and must not keep state of its own.
//! Nobody but `main` ends the process, by returning.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod detach_keys;
mod error;
mod layer_bars;
mod logging;
mod nearest;
mod panic_report;
mod printer;
mod progress_bar;
mod render;
mod settings;
mod signals;
mod wording;

use std::process::ExitCode;

use args::{Cli, Parse, Parsed};
use error::Failure;
use logging::LogFilter;
use microagent_wire::exit_code;
use printer::{Format, Paint, Printer, Talk};
use settings::GlobalSettings;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    let Parse {
        json,
        color,
        parsed,
    } = args::parse(&words);
    let format = if json { Format::Json } else { Format::Text };
    let talk = match &parsed {
        Parsed::Command(cli) if cli.global.quiet => Talk::Quiet,
        _ => Talk::Normal,
    };
    let log = match &parsed {
        Parsed::Command(cli) => LogFilter::resolve(cli.global.verbose),
        _ => LogFilter::resolve(0),
    };
    let printer = Printer::new(format, talk, color.unwrap_or_default(), log.was_asked_for());
    let ended = panic_report::guard(|| {
        logging::begin(&log, format, printer.stderr_paint())?;
        answer(parsed, &printer)
    });
    let code = match ended {
        Ok(code) => code,
        Err(failure) => {
            match (failure.fault(), format) {
                (Some(fault), Format::Json) => printer.failure(fault),
                (_, Format::Text) => {
                    for fault in failure.faults() {
                        printer.failure(fault);
                    }
                }
                (None, Format::Json) => {}
            }
            failure.exit_code()
        }
    };
    ExitCode::from(code)
}

fn answer(parsed: Parsed, printer: &Printer) -> Result<u8, Failure> {
    match parsed {
        Parsed::Command(cli) => {
            let Cli { global, command } = *cli;
            commands::perform(command, &GlobalSettings::new(&global), printer)
        }
        Parsed::Text { plain, ansi } => {
            let text = match printer.stdout_paint() {
                Paint::Ansi => ansi,
                Paint::Plain => plain,
            };
            printer.data(&text)?;
            Ok(exit_code::DONE)
        }
        Parsed::Nothing { help } => match printer.format() {
            Format::Text => {
                printer::talk(&help);
                Ok(exit_code::USAGE)
            }
            Format::Json => Err(Failure::usage(
                "no command is given",
                "all commands: microagent --help",
            )),
        },
        Parsed::Refused(fault) => Err(Failure::Command(*fault)),
    }
}
