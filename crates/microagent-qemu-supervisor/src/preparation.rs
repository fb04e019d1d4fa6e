//! One boot on its way: listeners, network engine, confinement, vsock device, QEMU.
//!
//! The order is fixed by what connects to what: the network engine has its socket before it starts,
//! the vsock device listens before QEMU does, and QEMU stands still until somebody says go. The
//! vsock device needs a while until it listens, so it is started first and awaited last. Each step
//! that fails ends what the steps before have started.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use microagent_linux_host::confine::child::{ChildKind, ConfinedChild};
use microagent_linux_host::confine::jail::{self, OWN_EXECUTABLE};
use microagent_linux_host::confine::message::{Become, Report};
use microagent_linux_host::confine::{landlock, observe, plan};
use microagent_linux_host::control_group::ControlGroup;
use microagent_linux_host::host_report;
use microagent_linux_host::launch::{Launch, LaunchError, Running};
use microagent_linux_host::user_network::wire::Wire;
use microagent_linux_host::user_network::{self, PASST, PASST_SOCKET};
use microagent_linux_host::vsock_gate::VsockGate;
use microagent_linux_host::vsock_unix::{DEVICE_SOCKET, GuestSocket};
use microagent_machine::Accelerator;
use microagent_os::fs;
use microagent_os::local_socket::SocketError;
use microagent_supervisor::backend::{
    BackendError, BackendErrorKind, ConfinementDemand, ConfinementPart, ConfinementReport, Console,
    GuestAddresses, GuestListener, GuestNic, LaunchSpec, Launched, LocalFuture, Preparation,
    version_of_engine,
};
use microagent_types::VsockPort;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use crate::command_line::{self, Execution, HostClock, NETWORK_SOCKET, QMP_SOCKET};
use crate::confinement;
use crate::failures::{self, failed, unsupported};
use crate::host::{Tools, VSOCK_DEVICE};
use crate::qmp::{QemuVersion, Qmp, QmpError};
use crate::vm::{Processes, QEMU, QemuVm, qmp_failure};
use crate::vsock_device::{self, VsockDeviceError};

/// The first version with `-netdev stream`.
const OLDEST_QEMU: QemuVersion = QemuVersion {
    major: 7,
    minor: 2,
    micro: 0,
};

/// The host's clock source, of one word.
const CLOCK_SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
const CLOCK_SOURCE_BYTES_MAX: u64 = 4096;

