//! One boot on its way: listeners, confinement, Firecracker and everything that its API is told.
//!
//! Firecracker makes its sockets itself, so all that has to be there before it are the listeners for
//! what the guest dials, the pipe for its log and, with a NIC, a tap in its own network, which is why
//! `nat` needs that network. Each step that fails ends what the steps before have started.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use microagent_linux_host::confine::child::{ChildKind, ConfinedChild};
use microagent_linux_host::confine::jail as confined;
use microagent_linux_host::confine::message::{Become, Report};
use microagent_linux_host::confine::{landlock, observe, plan};
use microagent_linux_host::control_group::ControlGroup;
use microagent_linux_host::launch::{Launch, Running};
use microagent_linux_host::user_network::reach::Reach;
use microagent_linux_host::user_network::relay::Relay;
use microagent_linux_host::user_network::{self, PASST, PASST_SOCKET};
use microagent_linux_host::vsock_gate::VsockGate;
use microagent_linux_host::vsock_unix::{DEVICE_SOCKET, GuestSocket};
use microagent_os::local_socket::SocketError;
use microagent_os::{FsError, fs};
use microagent_supervisor::backend::{
    BackendError, BackendErrorKind, ConfinementDemand, ConfinementPart, ConfinementReport, Console,
    GuestAddresses, GuestListener, GuestNic, LaunchSpec, Launched, LocalFuture, Preparation,
};
use microagent_types::VsockPort;
use tokio::net::unix::pipe;

use crate::client::ApiClient;
use crate::config::{self, API_SOCKET, LOG_PIPE};
use crate::host::{FIRECRACKER, FIRECRACKER_HINT, PASST_HINT, Tools};
use crate::jail;
use crate::version::FirecrackerVersion;
use crate::vm::{FirecrackerVm, Network, api_failure};

/// What a person can do where there is no tap.
const NO_TAP_HINT: &str = "use the network mode `isolated`, or let confinement have its namespaces";

