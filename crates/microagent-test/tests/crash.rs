//! Supervisor and monitor end at every point at which they make something durable, one after the other;
//! whatever they leave, the next command reads it, reconciles, and can go on. Needs a build with crash
//! points: `cargo nextest run -p microagent-test --features crash-points`.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test starts programs and looks at files from outside, and unwraps as tests do"
)]

use microagent_state::StateDirectory;
use microagent_state::event_log::EventLog;
use microagent_types::{AbsPath, WorkspaceId};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SUPERVISOR: &str = env!("CARGO_BIN_EXE_microagent-fake-supervisor");
const NAME: &str = "scout";
const SIGABRT: i32 = 6;

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

struct Home {
    folder: tempfile::TempDir,
    /// The target of a mediation channel; with it come a published port.
    mediation: Option<u16>,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["state", "state/workspaces"] {
            let path = folder.path().join(name);
            std::fs::DirBuilder::new().mode(0o700).create(path).unwrap();
        }
        for name in ["kernel", "initramfs"] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        let image = std::fs::File::create(folder.path().join("image")).unwrap();
        image.set_len(1 << 20).unwrap();
        Self {
            folder,
            mediation: None,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A free port of the guest's, published; and the channel, when a test wants one.
    fn with_doors(mut self, mediation: u16) -> Self {
        self.mediation = Some(mediation);
        self
    }

    /// The answer; none when the supervisor ended at its point.
    fn ask_with(&self, command: &str, variable: Option<(&str, &str)>) -> Option<Value> {
        let mut request = json!({
            "protocolVersion": 1,
            "command": command,
            "stateDir": self.path("state"),
            "workspace": NAME,
        });
        if command == "prepare" {
            let hash = "0".repeat(64);
            request["config"] = json!({
                "kernel": { "path": self.path("kernel"), "sha256": hash },
                "initramfs": { "path": self.path("initramfs"), "sha256": hash },
                "rootDisk": { "format": "raw", "sizeBytes": 1 << 20, "cloneFrom": self.path("image") },
                "network": { "mode": "isolated" },
            });
            if let Some(port) = self.mediation {
                request["config"]["mediation"] =
                    json!({ "port": 2048, "target": format!("127.0.0.1:{port}") });
                request["config"]["network"]["publish"] =
                    json!([{ "hostPort": 0, "guestPort": port }]);
            }
        }
        let mut program = Command::new(SUPERVISOR);
        if let Some((name, value)) = variable {
            program.env(name, value);
        }
        let mut child = program
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(request.to_string().as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        if output.status.signal() == Some(SIGABRT) {
            return None;
        }
        Some(serde_json::from_slice(&output.stdout).unwrap())
    }

    fn ask(&self, command: &str) -> Value {
        self.ask_with(command, None).unwrap()
    }

    fn ok(&self, command: &str) -> Value {
        let answer = self.ask(command);
        assert_eq!(answer["ok"], true, "{command}: {answer:#}");
        answer
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Whatever a failed test has left must not outlive it.
        self.ask_with("kill", None);
    }
}

/// The points that a process passes, each pass as `name:n`.
fn numbered(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let mut passes: BTreeMap<&str, u32> = BTreeMap::new();
    text.lines()
        .map(|name| {
            let count = passes.entry(name).or_insert(0);
            *count += 1;
            format!("{name}:{count}")
        })
        .collect()
}

/// Runs `before` unharmed, `crashed` with a process of it ended at each of its points, and then demands
/// that the workspace can be read, started, halted and deleted.
fn at_every_point(who: Who, before: &[&str], crashed: &[&str]) {
    let (at, log_variable) = who.variables();
    let home = Home::new();
    for command in before {
        home.ok(command);
    }
    let log = home.path("log");
    let logged = Some((log_variable, log.to_str().unwrap()));
    for command in crashed {
        home.ask_with(command, logged);
    }
    let points = numbered(&log);
    assert!(points.len() >= 3, "no points: {points:?}");
    for point in points {
        let home = Home::new();
        for command in before {
            home.ok(command);
        }
        for command in crashed {
            home.ask_with(command, Some((at, &point)));
        }
        goes_on(&home, &point);
    }
}

fn goes_on(home: &Home, point: &str) {
    let inspected = home.ask("inspect");
    let kind = inspected["error"]["kind"].as_str();
    assert!(
        inspected["ok"] == true || kind == Some("not_found"),
        "{point}: {inspected:#}"
    );
    if inspected["ok"] != true {
        home.ok("prepare");
    }
    let id = home.ok("inspect")["workspace"]["id"].clone();
    home.ok("kill");
    let started = home.ok("start");
    assert_eq!(started["workspace"]["state"], "running", "{point}");
    let halted = home.ok("halt");
    assert_eq!(halted["workspace"]["state"], "halted", "{point}");
    let state = AbsPath::try_from(home.path("state").as_path()).unwrap();
    let paths = StateDirectory::at(&state).workspace(&NAME.parse().unwrap());
    let id: WorkspaceId = id.as_str().unwrap().parse().unwrap();
    let report = EventLog::new(&paths, id).verify().unwrap();
    assert!(report.is_sound(), "{point}: {report:?}");
    home.ok("delete");
    let left = std::fs::read_dir(home.path("state/workspaces")).unwrap();
    assert_eq!(left.count(), 0, "{point}");
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
        let home = Home::new().with_doors(service);
        home.ok("prepare");
        let started = home.ask_with("start", variable).unwrap();
        let published = &started["workspace"]["network"]["publish"][0]["hostPort"];
        let port = u16::try_from(published.as_u64().unwrap()).unwrap();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let guest = home.path("state/workspaces/scout/run/vsock.sock_2048");
        let dialled = UnixStream::connect(&guest).unwrap();
        (home, port, guest, (client, dialled))
    };
    let (home, ..) = begin(None);
    drop(home);
    // A first pass tells the points; those of the start come first and are another test's.
    let home = Home::new().with_doors(service);
    home.ok("prepare");
    let log = home.path("log");
    home.ask_with("start", Some((log_variable, log.to_str().unwrap())));
    let of_the_start = numbered(&log).len();
    home.ok("quarantine");
    let points = numbered(&log).split_off(of_the_start);
    drop(home);
    let steps = points
        .iter()
        .filter(|point| point.starts_with("monitor.quarantine_step"));
    assert_eq!(steps.count(), 4, "{points:?}");
    for point in points {
        let (home, port, guest, connections) = begin(Some((at, &point)));
        let pid = home.ok("inspect")["workspace"]["vm"]["pid"].clone();
        home.ask("quarantine");
        let inspected = home.ok("inspect")["workspace"].clone();
        assert_eq!(
            inspected["quarantine"]["active"], true,
            "{point}: {inspected:#}"
        );
        assert_ne!(inspected["vm"]["alive"], true, "{point}: {inspected:#}");
        let process = format!("/proc/{pid}/stat");
        let is_gone = std::fs::read_to_string(process).map_or(true, |stat| stat.contains(") Z"));
        assert!(is_gone, "{point}: the VM lives");
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
