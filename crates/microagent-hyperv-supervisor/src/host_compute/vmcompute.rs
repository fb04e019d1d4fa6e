//! `vmcompute.dll`: compute systems.

use std::ffi::c_void;

use microagent_types::AbsPath;
use tokio::sync::mpsc;
use windows_sys::Win32::Foundation::HANDLE;

use super::library::{Library, NOT_HERE, Told, functions, judge, text_at, wide};
use crate::calls::{CallError, Progress, System};
use crate::events::{Kind, Notification};
use crate::host::COMPUTE_LIBRARY;

type Text = *const u16;
type Answer = *mut *mut u16;
type Callback = unsafe extern "system" fn(u32, *mut c_void, i32, Text);

functions! {
    /// Its functions, as far as we call them.
    Functions of COMPUTE_LIBRARY;
    create = c"HcsCreateComputeSystem": fn(Text, Text, HANDLE, *mut HANDLE, Answer);
    open = c"HcsOpenComputeSystem": fn(Text, *mut HANDLE, Answer);
    close = c"HcsCloseComputeSystem": fn(HANDLE);
    start = c"HcsStartComputeSystem": fn(HANDLE, Text, Answer);
    shut_down = c"HcsShutdownComputeSystem": fn(HANDLE, Text, Answer);
    terminate = c"HcsTerminateComputeSystem": fn(HANDLE, Text, Answer);
    properties = c"HcsGetComputeSystemProperties": fn(HANDLE, Text, Answer, Answer);
    modify = c"HcsModifyComputeSystem": fn(HANDLE, Text, Answer);
    listen = c"HcsRegisterComputeSystemCallback": fn(HANDLE, Callback, *mut c_void, *mut HANDLE);
    stop_listening = c"HcsUnregisterComputeSystemCallback": fn(HANDLE);
    grant = c"GrantVmAccess": fn(Text, Text);
}

/// Every basic property.
const NO_QUERY: &str = "{}";

/// Whether the library is there with all that we call.
pub(super) fn is_there() -> bool {
    Functions::get("LoadLibrary").is_ok()
}

/// `GrantVmAccess`.
pub(super) fn grant_access(system: &str, path: &AbsPath) -> Result<(), CallError> {
    let call = "GrantVmAccess";
    let (system, path) = (wide(system), wide(path.as_path().to_str().unwrap_or("")));
    let functions = Functions::get(call)?;
    // SAFETY: both texts end with a zero and outlive the call.
    let answer = unsafe { (functions.grant)(system.as_ptr(), path.as_ptr()) };
    judge(call, answer, &Told::nothing()).map(|_| ())
}

/// `HcsCreateComputeSystem`, then `HcsRegisterComputeSystemCallback`.
pub(super) fn create(
    id: &str,
    document: &str,
    told: mpsc::Sender<Notification>,
) -> Result<(ComputeSystem, Progress), CallError> {
    let call = "HcsCreateComputeSystem";
    let functions = Functions::get(call)?;
    let (id, document) = (wide(id), wide(document));
    let mut handle: HANDLE = std::ptr::null_mut();
    let mut said = Told::nothing();
    // SAFETY: the texts end with a zero, the places outlive the call; no identity is the caller's own.
    let answer = unsafe {
        (functions.create)(
            id.as_ptr(),
            document.as_ptr(),
            std::ptr::null_mut(),
            &raw mut handle,
            said.place(),
        )
    };
    let progress = judge(call, answer, &said)?;
    let mut system = ComputeSystem {
        functions,
        handle,
        listening: None,
    };
    system.listen(told)?;
    Ok((system, progress))
}

/// `HcsOpenComputeSystem`.
pub(super) fn open(id: &str) -> Result<ComputeSystem, CallError> {
    let call = "HcsOpenComputeSystem";
    let functions = Functions::get(call)?;
    let id = wide(id);
    let mut handle: HANDLE = std::ptr::null_mut();
    let mut said = Told::nothing();
    // SAFETY: the text ends with a zero, and the places outlive the call.
    let answer = unsafe { (functions.open)(id.as_ptr(), &raw mut handle, said.place()) };
    judge(call, answer, &said)?;
    Ok(ComputeSystem {
        functions,
        handle,
        listening: None,
    })
}

