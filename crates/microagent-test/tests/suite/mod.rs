//! The real supervisor and monitor against a VM that is a few threads: one request after the other, as
//! a caller in any language would send them.
//!
//! Whoever includes this names the supervisor: every backend answers to the same cases.

use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const NAME: &str = "scout";

/// A state directory of its own, and whatever of it still lives is ended when the test is over.
struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&state)
            .unwrap();
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(state.join("workspaces"))
            .unwrap();
        std::fs::write(folder.path().join("initramfs"), b"initramfs").unwrap();
        let image = std::fs::File::create(folder.path().join("image")).unwrap();
        image.set_len(1 << 20).unwrap();
        let home = Self { folder };
        home.script("");
        home
    }

    /// What the next guests do.
    fn script(&self, words: &str) {
        std::fs::write(self.folder.path().join("kernel"), words).unwrap();
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn workspace(&self) -> PathBuf {
        self.state().join("workspaces").join(NAME)
    }

    fn config(&self) -> Value {
        let hash = "0".repeat(64);
        let at = |name: &str| self.folder.path().join(name);
        json!({
            "kernel": { "path": at("kernel"), "sha256": hash },
            "initramfs": { "path": at("initramfs"), "sha256": hash },
            "rootDisk": { "format": disk_format(), "sizeBytes": 1 << 20, "cloneFrom": at("image") },
            "network": { "mode": "isolated" },
        })
    }

    fn request(&self, command: &str, change: impl FnOnce(&mut Value)) -> Value {
        let mut request = json!({
            "protocolVersion": 1,
            "command": command,
            "stateDir": self.state(),
            "workspace": NAME,
        });
        change(&mut request);
        request
    }

    fn ask(&self, command: &str) -> Value {
        self.ask_with(command, |_| {})
    }

    fn ask_with(&self, command: &str, change: impl FnOnce(&mut Value)) -> Value {
        answer(&self.request(command, change))
    }

    fn prepare(&self) -> Value {
        self.prepare_with(|_| {})
    }

    fn prepare_with(&self, change: impl FnOnce(&mut Value)) -> Value {
        let mut config = self.config();
        change(&mut config);
        ok(self.ask_with("prepare", |request| request["config"] = config))
    }

    fn start(&self) -> Value {
        ok(self.ask("start"))
    }

    fn history(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.workspace().join("events.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn events(&self) -> Vec<String> {
        self.history()
            .iter()
            .map(|event| event["type"].as_str().unwrap().to_owned())
            .collect()
    }

    fn monitor_socket(&self) -> PathBuf {
        self.workspace().join("run/monitor.sock")
    }

    fn monitor_pid(&self) -> u32 {
        let workspace = ok(self.ask("inspect"));
        let pid = workspace["workspace"]["vm"]["monitorPid"].as_u64().unwrap();
        u32::try_from(pid).unwrap()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.workspace().exists() {
            answer(&self.request("kill", |_| {}));
        }
    }
}

/// What the backend says of itself.
fn report() -> &'static Value {
    static REPORT: std::sync::OnceLock<Value> = std::sync::OnceLock::new();
    REPORT.get_or_init(|| ok(answer(&json!({ "protocolVersion": 1, "command": "host" }))))
}

/// Whether the backend has an ability; what it lacks it must refuse, and by that name.
fn can(ability: &str) -> bool {
    report()["host"]["capabilities"][ability].as_bool().unwrap()
}

/// The form of a root disk that the backend takes.
fn disk_format() -> &'static str {
    if report()["backend"] == "windows-hyperv" {
        "vhd"
    } else {
        "raw"
    }
}

