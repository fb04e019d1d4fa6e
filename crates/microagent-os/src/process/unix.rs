//! Process calls of Linux: `/proc`, pidfds, fork and exec, namespaces, signal handlers.
//!
//! Calls only. The one file of this crate, beside the terminal's, where `unsafe` stands.
#![expect(
    unsafe_code,
    reason = "code between fork and exec, and signal handlers"
)]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
use rustix::thread::UnshareFlags;

use super::spawn::{Exit, ParentDeath, Session, Spawn, Stream};
use super::{Delivery, HostBootId, PidNamespace, ProcessIdentity, Signal, StartTime};

/// A descriptor on loan.
pub type Descriptor<'a> = BorrowedFd<'a>;
/// A descriptor that is given away.
pub type OwnedDescriptor = OwnedFd;
/// What pins a process: a pidfd.
pub(super) type Pin = OwnedFd;

/// Descriptors that a child gets are first moved above all numbers that can be asked for.
const DESCRIPTOR_FLOOR: RawFd = 64;
/// Bytes of a file in `/proc` that are read.
const PROC_FILE_BYTES_MAX: u64 = 16 * 1024;
/// Field 22 of `/proc/<pid>/stat` counted behind the closing parenthesis of field 2.
const START_TIME_FIELD_AFTER_NAME: usize = 19;

// --- identity ---

pub(super) fn effective_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

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

pub(super) fn wait_readable(
    descriptors: &[Descriptor<'_>],
    limit: Option<Duration>,
) -> io::Result<Vec<bool>> {
    let deadline = limit.map(crate::clock::Deadline::after);
    let mut polled: Vec<PollFd<'_>> = descriptors
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    loop {
        let timeout = deadline.map(|deadline| {
            Timespec::try_from(deadline.remaining()).expect("a deadline is at most ten years off")
        });
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) => return Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(feature = "tokio")]
pub(super) async fn readable(descriptor: Descriptor<'_>) -> io::Result<()> {
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;
    // SAFETY: the descriptor is borrowed for longer than the registration lives, and the number
    // behind a borrowed descriptor never changes.
    let watched = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?;
    let _ready = watched.readable().await?;
    Ok(())
}

pub(super) fn signal(pin: &Pin, signal: Signal) -> io::Result<Delivery> {
    match pidfd_send_signal(pin, signal_of(signal)) {
        Ok(()) => Ok(Delivery::Sent),
        Err(rustix::io::Errno::SRCH) => Ok(Delivery::AlreadyGone),
        Err(error) => Err(error.into()),
    }
}

fn signal_of(signal: Signal) -> rustix::process::Signal {
    match signal {
        Signal::HangUp => rustix::process::Signal::HUP,
        Signal::Interrupt => rustix::process::Signal::INT,
        Signal::Quit => rustix::process::Signal::QUIT,
        Signal::Terminate => rustix::process::Signal::TERM,
        Signal::Kill => rustix::process::Signal::KILL,
        Signal::WindowChange => rustix::process::Signal::WINCH,
    }
}

pub(super) fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => {
            unreachable!("a process that was waited for has ended one way or the other")
        }
    }
}

