//! One session with a guest, over the monitor's socket.
//!
//! ```text
//! connect -> one request line -> one answer line -> frames both ways -> the exit frame
//! ```
//!
//! Three threads meet here: the caller's reads frames and hands out bytes, one feeds stdin, and
//! whoever hears signals writes control frames through a [`SessionControl`]. The guest is hostile: a
//! frame that is too long or out of place ends the session.

use crate::session_writer::SessionWriter;
use crate::stdin_window::StdinWindow;
use microagent_os::local_socket::{self, Stream};
use microagent_types::SignalName;
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::frame::{Frame, FrameKind, Sender, read_frame};
use microagent_wire::guest::service::{ServiceAnswer, SessionExit, SessionInput, SessionOutput};
use microagent_wire::guest::{Parsed, parse};
use microagent_wire::limits::{MONITOR_LINE_BYTES_MAX, RAW_BYTES_MAX};
use microagent_wire::monitor::request::{MonitorOp, MonitorRequest};
use microagent_wire::monitor::response::MonitorAnswer;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Until the monitor takes the connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Until the monitor has opened the session in the guest: it waits out a boot for 30 s, and the guest
/// answers within 5 s.
const OPEN_LIMIT: Duration = Duration::from_secs(40);
/// Read at once from the monitor's socket.
const READ_BUFFER_BYTES: usize = 128 << 10;

/// Takes what a guest's command writes.
pub trait SessionSink {
    /// Bytes of stdout. An error ends the session.
    ///
    /// # Errors
    /// When nobody takes them any more.
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Bytes of stderr.
    ///
    /// # Errors
    /// When nobody takes them any more.
    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// Why a session has no result.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// It was refused: by the monitor, or by the guest.
    #[error(transparent)]
    Refused(Box<Fault>),
    /// No monitor takes the connection.
    #[error("the workspace has no monitor")]
    NoMonitor(#[source] local_socket::SocketError),
    /// The connection to the guest is gone.
    #[error("the connection to the guest broke")]
    Broken(#[source] io::Error),
    /// Whoever takes the output does not take it any more.
    #[error("nobody takes the output any more")]
    OutputClosed(#[source] io::Error),
    /// The session was closed by the caller before the command ended.
    #[error("the session was closed")]
    Closed,
}

impl From<Fault> for SessionError {
    fn from(fault: Fault) -> Self {
        Self::Refused(Box::new(fault))
    }
}

/// Signals and sizes for a running session, from any thread.
#[derive(Debug, Clone)]
pub struct SessionControl {
    writer: Arc<SessionWriter>,
    // A handle of its own: closing must work while a write is stuck.
    connection: Arc<Stream>,
    closed: Arc<AtomicBool>,
    attached: Attached,
}

/// What a session carries, as far as signals to the caller are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attached {
    /// A command, which is sent the signals that its caller gets.
    Command,
    /// A terminal: whoever ends its caller ends the session, and Ctrl-C is a byte.
    Terminal,
    /// The serial console, or files: the same, and no signal is understood there.
    Bytes,
}

impl SessionControl {
    /// Sends a signal to the command's process group. It waits behind a piece of input that is being sent,
    /// and so for a guest that takes nothing: then only [`SessionControl::close`] helps.
    pub fn signal(&self, name: SignalName) {
        self.send(&SessionInput::Signal { name });
    }

    /// Tells the size of the caller's terminal.
    pub fn resize(&self, rows: u16, cols: u16) {
        self.send(&SessionInput::Resize { rows, cols });
    }

    /// Ends the session: the guest hangs up on the command and kills it 2 s later.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        // Nothing is left to end when the other side was first.
        let _ = self.connection.shut_down();
    }

    /// Whether a signal that ends the caller ends the session too.
    pub(crate) fn is_terminal(&self) -> bool {
        self.attached != Attached::Command
    }

    /// Whether no signal means anything at the other end.
    pub(crate) fn carries_no_command(&self) -> bool {
        self.attached == Attached::Bytes
    }

    /// For a connection that carries no command: closing is all that can be done to it.
    pub(crate) fn of_bytes(stream: &Stream) -> io::Result<Self> {
        Ok(Self {
            writer: Arc::new(SessionWriter::new(stream.try_clone()?)),
            connection: Arc::new(stream.try_clone()?),
            closed: Arc::default(),
            attached: Attached::Bytes,
        })
    }

    /// Whether the caller has closed it.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn send(&self, input: &SessionInput) {
        if self.attached == Attached::Bytes {
            return;
        }
        self.writer.send_soon(Frame::control(input));
    }
}

/// A session that the guest has accepted.
pub(crate) struct GuestSession {
    reader: BufReader<Stream>,
    control: SessionControl,
    window: Arc<StdinWindow>,
    number: Option<u64>,
}

