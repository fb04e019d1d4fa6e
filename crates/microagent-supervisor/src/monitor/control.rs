//! The control connection: one, dialled by the guest on port 1024, over which it says hello, gets its
//! boot spec, says ready, beats, and tells its end.
//!
//! ```text
//! guest ── frames ──> reader task ── GuestSaid ──> loop
//!       <── frames ── writer task <── Outgoing ───┘
//! ```
//!
//! This file carries messages and decides nothing. It keeps what a hostile guest can do within bounds:
//! one connection at a time, frames within their limits, 50 messages a second, and a bounded queue to
//! a guest that does not read.

use super::event::{Event, EventSender};
use super::frame_stream::{FrameReader, write_frame};
use super::rate::RateLimit;
use super::serial::SharedConsole;
use crate::backend::{GuestListener, GuestStream};
use microagent_os::clock;
use microagent_wire::frame::{Frame, FrameKind};
use microagent_wire::guest::control::{GuestMessage, HostMessage};
use microagent_wire::guest::{Parsed, parse};
use microagent_wire::limits::{GUEST_MESSAGES_A_SECOND_MAX, GUEST_MESSAGES_BURST_MAX};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_local};

/// Frames that wait for a guest that does not read.
const OUTGOING_FRAMES_MAX: usize = 16;

/// Which control connection of a boot, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionNumber(pub(crate) u64);

/// Why a control connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ControlEnd {
    /// It broke or the guest closed it.
    Broken,
    /// The guest sent what is no message, or too much.
    Misbehaved,
}

/// What goes to the guest on one connection.
#[derive(Debug, Clone)]
pub(crate) struct ControlSender(mpsc::Sender<Frame>);

impl ControlSender {
    /// Queues a message. False when the connection is gone or the guest does not read.
    pub(crate) fn send(&self, message: &HostMessage) -> bool {
        self.0.try_send(Frame::control(message)).is_ok()
    }

    /// Sends a frame as soon as there is room. False when the connection is gone.
    pub(crate) async fn send_frame(&self, frame: Frame) -> bool {
        self.0.send(frame).await.is_ok()
    }
}

/// Accepts the guest's control connections until the task is ended.
pub(crate) async fn serve(
    mut listener: Box<dyn GuestListener>,
    events: EventSender,
    console: SharedConsole,
) {
    let mut number = 0;
    let mut living: Option<JoinHandle<()>> = None;
    loop {
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "the control port accepts no more");
                return;
            }
        };
        if living.as_ref().is_some_and(|task| !task.is_finished()) {
            tracing::warn!("a second control connection was closed");
            continue;
        }
        number += 1;
        living = Some(spawn_local(converse(
            stream,
            ConnectionNumber(number),
            events.clone(),
            console.clone(),
        )));
    }
}

async fn converse(
    stream: GuestStream,
    number: ConnectionNumber,
    events: EventSender,
    console: SharedConsole,
) {
    let (reader, mut writer) = tokio::io::split(stream);
    let (sender, mut outgoing) = mpsc::channel::<Frame>(OUTGOING_FRAMES_MAX);
    let write = async move {
        while let Some(frame) = outgoing.recv().await {
            if write_frame(&mut writer, &frame).await.is_err() {
                return;
            }
        }
    };
    let writing = spawn_local(write);
    let end = listen(
        FrameReader::from_guest(reader),
        number,
        ControlSender(sender),
        &events,
        &console,
    )
    .await;
    writing.abort();
    events.send(Event::ControlEnded { number, end }).await;
}

async fn listen<R: tokio::io::AsyncRead + Unpin>(
    mut frames: FrameReader<R>,
    number: ConnectionNumber,
    sender: ControlSender,
    events: &EventSender,
    console: &SharedConsole,
) -> ControlEnd {
    let mut limit = RateLimit::new(
        GUEST_MESSAGES_A_SECOND_MAX,
        GUEST_MESSAGES_BURST_MAX,
        clock::monotonic(),
    );
    loop {
        let frame = match frames.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return ControlEnd::Broken,
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                return ControlEnd::Misbehaved;
            }
            Err(_) => return ControlEnd::Broken,
        };
        match frame.kind {
            FrameKind::Console => console.borrow_mut().append(&frame.payload, clock::now()),
            FrameKind::Control if limit.take(clock::monotonic()) => {
                match parse::<GuestMessage>(&frame.payload) {
                    Ok(Parsed::Known(message)) => {
                        let sender = sender.clone();
                        let said = Event::GuestSaid {
                            number,
                            message,
                            sender,
                        };
                        events.send(said).await;
                    }
                    Ok(Parsed::Unknown(of)) => {
                        sender.send(&HostMessage::Unsupported { of });
                    }
                    Err(_) => return ControlEnd::Misbehaved,
                }
            }
            _ => return ControlEnd::Misbehaved,
        }
    }
}
