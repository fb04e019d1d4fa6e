//! Which backend a new workspace gets: pure, from what the supervisors of this host report.

use microagent_types::backend::HostOs;
use microagent_types::{Arch, BackendName};
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::supervisor::response::HostReport;

/// What one supervisor of this host said of its backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its backend.
    pub backend: BackendName,
    /// Why it can't start a VM; none when it can.
    pub refusal: Option<String>,
}

/// Refuses a backend of another operating system, before anybody is asked anything.
///
/// # Errors
/// With kind `unsupported`, naming the host and the backends it can run.
pub fn check_host(
    backend: BackendName,
    os: Option<HostOs>,
    arch: Option<Arch>,
) -> Result<(), Fault> {
    if Some(backend.host_os()) == os {
        return Ok(());
    }
    Err(foreign(backend.as_str(), os, arch))
}

/// The refusal of Firecracker on a host whose KVM is not usable; none where it is.
pub fn without_kvm(report: &HostReport) -> Option<Fault> {
    let kvm = report.kvm.as_ref().filter(|kvm| !kvm.usable)?;
    let (which, fix) = if !kvm.present {
        ("is not here", "use a host with hardware virtualization")
    } else if !kvm.openable {
        (
            "this user may not open",
            "sudo usermod -aG kvm $USER, then log in again",
        )
    } else if kvm.override_.as_deref() == Some("off") {
        ("MICROAGENT_KVM switches off", "unset MICROAGENT_KVM")
    } else if kvm.cpu_flag {
        ("does not work", "use a host with hardware virtualization")
    } else {
        (
            "cannot run guests, since the processor shows neither vmx nor svm",
            "use a host with hardware virtualization",
        )
    };
    let message = format!("backend `firecracker` needs /dev/kvm, which {which}");
    let hint = format!("{fix}; or run emulated and slower: --backend qemu");
    Some(Fault::new(FaultKind::Denied, message).with_hint(hint))
}

/// The refusal of a backend that this host can't run, known or not.
pub fn foreign(backend: &str, os: Option<HostOs>, arch: Option<Arch>) -> Fault {
    let os_name = match os {
        Some(HostOs::Linux) => "Linux",
        Some(HostOs::MacOs) => "macOS",
        Some(HostOs::Windows) => "Windows",
        None => "this operating system",
    };
    let arch_name = arch.map_or("unknown", Arch::as_str);
    let own: Vec<&str> = candidates_of(os)
        .into_iter()
        .map(BackendName::as_str)
        .collect();
    Fault::new(
        FaultKind::Unsupported,
        format!("backend `{backend}` does not run on {os_name} {arch_name}"),
    )
    .with_hint(format!("backends of this host: {}", own.join(", ")))
}

/// The backends of an operating system, in order of preference.
pub fn candidates_of(os: Option<HostOs>) -> Vec<BackendName> {
    BackendName::ALL
        .into_iter()
        .filter(|backend| Some(backend.host_os()) == os)
        .collect()
}

/// Picks the first that can start a VM.
///
/// # Errors
/// With kind `unsupported` and every refusal as a cause when none can.
pub fn choose(candidates: &[Candidate]) -> Result<BackendName, Fault> {
    if let Some(candidate) = candidates
        .iter()
        .find(|candidate| candidate.refusal.is_none())
    {
        return Ok(candidate.backend);
    }
    let linux = candidates
        .iter()
        .any(|c| c.backend.host_os() == HostOs::Linux);
    let fault = if linux {
        Fault::new(
            FaultKind::Unsupported,
            "this host has neither Firecracker nor QEMU",
        )
        .with_hint(
            "install one, for example: sudo apt install qemu-system-x86; then: microagent doctor",
        )
    } else {
        Fault::new(
            FaultKind::Unsupported,
            "no backend of this host can start a VM",
        )
        .with_hint("microagent doctor")
    };
    Err(candidates.iter().fold(fault, |fault, candidate| {
        let refusal = candidate.refusal.as_deref().unwrap_or_default();
        fault.with_cause(format!("{}: {refusal}", candidate.backend))
    }))
}

#[cfg(test)]
mod tests {
    use super::{Candidate, candidates_of, check_host, choose};
    use microagent_types::backend::HostOs;
    use microagent_types::{Arch, BackendName};
    use microagent_wire::fault::FaultKind;

    fn candidate(backend: BackendName, refusal: Option<&str>) -> Candidate {
        Candidate {
            backend,
            refusal: refusal.map(str::to_owned),
        }
    }

    #[test]
    fn the_first_that_can_is_chosen() {
        let no_kvm = candidate(BackendName::Firecracker, Some("no KVM"));
        let qemu = candidate(BackendName::Qemu, None);
        assert_eq!(
            choose(&[no_kvm.clone(), qemu.clone()]).unwrap(),
            BackendName::Qemu
        );
        let firecracker = candidate(BackendName::Firecracker, None);
        assert_eq!(
            choose(&[firecracker, qemu]).unwrap(),
            BackendName::Firecracker
        );
        let fault = choose(&[no_kvm]).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unsupported);
        assert_eq!(fault.cause, ["firecracker: no KVM"]);
    }

    #[test]
    fn a_backend_of_another_system_is_refused_with_what_this_one_has() {
        let fault =
            check_host(BackendName::AppleVf, Some(HostOs::Linux), Some(Arch::Amd64)).unwrap_err();
        assert_eq!(
            fault.message,
            "backend `apple-vf` does not run on Linux amd64"
        );
        assert_eq!(
            fault.hint.as_deref(),
            Some("backends of this host: firecracker, qemu")
        );
        assert!(check_host(BackendName::Qemu, Some(HostOs::Linux), Some(Arch::Amd64)).is_ok());
        assert_eq!(candidates_of(Some(HostOs::MacOs)), [BackendName::AppleVf]);
    }
}
