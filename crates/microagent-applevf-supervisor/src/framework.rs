//! The calls of Virtualization.framework, and nothing that could be computed before or after them.
//!
//! A machine is made and touched on one serial dispatch queue of its own, which is what the framework
//! demands: each method here puts one block on that queue and returns. Completion handlers and delegate
//! methods are called by the framework on the same queue; all they do is to put what they were told into
//! a channel. The queue keeps no thread of ours waiting, and the monitor's loop none of the framework's.
#![expect(
    unsafe_code,
    reason = "every method of an Objective-C object is unsafe to call, and this is the one file that does"
)]

use std::ffi::c_void;
use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd};
use std::path::Path;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Mutex;

use block2::RcBlock;
use dispatch2::{DispatchQueue, DispatchRetained};
use objc2::rc::Retained;
use objc2::runtime::{NSObject, NSObjectProtocol, ProtocolObject};
use objc2::{AllocAnyThread, DefinedClass, define_class, msg_send};
use objc2_foundation::{NSArray, NSError, NSFileHandle, NSProcessInfo, NSString, NSURL};
use objc2_virtualization::{
    VZBridgedNetworkDeviceAttachment, VZBridgedNetworkInterface, VZDiskImageCachingMode,
    VZDiskImageStorageDeviceAttachment, VZDiskImageSynchronizationMode,
    VZFileHandleSerialPortAttachment, VZGenericPlatformConfiguration, VZLinuxBootLoader,
    VZMACAddress, VZNATNetworkDeviceAttachment, VZNetworkDevice, VZNetworkDeviceAttachment,
    VZVirtioBlockDeviceConfiguration, VZVirtioConsoleDeviceSerialPortConfiguration,
    VZVirtioEntropyDeviceConfiguration, VZVirtioNetworkDeviceConfiguration,
    VZVirtioSocketConnection, VZVirtioSocketDevice, VZVirtioSocketDeviceConfiguration,
    VZVirtioSocketListener, VZVirtioSocketListenerDelegate,
    VZVirtioTraditionalMemoryBalloonDeviceConfiguration, VZVirtualMachine,
    VZVirtualMachineConfiguration, VZVirtualMachineDelegate,
};
use tokio::sync::{mpsc, oneshot};

use crate::calls::{Answer, Framework, Machine, SerialEnds};
use crate::config::{
    AttachmentPlan, COMPONENT, Caching, DiskPlan, MachinePlan, NetworkPlan, Synchronization,
};
use crate::events::{CallError, FrameworkEvent};
use crate::host::{Entitlements, Findings, WrongHost};

/// Of the queue, in traces of the system.
const QUEUE_LABEL: &str = "microagent.machine";
const VIRTUALIZATION: &str = "com.apple.security.virtualization";
const NETWORKING: &str = "com.apple.vm.networking";

/// The framework of this host.
pub fn of_this_host() -> Box<dyn Framework> {
    Box::new(Virtualization)
}

struct Virtualization;

impl Framework for Virtualization {
    fn look(&self) -> Result<Findings, WrongHost> {
        let process = NSProcessInfo::processInfo();
        let entitlements = Entitlements {
            virtualization: has_entitlement(VIRTUALIZATION),
            networking: has_entitlement(NETWORKING),
        };
        let version = process.operatingSystemVersion();
        Ok(Findings {
            os_version: format!(
                "{}.{}.{}",
                version.majorVersion, version.minorVersion, version.patchVersion
            ),
            cpus: u32::try_from(process.processorCount()).unwrap_or(u32::MAX),
            memory_bytes: process.physicalMemory(),
            // SAFETY: a class method without arguments or state.
            is_supported: unsafe { VZVirtualMachine::isSupported() },
            entitlements,
            interfaces: if entitlements.networking {
                interfaces()
            } else {
                Vec::new()
            },
        })
    }

    fn make(
        &self,
        plan: &MachinePlan,
        serial: SerialEnds,
        events: mpsc::Sender<FrameworkEvent>,
    ) -> Result<Rc<dyn Machine>, CallError> {
        let queue = DispatchQueue::new(QUEUE_LABEL, None);
        let parts = OnQueue((configuration(plan, serial)?, MachineDelegate::new(events)));
        let mut made = None;
        queue.exec_sync(|| {
            let (configuration, delegate) = parts.get();
            // SAFETY: the configuration was validated, and this is the queue that is named.
            let machine = unsafe {
                VZVirtualMachine::initWithConfiguration_queue(
                    VZVirtualMachine::alloc(),
                    configuration,
                    &queue,
                )
            };
            let listens = ProtocolObject::from_ref(&**delegate);
            // SAFETY: the delegate is kept beside the machine, which refers to it weakly.
            unsafe { machine.setDelegate(Some(listens)) };
            made = Some(OnQueue(Objects {
                machine,
                _delegate: delegate.clone(),
                listeners: Mutex::default(),
            }));
        });
        let objects = made.ok_or_else(|| own_error("the queue ran nothing"))?;
        Ok(Rc::new(AppleMachine {
            queue,
            objects: std::sync::Arc::new(objects),
        }))
    }
}

