//! The guest's vsock, which is Unix sockets on the host.
//!
//! Dialling goes through one socket and a text handshake; what the guest dials arrives at a socket
//! of its own for each port. Three traps are kept away from everybody else: nothing is written
//! before the answer was read, the answer is never read ahead, and a dial that nobody waits for any
//! more is not closed before its answer, since that can end `vhost-device-vsock` and with it every
//! way into the guest.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use microagent_os::local_socket::{self, AsyncListener, SocketError};
use microagent_os::{fs, host_pace};
use microagent_supervisor::backend::{GuestListener, GuestStream, LocalFuture};
use microagent_types::VsockPort;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::device_stream::{DeviceStream, Flush};
use crate::handshake::{self, AnswerReader, HandshakeError, Progress};
use crate::vsock_gate::VsockGate;

/// The device's socket, in the run folder.
pub const DEVICE_SOCKET: &str = "vsock.sock";
/// Until the guest has answered a dial.
pub const DIAL_LIMIT: Duration = Duration::from_secs(2);
/// Dials whose answer is outstanding, those that were given up included.
pub const DIALS_OUTSTANDING_MAX: usize = 512;
/// Between two tries of a socket whose queue is full.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);
/// After a failed accept: out of descriptors is no reason to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Why a port of the guest was not reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The device is not there, or its queue stayed full.
    #[error("cannot connect to `{}`", socket.display())]
    Connect {
        /// The device's socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The device did not answer as it should.
    #[error("cannot reach vsock port `{port}` of the guest")]
    Handshake {
        /// The port.
        port: VsockPort,
        /// What it did.
        #[source]
        source: HandshakeError,
    },
    /// The connection broke during the handshake.
    #[error("the connection to vsock port `{port}` of the guest broke")]
    Broken {
        /// The port.
        port: VsockPort,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No answer came in time.
    #[error("no answer from vsock port `{port}` of the guest within {} ms", host_pace::limit(DIAL_LIMIT).as_millis())]
    Silent {
        /// The port.
        port: VsockPort,
    },
    /// Too many dials have no answer yet.
    #[error("{DIALS_OUTSTANDING_MAX} dials to the guest have no answer yet")]
    TooMany,
}

/// Dials the guest.
#[derive(Debug, Clone)]
pub struct VsockDialler {
    socket: PathBuf,
    gate: VsockGate,
    outstanding: Arc<AtomicUsize>,
}

impl VsockDialler {
    /// Dials through this socket, behind this gate.
    pub fn new(socket: PathBuf, gate: VsockGate) -> Self {
        Self {
            socket,
            gate,
            outstanding: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// Connects to a port of the guest. A caller that stops waiting leaves the connection to a task
    /// of its own, which takes the answer and closes it then.
    pub async fn dial(&self, port: VsockPort) -> Result<DeviceStream, DialError> {
        let limit = host_pace::limit(DIAL_LIMIT);
        // A dial that nobody has heard of yet is simply given up.
        let passed = tokio::time::timeout(limit, self.gate.passed()).await;
        passed.map_err(|_| DialError::Silent { port })?;
        let ticket = Ticket::take(&self.outstanding).ok_or(DialError::TooMany)?;
        let socket = self.socket.clone();
        let gate = self.gate.clone();
        let task = tokio::spawn(async move {
            let answer = connect(&socket, port, &gate).await;
            drop(ticket);
            answer
        });
        match tokio::time::timeout(limit, task).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Err(DialError::Broken {
                port,
                source: io::Error::other(error),
            }),
            Err(_) => Err(DialError::Silent { port }),
        }
    }

    /// Dials whose answer is outstanding.
    pub fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }
}

/// A place among the dials that are counted.
#[derive(Debug)]
struct Ticket(Arc<AtomicUsize>);

impl Ticket {
    fn take(counter: &Arc<AtomicUsize>) -> Option<Self> {
        counter
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                (count < DIALS_OUTSTANDING_MAX).then_some(count + 1)
            })
            .ok()
            .map(|_| Self(counter.clone()))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn connect(
    socket: &Path,
    port: VsockPort,
    gate: &VsockGate,
) -> Result<DeviceStream, DialError> {
    let stream = connect_device(socket)
        .await
        .map_err(|source| DialError::Connect {
            socket: socket.to_owned(),
            source,
        })?;
    let mut stream = DeviceStream::new(stream, gate, Flush::AtOnce);
    let broken = |source| DialError::Broken { port, source };
    stream
        .write_all(&handshake::request(port))
        .await
        .map_err(broken)?;
    let mut reader = AnswerReader::default();
    loop {
        let progress = match stream.read_u8().await {
            Ok(byte) => reader.push(byte),
            Err(error) if is_end(&error) => Err(reader.end()),
            Err(error) => return Err(broken(error)),
        };
        match progress {
            Ok(Progress::More) => {}
            Ok(Progress::Accepted) => return Ok(stream),
            Err(source) => return Err(DialError::Handshake { port, source }),
        }
    }
}

/// A device that refuses a dial may end it either way.
fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
    )
}

