//! The host's calls where there is no Host Compute Service: every other system.

use crate::calls::Calls;

/// The first of the libraries that would be needed.
const LIBRARY: &str = "vmcompute.dll";

/// The wrong host.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostCompute;

impl Calls for HostCompute {
    fn missing_library(&self) -> Option<&'static str> {
        Some(LIBRARY)
    }

    fn is_administrator(&self) -> Option<bool> {
        None
    }

    fn memory_bytes(&self) -> u64 {
        0
    }

    fn is_windows(&self) -> bool {
        false
    }
}
