//! Data frames as a stream of bytes, both ways.

use crate::connection::{Connection, Incoming};
use microagent_tar::ByteSource;
use microagent_wire::frame::{Frame, FrameKind};
use microagent_wire::limits::RAW_BYTES_MAX;
use std::io::{self, Write};

/// Bytes become data frames; the writer waits for as long as the host takes.
pub(crate) struct DataSink<'a> {
    connection: &'a mut Connection,
    stops: &'a dyn Fn() -> bool,
    buffer: Vec<u8>,
}

impl<'a> DataSink<'a> {
    pub(crate) fn new(connection: &'a mut Connection, stops: &'a dyn Fn() -> bool) -> Self {
        Self {
            connection,
            stops,
            buffer: Vec::with_capacity(RAW_BYTES_MAX),
        }
    }

    /// Sends what is left and the frame that ends the stream.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.send()?;
        self.connection.queue(FrameKind::Data, &[]);
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.connection.queue(FrameKind::Data, &self.buffer);
        self.buffer.clear();
        if self.connection.make_room(self.stops) {
            Ok(())
        } else {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
}

impl Write for DataSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == RAW_BYTES_MAX {
            self.send()?;
        }
        let now = bytes.len().min(RAW_BYTES_MAX - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..now]);
        Ok(now)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

/// Data frames become bytes, up to the empty frame.
pub(crate) struct DataSource<'a> {
    connection: &'a mut Connection,
    stops: &'a dyn Fn() -> bool,
    frame: Vec<u8>,
    taken: usize,
    is_ended: bool,
    /// Said now and then while the host sends, so that it knows that the guest lives.
    sign_of_life: Option<SignOfLife>,
}

/// A message that is repeated while data comes.
pub(crate) struct SignOfLife {
    pub(crate) frame: Frame,
    pub(crate) every_bytes: u64,
    pub(crate) since_bytes: u64,
}

/// Why no more data comes.
#[derive(Debug)]
pub(crate) enum DataError {
    /// The host is gone, or the guest is ending.
    Gone,
    /// The host sent something else in between.
    OutOfPlace,
}

impl std::fmt::Display for DataError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Gone => "the host sends no more",
            Self::OutOfPlace => "the host sent what is no data",
        })
    }
}

impl std::error::Error for DataError {}

impl<'a> DataSource<'a> {
    pub(crate) fn new(connection: &'a mut Connection, stops: &'a dyn Fn() -> bool) -> Self {
        Self {
            connection,
            stops,
            frame: Vec::new(),
            taken: 0,
            is_ended: false,
            sign_of_life: None,
        }
    }

    pub(crate) fn with_sign_of_life(mut self, sign: SignOfLife) -> Self {
        self.sign_of_life = Some(sign);
        self
    }

    /// Takes what is left up to the end: an archive may end before its stream does.
    pub(crate) fn finish(mut self) -> Result<(), DataError> {
        while !self.is_ended {
            self.next()?;
            self.taken = self.frame.len();
        }
        Ok(())
    }

    fn next(&mut self) -> Result<(), DataError> {
        if let Some(sign) = &mut self.sign_of_life
            && sign.since_bytes >= sign.every_bytes
        {
            sign.since_bytes = 0;
            self.connection.queue_frame(&sign.frame);
            self.connection.flush_some();
        }
        match self.connection.await_next(self.stops) {
            Incoming::Frame(frame) if frame.kind == FrameKind::Data => {
                self.is_ended = frame.payload.is_empty();
                if let Some(sign) = &mut self.sign_of_life {
                    sign.since_bytes += frame.payload.len() as u64;
                }
                self.frame = frame.payload;
                self.taken = 0;
                Ok(())
            }
            Incoming::Frame(_) => Err(DataError::OutOfPlace),
            Incoming::Nothing | Incoming::Closed => Err(DataError::Gone),
        }
    }
}

impl ByteSource for DataSource<'_> {
    type Error = DataError;

    fn chunk(&mut self) -> Result<&[u8], DataError> {
        if self.taken == self.frame.len() && !self.is_ended {
            self.next()?;
        }
        Ok(&self.frame[self.taken..])
    }

    fn consume(&mut self, bytes: usize) {
        self.taken += bytes;
    }
}
