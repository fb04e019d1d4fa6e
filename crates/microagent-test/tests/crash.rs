//! Supervisor and monitor end at every point at which they make something durable, one after the other;
//! whatever they leave, the next command reads it, reconciles, and can go on. Needs a build with crash
//! points: `cargo nextest run -p microagent-test --features crash-points`.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test starts programs and looks at files from outside, and unwraps as tests do"
)]

use microagent_test::crash::numbered_passes;
use microagent_test::supervised::Supervised;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

const SUPERVISOR: &str = env!("CARGO_BIN_EXE_microagent-fake-supervisor");

/// Which process is ended.
#[derive(Clone, Copy)]
enum Who {
    Supervisor,
    Monitor,
}

impl Who {
    fn variables(self) -> (&'static str, &'static str) {
        match self {
            Self::Supervisor => ("MICROAGENT_TEST_CRASH_AT", "MICROAGENT_TEST_CRASH_LOG"),
            Self::Monitor => (
                "MICROAGENT_TEST_MONITOR_CRASH_AT",
                "MICROAGENT_TEST_MONITOR_CRASH_LOG",
            ),
        }
    }
}

fn points(log: &Path) -> Vec<String> {
    numbered_passes(&std::fs::read_to_string(log).unwrap_or_default())
}

/// Runs `before` unharmed, `crashed` with a process of it ended at each of its points, and then demands
/// that the workspace can be read, started, halted and deleted.
fn at_every_point(who: Who, before: &[&str], crashed: &[&str]) {
    let (at, log_variable) = who.variables();
    let home = Supervised::new(SUPERVISOR);
    for command in before {
        home.ok(command);
    }
    let log = home.path("log");
    let logged = [(log_variable, log.to_str().unwrap())];
    for command in crashed {
        home.ask_with(command, &logged);
    }
    let points = points(&log);
    assert!(points.len() >= 3, "no points: {points:?}");
    for point in points {
        let home = Supervised::new(SUPERVISOR);
        for command in before {
            home.ok(command);
        }
        for command in crashed {
            home.ask_with(command, &[(at, &point)]);
        }
        home.goes_on(&point);
    }
}

#[test]
fn a_prepare_that_is_cut_off_leaves_a_name_that_can_be_used() {
    at_every_point(Who::Supervisor, &[], &["prepare"]);
}

#[test]
fn a_start_whose_supervisor_is_cut_off_leaves_a_workspace_that_goes_on() {
    at_every_point(Who::Supervisor, &["prepare"], &["start"]);
}

#[test]
fn a_monitor_that_is_cut_off_anywhere_leaves_a_workspace_that_goes_on() {
    at_every_point(Who::Monitor, &["prepare"], &["start", "kill"]);
}

#[test]
fn a_monitor_that_is_cut_off_during_a_halt_leaves_a_workspace_that_goes_on() {
    at_every_point(Who::Monitor, &["prepare"], &["start", "halt"]);
}

#[test]
fn a_quarantine_that_is_cut_off_leaves_a_workspace_that_can_be_killed() {
    at_every_point(Who::Supervisor, &["prepare"], &["quarantine"]);
}

#[test]
fn a_delete_that_is_cut_off_is_finished_by_the_next_one() {
    at_every_point(Who::Supervisor, &["prepare"], &["delete"]);
}

/// Ended between any two steps, a quarantine is more severed than it was, never less: the VM is gone with
/// its monitor, nothing listens, nothing starts, and the mark stays.
#[test]
fn a_monitor_that_is_cut_off_during_a_quarantine_leaves_nothing_open() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let service = target.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        while let Ok((stream, _)) = target.accept() {
            held.push(stream);
        }
    });
    let (at, log_variable) = Who::Monitor.variables();
    let begin = |variable: Option<(&str, &str)>| {
        let home = Supervised::new(SUPERVISOR).with_doors(service);
        home.ok("prepare");
        let started = home.ask_with("start", variable.as_slice()).unwrap();
        let published = &started["workspace"]["network"]["publish"][0]["hostPort"];
        let port = u16::try_from(published.as_u64().unwrap()).unwrap();
        let guest = home.path("state/workspaces/scout/run/vsock.sock_2048");
        let client = TcpStream::connect(("127.0.0.1", port)).ok()?;
        let dialled = UnixStream::connect(&guest).ok()?;
        Some((home, port, guest, (client, dialled)))
    };
    begin(None).expect("both doors are open");
    // A first pass tells the points; those of the start come first and are another test's.
    let home = Supervised::new(SUPERVISOR).with_doors(service);
    home.ok("prepare");
    let log = home.path("log");
    home.ask_with("start", &[(log_variable, log.to_str().unwrap())]);
    let of_the_start = points(&log).len();
    home.ok("quarantine");
    let points = points(&log).split_off(of_the_start);
    drop(home);
    let steps = points
        .iter()
        .filter(|point| point.starts_with("monitor.quarantine_step"));
    assert_eq!(steps.count(), 4, "{points:?}");
    for point in points {
        let Some((home, port, guest, connections)) = begin(Some((at, &point))) else {
            // How often records are written before the quarantine is a matter of timing, so one of those
            // points can come before its turn. The steps can't.
            assert!(!point.starts_with("monitor.quarantine_step"), "{point}");
            continue;
        };
        let pid = home.ok("inspect")["workspace"]["vm"]["pid"].clone();
        home.ask("quarantine");
        let inspected = home.ok("inspect")["workspace"].clone();
        let history = home.path("state/workspaces/scout/events.jsonl");
        let history = std::fs::read_to_string(history).unwrap();
        if !history.contains("\"quarantine_requested\"") {
            // As above, but after the doors were opened: the monitor was gone before the quarantine came.
            assert!(!point.starts_with("monitor.quarantine_step"), "{point}");
            assert_ne!(inspected["vm"]["alive"], true, "{point}: {inspected:#}");
            continue;
        }
        assert_eq!(
            inspected["quarantine"]["active"], true,
            "{point}: {inspected:#}"
        );
        if inspected["vm"]["alive"] == true {
            // As above, the other way round: there were fewer records, and the quarantine went to its end.
            assert!(!point.starts_with("monitor.quarantine_step"), "{point}");
        } else {
            let process = format!("/proc/{pid}/stat");
            let stat = std::fs::read_to_string(process);
            let is_gone = stat.map_or(true, |stat| stat.contains(") Z"));
            assert!(is_gone, "{point}: the VM lives");
        }
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "{point}");
        assert!(UnixStream::connect(&guest).is_err(), "{point}");
        let (mut client, mut dialled) = connections;
        for read in [client.read(&mut [0; 1]), dialled.read(&mut [0; 1])] {
            assert!(matches!(read, Ok(0) | Err(_)), "{point}: still open");
        }
        let refused = home.ask("start");
        assert_eq!(
            refused["error"]["kind"], "wrong_state",
            "{point}: {refused:#}"
        );
        home.ok("kill");
        let released = home.ok("start");
        assert_eq!(released["workspace"]["state"], "running", "{point}");
        assert_eq!(
            released["workspace"]["quarantine"]["active"], false,
            "{point}"
        );
    }
}
