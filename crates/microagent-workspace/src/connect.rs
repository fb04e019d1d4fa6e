//! `connect`: a shell in a running workspace, or its serial console.
//!
//! A shell is a session of its own and ends with it. The console is one for all: whoever attaches sees
//! what the guest writes from then on, and what they type is merged.

use crate::context::Context;
use crate::error::WorkspaceError;
use crate::exec::{MonitorLoss, OneSession, in_session, with_state};
use crate::existing;
use crate::guest_session::{SessionControl, SessionError, SessionSink, read_answer};
use crate::interrupt::Interrupt;
use crate::monitor_client::{is_timeout, monitor_socket};
use crate::outcome::CommandOutcome;
use crate::run::{RunStreams, as_ms};
use microagent_os::clock::Deadline;
use microagent_os::local_socket::{self, Stream};
use microagent_types::{GuestPath, WorkspaceName};
use microagent_wire::guest::service::{Service, ShellRequest, Tty};
use microagent_wire::monitor::request::{MonitorOp, MonitorRequest, SerialMode};
use std::io::{self, BufReader, Read, Write as _};
use std::time::Duration;

/// Until the monitor takes the connection and has answered.
const ATTACH_LIMIT: Duration = Duration::from_secs(5);
/// Read at once from the console.
const READ_BYTES: usize = 16 << 10;
/// A console that says nothing for this long after a line has said what it had to say.
const SILENCE: Duration = Duration::from_millis(500);

/// Which shell, as whom, where.
#[derive(Debug, Clone, Default)]
pub struct ConnectSettings {
    /// The program; the user's login shell, then `/bin/sh`, when none.
    pub shell: Option<GuestPath>,
    /// The workspace's when none.
    pub user: Option<String>,
    /// Must exist; the workspace's when none.
    pub cwd: Option<GuestPath>,
}

/// One line for a shell of its own.
#[derive(Debug, Clone)]
pub struct SendSettings {
    /// What the shell runs.
    pub line: String,
    /// The limit for it.
    pub timeout: Option<Duration>,
    /// Most bytes of each stream that the guest sends.
    pub output_limit_bytes: Option<u64>,
}

/// Runs a shell on a terminal until it ends or the session is closed.
///
/// # Errors
/// When the workspace does not run, the guest refuses, or the connection breaks.
pub fn connect(
    context: &Context,
    name: &WorkspaceName,
    settings: &ConnectSettings,
    tty: Tty,
    streams: RunStreams<'_>,
    interrupt: &Interrupt,
) -> Result<CommandOutcome, WorkspaceError> {
    let request = ShellRequest {
        tty: Some(tty),
        ..shell_request(settings)
    };
    shell(context, name, request, streams, interrupt)
}

/// Runs one line in a new shell, without a terminal and without input.
///
/// # Errors
/// When the workspace does not run, the guest refuses, or the connection breaks.
pub fn send(
    context: &Context,
    name: &WorkspaceName,
    settings: &ConnectSettings,
    line: &SendSettings,
    sink: &mut dyn SessionSink,
    interrupt: &Interrupt,
) -> Result<CommandOutcome, WorkspaceError> {
    let request = ShellRequest {
        line: Some(line.line.clone()),
        timeout_ms: line.timeout.map_or(0, as_ms),
        output_limit_bytes: line.output_limit_bytes,
        ..shell_request(settings)
    };
    let streams = RunStreams { stdin: None, sink };
    shell(context, name, request, streams, interrupt)
}

fn shell_request(settings: &ConnectSettings) -> ShellRequest {
    ShellRequest {
        shell: settings.shell.clone(),
        user: settings.user.clone(),
        cwd: settings.cwd.clone(),
        ..ShellRequest::default()
    }
}

fn shell(
    context: &Context,
    name: &WorkspaceName,
    request: ShellRequest,
    streams: RunStreams<'_>,
    interrupt: &Interrupt,
) -> Result<CommandOutcome, WorkspaceError> {
    existing::check_backend(context)?;
    let existing = existing::find(context, name)?;
    let session = OneSession {
        terminal: request.tty.is_some(),
        service: Service::Shell(request),
        loss: MonitorLoss::Survives,
    };
    in_session(context, &existing.paths, session, streams, interrupt, || ())
        .map_err(|error| with_state(context, name, interrupt, error))
}

