//! `create`: prepares a workspace without booting it.

use crate::context::Context;
use crate::disks::DiskSettings;
use crate::error::WorkspaceError;
use crate::files::{FileSettings, FoundFiles};
use crate::image_ready::{self, PullSettings, Wanted};
use crate::interrupt::Interrupt;
use crate::making::{Lasting, Making, check_interrupt};
use crate::predecessor::{self, NameTaken};
use crate::progress::Progress;
use crate::request::NetworkSettings;
use crate::supervisor_client::SupervisorProgram;
use crate::supervisors;
use crate::workload::{self, SizeSettings, WorkloadSettings};
use microagent_state::paths::StateDirectory;
use microagent_types::{AbsPath, ImageSource, LabelName, WorkspaceName};
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::supervisor::response::Workspace;
use microagent_wire::supervisor::spec::WorkloadConfig;
use std::collections::BTreeMap;

/// Whether the workspace runs anything by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Idle {
    /// It runs the image's command, or the one given.
    #[default]
    No,
    /// It stays up for `exec`.
    Yes,
}

/// What to make.
#[derive(Debug, Clone)]
pub struct CreateSettings {
    /// The workspace's name.
    pub name: WorkspaceName,
    /// What it means when that is taken.
    pub name_taken: NameTaken,
    /// The image.
    pub image: ImageSource,
    /// Whether and how its registry is asked.
    pub pull: PullSettings,
    /// What runs at boot.
    pub workload: WorkloadSettings,
    /// Whether nothing does.
    pub idle: Idle,
    /// How large it is.
    pub size: SizeSettings,
    /// What it may reach.
    pub network: NetworkSettings,
    /// The guest's host name; the workspace's when none.
    pub hostname: Option<WorkspaceName>,
    /// Labels.
    pub labels: BTreeMap<LabelName, String>,
    /// Data disks, at most eight, in the order of their devices.
    pub disks: Vec<DiskSettings>,
    /// Files of this host that the guest starts with, 256 MiB in all.
    pub files: Vec<FileSettings>,
    /// A kernel in place of the default one.
    pub kernel: Option<AbsPath>,
}

/// What came of a create.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateReport {
    /// The workspace, prepared.
    pub workspace: Box<Workspace>,
    /// Whether the image's disk was built now.
    pub image_built: bool,
    /// How long that took, in milliseconds.
    pub build_ms: Option<u64>,
    /// The image names no command, so the workspace is idle although nobody asked.
    pub idle_by_image: bool,
}

/// Prepares a workspace. After an error nothing of it is left; a built image is kept.
///
/// ```no_run
/// # use microagent_workspace::{Context, Interrupt};
/// # let context = Context::new("/home/me/.microagent".parse()?)?;
/// # let interrupt = Interrupt::new();
/// use microagent_workspace::create::{CreateSettings, Idle, create};
/// use microagent_workspace::progress::Silent;
///
/// let settings = CreateSettings {
///     name: "research".parse()?,
///     name_taken: Default::default(),
///     image: "oci:./image".parse()?,
///     pull: Default::default(),
///     workload: Default::default(),
///     idle: Idle::Yes,
///     size: Default::default(),
///     network: Default::default(),
///     hostname: None,
///     labels: Default::default(),
///     kernel: None,
///     disks: Default::default(),
///     files: Default::default(),
/// };
/// let report = create(&context, &settings, &mut Silent, &interrupt)?;
/// assert_eq!(report.workspace.state, "prepared");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// With kind `conflict` when the name is taken, and whatever stops an image or a supervisor.
pub fn create(
    context: &Context,
    settings: &CreateSettings,
    progress: &mut dyn Progress,
    interrupt: &Interrupt,
) -> Result<CreateReport, WorkspaceError> {
    let (report, _supervisor) = make(context, settings, progress, interrupt)?;
    Ok(report)
}

/// As [`create`]; with the supervisor that did it.
pub(crate) fn make(
    context: &Context,
    settings: &CreateSettings,
    progress: &mut dyn Progress,
    interrupt: &Interrupt,
) -> Result<(CreateReport, SupervisorProgram), WorkspaceError> {
    let supervisor = supervisors::choose(context, interrupt)?;
    let state = StateDirectory::at(&context.state_dir);
    state.create()?;
    let predecessor = predecessor::check(context, &settings.name, settings.name_taken, interrupt)?;
    let files = FoundFiles::find(&settings.files)?;
    check_interrupt(interrupt)?;
    let disk_size = settings.size.disk_size();
    let wanted = Wanted {
        source: &settings.image,
        pull: &settings.pull,
        disk_size,
    };
    let (image, hold) = image_ready::ensure(&state, &wanted, progress, interrupt)
        .map_err(|error| error.of(&settings.image, interrupt))?;
    let workload = workload::merge(&image.config, &settings.workload)?;
    let idle = settings.idle == Idle::Yes || workload.argv.is_empty();
    let making = Making {
        context,
        supervisor: &supervisor,
        state: &state,
        name: &settings.name,
        image: &image,
        size: settings.size,
        disks: &settings.disks,
        files: &files,
        network: &settings.network,
        hostname: settings.hostname.as_ref(),
        labels: &settings.labels,
        kernel: settings.kernel.as_ref(),
        env: workload.env,
        workload: (!idle).then_some(WorkloadConfig {
            argv: workload.argv,
            env: microagent_types::Environment::new(),
            user: workload.user,
            workdir: workload.workdir,
            stop_signal: workload.stop_signal,
        }),
        lasting: Lasting::Persistent,
        predecessor: predecessor.as_ref(),
    };
    let response = making.prepare(progress, interrupt)?;
    drop(hold);
    let workspace = response.workspace.ok_or_else(|| {
        let message = format!("the supervisor told nothing of `{}`", settings.name);
        WorkspaceError::from(Fault::new(FaultKind::Backend, message))
    })?;
    let report = CreateReport {
        workspace,
        image_built: image.timings.build_ms.is_some(),
        build_ms: image.timings.build_ms,
        idle_by_image: idle && settings.idle == Idle::No,
    };
    Ok((report, supervisor))
}
