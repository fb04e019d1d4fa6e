//! Runs a supervisor: one request in, one response out.
//!
//! A program that embeds the library may hand in its own [`Supervisor`]; the ordinary one starts the
//! executable of a backend. What the executable prints is the answer or nothing is: output that is no
//! response becomes a fault of kind `backend` with its last lines of stderr.

use crate::interrupt::Interrupt;
use microagent_os::process::{Conversation, ConversationError, Exit, Reply, Spawn};
use microagent_types::BackendName;
use microagent_types::env_vars::EnvVar;
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::supervisor::request::Request;
use microagent_wire::supervisor::response::Response;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Beyond the deadline of a request, until its supervisor is ended.
const GRACE: Duration = Duration::from_secs(10);
/// Largest response, in bytes.
const RESPONSE_BYTES_MAX: usize = 16 << 20;
const STDERR_BYTES_MAX: usize = 64 << 10;
/// Lines of stderr that a fault carries.
const STDERR_LINES_MAX: usize = 8;
/// How much later than a supervisor this process may hear a signal that was sent to both.
const HEARD_WITHIN: Duration = Duration::from_millis(200);

/// Whoever answers requests for one backend.
pub trait Supervisor {
    /// Sends one request and waits for its response, at most `limit` and a grace of 10 s.
    ///
    /// # Errors
    /// When there is no response. A response that says `ok: false` is no error here.
    fn ask(
        &self,
        request: &Request,
        limit: Duration,
        interrupt: &Interrupt,
    ) -> Result<Response, Fault>;
}

/// The executable of one backend.
#[derive(Debug, Clone)]
pub struct SupervisorProgram {
    backend: BackendName,
    program: PathBuf,
}

impl SupervisorProgram {
    /// The executable at a path.
    pub fn new(backend: BackendName, program: PathBuf) -> Self {
        Self { backend, program }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.program
    }

    /// Which backend it answers for.
    pub fn backend(&self) -> BackendName {
        self.backend
    }

    fn spawn(&self) -> Spawn {
        // The variables that the protocol grants a supervisor, and no other.
        const PASSED: [EnvVar; 8] = [
            EnvVar::Path,
            EnvVar::Firecracker,
            EnvVar::Qemu,
            EnvVar::Kvm,
            EnvVar::Confinement,
            EnvVar::Log,
            EnvVar::XdgRuntimeDir,
            EnvVar::Lang,
        ];
        PASSED.into_iter().fold(
            Spawn::new(&self.program),
            |spawn, variable| match variable.read() {
                Some(value) => spawn.variable(variable.name(), value),
                None => spawn,
            },
        )
    }
}

impl SupervisorProgram {
    /// Asks whatever backend the program answers for.
    ///
    /// # Errors
    /// When there is no response.
    pub fn converse(
        &self,
        request: &Request,
        limit: Duration,
        interrupt: &Interrupt,
    ) -> Result<Response, Fault> {
        let input = serde_json::to_vec(request).expect("string keys only");
        let reply = self.hold(input, limit, interrupt)?;
        serde_json::from_slice::<Response>(&reply.stdout).map_err(|_| {
            // A signal to the whole group may find a supervisor that does not listen for it yet, and be
            // heard here a moment after its end.
            let signal = match reply.exit {
                Exit::Signal(_) => interrupt.requested_within(HEARD_WITHIN),
                Exit::Code(_) => interrupt.requested(),
            };
            match signal {
                Some(signal) => {
                    Fault::new(FaultKind::Interrupted, format!("interrupted by {signal}"))
                        .with_cause(self.no_response(&reply).message)
                }
                None => self.no_response(&reply),
            }
        })
    }

    /// Hands in bytes and waits for whatever is printed.
    pub(crate) fn hold(
        &self,
        input: Vec<u8>,
        limit: Duration,
        interrupt: &Interrupt,
    ) -> Result<Reply, Fault> {
        let conversation = Conversation {
            limit: limit + GRACE,
            stdout_bytes_max: RESPONSE_BYTES_MAX,
            stderr_bytes_max: STDERR_BYTES_MAX,
        };
        let reply = conversation.hold_telling(self.spawn(), input, |identity| {
            interrupt.supervisor_runs(identity);
        });
        interrupt.work_goes_on();
        match reply {
            Ok(reply) => Ok(reply),
            Err(error @ ConversationError::TimedOut { .. }) => {
                let ConversationError::TimedOut { ref stderr, .. } = error else {
                    return Err(Fault::from_error(FaultKind::Backend, &error));
                };
                Err(supervisor_fault(error.to_string(), stderr))
            }
            Err(error) => Err(Fault::from_error(FaultKind::Backend, &error)),
        }
    }

