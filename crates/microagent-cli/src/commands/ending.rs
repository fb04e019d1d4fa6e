//! `halt`, `stop` and `kill`: three different ends of a VM. The library knows what each does; this file
//! says what came of it.

use std::time::Duration;

use microagent_types::Span;
use microagent_wire::supervisor::response::{EndedBy, GuestSync};
use microagent_workspace::act::Acted;
use microagent_workspace::{Interrupt, halt, kill, stop};
use serde_json::{Value, json};

use super::several::{Verb, render};
use crate::args::{HaltArgs, KillArgs, StopArgs};
use crate::error::Failure;
use crate::printer::Printer;
use crate::render::workspace;
use crate::settings::GlobalSettings;
use crate::signals;
use crate::wording::Act;

/// Shuts each down cleanly.
pub(crate) fn perform_halt(
    args: HaltArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    let context = global.context_of_existing()?;
    let interrupt = Interrupt::new();
    signals::watch(&interrupt)?;
    let (names, timeout) = (&args.which.names, args.timeout.duration());
    let reports = halt(
        &context,
        names,
        timeout,
        args.why.note.as_deref(),
        &interrupt,
    );
    let verb = Verb {
        act: Act::Halt,
        told: &|_, acted| Some(halted(acted)),
        fields: &[("exit", &|acted| exit(acted))],
    };
    render(reports, &verb, printer)
}

/// Ends each by SIGTERM, then by a kill.
pub(crate) fn perform_stop(
    args: StopArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    let context = global.context_of_existing()?;
    let interrupt = Interrupt::new();
    signals::watch(&interrupt)?;
    let (names, timeout) = (&args.which.names, args.timeout.duration());
    let reports = stop(
        &context,
        names,
        timeout,
        args.why.note.as_deref(),
        &interrupt,
    );
    let verb = Verb {
        act: Act::Stop,
        told: &|_, acted| Some(stopped(acted)),
        fields: &[
            ("endedBy", &|acted| json!(ended_by(acted))),
            ("guestSync", &|acted| {
                let sync = acted.ending.as_ref().and_then(|ending| ending.guest_sync);
                json!(sync.unwrap_or(GuestSync::Skipped))
            }),
        ],
    };
    render(reports, &verb, printer)
}

/// Kills each.
pub(crate) fn perform_kill(
    args: KillArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    let context = global.context_of_existing()?;
    let interrupt = Interrupt::new();
    signals::watch(&interrupt)?;
    let reports = kill(
        &context,
        &args.which.names,
        args.why.note.as_deref(),
        &interrupt,
    );
    let verb = Verb {
        act: Act::Kill,
        told: &|_, acted| Some(killed(acted)),
        fields: &[("wasAlive", &|acted| {
            (ended_by(acted) != EndedBy::None).into()
        })],
    };
    render(reports, &verb, printer)
}

fn ended_by(acted: &Acted) -> EndedBy {
    acted
        .ending
        .as_ref()
        .map_or(EndedBy::None, |ending| ending.ended_by)
}

fn took(acted: &Acted) -> Span {
    let ms = acted.ending.as_ref().map_or(0, |ending| ending.duration_ms);
    Span::from(Duration::from_millis(ms))
}

fn state(acted: &Acted) -> &str {
    acted
        .workspace
        .as_ref()
        .map_or("ended", |workspace| &workspace.state)
}

fn exit(acted: &Acted) -> Value {
    let exit = acted
        .workspace
        .as_ref()
        .and_then(|workspace| workspace.exit.as_ref());
    exit.map(workspace::exit).into()
}

fn halted(acted: &Acted) -> String {
    if !acted.changed {
        return format!("is {} already", state(acted));
    }
    format!("is {} ({})", state(acted), took(acted))
}

fn stopped(acted: &Acted) -> String {
    if !acted.changed {
        return format!("is {} already", state(acted));
    }
    let how = match ended_by(acted) {
        EndedBy::Sigterm => format!("SIGTERM, {}", took(acted)),
        EndedBy::Kill => format!("killed after {}", took(acted)),
        EndedBy::Guest => format!("by itself, {}", took(acted)),
        EndedBy::None => "its VM was gone".to_owned(),
    };
    format!("is {} ({how})", state(acted))
}

fn killed(acted: &Acted) -> String {
    if !acted.changed {
        return format!("is {} already", state(acted));
    }
    match ended_by(acted) {
        EndedBy::None => format!("is {} (its VM was gone)", state(acted)),
        EndedBy::Guest | EndedBy::Sigterm | EndedBy::Kill => {
            format!("is {} (killed)", state(acted))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{killed, stopped};
    use microagent_wire::supervisor::response::{EndedBy, Ending};
    use microagent_workspace::act::Acted;

    fn acted(ended_by: EndedBy, duration_ms: u64) -> Acted {
        Acted {
            changed: true,
            ending: Some(Ending {
                ended_by,
                guest_sync: None,
                duration_ms,
            }),
            ..Acted::default()
        }
    }

    #[test]
    fn the_way_it_ended_is_told() {
        assert_eq!(
            stopped(&acted(EndedBy::Sigterm, 300)),
            "is ended (SIGTERM, 300 ms)"
        );
        assert_eq!(
            stopped(&acted(EndedBy::Kill, 5000)),
            "is ended (killed after 5 s)"
        );
        assert_eq!(killed(&acted(EndedBy::Kill, 5)), "is ended (killed)");
        assert_eq!(
            killed(&acted(EndedBy::None, 5)),
            "is ended (its VM was gone)"
        );
        assert_eq!(stopped(&Acted::default()), "is ended already");
    }
}
