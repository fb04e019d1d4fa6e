//! A launch spec becomes QEMU's words. Pure: a test pins each line.
//!
//! Two traps: a comma inside a value ends it unless it is doubled, and an emulated `microvm`
//! without its old timer and interrupt controller waits for ever for its first tick. Sockets are
//! named relative to the run folder, which is QEMU's working folder, so that no limit on their
//! length is met. Control and network come as open descriptors: nothing has to be waited for, and
//! nobody else can reach them.

use std::ffi::OsString;
use std::path::Path;

use microagent_machine::Accelerator;
use microagent_supervisor::backend::{
    ConfinementDemand, Disk, DiskAccess, Durability, GuestNic, LaunchSpec,
};
use microagent_types::Arch;

use crate::qmp::{NETWORK_DEVICE_ID, QemuVersion};

/// The number under which QEMU gets its control socket.
pub const QMP_SOCKET: i32 = 3;
/// The number under which it gets the network engine's socket.
pub const NETWORK_SOCKET: i32 = 4;
/// The vsock device's control socket, in the run folder.
pub const VHOST_SOCKET: &str = "vhost.sock";
/// The serial number by which the guest finds its root disk.
pub const ROOT_SERIAL: &str = "ma-root";
/// The first data disk's logical unit; 0 is left to the controller.
pub const FIRST_DATA_LUN: u32 = 1;

const BYTES_PER_MIB: u64 = 1 << 20;
/// QEMU's own filter of system calls.
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// The first version whose emulation survives a guest that changes its own code while another
/// virtual CPU runs it. Before, a just-in-time compiler or the kernel itself can be run half changed.
const SAFE_THREADS_SINCE: QemuVersion = QemuVersion {
    major: 8,
    minor: 1,
    micro: 0,
};

/// How the guest's instructions are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Execution {
    /// By the processor.
    Kvm,
    /// By the processor of a host that does not trust its counter: the guest can't either, and without the
    /// timers of old it waits for ever for its first tick.
    KvmAndTimers,
    /// Translated, with a thread for each virtual CPU.
    ThreadPerCpu,
    /// Translated, all virtual CPUs in turn on one thread.
    OneThread,
}

/// What the host itself tells the time by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostClock {
    /// The processor's counter.
    Counter,
    /// Anything else.
    Another,
}

impl HostClock {
    /// From the name of the kernel's clock source; none when it can't be read.
    pub fn named(source: Option<&str>) -> Self {
        match source.map(str::trim) {
            Some("tsc") => Self::Counter,
            _ => Self::Another,
        }
    }
}

/// An accelerator that QEMU on Linux does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("QEMU has no accelerator `{accelerator}` here")]
pub struct NoSuchAccelerator {
    /// Its name.
    pub accelerator: &'static str,
}

impl Execution {
    /// With this accelerator and version, on a host with this clock. A version that is not known counts as an old one.
    pub fn new(
        accelerator: Accelerator,
        version: Option<QemuVersion>,
        clock: HostClock,
    ) -> Result<Self, NoSuchAccelerator> {
        match accelerator {
            Accelerator::Kvm if clock == HostClock::Another => Ok(Self::KvmAndTimers),
            Accelerator::Kvm => Ok(Self::Kvm),
            Accelerator::Emulation if version >= Some(SAFE_THREADS_SINCE) => Ok(Self::ThreadPerCpu),
            Accelerator::Emulation => Ok(Self::OneThread),
            Accelerator::Apple | Accelerator::Hyperv => Err(NoSuchAccelerator {
                accelerator: accelerator.as_str(),
            }),
        }
    }
}

/// QEMU's arguments, the program itself left out.
pub fn arguments(spec: &LaunchSpec, execution: Execution) -> Vec<OsString> {
    let mut words = Words::default();
    machine(&mut words, spec, execution);
    words.option("-smp", spec.cpus.to_string());
    let memory_mib = spec.memory.bytes() / BYTES_PER_MIB;
    words.option("-m", format!("{memory_mib}M"));
    // The vsock device reads and writes guest memory, so both map the same file.
    words.option(
        "-object",
        format!("memory-backend-memfd,id=mem,size={memory_mib}M,share=on"),
    );
    words.flag("-nodefaults");
    words.flag("-no-user-config");
    words.option("-display", "none");
    words.flag("-no-reboot");
    // The guest runs only after its identity was recorded.
    words.flag("-S");
    words.option("-name", format!("{},process=microagent-vm", spec.workspace));
    if spec.confinement != ConfinementDemand::Off {
        words.option("-sandbox", SANDBOX);
    }
    words.option("-kernel", spec.kernel.as_path());
    words.option("-initrd", spec.initramfs.as_path());
    words.option("-append", &spec.command_line);
    words.option("-serial", "stdio");
    words.option("-chardev", format!("socket,id=qmp,fd={QMP_SOCKET}"));
    words.option("-mon", "chardev=qmp,mode=control");
    disks(&mut words, spec);
    words.option("-chardev", format!("socket,id=vs,path={VHOST_SOCKET}"));
    words.option("-device", "vhost-user-vsock-device,chardev=vs");
    words.option("-object", "rng-random,id=rng,filename=/dev/urandom");
    words.option("-device", "virtio-rng-device,rng=rng");
    if let Some(nic) = &spec.nic {
        network(&mut words, nic);
    }
    words.0
}

