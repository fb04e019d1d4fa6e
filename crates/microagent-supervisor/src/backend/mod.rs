//! The backend traits: what a hypervisor must be able to do, and nothing about how.
//!
//! ```text
//! Backend ── prepare(LaunchSpec) ──> Preparation ── listen, start_network, confine, launch ──> Vm
//!   (the kind)                        (one boot to be; knows its way back)             (one machine)
//! ```
//!
//! Three traits, object-safe, for one single-threaded loop: nothing here is `Send`, futures are boxed
//! and local. What a backend lacks it says in its capabilities and is refused in admission, never by
//! a method that fails at run time. No name of a backend, of an operating system or of a program
//! stands in this crate; nothing here is serialisable.
//!
//! Listening for the guest happens before the launch on hosts where a guest port is a socket file,
//! and takes effect after it where the VM object must exist first: a [`GuestListener`] hides that.

mod engine_version;
mod error;
mod host_facts;
mod launch_spec;

pub use engine_version::version_of_engine;
pub use error::{BackendError, BackendErrorKind};
pub use host_facts::{
    ConfinementFacts, ConfinementPart, EngineFacts, HostFacts, KvmFacts, NetworkModeFacts, Program,
    Versions,
};
pub use launch_spec::{
    ConfinementDemand, Disk, Durability, GuestAddresses, GuestDevice, GuestNic, LaunchSpec,
    RunFolder,
};
pub use microagent_machine::spec::{DiskAccess, NetworkMode};

use microagent_machine::{Accelerator, Capabilities};
use microagent_os::process::ProcessIdentity;
use microagent_types::{AbsPath, BackendName, ByteSize, VsockPort};
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

/// A boxed future of the monitor's one thread.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Bytes both ways.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin + ?Sized> ByteStream for T {}

/// A vsock connection to or from the guest, whatever carries it on this host.
pub type GuestStream = Box<dyn ByteStream>;

/// A kind of hypervisor on this host. Made by `main`, asked by everything.
pub trait Backend {
    /// Its name.
    fn name(&self) -> BackendName;

    /// What it can do here. Cheap, the same at every call.
    fn capabilities(&self) -> Capabilities;

    /// Everything that `host` reports. Bounded by 5 s in all.
    fn host_facts(&self, versions: Versions) -> HostFacts;

    /// Whether a VM could start now: VMM, accelerator, helper programs, required confinement. All
    /// problems at once. Must be quick: it stands on the way of every start.
    fn check_host(&self, needs: &HostNeeds) -> Result<HostReady, Vec<BackendError>>;

    /// Puts the next child of this process, and all that comes from it, where the kernel ends it as
    /// a whole (a pid namespace on Linux). Called once, directly before the monitor is made. An error
    /// means that the monitor is an ordinary child; it is refused only when confinement is required.
    fn isolate_next_child(&self) -> io::Result<()>;

    /// How the guest finds its root disk.
    fn root_device(&self) -> GuestDevice;

    /// How the guest finds its data disk, counted from 0.
    fn data_device(&self, index: usize) -> GuestDevice;

    /// The guest's addresses in a mode that has a NIC. `dns` is what the user asked for; empty leaves
    /// the choice to the backend.
    fn guest_addresses(&self, dns: &[IpAddr]) -> GuestAddresses;

    /// The content of an empty layer of that size over a disk that stays as it is. None where the VMM
    /// reads disks as they are and nothing else: such a disk is a copy.
    fn overlay(&self, _size: ByteSize) -> Option<Vec<u8>> {
        None
    }

    /// Takes up one boot. Nothing of the host is touched yet.
    fn prepare(&self, spec: LaunchSpec) -> Box<dyn Preparation>;

    /// Whether a VM that is an object of a system service lives; none when that can't be told. Asked without
    /// a monitor of that VM, by the id that its record keeps.
    fn system_lives(&self, _id: &str) -> Option<bool> {
        None
    }

