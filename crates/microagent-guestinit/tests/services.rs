//! The services of a guest in an ordinary process, over a socket pair.
#![cfg(target_os = "linux")]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test, which plays the host and looks at real processes"
)]

use microagent_guestinit::context::Context;
use microagent_guestinit::session::serve;
use microagent_wire::fault::FaultKind;
use microagent_wire::frame::{Frame, FrameKind, Sender, read_frame, write_frame};
use microagent_wire::guest::service::{ServiceAnswer, SessionExit, SessionOutput};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

/// A guest for one test.
struct Guest(Arc<Context>);

/// The host's end of one session.
struct Host(UnixStream);

impl Guest {
    fn new() -> Self {
        Self(Arc::new(Context::unprivileged("box")))
    }

    fn dial(&self) -> Host {
        let (host, guest) = UnixStream::pair().unwrap();
        host.set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let context = Arc::clone(&self.0);
        std::thread::spawn(move || serve(guest, &context));
        Host(host)
    }

    fn ask(&self, request: serde_json::Value) -> Host {
        let mut host = self.dial();
        host.control(request);
        host
    }

    fn exec(&self, mut request: serde_json::Value) -> Host {
        request["generation"] = json!(1);
        request["service"] = json!("exec");
        self.ask(request)
    }
}

/// Everything that a command said, and how it ended.
#[derive(Debug)]
struct Outcome {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// Of stdin, as told.
    taken: u64,
    exit: SessionExit,
}

impl Host {
    fn control(&mut self, message: serde_json::Value) {
        self.send(&Frame::control(&message));
    }

    fn send(&mut self, frame: &Frame) {
        write_frame(&mut self.0, frame).unwrap();
    }

    fn frame(&mut self) -> Frame {
        read_frame(&mut self.0, Sender::Guest)
            .unwrap()
            .expect("a frame")
    }

    fn answer(&mut self) -> ServiceAnswer {
        serde_json::from_slice(&self.frame().payload).unwrap()
    }

    fn output(&mut self) -> SessionOutput {
        serde_json::from_slice(&self.frame().payload).unwrap()
    }

    fn started(&mut self) -> u32 {
        assert!(self.answer().ok);
        match self.output() {
            SessionOutput::Started { pid } => pid,
            other => panic!("{other:?}"),
        }
    }

