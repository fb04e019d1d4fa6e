//! `top`: what every workspace uses, live on a terminal and once elsewhere.

mod screen;

use std::time::Duration;

use microagent_os::clock;
use microagent_os::terminal::{self, StandardStream};
use microagent_types::ByteSize;
use microagent_wire::exit_code;
use microagent_wire::supervisor::response::Traffic;
use microagent_workspace::Context;
use microagent_workspace::top::{Sample, Samples, sample};
use serde_json::{Value, json};

use crate::args::TopArgs;
use crate::error::Failure;
use crate::printer::{Format, Printer};
use crate::render::table::{Column, table};
use crate::settings::GlobalSettings;

/// Shortest time between two looks.
const INTERVAL_MIN: Duration = Duration::from_millis(200);
/// Between the two looks of one sample, from which its rate of CPU comes.
const SAMPLE_SPAN: Duration = Duration::from_millis(500);
const COLUMNS: [Column; 6] = [
    Column::left("NAME"),
    Column::left("STATE"),
    Column::right("CPU"),
    Column::right("MEMORY"),
    Column::right("DISK"),
    Column::right("NET"),
];

/// Draws or prints.
pub(crate) fn perform(
    args: &TopArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    let context = global.context_of_existing()?;
    let interval = args.interval.duration();
    if interval < INTERVAL_MIN {
        return Err(Failure::usage(
            format!("`--interval {}` is too short", args.interval),
            "at least 200ms",
        ));
    }
    let on_terminal = [StandardStream::Stdin, StandardStream::Stdout]
        .into_iter()
        .all(terminal::is_terminal);
    if on_terminal && printer.format() == Format::Text {
        screen::run(&context, interval, printer.stdout_paint())?;
        return Ok(exit_code::DONE);
    }
    let earlier = look(&context)?;
    clock::pause(SAMPLE_SPAN);
    let later = look(&context)?;
    printer.value(
        || {
            let rows: Vec<Vec<String>> = rows(&earlier, &later).map(Vec::from).collect();
            table(&COLUMNS, &rows, printer.table_width())
        },
        || json!({ "workspaces": documents(&earlier, &later) }),
    )?;
    Ok(exit_code::DONE)
}

fn look(context: &Context) -> Result<Samples, Failure> {
    sample(context).map_err(|error| Failure::of_library(&error))
}

/// One row for each workspace: name, state, CPU, memory, disk, and what crosses its network.
fn rows<'a>(
    earlier: &'a Samples,
    later: &'a Samples,
) -> impl Iterator<Item = [String; COLUMNS.len()]> + 'a {
    later.workspaces.iter().map(move |one| {
        let known = &one.known;
        let of = |used: Option<ByteSize>, whole: ByteSize| match used {
            Some(used) => format!("{used} / {whole}"),
            None => format!("- / {whole}"),
        };
        let cpu = one.cpus_busy(earlier, later);
        [
            one.name.to_string(),
            if known.stale {
                format!("{}?", known.state)
            } else {
                known.state.clone()
            },
            cpu.map_or_else(|| "-".to_owned(), |busy| format!("{:.0} %", busy * 100.0)),
            of(one.memory, known.memory),
            of(one.disk, known.disk),
            one.bytes_a_second(earlier, later)
                .map_or_else(|| "-".to_owned(), rate),
        ]
    })
}

/// `12 KiB/s`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is neither negative nor beyond what a host moves in a second"
)]
fn rate(bytes_a_second: f64) -> String {
    format!("{}/s", ByteSize::from_bytes(bytes_a_second as u64))
}

/// Open ones of published ports and of the mediation channel.
fn connections(one: &Sample) -> Option<u64> {
    one.known.alive.then_some(one.known.open_connections)
}

fn crossed(one: &Sample) -> Option<Traffic> {
    one.known.traffic.filter(|_| one.known.alive)
}

fn documents(earlier: &Samples, later: &Samples) -> Vec<Value> {
    let document = |one: &Sample| {
        let known = &one.known;
        json!({
            "name": one.name.as_str(),
            "state": known.state,
            "stale": known.stale,
            "cpus": known.cpus.get(),
            "cpusBusy": one.cpus_busy(earlier, later),
            "cpuTimeMs": one.cpu_time.map(clock::whole_ms),
            "memoryBytes": one.memory.map(ByteSize::bytes),
            "memoryLimitBytes": known.memory.bytes(),
            "diskAllocatedBytes": one.disk.map(ByteSize::bytes),
            "diskBytes": known.disk.bytes(),
            "openConnections": connections(one),
            "networkBytesIn": crossed(one).map(|traffic| traffic.bytes_in),
            "networkBytesOut": crossed(one).map(|traffic| traffic.bytes_out),
        })
    };
    later.workspaces.iter().map(document).collect()
}
