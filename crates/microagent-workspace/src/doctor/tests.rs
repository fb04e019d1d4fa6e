//! What each finding comes to: the hosts are made up, good beside bad.

use super::{CheckStatus, judge};
use microagent_wire::supervisor::response::HostReport;
use serde_json::{Value, json};

fn report(changes: Value) -> HostReport {
    let mut report = json!({
        "os": "linux", "osVersion": "6.8", "arch": "amd64", "cpus": 4, "memoryBytes": 8_589_934_592_u64,
        "backends": [{ "name": "qemu", "available": true }],
        "kvm": { "present": true, "openable": true, "cpuFlag": true, "usable": true },
        "accelerator": "kvm", "programs": [],
        "confinement": { "required": false, "parts": [{ "name": "user_ns", "active": true }] },
        "networkModes": [{ "mode": "nat", "available": true }],
        "limits": { "cpus": 32, "disks": 8, "memoryBytes": 8_589_934_592_u64 },
    });
    let fields = report.as_object_mut().unwrap();
    fields.extend(changes.as_object().unwrap().clone());
    serde_json::from_value(report).unwrap()
}

#[test]
fn users_without_namespaces_are_told_the_switch_that_gives_them() {
    let sound = judge::confinement(&report(json!({})), Some("never shown"));
    assert_eq!((sound.status, sound.fix), (CheckStatus::Ok, None));
    let parts = json!([
        { "name": "user_ns", "active": false, "reason": "not allowed" },
        { "name": "seccomp", "active": true },
    ]);
    let restricted = report(json!({ "confinement": { "required": false, "parts": parts } }));
    let apparmor = "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0";
    let check = judge::confinement(&restricted, Some(apparmor));
    assert_eq!((check.status, check.required), (CheckStatus::Warn, false));
    assert_eq!(
        check.message,
        "1 of 2 measures; missing: user_ns (not allowed)"
    );
    assert_eq!(check.fix.as_deref(), Some(apparmor));
    let required = report(json!({ "confinement": { "required": true, "parts": parts } }));
    let check = judge::confinement(&required, Some(apparmor));
    assert_eq!((check.status, check.required), (CheckStatus::Fail, true));
    let parts = json!([{ "name": "landlock", "active": false }]);
    let other = report(json!({ "confinement": { "required": false, "parts": parts } }));
    let check = judge::confinement(&other, Some(apparmor));
    assert_eq!(check.fix.as_deref(), Some("microagent host --json"));
}

#[test]
fn emulation_is_named_with_what_is_missing() {
    let kvm = |changes: Value| {
        let mut kvm =
            json!({ "present": true, "openable": true, "cpuFlag": true, "usable": false });
        kvm.as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        judge::accelerator(&report(json!({ "accelerator": "emulation", "kvm": kvm })))
    };
    let closed = kvm(json!({ "openable": false }));
    assert_eq!(
        closed.message,
        "emulation (slow): /dev/kvm may not be opened"
    );
    assert!(closed.fix.unwrap().starts_with("sudo usermod -aG kvm"));
    let module = "sudo modprobe kvm_intel || sudo modprobe kvm_amd";
    let absent = kvm(json!({ "present": false, "openable": false }));
    assert_eq!(absent.fix.as_deref(), Some(module));
    let off = kvm(json!({ "override": "off" }));
    assert_eq!(off.fix.as_deref(), Some("unset MICROAGENT_KVM"));
    assert!(
        kvm(json!({ "cpuFlag": false }))
            .message
            .contains("neither vmx nor svm")
    );
    assert_eq!(
        judge::accelerator(&report(json!({}))).status,
        CheckStatus::Ok
    );
}

#[test]
fn every_check_says_what_it_means() {
    for id in [
        "host",
        "backend",
        "accelerator",
        "guest_init",
        "vsock",
        "kernel",
        "confinement",
    ] {
        assert!(!judge::meaning(id).is_empty());
    }
}
