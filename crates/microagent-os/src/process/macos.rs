//! Process calls that only macOS has: `proc_pidinfo`, kernel queues, the boot session.
//!
//! Calls only; the Linux sibling has the same names. There is no pid namespace and no parent-death
//! signal here: the first is refused, the second is a thread that waits for the parent's end.
#![expect(unsafe_code, reason = "system calls that have no safe form")]

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::Child;
use std::time::Duration;

use rustix::event::kqueue::{Event, EventFilter, EventFlags, ProcessEvents, kevent, kqueue};
use rustix::process::Pid;

use super::unix::{Descriptor, signal_of, wait_readable};
use super::{Delivery, HostBootId, PidNamespace, ProcessIdentity, Signal, StartTime};

/// Descriptor numbers that are closed on exec, whatever the limit of the process is.
const DESCRIPTORS_MAX: libc::c_int = 65_536;
/// Bytes of the boot session's id that are read.
const BOOT_SESSION_BYTES: usize = 64;

/// What pins a process: a kernel queue that becomes readable at its end, with its pid.
#[derive(Debug)]
pub(super) struct Pin {
    queue: OwnedFd,
    pid: Pid,
    start_time: StartTime,
}

impl Pin {
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            queue: self.queue.try_clone()?,
            pid: self.pid,
            start_time: self.start_time.clone(),
        })
    }

    /// `None` when there is no such process.
    fn new(pid: Pid, start_time: StartTime) -> io::Result<Option<Self>> {
        let queue = kqueue()?;
        match watch_end(&queue, pid) {
            Ok(()) => Ok(Some(Self {
                queue,
                pid,
                start_time,
            })),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn watch_end(queue: &OwnedFd, pid: Pid) -> io::Result<()> {
    let filter = EventFilter::Proc {
        pid,
        flags: ProcessEvents::EXIT,
    };
    let change = Event::new(filter, EventFlags::ADD, std::ptr::null_mut());
    let mut none: [Event; 0] = [];
    // SAFETY: the change names no descriptor, so none can be closed while the queue watches it.
    unsafe { kevent(queue, &[change], &mut none[..], Some(Duration::ZERO)) }?;
    Ok(())
}

// --- identity ---

pub(super) fn host_boot_id() -> io::Result<HostBootId> {
    let mut text = [0u8; BOOT_SESSION_BYTES];
    let mut length = text.len();
    // SAFETY: the name ends with a zero, and the buffer is as long as is said.
    let answer = unsafe {
        libc::sysctlbyname(
            c"kern.bootsessionuuid".as_ptr(),
            text.as_mut_ptr().cast(),
            &raw mut length,
            std::ptr::null_mut(),
            0,
        )
    };
    if answer == -1 {
        return Err(io::Error::last_os_error());
    }
    let text = CStr::from_bytes_until_nul(&text).map_err(io::Error::other)?;
    HostBootId::from_recorded(&text.to_string_lossy()).map_err(io::Error::other)
}

/// There is only one here.
#[expect(clippy::unnecessary_wraps, reason = "the Linux sibling can fail")]
pub(super) fn pid_namespace() -> io::Result<PidNamespace> {
    Ok(PidNamespace::from_recorded(0))
}

pub(super) fn current_identity() -> io::Result<ProcessIdentity> {
    let pid = rustix::process::getpid();
    let start_time = start_time_of(pid)?.ok_or(io::ErrorKind::NotFound)?;
    identity(pid, start_time)
}

fn identity(pid: Pid, start_time: StartTime) -> io::Result<ProcessIdentity> {
    let pid = u32::try_from(pid.as_raw_nonzero().get()).map_err(io::Error::other)?;
    ProcessIdentity::from_recorded(pid, start_time).map_err(io::Error::other)
}

fn pid_of(number: u32) -> io::Result<Pid> {
    i32::try_from(number)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// `Ok(None)` means gone; an error means that it can't be told.
pub(super) fn find(identity: &ProcessIdentity) -> io::Result<Option<Pin>> {
    let pid = pid_of(identity.pid())?;
    // Watched first: if the pid is given to another process meanwhile, the start time tells.
    let Some(pin) = Pin::new(pid, identity.start_time().clone())? else {
        return Ok(None);
    };
    let started = start_time_of(pid)?;
    let ended = wait_readable(&[pin.queue.as_fd()], Some(Duration::ZERO))?[0];
    Ok((!ended && started.as_ref() == Some(identity.start_time())).then_some(pin))
}

pub(super) fn pin_child(child: &Child) -> io::Result<(Pin, ProcessIdentity)> {
    let pid = pid_of(child.id())?;
    // A child that was not waited for keeps its pid, also when it has ended.
    let start_time = match start_time_of(pid)? {
        Some(start_time) => start_time,
        None => StartTime::from_recorded("ended").map_err(io::Error::other)?,
    };
    let who = identity(pid, start_time.clone())?;
    let pin = Pin::new(pid, start_time)?.ok_or(io::ErrorKind::NotFound)?;
    Ok((pin, who))
}

/// Seconds and microseconds of the start; `None` when there is no such process, or a zombie.
fn start_time_of(pid: Pid) -> io::Result<Option<StartTime>> {
    let mut found = MaybeUninit::<libc::proc_bsdinfo>::zeroed();
    let size = libc::c_int::try_from(size_of::<libc::proc_bsdinfo>()).map_err(io::Error::other)?;
    // SAFETY: the buffer is as long as is said and outlives the call.
    let read = unsafe {
        libc::proc_pidinfo(
            pid.as_raw_nonzero().get(),
            libc::PROC_PIDTBSDINFO,
            0,
            found.as_mut_ptr().cast(),
            size,
        )
    };
    if read != size {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ESRCH) => Ok(None),
            _ => Err(error),
        };
    }
    // SAFETY: zeroes are a valid value, and the kernel has filled all of it.
    let found = unsafe { found.assume_init() };
    let text = format!("{}.{:06}", found.pbi_start_tvsec, found.pbi_start_tvusec);
    StartTime::from_recorded(&text)
        .map(Some)
        .map_err(io::Error::other)
}

// --- waiting and signalling ---

pub(super) fn descriptor(pin: &Pin) -> Descriptor<'_> {
    pin.queue.as_fd()
}

