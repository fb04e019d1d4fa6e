//! `doctor`: what works on this host, what does not, and how to get it.
//!
//! Facts come from the supervisors' host reports and from looks at the installation; the judgement
//! (`judge_*`) is pure. Each check says what was found; one that is not fine says what to do.

use crate::backend_choice::candidates_of;
use crate::context::Context;
use crate::interrupt::Interrupt;
use crate::supervisors::{self, Detail, Surveyed};
use microagent_boot::{initramfs, kernel_store};
use microagent_os::{fs, host_pace};
use microagent_state::paths::StateDirectory;
use microagent_types::backend::HostOs;
use microagent_types::{Arch, BackendName, ByteSize};
use microagent_wire::supervisor::response::HostReport;

/// Free space below which the state directory is a problem.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckStatus {
    /// It is fine.
    Ok,
    /// It works, with less than could be had.
    Warn,
    /// It does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its word.
    pub id: &'static str,
    /// How it came out.
    pub status: CheckStatus,
    /// Whether a VM can start without it.
    pub required: bool,
    /// What was found.
    pub message: String,
    /// What to do.
    pub fix: Option<String>,
}

impl Check {
    fn ok(id: &'static str, message: impl Into<String>) -> Self {
        Self {
            id,
            status: CheckStatus::Ok,
            required: false,
            message: message.into(),
            fix: None,
        }
    }

    fn warn(id: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            status: CheckStatus::Warn,
            fix: Some(fix.into()),
            ..Self::ok(id, message)
        }
    }

    fn fail(id: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            status: CheckStatus::Fail,
            ..Self::warn(id, message, fix)
        }
    }

    fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

/// Everything that `doctor` found.
#[derive(Debug)]
pub struct DoctorReport {
    /// The backend that a new workspace would get.
    pub backend: Option<BackendName>,
    /// The accelerator that it would use.
    pub accelerator: Option<String>,
    /// Every check, in the order in which a person should read them.
    pub checks: Vec<Check>,
    /// What the supervisors of this host said.
    pub surveyed: Vec<Surveyed>,
    /// Free space at the state directory.
    pub free_bytes: Option<ByteSize>,
}

impl DoctorReport {
    /// Whether every required check is fine.
    pub fn is_fine(&self) -> bool {
        !self
            .checks
            .iter()
            .any(|check| check.required && check.status == CheckStatus::Fail)
    }
}

/// Looks at everything. Changes nothing.
pub fn doctor(context: &Context, interrupt: &Interrupt) -> DoctorReport {
    let surveyed: Vec<Surveyed> = match context.backend {
        Some(backend) => vec![supervisors::ask_host(
            context,
            backend,
            Detail::Versions,
            interrupt,
        )],
        None => candidates_of(HostOs::current())
            .into_iter()
            .map(|backend| supervisors::ask_host(context, backend, Detail::Versions, interrupt))
            .collect(),
    };
    let chosen = surveyed.iter().find(|asked| asked.refusal().is_none());
    let report = chosen
        .or_else(|| surveyed.iter().find(|asked| asked.report.is_ok()))
        .and_then(|asked| asked.report.as_ref().ok());
    let backend = chosen.map(|asked| asked.backend);
    let accelerator = report.and_then(|report| report.accelerator.clone());
    let free_bytes = free_space(context);

    let mut checks = vec![judge_backend(&surveyed, report.map(AsRef::as_ref))];
    checks.insert(0, judge_host(report.map(AsRef::as_ref)));
    checks.extend(report.map(|report| judge_accelerator(report)));
    checks.push(judge_supervisor(&surveyed));
    checks.push(check_guest_init(context));
    checks.extend(
        report
            .map(|report| judge_programs(report))
            .into_iter()
            .flatten(),
    );
    checks.push(check_kernel(context, backend));
    checks.extend(report.map(|report| judge_confinement(report)));
    checks.extend(report.map(|report| judge_network(report)));
    checks.push(judge_state(context, free_bytes));
    DoctorReport {
        backend,
        accelerator,
        checks,
        surveyed,
        free_bytes,
    }
}

fn judge_host(report: Option<&HostReport>) -> Check {
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

fn judge_backend(surveyed: &[Surveyed], report: Option<&HostReport>) -> Check {
    let chosen = surveyed.iter().find(|asked| asked.refusal().is_none());
    let Some(chosen) = chosen else {
        let reasons: Vec<String> = surveyed
            .iter()
            .map(|asked| format!("{}: {}", asked.backend, asked.refusal().unwrap_or_default()))
            .collect();
        return Check::fail(
            "backend",
            reasons.join("; "),
            "sudo apt install qemu-system-x86",
        )
        .required();
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

fn judge_accelerator(report: &HostReport) -> Check {
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
        None => Check::warn("accelerator", "none", "install a backend first"),
    }
}

fn judge_supervisor(surveyed: &[Surveyed]) -> Check {
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

fn check_guest_init(context: &Context) -> Check {
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

fn judge_programs(report: &HostReport) -> Vec<Check> {
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

fn check_kernel(context: &Context, backend: Option<BackendName>) -> Check {
    let (Some(backend), Some(arch)) = (backend, Arch::current()) else {
        return Check::warn(
            "kernel",
            "unknown without a backend",
            "install a backend first",
        );
    };
    let folder = StateDirectory::at(&context.state_dir).kernel_folder(backend, arch);
    let installed = kernel_store::read_installed(&folder);
    let shipped = kernel_store::shipped_version(&context.search_path, backend, arch);
    match (installed, shipped) {
        (Err(error), _) | (_, Err(error)) => Check::fail(
            "kernel",
            error.to_string(),
            format!("remove {}", folder.display()),
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
        (Ok(None), Ok(None)) => Check::fail(
            "kernel",
            format!("there is none for {backend}/{arch}, and none came with this installation"),
            "cargo xtask kernel && cargo xtask install",
        ),
    }
}

fn judge_confinement(report: &HostReport) -> Check {
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
        if report.confinement.required {
            Check::fail(
                "confinement",
                message,
                "unset MICROAGENT_CONFINEMENT, or provide what is missing",
            )
        } else {
            Check::warn(
                "confinement",
                message,
                "see docs/security.md for what each measure needs",
            )
        }
    };
    if report.confinement.required {
        check.required()
    } else {
        check
    }
}

fn judge_network(report: &HostReport) -> Check {
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

fn free_space(context: &Context) -> Option<ByteSize> {
    let mut folder = context.state_dir.as_path();
    while !fs::is_folder(folder) {
        folder = folder.parent()?;
    }
    fs::space(folder)
        .ok()
        .map(|space| ByteSize::from_bytes(space.available_bytes))
}

fn judge_state(context: &Context, free: Option<ByteSize>) -> Check {
    let dir = &context.state_dir;
    if fs::is_present(dir.as_path())
        && let Err(error) = microagent_os::dirs::check_private(dir.as_path())
    {
        return Check::fail("state", error.to_string(), format!("chmod 700 {dir}")).required();
    }
    match free {
        Some(free) if free.bytes() < FREE_BYTES_MIN => Check::fail(
            "state",
            format!("{dir}, only {free} free"),
            "free some space, or use another place: --state-dir DIR",
        ),
        Some(free) => Check::ok("state", format!("{dir}, {free} free")),
        None => Check::fail(
            "state",
            format!("{dir} cannot be made"),
            "use another place: --state-dir DIR",
        ),
    }
    .required()
}
