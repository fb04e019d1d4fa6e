//! `wait`: returns when workspaces have ended, are ready, or serve a port.

use microagent_wire::exit_code;
use microagent_workspace::act::Acted;
use microagent_workspace::wait::{Condition, wait};
use microagent_workspace::{Interrupt, act::ActReport};
use serde_json::{Value, json};

use super::session::attachment::limit;
use super::several::{Verb, render};
use crate::args::WaitArgs;
use crate::error::Failure;
use crate::printer::{Format, Printer};
use crate::render::workspace;
use crate::settings::GlobalSettings;
use crate::signals;
use crate::wording::Act;

/// Waits for each.
pub(crate) fn perform(
    args: WaitArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    let context = global.context_of_existing()?;
    let interrupt = Interrupt::new();
    signals::watch(&interrupt)?;
    let what = args.what.0;
    let reports = wait(
        &context,
        &args.which.names,
        what,
        limit(args.timeout),
        &interrupt,
    );
    let sad = reports.iter().any(ended_badly);
    let code = match printer.format() {
        Format::Text => text(reports, printer)?,
        Format::Json => {
            let verb = Verb {
                act: Act::Wait,
                told: &|_, _| None,
                fields: &[
                    ("waitedFor", &|_| words(what).into()),
                    ("exit", &|acted| exit(acted)),
                ],
            };
            render(reports, &verb, printer)?
        }
    };
    Ok(if code == exit_code::DONE && sad {
        exit_code::FAILED
    } else {
        code
    })
}

/// `web stopped 0`, one a line.
fn text(reports: Vec<ActReport>, printer: &Printer) -> Result<u8, Failure> {
    let mut code = exit_code::DONE;
    for report in reports {
        match report.result {
            Ok(acted) => printer.data(&format!("{}{}\n", report.name, ended(&acted)))?,
            Err(error) => {
                let failure = Failure::of_library(&error);
                if code == exit_code::DONE {
                    code = failure.exit_code();
                }
                if let Some(fault) = failure.fault() {
                    printer.failure(fault);
                }
            }
        }
    }
    Ok(code)
}

/// ` stopped 0`: the state, and the workload's code or signal.
fn ended(acted: &Acted) -> String {
    let Some(workspace) = &acted.workspace else {
        return String::new();
    };
    let exit = workspace.exit.as_ref().and_then(|exit| {
        exit.code
            .map(|code| format!(" {code}"))
            .or_else(|| exit.signal.as_ref().map(|signal| format!(" {signal}")))
    });
    format!(" {}{}", workspace.state, exit.unwrap_or_default())
}

/// The condition came true, and still the workspace is not well.
fn ended_badly(report: &ActReport) -> bool {
    report.result.as_ref().is_ok_and(|acted| {
        acted
            .workspace
            .as_ref()
            .is_some_and(|workspace| matches!(workspace.state.as_str(), "failed" | "quarantined"))
    })
}

fn exit(acted: &Acted) -> Value {
    let workspace = acted.workspace.as_ref();
    json!(
        workspace
            .and_then(|workspace| workspace.exit.as_ref())
            .map(workspace::exit)
    )
}

fn words(what: Condition) -> String {
    match what {
        Condition::Ended => "ended".to_owned(),
        Condition::Ready => "ready".to_owned(),
        Condition::Port(port) => format!("port:{port}"),
    }
}
