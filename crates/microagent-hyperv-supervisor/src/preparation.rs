//! One boot on its way: channels for what the guest will dial, an endpoint in the network, a pipe for the
//! console, the compute system.
//!
//! The way back: an endpoint is deleted, a system that was made is terminated, sockets and the pipe go with
//! their last owner.

use std::cell::RefCell;
use std::io;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use microagent_os::host_pace;
use microagent_supervisor::backend::{
    BackendError, BackendErrorKind, ConfinementReport, GuestAddresses, GuestListener, GuestNic,
    GuestStream, LaunchSpec, Launched, LocalFuture, Preparation,
};
use microagent_types::VsockPort;
use tokio::sync::{Notify, mpsc};

use crate::api::SystemProperties;
use crate::calls::{
    CONNECTIONS_MAX, CallError, EVENTS_MAX, Host, Listening, Progress, Sockets, System,
};
use crate::document;
use crate::events::{Kind, Notification};
use crate::failures::{self, NoAnswer, on_a_thread};
use crate::host::COMPONENT;
use crate::network;
use crate::result_code::{self, Answer};
use crate::vm::{Handles, HypervVm};
use crate::{console, document::disable_service};

/// Until a system is made. The service itself gives up later.
const CREATE_LIMIT: Duration = Duration::from_mins(1);
/// Until files are opened to a system, or its properties told.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// Until the network has an endpoint for the guest.
const ENDPOINT_LIMIT: Duration = Duration::from_secs(4);
/// Until an endpoint is deleted.
pub(crate) const DELETE_LIMIT: Duration = Duration::from_secs(5);

/// What listens, once there is a system. Listeners are handed out before that.
type Slot = Rc<RefCell<Option<Bound>>>;

/// A port that is listened on.
struct Bound {
    socket: Arc<dyn Listening>,
    system: Arc<dyn System>,
}

pub(crate) struct HypervPreparation {
    host: Arc<dyn Host>,
    sockets: Arc<dyn Sockets>,
    spec: LaunchSpec,
    listeners: Vec<Waiting>,
    endpoint: Option<Attached>,
}

/// A port that is to be listened on.
struct Waiting {
    port: VsockPort,
    accepted: mpsc::Sender<TcpStream>,
    slot: Slot,
}

/// The guest's place in the network.
#[derive(Clone)]
pub(crate) struct Attached {
    pub(crate) id: String,
    pub(crate) addresses: GuestAddresses,
}

impl HypervPreparation {
    pub(crate) fn new(host: Arc<dyn Host>, sockets: Arc<dyn Sockets>, spec: LaunchSpec) -> Self {
        Self {
            host,
            sockets,
            spec,
            listeners: Vec::new(),
            endpoint: None,
        }
    }

    async fn attach(&mut self) -> Result<(), BackendError> {
        let Some(nic) = self.spec.nic.clone() else {
            return Ok(());
        };
        if !nic.openings.is_empty() {
            return Err(BackendError::new(
                BackendErrorKind::Unsupported,
                network::ENGINE,
                "this backend opens nothing near the host to its guests",
            ));
        }
        let (host, id) = (
            self.host.clone(),
            network::endpoint_id(self.spec.workspace_id),
        );
        let name = self.spec.workspace.to_string();
        let made = {
            let (nic, id) = (nic.clone(), id.clone());
            move || make_endpoint(&*host, &id, &name, &nic)
        };
        let limit = host_pace::limit(ENDPOINT_LIMIT);
        let properties = on_a_thread("make an endpoint", limit, made)
            .await?
            .map_err(failures::call)?;
        match network::addresses(&properties, &nic) {
            Ok(addresses) => {
                self.endpoint = Some(Attached { id, addresses });
                Ok(())
            }
            Err(error) => {
                delete_endpoint(self.host.clone(), id).await;
                Err(failures::failed(error))
            }
        }
    }

    async fn launch_now(mut self) -> Result<Launched, BackendError> {
        let endpoint = self.endpoint.take();
        let launched = self.make(endpoint.clone()).await;
        if launched.is_err()
            && let Some(endpoint) = endpoint
        {
            delete_endpoint(self.host.clone(), endpoint.id).await;
        }
        launched
    }

