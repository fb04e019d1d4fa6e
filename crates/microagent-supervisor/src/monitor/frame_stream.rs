//! Frames over an asynchronous stream, in the two directions that the monitor needs: what a guest
//! sends, bounded, and what the host sends.

use microagent_wire::frame::{Frame, FrameDecoder, Sender};
use std::collections::VecDeque;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Bytes of one read: a frame of the largest kind that carries data comes in two at most.
const READ_BYTES: usize = 64 * 1024;

/// Reads what a guest sends. Never holds more than one read and one frame.
pub(crate) struct FrameReader<R> {
    source: R,
    decoder: FrameDecoder,
    buffer: Vec<u8>,
    complete: VecDeque<Frame>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader of a stream that a guest writes.
    pub(crate) fn from_guest(source: R) -> Self {
        Self {
            source,
            decoder: FrameDecoder::new(Sender::Guest),
            buffer: vec![0; READ_BYTES],
            complete: VecDeque::new(),
        }
    }

    /// The next frame; none at the end of the stream. Cancel-safe.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.complete.pop_front() {
                return Ok(Some(frame));
            }
            let read = self.source.read(&mut self.buffer).await?;
            if read == 0 {
                return if self.decoder.at_boundary() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
            let mut bytes = &self.buffer[..read];
            while !bytes.is_empty() {
                let decoded = self
                    .decoder
                    .decode(&mut bytes)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                self.complete.extend(decoded);
            }
        }
    }
}

/// Writes one frame as one piece.
pub(crate) async fn write_frame<W: AsyncWrite + Unpin>(
    destination: &mut W,
    frame: &Frame,
) -> io::Result<()> {
    destination.write_all(&frame.encode()).await?;
    destination.flush().await
}

#[cfg(test)]
mod tests {
    use super::{FrameReader, write_frame};
    use microagent_wire::frame::{Frame, FrameKind};
    use tokio::io::AsyncWriteExt as _;

    #[tokio::test]
    async fn frames_in_one_piece_come_one_by_one() {
        let (mut peer, stream) = tokio::io::duplex(1024);
        let frames = [
            Frame::new(FrameKind::Stdout, b"a".to_vec()),
            Frame::end_of(FrameKind::Stdout),
        ];
        for frame in &frames {
            write_frame(&mut peer, frame).await.unwrap();
        }
        drop(peer);
        let mut reader = FrameReader::from_guest(stream);
        assert_eq!(reader.next().await.unwrap().as_ref(), Some(&frames[0]));
        assert_eq!(reader.next().await.unwrap().as_ref(), Some(&frames[1]));
        assert!(reader.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_stream_that_ends_within_a_frame_is_an_error() {
        let (mut peer, stream) = tokio::io::duplex(1024);
        let bytes = Frame::new(FrameKind::Data, vec![1; 10]).encode();
        peer.write_all(&bytes[..12]).await.unwrap();
        drop(peer);
        assert!(FrameReader::from_guest(stream).next().await.is_err());
    }
}
