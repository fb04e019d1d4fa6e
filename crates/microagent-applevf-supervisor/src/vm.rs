//! One machine of the framework, as the monitor uses it.
//!
//! Each call has a deadline of ours, since the framework promises none; what it tells later goes through
//! [`Life`], which knows what is news.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use microagent_supervisor::backend::{
    BackendError, BackendErrorKind, GuestStream, Helper, LocalFuture, VM_EVENTS_MAX, Vm, VmEvent,
    VmIdentity,
};
use microagent_types::{AbsPath, VsockPort};
use tokio::sync::mpsc;

use crate::call_failures;
use crate::calls::{Answer, Machine};
use crate::config::COMPONENT;
use crate::events::{FrameworkEvent, Life, NETWORK};
use crate::preparation::stream_of;

/// Until the framework has started a machine, loading kernel and initramfs.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Until a machine that was killed is given up. It lives in this process, which then ends and takes it along.
const KILL_LIMIT: Duration = Duration::from_secs(1);
/// Until the vCPUs stand still, or go on.
const PAUSE_LIMIT: Duration = Duration::from_secs(5);
/// Until a port of the guest has answered.
const DIAL_LIMIT: Duration = Duration::from_secs(2);
/// Until the network is detached.
const CUT_LIMIT: Duration = Duration::from_secs(2);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("the framework did not {what} within {limit_ms} ms")]
    Silent { what: &'static str, limit_ms: u128 },
    #[error("the machine has gone")]
    Gone,
}

pub(crate) struct AppleVm {
    machine: Rc<dyn Machine>,
    has_network: bool,
    life: Rc<RefCell<Life>>,
    was_started: Cell<bool>,
    /// The same queue that the framework's events come through.
    events: mpsc::Sender<FrameworkEvent>,
}

impl AppleVm {
    /// Takes a machine over and begins to pass on what happens to it.
    pub(crate) fn new(
        machine: Rc<dyn Machine>,
        has_network: bool,
        events: mpsc::Sender<FrameworkEvent>,
        received: mpsc::Receiver<FrameworkEvent>,
    ) -> (Rc<Self>, mpsc::Receiver<VmEvent>) {
        let life = Rc::new(RefCell::new(Life::default()));
        let (told, receiver) = mpsc::channel(VM_EVENTS_MAX);
        tokio::task::spawn_local(pass_on(received, life.clone(), told));
        let vm = Self {
            machine,
            has_network,
            life,
            was_started: Cell::new(false),
            events,
        };
        (Rc::new(vm), receiver)
    }

    /// Takes the machine away. Its end comes as an event.
    fn take_away(&self) {
        if self.life.borrow().has_ended() {
            return;
        }
        let (machine, events) = (self.machine.clone(), self.events.clone());
        let was_started = self.was_started.get();
        tokio::task::spawn_local(async move {
            let event = if was_started {
                match machine.stop().await {
                    Ok(Ok(())) => FrameworkEvent::Stopped,
                    Ok(Err(error)) => FrameworkEvent::StopFailed(error),
                    // The object has gone, and the machine with it.
                    Err(_) => FrameworkEvent::Stopped,
                }
            } else {
                FrameworkEvent::Stopped
            };
            // Who took the events may be gone.
            let _ = events.send(event).await;
        });
    }
}

/// Passes on what is news, until the end was told.
async fn pass_on(
    mut received: mpsc::Receiver<FrameworkEvent>,
    life: Rc<RefCell<Life>>,
    told: mpsc::Sender<VmEvent>,
) {
    while let Some(event) = received.recv().await {
        match &event {
            FrameworkEvent::StoppedWithError(error)
            | FrameworkEvent::StopFailed(error)
            | FrameworkEvent::NetworkLost(error) => tracing::warn!(%error, "{}", what(&event)),
            FrameworkEvent::GivenUp => tracing::error!("{}", what(&event)),
            FrameworkEvent::GuestStopped | FrameworkEvent::Stopped => {
                tracing::info!("{}", what(&event));
            }
        }
        let news = life.borrow_mut().take(&event);
        if let Some(news) = news
            && told.send(news).await.is_err()
        {
            return;
        }
        if life.borrow().has_ended() {
            return;
        }
    }
}

