//! One compute system, as the monitor uses it.
//!
//! Each call has a deadline of ours and is made on a thread of the pool; what the service tells later goes
//! through [`Life`], which knows what is news.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use microagent_os::host_pace;
use microagent_supervisor::backend::{
    BackendError, BackendErrorKind, GuestAddresses, GuestStream, Helper, LocalFuture,
    VM_EVENTS_MAX, Vm, VmEvent, VmIdentity,
};
use microagent_types::{AbsPath, VsockPort};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::calls::{CallError, Host, Progress, Sockets, System};
use crate::document::remove_adapter;
use crate::events::{Kind, Life, Notification};
use crate::failures::{self, NoAnswer, on_a_thread};
use crate::host::COMPONENT;
use crate::network;
use crate::preparation::{Attached, delete_endpoint, judge, stream_of};

/// Until the service has started a system.
const START_LIMIT: Duration = Duration::from_mins(1);
/// Until a call to end or change a system has come back.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// Until the end of a system that was killed must be told. Then our handle is closed, which ends it too.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// Until a port of the guest has answered.
const DIAL_LIMIT: Duration = Duration::from_secs(2);
/// Until the network is cut.
const CUT_LIMIT: Duration = Duration::from_secs(2);

/// What a system is reached by.
pub(crate) struct Handles {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) sockets: Arc<dyn Sockets>,
    pub(crate) system: Arc<dyn System>,
    pub(crate) id: String,
    pub(crate) runtime_id: String,
}

/// Who waits for the start.
type Starting = Rc<RefCell<Option<oneshot::Sender<Notification>>>>;

pub(crate) struct HypervVm {
    handles: Handles,
    endpoint: RefCell<Option<Attached>>,
    addresses: Option<GuestAddresses>,
    has_network: Cell<bool>,
    life: Rc<RefCell<Life>>,
    starting: Starting,
    /// The same queue that the service's notifications come through.
    told: mpsc::Sender<Notification>,
}

impl HypervVm {
    /// Takes a system over and begins to pass on what happens to it.
    pub(crate) fn new(
        handles: Handles,
        endpoint: Option<Attached>,
        told: mpsc::Sender<Notification>,
        received: mpsc::Receiver<Notification>,
        ended: Rc<Notify>,
    ) -> (Rc<Self>, mpsc::Receiver<VmEvent>) {
        let life = Rc::new(RefCell::new(Life::default()));
        let starting = Starting::default();
        let (news, receiver) = mpsc::channel(VM_EVENTS_MAX);
        let passing = pass_on(received, life.clone(), starting.clone(), news, ended);
        tokio::task::spawn_local(passing);
        let vm = Self {
            handles,
            addresses: endpoint.as_ref().map(|endpoint| endpoint.addresses.clone()),
            has_network: Cell::new(endpoint.is_some()),
            endpoint: RefCell::new(endpoint),
            life,
            starting,
            told,
        };
        (Rc::new(vm), receiver)
    }

    async fn start(&self) -> Result<(), BackendError> {
        let (told, completed) = oneshot::channel();
        *self.starting.borrow_mut() = Some(told);
        let system = self.handles.system.clone();
        let limit = host_pace::limit(START_LIMIT);
        let progress = on_a_thread("start the system", limit, move || system.start())
            .await?
            .map_err(failures::call)?;
        if progress == Progress::Done {
            return Ok(());
        }
        match tokio::time::timeout(limit, completed).await {
            Ok(Ok(notification)) => judge("HcsStartComputeSystem", &notification),
            Ok(Err(_)) => Err(failures::failed(NoAnswer::Gone)),
            Err(_) => Err(failures::silent("start the system", limit)),
        }
    }

    async fn cut(&self) -> Result<(), BackendError> {
        if !self.has_network.get() || self.life.borrow().has_ended() {
            return Ok(());
        }
        let change = serde_json::to_string(&remove_adapter()).map_err(failures::failed)?;
        let system = self.handles.system.clone();
        let removed = on_a_thread("remove the adapter", CUT_LIMIT, move || {
            system.modify(&change)
        });
        match removed.await? {
            Ok(_) => {}
            Err(error) if error.says_gone() => {}
            Err(error) => return Err(failures::call(error)),
        }
        self.has_network.set(false);
        self.leave_network().await;
        Ok(())
    }

    async fn leave_network(&self) {
        let endpoint = self.endpoint.borrow_mut().take();
        if let Some(endpoint) = endpoint {
            delete_endpoint(self.handles.host.clone(), endpoint.id).await;
        }
    }

