//! One running QEMU with its helpers.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use microagent_linux_host::control_group::{self, ControlGroup};
use microagent_linux_host::handshake::HandshakeError;
use microagent_linux_host::launch::Running;
use microagent_linux_host::user_network::wire::Wire;
use microagent_linux_host::vsock_gate::VsockGate;
use microagent_linux_host::vsock_unix::{DialError, VsockDialler};
use microagent_os::process::Signal;
use microagent_supervisor::backend::{
    BackendError, BackendErrorKind, GuestStream, Helper, LocalFuture, NetworkBytes, Severs,
    VM_EVENTS_MAX, Vm, VmEvent, VmIdentity,
};
use microagent_types::{AbsPath, VsockPort};
use tokio::sync::mpsc;

use crate::qmp::{Qmp, QmpError};

/// The name under which QEMU's failures are reported.
pub(crate) const QEMU: &str = "qemu";

/// A helper sees QEMU's sockets close a moment before QEMU is gone: only a helper whose VM still
/// lives after this time died by itself.
const VM_END_GRACE: Duration = Duration::from_millis(500);

/// The processes of one VM.
#[derive(Debug)]
pub(crate) struct Processes {
    /// QEMU.
    pub(crate) qemu: Running,
    /// The guest's vsock.
    pub(crate) vsock_device: Running,
    /// The network engine and the wire to it, in a mode that has one.
    pub(crate) network: Option<(Running, Wire)>,
    /// What they are all in, where there is one.
    pub(crate) group: Option<ControlGroup>,
}

/// A QEMU that takes commands.
#[derive(Debug)]
pub(crate) struct QemuVm {
    processes: Processes,
    qmp: Qmp,
    dialler: VsockDialler,
    gate: VsockGate,
    network_is_cut: Rc<Cell<bool>>,
}

/// How long the gate stays shut for a guest that was resumed. QEMU sets up the queues of the vsock device anew
/// and does not hear when the device (0.3.0) has done so.
const VSOCK_DEVICE_SETTLES: Duration = Duration::from_millis(100);
/// How long the device may take what it was given before the guest stands still.
const VSOCK_DEVICE_TAKES: Duration = Duration::from_millis(200);

impl QemuVm {
    /// Takes the processes over and begins to watch them.
    pub(crate) fn new(
        processes: Processes,
        qmp: Qmp,
        vsock_socket: PathBuf,
        gate: VsockGate,
    ) -> (Rc<Self>, mpsc::Receiver<VmEvent>) {
        let (events, receiver) = mpsc::channel(VM_EVENTS_MAX);
        let network_is_cut = Rc::new(Cell::new(false));
        watch_qemu(&processes, gate.clone(), events.clone());
        let on_purpose = Rc::new(Cell::new(false));
        watch_helper(
            &processes,
            &processes.vsock_device,
            Severs::Vsock,
            on_purpose,
            &events,
        );
        if let Some((passt, _)) = &processes.network {
            let on_purpose = network_is_cut.clone();
            watch_helper(&processes, passt, Severs::Network, on_purpose, &events);
        }
        let vm = Self {
            processes,
            qmp,
            dialler: VsockDialler::new(vsock_socket, gate.clone()),
            gate,
            network_is_cut,
        };
        (Rc::new(vm), receiver)
    }

    fn signal(&self, signal: Signal) -> Result<(), BackendError> {
        match self.processes.qemu.process.signal(signal) {
            Ok(_) => Ok(()),
            Err(error) => Err(BackendError::new(BackendErrorKind::Failed, QEMU, error)),
        }
    }
}

fn watch_qemu(processes: &Processes, gate: VsockGate, events: mpsc::Sender<VmEvent>) {
    let qemu = processes.qemu.process.clone();
    let group = processes.group.clone();
    tokio::task::spawn_local(async move {
        let exit = qemu.ended().await.ok();
        let exit = control_group::vm_exit(exit, group.as_ref());
        // Whoever still waits for the guest is to hear that it has gone.
        gate.open();
        // Whoever listened may be gone.
        let _ = events.send(VmEvent::Ended(exit)).await;
    });
}

/// Reports a helper that ended while its VM goes on. The ends that a VM's own end brings about, and
/// those that were asked for, are nobody's news.
fn watch_helper(
    processes: &Processes,
    helper: &Running,
    severs: Severs,
    on_purpose: Rc<Cell<bool>>,
    events: &mpsc::Sender<VmEvent>,
) {
    let (qemu, helper) = (processes.qemu.process.clone(), helper.process.clone());
    let events = events.clone();
    tokio::task::spawn_local(async move {
        let _ = helper.ended().await;
        let vm_ends = tokio::time::timeout(VM_END_GRACE, qemu.ended()).await;
        if vm_ends.is_err() && !on_purpose.get() {
            let name = helper.name();
            let _ = events.send(VmEvent::HelperEnded { name, severs }).await;
        }
    });
}

