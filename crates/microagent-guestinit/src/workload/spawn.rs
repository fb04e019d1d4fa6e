//! Fork and exec.
//!
//! ```text
//! parent: prepare everything -> fork -> read the report pipe: end of file means that exec went well
//! child:  session -> stdio -> terminal -> who, where -> signals -> exec, or report step and errno
//! ```
//!
//! The standard library's own way cannot say which step failed (a missing program and a missing
//! folder are the same error there), and the C library's `execvp` runs a shell on files that are no
//! programs. Between fork and exec only calls are made that are safe when another thread held a lock
//! at the fork: no allocation, no formatting, no panic.
#![expect(unsafe_code, reason = "fork, exec and what stands between them")]

use super::command::{Command, Credentials, Stdio};
use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;
use std::ffi::{CString, c_char, c_uint};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What was being done when a process could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartStep {
    /// Making the process.
    Fork,
    /// Its session, its descriptors or its terminal.
    Setup,
    /// Becoming the user.
    Credentials,
    /// Entering the folder.
    Directory,
    /// Becoming the program.
    Exec,
}

/// Why a process never ran its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartError {
    /// Where it failed.
    pub step: StartStep,
    /// What the kernel said.
    pub errno: i32,
}

impl StartError {
    pub(crate) fn at(step: StartStep, error: &io::Error) -> Self {
        Self {
            step,
            errno: error.raw_os_error().unwrap_or(libc::EIO),
        }
    }
}

/// A process whose exec is not yet known to have succeeded.
pub(crate) struct Begun {
    pub(crate) pid: Pid,
    report: OwnedFd,
}

/// What the child needs, as pointers: made before the fork.
struct Image<'a> {
    candidates: Vec<*const c_char>,
    argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    groups: Vec<rustix::thread::Gid>,
    empty_mask: libc::sigset_t,
    command: &'a Command,
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    let ends = std::iter::once(std::ptr::null());
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain(ends)
        .collect()
}

/// Forks. The caller must make the new process known before a reaper can look for it.
pub(crate) fn start(command: &Command) -> io::Result<Begun> {
    let (report, report_write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let groups = command
        .credentials
        .iter()
        .flat_map(|credentials| &credentials.groups);
    let image = Image {
        candidates: pointers(&command.candidates),
        argv: pointers(&command.argv),
        env: pointers(&command.env),
        groups: groups
            .map(|gid| rustix::thread::Gid::from_raw(*gid))
            .collect(),
        empty_mask: empty_mask(),
        command,
    };
    // SAFETY: the child calls only `become_program`, which keeps to async-signal-safe calls on memory
    // prepared above and never returns.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        become_program(&image, report_write.as_fd());
    }
    let pid = Pid::from_raw(pid)
        .filter(|pid| pid.as_raw_nonzero().get() > 0)
        .ok_or_else(io::Error::last_os_error)?;
    Ok(Begun { pid, report })
}

impl Begun {
    /// Waits until the program runs or is known not to: the pipe closes with exec.
    pub(crate) fn outcome(self) -> Result<(), StartError> {
        let mut bytes = [0_u8; 2];
        loop {
            match rustix::io::read(&self.report, &mut bytes) {
                Ok(2) => break,
                Err(rustix::io::Errno::INTR) => {}
                Ok(_) | Err(_) => return Ok(()),
            }
        }
        let step = match bytes[0] {
            1 => StartStep::Setup,
            2 => StartStep::Credentials,
            3 => StartStep::Directory,
            _ => StartStep::Exec,
        };
        Err(StartError {
            step,
            errno: i32::from(bytes[1]),
        })
    }
}

fn empty_mask() -> libc::sigset_t {
    let mut mask = MaybeUninit::uninit();
    // SAFETY: the pointer is to memory of the right type, which the call initialises.
    unsafe { libc::sigemptyset(mask.as_mut_ptr()) };
    // SAFETY: `sigemptyset` has initialised it.
    unsafe { mask.assume_init() }
}