/// Attaches to the serial console until it ends or the session is closed. Everything that the guest
/// writes is stdout.
///
/// # Errors
/// When the workspace has no console now, or the connection breaks.
pub fn connect_serial(
    context: &Context,
    name: &WorkspaceName,
    streams: RunStreams<'_>,
    interrupt: &Interrupt,
) -> Result<(), WorkspaceError> {
    let mut console = attach(context, name, interrupt)?;
    let control = SessionControl::of_bytes(console.get_ref()).map_err(SessionError::Broken)?;
    interrupt.session_runs(control.clone());
    if let Some(stdin) = streams.stdin {
        let writer = console.get_ref().try_clone();
        feed(stdin, writer.map_err(SessionError::Broken)?);
    }
    let shown = show(&mut console, streams.sink);
    interrupt.work_goes_on();
    let _ = console.get_ref().shut_down();
    match (shown, interrupt.requested()) {
        (_, Some(signal)) => Err(WorkspaceError::Interrupted { signal }),
        (_, None) if control.is_closed() => Err(SessionError::Closed.into()),
        (shown, None) => Ok(shown?),
    }
}

fn show(console: &mut impl Read, sink: &mut dyn SessionSink) -> Result<(), SessionError> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match console.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => sink
                .stdout(&buffer[..count])
                .map_err(SessionError::OutputClosed)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SessionError::Broken(error)),
        }
    }
}

/// The end of the input leaves the console attached: it has no end of file to pass on.
fn feed(mut stdin: Box<dyn Read + Send>, mut writer: Stream) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) if writer.write_all(&buffer[..count]).is_ok() => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return,
            }
        }
    });
}

/// Types a line at the console and hands out what follows, until it is silent or the time is up. When
/// it is done can't be known there.
///
/// # Errors
/// As [`connect_serial`].
pub fn send_serial(
    context: &Context,
    name: &WorkspaceName,
    line: &str,
    timeout: Option<Duration>,
    sink: &mut dyn SessionSink,
    interrupt: &Interrupt,
) -> Result<(), WorkspaceError> {
    let mut console = attach(context, name, interrupt)?;
    let control = SessionControl::of_bytes(console.get_ref()).map_err(SessionError::Broken)?;
    interrupt.session_runs(control);
    let talked = type_line(&mut console, line, timeout, sink);
    interrupt.work_goes_on();
    if let Some(signal) = interrupt.requested() {
        return Err(WorkspaceError::Interrupted { signal });
    }
    Ok(talked?)
}

fn type_line(
    console: &mut BufReader<Stream>,
    line: &str,
    timeout: Option<Duration>,
    sink: &mut dyn SessionSink,
) -> Result<(), SessionError> {
    console
        .get_mut()
        .write_all(format!("{line}\n").as_bytes())
        .map_err(SessionError::Broken)?;
    let deadline = timeout.map(Deadline::after);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let left = deadline.map_or(SILENCE, |deadline| deadline.remaining().min(SILENCE));
        if left.is_zero() {
            return Ok(());
        }
        let limited = console.get_ref().set_read_limit(Some(left));
        limited.map_err(SessionError::Broken)?;
        match console.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => sink
                .stdout(&buffer[..count])
                .map_err(SessionError::OutputClosed)?,
            Err(error) if is_timeout(&error) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SessionError::Broken(error)),
        }
    }
}

/// Has the monitor hand over the console.
fn attach(
    context: &Context,
    name: &WorkspaceName,
    interrupt: &Interrupt,
) -> Result<BufReader<Stream>, WorkspaceError> {
    existing::check_backend(context)?;
    let existing = existing::find(context, name)?;
    let socket = monitor_socket(&existing.paths)?;
    let mut request = MonitorRequest::new(MonitorOp::Serial {
        mode: SerialMode::Attach,
    });
    request.initiator = Some(context.initiator.clone());
    attach_at(&socket, &request).map_err(|error| with_state(context, name, interrupt, error.into()))
}

fn attach_at(
    socket: &std::path::Path,
    request: &MonitorRequest,
) -> Result<BufReader<Stream>, SessionError> {
    let mut stream =
        local_socket::connect(socket, ATTACH_LIMIT).map_err(SessionError::NoMonitor)?;
    stream
        .set_read_limit(Some(ATTACH_LIMIT))
        .and_then(|()| stream.write_all(request.to_line().as_bytes()))
        .map_err(SessionError::Broken)?;
    let mut reader = BufReader::with_capacity(READ_BYTES, stream);
    let answer = read_answer(&mut reader)?;
    if let Some(fault) = answer.error {
        return Err(SessionError::Refused(fault));
    }
    reader
        .get_ref()
        .set_read_limit(None)
        .map_err(SessionError::Broken)?;
    Ok(reader)
}
