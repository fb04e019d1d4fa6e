//! Process calls that only Linux has: `/proc`, pidfds, pid namespaces, the parent-death signal.
//!
//! Calls only; the macOS sibling has the same names.
#![expect(unsafe_code, reason = "system calls that have no safe form")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
use rustix::thread::UnshareFlags;

use super::unix::{Descriptor, signal_of, wait_readable};
use super::{Delivery, HostBootId, PidNamespace, ProcessIdentity, Signal, StartTime};

/// What pins a process: a pidfd.
pub(super) type Pin = OwnedFd;

/// Bytes of a file in `/proc` that are read.
const PROC_FILE_BYTES_MAX: u64 = 16 * 1024;
/// Field 22 of `/proc/<pid>/stat` counted behind the closing parenthesis of field 2.
const START_TIME_FIELD_AFTER_NAME: usize = 19;

// --- identity ---

pub(super) fn host_boot_id() -> io::Result<HostBootId> {
    let text = read_proc(Path::new("/proc/sys/kernel/random/boot_id"))?;
    HostBootId::from_recorded(text.trim()).map_err(io::Error::other)
}

pub(super) fn pid_namespace() -> io::Result<PidNamespace> {
    let status = rustix::fs::stat("/proc/self/ns/pid")?;
    Ok(PidNamespace::from_recorded(status.st_ino))
}

pub(super) fn current_identity() -> io::Result<ProcessIdentity> {
    let stat = read_proc(Path::new("/proc/self/stat"))?;
    let pid = stat.split(' ').next().and_then(|pid| pid.parse().ok());
    let pid = pid.ok_or_else(|| io::Error::other("`/proc/self/stat` has no pid"))?;
    ProcessIdentity::from_recorded(pid, start_time_in(&stat)?).map_err(io::Error::other)
}

/// `Ok(None)` means gone; an error means that it can't be told.
pub(super) fn find(identity: &ProcessIdentity) -> io::Result<Option<Pin>> {
    let pid = i32::try_from(identity.pid())
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let pin = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pin) => pin,
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match pid_in_proc(&pin)? {
        ProcPid::Visible(shown) if shown == identity.pid() => {}
        ProcPid::Ended => return Ok(None),
        ProcPid::Visible(_) | ProcPid::Hidden => {
            return Err(io::Error::other(
                "this process counts pids in another namespace",
            ));
        }
    }
    let start_time = match start_time_of(identity.pid()) {
        Ok(start_time) => start_time,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // The process ended between the two lines.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
        Err(error) => return Err(error),
    };
    let ended = wait_readable(&[pin.as_fd()], Some(Duration::ZERO))?[0];
    Ok((!ended && start_time == *identity.start_time()).then_some(pin))
}

pub(super) fn pin_child(child: &Child) -> io::Result<(Pin, ProcessIdentity)> {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let pin = pidfd_open(pid, PidfdFlags::empty())?;
    // In a pid namespace the fork's pid is not the one that the host's `/proc` shows. A child that
    // ended but was not waited for still has its entry.
    let ProcPid::Visible(shown) = pid_in_proc(&pin)? else {
        return Err(io::Error::other("the child is not in `/proc`"));
    };
    let identity =
        ProcessIdentity::from_recorded(shown, start_time_of(shown)?).map_err(io::Error::other)?;
    Ok((pin, identity))
}

enum ProcPid {
    Visible(u32),
    Hidden,
    Ended,
}

fn pid_in_proc(pin: &OwnedFd) -> io::Result<ProcPid> {
    let info = read_proc(Path::new(&format!("/proc/self/fdinfo/{}", pin.as_raw_fd())))?;
    let line = info.lines().find_map(|line| line.strip_prefix("Pid:"));
    let number: i64 = line
        .and_then(|number| number.trim().parse().ok())
        .ok_or_else(|| io::Error::other("the pidfd shows no pid"))?;
    Ok(match u32::try_from(number) {
        Ok(0) => ProcPid::Hidden,
        Ok(pid) => ProcPid::Visible(pid),
        Err(_) => ProcPid::Ended,
    })
}