    /// Ends such a VM, which nobody owns any more. One that is gone is success.
    fn end_system(&self, id: &str) -> Result<(), BackendError> {
        let message = format!("`{id}` is no VM of this backend");
        Err(BackendError::new(
            BackendErrorKind::Unsupported,
            "supervisor",
            message,
        ))
    }

    /// The internal mode `confined-exec`: becomes the VMM, so it returns only with a failure or where
    /// the mode does not exist.
    fn confined_exec(&self) -> ExitCode;
}

/// What a start asks of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostNeeds {
    /// The network mode.
    pub network: NetworkMode,
    /// Whether confinement may be missing.
    pub confinement: ConfinementDemand,
}

/// The host can start a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostReady {
    /// With which accelerator.
    pub accelerator: Accelerator,
    /// What the host has; no VM may be given more.
    pub host_memory: ByteSize,
    /// Version of the VMM, when it is known without asking it.
    pub engine_version: Option<String>,
    /// Facts that do not stop a start.
    pub warnings: Vec<String>,
}

/// One boot to be. Methods are called once each, in this order; [`Preparation::abandon`] is the way
/// back from any of them.
pub trait Preparation {
    /// Phase 4: listens for what the guest dials on the host's port. Called for each port. On hosts
    /// where a guest port is a socket it is bound when this returns; elsewhere it begins with the
    /// launch.
    fn listen(&mut self, port: VsockPort) -> Result<Box<dyn GuestListener>, BackendError>;

    /// Phase 5: starts the network engine. Nothing to do without a NIC.
    fn start_network(&mut self) -> LocalFuture<'_, Result<(), BackendError>>;

    /// Phase 6: plans and sets up confinement. Required and not to be had is `Unsupported`.
    fn confine(&mut self) -> LocalFuture<'_, Result<ConfinementReport, BackendError>>;

    /// Phase 7: starts the VMM up to the point where the guest would run, and no further. On failure
    /// everything that was started is ended again.
    fn launch(self: Box<Self>) -> LocalFuture<'static, Result<Launched, BackendError>>;

    /// Undoes phases 4 to 6 in reverse order.
    fn abandon(self: Box<Self>) -> LocalFuture<'static, ()>;
}

/// Connections that the guest opens to one port of the host. Dropping it stops listening and removes
/// what the guest could dial.
pub trait GuestListener {
    /// The next connection. Cancel-safe: dropping the future loses no connection.
    ///
    /// Except on the control port, flushing such a stream waits until the guest's device has taken what was
    /// written, where the host can tell.
    fn accept(&mut self) -> LocalFuture<'_, io::Result<GuestStream>>;
}

/// What confinement a boot has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfinementReport {
    /// The parts that hold, as the protocol names them.
    pub parts: Vec<ConfinementPart>,
}

/// A VM that exists and whose guest does not run yet.
pub struct Launched {
    /// The machine.
    pub vm: Rc<dyn Vm>,
    /// Its serial port.
    pub console: Console,
    /// What happens to it, at most [`VM_EVENTS_MAX`] unread. [`VmEvent::Ended`] comes exactly once
    /// and last but for helpers; a closed channel before it counts as an end without a status.
    pub events: mpsc::Receiver<VmEvent>,
    /// What the VMM says of its version, for the record.
    pub engine_version: Option<String>,
}

/// Capacity of the queue of VM events: one end of the VM and of each helper, with room.
pub const VM_EVENTS_MAX: usize = 8;

/// Until [`Vm::run`] is given up. A backend's own limit is shorter, so that it says in its own words what did not
/// answer; a busy host takes its time to make a machine.
pub const RUN_LIMIT: Duration = Duration::from_secs(12);

/// The guest's serial port.
pub struct Console {
    /// What the guest writes. Always drained: a full pipe stalls a virtual CPU.
    pub output: Box<dyn AsyncRead + Unpin>,
    /// What is typed to the guest.
    pub input: Box<dyn AsyncWrite + Unpin>,
}