impl Vm for QemuVm {
    fn identity(&self) -> VmIdentity {
        VmIdentity::Process(self.processes.qemu.process.identity().clone())
    }

    fn helpers(&self) -> Vec<Helper> {
        let helpers = [
            Some(&self.processes.vsock_device),
            self.processes.network.as_ref().map(|(passt, _)| passt),
        ];
        helpers
            .into_iter()
            .flatten()
            .map(|running| Helper {
                name: running.process.name(),
                identity: running.process.identity().clone(),
            })
            .collect()
    }

    fn cgroup(&self) -> Option<AbsPath> {
        let group = self.processes.group.as_ref()?;
        Some(group.path().clone())
    }

    fn network_engine(&self) -> Option<&'static str> {
        let (passt, _) = self.processes.network.as_ref()?;
        Some(passt.process.name())
    }

    fn network_bytes(&self) -> Option<NetworkBytes> {
        let (_, wire) = self.processes.network.as_ref()?;
        Some(wire.bytes())
    }

    fn run(&self) -> LocalFuture<'_, Result<(), BackendError>> {
        Box::pin(async { self.qmp.cont().await.map_err(qmp_failure) })
    }

    fn dial(&self, port: VsockPort) -> LocalFuture<'_, Result<GuestStream, BackendError>> {
        Box::pin(async move {
            let stream = self.dialler.dial(port).await.map_err(dial_failure)?;
            Ok(Box::new(stream) as GuestStream)
        })
    }

    fn pause(&self) -> LocalFuture<'_, Result<(), BackendError>> {
        Box::pin(async {
            self.gate.shut();
            self.gate.settled(VSOCK_DEVICE_TAKES).await;
            let stopped = self.qmp.stop().await;
            if stopped.is_err() {
                self.gate.open();
            }
            stopped.map_err(qmp_failure)
        })
    }

    fn resume(&self) -> LocalFuture<'_, Result<(), BackendError>> {
        Box::pin(async {
            self.run().await?;
            tokio::time::sleep(VSOCK_DEVICE_SETTLES).await;
            self.gate.open();
            Ok(())
        })
    }

    fn terminate(&self) -> Result<(), BackendError> {
        self.signal(Signal::Terminate)
    }

    fn kill(&self) -> Result<(), BackendError> {
        self.signal(Signal::Kill)
    }

    fn cut_network(&self) -> LocalFuture<'_, Result<(), BackendError>> {
        Box::pin(async {
            let Some((passt, wire)) = &self.processes.network else {
                return Ok(());
            };
            self.network_is_cut.set(true);
            // Nothing crosses from here on. What follows is for the guest, which sees its link go, and
            // for the host, which gets back what the engine holds.
            wire.cut().await;
            let link = self.qmp.set_link_down().await;
            passt.process.end().await;
            match link {
                Ok(()) | Err(QmpError::Gone) => Ok(()),
                Err(error) => Err(qmp_failure(error)),
            }
        })
    }

    fn wind_up(&self) -> LocalFuture<'_, ()> {
        Box::pin(async {
            let passt = async {
                if let Some((passt, _)) = &self.processes.network {
                    passt.process.end().await;
                }
            };
            tokio::join!(self.processes.vsock_device.process.end(), passt);
            if let Some(group) = &self.processes.group {
                group.remove();
            }
        })
    }
}

/// What a failure of the control connection means to a caller.
pub(crate) fn qmp_failure(error: QmpError) -> BackendError {
    let kind = match &error {
        QmpError::Silent { .. } => BackendErrorKind::Timeout,
        QmpError::Refused { .. }
        | QmpError::Gone
        | QmpError::Broken(_)
        | QmpError::Strange(_)
        | QmpError::NoGreeting => BackendErrorKind::Failed,
    };
    BackendError::new(kind, QEMU, error)
}

fn dial_failure(error: DialError) -> BackendError {
    let kind = match &error {
        DialError::Handshake {
            source: HandshakeError::Refused,
            ..
        } => BackendErrorKind::NotFound,
        DialError::Silent { .. } => BackendErrorKind::Timeout,
        DialError::TooMany => BackendErrorKind::Resource,
        DialError::Connect { .. } | DialError::Handshake { .. } | DialError::Broken { .. } => {
            BackendErrorKind::Failed
        }
    };
    BackendError::new(kind, crate::host::VSOCK_DEVICE, error)
}