/// Objects that are touched on the machine's queue alone, once they are made.
struct OnQueue<T>(T);

impl<T> OnQueue<T> {
    /// For a block on the queue.
    fn get(&self) -> &T {
        &self.0
    }
}

// SAFETY: every access after the making is inside a block of the one serial queue, so no two threads use
// the objects at once; counting references, which is all that others do, is atomic.
unsafe impl<T> Send for OnQueue<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for OnQueue<T> {}

struct Objects {
    machine: Retained<VZVirtualMachine>,
    _delegate: Retained<MachineDelegate>,
    /// The device refers to a listener, and a listener to its delegate weakly.
    listeners: Mutex<Vec<PortListener>>,
}

/// A port that is listened on.
struct PortListener {
    port: u32,
    _listener: Retained<VZVirtioSocketListener>,
    _delegate: Retained<PortDelegate>,
}

impl Objects {
    fn socket_device(&self) -> Result<Retained<VZVirtioSocketDevice>, CallError> {
        // SAFETY: on the machine's queue.
        let devices = unsafe { self.machine.socketDevices() };
        let device = devices.firstObject();
        let device = device.and_then(|device| device.downcast::<VZVirtioSocketDevice>().ok());
        device.ok_or_else(|| own_error("the machine has no socket device"))
    }
}

struct AppleMachine {
    queue: DispatchRetained<DispatchQueue>,
    objects: std::sync::Arc<OnQueue<Objects>>,
}

type Asked<T> = oneshot::Sender<Result<T, CallError>>;

impl AppleMachine {
    /// Puts one block on the queue.
    fn on_queue<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Objects, Asked<T>) + Send + 'static,
    ) -> Answer<T> {
        let (asked, answer) = oneshot::channel();
        let objects = self.objects.clone();
        self.queue.exec_async(move || call(objects.get(), asked));
        answer
    }
}

impl Machine for AppleMachine {
    fn start(&self) -> Answer<()> {
        self.on_queue(|objects, asked| {
            let done = completion(asked);
            // SAFETY: on the machine's queue; the framework copies the block.
            unsafe { objects.machine.startWithCompletionHandler(&done) };
        })
    }

    fn stop(&self) -> Answer<()> {
        self.on_queue(|objects, asked| {
            // SAFETY: on the machine's queue.
            if !unsafe { objects.machine.canStop() } {
                return tell(asked, Err(own_error("the machine cannot be stopped now")));
            }
            let done = completion(asked);
            // SAFETY: on the machine's queue; the framework copies the block.
            unsafe { objects.machine.stopWithCompletionHandler(&done) };
        })
    }

    fn pause(&self) -> Answer<()> {
        self.on_queue(|objects, asked| {
            // SAFETY: on the machine's queue.
            if !unsafe { objects.machine.canPause() } {
                return tell(asked, Err(own_error("the machine cannot be paused now")));
            }
            let done = completion(asked);
            // SAFETY: on the machine's queue; the framework copies the block.
            unsafe { objects.machine.pauseWithCompletionHandler(&done) };
        })
    }

    fn resume(&self) -> Answer<()> {
        self.on_queue(|objects, asked| {
            // SAFETY: on the machine's queue.
            if !unsafe { objects.machine.canResume() } {
                return tell(asked, Err(own_error("the machine cannot be resumed now")));
            }
            let done = completion(asked);
            // SAFETY: on the machine's queue; the framework copies the block.
            unsafe { objects.machine.resumeWithCompletionHandler(&done) };
        })
    }

