//! `pause`, `resume` and `quarantine`: the VM lives on, with less than before.

use microagent_wire::supervisor::response::{SeverResult, Severed};
use microagent_workspace::act::Acted;
use microagent_workspace::ending::Freeze;
use microagent_workspace::{Interrupt, pause, quarantine, resume};
use serde_json::{Value, json};

use super::several::{Verb, render};
use crate::args::{PauseArgs, QuarantineArgs, ResumeArgs};
use crate::error::Failure;
use crate::printer::Printer;
use crate::settings::GlobalSettings;
use crate::wording::Act;

/// Freezes each.
pub(crate) fn perform_pause(
    args: PauseArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    let context = global.context_of_existing()?;
    let note = args.why.note.as_deref();
    let reports = pause(&context, &args.which.names, note, &Interrupt::new());
    let verb = Verb {
        act: Act::Pause,
        told: &|_, acted| {
            Some(
                if acted.changed {
                    "is paused"
                } else {
                    "is paused already"
                }
                .to_owned(),
            )
        },
        fields: &[],
    };
    render(reports, &verb, printer)
}

/// Thaws each.
pub(crate) fn perform_resume(
    args: ResumeArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    let context = global.context_of_existing()?;
    let note = args.why.note.as_deref();
    let reports = resume(&context, &args.which.names, note, &Interrupt::new());
    let verb = Verb {
        act: Act::Resume,
        told: &|_, acted| {
            Some(
                if acted.changed {
                    "is running again"
                } else {
                    "is running already"
                }
                .to_owned(),
            )
        },
        fields: &[],
    };
    render(reports, &verb, printer)
}

/// Severs each and keeps the evidence.
pub(crate) fn perform_quarantine(
    args: QuarantineArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    let context = global.context_of_existing()?;
    let freeze = if args.freeze { Freeze::Yes } else { Freeze::No };
    let note = args.why.note.as_deref();
    let reports = quarantine(&context, &args.which.names, freeze, note, &Interrupt::new());
    let verb = Verb {
        act: Act::Quarantine,
        told: &|_, acted| Some(quarantined(acted)),
        fields: &[
            ("frozen", &|acted| {
                severed(acted, |severed| severed.frozen.into())
            }),
            ("vmAlive", &|acted| {
                severed(acted, |severed| severed.vm_alive.into())
            }),
            ("severed", &|acted| {
                severed(acted, |severed| {
                    json!({
                        "network": severed.network,
                        "publish": severed.publish,
                        "mediation": severed.mediation,
                        "sessions": severed.sessions,
                    })
                })
            }),
        ],
    };
    render(reports, &verb, printer)
}

fn severed(acted: &Acted, field: impl Fn(&Severed) -> Value) -> Value {
    acted.severed.as_ref().map_or(Value::Null, field)
}

/// `is quarantined: network, ports and sessions are severed; its VM still runs (pid 4711)`.
fn quarantined(acted: &Acted) -> String {
    let Some(severed) = &acted.severed else {
        return "is quarantined already".to_owned();
    };
    let parts = [
        ("network", severed.network),
        ("published ports", severed.publish),
        ("mediation", severed.mediation),
        ("sessions", severed.sessions),
    ];
    let cut: Vec<&str> = parts
        .iter()
        .filter(|(_, result)| *result == SeverResult::Done)
        .map(|(name, _)| *name)
        .collect();
    let cut = match cut.split_last() {
        None => "nothing was open".to_owned(),
        Some((only, [])) => format!("{only} severed"),
        Some((last, first)) => format!("{} and {last} severed", first.join(", ")),
    };
    let pid = acted
        .workspace
        .as_ref()
        .and_then(|workspace| workspace.vm.as_ref()?.pid)
        .map_or_else(String::new, |pid| format!(" (pid {pid})"));
    let vm = match (severed.vm_alive, severed.frozen) {
        (false, _) => "; its VM does not run".to_owned(),
        (true, true) => format!("; its VM is frozen{pid}"),
        (true, false) => format!("; its VM still runs{pid}"),
    };
    format!("is quarantined: {cut}{vm}")
}

#[cfg(test)]
mod tests {
    use super::quarantined;
    use microagent_wire::supervisor::response::{SeverResult, Severed};
    use microagent_workspace::act::Acted;

    #[test]
    fn what_was_severed_and_whether_the_vm_lives_is_told() {
        let mut acted = Acted {
            severed: Some(Severed {
                network: SeverResult::Done,
                publish: SeverResult::None,
                mediation: SeverResult::Done,
                sessions: SeverResult::Done,
                frozen: false,
                vm_alive: true,
            }),
            ..Acted::default()
        };
        assert_eq!(
            quarantined(&acted),
            "is quarantined: network, mediation and sessions severed; its VM still runs"
        );
        acted.severed.as_mut().unwrap().vm_alive = false;
        acted.severed.as_mut().unwrap().network = SeverResult::None;
        acted.severed.as_mut().unwrap().mediation = SeverResult::None;
        assert_eq!(
            quarantined(&acted),
            "is quarantined: sessions severed; its VM does not run"
        );
    }
}