fn machine(words: &mut Words, spec: &LaunchSpec, execution: Execution) {
    let emulated = match spec.arch {
        // Where the processor says that it copies fast byte by byte, Linux does so; emulated, each byte
        // is a turn of its own, and eight at once take no longer.
        Arch::Amd64 => "max,-erms,-fsrm",
        Arch::Arm64 => "max",
    };
    let (accel, cpu, legacy) = match execution {
        Execution::Kvm => ("kvm", "host", "off"),
        Execution::KvmAndTimers => ("kvm", "host", "on"),
        Execution::ThreadPerCpu => ("tcg,thread=multi", emulated, "on"),
        Execution::OneThread => ("tcg,thread=single", emulated, "on"),
    };
    let machine = match spec.arch {
        Arch::Amd64 => format!(
            "microvm,acpi=off,x-option-roms=off,pit={legacy},pic={legacy},rtc={legacy},\
             isa-serial=on,memory-backend=mem"
        ),
        Arch::Arm64 => "virt,gic-version=max,memory-backend=mem".to_owned(),
    };
    words.option("-M", machine);
    words.option("-accel", accel);
    words.option("-cpu", cpu);
}

fn disks(words: &mut Words, spec: &LaunchSpec) {
    block_nodes(words, "root", &spec.root_disk);
    words.option(
        "-device",
        format!("virtio-blk-device,drive=root,serial={ROOT_SERIAL}"),
    );
    if spec.disks.is_empty() {
        return;
    }
    // `microvm` has few places for devices, so all data disks share one controller.
    words.option("-device", "virtio-scsi-device,id=scsi");
    for (disk, lun) in spec.disks.iter().zip(FIRST_DATA_LUN..) {
        // A disk's name may be longer than a node's.
        let node = format!("disk{lun}");
        block_nodes(words, &node, disk);
        words.option(
            "-device",
            format!("scsi-hd,bus=scsi.0,drive={node},lun={lun}"),
        );
    }
}

/// The file and the image on it. What the guest discards becomes a hole only when both say so.
fn block_nodes(words: &mut Words, node: &str, disk: &Disk) {
    let access = match (disk.access, disk.durability) {
        (DiskAccess::ReadOnly, _) => "read-only=on",
        (DiskAccess::ReadWrite, Durability::Kept) => "discard=unmap",
        (DiskAccess::ReadWrite, Durability::ThrownAway) => "discard=unmap,cache.no-flush=on",
    };
    let driver = match &disk.base {
        Some(base) => {
            let path = value(base.as_path());
            words.option(
                "-blockdev",
                format!("driver=file,node-name=fb-{node},filename={path},aio=threads,read-only=on"),
            );
            words.option(
                "-blockdev",
                format!("driver=raw,node-name=b-{node},file=fb-{node},read-only=on"),
            );
            format!("qcow2,backing=b-{node}")
        }
        None => "raw".to_owned(),
    };
    let path = value(disk.path.as_path());
    words.option(
        "-blockdev",
        format!("driver=file,node-name=f-{node},filename={path},aio=threads,{access}"),
    );
    words.option(
        "-blockdev",
        format!("driver={driver},node-name={node},file=f-{node},{access}"),
    );
}

fn network(words: &mut Words, nic: &GuestNic) {
    words.option(
        "-netdev",
        format!("stream,id={NETWORK_DEVICE_ID},server=off,addr.type=fd,addr.str={NETWORK_SOCKET}"),
    );
    let mac: Vec<String> = nic.mac.iter().map(|byte| format!("{byte:02x}")).collect();
    words.option(
        "-device",
        format!(
            "virtio-net-device,netdev={NETWORK_DEVICE_ID},mac={}",
            mac.join(":")
        ),
    );
}

/// A path inside a list of options.
fn value(path: &Path) -> String {
    // Paths of a launch spec are UTF-8.
    path.to_string_lossy().replace(',', ",,")
}

#[derive(Default)]
struct Words(Vec<OsString>);

impl Words {
    fn flag(&mut self, name: &str) {
        self.0.push(name.into());
    }

    fn option(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.push(name.into());
        self.0.push(value.into());
    }
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
