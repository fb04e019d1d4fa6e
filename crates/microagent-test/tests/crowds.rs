//! Very many short connections over the mediation channel and over a published port: each is carried or
//! refused, all are told of, one by one or as a sum, and the monitor is no larger for it.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test starts programs and looks at files from outside, and unwraps as tests do"
)]

use microagent_test::supervised::Supervised;
use serde_json::Value;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const SUPERVISOR: &str = env!("CARGO_BIN_EXE_microagent-fake-supervisor");
const DIALS: u64 = 10_000;
const KNOCKS: u64 = 2_000;
/// What a monitor may have gained when all of them are gone, in KiB.
const GROWTH_KIB_MAX: u64 = 32 * 1024;
const LIMIT: Duration = Duration::from_mins(1);

/// A service that takes everybody and closes at once.
fn brief_service() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || for _ in listener.incoming() {});
    port
}

fn running() -> (Supervised, Value) {
    let home = Supervised::new(SUPERVISOR).with_doors(brief_service());
    home.ok("prepare");
    let started = home.ok("start")["workspace"].clone();
    (home, started)
}

fn history(home: &Supervised) -> Vec<Value> {
    let text = std::fs::read_to_string(home.workspace().join("events.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn of_type(history: &[Value], kind: &str) -> u64 {
    history.iter().filter(|event| event["type"] == kind).count() as u64
}

fn sum(history: &[Value], kind: &str, field: &str) -> u64 {
    let events = history.iter().filter(|event| event["type"] == kind);
    events
        .map(|event| event["data"][field].as_u64().unwrap())
        .sum()
}

fn until(mut is_so: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < LIMIT {
        if is_so() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

fn resident_kib(workspace: &Value) -> u64 {
    let pid = &workspace["vm"]["monitorPid"];
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let words = line.unwrap().split_whitespace().nth(1);
    words.unwrap().parse().unwrap()
}

#[test]
fn ten_thousand_dials_of_a_guest_are_carried_or_refused_and_all_are_told() {
    let (home, started) = running();
    let port = home.workspace().join("run/vsock.sock_2048");
    let before = resident_kib(&started);
    for _ in 0..DIALS {
        // A full queue is asked again, as the device does.
        let mut guest = loop {
            if let Ok(guest) = UnixStream::connect(&port) {
                break guest;
            }
        };
        // Either way it ends at once.
        assert!(matches!(guest.read(&mut [0; 1]), Ok(0) | Err(_)));
    }
    let mediation = || home.ok("inspect")["workspace"]["mediation"].clone();
    let settled = until(|| {
        let seen = mediation();
        let count = |field: &str| seen[field].as_u64().unwrap();
        count("totalConnections") + count("refusedConnections") == DIALS
            && count("openConnections") == 0
    });
    let seen = mediation();
    assert!(settled, "{seen}");
    assert!(resident_kib(&started) < before + GROWTH_KIB_MAX);
    home.ok("halt");
    let history = history(&home);
    let carried = seen["totalConnections"].as_u64().unwrap();
    assert!(carried >= 200, "a burst is let through: {seen}");
    assert_eq!(of_type(&history, "mediation_opened"), carried);
    assert_eq!(of_type(&history, "mediation_closed"), carried);
    let refused = of_type(&history, "mediation_refused");
    assert_eq!(
        refused + sum(&history, "mediation_counted", "refused"),
        DIALS - carried
    );
    home.assert_sound(&started["id"], "ten thousand dials");
}

#[test]
fn a_crowd_that_knocks_at_a_published_port_is_counted_and_not_written_down_one_by_one() {
    let (home, started) = running();
    let published = &started["network"]["publish"][0]["hostPort"];
    let port = u16::try_from(published.as_u64().unwrap()).unwrap();
    let before = resident_kib(&started);
    for _ in 0..KNOCKS {
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert!(matches!(client.read(&mut [0; 1]), Ok(0) | Err(_)));
    }
    let publish = || home.ok("inspect")["workspace"]["network"]["publish"][0].clone();
    assert!(until(|| publish()["openConnections"] == 0), "{}", publish());
    assert_eq!(publish()["totalConnections"], KNOCKS);
    assert!(resident_kib(&started) < before + GROWTH_KIB_MAX);
    home.ok("halt");
    let history = history(&home);
    let written = of_type(&history, "published_closed");
    assert_eq!(of_type(&history, "published_opened"), written);
    assert!(written < KNOCKS, "{written}");
    assert_eq!(
        written + sum(&history, "published_counted", "connections"),
        KNOCKS
    );
    home.assert_sound(&started["id"], "a crowd");
}
