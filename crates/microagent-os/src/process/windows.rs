//! Process calls of Windows: handles in place of pidfds, console events in place of signals.
//!
//! A process is known by id and creation time, as elsewhere; its handle pins it. There are no signals:
//! `Kill` ends a process, everything else is refused. What a child gets beside its three streams is
//! named in its environment, since handles have no numbers that a parent could choose.

use std::ffi::OsString;
use std::io;
use std::os::windows::io::{AsHandle as _, BorrowedHandle, OwnedHandle};
use std::os::windows::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::spawn::{Exit, ParentDeath, Session, Spawn, Stream};
use super::{Delivery, HostBootId, PidNamespace, ProcessIdentity, Signal, StartTime};
use crate::clock::Deadline;
use crate::windows::console::{self, ConsoleEvent};
use crate::windows::{handles, pipes, processes};

/// Something that can be waited for.
#[derive(Debug, Clone, Copy)]
pub enum Descriptor<'a> {
    /// A process or an event.
    Handle(BorrowedHandle<'a>),
    /// A pipe, which can only be looked at.
    Pipe(BorrowedHandle<'a>),
    /// A file, which always has something to read.
    Ready,
}

/// A handle that is given away.
pub type OwnedDescriptor = OwnedHandle;
/// What pins a process.
pub(super) type Pin = OwnedHandle;

/// Between two looks at a pipe.
const LOOK_PAUSE: Duration = Duration::from_millis(2);
/// The exit code of a process that was killed, as a shell would report it elsewhere.
const KILLED: u32 = 137;
/// How a child finds a handle of ours: this and the number that it knows it by.
const HANDLE_VARIABLE: &str = "MICROAGENT_HANDLE_";
/// A window of its own is nobody's to see.
const CREATE_NO_WINDOW: u32 = 0x0800_0000;
const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;

// --- identity ---

/// There is no number for a user here; who may open what is settled by permissions.
pub(super) fn effective_user() -> u32 {
    0
}

pub(super) fn host_boot_id() -> io::Result<HostBootId> {
    let text = format!("boot-{}", crate::windows::boot::id());
    HostBootId::from_recorded(&text).map_err(io::Error::other)
}

/// Whether this process has the rights of an administrator.
pub(super) fn is_administrator() -> io::Result<bool> {
    crate::windows::security::is_elevated()
}

#[expect(clippy::unnecessary_wraps, reason = "the Linux sibling can fail")]
pub(super) fn pid_namespace() -> io::Result<PidNamespace> {
    Ok(PidNamespace::from_recorded(0))
}

pub(super) fn current_identity() -> io::Result<ProcessIdentity> {
    identity(std::process::id(), processes::own_creation_time()?)
}

fn identity(id: u32, created: u64) -> io::Result<ProcessIdentity> {
    let start_time = StartTime::from_recorded(&created.to_string()).map_err(io::Error::other)?;
    ProcessIdentity::from_recorded(id, start_time).map_err(io::Error::other)
}

/// `Ok(None)` means gone; an error means that it can't be told.
pub(super) fn find(identity: &ProcessIdentity) -> io::Result<Option<Pin>> {
    let Some(pin) = processes::open(identity.pid())? else {
        return Ok(None);
    };
    let created = processes::creation_time(pin.as_handle())?.to_string();
    let ended = handles::wait_any(&[pin.as_handle()], Some(Duration::ZERO))?.is_some();
    Ok((!ended && created == identity.start_time().as_str()).then_some(pin))
}

pub(super) fn pin_child(child: &Child) -> io::Result<(Pin, ProcessIdentity)> {
    let pin = child.as_handle().try_clone_to_owned()?;
    let identity = identity(child.id(), processes::creation_time(pin.as_handle())?)?;
    Ok((pin, identity))
}

// --- waiting and signalling ---

pub(super) fn descriptor(pin: &Pin) -> Descriptor<'_> {
    Descriptor::Handle(pin.as_handle())
}

