//! `wait`: returns when a workspace has ended, is ready, or serves a port.
//!
//! The monitor tells; nothing polls it. Only a guest's TCP port is tried again and again, since no
//! kernel tells when somebody begins to listen.

use crate::act::{ActReport, Acted, in_parallel};
use crate::context::Context;
use crate::error::WorkspaceError;
use crate::existing;
use crate::interrupt::Interrupt;
use crate::monitor_client::{MonitorTalk, is_timeout, monitor_socket};
use crate::status::status;
use microagent_os::clock::{self, Deadline};
use microagent_state::paths::WorkspacePaths;
use microagent_types::{GuestPort, Span, WorkspaceName};
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::generation::GENERATION;
use microagent_wire::guest::service::{Service, ServiceAnswer, ServiceRequest};
use microagent_wire::monitor::request::{MonitorOp, MonitorRequest, WaitFor};
use microagent_wire::supervisor::response::Workspace;
use std::time::Duration;

/// Until a monitor takes a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// How often a wait looks whether it is to end.
const INTERRUPT_CHECK: Duration = Duration::from_millis(200);
/// Between two tries of a guest's port.
const PORT_PAUSE: Duration = Duration::from_millis(200);
/// One try of a guest's port.
const PORT_LIMIT: Duration = Duration::from_secs(6);
/// As good as no limit, and still one.
const LONG: Duration = Duration::from_hours(24 * 3650);

/// What a wait waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Condition {
    /// The VM is gone.
    #[default]
    Ended,
    /// The guest is ready.
    Ready,
    /// A TCP connection to this port of the guest succeeds.
    Port(GuestPort),
}

/// Waits for each of the workspaces. Without a limit the wait is still bounded by the VM: it ends when
/// the VM is gone.
///
/// The report's workspace is the one seen at the end; a condition that can no longer come true is an
/// error of kind `wrong_state`, a limit that ran out one of kind `timeout`.
///
/// ```no_run
/// # use microagent_workspace::{Context, Interrupt};
/// # let context = Context::new("/home/me/.microagent".parse()?)?;
/// # let interrupt = Interrupt::new();
/// use microagent_workspace::wait::{Condition, wait};
/// use std::time::Duration;
///
/// let limit = Some(Duration::from_secs(60));
/// for report in wait(&context, &["research".parse()?], Condition::Ended, limit, &interrupt) {
///     let workspace = report.result?.workspace;
///     let exit = workspace.and_then(|workspace| workspace.exit);
///     println!("{} ended with {:?}", report.name, exit.and_then(|exit| exit.code));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn wait(
    context: &Context,
    names: &[WorkspaceName],
    condition: Condition,
    timeout: Option<Duration>,
    interrupt: &Interrupt,
) -> Vec<ActReport> {
    in_parallel(names, |name| {
        existing::check_backend(context)?;
        let existing = existing::find(context, name)?;
        let deadline = Deadline::after(timeout.unwrap_or(LONG));
        let waiting = Waiting {
            context,
            name,
            paths: &existing.paths,
            deadline,
            timeout,
            interrupt,
        };
        let workspace = match condition {
            Condition::Ended => waiting.ended()?,
            Condition::Ready => waiting.ready()?,
            Condition::Port(port) => waiting.port(port)?,
        };
        Ok(Acted {
            workspace: Some(workspace),
            ..Acted::default()
        })
    })
}

struct Waiting<'a> {
    context: &'a Context,
    name: &'a WorkspaceName,
    paths: &'a WorkspacePaths,
    deadline: Deadline,
    timeout: Option<Duration>,
    interrupt: &'a Interrupt,
}

