//! The wire between a VMM that speaks frames over a stream and `passt`, which speaks the same.
//!
//! ```text
//! VMM ── length, frame, length, frame ──> admitted? ──> passt       what is not admitted is gone
//!     <── bytes as they come ────────────────────────── passt
//! ```
//!
//! It stands between the two because `passt` goes wherever a frame says (see [`mod@super::reach`]). One
//! task of the monitor's loop, one buffer a direction; what the other side does not take is not
//! read. Both descriptors close with it, and with them every way between guest and network.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::carrying::Carrying;
use super::linux;
use super::reach::Reach;
use super::traffic::Traffic;
use microagent_supervisor::backend::NetworkBytes;

const LENGTH_BYTES: usize = 4;
/// The largest frame of either side.
const FRAME_BYTES_MAX: usize = 65535 + 18;
/// Bytes held of one direction: some frames at once, since each read costs the same.
const BUFFER_BYTES: usize = 256 * 1024;

/// A wire in use.
#[derive(Debug)]
pub struct Wire {
    carrying: Carrying,
    traffic: Traffic,
}

impl Wire {
    /// Begins between our end of the VMM's socket and our end of `passt`'s. Must be called inside a
    /// `LocalSet`.
    pub fn begin(vmm: OwnedFd, passt: OwnedFd, reach: Reach) -> io::Result<Self> {
        let (from_vmm, to_vmm) = stream(vmm)?.into_split();
        let (from_passt, to_passt) = stream(passt)?.into_split();
        let reach = RefCell::new(reach);
        let traffic = Traffic::default();
        let counted = traffic.clone();
        let carrying = Carrying::start(async move {
            tokio::select! {
                outcome = carry_out(from_vmm, to_passt, &reach, &counted) => outcome,
                outcome = carry_in(from_passt, to_vmm, &counted) => outcome,
                () = linux::keep_locality(&reach) => Ok(()),
            }
        });
        Ok(Self { carrying, traffic })
    }

    /// What has crossed it.
    pub fn bytes(&self) -> NetworkBytes {
        self.traffic.bytes()
    }

    /// Ends it. No byte crosses once this is done; twice is once.
    pub async fn cut(&self) {
        self.carrying.cut().await;
    }
}

fn stream(socket: OwnedFd) -> io::Result<UnixStream> {
    let socket = StdUnixStream::from(socket);
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}

/// From the guest, frame by frame.
async fn carry_out(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    reach: &RefCell<Reach>,
    traffic: &Traffic,
) -> io::Result<()> {
    let mut buffer = vec![0u8; BUFFER_BYTES];
    let mut held = 0;
    loop {
        let read = from.read(&mut buffer[held..]).await?;
        if read == 0 {
            return Ok(());
        }
        held += read;
        let sifted = sift(&mut buffer[..held], &reach.borrow())?;
        to.write_all(&buffer[..sifted.admitted]).await?;
        traffic.count_out(sifted.admitted);
        buffer.copy_within(sifted.taken..held, 0);
        held -= sifted.taken;
    }
}

/// What is left of a piece of the guest's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sifted {
    /// Bytes at the front that go on.
    admitted: usize,
    /// Bytes that were looked at; behind them lies the beginning of a frame.
    taken: usize,
}

