//! The kernels that workspaces boot by default: listed, installed, verified.
//!
//! A kernel belongs to a backend and an architecture. Replacing one is a rename, so a running VM keeps
//! what it booted; the workspaces that use it boot the new one at their next start.

use crate::context::Context;
use crate::error::WorkspaceError;
use crate::interrupt::Interrupt;
use crate::progress::{Phase, Progress, ProgressEvent};
use microagent_boot::kernel_download::Watch;
use microagent_boot::kernel_manifest;
use microagent_boot::kernel_store::{self, InstalledKernel, KernelError};
use microagent_os::fs;
use microagent_state::paths::{StateDirectory, StateDirectoryError};
use microagent_state::{WorkspaceRecord, record_store};
use microagent_types::{AbsPath, Arch, BackendName, ByteSize, Sha256Hex, WorkspaceName};
use std::path::{Path, PathBuf};

pub use microagent_boot::kernel_download::{InvalidUrl, KernelUrl};

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

/// Where a kernel comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelSource {
    /// The one of this release: brought by the installation, or fetched from the address that it names.
    Release,
    /// A file of this host.
    File {
        /// Which.
        path: AbsPath,
        /// What it must hash to.
        expected: Option<Sha256Hex>,
    },
    /// A file somewhere else.
    Url {
        /// Where.
        url: KernelUrl,
        /// What it must hash to.
        expected: Sha256Hex,
    },
}

/// Installs a kernel in place of what is there. Whether that changed anything.
///
/// # Errors
/// When there is none, when it does not come whole, when the file is no kernel for the backend or not the
/// expected one, or when it can't be copied. What was installed stays then.
pub fn install(
    context: &Context,
    backend: BackendName,
    arch: Arch,
    source: &KernelSource,
    progress: &mut dyn Progress,
    interrupt: &Interrupt,
) -> Result<(Kernel, bool), WorkspaceError> {
    let state = StateDirectory::at(&context.state_dir);
    state.create()?;
    let folder = state.kernel_folder(backend, arch);
    let (installed, changed) = match source {
        KernelSource::File { path, expected } => {
            kernel_store::install_file(&folder, path.as_path(), *expected, backend, arch)?
        }
        KernelSource::Url { url, expected } => {
            let mut told = Told::begin(progress, interrupt);
            let installed =
                kernel_store::install_url(&folder, url, *expected, backend, arch, &mut told);
            told.result(installed)?
        }
        KernelSource::Release => {
            match kernel_store::install_shipped(&folder, &context.search_path, backend, arch) {
                Err(missing @ KernelError::Missing { .. }) => {
                    fetch_pinned(context, &folder, backend, arch, progress, interrupt)?
                        .ok_or(missing)?
                }
                installed => installed?,
            }
        }
    };
    Ok((describe(&state, backend, arch, installed)?, changed))
}

/// The kernel that workspaces of a backend boot, installed or fetched when there is none yet.
pub(crate) fn ensure_default(
    context: &Context,
    folder: &Path,
    backend: BackendName,
    arch: Arch,
    progress: &mut dyn Progress,
    interrupt: &Interrupt,
) -> Result<InstalledKernel, WorkspaceError> {
    match kernel_store::ensure_default(folder, &context.search_path, backend, arch) {
        Err(missing @ KernelError::Missing { .. }) => {
            match fetch_pinned(context, folder, backend, arch, progress, interrupt) {
                Ok(Some((installed, _))) => Ok(installed),
                Ok(None) => Err(missing.into()),
                Err(error) => Err(not_downloaded(error, backend, arch)),
            }
        }
        installed => Ok(installed?),
    }
}

/// Says of a download that did not come what it was for; one that came wrong is told as it is.
fn not_downloaded(error: WorkspaceError, backend: BackendName, arch: Arch) -> WorkspaceError {
    match error {
        WorkspaceError::Kernel(source) if source.is_unavailable() => WorkspaceError::NoKernel {
            backend,
            arch,
            source,
        },
        error => error,
    }
}

/// Fetches the kernel that this installation names; none when it names none.
fn fetch_pinned(
    context: &Context,
    folder: &Path,
    backend: BackendName,
    arch: Arch,
    progress: &mut dyn Progress,
    interrupt: &Interrupt,
) -> Result<Option<(InstalledKernel, bool)>, WorkspaceError> {
    let pinned = kernel_manifest::pinned(&context.search_path, backend, arch);
    let Some(pinned) = pinned.map_err(KernelError::from)? else {
        return Ok(None);
    };
    let mut told = Told::begin(progress, interrupt);
    let installed = kernel_store::install_pinned(folder, &pinned, backend, arch, &mut told);
    told.result(installed).map(Some)
}

/// A download's progress as a phase.
struct Told<'a> {
    progress: &'a mut dyn Progress,
    interrupt: &'a Interrupt,
}

impl<'a> Told<'a> {
    fn begin(progress: &'a mut dyn Progress, interrupt: &'a Interrupt) -> Self {
        progress.report(ProgressEvent::Begin(Phase::Kernel));
        Self {
            progress,
            interrupt,
        }
    }

    fn result<T>(self, result: Result<T, KernelError>) -> Result<T, WorkspaceError> {
        self.progress.report(ProgressEvent::End(Phase::Kernel));
        if let (Err(KernelError::Download { .. }), Some(signal)) =
            (&result, self.interrupt.requested())
        {
            return Err(WorkspaceError::Interrupted { signal });
        }
        Ok(result?)
    }
}

impl Watch for Told<'_> {
    fn at(&mut self, done_bytes: u64, total_bytes: Option<u64>) {
        self.progress.report(ProgressEvent::Advance {
            phase: Phase::Kernel,
            done_bytes,
            total_bytes,
        });
    }

    fn is_cancelled(&self) -> bool {
        self.interrupt.requested().is_some()
    }
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
