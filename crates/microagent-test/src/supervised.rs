//! One workspace and its supervisor, spoken to in JSON as any caller would: a state directory of its own,
//! a request in, a response out. Whatever still lives when a test is over is ended.
//!
//! It panics where a test would: what can't be asked or read fails the test that wanted it. It must not
//! look into the records; tests that judge them open the files themselves.
#![allow(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a part of tests, which unwrap"
)]

use microagent_state::StateDirectory;
use microagent_state::event_log::EventLog;
use microagent_types::{AbsPath, WorkspaceId};
use serde_json::{Value, json};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the workspace is called.
pub const NAME: &str = "scout";
const SIGABRT: i32 = 6;
/// Debian's program.
const WINE: &str = "/usr/lib/wine/wine64";

/// A state directory with room for one workspace of the fake backend.
#[derive(Debug)]
pub struct Supervised {
    folder: tempfile::TempDir,
    supervisor: PathBuf,
    /// The target of a mediation channel; with it comes a published port.
    mediation: Option<u16>,
    /// The form of the root disk.
    disk_format: &'static str,
    /// The network mode.
    network: &'static str,
    /// The prefix of Wine, where the supervisor is a program of Windows.
    wine: Option<PathBuf>,
}

impl Supervised {
    /// An empty state directory; `supervisor` is the program that is asked.
    pub fn new(supervisor: impl AsRef<Path>) -> Self {
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
        let supervisor = supervisor.as_ref().to_owned();
        Self {
            folder,
            supervisor,
            mediation: None,
            disk_format: "raw",
            network: "isolated",
            wine: None,
        }
    }

    /// With a root disk in this form.
    #[must_use]
    pub fn with_disk_format(mut self, format: &'static str) -> Self {
        self.disk_format = format;
        self
    }

    /// With a published port and a mediation channel, both to this port of the host.
    #[must_use]
    pub fn with_doors(mut self, port: u16) -> Self {
        self.mediation = Some(port);
        self
    }

    /// With a guest that has this network.
    #[must_use]
    pub fn with_network(mut self, mode: &'static str) -> Self {
        self.network = mode;
        self
    }

    /// With a supervisor that is a program of Windows, run by Wine in this prefix.
    #[must_use]
    pub fn under_wine(mut self, prefix: &Path) -> Self {
        self.wine = Some(prefix.to_owned());
        self
    }

    /// A path as the supervisor takes it: Wine has the root of this system on a drive.
    fn told(&self, path: &Path) -> String {
        let text = path.to_str().unwrap();
        match self.wine {
            Some(_) => format!("Z:{}", text.replace('/', "\\")),
            None => text.to_owned(),
        }
    }

    fn program(&self) -> Command {
        let Some(prefix) = &self.wine else {
            return Command::new(&self.supervisor);
        };
        let mut command = Command::new(WINE);
        command.arg(&self.supervisor);
        command.env("WINEPREFIX", prefix).env("WINEDEBUG", "-all");
        command
    }

    /// A path beside the state directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the next guests do, in words of the fake backend.
    pub fn script(&self, words: &str) {
        std::fs::write(self.path("kernel"), words).unwrap();
    }

    /// The workspace's folder.
    pub fn workspace(&self) -> PathBuf {
        self.path("state/workspaces").join(NAME)
    }

    /// The names in the folder of workspaces.
    pub fn workspaces(&self) -> usize {
        std::fs::read_dir(self.path("state/workspaces"))
            .unwrap()
            .count()
    }

    fn request(&self, command: &str) -> Value {
        let mut request = json!({
            "protocolVersion": 1,
            "command": command,
            "stateDir": self.told(&self.path("state")),
            "workspace": NAME,
        });
        if command == "prepare" {
            let hash = "0".repeat(64);
            request["config"] = json!({
                "kernel": { "path": self.told(&self.path("kernel")), "sha256": hash },
                "initramfs": { "path": self.told(&self.path("initramfs")), "sha256": hash },
                "rootDisk": {
                    "format": self.disk_format,
                    "sizeBytes": 1 << 20,
                    "cloneFrom": self.told(&self.path("image")),
                },
                "network": { "mode": self.network },
            });
            if let Some(port) = self.mediation {
                request["config"]["mediation"] =
                    json!({ "port": 2048, "target": format!("127.0.0.1:{port}") });
                request["config"]["network"]["publish"] =
                    json!([{ "hostPort": 0, "guestPort": port }]);
            }
        }
        request
    }

    /// The answer to a request whose config is changed beforehand.
    pub fn ask_config(&self, command: &str, change: impl FnOnce(&mut Value)) -> Value {
        let mut request = self.request(command);
        change(&mut request["config"]);
        self.send(&request, &[]).unwrap()
    }

    /// The answer; none when the supervisor ended itself at a point that a test has named.
    pub fn ask_with(&self, command: &str, variables: &[(&str, &str)]) -> Option<Value> {
        self.send(&self.request(command), variables)
    }

    fn send(&self, request: &Value, variables: &[(&str, &str)]) -> Option<Value> {
        let mut child = self
            .program()
            .envs(variables.iter().copied())
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
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.success(), answer["ok"] == true, "{answer}");
        Some(answer)
    }

    /// The answer.
    pub fn ask(&self, command: &str) -> Value {
        self.ask_with(command, &[]).unwrap()
    }

    /// The answer, which must be a success.
    pub fn ok(&self, command: &str) -> Value {
        let answer = self.ask(command);
        assert_eq!(answer["ok"], true, "{command}: {answer:#}");
        answer
    }

    /// The kind of the refusal, which it must be; its message must say something.
    pub fn refused(&self, command: &str) -> String {
        let answer = self.ask(command);
        assert_eq!(answer["ok"], false, "{command}: {answer:#}");
        let error = &answer["error"];
        assert!(
            !error["message"].as_str().unwrap().is_empty(),
            "{command}: {answer:#}"
        );
        error["kind"].as_str().unwrap().to_owned()
    }

    /// The history is whole; `after` says what happened before.
    pub fn assert_sound(&self, id: &Value, after: &str) {
        let state = AbsPath::try_from(self.path("state").as_path()).unwrap();
        let paths = StateDirectory::at(&state).workspace(&NAME.parse().unwrap());
        let id: WorkspaceId = id.as_str().unwrap().parse().unwrap();
        let report = EventLog::new(&paths, id).verify().unwrap();
        assert!(report.is_sound(), "{after}: {report:?}");
    }

    /// Whatever it was left as, it can be read, ended, started, halted and deleted, and its history is
    /// whole. A prepare that did not come to its end is done again.
    pub fn goes_on(&self, after: &str) {
        let inspected = self.ask("inspect");
        let kind = inspected["error"]["kind"].as_str();
        assert!(
            inspected["ok"] == true || kind == Some("not_found"),
            "{after}: {inspected:#}"
        );
        if inspected["ok"] != true {
            self.ok("prepare");
        }
        let id = self.ok("inspect")["workspace"]["id"].clone();
        self.ok("kill");
        let started = self.ok("start");
        assert_eq!(started["workspace"]["state"], "running", "{after}");
        let halted = self.ok("halt");
        assert_eq!(halted["workspace"]["state"], "halted", "{after}");
        self.assert_sound(&id, after);
        self.ok("delete");
        assert_eq!(self.workspaces(), 0, "{after}");
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // Whatever a failed test has left must not outlive it.
        if self.workspace().exists() {
            self.ask_with("kill", &[]);
        }
    }
}
