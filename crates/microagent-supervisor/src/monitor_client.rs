//! A supervisor's side of `run/monitor.sock`: one request line, then answer lines, each with a limit.

use crate::interrupts::{Interrupts, Woken};
use microagent_os::clock::Deadline;
use microagent_os::local_socket::{self, SocketError, Stream};
use microagent_os::process::Signal;
use microagent_wire::limits::MONITOR_LINE_BYTES_MAX;
use microagent_wire::monitor::request::MonitorRequest;
use microagent_wire::monitor::response::MonitorAnswer;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

/// Until the monitor takes a connection and the request line.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const READ_BYTES: usize = 16 * 1024;

/// Why a monitor's answer is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MonitorError {
    /// Nobody serves the socket.
    #[error("the monitor does not accept connections")]
    Connect(#[from] SocketError),
    /// The time ran out.
    #[error("the monitor did not answer within {} ms", limit.as_millis())]
    Silent {
        /// How long was waited.
        limit: Duration,
    },
    /// It closed the connection first.
    #[error("the monitor closed the connection")]
    Closed,
    /// The calls themselves failed.
    #[error("cannot speak with the monitor")]
    Io(#[source] io::Error),
    /// The line is no answer.
    #[error("the monitor's answer cannot be read")]
    Malformed(#[source] serde_json::Error),
    /// A signal ended the wait.
    #[error("a signal ended the wait")]
    Interrupted(Signal),
}

/// A monitor that has a request of ours.
#[derive(Debug)]
pub(crate) struct MonitorClient {
    stream: Stream,
    received: Vec<u8>,
}

impl MonitorClient {
    /// Connects and sends the request.
    pub(crate) fn ask(socket: &Path, request: &MonitorRequest) -> Result<Self, MonitorError> {
        Self::ask_within(socket, request, CONNECT_LIMIT)
    }

    /// As [`MonitorClient::ask`] with a limit of its own.
    pub(crate) fn ask_within(
        socket: &Path,
        request: &MonitorRequest,
        limit: Duration,
    ) -> Result<Self, MonitorError> {
        let mut stream = local_socket::connect(socket, limit)?;
        stream
            .set_write_limit(Some(limit))
            .map_err(MonitorError::Io)?;
        stream
            .write_all(request.to_line().as_bytes())
            .map_err(MonitorError::Io)?;
        Ok(Self {
            stream,
            received: Vec::new(),
        })
    }

    /// The connection, for what follows the answer, and what of that has come already.
    pub(crate) fn into_stream(self) -> (Stream, Vec<u8>) {
        (self.stream, self.received)
    }

    /// The next answer line.
    pub(crate) fn answer(
        &mut self,
        limit: Duration,
        mut interrupts: Option<&mut Interrupts>,
    ) -> Result<MonitorAnswer, MonitorError> {
        let deadline = Deadline::after(limit);
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                return MonitorAnswer::parse(&line).map_err(MonitorError::Malformed);
            }
            if self.received.len() > MONITOR_LINE_BYTES_MAX {
                return Err(MonitorError::Closed);
            }
            let woken = match interrupts.as_deref_mut() {
                Some(interrupts) => interrupts.wait(self.stream.descriptor(), deadline),
                None => Interrupts::wait_regardless(self.stream.descriptor(), deadline.remaining()),
            };
            match woken.map_err(MonitorError::Io)? {
                Woken::Readable => {}
                Woken::TimedOut => return Err(MonitorError::Silent { limit }),
                Woken::Interrupted(signal) => return Err(MonitorError::Interrupted(signal)),
            }
            let mut buffer = [0; READ_BYTES];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(MonitorError::Closed),
                Ok(read) => self.received.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(MonitorError::Io(error)),
            }
        }
    }
}
