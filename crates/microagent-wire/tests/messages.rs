//! One sample of every message, as it stands on the wire. A changed snapshot is a changed promise: it
//! needs a line in the changelog, or a new generation.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use insta::assert_snapshot;
use microagent_types::{
    BootId, Environment, GuestPath, GuestPort, MediationPort, SignalName, Timestamp, WorkspaceName,
};
use microagent_wire::fault::{Fault, FaultKind, LockHolder, OsError, OvertakenBy};
use microagent_wire::guest::boot_spec::{
    BootFileStream, BootFiles, BootSpec, DataDisk, DeviceSelector, DiskMode, GuestLimits,
    GuestNetwork, MaintenanceAccess, RootDisk, WorkloadSpec,
};
use microagent_wire::guest::control::{
    BootStep, EndCause, GuestMessage, HaltPhase, Hello, HostMessage, InterfaceReport, Ready,
};
use microagent_wire::guest::service::{
    ExecRequest, FileEntry, FileType, NotStarted, Owner, Service, ServiceAnswer, ServiceRequest,
    SessionDone, SessionExit, SessionInput, SessionOutput, ShellRequest, Skipped, Tty,
};
use microagent_wire::guest::{KnownTypes, Parsed, parse};
use microagent_wire::monitor::request::{MonitorOp, MonitorRequest, SerialMode, WaitFor};
use microagent_wire::monitor::response::{EventLine, MonitorAnswer, MonitorIdentity};
use microagent_wire::supervisor::response::Response;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

const BOOT: &str = "01956f12-0be1-7c40-9f3a-2f61d0a4c7b8";

fn boot_id() -> BootId {
    BOOT.parse().unwrap()
}

fn time() -> Timestamp {
    "2026-03-04T09:12:43.801Z".parse().unwrap()
}

fn guest_path(text: &str) -> GuestPath {
    text.parse().unwrap()
}

fn environment(name: &str, value: &str) -> Environment {
    let mut environment = Environment::new();
    environment
        .set(name.parse().unwrap(), value.to_owned())
        .unwrap();
    environment
}

/// One line each; every sample is read back to the same value.
fn lines<T: Serialize + DeserializeOwned + PartialEq + Debug>(samples: &[T]) -> String {
    read_back(samples, |text| serde_json::from_str(text).unwrap())
}

