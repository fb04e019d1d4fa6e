//! The `shell` service: an interactive shell in a terminal, or a shell for one line.

use super::launch::{MissingFolder, Wish, prepare};
use super::process::Bounds;
use super::{Refusal, exec, refuse};
use crate::connection::Connection;
use crate::context::Context;
use crate::terminal::default_tty;
use crate::workload::StartStep;
use microagent_wire::fault::FaultKind;
use microagent_wire::guest::service::{KILL_GRACE_MS_DEFAULT, ShellRequest};
use std::time::Duration;

/// The shell of last resort.
const SHELL_DEFAULT: &str = "/bin/sh";

/// Runs the shell and stays until it has ended.
pub(crate) fn serve(connection: Connection, context: &Context, request: &ShellRequest) {
    let bounds = Bounds {
        timeout: (request.timeout_ms > 0).then(|| Duration::from_millis(request.timeout_ms)),
        kill_grace: Duration::from_millis(KILL_GRACE_MS_DEFAULT),
        output_bytes_max: request.output_limit_bytes.unwrap_or(u64::MAX),
        stdin_bytes_max: context.stdin_bytes_max,
    };
    match start(context, request) {
        Ok((child, streams)) => exec::run(connection, child, streams, bounds),
        Err(refusal) => refuse(connection, refusal),
    }
}

type Running = (
    std::sync::Arc<crate::workload::Child>,
    super::process::Streams,
);

/// Tries the shell that was named, or the user's and then the default one.
fn start(context: &Context, request: &ShellRequest) -> Result<Running, Refusal> {
    let tty = request.tty.clone().unwrap_or_else(default_tty);
    let launch = prepare(
        context,
        Wish {
            env: &request.env,
            user: request.user.as_deref(),
            cwd: request.cwd.as_ref(),
            missing_cwd: MissingFolder::Refused,
            term: request.line.is_none().then_some(tty.term.as_str()),
        },
    )?;
    let shells = match &request.shell {
        Some(shell) => vec![shell.as_str()],
        None => launch
            .account
            .shell
            .as_deref()
            .into_iter()
            .chain([SHELL_DEFAULT])
            .collect(),
    };
    let mut last = None;
    for shell in shells {
        let mut argv = vec![shell.to_owned()];
        let opened = match &request.line {
            Some(line) => {
                argv.extend(["-c".to_owned(), line.clone()]);
                exec::pipes(false)
            }
            None => exec::terminal(&tty, launch.account.uid),
        };
        let (stdio, streams) = opened.map_err(|error| {
            Refusal::new(FaultKind::Resource, "no descriptors are left for the shell")
                .with_errno(error.raw_os_error())
        })?;
        let command = launch.command(&argv, stdio)?;
        match context.reaper.start(&command) {
            Ok(child) => return Ok((child, streams)),
            Err(error) => {
                let kind = match error.step {
                    StartStep::Exec => FaultKind::NotFound,
                    _ => FaultKind::Resource,
                };
                let not_started = exec::not_started(shell, error);
                last = Some(Refusal::new(kind, not_started.message).with_errno(Some(error.errno)));
            }
        }
    }
    Err(last.unwrap_or_else(|| Refusal::new(FaultKind::NotFound, "the image has no shell")))
}