    fn connect(&self, port: u32) -> Answer<OwnedFd> {
        self.on_queue(move |objects, asked| {
            let device = match objects.socket_device() {
                Ok(device) => device,
                Err(error) => return tell(asked, Err(error)),
            };
            let asked = Mutex::new(Some(asked));
            let done = RcBlock::new(
                move |connection: *mut VZVirtioSocketConnection, error: *mut NSError| {
                    let Some(asked) = taken(&asked) else { return };
                    // SAFETY: the framework gives an object that is alive during the call, or null.
                    let connection = unsafe { connection.as_ref() };
                    tell(
                        asked,
                        match connection {
                            Some(connection) => duplicate(connection),
                            None => Err(error_of(error)),
                        },
                    );
                },
            );
            // SAFETY: on the machine's queue; the framework copies the block.
            unsafe { device.connectToPort_completionHandler(port, &done) };
        })
    }

    fn listen(&self, port: u32, accepted: mpsc::Sender<OwnedFd>) {
        let objects = self.objects.clone();
        self.queue.exec_async(move || {
            let objects = objects.get();
            let Ok(device) = objects.socket_device() else {
                return;
            };
            let delegate = PortDelegate::new(accepted);
            // SAFETY: an ordinary initialiser.
            let listener = unsafe { VZVirtioSocketListener::new() };
            let answers = ProtocolObject::from_ref(&*delegate);
            // SAFETY: the delegate is kept beside the listener, which refers to it weakly.
            unsafe { listener.setDelegate(Some(answers)) };
            // SAFETY: on the machine's queue.
            unsafe { device.setSocketListener_forPort(&listener, port) };
            if let Ok(mut listeners) = objects.listeners.lock() {
                listeners.push(PortListener {
                    port,
                    _listener: listener,
                    _delegate: delegate,
                });
            }
        });
    }

    fn stop_listening(&self, port: u32) {
        let objects = self.objects.clone();
        self.queue.exec_async(move || {
            let objects = objects.get();
            if let Ok(device) = objects.socket_device() {
                // SAFETY: on the machine's queue.
                unsafe { device.removeSocketListenerForPort(port) };
            }
            if let Ok(mut listeners) = objects.listeners.lock() {
                listeners.retain(|one| one.port != port);
            }
        });
    }

    fn detach_network(&self) -> Answer<()> {
        self.on_queue(|objects, asked| {
            // SAFETY: on the machine's queue.
            let devices = unsafe { objects.machine.networkDevices() };
            for device in devices.to_vec() {
                // SAFETY: on the machine's queue.
                unsafe { device.setAttachment(None) };
            }
            tell(asked, Ok(()));
        })
    }
}

/// A completion handler that answers.
fn completion(asked: Asked<()>) -> RcBlock<dyn Fn(*mut NSError)> {
    let asked = Mutex::new(Some(asked));
    RcBlock::new(move |error: *mut NSError| {
        if let Some(asked) = taken(&asked) {
            tell(
                asked,
                if error.is_null() {
                    Ok(())
                } else {
                    Err(error_of(error))
                },
            );
        }
    })
}

/// What is answered once, however often the framework calls.
fn taken<T>(asked: &Mutex<Option<T>>) -> Option<T> {
    asked.lock().ok()?.take()
}

/// Whoever asked may have given up.
fn tell<T>(asked: Asked<T>, answer: Result<T, CallError>) {
    drop(asked.send(answer));
}

/// A descriptor of our own; the framework closes its one with the connection object.
fn duplicate(connection: &VZVirtioSocketConnection) -> Result<OwnedFd, CallError> {
    // SAFETY: the connection is alive; the number is its descriptor, or -1 when it is closed.
    let number = unsafe { connection.fileDescriptor() };
    if number < 0 {
        return Err(own_error("the connection was closed at once"));
    }
    // SAFETY: the descriptor is open for as long as the connection, which outlives this call.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    let copy = descriptor.try_clone_to_owned();
    copy.map_err(|error| own_error(&error.to_string()))
}

struct MachineIvars {
    events: mpsc::Sender<FrameworkEvent>,
}

define_class!(
    // SAFETY: NSObject has no demands of its subclasses, and there is no Drop.
    #[unsafe(super(NSObject))]
    #[name = "MicroagentMachineDelegate"]
    #[ivars = MachineIvars]
    struct MachineDelegate;

    // SAFETY: the protocol demands nothing but its methods.
    unsafe impl NSObjectProtocol for MachineDelegate {}

    // SAFETY: the signatures are the protocol's.
    unsafe impl VZVirtualMachineDelegate for MachineDelegate {
        #[unsafe(method(guestDidStopVirtualMachine:))]
        fn guest_did_stop(&self, _machine: &VZVirtualMachine) {
            self.tell(FrameworkEvent::GuestStopped);
        }

        #[unsafe(method(virtualMachine:didStopWithError:))]
        fn did_stop_with_error(&self, _machine: &VZVirtualMachine, error: &NSError) {
            self.tell(FrameworkEvent::StoppedWithError(call_error(error)));
        }

        #[unsafe(method(virtualMachine:networkDevice:attachmentWasDisconnectedWithError:))]
        fn network_was_lost(
            &self,
            _machine: &VZVirtualMachine,
            _device: &VZNetworkDevice,
            error: &NSError,
        ) {
            self.tell(FrameworkEvent::NetworkLost(call_error(error)));
        }
    }
);

