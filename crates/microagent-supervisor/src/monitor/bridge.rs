//! Two byte streams joined: what comes out of one goes into the other, counted, with one fixed buffer
//! a direction.
//!
//! A side is read only when what was read before has been written, so a slow reader slows its writer
//! and nothing else. Neither side knows half-close (vsock devices turn it into a close): the end of
//! one side ends both, after what it sent was delivered. When one side stops *taking*, what it still
//! has to say is carried on for a while: a guest that has ended a session closes it while bytes for
//! it are on the way, and its last frame must arrive all the same.

use std::cell::Cell;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// Bytes held of one direction.
pub(crate) const BUFFER_BYTES: usize = 64 * 1024;
/// How long the last bytes of a side may take once the other has stopped taking.
pub(super) const LAST_BYTES_LIMIT: Duration = Duration::from_secs(5);

/// Which side ended a joint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The first argument.
    First,
    /// The second one.
    Second,
}

/// What becomes of what the second side has said and the first has not read, once the first has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is read to its end, within a limit, so that the second side hears of an end and of no break.
    ReadOut,
    /// It is left: the second side goes as well.
    Left,
}

/// What has been carried so far; whoever holds it sees it grow.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Bytes that came out of the first stream.
    pub(crate) from_first: Cell<u64>,
    /// Bytes that came out of the second stream.
    pub(crate) from_second: Cell<u64>,
}

enum Stopped {
    /// The source has no more.
    Source,
    /// The destination takes no more.
    Destination,
}

/// Joins two streams until one ends, and says which. Cancel by dropping: both are closed then, when
/// they were given and not lent.
pub(crate) async fn bridge<A, B>(first: A, second: B, unread: Unread, tally: &Tally) -> Side
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut first_out, mut first_in) = tokio::io::split(first);
    let (mut second_out, mut second_in) = tokio::io::split(second);
    let closed_by = {
        let forth = carry(&mut first_out, &mut second_in, &tally.from_first);
        let back = carry(&mut second_out, &mut first_in, &tally.from_second);
        tokio::pin!(forth, back);
        // The order matters to nobody; a fixed one makes tests repeatable.
        tokio::select! {
            biased;
            stopped = &mut back => match stopped {
                Stopped::Source => Side::Second,
                Stopped::Destination => {
                    // What comes within the limit is counted; what is cut short has no reader.
                    let _ = timeout(LAST_BYTES_LIMIT, forth).await;
                    Side::First
                }
            },
            stopped = &mut forth => match stopped {
                Stopped::Source => Side::First,
                Stopped::Destination => {
                    let _ = timeout(LAST_BYTES_LIMIT, back).await;
                    Side::Second
                }
            },
        }
    };
    // The other side may be gone already, which is what is wanted.
    let _ = second_in.shutdown().await;
    let _ = first_in.shutdown().await;
    // A socket that is closed while it holds unread bytes is a broken one for its other end, and the device
    // between guest and monitor then never tells the guest: its command would run on for nobody.
    if closed_by == Side::First && unread == Unread::ReadOut {
        let _ = timeout(LAST_BYTES_LIMIT, discard(&mut second_out)).await;
    }
    closed_by
}

/// Reads what waits to be read, and what comes behind that, to the end. Where nothing waits there is
/// nothing to do.
async fn discard<R: AsyncRead + Unpin>(source: &mut R) {
    let mut unread = vec![0; BUFFER_BYTES];
    let waiting = timeout(Duration::ZERO, source.read(&mut unread)).await;
    if !matches!(waiting, Ok(Ok(count)) if count > 0) {
        return;
    }
    while source.read(&mut unread).await.is_ok_and(|count| count > 0) {}
}

async fn carry<R, W>(source: &mut R, destination: &mut W, count: &Cell<u64>) -> Stopped
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = match source.read(&mut buffer).await {
            Ok(0) | Err(_) => return Stopped::Source,
            Ok(read) => read,
        };
        if destination.write_all(&buffer[..read]).await.is_err() {
            return Stopped::Destination;
        }
        count.set(count.get() + read as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::{BUFFER_BYTES, Side, Tally, Unread, bridge};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::net::UnixStream;

    #[tokio::test]
    async fn bytes_of_both_sides_arrive_and_are_counted() {
        let (first, mut first_peer) = duplex(64);
        let (second, mut second_peer) = duplex(64);
        let tally = Tally::default();
        let joint = bridge(first, second, Unread::ReadOut, &tally);
        let peers = async move {
            first_peer.write_all(b"forth").await.unwrap();
            let mut heard = [0; 5];
            second_peer.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"forth");
            second_peer.write_all(b"back").await.unwrap();
            drop(second_peer);
            let mut rest = Vec::new();
            first_peer.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"back");
        };
        let (closed_by, ()) = tokio::join!(joint, peers);
        assert_eq!((tally.from_first.get(), tally.from_second.get()), (5, 4));
        assert_eq!(closed_by, Side::Second);
    }

    #[tokio::test]
    async fn the_last_bytes_of_a_side_that_takes_no_more_arrive() {
        let (first, mut first_peer) = duplex(16);
        let (second, second_peer) = duplex(1 << 20);
        let (mut second_out, mut second_in) = tokio::io::split(second_peer);
        second_in.write_all(&vec![7; 100_000]).await.unwrap();
        let peers = async move {
            // The second side says its last words and is gone while the first still talks to it.
            let mut heard = [0; 1];
            let talk = first_peer.write_all(b"x");
            let (_, _) = tokio::join!(talk, second_out.read_exact(&mut heard));
            drop((second_out, second_in));
            let _ = first_peer.write_all(b"y").await;
            let mut rest = Vec::new();
            first_peer.read_to_end(&mut rest).await.unwrap();
            rest.len()
        };
        let tally = Tally::default();
        let (_, received) = tokio::join!(bridge(first, second, Unread::ReadOut, &tally), peers);
        assert_eq!(received, 100_000);
        assert_eq!(tally.from_second.get(), 100_000);
    }

    #[tokio::test]
    async fn a_side_hears_that_the_other_has_gone_although_nobody_read_what_it_said() {
        let (first, first_peer) = UnixStream::pair().unwrap();
        let (second, mut second_peer) = UnixStream::pair().unwrap();
        let tally = Tally::default();
        let peers = async move {
            // As much as sockets and bridge hold.
            let chunk = vec![7; BUFFER_BYTES];
            let silence = std::time::Duration::from_millis(100);
            while tokio::time::timeout(silence, second_peer.write(&chunk))
                .await
                .is_ok()
            {}
            drop(first_peer);
            second_peer.read(&mut [0; 1]).await
        };
        let (side, heard) = tokio::join!(bridge(first, second, Unread::ReadOut, &tally), peers);
        assert_eq!(side, Side::First);
        assert_eq!(heard.unwrap(), 0, "an end, and no broken connection");
    }

    #[tokio::test]
    async fn a_reader_that_does_not_read_stops_the_writer() {
        let (first, mut first_peer) = duplex(1024);
        let (second, second_peer) = duplex(1024);
        let mut written = 0;
        let write = async {
            let chunk = [0; 1024];
            // The silence of a writer that waits is all there is to see.
            let silence = std::time::Duration::from_millis(50);
            while let Ok(wrote) = tokio::time::timeout(silence, first_peer.write(&chunk)).await {
                written += wrote.unwrap();
            }
        };
        let tally = Tally::default();
        tokio::select! {
            _ = bridge(first, second, Unread::ReadOut, &tally) => panic!("nobody has closed"),
            () = write => {}
        }
        drop(second_peer);
        assert!(written <= BUFFER_BYTES + 4096, "{written}");
    }
}