fn answer(request: &Value) -> Value {
    let mut child = Command::new(crate::supervisor())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(request.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.matches('\n').count(), 1, "one line: {text:?}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(output.status.success(), answer["ok"] == true, "{answer}");
    answer
}

fn ok(answer: Value) -> Value {
    assert_eq!(answer["ok"], true, "{answer:#}");
    answer
}

fn refused(answer: &Value, kind: &str) -> String {
    assert_eq!(answer["ok"], false, "{answer:#}");
    assert_eq!(answer["error"]["kind"], kind, "{answer:#}");
    answer["error"]["message"].as_str().unwrap().to_owned()
}

fn state_of(answer: &Value) -> (&str, &str) {
    let workspace = &answer["workspace"];
    (
        workspace["state"].as_str().unwrap(),
        workspace["reason"].as_str().unwrap(),
    )
}

/// A session over the monitor's socket: the answer line, and all bytes until the guest closes.
fn session(socket: &Path, request: &Value) -> (Value, Vec<u8>) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(format!("{request}\n").as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
    let line = serde_json::from_slice(&bytes[..end]).unwrap();
    (line, bytes.split_off(end + 1))
}

fn exec(argv: &[&str]) -> Value {
    json!({ "op": "session", "request": { "generation": 1, "service": "exec", "argv": argv } })
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

/// Waits until something is so; for what the kernel does after a process was killed.
fn until(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < limit {
        if is_so() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

#[test]
fn a_workspace_is_prepared_started_used_killed_and_deleted() {
    let home = Home::new();
    let prepared = home.prepare();
    assert_eq!(state_of(&prepared), ("prepared", "created"));
    assert_eq!(prepared["changed"], true);

    let started = home.start();
    assert_eq!(state_of(&started), ("running", "ready"));
    assert_eq!(started["workspace"]["readiness"]["execReady"], true);
    assert!(started["timings"]["readyMs"].is_u64());

    let (line, frames) = session(
        &home.monitor_socket(),
        &exec(&["sh", "-c", "echo out; echo err >&2; exit 3"]),
    );
    assert_eq!(line["ok"], true);
    assert_eq!(line["number"], 1);
    assert!(contains(&frames, "out\n") && contains(&frames, "err\n"));
    assert!(contains(&frames, r#""type":"exit","code":3"#));

    let again = home.start();
    assert_eq!(again["changed"], false);

    refused(&home.ask("delete"), "wrong_state");
    let killed = ok(home.ask("kill"));
    assert_eq!(state_of(&killed), ("stopped", "killed"));
    assert_eq!(killed["ending"]["endedBy"], "kill");
    assert_eq!(ok(home.ask("kill"))["changed"], false);

    let deleted = ok(home.ask("delete"));
    assert_eq!(deleted["deleted"], true);
    assert!(!home.workspace().exists());
    let absent = ok(home.ask("delete"));
    assert_eq!(
        (&absent["changed"], &absent["deleted"]),
        (&json!(false), &json!(false))
    );
    refused(&home.ask("inspect"), "not_found");
}

#[test]
fn a_workspace_that_goes_with_its_run_is_killed_and_deleted_by_one_act() {
    let kill = |request: &mut Value| request["options"] = json!({"kill": true});
    let kept = Home::new();
    kept.prepare();
    kept.start();
    refused(&kept.ask_with("delete", kill), "wrong_state");
    assert_eq!(state_of(&ok(kept.ask("inspect"))), ("running", "ready"));

    let home = Home::new();
    home.prepare_with(|config| config["ephemeral"] = json!(true));
    home.start();
    let deleted = ok(home.ask_with("delete", kill));
    assert_eq!(deleted["deleted"], true);
    assert_eq!(deleted["ending"]["endedBy"], "kill");
    assert!(!home.workspace().exists());
    // What is not there is deleted already, and one at rest has no VM to kill.
    assert_eq!(ok(home.ask_with("delete", kill))["deleted"], false);
    home.prepare_with(|config| config["ephemeral"] = json!(true));
    assert_eq!(ok(home.ask_with("delete", kill))["deleted"], true);
}

#[test]
fn the_history_tells_what_happened_in_order() {
    let home = Home::new();
    home.prepare();
    home.start();
    session(&home.monitor_socket(), &exec(&["true"]));
    ok(home.ask("kill"));
    assert_eq!(
        home.events(),
        [
            "created",
            "start_requested",
            "vm_started",
            "guest_hello",
            "ready",
            "session_opened",
            "session_closed",
            "kill_requested",
            "killed"
        ]
    );
}

#[test]
fn a_halt_is_the_guests_own_shutdown() {
    let home = Home::new();
    home.prepare();
    home.start();
    let halted = ok(home.ask("halt"));
    assert_eq!(state_of(&halted), ("halted", "halted"));
    assert_eq!(halted["ending"]["endedBy"], "guest");
    assert_eq!(state_of(&home.start()), ("running", "ready"));
}

#[test]
fn a_halt_that_is_not_obeyed_kills_nothing() {
    let home = Home::new();
    home.script("ignores-halt");
    home.prepare();
    home.start();
    let timed_out = home.ask_with("halt", |request| {
        request["options"] = json!({ "timeoutMs": 200 });
    });
    let message = refused(&timed_out, "timeout");
    assert!(message.contains("nothing was killed"), "{message}");
    assert_eq!(timed_out["error"]["details"]["acknowledged"], true);
    assert_eq!(state_of(&timed_out), ("halting", "halt_requested"));
    let stopped = ok(home.ask("stop"));
    assert_eq!(state_of(&stopped), ("stopped", "stopped"));
    assert_eq!(stopped["ending"]["endedBy"], "sigterm");
}

#[test]
fn a_stop_that_is_not_heard_becomes_a_kill() {
    let home = Home::new();
    home.script("ignores-terminate");
    home.prepare();
    home.start();
    let stopped = ok(home.ask_with("stop", |request| {
        request["options"] = json!({ "timeoutMs": 100 });
    }));
    assert_eq!(state_of(&stopped), ("stopped", "stop_escalated"));
    assert_eq!(stopped["ending"]["endedBy"], "kill");
    assert_eq!(stopped["ending"]["guestSync"], "done");
}

#[test]
fn a_paused_guest_is_resumed() {
    let home = Home::new();
    home.prepare();
    home.start();
    if !can("pause") {
        refused(&home.ask("pause"), "unsupported");
        refused(&home.ask("resume"), "unsupported");
        return;
    }
    assert_eq!(state_of(&ok(home.ask("pause"))), ("paused", "paused"));
    assert_eq!(ok(home.ask("pause"))["changed"], false);
    let (line, _) = session(&home.monitor_socket(), &exec(&["true"]));
    assert_eq!(line["error"]["kind"], "wrong_state");
    assert_eq!(state_of(&ok(home.ask("resume"))), ("running", "resumed"));
    let (line, _) = session(&home.monitor_socket(), &exec(&["true"]));
    assert_eq!(line["ok"], true);
}

#[test]
fn a_quarantine_refuses_sessions_and_lasts_until_the_vm_is_ended() {
    let home = Home::new();
    home.prepare();
    home.start();
    let pid = home.monitor_pid();
    let freeze = |wanted: bool| {
        home.ask_with("quarantine", |request| {
            request["options"] = json!({ "freeze": wanted });
            request["note"] = json!("odd traffic");
        })
    };
    if !can("freeze") {
        refused(&freeze(true), "unsupported");
        assert_eq!(state_of(&ok(home.ask("inspect"))).0, "running");
    }
    let severed = ok(freeze(can("freeze")));
    assert_eq!(state_of(&severed), ("quarantined", "quarantined"));
    assert_eq!(severed["severed"]["frozen"] == true, can("freeze"));
    assert_eq!(home.monitor_pid(), pid);
    let (line, _) = session(&home.monitor_socket(), &exec(&["true"]));
    assert_eq!(line["error"]["kind"], "wrong_state");
    refused(&home.ask("start"), "wrong_state");
    if can("freeze") {
        refused(&home.ask("halt"), "wrong_state");
    }
    assert_eq!(state_of(&ok(home.ask("kill"))), ("stopped", "killed"));
    assert_eq!(
        ok(home.ask("inspect"))["workspace"]["quarantine"]["active"],
        false
    );
    assert!(home.events().contains(&"released".to_owned()));
    ok(home.ask("start"));
}

#[test]
fn a_workload_that_ends_takes_its_vm_with_it() {
    let home = Home::new();
    home.script("workload-code=7");
    home.prepare_with(|config| config["workload"] = json!({ "argv": ["serve"] }));
    home.start();
    let over = until(Duration::from_secs(10), || {
        state_of(&ok(home.ask("inspect"))) == ("failed", "workload_failed")
    });
    assert!(over, "{:#}", home.ask("inspect"));
    let exit = ok(home.ask("inspect"))["workspace"]["exit"]["code"].clone();
    assert_eq!(exit, 7);
}

#[test]
fn a_guest_that_cannot_boot_is_a_failed_start_with_its_console() {
    let home = Home::new();
    home.script("fails-to-boot");
    home.prepare();
    let failed = home.ask("start");
    let message = refused(&failed, "guest");
    assert!(message.contains("/dev/vda"), "{message}");
    assert_eq!(state_of(&failed), ("failed", "boot_failed"));
    assert_eq!(
        failed["error"]["details"]["lastConsoleLines"][0],
        "fake guest boots"
    );
    assert_eq!(failed["error"]["details"]["phase"], "ready");
    home.script("");
    home.start();
}

#[test]
fn a_guest_that_says_nothing_is_given_up_at_the_deadline() {
    let home = Home::new();
    home.script("silent");
    home.prepare();
    let failed = home.ask_with("start", |request| {
        request["options"] = json!({ "readyTimeoutMs": 200 });
    });
    refused(&failed, "timeout");
    assert_eq!(state_of(&failed), ("failed", "guest_unresponsive"));
}

#[test]
fn a_vm_that_dies_during_its_boot_is_a_failed_start() {
    let home = Home::new();
    home.script("dies-in-boot");
    home.prepare();
    let failed = home.ask("start");
    refused(&failed, "guest");
    assert_eq!(state_of(&failed), ("failed", "boot_failed"));
}

#[test]
fn a_vmm_that_does_not_start_is_reported_as_such() {
    let home = Home::new();
    home.script("refuses-launch");
    home.prepare();
    let failed = home.ask("start");
    refused(&failed, "backend");
    assert_eq!(failed["error"]["details"]["phase"], "launch");
}

#[test]
fn what_is_missing_before_the_launch_leaves_the_state_as_it_was() {
    let home = Home::new();
    home.prepare_with(|config| {
        config["mediation"] = json!({ "port": 2048, "target": "127.0.0.1:1", "required": true });
    });
    let down = home.ask("start");
    let message = refused(&down, "unavailable");
    assert!(message.contains("127.0.0.1:1"), "{message}");
    assert_eq!(down["changed"], false);
    assert_eq!(state_of(&down), ("prepared", "created"));
    assert_eq!(home.events().last().unwrap(), "start_refused");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let home = Home::new();
    home.prepare_with(|config| {
        config["network"]["publish"] = json!([{ "hostPort": port, "guestPort": 80 }]);
    });
    let conflict = home.ask("start");
    refused(&conflict, "conflict");
    assert_eq!(conflict["error"]["details"]["phase"], "publish");
    drop(taken);
    home.start();
}

#[test]
fn a_client_that_is_bound_takes_the_vm_with_it() {
    let home = Home::new();
    home.prepare();
    ok(home.ask_with("start", |request| {
        request["options"] = json!({ "clientBound": true });
    }));
    let mut bound = exec(&["cat"]);
    bound["endVmOnClose"] = json!(true);
    bound["request"]["stdin"] = json!(true);
    let mut stream = UnixStream::connect(home.monitor_socket()).unwrap();
    stream.write_all(format!("{bound}\n").as_bytes()).unwrap();
    let mut first = [0; 1];
    stream.read_exact(&mut first).unwrap();
    drop(stream);
    let over = until(Duration::from_secs(10), || {
        state_of(&ok(home.ask("inspect"))) == ("stopped", "client_gone")
    });
    assert!(over, "{:#}", home.ask("inspect"));
}

#[test]
fn a_foreground_run_answers_with_what_came_of_it_and_leaves_nothing() {
    let home = Home::new();
    let config = {
        let mut config = home.config();
        config["workload"] = json!({ "argv": ["sh", "-c", "echo out; echo err >&2; exit 5"] });
        config
    };
    let ran = ok(home.ask_with("run", |request| {
        request["config"] = config;
        request["options"] = json!({ "keep": "none" });
    }));
    assert_eq!(ran["result"]["outcome"], "exited");
    assert_eq!(ran["result"]["exitCode"], 5);
    assert_eq!(
        (&ran["result"]["stdout"], &ran["result"]["stderr"]),
        (&json!("out\n"), &json!("err\n"))
    );
    assert!(!home.workspace().exists());
}

#[test]
fn a_command_that_is_not_there_is_not_started() {
    let home = Home::new();
    let config = {
        let mut config = home.config();
        config["workload"] = json!({ "argv": ["/no/such/command"] });
        config
    };
    let ran = ok(home.ask_with("run", |request| {
        request["config"] = config;
        request["options"] = json!({ "keep": "none" });
    }));
    assert_eq!(ran["result"]["outcome"], "not_started");
    assert_eq!(ran["result"]["error"]["details"]["osError"]["code"], 2);
}

#[test]
fn a_late_act_does_not_hit_the_next_boot() {
    let home = Home::new();
    home.prepare();
    let first = home.start()["workspace"]["vm"]["bootId"].clone();
    ok(home.ask("kill"));
    home.start();
    let late = home.ask_with("kill", |request| {
        request["expect"] = json!({ "bootId": first });
    });
    refused(&late, "wrong_state");
    assert_eq!(state_of(&ok(home.ask("inspect"))), ("running", "ready"));
}

#[test]
fn a_start_that_waits_is_overtaken_by_a_kill() {
    let home = Home::new();
    home.script("stuck-in-boot");
    home.prepare();
    let waiting = std::thread::scope(|scope| {
        let start = scope.spawn(|| home.ask("start"));
        let begun = until(Duration::from_secs(10), || {
            home.ask("inspect")["workspace"]["guest"]["generation"] == 1
        });
        assert!(begun);
        assert_eq!(state_of(&ok(home.ask("kill"))), ("stopped", "killed"));
        start.join().unwrap()
    });
    refused(&waiting, "wrong_state");
    assert_eq!(waiting["error"]["details"]["overtakenBy"]["verb"], "kill");
}

#[test]
fn a_guest_that_floods_loses_its_control_connection_and_nothing_else() {
    let home = Home::new();
    home.script("floods");
    home.prepare();
    home.start();
    let said = until(Duration::from_secs(10), || {
        home.events().contains(&"guest_misbehaved".to_owned())
    });
    assert!(said, "{:?}", home.events());
    let (line, _) = session(&home.monitor_socket(), &exec(&["true"]));
    assert_eq!(line["ok"], true);
    refused(&home.ask("halt"), "guest");
    ok(home.ask("kill"));
}

#[test]
fn a_monitor_that_is_killed_leaves_a_workspace_that_can_go_on() {
    let home = Home::new();
    home.prepare();
    home.start();
    let pid = home.monitor_pid();
    let status = Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
    let judged = until(Duration::from_secs(10), || {
        state_of(&ok(home.ask("inspect"))).0 == "failed"
    });
    assert!(judged, "{:#}", home.ask("inspect"));
    assert_eq!(ok(home.ask("inspect"))["workspace"]["reason"], "vm_died");
    assert_eq!(home.events().last().unwrap(), "reconciled");
    assert_eq!(state_of(&home.start()), ("running", "ready"));
    ok(home.ask("kill"));
    ok(home.ask("delete"));
}

#[test]
fn starts_at_the_same_time_are_one_start() {
    let home = Home::new();
    home.prepare();
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..4).map(|_| scope.spawn(|| home.ask("start"))).collect();
        starts
            .into_iter()
            .map(|start| start.join().unwrap())
            .collect()
    });
    let changed = answers
        .iter()
        .filter(|answer| ok((*answer).clone())["changed"] == true)
        .count();
    assert_eq!(changed, 1);
    assert_eq!(ok(home.ask("inspect"))["workspace"]["vm"]["bootCount"], 1);
}

#[test]
fn requests_that_make_no_sense_are_refused_by_kind() {
    let home = Home::new();
    let nonsense = |request: &Value, kind: &str| refused(&answer(request), kind);
    nonsense(&json!([]), "usage");
    nonsense(&json!({ "protocolVersion": 2 }), "unsupported");
    nonsense(&home.request("fly", |_| {}), "usage");
    nonsense(
        &home.request("kill", |request| request["later"] = json!(1)),
        "usage",
    );
    nonsense(
        &home.request("kill", |request| request["backend"] = json!("firecracker")),
        "unsupported",
    );
    nonsense(
        &home.request("kill", |request| request["workspace"] = json!("../x")),
        "usage",
    );
    nonsense(
        &home.request("kill", |request| {
            request["stateDir"] = json!("/no/such/folder");
        }),
        "not_found",
    );
    nonsense(&home.request("kill", |_| {}), "not_found");
    nonsense(
        &home.request("prepare", |request| {
            request["config"] = home.config();
            request["config"]["memoryBytes"] = json!(1u64 << 40);
        }),
        "usage",
    );
    nonsense(
        &home.request("kill", |request| {
            request["options"] = json!({ "freeze": true });
        }),
        "usage",
    );
    home.prepare();
    nonsense(
        &home.request("prepare", |request| request["config"] = home.config()),
        "conflict",
    );
}

#[test]
fn a_serial_watcher_sees_what_the_guest_writes_and_the_log_keeps_it() {
    let home = Home::new();
    home.prepare();
    home.start();
    let log = std::fs::read_to_string(home.workspace().join("serial.log")).unwrap();
    assert_eq!(log, "fake guest boots\r\n");
    if !can("serialAttach") {
        refused(&home.ask("console"), "unsupported");
        return;
    }
    let endpoint = ok(home.ask("console"))["connect"].clone();
    assert_eq!(endpoint["kind"], "serial");
    let mut stream = UnixStream::connect(endpoint["path"].as_str().unwrap()).unwrap();
    stream
        .write_all(endpoint["open"].as_str().unwrap().as_bytes())
        .unwrap();
    let mut line = [0; 12];
    stream.read_exact(&mut line).unwrap();
    assert_eq!(&line[..10], br#"{"ok":true"#);
}

#[test]
fn the_history_is_sent_as_it_grows_and_to_its_end() {
    let home = Home::new();
    home.prepare();
    home.start();
    let follow = |after: u64| {
        let mut stream = UnixStream::connect(home.monitor_socket()).unwrap();
        let request = json!({ "op": "events", "after": after });
        stream.write_all(format!("{request}\n").as_bytes()).unwrap();
        std::io::BufReader::new(stream)
    };
    let (mut all, mut some) = (follow(0), follow(2));
    let event = |line: &str| -> Value {
        let line: Value = serde_json::from_str(line).unwrap();
        serde_json::from_str(line["event"].as_str().unwrap()).unwrap()
    };
    let mut first = String::new();
    std::io::BufRead::read_line(&mut all, &mut first).unwrap();
    assert_eq!(
        (&event(&first)["seq"], &event(&first)["type"]),
        (&json!(1), &json!("created"))
    );
    // What comes while it is followed, one of them with nobody who waits for the disk.
    for _ in 0..3 {
        session(&home.monitor_socket(), &exec(&["true"]));
    }
    ok(home.ask("kill"));
    let mut rest = String::new();
    all.read_to_string(&mut rest).unwrap();
    let sent: Vec<String> = std::iter::once(first.as_str())
        .chain(rest.lines())
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["event"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let stored = std::fs::read_to_string(home.workspace().join("events.jsonl")).unwrap();
    let stored: Vec<&str> = stored.lines().collect();
    assert_eq!(sent, stored);
    let last: Value = serde_json::from_str(sent.last().unwrap()).unwrap();
    assert_eq!(last["type"], "killed");
    let mut rest = String::new();
    some.read_to_string(&mut rest).unwrap();
    assert_eq!(event(rest.lines().next().unwrap())["seq"], 3);
}

/// A TCP service that answers each connection with what it was sent, backwards.
fn reversing_service() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut line = [0; 5];
            if stream.read_exact(&mut line).is_ok() {
                line.reverse();
                stream.write_all(&line).unwrap();
            }
        }
    });
    port
}

#[test]
fn a_published_port_leads_to_the_guests_and_is_closed_by_a_quarantine() {
    let service = reversing_service();
    let home = Home::new();
    home.prepare_with(|config| {
        config["network"]["publish"] = json!([{ "hostPort": 0, "guestPort": service }]);
    });
    let started = home.start();
    let published = &started["workspace"]["network"]["publish"][0];
    assert_eq!(published["listening"], true);
    let port = u16::try_from(published["hostPort"].as_u64().unwrap()).unwrap();
    let mut client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.write_all(b"abcde").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"edcba");

    let held = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let open = until(Duration::from_secs(10), || {
        ok(home.ask("inspect"))["workspace"]["network"]["publish"][0]["totalConnections"] == 2
    });
    assert!(open);
    ok(home.ask("quarantine"));
    let mut held = held;
    assert!(matches!(held.read(&mut [0; 1]), Err(_) | Ok(0)));
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    let events = home.events();
    assert!(
        events.contains(&"published_opened".to_owned()),
        "{events:?}"
    );
}

