//! The host's end of the mediation channel: the one declared target, dialled anew for every connection
//! and for every look at whether it is there.
//!
//! A name may stand for many addresses, of which the first may swallow packets; each gets a share of
//! the time, so that the last is tried too.

use microagent_machine::spec::Mediation;
use microagent_os::clock::Deadline;
use microagent_os::local_socket::{AsyncStream, connect_async};
use microagent_types::MediationTarget;
use microagent_wire::fault::{Fault, FaultKind, OsError};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// Until a target must have accepted.
pub(super) const DIAL_LIMIT: Duration = Duration::from_secs(2);

/// A connection to a target.
#[derive(Debug)]
pub(super) enum TargetStream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(AsyncStream),
}

impl TargetStream {
    /// Closes so that the target sees an error and not an end, where its kind of socket knows the
    /// difference.
    pub(super) fn reset(self) {
        if let Self::Tcp(stream) = self {
            // A socket that refuses the option is closed in order, which is the worst that comes of it.
            let _ = stream.set_zero_linger();
        }
    }
}

/// Connects a target.
pub(super) async fn dial(target: &MediationTarget) -> io::Result<TargetStream> {
    let deadline = Deadline::after(DIAL_LIMIT);
    let connect = async {
        match target {
            MediationTarget::Tcp { host, port } => {
                let addresses: Vec<_> = lookup_host((host.as_str(), *port)).await?.collect();
                let mut failure =
                    io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                for (index, address) in addresses.iter().enumerate() {
                    let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
                    let share = deadline.remaining() / left;
                    match timeout(share, TcpStream::connect(address)).await {
                        Ok(Ok(stream)) => {
                            // Small messages both ways are what it carries; a socket that refuses is slower.
                            let _ = stream.set_nodelay(true);
                            return Ok(TargetStream::Tcp(stream));
                        }
                        Ok(Err(error)) => failure = error,
                        Err(_) => failure = io::ErrorKind::TimedOut.into(),
                    }
                }
                Err(failure)
            }
            MediationTarget::Unix { path } => connect_async(path).await.map(TargetStream::Unix),
        }
    };
    timeout(DIAL_LIMIT, connect)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Connects a target and closes.
pub(super) async fn probe(target: &MediationTarget) -> io::Result<()> {
    dial(target).await.map(drop)
}

/// The fault of a required target that does not accept.
pub(super) fn unavailable(channel: &Mediation, error: &io::Error) -> Fault {
    let message = format!(
        "mediation channel `{}` is required and `{}` does not accept connections",
        channel.port, channel.target
    );
    Fault::new(FaultKind::Unavailable, message)
        .with_hint(
            "start the service behind it first; or create the workspace with --mediation-optional",
        )
        .with_cause(format!("connect: {error}"))
        .with_details(|details| {
            details.port = Some(channel.port.get());
            details.os_error = error.raw_os_error().map(|code| OsError {
                code,
                name: format!("{:?}", error.kind()),
            });
        })
}

impl AsyncRead for TargetStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for TargetStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{dial, probe};
    use microagent_types::MediationTarget;
    use std::io;

    fn target(text: &str) -> MediationTarget {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn every_address_of_a_name_is_tried() {
        // `localhost` is ::1 and 127.0.0.1 on most hosts; only one of them listens.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        dial(&target(&format!("localhost:{port}"))).await.unwrap();
        drop(listener);
        let error = probe(&target(&format!("localhost:{port}"))).await;
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn what_is_no_socket_is_refused_and_a_replaced_one_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let text = format!("unix:{}", path.display());
        let missing = probe(&target(&text)).await.unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        let first = std::os::unix::net::UnixListener::bind(&path).unwrap();
        probe(&target(&text)).await.unwrap();
        drop(first);
        let dead = probe(&target(&text)).await.unwrap_err();
        assert_eq!(dead.kind(), io::ErrorKind::ConnectionRefused);
        microagent_os::fs::remove_file(&path).unwrap();
        let _second = std::os::unix::net::UnixListener::bind(&path).unwrap();
        probe(&target(&text)).await.unwrap();
    }
}
