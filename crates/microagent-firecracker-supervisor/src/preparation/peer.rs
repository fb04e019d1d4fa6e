//! A Firecracker that goes wrong at each call of its API in turn: dying and talking nonsense.
//!
//! The program is one that sleeps; the API is a thread of the test, which ends the program when a real
//! one would have died.
#![allow(
    clippy::disallowed_methods,
    reason = "the other side of the socket is a plain thread"
)]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::thread::JoinHandle;

use super::tests::{Host, children, in_loop};
use super::*;
use crate::sample::spec;
use microagent_supervisor::backend::VmEvent;

const VERSION: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n{\"firecracker_version\":\"1.15.1\"}";
const DONE: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
/// Says who it is to whoever wants to know, and sleeps.
const SLEEPER: &str = "echo $$ > pid; exec sleep 600";

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Death,
    Garbage,
}

/// Answers as Firecracker does, until so many calls were answered; at the next it goes wrong.
fn peer(host: &Host, answered: usize, wrong: Wrong) -> JoinHandle<()> {
    let folder = host.run_folder();
    fs::create_fifo(&folder.join("pid")).unwrap();
    let listener = UnixListener::bind(folder.join(API_SOCKET)).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for number in 0..answered {
            if request(&mut stream).is_none() {
                return;
            }
            let answer = if number == 0 { VERSION } else { DONE };
            stream.write_all(answer).unwrap();
        }
        request(&mut stream);
        match wrong {
            Wrong::Garbage => stream.write_all(b"\x16\x03\x01 no http\r\n\r\n").unwrap(),
            Wrong::Death => kill(&folder),
        }
    })
}

/// One request; none at the end.
fn request(stream: &mut UnixStream) -> Option<()> {
    let mut heard = Vec::new();
    let mut byte = [0u8; 1];
    while !heard.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        heard.push(byte[0]);
    }
    let head = String::from_utf8(heard).unwrap().to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.parse().unwrap());
    stream.read_exact(&mut vec![0; length]).ok()
}

fn kill(folder: &Path) {
    let pid = std::fs::read_to_string(folder.join("pid")).unwrap();
    let status = Command::new("kill").args(["-9", pid.trim()]).status();
    assert!(status.unwrap().success());
}

/// How many calls there are before the guest runs.
fn calls() -> usize {
    1 + config::calls(&spec(), "1.15.1".parse().unwrap()).len()
}

#[test]
fn one_that_dies_during_any_call_is_a_failure_and_leaves_nothing() {
    for answered in 0..calls() {
        in_loop(async {
            let host = Host::new().firecracker(SLEEPER);
            let peer = peer(&host, answered, Wrong::Death);
            let error = host.failure().await;
            assert_eq!(error.kind, BackendErrorKind::Failed, "{answered}: {error}");
            assert!(children().is_empty(), "nothing stays behind");
            peer.join().unwrap();
        });
    }
}

#[test]
fn garbage_for_an_answer_is_a_failure_at_any_call_and_the_vmm_is_ended() {
    for answered in 0..calls() {
        in_loop(async {
            let host = Host::new().firecracker(SLEEPER);
            let peer = peer(&host, answered, Wrong::Garbage);
            let error = host.failure().await;
            assert_eq!(error.kind, BackendErrorKind::Failed, "{answered}: {error}");
            assert!(children().is_empty(), "nothing stays behind");
            peer.join().unwrap();
        });
    }
}

#[test]
fn one_that_dies_when_the_guest_is_to_run_fails_the_call_and_is_reported() {
    in_loop(async {
        let host = Host::new().firecracker(SLEEPER);
        let peer = peer(&host, calls(), Wrong::Death);
        let mut preparation = host.preparation();
        preparation.confine().await.unwrap();
        let Ok(mut launched) = preparation.launch().await else {
            panic!("it was not launched");
        };
        let error = launched.vm.run().await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Failed, "{error}");
        let event = launched.events.recv().await.unwrap();
        assert!(
            matches!(&event, VmEvent::Ended(exit) if exit.signal == Some(9)),
            "{event:?}"
        );
        launched.vm.wind_up().await;
        peer.join().unwrap();
    });
}
