//! The first serial port: a pipe that we listen on and the system's worker process connects to.
//!
//! The guest's output begins whenever the worker has connected, and ends with it. Until then, and if it
//! never does, the monitor reads nothing; nothing here is decided.

use std::path::PathBuf;
use std::rc::Rc;

use microagent_os::local_socket::{self, AsyncListener, SocketError};
use microagent_supervisor::backend::{Console, LaunchSpec};
use tokio::io::DuplexStream;
use tokio::sync::Notify;

/// Bytes between the pipe and the monitor, each way.
const BUFFER_BYTES: usize = 64 * 1024;
/// Its name in the folder of sockets; a pipe has what stands before the dot as its ending.
const NAME: &str = "com1.sock";

/// Where the pipe is listened on: a path, or the prefix of a pipe's name.
fn path(spec: &LaunchSpec) -> PathBuf {
    spec.run.socket_prefix.as_path().join(NAME)
}

/// Listens. `ended` is told when the system is no more.
pub(crate) fn listen(spec: &LaunchSpec, ended: Rc<Notify>) -> Result<Console, SocketError> {
    let path = path(spec);
    let listener = local_socket::listen(&path)?;
    let listener = listener
        .into_async()
        .map_err(|source| SocketError::Bind { path, source })?;
    let (ours, theirs) = tokio::io::duplex(BUFFER_BYTES);
    tokio::task::spawn_local(carry(listener, theirs, ended));
    let (output, input) = tokio::io::split(ours);
    Ok(Console {
        output: Box::new(output),
        input: Box::new(input),
    })
}

/// Carries one connection to its end. What the worker has written before the end is in the pipe then, and is
/// read to the last byte.
async fn carry(listener: AsyncListener, mut monitor: DuplexStream, ended: Rc<Notify>) {
    let accepted = tokio::select! {
        biased;
        accepted = listener.accept() => accepted,
        () = ended.notified() => return,
    };
    match accepted {
        Ok((mut worker, _)) => {
            // However it ends, the console has ended.
            let _ = tokio::io::copy_bidirectional(&mut worker, &mut monitor).await;
        }
        Err(error) => tracing::warn!(%error, "nothing is read of the serial port"),
    }
}