impl GuestSession {
    /// Opens a session through the monitor's socket.
    pub(crate) fn open(socket: &Path, request: &MonitorRequest) -> Result<Self, SessionError> {
        Self::begin(dial(socket)?, request)
    }

    /// Over a connection to a monitor.
    pub(crate) fn begin(stream: Stream, request: &MonitorRequest) -> Result<Self, SessionError> {
        let connection = Arc::new(stream.try_clone().map_err(SessionError::Broken)?);
        let writer = stream.try_clone().map_err(SessionError::Broken)?;
        let (reader, answer, accepted) = handshake(stream, request)?;
        connection
            .set_read_limit(None)
            .map_err(SessionError::Broken)?;
        let control = SessionControl {
            writer: Arc::new(SessionWriter::new(writer)),
            connection,
            closed: Arc::default(),
            attached: Attached::Command,
        };
        Ok(Self {
            reader,
            control,
            window: Arc::new(StdinWindow::new(accepted.stdin_window_bytes)),
            number: answer.number,
        })
    }

    /// Says that a terminal of the caller is attached.
    pub(crate) fn is_a_terminal(&mut self) {
        self.control.attached = Attached::Terminal;
    }

    pub(crate) fn control(&self) -> SessionControl {
        self.control.clone()
    }

    /// Feeds stdin from a thread of its own until it ends; the end of the session ends the thread at
    /// its next byte.
    pub(crate) fn feed(&self, mut stdin: Box<dyn Read + Send>) {
        let writer = Arc::clone(&self.control.writer);
        let window = Arc::clone(&self.window);
        std::thread::spawn(move || {
            let mut buffer = vec![0; RAW_BYTES_MAX];
            loop {
                let count = match stdin.read(&mut buffer) {
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    // An input that cannot be read is at its end.
                    Err(_) => 0,
                };
                if !window.admit(count as u64) {
                    return;
                }
                let frame = Frame::new(FrameKind::Stdin, buffer[..count].to_vec());
                if writer.send(&frame).is_err() || count == 0 {
                    return;
                }
            }
        });
    }

    /// Hands out output until the command has ended. `at_exit` is called with the session's number
    /// when it has, while the connection still stands.
    pub(crate) fn run(
        mut self,
        sink: &mut dyn SessionSink,
        at_exit: impl FnOnce(Option<u64>),
    ) -> Result<SessionExit, SessionError> {
        let result = self.relay(sink);
        self.window.end();
        if result.is_err() && self.control.closed.load(Ordering::SeqCst) {
            return Err(SessionError::Closed);
        }
        if result.is_ok() {
            at_exit(self.number);
        }
        // The guest has nothing more to say; a feeder that writes learns it here.
        let _ = self.control.connection.shut_down();
        result
    }

    fn relay(&mut self, sink: &mut dyn SessionSink) -> Result<SessionExit, SessionError> {
        loop {
            let frame = read_frame(&mut self.reader, Sender::Guest)
                .map_err(SessionError::Broken)?
                .ok_or_else(|| SessionError::Broken(io::ErrorKind::UnexpectedEof.into()))?;
            match frame.kind {
                FrameKind::Stdout => {
                    sink.stdout(&frame.payload)
                        .map_err(SessionError::OutputClosed)?;
                }
                FrameKind::Stderr => {
                    sink.stderr(&frame.payload)
                        .map_err(SessionError::OutputClosed)?;
                }
                FrameKind::Control => match said(&frame.payload)? {
                    Said::Exit(exit) => return Ok(exit),
                    Said::StdinTaken(bytes) => self.window.taken(bytes),
                    Said::Nothing => {}
                },
                kind => {
                    let message =
                        format!("the guest sent a {kind:?} frame in a session of a command");
                    return Err(SessionError::Broken(io::Error::new(
                        io::ErrorKind::InvalidData,
                        message,
                    )));
                }
            }
        }
    }
}

pub(crate) fn read_answer(reader: &mut BufReader<Stream>) -> Result<MonitorAnswer, SessionError> {
    let mut line = Vec::new();
    reader
        .by_ref()
        .take(MONITOR_LINE_BYTES_MAX as u64)
        .read_until(b'\n', &mut line)
        .map_err(SessionError::Broken)?;
    if !line.ends_with(b"\n") {
        return Err(SessionError::Broken(io::ErrorKind::UnexpectedEof.into()));
    }
    MonitorAnswer::parse(&line)
        .map_err(|error| SessionError::Broken(io::Error::new(io::ErrorKind::InvalidData, error)))
}

