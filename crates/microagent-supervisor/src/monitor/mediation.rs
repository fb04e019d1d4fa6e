//! The mediation channel's host side: whether its target accepts, and how that is said.

use microagent_machine::spec::Mediation;
use microagent_types::MediationTarget;
use microagent_wire::fault::{Fault, FaultKind, OsError};
use std::io;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::backend::ByteStream;

/// Until a target must have accepted.
const DIAL_LIMIT: Duration = Duration::from_secs(2);

/// Connects a target.
pub(crate) async fn dial(target: &MediationTarget) -> io::Result<Box<dyn ByteStream>> {
    let connect = async {
        match target {
            MediationTarget::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                Ok(Box::new(stream) as Box<dyn ByteStream>)
            }
            MediationTarget::Unix { path } => {
                let stream = UnixStream::connect(path).await?;
                Ok(Box::new(stream) as Box<dyn ByteStream>)
            }
        }
    };
    timeout(DIAL_LIMIT, connect)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Connects a target and closes.
pub(crate) async fn probe(target: &MediationTarget) -> io::Result<()> {
    dial(target).await.map(drop)
}

/// The fault of a required target that does not accept.
pub(crate) fn unavailable(channel: &Mediation, error: &io::Error) -> Fault {
    let message = format!(
        "mediation channel `{}` is required and `{}` does not accept connections",
        channel.port, channel.target
    );
    Fault::new(FaultKind::Unavailable, message)
        .with_hint("start the service behind it first")
        .with_cause(format!("connect: {error}"))
        .with_details(|details| {
            details.port = Some(channel.port.get());
            details.os_error = error.raw_os_error().map(|code| OsError {
                code,
                name: format!("{:?}", error.kind()),
            });
        })
}
