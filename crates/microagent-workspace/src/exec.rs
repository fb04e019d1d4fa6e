//! `exec`: a command in a running workspace, as one session; no supervisor is started for it.

use crate::context::Context;
use crate::error::WorkspaceError;
use crate::existing;
use crate::guest_session::{GuestSession, SessionError};
use crate::interrupt::Interrupt;
use crate::monitor_client::{ask_once, monitor_socket};
use crate::outcome::{CommandEnd, CommandOutcome};
use crate::run::{RunStreams, as_ms};
use crate::status::status;
use microagent_os::clock;
use microagent_state::paths::WorkspacePaths;
use microagent_types::{Environment, GuestPath, WorkspaceName};
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::generation::GENERATION;
use microagent_wire::guest::service::{
    ExecRequest, KILL_GRACE_MS_DEFAULT, Service, ServiceRequest, Tty,
};
use microagent_wire::monitor::request::{MonitorOp, MonitorRequest};
use std::time::Duration;

/// Until a monitor has released a session.
const RELEASE_LIMIT: Duration = Duration::from_secs(2);

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct ExecSettings {
    /// The program and its arguments; not empty.
    pub argv: Vec<String>,
    /// Added to the workspace's environment.
    pub env: Environment,
    /// The workspace's when none.
    pub user: Option<String>,
    /// Must exist; the workspace's when none.
    pub cwd: Option<GuestPath>,
    /// A terminal in place of three pipes.
    pub tty: Option<Tty>,
    /// The limit for the command.
    pub timeout: Option<Duration>,
    /// Most bytes of each stream that the guest sends.
    pub output_limit_bytes: Option<u64>,
}

/// Runs a command in a running workspace.
///
/// ```no_run
/// # use microagent_workspace::{Context, Interrupt};
/// # let context = Context::new("/home/me/.microagent".parse()?)?;
/// # let interrupt = Interrupt::new();
/// use microagent_workspace::exec::{ExecSettings, exec};
/// use microagent_workspace::guest_session::SessionSink;
/// use microagent_workspace::run::RunStreams;
/// use std::io::{self, Write};
///
/// struct PassOn;
///
/// impl SessionSink for PassOn {
///     fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
///         io::stdout().write_all(bytes)
///     }
///
///     fn stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
///         io::stderr().write_all(bytes)
///     }
/// }
///
/// let settings = ExecSettings {
///     argv: vec!["uname".to_owned(), "-r".to_owned()],
///     ..ExecSettings::default()
/// };
/// let streams = RunStreams { stdin: None, sink: &mut PassOn };
/// let outcome = exec(&context, &"research".parse()?, &settings, streams, &interrupt)?;
/// assert_eq!(outcome.end.exit_code(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When the workspace does not run, the guest refuses, or the connection breaks.
pub fn exec(
    context: &Context,
    name: &WorkspaceName,
    settings: &ExecSettings,
    streams: RunStreams<'_>,
    interrupt: &Interrupt,
) -> Result<CommandOutcome, WorkspaceError> {
    existing::check_backend(context)?;
    let existing = existing::find(context, name)?;
    let exec = ExecRequest {
        argv: settings.argv.clone(),
        env: settings.env.clone(),
        user: settings.user.clone(),
        cwd: settings.cwd.clone(),
        tty: settings.tty.clone(),
        stdin: streams.stdin.is_some(),
        timeout_ms: settings.timeout.map_or(0, as_ms),
        kill_grace_ms: KILL_GRACE_MS_DEFAULT,
        output_limit_bytes: settings.output_limit_bytes,
        make_cwd: false,
    };
    let session = OneSession {
        service: Service::Exec(exec),
        terminal: settings.tty.is_some(),
        loss: MonitorLoss::Survives,
    };
    let paths = &existing.paths;
    let outcome = in_session(context, paths, session, streams, interrupt, || ());
    outcome.map_err(|error| with_state(context, name, interrupt, error))
}