/// Why Firecracker does not stand ready.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("Firecracker ended while it was starting: {}", last_lines.join("; "))]
    Ended { last_lines: Vec<String> },
    #[error("cannot make the pipe for the log")]
    LogPipe(#[source] FsError),
    #[error("cannot read the pipe for the log")]
    ReadLog(#[source] std::io::Error),
    #[error("cannot make the network's socket")]
    NetworkSocket(#[source] std::io::Error),
    #[error("the network mode `nat` needs a network namespace for the VMM: {reason}")]
    NoTap { reason: String },
    #[error("cannot relay the guest's frames")]
    Relay(#[source] std::io::Error),
}

pub(crate) struct FirecrackerPreparation {
    tools: Rc<Tools>,
    spec: LaunchSpec,
    group: Option<ControlGroup>,
    engine: Option<Engine>,
    confined: Option<Confined>,
    network: Option<Network>,
}

/// The network engine and our end of the wire.
struct Engine {
    passt: Running,
    /// Gone once the relay has them.
    wire: Option<(OwnedFd, Reach)>,
}

/// A child in its own root that will be Firecracker.
struct Confined {
    child: ConfinedChild,
    console: Console,
    /// Whether it sees its own root, and so other paths.
    private_root: bool,
}

/// Firecracker with its API.
struct Started {
    firecracker: Running,
    console: Console,
    api: ApiClient,
    version: FirecrackerVersion,
}

impl FirecrackerPreparation {
    pub(crate) fn new(tools: Rc<Tools>, spec: LaunchSpec) -> Self {
        Self {
            tools,
            spec,
            engine: None,
            confined: None,
            network: None,
            group: None,
        }
    }

    async fn start_passt(&mut self, nic: &GuestNic) -> Result<(), BackendError> {
        let program = self.tools.passt().map_err(|error| {
            BackendError::new(BackendErrorKind::Unsupported, PASST, error).with_hint(PASST_HINT)
        })?;
        let asked = program.clone();
        // A program is run to its end, which must not hold up the loop.
        let features = tokio::task::spawn_blocking(move || user_network::observe(&asked))
            .await
            .map_err(passt_failed)?
            .map_err(passt_failed)?;
        let (wire, wire_of_passt) = user_network::socket_pair()
            .map_err(|error| passt_failed(StartError::NetworkSocket(error)))?;
        let with_v6 = matches!(nic.addresses, GuestAddresses::Static { v6: Some(_), .. });
        let reach = user_network::reach(nic, features).map_err(passt_failed)?;
        let passt = Launch {
            name: PASST,
            program,
            arguments: user_network::arguments(with_v6, features, &nic.openings),
            working_folder: "/".into(),
            search_path: self.tools.search_path().to_owned(),
            descriptors: vec![(PASST_SOCKET, wire_of_passt)],
        };
        let passt = passt.start_helper().map_err(passt_failed)?;
        if let Some(group) = &self.group {
            drop(group.take_in(&passt.process));
        }
        self.engine = Some(Engine {
            passt,
            wire: Some((wire, reach)),
        });
        Ok(())
    }

    /// Ties the guest's tap to the engine.
    fn start_relay(&mut self, packet_socket: OwnedFd) -> Result<(), BackendError> {
        let wire = self.engine.as_mut().and_then(|engine| engine.wire.take());
        let Some((wire, reach)) = wire else {
            return Ok(());
        };
        let relay = Relay::start(packet_socket, wire, reach)
            .map_err(|error| failed(StartError::Relay(error)))?;
        let engine = self.engine.take();
        self.network = engine.map(|engine| Network::new(engine.passt, relay));
        Ok(())
    }

    fn program(&self) -> Result<PathBuf, BackendError> {
        let program = self.tools.firecracker().map_err(|error| {
            BackendError::new(BackendErrorKind::Unsupported, FIRECRACKER, error)
                .with_hint(FIRECRACKER_HINT)
        })?;
        // A link may lead out of what a confined program sees.
        Ok(fs::canonical(&program).unwrap_or(program))
    }

    fn launch_of(&self, program: PathBuf) -> Launch {
        Launch {
            name: FIRECRACKER,
            program,
            arguments: Vec::new(),
            working_folder: self.spec.run.path.as_path().to_owned(),
            search_path: self.tools.search_path().to_owned(),
            descriptors: Vec::new(),
        }
    }

    /// Starts the child that will be Firecracker and has it set itself up.
    async fn start_confined(&mut self) -> Result<Report, BackendError> {
        let setup = jail::setup(&self.spec, &self.program()?);
        confined::make_mount_point(&self.spec).map_err(failed)?;
        let launch = self.launch_of(confined::OWN_EXECUTABLE.into());
        let started =
            ConfinedChild::start(launch, ChildKind::Vmm, &setup, self.group.as_ref()).await;
        let (mut child, console, report) = match started {
            Ok(started) => started,
            // Whether nothing will do is the plan's to say.
            Err(error) => return Ok(Report::nothing(&error.to_string())),
        };
        let packet_socket = child.take_packet_socket();
        self.confined = Some(Confined {
            child,
            console: console.expect("a VMM's child has a console"),
            private_root: report.holds.contains(&ConfinementPart::PrivateRoot),
        });
        if let Some(socket) = packet_socket {
            self.start_relay(socket)?;
        }
        Ok(report)
    }

    async fn confine_as_demanded(&mut self) -> Result<ConfinementReport, BackendError> {
        // The root shows it under its name, so it must be there before.
        fs::create_fifo(&self.log_pipe()).map_err(|error| failed(StartError::LogPipe(error)))?;
        let mut facts = observe::monitor_facts(self.spec.own_pid_namespace);
        let mut tap = None;
        if self.spec.confinement != ConfinementDemand::Off {
            let report = self.start_confined().await?;
            facts.take_report(&report);
            // Nothing is started from here on: what will be the VMM waits for its words.
            facts.landlock = landlock::restrict_monitor(&self.spec, &report, self.group.as_ref());
            tap = report.tap;
        }
        let plan = plan::plan(&facts, self.spec.confinement).map_err(|refusal| {
            let hint = observe::way_out(&refusal);
            BackendError::new(BackendErrorKind::Unsupported, FIRECRACKER, refusal).with_hint(hint)
        })?;
        for (part, obstacle) in &plan.missing {
            tracing::info!(part = part.as_str(), %obstacle, "confinement without a part");
        }
        if self.spec.nic.is_some() && self.network.is_none() {
            return Err(no_tap(tap));
        }
        Ok(ConfinementReport { parts: plan.holds })
    }

    fn log_pipe(&self) -> PathBuf {
        self.spec.run.path.as_path().join(LOG_PIPE)
    }

    async fn launch_all(mut self) -> Result<Launched, BackendError> {
        let started = match self.start().await {
            Ok(started) => started,
            Err(error) => {
                self.end_children().await;
                return Err(error);
            }
        };
        let version = started.version;
        let vsock_socket = self.socket(DEVICE_SOCKET);
        let (vm, events) = FirecrackerVm::new(
            started.firecracker,
            started.api,
            version,
            vsock_socket,
            self.network,
            self.group,
        );
        Ok(Launched {
            vm,
            console: started.console,
            events,
            engine_version: Some(version.to_string()),
        })
    }

    async fn start(&mut self) -> Result<Started, BackendError> {
        let (firecracker, console, spec) = self.start_vmm().await?;
        match self.configure(&firecracker, &spec).await {
            Ok((api, version)) => Ok(Started {
                firecracker,
                console,
                api,
                version,
            }),
            Err(error) => {
                // One that refuses its words says why and ends.
                let has_ended = firecracker.process.exit().is_some();
                firecracker.process.end_at_once().await;
                if !has_ended {
                    return Err(error);
                }
                let last_lines = firecracker.last_lines.at_the_end().await;
                Err(failed(StartError::Ended { last_lines }))
            }
        }
    }

    /// Starts Firecracker; gives also the spec as it sees it.
    async fn start_vmm(&mut self) -> Result<(Running, Console, LaunchSpec), BackendError> {
        let arguments = config::arguments(&self.spec.boot_id);
        let Some(confined) = self.confined.take() else {
            let mut launch = self.launch_of(self.program()?);
            launch.arguments = arguments;
            let (firecracker, console) = launch.start_vmm().map_err(failed)?;
            return Ok((firecracker, console, self.spec.clone()));
        };
        let (spec, working_folder) = if confined.private_root {
            let inside = confined::seen_from_inside(&self.spec);
            (inside, confined::working_folder_inside())
        } else {
            let folder = self.spec.run.path.as_path().to_owned();
            (self.spec.clone(), folder)
        };
        let target = Become {
            program: self.program()?,
            working_folder,
            descriptors: Vec::new(),
            arguments,
        };
        let turned = confined.child.turn_into(&target).await;
        Ok((turned.map_err(failed)?, confined.console, spec))
    }

    /// Reads its log from now on, waits for its API and tells it everything but to start.
    async fn configure(
        &self,
        firecracker: &Running,
        spec: &LaunchSpec,
    ) -> Result<(ApiClient, FirecrackerVersion), BackendError> {
        let log = open_log(&self.log_pipe()).map_err(|error| failed(StartError::ReadLog(error)))?;
        firecracker.drain_also(log);
        let api = tokio::select! {
            api = ApiClient::connect(self.socket(API_SOCKET)) => api.map_err(api_failure)?,
            _ = firecracker.process.ended() => {
                let last_lines = firecracker.last_lines.at_the_end().await;
                return Err(failed(StartError::Ended { last_lines }));
            }
        };
        let version = api.version().await.map_err(api_failure)?;
        version.check().map_err(|error| {
            BackendError::new(BackendErrorKind::Unsupported, FIRECRACKER, error)
                .with_hint(FIRECRACKER_HINT)
        })?;
        for call in config::calls(spec, version) {
            api.call(&call).await.map_err(api_failure)?;
        }
        Ok((api, version))
    }

    async fn end_children(&mut self) {
        if let Some(confined) = self.confined.take() {
            confined.child.end().await;
        }
        if let Some(network) = self.network.take() {
            network.end().await;
        }
        if let Some(engine) = self.engine.take() {
            engine.passt.process.end().await;
        }
        if let Some(group) = self.group.take() {
            group.remove();
        }
    }

    /// A socket in the run folder, by a name that is short enough.
    fn socket(&self, name: &str) -> PathBuf {
        self.spec.run.socket_prefix.as_path().join(name)
    }
}

/// The reading end. It is opened for writing too: a pipe that nobody writes to yet has no end.
fn open_log(path: &Path) -> std::io::Result<pipe::Receiver> {
    pipe::OpenOptions::new()
        .read_write(true)
        .open_receiver(path)
}

impl Preparation for FirecrackerPreparation {
    fn listen(&mut self, port: VsockPort) -> Result<Box<dyn GuestListener>, BackendError> {
        let socket = GuestSocket::listen(&self.socket(DEVICE_SOCKET), port, VsockGate::default());
        let socket = socket.map_err(|error| {
            let kind = match &error {
                SocketError::Bind { source, .. }
                    if source.kind() == std::io::ErrorKind::AddrInUse =>
                {
                    BackendErrorKind::Conflict
                }
                _ => BackendErrorKind::Failed,
            };
            BackendError::new(kind, FIRECRACKER, error)
        })?;
        Ok(Box::new(socket))
    }

    fn start_network(&mut self) -> LocalFuture<'_, Result<(), BackendError>> {
        Box::pin(async {
            self.group = ControlGroup::for_boot(&self.spec);
            match self.spec.nic.clone() {
                Some(nic) => self.start_passt(&nic).await,
                None => Ok(()),
            }
        })
    }

    fn confine(&mut self) -> LocalFuture<'_, Result<ConfinementReport, BackendError>> {
        Box::pin(self.confine_as_demanded())
    }

    fn launch(self: Box<Self>) -> LocalFuture<'static, Result<Launched, BackendError>> {
        Box::pin(self.launch_all())
    }

    fn abandon(mut self: Box<Self>) -> LocalFuture<'static, ()> {
        Box::pin(async move {
            self.end_children().await;
            if let Err(error) = fs::remove_file(&self.log_pipe()) {
                tracing::warn!(%error, "cannot remove the pipe for the log");
            }
        })
    }
}

fn no_tap(tap: Option<Result<(), String>>) -> BackendError {
    let reason = match tap {
        Some(Err(reason)) => reason,
        _ => "it was not set up".to_owned(),
    };
    let error = StartError::NoTap { reason };
    BackendError::new(BackendErrorKind::Unsupported, FIRECRACKER, error).with_hint(NO_TAP_HINT)
}

fn passt_failed(error: impl Into<Box<dyn std::error::Error + 'static>>) -> BackendError {
    BackendError::new(BackendErrorKind::Failed, PASST, error)
}

fn failed(error: impl Into<Box<dyn std::error::Error + 'static>>) -> BackendError {
    BackendError::new(BackendErrorKind::Failed, FIRECRACKER, error)
}

#[cfg(test)]
mod peer;
#[cfg(test)]
mod tests;
