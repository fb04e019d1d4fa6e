//! The monitor's side of a confined start: a child that sets itself up, and later becomes the VMM.
//!
//! Between the two steps the monitor knows what holds and can still refuse, and the words that the
//! program gets can depend on which paths it will see.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;
use std::time::Duration;

use microagent_os::{host_pace, local_socket};
use microagent_supervisor::backend::Console;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use super::exec::{CONTROL_SOCKET, MODE};
use super::message::{Become, LENGTH_BYTES, Report, Setup, Unreadable, body_length};
use crate::control_group::ControlGroup;
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
    #[error("the child that becomes the VMM was not ready within {} ms", host_pace::limit(STEP_LIMIT).as_millis())]
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
    packet_socket: Option<OwnedFd>,
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
    /// program will get; its arguments are replaced. It is in the group, when there is one, before it becomes
    /// anything. On failure the child is ended.
    pub async fn start(
        mut launch: Launch,
        kind: ChildKind,
        setup: &Setup,
        group: Option<&ControlGroup>,
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
        let joining = group.map(|group| group.take_in(&running.process));
        let exchange = async {
            control.write_all(&setup.encode()).await?;
            let report = read_report(&mut control).await?;
            let has_tap = matches!(&report, Ok(report) if report.tap == Some(Ok(())));
            let packet_socket = if has_tap {
                Some(receive_descriptor(&control).await?)
            } else {
                None
            };
            Ok::<_, io::Error>((report, packet_socket))
        };
        let (report, packet_socket) =
            match tokio::time::timeout(host_pace::limit(STEP_LIMIT), exchange).await {
                Ok(Ok(report)) => report,
                Ok(Err(error)) => return Err(ended(&running, error).await),
                Err(_) => {
                    running.process.end_at_once().await;
                    return Err(ConfinedChildError::Silent);
                }
            };
        // It went on beside the setting up, and is done as a rule. What it could not do it has logged.
        drop(joining.map(JoinHandle::join));
        let child = Self {
            running,
            control,
            packet_socket,
        };
        Ok((child, console, report?))
    }

    /// The other side of the tap in its network, when it was asked to make one and could.
    pub fn take_packet_socket(&mut self) -> Option<OwnedFd> {
        self.packet_socket.take()
    }

    /// Has it become the program. On failure it is ended. That the program starts says nothing of
    /// what it does then.
    pub async fn turn_into(mut self, target: &Become) -> Result<Running, ConfinedChildError> {
        let exchange = async {
            self.control.write_all(&target.encode()).await?;
            // The socket is closed by the exec, or by the child's end.
            self.control.read(&mut [0u8; 1]).await
        };
        match tokio::time::timeout(host_pace::limit(STEP_LIMIT), exchange).await {
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

async fn receive_descriptor(control: &UnixStream) -> io::Result<OwnedFd> {
    let receive = || {
        let mut byte = [0u8; 1];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let mut bytes = [IoSliceMut::new(&mut byte)];
        rustix::net::recvmsg(control, &mut bytes, &mut ancillary, flags)?;
        let mut messages = ancillary.drain();
        let descriptor = messages.find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        descriptor.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    };
    control.async_io(Interest::READABLE, receive).await
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