#[test]
fn the_mediation_channel_leads_to_its_target_and_to_nothing_else() {
    let service = reversing_service();
    let home = Home::new();
    home.prepare_with(|config| {
        config["mediation"] = json!({ "port": 2048, "target": format!("127.0.0.1:{service}") });
    });
    let started = home.start();
    assert_eq!(started["workspace"]["readiness"]["mediationReady"], true);
    // Where the guest's dial of its port arrives.
    let port = home.workspace().join("run/vsock.sock_2048");
    let mut guest = UnixStream::connect(&port).unwrap();
    guest.write_all(b"abcde").unwrap();
    let mut answer = Vec::new();
    guest.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"edcba");
    let recorded = until(Duration::from_secs(10), || {
        home.events().contains(&"mediation_closed".to_owned())
    });
    assert!(recorded, "{:?}", home.events());
    let workspace = ok(home.ask("inspect"))["workspace"].clone();
    let mediation = &workspace["mediation"];
    assert_eq!(
        (&mediation["bytesIn"], &mediation["bytesOut"]),
        (&json!(5), &json!(5))
    );
    let traffic = &workspace["network"]["traffic"];
    assert_eq!(traffic, &json!({ "bytesIn": 5, "bytesOut": 5 }));

    ok(home.ask("quarantine"));
    assert!(UnixStream::connect(&port).is_err());
    let severed = ok(home.ask("inspect"));
    assert_eq!(severed["workspace"]["readiness"]["mediationReady"], false);
}

