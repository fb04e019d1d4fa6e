//! The kernels that workspaces boot by default: listed, installed, verified.
//!
//! A kernel belongs to a backend and an architecture. Replacing one is a rename, so a running VM keeps
//! what it booted; the workspaces that use it boot the new one at their next start.

use crate::context::Context;
use crate::error::WorkspaceError;
use microagent_boot::kernel_store::{self, InstalledKernel, KernelError};
use microagent_os::fs;
use microagent_state::paths::{StateDirectory, StateDirectoryError};
use microagent_state::{WorkspaceRecord, record_store};
use microagent_types::{AbsPath, Arch, BackendName, ByteSize, Sha256Hex, WorkspaceName};
use std::path::PathBuf;

/// An installed kernel and who uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// Of which backend.
    pub backend: BackendName,
    /// Of which architecture.
    pub arch: Arch,
    /// What is installed.
    pub installed: InstalledKernel,
    /// Bytes of the image.
    pub size: ByteSize,
    /// The workspaces that boot it at their next start.
    pub workspaces: Vec<WorkspaceName>,
}

/// What a kernel hashes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Which kernel.
    pub kernel: Kernel,
    /// The SHA-256 of its image now; none when it is larger than any kernel.
    pub actual: Option<Sha256Hex>,
}

impl Verified {
    /// Whether it is what was installed.
    pub fn is_intact(&self) -> bool {
        self.actual == Some(self.kernel.installed.sha256)
    }
}

/// Every installed kernel of the architecture, or the one of the context's backend.
///
/// # Errors
/// When a record can't be read.
pub fn list(context: &Context, arch: Arch) -> Result<Vec<Kernel>, WorkspaceError> {
    let state = StateDirectory::at(&context.state_dir);
    let mut kernels = Vec::new();
    for backend in BackendName::ALL {
        if context.backend.is_none_or(|wanted| wanted == backend)
            && let Some(installed) =
                kernel_store::read_installed(&state.kernel_folder(backend, arch))?
        {
            kernels.push(describe(&state, backend, arch, installed)?);
        }
    }
    Ok(kernels)
}

/// Hashes every kernel that [`list`] gives.
///
/// # Errors
/// When a record or an image can't be read.
pub fn verify(context: &Context, arch: Arch) -> Result<Vec<Verified>, WorkspaceError> {
    list(context, arch)?
        .into_iter()
        .map(|kernel| {
            let actual = kernel_store::actual_sha256(&kernel.installed)?;
            Ok(Verified { kernel, actual })
        })
        .collect()
}

/// Where the kernel of a backend is, and whether it is there.
///
/// # Errors
/// When its record can't be read.
pub fn path(
    context: &Context,
    backend: BackendName,
    arch: Arch,
) -> Result<(PathBuf, bool), WorkspaceError> {
    let state = StateDirectory::at(&context.state_dir);
    let installed = kernel_store::read_installed(&state.kernel_folder(backend, arch))?.is_some();
    Ok((state.kernel(backend, arch), installed))
}

/// Installs the kernel of this release, or the one in a file, in place of what is there. Whether that
/// changed anything.
///
/// # Errors
/// When there is none, when the file is no kernel for the backend or not the expected one, or when it
/// can't be copied. What was installed stays then.
pub fn install(
    context: &Context,
    backend: BackendName,
    arch: Arch,
    from: Option<&AbsPath>,
    expected: Option<Sha256Hex>,
) -> Result<(Kernel, bool), WorkspaceError> {
    let state = StateDirectory::at(&context.state_dir);
    state.create()?;
    let folder = state.kernel_folder(backend, arch);
    let (installed, changed) = match from {
        Some(file) => kernel_store::install_file(&folder, file.as_path(), expected, backend, arch)?,
        None => kernel_store::install_shipped(&folder, &context.search_path, backend, arch)?,
    };
    Ok((describe(&state, backend, arch, installed)?, changed))
}

fn describe(
    state: &StateDirectory,
    backend: BackendName,
    arch: Arch,
    installed: InstalledKernel,
) -> Result<Kernel, WorkspaceError> {
    let metadata = fs::metadata(&installed.path).map_err(KernelError::File)?;
    Ok(Kernel {
        backend,
        arch,
        size: ByteSize::from_bytes(metadata.len()),
        workspaces: users(state, &installed)?,
        installed,
    })
}

/// The workspaces whose record names this image. One whose record can't be read is not counted: `list`
/// is where that shows.
fn users(
    state: &StateDirectory,
    kernel: &InstalledKernel,
) -> Result<Vec<WorkspaceName>, WorkspaceError> {
    let names = state.list_names().map_err(StateDirectoryError::from)?;
    let uses = |name: &WorkspaceName| {
        let path = state.workspace(name).workspace_record();
        matches!(
            record_store::read::<WorkspaceRecord>(&path),
            Ok(Some(stored)) if stored.value.config.kernel.path.as_path() == kernel.path
        )
    };
    Ok(names.into_iter().filter(uses).collect())
}
