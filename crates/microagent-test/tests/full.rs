//! The disk of the state directory is full at every durable write of supervisor and monitor, one after
//! the other, once and from then on: what can't be begun is refused as such, what ends a VM ends it, and
//! when there is room again the workspace goes on. Needs a build with crash points:
//! `cargo nextest run -p microagent-test --features crash-points`.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test starts programs and looks at files from outside, and unwraps as tests do"
)]

use microagent_test::crash::numbered_passes;
use microagent_test::supervised::Supervised;
use serde_json::Value;

const SUPERVISOR: &str = env!("CARGO_BIN_EXE_microagent-fake-supervisor");

/// Whose disk is full.
#[derive(Clone, Copy)]
enum Whose {
    Supervisor,
    Monitor,
}

impl Whose {
    fn variables(self) -> (&'static str, &'static str) {
        match self {
            Self::Supervisor => ("MICROAGENT_TEST_FULL_AT", "MICROAGENT_TEST_FULL_LOG"),
            Self::Monitor => (
                "MICROAGENT_TEST_MONITOR_FULL_AT",
                "MICROAGENT_TEST_MONITOR_FULL_LOG",
            ),
        }
    }
}

/// Runs `before` with room and `act` without, at each write that `act` makes, and hands every answer to
/// `judge` before the workspace must go on.
fn at_every_write(
    whose: Whose,
    before: &[&str],
    act: &[&str],
    judge: impl Fn(&str, &Value, &Supervised),
) {
    let (at, log_variable) = whose.variables();
    let prepared = || {
        let home = Supervised::new(SUPERVISOR);
        for command in before {
            home.ok(command);
        }
        home
    };
    let home = prepared();
    let log = home.path("log");
    for command in act {
        home.ask_with(command, &[(log_variable, log.to_str().unwrap())]);
    }
    let writes = numbered_passes(&std::fs::read_to_string(&log).unwrap_or_default());
    assert!(!writes.is_empty(), "{act:?} writes nothing");
    for write in writes {
        for lasting in ["", "+"] {
            let write = format!("{write}{lasting}");
            let home = prepared();
            for command in act {
                let answer = home.ask_with(command, &[(at, &write)]).unwrap();
                judge(&format!("{command} at {write}"), &answer, &home);
            }
            home.goes_on(&write);
        }
    }
}

/// Done, or refused for want of room: no third thing.
fn done_or_refused(what: &str, answer: &Value, _home: &Supervised) {
    let kind = answer["error"]["kind"].as_str();
    assert!(
        answer["ok"] == true || kind == Some("resource"),
        "{what}: {answer:#}"
    );
}

/// The effect is there in any case; what could not be recorded is told.
fn done(what: &str, answer: &Value, _home: &Supervised) {
    assert_eq!(answer["ok"], true, "{what}: {answer:#}");
    assert_ne!(answer["workspace"]["state"], "running", "{what}");
}

#[test]
fn a_prepare_without_room_leaves_a_name_that_can_be_used() {
    at_every_write(Whose::Supervisor, &[], &["prepare"], |what, answer, _| {
        assert_eq!(answer["error"]["kind"], "resource", "{what}: {answer:#}");
    });
}

#[test]
fn a_start_without_room_is_refused_and_starts_when_there_is_some() {
    at_every_write(
        Whose::Supervisor,
        &["prepare"],
        &["start"],
        |what, answer, _| {
            assert_eq!(answer["error"]["kind"], "resource", "{what}: {answer:#}");
        },
    );
}

#[test]
fn a_monitor_without_room_starts_what_it_can_record_and_refuses_the_rest() {
    at_every_write(Whose::Monitor, &["prepare"], &["start"], done_or_refused);
}

#[test]
fn a_vm_is_killed_whether_or_not_that_can_be_recorded() {
    at_every_write(
        Whose::Monitor,
        &["prepare"],
        &["start", "kill"],
        |what, answer, home| {
            if what.starts_with("start") {
                done_or_refused(what, answer, home);
            } else {
                done(what, answer, home);
            }
        },
    );
}

#[test]
fn a_guest_is_halted_whether_or_not_that_can_be_recorded() {
    at_every_write(
        Whose::Monitor,
        &["prepare"],
        &["start", "halt"],
        |what, answer, home| {
            if what.starts_with("start") || answer["error"]["kind"] == "wrong_state" {
                // A start that was refused leaves nothing to halt.
                return;
            }
            done(what, answer, home);
        },
    );
}

#[test]
fn a_running_workspace_is_severed_whether_or_not_the_mark_can_be_written() {
    at_every_write(
        Whose::Supervisor,
        &["prepare", "start"],
        &["quarantine"],
        |what, answer, home| {
            assert_eq!(answer["ok"], true, "{what}: {answer:#}");
            assert_eq!(answer["workspace"]["state"], "quarantined", "{what}");
            let warnings = answer["warnings"].as_array().map_or(0, Vec::len);
            assert!(warnings > 0, "{what}: {answer:#}");
            home.ok("kill");
        },
    );
}

#[test]
fn a_delete_without_room_is_refused_or_done() {
    at_every_write(
        Whose::Supervisor,
        &["prepare"],
        &["delete"],
        done_or_refused,
    );
}
