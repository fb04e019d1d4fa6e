//! `connect`: a shell in a running workspace, one line in a shell of its own, or the serial console.

use microagent_os::terminal::{self, StandardStream};
use microagent_types::ByteSize;
use microagent_wire::exit_code;
use microagent_wire::fault::{Fault, FaultKind};
use microagent_workspace::{CommandEnd, ConnectSettings, Context, Interrupt, SendSettings};
use serde_json::json;

use super::session::attachment::{self, Attachment};
use super::session::outcome;
use crate::args::ConnectArgs;
use crate::error::{Failure, usage};
use crate::printer::{Format, Printer};
use crate::settings::GlobalSettings;
use crate::signals;
use crate::wording::Act;

/// Most bytes of `--send` output in a document.
const OUTPUT_BYTES_MAX: u64 = 10 << 20;

/// Connects, or sends a line.
pub(crate) fn perform(
    args: ConnectArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    let name = args.name.clone();
    let of_act = |failure: Failure| failure.of_act(Act::Connect, &name);
    match args.send.clone() {
        Some(line) => {
            let context = global.context_of_existing().map_err(Failure::in_session)?;
            let interrupt = Interrupt::new();
            signals::watch(&interrupt)?;
            send(&args, line, &context, &interrupt, printer)
                .map_err(|failure| of_act(failure).in_session())
        }
        None => {
            check_interactive(&args, printer.format())?;
            let context = global.context_of_existing()?;
            interactive(args, &context, printer).map_err(of_act)
        }
    }
}

fn check_interactive(args: &ConnectArgs, format: Format) -> Result<(), Fault> {
    let name = &args.name;
    if format == Format::Json {
        return Err(usage(
            "connect is interactive and has no document",
            format!(
                "microagent connect --json --send LINE {name}, or microagent exec --json {name} COMMAND"
            ),
        ));
    }
    if !terminal::is_terminal(StandardStream::Stdin) {
        return Err(usage(
            "connect needs a terminal on stdin",
            format!("microagent connect --send LINE {name}, or microagent exec -i {name} COMMAND"),
        ));
    }
    Ok(())
}

fn settings(args: ConnectArgs) -> ConnectSettings {
    ConnectSettings {
        shell: args.shell,
        user: args.user,
        cwd: args.cwd,
    }
}

/// However the shell ends, and when it is left: 0.
fn interactive(args: ConnectArgs, context: &Context, printer: &Printer) -> Result<u8, Failure> {
    let name = args.name.clone();
    let keys = args.detach_keys.clone();
    let detach = keys.shown();
    let detach = detach.map_or_else(String::new, |keys| format!(" Detach with {keys}."));
    let greeting = (!printer.is_quiet()).then(|| format!("Connected to {name}.{detach}\n"));
    let attachment = Attachment::of_terminal(keys, greeting);
    let interrupt = Interrupt::new();
    signals::watch(&interrupt)?;
    let serial = args.serial;
    let settings = settings(args);
    let tty = attachment.tty.clone().unwrap_or_else(|| {
        unreachable!("an attachment of a terminal has one");
    });
    let ended = attachment.lend(&interrupt, |streams| {
        if serial {
            microagent_workspace::connect_serial(context, &name, streams, &interrupt)
        } else {
            microagent_workspace::connect(context, &name, &settings, tty, streams, &interrupt)
                .map(|_| ())
        }
    });
    match ended {
        Ok(_) | Err(Failure::Detached) => Ok(exit_code::DONE),
        Err(failure) => Err(failure),
    }
}

fn send(
    args: &ConnectArgs,
    line: String,
    context: &Context,
    interrupt: &Interrupt,
    printer: &Printer,
) -> Result<u8, Failure> {
    let timeout = attachment::limit(args.timeout);
    let limit = ByteSize::from_bytes(OUTPUT_BYTES_MAX);
    let attachment = Attachment::without_input(printer.format(), timeout, limit);
    let mut document = json!({
        "workspace": args.name.as_str(),
        "transport": if args.serial { "serial" } else { "shell" },
        "exitCode": null,
        "timedOut": false,
    });
    let (end, capture) = if args.serial {
        let ((), capture) = attachment.lend(interrupt, |streams| {
            microagent_workspace::send_serial(
                context,
                &args.name,
                &line,
                timeout,
                streams.sink,
                interrupt,
            )
        })?;
        (CommandEnd::Exited { code: 0 }, capture)
    } else {
        let line = SendSettings {
            line,
            timeout,
            output_limit_bytes: attachment.output_limit_bytes(),
        };
        let settings = ConnectSettings {
            shell: args.shell.clone(),
            user: args.user.clone(),
            cwd: args.cwd.clone(),
        };
        let (outcome, mut capture) = attachment.lend(interrupt, |streams| {
            microagent_workspace::send(
                context,
                &args.name,
                &settings,
                &line,
                streams.sink,
                interrupt,
            )
        })?;
        document["exitCode"] = outcome.end.exit_code().into();
        document["timedOut"] = (outcome.end == CommandEnd::TimedOut).into();
        let kept = (capture.stdout.len() + capture.stderr.len()) as u64;
        document["outputTruncated"] = (outcome.stdout_bytes + outcome.stderr_bytes > kept).into();
        // One output, as on a terminal; what came when is not known across two streams.
        let stderr = std::mem::take(&mut capture.stderr);
        capture.stdout.extend(stderr);
        (outcome.end, capture)
    };
    match printer.format() {
        Format::Text => {
            if end == CommandEnd::TimedOut {
                printer.failure(&outcome::timed_out(timeout));
            }
            if let CommandEnd::NotStarted { message, .. } = &end {
                printer.failure(&Fault::new(FaultKind::Guest, message.clone()));
            }
        }
        Format::Json => {
            let (text, encoding) = outcome::text(&capture.stdout);
            document["output"] = text.into();
            document["outputEncoding"] = encoding.into();
            if document.get("outputTruncated").is_none() {
                document["outputTruncated"] = false.into();
            }
            printer.value(String::new, || document)?;
        }
    }
    Ok(end.exit_code())
}
