//! One running Firecracker with its network engine.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use microagent_linux_host::control_group::{self, ControlGroup};
use microagent_linux_host::handshake::HandshakeError;
use microagent_linux_host::launch::Running;
use microagent_linux_host::user_network::relay::Relay;
use microagent_linux_host::vsock_gate::VsockGate;
use microagent_linux_host::vsock_unix::{DialError, VsockDialler};
use microagent_os::process::Signal;
use microagent_supervisor::backend::{
    BackendError, BackendErrorKind, GuestStream, Helper, LocalFuture, NetworkBytes, Severs,
    VM_EVENTS_MAX, Vm, VmEvent, VmIdentity,
};
use microagent_types::{AbsPath, VsockPort};
use tokio::sync::mpsc;

use crate::client::{ApiClient, ApiError};
use crate::config::Call;
use crate::host::FIRECRACKER;
use crate::version::FirecrackerVersion;

/// The network engine sees its wire close a moment before Firecracker is gone: only one whose VM
/// still lives after this time died by itself.
const VM_END_GRACE: Duration = Duration::from_millis(500);
/// What a person can do about a version that must not be paused.
const PAUSE_HINT: &str = "use Firecracker 1.15 or older, or a version after 1.16.1";

/// A version that must not be paused.
#[derive(Debug, thiserror::Error)]
#[error("Firecracker {0} loses the guest's vsock at a pause")]
struct PauseBreaksVsock(FirecrackerVersion);

/// A Firecracker that takes calls.
#[derive(Debug)]
pub(crate) struct FirecrackerVm {
    firecracker: Running,
    api: ApiClient,
    version: FirecrackerVersion,
    dialler: VsockDialler,
    network: Option<Network>,
    group: Option<ControlGroup>,
}

/// The guest's way out.
#[derive(Debug)]
pub(crate) struct Network {
    passt: Running,
    relay: Relay,
    is_cut: Rc<Cell<bool>>,
}

impl Network {
    /// A relay at work and its engine.
    pub(crate) fn new(passt: Running, relay: Relay) -> Self {
        Self {
            passt,
            relay,
            is_cut: Rc::default(),
        }
    }

    /// Cuts it, and ends the engine.
    pub(crate) async fn end(&self) {
        self.is_cut.set(true);
        self.relay.cut().await;
        self.passt.process.end().await;
    }
}

impl FirecrackerVm {
    /// Takes the processes over and begins to watch them.
    pub(crate) fn new(
        firecracker: Running,
        api: ApiClient,
        version: FirecrackerVersion,
        vsock_socket: PathBuf,
        network: Option<Network>,
        group: Option<ControlGroup>,
    ) -> (Rc<Self>, mpsc::Receiver<VmEvent>) {
        let (events, receiver) = mpsc::channel(VM_EVENTS_MAX);
        watch_vmm(&firecracker, group.clone(), events.clone());
        if let Some(network) = &network {
            watch_engine(&firecracker, network, events);
        }
        let vm = Self {
            firecracker,
            api,
            version,
            dialler: VsockDialler::new(vsock_socket, VsockGate::default()),
            network,
            group,
        };
        (Rc::new(vm), receiver)
    }

    fn signal(&self, signal: Signal) -> Result<(), BackendError> {
        match self.firecracker.process.signal(signal) {
            Ok(_) => Ok(()),
            Err(error) => Err(BackendError::new(
                BackendErrorKind::Failed,
                FIRECRACKER,
                error,
            )),
        }
    }

    async fn call(&self, call: Call) -> Result<(), BackendError> {
        let answer = self.api.call(&call).await;
        answer.map(drop).map_err(api_failure)
    }
}

fn watch_vmm(firecracker: &Running, group: Option<ControlGroup>, events: mpsc::Sender<VmEvent>) {
    let process = firecracker.process.clone();
    tokio::task::spawn_local(async move {
        let exit = process.ended().await.ok();
        let exit = control_group::vm_exit(exit, group.as_ref());
        // Whoever listened may be gone.
        let _ = events.send(VmEvent::Ended(exit)).await;
    });
}

