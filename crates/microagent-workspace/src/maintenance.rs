//! The way to a workspace's files: its guest where it runs, and a maintenance boot where it rests.
//!
//! ```text
//! running, starting       -> the guest of this boot
//! prepared, halted, ...   -> a boot without network and workload, ended when the copy is done
//! all else                -> refused, with the state that refuses
//! ```
//!
//! The host never reads the disk of a workspace itself.

use crate::context::Context;
use crate::error::WorkspaceError;
use crate::existing::{self, Existing};
use crate::file_session::{Binding, Door};
use crate::guest_init;
use crate::interrupt::Interrupt;
use crate::making::request;
use crate::monitor_client::{MonitorTalk, monitor_socket};
use crate::progress::{Phase, PhaseScope, Progress, ProgressEvent};
use crate::run::as_ms;
use crate::status::status;
use crate::supervisor_client::{Supervisor as _, accept};
use microagent_types::{DiskName, GuestPath, WorkspaceName};
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::guest::boot_spec::MaintenanceAccess;
use microagent_wire::monitor::request::{MonitorOp, MonitorRequest, WaitFor};
use microagent_wire::supervisor::request::{Command, Options};
use std::time::Duration;

/// Until a guest is ready when nothing is said: the supervisor's own limit under emulation.
const READY_LIMIT: Duration = Duration::from_mins(5);
/// Until a maintenance boot has ended: its halt, on an emulated host, and what follows when it fails.
const END_LIMIT: Duration = Duration::from_mins(2);

/// Whether a copy changes the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// How the files were reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// The guest was running.
    Live,
    /// The workspace was booted for this.
    MaintenanceBoot,
}

impl Via {
    /// The word in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::MaintenanceBoot => "maintenance_boot",
        }
    }
}

/// An open way to the files. A maintenance boot ends with it.
pub(crate) struct Files {
    pub(crate) door: Door,
    pub(crate) via: Via,
    ended: bool,
}

/// Opens the way to `path` in a workspace.
pub(crate) fn open(
    context: &Context,
    name: &WorkspaceName,
    path: &GuestPath,
    access: Access,
    ready_timeout: Option<Duration>,
    interrupt: &Interrupt,
    progress: &mut dyn Progress,
) -> Result<Files, WorkspaceError> {
    existing::check_backend(context)?;
    let existing = existing::find(context, name)?;
    let workspace = status(context, name, interrupt)?;
    let door = Door {
        socket: monitor_socket(&existing.paths)?,
        boot: None,
        initiator: context.initiator.clone(),
    };
    match workspace.state.as_str() {
        "running" | "starting" => Ok(Files::of_running(door)),
        "prepared" | "halted" | "stopped" | "failed" => {
            let note = format!(
                "`{name}` is {}; it is booted without network for this copy",
                workspace.state
            );
            progress.report(ProgressEvent::Note(note));
            let disks = disks_above(&existing, path)?;
            boot(
                context,
                &existing,
                door,
                access,
                disks,
                ready_timeout,
                interrupt,
                progress,
            )
        }
        state => Err(refused(name, state)),
    }
}

fn refused(name: &WorkspaceName, state: &str) -> WorkspaceError {
    let (message, hint) = match state {
        "paused" => (
            format!("`{name}` is paused"),
            format!("microagent resume {name}"),
        ),
        "quarantined" => (
            format!("`{name}` is quarantined: exec, connect and cp are refused"),
            format!(
                "to look at its disk: microagent halt {name}, then microagent cp {name}:/path ."
            ),
        ),
        _ => (
            format!("`{name}` is {state}: its files can't be reached now"),
            format!("microagent wait {name}, then try again"),
        ),
    };
    Fault::new(FaultKind::WrongState, message)
        .with_hint(hint)
        .with_details(|details| details.state = Some(state.to_owned()))
        .into()
}

/// The data disks whose mount lies above the path.
fn disks_above(existing: &Existing, path: &GuestPath) -> Result<Vec<DiskName>, WorkspaceError> {
    let spec = microagent_machine::spec::MachineSpec::try_from(&existing.record.config)
        .map_err(|error| Fault::from_error(FaultKind::Integrity, &error))?;
    let is_above = |mount: &str| {
        let mount = mount.trim_end_matches('/');
        let rest = path.as_str().strip_prefix(mount);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let above = spec
        .disks
        .into_iter()
        .filter(|disk| is_above(disk.mount.as_str()));
    Ok(above.map(|disk| disk.name).collect())
}

#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one request, each needed once"
)]
fn boot(
    context: &Context,
    existing: &Existing,
    door: Door,
    access: Access,
    disks: Vec<DiskName>,
    ready_timeout: Option<Duration>,
    interrupt: &Interrupt,
    progress: &mut dyn Progress,
) -> Result<Files, WorkspaceError> {
    let name = existing.paths.name();
    let mut start = request(context, name, Command::Start);
    start.options = Options {
        maintenance: Some(match access {
            Access::Read => MaintenanceAccess::Ro,
            Access::Write => MaintenanceAccess::Rw,
        }),
        maintenance_disks: (!disks.is_empty()).then_some(disks),
        ready_timeout_ms: ready_timeout.map(as_ms),
        client_bound: Some(true),
        initramfs: guest_init::installed(context),
        ..Options::default()
    };
    let _scope = PhaseScope::begin(progress, Phase::Boot);
    let limit = ready_timeout.unwrap_or(READY_LIMIT);
    let response = existing
        .supervisor
        .ask(&start, limit, interrupt)
        .and_then(accept)?;
    let maintenance = response
        .workspace
        .and_then(|workspace| workspace.maintenance);
    let boot = maintenance
        .map(|maintenance| maintenance.boot_id)
        .ok_or_else(|| {
            let message = format!("the boot of `{name}` for this copy ended at once");
            Fault::new(FaultKind::Backend, message)
        })?;
    Ok(Files {
        door: Door {
            boot: Some(boot),
            ..door
        },
        via: Via::MaintenanceBoot,
        ended: false,
    })
}

impl Files {
    /// The way to a guest that is known to run.
    pub(crate) fn of_running(door: Door) -> Self {
        Self {
            door,
            via: Via::Live,
            ended: true,
        }
    }

    /// What the end of the copy's session means: a guest that runs for itself runs on.
    pub(crate) fn binding(&self) -> Binding {
        match self.via {
            Via::Live => Binding::Free,
            Via::MaintenanceBoot => Binding::EndsBoot,
        }
    }

    /// The copy is done and its session closed: waits until a maintenance boot is over, so that the
    /// workspace is free for whatever comes next.
    pub(crate) fn close(mut self) {
        self.wait_for_the_end();
    }

    fn wait_for_the_end(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let wait = MonitorRequest::new(MonitorOp::Wait {
            what: WaitFor::Ended,
            timeout_ms: Some(as_ms(END_LIMIT)),
        });
        // A monitor that is gone has ended its boot.
        if let Ok(mut talk) = MonitorTalk::ask(&self.door.socket, &wait, END_LIMIT) {
            let _ = talk.answer(Some(END_LIMIT));
            // Its last word comes before it lets the workspace go, and the end of the connection after.
            let _ = talk.line(Some(END_LIMIT));
        }
    }
}

impl Drop for Files {
    /// A copy that failed before a session was bound to the boot.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let stop = MonitorRequest::new(MonitorOp::Stop { timeout_ms: None });
        if let Ok(mut talk) = MonitorTalk::ask(&self.door.socket, &stop, END_LIMIT) {
            let _ = talk.answer(Some(END_LIMIT));
        }
        self.wait_for_the_end();
    }
}
