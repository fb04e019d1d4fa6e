//! The guest kernel's command line, by backend and architecture.
//!
//! It carries nothing about the workspace: what a guest is to do comes over the control
//! connection, so a line can be pinned by a test, word for word. A VMM adds its own device words.

use microagent_types::{Arch, BackendName, VcpuCount};

/// Words that every guest gets.
const COMMON: &str = "rdinit=/init panic=1 quiet loglevel=4 random.trust_cpu=on";

/// A backend that runs no guest of this architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{backend}` runs no `{arch}` guest")]
pub struct NoSuchGuest {
    /// The backend.
    pub backend: BackendName,
    /// The architecture.
    pub arch: Arch,
}

/// The line for a guest with so many CPUs.
pub fn kernel_command_line(
    backend: BackendName,
    arch: Arch,
    cpus: VcpuCount,
) -> Result<String, NoSuchGuest> {
    let (console, end, boot_time, ours) = match (backend, arch) {
        (BackendName::Firecracker, Arch::Amd64) => (
            "console=ttyS0",
            Some("reboot=k"),
            // A kernel without PCI can't use its ACPI tables and would stand still.
            "acpi=off pci=off i8042.noaux i8042.nomux i8042.nopnp i8042.dumbkbd \
             swiotlb=noforce cryptomgr.notests 8250.nr_uarts=1"
                .to_owned(),
            "microagent.end=reset",
        ),
        (BackendName::Qemu, Arch::Amd64) => (
            "console=ttyS0",
            Some("reboot=t"),
            // The kernel counts timer interrupts against its own busy waiting, and panics when a busy host
            // gives an emulated guest its processor but not its interrupts. Under KVM it does not count.
            "no_timer_check pci=off cryptomgr.notests 8250.nr_uarts=1".to_owned(),
            "microagent.end=reset",
        ),
        (BackendName::Firecracker, Arch::Arm64) => (
            "console=ttyS0",
            None,
            "cryptomgr.notests".to_owned(),
            "microagent.end=reset",
        ),
        (BackendName::Qemu, Arch::Arm64) => (
            "console=ttyAMA0",
            None,
            "cryptomgr.notests".to_owned(),
            "microagent.end=reset",
        ),
        (BackendName::AppleVf, Arch::Arm64) => (
            "console=hvc0",
            None,
            "cryptomgr.notests".to_owned(),
            "microagent.end=poweroff",
        ),
        (BackendName::WindowsHyperv, Arch::Amd64) => (
            "console=ttyS0,115200",
            None,
            format!(
                "pci=off initcall_blacklist=virtio_vsock_init nr_cpus={} 8250_core.nr_uarts=1 \
                 8250_core.skip_txen_test=1",
                cpus.get()
            ),
            "microagent.end=poweroff",
        ),
        (BackendName::AppleVf, Arch::Amd64) | (BackendName::WindowsHyperv, Arch::Arm64) => {
            return Err(NoSuchGuest { backend, arch });
        }
    };
    let words = [
        Some(console),
        end,
        Some(COMMON),
        Some(&boot_time),
        Some(ours),
    ];
    Ok(words.into_iter().flatten().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(backend: BackendName, arch: Arch) -> String {
        kernel_command_line(backend, arch, VcpuCount::new(2).unwrap()).unwrap()
    }

    #[test]
    fn firecracker_on_x86_64() {
        assert_eq!(
            line(BackendName::Firecracker, Arch::Amd64),
            "console=ttyS0 reboot=k rdinit=/init panic=1 quiet loglevel=4 random.trust_cpu=on \
             acpi=off pci=off i8042.noaux i8042.nomux i8042.nopnp i8042.dumbkbd swiotlb=noforce \
             cryptomgr.notests 8250.nr_uarts=1 microagent.end=reset"
        );
    }

    #[test]
    fn qemu_on_x86_64() {
        assert_eq!(
            line(BackendName::Qemu, Arch::Amd64),
            "console=ttyS0 reboot=t rdinit=/init panic=1 quiet loglevel=4 random.trust_cpu=on \
             no_timer_check pci=off cryptomgr.notests 8250.nr_uarts=1 microagent.end=reset"
        );
    }

    #[test]
    fn firecracker_on_arm64() {
        assert_eq!(
            line(BackendName::Firecracker, Arch::Arm64),
            "console=ttyS0 rdinit=/init panic=1 quiet loglevel=4 random.trust_cpu=on \
             cryptomgr.notests microagent.end=reset"
        );
    }

    #[test]
    fn qemu_on_arm64() {
        assert_eq!(
            line(BackendName::Qemu, Arch::Arm64),
            "console=ttyAMA0 rdinit=/init panic=1 quiet loglevel=4 random.trust_cpu=on \
             cryptomgr.notests microagent.end=reset"
        );
    }

    #[test]
    fn apple_vf_on_arm64() {
        assert_eq!(
            line(BackendName::AppleVf, Arch::Arm64),
            "console=hvc0 rdinit=/init panic=1 quiet loglevel=4 random.trust_cpu=on \
             cryptomgr.notests microagent.end=poweroff"
        );
    }

    #[test]
    fn windows_hyperv_on_x86_64() {
        assert_eq!(
            line(BackendName::WindowsHyperv, Arch::Amd64),
            "console=ttyS0,115200 rdinit=/init panic=1 quiet loglevel=4 random.trust_cpu=on \
             pci=off initcall_blacklist=virtio_vsock_init nr_cpus=2 8250_core.nr_uarts=1 \
             8250_core.skip_txen_test=1 microagent.end=poweroff"
        );
    }

    #[test]
    fn a_guest_that_no_host_runs_has_no_line() {
        for (backend, arch) in [
            (BackendName::AppleVf, Arch::Amd64),
            (BackendName::WindowsHyperv, Arch::Arm64),
        ] {
            let cpus = VcpuCount::new(1).unwrap();
            assert_eq!(
                kernel_command_line(backend, arch, cpus),
                Err(NoSuchGuest { backend, arch })
            );
        }
    }

    #[test]
    fn a_line_fits_the_smallest_kernel_buffer() {
        // COMMAND_LINE_SIZE is 2048 on both architectures; device words need room.
        assert!(line(BackendName::Firecracker, Arch::Amd64).len() < 512);
    }
}
