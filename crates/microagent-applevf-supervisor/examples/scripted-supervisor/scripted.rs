//! Calls without a framework: a machine is a thread that plays a guest, and goes wrong where a word in the
//! file that stands for its kernel says so. What the guest may dial is a socket in the run folder as well,
//! so that a test can be the guest.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use microagent_applevf_supervisor::calls::{Answer, Framework, Machine, SerialEnds};
use microagent_applevf_supervisor::config::MachinePlan;
use microagent_applevf_supervisor::events::{CallError, FrameworkEvent};
use microagent_applevf_supervisor::host::{Entitlements, Findings, WrongHost};
use microagent_test::fake_guest::{GuestEnd, Script, live, serve_session};
use tokio::sync::{mpsc, oneshot};

/// The port of the control connection, and that of the guest's services.
const CONTROL: u32 = 1024;
const SERVICE: u32 = 1025;

pub(crate) fn framework() -> Box<dyn Framework> {
    Box::new(Scripted)
}

struct Scripted;

impl Framework for Scripted {
    fn look(&self) -> Result<Findings, WrongHost> {
        Ok(Findings {
            os_version: "15.5".to_owned(),
            cpus: 8,
            memory_bytes: 64 << 30,
            is_supported: true,
            entitlements: Entitlements {
                virtualization: true,
                networking: false,
            },
            interfaces: Vec::new(),
        })
    }

    fn make(
        &self,
        plan: &MachinePlan,
        serial: SerialEnds,
        events: mpsc::Sender<FrameworkEvent>,
    ) -> Result<Rc<dyn Machine>, CallError> {
        let words = std::fs::read_to_string(plan.boot.kernel.as_path()).unwrap_or_default();
        let has = |word: &str| words.split_whitespace().any(|found| found == word);
        if has("refuses-launch") {
            return Err(error("VZErrorDomain", 2));
        }
        let (hold, ended) = sync_channel(0);
        let workspace = plan.disks[0].path.as_path().parent().unwrap();
        Ok(Rc::new(ScriptedMachine {
            run: workspace.join("run"),
            script: Script::from_words(&words),
            fails_to_start: has("fails-to-start"),
            dies_of_error: has("dies-of-error"),
            stops_that_fail: Cell::new(match () {
                () if has("never-stops") => u32::MAX,
                () if has("ignores-terminate") => 1,
                () => 0,
            }),
            console: RefCell::new(Some(serial)),
            events,
            listeners: RefCell::default(),
            hold: RefCell::new(Some(hold)),
            ended: Cell::new(Some(ended)),
            paused: Cell::new(false),
        }))
    }
}

struct ScriptedMachine {
    run: PathBuf,
    script: Script,
    fails_to_start: bool,
    dies_of_error: bool,
    stops_that_fail: Cell<u32>,
    console: RefCell<Option<SerialEnds>>,
    events: mpsc::Sender<FrameworkEvent>,
    listeners: RefCell<BTreeMap<u32, mpsc::Sender<OwnedFd>>>,
    hold: RefCell<Option<SyncSender<()>>>,
    ended: Cell<Option<Receiver<()>>>,
    paused: Cell<bool>,
}

fn error(domain: &str, code: i64) -> CallError {
    CallError {
        domain: domain.to_owned(),
        code,
        text: "the scripted framework says no".to_owned(),
    }
}

fn answer<T>(value: Result<T, CallError>) -> Answer<T> {
    let (sender, receiver) = oneshot::channel();
    let _ = sender.send(value);
    receiver
}

impl ScriptedMachine {
    fn socket(&self, port: u32) -> PathBuf {
        self.run.join(format!("vsock.sock_{port}"))
    }

    /// A connection of the guest to a port of the host, when somebody listens.
    fn dial_host(&self, port: u32) -> Option<UnixStream> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let listeners = self.listeners.borrow();
        listeners.get(&port)?.try_send(theirs.into()).ok()?;
        Some(ours)
    }
}

impl Machine for ScriptedMachine {
    fn start(&self) -> Answer<()> {
        if self.fails_to_start {
            return answer(Err(error("VZErrorDomain", 1)));
        }
        let ended = self.ended.take().expect("a machine is started once");
        let serial = self.console.borrow_mut().take().unwrap();
        let mut console = std::fs::File::from(serial.output);
        std::io::Write::write_all(&mut console, b"fake guest boots\r\n").unwrap();
        let control = (!self.script.silent)
            .then(|| self.dial_host(CONTROL))
            .flatten();
        let (script, events, dies) = (self.script, self.events.clone(), self.dies_of_error);
        std::thread::spawn(move || {
            // Both ends stay for as long as the machine lives.
            let _console = (console, serial.input);
            let end = control.map(|control| live(script, control, &ended));
            let event = match end {
                Some(GuestEnd::Reset) if dies => {
                    FrameworkEvent::StoppedWithError(error("VZErrorDomain", 1))
                }
                Some(GuestEnd::Reset) => FrameworkEvent::GuestStopped,
                Some(GuestEnd::Silent) | None => {
                    let _ = ended.recv();
                    return;
                }
            };
            // The framework tells an end twice at times.
            let _ = events.blocking_send(event.clone());
            let _ = events.blocking_send(event);
        });
        answer(Ok(()))
    }

    fn stop(&self) -> Answer<()> {
        if let Some(left) = self.stops_that_fail.get().checked_sub(1) {
            self.stops_that_fail.set(left);
            return answer(Err(error("VZErrorDomain", 4)));
        }
        self.hold.borrow_mut().take();
        answer(Ok(()))
    }

    fn pause(&self) -> Answer<()> {
        if self.paused.replace(true) {
            return answer(Err(error("VZErrorDomain", 4)));
        }
        answer(Ok(()))
    }

    fn resume(&self) -> Answer<()> {
        if !self.paused.replace(false) {
            return answer(Err(error("VZErrorDomain", 4)));
        }
        answer(Ok(()))
    }

    fn connect(&self, port: u32) -> Answer<OwnedFd> {
        if port != SERVICE {
            return answer(Err(error("NSPOSIXErrorDomain", 54)));
        }
        let (ours, theirs) = UnixStream::pair().unwrap();
        let script = self.script;
        std::thread::spawn(move || drop(serve_session(script, theirs)));
        answer(Ok(ours.into()))
    }

    fn listen(&self, port: u32, accepted: mpsc::Sender<OwnedFd>) {
        let listener = UnixListener::bind(self.socket(port)).unwrap();
        let taken = accepted.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                // The socket has a queue of its own; whoever finds both full waits.
                if taken.blocking_send(connection.into()).is_err() {
                    return;
                }
            }
        });
        self.listeners.borrow_mut().insert(port, accepted);
    }

    fn stop_listening(&self, port: u32) {
        self.listeners.borrow_mut().remove(&port);
        let _ = std::fs::remove_file(self.socket(port));
    }

    fn detach_network(&self) -> Answer<()> {
        answer(Ok(()))
    }
}
