//! Frames both ways between a tap's packet socket and `passt`, for a VMM that knows only taps.
//!
//! One task of the monitor's loop with one buffer a direction: what the other side does not take is
//! not read. Frames that can't pass, or may not, are dropped, as a wire would. Both descriptors close with the
//! task, and with them every way between guest and host.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram as StdUnixDatagram, UnixStream as StdUnixStream};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixDatagram, UnixStream};

use super::carrying::Carrying;
use super::frame::{FRAME_BYTES, HEADER_BYTES, LENGTH_BYTES, complete, frame_length};
use super::linux;
use super::reach::Reach;
use super::traffic::Traffic;
use microagent_supervisor::backend::NetworkBytes;

/// A relay at work.
#[derive(Debug)]
pub struct Relay {
    carrying: Carrying,
    traffic: Traffic,
}

impl Relay {
    /// Begins between the packet socket, which must not block, and the socket to `passt`. Must be
    /// called inside a `LocalSet`.
    pub fn start(packet: OwnedFd, wire: OwnedFd, reach: Reach) -> io::Result<Self> {
        // The type is that of another family; of it only `recv` and `send` of whole messages are
        // used, which a packet socket knows as well.
        let packet = UnixDatagram::from_std(StdUnixDatagram::from(packet))?;
        let wire = StdUnixStream::from(wire);
        wire.set_nonblocking(true)?;
        let (from_passt, to_passt) = UnixStream::from_std(wire)?.into_split();
        let reach = RefCell::new(reach);
        let traffic = Traffic::default();
        let counted = traffic.clone();
        let carrying = Carrying::start(async move {
            tokio::select! {
                outcome = carry_out(&packet, to_passt, &reach, &counted) => outcome,
                outcome = carry_in(from_passt, &packet, &counted) => outcome,
                () = linux::keep_locality(&reach) => Ok(()),
            }
        });
        Ok(Self { carrying, traffic })
    }

    /// What has crossed it.
    pub fn bytes(&self) -> NetworkBytes {
        self.traffic.bytes()
    }

    /// Ends it. No byte crosses once this is done.
    pub async fn cut(&self) {
        self.carrying.cut().await;
    }
}

/// From the guest to `passt`.
async fn carry_out(
    packet: &UnixDatagram,
    mut wire: OwnedWriteHalf,
    reach: &RefCell<Reach>,
    traffic: &Traffic,
) -> io::Result<()> {
    let mut buffer = vec![0u8; HEADER_BYTES + FRAME_BYTES.end() + 1];
    loop {
        let read = match packet.recv(&mut buffer).await {
            Ok(read) => read,
            // The VMM is about to open the tap, or is gone.
            Err(error) if error.kind() == io::ErrorKind::NetworkDown => continue,
            Err(error) => return Err(error),
        };
        let Some((header, frame)) = buffer[..read].split_first_chunk_mut::<HEADER_BYTES>() else {
            continue;
        };
        if complete(*header, frame).is_err() || !reach.borrow().admits(frame) {
            continue;
        }
        let length = u32::try_from(frame.len()).expect("a frame is below 64 KiB");
        // The length takes the place of the header's end, so that both go in one piece.
        let start = HEADER_BYTES - LENGTH_BYTES;
        header[start..].copy_from_slice(&length.to_be_bytes());
        wire.write_all(&buffer[start..read]).await?;
        traffic.count_out(read - start);
    }
}

/// From `passt` to the guest.
async fn carry_in(
    mut wire: OwnedReadHalf,
    packet: &UnixDatagram,
    traffic: &Traffic,
) -> io::Result<()> {
    // The header in front stays zero: the frame is complete.
    let mut buffer = vec![0u8; HEADER_BYTES + FRAME_BYTES.end()];
    loop {
        let mut length = [0u8; LENGTH_BYTES];
        wire.read_exact(&mut length).await?;
        let length = frame_length(length)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let end = HEADER_BYTES + length;
        wire.read_exact(&mut buffer[HEADER_BYTES..end]).await?;
        // A full queue, a tap that nobody has opened, a frame that is too long for it: a wire drops.
        match packet.send(&buffer[..end]).await {
            Ok(_) => traffic.count_in(LENGTH_BYTES + length),
            Err(error) => tracing::trace!(%error, "a frame was dropped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_loop::in_loop;
    use crate::user_network::locality::Locality;
    use microagent_os::local_socket;
    use std::time::Duration;

    /// A socket that keeps frames apart, as a packet socket does, and the guest's end of it.
    fn packets() -> (OwnedFd, UnixDatagram) {
        let (ours, guest) = StdUnixDatagram::pair().unwrap();
        for end in [&ours, &guest] {
            end.set_nonblocking(true).unwrap();
        }
        (ours.into(), UnixDatagram::from_std(guest).unwrap())
    }

    fn wire() -> (OwnedFd, UnixStream) {
        let (ours, theirs) = local_socket::pair().unwrap();
        (ours.into_descriptor(), theirs.into_async().unwrap())
    }

    fn reach() -> Reach {
        Reach {
            locality: Locality::default(),
            openings: Vec::new(),
            name_servers: Vec::new(),
            dns_over_tcp: false,
        }
    }

    /// An ARP frame of so many bytes.
    fn arp(bytes: usize) -> Vec<u8> {
        let mut frame = vec![2; bytes];
        frame[12..14].copy_from_slice(&[0x08, 0x06]);
        frame
    }

    fn from_guest(frame: &[u8]) -> Vec<u8> {
        [&[0; HEADER_BYTES], frame].concat()
    }

    #[test]
    fn frames_cross_both_ways_and_bad_ones_do_not() {
        in_loop(async {
            let (packet, guest) = packets();
            let (ours, mut passt) = wire();
            let relay = Relay::start(packet, ours, reach()).unwrap();
            // Too short, of a kind that goes nowhere, then one that passes.
            for frame in [&[1; 5][..], &[2; 60], &arp(60)] {
                guest.send(&from_guest(frame)).await.unwrap();
            }
            let mut said = [0u8; 64];
            passt.read_exact(&mut said).await.unwrap();
            assert_eq!(said[..4], 60u32.to_be_bytes());
            assert_eq!(said[4..], arp(60));
            let answer = [&20u32.to_be_bytes()[..], &[3; 20]].concat();
            passt.write_all(&answer).await.unwrap();
            let mut heard = [0u8; 100];
            let read = guest.recv(&mut heard).await.unwrap();
            assert_eq!(read, HEADER_BYTES + 20);
            assert_eq!(heard[HEADER_BYTES..HEADER_BYTES + 20], [3; 20]);
            let crossed = (relay.bytes().from_guest, relay.bytes().to_guest);
            assert_eq!(crossed, (64, 24));
        });
    }

    #[test]
    fn once_cut_nothing_crosses_and_both_ends_are_closed() {
        in_loop(async {
            let (packet, guest) = packets();
            let (ours, mut passt) = wire();
            let relay = Relay::start(packet, ours, reach()).unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
            relay.cut().await;
            assert_eq!(passt.read(&mut [0; 1]).await.unwrap(), 0);
            let error = guest.send(&from_guest(&[2; 60])).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            relay.cut().await;
        });
    }

    #[test]
    fn a_length_that_is_none_ends_the_relay() {
        in_loop(async {
            let (packet, _guest) = packets();
            let (ours, mut passt) = wire();
            let _relay = Relay::start(packet, ours, reach()).unwrap();
            passt.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
            assert_eq!(passt.read(&mut [0; 1]).await.unwrap(), 0);
        });
    }
}