pub(super) fn may_execute(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

// --- starting ---

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

/// One bit for each number that was taken over.
static INHERITED_TAKEN: AtomicU64 = AtomicU64::new(0);

pub(super) fn take_inherited(number: i32) -> io::Result<OwnedFd> {
    let bit = 1u64 << number;
    if INHERITED_TAKEN.fetch_or(bit, Ordering::SeqCst) & bit != 0 {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    // SAFETY: the call only asks the kernel about a number; a number that is not open is `EBADF`.
    let open = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    if open == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the number is open, and the bit above makes this its only owner: numbers below the
    // floor are inherited ones, which nobody else in this process owns.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

pub(super) fn spawn(spawn: Spawn) -> io::Result<Child> {
    let (mut command, _placeholders) = command_of(spawn)?;
    command.spawn()
}

pub(super) fn replace(spawn: Spawn) -> io::Error {
    match command_of(spawn) {
        Ok((mut command, _placeholders)) => command.exec(),
        Err(error) => error,
    }
}

/// The command, and descriptors that must stay open until it was started.
fn command_of(spawn: Spawn) -> io::Result<(Command, Vec<OwnedFd>)> {
    let mut command = Command::new(&spawn.program);
    command
        .args(&spawn.arguments)
        .env_clear()
        .envs(spawn.environment);
    command.stdin(stdio_of(spawn.stdin));
    command.stdout(stdio_of(spawn.stdout));
    command.stderr(stdio_of(spawn.stderr));
    if let Some(folder) = spawn.working_folder {
        command.current_dir(folder);
    }
    if spawn.session == Session::NewGroup {
        command.process_group(0);
    }

    // The standard library reports a failed exec through a pipe of its own, which could get a
    // number that the child is to have. Placeholders hold these numbers until after the fork.
    let null = File::open("/dev/null")?;
    let mut placeholders = Vec::new();
    let mut moves = Vec::new();
    for (number, descriptor) in spawn.descriptors {
        placeholders.push(rustix::io::fcntl_dupfd_cloexec(&null, number)?);
        moves.push((
            rustix::io::fcntl_dupfd_cloexec(&descriptor, DESCRIPTOR_FLOOR)?,
            number,
        ));
    }

    let new_session = spawn.session == Session::New;
    let creation_mask = spawn.creation_mask;
    let no_new_privileges = spawn.no_new_privileges;
    let parent_death = match spawn.parent_death {
        ParentDeath::Ignored => None,
        ParentDeath::Signals(signal) => Some(signal_of(signal)),
    };
    let parent = rustix::process::getpid();
    let prepare_child = move || -> io::Result<()> {
        if new_session {
            rustix::process::setsid()?;
        }
        if let Some(mask) = creation_mask {
            rustix::process::umask(rustix::fs::Mode::from_bits_truncate(mask));
        }
        if no_new_privileges {
            rustix::thread::set_no_new_privs(true)?;
        }
        close_all_on_exec()?;
        for (source, number) in &moves {
            open_to_child(source.as_raw_fd(), *number)?;
        }
        if let Some(signal) = parent_death {
            rustix::process::set_parent_process_death_signal(Some(signal))?;
            // A parent outside the child's pid namespace reads as none and can't be compared.
            if rustix::process::getppid().is_some_and(|now| now != parent) {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
        }
        Ok(())
    };
    // SAFETY: the closure runs between fork and exec. It makes system calls only: no allocation,
    // no lock, nothing that another thread could have left half done. Errors are plain numbers.
    unsafe { command.pre_exec(prepare_child) };
    Ok((command, placeholders))
}

fn stdio_of(stream: Stream) -> Stdio {
    match stream {
        Stream::Null => Stdio::null(),
        Stream::Pipe => Stdio::piped(),
        Stream::Inherit => Stdio::inherit(),
        Stream::File(file) => Stdio::from(file),
    }
}

fn close_all_on_exec() -> io::Result<()> {
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

fn open_to_child(source: RawFd, number: RawFd) -> io::Result<()> {
    // SAFETY: takes numbers. In the forked child nobody else uses `number`: it was held by a
    // placeholder, which this call replaces.
    let result = unsafe { libc::dup2(source, number) };
    if result == number {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
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

// --- signals to this process ---

/// The reading end of the pipe that the handler writes to.
pub(super) type SignalSource = File;

/// The writing end, for the handler; -1 until a watch is installed.
static SIGNAL_PIPE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn note_signal(number: libc::c_int) {
    let byte = u8::try_from(number).unwrap_or(0);
    let descriptor = SIGNAL_PIPE.load(Ordering::Relaxed);
    // SAFETY: errno belongs to the interrupted code; its address is valid for this thread.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let saved = unsafe { *errno };
    // SAFETY: `write` is safe in a handler; one readable byte is given. The pipe does not block,
    // and a full one has enough signals in it.
    unsafe { libc::write(descriptor, (&raw const byte).cast(), 1) };
    // SAFETY: as above.
    unsafe { *errno = saved };
}

pub(super) fn watch_signals(signals: &[Signal]) -> io::Result<SignalSource> {
    if signals.contains(&Signal::Kill) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let flags = rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK;
    let (reader, writer) = rustix::pipe::pipe_with(flags)?;
    let claimed =
        SIGNAL_PIPE.compare_exchange(-1, writer.as_raw_fd(), Ordering::Relaxed, Ordering::Relaxed);
    if claimed.is_err() {
        return Err(io::Error::from(io::ErrorKind::AlreadyExists));
    }
    // The handler needs it for as long as the process lives.
    std::mem::forget(writer);
    for signal in signals {
        install_handler(signal_of(*signal).as_raw())?;
    }
    Ok(File::from(reader))
}

fn install_handler(number: i32) -> io::Result<()> {
    // SAFETY: an all-zero sigaction is a valid value: default handler, empty mask, no flags.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = note_signal as extern "C" fn(libc::c_int) as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `action` is initialised and outlives the call; the old action is not asked for. The
    // handler makes only calls that are allowed in one.
    let result = unsafe { libc::sigaction(number, &raw const action, std::ptr::null_mut()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

pub(super) fn take_signal(source: &mut SignalSource) -> io::Result<Option<Signal>> {
    let mut byte = [0u8; 1];
    match source.read(&mut byte) {
        Ok(0) => Ok(None),
        Ok(_) => Ok(watched_signal(i32::from(byte[0]))),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error),
    }
}

fn watched_signal(number: i32) -> Option<Signal> {
    [
        Signal::HangUp,
        Signal::Interrupt,
        Signal::Quit,
        Signal::Terminate,
        Signal::WindowChange,
    ]
    .into_iter()
    .find(|signal| signal_of(*signal).as_raw() == number)
}

pub(super) fn signal_descriptor(source: &SignalSource) -> Descriptor<'_> {
    source.as_fd()
}