/// Why QEMU does not stand ready.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("QEMU {found} is too old; {OLDEST_QEMU} is the oldest that works")]
    TooOld { found: QemuVersion },
    #[error("QEMU ended while it was starting: {}", last_lines.join("; "))]
    Ended { last_lines: Vec<String> },
    #[error("cannot make a control connection to QEMU")]
    Control(#[source] std::io::Error),
    #[error("cannot make the network's socket")]
    NetworkSocket(#[source] std::io::Error),
}

pub(crate) struct QemuPreparation {
    tools: Rc<Tools>,
    spec: LaunchSpec,
    group: Option<ControlGroup>,
    clock: HostClock,
    vsock_gate: VsockGate,
    vsock_device: Option<vsock_device::Starting>,
    network: Option<Network>,
    confined: Option<ConfinedQemu>,
    /// Asked for beside everything else, and only where it matters before QEMU runs.
    version: Option<JoinHandle<Option<String>>>,
}

/// A child in its own root that will be QEMU.
struct ConfinedQemu {
    child: ConfinedChild,
    console: Console,
    control: UnixStream,
    /// Whether it sees its own root, and so other paths.
    private_root: bool,
}

/// The network engine, the wire to it and QEMU's end of that.
struct Network {
    passt: Running,
    wire: Wire,
    /// Gone once QEMU has it.
    socket: Option<OwnedFd>,
}

impl QemuPreparation {
    pub(crate) fn new(tools: Rc<Tools>, spec: LaunchSpec) -> Self {
        Self {
            tools,
            spec,
            group: None,
            clock: HostClock::Another,
            vsock_gate: VsockGate::default(),
            vsock_device: None,
            network: None,
            confined: None,
            version: None,
        }
    }

    fn ask_version(&mut self) -> Result<(), BackendError> {
        let accelerator = self.accelerator()?;
        // A missing QEMU is the launch's to tell.
        if accelerator == Accelerator::Emulation
            && let Ok(program) = self.qemu_program()
        {
            let record = self.spec.engine_record.clone();
            let ask = move || version_of_engine(&record, &program, host_report::version_of);
            self.version = Some(tokio::task::spawn_blocking(ask));
        }
        Ok(())
    }

    fn accelerator(&self) -> Result<Accelerator, BackendError> {
        self.tools
            .accelerator()
            .map_err(failures::unusable_override)
    }

    async fn execution(&mut self) -> Result<Execution, BackendError> {
        let version = match self.version.take() {
            Some(asked) => asked.await.ok().flatten(),
            None => None,
        };
        let version = version.and_then(|text| text.parse().ok());
        Execution::new(self.accelerator()?, version, self.clock)
            .map_err(|error| unsupported(QEMU, error))
    }

    async fn start_vsock_device(&self) -> Result<vsock_device::Starting, BackendError> {
        let program = self
            .tools
            .vsock_device()
            .map_err(failures::no_vsock_device)?;
        let program = fs::canonical(&program).unwrap_or(program);
        jail::make_mount_point(&self.spec).map_err(|error| failed(VSOCK_DEVICE, error))?;
        vsock_device::start(&self.tools, &program, &self.spec, self.group.as_ref())
            .await
            .map_err(vsock_device_failure)
    }

    async fn start_passt(&self, nic: GuestNic) -> Result<Network, BackendError> {
        let program = self.tools.passt().map_err(failures::no_passt)?;
        let asked = program.clone();
        // A program is run to its end, which must not hold up the loop.
        let features = tokio::task::spawn_blocking(move || user_network::observe(&asked))
            .await
            .map_err(|error| failed(PASST, error))?
            .map_err(|error| failed(PASST, error))?;
        let socket_failure = |error| failed(PASST, StartError::NetworkSocket(error));
        let (socket, vmm_end) = user_network::socket_pair().map_err(socket_failure)?;
        let (passt_end, passt_socket) = user_network::socket_pair().map_err(socket_failure)?;
        let with_v6 = matches!(nic.addresses, GuestAddresses::Static { v6: Some(_), .. });
        let reach = user_network::reach(&nic, features).map_err(|error| failed(PASST, error))?;
        let passt = Launch {
            name: PASST,
            program,
            arguments: user_network::arguments(with_v6, features, &nic.openings),
            working_folder: "/".into(),
            search_path: self.tools.search_path().to_owned(),
            descriptors: vec![(PASST_SOCKET, passt_socket)],
        };
        let passt = passt.start_helper().map_err(|error| failed(PASST, error))?;
        if let Some(group) = &self.group {
            drop(group.take_in(&passt.process));
        }
        let wire = match Wire::begin(vmm_end, passt_end, reach) {
            Ok(wire) => wire,
            Err(error) => {
                passt.process.end().await;
                return Err(socket_failure(error));
            }
        };
        Ok(Network {
            passt,
            wire,
            socket: Some(socket),
        })
    }

    /// The vsock device and the network engine, beside each other. What was started is kept also when the
    /// other failed, so that it can be ended.
    async fn start_helpers(&mut self) -> Result<(), BackendError> {
        self.ask_version()?;
        // Once the monitor is confined it can't look.
        let clock = fs::read_text_bounded(Path::new(CLOCK_SOURCE), CLOCK_SOURCE_BYTES_MAX).ok();
        self.clock = HostClock::named(clock.as_deref());
        self.group = ControlGroup::for_boot(&self.spec);
        let network = async {
            match self.spec.nic.clone() {
                Some(nic) => self.start_passt(nic).await.map(Some),
                None => Ok(None),
            }
        };
        let (vsock_device, network) = tokio::join!(self.start_vsock_device(), network);
        let vsock_failure = vsock_device.map(|started| self.vsock_device = Some(started));
        let network_failure = network.map(|started| self.network = started);
        vsock_failure.and(network_failure)
    }

    async fn launch_all(mut self) -> Result<Launched, BackendError> {
        let started = self.start_vmm().await;
        let (qemu, vsock_device, qmp, version, console) = match started {
            Ok(started) => started,
            Err(error) => {
                self.end_children().await;
                return Err(error);
            }
        };
        let processes = Processes {
            qemu,
            vsock_device,
            network: self.network.map(|network| (network.passt, network.wire)),
            group: self.group,
        };
        let vsock_socket = self.spec.run.socket_prefix.as_path().join(DEVICE_SOCKET);
        let (vm, events) = QemuVm::new(processes, qmp, vsock_socket, self.vsock_gate.clone());
        Ok(Launched {
            vm,
            console,
            events,
            engine_version: Some(version.to_string()),
        })
    }

    async fn start_vmm(&mut self) -> Result<Started, BackendError> {
        let starting = match self.vsock_device.take() {
            Some(starting) => starting,
            None => self.start_vsock_device().await?,
        };
        let vsock_device = starting
            .listening(&self.spec.run)
            .await
            .map_err(vsock_device_failure)?;
        match self.start_qemu().await {
            Ok((qemu, qmp, version, console)) => Ok((qemu, vsock_device, qmp, version, console)),
            Err(error) => {
                vsock_device.process.end().await;
                Err(error)
            }
        }
    }

    async fn start_qemu(&mut self) -> Result<(Running, Qmp, QemuVersion, Console), BackendError> {
        let execution = self.execution().await?;
        let (qemu, console, control) = match self.confined.take() {
            Some(confined) => self.become_qemu(confined, execution).await?,
            None => {
                let (mut launch, control) = self.qemu_launch()?;
                launch.arguments = command_line::arguments(&self.spec, execution);
                let (qemu, console) = launch.start_vmm().map_err(|error| failed(QEMU, error))?;
                (qemu, console, control)
            }
        };
        if let Some(network) = &mut self.network {
            network.socket = None;
        }
        match greet(control, &qemu).await {
            Ok((qmp, version)) => Ok((qemu, qmp, version, console)),
            Err(error) => {
                qemu.process.end_at_once().await;
                Err(error)
            }
        }
    }

    async fn become_qemu(
        &self,
        confined: ConfinedQemu,
        execution: Execution,
    ) -> Result<(Running, Console, UnixStream), BackendError> {
        let (spec, working_folder) = if confined.private_root {
            let inside = jail::seen_from_inside(&self.spec);
            (inside, jail::working_folder_inside())
        } else {
            let folder = self.spec.run.path.as_path().to_owned();
            (self.spec.clone(), folder)
        };
        let mut descriptors = vec![QMP_SOCKET];
        if self.network.is_some() {
            descriptors.push(NETWORK_SOCKET);
        }
        let target = Become {
            program: self.qemu_program()?,
            working_folder,
            descriptors,
            arguments: command_line::arguments(&spec, execution),
        };
        let turned = confined.child.turn_into(&target).await;
        let qemu = turned.map_err(|error| failed(QEMU, error))?;
        Ok((qemu, confined.console, confined.control))
    }

    fn qemu_program(&self) -> Result<PathBuf, BackendError> {
        let program = self.tools.qemu().map_err(failures::no_qemu)?;
        // A link may lead out of what a confined program sees.
        Ok(fs::canonical(&program).unwrap_or(program))
    }

    /// QEMU's launch without its words, and our end of its control connection.
    fn qemu_launch(&self) -> Result<(Launch, UnixStream), BackendError> {
        let program = self.qemu_program()?;
        let (control, control_of_qemu) =
            control_pair().map_err(|error| failed(QEMU, StartError::Control(error)))?;
        let mut descriptors = vec![(QMP_SOCKET, control_of_qemu)];
        let network = self.network.as_ref();
        if let Some(socket) = network.and_then(|network| network.socket.as_ref()) {
            // A second try needs it again; it is let go of once QEMU runs.
            let socket = socket.try_clone();
            let socket = socket.map_err(|error| failed(QEMU, StartError::NetworkSocket(error)))?;
            descriptors.push((NETWORK_SOCKET, socket));
        }
        let launch = Launch {
            name: QEMU,
            program,
            arguments: Vec::new(),
            working_folder: self.spec.run.path.as_path().to_owned(),
            search_path: self.tools.search_path().to_owned(),
            descriptors,
        };
        Ok((launch, control))
    }

    /// Starts the child that will be QEMU and has it set itself up.
    async fn start_confined(&mut self) -> Result<Report, BackendError> {
        let accelerator = self.accelerator()?;
        let (mut launch, control) = self.qemu_launch()?;
        let setup = confinement::qemu_setup(&self.spec, &launch.program, accelerator);
        jail::make_mount_point(&self.spec).map_err(|error| failed(QEMU, error))?;
        launch.program = OWN_EXECUTABLE.into();
        let started =
            ConfinedChild::start(launch, ChildKind::Vmm, &setup, self.group.as_ref()).await;
        let (child, console, report) = match started {
            Ok(started) => started,
            // Whether nothing will do is the plan's to say.
            Err(error) => return Ok(Report::nothing(&error.to_string())),
        };
        let console = console.expect("a VMM's child has a console");
        self.confined = Some(ConfinedQemu {
            child,
            console,
            control,
            private_root: report.holds.contains(&ConfinementPart::PrivateRoot),
        });
        Ok(report)
    }

    async fn confine_as_demanded(&mut self) -> Result<ConfinementReport, BackendError> {
        let mut facts = observe::monitor_facts(self.spec.own_pid_namespace);
        if self.spec.confinement != ConfinementDemand::Off {
            let report = self.start_confined().await?;
            facts.take_report(&report);
            // Nothing is started from here on: what will be the VMM waits for its words.
            facts.landlock = landlock::restrict_monitor(&self.spec, &report, self.group.as_ref());
        }
        let plan = plan::plan(&facts, self.spec.confinement).map_err(failures::unconfined)?;
        for (part, obstacle) in &plan.missing {
            tracing::info!(part = part.as_str(), %obstacle, "confinement without a part");
        }
        Ok(ConfinementReport { parts: plan.holds })
    }

    async fn end_children(&mut self) {
        if let Some(confined) = self.confined.take() {
            confined.child.end().await;
        }
        if let Some(network) = self.network.take() {
            network.passt.process.end().await;
        }
        if let Some(vsock_device) = self.vsock_device.take() {
            vsock_device.end().await;
        }
        if let Some(group) = self.group.take() {
            group.remove();
        }
    }
}

type Started = (Running, Running, Qmp, QemuVersion, Console);

async fn greet(control: UnixStream, qemu: &Running) -> Result<(Qmp, QemuVersion), BackendError> {
    match Qmp::begin(control).await {
        Ok((_, version)) if version < OLDEST_QEMU => {
            Err(unsupported(QEMU, StartError::TooOld { found: version }))
        }
        Ok(begun) => Ok(begun),
        // A QEMU that refuses its command line says why on stderr and ends.
        Err(QmpError::Gone | QmpError::Broken(_)) => {
            let last_lines = qemu.last_lines.at_the_end().await;
            Err(failed(QEMU, StartError::Ended { last_lines }))
        }
        Err(error) => Err(qmp_failure(error)),
    }
}

/// Our end and QEMU's.
fn control_pair() -> std::io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs.into()))
}

