//! The monitor's side of a confined start: a child that sets itself up, and later becomes the VMM.
//!
//! Between the two steps the monitor knows what holds and can still refuse, and the words that the
//! program gets can depend on which paths it will see.

use std::io;
use std::time::Duration;

use microagent_os::local_socket;
use microagent_supervisor::backend::Console;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::exec::{CONTROL_SOCKET, MODE};
use super::message::{Become, LENGTH_BYTES, Report, Setup, Unreadable, body_length};
use crate::launch::{Launch, LaunchError, Running};

/// Until the child has set itself up, or has become the program.
const STEP_LIMIT: Duration = Duration::from_secs(5);

/// Why there is no confined VMM.
#[derive(Debug, thiserror::Error)]
pub enum ConfinedChildError {
    /// The child did not start.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The socket to it could not be made or broke.
    #[error("cannot talk to the child that becomes the VMM")]
    Talk(#[source] io::Error),
    /// It ended.
    #[error("the child that becomes the VMM ended: {}", last_lines.join("; "))]
    Ended {
        /// What it said.
        last_lines: Vec<String>,
    },
    /// It did not come further in time.
    #[error("the child that becomes the VMM was not ready within {} ms", STEP_LIMIT.as_millis())]
    Silent,
    /// It said something strange.
    #[error(transparent)]
    Strange(#[from] Unreadable),
}

/// A child that has set itself up and waits to be told what to become.
#[derive(Debug)]
pub struct ConfinedChild {
    running: Running,
    control: UnixStream,
}

/// How the child's streams are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildKind {
    /// As a VMM's: the guest's serial port.
    Vmm,
    /// As a helper's.
    Helper,
}

/// The child, the serial port of a VMM, and what holds.
pub type ConfinedStart = (ConfinedChild, Option<Console>, Report);

impl ConfinedChild {
    /// Starts a child and has it set itself up. `launch` names our own executable and what the
    /// program will get; its arguments are replaced. On failure the child is ended.
    pub async fn start(
        mut launch: Launch,
        kind: ChildKind,
        setup: &Setup,
    ) -> Result<ConfinedStart, ConfinedChildError> {
        let (ours, theirs) = local_socket::pair().map_err(ConfinedChildError::Talk)?;
        let mut control = ours.into_async().map_err(ConfinedChildError::Talk)?;
        launch.arguments = vec![MODE.into()];
        launch
            .descriptors
            .push((CONTROL_SOCKET, theirs.into_descriptor()));
        let (running, console) = match kind {
            ChildKind::Vmm => {
                let (running, console) = launch.start_vmm()?;
                (running, Some(console))
            }
            ChildKind::Helper => (launch.start_helper()?, None),
        };
        let exchange = async {
            control.write_all(&setup.encode()).await?;
            read_report(&mut control).await
        };
        let report = match tokio::time::timeout(STEP_LIMIT, exchange).await {
            Ok(Ok(report)) => report,
            Ok(Err(error)) => return Err(ended(&running, error).await),
            Err(_) => {
                running.process.end_at_once().await;
                return Err(ConfinedChildError::Silent);
            }
        };
        Ok((Self { running, control }, console, report?))
    }

    /// Has it become the program. On failure it is ended. That the program starts says nothing of
    /// what it does then.
    pub async fn turn_into(mut self, target: &Become) -> Result<Running, ConfinedChildError> {
        let exchange = async {
            self.control.write_all(&target.encode()).await?;
            // The socket is closed by the exec, or by the child's end.
            self.control.read(&mut [0u8; 1]).await
        };
        match tokio::time::timeout(STEP_LIMIT, exchange).await {
            Ok(Ok(0)) => Ok(self.running),
            Ok(Ok(_)) => {
                self.end().await;
                Err(Unreadable.into())
            }
            Ok(Err(error)) => Err(ended(&self.running, error).await),
            Err(_) => {
                self.end().await;
                Err(ConfinedChildError::Silent)
            }
        }
    }

    /// Ends it.
    pub async fn end(&self) {
        self.running.process.end_at_once().await;
    }
}

async fn ended(running: &Running, error: io::Error) -> ConfinedChildError {
    running.process.end_at_once().await;
    let last_lines = running.last_lines.at_the_end().await;
    if last_lines.is_empty() {
        ConfinedChildError::Talk(error)
    } else {
        ConfinedChildError::Ended { last_lines }
    }
}

async fn read_report(control: &mut UnixStream) -> io::Result<Result<Report, Unreadable>> {
    let mut length = [0u8; LENGTH_BYTES];
    control.read_exact(&mut length).await?;
    let Ok(length) = body_length(length) else {
        return Ok(Err(Unreadable));
    };
    let mut body = vec![0u8; length];
    control.read_exact(&mut body).await?;
    Ok(Report::decode(&body))
}