/// There is no signal through a queue here: end and start time are looked at directly before.
pub(super) fn signal(pin: &Pin, signal: Signal) -> io::Result<Delivery> {
    let ended = wait_readable(&[pin.queue.as_fd()], Some(Duration::ZERO))?[0];
    if ended || start_time_of(pin.pid)?.as_ref() != Some(&pin.start_time) {
        return Ok(Delivery::AlreadyGone);
    }
    match rustix::process::kill_process(pin.pid, signal_of(signal)) {
        Ok(()) => Ok(Delivery::Sent),
        Err(rustix::io::Errno::SRCH) => Ok(Delivery::AlreadyGone),
        Err(error) => Err(error.into()),
    }
}

/// User and pid of who connected a Unix socket.
pub(crate) fn peer_of_socket(socket: BorrowedFd<'_>) -> io::Result<(u32, Option<u32>)> {
    let (mut user, mut group) = (0, 0);
    // SAFETY: both pointers lead to values that outlive the call.
    let answer = unsafe { libc::getpeereid(socket.as_raw_fd(), &raw mut user, &raw mut group) };
    if answer == -1 {
        return Err(io::Error::last_os_error());
    }
    let mut pid: libc::pid_t = 0;
    let mut length =
        libc::socklen_t::try_from(size_of::<libc::pid_t>()).map_err(io::Error::other)?;
    // SAFETY: the pointers lead to a value and its length, both of which outlive the call.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_LOCAL,
            libc::LOCAL_PEERPID,
            (&raw mut pid).cast(),
            &raw mut length,
        )
    };
    let known = answer == 0 && pid != 0;
    Ok((user, u32::try_from(pid).ok().filter(|_| known)))
}

// --- between fork and exec ---

/// There is no call for a range: each number that may be open is asked for.
pub(super) fn close_all_on_exec() -> io::Result<()> {
    // SAFETY: the call has no arguments.
    let count = unsafe { libc::getdtablesize() };
    if count > DESCRIPTORS_MAX {
        return Err(io::Error::from_raw_os_error(libc::EMFILE));
    }
    for number in 3..count {
        // SAFETY: takes numbers; one that is not open is an error that means nothing.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

pub(super) fn mode_of(mask: u32) -> rustix::fs::Mode {
    rustix::fs::Mode::from_bits_truncate(
        rustix::fs::RawMode::try_from(mask & 0o777).unwrap_or(0o777),
    )
}

/// Nothing here gives a child privileges but set-id programs, and there is no switch against those.
pub(super) fn forgo_privileges() -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::ENOTSUP))
}

/// A child is not told of its parent's end by this kernel.
pub(super) fn die_with(_parent: Pid, _signal: Signal) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::ENOTSUP))
}

pub(super) fn signal_me_when_parent_ends(signal: Signal) -> io::Result<()> {
    let parent = rustix::process::getppid().ok_or(io::ErrorKind::NotConnected)?;
    let queue = kqueue()?;
    watch_end(&queue, parent)?;
    if rustix::process::getppid() != Some(parent) {
        return Err(io::ErrorKind::NotConnected.into());
    }
    std::thread::spawn(move || {
        if wait_readable(&[queue.as_fd()], None).is_ok() {
            // A process can always signal itself.
            let _ = rustix::process::kill_process(rustix::process::getpid(), signal_of(signal));
        }
    });
    Ok(())
}

pub(super) fn put_next_child_into_pid_namespace() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

// --- signal handlers ---

/// A pipe that does not block.
pub(super) fn signal_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = rustix::pipe::pipe()?;
    for end in [&reader, &writer] {
        rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(end, true)?;
    }
    Ok((reader, writer))
}

/// The address of this thread's error number.
pub(super) fn error_number() -> *mut libc::c_int {
    // SAFETY: the call has no arguments and gives an address that is valid for this thread.
    unsafe { libc::__error() }
}
