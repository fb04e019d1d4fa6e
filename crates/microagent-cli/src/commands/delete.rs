//! `delete`: removes workspaces, after a question.

use std::io::{self, BufRead as _};

use microagent_os::terminal::{self, StandardStream};
use microagent_types::WorkspaceName;
use microagent_wire::exit_code;
use microagent_wire::fault::{Fault, FaultKind};
use microagent_workspace::list::Summary;
use microagent_workspace::{Context, Interrupt, delete, list};
use serde_json::{Value, json};

use crate::args::DeleteArgs;
use crate::error::{Failure, usage};
use crate::printer::{self, Format, Printer};
use crate::render::json as render_json;
use crate::settings::GlobalSettings;
use crate::wording::Act;

/// Deletes each, once it is confirmed.
pub(crate) fn perform(
    args: DeleteArgs,
    global: &GlobalSettings,
    printer: &Printer,
) -> Result<u8, Failure> {
    let context = global.context_of_existing()?;
    let names = &args.which.names;
    if args.force {
        return Err(no_force(&context, names));
    }
    if !args.yes && !confirmed(&context, names, printer)? {
        printer.note("nothing is deleted");
        return Ok(exit_code::FAILED);
    }
    let mut code = exit_code::DONE;
    let mut results = Vec::new();
    for report in delete(&context, names, &Interrupt::new()) {
        let name = &report.name;
        let outcome = report
            .result
            .map_err(|error| Failure::of_library(&error).of_act(Act::Delete, name));
        if let Err(failure) = &outcome
            && code == exit_code::DONE
        {
            code = failure.exit_code();
        }
        if printer.format() == Format::Json {
            let acted = outcome.as_ref().ok();
            let fault = outcome.as_ref().err().and_then(Failure::fault);
            results.push(json!({
                "name": name.as_str(),
                "deleted": acted.map(|acted| acted.deleted),
                "freedBytes": acted.map(|acted| acted.freed_bytes),
                "durationMs": microagent_types::Span::from(report.duration).as_ms(),
                "error": fault.map_or(Value::Null, render_json::error),
            }));
            continue;
        }
        match &outcome {
            Ok(acted) if acted.deleted => printer.data(&format!("{name}\n"))?,
            Ok(_) => printer.note(&format!("`{name}` does not exist, nothing to delete")),
            Err(failure) => {
                if let Some(fault) = failure.fault() {
                    printer.failure(fault);
                }
            }
        }
    }
    if printer.format() == Format::Json {
        printer.value(String::new, || json!({ "results": results }))?;
    }
    Ok(code)
}

/// Other tools end what runs when they are forced. Here the answer is the one to a delete of what runs,
/// and where nothing does, the flag that was meant.
fn no_force(context: &Context, names: &[WorkspaceName]) -> Failure {
    let all = match list(context) {
        Ok(all) => all,
        Err(error) => return Failure::of_library(&error),
    };
    let living = all.iter().find_map(|summary| {
        let state = summary.known.as_ref().ok()?.state.as_str();
        let lives = matches!(state, "starting" | "running" | "paused" | "halting");
        (lives && names.contains(&summary.name)).then_some((&summary.name, state))
    });
    let Some((name, state)) = living else {
        let names: Vec<&str> = names.iter().map(WorkspaceName::as_str).collect();
        return Failure::Command(usage(
            "there is no flag `--force`: a living VM is never deleted",
            format!("microagent delete --yes {}", names.join(" ")),
        ));
    };
    let message = format!("`{name}` is {state}, which allows no delete");
    let fault = Fault::new(FaultKind::WrongState, message)
        .with_details(|details| details.state = Some(state.to_owned()));
    Failure::Command(fault).of_act(Act::Delete, name)
}

/// Asks once for everything that goes. Where nothing is there, there is nothing to ask.
fn confirmed(
    context: &Context,
    names: &[WorkspaceName],
    printer: &Printer,
) -> Result<bool, Failure> {
    let all = list(context).map_err(|error| Failure::of_library(&error))?;
    let going: Vec<&Summary> = all
        .iter()
        .filter(|summary| names.contains(&summary.name))
        .collect();
    let Some(first) = going.first() else {
        return Ok(true);
    };
    let somebody_there = terminal::is_terminal(StandardStream::Stdin)
        && terminal::is_terminal(StandardStream::Stderr);
    if printer.format() == Format::Json || !somebody_there {
        let message = format!(
            "deleting `{}` needs a confirmation and there is no terminal to ask on",
            first.name
        );
        return Err(Failure::Command(usage(message, "add --yes")));
    }
    printer::talk(&question(&going));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| {
        usage("cannot read the answer", "add --yes").with_cause(error.to_string())
    })?;
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// `Delete dev (stopped) and web (halted)? [y/N] `.
fn question(going: &[&Summary]) -> String {
    let mut words: Vec<String> = going
        .iter()
        .map(|summary| match &summary.known {
            Ok(known) => format!("{} ({})", summary.name, known.state),
            Err(_) => format!("{} (its record cannot be read)", summary.name),
        })
        .collect();
    let last = words.pop().unwrap_or_default();
    let list = if words.is_empty() {
        last
    } else {
        format!("{} and {last}", words.join(", "))
    };
    let evidence = going
        .iter()
        .any(|summary| summary.known.as_ref().is_ok_and(|known| known.quarantined));
    let evidence = if evidence {
        ", evidence of the quarantine included"
    } else {
        ""
    };
    format!("Delete {list}{evidence}? [y/N] ")
}

#[cfg(test)]
mod tests {
    use super::{is_yes, question};
    use microagent_wire::fault::{Fault, FaultKind};
    use microagent_workspace::list::Summary;

    #[test]
    fn only_yes_is_yes() {
        for yes in ["y\n", "Yes\n", " y "] {
            assert!(is_yes(yes));
        }
        for no in ["", "\n", "n\n", "yep\n", "yes please\n"] {
            assert!(!is_yes(no), "{no}");
        }
    }

    #[test]
    fn the_question_lists_everything_that_goes() {
        let unreadable = |name: &str| Summary {
            name: name.parse().unwrap(),
            known: Err(Fault::new(FaultKind::Integrity, "x")),
        };
        let (one, two) = (unreadable("dev"), unreadable("web"));
        assert_eq!(
            question(&[&one, &two]),
            "Delete dev (its record cannot be read) and web (its record cannot be read)? [y/N] "
        );
    }
}
