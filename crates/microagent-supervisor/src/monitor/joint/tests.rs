//! The joint against a device that stops as `vhost-device-vsock` 0.3.0 does, and a guest behind it that
//! reads and writes in turns.

use super::{Extras, Tally, join};
use crate::monitor::bridge::{Side, Unread, bridge};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex,
};
use tokio::time::{sleep, timeout};

const GUEST_BYTES: usize = 256 << 10;
const SOCKET_BYTES: usize = 208 << 10;
const DEVICE_BYTES: usize = 16 << 10;
const BULK_BYTES: usize = 4 << 20;
/// Of a clock that leaps whenever nobody has anything to do.
const FOR_GOOD: Duration = Duration::from_mins(1);

/// The monitor's end of a connection, with all that is behind it.
#[derive(Default)]
struct Device {
    /// Written by the monitor, not yet read by the device.
    unread: VecDeque<u8>,
    /// In the guest's kernel.
    arrived: VecDeque<u8>,
    /// Read by the guest's program, which writes it back before it reads again.
    in_hand: VecDeque<u8>,
    /// In the device, which could not hand it on.
    stuck: VecDeque<u8>,
    /// For the monitor to read.
    socket: VecDeque<u8>,
    /// Bytes that the guest reads at once.
    chunk: usize,
    waker: Option<Waker>,
}

fn shift(from: &mut VecDeque<u8>, to: &mut VecDeque<u8>, room: usize) -> bool {
    let count = from.len().min(room.saturating_sub(to.len()));
    to.extend(from.drain(..count));
    count > 0
}