impl MachineDelegate {
    fn new(events: mpsc::Sender<FrameworkEvent>) -> Retained<Self> {
        let this = Self::alloc().set_ivars(MachineIvars { events });
        // SAFETY: NSObject's initialiser.
        unsafe { msg_send![super(this), init] }
    }

    fn tell(&self, event: FrameworkEvent) {
        // An end is told at most twice and has room; of lost networks the first is enough.
        drop(self.ivars().events.try_send(event));
    }
}

struct PortIvars {
    accepted: mpsc::Sender<OwnedFd>,
}

define_class!(
    // SAFETY: NSObject has no demands of its subclasses, and there is no Drop.
    #[unsafe(super(NSObject))]
    #[name = "MicroagentPortDelegate"]
    #[ivars = PortIvars]
    struct PortDelegate;

    // SAFETY: the protocol demands nothing but its methods.
    unsafe impl NSObjectProtocol for PortDelegate {}

    // SAFETY: the signature is the protocol's.
    unsafe impl VZVirtioSocketListenerDelegate for PortDelegate {
        #[unsafe(method(listener:shouldAcceptNewConnection:fromSocketDevice:))]
        fn should_accept(
            &self,
            _listener: &VZVirtioSocketListener,
            connection: &VZVirtioSocketConnection,
            _device: &VZVirtioSocketDevice,
        ) -> bool {
            let descriptor = duplicate(connection);
            descriptor.is_ok_and(|descriptor| self.ivars().accepted.try_send(descriptor).is_ok())
        }
    }
);

impl PortDelegate {
    fn new(accepted: mpsc::Sender<OwnedFd>) -> Retained<Self> {
        let this = Self::alloc().set_ivars(PortIvars { accepted });
        // SAFETY: NSObject's initialiser.
        unsafe { msg_send![super(this), init] }
    }
}

/// The objects of a plan, validated.
fn configuration(
    plan: &MachinePlan,
    serial: SerialEnds,
) -> Result<Retained<VZVirtualMachineConfiguration>, CallError> {
    // SAFETY: this and the calls below are initialisers and setters of objects that no other thread has.
    let configuration = unsafe { VZVirtualMachineConfiguration::new() };
    let disks = plan.disks.iter().map(disk).collect::<Result<Vec<_>, _>>()?;
    let disks: Vec<_> = disks.iter().map(|disk| &***disk).collect();
    let network = plan.network.as_ref().map(network).transpose()?;
    let cpus = usize::try_from(plan.cpus).unwrap_or(usize::MAX);
    // SAFETY: see above.
    let platform = unsafe { VZGenericPlatformConfiguration::new() };
    // SAFETY: see above.
    unsafe { configuration.setPlatform(&platform) };
    // SAFETY: see above.
    unsafe { configuration.setCPUCount(cpus) };
    // SAFETY: see above.
    unsafe { configuration.setMemorySize(plan.memory_bytes) };
    // SAFETY: see above.
    unsafe { configuration.setBootLoader(Some(&boot_loader(plan))) };
    // SAFETY: see above.
    unsafe { configuration.setStorageDevices(&NSArray::from_slice(&disks)) };
    let port = console(serial);
    // SAFETY: see above.
    unsafe { configuration.setSerialPorts(&NSArray::from_slice(&[&**port])) };
    // SAFETY: see above.
    let socket = unsafe { VZVirtioSocketDeviceConfiguration::new() };
    // SAFETY: see above.
    unsafe { configuration.setSocketDevices(&NSArray::from_slice(&[&**socket])) };
    // SAFETY: see above.
    let entropy = unsafe { VZVirtioEntropyDeviceConfiguration::new() };
    // SAFETY: see above.
    unsafe { configuration.setEntropyDevices(&NSArray::from_slice(&[&**entropy])) };
    // SAFETY: see above.
    let balloon = unsafe { VZVirtioTraditionalMemoryBalloonDeviceConfiguration::new() };
    // SAFETY: see above.
    unsafe { configuration.setMemoryBalloonDevices(&NSArray::from_slice(&[&**balloon])) };
    if let Some(network) = network {
        // SAFETY: see above.
        unsafe { configuration.setNetworkDevices(&NSArray::from_slice(&[&**network])) };
    }
    // SAFETY: see above.
    let validated = unsafe { configuration.validateWithError() };
    validated.map_err(|error| call_error(&error))?;
    Ok(configuration)
}

