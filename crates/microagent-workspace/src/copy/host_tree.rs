//! A file or folder of this host that goes into a guest, found before anything is done for it.

use super::{host_fault, is_contents};
use crate::error::WorkspaceError;
use microagent_tree::folder::{Folder, Kind, parent_of};
use std::io;
use std::path::Path;

/// A file or folder of this host.
pub(crate) struct HostTree {
    pub(crate) folder: Folder,
    pub(crate) name: Vec<u8>,
    /// What it is called where it lands in a folder; none for what it holds.
    pub(crate) own_name: Option<Vec<u8>>,
    pub(crate) is_folder: bool,
    pub(crate) shown: String,
}

impl HostTree {
    pub(crate) fn find(path: &Path, follow_links: bool) -> Result<Self, WorkspaceError> {
        let shown = path.display().to_string();
        let text = path.to_string_lossy();
        let contents = is_contents(&text);
        let failed = |error: io::Error| host_fault(&shown, &error);
        // A name that ends in a slash means the folder, also where a link leads to it.
        let whole = if contents || text.ends_with('/') || path.file_name().is_none() || follow_links
        {
            microagent_os::fs::canonical(path).map_err(WorkspaceError::Files)?
        } else {
            path.to_owned()
        };
        let (folder, name) = parent_of(&whole).map_err(failed)?;
        let name = name.map_or_else(|| b".".to_vec(), std::ffi::CString::into_bytes);
        let kind = folder.kind_of(&name).map_err(failed)?;
        let kind = kind.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let own_name = path.file_name().filter(|_| !contents).map_or_else(
            || (!contents && name != b".").then(|| name.clone()),
            |own| Some(own.as_encoded_bytes().to_vec()),
        );
        Ok(Self {
            folder,
            name,
            own_name,
            is_folder: kind == Kind::Directory,
            shown,
        })
    }
}
