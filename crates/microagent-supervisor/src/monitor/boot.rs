//! The steps of a boot before the guest runs, as types: each consumes the one before, and giving one up
//! undoes it and all before it.
//!
//! ```text
//! Leased ── mediation answers ──> Checked ── ports, disks, logs ──> Claimed ── sockets ──> Serving
//!   (1)                             (2)                              (3)                     (4)
//!                                                     then, as a task: network (5), confinement (6),
//!                                                     launch (7), told to the loop as an event
//! ```
//!
//! Until Serving nobody but the supervisor knows of this monitor, so steps 1 to 4 may simply run; from
//! then on the loop must answer, so the rest is a task of its own. What holds a step (the lease, a lock
//! on a disk, a bound port, a socket's name) lets go when it is dropped: that is the way back.

use super::boot_spec::disks_of_boot;
use super::event::{Event, EventSender, LaunchFailure, Phase};
use super::port_holder;
use super::serial::{ConsoleLog, ConsolePaths, SharedConsole};
use super::target;
use crate::backend::{
    Backend, ConfinementDemand, Disk, DiskAccess, Durability, GuestListener, GuestNic, LaunchSpec,
    Preparation, RunFolder,
};
use crate::faults;
use crate::launch_record::LaunchDocument;
use crate::view::absolute;
use microagent_machine::command_line::kernel_command_line;
use microagent_machine::spec::{
    CloneMethod, DataDisk, Lifetime, MachineSpec, NetworkMode, Requirement,
};
use microagent_os::local_socket::{self, AsyncListener};
use microagent_os::lock::{LockFile, LockMode};
use microagent_os::{clock, dirs, fs, host_pace};
use microagent_state::lease::Lease;
use microagent_state::paths::{Rotation, RunPaths};
use microagent_state::{StateDirectory, WorkspacePaths, WorkspaceRecord};
use microagent_types::env_vars::EnvVar;
use microagent_types::{HostPort, PublishSpec, VsockPort};
use microagent_wire::fault::{Fault, FaultKind};
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::timeout;

/// Most time that the network engine takes to start.
const NETWORK_LIMIT: Duration = Duration::from_secs(5);
/// Most time that confinement takes to set up.
const CONFINEMENT_LIMIT: Duration = Duration::from_secs(5);

/// Everything that a boot is made from.
pub(crate) struct BootPlan<'a> {
    /// The backend.
    pub(crate) backend: &'a dyn Backend,
    /// What was asked for this boot.
    pub(crate) document: LaunchDocument,
    /// Where the workspace lies.
    pub(crate) paths: WorkspacePaths,
    /// What it is.
    pub(crate) workspace: WorkspaceRecord,
    /// What its machine is.
    pub(crate) spec: MachineSpec,
    /// The number of this boot.
    pub(crate) boot_number: u64,
    /// The guest's hardware address.
    pub(crate) mac: Option<[u8; 6]>,
    /// Whether confinement may be missing.
    pub(crate) confinement: ConfinementDemand,
}

/// A start that ended before the VM was launched.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Where.
    pub(crate) phase: Phase,
    /// Why.
    pub(crate) fault: Fault,
}

impl Refused {
    /// At a phase, for a reason.
    pub(crate) fn new(phase: Phase, fault: Fault) -> Self {
        let fault = fault.with_details(|details| {
            details.phase = Some(phase.as_str().to_owned());
        });
        Self { phase, fault }
    }
}

/// Phase 1 is done: no other monitor of this workspace lives.
pub(crate) struct Leased {
    lease: Lease,
}

/// Phase 2 is done: a required mediation target accepts.
pub(crate) struct Checked {
    lease: Lease,
    mediation_error: Option<String>,
}

/// Phase 3 is done: what this boot needs of the host is its own.
pub(crate) struct Claimed {
    lease: Lease,
    mediation_error: Option<String>,
    disks: Vec<LockFile>,
    published: Vec<Published>,
    console: SharedConsole,
}

