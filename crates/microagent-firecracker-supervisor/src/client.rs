//! Firecracker's API: one connection over its Unix socket, one call at a time.
//!
//! What answers may be a broken VMM, so an answer has a limit in size and time, and nothing in it is
//! believed beyond "done", "refused, in these words" and the version.

use std::future::poll_fn;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use microagent_os::host_pace;
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use crate::api::{Fault, VersionAnswer};
use crate::config::{Call, START_PATH};
use crate::version::{FirecrackerVersion, NoVersion};

/// Until the socket is there and takes a connection.
pub const SOCKET_LIMIT: Duration = Duration::from_secs(5);
/// Until a call is answered.
pub const CALL_LIMIT: Duration = Duration::from_secs(2);
/// The start of the guest: Firecracker answers when the whole machine is made, its kernel in its memory, which on
/// a busy host takes its time.
pub const START_LIMIT: Duration = Duration::from_secs(10);
/// Bytes of the longest answer that is taken.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Between two tries of the socket.
const SOCKET_PAUSE: Duration = Duration::from_millis(1);
/// Bytes of a refusal's text that are passed on.
const FAULT_BYTES_MAX: usize = 1024;

/// Why Firecracker did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Its socket took no connection.
    #[error(
        "Firecracker did not listen on `{}` within {} ms",
        socket.display(),
        host_pace::limit(SOCKET_LIMIT).as_millis()
    )]
    NoSocket {
        /// The socket.
        socket: PathBuf,
        /// The last reason.
        #[source]
        source: io::Error,
    },
    /// It said no.
    #[error("Firecracker refused `{method} {path}`: {text}")]
    Refused {
        /// What it was asked.
        method: &'static str,
        /// Of what.
        path: String,
        /// Its words.
        text: String,
    },
    /// It did not answer.
    #[error("Firecracker did not answer `{method} {path}` within {} ms", limit_of(path).as_millis())]
    Silent {
        /// What it was asked.
        method: &'static str,
        /// Of what.
        path: String,
    },
    /// The connection is gone or carries something that is no HTTP.
    #[error("the API connection to Firecracker broke at `{method} {path}`")]
    Broken {
        /// What it was asked.
        method: &'static str,
        /// Of what.
        path: String,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// The answer is longer than any that it gives.
    #[error("Firecracker's answer to `{path}` is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong {
        /// Of what.
        path: String,
    },
    /// It answered the question for its version with something else.
    #[error(transparent)]
    NoVersion(#[from] NoVersion),
}

/// A connection that takes calls.
#[derive(Debug)]
pub struct ApiClient {
    sender: Mutex<SendRequest<String>>,
}

impl ApiClient {
    /// Connects as soon as the socket is there. Must be called inside a `LocalSet`, where the
    /// connection is served from then on.
    pub async fn connect(socket: PathBuf) -> Result<Self, ApiError> {
        let deadline = tokio::time::Instant::now() + host_pace::limit(SOCKET_LIMIT);
        let stream = loop {
            match UnixStream::connect(&socket).await {
                Ok(stream) => break stream,
                Err(source) if tokio::time::Instant::now() >= deadline => {
                    return Err(ApiError::NoSocket { socket, source });
                }
                Err(_) => tokio::time::sleep(SOCKET_PAUSE).await,
            }
        };
        let handshake = http1::Builder::new()
            .max_buf_size(ANSWER_BYTES_MAX)
            .handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(|source| ApiError::Broken {
            method: "CONNECT",
            path: socket.display().to_string(),
            source,
        })?;
        tokio::task::spawn_local(async move {
            // Whoever calls is told; a VM's end ends it too.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the API connection ended");
            }
        });
        Ok(Self {
            sender: Mutex::new(sender),
        })
    }

    /// Asks for the version.
    pub async fn version(&self) -> Result<FirecrackerVersion, ApiError> {
        let answer = self.call(&Call::version()).await?;
        let answer: VersionAnswer = serde_json::from_slice(&answer).map_err(|_| NoVersion)?;
        Ok(answer.firecracker_version.parse()?)
    }

    /// Makes a call; gives the answer's document.
    pub async fn call(&self, call: &Call) -> Result<Vec<u8>, ApiError> {
        let exchange = tokio::time::timeout(limit_of(&call.path), self.exchange(call));
        let (status, answer) = exchange.await.map_err(|_| ApiError::Silent {
            method: call.method,
            path: call.path.clone(),
        })??;
        if status.is_success() {
            return Ok(answer);
        }
        Err(ApiError::Refused {
            method: call.method,
            path: call.path.clone(),
            text: fault_text(status, &answer),
        })
    }

    async fn exchange(&self, call: &Call) -> Result<(StatusCode, Vec<u8>), ApiError> {
        let broken = |source| ApiError::Broken {
            method: call.method,
            path: call.path.clone(),
            source,
        };
        let request = Request::builder()
            .method(call.method)
            .uri(&call.path)
            .header("Host", "localhost")
            .header("Accept", "application/json")
            .header("Content-Type", "application/json")
            .body(call.body.clone())
            .expect("method, path and headers are plain words");
        let mut sender = self.sender.lock().await;
        sender.ready().await.map_err(broken)?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        match read(response.into_body()).await {
            Ok(Some(answer)) => Ok((status, answer)),
            Ok(None) => Err(ApiError::TooLong {
                path: call.path.clone(),
            }),
            Err(source) => Err(broken(source)),
        }
    }
}

/// The whole answer; none when it is too long.
async fn read(body: Incoming) -> Result<Option<Vec<u8>>, hyper::Error> {
    let mut body = pin!(body);
    let mut answer = Vec::new();
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        if answer.len() + data.len() > ANSWER_BYTES_MAX {
            return Ok(None);
        }
        answer.extend_from_slice(&data);
    }
    Ok(Some(answer))
}

fn fault_text(status: StatusCode, answer: &[u8]) -> String {
    let text = match serde_json::from_slice::<Fault>(answer) {
        Ok(fault) => fault.fault_message,
        Err(_) => format!("status {status}"),
    };
    let text: String = text
        .chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect();
    text[..text.floor_char_boundary(FAULT_BYTES_MAX)].to_owned()
}

/// How long an answer may take on this host.
fn limit_of(path: &str) -> Duration {
    host_pace::limit(if path == START_PATH {
        START_LIMIT
    } else {
        CALL_LIMIT
    })
}

#[cfg(test)]
mod tests;