    fn until_exit(mut self) -> Outcome {
        let (mut stdout, mut stderr, mut taken) = (Vec::new(), Vec::new(), 0);
        loop {
            let frame = self.frame();
            match frame.kind {
                FrameKind::Stdout => stdout.extend(frame.payload),
                FrameKind::Stderr => stderr.extend(frame.payload),
                FrameKind::Control => match serde_json::from_slice(&frame.payload).unwrap() {
                    SessionOutput::Exit(exit) => {
                        return Outcome {
                            stdout,
                            stderr,
                            taken,
                            exit,
                        };
                    }
                    SessionOutput::StdinTaken { bytes } => taken = taken.max(bytes),
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            }
        }
    }

    fn outcome(mut self) -> Outcome {
        self.started();
        self.until_exit()
    }
}

fn sh(script: &str) -> serde_json::Value {
    json!({"argv": ["/bin/sh", "-c", script]})
}

#[test]
fn both_streams_and_the_code_come_apart() {
    let outcome = Guest::new()
        .exec(sh("echo out; echo err >&2; exit 3"))
        .outcome();
    assert_eq!(outcome.stdout, b"out\n");
    assert_eq!(outcome.stderr, b"err\n");
    assert_eq!(outcome.exit.code, Some(3));
    assert_eq!(outcome.exit.signal, None);
    assert_eq!(
        (outcome.exit.stdout_bytes, outcome.exit.stderr_bytes),
        (4, 4)
    );
    assert!(!outcome.exit.incomplete && !outcome.exit.truncated && !outcome.exit.timed_out);
}

#[test]
fn stdin_reaches_the_command_and_ends_with_an_empty_frame() {
    let mut host = Guest::new().exec(json!({"argv": ["tr", "a-z", "A-Z"], "stdin": true}));
    host.started();
    host.send(&Frame::new(FrameKind::Stdin, b"hel".to_vec()));
    host.send(&Frame::new(FrameKind::Stdin, b"lo".to_vec()));
    host.send(&Frame::end_of(FrameKind::Stdin));
    let outcome = host.until_exit();
    assert_eq!(outcome.stdout, b"HELLO");
    assert_eq!(outcome.exit.code, Some(0));
}

#[test]
fn without_stdin_a_command_reads_end_of_file() {
    let outcome = Guest::new().exec(json!({"argv": ["cat"]})).outcome();
    assert_eq!(outcome.exit.code, Some(0));
}

#[test]
fn more_than_every_buffer_goes_through_both_ways() {
    let mut host = Guest::new().exec(json!({"argv": ["cat"], "stdin": true}));
    host.started();
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let mut writer = Host(host.0.try_clone().unwrap());
    let pieces = sent.clone();
    let writing = std::thread::spawn(move || {
        for piece in pieces.chunks(60_000) {
            writer.send(&Frame::new(FrameKind::Stdin, piece.to_vec()));
        }
        writer.send(&Frame::end_of(FrameKind::Stdin));
    });
    let outcome = host.until_exit();
    writing.join().unwrap();
    assert!(outcome.stdout == sent);
    assert_eq!(outcome.exit.stdout_bytes, 3_000_000);
    assert!(
        outcome.taken > 2_860_000,
        "{} bytes are told",
        outcome.taken
    );
}

#[test]
fn what_can_not_start_says_why() {
    let errno = |request: serde_json::Value| {
        let mut host = Guest::new().exec(request);
        assert!(host.answer().ok);
        host.until_exit()
            .exit
            .not_started
            .expect("it did not start")
            .errno
    };
    assert_eq!(errno(json!({"argv": ["no-such-program"]})), libc::ENOENT);
    assert_eq!(errno(json!({"argv": ["/nowhere/at-all"]})), libc::ENOENT);
    assert_eq!(errno(json!({"argv": ["/etc/passwd"]})), libc::EACCES);
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("text");
    std::fs::write(&program, "no program\n").unwrap();
    std::fs::set_permissions(
        &program,
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    assert_eq!(errno(json!({"argv": [program]})), libc::ENOEXEC);
}

#[test]
fn the_environment_and_the_folder_are_the_request_s() {
    let request = json!({
        "argv": ["sh", "-c", "echo $A; pwd; echo $HOSTNAME; echo ${TERM-none}"],
        "env": {"A": "x y"}, "cwd": "/usr",
    });
    let outcome = Guest::new().exec(request).outcome();
    assert_eq!(outcome.stdout, b"x y\n/usr\nbox\nnone\n");
}

#[test]
fn a_folder_or_user_that_is_missing_is_not_found() {
    for request in [
        json!({"argv": ["true"], "cwd": "/no/such/folder"}),
        json!({"argv": ["true"], "cwd": "/etc/passwd"}),
        json!({"argv": ["true"], "user": "no-such-user"}),
    ] {
        let answer = Guest::new().exec(request).answer();
        assert_eq!(answer.kind, Some(FaultKind::NotFound), "{answer:?}");
    }
}

#[test]
fn an_empty_or_endless_command_is_refused() {
    let answer = Guest::new().exec(json!({"argv": []})).answer();
    assert_eq!(answer.kind, Some(FaultKind::Usage));
    let answer = Guest::new().exec(json!({"argv": vec!["x"; 4097]})).answer();
    assert_eq!(answer.kind, Some(FaultKind::Usage));
    assert!(
        Guest::new()
            .exec(json!({"argv": vec!["true"; 4096]}))
            .answer()
            .ok
    );
}

#[test]
fn a_command_that_takes_too_long_is_ended_with_its_group() {
    let mut request = sh("sleep 60 & echo $!; wait");
    request["timeoutMs"] = json!(100);
    let outcome = Guest::new().exec(request).outcome();
    assert!(outcome.exit.timed_out);
    let child: i32 = std::str::from_utf8(&outcome.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(is_gone(child));
}

#[test]
fn a_command_that_ignores_term_is_killed_after_the_grace() {
    let mut request = sh("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    request["timeoutMs"] = json!(300);
    request["killGraceMs"] = json!(100);
    let outcome = Guest::new().exec(request).outcome();
    assert!(outcome.exit.timed_out);
    assert_eq!(outcome.exit.signal.unwrap().number(), 9);
}

#[test]
fn a_signal_reaches_the_group_while_output_is_stuck() {
    let mut host = Guest::new().exec(sh("trap 'exit 42' INT; while :; do printf %01000d 1; done"));
    host.started();
    // Nothing is read until the guest's buffers are full.
    std::thread::sleep(Duration::from_millis(200));
    host.control(json!({"type": "signal", "name": "SIGINT"}));
    assert_eq!(host.until_exit().exit.code, Some(42));
}

#[test]
fn output_beyond_its_limit_is_counted_and_dropped() {
    let mut request = sh("head -c 500000 /dev/zero; printf err >&2");
    request["outputLimitBytes"] = json!(1000);
    let outcome = Guest::new().exec(request).outcome();
    assert_eq!(outcome.stdout.len(), 1000);
    assert_eq!(outcome.exit.stdout_bytes, 500_000);
    assert_eq!(outcome.stderr, b"err");
    assert!(outcome.exit.truncated);
    let mut request = sh("printf %01000d 1");
    request["outputLimitBytes"] = json!(1000);
    assert!(!Guest::new().exec(request).outcome().exit.truncated);
}

#[test]
fn what_a_daemon_holds_open_is_reported_and_not_awaited() {
    let outcome = Guest::new().exec(sh("sleep 3 & echo done")).outcome();
    assert_eq!(outcome.stdout, b"done\n");
    assert_eq!(outcome.exit.code, Some(0));
    assert!(outcome.exit.incomplete);
}

#[test]
fn output_of_a_command_that_has_ended_waits_for_a_slow_host() {
    let mut host = Guest::new().exec(sh("head -c 600000 /dev/zero"));
    host.started();
    // Longer than the drain of an ended command: it must not cut what was written.
    std::thread::sleep(Duration::from_millis(1500));
    let outcome = host.until_exit();
    assert_eq!(outcome.stdout.len(), 600_000);
    assert!(!outcome.exit.incomplete);
}

#[test]
fn a_host_that_goes_takes_the_command_with_it() {
    let mut host = Guest::new().exec(sh("echo $$; trap 'sleep 0.1; exit' HUP; sleep 60 & wait"));
    let pid = i32::try_from(host.started()).unwrap();
    host.frame();
    drop(host);
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while !is_gone(pid) {
        assert!(std::time::Instant::now() < deadline, "it lives on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn close_is_a_hang_up_with_an_exit() {
    let mut host = Guest::new().exec(sh("echo up; exec sleep 60"));
    host.started();
    host.frame();
    host.control(json!({"type": "close"}));
    assert_eq!(host.until_exit().exit.signal.unwrap().number(), 1);
}

#[test]
fn a_terminal_has_its_size_and_changes_it() {
    let mut host = Guest::new().exec(json!({
        "argv": ["sh", "-c", "trap 'stty size; exit 7' WINCH; stty size; echo $TERM; while :; do sleep 0.05; done"],
        "tty": {"rows": 30, "cols": 100, "term": "vt100"}, "stdin": true,
    }));
    host.started();
    let mut seen = Vec::new();
    while !seen.ends_with(b"vt100\r\n") {
        seen.extend(host.frame().payload);
    }
    assert_eq!(seen, b"30 100\r\nvt100\r\n");
    host.control(json!({"type": "resize", "rows": 41, "cols": 99}));
    let outcome = host.until_exit();
    assert_eq!(outcome.stdout, b"41 99\r\n");
    assert_eq!(outcome.exit.code, Some(7));
}

#[test]
fn the_end_of_input_ends_a_shell() {
    let mut host =
        Guest::new().ask(json!({"generation": 1, "service": "shell", "shell": "/bin/sh"}));
    host.started();
    host.send(&Frame::new(
        FrameKind::Stdin,
        b"echo $((6*7)); stty size\n".to_vec(),
    ));
    host.send(&Frame::end_of(FrameKind::Stdin));
    let outcome = host.until_exit();
    let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
    assert!(
        text.contains("42\r\n") && text.contains("24 80"),
        "{text:?}"
    );
    assert_eq!(outcome.exit.code, Some(0));
}

#[test]
fn a_shell_that_is_missing_is_not_found() {
    let mut host =
        Guest::new().ask(json!({"generation": 1, "service": "shell", "shell": "/no/shell"}));
    assert_eq!(host.answer().kind, Some(FaultKind::NotFound));
}

#[test]
fn ping_and_sync_answer() {
    let mut host = Guest::new().ask(json!({"generation": 1, "service": "ping", "nonce": "7f"}));
    assert!(host.answer().ok);
    assert!(matches!(host.output(), SessionOutput::Pong { nonce, .. } if nonce == "7f"));
    let mut host = Guest::new().ask(json!({"generation": 1, "service": "sync"}));
    assert!(host.answer().ok);
    assert!(matches!(host.output(), SessionOutput::Done(done) if done.duration_ms.is_some()));
}

#[test]
fn a_test_guest_does_not_set_the_clock_of_its_host() {
    let mut host = Guest::new().ask(json!({"generation": 1, "service": "clock", "timeUnixUs": 1}));
    assert_eq!(host.answer().kind, Some(FaultKind::Denied));
}

#[test]
fn a_port_of_the_guest_is_forwarded_with_both_ends_of_file() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        stream.write_all(b"after the end").unwrap();
        received
    });
    let mut host = Guest::new().ask(json!({"generation": 1, "service": "forward", "port": port}));
    assert!(host.answer().ok);
    let sent = vec![9_u8; 60_000];
    for _ in 0..10 {
        host.send(&Frame::new(FrameKind::Data, sent.clone()));
    }
    host.send(&Frame::end_of(FrameKind::Data));
    let mut received = Vec::new();
    let mut taken = 0;
    loop {
        let frame = host.frame();
        if frame.kind == FrameKind::Control {
            match serde_json::from_slice(&frame.payload).unwrap() {
                SessionOutput::Taken { bytes } => taken = taken.max(bytes),
                other => panic!("{other:?}"),
            }
            continue;
        }
        assert_eq!(frame.kind, FrameKind::Data);
        if frame.payload.is_empty() {
            break;
        }
        received.extend(frame.payload);
    }
    assert_eq!(received, b"after the end");
    // Whoever keeps to the window is never left waiting with all of it.
    assert!((600_000 - 131_072..=600_000).contains(&taken), "{taken}");
    assert_eq!(server.join().unwrap().len(), 600_000);
}

#[test]
fn a_closed_port_is_unavailable_and_a_foreign_address_is_refused() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut host = Guest::new().ask(json!({"generation": 1, "service": "forward", "port": port}));
    assert_eq!(host.answer().kind, Some(FaultKind::Unavailable));
    for host in ["192.0.2.1", "0.0.0.0", "224.0.0.1", "2001:db8::1"] {
        let request = json!({"generation": 1, "service": "forward", "port": port, "host": host});
        assert_eq!(
            Guest::new().ask(request).answer().kind,
            Some(FaultKind::Usage),
            "{host}"
        );
    }
}

#[test]
fn what_names_no_service_is_refused_with_a_word() {
    let unknown = json!({"generation": 1, "service": "teleport"});
    assert_eq!(
        Guest::new().ask(unknown).answer().kind,
        Some(FaultKind::Unsupported)
    );
    let no_field = json!({"generation": 1, "service": "ping"});
    assert_eq!(
        Guest::new().ask(no_field).answer().kind,
        Some(FaultKind::Usage)
    );
    let mut host = Guest::new().dial();
    host.send(&Frame::new(FrameKind::Data, b"x".to_vec()));
    assert_eq!(host.answer().kind, Some(FaultKind::Usage));
}

#[test]
fn the_session_after_the_last_is_refused() {
    let mut context = Context::unprivileged("box");
    context.sessions_max = 1;
    let guest = Guest(Arc::new(context));
    let mut first = guest.exec(json!({"argv": ["cat"], "stdin": true}));
    first.started();
    let ping = json!({"generation": 1, "service": "ping", "nonce": "1"});
    assert_eq!(
        guest.ask(ping.clone()).answer().kind,
        Some(FaultKind::Resource)
    );
    first.send(&Frame::end_of(FrameKind::Stdin));
    first.until_exit();
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while guest.0.sessions.open() > 0 {
        assert!(
            std::time::Instant::now() < deadline,
            "the session stays counted"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(guest.ask(ping).answer().ok);
}

#[test]
fn a_crowd_at_a_port_of_the_guest_leaves_room_for_sessions() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let mut context = Context::unprivileged("box");
    context.sessions_max = 1;
    let guest = Guest(Arc::new(context));
    let forward = json!({"generation": 1, "service": "forward", "port": port});
    let crowd: Vec<_> = (0..100)
        .map(|_| {
            let mut connection = guest.ask(forward.clone());
            assert!(connection.answer().ok);
            connection
        })
        .collect();
    assert_eq!(guest.0.forwards.open(), 100);
    let ping = json!({"generation": 1, "service": "ping", "nonce": "1"});
    assert!(guest.ask(ping).answer().ok);
    drop(crowd);
}

#[test]
fn a_frame_that_the_session_does_not_allow_ends_it() {
    let mut host = Guest::new().exec(sh("echo up; sleep 60"));
    let pid = i32::try_from(host.started()).unwrap();
    host.frame();
    host.send(&Frame::new(FrameKind::Data, b"x".to_vec()));
    while !matches!(read_frame(&mut host.0, Sender::Guest), Ok(None) | Err(_)) {}
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while !is_gone(pid) {
        assert!(std::time::Instant::now() < deadline, "it lives on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_gone(pid: i32) -> bool {
    // A zombie without a collector counts as gone: in a guest PID 1 would have collected it.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| {
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('Z'))
    })
}