/// Phase 4 is done: the monitor can be asked, and the guest can dial.
pub(crate) struct Serving {
    /// Held to the end.
    pub(crate) lease: Lease,
    /// Why an optional mediation target is not there.
    pub(crate) mediation_error: Option<String>,
    /// Held while the VM may touch the disks.
    pub(crate) disks: Vec<LockFile>,
    /// Bound ports.
    pub(crate) published: Vec<Published>,
    /// The console's log.
    pub(crate) console: SharedConsole,
    /// The monitor's socket.
    pub(crate) monitor_socket: AsyncListener,
    /// Where sockets lie, by their short name.
    pub(crate) run: RunPaths,
    /// The guest's control connections.
    pub(crate) control: Box<dyn GuestListener>,
    /// The guest's mediation connections.
    pub(crate) mediation: Option<Box<dyn GuestListener>>,
    /// The VM to be.
    pub(crate) preparation: Box<dyn Preparation>,
}

/// A published port that is bound.
pub(crate) struct Published {
    /// What was asked.
    pub(crate) spec: PublishSpec,
    /// The real port.
    pub(crate) host_port: HostPort,
    /// Where connections arrive.
    pub(crate) listener: TcpListener,
}

impl Leased {
    /// Phase 1.
    pub(crate) fn take(plan: &BootPlan<'_>) -> Result<Self, Refused> {
        let lease = Lease::take(&plan.paths).map_err(|error| {
            let fault = Fault::from_error(FaultKind::Busy, &error)
                .with_hint("another monitor of this workspace is ending; try again");
            Refused::new(Phase::Lease, fault)
        })?;
        Ok(Self { lease })
    }

    /// Phase 2.
    pub(crate) async fn check_mediation(self, plan: &BootPlan<'_>) -> Result<Checked, Refused> {
        let mut mediation_error = None;
        if plan.document.maintenance.is_none()
            && let Some(channel) = &plan.spec.mediation
            && let Err(error) = target::probe(&channel.target).await
        {
            if channel.requirement == Requirement::Required {
                let fault = target::unavailable(channel, &error);
                return Err(Refused::new(Phase::Mediation, fault));
            }
            mediation_error = Some(error.to_string());
        }
        Ok(Checked {
            lease: self.lease,
            mediation_error,
        })
    }
}

impl Checked {
    /// Phase 3.
    pub(crate) async fn claim(self, plan: &BootPlan<'_>) -> Result<Claimed, Refused> {
        let refused = |fault| Refused::new(Phase::Publish, fault);
        let mut published = Vec::new();
        for (index, spec) in plan.document.publish.iter().enumerate() {
            published.push(bind(plan, index, *spec).await.map_err(refused)?);
        }
        let disks = lock_disks(plan).map_err(refused)?;
        let paths = ConsolePaths {
            log: plan.paths.serial_log(Rotation::Current),
            index: plan.paths.serial_index(Rotation::Current),
        };
        let boot_number = u32::try_from(plan.boot_number).unwrap_or(u32::MAX);
        let console = ConsoleLog::open(paths, boot_number, clock::now())
            .map_err(|error| refused(faults::of_file(&error)))?;
        Ok(Claimed {
            lease: self.lease,
            mediation_error: self.mediation_error,
            disks,
            published,
            console: Rc::new(RefCell::new(console)),
        })
    }
}

impl Claimed {
    /// Phase 4.
    pub(crate) fn serve(self, plan: &BootPlan<'_>) -> Result<Serving, Refused> {
        let refused = |fault| Refused::new(Phase::Sockets, fault);
        let folder = plan.paths.run_folder();
        dirs::ensure_private(&folder)
            .and_then(|_| fs::empty_folder(&folder))
            .map_err(|error| refused(faults::of_file(&error)))?;
        let run = socket_folder(&plan.paths).map_err(refused)?;
        let monitor_socket = local_socket::listen(&run.monitor_socket())
            .map_err(|error| refused(Fault::from_error(FaultKind::Backend, &error)))?
            .into_async()
            .map_err(|error| refused(Fault::from_error(FaultKind::Backend, &error)))?;
        let launch = launch_spec(plan, &folder, &run).map_err(refused)?;
        let mut preparation = plan.backend.prepare(launch);
        let mut listen = |port| {
            preparation
                .listen(port)
                .map_err(|error| refused(faults::of_backend(&error)))
        };
        let control = listen(VsockPort::CONTROL)?;
        let mediation = match &plan.spec.mediation {
            Some(channel) if plan.document.maintenance.is_none() => {
                Some(listen(channel.port.vsock_port())?)
            }
            _ => None,
        };
        Ok(Serving {
            lease: self.lease,
            mediation_error: self.mediation_error,
            disks: self.disks,
            published: self.published,
            console: self.console,
            monitor_socket,
            run,
            control,
            mediation,
            preparation,
        })
    }
}

