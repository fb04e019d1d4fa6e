//! `run/monitor.sock`: JSON lines from this user's other processes, one request a connection.
//!
//! ```text
//! connection ── line ──> Event::Asked ──> loop
//!            <── lines, frames or raw bytes ── Turn … ──┘
//! ```
//!
//! Each client has a task that reads the one line and then does what the loop tells it, turn by turn;
//! so a client that does not read delays itself only. Peers of another user are closed unheard.

use super::event::{Event, EventSender};
use super::history::{self, HistoryGrant};
use super::serial::INPUT_PIECES_MAX;
use super::sessions::{self, SessionGrant};
use microagent_os::local_socket::{AsyncListener, AsyncStream, Peer};
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::limits::MONITOR_LINE_BYTES_MAX;
use microagent_wire::monitor::request::{MonitorRequest, MonitorRequestError, SerialMode};
use microagent_wire::monitor::response::MonitorAnswer;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::spawn_local;
use tokio::time::timeout;

/// Clients at once; more are closed.
const CLIENTS_MAX: usize = 320;
/// Until a request line must be complete.
const LINE_LIMIT: Duration = Duration::from_secs(5);
/// Until a client must have taken an answer line.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Turns that wait for one client: an act has two lines.
const TURNS_MAX: usize = 4;
const TYPED_BYTES: usize = 4096;

/// A client whose request the loop has.
#[derive(Debug)]
pub(crate) struct Client {
    /// Who it is, as the kernel says.
    pub(crate) peer: Peer,
    turns: mpsc::Sender<Turn>,
}

/// What the loop has a client's task do next. The task ends when no more turns come.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Write a line.
    Answer(Box<MonitorAnswer>),
    /// Open a session and relay it; nothing follows.
    Session(SessionGrant),
    /// Relay the console; nothing follows.
    Serial(SerialGrant),
    /// Send the history; nothing follows.
    History(HistoryGrant),
}

/// An admitted attachment to the console.
#[derive(Debug)]
pub(crate) struct SerialGrant {
    /// Whether input is taken.
    pub(crate) mode: SerialMode,
    /// What the guest writes from now on.
    pub(crate) output: broadcast::Receiver<Rc<[u8]>>,
    /// Where input goes.
    pub(crate) input: mpsc::Sender<Vec<u8>>,
    /// True once the console is cut.
    pub(crate) severed: watch::Receiver<bool>,
}

impl Client {
    /// A client that hears nothing, for what the monitor does by itself.
    pub(crate) fn nobody() -> Self {
        let (turns, _) = mpsc::channel(1);
        let peer = Peer { uid: 0, pid: None };
        Self { peer, turns }
    }

    /// Has the client's task write a line. A client that is gone hears nothing.
    pub(crate) fn answer(&self, answer: MonitorAnswer) {
        // Full only for a client that reads nothing: it has its answers pending then.
        let _ = self.turns.try_send(Turn::Answer(Box::new(answer)));
    }

    /// Refuses.
    pub(crate) fn refuse(self, fault: Fault) {
        self.answer(MonitorAnswer::failure(fault));
    }

    /// Has the client's task go on with what was granted.
    pub(crate) fn grant(self, turn: Turn) {
        // As above.
        let _ = self.turns.try_send(turn);
    }
}

/// Serves the socket until the task is ended.
pub(crate) async fn serve(listener: AsyncListener, events: EventSender) {
    let open = Rc::new(Cell::new(0));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a client could not be accepted");
                // Out of descriptors: others must be closed before it makes sense to go on.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if !peer.is_own_user() || open.get() >= CLIENTS_MAX {
            tracing::warn!(uid = peer.uid, "a client was closed unheard");
            continue;
        }
        open.set(open.get() + 1);
        let (events, open) = (events.clone(), open.clone());
        spawn_local(async move {
            converse(BufReader::new(stream), peer, events).await;
            open.set(open.get() - 1);
        });
    }
}

/// Between two tries of accepting when the kernel refuses.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

async fn converse(mut stream: BufReader<AsyncStream>, peer: Peer, events: EventSender) {
    let request = match timeout(LINE_LIMIT, read_request(&mut stream)).await {
        Ok(Some(Ok(request))) => request,
        Ok(Some(Err(fault))) => {
            write_answer(&mut stream, &MonitorAnswer::failure(fault)).await;
            return;
        }
        Ok(None) | Err(_) => return,
    };
    let (sender, mut turns) = mpsc::channel(TURNS_MAX);
    let client = Client {
        peer,
        turns: sender,
    };
    events.send(Event::Asked { request, client }).await;
    while let Some(turn) = turns.recv().await {
        match turn {
            Turn::Answer(answer) => {
                if !write_answer(&mut stream, &answer).await {
                    return;
                }
            }
            Turn::Session(grant) => return sessions::run(stream, grant, events).await,
            Turn::Serial(grant) => return relay_serial(stream, grant).await,
            Turn::History(grant) => return history::relay(stream, grant).await,
        }
    }
}

async fn read_request(
    stream: &mut BufReader<AsyncStream>,
) -> Option<Result<MonitorRequest, Fault>> {
    let mut line = Vec::new();
    let limit = MONITOR_LINE_BYTES_MAX as u64 + 1;
    let read = (&mut *stream)
        .take(limit)
        .read_until(b'\n', &mut line)
        .await;
    if read.ok()? == 0 {
        return None;
    }
    if line.last() != Some(&b'\n') {
        return (line.len() as u64 == limit).then(|| {
            let fault = Fault::new(FaultKind::Usage, "the request line is longer than 4 MiB");
            Err(fault.with_details(|details| details.limit = Some(limit - 1)))
        });
    }
    Some(MonitorRequest::parse(&line).map_err(|error| match error {
        MonitorRequestError::UnknownOp(_) => {
            Fault::from_error(FaultKind::Unsupported, &error).with_cause(format!(
                "this monitor is of release {}",
                env!("CARGO_PKG_VERSION")
            ))
        }
        MonitorRequestError::Malformed(_) => Fault::from_error(FaultKind::Usage, &error),
    }))
}

/// Writes a line; false when the client takes none.
pub(crate) async fn write_answer(
    stream: &mut BufReader<AsyncStream>,
    answer: &MonitorAnswer,
) -> bool {
    let line = answer.to_line();
    matches!(
        timeout(ANSWER_LIMIT, stream.write_all(line.as_bytes())).await,
        Ok(Ok(()))
    )
}

async fn relay_serial(mut stream: BufReader<AsyncStream>, mut grant: SerialGrant) {
    if !write_answer(&mut stream, &MonitorAnswer::success()).await {
        return;
    }
    let (mut reader, mut writer) = tokio::io::split(stream);
    let show = async {
        loop {
            match grant.output.recv().await {
                Ok(piece) => {
                    if writer.write_all(&piece).await.is_err() {
                        return;
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    };
    let take = async {
        let mut buffer = vec![0; TYPED_BYTES];
        loop {
            match reader.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(read) if grant.mode == SerialMode::Attach => {
                    if grant.input.send(buffer[..read].to_vec()).await.is_err() {
                        return;
                    }
                }
                Ok(_) => {}
            }
        }
    };
    tokio::select! {
        () = show => {}
        () = take => {}
        _ = grant.severed.wait_for(|severed| *severed) => {}
    }
}

const _: () = assert!(INPUT_PIECES_MAX > 0, "input needs room for one piece");
