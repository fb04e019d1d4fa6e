//! Frames: how messages and raw bytes share one vsock connection.
//!
//! ```text
//! length (u32, big-endian, payload only) | kind (u8) | payload
//! ```
//!
//! Each side treats the other as hostile: the limit of the kind is checked before anything is
//! allocated, and a decoder grows its buffer only as bytes arrive. The decoder takes a stream in any
//! pieces; [`read_frame`] and [`write_frame`] serve blocking callers. An empty frame of kind stdin,
//! stdout, stderr or data is the end of that stream, the only half-close there is.

use crate::limits::{CONTROL_BYTES_MAX_FROM_GUEST, CONTROL_BYTES_MAX_FROM_HOST, RAW_BYTES_MAX};
use std::io::{self, Read as _};

/// Bytes of length and kind.
pub const HEADER_BYTES: usize = 5;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// One JSON object.
    Control = 0,
    /// Bytes for a process.
    Stdin = 1,
    /// Bytes of a process.
    Stdout = 2,
    /// Bytes of a process's error stream.
    Stderr = 3,
    /// File bytes, tar bytes, forwarded bytes.
    Data = 4,
    /// The workload's terminal, both ways, on the control connection only.
    Console = 5,
}

/// Which end sent a frame; the limit of a control frame differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The host, or a process of the host.
    Host,
    /// The guest.
    Guest,
}

impl FrameKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Control,
        Self::Stdin,
        Self::Stdout,
        Self::Stderr,
        Self::Data,
        Self::Console,
    ];

    /// Most payload bytes of this kind from that sender.
    pub const fn payload_bytes_max(self, sender: Sender) -> usize {
        match (self, sender) {
            (Self::Control, Sender::Host) => CONTROL_BYTES_MAX_FROM_HOST,
            (Self::Control, Sender::Guest) => CONTROL_BYTES_MAX_FROM_GUEST,
            _ => RAW_BYTES_MAX,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it carries.
    pub kind: FrameKind,
    /// Its bytes, within the limit of the kind.
    pub payload: Vec<u8>,
}

/// Why a stream of bytes is not a stream of frames. The connection ends with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The kind is none that this release knows.
    #[error("a frame has the unknown kind {0}")]
    UnknownKind(u8),
    /// The length passes the limit of the kind.
    #[error("a frame of kind {kind:?} claims {length} bytes, the limit is {limit}")]
    TooLong {
        /// The kind.
        kind: FrameKind,
        /// The claimed payload bytes.
        length: u32,
        /// The limit.
        limit: usize,
    },
    /// The stream ended within a frame.
    #[error("the stream ended within a frame")]
    Truncated,
}

/// The header of a frame. The caller cuts payloads to size: see [`FrameKind::payload_bytes_max`].
pub fn header(kind: FrameKind, payload_bytes: usize) -> [u8; HEADER_BYTES] {
    let length = u32::try_from(payload_bytes).expect("every limit is below 4 GiB");
    let [a, b, c, d] = length.to_be_bytes();
    [a, b, c, d, kind as u8]
}

/// Reads kind and length from a header and checks the limit.
///
/// # Errors
/// When the kind is unknown or the length passes its limit.
pub fn parse_header(
    header: [u8; HEADER_BYTES],
    sender: Sender,
) -> Result<(FrameKind, usize), FrameError> {
    let [a, b, c, d, kind] = header;
    let length = u32::from_be_bytes([a, b, c, d]);
    let kind = FrameKind::from_byte(kind).ok_or(FrameError::UnknownKind(kind))?;
    let limit = kind.payload_bytes_max(sender);
    match usize::try_from(length) {
        Ok(bytes) if bytes <= limit => Ok((kind, bytes)),
        _ => Err(FrameError::TooLong {
            kind,
            length,
            limit,
        }),
    }
}

impl Frame {
    /// A frame of raw bytes or of an already encoded message.
    pub fn new(kind: FrameKind, payload: Vec<u8>) -> Self {
        Self { kind, payload }
    }