/// The folder of sockets by a name that fits into an address; made when it is not there.
pub(crate) fn socket_folder(paths: &WorkspacePaths) -> Result<RunPaths, Fault> {
    let runtime_folder = EnvVar::XdgRuntimeDir.read();
    paths
        .ensure_socket_folder(runtime_folder.as_deref().map(Path::new))
        .map_err(|error| Fault::from_error(FaultKind::Denied, &error))
}

async fn bind(plan: &BootPlan<'_>, index: usize, spec: PublishSpec) -> Result<Published, Fault> {
    let address = spec.socket_addr();
    let state = StateDirectory::at(&plan.document.state_dir);
    let listener = TcpListener::bind(address).await.map_err(|error| {
        let fault = match error.kind() {
            std::io::ErrorKind::AddrInUse => Fault::new(
                FaultKind::Conflict,
                match port_holder::holder(&state, &plan.workspace.name, spec) {
                    Some(name) => {
                        format!("host port `{address}` is already in use by workspace `{name}`")
                    }
                    None => format!("host port `{address}` is already in use by another program"),
                },
            )
            .with_hint(format!(
                "choose another host port, or 0 to get a free one: --publish 0:{}",
                spec.guest_port
            )),
            std::io::ErrorKind::PermissionDenied => Fault::new(
                FaultKind::Denied,
                format!("host port `{address}` needs a privilege"),
            )
            .with_hint("choose a host port above 1023"),
            _ => Fault::new(
                FaultKind::Usage,
                format!("nothing can listen on `{address}`"),
            ),
        };
        fault
            .with_cause(format!("bind: {error}"))
            .with_details(|details| {
                details.path = Some(format!("config.network.publish[{index}]"));
                details.port = Some(u32::from(spec.host_port.get()));
            })
    })?;
    let host_port = listener
        .local_addr()
        .ok()
        .and_then(|address| HostPort::new(address.port()))
        .unwrap_or(spec.host_port);
    Ok(Published {
        spec,
        host_port,
        listener,
    })
}

fn lock_disks(plan: &BootPlan<'_>) -> Result<Vec<LockFile>, Fault> {
    let root = lock_disk(plan.spec.root_disk.path.as_path(), DiskAccess::ReadWrite)?;
    let mut locks = vec![root];
    for disk in disks_of_boot(&plan.spec, &plan.document) {
        locks.push(lock_disk(
            disk.path.as_path(),
            access_of_boot(disk, &plan.document),
        )?);
    }
    Ok(locks)
}

fn lock_disk(path: &Path, access: DiskAccess) -> Result<LockFile, Fault> {
    let (file, mode) = match access {
        DiskAccess::ReadWrite => (fs::open_read_write(path), LockMode::Exclusive),
        DiskAccess::ReadOnly => (fs::open(path), LockMode::Shared),
    };
    let file = file.map_err(|error| {
        if error.is_not_found() {
            let message = format!("disk `{}` is not there", path.display());
            Fault::new(FaultKind::NotFound, message)
        } else {
            faults::of_file(&error)
        }
    })?;
    match LockFile::try_on(file, path, mode) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => {
            let message = format!("disk `{}` is attached to another VM", path.display());
            Err(Fault::new(FaultKind::Conflict, message)
                .with_hint("halt the workspace that uses it"))
        }
        Err(error) => Err(Fault::from_error(FaultKind::Backend, &error)),
    }
}

