//! What a `create` or `run` would do, as far as that can be told without doing it: nothing is pulled,
//! built, written or booted.

use crate::context::Context;
use crate::error::WorkspaceError;
use crate::files::{FileSettings, FoundFiles};
use crate::interrupt::Interrupt;
use crate::making::check_interrupt;
use crate::predecessor::{self, NameTaken};
use crate::supervisors::{self, Detail};
use crate::workload::{self, WorkloadSettings};
use microagent_os::fs;
use microagent_rootfs::ImageStore;
use microagent_state::paths::StateDirectory;
use microagent_types::{Arch, BackendName, ImageSource, WorkspaceName};

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct DryRunSettings<'a> {
    /// The workspace's name, when it has one already.
    pub name: Option<&'a WorkspaceName>,
    /// What it means when that is taken.
    pub name_taken: NameTaken,
    /// The image.
    pub image: &'a ImageSource,
    /// What runs; none in an idle workspace.
    pub workload: Option<&'a WorkloadSettings>,
    /// Files of this host, which must be there.
    pub files: &'a [FileSettings],
}

/// What would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DryRunReport {
    /// The backend.
    pub backend: BackendName,
    /// What its VMs run on; none when its supervisor does not say.
    pub accelerator: Option<String>,
    /// What runs, with the image's part; none when the image is not stored.
    pub argv: Option<Vec<String>>,
}

/// Checks what can be checked, and chooses the backend.
///
/// # Errors
/// Those of `create` that come before an image is fetched.
pub fn dry_run(
    context: &Context,
    settings: &DryRunSettings<'_>,
    interrupt: &Interrupt,
) -> Result<DryRunReport, WorkspaceError> {
    let backend = supervisors::chosen_backend(context, interrupt)?;
    let asked = supervisors::ask_host(context, backend, Detail::Least, interrupt);
    check_interrupt(interrupt)?;
    let report = asked.report?;
    if fs::is_present(context.state_dir.as_path())
        && let Some(name) = settings.name
    {
        predecessor::check(context, name, settings.name_taken, interrupt)?;
    }
    FoundFiles::find(settings.files)?;
    Ok(DryRunReport {
        backend,
        accelerator: report.accelerator,
        argv: argv(context, settings)?,
    })
}

fn argv(
    context: &Context,
    settings: &DryRunSettings<'_>,
) -> Result<Option<Vec<String>>, WorkspaceError> {
    let Some(workload) = settings.workload else {
        return Ok(Some(Vec::new()));
    };
    // A store that is not there is not made for a question.
    let images = StateDirectory::at(&context.state_dir).images();
    let (true, Some(arch)) = (fs::is_folder(&images), Arch::current()) else {
        return Ok(None);
    };
    let store = ImageStore::open(&images).map_err(|error| WorkspaceError::Images(error.into()))?;
    let Ok(stored) = store.find(settings.image, arch) else {
        return Ok(None);
    };
    let config = microagent_rootfs::ImageConfig::from(stored.record.config);
    Ok(Some(workload::merge(&config, workload)?.argv))
}
