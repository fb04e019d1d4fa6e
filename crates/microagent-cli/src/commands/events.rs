//! `events`: the history of a workspace, its verification, and what is still to come.

use microagent_os::clock;
use microagent_wire::exit_code;
use microagent_wire::supervisor::response::Event;
use microagent_workspace::events::{self, ChainFault, ChainReport};
use microagent_workspace::{Context, Interrupt};
use serde_json::{Value, json};

use crate::args::EventsArgs;
use crate::error::Failure;
use crate::printer::{Format, Printer};
use crate::render::table::lines;
use crate::render::time;
use crate::settings::GlobalSettings;
use crate::signals;

/// Prints, follows or verifies.
pub(crate) fn perform(
    args: &EventsArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    let context = global.context_of_existing()?;
    if args.verify {
        return verify(args, &context, printer);
    }
    let since = args.since.map(|moment| moment.resolve(clock::now()));
    let stored = events::events(&context, &args.name, args.tail, since)
        .map_err(|error| Failure::of_library(&error))?;
    if !args.follow {
        printer.value(
            || lines(stored.iter().map(|line| text(line))),
            || {
                let events: Vec<Value> = stored.iter().map(|line| document(line)).collect();
                json!({ "workspace": args.name.as_str(), "events": events })
            },
        )?;
        return Ok(exit_code::DONE);
    }
    // One object a line, byte for byte as stored, so that others can verify the chain.
    let show = |line: &str| match printer.format() {
        Format::Text => printer.data(&format!("{}\n", text(line))),
        Format::Json => printer.data(&format!("{}\n", line.trim_end())),
    };
    for line in &stored {
        show(line)?;
    }
    let after = stored
        .last()
        .and_then(|line| parsed(line))
        .map_or(0, |event| event.seq);
    follow(args, &context, after, show)
}

fn follow(
    args: &EventsArgs,
    context: &Context,
    after: u64,
    show: impl Fn(&str) -> Result<(), Failure>,
) -> Result<u8, Failure> {
    let interrupt = Interrupt::new();
    signals::watch(&interrupt)?;
    let mut shown = Ok(());
    let followed = events::follow(context, &args.name, after, &interrupt, &mut |line| {
        shown = show(line);
        shown.is_ok()
    });
    shown?;
    followed.map_err(|error| Failure::of_library(&error))?;
    Ok(exit_code::DONE)
}

fn parsed(line: &str) -> Option<Event> {
    serde_json::from_str(line).ok()
}

/// `  39  2026-03-04 09:12:43.801  start_requested   starting (reason)`; a line that is no event is
/// shown as one that can't be read.
fn text(line: &str) -> String {
    let Some(event) = parsed(line) else {
        return "  ?  a line that is no event; see: events --verify".to_owned();
    };
    let state = match (&event.state, &event.reason) {
        (Some(state), Some(reason)) => format!("{state} ({reason})"),
        (Some(state), None) => state.clone(),
        (None, _) => String::new(),
    };
    let note = event
        .note
        .map_or_else(String::new, |note| format!("  {note}"));
    let line = format!(
        "{:>3}  {}  {:<18} {state}{note}",
        event.seq,
        time::moment_ms(event.time),
        event.event_type
    );
    crate::render::escape::escaped(line.trim_end()).into_owned()
}

/// The stored object, with what is optional filled up; null where the line is no event.
fn document(line: &str) -> Value {
    let Some(event) = parsed(line) else {
        return Value::Null;
    };
    json!({
        "seq": event.seq,
        "time": event.time.to_string(),
        "type": event.event_type,
        "state": event.state,
        "reason": event.reason,
        "note": event.note,
        "data": event.data,
        "prev": event.prev.to_string(),
    })
}

fn verify(args: &EventsArgs, context: &Context, printer: &Printer) -> Result<u8, Failure> {
    let report =
        events::verify(context, &args.name).map_err(|error| Failure::of_library(&error))?;
    let problems: Vec<Problem> = report.faults.iter().filter_map(Problem::of).collect();
    printer.value(
        || verdict(&report, &problems),
        || {
            json!({
                "workspace": args.name.as_str(),
                "ok": problems.is_empty(),
                "events": report.lines,
                "lastSeq": report.last_seq,
                "lastSha256": report.last_hash.map(|hash| hash.to_string()),
                "torn": torn_bytes(&report).map(|bytes| json!({ "bytes": bytes, "path": null })),
                "problems": problems.iter().map(Problem::document).collect::<Vec<_>>(),
            })
        },
    )?;
    Ok(if problems.is_empty() {
        exit_code::DONE
    } else {
        exit_code::FAILED
    })
}

/// One thing that is wrong with a history.
struct Problem {
    line: Option<u64>,
    seq: Option<u64>,
    message: String,
}

impl Problem {
    /// A torn last line is what a crash leaves; it is told and is no problem.
    fn of(fault: &ChainFault) -> Option<Self> {
        let (line, seq, message) = match *fault {
            ChainFault::Unreadable { line } => (Some(line), None, "is no event".to_owned()),
            ChainFault::Altered { seq, line } => (
                Some(line),
                Some(seq),
                "was altered: the next line does not vouch for it".to_owned(),
            ),
            ChainFault::LastLinkBroken { seq, line } => (
                Some(line),
                Some(seq),
                "does not fit the line before; one of the two was altered".to_owned(),
            ),
            ChainFault::Missing { first, last, line } => (
                Some(line),
                Some(first),
                format!("should have events {first} to {last} before it; they are missing"),
            ),
            ChainFault::OutOfOrder { seq, line } => (
                Some(line),
                Some(seq),
                "stands later than its number".to_owned(),
            ),
            ChainFault::Repeated { seq, line } => (
                Some(line),
                Some(seq),
                "repeats a number that was there before".to_owned(),
            ),
            ChainFault::WrongBeginning { seq } => (
                None,
                Some(seq),
                "the history does not begin where it should".to_owned(),
            ),
            ChainFault::TornTail { .. } => return None,
        };
        Some(Self { line, seq, message })
    }

    fn text(&self) -> String {
        match self.line {
            Some(line) => format!("line {line} {}", self.message),
            None => self.message.clone(),
        }
    }

    fn document(&self) -> Value {
        json!({ "line": self.line, "seq": self.seq, "message": self.message })
    }
}

fn torn_bytes(report: &ChainReport) -> Option<u64> {
    report.faults.iter().find_map(|fault| match fault {
        ChainFault::TornTail { bytes } => Some(*bytes),
        ChainFault::Unreadable { .. }
        | ChainFault::Altered { .. }
        | ChainFault::LastLinkBroken { .. }
        | ChainFault::Missing { .. }
        | ChainFault::OutOfOrder { .. }
        | ChainFault::Repeated { .. }
        | ChainFault::WrongBeginning { .. } => None,
    })
}

/// `41 events, chain intact, last 9c1e…70`, or a line for each problem.
fn verdict(report: &ChainReport, problems: &[Problem]) -> String {
    let mut answer: Vec<String> = problems.iter().map(Problem::text).collect();
    if let Some(bytes) = torn_bytes(report) {
        answer.push(format!(
            "the last {bytes} bytes are a torn line, as a crash leaves it"
        ));
    }
    let last = report.last_hash.map_or_else(String::new, |hash| {
        let hash = hash.to_string();
        format!(", last {}…{}", &hash[..4], &hash[62..])
    });
    let chain = if problems.is_empty() {
        "chain intact"
    } else {
        "chain broken"
    };
    answer.push(format!("{} events, {chain}{last}", report.lines));
    lines(answer)
}