impl Waiting<'_> {
    fn ended(&self) -> Result<Box<Workspace>, WorkspaceError> {
        loop {
            let workspace = self.status()?;
            if !workspace.vm.as_ref().is_some_and(|vm| vm.alive) && is_resting(&workspace.state) {
                return Ok(workspace);
            }
            self.until(WaitFor::Ended)?;
        }
    }

    fn ready(&self) -> Result<Box<Workspace>, WorkspaceError> {
        loop {
            let workspace = self.status()?;
            if workspace.readiness.guest_ready {
                return Ok(workspace);
            }
            if is_resting(&workspace.state) {
                return Err(self.never("ready", &workspace));
            }
            self.until(WaitFor::Ready)?;
        }
    }

    fn port(&self, port: GuestPort) -> Result<Box<Workspace>, WorkspaceError> {
        self.ready()?;
        loop {
            if self.serves(port) {
                return self.status();
            }
            let workspace = self.status()?;
            if is_resting(&workspace.state) {
                return Err(self.never("serving the port", &workspace));
            }
            self.check("the port to accept a connection")?;
            clock::pause(PORT_PAUSE);
        }
    }

    /// Whether something in the guest accepts on a port now.
    fn serves(&self, port: GuestPort) -> bool {
        let service = Service::Forward { port, host: None };
        let request = ServiceRequest {
            generation: GENERATION,
            service,
        };
        let request = MonitorRequest::new(MonitorOp::session(&request, false));
        let Ok(socket) = monitor_socket(self.paths) else {
            return false;
        };
        let Ok(mut talk) = MonitorTalk::ask(&socket, &request, CONNECT_LIMIT) else {
            return false;
        };
        talk.answer(Some(PORT_LIMIT)).is_ok_and(|answer| answer.ok)
            && talk
                .frame(PORT_LIMIT)
                .ok()
                .and_then(|frame| serde_json::from_slice::<ServiceAnswer>(&frame).ok())
                .is_some_and(|answer| answer.ok)
    }

    /// Waits on the monitor until it says that something is so, or is gone.
    fn until(&self, what: WaitFor) -> Result<(), WorkspaceError> {
        let request = MonitorRequest::new(MonitorOp::Wait {
            what,
            timeout_ms: None,
        });
        let socket = monitor_socket(self.paths)?;
        let Ok(mut talk) = MonitorTalk::ask(&socket, &request, CONNECT_LIMIT) else {
            // It is just coming or going; the records tell which.
            self.check("the workspace's monitor")?;
            clock::pause(PORT_PAUSE);
            return Ok(());
        };
        loop {
            self.check(match what {
                WaitFor::Ready => "the guest to be ready",
                WaitFor::Ended | WaitFor::Change => "the VM to end",
            })?;
            match talk.line(Some(INTERRUPT_CHECK)) {
                Err(error) if is_timeout(&error) => {}
                Ok(_) | Err(_) => return Ok(()),
            }
        }
    }

    fn check(&self, waited_for: &str) -> Result<(), WorkspaceError> {
        crate::making::check_interrupt(self.interrupt)?;
        if !self.deadline.has_passed() {
            return Ok(());
        }
        let limit = self.timeout.unwrap_or(LONG);
        let log = self
            .paths
            .serial_log(microagent_state::paths::Rotation::Current);
        let message = format!(
            "waited {} for {waited_for} in `{}`",
            Span::from(limit),
            self.name
        );
        let fault = Fault::new(FaultKind::Timeout, message)
            .with_hint(format!("its log is `{}`", log.display()))
            .with_details(|details| {
                details.waited_for = Some(waited_for.to_owned());
                details.deadline_ms = Some(crate::run::as_ms(limit));
                details.log_path = log.as_path().try_into().ok();
            });
        Err(fault.into())
    }

    fn never(&self, condition: &str, workspace: &Workspace) -> WorkspaceError {
        let message = format!(
            "`{}` is {} ({}) and can no longer become {condition}",
            self.name, workspace.state, workspace.reason
        );
        Fault::new(FaultKind::WrongState, message)
            .with_hint(format!("microagent start {}", self.name))
            .with_details(|details| details.state = Some(workspace.state.clone()))
            .into()
    }

    fn status(&self) -> Result<Box<Workspace>, WorkspaceError> {
        status(self.context, self.name, &Interrupt::new())
    }
}

/// Whether a state is one in which no VM should exist. A quarantined one rests when its VM has gone.
fn is_resting(state: &str) -> bool {
    !matches!(state, "starting" | "running" | "paused" | "halting")
}
