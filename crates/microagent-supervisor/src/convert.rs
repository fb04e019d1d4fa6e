//! Wire to spec and back: the config of a request becomes what a machine is, and what a machine is
//! becomes what a caller sees.
//!
//! Written by hand and allowed to fail, so that message and machine may change shape apart. Values of
//! environments go in and never come out: a view has their names only.

use microagent_machine::spec::{
    CloneMethod, DataDisk, DiskAccess, DiskFormat, FirstBootFiles, GuestUser, ImageOrigin,
    Initramfs, Kernel, KernelPin, Lifetime, MachineSpec, Mediation, Network, NetworkMode,
    Ownership, Requirement, RootDisk, Workload,
};
use microagent_types::{AbsPath, Arch, GuestPath, PublishSpec, WorkspaceName};
use microagent_wire::guest::boot_spec::DiskMode;
use microagent_wire::supervisor::request::Problem;
use microagent_wire::supervisor::response::{KernelView, Resources, WorkloadView};
use microagent_wire::supervisor::spec as wire;

/// The spec of a config, with every default filled in. `root_disk` is where the root disk of this
/// workspace lies; a config that says otherwise is wrong.
///
/// # Errors
/// With every field whose text means nothing.
pub(crate) fn spec_of(
    config: wire::Config,
    workspace: &WorkspaceName,
    host_arch: Arch,
    root_disk: AbsPath,
) -> Result<MachineSpec, Vec<Problem>> {
    let mut problems = Vec::new();
    if config
        .root_disk
        .path
        .as_ref()
        .is_some_and(|path| *path != root_disk)
    {
        let path = "config.rootDisk.path".to_owned();
        let message = format!("the root disk of this workspace is `{root_disk}`");
        problems.push(Problem::new(path, message));
    }
    let workload = config
        .workload
        .map(|workload| workload_of(workload, &mut problems));
    let spec = MachineSpec {
        arch: config.arch.unwrap_or(host_arch),
        cpus: config.cpus,
        memory: config.memory_bytes,
        kernel: kernel_of(config.kernel),
        initramfs: initramfs_of(config.initramfs),
        root_disk: RootDisk {
            path: root_disk,
            format: match config.root_disk.format {
                wire::DiskFormat::Raw => DiskFormat::Raw,
                wire::DiskFormat::Vhd => DiskFormat::Vhd,
            },
            size: config.root_disk.size_bytes,
            clone_from: config.root_disk.clone_from,
            clone: None,
        },
        disks: config.disks.into_iter().map(disk_of).collect(),
        hostname: config.hostname.unwrap_or_else(|| workspace.clone()),
        workload,
        env: config.env,
        files: config
            .files
            .into_iter()
            .map(|file| FirstBootFiles {
                source: file.source,
                target: file.target,
            })
            .collect(),
        network: Network {
            mode: network_mode_of(config.network.mode),
            dns: config.network.dns,
            reach: config.network.reach,
            publish: config.network.publish.iter().map(publish_of).collect(),
        },
        mediation: config.mediation.map(|mediation| Mediation {
            port: mediation.port,
            target: mediation.target,
            requirement: if mediation.required {
                Requirement::Required
            } else {
                Requirement::Optional
            },
        }),
        image: config.image.map(|image| ImageOrigin {
            reference: image.reference,
            digest: image.digest,
            source: image.source,
            builder: image.builder,
        }),
        profile: config.profile,
        labels: config.labels,
        lifetime: if config.ephemeral {
            Lifetime::Ephemeral
        } else {
            Lifetime::Kept
        },
    };
    if problems.is_empty() {
        Ok(spec)
    } else {
        Err(problems)
    }
}

fn workload_of(workload: wire::WorkloadConfig, problems: &mut Vec<Problem>) -> Workload {
    let user = workload
        .user
        .and_then(|user| match user.parse::<GuestUser>() {
            Ok(user) => Some(user),
            Err(error) => {
                let path = "config.workload.user".to_owned();
                problems.push(Problem::new(path, error.to_string()));
                None
            }
        });
    Workload {
        argv: workload.argv,
        env: workload.env,
        user,
        workdir: workload.workdir.unwrap_or_else(GuestPath::root),
        stop_signal: workload.stop_signal,
    }
}