/// Says why a workspace without a monitor takes no session.
pub(crate) fn with_state(
    context: &Context,
    name: &WorkspaceName,
    interrupt: &Interrupt,
    error: WorkspaceError,
) -> WorkspaceError {
    match error {
        WorkspaceError::Session(SessionError::NoMonitor(source)) => {
            not_running(context, name, interrupt)
                .unwrap_or(WorkspaceError::Session(SessionError::NoMonitor(source)))
        }
        other => other,
    }
}

/// What one session is about.
pub(crate) struct OneSession {
    pub(crate) service: Service,
    /// The caller's terminal is attached to it.
    pub(crate) terminal: bool,
    pub(crate) loss: MonitorLoss,
}

/// What the end of the session means for the VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MonitorLoss {
    /// The VM runs on.
    Survives,
    /// The VM ends with the session.
    EndsVm,
    /// The VM ends with the session unless the command has ended first.
    EndsVmUntilExit,
}

/// One command as one session. What comes `after` its end is done while the session still stands: a VM
/// that is bound to it lives so long.
pub(crate) fn in_session(
    context: &Context,
    paths: &WorkspacePaths,
    wanted: OneSession,
    streams: RunStreams<'_>,
    interrupt: &Interrupt,
    after: impl FnOnce(),
) -> Result<CommandOutcome, WorkspaceError> {
    let loss = wanted.loss;
    let service = ServiceRequest {
        generation: GENERATION,
        service: wanted.service,
    };
    let mut request =
        MonitorRequest::new(MonitorOp::session(&service, loss != MonitorLoss::Survives));
    request.initiator = Some(context.initiator.clone());
    let socket = monitor_socket(paths)?;
    crate::making::check_interrupt(interrupt)?;
    let mut session = GuestSession::open(&socket, &request)?;
    if wanted.terminal {
        session.is_a_terminal();
    }
    let started_at = clock::now();
    interrupt.session_runs(session.control());
    if let Some(stdin) = streams.stdin {
        session.feed(stdin);
    }
    let mut ended_at = None;
    let exit = session.run(streams.sink, |number| {
        ended_at = Some(clock::now());
        if let (MonitorLoss::EndsVmUntilExit, Some(number)) = (loss, number) {
            let release = MonitorRequest::new(MonitorOp::Release { number });
            // A session that is over already needs no release.
            let _ = ask_once(&socket, &release, RELEASE_LIMIT);
        }
        interrupt.work_goes_on();
        after();
    });
    interrupt.work_goes_on();
    if let (Err(SessionError::Closed), Some(signal)) = (&exit, interrupt.requested()) {
        return Err(WorkspaceError::Interrupted { signal });
    }
    let exit = exit?;
    Ok(CommandOutcome {
        end: CommandEnd::from_exit(&exit),
        stdout_bytes: exit.stdout_bytes,
        stderr_bytes: exit.stderr_bytes,
        incomplete: exit.incomplete,
        started_at,
        ended_at: ended_at.unwrap_or(started_at),
    })
}

/// Why a workspace without a monitor takes no session: its state, and the verb that helps.
fn not_running(
    context: &Context,
    name: &WorkspaceName,
    interrupt: &Interrupt,
) -> Option<WorkspaceError> {
    let state = status(context, name, interrupt).ok()?.state;
    let (message, hint) = match state.as_str() {
        "quarantined" => (
            format!("`{name}` is quarantined: exec, connect and cp are refused"),
            format!(
                "to look at its disk: microagent halt {name}, then microagent cp {name}:/path ."
            ),
        ),
        "paused" => (
            format!("`{name}` is paused"),
            format!("microagent resume {name}"),
        ),
        state => (
            format!("`{name}` is {state}, not running"),
            format!("microagent start {name}"),
        ),
    };
    Some(
        Fault::new(FaultKind::WrongState, message)
            .with_hint(hint)
            .with_details(|details| details.state = Some(state))
            .into(),
    )
}
