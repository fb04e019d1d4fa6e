//! Failures become faults here, and nowhere else in this crate: kinds, hints and details of what a
//! backend, a file, a lock or an admission refused.

use crate::backend::{BackendError, BackendErrorKind};
use microagent_machine::admission::{Refusal, Remedy};
use microagent_machine::state::State;
use microagent_machine::verb::Verb;
use microagent_os::FsError;
use microagent_types::WorkspaceName;
use microagent_wire::fault::{Fault, FaultKind};

/// The fault of a backend's failure.
pub(crate) fn of_backend(error: &BackendError) -> Fault {
    let kind = match error.kind {
        BackendErrorKind::Unsupported => FaultKind::Unsupported,
        BackendErrorKind::Denied => FaultKind::Denied,
        BackendErrorKind::NotFound => FaultKind::NotFound,
        BackendErrorKind::Conflict => FaultKind::Conflict,
        BackendErrorKind::Resource => FaultKind::Resource,
        BackendErrorKind::Timeout => FaultKind::Timeout,
        BackendErrorKind::Guest => FaultKind::Guest,
        BackendErrorKind::Failed => FaultKind::Backend,
    };
    let mut fault = Fault::from_error(kind, error);
    fault.hint.clone_from(&error.hint);
    fault.with_details(|details| details.component = Some(error.component.to_owned()))
}

/// One fault of several failures of a backend: the first is the message, the others are causes.
pub(crate) fn of_backend_all(errors: &[BackendError]) -> Fault {
    let mut errors = errors.iter();
    let Some(first) = errors.next() else {
        return Fault::new(FaultKind::Internal, "a refusal without a reason");
    };
    errors.fold(of_backend(first), |fault, error| {
        fault.with_cause(error.to_string())
    })
}

/// The fault of a file operation on something of ours.
pub(crate) fn of_file(error: &FsError) -> Fault {
    let kind = if error.is_out_of_space() {
        FaultKind::Resource
    } else if error.is_denied() {
        FaultKind::Denied
    } else {
        FaultKind::Backend
    };
    let file = error.path.display().to_string();
    Fault::from_error(kind, error).with_details(|details| details.file = Some(file))
}

/// The fault of a refusal by the state table.
pub(crate) fn of_refusal(
    verb: Verb,
    workspace: &WorkspaceName,
    refusal: Refusal,
    state: Option<State>,
) -> Fault {
    let fault = match refusal {
        Refusal::NotFound => {
            let message = format!("there is no workspace `{workspace}`");
            Fault::new(FaultKind::NotFound, message)
        }
        Refusal::AlreadyExists => {
            let message = format!("a workspace `{workspace}` exists already");
            Fault::new(FaultKind::Conflict, message)
                .with_hint("choose another name, or delete it first")
        }
        Refusal::WrongState { state, remedy } => {
            let message = format!(
                "`{workspace}` is {state}, which allows no {}",
                verb.as_str()
            );
            let fault = Fault::new(FaultKind::WrongState, message);
            match hint_of(remedy) {
                Some(hint) => fault.with_hint(hint),
                None => fault,
            }
        }
        Refusal::MaintenanceRuns => {
            let message = format!("a copy to or from `{workspace}` is under way");
            Fault::new(FaultKind::Busy, message).with_hint("try again when it is done")
        }
    };
    match state {
        None => fault,
        Some(state) => fault.with_details(|details| {
            details.state = Some(state.name().as_str().to_owned());
            details.reason = Some(state.reason().to_owned());
        }),
    }
}

fn hint_of(remedy: Remedy) -> Option<&'static str> {
    match remedy {
        Remedy::None => None,
        Remedy::Start => Some("start it first"),
        Remedy::Resume => Some("resume it first"),
        Remedy::ResumeOrStop => Some("resume it first, or stop it"),
        Remedy::Wait => Some("wait until what is under way is done"),
        Remedy::Exec => Some("use exec, which runs a command in it"),
        Remedy::Logs => Some("read its logs"),
        Remedy::Halt => Some("halt it first"),
        Remedy::Stop => Some("stop it"),
        Remedy::HaltOrKill => Some("halt or kill it first"),
        Remedy::HaltStopOrKill => Some("halt, stop or kill it first"),
        Remedy::QuarantineFreeze => Some("quarantine it with --freeze"),
    }
}

#[cfg(test)]
mod tests {
    use super::{of_backend, of_backend_all, of_refusal};
    use crate::backend::{BackendError, BackendErrorKind};
    use microagent_machine::admission::{Admission, Situation, admit};
    use microagent_machine::state::State;
    use microagent_machine::verb::Verb;
    use microagent_wire::fault::FaultKind;

    #[test]
    fn a_backend_failure_keeps_its_component_hint_and_causes() {
        let cause = std::io::Error::other(std::io::Error::other("inner"));
        let error =
            BackendError::new(BackendErrorKind::Unsupported, "vmm", cause).with_hint("install it");
        let fault = of_backend(&error);
        assert_eq!(fault.kind, FaultKind::Unsupported);
        assert_eq!(fault.hint.as_deref(), Some("install it"));
        assert_eq!(fault.details.unwrap().component.as_deref(), Some("vmm"));
        let other = BackendError::new(BackendErrorKind::Denied, "kvm", "no way");
        assert_eq!(
            of_backend_all(&[error, other]).cause.last().unwrap(),
            "no way"
        );
    }

    #[test]
    fn a_refusal_names_the_state_and_what_helps() {
        let name = "scout".parse().unwrap();
        let Admission::Refused(refusal) = admit(Verb::Delete, Situation::Present(State::Paused))
        else {
            panic!("a paused workspace is not deleted");
        };
        let fault = of_refusal(Verb::Delete, &name, refusal, Some(State::Paused));
        assert_eq!(fault.kind, FaultKind::WrongState);
        assert_eq!(fault.message, "`scout` is paused, which allows no delete");
        assert!(fault.hint.unwrap().contains("kill"));
        assert_eq!(fault.details.unwrap().reason.as_deref(), Some("paused"));
    }
}