/// Moves the whole frames that are admitted to the front.
fn sift(stream: &mut [u8], reach: &Reach) -> io::Result<Sifted> {
    let mut sifted = Sifted {
        admitted: 0,
        taken: 0,
    };
    while let Some(length) = stream[sifted.taken..].first_chunk::<LENGTH_BYTES>() {
        let length = u32::from_be_bytes(*length) as usize;
        if length > FRAME_BYTES_MAX {
            let message = format!("the VMM sent a frame of {length} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let end = sifted.taken + LENGTH_BYTES + length;
        let Some(frame) = stream.get(sifted.taken + LENGTH_BYTES..end) else {
            break;
        };
        if reach.admits(frame) {
            stream.copy_within(sifted.taken..end, sifted.admitted);
            sifted.admitted += end - sifted.taken;
        }
        sifted.taken = end;
    }
    Ok(sifted)
}

/// From `passt`, which is trusted to send what it received.
async fn carry_in(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    traffic: &Traffic,
) -> io::Result<()> {
    let mut buffer = vec![0u8; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
        traffic.count_in(read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_loop::in_loop;
    use crate::user_network::locality::Locality;
    use microagent_os::local_socket;

    fn reach() -> Reach {
        Reach {
            locality: Locality::default(),
            openings: Vec::new(),
            name_servers: Vec::new(),
            dns_over_tcp: false,
        }
    }

    /// With its length in front.
    fn frame_to(address: [u8; 4], bytes: usize) -> Vec<u8> {
        let mut frame = vec![0; 34];
        frame[12..15].copy_from_slice(&[0x08, 0, 0x45]);
        frame[30..].copy_from_slice(&address);
        frame.resize(bytes, 7);
        let length = u32::try_from(bytes).unwrap().to_be_bytes();
        [&length, &frame[..]].concat()
    }

    fn pair() -> (OwnedFd, UnixStream) {
        let (ours, theirs) = local_socket::pair().unwrap();
        (ours.into_descriptor(), theirs.into_async().unwrap())
    }

    #[test]
    fn only_whole_admitted_frames_are_moved() {
        let (good, bad) = (frame_to([1, 1, 1, 1], 60), frame_to([127, 0, 0, 1], 80));
        let stream = [&bad[..], &good, &bad, &good, &good[..30]].concat();
        for end in 0..stream.len() {
            let mut piece = stream[..end].to_vec();
            let sifted = sift(&mut piece, &reach()).unwrap();
            let rest = end - sifted.taken;
            assert!(rest < 4 + 80, "{end}");
            assert_eq!(sifted.admitted % good.len(), 0);
        }
        let mut whole = stream.clone();
        let sifted = sift(&mut whole, &reach()).unwrap();
        assert_eq!(whole[..sifted.admitted], [&good[..], &good].concat());
        assert_eq!(whole[sifted.taken..], good[..30]);
    }

    #[test]
    fn the_guest_is_sifted_and_the_network_is_not() {
        in_loop(async {
            let ((vmm_end, mut vmm), (passt_end, mut passt)) = (pair(), pair());
            let wire = Wire::begin(vmm_end, passt_end, reach()).unwrap();
            let (good, bad) = (frame_to([1, 1, 1, 1], 60000), frame_to([10, 0, 0, 1], 60));
            for part in [&bad[..], &good[..10], &good[10..]] {
                vmm.write_all(part).await.unwrap();
            }
            let mut heard = vec![0; good.len()];
            passt.read_exact(&mut heard).await.unwrap();
            assert_eq!(heard, good);
            passt.write_all(&bad).await.unwrap();
            let mut heard = vec![0; bad.len()];
            vmm.read_exact(&mut heard).await.unwrap();
            assert_eq!(heard, bad);
            // What was not admitted has not crossed.
            let crossed = (wire.bytes().from_guest, wire.bytes().to_guest);
            assert_eq!(crossed, (good.len() as u64, bad.len() as u64));
        });
    }

    #[test]
    fn once_cut_both_ends_are_closed() {
        in_loop(async {
            let ((vmm_end, mut vmm), (passt_end, mut passt)) = (pair(), pair());
            let wire = Wire::begin(vmm_end, passt_end, reach()).unwrap();
            wire.cut().await;
            assert_eq!(passt.read(&mut [0; 1]).await.unwrap(), 0);
            assert_eq!(vmm.read(&mut [0; 1]).await.unwrap(), 0);
            wire.cut().await;
        });
    }

    #[test]
    fn a_length_that_is_none_ends_the_wire() {
        in_loop(async {
            let ((vmm_end, mut vmm), (passt_end, mut passt)) = (pair(), pair());
            let _wire = Wire::begin(vmm_end, passt_end, reach()).unwrap();
            vmm.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
            assert_eq!(passt.read(&mut [0; 1]).await.unwrap(), 0);
        });
    }
}