    /// The end of one stream of a session.
    pub fn end_of(kind: FrameKind) -> Self {
        Self {
            kind,
            payload: Vec::new(),
        }
    }

    /// A control frame with one message.
    pub fn control<T: serde::Serialize>(message: &T) -> Self {
        let payload = serde_json::to_vec(message).expect("messages have string keys only");
        Self {
            kind: FrameKind::Control,
            payload,
        }
    }

    /// The bytes on the wire.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.payload.len());
        bytes.extend_from_slice(&header(self.kind, self.payload.len()));
        bytes.extend_from_slice(&self.payload);
        bytes
    }
}

/// Turns a stream of bytes, in whatever pieces it comes, into frames.
#[derive(Debug)]
pub struct FrameDecoder {
    sender: Sender,
    header: [u8; HEADER_BYTES],
    header_filled: usize,
    body: Option<(FrameKind, usize, Vec<u8>)>,
}

impl FrameDecoder {
    /// A decoder of what `sender` sends.
    pub fn new(sender: Sender) -> Self {
        Self {
            sender,
            header: [0; HEADER_BYTES],
            header_filled: 0,
            body: None,
        }
    }

    /// Takes bytes from the front of `input` until one frame is complete or the input is used up.
    ///
    /// # Errors
    /// As soon as a header is wrong; the decoder must not be used afterwards.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, FrameError> {
        if self.body.is_none() {
            let taken = (HEADER_BYTES - self.header_filled).min(input.len());
            let (front, rest) = input.split_at(taken);
            self.header[self.header_filled..self.header_filled + taken].copy_from_slice(front);
            self.header_filled += taken;
            *input = rest;
            if self.header_filled < HEADER_BYTES {
                return Ok(None);
            }
            let (kind, length) = parse_header(self.header, self.sender)?;
            self.body = Some((kind, length, Vec::new()));
        }
        let Some((kind, length, payload)) = &mut self.body else {
            return Ok(None);
        };
        let taken = (*length - payload.len()).min(input.len());
        let (front, rest) = input.split_at(taken);
        if payload.is_empty() && taken > 0 {
            payload.reserve_exact((*length).min(RAW_BYTES_MAX));
        }
        payload.extend_from_slice(front);
        *input = rest;
        if payload.len() < *length {
            return Ok(None);
        }
        let frame = Frame {
            kind: *kind,
            payload: std::mem::take(payload),
        };
        self.body = None;
        self.header_filled = 0;
        Ok(Some(frame))
    }

    /// Whether the stream may end here: no frame is half read.
    pub fn at_boundary(&self) -> bool {
        self.header_filled == 0
    }
}