const fn what(event: &FrameworkEvent) -> &'static str {
    match event {
        FrameworkEvent::GuestStopped => "the guest switched its machine off",
        FrameworkEvent::StoppedWithError(_) => "the machine ended by an error",
        FrameworkEvent::Stopped => "the machine was taken away",
        FrameworkEvent::GivenUp => {
            "the machine is still there after it was killed and goes with its monitor"
        }
        FrameworkEvent::StopFailed(_) => "the machine could not be taken away",
        FrameworkEvent::NetworkLost(_) => "the guest's network is gone",
    }
}

async fn answered<T>(
    answer: Answer<T>,
    what: &'static str,
    limit: Duration,
) -> Result<T, BackendError> {
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(answer)) => answer.map_err(call_failures::call),
        Ok(Err(_)) => Err(call_failures::failed(NoAnswer::Gone)),
        Err(_) => {
            let limit_ms = limit.as_millis();
            let silent = NoAnswer::Silent { what, limit_ms };
            Err(BackendError::new(
                BackendErrorKind::Timeout,
                COMPONENT,
                silent,
            ))
        }
    }
}

impl Vm for AppleVm {
    fn identity(&self) -> VmIdentity {
        VmIdentity::Monitor
    }

    fn helpers(&self) -> Vec<Helper> {
        Vec::new()
    }

    fn network_engine(&self) -> Option<&'static str> {
        self.has_network.then_some(NETWORK)
    }

    fn cgroup(&self) -> Option<AbsPath> {
        None
    }

    fn run(&self) -> LocalFuture<'_, Result<(), BackendError>> {
        Box::pin(async {
            self.was_started.set(true);
            answered(self.machine.start(), "start the machine", START_LIMIT).await
        })
    }

    fn dial(&self, port: VsockPort) -> LocalFuture<'_, Result<GuestStream, BackendError>> {
        Box::pin(async move {
            if self.life.borrow().has_ended() {
                return Err(call_failures::failed(NoAnswer::Gone));
            }
            let answer = self.machine.connect(port.get());
            let connection = answered(answer, "reach the guest's port", DIAL_LIMIT).await?;
            stream_of(connection).map_err(call_failures::failed)
        })
    }

    fn pause(&self) -> LocalFuture<'_, Result<(), BackendError>> {
        Box::pin(async { answered(self.machine.pause(), "pause the machine", PAUSE_LIMIT).await })
    }

    fn resume(&self) -> LocalFuture<'_, Result<(), BackendError>> {
        Box::pin(async { answered(self.machine.resume(), "resume the machine", PAUSE_LIMIT).await })
    }

    fn terminate(&self) -> Result<(), BackendError> {
        self.take_away();
        Ok(())
    }

    fn kill(&self) -> Result<(), BackendError> {
        self.take_away();
        let (life, events) = (self.life.clone(), self.events.clone());
        tokio::task::spawn_local(async move {
            tokio::time::sleep(KILL_LIMIT).await;
            if !life.borrow().has_ended() {
                // Who took the events may be gone.
                let _ = events.send(FrameworkEvent::GivenUp).await;
            }
        });
        Ok(())
    }

    fn cut_network(&self) -> LocalFuture<'_, Result<(), BackendError>> {
        Box::pin(async {
            if !self.has_network || self.life.borrow().has_ended() {
                return Ok(());
            }
            self.life.borrow_mut().cut_network();
            answered(
                self.machine.detach_network(),
                "detach the network",
                CUT_LIMIT,
            )
            .await
        })
    }

    fn wind_up(&self) -> LocalFuture<'_, ()> {
        Box::pin(async {})
    }
}