fn boot_loader(plan: &MachinePlan) -> Retained<VZLinuxBootLoader> {
    let kernel = file_url(plan.boot.kernel.as_path());
    let initramfs = file_url(plan.boot.initramfs.as_path());
    let line = NSString::from_str(&plan.boot.command_line);
    let loader = VZLinuxBootLoader::alloc();
    // SAFETY: an initialiser and two setters of an object that no other thread has.
    let loader = unsafe { VZLinuxBootLoader::initWithKernelURL(loader, &kernel) };
    // SAFETY: see above.
    unsafe { loader.setInitialRamdiskURL(Some(&initramfs)) };
    // SAFETY: see above.
    unsafe { loader.setCommandLine(&line) };
    loader
}

fn disk(plan: &DiskPlan) -> Result<Retained<VZVirtioBlockDeviceConfiguration>, CallError> {
    let url = file_url(plan.path.as_path());
    let caching = match plan.caching {
        Caching::Automatic => VZDiskImageCachingMode::Automatic,
    };
    let synchronization = match plan.synchronization {
        Synchronization::Fsync => VZDiskImageSynchronizationMode::Fsync,
        Synchronization::None => VZDiskImageSynchronizationMode::None,
    };
    // SAFETY: an initialiser; it opens the image and says what is wrong with it.
    let attachment = unsafe {
        VZDiskImageStorageDeviceAttachment::initWithURL_readOnly_cachingMode_synchronizationMode_error(
            VZDiskImageStorageDeviceAttachment::alloc(),
            &url,
            plan.read_only,
            caching,
            synchronization,
        )
    };
    let attachment = attachment.map_err(|error| call_error(&error))?;
    let device = VZVirtioBlockDeviceConfiguration::alloc();
    // SAFETY: an initialiser and a setter of an object that no other thread has.
    let device =
        unsafe { VZVirtioBlockDeviceConfiguration::initWithAttachment(device, &attachment) };
    // SAFETY: see above.
    unsafe { device.setBlockDeviceIdentifier(&NSString::from_str(&plan.identifier)) };
    Ok(device)
}

fn network(plan: &NetworkPlan) -> Result<Retained<VZVirtioNetworkDeviceConfiguration>, CallError> {
    let attachment: Retained<VZNetworkDeviceAttachment> = match &plan.attachment {
        // SAFETY: an ordinary initialiser.
        AttachmentPlan::Nat => Retained::into_super(unsafe { VZNATNetworkDeviceAttachment::new() }),
        AttachmentPlan::Bridged { interface } => {
            // SAFETY: a class method without arguments.
            let all = unsafe { VZBridgedNetworkInterface::networkInterfaces() };
            // SAFETY: a getter of an object that does not change.
            let is_named = |one: &Retained<VZBridgedNetworkInterface>| unsafe {
                one.identifier().to_string() == *interface
            };
            let found = all.to_vec().into_iter().find(is_named);
            let found = found.ok_or_else(|| own_error(&format!("`{interface}` is gone")))?;
            let bridge = VZBridgedNetworkDeviceAttachment::alloc();
            // SAFETY: an initialiser.
            Retained::into_super(unsafe {
                VZBridgedNetworkDeviceAttachment::initWithInterface(bridge, &found)
            })
        }
    };
    let mac = NSString::from_str(&plan.mac);
    // SAFETY: an initialiser; none when the text is no address.
    let mac = unsafe { VZMACAddress::initWithString(VZMACAddress::alloc(), &mac) };
    let mac = mac.ok_or_else(|| own_error(&format!("`{}` is no hardware address", plan.mac)))?;
    // SAFETY: an initialiser and two setters of an object that no other thread has.
    let device = unsafe { VZVirtioNetworkDeviceConfiguration::new() };
    // SAFETY: see above.
    unsafe { device.setMACAddress(&mac) };
    // SAFETY: see above.
    unsafe { device.setAttachment(Some(&attachment)) };
    Ok(device)
}

