//! One request line to a monitor and its answer lines. The monitor is ours but may hang, so every read
//! has a limit and every line a bound.

use microagent_os::clock::Deadline;
use microagent_os::local_socket::{self, SocketError, Stream};
use microagent_wire::limits::MONITOR_LINE_BYTES_MAX;
use microagent_wire::monitor::request::MonitorRequest;
use microagent_wire::monitor::response::MonitorAnswer;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MonitorError {
    /// Nobody serves the socket.
    #[error(transparent)]
    Connect(#[from] SocketError),
    /// It did not answer in time, or the connection broke.
    #[error("the monitor did not answer")]
    Talk(#[source] io::Error),
    /// What it said is no answer.
    #[error("the monitor's answer cannot be read")]
    Malformed(#[source] serde_json::Error),
}

/// A monitor that has a request of ours.
#[derive(Debug)]
pub(crate) struct MonitorTalk {
    reader: BufReader<Stream>,
}

impl MonitorTalk {
    /// Sends a request.
    pub(crate) fn ask(
        socket: &Path,
        request: &MonitorRequest,
        limit: Duration,
    ) -> Result<Self, MonitorError> {
        let mut stream = local_socket::connect(socket, limit)?;
        stream
            .set_write_limit(Some(limit))
            .map_err(MonitorError::Talk)?;
        stream
            .write_all(request.to_line().as_bytes())
            .map_err(MonitorError::Talk)?;
        Ok(Self {
            reader: BufReader::new(stream),
        })
    }

    /// The next line, without its LF; none when the monitor has closed. Without a limit it waits as
    /// long as the monitor lives.
    pub(crate) fn line(&mut self, limit: Option<Duration>) -> io::Result<Option<Vec<u8>>> {
        self.reader.get_ref().set_read_limit(limit)?;
        let mut line = Vec::new();
        let read = self
            .reader
            .by_ref()
            .take(MONITOR_LINE_BYTES_MAX as u64)
            .read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        match line.pop() {
            Some(b'\n') => Ok(Some(line)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// The next answer.
    pub(crate) fn answer(
        &mut self,
        limit: Option<Duration>,
    ) -> Result<MonitorAnswer, MonitorError> {
        let line = self.line(limit).map_err(MonitorError::Talk)?;
        let line = line.ok_or_else(|| MonitorError::Talk(io::ErrorKind::UnexpectedEof.into()))?;
        MonitorAnswer::parse(&line).map_err(MonitorError::Malformed)
    }
}

/// One request and its one answer, in `limit` together.
pub(crate) fn ask_once(
    socket: &Path,
    request: &MonitorRequest,
    limit: Duration,
) -> Result<MonitorAnswer, MonitorError> {
    let deadline = Deadline::after(limit);
    let mut talk = MonitorTalk::ask(socket, request, limit)?;
    // A limit of zero would mean none at all.
    let rest = deadline.remaining().max(Duration::from_millis(1));
    talk.answer(Some(rest))
}
