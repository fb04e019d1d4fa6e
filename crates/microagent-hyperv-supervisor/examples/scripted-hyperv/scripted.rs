//! Services without a service: a compute system is a thread that plays a guest, and goes wrong where a word
//! in the file that stands for its kernel says so. That a system lives is told to other processes by a name
//! in the abstract namespace, which goes with the process that holds it.

use std::io::Write as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use microagent_hyperv_supervisor::calls::{CallError, Host, Progress, Sockets, System};
use microagent_hyperv_supervisor::events::{Kind, Notification};
use microagent_hyperv_supervisor::host::{Findings, WrongHost};
use microagent_test::fake_guest::{GuestEnd, Script, live};
use microagent_types::AbsPath;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::sockets::Scripted as ScriptedSockets;

const CONTROL: u32 = 1024;
const NOT_FOUND: u32 = 0xc037_010e;
const STOPPED: u32 = 0xc037_0110;
const INVALID_STATE: u32 = 0xc037_0105;
const NO_ENDPOINT: u32 = 0x803b_0002;

pub(crate) fn services() -> (Arc<dyn Host>, Arc<dyn Sockets>) {
    let sockets = Arc::new(ScriptedSockets::default());
    let host = Scripted {
        sockets: sockets.clone(),
    };
    (Arc::new(host), sockets)
}

struct Scripted {
    sockets: Arc<ScriptedSockets>,
}

fn failed<T>(call: &'static str, code: u32) -> Result<T, CallError> {
    Err(CallError {
        call,
        code,
        detail: "the scripted service says no".to_owned(),
    })
}

/// Under which a system is known to other processes.
fn name_of(id: &str) -> SocketAddr {
    SocketAddr::from_abstract_name(format!("microagent-scripted-{id}")).unwrap()
}

impl Host for Scripted {
    fn look(&self) -> Result<Findings, WrongHost> {
        Ok(Findings {
            os_version: "10.0.26100".to_owned(),
            memory_bytes: 64 << 30,
            missing_library: None,
            is_administrator: Some(true),
        })
    }

    fn grant_access(&self, _system: &str, path: &AbsPath) -> Result<(), CallError> {
        assert!(path.as_path().exists(), "`{path}` is granted and not there");
        Ok(())
    }

    fn create(
        &self,
        id: &str,
        document: &str,
        told: mpsc::Sender<Notification>,
    ) -> Result<(Arc<dyn System>, Progress), CallError> {
        let document: Value = serde_json::from_str(document).unwrap();
        let machine = &document["VirtualMachine"];
        let kernel = &machine["Chipset"]["LinuxKernelDirect"]["KernelFilePath"];
        let words = std::fs::read_to_string(kernel.as_str().unwrap()).unwrap_or_default();
        let has = |word: &str| words.split_whitespace().any(|found| found == word);
        if has("refuses-launch") {
            return failed("HcsCreateComputeSystem", INVALID_STATE);
        }
        let devices = &machine["Devices"];
        let disk = devices["Scsi"]["root"]["Attachments"]["0"]["Path"].as_str();
        let workspace = Path::new(disk.unwrap()).parent().unwrap();
        let runtime_id = format!("runtime-{id}");
        let script = Script::from_words(&words);
        self.sockets.add(&runtime_id, workspace.join("run"), script);
        let console = devices["ComPorts"]["0"]["NamedPipe"].as_str().unwrap();
        let console = console.strip_suffix("-com1").unwrap();
        let (hold, ended) = sync_channel(0);
        let system = ScriptedSystem {
            runtime_id: runtime_id.clone(),
            control: self.sockets.socket(&runtime_id, CONTROL),
            console: Path::new(console).join("com1.sock"),
            script,
            fails_to_start: has("fails-to-start"),
            starts_later: has("starts-later"),
            dies_unexpectedly: has("dies-of-error"),
            never_ends: has("never-stops"),
            ignores_shutdown: has("ignores-terminate"),
            told: told.clone(),
            hold: Mutex::new(Some(hold)),
            ended: Mutex::new(Some(ended)),
            _name: UnixListener::bind_addr(&name_of(id)).unwrap(),
        };
        // The end of a making is told later, as the service does it.
        let _ = told.try_send(notification(Kind::CreateCompleted, 0, ""));
        Ok((Arc::new(system), Progress::Pending))
    }

    fn open(&self, id: &str) -> Result<Arc<dyn System>, CallError> {
        match UnixStream::connect_addr(&name_of(id)) {
            Ok(_) => Ok(Arc::new(Elsewhere)),
            Err(_) => failed("HcsOpenComputeSystem", NOT_FOUND),
        }
    }

