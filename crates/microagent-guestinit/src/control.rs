//! The control connection: one thread owns it for the whole life of the guest.
//!
//! ```text
//! dialled -> hello -> boot | refuse          (by the main thread, before anything else runs)
//!   then, by the control thread: outbox and heartbeats out, halt and clock in, console both ways
//!   broken -> dialled again for 30 s, hello with `resume`
//! ```
//!
//! Others speak through a [`ControlLink`]. The workload's terminal is pumped here too, since its frames
//! share the connection: while the host does not read, the terminal is not read, and nothing grows.

use crate::clock::{Moment, step_to, timespec, uptime_ms, whole_ms};
use crate::connection::{Connection, Incoming, READ_BYTES};
use crate::context::Context;
use crate::vsock;
use crate::workload::{Child, Ended};
use microagent_types::{SignalName, VsockPort};
use microagent_wire::frame::{Frame, FrameKind};
use microagent_wire::guest::control::{GuestMessage, Hello, HostMessage};
use microagent_wire::guest::{Parsed, parse};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a broken connection is dialled again.
const REDIAL_LIMIT: Duration = Duration::from_secs(30);
/// Between two tries.
const REDIAL_PAUSE: Duration = Duration::from_millis(10);
/// Most messages that wait for a host that does not read.
const OUTBOX_MESSAGES_MAX: usize = 256;
/// How long the terminal of an ended workload is read when something else holds it open.
const CONSOLE_DRAIN_LIMIT: Duration = Duration::from_secs(1);
/// Bytes typed by the host that wait for a workload that does not read.
const TYPED_BYTES_MAX: usize = 64 << 10;

/// What the main thread is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The host asks for a clean end.
    Halt { id: u64 },
    /// The host has recorded the power-off.
    Bye,
    /// A signal came for PID 1.
    Signal(SignalName),
    /// The workload ended, and everything it wrote is on its way.
    WorkloadEnded(Ended),
    /// No process but PID 1 is left.
    Alone,
}

/// Where other threads leave their messages.
#[derive(Debug)]
pub(crate) struct ControlLink {
    outbox: Mutex<VecDeque<Frame>>,
    wake: OwnedFd,
}