/// One request line, the monitor's answer and the guest's.
pub(crate) fn handshake(
    mut stream: Stream,
    request: &MonitorRequest,
) -> Result<(BufReader<Stream>, MonitorAnswer, ServiceAnswer), SessionError> {
    stream
        .set_read_limit(Some(OPEN_LIMIT))
        .map_err(SessionError::Broken)?;
    stream
        .write_all(request.to_line().as_bytes())
        .map_err(SessionError::Broken)?;
    let mut reader = BufReader::with_capacity(READ_BUFFER_BYTES, stream);
    let answer = read_answer(&mut reader)?;
    if let Some(fault) = answer.error {
        return Err(SessionError::Refused(fault));
    }
    let accepted = read_frame(&mut reader, Sender::Guest).map_err(SessionError::Broken)?;
    let accepted = accept(accepted, request, answer.generation)?;
    Ok((reader, answer, accepted))
}

/// Connects the monitor's socket.
pub(crate) fn dial(socket: &Path) -> Result<Stream, SessionError> {
    local_socket::connect(socket, CONNECT_LIMIT).map_err(SessionError::NoMonitor)
}

fn accept(
    frame: Option<Frame>,
    request: &MonitorRequest,
    generation: Option<u32>,
) -> Result<ServiceAnswer, SessionError> {
    let frame = frame.ok_or_else(|| SessionError::Broken(io::ErrorKind::UnexpectedEof.into()))?;
    let answer: ServiceAnswer = serde_json::from_slice(&frame.payload)
        .map_err(|error| SessionError::Broken(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    if answer.ok {
        return Ok(answer);
    }
    let kind = answer.kind.unwrap_or(FaultKind::Guest);
    let message = answer
        .message
        .unwrap_or_else(|| "the guest refused the session".to_owned());
    let fault = Fault::new(kind, message);
    // The one thing that a guest may refuse so is a service that came after its release.
    if kind == FaultKind::Unsupported
        && let Some(service) = service_of(request)
    {
        return Err(fault
            .with_hint("halt and start the workspace: it boots the current guest init then")
            .with_details(|details| {
                details.guest_generation = generation;
                details.service = Some(service);
            })
            .into());
    }
    Err(fault.into())
}

/// The word of the service that a session is for.
fn service_of(request: &MonitorRequest) -> Option<String> {
    let MonitorOp::Session { request, .. } = &request.op else {
        return None;
    };
    request.get("service")?.as_str().map(str::to_owned)
}

/// What a guest says between its output.
enum Said {
    /// The command has ended.
    Exit(SessionExit),
    /// So much of its stdin has been taken since the session began.
    StdinTaken(u64),
    /// Nothing that matters here, or something that a newer guest adds.
    Nothing,
}

fn said(payload: &[u8]) -> Result<Said, SessionError> {
    let message = parse::<SessionOutput>(payload)
        .map_err(|error| SessionError::Broken(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    match message {
        Parsed::Known(SessionOutput::Exit(exit)) => Ok(Said::Exit(exit)),
        Parsed::Known(SessionOutput::StdinTaken { bytes }) => Ok(Said::StdinTaken(bytes)),
        Parsed::Known(SessionOutput::Failed { kind, message, .. }) => {
            Err(Fault::new(kind, message).into())
        }
        Parsed::Known(_) | Parsed::Unknown(_) => Ok(Said::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use super::{GuestSession, SessionError, SessionSink};
    use crate::interrupt::Interrupt;
    use microagent_os::local_socket::{Stream, pair};
    use microagent_types::SignalName;
    use microagent_wire::frame::{Frame, FrameKind, Sender, read_frame, write_frame};
    use microagent_wire::guest::service::{
        Service, ServiceAnswer, ServiceRequest, SessionExit, SessionInput, SessionOutput,
    };
    use microagent_wire::guest::{Parsed, parse};
    use microagent_wire::monitor::request::{MonitorOp, MonitorRequest};
    use microagent_wire::monitor::response::MonitorAnswer;
    use std::io::{self, Read as _, Write as _};

    #[derive(Default)]
    struct Collected {
        stdout: Vec<u8>,
        stderr: Vec<u8>,
        broken: bool,
    }

    impl SessionSink for Collected {
        fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
            if self.broken {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.stdout.extend_from_slice(bytes);
            Ok(())
        }
        fn stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.stderr.extend_from_slice(bytes);
            Ok(())
        }
    }

    /// A monitor and guest that accept one session and then do as they are told.
    fn session(peer: impl FnOnce(Stream) + Send + 'static) -> Result<GuestSession, SessionError> {
        let (ours, mut theirs) = pair().unwrap();
        std::thread::spawn(move || {
            let mut byte = [0];
            while theirs.read_exact(&mut byte).is_ok() && byte != *b"\n" {}
            theirs
                .write_all(MonitorAnswer::success().to_line().as_bytes())
                .unwrap();
            peer(theirs);
        });
        let ping = ServiceRequest {
            generation: 1,
            service: Service::Ping { nonce: "1".into() },
        };
        GuestSession::begin(ours, &MonitorRequest::new(MonitorOp::session(&ping, false)))
    }

    fn accept(stream: &mut Stream) {
        write_frame(stream, &Frame::control(&ServiceAnswer::accepted())).unwrap();
    }

    fn exit(code: i32) -> Frame {
        let exit = SessionExit {
            code: Some(code),
            ..SessionExit::default()
        };
        Frame::control(&SessionOutput::Exit(exit))
    }

    #[test]
    fn both_outputs_come_apart_and_the_exit_comes_last() {
        let session = session(|mut guest| {
            accept(&mut guest);
            write_frame(&mut guest, &Frame::new(FrameKind::Stdout, b"out".to_vec())).unwrap();
            write_frame(&mut guest, &Frame::new(FrameKind::Stderr, b"err".to_vec())).unwrap();
            write_frame(&mut guest, &exit(3)).unwrap();
        });
        let mut collected = Collected::default();
        let exit = session.unwrap().run(&mut collected, |_| ()).unwrap();
        assert_eq!(exit.code, Some(3));
        assert_eq!(
            (&collected.stdout[..], &collected.stderr[..]),
            (&b"out"[..], &b"err"[..])
        );
    }

    #[test]
    fn stdin_arrives_in_order_and_ends_with_an_empty_frame() {
        let session = session(|mut guest| {
            accept(&mut guest);
            let mut received = Vec::new();
            while let Some(frame) = read_frame(&mut guest, Sender::Host).unwrap() {
                if frame.payload.is_empty() {
                    break;
                }
                received.extend(frame.payload);
            }
            write_frame(&mut guest, &Frame::new(FrameKind::Stdout, received)).unwrap();
            write_frame(&mut guest, &exit(0)).unwrap();
        })
        .unwrap();
        session.feed(Box::new(&b"hello"[..]));
        let mut collected = Collected::default();
        session.run(&mut collected, |_| ()).unwrap();
        assert_eq!(collected.stdout, b"hello");
    }

    #[test]
    fn a_refusal_of_the_guest_keeps_its_kind() {
        let refused = session(|mut guest| {
            let answer = ServiceAnswer::refused(
                microagent_wire::fault::FaultKind::NotFound,
                "no such user",
                None,
            );
            write_frame(&mut guest, &Frame::control(&answer)).unwrap();
        });
        let Err(SessionError::Refused(fault)) = refused else {
            panic!("accepted")
        };
        assert_eq!(fault.message, "no such user");
    }

    #[test]
    fn a_guest_that_vanishes_is_no_result() {
        let broken = session(|mut guest| accept(&mut guest)).unwrap();
        let result = broken.run(&mut Collected::default(), |_| ());
        assert!(matches!(result, Err(SessionError::Broken(_))));
    }

    #[test]
    fn a_reader_that_is_gone_ends_the_session() {
        let session = session(|mut guest| {
            accept(&mut guest);
            write_frame(&mut guest, &Frame::new(FrameKind::Stdout, b"x".to_vec())).unwrap();
            // Until the host hangs up.
            assert_eq!(read_frame(&mut guest, Sender::Host).unwrap(), None);
        });
        let mut sink = Collected {
            broken: true,
            ..Collected::default()
        };
        assert!(matches!(
            session.unwrap().run(&mut sink, |_| ()),
            Err(SessionError::OutputClosed(_))
        ));
    }

    #[test]
    fn a_signal_that_comes_while_a_session_is_opened_reaches_the_command() {
        let interrupt = Interrupt::new();
        interrupt.notify(SignalName::INT);
        let session = session(|mut guest| {
            accept(&mut guest);
            let frame = read_frame(&mut guest, Sender::Host).unwrap().unwrap();
            assert_eq!(
                parse::<SessionInput>(&frame.payload).unwrap(),
                Parsed::Known(SessionInput::Signal {
                    name: SignalName::INT
                })
            );
            write_frame(&mut guest, &exit(130)).unwrap();
        })
        .unwrap();
        interrupt.session_runs(session.control());
        let exit = session.run(&mut Collected::default(), |_| ()).unwrap();
        assert_eq!((exit.code, interrupt.requested()), (Some(130), None));
    }

    #[test]
    fn closing_ends_a_session_whose_command_goes_on() {
        let session = session(|mut guest| {
            accept(&mut guest);
            let _ = read_frame(&mut guest, Sender::Host);
        })
        .unwrap();
        session.control().close();
        assert!(matches!(
            session.run(&mut Collected::default(), |_| ()),
            Err(SessionError::Closed)
        ));
    }
}
