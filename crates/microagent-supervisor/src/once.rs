//! One request, one response: the stages of validation in their order, then the act. Whatever happens,
//! exactly one response comes of it.

use crate::backend::{Backend, Versions};
use crate::context::{Context, directory_fault};
use crate::interrupts::Interrupts;
use crate::{foreground, host_report, inspect, prepare, start, stop};
use microagent_os::process::{self, Signal};
use microagent_os::random;
use microagent_state::StateDirectory;
use microagent_types::AbsPath;
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::supervisor::request::{Command, Request, RequestHead};
use microagent_wire::supervisor::response::{HostReport, Response};

/// What goes out, and which signal ended the wait, if one did.
pub(crate) struct Answered {
    /// The response.
    pub(crate) response: Response,
    /// The signal.
    pub(crate) signal: Option<Signal>,
}

/// Serves one request.
pub(crate) fn serve(backend: &dyn Backend, bytes: &[u8], interrupts: Interrupts) -> Answered {
    let name = backend.name();
    let head = match RequestHead::parse(bytes, name) {
        Ok(head) => head,
        Err(refused) => {
            let mut response = Response::failure(name, refused.fault);
            response.command = refused.command;
            response.request_id = refused.request_id;
            return Answered {
                response,
                signal: None,
            };
        }
    };
    let command = head.request().command;
    let request_id = head
        .request()
        .request_id
        .clone()
        .unwrap_or_else(random::request_id);
    let mut response = Response::success(name);
    response.command = Some(command.as_str().to_owned());
    response.request_id = Some(request_id.clone());
    let failed = |mut response: Response, fault: Fault| {
        response.ok = false;
        response.error = Some(Box::new(fault));
        Answered {
            response,
            signal: None,
        }
    };
    let directory = match check_directory(head.request()) {
        Ok(directory) => directory,
        Err(fault) => return failed(response, fault),
    };
    let request = match head.body() {
        Ok(request) => request,
        Err(fault) => return failed(response, fault),
    };
    let (Some(directory), Some(workspace)) = (directory, request.workspace.clone()) else {
        return match host(backend, &request) {
            Ok(report) => {
                response.host = Some(Box::new(report));
                Answered {
                    response,
                    signal: None,
                }
            }
            Err(fault) => failed(response, fault),
        };
    };
    let paths = directory.workspace(&workspace);
    let mut context = Context {
        backend,
        request,
        request_id,
        directory,
        paths,
        interrupts,
        response,
    };
    let outcome = act(&mut context);
    let mut signal = None;
    if let Err(fault) = outcome {
        if fault.kind == FaultKind::Interrupted {
            signal = context.interrupts.came();
        }
        let response = &mut context.response;
        response.ok = false;
        response.changed.get_or_insert(false);
        response.error = Some(Box::new(fault));
    }
    Answered {
        response: context.response,
        signal,
    }
}

/// Stage 6 as far as it looks at the world.
fn check_directory(request: &Request) -> Result<Option<StateDirectory>, Fault> {
    let Some(path) = &request.state_dir else {
        return Ok(None);
    };
    let directory = StateDirectory::at(path);
    match directory.check() {
        Ok(()) => Ok(Some(directory)),
        Err(error) => {
            Err(directory_fault(&error)
                .with_details(|details| details.file = Some(path.to_string())))
        }
    }
}

fn host(backend: &dyn Backend, request: &Request) -> Result<HostReport, Fault> {
    let versions = match request.options.probe {
        Some(false) => Versions::LeftOut,
        Some(true) | None => Versions::Asked,
    };
    let own = process::current_executable()
        .ok()
        .and_then(|path| AbsPath::try_from(path.as_path()).ok());
    Ok(host_report::host_report(
        backend,
        versions,
        prepare::host_arch()?,
        own,
    ))
}

fn act(context: &mut Context<'_>) -> Result<(), Fault> {
    match context.request.command {
        Command::Host => {
            let report = host(context.backend, &context.request)?;
            context.response.host = Some(Box::new(report));
            Ok(())
        }
        Command::Check => prepare::check(context),
        Command::Prepare => prepare::prepare(context),
        Command::Start => start::start(context),
        Command::Run => foreground::run(context),
        Command::Inspect => inspect::inspect(context),
        Command::Connect | Command::Console => inspect::connect(context),
        Command::Halt
        | Command::Stop
        | Command::Kill
        | Command::Pause
        | Command::Resume
        | Command::Quarantine => stop::act(context),
        Command::Delete => inspect::delete(context),
        Command::Reconcile => inspect::reconcile(context),
    }
}
