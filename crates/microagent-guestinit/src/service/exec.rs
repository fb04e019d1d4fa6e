//! The `exec` service: one command, no shell in between.

use super::launch::{MissingFolder, Wish, prepare};
use super::process::{Bounds, ProcessSession, Streams};
use super::stdin::Stdin;
use super::{ANSWER_LIMIT, LINGER_LIMIT, Refusal, refuse};
use crate::connection::Connection;
use crate::context::Context;
use crate::terminal::Terminal;
use crate::workload::{Child, StartError, StartStep, Stdio};
use microagent_wire::fault::FaultKind;
use microagent_wire::frame::Frame;
use microagent_wire::guest::service::{
    ExecRequest, NotStarted, ServiceAnswer, SessionExit, SessionOutput, Tty,
};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// Runs the command and stays until it has ended.
pub(crate) fn serve(connection: Connection, context: &Context, request: &ExecRequest) {
    let bounds = Bounds {
        timeout: (request.timeout_ms > 0).then(|| Duration::from_millis(request.timeout_ms)),
        kill_grace: Duration::from_millis(request.kill_grace_ms),
        output_bytes_max: request.output_limit_bytes.unwrap_or(u64::MAX),
        stdin_bytes_max: context.stdin_bytes_max,
    };
    match start(context, request) {
        Ok(Started::Running(child, streams)) => run(connection, child, streams, bounds),
        Ok(Started::Not(not_started)) => report_not_started(connection, not_started),
        Err(refusal) => refuse(connection, refusal),
    }
}

/// What became of the attempt.
pub(super) enum Started {
    Running(Arc<Child>, Streams),
    Not(NotStarted),
}

/// Tells the host that the process runs, and serves it to its end.
pub(super) fn run(mut connection: Connection, child: Arc<Child>, streams: Streams, bounds: Bounds) {
    connection.queue_frame(&Frame::control(&ServiceAnswer {
        stdin_window_bytes: Some(Stdin::window_bytes(bounds.stdin_bytes_max)),
        ..ServiceAnswer::accepted()
    }));
    connection.queue_frame(&Frame::control(&SessionOutput::Started {
        pid: child.pid(),
    }));
    ProcessSession::new(connection, child, streams, bounds).run();
}

fn report_not_started(mut connection: Connection, not_started: NotStarted) {
    connection.queue_frame(&Frame::control(&ServiceAnswer::accepted()));
    let exit = SessionExit {
        not_started: Some(not_started),
        ..SessionExit::default()
    };
    connection.send_frame(&Frame::control(&SessionOutput::Exit(exit)), ANSWER_LIMIT);
    connection.linger(LINGER_LIMIT);
}

/// Starts the command of a request.
pub(super) fn start(context: &Context, request: &ExecRequest) -> Result<Started, Refusal> {
    let launch = prepare(
        context,
        Wish {
            env: &request.env,
            user: request.user.as_deref(),
            cwd: request.cwd.as_ref(),
            missing_cwd: if request.make_cwd {
                MissingFolder::Made
            } else {
                MissingFolder::Refused
            },
            term: request.tty.as_ref().map(|tty| tty.term.as_str()),
        },
    )?;
    let (stdio, streams) = match &request.tty {
        Some(tty) => terminal(tty, launch.account.uid),
        None => pipes(request.stdin),
    }
    .map_err(|error| {
        Refusal::new(
            FaultKind::Resource,
            "no descriptors are left for the command",
        )
        .with_errno(error.raw_os_error())
    })?;
    let command = launch.command(&request.argv, stdio)?;
    Ok(match context.reaper.start(&command) {
        Ok(child) => Started::Running(child, streams),
        Err(error) => Started::Not(not_started(&request.argv[0], error)),
    })
}

pub(crate) fn not_started(program: &str, error: StartError) -> NotStarted {
    let reason = io::Error::from_raw_os_error(error.errno);
    let what = match error.step {
        StartStep::Exec => "can't be executed",
        StartStep::Credentials => "can't become its user",
        StartStep::Directory => "can't enter its folder",
        StartStep::Setup => "can't have its session",
        StartStep::Fork => "can't have a process",
    };
    NotStarted {
        errno: error.errno,
        message: format!("`{program}` {what}: {reason}"),
    }
}

/// The process's end of a pipe and ours.
pub(super) fn pipes(has_stdin: bool) -> io::Result<(Stdio, Streams)> {
    let (stdin, stdin_ours) = if has_stdin {
        let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
        (theirs, Some(non_blocking(ours)?))
    } else {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        (rustix::fs::open(c"/dev/null", flags, Mode::empty())?, None)
    };
    let (stdout_ours, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
    let (stderr_ours, stderr) = pipe_with(PipeFlags::CLOEXEC)?;
    let stdio = Stdio::Pipes {
        stdin,
        stdout,
        stderr,
    };
    let streams = Streams::Pipes {
        stdin: stdin_ours,
        stdout: non_blocking(stdout_ours)?,
        stderr: non_blocking(stderr_ours)?,
    };
    Ok((stdio, streams))
}

/// Only our end: the two ends of a pipe have flags of their own, and the process expects to block.
fn non_blocking(fd: OwnedFd) -> io::Result<OwnedFd> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    Ok(fd)
}

pub(super) fn terminal(tty: &Tty, owner: u32) -> io::Result<(Stdio, Streams)> {
    let owner = (owner != rustix::process::geteuid().as_raw()).then_some(owner);
    let pair = Terminal::open(tty, owner)?;
    let writer = pair.controller.try_clone()?;
    let streams = Streams::Terminal {
        controller: pair.controller,
        writer,
    };
    Ok((Stdio::Terminal(pair.terminal), streams))
}