#[test]
fn a_mediation_target_that_is_gone_closes_the_guests_connection() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let home = Home::new();
    home.prepare_with(|config| {
        config["mediation"] = json!({ "port": 2048, "target": target.to_string() });
    });
    home.start();
    drop(listener);
    let mut guest = UnixStream::connect(home.workspace().join("run/vsock.sock_2048")).unwrap();
    assert!(matches!(guest.read(&mut [0; 1]), Err(_) | Ok(0)));
    let told = until(Duration::from_secs(10), || {
        ok(home.ask("inspect"))["workspace"]["readiness"]["mediationReady"] == false
    });
    assert!(told);
    assert!(home.events().contains(&"mediation_unready".to_owned()));
}

/// A target that takes every connection and keeps it.
fn patient_service() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept() {
            held.push(stream);
        }
    });
    port
}

#[test]
fn a_guest_that_dials_a_thousand_times_and_never_speaks_gets_what_the_limits_allow() {
    let service = patient_service();
    let home = Home::new();
    home.prepare_with(|config| {
        config["mediation"] = json!({ "port": 2048, "target": format!("127.0.0.1:{service}") });
    });
    home.start();
    let port = home.workspace().join("run/vsock.sock_2048");
    let mut silent = Vec::new();
    while silent.len() < 1000 {
        // A full queue is asked again, as the device does.
        if let Ok(stream) = UnixStream::connect(&port) {
            silent.push(stream);
        }
    }
    let mediation = || ok(home.ask("inspect"))["workspace"]["mediation"].clone();
    let settled = until(Duration::from_secs(20), || {
        let seen = mediation();
        let count = |field: &str| seen[field].as_u64().unwrap();
        count("totalConnections") + count("refusedConnections") == 1000
    });
    let seen = mediation();
    assert!(settled, "{seen}");
    // The rate lets a burst of 200 through, and then what the second allows.
    let open = seen["openConnections"].as_u64().unwrap();
    assert!((200..=256).contains(&open), "{seen}");
    assert_eq!(seen["totalConnections"], open);
    drop(silent);
    assert!(until(
        Duration::from_secs(20),
        || mediation()["openConnections"] == 0
    ));
    ok(home.ask("halt"));
    let history = home.history();
    let of_type = |kind: &str| history.iter().filter(|event| event["type"] == kind).count() as u64;
    assert_eq!(of_type("mediation_opened"), open);
    assert_eq!(of_type("mediation_closed"), open);
    let counted: u64 = history
        .iter()
        .filter(|event| event["type"] == "mediation_counted")
        .map(|event| {
            assert_eq!(event["data"]["refused"], event["data"]["reasons"]["limit"]);
            event["data"]["refused"].as_u64().unwrap()
        })
        .sum();
    assert_eq!(of_type("mediation_refused") + counted, 1000 - open);
}

