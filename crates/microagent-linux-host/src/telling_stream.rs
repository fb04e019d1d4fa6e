//! A stream to the guest's device whose flush waits until the device has taken what was written.
//!
//! A Unix socket hides what its other end has not read yet, so a writer can't tell a guest that reads from
//! one that does not. Whoever has to know flushes; all others never do, or use the bare stream.
#![expect(unsafe_code, reason = "one ioctl that rustix has no name for")]

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;

/// The stream. Reading, writing and shutting down are those of the socket.
#[derive(Debug)]
pub(crate) struct TellingStream(pub(crate) UnixStream);

/// Less memory than the smallest piece takes. The kernel counts a piece down in two steps and wakes whoever
/// waits between them, so that the last few bytes of it may still be there.
const NOTHING_BYTES: i32 = 64;

/// `SIOCOUTQ`, the same number on every architecture that we run on.
const UNREAD: rustix::ioctl::Opcode = 0x5411;

/// Bytes of memory that hold what was written and not read at the other end.
fn unread_bytes(socket: BorrowedFd<'_>) -> io::Result<i32> {
    // SAFETY: the kernel writes one `int` for this request, which the type has room for.
    let getter = unsafe { rustix::ioctl::Getter::<UNREAD, i32>::new() };
    // SAFETY: as above, and the descriptor is open for as long as it is borrowed.
    Ok(unsafe { rustix::ioctl::ioctl(socket, getter) }?)
}

impl AsyncRead for TellingStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for TellingStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_write_ready(context))?;
            // The kernel says so each time that the other end has read a piece; what it reads between the
            // look and the wait is not lost, since readiness is numbered.
            let look = self.0.try_io(Interest::WRITABLE, || {
                if unread_bytes(self.0.as_fd())? < NOTHING_BYTES {
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

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::TellingStream;
    use crate::test_loop::in_loop;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;
    use tokio::time::timeout;

    /// The silence of a flush that waits is all there is to see.
    const SILENCE: Duration = Duration::from_millis(50);
    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn a_flush_lasts_until_the_other_end_has_read() {
        in_loop(async {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let mut stream = TellingStream(ours);
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
            let (ours, theirs) = UnixStream::pair().unwrap();
            let mut stream = TellingStream(ours);
            stream.write_all(b"x").await.unwrap();
            let go = async {
                tokio::time::sleep(SILENCE).await;
                drop(theirs);
            };
            let (flushed, ()) = tokio::join!(timeout(PATIENCE, stream.flush()), go);
            flushed.unwrap().unwrap();
        });
    }
}
