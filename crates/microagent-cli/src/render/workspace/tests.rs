//! The object and the page of one workspace, from what a supervisor answers.

use super::{document, text};
use microagent_types::Timestamp;
use microagent_wire::supervisor::response::Workspace;
use serde_json::{Value, json};

/// A running workspace with everything.
pub(in crate::render) fn answered() -> Value {
    json!({
        "name": "web", "id": "0195f2d0-7c1a-7a3b-8a54-1c2d3e4f5a6b", "backend": "qemu", "arch": "amd64",
        "createdAt": "2026-03-01T08:00:00.000Z", "createdBy": "0.1.0", "ephemeral": false,
        "profile": "small", "labels": {"team": "web"},
        "image": {"reference": "docker.io/library/nginx:1.27", "digest": format!("sha256:{}", "4f".repeat(32))},
        "hostname": "web", "state": "running", "reason": "ready",
        "stateSince": "2026-03-04T09:12:44.000Z", "stale": false,
        "observedAt": "2026-03-04T12:24:45.000Z", "accelerator": "emulation",
        "resources": {"memoryBytes": 536_870_912, "cpus": 1, "diskBytes": 2_147_483_648_u64},
        "kernel": {"path": "/k/Image", "sha256": "00".repeat(32), "custom": false},
        "rootDisk": {"path": "/s/rootfs.ext4", "format": "raw", "sizeBytes": 2_147_483_648_u64,
            "allocatedBytes": 189_792_256, "clone": "reflink"},
        "disks": [], "workload": {"idle": false, "argv": ["nginx", "-g", "daemon\u{1b}[2J off;"]},
        "envNames": ["MODE"],
        "network": {"mode": "nat", "address": "10.0.2.15", "severed": false, "publish": [
            {"host": "127.0.0.1", "hostPort": 8080, "guestPort": 80, "protocol": "tcp",
             "listening": true, "openConnections": 2, "totalConnections": 118}]},
        "mediation": {"port": 2048, "target": "127.0.0.1:9900", "required": true, "ready": false,
            "error": "connection refused", "openConnections": 0, "totalConnections": 31,
            "refusedConnections": 4, "bytesIn": 1, "bytesOut": 2},
        "readiness": {"guestReady": true, "execReady": true, "mediationReady": false},
        "vm": {"pid": 4711, "monitorPid": 4710, "startedAt": "2026-03-04T09:12:43.000Z",
            "bootId": "0195f2d0-7c1a-7a3b-8a54-1c2d3e4f5a6c", "bootCount": 3, "readyMs": 187,
            "alive": true},
        "confinement": {"active": true, "required": false, "parts": ["no_new_privs", "user_ns"]},
        "lastEvent": {"seq": 41, "time": "2026-03-04T09:12:44.000Z", "type": "guest_ready",
            "state": "running", "reason": "ready"},
        "paths": {"workspace": "/s/web", "serialLog": "/s/web/serial.log",
            "events": "/s/web/events.jsonl", "run": "/s/web/run"}
    })
}

/// As the library gives it.
pub(in crate::render) fn workspace(answered: Value) -> Workspace {
    serde_json::from_value(answered).unwrap()
}

#[test]
fn the_page_tells_each_fact_in_a_line() {
    let now: Timestamp = "2026-03-04T12:24:45.000Z".parse().unwrap();
    insta::assert_snapshot!(text(&workspace(answered()), now));
}

#[test]
fn the_document_has_exactly_the_promised_fields() {
    insta::assert_snapshot!(format!("{:#}", document(&workspace(answered()))));
}

#[test]
fn what_does_not_apply_is_null_and_not_missing() {
    let mut halted = answered();
    for gone in [
        "vm",
        "mediation",
        "confinement",
        "lastEvent",
        "profile",
        "accelerator",
    ] {
        halted.as_object_mut().unwrap().remove(gone);
    }
    let (full, halted) = (
        document(&workspace(answered())),
        document(&workspace(halted)),
    );
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(&full), keys(&halted));
    assert!(halted["vm"].is_null() && halted["guest"].is_null() && halted["exit"].is_null());
    assert!(halted["profile"].is_null());
}
