//! The lease: held by a living monitor for its whole life, and let go by the kernel when it ends,
//! however it ends. Whether one lives is asked by trying the lease, never by looking at a pid.

use std::time::Duration;

use microagent_machine::facts::Lease as LeaseFact;
use microagent_os::lock::{self, LockError, LockFile, LockMode};

use crate::paths::WorkspacePaths;

/// How long a monitor that starts tries, so that somebody who only asks does not turn it away.
pub const LEASE_PATIENCE: Duration = Duration::from_secs(2);

/// The lease, held until it is dropped.
#[derive(Debug)]
pub struct Lease {
    _file: LockFile,
}

impl Lease {
    /// Takes it. [`LockError::Held`] means that another monitor lives.
    pub fn take(paths: &WorkspacePaths) -> Result<Self, LockError> {
        let file = LockFile::acquire(&paths.lease(), LockMode::Exclusive, LEASE_PATIENCE)?;
        Ok(Self { _file: file })
    }
}

/// Whether a monitor holds the lease, without waiting.
pub fn observe(paths: &WorkspacePaths) -> Result<LeaseFact, LockError> {
    Ok(if lock::is_held(&paths.lease())? {
        LeaseFact::Held
    } else {
        LeaseFact::Free
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace_folder::tests::home;

    #[test]
    fn a_lease_is_seen_while_it_is_held_and_asking_leaves_no_trace() {
        let (_root, paths) = home();
        assert_eq!(observe(&paths).unwrap(), LeaseFact::Free);
        assert!(!paths.lease().exists(), "asking makes no file");
        let lease = Lease::take(&paths).unwrap();
        assert_eq!(observe(&paths).unwrap(), LeaseFact::Held);
        drop(lease);
        assert_eq!(observe(&paths).unwrap(), LeaseFact::Free);
    }
}
