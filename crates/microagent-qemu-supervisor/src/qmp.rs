//! QEMU's control protocol: one command at a time out, answers and events in.
//!
//! QEMU is confined because it may be broken into, so what it says here is hostile: a line has a
//! limit, an answer has a deadline, an event changes nothing and is only logged. The connection is
//! always read, whether somebody waits or not.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use microagent_os::host_pace;
use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, oneshot};

use crate::api::{Command, Line};

/// Bytes of the longest line that is taken.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// Until QEMU has said who it is and takes commands.
pub const GREETING_LIMIT: Duration = Duration::from_secs(5);
/// Until a command is answered.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// What the guest's network device is called.
pub const NETWORK_DEVICE_ID: &str = "net0";
/// Bytes of an event or an error text that reach the log.
const LOGGED_BYTES_MAX: usize = 512;

/// QEMU's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct QemuVersion {
    /// Changes every spring.
    pub major: u32,
    /// Changes with each release.
    pub minor: u32,
    /// Changes with each correction.
    pub micro: u32,
}

impl fmt::Display for QemuVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// A version that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no version of QEMU")]
pub struct InvalidVersion;

impl FromStr for QemuVersion {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let mut numbers = text
            .split('.')
            .map(|number| number.parse::<u32>().map_err(|_| InvalidVersion));
        let mut next = || numbers.next().ok_or(InvalidVersion)?;
        Ok(Self {
            major: next()?,
            minor: next()?,
            micro: next()?,
        })
    }
}

/// Why QEMU did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// It said no.
    #[error("QEMU refused `{command}`: {class}: {text}")]
    Refused {
        /// What it was asked.
        command: &'static str,
        /// Its word for the kind of failure.
        class: String,
        /// Its words.
        text: String,
    },
    /// It did not answer.
    #[error("QEMU did not answer `{command}` within {} ms", limit.as_millis())]
    Silent {
        /// What it was asked.
        command: &'static str,
        /// How long was waited.
        limit: Duration,
    },
    /// The connection is gone.
    #[error("the control connection to QEMU has ended")]
    Gone,
    /// The connection broke.
    #[error("the control connection to QEMU broke")]
    Broken(#[source] io::Error),
    /// It said something that is not of the protocol.
    #[error("QEMU said something that is not of its protocol")]
    Strange(#[source] LineError),
    /// The first line is not a greeting.
    #[error("QEMU did not greet")]
    NoGreeting,
}

/// A line that can't be taken.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Too long.
    #[error("a line is longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
    /// Not the expected JSON.
    #[error("a line can't be read")]
    Unreadable(#[source] serde_json::Error),
}

/// A control connection that takes commands.
#[derive(Debug)]
pub struct Qmp {
    writer: Mutex<OwnedWriteHalf>,
    waiting: Waiting,
    next_id: Cell<u64>,
}

type Answer = Result<Value, (String, String)>;
/// Who waits for which answer; `None` once the connection has ended.
type Waiting = Rc<RefCell<Option<HashMap<u64, oneshot::Sender<Answer>>>>>;

impl Qmp {
    /// Takes the greeting and begins. Must be called inside a `LocalSet`, where the connection is
    /// read from then on.
    pub async fn begin(stream: UnixStream) -> Result<(Self, QemuVersion), QmpError> {
        let (reader, writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        let greeting =
            tokio::time::timeout(host_pace::limit(GREETING_LIMIT), next_line(&mut reader));
        let line = greeting.await.map_err(|_| QmpError::Silent {
            command: "the greeting",
            limit: host_pace::limit(GREETING_LIMIT),
        })??;
        let version = line.greeting.ok_or(QmpError::NoGreeting)?.version.qemu;
        let version = QemuVersion {
            major: version.major,
            minor: version.minor,
            micro: version.micro,
        };
        let waiting: Waiting = Rc::new(RefCell::new(Some(HashMap::new())));
        tokio::task::spawn_local(read_on(reader, waiting.clone()));
        let qmp = Self {
            writer: Mutex::new(writer),
            waiting,
            next_id: Cell::new(1),
        };
        qmp.execute("qmp_capabilities", None).await?;
        Ok((qmp, version))
    }

    /// Lets the vCPUs run.
    pub async fn cont(&self) -> Result<(), QmpError> {
        self.execute("cont", None).await.map(drop)
    }

    /// Stops the vCPUs.
    pub async fn stop(&self) -> Result<(), QmpError> {
        self.execute("stop", None).await.map(drop)
    }

    /// Takes the guest's network link away.
    pub async fn set_link_down(&self) -> Result<(), QmpError> {
        let arguments = json!({"name": NETWORK_DEVICE_ID, "up": false});
        self.execute("set_link", Some(arguments)).await.map(drop)
    }

    /// Ends QEMU in order.
    pub async fn quit(&self) -> Result<(), QmpError> {
        self.execute("quit", None).await.map(drop)
    }

    async fn execute(
        &self,
        command: &'static str,
        arguments: Option<Value>,
    ) -> Result<Value, QmpError> {
        let id = self.next_id.replace(self.next_id.get() + 1);
        let (sender, answer) = oneshot::channel();
        match self.waiting.borrow_mut().as_mut() {
            Some(waiting) => waiting.insert(id, sender),
            None => return Err(QmpError::Gone),
        };
        let exchange = async {
            self.send(&Command {
                execute: command,
                arguments,
                id,
            })
            .await?;
            answer.await.map_err(|_| QmpError::Gone)
        };
        let answer = tokio::time::timeout(host_pace::limit(ANSWER_LIMIT), exchange).await;
        if let Some(waiting) = self.waiting.borrow_mut().as_mut() {
            waiting.remove(&id);
        }
        match answer {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err((class, text)))) => Err(QmpError::Refused {
                command,
                class,
                text,
            }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(QmpError::Silent {
                command,
                limit: host_pace::limit(ANSWER_LIMIT),
            }),
        }
    }

    async fn send(&self, command: &Command<'_>) -> Result<(), QmpError> {
        let mut bytes = serde_json::to_vec(command).expect("a command is plain JSON");
        bytes.push(b'\n');
        let mut writer = self.writer.lock().await;
        writer.write_all(&bytes).await.map_err(QmpError::Broken)
    }
}

async fn read_on(mut reader: BufReader<OwnedReadHalf>, waiting: Waiting) {
    loop {
        match next_line(&mut reader).await {
            Ok(line) => take(line, &waiting),
            Err(QmpError::Gone) => break,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "control ends");
                break;
            }
        }
    }
    // Whoever waits is told by the loss of the sender.
    *waiting.borrow_mut() = None;
}

