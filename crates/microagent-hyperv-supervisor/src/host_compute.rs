//! The services' calls on Windows. Calls only: a file for each library, and one for Hyper-V sockets.
#![expect(unsafe_code, reason = "every call of the system is foreign")]

mod computenetwork;
mod hv_socket;
mod library;
mod vmcompute;

use std::sync::Arc;

use microagent_os::process;
use microagent_types::AbsPath;
use tokio::sync::mpsc;
use windows_sys::Wdk::System::SystemServices::RtlGetVersion;
use windows_sys::Win32::System::SystemInformation::{
    GlobalMemoryStatusEx, MEMORYSTATUSEX, OSVERSIONINFOW,
};

use crate::calls::{CallError, Host, Progress, Sockets, System};
use crate::events::Notification;
use crate::host::{COMPUTE_LIBRARY, Findings, NETWORK_LIBRARY, WrongHost};

/// The services of this host.
pub fn of_this_host() -> Arc<dyn Host> {
    Arc::new(HostCompute)
}

/// Hyper-V sockets of this host.
pub fn sockets() -> Arc<dyn Sockets> {
    Arc::new(hv_socket::HvSockets)
}

struct HostCompute;

impl Host for HostCompute {
    fn look(&self) -> Result<Findings, WrongHost> {
        let compute = vmcompute::is_there().then_some(COMPUTE_LIBRARY);
        let network = computenetwork::is_there().then_some(NETWORK_LIBRARY);
        let missing_library = match (compute, network) {
            (None, _) => Some(COMPUTE_LIBRARY),
            (Some(_), None) => Some(NETWORK_LIBRARY),
            (Some(_), Some(_)) => None,
        };
        Ok(Findings {
            os_version: os_version(),
            memory_bytes: memory_bytes(),
            missing_library,
            is_administrator: process::is_administrator().ok(),
        })
    }

    fn grant_access(&self, system: &str, path: &AbsPath) -> Result<(), CallError> {
        vmcompute::grant_access(system, path)
    }

    fn create(
        &self,
        id: &str,
        document: &str,
        told: mpsc::Sender<Notification>,
    ) -> Result<(Arc<dyn System>, Progress), CallError> {
        let (system, progress) = vmcompute::create(id, document, told)?;
        Ok((Arc::new(system), progress))
    }

    fn open(&self, id: &str) -> Result<Arc<dyn System>, CallError> {
        Ok(Arc::new(vmcompute::open(id)?))
    }

    fn find_network(&self, id: &str) -> Result<(), CallError> {
        computenetwork::find_network(id)
    }

    fn create_network(&self, id: &str, settings: &str) -> Result<(), CallError> {
        computenetwork::create_network(id, settings)
    }

    fn create_endpoint(
        &self,
        network: &str,
        id: &str,
        settings: &str,
    ) -> Result<String, CallError> {
        computenetwork::create_endpoint(network, id, settings)
    }

    fn delete_endpoint(&self, id: &str) -> Result<(), CallError> {
        computenetwork::delete_endpoint(id)
    }
}

fn memory_bytes() -> u64 {
    let mut status = MEMORYSTATUSEX {
        dwLength: u32::try_from(size_of::<MEMORYSTATUSEX>()).unwrap_or(0),
        ..MEMORYSTATUSEX::default()
    };
    // SAFETY: the pointer leads to a value of the length that it names, which outlives the call.
    let answer = unsafe { GlobalMemoryStatusEx(&raw mut status) };
    if answer == 0 { 0 } else { status.ullTotalPhys }
}

fn os_version() -> String {
    let mut version = OSVERSIONINFOW {
        dwOSVersionInfoSize: u32::try_from(size_of::<OSVERSIONINFOW>()).unwrap_or(0),
        ..OSVERSIONINFOW::default()
    };
    // SAFETY: as above. It can't fail with a value of that length.
    unsafe { RtlGetVersion(&raw mut version) };
    format!(
        "{}.{}.{}",
        version.dwMajorVersion, version.dwMinorVersion, version.dwBuildNumber
    )
}