/// Reports an engine that ended while its VM goes on, unless that was asked for.
fn watch_engine(firecracker: &Running, network: &Network, events: mpsc::Sender<VmEvent>) {
    let (vmm, passt) = (firecracker.process.clone(), network.passt.process.clone());
    let is_cut = network.is_cut.clone();
    tokio::task::spawn_local(async move {
        let _ = passt.ended().await;
        let vm_ends = tokio::time::timeout(VM_END_GRACE, vmm.ended()).await;
        if vm_ends.is_err() && !is_cut.get() {
            let event = VmEvent::HelperEnded {
                name: passt.name(),
                severs: Severs::Network,
            };
            let _ = events.send(event).await;
        }
    });
}

impl Vm for FirecrackerVm {
    fn identity(&self) -> VmIdentity {
        VmIdentity::Process(self.firecracker.process.identity().clone())
    }

    fn helpers(&self) -> Vec<Helper> {
        let passt = self.network.as_ref().map(|network| &network.passt);
        let helper = passt.map(|passt| Helper {
            name: passt.process.name(),
            identity: passt.process.identity().clone(),
        });
        helper.into_iter().collect()
    }

    fn cgroup(&self) -> Option<AbsPath> {
        self.group.as_ref().map(|group| group.path().clone())
    }

    fn network_engine(&self) -> Option<&'static str> {
        self.network
            .as_ref()
            .map(|network| network.passt.process.name())
    }

    fn network_bytes(&self) -> Option<NetworkBytes> {
        let network = self.network.as_ref()?;
        Some(network.relay.bytes())
    }

    fn run(&self) -> LocalFuture<'_, Result<(), BackendError>> {
        Box::pin(self.call(Call::start()))
    }

    fn dial(&self, port: VsockPort) -> LocalFuture<'_, Result<GuestStream, BackendError>> {
        Box::pin(async move {
            let stream = self.dialler.dial(port).await.map_err(dial_failure)?;
            Ok(Box::new(stream) as GuestStream)
        })
    }

    fn pause(&self) -> LocalFuture<'_, Result<(), BackendError>> {
        Box::pin(async {
            if !self.version.can_pause() {
                let error = PauseBreaksVsock(self.version);
                let kind = BackendErrorKind::Unsupported;
                return Err(BackendError::new(kind, FIRECRACKER, error).with_hint(PAUSE_HINT));
            }
            self.call(Call::pause()).await
        })
    }

    fn resume(&self) -> LocalFuture<'_, Result<(), BackendError>> {
        Box::pin(self.call(Call::resume()))
    }

    fn terminate(&self) -> Result<(), BackendError> {
        self.signal(Signal::Terminate)
    }

    fn kill(&self) -> Result<(), BackendError> {
        self.signal(Signal::Kill)
    }

    fn cut_network(&self) -> LocalFuture<'_, Result<(), BackendError>> {
        Box::pin(async {
            if let Some(network) = &self.network {
                network.end().await;
            }
            Ok(())
        })
    }

    fn wind_up(&self) -> LocalFuture<'_, ()> {
        Box::pin(async {
            if let Some(network) = &self.network {
                network.end().await;
            }
            if let Some(group) = &self.group {
                group.remove();
            }
        })
    }
}

/// What a failure of the API means to a caller.
pub(crate) fn api_failure(error: ApiError) -> BackendError {
    let kind = match &error {
        ApiError::Silent { .. } | ApiError::NoSocket { .. } => BackendErrorKind::Timeout,
        ApiError::NoVersion(_) => BackendErrorKind::Unsupported,
        ApiError::Refused { .. } | ApiError::Broken { .. } | ApiError::TooLong { .. } => {
            BackendErrorKind::Failed
        }
    };
    BackendError::new(kind, FIRECRACKER, error)
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
    BackendError::new(kind, FIRECRACKER, error)
}
