//! Where on this host something of a guest lands.

use super::{host_fault, is_contents};
use crate::error::WorkspaceError;
use microagent_tree::folder::{Folder, parent_of};
use microagent_types::GuestPath;
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::guest::service::FileType;
use std::io;
use std::path::{Path, PathBuf};

/// A place of this host.
pub(crate) struct HostTarget {
    path: PathBuf,
    pub(crate) is_folder: bool,
    is_there: bool,
}

/// Where a guest's entry lands.
pub(crate) struct Landing {
    pub(crate) folder: Folder,
    /// The folder was made for this copy.
    pub(crate) is_new: bool,
    /// The name of the one file.
    pub(crate) single: Option<Vec<u8>>,
}

impl HostTarget {
    pub(crate) fn find(path: &Path) -> Result<Self, WorkspaceError> {
        let is_folder = microagent_os::fs::is_folder(path);
        let is_there = is_folder || microagent_os::fs::is_present(path);
        let shown = path.display();
        if !is_there && path.to_string_lossy().ends_with('/') {
            let message = format!("there is no folder `{shown}`");
            let hint = "leave out the last slash to make it, or make it first";
            return Err(Fault::new(FaultKind::NotFound, message)
                .with_hint(hint)
                .into());
        }
        if !is_folder {
            parent_of(path).map_err(|error| host_fault(&shown.to_string(), &error))?;
        }
        Ok(Self {
            path: path.to_owned(),
            is_folder,
            is_there,
        })
    }

    pub(crate) fn landing(
        &self,
        source: &GuestPath,
        kind: FileType,
    ) -> Result<Landing, WorkspaceError> {
        let shown = self.path.display().to_string();
        let failed = |error: io::Error| host_fault(&shown, &error);
        let own_name = guest_name(source);
        if kind != FileType::Directory {
            let (folder, name) = if self.is_folder {
                let name = own_name.unwrap_or_default();
                (Folder::open(&self.path).map_err(failed)?, name)
            } else {
                let (folder, name) = parent_of(&self.path).map_err(failed)?;
                (
                    folder,
                    name.map_or_else(Vec::new, std::ffi::CString::into_bytes),
                )
            };
            return Ok(Landing {
                folder,
                is_new: false,
                single: Some(name),
            });
        }
        if self.is_there && !self.is_folder {
            let message = format!("`{shown}` is no folder, and `{source}` is one");
            return Err(Fault::new(FaultKind::Usage, message).into());
        }
        let (above, name) = match (self.is_folder, own_name) {
            (true, None) => {
                return Ok(Landing {
                    folder: Folder::open(&self.path).map_err(failed)?,
                    is_new: false,
                    single: None,
                });
            }
            (true, Some(name)) => (Folder::open(&self.path).map_err(failed)?, name),
            (false, _) => {
                let (folder, name) = parent_of(&self.path).map_err(failed)?;
                (
                    folder,
                    name.map_or_else(Vec::new, std::ffi::CString::into_bytes),
                )
            }
        };
        let is_new = match above.make_folder(&name) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(failed(error)),
        };
        Ok(Landing {
            folder: above.enter(&name).map_err(failed)?,
            is_new,
            single: None,
        })
    }
}

/// The name that a guest's path ends in; none for a root, and for what a folder holds.
fn guest_name(path: &GuestPath) -> Option<Vec<u8>> {
    if is_contents(path.as_str()) {
        return None;
    }
    let name = path.as_str().trim_end_matches('/').rsplit('/').next();
    let name = name.filter(|name| !matches!(*name, "" | "." | ".."))?;
    Some(name.as_bytes().to_vec())
}
