//! What makes this boot this boot: time, randomness, name, and the bounds of its processes.
#![expect(unsafe_code, reason = "crediting entropy is an ioctl")]

use super::mounts::set_kernel_value;
use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{Setter, ioctl, opcode};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::io;

/// Random bytes of a boot spec.
const ENTROPY_BYTES: usize = 64;
/// Most processes, the kernel's own maximum: a number is then not given again for a long time, which
/// is what makes a late signal to a group safe.
const PID_MAX: &str = "4194304";
const OPEN_FILES_SOFT: u64 = 65_536;
const OPEN_FILES_HARD: u64 = 1_048_576;

/// `struct rand_pool_info` with its buffer.
#[repr(C)]
struct PoolInfo {
    entropy_bits: i32,
    buffer_bytes: i32,
    buffer: [u8; ENTROPY_BYTES],
}

/// `RNDADDENTROPY`; its number counts the two integers only.
const ADD_ENTROPY: rustix::ioctl::Opcode = opcode::write::<[i32; 2]>(b'R', 3);

/// Gives the kernel's pool the host's bytes, credited: a guest must not wait for randomness, and two
/// clones must not share it. What is no hexadecimal gives nothing.
pub(super) fn add_entropy(hex: &str) -> io::Result<()> {
    let Some(buffer) = from_hex(hex) else {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    };
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let pool = rustix::fs::open(c"/dev/urandom", flags, Mode::empty())?;
    let bits_and_bytes = (ENTROPY_BYTES * 8, ENTROPY_BYTES);
    let info = PoolInfo {
        entropy_bits: i32::try_from(bits_and_bytes.0).unwrap_or(0),
        buffer_bytes: i32::try_from(bits_and_bytes.1).unwrap_or(0),
        buffer,
    };
    // SAFETY: the request reads a `rand_pool_info` whose buffer is as long as it says.
    let request = unsafe { Setter::<{ ADD_ENTROPY }, PoolInfo>::new(info) };
    // SAFETY: the descriptor is the kernel's random device, which knows this request.
    unsafe { ioctl(&pool, request) }?;
    Ok(())
}

fn from_hex(text: &str) -> Option<[u8; ENTROPY_BYTES]> {
    let mut bytes = [0; ENTROPY_BYTES];
    let text = text.as_bytes();
    if text.len() != ENTROPY_BYTES * 2 {
        return None;
    }
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// The host's time and the guest's name.
pub(super) fn take_identity(time_unix_us: u64, hostname: &str) -> io::Result<()> {
    crate::clock::step_to(time_unix_us)?;
    Ok(rustix::system::sethostname(hostname.as_bytes())?)
}

/// Bounds that everything started later inherits, and guest init's own place among them.
pub(super) fn set_bounds() {
    let files = Rlimit {
        current: Some(OPEN_FILES_SOFT),
        maximum: Some(OPEN_FILES_HARD),
    };
    let _ = setrlimit(Resource::Nofile, files);
    set_kernel_value("/proc/self/oom_score_adj", "-1000");
    set_kernel_value("/proc/sys/kernel/pid_max", PID_MAX);
    // Ctrl-Alt-Del becomes SIGINT to PID 1.
    let _ = rustix::system::reboot(rustix::system::RebootCommand::CadOff);
}

#[cfg(test)]
mod tests {
    use super::from_hex;

    #[test]
    fn entropy_is_64_bytes_in_hexadecimal() {
        let bytes = from_hex(&"0fA0".repeat(32)).unwrap();
        assert_eq!(bytes[..4], [0x0f, 0xa0, 0x0f, 0xa0]);
        assert_eq!(from_hex(&"0f".repeat(63)), None);
        assert_eq!(from_hex(&"0g".repeat(64)), None);
    }
}
