//! Process calls that every Unix has: fork and exec, poll, signal handlers.
//!
//! Calls only. What one kernel has is in `linux.rs` and `macos.rs`.
#![expect(
    unsafe_code,
    reason = "code between fork and exec, and signal handlers"
)]

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::spawn::{Exit, ParentDeath, Session, Spawn, Stream};
use super::{Signal, kernel};
pub(crate) use kernel::peer_of_socket;
pub(super) use kernel::{
    Pin, current_identity, descriptor, find, host_boot_id, pid_namespace, pin_child,
    put_next_child_into_pid_namespace, signal, signal_me_when_parent_ends,
};

/// A descriptor on loan.
pub type Descriptor<'a> = BorrowedFd<'a>;
/// A descriptor that is given away.
pub type OwnedDescriptor = OwnedFd;

/// Descriptors that a child gets are first moved above all numbers that can be asked for.
const DESCRIPTOR_FLOOR: RawFd = 64;
// --- identity ---

pub(super) fn effective_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

// --- waiting and signalling ---

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

pub(super) fn signal_of(signal: Signal) -> rustix::process::Signal {
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
        ParentDeath::Signals(signal) => Some(signal),
    };
    let parent = rustix::process::getpid();
    let prepare_child = move || -> io::Result<()> {
        if new_session {
            rustix::process::setsid()?;
        }
        if let Some(mask) = creation_mask {
            rustix::process::umask(kernel::mode_of(mask));
        }
        if no_new_privileges {
            kernel::forgo_privileges()?;
        }
        kernel::close_all_on_exec()?;
        for (source, number) in &moves {
            open_to_child(source.as_raw_fd(), *number)?;
        }
        if let Some(signal) = parent_death {
            kernel::die_with(parent, signal)?;
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

// --- signals to this process ---

/// The reading end of the pipe that the handler writes to.
pub(super) type SignalSource = File;

/// The writing end, for the handler; -1 until a watch is installed.
static SIGNAL_PIPE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn note_signal(number: libc::c_int) {
    let byte = u8::try_from(number).unwrap_or(0);
    let descriptor = SIGNAL_PIPE.load(Ordering::Relaxed);
    let errno = kernel::error_number();
    // SAFETY: errno belongs to the interrupted code; its address is valid for this thread.
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
    let (reader, writer) = kernel::signal_pipe()?;
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

pub(super) fn stdin_descriptor() -> Descriptor<'static> {
    // SAFETY: descriptor 0 is never closed by this process.
    unsafe { BorrowedFd::borrow_raw(0) }
}

/// Programs have no ending here.
pub(super) fn program_file(name: &str) -> String {
    name.to_owned()
}

/// Whether this process acts as root.
#[expect(clippy::unnecessary_wraps, reason = "the Windows sibling can fail")]
pub(super) fn is_administrator() -> io::Result<bool> {
    Ok(effective_user() == 0)
}