/// What the device allows. A maintenance boot mounts read-only over a writable device, so that the
/// guest's kernel can replay the journal.
fn access_of_boot(disk: &DataDisk, document: &LaunchDocument) -> DiskAccess {
    if document.maintenance.is_some() {
        DiskAccess::ReadWrite
    } else {
        disk.access
    }
}

fn launch_spec(plan: &BootPlan<'_>, folder: &Path, run: &RunPaths) -> Result<LaunchSpec, Fault> {
    let (spec, document) = (&plan.spec, &plan.document);
    let command_line = kernel_command_line(plan.backend.name(), spec.arch, document.cpus)
        .map_err(|error| Fault::from_error(FaultKind::Unsupported, &error))?;
    let nic = plan
        .mac
        .filter(|_| document.maintenance.is_none() && spec.network.mode != NetworkMode::Isolated)
        .map(|mac| GuestNic {
            mode: spec.network.mode,
            mac,
            addresses: plan.backend.guest_addresses(&spec.network.dns),
            name_servers: spec.network.dns.clone(),
            openings: spec.network.reach.clone(),
        });
    Ok(LaunchSpec {
        workspace: plan.workspace.name.clone(),
        workspace_id: plan.workspace.id,
        boot_id: document.boot_id,
        arch: spec.arch,
        cpus: document.cpus,
        memory: document.memory_bytes,
        kernel: document.kernel.clone(),
        initramfs: document.initramfs.clone(),
        command_line,
        root_disk: Disk {
            name: "root".to_owned(),
            path: spec.root_disk.path.clone(),
            access: DiskAccess::ReadWrite,
            base: match spec.root_disk.clone {
                Some(CloneMethod::Overlay) => spec.root_disk.clone_from.clone(),
                _ => None,
            },
            durability: match spec.lifetime {
                Lifetime::Kept => Durability::Kept,
                Lifetime::Ephemeral => Durability::ThrownAway,
            },
        },
        disks: disks_of_boot(spec, document)
            .into_iter()
            .map(|disk| Disk {
                name: disk.name.as_str().to_owned(),
                path: disk.path.clone(),
                access: access_of_boot(disk, document),
                base: None,
                durability: Durability::Kept,
            })
            .collect(),
        run: RunFolder {
            path: absolute(folder),
            socket_prefix: absolute(run.folder()),
        },
        engine_record: {
            let state = StateDirectory::at(&document.state_dir);
            absolute(&state.engine_record(plan.backend.name()))
        },
        nic,
        confinement: plan.confinement,
        own_pid_namespace: document.own_pid_namespace,
    })
}

/// Phases 5 to 7, as a task. The loop hears of each phase and of the end.
pub(crate) async fn launch(mut preparation: Box<dyn Preparation>, events: EventSender) {
    let failed = |phase, error| Event::Launched(Err(LaunchFailure { phase, error }));
    events.send(Event::PhaseBegun(Phase::Network)).await;
    let network = within(NETWORK_LIMIT, preparation.start_network()).await;
    if let Err(error) = network {
        preparation.abandon().await;
        return events.send(failed(Phase::Network, error)).await;
    }
    events.send(Event::PhaseBegun(Phase::Confinement)).await;
    match within(CONFINEMENT_LIMIT, preparation.confine()).await {
        Ok(report) => events.send(Event::Confined(report)).await,
        Err(error) => {
            preparation.abandon().await;
            return events.send(failed(Phase::Confinement, error)).await;
        }
    }
    events.send(Event::PhaseBegun(Phase::Launch)).await;
    // Its own limits are the backend's: what it has started it must end again by itself.
    let launched = preparation.launch().await.map_err(|error| LaunchFailure {
        phase: Phase::Launch,
        error,
    });
    events.send(Event::Launched(launched)).await;
}

async fn within<T>(
    limit: Duration,
    step: crate::backend::LocalFuture<'_, Result<T, crate::backend::BackendError>>,
) -> Result<T, crate::backend::BackendError> {
    use crate::backend::{BackendError, BackendErrorKind};
    timeout(host_pace::limit(limit), step)
        .await
        .unwrap_or_else(|elapsed| {
            Err(BackendError::new(
                BackendErrorKind::Timeout,
                "monitor",
                elapsed,
            ))
        })
}
