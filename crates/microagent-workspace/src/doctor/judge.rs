//! The judgement over what was found: each check with its words and, where it is not fine, the command
//! that mends it.

use super::{Check, Context, Surveyed};
use microagent_boot::{initramfs, kernel_manifest, kernel_store};
use microagent_os::dirs::{self, PrivateFolderError};
use microagent_os::{fs, host_pace};
use microagent_state::paths::StateDirectory;
use microagent_types::{Arch, BackendName, ByteSize};
use microagent_wire::supervisor::response::HostReport;

/// Free space below which the state directory is a problem.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// What it means for workspaces when a check is not fine.
pub(super) fn meaning(id: &str) -> &'static str {
    match id {
        "host" | "backend" | "supervisor" => "no workspace can start",
        "accelerator" => "guests run, and slowly: every instruction is translated",
        "guest_init" => "no guest can boot: what runs first in it is missing",
        "vsock" => "no guest can be reached",
        "kernel" => "a start needs a kernel first",
        "confinement" => "a guest that breaks out of its VM meets less on the host",
        "network" => "guests have no way to the internet",
        "state" => "nothing can be recorded, so nothing can be made",
        _ => "workspaces do less than they could",
    }
}

pub(super) fn host(report: Option<&HostReport>) -> Check {
    match report {
        Some(report) => Check::ok(
            "host",
            format!(
                "{} {} {}, {} cpus, {} memory",
                report.os, report.os_version, report.arch, report.cpus, report.memory_bytes
            ),
        )
        .required(),
        None => Check::fail(
            "host",
            "no supervisor of this host answers",
            "cargo xtask install",
        )
        .required(),
    }
}

pub(super) fn backend(surveyed: &[Surveyed], report: Option<&HostReport>) -> Check {
    let chosen = surveyed.iter().find(|asked| asked.refusal().is_none());
    let Some(chosen) = chosen else {
        let reasons: Vec<String> = surveyed
            .iter()
            .map(|asked| format!("{}: {}", asked.backend, asked.refusal().unwrap_or_default()))
            .collect();
        return Check::fail("backend", reasons.join("; "), install_engine()).required();
    };
    let own = report.and_then(|report| {
        report
            .backends
            .iter()
            .find(|own| own.name == chosen.backend)
    });
    let version = own.and_then(|own| own.version.clone()).unwrap_or_default();
    let binary = own
        .and_then(|own| own.binary.clone())
        .map(|path| format!(" ({path})"));
    Check::ok(
        "backend",
        format!("{} {version}{}", chosen.backend, binary.unwrap_or_default()),
    )
    .required()
}

/// What gives this host something that runs VMs.
fn install_engine() -> &'static str {
    match Arch::current() {
        Some(Arch::Arm64) => "sudo apt install qemu-system-arm",
        _ => "sudo apt install qemu-system-x86",
    }
}

pub(super) fn accelerator(report: &HostReport) -> Check {
    match report.accelerator.as_deref() {
        Some("emulation") => {
            let reason = match &report.kvm {
                Some(kvm) if !kvm.present => "/dev/kvm is not there",
                Some(kvm) if !kvm.openable => "/dev/kvm may not be opened",
                Some(kvm) if !kvm.cpu_flag => "the processor shows neither vmx nor svm",
                Some(kvm) if kvm.override_.is_some() => "MICROAGENT_KVM is off",
                _ => "/dev/kvm cannot be used",
            };
            let fix = match &report.kvm {
                Some(kvm) if kvm.present && !kvm.openable => {
                    "sudo usermod -aG kvm $USER, then log in again"
                }
                Some(kvm) if kvm.override_.is_some() => "unset MICROAGENT_KVM",
                Some(kvm) if !kvm.present && kvm.cpu_flag => {
                    "sudo modprobe kvm_intel || sudo modprobe kvm_amd"
                }
                _ => "use a host with hardware virtualization, or enable it in the firmware",
            };
            Check::warn("accelerator", format!("emulation (slow): {reason}"), fix)
        }
        Some(other) if host_pace::is_emulated() => Check::warn(
            "accelerator",
            format!("{other} (slow): the host itself is emulated, so longer deadlines hold"),
            "use a host with a processor of its own",
        ),
        Some(other) => Check::ok("accelerator", other),
        None => Check::warn("accelerator", "none", install_engine()),
    }
}

pub(super) fn supervisor(surveyed: &[Surveyed]) -> Check {
    let found: Vec<String> = surveyed
        .iter()
        .filter(|asked| asked.report.is_ok())
        .filter_map(|asked| asked.program.as_ref())
        .map(|program| program.display().to_string())
        .collect();
    if found.is_empty() {
        return Check::fail("supervisor", "none answers", "cargo xtask install").required();
    }
    Check::ok("supervisor", found.join(", ")).required()
}

pub(super) fn guest_init(context: &Context) -> Check {
    let Some(arch) = Arch::current() else {
        return Check::fail(
            "guest_init",
            "no guest init for this processor",
            "use amd64 or arm64",
        )
        .required();
    };
    match initramfs::find(&context.search_path, arch) {
        Ok(found) => Check::ok("guest_init", found.path.display().to_string()).required(),
        Err(error) => {
            Check::fail("guest_init", error.to_string(), "cargo xtask install").required()
        }
    }
}