    async fn make(&mut self, endpoint: Option<Attached>) -> Result<Launched, BackendError> {
        let ports: Vec<VsockPort> = self.listeners.iter().map(|waiting| waiting.port).collect();
        let id = endpoint.as_ref().map(|endpoint| endpoint.id.as_str());
        let document =
            document::compute_system(&self.spec, &ports, id).map_err(failures::failed)?;
        let document = serde_json::to_string(&document).map_err(failures::failed)?;
        self.grant().await?;
        let ended = Rc::new(Notify::new());
        let console = console::listen(&self.spec, ended.clone()).map_err(failures::failed)?;
        let (told, mut received) = mpsc::channel(EVENTS_MAX);
        let made = self.create(document, told.clone(), &mut received).await;
        let made = match made {
            Ok(system) => self.bind(system.clone()).await.map(|id| (system, id)),
            Err(error) => Err(error),
        };
        let (system, runtime_id) = made.inspect_err(|_| ended.notify_one())?;
        let handles = Handles {
            host: self.host.clone(),
            sockets: self.sockets.clone(),
            system,
            id: self.spec.boot_id.to_string(),
            runtime_id,
        };
        let (vm, events) = HypervVm::new(handles, endpoint, told, received, ended);
        Ok(Launched {
            vm,
            console,
            events,
            engine_version: None,
        })
    }

    /// The worker process has no rights but those that are granted to its system.
    async fn grant(&self) -> Result<(), BackendError> {
        let spec = &self.spec;
        let disks = std::iter::once(&spec.root_disk).chain(&spec.disks);
        let mut files = vec![spec.kernel.clone(), spec.initramfs.clone()];
        files.extend(disks.map(|disk| disk.path.clone()));
        let (host, id) = (self.host.clone(), spec.boot_id.to_string());
        let granted = move || {
            files
                .iter()
                .try_for_each(|path| host.grant_access(&id, path))
        };
        let limit = host_pace::limit(CALL_LIMIT);
        on_a_thread("open files to the system", limit, granted)
            .await?
            .map_err(failures::call)
    }

    async fn create(
        &self,
        document: String,
        told: mpsc::Sender<Notification>,
        received: &mut mpsc::Receiver<Notification>,
    ) -> Result<Arc<dyn System>, BackendError> {
        let (host, id) = (self.host.clone(), self.spec.boot_id.to_string());
        let limit = host_pace::limit(CREATE_LIMIT);
        let made = move || host.create(&id, &document, told);
        let (system, progress) = on_a_thread("make the system", limit, made)
            .await?
            .map_err(failures::call)?;
        if progress == Progress::Pending {
            let completed = tokio::time::timeout(limit, created(received)).await;
            let completed =
                completed.unwrap_or_else(|_| Err(failures::silent("make the system", limit)));
            if let Err(error) = completed {
                terminate(system).await;
                return Err(error);
            }
        }
        Ok(system)
    }

    /// Listens for what the guest will dial, and gives the id under which its sockets are reached. The system
    /// does not run yet, so no connection comes before its listener.
    async fn bind(&mut self, system: Arc<dyn System>) -> Result<String, BackendError> {
        let bound = self.bind_now(&system).await;
        if bound.is_err() {
            terminate(system).await;
        }
        bound
    }

    async fn bind_now(&mut self, system: &Arc<dyn System>) -> Result<String, BackendError> {
        let asked = system.clone();
        let limit = host_pace::limit(CALL_LIMIT);
        let properties = on_a_thread("tell its properties", limit, move || asked.properties())
            .await?
            .map_err(failures::call)?;
        let properties: SystemProperties =
            serde_json::from_str(&properties).map_err(failures::failed)?;
        let runtime_id = properties.runtime_id;
        for waiting in self.listeners.drain(..) {
            let port = waiting.port.get();
            let socket = self
                .sockets
                .listen(&runtime_id, port)
                .map_err(failures::failed)?;
            let accepting = socket.clone();
            std::thread::spawn(move || take_connections(&*accepting, &waiting.accepted));
            *waiting.slot.borrow_mut() = Some(Bound {
                socket,
                system: system.clone(),
            });
        }
        Ok(runtime_id)
    }
}

/// Waits for the end of a creation.
async fn created(received: &mut mpsc::Receiver<Notification>) -> Result<(), BackendError> {
    while let Some(notification) = received.recv().await {
        match notification.kind {
            Kind::CreateCompleted => {
                let created = "HcsCreateComputeSystem";
                return CallError::judge(created, notification.status, notification.data)
                    .map(|_| ())
                    .map_err(failures::call);
            }
            kind if kind.is_end() => break,
            _ => {}
        }
    }
    Err(failures::failed(NoAnswer::Gone))
}

/// Ends a system that was made and comes to nothing; dropping our handle ends it in any case.
async fn terminate(system: Arc<dyn System>) {
    let ended = on_a_thread("end the system", CALL_LIMIT, move || system.terminate()).await;
    match ended {
        Ok(Ok(_)) => {}
        Ok(Err(error)) if error.says_gone() => {}
        Ok(Err(error)) => tracing::warn!(%error, "the system goes with its handle"),
        Err(error) => tracing::warn!(%error, "the system goes with its handle"),
    }
}