fn disk_of(disk: wire::DiskConfig) -> DataDisk {
    DataDisk {
        name: disk.name,
        path: disk.path,
        mount: disk.mount,
        access: match disk.mode {
            DiskMode::Rw => DiskAccess::ReadWrite,
            DiskMode::Ro => DiskAccess::ReadOnly,
        },
        ownership: if disk.owned {
            Ownership::Owned
        } else {
            Ownership::Foreign
        },
    }
}

/// A kernel as a request names it.
pub(crate) fn kernel_of(kernel: wire::KernelFile) -> Kernel {
    Kernel {
        path: kernel.path,
        sha256: kernel.sha256,
        pin: if kernel.custom {
            KernelPin::Pinned
        } else {
            KernelPin::Default
        },
    }
}

/// An initramfs as a request names it.
pub(crate) fn initramfs_of(file: wire::HashedFile) -> Initramfs {
    Initramfs {
        path: file.path,
        sha256: file.sha256,
    }
}

/// A published port as a request names it.
pub(crate) fn publish_of(publish: &wire::PublishConfig) -> PublishSpec {
    PublishSpec {
        host: publish.host,
        host_port: publish.host_port,
        guest_port: publish.guest_port,
    }
}

fn network_mode_of(mode: wire::NetworkMode) -> NetworkMode {
    match mode {
        wire::NetworkMode::Nat => NetworkMode::Nat,
        wire::NetworkMode::Isolated => NetworkMode::Isolated,
        wire::NetworkMode::Bridged => NetworkMode::Bridged,
    }
}

/// A network mode as a caller sees it.
pub(crate) fn network_mode_view(mode: NetworkMode) -> wire::NetworkMode {
    match mode {
        NetworkMode::Nat => wire::NetworkMode::Nat,
        NetworkMode::Isolated => wire::NetworkMode::Isolated,
        NetworkMode::Bridged => wire::NetworkMode::Bridged,
    }
}

/// How a disk is mounted, as guests and callers see it.
pub(crate) fn disk_mode_view(access: DiskAccess) -> DiskMode {
    match access {
        DiskAccess::ReadWrite => DiskMode::Rw,
        DiskAccess::ReadOnly => DiskMode::Ro,
    }
}

/// How a disk is laid out, as a caller sees it.
pub(crate) fn disk_format_view(format: DiskFormat) -> wire::DiskFormat {
    match format {
        DiskFormat::Raw => wire::DiskFormat::Raw,
        DiskFormat::Vhd => wire::DiskFormat::Vhd,
    }
}

/// How a disk was made, as a caller sees it.
pub(crate) fn clone_view(method: CloneMethod) -> wire::CloneKind {
    match method {
        CloneMethod::Reflink => wire::CloneKind::Reflink,
        CloneMethod::Copy => wire::CloneKind::Copy,
        CloneMethod::Overlay => wire::CloneKind::Overlay,
    }
}

/// The kernel, as a caller sees it.
pub(crate) fn kernel_view(kernel: &Kernel) -> KernelView {
    KernelView {
        path: kernel.path.clone(),
        sha256: kernel.sha256,
        custom: kernel.pin == KernelPin::Pinned,
    }
}

/// The size of a machine, as a caller sees it.
pub(crate) fn resources_view(spec: &MachineSpec) -> Resources {
    Resources {
        memory_bytes: spec.memory,
        cpus: spec.cpus,
        disk_bytes: spec.root_disk.size,
    }
}

/// The workload without its environment.
pub(crate) fn workload_view(workload: Option<&Workload>) -> WorkloadView {
    match workload {
        None => WorkloadView {
            idle: true,
            argv: Vec::new(),
            user: None,
            workdir: None,
            stop_signal: None,
        },
        Some(workload) => WorkloadView {
            idle: false,
            argv: workload.argv.clone(),
            user: workload.user.as_ref().map(|user| user.as_str().to_owned()),
            workdir: Some(workload.workdir.clone()),
            stop_signal: Some(workload.stop_signal),
        },
    }
}

/// Where the disk's content came from, as a caller sees it.
pub(crate) fn image_view(image: &ImageOrigin) -> wire::ImageRecord {
    wire::ImageRecord {
        reference: image.reference.clone(),
        digest: image.digest,
        source: image.source.clone(),
        builder: image.builder.clone(),
    }
}