    /// Makes a call that ends the system. Its end comes as a notification; of one that has gone there is
    /// none, so we tell it ourselves.
    fn end_by(
        &self,
        what: &'static str,
        call: impl FnOnce(&dyn System) -> Result<Progress, CallError> + Send + 'static,
    ) {
        if self.life.borrow().has_ended() {
            return;
        }
        let (system, told) = (self.handles.system.clone(), self.told.clone());
        tokio::task::spawn_local(async move {
            match on_a_thread(what, CALL_LIMIT, move || call(&*system)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) if error.says_gone() => tell(&told, Kind::Exited).await,
                Ok(Err(error)) => tracing::warn!(%error, "the service did not {what}"),
                Err(error) => tracing::warn!(%error, "the service did not {what}"),
            }
        });
    }
}

async fn tell(told: &mpsc::Sender<Notification>, kind: Kind) {
    let notification = Notification {
        kind,
        status: 0,
        data: String::new(),
    };
    // Who took the notifications may be gone.
    let _ = told.send(notification).await;
}

/// Passes on what is news, until the end was told.
async fn pass_on(
    mut received: mpsc::Receiver<Notification>,
    life: Rc<RefCell<Life>>,
    starting: Starting,
    news: mpsc::Sender<VmEvent>,
    ended: Rc<Notify>,
) {
    while let Some(notification) = received.recv().await {
        match notification.kind {
            Kind::StartCompleted => {
                if let Some(waiting) = starting.borrow_mut().take() {
                    // Who waited may have given up.
                    let _ = waiting.send(notification.clone());
                }
            }
            Kind::GivenUp => tracing::error!("the system was killed and is not gone yet"),
            Kind::ServiceGone => tracing::error!("the compute service has gone"),
            Kind::Exited => tracing::info!(data = notification.data, "the system has ended"),
            Kind::CreateCompleted | Kind::Other(_) => {}
        }
        let event = life.borrow_mut().take(&notification);
        if let Some(event) = event {
            starting.borrow_mut().take();
            ended.notify_one();
            // Who took the events may be gone.
            let _ = news.send(event).await;
            return;
        }
    }
}

impl Vm for HypervVm {
    fn identity(&self) -> VmIdentity {
        VmIdentity::System {
            id: self.handles.id.clone(),
            runtime_id: self.handles.runtime_id.clone(),
        }
    }

    fn helpers(&self) -> Vec<Helper> {
        Vec::new()
    }

    fn network_engine(&self) -> Option<&'static str> {
        self.addresses.is_some().then_some(network::ENGINE)
    }

    fn guest_addresses(&self) -> Option<GuestAddresses> {
        self.addresses.clone()
    }

    fn cgroup(&self) -> Option<AbsPath> {
        None
    }

    fn run(&self) -> LocalFuture<'_, Result<(), BackendError>> {
        Box::pin(self.start())
    }

    fn dial(&self, port: VsockPort) -> LocalFuture<'_, Result<GuestStream, BackendError>> {
        Box::pin(async move {
            if self.life.borrow().has_ended() {
                return Err(failures::failed(NoAnswer::Gone));
            }
            let (sockets, id) = (
                self.handles.sockets.clone(),
                self.handles.runtime_id.clone(),
            );
            let limit = host_pace::limit(DIAL_LIMIT);
            let dialled = move || sockets.dial(&id, port.get(), DIAL_LIMIT);
            let connection = on_a_thread("reach the guest's port", limit, dialled)
                .await?
                .map_err(failures::dial)?;
            stream_of(connection).map_err(failures::failed)
        })
    }

    fn pause(&self) -> LocalFuture<'_, Result<(), BackendError>> {
        Box::pin(async { Err(no_pause()) })
    }

    fn resume(&self) -> LocalFuture<'_, Result<(), BackendError>> {
        Box::pin(async { Err(no_pause()) })
    }

    fn terminate(&self) -> Result<(), BackendError> {
        self.end_by("shut the system down", |system| system.shut_down());
        Ok(())
    }

    fn kill(&self) -> Result<(), BackendError> {
        self.end_by("end the system", |system| system.terminate());
        let (life, told) = (self.life.clone(), self.told.clone());
        tokio::task::spawn_local(async move {
            tokio::time::sleep(KILL_LIMIT).await;
            if !life.borrow().has_ended() {
                tell(&told, Kind::GivenUp).await;
            }
        });
        Ok(())
    }

    fn cut_network(&self) -> LocalFuture<'_, Result<(), BackendError>> {
        Box::pin(self.cut())
    }

    fn wind_up(&self) -> LocalFuture<'_, ()> {
        Box::pin(self.leave_network())
    }
}

/// The table of capabilities says so before anybody comes here.
fn no_pause() -> BackendError {
    let message = "a compute system is not paused by this backend";
    BackendError::new(BackendErrorKind::Unsupported, COMPONENT, message)
}