    fn find_network(&self, _id: &str) -> Result<(), CallError> {
        Ok(())
    }

    fn create_network(&self, _id: &str, _settings: &str) -> Result<(), CallError> {
        panic!("the network is there");
    }

    fn create_endpoint(
        &self,
        _network: &str,
        _id: &str,
        _settings: &str,
    ) -> Result<String, CallError> {
        let address = json!({ "IpAddress": "192.168.127.9", "PrefixLength": 24 });
        Ok(json!({ "IpConfigurations": [address] }).to_string())
    }

    fn delete_endpoint(&self, _id: &str) -> Result<(), CallError> {
        failed("HcnDeleteEndpoint", NO_ENDPOINT)
    }
}

fn notification(kind: Kind, status: u32, exit: &str) -> Notification {
    Notification {
        kind,
        status,
        data: match exit {
            "" => String::new(),
            exit => json!({ "Status": 0, "ExitType": exit }).to_string(),
        },
    }
}

struct ScriptedSystem {
    runtime_id: String,
    control: PathBuf,
    console: PathBuf,
    script: Script,
    fails_to_start: bool,
    starts_later: bool,
    dies_unexpectedly: bool,
    never_ends: bool,
    ignores_shutdown: bool,
    told: mpsc::Sender<Notification>,
    hold: Mutex<Option<SyncSender<()>>>,
    ended: Mutex<Option<Receiver<()>>>,
    _name: UnixListener,
}

impl System for ScriptedSystem {
    fn start(&self) -> Result<Progress, CallError> {
        if self.fails_to_start {
            return failed("HcsStartComputeSystem", INVALID_STATE);
        }
        let ended = self.ended.lock().unwrap().take().expect("started once");
        let mut console = UnixStream::connect(&self.console).unwrap();
        console.write_all(b"fake guest boots\r\n").unwrap();
        let control = (!self.script.silent).then(|| UnixStream::connect(&self.control).unwrap());
        let (script, told, dies) = (self.script, self.told.clone(), self.dies_unexpectedly);
        let stays = self.never_ends;
        std::thread::spawn(move || {
            let end = control.map(|control| live(script, control, &ended));
            let exit = match end {
                Some(GuestEnd::Reset) if dies => "UnexpectedExit",
                Some(GuestEnd::Reset) => "GracefulExit",
                Some(GuestEnd::Silent) | None => {
                    let _ = ended.recv();
                    "ForcedExit"
                }
            };
            drop(console);
            if !stays {
                let _ = told.blocking_send(notification(Kind::Exited, 0, exit));
            }
        });
        if self.starts_later {
            let told = self.told.clone();
            std::thread::spawn(move || {
                told.blocking_send(notification(Kind::StartCompleted, 0, ""))
                    .unwrap();
            });
            return Ok(Progress::Pending);
        }
        Ok(Progress::Done)
    }

    fn shut_down(&self) -> Result<Progress, CallError> {
        if self.ignores_shutdown || self.never_ends {
            return Ok(Progress::Pending);
        }
        self.terminate()
    }

    fn terminate(&self) -> Result<Progress, CallError> {
        if self.never_ends {
            return Ok(Progress::Pending);
        }
        if self.hold.lock().unwrap().take().is_none() {
            return failed("HcsTerminateComputeSystem", STOPPED);
        }
        // One that was never started has no thread that would tell.
        if self.ended.lock().unwrap().is_some() {
            let _ = self
                .told
                .try_send(notification(Kind::Exited, 0, "ForcedExit"));
        }
        Ok(Progress::Pending)
    }

    fn properties(&self) -> Result<String, CallError> {
        Ok(json!({ "RuntimeId": self.runtime_id }).to_string())
    }

    fn modify(&self, settings: &str) -> Result<Progress, CallError> {
        let settings: Value = serde_json::from_str(settings).unwrap();
        assert!(settings["ResourcePath"].is_string());
        Ok(Progress::Done)
    }
}

/// A system of another process, which ends with that process.
struct Elsewhere;

impl System for Elsewhere {
    fn start(&self) -> Result<Progress, CallError> {
        failed("HcsStartComputeSystem", INVALID_STATE)
    }

    fn shut_down(&self) -> Result<Progress, CallError> {
        Ok(Progress::Pending)
    }

    fn terminate(&self) -> Result<Progress, CallError> {
        Ok(Progress::Pending)
    }

    fn properties(&self) -> Result<String, CallError> {
        failed("HcsGetComputeSystemProperties", INVALID_STATE)
    }

    fn modify(&self, _settings: &str) -> Result<Progress, CallError> {
        failed("HcsModifyComputeSystem", INVALID_STATE)
    }
}
