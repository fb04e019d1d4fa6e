//! `prepare` and `check`: a config is held against this backend and host, and becomes the records of a
//! new workspace. The rename of `workspace.json` is the commit; before it there is no workspace.

use crate::backend::{ConfinementDemand, HostNeeds, HostReady};
use crate::context::{Context, record_fault};
use crate::convert::{publish_of, spec_of};
use crate::faults;
use crate::observe::{Observed, Repair, append, observe};
use crate::root_disk;
use crate::view::absolute;
use microagent_machine::capability::needed_by_spec;
use microagent_machine::facts::Lease as LeaseFact;
use microagent_machine::spec::{DiskFormat, MachineSpec};
use microagent_machine::state::State;
use microagent_os::{clock, fs};
use microagent_state::config_record::ConfigRecord;
use microagent_state::event_record::EventType;
use microagent_state::record_store::{self, Stored};
use microagent_state::workspace_folder::{self, BeginError};
use microagent_state::workspace_lock::LOCK_PATIENCE;
use microagent_state::{RuntimeRecord, WorkspaceRecord, lease};
use microagent_types::env_vars::EnvVar;
use microagent_types::{AbsPath, Arch, WorkspaceId};
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::limits::FIRST_BOOT_BYTES_MAX;
use microagent_wire::supervisor::request::{Problem, usage_fault};
use microagent_wire::supervisor::spec::{Config, DiskFormat as WireFormat};
use std::time::Duration;

/// `check`: stages 8 to 10 on a config.
pub(crate) fn check(context: &mut Context<'_>) -> Result<(), Fault> {
    let config = config_of(context)?;
    let spec = spec_for(context, *config)?;
    check_spec(context, &spec)?;
    if context.request.options.probe == Some(true) {
        probe(&spec)?;
    }
    Ok(())
}

/// `prepare`: the records of a new workspace.
pub(crate) fn prepare(context: &mut Context<'_>) -> Result<(), Fault> {
    let config = config_of(context)?;
    let spec = spec_for(context, *config)?;
    check_spec(context, &spec)?;
    for entry in &spec.files {
        check_file(&entry.source, "archive", FIRST_BOOT_BYTES_MAX)?;
    }
    let expected = context.request.expect.and_then(|expect| expect.id);
    if let Some(observed) = existing(context)? {
        let same = expected == Some(observed.workspace.value.id);
        if same && observed.state == State::PREPARED {
            context.response.changed = Some(false);
            context.response.workspace = Some(Box::new(observed.view(context)));
            return Ok(());
        }
        replace_or_refuse(context, &observed)?;
    }
    let id = begin(context, expected)?;
    let made = make(context, id, spec);
    if made.is_err()
        && let Err(error) = workspace_folder::abandon(&context.paths)
    {
        tracing::warn!(%error, "a create that failed left something");
    }
    made
}

fn config_of(context: &mut Context<'_>) -> Result<Box<Config>, Fault> {
    context
        .request
        .config
        .take()
        .ok_or_else(|| Fault::new(FaultKind::Usage, "a config is needed"))
}

fn spec_for(context: &Context<'_>, config: Config) -> Result<MachineSpec, Fault> {
    let format = match config.root_disk.format {
        WireFormat::Raw => DiskFormat::Raw,
        WireFormat::Vhd => DiskFormat::Vhd,
    };
    let root_disk = absolute(&context.paths.root_disk(format));
    let spec = spec_of(config, context.name(), host_arch()?, root_disk);
    let refused = |problems| {
        usage_fault(problems).unwrap_or_else(|| Fault::new(FaultKind::Internal, "no problem"))
    };
    let spec = spec.map_err(refused)?;
    let problems: Vec<Problem> = spec
        .problems()
        .into_iter()
        .map(|problem| Problem::new(problem.path, problem.problem))
        .collect();
    usage_fault(problems).map_or(Ok(spec), Err)
}

/// The architecture of this host.
pub(crate) fn host_arch() -> Result<Arch, Fault> {
    Arch::current()
        .ok_or_else(|| Fault::new(FaultKind::Unsupported, "this processor runs no guests"))
}

/// Stages 9 and 10 for a machine.
pub(crate) fn check_spec(
    context: &mut Context<'_>,
    spec: &MachineSpec,
) -> Result<HostReady, Fault> {
    let capabilities = context.backend.capabilities();
    let backend = context.backend.name();
    for needed in needed_by_spec(spec) {
        if !capabilities.has(needed) {
            let message = format!("`{backend}` has no {needed} here");
            return Err(Fault::new(FaultKind::Unsupported, message));
        }
    }
    if spec.arch != host_arch()? {
        let message = format!("this host runs no `{}` guests", spec.arch);
        return Err(Fault::new(FaultKind::Unsupported, message));
    }
    let ready = context
        .backend
        .check_host(&HostNeeds {
            network: spec.network.mode,
            confinement: confinement_demand()?,
        })
        .map_err(|errors| faults::of_backend_all(&errors))?;
    if spec.memory > ready.host_memory {
        let message = format!(
            "{} of memory are more than this host's {}",
            spec.memory, ready.host_memory
        );
        return Err(
            Fault::new(FaultKind::Usage, message).with_details(|details| {
                details.path = Some("config.memoryBytes".to_owned());
                details.limit = Some(ready.host_memory.bytes());
                details.actual = Some(spec.memory.bytes());
            }),
        );
    }
    for warning in &ready.warnings {
        context.warn(warning.clone());
    }
    named_files(context, spec)?;
    if let Ok(Some(kind)) = fs::network_file_system(context.directory.root()) {
        let message = format!("the state directory is on a network file system ({kind})");
        return Err(Fault::new(FaultKind::Unsupported, message)
            .with_hint("use a state directory on a local disk"));
    }
    Ok(ready)
}

