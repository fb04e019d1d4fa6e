//! The history as it grows, for clients of `monitor.sock`: what is stored already from its file, what comes
//! from the recorder.
//!
//! ```text
//! file, up to its end ──> lines as they are written ──> file again after a gap ──> …
//! ```
//!
//! A client that reads slowly loses nothing and holds nobody up: what it missed is in the file. It judges no
//! line and leaves out what is no event.

use microagent_os::local_socket::AsyncStream;
use microagent_state::event_log::{EventLog, ReadFrom};
use microagent_state::event_record::{Event, LINE_BYTES_MAX};
use microagent_wire::monitor::response::EventLine;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, WriteHalf};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::spawn_blocking;

/// Lines that are kept for clients that lag; the rest is in the file.
const LINES_MAX: usize = 64;
/// Lines that are read from the file at once, of `LINE_BYTES_MAX` each.
const PIECE_LINES_MAX: usize = 16;
const _: () = assert!(
    PIECE_LINES_MAX * LINE_BYTES_MAX <= 1 << 20,
    "a piece has a bound"
);

/// A line of the history and its number.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    seq: u64,
    line: Arc<[u8]>,
}

impl Written {
    pub(crate) fn new(event: &Event) -> Self {
        Self {
            seq: event.seq,
            line: event.to_line().into(),
        }
    }
}

/// Where lines are told when they are written; a clone tells the same clients.
pub(crate) fn teller() -> broadcast::Sender<Written> {
    broadcast::channel(LINES_MAX).0
}

/// An admitted reader of the history.
#[derive(Debug)]
pub(crate) struct HistoryGrant {
    /// What is stored.
    pub(crate) log: EventLog,
    /// What comes; taken before the file is read, so that no line falls between the two.
    pub(crate) written: broadcast::Receiver<Written>,
    /// The last number that the client has.
    pub(crate) after: u64,
}

/// Sends lines until the client is gone or nothing more will be written.
pub(super) async fn relay(stream: BufReader<AsyncStream>, grant: HistoryGrant) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let closed = async {
        let mut unread = [0; 64];
        while reader.read(&mut unread).await.is_ok_and(|count| count > 0) {}
    };
    tokio::select! {
        sent = send(&mut writer, grant) => {
            if let Err(error) = sent {
                tracing::debug!(%error, "a reader of the history is left");
            }
        }
        () = closed => {}
    }
}

type Client = WriteHalf<BufReader<AsyncStream>>;

async fn send(client: &mut Client, mut grant: HistoryGrant) -> io::Result<()> {
    loop {
        grant.after = send_stored(client, &grant.log, grant.after).await?;
        loop {
            match grant.written.recv().await {
                Ok(written) if written.seq <= grant.after => {}
                Ok(written) if written.seq == grant.after + 1 => {
                    send_line(client, &written.line).await?;
                    grant.after = written.seq;
                }
                // Something that others wrote, or that was missed, comes first.
                Ok(_) | Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }
}

/// Sends what the file has behind a number; gives the last one that it has.
async fn send_stored(client: &mut Client, log: &EventLog, after: u64) -> io::Result<u64> {
    let mut last = after;
    loop {
        let (log, from) = (log.clone(), last);
        let piece = spawn_blocking(move || stored(&log, from)).await;
        let piece = piece.map_err(io::Error::other)??;
        let Some(end) = piece.last() else {
            return Ok(last);
        };
        last = end.seq;
        for written in &piece {
            send_line(client, &written.line).await?;
        }
    }
}

fn stored(log: &EventLog, after: u64) -> io::Result<Vec<Written>> {
    let lines = log
        .lines(ReadFrom::After(after))
        .map_err(io::Error::other)?;
    let events = lines.filter_map(|line| match line {
        Ok(line) => {
            let event = Event::from_line(&line).ok()?;
            (event.seq > after).then(|| {
                Ok(Written {
                    seq: event.seq,
                    line: line.into(),
                })
            })
        }
        Err(error) => Some(Err(io::Error::other(error))),
    });
    events.take(PIECE_LINES_MAX).collect()
}

async fn send_line(client: &mut Client, line: &[u8]) -> io::Result<()> {
    let event = String::from_utf8_lossy(line);
    let line = EventLine {
        event: event.trim_end_matches('\n').to_owned(),
    };
    client.write_all(line.to_line().as_bytes()).await
}
