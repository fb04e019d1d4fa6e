//! A stream to the guest's device: behind the gate, and able to say when the device has taken what was written.
//!
//! A Unix socket hides what its other end has not read yet, so a writer can't tell a guest that reads from
//! one that does not. Whoever has to know flushes a stream that waits for it; all others don't.
#![expect(unsafe_code, reason = "one ioctl that rustix has no name for")]

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;

use crate::vsock_gate::{Direction, VsockGate};

/// What a flush waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flush {
    /// Nothing.
    AtOnce,
    /// The device has taken what was written.
    Taken,
}

/// The stream. Reading, writing and shutting down are those of the socket while the gate is open.
#[derive(Debug)]
pub struct DeviceStream {
    socket: Arc<UnixStream>,
    gate: VsockGate,
    number: u64,
    flush: Flush,
}

impl DeviceStream {
    pub(crate) fn new(socket: UnixStream, gate: &VsockGate, flush: Flush) -> Self {
        let socket = Arc::new(socket);
        Self {
            number: gate.enter(&socket),
            socket,
            gate: gate.clone(),
            flush,
        }
    }
}

impl Drop for DeviceStream {
    fn drop(&mut self) {
        self.gate.leave(self.number, &self.socket);
    }
}

/// Less memory than the smallest piece takes. The kernel counts a piece down in two steps and wakes whoever
/// waits between them, so that the last few bytes of it may still be there.
const NOTHING_BYTES: i32 = 64;

/// `SIOCOUTQ`, the same number on every architecture that we run on.
const UNREAD: rustix::ioctl::Opcode = 0x5411;

/// Bytes of memory that hold what was written and not read at the other end.
pub(crate) fn unread_bytes(socket: BorrowedFd<'_>) -> io::Result<i32> {
    // SAFETY: the kernel writes one `int` for this request, which the type has room for.
    let getter = unsafe { rustix::ioctl::Getter::<UNREAD, i32>::new() };
    // SAFETY: as above, and the descriptor is open for as long as it is borrowed.
    Ok(unsafe { rustix::ioctl::ioctl(socket, getter) }?)
}

impl AsyncRead for DeviceStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.gate.poll_pass(self.number, Direction::Read, context));
        loop {
            ready!(self.socket.poll_read_ready(context))?;
            match self.socket.try_read(buffer.initialize_unfilled()) {
                Ok(read) => {
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for DeviceStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.gate.poll_pass(self.number, Direction::Write, context));
        loop {
            ready!(self.socket.poll_write_ready(context))?;
            match self.socket.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.flush == Flush::AtOnce {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.socket.poll_write_ready(context))?;
            // The kernel says so each time that the other end has read a piece; what it reads between the
            // look and the wait is not lost, since readiness is numbered.
            let look = self.socket.try_io(Interest::WRITABLE, || {
                if unread_bytes(self.socket.as_fd())? < NOTHING_BYTES {
                    Ok(())
                } else {
                    Err(io::ErrorKind::WouldBlock.into())
                }
            });
            match look {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.gate.end_writing(&self.socket);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::{DeviceStream, Flush};
    use crate::test_loop::in_loop;
    use crate::vsock_gate::VsockGate;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;
    use tokio::time::timeout;

    /// The silence of something that waits is all there is to see.
    const SILENCE: Duration = Duration::from_millis(50);
    const PATIENCE: Duration = Duration::from_secs(20);

    fn pair(gate: &VsockGate) -> (DeviceStream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (DeviceStream::new(ours, gate, Flush::Taken), theirs)
    }

    #[test]
    fn a_flush_lasts_until_the_other_end_has_read() {
        in_loop(async {
            let (mut stream, mut theirs) = pair(&VsockGate::default());
            timeout(PATIENCE, stream.flush()).await.unwrap().unwrap();
            for size in [1, 4096, 32 << 10] {
                stream.write_all(&vec![1; size]).await.unwrap();
                assert!(timeout(SILENCE, stream.flush()).await.is_err(), "{size}");
                let mut read = vec![0; size];
                let take = async {
                    tokio::time::sleep(SILENCE).await;
                    theirs.read_exact(&mut read).await.unwrap();
                };
                let (flushed, ()) = tokio::join!(timeout(PATIENCE, stream.flush()), take);
                flushed.unwrap().unwrap();
            }
        });
    }

    #[test]
    fn an_end_that_is_gone_keeps_no_flush_waiting() {
        in_loop(async {
            let (mut stream, theirs) = pair(&VsockGate::default());
            stream.write_all(b"x").await.unwrap();
            let go = async {
                tokio::time::sleep(SILENCE).await;
                drop(theirs);
            };
            let (flushed, ()) = tokio::join!(timeout(PATIENCE, stream.flush()), go);
            flushed.unwrap().unwrap();
        });
    }

    #[test]
    fn nothing_happens_behind_a_shut_gate_and_all_of_it_when_it_opens() {
        in_loop(async {
            let gate = VsockGate::default();
            let (stream, mut theirs) = pair(&gate);
            let (mut reader, mut writer) = tokio::io::split(stream);
            theirs.write_all(b"waiting").await.unwrap();
            gate.shut();
            let mut heard = [0; 7];
            let open = async {
                tokio::time::sleep(SILENCE).await;
                let quiet = theirs.try_read(&mut [0; 1]).unwrap_err();
                assert_eq!(quiet.kind(), std::io::ErrorKind::WouldBlock);
                gate.open();
                let mut said = [0; 4];
                theirs.read_exact(&mut said).await.unwrap();
                assert_eq!(&said, b"said");
            };
            let (read, wrote, ()) = tokio::join!(
                reader.read_exact(&mut heard),
                writer.write_all(b"said"),
                open
            );
            read.unwrap();
            wrote.unwrap();
            assert_eq!(&heard, b"waiting");
        });
    }

    #[test]
    fn what_is_closed_behind_a_shut_gate_is_closed_when_it_opens_and_not_broken() {
        in_loop(async {
            let gate = VsockGate::default();
            let (dropped, mut of_dropped) = pair(&gate);
            let (mut ended, mut of_ended) = pair(&gate);
            of_dropped.write_all(b"unread").await.unwrap();
            gate.shut();
            drop(dropped);
            ended.shutdown().await.unwrap();
            for theirs in [&mut of_dropped, &mut of_ended] {
                let read = timeout(SILENCE, theirs.read(&mut [0; 1])).await;
                assert!(read.is_err(), "it is open for the device: {read:?}");
            }
            gate.open();
            for theirs in [&mut of_dropped, &mut of_ended] {
                let read = timeout(PATIENCE, theirs.read(&mut [0; 1])).await.unwrap();
                assert_eq!(read.unwrap(), 0, "an end, and no broken connection");
            }
        });
    }

    #[test]
    fn it_settles_when_the_device_has_taken_what_it_was_given_and_waits_for_no_other() {
        in_loop(async {
            let gate = VsockGate::default();
            let (mut stream, mut theirs) = pair(&gate);
            stream.write_all(b"x").await.unwrap();
            gate.shut();
            let take = async {
                tokio::time::sleep(SILENCE).await;
                theirs.read_exact(&mut [0; 1]).await.unwrap();
            };
            let (settled, ()) = tokio::join!(timeout(PATIENCE, gate.settled(PATIENCE)), take);
            settled.unwrap();
            gate.open();
            stream.write_all(b"y").await.unwrap();
            timeout(PATIENCE, gate.settled(SILENCE)).await.unwrap();
        });
    }
}
