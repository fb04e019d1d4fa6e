//! Short names for folders of sockets: a symbolic link in a folder that is ours alone.

use std::io;
use std::path::{Path, PathBuf};

use super::AliasError;
use crate::dirs;
use crate::error::{FsAction, FsError};
use crate::fs;

/// A folder of sockets with a longer path is reached through an alias.
const SOCKET_FOLDER_BYTES_MAX: usize = 80;

pub(super) fn needs_alias(folder: &Path) -> bool {
    folder.as_os_str().len() > SOCKET_FOLDER_BYTES_MAX
}

pub(super) fn alias_folder(runtime_folder: Option<&Path>) -> PathBuf {
    match runtime_folder {
        Some(folder) if folder.is_absolute() && dirs::check_private(folder).is_ok() => {
            folder.join("microagent")
        }
        _ => PathBuf::from(format!(
            "/tmp/microagent-{}",
            crate::process::effective_user()
        )),
    }
}

pub(super) fn short_alias(
    aliases: &Path,
    name: &str,
    folder: &Path,
) -> Result<PathBuf, AliasError> {
    dirs::ensure_private(aliases)?;
    dirs::check_private(aliases)?;
    let alias = aliases.join(name);
    if fs::read_link(&alias).is_ok_and(|target| target == folder) {
        return Ok(alias);
    }
    let temporary = aliases.join(format!(".{name}-{}", crate::random::hex_16()));
    fs::link_symbolic(folder, &temporary)?;
    if let Err(error) = fs::rename(&temporary, &alias) {
        // The first error is the one that matters.
        let _ = fs::remove_file(&temporary);
        return Err(error.into());
    }
    Ok(alias)
}

pub(super) fn remove_alias(alias: &Path) -> Result<bool, FsError> {
    match fs::kind_of(alias)? {
        Some(fs::FileKind::Link) => fs::remove_file(alias),
        None => Ok(false),
        Some(_) => Err(FsError::new(
            FsAction::Remove,
            alias,
            io::ErrorKind::InvalidInput,
        )),
    }
}