/// What `MICROAGENT_CONFINEMENT` demands.
pub(crate) fn confinement_demand() -> Result<ConfinementDemand, Fault> {
    let word = EnvVar::Confinement.read();
    ConfinementDemand::from_word(word.as_deref()).ok_or_else(|| {
        let name = EnvVar::Confinement.name();
        let message = format!("`{name}` is neither required nor auto nor off");
        Fault::new(FaultKind::Usage, message)
    })
}

fn named_files(context: &Context<'_>, spec: &MachineSpec) -> Result<(), Fault> {
    check_file(&spec.kernel.path, "kernel", KERNEL_BYTES_MAX)?;
    check_file(&spec.initramfs.path, "initramfs", INITRAMFS_BYTES_MAX)?;
    // A disk that has been made needs its image no more, which may be gone by now.
    if let Some(image) = &spec.root_disk.clone_from
        && !fs::is_present(spec.root_disk.path.as_path())
    {
        check_file(image, "image", u64::MAX)?;
    }
    for disk in &spec.disks {
        check_file(&disk.path, &format!("disk `{}`:", disk.name), u64::MAX)?;
    }
    first_boot_files(context, spec)
}

/// They lie in the workspace's own folder, from where they are removed once they are delivered. A start
/// after that finds none.
fn first_boot_files(context: &Context<'_>, spec: &MachineSpec) -> Result<(), Fault> {
    let folder = context.paths.files();
    let mut left = FIRST_BOOT_BYTES_MAX;
    for (index, entry) in spec.files.iter().enumerate() {
        let source = &entry.source;
        let wrong = |message: String| {
            Fault::new(FaultKind::Usage, message).with_details(|details| {
                details.path = Some(format!("config.files[{index}].source"));
            })
        };
        if source.as_path().parent() != Some(folder.as_path()) {
            let folder = folder.display();
            return Err(wrong(format!("`{source}` does not lie in `{folder}`")));
        }
        let Ok(found) = fs::metadata(source.as_path()) else {
            continue;
        };
        if !found.is_file() {
            return Err(wrong(format!("`{source}` is not a file")));
        }
        left = left.checked_sub(found.len()).ok_or_else(|| {
            let limit = FIRST_BOOT_BYTES_MAX;
            wrong(format!(
                "the files of the first boot have more than {limit} bytes"
            ))
        })?;
    }
    Ok(())
}

const KERNEL_BYTES_MAX: u64 = 256 << 20;
const INITRAMFS_BYTES_MAX: u64 = 64 << 20;

/// A file that a request names is there, is a file, and has a size that makes sense.
pub(crate) fn check_file(path: &AbsPath, what: &str, bytes_max: u64) -> Result<(), Fault> {
    let found = fs::metadata(path.as_path()).map_err(|error| {
        if error.is_not_found() {
            Fault::new(FaultKind::NotFound, format!("{what} `{path}` is not there"))
                .with_details(|details| details.file = Some(path.to_string()))
        } else {
            faults::of_file(&error)
        }
    })?;
    if !found.is_file() {
        let message = format!("{what} `{path}` is not a file");
        return Err(Fault::new(FaultKind::Usage, message));
    }
    if found.len() > bytes_max {
        let message = format!("{what} `{path}` is larger than {bytes_max} bytes");
        return Err(Fault::new(FaultKind::Usage, message));
    }
    Ok(())
}

/// Ports and target, tried and let go.
fn probe(spec: &MachineSpec) -> Result<(), Fault> {
    for (index, publish) in spec.network.publish.iter().enumerate() {
        let address = publish.socket_addr();
        if let Err(error) = std::net::TcpListener::bind(address) {
            let message = format!("host port `{address}` is already in use by another program");
            let hint = format!(
                "choose another host port, or 0 to get a free one: --publish 0:{}",
                publish.guest_port
            );
            return Err(Fault::new(FaultKind::Conflict, message)
                .with_hint(hint)
                .with_cause(format!("bind: {error}"))
                .with_details(|details| {
                    details.path = Some(format!("config.network.publish[{index}]"));
                    details.port = Some(u32::from(address.port()));
                }));
        }
    }
    Ok(())
}

