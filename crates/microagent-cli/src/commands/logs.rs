//! `logs`: the serial console, escaped for people, as it is for programs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use microagent_os::clock;
use microagent_os::terminal::{self, StandardStream};
use microagent_wire::exit_code;
use microagent_workspace::Interrupt;
use microagent_workspace::logs::{self, BootChoice, LogFilter, LogLine};
use serde_json::{Value, json};

use crate::args::{BootArg, LogsArgs};
use crate::error::Failure;
use crate::printer::{Format, Printer};
use crate::render::escape::escaped;
use crate::render::time;
use crate::settings::GlobalSettings;
use crate::signals;

/// Shows the lines that are there, and with `--follow` those that come.
pub(crate) fn perform(
    args: &LogsArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    let context = global.context_of_existing()?;
    let filter = LogFilter {
        tail: args.tail,
        since: args.since.map(|since| since.resolve(clock::now())),
        boot: args.boot.map(|boot| match boot {
            BootArg::Number(number) => BootChoice::Number(number),
            BootArg::Last => BootChoice::Last,
        }),
    };
    let mut shown = Ok(());
    let mut documents = Vec::new();
    let mut show = |line: &LogLine| {
        match printer.format() {
            Format::Text => shown = printer.bytes(&text(args, line)),
            Format::Json if args.follow => {
                shown = printer.data(&format!("{}\n", document(line)));
            }
            Format::Json => documents.push(document(line)),
        }
        shown.is_ok()
    };
    let read = if args.follow {
        let interrupt = Interrupt::new();
        signals::watch(&interrupt)?;
        logs::follow(&context, &args.name, &filter, &interrupt, &mut show)
    } else {
        logs::logs(&context, &args.name, &filter, &mut show)
    };
    shown?;
    let report = read.map_err(|error| Failure::of_library(&error))?;
    if report.truncated {
        printer.note("the log has a cap: its oldest part is gone");
    }
    if !args.follow && printer.format() == Format::Json {
        let value = json!({
            "workspace": args.name.as_str(),
            "path": report.path.to_string_lossy(),
            "lines": documents,
            "truncated": report.truncated,
        });
        printer.value(String::new, || value)?;
    }
    Ok(exit_code::DONE)
}

/// A terminal is shown what it can't be harmed by; a file or a pipe gets the line's own bytes.
fn text(args: &LogsArgs, line: &LogLine) -> Vec<u8> {
    if args.raw {
        return line.bytes.clone();
    }
    let mut answer = Vec::with_capacity(line.bytes.len() + 32);
    if args.timestamps {
        let moment = line.time.map_or_else(|| "-".to_owned(), time::moment_ms);
        answer.extend_from_slice(format!("{moment} ").as_bytes());
    }
    if terminal::is_terminal(StandardStream::Stdout) {
        let text = String::from_utf8_lossy(line.text());
        answer.extend_from_slice(escaped(&text).as_bytes());
    } else {
        answer.extend_from_slice(line.text());
    }
    answer.push(b'\n');
    answer
}

fn document(line: &LogLine) -> Value {
    let mut document = json!({
        "time": line.time.map(|time| time.to_string()),
        "boot": line.boot,
    });
    match std::str::from_utf8(line.text()) {
        Ok(text) => document["text"] = text.into(),
        Err(_) => {
            document["text"] = BASE64.encode(line.text()).into();
            document["textEncoding"] = "base64".into();
        }
    }
    document
}
