//! A backend without a hypervisor: its VM is a few threads, its kernel is a file of words that says
//! what goes wrong (see [`Script`]), and its vsock is the Unix-socket arrangement of the Linux
//! backends without a device in between.
//!
//! It lets every path of supervisor and monitor be walked in milliseconds on any Unix host. The VM lives
//! in the monitor's process, so it ends with it, however that ends.

use crate::fake_guest::{GuestEnd, Script, live, serve_session};
use microagent_machine::{Accelerator, Capabilities};
use microagent_os::fs;
use microagent_os::local_socket::{self, AsyncListener};
use microagent_supervisor::backend::{
    Backend, BackendError, BackendErrorKind, ConfinementFacts, ConfinementReport, Console,
    EngineFacts, GuestAddresses, GuestDevice, GuestListener, GuestStream, Helper, HostFacts,
    HostNeeds, HostReady, LaunchSpec, Launched, LocalFuture, NetworkMode, NetworkModeFacts,
    Preparation, VM_EVENTS_MAX, Versions, Vm, VmEvent, VmExit, VmIdentity,
};
use microagent_types::{AbsPath, BackendName, ByteSize, VsockPort};
use std::cell::Cell;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tokio::io::AsyncWrite as _;
use tokio::sync::mpsc;

const CONSOLE_BYTES: usize = 64 * 1024;
/// Bytes of the file that stands for the kernel.
const SCRIPT_BYTES_MAX: u64 = 64 * 1024;
const COMPONENT: &str = "fake vm";

/// The backend. It answers to the name of a real one, since names are a closed list.
#[derive(Debug, Clone, Copy, Default)]
pub struct FakeBackend;

impl Backend for FakeBackend {
    fn name(&self) -> BackendName {
        BackendName::Qemu
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            exec: true,
            connect: true,
            serial_attach: true,
            publish: true,
            nat: true,
            isolated: true,
            mediation: true,
            pause: true,
            freeze: true,
            maintenance_boot: true,
            emulation: true,
            ..Capabilities::NONE
        }
    }

    fn host_facts(&self, _versions: Versions) -> HostFacts {
        HostFacts {
            os: "fake".to_owned(),
            os_version: "1".to_owned(),
            cpus: 4,
            memory_bytes: 16 << 30,
            engine: EngineFacts {
                unavailable: None,
                binary: None,
                version: Some("1".to_owned()),
            },
            kvm: None,
            accelerator: Some(Accelerator::Emulation),
            programs: Vec::new(),
            confinement: ConfinementFacts {
                required: false,
                parts: Vec::new(),
            },
            network_modes: vec![NetworkModeFacts {
                mode: NetworkMode::Bridged,
                unavailable: Some("there is no network".to_owned()),
            }],
            administrator: None,
            entitlements: None,
        }
    }

    fn check_host(&self, _needs: &HostNeeds) -> Result<HostReady, Vec<BackendError>> {
        Ok(HostReady {
            host_memory: ByteSize::from_mib(64 << 10),
            accelerator: Accelerator::Kvm,
            engine_version: Some("1".to_owned()),
            warnings: Vec::new(),
        })
    }

    fn isolate_next_child(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn root_device(&self) -> GuestDevice {
        GuestDevice::Path("/dev/vda".to_owned())
    }

    fn data_device(&self, index: usize) -> GuestDevice {
        GuestDevice::Lun(u32::try_from(index).expect("few disks") + 1)
    }

    fn guest_addresses(&self, _dns: &[IpAddr]) -> GuestAddresses {
        GuestAddresses::Dhcp
    }

    fn prepare(&self, spec: LaunchSpec) -> Box<dyn Preparation> {
        Box::new(FakePreparation { spec })
    }

    fn confined_exec(&self) -> ExitCode {
        ExitCode::from(2)
    }
}

struct FakePreparation {
    spec: LaunchSpec,
}

fn port_socket(run: &Path, port: VsockPort) -> PathBuf {
    run.join(format!("vsock.sock_{port}"))
}

impl Preparation for FakePreparation {
    fn listen(&mut self, port: VsockPort) -> Result<Box<dyn GuestListener>, BackendError> {
        let failed = |error: Box<dyn std::error::Error>| {
            BackendError::new(BackendErrorKind::Failed, COMPONENT, error)
        };
        let path = port_socket(self.spec.run.socket_prefix.as_path(), port);
        let listener = local_socket::listen(&path).map_err(|error| failed(error.into()))?;
        let listener = listener
            .into_async()
            .map_err(|error| failed(error.into()))?;
        Ok(Box::new(FakeListener { listener, path }))
    }

    fn start_network(&mut self) -> LocalFuture<'_, Result<(), BackendError>> {
        Box::pin(async { Ok(()) })
    }

    fn confine(&mut self) -> LocalFuture<'_, Result<ConfinementReport, BackendError>> {
        Box::pin(async { Ok(ConfinementReport::default()) })
    }

    fn launch(self: Box<Self>) -> LocalFuture<'static, Result<Launched, BackendError>> {
        Box::pin(async move { launch(&self.spec) })
    }

    fn abandon(self: Box<Self>) -> LocalFuture<'static, ()> {
        Box::pin(async {})
    }
}

struct FakeListener {
    listener: AsyncListener,
    path: PathBuf,
}

impl GuestListener for FakeListener {
    fn accept(&mut self) -> LocalFuture<'_, io::Result<GuestStream>> {
        Box::pin(async {
            let (stream, _) = self.listener.accept().await?;
            Ok(Box::new(stream) as GuestStream)
        })
    }
}

impl Drop for FakeListener {
    fn drop(&mut self) {
        // The run folder is emptied afterwards in any case.
        let _ = fs::remove_file(&self.path);
    }
}