pub(super) fn stdin_descriptor() -> Descriptor<'static> {
    static STDIN: OnceLock<Option<OwnedHandle>> = OnceLock::new();
    let stdin = STDIN.get_or_init(|| io::stdin().as_handle().try_clone_to_owned().ok());
    match stdin {
        Some(stdin) if handles::is_pipe(stdin.as_handle()) => Descriptor::Pipe(stdin.as_handle()),
        _ => Descriptor::Ready,
    }
}

pub(super) fn wait_readable(
    descriptors: &[Descriptor<'_>],
    limit: Option<Duration>,
) -> io::Result<Vec<bool>> {
    let deadline = Deadline::after(limit.unwrap_or(Duration::MAX));
    let waited: Vec<BorrowedHandle<'_>> = descriptors
        .iter()
        .filter_map(|descriptor| match descriptor {
            Descriptor::Handle(handle) => Some(*handle),
            Descriptor::Pipe(_) | Descriptor::Ready => None,
        })
        .collect();
    let looked_at = waited.len() < descriptors.len();
    loop {
        let ready: Vec<bool> = descriptors
            .iter()
            .map(is_ready)
            .collect::<io::Result<_>>()?;
        let left = deadline.remaining();
        if ready.contains(&true) || left.is_zero() {
            return Ok(ready);
        }
        let wait = if looked_at {
            left.min(LOOK_PAUSE)
        } else {
            left
        };
        if waited.is_empty() {
            crate::clock::pause(wait);
        } else {
            handles::wait_any(&waited, Some(wait))?;
        }
    }
}

fn is_ready(descriptor: &Descriptor<'_>) -> io::Result<bool> {
    match descriptor {
        Descriptor::Handle(handle) => {
            Ok(handles::wait_any(&[*handle], Some(Duration::ZERO))?.is_some())
        }
        Descriptor::Pipe(pipe) => Ok(pipes::is_readable(*pipe)),
        Descriptor::Ready => Ok(true),
    }
}

/// Waits on a thread, since a loop can't wait for a handle.
#[cfg(feature = "tokio")]
pub(super) async fn readable(descriptor: Descriptor<'_>) -> io::Result<()> {
    let handle = match descriptor {
        Descriptor::Handle(handle) | Descriptor::Pipe(handle) => handle.try_clone_to_owned()?,
        Descriptor::Ready => return Ok(()),
    };
    let is_pipe = matches!(descriptor, Descriptor::Pipe(_));
    let waited = tokio::task::spawn_blocking(move || {
        let descriptor = if is_pipe {
            Descriptor::Pipe(handle.as_handle())
        } else {
            Descriptor::Handle(handle.as_handle())
        };
        wait_readable(&[descriptor], None).map(|_| ())
    });
    waited.await.map_err(io::Error::other)?
}

pub(super) fn signal(pin: &Pin, signal: Signal) -> io::Result<Delivery> {
    if handles::wait_any(&[pin.as_handle()], Some(Duration::ZERO))?.is_some() {
        return Ok(Delivery::AlreadyGone);
    }
    match signal {
        Signal::Kill => processes::terminate(pin.as_handle(), KILLED).map(|()| Delivery::Sent),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

pub(super) fn exit_of(status: ExitStatus) -> Exit {
    Exit::Code(status.code().unwrap_or(-1))
}

/// What may be executed is told by the name.
pub(super) fn may_execute(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("exe"))
}

/// The names under which a program may lie in a folder.
pub(super) fn program_file(name: &str) -> String {
    format!("{name}.exe")
}

// --- starting ---

/// One bit for each number that was taken over.
static INHERITED_TAKEN: AtomicU64 = AtomicU64::new(0);

pub(super) fn take_inherited(number: i32) -> io::Result<OwnedHandle> {
    let bit = 1u64 << number;
    if INHERITED_TAKEN.fetch_or(bit, Ordering::SeqCst) & bit != 0 {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let told = std::env::var(format!("{HANDLE_VARIABLE}{number}"));
    let told = told.map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
    handles::adopt(told.parse().map_err(io::Error::other)?)
}

pub(super) fn spawn(spawn: Spawn) -> io::Result<Child> {
    // Handles are open to every child that is made meanwhile.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if matches!(spawn.parent_death, ParentDeath::Signals(_)) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    keep_standard_streams();
    let mut command = Command::new(&spawn.program);
    command.args(&spawn.arguments).env_clear();
    // Without these, programs of the system itself do not start.
    for name in ["SystemRoot", "SystemDrive", "TEMP", "TMP"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.envs(spawn.environment);
    command.stdin(stdio_of(spawn.stdin));
    command.stdout(stdio_of(spawn.stdout));
    command.stderr(stdio_of(spawn.stderr));
    if let Some(folder) = spawn.working_folder {
        command.current_dir(folder);
    }
    match spawn.session {
        Session::Same => {}
        Session::New => {
            command.creation_flags(CREATE_NO_WINDOW | CREATE_NEW_PROCESS_GROUP);
        }
        Session::NewGroup => {
            command.creation_flags(CREATE_NEW_PROCESS_GROUP);
        }
    }
    for (number, handle) in &spawn.descriptors {
        handles::set_inherited(handle.as_handle(), true)?;
        let value = OsString::from(handles::number(handle.as_handle()).to_string());
        command.env(format!("{HANDLE_VARIABLE}{number}"), value);
    }
    command.spawn()
}

/// Our caller's pipes were made to be inherited, by us. A child that lives on would keep them open, and the
/// caller would wait for its end; one that is to have them gets duplicates.
fn keep_standard_streams() {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    for stream in [stdin.as_handle(), stdout.as_handle(), stderr.as_handle()] {
        // A stream that is closed or a console's is nobody's to inherit.
        let _ = handles::set_inherited(stream, false);
    }
}

pub(super) fn replace(_spawn: Spawn) -> io::Error {
    io::ErrorKind::Unsupported.into()
}

fn stdio_of(stream: Stream) -> Stdio {
    match stream {
        Stream::Null => Stdio::null(),
        Stream::Pipe => Stdio::piped(),
        Stream::Inherit => Stdio::inherit(),
        Stream::File(file) => Stdio::from(file),
    }
}

/// A supervisor whose caller is gone ends what it has begun at its own deadlines.
#[expect(clippy::unnecessary_wraps, reason = "the Unix siblings can fail")]
pub(super) fn signal_me_when_parent_ends(_signal: Signal) -> io::Result<()> {
    Ok(())
}

pub(super) fn put_next_child_into_pid_namespace() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

// --- signals to this process ---

/// The event that is set while something waits to be taken.
pub(super) type SignalSource = BorrowedHandle<'static>;

/// One bit for each event of the console that has come.
static CAME: AtomicU8 = AtomicU8::new(0);
static NOTED: OnceLock<OwnedHandle> = OnceLock::new();
const INTERRUPT: u8 = 1;
const TERMINATE: u8 = 2;

fn note(event: ConsoleEvent) {
    let bit = match event {
        ConsoleEvent::Interrupt => INTERRUPT,
        ConsoleEvent::Break | ConsoleEvent::Close => TERMINATE,
    };
    CAME.fetch_or(bit, Ordering::SeqCst);
    if let Some(noted) = NOTED.get() {
        // An event of our own can always be set.
        let _ = handles::set(noted.as_handle());
    }
}

pub(super) fn watch_signals(signals: &[Signal]) -> io::Result<SignalSource> {
    if signals.contains(&Signal::Kill) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    NOTED
        .set(handles::event()?)
        .map_err(|_| io::ErrorKind::AlreadyExists)?;
    console::listen(note)?;
    let noted = NOTED.get().ok_or(io::ErrorKind::NotFound)?;
    Ok(noted.as_handle())
}

pub(super) fn take_signal(source: &mut SignalSource) -> io::Result<Option<Signal>> {
    handles::reset(*source)?;
    let came = CAME.load(Ordering::SeqCst);
    let (bit, signal) = match came {
        0 => return Ok(None),
        came if came & INTERRUPT != 0 => (INTERRUPT, Signal::Interrupt),
        _ => (TERMINATE, Signal::Terminate),
    };
    if CAME.fetch_and(!bit, Ordering::SeqCst) & !bit != 0 {
        handles::set(*source)?;
    }
    Ok(Some(signal))
}

pub(super) fn signal_descriptor(source: &SignalSource) -> Descriptor<'_> {
    Descriptor::Handle(*source)
}
