//! Processes: who they are, how they are started, how they are signalled, how they end.
//!
//! Three troubles are removed. A pid is reused, so a process is known by pid *and* start time and
//! signalled only through a [`ProcessHandle`] that was opened with both. A child inherits every
//! descriptor that somebody forgot, so [`Spawn`] closes all but the listed ones. And a child that
//! outlives its parent is an orphan with a disk in its hands, so a child can be bound to it.

mod conversation;
mod handle;
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
#[path = "heap_absent.rs"]
mod heap;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[path = "heap_glibc.rs"]
mod heap;
mod identity;
mod signals;
mod spawn;
#[cfg(target_os = "linux")]
#[path = "usage_linux.rs"]
mod usage;
#[cfg(not(target_os = "linux"))]
#[path = "usage_absent.rs"]
mod usage;

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod kernel;
#[cfg(target_os = "macos")]
#[path = "macos.rs"]
mod kernel;
#[cfg(unix)]
mod talk_unix;
#[cfg(windows)]
mod talk_windows;
#[cfg(unix)]
pub(crate) mod unix;
#[cfg(windows)]
pub(crate) mod windows;
pub use platform::{Descriptor, OwnedDescriptor};
#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

pub use conversation::{Conversation, ConversationError, Reply};
pub use handle::{Delivery, Found, ProcessHandle, Signal};
pub use identity::{HostBootId, InvalidIdentity, PidNamespace, ProcessIdentity, StartTime};
pub use signals::SignalWatch;
pub use spawn::{Child, Exit, ParentDeath, Session, Spawn, SpawnError, Stream};
pub use usage::usage;

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::fs;

/// What a process has used and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Processor time since its start, in user mode and in the kernel.
    pub cpu: Duration,
    /// Memory of the host that it holds.
    pub memory_bytes: u64,
}

/// The identity of this process, with the pid that the host's `/proc` knows.
pub fn current_identity() -> io::Result<ProcessIdentity> {
    platform::current_identity()
}

/// The effective user id.
pub fn effective_user() -> u32 {
    platform::effective_user()
}

/// Whether this process has the rights of the host's administrator.
pub fn is_administrator() -> io::Result<bool> {
    platform::is_administrator()
}

/// The pid namespace of this process.
pub fn pid_namespace() -> io::Result<PidNamespace> {
    platform::pid_namespace()
}

/// The id of this boot of the host. Pids and start times mean nothing across boots.
pub fn host_boot_id() -> io::Result<HostBootId> {
    platform::host_boot_id()
}

/// Has all threads of this process allocate from one heap: for one that lives long and allocates little, in
/// which a heap for each thread would be pages that hold nothing. Called before the first other thread.
pub fn share_heap() {
    heap::share();
}

/// Gives memory that holds nothing back to the system, after work that needed more than what follows.
pub fn trim_heap() {
    heap::trim();
}

/// The executable of this process, as an absolute path.
pub fn current_executable() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// Finds an executable by name in a list of folders as `PATH` has it. Relative folders in it are
/// passed over. A name with a slash is not looked for.
pub fn find_on_path(name: &str, search_path: &OsStr) -> Option<PathBuf> {
    if name.contains('/') || name.is_empty() {
        return None;
    }
    std::env::split_paths(search_path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program_file(name)))
        .find(|candidate| is_executable(candidate))
}

/// The file name of a program of this name: with `.exe` where programs have that.
pub fn program_file(name: &str) -> String {
    platform::program_file(name)
}

/// True when the path leads to a regular file that this user may execute.
pub fn is_executable(path: &Path) -> bool {
    fs::is_file(path) && platform::may_execute(path)
}

/// Makes the *next* child of this process the first process of a new pid namespace, which ends as
/// a whole when that child ends, however it ends.
///
/// Without the privilege, a user namespace that maps the caller to itself is entered as well; that
/// needs a process with one thread. From here on this process makes that one child and no thread,
/// since the kernel refuses both a second child once the first is gone, and threads.
pub fn put_next_child_into_pid_namespace() -> io::Result<()> {
    platform::put_next_child_into_pid_namespace()
}

/// Takes over a descriptor that this process was started with under a number, 3 to 63: the other
/// side of [`Spawn::descriptor`]. Call it first thing in `main`, before anything else is opened,
/// since only then the number can be nobody else's. A second time is an error of kind
/// `AlreadyExists`; a number that is not open is an error.
pub fn take_inherited(number: i32) -> io::Result<OwnedDescriptor> {
    assert!(
        (3..64).contains(&number),
        "descriptor numbers for children are 3 to 63"
    );
    platform::take_inherited(number)
}

/// Asks the kernel for a signal to this process when its parent ends. A parent that has ended
/// already is an error of kind `NotConnected`.
pub fn signal_me_when_parent_ends(signal: Signal) -> io::Result<()> {
    platform::signal_me_when_parent_ends(signal)
}

/// The standard input of this process, to wait for.
pub fn stdin_descriptor() -> Descriptor<'static> {
    platform::stdin_descriptor()
}

/// Waits until one of the descriptors has something to read or its other side is gone. Answers in
/// the order of the argument; all false means that the time ran out. `None` waits for ever.
pub fn wait_readable(
    descriptors: &[Descriptor<'_>],
    limit: Option<Duration>,
) -> io::Result<Vec<bool>> {
    platform::wait_readable(descriptors, limit)
}

#[cfg(test)]
mod tests;