#[test]
fn a_quarantine_records_every_step_and_resets_what_is_open() {
    let service = patient_service();
    let home = Home::new();
    home.prepare_with(|config| {
        config["network"]["publish"] = json!([{ "hostPort": 0, "guestPort": service }]);
        config["mediation"] = json!({ "port": 2048, "target": format!("127.0.0.1:{service}") });
    });
    let started = home.start();
    let published = &started["workspace"]["network"]["publish"][0]["hostPort"];
    let port = u16::try_from(published.as_u64().unwrap()).unwrap();
    let mut clients: Vec<_> = (0..3)
        .map(|_| std::net::TcpStream::connect(("127.0.0.1", port)).unwrap())
        .collect();
    let mut guests: Vec<_> = (0..2)
        .map(|_| UnixStream::connect(home.workspace().join("run/vsock.sock_2048")).unwrap())
        .collect();
    let all_open = until(Duration::from_secs(10), || {
        let workspace = ok(home.ask("inspect"))["workspace"].clone();
        workspace["network"]["publish"][0]["openConnections"] == 3
            && workspace["mediation"]["openConnections"] == 2
    });
    assert!(all_open);
    ok(home.ask("quarantine"));
    for client in &mut clients {
        let reset = client.read(&mut [0; 1]).unwrap_err();
        assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
    }
    for guest in &mut guests {
        assert!(matches!(guest.read(&mut [0; 1]), Ok(0) | Err(_)));
    }
    let history = home.history();
    let types: Vec<&str> = history
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    let at = |kind: &str| types.iter().position(|&found| found == kind).unwrap();
    // The connections' own ends stand before the sum of them.
    assert!(at("quarantine_requested") < at("published_closed"));
    assert!(at("mediation_closed") < at("severed") && at("severed") < at("quarantined"));
    let severed = &history[at("severed")]["data"];
    assert_eq!(
        severed["connections"],
        json!({ "publish": 3, "mediation": 2 })
    );
    let closed = &history[at("published_closed")]["data"];
    assert_eq!(closed["closedBy"], "severed");
}

#[test]
fn a_start_that_is_interrupted_ends_its_vm_and_says_so() {
    let home = Home::new();
    home.script("stuck-in-boot");
    home.prepare();
    let mut child = Command::new(crate::supervisor())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let request = home.request("start", |_| {});
    stdin.write_all(request.to_string().as_bytes()).unwrap();
    drop(stdin);
    let begun = until(Duration::from_secs(10), || {
        home.ask("inspect")["workspace"]["guest"]["generation"] == 1
    });
    assert!(begun);
    let pid = child.id().to_string();
    let status = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(status.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    refused(&answer, "interrupted");
    assert_eq!(state_of(&answer), ("stopped", "interrupted"));
}