fn start_time_of(pid: u32) -> io::Result<StartTime> {
    start_time_in(&read_proc(Path::new(&format!("/proc/{pid}/stat")))?)
}

fn start_time_in(stat: &str) -> io::Result<StartTime> {
    // The name may hold spaces and parentheses; what follows the last one may not.
    stat.rsplit_once(") ")
        .and_then(|(_, fields)| fields.split(' ').nth(START_TIME_FIELD_AFTER_NAME))
        .and_then(|field| StartTime::from_recorded(field).ok())
        .ok_or_else(|| io::Error::other("`/proc` shows no start time"))
}

fn read_proc(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(PROC_FILE_BYTES_MAX)
        .read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

// --- waiting and signalling ---

pub(super) fn descriptor(pin: &Pin) -> Descriptor<'_> {
    pin.as_fd()
}

pub(super) fn signal(pin: &Pin, signal: Signal) -> io::Result<Delivery> {
    match pidfd_send_signal(pin, signal_of(signal)) {
        Ok(()) => Ok(Delivery::Sent),
        Err(rustix::io::Errno::SRCH) => Ok(Delivery::AlreadyGone),
        Err(error) => Err(error.into()),
    }
}

/// User and pid of who connected a Unix socket. A peer in a pid namespace that we can't see into has
/// pid 0 there, which is no pid.
pub(crate) fn peer_of_socket(socket: BorrowedFd<'_>) -> io::Result<(u32, Option<u32>)> {
    let mut credentials = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut length =
        libc::socklen_t::try_from(size_of::<libc::ucred>()).map_err(io::Error::other)?;
    // SAFETY: the pointers lead to a value and its length, both of which outlive the call.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    };
    if answer == -1 {
        return Err(io::Error::last_os_error());
    }
    let pid = u32::try_from(credentials.pid).ok().filter(|pid| *pid != 0);
    Ok((credentials.uid, pid))
}

// --- between fork and exec ---

pub(super) fn close_all_on_exec() -> io::Result<()> {
    // SAFETY: takes numbers, touches no memory; it only sets a flag on descriptors.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3u32,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

pub(super) fn mode_of(mask: u32) -> rustix::fs::Mode {
    rustix::fs::Mode::from_bits_truncate(mask)
}

pub(super) fn forgo_privileges() -> io::Result<()> {
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// `parent` is who forked.
pub(super) fn die_with(parent: rustix::process::Pid, signal: Signal) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(signal_of(signal)))?;
    // A parent outside the child's pid namespace reads as none and can't be compared.
    if rustix::process::getppid().is_some_and(|now| now != parent) {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok(())
}

pub(super) fn signal_me_when_parent_ends(signal: Signal) -> io::Result<()> {
    let parent = rustix::process::getppid();
    rustix::process::set_parent_process_death_signal(Some(signal_of(signal)))?;
    if rustix::process::getppid() == parent {
        Ok(())
    } else {
        Err(io::Error::from(io::ErrorKind::NotConnected))
    }
}

pub(super) fn put_next_child_into_pid_namespace() -> io::Result<()> {
    match unshare(UnshareFlags::NEWPID) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let user = rustix::process::geteuid().as_raw();
            let group = rustix::process::getegid().as_raw();
            unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWPID)?;
            write_proc("/proc/self/setgroups", "deny")?;
            write_proc("/proc/self/uid_map", &format!("{user} {user} 1"))?;
            write_proc("/proc/self/gid_map", &format!("{group} {group} 1"))
        }
        other => other,
    }
}

fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: none of the flags used here unshares the descriptor table, which is the one that
    // could take descriptors from other threads.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(io::Error::from)
}

fn write_proc(path: &str, text: &str) -> io::Result<()> {
    std::fs::OpenOptions::new()
        .write(true)
        .open(path)?
        .write_all(text.as_bytes())
}

// --- signal handlers ---

/// A pipe that does not block.
pub(super) fn signal_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK;
    Ok(rustix::pipe::pipe_with(flags)?)
}

/// The address of this thread's error number.
pub(super) fn error_number() -> *mut libc::c_int {
    // SAFETY: the call has no arguments and gives an address that is valid for this thread.
    unsafe { libc::__errno_location() }
}
