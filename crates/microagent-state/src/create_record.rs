//! `create.json`: the intent of a create, there only while one is under way or was broken off; and
//! the note that the holder of a lock leaves for people.

use microagent_os::process::{
    self, Found, HostBootId, InvalidIdentity, ProcessHandle, ProcessIdentity, StartTime,
};
use microagent_types::{RequestId, Timestamp, WorkspaceId};
use serde::{Deserialize, Serialize};

/// The record of a create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateRecord {
    /// What the workspace will be.
    pub id: WorkspaceId,
    /// By which request.
    pub request_id: RequestId,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub creator: ProcessRecord,
}

/// A process on a host boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessRecord {
    /// Its pid.
    pub pid: u32,
    /// Its start time.
    pub start_time: String,
    /// The host's boot.
    pub host_boot_id: String,
}

/// Whether a recorded process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// It does.
    Lives,
    /// It does not.
    Gone,
    /// It can't be told.
    Unknown,
}

impl ProcessRecord {
    /// This process.
    pub fn current() -> std::io::Result<Self> {
        let identity = process::current_identity()?;
        Ok(Self {
            pid: identity.pid(),
            start_time: identity.start_time().as_str().to_owned(),
            host_boot_id: process::host_boot_id()?.as_str().to_owned(),
        })
    }

    /// Whether it lives, judged by host boot, pid and start time.
    pub fn liveness(&self) -> Liveness {
        let (Ok(identity), Ok(recorded_boot)) = (
            self.identity(),
            HostBootId::from_recorded(&self.host_boot_id),
        ) else {
            return Liveness::Gone;
        };
        match process::host_boot_id() {
            Ok(now) if now != recorded_boot => Liveness::Gone,
            Ok(_) => match ProcessHandle::open(&identity) {
                Found::Alive(_) => Liveness::Lives,
                Found::Gone => Liveness::Gone,
                Found::Unknown(_) => Liveness::Unknown,
            },
            Err(_) => Liveness::Unknown,
        }
    }

    fn identity(&self) -> Result<ProcessIdentity, InvalidIdentity> {
        ProcessIdentity::from_recorded(self.pid, StartTime::from_recorded(&self.start_time)?)
    }
}

/// What the holder of a workspace lock writes into it, for `busy` errors only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockNote {
    /// Its pid, for people; nothing is ever signalled by it.
    pub pid: u32,
    /// What it does.
    pub command: String,
    /// By which request.
    pub request_id: String,
    /// Since when.
    pub since: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_creator_of_another_host_boot_or_start_time_is_gone() {
        let me = ProcessRecord::current().unwrap();
        assert_eq!(me.liveness(), Liveness::Lives);
        let other_boot = ProcessRecord {
            host_boot_id: "00000000-0000-4000-8000-000000000000".to_owned(),
            ..me.clone()
        };
        assert_eq!(other_boot.liveness(), Liveness::Gone);
        let other_start = ProcessRecord {
            start_time: "1".to_owned(),
            ..me.clone()
        };
        assert_eq!(other_start.liveness(), Liveness::Gone);
        let nonsense = ProcessRecord { pid: 0, ..me };
        assert_eq!(nonsense.liveness(), Liveness::Gone);
    }
}
