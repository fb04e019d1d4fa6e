//! One session with a file service of a guest: data frames one way, control frames the other.
//!
//! The guest is hostile: what it says about lengths is bounded by the frames, a frame out of place ends
//! the session, and a guest that says nothing for minutes has lost its host.

use crate::guest_session::{SessionControl, SessionError, dial, handshake};
use microagent_os::local_socket::Stream;
use microagent_tar::ByteSource;
use microagent_types::BootId;
use microagent_wire::fault::Fault;
use microagent_wire::frame::{Frame, FrameKind, Sender, read_frame, write_frame};
use microagent_wire::generation::GENERATION;
use microagent_wire::guest::service::{
    FileEntry, Service, ServiceRequest, SessionDone, SessionOutput,
};
use microagent_wire::guest::{Parsed, parse};
use microagent_wire::limits::RAW_BYTES_MAX;
use microagent_wire::monitor::request::{MonitorOp, MonitorRequest};
use microagent_wire::supervisor::request::{Expect, Initiator};
use std::io::{self, BufReader, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Duration;

/// Until a guest that sends or takes files has said something.
const SILENCE_LIMIT: Duration = Duration::from_mins(5);
/// Bytes behind the end of an archive, before the end of its stream.
const TAIL_BYTES_MAX: usize = 16 << 20;

/// How the guest of a workspace is reached.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) socket: PathBuf,
    /// The boot that is meant, where another would be wrong.
    pub(crate) boot: Option<BootId>,
    pub(crate) initiator: Initiator,
}

/// What the end of a session means for the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binding {
    Free,
    EndsBoot,
}

/// A session that the guest has accepted.
pub(crate) struct FileSession {
    reader: BufReader<Stream>,
    control: SessionControl,
    /// What `stat` was answered with.
    pub(crate) entry: Option<FileEntry>,
}

impl FileSession {
    /// Opens a session.
    pub(crate) fn open(
        door: &Door,
        service: Service,
        binding: Binding,
    ) -> Result<Self, SessionError> {
        let service = ServiceRequest {
            generation: GENERATION,
            service,
        };
        let op = MonitorOp::session(&service, binding == Binding::EndsBoot);
        let mut request = MonitorRequest::new(op);
        request.initiator = Some(door.initiator.clone());
        request.expect = door.boot.map(|boot| Expect {
            id: None,
            boot_id: Some(boot),
        });
        Self::begin(dial(&door.socket)?, &request)
    }

    /// Over a connection to a monitor.
    pub(crate) fn begin(stream: Stream, request: &MonitorRequest) -> Result<Self, SessionError> {
        let control = SessionControl::of_bytes(&stream).map_err(SessionError::Broken)?;
        let (reader, _, answer) = handshake(stream, request)?;
        let stream = reader.get_ref();
        stream
            .set_read_limit(Some(SILENCE_LIMIT))
            .and_then(|()| stream.set_write_limit(Some(SILENCE_LIMIT)))
            .map_err(SessionError::Broken)?;
        Ok(Self {
            reader,
            control,
            entry: answer.entry,
        })
    }

    pub(crate) fn control(&self) -> SessionControl {
        self.control.clone()
    }

    /// What the guest says next; a data frame is out of place.
    pub(crate) fn say(&mut self) -> Result<SessionOutput, SessionError> {
        loop {
            let frame = next_frame(&mut self.reader)?;
            if frame.kind != FrameKind::Control {
                return Err(out_of_place());
            }
            if let Some(said) = said(&frame.payload)? {
                return Ok(said);
            }
        }
    }

    /// The entry that is about to be sent.
    pub(crate) fn meta(&mut self) -> Result<FileEntry, SessionError> {
        match self.say()? {
            SessionOutput::Meta { entry } => Ok(entry),
            _ => Err(out_of_place()),
        }
    }

    /// What the service did, as its last word.
    pub(crate) fn done(&mut self) -> Result<SessionDone, SessionError> {
        match self.say()? {
            SessionOutput::Done(done) => Ok(done),
            _ => Err(out_of_place()),
        }
    }

    /// The bytes that the guest sends, up to their end.
    pub(crate) fn data(&mut self) -> GuestData<'_> {
        GuestData {
            reader: &mut self.reader,
            frame: Vec::new(),
            taken: 0,
            is_ended: false,
        }
    }

    /// Sends bytes while what the guest says is heard: it may have had enough in the middle.
    pub(crate) fn into_sink(self) -> Result<HostData, SessionError> {
        let writer = self
            .reader
            .get_ref()
            .try_clone()
            .map_err(SessionError::Broken)?;
        let (sender, verdict) = sync_channel(1);
        let mut listening = self;
        std::thread::spawn(move || {
            // Nobody takes it any more when the copy has ended otherwise.
            let _ = sender.send(listening.done());
        });
        Ok(HostData {
            writer,
            verdict,
            heard: None,
            buffer: Vec::with_capacity(RAW_BYTES_MAX),
        })
    }
}