impl Preparation for QemuPreparation {
    fn listen(&mut self, port: VsockPort) -> Result<Box<dyn GuestListener>, BackendError> {
        let device_socket = self.spec.run.socket_prefix.as_path().join(DEVICE_SOCKET);
        let socket = GuestSocket::listen(&device_socket, port, self.vsock_gate.clone()).map_err(
            |error| {
                let kind = match &error {
                    SocketError::Bind { source, .. }
                        if source.kind() == std::io::ErrorKind::AddrInUse =>
                    {
                        BackendErrorKind::Conflict
                    }
                    _ => BackendErrorKind::Failed,
                };
                BackendError::new(kind, VSOCK_DEVICE, error)
            },
        )?;
        Ok(Box::new(socket))
    }

    fn start_network(&mut self) -> LocalFuture<'_, Result<(), BackendError>> {
        Box::pin(self.start_helpers())
    }

    fn confine(&mut self) -> LocalFuture<'_, Result<ConfinementReport, BackendError>> {
        Box::pin(self.confine_as_demanded())
    }

    fn launch(self: Box<Self>) -> LocalFuture<'static, Result<Launched, BackendError>> {
        Box::pin(self.launch_all())
    }

    fn abandon(mut self: Box<Self>) -> LocalFuture<'static, ()> {
        Box::pin(async move { self.end_children().await })
    }
}

fn vsock_device_failure(error: VsockDeviceError) -> BackendError {
    let kind = match &error {
        VsockDeviceError::Silent => BackendErrorKind::Timeout,
        VsockDeviceError::Launch(LaunchError::Pipe { .. } | LaunchError::Spawn(_))
        | VsockDeviceError::Ended { .. } => BackendErrorKind::Failed,
    };
    BackendError::new(kind, VSOCK_DEVICE, error)
}

#[cfg(test)]
mod tests;