impl Device {
    /// Everything that happens by itself.
    fn settle(&mut self) {
        let mut has_moved = false;
        loop {
            let mut moved = shift(&mut self.unread, &mut self.arrived, GUEST_BYTES);
            if self.unread.is_empty() {
                moved |= shift(&mut self.stuck, &mut self.socket, SOCKET_BYTES);
            }
            if self.in_hand.is_empty() {
                moved |= shift(&mut self.arrived, &mut self.in_hand, self.chunk);
            }
            if self.stuck.is_empty() {
                moved |= shift(&mut self.in_hand, &mut self.socket, SOCKET_BYTES);
            }
            if self.socket.len() == SOCKET_BYTES || !self.stuck.is_empty() {
                moved |= shift(&mut self.in_hand, &mut self.stuck, DEVICE_BYTES);
            }
            has_moved |= moved;
            if !moved {
                break;
            }
        }
        if has_moved && let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn wait<T>(&mut self, context: &Context<'_>) -> Poll<T> {
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl AsyncRead for Device {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.settle();
        let count = self.socket.len().min(buffer.remaining());
        if count == 0 {
            return self.wait(context);
        }
        let bytes: Vec<u8> = self.socket.drain(..count).collect();
        buffer.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Device {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.settle();
        let count = bytes.len().min(SOCKET_BYTES - self.unread.len());
        if count == 0 {
            return self.wait(context);
        }
        self.unread.extend(&bytes[..count]);
        self.settle();
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.settle();
        if self.unread.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.wait(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A target that sends a bulk at once, and begins to read what comes back when nothing moves any more.
async fn lags(target: DuplexStream) -> usize {
    let (mut out, mut into) = tokio::io::split(target);
    let send = async {
        for place in 0..BULK_BYTES / 1024 {
            let byte = u8::try_from(place % 251).unwrap();
            if into.write_all(&[byte; 1024]).await.is_err() {
                return;
            }
        }
    };
    let receive = async {
        sleep(FOR_GOOD / 4).await;
        let mut received = 0;
        let mut buffer = vec![0; 3000];
        while received < BULK_BYTES {
            match timeout(FOR_GOOD, out.read(&mut buffer)).await {
                Ok(Ok(read)) if read > 0 => {
                    for byte in &buffer[..read] {
                        let expected = received / 1024 % 251;
                        assert_eq!(usize::from(*byte), expected, "byte {received}");
                        received += 1;
                    }
                }
                _ => break,
            }
        }
        received
    };
    let (received, ()) = tokio::join!(receive, async { drop(timeout(FOR_GOOD * 2, send).await) });
    received
}

fn device(chunk: usize) -> Device {
    Device {
        chunk,
        ..Device::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_writes_before_it_reads_gets_everything_through() {
    for chunk in [1000, 8 << 10, 64 << 10, 200 << 10] {
        let (target, peer) = duplex(100 << 10);
        let (tally, extras) = (Tally::default(), Extras::default());
        let received = tokio::select! {
            side = join(device(chunk), target, &tally, &extras) => panic!("{side:?} has ended"),
            received = lags(peer) => received,
        };
        assert_eq!(received, BULK_BYTES, "in pieces of {chunk}");
        assert_eq!(tally.from_second.get(), BULK_BYTES as u64);
    }
}

/// What the joint is for: without its care the same device stops for good. When this fails, the device
/// here is no longer one that stops.
#[tokio::test(start_paused = true)]
async fn a_plain_bridge_stops_for_good_there() {
    let (target, peer) = duplex(100 << 10);
    let tally = Tally::default();
    let received = tokio::select! {
        side = bridge(device(64 << 10), target, Unread::ReadOut, &tally) => panic!("{side:?} has ended"),
        received = lags(peer) => received,
    };
    assert!(received < BULK_BYTES / 2, "{received}");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_reads_nothing_is_heard_all_the_same() {
    let (guest, guest_peer) = duplex(64 << 10);
    let (target, target_peer) = duplex(64 << 10);
    let (tally, extras) = (Tally::default(), Extras::default());
    let (mut guest_out, mut guest_in) = tokio::io::split(guest_peer);
    let (_target_out, mut target_in) = tokio::io::split(target_peer);
    let talk = async {
        // So much was said before that nobody knows what the guest has room for.
        let (earlier, mut read) = (vec![0; 1 << 20], vec![0; 1 << 20]);
        let (sent, received) = tokio::join!(
            target_in.write_all(&earlier),
            guest_out.read_exact(&mut read)
        );
        sent.unwrap();
        received.unwrap();
        // The guest sends for ever, and its target has one thing to say to that.
        let flood = async { while guest_in.write_all(&[1; 4096]).await.is_ok() {} };
        let answer = async {
            sleep(FOR_GOOD).await;
            target_in.write_all(b"enough").await.unwrap();
            let mut heard = [0; 6];
            guest_out.read_exact(&mut heard).await.unwrap();
            heard
        };
        tokio::select! {
            () = flood => panic!("the flood ended"),
            heard = timeout(FOR_GOOD * 2, answer) => heard.unwrap(),
        }
    };
    let heard = tokio::select! {
        side = join(guest, target, &tally, &extras) => panic!("{side:?} has ended"),
        heard = talk => heard,
    };
    assert_eq!(&heard, b"enough");
    assert!(tally.from_first.get() <= 64 << 10);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_side_ends_both_after_what_it_said() {
    for ends_first in [Side::First, Side::Second] {
        let (guest, guest_peer) = duplex(1000);
        let (target, target_peer) = duplex(1000);
        let (tally, extras) = (Tally::default(), Extras::default());
        let (mut speaker, mut listener) = match ends_first {
            Side::First => (guest_peer, target_peer),
            Side::Second => (target_peer, guest_peer),
        };
        let talk = async move {
            let write = async move {
                speaker.write_all(&vec![7; 300_000]).await.unwrap();
                speaker.shutdown().await.unwrap();
                // What it does not want to hear is no reason to lose what it said.
                drop(speaker);
            };
            let mut heard = Vec::new();
            let ((), read) = tokio::join!(write, listener.read_to_end(&mut heard));
            read.unwrap();
            heard.len()
        };
        let (closed_by, heard) = tokio::join!(join(guest, target, &tally, &extras), talk);
        assert_eq!((closed_by, heard), (ends_first, 300_000));
    }
}

#[tokio::test(start_paused = true)]
async fn places_for_more_are_counted_and_given_back() {
    let extras = Extras::default();
    let taken: Vec<_> = std::iter::from_fn(|| extras.take()).collect();
    assert_eq!(taken.len(), super::EXTRAS_MAX);
    assert!(extras.take().is_none());
    drop(taken);
    assert!(extras.take().is_some());
}
