//! Faults about a workspace in the words of this command.
//!
//! A supervisor speaks to programs in any language: it names states and leaves commands out. A person
//! wants the command to type. This is the one place where the first becomes the second (`cli.md`
//! section 6); it matches on kinds and details, never on sentences, and what it does not know passes
//! as it is.

use std::time::Duration;

use microagent_types::{Span, Timestamp, WorkspaceName};
use microagent_wire::fault::{Fault, FaultKind};

use crate::render::time::moment;

/// What was asked of a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// `create`.
    Create,
    /// `start`.
    Start,
    /// `halt`.
    Halt,
    /// `stop`.
    Stop,
    /// `kill`.
    Kill,
    /// `pause`.
    Pause,
    /// `resume`.
    Resume,
    /// `quarantine`.
    Quarantine,
    /// `delete`.
    Delete,
    /// `wait`.
    Wait,
    /// `exec`.
    Exec,
    /// `connect`.
    Connect,
    /// `cp`.
    Copy,
}

/// The same fault with the message and the hint that a person needs.
pub(crate) fn reword(act: Act, name: &WorkspaceName, fault: Fault, now: Timestamp) -> Fault {
    let state = fault
        .details
        .as_ref()
        .and_then(|details| details.state.clone());
    match (fault.kind, act, state.as_deref()) {
        (FaultKind::Conflict, Act::Create, _) => taken(name, fault, state.as_deref()),
        (FaultKind::WrongState, _, Some(state)) => wrong_state(act, name, fault, state),
        (FaultKind::Timeout, Act::Halt, _) => halt_ignored(name, fault),
        (FaultKind::Busy, _, _) => busy(name, fault, now),
        (FaultKind::Unsupported, _, _) => guest_too_old(name, fault),
        _ => fault,
    }
}

fn said(fault: Fault, message: String, hint: String) -> Fault {
    Fault {
        message,
        hint: Some(hint),
        ..fault
    }
}

fn taken(name: &WorkspaceName, fault: Fault, state: Option<&str>) -> Fault {
    // A conflict of a create without this detail may be about a disk or a port.
    if !fault.message.contains(&format!("`{name}`")) {
        return fault;
    }
    let state = state.map_or_else(String::new, |state| format!(" ({state})"));
    said(
        fault,
        format!("workspace `{name}` already exists{state}"),
        format!(
            "microagent start {name}, or choose another name, or add --replace to delete the old one"
        ),
    )
}

fn wrong_state(act: Act, name: &WorkspaceName, fault: Fault, state: &str) -> Fault {
    let (message, hint) = match (act, state) {
        (Act::Delete, "paused") => (
            format!("`{name}` is paused and cannot be deleted"),
            format!("microagent stop {name} && microagent delete {name}"),
        ),
        (Act::Delete, _) => (
            format!("`{name}` is {state} and cannot be deleted"),
            format!(
                "microagent halt {name} && microagent delete {name}; use kill instead of halt when \
                 the guest does not answer"
            ),
        ),
        (Act::Start, "quarantined") => (
            format!(
                "`{name}` is quarantined{} and cannot be started",
                since(&fault)
            ),
            format!(
                "microagent halt {name} (or stop, kill) ends the quarantine; the record keeps it \
                 for good"
            ),
        ),
        (Act::Exec | Act::Connect | Act::Copy, "quarantined") => (
            format!("`{name}` is quarantined: exec, connect and cp are refused"),
            format!(
                "to look at its disk: microagent halt {name}, then microagent cp {name}:/path ."
            ),
        ),
        (Act::Halt, "paused") => (
            format!("`{name}` is paused"),
            format!("microagent resume {name}, or microagent stop {name}"),
        ),
        (_, "paused") => (
            format!("`{name}` is paused"),
            format!("microagent resume {name}"),
        ),
        (Act::Halt, "quarantined") => (fault.message.clone(), format!("microagent stop {name}")),
        (Act::Exec | Act::Connect, _) => (
            format!("`{name}` is {state}, not running"),
            format!("microagent start {name}"),
        ),
        (Act::Pause | Act::Resume, "quarantined") => return fault,
        (Act::Pause | Act::Resume, _) => (
            format!("`{name}` is {state}, not running"),
            format!("microagent start {name}"),
        ),
        _ => return fault,
    };
    said(fault, message, hint)
}

/// ` since 2026-03-04 09:12:44Z`, when that is known.
fn since(fault: &Fault) -> String {
    let details = fault.details.as_deref();
    details
        .and_then(|details| details.since)
        .map_or_else(String::new, |since| format!(" since {}", moment(since)))
}

/// A guest that was booted by an older release lacks one service, and the next boot has it.
fn guest_too_old(name: &WorkspaceName, fault: Fault) -> Fault {
    let details = fault.details.as_deref();
    let lacking =
        details.and_then(|details| details.service.as_ref().zip(details.guest_generation));
    let Some((service, generation)) = lacking else {
        return fault;
    };
    let message =
        format!("the guest of `{name}` does not know `{service}` (generation {generation})");
    let hint = format!(
        "microagent halt {name} && microagent start {name} boots it with the current guest init"
    );
    said(fault, message, hint)
}