/// The network and the endpoint. What an earlier boot has left of the endpoint is deleted.
fn make_endpoint(
    host: &dyn Host,
    id: &str,
    name: &str,
    nic: &GuestNic,
) -> Result<String, CallError> {
    let text = |value: serde_json::Result<String>| value.expect("documents have string keys only");
    if let Err(error) = host.find_network(network::NETWORK_ID) {
        if error.kind() != BackendErrorKind::NotFound {
            return Err(error);
        }
        let settings = text(serde_json::to_string(&network::network()));
        match host.create_network(network::NETWORK_ID, &settings) {
            // Another start was quicker.
            Err(error) if error.kind() == BackendErrorKind::Conflict => {}
            made => made?,
        }
    }
    match host.delete_endpoint(id) {
        Err(error) if error.kind() != BackendErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let settings = text(serde_json::to_string(&network::endpoint(name, nic)));
    host.create_endpoint(network::NETWORK_ID, id, &settings)
}

/// Deletes an endpoint; what stays is deleted by the next start of its workspace.
pub(crate) async fn delete_endpoint(host: Arc<dyn Host>, id: String) {
    let deleted = on_a_thread("delete the endpoint", DELETE_LIMIT, move || {
        host.delete_endpoint(&id)
    })
    .await;
    match deleted {
        Ok(Err(error)) if error.kind() != BackendErrorKind::NotFound => {
            tracing::warn!(%error, "the endpoint stays until the next start");
        }
        Err(error) => tracing::warn!(%error, "the endpoint stays until the next start"),
        Ok(_) => {}
    }
}

impl Preparation for HypervPreparation {
    fn listen(&mut self, port: VsockPort) -> Result<Box<dyn GuestListener>, BackendError> {
        let (accepted, connections) = mpsc::channel(CONNECTIONS_MAX);
        let slot = Slot::default();
        self.listeners.push(Waiting {
            port,
            accepted,
            slot: slot.clone(),
        });
        Ok(Box::new(HypervListener {
            slot,
            port,
            connections,
        }))
    }

    fn start_network(&mut self) -> LocalFuture<'_, Result<(), BackendError>> {
        Box::pin(self.attach())
    }

    fn confine(&mut self) -> LocalFuture<'_, Result<ConfinementReport, BackendError>> {
        // Where it is required the check of the host has refused.
        Box::pin(async { Ok(ConfinementReport::default()) })
    }

    fn launch(self: Box<Self>) -> LocalFuture<'static, Result<Launched, BackendError>> {
        Box::pin(self.launch_now())
    }

    fn abandon(self: Box<Self>) -> LocalFuture<'static, ()> {
        Box::pin(async move {
            if let Some(endpoint) = self.endpoint {
                delete_endpoint(self.host, endpoint.id).await;
            }
        })
    }
}

/// Takes connections until the socket is closed or nobody wants them any more.
fn take_connections(socket: &dyn Listening, accepted: &mpsc::Sender<TcpStream>) {
    while let Ok(connection) = socket.accept() {
        if accepted.blocking_send(connection).is_err() {
            return;
        }
    }
}

struct HypervListener {
    slot: Slot,
    port: VsockPort,
    connections: mpsc::Receiver<TcpStream>,
}

impl GuestListener for HypervListener {
    fn accept(&mut self) -> LocalFuture<'_, io::Result<GuestStream>> {
        Box::pin(async {
            let Some(connection) = self.connections.recv().await else {
                return Err(io::ErrorKind::BrokenPipe.into());
            };
            stream_of(connection)
        })
    }
}

impl Drop for HypervListener {
    fn drop(&mut self) {
        let Some(bound) = self.slot.borrow_mut().take() else {
            return;
        };
        bound.socket.close();
        let Some(change) = disable_service(self.port) else {
            return;
        };
        let change = serde_json::to_string(&change).expect("documents have string keys only");
        // The socket is closed in any case; that the guest is told so by its kernel comes after.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || match bound.system.modify(&change) {
                Err(error) if !error.says_gone() => {
                    tracing::warn!(%error, "the service of a port was not disabled");
                }
                _ => {}
            });
        }
    }
}

/// A connection as a stream of the loop.
pub(crate) fn stream_of(connection: TcpStream) -> io::Result<GuestStream> {
    connection.set_nonblocking(true)?;
    Ok(Box::new(tokio::net::TcpStream::from_std(connection)?))
}

/// Judges a status that came with a notification.
pub(crate) fn judge(call: &'static str, notification: &Notification) -> Result<(), BackendError> {
    match result_code::answer(notification.status) {
        Answer::Done | Answer::Pending => Ok(()),
        Answer::Failed(kind) => {
            let error = CallError {
                call,
                code: notification.status,
                detail: notification.data.clone(),
            };
            Err(BackendError::new(kind, COMPONENT, error))
        }
    }
}