pub(super) fn programs(report: &HostReport) -> Vec<Check> {
    let vsock = report
        .programs
        .iter()
        .find(|program| program.name == "vhost-device-vsock");
    let check = vsock.map(|program| match &program.path {
        Some(path) if program.found => Check::ok("vsock", format!("{} ({path})", program.name)),
        _ => Check::fail(
            "vsock",
            format!("`{}` is missing: {}", program.name, program.purpose),
            "cargo install vhost-device-vsock --version 0.3.0",
        ),
    });
    check.map(Check::required).into_iter().collect()
}

pub(super) fn kernel(context: &Context, backend: Option<BackendName>) -> Check {
    let (Some(backend), Some(arch)) = (backend, Arch::current()) else {
        return Check::warn("kernel", "unknown without a backend", install_engine());
    };
    let folder = StateDirectory::at(&context.state_dir).kernel_folder(backend, arch);
    let installed = kernel_store::read_installed(&folder);
    let shipped = kernel_store::shipped_version(&context.search_path, backend, arch);
    match (installed, shipped) {
        (Err(error), _) | (_, Err(error)) => Check::fail(
            "kernel",
            error.to_string(),
            format!("rm -r {}", folder.display()),
        ),
        (Ok(Some(kernel)), _) => {
            let version = kernel
                .version
                .unwrap_or_else(|| "of unknown version".to_owned());
            Check::ok("kernel", format!("{version} ({})", kernel.path.display()))
        }
        (Ok(None), Ok(Some(record))) => {
            let version = record.version.unwrap_or_default();
            Check::ok(
                "kernel",
                format!("the default {version} is installed on first use"),
            )
        }
        (Ok(None), Ok(None)) if is_pinned(context, backend, arch) => Check::warn(
            "kernel",
            "none installed; the default is fetched on first use",
            "microagent doctor --fix",
        ),
        (Ok(None), Ok(None)) => Check::fail(
            "kernel",
            format!("there is none for {backend}/{arch}, and none came with this installation"),
            "cargo xtask kernel && cargo xtask install",
        ),
    }
}

/// Whether the installation names where its kernel is.
fn is_pinned(context: &Context, backend: BackendName, arch: Arch) -> bool {
    matches!(
        kernel_manifest::pinned(&context.search_path, backend, arch),
        Ok(Some(_))
    )
}

/// `switched_off` is the command that lets users have namespaces, where a switch keeps them away.
pub(super) fn confinement(report: &HostReport, switched_off: Option<&str>) -> Check {
    let parts = &report.confinement.parts;
    let active = parts.iter().filter(|part| part.active).count();
    let message = format!("{active} of {} measures", parts.len());
    let check = if active == parts.len() {
        Check::ok("confinement", message)
    } else {
        let missing: Vec<String> = parts
            .iter()
            .filter(|part| !part.active)
            .map(|part| match &part.reason {
                Some(reason) => format!("{} ({reason})", part.name),
                None => part.name.clone(),
            })
            .collect();
        let message = format!("{message}; missing: {}", missing.join(", "));
        let lacks_user_ns = parts
            .iter()
            .any(|part| part.name == "user_ns" && !part.active);
        let fix = switched_off
            .filter(|_| lacks_user_ns)
            .map_or("microagent host --json", |fix| fix);
        if report.confinement.required {
            let fix = format!("{fix}; or unset MICROAGENT_CONFINEMENT");
            Check::fail("confinement", message, fix)
        } else {
            Check::warn("confinement", message, fix)
        }
    };
    if report.confinement.required {
        check.required()
    } else {
        check
    }
}

pub(super) fn network(report: &HostReport) -> Check {
    use microagent_wire::supervisor::spec::NetworkMode;
    let nat = report
        .network_modes
        .iter()
        .find(|mode| mode.mode == NetworkMode::Nat);
    match nat {
        Some(nat) if nat.available => Check::ok("network", "nat through passt"),
        Some(nat) => {
            let reason = nat
                .reason
                .clone()
                .unwrap_or_else(|| "not available".to_owned());
            Check::warn(
                "network",
                format!("only isolated: {reason}"),
                "sudo apt install passt",
            )
        }
        None => Check::warn("network", "only isolated", "sudo apt install passt"),
    }
}

/// `reflink` says whether disks can share blocks there.
pub(super) fn state(context: &Context, free: Option<ByteSize>, reflink: Option<bool>) -> Check {
    let dir = &context.state_dir;
    if fs::is_present(dir.as_path())
        && let Err(error) = dirs::check_private(dir.as_path())
    {
        let fix = match &error {
            PrivateFolderError::ForeignOwner { .. } => format!("sudo chown -R $USER {dir}"),
            PrivateFolderError::NotAFolder { .. } => "microagent doctor --state-dir DIR".to_owned(),
            PrivateFolderError::Fs(_) | PrivateFolderError::OpenToOthers { .. } => {
                format!("chmod 700 {dir}")
            }
        };
        return Check::fail("state", error.to_string(), fix).required();
    }
    let clones = match reflink {
        Some(true) => ", reflink",
        Some(false) => ", no reflink: disks are copied",
        None => "",
    };
    match free {
        Some(free) if free.bytes() < FREE_BYTES_MIN => Check::fail(
            "state",
            format!("{dir}, only {free} free"),
            "microagent image prune --all, or another place: --state-dir DIR",
        ),
        Some(free) => Check::ok("state", format!("{dir}, {free} free{clones}")),
        None => Check::fail(
            "state",
            format!("{dir} cannot be made"),
            "microagent doctor --state-dir DIR",
        ),
    }
    .required()
}
