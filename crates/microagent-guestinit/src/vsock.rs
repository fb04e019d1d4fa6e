//! The only file that knows the socket family between guest and host.

use crate::clock::Moment;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;
use vsock::{VMADDR_CID_ANY, VMADDR_CID_HOST, VsockListener, VsockStream};

/// Between two tries of a dial.
const DIAL_PAUSE: Duration = Duration::from_millis(10);

/// Connects a port of the host, trying again until the time is up: the monitor may not listen yet.
///
/// # Errors
/// The last one, when the time is up.
pub(crate) fn dial(port: u32, limit: Duration) -> io::Result<OwnedFd> {
    let deadline = Moment::now().after(limit);
    loop {
        match dial_once(port) {
            Ok(socket) => return Ok(socket),
            Err(error) if deadline.has_passed() => return Err(error),
            Err(_) => pause(DIAL_PAUSE),
        }
    }
}

/// Connects a port of the host, once.
///
/// # Errors
/// When nobody accepts there.
pub(crate) fn dial_once(port: u32) -> io::Result<OwnedFd> {
    VsockStream::connect_with_cid_port(VMADDR_CID_HOST, port).map(OwnedFd::from)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a dial has no other end to be told by: the pause is a named constant"
)]
pub(crate) fn pause(span: Duration) {
    std::thread::sleep(span);
}

/// The port that the host dials.
#[derive(Debug)]
pub(crate) struct Listener(VsockListener);

impl Listener {
    /// Opens the port.
    ///
    /// # Errors
    /// When the guest has no vsock device or the port is taken.
    pub(crate) fn open(port: u32) -> io::Result<Self> {
        VsockListener::bind_with_cid_port(VMADDR_CID_ANY, port).map(Self)
    }

    /// The next connection and the port that the host's end has; `None` for one that did not come from the
    /// host, which is closed.
    ///
    /// # Errors
    /// When the kernel gives none.
    pub(crate) fn accept(&self) -> io::Result<Option<(OwnedFd, u32)>> {
        let (stream, peer) = self.0.accept()?;
        Ok((peer.cid() == VMADDR_CID_HOST).then(|| (stream.into(), peer.port())))
    }
}
