//! A workspace's folder that this process has begun: what the workspace owns is put into it before a
//! supervisor makes the records.
//!
//! While it stands, its `create.json` keeps others out. When nobody made it a workspace it goes again,
//! however the work ended; when this process is killed, whoever takes the name next sweeps it.

use microagent_os::random;
use microagent_state::paths::WorkspacePaths;
use microagent_state::workspace_folder::{self, BeginError, FolderState};
use microagent_state::workspace_lock::LOCK_PATIENCE;
use microagent_types::{RequestId, WorkspaceId};

/// The begun folder; removed when it is dropped before it became a workspace.
#[derive(Debug)]
pub(crate) struct Begun<'a> {
    paths: &'a WorkspacePaths,
    id: WorkspaceId,
    request_id: RequestId,
}

impl<'a> Begun<'a> {
    pub(crate) fn begin(paths: &'a WorkspacePaths) -> Result<Self, BeginError> {
        let (id, request_id) = (random::workspace_id(), random::request_id());
        workspace_folder::begin(paths, id, &request_id, LOCK_PATIENCE)?;
        Ok(Self {
            paths,
            id,
            request_id,
        })
    }

    /// The id that the workspace gets.
    pub(crate) fn id(&self) -> WorkspaceId {
        self.id
    }

    /// The request that the supervisor carries on.
    pub(crate) fn request_id(&self) -> RequestId {
        self.request_id.clone()
    }

    fn is_unfinished(&self) -> bool {
        workspace_folder::begun_id(self.paths).is_ok_and(|begun| begun == Some(self.id))
            && workspace_folder::observe(self.paths)
                .is_ok_and(|folder| folder != FolderState::Workspace)
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if self.is_unfinished()
            && let Err(error) = workspace_folder::abandon(self.paths)
        {
            tracing::warn!(workspace = %self.paths.name(), %error, "a create that failed left something");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Begun;
    use microagent_os::{dirs, fs};
    use microagent_state::paths::StateDirectory;

    #[test]
    fn a_folder_that_became_no_workspace_goes_with_all_that_is_in_it() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("state");
        let state = StateDirectory::at(&folder.as_path().try_into().unwrap());
        state.create().unwrap();
        let paths = state.workspace(&"web".parse().unwrap());
        let begun = Begun::begin(&paths).unwrap();
        dirs::ensure_private(&paths.disks()).unwrap();
        assert!(Begun::begin(&paths).is_err(), "another create of the name");
        assert!(fs::is_present(paths.folder()));
        drop(begun);
        assert!(!fs::is_present(paths.folder()));
    }
}
