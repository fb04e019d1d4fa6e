//! The suite of the protocol, asked of this backend on scripted calls, and what is the framework's own.
#![cfg(unix)]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test looks at files and processes from outside, and unwraps as tests do"
)]

#[path = "../../microagent-test/tests/suite/mod.rs"]
mod suite;

use std::path::PathBuf;
use std::process::Command;

use microagent_test::supervised::Supervised;
use serde_json::json;

/// The example of this crate, which lies beside the tests' own folder.
fn supervisor() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let folder = own.parent().unwrap().parent().unwrap();
    folder.join("examples/scripted-supervisor")
}

#[test]
fn a_machine_that_the_framework_does_not_start_is_a_failed_start() {
    let home = Supervised::new(supervisor());
    home.script("fails-to-start");
    home.ok("prepare");
    let failed = home.ask("start");
    assert_eq!(failed["error"]["kind"], "backend", "{failed:#}");
    let component = &failed["error"]["details"]["component"];
    assert_eq!(component, "Virtualization.framework", "{failed:#}");
    home.script("");
    home.goes_on("a start that failed");
}

#[test]
fn a_machine_that_ends_by_an_error_is_failed_and_its_end_is_told_once() {
    let home = Supervised::new(supervisor());
    home.script("dies-of-error dies-in-boot");
    home.ok("prepare");
    let failed = home.ask("start");
    assert_eq!(failed["workspace"]["state"], "failed", "{failed:#}");
    home.script("");
    home.goes_on("a machine that ended by an error");
}

#[test]
fn a_machine_that_cannot_be_stopped_goes_with_its_monitor() {
    let home = Supervised::new(supervisor());
    home.script("never-stops");
    home.ok("prepare");
    home.ok("start");
    let killed = home.ok("kill");
    assert_eq!(killed["workspace"]["state"], "stopped", "{killed:#}");
    home.script("");
    home.goes_on("a machine that could not be stopped");
}

#[test]
fn the_machine_is_the_monitor_and_is_recorded_as_such() {
    let home = Supervised::new(supervisor());
    home.ok("prepare");
    let started = home.ok("start");
    let vm = &started["workspace"]["vm"];
    assert_eq!(vm["pid"], vm["monitorPid"], "{vm:#}");
    assert_eq!(started["workspace"]["accelerator"], "apple");
    home.ok("kill");
}

#[test]
fn a_bridge_without_its_entitlement_is_refused_before_anything_is_made() {
    let home = Supervised::new(supervisor());
    let answer = home.ask_config("prepare", |config| {
        config["network"] = json!({ "mode": "bridged" });
    });
    assert_eq!(answer["error"]["kind"], "unsupported", "{answer:#}");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("com.apple.vm.networking"), "{message}");
    assert_eq!(home.workspaces(), 0);
}

#[test]
fn the_real_executable_says_on_another_system_that_the_host_is_wrong() {
    if cfg!(target_os = "macos") {
        return;
    }
    let home = Supervised::new(env!("CARGO_BIN_EXE_microagent-applevf-supervisor"));
    let refused = home.ask("prepare");
    assert_eq!(refused["error"]["kind"], "unsupported", "{refused:#}");
    assert_eq!(home.workspaces(), 0);
    let mode = Command::new(env!("CARGO_BIN_EXE_microagent-applevf-supervisor"))
        .arg("confined-exec")
        .status()
        .unwrap();
    assert_eq!(mode.code(), Some(2));
}