impl ControlLink {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self {
            outbox: Mutex::default(),
            wake: eventfd(0, flags)?,
        })
    }

    /// Leaves a message; it goes out in order, or is lost when the host has long not read.
    pub(crate) fn say(&self, message: &GuestMessage) {
        let frame = Frame::control(message);
        let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        if outbox.len() < OUTBOX_MESSAGES_MAX {
            outbox.push_back(frame);
        }
        drop(outbox);
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    fn take(&self) -> VecDeque<Frame> {
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        std::mem::take(&mut self.outbox.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The workload and the terminal that it runs on.
#[derive(Debug)]
pub(crate) struct WorkloadConsole {
    pub(crate) child: Arc<Child>,
    pub(crate) controller: OwnedFd,
}

/// What the thread needs.
#[derive(Debug)]
pub(crate) struct ControlSetup {
    pub(crate) connection: Option<Connection>,
    pub(crate) link: Arc<ControlLink>,
    pub(crate) events: SyncSender<Event>,
    pub(crate) hello: Hello,
    pub(crate) heartbeat: Duration,
    pub(crate) context: Arc<Context>,
    pub(crate) console: Option<WorkloadConsole>,
}

/// The state of the thread.
struct Control {
    setup: ControlSetup,
    next_heartbeat: Moment,
    redial_until: Option<Moment>,
    typed: VecDeque<u8>,
    ended: Option<Ended>,
    drain_until: Option<Moment>,
}

/// Serves the connection for as long as the guest lives.
pub(crate) fn run(setup: ControlSetup) {
    let mut control = Control {
        next_heartbeat: Moment::now().after(setup.heartbeat),
        setup,
        redial_until: None,
        typed: VecDeque::new(),
        ended: None,
        drain_until: None,
    };
    loop {
        control.turn();
    }
}

impl Control {
    fn turn(&mut self) {
        self.speak();
        self.listen();
        self.pump_console();
        self.watch_workload();
        self.keep_connected();
        if let Some(connection) = &mut self.setup.connection {
            connection.flush_some();
        }
        self.wait();
    }

    fn speak(&mut self) {
        if self
            .setup
            .connection
            .as_ref()
            .is_none_or(|connection| !connection.has_room())
        {
            return;
        }
        let mut frames = self.setup.link.take();
        if self.next_heartbeat.has_passed() {
            self.next_heartbeat = Moment::now().after(self.setup.heartbeat);
            frames.push_back(Frame::control(&heartbeat(
                self.setup.context.sessions.open(),
            )));
        }
        if let Some(connection) = &mut self.setup.connection {
            for frame in &frames {
                connection.queue_frame(frame);
            }
        }
    }

    fn listen(&mut self) {
        while let Some(connection) = &mut self.setup.connection {
            match connection.try_next() {
                Incoming::Nothing | Incoming::Closed => return,
                Incoming::Frame(frame) => match frame.kind {
                    FrameKind::Control => self.obey(&frame.payload),
                    FrameKind::Console => self.type_in(&frame.payload),
                    _ => connection.abandon(),
                },
            }
        }
    }

    fn obey(&mut self, payload: &[u8]) {
        let event = match parse::<HostMessage>(payload) {
            Ok(Parsed::Known(HostMessage::Halt { id })) => Event::Halt { id },
            Ok(Parsed::Known(HostMessage::Bye)) => Event::Bye,
            Ok(Parsed::Known(HostMessage::Clock { time_unix_us })) => {
                let _ = step_to(time_unix_us);
                return;
            }
            Ok(Parsed::Known(_)) => return,
            Ok(Parsed::Unknown(of)) => {
                return self.setup.link.say(&GuestMessage::Unsupported { of });
            }
            Err(_) => {
                if let Some(connection) = &mut self.setup.connection {
                    connection.abandon();
                }
                return;
            }
        };
        // A main thread that has 64 events to go is told nothing new by one more.
        let _ = self.setup.events.try_send(event);
    }

    fn type_in(&mut self, bytes: &[u8]) {
        let room = TYPED_BYTES_MAX.saturating_sub(self.typed.len());
        self.typed.extend(&bytes[..bytes.len().min(room)]);
    }

    /// The workload's terminal: to the host, or to the serial port while there is no connection.
    fn pump_console(&mut self) {
        let Some(console) = &self.setup.console else {
            return;
        };
        let controller = console.controller.as_fd();
        let (front, _) = self.typed.as_slices();
        if !front.is_empty()
            && let Ok(count) = rustix::io::write(controller, front)
        {
            self.typed.drain(..count);
        }
        match &mut self.setup.connection {
            Some(connection) if connection.has_room() => {
                let _ = connection.queue_from(FrameKind::Console, controller, u64::MAX);
            }
            Some(_) => {}
            None => {
                let mut bytes = vec![0; READ_BYTES];
                if let Ok(count) = rustix::io::read(controller, &mut bytes) {
                    let _ = rustix::io::write(rustix::stdio::stdout(), &bytes[..count]);
                }
            }
        }
    }

    /// Tells of the workload's end once its terminal is empty.
    fn watch_workload(&mut self) {
        let Some(console) = &self.setup.console else {
            return;
        };
        if self.ended.is_none() {
            self.ended = console.child.collect();
            self.drain_until = self.ended.map(|_| Moment::now().after(CONSOLE_DRAIN_LIMIT));
        }
        let Some(ended) = self.ended else { return };
        let is_late = self.drain_until.is_none_or(Moment::has_passed);
        if is_late || !is_readable(&console.controller) {
            self.setup.console = None;
            let _ = self.setup.events.try_send(Event::WorkloadEnded(ended));
        }
    }

    fn keep_connected(&mut self) {
        if self
            .setup
            .connection
            .as_ref()
            .is_some_and(Connection::is_closed)
        {
            self.setup.connection = None;
            self.redial_until = Some(Moment::now().after(REDIAL_LIMIT));
        }
        if self.setup.connection.is_none()
            && self.redial_until.is_some_and(|until| !until.has_passed())
        {
            let hello = GuestMessage::Hello(Hello {
                uptime_ms: uptime_ms(),
                ..self.setup.hello.clone()
            });
            if let Ok(socket) = vsock::dial_once(VsockPort::CONTROL.get())
                && let Ok(mut connection) = Connection::new(socket)
            {
                connection.queue_frame(&Frame::control(&hello));
                self.setup.connection = Some(connection);
            }
        }
    }

    fn wait(&self) {
        let mut fds = Vec::with_capacity(4);
        let mut watch = |fd, flags| fds.push(PollFd::from_borrowed_fd(fd, flags));
        let mut next = None;
        let mut has_room = true;
        if let Some(connection) = &self.setup.connection {
            has_room = connection.has_room();
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, connection.has_output());
            watch(connection.as_fd(), flags);
            if has_room {
                watch(self.setup.link.wake.as_fd(), PollFlags::IN);
                next = Some(self.next_heartbeat);
            }
        } else if self.redial_until.is_some_and(|until| !until.has_passed()) {
            next = Some(Moment::now().after(REDIAL_PAUSE));
        }
        if let Some(console) = &self.setup.console {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, has_room);
            flags.set(PollFlags::OUT, !self.typed.is_empty());
            if !flags.is_empty() {
                watch(console.controller.as_fd(), flags);
            }
            if self.ended.is_none() {
                watch(console.child.exit_fd(), PollFlags::IN);
            }
            next = next.into_iter().chain(self.drain_until).min();
        }
        let limit = next.map(|moment| timespec(moment.left()));
        // An interrupted wait is a short one.
        let _ = poll(&mut fds, limit.as_ref());
    }
}

fn is_readable(fd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let now = timespec(Duration::ZERO);
    poll(&mut fds, Some(&now)).is_ok_and(|count| count > 0)
        && fds[0].revents().contains(PollFlags::IN)
}

fn heartbeat(sessions: u32) -> GuestMessage {
    // The kernel counts load in units of 2^-16.
    const LOAD_UNIT: u64 = 1 << 16;
    let info = rustix::system::sysinfo();
    GuestMessage::Heartbeat {
        uptime_ms: uptime_ms(),
        load: info.loads[0] * 100 / LOAD_UNIT,
        memory_available_bytes: crate::boot::memory_available_bytes(),
        sessions,
    }
}

/// What the first answer of the host was.
#[derive(Debug)]
pub(crate) enum Greeting {
    /// Who the guest is to be.
    Boot(Box<microagent_wire::guest::boot_spec::BootSpec>),
    /// The host won't have it, and why.
    Refused(String),
}

/// Waits for the answer to `hello`. Other messages have no meaning yet and are passed over.
pub(crate) fn greeting(connection: &mut Connection, limit: Duration) -> Result<Greeting, String> {
    let deadline = Moment::now().after(limit);
    loop {
        match connection.next(deadline.left()) {
            Incoming::Frame(frame) if frame.kind == FrameKind::Control => {
                match parse::<HostMessage>(&frame.payload) {
                    Ok(Parsed::Known(HostMessage::Boot(spec))) => return Ok(Greeting::Boot(spec)),
                    Ok(Parsed::Known(HostMessage::Refuse { message })) => {
                        return Ok(Greeting::Refused(message));
                    }
                    Ok(_) => {}
                    Err(error) => {
                        return Err(format!("the boot spec is malformed: {}", cause(&error)));
                    }
                }
            }
            Incoming::Frame(_) => return Err("the host sent a frame before the boot spec".into()),
            Incoming::Closed => return Err("the host closed the control connection".into()),
            Incoming::Nothing => {
                let limit = whole_ms(limit);
                return Err(format!("the host sent no boot spec within {limit} ms"));
            }
        }
    }
}

fn cause(error: &dyn std::error::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string)
}
