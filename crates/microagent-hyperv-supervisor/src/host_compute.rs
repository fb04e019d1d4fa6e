//! The host's calls on Windows. Calls only.
#![expect(unsafe_code, reason = "every call of the system is foreign")]

use microagent_os::process;
use windows_sys::Win32::Foundation::FreeLibrary;
use windows_sys::Win32::System::LibraryLoader::{LOAD_LIBRARY_SEARCH_SYSTEM32, LoadLibraryExW};
use windows_sys::Win32::System::SystemInformation::{GlobalMemoryStatusEx, MEMORYSTATUSEX};

use crate::calls::Calls;

/// Compute systems, and the network that they are attached to.
const LIBRARIES: [&str; 2] = ["vmcompute.dll", "computenetwork.dll"];

/// This host.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostCompute;

impl Calls for HostCompute {
    fn missing_library(&self) -> Option<&'static str> {
        LIBRARIES.into_iter().find(|name| !is_there(name))
    }

    fn is_administrator(&self) -> Option<bool> {
        process::is_administrator().ok()
    }

    fn memory_bytes(&self) -> u64 {
        let mut status = MEMORYSTATUSEX {
            dwLength: u32::try_from(size_of::<MEMORYSTATUSEX>()).unwrap_or(0),
            ..MEMORYSTATUSEX::default()
        };
        // SAFETY: the pointer leads to a value of the length that it names, which outlives the call.
        let answer = unsafe { GlobalMemoryStatusEx(&raw mut status) };
        if answer == 0 { 0 } else { status.ullTotalPhys }
    }

    fn is_windows(&self) -> bool {
        true
    }
}

/// Only the system's own folder is looked in: no other may stand in for it.
fn is_there(library: &str) -> bool {
    let name: Vec<u16> = library.encode_utf16().chain([0]).collect();
    // SAFETY: the text ends with a zero; a library of the system's folder may be loaded by everybody.
    let module = unsafe {
        LoadLibraryExW(
            name.as_ptr(),
            std::ptr::null_mut(),
            LOAD_LIBRARY_SEARCH_SYSTEM32,
        )
    };
    if module.is_null() {
        return false;
    }
    // SAFETY: it was loaded just now, and nothing of it is in use.
    unsafe { FreeLibrary(module) };
    true
}