fn existing(context: &Context<'_>) -> Result<Option<Observed>, Fault> {
    match observe(context, Repair::None) {
        Ok(observed) => Ok(Some(observed)),
        Err(fault) if fault.kind == FaultKind::NotFound => {
            // Absent, a leftover, another id, or half deleted: what is there decides when it is begun.
            finish_delete(context)?;
            Ok(None)
        }
        Err(fault) if fault.kind == FaultKind::Busy && begun_for_us(context) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// A delete that was cut off has said that this workspace is to go; it keeps its name from nobody.
fn finish_delete(context: &Context<'_>) -> Result<(), Fault> {
    let stored = record_store::read::<WorkspaceRecord>(&context.paths.workspace_record());
    let Ok(Some(stored)) = stored else {
        return Ok(());
    };
    if stored.value.deleting.is_none() {
        return Ok(());
    }
    let lock = context.lock(LOCK_PATIENCE)?;
    workspace_folder::delete(&context.paths, lock, &context.request_id)
        .map_err(|error| record_fault(&error))?;
    Ok(())
}

fn begun_for_us(context: &Context<'_>) -> bool {
    let expected = context.request.expect.and_then(|expect| expect.id);
    let begun = workspace_folder::begun_id(&context.paths).ok().flatten();
    expected.is_some() && begun == expected
}

fn replace_or_refuse(context: &mut Context<'_>, observed: &Observed) -> Result<(), Fault> {
    let name = context.name().clone();
    let rests = observed.state.resting().is_some()
        && lease::observe(&context.paths).is_ok_and(|lease| lease == LeaseFact::Free);
    let marked = observed.workspace.value.quarantine.is_some();
    if context.request.options.replace == Some(true) && rests && !marked {
        let lock = context.lock(LOCK_PATIENCE)?;
        workspace_folder::delete(&context.paths, lock, &context.request_id)
            .map_err(|error| record_fault(&error))?;
        return Ok(());
    }
    let message = format!("a workspace `{name}` exists already");
    Err(Fault::new(FaultKind::Conflict, message)
        .with_hint("choose another name, or delete it first")
        .with_details(|details| {
            details.state = Some(observed.state.name().as_str().to_owned());
        }))
}

fn begin(context: &Context<'_>, expected: Option<WorkspaceId>) -> Result<WorkspaceId, Fault> {
    if let Some(id) = expected
        && begun_for_us(context)
    {
        return Ok(id);
    }
    let id = expected.unwrap_or_else(microagent_os::random::workspace_id);
    let patience = context
        .request
        .options
        .lock_timeout_ms
        .map_or(LOCK_PATIENCE, Duration::from_millis);
    workspace_folder::begin(&context.paths, id, &context.request_id, patience)
        .map_err(|error| begin_fault(context, &error, patience))?;
    Ok(id)
}

fn begin_fault(context: &Context<'_>, error: &BeginError, patience: Duration) -> Fault {
    match error {
        BeginError::Exists { name } => Fault::new(
            FaultKind::Conflict,
            format!("a workspace `{name}` exists already"),
        )
        .with_hint("choose another name, or delete it first"),
        BeginError::BeingCreated { .. } => {
            Fault::from_error(FaultKind::Busy, error).with_hint("try again")
        }
        BeginError::Lock(error) => crate::context::lock_fault(context.name(), error, patience),
        BeginError::Record(error) => record_fault(error),
        BeginError::Fs(error) => faults::of_file(error),
        BeginError::Identity(_) => Fault::from_error(FaultKind::Backend, error),
    }
}

fn make(context: &mut Context<'_>, id: WorkspaceId, mut spec: MachineSpec) -> Result<(), Fault> {
    root_disk::make(context, &mut spec)?;
    microagent_os::crash_point::pass("prepare.disk_made");
    let now = clock::now();
    let workspace = WorkspaceRecord {
        id,
        name: context.name().clone(),
        backend: context.backend.name(),
        created_at: now,
        created_by: env!("CARGO_PKG_VERSION").to_owned(),
        config: ConfigRecord::from(&spec),
        files_delivered: None,
        quarantine: None,
        deleting: None,
    };
    let runtime = Stored::new(RuntimeRecord::prepared(now));
    record_store::write(&context.paths.runtime_record(), &runtime)
        .map_err(|error| record_fault(&error))?;
    let created = context
        .origin()
        .event(EventType::Created)
        .state(State::PREPARED)
        .with("name", context.name().as_str())
        .with("backend", context.backend.name().as_str());
    let event = append(&context.paths, &workspace, created)?;
    workspace_folder::finish(&context.paths, workspace).map_err(|error| record_fault(&error))?;
    context.response.changed = Some(true);
    context.response.event = Some(crate::event_view::event_view(&event));
    let observed = observe(context, Repair::None)?;
    context.response.workspace = Some(Box::new(observed.view(context)));
    Ok(())
}

/// A publish list as a request names it.
pub(crate) fn publish_list(
    list: &[microagent_wire::supervisor::spec::PublishConfig],
) -> Vec<microagent_types::PublishSpec> {
    list.iter().map(publish_of).collect()
}