fn console(serial: SerialEnds) -> Retained<VZVirtioConsoleDeviceSerialPortConfiguration> {
    let (input, output) = (file_handle(serial.input), file_handle(serial.output));
    // SAFETY: an initialiser; the attachment keeps both handles.
    let attachment = unsafe {
        VZFileHandleSerialPortAttachment::initWithFileHandleForReading_fileHandleForWriting(
            VZFileHandleSerialPortAttachment::alloc(),
            Some(&input),
            Some(&output),
        )
    };
    // SAFETY: an initialiser and a setter of an object that no other thread has.
    let port = unsafe { VZVirtioConsoleDeviceSerialPortConfiguration::new() };
    // SAFETY: see above.
    unsafe { port.setAttachment(Some(&attachment)) };
    port
}

/// A handle that owns the descriptor.
fn file_handle(descriptor: OwnedFd) -> Retained<NSFileHandle> {
    NSFileHandle::initWithFileDescriptor_closeOnDealloc(
        NSFileHandle::alloc(),
        descriptor.into_raw_fd(),
        true,
    )
}

fn file_url(path: &Path) -> Retained<NSURL> {
    NSURL::fileURLWithPath(&NSString::from_str(&path.to_string_lossy()))
}

/// Identifiers of what a guest could be bridged to.
fn interfaces() -> Vec<String> {
    // SAFETY: a class method without arguments.
    let all = unsafe { VZBridgedNetworkInterface::networkInterfaces() };
    all.to_vec()
        .iter()
        // SAFETY: a getter of an object that does not change.
        .map(|interface| unsafe { interface.identifier() }.to_string())
        .collect()
}

fn error_of(error: *mut NSError) -> CallError {
    // SAFETY: the framework gives an object that is alive during the call, or null.
    match unsafe { error.as_ref() } {
        Some(error) => call_error(error),
        None => own_error("the framework gave neither a result nor an error"),
    }
}

fn call_error(error: &NSError) -> CallError {
    let mut text = error.localizedDescription().to_string();
    if let Some(reason) = error.localizedFailureReason() {
        text.push_str(": ");
        text.push_str(&reason.to_string());
    }
    CallError {
        domain: error.domain().to_string(),
        code: i64::try_from(error.code()).unwrap_or(i64::MAX),
        text,
    }
}

fn own_error(text: &str) -> CallError {
    CallError {
        domain: COMPONENT.to_owned(),
        code: 0,
        text: text.to_owned(),
    }
}

#[link(name = "Security", kind = "framework")]
unsafe extern "C" {
    fn SecTaskCreateFromSelf(allocator: *const c_void) -> *mut c_void;
    fn SecTaskCopyValueForEntitlement(
        task: *mut c_void,
        name: *const c_void,
        error: *mut *mut c_void,
    ) -> *mut c_void;
}

#[link(name = "CoreFoundation", kind = "framework")]
unsafe extern "C" {
    fn CFRelease(object: *const c_void);
    fn CFGetTypeID(object: *const c_void) -> usize;
    fn CFBooleanGetTypeID() -> usize;
    fn CFBooleanGetValue(boolean: *const c_void) -> u8;
}

/// Whether the signature of this executable carries an entitlement, with the value true.
fn has_entitlement(name: &str) -> bool {
    // An NSString is a CFString.
    let name = NSString::from_str(name);
    let name = Retained::as_ptr(&name).cast::<c_void>();
    // SAFETY: no allocator means the usual one; the result is ours to release.
    let task = unsafe { SecTaskCreateFromSelf(std::ptr::null()) };
    let Some(task) = NonNull::new(task) else {
        return false;
    };
    // SAFETY: both objects are alive; no error is asked for.
    let value =
        unsafe { SecTaskCopyValueForEntitlement(task.as_ptr(), name, std::ptr::null_mut()) };
    // SAFETY: it was created above and is used no more.
    unsafe { CFRelease(task.as_ptr()) };
    let Some(value) = NonNull::new(value) else {
        return false;
    };
    // SAFETY: the object is alive.
    let kind = unsafe { CFGetTypeID(value.as_ptr()) };
    // SAFETY: a function without arguments.
    let is_boolean = kind == unsafe { CFBooleanGetTypeID() };
    // SAFETY: the object is alive and a boolean.
    let carries = is_boolean && unsafe { CFBooleanGetValue(value.as_ptr()) } != 0;
    // SAFETY: it was copied for us and is used no more.
    unsafe { CFRelease(value.as_ptr()) };
    carries
}
