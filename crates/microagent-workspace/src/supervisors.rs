//! Finds the supervisor executables of this host and asks them who can start a VM.

use crate::backend_choice::{self, Candidate, without_kvm};
use crate::context::Context;
use crate::error::WorkspaceError;
use crate::interrupt::Interrupt;
use crate::making::check_interrupt;
use crate::supervisor_client::{SupervisorProgram, accept};
use microagent_types::backend::HostOs;
use microagent_types::env_vars::EnvVar;
use microagent_types::{Arch, BackendName};
use microagent_wire::fault::Fault;
use microagent_wire::supervisor::request::{Command, Request};
use microagent_wire::supervisor::response::HostReport;
use std::path::PathBuf;
use std::time::Duration;

/// A host report is answered within this.
pub(crate) const HOST_LIMIT: Duration = Duration::from_secs(5);

/// The executable of a backend: as the context says, as the environment says, or as installed.
pub(crate) fn find(context: &Context, backend: BackendName) -> Option<SupervisorProgram> {
    let named = context
        .supervisor
        .clone()
        .or_else(|| EnvVar::supervisor_of(backend).read().map(PathBuf::from));
    let program = named.or_else(|| {
        context
            .search_path
            .find_program(backend.supervisor_program())
    })?;
    Some(SupervisorProgram::new(backend, program))
}

/// The executable of a backend that is already decided.
pub(crate) fn of_backend(
    context: &Context,
    backend: BackendName,
) -> Result<SupervisorProgram, WorkspaceError> {
    backend_choice::check_host(backend, HostOs::current(), Arch::current())?;
    find(context, backend).ok_or(WorkspaceError::NoSupervisor {
        program: backend.supervisor_program(),
    })
}

/// The supervisor of the backend that a new workspace gets.
pub(crate) fn choose(
    context: &Context,
    interrupt: &Interrupt,
) -> Result<SupervisorProgram, WorkspaceError> {
    if let Some(backend) = context.backend {
        let supervisor = of_backend(context, backend)?;
        // Firecracker has nothing to fall back on, and what it lacks is known before an image is built.
        if backend == BackendName::Firecracker {
            let asked = ask_host(context, backend, Detail::Least, interrupt);
            check_interrupt(interrupt)?;
            if let Some(fault) = asked.report.ok().and_then(|report| without_kvm(&report)) {
                return Err(fault.into());
            }
        }
        return Ok(supervisor);
    }
    let surveyed = survey(context, interrupt);
    // A supervisor that a signal to the whole group has ended is no reason against its backend.
    check_interrupt(interrupt)?;
    if surveyed.iter().all(|asked| asked.program.is_none())
        && let Some(asked) = surveyed.last()
    {
        // Then it is not the host that lacks something.
        return Err(WorkspaceError::NoSupervisor {
            program: asked.backend.supervisor_program(),
        });
    }
    let candidates: Vec<Candidate> = surveyed
        .iter()
        .map(|asked| Candidate {
            backend: asked.backend,
            refusal: asked.refusal(),
        })
        .collect();
    let backend = backend_choice::choose(&candidates)?;
    of_backend(context, backend)
}

/// The backend that was asked for, or the one that a new workspace gets.
///
/// # Errors
/// When none can start a VM here.
pub fn chosen_backend(
    context: &Context,
    interrupt: &Interrupt,
) -> Result<BackendName, WorkspaceError> {
    if let Some(backend) = context.backend {
        return Ok(backend);
    }
    choose(context, interrupt).map(|supervisor| supervisor.backend())
}

/// What came of asking the supervisor of one backend for its host report.
#[derive(Debug)]
pub struct Surveyed {
    /// The backend.
    pub backend: BackendName,
    /// Its supervisor, when it is installed.
    pub program: Option<PathBuf>,
    /// What it reports, or why it does not.
    pub report: Result<Box<HostReport>, Fault>,
}

impl Surveyed {
    /// Why this backend can't start a VM here; none when it can.
    pub fn refusal(&self) -> Option<String> {
        match &self.report {
            Err(fault) => Some(fault.message.clone()),
            Ok(report) => {
                let own = report.backends.iter().find(|own| own.name == self.backend);
                match own {
                    Some(own) if own.available => None,
                    Some(own) => Some(
                        own.reason
                            .clone()
                            .unwrap_or_else(|| "not available".to_owned()),
                    ),
                    None => Some("its supervisor does not report it".to_owned()),
                }
            }
        }
    }
}

/// Asks the supervisors of this host, in order of preference, until one can start a VM.
pub fn survey(context: &Context, interrupt: &Interrupt) -> Vec<Surveyed> {
    let mut surveyed = Vec::new();
    for backend in backend_choice::candidates_of(HostOs::current()) {
        // Versions are for people; a choice needs none.
        let asked = ask_host(context, backend, Detail::Least, interrupt);
        let settled = asked.refusal().is_none();
        surveyed.push(asked);
        if settled {
            break;
        }
    }
    surveyed
}

/// How much a supervisor is to find out of its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Whether a VM can be started.
    Least,
    /// The versions of programs as well.
    Versions,
}

/// Asks one supervisor.
pub fn ask_host(
    context: &Context,
    backend: BackendName,
    detail: Detail,
    interrupt: &Interrupt,
) -> Surveyed {
    let Some(program) = find(context, backend) else {
        let message = format!("`{}` is not installed", backend.supervisor_program());
        let report = Err(Fault::new(
            microagent_wire::fault::FaultKind::Unsupported,
            message,
        ));
        return Surveyed {
            backend,
            program: None,
            report,
        };
    };
    let mut request = Request::new(Command::Host);
    request.options.probe = (detail == Detail::Least).then_some(false);
    let report = program
        .converse(&request, HOST_LIMIT, interrupt)
        .and_then(accept)
        .and_then(|response| {
            response.host.ok_or_else(|| {
                Fault::new(
                    microagent_wire::fault::FaultKind::Backend,
                    format!("`{}` reports no host", program.path().display()),
                )
            })
        });
    Surveyed {
        backend,
        program: Some(program.path().to_owned()),
        report,
    }
}