async fn connect_device(socket: &Path) -> io::Result<UnixStream> {
    let tries = async {
        loop {
            match UnixStream::connect(socket).await {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::sleep(QUEUE_PAUSE).await;
                }
                other => return other,
            }
        }
    };
    tokio::time::timeout(host_pace::limit(DIAL_LIMIT), tries)
        .await
        .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))
}

/// What the guest dials on one port of the host. Dropping it takes the port away.
#[derive(Debug)]
pub struct GuestSocket {
    listener: AsyncListener,
    socket: PathBuf,
    port: VsockPort,
    gate: VsockGate,
}

impl GuestSocket {
    /// Listens on `<device socket>_<port>`, where the device looks for it.
    pub fn listen(
        device_socket: &Path,
        port: VsockPort,
        gate: VsockGate,
    ) -> Result<Self, SocketError> {
        let mut name = OsString::from(device_socket);
        name.push(format!("_{port}"));
        let socket = PathBuf::from(name);
        let listener = local_socket::listen(&socket)?
            .into_async()
            .map_err(|source| SocketError::Bind {
                path: socket.clone(),
                source,
            })?;
        Ok(Self {
            listener,
            socket,
            port,
            gate,
        })
    }

    /// The next connection.
    async fn accept_stream(&self) -> io::Result<UnixStream> {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) if peer.is_own_user() => return Ok(stream),
                Ok((_, peer)) => {
                    tracing::warn!(uid = peer.uid, "a stranger at the guest's port was closed");
                }
                Err(error) => {
                    // Told to the caller once; the pause keeps its loop from spinning.
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    return Err(error);
                }
            }
        }
    }
}

impl GuestListener for GuestSocket {
    fn accept(&mut self) -> LocalFuture<'_, io::Result<GuestStream>> {
        Box::pin(async {
            let stream = self.accept_stream().await?;
            // What is said on the control connection must not wait for a guest that may have hung.
            let flush = match self.port {
                VsockPort::CONTROL => Flush::AtOnce,
                _ => Flush::Taken,
            };
            let stream = DeviceStream::new(stream, &self.gate, flush);
            Ok(Box::new(stream) as GuestStream)
        })
    }
}

