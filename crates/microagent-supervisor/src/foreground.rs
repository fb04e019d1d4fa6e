//! `run`: boots a workspace without its workload, runs the workload as one session, ends the VM, and
//! answers with what came of it. The VM is bound to this process: when the session's connection goes,
//! however it goes, the monitor ends the VM.

use crate::context::{Context, record_fault};
use crate::interrupts::Woken;
use crate::monitor_client::{MonitorClient, MonitorError};
use crate::observe::{Repair, observe, socket_folder};
use crate::start::{BootWorkload, boot};
use crate::{inspect, prepare, stop};
use microagent_machine::spec::{MachineSpec, Workload};
use microagent_machine::verb::Verb;
use microagent_os::clock::{self, Deadline};
use microagent_os::local_socket::Stream;
use microagent_state::record_store::{self, Stored};
use microagent_types::{BootId, Timestamp};
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::frame::{Frame, FrameDecoder, FrameKind, Sender};
use microagent_wire::guest::service::{
    ExecRequest, KILL_GRACE_MS_DEFAULT, Service, ServiceAnswer, ServiceRequest, SessionExit,
    SessionOutput,
};
use microagent_wire::guest::{Parsed, parse};
use microagent_wire::limits::OUTPUT_BYTES_DEFAULT;
use microagent_wire::monitor::request::{MonitorOp, MonitorRequest};
use microagent_wire::supervisor::request::{Command, RunKeep};
use microagent_wire::supervisor::response::{Outcome, OutcomeKind, TextEncoding};
use serde_json::json;
use std::io::Read as _;
use std::time::Duration;

/// Until the monitor has opened the session in the guest.
const SESSION_LIMIT: Duration = Duration::from_secs(30);
/// A workload without a time limit of its own runs as long as the VM lives.
const FOR_EVER: Duration = Duration::from_hours(10 * 365 * 24);
const READ_BYTES: usize = 64 * 1024;

/// `run`.
pub(crate) fn run(context: &mut Context<'_>) -> Result<(), Fault> {
    if context.request.config.is_some() {
        prepare::prepare(context)?;
    }
    context.request.options.client_bound = Some(true);
    boot(context, Verb::Run, BootWorkload::LeftOut)?;
    let observed = observe(context, Repair::None)?;
    let boot_id = observed.runtime.value.boot_id();
    let workload = MachineSpec::try_from(&observed.workspace.value.config)
        .ok()
        .and_then(|spec| spec.workload);
    let outcome = match workload {
        Some(workload) => run_workload(context, &workload),
        None => Err(Fault::new(
            FaultKind::Usage,
            "the workspace has no workload to run",
        )),
    };
    let ended = end(context);
    let outcome = outcome?;
    keep_result(context, boot_id, &outcome);
    context.response.result = Some(Box::new(outcome));
    ended
}

fn run_workload(context: &mut Context<'_>, workload: &Workload) -> Result<Outcome, Fault> {
    let options = &context.request.options;
    let request = ServiceRequest {
        generation: 1,
        service: Service::Exec(ExecRequest {
            argv: workload.argv.clone(),
            env: workload.env.clone(),
            user: workload.user.as_ref().map(|user| user.as_str().to_owned()),
            cwd: Some(workload.workdir.clone()),
            tty: None,
            stdin: false,
            timeout_ms: options.timeout_ms.unwrap_or(0),
            kill_grace_ms: KILL_GRACE_MS_DEFAULT,
            output_limit_bytes: options.output_limit_bytes,
            make_cwd: true,
        }),
    };
    let limit = options.output_limit_bytes.unwrap_or(OUTPUT_BYTES_DEFAULT);
    let mut asked = MonitorRequest::new(MonitorOp::session(&request, true));
    asked.request_id = Some(context.request_id.clone());
    asked.initiator.clone_from(&context.request.initiator);
    let backend = |error: MonitorError| match error {
        MonitorError::Interrupted(_) => {
            Fault::new(FaultKind::Interrupted, "a signal ended the run")
        }
        error => Fault::from_error(FaultKind::Backend, &error),
    };
    let run = socket_folder(&context.paths)
        .ok_or_else(|| Fault::new(FaultKind::Denied, "the sockets can't be reached"))?;
    let mut client = MonitorClient::ask(&run.monitor_socket(), &asked).map_err(backend)?;
    let answer = client
        .answer(SESSION_LIMIT, Some(&mut context.interrupts))
        .map_err(backend)?;
    if let Some(fault) = answer.error {
        return Err(*fault);
    }
    let (stream, received) = client.into_stream();
    let started_at = clock::now();
    let collected = collect(context, stream, received, limit)?;
    Ok(outcome_of(collected, started_at))
}

/// What came of a session.
struct Collected {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    exit: SessionExit,
}