fn read_back<T: Serialize + PartialEq + Debug>(samples: &[T], read: impl Fn(&str) -> T) -> String {
    let line = |sample: &T| {
        let text = serde_json::to_string(sample).unwrap();
        assert_eq!(&read(&text), sample);
        text
    };
    samples.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Every sample is known by its type, and every type has a sample.
fn typed_lines<T>(samples: &[T]) -> String
where
    T: Serialize + PartialEq + Debug + KnownTypes,
{
    let text = read_back(samples, |text| match parse::<T>(text.as_bytes()) {
        Ok(Parsed::Known(known)) => known,
        other => panic!("{text}: {other:?}"),
    });
    for word in T::TYPES {
        assert!(
            text.contains(&format!(r#""type":"{word}""#)),
            "{word} has no sample"
        );
    }
    text
}

fn boot_spec() -> BootSpec {
    BootSpec {
        generation: 1,
        boot_id: boot_id(),
        resume: "00112233445566778899aabbccddeeff".into(),
        hostname: "scout".parse::<WorkspaceName>().unwrap(),
        time_unix_us: 1_772_615_563_801_000,
        entropy: "ab".repeat(64),
        root: RootDisk {
            device: DeviceSelector::Serial("ma-root".into()),
            mode: DiskMode::Rw,
            grow: true,
        },
        disks: vec![DataDisk {
            device: DeviceSelector::Lun(1),
            mount: guest_path("/data"),
            mode: DiskMode::Ro,
        }],
        files: Some(BootFiles {
            streams: vec![BootFileStream {
                target: guest_path("/srv"),
                bytes: 10_240,
            }],
        }),
        network: Some(GuestNetwork {
            mac: Some("02:3c:41:e5:8f:c4".into()),
            mtu: Some(65_520),
            address: Some("10.0.2.15".parse().unwrap()),
            prefix_length: Some(24),
            gateway: Some("10.0.2.2".parse().unwrap()),
            dns: vec!["10.0.2.3".parse().unwrap()],
            ..GuestNetwork::default()
        }),
        env: environment("MODE", "work"),
        user: Some("bot".into()),
        workdir: Some(guest_path("/srv")),
        workload: Some(WorkloadSpec {
            argv: vec!["python".into(), "/srv/bot.py".into()],
            env: Environment::new(),
            user: Some("bot".into()),
            workdir: Some(guest_path("/srv")),
            stop_signal: SignalName::INT,
        }),
        maintenance: Some(MaintenanceAccess::Ro),
        mediation_port: MediationPort::new(2048),
        heartbeat_ms: 2000,
        limits: GuestLimits {
            sessions: 64,
            stdin_bytes: 262_144,
        },
    }
}

#[test]
fn what_a_guest_says() {
    let hello = Hello {
        generation: 1,
        min_generation: 1,
        features: vec!["exec".into(), "tty".into()],
        init_version: "0.1.0".into(),
        kernel: "6.12.58".into(),
        guest_boot_id: "5b0a6f5e-0c57-4d8c-9f0e-8d2a2f7f2c11".into(),
        uptime_ms: 81,
        resume: None,
    };
    let ready = Ready {
        uptime_ms: 120,
        grown_bytes: Some(1 << 30),
        interface: Some(InterfaceReport {
            name: "eth0".into(),
            mac: "02:3c:41:e5:8f:c4".into(),
            address: Some("10.0.2.15".into()),
            prefix_length: Some(24),
        }),
        pid: Some(212),
        warnings: vec!["no hosts file".into()],
    };
    assert_snapshot!(typed_lines(&[
        GuestMessage::Hello(hello),
        GuestMessage::Progress {
            step: BootStep::MountRoot,
            message: None
        },
        GuestMessage::FilesDelivered {
            entries: 3,
            bytes: 4096
        },
        GuestMessage::Ready(ready),
        GuestMessage::Failed {
            step: BootStep::Workload,
            object: "/nope".into(),
            message: "it does not exist".into(),
            errno: Some(2),
        },
        GuestMessage::Heartbeat {
            uptime_ms: 2120,
            load: 12,
            memory_available_bytes: 1 << 29,
            sessions: 1,
        },
        GuestMessage::Exited {
            code: Some(0),
            signal: None,
            message: None,
            started_at: time(),
            ended_at: time(),
        },
        GuestMessage::Halting {
            id: Some(7),
            phase: HaltPhase::Acknowledged,
            cause: None,
            clean: None,
        },
        GuestMessage::Halting {
            id: None,
            phase: HaltPhase::Poweroff,
            cause: Some(EndCause::Workload),
            clean: Some(true),
        },
        GuestMessage::Unsupported { of: "later".into() },
    ]));
}

#[test]
fn what_a_host_says() {
    assert_snapshot!(typed_lines(&[
        HostMessage::Boot(Box::new(boot_spec())),
        HostMessage::Refuse {
            message: "no common generation".into()
        },
        HostMessage::Halt { id: 7 },
        HostMessage::Bye,
        HostMessage::Clock {
            time_unix_us: 1_772_615_563_801_000
        },
        HostMessage::Mediation { ready: false },
        HostMessage::Unsupported { of: "later".into() },
    ]));
}

#[test]
fn what_opens_a_session() {
    let exec = ExecRequest {
        argv: vec!["sh".into(), "-c".into(), "exit 3".into()],
        env: environment("A", "1"),
        user: Some("0:0".into()),
        cwd: Some(guest_path("/srv")),
        tty: Some(Tty {
            rows: 24,
            cols: 80,
            term: "xterm".into(),
        }),
        stdin: true,
        timeout_ms: 5000,
        kill_grace_ms: 2000,
        output_limit_bytes: Some(1024),
        make_cwd: true,
    };
    let services = [
        Service::Exec(exec),
        Service::Shell(ShellRequest::default()),
        Service::Read {
            path: guest_path("/etc"),
            archive: true,
            follow_links: false,
            limit_bytes: Some(9),
        },
        Service::Write {
            path: guest_path("/srv"),
            archive: false,
            mode: Some(0o644),
            owner: Some(Owner { uid: 0, gid: 0 }),
            keep_owner: false,
            parents: true,
        },
        Service::List {
            path: guest_path("/"),
            depth: 1,
            limit: 10_000,
        },
        Service::Stat {
            path: guest_path("/"),
            follow_links: true,
        },
        Service::Forward {
            port: GuestPort::new(80).unwrap(),
            host: None,
        },
        Service::Sync {},
        Service::Clock { time_unix_us: 1 },
        Service::Ping { nonce: "7f".into() },
    ];
    let lines: Vec<String> = services
        .into_iter()
        .map(|service| {
            let request = ServiceRequest {
                generation: 1,
                service,
            };
            let line = request.to_json().to_string();
            assert_eq!(ServiceRequest::parse(line.as_bytes()).unwrap(), request);
            line
        })
        .collect();
    for word in Service::WORDS {
        let field = format!(r#""service":"{word}""#);
        assert!(
            lines.iter().any(|line| line.contains(&field)),
            "{word} has no sample"
        );
    }
    assert_snapshot!(lines.join("\n"));
}

#[test]
fn what_a_session_says() {
    let entry = FileEntry {
        name: "passwd".into(),
        name_encoding: None,
        file_type: FileType::File,
        size_bytes: 1024,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime_us: 1_772_615_563_801_000,
        target: None,
    };
    let exit = SessionExit {
        code: None,
        signal: Some(SignalName::TERM),
        timed_out: true,
        not_started: Some(NotStarted {
            errno: 2,
            message: "not found".into(),
        }),
        stdout_bytes: 5,
        stderr_bytes: 0,
        truncated: false,
        incomplete: false,
    };
    let done = SessionDone {
        entries: Some(3),
        bytes: Some(4096),
        skipped: vec![Skipped {
            path: "run/x.sock".into(),
            reason: "socket".into(),
        }],
        truncated: Some(false),
        duration_ms: Some(4),
        stepped_ms: Some(-12),
        files: Some(2),
        directories: Some(1),
        symlinks: Some(1),
        skipped_total: Some(300),
        refused: vec![Skipped {
            path: "../up".into(),
            reason: "its name leads out of the folder".into(),
        }],
    };
    let answers = lines(&[
        ServiceAnswer::accepted(),
        ServiceAnswer::refused(FaultKind::NotFound, "there is no user `bot`", Some(2)),
        ServiceAnswer {
            entry: Some(entry.clone()),
            ..ServiceAnswer::accepted()
        },
        ServiceAnswer {
            stdin_window_bytes: Some(131_072),
            ..ServiceAnswer::accepted()
        },
        ServiceAnswer {
            window_bytes: Some(131_072),
            ..ServiceAnswer::accepted()
        },
    ]);
    let input = typed_lines(&[
        SessionInput::Resize {
            rows: 50,
            cols: 132,
        },
        SessionInput::Signal {
            name: SignalName::INT,
        },
        SessionInput::Close,
    ]);
    let output = typed_lines(&[
        SessionOutput::StdinTaken { bytes: 65_536 },
        SessionOutput::Taken { bytes: 65_536 },
        SessionOutput::Started { pid: 212 },
        SessionOutput::Exit(exit),
        SessionOutput::Meta {
            entry: entry.clone(),
        },
        SessionOutput::Entries {
            entries: vec![entry],
        },
        SessionOutput::Done(done),
        SessionOutput::Pong {
            nonce: "7f".into(),
            uptime_ms: 99,
        },
        SessionOutput::Failed {
            kind: FaultKind::Resource,
            message: "no space".into(),
            errno: Some(28),
        },
    ]);
    assert_snapshot!([answers, input, output].join("\n\n"));
}

#[test]
fn what_a_monitor_is_asked_and_answers() {
    let ping = ServiceRequest {
        generation: 1,
        service: Service::Ping { nonce: "7f".into() },
    };
    let ops = [
        MonitorOp::Status { probe: true },
        MonitorOp::Halt {
            timeout_ms: Some(15_000),
        },
        MonitorOp::Stop { timeout_ms: None },
        MonitorOp::Kill {},
        MonitorOp::Pause {},
        MonitorOp::Resume {},
        MonitorOp::Quarantine { freeze: true },
        MonitorOp::Wait {
            what: WaitFor::Ready,
            timeout_ms: Some(1000),
        },
        MonitorOp::Events { after: 41 },
        MonitorOp::session(&ping, true),
        MonitorOp::Serial {
            mode: SerialMode::Attach,
        },
        MonitorOp::Release { number: 3 },
        MonitorOp::Pending {},
    ];
    let asked: Vec<String> = ops
        .into_iter()
        .map(|op| {
            let request = MonitorRequest::new(op);
            let line = request.to_line();
            assert_eq!(MonitorRequest::parse(line.as_bytes()).unwrap(), request);
            line.trim_end().to_owned()
        })
        .collect();
    for word in MonitorOp::WORDS {
        let field = format!(r#""op":"{word}""#);
        assert!(
            asked.iter().any(|line| line.contains(&field)),
            "{word} has no sample"
        );
    }
    let answered = lines(&[
        MonitorAnswer::accepted(),
        MonitorAnswer {
            number: Some(3),
            generation: Some(1),
            ..MonitorAnswer::success()
        },
        MonitorAnswer {
            monitor: Some(MonitorIdentity {
                version: "0.1.0".into(),
                protocol: 1,
            }),
            ..MonitorAnswer::success()
        },
        MonitorAnswer::failure(Fault::new(FaultKind::WrongState, "`scout` is halted")),
    ]);
    let events = lines(&[EventLine {
        event: r#"{"seq":1}"#.into(),
    }]);
    assert_snapshot!([asked.join("\n"), answered, events].join("\n\n"));
}

#[test]
fn what_a_fault_carries() {
    let fault = Fault::new(FaultKind::Busy, "another command is working on `scout`")
        .with_hint("try again when it is done")
        .with_cause("flock: would block")
        .with_details(|details| {
            details.path = Some("config.disks[1].name".into());
            details.limit = Some(8);
            details.actual = Some(9);
            details.state = Some("running".into());
            details.reason = Some("ready".into());
            details.boot_id = Some(boot_id());
            details.port = Some(8088);
            details.file = Some("/x".into());
            details.waited_for = Some("the lock".into());
            details.deadline_ms = Some(10_000);
            details.acknowledged = Some(true);
            details.log_path = Some("/s/serial.log".parse().unwrap());
            details.last_console_lines = vec!["panic".into()];
            details.phase = Some("hello".into());
            details.component = Some("monitor".into());
            details.overtaken_by = Some(OvertakenBy {
                verb: "kill".into(),
                request_id: Some("r-8".parse().unwrap()),
            });
            details.holder = Some(LockHolder {
                pid: 4711,
                command: "cp".into(),
                request_id: None,
                since: time(),
            });
            details.os_error = Some(OsError {
                code: 111,
                name: "ECONNREFUSED".into(),
            });
            details.guest_generation = Some(1);
        });
    assert_snapshot!(lines(&[fault]));
}

/// The responses that the protocol page shows are read as they stand there, fields of later releases
/// included.
#[test]
fn a_response_is_read_whatever_later_releases_add() {
    let text = r#"{"protocolVersion":1,"ok":false,"backend":"firecracker","command":"start","requestId":"r-3","changed":false,
 "error":{"kind":"conflict","message":"host port `127.0.0.1:8088` is already in use","hint":"choose another host port, or 0 to get a free one","retryable":false,
  "cause":["bind: address already in use"],"details":{"path":"config.network.publish[0]","port":8088,"phase":"publish","later":{}}},"later":[]}"#;
    let response: Response = serde_json::from_str(text).unwrap();
    let error = response.error.unwrap();
    assert_eq!(error.kind, FaultKind::Conflict);
    assert_eq!(error.details.unwrap().port, Some(8088));
}
