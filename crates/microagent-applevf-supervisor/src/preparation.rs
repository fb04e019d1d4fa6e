//! One boot on its way: channels for what the guest will dial, two pipes for its console, the machine.
//!
//! Nothing of the host is taken before the launch, so there is nothing to undo: what was made goes when
//! the last owner drops it.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::rc::Rc;

use microagent_supervisor::backend::{
    BackendError, ConfinementReport, Console, GuestListener, GuestStream, LaunchSpec, Launched,
    LocalFuture, Preparation,
};
use microagent_types::VsockPort;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use crate::call_failures;
use crate::calls::{CONNECTIONS_MAX, EVENTS_MAX, Framework, Machine, SerialEnds};
use crate::config;
use crate::vm::AppleVm;

/// The machine, once there is one. Listeners are handed out before that.
pub(crate) type Slot = Rc<RefCell<Option<Rc<dyn Machine>>>>;

pub(crate) struct ApplePreparation {
    framework: Rc<dyn Framework>,
    spec: LaunchSpec,
    interfaces: Vec<String>,
    machine: Slot,
    listeners: Vec<(VsockPort, mpsc::Sender<OwnedFd>)>,
}

impl ApplePreparation {
    pub(crate) fn new(
        framework: Rc<dyn Framework>,
        spec: LaunchSpec,
        interfaces: Vec<String>,
    ) -> Self {
        Self {
            framework,
            spec,
            interfaces,
            machine: Slot::default(),
            listeners: Vec::new(),
        }
    }

    fn launch_now(self) -> Result<Launched, BackendError> {
        let plan = config::plan(&self.spec, &self.interfaces).map_err(call_failures::failed)?;
        let (console, serial) = serial_port().map_err(call_failures::failed)?;
        let (events, received) = mpsc::channel(EVENTS_MAX);
        let made = self.framework.make(&plan, serial, events.clone());
        let machine = made.map_err(call_failures::call)?;
        // The machine does not run yet, so no connection of the guest comes before its listener.
        for (port, accepted) in self.listeners {
            machine.listen(port.get(), accepted);
        }
        *self.machine.borrow_mut() = Some(machine.clone());
        let (vm, events) = AppleVm::new(machine, plan.network.is_some(), events, received);
        Ok(Launched {
            vm,
            console,
            events,
            engine_version: None,
        })
    }
}

impl Preparation for ApplePreparation {
    fn listen(&mut self, port: VsockPort) -> Result<Box<dyn GuestListener>, BackendError> {
        let (accepted, connections) = mpsc::channel(CONNECTIONS_MAX);
        self.listeners.push((port, accepted));
        Ok(Box::new(AppleListener {
            machine: self.machine.clone(),
            port,
            connections,
        }))
    }

    fn start_network(&mut self) -> LocalFuture<'_, Result<(), BackendError>> {
        // The framework's own network comes with the machine.
        Box::pin(async { Ok(()) })
    }

    fn confine(&mut self) -> LocalFuture<'_, Result<ConfinementReport, BackendError>> {
        // Where it is required the check of the host has refused.
        Box::pin(async { Ok(ConfinementReport::default()) })
    }

    fn launch(self: Box<Self>) -> LocalFuture<'static, Result<Launched, BackendError>> {
        Box::pin(async { self.launch_now() })
    }

    fn abandon(self: Box<Self>) -> LocalFuture<'static, ()> {
        Box::pin(async {})
    }
}

struct AppleListener {
    machine: Slot,
    port: VsockPort,
    connections: mpsc::Receiver<OwnedFd>,
}

impl GuestListener for AppleListener {
    fn accept(&mut self) -> LocalFuture<'_, io::Result<GuestStream>> {
        Box::pin(async {
            let Some(connection) = self.connections.recv().await else {
                return Err(io::ErrorKind::BrokenPipe.into());
            };
            stream_of(connection)
        })
    }
}

impl Drop for AppleListener {
    fn drop(&mut self) {
        if let Some(machine) = &*self.machine.borrow() {
            machine.stop_listening(self.port.get());
        }
    }
}

/// A connection of the framework as a stream of the loop. What lies behind the descriptor is read, written
/// and waited for like a socket.
pub(crate) fn stream_of(connection: OwnedFd) -> io::Result<GuestStream> {
    let stream = StdUnixStream::from(connection);
    stream.set_nonblocking(true)?;
    Ok(Box::new(UnixStream::from_std(stream)?))
}

/// Our ends of the serial port, and the machine's.
fn serial_port() -> io::Result<(Console, SerialEnds)> {
    let (output, guest_output) = io::pipe()?;
    let (guest_input, input) = io::pipe()?;
    let console = Console {
        output: Box::new(pipe::Receiver::from_owned_fd(output.into())?),
        input: Box::new(pipe::Sender::from_owned_fd(input.into())?),
    };
    let serial = SerialEnds {
        input: guest_input.into(),
        output: guest_output.into(),
    };
    Ok((console, serial))
}