/// A handle of a compute system.
pub(super) struct ComputeSystem {
    functions: Functions,
    handle: HANDLE,
    listening: Option<Registered>,
}

/// A callback that the service may call.
struct Registered {
    callback: HANDLE,
    told: *mut mpsc::Sender<Notification>,
}

// SAFETY: the service's handles may be used by every thread, and what a callback is given is touched by
// the callback alone until it is unregistered.
unsafe impl Send for ComputeSystem {}
// SAFETY: as above.
unsafe impl Sync for ComputeSystem {}

impl ComputeSystem {
    fn listen(&mut self, told: mpsc::Sender<Notification>) -> Result<(), CallError> {
        let told = Box::into_raw(Box::new(told));
        let mut callback: HANDLE = std::ptr::null_mut();
        // SAFETY: what the context leads to lives until the callback is unregistered, below.
        let answer =
            unsafe { (self.functions.listen)(self.handle, hear, told.cast(), &raw mut callback) };
        let call = "HcsRegisterComputeSystemCallback";
        if let Err(error) = judge(call, answer, &Told::nothing()) {
            // SAFETY: made above, and the service did not take it.
            drop(unsafe { Box::from_raw(told) });
            return Err(error);
        }
        self.listening = Some(Registered { callback, told });
        Ok(())
    }

    /// A call that takes options and may tell something.
    fn ask(
        &self,
        call: &'static str,
        function: unsafe extern "system" fn(HANDLE, Text, Answer) -> i32,
        options: &str,
    ) -> Result<Progress, CallError> {
        let options = wide(options);
        let mut said = Told::nothing();
        // SAFETY: the handle is open, the text ends with a zero, and the place outlives the call.
        let answer = unsafe { function(self.handle, options.as_ptr(), said.place()) };
        judge(call, answer, &said)
    }
}

/// What the service calls: it only passes on.
unsafe extern "system" fn hear(kind: u32, context: *mut c_void, status: i32, data: Text) {
    // SAFETY: the context is the sender that was registered, which lives for as long as this may be called.
    let told = unsafe { &*context.cast::<mpsc::Sender<Notification>>() };
    let notification = Notification {
        kind: Kind::from_number(kind),
        status: status.cast_unsigned(),
        // SAFETY: the service gives nothing or a text that ends with a zero.
        data: unsafe { text_at(data) },
    };
    // Who listened may be gone; the queue holds more than a system ever tells.
    let _ = told.try_send(notification);
}

impl System for ComputeSystem {
    fn start(&self) -> Result<Progress, CallError> {
        self.ask("HcsStartComputeSystem", self.functions.start, "")
    }

    fn shut_down(&self) -> Result<Progress, CallError> {
        self.ask("HcsShutdownComputeSystem", self.functions.shut_down, "")
    }

    fn terminate(&self) -> Result<Progress, CallError> {
        self.ask("HcsTerminateComputeSystem", self.functions.terminate, "")
    }

    fn properties(&self) -> Result<String, CallError> {
        let call = "HcsGetComputeSystemProperties";
        let query = wide(NO_QUERY);
        let (mut properties, mut said) = (Told::nothing(), Told::nothing());
        // SAFETY: the handle is open, the text ends with a zero, and the places outlive the call.
        let answer = unsafe {
            (self.functions.properties)(
                self.handle,
                query.as_ptr(),
                properties.place(),
                said.place(),
            )
        };
        match judge(call, answer, &said)? {
            Progress::Done => Ok(properties.text()),
            // Of basic properties the service tells at once.
            Progress::Pending => Err(CallError {
                call,
                code: NOT_HERE,
                detail: "the properties are told later".to_owned(),
            }),
        }
    }

    fn modify(&self, settings: &str) -> Result<Progress, CallError> {
        self.ask("HcsModifyComputeSystem", self.functions.modify, settings)
    }
}

impl Drop for ComputeSystem {
    fn drop(&mut self) {
        if let Some(registered) = self.listening.take() {
            // SAFETY: registered once; when this returns no callback runs or begins.
            unsafe { (self.functions.stop_listening)(registered.callback) };
            // SAFETY: made by `listen`, and nobody else has it now.
            drop(unsafe { Box::from_raw(registered.told) });
        }
        // SAFETY: the handle is open, and is closed once.
        unsafe { (self.functions.close)(self.handle) };
    }
}
