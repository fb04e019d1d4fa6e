//! `run --detach`: a workspace that is made, booted and left to itself.

use crate::context::Context;
use crate::create::{self, CreateReport, CreateSettings};
use crate::error::WorkspaceError;
use crate::first_boot::{Bound, FirstBoot};
use crate::interrupt::Interrupt;
use crate::progress::{Phase, PhaseScope, Progress};
use crate::run::ms_since;
use microagent_os::clock;
use microagent_wire::supervisor::request::Expect;
use std::time::Duration;

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct DetachedReport {
    /// How the workspace was made; its state is that after the boot.
    pub created: CreateReport,
    /// From the start to ready, in milliseconds.
    pub boot_ms: u64,
    /// All of it, in milliseconds.
    pub total_ms: u64,
}

/// Makes a workspace, boots it with its workload and returns when the guest is ready. It stays up until
/// its workload ends or somebody ends it.
///
/// ```no_run
/// # use microagent_workspace::{Context, CreateSettings, Interrupt};
/// # fn example(context: &Context, settings: &CreateSettings) -> Result<(), microagent_workspace::WorkspaceError> {
/// use microagent_workspace::progress::Silent;
/// use microagent_workspace::run_detached;
///
/// let report = run_detached(context, settings, None, &mut Silent, &Interrupt::new())?;
/// println!("{} is ready after {} ms", settings.name, report.boot_ms);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of `create`, and when the guest does not become ready, within `ready_timeout` or else 60 s, 300 s
/// under emulation. After an error nothing is left, but for a workspace whose boot failed: the error names
/// it.
pub fn run_detached(
    context: &Context,
    settings: &CreateSettings,
    ready_timeout: Option<Duration>,
    progress: &mut dyn Progress,
    interrupt: &Interrupt,
) -> Result<DetachedReport, WorkspaceError> {
    let began = clock::monotonic();
    let (mut created, supervisor) = create::make(context, settings, progress, interrupt)?;
    let boot_began = clock::monotonic();
    let boot = FirstBoot {
        context,
        supervisor: &supervisor,
        name: &settings.name,
        expect: Expect {
            id: Some(created.workspace.id),
            boot_id: None,
        },
        bound: Bound::ToNobody,
        ready_timeout,
    };
    let phase = PhaseScope::begin(progress, Phase::Boot);
    let response = boot.perform(interrupt)?;
    drop(phase);
    if let Some(workspace) = response.workspace {
        created.workspace = workspace;
    }
    Ok(DetachedReport {
        created,
        boot_ms: ms_since(boot_began),
        total_ms: ms_since(began),
    })
}