fn take(line: Line, waiting: &Waiting) {
    if let Some(event) = &line.event {
        let details = line.data.as_ref().map(Value::to_string);
        tracing::info!(
            event = cut(event),
            details = details.as_deref().map(cut),
            "qemu"
        );
        return;
    }
    let sender = match (line.id, waiting.borrow_mut().as_mut()) {
        (Some(id), Some(waiting)) => waiting.remove(&id),
        _ => None,
    };
    let answer = match (line.success, line.error) {
        (_, Some(failure)) => Err((
            cut(&failure.class).to_owned(),
            cut(&failure.desc).to_owned(),
        )),
        (value, None) => Ok(value.unwrap_or(Value::Null)),
    };
    match sender {
        // A caller that gave up is no error.
        Some(sender) => drop(sender.send(answer)),
        None => tracing::warn!("QEMU answered what nobody asked"),
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LOGGED_BYTES_MAX)]
}

async fn next_line(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<Line, QmpError> {
    let mut line = Vec::new();
    loop {
        let chunk = reader.fill_buf().await.map_err(|error| {
            if error.kind() == io::ErrorKind::ConnectionReset {
                QmpError::Gone
            } else {
                QmpError::Broken(error)
            }
        })?;
        if chunk.is_empty() {
            return Err(QmpError::Gone);
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(chunk.len(), |end| end + 1);
        if line.len() + taken > LINE_BYTES_MAX {
            return Err(QmpError::Strange(LineError::TooLong));
        }
        line.extend_from_slice(&chunk[..taken]);
        reader.consume(taken);
        if end.is_some() {
            return parse(&line).map_err(QmpError::Strange);
        }
    }
}

fn parse(line: &[u8]) -> Result<Line, LineError> {
    serde_json::from_slice(line).map_err(LineError::Unreadable)
}

#[cfg(test)]
mod tests;