    /// The fault of a supervisor whose output is no response.
    pub(crate) fn no_response(&self, reply: &Reply) -> Fault {
        let name = self.program.display();
        supervisor_fault(
            format!("`{name}` gave no response ({})", reply.exit),
            &reply.stderr,
        )
    }
}

impl Supervisor for SupervisorProgram {
    fn ask(
        &self,
        request: &Request,
        limit: Duration,
        interrupt: &Interrupt,
    ) -> Result<Response, Fault> {
        let response = self.converse(request, limit, interrupt)?;
        if response.backend != self.backend {
            let name = self.program.display();
            return Err(supervisor_fault(
                format!(
                    "`{name}` answers for `{}`, not `{}`",
                    response.backend, self.backend
                ),
                &[],
            ));
        }
        Ok(response)
    }
}

/// What a supervisor did wrong, with its last words as causes.
fn supervisor_fault(message: String, stderr: &[u8]) -> Fault {
    let fault = Fault::new(FaultKind::Backend, message)
        .with_details(|details| details.component = Some("supervisor".to_owned()));
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(STDERR_LINES_MAX);
    lines[first..]
        .iter()
        .fold(fault, |fault, line| fault.with_cause(*line))
}

/// The response when it says `ok`, its fault otherwise.
///
/// # Errors
/// With the fault of the response.
pub fn accept(response: Response) -> Result<Response, Fault> {
    if response.ok {
        return Ok(response);
    }
    let fault = response.error.map_or_else(
        || Fault::new(FaultKind::Backend, "a supervisor failed and gave no reason"),
        |fault| *fault,
    );
    Err(fault)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        reason = "a test makes its files as anybody would"
    )]

    use super::{Supervisor, SupervisorProgram};
    use crate::interrupt::Interrupt;
    use microagent_types::BackendName;
    use microagent_wire::fault::FaultKind;
    use microagent_wire::supervisor::request::{Command, Request};
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    fn ask(script: &str) -> Result<super::Response, super::Fault> {
        ask_interrupted(script, &Interrupt::new())
    }

    fn ask_interrupted(
        script: &str,
        interrupt: &Interrupt,
    ) -> Result<super::Response, super::Fault> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("supervisor");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let supervisor = SupervisorProgram::new(BackendName::Qemu, program);
        supervisor.ask(
            &Request::new(Command::Host),
            Duration::from_secs(20),
            interrupt,
        )
    }

    #[test]
    fn a_supervisor_that_the_callers_signal_has_ended_is_an_interrupt() {
        let interrupt = Interrupt::new();
        interrupt.notify(microagent_types::SignalName::INT);
        let ended = ask_interrupted("kill -INT $$", &interrupt).unwrap_err();
        assert_eq!(ended.kind, FaultKind::Interrupted);
        let crashed = ask("kill -SEGV $$").unwrap_err();
        assert_eq!(crashed.kind, FaultKind::Backend);
    }

    #[test]
    fn one_line_of_json_is_the_response() {
        let answer = r#"{"protocolVersion":1,"ok":true,"backend":"qemu","later":1}"#;
        assert!(ask(&format!("cat >/dev/null; echo '{answer}'")).unwrap().ok);
    }

    #[test]
    fn a_supervisor_that_dies_gives_its_last_words_as_causes() {
        let fault = ask("echo no engine >&2; exit 7").unwrap_err();
        assert_eq!(fault.kind, FaultKind::Backend);
        assert_eq!(fault.cause, ["no engine"]);
        assert!(fault.message.contains('7'), "{}", fault.message);
    }

    #[test]
    fn an_answer_for_another_backend_is_refused() {
        let answer = r#"{"protocolVersion":1,"ok":true,"backend":"firecracker"}"#;
        assert_eq!(
            ask(&format!("echo '{answer}'")).unwrap_err().kind,
            FaultKind::Backend
        );
    }
}