/// Row 23: the guest does not return, and nothing is killed for it.
fn halt_ignored(name: &WorkspaceName, fault: Fault) -> Fault {
    let details = fault.details.as_deref();
    let limit = details.and_then(|details| details.deadline_ms);
    let message = match limit {
        Some(ms) => {
            let limit = Span::from(Duration::from_millis(ms));
            format!("`{name}` did not shut down in {limit}; nothing was killed")
        }
        None => fault.message.clone(),
    };
    let log = details.and_then(|details| details.log_path.as_ref());
    let log = log.map_or_else(String::new, |path| format!("; log: {path}"));
    let hint = format!(
        "wait longer: microagent halt --timeout 60s {name}; or microagent stop {name}; or \
         microagent kill {name}{log}"
    );
    said(fault, message, hint)
}

/// Row 25: who holds it, and for how long.
fn busy(name: &WorkspaceName, fault: Fault, now: Timestamp) -> Fault {
    let holder = fault
        .details
        .as_ref()
        .and_then(|details| details.holder.as_ref());
    let Some(holder) = holder else { return fault };
    let held = Span::from(Duration::from_millis(now.ms_since(holder.since)));
    let message = format!(
        "another command is working on `{name}`: {}, pid {}, for {held}",
        holder.command, holder.pid
    );
    let hint = format!("try again when it is done; its state: microagent status {name}");
    said(fault, message, hint)
}

#[cfg(test)]
mod tests {
    use super::{Act, reword};
    use microagent_types::Timestamp;
    use microagent_wire::fault::{Fault, FaultKind, LockHolder};

    fn now() -> Timestamp {
        Timestamp::from_unix_ms(100_000)
    }

    fn in_state(act: Act, state: &str) -> (String, String) {
        let fault = Fault::new(
            FaultKind::WrongState,
            format!("`web` is {state}, which allows no …"),
        )
        .with_hint("as the supervisor says")
        .with_details(|details| details.state = Some(state.to_owned()));
        let fault = reword(act, &"web".parse().unwrap(), fault, now());
        (fault.message, fault.hint.unwrap())
    }

    #[test]
    fn a_state_that_refuses_comes_with_the_command_that_helps() {
        let rows = [
            (Act::Delete, "running"),
            (Act::Start, "quarantined"),
            (Act::Exec, "quarantined"),
            (Act::Exec, "halted"),
            (Act::Exec, "paused"),
            (Act::Halt, "paused"),
            (Act::Pause, "halted"),
            (Act::Resume, "stopped"),
        ];
        let text = rows.map(|(act, state)| {
            let (message, hint) = in_state(act, state);
            format!("{act:?} {state}\n  {message}\n  {hint}\n")
        });
        insta::assert_snapshot!(text.concat());
    }

    #[test]
    fn a_halt_that_ran_out_names_its_limit_the_log_and_both_ways_on() {
        let fault = Fault::new(FaultKind::Timeout, "x").with_details(|details| {
            details.deadline_ms = Some(15_000);
            details.log_path = Some("/s/web/serial.log".parse().unwrap());
        });
        let fault = reword(Act::Halt, &"web".parse().unwrap(), fault, now());
        assert_eq!(
            fault.message,
            "`web` did not shut down in 15 s; nothing was killed"
        );
        assert_eq!(
            fault.hint.unwrap(),
            "wait longer: microagent halt --timeout 60s web; or microagent stop web; or microagent \
             kill web; log: /s/web/serial.log"
        );
    }

    #[test]
    fn a_busy_workspace_names_who_holds_it_and_for_how_long() {
        let fault = Fault::new(FaultKind::Busy, "x").with_details(|details| {
            details.holder = Some(LockHolder {
                pid: 4711,
                command: "halt".to_owned(),
                request_id: None,
                since: Timestamp::from_unix_ms(88_000),
            });
        });
        let fault = reword(Act::Stop, &"web".parse().unwrap(), fault, now());
        assert_eq!(
            fault.message,
            "another command is working on `web`: halt, pid 4711, for 12 s"
        );
        assert!(fault.retryable);
    }

    #[test]
    fn a_taken_name_is_told_with_its_state_and_another_conflict_passes() {
        let name = "web".parse().unwrap();
        let fault = Fault::new(FaultKind::Conflict, "a workspace `web` exists already")
            .with_details(|details| details.state = Some("halted".to_owned()));
        let fault = reword(Act::Create, &name, fault, now());
        assert_eq!(fault.message, "workspace `web` already exists (halted)");
        assert!(fault.hint.unwrap().starts_with("microagent start web, or"));
        let other = Fault::new(FaultKind::Conflict, "disk `/d` is attached elsewhere");
        assert_eq!(reword(Act::Create, &name, other.clone(), now()), other);
    }
}
