//! One request line to a monitor and its answer lines. The monitor is ours but may hang, so every read
//! has a limit and every line a bound.

use microagent_os::clock::Deadline;
use microagent_os::local_socket::{self, AliasError, SocketError, Stream};
use microagent_state::paths::WorkspacePaths;
use microagent_types::env_vars::EnvVar;
use microagent_wire::frame::{Sender, read_frame};
use microagent_wire::limits::MONITOR_LINE_BYTES_MAX;
use microagent_wire::monitor::request::MonitorRequest;
use microagent_wire::monitor::response::MonitorAnswer;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
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
    /// The beginning of a line whose rest has not arrived.
    partial: Vec<u8>,
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
            partial: Vec::new(),
        })
    }

    /// The next line, without its LF; none when the monitor has closed. Without a limit it waits as
    /// long as the monitor lives. What had arrived of a line when the limit ran out is kept.
    pub(crate) fn line(&mut self, limit: Option<Duration>) -> io::Result<Option<Vec<u8>>> {
        self.reader.get_ref().set_read_limit(limit)?;
        let room = MONITOR_LINE_BYTES_MAX.saturating_sub(self.partial.len());
        self.reader
            .by_ref()
            .take(room as u64)
            .read_until(b'\n', &mut self.partial)?;
        let mut line = std::mem::take(&mut self.partial);
        match line.pop() {
            None => Ok(None),
            Some(b'\n') => Ok(Some(line)),
            Some(_) => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// The payload of the next frame of a session.
    pub(crate) fn frame(&mut self, limit: Duration) -> io::Result<Vec<u8>> {
        self.reader.get_ref().set_read_limit(Some(limit))?;
        let frame = read_frame(&mut self.reader, Sender::Guest)?;
        frame
            .map(|frame| frame.payload)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
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

/// Whether a read ended because its limit ran out.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// Where the monitor of a workspace listens, by a path that fits into a socket address.
pub(crate) fn monitor_socket(paths: &WorkspacePaths) -> Result<PathBuf, AliasError> {
    let runtime_folder = EnvVar::XdgRuntimeDir.read().map(PathBuf::from);
    Ok(paths
        .ensure_socket_folder(runtime_folder.as_deref())?
        .monitor_socket())
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

#[cfg(test)]
mod tests {
    use super::{MonitorTalk, is_timeout};
    use microagent_os::local_socket::pair;
    use std::io::{BufReader, Write as _};
    use std::time::Duration;

    #[test]
    fn a_limit_that_runs_out_within_a_line_loses_nothing() {
        let (ours, mut theirs) = pair().unwrap();
        let mut talk = MonitorTalk {
            reader: BufReader::new(ours),
            partial: Vec::new(),
        };
        theirs.write_all(b"{\"ok\":").unwrap();
        let error = talk.line(Some(Duration::from_millis(20))).unwrap_err();
        assert!(is_timeout(&error), "{error}");
        theirs.write_all(b"true}\n").unwrap();
        assert_eq!(talk.line(None).unwrap().unwrap(), b"{\"ok\":true}");
        drop(theirs);
        assert_eq!(talk.line(None).unwrap(), None);
    }
}
