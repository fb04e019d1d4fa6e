//! Which mode a supervisor runs in; one request in, one response out, one exit status.

use crate::backend::Backend;
use crate::interrupts::{Interrupts, Woken};
use crate::{monitor, once};
use microagent_os::clock::Deadline;
use microagent_os::process::{Signal, stdin_descriptor};
use microagent_os::terminal::{StandardStream, is_terminal};
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::limits::REQUEST_BYTES_MAX;
use microagent_wire::supervisor::response::Response;
use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

/// Until the whole request must have come.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
const READ_BYTES: usize = 64 * 1024;
/// Exit status of a wrong invocation.
const WRONG_INVOCATION: u8 = 2;
/// Exit status when the reader of the response is gone: 128 and SIGPIPE.
const READER_GONE: u8 = 141;

const USAGE: &str = "\
Runs one request against one workspace: a JSON object on stdin, a JSON object on stdout.

Usage: supervisor < REQUEST
       supervisor --version | --help

Programs use it; people use `microagent`. The protocol is documented in docs/protocol.md.
";

/// Runs a supervisor with these words, for a program that has its own and its own log; all others call
/// [`main`](crate::main). Nothing may have been opened before; return what it returns.
pub fn run(backend: &dyn Backend, arguments: impl Iterator<Item = String>) -> ExitCode {
    let arguments: Vec<String> = arguments.collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => request_mode(backend),
        ["monitor"] => monitor::run(backend),
        ["confined-exec", ..] => backend.confined_exec(),
        ["--version"] => say(&format!(
            "{} {}\n",
            backend.name().supervisor_program(),
            env!("CARGO_PKG_VERSION")
        )),
        ["--help"] => say(USAGE),
        _ => complain(),
    }
}

fn request_mode(backend: &dyn Backend) -> ExitCode {
    if is_terminal(StandardStream::Stdin) {
        return complain();
    }
    let Ok(mut interrupts) = Interrupts::install() else {
        return ExitCode::FAILURE;
    };
    let answered = match read_request(&mut interrupts) {
        Ok(bytes) => once::serve(backend, &bytes, interrupts),
        Err(fault) => once::Answered {
            signal: interrupts.came(),
            response: Response::failure(backend.name(), fault),
        },
    };
    let mut line = serde_json::to_string(&answered.response).expect("string keys only");
    line.push('\n');
    let written = write_out(&line);
    match (written, answered.signal) {
        (Err(_), _) => ExitCode::from(READER_GONE),
        (Ok(()), Some(signal)) => ExitCode::from(signal_status(signal)),
        (Ok(()), None) if answered.response.ok => ExitCode::SUCCESS,
        (Ok(()), None) => ExitCode::FAILURE,
    }
}

/// 128 and the signal's number.
fn signal_status(signal: Signal) -> u8 {
    128 + match signal {
        Signal::HangUp => 1,
        Signal::Interrupt => 2,
        _ => 15,
    }
}

fn read_request(interrupts: &mut Interrupts) -> Result<Vec<u8>, Fault> {
    let deadline = Deadline::after(REQUEST_LIMIT);
    let stdin = io::stdin();
    let mut bytes = Vec::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let failed = |error: io::Error| {
            Fault::new(FaultKind::Usage, "the request could not be read")
                .with_cause(error.to_string())
        };
        match interrupts
            .wait(stdin_descriptor(), deadline)
            .map_err(failed)?
        {
            Woken::Readable => {}
            Woken::Interrupted(_) => {
                let message = "a signal came before the request";
                return Err(Fault::new(FaultKind::Interrupted, message));
            }
            Woken::TimedOut => {
                let limit_ms = Some(microagent_os::clock::whole_ms(REQUEST_LIMIT));
                let fault = Fault::new(FaultKind::Timeout, "the request did not come to its end");
                return Err(fault.with_details(|details| {
                    details.waited_for = Some("the end of the request".to_owned());
                    details.deadline_ms = limit_ms;
                }));
            }
        }
        match stdin.lock().read(&mut buffer).map_err(failed)? {
            0 => return Ok(bytes),
            read => bytes.extend_from_slice(&buffer[..read]),
        }
        // One more than allowed is enough to be refused.
        if bytes.len() > REQUEST_BYTES_MAX {
            return Ok(bytes);
        }
    }
}

fn say(text: &str) -> ExitCode {
    match write_out(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(READER_GONE),
    }
}

fn complain() -> ExitCode {
    // Whoever called it wrongly may have closed stderr as well.
    let _ = io::stderr().write_all(USAGE.as_bytes());
    ExitCode::from(WRONG_INVOCATION)
}

fn write_out(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
