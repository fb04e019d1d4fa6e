//! Asking this host's `passt` and routes, and the socket pair. Calls only.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use microagent_os::FsError;
use microagent_os::local_socket;
use microagent_os::process::{Conversation, ConversationError, Spawn};
use microagent_os::{fs, host_pace};
use microagent_supervisor::backend::GuestNic;
use tokio::time::{MissedTickBehavior, interval};

use super::locality::{Locality, Tables};
use super::reach::Reach;
use super::{PasstFeatures, default_route_in, features_in, features_in_program};

const FIB_TRIE: &str = "/proc/net/fib_trie";
const ROUTE: &str = "/proc/net/route";
const IF_INET6: &str = "/proc/net/if_inet6";
const IPV6_ROUTE: &str = "/proc/net/ipv6_route";
/// A table that is longer is not read: a host with that many routes is a router of the internet.
const TABLE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How old the knowledge of the host's own networks gets while a VM runs.
const LOCALITY_INTERVAL: Duration = Duration::from_secs(10);
/// A larger program is asked.
const PROGRAM_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How a program for the processor begins.
const EXECUTABLE: &[u8] = b"\x7fELF";
const HELP: Conversation = Conversation {
    limit: Duration::from_secs(2),
    stdout_bytes_max: 64 * 1024,
    stderr_bytes_max: 64 * 1024,
};

/// What this `passt` knows: from the names of options in its file, where it is a program for the
/// processor and no script around one; else from its help text, which blocks for tens of milliseconds.
pub fn observe(passt: &Path) -> Result<PasstFeatures, ConversationError> {
    if let Ok(file) = fs::read_bounded(passt, PROGRAM_BYTES_MAX)
        && file.starts_with(EXECUTABLE)
    {
        return Ok(features_in_program(&file));
    }
    // Older ones print it to stderr, newer ones to stdout; some end with a status of 1.
    let conversation = Conversation {
        limit: host_pace::limit(HELP.limit),
        ..HELP
    };
    let reply = conversation.hold(Spawn::new(passt).argument("--help"), Vec::new())?;
    let help = [reply.stdout, reply.stderr].concat();
    Ok(features_in(&String::from_utf8_lossy(&help)))
}

/// Whether this host has a default route for IPv6.
pub fn host_has_ipv6_route() -> bool {
    fs::read_text_bounded(Path::new(IPV6_ROUTE), TABLE_BYTES_MAX)
        .is_ok_and(|table| default_route_in(&table))
}

/// What is this host's own and near it, now. Blocks for as long as the kernel prints its tables.
fn locality() -> Result<Locality, FsError> {
    let [fib_trie, route, if_inet6, ipv6_route] =
        [FIB_TRIE, ROUTE, IF_INET6, IPV6_ROUTE].map(table);
    Ok(Locality::read(Tables {
        fib_trie: &fib_trie?,
        route: &route?,
        if_inet6: &if_inet6?,
        ipv6_route: &ipv6_route?,
    }))
}

/// What the guest behind this NIC may reach, as things are now.
pub fn reach(nic: &GuestNic, features: PasstFeatures) -> Result<Reach, FsError> {
    Ok(Reach {
        locality: locality()?,
        openings: nic.openings.clone(),
        name_servers: nic.name_servers.clone(),
        dns_over_tcp: features.map_host_loopback,
    })
}

/// Looks again and again, without end: a host that moves to another network takes what is local
/// with it.
pub(super) async fn keep_locality(reach: &RefCell<Reach>) {
    let mut interval = interval(LOCALITY_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is now, and what is known is new.
    interval.tick().await;
    loop {
        interval.tick().await;
        match tokio::task::spawn_blocking(locality).await {
            Ok(Ok(locality)) => reach.borrow_mut().locality = locality,
            Ok(Err(error)) => tracing::warn!(%error, "the host's networks can't be told"),
            Err(error) => tracing::warn!(%error, "the host's networks are not looked at"),
        }
    }
}

/// A kernel without IPv6 has no table of it.
fn table(path: &str) -> Result<String, FsError> {
    match fs::read_text_bounded(Path::new(path), TABLE_BYTES_MAX) {
        Err(error) if error.is_not_found() => Ok(String::new()),
        read => read,
    }
}

/// The two ends of the guest's wire: one for the VMM or the relay, one for `passt`.
pub fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (vmm, passt) = local_socket::pair()?;
    Ok((vmm.into_descriptor(), passt.into_descriptor()))
}