fn launch(spec: &LaunchSpec) -> Result<Launched, BackendError> {
    let text = fs::read_text_bounded(spec.kernel.as_path(), SCRIPT_BYTES_MAX).unwrap_or_default();
    let script = Script::from_words(&text);
    if script.refuses_launch {
        let error = "the fake machine does not start";
        return Err(BackendError::new(
            BackendErrorKind::Failed,
            COMPONENT,
            error,
        ));
    }
    let (events, receiver) = mpsc::channel(VM_EVENTS_MAX);
    let (ours, theirs) = tokio::io::duplex(CONSOLE_BYTES);
    let (console_output, console_input) = tokio::io::split(ours);
    let (hold, ended) = sync_channel(0);
    let vm = FakeVm {
        script,
        control: port_socket(spec.run.socket_prefix.as_path(), VsockPort::CONTROL),
        ending: Arc::new(Ending {
            events,
            hold: std::sync::Mutex::new(Some((hold, theirs))),
        }),
        not_started: Cell::new(Some(ended)),
        paused: Cell::new(false),
    };
    Ok(Launched {
        vm: Rc::new(vm),
        console: Console {
            output: Box::new(console_output),
            input: Box::new(console_input),
        },
        events: receiver,
        engine_version: Some("1".to_owned()),
    })
}

/// The end of the machine, which comes once, from whichever side.
struct Ending {
    events: mpsc::Sender<VmEvent>,
    /// What goes with the machine: the guest's threads watch the first, the console is the second.
    hold: std::sync::Mutex<Option<(SyncSender<()>, tokio::io::DuplexStream)>>,
}

impl Ending {
    fn come(&self, exit: VmExit) {
        let held = self.hold.lock().expect("nobody panics with it").take();
        if held.is_some() {
            // A monitor that is gone takes no more events.
            let _ = self.events.try_send(VmEvent::Ended(exit));
        }
    }

    /// Writes to the console, whose buffer has room for it.
    fn say(&self, bytes: &[u8]) {
        let mut hold = self.hold.lock().expect("nobody panics with it");
        if let Some((_, console)) = &mut *hold {
            let mut waker = std::task::Context::from_waker(std::task::Waker::noop());
            // A console that takes nothing loses it, as a serial port would.
            let _ = std::pin::Pin::new(console).poll_write(&mut waker, bytes);
        }
    }

    fn has_come(&self) -> bool {
        self.hold.lock().expect("nobody panics with it").is_none()
    }
}

struct FakeVm {
    script: Script,
    control: PathBuf,
    ending: Arc<Ending>,
    not_started: Cell<Option<Receiver<()>>>,
    paused: Cell<bool>,
}

impl Drop for FakeVm {
    fn drop(&mut self) {
        self.ending.come(VmExit::default());
    }
}

impl Vm for FakeVm {
    fn identity(&self) -> VmIdentity {
        VmIdentity::Monitor
    }

    fn helpers(&self) -> Vec<Helper> {
        Vec::new()
    }

    fn cgroup(&self) -> Option<AbsPath> {
        None
    }

    fn run(&self) -> LocalFuture<'_, Result<(), BackendError>> {
        Box::pin(async {
            let Some(ended) = self.not_started.take() else {
                return Ok(());
            };
            let script = self.script;
            self.ending.say(b"fake guest boots\r\n");
            let (control, ending) = (self.control.clone(), self.ending.clone());
            std::thread::spawn(move || {
                let connected = if script.silent {
                    None
                } else {
                    std::os::unix::net::UnixStream::connect(&control).ok()
                };
                match connected.map(|control| live(script, control, &ended)) {
                    Some(GuestEnd::Reset) => ending.come(VmExit {
                        code: Some(0),
                        ..VmExit::default()
                    }),
                    Some(GuestEnd::Silent) | None => {
                        // Nothing is ever sent: it returns when the machine has gone.
                        let _ = ended.recv();
                    }
                }
            });
            Ok(())
        })
    }

    fn dial(&self, port: VsockPort) -> LocalFuture<'_, Result<GuestStream, BackendError>> {
        Box::pin(async move {
            if port != VsockPort::SERVICE || self.ending.has_come() {
                let error = "nothing listens on that port of the fake guest";
                return Err(BackendError::new(
                    BackendErrorKind::NotFound,
                    COMPONENT,
                    error,
                ));
            }
            let failed =
                |error: io::Error| BackendError::new(BackendErrorKind::Failed, COMPONENT, error);
            let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
            // A session that breaks is the client's to notice.
            let script = self.script;
            std::thread::spawn(move || drop(serve_session(script, theirs)));
            ours.set_nonblocking(true).map_err(failed)?;
            let stream = tokio::net::UnixStream::from_std(ours).map_err(failed)?;
            Ok(Box::new(stream) as GuestStream)
        })
    }

    fn pause(&self) -> LocalFuture<'_, Result<(), BackendError>> {
        self.paused.set(true);
        Box::pin(async { Ok(()) })
    }

    fn resume(&self) -> LocalFuture<'_, Result<(), BackendError>> {
        self.paused.set(false);
        Box::pin(async { Ok(()) })
    }

    fn terminate(&self) -> Result<(), BackendError> {
        if !self.script.ignores_terminate {
            self.ending.come(VmExit {
                signal: Some(15),
                ..VmExit::default()
            });
        }
        Ok(())
    }

    fn kill(&self) -> Result<(), BackendError> {
        self.ending.come(VmExit {
            signal: Some(9),
            ..VmExit::default()
        });
        Ok(())
    }

    fn cut_network(&self) -> LocalFuture<'_, Result<(), BackendError>> {
        Box::pin(async { Ok(()) })
    }

    fn wind_up(&self) -> LocalFuture<'_, ()> {
        Box::pin(async {})
    }
}
