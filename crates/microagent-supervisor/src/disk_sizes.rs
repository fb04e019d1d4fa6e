//! What the disks of a workspace take on this host. Their content is the guest's and is never read.

use microagent_machine::spec::MachineSpec;
use microagent_os::fs;
use microagent_types::ByteSize;

/// Sizes as the file system tells them; none for what can't be looked at.
#[derive(Debug, Clone, Default)]
pub(crate) struct DiskSizes {
    /// Bytes that the root disk occupies.
    pub(crate) root_allocated: Option<ByteSize>,
    /// Bytes of each data disk, holes included, in the order of the devices.
    pub(crate) data: Vec<Option<ByteSize>>,
}

impl DiskSizes {
    /// Looks at the files.
    pub(crate) fn of(spec: &MachineSpec) -> Self {
        let allocated = fs::allocated_bytes(spec.root_disk.path.as_path());
        let size = |path: &microagent_types::AbsPath| {
            let metadata = fs::metadata(path.as_path()).ok()?;
            Some(ByteSize::from_bytes(metadata.len()))
        };
        Self {
            root_allocated: allocated.ok().map(ByteSize::from_bytes),
            data: spec.disks.iter().map(|disk| size(&disk.path)).collect(),
        }
    }
}
