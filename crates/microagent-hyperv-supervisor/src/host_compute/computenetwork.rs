//! `computenetwork.dll`: networks of the Host Compute Service, and endpoints in them.

use std::ffi::c_void;

use windows_sys::core::GUID;

use super::library::{Library, NOT_HERE, Told, functions, guid, judge, wide};
use crate::calls::CallError;
use crate::host::NETWORK_LIBRARY;

type Text = *const u16;
type Answer = *mut *mut u16;
type Handle = *mut c_void;
type Id = *const GUID;

functions! {
    /// Its functions, as far as we call them.
    Functions of NETWORK_LIBRARY;
    open_network = c"HcnOpenNetwork": fn(Id, *mut Handle, Answer);
    create_network = c"HcnCreateNetwork": fn(Id, Text, *mut Handle, Answer);
    close_network = c"HcnCloseNetwork": fn(Handle);
    create_endpoint = c"HcnCreateEndpoint": fn(Handle, Id, Text, *mut Handle, Answer);
    endpoint_properties = c"HcnQueryEndpointProperties": fn(Handle, Text, Answer, Answer);
    close_endpoint = c"HcnCloseEndpoint": fn(Handle);
    delete_endpoint = c"HcnDeleteEndpoint": fn(Id, Answer);
}

/// Every property, in the schema of our documents.
const QUERY: &str = r#"{"SchemaVersion":{"Major":2,"Minor":0},"Flags":0}"#;

/// A handle that is closed once.
struct Open {
    handle: Handle,
    close: unsafe extern "system" fn(Handle) -> i32,
}

impl Drop for Open {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and this is the function that closes its kind.
        unsafe { (self.close)(self.handle) };
    }
}

/// Whether the library is there with all that we call.
pub(super) fn is_there() -> bool {
    Functions::get("LoadLibrary").is_ok()
}

/// `HcnOpenNetwork`: whether a network is there.
pub(super) fn find_network(id: &str) -> Result<(), CallError> {
    open_network(id).map(drop)
}

fn open_network(id: &str) -> Result<Open, CallError> {
    let call = "HcnOpenNetwork";
    let functions = Functions::get(call)?;
    let id = guid(call, id)?;
    let mut handle: Handle = std::ptr::null_mut();
    let mut said = Told::nothing();
    // SAFETY: the id and the places outlive the call.
    let answer = unsafe { (functions.open_network)(&raw const id, &raw mut handle, said.place()) };
    judge(call, answer, &said)?;
    Ok(Open {
        handle,
        close: functions.close_network,
    })
}

/// `HcnCreateNetwork`.
pub(super) fn create_network(id: &str, settings: &str) -> Result<(), CallError> {
    let call = "HcnCreateNetwork";
    let functions = Functions::get(call)?;
    let id = guid(call, id)?;
    let settings = wide(settings);
    let mut handle: Handle = std::ptr::null_mut();
    let mut said = Told::nothing();
    // SAFETY: the id and the places outlive the call, and the text ends with a zero.
    let answer = unsafe {
        (functions.create_network)(
            &raw const id,
            settings.as_ptr(),
            &raw mut handle,
            said.place(),
        )
    };
    judge(call, answer, &said)?;
    drop(Open {
        handle,
        close: functions.close_network,
    });
    Ok(())
}

/// `HcnCreateEndpoint`, then `HcnQueryEndpointProperties`.
pub(super) fn create_endpoint(
    network: &str,
    id: &str,
    settings: &str,
) -> Result<String, CallError> {
    let call = "HcnCreateEndpoint";
    let functions = Functions::get(call)?;
    let network = open_network(network)?;
    let id = guid(call, id)?;
    let settings = wide(settings);
    let mut handle: Handle = std::ptr::null_mut();
    let mut said = Told::nothing();
    // SAFETY: the network is open, id and places outlive the call, and the text ends with a zero.
    let answer = unsafe {
        (functions.create_endpoint)(
            network.handle,
            &raw const id,
            settings.as_ptr(),
            &raw mut handle,
            said.place(),
        )
    };
    judge(call, answer, &said)?;
    let endpoint = Open {
        handle,
        close: functions.close_endpoint,
    };
    let call = "HcnQueryEndpointProperties";
    let query = wide(QUERY);
    let (mut properties, mut said) = (Told::nothing(), Told::nothing());
    // SAFETY: the endpoint is open, the text ends with a zero, and the places outlive the call.
    let answer = unsafe {
        (functions.endpoint_properties)(
            endpoint.handle,
            query.as_ptr(),
            properties.place(),
            said.place(),
        )
    };
    judge(call, answer, &said)?;
    Ok(properties.text())
}

/// `HcnDeleteEndpoint`.
pub(super) fn delete_endpoint(id: &str) -> Result<(), CallError> {
    let call = "HcnDeleteEndpoint";
    let functions = Functions::get(call)?;
    let id = guid(call, id)?;
    let mut said = Told::nothing();
    // SAFETY: the id and the place outlive the call.
    let answer = unsafe { (functions.delete_endpoint)(&raw const id, said.place()) };
    judge(call, answer, &said).map(|_| ())
}
