//! Entering namespaces, and giving up what is not needed. Calls only, in a process with one thread.
#![expect(unsafe_code, reason = "unshare, which rustix leaves to the caller")]

use std::io::{self, Write};
use std::path::Path;

use microagent_os::fs;
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};

/// Files and sockets that a VMM may have open.
const OPEN_FILES_MAX: u64 = 1024;
/// The highest capability that a kernel may know; asking beyond the last is an error.
const CAPABILITY_MAX: u32 = 63;

/// Which way the namespaces were had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entered {
    /// With a user namespace, which gives up the rights over the host.
    WithUser,
    /// Without one, by the rights of root.
    WithoutUser,
}

/// Why there are no namespaces.
#[derive(Debug, thiserror::Error)]
pub(super) enum EnterError {
    /// The host refuses, and nothing has changed.
    #[error("the host refuses namespaces: {0}")]
    Refused(io::Error),
    /// A user namespace without a map: this process can't go on.
    #[error("the host allows a user namespace and refuses its map: {0}")]
    Spoiled(io::Error),
}

const OTHERS: UnshareFlags = UnshareFlags::NEWNS
    .union(UnshareFlags::NEWIPC)
    .union(UnshareFlags::NEWNET)
    .union(UnshareFlags::NEWUTS);

/// Enters a user namespace that maps the caller to itself, and mount, IPC, network and UTS ones.
/// Root gets the others also where there is no user namespace.
pub(super) fn enter() -> Result<Entered, EnterError> {
    let user = rustix::process::geteuid().as_raw();
    let group = rustix::process::getegid().as_raw();
    match unshare(UnshareFlags::NEWUSER | OTHERS) {
        Ok(()) => {
            map(user, group).map_err(EnterError::Spoiled)?;
            Ok(Entered::WithUser)
        }
        Err(error) => match unshare(OTHERS) {
            Ok(()) => Ok(Entered::WithoutUser),
            Err(_) => Err(EnterError::Refused(error)),
        },
    }
}

fn map(user: u32, group: u32) -> io::Result<()> {
    // Without this a process could leave groups that deny it something.
    write_proc("/proc/self/setgroups", "deny")?;
    write_proc("/proc/self/uid_map", &format!("{user} {user} 1"))?;
    write_proc("/proc/self/gid_map", &format!("{group} {group} 1"))
}

fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: the descriptor table, which other threads could rely on, is not unshared.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(io::Error::from)
}

fn write_proc(path: &str, text: &str) -> io::Result<()> {
    fs::open_read_write(Path::new(path))?.write_all(text.as_bytes())
}

/// Bounds what the program may use: no core files, and descriptors.
pub(super) fn limit_resources() -> io::Result<()> {
    let limit = |value| Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    rustix::process::setrlimit(Resource::Core, limit(0))?;
    rustix::process::setrlimit(Resource::Nofile, limit(OPEN_FILES_MAX))?;
    Ok(())
}

/// Drops every capability for good: also a program that runs as root gets none back.
pub(super) fn drop_capabilities() -> io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    for number in 0..=CAPABILITY_MAX {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Beyond the last that this kernel knows.
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none)?;
    Ok(())
}