/// What happens to a VM without being asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VmEvent {
    /// The VM is no more. Its status was taken, it is no zombie.
    Ended(VmExit),
    /// A helper is no more.
    HelperEnded {
        /// Its name, as in [`Vm::helpers`].
        name: &'static str,
        /// Whether the guest can still be reached over vsock.
        severs: Severs,
    },
}

/// What is lost with a helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severs {
    /// Every vsock connection, for good.
    Vsock,
    /// The guest's network.
    Network,
}

/// How a VM ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VmExit {
    /// Exit code of its process, when it has one and returned.
    pub code: Option<i32>,
    /// The signal that ended its process.
    pub signal: Option<i32>,
    /// The kernel ended it for want of memory.
    pub out_of_memory: bool,
}

/// What the record keeps of a VM so that a later command finds it, or knows that it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VmIdentity {
    /// A process, as the host's namespace sees it.
    Process(ProcessIdentity),
    /// An object of a system service.
    System {
        /// What the service calls it.
        id: String,
        /// Under which id its sockets are reached.
        runtime_id: String,
    },
    /// It lives in the monitor and ends with it.
    Monitor,
}

/// A process that belongs to a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helper {
    /// Its name.
    pub name: &'static str,
    /// Which process it is.
    pub identity: ProcessIdentity,
}

/// Bytes of a guest's frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NetworkBytes {
    /// To the guest.
    pub to_guest: u64,
    /// From the guest.
    pub from_guest: u64,
}

/// One machine. All methods may be called at any time after the launch, also after the end: what is
/// asked of a VM that is gone fails or does nothing, it never waits.
pub trait Vm {
    /// What the record keeps.
    fn identity(&self) -> VmIdentity;

    /// Its helpers.
    fn helpers(&self) -> Vec<Helper>;

    /// The program behind the guest's network, when there is one.
    fn network_engine(&self) -> Option<&'static str> {
        None
    }

    /// The guest's addresses, where the network of this host gave them to this boot; none where
    /// [`Backend::guest_addresses`] told them before.
    fn guest_addresses(&self) -> Option<GuestAddresses> {
        None
    }

    /// What has crossed the guest's network so far; none without one, or where nobody counts.
    fn network_bytes(&self) -> Option<NetworkBytes> {
        None
    }

    /// The cgroup that holds VM and helpers, when there is one.
    fn cgroup(&self) -> Option<AbsPath>;

    /// Lets the guest run. Called once, after the identity is recorded and synced; bounded by [`RUN_LIMIT`].
    fn run(&self) -> LocalFuture<'_, Result<(), BackendError>>;

    /// Opens a connection to a port of the guest, handshake included, within 2 s. Kind `NotFound` is
    /// a port without a listener.
    fn dial(&self, port: VsockPort) -> LocalFuture<'_, Result<GuestStream, BackendError>>;

    /// Stops the virtual CPUs.
    fn pause(&self) -> LocalFuture<'_, Result<(), BackendError>>;

    /// Lets them go on.
    fn resume(&self) -> LocalFuture<'_, Result<(), BackendError>>;

    /// Asks the VMM to end: SIGTERM, or the framework's equivalent. Does not wait for the end.
    fn terminate(&self) -> Result<(), BackendError>;

    /// Ends the VM at once: SIGKILL, or the framework's equivalent. Does not wait for the end.
    fn kill(&self) -> Result<(), BackendError>;

    /// Cuts the guest's network for the rest of this boot; done already or without a NIC is success.
    fn cut_network(&self) -> LocalFuture<'_, Result<(), BackendError>>;

    /// After the end: ends the helpers (SIGTERM, 1 s, SIGKILL), removes cgroup and private root. A
    /// step that fails is logged and does not stop the next.
    fn wind_up(&self) -> LocalFuture<'_, ()>;
}
