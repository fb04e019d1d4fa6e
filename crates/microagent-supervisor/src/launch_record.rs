//! What a supervisor and the monitor that it makes say to each other: the launch document on the
//! monitor's stdin, and the lines of the start pipe.
//!
//! Both ends are the same executable, but the document may also be read by a person who looks for what
//! was asked; a field is only ever added.

use microagent_types::{
    AbsPath, BootId, ByteSize, DiskName, PublishSpec, RequestId, Sha256Hex, VcpuCount,
    WorkspaceName,
};
use microagent_wire::fault::Fault;
use microagent_wire::guest::boot_spec::MaintenanceAccess;
use microagent_wire::supervisor::request::Initiator;
use serde::{Deserialize, Serialize};

/// The number of the start pipe in a monitor.
pub(crate) const START_PIPE_NUMBER: i32 = 3;
/// The descriptor of the workspace's lock in the monitor of a maintenance boot.
pub(crate) const LOCK_NUMBER: i32 = 4;
/// Bytes of a launch document.
pub(crate) const DOCUMENT_BYTES_MAX: u64 = 1 << 20;
/// Bytes of one line of the start pipe.
pub(crate) const REPORT_BYTES_MAX: usize = 1 << 20;

/// Which boot a monitor is for, and what this boot has of its own. Everything else is in the records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LaunchDocument {
    /// The state directory.
    pub(crate) state_dir: AbsPath,
    /// The workspace.
    pub(crate) workspace: WorkspaceName,
    /// The boot that the record says is starting.
    pub(crate) boot_id: BootId,
    /// The request behind it.
    pub(crate) request_id: RequestId,
    /// Who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) initiator: Option<Initiator>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    /// What the supervisor found: `kvm`, `emulation` and so on.
    pub(crate) accelerator: String,
    /// Virtual CPUs of this boot.
    pub(crate) cpus: VcpuCount,
    /// Memory of this boot.
    pub(crate) memory_bytes: ByteSize,
    /// The kernel of this boot.
    pub(crate) kernel: AbsPath,
    /// Its hash.
    pub(crate) kernel_sha256: Sha256Hex,
    /// The initramfs of this boot.
    pub(crate) initramfs: AbsPath,
    /// Published ports of this boot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) publish: Vec<PublishSpec>,
    /// Until the guest must be ready, all phases together.
    pub(crate) ready_timeout_ms: u64,
    /// The VM ends with its client.
    pub(crate) client_bound: bool,
    /// The boot workload is left out: a command comes as a session.
    pub(crate) idle: bool,
    /// The pid namespace of the supervisor, where the pids of the record count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pid_namespace: Option<u64>,
    /// The monitor is the first process of a pid namespace.
    pub(crate) own_pid_namespace: bool,
    /// Set for a maintenance boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) maintenance: Option<MaintenanceAccess>,
    /// The data disks of a maintenance boot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) maintenance_disks: Vec<DiskName>,
}

/// One line of the start pipe. One field is set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct StartReport {
    /// A phase begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) phase: Option<String>,
    /// The monitor serves its socket; the lock may be let go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) serving: Option<bool>,
    /// The VM runs its guest, which is not ready yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) launched: Option<bool>,
    /// How it ended. Nothing follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verdict: Option<StartVerdict>,
}

/// How a start ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StartVerdict {
    /// The guest is ready.
    pub(crate) ok: bool,
    /// From the guest's first instruction to its hello.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) boot_ms: Option<u64>,
    /// From the guest's first instruction to ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ready_ms: Option<u64>,
    /// Facts that did not stop it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
    /// Why it did not come to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Box<Fault>>,
}

impl StartReport {
    /// The line, newline included.
    pub(crate) fn to_line(&self) -> String {
        let mut line = serde_json::to_string(self).expect("string keys only");
        line.push('\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::{StartReport, StartVerdict};
    use microagent_wire::fault::{Fault, FaultKind};

    #[test]
    fn the_lines_of_the_start_pipe_are_the_documented_ones() {
        let phase = StartReport {
            phase: Some("lease".to_owned()),
            ..StartReport::default()
        };
        assert_eq!(phase.to_line(), "{\"phase\":\"lease\"}\n");
        let failed = StartReport {
            verdict: Some(StartVerdict {
                ok: false,
                boot_ms: None,
                ready_ms: None,
                warnings: Vec::new(),
                error: Some(Box::new(Fault::new(FaultKind::Backend, "m"))),
            }),
            ..StartReport::default()
        };
        let line = failed.to_line();
        assert!(line.starts_with(r#"{"verdict":{"ok":false,"error":{"kind":"backend","#));
        let read: StartReport = serde_json::from_str(&line).unwrap();
        assert_eq!(read, failed);
        let newer = r#"{"phase":"lease","later":1}"#;
        assert_eq!(serde_json::from_str::<StartReport>(newer).unwrap(), phase);
    }
}
