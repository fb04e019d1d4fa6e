//! Commands on several workspaces: one result each, in the order of the names.
//!
//! Text: the name of each success on stdout once it is true, what happened on stderr. JSON: always
//! `results`, also for one name. The code is that of the first failure.

use microagent_types::{Span, WorkspaceName};
use microagent_wire::exit_code;
use microagent_workspace::act::{ActReport, Acted};
use serde_json::{Map, Value, json};

use crate::error::Failure;
use crate::printer::{Format, Printer};
use crate::render::json as render_json;
use crate::wording::Act;

/// A field of a result and where its value comes from.
pub(super) type Field<'a> = (&'static str, &'a dyn Fn(&Acted) -> Value);

/// What is particular to one verb.
pub(super) struct Verb<'a> {
    /// What was asked.
    pub(super) act: Act,
    /// What happened to a workspace, without its name: `is halted`.
    pub(super) told: &'a dyn Fn(&WorkspaceName, &Acted) -> Option<String>,
    /// Fields beside the common ones; they are null after a failure.
    pub(super) fields: &'a [Field<'a>],
}

/// Renders the reports and returns the code.
pub(super) fn render(
    reports: Vec<ActReport>,
    verb: &Verb<'_>,
    printer: &Printer,
) -> Result<u8, Failure> {
    let mut code = exit_code::DONE;
    let mut results = Vec::with_capacity(reports.len());
    for report in reports {
        let duration_ms = Span::from(report.duration).as_ms();
        let outcome = report
            .result
            .map_err(|error| Failure::of_library(&error).of_act(verb.act, &report.name));
        if let Err(failure) = &outcome
            && code == exit_code::DONE
        {
            code = failure.exit_code();
        }
        match printer.format() {
            Format::Text => tell(&report.name, &outcome, verb, printer)?,
            Format::Json => results.push(document(&report.name, &outcome, duration_ms, verb)),
        }
    }
    if printer.format() == Format::Json {
        printer.value(String::new, || json!({ "results": results }))?;
    }
    Ok(code)
}

fn tell(
    name: &WorkspaceName,
    outcome: &Result<Acted, Failure>,
    verb: &Verb<'_>,
    printer: &Printer,
) -> Result<(), Failure> {
    match outcome {
        Ok(acted) => {
            if let Some(told) = (verb.told)(name, acted) {
                printer.note(&format!("`{name}` {told}"));
            }
            for warning in &acted.warnings {
                printer.note(warning);
            }
            printer.data(&format!("{name}\n"))
        }
        Err(failure) => {
            if let Some(fault) = failure.fault() {
                printer.failure(fault);
            }
            Ok(())
        }
    }
}

fn document(
    name: &WorkspaceName,
    outcome: &Result<Acted, Failure>,
    duration_ms: u64,
    verb: &Verb<'_>,
) -> Value {
    let acted = outcome.as_ref().ok();
    let workspace = acted.and_then(|acted| acted.workspace.as_ref());
    let error = outcome.as_ref().err().and_then(Failure::fault);
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    set("name", name.as_str().into());
    set("changed", acted.map(|acted| acted.changed).into());
    set(
        "state",
        workspace.map(|workspace| workspace.state.clone()).into(),
    );
    set(
        "reason",
        workspace.map(|workspace| workspace.reason.clone()).into(),
    );
    set("durationMs", duration_ms.into());
    set("error", error.map(render_json::error).into());
    for (name, field) in verb.fields {
        set(name, acted.map_or(Value::Null, field));
    }
    fields.into()
}

#[cfg(test)]
mod tests {
    use super::{Verb, document};
    use crate::error::Failure;
    use crate::wording::Act;
    use microagent_wire::fault::{Fault, FaultKind};
    use microagent_workspace::act::Acted;

    #[test]
    fn a_failed_result_has_every_field_too() {
        let verb = Verb {
            act: Act::Kill,
            told: &|_, _| None,
            fields: &[("wasAlive", &|acted| acted.changed.into())],
        };
        let fault = Fault::new(FaultKind::Busy, "another command is working on `web`");
        let name = "web".parse().unwrap();
        let failed = document(&name, &Err(Failure::Command(fault)), 12, &verb);
        assert_eq!(
            failed.to_string(),
            "{\"changed\":null,\"durationMs\":12,\"error\":{\"cause\":[],\"hint\":null,\"kind\":\
             \"busy\",\"message\":\"another command is working on `web`\",\"retryable\":true},\
             \"name\":\"web\",\"reason\":null,\"state\":null,\"wasAlive\":null}"
        );
        let acted = Acted {
            changed: true,
            ..Acted::default()
        };
        assert_eq!(document(&name, &Ok(acted), 1, &verb)["wasAlive"], true);
    }
}
