//! Asking this host about KVM. Calls only; the judgement is in the parent.
#![expect(unsafe_code, reason = "one ioctl without arguments")]

use std::io;
use std::path::Path;

use microagent_os::fs;
use microagent_types::Arch;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, opcode};

use super::{KVM_DEVICE, KvmDevice, KvmFacts, cpu_flag_in};

/// Every CPU repeats its flags, and the first one's are enough.
const CPUINFO_BYTES_MAX: u64 = 64 * 1024 * 1024;
const CPUINFO: &str = "/proc/cpuinfo";
/// `KVM_GET_API_VERSION`, `_IO(0xAE, 0x00)`.
const GET_API_VERSION: Opcode = opcode::none(0xAE, 0x00);

/// Looks at the device and the CPU. Never fails: what can't be read counts as missing.
pub fn observe(arch: Arch) -> KvmFacts {
    let cpuinfo = fs::read_text_bounded(Path::new(CPUINFO), CPUINFO_BYTES_MAX);
    KvmFacts {
        device: observe_device(),
        cpu_flag: cpu_flag_in(&cpuinfo.unwrap_or_default(), arch),
    }
}

fn observe_device() -> KvmDevice {
    let device = match fs::open_read_write(Path::new(KVM_DEVICE)) {
        Ok(device) => device,
        Err(error) if error.is_not_found() => return KvmDevice::Absent,
        Err(error) => {
            return KvmDevice::Closed {
                reason: error.source.to_string(),
            };
        }
    };
    match api_version(&device) {
        Ok(api_version) => KvmDevice::Open { api_version },
        Err(error) => KvmDevice::Mute {
            reason: error.to_string(),
        },
    }
}

/// The answer is the call's return value, which no ready-made pattern gives.
struct AskApiVersion;

// SAFETY: the request has no argument, so there is no memory to get wrong.
unsafe impl Ioctl for AskApiVersion {
    type Output = i32;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        GET_API_VERSION
    }

    fn as_ptr(&mut self) -> *mut std::ffi::c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(
        output: IoctlOutput,
        _argument: *mut std::ffi::c_void,
    ) -> rustix::io::Result<i32> {
        Ok(output)
    }
}

fn api_version(device: &std::fs::File) -> io::Result<i32> {
    // SAFETY: the request takes no argument; a device that is not KVM refuses it.
    Ok(unsafe { rustix::ioctl::ioctl(device, AskApiVersion) }?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observing_never_fails_and_a_device_that_opens_tells_its_version() {
        let facts = observe(Arch::Amd64);
        if let KvmDevice::Open { api_version } = facts.device {
            assert_eq!(api_version, super::super::KVM_API_VERSION);
        }
    }
}