/// Reads one frame; `None` when the stream ends between two.
///
/// # Errors
/// `InvalidData` with a [`FrameError`] when the bytes are no frame, and whatever the reader gives.
pub fn read_frame<R: io::Read>(reader: &mut R, sender: Sender) -> io::Result<Option<Frame>> {
    let mut head = [0; HEADER_BYTES];
    let mut filled = 0;
    while filled < HEADER_BYTES {
        match reader.read(&mut head[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(invalid(FrameError::Truncated)),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let (kind, length) = parse_header(head, sender).map_err(invalid)?;
    // What is longer grows only as it comes.
    let mut payload = Vec::with_capacity(length.min(RAW_BYTES_MAX));
    let taken = io::Read::take(reader, length as u64).read_to_end(&mut payload)?;
    if taken < length {
        return Err(invalid(FrameError::Truncated));
    }
    Ok(Some(Frame { kind, payload }))
}

/// Writes one frame in one call to the writer, so that it is one packet where it can be.
///
/// # Errors
/// Whatever the writer gives.
pub fn write_frame<W: io::Write>(writer: &mut W, frame: &Frame) -> io::Result<()> {
    writer.write_all(&frame.encode())
}

fn invalid(error: FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::{
        Frame, FrameDecoder, FrameError, FrameKind, HEADER_BYTES, Sender, header, parse_header,
        read_frame, write_frame,
    };
    use proptest::prelude::*;

    #[test]
    fn a_ping_has_the_documented_bytes() {
        let payload = br#"{"generation":1,"service":"ping","nonce":"7f"}"#;
        let frame = Frame::new(FrameKind::Control, payload.to_vec());
        let bytes = frame.encode();
        assert_eq!(bytes[..HEADER_BYTES], [0, 0, 0, 0x2e, 0]);
        assert_eq!(&bytes[HEADER_BYTES..], payload);
    }

    #[test]
    fn every_limit_is_reached_and_not_passed() {
        for kind in FrameKind::ALL {
            for sender in [Sender::Host, Sender::Guest] {
                let limit = kind.payload_bytes_max(sender);
                assert_eq!(parse_header(header(kind, limit), sender), Ok((kind, limit)));
                let beyond = parse_header(header(kind, limit + 1), sender);
                assert!(
                    matches!(beyond, Err(FrameError::TooLong { .. })),
                    "{kind:?}"
                );
            }
        }
        assert_eq!(
            parse_header([0, 0, 0, 0, 6], Sender::Host),
            Err(FrameError::UnknownKind(6))
        );
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        let mut decoder = FrameDecoder::new(Sender::Host);
        let head = header(
            FrameKind::Control,
            FrameKind::Control.payload_bytes_max(Sender::Host),
        );
        assert_eq!(decoder.decode(&mut &head[..]), Ok(None));
        let capacity = decoder.body.as_ref().unwrap().2.capacity();
        assert_eq!(capacity, 0);
    }

    #[test]
    fn a_stream_cut_within_a_frame_is_told_from_one_that_ended() {
        let bytes = Frame::new(FrameKind::Data, vec![7; 100]).encode();
        assert_eq!(read_frame(&mut &bytes[..0], Sender::Guest).unwrap(), None);
        for cut in 1..bytes.len() {
            let error = read_frame(&mut &bytes[..cut], Sender::Guest).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{cut}");
        }
    }

    fn any_frame() -> impl Strategy<Value = Frame> {
        (
            0..FrameKind::ALL.len(),
            prop::collection::vec(any::<u8>(), 0..300),
        )
            .prop_map(|(kind, payload)| Frame::new(FrameKind::ALL[kind], payload))
    }

    proptest! {
        #[test]
        fn any_split_of_any_stream_gives_the_same_frames(
            frames in prop::collection::vec(any_frame(), 0..8),
            pieces in prop::collection::vec(1usize..50, 1..200),
        ) {
            let stream: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
            let mut decoder = FrameDecoder::new(Sender::Guest);
            let mut decoded = Vec::new();
            let mut rest = &stream[..];
            let mut sizes = pieces.iter().cycle();
            while !rest.is_empty() {
                let (piece, tail) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
                rest = tail;
                let mut input = piece;
                while !input.is_empty() {
                    if let Some(frame) = decoder.decode(&mut input).unwrap() {
                        decoded.push(frame);
                    }
                }
            }
            prop_assert!(decoder.at_boundary());
            prop_assert_eq!(decoded, frames);
        }

        #[test]
        fn no_bytes_make_the_decoder_hold_more_than_they_are(
            bytes in prop::collection::vec(any::<u8>(), 0..2000),
        ) {
            let mut decoder = FrameDecoder::new(Sender::Guest);
            let mut input = &bytes[..];
            while !input.is_empty() {
                if decoder.decode(&mut input).is_err() {
                    break;
                }
            }
            let held = decoder.body.as_ref().map_or(0, |(_, _, payload)| payload.len());
            prop_assert!(held <= bytes.len());
        }

        #[test]
        fn what_is_written_is_read(frame in any_frame()) {
            let mut bytes = Vec::new();
            write_frame(&mut bytes, &frame).unwrap();
            prop_assert_eq!(read_frame(&mut &bytes[..], Sender::Guest).unwrap(), Some(frame));
        }
    }
}
