//! The suite of the protocol, asked of this backend on scripted services, and what is the services' own.
#![cfg(target_os = "linux")]
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
use serde_json::{Value, json};

/// The example of this crate, which lies beside the tests' own folder.
fn supervisor() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let folder = own.parent().unwrap().parent().unwrap();
    folder.join("examples/scripted-hyperv")
}

fn home() -> Supervised {
    Supervised::new(supervisor()).with_disk_format("vhd")
}

#[test]
fn a_system_that_the_service_does_not_start_is_a_failed_start() {
    let home = home();
    home.script("fails-to-start");
    home.ok("prepare");
    let failed = home.ask("start");
    assert_eq!(failed["error"]["kind"], "backend", "{failed:#}");
    let component = &failed["error"]["details"]["component"];
    assert_eq!(component, "host compute service", "{failed:#}");
    home.script("");
    home.goes_on("a start that failed");
}

#[test]
fn a_start_whose_end_is_told_later_is_a_start() {
    let home = home();
    home.script("starts-later");
    home.ok("prepare");
    let started = home.ok("start");
    assert_eq!(started["workspace"]["state"], "running", "{started:#}");
    home.goes_on("a start that was told later");
}

#[test]
fn a_system_that_ends_by_an_error_is_failed() {
    let home = home();
    home.script("dies-of-error dies-in-boot");
    home.ok("prepare");
    let failed = home.ask("start");
    assert_eq!(failed["workspace"]["state"], "failed", "{failed:#}");
    home.script("");
    home.goes_on("a system that ended by an error");
}

#[test]
fn a_system_that_cannot_be_ended_goes_with_the_handle_of_its_monitor() {
    let home = home();
    home.script("never-stops");
    home.ok("prepare");
    home.ok("start");
    let killed = home.ok("kill");
    assert_eq!(killed["workspace"]["state"], "stopped", "{killed:#}");
    home.script("");
    home.goes_on("a system that could not be ended");
}

fn record(home: &Supervised) -> Value {
    let path = home.workspace().join("runtime.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_record_keeps_the_system_and_its_runtime_id() {
    let home = home();
    home.ok("prepare");
    let started = home.ok("start");
    let vm = &started["workspace"]["vm"];
    assert_eq!(vm["systemId"], vm["bootId"], "{vm:#}");
    assert_eq!(vm["pid"], Value::Null);
    assert_eq!(started["workspace"]["accelerator"], "hyperv");
    let recorded = &record(&home)["vm"];
    assert_eq!(recorded["systemId"], vm["bootId"]);
    let runtime_id = format!("runtime-{}", vm["bootId"].as_str().unwrap());
    assert_eq!(recorded["runtimeId"], runtime_id.as_str());
    home.ok("kill");
}

#[test]
fn a_system_goes_with_a_monitor_that_was_killed_and_the_next_command_says_so() {
    let home = home();
    home.ok("prepare");
    let started = home.ok("start");
    let pid = started["workspace"]["vm"]["monitorPid"].as_u64().unwrap();
    let killed = Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let found = home.ok("halt");
    assert_eq!(found["workspace"]["state"], "failed", "{found:#}");
    home.goes_on("a monitor that was killed");
}

#[test]
fn the_guest_has_the_addresses_that_its_endpoint_was_given() {
    let home = home();
    let prepared = home.ask_config("prepare", |config| {
        config["network"] = json!({ "mode": "nat" });
    });
    assert_eq!(prepared["ok"], true, "{prepared:#}");
    home.ok("start");
    let network = &record(&home)["network"];
    assert_eq!(
        network["interface"]["address"], "192.168.127.9",
        "{network:#}"
    );
    assert_eq!(network["engine"], "host compute network", "{network:#}");
    let cut = home.ok("quarantine");
    assert_eq!(cut["workspace"]["state"], "quarantined", "{cut:#}");
    home.ok("kill");
}

#[test]
fn a_disk_that_is_no_vhd_is_refused_before_anything_is_made() {
    let home = Supervised::new(supervisor());
    home.ok("prepare");
    let refused = home.ask("start");
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("VHD"), "{refused:#}");
    home.ok("delete");
}

#[test]
fn what_the_table_lacks_is_refused_by_name() {
    let home = home();
    home.ok("prepare");
    home.ok("start");
    for verb in ["console", "pause", "resume", "reconcile"] {
        assert_eq!(home.refused(verb), "unsupported", "{verb}");
    }
    home.ok("kill");
    let bridged = home.ask_config("prepare", |config| {
        config["network"] = json!({ "mode": "bridged" });
    });
    assert_eq!(bridged["error"]["kind"], "unsupported", "{bridged:#}");
}

#[test]
fn the_real_executable_says_on_another_system_that_the_host_is_wrong() {
    let home = Supervised::new(env!("CARGO_BIN_EXE_microagent-hyperv-supervisor"));
    let refused = home.ask("prepare");
    assert_eq!(refused["error"]["kind"], "unsupported", "{refused:#}");
    assert_eq!(home.workspaces(), 0);
}