impl Drop for GuestSocket {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.socket) {
            tracing::warn!(%error, "a socket stays behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_loop::in_loop;

    struct Device {
        folder: tempfile::TempDir,
        listener: AsyncListener,
    }

    impl Device {
        fn new() -> (Self, VsockDialler) {
            let folder = tempfile::tempdir().unwrap();
            let socket = folder.path().join("vsock.sock");
            let listener = local_socket::listen(&socket).unwrap().into_async().unwrap();
            (
                Self { folder, listener },
                VsockDialler::new(socket, VsockGate::default()),
            )
        }

        async fn accept(&self) -> UnixStream {
            let mut stream = self.listener.accept().await.unwrap().0;
            let mut line = [0u8; 13];
            stream.read_exact(&mut line).await.unwrap();
            assert_eq!(&line, b"CONNECT 1025\n");
            stream
        }
    }

    #[test]
    fn bytes_behind_the_answer_belong_to_the_stream() {
        in_loop(async {
            let (device, dialler) = Device::new();
            let answer = async {
                let mut stream = device.accept().await;
                stream.write_all(b"OK 1\nfirst").await.unwrap();
                stream
            };
            let (dialled, served) = tokio::join!(dialler.dial(VsockPort::SERVICE), answer);
            let mut stream = dialled.unwrap();
            drop(served);
            let mut rest = String::new();
            stream.read_to_string(&mut rest).await.unwrap();
            assert_eq!(rest, "first");
            assert_eq!(dialler.outstanding(), 0);
            drop(device.folder);
        });
    }

    #[test]
    fn a_port_without_a_listener_is_told_apart() {
        in_loop(async {
            let (device, dialler) = Device::new();
            let refuse = async { drop(device.accept().await) };
            let (dialled, ()) = tokio::join!(dialler.dial(VsockPort::SERVICE), refuse);
            assert!(matches!(
                dialled.unwrap_err(),
                DialError::Handshake {
                    source: HandshakeError::Refused,
                    ..
                }
            ));
        });
    }

    #[test]
    fn a_dial_that_was_given_up_stays_open_until_its_answer() {
        in_loop(async {
            let (device, dialler) = Device::new();
            let mut stream = {
                let dial = dialler.dial(VsockPort::SERVICE);
                tokio::select! {
                    stream = device.accept() => stream,
                    _ = dial => unreachable!("nothing was answered"),
                }
            };
            // The caller is gone; the connection must not be.
            let silence = stream.try_read(&mut [0u8; 1]);
            assert_eq!(
                silence.unwrap_err().kind(),
                io::ErrorKind::WouldBlock,
                "it was closed before its answer"
            );
            assert_eq!(dialler.outstanding(), 1);
            stream.write_all(b"OK 1\n").await.unwrap();
            assert_eq!(stream.read(&mut [0u8; 1]).await.unwrap(), 0);
            assert_eq!(dialler.outstanding(), 0);
        });
    }

    #[test]
    fn a_dial_at_a_shut_gate_is_made_when_it_opens_or_never() {
        in_loop(async {
            let (device, dialler) = Device::new();
            dialler.gate.shut();
            let given_up = dialler.dial(VsockPort::SERVICE);
            let silence = Duration::from_millis(50);
            assert!(tokio::time::timeout(silence, given_up).await.is_err());
            let open = async {
                tokio::time::sleep(silence).await;
                dialler.gate.open();
                let mut stream = device.accept().await;
                stream.write_all(b"OK 1\n").await.unwrap();
                let another = tokio::time::timeout(silence, device.listener.accept()).await;
                assert!(another.is_err(), "the one that was given up was not made");
            };
            let (dialled, ()) = tokio::join!(dialler.dial(VsockPort::SERVICE), open);
            dialled.unwrap();
        });
    }

    #[test]
    fn a_device_that_is_gone_is_an_error_at_once() {
        in_loop(async {
            let (device, dialler) = Device::new();
            drop(device);
            assert!(matches!(
                dialler.dial(VsockPort::SERVICE).await.unwrap_err(),
                DialError::Connect { .. }
            ));
        });
    }

    #[test]
    fn the_guests_port_is_a_socket_that_goes_with_its_listener() {
        in_loop(async {
            let folder = tempfile::tempdir().unwrap();
            let device_socket = folder.path().join("vsock.sock");
            let listener =
                GuestSocket::listen(&device_socket, VsockPort::CONTROL, VsockGate::default())
                    .unwrap();
            let expected = folder.path().join("vsock.sock_1024");
            let (dialled, accepted) =
                tokio::join!(UnixStream::connect(&expected), listener.accept_stream());
            dialled.unwrap().write_all(b"x").await.unwrap();
            assert_eq!(accepted.unwrap().read_u8().await.unwrap(), b'x');
            drop(listener);
            assert!(!fs::is_present(&expected));
        });
    }
}
