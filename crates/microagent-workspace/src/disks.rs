//! The data disks of a new workspace.
//!
//! One that the workspace owns is made in its folder before its records are, so it goes when the
//! create fails and when the workspace is deleted. One that somebody else owns is only named: nobody
//! on this host looks inside, since a guest may have written it.

use crate::error::WorkspaceError;
use crate::image_error::ImageError;
use crate::image_ready;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use microagent_machine::spec::DiskFormat;
use microagent_os::{dirs, random};
use microagent_rootfs::{ImageSize, RootfsError, data_disk};
use microagent_state::paths::WorkspacePaths;
use microagent_types::{AbsPath, ByteSize, DiskName, GuestPath, ImageSource, InvalidText};
use microagent_wire::guest::boot_spec::DiskMode;
use microagent_wire::supervisor::spec::DiskConfig;

/// A data disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSettings {
    /// What it is called.
    pub name: DiskName,
    /// What is on it.
    pub source: DiskSource,
    /// Where the guest mounts it.
    pub mount: GuestPath,
    /// Whether the guest may only read it.
    pub read_only: bool,
}

/// Where the content of a data disk comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskSource {
    /// Nowhere: an empty disk of this size, a multiple of 1 MiB from 16 MiB on. Owned.
    Empty(ByteSize),
    /// A tarball. Owned.
    Tarball(AbsPath),
    /// An ext4 image that is there. Not owned.
    Image(AbsPath),
}

impl DiskSettings {
    /// Whether it is made for the workspace and goes with it.
    pub(crate) fn is_owned(&self) -> bool {
        !matches!(self.source, DiskSource::Image(_))
    }

    /// What its record says.
    pub(crate) fn config(&self, paths: &WorkspacePaths) -> Result<DiskConfig, InvalidText> {
        let path = match &self.source {
            DiskSource::Image(path) => path.clone(),
            DiskSource::Empty(_) | DiskSource::Tarball(_) => {
                AbsPath::try_from(self.owned_path(paths).as_path())?
            }
        };
        Ok(DiskConfig {
            name: self.name.clone(),
            path,
            mount: self.mount.clone(),
            mode: if self.read_only {
                DiskMode::Ro
            } else {
                DiskMode::Rw
            },
            owned: self.is_owned(),
        })
    }

    fn owned_path(&self, paths: &WorkspacePaths) -> std::path::PathBuf {
        paths.disk(&self.name, DiskFormat::Raw)
    }

    fn make(
        &self,
        paths: &WorkspacePaths,
        progress: &mut dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<(), ImageError> {
        let path = self.owned_path(paths);
        match &self.source {
            DiskSource::Image(_) => {}
            DiskSource::Empty(size) => data_disk::create_empty(&path, *size, random::bytes())?,
            DiskSource::Tarball(file) => {
                let source = ImageSource::RootfsTar {
                    path: file.to_string(),
                };
                let options = image_ready::build_options_here(interrupt)?;
                image_ready::relayed(progress, |progress| {
                    let fit = ImageSize::Fit;
                    data_disk::create_from_tarball(&path, &source, fit, &options, progress)
                })?;
            }
        }
        Ok(())
    }
}

/// Makes the disks that the workspace owns, in its folder, which must have been begun.
pub(crate) fn make_owned(
    disks: &[DiskSettings],
    paths: &WorkspacePaths,
    progress: &mut dyn Progress,
    interrupt: &Interrupt,
) -> Result<(), WorkspaceError> {
    let failed = |name: &DiskName, source| WorkspaceError::Disk {
        name: name.clone(),
        source: Box::new(source),
    };
    for disk in disks.iter().filter(|disk| disk.is_owned()) {
        dirs::ensure_private(&paths.disks())
            .map_err(|error| failed(&disk.name, RootfsError::from(error).into()))?;
        disk.make(paths, progress, interrupt)
            .map_err(|error| match interrupt.requested() {
                Some(signal) if error.is_cancelled() => WorkspaceError::Interrupted { signal },
                _ => failed(&disk.name, error),
            })?;
    }
    Ok(())
}