fn next_frame(reader: &mut BufReader<Stream>) -> Result<Frame, SessionError> {
    read_frame(reader, Sender::Guest)
        .map_err(SessionError::Broken)?
        .ok_or_else(|| SessionError::Broken(io::ErrorKind::UnexpectedEof.into()))
}

/// What a control frame says; nothing where a newer guest says what is unknown here.
fn said(payload: &[u8]) -> Result<Option<SessionOutput>, SessionError> {
    let message = parse::<SessionOutput>(payload)
        .map_err(|error| SessionError::Broken(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    match message {
        Parsed::Known(SessionOutput::Failed { kind, message, .. }) => {
            Err(Fault::new(kind, message).into())
        }
        Parsed::Known(said) => Ok(Some(said)),
        Parsed::Unknown(_) => Ok(None),
    }
}

fn out_of_place() -> SessionError {
    let message = "the guest sent what is out of place in a copy";
    SessionError::Broken(io::Error::new(io::ErrorKind::InvalidData, message))
}

/// Bytes of a guest, frame by frame.
pub(crate) struct GuestData<'a> {
    reader: &'a mut BufReader<Stream>,
    frame: Vec<u8>,
    taken: usize,
    is_ended: bool,
}

impl GuestData<'_> {
    /// Takes what is left up to the end of the stream, which is little behind an archive.
    pub(crate) fn finish(mut self) -> Result<(), SessionError> {
        let mut left = TAIL_BYTES_MAX;
        while !self.is_ended {
            self.next()?;
            left = left
                .checked_sub(self.frame.len())
                .ok_or_else(out_of_place)?;
        }
        Ok(())
    }

    fn next(&mut self) -> Result<(), SessionError> {
        loop {
            let frame = next_frame(self.reader)?;
            match frame.kind {
                FrameKind::Data => {
                    self.is_ended = frame.payload.is_empty();
                    self.frame = frame.payload;
                    self.taken = 0;
                    return Ok(());
                }
                // A failure is an error; nothing else is said in between.
                FrameKind::Control if said(&frame.payload)?.is_none() => {}
                _ => return Err(out_of_place()),
            }
        }
    }
}

impl ByteSource for GuestData<'_> {
    type Error = SessionError;

    fn chunk(&mut self) -> Result<&[u8], SessionError> {
        if self.taken == self.frame.len() && !self.is_ended {
            self.next()?;
        }
        Ok(&self.frame[self.taken..])
    }

    fn consume(&mut self, bytes: usize) {
        self.taken += bytes;
    }
}

/// Bytes for a guest.
pub(crate) struct HostData {
    writer: Stream,
    verdict: Receiver<Result<SessionDone, SessionError>>,
    heard: Option<Result<SessionDone, SessionError>>,
    buffer: Vec<u8>,
}

impl HostData {
    /// Sends the rest and the end of the stream, and waits for the guest's word.
    pub(crate) fn finish(mut self) -> Result<SessionDone, SessionError> {
        let sent = self
            .send()
            .and_then(|()| write_frame(&mut self.writer, &Frame::end_of(FrameKind::Data)));
        let answer = self.answer();
        // Whatever the guest said tells more than a pipe that broke.
        match (answer, sent) {
            (Err(SessionError::Broken(_)), Err(error)) => Err(SessionError::Broken(error)),
            (answer, _) => answer,
        }
    }

    /// What the guest said about a copy that could not be sent to its end.
    pub(crate) fn failure(mut self, error: io::Error) -> SessionError {
        // One that has not spoken yet does not know that anything is wrong.
        let heard = self.heard.take().or_else(|| self.verdict.try_recv().ok());
        let _ = self.writer.shut_down();
        match heard {
            Some(Err(heard)) => heard,
            _ => SessionError::Broken(error),
        }
    }

    fn answer(&mut self) -> Result<SessionDone, SessionError> {
        if let Some(heard) = self.heard.take() {
            return heard;
        }
        self.verdict
            .recv()
            .unwrap_or_else(|_| Err(SessionError::Broken(io::ErrorKind::UnexpectedEof.into())))
    }

    fn send(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        match self.verdict.try_recv() {
            Err(TryRecvError::Empty) => {}
            Ok(heard) => {
                self.heard = Some(heard);
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            Err(TryRecvError::Disconnected) => return Err(io::ErrorKind::BrokenPipe.into()),
        }
        let payload = std::mem::replace(&mut self.buffer, Vec::with_capacity(RAW_BYTES_MAX));
        write_frame(&mut self.writer, &Frame::new(FrameKind::Data, payload))
    }
}

impl Write for HostData {
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