fn become_program(image: &Image<'_>, report: BorrowedFd<'_>) -> ! {
    let (step, errno) = match set_up(image) {
        Ok(()) => (4, exec(image)),
        Err((step, errno)) => (step, errno.raw_os_error()),
    };
    // Every errno of Linux is below 256.
    let errno = u8::try_from(errno).unwrap_or(u8::MAX);
    let _ = rustix::io::write(report, &[step, errno]);
    // SAFETY: ends this process without running anything of the parent's.
    unsafe { libc::_exit(127) }
}

fn set_up(image: &Image<'_>) -> Result<(), (u8, rustix::io::Errno)> {
    let command = image.command;
    session_and_stdio(&command.stdio).map_err(|errno| (1, errno))?;
    be_killable();
    // As guest init, so that a folder that the user may not enter through its parents still works.
    rustix::process::chdir(command.cwd.as_c_str()).map_err(|errno| (3, errno))?;
    if let Some(credentials) = &command.credentials {
        become_user(credentials, &image.groups).map_err(|errno| (2, errno))?;
    }
    default_signals(&image.empty_mask);
    close_on_exec_all();
    Ok(())
}

fn session_and_stdio(stdio: &Stdio) -> rustix::io::Result<()> {
    rustix::process::setsid()?;
    let (stdin, stdout, stderr) = match stdio {
        Stdio::Pipes {
            stdin,
            stdout,
            stderr,
        } => (stdin, stdout, stderr),
        Stdio::Terminal(terminal) => (terminal, terminal, terminal),
    };
    rustix::stdio::dup2_stdin(stdin)?;
    rustix::stdio::dup2_stdout(stdout)?;
    rustix::stdio::dup2_stderr(stderr)?;
    if let Stdio::Terminal(terminal) = stdio {
        rustix::process::ioctl_tiocsctty(terminal)?;
    }
    Ok(())
}

/// Guest init is the last process that the kernel may kill for memory; what it starts is ordinary.
fn be_killable() {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    if let Ok(file) = rustix::fs::open(c"/proc/self/oom_score_adj", flags, Mode::empty()) {
        let _ = rustix::io::write(file, b"0");
    }
}

fn become_user(
    credentials: &Credentials,
    groups: &[rustix::thread::Gid],
) -> rustix::io::Result<()> {
    let uid = rustix::thread::Uid::from_raw(credentials.uid);
    let gid = rustix::thread::Gid::from_raw(credentials.gid);
    // The calls of one thread are those of the process: a forked child has one.
    rustix::thread::set_thread_groups(groups)?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

fn default_signals(empty_mask: &libc::sigset_t) {
    // SAFETY: setting a disposition to the default runs no code of ours.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    // SAFETY: the mask is initialised and outlives the call; the old one is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, empty_mask, std::ptr::null_mut()) };
}

/// Whatever another part of guest init forgot to mark stays behind all the same.
fn close_on_exec_all() {
    const CLOSE_RANGE_CLOEXEC: c_uint = 1 << 2;
    // SAFETY: the call changes flags of descriptors and touches no memory.
    unsafe { libc::syscall(libc::SYS_close_range, 3, c_uint::MAX, CLOSE_RANGE_CLOEXEC) };
}

/// Tries each candidate, as a shell does; gives the errno that says most.
fn exec(image: &Image<'_>) -> i32 {
    let mut answer = libc::ENOENT;
    for candidate in &image.candidates {
        if candidate.is_null() {
            break;
        }
        // SAFETY: path, argument and environment arrays are zero-terminated and live in `image`.
        unsafe { libc::execve(*candidate, image.argv.as_ptr(), image.env.as_ptr()) };
        match last_errno() {
            libc::ENOENT | libc::ENOTDIR => {}
            libc::EACCES => answer = libc::EACCES,
            errno => return errno,
        }
    }
    answer
}

fn last_errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}