fn collect(
    context: &mut Context<'_>,
    mut stream: Stream,
    received: Vec<u8>,
    limit: u64,
) -> Result<Collected, Fault> {
    let mut decoder = FrameDecoder::new(Sender::Guest);
    let mut collected = Collected {
        stdout: Vec::new(),
        stderr: Vec::new(),
        exit: SessionExit::default(),
    };
    let mut buffer = vec![0; READ_BYTES];
    let mut bytes = received;
    let broken = || Fault::new(FaultKind::Guest, "the session ended before its command did");
    loop {
        let mut input = bytes.as_slice();
        while !input.is_empty() {
            let frame = decoder
                .decode(&mut input)
                .map_err(|error| Fault::from_error(FaultKind::Guest, &error))?;
            if let Some(frame) = frame
                && take_frame(&mut collected, frame, limit)?
            {
                return Ok(collected);
            }
        }
        let woken = context
            .interrupts
            .wait(stream.descriptor(), Deadline::after(FOR_EVER))
            .map_err(|error| Fault::from_error(FaultKind::Backend, &error))?;
        if let Woken::Interrupted(_) = woken {
            return Err(Fault::new(FaultKind::Interrupted, "a signal ended the run"));
        }
        let read = stream.read(&mut buffer).map_err(|_| broken())?;
        if read == 0 {
            return Err(broken());
        }
        bytes.clear();
        bytes.extend_from_slice(&buffer[..read]);
    }
}

/// Takes a frame; true when it is the last.
fn take_frame(collected: &mut Collected, frame: Frame, limit: u64) -> Result<bool, Fault> {
    let keep = |kept: &mut Vec<u8>, payload: &[u8]| {
        let room = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .saturating_sub(kept.len());
        kept.extend_from_slice(&payload[..payload.len().min(room)]);
    };
    match frame.kind {
        FrameKind::Stdout => keep(&mut collected.stdout, &frame.payload),
        FrameKind::Stderr => keep(&mut collected.stderr, &frame.payload),
        FrameKind::Control => {
            if let Ok(Parsed::Known(SessionOutput::Exit(exit))) = parse(&frame.payload) {
                collected.exit = exit;
                return Ok(true);
            }
            if let Ok(answer) = serde_json::from_slice::<ServiceAnswer>(&frame.payload)
                && !answer.ok
            {
                let kind = answer.kind.unwrap_or(FaultKind::Guest);
                let message = answer
                    .message
                    .unwrap_or_else(|| "the guest refused the command".to_owned());
                return Err(Fault::new(kind, message));
            }
        }
        _ => {}
    }
    Ok(false)
}

fn outcome_of(collected: Collected, started_at: Timestamp) -> Outcome {
    let ended_at = clock::now();
    let exit = collected.exit;
    let (stdout, stdout_encoding) = text_of(&collected.stdout);
    let (stderr, stderr_encoding) = text_of(&collected.stderr);
    let outcome = if exit.not_started.is_some() {
        OutcomeKind::NotStarted
    } else if exit.timed_out {
        OutcomeKind::TimedOut
    } else if exit.signal.is_some() {
        OutcomeKind::Signaled
    } else {
        OutcomeKind::Exited
    };
    Outcome {
        outcome,
        exit_code: exit.code,
        signal: exit.signal,
        stdout,
        stdout_encoding,
        stdout_bytes: exit.stdout_bytes,
        stdout_truncated: exit.stdout_bytes > collected.stdout.len() as u64,
        stderr,
        stderr_encoding,
        stderr_bytes: exit.stderr_bytes,
        stderr_truncated: exit.stderr_bytes > collected.stderr.len() as u64,
        started_at,
        ended_at,
        duration_ms: ended_at.ms_since(started_at),
        error: exit.not_started.map(|not_started| {
            let code = not_started.errno;
            Box::new(
                Fault::new(FaultKind::NotFound, not_started.message).with_details(|details| {
                    details.os_error = Some(microagent_wire::fault::OsError {
                        code,
                        name: String::new(),
                    });
                }),
            )
        }),
    }
}

fn text_of(bytes: &[u8]) -> (String, TextEncoding) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), TextEncoding::Utf8),
        Err(_) => (base64(bytes), TextEncoding::Base64),
    }
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for place in 0..4 {
            if place <= chunk.len() {
                let index = (bits >> (18 - 6 * place)) & 63;
                text.push(char::from(ALPHABET[index as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// Ends the VM as `keep` says.
fn end(context: &mut Context<'_>) -> Result<(), Fault> {
    let keep = context.request.options.keep.unwrap_or(RunKeep::Halted);
    let interrupted = context.interrupts.came().is_some();
    let result = context.response.clone();
    context.request.options.timeout_ms = None;
    // The session's connection is closed by now, so the monitor is ending the VM already; these two
    // join that end, or find it done.
    context.request.command = if interrupted {
        Command::Stop
    } else {
        Command::Kill
    };
    let ended = stop::act(context);
    let deleted = match keep {
        RunKeep::None if ended.is_ok() => {
            context.request.command = Command::Delete;
            inspect::delete(context)
        }
        _ => Ok(()),
    };
    context.request.command = Command::Run;
    context.response.timings = result.timings;
    context.response.changed = Some(true);
    ended.and(deleted)
}

fn keep_result(context: &mut Context<'_>, boot_id: Option<BootId>, outcome: &Outcome) {
    if context.response.deleted == Some(true) {
        return;
    }
    let result = Stored::new(json!({ "bootId": boot_id, "outcome": outcome }));
    if let Err(error) = record_store::write(&context.paths.result(), &result) {
        let fault = record_fault(&error);
        context.warn(format!("the result was not kept: {fault}"));
    }
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_the_standard() {
        for (plain, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xfe]), "//4=");
    }
}
