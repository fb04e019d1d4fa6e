//! Which workspaces are shown, and how.

use super::{Shown, document, fits, text};
use crate::args::FilterArgs;
use microagent_types::{ByteSize, Timestamp, VcpuCount};
use microagent_wire::fault::{Fault, FaultKind};
use microagent_workspace::list::{Known, Summary};
use std::collections::BTreeMap;

fn summary(name: &str, state: &str, alive: bool) -> Summary {
    let known = Known {
        id: "0195f2d0-7c1a-7a3b-8a54-1c2d3e4f5a6b".parse().unwrap(),
        state: state.to_owned(),
        reason: "ready".to_owned(),
        state_since: Timestamp::from_unix_ms(0),
        stale: false,
        alive,
        backend: "qemu".parse().unwrap(),
        accelerator: None,
        image: Some("docker.io/library/nginx:1.27".to_owned()),
        profile: Some("small".to_owned()),
        memory: ByteSize::from_mib(512),
        cpus: VcpuCount::new(1).unwrap(),
        disk: ByteSize::from_mib(2048),
        network_mode: "nat".to_owned(),
        publish: vec!["8080:80".parse().unwrap()],
        open_connections: 0,
        traffic: None,
        labels: BTreeMap::from([("team".parse().unwrap(), "web".to_owned())]),
        quarantined: false,
        exit_code: None,
        created_at: Timestamp::from_unix_ms(0),
        ephemeral: false,
    };
    Summary {
        name: name.parse().unwrap(),
        known: Ok(Box::new(known)),
    }
}

fn unreadable(name: &str) -> Summary {
    Summary {
        name: name.parse().unwrap(),
        known: Err(Fault::new(FaultKind::Integrity, "its record is damaged")),
    }
}

fn filter(states: &[&str], labels: &[&str]) -> FilterArgs {
    let owned = |words: &[&str]| words.iter().map(ToString::to_string).collect();
    FilterArgs {
        states: owned(states),
        labels: owned(labels),
    }
}

#[test]
fn states_are_alternatives_and_labels_all_must_fit() {
    let web = summary("web", "running", true);
    let shown = |states: &[&str], labels: &[&str]| fits(&web, &filter(states, labels), Shown::All);
    assert!(shown(&[], &[]));
    assert!(shown(&["halted", "running"], &["team=web", "team"]));
    assert!(!shown(&["halted"], &[]));
    assert!(!shown(&[], &["team=web", "team=db"]));
    assert!(!shown(&[], &["teams"]));
}

#[test]
fn ps_shows_the_living_and_a_damaged_record_is_shown_where_nothing_is_asked() {
    let everything = filter(&[], &[]);
    assert!(!fits(
        &summary("a", "halted", false),
        &everything,
        Shown::Alive
    ));
    assert!(fits(
        &summary("a", "paused", true),
        &everything,
        Shown::Alive
    ));
    assert!(fits(&unreadable("a"), &everything, Shown::All));
    assert!(!fits(&unreadable("a"), &everything, Shown::Alive));
    assert!(!fits(
        &unreadable("a"),
        &filter(&["running"], &[]),
        Shown::All
    ));
}

#[test]
fn a_row_for_each_and_a_header_over_none() {
    let (web, lost) = (summary("web", "running", true), unreadable("lost"));
    let now = Timestamp::from_unix_ms(3 * 3_600_000);
    insta::assert_snapshot!(text(&[&lost, &web], now, None), @r"
    NAME  STATE    BACKEND  IMAGE       CPUS  MEMORY   PORTS               AGE
    lost  ?        -        -              -  -        -                   -
    web   running  qemu     nginx:1.27     1  512 MiB  127.0.0.1:8080->80  3 h
    ");
    assert_eq!(text(&[], now, None).lines().count(), 1);
}

#[test]
fn a_record_that_cannot_be_read_is_null_but_for_name_and_error() {
    let full = document(&summary("web", "running", true));
    let lost = document(&unreadable("lost"));
    let keys = |value: &serde_json::Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(&full), keys(&lost));
    assert_eq!(lost["error"]["kind"], "integrity");
    assert!(lost["state"].is_null() && full["error"].is_null());
    assert_eq!(full["publish"][0]["hostPort"], 8080);
}
